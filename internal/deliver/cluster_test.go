package deliver

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
)

// pair is two nodes on one database; every link belongs to the first.
func pair(t *testing.T, p *partner) *fleet {
	t.Helper()
	f := &fleet{world: newWorld(), db: newOneSQLite(t), owner: map[patchbay.LinkID]int{}, attempts: map[patchbay.LinkID][]time.Time{}}
	f.rig = &rig{t: t, partner: p}
	f.nodes = make([]*member, fleetNodes)
	for n := range f.nodes {
		f.nodes[n] = f.join(t, n)
		m := f.nodes[n]
		m.engine.mu.Lock()
		m.engine.limits = limits{laneReady: laneReady, readyBytes: readyBytes, hostCap: hostCap, unrecorded: unrecordedMost}
		m.engine.slots = slots{cap: defaultInFlight, most: overdraft * defaultInFlight}
		m.engine.mu.Unlock()
	}
	f.rig = f.nodes[0].rig
	t.Cleanup(func() {
		for _, m := range f.nodes {
			if m != nil {
				m.leave(t, false)
			}
		}
		f.db.close(t)
	})
	return f
}

// everywhere makes a link that every node knows.
func (f *fleet) everywhere(name string, change ...func(*patchbay.Link)) *Link {
	l := f.link(name, change...)
	f.links = append(f.links, l)
	f.set(l)
	return l
}

// at returns the events that each node has sent.
func (f *fleet) at(n int) []patchbay.EventID {
	f.own.Lock()
	defer f.own.Unlock()
	return slices.Clone(f.byNode[n])
}

func TestTheRateHoldsOverNodes(t *testing.T) {
	for _, move := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := &partner{answer: delivered}
			f := pair(t, p)
			l := f.everywhere("acme", func(l *patchbay.Link) { l.Rate = 20 })
			for i := range 200 {
				f.nodes[i%2].accept(`{}`, l)
			}
			if move {
				time.Sleep(2 * time.Second)
				f.move(t, l.ID, 1)
				time.Sleep(2 * time.Second)
				f.move(t, l.ID, 0)
			}
			time.Sleep(time.Minute)
			calls := p.sent()
			if len(calls) != 200 {
				t.Fatalf("%d of 200 were sent", len(calls))
			}
			for i := range calls {
				n := 0
				for j := i; j < len(calls) && calls[j].at.Sub(calls[i].at) < time.Second; j++ {
					n++
				}
				if n > 22 {
					t.Fatalf("%d attempts were made within a second at a rate of 20", n)
				}
			}
			if took := calls[199].at.Sub(calls[0].at); took > 11*time.Second {
				t.Errorf("200 attempts took %s at 20 a second", took)
			}
		})
	}
}

// TestFreshDeliveriesAreSentWhereTheyWereAccepted: without a row, and without a word to the other node.
func TestFreshDeliveriesAreSentWhereTheyWereAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pair(t, &partner{answer: delivered})
		l := f.everywhere("acme")
		for i := range 100 {
			f.nodes[i%2].accept(`{}`, l)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if a, b := len(f.at(0)), len(f.at(1)); a != 50 || b != 50 {
			t.Errorf("the nodes sent %d and %d, want 50 each", a, b)
		}
		if f.wakes != 0 {
			t.Errorf("the owner was woken %d times for nothing", f.wakes)
		}
	})
}

// TestRetriesGoToTheOwner: a node that is not the owner tells it of what it put into the queue, and the owner notices it
// soon where that was lost.
func TestRetriesGoToTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			if d.Attempt == 1 {
				return failing503(ctx, d)
			}
			return integration.Delivered()
		}}
		f := pair(t, p)
		for i := range 4 { // of the last one the owner does not hear
			l := f.everywhere(fmt.Sprint("l", i))
			e := f.nodes[1].accept(`{}`, l)
			began := time.Now()
			time.Sleep(12 * time.Second)
			if !slices.Contains(f.at(0), e.ID) {
				t.Fatalf("the owner has not sent the retry %d", i)
			}
			calls := p.sent()
			if late := calls[len(calls)-1].at.Sub(began); i < 3 && late > 5100*time.Millisecond || late > 10100*time.Millisecond {
				t.Errorf("the retry %d came after %s", i, late)
			}
			if d := f.delivery(e); d.State != patchbay.DeliverySucceeded || d.AttemptCount != 2 {
				t.Errorf("the delivery is %s after %d attempts", d.State, d.AttemptCount)
			}
		}
	})
}

// TestNoAttemptBeginsWithoutALease: they wait in memory, and go on by themselves.
func TestNoAttemptBeginsWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		f := pair(t, p)
		l := f.everywhere("acme")
		f.suspend(0, true)
		for range 10 {
			f.nodes[0].accept(`{}`, l)
		}
		time.Sleep(3 * time.Second)
		if n := len(p.sent()); n != 0 {
			t.Errorf("%d attempts began though the others may count this node as dead", n)
		}
		f.suspend(0, false)
		time.Sleep(time.Second)
		if n := len(f.at(0)); n != 10 {
			t.Errorf("%d of 10 were sent once the node counted as alive again", n)
		}
	})
}

