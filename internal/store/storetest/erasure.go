package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// telling makes an event that says much, with an attempt over each link that says it again; the last link's failed.
func (e *env) telling(scope patchbay.Scope, links ...patchbay.LinkID) *store.Acceptance {
	e.Helper()
	a := e.event(links...)
	a.Event.Scope = scope
	a.Event.Payload = json.RawMessage(`{"user": {"email": "jane@example.com"}}`)
	a.Event.Actor = json.RawMessage(`{"name": "jane@example.com"}`)
	e.accept(a)
	for i := range links {
		state := patchbay.DeliverySucceeded
		if i == len(links)-1 {
			state = patchbay.DeliveryFailed
		}
		for n := 1; n <= 2; n++ { // the first of two is a retry
			o := e.outcome(a, i+1, n, state)
			if n == 1 {
				o = e.retry(a, i+1, n, e.now())
			}
			o.WasQueued = n > 1
			o.Attempt.Request = &patchbay.Request{Method: "POST", URL: "https://x.test/jane@example.com", Headers: map[string]string{"x": "jane@example.com"}}
			o.Attempt.ResponseBody = "hello jane@example.com"
			if o.Attempt.Verdict != patchbay.VerdictDelivered {
				o.Attempt.Error = "jane@example.com is unknown"
			}
			o.Thread = &store.ThreadUpdate{Thread: "t", Reference: "ref", Event: a.Event.ID}
			e.record(o)
		}
	}
	return a
}

// wantSilent checks that nothing of an event or its deliveries says what it said.
func (e *env) wantSilent(id patchbay.EventID) {
	e.Helper()
	r, err := e.s.Event(e.ctx, id)
	e.must(err)
	deliveries, err := e.s.OfEvent(e.ctx, id)
	e.must(err)
	text, err := json.Marshal([]any{r, deliveries})
	e.must(err)
	if strings.Contains(string(text), "jane@") {
		e.Errorf("after the erasure there is still %s", text)
	}
	if string(r.Payload) != "{}" || len(r.Actor) != 0 || r.Erased.IsZero() {
		e.Errorf("the erased event is %+v", r)
	}
}

