package deliver

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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

// heapNow returns the bytes that are in use.
func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestTenThousandLinksOfWhichMostAreDead: a half of the dead ones hangs, the other half refuses. The hundred that work
// deliver as if they were alone, memory is bounded, and a shutdown in the middle of it all loses nothing.
func TestTenThousandLinksOfWhichMostAreDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const healthy = 100
		dead, waves := 9900, 3
		if testing.Short() || underRace {
			dead, waves = 2400, 2 // a half of them still takes every slot that they may have
		}
		rounds := dead / 300
		var mended atomic.Bool
		var mu sync.Mutex
		got := map[patchbay.DeliveryID]int{}
		p := &partner{}
		p.answer = func(ctx context.Context, d *integration.Delivery) integration.Result {
			if d.Settings == "hangs" && !mended.Load() {
				<-ctx.Done()
				return integration.Unreachable("the stand-in", ctx.Err())
			}
			if d.Settings == "refuses" && !mended.Load() {
				return failing503(ctx, d)
			}
			mu.Lock()
			got[d.ID]++
			mu.Unlock()
			return integration.Delivered()
		}
		r := newRig(t, p)
		links := make([]*Link, dead+healthy)
		for i := range links {
			name := "healthy"
			if i < dead {
				name = []string{"hangs", "refuses"}[i%2]
			}
			links[i] = &Link{Definition: &p.def, Sender: p, Settings: name, Host: fmt.Sprintf("h%d:443", i), Link: &patchbay.Link{
				ID: patchbay.LinkID(r.store.NewID(1)), Scope: patchbay.Scope(fmt.Sprintf("t%d", i%500)), Enabled: true, State: patchbay.LinkActive, Revision: 1,
			}}
			r.set(links[i])
		}
		works := links[dead:]
		r.accept(`{}`, works...)
		time.Sleep(time.Second) // they have proven themselves
		before := heapNow()
		payload := `{"pad":"` + strings.Repeat("x", 1000) + `"}`
		asked := map[patchbay.EventID]time.Time{}
		for wave := range waves * rounds {
			for i := range 3 {
				r.accept(payload, links[(wave%rounds*3+i)*100:][:100]...)
			}
			asked[r.accept(payload, works...).ID] = time.Now()
			time.Sleep(100 * time.Millisecond)
		}
		most := uint64(0)
		if now := heapNow(); now > before {
			most = now - before
		}
		load := r.engine.Load()
		t.Logf("%d attempts under way, %d deliveries and %d bytes wait in memory, the heap grew by %d MB",
			load.InFlight, load.Ready, load.ReadyBytes, most>>20)
		if most > 150<<20 || load.ReadyBytes > readyBytes || load.InFlight > overdraft*defaultInFlight {
			t.Error("that is more than is allowed")
		}
		late := time.Duration(0)
		for _, c := range p.sent() {
			if at, ok := asked[c.event]; ok && c.link == "healthy" {
				late = max(late, c.at.Sub(at))
			}
		}
		if late > 50*time.Millisecond {
			t.Errorf("a link that works waited %s beside dead ones", late)
		}
		r.shutInTheMiddle(1)
		mended.Store(true)
		r.open()
		time.Sleep(2 * time.Hour)
		want := waves*dead + healthy + waves*rounds*healthy
		mu.Lock()
		defer mu.Unlock()
		twice := 0
		for _, n := range got {
			if n > 1 {
				twice++
			}
		}
		if len(got) != want || twice > 0 {
			t.Errorf("%d of %d were delivered in the end, %d of them twice; nothing that worked was under way at the shutdown", len(got), want, twice)
		}
	})
}

// shutInTheMiddle stops everything in order while it works, within its grace and a little.
func (r *rig) shutInTheMiddle(grace int) {
	r.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(grace)*time.Second)
	defer cancel()
	if err := r.engine.Stop(ctx); err != nil {
		r.t.Errorf("stopping: %v", err)
	}
	if took := time.Since(began); took > time.Duration(grace+1)*time.Second {
		r.t.Errorf("stopping took %s with a grace of %d s", took, grace)
	}
	r.close()
}

