package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Retention drops a day's partitions once everything in them has been kept for long enough, so what is not kept for ever is
// kept for up to a day longer. What must stay longer than the rest of its day (it waits, is in a node's memory, is played
// again, belongs to a tenant that keeps for longer) moves into the default partition first. Only where that would be too
// much, and for tenants that keep for a shorter time, events are deleted one by one, in small steps.

const (
	// pruneEvents, pruneRows and pruneLook bound one step: events that are deleted with all that belongs to them, rows that
	// are deleted, rows that are looked at.
	pruneEvents = 200
	pruneRows   = 500
	pruneLook   = 2000
	// pruneDrops bounds how many places in the queue one step removes of what a link has dropped.
	pruneDrops = 200
	// prunePages is how many pages of a table one step walks.
	prunePages = 32
	// survivorsMost is how many events move out of a partition that is dropped.
	survivorsMost = 500
	// sweepEvery is how often whole tables are walked for what has expired, and crowded partitions looked at again.
	sweepEvery = time.Hour
	// changesKept is how long changes are kept: a node that was away for longer reads everything anew.
	changesKept = 24 * time.Hour
	// revisionMargin is how much longer a link's revision is kept than the oldest event: a node may match events with a
	// revision for a moment after it was replaced.
	revisionMargin = time.Hour
)

// pruner remembers where Prune goes on. What is lost with it is only looked at again.
type pruner struct {
	mu      sync.Mutex
	made    time.Time            // when partitions were made last
	crowded map[string]time.Time // partitions with too many survivors, and when they are looked at again
	keys    sweep
	threads sweep
}

// sweep walks through a table once in a while.
type sweep struct {
	page  int64
	began time.Time
	idle  bool
}

// due reports whether there is something to walk, beginning anew when it is time.
func (x *sweep) due(now time.Time) bool {
	if x.began.IsZero() || x.idle && (now.Sub(x.began) >= sweepEvery || now.Before(x.began)) {
		*x = sweep{began: now}
	}
	return !x.idle
}

// Prune deletes one small step; see store.Maintenance. Of several nodes one does so at a time.
func (s *Store) Prune(ctx context.Context, r store.Retention, now time.Time) (bool, error) {
	s.prune.mu.Lock()
	defer s.prune.mu.Unlock()
	if err := s.madePartitions(ctx, now); err != nil {
		return false, err
	}
	for _, step := range []struct {
		doing string
		f     func(context.Context, *store.Retention, time.Time) (bool, error)
	}{
		{"removing what links have dropped", s.pruneDropped},
		{"deleting answers of partners", s.pruneResponses},
		{"deleting old events", s.pruneExpired},
		{"deleting events beyond the byte budget", s.pruneBudget},
		{"deleting what belonged to deleted events", s.pruneLeftovers},
		{"forgetting idempotency keys", s.pruneKeys},
		{"forgetting threads", s.pruneThreads},
		{"deleting old revisions of links", s.pruneLinks},
		{"deleting old hooks", s.pruneHooks},
		{"deleting sessions that have ended", s.pruneSessions},
		{"forgetting changes", s.pruneChanges},
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

// madePartitions makes the partitions of the next days, once in a while.
func (s *Store) madePartitions(ctx context.Context, now time.Time) error {
	if since := now.Sub(s.prune.made); since >= 0 && since < sweepEvery && dayOf(now).Equal(dayOf(s.prune.made)) {
		return nil
	}
	err := s.query(ctx, func(c *pgx.Conn) error { return makePartitions(ctx, c, now) })
	if err == nil {
		s.prune.made = now
	}
	return err
}

// alone runs a step of pruning in a transaction, unless another node is at one.
func (s *Store) alone(ctx context.Context, f func(pgx.Tx) (bool, error)) (more bool, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		var mine bool
		more = false
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1, 0)", lockPrune).Scan(&mine); err != nil || !mine {
			return err
		}
		more, err = f(tx)
		return err
	})
	return more, err
}

// deleted runs a statement that deletes a step of rows; there may be more when it deleted as many as it may.
func (s *Store) deleted(ctx context.Context, most int64, sql string, args ...any) (bool, error) {
	return s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		tag, err := tx.Exec(ctx, sql, args...)
		return err == nil && tag.RowsAffected() >= most, err
	})
}

