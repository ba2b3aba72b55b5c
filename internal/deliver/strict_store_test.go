package deliver

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
)

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
