package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// readBack reads what a chunk has written.
func (s *Store) readBack(ctx context.Context, tx pgx.Tx, c *store.Chunk) (*store.Chunk, error) {
	out := &store.Chunk{Part: c.Part}
	var err error
	switch c.Part {
	case store.PartEvents:
		out.Events, err = backEvents(ctx, tx, c.Events)
	case store.PartLinks:
		out.Links, err = s.backLinks(ctx, tx, c.Links)
	case store.PartConnections:
		out.Connections, err = s.backConnections(ctx, tx, c.Connections)
	case store.PartHooks:
		out.Hooks, err = backHooks(ctx, tx, c.Hooks)
	case store.PartAudit:
		out.Audit, err = backAudit(ctx, tx, c.Audit)
	case store.PartThreads:
		out.Threads, err = backThreads(ctx, tx, c.Threads)
	default:
		// Small or of no consequence: their rows are counted at the end.
		return c, nil
	}
	return out, err
}

func (s *Store) backLinks(ctx context.Context, tx pgx.Tx, links []store.LinkRevision) ([]store.LinkRevision, error) {
	ids, revisions := make([]int64, len(links)), make([]int32, len(links))
	for i := range links {
		ids[i], revisions[i] = int64(links[i].Link.ID), int32(links[i].Link.Revision)
	}
	rows, err := tx.Query(ctx, `SELECT id, revision, data, coalesce(ended, 0) FROM link JOIN unnest($1::bigint[], $2::integer[]) AS x (i, r) ON id = i AND revision = r
		ORDER BY id, revision`, ids, revisions)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l store.LinkRevision, err error) {
		var r linkRow
		if err := row.Scan(append(r.fields(), &l.Ended)...); err != nil {
			return l, err
		}
		link, err := s.linkOf(ctx, &r)
		if err == nil {
			l.Link = *link
		}
		return l, err
	})
}

func (s *Store) backConnections(ctx context.Context, tx pgx.Tx, connections []patchbay.Connection) ([]patchbay.Connection, error) {
	ids := make([]int64, len(connections))
	for i := range connections {
		ids[i] = int64(connections[i].ID)
	}
	rows, err := tx.Query(ctx, "SELECT "+connectionColumns+" FROM connection WHERE id = ANY($1) ORDER BY id", ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (patchbay.Connection, error) {
		var r connectionRow
		if err := row.Scan(r.fields()...); err != nil {
			return patchbay.Connection{}, err
		}
		c, err := s.connection(ctx, &r)
		if err != nil {
			return patchbay.Connection{}, err
		}
		return *c, nil
	})
}

func backHooks(ctx context.Context, tx pgx.Tx, hooks []store.Hook) ([]store.Hook, error) {
	ids := make([]int64, len(hooks))
	for i := range hooks {
		ids[i] = int64(hooks[i].ID)
	}
	rows, err := tx.Query(ctx, "SELECT "+hookColumns+" FROM hook WHERE id = ANY($1) ORDER BY id", ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Hook, error) { return scanHook(row, true) })
}

func backThreads(ctx context.Context, tx pgx.Tx, threads []store.ThreadUpdateOf) ([]store.ThreadUpdateOf, error) {
	links, names := make([]int64, len(threads)), make([][]byte, len(threads))
	for i := range threads {
		links[i], names[i] = int64(threads[i].Link), []byte(threads[i].Thread)
	}
	rows, err := tx.Query(ctx, `SELECT link, thread, reference, event FROM thread JOIN unnest($1::bigint[], $2::bytea[]) AS x (l, t) ON link = l AND thread = t
		ORDER BY link, thread`, links, names)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t store.ThreadUpdateOf, err error) {
		var thread, reference []byte
		err = row.Scan(&t.Link, &thread, &reference, &t.Event)
		t.Thread, t.Reference = string(thread), string(reference)
		return t, err
	})
}

