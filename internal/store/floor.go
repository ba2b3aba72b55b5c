package store

import (
	"math/bits"
	"sync"

	"github.com/patchbay/patchbay"
)

// Floor knows the lowest identifier of an event that a node accepted and that may have a delivery with neither a
// durable attempt nor a place in the queue. A store writes it down now and then; after a crash Recover looks at
// nothing below it. It is safe for concurrent use.
type Floor struct {
	mu   sync.Mutex
	ring []open // in order of identifiers; head is the first that counts
	head int
	pos  map[patchbay.EventID]int // absolute position: index in ring + base
	base int
	next patchbay.EventID // the floor when nothing is open
}

// open is an event with the deliveries of it that are not settled: bit i-1 of first for delivery i up to 64, rest for
// the others.
type open struct {
	event patchbay.EventID
	left  int
	first uint64
	rest  []uint64
}

// Begin notes that an event was committed with so many deliveries that only the node's memory knows of.
func (f *Floor) Begin(event patchbay.EventID, deliveries int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pos == nil {
		f.pos = make(map[patchbay.EventID]int)
	}
	f.next = max(f.next, event+1)
	if deliveries == 0 {
		return
	}
	o := open{event: event, left: deliveries, first: 1<<min(deliveries, 64) - 1}
	if deliveries > 64 {
		o.rest = make([]uint64, (deliveries-1)/64)
		for i := range o.rest {
			o.rest[i] = 1<<min(deliveries-64*(i+1), 64) - 1
		}
	}
	// Commits are nearly in the order of identifiers; an event that overtook others is moved back to its place.
	f.ring = append(f.ring, o)
	i := len(f.ring) - 1
	for ; i > f.head && f.ring[i-1].event > event; i-- {
		f.ring[i] = f.ring[i-1]
		f.pos[f.ring[i].event] = f.base + i
	}
	f.ring[i] = o
	f.pos[event] = f.base + i
}

// Settle notes that one delivery of an event has a durable attempt or a place in the queue. It may be said of a
// delivery any number of times, and of deliveries that Begin never heard of.
func (f *Floor) Settle(event patchbay.EventID, delivery patchbay.DeliveryID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.pos[event]
	if !ok {
		return
	}
	o := &f.ring[at-f.base]
	i := (int64(delivery)-int64(event))/patchbay.IDStep - 1
	if i < 0 {
		return
	}
	word := &o.first
	if i >= 64 {
		if i/64 > int64(len(o.rest)) {
			return
		}
		word = &o.rest[i/64-1]
	}
	if *word&(1<<(i%64)) == 0 {
		return
	}
	*word &^= 1 << (i % 64)
	if o.left--; o.left == 0 {
		f.close(event)
	}
}

// Done notes that n deliveries of an event have a durable attempt or a place in the queue, whichever they are. Where
// the same may be said twice of one delivery, Settle is what to call.
func (f *Floor) Done(event patchbay.EventID, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.pos[event]
	if !ok {
		return
	}
	o := &f.ring[at-f.base]
	for range min(n, o.left) {
		word := &o.first
		for i := 0; *word == 0; i++ {
			word = &o.rest[i]
		}
		*word &^= 1 << bits.TrailingZeros64(*word)
		o.left--
	}
	if o.left == 0 {
		f.close(event)
	}
}

// close forgets an event of which nothing is open. f.mu is held.
func (f *Floor) close(event patchbay.EventID) {
	delete(f.pos, event)
	for f.head < len(f.ring) && f.ring[f.head].left <= 0 {
		f.head++
	}
	if f.head > 1024 && f.head*2 > len(f.ring) {
		n := copy(f.ring, f.ring[f.head:])
		clear(f.ring[n:])
		f.ring = f.ring[:n]
		f.base += f.head
		f.head = 0
	}
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
