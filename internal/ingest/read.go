package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/route"
	"github.com/patchbay/patchbay/internal/store"
)

// dryRunMost bounds how many links a dry run shows the request of.
const dryRunMost = 200

// Events lists events, newest first, and says whether there are more.
func (s *Service) Events(ctx context.Context, c *access.Caller, q EventQuery) ([]patchbay.Event, bool, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, false, err
	}
	f := store.EventFilter{Within: q.Scope, Since: q.Since, Until: q.Until, Before: q.Before, Limit: q.Limit + 1}
	if f.Within == "" {
		f.Within = c.Scope
	} else if err := c.Reach(f.Within); err != nil {
		return nil, false, err
	}
	if q.Type != "" {
		p, err := patchbay.ParsePattern(q.Type)
		if err != nil {
			return nil, false, at("type", err)
		}
		if f.Types = s.o.Catalog.Match(p); len(f.Types) == 0 {
			if !p.Literal() {
				return nil, false, nil
			}
			f.Types = []string{q.Type} // a type that has left the catalog may still have events
		}
	}
	records, err := s.o.Store.Events(ctx, f)
	if err != nil {
		return nil, false, patchbay.Internal("listing events", err)
	}
	more := len(records) > q.Limit
	if more {
		records = records[:q.Limit]
	}
	events := make([]patchbay.Event, len(records))
	for i := range records {
		events[i] = records[i].Event
	}
	return events, more, nil
}

// Event returns an event with its deliveries and those of its replays.
func (s *Service) Event(ctx context.Context, c *access.Caller, id patchbay.EventID) (*EventView, error) {
	record, err := s.find(ctx, c, access.Read, id)
	if err != nil {
		return nil, err
	}
	v := &EventView{Event: record.Event, Deliveries: []deliver.View{}}
	v.Message = s.message(&record.Event)
	ids := []patchbay.EventID{id}
	replays, err := s.o.Store.Replays(ctx, id)
	if err != nil {
		return nil, patchbay.Internal("reading an event's replays", err)
	}
	for i := range replays {
		ids = append(ids, replays[i].ID)
	}
	for _, of := range ids {
		views, err := s.o.Deliveries.OfEvent(ctx, c, of)
		if err != nil {
			return nil, patchbay.Internal("reading an event's deliveries", err)
		}
		v.Deliveries = append(v.Deliveries, views...)
	}
	return v, nil
}

// message renders an event for a reader; nil when its type has left the catalog.
func (s *Service) message(e *patchbay.Event) *patchbay.Message {
	t := s.o.Catalog.Type(e.Type)
	if t == nil {
		return nil
	}
	m, err := t.Render(e, catalog.Target{})
	if err != nil {
		return nil
	}
	return m
}

// find returns an event that the caller may see.
func (s *Service) find(ctx context.Context, c *access.Caller, p access.Permission, id patchbay.EventID) (*store.EventRecord, error) {
	if err := c.Require(p); err != nil {
		return nil, err
	}
	record, err := s.o.Store.Event(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !c.Sees(record.Scope) && !slices.ContainsFunc(record.Also, c.Sees):
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no event %s", id)
	case err != nil:
		return nil, patchbay.Internal("reading an event", err)
	}
	return record, nil
}

// Replay sends an event again, to the links that match it now. Receivers see the identifier that they know.
func (s *Service) Replay(ctx context.Context, c *access.Caller, id patchbay.EventID) (*EventView, error) {
	record, err := s.find(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	if err := c.Reach(record.Scope); err != nil {
		return nil, err // it is seen from one of its further scopes, but would go to links of its own
	}
	if !record.Erased.IsZero() {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "what this event said was erased on %s, so there is nothing to send", record.Erased.Format(time.DateOnly))
	}
	t := s.o.Catalog.Type(record.Type)
	if t == nil {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the event's type %q is no longer in the catalog", record.Type)
	}
	again := record.Event
	again.Origin = record.Subject()
	again.ReceivedAt = s.now().UTC().Truncate(time.Millisecond)
	links, missed := s.match(&again, t)
	a := s.o.Engine.Admit(&again, links, s.newID)
	a.Missed = a.Missed || missed
	a.Audit = access.AuditEntry(ctx, c, access.Change{Action: "event.replayed", Object: again.Origin.String(), Title: record.Type, Scope: record.Scope})
	if _, _, err := s.put(ctx, &again, a); err != nil {
		return nil, err
	}
	return s.Event(ctx, c, again.Origin)
}

// DryRun says what would happen to an event: nothing is stored, sent, signed or called.
func (s *Service) DryRun(ctx context.Context, c *access.Caller, body []byte) (*DryRun, error) {
	if err := c.Require(access.Publish); err != nil {
		return nil, err
	}
	in, event, t, err := s.read(c, body)
	if err != nil {
		return nil, err
	}
	if in.integrations != nil {
		return nil, patchbay.Invalid("integrations", "an inline call has no dry run: its integrations are the ones that it lists")
	}
	event.ID = patchbay.EventID(s.newID(1))
	supports := s.supported(t)
	out := &DryRun{Event: *event, Message: s.message(event), Links: []DryRunLink{}}
	for _, x := range s.o.Links.Explain(&route.Event{Event: event, Names: t.Names()}, supports) {
		if x.Matched {
			out.Deliveries++
		}
		link := x.Link.Value.(*deliver.Link)
		if !c.Sees(link.Scope) && !link.Visible {
			continue
		}
		l := DryRunLink{Link: link.ID, Integration: link.Integration, Scope: link.Scope, Matched: x.Matched, Held: x.Held, Reason: x.Reason}
		if x.Matched && c.Sees(link.Scope) && out.Deliveries <= dryRunMost {
			l.Request, l.Error = s.preview(ctx, link, event)
		}
		out.Links = append(out.Links, l)
	}
	return out, nil
}

// preview returns the request that a link would make for an event.
func (s *Service) preview(ctx context.Context, link *deliver.Link, event *patchbay.Event) (*DryRunRequest, string) {
	out := s.o.Engine.Try(ctx, deliver.Call{Link: link, Event: event, Attempt: 1, Preview: true})
	r := out.Attempt.Request
	if r == nil {
		return nil, out.Error
	}
	request := &DryRunRequest{Method: r.Method, URL: r.URL, Headers: r.Headers, Body: string(out.Body)}
	if json.Valid(out.Body) {
		request.BodyJSON = out.Body
	}
	return request, ""
}
