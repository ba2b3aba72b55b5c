package links

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// List returns links in the order in which they were made, and whether there are more.
func (s *Service) List(_ context.Context, c *access.Caller, f ListFilter) ([]View, bool, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, false, err
	}
	scope := c.Scope
	if f.Scope != nil {
		if err := c.Reach(*f.Scope); err != nil {
			return nil, false, err
		}
		scope = *f.Scope
	}
	failing := s.failing()
	s.mu.RLock()
	var page []entry
	var hidden map[*patchbay.Link]bool
	if f.Effective {
		page, hidden = s.effective(c, &f, scope)
	} else {
		walk := s.tree.below
		if f.Own {
			walk = s.tree.own
		}
		words := strings.Fields(strings.ToLower(f.Search))
		walk(scope, f.After, func(e entry) bool {
			if f.fits(&e, words, failing) && (!f.Below || e.l.Scope != scope) {
				page = append(page, e)
			}
			return len(page) <= f.Limit
		})
	}
	s.mu.RUnlock()
	more := len(page) > f.Limit
	views := make([]View, 0, min(len(page), f.Limit))
	for _, e := range page[:min(len(page), f.Limit)] {
		v := s.view(c, e.l, e.c)
		v.Condition = failing.condition(&e)
		if !c.Sees(e.l.Scope) {
			veil(v)
		}
		if f.Effective && e.l.Scope != scope {
			v.InheritedFrom, v.Overridden = &e.l.Scope, hidden[e.l]
		}
		views = append(views, *v)
	}
	return views, more, nil
}

// fits reports whether a link is one of those that are listed.
func (f *ListFilter) fits(e *entry, words []string, failing *failures) bool {
	return (f.Integration == "" || e.l.Integration == f.Integration) && (f.Condition == "" || failing.condition(e) == f.Condition) &&
		!slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(e.c.words, w) })
}

// effective returns the page of the links that an event of a scope could match, and which of all of them have no effect. The
// caller holds s.mu.
func (s *Service) effective(c *access.Caller, f *ListFilter, scope patchbay.Scope) (page []entry, hidden map[*patchbay.Link]bool) {
	found := slices.DeleteFunc(s.tree.inEffect(scope), func(l *patchbay.Link) bool {
		return f.Integration != "" && l.Integration != f.Integration || !s.seesTitle(c, l)
	})
	hidden = overridden(found)
	for _, l := range found {
		if l.ID > f.After && (f.Overridden || !hidden[l]) && len(page) <= f.Limit {
			e, _ := s.tree.entry(l.ID)
			page = append(page, e)
		}
	}
	return page, hidden
}

// inEffect reports whether a link could match an event of a scope, or lies in it and brings events into it.
func inEffect(l *patchbay.Link, scope patchbay.Scope) bool {
	return l.Scope == scope && len(l.Events) == 0 || len(l.Events) > 0 && l.Reach.Covers(l.Scope, scope)
}

// overridden finds the links that get no event at all, because a deeper one with the same integration and slot takes every
// event that they could get. One that a deeper link takes only some events from is still in effect.
func overridden(found []*patchbay.Link) map[*patchbay.Link]bool {
	type place struct{ integration, slot string }
	slots := map[place][]*patchbay.Link{}
	for _, l := range found {
		if l.Slot != "" {
			at := place{l.Integration, l.Slot}
			slots[at] = append(slots[at], l)
		}
	}
	out := map[*patchbay.Link]bool{}
	for _, l := range found {
		if slices.ContainsFunc(slots[place{l.Integration, l.Slot}], func(deeper *patchbay.Link) bool {
			return deeper.Scope.Depth() > l.Scope.Depth() && deeper.Filter == "" && takesAll(deeper.Events, l.Events)
		}) {
			out[l] = true
		}
	}
	return out
}

// takesAll reports whether every type that one of theirs selects is selected by one of ours. A pattern that selects
// another's own text, its stars among it, selects whatever that one does.
func takesAll(ours, theirs []patchbay.Pattern) bool {
	for _, their := range theirs {
		if !slices.ContainsFunc(ours, func(our patchbay.Pattern) bool { return our.Match(string(their)) }) {
			return false
		}
	}
	return true
}

// view turns a link into what the API shows.
func (s *Service) view(who *access.Caller, l *patchbay.Link, c *compiled) *View {
	v := &View{
		ID: l.ID, Integration: l.Integration, Scope: l.Scope, Reach: l.Reach, Events: l.Events, Settings: json.RawMessage("{}"),
		Filter: optional(l.Filter), Body: optional(l.Body), Slot: optional(l.Slot), StateReason: optional(l.StateReason),
		Enabled: l.Enabled, State: l.State, Visible: l.Visible, Name: l.Name, Retry: l.Retry, Concurrency: l.Concurrency,
		Rate: l.Rate, Order: l.Order, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt, Revision: l.Revision,
		OptOut: l.OptOut, DeletePath: fmt.Sprintf("/integrations/%s/link/%s", l.Integration, l.ID),
	}
	v.ShortName, v.Summary = s.summary(l, c)
	if i, ok := s.o.Integrations[l.Integration]; ok {
		v.Settings = i.Definition().Settings.Mask(l.Settings)
	}
	if v.Concurrency == 0 {
		v.Concurrency = patchbay.DefaultConcurrency
	}
	if !l.Enabled && l.State != patchbay.LinkDetaching {
		v.State = patchbay.LinkDisabled
	}
	if l.Connection != 0 {
		v.Connection = &l.Connection
	}
	if v.StateReason == nil {
		v.StateReason = optional(s.trouble(l))
	}
	if who.May(access.Manage) && who.May(access.Secrets) && l.State != patchbay.LinkDetaching {
		v.HookURL = optional(s.hookURL(l))
	}
	if c == nil {
		return v
	}
	if c.broken != "" && l.State != patchbay.LinkDetaching {
		v.State, v.StateReason = patchbay.LinkDisabled, &c.broken
		return v
	}
	h := s.o.Engine.Health(l.ID)
	v.Health = &Health{Breaker: h.Breaker, Failures: h.Failures, LastError: h.LastError, InFlight: h.InFlight, Waiting: h.Waiting, FilterErrors: c.events.n.Load()}
	if !h.FailingSince.IsZero() {
		v.Health.FailingSince = &h.FailingSince
	}
	if last := c.events.last.Load(); last != nil {
		v.Health.LastFilterError = *last
	}
	v.Health.OrderErrors = c.keys.n.Load()
	if last := c.keys.last.Load(); last != nil {
		v.Health.LastOrderError = *last
	}
	return v
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Describe returns a link and its short name, for what is told about it; false when there is no such link.
func (s *Service) Describe(id patchbay.LinkID) (*patchbay.Link, string, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, ok := s.stored[id]
	if !ok {
		return nil, "", false
	}
	short, _ := s.summary(l, s.links[id])
	return l, short, true
}
