package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// connection makes a new connection in a scope.
func (e *env) connection(scope patchbay.Scope) *patchbay.Connection {
	return &patchbay.Connection{
		ID: patchbay.ConnectionID(e.s.NewID(1)), Integration: "github", Scope: scope, Account: patchbay.Account{ID: "1"}, State: patchbay.ConnectionActive,
		Credentials: patchbay.Credentials{Access: "access-1", Refresh: "refresh-1", ExpiresAt: e.now().Add(time.Hour)},
		CreatedAt:   e.now(), UpdatedAt: e.now(), Revision: 1,
	}
}

func (e *env) connected(c *patchbay.Connection) *patchbay.Connection {
	e.Helper()
	e.must(e.s.SaveConnection(e.ctx, c))
	return c
}

func (e *env) wantConnection(want *patchbay.Connection) {
	e.Helper()
	got, err := e.s.Connection(e.ctx, want.ID)
	e.must(err)
	e.sameConnection("connection", got, want)
}

// sameConnection compares secrets too.
func (e *env) sameConnection(what string, got, want *patchbay.Connection) {
	e.Helper()
	e.same(what, got, want)
	a, err := store.EncodeCredentials(&got.Credentials)
	e.must(err)
	b, err := store.EncodeCredentials(&want.Credentials)
	e.must(err)
	e.same("the credentials of the "+what, string(a), string(b))
}

// refreshed is what a refresh makes of a connection.
func refreshed(c *patchbay.Connection, n int) *patchbay.Connection {
	r := *c
	r.Credentials = patchbay.Credentials{
		Access: patchbay.Secret(fmt.Sprint("access of refresh ", n)), Refresh: patchbay.Secret(fmt.Sprint("refresh of refresh ", n)), Type: "Bearer",
		ExpiresAt: c.Credentials.ExpiresAt.Add(time.Hour),
	}
	r.Grants, r.Data, r.CheckedAt = []string{fmt.Sprint("grant ", n)}, json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)), c.UpdatedAt.Add(time.Minute)
	r.State, r.StateReason = patchbay.ConnectionDegraded, "because"
	return &r
}

// listed returns the identifiers of all pages of a list.
func (e *env) listed(f store.ConnectionFilter) (out []patchbay.ConnectionID) {
	e.Helper()
	if f.Limit == 0 {
		f.Limit = 2
	}
	for range 100 {
		page, err := e.s.Connections(e.ctx, f)
		e.must(err)
		if len(page) > f.Limit {
			e.Fatalf("a page of %d has %d", f.Limit, len(page))
		}
		for i := range page {
			out = append(out, page[i].ID)
			f.After = page[i].ID
		}
		if len(page) < f.Limit {
			return out
		}
	}
	e.Fatal("the list does not end")
	return nil
}

