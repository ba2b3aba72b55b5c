package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// This file finds out what became of a transaction whose answer was lost, so that nobody is told that nothing was stored
// when something was.

// errUnresolved is the end of a store before it could find out.
var errUnresolved = fmt.Errorf("the connection was lost in the middle of a transaction, and the server could not be asked what came of it: %w", store.ErrUnavailable)

// resolve returns nil when the batch was stored, and otherwise why not. While the server cannot be asked, the callers of the
// batch's acceptances wait for doubtMost; then they are told that the database is away, and when it turns out that their
// events were stored all the same, these are delivered from the queue.
func (h *hot) resolve(b *batch, cause error) error {
	w := h.w
	pause := retryFirst
	patience := time.Now().Add(w.s.o.limits.doubtMost)
	var orphans []orphan
	ids := make([]int64, 0, len(b.ops))
	for _, o := range b.ops {
		ids = append(ids, int64(o.accept.Event.ID))
	}
	for {
		within := askMost
		if len(b.ops) > 0 {
			within = min(within, max(time.Until(patience), retryFirst))
		}
		stored, err := h.ask(b, ids, within)
		switch {
		case err == nil && stored:
			w.s.adopt(orphans)
			return nil
		case err == nil:
			w.s.disown(orphans)
			return fmt.Errorf("%w (%w)", errLost, cause)
		}
		err = explain(err)
		w.fail(err)
		w.refusePending(err)
		if w.ending() {
			h.orphan(b.ops) // the floor does not pass them: whoever takes over finds them
			h.refuse(b, errUnresolved)
			return errUnresolved
		}
		if len(b.ops) > 0 && time.Now().After(patience) {
			orphans = append(orphans, orphansOf(b.ops)...)
			for _, o := range b.ops {
				o.begun = false
			}
			h.refuse(b, err)
		}
		select {
		case <-time.After(pause):
		case <-w.s.run.Done():
		}
		pause = min(2*pause, retryMost)
	}
}

// askMost bounds how long one question to the server may take.
const askMost = 10 * time.Second

// errLost is a transaction that was not committed because its connection was lost.
var errLost = &unavailableError{hint: "the connection to the database was lost, and nothing was stored", err: errors.New("connection lost")}

// ask asks the server whether a batch with some events was stored. Its former process, which may still be about to commit, is ended first.
func (h *hot) ask(b *batch, events []int64, within time.Duration) (stored bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	former := h.pid
	c, err := pgx.ConnectConfig(ctx, h.w.config)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close(ctx) }()
	rows, err := c.Query(ctx, `SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity
		WHERE pid = $1 AND application_name = $2 AND pid <> pg_backend_pid()`, former, h.w.config.RuntimeParams["application_name"])
	if err != nil {
		return false, err
	}
	ended, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil {
		return false, err
	}
	for _, ok := range ended {
		if !ok {
			return false, fmt.Errorf("the server process %d does not end: %w", former, store.ErrUnavailable)
		}
	}
	// Where commits wait for a standby, this one waits until the standby has what is looked for.
	if _, err := c.Exec(ctx, "UPDATE floor SET event = event WHERE number = $1", h.w.s.self.Number); err != nil {
		return false, err
	}
	for i := range b.results {
		if len(b.results[i].outcomes) > 0 {
			o := &b.results[i].outcomes[0]
			err = c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM attempt WHERE delivery = $1 AND n = $2 AND state = $3 AND at IS NOT DISTINCT FROM $4)`,
				int64(o.Delivery), o.N, stateCode(o.State), nullTime(o.Attempt.At)).Scan(&stored)
			return stored, err
		}
	}
	err = c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM event WHERE id = ANY($1)) OR EXISTS (SELECT FROM unmatched WHERE id = ANY($1))`, events).Scan(&stored)
	return stored, err
}

// nullTime is a time as a parameter, to the microsecond; the zero time is NULL.
func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Microsecond)
	return &t
}

// orphan is an event that may be stored although its caller was told otherwise.
type orphan struct {
	event patchbay.EventID
	n     int
}

func orphansOf(ops []*op) (out []orphan) {
	for _, o := range ops {
		out = append(out, orphan{o.accept.Event.ID, len(o.accept.Targets)})
	}
	return out
}

// orphan takes events from their callers, who are told that the database is away: if they are stored, the store sees to
// their deliveries.
func (h *hot) orphan(ops []*op) {
	for _, o := range ops {
		o.begun = false // the floor keeps them
	}
	h.w.s.adopt(orphansOf(ops))
}

// adopt gives deliveries of orphans places in the queue, as soon as the database can be written. Until then the floor does
// not pass them.
func (s *Store) adopt(orphans []orphan) {
	if len(orphans) == 0 {
		return
	}
	s.owned.Go(func() {
		for pause := retryFirst; ; pause = min(2*pause, retryMost) {
			err := s.write(s.run, func(tx pgx.Tx) error {
				ids := make([]int64, len(orphans))
				for i := range orphans {
					ids[i] = int64(orphans[i].event)
				}
				events, err := s.lostEvents(s.run, tx, "SELECT id, targets FROM event WHERE id = ANY($1) AND targets IS NOT NULL ORDER BY id", ids)
				if err == nil {
					_, err = s.requeue(s.run, tx, events, s.now())
				}
				return err
			})
			if err == nil {
				s.disown(orphans)
				return
			}
			select {
			case <-s.run.Done():
				return
			case <-time.After(pause):
			}
		}
	})
}

// disown lets the floor pass orphans.
func (s *Store) disown(orphans []orphan) {
	for _, x := range orphans {
		for i := range x.n {
			s.floor.Settle(x.event, patchbay.DeliveryAt(x.event, i+1))
		}
	}
}

// refusePending tells callers whose acceptances no writer has taken that the database is away.
func (w *writer) refusePending(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.accepts {
		if o.took.CompareAndSwap(opWaiting, opTaken) {
			o.err = err
			o.done <- struct{}{}
		}
	}
	clear(w.accepts)
	w.accepts = w.accepts[:0]
}

func (w *writer) ending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}
