package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
	"github.com/patchbay/patchbay/internal/store/storetest"
)

func newConnection(s *postgres.Store) *patchbay.Connection {
	return &patchbay.Connection{
		ID: patchbay.ConnectionID(s.NewID(1)), Integration: "github", Scope: "acme", Account: patchbay.Account{ID: "1"}, Revision: 1,
		Credentials: patchbay.Credentials{Access: "access-0", Refresh: "refresh-0"},
	}
}

// TestNodesRefreshOneAtATime has two nodes refresh a connection as fast as they can, as a partner would see it that takes
// every refresh token once: not one of them may be used twice, and none may be lost.
func TestNodesRefreshOneAtATime(t *testing.T) {
	url, keys := pgtest.Database(t), storetest.NewKeys()
	nodes := []*postgres.Store{
		joinWith(t, postgres.Options{URL: url, Name: "a", Sealer: keys}), joinWith(t, postgres.Options{URL: url, Name: "b", Sealer: keys}),
	}
	c := newConnection(nodes[0])
	must(t, nodes[0].SaveConnection(ctx, c))
	var mu sync.Mutex
	used := map[patchbay.Secret]bool{}
	refreshed := 0
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			s := nodes[i%2]
			for range 200 {
				fence, got, err := s.LeaseConnection(ctx, c.ID, time.Hour)
				if errors.Is(err, store.ErrConflict) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				token := got.Credentials.Refresh
				if used[token] {
					t.Errorf("the refresh token %q was used twice", token.Reveal())
				}
				used[token] = true
				refreshed++
				next := patchbay.Secret(fmt.Sprint("refresh-", refreshed))
				mu.Unlock()
				got.Credentials.Refresh = next
				if _, err := s.SaveRefreshed(ctx, fence, got); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got, err := nodes[1].Connection(ctx, c.ID)
	must(t, err)
	if refreshed == 0 || got.Revision != refreshed+1 || got.Credentials.Refresh.Reveal() != fmt.Sprint("refresh-", refreshed) {
		t.Errorf("after %d refreshes there is revision %d with %q", refreshed, got.Revision, got.Credentials.Refresh.Reveal())
	}
}

// TestNodesTakeOnce has two nodes take the same sign-ins and claim the same sessions, and store the same hooks.
func TestNodesTakeOnce(t *testing.T) {
	url := pgtest.Database(t)
	nodes := []*postgres.Store{join(t, url, "a"), join(t, url, "b")}
	now := time.Now()
	const things = 20
	for i := range byte(things) {
		must(t, nodes[0].SaveFlow(ctx, &store.Flow{Hash: [32]byte{i, 1}, Until: now.Add(time.Hour)}))
		must(t, nodes[0].SaveSession(ctx, &store.Session{
			ID: patchbay.SessionID(nodes[0].NewID(1)), Claim: [32]byte{i, 2}, ClaimUntil: now.Add(time.Hour), ExpiresAt: now.Add(time.Hour),
		}))
	}
	var mu sync.Mutex
	flows, sessions, hooks := 0, 0, map[patchbay.HookID]int{}
	var all sync.WaitGroup
	for n := range byte(6) {
		all.Go(func() {
			s := nodes[n%2]
			for i := range byte(things) {
				_, took := s.TakeFlow(ctx, [32]byte{i, 1}, now)
				_, claimed := s.ClaimSession(ctx, [32]byte{i, 2}, [32]byte{i, n, 3}, now)
				h := &store.Hook{ID: patchbay.HookID(s.NewID(1)), Integration: "github", Key: [16]byte{i}}
				existing, err := s.SaveHook(ctx, h)
				if err != nil || took != nil && !errors.Is(took, store.ErrNotFound) || claimed != nil && !errors.Is(claimed, store.ErrNotFound) {
					t.Error(err, took, claimed)
				}
				mu.Lock()
				if took == nil {
					flows++
				}
				if claimed == nil {
					sessions++
				}
				if existing == 0 {
					existing = h.ID
				}
				hooks[existing]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if flows != things || sessions != things || len(hooks) != things {
		t.Errorf("of %d each, %d sign-ins were taken, %d sessions claimed, %d hooks stored", things, flows, sessions, len(hooks))
	}
}

// TestOtherNodesHearOfConnections shows which changes are made known, and that a fenced node changes nothing.
func TestOtherNodesHearOfConnections(t *testing.T) {
	url := pgtest.Database(t)
	a, b := join(t, url, "a"), join(t, url, "b")
	last, err := b.LastChange(ctx)
	must(t, err)
	heard := func(what string, want ...store.Change) {
		t.Helper()
		got, err := b.Changes(ctx, last)
		must(t, err)
		for i := range got {
			last = got[i].Seq
			got[i].Seq = 0
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the other node hears %v, want %v", what, got, want)
		}
	}
	c := newConnection(a)
	of := store.Change{Kind: store.ChangedConnection, ID: int64(c.ID)}
	must(t, a.SaveConnection(ctx, c))
	heard("a new connection", of)
	fence, _, err := a.LeaseConnection(ctx, c.ID, time.Hour)
	must(t, err)
	heard("a lease")
	_, err = a.SaveRefreshed(ctx, fence, c)
	must(t, err)
	heard("a refresh", of)
	must(t, a.DeleteConnection(ctx, c.ID))
	heard("a deletion", of)
	now := time.Now()
	x := &store.Session{ID: patchbay.SessionID(a.NewID(1)), Scope: "acme", Cookie: [32]byte{1}, ExpiresAt: now.Add(time.Hour)}
	must(t, a.SaveSession(ctx, x))
	heard("a new session")
	must(t, a.DeleteSession(ctx, x.ID))
	heard("its end", store.Change{Kind: store.ChangedSession, ID: int64(x.ID)})
	must(t, a.SaveSession(ctx, x))
	must(t, a.SaveConnection(ctx, c))
	heard("another connection", of)
	for more := true; more; {
		_, more, err = b.EraseTenant(ctx, "acme")
		must(t, err)
	}
	heard("an erasure", of, store.Change{Kind: store.ChangedSession, ID: int64(x.ID)})

	must(t, a.SaveConnection(ctx, c))
	h := &store.Hook{ID: patchbay.HookID(a.NewID(1)), Integration: "github"}
	_, err = a.SaveHook(ctx, h)
	must(t, err)
	must(t, a.SaveFlow(ctx, &store.Flow{Hash: [32]byte{1}, Until: now.Add(time.Hour)}))
	must(t, b.Fence(ctx, a))
	_, _, leased := a.LeaseConnection(ctx, c.ID, time.Hour)
	_, refreshed := a.SaveRefreshed(ctx, 1, c)
	_, took := a.TakeFlow(ctx, [32]byte{1}, now)
	_, hooked := a.SaveHook(ctx, &store.Hook{ID: h.ID + 1, Integration: "slack"})
	next := *c
	next.Revision = 2
	for what, err := range map[string]error{
		"SaveConnection": a.SaveConnection(ctx, &next), "DeleteConnection": a.DeleteConnection(ctx, c.ID), "LeaseConnection": leased, "SaveRefreshed": refreshed,
		"SaveFlow": a.SaveFlow(ctx, &store.Flow{Hash: [32]byte{2}, Until: now}), "TakeFlow": took, "SaveSession": a.SaveSession(ctx, x),
		"SaveHook": hooked, "FinishHook": a.FinishHook(ctx, h),
	} {
		if !errors.Is(err, store.ErrFenced) {
			t.Errorf("%s of a fenced node: %v, want ErrFenced", what, err)
		}
	}
}

// TestALeaseGoesByTheDatabasesClock opens two nodes whose own clocks are far apart.
func TestALeaseGoesByTheDatabasesClock(t *testing.T) {
	url := pgtest.Database(t)
	a := join(t, url, "a")
	b := joinWith(t, postgres.Options{URL: url, Name: "b", Now: func() time.Time { return time.Now().Add(24 * time.Hour) }})
	c := newConnection(a)
	must(t, a.SaveConnection(ctx, c))
	_, _, err := a.LeaseConnection(ctx, c.ID, time.Hour)
	must(t, err)
	if _, _, err := b.LeaseConnection(ctx, c.ID, time.Hour); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a node whose clock is a day ahead gets a lease: %v", err)
	}
}

// TestProgramsThatCannotOpenWhatIsSealedAreRefused checks that the version before goes on serving until a node seals.
func TestProgramsThatCannotOpenWhatIsSealedAreRefused(t *testing.T) {
	url := pgtest.Database(t)
	serves := func() (n int) {
		t.Helper()
		connected(t, url, func(c *pgx.Conn) {
			must(t, c.QueryRow(ctx, "SELECT max(serves) FROM schema_version").Scan(&n))
		})
		return n
	}
	join(t, url, "a")
	if n := serves(); n != 1 {
		t.Errorf("in the open it needs a program that knows migration %d, want 1", n)
	}
	for range 2 {
		must(t, joinWith(t, postgres.Options{URL: url, Name: "b", Sealer: storetest.NewKeys()}).Close())
		if n := serves(); n != 3 {
			t.Errorf("with a key it needs a program that knows migration %d, want 3", n)
		}
	}
}
