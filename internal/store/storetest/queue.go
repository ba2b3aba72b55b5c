package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var queueTests = []test{
	{"what is due comes with its event, the earliest first", func(e *env) {
		a := e.event(linkA, linkB, linkA)
		a.Targets[2].Revision = 9
		a.Queue = []store.Queued{e.place(a, 3, e.now().Add(-2*time.Minute)), e.place(a, 1, e.now().Add(-time.Minute)), e.place(a, 2, e.now())}
		a.Queue[0].Attempts, a.Queue[0].Used, a.Queue[0].Thread = 3, 2, "run/1"
		e.accept(a)
		later := e.event(linkA)
		later.Queue = []store.Queued{e.place(later, 1, e.now().Add(time.Millisecond))}
		e.accept(later)
		want := []store.Claimed{
			{Queued: a.Queue[0], Event: *a.Event, Revision: 9},
			{Queued: a.Queue[1], Event: *a.Event, Revision: 1},
		}
		for range 2 {
			e.same("due", e.due(linkA, 10), want)
			e.same("one", e.due(linkA, 1), want[:1])
			e.same("none", e.due(linkA, 0), []store.Claimed{})
			e.same("skipped", e.due(linkA, 10, delivery(a, 3)), want[1:])
			e.same("another link", len(e.due(linkB, 10)), 1)
			e.same("no such link", e.due(linkC, 10), []store.Claimed{})
			e.crash()
		}
		e.clock.forward(time.Millisecond)
		e.wantDue(linkA, delivery(a, 3), delivery(a, 1), delivery(later, 1))
	}},
	{"what is due at the same time comes in the order of identifiers", func(e *env) {
		var want []patchbay.DeliveryID
		for range 20 {
			want = append(want, delivery(e.accept(e.held(linkA)), 1))
		}
		e.wantDue(linkA, want...)
	}},
	{"limit counts what is not skipped", func(e *env) {
		var all []patchbay.DeliveryID
		for range 50 {
			all = append(all, delivery(e.accept(e.held(linkA)), 1))
		}
		got := e.due(linkA, 5, all[:40]...)
		if len(got) != 5 || got[0].Delivery != all[40] {
			e.Errorf("got %d deliveries", len(got))
		}
		e.same("all are skipped", e.due(linkA, 5, all...), []store.Claimed{})
	}},
	{"when the next is due", func(e *env) {
		e.wantNextDue(linkA, time.Time{})
		a := e.event(linkA, linkA)
		soon, late := e.now().Add(5*time.Microsecond), e.now().Add(time.Hour)
		a.Queue = []store.Queued{e.place(a, 1, late), e.place(a, 2, soon)}
		e.accept(a)
		e.wantNextDue(linkA, soon)
		e.wantNextDue(linkB, time.Time{})
		at, ok, err := e.s.NextDue(e.ctx, linkA, skipping([]patchbay.DeliveryID{delivery(a, 2)}))
		e.must(err)
		if !ok || !at.Equal(late) {
			e.Errorf("without the first the next is due at %s (%t)", at, ok)
		}
		_, ok, err = e.s.NextDue(e.ctx, linkA, skipping([]patchbay.DeliveryID{delivery(a, 1), delivery(a, 2)}))
		e.must(err)
		if ok {
			e.Error("something is due although everything is skipped")
		}
	}},
	{"counts what waits, up to a limit", func(e *env) {
		for range 10 {
			e.accept(e.held(linkA, linkB))
		}
		e.accept(e.event(linkA))
		e.wantWaiting(linkA, 10)
		e.wantWaiting(linkC, 0)
		n, err := e.s.Waiting(e.ctx, linkB, 4)
		e.must(err)
		e.same("limited", n, 4)
		stats, err := e.s.Stats(e.ctx)
		e.must(err)
		e.same("queued", stats.Queued, int64(20))
	}},
	{"which links wait since when", func(e *env) {
		waited := func(want map[patchbay.LinkID]time.Time) {
			e.Helper()
			got, err := e.s.Waited(e.ctx)
			e.must(err)
			e.same("waited", got, want)
		}
		waited(nil)
		for i := range 5 {
			a := e.event(linkA, linkB, 0)
			for j := range a.Targets {
				a.Queue = append(a.Queue, e.place(a, j+1, e.now().Add(time.Duration(5-i)*time.Minute)))
			}
			e.accept(a)
		}
		want := e.now().Add(time.Minute)
		waited(map[patchbay.LinkID]time.Time{linkA: want, linkB: want, 0: want})
		e.crash()
		waited(map[patchbay.LinkID]time.Time{linkA: want, linkB: want, 0: want})
	}},
	{"a retry has a new time, and an end leaves the queue", func(e *env) {
		a := e.accept(e.held(linkA))
		first := e.retry(a, 1, 1, e.now().Add(time.Minute))
		first.WasQueued = true
		first.Next.Used = 0
		e.record(first)
		e.wantDue(linkA)
		e.wantNextDue(linkA, e.now().Add(time.Minute))
		d := e.delivery(delivery(a, 1))
		if d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(e.now().Add(time.Minute)) || d.AttemptCount != 1 {
			e.Errorf("after an attempt the delivery is %+v", d)
		}
		e.clock.forward(time.Minute)
		claimed := e.due(linkA, 1)
		if len(claimed) != 1 || claimed[0].Attempts != 1 || claimed[0].Used != 0 {
			e.Fatalf("claimed %+v", claimed)
		}
		for n, state := range []patchbay.DeliveryState{patchbay.DeliverySucceeded, patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped} {
			o := e.outcome(a, 1, n+2, state)
			o.WasQueued = true
			o.Next = first.Next // does not count
			e.record(o)
			e.wantState(a, 1, state)
			e.wantWaiting(linkA, 0)
			e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now())}))
			e.wantState(a, 1, patchbay.DeliveryPending)
			e.wantWaiting(linkA, 1)
		}
	}},
	{"Enqueue adds and changes, durably, all or nothing", func(e *env) {
		a, b := e.accept(e.event(linkA, linkA)), e.accept(e.held(linkA))
		moved := e.place(b, 1, e.now().Add(time.Hour))
		moved.Attempts, moved.Used, moved.Thread = 4, 3, "t"
		e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 1, e.now().Add(-time.Second)), moved}))
		e.crash()
		e.wantDue(linkA, delivery(a, 1))
		e.clock.forward(time.Hour)
		got := e.due(linkA, 10)
		if len(got) != 2 {
			e.Fatalf("due: %+v", got)
		}
		e.same("moved", got[1].Queued, moved)
		gone := e.place(a, 2, e.now())
		gone.Event = 12345
		err := e.s.Enqueue(e.ctx, []store.Queued{e.place(a, 2, e.now()), gone})
		if !errors.Is(err, store.ErrNotFound) {
			e.Errorf("got %v, want ErrNotFound", err)
		}
		e.wantWaiting(linkA, 2)
		e.must(e.s.Enqueue(e.ctx, nil))
	}},
	{"a large backlog is claimed from its beginning to its end", func(e *env) {
		const n = 1200
		var want []patchbay.DeliveryID
		for i := range n / 10 {
			a := e.event(linkA, linkA, linkA, linkA, linkA, linkA, linkA, linkA, linkA, linkA)
			for j := range a.Targets {
				a.Queue = append(a.Queue, e.place(a, j+1, e.now().Add(time.Duration(i)*time.Microsecond)))
				want = append(want, delivery(a, j+1))
			}
			e.accept(a)
		}
		e.clock.forward(time.Second)
		var got []patchbay.DeliveryID
		for {
			claimed := e.due(linkA, 256)
			if len(claimed) == 0 {
				break
			}
			var outcomes []store.Outcome
			for _, c := range claimed {
				got = append(got, c.Delivery)
				outcomes = append(outcomes, store.Outcome{
					Delivery: c.Delivery, Event: c.Queued.Event, Link: linkA, N: 1, State: patchbay.DeliverySucceeded, WasQueued: true,
				})
			}
			e.record(outcomes...)
		}
		e.same("claimed", got, want)
	}},
}

