package stats

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// defaultRange is what is shown when nobody says since when.
	defaultRange = 24 * time.Hour
	// pointsMost bounds the steps of an answer, entriesMost its entries (a point for each of what by names).
	pointsMost  = 1500
	entriesMost = 6000
	// groupsMost is how many links, types, … an answer tells apart; the rest is added up.
	groupsMost = 50
	// pointsWanted is what a step is chosen for when nobody gives one.
	pointsWanted = 100
)

// niceSteps are those that are chosen from.
var niceSteps = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// Query selects what a series is about. Zero fields select everything.
type Query struct {
	// Since and Until bound the time; the defaults are a day before Until, and now. They are widened to whole steps.
	Since, Until time.Time
	// Step is how long a point stands for, whole minutes; 0 chooses one.
	Step        time.Duration
	Link        patchbay.LinkID
	Type        string
	Integration string
	Scope       patchbay.Scope
	// By is one of the words of store.ByLink and so on.
	By string
}

// Quantiles are latencies in milliseconds, from acceptance to success, to within five percent.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// Counts are what a point says.
type Counts struct {
	Accepted  int64 `json:"accepted"`
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"`
	Attempts  int64 `json:"attempts"`
	// Latency is nil where nothing was delivered.
	Latency *Quantiles `json:"latency"`
}

// Group says what a point or a sum is about, where a query has By.
type Group struct {
	Link        *patchbay.LinkID `json:"link,omitempty"`
	Type        *string          `json:"type,omitempty"`
	Scope       *patchbay.Scope  `json:"scope,omitempty"`
	Integration *string          `json:"integration,omitempty"`
	// Rest says that this is everything that has no entry of its own.
	Rest bool `json:"rest,omitempty"`
}

// Point is one step of a series.
type Point struct {
	At time.Time `json:"at"`
	Group
	Counts
}

// Sum is a whole series added up.
type Sum struct {
	Group
	Counts
}

// Series is how it went.
type Series struct {
	Points []Point
	// Totals are the sums of the groups, the busiest first; without By it is one.
	Totals       []Sum
	Step         time.Duration
	Since, Until time.Time
}

// Series adds up what happened at and below the caller's scope.
func (s *Service) Series(ctx context.Context, c *access.Caller, q Query) (*Series, error) {
	if q.Scope == "" {
		q.Scope = c.Scope
	}
	if err := c.Reach(q.Scope); err != nil {
		return nil, err
	}
	if err := s.settle(&q); err != nil {
		return nil, err
	}
	f := store.StatFilter{Since: q.Since, Until: q.Until, Link: q.Link, Type: q.Type, Integration: q.Integration, Within: q.Scope}
	samples, err := s.samples(ctx, f, q.Step, q.By)
	if err != nil {
		return nil, patchbay.Internal("reading figures", err)
	}
	return arrange(&q, samples), nil
}

// samples adds what is in the store and what is not there yet. Nothing moves from one to the other meanwhile.
func (s *Service) samples(ctx context.Context, f store.StatFilter, step time.Duration, by string) ([]store.Sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	read := func() ([]store.Sample, error) { return s.o.Store.Samples(ctx, f, step, by) }
	if by == store.ByNothing && f.Link == 0 && f.Links == nil && !f.Since.IsZero() && !f.Until.IsZero() {
		read = func() ([]store.Sample, error) { return s.fromPast(ctx, f, step) }
	}
	samples, err := read()
	if err != nil {
		return nil, err
	}
	for _, pending := range [][]store.Sample{s.waiting, s.recorder.look(s.since)} {
		for i := range pending {
			x := &pending[i]
			x.At = x.At.Truncate(time.Minute)
			if f.Matches(x) {
				sum := x.Key(step, by)
				sum.Add(x)
				samples = append(samples, sum)
			}
		}
	}
	return samples, nil
}

// settle fills in what a query leaves out, and refuses what cannot be answered.
func (s *Service) settle(q *Query) error {
	now := s.o.Now()
	switch q.By {
	case store.ByNothing, store.ByLink, store.ByType, store.ByScope, store.ByIntegration:
	default:
		return patchbay.Invalid("by", "is one of link, type, scope and integration")
	}
	if q.Until.IsZero() || q.Until.After(now) {
		q.Until = now
	}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-defaultRange)
	}
	if oldest := now.Add(-KeptFor); q.Since.Before(oldest) {
		q.Since = oldest
	}
	if !q.Since.Before(q.Until) {
		return patchbay.Invalid("since", "must be before until, and not in the future")
	}
	hours := q.Since.Before(now.Add(-MinutesFor))
	if q.Step == 0 {
		q.Step = chooseStep(q.Until.Sub(q.Since), hours)
	}
	switch {
	case q.Step < time.Minute || q.Step%time.Minute != 0:
		return patchbay.Invalid("step", "is a whole number of minutes, such as 5m or 1h")
	case q.Step > KeptFor:
		return patchbay.Invalid("step", "is longer than figures are kept, which is 90 days")
	case hours && q.Step%time.Hour != 0:
		return patchbay.Invalid("step", "must be whole hours for what is longer ago than 24 hours, because figures are kept by the hour then")
	case q.Until.Sub(q.Since)/q.Step >= pointsMost:
		return patchbay.Invalid("step", "would make more than %d points: choose a longer step, or a shorter time", pointsMost)
	}
	q.Since = (&store.Sample{At: q.Since}).Key(q.Step, "").At
	if at := (&store.Sample{At: q.Until}).Key(q.Step, "").At; at.Before(q.Until) {
		q.Until = at.Add(q.Step)
	}
	return nil
}

