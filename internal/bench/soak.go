package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay/internal/console"
)

const (
	// soakRate is how many events a second a soak publishes: enough for leaks to show, little enough for the store not to
	// fill the disk of an hour's run.
	// The slow partner takes 320 a second: with more its backlog would only grow.
	soakRate = 250
	// soakSamples is how often an installation is looked at over the whole soak, at least.
	soakSamples = 20
	// shortestSoak lets caches fill before growth counts.
	shortestSoak = 30 * time.Second
)

// Sample is an installation at one moment.
type Sample struct {
	After      time.Duration `json:"after_ns"`
	Memory     int64         `json:"memory"`
	Heap       float64       `json:"heap"`
	Goroutines float64       `json:"goroutines"`
	Files      float64       `json:"files"`
	Store      int64         `json:"store"`
	Accepted   int64         `json:"accepted"`
}

// Growth is the median of one figure in the second and in the last third of a soak.
type Growth struct {
	What      string  `json:"what"`
	Unit      string  `json:"unit,omitempty"`
	First     float64 `json:"first"`
	Last      float64 `json:"last"`
	PerMinute float64 `json:"per_minute"`
	// Most is what Last may be; 0: it is only told.
	Most   float64 `json:"most,omitempty"`
	Passed bool    `json:"passed"`
}

// SoakResult is what a soak came to.
type SoakResult struct {
	Took    time.Duration `json:"took_ns"`
	Samples []Sample      `json:"samples"`
	Growth  []Growth      `json:"growth"`
	Totals  Totals        `json:"totals"`
	P99     time.Duration `json:"p99_ns"`
	Passed  bool          `json:"passed"`
}

