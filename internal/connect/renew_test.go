package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
)

// A token that ends soon is renewed before it is used, once, and what came of it is in the database.
func TestRefreshOnDemand(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	first := r.stored(v.ID).Credentials.Access
	r.clock.add(time.Hour - r.pace.skew - time.Second)
	if con, err := r.Use(t.Context(), v.ID, "acme"); err != nil || con.Credentials.Access != first {
		t.Fatalf("it was renewed too early: %v", err)
	}
	r.clock.add(2 * time.Second)
	var got [20]patchbay.Secret
	var running sync.WaitGroup
	for i := range got {
		running.Go(func() {
			con, err := r.Use(t.Context(), v.ID, "acme")
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = con.Credentials.Access
		})
	}
	running.Wait()
	con := r.stored(v.ID)
	for _, token := range got {
		if token != con.Credentials.Access || token == first {
			t.Error("somebody got a token that is not in the database")
		}
	}
	if p.refreshed != 1 || p.reused != 0 {
		t.Errorf("%d refreshes, %d of them with a token that was used", p.refreshed, p.reused)
	}
	if want := r.now().Add(time.Hour); !con.Credentials.ExpiresAt.Equal(want) || con.State != patchbay.ConnectionActive || !con.UpdatedAt.Equal(v.UpdatedAt) {
		t.Errorf("%+v", con)
	}
	r.silent()
}

// Credentials that the partner refuses are renewed, unless they have been already.
func TestRefused(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	r.pace.young = time.Minute
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	used, err := r.Use(t.Context(), v.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	r.Refused(t.Context(), used)
	if _, err := r.Use(t.Context(), v.ID, "acme"); patchbay.CodeOf(err) != patchbay.CodeServiceError || p.refreshed > 0 {
		t.Errorf("credentials that are a moment old were renewed: %v", err)
	}
	r.clock.add(2 * time.Minute)
	fresh, err := r.Use(t.Context(), v.ID, "acme")
	if err != nil || fresh.Credentials.Access == used.Credentials.Access || p.refreshed != 1 {
		t.Fatalf("%v, %d refreshes", err, p.refreshed)
	}
	r.clock.add(2 * time.Minute)
	r.Refused(t.Context(), used) // a slow attempt that still had the old ones
	if again, err := r.Use(t.Context(), v.ID, "acme"); err != nil || again.Credentials.Access != fresh.Credentials.Access || p.refreshed != 1 {
		t.Errorf("%v, %d refreshes", err, p.refreshed)
	}
	r.Refused(t.Context(), nil)
	r.Refused(t.Context(), &integration.Connected{ID: 99})
}

// A grant that has ended needs its owner, which is told once.
func TestNeedsReauth(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	r.uses[v.ID] = []Use{{Link: 1}, {Link: 2}}
	p.end()
	r.clock.add(time.Hour)
	for range 3 {
		_, err := r.Use(t.Context(), v.ID, "acme")
		refused(t, err, patchbay.CodeUserConfigurationError, "the connection to Thing as account 1 (1) must be renewed by its owner: Thing did not renew the credentials: it takes the grant for no longer valid (invalid_grant)")
		r.silent(err.Error())
	}
	if asked := p.asked; asked != 2 {
		t.Errorf("the token endpoint was asked %d times", asked)
	}
	got, err := r.Get(t.Context(), ann(), v.ID)
	if err != nil || got.State != patchbay.ConnectionNeedsReauth || got.StateReason == nil || !strings.Contains(*got.StateReason, "invalid_grant") {
		t.Errorf("%+v %v", got, err)
	}
	if all := r.told(); len(all) != 1 || all[0].Connection.ID != v.ID || all[0].Links != 2 || all[0].Integration != "Thing" || len(all[0].Connection.Credentials.Secrets()) > 0 {
		t.Errorf("%+v", all)
	}
	// After a new consent it can come to this once more.
	r.connect(ann(), Start{Integration: "thing"})
	p.end()
	r.clock.add(time.Hour)
	if _, err := r.Use(t.Context(), v.ID, "acme"); err == nil || len(r.told()) != 2 {
		t.Errorf("%v, told %d times", err, len(r.told()))
	}
}

// While a partner fails the old token is used as long as it lasts, and the partner is not pestered.
func TestDegraded(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	p.set(func() {
		p.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "oops", http.StatusServiceUnavailable)
			return true
		}
	})
	r.clock.add(time.Hour - 20*time.Second)
	asked := p.asked
	for range 3 {
		if con, err := r.Use(t.Context(), v.ID, "acme"); err != nil || con.Credentials.Access == "" {
			t.Fatalf("the old token still works: %v", err)
		}
	}
	if p.asked != asked+1 {
		t.Errorf("asked %d times", p.asked-asked)
	}
	got, _ := r.Get(t.Context(), ann(), v.ID)
	if got.State != patchbay.ConnectionDegraded || !strings.Contains(*got.StateReason, "status 503") {
		t.Errorf("%+v", got)
	}
	r.clock.add(21 * time.Second)
	_, err := r.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeServiceError, "status 503")
	p.set(func() { p.answer = nil })
	r.clock.add(r.pace.longest)
	if _, err := r.Use(t.Context(), v.ID, "acme"); err != nil {
		t.Error(err)
	}
	if got, _ := r.Get(t.Context(), ann(), v.ID); got.State != patchbay.ConnectionActive || got.StateReason != nil {
		t.Errorf("%+v", got)
	}
	if len(r.told()) > 0 {
		t.Error("its owner was bothered")
	}
}