// chooseStep returns a step that makes a readable number of points.
func chooseStep(span time.Duration, hours bool) time.Duration {
	for _, step := range niceSteps {
		if (!hours || step >= time.Hour) && span/step <= pointsWanted {
			return step
		}
	}
	return niceSteps[len(niceSteps)-1]
}

// groupKey tells groups apart.
type groupKey struct {
	link patchbay.LinkID
	text string
	rest bool
}

func keyOf(x *store.Sample) groupKey {
	return groupKey{link: x.Link, text: x.Integration + x.Type + string(x.Scope)} // one of them at most is set
}

// group shows what a key stands for.
func (k groupKey) group(by string) Group {
	if k.rest {
		return Group{Rest: true}
	}
	switch by {
	case store.ByLink:
		return Group{Link: &k.link}
	case store.ByType:
		return Group{Type: &k.text}
	case store.ByScope:
		scope := patchbay.Scope(k.text)
		return Group{Scope: &scope}
	case store.ByIntegration:
		return Group{Integration: &k.text}
	}
	return Group{}
}

// arrange makes a series of samples: every step and group has a point, also where nothing was.
func arrange(q *Query, samples []store.Sample) *Series {
	out := &Series{Step: q.Step, Since: q.Since, Until: q.Until}
	steps := int(q.Until.Sub(q.Since) / q.Step)
	groups, sums := ranked(q, samples, steps)
	type cellKey struct {
		step int
		groupKey
	}
	cells := make(map[cellKey]*store.Sample, len(samples))
	for i := range samples {
		k := cellKey{int(samples[i].At.Sub(q.Since) / q.Step), keyOf(&samples[i])}
		if _, shown := sums[k.groupKey]; !shown {
			k.groupKey = groupKey{rest: true}
		}
		if cells[k] == nil {
			cells[k] = &store.Sample{}
		}
		cells[k].Add(&samples[i])
	}
	out.Points = make([]Point, 0, steps*len(groups))
	for step := range steps {
		at := q.Since.Add(time.Duration(step) * q.Step)
		for _, g := range groups {
			p := Point{At: at, Group: g.group(q.By)}
			if x := cells[cellKey{step, g}]; x != nil {
				p.Counts = counts(x)
			}
			out.Points = append(out.Points, p)
		}
	}
	out.Totals = make([]Sum, 0, len(groups))
	for _, g := range groups {
		out.Totals = append(out.Totals, Sum{g.group(q.By), counts(sums[g])})
	}
	return out
}

// ranked returns the groups that are shown, the busiest first, what is left as one more, and their sums. Without By there
// is one group, also of nothing.
func ranked(q *Query, samples []store.Sample, steps int) ([]groupKey, map[groupKey]*store.Sample) {
	sums := map[groupKey]*store.Sample{}
	if q.By == "" {
		sums[groupKey{}] = &store.Sample{}
	}
	for i := range samples {
		k := keyOf(&samples[i])
		if sums[k] == nil {
			sums[k] = &store.Sample{}
		}
		sums[k].Add(&samples[i])
	}
	groups := make([]groupKey, 0, len(sums))
	for k := range sums {
		groups = append(groups, k)
	}
	slices.SortFunc(groups, func(a, b groupKey) int {
		x, y := sums[a], sums[b]
		return cmp.Or(cmp.Compare(y.Accepted+y.Attempts, x.Accepted+x.Attempts), cmp.Compare(a.link, b.link), cmp.Compare(a.text, b.text))
	})
	most := max(1, min(groupsMost, entriesMost/max(steps, 1)))
	if len(groups) <= most {
		return groups, sums
	}
	rest := &store.Sample{}
	for _, k := range groups[most:] {
		rest.Add(sums[k])
		delete(sums, k)
	}
	k := groupKey{rest: true}
	sums[k] = rest
	return append(groups[:most], k), sums
}

func counts(x *store.Sample) Counts {
	out := Counts{Accepted: x.Accepted, Delivered: x.Delivered, Failed: x.Failed, Attempts: x.Attempts}
	out.Latency = quantiles(x.Latency)
	return out
}

// quantiles returns those that are shown; nil when there is nothing.
func quantiles(l store.Latency) *Quantiles {
	if l.Count() == 0 {
		return nil
	}
	return &Quantiles{P50: milliseconds(l.Quantile(.5)), P90: milliseconds(l.Quantile(.9)), P99: milliseconds(l.Quantile(.99))}
}

// milliseconds rounds to what the buckets know: three digits.
func milliseconds(d time.Duration) float64 {
	unit := time.Microsecond
	for d >= 1000*unit {
		unit *= 10
	}
	return float64(d.Round(unit)) / float64(time.Millisecond)
}
