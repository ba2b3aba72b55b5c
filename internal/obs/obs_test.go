package obs

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("the scrape answers %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetricsShowWhatHappened(t *testing.T) {
	m := NewMetrics(MetricsOptions{Version: "1.2.3", Gauges: Gauges{
		Queued:        func() float64 { return 12 },
		InFlight:      func() float64 { return 3 },
		Lanes:         func() map[string]float64 { return map[string]float64{"open": 1, "idle": 4} },
		OldestPending: func() (float64, error) { return 90.5, nil },
		Node:          func() int { return 3 },
		Store: func() (StoreFigures, error) {
			return StoreFigures{Bytes: 4096, Commits: 2, Committed: 9, Busy: 1500 * time.Millisecond}, nil
		},
	}})
	for range 3 {
		m.EventAccepted()
		m.AcceptTook(300 * time.Microsecond)
	}
	m.EventDeduplicated()
	m.EventRefused(patchbay.CodeInvalidRequest)
	m.EventRefused(patchbay.CodeInvalidRequest)
	m.Attempted("slack", patchbay.VerdictDelivered, 20*time.Millisecond)
	m.Attempted("slack", patchbay.VerdictRetry, 2*time.Second)
	m.Attempted("slack", patchbay.VerdictRetry, 2*time.Second)
	m.DeliveryReached(patchbay.DeliverySucceeded)
	m.DeliveryTook(40 * time.Millisecond)
	m.Committed(3*time.Millisecond, 12)
	page := scrape(t, m)
	for _, line := range []string{
		`patchbay_info{version="1.2.3"} 1`,
		`patchbay_events_accepted_total 3`,
		`patchbay_events_deduplicated_total 1`,
		`patchbay_events_refused_total{code="invalid_request"} 2`,
		`patchbay_accept_seconds_bucket{le="0.0005"} 3`,
		`patchbay_attempts_total{integration="slack",verdict="delivered"} 1`,
		`patchbay_attempts_total{integration="slack",verdict="retry"} 2`,
		`patchbay_attempt_seconds_count{integration="slack"} 3`,
		`patchbay_deliveries_total{state="succeeded"} 1`,
		`patchbay_deliveries_queued 12`,
		`patchbay_attempts_in_flight 3`,
		`patchbay_lanes{state="open"} 1`,
		`patchbay_lanes{state="idle"} 4`,
		`patchbay_oldest_pending_seconds 90.5`,
		`patchbay_node_info{number="3"} 1`,
		`patchbay_delivery_seconds_bucket{le="0.025"} 0`,
		`patchbay_delivery_seconds_bucket{le="0.05"} 1`,
		`patchbay_store_commit_seconds_bucket{le="0.005"} 1`,
		`patchbay_store_commit_size_sum 12`,
		`patchbay_store_bytes 4096`,
		`patchbay_store_commits_total 2`,
		`patchbay_store_committed_total 9`,
		`patchbay_store_busy_seconds_total 1.5`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	if strings.Contains(page, "patchbay_links") {
		t.Error("a gauge without a function is shown")
	}
}

func TestAFailingStoreHidesOnlyItsOwnFigures(t *testing.T) {
	m := NewMetrics(MetricsOptions{Gauges: Gauges{
		Store:         func() (StoreFigures, error) { return StoreFigures{}, errors.New("disk on fire") },
		OldestPending: func() (float64, error) { return 0, errors.New("disk on fire") },
	}})
	m.EventAccepted()
	page := scrape(t, m)
	if !strings.Contains(page, "patchbay_events_accepted_total 1\n") || strings.Contains(page, "patchbay_store_bytes ") || strings.Contains(page, "patchbay_oldest_pending_seconds ") {
		t.Errorf("the scrape is\n%s", page)
	}
}

func TestNilMetrics(t *testing.T) {
	var m *Metrics
	m.EventAccepted()
	m.EventDeduplicated()
	m.EventRefused(patchbay.CodeConflict)
	m.AcceptTook(time.Second)
	m.Attempted("slack", patchbay.VerdictRetry, time.Second)
	m.DeliveryReached(patchbay.DeliveryFailed)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 404 {
		t.Errorf("nil metrics answer %d, want 404", w.Code)
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	count := func() {
		m.EventAccepted()
		m.AcceptTook(time.Millisecond)
		m.DeliveryTook(time.Millisecond)
		m.Committed(time.Millisecond, 7)
		m.DeliveryReached(patchbay.DeliverySucceeded)
		m.EventRefused(patchbay.CodeConflict)
	}
	count()
	if n := testing.AllocsPerRun(100, count); n > 2 { // sync.Map boxes the two string keys
		t.Errorf("counting allocates %v times", n)
	}
}

func BenchmarkAttempted(b *testing.B) {
	m := NewMetrics(MetricsOptions{})
	b.ReportAllocs()
	for b.Loop() {
		m.Attempted("slack", patchbay.VerdictDelivered, time.Millisecond)
	}
}

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	log, err := NewLogger(&b, LogOptions{Level: "warn"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hidden")
	log.Warn("shown", "token", patchbay.Secret("hunter2"))
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("what is not a terminal gets JSON lines, not %q: %v", b.String(), err)
	}
	if at, err := time.Parse(time.RFC3339, got["time"].(string)); err != nil || at.Location() != time.UTC {
		t.Errorf("the time is %v, want UTC", got["time"])
	}
	delete(got, "time")
	want := map[string]any{"level": "WARN", "msg": "shown", "token": patchbay.Redacted}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	b.Reset()
	log, err = NewLogger(&b, LogOptions{Format: "text", Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("plain", "n", 1)
	if got := b.String(); !strings.HasSuffix(got, " DBG plain n=1\n") {
		t.Errorf("text without a terminal is %q, want no colours", got)
	}
	for _, o := range []LogOptions{{Level: "loud"}, {Format: "xml"}} {
		if _, err := NewLogger(&b, o); err == nil || !strings.Contains(err.Error(), "is not one of") {
			t.Errorf("%+v: the error is %v", o, err)
		}
	}
}
