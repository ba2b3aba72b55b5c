package connect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
)

// pace is the rhythm of renewing. Tests have their own.
type pace struct {
	// lease is how long a node alone may refresh a connection: longer than the call takes (callTime) with everything around
	// it, so that a second node never sends a refresh token that a first one has under way.
	lease time.Duration
	// skew is how long before its end a token is not used any more: for clocks that differ, and for the way.
	skew time.Duration
	// look is how often somebody else's refresh is looked at, patience how long it is waited for.
	look, patience time.Duration
	// young is how old credentials must be before another refusal makes new ones: a partner that refuses everything must not
	// be asked for tokens all the time.
	young time.Duration
	// again and longest are the first and the last pause after a refresh that failed.
	again, longest time.Duration
	// save is the pause between tries to store new tokens, saving how long it is tried.
	save, saving time.Duration
	// sweep is how often the refresher looks, ahead how long before their end tokens are refreshed, at most.
	sweep, ahead time.Duration
	// idle is how long unused credentials stay in memory.
	idle time.Duration
}

var defaultPace = pace{
	lease: time.Minute, skew: 30 * time.Second, look: 150 * time.Millisecond, patience: 30 * time.Second, young: 30 * time.Second,
	again: 15 * time.Second, longest: 30 * time.Minute, save: 500 * time.Millisecond, saving: 10 * time.Minute,
	sweep: 30 * time.Second, ahead: 5 * time.Minute, idle: 15 * time.Minute,
}

// renewals are those under way in this process: one for a connection.
type renewals struct {
	mu    sync.Mutex
	calls map[patchbay.ConnectionID]*renewal
}

// renewal is one that is under way. con and err are there once done is closed.
type renewal struct {
	done chan struct{}
	con  *patchbay.Connection
	err  error
}

// renew returns a connection whose credentials are not those of stale any more, or are found to be good, or an error that
// says why there are none. Whoever asks at the same time gets the same answer. It goes on when ctx is done: a refresh token
// that has been sent may be worth nothing from then on, so what comes back must be stored.
func (s *Service) renew(ctx context.Context, stale *patchbay.Connection) (*patchbay.Connection, error) {
	s.renewals.mu.Lock()
	call := s.renewals.calls[stale.ID]
	if call == nil {
		if s.run.Err() != nil {
			s.renewals.mu.Unlock()
			return nil, patchbay.Errorf(patchbay.CodeUnavailable, "this node is about to stop")
		}
		call = &renewal{done: make(chan struct{})}
		s.renewals.calls[stale.ID] = call
		s.owned.Go(func() {
			call.con, call.err = s.renewAlone(context.WithoutCancel(ctx), stale)
			s.renewals.mu.Lock()
			delete(s.renewals.calls, stale.ID)
			s.renewals.mu.Unlock()
			close(call.done)
		})
	}
	s.renewals.mu.Unlock()
	select {
	case <-call.done:
		return call.con, call.err
	case <-ctx.Done():
		return nil, patchbay.Errorf(patchbay.CodeServiceError,
			"the credentials are being renewed, which takes longer than there was time")
	}
}

// renewAlone is renew for the only goroutine of this process that renews the connection.
func (s *Service) renewAlone(ctx context.Context, stale *patchbay.Connection) (*patchbay.Connection, error) {
	refused := s.refused(stale)
	con, err := s.readAnew(ctx, stale.ID, true)
	if err != nil {
		return nil, err
	}
	if !s.due(con, stale, refused) {
		return con, nil
	}
	if con.Credentials.Refresh == "" {
		return s.recheck(ctx, con, refused)
	}
	if err := s.pausing(con); err != nil {
		return s.orOld(con, refused, err)
	}
	if refused && s.now().Sub(con.CheckedAt) < s.pace.young {
		return nil, patchbay.Errorf(patchbay.CodeServiceError,
			"%s did not take credentials that are seconds old; they are renewed once more if it still refuses them in a while", s.title(con.Integration))
	}
	return s.refreshLeased(ctx, con, stale, refused)
}

// due reports whether a connection, as it is in the database, still has to be renewed.
func (s *Service) due(con, stale *patchbay.Connection, refused bool) bool {
	if con.State == patchbay.ConnectionNeedsReauth {
		return false
	}
	same := fingerprintOf(&con.Credentials) == fingerprintOf(&stale.Credentials)
	return same && (refused || ended(con, s.now().Add(s.pace.skew)) || s.soon(con)) || !same && ended(con, s.now().Add(s.pace.skew))
}

