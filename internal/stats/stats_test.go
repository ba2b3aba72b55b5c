package stats_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/stats"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

var operator = &access.Caller{Permissions: []access.Permission{access.Read}}

func tenant(scope patchbay.Scope) *access.Caller {
	return &access.Caller{Scope: scope, Permissions: []access.Permission{access.Read}}
}

// rig is a service on a real database, with a clock that tests move.
type rig struct {
	t     *testing.T
	now   time.Time
	store *sqlite.Store
	*stats.Service
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Date(2026, 3, 1, 12, 0, 3, 0, time.UTC)}
	clock := func() time.Time { return r.now }
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: t.TempDir(), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r.store = s
	r.restart()
	return r
}

// restart begins with nothing in memory, as after a crash.
func (r *rig) restart() {
	r.Service = stats.New(stats.Options{Store: r.store, Now: func() time.Time { return r.now }})
}

func (r *rig) flush() {
	r.t.Helper()
	if err := r.Flush(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// event counts an event with a delivery that took so long; 0: it failed after two attempts.
func (r *rig) event(kind string, scope patchbay.Scope, link patchbay.LinkID, took time.Duration) {
	e := &patchbay.Event{Type: kind, Scope: scope, ReceivedAt: r.now.Add(-took)}
	d := &patchbay.Delivery{Link: link, Integration: "webhook", State: patchbay.DeliverySucceeded}
	r.Accepted(e)
	if took == 0 {
		d.State = patchbay.DeliveryPending
		r.Attempted(d, e, 0)
		d.State = patchbay.DeliveryFailed
	}
	r.Attempted(d, e, took)
	r.Decided(d, e)
}

func (r *rig) series(c *access.Caller, q stats.Query) *stats.Series {
	r.t.Helper()
	got, err := r.Series(context.Background(), c, q)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// line shows a point's figures.
func line(c stats.Counts) string {
	out := fmt.Sprintf("%d/%d/%d/%d", c.Accepted, c.Delivered, c.Failed, c.Attempts)
	if c.Latency != nil {
		out += fmt.Sprintf(" %.3g/%.3g/%.3g", c.Latency.P50, c.Latency.P90, c.Latency.P99)
	}
	return out
}

func TestTheCurrentMinuteIsThereAtOnce(t *testing.T) {
	r := newRig(t)
	q := stats.Query{Since: r.now.Add(-2 * time.Minute), Step: time.Minute}
	r.event("a", "acme", 1, 20*time.Millisecond)
	for i, want := range []string{"1/1/0/1 19.8/19.8/19.8", "1/1/0/1 19.8/19.8/19.8"} {
		got := r.series(operator, q)
		var lines []string
		for _, p := range got.Points {
			lines = append(lines, p.At.Format("15:04 ")+line(p.Counts))
		}
		if d := cmp.Diff([]string{"11:58 0/0/0/0", "11:59 0/0/0/0", "12:00 " + want}, lines); d != "" {
			t.Errorf("look %d: %s", i, d)
		}
		r.flush() // in the store it is the same
	}
	r.event("a", "acme", 1, 20*time.Millisecond)
	if got := line(r.series(operator, q).Totals[0].Counts); !strings.HasPrefix(got, "2/2/0/2") {
		t.Errorf("store and memory together are %s", got)
	}
	r.restart() // killed: what was not handed over is gone, the rest is not
	if got := line(r.series(operator, q).Totals[0].Counts); !strings.HasPrefix(got, "1/1/0/1") {
		t.Errorf("after a crash it is %s", got)
	}
}

func TestByWords(t *testing.T) {
	r := newRig(t)
	r.event("push", "acme/1", 1, time.Second)
	r.event("push", "acme/2", 2, time.Second)
	r.event("run", "acme/2", 2, 0)
	r.event("run", "other", 3, time.Millisecond)
	r.flush()
	for _, tc := range []struct {
		caller *access.Caller
		q      stats.Query
		want   []string
	}{
		{operator, stats.Query{}, []string{"4/3/1/5"}},
		{tenant("acme"), stats.Query{}, []string{"3/2/1/4"}},
		{operator, stats.Query{Scope: "acme/2"}, []string{"2/1/1/3"}},
		{operator, stats.Query{Link: 2}, []string{"0/1/1/3"}},
		{tenant("other"), stats.Query{Link: 2}, []string{"0/0/0/0"}},
		{operator, stats.Query{Type: "push"}, []string{"2/2/0/2"}},
		{operator, stats.Query{By: "type"}, []string{"run 2/1/1/3", "push 2/2/0/2"}},
		{operator, stats.Query{By: "scope"}, []string{"acme/2 2/1/1/3", "acme/1 1/1/0/1", "other 1/1/0/1"}},
		{tenant("acme"), stats.Query{By: "link"}, []string{" 3/0/0/0", "lnk_0000000000002 0/1/1/3", "lnk_0000000000001 0/1/0/1"}},
		{operator, stats.Query{By: "integration"}, []string{"webhook 0/3/1/5", " 4/0/0/0"}},
		{operator, stats.Query{By: "scope", Type: "none"}, nil},
	} {
		got := r.series(tc.caller, tc.q)
		var lines []string
		for _, s := range got.Totals {
			name := ""
			switch {
			case s.Link != nil:
				name = s.Link.String() + " "
			case s.Type != nil:
				name = *s.Type + " "
			case s.Scope != nil:
				name = string(*s.Scope) + " "
			case s.Integration != nil:
				name = *s.Integration + " "
			}
			text, _, _ := strings.Cut(line(s.Counts), " ")
			lines = append(lines, name+text)
		}
		if d := cmp.Diff(tc.want, lines); d != "" {
			t.Errorf("%+v: %s", tc.q, d)
		}
	}
}

func TestQueriesThatCannotBeAnsweredSaySo(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		caller *access.Caller
		q      stats.Query
		want   string
	}{
		{operator, stats.Query{By: "colour"}, "by: is one of link, type, scope and integration"},
		{operator, stats.Query{Step: 90 * time.Second}, "step: is a whole number of minutes"},
		{operator, stats.Query{Step: -time.Minute}, "step: is a whole number of minutes"},
		{operator, stats.Query{Step: 1 << 62}, "step:"},
		{operator, stats.Query{Since: r.now.Add(-48 * time.Hour), Step: time.Minute}, "step: must be whole hours"},
		{operator, stats.Query{Since: r.now.Add(-KeptFor), Step: time.Hour}, "step: would make more than 1500 points"},
		{operator, stats.Query{Since: r.now.Add(time.Hour)}, "since: must be before until"},
		{operator, stats.Query{Since: r.now, Until: r.now.Add(-time.Hour)}, "since: must be before until"},
		{tenant("acme"), stats.Query{Scope: "other"}, "this key reaches"},
	} {
		_, err := r.Series(context.Background(), tc.caller, tc.q)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%+v: the error is %v, want %s…", tc.q, err, tc.want)
		}
	}
}

// KeptFor is the service's.
const KeptFor = stats.KeptFor

func TestStepsAreChosenSoThatPointsAreFew(t *testing.T) {
	r := newRig(t)
	for _, span := range []time.Duration{time.Second, time.Hour, 5 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 2 * KeptFor} {
		got := r.series(operator, stats.Query{Since: r.now.Add(-span)})
		if n := len(got.Points); n < 1 || n > 102 {
			t.Errorf("%s in steps of %s has %d points", span, got.Step, n)
		}
		for i, p := range got.Points {
			if want := got.Since.Add(time.Duration(i) * got.Step); !p.At.Equal(want) {
				t.Fatalf("point %d is at %s, want %s", i, p.At, want)
			}
		}
		if last := got.Points[len(got.Points)-1].At; last.After(r.now) || last.Add(got.Step).Before(r.now) {
			t.Errorf("%s: the last point is at %s, the time is %s", span, last, r.now)
		}
	}
}

func TestManyGroupsAreSummedUp(t *testing.T) {
	r := newRig(t)
	for i := range 200 {
		for range i%7 + 1 {
			r.event("a", patchbay.Scope(fmt.Sprintf("t%03d", i)), 1, time.Second)
		}
	}
	got := r.series(operator, stats.Query{By: "scope", Since: r.now.Add(-time.Hour), Step: time.Minute})
	if n := len(got.Totals); n != 51 || !got.Totals[50].Rest || got.Totals[0].Accepted != 7 {
		t.Errorf("there are %d groups, the first of %d", n, got.Totals[0].Accepted)
	}
	sum, points := int64(0), int64(0)
	for _, s := range got.Totals {
		sum += s.Accepted
	}
	for _, p := range got.Points {
		points += p.Accepted
	}
	if want := line(r.series(operator, stats.Query{}).Totals[0].Counts); fmt.Sprint(sum) != strings.Split(want, "/")[0] || sum != points {
		t.Errorf("the groups sum up to %d, their points to %d, and all is %s", sum, points, want)
	}
	if n := len(got.Points); n > 6000 {
		t.Errorf("the answer has %d entries", n)
	}
}

// TestHoursStay proves that what is older than a day is kept by the hour, and for 90 days.
func TestHoursStay(t *testing.T) {
	r := newRig(t)
	begin := r.now
	for range 3 * 60 {
		r.event("a", "acme", 1, time.Second)
		r.flush()
		r.now = r.now.Add(time.Minute)
	}
	upkeep := func() {
		t.Helper()
		for more := true; more; {
			var err error
			if more, err = r.Upkeep(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.now = r.now.Add(30 * time.Hour)
	upkeep()
	rows, err := r.store.Samples(context.Background(), store.StatFilter{}, time.Minute, "")
	if err != nil || len(rows) != 3 { // 12:00 to 14:59
		t.Errorf("%d rows of minutes are left (%v), want 3 of hours", len(rows), err)
	}
	if got := line(r.series(operator, stats.Query{Since: begin}).Totals[0].Counts); !strings.HasPrefix(got, "180/180/0/180 ") {
		t.Errorf("the hours sum up to %s", got)
	}
	r.now = begin.Add(KeptFor + 24*time.Hour)
	upkeep()
	if rows, err = r.store.Samples(context.Background(), store.StatFilter{}, time.Hour, ""); err != nil || len(rows) != 0 {
		t.Errorf("after 91 days %d rows are left (%v)", len(rows), err)
	}
}

// failing is a store that takes nothing while err is set.
type failing struct {
	store.Statistics
	err   error
	added []store.Sample
}

func (f *failing) AddSamples(_ context.Context, s []store.Sample) error {
	if f.err != nil {
		return f.err
	}
	f.added = append(f.added, s...)
	return nil
}

// Samples has none.
func (f *failing) Samples(context.Context, store.StatFilter, time.Duration, string) ([]store.Sample, error) {
	return nil, nil
}

func TestWhatTheStoreDoesNotTakeIsKept(t *testing.T) {
	f := &failing{err: errors.New("no")}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := stats.New(stats.Options{Store: f, Now: func() time.Time { return now }, Most: 1 << 20})
	want := int64(0)
	for i := range 25_000 {
		s.Accepted(&patchbay.Event{Type: "a", Scope: patchbay.Scope(fmt.Sprint("s", i))})
		want++
		if i%5000 == 0 {
			if s.Flush(context.Background()) == nil {
				t.Fatal("a store that fails does not fail the flush")
			}
			now = now.Add(time.Minute)
		}
	}
	f.err = nil
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := int64(0)
	for _, x := range f.added {
		got += x.Accepted
	}
	if got != want || len(f.added) > 20_010 {
		t.Errorf("%d events were kept in %d samples, want %d", got, len(f.added), want)
	}
}

// TestFlushesByTheClock proves that figures are handed over every ten seconds, and at the end.
func TestFlushesByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		s := stats.New(stats.Options{Store: f})
		s.Start()
		begin := time.Now()
		time.Sleep(time.Second)
		for range 12 {
			s.Accepted(&patchbay.Event{Type: "a"})
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if n := len(f.added); n != 6 {
			t.Errorf("in a minute there were %d hand-overs, want 6", n)
		}
		for _, x := range f.added {
			if !x.At.Truncate(time.Minute).Equal(begin.Truncate(time.Minute)) || x.Accepted != 2 {
				t.Errorf("a sample is of %s and counts %d", x.At, x.Accepted)
			}
		}
		s.Accepted(&patchbay.Event{Type: "last"})
		if err := s.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if last := f.added[len(f.added)-1]; last.Type != "last" {
			t.Error("what was counted last is not handed over at the end")
		}
	})
}

func TestNowShowsWhatTheCallerSees(t *testing.T) {
	r := newRig(t)
	scopes := map[patchbay.LinkID]patchbay.Scope{1 << 40: "acme", 2 << 40: "other/x"}
	r.Service = stats.New(stats.Options{
		Store: r.store, Now: func() time.Time { return r.now },
		Live: func(context.Context) (stats.Live, error) { return stats.Live{InFlight: 3, Queued: 2}, nil },
		ScopeOf: func(id patchbay.LinkID) (patchbay.Scope, bool) {
			s, ok := scopes[id]
			return s, ok
		},
	})
	if _, waits, err := r.OldestWaiting(context.Background()); waits || err != nil {
		t.Errorf("nothing waits, but %v %v", waits, err)
	}
	r.now = r.now.Add(time.Minute) // the last look was a while ago
	first := r.now.Truncate(time.Millisecond)
	for _, link := range []patchbay.LinkID{1 << 40, 2 << 40} {
		id := patchbay.EventID(r.store.NewID(2))
		_, err := r.store.Accept(context.Background(), &store.Acceptance{
			Event:   &patchbay.Event{ID: id, Type: "a", Scope: "acme", Payload: []byte(`{}`), ReceivedAt: r.now, OccurredAt: r.now, Source: patchbay.Source{Kind: patchbay.SourceAPI}},
			Targets: []store.Target{{Link: link, Revision: 1, Integration: "webhook"}},
			Queue:   []store.Queued{{Delivery: patchbay.DeliveryAt(id, 1), Event: id, Link: link, Due: r.now}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.now = r.now.Add(time.Second)
	}
	r.Committed(2 * time.Millisecond)
	all, err := r.Now(context.Background(), operator)
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Oldest) != 2 || all.Oldest[0].Link != 1<<40 || !all.Oldest[0].At.Equal(first) || all.Oldest[0].Waiting != 1 || all.Queue.InFlight != 3 ||
		all.Store.CommitMS == nil || all.Store.CommitMS.P99 < 1.9 || all.Store.CommitMS.P99 > 2.1 {
		t.Errorf("the operator sees %+v", all)
	}
	part, err := r.Now(context.Background(), tenant("other"))
	if err != nil {
		t.Fatal(err)
	}
	if len(part.Oldest) != 1 || part.Oldest[0].Link != 2<<40 || part.Queue != nil || part.Lanes != nil || part.Store != nil {
		t.Errorf("a tenant sees %+v", part)
	}
	if at, waits, err := r.OldestWaiting(context.Background()); !waits || err != nil || !at.Equal(first) {
		t.Errorf("the oldest is of %s (%v)", at, err)
	}
}
