package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Row is one line of the result.
type Row struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Unit  string `json:"unit"`
	// Must and Aim are what the project asks of itself; Higher says that more is better.
	Must   float64 `json:"must"`
	Aim    float64 `json:"aim,omitempty"`
	Higher bool    `json:"higher_is_better"`
	// Samples are the measurements, Value their median.
	Samples []float64 `json:"samples"`
	Value   float64   `json:"value"`
	// Passed says that Value reaches Must. Problem says why there is no value.
	Passed  bool   `json:"passed"`
	Problem string `json:"problem,omitempty"`
	// Note says what stands behind the value.
	Note string `json:"note,omitempty"`
}

func (r *Row) add(value float64) { r.Samples = append(r.Samples, value) }

// rows are all rows; those that name no database are about SQLite.
func rows() []Row {
	return []Row{
		{ID: "rate-32", Title: "32 publishers: delivered/s ÷ no-store", Must: 0.50, Aim: 0.75, Higher: true},
		{ID: "rate-128", Title: "128 publishers: delivered/s ÷ no-store", Must: 0.55, Aim: 0.80, Higher: true},
		{ID: "cpu", Title: "CPU of the server per event at saturation", Unit: "µs", Must: 120, Aim: 70},
		{ID: "allocations", Title: "allocations per event, accept to recorded", Must: 140, Aim: 80},
		{ID: "latency-p50", Title: "end to end at 200/s: p50", Unit: "ms", Must: 2, Aim: 1.3},
		{ID: "latency-p99", Title: "end to end at 200/s: p99", Unit: "ms", Must: 6, Aim: 2.5},
		{ID: "fan-out", Title: "fan-out 10: deliveries/s ÷ no-store", Must: 0.50, Aim: 0.75, Higher: true},
		{ID: "claim", Title: "claim of 256 due deliveries", Unit: "ms", Must: 10, Aim: 5},
		{ID: "memory-idle", Title: "memory: idle", Unit: "MB", Must: 60, Aim: 40},
		{ID: "memory-pending", Title: "memory: pending deliveries", Unit: "MB", Must: 300, Aim: 150},
		{ID: "memory-load", Title: "memory: at full load", Unit: "MB", Must: 300, Aim: 150},
		{ID: "store", Title: "store per million delivered 1 KB events", Unit: "GB", Must: 2.0, Aim: 1.6},
		{ID: "start", Title: "start, empty", Unit: "s", Must: 0.3, Aim: 0.1},
		{ID: "start-pending", Title: "start with pending deliveries", Unit: "s", Must: 5, Aim: 1},
		{ID: "neighbours", Title: "p99 beside 1,000 hanging links ÷ alone", Must: 2},
		{ID: "mix", Title: "p99 beside partners that fail, are slow or hang ÷ alone", Must: 2},
		{ID: "postgres-32", Title: "PostgreSQL, 32 publishers: delivered/s ÷ SQLite", Must: 0.6, Aim: 0.9, Higher: true},
		{ID: "postgres-128", Title: "PostgreSQL, 128 publishers: delivered/s ÷ SQLite", Must: 0.7, Aim: 1, Higher: true},
		{ID: "postgres-cpu", Title: "PostgreSQL: CPU of the database per event", Unit: "µs", Must: 40, Aim: 25},
		{ID: "postgres-claim", Title: "PostgreSQL: claim of 256 due deliveries", Unit: "ms", Must: 10, Aim: 5},
		{ID: "nodes-2", Title: "2 nodes at one PostgreSQL: delivered/s ÷ 1 node", Must: 0.6, Aim: 1, Higher: true},
		{ID: "nodes-3", Title: "3 nodes at one PostgreSQL: delivered/s ÷ 1 node", Must: 0.5, Aim: 1, Higher: true},
	}
}

// group is rows that are measured together.
type group struct {
	name string
	rows []string
	// ownOnly groups need an installation that was started for them.
	ownOnly bool
	measure func(*bench, context.Context) error
}

func groups() []group {
	return []group{
		{"start", []string{"start", "memory-idle"}, true, (*bench).measureStart},
		{"rate", []string{"rate-32", "rate-128", "cpu", "allocations", "memory-load", "store"}, false, (*bench).measureRate},
		{"latency", []string{"latency-p50", "latency-p99"}, false, (*bench).measureLatency},
		{"fan-out", []string{"fan-out"}, false, (*bench).measureFanout},
		{"neighbours", []string{"neighbours"}, true, (*bench).measureNeighbours},
		{"mix", []string{"mix"}, true, (*bench).measureMix},
		{"pending", []string{"claim", "memory-pending", "start-pending"}, true, (*bench).measurePending},
		{"postgres", []string{"postgres-32", "postgres-128", "postgres-cpu", "postgres-claim", "nodes-2", "nodes-3"}, true, (*bench).measurePostgres},
	}
}

const megabyte = 1e6

// measureStart starts an empty installation, several times, and looks at it while nothing happens.
func (b *bench) measureStart(ctx context.Context) error {
	const times = 5
	for i := range times {
		b.o.Progress("start %d of %d", i+1, times)
		dir, err := b.directory()
		if err != nil {
			return err
		}
		began := time.Now()
		t, err := b.serve(ctx, dir, "")
		if err != nil {
			return err
		}
		if err := t.api.Ready(ctx); err != nil {
			t.part.kill()
			return err
		}
		b.rows["start"].add(time.Since(began).Seconds())
		if i == times-1 {
			err = wait(ctx, time.Second)
			b.memory("memory-idle", t.part.rss())
		}
		if stopped := t.part.stop(); err == nil {
			err = stopped
		}
		if err != nil {
			return err
		}
	}
	b.rows["start"].Note = "process start to /readyz, a new database"
	return nil
}