// refreshLeased refreshes under the connection's lease, or waits for whoever has it.
func (s *Service) refreshLeased(ctx context.Context, con, stale *patchbay.Connection, refused bool) (*patchbay.Connection, error) {
	until := s.now().Add(s.pace.patience)
	for {
		fence, leased, err := s.o.Store.LeaseConnection(ctx, con.ID, s.pace.lease)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s.forgetGone(con.ID)
			return nil, notFound(con.ID)
		case err == nil && !s.due(leased, stale, refused): // somebody has done it between reading and leasing
			return s.saveRefreshed(ctx, fence, leased)
		case err == nil:
			return s.refresh(ctx, fence, leased, refused)
		case !errors.Is(err, store.ErrConflict):
			return s.orOld(con, refused, unavailable("renewing credentials", err))
		}
		if s.now().After(until) || !s.pause(s.pace.look) {
			return s.orOld(con, refused, patchbay.Errorf(patchbay.CodeServiceError,
				"the credentials are being renewed by another node"))
		}
		if con, err = s.readAnew(ctx, con.ID, true); err != nil {
			return nil, err
		}
		if !s.due(con, stale, refused) {
			return con, nil
		}
	}
}

// pause waits; it returns false when the service stops.
func (s *Service) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.run.Done():
		return false
	}
}

// orOld returns credentials that could not be renewed while they still work, else the error.
func (s *Service) orOld(con *patchbay.Connection, refused bool, err error) (*patchbay.Connection, error) {
	if !refused && !ended(con, s.now()) {
		return con, nil
	}
	return nil, err
}

// refresh spends a refresh token. The caller has the lease, and what came of it is in the database when it returns.
func (s *Service) refresh(ctx context.Context, fence int64, con *patchbay.Connection, refused bool) (*patchbay.Connection, error) {
	g, err := s.spend(ctx, con)
	next := *con
	next.CheckedAt = s.now().UTC().Truncate(time.Millisecond)
	var failed *tokenError
	switch {
	case err == nil:
		next.State, next.StateReason = patchbay.ConnectionActive, ""
		next.Credentials = replaced(con.Credentials, g.credentials)
		if g.scopes != nil {
			next.Grants = g.scopes
		}
	case errors.As(err, &failed) && failed.refused:
		next.State, next.StateReason = patchbay.ConnectionNeedsReauth, sentence(fmt.Sprintf("%s did not renew the credentials: %s", s.title(con.Integration), failed.text))
	default:
		next.CheckedAt = con.CheckedAt
		next.State, next.StateReason = patchbay.ConnectionDegraded, sentence(fmt.Sprintf("the credentials could not be renewed: %v", err))
		s.failed(con.ID, failed)
	}
	saved, saveErr := s.saveRefreshed(expired(ctx, con, &next), fence, &next)
	switch {
	case saveErr != nil:
		return nil, saveErr
	case err == nil:
		s.recovered(con.ID)
		return saved, nil
	case next.State == patchbay.ConnectionNeedsReauth:
		s.raise(ctx, con.State, saved)
		return saved, nil
	}
	if con.State != patchbay.ConnectionDegraded {
		s.o.Log.Warn("connection: credentials could not be renewed; trying again",
			"connection", con.ID, "integration", con.Integration, "reason", next.StateReason)
	}
	return s.orOld(saved, refused, patchbay.Errorf(patchbay.CodeServiceError, "%s", next.StateReason))
}

// spend asks for new tokens (RFC 6749 §6).
func (s *Service) spend(ctx context.Context, con *patchbay.Connection) (*granted, error) {
	p, err := s.partner(con.Integration)
	if err != nil {
		return nil, err
	}
	if p.how.OAuth2 == nil {
		return nil, fmt.Errorf("accounts of %s are connected in another way now", p.title)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {con.Credentials.Refresh.Reveal()}}
	return s.token(ctx, p, form, con.Credentials.Secrets())
}

// replaced are credentials after a refresh: what the answer leaves out stays (RFC 6749 §6).
func replaced(old, fresh patchbay.Credentials) patchbay.Credentials {
	fresh.Extra, fresh.Fill, fresh.TokenSecret = old.Extra, old.Fill, old.TokenSecret
	if fresh.Refresh == "" {
		fresh.Refresh = old.Refresh
		if fresh.RefreshExpiresAt.IsZero() {
			fresh.RefreshExpiresAt = old.RefreshExpiresAt
		}
	}
	return fresh
}