// Soak runs an installation of its own for a long time at an even rate, with partners of which one fails now and then
// and one is slow, and looks whether anything grows that should not.
func Soak(ctx context.Context, o Options, length time.Duration) (*SoakResult, error) {
	if length < shortestSoak {
		return nil, fmt.Errorf("a soak shorter than %s says nothing about growth", shortestSoak)
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	b := &bench{o: o, size: o.sizes(), rows: map[string]*Row{}, group: "soak"}
	defer b.clean()
	sink, err := start(ctx, o.Command(RoleSink))
	if err != nil {
		return nil, err
	}
	defer sink.kill()
	b.sink = &sinkAPI{part: sink}
	t, dir, secret, done, err := b.installation(ctx, 1)
	if err != nil {
		return nil, err
	}
	out, err := b.soak(ctx, t, dir, secret, length)
	if stopped := done(); err == nil {
		err = stopped
	}
	if ctx.Err() != nil {
		return nil, errors.New("the soak was interrupted")
	}
	return out, err
}

func (b *bench) soak(ctx context.Context, t *target, dir, secret string, length time.Duration) (*SoakResult, error) {
	if err := b.addLinks(ctx, t.api, b.sink.way(failWay, 1), b.sink.way(slowWay, 2)); err != nil {
		return nil, err
	}
	const links = 3
	if err := b.sink.reset(ctx, links, secret); err != nil {
		return nil, err
	}
	p := newPublisher(t.addresses(), newTemplate(t.addr, t.token, string(benchScope), fmt.Sprintf("s%d", time.Now().UnixNano())))
	began := time.Now()
	run, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	out := &SoakResult{}
	published := make(chan error, 1)
	t.part.owned.Go(func() { published <- p.open(run, soakRate) })
	every := min(length/soakSamples, 15*time.Second)
	var failed error
	for run.Err() == nil && failed == nil {
		if wait(run, every) != nil {
			break
		}
		var s Sample
		if s, failed = t.sample(ctx, dir); failed == nil {
			s.After, s.Accepted = time.Since(began), p.accepted.Load()
			out.Samples = append(out.Samples, s)
			b.o.Progress("%s: %.0f MB, %.0f goroutines, %.0f files, store %.0f MB, %d events", s.After.Round(time.Second),
				float64(s.Memory)/megabyte, s.Goroutines, s.Files, float64(s.Store)/megabyte, s.Accepted)
		}
	}
	cancel()
	if err := errors.Join(failed, <-published); err != nil {
		return nil, err
	}
	out.Took = time.Since(began)
	want := p.accepted.Load() * links
	r, err := b.sink.await(ctx, want)
	if err != nil {
		return nil, err
	}
	b.note(phase{report: r, accepted: p.accepted.Load(), lost: want - r.Distinct})
	out.P99, out.Totals = r.P99, b.totals
	return out, out.judge()
}

// sample looks at an installation.
func (t *target) sample(ctx context.Context, dir string) (Sample, error) {
	text, err := t.api.Metrics(ctx)
	if err != nil {
		return Sample{}, err
	}
	m := parseMetrics(text)
	bytes, err := size(dir)
	return Sample{Memory: t.part.rss(), Heap: m["go_memstats_heap_inuse_bytes"], Goroutines: m["go_goroutines"],
		Files: m["process_open_fds"], Store: bytes}, err
}

// judge compares the second third, when caches are full, with the last.
func (r *SoakResult) judge() error {
	n := len(r.Samples)
	if n < 6 {
		return fmt.Errorf("only %d samples were taken", n)
	}
	third := n / 3
	first, last := r.Samples[third:2*third], r.Samples[n-third:]
	minutes := (last[len(last)/2].After - first[len(first)/2].After).Minutes()
	add := func(what, unit string, of func(*Sample) float64, factor, plus float64) {
		g := Growth{What: what, Unit: unit, First: medianOf(first, of), Last: medianOf(last, of), Passed: true}
		g.PerMinute = (g.Last - g.First) / minutes
		if factor > 0 {
			g.Most = g.First*factor + plus
			g.Passed = g.Last <= g.Most
		}
		r.Growth = append(r.Growth, g)
	}
	add("memory", "MB", func(s *Sample) float64 { return float64(s.Memory) / megabyte }, 1.15, 16)
	add("heap in use", "MB", func(s *Sample) float64 { return s.Heap / megabyte }, 1.5, 16)
	add("goroutines", "", func(s *Sample) float64 { return s.Goroutines }, 1.1, 10)
	add("open files", "", func(s *Sample) float64 { return s.Files }, 1.1, 10)
	add("store", "MB", func(s *Sample) float64 { return float64(s.Store) / megabyte }, 0, 0)
	r.Passed = r.Totals.Lost == 0 && r.Totals.Forged == 0
	for i := range r.Growth {
		r.Passed = r.Passed && r.Growth[i].Passed
	}
	return nil
}

func medianOf(samples []Sample, of func(*Sample) float64) float64 {
	values := make([]float64, len(samples))
	for i := range samples {
		values[i] = of(&samples[i])
	}
	return median(values)
}

// Print writes the result as a table.
func (r *SoakResult) Print(c *console.Console) {
	cells := make([][]console.Cell, len(r.Growth))
	for i := range r.Growth {
		g := &r.Growth[i]
		mark, most := console.Cell{Text: "✓", Style: console.Green}, "–"
		if !g.Passed {
			mark = console.Cell{Text: "✗", Style: console.Red}
		}
		if g.Most > 0 {
			most = fmt.Sprintf("≤ %.0f", g.Most)
		}
		cells[i] = []console.Cell{mark, {Text: g.What}, {Text: fmt.Sprintf("%.0f %s", g.First, g.Unit)}, {Text: fmt.Sprintf("%.0f %s", g.Last, g.Unit)},
			{Text: most, Style: console.Dim}, {Text: fmt.Sprintf("%+.2f", g.PerMinute)}}
	}
	c.Table([]string{"", "WHAT", "SECOND THIRD", "LAST THIRD", "MAY BE", "A MINUTE"}, cells)
	verdict, style := "nothing grows that should not", console.Green
	if !r.Passed {
		verdict, style = "something grows or was lost", console.Red
	}
	c.Printf("\n%s; %d events in %s at %d a second: %d deliveries, %d lost, %d came twice; p99 %s\n", c.Paint(style, verdict),
		r.Totals.Events, r.Took.Round(time.Second), soakRate, r.Totals.Deliveries, r.Totals.Lost, r.Totals.Duplicates, r.P99.Round(100*time.Microsecond))
}
