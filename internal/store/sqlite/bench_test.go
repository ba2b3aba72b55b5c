package sqlite_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// payload is a JSON object of some 950 bytes, so that an event with its envelope is 1 KB.
var payload = []byte(fmt.Sprintf(`{"branch":"main","commits":[{"id":"%x"}],"text":"%0880d"}`, sha256.Sum256(nil), 7)[:950])

func openBench(tb testing.TB) *sqlite.Store {
	tb.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// acceptance makes an event as ingest does.
func acceptance(s store.Store, fan int, now time.Time) *store.Acceptance {
	id := patchbay.EventID(s.NewID(1 + fan))
	a := &store.Acceptance{
		Event: &patchbay.Event{
			ID: id, Type: "repo.push", Scope: "acme/repos/1", Payload: payload, OccurredAt: now, ReceivedAt: now,
			Source: patchbay.Source{Kind: patchbay.SourceAPI, Key: 12345},
		},
		Targets:     make([]store.Target, fan),
		Idempotency: &store.Idempotency{Until: now.Add(24 * time.Hour)},
	}
	for i := range a.Targets {
		a.Targets[i] = store.Target{Link: patchbay.LinkID(1000 + i), Revision: 1, Integration: "webhook"}
	}
	a.Idempotency.Key = keyOf(id)
	return a
}

// keyOf makes a key of an event, as random as a hash.
func keyOf(id patchbay.EventID) [16]byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(id)))
	return [16]byte(sum[:16])
}

func outcomesOf(a *store.Acceptance, now time.Time, request *patchbay.Request) []store.Outcome {
	out := make([]store.Outcome, len(a.Targets))
	for i := range out {
		out[i] = store.Outcome{
			Delivery: patchbay.DeliveryAt(a.Event.ID, i+1), Event: a.Event.ID, Link: a.Targets[i].Link, N: 1,
			State: patchbay.DeliverySucceeded,
			Attempt: patchbay.Attempt{
				At: now, DurationMS: 3, Verdict: patchbay.VerdictDelivered, ResponseCode: 200, Request: request,
			},
		}
	}
	return out
}

var request = &patchbay.Request{Method: "POST", URL: "https://hooks.example.com/services/T000/B000/patchbay", Headers: map[string]string{
	"Content-Type": "application/json", "User-Agent": "Patchbay/1.0", "Webhook-Id": "evt_01h2xcejqtf2n",
	"Webhook-Timestamp": "1763777777", "Webhook-Signature": "[redacted]",
}}

func BenchmarkAccept(b *testing.B) {
	for _, publishers := range []int{1, 32, 64, 128} {
		for _, fan := range []int{1, 10} {
			b.Run(fmt.Sprintf("publishers=%d/fan=%d", publishers, fan), func(b *testing.B) {
				benchAccept(b, publishers, fan)
			})
		}
	}
}

