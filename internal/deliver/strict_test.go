package deliver

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
)

// gated is the real store with doors at which a test can stop the engine. A nil door is open.
type gated struct {
	store.Store
	due     func()
	enqueue func() error
	record  func(pass func())
}

func (g *gated) Due(ctx context.Context, link patchbay.LinkID, now time.Time, limit int, skip func(patchbay.DeliveryID) bool) ([]store.Claimed, error) {
	out, err := g.Store.Due(ctx, link, now, limit, skip)
	if g.due != nil {
		g.due()
	}
	return out, err
}

func (g *gated) Enqueue(ctx context.Context, q []store.Queued) error {
	if g.enqueue != nil {
		if err := g.enqueue(); err != nil {
			return err
		}
	}
	return g.Store.Enqueue(ctx, q)
}

func (g *gated) Record(o []store.Outcome, committed func()) {
	if g.record != nil {
		g.record(func() { g.Store.Record(o, committed) })
		return
	}
	g.Store.Record(o, committed)
}

// with puts the doors between the engine and its store.
func (g *gated) with(o *Options) {
	g.Store = o.Store.(store.Store)
	o.Store = g
}

// limit lowers what the engine may take.
func (r *rig) limit(change func(*limits)) {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	change(&r.engine.limits)
}

func paused(l *patchbay.Link)  { l.State = patchbay.LinkPaused }
func resumed(l *patchbay.Link) { l.State, l.Enabled = patchbay.LinkActive, true }

// TestResumeDuringALoad: what was in memory when the link was paused is in no claim of a load that began before.
func TestResumeDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		var held atomic.Bool
		var claims atomic.Int32
		g := &gated{due: func() {
			if claims.Add(1) > 1 && held.Load() {
				<-hold
			}
		}}
		release := make(chan struct{})
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			<-release
			return integration.Delivered()
		}}
		r := newRig(t, p, g.with)
		l := r.edit(r.link("acme"), paused)
		for range 5 {
			r.accept(`{}`, l)
		}
		l = r.edit(l, resumed)
		time.Sleep(time.Second) // five are in memory, and one of them is being sent
		held.Store(true)
		r.engine.mu.Lock()
		lane := r.engine.lanes[l.ID]
		r.engine.noteQueued(lane, time.Now()) // as a retry by hand does
		r.engine.mu.Unlock()
		synctest.Wait()
		l = r.edit(l, paused)
		r.edit(l, resumed)
		held.Store(false)
		close(hold)
		close(release)
		time.Sleep(time.Minute)
		if n := len(p.sent()); n != 5 {
			t.Errorf("%d of 5 deliveries were sent after a pause and a resume during a load", n)
		}
	})
}

func TestALaneGoesOnAfterMemoryWasFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.edit(r.link("acme"), paused)
		for range 20 {
			r.accept(`{}`, l)
		}
		const others = 3 * readyBytes
		r.engine.mu.Lock()
		r.engine.readyBytes += others
		r.engine.mu.Unlock()
		r.edit(l, resumed)
		time.Sleep(10 * time.Second)
		if n := len(p.sent()); n != 0 {
			t.Errorf("%d deliveries were loaded into a full memory", n)
		}
		r.engine.mu.Lock()
		r.engine.readyBytes -= others
		r.engine.mu.Unlock()
		time.Sleep(10 * time.Second)
		if n := len(p.sent()); n != 20 {
			t.Errorf("%d of 20 deliveries were sent after memory was free again", n)
		}
	})
}

// TestBacklogsOfDeadLinksLeaveMemory has large backlogs of links that hang, and one that works.
func TestBacklogsOfDeadLinksLeaveMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			if d.Settings == "healthy" {
				return integration.Delivered()
			}
			<-ctx.Done()
			return integration.Unreachable("the stand-in", ctx.Err())
		}}
		r := newRig(t, p)
		const budget = 200_000
		r.limit(func(l *limits) { l.readyBytes = budget })
		var dead []*Link
		for i := range 20 {
			dead = append(dead, r.edit(r.link(fmt.Sprintf("t%d", i)), paused))
		}
		healthy := r.link("healthy")
		payload := `{"pad":"` + strings.Repeat("x", 1000) + `"}`
		for range 50 {
			r.accept(payload, dead...)
		}
		for _, l := range dead {
			r.edit(l, resumed)
		}
		time.Sleep(30 * time.Second)
		if n := r.engine.Load().ReadyBytes; n > budget*6/10 {
			t.Errorf("links that hang fill %d bytes of memory of %d; they may have half", n, budget)
		}
		healthy = r.edit(healthy, paused)
		for range 100 {
			r.accept(payload, healthy)
		}
		r.edit(healthy, resumed)
		time.Sleep(10 * time.Second)
		n := 0
		for _, c := range p.sent() {
			if c.link == "healthy" {
				n++
			}
		}
		if n != 100 {
			t.Errorf("%d of 100 deliveries of the link that works went out beside the dead ones", n)
		}
	})
}

