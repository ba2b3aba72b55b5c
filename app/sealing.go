package app

import (
	"context"
	"errors"

	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/sealing"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// Wrapper wraps the keys of the rows that hold secrets. A program that embeds Patchbay can give one that asks a key
// management service; docs/operations.md says what it must do.
type Wrapper = secret.Wrapper

// ErrUnknownKey is what a Wrapper's Unwrap returns, or wraps, for a key that it does not have.
var ErrUnknownKey = secret.ErrUnknownKey

// openRing reads the keys that secrets are sealed with. It returns what the database seals with.
func (a *App) openRing() (store.Sealer, error) {
	if a.o.Wrapper != nil {
		a.wrapper = a.o.Wrapper
		return patient{secret.NewSealer(a.wrapper), a}, nil
	}
	ring, err := secret.Read(a.config.SecretKeyFile())
	if err != nil {
		return nil, err
	}
	a.wrapper, a.ring = ring, ring
	return patient{secret.NewSealer(ring), a}, nil
}

// patient is the Sealer of a node that may stand beside one of the version before there was sealing.
type patient struct {
	*secret.Sealer
	a *App
}

// Later implements store.Patient. Nothing is written before the keys were admitted.
func (p patient) Later() bool { return p.a.sealing != nil && p.a.sealing.Later() }

// foresee refuses a database that the keys do not open before opening it brings its tables up to date: the program and the
// file that were used before can still serve it then. What cannot be looked at, opening it says why.
func (a *App) foresee(ctx context.Context) error {
	var canary string
	var err error
	if a.config.PostgreSQL() {
		canary, err = postgres.Fact(ctx, a.config.Database.Reveal(), sealing.MetaCanary)
	} else {
		canary, err = sqlite.Fact(a.config.Data, sealing.MetaCanary)
	}
	if err != nil {
		return nil //nolint:nilerr // no database yet, or one that opening says more about
	}
	return sealing.Check(a.wrapper, a.ring, a.config.DatabaseName(), canary)
}

// admit proves that the keys are those of the database, before anything is read or written there.
func (a *App) admit(ctx context.Context) error {
	kept, ok := a.store.(sealing.Store)
	if !ok {
		return errors.New("this database cannot keep secrets sealed")
	}
	o := sealing.Options{
		Store: kept, Wrapper: a.wrapper, Ring: a.ring, Database: a.config.DatabaseName(), Log: a.log,
		Job: func(ctx context.Context, c *access.Caller) (*jobs.View, error) { return a.jobs.Reseal(ctx, c) },
	}
	if _, shared := a.store.(store.Cluster); shared {
		o.Others = a.others
	}
	a.sealing = sealing.New(o)
	if err := a.sealing.Admit(ctx); err != nil {
		return err
	}
	if a.ring != nil {
		for _, w := range a.ring.Warnings() {
			a.log.Warn(w)
		}
	}
	return nil
}

// others are the other nodes that are there.
func (a *App) others() []store.Node {
	if a.member == nil {
		return nil // it has not joined them yet
	}
	return a.member.Others()
}

// runSealing has this node follow the others, and seals what an older version left in the open, or a rotation did not
// come to. Nobody waits for that.
func (a *App) runSealing(ctx context.Context) error {
	if err := a.sealing.Begin(ctx); err != nil {
		a.log.Warn("what is not sealed with the current key could not be looked for; the next start does", "error", err)
	}
	a.down.Push("the keys of secrets", a.sealing.Stop)
	return a.sealing.Start(ctx)
}

// toolSealer is the Sealer of a command that opens an installation's database beside it, with the keys that are there.
func toolSealer(c config.Config) (store.Sealer, error) {
	ring, err := secret.Read(c.SecretKeyFile())
	if err != nil {
		return nil, err
	}
	return secret.NewSealer(ring), nil
}
