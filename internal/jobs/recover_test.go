package jobs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/store"
)

// TestRecoverOnce: 10,000 events that a link never got are sent over it once each, although runners die again and
// again, two recoveries do the same work, and the process is started anew in between.
func TestRecoverOnce(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	rnd := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var mu sync.Mutex
	crashes := 0
	r := newRig(t, func(o *Options) { o.Alone, o.Lease = false, 60*time.Millisecond })
	events := r.many(n, "acme")
	l := r.link("late", "")
	since := fmt.Sprintf(`{"link": %q, "since": "2025-01-02T00:00:00Z"}`, l.ID)
	crash := func(*store.Job) error {
		mu.Lock()
		defer mu.Unlock()
		if rnd.IntN(4) == 0 {
			crashes++
			return errCrash
		}
		return nil
	}
	r.jobs.before = crash
	first, second := r.create(Recover, since), r.create(Recover, since)
	over := func() bool {
		for _, id := range []patchbay.JobID{first.ID, second.ID} {
			v, err := r.jobs.Get(context.Background(), everything, id)
			r.must(err)
			if !v.State.Final() {
				return false
			}
		}
		return true
	}
	for i := 0; !over(); i++ {
		a, b := NewRunner(r.jobs), NewRunner(r.jobs)
		r.must(a.Start(context.Background()))
		r.must(b.Start(context.Background()))
		for _, x := range []*Runner{a, b} { // until it dies, or there is nothing left to do
			ended := make(chan struct{})
			var waiting sync.WaitGroup
			waiting.Go(func() { x.owned.Wait(); close(ended) })
			for alive := true; alive && !over(); {
				select {
				case <-ended:
					alive = false
				case <-time.After(5 * time.Millisecond):
				}
			}
			r.must(x.Stop(context.Background()))
			waiting.Wait()
		}
		if i == 3 {
			r.reopen()
			r.jobs.before = crash
		}
	}
	t.Logf("%d crashes", crashes)
	if crashes == 0 {
		t.Error("no runner died: the test shows nothing")
	}
	r.wantOnce("late", events)
	done := int64(0)
	for _, id := range []patchbay.JobID{first.ID, second.ID} {
		done += r.ended(id, store.JobSucceeded).Changed
	}
	if done > int64(n) {
		t.Errorf("the jobs count %d deliveries of %d events", done, n)
	}
	if got := r.states(store.DeliveryFilter{Link: l.ID}); got[patchbay.DeliverySucceeded] != n {
		t.Errorf("deliveries: %v", got)
	}
}

