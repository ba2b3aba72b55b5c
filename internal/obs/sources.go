package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SourceFigures describe a source of events beside the API.
type SourceFigures struct {
	// Kind is "nats" or "outbox", Name the one in the configuration.
	Kind, Name string
	// Accepted, Duplicates, Refused and Postponed count messages by what came of them.
	Accepted, Duplicates, Refused, Postponed int64
	// Pending is how many messages wait there, Lag how old the oldest of them is.
	Pending int64
	Lag     time.Duration
	// Connected says whether the source is reached.
	Connected bool
}

var (
	sourceLabels        = []string{"kind", "source"}
	sourceMessagesDesc  = prometheus.NewDesc("patchbay_source_messages_total", "Messages of a source, by what came of them: accepted, duplicate (it came again), refused (it can never be accepted), postponed (it is tried again).", []string{"kind", "source", "outcome"}, nil)
	sourcePendingDesc   = prometheus.NewDesc("patchbay_source_pending", "Messages that wait at a source.", sourceLabels, nil)
	sourceLagDesc       = prometheus.NewDesc("patchbay_source_lag_seconds", "Age of the message that a source is at.", sourceLabels, nil)
	sourceConnectedDesc = prometheus.NewDesc("patchbay_source_connected", "1 when the source is reached.", sourceLabels, nil)
)

// collectSources collects what the sources have done.
func (s state) collectSources(ch chan<- prometheus.Metric) {
	if s.Sources == nil {
		return
	}
	for _, f := range s.Sources() {
		for outcome, n := range map[string]int64{"accepted": f.Accepted, "duplicate": f.Duplicates, "refused": f.Refused, "postponed": f.Postponed} {
			ch <- prometheus.MustNewConstMetric(sourceMessagesDesc, prometheus.CounterValue, float64(n), f.Kind, f.Name, outcome)
		}
		connected := 0.0
		if f.Connected {
			connected = 1
		}
		ch <- prometheus.MustNewConstMetric(sourcePendingDesc, prometheus.GaugeValue, float64(f.Pending), f.Kind, f.Name)
		ch <- prometheus.MustNewConstMetric(sourceLagDesc, prometheus.GaugeValue, f.Lag.Seconds(), f.Kind, f.Name)
		ch <- prometheus.MustNewConstMetric(sourceConnectedDesc, prometheus.GaugeValue, connected, f.Kind, f.Name)
	}
}
