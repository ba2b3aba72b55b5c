package postgres

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
)

// search finds events by the words of the history (history.go), newest first. What is in no block yet it reads from the
// events themselves. It belongs to one transaction, which sees one state of the database throughout.
type search struct {
	ctx   context.Context
	tx    pgx.Tx
	terms []*term // all of them must hold
	// classes are what is looked at: events with deliveries (or missed ones), and others too.
	classes []wordKind

	recent  []int64 // found among events that are in no block, descending
	pending []int64 // found in a block, descending
	oldest  int64   // no block below it has events that are wanted
	others  int64   // no block below it has events without deliveries
}

// term is one condition: the event has one of keys. Of the blocks it knows the next ones, the highest first.
type term struct {
	kind   wordKind
	keys   [][]byte
	rows   []posting
	before int64 // blocks below are not read yet
	page   int
	done   bool
}

// posting is the events of a block that have a word.
type posting struct {
	low int64
	ids []byte
}

// The number of rows that a term reads at first and at most.
const (
	postingsFirst = 2
	postingsMost  = 64
)

// newSearch makes a search. With unmatched it looks at events without deliveries too.
func newSearch(unmatched bool) *search {
	x := &search{classes: []wordKind{keptEvent}}
	if unmatched {
		x.classes = append(x.classes, 0)
	}
	return x
}

// anyOf demands one of the keys; without keys it demands nothing.
func (x *search) anyOf(kind wordKind, keys ...string) {
	if len(keys) == 0 {
		return
	}
	t := &term{kind: kind}
	for _, k := range keys {
		t.keys = append(t.keys, []byte(k))
	}
	x.terms = append(x.terms, t)
}

// within demands that one of the event's scopes lies at or below the scope.
func (x *search) within(scope patchbay.Scope) {
	if scope != "" {
		x.anyOf(scopeWord, string(scope))
	}
}

// over demands that the event was matched by the link.
func (x *search) over(link patchbay.LinkID) {
	if link != 0 {
		x.anyOf(linkWord, string(linkBytes(link)))
	}
}

// overAny demands that the event was matched by one of the links; without links it demands nothing.
func (x *search) overAny(links []patchbay.LinkID) {
	keys := make([]string, len(links))
	for i, link := range links {
		keys[i] = string(linkBytes(link))
	}
	x.anyOf(linkWord, keys...)
}

// all reports whether nothing is demanded.
func (x *search) all() bool { return len(x.terms) == 0 }

const (
	// The block that an identifier lies in, or the lowest one above it.
	sqlSearchStart = `SELECT frontier,
		coalesce((SELECT max(low) FROM block WHERE low <= $1), 0),
		coalesce((SELECT max(low) FROM block WHERE low <= (SELECT min(id) FROM unmatched)), 0)
		FROM history_mark`

	// For each word the newest rows, from as many indexes as there are days.
	sqlPostings = `SELECT p.low, p.ids FROM unnest($1::smallint[], $2::bytea[], $3::bigint[]) AS w (kind, key, oldest)
		CROSS JOIN LATERAL (SELECT low, ids FROM history h WHERE h.kind = w.kind AND h.key = w.key AND h.low < $4 AND h.low >= w.oldest
			ORDER BY h.low DESC LIMIT $5) p ORDER BY p.low DESC`
)

// start prepares a search for events below before and not below from.
func (x *search) start(ctx context.Context, tx pgx.Tx, before, from int64) error {
	x.ctx, x.tx = ctx, tx
	var frontier int64
	if err := tx.QueryRow(ctx, sqlSearchStart, from).Scan(&frontier, &x.oldest, &x.others); err != nil {
		return err
	}
	for _, t := range x.terms {
		t.before, t.page = before, postingsFirst
	}
	g, err := gatherRecent(ctx, tx, frontier, before, from, len(x.classes) > 1)
	if err != nil {
		return err
	}
	x.recent = x.gathered(g)
	return nil
}

// gathered returns the events of a block in memory for which all terms hold, descending.
func (x *search) gathered(g *gathering) []int64 {
	var out []int64
	for i, t := range x.terms {
		var ids []int64
		for _, class := range x.classes {
			for _, k := range t.keys {
				if p := g.words[word{t.kind | class, string(k)}]; p != nil {
					ids = append(ids, p.events...)
				}
			}
		}
		out = intersect(out, ids, i == 0)
	}
	return out
}

