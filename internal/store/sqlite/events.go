package sqlite

import (
	"context"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	eventColumns = "id, type, scope, also, source, hops, received, occurred, origin, missed, targets, actor, payload, erased"

	eventByID     = "SELECT " + eventColumns + " FROM event WHERE id = ?"
	eventsBefore  = "SELECT " + eventColumns + " FROM event WHERE id < ? AND id >= ? AND origin IS NULL ORDER BY id DESC"
	eventPayload  = "SELECT payload FROM event WHERE id = ?"
	eventReplays  = "SELECT " + eventColumns + " FROM event INDEXED BY event_replays WHERE origin = ? ORDER BY id"
	eventBelowIDs = "SELECT id, targets FROM event WHERE id <= ? ORDER BY id DESC"
)

// exists reports whether a query with one parameter has a row.
func exists(c *conn, sql string, id int64) (bool, error) {
	st, err := c.prepare(sql)
	if err != nil {
		return false, err
	}
	defer st.reset()
	return st.bind(1, id).step()
}

// columnTargets is the place of the targets in eventColumns.
const columnTargets = 10

// scanEvent reads a row of eventColumns. The payload of a replay is left out.
func scanEvent(st *stmt, e *patchbay.Event) error {
	*e = patchbay.Event{
		ID: patchbay.EventID(st.int(0)), Type: st.str(1), Scope: patchbay.Scope(st.str(2)), Also: splitScopes(st.str(3)),
		Hops: int(st.int(5)), ReceivedAt: st.time(6), OccurredAt: st.time(7), Origin: patchbay.EventID(st.int(8)),
		Actor: st.bytes(11), Payload: st.bytes(12),
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = e.ReceivedAt
	}
	var err error
	e.Source, err = readSource(st.raw(4))
	return err
}

// scanRecord is scanEvent with what else stands in the row.
func scanRecord(st *stmt) (*store.EventRecord, error) {
	r := &store.EventRecord{Missed: st.int(9) != 0, Erased: st.time(13)}
	if err := scanEvent(st, &r.Event); err != nil {
		return nil, err
	}
	var err error
	r.Targets, err = readTargets(st.raw(columnTargets))
	return r, err
}

// readEvent returns an event, with its origin's payload when it is a replay; nil when there is none.
func readEvent(c *conn, id patchbay.EventID) (*store.EventRecord, error) {
	st, err := c.prepare(eventByID)
	if err != nil {
		return nil, err
	}
	defer st.reset()
	row, err := st.bind(1, int64(id)).step()
	if err != nil || !row {
		return nil, err
	}
	r, err := scanRecord(st)
	if err != nil {
		return nil, err
	}
	return r, withOrigin(c, &r.Event)
}

// withOrigin gives a replay its origin's payload.
func withOrigin(c *conn, e *patchbay.Event) error {
	if e.Origin == 0 {
		return nil
	}
	st, err := c.prepare(eventPayload)
	if err != nil {
		return err
	}
	defer st.reset()
	row, err := st.bind(1, int64(e.Origin)).step()
	if row {
		e.Payload = st.bytes(0)
	}
	return err
}

// Event returns an event; see store.Events.
func (s *Store) Event(ctx context.Context, id patchbay.EventID) (r *store.EventRecord, err error) {
	err = s.read(ctx, func(c *conn) error {
		if r, err = readEvent(c, id); err == nil && r == nil {
			err = store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Events lists events; see store.Events.
func (s *Store) Events(ctx context.Context, f store.EventFilter) ([]store.EventRecord, error) {
	before, from := int64(forever), int64(0)
	if f.Before != 0 {
		before = int64(f.Before)
	}
	if !f.Until.IsZero() {
		before = min(before, patchbay.FirstIDAt(f.Until))
	}
	if !f.Since.IsZero() {
		from = patchbay.FirstIDAt(f.Since)
	}
	search := newSearch(&s.history, true)
	search.anyOf(typeWord, f.Types...)
	search.within(f.Within)
	var out []store.EventRecord
	err := s.read(ctx, func(c *conn) (err error) {
		if search.all() {
			out, err = latest(ctx, c, before, from, f.Limit)
		} else {
			out, err = search.events(ctx, c, before, from, f.Limit)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// latest lists events without a search.
func latest(ctx context.Context, c *conn, before, from int64, limit int) ([]store.EventRecord, error) {
	st, err := c.prepare(eventsBefore)
	if err != nil {
		return nil, err
	}
	defer st.reset()
	st.bind(1, before).bind(2, from)
	var out []store.EventRecord
	for len(out) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row, err := st.step()
		if err != nil || !row {
			return out, err
		}
		r, err := scanRecord(st)
		if err != nil {
			return nil, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// events lists the events that a search finds.
func (x *search) events(ctx context.Context, c *conn, before, from int64, limit int) ([]store.EventRecord, error) {
	x.start(c)
	defer x.end()
	var out []store.EventRecord
	for at := before - 1; len(out) < limit; at-- {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id, ok, err := x.le(at)
		if err != nil {
			return nil, err
		}
		if !ok || id < from {
			break
		}
		at = id
		r, err := readEvent(c, patchbay.EventID(id))
		if err != nil {
			return nil, err
		}
		if r != nil && r.Origin == 0 {
			out = append(out, *r)
		}
	}
	return out, nil
}

// Replays lists the replays of an event; see store.Events.
func (s *Store) Replays(ctx context.Context, id patchbay.EventID) (out []store.EventRecord, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(eventReplays)
		if err != nil {
			return err
		}
		defer st.reset()
		st.bind(1, int64(id))
		for {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			r, err := scanRecord(st)
			if err != nil {
				return err
			}
			r.Payload = nil
			out = append(out, *r)
		}
	})
	return out, err
}
