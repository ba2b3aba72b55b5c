package app

import (
	"context"

	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/store"
)

// openJobs makes the service of jobs.
func (a *App) openJobs(deliveries *deliver.Service) {
	_, shared := a.store.(store.Cluster)
	a.jobs = jobs.New(jobs.Options{
		Figures: a.stats.Flush,
		Store:   a.store, Events: a.ingest, Deliveries: deliveries, Links: a.links, Keys: a.keys, Connections: a.connections, Sealing: a.sealing, Types: a.catalog.Match,
		Alone: !shared, Log: a.log, Now: a.o.Now,
	})
}

// runJobs begins to work on jobs. They end before deliveries do.
func (a *App) runJobs(ctx context.Context) error {
	r := jobs.NewRunner(a.jobs)
	a.down.Push("jobs", r.Stop)
	return r.Start(ctx)
}
