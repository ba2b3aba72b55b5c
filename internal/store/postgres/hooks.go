package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Hooks = (*Store)(nil)

const (
	hookBrief   = "id, link, received, reads, placed, integration, state, account, scope, type, reason, links, events, key, header, query"
	hookColumns = hookBrief + ", body"
	sqlHook     = "SELECT " + hookColumns + " FROM hook WHERE id = $1"
	// Of calls with one key that come at once the second waits for the first, and stores nothing.
	sqlInsertHook = "INSERT INTO hook (" + hookColumns + `, tenant) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (key, integration) DO NOTHING`
	sqlFinishHook = `UPDATE hook SET reads = $2, placed = $3, state = $4, account = $5, tenant = $6, scope = $7, type = $8, reason = $9, links = $10, events = $11
		WHERE id = $1`
	sqlPendingHooks = "SELECT " + hookColumns + " FROM hook WHERE state = 'pending' AND id > $1 AND id < $2 ORDER BY id LIMIT $3"
)

// scanHook reads a row of hookColumns or, without the body, hookBrief.
func scanHook(row pgx.Row, body bool) (h store.Hook, err error) {
	var (
		received                          *time.Time
		account, kind, reason, key, asked []byte
		header                            *string
		links, events                     []int64
		fields                            = []any{&h.ID, &h.Link, &received, &h.Reads, &h.Placed, &h.Integration, &h.State, &account, &h.Scope}
	)
	fields = append(fields, &kind, &reason, &links, &events, &key, &header, &asked)
	if body {
		fields = append(fields, &h.Body)
	}
	if err := row.Scan(fields...); err != nil {
		return h, err
	}
	h.Account, h.Type, h.Reason, h.Query, h.ReceivedAt = string(account), string(kind), string(reason), string(asked), utc(received)
	copy(h.Key[:], key)
	for _, id := range links {
		h.Links = append(h.Links, patchbay.LinkID(id))
	}
	for _, id := range events {
		h.Events = append(h.Events, patchbay.EventID(id))
	}
	if header != nil {
		if err := json.Unmarshal([]byte(*header), &h.Header); err != nil {
			return h, fmt.Errorf("the hook %s in the database cannot be read: %w", h.ID, err)
		}
	}
	return h, nil
}

// tenantOf is the first segment of a hook's scope; nil while it has none.
func tenantOf(h *store.Hook) *string {
	if !h.Placed {
		return nil
	}
	tenant := h.Scope.Tenant()
	return &tenant
}

// numbers are identifiers as PostgreSQL's arrays hold them; nil for none.
func numbers[K patchbay.Kind](ids []patchbay.ID[K]) []int64 {
	if len(ids) == 0 {
		return nil
	}
	out := make([]int64, len(ids))
	for i, id := range ids {
		out[i] = int64(id)
	}
	return out
}

// hookValues are the values of hookColumns and tenant.
func hookValues(h *store.Hook, state patchbay.HookState) ([]any, error) {
	var header any
	if len(h.Header) > 0 {
		b, err := json.Marshal(h.Header)
		if err != nil {
			return nil, fmt.Errorf("the hook %s cannot be written: %w", h.ID, err)
		}
		header = string(b)
	}
	return []any{
		int64(h.ID), int64(h.Link), orNull(h.ReceivedAt), h.Reads, h.Placed, h.Integration, string(state), []byte(h.Account), string(h.Scope), []byte(h.Type),
		[]byte(h.Reason), numbers(h.Links), numbers(h.Events), h.Key[:], header, []byte(h.Query), h.Body, tenantOf(h),
	}, nil
}