// TestRecover: which events a recovery sends over which links.
func TestRecover(t *testing.T) {
	type world struct{ *rig }
	for _, c := range []struct {
		name string
		run  func(w *world) (link string, want []patchbay.EventID, filter string)
	}{
		{"a link that was made later, since a time", func(w *world) (string, []patchbay.EventID, string) {
			e := w.many(3, "acme")
			l := w.link("late", "acme")
			return "late", e, fmt.Sprintf(`{"link": %q, "since": "2025-01-02T00:00:00Z"}`, l.ID)
		}},
		{"of a link that was made later, by default nothing from before", func(w *world) (string, []patchbay.EventID, string) {
			w.many(3, "acme")
			time.Sleep(2 * time.Millisecond)
			l := w.link("late", "acme")
			return "late", nil, fmt.Sprintf(`{"link": %q}`, l.ID)
		}},
		{"a link that was disabled, by default from then on", func(w *world) (string, []patchbay.EventID, string) {
			w.many(3, "acme")
			time.Sleep(2 * time.Millisecond)
			l := w.link("x", "acme")
			had := w.publish("acme", `{}`)
			w.wantOnce("x", []patchbay.EventID{had})
			w.enable(l.ID, false)
			missed := w.many(3, "acme/deep")
			w.enable(l.ID, true)
			after := w.publish("acme", `{}`)
			return "x", append(missed, had, after), fmt.Sprintf(`{"link": %q}`, l.ID)
		}},
		{"a link whose filter was mended", func(w *world) (string, []patchbay.EventID, string) {
			l := w.link("x", "acme", func(in *links.Input) { in.Filter = new("payload.n == 77") })
			e := w.many(3, "acme")
			_, err := w.links.Update(context.Background(), everything, l.ID, links.Input{Filter: new("payload.n > 0")}, nil, 0)
			w.must(err)
			return "x", e[1:], fmt.Sprintf(`{"link": %q}`, l.ID)
		}},
		{"only what its scope, reach and patterns see", func(w *world) (string, []patchbay.EventID, string) {
			e := w.many(2, "acme")
			w.many(2, "acme/deep")
			w.many(2, "other")
			l := w.link("x", "acme", func(in *links.Input) { in.Reach, in.Events = new("exact"), []string{"thing.*"} })
			return "x", e, fmt.Sprintf(`{"link": %q, "since": "2025-01-02T00:00:00Z"}`, l.ID)
		}},
		{"a slot that another link has now", func(w *world) (string, []patchbay.EventID, string) {
			w.many(2, "acme")
			l := w.link("outer", "", func(in *links.Input) { in.Slot = new("s") })
			w.link("inner", "acme", func(in *links.Input) { in.Slot = new("s") })
			return "outer", nil, fmt.Sprintf(`{"link": %q, "since": "2025-01-02T00:00:00Z"}`, l.ID)
		}},
		{"every link of a scope, and what was delivered is not sent again", func(w *world) (string, []patchbay.EventID, string) {
			w.link("early", "")
			e := w.many(5, "acme")
			w.wantOnce("early", e)
			w.link("late", "acme")
			return "late", e, `{"scope": "acme", "since": "2025-01-02T00:00:00Z"}`
		}},
		{"until a time", func(w *world) (string, []patchbay.EventID, string) {
			e := w.many(2, "acme")
			time.Sleep(3 * time.Millisecond)
			until := time.Now()
			w.many(2, "acme")
			l := w.link("late", "acme")
			return "late", e, fmt.Sprintf(`{"link": %q, "since": "2025-01-02T00:00:00Z", "until": %q}`, l.ID, until.UTC().Format(time.RFC3339Nano))
		}},
		{"no type that is not asked for", func(w *world) (string, []patchbay.EventID, string) {
			w.many(2, "acme")
			l := w.link("late", "acme")
			return "late", nil, fmt.Sprintf(`{"link": %q, "since": "2025-01-02T00:00:00Z", "type": "thing.ended"}`, l.ID)
		}},
		{"a failed delivery is not one that never was", func(w *world) (string, []patchbay.EventID, string) {
			w.partner.setAnswer(func(*integration.Delivery) integration.Result { return integration.UserError("no") })
			l := w.link("x", "acme")
			e := w.many(2, "acme")
			w.until("they have failed", func() bool { return w.states(store.DeliveryFilter{Link: l.ID})[patchbay.DeliveryFailed] == 2 })
			w.partner.setAnswer(nil)
			return "x", e, fmt.Sprintf(`{"link": %q}`, l.ID)
		}},
		{"a backlog that was dropped comes back, what was cancelled by hand does not", func(w *world) (string, []patchbay.EventID, string) {
			l := w.link("x", "acme")
			_, err := w.links.Pause(context.Background(), everything, l.ID)
			w.must(err)
			e := w.many(4, "acme")
			slices.Sort(e)
			_, err = w.deliveries.Cancel(context.Background(), everything, patchbay.DeliveryAt(e[0], 1))
			w.must(err)
			w.run()
			w.ended(w.create(Cancel, fmt.Sprintf(`{"link": %q}`, l.ID)).ID, store.JobSucceeded)
			_, err = w.links.Resume(context.Background(), everything, l.ID)
			w.must(err)
			return "x", e[1:], fmt.Sprintf(`{"link": %q}`, l.ID)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{newRig(t)}
			name, want, filter := c.run(w)
			p := w.preview(Recover, filter)
			w.run()
			v := w.ended(w.create(Recover, filter).ID, store.JobSucceeded)
			if !p.Complete || p.Total != v.Changed {
				t.Errorf("the dry run said %d (complete: %v), but %d were recovered: %+v", p.Total, p.Complete, v.Changed, v)
			}
			w.wantOnce(name, want)
			again := w.ended(w.create(Recover, filter).ID, store.JobSucceeded)
			if again.Changed != 0 {
				t.Errorf("another recovery sent %d again", again.Changed)
			}
			w.wantOnce(name, want)
			total := 0
			for _, n := range w.partner.got {
				total += n
			}
			if got := w.states(store.DeliveryFilter{}); got[patchbay.DeliverySucceeded]+got[patchbay.DeliveryFailed] != total {
				t.Errorf("%d arrived, deliveries are %v", total, got)
			}
			if len(want) == 0 && v.Changed != 0 {
				t.Errorf("%d were recovered", v.Changed)
			}
		})
	}
}

// TestRecoverDroppedTwice: what was recovered and dropped again can be recovered again.
func TestRecoverDroppedTwice(t *testing.T) {
	r := newRig(t)
	r.run()
	l := r.link("x", "acme")
	pause := func() { _, err := r.links.Pause(context.Background(), everything, l.ID); r.must(err) }
	pause()
	e := r.many(5, "acme")
	for range 3 {
		r.ended(r.create(Cancel, fmt.Sprintf(`{"link": %q}`, l.ID)).ID, store.JobSucceeded)
		if v := r.ended(r.create(Recover, fmt.Sprintf(`{"link": %q}`, l.ID)).ID, store.JobSucceeded); v.Changed != 5 {
			t.Fatalf("%d were recovered, want 5", v.Changed)
		}
		if v := r.ended(r.create(Recover, fmt.Sprintf(`{"link": %q}`, l.ID)).ID, store.JobSucceeded); v.Changed != 0 {
			t.Fatalf("%d were recovered again", v.Changed)
		}
	}
	_, err := r.links.Resume(context.Background(), everything, l.ID)
	r.must(err)
	r.wantOnce("x", e)
}

// TestRecoverOrder: the oldest goes first.
func TestRecoverOrder(t *testing.T) {
	r := newRig(t)
	var e []patchbay.EventID
	for i := range 700 { // more than two steps
		e = append(e, r.publish("acme", fmt.Sprintf(`{"n": %d}`, i)))
	}
	l := r.link("late", "acme", func(in *links.Input) { in.Concurrency = new(1) })
	_, err := r.links.Pause(context.Background(), everything, l.ID)
	r.must(err)
	r.run()
	r.ended(r.create(Recover, fmt.Sprintf(`{"link": %q, "since": "2025-01-02T00:00:00Z"}`, l.ID)).ID, store.JobSucceeded)
	due, err := r.store.Due(context.Background(), l.ID, time.Now(), 1000, nil)
	r.must(err)
	var got []patchbay.EventID
	for i := range due {
		got = append(got, due[i].Event.Subject())
	}
	slices.SortStableFunc(due, func(a, b store.Claimed) int { return int(a.Delivery - b.Delivery) })
	got = got[:0]
	for i := range due {
		got = append(got, due[i].Event.Origin)
	}
	if !slices.Equal(got, e) {
		t.Errorf("%d events are recovered in another order than %d came in", len(got), len(e))
	}
}