// The pause between tries grows, up to a bound, and is at least what the partner asks for.
func TestBackoff(t *testing.T) {
	r := newRig(t)
	r.put(&patchbay.Connection{ID: 5, Revision: 1}, nil)
	r.random = func() float64 { return 0.5 }
	last := time.Duration(0)
	for i := range 40 {
		r.failed(5, nil)
		wait := r.known[5].notBefore.Sub(r.now())
		if wait < last || i == 0 && wait != r.pace.again || i == 39 && wait != r.pace.longest {
			t.Errorf("%d: %v after %v", i, wait, last)
		}
		last = wait
	}
	r.recovered(5)
	r.failed(5, &tokenError{wait: 5 * time.Minute})
	if wait := r.known[5].notBefore.Sub(r.now()); wait != 5*time.Minute {
		t.Error(wait)
	}
	r.failed(99, nil)
}

// Tokens are renewed ahead of their end without being asked for, those that end later are left alone.
func TestRefresher(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	r.pace.sweep = time.Millisecond
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	p.set(func() { p.account, p.lasts = "2", 0 })
	forever := r.connect(ann(), Start{Integration: "thing"}).Connection
	p.set(func() { p.account, p.lasts = "3", 7*24*3600 })
	later := r.connect(ann(), Start{Integration: "thing"}).Connection
	p.set(func() { p.lasts = 24 * 3600 })
	if forever.ExpiresAt != nil {
		t.Errorf("%+v", forever)
	}
	r.clock.add(time.Hour - r.pace.ahead - r.pace.skew - time.Second)
	if err := r.sweep(t.Context()); err != nil || p.refreshed > 0 {
		t.Fatalf("%v, %d refreshes", err, p.refreshed)
	}
	r.clock.add(r.pace.ahead/2 + 2*time.Second)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		p.mu.Lock()
		n := p.refreshed
		p.mu.Unlock()
		if con := r.stored(v.ID); n == 1 && con.Credentials.ExpiresAt.After(r.now().Add(23*time.Hour)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d refreshes", n)
		}
		<-time.After(5 * time.Millisecond)
	}
	if con := r.stored(later.ID); con.Revision != 1 {
		t.Error("one that ends in a week was refreshed")
	}
}

