package sqlite

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// pruneEvents, pruneRows and pruneLook bound one step: events that are deleted with all that belongs to them (some
	// 15 µs each), rows that are deleted, rows that are looked at without holding anybody up.
	pruneEvents = 200
	pruneDrops  = 100 // queue rows, some 30 µs each
	pruneRows   = 500
	pruneLook   = 2000
	// sweepEvery is how often whole tables are walked for what has expired.
	sweepEvery = time.Hour
	// revisionMargin is how much longer a link's revision is kept than the oldest event: a node may match events
	// with a revision for a moment after it was replaced.
	revisionMargin = time.Hour
)

// pruner remembers where Prune goes on. What is lost with it is only looked at again.
type pruner struct {
	mu      sync.Mutex
	budget  int64 // the next event to delete because there is too much
	keys    sweep
	threads sweep
	thread  string // with threads.at, the last thread that was looked at
}

// sweep walks through a table once in a while.
type sweep struct {
	at    int64
	began time.Time
	idle  bool
}

// due reports whether there is something to walk, beginning anew when it is time.
func (x *sweep) due(now time.Time) bool {
	if x.began.IsZero() || x.idle && (now.Sub(x.began) >= sweepEvery || now.Before(x.began)) {
		*x = sweep{at: -1, began: now}
	}
	return !x.idle
}

// Prune deletes one small step; see store.Maintenance.
func (s *Store) Prune(ctx context.Context, r store.Retention, now time.Time) (bool, error) {
	s.prune.mu.Lock()
	defer s.prune.mu.Unlock()
	for _, step := range []struct {
		doing string
		f     func(context.Context, *store.Retention, time.Time) (bool, error)
	}{
		{"removing what links have dropped", s.pruneDropped},
		{"deleting answers of partners", s.pruneResponses},
		{"deleting old events", s.pruneExpired},
		{"deleting events beyond the byte budget", s.pruneBudget},
		{"deleting the history of deleted events", s.pruneHistory},
		{"forgetting idempotency keys", s.pruneKeys},
		{"forgetting threads", s.pruneThreads},
		{"deleting old revisions of links", s.pruneLinks},
		{"deleting old hooks", s.pruneHooks},
		{"deleting sessions that have ended", s.pruneSessions},
	} {
		more, err := step.f(ctx, &r, now)
		if err != nil {
			return false, fmt.Errorf("%s: %w", step.doing, err)
		}
		if more {
			return true, nil
		}
	}
	return false, nil
}

// droppedError is what stands in the decision about a delivery that its lane has dropped.
const droppedError = "cancelled with everything that waited for the link"

// pruneDropped removes queue rows that a lane has dropped, and writes down that the deliveries were cancelled.
func (s *Store) pruneDropped(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	for _, l := range s.lanes.dropping() {
		var rows []store.Queued
		err := s.read(ctx, func(c *conn) error {
			st, err := c.prepare(`SELECT ` + queueColumns + ` FROM queue INDEXED BY queue_due
				WHERE link = ?1 AND delivery < ?2 AND (spared IS NULL OR spared < ?2) LIMIT ?3`)
			if err != nil {
				return err
			}
			defer st.reset()
			st.bind(1, int64(l.Link)).bind(2, int64(l.DropBefore)).bind(3, pruneDrops)
			for {
				row, err := st.step()
				if err != nil || !row {
					return err
				}
				rows = append(rows, queued(st, l.Link))
			}
		})
		if err != nil {
			return false, err
		}
		if len(rows) == 0 {
			s.lanes.settled(l.Link, l.generation)
			continue
		}
		return true, s.do(ctx, func(c *conn) error { return s.dropRows(c, rows, l.DropBefore, now) }, nil)
	}
	return false, nil
}