var erasureTests = []test{
	{"an erased event says nothing, and still counts", func(e *env) {
		x := e.s
		a := e.telling("acme/repos/1", linkA, linkB)
		other := e.telling("acme/repos/1", linkA)
		before, err := e.s.Event(e.ctx, a.Event.ID)
		e.must(err)
		e.must(x.EraseEvents(e.ctx, []patchbay.EventID{a.Event.ID, patchbay.EventID(e.s.NewID(1))}, e.now()))
		for range 2 {
			e.wantSilent(a.Event.ID)
			r, err := e.s.Event(e.ctx, a.Event.ID)
			e.must(err)
			want := *before
			want.Payload, want.Actor, want.Erased = json.RawMessage("{}"), nil, e.now()
			e.same("event", r, &want)
			e.wantState(a, 1, patchbay.DeliverySucceeded)
			e.wantState(a, 2, patchbay.DeliveryFailed)
			d := e.delivery(delivery(a, 2))
			e.same("attempts", d.AttemptCount, 2)
			e.same("kept of an attempt", []any{d.Attempts[1].ResponseCode, d.Attempts[1].ErrorType, d.Attempts[1].Verdict}, []any{500, patchbay.CodeServiceError, patchbay.VerdictRetry})
			listed, err := e.s.Events(e.ctx, store.EventFilter{Within: "acme", Limit: 10})
			e.must(err)
			e.same("listed", ids(listed), []patchbay.EventID{other.Event.ID, a.Event.ID})
			if !strings.Contains(string(listed[0].Payload), "jane@") || listed[1].Erased.IsZero() {
				e.Errorf("the list says %+v", listed)
			}
			th, err := e.s.Thread(e.ctx, linkA, "t")
			e.must(err)
			e.same("thread", th.Reference, "ref")
			e.crash()
		}
	}},
	{"erasing again keeps the first time", func(e *env) {
		a := e.telling("acme", linkA)
		at := e.now()
		e.must(e.s.EraseEvents(e.ctx, []patchbay.EventID{a.Event.ID}, at))
		e.clock.forward(time.Hour)
		e.must(e.s.EraseEvents(e.ctx, []patchbay.EventID{a.Event.ID}, e.now()))
		r, err := e.s.Event(e.ctx, a.Event.ID)
		e.must(err)
		if !r.Erased.Equal(at) {
			e.Errorf("erased at %s, want %s", r.Erased, at)
		}
	}},
	{"replays are erased with their event", func(e *env) {
		a := e.telling("acme", linkA)
		again := e.event(linkB)
		again.Event.Scope, again.Event.Origin, again.Event.Actor = "acme", a.Event.ID, a.Event.Actor
		e.accept(again)
		o := e.outcome(again, 1, 1, patchbay.DeliveryFailed)
		o.Attempt.Error = "jane@example.com is unknown"
		e.record(o)
		e.must(e.s.EraseEvents(e.ctx, []patchbay.EventID{a.Event.ID}, e.now()))
		e.wantSilent(a.Event.ID)
		e.wantSilent(again.Event.ID)
		replays, err := e.s.Replays(e.ctx, a.Event.ID)
		e.must(err)
		e.same("replays", ids(replays), []patchbay.EventID{again.Event.ID})
	}},
	{"what waits of an erased event is cancelled", func(e *env) {
		a := e.held(linkA, linkB)
		a.Queue = a.Queue[:1] // the other is in memory
		e.accept(a)
		next := e.accept(e.held(linkA))
		e.must(e.s.EraseEvents(e.ctx, []patchbay.EventID{a.Event.ID}, e.now()))
		for range 2 {
			e.wantState(a, 1, patchbay.DeliveryCancelled)
			e.wantState(a, 2, patchbay.DeliveryCancelled)
			e.wantDue(linkA, delivery(next, 1))
			e.crash()
		}
		n, err := e.s.Recover(e.ctx, e.now())
		e.must(err)
		e.same("recovered", n, 0)
	}},
	{"an idempotency key outlives the erasure", func(e *env) {
		a := e.event(linkA)
		a.Idempotency = &store.Idempotency{Key: key("k"), Body: key("b"), Until: e.now().Add(time.Hour)}
		e.accept(a)
		e.must(e.s.EraseEvents(e.ctx, []patchbay.EventID{a.Event.ID}, e.now()))
		found, err := e.s.Remembered(e.ctx, key("k"), e.now())
		e.must(err)
		if found == nil || found.Event != a.Event.ID {
			e.Errorf("remembered %+v", found)
		}
	}},
	{"a tenant goes whole, and no other", eraseWholeTenant},
	{"of the hooks that an erased event was made from goes what the partner sent", func(e *env) {
		a, other := e.telling("acme", linkA), e.telling("acme", linkA)
		for i, x := range []*store.Acceptance{a, other, a} {
			h := e.hook(fmt.Sprint(i, " jane@example.com"))
			h.Header, h.Query = map[string][]string{"X": {"jane@example.com"}}, "for=jane@example.com"
			e.called(h)
			h.Events, h.Reason = []patchbay.EventID{x.Event.ID}, "of jane@example.com"
			e.finished(h, patchbay.HookDone)
		}
		e.must(e.s.EraseEvents(e.ctx, []patchbay.EventID{a.Event.ID}, e.now()))
		e.crash()
		hooks, err := e.s.Hooks(e.ctx, store.HookFilter{Limit: 10})
		e.must(err)
		for i := range hooks {
			h, err := e.s.Hook(e.ctx, hooks[i].ID)
			e.must(err)
			says := strings.Contains(fmt.Sprintf("%+v %s", *h, h.Body), "jane@")
			if says != (i == 1) {
				e.Errorf("hook %d after the erasure is %+v", i, h)
			}
			if i != 1 {
				e.same("reason", h.Reason, store.ErasedHook)
				e.same("events", h.Events, []patchbay.EventID{a.Event.ID})
			}
		}
	}},
	{"a tenant's connections, sessions and hooks go with it", erasePartners},
	{"a tenant goes in steps that a crash may interrupt", func(e *env) {
		const events = 700
		for range events {
			a := e.event(linkA)
			a.Event.Scope = "acme"
			e.accept(a)
		}
		steps, removed := 0, 0
		for more := true; more; steps++ {
			var n int
			var err error
			n, more, err = e.s.EraseTenant(e.ctx, "acme")
			e.must(err)
			removed += n
			if n > events/2 {
				e.Errorf("a step removed %d of %d events", n, events)
			}
			if steps == 1 {
				e.crash()
				more = true
			}
			if steps > events {
				e.Fatal("it always has more")
			}
		}
		e.same("removed", removed, events)
		left, err := e.s.Events(e.ctx, store.EventFilter{Limit: 1})
		e.must(err)
		e.same("left", len(left), 0)
	}},
	{"what came after an erasure was given up goes with the next one", func(e *env) {
		x := e.s
		accept := func() {
			a := e.event(linkA)
			a.Event.Scope = "acme"
			e.accept(a)
		}
		accept()
		n, _, err := x.EraseTenant(e.ctx, "acme")
		e.must(err)
		e.same("removed", n, 1)
		accept()
		accept()
		removed := 0
		for more := true; more; removed += n {
			n, more, err = x.EraseTenant(e.ctx, "acme")
			e.must(err)
		}
		e.same("removed then", removed, 2)
		left, err := e.s.Events(e.ctx, store.EventFilter{Limit: 1})
		e.must(err)
		e.same("left", len(left), 0)
	}},
	{"a tenant with a name that is no scope is refused", func(e *env) {
		if _, _, err := e.s.EraseTenant(e.ctx, ""); err == nil {
			e.Error("the whole installation was erased")
		}
	}},
	{"scrubbing may be repeated, and nothing is lost by it", func(e *env) {
		x := e.s
		a := e.telling("acme", linkA)
		for range 2 {
			e.must(x.Scrub(e.ctx))
		}
		e.crash()
		if r, err := e.s.Event(e.ctx, a.Event.ID); err != nil || !r.Erased.IsZero() {
			e.Errorf("the event is %+v, %v", r, err)
		}
	}},
	{"after Close", func(e *env) {
		x := e.s
		e.must(e.s.Close())
		_, _, err := x.EraseTenant(e.ctx, "acme")
		for _, err := range []error{err, x.EraseEvents(e.ctx, []patchbay.EventID{1}, e.now())} {
			if !errors.Is(err, store.ErrClosed) {
				e.Errorf("got %v, want ErrClosed", err)
			}
		}
	}},
}

