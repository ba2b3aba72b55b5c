// Package route says which links an event goes to: by scope and reach, by type pattern, by filter, by slot. Its Index
// holds every link in memory and reads no database. The cost of a match depends on the links that can see the event
// and want its type, not on how many others there are.
//
// It also runs the expressions of links: filters, which decide, and bodies, which make what is sent.
package route

import (
	"cmp"
	"sync"

	"github.com/patchbay/patchbay"
)

// Link is what routing needs of a link. It must not change after Put.
type Link struct {
	ID       patchbay.LinkID
	Revision int
	Scope    patchbay.Scope
	Reach    patchbay.Reach
	Events   []patchbay.Pattern
	// Filter must be true for the event; nil always is.
	Filter *Filter
	// Slot, when not empty, lets a link at a deeper scope take this one's place.
	Slot        string
	Integration string
	// Target is the place at the partner that the link leads to, "" when it is not known.
	Target string
	// State decides what a match means. Active and paused links get deliveries; a disabled one only counts as missed,
	// but takes part in its slot; one that is being attached or detached matches nothing.
	State patchbay.LinkState
	// OptOut says of a disabled link that it is only there to take its slot: it misses nothing.
	OptOut bool
	// Value is the caller's own.
	Value any
}

// Index finds links. Its zero value is empty and ready. It is safe for concurrent use: a change takes microseconds
// under its lock, and no expression is ever evaluated under it.
type Index struct {
	mu     sync.RWMutex
	links  map[patchbay.LinkID]*Link
	scopes map[patchbay.Scope]*reaches
}

// reaches holds the links of one scope.
type reaches struct{ subtree, children, exact bucket }

func (r *reaches) of(reach patchbay.Reach) *bucket {
	switch reach {
	case patchbay.ReachExact:
		return &r.exact
	case patchbay.ReachChildren:
		return &r.children
	}
	return &r.subtree
}

// Put adds a link, or replaces the one with its identifier. What Match returns from then on reflects it.
func (x *Index) Put(l *Link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.links == nil {
		x.links = make(map[patchbay.LinkID]*Link)
		x.scopes = make(map[patchbay.Scope]*reaches)
	}
	x.remove(l.ID)
	x.links[l.ID] = l
	r := x.scopes[l.Scope]
	if r == nil {
		r = &reaches{}
		x.scopes[l.Scope] = r
	}
	r.of(l.Reach).add(l)
}

// Remove forgets a link. Removing one that is not there does nothing.
func (x *Index) Remove(id patchbay.LinkID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(id)
}

func (x *Index) remove(id patchbay.LinkID) {
	l := x.links[id]
	if l == nil {
		return
	}
	delete(x.links, id)
	r := x.scopes[l.Scope]
	if r == nil {
		return // it selects nothing, and the last of its scope that does is gone
	}
	r.of(l.Reach).remove(l)
	if r.subtree.empty() && r.children.empty() && r.exact.empty() {
		delete(x.scopes, l.Scope)
	}
}

// Get returns a link, nil when there is none.
func (x *Index) Get(id patchbay.LinkID) *Link {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.links[id]
}

// Len counts the links.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.links)
}

// visible calls yield for every bucket whose links see one of the event's scopes. With several scopes it may do so
// more than once for a bucket.
func (x *Index) visible(e *patchbay.Event, yield func(*bucket)) {
	x.above(e.Scope, yield)
	for _, s := range e.Also {
		x.above(s, yield)
	}
}

// above visits what sees the scope: what is there, and what reaches down to it.
func (x *Index) above(s patchbay.Scope, yield func(*bucket)) {
	if r := x.scopes[s]; r != nil {
		yield(&r.exact)
		yield(&r.subtree)
	}
	for level := 1; ; level++ {
		var ok bool
		if s, ok = s.Parent(); !ok {
			return
		}
		r := x.scopes[s]
		if r == nil {
			continue
		}
		if level == 1 {
			yield(&r.children)
		}
		yield(&r.subtree)
	}
}

// byID orders links as they were made.
func byID(a, b *Link) int { return cmp.Compare(a.ID, b.ID) }