// TestAFencedNodeStopsWithoutAWord: what it had is in other hands.
func TestAFencedNodeStopsWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(ctx context.Context, _ *integration.Delivery) integration.Result {
			<-ctx.Done()
			return integration.Unreachable("the stand-in", ctx.Err())
		}}
		f := pair(t, p)
		l := f.everywhere("acme")
		for range 10 {
			f.nodes[1].accept(`{}`, l)
		}
		time.Sleep(time.Second)
		f.nodes[1].leave(t, true) // Stop returns no error
		f.nodes[1] = nil
		if n, err := f.store.Waiting(context.Background(), l.ID, 100); err != nil || n != 0 {
			t.Errorf("a fenced node put %d deliveries into the queue (%v)", n, err)
		}
	})
}

// TestLosingALinkWaitsForWhatIsUnderWay: nothing of its queue may be in two hands.
func TestLosingALinkWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			time.Sleep(3 * time.Second)
			return integration.Delivered()
		}}
		f := pair(t, p)
		l := f.everywhere("acme", func(l *patchbay.Link) { l.Concurrency = 2 })
		for range 20 {
			f.nodes[0].accept(`{}`, l)
		}
		time.Sleep(time.Second) // one is under way, the others are in memory
		f.own.Lock()
		f.owner[l.ID] = -1
		f.own.Unlock()
		began := time.Now()
		<-f.nodes[0].engine.Lost(func(id patchbay.LinkID) bool { return id == l.ID })
		if took := time.Since(began); took < 2*time.Second || took > 2200*time.Millisecond {
			t.Errorf("the link was let go after %s, want two seconds", took)
		}
		if n, err := f.store.Waiting(context.Background(), l.ID, 100); err != nil || n != 19 {
			t.Errorf("%d of 19 were handed back (%v)", n, err)
		}
		f.gain(t, func(id patchbay.LinkID) bool { return id == l.ID }, 1, l.ID)
		time.Sleep(5 * time.Minute)
		if a, b := len(f.at(0)), len(f.at(1)); a != 1 || b != 19 {
			t.Errorf("the nodes sent %d and %d, want 1 and 19", a, b)
		}
	})
}

// TestBreakersMoveWithTheirLinks: what the owner has written down the next one goes by.
func TestBreakersMoveWithTheirLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pair(t, &partner{answer: failing503})
		l := f.everywhere("acme", func(l *patchbay.Link) {
			l.Retry = &patchbay.RetryPolicy{Schedule: slices.Repeat([]patchbay.Duration{patchbay.Duration(time.Second)}, 50)}
		})
		for range 30 {
			f.nodes[0].accept(`{}`, l)
		}
		time.Sleep(20 * time.Second)
		if h := f.nodes[0].engine.Health(l.ID); h.Breaker == "closed" {
			t.Fatalf("the breaker is %s", h.Breaker)
		}
		f.move(t, l.ID, 1)
		if h := f.nodes[1].engine.Health(l.ID); h.Breaker == "closed" || h.Failures < breakAfter {
			t.Errorf("at the next owner the breaker is %s after %d failures", h.Breaker, h.Failures)
		}
		if n := f.nodes[0].told(NoticeFailing) + f.nodes[1].told(NoticeFailing); n != 1 {
			t.Errorf("failing was told %d times", n)
		}
	})
}

// TestGoneDisablesFromAnyNode: 410 counts wherever it is answered.
func TestGoneDisablesFromAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			res := integration.UserError("gone")
			res.Disable = true
			return res
		}}
		f := pair(t, p)
		f.nodes[1].accept(`{}`, f.everywhere("acme"))
		time.Sleep(time.Second)
		if n := f.nodes[1].told(NoticeDisabled); n != 1 {
			t.Errorf("the node that got the 410 told it %d times, want once", n)
		}
	})
}

// TestASuccessElsewhereKeepsALinkEnabled: five days without a success at one node are not five days without one.
func TestASuccessElsewhereKeepsALinkEnabled(t *testing.T) {
	for _, elsewhere := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(30 * 365 * 24 * time.Hour) // a bubble begins in 2000, identifiers later
			p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
				if string(d.Event.Payload) == `{}` {
					return failing503(ctx, d)
				}
				return integration.Delivered()
			}}
			f := pair(t, p)
			f.own.Lock()
			f.look = time.Hour // a week of looks every five seconds takes minutes of real time
			f.own.Unlock()
			l := f.everywhere("acme")
			for range 7 {
				f.nodes[0].accept(`{}`, l)
				if elsewhere {
					f.nodes[1].accept(`{"fine":true}`, l)
				}
				time.Sleep(24 * time.Hour)
			}
			if n := f.nodes[0].told(NoticeDisabled) + f.nodes[1].told(NoticeDisabled); (n == 0) != elsewhere {
				t.Errorf("with successes elsewhere %t, disabled was told %d times", elsewhere, n)
			}
		})
	}
}