// What is not used for a while does not stay in memory.
func TestIdle(t *testing.T) {
	p := newPartner(t)
	p.lasts = 24 * 3600
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	r.clock.add(r.pace.idle + time.Second)
	r.dropIdle()
	if r.known[v.ID].credentials != nil {
		t.Error("the credentials are still there")
	}
	if con, err := r.Use(t.Context(), v.ID, "acme"); err != nil || con.Credentials.Access == "" {
		t.Error(err)
	}
}

// Credentials that cannot be refreshed: when they end, or the partner says that it knows them no more, their owner must come.
func TestWithoutRefreshToken(t *testing.T) {
	p := newPartner(t)
	p.noRefresh = true
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	r.clock.add(time.Hour - time.Second)
	used, err := r.Use(t.Context(), v.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	r.Refused(t.Context(), used) // a single call was refused, but the partner still knows them
	if _, err := r.Use(t.Context(), v.ID, "acme"); err != nil || r.stored(v.ID).State != patchbay.ConnectionActive {
		t.Error(err)
	}
	r.clock.add(time.Second)
	_, err = r.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeUserConfigurationError, "it gave no way to renew it")

	p.set(func() { p.lasts = 0 })
	v = r.connect(ann(), Start{Integration: "thing"}).Connection
	if used, err = r.Use(t.Context(), v.ID, "acme"); err != nil {
		t.Fatal(err)
	}
	p.end()
	r.Refused(t.Context(), used)
	_, err = r.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeUserConfigurationError, "Thing does not take the token")
	if all := r.told(); len(all) != 2 {
		t.Errorf("told %d times", len(all))
	}
}

// When the caller's time is over before the partner has answered, what the partner says is kept all the same.
func TestPatience(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	arrived, answer := make(chan struct{}), make(chan struct{})
	p.set(func() {
		p.answer = func(http.ResponseWriter, *http.Request) bool { close(arrived); <-answer; return false }
	})
	r.clock.add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		_, err := r.Use(ctx, v.ID, "acme")
		refused(t, err, patchbay.CodeServiceError, "being renewed")
	})
	<-arrived
	cancel()
	running.Wait()
	before := r.stored(v.ID).Credentials.Access
	running.Go(func() {
		if err := r.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	<-r.run.Done()
	close(answer)
	running.Wait()
	if con := r.stored(v.ID); con.Credentials.Access == before || p.refreshed != 1 {
		t.Error("the new token was lost")
	}
	r.clock.add(2 * time.Hour)
	_, err := r.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeUnavailable, "about to stop")
}

// What people change while a refresh is under way stays, and so does the refresh.
func TestChangeDuringRefresh(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	p.set(func() {
		p.answer = func(http.ResponseWriter, *http.Request) bool {
			if _, err := r.Update(t.Context(), ann(), v.ID, Input{Name: new("renamed")}, nil, v.Version()); err != nil {
				t.Error(err)
			}
			return false
		}
	})
	r.clock.add(time.Hour)
	used, err := r.Use(t.Context(), v.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	con := r.stored(v.ID)
	if con.Name != "renamed" || con.Credentials.Access != used.Credentials.Access || p.refreshed != 1 {
		t.Errorf("%+v", con)
	}
	// A new consent during a refresh wins: what the refresh brought belongs to another grant.
	p.set(func() {
		p.answer = func(_ http.ResponseWriter, q *http.Request) bool {
			if q.PostFormValue("grant_type") == "refresh_token" {
				r.connect(ann(), Start{Integration: "thing"})
			}
			return false
		}
	})
	r.clock.add(time.Hour)
	if used, err = r.Use(t.Context(), v.ID, "acme"); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.answer = nil })
	if con = r.stored(v.ID); con.Credentials.Access != used.Credentials.Access || !strings.Contains(used.Credentials.Access.Reveal(), "access-token-") {
		t.Error("the newer credentials were lost")
	}
	if _, known := p.good(used.Credentials.Access.Reveal()); !known {
		t.Error("the token is not good")
	}
}

