package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
)

// Lists of events of a type, in a scope, over a link would need four indexes, each of which costs an acceptance as much as
// the event itself. Instead one of the nodes, a second or two behind, reads the events once more and writes for every
// thousands of them (a block) and each word that they have (a type, a scope and every scope above it, a link, an
// integration) one row with the identifiers of the events that have it. Lists read those rows, and what is in no block yet
// from the events.
//
// A block is a range of identifiers, and identifiers are taken before commits. So the end of the next block is made known
// first (history_mark.next); whoever stores an event below it from then on says so in the table late. Then those
// transactions are waited for that may not have seen it. What is late is put into its block later.

// wordKind is what a word is, plus keptEvent for events that have deliveries or that a disabled link missed: the others are
// deleted earlier, and lists of deliveries leave them out.
type wordKind int16

const (
	typeWord wordKind = iota
	scopeWord
	linkWord
	integrationWord
	keptEvent wordKind = 4
)

type word struct {
	kind wordKind
	key  string
}

// postings holds identifiers in any order.
type postings struct{ events []int64 }

// gathering is a block in memory.
type gathering struct {
	events int
	words  map[word]*postings
}

// indexed is what of an event goes into the history.
type indexed struct {
	id          int64
	kind, scope string
	also        string
	targets     []byte
	kept        bool
}

func (g *gathering) add(kind wordKind, key string, event int64) {
	p := g.words[word{kind, key}]
	if p == nil {
		p = &postings{}
		g.words[word{kind, key}] = p
	}
	if n := len(p.events); n == 0 || p.events[n-1] != event {
		p.events = append(p.events, event)
	}
}

// addScope adds an event to a scope and all above it.
func (g *gathering) addScope(class wordKind, scope string, event int64) {
	for scope != "" {
		g.add(scopeWord|class, scope, event)
		scope = scope[:max(0, strings.LastIndexByte(scope, '/'))]
	}
}

// gather adds an event.
func (g *gathering) gather(e *indexed) error {
	var class wordKind
	if e.kept {
		class = keptEvent
	}
	g.events++
	g.add(typeWord|class, e.kind, e.id)
	g.addScope(class, e.scope, e.id)
	for _, s := range splitScopes(e.also) {
		g.addScope(class, string(s), e.id)
	}
	targets, err := readTargets(e.targets)
	if err != nil {
		return err
	}
	last := ""
	for i := range targets {
		t := &targets[i]
		if t.Link != 0 {
			g.add(linkWord|class, string(linkBytes(t.Link)), e.id)
		}
		if t.Integration != last {
			last = t.Integration
			g.add(integrationWord|class, last, e.id)
		}
	}
	return nil
}

// What is gathered of an event; kept says which table it is from.
const (
	indexedColumns = "id, type, scope, coalesce(also, ''), targets"

	sqlGather = "SELECT " + indexedColumns + ", true FROM event WHERE id >= $1 AND id < $2" +
		" UNION ALL SELECT " + indexedColumns + ", false FROM unmatched WHERE id >= $1 AND id < $2"
	sqlGatherKept = "SELECT " + indexedColumns + ", true FROM event WHERE id >= $1 AND id < $2"

	sqlGatherLate = "SELECT " + indexedColumns + ", true FROM event WHERE id IN (SELECT id FROM late WHERE id >= $1 AND id < $2)" +
		" UNION ALL SELECT " + indexedColumns + ", false FROM unmatched WHERE id IN (SELECT id FROM late WHERE id >= $1 AND id < $2)"
)

// gatherRows adds what a query returns.
func (g *gathering) gatherRows(ctx context.Context, q querier, sql string, args ...any) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var e indexed
	_, err = pgx.ForEachRow(rows, []any{&e.id, &e.kind, &e.scope, &e.also, &e.targets, &e.kept}, func() error { return g.gather(&e) })
	return err
}

func newGathering() *gathering { return &gathering{words: make(map[word]*postings)} }

