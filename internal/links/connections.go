package links

import (
	"context"
	"encoding/json"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// Connections is what links need of the accounts at partners.
type Connections interface {
	// For returns a connection that a link in a scope, which the caller makes, may use, with its credentials; else
	// not_found or invalid_request.
	For(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, integration string, scope patchbay.Scope) (*patchbay.Connection, error)
	// Known returns a connection from memory, without its credentials.
	Known(id patchbay.ConnectionID) (*patchbay.Connection, bool)
	// Use and Refused are those of deliver.Connections.
	Use(ctx context.Context, id patchbay.ConnectionID, scope patchbay.Scope) (*integration.Connected, error)
	Refused(ctx context.Context, used *integration.Connected)
}

// connect checks that a link may use the connection that it names, as the caller wants it; nil when it names none.
func (s *Service) connect(ctx context.Context, c *access.Caller, l *patchbay.Link) (*patchbay.Connection, error) {
	if l.Connection == 0 {
		return nil, nil
	}
	if s.o.Connections == nil {
		return nil, noConnection(l.Connection.String())
	}
	con, err := s.o.Connections.For(ctx, c, l.Connection, l.Integration, l.Scope)
	if patchbay.CodeOf(err) == patchbay.CodeNotFound {
		return nil, noConnection(l.Connection.String()) // the link is there; what it names is not
	}
	return con, err
}

// entrusted refuses that a caller turns a link's connection, which somebody else gave to the link and which the caller does
// not see, to something else: with it they could look at, and receive from, whatever the account has at the partner.
func (s *Service) entrusted(c *access.Caller, l *patchbay.Link) error {
	if l.Connection == 0 || s.o.Connections == nil {
		return nil
	}
	con, ok := s.o.Connections.Known(l.Connection)
	if !ok || c.Sees(con.Scope) || con.Visible && c != nil && con.Scope.Contains(c.Scope) {
		return nil
	}
	return patchbay.Errorf(patchbay.CodeForbidden,
		"the link uses a connection that is not yours, for what it is set up for and nothing else: choose a connection of yours to change its settings")
}

func noConnection(id string) error {
	return patchbay.Invalid("connection", "there is no connection %q", clip(id))
}

// fill gives settings the values that the connection has for them: all of them, or none when one of them was given, because
// they belong together.
func fill(def *integration.Definition, settings json.RawMessage, con *patchbay.Connection) (json.RawMessage, error) {
	if con == nil {
		return settings, nil
	}
	for key := range con.Credentials.Fill {
		if present(settings, key) {
			return settings, nil
		}
	}
	for i := range def.Settings {
		key := def.Settings[i].Key
		value := con.Credentials.Fill[key]
		if value == "" {
			continue
		}
		var err error
		if settings, err = with(settings, key, value.Reveal()); err != nil {
			return nil, err
		}
	}
	return settings, nil
}

// trouble says what is wrong with a link's connection, "" when nothing is known to be.
func (s *Service) trouble(l *patchbay.Link) string {
	if l.Connection == 0 || s.o.Connections == nil {
		return ""
	}
	con, ok := s.o.Connections.Known(l.Connection)
	switch {
	case !ok:
		return "its connection does not exist any more: choose another one"
	case con.State == patchbay.ConnectionNeedsReauth && con.StateReason != "":
		return "its connection must be connected again: " + con.StateReason
	case con.State == patchbay.ConnectionNeedsReauth:
		return "its connection must be connected again"
	}
	return ""
}
