package sqlite

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// batch is what the transaction under way does, so that memory can follow when it is durable.
type batch struct {
	accepts  []*op // to be written, in the order of their identifiers
	accepted []*op // written
	keys     map[[16]byte]*op
	outcomes []*store.Outcome // not written yet
	group    [attemptGroup]*store.Outcome
	results  int
	settled  []settled
	lowered  []lowered
	lowest   int64  // the lowest event that was written; 0: none
	marks    *marks // when they changed
	rows     int    // of history, written
	block    bool   // the block of history is whole
	hashes   int    // of remembered keys, written
	keysDone bool
	wrote    bool // something was
	room     []byte
}

// settled is a delivery that has an end or a place in the queue.
type settled struct {
	event    patchbay.EventID
	delivery patchbay.DeliveryID
}

// lowered is a place in the queue that concerns a lane with dropped rows.
type lowered struct {
	link     patchbay.LinkID
	delivery patchbay.DeliveryID
	due      time.Time
}

// reset makes the batch ready for a transaction of items.
func (b *batch) reset(items []item) {
	clear(b.accepts)
	clear(b.accepted)
	clear(b.outcomes)
	clear(b.keys)
	b.accepts, b.accepted, b.outcomes = b.accepts[:0], b.accepted[:0], b.outcomes[:0]
	b.settled, b.lowered = b.settled[:0], b.lowered[:0]
	b.results, b.lowest, b.marks = 0, 0, nil
	b.rows, b.block, b.hashes, b.keysDone = 0, false, 0, false
	for i := range items {
		if o := items[i].op; o != nil {
			o.err, o.existing = nil, nil
			if o.accept != nil {
				b.accepts = append(b.accepts, o)
			}
		}
	}
	slices.SortFunc(b.accepts, func(x, y *op) int { return cmp.Compare(x.accept.Event.ID, y.accept.Event.ID) })
}

// settle notes that a delivery need not be looked for after a crash.
func (b *batch) settle(event patchbay.EventID, delivery patchbay.DeliveryID) {
	b.settled = append(b.settled, settled{event, delivery})
}

// publish has memory follow what is durable now.
func (b *batch) publish(w *writer) {
	for _, o := range b.accepted {
		e := o.accept.Event
		w.s.floor.Begin(e.ID, len(o.accept.Targets))
	}
	w.s.history.follow(b)
	w.s.keys.follow(b)
	for _, x := range b.settled {
		w.s.floor.Settle(x.event, x.delivery)
	}
	for _, x := range b.lowered {
		w.s.lanes.added(x.link, x.delivery, x.due)
	}
	if b.marks != nil {
		w.marks = *b.marks
		w.markedAt = time.Now()
	}
}

// Accept commits an event; see store.Events.
func (s *Store) Accept(ctx context.Context, a *store.Acceptance) (*store.Existing, error) {
	o := s.w.newOp()
	o.accept = a
	o.targets = appendTargets(o.targets[:0], a.Targets)
	o.source = appendSource(o.source[:0], &a.Event.Source)
	err := s.w.submit(ctx, o)
	existing := o.existing
	if o.took.Load() != opLeft {
		s.w.release(o)
	}
	if err != nil {
		return nil, err
	}
	return existing, nil
}

