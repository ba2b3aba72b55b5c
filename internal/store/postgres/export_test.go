package postgres

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// SmallOptions returns options with which everything that happens now and then happens all the time.
func SmallOptions() Options {
	l := defaultLimits()
	l.batchAccepts, l.batchOutcomes, l.floorEvery, l.floorBehind, l.recoverStep, l.claimPage = 5, 7, 0, 0, 3, 2
	l.indexEvents, l.indexEvery, l.indexBehind = 16, 3*time.Millisecond, 0
	return Options{limits: l}
}

// WithDial has connections made by a function.
func (o Options) WithDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) Options {
	o.dial = dial
	return o
}

// WithIndex has blocks of the history written of so many events, at once.
func (o Options) WithIndex(events int) Options {
	if o.limits == (limits{}) {
		o.limits = defaultLimits()
	}
	o.limits.indexEvents, o.limits.indexEvery, o.limits.indexBehind = events, 10*time.Millisecond, 0
	return o
}

// WithPatience bounds how long a transaction and its doubt may take.
func (o Options) WithPatience(write, doubt time.Duration) Options {
	if o.limits == (limits{}) {
		o.limits = defaultLimits()
	}
	o.limits.writeMost, o.limits.doubtMost = write, doubt
	return o
}

// Wires keeps the connections of a store, so that a test can cut them.
type Wires struct {
	mu  sync.Mutex
	all map[net.Conn]bool
	cut bool
}

// Dial is for WithDial.
func (w *Wires) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	if w.all == nil {
		w.all = make(map[net.Conn]bool)
	}
	w.all[c] = true
	return &wire{c, w}, nil
}

type wire struct {
	net.Conn
	of *Wires
}

func (c *wire) Close() error {
	c.of.mu.Lock()
	delete(c.of.all, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// Cut closes all connections and lets no new ones be made.
func (w *Wires) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.all {
		_ = c.Close()
	}
}

// Abandon ends the store's goroutines where they stand, after its connections were cut, as if the process had been killed:
// nothing that has not been committed is.
func (s *Store) Abandon(w *Wires) {
	s.closing.Do(func() {
		s.w.abandon()
		w.Cut()
		close(s.closed)
		s.stop()
		s.w.done.Wait()
		s.owned.Wait()
		s.pool.Close()
	})
}

// Written returns how many transactions the writers have committed.
func (s *Store) Written() int64 { return s.w.stats.commits.Load() }

// Fence fences another node.
func (s *Store) Fence(ctx context.Context, other *Store) error {
	return s.query(ctx, func(c *pgx.Conn) error {
		return fence(ctx, c, ident{other.self.Number, other.self.Incarnation}, 0)
	})
}

// FinishStep does one step of taking another node over.
func (s *Store) FinishStep(ctx context.Context, other *Store) error {
	_, _, err := s.finish(ctx, ident{other.self.Number, other.self.Incarnation}, time.Now())
	return err
}
