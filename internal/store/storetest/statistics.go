package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// randomSamples makes samples of the last hours before now. Link, type and scope are of a few each, so that many meet.
func (e *env) randomSamples(r *rand.Rand, n int, hours int) []store.Sample {
	out := make([]store.Sample, n)
	for i := range out {
		x := &out[i]
		x.At = e.now().Add(-time.Duration(r.IntN(hours*3600)) * time.Second).Truncate(time.Minute)
		x.Type = []string{"repo.push", "run_completion", "ünï"}[r.IntN(3)]
		x.Scope = []patchbay.Scope{"", "acme", "acme/repos", "acme/repos/1", "acmeandmore", "other/x"}[r.IntN(6)]
		if r.IntN(3) == 0 {
			x.Accepted = 1 + r.Int64N(100)
			continue
		}
		x.Link = []patchbay.LinkID{0, linkA, linkB}[r.IntN(3)]
		x.Integration = []string{"webhook", "slack"}[r.IntN(2)]
		x.Attempts, x.Failed = r.Int64N(100), r.Int64N(3)
		if x.Delivered = r.Int64N(50); x.Delivered > 0 {
			x.Latency = store.Latency{}
			for k := int64(0); k < x.Delivered; k++ {
				x.Latency[r.IntN(store.Buckets)]++
			}
		}
	}
	return out
}

// sums does what Samples promises, the plain way.
func sums(all []store.Sample, f store.StatFilter, step time.Duration, by string) []store.Sample {
	type key struct {
		at   int64
		rest string
	}
	byKey := map[key]*store.Sample{}
	for i := range all {
		if !f.Matches(&all[i]) {
			continue
		}
		x := all[i].Key(step, by)
		k := key{x.At.Unix(), fmt.Sprint(x.Link, "\x00", x.Integration, "\x00", x.Type, "\x00", x.Scope)}
		if byKey[k] == nil {
			byKey[k] = &x
		}
		byKey[k].Add(&all[i])
	}
	var out []store.Sample
	for _, x := range byKey {
		out = append(out, *x)
	}
	return sorted(out)
}

// sorted puts samples in an order that comparisons can rely on.
func sorted(s []store.Sample) []store.Sample {
	slices.SortFunc(s, func(a, b store.Sample) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Link, b.Link), cmp.Compare(a.Integration, b.Integration),
			cmp.Compare(a.Type, b.Type), cmp.Compare(a.Scope, b.Scope))
	})
	return s
}

// wantSamples compares what the store says with the plain way, for everything that can be asked for.
func (e *env) wantSamples(all []store.Sample, steps ...time.Duration) {
	e.Helper()
	filters := []store.StatFilter{
		{}, {Link: linkA}, {Links: []patchbay.LinkID{linkA, linkC}}, {Links: []patchbay.LinkID{}}, {Link: linkB, Links: []patchbay.LinkID{linkA, linkB}},
		{Integration: "slack"}, {Type: "repo.push"}, {Within: "acme"}, {Within: "acme/repos/1"}, {Within: "nobody"},
		{Type: "run_completion", Link: linkB, Within: "acme"},
		{Since: e.now().Truncate(time.Hour).Add(-2 * time.Hour), Until: e.now().Truncate(time.Hour)},
		{Since: e.now().Truncate(time.Hour)},
	}
	for _, f := range filters {
		for _, by := range []string{store.ByNothing, store.ByLink, store.ByType, store.ByScope, store.ByIntegration} {
			for _, step := range steps {
				got, err := e.s.Samples(e.ctx, f, step, by)
				e.must(err)
				if !slices.IsSortedFunc(got, func(a, b store.Sample) int { return a.At.Compare(b.At) }) {
					e.Errorf("samples by %q in steps of %s are not by time", by, step)
				}
				e.same(fmt.Sprintf("samples of %+v by %q in steps of %s", f, by, step), sorted(got), sums(all, f, step, by))
			}
		}
	}
}

// addInParts adds samples as several flushes do.
func (e *env) addInParts(all []store.Sample) {
	e.Helper()
	for part := range slices.Chunk(all, 97) {
		e.must(e.s.AddSamples(e.ctx, part))
	}
}

// rollUp rolls up until there is no more.
func (e *env) rollUp(before time.Time) {
	e.Helper()
	for range 10_000 {
		more, err := e.s.RollUpSamples(e.ctx, before, 50)
		e.must(err)
		if !more {
			return
		}
	}
	e.Fatal("RollUpSamples always has more")
}

