package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var acceptTests = []test{
	{"keeps every field", func(e *env) {
		a := e.event(linkA, linkB, linkC)
		a.Event.Type = "päckchen.push"
		a.Event.Also = []patchbay.Scope{"acme/teams/42", "acme/users/x"}
		a.Event.Payload = json.RawMessage("{\"b\": 1e400, \"a\": 12345678901234567890123, \"\\u0000\": \"\x00 \xc3\xa9\"}")
		a.Event.Actor = json.RawMessage(`{"name": "Ann"}`)
		a.Event.OccurredAt = e.now().Add(-time.Hour - 123*time.Microsecond)
		a.Event.ReceivedAt = e.now().Add(7 * time.Microsecond)
		a.Event.Source = patchbay.Source{Kind: patchbay.SourceHook, Link: linkC, Integration: "github", Target: "acme/web", Key: 77}
		a.Event.Hops = 2
		a.Targets[1] = store.Target{Link: linkB, Revision: 300, Integration: "slack"}
		a.Targets[2] = store.Target{Link: linkC, Revision: 2, Integration: "slack"}
		a.Missed = true
		e.accept(a)
		for range 2 {
			got, err := e.s.Event(e.ctx, a.Event.ID)
			e.must(err)
			e.same("event", got, &store.EventRecord{Event: *a.Event, Targets: a.Targets, Missed: true})
			e.reopen()
		}
	}},
	{"keeps every kind of source", func(e *env) {
		for _, s := range []patchbay.Source{
			{Kind: patchbay.SourceAPI}, {Kind: patchbay.SourceAPI, Key: 1 << 60}, {Kind: patchbay.SourceInline}, {Kind: patchbay.SourceTest, Link: 5},
			{Kind: patchbay.SourceSystem, Link: linkA}, {Kind: patchbay.SourceHook, Link: linkA, Integration: "x", Target: ""},
			{Kind: patchbay.SourceHook, Target: "t"}, {Kind: "broker", Integration: "kafka"}, {Kind: "broker"},
		} {
			a := e.event()
			a.Event.Source = s
			e.accept(a)
			got, err := e.s.Event(e.ctx, a.Event.ID)
			e.must(err)
			e.same("source", got.Source, s)
		}
	}},
	{"keeps targets of inline calls", func(e *env) {
		a := e.event(0, 0, 0)
		a.Targets = []store.Target{{Integration: "slack"}, {}, {Integration: "jira"}}
		e.accept(a)
		got, err := e.s.Event(e.ctx, a.Event.ID)
		e.must(err)
		e.same("targets", got.Targets, a.Targets)
	}},
	{"keeps small and large payloads", func(e *env) {
		for _, n := range []int{2, 100, 4000, 8192, 70_000, patchbay.MaxEventBody} {
			a := e.event(linkA)
			a.Event.Payload = json.RawMessage(`{` + strings.Repeat(" ", n-2) + `}`)
			e.accept(a)
			got, err := e.s.Event(e.ctx, a.Event.ID)
			e.must(err)
			if string(got.Payload) != string(a.Event.Payload) {
				e.Errorf("a payload of %d bytes came back as another one of %d", n, len(got.Payload))
			}
		}
	}},
	{"without OccurredAt it is ReceivedAt", func(e *env) {
		a := e.event()
		a.Event.OccurredAt = time.Time{}
		e.accept(a)
		got, err := e.s.Event(e.ctx, a.Event.ID)
		e.must(err)
		e.same("occurred", got.OccurredAt, a.Event.ReceivedAt)
	}},
	{"an event that does not exist", func(e *env) {
		e.accept(e.event(linkA))
		if _, err := e.s.Event(e.ctx, patchbay.EventID(e.s.NewID(1))); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("got %v, want ErrNotFound", err)
		}
	}},
	{"an identifier twice is a conflict", func(e *env) {
		a := e.accept(e.event(linkA))
		again := *a
		event := *a.Event
		event.Payload = json.RawMessage(`{"other": true}`)
		again.Event = &event
		again.Idempotency = &store.Idempotency{Key: key("k"), Until: e.now().Add(time.Hour)}
		if _, err := e.s.Accept(e.ctx, &again); !errors.Is(err, store.ErrConflict) {
			e.Errorf("got %v, want ErrConflict", err)
		}
		got, err := e.s.Event(e.ctx, a.Event.ID)
		e.must(err)
		e.same("payload", string(got.Payload), string(a.Event.Payload))
		existing, err := e.s.Remembered(e.ctx, key("k"), e.now())
		e.must(err)
		if existing != nil {
			e.Errorf("the key of an acceptance that failed is remembered")
		}
	}},
	{"commits queue and outcomes with the event", func(e *env) {
		a := e.event(linkA, linkB, linkC)
		a.Queue = []store.Queued{e.place(a, 2, e.now())}
		a.Outcomes = []store.Outcome{e.outcome(a, 3, 1, patchbay.DeliverySucceeded)}
		e.accept(a)
		e.crash()
		e.wantState(a, 1, patchbay.DeliveryPending)
		e.wantState(a, 2, patchbay.DeliveryPending)
		e.wantState(a, 3, patchbay.DeliverySucceeded)
		e.wantDue(linkA)
		e.wantDue(linkB, delivery(a, 2))
		e.wantDue(linkC)
	}},
	{"does not keep what it was given", func(e *env) {
		payload := []byte(`{"a": 1}`)
		a := e.event(linkA)
		a.Event.Payload = payload
		e.accept(a)
		copy(payload, "XXXXXXXX")
		a.Targets[0].Link = linkB
		got, err := e.s.Event(e.ctx, a.Event.ID)
		e.must(err)
		e.same("payload", string(got.Payload), `{"a": 1}`)
		e.same("link", got.Targets[0].Link, linkA)
	}},
	{"many at the same time", func(e *env) {
		const each, callers = 25, 16
		all := make([]*store.Acceptance, callers*each)
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := range each {
					a := e.event(linkA, linkB)
					a.Event.Payload = json.RawMessage(fmt.Sprintf(`{"caller": %d, "i": %d}`, c, i))
					if _, err := e.s.Accept(e.ctx, a); err != nil {
						e.Error(err)
					}
					all[c*each+i] = a
					e.s.Record([]store.Outcome{e.outcome(a, 1, 1, patchbay.DeliverySucceeded)}, nil)
				}
			})
		}
		wg.Wait()
		e.must(e.s.Flush(e.ctx))
		e.crash()
		for _, a := range all {
			got, err := e.s.Event(e.ctx, a.Event.ID)
			e.must(err)
			e.same("payload", string(got.Payload), string(a.Event.Payload))
			e.wantState(a, 1, patchbay.DeliverySucceeded)
			e.wantState(a, 2, patchbay.DeliveryPending)
		}
	}},
	{"a cancelled context stores nothing or everything", func(e *env) {
		cancelled, cancel := context.WithCancel(e.ctx)
		cancel()
		for range 50 {
			a := e.event(linkA)
			_, err := e.s.Accept(cancelled, a)
			_, found := e.s.Event(e.ctx, a.Event.ID)
			switch {
			case err == nil && found != nil:
				e.Errorf("accepted, but then: %v", found)
			case err != nil && !errors.Is(err, context.Canceled):
				e.Errorf("got %v, want the context's error", err)
			case err != nil && !errors.Is(found, store.ErrNotFound):
				e.Errorf("Accept said %v, but the event is there (%v)", err, found)
			}
		}
	}},
	{"after Close everything is ErrClosed", func(e *env) {
		a := e.accept(e.event(linkA))
		e.must(e.s.Close())
		e.must(e.s.Close())
		e.s.Record([]store.Outcome{e.outcome(a, 1, 1, patchbay.DeliverySucceeded)}, nil)
		_, accept := e.s.Accept(e.ctx, a)
		_, event := e.s.Event(e.ctx, a.Event.ID)
		_, events := e.s.Events(e.ctx, store.EventFilter{Limit: 1})
		_, due := e.s.Due(e.ctx, linkA, e.now(), 1, nil)
		_, lanes := e.s.Lanes(e.ctx)
		_, prune := e.s.Prune(e.ctx, store.Retention{}, e.now())
		for what, err := range map[string]error{
			"Accept": accept, "Event": event, "Events": events, "Due": due, "Lanes": lanes, "Prune": prune,
			"Flush": e.s.Flush(e.ctx), "Enqueue": e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now())}),
			"SaveLane": e.s.SaveLane(e.ctx, store.Lane{Link: linkA}), "SetMeta": e.s.SetMeta(e.ctx, "a", "b"), "Healthy": e.s.Healthy(e.ctx),
		} {
			if !errors.Is(err, store.ErrClosed) {
				e.Errorf("%s returns %v, want ErrClosed", what, err)
			}
		}
	}},
	{"identifiers go on above all that is stored, whatever the clock does", func(e *env) {
		last := patchbay.DeliveryID(0)
		take := func(n int) {
			e.Helper()
			a := e.event(make([]patchbay.LinkID, n)...)
			if patchbay.DeliveryID(a.Event.ID) <= last {
				e.Fatalf("%s comes after %s", a.Event.ID, last)
			}
			e.accept(a)
			last = delivery(a, n)
		}
		take(5)
		e.clock.forward(-time.Hour)
		take(1)
		take(3)
		e.reopen()
		take(300)
		e.clock.forward(-24 * time.Hour)
		e.crash()
		take(1)
		a := e.event(linkA)
		a.Queue = []store.Queued{e.place(a, 1, e.now())}
		e.accept(a)
		last = delivery(a, 1)
		e.reopen()
		take(2)
	}},
}

