package app

import (
	"context"
	"time"

	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/stats"
	"github.com/patchbay/patchbay/internal/store"
)

// openStatistics begins to count. What was counted is handed over after the engine has stopped and before the database
// is closed.
func (a *App) openStatistics() {
	a.stats = stats.New(stats.Options{Store: a.store, Live: a.live, ScopeOf: a.engine.Scope, Log: a.log, Now: a.o.Now})
	a.counting.Store(a.stats)
	a.stats.Start()
	a.down.Push("statistics", a.stats.Stop)
}

// committed is told of the database's transactions, also before anything else is there.
func (a *App) committed(took time.Duration, held int) {
	a.metrics.Committed(took, held)
	if s := a.counting.Load(); s != nil {
		s.Committed(took)
	}
}

// live is what goes on, for /v1/stats/now.
func (a *App) live(ctx context.Context) (stats.Live, error) {
	figures, err := a.store.Stats(ctx)
	if err != nil {
		return stats.Live{}, err
	}
	load, lanes := a.engine.Load(), a.engine.LaneStates()
	return stats.Live{
		InFlight: load.InFlight, Ready: load.Ready, Queued: figures.Queued,
		Lanes: stats.Lanes{
			Idle: lanes.Idle, Working: lanes.Working, Failing: lanes.Failing, Open: lanes.Open, Probing: lanes.Probing,
			Throttled: lanes.Throttled, Held: lanes.Held,
		},
		Database: stats.Database{Engine: figures.Engine, Bytes: figures.Bytes, Commits: figures.Commits, Committed: figures.Committed},
	}, nil
}

// gauges are asked for at every scrape.
func (a *App) gauges() obs.Gauges {
	return obs.Gauges{
		Queued: func() float64 {
			stats, err := a.store.Stats(context.Background())
			if err != nil {
				return 0
			}
			return float64(stats.Queued) + float64(a.engine.Load().Ready)
		},
		OldestPending: func() (float64, error) {
			at, waits, err := a.stats.OldestWaiting(context.Background())
			if err != nil || !waits {
				return 0, err
			}
			return max(0, a.now().Sub(at).Seconds()), nil
		},
		InFlight: func() float64 { return float64(a.engine.Load().InFlight) },
		Lanes: func() map[string]float64 {
			lanes := a.engine.LaneStates()
			return map[string]float64{
				"idle": float64(lanes.Idle), "working": float64(lanes.Working), "failing": float64(lanes.Failing), "open": float64(lanes.Open),
				"probing": float64(lanes.Probing), "throttled": float64(lanes.Throttled), "held": float64(lanes.Held),
			}
		},
		Links: func() float64 { return float64(a.engine.Load().Lanes) },
		Connections: func() map[string]float64 {
			out := map[string]float64{}
			for state, n := range a.connections.States() {
				out[string(state)] = float64(n)
			}
			return out
		},
		Hooks:    func() float64 { return float64(a.hooks.Pending()) },
		Sources:  a.sourceFigures,
		Watchers: func() float64 { return float64(a.hub.Subscribers()) },
		Node: func() int {
			if shared, ok := a.store.(store.Cluster); ok {
				return shared.Self().Number
			}
			return 0
		},
		Store: func() (obs.StoreFigures, error) {
			s, err := a.store.Stats(context.Background())
			return obs.StoreFigures{Bytes: s.Bytes, Commits: s.Commits, Committed: s.Committed, Busy: s.Busy}, err
		},
	}
}
