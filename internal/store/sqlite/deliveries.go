package sqlite

import (
	"context"
	"slices"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	attemptColumns = "a.id, a.n, a.state, a.verdict, a.at, a.duration, a.error_type, a.error, a.code, a.request, r.body"

	attemptFirst = "SELECT " + attemptColumns + " FROM attempt a LEFT JOIN response r ON r.attempt = a.id WHERE a.id = ?"
	attemptLater = "SELECT " + attemptColumns + " FROM attempt a LEFT JOIN response r ON r.attempt = a.id" +
		" WHERE a.delivery = ?1 AND a.id <> ?1 ORDER BY a.id"
	stateFirst = "SELECT n, state FROM attempt WHERE id = ?"
	stateLater = "SELECT n, state FROM attempt WHERE delivery = ?1 AND id <> ?1 ORDER BY id"
	queueRow   = "SELECT due, attempts, spared, used FROM queue WHERE delivery = ?"

	lastAnswer  = "SELECT body FROM response WHERE attempt = coalesce((SELECT max(id) FROM attempt WHERE delivery = ?1 AND id <> ?1), ?1)"
	lastColumns = "verdict, at, duration, error_type, error, code"
	lastFirst   = "SELECT " + lastColumns + " FROM attempt WHERE id = ?"
	lastLater   = "SELECT " + lastColumns + " FROM attempt WHERE delivery = ?1 AND id <> ?1 ORDER BY id DESC LIMIT 1"
)

// eventOf returns the event that a delivery belongs to; nil when there is none.
func eventOf(c *conn, d patchbay.DeliveryID) (*store.EventRecord, error) {
	st, err := c.prepare(eventBelowIDs)
	if err != nil {
		return nil, err
	}
	defer st.reset()
	st.bind(1, int64(d)-1)
	for {
		row, err := st.step()
		if err != nil || !row {
			return nil, err
		}
		id := st.int(0)
		if (int64(d)-id)%patchbay.IDStep != 0 {
			continue // another node's: identifiers of nodes mix
		}
		if n := countTargets(st.raw(1)); d > patchbay.DeliveryAt(patchbay.EventID(id), n) {
			return nil, nil
		}
		return readBrief(c, patchbay.EventID(id))
	}
}

// briefColumns are what of an event its deliveries show.
const (
	briefColumns = "id, type, scope, targets"
	briefByID    = "SELECT " + briefColumns + " FROM event WHERE id = ?"
	briefsBefore = "SELECT " + briefColumns + " FROM event WHERE id < ? AND id >= ? AND targets IS NOT NULL ORDER BY id DESC"
	briefsFrom   = "SELECT " + briefColumns + " FROM event WHERE id >= ? AND targets IS NOT NULL ORDER BY id"
)

// scanBrief reads a row of briefColumns.
func scanBrief(st *stmt) (*store.EventRecord, error) {
	r := &store.EventRecord{Event: patchbay.Event{ID: patchbay.EventID(st.int(0)), Type: st.str(1), Scope: patchbay.Scope(st.str(2))}}
	var err error
	r.Targets, err = readTargets(st.raw(3))
	return r, err
}

// readBrief returns of an event what its deliveries show; nil when there is none.
func readBrief(c *conn, id patchbay.EventID) (*store.EventRecord, error) {
	st, err := c.prepare(briefByID)
	if err != nil {
		return nil, err
	}
	defer st.reset()
	row, err := st.bind(1, int64(id)).step()
	if err != nil || !row {
		return nil, err
	}
	return scanBrief(st)
}

// delivery makes a delivery of an event, without its attempts.
func (s *Store) delivery(c *conn, e *store.EventRecord, i int) (*patchbay.Delivery, error) {
	t := &e.Targets[i]
	d := &patchbay.Delivery{
		ID: patchbay.DeliveryAt(e.ID, i+1), Event: e.ID, EventType: e.Type, Scope: e.Scope,
		Link: t.Link, Integration: t.Integration, Revision: t.Revision, State: patchbay.DeliveryPending,
	}
	for _, sql := range []string{stateFirst, stateLater} {
		st, err := c.prepare(sql)
		if err != nil {
			return nil, err
		}
		st.bind(1, int64(d.ID))
		for {
			row, err := st.step()
			if err != nil {
				st.reset()
				return nil, err
			}
			if !row {
				break
			}
			d.AttemptCount = max(d.AttemptCount, int(st.int(0)))
			d.State = stateOf(st.int(1))
		}
		st.reset()
	}
	st, err := c.prepare(queueRow)
	if err != nil {
		return nil, err
	}
	defer st.reset()
	dropped := s.lanes.dropped(t.Link)
	waits, err := st.bind(1, int64(d.ID)).step()
	switch {
	case err != nil:
		return nil, err
	case waits && d.ID < dropped && st.int(2) < int64(dropped):
		d.State = patchbay.DeliveryCancelled
	case waits:
		d.State = patchbay.DeliveryPending
		due := st.time(0)
		d.NextAttemptAt = &due
		d.AttemptCount, d.Used = max(d.AttemptCount, int(st.int(1))), int(st.int(3))
	case d.State == patchbay.DeliveryPending && d.ID < dropped:
		d.State = patchbay.DeliveryCancelled
	}
	return d, nil
}

