package stats_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/stats"
	"github.com/patchbay/patchbay/internal/store"
)

// TestWhatIsRememberedIsWhatIsStored asks one service for days, and another that remembers nothing the same.
func TestWhatIsRememberedIsWhatIsStored(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 9))
			r := newRig(t)
			steps := []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 12 * time.Hour}
			for range 120 {
				r.now = r.now.Add([]time.Duration{time.Second, time.Minute, 7 * time.Minute, 50 * time.Minute, 5 * time.Hour, 30 * time.Hour}[rnd.IntN(6)])
				scope := patchbay.Scope([]string{"acme/a", "acme/b", "globex"}[rnd.IntN(3)])
				for range rnd.IntN(4) {
					r.event("repo.push", scope, 7, time.Duration(rnd.IntN(4000))*time.Millisecond)
				}
				if rnd.IntN(3) > 0 {
					r.flush()
				}
				if rnd.IntN(5) == 0 {
					for more := true; more; {
						var err error
						if more, err = r.Upkeep(context.Background()); err != nil {
							t.Fatal(err)
						}
					}
				}
				q := stats.Query{Step: steps[rnd.IntN(len(steps))]}
				span := time.Duration(rnd.IntN(1400)) * time.Minute
				if q.Step >= time.Hour {
					span = time.Duration(rnd.IntN(40*24)) * time.Hour
				}
				q.Since, q.Until = r.now.Add(-span-q.Step), r.now
				if rnd.IntN(3) == 0 {
					q.Until = r.now.Add(-time.Duration(rnd.Int64N(int64(span + 1))))
				}
				q.Scope = patchbay.Scope([]string{"", "acme", "globex"}[rnd.IntN(3)])
				compare(t, r, q)
			}
		})
	}
}

// compare asks with what is remembered, and by words of which nothing is.
func compare(t *testing.T, r *rig, q stats.Query) {
	t.Helper()
	got, err := r.Series(context.Background(), operator, q)
	if err != nil {
		var said *patchbay.Error
		if !errors.As(err, &said) || said.Code != patchbay.CodeInvalidRequest {
			t.Fatal(err)
		}
		return
	}
	q.By = store.ByScope
	parts, err := r.Series(context.Background(), operator, q)
	if err != nil {
		t.Fatal(err)
	}
	want, have := map[string][4]int64{}, map[string][4]int64{}
	count := func(to map[string][4]int64, points []stats.Point) {
		for _, p := range points {
			x := to[p.At.String()]
			for i, n := range []int64{p.Accepted, p.Delivered, p.Failed, p.Attempts} {
				x[i] += n
			}
			if x != [4]int64{} {
				to[p.At.String()] = x
			}
		}
	}
	count(have, got.Points)
	count(want, parts.Points)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Fatalf("at %v, %+v (-stored +remembered):\n%s", r.now, q, diff)
	}
	if n := got.Totals[0].Delivered; n > 0 && got.Totals[0].Latency == nil {
		t.Errorf("%d deliveries have no latency", n)
	}
}

// counting counts the minutes that are read, as far as they have been.
type counting struct {
	store.Statistics
	now     func() time.Time
	minutes int
}

func (c *counting) Samples(ctx context.Context, f store.StatFilter, step time.Duration, by string) ([]store.Sample, error) {
	until := f.Until
	if now := c.now(); until.After(now) {
		until = now
	}
	c.minutes += int(until.Sub(f.Since) / time.Minute)
	return c.Statistics.Samples(ctx, f, step, by)
}

// TestAMonthIsReadOnce: whoever looks at a month again makes the database read some minutes.
func TestAMonthIsReadOnce(t *testing.T) {
	r := newRig(t)
	now := func() time.Time { return r.now }
	c := &counting{Statistics: r.store, now: now}
	s := stats.New(stats.Options{Store: c, Now: now})
	q := stats.Query{Since: r.now.Add(-30 * 24 * time.Hour), Step: 12 * time.Hour}
	for i := range 5 {
		if _, err := s.Series(context.Background(), operator, q); err != nil {
			t.Fatal(err)
		}
		if i == 0 && c.minutes < 29*24*60 {
			t.Fatalf("the first look reads %d minutes", c.minutes)
		}
		if i > 0 && c.minutes > 30 {
			t.Errorf("another look reads %d minutes", c.minutes)
		}
		c.minutes = 0
		r.now = r.now.Add(3 * time.Minute)
	}
}
