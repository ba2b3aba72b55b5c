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

	// Resolving a label costs a hash and a lock in the library; these caches make it one look-up. Their keys are
	// error codes, states and the installation's integrations, so they stay small.
	refusedBy   sync.Map // patchbay.Code → prometheus.Counter
	attemptsBy  sync.Map // attemptKey → attemptMetrics
	deliveredBy sync.Map // patchbay.DeliveryState → prometheus.Counter
}

type attemptKey struct {
	integration string
	verdict     patchbay.Verdict
}

type attemptMetrics struct {
	count   prometheus.Counter
	seconds prometheus.Observer
}

// MetricsOptions describe the installation.
type MetricsOptions struct {
	// Version is the program's.
	Version string
	// Gauges are asked for at every scrape.
	Gauges Gauges
}

// Gauges are figures that are somebody's state. They are asked for at every scrape, so they must be quick. Nil ones
// are left out.
type Gauges struct {
	// Queued counts deliveries that wait, in memory or in the store.
	Queued func() float64
	// InFlight counts attempts under way.
	InFlight func() float64
	// OpenBreakers counts links whose breaker is not closed.
	OpenBreakers func() float64
	// Links counts links.
	Links func() float64
	// Watchers counts subscribers of the live stream.
	Watchers func() float64
	// Store describes the database.
	Store func() (StoreFigures, error)
}

// StoreFigures describe the database.
type StoreFigures struct {
	// Bytes is what it takes on disk.
	Bytes int64
	// Commits counts transactions of the writer, Committed what they held, Busy is the time spent in them.
	Commits, Committed int64
	Busy               time.Duration
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
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "patchbay_info", Help: "Always 1; says which version runs.",
		ConstLabels: prometheus.Labels{"version": o.Version}}, func() float64 { return 1 })
	m.registry.MustRegister(m.accepted, m.deduplicated, m.refused, m.acceptSeconds, m.attempts, m.attemptSeconds, m.deliveries,
		info, state{o.Gauges}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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

// Handler answers scrapes. A nil *Metrics answers 404.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// state collects the gauges.
type state struct{ Gauges }

var (
	queuedDesc    = prometheus.NewDesc("patchbay_deliveries_queued", "Deliveries that wait.", nil, nil)
	inFlightDesc  = prometheus.NewDesc("patchbay_attempts_in_flight", "Attempts under way.", nil, nil)
	breakersDesc  = prometheus.NewDesc("patchbay_breakers_open", "Links whose breaker is open or probing.", nil, nil)
	linksDesc     = prometheus.NewDesc("patchbay_links", "Links.", nil, nil)
	watchersDesc  = prometheus.NewDesc("patchbay_stream_watchers", "Subscribers of the live stream.", nil, nil)
	bytesDesc     = prometheus.NewDesc("patchbay_store_bytes", "Bytes that the database takes on disk.", nil, nil)
	commitsDesc   = prometheus.NewDesc("patchbay_store_commits_total", "Transactions of the writer.", nil, nil)
	committedDesc = prometheus.NewDesc("patchbay_store_committed_total", "Operations in the transactions of the writer.", nil, nil)
	busyDesc      = prometheus.NewDesc("patchbay_store_commit_seconds_total", "Time spent in the transactions of the writer.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queuedDesc, inFlightDesc, breakersDesc, linksDesc, watchersDesc, bytesDesc, commitsDesc,
		committedDesc, busyDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s state) Collect(ch chan<- prometheus.Metric) {
	for _, g := range []struct {
		desc  *prometheus.Desc
		value func() float64
	}{
		{queuedDesc, s.Queued}, {inFlightDesc, s.InFlight}, {breakersDesc, s.OpenBreakers}, {linksDesc, s.Links},
		{watchersDesc, s.Watchers},
	} {
		if g.value != nil {
			ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value())
		}
	}
	if s.Store == nil {
		return
	}
	figures, err := s.Store()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(bytesDesc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(figures.Bytes))
	ch <- prometheus.MustNewConstMetric(commitsDesc, prometheus.CounterValue, float64(figures.Commits))
	ch <- prometheus.MustNewConstMetric(committedDesc, prometheus.CounterValue, float64(figures.Committed))
	ch <- prometheus.MustNewConstMetric(busyDesc, prometheus.CounterValue, figures.Busy.Seconds())
}
