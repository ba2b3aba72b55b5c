package deliver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// nothing sends nowhere.
type nothing struct {
	def  integration.Definition
	done func()
}

func (n *nothing) Definition() *integration.Definition { return &n.def }

func (n *nothing) Send(context.Context, *integration.Delivery) integration.Result {
	defer n.done()
	return integration.Delivered()
}

// memory is a store that remembers nothing, so that a benchmark shows what the engine itself costs.
type memory struct{ store.Store }

func (memory) Lanes(context.Context) ([]store.Lane, error) { return nil, nil }
func (memory) Waited(context.Context) (map[patchbay.LinkID]time.Time, error) {
	return nil, nil
}
func (memory) Enqueue(context.Context, []store.Queued) error { return nil }
func (memory) SaveLane(context.Context, store.Lane) error    { return nil }
func (memory) Flush(context.Context) error                   { return nil }
func (memory) Record(_ []store.Outcome, committed func())    { committed() }

// Due finds nothing: a benchmark does not let lanes run full.
func (memory) Due(context.Context, patchbay.LinkID, time.Time, int, func(patchbay.DeliveryID) bool) ([]store.Claimed, error) {
	return nil, nil
}

func (memory) NextDue(context.Context, patchbay.LinkID, func(patchbay.DeliveryID) bool) (time.Time, bool, error) {
	return time.Time{}, false, nil
}

// BenchmarkEngine takes events in, sends each over one of the links, and records the results.
func BenchmarkEngine(b *testing.B) {
	for _, links := range []int{1, 1000} {
		for _, kind := range []string{"memory", "sqlite"} {
			b.Run(fmt.Sprintf("links=%d/%s", links, kind), func(b *testing.B) { benchmarkEngine(b, links, kind, func(*patchbay.Link) {}) })
		}
	}
}

// BenchmarkOneByOne compares a link with one order for everything to one with a concurrency of 1, which has no order.
func BenchmarkOneByOne(b *testing.B) {
	for _, kind := range []string{"memory", "sqlite"} {
		b.Run("order/"+kind, func(b *testing.B) {
			benchmarkEngine(b, 1, kind, func(l *patchbay.Link) { l.Order = &patchbay.OrderPolicy{} })
		})
		b.Run("concurrency=1/"+kind, func(b *testing.B) {
			benchmarkEngine(b, 1, kind, func(l *patchbay.Link) { l.Concurrency = 1 })
		})
	}
}

func benchmarkEngine(b *testing.B, links int, kind string, change func(*patchbay.Link)) {
	const publishers = 64
	ctx := context.Background()
	var s store.Store = memory{}
	ids := patchbay.NewSequence(0, 0, nil)
	newID, accept := ids.Take, func(*store.Acceptance) error { return nil }
	if kind == "sqlite" {
		real, err := sqlite.Open(ctx, sqlite.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer real.Close()
		s, newID = real, real.NewID
		accept = func(a *store.Acceptance) error { _, err := real.Accept(ctx, a); return err }
	}
	client := outbound.New(outbound.Options{})
	defer client.Close()
	e := New(Options{Store: s, Client: client, Catalog: plain{}})
	room := make(chan struct{}, 256) // what is accepted and not sent: less than a lane keeps in memory
	n := &nothing{done: func() { <-room }}
	to := make([]*Link, links)
	for i := range to {
		to[i] = &Link{
			Link: &patchbay.Link{
				ID: patchbay.LinkID(newID(1)), Scope: patchbay.Scope(fmt.Sprintf("t%d/x", i%50)), Enabled: true,
				State: patchbay.LinkActive, Revision: 1, Integration: "nothing", Concurrency: patchbay.MaxConcurrency,
			},
			Definition: &n.def, Sender: n, Host: fmt.Sprintf("h%d:443", i),
		}
		change(to[i].Link)
		if err := e.SetLink(ctx, to[i]); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Start(ctx); err != nil {
		b.Fatal(err)
	}
	payload := json.RawMessage(`{"pad":"` + strings.Repeat("x", 1000) + `"}`)
	b.ReportAllocs()
	b.ResetTimer()
	var mu sync.Mutex
	next := 0
	var all sync.WaitGroup
	for range publishers {
		all.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= b.N {
					return
				}
				now := time.Now()
				room <- struct{}{}
				a := e.Admit(&patchbay.Event{Type: "x", Payload: payload, OccurredAt: now, ReceivedAt: now}, to[i%links:i%links+1], newID)
				if err := accept(&a.Acceptance); err != nil {
					a.Abort()
					<-room
					b.Error(err)
					return
				}
				a.Commit()
			}
		})
	}
	all.Wait()
	for range cap(room) {
		room <- struct{}{} // everything has been sent
	}
	b.StopTimer()
	if err := e.Stop(ctx); err != nil {
		b.Fatal(err)
	}
}
