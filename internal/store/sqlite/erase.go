package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

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

// overwriting has SQLite overwrite with zeros what it deletes, until restore is called. It costs writes, so it is on for
// erasures only.
func overwriting(c *conn) (restore func(), err error) {
	if err := c.exec("PRAGMA secure_delete = ON"); err != nil {
		return nil, err
	}
	return func() { _ = c.exec("PRAGMA secure_delete = OFF") }, nil // it can only fail for want of memory, and then more is zeroed
}

// ours is the condition that an identifier in a column is of the same node as ?1: identifiers of other nodes may lie
// between those of an event's deliveries.
func ours(column string) string {
	return fmt.Sprintf("(%s & %d) = (?1 & %d)", column, patchbay.IDStep-1, patchbay.IDStep-1)
}

// runEach runs statements whose parameters are the first and the last identifier of an event with its deliveries.
func runEach(c *conn, event, last int64, statements ...string) error {
	for _, sql := range statements {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		if err := st.bind(1, event).bind(2, last).run(); err != nil {
			return err
		}
	}
	return nil
}

// EraseEvents removes what events say; see store.Erasure.
func (s *Store) EraseEvents(ctx context.Context, ids []patchbay.EventID, at time.Time) error {
	return s.do(ctx, func(c *conn) error {
		restore, err := overwriting(c)
		if err != nil {
			return err
		}
		defer restore()
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				return err
			}
			st, err := c.prepare("SELECT id FROM event INDEXED BY event_replays WHERE origin = ?")
			if err != nil {
				return err
			}
			replays, err := columnOf(st.bind(1, int64(id)))
			if err != nil {
				return err
			}
			for _, x := range append(replays, int64(id)) {
				if err := s.eraseEvent(c, patchbay.EventID(x), at); err != nil {
					return err
				}
				if err := eraseHooks(c, patchbay.EventID(x)); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil)
}

// eraseEvent removes what one event says.
func (s *Store) eraseEvent(c *conn, id patchbay.EventID, at time.Time) error {
	r, err := readBrief(c, id)
	if err != nil || r == nil {
		return err
	}
	for i := range r.Targets {
		d, err := s.delivery(c, r, i)
		if err != nil {
			return err
		}
		if d.State.Final() {
			continue
		}
		err = s.w.writeOutcome(&store.Outcome{
			Delivery: d.ID, Event: id, Link: d.Link, State: patchbay.DeliveryCancelled, WasQueued: true,
			Attempt: patchbay.Attempt{At: at, Error: erasedError},
		})
		if err != nil {
			return err
		}
	}
	if n := len(r.Targets); n > 0 {
		// What a decision says is ours, unless it is the failure of a delivery.
		const forget = "UPDATE attempt SET request = NULL, error = iif(n > 0 OR state = 2, NULL, error) WHERE "
		err := runEach(c, int64(id), int64(patchbay.DeliveryAt(id, n)),
			forget+"id > ?1 AND id <= ?2 AND "+ours("id"),
			forget+"delivery > ?1 AND delivery <= ?2 AND "+ours("delivery"),
			deleteFirstResponses, deleteLaterResponses)
		if err != nil {
			return err
		}
	}
	st, err := c.prepare(`UPDATE event SET payload = iif(origin IS NULL, ?, NULL), actor = NULL, erased = coalesce(erased, ?) WHERE id = ?`)
	if err != nil {
		return err
	}
	return st.bindBlob(1, []byte("{}")).bindTime(2, at).bind(3, int64(id)).run()
}

var (
	deleteFirstResponses = "DELETE FROM response WHERE attempt > ?1 AND attempt <= ?2 AND " + ours("attempt")
	deleteLaterResponses = "DELETE FROM response WHERE attempt IN (SELECT id FROM attempt WHERE delivery > ?1 AND delivery <= ?2 AND " + ours("delivery") + ")"
)

// EraseTenant removes one step of a tenant; see store.Erasure. Events go first, the newest first, so that a replay goes
// before its origin.
func (s *Store) EraseTenant(ctx context.Context, tenant string) (int, bool, error) {
	if tenant == "" {
		return 0, false, errors.New("erasing a tenant: it has no name")
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
	events, err := s.eventsOf(ctx, tenant, at.gone-1, 0)
	if err == nil && len(events) == 0 && ok {
		events, err = s.eventsOf(ctx, tenant, forever-1, at.newest)
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

// eventsOf returns a step of the events in a tenant's scopes from one identifier down to another, the newest first.
func (s *Store) eventsOf(ctx context.Context, tenant string, at, low int64) (out []expired, err error) {
	search := newSearch(&s.history, true)
	search.within(patchbay.Scope(tenant))
	err = s.read(ctx, func(c *conn) error {
		search.start(c)
		defer search.end()
		for ; len(out) < pruneEvents; at-- {
			if err := ctx.Err(); err != nil {
				return err
			}
			id, ok, err := search.le(at)
			if err != nil || !ok || id < low {
				return err
			}
			at = id
			r, err := readBrief(c, patchbay.EventID(id))
			if err != nil {
				return err
			}
			if r != nil {
				out = append(out, expired{id, len(r.Targets)})
			}
		}
		return nil
	})
	return out, err
}

// removeEvents deletes events with all that belongs to them, whatever waits.
func (s *Store) removeEvents(ctx context.Context, events []expired) error {
	return s.do(ctx, func(c *conn) error {
		restore, err := overwriting(c)
		if err != nil {
			return err
		}
		defer restore()
		for _, e := range events {
			if e.targets > 0 {
				err := runEach(c, e.id, e.last(),
					"DELETE FROM queue WHERE delivery > ?1 AND delivery <= ?2 AND "+ours("delivery"),
					deleteFirstResponses, deleteLaterResponses,
					"DELETE FROM attempt WHERE id > ?1 AND id <= ?2 AND "+ours("id"),
					"DELETE FROM attempt WHERE delivery > ?1 AND delivery <= ?2 AND "+ours("delivery"))
				if err != nil {
					return err
				}
			}
			if err := deleteEach(c, "DELETE FROM event WHERE id = ?", []int64{e.id}); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		for _, e := range events {
			for i := 1; i <= e.targets; i++ {
				s.floor.Settle(patchbay.EventID(e.id), patchbay.DeliveryAt(patchbay.EventID(e.id), i))
			}
		}
	})
}

// tenantScopes is the condition that a scope lies at or below the tenant ?1: "0" follows "/" in ASCII.
const tenantScopes = "(scope = ?1 OR scope > ?1 || '/' AND scope < ?1 || '0')"

// removeTenant deletes a step of what else belongs to a tenant, and reports whether there may be more.
func (s *Store) removeTenant(ctx context.Context, tenant string) (more bool, err error) {
	links, more, err := s.linksOf(ctx, tenant)
	if err != nil {
		return false, err
	}
	err = s.do(ctx, func(c *conn) error {
		restore, err := overwriting(c)
		if err != nil {
			return err
		}
		defer restore()
		if err := deleteEach(c, "DELETE FROM hook WHERE link = ? AND link <> 0", links); err != nil {
			return err
		}
		for _, table := range []string{"queue", "thread", "lane"} {
			if err := deleteEach(c, "DELETE FROM "+table+" WHERE link = ?", links); err != nil {
				return err
			}
		}
		if err := deleteEach(c, "DELETE FROM link WHERE id = ?", links); err != nil {
			return err
		}
		for _, sql := range []string{
			"DELETE FROM api_key WHERE " + tenantScopes,
			"DELETE FROM session WHERE " + tenantScopes,
			"DELETE FROM connection WHERE " + tenantScopes,
			"DELETE FROM sample WHERE " + tenantScopes,
			"DELETE FROM job WHERE finished IS NOT NULL AND action <> '" + store.ActionErase + "' AND " + tenantScopes,
		} {
			st, err := c.prepare(sql)
			if err != nil {
				return err
			}
			if err := st.bindText(1, tenant).run(); err != nil {
				return err
			}
		}
		further, err := removeAudit(c, tenant)
		if err != nil {
			return err
		}
		more = more || further
		return s.forgetScopes(c, tenant)
	}, func() {
		s.lanes.forget(links)
		s.history.forgetScopes(tenant)
	})
	return more, err
}

// linksOf returns a step of a tenant's links, deleted ones and earlier revisions included.
func (s *Store) linksOf(ctx context.Context, tenant string) (ids []int64, more bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT id, data FROM link ORDER BY id, revision")
		if err != nil {
			return err
		}
		defer st.reset()
		for {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			id := st.int(0)
			if n := len(ids); n > 0 && ids[n-1] == id {
				continue
			}
			scope, err := store.LinkScope(st.raw(1))
			if err != nil {
				return err
			}
			if scope.Tenant() != tenant {
				continue
			}
			if len(ids) == pruneRows {
				more = true
				return nil
			}
			ids = append(ids, id)
		}
	})
	return ids, more, err
}

// forgetScopes deletes a tenant's scopes from the blocks of the history.
func (s *Store) forgetScopes(c *conn, tenant string) error {
	s.history.mu.RLock()
	blocks := s.history.blocks
	full := s.history.full != nil
	half := s.history.block.id
	s.history.mu.RUnlock()
	parts := make([]int64, 0, len(blocks)+1)
	for _, b := range blocks {
		parts = append(parts, b.id)
	}
	if full {
		parts = append(parts, half)
	}
	st, err := c.prepare("DELETE FROM history WHERE part = ?1 AND (key = ?2 OR key >= ?3 AND key < ?4)")
	if err != nil {
		return err
	}
	for _, block := range parts {
		for _, class := range []wordKind{0, keptEvent} {
			st.bind(1, block<<partShift|int64(scopeWord|class)).bindBlob(2, []byte(tenant))
			if err := st.bindBlob(3, []byte(tenant+"/")).bindBlob(4, []byte(tenant+"0")).run(); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetScopes drops a tenant's scopes from what is in memory. It runs in the writer's goroutine.
func (h *history) forgetScopes(tenant string) {
	within := func(kind wordKind, key string) bool {
		return kind&^keptEvent == scopeWord && (key == tenant || strings.HasPrefix(key, tenant+"/"))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range []*gathering{h.tail, h.full} {
		if g == nil {
			continue
		}
		for w := range g.words {
			if within(w.kind, w.key) {
				delete(g.words, w)
			}
		}
	}
	if h.full != nil {
		rest := slices.DeleteFunc(slices.Clone(h.rows[h.next:]), func(r historyRow) bool {
			return within(wordKind(r.part&(1<<partShift-1)), string(r.key))
		})
		h.rows = append(h.rows[:h.next:h.next], rest...)
	}
}
