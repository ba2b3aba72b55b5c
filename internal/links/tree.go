package links

import (
	"cmp"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
)

// Condition is how a link is, in one word: the first of these that fits it.
type Condition string

// The conditions of links.
const (
	// Failing needs somebody: its deliveries fail, its account does not work, or it was switched off for a reason.
	Failing Condition = "failing"
	// Changing is being set up or taken down at the partner, Paused holds what matches, Off was switched off by somebody.
	Changing Condition = "changing"
	Paused   Condition = "paused"
	Off      Condition = "off"
	// Working is every other one.
	Working Condition = "working"
)

// Conditions are those that there are, the worst first.
func Conditions() []Condition { return []Condition{Failing, Changing, Paused, Off, Working} }

// Tally counts links by their condition.
type Tally struct{ Links, Failing, Changing, Paused, Off, Working int }

// Of returns how many links are in a condition.
func (t *Tally) Of(c Condition) int { return *t.of(c) }

// Worst is the worst condition that a link is in; what is off does not count as bad, and where there is nothing all works.
func (t *Tally) Worst() Condition {
	for _, c := range []Condition{Failing, Changing, Paused} {
		if *t.of(c) > 0 {
			return c
		}
	}
	if t.Links > 0 && t.Off == t.Links {
		return Off
	}
	return Working
}

func (t *Tally) of(c Condition) *int {
	switch c {
	case Failing:
		return &t.Failing
	case Changing:
		return &t.Changing
	case Paused:
		return &t.Paused
	case Off:
		return &t.Off
	}
	return &t.Working
}

// entry is a link as lists see it.
type entry struct {
	l *patchbay.Link
	c *compiled
	// settled is the condition as far as the link itself says it: one that Works may yet fail.
	settled Condition
}

// settledOf is the condition that a link's own state says.
func settledOf(l *patchbay.Link, c *compiled) Condition {
	switch {
	case l.State == patchbay.LinkDetaching:
		return Changing
	case c.broken != "":
		return Failing
	case l.OptOut:
		return Off
	case !l.Enabled && l.StateReason == "":
		return Off
	case l.StateReason != "":
		return Failing
	case l.State == patchbay.LinkAttaching:
		return Changing
	case l.State == patchbay.LinkPaused:
		return Paused
	}
	return Working
}

// tree has the links in the order in which they were made, and by scope, so that a page costs what it shows however many
// links there are. The service's mu guards it.
type tree struct {
	byID  []entry
	nodes map[patchbay.Scope]*node
	// bulk says that children are sorted once, when everything is there.
	bulk bool
	// version tells two states of the tree apart.
	version uint64
}

// node is a scope at or below which there are links.
type node struct {
	scope    patchbay.Scope
	own      []*patchbay.Link // the oldest first
	children []*node          // by their last segment
	tally    Tally            // at and below
}

func newTree() tree { return tree{nodes: map[patchbay.Scope]*node{}} }

// name is the scope's last segment.
func (n *node) name() string { return lastSegment(n.scope) }

func lastSegment(s patchbay.Scope) string { return string(s)[strings.LastIndexByte(string(s), '/')+1:] }

func (t *tree) find(id patchbay.LinkID) (int, bool) {
	return slices.BinarySearchFunc(t.byID, id, func(e entry, id patchbay.LinkID) int { return cmp.Compare(e.l.ID, id) })
}

// entry returns a link; false when there is none.
func (t *tree) entry(id patchbay.LinkID) (entry, bool) {
	at, ok := t.find(id)
	if !ok {
		return entry{}, false
	}
	return t.byID[at], true
}

// put takes in a link or a change of it.
func (t *tree) put(l *patchbay.Link, c *compiled) {
	e := entry{l, c, settledOf(l, c)}
	t.version++
	at, there := t.find(l.ID)
	if there {
		before := t.byID[at]
		t.byID[at] = e
		if before.l.Scope == l.Scope {
			n := t.nodes[l.Scope]
			own, _ := n.find(l.ID)
			n.own[own] = l
			t.count(l.Scope, func(tally *Tally) { *tally.of(before.settled)--; *tally.of(e.settled)++ })
			return
		}
		t.leave(before)
	} else {
		t.byID = slices.Insert(t.byID, at, e)
	}
	n := t.node(l.Scope)
	own, _ := n.find(l.ID)
	n.own = slices.Insert(n.own, own, l)
	t.count(l.Scope, func(tally *Tally) { tally.Links++; *tally.of(e.settled)++ })
}