func (e *env) wantErr(what string, got, want error) {
	e.Helper()
	if !errors.Is(got, want) {
		e.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var connectionTests = []test{
	{"keeps every field, secrets too", func(e *env) {
		owner := patchbay.Scope("acme/users/7")
		c := &patchbay.Connection{
			ID: patchbay.ConnectionID(e.s.NewID(1)), Integration: "slack", Scope: "acme/x", Owner: "jané", OwnerScope: &owner, Name: "Né", Visible: true,
			Account: patchbay.Account{ID: "T1", Name: "Acme", URL: "https://acme.test"}, Grants: []string{"a", "b"}, Data: json.RawMessage(`{"site":"x","n":1e400}`),
			Credentials: patchbay.Credentials{
				Access: "a-secret", Refresh: "r-secret", TokenSecret: "t-secret", Type: "Bearer", ExpiresAt: e.now().Add(time.Hour), RefreshExpiresAt: e.now().Add(day),
				Extra: map[string]patchbay.Secret{"password": "p-secret", "empty": ""}, Fill: map[string]patchbay.Secret{"url": "https://secret"},
			},
			State: patchbay.ConnectionDegraded, StateReason: "because", CreatedAt: e.now(), UpdatedAt: e.now().Add(time.Second), CheckedAt: e.now().Add(time.Minute), Revision: 1,
		}
		e.connected(c)
		for range 2 {
			e.wantConnection(c)
			all, err := e.s.Connections(e.ctx, store.ConnectionFilter{Limit: 10})
			e.must(err)
			e.same("connections", len(all), 1)
			e.sameConnection("listed connection", &all[0], c)
			e.crash()
		}
		plain := e.connected(&patchbay.Connection{ID: patchbay.ConnectionID(e.s.NewID(1)), Integration: "x", Revision: 1})
		e.wantConnection(plain)
	}},
	{"a revision that does not follow is a conflict", func(e *env) {
		c := e.connection("acme")
		for _, c.Revision = range []int{0, 2} {
			e.wantErr(fmt.Sprint("a new connection with revision ", c.Revision), e.s.SaveConnection(e.ctx, c), store.ErrConflict)
		}
		c.Revision = 1
		e.connected(c)
		next := *c
		next.Name = "changed"
		for _, next.Revision = range []int{0, 1, 3} {
			e.wantErr(fmt.Sprint("after revision 1 ", next.Revision), e.s.SaveConnection(e.ctx, &next), store.ErrConflict)
		}
		e.wantConnection(c)
		next.Revision = 2
		e.connected(&next)
		e.crash()
		e.wantConnection(&next)
	}},
	{"of concurrent changes one wins", func(e *env) {
		c := e.connected(e.connection("acme"))
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		p := e.s
		for i := range 8 {
			wg.Go(func() {
				next := *c
				next.Revision, next.Name = 2, fmt.Sprint(i)
				err := p.SaveConnection(e.ctx, &next)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case !errors.Is(err, store.ErrConflict):
					e.Error(err)
				}
			})
		}
		wg.Wait()
		e.same("won", won, 1)
	}},
	{"a deleted connection is gone", func(e *env) {
		c, other := e.connected(e.connection("acme")), e.connected(e.connection("acme"))
		e.must(e.s.DeleteConnection(e.ctx, c.ID))
		e.crash()
		_, err := e.s.Connection(e.ctx, c.ID)
		e.wantErr("reading it", err, store.ErrNotFound)
		e.wantErr("deleting it again", e.s.DeleteConnection(e.ctx, c.ID), store.ErrNotFound)
		_, _, err = e.s.LeaseConnection(e.ctx, c.ID, time.Minute)
		e.wantErr("leasing it", err, store.ErrNotFound)
		_, err = e.s.SaveRefreshed(e.ctx, 1, c)
		e.wantErr("saving a refresh", err, store.ErrNotFound)
		c.Revision = 2
		e.wantErr("changing it", e.s.SaveConnection(e.ctx, c), store.ErrConflict)
		e.same("left", e.listed(store.ConnectionFilter{}), []patchbay.ConnectionID{other.ID})
	}},
	{"lists by every filter, the oldest first, in pages", listConnections},
	{"one at a time may refresh", leaseConnection},
	{"a refresh replaces what it should, and nothing else", func(e *env) {
		c := e.connected(e.connection("acme"))
		fence, leased, err := e.s.LeaseConnection(e.ctx, c.ID, time.Hour)
		e.must(err)
		e.sameConnection("leased connection", leased, c)
		renamed := *c
		renamed.Revision, renamed.Name, renamed.Visible, renamed.UpdatedAt = 2, "renamed meanwhile", true, e.now().Add(time.Second)
		e.connected(&renamed) // with the same credentials: the refresh that is under way counts
		got, err := e.s.SaveRefreshed(e.ctx, fence, refreshed(leased, 1))
		e.must(err)
		want := refreshed(&renamed, 1)
		want.Revision, want.CheckedAt = 3, refreshed(leased, 1).CheckedAt
		e.sameConnection("what is returned", got, want)
		e.crash()
		e.wantConnection(want)
		again, err := e.s.SaveRefreshed(e.ctx, fence, refreshed(leased, 2)) // a call whose answer was lost, say
		e.must(err)
		e.same("revision", again.Revision, 4)
		_, _, err = e.s.LeaseConnection(e.ctx, c.ID, time.Hour)
		e.must(err) // the refresh has ended the lease
	}},
	{"a refresh of credentials that were replaced is not stored", func(e *env) {
		c := e.connected(e.connection("acme"))
		fence, leased, err := e.s.LeaseConnection(e.ctx, c.ID, time.Hour)
		e.must(err)
		anew := *c
		anew.Revision, anew.Credentials = 2, patchbay.Credentials{Access: "of a new consent", Refresh: "of a new consent"}
		e.connected(&anew)
		_, err = e.s.SaveRefreshed(e.ctx, fence, refreshed(leased, 1))
		e.wantErr("after a new consent", err, store.ErrConflict)
		e.crash()
		e.wantConnection(&anew)
		later, _, err := e.s.LeaseConnection(e.ctx, c.ID, time.Hour) // the new credentials have nobody's lease
		e.must(err)
		if later <= fence {
			e.Errorf("the fence after %d is %d", fence, later)
		}
	}},
	{"what expires is found until somebody must sign in", func(e *env) {
		c := e.connection("acme")
		c.Credentials.ExpiresAt = e.now().Add(time.Minute)
		e.connected(c)
		soon := store.ConnectionFilter{ExpiresBefore: e.now().Add(2 * time.Minute)}
		e.same("expiring", e.listed(soon), []patchbay.ConnectionID{c.ID})
		fence, _, err := e.s.LeaseConnection(e.ctx, c.ID, time.Hour)
		e.must(err)
		_, err = e.s.SaveRefreshed(e.ctx, fence, refreshed(c, 1))
		e.must(err)
		e.same("expiring after a refresh", len(e.listed(soon)), 0)
		later := store.ConnectionFilter{ExpiresBefore: e.now().Add(day)}
		e.same("expiring later", e.listed(later), []patchbay.ConnectionID{c.ID})
		over := refreshed(c, 2)
		over.State = patchbay.ConnectionNeedsReauth
		_, err = e.s.SaveRefreshed(e.ctx, fence, over)
		e.must(err)
		e.same("expiring without its owner", len(e.listed(later)), 0)
	}},
	{"after Close", func(e *env) {
		p, c := e.s, e.connection("acme")
		e.must(e.s.Close())
		_, read := p.Connection(e.ctx, c.ID)
		_, list := p.Connections(e.ctx, store.ConnectionFilter{Limit: 1})
		_, _, lease := p.LeaseConnection(e.ctx, c.ID, time.Hour)
		for _, err := range []error{p.SaveConnection(e.ctx, c), p.DeleteConnection(e.ctx, c.ID), read, list, lease} {
			e.wantErr("after Close", err, store.ErrClosed)
		}
	}},
}

// listConnections makes connections that differ in everything, and asks for them.
func listConnections(e *env) {
	var all []*patchbay.Connection
	for i, scope := range []patchbay.Scope{"", "acme", "acme/x", "acme/x/y", "acmex", "acme-x", "acme/z", "other"} {
		c := e.connection(scope)
		c.Integration = []string{"github", "slack", "jira"}[i%3]
		c.Account.ID = fmt.Sprint("account ", i%2)
		c.Credentials.ExpiresAt = e.now().Add(time.Duration(i) * time.Minute)
		switch i {
		case 1:
			c.Credentials.Refresh = ""
		case 2:
			c.State = patchbay.ConnectionNeedsReauth
		case 3:
			c.Credentials.ExpiresAt = time.Time{}
		}
		all = append(all, e.connected(c))
	}
	root, deep, sibling := patchbay.Scope(""), patchbay.Scope("acme/x/y/z"), patchbay.Scope("acme/xx")
	for name, x := range map[string]struct {
		f    store.ConnectionFilter
		want []int
	}{
		"all":              {store.ConnectionFilter{}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		"whole page":       {store.ConnectionFilter{Limit: 100}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		"integration":      {store.ConnectionFilter{Integration: "slack"}, []int{1, 4, 7}},
		"account":          {store.ConnectionFilter{Account: "account 0"}, []int{0, 2, 4, 6}},
		"both":             {store.ConnectionFilter{Account: "account 0", Integration: "github"}, []int{0, 6}},
		"no such account":  {store.ConnectionFilter{Account: "account"}, nil},
		"within":           {store.ConnectionFilter{Within: "acme"}, []int{1, 2, 3, 6}},
		"within deeper":    {store.ConnectionFilter{Within: "acme/x"}, []int{2, 3}},
		"within and more":  {store.ConnectionFilter{Within: "acme", Integration: "github", Account: "account 1"}, []int{3}},
		"serving the root": {store.ConnectionFilter{Serving: &root}, []int{0}},
		"serving":          {store.ConnectionFilter{Serving: &deep}, []int{0, 1, 2, 3}},
		"serving beside":   {store.ConnectionFilter{Serving: &sibling}, []int{0, 1}},
		"serving within":   {store.ConnectionFilter{Serving: &deep, Within: "acme/x", Integration: "jira"}, []int{2}},
		"expiring":         {store.ConnectionFilter{ExpiresBefore: e.now().Add(6 * time.Minute)}, []int{0, 4, 5}},
		"expiring of one":  {store.ConnectionFilter{ExpiresBefore: e.now().Add(6 * time.Minute), Account: "account 0", Within: "acmex"}, []int{4}},
		"expiring serving": {store.ConnectionFilter{ExpiresBefore: e.now().Add(day), Serving: &deep}, []int{0}},
	} {
		var want []patchbay.ConnectionID
		for _, i := range x.want {
			want = append(want, all[i].ID)
		}
		e.same(name, e.listed(x.f), want)
	}
}

// leaseConnection has many ask for a lease at once, again and again.
func leaseConnection(e *env) {
	c, p := e.connected(e.connection("acme")), e.s
	last := int64(0)
	for round := range 3 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var fences []int64
		for range 8 {
			wg.Go(func() {
				fence, got, err := p.LeaseConnection(e.ctx, c.ID, time.Hour)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && got.ID == c.ID:
					fences = append(fences, fence)
				case !errors.Is(err, store.ErrConflict):
					e.Error(err)
				}
			})
		}
		wg.Wait()
		if len(fences) != 1 || fences[0] <= last {
			e.Fatalf("round %d: the leases %v were given out after %d", round, fences, last)
		}
		if last > 0 {
			_, err := p.SaveRefreshed(e.ctx, last, refreshed(c, 100))
			e.wantErr("with the fence of the lease before", err, store.ErrConflict)
		}
		last = fences[0]
		got, err := p.SaveRefreshed(e.ctx, last, refreshed(c, round))
		e.must(err)
		e.same("revision", got.Revision, round+2)
	}
	// A lease ends by itself. Whose clock that is, is the store's.
	short, _, err := p.LeaseConnection(e.ctx, c.ID, 10*time.Millisecond)
	e.must(err)
	e.clock.forward(time.Second)
	var next int64
	for until := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		if next, _, err = p.LeaseConnection(e.ctx, c.ID, time.Hour); err == nil {
			break
		}
		if !errors.Is(err, store.ErrConflict) || time.Now().After(until) {
			e.Fatalf("a lease of 10 ms is not over: %v", err)
		}
	}
	_, err = p.SaveRefreshed(e.ctx, short, refreshed(c, 200))
	e.wantErr("after somebody else's lease began", err, store.ErrConflict)
	e.crash()
	p = e.s
	_, _, err = p.LeaseConnection(e.ctx, c.ID, time.Hour)
	e.wantErr("a lease outlives a crash", err, store.ErrConflict)
	got, err := p.SaveRefreshed(e.ctx, next, refreshed(c, 300))
	e.must(err)
	e.same("access", got.Credentials.Access.Reveal(), "access of refresh 300")
}

