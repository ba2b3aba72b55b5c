package rawjson

import (
	"bytes"
	"hash/maphash"
)

// smallObject is up to how many keys an object's keys are compared with each other, which is cheaper than hashing
// them. Objects with more go into one table.
const smallObject = 12

// fields are the keys of one object so far.
type fields struct {
	n     int
	table uint32 // the object's number in the table; 0: not there yet
	small [smallObject]span
}

// span is where a key stands: in the document, or, when its place is beyond the document's end, in keySet.plain.
type span struct{ start, end uint32 }

// maxDocument keeps every span within 32 bits.
const maxDocument = 1 << 30

// keySet finds duplicate keys. All large objects of a document share one hash table, in which the object's number is
// part of the key, so that a document of many objects costs no more than one large one.
type keySet struct {
	objects uint32
	used    int
	slots   []slot // its length is a power of two
	plain   []byte // keys without their escapes
}

type slot struct {
	object uint32 // 0: free
	hash   uint32
	key    span
}

// maxKeptSlots bounds what a checker that waits in the pool holds on to (16 bytes a slot).
const maxKeptSlots = 1 << 12

// seed makes hashes differ between processes, so nobody can prepare keys that collide.
var seed = maphash.MakeSeed()

func (s *keySet) reset() {
	switch {
	case len(s.slots) > maxKeptSlots:
		s.slots = nil
	case s.used > 0:
		clear(s.slots)
	}
	if cap(s.plain) > maxKeptSlots {
		s.plain = nil
	}
	s.objects, s.used, s.plain = 0, 0, s.plain[:0]
}

// add notes the key data[start:end] of the object f and reports whether it is new there.
func (s *keySet) add(f *fields, data []byte, start, end int, escaped bool) bool {
	key := span{start: uint32(start), end: uint32(end)}
	if escaped {
		from := len(data) + len(s.plain)
		s.plain = unescape(s.plain, data[start:end])
		key = span{start: uint32(from), end: uint32(len(data) + len(s.plain))}
	}
	if f.n < smallObject {
		text := s.text(data, key)
		for i := range f.n {
			if bytes.Equal(s.text(data, f.small[i]), text) {
				return false
			}
		}
		f.small[f.n] = key
		f.n++
		return true
	}
	if f.table == 0 {
		s.objects++
		f.table = s.objects
		for _, k := range f.small {
			s.insert(data, f.table, k)
		}
	}
	return s.insert(data, f.table, key)
}

func (s *keySet) text(data []byte, k span) []byte {
	if n := uint32(len(data)); k.start >= n {
		return s.plain[k.start-n : k.end-n]
	}
	return data[k.start:k.end]
}

// insert reports whether the key was not in the table yet.
func (s *keySet) insert(data []byte, object uint32, key span) bool {
	if 2*s.used >= len(s.slots) {
		s.grow()
	}
	text := s.text(data, key)
	// Equal keys of many objects must not fall into one place, so the object's number reaches every bit.
	hash := uint32(maphash.Bytes(seed, text)) ^ object*0x9E3779B1
	mask := uint32(len(s.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		at := &s.slots[i]
		if at.object == 0 {
			*at = slot{object: object, hash: hash, key: key}
			s.used++
			return true
		}
		if at.hash == hash && at.object == object && bytes.Equal(s.text(data, at.key), text) {
			return false
		}
	}
}

func (s *keySet) grow() {
	old := s.slots
	s.slots = make([]slot, max(64, 2*len(old)))
	mask := uint32(len(s.slots) - 1)
	for _, o := range old {
		if o.object == 0 {
			continue
		}
		i := o.hash & mask
		for s.slots[i].object != 0 {
			i = (i + 1) & mask
		}
		s.slots[i] = o
	}
}