// remove takes a link out.
func (t *tree) remove(id patchbay.LinkID) {
	at, there := t.find(id)
	if !there {
		return
	}
	t.version++
	e := t.byID[at]
	t.byID = slices.Delete(t.byID, at, at+1)
	t.leave(e)
}

// leave takes a link out of its scope, and that out of the tree when nothing is left there.
func (t *tree) leave(e entry) {
	n := t.nodes[e.l.Scope]
	own, _ := n.find(e.l.ID)
	n.own = slices.Delete(n.own, own, own+1)
	t.count(e.l.Scope, func(tally *Tally) { tally.Links--; *tally.of(e.settled)-- })
	for n.tally.Links == 0 {
		delete(t.nodes, n.scope)
		up, ok := n.scope.Parent()
		if !ok {
			return
		}
		parent := t.nodes[up]
		at, _ := parent.child(n.name())
		parent.children = slices.Delete(parent.children, at, at+1)
		n = parent
	}
}

// count changes the tallies of a scope and of those above it.
func (t *tree) count(scope patchbay.Scope, change func(*Tally)) {
	for {
		change(&t.nodes[scope].tally)
		up, ok := scope.Parent()
		if !ok {
			return
		}
		scope = up
	}
}

// node returns the node of a scope, made with those above it where there is none.
func (t *tree) node(scope patchbay.Scope) *node {
	if n := t.nodes[scope]; n != nil {
		return n
	}
	n := &node{scope: scope}
	t.nodes[scope] = n
	if up, ok := scope.Parent(); ok {
		parent := t.node(up)
		at := len(parent.children)
		if !t.bulk {
			at, _ = parent.child(n.name())
		}
		parent.children = slices.Insert(parent.children, at, n)
	}
	return n
}

// sorted ends a bulk.
func (t *tree) sorted() {
	t.bulk = false
	for _, n := range t.nodes {
		slices.SortFunc(n.children, func(a, b *node) int { return strings.Compare(a.name(), b.name()) })
	}
}

func (n *node) find(id patchbay.LinkID) (int, bool) {
	return slices.BinarySearchFunc(n.own, id, func(l *patchbay.Link, id patchbay.LinkID) int { return cmp.Compare(l.ID, id) })
}

func (n *node) child(name string) (int, bool) {
	return slices.BinarySearchFunc(n.children, name, func(c *node, name string) int { return strings.Compare(c.name(), name) })
}

// below calls see with the links at or below a scope that come after an identifier, the oldest first, until it says that
// it has seen enough. Few links below a scope among many elsewhere are sorted; else those elsewhere are passed over.
func (t *tree) below(scope patchbay.Scope, after patchbay.LinkID, see func(entry) bool) {
	n := t.nodes[scope]
	if n == nil {
		return
	}
	if k := n.tally.Links; k*k < len(t.byID) {
		for _, l := range n.all(make([]*patchbay.Link, 0, k)) {
			if l.ID > after {
				if e, _ := t.entry(l.ID); !see(e) {
					return
				}
			}
		}
		return
	}
	from, _ := t.find(after + 1)
	for _, e := range t.byID[from:] {
		if scope.Contains(e.l.Scope) && !see(e) {
			return
		}
	}
}

// all adds the links at or below a node, the oldest first.
func (n *node) all(to []*patchbay.Link) []*patchbay.Link {
	if len(n.children) == 0 {
		return append(to, n.own...)
	}
	to = n.collect(to)
	slices.SortFunc(to, func(a, b *patchbay.Link) int { return cmp.Compare(a.ID, b.ID) })
	return to
}

func (n *node) collect(to []*patchbay.Link) []*patchbay.Link {
	to = append(to, n.own...)
	for _, c := range n.children {
		to = c.collect(to)
	}
	return to
}

// own calls see with a scope's own links that come after an identifier, as below does.
func (t *tree) own(scope patchbay.Scope, after patchbay.LinkID, see func(entry) bool) {
	n := t.nodes[scope]
	if n == nil {
		return
	}
	from, _ := n.find(after + 1)
	for _, l := range n.own[from:] {
		if e, _ := t.entry(l.ID); !see(e) {
			return
		}
	}
}

// inEffect returns the links that could match an event of a scope, or lie in it and bring events into it.
func (t *tree) inEffect(scope patchbay.Scope) []*patchbay.Link {
	var out []*patchbay.Link
	for at := scope; ; {
		if n := t.nodes[at]; n != nil {
			for _, l := range n.own {
				if inEffect(l, scope) {
					out = append(out, l)
				}
			}
		}
		up, ok := at.Parent()
		if !ok {
			break
		}
		at = up
	}
	slices.SortFunc(out, func(a, b *patchbay.Link) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
