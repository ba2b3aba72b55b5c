// Package postgres keeps everything in a PostgreSQL database that any number of processes share. Each of them is a node
// (cluster.go): it has a number that stands in its identifiers, shows signs of life, and is fenced off when it shows none.
//
// Two goroutines write what is hot, acceptances and results (writer.go): each commits at once when there is something to
// commit, in one round trip, and what arrives meanwhile makes up the next transaction. Everything else is a transaction of
// its own on one of the pool's connections. An event is one row and so is the attempt that delivers it; neither is ever
// changed. Both are partitioned by their identifiers, which is by time, so that retention drops whole days.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Options say where the database is and who this node is.
type Options struct {
	// URL is the database's address, postgres://user:password@host:port/database?…; it may name several hosts, of which
	// the one that takes writes is used.
	URL string
	// Name says which nodes are the same one, started again: whoever opens the database with a name fences whoever had it
	// before. The caller makes sure that its predecessor is dead. "" is a new name.
	Name string
	// Address and Version are shown to others.
	Address, Version string
	// Now is the clock of identifiers and of what is due; nil means time.Now.
	Now func() time.Time
	// Log takes what nobody is waiting for, such as a lost connection while results are kept; nil discards it.
	Log *slog.Logger
	// OnCommit, when not nil, is told of every transaction with events or results: how long it took, and how many of those
	// were in it. It is called by the writers and must not block.
	OnCommit func(took time.Duration, held int)
	// Sealer hides secrets; nil leaves them in the open. Every node needs one that knows the same keys.
	Sealer store.Sealer

	limits limits
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// Store is a database, as one node sees it. Its methods are safe for concurrent use.
type Store struct {
	o    Options
	now  func() time.Time
	log  *slog.Logger
	pool *pgxpool.Pool
	ids  *patchbay.Sequence
	self store.Node

	w     *writer
	floor store.Floor
	prune pruner
	erase eraser

	closing sync.Once
	closed  chan struct{}
	run     context.Context // done when the store is closed
	stop    context.CancelFunc
	owned   sync.WaitGroup
}

// NewID makes n consecutive identifiers and returns the first.
func (s *Store) NewID(n int) int64 { return s.ids.Take(n) }

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// read runs f with a transaction that sees one state of the database throughout.
func (s *Store) read(ctx context.Context, f func(pgx.Tx) error) error {
	return s.retrying(ctx, func(c *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
	}, nil)
}

// query runs f with a connection on which every statement is a transaction of its own. It is for reads of one statement.
func (s *Store) query(ctx context.Context, f func(*pgx.Conn) error) error {
	return s.retrying(ctx, f, nil)
}

// write runs f in a transaction of this node: when the node was fenced nothing is stored and the error is store.ErrFenced.
// f may run more than once. An error of the connection while the transaction ends leaves open whether it was committed. The
// transaction also has the entry of the audit log that ctx asks for.
func (s *Store) write(ctx context.Context, f func(pgx.Tx) error) error {
	entry, written := store.AuditOf(ctx)
	for attempt := 1; ; attempt++ {
		ending := false
		err := s.retrying(ctx, func(c *pgx.Conn) error {
			return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
				ending = false
				if _, err := tx.Exec(ctx, "SELECT patchbay_fence($1, $2)", s.self.Number, s.self.Incarnation); err != nil {
					return err
				}
				err := f(tx)
				if err == nil && entry != nil {
					err = s.insertAudit(ctx, tx, entry)
				}
				ending = err == nil
				return err
			})
		}, &ending)
		if err == nil {
			written()
		}
		if !collided(err) || attempt == writeAttempts {
			return err
		}
	}
}

// writeAttempts is how often a transaction is tried that got in the way of another one.
const writeAttempts = 5

// retrying is with, but when the connection was lost, as those are that a server which was restarted left behind, f is run
// again with another one, unless ending says that it may have changed something.
func (s *Store) retrying(ctx context.Context, f func(*pgx.Conn) error, ending *bool) error {
	for attempt := 0; ; attempt++ {
		err := s.with(ctx, f)
		var connect *pgconn.ConnectError
		if err == nil || !connectionLost(err) || errors.As(err, &connect) || attempt > int(s.pool.Config().MaxConns) || ending != nil && *ending {
			return err
		}
	}
}

// with runs f with a connection of the pool.
func (s *Store) with(ctx context.Context, f func(*pgx.Conn) error) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	err := s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return f(c.Conn()) })
	switch {
	case err == nil:
		return nil
	case s.isClosed():
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return explain(err)
}

// Close commits what was handed over, says that this node leaves, and closes the connections. It is safe to call twice.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		err = s.w.close()
		ctx, cancel := context.WithTimeout(context.Background(), leaveMost)
		defer cancel()
		if e := s.leave(ctx); e != nil && !errors.Is(e, store.ErrFenced) {
			err = errors.Join(err, fmt.Errorf("this node could not say that it leaves; the others find out after some seconds: %w", e))
		}
		close(s.closed)
		s.stop()
		s.owned.Wait()
		s.pool.Close()
	})
	return err
}

// leaveMost bounds how long the end waits for a database that does not answer.
const leaveMost = 5 * time.Second
