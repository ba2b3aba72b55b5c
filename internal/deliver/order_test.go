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
	"github.com/patchbay/patchbay/internal/store"
)

// byKey gives a link an order by the payload's "thread".
func byKey(o patchbay.OrderPolicy) func(*patchbay.Link) {
	return func(l *patchbay.Link) {
		o.Key = "payload.thread"
		l.Order = &o
	}
}

// counted counts what an engine asks its store for.
type counted struct {
	store.Store
	due, following, rows atomic.Int64
}

func (c *counted) with(o *Options) {
	c.Store = o.Store.(store.Store)
	o.Store = c
}

func (c *counted) Due(ctx context.Context, link patchbay.LinkID, now time.Time, limit int, skip func(patchbay.DeliveryID) bool) ([]store.Claimed, error) {
	c.due.Add(1)
	return c.Store.Due(ctx, link, now, limit, skip)
}

func (c *counted) Following(ctx context.Context, after *store.Queued, now time.Time, limit int) ([]store.Claimed, error) {
	c.following.Add(1)
	return c.Store.(store.Chains).Following(ctx, after, now, limit)
}

func (c *counted) Enqueue(ctx context.Context, q []store.Queued) error {
	c.rows.Add(int64(len(q)))
	return c.Store.Enqueue(ctx, q)
}

func order(p *partner) []patchbay.EventID {
	var out []patchbay.EventID
	for _, c := range p.sent() {
		out = append(out, c.event)
	}
	return out
}

// TestOrderByKey: deliveries of one key go one after the other, those of different keys beside each other, and none of
// them takes a way through the store.
func TestOrderByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			time.Sleep(10 * time.Millisecond)
			return integration.Delivered()
		}}
		c := &counted{}
		r := newRig(t, p, c.with)
		l := r.link("acme", byKey(patchbay.OrderPolicy{}))
		want := map[string][]patchbay.EventID{}
		of := map[patchbay.EventID]string{}
		began := time.Now()
		for i := range 400 {
			key := fmt.Sprint("k", i%4)
			e := r.accept(fmt.Sprintf(`{"thread":%q}`, key), l)
			want[key] = append(want[key], e.ID)
			of[e.ID] = key
		}
		time.Sleep(5 * time.Second)
		got := map[string][]patchbay.EventID{}
		last := began
		for _, s := range p.sent() {
			got[of[s.event]] = append(got[of[s.event]], s.event)
			last = s.at
		}
		for key := range want {
			if !slices.Equal(got[key], want[key]) {
				t.Errorf("of %s %d of %d were sent, or not in order", key, len(got[key]), len(want[key]))
			}
		}
		if took := last.Sub(began); took < time.Second || took > 1300*time.Millisecond {
			t.Errorf("four keys with a hundred deliveries of 10 ms each took %s, want a second", took)
		}
		if c.rows.Load() != 0 || c.due.Load() > 3 {
			t.Errorf("%d rows were written to the queue, which was read %d times", c.rows.Load(), c.due.Load())
		}
	})
}

// TestOrderOfABacklog reads what follows in an order many at a time.
func TestOrderOfABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		c := &counted{}
		r := newRig(t, p, c.with)
		l := r.edit(r.link("acme", func(l *patchbay.Link) { l.Order = &patchbay.OrderPolicy{} }), paused)
		var want []patchbay.EventID
		for range 1000 {
			want = append(want, r.accept(`{}`, l).ID)
		}
		r.edit(l, resumed)
		time.Sleep(10 * time.Second)
		if got := order(p); !slices.Equal(got, want) {
			t.Errorf("%d of %d were sent, or not in order", len(got), len(want))
		}
		if n := c.due.Load(); n > 60 {
			t.Errorf("the queue was read %d times for a thousand deliveries", n)
		}
	})
}

