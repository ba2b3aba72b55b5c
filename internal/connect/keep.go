package connect

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// keepTries bounds how often a connection is written anew because it was changed at the same time.
const keepTries = 10

// maxGrants bounds what is kept of what a partner says that it lets us do.
const maxGrants = 200

// made is a connection that is to be stored, but for what a stored one of the same account has already.
type made struct {
	*patchbay.Connection
	// reconnect is the one that it must be; 0 leaves that to the account.
	reconnect patchbay.ConnectionID
	// named says which of what people may change was given: it replaces what is stored.
	named named
}

type named struct{ ownerScope, name, visible bool }

// keep stores what came of a consent.
func (s *Service) keep(ctx context.Context, c *access.Caller, p *partner, f *flow, g *granted,
	id *integration.Identity) (*patchbay.Connection, bool, error) {
	m := made{reconnect: f.Reconnect, Connection: &patchbay.Connection{
		Integration: p.key, Scope: f.Scope, Owner: c.User, OwnerScope: c.OwnerScope, Credentials: g.credentials, Grants: g.scopes,
	}}
	m.named.ownerScope = c.OwnerScope != nil && f.Reconnect == 0
	m.take(id)
	return s.store(ctx, c, p, &m)
}

// take takes over whose account it is.
func (m *made) take(id *integration.Identity) {
	m.Account, m.Data = id.Account, id.Data
	if id.Grants != nil {
		m.Grants = id.Grants
	}
	m.Credentials.Extra = merged(m.Credentials.Extra, id.Extra)
	m.Credentials.Fill = merged(m.Credentials.Fill, id.Fill)
}

func merged(a, b map[string]patchbay.Secret) map[string]patchbay.Secret {
	if len(a)+len(b) == 0 {
		return nil
	}
	out := maps.Clone(a)
	if out == nil {
		out = make(map[string]patchbay.Secret, len(b))
	}
	maps.Copy(out, b)
	return out
}

// store makes a new connection, or renews the one of the same account, scope and owner. Another account never takes the
// place of one.
func (s *Service) store(ctx context.Context, c *access.Caller, p *partner, m *made) (con *patchbay.Connection, created bool, err error) {
	raw, err := store.EncodeCredentials(&m.Credentials)
	if err != nil {
		return nil, false, patchbay.Internal("keeping credentials", err)
	}
	if len(m.Grants) > maxGrants {
		m.Grants = m.Grants[:maxGrants]
	}
	if len(raw) > patchbay.MaxCredentialBytes || len(m.Data) > patchbay.MaxSettingsBytes {
		return nil, false, patchbay.Errorf(patchbay.CodeServiceError,
			"%s gave credentials of more than %d bytes, which is too much to keep", p.title, patchbay.MaxCredentialBytes)
	}
	s.change.Lock()
	defer s.change.Unlock()
	for tries := 1; ; tries++ {
		before, err := s.before(ctx, p, m)
		if err != nil {
			return nil, false, err
		}
		next := s.next(before, m)
		err = s.o.Store.SaveConnection(access.Audited(ctx, c, connectedChange(before, next)), next)
		if errors.Is(err, store.ErrConflict) && tries < keepTries {
			continue // it was changed elsewhere in this moment
		}
		if err != nil {
			return nil, false, unavailable("keeping a connection", err)
		}
		s.put(next, &next.Credentials)
		s.recovered(next.ID)
		return next, before == nil, nil
	}
}

// before finds the connection that m renews; nil when there is none. The caller holds s.change.
func (s *Service) before(ctx context.Context, p *partner, m *made) (*patchbay.Connection, error) {
	if m.reconnect != 0 {
		con, err := s.o.Store.Connection(ctx, m.reconnect)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, notFound(m.reconnect)
		case err != nil:
			return nil, unavailable("reading a connection", err)
		case con.Account.ID != m.Account.ID:
			return nil, patchbay.Errorf(patchbay.CodeConflict,
				"this connection is to %s at %s, but you signed in there as %s: nothing was changed; sign out there and begin again, or connect %s by itself",
				accountName(&con.Account), p.title, accountName(&m.Account), accountName(&m.Account))
		}
		return con, nil
	}
	f := store.ConnectionFilter{Integration: m.Integration, Account: m.Account.ID, Within: m.Scope, Limit: loadPage}
	for {
		page, err := s.o.Store.Connections(ctx, f)
		if err != nil {
			return nil, unavailable("reading the connections", err)
		}
		for i := range page {
			if page[i].Scope == m.Scope && page[i].Owner == m.Owner {
				return &page[i], nil
			}
		}
		if len(page) < loadPage {
			return nil, nil
		}
		f.After = page[len(page)-1].ID
	}
}

