package links

import (
	"context"
	"encoding/json"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
)

// Catalog is what previews are made with.
type Catalog interface {
	// Example returns the key of the event type with a name, and its example; false when there is no such type.
	Example(name string) (key string, payload json.RawMessage, ok bool)
	Render(e *patchbay.Event, d *integration.Definition) (*patchbay.Message, error)
}

// Preview is what a link would send for an event type's example.
type Preview struct {
	// Message is how the event reads to a person; nil when it cannot be rendered, and Error says why.
	Message *patchbay.Message `json:"message"`
	// Request is what would be sent, everything secret masked; nil when the integration would send nothing, or needs an
	// answer of the partner's first.
	Request *PreviewRequest `json:"request"`
	// Error says what keeps the link from sending the event.
	Error string `json:"error,omitempty"`
}

// PreviewRequest is a request that would be made.
type PreviewRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// Preview says what a link that is not saved would send for the example of an event type. Nothing is called. When in.Base
// names a stored link, masks in the settings stand for its values.
func (s *Service) Preview(ctx context.Context, c *access.Caller, in Input, eventType string) (*Preview, error) {
	if in.Integration == nil {
		return nil, patchbay.Invalid("integration", "is required: the key of one of GET /integrations")
	}
	d := Draft{Settings: in.Settings, Connection: in.Connection, Scope: in.Scope}
	if in.Base != 0 {
		d.Link = &in.Base
	}
	l, err := s.draft(ctx, c, *in.Integration, &d)
	if err != nil {
		return nil, err
	}
	if err := apply(l, &Input{Body: in.Body, Name: in.Name}, nil); err != nil {
		return nil, err
	}
	compiled, err := s.provisional(l, d.Settings, integration.CheckOptions{})
	if err != nil {
		return nil, err
	}
	event, err := s.example(l, eventType)
	if err != nil {
		return nil, err
	}
	p := &Preview{}
	if p.Message, err = s.o.Catalog.Render(event, compiled.deliver.Definition); err != nil {
		p.Error = "the event cannot be rendered: " + err.Error()
	}
	if compiled.deliver.Sender == nil {
		return p, nil
	}
	out := s.o.Engine.Try(ctx, deliver.Call{Link: compiled.deliver, Event: event, Attempt: 1, Preview: true})
	if r := out.Attempt.Request; r != nil {
		p.Request = &PreviewRequest{Method: r.Method, URL: r.URL, Headers: r.Headers, Body: string(out.Body)}
	} else if p.Error == "" {
		p.Error = out.Error
	}
	return p, nil
}

// example makes an event of a type's example.
func (s *Service) example(l *patchbay.Link, eventType string) (*patchbay.Event, error) {
	if s.o.Catalog == nil {
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no catalog to take an example from")
	}
	key, payload, ok := s.o.Catalog.Example(eventType)
	if !ok {
		return nil, patchbay.Invalid("event_type", "there is no event type %q; GET /events lists those that there are", clip(eventType))
	}
	if len(payload) == 0 {
		payload = json.RawMessage("{}")
	}
	now := s.now().UTC()
	return &patchbay.Event{
		ID: patchbay.EventID(s.o.Store.NewID(1)), Type: key, Scope: l.Scope, Payload: payload, OccurredAt: now, ReceivedAt: now,
		Source: patchbay.Source{Kind: patchbay.SourceTest, Link: l.ID},
	}, nil
}
