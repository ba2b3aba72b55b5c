package outbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/source"
)

// row is one row of the outbox, and what came of it.
type row struct {
	id    int64
	key   string
	event []byte // nil when it is too large
	order *string

	state state
	err   error
}

// state says what becomes of a row.
type state int

const (
	untouched state = iota // it stays, and is taken the next time
	taken                  // its event is durable: it goes
	refused                // it can never be accepted: it moves
	left                   // it stays, and is taken later
)

// postponed is a row that was left for later, with what waits behind it.
type postponed struct {
	until time.Time
	order *string
	tries int
}

// fetch reads the rows that come next, the lowest ids first.
func (c *session) fetch(ctx context.Context) ([]*row, error) {
	now := time.Now()
	ids, orders := []int64{}, []string{}
	for id, p := range c.postponed {
		if !p.until.After(now) { // it comes again, and keeps its number of tries
			if now.Sub(p.until) > time.Minute { // somebody has deleted it
				delete(c.postponed, id)
			}
			continue
		}
		ids = append(ids, id)
		if p.order != nil {
			orders = append(orders, *p.order)
		}
	}
	if len(ids) >= postponedMost {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	found, err := c.conn.Query(ctx, fmt.Sprintf(`SELECT id, key, CASE WHEN bytes <= %[1]d THEN event END, order_key FROM (
			SELECT id, key, event::text AS event, order_key, octet_length(event::text) AS bytes,
				sum(least(octet_length(event::text), %[1]d)) OVER (ORDER BY id) AS total
			FROM (SELECT id, key, event, order_key FROM %[2]s WHERE id <> ALL ($1) AND (order_key IS NULL OR order_key <> ALL ($2))
				ORDER BY id LIMIT %[3]d) next
		) sized WHERE total <= %[4]d ORDER BY id`, patchbay.MaxEventBody, c.o.Table, batch, batchBytes), ids, orders)
	if err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	rows, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (*row, error) {
		x := &row{}
		var key [16]byte
		var event *string
		if err := r.Scan(&x.id, &key, &event, &x.order); err != nil {
			return nil, err
		}
		x.key = string(key[:])
		if event != nil {
			x.event = []byte(*event)
		}
		return x, nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	return rows, nil
}

// takeAll makes events of rows, several at a time; rows of one order one after another. It reports false when this
// installation takes nothing in at the moment.
func (c *session) takeAll(ctx context.Context, rows []*row) bool {
	var chains [][]*row
	ordered := map[string]int{}
	for _, r := range rows {
		if r.order != nil {
			if i, ok := ordered[*r.order]; ok {
				chains[i] = append(chains[i], r)
				continue
			}
			ordered[*r.order] = len(chains)
		}
		chains = append(chains, []*row{r})
	}
	work := make(chan []*row, len(chains))
	for _, chain := range chains {
		work <- chain
	}
	close(work)
	var away atomic.Bool
	var owned sync.WaitGroup
	for range min(inFlight, len(chains)) {
		owned.Go(func() {
			for chain := range work {
				for _, r := range chain {
					if away.Load() || ctx.Err() != nil {
						return // the rest is untouched
					}
					c.take(r)
					if patchbay.CodeOf(r.err) == patchbay.CodeUnavailable {
						r.state = untouched
						away.Store(true)
						return
					}
					if r.state == left {
						break // what is behind it waits too
					}
				}
			}
		})
	}
	owned.Wait()
	return !away.Load()
}

// take makes an event of a row.
func (c *session) take(r *row) {
	if r.event == nil {
		r.state, r.err = refused, errTooLarge
		return
	}
	receipt, err := c.o.Ingest.Take(context.Background(), c.caller, &ingest.Message{
		Kind: patchbay.SourceOutbox, Key: r.key, Remember: rememberFor, Body: r.event,
	})
	r.err = err
	switch {
	case err == nil:
		r.state = taken
		c.meter.Took(receipt)
	case ingest.Final(err):
		r.state = refused
	default:
		r.state = left
		c.meter.Postponed()
	}
}

// finish deletes the rows that were taken and moves those that can never be.
func (c *session) finish(ctx context.Context, rows []*row) error {
	var gone, moved []int64
	var reasons []string
	for _, r := range rows {
		switch r.state {
		case taken:
			gone = append(gone, r.id)
		case refused:
			moved = append(moved, r.id)
			reasons = append(reasons, text(r.err.Error()))
		case left:
			c.postpone(r)
			continue
		case untouched:
			continue
		}
		delete(c.postponed, r.id)
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	if len(gone) > 0 {
		if _, err := c.conn.Exec(ctx, "DELETE FROM "+c.o.Table+" WHERE id = ANY ($1)", gone); err != nil {
			return fmt.Errorf("deleting rows that were taken (they are known when they come again): %w", err)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	_, err := c.conn.Exec(ctx, fmt.Sprintf(`WITH why AS (SELECT * FROM unnest($1::bigint[], $2::text[]) AS w (id, reason)),
		gone AS (DELETE FROM %[1]s o USING why WHERE o.id = why.id RETURNING o.id, o.key, o.event, o.order_key, o.created_at, why.reason)
		INSERT INTO %[1]s_failed (id, key, event, order_key, created_at, reason) SELECT id, key, event, order_key, created_at, reason FROM gone
		ON CONFLICT (key) DO NOTHING`, c.o.Table), moved, reasons)
	if err != nil {
		return fmt.Errorf("moving rows that can never be accepted to %s_failed: %w", c.o.Table, err)
	}
	for i, id := range moved {
		c.meter.Refused()
		c.o.Log.Warn("a row of the outbox was refused: it can never be accepted", "table", c.o.Table+"_failed", "id", id, "reason", reasons[i])
	}
	return nil
}

// postpone leaves a row for later, so that it does not hold up those of others.
func (c *session) postpone(r *row) {
	p := c.postponed[r.id]
	p.order = r.order
	p.until = time.Now().Add(max(retryAfter(r.err), source.Backoff(p.tries)))
	if p.tries++; p.tries == 1 || p.tries%16 == 0 {
		c.o.Log.Warn("a row of the outbox could not be accepted; it will be tried again", "id", r.id, "tries", p.tries, "error", r.err)
	}
	c.postponed[r.id] = p
}
