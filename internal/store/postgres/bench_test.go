package postgres_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// payload is a JSON object of some 950 bytes, so that an event with its envelope is 1 KB.
var payload = []byte(fmt.Sprintf(`{"branch":"main","commits":[{"id":"%x"}],"text":"%0880d"}`, sha256.Sum256(nil), 7)[:950])

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
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(id)))
	a.Idempotency.Key = [16]byte(sum[:16])
	return a
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

// openBench opens a database on a server of its own, which syncs as an operator's does.
func openBench(b *testing.B) (*postgres.Store, *pgtest.Server, string) {
	b.Helper()
	server := pgtest.Start(b, pgtest.Options{Settings: map[string]string{"shared_buffers": "'512MB'", "max_wal_size": "'4GB'"}})
	url := server.Database(b)
	s, err := postgres.Open(context.Background(), postgres.Options{URL: url, Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s, server, url
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// serverTime is the processor time that a server and all its processes have used.
func serverTime(b *testing.B, server *pgtest.Server) time.Duration {
	b.Helper()
	data := server.SQL(b, "postgres", "SHOW data_directory")
	raw, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	postmaster, _ := strconv.Atoi(strings.SplitN(string(raw), "\n", 2)[0])
	ticks := 0
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		number := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if pid == postmaster {
			ticks += number(11) + number(12) + number(13) + number(14)
		} else if number(1) == postmaster {
			ticks += number(11) + number(12)
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func BenchmarkAccept(b *testing.B) {
	for _, publishers := range []int{1, 32, 128} {
		for _, fan := range []int{1, 10} {
			b.Run(fmt.Sprintf("publishers=%d/fan=%d", publishers, fan), func(b *testing.B) { benchAccept(b, publishers, fan) })
		}
	}
}

func benchAccept(b *testing.B, publishers, fan int) {
	s, server, _ := openBench(b)
	ctx := context.Background()
	var next atomic.Int64
	var ready sync.WaitGroup
	run := func(n int64) {
		next.Store(n)
		for range publishers {
			ready.Go(func() {
				for next.Add(-1) >= 0 {
					now := time.Now()
					a := acceptance(s, fan, now)
					if _, err := s.Accept(ctx, a); err != nil {
						b.Error(err)
						return
					}
					s.Record(outcomesOf(a, now, request), nil)
				}
			})
		}
		ready.Wait()
		if err := s.Flush(ctx); err != nil {
			b.Error(err)
		}
	}
	run(2000)
	before := s.Written()
	runtime.GC()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	wal := server.SQL(b, "postgres", "SELECT pg_current_wal_insert_lsn()")
	cpu, theirs := cpuTime(), serverTime(b, server)
	b.ResetTimer()
	run(int64(b.N))
	b.StopTimer()
	cpu, theirs = cpuTime()-cpu, serverTime(b, server)-theirs
	runtime.ReadMemStats(&m1)
	n := float64(b.N)
	b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/event")
	b.ReportMetric(float64(theirs.Microseconds())/n, "db-µs/event")
	b.ReportMetric(float64(m1.Mallocs-m0.Mallocs)/n, "mallocs/event")
	b.ReportMetric(n/float64(max(1, s.Written()-before)), "events/commit")
	b.ReportMetric(n/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(0, "ns/op")
	bytes, _ := strconv.ParseFloat(server.SQL(b, "postgres", "SELECT pg_current_wal_insert_lsn() - '"+wal+"'"), 64)
	b.ReportMetric(bytes/n, "wal-bytes/event")
}

// BenchmarkMillion is what concerns a million waiting deliveries of a thousand links.
func BenchmarkMillion(b *testing.B) {
	s, server, url := openBench(b)
	ctx := context.Background()
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
				if _, err := s.Accept(ctx, a); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	server.SQL(b, url[strings.LastIndex(url, "/")+1:strings.Index(url, "?")], "ANALYZE")
	for _, limit := range []int{1, 256} {
		b.Run(fmt.Sprintf("claim %d", limit), func(b *testing.B) {
			var took []time.Duration
			cpu, theirs := cpuTime(), serverTime(b, server)
			for i := range b.N {
				start := time.Now()
				got, err := s.Due(ctx, patchbay.LinkID(1+i%1000), time.Now(), limit, nil)
				if err != nil || len(got) != limit {
					b.Fatal(len(got), err)
				}
				took = append(took, time.Since(start))
			}
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/claim")
			b.ReportMetric(float64((serverTime(b, server)-theirs).Microseconds())/float64(b.N), "db-µs/claim")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
	b.Run("claim and record 256", func(b *testing.B) {
		var took []time.Duration
		for i := range b.N {
			start := time.Now()
			got, err := s.Due(ctx, patchbay.LinkID(1+i%1000), time.Now(), 256, nil)
			if err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
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
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "claim-p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "claim-p99-µs")
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
}
