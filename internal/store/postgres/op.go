package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// op is an acceptance that a caller waits for.
type op struct {
	accept   *store.Acceptance
	targets  []byte // encoded by the caller
	source   []byte
	existing *store.Existing
	err      error
	// begun says that the floor knows of it.
	begun bool
	took  atomic.Int32 // opWaiting, opTaken, opLeft
	done  chan struct{}
}

const (
	opWaiting = iota
	opTaken   // a writer has it: its caller waits until the end
	opLeft    // its caller has left: the writers drop it
)

// results are what Record was given, or, with flushed, somebody who waits for all that came before.
type results struct {
	outcomes  []store.Outcome
	committed func()
	flushed   chan error
}

// Accept commits an event; see store.Events.
func (s *Store) Accept(ctx context.Context, a *store.Acceptance) (*store.Existing, error) {
	w := s.w
	o := w.pool.Get().(*op)
	o.accept, o.existing, o.err, o.begun = a, nil, nil, false
	o.took.Store(opWaiting)
	o.source = appendSource(o.source[:0], &a.Event.Source)
	o.targets = o.targets[:0]
	if len(a.Targets) > 0 {
		o.targets = appendTargets(o.targets, a.Targets)
	}
	err := w.submit(ctx, o)
	existing := o.existing
	if o.took.Load() != opLeft {
		o.accept, o.existing = nil, nil
		w.pool.Put(o)
	}
	if err != nil {
		return nil, err
	}
	return existing, nil
}

// submit hands an op over and waits until it is durable or failed.
func (w *writer) submit(ctx context.Context, o *op) error {
	w.mu.Lock()
	if err := w.over(); err != nil {
		w.mu.Unlock()
		return err
	}
	w.accepts = append(w.accepts, o)
	if n := len(w.accepts); n == 1 || n >= w.company-w.flying { // in between somebody waits for company
		w.rouse()
	}
	w.mu.Unlock()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.took.CompareAndSwap(opWaiting, opLeft) {
			return ctx.Err()
		}
		<-o.done // it is being committed: the answer is what comes of that
		return o.err
	}
}

// Record takes results; see store.Queue.
func (s *Store) Record(outcomes []store.Outcome, committed func()) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over() != nil {
		return // whoever takes this node's deliveries over finds these
	}
	if len(w.results) == 0 {
		w.oldest = time.Now()
	}
	w.results = append(w.results, results{outcomes: outcomes, committed: committed})
	w.outcomes += len(outcomes)
	// The first result wakes a writer to look at the clock, and one that fills a transaction to make it.
	if before := w.outcomes - len(outcomes); before == 0 || before < recordMost && w.outcomes >= recordMost {
		w.rouse()
	}
}

// Flush waits until everything that Record was given is durable; see store.Queue.
func (s *Store) Flush(ctx context.Context) error {
	w := s.w
	done := make(chan error, 1) // its caller may leave at any time
	w.mu.Lock()
	if err := w.over(); err != nil {
		w.mu.Unlock()
		return err
	}
	if len(w.results) == 0 && !w.ordered {
		w.mu.Unlock()
		return ctx.Err()
	}
	w.results = append(w.results, results{flushed: done})
	w.flushing++
	w.rouse()
	w.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// after waits until what Record was given is durable, before something that must not overtake it. While the database cannot
// be written it says so.
func (s *Store) after(ctx context.Context) error {
	if err := s.w.failing.Load(); err != nil {
		return *err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer s.w.onFailure(func(err error) { cancel(err) })()
	if err := s.Flush(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}

// begin tells the floor of an acceptance that is about to be committed, so that no floor that is written down meanwhile
// passes it.
func (s *Store) begin(o *op) {
	o.begun = true
	s.floor.Begin(o.accept.Event.ID, len(o.accept.Targets))
}

// unbegin takes that back: nothing was stored.
func (s *Store) unbegin(o *op) {
	if !o.begun {
		return
	}
	o.begun = false
	for i := range o.accept.Targets {
		s.floor.Settle(o.accept.Event.ID, patchbay.DeliveryAt(o.accept.Event.ID, i+1))
	}
}

// Remembered looks a key up; see store.Events.
func (s *Store) Remembered(ctx context.Context, key [16]byte, now time.Time) (existing *store.Existing, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		var x store.Existing
		err := c.QueryRow(ctx, "SELECT event, body, deliveries FROM idempotency WHERE key = $1 AND until > $2", key, now).Scan(&x.Event, &x.Body, &x.Deliveries)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err == nil:
			existing = &x
		}
		return err
	})
	return existing, err
}
