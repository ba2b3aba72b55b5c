package deliver

import (
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// TestOutlook: what a paused link holds is counted, and how long it takes follows from what bounds the link.
func TestOutlook(t *testing.T) {
	r := newRig(t, &partner{})
	link := r.link("acme")
	link = r.edit(link, func(l *patchbay.Link) { l.State = patchbay.LinkPaused })
	first := r.accept(`{}`, link)
	for range 4 {
		r.accept(`{}`, link)
	}
	s := NewService(r.engine, nil)
	all := &access.Caller{Permissions: []access.Permission{access.Read}}
	o, err := s.Outlook(t.Context(), all, link.ID)
	if err != nil || o.Waiting != 5 || o.More || o.PerSecond != 0 || o.Takes() != 0 || o.AtOnce != patchbay.DefaultConcurrency {
		t.Errorf("before anything was delivered the outlook is %+v, %v", o, err)
	}
	if o != nil && !o.Oldest.Equal(first.ReceivedAt.Truncate(time.Microsecond)) {
		t.Errorf("the oldest is of %s, want %s", o.Oldest, first.ReceivedAt)
	}
	if _, err := s.Outlook(t.Context(), &access.Caller{Scope: "other", Permissions: []access.Permission{access.Read}}, link.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("a stranger gets %v", err)
	}
	if _, err := s.Outlook(t.Context(), &access.Caller{Scope: "acme"}, link.ID); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("who may not read gets %v", err)
	}
}

func TestReckoning(t *testing.T) {
	for _, c := range []struct {
		says    string
		o       Outlook
		rate    float64
		takes   time.Duration
		limited bool
	}{
		{"nothing is known", Outlook{Waiting: 100, AtOnce: 16}, 0, 0, false},
		{"by its attempts", Outlook{Waiting: 160, AtOnce: 16, Attempt: time.Second}, 0, 10 * time.Second, false},
		{"in order", Outlook{Waiting: 160, AtOnce: 1, Attempt: time.Second}, 0, 160 * time.Second, false},
		{"by its rate", Outlook{Waiting: 160, AtOnce: 16, Attempt: time.Second}, 2, 80 * time.Second, true},
		{"by its rate alone", Outlook{Waiting: 160, AtOnce: 16}, 2, 80 * time.Second, true},
		{"a rate that does not bound it", Outlook{Waiting: 160, AtOnce: 16, Attempt: time.Second}, 100, 10 * time.Second, false},
		{"too quick to be true", Outlook{Waiting: 5000, AtOnce: 256, Attempt: time.Millisecond}, 0, 10 * time.Second, false},
	} {
		c.o.reckon(c.rate)
		if got := c.o.Takes(); got != c.takes || c.o.ByRate != c.limited {
			t.Errorf("%s: it takes %s, %v, want %s, %v", c.says, got, c.o.ByRate, c.takes, c.limited)
		}
	}
}
