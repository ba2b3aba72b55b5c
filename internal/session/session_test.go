package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/session"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a service over a real database, and an admin's key.
type rig struct {
	*session.Service
	t     *testing.T
	db    *sqlite.Store
	keys  *access.Keys
	admin string
	now   time.Time
}

func newRig(t *testing.T, change ...func(*session.Options)) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return r.now }
	var err error
	if r.db, err = sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.db.Close() })
	if r.keys, err = access.NewKeys(t.Context(), r.db, r.db.NewID, clock); err != nil {
		t.Fatal(err)
	}
	if r.admin, _, err = r.keys.EnsureAdmin(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := session.Options{Store: r.db, Keys: r.keys, PublicURL: "https://hooks.example.com", Now: clock}
	for _, c := range change {
		c(&o)
	}
	r.Service = session.New(o)
	return r
}

// caller is who calls with a token.
func (r *rig) caller(token string) *access.Caller {
	r.t.Helper()
	c, err := r.keys.Lookup(token)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// key makes an API key.
func (r *rig) key(scope string, permissions ...string) *access.KeyView {
	r.t.Helper()
	v, err := r.keys.Create(r.t.Context(), r.caller(r.admin), access.KeyInput{Scope: scope, Permissions: permissions})
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// portal makes a portal session.
func (r *rig) portal(c *access.Caller, in session.PortalInput) *session.PortalView {
	r.t.Helper()
	v, err := r.CreatePortal(r.t.Context(), c, in)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// browser keeps cookies.
type browser struct{ jar []*http.Cookie }

func (b *browser) request() *http.Request {
	req := httptest.NewRequest("GET", "https://hooks.example.com/", nil)
	for _, c := range b.jar {
		req.AddCookie(c)
	}
	return req
}

// do calls something that may set cookies, and keeps them.
func (b *browser) do(call func(http.ResponseWriter, *http.Request) error) error {
	w := httptest.NewRecorder()
	err := call(w, b.request())
	for _, c := range w.Result().Cookies() {
		b.jar = slices.DeleteFunc(b.jar, func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 {
			b.jar = append(b.jar, c)
		}
	}
	return err
}

func (b *browser) signIn(r *rig, key string) error {
	return b.do(func(w http.ResponseWriter, req *http.Request) error { return r.SignIn(w, req, patchbay.Secret(key)) })
}

func (b *browser) exchange(r *rig, token string) (to string, err error) {
	err = b.do(func(w http.ResponseWriter, req *http.Request) (err error) {
		to, err = r.Exchange(w, req, token)
		return err
	})
	return to, err
}

// nobody fails unless nobody is signed in.
func (b *browser) nobody(r *rig, why string) {
	r.t.Helper()
	if c, _, err := r.Caller(b.request()); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		r.t.Errorf("%s: signed in is %+v, %v", why, c, err)
	}
}

// TestSignIn: an operator's cookie is this host's alone, and ends with its time, with the key, and by signing out.
func TestSignIn(t *testing.T) {
	r := newRig(t)
	var b browser
	b.nobody(r, "at first")
	if err := b.signIn(r, "pk_wrong"); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		t.Errorf("a wrong key: %v", err)
	}
	if err := b.signIn(r, r.key("", "publish").Token); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("a key that may not read: %v", err)
	}
	b.nobody(r, "after wrong keys")
	if err := b.signIn(r, " "+r.admin+"\n"); err != nil {
		t.Fatal(err)
	}
	if len(b.jar) != 1 {
		t.Fatalf("the cookies are %v", b.jar)
	}
	if c := b.jar[0]; c.Name != "__Host-patchbay" || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie is %+v", c)
	}
	c, v, err := r.Caller(b.request())
	if err != nil || !c.May(access.Admin) || c.Portal || c.Session == 0 || v.Portal {
		t.Errorf("signed in is %+v, %+v, %v", c, v, err)
	}
	r.now = r.now.Add(13 * time.Hour)
	b.nobody(r, "a day later")
	r.now = r.now.Add(-13 * time.Hour)

	reader := r.key("acme", "read")
	var other browser
	if err := other.signIn(r, reader.Token); err != nil {
		t.Fatal(err)
	}
	if c, _, err := r.Caller(other.request()); err != nil || c.Scope != "acme" || c.May(access.Manage) {
		t.Errorf("a reader is %+v, %v", c, err)
	}
	if err := r.keys.Delete(t.Context(), r.caller(r.admin), reader.ID); err != nil {
		t.Fatal(err)
	}
	other.nobody(r, "after the key was deleted")

	stolen := browser{jar: slices.Clone(b.jar)}
	if err := b.do(r.SignOut); err != nil {
		t.Fatal(err)
	}
	b.nobody(r, "after signing out")
	stolen.nobody(r, "with a copy of the cookie, after signing out")
}