// A connection that is deleted while it is refreshed does not come back.
func TestDeletedDuringRefresh(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	p.set(func() {
		p.answer = func(http.ResponseWriter, *http.Request) bool {
			if err := r.store.DeleteConnection(t.Context(), v.ID); err != nil {
				t.Error(err)
			}
			return false
		}
	})
	r.clock.add(time.Hour)
	_, err := r.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeUserConfigurationError, "deleted")
	if _, known := r.Known(v.ID); known {
		t.Error("it is still known")
	}
}

// flaky is a store whose writes of refreshed credentials fail for a while.
type flaky struct {
	Store
	left atomic.Int32
}

func (f *flaky) SaveRefreshed(ctx context.Context, fence int64, c *patchbay.Connection) (*patchbay.Connection, error) {
	if f.left.Add(-1) >= 0 {
		return nil, fmt.Errorf("the disk is full: %w", store.ErrUnavailable)
	}
	return f.Store.SaveRefreshed(ctx, fence, c)
}

// New tokens are not given up because the database is away for a moment, and nobody gets them before they are stored.
func TestDatabaseAway(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := r.connect(ann(), Start{Integration: "thing"}).Connection
	f := &flaky{Store: r.o.Store}
	f.left.Store(5)
	r.o.Store, r.pace.save = f, time.Millisecond
	r.clock.add(time.Hour)
	used, err := r.Use(t.Context(), v.ID, "acme")
	if err != nil || r.stored(v.ID).Credentials.Access != used.Credentials.Access || p.refreshed != 1 {
		t.Errorf("%v, %d refreshes", err, p.refreshed)
	}
	f.left.Store(1 << 30)
	r.pace.saving = -1
	r.clock.add(time.Hour)
	_, err = r.Use(t.Context(), v.ID, "acme")
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("somebody got a token that is not stored: %v", err)
	}
	r.silent()
}

// Another node's refresh is waited for, and its result used.
func TestOtherNodeRefreshes(t *testing.T) {
	p := newPartner(t)
	a := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := a.connect(ann(), Start{Integration: "thing"}).Connection
	b := rigAt(t, a.store, a.clock, oauth2Thing("thing", p.URL, nil))
	b.pace.look = time.Millisecond
	if _, err := b.Use(t.Context(), v.ID, "acme"); err != nil { // it remembers the token
		t.Fatal(err)
	}
	a.clock.add(time.Hour)
	arrived, answer := make(chan struct{}), make(chan struct{})
	p.set(func() {
		p.answer = func(http.ResponseWriter, *http.Request) bool { close(arrived); <-answer; return false }
	})
	tokens := make(chan patchbay.Secret, 2)
	var running sync.WaitGroup
	use := func(r *rig) {
		con, err := r.Use(t.Context(), v.ID, "acme")
		if err != nil {
			t.Error(err)
			return
		}
		tokens <- con.Credentials.Access
	}
	running.Go(func() { use(a) })
	<-arrived
	running.Go(func() { use(b) })
	<-time.After(20 * time.Millisecond) // b may try to get the lease now; a shorter wait would only prove less
	close(answer)
	running.Wait()
	if x, y := <-tokens, <-tokens; x != y || p.refreshed != 1 || p.reused != 0 {
		t.Errorf("%d refreshes, %d reused, same token: %v", p.refreshed, p.reused, x == y)
	}
	// A node that died with the lease is given up on.
	a.clock.add(time.Hour)
	p.set(func() { p.answer = nil })
	if _, _, err := a.store.LeaseConnection(t.Context(), v.ID, a.pace.lease); err != nil {
		t.Fatal(err)
	}
	b.pace.patience = -1
	_, err := b.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeServiceError, "another node")
	a.clock.add(a.pace.lease)
	if _, err := b.Use(t.Context(), v.ID, "acme"); err != nil {
		t.Error(err)
	}
}