func benchAccept(b *testing.B, publishers, fan int) {
	s := openBench(b)
	ctx := context.Background()
	var next, taken atomic.Int64
	var ready sync.WaitGroup
	lat := make([]time.Duration, 0, b.N)
	var latMu sync.Mutex
	run := func(n int64) {
		next.Store(n)
		for range publishers {
			ready.Go(func() {
				var mine []time.Duration
				for next.Add(-1) >= 0 {
					now := time.Now()
					a := acceptance(s, fan, now)
					if _, err := s.Accept(ctx, a); err != nil {
						b.Error(err)
						return
					}
					mine = append(mine, time.Since(now))
					taken.Add(1)
					s.Record(outcomesOf(a, now, request), nil)
				}
				latMu.Lock()
				lat = append(lat, mine...)
				latMu.Unlock()
			})
		}
		ready.Wait()
		if err := s.Flush(ctx); err != nil {
			b.Error(err)
		}
	}
	run(2000) // the log has been once around its pages, statements are prepared
	lat = lat[:0]
	before, err := s.Stats(ctx)
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	cpu := cpuTime()
	b.ResetTimer()
	run(int64(b.N))
	b.StopTimer()
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&m1)
	after, err := s.Stats(ctx)
	if err != nil {
		b.Fatal(err)
	}
	n := float64(b.N)
	b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/event")
	b.ReportMetric(float64(m1.Mallocs-m0.Mallocs)/n, "mallocs/event")
	b.ReportMetric(n/float64(max(1, after.Commits-before.Commits)), "events/commit")
	b.ReportMetric(n/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(0, "ns/op")
	sortDurations(lat)
	b.ReportMetric(float64(lat[len(lat)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(lat[len(lat)-1].Microseconds()), "max-µs")
	stall, frames := s.Stall()
	b.ReportMetric(float64(stall.Microseconds()), "stall-µs")
	b.ReportMetric(float64(frames), "log-pages")
	b.ReportMetric(float64(after.Bytes)/(n+2000), "bytes/event")
}

func sortDurations(d []time.Duration) { slices.Sort(d) }

// million opens a database in which a million deliveries of a thousand links wait, a hundred of each event.
func million(b *testing.B) (*sqlite.Store, string) {
	b.Helper()
	dir := b.TempDir()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	next.Store(10_000)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := next.Add(-1); i >= 0; i = next.Add(-1) {
				now := time.Now()
				a := acceptance(s, 100, now)
				for j := range a.Targets {
					a.Targets[j].Link = patchbay.LinkID(1 + (i%10)*100 + int64(j))
					a.Queue = append(a.Queue, store.Queued{
						Delivery: patchbay.DeliveryAt(a.Event.ID, j+1), Event: a.Event.ID, Link: a.Targets[j].Link, Due: now,
					})
				}
				if _, err := s.Accept(context.Background(), a); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	return s, dir
}

// BenchmarkMillion is what concerns a million waiting deliveries.
func BenchmarkMillion(b *testing.B) {
	s, dir := million(b)
	ctx := context.Background()
	defer func() { _ = s.Close() }()
	for _, limit := range []int{1, 256} {
		b.Run(fmt.Sprintf("claim %d", limit), func(b *testing.B) {
			skip := func(patchbay.DeliveryID) bool { return false }
			for i := range b.N {
				got, err := s.Due(ctx, patchbay.LinkID(1+i%1000), time.Now(), limit, skip)
				if err != nil || len(got) != limit {
					b.Fatal(len(got), err)
				}
			}
		})
	}
	b.Run("claim and record 256", func(b *testing.B) {
		for i := range b.N {
			got, err := s.Due(ctx, patchbay.LinkID(1+i%1000), time.Now(), 256, nil)
			if err != nil {
				b.Fatal(err)
			}
			outcomes := make([]store.Outcome, len(got))
			for j, c := range got {
				outcomes[j] = store.Outcome{
					Delivery: c.Delivery, Event: c.Queued.Event, Link: c.Link, N: 1, State: patchbay.DeliverySucceeded, WasQueued: true,
					Attempt: patchbay.Attempt{At: time.Now(), Verdict: patchbay.VerdictDelivered, ResponseCode: 200, Request: request},
				}
			}
			s.Record(outcomes, nil)
			if err := s.Flush(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stats", func(b *testing.B) {
		for range b.N {
			if _, err := s.Stats(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("waited", func(b *testing.B) {
		for range b.N {
			if got, err := s.Waited(ctx); err != nil || len(got) != 1000 {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("drop and claim", func(b *testing.B) {
		for range b.N {
			if err := s.SaveLane(ctx, store.Lane{Link: 7, DropBefore: patchbay.DeliveryID(s.NewID(1))}); err != nil {
				b.Fatal(err)
			}
			if _, err := s.Due(ctx, 7, time.Now(), 256, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for _, how := range []string{"after Close", "after a crash"} {
		b.Run("open "+how, func(b *testing.B) {
			for range b.N {
				s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				if n, err := s.Recover(ctx, time.Now()); err != nil || n != 0 {
					b.Fatal(n, err)
				}
				if how == "after Close" {
					_ = s.Close()
				} else {
					s.Abandon()
				}
			}
		})
	}
}
