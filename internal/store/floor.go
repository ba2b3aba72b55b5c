package store

import (
	"sync"

	"github.com/patchbay/patchbay"
)

// Floor knows the lowest identifier of an event that a node accepted and that may have a delivery with neither a
// durable attempt nor a place in the queue. A store writes it down now and then; after a crash Recover looks at
// nothing below it. Identifiers are taken before commits, so the floor can go down again: see Begin. It is safe for
// concurrent use.
type Floor struct {
	mu   sync.Mutex
	ring []open // in order of identifiers; head is the first that counts
	head int
	pos  map[patchbay.EventID]int // of those with deliveries left: the absolute position, index in ring + base
	base int
	next patchbay.EventID // the floor when nothing is open
}

// open is an event and which of its deliveries are settled.
type open struct {
	event       patchbay.EventID
	count, left int
	settled     uint64   // the first 64 deliveries
	more        []uint64 // the others, 64 each
}

// word returns the place of the i-th delivery's bit, counting from 0.
func (o *open) word(i int) *uint64 {
	if i < 64 {
		return &o.settled
	}
	if o.more == nil {
		o.more = make([]uint64, (o.count-1)/64)
	}
	return &o.more[i/64-1]
}

// Begin notes that an event was committed with so many deliveries that only the node's memory knows of. One whose
// identifier lies below the floor lowers it.
func (f *Floor) Begin(event patchbay.EventID, deliveries int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pos == nil {
		f.pos = make(map[patchbay.EventID]int)
	}
	f.next = max(f.next, event+1)
	if deliveries <= 0 {
		return
	}
	// Commits are nearly in the order of identifiers; those that an event overtook move back by one.
	f.ring = append(f.ring, open{})
	i := len(f.ring) - 1
	for ; i > f.head && f.ring[i-1].event > event; i-- {
		f.ring[i] = f.ring[i-1]
		if f.ring[i].left > 0 {
			f.pos[f.ring[i].event] = f.base + i
		}
	}
	f.ring[i] = open{event: event, count: deliveries, left: deliveries}
	f.pos[event] = f.base + i
}

// Settle notes that a delivery of an event has a durable attempt or a place in the queue. Saying so again, or of an
// event that is not open, changes nothing.
func (f *Floor) Settle(event patchbay.EventID, delivery patchbay.DeliveryID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.pos[event]
	if !ok {
		return
	}
	o := &f.ring[at-f.base]
	distance := int64(delivery) - int64(event)
	if distance <= 0 || distance%patchbay.IDStep != 0 || distance/patchbay.IDStep > int64(o.count) {
		return // not one of its deliveries
	}
	i := int(distance/patchbay.IDStep) - 1
	word, bit := o.word(i), uint64(1)<<(i%64)
	if *word&bit != 0 {
		return
	}
	*word |= bit
	if o.left--; o.left > 0 {
		return
	}
	delete(f.pos, event)
	f.advance()
}

// advance moves the head over what is settled, and gives the room before it back once it is more than half.
func (f *Floor) advance() {
	for f.head < len(f.ring) && f.ring[f.head].left == 0 {
		f.head++
	}
	if f.head < len(f.ring) && (f.head <= 1024 || f.head*2 <= len(f.ring)) {
		return
	}
	n := copy(f.ring, f.ring[f.head:])
	clear(f.ring[n:])
	f.ring = f.ring[:n]
	f.base += f.head
	f.head = 0
}

// Open reports whether any delivery is known to memory only.
func (f *Floor) Open() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head < len(f.ring)
}

// Value returns the floor.
func (f *Floor) Value() patchbay.EventID {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head < len(f.ring) {
		return f.ring[f.head].event
	}
	return f.next
}
