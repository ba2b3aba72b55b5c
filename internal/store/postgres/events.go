package postgres

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Events are in one of two tables, so that what matched nothing can be dropped earlier. Lists merge them.

// forever is above every identifier.
const forever = math.MaxInt64

const (
	eventColumns = "id, type, scope, coalesce(also, ''), source, hops, received, occurred, coalesce(origin, 0), missed, targets, actor, payload, erased"

	sqlEvents = "SELECT " + eventColumns + " FROM event WHERE id = ANY($1) UNION ALL SELECT " + eventColumns + " FROM unmatched WHERE id = ANY($1)"

	sqlEventsBefore = "(SELECT " + eventColumns + " FROM event WHERE id < $1 AND id >= $2 AND origin IS NULL ORDER BY id DESC LIMIT $3)" +
		" UNION ALL (SELECT " + eventColumns + " FROM unmatched WHERE id < $1 AND id >= $2 AND origin IS NULL ORDER BY id DESC LIMIT $3)" +
		" ORDER BY id DESC LIMIT $3"

	sqlReplays = "SELECT " + eventColumns + " FROM event WHERE origin = $1 UNION ALL SELECT " + eventColumns + " FROM unmatched WHERE origin = $1 ORDER BY id"

	sqlPayloads = "SELECT id, payload FROM event WHERE id = ANY($1) UNION ALL SELECT id, payload FROM unmatched WHERE id = ANY($1)"
)

// scanRecord reads a row of eventColumns. The payload of a replay is left out.
func scanRecord(row pgx.CollectableRow) (r store.EventRecord, err error) {
	r, targets, err := scanUndecoded(row)
	if err != nil {
		return r, err
	}
	r.Targets, err = readTargets(targets)
	return r, err
}

// scanUndecoded is scanRecord with the targets as they are stored.
func scanUndecoded(row pgx.CollectableRow) (r store.EventRecord, targets []byte, err error) {
	var (
		id, origin       int64
		scope, also      string
		source           string
		received         time.Time
		occurred, erased *time.Time
		actor, payload   []byte
	)
	err = row.Scan(&id, &r.Type, &scope, &also, &source, &r.Hops, &received, &occurred, &origin, &r.Missed, &targets, &actor, &payload, &erased)
	if err != nil {
		return r, nil, err
	}
	r.ID, r.Origin, r.Scope, r.Also = patchbay.EventID(id), patchbay.EventID(origin), patchbay.Scope(scope), splitScopes(also)
	r.ReceivedAt, r.OccurredAt, r.Erased = received.UTC(), utc(occurred), utc(erased)
	if occurred == nil {
		r.OccurredAt = r.ReceivedAt
	}
	r.Actor, r.Payload = actor, payload
	r.Source, err = readSource(source)
	return r, targets, err
}

// readEvents returns those of some events that there are, in no order.
func readEvents(ctx context.Context, q querier, ids []int64) ([]store.EventRecord, error) {
	rows, err := q.Query(ctx, sqlEvents, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRecord)
}

// withOrigins gives replays their origin's payload.
func withOrigins(ctx context.Context, q querier, records []store.EventRecord) error {
	var origins []int64
	for i := range records {
		if o := records[i].Origin; o != 0 {
			origins = append(origins, int64(o))
		}
	}
	if len(origins) == 0 {
		return nil
	}
	rows, err := q.Query(ctx, sqlPayloads, origins)
	if err != nil {
		return err
	}
	payloads := make(map[patchbay.EventID][]byte, len(origins))
	var (
		id      int64
		payload []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
		payloads[patchbay.EventID(id)] = payload
		return nil
	})
	for i := range records {
		if o := records[i].Origin; o != 0 {
			records[i].Payload = payloads[o]
		}
	}
	return err
}

// Event returns an event; see store.Events.
func (s *Store) Event(ctx context.Context, id patchbay.EventID) (r *store.EventRecord, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		found, err := readEvents(ctx, c, []int64{int64(id)})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return store.ErrNotFound
		}
		r = &found[0]
		return withOrigins(ctx, c, found)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Events lists events; see store.Events.
func (s *Store) Events(ctx context.Context, f store.EventFilter) (out []store.EventRecord, err error) {
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
	err = s.read(ctx, func(tx pgx.Tx) error {
		x := newSearch(true)
		x.anyOf(typeWord, f.Types...)
		x.within(f.Within)
		if !x.all() {
			out, err = x.events(ctx, tx, before, from, f.Limit)
			return err
		}
		rows, err := tx.Query(ctx, sqlEventsBefore, before, from, f.Limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanRecord)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// events lists the events that a search finds, replays left out.
func (x *search) events(ctx context.Context, tx pgx.Tx, before, from int64, limit int) ([]store.EventRecord, error) {
	if err := x.start(ctx, tx, before, from); err != nil {
		return nil, err
	}
	var out []store.EventRecord
	for at, end := before-1, false; len(out) < limit && !end; {
		var ids []int64
		for len(ids) < limit-len(out) {
			id, ok, err := x.le(at)
			if err != nil {
				return nil, err
			}
			if end = !ok || id < from; end {
				break
			}
			ids, at = append(ids, id), id-1
		}
		if len(ids) == 0 {
			break
		}
		found, err := readEvents(ctx, tx, ids)
		if err != nil {
			return nil, err
		}
		byID := make(map[int64]*store.EventRecord, len(found))
		for i := range found {
			byID[int64(found[i].ID)] = &found[i]
		}
		for _, id := range ids {
			if r := byID[id]; r != nil && r.Origin == 0 {
				out = append(out, *r)
			}
		}
	}
	return out, nil
}

// Replays lists the replays of an event; see store.Events.
func (s *Store) Replays(ctx context.Context, id patchbay.EventID) (out []store.EventRecord, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sqlReplays, int64(id))
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanRecord)
		for i := range out {
			out[i].Payload = nil
		}
		return err
	})
	return out, err
}
