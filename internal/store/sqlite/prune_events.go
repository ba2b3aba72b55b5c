package sqlite

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// cursor is how far events have been looked through for one length of retention. It is kept, because there may be
// millions of events that are kept for longer.
type cursor struct {
	at      int64 // events below have been looked at
	skipped int64 // the lowest that could not be deleted then: it waited, or is played again; 0: none
	again   int64 // when the walk goes back to skipped, Unix seconds
}

func readCursor(c *conn, name string) (x cursor, err error) {
	text, err := readMeta(c, name)
	if err != nil || text == "" {
		return x, err
	}
	if n, _ := fmt.Sscan(text, &x.at, &x.skipped, &x.again); n < 3 {
		x = cursor{} // not ours: the walk begins again
	}
	return x, nil
}

func (x *cursor) write(c *conn, name string) error {
	return writeMeta(c, name, fmt.Sprint(x.at, x.skipped, x.again))
}

// cursorName names the cursor of one length of retention. Cursors are worth nothing when anything else is kept for
// another time than before, so all lengths go into the name.
func cursorName(r *store.Retention, d time.Duration) string {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, r.Matched, r.Unmatched) // a hash takes everything
	for _, tenant := range slices.Sorted(maps.Keys(r.Tenants)) {
		_, _ = fmt.Fprint(h, tenant, r.Tenants[tenant])
	}
	return fmt.Sprintf("prune.%x.%s", h.Sum64(), d)
}

// expired is an event that may be deleted.
type expired struct {
	id      int64
	targets int
}

func (x expired) last() int64 { return int64(patchbay.DeliveryAt(patchbay.EventID(x.id), x.targets)) }

// pruneExpired deletes events that have been kept for long enough.
func (s *Store) pruneExpired(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	for _, d := range durations(r) {
		more, err := s.pruneAge(ctx, r, d, now)
		if err != nil || more {
			return more, err
		}
	}
	return false, nil
}

// pruneAge looks at events that are as old as one length of retention, and deletes those that are kept for that long
// or for less.
func (s *Store) pruneAge(ctx context.Context, r *store.Retention, d time.Duration, now time.Time) (bool, error) {
	name := cursorName(r, d)
	end := patchbay.FirstIDAt(now.Add(-d))
	var (
		was, at cursor
		old     []expired
	)
	err := s.read(ctx, func(c *conn) (err error) {
		if was, err = readCursor(c, name); err != nil {
			return err
		}
		at = was
		if at.skipped != 0 && at.at >= end && now.Unix() >= at.again {
			at = cursor{at: at.skipped}
		}
		old, at.at, err = expiredBetween(c, at.at, end, forever, func(matched bool, scope patchbay.Scope) bool {
			kept := keptFor(r, matched, scope)
			return kept > 0 && kept <= d
		})
		return err
	})
	if err != nil || at == was && len(old) == 0 {
		return false, err
	}
	more := at.at < end || len(old) > 0
	return more, s.do(ctx, func(c *conn) error {
		for _, e := range old {
			done, err := s.deleteEvent(c, e)
			if err != nil {
				return err
			}
			if !done && (at.skipped == 0 || e.id < at.skipped) {
				at.skipped, at.again = e.id, now.Add(sweepEvery).Unix()
			}
		}
		return at.write(c, name)
	}, nil)
}

// expiredBetween looks through events from one identifier up to another, a step of them, and returns those that f
// chooses, until they make up so many bytes, and where to go on.
func expiredBetween(c *conn, from, end, bytes int64, f func(matched bool, scope patchbay.Scope) bool) (old []expired, next int64, err error) {
	st, err := c.prepare("SELECT id, scope, missed, targets, length(payload) FROM event WHERE id >= ? AND id < ? ORDER BY id LIMIT ?")
	if err != nil {
		return nil, 0, err
	}
	defer st.reset()
	st.bind(1, from).bind(2, end).bind(3, pruneLook)
	rows := 0
	for ; len(old) < pruneEvents && bytes > 0; rows++ {
		row, err := st.step()
		if err != nil {
			return nil, 0, err
		}
		if !row {
			break
		}
		from = st.int(0) + 1
		n := countTargets(st.raw(3))
		if f(n > 0 || st.int(2) != 0, patchbay.Scope(st.str(1))) {
			old = append(old, expired{st.int(0), n})
			bytes -= st.int(4)
		}
	}
	if rows < pruneLook && len(old) < pruneEvents && bytes > 0 {
		from = max(from, end)
	}
	return old, from, nil
}