// SaveHook stores a partner's call; see store.Hooks.
func (s *Store) SaveHook(ctx context.Context, h *store.Hook) (existing patchbay.HookID, err error) {
	values, err := hookValues(h, patchbay.HookPending)
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		existing = 0
		tag, err := tx.Exec(ctx, sqlInsertHook, values...)
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		err = tx.QueryRow(ctx, "SELECT id FROM hook WHERE key = $1 AND integration = $2", h.Key[:], h.Integration).Scan(&existing)
		if errors.Is(err, pgx.ErrNoRows) { // pruned in between
			return fmt.Errorf("the call that %s repeats has just been deleted: %w", h.ID, store.ErrUnavailable)
		}
		return err
	})
	if state(err) == stateUniqueViolation {
		err = fmt.Errorf("the hook %s exists: %w", h.ID, store.ErrConflict)
	}
	return existing, err
}

// FinishHook stores what reading a hook came to; see store.Hooks.
func (s *Store) FinishHook(ctx context.Context, h *store.Hook) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlFinishHook, int64(h.ID), h.Reads, h.Placed, string(h.State), []byte(h.Account), tenantOf(h), string(h.Scope), []byte(h.Type),
			[]byte(h.Reason), numbers(h.Links), numbers(h.Events))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return store.ErrNotFound
		}
		if len(h.Events) > 0 {
			_, err = tx.Exec(ctx, "INSERT INTO hook_event (event, hook) SELECT unnest($2::bigint[]), $1 ON CONFLICT DO NOTHING", int64(h.ID), numbers(h.Events))
		}
		return err
	})
}

// sqlEraseHooks removes what partners sent, of the hooks that events were made from.
const sqlEraseHooks = "UPDATE hook SET body = NULL, header = NULL, query = '', reason = $2 WHERE id = ANY(ARRAY(SELECT hook FROM hook_event WHERE event = ANY($1)))"

// sqlRemoveHooks deletes a step of a tenant's hooks: those in its scopes, and those of its connections' accounts that
// nobody's link took, unless another tenant has the account too.
const sqlRemoveHooks = `DELETE FROM hook WHERE id = ANY(ARRAY(
	SELECT id FROM hook WHERE tenant = $1
	UNION ALL SELECT h.id FROM connection AS c JOIN hook AS h ON h.account = c.account AND h.account <> '' AND h.integration = c.integration
		WHERE (c.scope = $1 OR c.scope >= $1 || '/' AND c.scope < $1 || '0') AND NOT h.placed AND h.link = 0
		AND NOT EXISTS (SELECT FROM connection AS o WHERE o.account = c.account AND o.integration = c.integration
			AND NOT (o.scope = $1 OR o.scope >= $1 || '/' AND o.scope < $1 || '0'))
	LIMIT $2))`

// removeHooks deletes a step of a tenant's hooks, and reports whether there was one.
func (s *Store) removeHooks(ctx context.Context, tenant string) (more bool, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlRemoveHooks, tenant, pruneRows)
		more = tag.RowsAffected() > 0
		return err
	})
	return more, err
}