// memory notes memory, where it can be told.
func (b *bench) memory(row string, bytes int64) {
	if bytes > 0 {
		b.rows[row].add(float64(bytes) / megabyte)
	} else {
		b.rows[row].Problem = "the memory of another process cannot be read here"
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// measureRate measures closed loops, the baseline's and the installation's in turns, so that what else the machine does
// meets both.
func (b *bench) measureRate(ctx context.Context) error {
	b.profiled = b.o.Profile != ""
	t, dir, secret, done, err := b.installation(ctx, 1)
	b.profiled = false
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended {
			_ = done() // the first error is the one that counts
		}
	}()
	watch := func() int64 { return 0 }
	if t.part != nil {
		watch = t.part.watchRSS(ctx)
	}
	for run := range b.o.Runs {
		for _, publishers := range []int{32, 128} {
			if err := b.compare(ctx, t, secret, publishers, run); err != nil {
				watch()
				return err
			}
		}
	}
	b.memory("memory-load", watch())
	ended = true
	if err := done(); err != nil {
		return err
	}
	if dir == "" {
		b.rows["store"].Problem = errNotHere.Error()
		return nil
	}
	bytes, err := size(dir)
	b.rows["store"].add(float64(bytes) / float64(t.events) * 1e6 / 1e9)
	b.rows["store"].Note = fmt.Sprintf("after %d events, attempts and keys included", t.events)
	return err
}

func (b *bench) compare(ctx context.Context, t *target, secret string, publishers, run int) error {
	now, err := t.figures(ctx)
	if err != nil {
		return err
	}
	base, err := b.baseline(ctx, 1, now.gcPercent)
	if err != nil {
		return err
	}
	without, err := b.closedPhase(ctx, base, publishers, 1, "")
	base.part.kill()
	if err != nil {
		return fmt.Errorf("the baseline failed: %w", err)
	}
	with, err := b.closedPhase(ctx, t, publishers, 1, secret)
	if err != nil {
		return err
	}
	row := b.rows[fmt.Sprintf("rate-%d", publishers)]
	row.add(with.rate / without.rate)
	row.Note = fmt.Sprintf("%.0f/s of %.0f/s, %.0f µs of %.0f µs, %.1f events a commit", with.rate, without.rate, with.cpu, without.cpu, with.batch)
	b.o.Progress("run %d: %d publishers: %.0f/s, %.0f µs; no-store %.0f/s, %.0f µs", run+1, publishers, with.rate, with.cpu, without.rate, without.cpu)
	if publishers == 32 { // the harder of the two: fewer events share a transaction
		b.rows["cpu"].add(with.cpu)
		b.rows["cpu"].Note = fmt.Sprintf("32 publishers; no-store %.0f µs", without.cpu)
		b.rows["allocations"].add(with.mallocs)
		b.rows["allocations"].Note = fmt.Sprintf("no-store %.0f", without.mallocs)
	}
	return nil
}

// measureLatency measures an open loop at a modest rate.
func (b *bench) measureLatency(ctx context.Context) error {
	t, _, secret, done, err := b.installation(ctx, 1)
	if err != nil {
		return err
	}
	for range b.o.Runs {
		var r Report
		if r, err = b.openPhase(ctx, t, 1, b.size.latency, secret); err != nil {
			break
		}
		b.rows["latency-p50"].add(r.P50.Seconds() * 1e3)
		b.rows["latency-p99"].add(r.P99.Seconds() * 1e3)
		b.rows["latency-p50"].Note = fmt.Sprintf("p90 %.1f ms", r.P90.Seconds()*1e3)
		b.rows["latency-p99"].Note = fmt.Sprintf("p99.9 %.1f ms, worst %.1f ms", r.P999.Seconds()*1e3, r.Max.Seconds()*1e3)
		b.o.Progress("200/s: p50 %s, p90 %s, p99 %s, p99.9 %s, worst %s", r.P50, r.P90, r.P99, r.P999, r.Max)
	}
	if stopped := done(); err == nil {
		err = stopped
	}
	return err
}

// measureFanout measures a closed loop in which every event goes to ten links.
func (b *bench) measureFanout(ctx context.Context) error {
	t, _, secret, done, err := b.installation(ctx, fanout)
	if err != nil {
		return err
	}
	for range b.o.Runs {
		if err = b.compareFanout(ctx, t, secret); err != nil {
			break
		}
	}
	if stopped := done(); err == nil {
		err = stopped
	}
	return err
}

func (b *bench) compareFanout(ctx context.Context, t *target, secret string) error {
	now, err := t.figures(ctx)
	if err != nil {
		return err
	}
	base, err := b.baseline(ctx, fanout, now.gcPercent)
	if err != nil {
		return err
	}
	without, err := b.closedPhase(ctx, base, 32, fanout, "")
	base.part.kill()
	if err != nil {
		return fmt.Errorf("the baseline failed: %w", err)
	}
	with, err := b.closedPhase(ctx, t, 32, fanout, secret)
	if err != nil {
		return err
	}
	row := b.rows["fan-out"]
	row.add(with.rate / without.rate)
	row.Note = fmt.Sprintf("%.0f/s of %.0f/s, %.0f µs per delivery of %.0f µs", with.rate, without.rate, with.cpu/fanout, without.cpu/fanout)
	b.o.Progress("fan-out: %.0f/s; no-store %.0f/s", with.rate, without.rate)
	return nil
}

func median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