// TestALargeBacklogIsPausedAndResumed counts what that writes and takes.
func TestALargeBacklogIsPausedAndResumed(t *testing.T) {
	n := 1_000_000
	if testing.Short() || underRace {
		n = 100_000
	}
	p := &partner{}
	var sent atomic.Int64
	p.answer = func(context.Context, *integration.Delivery) integration.Result {
		sent.Add(1)
		return integration.Delivered()
	}
	c := &counted{}
	r := newRig(t, p, c.with, func(o *Options) { o.HoldCount = 10 * n })
	l := r.link("acme", func(l *patchbay.Link) { l.Rate = 1 }) // so that the backlog stays
	l = r.edit(l, paused)
	fill(t, r, l, n)
	before := heapNow()
	stats := func() int64 {
		s, err := r.store.Stats(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return s.Committed
	}
	wrote := stats()
	for range 5 {
		began := time.Now()
		l = r.edit(l, func(l *patchbay.Link) { resumed(l); l.Rate = 1 })
		resume := time.Since(began)
		wantSoon(t, "a delivery after the resume", func() bool { return sent.Load() > 0 || r.engine.Load().Ready > 0 })
		began = time.Now()
		l = r.edit(l, paused)
		if pause := time.Since(began); pause > 10*time.Second || resume > 10*time.Second { // a write for each would take longer
			t.Errorf("pausing took %s and resuming %s with %d deliveries", pause, resume, n)
		}
	}
	if wrote = stats() - wrote; wrote > 100 {
		t.Errorf("five pauses and resumes of %d deliveries wrote %d things", n, wrote)
	}
	if rows := c.rows.Load(); rows > 5 {
		t.Errorf("%d places in the queue were written", rows)
	}
	r.edit(l, func(l *patchbay.Link) { resumed(l); l.Rate = 0 })
	goal := sent.Load() + 5000
	wantSoon(t, "five thousand deliveries", func() bool { return sent.Load() >= goal })
	if grew := int64(heapNow()) - int64(before); grew > 100<<20 {
		t.Errorf("the heap grew by %d MB while a backlog of %d is delivered", grew>>20, n)
	}
	if load := r.engine.Load(); load.ReadyBytes > readyBytes || load.Ready > laneReady {
		t.Errorf("%d deliveries and %d bytes wait in memory", load.Ready, load.ReadyBytes)
	}
}

// fill gives a link so many deliveries that wait: many of one event, which is what a store takes fastest.
func fill(t *testing.T, r *rig, l *Link, n int) {
	t.Helper()
	const each = 500
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 8 {
		all.Go(func() {
			for range n / each / 8 {
				now := time.Now().UTC()
				e := &patchbay.Event{ID: patchbay.EventID(r.store.NewID(each + 1)), Type: "thing.happened", Scope: "acme", Payload: []byte(`{}`), OccurredAt: now, ReceivedAt: now}
				a := &store.Acceptance{Event: e, Targets: slices.Repeat([]store.Target{{Link: l.ID, Revision: 1}}, each)}
				for i := range each {
					a.Queue = append(a.Queue, store.Queued{Delivery: patchbay.DeliveryAt(e.ID, i+1), Event: e.ID, Link: l.ID, Due: now})
				}
				if _, err := r.store.Accept(context.Background(), a); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// wantSoon waits for a condition.
func wantSoon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there was not %s within a minute", what)
		}
	}
}

// TestTheClockIsSetUnderLoad: an hour forward and back again and again, in the middle of retries, rates, breakers and
// backlogs. Nothing stands still for an hour, and nothing is too old because of it.
func TestTheClockIsSetUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour)
		var off atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(off.Load())).Round(0) }
		var mu sync.Mutex
		tries, done := map[patchbay.DeliveryID]int{}, map[patchbay.DeliveryID]time.Time{}
		p := &partner{}
		p.answer = func(ctx context.Context, d *integration.Delivery) integration.Result {
			mu.Lock()
			defer mu.Unlock()
			if tries[d.ID]++; tries[d.ID] == 1 && int64(d.ID)/patchbay.IDStep%5 == 0 {
				return failing503(ctx, d)
			}
			if !done[d.ID].IsZero() {
				t.Errorf("%s was delivered twice", d.ID)
			}
			done[d.ID] = time.Now()
			return integration.Delivered()
		}
		r := newRig(t, p, func(o *Options) { o.Now = now })
		aged := func(l *patchbay.Link) { l.Retry = &patchbay.RetryPolicy{MaxAge: patchbay.Duration(10 * time.Minute)} }
		links := []*Link{
			r.link("plain", aged), r.link("rated", aged, func(l *patchbay.Link) { l.Rate = 20 }),
			r.link("ordered", aged, func(l *patchbay.Link) { l.Order = &patchbay.OrderPolicy{OnFailure: patchbay.OnFailureSkip} }),
		}
		held := r.edit(r.link("held", aged), paused)
		asked := map[patchbay.DeliveryID]time.Time{}
		for i := range 600 {
			switch i {
			case 150, 450:
				off.Add(int64(time.Hour))
			case 300, 400:
				off.Add(-int64(time.Hour))
			case 310:
				held = r.edit(held, resumed)
			}
			at := now().UTC()
			to := append(slices.Clone(links), held)
			e := &patchbay.Event{Type: "thing.happened", Scope: "acme", Payload: []byte(`{}`), OccurredAt: at, ReceivedAt: at}
			a := r.engine.Admit(e, to, r.store.NewID)
			if _, err := r.store.Accept(context.Background(), &a.Acceptance); err != nil {
				t.Fatal(err)
			}
			a.Commit()
			for k := range to {
				asked[patchbay.DeliveryAt(e.ID, k+1)] = time.Now()
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(done) != len(asked) {
			t.Errorf("%d of %d were delivered within five minutes", len(done), len(asked))
		}
		for id, at := range asked {
			if late := done[id].Sub(at); late > time.Minute {
				t.Errorf("%s was delivered after %s", id, late)
				break
			}
		}
	})
}

