package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Hooks = (*Store)(nil)

const (
	hookBrief   = "id, integration, link, account, placed, tenant, scope, type, received, state, reason, links, events, reads, key, header, query"
	hookColumns = hookBrief + ", body"
	hookFields  = 18

	hooksFrom = "SELECT " + hookBrief + " FROM hook "
	hooksRest = ` AND (?1 = '' OR integration = ?1) AND (?2 = 0 OR link = ?2) AND (?3 = '' OR account = ?3)
		AND (?4 = '' OR placed AND (scope = ?4 OR scope > ?4 || '/' AND scope < ?4 || '0'))
		AND (?5 IS NULL OR state IN (SELECT value FROM json_each(?5))) AND id < ?6 ORDER BY id DESC LIMIT ?7`

	// By the narrowest of what a filter says. Each of them walks an index in the order that is wanted.
	allHooks     = hooksFrom + "WHERE id < ?6" + hooksRest
	hooksOfLink  = hooksFrom + "INDEXED BY hook_link WHERE link = ?2 AND link <> 0" + hooksRest
	hooksByName  = hooksFrom + "INDEXED BY hook_account WHERE account = ?3 AND account <> ''" + hooksRest
	hooksOf      = hooksFrom + "INDEXED BY hook_tenant WHERE tenant = ?8" + hooksRest
	hooksByState = hooksFrom + "INDEXED BY hook_state WHERE state = ?8" + hooksRest
	pendingHooks = "SELECT " + hookColumns + " FROM hook INDEXED BY hook_state WHERE state = 'pending' AND id > ? AND id < ? ORDER BY id LIMIT ?"
)

// scanHook reads a row of hookColumns or, without the body, hookBrief.
func scanHook(st *stmt, body bool) (*store.Hook, error) {
	h := &store.Hook{
		ID: patchbay.HookID(st.int(0)), Integration: st.str(1), Link: patchbay.LinkID(st.int(2)), Account: st.str(3), Placed: st.int(4) != 0,
		Scope: patchbay.Scope(st.str(6)), Type: st.str(7), ReceivedAt: st.time(8), State: patchbay.HookState(st.str(9)), Reason: st.str(10),
		Reads: int(st.int(13)), Query: st.str(16),
	}
	copy(h.Key[:], st.raw(14))
	if body {
		h.Body = st.bytes(17)
	}
	for i, to := range map[int]any{11: &h.Links, 12: &h.Events, 15: &h.Header} {
		if raw := st.raw(i); raw != nil {
			if err := json.Unmarshal(raw, to); err != nil {
				return nil, fmt.Errorf("the hook %s in the database cannot be read: %w", h.ID, err)
			}
		}
	}
	return h, nil
}

// hookLists are the columns of a hook that are JSON; "" for what is empty.
type hookLists struct{ links, events, header string }

func encodeHook(h *store.Hook) (out hookLists, err error) {
	for _, x := range []struct {
		to    *string
		value any
		empty bool
	}{{&out.links, h.Links, len(h.Links) == 0}, {&out.events, h.Events, len(h.Events) == 0}, {&out.header, h.Header, len(h.Header) == 0}} {
		if x.empty {
			continue
		}
		b, err := json.Marshal(x.value)
		if err != nil {
			return out, fmt.Errorf("the hook %s cannot be written: %w", h.ID, err)
		}
		*x.to = string(b)
	}
	return out, nil
}

// bindTenant binds the first segment of a hook's scope, or NULL while it has none.
func (s *stmt) bindTenant(i int, h *store.Hook) *stmt {
	if !h.Placed {
		return s.bindNull(i)
	}
	return s.bindText(i, h.Scope.Tenant())
}

// SaveHook stores a partner's call; see store.Hooks.
func (s *Store) SaveHook(ctx context.Context, h *store.Hook) (existing patchbay.HookID, err error) {
	lists, err := encodeHook(h)
	if err != nil {
		return 0, err
	}
	err = s.do(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT id FROM hook INDEXED BY hook_key WHERE key = ? AND integration = ?")
		if err != nil {
			return err
		}
		ids, err := columnOf(st.bindBlob(1, h.Key[:]).bindText(2, h.Integration))
		if err != nil {
			return err
		}
		if len(ids) > 0 {
			existing = patchbay.HookID(ids[0])
			return nil
		}
		return insertHook(c, h, patchbay.HookPending, &lists)
	}, nil)
	if constraint(err) {
		err = fmt.Errorf("the hook %s exists: %w", h.ID, store.ErrConflict)
	}
	return existing, err
}