var statisticsTests = []test{
	{"samples add up by every word and step", func(e *env) {
		all := e.randomSamples(rand.New(rand.NewPCG(1, 1)), 400, 4)
		e.addInParts(all)
		e.wantSamples(all, time.Minute, 5*time.Minute, time.Hour, 24*time.Hour)
		e.crash()
		e.wantSamples(all, time.Hour)
	}},
	{"nothing is nothing", func(e *env) {
		e.must(e.s.AddSamples(e.ctx, nil))
		e.wantSamples(nil, time.Minute)
		e.rollUp(e.now())
		more, err := e.s.PruneSamples(e.ctx, e.now(), 10)
		e.must(err)
		if more {
			e.Error("of nothing there is more to forget")
		}
	}},
	{"a sample within a minute is that minute's", func(e *env) {
		at := e.now().Add(59*time.Second + 999*time.Millisecond)
		e.must(e.s.AddSamples(e.ctx, []store.Sample{{At: at, Type: "a", Accepted: 1}, {At: e.now(), Type: "a", Accepted: 2}}))
		got, err := e.s.Samples(e.ctx, store.StatFilter{Since: e.now(), Until: e.now().Add(time.Minute)}, time.Minute, "")
		e.must(err)
		e.same("samples", got, []store.Sample{{At: e.now(), Accepted: 3}})
	}},
	{"hours take the place of minutes without changing a sum", func(e *env) {
		all := e.randomSamples(rand.New(rand.NewPCG(2, 2)), 600, 6)
		e.addInParts(all[:500])
		hour := e.now().Truncate(time.Hour)
		e.rollUp(hour.Add(-2 * time.Hour))
		e.wantSamples(all[:500], time.Hour, 24*time.Hour)
		e.addInParts(all[500:]) // those of a node that was late
		e.rollUp(hour.Add(-time.Hour))
		e.wantSamples(all, time.Hour, 3*time.Hour)
		e.crash()
		e.rollUp(hour)
		e.wantSamples(all, time.Hour)
		old, err := e.s.Samples(e.ctx, store.StatFilter{Until: hour}, time.Minute, "")
		e.must(err)
		for _, x := range old {
			if !x.At.Equal(x.At.Truncate(time.Hour)) {
				e.Errorf("a sample of %s is left", x.At)
			}
		}
	}},
	{"old samples are forgotten, others stay", func(e *env) {
		all := e.randomSamples(rand.New(rand.NewPCG(3, 3)), 500, 8)
		e.addInParts(all)
		hour := e.now().Truncate(time.Hour)
		e.rollUp(hour.Add(-5 * time.Hour))
		before, steps := hour.Add(-3*time.Hour), 0
		for more := true; more; steps++ {
			var err error
			more, err = e.s.PruneSamples(e.ctx, before, 20)
			e.must(err)
		}
		if steps < 3 {
			e.Errorf("everything was forgotten in %d steps", steps)
		}
		kept := slices.DeleteFunc(slices.Clone(all), func(s store.Sample) bool { return s.At.Before(before) })
		e.wantSamples(kept, time.Hour)
	}},
	{"several may add at the same time", func(e *env) {
		var owned sync.WaitGroup
		for range 8 {
			owned.Go(func() {
				for range 20 {
					x := store.Sample{At: e.now(), Type: "a", Delivered: 1, Latency: store.Latency{3: 1}}
					if err := e.s.AddSamples(e.ctx, []store.Sample{x, x}); err != nil {
						e.Error(err)
					}
				}
			})
		}
		owned.Wait()
		e.wantSamples([]store.Sample{{At: e.now(), Type: "a", Delivered: 320, Latency: store.Latency{3: 320}}}, time.Minute)
	}},
	{"a closed store says so", func(e *env) {
		s := e.s
		e.must(e.s.Close())
		_, err := s.Samples(e.ctx, store.StatFilter{}, time.Minute, "")
		e.wantClosed(err, s.AddSamples(e.ctx, []store.Sample{{At: e.now(), Accepted: 1}}))
		_, err = s.OldestWaiting(context.Background(), 1)
		e.wantClosed(err)
	}},
	{"what has waited longest comes first", func(e *env) {
		var first, second *store.Acceptance
		for i := range 5 {
			a := e.accept(e.held(linkB))
			if i == 0 {
				first = a
			}
			e.clock.forward(time.Second)
		}
		second = e.accept(e.held(linkA, linkC))
		e.accept(e.held(linkA))
		got, err := e.s.OldestWaiting(e.ctx, 10)
		e.must(err)
		e.same("backlogs", got, []store.Backlog{
			{Link: linkB, Oldest: first.Event.ID, Count: 5}, {Link: linkA, Oldest: second.Event.ID, Count: 2}, {Link: linkC, Oldest: second.Event.ID, Count: 1},
		})
		got, err = e.s.OldestWaiting(e.ctx, 1)
		e.must(err)
		e.same("the first", got, []store.Backlog{{Link: linkB, Oldest: first.Event.ID, Count: 5}})
	}},
	{"what is due later may have waited longer", func(e *env) {
		a := e.accept(e.event(linkA))
		e.accept(e.held(linkA))
		e.record(e.retry(a, 1, 1, e.now().Add(time.Hour)))
		got, err := e.s.OldestWaiting(e.ctx, 10)
		e.must(err)
		e.same("backlogs", got, []store.Backlog{{Link: linkA, Oldest: a.Event.ID, Count: 2}})
	}},
	{"what was dropped does not wait, what was put back does", func(e *env) {
		e.accept(e.held(linkA))
		b, c := e.accept(e.held(linkA)), e.accept(e.held(linkA))
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: delivery(c, 1)}))
		got, err := e.s.OldestWaiting(e.ctx, 10)
		e.must(err)
		e.same("after the drop", got, []store.Backlog{{Link: linkA, Oldest: c.Event.ID, Count: 1}})
		e.must(e.s.Enqueue(e.ctx, []store.Queued{e.place(b, 1, e.now())}))
		got, err = e.s.OldestWaiting(e.ctx, 10)
		e.must(err)
		e.same("with one put back", got, []store.Backlog{{Link: linkA, Oldest: b.Event.ID, Count: 2}})
		e.must(e.s.SaveLane(e.ctx, store.Lane{Link: linkA, DropBefore: patchbay.DeliveryID(e.s.NewID(1))}))
		got, err = e.s.OldestWaiting(e.ctx, 10)
		e.must(err)
		e.same("with everything dropped", got, []store.Backlog(nil))
	}},
}

// wantClosed checks that every error is store.ErrClosed.
func (e *env) wantClosed(errs ...error) {
	e.Helper()
	for _, err := range errs {
		if !errors.Is(err, store.ErrClosed) {
			e.Errorf("a closed store says %v", err)
		}
	}
}
