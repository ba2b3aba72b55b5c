package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const day = 24 * time.Hour

var retention = store.Retention{Matched: 30 * day, Unmatched: 3 * day, Bodies: 7 * day, Tenants: map[string]time.Duration{"short": day, "long": 90 * day}}

// wantKept checks which events are there.
func (e *env) wantKept(want map[string]*store.Acceptance, names ...string) {
	e.Helper()
	kept := map[string]bool{}
	for _, n := range names {
		kept[n] = true
	}
	for name, a := range want {
		_, err := e.s.Event(e.ctx, a.Event.ID)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			e.Fatal(err)
		case (err == nil) != kept[name]:
			e.Errorf("%s after the start: %q is kept: %t, want %t", e.now().Sub(start), name, err == nil, kept[name])
		}
	}
}

// sent makes an event whose only delivery has succeeded.
func (e *env) sent(scope patchbay.Scope) *store.Acceptance {
	e.Helper()
	a := e.event(linkA)
	a.Event.Scope = scope
	e.accept(a)
	o := e.outcome(a, 1, 1, patchbay.DeliverySucceeded)
	o.Attempt.ResponseBody = "body"
	e.record(o)
	return a
}

var pruneTests = []test{
	{"keeps events for as long as it should", func(e *env) {
		missed := e.event()
		missed.Missed = true
		unmatched := e.event()
		unmatched.Event.Scope = "long"
		all := map[string]*store.Acceptance{
			"matched": e.sent("acme"), "short": e.sent("short/x"), "long": e.sent("long"), "no tenant": e.sent(""),
			"missed": e.accept(missed), "unmatched": e.accept(unmatched), "waits": e.accept(e.held(linkA)), "in memory": e.accept(e.event(linkB)),
		}
		origin, replayed := e.sent("acme"), e.event(linkA)
		e.clock.forward(29 * day)
		replayed.Event.ID = patchbay.EventID(e.s.NewID(2))
		replayed.Event.Origin = origin.Event.ID
		e.accept(replayed)
		done := e.outcome(replayed, 1, 1, patchbay.DeliverySucceeded)
		e.record(done)
		all["origin"], all["replay"] = origin, replayed
		e.clock.forward(-29 * day)

		step := func(to time.Duration, kept ...string) {
			e.Helper()
			e.clock.forward(start.Add(to).Sub(e.now()))
			e.prune(retention)
			e.wantKept(all, kept...)
			e.crash()
			e.prune(retention)
			e.wantKept(all, kept...)
		}
		step(23*time.Hour, "matched", "short", "long", "no tenant", "missed", "unmatched", "waits", "in memory", "origin", "replay")
		step(day+time.Second, "matched", "long", "no tenant", "missed", "unmatched", "waits", "in memory", "origin", "replay")
		step(3*day+time.Second+e.h.Whole, "matched", "long", "no tenant", "missed", "waits", "in memory", "origin", "replay")
		step(30*day-time.Second, "matched", "long", "no tenant", "missed", "waits", "in memory", "origin", "replay")
		step(30*day+time.Second+e.h.Whole, "long", "waits", "in memory", "origin", "replay")
		// The last obstacles go away.
		got, err := e.s.Event(e.ctx, replayed.Event.ID)
		e.must(err)
		e.same("payload", string(got.Payload), string(origin.Event.Payload))
		e.end(all["waits"])
		e.record(func() store.Outcome { o := e.outcome(all["in memory"], 1, 1, patchbay.DeliverySucceeded); return o }())
		e.clock.forward(2 * time.Second)
		e.accept(e.event()) // whatever moves a floor up
		e.clock.forward(start.Add(59*day + 2*time.Hour + e.h.Whole).Sub(e.now()))
		e.prune(retention) // the replay goes, and when it has gone its origin may
		step(59*day+4*time.Hour+e.h.Whole, "long")
		step(90*day + time.Second + e.h.Whole)
	}},
	{"deletes everything of an event", func(e *env) {
		a := e.event(linkA, linkB)
		e.accept(a)
		first := e.retry(a, 1, 1, e.now())
		first.Attempt.ResponseBody = strings.Repeat("x", 1000)
		last := e.outcome(a, 1, 2, patchbay.DeliveryFailed)
		last.WasQueued = true
		e.record(first, last, e.outcome(a, 2, 0, patchbay.DeliverySkipped))
		other := e.sent("acme")
		e.clock.forward(31 * day)
		young := e.sent("acme")
		e.prune(retention)
		e.wantKept(map[string]*store.Acceptance{"a": a, "other": other, "young": young}, "young")
		if _, err := e.s.Delivery(e.ctx, delivery(a, 1)); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("a delivery of a deleted event: %v", err)
		}
		for name, f := range map[string]store.DeliveryFilter{
			"all": {}, "link": {Link: linkA}, "scope": {Within: "acme"},
			"ended": {States: []patchbay.DeliveryState{patchbay.DeliveryFailed, patchbay.DeliverySkipped, patchbay.DeliverySucceeded}},
		} {
			f.Limit = 10
			e.same(name, deliveryIDs(e.deliveryPages(f)), []patchbay.DeliveryID{delivery(young, 1)})
		}
		e.same("failed", deliveryIDs(e.deliveryPages(store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Limit: 10})), []patchbay.DeliveryID{})
		e.same("events", ids(e.eventPages(store.EventFilter{Limit: 10, Types: []string{"repo.push"}})), []patchbay.EventID{young.Event.ID})
	}},
	{"answers of partners go earlier", func(e *env) {
		a, late := e.sent("acme"), e.accept(e.held(linkA))
		bodies := func(a *store.Acceptance, want ...string) {
			e.Helper()
			var got []string
			for _, at := range e.delivery(delivery(a, 1)).Attempts {
				got = append(got, at.ResponseBody)
			}
			e.same("bodies", got, want)
		}
		e.clock.forward(6 * day)
		e.prune(retention)
		bodies(a, "body")
		o := e.retry(late, 1, 1, e.now())
		o.Attempt.ResponseBody = "late"
		e.record(o)
		e.clock.forward(day + time.Minute + e.h.Whole)
		e.prune(retention)
		bodies(a, "")
		bodies(late, "late")
		e.clock.forward(6 * day)
		e.prune(retention)
		bodies(late, "")
		e.same("code", e.delivery(delivery(a, 1)).Attempts[0].ResponseCode, 200)
	}},
	{"0 is for ever", func(e *env) {
		a := e.sent("acme")
		b := e.accept(e.event())
		e.clock.forward(1000 * day)
		e.prune(store.Retention{})
		e.wantKept(map[string]*store.Acceptance{"a": a, "b": b}, "a", "b")
		e.same("body", e.delivery(delivery(a, 1)).Attempts[0].ResponseBody, "body")
		e.prune(store.Retention{Tenants: map[string]time.Duration{"acme": day}})
		e.wantKept(map[string]*store.Acceptance{"a": a, "b": b}, "b")
	}},
	{"a retention that becomes shorter holds for what is there", func(e *env) {
		a, b := e.sent("acme"), e.sent("short")
		e.clock.forward(10 * day)
		e.prune(store.Retention{Matched: 9 * day, Tenants: map[string]time.Duration{"acme": 30 * day, "short": 30 * day}})
		e.wantKept(map[string]*store.Acceptance{"a": a, "b": b}, "a", "b")
		e.prune(store.Retention{Matched: 9 * day, Tenants: map[string]time.Duration{"acme": 9 * day, "short": 30 * day}})
		e.wantKept(map[string]*store.Acceptance{"a": a, "b": b}, "b")
	}},
	{"a step is small", func(e *env) {
		for range 150 {
			e.accept(e.event())
			e.accept(e.event())
			e.accept(e.event())
			e.accept(e.event())
		}
		count := func() int { return len(e.eventPages(store.EventFilter{Limit: 250})) }
		before := count()
		e.clock.forward(4 * day)
		more, err := e.s.Prune(e.ctx, retention, e.now())
		e.must(err)
		if gone := before - count(); !more || gone > 500 && e.h.Whole == 0 {
			e.Errorf("one step deleted %d of %d events; more: %t", gone, before, more)
		}
		e.prune(retention)
		e.same("events", count(), 0)
	}},
	{"lists stay right while events are deleted", func(e *env) {
		all := e.population(500)
		for _, a := range all {
			for i := range a.Targets {
				e.s.Record([]store.Outcome{e.outcome(a, i+1, 1, patchbay.DeliverySucceeded)}, nil)
			}
		}
		e.must(e.s.Flush(e.ctx))
		kept := func(a *store.Acceptance) bool { return true }
		check := func() {
			e.Helper()
			for _, f := range []store.EventFilter{{Limit: 100}, {Limit: 100, Types: []string{"type.1"}}, {Limit: 9, Within: "tenant1/repos/4"}} {
				want := newestFirst(all, func(a *store.Acceptance) bool {
					return kept(a) && (f.Types == nil || a.Event.Type == f.Types[0]) && inScope(f.Within, a)
				})
				e.same("events", ids(e.eventPages(f)), want)
			}
			want := 0
			for _, a := range all {
				if kept(a) {
					want += len(a.Targets)
				}
			}
			e.same("deliveries", len(e.deliveryPages(store.DeliveryFilter{Limit: 100})), want)
		}
		check()
		e.clock.forward(4 * day)
		e.prune(retention)
		kept = func(a *store.Acceptance) bool { return len(a.Targets) > 0 || a.Missed }
		check()
		e.crash()
		check()
		e.clock.forward(30 * day)
		more := e.population(300)
		e.prune(retention)
		all, kept = more, func(*store.Acceptance) bool { return true }
		check()
	}},
	{"a byte budget takes the oldest, but nothing that waits", func(e *env) {
		if e.h.Whole > 0 {
			e.t.Skip("this store deletes more at once than the test makes")
		}
		waits := e.accept(e.held(linkA))
		blob := strings.Repeat("x", 20_000)
		var all []*store.Acceptance
		for range 200 {
			a := e.event()
			a.Event.Payload = json.RawMessage(fmt.Sprintf(`{"x": %q}`, blob))
			all = append(all, e.accept(a))
			e.clock.forward(time.Second)
		}
		e.prune(store.Retention{MaxBytes: 100 << 20})
		e.same("events", len(e.eventPages(store.EventFilter{Limit: 100})), 201)
		e.prune(store.Retention{MaxBytes: 2 << 20})
		got := ids(e.eventPages(store.EventFilter{Limit: 50}))
		if n := len(got); n < 20 || n > 110 {
			e.Fatalf("%d events are left in 2 MiB", n)
		}
		e.same("the youngest is left", got[0], all[199].Event.ID)
		e.same("what waits is left", got[len(got)-1], waits.Event.ID)
		for i, id := range got[:len(got)-1] {
			e.same("in order", id, all[199-i].Event.ID)
		}
		done, pending := e.finished(e.called(e.hook("done")), patchbay.HookDone), e.called(e.hook("pending"))
		e.prune(store.Retention{MaxBytes: 1}) // cannot be reached
		e.wantKept(map[string]*store.Acceptance{"waits": waits}, "waits")
		e.wantHooks(map[string]*store.Hook{"done": done, "pending": pending}, "pending")
	}},
	{"forgets keys whose time is over", func(e *env) {
		for i := range 100 {
			a := e.event()
			until := e.now().Add(time.Hour)
			if i == 50 {
				until = e.now().Add(50 * day)
			}
			a.Idempotency = &store.Idempotency{Key: key(fmt.Sprint(i)), Until: until}
			e.accept(a)
		}
		e.clock.forward(2 * day)
		e.prune(retention)
		got, err := e.s.Remembered(e.ctx, key("50"), e.now())
		e.must(err)
		if got == nil {
			e.Error("a key is forgotten too early")
		}
		got, err = e.s.Remembered(e.ctx, key("7"), e.now())
		e.must(err)
		if got != nil {
			e.Error("a key is remembered too long")
		}
	}},
	{"old revisions of links go with the last event that they may have matched", func(e *env) {
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 1)))
		a := e.sent("acme")
		e.clock.forward(time.Minute)
		e.must(e.s.SaveLink(e.ctx, e.link(linkA, 2)))
		e.must(e.s.SaveLink(e.ctx, e.link(linkB, 1)))
		e.clock.forward(20 * day)
		e.sent("acme")
		e.must(e.s.DeleteLink(e.ctx, linkB, e.now()))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkB, DropBefore: patchbay.DeliveryID(e.s.NewID(1))}))
		revisions := func(want ...bool) {
			e.Helper()
			for i, x := range []struct {
				link     patchbay.LinkID
				revision int
			}{{linkA, 1}, {linkA, 2}, {linkB, 1}} {
				if _, err := e.s.LinkRevision(e.ctx, x.link, x.revision); (err == nil) != want[i] {
					e.Errorf("%s revision %d: %v", x.link, x.revision, err)
				}
			}
		}
		e.prune(retention)
		revisions(true, true, true)
		e.clock.forward(10*day + time.Hour + e.h.Whole)
		e.prune(retention)
		e.wantKept(map[string]*store.Acceptance{"a": a})
		revisions(false, true, true)
		e.clock.forward(21 * day)
		e.prune(retention)
		revisions(false, true, false)
		lanes, err := e.s.Lanes(e.ctx)
		e.must(err)
		e.same("lanes", lanes, []store.Lane{})
		all, err := e.s.AllLinks(e.ctx)
		e.must(err)
		e.same("links", len(all), 1)
	}},
	{"threads go after the longest retention", func(e *env) {
		a := e.event(linkA, linkA)
		e.accept(a)
		o := e.outcome(a, 1, 1, patchbay.DeliverySucceeded)
		o.Thread = &store.ThreadUpdate{Thread: "x", Reference: "r", Event: a.Event.ID}
		e.record(o)
		has := func(want bool) {
			e.Helper()
			got, err := e.s.Thread(e.ctx, linkA, "x")
			e.must(err)
			e.same("remembered", got.Reference != "", want)
		}
		e.clock.forward(89 * day)
		e.prune(retention)
		has(true)
		e.clock.forward(2 * day)
		e.prune(retention)
		has(false)
	}},
}