// TestManyThatWorkedHangAtOnce: those that still work have room at once, not when attempts end after 15 s.
func TestManyThatWorkedHangAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		p := &partner{}
		p.answer = func(ctx context.Context, d *integration.Delivery) integration.Result {
			if hang.Load() && d.Settings != "healthy" {
				<-ctx.Done()
				return integration.Unreachable("the stand-in", ctx.Err())
			}
			return integration.Delivered()
		}
		r := newRig(t, p, func(o *Options) { o.InFlight = 64 })
		var all []*Link
		for i := range 64 {
			all = append(all, r.link(fmt.Sprintf("t%d", i)))
		}
		healthy, fresh := r.link("healthy"), r.link("healthy")
		for range 3 {
			r.accept(`{}`, append(all, healthy)...)
			time.Sleep(time.Second)
		}
		hang.Store(true)
		r.accept(`{}`, all...)
		time.Sleep(time.Second) // every slot is taken by one that hangs
		at := time.Now()
		one, two := r.accept(`{}`, healthy), r.accept(`{}`, fresh)
		time.Sleep(100 * time.Millisecond)
		for _, e := range []*patchbay.Event{one, two} {
			if !slices.ContainsFunc(p.sent(), func(c sent) bool { return c.event == e.ID && !c.at.Before(at) }) {
				t.Errorf("%s waits for those that hang", e.ID)
			}
		}
	})
}

// TestAThreadThatCannotBeLookedUp is tried again, and not sent as if it were the first of its thread.
func TestAThreadThatCannotBeLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{def: integration.Definition{Threads: true}}
		p.answer = func(_ context.Context, d *integration.Delivery) integration.Result {
			res := integration.Delivered()
			res.Reference = "ref"
			return res
		}
		blind := &blind{}
		r := newRig(t, p, func(o *Options) {
			blind.Store = o.Store.(store.Store)
			o.Store = blind
		})
		l := r.link("acme")
		r.accept(`{"thread":"a"}`, l)
		time.Sleep(time.Second)
		blind.is.Store(true)
		e := r.accept(`{"thread":"a"}`, l)
		time.Sleep(3500 * time.Millisecond)
		if n := len(p.sent()); n != 1 {
			t.Fatalf("%d were sent without knowing their thread", n-1)
		}
		blind.is.Store(false)
		time.Sleep(2 * time.Second)
		calls := p.sent()
		if len(calls) != 2 || calls[1].reference != "ref" || calls[1].attempt != 1 {
			t.Errorf("then %+v were sent", calls[1:])
		}
		if d := r.delivery(e); d.State != patchbay.DeliverySucceeded || d.AttemptCount != 1 {
			t.Errorf("the delivery is %s after %d attempts", d.State, d.AttemptCount)
		}
	})
}

// blind is a store that cannot look up threads for a while.
type blind struct {
	store.Store
	is atomic.Bool
}

func (b *blind) Thread(ctx context.Context, link patchbay.LinkID, thread string) (store.ThreadState, error) {
	if b.is.Load() {
		return store.ThreadState{}, errors.New("the connection was lost")
	}
	return b.Store.Thread(ctx, link, thread)
}

// TestALinkMovesToAnotherTenant: its share is that of the new one.
func TestALinkMovesToAnotherTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &partner{answer: delivered})
		l := r.link("old/1")
		r.link("old/2")
		r.accept(`{}`, l)
		r.edit(l, func(l *patchbay.Link) { l.Scope = "new/1" })
		time.Sleep(time.Second)
		r.engine.mu.Lock()
		defer r.engine.mu.Unlock()
		if name := r.engine.lanes[l.ID].tenant.name; name != "new" || r.engine.tenants["old"].links != 1 || r.engine.tenants["new"].links != 1 {
			t.Errorf("the lane counts for %q; there are %d tenants", name, len(r.engine.tenants))
		}
	})
}

// TestWhyADeliveryEnded without an attempt.
func TestWhyADeliveryEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &partner{answer: delivered})
		l := r.edit(r.link("acme", func(l *patchbay.Link) { l.Retry = &patchbay.RetryPolicy{MaxAge: patchbay.Duration(time.Minute)} }), paused)
		old, cancelled := r.accept(`{}`, l), r.accept(`{}`, l)
		if _, err := r.service.Cancel(context.Background(), everything, patchbay.DeliveryAt(cancelled.ID, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		r.edit(l, resumed)
		time.Sleep(time.Minute)
		if d := r.delivery(old); d.State != patchbay.DeliveryFailed || !strings.Contains(d.Reason, "max_age") {
			t.Errorf("the old one is %s: %q", d.State, d.Reason)
		}
		if d := r.delivery(cancelled); d.State != patchbay.DeliveryCancelled || d.Reason != byHandReason {
			t.Errorf("the cancelled one is %s: %q", d.State, d.Reason)
		}
	})
}
