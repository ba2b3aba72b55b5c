package obs

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

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
	// Lanes counts links by what their lanes are doing.
	Lanes func() map[string]float64
	// OldestPending is how many seconds ago the event was received of which a delivery has waited longest in the store.
	OldestPending func() (float64, error)
	// Links counts links.
	Links func() float64
	// Connections counts connections by their state.
	Connections func() map[string]float64
	// Watchers counts subscribers of the live stream.
	Watchers func() float64
	// Hooks counts partners' calls that wait in memory for being read.
	Hooks func() float64
	// Node is this node's number; nil where there is only one.
	Node func() int
	// Sources describes what events come from beside the API.
	Sources func() []SourceFigures
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

// state collects the gauges.
type state struct{ Gauges }

var (
	queuedDesc    = prometheus.NewDesc("patchbay_deliveries_queued", "Deliveries that wait, in memory and in the store.", nil, nil)
	oldestDesc    = prometheus.NewDesc("patchbay_oldest_pending_seconds", "Age of the event of which a delivery has waited longest in the store; 0 when none waits.", nil, nil)
	inFlightDesc  = prometheus.NewDesc("patchbay_attempts_in_flight", "Attempts under way.", nil, nil)
	lanesDesc     = prometheus.NewDesc("patchbay_lanes", "Links by what their lanes are doing: idle, working, failing, throttled, open, probing, held.", []string{"state"}, nil)
	linksDesc     = prometheus.NewDesc("patchbay_links", "Links.", nil, nil)
	connDesc      = prometheus.NewDesc("patchbay_connections", "Connections by their state: active, degraded, needs_reauth.", []string{"state"}, nil)
	hooksDesc     = prometheus.NewDesc("patchbay_hooks_pending", "Partners' calls that wait at this node for being read.", nil, nil)
	nodeDesc      = prometheus.NewDesc("patchbay_node_info", "Always 1; says which node of a shared database this is.", []string{"number"}, nil)
	watchersDesc  = prometheus.NewDesc("patchbay_stream_watchers", "Subscribers of the live stream.", nil, nil)
	bytesDesc     = prometheus.NewDesc("patchbay_store_bytes", "Bytes that the database takes on disk.", nil, nil)
	commitsDesc   = prometheus.NewDesc("patchbay_store_commits_total", "Transactions of the writer.", nil, nil)
	committedDesc = prometheus.NewDesc("patchbay_store_committed_total", "Operations in the transactions of the writer.", nil, nil)
	busyDesc      = prometheus.NewDesc("patchbay_store_busy_seconds_total", "Time spent in the transactions of the writer, also those that failed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queuedDesc, oldestDesc, inFlightDesc, lanesDesc, linksDesc, connDesc, hooksDesc, nodeDesc, watchersDesc, bytesDesc,
		commitsDesc, committedDesc, busyDesc, sourceMessagesDesc, sourcePendingDesc, sourceLagDesc, sourceConnectedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s state) Collect(ch chan<- prometheus.Metric) {
	for _, g := range []struct {
		desc  *prometheus.Desc
		value func() float64
	}{
		{queuedDesc, s.Queued}, {inFlightDesc, s.InFlight}, {linksDesc, s.Links}, {watchersDesc, s.Watchers}, {hooksDesc, s.Hooks},
	} {
		if g.value != nil {
			ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value())
		}
	}
	if s.Lanes != nil {
		for state, n := range s.Lanes() {
			ch <- prometheus.MustNewConstMetric(lanesDesc, prometheus.GaugeValue, n, state)
		}
	}
	if s.Connections != nil {
		for state, n := range s.Connections() {
			ch <- prometheus.MustNewConstMetric(connDesc, prometheus.GaugeValue, n, state)
		}
	}
	if s.Node != nil {
		ch <- prometheus.MustNewConstMetric(nodeDesc, prometheus.GaugeValue, 1, strconv.Itoa(s.Node()))
	}
	s.collectSources(ch)
	s.collectStore(ch)
}

// collectStore collects what the database must be asked for. A database that cannot answer hides only this.
func (s state) collectStore(ch chan<- prometheus.Metric) {
	if s.OldestPending != nil {
		if age, err := s.OldestPending(); err != nil {
			ch <- prometheus.NewInvalidMetric(oldestDesc, err)
		} else {
			ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age)
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
