package sqlite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	queueColumns = "delivery, event, due, attempts, used, thread"
	queueOrder   = " ORDER BY due, delivery"

	queueDue = "SELECT " + queueColumns + ` FROM queue INDEXED BY queue_due
		WHERE link = ? AND blocked = 0 AND due BETWEEN ? AND ? AND delivery >= ?` + queueOrder

	// The other two are for lanes that have dropped something, while that stands in the queue: what was put back by
	// hand, and what is blocked only by rows that are dropped. Parameters: link, due, dropped before.
	queueSpared = "SELECT " + queueColumns + ` FROM queue AS q INDEXED BY queue_spared
		WHERE link = ?1 AND spared >= ?3 AND due <= ?2 AND delivery < ?3 AND (blocked = 0 OR ` + nobodyBefore + ")" + queueOrder
	queueFreed = "SELECT " + queueColumns + ` FROM queue AS q INDEXED BY queue_due
		WHERE link = ?1 AND blocked = 1 AND due <= ?2 AND delivery >= ?3 AND ` + nobodyBefore + queueOrder
	nobodyBefore = `NOT EXISTS (SELECT 1 FROM queue AS e INDEXED BY queue_thread
		WHERE e.link = q.link AND e.thread = q.thread AND e.delivery < q.delivery AND (e.delivery >= ?3 OR e.spared >= ?3))`

	queueCount = `SELECT count(*) FROM (SELECT 1 FROM queue INDEXED BY queue_due
		WHERE link = ? AND delivery >= ? LIMIT ?)`
	queueCountSpared = `SELECT count(*) FROM queue INDEXED BY queue_spared
		WHERE link = ? AND delivery < ? AND spared >= ?`
	queueNextLink = `SELECT link, due FROM queue INDEXED BY queue_due WHERE link > ? ORDER BY link, blocked, due LIMIT 1`
)

// forever is later than any due time.
const forever = 1<<63 - 1

// waiting calls f for a link's deliveries whose turn it is and that are due at most at until, the earliest first,
// until f returns false. The statement's columns are queueColumns.
func (s *Store) waiting(c *conn, link patchbay.LinkID, until int64, f func(*stmt) bool) error {
	d := s.lanes.drop(link)
	st, err := c.prepare(queueDue)
	if err != nil {
		return err
	}
	defer st.reset()
	row, err := st.bind(1, int64(link)).bind(2, d.from).bind(3, until).bind(4, int64(d.before)).step()
	if err != nil {
		return err
	}
	if row {
		s.lanes.learn(link, d, st.int(2))
	} else {
		s.lanes.learn(link, d, until)
	}
	if d.before == 0 {
		for row && f(st) {
			if row, err = st.step(); err != nil {
				return err
			}
		}
		return nil
	}
	return merge(c, link, until, d.before, f, st, row)
}

// merge is waiting for a lane that has dropped something: rows come from three queries.
func merge(c *conn, link patchbay.LinkID, until int64, before patchbay.DeliveryID, f func(*stmt) bool, st *stmt, row bool) error {
	open := make([]*stmt, 0, 3)
	if row {
		open = append(open, st)
	}
	for _, sql := range []string{queueSpared, queueFreed} {
		other, err := c.prepare(sql)
		if err != nil {
			return err
		}
		defer other.reset()
		row, err := other.bind(1, int64(link)).bind(2, until).bind(3, int64(before)).step()
		if err != nil {
			return err
		}
		if row {
			open = append(open, other)
		}
	}
	for len(open) > 0 {
		first := 0
		for i := range open {
			a, b := open[i], open[first]
			if a.int(2) < b.int(2) || a.int(2) == b.int(2) && a.int(0) < b.int(0) {
				first = i
			}
		}
		if !f(open[first]) {
			return nil
		}
		row, err := open[first].step()
		if err != nil {
			return err
		}
		if !row {
			open = slices.Delete(open, first, first+1)
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
	st, err := c.prepare(eventByID)
	if err != nil {
		return false, err
	}
	defer st.reset()
	row, err := st.bind(1, int64(x.Queued.Event)).step()
	if err != nil || !row {
		return false, err
	}
	if err := scanEvent(st, &x.Event); err != nil {
		return false, err
	}
	x.Revision = revisionAt(st.raw(columnTargets), int(int64(x.Delivery)-int64(x.Queued.Event))/patchbay.IDStep-1)
	return true, withOrigin(c, &x.Event)
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
			if err := s.w.enqueue(c, &q[i], spared, true); err != nil {
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