// saveRefreshed stores what came of a refresh and ends the lease. It does not give up while the database is away: the
// tokens in its hands may be the only ones that still work.
func (s *Service) saveRefreshed(ctx context.Context, fence int64, next *patchbay.Connection) (*patchbay.Connection, error) {
	until := s.now().Add(s.pace.saving)
	for {
		saved, err := s.saveOnce(ctx, fence, next)
		switch {
		case err == nil:
			return saved, nil
		case errors.Is(err, store.ErrNotFound):
			s.forgetGone(next.ID)
			return nil, notFound(next.ID)
		case errors.Is(err, store.ErrConflict): // the owner has connected anew meanwhile
			return s.readAnew(ctx, next.ID, true)
		case s.now().After(until) || !s.pause(s.pace.save):
			s.o.Log.Error("connection: new credentials could not be stored; the owner may have to connect anew",
				"connection", next.ID, "integration", next.Integration, "error", err)
			return nil, unavailable("storing new credentials", err)
		}
	}
}

func (s *Service) saveOnce(ctx context.Context, fence int64, next *patchbay.Connection) (*patchbay.Connection, error) {
	s.change.Lock()
	defer s.change.Unlock()
	saved, err := s.o.Store.SaveRefreshed(ctx, fence, next)
	if err != nil {
		return nil, err
	}
	s.put(saved, &saved.Credentials)
	return saved, nil
}

// forgetGone is forget for a caller who does not hold s.change.
func (s *Service) forgetGone(id patchbay.ConnectionID) {
	s.change.Lock()
	defer s.change.Unlock()
	s.forget(id)
}

// failed counts a refresh that failed and says when the next may be tried.
func (s *Service) failed(id patchbay.ConnectionID, why *tokenError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[id]
	if e == nil {
		return
	}
	wait := s.pace.longest
	if e.failures < 20 {
		wait = min(wait, s.pace.again<<e.failures)
	}
	if why != nil {
		wait = max(wait, min(why.wait, s.pace.longest))
	}
	e.failures++
	e.notBefore = s.now().Add(time.Duration(float64(wait) * (0.8 + 0.4*s.random())))
}

// pausing returns an error while it is too early for the next try.
func (s *Service) pausing(con *patchbay.Connection) error {
	s.mu.RLock()
	var at time.Time
	if e := s.known[con.ID]; e != nil {
		at = e.notBefore
	}
	s.mu.RUnlock()
	left := at.Sub(s.now())
	if left <= 0 {
		return nil
	}
	reason := con.StateReason
	if reason == "" {
		reason = "the credentials could not be renewed"
	}
	return &patchbay.Error{Code: patchbay.CodeServiceError, RetryAfter: int(left/time.Second) + 1,
		Message: fmt.Sprintf("%s; the next try is in %s", reason, patchbay.Duration(left.Truncate(time.Second)+time.Second))}
}

// recheck finds out about credentials that cannot be refreshed: whether the partner really takes them no longer.
func (s *Service) recheck(ctx context.Context, con *patchbay.Connection, refused bool) (*patchbay.Connection, error) {
	if !refused { // they end soon, or have ended
		if !ended(con, s.now()) {
			return con, nil
		}
		return s.judge(ctx, con, integration.Expired(
			"the access that %s gave has ended, and it gave no way to renew it", s.title(con.Integration)))
	}
	return s.inspect(ctx, con)
}

// raise tells the world that a connection needs its owner, when it did not before.
func (s *Service) raise(ctx context.Context, before patchbay.ConnectionState, now *patchbay.Connection) {
	if before == patchbay.ConnectionNeedsReauth || now.State != patchbay.ConnectionNeedsReauth {
		return
	}
	s.o.Log.Info("connection: needs its owner", "connection", now.ID, "integration", now.Integration, "reason", now.StateReason)
	if s.o.Notify == nil {
		return
	}
	bare, _ := s.Known(now.ID)
	if bare == nil {
		return
	}
	n := Notice{Connection: bare, Integration: s.title(now.Integration), Reason: now.StateReason, Links: s.uses(now.ID)}
	if err := s.o.Notify(ctx, n); err != nil {
		s.o.Log.Error("an event about a connection could not be raised", "connection", now.ID, "error", err)
	}
}
