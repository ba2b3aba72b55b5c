package links

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// OptOut keeps a link that a scope inherits from it: a disabled link takes its place in its slot there. The caller need not
// see more of the inherited link than that it exists. Opting out twice changes nothing.
func (s *Service) OptOut(ctx context.Context, c *access.Caller, id patchbay.LinkID, scope patchbay.Scope) (*View, error) {
	l, err := s.inherited(c, id, scope)
	if err != nil {
		return nil, err
	}
	_, def, err := s.integration(l.Integration)
	if err != nil {
		return nil, err
	}
	if err := s.place(c, def, scope); err != nil {
		return nil, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	if there := s.inSlot(l, scope); there != nil {
		if !there.OptOut {
			return nil, patchbay.Errorf(patchbay.CodeConflict, "the link %s has the slot %q in %q already: disable that one", there.ID, l.Slot, scope)
		}
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.view(c, there, s.links[there.ID]), nil
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	out := &patchbay.Link{
		ID: patchbay.LinkID(s.o.Store.NewID(1)), Integration: l.Integration, Scope: scope, Reach: patchbay.ReachSubtree,
		Events: []patchbay.Pattern{"*", patchbay.SystemPrefix + "*"}, // whatever the other one may come to select
		Slot:   l.Slot, OptOut: true, State: patchbay.LinkActive, Settings: json.RawMessage("{}"), CreatedAt: now, UpdatedAt: now, Revision: 1,
	}
	compiled, err := s.compile(out)
	if err != nil {
		return nil, err
	}
	if err := s.save(s.created(ctx, c, out, compiled), out, compiled); err != nil {
		return nil, err
	}
	return s.view(c, out, compiled), nil
}

// OptIn takes an OptOut back: id is the inherited link, or the one that took its place.
func (s *Service) OptIn(ctx context.Context, c *access.Caller, id patchbay.LinkID, scope patchbay.Scope) error {
	s.mu.RLock()
	l := s.stored[id]
	s.mu.RUnlock()
	if l == nil || !l.OptOut || l.Scope != scope {
		var err error
		if l, err = s.inherited(c, id, scope); err != nil {
			return err
		}
		if l = s.inSlot(l, scope); l == nil || !l.OptOut {
			return patchbay.Errorf(patchbay.CodeNotFound, "%q has not opted out of the link %s", scope, id)
		}
	}
	return s.Delete(ctx, c, l.ID)
}

// inherited returns a link that a scope inherits and that it can opt out of.
func (s *Service) inherited(c *access.Caller, id patchbay.LinkID, scope patchbay.Scope) (*patchbay.Link, error) {
	if err := c.Require(access.Manage); err != nil {
		return nil, err
	}
	if err := c.Reach(scope); err != nil {
		return nil, err
	}
	s.mu.RLock()
	l := s.stored[id]
	s.mu.RUnlock()
	switch {
	case l == nil || !s.seesTitle(c, l):
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no link %s", id)
	case l.Slot == "":
		return nil, patchbay.Invalid("slot", "the link %s has no slot, so nothing can take its place", id)
	case l.Scope == scope || !l.Scope.Contains(scope):
		return nil, patchbay.Invalid("scope", "%q does not inherit the link %s", scope, id)
	}
	return l, nil
}

// inSlot returns the link that stands in a scope in the slot of another; nil when there is none.
func (s *Service) inSlot(other *patchbay.Link, scope patchbay.Scope) *patchbay.Link {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found *patchbay.Link
	n := s.tree.nodes[scope]
	if n == nil {
		return nil
	}
	for _, l := range n.own {
		if l.Slot == other.Slot && l.Integration == other.Integration && l.State != patchbay.LinkDetaching &&
			(found == nil || found.OptOut) {
			found = l
		}
	}
	return found
}