// eraseWholeTenant fills the database with two tenants and erases one.
func eraseWholeTenant(e *env) {
	x := e.s
	var gone, stay []*store.Acceptance
	for i, scope := range []patchbay.Scope{"acme", "acme/x/y", "acmex", "acm", "other", ""} {
		link := patchbay.LinkID(e.s.NewID(1))
		l := e.link(link, 1)
		l.Scope = scope
		e.must(e.s.SaveLink(e.ctx, l))
		l = e.link(link, 2)
		l.Scope = scope
		e.must(e.s.SaveLink(e.ctx, l))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: link, Failures: 1}))
		e.must(e.s.SaveKey(e.ctx, &store.Key{ID: patchbay.KeyID(e.s.NewID(1)), Hash: [32]byte{byte(i)}, Scope: scope, CreatedAt: e.now()}))
		told := e.telling(scope, link, linkA)
		waits := e.held(link, linkA)
		waits.Event.Scope = scope
		e.accept(waits)
		fresh := e.event(linkA)
		fresh.Event.Scope = scope
		e.accept(fresh)
		again := e.event(link)
		again.Event.Scope, again.Event.Origin = scope, told.Event.ID
		e.accept(again)
		if i < 2 {
			gone = append(gone, told, waits, fresh, again)
		} else {
			stay = append(stay, told, waits, fresh, again)
		}
	}
	removed := 0
	for more := true; more; {
		var n int
		var err error
		n, more, err = x.EraseTenant(e.ctx, "acme")
		e.must(err)
		removed += n
	}
	e.same("removed", removed, len(gone))
	for range 2 {
		e.wantErased(gone)
		e.wantUntouched(stay)
		e.crash()
	}
	n, err := e.s.Recover(e.ctx, e.now())
	e.must(err)
	// of every tenant that stays, one delivery of fresh and one of again was in memory
	e.same("recovered", n, 2*len(stay)/4)
}

