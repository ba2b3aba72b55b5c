package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// pruneExpired deletes events that have been kept for long enough.
func (s *Store) pruneExpired(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	for _, t := range []struct {
		table   string
		base    time.Duration
		tenants map[string]time.Duration
	}{{"unmatched", r.Unmatched, nil}, {"event", r.Matched, r.Tenants}} {
		more, err := s.pruneTable(ctx, t.table, t.base, t.tenants, now)
		if err != nil || more {
			return more, err
		}
	}
	return false, nil
}

// pruneTable drops a table's old days, and walks over what cannot be dropped.
func (s *Store) pruneTable(ctx context.Context, table string, base time.Duration, tenants map[string]time.Duration, now time.Time) (bool, error) {
	if base > 0 {
		days, err := s.daysBefore(ctx, table, patchbay.FirstIDAt(now.Add(-base)))
		if err != nil {
			return false, err
		}
		for _, day := range days {
			result, err := s.dropEvents(ctx, table, day, longerThan(tenants, now.Sub(day.Add(oneDay))))
			if err != nil || result == dropped {
				return err == nil, err
			}
			if result == busy {
				return false, nil
			}
		}
	}
	w := walk{table: table, base: base, tenants: tenants}
	for _, d := range w.lengths() {
		end := now.Add(-d)
		if d == base && !slices.Contains(slices.Collect(maps.Values(tenants)), base) {
			end = dayOf(end) // of a day that is not over yet nothing is deleted that will be dropped
		}
		more, err := s.pruneWalk(ctx, &w, d, patchbay.FirstIDAt(end), now)
		if err != nil || more {
			return more, err
		}
	}
	return false, nil
}

// longerThan returns the tenants who keep events for longer than an age.
func longerThan(tenants map[string]time.Duration, age time.Duration) []string {
	var out []string
	for tenant, d := range tenants {
		if d <= 0 || d > age {
			out = append(out, tenant)
		}
	}
	return out
}

// walk looks through a table for events that are deleted one by one.
type walk struct {
	table   string
	base    time.Duration
	tenants map[string]time.Duration
}

// keptFor is how long an event is kept; 0 and less is for ever.
func (w *walk) keptFor(scope patchbay.Scope) time.Duration {
	if d, ok := w.tenants[scope.Tenant()]; ok {
		return d
	}
	return w.base
}

// lengths returns for how long events are kept, the shortest first.
func (w *walk) lengths() []time.Duration {
	all := append([]time.Duration{w.base}, slices.Collect(maps.Values(w.tenants))...)
	all = slices.DeleteFunc(all, func(d time.Duration) bool { return d <= 0 })
	slices.Sort(all)
	return slices.Compact(all)
}

// cursor is how far events have been looked through for one length of retention. It is kept, because there may be millions
// of events that are kept for longer.
type cursor struct {
	at      int64 // events below have been looked at
	skipped int64 // the lowest that could not be deleted then: it waited, or is played again; 0: none
	again   int64 // when the walk goes back to skipped, Unix seconds
}

// cursorName names the cursor of one length of retention. Cursors are worth nothing when anything else is kept for another
// time than before, so all lengths go into the name.
func (w *walk) cursorName(d time.Duration) string {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, w.base) // a hash takes everything
	for _, tenant := range slices.Sorted(maps.Keys(w.tenants)) {
		_, _ = fmt.Fprint(h, tenant, w.tenants[tenant])
	}
	return fmt.Sprintf("prune.%s.%x.%s", w.table, h.Sum64(), d)
}

// pruneWalk looks at events that are as old as one length of retention, and deletes those that are kept for that long or
// for less.
func (s *Store) pruneWalk(ctx context.Context, w *walk, d time.Duration, end int64, now time.Time) (bool, error) {
	name := w.cursorName(d)
	return s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		text, err := readMeta(ctx, tx, name)
		if err != nil {
			return false, err
		}
		var was cursor
		if text != "" {
			if n, _ := fmt.Sscan(text, &was.at, &was.skipped, &was.again); n < 3 {
				was = cursor{} // not ours: the walk begins again
			}
		}
		at := was
		if at.skipped != 0 && at.at >= end && now.Unix() >= at.again {
			at = cursor{at: at.skipped}
		}
		if at.at >= end {
			return false, nil
		}
		old, next, err := w.expired(ctx, tx, at.at, end, d)
		if err != nil {
			return false, err
		}
		at.at = next
		kept, err := deleteEvents(ctx, tx, w.table, old)
		if err != nil {
			return false, err
		}
		for _, id := range kept {
			if at.skipped == 0 || id < at.skipped {
				at.skipped, at.again = id, now.Add(sweepEvery).Unix()
			}
		}
		return at.at < end, writeMeta(ctx, tx, name, fmt.Sprint(at.at, at.skipped, at.again))
	})
}

