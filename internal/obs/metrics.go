package obs

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/patchbay/patchbay"
)

// Metrics counts what happens. All methods work on a nil *Metrics, do not block and do not allocate once a label has
// been seen. It has its own registry, so several installations can live in one process.
type Metrics struct {
	registry *prometheus.Registry

	accepted, deduplicated prometheus.Counter
	acceptSeconds          prometheus.Histogram
	refused                *prometheus.CounterVec
	attempts               *prometheus.CounterVec
	attemptSeconds         *prometheus.HistogramVec
	deliveries             *prometheus.CounterVec
	deliverySeconds        prometheus.Histogram
	commitSeconds          prometheus.Histogram
	commitSize             prometheus.Histogram
	hooks                  hookMetrics

	// Resolving a label costs a hash and a lock in the library; these caches make it one look-up. Their keys are
	// error codes, states and the installation's integrations, so they stay small.
	refusedBy   sync.Map // patchbay.Code → prometheus.Counter
	attemptsBy  sync.Map // attemptKey → attemptMetrics
	deliveredBy sync.Map // patchbay.DeliveryState → prometheus.Counter
}

// Native histograms, which Prometheus scrapes when it is told to, grow by a tenth and have at most so many buckets.
const (
	nativeFactor = 1.1
	nativeMost   = 160
)

type attemptKey struct {
	integration string
	verdict     patchbay.Verdict
}

type attemptMetrics struct {
	count   prometheus.Counter
	seconds prometheus.Observer
}

// NewMetrics returns metrics at zero.
func NewMetrics(o MetricsOptions) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patchbay_events_accepted_total", Help: "Events that were committed."}),
		deduplicated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "patchbay_events_deduplicated_total", Help: "Calls that a remembered idempotency key answered."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_events_refused_total", Help: "Calls that published nothing, by the code of their error."}, []string{"code"}),
		acceptSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "patchbay_accept_seconds", Help: "Time from an event's body being read to its answer.",
			Buckets: []float64{.00025, .0005, .001, .002, .004, .008, .016, .032, .064, .125, .25, .5, 1, 2.5}}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_attempts_total", Help: "Attempts, by integration and verdict."}, []string{"integration", "verdict"}),
		attemptSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "patchbay_attempt_seconds", Help: "Time that attempts took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15}}, []string{"integration"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_deliveries_total", Help: "Deliveries that reached a state."}, []string{"state"}),
		deliverySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "patchbay_delivery_seconds", Help: "Time from an event's acceptance to a delivery's success, waiting and retries included.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400},
			NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMost, NativeHistogramMinResetDuration: time.Hour}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "patchbay_store_commit_seconds", Help: "Time that transactions of the database's writer took.",
			Buckets:                     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
			NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMost, NativeHistogramMinResetDuration: time.Hour}),
		commitSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "patchbay_store_commit_size", Help: "Events and results in a transaction of the database's writer.",
			Buckets: []float64{0, 1, 2, 5, 10, 20, 50, 100, 200, 500}}),
		hooks: newHookMetrics(),
	}
	m.registry.MustRegister(m.hooks.collectors()...)
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "patchbay_info", Help: "Always 1; says which version runs.",
		ConstLabels: prometheus.Labels{"version": o.Version}}, func() float64 { return 1 })
	m.registry.MustRegister(m.accepted, m.deduplicated, m.refused, m.acceptSeconds, m.attempts, m.attemptSeconds, m.deliveries,
		m.deliverySeconds, m.commitSeconds, m.commitSize, info, state{o.Gauges}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// EventAccepted counts an event that was committed.
func (m *Metrics) EventAccepted() {
	if m != nil {
		m.accepted.Inc()
	}
}

// EventDeduplicated counts a call that a remembered key answered.
func (m *Metrics) EventDeduplicated() {
	if m != nil {
		m.deduplicated.Inc()
	}
}

// EventRefused counts a call that published nothing.
func (m *Metrics) EventRefused(code patchbay.Code) {
	if m == nil {
		return
	}
	c, ok := m.refusedBy.Load(code)
	if !ok {
		c, _ = m.refusedBy.LoadOrStore(code, m.refused.WithLabelValues(string(code)))
	}
	c.(prometheus.Counter).Inc()
}

// AcceptTook notes how long it took to answer a call that publishes.
func (m *Metrics) AcceptTook(d time.Duration) {
	if m != nil {
		m.acceptSeconds.Observe(d.Seconds())
	}
}

// Attempted counts an attempt and notes how long it took.
func (m *Metrics) Attempted(integration string, verdict patchbay.Verdict, took time.Duration) {
	if m == nil {
		return
	}
	key := attemptKey{integration, verdict}
	a, ok := m.attemptsBy.Load(key)
	if !ok {
		a, _ = m.attemptsBy.LoadOrStore(key, attemptMetrics{
			count:   m.attempts.WithLabelValues(integration, string(verdict)),
			seconds: m.attemptSeconds.WithLabelValues(integration),
		})
	}
	a.(attemptMetrics).count.Inc()
	a.(attemptMetrics).seconds.Observe(took.Seconds())
}

// DeliveryReached counts a delivery that reached a state.
func (m *Metrics) DeliveryReached(s patchbay.DeliveryState) {
	if m == nil {
		return
	}
	c, ok := m.deliveredBy.Load(s)
	if !ok {
		c, _ = m.deliveredBy.LoadOrStore(s, m.deliveries.WithLabelValues(string(s)))
	}
	c.(prometheus.Counter).Inc()
}

// DeliveryTook notes how long it took from an event's acceptance to a delivery's success.
func (m *Metrics) DeliveryTook(d time.Duration) {
	if m != nil {
		m.deliverySeconds.Observe(d.Seconds())
	}
}

// Committed notes a transaction of the database's writer, and how many events and results it held.
func (m *Metrics) Committed(took time.Duration, held int) {
	if m != nil {
		m.commitSeconds.Observe(took.Seconds())
		m.commitSize.Observe(float64(held))
	}
}

// Handler answers scrapes. A nil *Metrics answers 404.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}