// pruneDropped removes queue rows that a lane has dropped, and writes down that the deliveries were cancelled.
func (s *Store) pruneDropped(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	return s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		rows, err := tx.Query(ctx, `SELECT q.link, q.delivery, q.event FROM lane l
			CROSS JOIN LATERAL (SELECT * FROM queue WHERE link = l.link AND delivery < l.drop_before AND coalesce(spared, 0) < l.drop_before
				ORDER BY delivery LIMIT $1 FOR UPDATE) q
			WHERE l.drop_before > 0 LIMIT $1`, pruneDrops)
		if err != nil {
			return false, err
		}
		b := newBatch()
		var (
			o       store.Outcome
			dropped []store.Outcome
		)
		_, err = pgx.ForEachRow(rows, []any{&o.Link, &o.Delivery, &o.Event}, func() error {
			o.State, o.Attempt = patchbay.DeliveryCancelled, patchbay.Attempt{At: now, Error: droppedError}
			dropped = append(dropped, o)
			b.leave(o.Link, o.Delivery)
			return nil
		})
		if err != nil || len(dropped) == 0 {
			return false, err
		}
		if err := writeDecisions(ctx, tx, dropped); err != nil {
			return false, err
		}
		return true, execBinary(ctx, tx, sqlQueue, b.gone, b.places)
	})
}

// pruneResponses deletes what partners answered.
func (s *Store) pruneResponses(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	if r.Bodies <= 0 {
		return false, nil
	}
	end := patchbay.FirstIDAt(now.Add(-r.Bodies))
	days, err := s.daysBefore(ctx, "response", end)
	if err != nil {
		return false, err
	}
	for _, day := range days {
		dropped, err := s.dropDay(ctx, "response", day, nil)
		if err != nil || dropped != busy {
			return err == nil, err
		}
	}
	return s.deleted(ctx, pruneRows, "DELETE FROM response_default WHERE id IN (SELECT id FROM response_default WHERE id < $1 ORDER BY id LIMIT $2)", end, pruneRows)
}

// daysBefore returns the days whose partition of a table ends at or before an identifier, the oldest first.
func (s *Store) daysBefore(ctx context.Context, table string, end int64) (days []time.Time, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		all, err := partitions(ctx, c)
		days = slices.DeleteFunc(all[table], func(day time.Time) bool {
			_, high := span(day)
			return high > end
		})
		return err
	})
	return days, err
}

