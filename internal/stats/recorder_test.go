package stats

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

func event(kind, scope string) *patchbay.Event {
	return &patchbay.Event{Type: kind, Scope: patchbay.Scope(scope)}
}

func delivery(link patchbay.LinkID, s patchbay.DeliveryState) *patchbay.Delivery {
	return &patchbay.Delivery{Link: link, Integration: "webhook", State: s}
}

// total adds samples up.
func total(samples []store.Sample) store.Sample {
	var out store.Sample
	for i := range samples {
		out.Add(&samples[i])
	}
	return out
}

func TestCountingAllocatesNothing(t *testing.T) {
	r := newRecorder(10)
	e, d := event("repo.push", "acme/repos/1"), delivery(7, patchbay.DeliverySucceeded)
	count := func() {
		r.accepted(e)
		r.attempted(d, e, 3*time.Millisecond)
	}
	count()
	if n := testing.AllocsPerRun(1000, count); n != 0 {
		t.Errorf("counting an event allocates %v times", n)
	}
	r.collect(time.Time{})
	if n := testing.AllocsPerRun(1000, count); n != 0 {
		t.Errorf("after a collection counting an event allocates %v times", n)
	}
}

// TestCardinalityIsBounded floods the recorder with combinations: nothing is lost of what it counts, and it stays small.
func TestCardinalityIsBounded(t *testing.T) {
	const most = 50
	r := newRecorder(most)
	r.accepted(event("early", "acme/repos/early"))
	for i := range 10_000 {
		e := event(fmt.Sprint("type", i%300), fmt.Sprintf("tenant%d/repos/%d", i%500, i))
		r.accepted(e)
		r.attempted(delivery(patchbay.LinkID(i%1000+1), patchbay.DeliverySucceeded), e, time.Second)
	}
	r.accepted(event("early", "acme/repos/early"))
	samples := r.collect(time.Unix(60, 0))
	if n := len(samples); n > 4*most+2 {
		t.Errorf("there are %d combinations, want at most %d", n, 4*most+2)
	}
	sum := total(samples)
	if sum.Accepted != 10_002 || sum.Attempts != 10_000 || sum.Delivered != 10_000 || sum.Latency.Count() != 10_000 {
		t.Errorf("the sum is %+v", sum)
	}
	tenants, early := 0, int64(0)
	for _, s := range samples {
		if s.Scope != "" && s.Scope.Depth() == 1 {
			tenants++
		}
		if s.Scope == "acme/repos/early" {
			early = s.Accepted
		}
	}
	if tenants == 0 {
		t.Error("no scope was folded into its tenant")
	}
	if early != 2 {
		t.Errorf("a combination that was there before the flood counts %d, want 2", early)
	}
	for range idleFor + 1 {
		r.collect(time.Time{})
	}
	if n := r.cells.Load(); n != 0 {
		t.Errorf("%d combinations are kept that nothing happens with", n)
	}
	r.accepted(event("new", "acme/repos/new"))
	if got := r.collect(time.Time{}); len(got) != 1 || got[0].Scope != "acme/repos/new" {
		t.Errorf("after the flood a new combination is counted as %+v", got)
	}
}

// TestNothingIsLostBetweenCollections counts from several goroutines while another collects.
func TestNothingIsLostBetweenCollections(t *testing.T) {
	r := newRecorder(20)
	const workers, each = 4, 5000
	var owned sync.WaitGroup
	for w := range workers {
		owned.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for range each {
				e := event("t", fmt.Sprint("s/", rnd.IntN(100)))
				r.accepted(e)
				r.attempted(delivery(patchbay.LinkID(rnd.IntN(20)), patchbay.DeliverySucceeded), e, time.Millisecond)
				r.failed(delivery(1, patchbay.DeliveryFailed), e)
			}
		})
	}
	done := make(chan struct{})
	go func() { owned.Wait(); close(done) }()
	var all []store.Sample
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r.look(time.Time{})
		all = append(all, r.collect(time.Time{})...)
	}
	sum := total(all)
	if sum.Accepted != workers*each || sum.Delivered != workers*each || sum.Failed != workers*each || sum.Latency.Count() != workers*each {
		t.Errorf("the sum is %+v", sum)
	}
}

// BenchmarkEvent is what one event with one delivery costs: budget 300 ns, no allocation.
func BenchmarkEvent(b *testing.B) {
	for _, links := range []int{1, 1000} {
		b.Run(fmt.Sprint(links, " links"), func(b *testing.B) {
			r := newRecorder(defaultMost)
			events, deliveries := make([]*patchbay.Event, links), make([]*patchbay.Delivery, links)
			for i := range links {
				events[i] = event("repo.push", fmt.Sprint("acme/repos/", i%200))
				deliveries[i] = delivery(patchbay.LinkID(i)<<12, patchbay.DeliverySucceeded)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := events[i%links]
				r.accepted(e)
				r.attempted(deliveries[i%links], e, 3*time.Millisecond)
			}
		})
	}
}
