package sqlite

import "time"

// marks are identifiers of events below which something is settled, so that a start need not look there. They move
// up now and then. Identifiers are taken before commits, so an event may be committed below a mark: the same
// transaction then moves the mark down to it.
type marks struct {
	floor   int64 // every delivery has an attempt or a place in the queue
	history int64 // every event is in a block
	keys    int64 // every key is in idempotency
}

func (w *writer) loadMarks(c *conn) error {
	st, err := c.prepare("SELECT floor, history, keys FROM node WHERE node = ?")
	if err != nil {
		return err
	}
	defer st.reset()
	row, err := st.bind(1, int64(w.s.o.Node)).step()
	if err != nil || !row {
		return err
	}
	w.marks = marks{floor: st.int(0), history: st.int(1), keys: st.int(2)}
	return nil
}

// writeMarks moves marks down where the transaction needs it, and up when it is time.
func (w *writer) writeMarks() error {
	b := &w.batch
	m := w.marks
	if time.Since(w.markedAt) >= w.s.o.limits.markEvery || b.block || b.keysDone {
		if w.s.recovery.done.Load() {
			m.floor = max(m.floor, int64(w.s.floor.Value()))
		}
		m.history = max(m.history, w.s.history.low(b.block))
		m.keys = max(m.keys, w.s.keys.low(b.keysDone))
	}
	if b.lowest != 0 {
		m.floor = min(m.floor, b.lowest)
		m.history = min(m.history, b.lowest)
		m.keys = min(m.keys, b.lowest)
	}
	if m == w.marks {
		return nil
	}
	st, err := w.c.prepare(`INSERT INTO node (node, floor, history, keys) VALUES (?, ?, ?, ?)
		ON CONFLICT (node) DO UPDATE SET floor = excluded.floor, history = excluded.history, keys = excluded.keys`)
	if err != nil {
		return err
	}
	if err := st.bind(1, int64(w.s.o.Node)).bind(2, m.floor).bind(3, m.history).bind(4, m.keys).run(); err != nil {
		return err
	}
	b.marks = &m
	return nil
}
