package deliver

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// TestInspect: one delivery has its decisions beside its attempts, and says how many retries are left.
func TestInspect(t *testing.T) {
	r := newRig(t, &partner{def: integration.Definition{Key: "fake", Title: "Fake"}, answer: failing503})
	l := r.link("acme", func(l *patchbay.Link) {
		l.Retry = &patchbay.RetryPolicy{Schedule: []patchbay.Duration{patchbay.Duration(time.Hour), patchbay.Duration(time.Hour), patchbay.Duration(time.Hour)}}
	})
	e := r.accept(`{}`, l)
	id := patchbay.DeliveryAt(e.ID, 1)
	ctx := context.Background()
	inspect := func() *Inspection {
		t.Helper()
		v, err := r.service.Inspect(ctx, everything, id)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for until := time.Now().Add(time.Minute); inspect().NextAttemptAt == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it does not wait: %+v", inspect())
		}
	}
	if v := inspect(); v.RetriesLeft == nil || *v.RetriesLeft != 2 || len(v.Attempts) != 1 || len(v.Decisions) != 0 {
		t.Errorf("waiting it is %+v", v)
	}
	rows, more, err := r.service.Rows(ctx, everything, Query{Types: []string{"thing.happened"}, Links: []patchbay.LinkID{l.ID, 5}, Limit: 10})
	if err != nil || more || len(rows) != 1 || rows[0].Last == nil || *rows[0].Last.Error != "the stand-in answered 503" || rows[0].Attempts != nil {
		t.Errorf("the list is %+v, %v, %v", rows, more, err)
	}
	if _, err := r.service.Cancel(ctx, everything, id); err != nil {
		t.Fatal(err)
	}
	if v := inspect(); v.RetriesLeft != nil || len(v.Decisions) != 1 || v.Decisions[0].After != 1 || v.Decisions[0].Why == "" || v.State != patchbay.DeliveryCancelled {
		t.Errorf("cancelled it is %+v", v)
	}
	for name, q := range map[string]Query{"type": {Types: []string{"other"}}, "links": {Links: []patchbay.LinkID{5}}} {
		q.Limit = 10
		if rows, _, err := r.service.Rows(ctx, everything, q); err != nil || len(rows) != 0 {
			t.Errorf("another %s has %+v, %v", name, rows, err)
		}
	}
}

// TestPortalsSeeTheirOwn: a portal has the deliveries over its own links alone. A key of the same scope has the others too,
// without what was sent and answered, and cannot touch them.
func TestPortalsSeeTheirOwn(t *testing.T) {
	r := newRig(t, &partner{def: integration.Definition{Key: "fake", Title: "Fake"}, answer: func(context.Context, *integration.Delivery) integration.Result {
		return integration.UserError("the secret of the company")
	}})
	above, own := r.link("above", func(l *patchbay.Link) { l.Scope = "" }), r.link("acme")
	e := r.accept(`{}`, above, own)
	theirs, mine := patchbay.DeliveryAt(e.ID, 1), patchbay.DeliveryAt(e.ID, 2)
	for until := time.Now().Add(time.Minute); !r.delivery(e).State.Final() && time.Now().Before(until); time.Sleep(time.Millisecond) {
	}
	ctx := context.Background()
	portal := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Read, access.Manage}, Portal: true}
	key := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Manage}}
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		rows, _, err := r.service.Rows(ctx, portal, Query{Limit: 10})
		if err != nil || len(rows) != 1 || rows[0].ID != mine {
			t.Fatalf("the portal lists %+v, %v", rows, err)
		}
		if rows[0].State.Final() {
			break
		}
		if time.Now().After(until) {
			t.Fatal("it does not end")
		}
	}
	for name, err := range map[string]error{
		"look": second(r.service.Inspect(ctx, portal, theirs)), "get": second(r.service.Get(ctx, portal, theirs)),
		"retry": second(r.service.Retry(ctx, portal, theirs)), "cancel": second(r.service.Cancel(ctx, portal, theirs)),
	} {
		if patchbay.CodeOf(err) != patchbay.CodeNotFound {
			t.Errorf("%s, of what goes over a link above: %v", name, err)
		}
	}
	if v, err := r.service.Inspect(ctx, portal, mine); err != nil || len(v.Attempts) != 1 || v.Attempts[0].Error == nil {
		t.Errorf("their own is %+v, %v", v, err)
	}
	rows, _, err := r.service.Rows(ctx, key, Query{Limit: 10})
	if err != nil || len(rows) != 2 {
		t.Fatalf("the key lists %+v, %v", rows, err)
	}
	for _, row := range rows {
		if shown := row.Last != nil && row.Last.Error != nil; shown != (row.ID == mine) {
			t.Errorf("of %s the key sees %+v", row.ID, row.Last)
		}
	}
	if _, err := r.service.Retry(ctx, key, theirs); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("the key retries what is not its own: %v", err)
	}
}

