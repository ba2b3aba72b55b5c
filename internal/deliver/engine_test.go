package deliver

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// pauses returns the time between attempts, to the nearest tenth of a second (a result is durable some milliseconds of
// real work after it is known).
func pauses(calls []sent) []time.Duration {
	var out []time.Duration
	for i := 1; i < len(calls); i++ {
		out = append(out, calls[i].at.Sub(calls[i-1].at).Round(100*time.Millisecond))
	}
	return out
}

func TestScheduleThenFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &partner{answer: failing503})
		// One pause of the breaker would hide the schedule's, so let the breaker see a success in between.
		e := r.accept(`{}`, r.link("acme"))
		for range 12 {
			time.Sleep(24*time.Hour + time.Minute)
			r.engine.mu.Lock()
			for _, l := range r.engine.lanes {
				l.failures = 0
			}
			r.engine.mu.Unlock()
		}
		var want []time.Duration
		for _, d := range patchbay.DefaultSchedule() {
			want = append(want, time.Duration(d))
		}
		if got := pauses(r.partner.sent()); !slices.Equal(got, want) {
			t.Errorf("the pauses were %v, want %v", got, want)
		}
		d := r.delivery(e)
		if d.State != patchbay.DeliveryFailed || d.AttemptCount != 11 || len(d.Attempts) != 11 {
			t.Errorf("the delivery is %s after %d attempts, want failed after 11", d.State, d.AttemptCount)
		}
	})
}

func TestRetryAfterReplacesThePauseAndJitterOnlyAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			if n++; n == 1 {
				res := integration.Retry("busy")
				res.RetryAfter = 100 * time.Second
				return res
			}
			return integration.Delivered()
		}}
		r := newRig(t, p)
		r.accept(`{}`, r.link("acme"))
		time.Sleep(time.Hour)
		// A random number of 0.5 is no jitter where it goes both ways, and half of the 20 % where it only adds.
		if got, want := pauses(p.sent()), []time.Duration{110 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("the pause was %v, want %v", got, want)
		}
	})
}

func TestThrottlingUsesNoAttemptAndStopsTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			if n++; n <= 30 { // many more than the schedule has
				res := integration.Retry("too many")
				res.Throttled, res.RetryAfter = true, 10*time.Second
				return res
			}
			return integration.Delivered()
		}}
		r := newRig(t, p)
		l := r.link("acme", func(l *patchbay.Link) { l.Concurrency = 1 })
		first := r.accept(`{}`, l)
		time.Sleep(time.Second)
		second := r.accept(`{}`, l)
		time.Sleep(5 * time.Second)
		if got := len(p.sent()); got != 1 {
			t.Errorf("%d attempts were made in a lane whose partner wants 10 s of silence, want 1", got)
		}
		time.Sleep(time.Hour)
		for _, e := range []*patchbay.Event{first, second} {
			if d := r.delivery(e); d.State != patchbay.DeliverySucceeded {
				t.Errorf("the delivery is %s, want succeeded", d.State)
			}
		}
	})
}

func TestBreakerProbesAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var healthy atomic.Bool
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			if healthy.Load() {
				return integration.Delivered()
			}
			return failing503(ctx, d)
		}}
		r := newRig(t, p)
		l := r.link("acme", func(l *patchbay.Link) {
			l.Retry = &patchbay.RetryPolicy{Schedule: slices.Repeat([]patchbay.Duration{patchbay.Duration(time.Second)}, 50)}
		})
		for range 100 {
			r.accept(`{}`, l)
		}
		time.Sleep(10 * time.Minute)
		atOpen := len(p.sent())
		if atOpen > 40 {
			t.Errorf("%d attempts were made at a dead partner in ten minutes; the breaker should let few probes through", atOpen)
		}
		if h := r.engine.Health(l.ID); h.Breaker == "closed" {
			t.Errorf("the breaker is %s after %d failures", h.Breaker, h.Failures)
		}
		if r.told(NoticeFailing) != 1 {
			t.Errorf("failing was told %d times, want once", r.told(NoticeFailing))
		}
		healthy.Store(true)
		time.Sleep(10 * time.Minute)
		if h := r.engine.Health(l.ID); h.Breaker != "closed" || h.Failures != 0 {
			t.Errorf("after a success the breaker is %+v", h)
		}
		events := map[patchbay.EventID]bool{}
		for _, c := range p.sent()[atOpen:] {
			events[c.event] = true
		}
		if len(events) != 100 {
			t.Errorf("%d of 100 events were delivered after the recovery", len(events))
		}
		if r.told(NoticeRecovered) != 1 {
			t.Errorf("recovered was told %d times, want once", r.told(NoticeRecovered))
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			n := now.Add(1)
			for {
				m := most.Load()
				if n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			time.Sleep(100 * time.Millisecond)
			now.Add(-1)
			return integration.Delivered()
		}}
		r := newRig(t, p)
		l := r.link("acme", func(l *patchbay.Link) { l.Concurrency = 3 })
		for range 50 {
			r.accept(`{}`, l)
		}
		time.Sleep(time.Minute)
		if len(p.sent()) != 50 || most.Load() != 3 {
			t.Errorf("%d attempts, at most %d at once; want 50 and 3", len(p.sent()), most.Load())
		}
	})
}

func TestRateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.link("acme", func(l *patchbay.Link) { l.Rate = 2 })
		for range 21 {
			r.accept(`{}`, l)
		}
		time.Sleep(5*time.Second + 50*time.Millisecond)
		if got := len(p.sent()); got < 10 || got > 12 {
			t.Errorf("%d attempts in 5 s at 2 a second", got)
		}
		time.Sleep(10 * time.Second)
		if got := len(p.sent()); got != 21 {
			t.Errorf("%d of 21 were sent in the end", got)
		}
	})
}

// TestHangingLinksCostOthersNothing has a thousand links that hang for as long as they may, and one that works.
func TestHangingLinksCostOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			if d.Settings == "healthy" {
				return integration.Delivered()
			}
			<-ctx.Done()
			return integration.Unreachable("the stand-in", ctx.Err())
		}}
		r := newRig(t, p)
		var hanging []*Link
		for i := range 1000 {
			hanging = append(hanging, r.link(fmt.Sprintf("t%d", i)))
		}
		healthy, late := r.link("healthy"), r.link("healthy") // one is new while the others hang
		r.accept(`{}`, healthy)
		time.Sleep(time.Second)
		for range 3 {
			for _, l := range hanging {
				r.accept(`{}`, l)
			}
		}
		asked := map[patchbay.EventID]time.Time{}
		for range 50 {
			asked[r.accept(`{}`, healthy).ID] = time.Now()
			time.Sleep(10 * time.Millisecond)
		}
		new := r.accept(`{}`, late).ID
		asked[new] = time.Now()
		time.Sleep(5 * time.Second)
		n := 0
		for _, c := range p.sent() {
			if at, ok := asked[c.event]; ok && c.link == "healthy" {
				n++
				if waited := c.at.Sub(at); waited > 100*time.Millisecond && c.event != new || waited > 2*time.Second {
					t.Errorf("a delivery of the healthy link waited %s beside a thousand hanging ones", waited)
				}
			}
		}
		if n != 51 {
			t.Errorf("%d of 51 deliveries of the healthy links went out", n)
		}
		if load := r.engine.Load(); load.InFlight > defaultInFlight {
			t.Errorf("%d attempts are under way, more than the cap", load.InFlight)
		}
	})
}

func TestPauseHoldsAndResumeDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.link("acme")
		l = r.edit(l, func(l *patchbay.Link) { l.State = patchbay.LinkPaused })
		var events []*patchbay.Event
		for range 600 { // more than two loads of the queue
			events = append(events, r.accept(`{}`, l))
		}
		time.Sleep(time.Hour)
		if len(p.sent()) != 0 {
			t.Fatalf("%d attempts were made over a paused link", len(p.sent()))
		}
		if d := r.delivery(events[0]); d.State != patchbay.DeliveryHeld || d.NextAttemptAt != nil {
			t.Errorf("the delivery is %s, next at %v; want held", d.State, d.NextAttemptAt)
		}
		r.edit(l, func(l *patchbay.Link) { l.State = patchbay.LinkActive })
		time.Sleep(time.Minute)
		if len(p.sent()) != 600 {
			t.Errorf("%d of 600 were delivered after the resume", len(p.sent()))
		}
		for _, e := range events {
			if d := r.delivery(e); d.State != patchbay.DeliverySucceeded {
				t.Fatalf("a delivery is %s after the resume", d.State)
			}
		}
	})
}

func TestCancelAndRetryByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var healthy atomic.Bool
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			if healthy.Load() {
				return integration.Delivered()
			}
			return failing503(ctx, d)
		}}
		r := newRig(t, p)
		e := r.accept(`{}`, r.link("acme"))
		time.Sleep(time.Second)
		id := patchbay.DeliveryAt(e.ID, 1)
		ctx := context.Background()
		v, err := r.service.Cancel(ctx, everything, id)
		if err != nil || v.State != patchbay.DeliveryCancelled {
			t.Fatalf("cancelling: %v, %v", v, err)
		}
		time.Sleep(time.Hour)
		if n := len(p.sent()); n != 1 {
			t.Fatalf("%d attempts, although the delivery was cancelled after the first", n)
		}
		healthy.Store(true)
		if v, err = r.service.Retry(ctx, everything, id); err != nil || v.State.Final() && v.State != patchbay.DeliverySucceeded {
			t.Fatalf("retrying: %+v, %v", v, err)
		}
		time.Sleep(time.Second)
		if d := r.delivery(e); d.State != patchbay.DeliverySucceeded || d.AttemptCount != 2 {
			t.Errorf("the delivery is %s after %d attempts, want succeeded after 2", d.State, d.AttemptCount)
		}
		if _, err := r.service.Cancel(ctx, everything, id); patchbay.CodeOf(err) != patchbay.CodeConflict {
			t.Errorf("cancelling what has succeeded: %v, want a conflict", err)
		}
		stranger := &access.Caller{Scope: "other", Permissions: []access.Permission{access.Admin}}
		if _, err := r.service.Get(ctx, stranger, id); patchbay.CodeOf(err) != patchbay.CodeNotFound {
			t.Errorf("another tenant's caller got %v, want not found", err)
		}
	})
}

func TestGoneDisables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			res := integration.UserError("gone")
			res.Disable = true
			return res
		}}
		r := newRig(t, p)
		e := r.accept(`{}`, r.link("acme"))
		time.Sleep(time.Second)
		if d := r.delivery(e); d.State != patchbay.DeliveryFailed {
			t.Errorf("the delivery is %s, want failed", d.State)
		}
		if r.told(NoticeDisabled) != 1 {
			t.Errorf("disabled was told %d times, want once", r.told(NoticeDisabled))
		}
	})
}

func TestFiveDaysWithoutSuccessDisable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &partner{answer: failing503})
		l := r.link("acme")
		for range 5 {
			r.accept(`{}`, l)
			time.Sleep(23 * time.Hour)
		}
		if r.told(NoticeDisabled) != 0 {
			t.Fatal("the link was disabled before five days were over")
		}
		time.Sleep(24 * time.Hour)
		r.accept(`{}`, l)
		time.Sleep(time.Hour)
		if r.told(NoticeDisabled) == 0 {
			t.Error("the link was not disabled after five days without a success")
		}
	})
}

func TestThreadsKeepOrderAndReferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		p := &partner{def: integration.Definition{Threads: true}}
		p.answer = func(_ context.Context, d *integration.Delivery) integration.Result {
			time.Sleep(time.Second)
			if first {
				first = false
				return integration.Retry("not yet")
			}
			res := integration.Delivered()
			res.Reference = "message of " + d.Event.ID.String()
			return res
		}
		r := newRig(t, p)
		l := r.link("acme")
		a := r.accept(`{"thread":"one"}`, l)
		b := r.accept(`{"thread":"one"}`, l)
		c := r.accept(`{"thread":"one"}`, l)
		other := r.accept(`{"thread":"two"}`, l)
		time.Sleep(time.Minute)
		var order []patchbay.EventID
		for _, call := range p.sent() {
			if call.event != other.ID {
				order = append(order, call.event)
			}
		}
		if want := []patchbay.EventID{a.ID, a.ID, b.ID, c.ID}; !slices.Equal(order, want) {
			t.Errorf("the thread was sent as %v, want %v", order, want)
		}
		for _, call := range p.sent() {
			want := map[patchbay.EventID]string{b.ID: "message of " + a.ID.String(), c.ID: "message of " + b.ID.String()}[call.event]
			if call.reference != want {
				t.Errorf("event %s got the reference %q, want %q", call.event, call.reference, want)
			}
		}
	})
}

