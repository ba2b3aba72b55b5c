package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// erasedError stands in the decision about a delivery whose event was erased before it was sent.
const erasedError = "cancelled, because what the event said was erased"

// eraser remembers how far erasures of tenants are. What is lost with it is only looked at again.
type eraser struct {
	mu sync.Mutex
	at map[string]erasing // by tenant
}

// erasing says that a tenant's events are gone from one that existed up to another that was the newest: newer ones came
// after an erasure that was given up.
type erasing struct{ gone, newest int64 }

// EraseEvents removes what events say; see store.Erasure.
func (s *Store) EraseEvents(ctx context.Context, events []patchbay.EventID, at time.Time) error {
	if err := s.after(ctx); err != nil {
		return err
	}
	ids := make([]int64, len(events))
	for i, id := range events {
		ids[i] = int64(id)
	}
	var ended []patchbay.Delivery
	err := s.write(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT id FROM event WHERE id = ANY($1) OR origin = ANY($1) UNION ALL SELECT id FROM unmatched WHERE id = ANY($1) OR origin = ANY($1)", ids)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil || len(all) == 0 {
			return err
		}
		deliveries, err := deliveriesOfAll(ctx, tx, all)
		if err != nil {
			return err
		}
		if ended, err = cancelAll(ctx, tx, deliveries, at); err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(sqlEraseHooks, all, []byte(store.ErasedHook))
		of := make([]int64, len(deliveries))
		for i := range deliveries {
			of[i] = deliveries[i].id
		}
		b.Queue("DELETE FROM response WHERE id IN (SELECT response FROM attempt WHERE delivery = ANY($1))", of)
		// What a decision says is ours, unless it is the failure of a delivery.
		b.Queue(`UPDATE attempt SET request = NULL, response = NULL, error = CASE WHEN n > 0 OR state = $2 THEN NULL ELSE error END
			WHERE delivery = ANY($1)`, of, stateCode(patchbay.DeliveryFailed))
		for _, table := range []string{"event", "unmatched"} {
			b.Queue("UPDATE "+table+" SET payload = CASE WHEN origin IS NULL THEN '{}'::bytea END, actor = NULL, erased = coalesce(erased, $2) WHERE id = ANY($1)", all, at)
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err == nil {
		for i := range ended {
			s.floor.Settle(ended[i].Event, ended[i].ID)
		}
	}
	return err
}

// deliveriesOfAll returns the deliveries of some events.
func deliveriesOfAll(ctx context.Context, q querier, ids []int64) ([]candidate, error) {
	events, err := readBriefs(ctx, q, sqlBriefs, ids)
	if err != nil {
		return nil, err
	}
	var out []candidate
	for i := range events {
		for j := range events[i].targets {
			out = append(out, events[i].candidate(j))
		}
	}
	return out, nil
}

// cancelAll cancels those of some deliveries that have not ended, and returns them.
func cancelAll(ctx context.Context, tx pgx.Tx, all []candidate, at time.Time) ([]patchbay.Delivery, error) {
	found, err := describe(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	var (
		ended     []patchbay.Delivery
		decisions []store.Outcome
		b         = newBatch()
	)
	for i := range found {
		d := &found[i]
		if d.State.Final() {
			continue
		}
		ended = append(ended, *d)
		b.leave(d.Link, d.ID)
		decisions = append(decisions, store.Outcome{
			Delivery: d.ID, Event: d.Event, Link: d.Link, State: patchbay.DeliveryCancelled, Attempt: patchbay.Attempt{At: at, Error: erasedError},
		})
	}
	if len(ended) == 0 {
		return nil, nil
	}
	if err := writeDecisions(ctx, tx, decisions); err != nil {
		return nil, err
	}
	return ended, execBinary(ctx, tx, sqlQueue, b.gone, b.places)
}

// EraseTenant removes one step of a tenant; see store.Erasure. Events go first, the newest first, so that a replay goes
// before its origin.
func (s *Store) EraseTenant(ctx context.Context, tenant string) (int, bool, error) {
	if tenant == "" {
		return 0, false, errors.New("erasing a tenant: it has no name")
	}
	if err := s.after(ctx); err != nil {
		return 0, false, err
	}
	s.erase.mu.Lock()
	defer s.erase.mu.Unlock()
	if s.erase.at == nil {
		s.erase.at = make(map[string]erasing)
	}
	at, ok := s.erase.at[tenant]
	if !ok {
		// A minute for the clocks of other nodes.
		at = erasing{gone: forever, newest: patchbay.FirstIDAt(patchbay.EventID(s.NewID(1)).Time().Add(-time.Minute))}
	}
	events, err := s.eventsOf(ctx, tenant, at.gone, 0)
	if err == nil && len(events) == 0 && ok {
		events, err = s.eventsOf(ctx, tenant, forever, at.newest)
	}
	if err != nil {
		return 0, false, fmt.Errorf("looking for the tenant's events: %w", err)
	}
	if len(events) > 0 {
		if err := s.removeEvents(ctx, events); err != nil {
			return 0, false, fmt.Errorf("removing events: %w", err)
		}
		if last := events[len(events)-1].id; last < at.gone {
			at.gone = last
		}
		s.erase.at[tenant] = at
		return len(events), true, nil
	}
	more, err := s.removeHooks(ctx, tenant)
	if err == nil && !more {
		more, err = s.removeTenant(ctx, tenant)
	}
	if err != nil {
		return 0, false, fmt.Errorf("removing what belongs to the tenant: %w", err)
	}
	if !more {
		delete(s.erase.at, tenant)
	}
	return 0, more, nil
}

// eventsOf returns a step of the events in a tenant's scopes below one identifier down to another, the newest first.
func (s *Store) eventsOf(ctx context.Context, tenant string, before, low int64) (out []brief, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		x := newSearch(true)
		x.within(patchbay.Scope(tenant))
		if err := x.start(ctx, tx, before, 0); err != nil {
			return err
		}
		at, rows := before-1, 0
		for len(out) == 0 {
			var ids []int64
			for len(ids) < pruneEvents {
				id, ok, err := x.le(at)
				if err != nil {
					return err
				}
				if !ok || id < low {
					break
				}
				ids, at = append(ids, id), id-1
			}
			if len(ids) == 0 {
				return nil
			}
			found, err := readBriefs(ctx, tx, "SELECT "+briefColumns+" FROM event WHERE id = ANY($1) UNION ALL SELECT "+briefColumns+" FROM unmatched WHERE id = ANY($1) ORDER BY id DESC", ids)
			if err != nil {
				return err
			}
			for i := range found {
				if rows += 1 + len(found[i].targets); rows > pruneLook && i > 0 {
					break
				}
				out = append(out, found[i])
			}
		}
		return nil
	})
	return out, err
}

