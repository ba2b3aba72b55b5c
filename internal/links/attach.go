package links

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
)

// maxAttachedState bounds what an integration keeps of what it set up.
const maxAttachedState = 64 << 10

// side is what came of setting up a link's side at the partner.
type side struct {
	// asked is the link as it was when the partner was asked.
	asked *patchbay.Link
	made  *integration.Attached
	res   integration.Result
}

// refused reports whether it will not work as long as nobody changes something.
func (r *side) refused() bool {
	return r.res.Verdict == patchbay.VerdictRejected || r.res.Verdict == patchbay.VerdictAuthExpired
}

// attach asks the partner to set up what a link needs. Nothing is stored.
func (s *Service) attach(ctx context.Context, l *patchbay.Link, c *compiled) *side {
	ctx, cancel := context.WithTimeout(ctx, s.rhythm.call)
	defer cancel()
	out := &side{asked: l}
	out.res = s.outside(ctx, l, c.deliver.Secrets, func(con *integration.Connected, env *integration.Env) integration.Result {
		made, r := c.integration.(integration.Linker).Attach(ctx, s.attachment(l, c, con, env))
		if made != nil {
			out.made = made
		}
		return r
	})
	if out.made == nil && out.res.Verdict == patchbay.VerdictDelivered { // there is nothing new to remember
		out.made = &integration.Attached{State: json.RawMessage("{}")}
		if l.Attached != nil {
			out.made.State = l.Attached.State
		}
	}
	if out.made != nil && len(out.made.State) > maxAttachedState {
		s.o.Log.Error("an integration wants to keep too much of what it set up", "integration", l.Integration, "link", l.ID, "bytes", len(out.made.State))
		out.made.State = nil
	}
	return out
}

func (s *Service) attachment(l *patchbay.Link, c *compiled, con *integration.Connected, env *integration.Env) *integration.Attachment {
	a := &integration.Attachment{
		Link: l.ID, Scope: l.Scope, Settings: c.settings, Connection: con, HookURL: s.hookURL(l), Env: env,
	}
	if l.Hook != nil {
		a.HookSecret = l.Hook.Secret
	}
	if l.Attached != nil {
		a.State = l.Attached.State
	}
	return a
}

// attachNow sets up what a link needs, for a request that has just stored the link and waits for it, though not for long.
// settle is called with what came of it; when the request has waited long enough, the result is settled by itself, and
// settle is not called. It returns whether it was.
func (s *Service) attachNow(ctx context.Context, id patchbay.LinkID, settle func(*side) error) (bool, error) {
	s.mu.RLock()
	l, c := s.stored[id], s.links[id]
	s.mu.RUnlock()
	if l == nil || c.broken != "" {
		return false, nil
	}
	if what, _ := s.duty(l, c); what != toAttach || !needsNow(l) || !s.begin(id) {
		return false, nil
	}
	done, gone := make(chan *side), make(chan struct{})
	s.owned.Go(func() {
		s.beHeard(l)
		r := s.attach(s.run, l, c)
		select {
		case done <- r:
		case <-gone:
			s.settleLate(r)
		case <-s.run.Done():
			s.end(id, true, 0)
		}
	})
	timer := time.NewTimer(s.rhythm.answer)
	defer timer.Stop()
	select {
	case r := <-done:
		err := settle(r)
		s.end(id, err != nil || r.res.Verdict != patchbay.VerdictDelivered, r.res.RetryAfter)
		if err != nil && !r.refused() { // the link is there, and the keeper goes on with it
			s.o.Log.Error("what was set up for a link could not be stored; trying again", "link", id, "error", err)
			err = nil
		}
		return true, err
	case <-timer.C:
	case <-ctx.Done():
	case <-s.run.Done():
	}
	close(gone)
	return false, nil
}

// beHeard waits until other nodes know a new link.
func (s *Service) beHeard(l *patchbay.Link) {
	if s.o.Heard == 0 || l.State != patchbay.LinkAttaching {
		return
	}
	timer := time.NewTimer(s.o.Heard)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.run.Done():
	}
}

// needsNow tells what a request has just changed from what is only to be renewed some day.
func needsNow(l *patchbay.Link) bool {
	return l.State == patchbay.LinkAttaching || l.Attached == nil || l.Attached.Stale
}

// settleLate stores what came of setting up a link when nobody waits for it any more.
func (s *Service) settleLate(r *side) {
	id := r.asked.ID
	err := s.settle(s.run, r)
	if err != nil && s.run.Err() == nil {
		s.o.Log.Error("what was set up for a link could not be stored; trying again", "link", id, "error", err)
	}
	s.end(id, err != nil || r.res.Verdict != patchbay.VerdictDelivered, r.res.RetryAfter)
}

// reattach sets up a link's side again, for the keeper.
func (s *Service) reattach(ctx context.Context, l *patchbay.Link, c *compiled) (failed bool, pause time.Duration, err error) {
	r := s.attach(ctx, l, c)
	if ctx.Err() != nil {
		return true, 0, ctx.Err()
	}
	err = s.settle(ctx, r)
	return r.res.Verdict != patchbay.VerdictDelivered, r.res.RetryAfter, err
}