// Links whose settings use no threads send side by side, whatever their integration can do.
func TestThreadedNarrowsThreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{def: integration.Definition{Threads: true, Threaded: func(settings any) bool { return settings == "acme/threaded" }}}
		p.answer = func(context.Context, *integration.Delivery) integration.Result {
			time.Sleep(time.Second)
			res := integration.Delivered()
			res.Reference = "message"
			return res
		}
		r := newRig(t, p)
		for _, name := range []string{"acme/threaded", "acme/alone"} {
			l, began := r.link(name), time.Now()
			for range 3 {
				r.accept(`{"thread":"one"}`, l)
			}
			time.Sleep(time.Minute)
			sent := p.sent()[len(p.sent())-3:]
			// One after the other takes two seconds; a lane that begins sends two at a time.
			if last := sent[2].at.Sub(began); (last >= 2*time.Second) != (name == "acme/threaded") {
				t.Errorf("%s: the last of three was sent after %v", name, last)
			}
			if (sent[2].reference == "message") != (name == "acme/threaded") {
				t.Errorf("%s: the reference is %q", name, sent[2].reference)
			}
		}
	})
}

func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &partner{answer: failing503})
		l := r.link("acme", func(l *patchbay.Link) {
			l.Retry = &patchbay.RetryPolicy{MaxAge: patchbay.Duration(time.Minute)}
		})
		e := r.accept(`{}`, l)
		time.Sleep(time.Hour)
		if d := r.delivery(e); d.State != patchbay.DeliveryFailed || d.AttemptCount != 3 { // at 0 s, 5 s, 35 s
			t.Errorf("the delivery is %s after %d attempts, want failed after 3", d.State, d.AttemptCount)
		}
	})
}

func TestBacklogStaysInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := &partner{answer: func(ctx context.Context, _ *integration.Delivery) integration.Result {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return integration.Delivered()
		}}
		r := newRig(t, p)
		l := r.link("acme")
		const n = laneReady + 2000
		for range n {
			r.accept(`{}`, l)
		}
		if load := r.engine.Load(); load.Ready > laneReady {
			t.Errorf("%d deliveries wait in memory, want at most %d", load.Ready, laneReady)
		}
		close(release)
		time.Sleep(5 * time.Minute)
		seen := map[patchbay.EventID]int{}
		for _, c := range p.sent() {
			seen[c.event]++
		}
		if len(seen) != n {
			t.Errorf("%d of %d were delivered", len(seen), n)
		}
		for id, times := range seen {
			if times != 1 {
				t.Fatalf("event %s was sent %d times", id, times)
			}
		}
	})
}

func TestStopHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := true
		p := &partner{}
		p.answer = func(ctx context.Context, _ *integration.Delivery) integration.Result {
			if block {
				<-ctx.Done()
				return integration.Unreachable("the stand-in", ctx.Err())
			}
			return integration.Delivered()
		}
		r := newRig(t, p)
		l := r.link("acme")
		var events []*patchbay.Event
		for range 100 {
			events = append(events, r.accept(`{}`, l))
		}
		r.close()
		block = false
		r.open()
		time.Sleep(time.Minute)
		for _, e := range events {
			d := r.delivery(e)
			if d.State != patchbay.DeliverySucceeded || d.AttemptCount != 1 {
				t.Fatalf("a delivery is %s after %d attempts; one that was cut short is not an attempt", d.State, d.AttemptCount)
			}
		}
	})
}

func TestPanicIsAVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result { panic("a bug") }}
		r := newRig(t, p)
		e := r.accept(`{}`, r.link("acme"))
		time.Sleep(time.Second)
		if d := r.delivery(e); d.State != patchbay.DeliveryPending || d.AttemptCount != 1 {
			t.Errorf("the delivery is %s after %d attempts, want pending after 1", d.State, d.AttemptCount)
		}
	})
}
