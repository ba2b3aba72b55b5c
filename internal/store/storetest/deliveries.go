package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// deliveryPages lists all deliveries of a filter, some at a time.
func (e *env) deliveryPages(f store.DeliveryFilter) []patchbay.Delivery {
	e.Helper()
	var out []patchbay.Delivery
	for {
		page, err := e.s.Deliveries(e.ctx, f)
		e.must(err)
		if len(page) > f.Limit {
			e.Fatalf("%d deliveries on a page of %d", len(page), f.Limit)
		}
		out = append(out, page...)
		if len(page) < f.Limit {
			return out
		}
		f.Before = page[len(page)-1].ID
	}
}

// fates gives the deliveries of a population every kind of fate.
func (e *env) fates(all []*store.Acceptance) {
	e.Helper()
	n := 0
	for _, a := range all {
		for i := range a.Targets {
			i++
			n++
			switch n % 8 {
			case 0:
				e.s.Record([]store.Outcome{e.outcome(a, i, 1, patchbay.DeliverySucceeded)}, nil)
			case 1:
				e.s.Record([]store.Outcome{e.outcome(a, i, 1, patchbay.DeliveryFailed)}, nil)
			case 2:
				e.s.Record([]store.Outcome{e.outcome(a, i, 0, patchbay.DeliveryCancelled)}, nil)
			case 3:
				e.s.Record([]store.Outcome{e.outcome(a, i, 0, patchbay.DeliverySkipped)}, nil)
			case 4:
				e.s.Record([]store.Outcome{e.retry(a, i, 1, e.now().Add(time.Duration(n)*time.Millisecond))}, nil)
			case 5: // failed, retried by hand, failed
				last := e.outcome(a, i, 2, patchbay.DeliveryFailed)
				last.WasQueued = true
				e.s.Record([]store.Outcome{e.outcome(a, i, 1, patchbay.DeliveryFailed)}, nil)
				e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, i, e.now())}))
				e.s.Record([]store.Outcome{last}, nil)
			case 6: // failed, retried by hand, succeeded
				last := e.outcome(a, i, 2, patchbay.DeliverySucceeded)
				last.WasQueued = true
				e.s.Record([]store.Outcome{e.outcome(a, i, 1, patchbay.DeliveryFailed), e.retry(a, i, 1, e.now()), last}, nil)
			case 7: // in memory
			}
		}
	}
	e.must(e.s.Flush(e.ctx))
}

// fate is the state that fates gave the n-th delivery.
func fate(n int) patchbay.DeliveryState {
	return []patchbay.DeliveryState{
		patchbay.DeliverySucceeded, patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped,
		patchbay.DeliveryPending, patchbay.DeliveryFailed, patchbay.DeliverySucceeded, patchbay.DeliveryPending,
	}[n%8]
}

