package route

import (
	"slices"

	"github.com/patchbay/patchbay"
)

// bucket holds the links of one scope and reach by their patterns. A link with several patterns stands in several
// groups.
type bucket struct {
	literal map[string]*group
	stars   map[patchbay.Pattern]*group
	// wild holds the groups of stars, so that they can be walked; see group.at.
	wild []*group
	// memo remembers, where wild is long, which of wild match a name. Changes of wild keep it true. spent counts what
	// it holds; when that is too much for the bucket's size, all of it is forgotten.
	memo  map[string][]*group
	spent int
	// version counts changes of wild, so that what was looked up before one is not remembered after it.
	version uint64
}

// group is the links of a bucket that have one pattern, by identifier.
type group struct {
	pattern patchbay.Pattern
	links   []*Link
	at      int // its place in bucket.wild
}

// memoFrom is from how many patterns with stars on the bucket remembers which match.
const memoFrom = 32

func (b *bucket) empty() bool { return len(b.literal) == 0 && len(b.stars) == 0 }

func (b *bucket) add(l *Link) {
	for _, p := range l.Events {
		g := b.group(p)
		i, found := slices.BinarySearchFunc(g.links, l, byID)
		if !found { // it is there when the link repeats a pattern
			g.links = slices.Insert(g.links, i, l)
		}
	}
}

func (b *bucket) group(p patchbay.Pattern) *group {
	if p.Literal() {
		g := b.literal[string(p)]
		if g == nil {
			g = &group{pattern: p}
			if b.literal == nil {
				b.literal = make(map[string]*group)
			}
			b.literal[string(p)] = g
		}
		return g
	}
	g := b.stars[p]
	if g == nil {
		g = &group{pattern: p, at: len(b.wild)}
		if b.stars == nil {
			b.stars = make(map[patchbay.Pattern]*group)
		}
		b.stars[p] = g
		b.wild = append(b.wild, g)
		b.version++
		b.remember(g)
	}
	return g
}

func (b *bucket) remove(l *Link) {
	for _, p := range l.Events {
		g := b.stars[p]
		if p.Literal() {
			g = b.literal[string(p)]
		}
		if g == nil {
			continue // the link repeats a pattern, and the group is gone
		}
		if i, found := slices.BinarySearchFunc(g.links, l, byID); found {
			g.links = slices.Delete(g.links, i, i+1)
		}
		if len(g.links) > 0 {
			continue
		}
		if p.Literal() {
			delete(b.literal, string(p))
			continue
		}
		b.forget(g)
		delete(b.stars, p)
		last := len(b.wild) - 1
		b.wild[last].at = g.at
		b.wild[g.at] = b.wild[last]
		b.wild[last] = nil
		b.wild = b.wild[:last]
		b.version++
	}
}

// remember adds a new group to what is remembered.
func (b *bucket) remember(g *group) {
	for name, groups := range b.memo {
		if g.pattern.Match(name) {
			b.memo[name] = append(groups, g)
			b.spent++
		}
	}
}

// forget takes a group that goes out of what is remembered.
func (b *bucket) forget(g *group) {
	for name, groups := range b.memo {
		if i := slices.Index(groups, g); i >= 0 {
			b.memo[name] = slices.Delete(groups, i, i+1)
			b.spent--
		}
	}
	if len(b.wild) <= memoFrom {
		b.memo, b.spent = nil, 0
	}
}

// collect appends the links with a pattern for the name. They may repeat ones that are there already, and stand in
// no order. When the bucket would like to remember something, the finding is returned.
func (b *bucket) collect(name string, out []*Link) ([]*Link, *finding) {
	if g := b.literal[name]; g != nil {
		out = append(out, g.links...)
	}
	if len(b.wild) < memoFrom {
		for _, g := range b.wild {
			if g.pattern.Match(name) {
				out = append(out, g.links...)
			}
		}
		return out, nil
	}
	groups, known := b.memo[name]
	var f *finding
	if !known {
		f = b.find(name)
		groups = f.groups
	}
	for _, g := range groups {
		out = append(out, g.links...)
	}
	return out, f
}

// finding is what a bucket is to remember once the lock for changes can be had.
type finding struct {
	bucket  *bucket
	version uint64
	name    string
	groups  []*group
}

func (b *bucket) find(name string) *finding {
	f := &finding{bucket: b, version: b.version, name: name}
	for _, g := range b.wild {
		if g.pattern.Match(name) {
			f.groups = append(f.groups, g)
		}
	}
	return f
}

// keep remembers the finding unless the bucket has changed since. What a bucket remembers stays in proportion to its
// size, whatever names come along: they are from a catalog, but catalogs grow.
func (f *finding) keep() {
	b := f.bucket
	if b.version != f.version {
		return
	}
	if b.memo == nil || b.spent > 1024+8*len(b.wild) {
		b.memo, b.spent = make(map[string][]*group), 0
	}
	if _, known := b.memo[f.name]; !known {
		b.memo[f.name] = f.groups
		b.spent += 8 + len(f.groups)
	}
}
