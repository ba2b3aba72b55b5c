package deliver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// TestThreadsSurviveACrash: recovery does not know threads, so the engine finds them again.
func TestThreadsSurviveACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{def: integration.Definition{Threads: true}}
		var n atomic.Int32
		p.answer = func(_ context.Context, d *integration.Delivery) integration.Result {
			if n.Add(1) == 1 {
				return integration.Retry("not yet")
			}
			res := integration.Delivered()
			res.Reference = d.Event.ID.String()
			return res
		}
		r := newRig(t, p)
		l := r.link("acme")
		var ids []patchbay.EventID
		for range 3 { // committed, but the process dies before they are sent
			now := time.Now().UTC()
			e := &patchbay.Event{Type: "thing.happened", Scope: "acme", Payload: []byte(`{"thread":"one"}`), OccurredAt: now, ReceivedAt: now}
			a := &store.Acceptance{Event: e, Targets: []store.Target{{Link: l.ID, Revision: 1}}}
			e.ID = patchbay.EventID(r.store.NewID(2))
			if _, err := r.store.Accept(context.Background(), a); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, e.ID)
		}
		r.close()
		r.open()
		time.Sleep(time.Minute)
		var order []patchbay.EventID
		for _, c := range p.sent() {
			order = append(order, c.event)
		}
		if want := []patchbay.EventID{ids[0], ids[0], ids[1], ids[2]}; !slices.Equal(order, want) {
			t.Errorf("after a crash the thread was sent as %v, want %v", order, want)
		}
		if last := p.sent()[len(order)-1].reference; last != ids[1].String() {
			t.Errorf("the last one got the reference %q, want that of the one before", last)
		}
	})
}

func TestStartDropsWhatWaitsForADeletedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // a bubble begins in 2000, identifiers later
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.edit(r.link("acme"), paused)
		e := r.accept(`{}`, l)
		if err := r.store.DeleteLink(context.Background(), l.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		delete(r.links, l.ID) // and the process dies before the engine hears of it
		r.close()
		r.open()
		if d := r.delivery(e); d.State != patchbay.DeliveryCancelled {
			t.Errorf("the delivery of a deleted link is %s after a restart", d.State)
		}
	})
}

func TestALinkThatCanBeUsedAgainDeliversWhatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.edit(r.link("acme"), paused)
		e := r.accept(`{}`, l)
		delete(r.links, l.ID) // at the next start its integration is missing
		r.close()
		r.open()
		time.Sleep(time.Minute)
		r.edit(l, resumed)
		time.Sleep(time.Second)
		if d := r.delivery(e); d.State != patchbay.DeliverySucceeded {
			t.Errorf("the delivery is %s", d.State)
		}
	})
}

// TestClockWasSetBack: a breaker that opened in the future must not stay open until then.
func TestClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.link("acme")
		err := r.store.SaveLane(context.Background(), store.Lane{Link: l.ID, Failures: 12, OpenUntil: time.Now().Add(20 * 365 * 24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		r.close()
		r.open()
		e := r.accept(`{}`, l)
		time.Sleep(10 * time.Minute)
		if d := r.delivery(e); d.State != patchbay.DeliverySucceeded {
			t.Errorf("ten minutes after the clock was set back the delivery is %s", d.State)
		}
	})
}

// TestSweepBesideABusyClock: a lane that wakes the clock all the time must not keep it from sweeping.
func TestSweepBesideABusyClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			if d.Settings == "hangs" {
				<-ctx.Done()
				return integration.Unreachable("the stand-in", ctx.Err())
			}
			return integration.Delivered()
		}}
		r := newRig(t, p)
		hangs, busy := r.link("hangs"), r.link("busy", func(l *patchbay.Link) { l.Rate = 50 })
		r.accept(`{}`, hangs)
		waits := r.accept(`{}`, hangs)
		for range 400 {
			r.accept(`{}`, busy)
			time.Sleep(20 * time.Millisecond)
		}
		found, err := r.store.Waiting(context.Background(), hangs.ID, 10)
		if err != nil || found != 1 {
			t.Errorf("after 8 s %d deliveries of the hanging link have a place in the queue (%v), want %s there", found, err, waits.ID)
		}
	})
}

// TestHeldTooLong: the bound holds for what was in memory when the link was paused, too.
func TestHeldTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // a bubble begins in 2000, identifiers later
		p := &partner{answer: func(ctx context.Context, _ *integration.Delivery) integration.Result {
			<-ctx.Done()
			return integration.Unreachable("the stand-in", ctx.Err())
		}}
		r := newRig(t, p)
		l := r.edit(r.link("acme"), paused)
		for range 5 {
			r.accept(`{}`, l)
		}
		l = r.edit(l, resumed)
		time.Sleep(time.Second) // all of them are in memory
		r.edit(l, paused)
		time.Sleep(6 * 24 * time.Hour)
		if n, err := r.store.Waiting(context.Background(), l.ID, 10); err != nil || n != 5 {
			t.Fatalf("%d of 5 are held after six days (%v)", n, err)
		}
		time.Sleep(26 * time.Hour)
		if n, err := r.store.Waiting(context.Background(), l.ID, 10); err != nil || n != 0 {
			t.Errorf("%d are held after more than seven days (%v), want none", n, err)
		}
	})
}

// TestUnrecordedResultsStopSending: what was sent and is not written down would be sent again after a crash.
func TestUnrecordedResultsStopSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var held []func()
		stuck := true
		g := &gated{record: func(pass func()) {
			mu.Lock()
			defer mu.Unlock()
			if stuck {
				held = append(held, pass)
				return
			}
			pass()
		}}
		p := &partner{answer: delivered}
		r := newRig(t, p, g.with)
		r.limit(func(l *limits) { l.unrecorded = 20 })
		l := r.link("acme")
		for range 100 {
			r.accept(`{}`, l)
		}
		time.Sleep(time.Second)
		if n := len(p.sent()); n < 20 || n > 20+patchbay.DefaultConcurrency {
			t.Errorf("%d were sent while no result could be written, want about 20", n)
		}
		mu.Lock()
		stuck = false
		for _, pass := range held {
			pass()
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		if n := len(p.sent()); n != 100 {
			t.Errorf("%d of 100 were sent once results were written again", n)
		}
	})
}

// TestStopWhileTheQueueCannotBeWritten: nothing is lost, the next start finds it.
func TestStopWhileTheQueueCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{}
		p := &partner{answer: delivered}
		r := newRig(t, p, g.with)
		g.enqueue = func() error { return store.ErrUnavailable }
		l := r.link("acme", func(l *patchbay.Link) { l.Rate = 1 })
		for range 3 {
			r.accept(`{}`, l)
		}
		l = r.edit(l, paused)
		time.Sleep(5 * time.Second)
		if err := r.engine.Stop(context.Background()); err == nil {
			t.Error("Stop does not say that it could not hand back what was not sent")
		}
		r.close()
		r.open()
		r.edit(l, resumed)
		time.Sleep(time.Minute)
		if n := len(p.sent()); n != 3 {
			t.Errorf("%d of 3 were sent in the end", n)
		}
	})
}