// intersect returns what is in both lists, descending; in the second one only when it is the first.
func intersect(found, ids []int64, first bool) []int64 {
	slices.SortFunc(ids, descending)
	ids = slices.Compact(ids)
	if first {
		return ids
	}
	out := found[:0]
	for _, id := range found {
		for len(ids) > 0 && ids[0] > id {
			ids = ids[1:]
		}
		if len(ids) > 0 && ids[0] == id {
			out = append(out, id)
		}
	}
	return out
}

func descending(a, b int64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// le returns the highest event that was found and is at most at. at must not rise from call to call.
func (x *search) le(at int64) (int64, bool, error) {
	for len(x.recent) > 0 && x.recent[0] > at {
		x.recent = x.recent[1:]
	}
	for {
		for len(x.pending) > 0 && x.pending[0] > at {
			x.pending = x.pending[1:]
		}
		if len(x.pending) > 0 {
			break
		}
		more, err := x.nextBlock(at)
		if err != nil {
			return 0, false, err
		}
		if !more {
			break
		}
	}
	// The recent ones are above all blocks, but for those that came late.
	switch {
	case len(x.recent) == 0 && len(x.pending) == 0:
		return 0, false, nil
	case len(x.pending) == 0 || len(x.recent) > 0 && x.recent[0] > x.pending[0]:
		return x.recent[0], true, nil
	}
	return x.pending[0], true, nil
}

// nextBlock reads the next block, at or below at, that has rows of every term; false when there is none.
func (x *search) nextBlock(at int64) (bool, error) {
	low := at
	for agreed := 0; agreed < len(x.terms); {
		for _, t := range x.terms {
			head, ok, err := x.head(t, low)
			if err != nil || !ok {
				return false, err
			}
			if head < low {
				low, agreed = head, 0
			}
			agreed++
		}
	}
	x.pending = nil
	for i, t := range x.terms {
		var ids []int64
		n := 0
		for ; n < len(t.rows) && t.rows[n].low == low; n++ {
			var err error
			if ids, err = readIDs(ids, t.rows[n].ids); err != nil {
				return false, err
			}
		}
		t.rows = t.rows[n:]
		x.pending = intersect(x.pending, ids, i == 0)
	}
	return true, nil
}

// head returns the highest block at or below low in which a term has rows.
func (x *search) head(t *term, low int64) (int64, bool, error) {
	for {
		for len(t.rows) > 0 && t.rows[0].low > low {
			t.rows = t.rows[1:]
		}
		if len(t.rows) > 0 {
			return t.rows[0].low, true, nil
		}
		if t.done {
			return 0, false, nil
		}
		if low < t.before-1 {
			t.before = low + 1
		}
		if err := x.fill(t); err != nil {
			return 0, false, err
		}
	}
}

// fill reads a term's next rows: of each of its words the same number, and of the blocks those that all words have passed.
func (x *search) fill(t *term) error {
	n := len(x.classes) * len(t.keys)
	kinds, keys, oldest := make([]int16, 0, n), make([][]byte, 0, n), make([]int64, 0, n)
	for _, class := range x.classes {
		for _, k := range t.keys {
			kinds, keys = append(kinds, int16(t.kind|class)), append(keys, k)
			if class == keptEvent {
				oldest = append(oldest, x.oldest)
			} else {
				oldest = append(oldest, max(x.oldest, x.others))
			}
		}
	}
	rows, err := x.tx.Query(x.ctx, sqlPostings, kinds, keys, oldest, t.before, t.page)
	if err != nil {
		return err
	}
	t.rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p posting, err error) {
		return p, row.Scan(&p.low, &p.ids)
	})
	if err != nil {
		return err
	}
	// A word whose page was full may have more rows than those that were read; below its last one others must wait.
	if t.done = len(t.rows) < t.page; !t.done {
		t.before = x.complete(t, len(kinds))
	}
	t.page = min(2*t.page, postingsMost)
	return nil
}

// complete cuts off the rows of blocks of which not every word's row is known to have been read, and returns the lowest
// block that is complete. With one word all are.
func (x *search) complete(t *term, words int) int64 {
	if words == 1 {
		return t.rows[len(t.rows)-1].low
	}
	// Each word gave at most page rows in descending order, so the page highest blocks are complete: none of them can be
	// missing a word that gave page rows above it.
	lows := make([]int64, 0, len(t.rows))
	for _, p := range t.rows {
		lows = append(lows, p.low)
	}
	lows = slices.Compact(lows)
	lowest := lows[min(t.page, len(lows))-1]
	for i, p := range t.rows {
		if p.low < lowest {
			t.rows = t.rows[:i]
			break
		}
	}
	return lowest
}

// linkBytes is the key of a link's word.
func linkBytes(id patchbay.LinkID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }
