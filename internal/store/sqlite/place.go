package sqlite

import (
	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// This file writes places in the queue. Of one link's thread only the earliest is not blocked, so that claims see
// those whose turn it is and no others, however many wait behind them.

const (
	insertPlace = `INSERT INTO queue (delivery, event, link, due, attempts, used, thread, blocked, spared)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (delivery) DO UPDATE SET event = excluded.event, link = excluded.link, due = excluded.due,
			attempts = excluded.attempts, used = excluded.used, thread = excluded.thread, blocked = excluded.blocked,
			spared = coalesce(excluded.spared, spared)`
	threadBefore = "SELECT 1 FROM queue INDEXED BY queue_thread WHERE link = ? AND thread = ? AND delivery < ? LIMIT 1"
	blockNext    = `UPDATE queue SET blocked = 1 WHERE delivery =
		(SELECT min(delivery) FROM queue INDEXED BY queue_thread WHERE link = ? AND thread = ? AND delivery > ?)`
	unblockFirst = `UPDATE queue SET blocked = 0 WHERE delivery =
		(SELECT min(delivery) FROM queue INDEXED BY queue_thread WHERE link = ? AND thread = ?) RETURNING delivery, due`
	deletePlace = "DELETE FROM queue WHERE delivery = ? RETURNING link, thread"
)

// enqueue gives a delivery a place, or changes it when replace says that it may have one. spared is the drop of its
// lane that does not concern it; a place that exists keeps its own.
func (w *writer) enqueue(c *conn, q *store.Queued, spared int64, replace bool) error {
	w.lower(lowered{q.Link, q.Delivery, q.Due})
	if replace {
		if err := w.leaveThread(c, q); err != nil {
			return err
		}
	}
	blocked := false
	if q.Thread != "" {
		st, err := c.prepare(threadBefore)
		if err != nil {
			return err
		}
		blocked, err = st.bind(1, int64(q.Link)).bindText(2, q.Thread).bind(3, int64(q.Delivery)).step()
		st.reset()
		if err != nil {
			return err
		}
	}
	st, err := c.prepare(insertPlace)
	if err != nil {
		return err
	}
	st.bind(1, int64(q.Delivery)).bind(2, int64(q.Event)).bind(3, int64(q.Link)).bind(4, q.Due.UnixMicro())
	st.bind(5, int64(q.Attempts)).bind(6, int64(q.Used)).bindSome(7, q.Thread).bind(8, b2i(blocked)).bindID(9, spared)
	if err := st.run(); err != nil || q.Thread == "" || blocked {
		return err
	}
	if st, err = c.prepare(blockNext); err != nil {
		return err
	}
	return st.bind(1, int64(q.Link)).bindText(2, q.Thread).bind(3, int64(q.Delivery)).run()
}

// lower tells the lane of a place that a claim may find from now on.
func (w *writer) lower(x lowered) {
	if w.s.lanes.added(x.link, x.delivery, x.due) {
		w.batch.lowered = append(w.batch.lowered, x)
	}
}

// leaveThread takes a delivery that has a place in another thread out of that.
func (w *writer) leaveThread(c *conn, q *store.Queued) error {
	st, err := c.prepare("SELECT link, thread FROM queue WHERE delivery = ? AND thread IS NOT NULL")
	if err != nil {
		return err
	}
	row, err := st.bind(1, int64(q.Delivery)).step()
	if err != nil || !row || (st.int(0) == int64(q.Link) && string(st.raw(1)) == q.Thread) {
		st.reset()
		return err
	}
	link, thread := st.int(0), st.str(1)
	st.reset()
	if st, err = c.prepare("UPDATE queue SET thread = NULL WHERE delivery = ?"); err != nil {
		return err
	}
	if err := st.bind(1, int64(q.Delivery)).run(); err != nil {
		return err
	}
	return w.unblock(c, link, thread)
}

// unblock gives the first of a thread its turn.
func (w *writer) unblock(c *conn, link int64, thread string) error {
	st, err := c.prepare(unblockFirst)
	if err != nil {
		return err
	}
	defer st.reset()
	row, err := st.bind(1, link).bindText(2, thread).step()
	if err != nil || !row {
		return err
	}
	w.lower(lowered{patchbay.LinkID(link), patchbay.DeliveryID(st.int(0)), st.time(1)})
	_, err = st.step()
	return err
}

// dequeue removes a delivery's place.
func (w *writer) dequeue(c *conn, d patchbay.DeliveryID) error {
	st, err := c.prepare(deletePlace)
	if err != nil {
		return err
	}
	row, err := st.bind(1, int64(d)).step()
	if err != nil || !row {
		st.reset()
		return err
	}
	link, thread := st.int(0), ""
	if !st.isNull(1) {
		thread = st.str(1)
	}
	_, err = st.step()
	st.reset()
	if err != nil || thread == "" {
		return err
	}
	return w.unblock(c, link, thread)
}