// next is the connection that is stored.
func (s *Service) next(before *patchbay.Connection, m *made) *patchbay.Connection {
	now := s.now().UTC().Truncate(time.Millisecond)
	next := *m.Connection
	next.State, next.StateReason, next.CheckedAt = patchbay.ConnectionActive, "", now
	if before == nil {
		next.ID, next.CreatedAt, next.UpdatedAt, next.Revision = patchbay.ConnectionID(s.o.Store.NewID(1)), now, now, 1
		return &next
	}
	next.ID, next.Scope, next.Owner, next.CreatedAt = before.ID, before.Scope, before.Owner, before.CreatedAt
	next.UpdatedAt, next.Revision = later(before.UpdatedAt, now), before.Revision+1
	if !m.named.ownerScope {
		next.OwnerScope = before.OwnerScope
	}
	if !m.named.name {
		next.Name = before.Name
	}
	if !m.named.visible {
		next.Visible = before.Visible
	}
	if next.Grants == nil {
		next.Grants = before.Grants
	}
	// Some partners give a refresh token at the first consent only; the one from then goes on working.
	if next.Credentials.Refresh == "" && before.State != patchbay.ConnectionNeedsReauth && !next.Credentials.ExpiresAt.IsZero() {
		next.Credentials.Refresh, next.Credentials.RefreshExpiresAt = before.Credentials.Refresh, before.Credentials.RefreshExpiresAt
	}
	if next.Credentials.Fill == nil {
		next.Credentials.Fill = before.Credentials.Fill
	}
	return &next
}

// later returns now, or the next millisecond after before when that is later: a change by people always shows.
func later(before, now time.Time) time.Time {
	if !now.After(before) {
		return before.Add(time.Millisecond)
	}
	return now
}

// Create takes keys that a person has made at a partner. Those of an account that is connected in the same scope by the
// same owner renew that connection; created says whether there is a new one.
func (s *Service) Create(ctx context.Context, c *access.Caller, in Input) (v *View, created bool, err error) {
	if err := c.Require(access.Secrets); err != nil {
		return nil, false, err
	}
	if in.Integration == nil || *in.Integration == "" {
		return nil, false, patchbay.Invalid("integration", "is required: the key of one of GET /integrations")
	}
	p, err := s.partner(*in.Integration)
	if err != nil {
		return nil, false, err
	}
	if p.how.Keys == nil {
		return nil, false, patchbay.Errorf(patchbay.CodeInvalidRequest,
			"accounts of %s are connected in a browser: open %s/auth/%s there", p.title, s.public(), p.key)
	}
	m := made{Connection: &patchbay.Connection{Integration: p.key, Scope: c.Scope, Owner: c.User, OwnerScope: c.OwnerScope}}
	if err := s.apply(c, m.Connection, &in, nil); err != nil {
		return nil, false, err
	}
	m.named = named{ownerScope: m.OwnerScope != nil, name: in.Name != nil, visible: in.Visible != nil}
	checked, err := p.how.Keys.Check(in.Settings, integration.CheckOptions{})
	if err != nil {
		return nil, false, err
	}
	data, secrets, err := splitKeys(p.how.Keys, checked)
	if err != nil {
		return nil, false, patchbay.Internal("reading keys that had been checked", err)
	}
	m.Credentials.Extra = secrets
	id, err := s.identify(ctx, p, &integration.Grant{Credentials: &m.Credentials, Data: data}, p.how.Keys.Secrets(checked))
	if err != nil {
		return nil, false, err
	}
	m.take(id)
	if m.Data, err = joined(data, id.Data); err != nil {
		return nil, false, patchbay.Internal("keeping what is known of an account", err)
	}
	con, created, err := s.store(ctx, c, p, &m)
	if err != nil {
		return nil, false, err
	}
	s.o.Log.Info("connection: connected",
		"connection", con.ID, "integration", con.Integration, "scope", con.Scope, "account", con.Account.ID, "new", created)
	return s.view(con), created, nil
}

// splitKeys parts secret settings from the others.
func splitKeys(spec integration.Spec, checked json.RawMessage) (data json.RawMessage, secrets map[string]patchbay.Secret, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(checked, &all); err != nil {
		return nil, nil, err
	}
	secrets = map[string]patchbay.Secret{}
	for i := range spec {
		raw, given := all[spec[i].Key]
		if !given || !spec[i].Secret {
			continue
		}
		var text string
		if json.Unmarshal(raw, &text) != nil { // a list or a map
			text = string(raw)
		}
		secrets[spec[i].Key] = patchbay.Secret(text)
		delete(all, spec[i].Key)
	}
	data, err = json.Marshal(all)
	return data, secrets, err
}

// joined adds the fields of one JSON object to another's.
func joined(a, b json.RawMessage) (json.RawMessage, error) {
	if len(b) == 0 {
		return a, nil
	}
	all := map[string]json.RawMessage{}
	for _, raw := range []json.RawMessage{a, b} {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all)
}
