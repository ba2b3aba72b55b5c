package links

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// editTries bounds how often a change is made anew because another node changed the link at the same time.
const editTries = 5

// errUnchanged is what a change returns when there is nothing to store.
var errUnchanged = errors.New("nothing changes")

// edit changes a copy of a link, stores it as its next revision and makes it the current one. When another node has
// changed the link and this one has not heard of it yet, the change is made to what the link is now.
func (s *Service) edit(ctx context.Context, c *access.Caller, id patchbay.LinkID, ifMatch int,
	change func(*patchbay.Link, *integration.Definition) (map[string]string, error)) (*View, error) {
	s.change.Lock()
	defer s.change.Unlock()
	return s.editLocked(ctx, c, id, ifMatch, change)
}

// editLocked is edit for a caller who holds s.change.
func (s *Service) editLocked(ctx context.Context, c *access.Caller, id patchbay.LinkID, ifMatch int,
	change func(*patchbay.Link, *integration.Definition) (map[string]string, error)) (*View, error) {
	for tries := 1; ; tries++ {
		v, err := s.editOnce(ctx, c, id, ifMatch, change)
		if patchbay.CodeOf(err) != patchbay.CodeConflict || tries == editTries {
			return v, err
		}
		before := s.revision(id)
		if err := s.refresh(ctx, id); err != nil {
			return nil, err
		}
		if s.revision(id) == before {
			return v, err
		}
	}
}

// alter is edit for changes that the partner may have to hear of: it waits for that a while, and takes back what the partner
// refuses.
func (s *Service) alter(ctx context.Context, c *access.Caller, id patchbay.LinkID, ifMatch int,
	change func(*patchbay.Link, *integration.Definition) (map[string]string, error)) (*View, error) {
	var before patchbay.Link
	v, err := s.edit(ctx, c, id, ifMatch, func(l *patchbay.Link, def *integration.Definition) (map[string]string, error) {
		s.mu.RLock()
		before = *s.stored[id]
		s.mu.RUnlock()
		return change(l, def)
	})
	if err != nil {
		return nil, err
	}
	settle := func(r *side) error { return s.settleChange(context.WithoutCancel(ctx), r, &before) }
	asked, err := s.attachNow(ctx, id, settle)
	if err != nil || !asked {
		return v, err
	}
	s.mu.RLock()
	l, compiled := s.stored[id], s.links[id]
	s.mu.RUnlock()
	if l == nil {
		return v, nil
	}
	return s.after(c, l, compiled, v.Secrets), nil
}

// outdate notes that what was set up for a link at the partner does not fit it any more.
func outdate(before, l *patchbay.Link, c *compiled) {
	linker, ok := c.integration.(integration.Linker)
	switch {
	case !ok || l.State == patchbay.LinkDetaching:
	case !linker.Attaches(c.settings):
		if l.State == patchbay.LinkAttaching {
			l.State, c.route.State = patchbay.LinkActive, patchbay.LinkActive
		}
	case l.Attached != nil && !sameSide(before, l):
		again := *l.Attached
		again.Stale = true
		l.Attached = &again
	}
}

// revision returns the revision of a link that is current here; 0 when there is none.
func (s *Service) revision(id patchbay.LinkID) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if l := s.stored[id]; l != nil {
		return l.Revision
	}
	return 0
}

func (s *Service) editOnce(ctx context.Context, c *access.Caller, id patchbay.LinkID, ifMatch int,
	change func(*patchbay.Link, *integration.Definition) (map[string]string, error)) (*View, error) {
	current, known, err := s.findAnew(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	if ifMatch != 0 && ifMatch != current.Revision {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the link was changed since it was read (its revision is %d now): read it again", current.Revision)
	}
	_, def, err := s.integration(current.Integration)
	if err != nil {
		return nil, err
	}
	if current.State == patchbay.LinkDetaching && c != keeper {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the link %s was deleted: its side at the partner is being taken down", id)
	}
	next := *current
	next.Revision++
	if c != keeper { // what the keeper notes down is no change of the link
		next.UpdatedAt = s.now().UTC().Truncate(time.Millisecond)
		if !next.UpdatedAt.After(current.UpdatedAt) { // a change is told from another one by it
			next.UpdatedAt = current.UpdatedAt.Add(time.Millisecond)
		}
	}
	made, err := change(&next, def)
	if errors.Is(err, errUnchanged) {
		return s.view(c, current, known), nil
	}
	if err != nil {
		return nil, err
	}
	compiled, err := s.compile(&next)
	if err != nil {
		return nil, err
	}
	if next.State != patchbay.LinkDetaching {
		if err := compiled.purpose(&next); err != nil {
			return nil, err
		}
	}
	if compiled.receives && next.Hook == nil {
		if next.Hook, err = newHook(); err != nil {
			return nil, err
		}
	}
	if c != keeper {
		outdate(current, &next, compiled)
	}
	if err := s.save(s.changed(ctx, c, current, &next, compiled), &next, compiled); err != nil {
		return nil, err
	}
	return s.after(c, &next, compiled, made), nil
}

// findElsewhere is find that also knows of a link that was made at another node a moment ago. Changes wait for it only
// when there is one: whoever asks for what does not exist holds nobody up.
func (s *Service) findElsewhere(ctx context.Context, c *access.Caller, p access.Permission, id patchbay.LinkID) (*patchbay.Link, *compiled, error) {
	l, compiled, err := s.find(c, p, id)
	if patchbay.CodeOf(err) != patchbay.CodeNotFound {
		return l, compiled, err
	}
	if _, missing := s.o.Store.LinkNow(ctx, id); errors.Is(missing, store.ErrNotFound) {
		return nil, nil, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	return s.findAnew(ctx, c, p, id)
}

// findAnew is find for a caller who holds s.change: a link that is not known here may have been made at another node a
// moment ago.
func (s *Service) findAnew(ctx context.Context, c *access.Caller, p access.Permission, id patchbay.LinkID) (*patchbay.Link, *compiled, error) {
	l, compiled, err := s.find(c, p, id)
	if patchbay.CodeOf(err) != patchbay.CodeNotFound {
		return l, compiled, err
	}
	if err := s.refresh(ctx, id); err != nil {
		return nil, nil, err
	}
	return s.find(c, p, id)
}

// Refresh takes over what the store says of a link, which another node has changed. It comes between two changes of
// this node, so what it reads is never older than what is known here.
func (s *Service) Refresh(ctx context.Context, id patchbay.LinkID) error {
	s.change.Lock()
	defer s.change.Unlock()
	return s.refresh(ctx, id)
}

// refresh is Refresh for a caller who holds s.change.
func (s *Service) refresh(ctx context.Context, id patchbay.LinkID) error {
	l, err := s.o.Store.LinkNow(ctx, id)
	known := s.revision(id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if known == 0 {
			return nil
		}
		return s.forget(ctx, id)
	case err != nil:
		return patchbay.Internal("reading the link", err)
	case known >= l.Revision:
		return nil
	}
	return s.put(ctx, l, s.compileStored(l))
}