// withAttempts adds the attempts.
func withAttempts(c *conn, d *patchbay.Delivery) error {
	for _, sql := range []string{attemptFirst, attemptLater} {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		st.bind(1, int64(d.ID))
		for {
			row, err := st.step()
			if err != nil {
				st.reset()
				return err
			}
			if !row {
				break
			}
			a := patchbay.Attempt{
				Verdict: verdictOf(st.int(3)), At: st.time(4), DurationMS: st.int(5), ErrorType: patchbay.Code(st.str(6)),
				Error: st.str(7), ResponseCode: int(st.int(8)), ResponseBody: st.str(10),
			}
			if a.Request, err = readRequest(st.raw(9)); err != nil {
				st.reset()
				return err
			}
			d.Attempts = append(d.Attempts, a)
		}
		st.reset()
	}
	return nil
}

// Delivery returns a delivery; see store.Deliveries.
func (s *Store) Delivery(ctx context.Context, id patchbay.DeliveryID) (d *patchbay.Delivery, err error) {
	err = s.read(ctx, func(c *conn) error {
		e, err := eventOf(c, id)
		if err != nil {
			return err
		}
		if e == nil {
			return store.ErrNotFound
		}
		d, err = s.delivery(c, e, int(int64(id)-int64(e.ID))/patchbay.IDStep-1)
		if err != nil {
			return err
		}
		return withAttempts(c, d)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// OfEvent returns the deliveries of an event; see store.Deliveries.
func (s *Store) OfEvent(ctx context.Context, id patchbay.EventID) (out []patchbay.Delivery, err error) {
	err = s.read(ctx, func(c *conn) error {
		e, err := readBrief(c, id)
		if err != nil {
			return err
		}
		if e == nil {
			return store.ErrNotFound
		}
		for i := range e.Targets {
			d, err := s.delivery(c, e, i)
			if err != nil {
				return err
			}
			if err := withAttempts(c, d); err != nil {
				return err
			}
			out = append(out, *d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Thread returns what is remembered of a thread; see store.Deliveries.
func (s *Store) Thread(ctx context.Context, link patchbay.LinkID, thread string) (out store.ThreadState, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT reference, event FROM thread WHERE link = ? AND thread = ?")
		if err != nil {
			return err
		}
		defer st.reset()
		row, err := st.bind(1, int64(link)).bindText(2, thread).step()
		if row {
			out = store.ThreadState{Reference: st.str(0), Event: patchbay.EventID(st.int(1))}
		}
		return err
	})
	return out, err
}

// LastAttempts returns how each of some deliveries went last; see store.Deliveries.
func (s *Store) LastAttempts(ctx context.Context, ids []patchbay.DeliveryID) (map[patchbay.DeliveryID]patchbay.Attempt, error) {
	out := make(map[patchbay.DeliveryID]patchbay.Attempt, len(ids))
	err := s.read(ctx, func(c *conn) error {
		for _, id := range ids {
			for _, sql := range []string{lastLater, lastFirst} {
				st, err := c.prepare(sql)
				if err != nil {
					return err
				}
				row, err := st.bind(1, int64(id)).step()
				if row {
					out[id] = patchbay.Attempt{
						Verdict: verdictOf(st.int(0)), At: st.time(1), DurationMS: st.int(2), ErrorType: patchbay.Code(st.str(3)),
						Error: st.str(4), ResponseCode: int(st.int(5)),
					}
				}
				st.reset()
				if err != nil {
					return err
				}
				if row {
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Answers returns what was answered to last attempts; see store.Deliveries.
func (s *Store) Answers(ctx context.Context, ids []patchbay.DeliveryID) (map[patchbay.DeliveryID]string, error) {
	out := make(map[patchbay.DeliveryID]string, len(ids))
	err := s.read(ctx, func(c *conn) error {
		st, err := c.prepare(lastAnswer)
		if err != nil {
			return err
		}
		defer st.reset()
		for _, id := range ids {
			row, err := st.bind(1, int64(id)).step()
			if row {
				out[id] = st.str(0)
			}
			st.reset()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Deliveries lists deliveries; see store.Deliveries.
func (s *Store) Deliveries(ctx context.Context, f store.DeliveryFilter) ([]patchbay.Delivery, error) {
	l := s.newListing(&f)
	var out []patchbay.Delivery
	err := s.read(ctx, func(c *conn) error {
		if err := l.start(c); err != nil {
			return err
		}
		defer l.end()
		for len(out) < f.Limit {
			if err := ctx.Err(); err != nil {
				return err
			}
			d, err := l.next()
			if err != nil || d == nil {
				return err
			}
			if l.wants(d) {
				out = append(out, *d)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// wants checks what of the filter concerns the delivery itself.
func (l *listing) wants(d *patchbay.Delivery) bool {
	f := l.f
	if d.State == patchbay.DeliveryPending && f.Held != nil && f.Held(d.Link) {
		d.State = patchbay.DeliveryHeld
	}
	return (len(f.States) == 0 || slices.Contains(f.States, d.State)) &&
		(f.Link == 0 || d.Link == f.Link) &&
		(len(f.Links) == 0 || slices.Contains(f.Links, d.Link)) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, d.EventType)) &&
		(f.Integration == "" || d.Integration == f.Integration) &&
		f.Within.Contains(d.Scope) && int64(d.Event) >= l.from
}
