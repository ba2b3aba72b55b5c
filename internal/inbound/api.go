package inbound

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// View is a partner's call as the API shows it.
type View struct {
	ID          patchbay.HookID `json:"id"`
	Integration string          `json:"integration"`
	// Link is whose address was called; null when the integration's own was.
	Link    *patchbay.LinkID `json:"link"`
	Account string           `json:"account,omitempty" doc:"The partner's account that the call is about, in a call to the integration's own address."`
	// Scope is null until the call has a link.
	Scope      *patchbay.Scope    `json:"scope"`
	Type       string             `json:"type,omitempty" doc:"The partner's own word for what it is."`
	State      patchbay.HookState `json:"state" enum:"pending,done,ignored,unplaced,failed"`
	Reason     string             `json:"reason,omitempty"`
	ReceivedAt time.Time          `json:"received_at"`
	Links      []patchbay.LinkID  `json:"links" nullable:"false" doc:"The links that it reached."`
	Events     []patchbay.EventID `json:"events" nullable:"false" doc:"The events that it became."`
	Reads      int                `json:"reads" doc:"How often it was read."`
	// What follows is only in the answer for one call.
	Headers    map[string][]string `json:"headers,omitempty" doc:"Without credentials."`
	Query      string              `json:"query,omitempty"`
	Body       string              `json:"body,omitempty" doc:"As text."`
	BodyBase64 string              `json:"body_base64,omitempty" doc:"When it is no text."`
}

// Query selects calls for a list.
type Query struct {
	States      []patchbay.HookState
	Integration string
	Link        patchbay.LinkID
	Account     string
	// Scope selects calls of links at or below it.
	Scope patchbay.Scope
	// Before is the decoded cursor.
	Before patchbay.HookID
	Limit  int
}

// List lists calls, the newest first and without their bodies, and says whether there are more.
func (s *Service) List(ctx context.Context, c *access.Caller, q Query) ([]View, bool, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, false, err
	}
	f := store.HookFilter{
		States: q.States, Integration: q.Integration, Link: q.Link, Account: q.Account, Within: q.Scope, Before: q.Before, Limit: q.Limit + 1,
	}
	for _, state := range q.States {
		if !state.Valid() {
			return nil, false, patchbay.Invalid("state", "is one of pending, done, ignored, unplaced and failed, not %q", clip(string(state)))
		}
	}
	if f.Within == "" {
		f.Within = c.Scope
	} else if err := c.Reach(f.Within); err != nil {
		return nil, false, err
	}
	hooks, err := s.o.Store.Hooks(ctx, f)
	if err != nil {
		return nil, false, patchbay.Internal("listing hooks", err)
	}
	more := len(hooks) > q.Limit
	if more {
		hooks = hooks[:q.Limit]
	}
	views := make([]View, len(hooks))
	for i := range hooks {
		views[i] = view(&hooks[i])
	}
	return views, more, nil
}

// Get returns a call with its header and body.
func (s *Service) Get(ctx context.Context, c *access.Caller, id patchbay.HookID) (*View, error) {
	h, err := s.visible(ctx, c, access.Read, id)
	if err != nil {
		return nil, err
	}
	return whole(h), nil
}

// Replay reads a call again: one that could not be placed or read at first, because of what has changed since. What it became
// already it does not become again.
func (s *Service) Replay(ctx context.Context, c *access.Caller, id patchbay.HookID) (*View, error) {
	h, err := s.visible(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	if len(h.Body) == 0 && len(h.Header) == 0 && len(h.Events) > 0 {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "what the hook %s said was erased, so there is nothing to read", id)
	}
	s.hasten(id)
	if !s.begin(id) {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the hook %s is being read at this moment", id)
	}
	h.Reads = 0
	again := s.read(ctx, h, func(ctx context.Context) context.Context {
		return access.Audited(ctx, c, access.Change{
			Action: "hook.replayed", Object: id.String(), Title: strings.TrimSpace(h.Integration + " " + h.Type), Scope: h.Scope,
		})
	})
	s.end(id, again)
	if h, err = s.visible(ctx, c, access.Manage, id); err != nil {
		return nil, err
	}
	return whole(h), nil
}

// hasten ends the pause of a call that was to be read later.
func (s *Service) hasten(id patchbay.HookID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.delayed, id)
}

// visible returns a call that the caller may see: one that has no scope is seen by those who see everything.
func (s *Service) visible(ctx context.Context, c *access.Caller, p access.Permission, id patchbay.HookID) (*store.Hook, error) {
	if err := c.Require(p); err != nil {
		return nil, err
	}
	h, err := s.o.Store.Hook(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !sees(c, h):
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no hook %s", id)
	case err != nil:
		return nil, patchbay.Internal("reading a hook", err)
	}
	return h, nil
}

func sees(c *access.Caller, h *store.Hook) bool {
	if !h.Placed {
		return c.Scope == ""
	}
	return c.Sees(h.Scope)
}

// view shows a call in a list.
func view(h *store.Hook) View {
	v := View{
		ID: h.ID, Integration: h.Integration, Account: h.Account, Type: h.Type, State: h.State, Reason: h.Reason, ReceivedAt: h.ReceivedAt.UTC(),
		Links: h.Links, Events: h.Events, Reads: h.Reads,
	}
	if h.Link != 0 {
		v.Link = &h.Link
	}
	if h.Placed {
		v.Scope = &h.Scope
	}
	if v.Links == nil {
		v.Links = []patchbay.LinkID{}
	}
	if v.Events == nil {
		v.Events = []patchbay.EventID{}
	}
	return v
}

// whole shows everything of a call.
func whole(h *store.Hook) *View {
	v := view(h)
	v.Headers, v.Query = h.Header, h.Query
	if utf8.Valid(h.Body) {
		v.Body = string(h.Body)
	} else {
		v.BodyBase64 = base64.StdEncoding.EncodeToString(h.Body)
	}
	return &v
}
