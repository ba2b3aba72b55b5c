package links

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
)

// Delete removes a link; what waits for it is cancelled. When something was set up for it at the partner, it stays for as
// long as that takes to be taken down, and does nothing.
func (s *Service) Delete(ctx context.Context, c *access.Caller, id patchbay.LinkID) error {
	s.change.Lock()
	defer s.change.Unlock()
	l, compiled, err := s.findAnew(ctx, c, access.Manage, id)
	if err != nil {
		return err
	}
	switch {
	case l.State == patchbay.LinkDetaching:
		return nil
	case !left(l, compiled):
		return s.remove(s.removed(ctx, c, l, compiled), id)
	}
	_, err = s.editLocked(ctx, c, id, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		l.State, l.StateReason = patchbay.LinkDetaching, ""
		return nil, nil
	})
	return err
}

// left reports whether there may be something of a link at the partner that only the partner's help can remove.
func left(l *patchbay.Link, c *compiled) bool {
	linker, ok := c.integration.(integration.Linker)
	return ok && c.broken == "" && (l.Attached != nil || linker.Attaches(c.settings))
}

// detach asks the partner to take down what was set up for a link.
func (s *Service) detach(ctx context.Context, l *patchbay.Link, c *compiled) integration.Result {
	ctx, cancel := context.WithTimeout(ctx, s.rhythm.call)
	defer cancel()
	return s.outside(ctx, l, c.deliver.Secrets, func(con *integration.Connected, env *integration.Env) integration.Result {
		return c.integration.(integration.Linker).Detach(ctx, s.attachment(l, c, con, env))
	})
}

// undo takes down what a link does not need any more since its settings were changed.
func (s *Service) undo(ctx context.Context, l *patchbay.Link, c *compiled) (failed bool, pause time.Duration, err error) {
	res := s.detach(ctx, l, c)
	if ctx.Err() != nil {
		return true, 0, ctx.Err()
	}
	why := s.givenUp(l, &res)
	if res.Verdict != patchbay.VerdictDelivered && why == "" {
		return true, res.RetryAfter, nil
	}
	if why != "" {
		s.tell(ctx, l, c, why)
	}
	_, err = s.edit(ctx, keeper, l.ID, 0, func(now *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		if !now.UpdatedAt.Equal(l.UpdatedAt) {
			return nil, errUnchanged
		}
		now.Attached = nil
		return nil, nil
	})
	return err != nil, 0, err
}

// takeDown ends a link that was deleted: what was set up for it is taken down, or given up after a time, and then the link
// goes.
func (s *Service) takeDown(ctx context.Context, l *patchbay.Link, c *compiled) (failed bool, pause time.Duration, err error) {
	why := c.broken
	if why == "" {
		res := s.detach(ctx, l, c)
		if ctx.Err() != nil {
			return true, 0, ctx.Err()
		}
		why = s.givenUp(l, &res)
		if res.Verdict != patchbay.VerdictDelivered && why == "" {
			return true, res.RetryAfter, s.note(ctx, l, res.Error)
		}
	}
	if why != "" {
		s.tell(ctx, l, c, why)
	}
	s.change.Lock()
	defer s.change.Unlock()
	err = s.remove(ctx, l.ID)
	if patchbay.CodeOf(err) == patchbay.CodeNotFound {
		err = nil
	}
	return err != nil, 0, err
}

// note keeps the reason why a deleted link is still there.
func (s *Service) note(ctx context.Context, l *patchbay.Link, reason string) error {
	_, err := s.edit(ctx, keeper, l.ID, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		if l.StateReason == reason {
			return nil, errUnchanged
		}
		l.StateReason = reason
		return nil, nil
	})
	if patchbay.CodeOf(err) == patchbay.CodeNotFound {
		return nil
	}
	return err
}

// givenUp says why something is not tried any more to be taken down; "" when it was, or will be tried again.
func (s *Service) givenUp(l *patchbay.Link, r *integration.Result) string {
	switch {
	case r.Verdict == patchbay.VerdictDelivered:
		return ""
	case r.Verdict == patchbay.VerdictAuthExpired, r.Verdict == patchbay.VerdictRejected && refusedForGood(r.Code):
		return r.Error
	case s.now().Sub(l.UpdatedAt) >= s.rhythm.patience:
		return fmt.Sprintf("it has not worked for %s: %s", patchbay.Duration(s.rhythm.patience), r.Error)
	}
	return ""
}

func refusedForGood(code int) bool {
	return code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusNotFound
}

// tell says that something of a link may be left at the partner.
func (s *Service) tell(ctx context.Context, l *patchbay.Link, c *compiled, why string) {
	short, _ := s.summary(l, c)
	title := l.Integration
	if i, ok := s.o.Integrations[l.Integration]; ok {
		title = i.Definition().Title
	}
	text := fmt.Sprintf("what was set up at %s for this link could not be taken down and may remain there; remove it there by hand (%s)", title, why)
	s.o.Log.Warn("a link is gone, and something of it may be left at the partner", "link", l.ID, "integration", l.Integration, "why", why)
	if s.o.Raise == nil {
		return
	}
	n := deliver.Notice{Type: deliver.NoticeDetached, Link: l.ID, Why: text}
	if err := s.o.Raise(ctx, n, l, short); err != nil {
		s.o.Log.Error("an event about a link could not be raised", "type", n.Type, "link", l.ID, "error", err)
	}
}

// forget takes a link that was deleted out of everything on this node; what waits for it is cancelled.
func (s *Service) forget(ctx context.Context, id patchbay.LinkID) error {
	s.index.Remove(id)
	s.mu.Lock()
	s.reindex(s.stored[id], nil)
	delete(s.links, id)
	delete(s.stored, id)
	s.tree.remove(id)
	s.mu.Unlock()
	s.unplan(id)
	return s.o.Engine.RemoveLink(ctx, id, patchbay.DeliveryID(s.o.Store.NewID(1)))
}