func (s *Store) dropRows(c *conn, rows []store.Queued, before patchbay.DeliveryID, now time.Time) error {
	still, err := c.prepare("SELECT 1 FROM queue WHERE delivery = ?1 AND (spared IS NULL OR spared < ?2)")
	if err != nil {
		return err
	}
	for i := range rows {
		q := &rows[i]
		row, err := still.bind(1, int64(q.Delivery)).bind(2, int64(before)).step()
		still.reset()
		if err != nil {
			return err
		}
		if !row {
			continue
		}
		err = s.w.writeOutcome(&store.Outcome{
			Delivery: q.Delivery, Event: q.Event, Link: q.Link, State: patchbay.DeliveryCancelled, WasQueued: true,
			Attempt: patchbay.Attempt{At: now, Error: droppedError},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneResponses deletes what partners answered.
func (s *Store) pruneResponses(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	if r.Bodies <= 0 {
		return false, nil
	}
	return s.deleteRows(ctx, "SELECT attempt FROM response WHERE attempt < ? ORDER BY attempt LIMIT ?",
		"DELETE FROM response WHERE attempt = ?", patchbay.FirstIDAt(now.Add(-r.Bodies)))
}

// deleteRows deletes the rows whose keys a query finds, a step of them. The query's parameters are below and a limit.
func (s *Store) deleteRows(ctx context.Context, query, del string, below int64) (bool, error) {
	var ids []int64
	err := s.read(ctx, func(c *conn) error {
		st, err := c.prepare(query)
		if err != nil {
			return err
		}
		ids, err = columnOf(st.bind(1, below).bind(2, pruneRows))
		return err
	})
	if err != nil || len(ids) == 0 {
		return false, err
	}
	return true, s.do(ctx, func(c *conn) error { return deleteEach(c, del, ids) }, nil)
}

func deleteEach(c *conn, del string, ids []int64) error {
	st, err := c.prepare(del)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := st.bind(1, id).run(); err != nil {
			return err
		}
	}
	return nil
}

// pruneKeys forgets keys whose time is over, or whose event is deleted.
func (s *Store) pruneKeys(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	x := &s.prune.keys
	if !x.due(now) {
		return false, nil
	}
	var gone [][2]int64
	rows := 0
	err := s.read(ctx, func(c *conn) error {
		st, err := c.prepare(`SELECT i.hash, i.event, e.until FROM idempotency i LEFT JOIN event e ON e.id = i.event
			WHERE i.hash > ? ORDER BY i.hash LIMIT ?`)
		if err != nil {
			return err
		}
		defer st.reset()
		st.bind(1, x.at).bind(2, pruneLook)
		for {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			rows++
			x.at = st.int(0)
			if st.isNull(2) || st.int(2) <= now.UnixMicro() {
				gone = append(gone, [2]int64{st.int(0), st.int(1)})
			}
		}
	})
	if err != nil {
		return false, err
	}
	if x.idle = rows < pruneLook; len(gone) == 0 {
		return !x.idle, nil
	}
	return true, s.do(ctx, func(c *conn) error {
		st, err := c.prepare("DELETE FROM idempotency WHERE hash = ? AND event = ?")
		if err != nil {
			return err
		}
		for _, g := range gone {
			if err := st.bind(1, g[0]).bind(2, g[1]).run(); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// pruneThreads forgets threads in which nothing was delivered for as long as the longest retention.
func (s *Store) pruneThreads(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	longest := r.Matched
	for _, d := range r.Tenants {
		if d <= 0 || longest <= 0 {
			longest = 0
			break
		}
		longest = max(longest, d)
	}
	x := &s.prune.threads
	if longest <= 0 || !x.due(now) {
		return false, nil
	}
	if x.at < 0 {
		s.prune.thread = ""
	}
	type key struct {
		link   int64
		thread string
	}
	var gone []key
	below, rows := patchbay.FirstIDAt(now.Add(-longest)), 0
	err := s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT link, thread, event FROM thread WHERE (link, thread) > (?, ?) ORDER BY link, thread LIMIT ?")
		if err != nil {
			return err
		}
		defer st.reset()
		st.bind(1, x.at).bindText(2, s.prune.thread).bind(3, pruneLook)
		for {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			rows++
			x.at, s.prune.thread = st.int(0), st.str(1)
			if st.int(2) < below {
				gone = append(gone, key{x.at, s.prune.thread})
			}
		}
	})
	if err != nil {
		return false, err
	}
	if x.idle = rows < pruneLook; len(gone) == 0 {
		return !x.idle, nil
	}
	return true, s.do(ctx, func(c *conn) error {
		st, err := c.prepare("DELETE FROM thread WHERE link = ? AND thread = ? AND event < ?")
		if err != nil {
			return err
		}
		for _, k := range gone {
			if err := st.bind(1, k.link).bindText(2, k.thread).bind(3, below).run(); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// pruneLinks deletes revisions that no kept event can refer to, and lanes of links that have gone altogether.
func (s *Store) pruneLinks(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	oldest := now
	var lanes []int64
	err := s.read(ctx, func(c *conn) error {
		id, err := c.number("SELECT min(id) FROM event")
		if err != nil {
			return err
		}
		if id != 0 {
			oldest = patchbay.EventID(id).Time()
		}
		st, err := c.prepare(`SELECT link FROM lane WHERE drop_before > 0 AND drop_before < ?
			AND NOT EXISTS (SELECT 1 FROM link WHERE link.id = lane.link)
			AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.link = lane.link)`)
		if err != nil {
			return err
		}
		lanes, err = columnOf(st.bind(1, patchbay.FirstIDAt(oldest.Add(-revisionMargin))))
		return err
	})
	if err != nil {
		return false, err
	}
	below := patchbay.FirstIDAt(oldest.Add(-revisionMargin))
	more, err := s.deleteRows(ctx, "SELECT ended FROM link INDEXED BY link_ended WHERE ended < ? ORDER BY ended LIMIT ?",
		"DELETE FROM link WHERE ended = ?", below)
	if err != nil || more || len(lanes) == 0 {
		return more, err
	}
	lanes = lanes[:min(len(lanes), pruneRows)]
	return true, s.do(ctx, func(c *conn) error {
		return deleteEach(c, "DELETE FROM lane WHERE link = ? AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.link = lane.link)", lanes)
	}, func() { s.lanes.forget(lanes) })
}

// durations returns the lengths for which events are kept, the shortest first. 0 and less is for ever.
func durations(r *store.Retention) []time.Duration {
	all := []time.Duration{r.Matched, r.Unmatched}
	for _, d := range r.Tenants {
		all = append(all, d)
	}
	all = slices.DeleteFunc(all, func(d time.Duration) bool { return d <= 0 })
	slices.Sort(all)
	return slices.Compact(all)
}

// keptFor is how long an event is kept.
func keptFor(r *store.Retention, matched bool, scope patchbay.Scope) time.Duration {
	if !matched {
		return r.Unmatched
	}
	if d, ok := r.Tenants[scope.Tenant()]; ok {
		return d
	}
	return r.Matched
}