// erasePartners fills the database with what four tenants have of partners, and erases one.
func erasePartners(e *env) {
	type kept struct {
		connections []patchbay.ConnectionID
		sessions    []patchbay.SessionID
		hooks       []patchbay.HookID
	}
	var want kept
	for i, scope := range []patchbay.Scope{"acme", "acme/x/y", "acmex", "acm", ""} {
		stays := i > 1
		c := e.connection(scope)
		c.Account.ID = fmt.Sprint("account ", i)
		shared := e.connection(scope)
		shared.Account.ID = "shared"
		e.connected(c)
		e.connected(shared)
		x := e.begun(e.session(byte(i+1), scope))
		l := e.link(patchbay.LinkID(e.s.NewID(1)), 1)
		l.Scope = scope
		e.must(e.s.SaveLink(e.ctx, l))
		placed, unplaced, shares, came, of := e.hook(fmt.Sprint("p", i)), e.hook(fmt.Sprint("u", i)), e.hook(fmt.Sprint("s", i)), e.hook(fmt.Sprint("c", i)), e.hook(fmt.Sprint("o", i))
		unplaced.Account, shares.Account, came.Link, of.Account, of.Integration = c.Account.ID, "shared", l.ID, c.Account.ID, "slack"
		for _, h := range []*store.Hook{placed, unplaced, shares, came, of} {
			e.called(h)
		}
		placed.Scope, placed.Placed = scope, true
		e.finished(placed, patchbay.HookDone)
		e.finished(unplaced, patchbay.HookUnplaced)
		if stays {
			want.connections = append(want.connections, c.ID, shared.ID)
			want.sessions = append(want.sessions, x.ID)
			want.hooks = append(want.hooks, placed.ID, unplaced.ID, came.ID)
		}
		want.hooks = append(want.hooks, shares.ID, of.ID)
	}
	for more := true; more; {
		var err error
		_, more, err = e.s.EraseTenant(e.ctx, "acme")
		e.must(err)
	}
	slices.Sort(want.hooks)
	slices.Reverse(want.hooks)
	for range 2 {
		e.same("connections", e.listed(store.ConnectionFilter{}), want.connections)
		e.same("sessions", e.sessionIDs(store.SessionFilter{}), want.sessions)
		e.same("hooks", e.hookIDs(store.HookFilter{}), want.hooks)
		e.crash()
	}
}

func (e *env) wantErased(gone []*store.Acceptance) {
	e.Helper()
	for _, a := range gone {
		if _, err := e.s.Event(e.ctx, a.Event.ID); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("the event %s of %s: got %v, want ErrNotFound", a.Event.ID, a.Event.Scope, err)
		}
		if _, err := e.s.Delivery(e.ctx, delivery(a, 1)); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("a delivery of %s: got %v, want ErrNotFound", a.Event.Scope, err)
		}
		if a.Targets[0].Link == linkA {
			continue
		}
		for revision := 1; revision <= 2; revision++ {
			if _, err := e.s.LinkRevision(e.ctx, a.Targets[0].Link, revision); !errors.Is(err, store.ErrNotFound) {
				e.Errorf("a link of %s: got %v, want ErrNotFound", a.Event.Scope, err)
			}
		}
		th, err := e.s.Thread(e.ctx, a.Targets[0].Link, "t")
		e.must(err)
		e.same("thread", th, store.ThreadState{})
		e.wantDue(a.Targets[0].Link)
	}
	events, err := e.s.Events(e.ctx, store.EventFilter{Within: "acme", Limit: 10})
	e.must(err)
	e.same("events", len(events), 0)
	deliveries, err := e.s.Deliveries(e.ctx, store.DeliveryFilter{Within: "acme", Limit: 10})
	e.must(err)
	e.same("deliveries", len(deliveries), 0)
	links, err := e.s.AllLinks(e.ctx)
	e.must(err)
	keys, err := e.s.AllKeys(e.ctx)
	e.must(err)
	lanes, err := e.s.Lanes(e.ctx)
	e.must(err)
	e.same("links, keys and lanes", fmt.Sprint(len(links), len(keys), len(lanes)), "4 4 4")
}

func (e *env) wantUntouched(stay []*store.Acceptance) {
	e.Helper()
	waiting := 0
	for _, a := range stay {
		r, err := e.s.Event(e.ctx, a.Event.ID)
		e.must(err)
		if !r.Erased.IsZero() || r.Scope != a.Event.Scope {
			e.Errorf("the event that stays is %+v", r)
		}
		e.delivery(delivery(a, 1))
		if len(a.Queue) > 0 {
			waiting++
		}
	}
	e.wantWaiting(linkA, waiting)
}