// TestPortalsSeeNoInlineCalls: what the host product has sent by itself, with settings of its own, is not the customer's, although
// its event is of the customer's scope.
func TestPortalsSeeNoInlineCalls(t *testing.T) {
	r := newRig(t, &partner{def: integration.Definition{Key: "fake", Title: "Fake"}, answer: delivered})
	ctx, now := context.Background(), time.Now().UTC()
	e := &patchbay.Event{ID: patchbay.EventID(r.store.NewID(2)), Type: "thing.happened", Scope: "acme", Payload: []byte(`{}`), OccurredAt: now, ReceivedAt: now}
	id := patchbay.DeliveryAt(e.ID, 1)
	request := &patchbay.Request{Method: "POST", URL: "https://internal.example.com/of-the-product"}
	if _, err := r.store.Accept(ctx, &store.Acceptance{Event: e, Targets: []store.Target{{Integration: "fake"}}, Outcomes: []store.Outcome{{
		Delivery: id, Event: e.ID, N: 1, State: patchbay.DeliverySucceeded,
		Attempt: patchbay.Attempt{At: now, Verdict: patchbay.VerdictDelivered, ResponseCode: 200, Request: request},
	}}}); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	key := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Read}}
	portal := &access.Caller{Scope: "acme", Permissions: []access.Permission{access.Read, access.Manage}, Portal: true}
	if v, err := r.service.Inspect(ctx, key, id); err != nil || len(v.Attempts) != 1 || v.Attempts[0].Request == nil {
		t.Fatalf("a key of the scope sees %+v, %v", v, err)
	}
	if v, err := r.service.Inspect(ctx, portal, id); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("a portal sees %+v, %v", v, err)
	}
	if rows, _, err := r.service.Rows(ctx, portal, Query{Limit: 10}); err != nil || len(rows) != 0 {
		t.Errorf("a portal lists %+v, %v", rows, err)
	}
}

func second[T any](_ T, err error) error { return err }

// BenchmarkRows reads the first page and one deep down of 100,000 deliveries, by each filter of the list.
func BenchmarkRows(b *testing.B) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	middle := hundredThousand(b, s)
	service := NewService(New(Options{Store: s}), nil)
	for name, q := range map[string]Query{
		"all": {}, "failed": {States: []patchbay.DeliveryState{patchbay.DeliveryFailed}}, "waiting": {States: []patchbay.DeliveryState{patchbay.DeliveryPending}},
		"a link": {Link: 1003}, "three of many links": {Links: []patchbay.LinkID{1001, 1002, 1003}}, "a rare type": {Types: []string{"rare"}}, "a scope": {Scope: "t7/teams/3"},
		"failed of a link": {Link: 1003, States: []patchbay.DeliveryState{patchbay.DeliveryFailed}}, "none": {Integration: "nobody"}, "deep": {Before: middle},
		"failed of a rare type": {Types: []string{"rare"}, States: []patchbay.DeliveryState{patchbay.DeliveryFailed}},
	} {
		b.Run(name, func(b *testing.B) {
			q.Limit = 50
			for b.Loop() {
				if _, _, err := service.Rows(ctx, everything, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// hundredThousand puts 100,000 deliveries over ten links into a store: one in a hundred has failed, some wait. It returns the middle one.
func hundredThousand(b *testing.B, s store.Store) (middle patchbay.DeliveryID) {
	b.Helper()
	const events, fan = 10_000, 10
	ctx, now := context.Background(), time.Now()
	var owned sync.WaitGroup
	room := make(chan struct{}, 128)
	for i := range events {
		a := &store.Acceptance{Event: &patchbay.Event{
			ID: patchbay.EventID(s.NewID(1 + fan)), Type: "repo.push", Scope: patchbay.Scope("t" + string(rune('0'+i%10)) + "/teams/" + string(rune('0'+i/10%10))),
			Payload: []byte(`{"n": 1}`), OccurredAt: now, ReceivedAt: now, Source: patchbay.Source{Kind: patchbay.SourceAPI},
		}}
		if i%1000 == 7 {
			a.Event.Type = "rare"
		}
		outcomes := make([]store.Outcome, fan)
		for n := range fan {
			d := patchbay.DeliveryAt(a.Event.ID, n+1)
			a.Targets = append(a.Targets, store.Target{Link: patchbay.LinkID(1001 + n), Revision: 1, Integration: "webhook"})
			outcomes[n] = store.Outcome{
				Delivery: d, Event: a.Event.ID, Link: patchbay.LinkID(1001 + n), N: 1, State: patchbay.DeliverySucceeded,
				Attempt: patchbay.Attempt{At: now, DurationMS: 3, Verdict: patchbay.VerdictDelivered, ResponseCode: 200},
			}
			switch (i*fan + n) % 100 {
			case 3:
				outcomes[n].State, outcomes[n].Attempt.Verdict, outcomes[n].Attempt.Error = patchbay.DeliveryFailed, patchbay.VerdictRejected, "no"
			case 4:
				outcomes[n].State = patchbay.DeliveryPending
				outcomes[n].Next = &store.Queued{Delivery: d, Event: a.Event.ID, Link: patchbay.LinkID(1001 + n), Due: now.Add(time.Hour), Attempts: 1, Used: 1}
			}
		}
		if i == events/2 {
			middle = outcomes[0].Delivery
		}
		room <- struct{}{}
		owned.Go(func() {
			defer func() { <-room }()
			if _, err := s.Accept(ctx, a); err != nil {
				b.Error(err)
			}
			s.Record(outcomes, nil)
		})
	}
	owned.Wait()
	if err := s.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	return middle
}
