package storetest

import (
	"cmp"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var laneTests = []test{
	{"keeps every field of a lane", func(e *env) {
		a := store.Lane{Link: linkA, FailingSince: e.now().Add(-time.Hour), Failures: 7, OpenUntil: e.now().Add(time.Minute), DropBefore: 5}
		b := store.Lane{Link: linkB}
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, Failures: 1}))
		e.must(e.s.SaveLane(e.ctx, a))
		e.must(e.s.SaveLane(e.ctx, b))
		for range 2 {
			got, err := e.s.Lanes(e.ctx)
			e.must(err)
			slices.SortFunc(got, func(x, y store.Lane) int { return cmp.Compare(x.Link, y.Link) })
			e.same("lanes", got, []store.Lane{a, b})
			e.crash()
		}
	}},
	{"dropping cancels what waits and is lower, at once and for good", func(e *env) {
		old := []*store.Acceptance{e.accept(e.held(linkA, linkB)), e.accept(e.held(linkA))}
		memory := e.accept(e.event(linkA))
		done := e.accept(e.event(linkA))
		e.record(e.outcome(done, 1, 1, patchbay.DeliveryFailed))
		young := e.accept(e.held(linkA))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(young, 1)}))
		for round := range 4 {
			e.wantDue(linkA, delivery(young, 1))
			e.wantWaiting(linkA, 1)
			e.wantNextDue(linkA, start)
			for _, a := range old {
				e.wantState(a, 1, patchbay.DeliveryCancelled)
			}
			e.wantState(old[0], 2, patchbay.DeliveryPending)
			e.wantState(memory, 1, patchbay.DeliveryCancelled)
			e.wantState(done, 1, patchbay.DeliveryFailed)
			e.wantState(young, 1, patchbay.DeliveryPending)
			if d := e.delivery(delivery(old[0], 1)); d.NextAttemptAt != nil {
				e.Errorf("a dropped delivery is due at %s", d.NextAttemptAt)
			}
			waited, err := e.s.Waited(e.ctx)
			e.must(err)
			e.same("waited", waited, map[patchbay.LinkID]time.Time{linkA: start, linkB: start})
			stats, err := e.s.Stats(e.ctx)
			e.must(err)
			e.same("queued", stats.Queued, int64(2))
			e.same("cancelled", deliveryIDs(e.deliveryPages(store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryCancelled}, Limit: 2})),
				[]patchbay.DeliveryID{delivery(memory, 1), delivery(old[1], 1), delivery(old[0], 1)})
			e.same("pending", deliveryIDs(e.deliveryPages(store.DeliveryFilter{States: []patchbay.DeliveryState{patchbay.DeliveryPending}, Limit: 2})),
				[]patchbay.DeliveryID{delivery(young, 1), delivery(old[0], 2)})
			switch round {
			case 0, 2:
				e.crash()
			case 1:
				e.prune(store.Retention{})
			}
		}
	}},
	{"recovering leaves dropped deliveries alone", func(e *env) {
		a, b := e.accept(e.event(linkA)), e.accept(e.event(linkA))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(b, 1)}))
		e.crash()
		n, err := e.s.Recover(e.ctx, e.now())
		e.must(err)
		e.same("recovered", n, 1)
		e.wantDue(linkA, delivery(b, 1))
		e.wantState(a, 1, patchbay.DeliveryCancelled)
	}},
	{"dropping is one write, whatever waits, and claims stay fast", func(e *env) {
		var last *store.Acceptance
		for range 40 {
			a := e.event(linkA, linkA, linkA, linkA, linkA, linkA, linkA, linkA, linkA, linkA)
			for j := range a.Targets {
				a.Queue = append(a.Queue, e.place(a, j+1, e.now()))
			}
			last = e.accept(a)
		}
		drop := delivery(last, 10) + 1
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: drop}))
		e.wantWaiting(linkA, 0)
		e.wantDue(linkA)
		e.wantNextDue(linkA, time.Time{})
		// What comes afterwards is found, also when it is due before what was dropped.
		early := e.event(linkA)
		early.Queue = []store.Queued{e.place(early, 1, e.now().Add(-time.Hour))}
		e.accept(early)
		late := e.accept(e.held(linkA))
		e.wantDue(linkA, delivery(early, 1), delivery(late, 1))
		more, err := e.s.Prune(e.ctx, store.Retention{}, e.now())
		e.must(err)
		if !more {
			e.Error("one step of Prune removed 400 rows, or none")
		}
		e.wantDue(linkA, delivery(early, 1), delivery(late, 1))
		e.prune(store.Retention{})
		e.wantDue(linkA, delivery(early, 1), delivery(late, 1))
		e.wantState(last, 1, patchbay.DeliveryCancelled)
		e.same("decision", len(e.delivery(delivery(last, 1)).Attempts), 1)
	}},
	{"a lower DropBefore leaves the higher one", func(e *env) {
		a := e.accept(e.held(linkA))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(a, 2)}))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, Failures: 3}))
		for range 2 {
			e.wantState(a, 1, patchbay.DeliveryCancelled)
			got, err := e.s.Lanes(e.ctx)
			e.must(err)
			e.same("lanes", got, []store.Lane{{Link: linkA, Failures: 3, DropBefore: delivery(a, 2)}})
			e.crash()
		}
	}},
	{"what is put back by hand waits again, until the next drop", func(e *env) {
		a, b := e.accept(e.held(linkA)), e.accept(e.held(linkA))
		c := e.accept(e.held(linkA))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(c, 1)}))
		e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now().Add(time.Second))}))
		e.clock.forward(time.Minute)
		for round := range 3 {
			e.wantDue(linkA, delivery(c, 1), delivery(a, 1))
			e.wantWaiting(linkA, 2)
			e.wantState(a, 1, patchbay.DeliveryPending)
			e.wantState(b, 1, patchbay.DeliveryCancelled)
			switch round {
			case 0:
				e.prune(store.Retention{})
			case 1:
				e.crash()
			}
		}
		retry := e.retry(a, 1, 1, e.now()) // and goes on waiting between attempts
		retry.WasQueued = true
		e.record(retry)
		e.wantDue(linkA, delivery(c, 1), delivery(a, 1))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(c, 1) + 1}))
		e.wantDue(linkA)
		e.wantState(a, 1, patchbay.DeliveryCancelled)
		e.prune(store.Retention{})
		e.wantState(a, 1, patchbay.DeliveryCancelled)
		e.wantState(c, 1, patchbay.DeliveryCancelled)
		e.wantWaiting(linkA, 0)
	}},
	{"a retry of what was dropped while it was being sent is dropped too", func(e *env) {
		a := e.accept(e.event(linkA))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(a, 2)}))
		e.prune(store.Retention{})
		e.record(e.retry(a, 1, 1, e.now()))
		for range 2 {
			e.wantDue(linkA)
			e.wantWaiting(linkA, 0)
			e.wantState(a, 1, patchbay.DeliveryCancelled)
			e.prune(store.Retention{})
		}
		sent := e.accept(e.held(linkB))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkB, DropBefore: delivery(sent, 2)}))
		e.end(sent) // it got through
		e.wantState(sent, 1, patchbay.DeliverySucceeded)
	}},
}
