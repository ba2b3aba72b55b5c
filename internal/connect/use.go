package connect

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// Use returns a connection for a link in a scope, with credentials that are good now as far as is known. Its error is a
// sentence; with the code user_configuration_error only the connection's owner can help, everything else may work later.
func (s *Service) Use(ctx context.Context, id patchbay.ConnectionID, scope patchbay.Scope) (*integration.Connected, error) {
	con, err := s.current(ctx, id)
	if err != nil {
		return nil, missing(err)
	}
	if !con.Scope.Contains(scope) {
		return nil, patchbay.Errorf(patchbay.CodeUserConfigurationError,
			"the link's connection does not serve the link's scope: choose another connection")
	}
	if con.State == patchbay.ConnectionNeedsReauth {
		return nil, s.needsOwner(con)
	}
	if s.must(con) {
		if con, err = s.renew(ctx, con); err != nil {
			return nil, missing(err)
		}
		if con.State == patchbay.ConnectionNeedsReauth {
			return nil, s.needsOwner(con)
		}
	}
	return connected(con), nil
}

// missing makes of a connection that is not there something for the link's owner.
func missing(err error) error {
	if patchbay.CodeOf(err) == patchbay.CodeNotFound {
		return patchbay.Errorf(patchbay.CodeUserConfigurationError, "the link's connection was deleted: choose another one")
	}
	return err
}

func (s *Service) needsOwner(con *patchbay.Connection) error {
	return patchbay.Errorf(patchbay.CodeUserConfigurationError,
		"the connection to %s as %s must be renewed by its owner: %s", s.title(con.Integration), accountName(&con.Account), con.StateReason)
}

// title is the integration's name for people.
func (s *Service) title(key string) string {
	if i, ok := s.o.Integrations[key]; ok {
		return i.Definition().Title
	}
	return key
}

func connected(con *patchbay.Connection) *integration.Connected {
	c := con.Credentials
	c.Extra, c.Fill = maps.Clone(c.Extra), maps.Clone(c.Fill)
	return &integration.Connected{
		ID: con.ID, Account: con.Account, Grants: slices.Clone(con.Grants), Data: slices.Clone(con.Data), Credentials: c,
	}
}

// current returns a connection with its credentials: from memory, or from the store when memory has none.
func (s *Service) current(ctx context.Context, id patchbay.ConnectionID) (*patchbay.Connection, error) {
	s.mu.Lock()
	if e := s.known[id]; e != nil && e.credentials != nil {
		con := *e.con
		con.Credentials = *e.credentials
		e.usedAt = s.now()
		s.mu.Unlock()
		return &con, nil
	}
	s.mu.Unlock()
	return s.readAnew(ctx, id, true)
}

// must reports whether a connection's credentials have to be renewed before they are used.
func (s *Service) must(con *patchbay.Connection) bool {
	return s.refused(con) || ended(con, s.now().Add(s.pace.skew))
}

// ended reports whether an access token is over at a time.
func ended(con *patchbay.Connection, at time.Time) bool {
	return !con.Credentials.ExpiresAt.IsZero() && !at.Before(con.Credentials.ExpiresAt)
}

// refused reports whether the partner did not take exactly these credentials.
func (s *Service) refused(con *patchbay.Connection) bool {
	s.mu.RLock()
	e := s.known[con.ID]
	var mark fingerprint
	if e != nil {
		mark = e.refused
	}
	s.mu.RUnlock()
	return mark != (fingerprint{}) && mark == fingerprintOf(&con.Credentials)
}

// Refused says that the partner did not take these credentials: they are renewed before they are used again, unless they
// have been replaced since.
func (s *Service) Refused(_ context.Context, used *integration.Connected) {
	if used == nil {
		return
	}
	mark := fingerprintOf(&used.Credentials)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[used.ID]; e != nil {
		if e.credentials != nil && fingerprintOf(e.credentials) != mark {
			return // what is current now is something else
		}
		e.refused = mark
		// Nothing works until they are renewed, so the long pause of a renewal ahead of time is over.
		if soon := s.now().Add(s.pace.again); e.notBefore.After(soon) {
			e.notBefore = soon
		}
	}
}

// accepted takes the mark of Refused back.
func (s *Service) accepted(id patchbay.ConnectionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[id]; e != nil {
		e.refused = fingerprint{}
	}
}

// recovered forgets about failures.
func (s *Service) recovered(id patchbay.ConnectionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[id]; e != nil {
		e.refused, e.failures, e.notBefore = fingerprint{}, 0, time.Time{}
	}
}

// For returns the connection that a link in a scope may use, with its credentials as they are, when the caller may have it
// used: it is of that integration, its scope contains the link's, and the caller sees it. Of those that the caller must not
// see it tells nothing, not even that they exist.
func (s *Service) For(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, integration string,
	scope patchbay.Scope) (*patchbay.Connection, error) {
	con, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case !sees(c, con):
		return nil, notFound(id)
	case con.Integration != integration:
		return nil, patchbay.Invalid("connection", "%s is one of %s, and the link is one of %s", id, clip(con.Integration), clip(integration))
	case !con.Scope.Contains(scope):
		return nil, patchbay.Invalid("connection", "%s lies in %q, so only links there and below can use it", id, con.Scope)
	}
	return s.current(ctx, id)
}

// sees reports whether a connection exists for a caller: it lies at or below the caller's scope, or above it and is visible.
func sees(c *access.Caller, con *patchbay.Connection) bool {
	return c != nil && (c.Sees(con.Scope) || con.Visible && con.Scope.Contains(c.Scope))
}

// find returns a connection without its credentials, also one that was made at another node a moment ago.
func (s *Service) find(ctx context.Context, id patchbay.ConnectionID) (*patchbay.Connection, error) {
	if con, ok := s.Known(id); ok {
		return con, nil
	}
	if _, err := s.readAnew(ctx, id, false); err != nil {
		return nil, err
	}
	con, ok := s.Known(id)
	if !ok {
		return nil, notFound(id)
	}
	return con, nil
}

// mine returns a connection that the caller may do something to: one at or below its scope.
func (s *Service) mine(ctx context.Context, c *access.Caller, p access.Permission, id patchbay.ConnectionID) (*patchbay.Connection, error) {
	if err := c.Require(p); err != nil {
		return nil, err
	}
	con, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if c.Sees(con.Scope) {
		return con, nil
	}
	if sees(c, con) {
		return nil, patchbay.Errorf(patchbay.CodeForbidden,
			"the connection %s belongs to a scope above yours: it can be used here and changed only there", id)
	}
	return nil, notFound(id)
}