// deleteEvent deletes an event with all that belongs to it, unless it is still needed.
func (s *Store) deleteEvent(c *conn, e expired) (bool, error) {
	if e.targets > 0 && e.id >= s.unsettledFrom() {
		if under, err := s.underWay(c, e.id); err != nil || under {
			return false, err
		}
	}
	if needed, err := exists(c, "SELECT 1 FROM event INDEXED BY event_replays WHERE origin = ?", e.id); err != nil || needed {
		return false, err
	}
	if e.targets > 0 {
		st, err := c.prepare("SELECT 1 FROM queue WHERE delivery > ?1 AND delivery <= ?2 AND " + ours("delivery") + " LIMIT 1")
		if err != nil {
			return false, err
		}
		waits, err := st.bind(1, e.id).bind(2, e.last()).step()
		st.reset()
		if err != nil || waits {
			return false, err
		}
		err = runEach(c, e.id, e.last(), deleteFirstResponses, deleteLaterResponses,
			"DELETE FROM attempt WHERE id > ?1 AND id <= ?2 AND "+ours("id"),
			"DELETE FROM attempt WHERE delivery > ?1 AND delivery <= ?2 AND "+ours("delivery"))
		if err != nil {
			return false, err
		}
	}
	return true, deleteEach(c, "DELETE FROM event WHERE id = ?", []int64{e.id})
}

// underWay reports whether a delivery of an event has not ended.
func (s *Store) underWay(c *conn, id int64) (bool, error) {
	r, err := readBrief(c, patchbay.EventID(id))
	if err != nil || r == nil {
		return false, err
	}
	for i := range r.Targets {
		d, err := s.delivery(c, r, i)
		if err != nil || !d.State.Final() {
			return true, err
		}
	}
	return false, nil
}

// hooksBelow finds the oldest hooks below an identifier, but for those that are still to be read.
const hooksBelow = "SELECT id FROM hook WHERE id < ? AND state <> 'pending' ORDER BY id LIMIT ?"

// pruneBudget deletes the oldest events, and hooks that are older, while the database takes more than it may.
func (s *Store) pruneBudget(ctx context.Context, r *store.Retention, _ time.Time) (bool, error) {
	if r.MaxBytes <= 0 {
		return false, nil
	}
	var old []expired
	var hooks []int64
	next := int64(0)
	err := s.read(ctx, func(c *conn) error {
		pages, err := c.number("PRAGMA page_count")
		if err != nil {
			return err
		}
		free, err := c.number("PRAGMA freelist_count")
		excess := (pages-free)*pageSize - r.MaxBytes
		if err != nil || excess <= 0 {
			return err
		}
		old, next, err = expiredBetween(c, s.prune.budget, forever, excess, func(bool, patchbay.Scope) bool { return true })
		if err != nil {
			return err
		}
		below := int64(forever)
		if len(old) > 0 {
			below = old[len(old)-1].id
		}
		st, err := c.prepare(hooksBelow)
		if err != nil {
			return err
		}
		hooks, err = columnOf(st.bind(1, below).bind(2, pruneRows))
		return err
	})
	if err != nil {
		return false, err
	}
	if len(old) == 0 && len(hooks) == 0 {
		s.prune.budget = 0 // whatever was skipped is looked at again
		return false, nil
	}
	s.prune.budget = next
	return true, s.do(ctx, func(c *conn) error {
		for _, e := range old {
			if _, err := s.deleteEvent(c, e); err != nil {
				return err
			}
		}
		return deleteEach(c, "DELETE FROM hook WHERE id = ? AND state <> 'pending'", hooks)
	}, nil)
}

