package connect

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// Check asks the partner whose credentials a connection has, and takes over what it says.
func (s *Service) Check(ctx context.Context, c *access.Caller, id patchbay.ConnectionID) (*View, error) {
	if _, err := s.mine(ctx, c, access.Manage, id); err != nil {
		return nil, err
	}
	return s.check(ctx, id)
}

// Doubt checks a connection of which a partner says that its credentials may have ended. What came of it is the connection's
// state.
func (s *Service) Doubt(ctx context.Context, id patchbay.ConnectionID) {
	if _, err := s.check(ctx, id); err != nil {
		s.o.Log.Warn("a connection that may have ended could not be checked", "connection", id, "error", err)
	}
}

func (s *Service) check(ctx context.Context, id patchbay.ConnectionID) (*View, error) {
	con, err := s.current(ctx, id)
	if err != nil {
		return nil, err
	}
	if con.State != patchbay.ConnectionNeedsReauth && s.must(con) {
		fresh, err := s.renew(ctx, con)
		if err != nil {
			return s.shown(ctx, id) // its state says why
		}
		con = fresh
	}
	if con, err = s.inspect(ctx, con); err != nil {
		if _, known := s.Known(id); !known {
			return nil, err
		}
		return s.shown(ctx, id)
	}
	return s.view(con), nil
}

func (s *Service) shown(ctx context.Context, id patchbay.ConnectionID) (*View, error) {
	con, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.view(con), nil
}

// inspect asks the partner about credentials and stores what came of it.
func (s *Service) inspect(ctx context.Context, con *patchbay.Connection) (*patchbay.Connection, error) {
	p, err := s.partner(con.Integration)
	if err != nil {
		return s.judge(ctx, con, integration.Misconfigured("%s", err.Error()))
	}
	credentials := con.Credentials
	id, result := s.ask(ctx, p, &integration.Grant{Credentials: &credentials, Data: con.Data}, nil)
	if result.Verdict != patchbay.VerdictDelivered {
		return s.judge(ctx, con, result)
	}
	if id.Account.ID != con.Account.ID {
		return s.judge(ctx, con, integration.Expired(
			"%s says that these credentials are those of %s, not of %s", p.title, accountName(&id.Account), accountName(&con.Account)))
	}
	s.accepted(con.ID)
	return s.amend(ctx, con, func(next *patchbay.Connection) {
		next.State, next.StateReason, next.Account = patchbay.ConnectionActive, "", id.Account
		if id.Grants != nil {
			next.Grants = id.Grants
		}
	})
}

// judge stores what a failed question says of a connection, and returns the connection when it needs its owner, else the
// error.
func (s *Service) judge(ctx context.Context, con *patchbay.Connection, result integration.Result) (*patchbay.Connection, error) {
	state := patchbay.ConnectionDegraded
	if result.Verdict == patchbay.VerdictAuthExpired ||
		result.Type == patchbay.CodeUserConfigurationError && (result.Code == 401 || result.Code == 403) {
		state = patchbay.ConnectionNeedsReauth
	}
	reason, was := sentence(result.Error), con.State
	saved, err := s.amend(ctx, con, func(next *patchbay.Connection) {
		was = next.State
		if state == patchbay.ConnectionNeedsReauth || next.State != patchbay.ConnectionNeedsReauth { // what may pass does not make it better
			next.State, next.StateReason = state, reason
		}
	})
	if err != nil {
		return nil, err
	}
	s.raise(ctx, was, saved)
	if saved.State == patchbay.ConnectionNeedsReauth {
		return saved, nil
	}
	return nil, patchbay.Errorf(patchbay.CodeServiceError, "%s", reason)
}

// amend stores a change that comes from the partner rather than from people, unless the credentials that it is about
// were replaced meanwhile. It returns the connection as it is then.
func (s *Service) amend(ctx context.Context, con *patchbay.Connection, change func(*patchbay.Connection)) (*patchbay.Connection, error) {
	about := fingerprintOf(&con.Credentials)
	s.change.Lock()
	defer s.change.Unlock()
	for tries := 1; ; tries++ {
		now, err := s.o.Store.Connection(ctx, con.ID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s.forget(con.ID)
			return nil, notFound(con.ID)
		case err != nil:
			return nil, unavailable("reading a connection", err)
		case fingerprintOf(&now.Credentials) != about:
			s.put(now, &now.Credentials)
			return now, nil
		}
		before := *now
		now.Revision++
		now.CheckedAt = s.now().UTC().Truncate(time.Millisecond)
		change(now)
		err = s.o.Store.SaveConnection(expired(ctx, &before, now), now)
		if errors.Is(err, store.ErrConflict) && tries < keepTries {
			continue
		}
		if err != nil {
			return nil, unavailable("storing what became of a connection", err)
		}
		s.put(now, &now.Credentials)
		return now, nil
	}
}