var deliveryTests = []test{
	{"lists by every filter", func(e *env) {
		all := e.population(400)
		e.fates(all)
		type row struct {
			id    patchbay.DeliveryID
			a     *store.Acceptance
			link  patchbay.LinkID
			where string
			state patchbay.DeliveryState
		}
		var rows []row
		for _, a := range all {
			for i, t := range a.Targets {
				rows = append(rows, row{delivery(a, i+1), a, t.Link, t.Integration, fate(len(rows) + 1)})
			}
		}
		held := func(l patchbay.LinkID) bool { return l == linkB }
		middle := all[200].Event.ID.Time()
		for name, f := range map[string]store.DeliveryFilter{
			"all": {}, "a link": {Link: linkA}, "another link": {Link: linkB}, "no such link": {Link: linkC},
			"an integration": {Integration: "slack"}, "no such integration": {Integration: "jira"},
			"an event": {Event: all[4].Event.ID}, "an event without deliveries": {Event: all[6].Event.ID},
			"no such event":    {Event: 5},
			"an event's link":  {Event: all[4].Event.ID, Link: linkB},
			"a scope":          {Within: "tenant1"},
			"no further scope": {Within: "tenant0/teams"},
			"since":            {Since: middle},
			"failed":           {States: []patchbay.DeliveryState{patchbay.DeliveryFailed}},
			"succeeded":        {States: []patchbay.DeliveryState{patchbay.DeliverySucceeded}},
			"cancelled":        {States: []patchbay.DeliveryState{patchbay.DeliveryCancelled}},
			"skipped":          {States: []patchbay.DeliveryState{patchbay.DeliverySkipped}},
			"pending":          {States: []patchbay.DeliveryState{patchbay.DeliveryPending}},
			"held, but nobody holds": {
				States: []patchbay.DeliveryState{patchbay.DeliveryHeld},
			},
			"held":              {States: []patchbay.DeliveryState{patchbay.DeliveryHeld}, Held: held},
			"pending, not held": {States: []patchbay.DeliveryState{patchbay.DeliveryPending}, Held: held},
			"failed and held":   {States: []patchbay.DeliveryState{patchbay.DeliveryFailed, patchbay.DeliveryHeld}, Held: held},
			"every state": {States: []patchbay.DeliveryState{
				patchbay.DeliveryPending, patchbay.DeliveryHeld, patchbay.DeliveryFailed, patchbay.DeliveryCancelled,
				patchbay.DeliverySkipped, patchbay.DeliverySucceeded,
			}, Held: held},
			"failed of a link":         {States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Link: linkB},
			"failed in a scope":        {States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Within: "tenant2/repos/2"},
			"pending of a link":        {States: []patchbay.DeliveryState{patchbay.DeliveryPending}, Link: linkA},
			"pending in a scope":       {States: []patchbay.DeliveryState{patchbay.DeliveryPending}, Within: "tenant0"},
			"ended of an integration":  {States: []patchbay.DeliveryState{patchbay.DeliveryFailed, patchbay.DeliverySkipped}, Integration: "slack"},
			"failed since":             {States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Since: middle},
			"a link in a scope, since": {Link: linkA, Within: "tenant1", Since: middle},
			"two links":                {Links: []patchbay.LinkID{linkA, linkC}},
			"failed of two links":      {States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Links: []patchbay.LinkID{linkC, linkB}},
			"a type":                   {Types: []string{all[4].Event.Type}},
			"no such type":             {Types: []string{"nothing.such"}},
			"two types, pending":       {States: []patchbay.DeliveryState{patchbay.DeliveryPending}, Types: []string{all[4].Event.Type, all[5].Event.Type}},
		} {
			want := []patchbay.Delivery{}
			for _, r := range slices.Backward(rows) {
				state := r.state
				if state == patchbay.DeliveryPending && f.Held != nil && f.Held(r.link) {
					state = patchbay.DeliveryHeld
				}
				if (f.Link == 0 || f.Link == r.link) && (f.Links == nil || slices.Contains(f.Links, r.link)) &&
					(f.Types == nil || slices.Contains(f.Types, r.a.Event.Type)) && (f.Integration == "" || f.Integration == r.where) &&
					(f.Event == 0 || f.Event == r.a.Event.ID) && f.Within.Contains(r.a.Event.Scope) &&
					!r.id.Time().Before(f.Since) && (len(f.States) == 0 || slices.Contains(f.States, state)) {
					want = append(want, patchbay.Delivery{ID: r.id, State: state})
				}
			}
			for _, limit := range []int{1000, 3} {
				f.Limit = limit
				var got []patchbay.Delivery
				for _, d := range e.deliveryPages(f) {
					got = append(got, patchbay.Delivery{ID: d.ID, State: d.State})
				}
				e.same(fmt.Sprintf("%s by %d", name, limit), got, want)
			}
		}
	}},
	{"a list has everything but attempts", func(e *env) {
		a := e.event(linkA, linkB)
		a.Event.Scope = "acme/x"
		a.Targets[1] = store.Target{Link: linkB, Revision: 7, Integration: "slack"}
		e.accept(a)
		due := e.now().Add(time.Minute)
		e.record(e.retry(a, 2, 1, due))
		got, err := e.s.Deliveries(e.ctx, store.DeliveryFilter{Limit: 10})
		e.must(err)
		e.same("deliveries", got, []patchbay.Delivery{
			{
				ID: delivery(a, 2), Event: a.Event.ID, EventType: "repo.push", Scope: "acme/x", Link: linkB, Integration: "slack",
				State: patchbay.DeliveryPending, AttemptCount: 1, NextAttemptAt: &due, Used: 1, Revision: 7,
			},
			{
				ID: delivery(a, 1), Event: a.Event.ID, EventType: "repo.push", Scope: "acme/x", Link: linkA, Integration: "webhook",
				State: patchbay.DeliveryPending, Revision: 1,
			},
		})
	}},
	{"keeps every field of an attempt", func(e *env) {
		a := e.accept(e.event(linkA))
		first := e.retry(a, 1, 1, e.now().Add(time.Minute))
		first.Attempt = patchbay.Attempt{
			At: e.now().Add(123 * time.Microsecond), DurationMS: 15_000, Verdict: patchbay.VerdictRetry, ErrorType: patchbay.CodeServiceError,
			Error: "the partner answered 503", ResponseCode: 503, ResponseBody: "try later\x00é",
			Request: &patchbay.Request{Method: "POST", URL: "https://example.com/é?a=b", Headers: map[string]string{"A": "1", "B": "", "Webhook-Id": "x"}},
		}
		second := e.outcome(a, 1, 2, patchbay.DeliverySucceeded)
		second.WasQueued = true
		second.Attempt.At = e.now().Add(time.Minute)
		second.Attempt.Request = &patchbay.Request{Method: "GET", URL: "u"}
		e.record(first)
		e.record(second)
		for range 2 {
			d := e.delivery(delivery(a, 1))
			e.same("attempts", d.Attempts, []patchbay.Attempt{first.Attempt, second.Attempt})
			e.same("state", d.State, patchbay.DeliverySucceeded)
			e.same("count", d.AttemptCount, 2)
			if d.NextAttemptAt != nil {
				e.Errorf("a delivery that has ended is due at %s", d.NextAttemptAt)
			}
			e.crash()
		}
	}},
	{"says how deliveries went last", func(e *env) {
		a := e.accept(e.event(linkA, linkA, linkA, linkB))
		later := e.outcome(a, 1, 2, patchbay.DeliverySucceeded)
		later.WasQueued, later.Attempt.Verdict, later.Attempt.ResponseCode = true, patchbay.VerdictDelivered, 204
		later.Attempt.At, later.Attempt.DurationMS, later.Attempt.ResponseBody = e.now().Add(time.Minute), 17, "taken at last"
		e.record(e.retry(a, 1, 1, e.now().Add(time.Minute)))
		e.record(later)
		decided := store.Outcome{
			Delivery: delivery(a, 2), Event: a.Event.ID, Link: linkA, State: patchbay.DeliveryCancelled,
			Attempt: patchbay.Attempt{At: e.now(), Error: "somebody wanted that"},
		}
		e.record(decided)
		first := e.outcome(a, 4, 1, patchbay.DeliveryFailed)
		first.Attempt.Verdict, first.Attempt.Error, first.Attempt.ErrorType = patchbay.VerdictRejected, "no", patchbay.CodeServiceError
		e.record(first)
		brief := func(a patchbay.Attempt) patchbay.Attempt {
			a.Request, a.ResponseBody = nil, ""
			return a
		}
		ids := []patchbay.DeliveryID{delivery(a, 1), delivery(a, 2), delivery(a, 3), delivery(a, 4), 12345}
		for range 2 {
			got, err := e.s.LastAttempts(e.ctx, ids)
			e.must(err)
			e.same("last attempts", got, map[patchbay.DeliveryID]patchbay.Attempt{
				ids[0]: brief(later.Attempt), ids[1]: brief(decided.Attempt), ids[3]: brief(first.Attempt),
			})
			e.crash()
		}
		answers, err := e.s.Answers(e.ctx, ids)
		e.must(err)
		want := map[patchbay.DeliveryID]string{}
		for _, id := range ids[:4] {
			if all := e.delivery(id).Attempts; len(all) > 0 && all[len(all)-1].ResponseBody != "" {
				want[id] = all[len(all)-1].ResponseBody
			}
		}
		e.same("answers", answers, want)
		e.same("the answer to a later attempt", answers[ids[0]], "taken at last")
		none, err := e.s.LastAttempts(e.ctx, nil)
		e.must(err)
		e.same("of none", len(none), 0)
	}},
	{"keeps every verdict", func(e *env) {
		for _, v := range []patchbay.Verdict{patchbay.VerdictDelivered, patchbay.VerdictRetry, patchbay.VerdictRejected, patchbay.VerdictAuthExpired} {
			a := e.accept(e.event(linkA))
			o := e.outcome(a, 1, 1, patchbay.DeliveryFailed)
			o.Attempt.Verdict = v
			e.record(o)
			e.same("verdict", e.delivery(delivery(a, 1)).Attempts[0].Verdict, v)
		}
	}},
	{"cuts what is too long, between characters", func(e *env) {
		a := e.accept(e.event(linkA))
		o := e.outcome(a, 1, 1, patchbay.DeliveryFailed)
		o.Attempt.ResponseBody = "x" + strings.Repeat("é", patchbay.MaxResponseBodyKept)
		o.Attempt.Error = "x" + strings.Repeat("é", patchbay.MaxErrorKept)
		e.record(o)
		got := e.delivery(delivery(a, 1)).Attempts[0]
		if n := len(got.ResponseBody); n > patchbay.MaxResponseBodyKept || n < patchbay.MaxResponseBodyKept-2 || !utf8.ValidString(got.ResponseBody) {
			e.Errorf("%d bytes of the answer are kept", n)
		}
		if n := len(got.Error); n > patchbay.MaxErrorKept || n < patchbay.MaxErrorKept-2 || !utf8.ValidString(got.Error) {
			e.Errorf("%d bytes of the error are kept", n)
		}
	}},
	{"decisions stand among attempts and are not counted", func(e *env) {
		a := e.accept(e.event(linkA, linkB))
		e.record(e.retry(a, 1, 1, e.now()))
		cancelled := e.outcome(a, 1, 0, patchbay.DeliveryCancelled)
		cancelled.WasQueued = true
		cancelled.Attempt.Verdict, cancelled.Attempt.ResponseCode, cancelled.Attempt.ResponseBody = patchbay.VerdictRetry, 500, "x"
		e.record(cancelled, e.outcome(a, 2, 0, patchbay.DeliverySkipped))
		d := e.delivery(delivery(a, 1))
		e.same("state", d.State, patchbay.DeliveryCancelled)
		e.same("count", d.AttemptCount, 1)
		if len(d.Attempts) != 2 {
			e.Fatalf("%d attempts", len(d.Attempts))
		}
		e.same("decision", d.Attempts[1], patchbay.Attempt{At: e.now(), Error: "decided"})
		d = e.delivery(delivery(a, 2))
		e.same("state", d.State, patchbay.DeliverySkipped)
		e.same("count", d.AttemptCount, 0)
		e.same("attempts", d.Attempts, []patchbay.Attempt{{At: e.now(), Error: "decided"}})
	}},
	{"attempts after a decision and a retry by hand", func(e *env) {
		a := e.accept(e.event(linkA))
		e.record(e.outcome(a, 1, 0, patchbay.DeliveryCancelled))
		e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now())}))
		e.wantState(a, 1, patchbay.DeliveryPending)
		o := e.outcome(a, 1, 1, patchbay.DeliverySucceeded)
		o.WasQueued = true
		o.Attempt.ResponseBody = "fine"
		e.record(o)
		d := e.delivery(delivery(a, 1))
		e.same("state", d.State, patchbay.DeliverySucceeded)
		e.same("count", d.AttemptCount, 1)
		e.same("attempts", d.Attempts, []patchbay.Attempt{{At: e.now(), Error: "decided"}, o.Attempt})
		e.same("cancelled", deliveryIDs(e.deliveryPages(store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryCancelled}, Limit: 10})), []patchbay.DeliveryID{})
	}},
	{"a first attempt that comes late", func(e *env) {
		a := e.accept(e.held(linkA))
		e.clock.forward(5 * 24 * time.Hour)
		o := e.retry(a, 1, 1, e.now())
		o.Attempt.ResponseBody = "busy"
		e.record(o)
		last := e.outcome(a, 1, 2, patchbay.DeliveryFailed)
		last.WasQueued = true
		e.record(last)
		d := e.delivery(delivery(a, 1))
		e.same("state", d.State, patchbay.DeliveryFailed)
		e.same("attempts", d.Attempts, []patchbay.Attempt{o.Attempt, last.Attempt})
		e.same("failed", deliveryIDs(e.deliveryPages(store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Link: linkA, Limit: 10})),
			[]patchbay.DeliveryID{delivery(a, 1)})
	}},
	{"what came last counts, whatever the clock does", func(e *env) {
		a := e.accept(e.held(linkA))
		e.clock.forward(2 * time.Hour)
		retry := e.retry(a, 1, 1, e.now())
		retry.WasQueued = true
		e.record(retry)
		e.clock.forward(-2 * time.Hour)
		for range 2 {
			end := e.outcome(a, 1, 0, patchbay.DeliveryFailed)
			end.WasQueued = true
			e.record(end)
			e.wantState(a, 1, patchbay.DeliveryFailed)
			e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now())}))
			e.wantState(a, 1, patchbay.DeliveryPending)
			e.reopen()
		}
	}},
	{"of an event, in order", func(e *env) {
		a := e.event(linkA, linkB, linkC)
		e.accept(a)
		e.accept(e.event(linkA))
		e.record(e.outcome(a, 2, 1, patchbay.DeliverySucceeded), e.retry(a, 3, 1, e.now()))
		got, err := e.s.OfEvent(e.ctx, a.Event.ID)
		e.must(err)
		e.same("deliveries", deliveryIDs(got), []patchbay.DeliveryID{delivery(a, 1), delivery(a, 2), delivery(a, 3)})
		e.same("attempts", len(got[1].Attempts), 1)
		for i := range got {
			e.same("delivery", &got[i], e.delivery(got[i].ID))
		}
		none, err := e.s.OfEvent(e.ctx, e.accept(e.event()).Event.ID)
		e.must(err)
		e.same("none", none, []patchbay.Delivery{})
		if _, err := e.s.OfEvent(e.ctx, 5); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("got %v, want ErrNotFound", err)
		}
	}},
	{"one that does not exist", func(e *env) {
		a, b := e.accept(e.event(linkA)), e.accept(e.event(linkA, linkB))
		for _, id := range []patchbay.DeliveryID{
			delivery(a, 0), delivery(b, 0), delivery(b, 3), delivery(a, 1) + 1, delivery(a, 1) - 1, 1, delivery(b, 1_000_000),
		} {
			if d, err := e.s.Delivery(e.ctx, id); !errors.Is(err, store.ErrNotFound) {
				e.Errorf("%s: got %v and %v, want ErrNotFound", id, d, err)
			}
		}
	}},
	{"the largest fan-out", func(e *env) {
		links := make([]patchbay.LinkID, 1000)
		for i := range links {
			links[i] = patchbay.LinkID(i+1) << 30
		}
		a := e.accept(e.event(links...))
		for i := range links {
			if i%2 == 0 {
				e.s.Record([]store.Outcome{e.outcome(a, i+1, 1, patchbay.DeliverySucceeded)}, nil)
			}
		}
		e.must(e.s.Flush(e.ctx))
		e.crash()
		n, err := e.s.Recover(e.ctx, e.now())
		e.must(err)
		e.same("recovered", n, 500)
		e.same("pending", len(e.deliveryPages(store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryPending}, Limit: 250})), 500)
	}},
}
