package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	queueColumns = "q.delivery, q.event, q.due, q.attempts, q.used, q.thread"

	// What is due of a lane that has dropped nothing. Parameters: link, due, and the due and delivery to go on behind.
	queueDue = "SELECT " + queueColumns + ` FROM queue AS q
		WHERE q.link = $1 AND NOT q.blocked AND q.due <= $2 AND (q.due, q.delivery) > ($3, $4)
		ORDER BY q.due, q.delivery LIMIT $5`

	// Of one that has: what lies above, what was put back by hand, and what is blocked only by what is dropped. $6 is the
	// lane's drop.
	queueDueDropped = "SELECT " + queueColumns + ` FROM (
			SELECT * FROM queue WHERE link = $1 AND NOT blocked AND due <= $2 AND delivery >= $6 AND (due, delivery) > ($3, $4)
			UNION ALL
			SELECT * FROM queue AS s WHERE link = $1 AND spared >= $6 AND due <= $2 AND delivery < $6 AND (due, delivery) > ($3, $4)
				AND (NOT blocked OR ` + nobodyBefore + `)
			UNION ALL
			SELECT * FROM queue AS s WHERE link = $1 AND blocked AND due <= $2 AND delivery >= $6 AND (due, delivery) > ($3, $4)
				AND ` + nobodyBefore + `
		) AS q ORDER BY q.due, q.delivery LIMIT $5`
	nobodyBefore = `NOT EXISTS (SELECT FROM queue AS e
		WHERE e.link = s.link AND e.thread = s.thread AND e.delivery < s.delivery AND (e.delivery >= $6 OR e.spared >= $6))`

	queueCount = `SELECT count(*) FROM (SELECT FROM queue WHERE link = $1 AND (delivery >= $2 OR spared >= $2) LIMIT $3) AS x`

	// It jumps from link to link in the index, so it costs by links and not by deliveries.
	queueLinks = `WITH RECURSIVE first AS (
			(SELECT link, due FROM queue WHERE NOT blocked ORDER BY link, due LIMIT 1)
			UNION ALL
			SELECT n.link, n.due FROM first, LATERAL (
				SELECT q.link, q.due FROM queue AS q WHERE NOT q.blocked AND q.link > first.link ORDER BY q.link, q.due LIMIT 1) AS n
		)
		SELECT first.link, first.due, coalesce(lane.drop_before, 0) FROM first LEFT JOIN lane USING (link)`

	laneDrop = "SELECT coalesce((SELECT drop_before FROM lane WHERE link = $1), 0)"
)

// claimPageMost is the largest page in which places in the queue are read.
const claimPageMost = 4096

// infinity is later than any due time.
var infinity = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// asker is a connection, or a transaction on one.
type asker interface {
	querier
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// waiting calls f for a link's deliveries whose turn it is and that are due at most at until, the earliest first, until f
// returns false. It reads them in pages, the first of which has so many, together with what the lane has dropped: mostly
// nothing.
func waiting(ctx context.Context, c asker, link patchbay.LinkID, until time.Time, page int, f func(*store.Queued) bool) error {
	var before int64
	var all []store.Queued
	collect := func(rows pgx.Rows) (err error) {
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Queued, error) { return queued(row, link) })
		return err
	}
	last := store.Queued{Due: time.Unix(0, 0).AddDate(-5000, 0, 0)}
	for first := true; ; first = false {
		args := []any{int64(link), until, last.Due, int64(last.Delivery), page}
		if first {
			b := &pgx.Batch{}
			b.Queue(laneDrop, int64(link)).QueryRow(func(row pgx.Row) error { return row.Scan(&before) })
			b.Queue(queueDue, args...).Query(collect)
			if err := c.SendBatch(ctx, b).Close(); err != nil {
				return err
			}
		}
		if !first || before != 0 {
			sql := queueDue
			if before != 0 {
				sql, args = queueDueDropped, append(args, before)
			}
			rows, err := c.Query(ctx, sql, args...)
			if err != nil {
				return err
			}
			if err := collect(rows); err != nil {
				return err
			}
		}
		for i := range all {
			if !f(&all[i]) {
				return nil
			}
		}
		if len(all) < page {
			return nil
		}
		last = all[len(all)-1]
		page = min(2*page, claimPageMost)
	}
}

func queued(row pgx.CollectableRow, link patchbay.LinkID) (q store.Queued, err error) {
	var thread []byte
	err = row.Scan(&q.Delivery, &q.Event, &q.Due, &q.Attempts, &q.Used, &thread)
	q.Link, q.Due, q.Thread = link, q.Due.UTC(), string(thread)
	return q, err
}

