package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/cluster"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/datadir"
	"github.com/patchbay/patchbay/internal/move"
	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// openStore opens the database, and joins the other nodes where there can be some.
func (a *App) openStore(ctx context.Context) error {
	for _, w := range a.config.Warnings() {
		a.log.Warn(w)
	}
	a.metrics = obs.NewMetrics(obs.MetricsOptions{Version: a.o.Version, Gauges: a.gauges()})
	var err error
	if a.sealer, err = a.openRing(); err != nil {
		return err
	}
	if err := a.foresee(ctx); err != nil {
		return err
	}
	if a.config.PostgreSQL() {
		return a.openPostgres(ctx)
	}
	if err := os.MkdirAll(a.config.Data, 0o700); err != nil {
		return fmt.Errorf("the data directory %s cannot be made: %w", a.config.Data, err)
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: a.config.Data, Now: a.o.Now, Log: a.log, OnCommit: a.committed, Sealer: a.sealer})
	if err != nil {
		return err
	}
	a.store = s
	a.down.Push("the database", func(context.Context) error { return s.Close() })
	if err := move.Refusal(ctx, s); err != nil {
		return err
	}
	if err := a.admit(ctx); err != nil {
		return err
	}
	a.self = store.Node{Address: a.config.Listen, Version: a.o.Version, StartedAt: a.now()}
	return nil
}

// openPostgres joins a shared database as the node that the data directory belongs to. Its lock proves that the process
// which had the directory before is dead, so what that had is taken over at once.
func (a *App) openPostgres(ctx context.Context) error {
	dir, err := datadir.Lock(a.config.Data)
	if err != nil {
		return err
	}
	a.down.Push("the data directory", func(context.Context) error { return dir.Unlock() })
	name, err := dir.Node()
	if err != nil {
		return err
	}
	address, err := a.address(ctx)
	if err != nil {
		return err
	}
	s, err := postgres.Open(ctx, postgres.Options{
		URL: a.config.Database.Reveal(), Name: name, Address: address, Version: a.o.Version, Now: a.o.Now, Log: a.log, OnCommit: a.committed,
		Sealer: a.sealer,
	})
	if err != nil {
		return err
	}
	a.store = s
	a.down.Push("the database", func(context.Context) error { return s.Close() })
	if err := move.Refusal(ctx, s); err != nil {
		return err
	}
	if err := a.admit(ctx); err != nil {
		return err
	}
	if a.member, err = cluster.Join(ctx, cluster.Options{Store: s, Log: a.log}); err != nil {
		return err
	}
	a.down.Push("the place among the nodes", a.member.Stop)
	a.self = a.member.Self()
	return nil
}

// address is where other nodes and their operators see this one serve. A port that is any free one is taken now.
func (a *App) address(ctx context.Context) (string, error) {
	host, port, err := net.SplitHostPort(a.config.Listen)
	if err != nil {
		return "", err
	}
	if port == "0" {
		if err := a.bind(ctx); err != nil {
			return "", err
		}
		if _, port, err = net.SplitHostPort(a.Addr()); err != nil {
			return "", err
		}
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port), nil
}

// joined has this node follow the others, once everything that it keeps current is there.
func (a *App) joined(ctx context.Context) error {
	if a.member == nil {
		return nil
	}
	return a.member.Start(ctx, cluster.Parts{
		Engine: a.engine, Link: a.links.Refresh, Connection: a.connections.Refresh, Types: a.refreshTypes, Keys: a.keys.Refresh, Report: a.report,
	})
}

// refreshTypes takes over what another node did to event types. One that this node cannot take, because its own catalog
// files have the name, is said once: trying again would not help.
func (a *App) refreshTypes(ctx context.Context, keys []string) error {
	err := a.types.Refresh(ctx, keys)
	switch patchbay.CodeOf(err) {
	case patchbay.CodeConflict, patchbay.CodeInvalidRequest:
		a.log.Warn("an event type that another node has is left out here: do both have the same catalog files?", "error", err)
		return nil
	}
	return err
}

// owns says which links this node looks after; nil where there are no other nodes.
func (a *App) owns() func(patchbay.LinkID) bool {
	if a.member == nil {
		return nil
	}
	return a.member.Owns
}

// changesHeard is how long a change takes to reach the other nodes, which are notified of it, with some to spare.
const changesHeard = 250 * time.Millisecond

// heard is how long a change takes to reach the other nodes; 0 when there are none.
func (a *App) heard() time.Duration {
	if a.member == nil {
		return 0
	}
	return changesHeard
}

// report says how busy this node is.
func (a *App) report() store.NodeReport {
	l := a.engine.Load()
	r := store.NodeReport{InFlight: l.InFlight, Ready: l.Ready, OpenBreakers: l.OpenBreakers, Links: l.Lanes}
	a.sealing.Report(&r)
	return r
}

// nodes shows the nodes.
func (a *App) nodes() *cluster.Service {
	waiting := func(ctx context.Context) (int64, error) {
		s, err := a.store.Stats(ctx)
		return s.Queued, err
	}
	if a.member != nil {
		return cluster.NewService(a.member, waiting)
	}
	return cluster.NewSingle(a.self, a.report, waiting)
}

// readyMost bounds how long the database may take to say that it can be written.
const readyMost = 3 * time.Second

// ready returns nil when this node can take events and send them.
func (a *App) ready(ctx context.Context) error {
	if a.member != nil {
		if err := a.member.Ready(); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, readyMost)
	defer cancel()
	err := a.store.Healthy(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database does not answer", Err: err}
	}
	return err
}

// Node is the number of this node: it ends the identifiers that it makes. Database says for people which database it
// uses.
func (a *App) Node() int { return a.self.Number }

// Database describes the database, without its secrets.
func (a *App) Database() string { return a.config.DatabaseName() }

// Fenced is closed when the other nodes took this one for dead: what it had in memory is in their hands. It writes
// nothing more; it must be stopped, and another App may be started in its place. nil where there are no other nodes.
func (a *App) Fenced() <-chan struct{} {
	if a.member == nil {
		return nil
	}
	return a.member.Fenced()
}

// fenced reports whether the other nodes took this one for dead.
func (a *App) fenced() bool {
	select {
	case <-a.Fenced():
		return true
	default:
		return false
	}
}

// openForTools opens the database of an installation for a command that is not a node of its own for long.
func openForTools(ctx context.Context, c config.Config) (store.Store, error) {
	sealer, err := toolSealer(c)
	if err != nil {
		return nil, err
	}
	if c.PostgreSQL() {
		return postgres.Open(ctx, postgres.Options{URL: c.Database.Reveal(), Sealer: sealer})
	}
	return sqlite.Open(ctx, sqlite.Options{Dir: c.Data, Sealer: sealer})
}

// unfenced leaves out of the errors of a stop what a fenced node must expect: that nothing can be handed back.
func unfenced(err error) error {
	if errors.Is(err, store.ErrFenced) {
		return nil
	}
	return err
}
