package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay/patchbay"
)

// hookMetrics count partners' calls.
type hookMetrics struct {
	received, refused, read *prometheus.CounterVec
	seconds                 prometheus.Histogram
}

func newHookMetrics() hookMetrics {
	return hookMetrics{
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_hooks_received_total", Help: "Partners' calls that were believed, by integration and by whether they were stored, known already or only answered."},
			[]string{"integration", "outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_hooks_refused_total", Help: "Partners' calls that were not taken in, by integration and reason."}, []string{"integration", "reason"}),
		read: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_hooks_read_total", Help: "Partners' calls that were read, by integration and what they came to."}, []string{"integration", "state"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "patchbay_hook_seconds", Help: "Time from a partner's call coming in to its events being accepted.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}}),
	}
}

func (h *hookMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{h.received, h.refused, h.read, h.seconds}
}

// HookReceived counts a partner's call that was believed.
func (m *Metrics) HookReceived(integration, outcome string) {
	if m != nil {
		m.hooks.received.WithLabelValues(integration, outcome).Inc()
	}
}

// HookRefused counts a partner's call that was not taken in.
func (m *Metrics) HookRefused(integration, reason string) {
	if m != nil {
		m.hooks.refused.WithLabelValues(integration, reason).Inc()
	}
}

// HookRead counts a partner's call that was read, and notes how long that was after it had come in.
func (m *Metrics) HookRead(integration string, state patchbay.HookState, after time.Duration) {
	if m != nil {
		m.hooks.read.WithLabelValues(integration, string(state)).Inc()
		m.hooks.seconds.Observe(after.Seconds())
	}
}
