package app

import (
	"context"

	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/httpapi"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/store"
)

// openJobs makes the service of jobs; none where the database keeps none.
func (a *App) openJobs(deliveries *deliver.Service) {
	s, ok := a.store.(jobs.Store)
	if !ok {
		return
	}
	_, shared := a.store.(store.Cluster)
	var figures func(context.Context) error
	if a.stats != nil {
		figures = a.stats.Flush
	}
	a.jobs = jobs.New(jobs.Options{
		Figures: figures,
		Store:   s, Events: a.ingest, Deliveries: deliveries, Links: a.links, Keys: a.keys, Sealing: a.sealing, Types: a.catalog.Match,
		Alone: !shared, Log: a.log, Now: a.o.Now,
	})
}

// jobRoutes is what answers /v1/jobs and /v1/erase.
func (a *App) jobRoutes() httpapi.Jobs {
	if a.jobs == nil {
		return nil
	}
	return a.jobs
}

// runJobs begins to work on jobs. They end before deliveries do.
func (a *App) runJobs(ctx context.Context) error {
	if a.jobs == nil {
		return nil
	}
	r := jobs.NewRunner(a.jobs)
	a.down.Push("jobs", r.Stop)
	return r.Start(ctx)
}