const (
	sqlBackAttempts = `SELECT a.delivery, a.n, a.state, a.at, a.duration, a.verdict, coalesce(a.error_type, ''), a.error, a.code, a.request, r.body
		FROM attempt a LEFT JOIN response r ON r.id = a.response WHERE a.delivery = ANY($1) ORDER BY a.delivery, a.seq`
	sqlBackQueue = `SELECT delivery, event, link, due, attempts, used, thread, coalesce(spared, 0) FROM queue WHERE delivery = ANY($1) ORDER BY delivery`
	sqlBackKeys  = "SELECT key, body, until, event FROM idempotency WHERE key = ANY($1)"
)

func backEvents(ctx context.Context, tx pgx.Tx, events []store.MovedEvent) ([]store.MovedEvent, error) {
	ids := make([]int64, len(events))
	var deliveries []int64
	var keys [][16]byte
	for i := range events {
		ids[i] = int64(events[i].ID)
		for j := range events[i].Targets {
			deliveries = append(deliveries, int64(patchbay.DeliveryAt(events[i].ID, j+1)))
		}
		if k := events[i].Idempotency; k != nil {
			keys = append(keys, k.Key)
		}
	}
	records, err := readEvents(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(records, func(a, b store.EventRecord) int { return int(a.ID>>1 - b.ID>>1) })
	out := make([]store.MovedEvent, len(records))
	owner := map[patchbay.DeliveryID]*store.MovedEvent{}
	byID := map[patchbay.EventID]*store.MovedEvent{}
	for i := range records {
		out[i].EventRecord = records[i]
		byID[records[i].ID] = &out[i]
		for j := range records[i].Targets {
			owner[patchbay.DeliveryAt(records[i].ID, j+1)] = &out[i]
		}
	}
	err = errors.Join(
		eachRow(ctx, tx, sqlBackAttempts, deliveries, func(row pgx.CollectableRow) error {
			a, err := scanMoved(row)
			if m := owner[a.Delivery]; m != nil {
				m.Attempts = append(m.Attempts, a)
			}
			return err
		}),
		eachRow(ctx, tx, sqlBackQueue, deliveries, func(row pgx.CollectableRow) error {
			var p store.Place
			var thread []byte
			err := row.Scan(&p.Delivery, &p.Queued.Event, &p.Link, &p.Due, &p.Attempts, &p.Used, &thread, &p.Spared)
			p.Due, p.Thread = p.Due.UTC(), string(thread)
			if m := owner[p.Delivery]; m != nil {
				m.Queue = append(m.Queue, p)
			}
			return err
		}),
		eachRow(ctx, tx, sqlBackKeys, keys, func(row pgx.CollectableRow) error {
			var i store.Idempotency
			var event int64
			err := row.Scan(&i.Key, &i.Body, &i.Until, &event)
			i.Until = i.Until.UTC()
			if m := byID[patchbay.EventID(event)]; m != nil {
				m.Idempotency = &i
			}
			return err
		}),
	)
	return out, err
}

// eachRow calls f for every row of a query with one parameter.
func eachRow(ctx context.Context, tx pgx.Tx, sql string, parameter any, f func(pgx.CollectableRow) error) error {
	rows, err := tx.Query(ctx, sql, parameter)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanMoved(row pgx.CollectableRow) (a store.MovedAttempt, err error) {
	var (
		state, verdict       int16
		at                   *time.Time
		message, request, re []byte
		code                 string
	)
	err = row.Scan(&a.Delivery, &a.N, &state, &at, &a.Attempt.DurationMS, &verdict, &code, &message, &a.Attempt.ResponseCode, &request, &re)
	if err != nil {
		return a, err
	}
	a.State, a.Attempt.Verdict, a.Attempt.At = stateOf(state), verdictOf(verdict), utc(at)
	a.Attempt.ErrorType, a.Attempt.Error, a.Attempt.ResponseBody = patchbay.Code(code), string(message), string(re)
	a.Attempt.Request, err = readRequest(bytes.Clone(request))
	return a, err
}
