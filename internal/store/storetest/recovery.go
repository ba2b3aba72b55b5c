package storetest

import (
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

func (e *env) wantRecovered(want int) {
	e.Helper()
	n, err := e.s.Recover(e.ctx, e.now())
	e.must(err)
	if n != want {
		e.Errorf("%d deliveries were recovered, want %d", n, want)
	}
}

var recoverTests = []test{
	{"finds what only memory knew of", func(e *env) {
		a := e.event(linkA, linkB, linkC, linkA, linkB)
		a.Queue = []store.Queued{e.place(a, 2, e.now().Add(time.Hour))}
		a.Outcomes = []store.Outcome{e.outcome(a, 3, 1, patchbay.DeliverySucceeded)}
		e.accept(a)
		e.record(e.retry(a, 5, 1, e.now().Add(time.Minute)))
		e.accept(e.event())
		e.crash()
		e.wantState(a, 1, patchbay.DeliveryPending)
		e.wantRecovered(2)
		e.wantDue(linkA, delivery(a, 1), delivery(a, 4))
		e.wantDue(linkB)
		e.wantWaiting(linkB, 2) // they keep their times
		e.wantNextDue(linkB, e.now().Add(time.Minute))
		e.wantWaiting(linkC, 0)
		e.wantRecovered(0)
		e.crash()
		e.wantRecovered(0)
		e.wantDue(linkA, delivery(a, 1), delivery(a, 4))
	}},
	{"an empty database", func(e *env) {
		e.wantRecovered(0)
		e.crash()
		e.wantRecovered(0)
	}},
	{"what was recovered can be sent, and is not recovered again", func(e *env) {
		a := e.accept(e.event(linkA))
		e.crash()
		e.clock.forward(time.Minute)
		e.wantRecovered(1)
		claimed := e.due(linkA, 10)
		if len(claimed) != 1 || claimed[0].Event.ID != a.Event.ID || !claimed[0].Due.Equal(e.now()) {
			e.Fatalf("claimed %+v", claimed)
		}
		o := e.outcome(a, 1, 1, patchbay.DeliverySucceeded)
		o.WasQueued = true
		e.record(o)
		e.crash()
		e.wantRecovered(0)
		e.wantState(a, 1, patchbay.DeliverySucceeded)
	}},
	{"deliveries that were being sent from the queue keep their places", func(e *env) {
		a := e.accept(e.held(linkA))
		e.same("claimed", len(e.due(linkA, 1)), 1)
		e.crash()
		e.wantRecovered(0)
		e.wantDue(linkA, delivery(a, 1))
	}},
	{"after a tidy end there is nothing to find but what was in memory", func(e *env) {
		all := e.population(100)
		for _, a := range all {
			for i := range a.Targets {
				e.s.Record([]store.Outcome{e.outcome(a, i+1, 1, patchbay.DeliverySucceeded)}, nil)
			}
		}
		left := e.accept(e.event(linkC))
		e.reopen()
		e.wantRecovered(1)
		e.wantDue(linkC, delivery(left, 1))
	}},
	{"an old delivery in memory is found however much has come since", func(e *env) {
		old := e.accept(e.event(linkC, linkC))
		e.record(e.outcome(old, 1, 1, patchbay.DeliverySucceeded))
		for range 5 {
			e.clock.forward(2 * time.Second)
			for _, a := range e.population(60) {
				for i := range a.Targets {
					e.s.Record([]store.Outcome{e.outcome(a, i+1, 1, patchbay.DeliverySucceeded)}, nil)
				}
			}
			e.must(e.s.Flush(e.ctx))
		}
		e.crash()
		e.wantRecovered(1)
		e.wantDue(linkC, delivery(old, 2))
	}},
	{"results of one delivery do not count for another of its event", func(e *env) {
		a := e.accept(e.event(linkA, linkB))
		for n := 1; n < 5; n++ {
			o := e.retry(a, 1, n, e.now())
			o.WasQueued = n > 1
			e.record(o)
		}
		e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now())}))
		for range 3 { // whatever moves a floor up
			e.accept(e.event())
			e.clock.forward(2 * time.Second)
		}
		e.crash()
		e.wantRecovered(1)
		e.wantDue(linkB, delivery(a, 2))
	}},
	{"an event that was overtaken by a commit is found", func(e *env) {
		slow := e.event(linkC)
		for range 20 {
			a := e.accept(e.event(linkA))
			e.record(e.outcome(a, 1, 1, patchbay.DeliverySucceeded))
		}
		e.reopen() // floors are written down at the end
		e.wantRecovered(0)
		e.accept(slow)
		e.crash()
		e.wantRecovered(1)
		e.wantDue(linkC, delivery(slow, 1))
	}},
	{"nothing accepted is lost in a crash under load", func(e *env) {
		const callers = 8
		type accepted struct {
			a        *store.Acceptance
			recorded bool
		}
		for range 3 {
			var mu sync.Mutex
			var all []accepted
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for i := range 40 {
						a := e.event(linkA, linkB)
						if _, err := e.s.Accept(e.ctx, a); err != nil {
							e.Error(err)
							return
						}
						x := accepted{a: a}
						if i%3 == 0 {
							done := make(chan struct{})
							e.s.Record([]store.Outcome{e.outcome(a, 1, 1, patchbay.DeliverySucceeded)}, func() { close(done) })
							<-done
							x.recorded = true
						}
						mu.Lock()
						all = append(all, x)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			e.crash()
			_, err := e.s.Recover(e.ctx, e.now())
			e.must(err)
			waits := map[patchbay.DeliveryID]bool{}
			for _, link := range []patchbay.LinkID{linkA, linkB} {
				for _, c := range e.due(link, 10_000) {
					waits[c.Delivery] = true
				}
			}
			for _, x := range all {
				if _, err := e.s.Event(e.ctx, x.a.Event.ID); err != nil {
					e.Errorf("an accepted event: %v", err)
				}
				if waits[delivery(x.a, 1)] == x.recorded || !waits[delivery(x.a, 2)] {
					e.Errorf("%s: recorded %t, waits %t and %t", x.a.Event.ID, x.recorded, waits[delivery(x.a, 1)], waits[delivery(x.a, 2)])
				}
			}
		}
	}},
}