// pruneHistory deletes blocks whose events are all gone, and before that the half of those without deliveries.
func (s *Store) pruneHistory(ctx context.Context, r *store.Retention, _ time.Time) (bool, error) {
	s.history.mu.RLock()
	blocks := s.history.blocks
	s.history.mu.RUnlock()
	if len(blocks) < 2 {
		return false, nil
	}
	blocks = blocks[:len(blocks)-1] // the last one stays, so that numbers go on from it
	var (
		oldest  int64
		half    int64 // blocks up to here have lost the half without deliveries
		reached cursor
	)
	err := s.read(ctx, func(c *conn) (err error) {
		if oldest, err = c.number("SELECT coalesce((SELECT min(id) FROM event), " + fmt.Sprint(forever) + ")"); err != nil {
			return err
		}
		if half, err = readNumber(c, "prune.half"); err != nil || r.Unmatched <= 0 {
			return err
		}
		reached, err = readCursor(c, cursorName(r, r.Unmatched))
		return err
	})
	if err != nil {
		return false, err
	}
	for _, b := range blocks {
		switch {
		case b.high < oldest:
			return true, s.pruneBlock(ctx, b)
		case b.id > half && b.high < reached.at && reached.skipped == 0:
			return true, s.pruneHalf(ctx, b)
		}
	}
	return false, nil
}

func readNumber(c *conn, name string) (n int64, err error) {
	text, err := readMeta(c, name)
	if err == nil && text != "" {
		_, err = fmt.Sscan(text, &n)
	}
	return n, err
}

// pruneBlock deletes a step of a block, in the end the block itself.
func (s *Store) pruneBlock(ctx context.Context, b block) error {
	whole := false
	return s.do(ctx, func(c *conn) error {
		empty, err := deleteParts(c, b.id<<partShift, (b.id+1)<<partShift)
		if err != nil || !empty {
			return err
		}
		whole = true
		return deleteEach(c, "DELETE FROM block WHERE id = ?", []int64{b.id})
	}, func() {
		if whole {
			h := &s.history
			h.mu.Lock()
			defer h.mu.Unlock()
			h.blocks = slices.DeleteFunc(slices.Clone(h.blocks), func(x block) bool { return x.id == b.id })
		}
	})
}

// pruneHalf deletes a step of the words of events without deliveries.
func (s *Store) pruneHalf(ctx context.Context, b block) error {
	return s.do(ctx, func(c *conn) error {
		empty, err := deleteParts(c, b.id<<partShift, b.id<<partShift|int64(keptEvent))
		if err != nil || !empty {
			return err
		}
		return writeMeta(c, "prune.half", fmt.Sprint(b.id))
	}, nil)
}

// deleteParts deletes a step of the rows from one part up to another, and reports whether none are left.
func deleteParts(c *conn, from, end int64) (bool, error) {
	type row struct {
		part int64
		key  []byte
	}
	var rows []row
	st, err := c.prepare("SELECT part, key FROM history WHERE part >= ? AND part < ? LIMIT ?")
	if err != nil {
		return false, err
	}
	st.bind(1, from).bind(2, end).bind(3, pruneRows)
	for {
		more, err := st.step()
		if err != nil {
			st.reset()
			return false, err
		}
		if !more {
			break
		}
		rows = append(rows, row{st.int(0), st.bytes(1)})
	}
	st.reset()
	del, err := c.prepare("DELETE FROM history WHERE part = ? AND key = ?")
	if err != nil {
		return false, err
	}
	for _, r := range rows {
		if err := del.bind(1, r.part).bindBlob(2, r.key).run(); err != nil {
			return false, err
		}
	}
	return len(rows) < pruneRows, nil
}
