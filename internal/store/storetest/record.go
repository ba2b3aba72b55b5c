package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var recordTests = []test{
	{"tells when results are durable", func(e *env) {
		a := e.accept(e.event(linkA))
		done := make(chan struct{})
		e.s.Record([]store.Outcome{e.outcome(a, 1, 1, patchbay.DeliverySucceeded)}, func() { close(done) })
		select {
		case <-done: // nobody else makes a transaction: time alone does
		case <-time.After(10 * time.Second):
			e.Fatal("a result is not committed by itself")
		}
		e.crash()
		e.wantState(a, 1, patchbay.DeliverySucceeded)
	}},
	{"Flush waits for everything before", func(e *env) {
		const n = 700
		all := make([]*store.Acceptance, n)
		var told atomic.Int64
		for i := range all {
			all[i] = e.accept(e.event(linkA))
			e.s.Record([]store.Outcome{e.outcome(all[i], 1, 1, patchbay.DeliverySucceeded)}, func() { told.Add(1) })
		}
		e.must(e.s.Flush(e.ctx))
		if got := told.Load(); got != n {
			e.Errorf("%d of %d were told when Flush returned", got, n)
		}
		e.crash()
		for _, a := range all {
			e.wantState(a, 1, patchbay.DeliverySucceeded)
		}
	}},
	{"Flush of nothing", func(e *env) {
		e.must(e.s.Flush(e.ctx))
		cancelled, cancel := context.WithCancel(e.ctx)
		cancel()
		if err := e.s.Flush(cancelled); err != nil && cancelled.Err() == nil {
			e.Error(err)
		}
	}},
	{"Close commits what was recorded", func(e *env) {
		a := e.accept(e.event(linkA))
		e.s.Record([]store.Outcome{e.outcome(a, 1, 1, patchbay.DeliverySucceeded)}, nil)
		e.reopen()
		e.wantState(a, 1, patchbay.DeliverySucceeded)
	}},
	{"is committed before what comes later", func(e *env) {
		for range 20 {
			a := e.accept(e.held(linkA))
			final := e.outcome(a, 1, 1, patchbay.DeliveryFailed)
			final.WasQueued = true
			e.s.Record([]store.Outcome{final}, nil)
			e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now())})) // by hand
			e.wantState(a, 1, patchbay.DeliveryPending)
			final.N = 2
			e.record(final)
		}
		e.wantDue(linkA)
	}},
	{"results of one delivery keep their order", func(e *env) {
		const n = 30
		a := e.accept(e.event(linkA, linkB))
		var all []store.Outcome
		for i := 1; i < n; i++ {
			o := e.retry(a, 1, i, e.now())
			o.WasQueued = i > 1
			all = append(all, o, func() store.Outcome { o := e.retry(a, 2, i, e.now()); o.WasQueued = i > 1; return o }())
		}
		last := e.outcome(a, 1, n, patchbay.DeliverySucceeded)
		last.WasQueued = true
		e.record(append(all, last)...)
		d := e.delivery(delivery(a, 1))
		e.same("state", d.State, patchbay.DeliverySucceeded)
		e.same("count", d.AttemptCount, n)
		for i := range d.Attempts {
			if d.Attempts[i].DurationMS != int64(i+1) {
				e.Fatalf("attempt %d stands at place %d", d.Attempts[i].DurationMS, i+1)
			}
		}
		e.wantState(a, 2, patchbay.DeliveryPending)
	}},
	{"a pending result without a new place leaves the delivery where it is", func(e *env) {
		inMemory, inQueue := e.accept(e.event(linkA)), e.accept(e.held(linkA))
		for _, a := range []*store.Acceptance{inMemory, inQueue} {
			e.record(e.outcome(a, 1, 1, patchbay.DeliveryPending))
			e.wantState(a, 1, patchbay.DeliveryPending)
		}
		e.wantDue(linkA, delivery(inQueue, 1))
		e.crash()
		n, err := e.s.Recover(e.ctx, e.now())
		e.must(err)
		e.same("recovered", n, 1)
		e.wantDue(linkA, delivery(inMemory, 1), delivery(inQueue, 1))
	}},
	{"from many goroutines", func(e *env) {
		const callers, each = 8, 50
		var all [callers][each]*store.Acceptance
		var wg sync.WaitGroup
		var told atomic.Int64
		for c := range callers {
			for i := range each {
				all[c][i] = e.accept(e.event(linkA))
			}
			wg.Go(func() {
				for i := range each {
					e.s.Record([]store.Outcome{e.outcome(all[c][i], 1, 1, patchbay.DeliverySucceeded)}, func() { told.Add(1) })
				}
			})
		}
		wg.Wait()
		e.must(e.s.Flush(e.ctx))
		e.same("told", told.Load(), int64(callers*each))
		e.same("succeeded", len(e.deliveryPages(store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliverySucceeded}, Limit: 100})), callers*each)
	}},
	{"remembers threads, the newest event's", func(e *env) {
		a, b := e.accept(e.event(linkA, linkA, linkA)), e.accept(e.event(linkA))
		update := func(a *store.Acceptance, i int, ref string) {
			o := e.outcome(a, i, 1, patchbay.DeliverySucceeded)
			o.Thread = &store.ThreadUpdate{Thread: "run/1", Reference: ref, Event: a.Event.ID}
			e.record(o)
		}
		want := func(ref string, event patchbay.EventID) {
			e.Helper()
			got, err := e.s.Thread(e.ctx, linkA, "run/1")
			e.must(err)
			e.same("thread", got, store.ThreadState{Reference: ref, Event: event})
		}
		want("", 0)
		update(a, 1, "first")
		want("first", a.Event.ID)
		update(a, 2, "again")
		want("again", a.Event.ID)
		update(b, 1, "newer")
		want("newer", b.Event.ID)
		update(a, 3, "older")
		want("newer", b.Event.ID)
		e.crash()
		want("newer", b.Event.ID)
		for _, other := range []struct {
			link   patchbay.LinkID
			thread string
		}{{linkB, "run/1"}, {linkA, "run/10"}, {linkA, ""}} {
			got, err := e.s.Thread(e.ctx, other.link, other.thread)
			e.must(err)
			e.same("another thread", got, store.ThreadState{})
		}
	}},
}