// removeEvents deletes events with all that belongs to them, whatever waits.
func (s *Store) removeEvents(ctx context.Context, events []brief) error {
	var all []candidate
	var of []int64
	ids := make([]int64, len(events))
	for i := range events {
		ids[i] = events[i].id
		for j := range events[i].targets {
			c := events[i].candidate(j)
			all, of = append(all, c), append(of, c.id)
		}
	}
	err := s.write(ctx, func(tx pgx.Tx) error {
		b := newBatch()
		for _, c := range all {
			b.leave(c.event.targets[c.i].Link, patchbay.DeliveryID(c.id))
		}
		if err := execBinary(ctx, tx, sqlQueue, b.gone, b.places); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue("DELETE FROM response WHERE id IN (SELECT response FROM attempt WHERE delivery = ANY($1))", of)
		batch.Queue("DELETE FROM attempt WHERE delivery = ANY($1)", of)
		for _, table := range []string{"event", "unmatched", "late"} {
			batch.Queue("DELETE FROM "+table+" WHERE id = ANY($1)", ids)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err == nil {
		for _, c := range all {
			s.floor.Settle(patchbay.EventID(c.event.id), patchbay.DeliveryID(c.id))
		}
	}
	return err
}

// removeTenant deletes a step of what else belongs to a tenant, and reports whether there may be more.
func (s *Store) removeTenant(ctx context.Context, tenant string) (more bool, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		links, err := linksOf(ctx, tx, tenant)
		if err != nil {
			return err
		}
		more = len(links) == pruneRows
		var changes []store.Change
		for _, id := range links {
			changes = append(changes, store.Change{Kind: store.ChangedLink, ID: id})
		}
		for _, x := range []struct{ table, kind string }{
			{"api_key", store.ChangedKey}, {"connection", store.ChangedConnection}, {"session", store.ChangedSession},
		} {
			rows, err := tx.Query(ctx, "DELETE FROM "+x.table+" WHERE "+tenantScopes+" RETURNING id", tenant)
			if err != nil {
				return err
			}
			gone, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				return err
			}
			for _, id := range gone {
				changes = append(changes, store.Change{Kind: x.kind, ID: id})
			}
		}
		b := &pgx.Batch{}
		for _, table := range []string{"queue", "thread", "lane"} {
			b.Queue("DELETE FROM "+table+" WHERE link = ANY($1)", links)
		}
		b.Queue("DELETE FROM link WHERE id = ANY($1)", links)
		b.Queue("DELETE FROM hook WHERE link = ANY($1) AND link <> 0", links)
		b.Queue("DELETE FROM sample WHERE "+tenantScopes, tenant)
		b.Queue("DELETE FROM job WHERE finished IS NOT NULL AND action <> $2 AND "+tenantScopes, tenant, store.ActionErase)
		b.Queue("DELETE FROM history WHERE kind = ANY($1) AND (key = $2 OR key >= $3 AND key < $4)",
			[]int16{int16(scopeWord), int16(scopeWord | keptEvent)}, []byte(tenant), []byte(tenant+"/"), []byte(tenant+"0"))
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		further, err := removeAudit(ctx, tx, tenant)
		if err != nil {
			return err
		}
		more = more || further
		return announce(ctx, tx, changes...)
	})
	return more, err
}

