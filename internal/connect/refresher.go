package connect

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/lifecycle"
	"github.com/patchbay/patchbay/internal/store"
)

// refreshing bounds how many connections are refreshed ahead of time at once.
const refreshing = 8

// Start begins to refresh tokens ahead of their end. Whatever else the service does works without it.
func (s *Service) Start(context.Context) error {
	s.owned.Go(func() {
		failing := false
		for s.pause(time.Duration(float64(s.pace.sweep) * (0.5 + s.random()))) {
			err := s.sweep(s.run)
			if err != nil && !failing && s.run.Err() == nil {
				s.o.Log.Warn("connections whose tokens end soon could not be looked up; trying again", "error", err)
			}
			failing = err != nil
		}
	})
	return nil
}

// Stop ends the refresher and waits until ctx is done for what is under way: a refresh token that has been sent must be
// replaced in the database.
func (s *Service) Stop(ctx context.Context) error {
	s.renewals.mu.Lock() // no renewal begins after it
	s.stop()
	s.renewals.mu.Unlock()
	return lifecycle.Wait(ctx, &s.owned)
}

// sweep refreshes what ends soon, and drops credentials from memory that nobody uses.
func (s *Service) sweep(ctx context.Context) error {
	s.dropIdle()
	f := store.ConnectionFilter{ExpiresBefore: s.now().Add(s.pace.ahead + s.pace.skew), Limit: loadPage}
	places := make(chan struct{}, refreshing)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		page, err := s.o.Store.Connections(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			con := &page[i]
			if !s.soon(con) || s.pausing(con) != nil {
				continue
			}
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			running.Go(func() {
				defer func() { <-places }()
				if _, err := s.renew(ctx, con); err != nil {
					s.o.Log.Debug("a connection could not be refreshed ahead of time", "connection", con.ID, "error", err)
				}
			})
		}
		if len(page) < loadPage {
			return nil
		}
		f.After = page[len(page)-1].ID
	}
}

// seed spreads what nodes do: two nodes do not think of the same connection at the same time.
var seed = maphash.MakeSeed()

// soon reports whether a connection's token is to be refreshed ahead of its end: in the last fifth of its life, at most some
// minutes, and each connection at its own moment.
func (s *Service) soon(con *patchbay.Connection) bool {
	end := con.Credentials.ExpiresAt
	if end.IsZero() || con.Credentials.Refresh == "" || con.State == patchbay.ConnectionNeedsReauth {
		return false
	}
	ahead := s.pace.ahead
	if life := end.Sub(con.CheckedAt); !con.CheckedAt.IsZero() {
		ahead = min(ahead, max(life/5, 0))
	}
	spread := float64(maphash.Comparable(seed, con.ID)%1024) / 1024
	return s.now().After(end.Add(-s.pace.skew - time.Duration(float64(ahead)*(0.5+0.5*spread))))
}

// dropIdle drops credentials from memory that have not been used for a while.
func (s *Service) dropIdle() {
	before := s.now().Add(-s.pace.idle)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.known {
		if e.credentials != nil && e.usedAt.Before(before) {
			e.credentials = nil
		}
	}
}
