package ingest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/deliver"
)

// notice is the payload of the events that Patchbay raises about a link.
type notice struct {
	Link struct {
		ID          patchbay.LinkID `json:"id"`
		Name        string          `json:"name"`
		ShortName   string          `json:"short_name"`
		Integration string          `json:"integration"`
		Scope       patchbay.Scope  `json:"scope"`
	} `json:"link"`
	Reason   string     `json:"reason"`
	Failures int        `json:"failures"`
	Since    *time.Time `json:"since,omitempty"`
}

// Subject describes the link that a notice is about.
type Subject struct {
	Link      *patchbay.Link
	ShortName string
}

// Notice carries out what the engine noticed about a link: it disables the link when that is what it is about, and
// raises an event in the link's scope, which is delivered like any other, but never over the link itself.
func (s *Service) Notice(ctx context.Context, n deliver.Notice, subject Subject) error {
	if n.Type == deliver.NoticeDisabled {
		if !subject.Link.Enabled {
			return nil // two attempts under way can both have met the end
		}
		if err := s.o.Links.Disable(ctx, n.Link, n.Why); err != nil {
			return err
		}
	}
	t := s.o.Catalog.Type(n.Type)
	if t == nil {
		return patchbay.Errorf(patchbay.CodeInternal, "the catalog lacks the type %s", n.Type)
	}
	var p notice
	l := subject.Link
	p.Link.ID, p.Link.Name, p.Link.ShortName, p.Link.Integration, p.Link.Scope = l.ID, l.Name, subject.ShortName, l.Integration, l.Scope
	p.Reason, p.Failures = n.Why, n.Failures
	if !n.Since.IsZero() {
		since := n.Since.UTC()
		p.Since = &since
	}
	payload, err := json.Marshal(p)
	if err != nil {
		return patchbay.Internal("describing a link", err)
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	_, _, err = s.commit(ctx, &patchbay.Event{
		Type: n.Type, Scope: l.Scope, Payload: payload, OccurredAt: now, ReceivedAt: now,
		Source: patchbay.Source{Kind: patchbay.SourceSystem, Link: l.ID},
	}, t, nil)
	return err
}