// TestPortal: the token works once and soon; the session can do what was granted, in its scope, and ends.
func TestPortal(t *testing.T) {
	r := newRig(t, func(o *session.Options) { o.Framed = true })
	own, ttl := "acme/users/ann", patchbay.Duration(2*time.Hour)
	v := r.portal(r.caller(r.admin), session.PortalInput{
		Scope: "acme/teams/1", User: "ann", OwnerScope: &own, Permissions: []string{"view", "edit"}, TTL: &ttl, Return: "https://app.example.com/x",
	})
	if v.URL != "https://hooks.example.com/portal#"+v.Token || !strings.HasPrefix(v.ID.String(), "ses_") || v.Claimed {
		t.Errorf("the session is %+v", v)
	}
	var b browser
	if _, err := b.exchange(r, "pbt_"+strings.Repeat("a", 32)); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		t.Errorf("a made-up token: %v", err)
	}
	to, err := b.exchange(r, v.Token)
	if err != nil || to != "/settings/acme/teams/1" {
		t.Fatalf("it leads to %q, %v", to, err)
	}
	if c := b.jar[0]; c.Name != "__Host-patchbay-portal" || c.SameSite != http.SameSiteNoneMode || !c.Partitioned || !c.Secure || !c.HttpOnly {
		t.Errorf("the cookie of a portal in a frame is %+v", c)
	}
	c, view, err := r.Caller(b.request())
	if err != nil || !c.Portal || c.Scope != "acme/teams/1" || c.User != "ann" || *c.OwnerScope != "acme/users/ann" {
		t.Fatalf("the caller is %+v, %v", c, err)
	}
	if !c.May(access.Read) || !c.May(access.Manage) || c.May(access.Secrets) || c.May(access.Admin) || c.May(access.Publish) {
		t.Errorf("it may %v", c.Permissions)
	}
	if view.Return != "https://app.example.com/x" {
		t.Errorf("it is shown as %+v", view)
	}
	var thief browser
	if _, err := thief.exchange(r, v.Token); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		t.Errorf("a second exchange: %v", err)
	}
	got, err := r.Portal(t.Context(), r.caller(r.admin), v.ID)
	if err != nil || !got.Claimed || got.Token != "" || got.URL != "" || !slices.Equal(got.Permissions, []string{"view", "edit"}) {
		t.Errorf("later it is %+v, %v", got, err)
	}
	r.now = r.now.Add(2*time.Hour + time.Second)
	b.nobody(r, "after its time")

	late := r.portal(r.caller(r.admin), session.PortalInput{Scope: "acme"})
	r.now = r.now.Add(session.ClaimWithin + time.Second)
	if _, err := b.exchange(r, late.Token); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		t.Errorf("a token that was left lying: %v", err)
	}
	ended := r.portal(r.caller(r.admin), session.PortalInput{Scope: "acme"})
	if _, err := b.exchange(r, ended.Token); err != nil {
		t.Fatal(err)
	}
	if err := r.DeletePortal(t.Context(), r.caller(r.admin), ended.ID); err != nil {
		t.Fatal(err)
	}
	b.nobody(r, "after it was taken back")
}

// TestATokenIsExchangedOnce, also by two browsers at the same time.
func TestATokenIsExchangedOnce(t *testing.T) {
	r := newRig(t)
	v := r.portal(r.caller(r.admin), session.PortalInput{Scope: "acme"})
	var won atomic.Int64
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			if _, err := r.Exchange(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), v.Token); err == nil {
				won.Add(1)
			}
		})
	}
	wait.Wait()
	if won.Load() != 1 {
		t.Errorf("%d browsers were let in", won.Load())
	}
}