// TestDeletedBetweenAdmitAndCommit: such a delivery must end, or the floor of a recovery stays behind it for ever.
func TestDeletedBetweenAdmitAndCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.link("acme")
		ctx, now := context.Background(), time.Now().UTC()
		e := &patchbay.Event{Type: "thing.happened", Scope: "acme", Payload: []byte(`{}`), OccurredAt: now, ReceivedAt: now}
		a := r.engine.Admit(e, []*Link{l}, r.store.NewID)
		if _, err := r.store.Accept(ctx, &a.Acceptance); err != nil {
			t.Fatal(err)
		}
		if err := r.engine.RemoveLink(ctx, l.ID, patchbay.DeliveryID(r.store.NewID(1))); err != nil {
			t.Fatal(err)
		}
		a.Commit()
		time.Sleep(time.Minute)
		if d := r.delivery(e); d.State != patchbay.DeliveryCancelled || len(p.sent()) != 0 {
			t.Errorf("the delivery is %s and was sent %d times; want it cancelled", d.State, len(p.sent()))
		}
		// What is kept says so itself, and does not only follow from the drop.
		kept, err := r.store.Delivery(ctx, patchbay.DeliveryAt(e.ID, 1))
		if err != nil || len(kept.Attempts) != 1 {
			t.Errorf("the store has %d decisions about it (%v), want one", len(kept.Attempts), err)
		}
		if n := r.engine.Load().ReadyBytes; n != 0 {
			t.Errorf("%d bytes count as being in memory", n)
		}
	})
}

// TestParkedAfterTheDeletion: a place in the queue that comes after the drop counts as put there by hand, and nobody
// would ever send it.
func TestParkedAfterTheDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		g := &gated{enqueue: func() error { <-hold; return nil }}
		p := &partner{answer: func(ctx context.Context, _ *integration.Delivery) integration.Result {
			<-ctx.Done()
			return integration.Unreachable("the stand-in", ctx.Err())
		}}
		r := newRig(t, p, g.with)
		l := r.link("acme")
		r.accept(`{}`, l)
		e := r.accept(`{}`, l)
		time.Sleep(2 * parkAfter) // its lane hangs, so it is on its way to the queue
		if err := r.engine.RemoveLink(context.Background(), l.ID, patchbay.DeliveryID(r.store.NewID(1))); err != nil {
			t.Fatal(err)
		}
		close(hold)
		time.Sleep(time.Minute)
		if d := r.delivery(e); d.State != patchbay.DeliveryCancelled {
			t.Errorf("the delivery of a deleted link is %s", d.State)
		}
	})
}

func TestCancellingTheFirstOfAThreadLetsTheNextGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{def: integration.Definition{Threads: true}, answer: failing503}
		r := newRig(t, p)
		l := r.link("acme", func(l *patchbay.Link) {
			l.Retry = &patchbay.RetryPolicy{Schedule: []patchbay.Duration{patchbay.Duration(5 * time.Hour)}}
		})
		first := r.accept(`{"thread":"one"}`, l)
		time.Sleep(time.Second)
		second := r.accept(`{"thread":"one"}`, l)
		time.Sleep(time.Minute)
		if n := len(p.sent()); n != 1 {
			t.Fatalf("%d attempts were made; the second delivery waits for the first", n)
		}
		if _, err := r.service.Cancel(context.Background(), everything, patchbay.DeliveryAt(first.ID, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if calls := p.sent(); len(calls) != 2 || calls[1].event != second.ID {
			t.Errorf("%d attempts were made a second after the first delivery was cancelled, want 2", len(calls))
		}
	})
}

// TestFailuresTogetherOpenTheBreakerOnce: attempts that were under way when it opened are no failed probes.
func TestFailuresTogetherOpenTheBreakerOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			time.Sleep(100 * time.Millisecond)
			if down.Load() {
				return failing503(ctx, d)
			}
			return integration.Delivered()
		}}
		r := newRig(t, p)
		l := r.link("acme")
		for range 300 {
			r.accept(`{}`, l)
		}
		time.Sleep(1050 * time.Millisecond) // sixteen at a time by now, which end in 50 ms
		down.Store(true)
		time.Sleep(250 * time.Millisecond)
		down.Store(false)
		time.Sleep(8 * time.Second)
		if h := r.engine.Health(l.ID); h.Breaker != "closed" {
			t.Errorf("8 s after a moment of failures the breaker is %s: %+v", h.Breaker, h)
		}
	})
}

func TestThrottlingTogetherIsOnePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			time.Sleep(100 * time.Millisecond)
			if busy.Load() {
				res := integration.Retry("too many")
				res.Throttled = true
				return res
			}
			return integration.Delivered()
		}}
		r := newRig(t, p)
		l := r.link("acme")
		for range 300 {
			r.accept(`{}`, l)
		}
		time.Sleep(1050 * time.Millisecond) // as above
		busy.Store(true)
		time.Sleep(100 * time.Millisecond)
		busy.Store(false)
		n := len(p.sent())
		time.Sleep(7 * time.Second)
		if len(p.sent()) == n {
			t.Errorf("nothing was sent 7 s after a partner threw back what was under way; the first pause is %s", throttleFirst)
		}
	})
}

// TestTenantsTakeTurnsForSlots: when every slot is taken, a tenant with one link waits for its turn among tenants, not
// among links.
func TestTenantsTakeTurnsForSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			time.Sleep(100 * time.Millisecond)
			return integration.Delivered()
		}}
		r := newRig(t, p, func(o *Options) { o.InFlight = 4 })
		var big []*Link
		for i := range 40 {
			big = append(big, r.link(fmt.Sprintf("big/%d", i)))
		}
		small := r.link("small/1")
		r.accept(`{}`, append(big, small)...)
		time.Sleep(10 * time.Second) // all of them work
		for range 20 {
			r.accept(`{}`, big...)
		}
		e := r.accept(`{}`, small)
		at := time.Now()
		time.Sleep(time.Minute)
		for _, c := range p.sent() {
			if c.event == e.ID && c.at.Sub(at) > 300*time.Millisecond {
				t.Errorf("the small tenant waited %s for a slot beside a big one", c.at.Sub(at))
			}
		}
	})
}
