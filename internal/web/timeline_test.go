package web

import (
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/deliver"
)

// TestSpell: a time is told in the two largest units.
func TestSpell(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 0: "0 ms", 7 * time.Millisecond: "7 ms", 1190 * time.Millisecond: "1.2 s", 9999 * time.Millisecond: "10 s", 30 * time.Second: "30 s",
		61 * time.Second: "1 min 1 s", time.Hour: "1 h", 5*time.Hour + 3*time.Minute + 59*time.Second: "5 h 3 min", 26 * time.Hour: "1 d 2 h", 48*time.Hour + time.Minute: "2 d",
	} {
		if got := spell(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// TestOutcomeSteps: whatever time a chart is of, its figures are there, and its bars can be told apart.
func TestOutcomeSteps(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 7, 9, 0, time.UTC)
	for _, span := range []time.Duration{
		time.Second, 15 * time.Minute, time.Hour, 5 * time.Hour, 23*time.Hour + 20*time.Minute, 24*time.Hour - time.Second, 24 * time.Hour, 24*time.Hour + 2*time.Second,
		25 * time.Hour, 7 * 24 * time.Hour, 80 * 24 * time.Hour,
	} {
		since, step := outcomeSteps(now.Add(-span), now)
		if n := now.Sub(since) / step; n > 100 || step < time.Minute {
			t.Errorf("%v has %d bars of %v", span, n, step)
		}
		if step < time.Hour && now.Add(2*time.Second).Sub(since.Truncate(step)) > 24*time.Hour {
			t.Errorf("%v asks for minutes of %v ago", span, now.Sub(since))
		}
	}
}

// TestTimeline: attempts and decisions stand in the order in which they were, with the time between them and what followed.
func TestTimeline(t *testing.T) {
	at := patchbay.DeliveryID(patchbay.FirstIDAt(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)))
	begin, code, why := at.Time(), 503, "the partner answered 503"
	v := &deliver.Inspection{
		View: deliver.View{ID: at, State: patchbay.DeliverySucceeded, AttemptCount: 2, Attempts: []deliver.AttemptView{
			{At: begin, DurationMS: 2000, Verdict: patchbay.VerdictRetry, ResponseCode: &code, Error: &why},
			{At: begin.Add(time.Hour), DurationMS: 20, Verdict: patchbay.VerdictDelivered},
		}},
		Decisions: []deliver.Decision{{At: begin.Add(32 * time.Second), Why: "somebody cancelled it", After: 1}},
	}
	c := &call{Site: &Site{}}
	got := c.timeline(v)
	if len(got) != 3 {
		t.Fatalf("the timeline has %d steps: %+v", len(got), got)
	}
	if s := got[0]; s.Pause != "" || s.Kind != "warn" || s.Words != "The partner answered 503." || s.Follows != "It was tried again." || s.Attempt.Share != "100.0%" {
		t.Errorf("the first attempt is %+v", s)
	}
	if s := got[1]; s.Attempt != nil || s.Pause != "after 30 s" || s.Words != "Somebody cancelled it." {
		t.Errorf("the decision is %+v", s)
	}
	if s := got[2]; s.Pause != "after 59 min 28 s" || s.Kind != "ok" || s.Attempt.Share != "1.0%" || s.Attempt.Number != 2 {
		t.Errorf("the second attempt is %+v", s)
	}

	v.Attempts = v.Attempts[:1]
	v.Decisions, v.State = nil, patchbay.DeliveryFailed
	if s := c.timeline(v)[0]; s.Kind != "bad" || s.Follows != "So it was given up." {
		t.Errorf("the last attempt of what failed is %+v", s)
	}
	v.State, v.Reason = patchbay.DeliveryCancelled, "everything that waited was cancelled"
	if s := c.timeline(v); len(s) != 2 || s[1].Title != "Cancelled" || s[1].Words != "Everything that waited was cancelled." {
		t.Errorf("what was cancelled with everything is %+v", s)
	}
	throttled := 429
	v.Attempts[0].ResponseCode, v.State = &throttled, patchbay.DeliveryPending
	if s := c.timeline(v)[0]; s.Follows != "It is tried again when the partner allows it; this used up none of its tries." {
		t.Errorf("what is throttled is %+v", s)
	}
}
