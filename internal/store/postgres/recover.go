package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// droppedError is what is written down of deliveries that their lane dropped.
const droppedError = "the backlog of the link was dropped"

// lostEvent is an event with deliveries that may only have been in memory.
type lostEvent struct {
	id      patchbay.EventID
	targets []store.Target
}

// lostEvents reads rows of id and targets.
func (s *Store) lostEvents(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]lostEvent, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (b lostEvent, err error) {
		var raw []byte
		if err := row.Scan(&b.id, &raw); err != nil {
			return b, err
		}
		b.targets, err = readTargets(raw)
		return b, err
	})
}

// known is what stands in the database of a delivery.
type known struct {
	state    patchbay.DeliveryState
	attempts int
	queued   bool
}

// requeue gives the deliveries of events that have neither an end nor a place in the queue one that is due at now, and returns
// how many these are. What their lane has dropped is cancelled.
func (s *Store) requeue(ctx context.Context, tx pgx.Tx, events []lostEvent, now time.Time) (int, error) {
	var deliveries, links []int64
	for _, e := range events {
		for i, t := range e.targets {
			deliveries = append(deliveries, int64(patchbay.DeliveryAt(e.id, i+1)))
			links = append(links, int64(t.Link))
		}
	}
	if len(deliveries) == 0 {
		return 0, nil
	}
	all, err := look(ctx, tx, links, deliveries)
	if err != nil {
		return 0, err
	}
	before, err := drops(ctx, tx, links)
	if err != nil {
		return 0, err
	}
	var places []store.Queued
	var dropped []store.Outcome
	for _, e := range events {
		for i, t := range e.targets {
			d := patchbay.DeliveryAt(e.id, i+1)
			switch k := all[int64(d)]; {
			case k.queued || k.state != "" && k.state.Final():
			case d < before[t.Link]:
				dropped = append(dropped, store.Outcome{
					Delivery: d, Event: e.id, Link: t.Link, State: patchbay.DeliveryCancelled, Attempt: patchbay.Attempt{At: now, Error: droppedError},
				})
			default:
				places = append(places, store.Queued{Delivery: d, Event: e.id, Link: t.Link, Due: now, Attempts: k.attempts, Used: k.attempts})
			}
		}
	}
	if err := writeDecisions(ctx, tx, dropped); err != nil {
		return 0, err
	}
	return len(places), enqueue(ctx, tx, places, nil)
}

// look reads what stands in the database of deliveries; those without anything are left out.
func look(ctx context.Context, tx pgx.Tx, links, deliveries []int64) (map[int64]known, error) {
	all := make(map[int64]known, len(deliveries))
	rows, err := tx.Query(ctx, `SELECT delivery, (array_agg(state ORDER BY seq DESC))[1], count(*) FILTER (WHERE n > 0)
		FROM attempt WHERE delivery = ANY($1) GROUP BY delivery`, deliveries)
	if err != nil {
		return nil, err
	}
	var delivery int64
	var code int16
	var attempts int
	if _, err := pgx.ForEachRow(rows, []any{&delivery, &code, &attempts}, func() error {
		all[delivery] = known{state: stateOf(code), attempts: attempts}
		return nil
	}); err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, "SELECT delivery FROM queue JOIN unnest($1::bigint[], $2::bigint[]) AS d (link, delivery) USING (link, delivery)", links, deliveries)
	if err != nil {
		return nil, err
	}
	_, err = pgx.ForEachRow(rows, []any{&delivery}, func() error {
		k := all[delivery]
		k.queued = true
		all[delivery] = k
		return nil
	})
	return all, err
}

// drops reads below which identifiers lanes have dropped what waited.
func drops(ctx context.Context, tx pgx.Tx, links []int64) (map[patchbay.LinkID]patchbay.DeliveryID, error) {
	rows, err := tx.Query(ctx, "SELECT link, drop_before FROM lane WHERE link = ANY($1) AND drop_before > 0", links)
	if err != nil {
		return nil, err
	}
	before := make(map[patchbay.LinkID]patchbay.DeliveryID)
	var link patchbay.LinkID
	var drop patchbay.DeliveryID
	_, err = pgx.ForEachRow(rows, []any{&link, &drop}, func() error {
		before[link] = drop
		return nil
	})
	return before, err
}

