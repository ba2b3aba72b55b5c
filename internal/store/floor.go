package store

import (
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

type open struct {
	event patchbay.EventID
	left  int
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
	// Commits are nearly in the order of identifiers; an event that overtook others is moved back to its place.
	f.ring = append(f.ring, open{event, deliveries})
	i := len(f.ring) - 1
	for ; i > f.head && f.ring[i-1].event > event; i-- {
		f.ring[i] = f.ring[i-1]
		f.pos[f.ring[i].event] = f.base + i
	}
	f.ring[i] = open{event, deliveries}
	f.pos[event] = f.base + i
}

// Done notes that n deliveries of an event have a durable attempt or a place in the queue.
func (f *Floor) Done(event patchbay.EventID, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.pos[event]
	if !ok {
		return
	}
	i := at - f.base
	f.ring[i].left -= n
	if f.ring[i].left > 0 {
		return
	}
	delete(f.pos, event)
	for f.head < len(f.ring) && f.ring[f.head].left <= 0 {
		f.head++
	}
	if f.head > 1024 && f.head*2 > len(f.ring) {
		n := copy(f.ring, f.ring[f.head:])
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