// TestOrderBlocks: those behind wait until the failed one has ended, well or not.
func TestOrderBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		p := &partner{answer: func(ctx context.Context, d *integration.Delivery) integration.Result {
			if n.Add(1) <= 2 {
				return failing503(ctx, d)
			}
			return integration.Delivered()
		}}
		r := newRig(t, p)
		l := r.link("acme", byKey(patchbay.OrderPolicy{OnFailure: patchbay.OnFailureBlock}))
		var a []patchbay.EventID
		for range 3 {
			a = append(a, r.accept(`{"thread":"a"}`, l).ID)
		}
		time.Sleep(10 * time.Second)
		a = append(a, r.accept(`{"thread":"a"}`, l).ID)
		b := r.accept(`{"thread":"b"}`, l).ID
		time.Sleep(10 * time.Second)
		if got, want := order(p), []patchbay.EventID{a[0], a[0], b}; !slices.Equal(got, want) {
			t.Fatalf("%v were sent while the first of a key fails, want %v", got, want)
		}
		time.Sleep(time.Minute)
		if got, want := order(p)[3:], a; !slices.Equal(got, want) {
			t.Errorf("%v were sent then, want %v", got, want)
		}
	})
}

func TestOrderGoesOnAfterAFinalFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{}
		p.answer = func(context.Context, *integration.Delivery) integration.Result {
			if len(p.sent()) == 1 {
				return integration.UserError("no")
			}
			return integration.Delivered()
		}
		r := newRig(t, p)
		l := r.link("acme", byKey(patchbay.OrderPolicy{}))
		want := []patchbay.EventID{r.accept(`{}`, l).ID, r.accept(`{}`, l).ID, r.accept(`{}`, l).ID}
		time.Sleep(time.Second)
		if got := order(p); !slices.Equal(got, want) {
			t.Errorf("%v were sent, want %v", got, want)
		}
	})
}

// TestOrderSkips: those behind go on at once, and the failed one is tried again out of order.
func TestOrderSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{}
		p.answer = func(ctx context.Context, d *integration.Delivery) integration.Result {
			if len(p.sent()) == 1 {
				return failing503(ctx, d)
			}
			return integration.Delivered()
		}
		r := newRig(t, p)
		l := r.link("acme", byKey(patchbay.OrderPolicy{OnFailure: patchbay.OnFailureSkip}))
		var ids []patchbay.EventID
		for range 3 {
			ids = append(ids, r.accept(`{"thread":"a"}`, l).ID)
		}
		time.Sleep(time.Second)
		if got := order(p); !slices.Equal(got, ids) {
			t.Fatalf("%v were sent within a second, want %v", got, ids)
		}
		time.Sleep(time.Minute)
		if got := order(p); len(got) != 4 || got[3] != ids[0] {
			t.Errorf("%v were sent in the end, want %v once more", got, ids[0])
		}
	})
}

// TestLongestBlock: when the longest block is over the blocked one is tried once more; then those behind go on.
func TestLongestBlock(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var healthy atomic.Bool
			p := &partner{}
			var stuck patchbay.EventID
			p.answer = func(ctx context.Context, d *integration.Delivery) integration.Result {
				if d.Event.ID == stuck && !healthy.Load() {
					return failing503(ctx, d)
				}
				return integration.Delivered()
			}
			r := newRig(t, p)
			l := r.edit(r.link("acme", byKey(patchbay.OrderPolicy{LongestBlock: patchbay.Duration(3 * time.Minute)})), paused)
			stuck = r.accept(`{"thread":"a"}`, l).ID
			behind := r.accept(`{"thread":"a"}`, l).ID
			r.edit(l, resumed)
			began := time.Now()
			time.Sleep(2 * time.Minute) // after 5 and 35 s; the next retry would come after 5 min 35 s
			if restart {
				r.close()
				r.open()
			}
			if got, want := order(p), []patchbay.EventID{stuck, stuck, stuck}; !slices.Equal(got, want) {
				t.Fatalf("%v were sent in two minutes, want %v", got, want)
			}
			time.Sleep(10 * time.Minute)
			got := p.sent()[3:]
			if len(got) < 2 || got[0].event != stuck || got[1].event != behind {
				t.Fatalf("%v were sent then, want the blocked one once more and then the one behind it", got)
			}
			if at := got[1].at.Sub(began).Round(time.Second); at != 3*time.Minute {
				t.Errorf("the one behind was sent after %s, want 3m", at)
			}
			healthy.Store(true)
			time.Sleep(time.Hour)
			if all := order(p); all[len(all)-1] != stuck {
				t.Error("the one that was blocked is not tried again")
			}
		})
	}
}

