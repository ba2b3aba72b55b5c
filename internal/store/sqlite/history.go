package sqlite

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Lists of events of a type, in a scope, over a link would need four indexes, which halve what the writer can take.
// Instead events are gathered in memory in the order in which they are committed, and for every thousands of them one
// block is written: for each word (a type, a scope, a link, an integration) the identifiers of the events that have
// it. That is a few rows for thousands of events. What is not in a block yet is in memory, and is read again from
// the events after a start.

// wordKind is what a word is, plus keptEvent for events that have deliveries or that a disabled link missed. Other
// events are deleted earlier, and then their half of a block goes at once.
type wordKind byte

const (
	typeWord wordKind = iota
	scopeWord
	linkWord
	integrationWord
	keptEvent wordKind = 4
	partShift          = 3 // history.part is the block's number and the kind
)

type word struct {
	kind wordKind
	key  string
}

type linkKey struct {
	kind wordKind
	link patchbay.LinkID
}

// posting holds events in the order in which they were committed.
type posting struct{ events []int64 }

func (p *posting) add(event int64) {
	if n := len(p.events); n == 0 || p.events[n-1] != event {
		p.events = append(p.events, event)
	}
}

// block is a block that is in the database. Blocks overlap where an event was committed later than one with a higher
// identifier.
type block struct{ id, low, high int64 }

// gathering is a block that is in memory.
type gathering struct {
	low, high       int64 // of the events in it
	events, entries int
	words           map[word]*posting
	links           map[linkKey]*posting // apart, so that no text is made of an identifier for each delivery
}

func newGathering() *gathering {
	return &gathering{words: make(map[word]*posting), links: make(map[linkKey]*posting)}
}

// history is what lists search. Only the writer changes it.
type history struct {
	limits  *limits
	mu      sync.RWMutex
	blocks  []block    // in the order of their numbers
	tail    *gathering // what is in no block yet
	full    *gathering // what is being written, nil when nothing is
	highest int64      // the highest event there is

	rows  []historyRow // of full, sorted; the writer's own
	next  int          // the first of rows that is not in the database
	block block
}

type historyRow struct {
	part int64
	key  []byte
	ids  []int64
}

// word adds an event to a word.
func (g *gathering) word(kind wordKind, key string, event int64) {
	p := g.words[word{kind, key}]
	if p == nil {
		p = &posting{}
		// A copy: the text may be part of a whole request, which would stay in memory with it.
		g.words[word{kind, strings.Clone(key)}] = p
	}
	p.add(event)
	g.entries++
}

func (g *gathering) link(kind wordKind, link patchbay.LinkID, event int64) {
	k := linkKey{kind, link}
	p := g.links[k]
	if p == nil {
		p = &posting{}
		g.links[k] = p
	}
	p.add(event)
	g.entries++
}

// gather adds an event.
func (g *gathering) gather(e *indexed) {
	var kept wordKind
	if len(e.targets) > 0 || e.missed {
		kept = keptEvent
	}
	g.word(typeWord|kept, e.kind, e.id)
	g.word(scopeWord|kept, string(e.scope), e.id)
	for _, s := range e.also {
		g.word(scopeWord|kept, string(s), e.id)
	}
	last := ""
	for i := range e.targets {
		t := &e.targets[i]
		if t.Link != 0 {
			g.link(linkWord|kept, t.Link, e.id)
		}
		if t.Integration != last {
			last = t.Integration
			g.word(integrationWord|kept, last, e.id)
		}
	}
	if g.events == 0 || e.id < g.low {
		g.low = e.id
	}
	g.high = max(g.high, e.id)
	g.events++
}