// expired looks through a step of events and returns those that are deleted, and where to go on.
func (w *walk) expired(ctx context.Context, tx pgx.Tx, from, end int64, d time.Duration) (old []brief, next int64, err error) {
	all, err := readBriefs(ctx, tx, "SELECT "+briefColumns+" FROM "+w.table+" WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3", from, end, pruneLook)
	if err != nil {
		return nil, 0, err
	}
	rows := 0
	for i := range all {
		if kept := w.keptFor(all[i].scope); kept > 0 && kept <= d {
			rows += 1 + len(all[i].targets)
			old = append(old, all[i])
		}
		if len(old) >= pruneEvents || rows >= pruneLook {
			return old, all[i].id + 1, nil
		}
	}
	if len(all) == pruneLook {
		return old, all[len(all)-1].id + 1, nil
	}
	return old, end, nil
}

// deleteEvents deletes events with all that belongs to them, but for those that are still needed, which it returns.
func deleteEvents(ctx context.Context, tx pgx.Tx, table string, old []brief) (kept []int64, err error) {
	if len(old) == 0 {
		return nil, nil
	}
	needed, err := neededAmong(ctx, tx, old)
	if err != nil {
		return nil, err
	}
	var ids, deliveries []int64
	for i := range old {
		if needed[old[i].id] {
			kept = append(kept, old[i].id)
			continue
		}
		ids = append(ids, old[i].id)
		for j := range old[i].targets {
			deliveries = append(deliveries, old[i].candidate(j).id)
		}
	}
	b := &pgx.Batch{}
	b.Queue("DELETE FROM "+table+" WHERE id = ANY($1)", ids)
	if len(deliveries) > 0 {
		b.Queue("DELETE FROM response WHERE id IN (SELECT response FROM attempt WHERE delivery = ANY($1))", deliveries)
		b.Queue("DELETE FROM attempt WHERE delivery = ANY($1)", deliveries)
	}
	b.Queue("DELETE FROM late WHERE id = ANY($1)", ids)
	return kept, tx.SendBatch(ctx, b).Close()
}

// neededAmong returns those of some events that wait, are in a node's memory, or are played again.
func neededAmong(ctx context.Context, tx pgx.Tx, old []brief) (map[int64]bool, error) {
	floors, err := readFloors(ctx, tx)
	if err != nil {
		return nil, err
	}
	var ids, deliveries, above []int64
	for i := range old {
		e := &old[i]
		ids = append(ids, e.id)
		for j := range e.targets {
			deliveries = append(deliveries, e.candidate(j).id)
		}
		if floor, ok := floors[int32(e.id%patchbay.IDStep)]; ok && e.id >= floor && len(e.targets) > 0 {
			above = append(above, e.id)
		}
	}
	rows, err := tx.Query(ctx, `SELECT event FROM queue WHERE delivery = ANY($2) UNION SELECT origin FROM event WHERE origin = ANY($1)
		UNION SELECT origin FROM unmatched WHERE origin = ANY($1)`, ids, deliveries)
	if err != nil {
		return nil, err
	}
	needed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	if len(above) > 0 {
		under, err := underWay(ctx, tx, sqlBriefs, above)
		if err != nil {
			return nil, err
		}
		needed = append(needed, under...)
	}
	out := make(map[int64]bool, len(needed))
	for _, id := range needed {
		out[id] = true
	}
	return out, nil
}

// Stats describes the database; see store.Maintenance.
func (s *Store) Stats(ctx context.Context) (x store.Stats, err error) {
	x = store.Stats{
		Schema: schemaVersion(), Commits: s.w.stats.commits.Load(), Committed: s.w.stats.committed.Load(), Busy: time.Duration(s.w.stats.busy.Load()),
	}
	err = s.query(ctx, func(c *pgx.Conn) error {
		// Counting stops where it would take long; above that what the server keeps count of is good enough.
		return c.QueryRow(ctx, `SELECT 'PostgreSQL ' || current_setting('server_version'), pg_database_size(current_database()),
				greatest(0, CASE WHEN n < $1 THEN n ELSE greatest(n, (SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = 'queue'::regclass)) END - dropped)
			FROM (SELECT count(*) AS n FROM (SELECT FROM queue LIMIT $1) AS few) AS counted,
				(SELECT count(*) AS dropped FROM (SELECT FROM lane l JOIN queue q ON q.link = l.link AND q.delivery < l.drop_before
					AND coalesce(q.spared, 0) < l.drop_before WHERE l.drop_before > 0 LIMIT $1) AS few) AS uncounted`, countedMost).
			Scan(&x.Engine, &x.Bytes, &x.Queued)
	})
	return x, err
}

// countedMost is up to where what waits is counted exactly.
const countedMost = 100_000