// TestOrderSurvivesACrash: some were in memory, some in the queue, and recovery does not know their order.
func TestOrderSurvivesACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		r := newRig(t, p)
		l := r.link("acme", byKey(patchbay.OrderPolicy{}))
		want := map[string][]patchbay.EventID{}
		of := map[patchbay.EventID]string{}
		for i := range 600 { // committed, but the process dies before they are sent
			now := time.Now().UTC()
			key := fmt.Sprint(i % 40) // more than one load brings in
			e := &patchbay.Event{Type: "thing.happened", Scope: "acme", Payload: fmt.Appendf(nil, `{"thread":%q}`, key), OccurredAt: now, ReceivedAt: now}
			a := &store.Acceptance{Event: e, Targets: []store.Target{{Link: l.ID, Revision: 1}}}
			e.ID = patchbay.EventID(r.store.NewID(2))
			if i/40%3 > 0 {
				a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(e.ID, 1), Event: e.ID, Link: l.ID, Due: now, Thread: turnOf(key)}}
			}
			if _, err := r.store.Accept(context.Background(), a); err != nil {
				t.Fatal(err)
			}
			want[key] = append(want[key], e.ID)
			of[e.ID] = key
		}
		time.Sleep(time.Second)
		r.close()
		r.open()
		time.Sleep(time.Minute)
		got := map[string][]patchbay.EventID{}
		for _, id := range order(p) {
			got[of[id]] = append(got[of[id]], id)
		}
		for key := range want {
			if !slices.Equal(got[key], want[key]) {
				t.Errorf("of %s %d of %d were sent after a crash, or not in order", key, len(got[key]), len(want[key]))
			}
		}
	})
}

// TestOrderIsChanged gives a link with a backlog an order, changes what a failure means, and takes the order away.
func TestOrderIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck atomic.Int64
		p := &partner{}
		p.answer = func(ctx context.Context, d *integration.Delivery) integration.Result {
			if int64(d.Event.ID) == stuck.Load() {
				return failing503(ctx, d)
			}
			return integration.Delivered()
		}
		r := newRig(t, p)
		l := r.edit(r.link("acme"), paused)
		var want []patchbay.EventID
		for range 300 {
			want = append(want, r.accept(`{"thread":"a"}`, l).ID)
		}
		l = r.edit(l, byKey(patchbay.OrderPolicy{}))
		for range 300 {
			want = append(want, r.accept(`{"thread":"a"}`, l).ID)
		}
		l = r.edit(l, resumed)
		time.Sleep(10 * time.Second)
		if got := order(p); !slices.Equal(got, want) {
			t.Fatalf("%d of %d were sent, or not in order", len(got), len(want))
		}
		for _, change := range []func(*patchbay.Link){
			byKey(patchbay.OrderPolicy{OnFailure: patchbay.OnFailureSkip}),
			func(l *patchbay.Link) { l.Order = nil },
		} {
			l = r.edit(l, byKey(patchbay.OrderPolicy{}))
			n := len(p.sent())
			l = r.edit(l, paused)
			first := r.accept(`{"thread":"a"}`, l).ID
			stuck.Store(int64(first))
			second := r.accept(`{"thread":"a"}`, l).ID
			l = r.edit(l, resumed)
			time.Sleep(time.Minute)
			if slices.Contains(order(p)[n:], second) {
				t.Fatal("the second was sent before the first had ended")
			}
			l = r.edit(l, change)
			time.Sleep(time.Second)
			if !slices.Contains(order(p)[n:], second) {
				t.Errorf("the second is not sent though it need not wait any more")
			}
			stuck.Store(0)
			time.Sleep(time.Hour)
		}
	})
}