func insertHook(c *conn, h *store.Hook, state patchbay.HookState, lists *hookLists) error {
	st, err := c.prepare("INSERT INTO hook (" + hookColumns + ") VALUES (?" + strings.Repeat(", ?", hookFields-1) + ")")
	if err != nil {
		return err
	}
	st.bind(1, int64(h.ID)).bindText(2, h.Integration).bind(3, int64(h.Link)).bindText(4, h.Account).bind(5, b2i(h.Placed)).bindTenant(6, h)
	st.bindText(7, string(h.Scope)).bindText(8, h.Type).bindTime(9, h.ReceivedAt).bindText(10, string(state)).bindText(11, h.Reason)
	st.bindSome(12, lists.links).bindSome(13, lists.events).bind(14, int64(h.Reads)).bindBlob(15, h.Key[:]).bindSome(16, lists.header)
	return st.bindText(17, h.Query).bindBlob(18, h.Body).run()
}

// FinishHook stores what reading a hook came to; see store.Hooks.
func (s *Store) FinishHook(ctx context.Context, h *store.Hook) error {
	lists, err := encodeHook(h)
	if err != nil {
		return err
	}
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare(`UPDATE hook SET account = ?, placed = ?, tenant = ?, scope = ?, type = ?, state = ?, reason = ?, links = ?,
			events = ?, reads = ? WHERE id = ?`)
		if err != nil {
			return err
		}
		st.bindText(1, h.Account).bind(2, b2i(h.Placed)).bindTenant(3, h).bindText(4, string(h.Scope)).bindText(5, h.Type)
		st.bindText(6, string(h.State)).bindText(7, h.Reason).bindSome(8, lists.links).bindSome(9, lists.events).bind(10, int64(h.Reads))
		if err := found(c, st.bind(11, int64(h.ID)).run()); err != nil {
			return err
		}
		return linkEvents(c, h)
	}, nil)
}

// linkEvents notes which events were made from a hook.
func linkEvents(c *conn, h *store.Hook) error {
	st, err := c.prepare("INSERT OR IGNORE INTO hook_event (event, hook) VALUES (?, ?)")
	if err != nil {
		return err
	}
	for _, event := range h.Events {
		if err := st.bind(1, int64(event)).bind(2, int64(h.ID)).run(); err != nil {
			return err
		}
	}
	return nil
}

// eraseHooks removes what partners sent, of the hooks that an event was made from.
func eraseHooks(c *conn, event patchbay.EventID) error {
	st, err := c.prepare("UPDATE hook SET body = NULL, header = NULL, query = '', reason = ? WHERE id IN (SELECT hook FROM hook_event WHERE event = ?)")
	if err != nil {
		return err
	}
	return st.bindText(1, store.ErasedHook).bind(2, int64(event)).run()
}

// Of a tenant are hooks in its scopes, and those of its connections' accounts that nobody's link took, unless another
// tenant has the account too.
const hooksOfTenant = `SELECT id FROM hook INDEXED BY hook_tenant WHERE tenant = ?1
	UNION ALL SELECT h.id FROM connection AS c JOIN hook AS h INDEXED BY hook_account ON h.account = c.account AND h.account <> '' AND h.integration = c.integration
		WHERE (c.scope = ?1 OR c.scope > ?1 || '/' AND c.scope < ?1 || '0') AND NOT h.placed AND h.link = 0
		AND NOT EXISTS (SELECT 1 FROM connection AS o INDEXED BY connection_account WHERE o.account = c.account AND o.integration = c.integration
			AND NOT (o.scope = ?1 OR o.scope > ?1 || '/' AND o.scope < ?1 || '0'))
	LIMIT ?2`

// removeHooks deletes a step of a tenant's hooks, and reports whether there was one.
func (s *Store) removeHooks(ctx context.Context, tenant string) (bool, error) {
	var ids []int64
	err := s.read(ctx, func(c *conn) error {
		st, err := c.prepare(hooksOfTenant)
		if err != nil {
			return err
		}
		ids, err = columnOf(st.bindText(1, tenant).bind(2, pruneRows))
		return err
	})
	if err != nil || len(ids) == 0 {
		return false, err
	}
	return true, s.do(ctx, func(c *conn) error {
		restore, err := overwriting(c)
		if err != nil {
			return err
		}
		defer restore()
		return deleteEach(c, "DELETE FROM hook WHERE id = ?", ids)
	}, nil)
}

// Hook returns a hook; see store.Hooks.
func (s *Store) Hook(ctx context.Context, id patchbay.HookID) (h *store.Hook, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT " + hookColumns + " FROM hook WHERE id = ?")
		if err != nil {
			return err
		}
		defer st.reset()
		row, err := st.bind(1, int64(id)).step()
		if err != nil {
			return err
		}
		if !row {
			return store.ErrNotFound
		}
		h, err = scanHook(st, true)
		return err
	})
	return h, err
}