// flow makes a sign-in that can come back for ten minutes.
func (e *env) flow(n byte) *store.Flow {
	return &store.Flow{Hash: [32]byte{n, 31: n}, Data: []byte(fmt.Sprint("verifier ", n, "\x00\xff")), Until: e.now().Add(10 * time.Minute)}
}

var flowTests = []test{
	{"each is taken once", func(e *env) {
		e.must(e.s.SaveFlow(e.ctx, e.flow(1)))
		e.must(e.s.SaveFlow(e.ctx, e.flow(2)))
		e.wantErr("saving one again", e.s.SaveFlow(e.ctx, e.flow(2)), store.ErrConflict)
		e.crash()
		for _, n := range []byte{2, 1} {
			got, err := e.s.TakeFlow(e.ctx, e.flow(n).Hash, e.now())
			e.must(err)
			e.same("flow", got, e.flow(n))
			for range 2 {
				_, err = e.s.TakeFlow(e.ctx, e.flow(n).Hash, e.now())
				e.wantErr("again", err, store.ErrNotFound)
				e.crash()
			}
		}
		_, err := e.s.TakeFlow(e.ctx, [32]byte{9}, e.now())
		e.wantErr("one that never was", err, store.ErrNotFound)
	}},
	{"of those who take it at the same time one gets it", func(e *env) {
		p := e.s
		for n := range byte(10) {
			e.must(p.SaveFlow(e.ctx, e.flow(n)))
			var wg sync.WaitGroup
			var mu sync.Mutex
			got := 0
			for range 8 {
				wg.Go(func() {
					f, err := p.TakeFlow(e.ctx, e.flow(n).Hash, e.now())
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil && slices.Equal(f.Data, e.flow(n).Data):
						got++
					case !errors.Is(err, store.ErrNotFound):
						e.Errorf("got %v, %v", f, err)
					}
				})
			}
			wg.Wait()
			e.same("got it", got, 1)
		}
	}},
	{"one whose time is over is not found, and goes", func(e *env) {
		p := e.s
		e.must(p.SaveFlow(e.ctx, e.flow(1)))
		e.clock.forward(5 * time.Minute)
		e.must(p.SaveFlow(e.ctx, e.flow(2)))
		_, err := p.TakeFlow(e.ctx, e.flow(1).Hash, e.now().Add(5*time.Minute))
		e.wantErr("at the end of its time", err, store.ErrNotFound)
		e.clock.forward(6 * time.Minute)
		e.prune(retention)
		_, err = p.TakeFlow(e.ctx, e.flow(1).Hash, start)
		e.wantErr("after it was pruned", err, store.ErrNotFound)
		_, err = p.TakeFlow(e.ctx, e.flow(2).Hash, start)
		e.must(err)
	}},
	{"two with one state are a conflict", func(e *env) {
		e.must(e.s.SaveFlow(e.ctx, e.flow(1)))
		e.wantErr("the second", e.s.SaveFlow(e.ctx, e.flow(1)), store.ErrConflict)
	}},
}
