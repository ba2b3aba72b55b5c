package sqlite

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
)

// search finds events by the words of the history, newest first. It takes what is in memory when it is made, so it
// must be made before the database is read: a block that is written in between is then seen once, not never.
type search struct {
	c       *conn
	h       *history
	kinds   []wordKind // the classes of events that are looked at: 0, keptEvent
	terms   []term     // all of them must hold
	views   []view     // sorted by high, the highest first
	next    int
	pending []int64 // found, not given out yet; the highest first
}

// term is one condition: the event has one of keys, or one that begins with prefix.
type term struct {
	kind   wordKind
	keys   [][]byte
	prefix string
}

// view is one block: in memory when it has found, in the database otherwise.
type view struct {
	block
	memory bool
	found  []int64
}

// newSearch makes a search. With unmatched it looks at events without deliveries too.
func newSearch(h *history, unmatched bool) *search {
	x := &search{h: h, kinds: []wordKind{keptEvent}}
	if unmatched {
		x.kinds = append(x.kinds, 0)
	}
	return x
}

// anyOf demands one of the keys; without keys it demands nothing.
func (x *search) anyOf(kind wordKind, keys ...string) {
	if len(keys) == 0 {
		return
	}
	t := term{kind: kind}
	for _, k := range keys {
		t.keys = append(t.keys, []byte(k))
	}
	x.terms = append(x.terms, t)
}

// within demands that one of the event's scopes lies at or below the scope.
func (x *search) within(scope patchbay.Scope) {
	if scope != "" {
		x.terms = append(x.terms, term{kind: scopeWord, keys: [][]byte{[]byte(scope)}, prefix: string(scope) + "/"})
	}
}

// over demands that the event was matched by the link.
func (x *search) over(link patchbay.LinkID) {
	if link != 0 {
		x.terms = append(x.terms, term{kind: linkWord, keys: [][]byte{linkBytes(link)}})
	}
}

// overAny demands that the event was matched by one of the links; without links it demands nothing.
func (x *search) overAny(links []patchbay.LinkID) {
	if len(links) == 0 {
		return
	}
	t := term{kind: linkWord}
	for _, link := range links {
		t.keys = append(t.keys, linkBytes(link))
	}
	x.terms = append(x.terms, t)
}

// all reports whether nothing is demanded.
func (x *search) all() bool { return len(x.terms) == 0 }

// start takes what is in memory and the list of blocks.
func (x *search) start(c *conn) {
	x.c = c
	x.h.mu.RLock()
	defer x.h.mu.RUnlock()
	for _, g := range []*gathering{x.h.tail, x.h.full} {
		if g != nil && g.events > 0 {
			found, _ := x.intersect(func(ids []int64, t *term) ([]int64, error) { return x.gathered(g, ids, t), nil })
			x.views = append(x.views, view{block: block{low: g.low, high: g.high}, memory: true, found: found})
		}
	}
	for _, b := range x.h.blocks {
		x.views = append(x.views, view{block: b})
	}
	slices.SortStableFunc(x.views, func(a, b view) int { return descending(a.high, b.high) })
}

func (x *search) end() { x.views, x.pending = nil, nil }

// gathered appends the events of a block in memory that a term holds for.
func (x *search) gathered(g *gathering, ids []int64, t *term) []int64 {
	for _, class := range x.kinds {
		kind := t.kind | class
		for _, k := range t.keys {
			if t.kind == linkWord {
				if p := g.links[linkKey{kind, linkOf(k)}]; p != nil {
					ids = append(ids, p.events...)
				}
			} else if p := g.words[word{kind, string(k)}]; p != nil {
				ids = append(ids, p.events...)
			}
		}
		if t.prefix == "" {
			continue
		}
		for w, p := range g.words {
			if w.kind == kind && strings.HasPrefix(w.key, t.prefix) {
				ids = append(ids, p.events...)
			}
		}
	}
	return ids
}

const (
	historyKey   = "SELECT ids FROM history WHERE part = ? AND key = ?"
	historyRange = "SELECT ids FROM history WHERE part = ? AND key >= ? AND key < ?"
)

// written appends the events of a block in the database that a term holds for.
func (x *search) written(b block, ids []int64, t *term) ([]int64, error) {
	for _, class := range x.kinds {
		part := b.id<<partShift | int64(t.kind|class)
		st, err := x.c.prepare(historyKey)
		if err != nil {
			return nil, err
		}
		for _, k := range t.keys {
			if ids, err = collect(st.bind(1, part).bindBlob(2, k), ids); err != nil {
				return nil, err
			}
		}
		if t.prefix == "" {
			continue
		}
		if st, err = x.c.prepare(historyRange); err != nil {
			return nil, err
		}
		past := []byte(t.prefix)
		past[len(past)-1]++ // the first key that does not begin with the prefix
		if ids, err = collect(st.bind(1, part).bindBlob(2, []byte(t.prefix)).bindBlob(3, past), ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// collect appends the identifiers in a statement's rows, and resets it.
func collect(st *stmt, ids []int64) ([]int64, error) {
	defer st.reset()
	for {
		row, err := st.step()
		if err != nil || !row {
			return ids, err
		}
		if ids, err = readEvents(ids, st.raw(0)); err != nil {
			return nil, err
		}
	}
}

// intersect returns the events for which all terms hold, the highest first.
func (x *search) intersect(find func([]int64, *term) ([]int64, error)) ([]int64, error) {
	var out []int64
	for i := range x.terms {
		ids, err := find(nil, &x.terms[i])
		if err != nil {
			return nil, err
		}
		slices.SortFunc(ids, descending)
		ids = slices.Compact(ids)
		if i > 0 {
			ids = common(out, ids)
		}
		if out = ids; len(out) == 0 {
			break
		}
	}
	return out, nil
}

// common keeps what stands in both; both descend.
func common(a, b []int64) []int64 {
	out := a[:0]
	for _, id := range a {
		for len(b) > 0 && b[0] > id {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == id {
			out = append(out, id)
		}
	}
	return out
}

// le returns the highest event that was found and is at most at. at must not rise from call to call.
func (x *search) le(at int64) (int64, bool, error) {
	for {
		for len(x.pending) > 0 && x.pending[0] > at {
			x.pending = x.pending[1:]
		}
		if x.next == len(x.views) {
			break
		}
		v := &x.views[x.next]
		if len(x.pending) > 0 && x.pending[0] > v.high {
			break // no later block has a higher one
		}
		x.next++
		if v.low > at {
			continue
		}
		found := v.found
		if !v.memory {
			var err error
			found, err = x.intersect(func(ids []int64, t *term) ([]int64, error) { return x.written(v.block, ids, t) })
			if err != nil {
				return 0, false, err
			}
		}
		if len(found) > 0 {
			x.pending = append(slices.Clone(x.pending), found...)
			slices.SortFunc(x.pending, descending)
			x.pending = slices.Compact(x.pending)
		}
	}
	if len(x.pending) == 0 {
		return 0, false, nil
	}
	return x.pending[0], true, nil
}

func linkOf(key []byte) patchbay.LinkID { return patchbay.LinkID(binary.BigEndian.Uint64(key)) }
