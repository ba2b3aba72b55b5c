// Package sqlite keeps everything in one SQLite file, for a Patchbay that is one process. It is the store that the
// program starts on, and it is durable: what Accept has taken survives a power loss.
//
// One goroutine writes (writer.go): it commits at once when there is something to commit, and what arrives meanwhile
// makes up the next transaction, so a transaction is as large as the load. Readers have connections of their own and
// are never blocked by it. An event is one row and so is the attempt that delivers it; neither is ever changed.
// Everything that makes lists fast is written later, sorted, in blocks (history.go).
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/datadir"
	"github.com/patchbay/patchbay/internal/store"
)

// Options say where the database is and what it works with.
type Options struct {
	// Dir is the data directory; the database is patchbay.db in it. It is made when it does not exist. One process
	// at a time may use it.
	Dir string
	// Node is the number that identifiers end with; the default is 0.
	Node int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes what nobody is waiting for, such as a full disk while results are kept; nil discards it.
	Log *slog.Logger
	// OnCommit, when not nil, is told of every transaction that wrote something: how long it took, and how many events
	// and results were in it. It is called by the writer and must not block.
	OnCommit func(took time.Duration, held int)
	// Sealer hides secrets; nil leaves them in the open.
	Sealer store.Sealer

	limits limits
}

const (
	// databaseName is the file in the data directory.
	databaseName = "patchbay.db"
	// readConns is how many reads can be under way at one time. Lists are short, and two cores are busy with four.
	readConns = 4
)

var _ store.Store = (*Store)(nil)

// Store is a database. Its methods are safe for concurrent use.
type Store struct {
	o    Options
	now  func() time.Time
	log  *slog.Logger
	path string
	lock *datadir.Dir
	ids  *patchbay.Sequence

	w        *writer
	readers  chan *conn
	reading  int // connections in and out of readers
	floor    store.Floor
	lanes    lanes
	history  history
	keys     keys
	recovery recovery
	prune    pruner
	erase    eraser

	closing sync.Once
	closed  chan struct{}
	stop    context.CancelFunc // ends the checkpointer
	owned   sync.WaitGroup
}

// Open opens the database in a directory, and makes it when there is none. Its errors are sentences for the operator.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.limits == (limits{}) {
		o.limits = defaultLimits()
	}
	s := &Store{o: o, now: o.Now, log: o.Log, path: filepath.Join(o.Dir, databaseName), readers: make(chan *conn, readConns), closed: make(chan struct{})}
	s.history.limits, s.keys.limits = &s.o.limits, &s.o.limits
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.release()
		return nil, fmt.Errorf("the database %s cannot be opened: %w", s.path, openError(err))
	}
	run, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.owned.Go(s.w.loop)
	s.owned.Go(func() { s.checkpoints(run) })
	return s, nil
}

// Close commits what was handed over, writes the log into the database and releases the file. It is safe to call
// twice.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.closed)
		s.w.close()
		s.stop()
		s.owned.Wait()
		err = s.w.result
		if e := s.w.c.checkpoint(checkpointTruncate); e != nil {
			// The log keeps it all; the next start reads it.
			s.log.Warn("the database's log could not be written into the database", "error", e)
		}
		s.release()
	})
	return err
}

// release closes whatever is open. Reads that are under way end first.
func (s *Store) release() {
	for range s.reading {
		c := <-s.readers
		c.close()
	}
	if s.w != nil {
		s.w.c.close()
		s.w.checkpointer.close()
	}
	_ = s.lock.Unlock()
}

// read runs f with a connection that sees one state of the database throughout.
func (s *Store) read(ctx context.Context, f func(*conn) error) error {
	var c *conn
	select {
	case c = <-s.readers:
	default:
		select {
		case c = <-s.readers:
		case <-s.closed:
			return store.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { s.readers <- c }()
	if s.isClosed() {
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return inSnapshot(c, f)
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// inSnapshot wraps f in a transaction that only reads.
func inSnapshot(c *conn, f func(*conn) error) error {
	if err := c.run("BEGIN"); err != nil {
		return readError(err)
	}
	err := f(c)
	e := c.run("COMMIT")
	if e != nil && c.inTransaction() {
		e = errors.Join(e, c.exec("ROLLBACK"))
	}
	if err == nil {
		err = e
	}
	return readError(err)
}

// readError says what a reader met, in a sentence where it concerns the whole database.
func readError(err error) error {
	if err == nil || !environmental(err) {
		return err
	}
	return fmt.Errorf("reading the database: %w", explain(err))
}

// NewID makes n consecutive identifiers and returns the first.
func (s *Store) NewID(n int) int64 { return s.ids.Take(n) }