// TestAPortalIsNeverMoreThanItsKey: not when it is made, and not later.
func TestAPortalIsNeverMoreThanItsKey(t *testing.T) {
	r := newRig(t)
	k := r.key("acme", "manage")
	c := r.caller(k.Token)
	for says, in := range map[string]session.PortalInput{
		"another tenant": {Scope: "other"}, "the tenant of somebody else's owner": {Scope: "acme/x", OwnerScope: new("other/users/1")},
		"above": {Scope: ""}, "no scope at all": {Scope: "a//b"}, "an unknown permission": {Scope: "acme", Permissions: []string{"admin"}},
		"secrets alone": {Scope: "acme", Permissions: []string{"secrets"}}, "a page that is a script": {Scope: "acme", Return: "javascript:alert(1)"},
		"a page without a host": {Scope: "acme", Return: "/x"}, "an endless session": {Scope: "acme", TTL: new(patchbay.Duration(25 * time.Hour))},
		"a session of no time": {Scope: "acme", TTL: new(patchbay.Duration(0))}, "a user of two lines": {Scope: "acme", User: "a\nb"},
	} {
		if v, err := r.CreatePortal(t.Context(), c, in); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest && patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("%s: %+v, %v", says, v, err)
		}
	}
	if _, err := r.CreatePortal(t.Context(), r.caller(r.key("acme", "read").Token), session.PortalInput{Scope: "acme"}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("a key that may not manage: %v", err)
	}
	v := r.portal(c, session.PortalInput{Scope: "acme/teams/1"})
	var b browser
	if _, err := b.exchange(r, v.Token); err != nil {
		t.Fatal(err)
	}
	if c, _, err := r.Caller(b.request()); err != nil || !c.May(access.Secrets) {
		t.Errorf("the portal is %+v, %v", c, err)
	}
	foreign := r.caller(r.key("other", "admin").Token)
	if _, err := r.Portal(t.Context(), foreign, v.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("another tenant sees it: %v", err)
	}
	if err := r.DeletePortal(t.Context(), foreign, v.ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("another tenant ends it: %v", err)
	}
	if views, more, err := r.Portals(t.Context(), foreign, session.PortalFilter{Limit: 10}); err != nil || len(views) != 0 || more {
		t.Errorf("another tenant lists %v, %v", views, err)
	}
	if err := r.keys.Delete(t.Context(), r.caller(r.admin), k.ID); err != nil {
		t.Fatal(err)
	}
	b.nobody(r, "after the key that made it was deleted")
}