const insertEvent = `INSERT INTO event
	(id, type, scope, also, source, hops, received, occurred, origin, missed, targets, key, until, actor, payload)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// accept writes one event with all that belongs to it. Its error fails the transaction; what concerns the event alone
// goes into the op.
func (w *writer) accept(o *op) error {
	a, e := o.accept, o.accept.Event
	if a.Idempotency != nil {
		existing, err := w.remembered(a.Idempotency)
		if err != nil {
			return err
		}
		if existing != nil {
			o.existing = existing
			return nil
		}
	}
	if err := w.writeEvent(o); err != nil {
		if constraint(err) {
			o.err = fmt.Errorf("the event %s is in the database already: %w", e.ID, store.ErrConflict)
			return nil
		}
		return err
	}
	b := &w.batch
	b.accepted = append(b.accepted, o)
	if b.lowest == 0 || int64(e.ID) < b.lowest {
		b.lowest = int64(e.ID)
	}
	if a.Idempotency != nil {
		if b.keys == nil {
			b.keys = make(map[[16]byte]*op)
		}
		b.keys[a.Idempotency.Key] = o
	}
	for i := range a.Queue {
		if err := w.enqueue(w.c, &a.Queue[i], 0, false); err != nil {
			return err
		}
		b.settle(a.Queue[i].Event, a.Queue[i].Delivery)
	}
	for i := range a.Outcomes {
		if err := w.writeOutcome(&a.Outcomes[i]); err != nil {
			return err
		}
	}
	if a.Audit != nil {
		return w.s.insertAudit(w.c, a.Audit)
	}
	return nil
}

func (w *writer) writeEvent(o *op) error {
	a, e := o.accept, o.accept.Event
	st, err := w.c.prepare(insertEvent)
	if err != nil {
		return err
	}
	st.bind(1, int64(e.ID)).bindText(2, e.Type).bindText(3, string(e.Scope)).bindSome(4, joinScopes(e.Also))
	st.bindBlob(5, o.source).bind(6, int64(e.Hops)).bind(7, e.ReceivedAt.UnixMicro())
	if occurred := e.OccurredAt.UnixMicro(); e.OccurredAt.IsZero() || occurred == e.ReceivedAt.UnixMicro() {
		st.bindNull(8)
	} else {
		st.bind(8, occurred)
	}
	st.bindID(9, int64(e.Origin)).bind(10, b2i(a.Missed))
	if len(a.Targets) == 0 {
		st.bindNull(11)
	} else {
		st.bindBlob(11, o.targets)
	}
	if k := a.Idempotency; k == nil {
		st.bindNull(12).bindNull(13)
	} else {
		w.batch.room = append(append(w.batch.room[:0], k.Key[:]...), k.Body[:]...)
		st.bindBlob(12, w.batch.room).bind(13, k.Until.UnixMicro())
	}
	st.bindBlob(14, e.Actor)
	if e.Origin != 0 {
		st.bindNull(15) // the origin has it
	} else {
		st.bindBlob(15, e.Payload)
	}
	return st.run()
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// keyHash is what keys are looked up by: the first 63 bits of the caller's hash. The event has the rest.
func keyHash(key [16]byte) int64 { return int64(binary.BigEndian.Uint64(key[:8]) >> 1) }

// remembered returns the event of a key that is not forgotten yet, also when it is in this very transaction.
func (w *writer) remembered(k *store.Idempotency) (*store.Existing, error) {
	if o, ok := w.batch.keys[k.Key]; ok {
		a := o.accept
		if a.Idempotency.Until.After(w.s.now()) {
			return &store.Existing{Event: a.Event.ID, Body: a.Idempotency.Body, Deliveries: len(a.Targets)}, nil
		}
	}
	return w.s.findKey(w.c, k.Key, w.s.now())
}

// findKey looks a key up in memory, then in the table.
func (s *Store) findKey(c *conn, key [16]byte, now time.Time) (*store.Existing, error) {
	hash := keyHash(key)
	event, ok := s.keys.find(hash)
	if !ok {
		st, err := c.prepare("SELECT event FROM idempotency WHERE hash = ?")
		if err != nil {
			return nil, err
		}
		st.bind(1, hash)
		row, err := st.step()
		if row {
			event = st.int(0)
		}
		st.reset()
		if err != nil || !row {
			return nil, err
		}
	}
	st, err := c.prepare("SELECT key, until, targets FROM event WHERE id = ?")
	if err != nil {
		return nil, err
	}
	defer st.reset()
	row, err := st.bind(1, event).step()
	if err != nil || !row {
		return nil, err // the event was deleted, and the key with it
	}
	stored := st.raw(0)
	if len(stored) != 32 || [16]byte(stored[:16]) != key || st.int(1) <= now.UnixMicro() {
		return nil, nil
	}
	return &store.Existing{Event: patchbay.EventID(event), Body: [16]byte(stored[16:]), Deliveries: countTargets(st.raw(2))}, nil
}

// Remembered looks a key up; see store.Events.
func (s *Store) Remembered(ctx context.Context, key [16]byte, now time.Time) (existing *store.Existing, err error) {
	err = s.read(ctx, func(c *conn) error {
		existing, err = s.findKey(c, key, now)
		return err
	})
	return existing, err
}