// tenantScopes is the condition that a scope lies at or below a tenant: "0" follows "/" in ASCII.
const tenantScopes = "(scope = $1 OR scope >= $1 || '/' AND scope < $1 || '0')"

// linksOf returns a step of a tenant's links, deleted ones included.
func linksOf(ctx context.Context, tx pgx.Tx, tenant string) (ids []int64, err error) {
	rows, err := tx.Query(ctx, "SELECT DISTINCT ON (id) id, data FROM link ORDER BY id, revision")
	if err != nil {
		return nil, err
	}
	var (
		id   int64
		data string
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &data}, func() error {
		scope, err := store.LinkScope([]byte(data))
		if err == nil && scope.Tenant() == tenant && len(ids) < pruneRows {
			ids = append(ids, id)
		}
		return err
	})
	return ids, err
}

// Scrub has PostgreSQL give up the rows that were changed and deleted; see store.Erasure. Its log holds them until it is
// reused, and so do backups.
func (s *Store) Scrub(ctx context.Context) error {
	return s.query(ctx, func(c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "SET statement_timeout = 0"); err != nil {
			return err
		}
		defer func() { _, _ = c.Exec(context.WithoutCancel(ctx), "RESET statement_timeout") }()
		for _, table := range []string{"event", "unmatched", "attempt", "response", "history", "queue", "thread", "link", "api_key", "sample", "job", "idempotency", "connection", "flow", "session", "hook",
			"audit", "audit_word"} {
			// To give room back at the end of a file it would lock the table.
			if _, err := c.Exec(ctx, "VACUUM (TRUNCATE FALSE, INDEX_CLEANUP ON) "+table, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("vacuuming the table %s: %w", table, err)
			}
		}
		return nil
	})
}