// threaded makes events with one delivery each, in a thread of linkA.
func (e *env) threaded(due time.Duration, thread string) *store.Acceptance {
	a := e.event(linkA)
	a.Queue = []store.Queued{e.place(a, 1, e.now().Add(due))}
	a.Queue[0].Thread = thread
	return a
}

func (e *env) end(a *store.Acceptance) {
	e.Helper()
	o := e.outcome(a, 1, 1, patchbay.DeliverySucceeded)
	o.WasQueued = true
	e.record(o)
}

var threadTests = []test{
	{"only the earliest of a thread is due", func(e *env) {
		a, b, c := e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "x"))
		other, free := e.accept(e.threaded(0, "y")), e.accept(e.threaded(0, ""))
		free2 := e.accept(e.threaded(0, ""))
		e.wantDue(linkA, delivery(a, 1), delivery(other, 1), delivery(free, 1), delivery(free2, 1))
		e.same("while the first is in memory", len(e.due(linkA, 10, delivery(a, 1))), 3)
		e.wantWaiting(linkA, 6)
		e.end(a)
		e.wantDue(linkA, delivery(b, 1), delivery(other, 1), delivery(free, 1), delivery(free2, 1))
		e.crash()
		e.end(c) // a later one may go before its turn: a cancellation
		e.wantDue(linkA, delivery(b, 1), delivery(other, 1), delivery(free, 1), delivery(free2, 1))
		e.end(b)
		e.wantDue(linkA, delivery(other, 1), delivery(free, 1), delivery(free2, 1))
	}},
	{"also when the earliest is due last", func(e *env) {
		a, b := e.accept(e.threaded(time.Hour, "x")), e.accept(e.threaded(0, "x"))
		e.wantDue(linkA)
		e.wantNextDue(linkA, e.now().Add(time.Hour))
		waited, err := e.s.Waited(e.ctx)
		e.must(err)
		e.same("waited", waited, map[patchbay.LinkID]time.Time{linkA: e.now().Add(time.Hour)})
		e.end(a)
		e.wantDue(linkA, delivery(b, 1))
		e.wantNextDue(linkA, e.now())
	}},
	{"an earlier one that comes later goes first", func(e *env) {
		a, b := e.accept(e.event(linkA)), e.accept(e.threaded(0, "x"))
		e.wantDue(linkA, delivery(b, 1))
		place := e.place(a, 1, e.now().Add(time.Minute))
		place.Thread = "x"
		e.must(e.s.Enqueue(e.ctx, []store.Queued{place}))
		e.wantDue(linkA)
		e.wantNextDue(linkA, e.now().Add(time.Minute))
		e.end(a)
		e.wantDue(linkA, delivery(b, 1))
	}},
	{"retries keep the thread's order", func(e *env) {
		a, b := e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "x"))
		o := e.retry(a, 1, 1, e.now().Add(time.Minute))
		o.WasQueued = true
		o.Next.Thread = "x"
		e.record(o)
		e.wantDue(linkA)
		e.clock.forward(time.Minute)
		e.wantDue(linkA, delivery(a, 1))
		e.end(a)
		e.wantDue(linkA, delivery(b, 1))
	}},
	{"threads are a link's own", func(e *env) {
		a := e.event(linkA, linkB)
		a.Queue = []store.Queued{e.place(a, 1, e.now()), e.place(a, 2, e.now())}
		a.Queue[0].Thread, a.Queue[1].Thread = "x", "x"
		e.accept(a)
		e.wantDue(linkA, delivery(a, 1))
		e.wantDue(linkB, delivery(a, 2))
	}},
	{"one that changes its thread", func(e *env) {
		a, b, c := e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "y"))
		for _, thread := range []string{"y", "", "x"} {
			place := e.place(a, 1, e.now())
			place.Thread = thread
			e.must(e.s.Enqueue(e.ctx, []store.Queued{place}))
			switch thread {
			case "y":
				e.wantDue(linkA, delivery(a, 1), delivery(b, 1))
			case "":
				e.wantDue(linkA, delivery(a, 1), delivery(b, 1), delivery(c, 1))
			case "x":
				e.wantDue(linkA, delivery(a, 1), delivery(c, 1))
			}
		}
	}},
	{"what is dropped blocks nobody", func(e *env) {
		a, b, c := e.accept(e.threaded(0, "x")), e.accept(e.threaded(0, "x")), e.accept(e.threaded(time.Minute, "x"))
		d := e.accept(e.threaded(0, "x"))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(c, 1)}))
		for round := range 3 {
			e.wantDue(linkA)
			e.wantNextDue(linkA, e.now().Add(time.Minute))
			e.wantState(a, 1, patchbay.DeliveryCancelled)
			e.wantWaiting(linkA, 2)
			switch round {
			case 0:
				e.crash()
			case 1:
				e.prune(store.Retention{})
			}
		}
		e.end(c)
		e.wantDue(linkA, delivery(d, 1))
		// One that was dropped is put back by hand: it is the earliest now.
		place := e.place(b, 1, e.now().Add(time.Minute))
		place.Thread = "x"
		e.must(e.s.Enqueue(e.ctx, []store.Queued{place}))
		e.wantDue(linkA)
		e.clock.forward(time.Minute)
		e.wantDue(linkA, delivery(b, 1))
	}},
	{"many threads", func(e *env) {
		want := map[string]patchbay.DeliveryID{}
		for i := range 300 {
			thread := fmt.Sprint(i % 30)
			a := e.accept(e.threaded(0, thread))
			if want[thread] == 0 {
				want[thread] = delivery(a, 1)
			}
		}
		got := e.due(linkA, 1000)
		e.same("due", len(got), len(want))
		for _, c := range got {
			e.same("first of "+c.Thread, c.Delivery, want[c.Thread])
		}
	}},
}
