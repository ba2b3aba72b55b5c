package sqlite

import (
	"maps"
	"slices"
	"sync"
)

// A row for every remembered key, inserted at once, would go to a random page of a large table: that alone costs as
// much as the event. So keys are looked up in memory first, and written into the table sorted, some ten thousand at a
// time; until then they are in their events, from where a start reads them again.

// keys are the remembered keys that are not in the table. Only the writer changes them.
type keys struct {
	limits  *limits
	mu      sync.RWMutex
	tail    map[int64]int64 // hash → event
	full    map[int64]int64 // what is being written, nil when nothing is
	tailLow int64           // the lowest event in tail, and in full
	fullLow int64
	events  int // what has come by since the first of tail
	bytes   int
	highest int64 // the highest event that has come by

	sorted []int64 // hashes in full; the writer's own
	next   int     // the first of sorted that is not in the table
}

// find returns the event of a key's hash.
func (k *keys) find(hash int64) (int64, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if event, ok := k.tail[hash]; ok {
		return event, true
	}
	event, ok := k.full[hash]
	return event, ok
}

// pass notes an event, with the hash of its key when it has one. k.mu is held.
func (k *keys) pass(event int64, hash int64, keyed bool, size int) {
	k.highest = max(k.highest, event)
	if keyed {
		if len(k.tail) == 0 || event < k.tailLow {
			k.tailLow = event
		}
		k.tail[hash] = event
	}
	if len(k.tail) > 0 {
		k.events++
		k.bytes += size
	}
}

// follow takes over what was committed.
func (k *keys) follow(b *batch) {
	k.next += b.hashes
	if len(b.accepted) == 0 && !b.keysDone {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if b.keysDone {
		k.full, k.sorted = nil, nil
	}
	for _, o := range b.accepted {
		e := o.accept.Event
		if i := o.accept.Idempotency; i != nil {
			k.pass(int64(e.ID), keyHash(i.Key), true, len(e.Payload))
		} else {
			k.pass(int64(e.ID), 0, false, len(e.Payload))
		}
	}
	if k.full == nil && (k.events >= k.limits.keysEvents || k.bytes >= k.limits.keysBytes) {
		k.full, k.fullLow, k.next = k.tail, k.tailLow, 0
		k.sorted = slices.Sorted(maps.Keys(k.full))
		k.tail, k.events, k.bytes = make(map[int64]int64), 0, 0
	}
}

// flushing reports whether keys are half written.
func (k *keys) flushing() bool { return k.full != nil }

// low returns an identifier below which every event's key is in the table, flushed whether those under way are too.
func (k *keys) low(flushed bool) int64 {
	low := k.highest + 1
	if len(k.tail) > 0 {
		low = min(low, k.tailLow)
	}
	if k.full != nil && !flushed {
		low = min(low, k.fullLow)
	}
	return low
}

func (w *writer) writeKeys() error {
	k, b := &w.s.keys, &w.batch
	if k.full == nil {
		return nil
	}
	st, err := w.c.prepare("INSERT OR REPLACE INTO idempotency (hash, event) VALUES (?, ?)")
	if err != nil {
		return err
	}
	hashes := k.sorted[k.next:]
	hashes = hashes[:min(len(hashes), k.limits.keysStep)]
	for _, h := range hashes {
		if err := st.bind(1, h).bind(2, k.full[h]).run(); err != nil {
			return err
		}
	}
	b.hashes = len(hashes)
	b.keysDone = k.next+b.hashes == len(k.sorted)
	return nil
}

// load reads the keys of events that may not be in the table.
func (k *keys) load(c *conn, from int64) error {
	k.tail = make(map[int64]int64)
	k.highest = from - 1
	st, err := c.prepare("SELECT id, key, length(payload) FROM event WHERE id >= ? ORDER BY id")
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
		if key := st.raw(1); len(key) == 32 {
			k.pass(st.int(0), keyHash([16]byte(key[:16])), true, int(st.int(2)))
		} else {
			k.pass(st.int(0), 0, false, int(st.int(2)))
		}
	}
}