// gatherRecent gathers events below before and not below from that are in no block.
func gatherRecent(ctx context.Context, q querier, frontier, before, from int64, unmatched bool) (*gathering, error) {
	g := newGathering()
	if low := max(frontier, from); low < before {
		sql := sqlGatherKept
		if unmatched {
			sql = sqlGather
		}
		if err := g.gatherRows(ctx, q, sql, low, before); err != nil {
			return nil, err
		}
	}
	if from < frontier {
		if err := g.gatherRows(ctx, q, sqlGatherLate, from, before); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// appendIDs writes identifiers in descending order: the highest, then the distances. Those of one node are multiples of
// patchbay.IDStep, which makes them two bytes.
func appendIDs(b []byte, ids []int64) []byte {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, descending)
	ids = slices.Compact(ids)
	b = binary.BigEndian.AppendUint64(b, uint64(ids[0]))
	for i := 1; i < len(ids); i++ {
		d := uint64(ids[i-1] - ids[i])
		if d%patchbay.IDStep == 0 {
			b = binary.AppendUvarint(b, d/patchbay.IDStep<<1)
		} else {
			b = binary.AppendUvarint(b, d<<1|1)
		}
	}
	return b
}

// readIDs appends what appendIDs wrote.
func readIDs(ids []int64, raw []byte) ([]int64, error) {
	if len(raw) < 8 {
		return ids, errBlob
	}
	id := int64(binary.BigEndian.Uint64(raw))
	for raw = raw[8:]; ; {
		ids = append(ids, id)
		if len(raw) == 0 {
			return ids, nil
		}
		d, n := binary.Uvarint(raw)
		if n <= 0 {
			return ids, errBlob
		}
		raw = raw[n:]
		if d&1 == 0 {
			id -= int64(d >> 1 * patchbay.IDStep)
		} else {
			id -= int64(d >> 1)
		}
	}
}

const (
	sqlMark = "SELECT frontier, next, (SELECT min(low) FROM block) FROM history_mark"
	// The event that fills a block.
	sqlBlockEnd = `SELECT id FROM ((SELECT id FROM event WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3)
		UNION ALL (SELECT id FROM unmatched WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3)) AS e ORDER BY id OFFSET $3 - 1 LIMIT 1`
	sqlFirstFrom = `SELECT least((SELECT id FROM event WHERE id >= $1 ORDER BY id LIMIT 1), (SELECT id FROM unmatched WHERE id >= $1 ORDER BY id LIMIT 1))`
	sqlWriters   = `SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	sqlLate = `SELECT l.id, coalesce(at.low, 0), coalesce(at.high, 0), coalesce((SELECT low FROM block WHERE low > l.id ORDER BY low LIMIT 1), $2)
		FROM late l LEFT JOIN LATERAL (SELECT low, high FROM block WHERE low <= l.id ORDER BY low DESC LIMIT 1) at ON true
		WHERE l.id >= $1 AND l.id < $2 ORDER BY l.id LIMIT 1`
)

// indexStep writes one block, or puts what came late into one. more says that there may be another; when another node is at
// it there is not.
func (s *Store) indexStep(ctx context.Context) (more bool, err error) {
	err = s.with(ctx, func(c *pgx.Conn) error {
		var mine bool
		if err := c.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, 0)", lockIndex).Scan(&mine); err != nil || !mine {
			return err
		}
		defer func() {
			// With a connection that is lost the lock is, too.
			_, _ = c.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1, 0)", lockIndex)
		}()
		var (
			frontier, next int64
			oldest         *int64
		)
		if err := c.QueryRow(ctx, sqlMark).Scan(&frontier, &next, &oldest); err != nil {
			return err
		}
		if next, err = s.blockEnd(ctx, c, frontier, next); err != nil {
			return err
		}
		if next > frontier {
			more = true
			return s.appendBlock(ctx, c, frontier, next)
		}
		if oldest != nil {
			more, err = placeLate(ctx, c, *oldest, frontier)
		}
		return err
	})
	return more, err
}

// placeLate puts what came late into a block and reports whether there was anything; oldest is the lowest block. What came
// before its day is of days that were dropped, and stays where it is.
func placeLate(ctx context.Context, c *pgx.Conn, oldest, frontier int64) (bool, error) {
	from, _ := span(dayOf(patchbay.EventID(oldest).Time()))
	var id, low, high, above int64
	switch err := c.QueryRow(ctx, sqlLate, from, frontier).Scan(&id, &low, &high, &above); {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	}
	low, high = roomFor(id, low, high, above)
	return true, writeBlock(ctx, c, low, high, frontier)
}

// roomFor returns the range of the block that an identifier goes into, given the one at or below it and where the next one
// begins. A block begins with its first event and ends with its last one, so what came late may lie between two: then the
// one below grows as far as it can. When the day has none there, a new one takes all the room that there is.
func roomFor(id, low, high, above int64) (from, to int64) {
	if id < high {
		return low, high
	}
	began, midnight := span(dayOf(patchbay.EventID(id).Time()))
	if low < began {
		low = began
	}
	return low, min(above, midnight)
}

// blockEnd says where the next block ends: after so many events, or with a day that is over. It returns the frontier when
// it is too early for one.
func (s *Store) blockEnd(ctx context.Context, c *pgx.Conn, frontier, next int64) (int64, error) {
	if next > frontier {
		return next, nil // somebody began
	}
	end := patchbay.FirstIDAt(s.now().Add(-s.o.limits.indexBehind))
	var first *int64
	if err := c.QueryRow(ctx, sqlFirstFrom, frontier).Scan(&first); err != nil || first == nil || *first >= end {
		return frontier, err
	}
	_, midnight := span(dayOf(patchbay.EventID(*first).Time()))
	rows, err := c.Query(ctx, sqlBlockEnd, *first, min(end, midnight), s.o.limits.indexEvents)
	if err != nil {
		return 0, err
	}
	last, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	switch {
	case err != nil:
		return 0, err
	case len(last) > 0:
		return last[0] + 1, nil
	case midnight <= end:
		return midnight, nil
	}
	return frontier, nil
}

// appendBlock makes the end of a block known, waits for whoever may not have heard of it, and writes the block.
func (s *Store) appendBlock(ctx context.Context, c *pgx.Conn, frontier, next int64) error {
	if _, err := c.Exec(ctx, "UPDATE history_mark SET next = $1 WHERE next < $1", next); err != nil {
		return err
	}
	under, err := writersUnderWay(ctx, c)
	if err != nil {
		return err
	}
	for pause := time.Millisecond; len(under) > 0; pause = min(2*pause, 100*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		still, err := writersUnderWay(ctx, c)
		if err != nil {
			return err
		}
		under = slices.DeleteFunc(under, func(t string) bool { return !slices.Contains(still, t) })
	}
	var first *int64
	if err := c.QueryRow(ctx, sqlFirstFrom, frontier).Scan(&first); err != nil {
		return err
	}
	low := frontier
	if first != nil {
		low = max(low, min(*first, next))
	}
	// A block lies within a day: after days without events, and when an event of the day before has come meanwhile. The
	// rest follows with the next step.
	_, midnight := span(dayOf(patchbay.EventID(low).Time()))
	next = min(next, midnight)
	return writeBlock(ctx, c, low, next, next)
}

// writersUnderWay returns the transactions in which nodes write.
func writersUnderWay(ctx context.Context, c *pgx.Conn) ([]string, error) {
	rows, err := c.Query(ctx, sqlWriters, uint32(lockNode))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// writeBlock writes the block of a range, anew when it is there already, and moves the frontier.
func writeBlock(ctx context.Context, c *pgx.Conn, low, high, frontier int64) error {
	return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM block WHERE low = $1", low)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 {
			if _, err := tx.Exec(ctx, "DELETE FROM history WHERE low = $1", low); err != nil {
				return err
			}
		}
		g := newGathering()
		if err := g.gatherRows(ctx, tx, sqlGather, low, high); err != nil {
			return err
		}
		if g.events > 0 {
			if err := g.insert(ctx, tx, low, high); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "DELETE FROM late WHERE id >= $1 AND id < $2", low, high); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE history_mark SET frontier = $1 WHERE frontier < $1", frontier)
		return err
	})
}

// insert writes the rows of a block, sorted.
func (g *gathering) insert(ctx context.Context, tx pgx.Tx, low, high int64) error {
	if _, err := tx.Exec(ctx, "INSERT INTO block (low, high) VALUES ($1, $2)", low, high); err != nil {
		return err
	}
	words := make([]word, 0, len(g.words))
	for w := range g.words {
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b word) int {
		if a.kind != b.kind {
			return int(a.kind - b.kind)
		}
		return strings.Compare(a.key, b.key)
	})
	i := 0
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"history"}, []string{"kind", "key", "low", "ids"}, pgx.CopyFromFunc(func() ([]any, error) {
		if i == len(words) {
			return nil, nil
		}
		w := words[i]
		i++
		return []any{int16(w.kind), []byte(w.key), low, appendIDs(nil, g.words[w].events)}, nil
	}))
	return err
}

// keepIndexing writes blocks until ctx is done, a moment after there is something to write.
func (s *Store) keepIndexing(ctx context.Context) {
	tick := time.NewTicker(s.o.limits.indexEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = s.indexStep(ctx); err != nil {
				if ctx.Err() == nil {
					s.log.Warn("the history of events could not be written; lists are slower until it can", "error", err)
				}
				break
			}
		}
	}
}