// Hook returns a hook; see store.Hooks.
func (s *Store) Hook(ctx context.Context, id patchbay.HookID) (*store.Hook, error) {
	var h store.Hook
	err := s.query(ctx, func(c *pgx.Conn) (err error) {
		h, err = scanHook(c.QueryRow(ctx, sqlHook, int64(id)), true)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &h, nil
}

// hookList makes the statement of a list. Hooks in several states are walked state by state, so that each walk has its
// order from the index.
func hookList(f *store.HookFilter) (string, []any) {
	w := &where{}
	if f.Before != 0 {
		w.and("id < ?", int64(f.Before))
	} else {
		w.and("id < ?", int64(forever))
	}
	if f.Integration != "" {
		w.and("integration = ?", plain(f.Integration))
	}
	if f.Link != 0 {
		w.and("link = ? AND link <> 0", int64(f.Link))
	}
	if f.Account != "" {
		w.and("account = ? AND account <> ''", []byte(f.Account))
	}
	if f.Within != "" {
		w.and("tenant = ?", f.Within.Tenant())
		w.and("placed AND (scope = ? OR scope >= ? || '/' AND scope < ? || '0')", string(f.Within))
	}
	if len(f.States) == 0 {
		return w.sql("SELECT "+hookBrief+" FROM hook", "id DESC", f.Limit), w.args
	}
	states := make([]string, len(f.States))
	for i, state := range f.States {
		states[i] = string(state)
	}
	if f.Link != 0 || f.Account != "" || f.Within != "" {
		w.and("state = ANY(?::text[])", states)
		return w.sql("SELECT "+hookBrief+" FROM hook", "id DESC", f.Limit), w.args
	}
	// An equation would let the planner walk through all identifiers instead, in the hope to meet some in this state.
	w.conditions = append(w.conditions, "state >= wanted AND state <= wanted")
	inner := w.sql("SELECT "+hookBrief+" FROM hook", "state DESC, id DESC", f.Limit)
	limit := len(w.args)
	w.args = append(w.args, states)
	return fmt.Sprintf("SELECT h.* FROM (SELECT DISTINCT unnest($%d::text[]) COLLATE \"C\" AS wanted) AS s, LATERAL (%s) AS h ORDER BY h.id DESC LIMIT $%d",
		limit+1, inner, limit), w.args
}

// Hooks lists hooks; see store.Hooks.
func (s *Store) Hooks(ctx context.Context, f store.HookFilter) (out []store.Hook, err error) {
	sql, args := hookList(&f)
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Hook, error) { return scanHook(row, false) })
		return err
	})
	return out, err
}

// PendingHooks returns hooks that nobody has read; see store.Hooks.
func (s *Store) PendingHooks(ctx context.Context, before time.Time, after patchbay.HookID, limit int) (out []store.Hook, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sqlPendingHooks, int64(after), patchbay.FirstIDAt(before), limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Hook, error) { return scanHook(row, true) })
		return err
	})
	return out, err
}

// sqlPruneHooks deletes a step of the hooks in each of some states that are below an identifier.
const sqlPruneHooks = `DELETE FROM hook WHERE id = ANY(ARRAY(SELECT h.id FROM unnest($1::text[], $2::bigint[]) AS s (name, below),
	LATERAL (SELECT id FROM hook WHERE state = s.name COLLATE "C" AND id < s.below ORDER BY id LIMIT $3) AS h LIMIT $3))`

// pruneHooks deletes partners' calls that need not be kept any longer.
func (s *Store) pruneHooks(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	var states []string
	var below []int64
	add := func(kept time.Duration, names ...patchbay.HookState) {
		for _, name := range names {
			if kept > 0 {
				states, below = append(states, string(name)), append(below, patchbay.FirstIDAt(now.Add(-kept)))
			}
		}
	}
	add(r.Unmatched, patchbay.HookDone, patchbay.HookIgnored, patchbay.HookFailed)
	add(r.Matched, patchbay.HookPending, patchbay.HookUnplaced)
	if len(states) == 0 {
		return false, nil
	}
	more, err := s.deleted(ctx, pruneRows, sqlPruneHooks, states, below, pruneRows)
	if err != nil || more || r.Unmatched <= 0 || r.Matched <= 0 {
		return more, err
	}
	// An event is younger than the hooks that it was made from.
	oldest := patchbay.FirstIDAt(now.Add(-max(r.Unmatched, r.Matched)))
	return s.deleted(ctx, pruneRows, "DELETE FROM hook_event WHERE event = ANY(ARRAY(SELECT event FROM hook_event WHERE event < $1 ORDER BY event LIMIT $2))", oldest, pruneRows)
}

// pruneSessions deletes sessions and sign-ins whose time is over.
func (s *Store) pruneSessions(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	more, err := s.deleted(ctx, pruneRows, "DELETE FROM session WHERE id = ANY(ARRAY(SELECT id FROM session WHERE expires <= $1 ORDER BY expires LIMIT $2))", now, pruneRows)
	if err != nil || more {
		return more, err
	}
	return s.deleted(ctx, pruneRows, "DELETE FROM flow WHERE hash = ANY(ARRAY(SELECT hash FROM flow WHERE until <= $1 ORDER BY until LIMIT $2))", now, pruneRows)
}