// TestHandoffEndsWithItsPortal: whoever takes a portal back takes back what was handed off from it, claimed or not, and what
// was handed off from that.
func TestHandoffEndsWithItsPortal(t *testing.T) {
	r := newRig(t)
	v := r.portal(r.caller(r.admin), session.PortalInput{Scope: "acme", Permissions: []string{"view", "edit"}})
	var frame, tab, third browser
	if _, err := frame.exchange(r, v.Token); err != nil {
		t.Fatal(err)
	}
	hand := func(b *browser) string {
		c, _, err := r.Caller(b.request())
		if err != nil {
			t.Fatal(err)
		}
		token, err := r.Handoff(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if _, err := tab.exchange(r, hand(&frame)); err != nil {
		t.Fatal(err)
	}
	if _, err := third.exchange(r, hand(&tab)); err != nil {
		t.Fatal(err)
	}
	if c, _, err := r.Caller(third.request()); err != nil || len(c.Permissions) != 2 || !c.May(access.Manage) || c.May(access.Secrets) {
		t.Fatalf("it is %+v, %v", c, err)
	}
	unclaimed := hand(&frame)
	views, _, err := r.Portals(t.Context(), r.caller(r.admin), session.PortalFilter{Limit: 10})
	if err != nil || len(views) != 4 || !slices.Equal(views[1].Permissions, []string{"view", "edit"}) {
		t.Errorf("they show as %+v, %v", views, err)
	}
	if err := r.DeletePortal(t.Context(), r.caller(r.admin), v.ID); err != nil {
		t.Fatal(err)
	}
	tab.nobody(r, "handed off, after the portal was taken back")
	third.nobody(r, "handed off twice, after the portal was taken back")
	var late browser
	if _, err := late.exchange(r, unclaimed); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		t.Errorf("a token from before: %v", err)
	}
}

// TestList goes through portal sessions page by page.
func TestList(t *testing.T) {
	r := newRig(t)
	admin := r.caller(r.admin)
	for i := range 5 {
		r.portal(admin, session.PortalInput{Scope: fmt.Sprintf("acme/teams/%d", i%2), User: fmt.Sprintf("u%d", i)})
	}
	var b browser
	if err := b.signIn(r, r.admin); err != nil { // an operator's is none of them
		t.Fatal(err)
	}
	var users []string
	f := session.PortalFilter{Limit: 2}
	for {
		views, more, err := r.Portals(t.Context(), admin, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range views {
			users = append(users, v.User)
			f.After = v.ID
		}
		if !more {
			break
		}
	}
	if !slices.Equal(users, []string{"u0", "u1", "u2", "u3", "u4"}) {
		t.Errorf("they are of %v", users)
	}
	scope := patchbay.Scope("acme/teams/1")
	views, _, err := r.Portals(t.Context(), admin, session.PortalFilter{Scope: &scope, Limit: 10})
	if err != nil || len(views) != 2 {
		t.Errorf("of one team: %v, %v", views, err)
	}
	text, err := json.Marshal(views)
	if err != nil || strings.Contains(string(text), "pbt_") {
		t.Errorf("a list shows a token: %s", text)
	}
}

// TestAnOperatorInAPortal sees what the customer sees, and is an operator again after leaving it.
func TestAnOperatorInAPortal(t *testing.T) {
	r := newRig(t)
	var b browser
	if err := b.signIn(r, r.admin); err != nil {
		t.Fatal(err)
	}
	if _, err := b.exchange(r, r.portal(r.caller(r.admin), session.PortalInput{Scope: "acme"}).Token); err != nil {
		t.Fatal(err)
	}
	if c, _, err := r.Caller(b.request()); err != nil || !c.Portal || c.May(access.Admin) {
		t.Errorf("in the portal it is %+v, %v", c, err)
	}
	if err := b.do(r.SignOut); err != nil {
		t.Fatal(err)
	}
	if c, _, err := r.Caller(b.request()); err != nil || c.Portal || !c.May(access.Admin) {
		t.Errorf("after it: %+v, %v", c, err)
	}
	// An operator's cookie in the portal's place, and the other way round, lets nobody in.
	swapped := browser{jar: []*http.Cookie{{Name: "__Host-patchbay-portal", Value: b.jar[0].Value}}}
	swapped.nobody(r, "an operator's cookie as a portal's")
}

// TestDevelopment lets everybody on the machine in, over plain HTTP too.
func TestDevelopment(t *testing.T) {
	r := newRig(t, func(o *session.Options) { o.Development, o.PublicURL = true, "http://127.0.0.1:8080" })
	var b browser
	if c, v, err := r.Caller(b.request()); err != nil || !c.May(access.Admin) || v.Portal {
		t.Errorf("it is %+v, %v", c, err)
	}
	if _, err := b.exchange(r, r.portal(r.caller(r.admin), session.PortalInput{Scope: "acme"}).Token); err != nil {
		t.Fatal(err)
	}
	if c := b.jar[0]; c.Name != "patchbay-portal" || c.Secure || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie over plain HTTP is %+v", c)
	}
	if c, _, err := r.Caller(b.request()); err != nil || !c.Portal {
		t.Errorf("in the portal it is %+v, %v", c, err)
	}
}

// TestALostDatabase is said as such, and never taken for nobody.
func TestALostDatabase(t *testing.T) {
	r := newRig(t)
	var b browser
	if err := b.signIn(r, r.admin); err != nil {
		t.Fatal(err)
	}
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Caller(b.request()); err == nil || patchbay.CodeOf(err) == patchbay.CodeUnauthorized {
		t.Errorf("without a database: %v", err)
	}
	if _, err := r.CreatePortal(context.Background(), r.caller(r.admin), session.PortalInput{Scope: "acme"}); err == nil {
		t.Error("a portal was made without a database")
	}
}