var idempotencyTests = []test{
	{"a remembered key gives the existing event", func(e *env) {
		a := e.event(linkA, linkB)
		a.Idempotency = &store.Idempotency{Key: key("k"), Body: key("body"), Until: e.now().Add(time.Hour)}
		e.accept(a)
		want := &store.Existing{Event: a.Event.ID, Body: key("body"), Deliveries: 2}
		for range 2 {
			b := e.event(linkA)
			b.Idempotency = &store.Idempotency{Key: key("k"), Body: key("other"), Until: e.now().Add(time.Hour)}
			b.Queue = []store.Queued{e.place(b, 1, e.now())}
			existing, err := e.s.Accept(e.ctx, b)
			e.must(err)
			e.same("existing", existing, want)
			if _, err := e.s.Event(e.ctx, b.Event.ID); !errors.Is(err, store.ErrNotFound) {
				e.Errorf("the second event is stored (%v)", err)
			}
			e.wantDue(linkA)
			remembered, err := e.s.Remembered(e.ctx, key("k"), e.now())
			e.must(err)
			e.same("remembered", remembered, want)
			e.crash()
		}
	}},
	{"other keys and no keys do not meet", func(e *env) {
		for i := range 20 {
			a := e.event()
			a.Idempotency = &store.Idempotency{Key: key(fmt.Sprint(i)), Until: e.now().Add(time.Hour)}
			e.accept(a)
			e.accept(e.event())
		}
		existing, err := e.s.Remembered(e.ctx, key("20"), e.now())
		e.must(err)
		if existing != nil {
			e.Errorf("a key that was never used is remembered: %v", existing)
		}
	}},
	{"keys that begin alike are told apart", func(e *env) {
		a, b := e.event(), e.event()
		k := key("k")
		other := k
		other[15] ^= 1
		a.Idempotency = &store.Idempotency{Key: k, Until: e.now().Add(time.Hour)}
		b.Idempotency = &store.Idempotency{Key: other, Until: e.now().Add(time.Hour)}
		e.accept(a)
		e.accept(b)
	}},
	{"a key is forgotten at its time", func(e *env) {
		first := e.event()
		until := e.now().Add(time.Hour)
		first.Idempotency = &store.Idempotency{Key: key("k"), Until: until}
		e.accept(first)
		for _, c := range []struct {
			at   time.Time
			want bool
		}{{until.Add(-time.Millisecond), true}, {until, false}, {until.Add(time.Hour), false}} {
			got, err := e.s.Remembered(e.ctx, key("k"), c.at)
			e.must(err)
			if (got != nil) != c.want {
				e.Errorf("at %s the key is remembered: %t, want %t", c.at, got != nil, c.want)
			}
		}
		e.clock.forward(time.Hour)
		second := e.event()
		second.Idempotency = &store.Idempotency{Key: key("k"), Until: e.now().Add(time.Hour)}
		e.accept(second)
		for range 2 {
			got, err := e.s.Remembered(e.ctx, key("k"), e.now())
			e.must(err)
			e.same("remembered", got, &store.Existing{Event: second.Event.ID})
			e.crash()
		}
	}},
	{"concurrent calls with one key agree", func(e *env) {
		const callers = 32
		winners := make([]patchbay.EventID, callers)
		all := make([]*store.Acceptance, callers)
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				a := e.event(linkA)
				a.Idempotency = &store.Idempotency{Key: key("k"), Body: key("b"), Until: e.now().Add(time.Hour)}
				all[c] = a
				existing, err := e.s.Accept(e.ctx, a)
				switch {
				case err != nil:
					e.Error(err)
				case existing == nil:
					winners[c] = a.Event.ID
				default:
					winners[c] = existing.Event
				}
			})
		}
		wg.Wait()
		stored := 0
		for c := range callers {
			if winners[c] != winners[0] {
				e.Fatalf("callers were given %s and %s", winners[c], winners[0])
			}
			if _, err := e.s.Event(e.ctx, all[c].Event.ID); err == nil {
				stored++
			}
		}
		if stored != 1 {
			e.Errorf("%d events are stored, want 1", stored)
		}
	}},
	{"concurrent calls with many keys", func(e *env) {
		const callers, keys = 16, 40
		var mu sync.Mutex
		accepted := map[int]patchbay.EventID{}
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for k := range keys {
					a := e.event(linkA)
					a.Idempotency = &store.Idempotency{Key: key(fmt.Sprint(k)), Until: e.now().Add(time.Hour)}
					existing, err := e.s.Accept(e.ctx, a)
					if err != nil {
						e.Error(err)
						return
					}
					mu.Lock()
					if existing == nil && accepted[k] != 0 {
						e.Errorf("key %d was accepted twice", k)
					}
					if existing == nil {
						accepted[k] = a.Event.ID
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		events, err := e.s.Events(e.ctx, store.EventFilter{Limit: 1000})
		e.must(err)
		if len(events) != keys {
			e.Errorf("%d events are stored, want %d", len(events), keys)
		}
	}},
}
