package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// spared is a claim's second source where a lane has dropped its backlog: the few rows that were put back by hand.
const (
	queueDue = `SELECT delivery, event, due, attempts, used, thread FROM queue INDEXED BY queue_due
		WHERE link = ? AND due BETWEEN ? AND ? AND delivery >= ? ORDER BY due, delivery`
	queueSpared = `SELECT delivery, event, due, attempts, used, thread FROM queue INDEXED BY queue_spared
		WHERE link = ? AND spared IS NOT NULL AND due <= ? AND delivery < ? AND spared >= ? ORDER BY due, delivery`
	queueCount = `SELECT count(*) FROM (SELECT 1 FROM queue INDEXED BY queue_due
		WHERE link = ? AND delivery >= ? LIMIT ?)`
	queueCountSpared = `SELECT count(*) FROM queue INDEXED BY queue_spared
		WHERE link = ? AND spared IS NOT NULL AND delivery < ? AND spared >= ?`
	queueNextLink = `SELECT link, due FROM queue INDEXED BY queue_due WHERE link > ? ORDER BY link, due LIMIT 1`
)

// forever is later than any due time.
const forever = 1<<63 - 1

// waiting calls f for a link's deliveries that are due at most at until, the earliest first, until it returns false.
// The statement's columns are those of queueDue.
func (s *Store) waiting(c *conn, link patchbay.LinkID, until int64, f func(*stmt) bool) error {
	d := s.lanes.drop(link)
	st, err := c.prepare(queueDue)
	if err != nil {
		return err
	}
	defer st.reset()
	st.bind(1, int64(link)).bind(2, d.from).bind(3, until).bind(4, int64(d.before))
	row, err := st.step()
	if err != nil {
		return err
	}
	if row {
		s.lanes.learn(link, d, st.int(2))
	} else if until == forever {
		s.lanes.learn(link, d, forever)
	}
	var spared *stmt
	back := false
	if d.before != 0 {
		if spared, err = c.prepare(queueSpared); err != nil {
			return err
		}
		defer spared.reset()
		spared.bind(1, int64(link)).bind(2, until).bind(3, int64(d.before)).bind(4, int64(d.before))
		if back, err = spared.step(); err != nil {
			return err
		}
	}
	for row || back {
		if back && (!row || spared.int(2) < st.int(2)) {
			if !f(spared) {
				return nil
			}
			back, err = spared.step()
		} else {
			if !f(st) {
				return nil
			}
			row, err = st.step()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func queued(st *stmt, link patchbay.LinkID) store.Queued {
	return store.Queued{
		Delivery: patchbay.DeliveryID(st.int(0)), Event: patchbay.EventID(st.int(1)), Link: link, Due: st.time(2),
		Attempts: int(st.int(3)), Used: int(st.int(4)), Thread: st.str(5),
	}
}

// Due returns what is due of a link; see store.Queue.
func (s *Store) Due(ctx context.Context, link patchbay.LinkID, now time.Time, limit int, skip func(patchbay.DeliveryID) bool) ([]store.Claimed, error) {
	var out []store.Claimed
	err := s.read(ctx, func(c *conn) error {
		err := s.waiting(c, link, now.UnixMicro(), func(st *stmt) bool {
			if len(out) >= limit {
				return false
			}
			if skip == nil || !skip(patchbay.DeliveryID(st.int(0))) {
				out = append(out, store.Claimed{Queued: queued(st, link)})
			}
			return len(out) < limit
		})
		if err != nil {
			return err
		}
		kept := out[:0]
		for i := range out {
			if err := ctx.Err(); err != nil {
				return err
			}
			found, err := claim(c, &out[i])
			if err != nil {
				return err
			}
			if found {
				kept = append(kept, out[i])
			}
		}
		out = kept
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// claim adds the event and the link's revision.
func claim(c *conn, x *store.Claimed) (bool, error) {
	r, err := readEvent(c, x.Queued.Event)
	if err != nil || r == nil {
		return false, err
	}
	x.Event = r.Event
	if i := int(int64(x.Delivery)-int64(x.Queued.Event))/patchbay.IDStep - 1; i >= 0 && i < len(r.Targets) {
		x.Revision = r.Targets[i].Revision
	}
	return true, nil
}

// NextDue returns when a link's next delivery is due; see store.Queue.
func (s *Store) NextDue(ctx context.Context, link patchbay.LinkID, skip func(patchbay.DeliveryID) bool) (at time.Time, ok bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		at, ok, err = s.nextDue(c, link, skip)
		return err
	})
	return at, ok, err
}

func (s *Store) nextDue(c *conn, link patchbay.LinkID, skip func(patchbay.DeliveryID) bool) (at time.Time, ok bool, err error) {
	err = s.waiting(c, link, forever, func(st *stmt) bool {
		if skip != nil && skip(patchbay.DeliveryID(st.int(0))) {
			return true
		}
		at, ok = st.time(2), true
		return false
	})
	return at, ok, err
}

// Waiting counts what waits of a link; see store.Queue.
func (s *Store) Waiting(ctx context.Context, link patchbay.LinkID, limit int) (int, error) {
	n := 0
	err := s.read(ctx, func(c *conn) error {
		d := s.lanes.drop(link)
		st, err := c.prepare(queueCount)
		if err != nil {
			return err
		}
		defer st.reset()
		if _, err := st.bind(1, int64(link)).bind(2, int64(d.before)).bind(3, int64(limit)).step(); err != nil {
			return err
		}
		n = int(st.int(0))
		if d.before == 0 || n >= limit {
			return nil
		}
		sp, err := c.prepare(queueCountSpared)
		if err != nil {
			return err
		}
		defer sp.reset()
		if _, err := sp.bind(1, int64(link)).bind(2, int64(d.before)).bind(3, int64(d.before)).step(); err != nil {
			return err
		}
		n = min(limit, n+int(sp.int(0)))
		return nil
	})
	return n, err
}

// Waited returns every link that has deliveries in the queue; see store.Queue. It jumps from link to link in the
// index, so it costs by links and not by deliveries.
func (s *Store) Waited(ctx context.Context) (map[patchbay.LinkID]time.Time, error) {
	out := make(map[patchbay.LinkID]time.Time)
	err := s.read(ctx, func(c *conn) error {
		st, err := c.prepare(queueNextLink)
		if err != nil {
			return err
		}
		defer st.reset()
		for last := int64(-1); ; {
			row, err := st.bind(1, last).step()
			if err != nil || !row {
				return err
			}
			last = st.int(0)
			link, due := patchbay.LinkID(last), st.time(1)
			st.reset()
			if s.lanes.drop(link).before == 0 {
				out[link] = due
				continue
			}
			due, ok, err := s.nextDue(c, link, nil)
			if err != nil {
				return err
			}
			if ok {
				out[link] = due
			}
		}
	})
	return out, err
}

// Enqueue gives deliveries a place in the queue; see store.Queue.
func (s *Store) Enqueue(ctx context.Context, q []store.Queued) error {
	if len(q) == 0 {
		return nil
	}
	return s.do(ctx, func(c *conn) error {
		for i := range q {
			found, err := exists(c, "SELECT 1 FROM event WHERE id = ?", int64(q[i].Event))
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("the event %s of the delivery %s: %w", q[i].Event, q[i].Delivery, store.ErrNotFound)
			}
			spared := int64(0)
			if before := s.lanes.dropped(q[i].Link); before > q[i].Delivery {
				spared = int64(before)
			}
			if err := s.w.enqueue(c, &q[i], spared); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		for i := range q {
			s.floor.Settle(q[i].Event, q[i].Delivery)
		}
	})
}