// Hooks lists hooks; see store.Hooks.
func (s *Store) Hooks(ctx context.Context, f store.HookFilter) (out []store.Hook, err error) {
	sql, keys := allHooks, []string{""}
	switch {
	case f.Link != 0:
		sql = hooksOfLink
	case f.Account != "":
		sql = hooksByName
	case f.Within != "":
		sql, keys = hooksOf, []string{f.Within.Tenant()}
	case len(f.States) > 0:
		sql, keys = hooksByState, nil
		for _, state := range f.States {
			if !slices.Contains(keys, string(state)) {
				keys = append(keys, string(state))
			}
		}
	}
	var states []byte
	if len(f.States) > 0 {
		if states, err = json.Marshal(f.States); err != nil {
			return nil, err
		}
	}
	before := int64(forever)
	if f.Before != 0 {
		before = int64(f.Before)
	}
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		for _, key := range keys { // states are walked one after the other
			st.bindText(1, f.Integration).bind(2, int64(f.Link)).bindText(3, f.Account).bindText(4, string(f.Within))
			st.bindSome(5, string(states)).bind(6, before).bind(7, int64(f.Limit))
			if sql == hooksOf || sql == hooksByState {
				st.bindText(8, key)
			}
			err := st.rows(func() error {
				h, err := scanHook(st, false)
				if err == nil {
					out = append(out, *h)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b store.Hook) int { return cmp.Compare(b.ID, a.ID) })
	return out[:min(len(out), f.Limit)], err
}

// PendingHooks returns hooks that nobody has read; see store.Hooks.
func (s *Store) PendingHooks(ctx context.Context, before time.Time, after patchbay.HookID, limit int) (out []store.Hook, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(pendingHooks)
		if err != nil {
			return err
		}
		return st.bind(1, int64(after)).bind(2, patchbay.FirstIDAt(before)).bind(3, int64(limit)).rows(func() error {
			h, err := scanHook(st, true)
			if err == nil {
				out = append(out, *h)
			}
			return err
		})
	})
	return out, err
}

// pruneHooks deletes partners' calls that need not be kept any longer.
func (s *Store) pruneHooks(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	for _, state := range []struct {
		name patchbay.HookState
		kept time.Duration
	}{
		{patchbay.HookDone, r.Unmatched}, {patchbay.HookIgnored, r.Unmatched}, {patchbay.HookFailed, r.Unmatched},
		{patchbay.HookPending, r.Matched}, {patchbay.HookUnplaced, r.Matched},
	} {
		if state.kept <= 0 {
			continue
		}
		more, err := s.deleteRows(ctx, "SELECT id FROM hook INDEXED BY hook_state WHERE state = '"+string(state.name)+"' AND id < ? ORDER BY id LIMIT ?",
			"DELETE FROM hook WHERE id = ? AND state = '"+string(state.name)+"'", patchbay.FirstIDAt(now.Add(-state.kept)))
		if err != nil || more {
			return more, err
		}
	}
	if r.Unmatched <= 0 || r.Matched <= 0 {
		return false, nil
	}
	// An event is younger than the hooks that it was made from.
	below := patchbay.FirstIDAt(now.Add(-max(r.Unmatched, r.Matched)))
	return s.deleteRows(ctx, "SELECT DISTINCT event FROM hook_event WHERE event < ? ORDER BY event LIMIT ?", "DELETE FROM hook_event WHERE event = ?", below)
}

// pruneSessions deletes sessions and sign-ins whose time is over.
func (s *Store) pruneSessions(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	more, err := s.deleteRows(ctx, "SELECT id FROM session WHERE expires <= ? ORDER BY expires LIMIT ?", "DELETE FROM session WHERE id = ?", now.UnixMicro())
	if err != nil || more {
		return more, err
	}
	over := false
	err = s.read(ctx, func(c *conn) error {
		n, err := c.number("SELECT min(until) FROM flow INDEXED BY flow_until")
		over = n != 0 && n <= now.UnixMicro()
		return err
	})
	if err != nil || !over {
		return false, err
	}
	return true, s.do(ctx, func(c *conn) error {
		st, err := c.prepare("DELETE FROM flow WHERE hash IN (SELECT hash FROM flow WHERE until <= ? ORDER BY until LIMIT ?)")
		if err != nil {
			return err
		}
		return st.bind(1, now.UnixMicro()).bind(2, pruneRows).run()
	}, nil)
}
