package store

import (
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/patchbay/patchbay"
)

// eventAt returns the identifier of an event that leaves room for n deliveries before the next.
func eventAt(i, n int) patchbay.EventID { return patchbay.EventID((1 + i*(n+1)) * patchbay.IDStep) }

// TestFloorAgrees plays commits in nearly any order and settlements in any order and number: the floor is the lowest
// event with an unsettled delivery, or lies just above the highest event.
func TestFloorAgrees(t *testing.T) {
	const room = 200
	rapid.Check(t, func(t *rapid.T) {
		var f Floor
		left := make(map[patchbay.EventID]map[patchbay.DeliveryID]bool)
		used := make(map[int]bool)
		var highest patchbay.EventID
		var settled []patchbay.DeliveryID
		events := make(map[patchbay.DeliveryID]patchbay.EventID)
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				i := rapid.IntRange(0, 60).Draw(t, "event")
				if used[i] {
					return
				}
				used[i] = true
				e := eventAt(i, room)
				n := rapid.SampledFrom([]int{0, 1, 1, 2, 3, 64, 65, 128, 129, room}).Draw(t, "deliveries")
				f.Begin(e, n)
				highest = max(highest, e+1)
				if n > 0 {
					left[e] = make(map[patchbay.DeliveryID]bool)
				}
				for d := 1; d <= n; d++ {
					left[e][patchbay.DeliveryAt(e, d)] = true
					events[patchbay.DeliveryAt(e, d)] = e
				}
			},
			"settle": func(t *rapid.T) {
				e := eventAt(rapid.IntRange(0, 60).Draw(t, "event"), room)
				for _, d := range rapid.SliceOfN(rapid.IntRange(1, room), 1, room).Draw(t, "deliveries") {
					id := patchbay.DeliveryAt(e, d)
					f.Settle(e, id)
					if left[e][id] {
						settled = append(settled, id)
					}
					if delete(left[e], id); len(left[e]) == 0 {
						delete(left, e)
					}
				}
			},
			"settle all": func(t *rapid.T) {
				e := eventAt(rapid.IntRange(0, 60).Draw(t, "event"), room)
				for id := range left[e] {
					f.Settle(e, id)
				}
				delete(left, e)
			},
			"settle again": func(t *rapid.T) {
				if len(settled) > 0 {
					d := rapid.SampledFrom(settled).Draw(t, "delivery")
					f.Settle(events[d], d)
				}
			},
			"settle a stranger": func(t *rapid.T) {
				e := eventAt(rapid.IntRange(0, 60).Draw(t, "event"), room)
				f.Settle(e, patchbay.DeliveryID(e))
				f.Settle(e, patchbay.DeliveryAt(e, room+1))
				f.Settle(e, patchbay.DeliveryAt(e, -1))
				f.Settle(e, patchbay.DeliveryAt(e, 1)+1)
			},
			"": func(t *rapid.T) {
				want := highest
				for e := range left {
					want = min(want, e)
				}
				if got := f.Value(); got != want {
					t.Fatalf("the floor is %d, want %d", got, want)
				}
				if len(f.pos) != len(left) {
					t.Fatalf("%d events are remembered, %d are open", len(f.pos), len(left))
				}
			},
		})
	})
}

// TestFloorStaysSmall sends many events through, one of them slow: what is remembered follows what is open.
func TestFloorStaysSmall(t *testing.T) {
	var f Floor
	slow := eventAt(0, 1)
	f.Begin(slow, 1)
	for i := 1; i <= 10_000; i++ {
		f.Begin(eventAt(i, 1), 1)
		f.Settle(eventAt(i, 1), patchbay.DeliveryAt(eventAt(i, 1), 1))
	}
	if f.Value() != slow || len(f.pos) != 1 {
		t.Errorf("the floor is %d, want %d; %d events are remembered", f.Value(), slow, len(f.pos))
	}
	f.Settle(slow, patchbay.DeliveryAt(slow, 1))
	if want := eventAt(10_000, 1) + 1; f.Value() != want || len(f.ring) != 0 {
		t.Errorf("the floor is %d, want %d; %d places are taken", f.Value(), want, len(f.ring))
	}
	for i := 20_000; i < 30_000; i++ { // always a hundred open
		f.Begin(eventAt(i, 1), 1)
		if done := eventAt(i-100, 1); i >= 20_100 {
			f.Settle(done, patchbay.DeliveryAt(done, 1))
		}
	}
	if len(f.ring) > 4096 || f.Value() != eventAt(29_900, 1) {
		t.Errorf("%d places are taken for 100 events; the floor is %d", len(f.ring), f.Value())
	}
}

// TestFloorGoesDown shows an event that was committed after later ones had been settled.
func TestFloorGoesDown(t *testing.T) {
	var f Floor
	early, late := eventAt(0, 1), eventAt(1, 1)
	f.Begin(late, 1)
	f.Settle(late, patchbay.DeliveryAt(late, 1))
	f.Begin(early, 1)
	if f.Value() != early {
		t.Errorf("the floor is %d, want %d", f.Value(), early)
	}
	f.Settle(early, patchbay.DeliveryAt(early, 1))
	if f.Value() != late+1 {
		t.Errorf("the floor is %d, want %d", f.Value(), late+1)
	}
}

// TestFloorConcurrently begins and settles from many goroutines at once.
func TestFloorConcurrently(t *testing.T) {
	var f Floor
	var wg sync.WaitGroup
	const workers, each = 4, 1000
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				e := eventAt(w+workers*i, 2)
				f.Begin(e, 2)
				f.Settle(e, patchbay.DeliveryAt(e, 2))
				if f.Value() > e {
					t.Errorf("the floor is %d while %d is open", f.Value(), e)
				}
				f.Settle(e, patchbay.DeliveryAt(e, 1))
			}
		})
	}
	wg.Wait()
	if want := eventAt(workers*each-1, 2) + 1; f.Value() != want || len(f.ring) != 0 {
		t.Errorf("the floor is %d, want %d; %d places are taken", f.Value(), want, len(f.ring))
	}
}
