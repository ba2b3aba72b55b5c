package connect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// revokeTime bounds what a partner is asked while somebody waits for a connection to be deleted.
const revokeTime = 10 * time.Second

// leaseTries is how often a deletion tries to get the lease: with the pause between two tries that is six seconds.
const leaseTries = 40

// Delete takes a connection back at the partner as far as that is possible, and removes it. While links use it, it stays,
// unless force says otherwise. A portal may only remove what it could make again: that takes secrets.
func (s *Service) Delete(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, force bool) (*Deleted, error) {
	con, err := s.mine(ctx, c, access.Manage, id)
	if err == nil {
		err = c.Require(access.Secrets)
	}
	if err != nil {
		return nil, err
	}
	if uses := s.usedBy([]patchbay.ConnectionID{id})[id]; len(uses) > 0 && !force {
		return nil, inUse(c, uses, "would stop working: delete them first, or force it")
	}
	leased, err := s.leaseToDelete(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.forgetGone(id)
		return nil, notFound(id)
	case err == nil:
		con = leased
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrSealed):
		if full, err := s.o.Store.Connection(ctx, id); err == nil {
			con = full
		}
	default:
		return nil, unavailable("deleting a connection", err)
	}
	out := s.revoke(ctx, con)
	s.change.Lock()
	defer s.change.Unlock()
	switch err := s.o.Store.DeleteConnection(access.Audited(ctx, c, changeOf("connection.deleted", con)), id); {
	case errors.Is(err, store.ErrNotFound):
		s.forget(id)
		return nil, notFound(id)
	case err != nil:
		return nil, unavailable("deleting a connection", err)
	}
	s.forget(id)
	s.o.Log.Info("connection: deleted",
		"connection", id, "integration", con.Integration, "revoked", out.Revoked, "notice", out.Notice)
	return out, nil
}

// leaseToDelete takes the lease, so that no refresh makes tokens that nobody would take back. One that is under way is
// waited for, but not for ever.
func (s *Service) leaseToDelete(ctx context.Context, id patchbay.ConnectionID) (*patchbay.Connection, error) {
	for tries := 1; ; tries++ {
		_, leased, err := s.o.Store.LeaseConnection(ctx, id, s.pace.lease)
		if !errors.Is(err, store.ErrConflict) || tries == leaseTries || ctx.Err() != nil || !s.pause(s.pace.look) {
			return leased, err
		}
	}
}

// ForgetNext deletes one of a tenant's connections, whatever uses it, because the tenant is to be forgotten. more says that
// there may be others.
func (s *Service) ForgetNext(ctx context.Context, tenant string) (more bool, err error) {
	s.mu.RLock()
	var next patchbay.ConnectionID
	for id, e := range s.known {
		if e.con.Scope.Tenant() == tenant {
			next = id
			break
		}
	}
	s.mu.RUnlock()
	if next == 0 {
		return false, nil
	}
	_, err = s.Delete(ctx, &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "job"}, next, true)
	if patchbay.CodeOf(err) == patchbay.CodeNotFound {
		err = nil
	}
	return err == nil, err
}

// revoke takes credentials back at the partner, as far as that is possible.
func (s *Service) revoke(ctx context.Context, con *patchbay.Connection) *Deleted {
	remains := func(why string) *Deleted {
		return &Deleted{Notice: fmt.Sprintf("%s: remove this application in the account's settings at %s", why, s.title(con.Integration))}
	}
	p, err := s.partner(con.Integration)
	if err != nil {
		return remains("the credentials could not be taken back, because the integration is not set up here any more")
	}
	if p.how.Keys != nil {
		if _, ok := p.c.(integration.Revoker); !ok {
			return &Deleted{Notice: fmt.Sprintf("the keys were forgotten here and still work: delete them at %s", p.title)}
		}
	}
	if s.elsewhere(con) {
		return remains("the grant was left in place, because taking it back could end other connections")
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	switch {
	case con.Credentials.Access == "" && con.Credentials.Refresh == "" && len(con.Credentials.Extra) == 0:
		return remains("the credentials could not be read and so not be taken back")
	case isRevoker(p.c):
		err = s.revokeOwn(ctx, p, con)
	case p.how.OAuth2 != nil && p.how.OAuth2.RevokeURL != "":
		err = s.revokeTokens(ctx, p, con)
	default:
		return remains(p.title + " has no way to take the credentials back from here")
	}
	if err != nil {
		return remains("the credentials could not be taken back (" + err.Error() + ")")
	}
	return &Deleted{Revoked: true}
}

func isRevoker(c integration.Connector) bool {
	_, ok := c.(integration.Revoker)
	return ok
}

// revokeOwn leaves it to the integration.
func (s *Service) revokeOwn(ctx context.Context, p *partner, con *patchbay.Connection) (err error) {
	env, wire := s.env(p, con.Credentials.Secrets())
	defer func() {
		if r := recover(); r != nil {
			s.panicked(p, wire, r)
			err = errors.New("the integration failed in an unexpected way")
		}
	}()
	result := p.c.(integration.Revoker).Revoke(ctx, connected(con), env)
	// What the partner does not take any more needs no revoking.
	if result.Verdict == patchbay.VerdictDelivered || result.Verdict == patchbay.VerdictAuthExpired {
		return nil
	}
	return errors.New(sentence(wire.Redact(result.Error)))
}

// revokeTokens revokes the refresh token, with which access tokens end (RFC 7009 §2.1), and then the access token, for
// partners that leave it. A token that is not known there is revoked too (§2.2).
func (s *Service) revokeTokens(ctx context.Context, p *partner, con *patchbay.Connection) error {
	secrets := con.Credentials.Secrets()
	env, wire := s.env(p, secrets)
	for _, t := range []struct {
		hint  string
		token patchbay.Secret
	}{{"refresh_token", con.Credentials.Refresh}, {"access_token", con.Credentials.Access}} {
		if t.token == "" {
			continue
		}
		form := url.Values{"token": {t.token.Reveal()}, "token_type_hint": {t.hint}}
		resp, err := env.HTTP.Do(ctx, tokenRequest(p.how.OAuth2, p.how.OAuth2.RevokeURL, form, secrets))
		if err != nil {
			return errors.New(sentence(wire.Redact(integration.Unreachable(p.title, err).Error)))
		}
		if resp.Status != 200 && resp.Status != 204 {
			return fmt.Errorf("%s answered with status %d", p.title, resp.Status)
		}
	}
	return nil
}