// enqueue gives deliveries places in the queue. before are the drops of their lanes, which do not concern them.
func enqueue(ctx context.Context, tx pgx.Tx, places []store.Queued, before map[patchbay.LinkID]patchbay.DeliveryID) error {
	if len(places) == 0 {
		return nil
	}
	b := newBatch()
	for i := range places {
		p := place{Queued: &places[i]}
		if drop := before[p.Link]; p.Delivery < drop {
			p.spared = int64(drop)
		}
		b.place(p)
	}
	for _, p := range b.placed {
		b.encodePlace(p)
	}
	return execBinary(ctx, tx, sqlQueue, b.gone, b.places)
}

// writeDecisions writes results without an attempt.
func writeDecisions(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	b := newBatch()
	for i := range outcomes {
		b.encodeAttempt(&outcomes[i], false, nil)
	}
	return execBinary(ctx, tx, sqlAttempts, b.attempts)
}

// execBinary runs one of the writers' statements on a connection of the pool.
func execBinary(ctx context.Context, tx pgx.Tx, sql string, tables ...table) error {
	var params [][]byte
	for _, t := range tables {
		params = t.params(params)
	}
	_, err := tx.Conn().PgConn().ExecParams(ctx, sql, params, nil, binaryFormat, binaryFormat).Close()
	return err
}

// Recover gives what this node's predecessor had in memory places in the queue, and what other nodes had that are fenced;
// see store.Queue. Nodes that only show no sign of life are left to TakeOver: when the database was away, all of them do.
func (s *Store) Recover(ctx context.Context, now time.Time) (int, error) {
	_, found, err := s.finishFenced(ctx, now)
	return found, err
}

// TakeOver fences nodes that show no sign of life; see store.Cluster.
func (s *Store) TakeOver(ctx context.Context, silent time.Duration) ([]store.Node, error) {
	err := s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, `SELECT number, incarnation FROM node JOIN beat USING (number)
			WHERE state = 'alive' AND number <> $1 AND seen < clock_timestamp() - $2 * interval '1 microsecond'`, s.self.Number, silent.Microseconds())
		if err != nil {
			return err
		}
		gone, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ident])
		if err != nil {
			return err
		}
		for _, id := range gone {
			if err := fence(ctx, c, id, max(silent, time.Microsecond)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	nodes, _, err := s.finishFenced(ctx, s.now())
	return nodes, err
}

// finishFenced takes over what fenced nodes had in memory.
func (s *Store) finishFenced(ctx context.Context, now time.Time) (over []store.Node, found int, err error) {
	var ended []ident
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT number, incarnation FROM node WHERE state = 'fenced' ORDER BY number")
		if err != nil {
			return err
		}
		ended, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ident])
		return err
	})
	if err != nil || len(ended) == 0 {
		return nil, 0, err
	}
	if over, err = s.nodes(ctx, ended); err != nil {
		return nil, 0, err
	}
	for _, id := range ended {
		for more := true; more; {
			var n int
			if n, more, err = s.finish(ctx, id, now); err != nil {
				return over, found, err
			}
			found += n
		}
	}
	return over, found, nil
}

// finish does one step of taking over what a fenced node had in memory. How far that has come stands in its floor, so that
// any other node can go on. With the last step the node's number and its shards are free.
func (s *Store) finish(ctx context.Context, id ident, now time.Time) (found int, more bool, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		found, more = 0, false
		var mine bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1, $2)", lockTakeOver, id.Number).Scan(&mine); err != nil || !mine {
			return err // another node is at it
		}
		var from int64
		err := tx.QueryRow(ctx, "SELECT event FROM floor JOIN node USING (number) WHERE number = $1 AND incarnation = $2 AND state = 'fenced'",
			id.Number, id.Incarnation).Scan(&from)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // another node was at it
		}
		if err != nil {
			return err
		}
		limit := s.o.limits.recoverStep
		events, err := s.lostEvents(ctx, tx, "SELECT id, targets FROM event WHERE id >= $1 AND id & $2 = $3 AND targets IS NOT NULL ORDER BY id LIMIT $4",
			from, patchbay.IDStep-1, id.Number, limit)
		if err != nil {
			return err
		}
		if found, err = s.requeue(ctx, tx, events, now); err != nil {
			return err
		}
		if len(events) == limit {
			more = true
			_, err = tx.Exec(ctx, "UPDATE floor SET event = $2 WHERE number = $1", id.Number, int64(events[limit-1].id)+1)
			return err
		}
		if _, err = tx.Exec(ctx, "UPDATE shard SET owner = NULL WHERE owner = $1", id.Number); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE node SET state = 'gone' WHERE number = $1", id.Number)
		return err
	})
	return found, more, err
}
