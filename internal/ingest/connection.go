package ingest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog"
)

// connectionNotice is the payload of the events that Patchbay raises about a connection.
type connectionNotice struct {
	Connection struct {
		ID               patchbay.ConnectionID `json:"id"`
		Name             string                `json:"name"`
		Integration      string                `json:"integration"`
		IntegrationTitle string                `json:"integration_title"`
		Scope            patchbay.Scope        `json:"scope"`
		Owner            string                `json:"owner"`
		Account          struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"account"`
	} `json:"connection"`
	Reason string `json:"reason"`
	Links  int    `json:"links"`
}

// NeedsReauth raises that a connection works again only after its owner has been through the partner's consent, as an event
// in the connection's scope.
func (s *Service) NeedsReauth(ctx context.Context, con *patchbay.Connection, title, reason string, links int) error {
	t := s.o.Catalog.Type(catalog.TypeConnectionNeedsReauth)
	if t == nil {
		return patchbay.Errorf(patchbay.CodeInternal, "the catalog lacks the type %s", catalog.TypeConnectionNeedsReauth)
	}
	var p connectionNotice
	p.Connection.ID, p.Connection.Name, p.Connection.Scope, p.Connection.Owner = con.ID, con.Name, con.Scope, con.Owner
	p.Connection.Integration, p.Connection.IntegrationTitle = con.Integration, title
	p.Connection.Account.ID, p.Connection.Account.Name = con.Account.ID, con.Account.Name
	p.Reason, p.Links = reason, links
	payload, err := json.Marshal(p)
	if err != nil {
		return patchbay.Internal("describing a connection", err)
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	_, _, err = s.commit(ctx, &patchbay.Event{
		Type: t.Key(), Scope: con.Scope, Payload: payload, OccurredAt: now, ReceivedAt: now,
		Source: patchbay.Source{Kind: patchbay.SourceSystem},
	}, t, nil)
	return err
}
