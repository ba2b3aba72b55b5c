package postgres

import (
	"bytes"
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// batch is what one transaction of a writer writes. A writer fills the same one again and again.
type batch struct {
	ops     []*op
	results []results
	keys    map[[16]byte]bool // of ops
	turn    bool              // it has the turn: no other transaction with results is under way
	late    bool              // an acceptance lies below the floor
	floor   int64             // to be written; 0: none

	fresh []int64 // events with a key that was not remembered, as the server said

	keyed     [2][]*store.Acceptance // with keys, sorted: of matched events, of others
	ids       table                  // of events, the lowest first
	events    [2]table
	remember  [2]table
	attempts  table
	responses table
	places    table
	gone      table
	threads   table
	last      map[patchbay.DeliveryID]int // what comes of a delivery's place: an index in placed, or -1
	placed    []place
	latest    map[threadKey]update
	audits    []*store.AuditEntry
	room      []byte
	params    [][]byte
}

// place is a place in the queue; a checked one counts only when its event is stored, which the server alone knows of an
// event with a key.
type place struct {
	*store.Queued
	checked bool
	spared  int64 // the lane's drop that does not concern it
}

type update struct {
	*store.ThreadUpdate
	checked bool
}

type threadKey struct {
	link   patchbay.LinkID
	thread string
}

// What of events is remember and events: those with deliveries (or missed), and the others.
const (
	matched   = 0
	unmatched = 1
)

func newBatch() batch {
	b := batch{
		keys: make(map[[16]byte]bool), last: make(map[patchbay.DeliveryID]int), latest: make(map[threadKey]update),
		attempts: newTable(oidInt8, oidTime, oidInt8, oidInt8, oidInt4, oidInt4, oidInt4, oidInt2, oidInt2, oidText, oidData, oidData, oidInt8),
		places:   newTable(oidInt8, oidInt8, oidInt8, oidTime, oidInt8, oidInt4, oidInt4, oidData, oidBool),
		gone:     newTable(oidInt8, oidInt8), threads: newTable(oidInt8, oidData, oidData, oidInt8, oidBool), responses: newTable(oidInt8, oidData), ids: newTable(oidInt8),
	}
	for i := range b.events {
		b.remember[i] = newTable(oidUUID, oidUUID, oidTime, oidInt8, oidInt4)
		b.events[i] = newTable(oidInt8, oidTime, oidTime, oidInt8, oidInt2, oidBool, oidText, oidText, oidText, oidText, oidData, oidData, oidData, oidBool)
	}
	return b
}

func (b *batch) empty() bool { return len(b.ops) == 0 && len(b.results) == 0 }

// reset makes the batch ready to be filled.
func (b *batch) reset() {
	clear(b.ops)
	clear(b.results)
	clear(b.keys)
	b.ops, b.results = b.ops[:0], b.results[:0]
	b.turn, b.late, b.floor = false, false, 0
}

// encode makes the parameters of the statements.
func (b *batch) encode(newID func() int64) {
	b.fresh, b.audits = b.fresh[:0], b.audits[:0]
	for _, t := range []table{b.ids, b.attempts, b.responses, b.places, b.gone, b.threads, b.events[0], b.events[1], b.remember[0], b.remember[1]} {
		t.reset()
	}
	clear(b.last)
	clear(b.latest)
	clear(b.placed)
	b.placed = b.placed[:0]
	for i := range b.keyed {
		clear(b.keyed[i])
		b.keyed[i] = b.keyed[i][:0]
	}
	slices.SortFunc(b.ops, func(x, y *op) int { return cmp.Compare(x.accept.Event.ID, y.accept.Event.ID) })
	for _, o := range b.ops {
		b.encodeEvent(o, newID)
	}
	for i := range b.keyed {
		b.encodeKeys(i)
	}
	for _, r := range b.results {
		for i := range r.outcomes {
			b.encodeOutcome(&r.outcomes[i], false, newID)
		}
	}
	for _, p := range b.placed {
		b.encodePlace(p)
	}
	b.encodeThreads()
}

// kind says in which table an acceptance's event is stored.
func kind(a *store.Acceptance) int {
	if len(a.Targets) == 0 && !a.Missed {
		return unmatched
	}
	return matched
}

func (b *batch) encodeEvent(o *op, newID func() int64) {
	a, e := o.accept, o.accept.Event
	k := kind(a)
	t := b.events[k]
	b.ids[0].int8(int64(e.ID))
	t[0].int8(int64(e.ID))
	t[1].time(e.ReceivedAt)
	if e.OccurredAt.UnixMicro() == e.ReceivedAt.UnixMicro() {
		t[2].null()
	} else {
		t[2].time(e.OccurredAt)
	}
	t[3].id(int64(e.Origin))
	t[4].int2(int16(e.Hops))
	t[5].bool(a.Missed)
	t[6].text(e.Type)
	t[7].text(string(e.Scope))
	t[8].bytes(o.source)
	t[9].some(joinScopes(e.Also))
	t.data(10, o.targets)
	t.data(11, e.Actor)
	if e.Origin != 0 {
		t[12].null() // the origin has it
	} else {
		t.data(12, e.Payload)
	}
	keyed := a.Idempotency != nil
	t[13].bool(keyed)
	if keyed {
		b.keyed[k] = append(b.keyed[k], a)
	}
	for i := range a.Queue {
		b.place(place{Queued: &a.Queue[i], checked: keyed})
	}
	for i := range a.Outcomes {
		b.encodeOutcome(&a.Outcomes[i], keyed, newID)
	}
	if a.Audit != nil {
		b.audits = append(b.audits, a.Audit)
	}
}

// data is bytes with nothing as NULL.
func (t table) data(i int, raw []byte) {
	if len(raw) == 0 {
		t[i].null()
		return
	}
	t[i].bytes(raw)
}

// encodeKeys writes keys in their order: two transactions with the same ones wait for each other, but not in a circle.
func (b *batch) encodeKeys(k int) {
	slices.SortFunc(b.keyed[k], func(x, y *store.Acceptance) int {
		return bytes.Compare(x.Idempotency.Key[:], y.Idempotency.Key[:])
	})
	t := b.remember[k]
	for _, a := range b.keyed[k] {
		t[0].bytes(a.Idempotency.Key[:])
		t[1].bytes(a.Idempotency.Body[:])
		t[2].time(a.Idempotency.Until)
		t[3].int8(int64(a.Event.ID))
		t[4].int4(int64(len(a.Targets)))
	}
}

// encodeOutcome writes one result. Of a delivery's place the last result decides.
func (b *batch) encodeOutcome(o *store.Outcome, checked bool, newID func() int64) {
	b.encodeAttempt(o, checked, newID)
	if o.Audit != nil {
		b.audits = append(b.audits, o.Audit)
	}
	switch {
	case o.State.Final():
		if o.WasQueued {
			b.leave(o.Link, o.Delivery)
		}
	case o.Next != nil:
		b.place(place{Queued: o.Next, checked: checked})
	}
	if u := o.Thread; u != nil {
		key := threadKey{o.Link, u.Thread}
		if last, ok := b.latest[key]; !ok || u.Event >= last.Event {
			b.latest[key] = update{u, checked}
		}
	}
}

// place notes a place in the queue; it replaces one in the same transaction.
func (b *batch) place(p place) {
	if i, ok := b.last[p.Delivery]; ok && i >= 0 {
		b.placed[i] = p
		return
	}
	b.last[p.Delivery] = len(b.placed)
	b.placed = append(b.placed, p)
}

// leave notes that a delivery's place is removed, also one from this very transaction: removals come first there.
func (b *batch) leave(link patchbay.LinkID, d patchbay.DeliveryID) {
	if i, ok := b.last[d]; ok && i >= 0 {
		b.placed[i] = place{}
	}
	b.last[d] = -1
	b.gone[0].int8(int64(link))
	b.gone[1].int8(int64(d))
}

func (b *batch) encodeAttempt(o *store.Outcome, checked bool, newID func() int64) {
	a, t, code := &o.Attempt, b.attempts, stateCode(o.State)
	t[0].int8(int64(o.Delivery))
	t[1].time(a.At)
	if code > codeSucceeded {
		t[2].int8(int64(o.Link)) // these are looked for by people, and stand in an index by link
	} else {
		t[2].null()
	}
	if a.ResponseBody != "" && o.N > 0 {
		id := newID()
		t[3].int8(id)
		b.responses[0].int8(id)
		b.responses[1].text(clip(a.ResponseBody, patchbay.MaxResponseBodyKept))
	} else {
		t[3].null()
	}
	t[5].int4(int64(o.N))
	t[7].int2(code)
	t[10].some(clip(a.Error, patchbay.MaxErrorKept))
	if checked {
		t[12].int8(int64(o.Event))
	} else {
		t[12].null()
	}
	if o.N == 0 { // of a decision nothing else counts
		t[4].int4(0)
		t[6].int4(0)
		t[8].int2(0)
		t[9].null()
		t[11].null()
		return
	}
	t[4].int4(a.DurationMS)
	t[6].int4(int64(a.ResponseCode))
	t[8].int2(verdictCode(a.Verdict))
	t[9].some(string(a.ErrorType))
	if a.Request == nil {
		t[11].null()
		return
	}
	b.room = appendRequest(b.room[:0], a.Request)
	t[11].bytes(b.room)
}

func (b *batch) encodePlace(p place) {
	if p.Queued == nil {
		return
	}
	t := b.places
	t[0].int8(int64(p.Link))
	t[1].int8(int64(p.Delivery))
	t[2].int8(int64(p.Event))
	t[3].int8(p.Due.UnixMicro() - epoch2000)
	t[4].id(p.spared)
	t[5].int4(int64(p.Attempts))
	t[6].int4(int64(p.Used))
	t[7].some(p.Thread)
	t[8].bool(p.checked)
}

func (b *batch) encodeThreads() {
	keys := make([]threadKey, 0, len(b.latest))
	for key := range b.latest {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y threadKey) int {
		return cmp.Or(cmp.Compare(x.link, y.link), cmp.Compare(x.thread, y.thread))
	})
	t := b.threads
	for _, key := range keys {
		u := b.latest[key]
		t[0].int8(int64(key.link))
		t[1].text(key.thread)
		t[2].text(u.Reference)
		t[3].int8(int64(u.Event))
		t[4].bool(u.checked)
	}
}

// clip cuts text to the bytes that are kept.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) { // no half characters
		most--
	}
	return s[:most]
}