// follow takes over what was committed: new events, and what was written of a block.
func (h *history) follow(b *batch) {
	h.next += b.rows
	if len(b.accepted) == 0 && !b.block {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.block {
		h.blocks = append(slices.Clip(h.blocks), h.block)
		h.full, h.rows = nil, nil
	}
	for _, o := range b.accepted {
		e := o.accept.Event
		h.tail.gather(&indexed{
			id: int64(e.ID), kind: e.Type, scope: e.Scope, also: e.Also, targets: o.accept.Targets, missed: o.accept.Missed,
		})
		h.highest = max(h.highest, int64(e.ID))
	}
	if h.full == nil && (h.tail.events >= h.limits.blockEvents || h.tail.entries >= h.limits.blockEntries) {
		h.close()
	}
}

// close begins to write the tail as a block. h.mu is held.
func (h *history) close() {
	h.full, h.tail = h.tail, newGathering()
	number := int64(1)
	if n := len(h.blocks); n > 0 {
		number = h.blocks[n-1].id + 1
	}
	h.block = block{id: number, low: h.full.low, high: h.full.high}
	h.next = 0
	h.rows = h.full.rows(number)
}

// rows returns what is written of a block, in the order of the table.
func (g *gathering) rows(number int64) []historyRow {
	rows := make([]historyRow, 0, len(g.words)+len(g.links))
	for w, p := range g.words {
		rows = append(rows, historyRow{number<<partShift | int64(w.kind), []byte(w.key), p.events})
	}
	for l, p := range g.links {
		rows = append(rows, historyRow{number<<partShift | int64(l.kind), linkBytes(l.link), p.events})
	}
	slices.SortFunc(rows, func(a, b historyRow) int {
		if a.part != b.part {
			return int(a.part - b.part)
		}
		return slices.Compare(a.key, b.key)
	})
	return rows
}

func linkBytes(id patchbay.LinkID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// flushing reports whether a block is half written.
func (h *history) flushing() bool { return h.full != nil }

// low returns an identifier below which every event is in a block, flushed whether the one under way is too.
func (h *history) low(flushed bool) int64 {
	low := h.highest + 1
	if h.tail.events > 0 {
		low = min(low, h.tail.low)
	}
	if h.full != nil && !flushed {
		low = min(low, h.full.low)
	}
	return low
}

// writeBehind writes the next rows of a block and the next keys.
func (w *writer) writeBehind() error {
	if err := w.writeHistory(); err != nil {
		return err
	}
	return w.writeKeys()
}

func (w *writer) writeHistory() error {
	h, b := &w.s.history, &w.batch
	if h.full == nil {
		return nil
	}
	st, err := w.c.prepare("INSERT OR REPLACE INTO history (part, key, ids) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	rows := h.rows[h.next:]
	rows = rows[:min(len(rows), h.limits.historyStep)]
	for i := range rows {
		b.room = appendEvents(b.room[:0], rows[i].ids)
		if err := st.bind(1, rows[i].part).bindBlob(2, rows[i].key).bindBlob(3, b.room).run(); err != nil {
			return err
		}
	}
	b.rows = len(rows)
	if h.next+b.rows < len(h.rows) {
		return nil
	}
	st, err = w.c.prepare("INSERT OR REPLACE INTO block (id, low, high) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	b.block = true
	return st.bind(1, h.block.id).bind(2, h.block.low).bind(3, h.block.high).run()
}

// appendEvents writes identifiers in descending order: the highest, then the distances. Those of one node are
// multiples of patchbay.IDStep, which makes them two bytes.
func appendEvents(b []byte, ids []int64) []byte {
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

// readEvents appends what appendEvents wrote.
func readEvents(ids []int64, raw []byte) ([]int64, error) {
	r := blob{b: raw}
	id := r.id()
	for !r.bad {
		ids = append(ids, id)
		if r.done() {
			return ids, nil
		}
		distance := r.uvarint()
		if distance&1 == 0 {
			id -= int64(distance >> 1 * patchbay.IDStep)
		} else {
			id -= int64(distance >> 1)
		}
	}
	return ids, errBlob
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

// indexed is what of an event goes into the history.
type indexed struct {
	id      int64
	kind    string
	scope   patchbay.Scope
	also    []patchbay.Scope
	targets []store.Target
	missed  bool
}

// load reads the blocks, and the events that are in none.
func (h *history) load(c *conn, from int64) error {
	h.tail = newGathering()
	st, err := c.prepare("SELECT id, low, high FROM block ORDER BY id")
	if err != nil {
		return err
	}
	defer st.reset()
	for {
		row, err := st.step()
		if err != nil {
			return err
		}
		if !row {
			break
		}
		h.blocks = append(h.blocks, block{st.int(0), st.int(1), st.int(2)})
		h.highest = max(h.highest, st.int(2))
	}
	st, err = c.prepare("SELECT id, type, scope, also, missed, targets FROM event WHERE id >= ? ORDER BY id")
	if err != nil {
		return err
	}
	defer st.reset()
	st.bind(1, from)
	for {
		row, err := st.step()
		if err != nil || !row {
			return err
		}
		e := indexed{id: st.int(0), kind: st.str(1), scope: patchbay.Scope(st.str(2)), also: splitScopes(st.str(3)), missed: st.int(4) != 0}
		if e.targets, err = readTargets(st.raw(5)); err != nil {
			return err
		}
		h.tail.gather(&e)
		h.highest = max(h.highest, e.id)
	}
}
