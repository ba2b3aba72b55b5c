package sqlite

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// recoverStep is how many deliveries one transaction of Recover puts into the queue.
const recoverStep = 1000

// recovery is what is known of the time before this start.
type recovery struct {
	// floor is where the last run left its floor.
	floor int64
	done  atomic.Bool
}

// unsettledFrom returns the lowest event that may have a delivery which only memory knows of.
func (s *Store) unsettledFrom() int64 {
	if !s.recovery.done.Load() {
		return s.recovery.floor
	}
	return int64(s.floor.Value())
}

// Recover puts what nobody knows of any more into the queue; see store.Queue.
func (s *Store) Recover(ctx context.Context, now time.Time) (int, error) {
	if s.recovery.done.Load() {
		return 0, nil
	}
	found := 0
	for from := s.recovery.floor; ; {
		var lost lost
		err := s.read(ctx, func(c *conn) (err error) {
			lost, err = s.lost(c, from, now)
			return err
		})
		if err != nil {
			return found, err
		}
		if len(lost.dropped) > 0 {
			s.Record(lost.dropped, nil)
		}
		if err := s.Enqueue(ctx, lost.queue); err != nil {
			return found, err
		}
		found += len(lost.queue)
		if from = lost.next; !lost.more {
			break
		}
	}
	if err := s.Flush(ctx); err != nil {
		return found, err
	}
	s.recovery.done.Store(true)
	return found, nil
}

// lost is what nobody knows of: deliveries to be sent, and those that their lane had dropped. next is where to look
// on when there may be more.
type lost struct {
	queue   []store.Queued
	dropped []store.Outcome
	next    int64
	more    bool
}

// lost looks through events from an identifier on, until it has enough deliveries or there are no more.
func (s *Store) lost(c *conn, from int64, now time.Time) (out lost, err error) {
	st, err := c.prepare(briefsFrom)
	if err != nil {
		return out, err
	}
	defer st.reset()
	st.bind(1, from)
	for {
		row, err := st.step()
		if err != nil || !row {
			return out, err
		}
		r, err := scanBrief(st)
		if err != nil {
			return out, err
		}
		if n := len(out.queue) + len(out.dropped); n > 0 && n+len(r.Targets) > recoverStep {
			out.next, out.more = int64(r.ID), true
			return out, nil
		}
		for i := range r.Targets {
			if err := s.addLost(c, &out, r, i, now); err != nil {
				return out, err
			}
		}
	}
}

// addLost adds a delivery when nobody knows of it.
func (s *Store) addLost(c *conn, out *lost, r *store.EventRecord, i int, now time.Time) error {
	d, err := s.delivery(c, r, i)
	if err != nil || d.NextAttemptAt != nil {
		return err
	}
	switch d.State {
	case patchbay.DeliveryPending:
		out.queue = append(out.queue, store.Queued{
			Delivery: d.ID, Event: r.ID, Link: d.Link, Due: now, Attempts: d.AttemptCount, Used: d.AttemptCount,
		})
	case patchbay.DeliveryCancelled:
		written, err := exists(c, "SELECT 1 FROM attempt INDEXED BY attempt_ended WHERE state = 3 AND state > 1 AND delivery = ?", int64(d.ID))
		if err != nil || written {
			return err
		}
		if written, err = exists(c, "SELECT 1 FROM queue WHERE delivery = ?", int64(d.ID)); err != nil || written {
			return err
		}
		out.dropped = append(out.dropped, store.Outcome{
			Delivery: d.ID, Event: r.ID, Link: d.Link, State: patchbay.DeliveryCancelled,
			Attempt: patchbay.Attempt{At: now, Error: droppedError},
		})
	}
	return nil
}
