package app

import (
	"context"
	"log/slog"

	"github.com/patchbay/patchbay/internal/obs"
)

// openReports has errors reported to Sentry when there is a DSN. It comes first, so that it ends last.
func (a *App) openReports(context.Context) error {
	if a.config.SentryDSN == "" {
		return nil
	}
	r, err := obs.NewReporter(a.config.SentryDSN.Reveal(), a.o.Version)
	if err != nil {
		return err
	}
	a.log = slog.New(r.Handler(a.log.Handler()))
	a.down.Push("error reports", r.Flush)
	return nil
}