// settle stores what came of setting up a link: it becomes active, or keeps the reason why it is not yet.
func (s *Service) settle(ctx context.Context, r *side) error {
	id := r.asked.ID
	_, err := s.edit(ctx, keeper, id, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		if r.made != nil {
			s.keepMade(l, r)
		}
		switch {
		case l.State == patchbay.LinkDetaching: // deleted meanwhile; what was made is taken down with the rest
			if r.made == nil {
				return nil, errUnchanged
			}
		case r.res.Verdict == patchbay.VerdictDelivered:
			if l.State == patchbay.LinkAttaching {
				l.State = patchbay.LinkActive
			}
			if l.Enabled {
				l.StateReason = ""
			}
		case !l.Enabled || l.StateReason == r.res.Error && r.made == nil:
			return nil, errUnchanged
		default:
			l.StateReason = r.res.Error
		}
		return nil, nil
	})
	if patchbay.CodeOf(err) == patchbay.CodeNotFound && r.made != nil {
		s.orphan(ctx, r)
		return nil
	}
	return err
}

// keepMade writes down what was set up, whatever became of the rest.
func (s *Service) keepMade(l *patchbay.Link, r *side) {
	delivered := r.res.Verdict == patchbay.VerdictDelivered
	l.Attached = &patchbay.Attached{
		State: r.made.State, Base: s.o.PublicURL, RenewAt: r.made.RenewAt, At: s.now().UTC(),
		Stale: !delivered || !l.UpdatedAt.Equal(r.asked.UpdatedAt), // it was changed meanwhile
	}
	if r.made.Secret != "" && l.Hook != nil && l.Hook.Secret != r.made.Secret {
		hook := *l.Hook
		if r.asked.Attached != nil { // what is under way may be signed with the one before
			hook.Previous, hook.Until = hook.Secret, s.now().Add(rotationOverlap)
		}
		hook.Secret = r.made.Secret
		l.Hook = &hook
	}
}

// orphan takes down what was set up for a link that was removed meanwhile, at another node.
func (s *Service) orphan(ctx context.Context, r *side) {
	l := *r.asked
	l.Attached = &patchbay.Attached{State: r.made.State}
	c, err := s.compile(&l)
	if err == nil {
		if res := s.detach(ctx, &l, c); res.Verdict == patchbay.VerdictDelivered {
			return
		}
	}
	s.o.Log.Warn("a link was deleted while its side at the partner was being set up, and that could not be taken down", "link", l.ID, "integration", l.Integration)
}

// settleNew is settle for a link that a request has just made: one that the partner refuses is not left behind.
func (s *Service) settleNew(ctx context.Context, r *side) error {
	if !r.refused() {
		return s.settle(ctx, r)
	}
	id := r.asked.ID
	s.change.Lock()
	defer s.change.Unlock()
	var err error
	if r.made != nil { // something is there, and is taken down first
		_, err = s.editLocked(s.takenBack(ctx, "link.deleted", r), keeper, id, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
			s.keepMade(l, r)
			l.State, l.StateReason, l.UpdatedAt = patchbay.LinkDetaching, r.res.Error, s.now().UTC().Truncate(time.Millisecond)
			return nil, nil
		})
	} else {
		err = s.remove(s.takenBack(ctx, "link.deleted", r), id)
	}
	if err != nil && patchbay.CodeOf(err) != patchbay.CodeNotFound {
		return err
	}
	return refusal(r.res)
}

// settleChange is settle for a link that a request has just changed from before: a change that the partner refuses is
// taken back, unless there has been another one on top of it.
func (s *Service) settleChange(ctx context.Context, r *side, before *patchbay.Link) error {
	if !r.refused() {
		return s.settle(ctx, r)
	}
	_, err := s.edit(s.takenBack(ctx, "link.restored", r), keeper, r.asked.ID, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		if !l.UpdatedAt.Equal(r.asked.UpdatedAt) || l.State == patchbay.LinkDetaching {
			return nil, errUnchanged
		}
		revision, attached := l.Revision, l.Attached
		*l = *before
		l.Revision = revision
		if r.made != nil {
			attached = &patchbay.Attached{State: r.made.State, RenewAt: r.made.RenewAt, At: s.now().UTC()}
		}
		if attached != nil { // the partner may have got half of the change
			again := *attached
			again.Stale = true
			l.Attached = &again
		}
		return nil, nil
	})
	if err != nil && patchbay.CodeOf(err) != patchbay.CodeNotFound {
		return err
	}
	return refusal(r.res)
}

// remove deletes a link for good. The caller holds s.change.
func (s *Service) remove(ctx context.Context, id patchbay.LinkID) error {
	switch err := s.o.Store.DeleteLink(ctx, id, s.now()); {
	case errors.Is(err, store.ErrNotFound): // another node was faster
		if err := s.forget(ctx, id); err != nil {
			return err
		}
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no link %s", id)
	case err != nil:
		return patchbay.Internal("deleting the link", err)
	}
	return s.forget(ctx, id)
}