// Due returns what is due of a link; see store.Queue.
func (s *Store) Due(ctx context.Context, link patchbay.LinkID, now time.Time, limit int, skip func(patchbay.DeliveryID) bool) ([]store.Claimed, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	var out []store.Claimed
	err := s.query(ctx, func(c *pgx.Conn) error {
		out = nil
		if err := waiting(ctx, c, link, now, min(max(limit, s.o.limits.claimPage), claimPageMost), func(q *store.Queued) bool {
			if skip == nil || !skip(q.Delivery) {
				out = append(out, store.Claimed{Queued: *q})
			}
			return len(out) < limit
		}); err != nil || len(out) == 0 {
			return err
		}
		var err error
		out, err = claim(ctx, c, out)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// claim adds events and the links' revisions. Deliveries whose event does not exist any more are left out.
func claim(ctx context.Context, c querier, claimed []store.Claimed) ([]store.Claimed, error) {
	ids := make([]int64, 0, len(claimed))
	for i := range claimed {
		if id := int64(claimed[i].Queued.Event); len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	rows, err := c.Query(ctx, sqlEvents, ids)
	if err != nil {
		return nil, err
	}
	// Of an event's deliveries only those that are claimed count: it may have thousands.
	targets := make(map[patchbay.EventID][]byte, len(ids))
	records, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.EventRecord, error) {
		r, raw, err := scanUndecoded(row)
		targets[r.ID] = raw
		return r, err
	})
	if err != nil {
		return nil, err
	}
	if err := withOrigins(ctx, c, records); err != nil {
		return nil, err
	}
	events := make(map[patchbay.EventID]*patchbay.Event, len(records))
	for i := range records {
		events[records[i].ID] = &records[i].Event
	}
	kept := claimed[:0]
	for _, x := range claimed {
		e, ok := events[x.Queued.Event]
		if !ok {
			continue
		}
		x.Event = *e
		x.Revision = revisionAt(targets[e.ID], int(int64(x.Delivery)-int64(e.ID))/patchbay.IDStep-1)
		kept = append(kept, x)
	}
	return kept, nil
}

// NextDue returns when a link's next delivery is due; see store.Queue.
func (s *Store) NextDue(ctx context.Context, link patchbay.LinkID, skip func(patchbay.DeliveryID) bool) (at time.Time, ok bool, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		at, ok, err = nextDue(ctx, c, link, skip)
		return err
	})
	return at, ok, err
}

func nextDue(ctx context.Context, c asker, link patchbay.LinkID, skip func(patchbay.DeliveryID) bool) (at time.Time, ok bool, err error) {
	page := 1
	if skip != nil {
		page = 64
	}
	err = waiting(ctx, c, link, infinity, page, func(q *store.Queued) bool {
		if skip != nil && skip(q.Delivery) {
			return true
		}
		at, ok = q.Due, true
		return false
	})
	return at, ok, err
}

// Waiting counts what waits of a link; see store.Queue.
func (s *Store) Waiting(ctx context.Context, link patchbay.LinkID, limit int) (n int, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		var before int64
		if err := tx.QueryRow(ctx, laneDrop, int64(link)).Scan(&before); err != nil {
			return err
		}
		return tx.QueryRow(ctx, queueCount, int64(link), before, limit).Scan(&n)
	})
	return n, err
}

// Waited returns every link that has deliveries in the queue; see store.Queue.
func (s *Store) Waited(ctx context.Context) (map[patchbay.LinkID]time.Time, error) {
	var out map[patchbay.LinkID]time.Time
	err := s.read(ctx, func(tx pgx.Tx) error {
		out = make(map[patchbay.LinkID]time.Time)
		rows, err := tx.Query(ctx, queueLinks)
		if err != nil {
			return err
		}
		var link patchbay.LinkID
		var due time.Time
		var before int64
		var dropped []patchbay.LinkID
		if _, err := pgx.ForEachRow(rows, []any{&link, &due, &before}, func() error {
			if before != 0 {
				dropped = append(dropped, link)
				return nil
			}
			out[link] = due.UTC()
			return nil
		}); err != nil {
			return err
		}
		for _, link := range dropped {
			due, ok, err := nextDue(ctx, tx, link, nil)
			if err != nil {
				return err
			}
			if ok {
				out[link] = due
			}
		}
		return nil
	})
	return out, err
}

// Enqueue gives deliveries a place in the queue; see store.Queue.
func (s *Store) Enqueue(ctx context.Context, q []store.Queued) error {
	if len(q) == 0 {
		return nil
	}
	if err := s.after(ctx); err != nil {
		return err
	}
	events, links := make([]int64, len(q)), make([]int64, len(q))
	for i := range q {
		events[i], links[i] = int64(q[i].Event), int64(q[i].Link)
	}
	err := s.write(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT id FROM event WHERE id = ANY($1)", events)
		if err != nil {
			return err
		}
		there := make(map[patchbay.EventID]bool, len(q))
		var id patchbay.EventID
		if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { there[id] = true; return nil }); err != nil {
			return err
		}
		before, err := drops(ctx, tx, links)
		if err != nil {
			return err
		}
		for i := range q {
			if !there[q[i].Event] {
				return fmt.Errorf("the event %s of the delivery %s: %w", q[i].Event, q[i].Delivery, store.ErrNotFound)
			}
		}
		return enqueue(ctx, tx, q, before)
	})
	if err != nil {
		return err
	}
	for i := range q {
		s.floor.Settle(q[i].Event, q[i].Delivery)
	}
	return nil
}
