package links

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// failingFor is how long it is good to know which links fail: finding out looks at every lane.
const failingFor = 2 * time.Second

// failures are the links that work as far as they themselves say, and fail all the same.
type failures struct {
	links map[patchbay.LinkID]struct{}
	below map[patchbay.Scope]int // how many at or below a scope
}

// condition is how a link is.
func (f *failures) condition(e *entry) Condition {
	if e.settled == Working {
		if _, fails := f.links[e.l.ID]; fails {
			return Failing
		}
	}
	return e.settled
}

// troubles remembers which links fail.
type troubles struct {
	mu      sync.Mutex
	at      time.Time
	version uint64
	known   *failures
}

// failing finds out which links fail: those whose last attempt did, and those whose account does not work.
func (s *Service) failing() *failures {
	s.fails.mu.Lock()
	defer s.fails.mu.Unlock()
	s.mu.RLock()
	version := s.tree.version
	s.mu.RUnlock()
	age := s.now().Sub(s.fails.at)
	if s.fails.known != nil && s.fails.version == version && age >= 0 && age < failingFor {
		return s.fails.known
	}
	f := &failures{links: map[patchbay.LinkID]struct{}{}, below: map[patchbay.Scope]int{}}
	for _, id := range s.o.Engine.Failing() {
		f.links[id] = struct{}{}
	}
	unusable := s.unusable()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, con := range unusable {
		for id := range s.using[con] {
			f.links[id] = struct{}{}
		}
	}
	for id := range f.links {
		e, ok := s.tree.entry(id)
		if !ok || e.settled != Working {
			continue
		}
		for at := e.l.Scope; ; {
			f.below[at]++
			up, ok := at.Parent()
			if !ok {
				break
			}
			at = up
		}
	}
	s.fails.at, s.fails.version, s.fails.known = s.now(), s.tree.version, f
	return f
}

// unusable returns the connections that links use and cannot work with. Nothing of ours is locked while they are looked up.
func (s *Service) unusable() []patchbay.ConnectionID {
	if s.o.Connections == nil {
		return nil
	}
	s.mu.RLock()
	used := slices.Collect(maps.Keys(s.using))
	s.mu.RUnlock()
	return slices.DeleteFunc(used, func(id patchbay.ConnectionID) bool {
		con, ok := s.o.Connections.Known(id)
		return ok && con.State != patchbay.ConnectionNeedsReauth
	})
}

// Branch is a scope in the tree of links.
type Branch struct {
	Scope patchbay.Scope
	// Own counts the scope's own links, Tally also those below it.
	Own   int
	Tally Tally
	// Branches counts the scopes one level below it at or below which there are links.
	Branches int
}

// Branch says what there is at and below a scope, which may be nothing.
func (s *Service) Branch(_ context.Context, c *access.Caller, scope patchbay.Scope) (*Branch, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, err
	}
	if err := c.Reach(scope); err != nil {
		return nil, err
	}
	failing := s.failing()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := s.tree.nodes[scope]; n != nil {
		b := n.branch(failing)
		return &b, nil
	}
	return &Branch{Scope: scope}, nil
}

// Branches lists the scopes one level below a scope at or below which there are links, by name from a name on, and whether
// there are more.
func (s *Service) Branches(_ context.Context, c *access.Caller, scope patchbay.Scope, from string, limit int) ([]Branch, bool, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, false, err
	}
	if err := c.Reach(scope); err != nil {
		return nil, false, err
	}
	failing := s.failing()
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.tree.nodes[scope]
	if n == nil {
		return nil, false, nil
	}
	at, _ := n.child(from)
	rest := n.children[at:]
	out := make([]Branch, min(len(rest), limit))
	for i := range out {
		out[i] = rest[i].branch(failing)
	}
	return out, len(rest) > limit, nil
}

func (n *node) branch(failing *failures) Branch {
	b := Branch{Scope: n.scope, Own: len(n.own), Tally: n.tally, Branches: len(n.children)}
	fail := min(failing.below[n.scope], b.Tally.Working)
	b.Tally.Working -= fail
	b.Tally.Failing += fail
	return b
}

// Count counts the links at or below a scope by their integration.
func (s *Service) Count(_ context.Context, c *access.Caller, scope patchbay.Scope) (map[string]int, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, err
	}
	if err := c.Reach(scope); err != nil {
		return nil, err
	}
	out := map[string]int{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.tree.below(scope, 0, func(e entry) bool { out[e.l.Integration]++; return true })
	return out, nil
}

// Replaced lists the links below a link's scope that take its place there, those that only opt out included, the oldest
// first, and whether there are more.
func (s *Service) Replaced(_ context.Context, c *access.Caller, id, after patchbay.LinkID, limit int) ([]View, bool, error) {
	l, _, err := s.find(c, access.Read, id)
	if err != nil || l.Slot == "" {
		return nil, false, err
	}
	var found []entry
	s.mu.RLock()
	s.tree.below(l.Scope, after, func(e entry) bool {
		if e.l.Slot == l.Slot && e.l.Integration == l.Integration && e.l.Scope != l.Scope {
			found = append(found, e)
		}
		return len(found) <= limit
	})
	s.mu.RUnlock()
	views := make([]View, 0, min(len(found), limit))
	for _, e := range found[:min(len(found), limit)] {
		views = append(views, *s.view(c, e.l, e.c))
	}
	return views, len(found) > limit, nil
}

// sinceMost is how many changes of a link are looked through for when it came into its state.
const sinceMost = 20

// Since returns when a link came into the state that it is in; zero when that is longer ago than is kept.
func (s *Service) Since(ctx context.Context, c *access.Caller, id patchbay.LinkID) (time.Time, error) {
	l, _, err := s.find(c, access.Read, id)
	if err != nil {
		return time.Time{}, err
	}
	at := l.UpdatedAt
	for revision := l.Revision - 1; ; revision-- {
		if revision < 1 {
			return at, nil
		}
		if revision < l.Revision-sinceMost {
			return time.Time{}, nil
		}
		before, err := s.o.Store.LinkRevision(ctx, id, revision)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return time.Time{}, nil
		case err != nil:
			return time.Time{}, patchbay.Internal("reading a link as it was", err)
		case before.State != l.State || before.Enabled != l.Enabled || before.StateReason != l.StateReason:
			return at, nil
		}
		at = before.UpdatedAt
	}
}

// Rotates reports whether a link has a secret that RotateSecret makes anew.
func (s *Service) Rotates(c *access.Caller, id patchbay.LinkID) bool {
	l, compiled, err := s.find(c, access.Manage, id)
	if err != nil || !c.May(access.Secrets) || compiled.broken != "" || l.OptOut || l.State == patchbay.LinkDetaching {
		return false
	}
	for i := range compiled.deliver.Definition.Settings {
		if set := &compiled.deliver.Definition.Settings[i]; set.Generate != nil && set.Signing {
			return true
		}
	}
	return signs(compiled, l, s.o.Configs[l.Integration])
}