// TestCancelledElsewhere: what another node cancelled goes out of memory, and a failure of what is under way is the end.
func TestCancelledElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			time.Sleep(2 * time.Second)
			return failing503(ctx, d)
		}}
		f := pair(t, p)
		l := f.everywhere("acme")
		under, ready := f.nodes[1].accept(`{}`, l), f.nodes[1].accept(`{}`, l) // the second waits in memory
		time.Sleep(time.Second)
		for _, e := range []*patchbay.Event{under, ready} {
			if _, err := f.nodes[0].service.Cancel(context.Background(), everything, patchbay.DeliveryAt(e.ID, 1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if n := len(p.sent()); n != 1 {
			t.Errorf("%d attempts were made, want the one that was under way", n)
		}
		for _, e := range []*patchbay.Event{under, ready} {
			if d := f.delivery(e); d.State != patchbay.DeliveryCancelled || d.Reason != byHandReason {
				t.Errorf("the delivery is %s (%s), want cancelled", d.State, d.Reason)
			}
		}
	})
}

// TestADroppedLaneLeavesMemory: another node has deleted what waited.
func TestADroppedLaneLeavesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			time.Sleep(time.Second)
			return integration.Delivered()
		}}
		f := pair(t, p)
		l := f.everywhere("acme")
		for range 10 {
			f.nodes[0].accept(`{}`, l)
		}
		time.Sleep(time.Millisecond)
		before := patchbay.DeliveryID(f.store.NewID(1))
		if err := f.nodes[1].view.SaveLane(context.Background(), store.Lane{Link: l.ID, DropBefore: before}); err != nil {
			t.Fatal(err)
		}
		f.nodes[0].engine.LaneDropped(l.ID, before)
		time.Sleep(time.Minute)
		if n := len(p.sent()); n != 1 {
			t.Errorf("%d attempts were made, want the one that was under way", n)
		}
		if load := f.nodes[0].engine.Load(); load.Ready != 0 || load.ReadyBytes != 0 {
			t.Errorf("%d deliveries with %d bytes are in memory", load.Ready, load.ReadyBytes)
		}
	})
}

// TestOrderHoldsOverNodes: events accepted at both nodes in turn, with a failure and moves in between.
func TestOrderHoldsOverNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{}
		p.answer = func(ctx context.Context, d *integration.Delivery) integration.Result {
			if len(p.sent())%10 == 7 {
				return failing503(ctx, d)
			}
			return integration.Delivered()
		}
		f := pair(t, p)
		l := f.everywhere("acme", func(l *patchbay.Link) { l.Order = &patchbay.OrderPolicy{} })
		var want []patchbay.EventID
		for i := range 60 {
			want = append(want, f.nodes[i%2].accept(`{}`, l).ID)
			if i%20 == 10 {
				f.move(t, l.ID, (i/20+1)%2)
			}
		}
		time.Sleep(10 * time.Minute)
		if got := slices.Compact(order(p)); !slices.Equal(got, want) {
			t.Errorf("%d of %d were sent, or not in order", len(got), len(want))
		}
	})
}

// TestAnEventComesInWhileItsLinkIsLost: what was planned before and is committed after that is handed back too, and
// does not keep the link from being let go, deleted or not.
func TestAnEventComesInWhileItsLinkIsLost(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, &partner{answer: delivered})
			l := f.everywhere("acme", func(l *patchbay.Link) { l.Rate = 1 })
			first := f.nodes[0]
			var coming []*Admission
			for range 5 {
				now := time.Now().UTC()
				e := &patchbay.Event{Type: "thing.happened", Scope: "acme", Payload: []byte(`{}`), OccurredAt: now, ReceivedAt: now}
				a := first.engine.Admit(e, []*Link{first.links[l.ID]}, first.store.NewID)
				if _, err := first.store.Accept(context.Background(), &a.Acceptance); err != nil {
					t.Fatal(err)
				}
				coming = append(coming, a)
			}
			f.own.Lock()
			f.owner[l.ID] = -1
			f.own.Unlock()
			done := first.engine.Lost(func(id patchbay.LinkID) bool { return id == l.ID })
			if deleted {
				if err := first.engine.RemoveLink(context.Background(), l.ID, 0); err != nil {
					t.Fatal(err)
				}
			}
			for _, a := range coming {
				a.Commit()
			}
			select {
			case <-done:
			case <-time.After(time.Second):
				t.Fatal("the link is not let go")
			}
			if n, err := f.store.Waiting(context.Background(), l.ID, 100); err != nil || (n != 5) != deleted {
				t.Errorf("with the link deleted %t, %d of 5 are in the queue (%v)", deleted, n, err)
			}
		})
	}
}

// TestABacklogOfAnotherNodeIsResumed: the owner did not see it come, and goes through it without a pause all the same.
func TestABacklogOfAnotherNodeIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		f := pair(t, p)
		l := f.edit(f.everywhere("acme", func(l *patchbay.Link) { l.Order = &patchbay.OrderPolicy{} }), paused)
		f.set(l)
		for range 200 {
			f.nodes[1].accept(`{}`, l)
		}
		l = f.edit(l, resumed)
		f.set(l)
		time.Sleep(3 * time.Second) // sooner than a node looks by itself
		if n := len(f.at(0)); n != 200 {
			t.Errorf("%d of 200 were sent", n)
		}
	})
}
