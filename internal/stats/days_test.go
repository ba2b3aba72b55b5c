package stats_test

import (
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/stats"
)

// TestDays: what links did in the last day, in the store or not yet, and only of links that the caller sees.
func TestDays(t *testing.T) {
	r := newRig(t)
	r.event("a", "acme", 5, time.Second) // longer ago than a day
	pass := func(d time.Duration) {
		r.flush()
		r.now = r.now.Add(d)
		r.flush() // what is counted from here on belongs to now
	}
	pass(5 * time.Hour)
	r.event("a", "acme", 5, time.Second)
	r.event("b", "acme/x", 5, time.Second)
	r.event("a", "acme", 6, time.Second)
	pass(20 * time.Hour)
	last := r.now.Truncate(time.Minute)
	r.event("a", "acme", 5, time.Second)
	pass(2 * time.Minute)
	r.event("a", "acme", 5, 0) // not in the store yet
	days, err := r.Days(t.Context(), operator, []patchbay.LinkID{5, 7})
	if err != nil || len(days) != 2 {
		t.Fatalf("there are %v, %v", days, err)
	}
	d := days[5]
	if d.Delivered != 3 || d.Failed != 1 || !d.LastSuccess.Equal(last) {
		t.Errorf("the day is %+v", d)
	}
	if p := d.Parts[stats.DayParts-1]; p.Delivered != 1 || p.Failed != 1 {
		t.Errorf("its last half hour is %+v", p)
	}
	if p := d.Parts[stats.DayParts-1-40]; p.Delivered != 2 || p.Failed != 0 {
		t.Errorf("twenty hours ago it is %+v", p)
	}
	if d := days[7]; d.Delivered+d.Failed != 0 || !d.LastSuccess.IsZero() {
		t.Errorf("a link with which nothing happened has %+v", d)
	}
	r.Service = stats.New(stats.Options{Store: r.store, Now: func() time.Time { return r.now }, ScopeOf: func(id patchbay.LinkID) (patchbay.Scope, bool) {
		return map[patchbay.LinkID]patchbay.Scope{5: "acme", 6: "other"}[id], id < 7
	}})
	days, err = r.Days(t.Context(), tenant("acme"), []patchbay.LinkID{5, 6, 7})
	if err != nil || len(days) != 1 || days[5].Delivered != 3 {
		t.Errorf("a caller of acme gets %v, %v", days, err)
	}
	if _, err := r.Days(t.Context(), nil, []patchbay.LinkID{5}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("nobody gets %v", err)
	}
}
