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
		var lost []store.Queued
		more := false
		err := s.read(ctx, func(c *conn) (err error) {
			lost, from, more, err = s.lost(c, from, now)
			return err
		})
		if err != nil {
			return found, err
		}
		if err := s.Enqueue(ctx, lost); err != nil {
			return found, err
		}
		found += len(lost)
		if !more {
			break
		}
	}
	s.recovery.done.Store(true)
	return found, nil
}

// lost looks through events from an identifier on, until it has enough deliveries or there are no more. It returns
// where to go on.
func (s *Store) lost(c *conn, from int64, now time.Time) (out []store.Queued, next int64, more bool, err error) {
	st, err := c.prepare("SELECT id, targets FROM event WHERE id >= ? AND targets IS NOT NULL ORDER BY id")
	if err != nil {
		return nil, 0, false, err
	}
	defer st.reset()
	st.bind(1, from)
	for {
		row, err := st.step()
		if err != nil || !row {
			return out, from, false, err
		}
		targets, err := readTargets(st.raw(1))
		if err != nil {
			return nil, 0, false, err
		}
		r := &store.EventRecord{Event: patchbay.Event{ID: patchbay.EventID(st.int(0))}, Targets: targets}
		if len(out) > 0 && len(out)+len(targets) > recoverStep {
			return out, int64(r.ID), true, nil
		}
		for i := range targets {
			d, err := s.delivery(c, r, i)
			if err != nil {
				return nil, 0, false, err
			}
			if d.State != patchbay.DeliveryPending || d.NextAttemptAt != nil {
				continue
			}
			out = append(out, store.Queued{
				Delivery: d.ID, Event: r.ID, Link: d.Link, Due: now, Attempts: d.AttemptCount, Used: d.AttemptCount,
			})
		}
	}
}