// pruneLeftovers drops a day's attempts and history once its events have gone, and deletes what of events that were deleted
// one by one lies in default partitions.
func (s *Store) pruneLeftovers(ctx context.Context, _ *store.Retention, _ time.Time) (bool, error) {
	var all map[string][]time.Time
	err := s.query(ctx, func(c *pgx.Conn) (err error) {
		all, err = partitions(ctx, c)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, day := range all["attempt"] {
		if !slices.Contains(all["event"], day) {
			dropped, err := s.dropDay(ctx, "attempt", day, attemptsStay)
			if err != nil || dropped != busy {
				return err == nil, err
			}
		}
	}
	for _, day := range all["history"] {
		if !slices.Contains(all["event"], day) && !slices.Contains(all["unmatched"], day) {
			dropped, err := s.dropDay(ctx, "history", day, historyStays)
			if err != nil || dropped != busy {
				return err == nil, err
			}
		}
	}
	return s.pruneOlder(ctx, all)
}

// pruneOlder deletes what is older than the oldest event of all: answers, which came after their events, and blocks that are
// in no partition.
func (s *Store) pruneOlder(ctx context.Context, all map[string][]time.Time) (bool, error) {
	var oldest int64
	err := s.query(ctx, func(c *pgx.Conn) error { return c.QueryRow(ctx, "SELECT "+sqlOldest).Scan(&oldest) })
	if err != nil {
		return false, err
	}
	oldest = min(oldest, patchbay.FirstIDAt(s.now()))
	for _, day := range all["response"] {
		if _, high := span(day); high <= oldest {
			result, err := s.dropDay(ctx, "response", day, nil)
			if err != nil || result != busy {
				return err == nil, err
			}
		}
	}
	more, err := s.deleted(ctx, pruneRows, "DELETE FROM response_default WHERE id IN (SELECT id FROM response_default WHERE id < $1 ORDER BY id LIMIT $2)", oldest, pruneRows)
	if err != nil || more {
		return more, err
	}
	below := oldest
	if days := all["history"]; len(days) > 0 {
		low, _ := span(days[0])
		below = min(below, low) // blocks of partitions go with these
	}
	more, err = s.deleted(ctx, pruneRows, `DELETE FROM history_default WHERE ctid = ANY(ARRAY(SELECT ctid FROM history_default
		WHERE low < coalesce((SELECT min(low) FROM block WHERE high > $1), $1) LIMIT $2))`, below, pruneRows)
	if err != nil || more {
		return more, err
	}
	return s.deleted(ctx, pruneRows, "DELETE FROM block WHERE low IN (SELECT low FROM block WHERE high <= $1 ORDER BY low LIMIT $2)", below, pruneRows)
}

// sqlOldest is the oldest event of all, above everything when there is none.
const sqlOldest = "coalesce(least((SELECT min(id) FROM event), (SELECT min(id) FROM unmatched)), 9223372036854775807)"

// pruneSweep walks some pages of a table and deletes rows of which a condition holds.
func (s *Store) pruneSweep(ctx context.Context, x *sweep, table, condition string, arg any) (bool, error) {
	return s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		var pages int64
		if err := tx.QueryRow(ctx, "SELECT pg_relation_size($1::text::regclass) / 8192", table).Scan(&pages); err != nil {
			return false, err
		}
		if x.idle = x.page >= pages; x.idle {
			return false, nil
		}
		_, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND "+condition,
			fmt.Sprintf("(%d,0)", x.page), fmt.Sprintf("(%d,0)", x.page+prunePages), arg)
		x.page += prunePages
		return true, err
	})
}

// pruneKeys forgets keys whose time is over.
func (s *Store) pruneKeys(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	if !s.prune.keys.due(now) {
		return false, nil
	}
	return s.pruneSweep(ctx, &s.prune.keys, "idempotency", "until <= $3", now)
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
	if longest <= 0 || !s.prune.threads.due(now) {
		return false, nil
	}
	return s.pruneSweep(ctx, &s.prune.threads, "thread", "event < $3", patchbay.FirstIDAt(now.Add(-longest)))
}

// pruneLinks deletes revisions that no kept event can refer to, and lanes of links that have gone altogether.
func (s *Store) pruneLinks(ctx context.Context, _ *store.Retention, now time.Time) (bool, error) {
	return s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		var oldest int64
		if err := tx.QueryRow(ctx, "SELECT "+sqlOldest).Scan(&oldest); err != nil {
			return false, err
		}
		at := now
		if oldest < forever {
			at = patchbay.EventID(oldest).Time()
		}
		below := patchbay.FirstIDAt(at.Add(-revisionMargin))
		tag, err := tx.Exec(ctx, "DELETE FROM link WHERE (id, revision) IN (SELECT id, revision FROM link WHERE ended < $1 ORDER BY ended LIMIT $2)", below, pruneRows)
		if err != nil || tag.RowsAffected() >= pruneRows {
			return true, err
		}
		_, err = tx.Exec(ctx, `DELETE FROM lane WHERE drop_before > 0 AND drop_before < $1
			AND NOT EXISTS (SELECT FROM link WHERE link.id = lane.link) AND NOT EXISTS (SELECT FROM queue WHERE queue.link = lane.link)`, below)
		return false, err
	})
}

// pruneChanges forgets changes that every node has seen. The newest stays, because it says where to go on.
func (s *Store) pruneChanges(ctx context.Context, _ *store.Retention, _ time.Time) (bool, error) {
	return s.deleted(ctx, pruneRows, `DELETE FROM change WHERE seq IN (SELECT seq FROM (SELECT seq, made FROM change ORDER BY seq LIMIT $2) AS oldest
		WHERE made < clock_timestamp() - $1 * interval '1 second' AND seq < (SELECT max(seq) FROM change))`, int64(changesKept.Seconds()), pruneRows)
}
