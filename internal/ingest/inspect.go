package ingest

import (
	"context"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/route"
)

// inspectMost bounds how many links that match an inspection explains, and how many that do not.
const inspectMost = 300

// Inspection is everything there is to say about one event that was taken in.
type Inspection struct {
	EventView
	// Erased is when what the event says was removed; zero when it was not.
	Erased time.Time
	// Replays are its replays, oldest first, without payloads.
	Replays []patchbay.Event
	// Links says of every link that the caller sees whether it would match the event now, and why. It is empty when the
	// event's type has left the catalog, which Unknown says.
	Links   []DryRunLink
	Unknown bool
	// Unsaid counts links that are not in Links because there are too many.
	Unsaid int
}

// Inspect returns an event with its deliveries, its replays, and why each link matches it or does not.
func (s *Service) Inspect(ctx context.Context, c *access.Caller, id patchbay.EventID) (*Inspection, error) {
	view, err := s.Event(ctx, c, id)
	if err != nil {
		return nil, err
	}
	out := &Inspection{EventView: *view}
	record, err := s.find(ctx, c, access.Read, id)
	if err != nil {
		return nil, err
	}
	out.Erased = record.Erased
	replays, err := s.o.Store.Replays(ctx, id)
	if err != nil {
		return nil, patchbay.Internal("reading an event's replays", err)
	}
	for i := range replays {
		out.Replays = append(out.Replays, replays[i].Event)
	}
	t := s.o.Catalog.Type(view.Type)
	if t == nil {
		out.Unknown = true
		return out, nil
	}
	event := view.Event
	said := map[bool]int{}
	for _, x := range s.o.Links.Explain(&route.Event{Event: &event, Names: t.Names()}, s.supported(t)) {
		link := x.Link.Value.(*deliver.Link)
		switch {
		case !c.Sees(link.Scope) && !link.Visible:
		case said[x.Matched] == inspectMost:
			out.Unsaid++
		default:
			said[x.Matched]++
			out.Links = append(out.Links, DryRunLink{
				Link: link.ID, Integration: link.Integration, Scope: link.Scope, Matched: x.Matched, Held: x.Held, Reason: x.Reason,
			})
		}
	}
	return out, nil
}
