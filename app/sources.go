package app

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/source"
	"github.com/patchbay/patchbay/internal/source/nats"
	"github.com/patchbay/patchbay/internal/source/outbox"
)

// fed is a source of events beside the API.
type fed struct {
	kind, name string
	source     interface {
		Start(ctx context.Context) error
		Stop(ctx context.Context) error
		Figures() source.Figures
	}
}

// startSources starts what events come from beside the API. It is the last step of a start, so a stop ends them first.
func (a *App) startSources(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(a.config.NATS)) {
		s, err := a.natsSource(name)
		if err != nil {
			return err
		}
		a.sources = append(a.sources, fed{patchbay.SourceNATS, name, s})
	}
	for _, name := range slices.Sorted(maps.Keys(a.config.Outbox)) {
		c := a.config.Outbox[name]
		s, err := outbox.New(outbox.Options{
			Name: name, URL: c.Database, Table: c.Table, Within: patchbay.Scope(c.Within), Ingest: a.ingest, Log: a.log,
		})
		if err != nil {
			return err
		}
		a.sources = append(a.sources, fed{patchbay.SourceOutbox, name, s})
	}
	for _, f := range a.sources {
		if err := f.source.Start(ctx); err != nil {
			return err
		}
		a.down.Push("the source "+f.name, f.source.Stop)
	}
	sources := a.sources
	a.feeding.Store(&sources)
	return nil
}

func (a *App) natsSource(name string) (*nats.Source, error) {
	c := a.config.NATS[name]
	kind, err := nats.ParseTemplate(c.Type)
	if err != nil {
		return nil, fmt.Errorf("nats.%s.type: %w", name, err)
	}
	scope, err := nats.ParseTemplate(c.Scope)
	if err != nil {
		return nil, fmt.Errorf("nats.%s.scope: %w", name, err)
	}
	return nats.New(nats.Options{
		Name: name, URL: c.URL, Credentials: c.Credentials, Stream: c.Stream, Consumer: c.Consumer, Subjects: c.Subject,
		Type: kind, Scope: scope, Within: patchbay.Scope(c.Within), DeadLetter: c.DeadLetter, InFlight: c.InFlight,
		Ingest: a.ingest, Log: a.log,
	})
}

// sourceFigures are for metrics.
func (a *App) sourceFigures() []obs.SourceFigures {
	sources := a.feeding.Load()
	if sources == nil {
		return nil
	}
	out := make([]obs.SourceFigures, len(*sources))
	for i, s := range *sources {
		f := s.source.Figures()
		out[i] = obs.SourceFigures{
			Kind: s.kind, Name: s.name, Accepted: f.Accepted, Duplicates: f.Duplicates, Refused: f.Refused, Postponed: f.Postponed,
			Pending: f.Pending, Lag: f.Lag, Connected: f.Connected,
		}
	}
	return out
}
