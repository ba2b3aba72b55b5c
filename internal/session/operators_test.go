package session_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/session"
)

const issuer = "https://id.example.com"

func (b *browser) signInAs(r *rig, id session.Identity) error {
	return b.do(func(w http.ResponseWriter, req *http.Request) error {
		req = req.WithContext(access.WithOrigin(req.Context(), access.Origin{Via: "web", Address: "192.0.2.7", Agent: strings.Repeat("ü", 200)}))
		return r.SignInAs(w, req, id)
	})
}

// again is the service after a restart.
func (r *rig) again(change func(*session.Options)) *session.Service {
	o := session.Options{Store: r.db, Keys: r.keys, PublicURL: "https://hooks.example.com", Now: func() time.Time { return r.now }}
	change(&o)
	return session.New(o)
}

func ann(role access.Role, scope patchbay.Scope) session.Identity {
	return session.Identity{Issuer: issuer, Subject: "u1", Name: "ann@example.com", Role: role, Scope: scope}
}

// TestSignInAs: whom the provider vouches for may do what the role may, in its scope, until twelve hours are over, the session is
// ended, or another provider is configured; also after a restart.
func TestSignInAs(t *testing.T) {
	r := newRig(t, func(o *session.Options) { o.Issuer = issuer })
	for _, tc := range []struct {
		role                       access.Role
		read, manage, admin, write bool
	}{{access.RoleViewer, true, false, false, false}, {access.RoleOperator, true, true, false, true}, {access.RoleAdmin, true, true, true, true}} {
		b := &browser{}
		if err := b.signInAs(r, ann(tc.role, "acme")); err != nil {
			t.Fatal(err)
		}
		c, v, err := r.Caller(b.request())
		if err != nil {
			t.Fatal(err)
		}
		if c.Scope != "acme" || c.May(access.Read) != tc.read || c.May(access.Manage) != tc.manage || c.May(access.Admin) != tc.admin || c.May(access.Publish) != tc.write || c.Portal {
			t.Errorf("%s: %+v", tc.role, c)
		}
		if v.Name != "ann@example.com" || v.Role != tc.role || c.Known != v.Name || c.ID() != issuer+" u1" {
			t.Errorf("%s: %+v, %+v, %q", tc.role, v, c, c.ID())
		}
	}
	for name, id := range map[string]session.Identity{
		"no role": ann("", ""), "no such role": ann("root", ""), "another issuer": {Issuer: "https://evil.test", Subject: "u1", Role: access.RoleAdmin},
		"nobody": {Issuer: issuer, Role: access.RoleAdmin}, "no issuer": {Subject: "u1", Role: access.RoleAdmin},
	} {
		b := &browser{}
		if err := b.signInAs(r, id); patchbay.CodeOf(err) != patchbay.CodeForbidden || len(b.jar) != 0 {
			t.Errorf("%s: %v, %v", name, err, b.jar)
		}
	}

	b := &browser{}
	if err := b.signInAs(r, ann(access.RoleAdmin, "")); err != nil {
		t.Fatal(err)
	}
	if c, _, err := r.again(func(o *session.Options) { o.Issuer = issuer }).Caller(b.request()); err != nil || c.User != "ann@example.com" {
		t.Errorf("after a restart: %+v, %v", c, err)
	}
	for _, other := range []string{"", "https://elsewhere.example.com"} {
		if _, _, err := r.again(func(o *session.Options) { o.Issuer = other }).Caller(b.request()); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
			t.Errorf("with the issuer %q: %v", other, err)
		}
	}
	r.now = r.now.Add(12*time.Hour + time.Second)
	b.nobody(r, "after twelve hours")
}

// TestNoFixation: signing in gives a cookie that nobody knew, and ends what the browser had before.
func TestNoFixation(t *testing.T) {
	r := newRig(t, func(o *session.Options) { o.Issuer = issuer })
	b := &browser{}
	if err := b.signIn(r, r.admin); err != nil {
		t.Fatal(err)
	}
	before := &browser{jar: slices.Clone(b.jar)}
	if err := b.signInAs(r, ann(access.RoleViewer, "")); err != nil {
		t.Fatal(err)
	}
	before.nobody(r, "the cookie from before")
	planted := &browser{jar: []*http.Cookie{{Name: b.jar[0].Name, Value: "planted"}}}
	if err := planted.signIn(r, r.admin); err != nil {
		t.Fatal(err)
	}
	for _, c := range planted.jar {
		if c.Value == "planted" {
			t.Error("the planted cookie is kept")
		}
	}
	(&browser{jar: []*http.Cookie{{Name: b.jar[0].Name, Value: "planted"}}}).nobody(r, "the planted cookie")
}

// TestSessions: who looks after an installation, or a part of it, sees who is signed in there, and ends it at once.
func TestSessions(t *testing.T) {
	r := newRig(t, func(o *session.Options) { o.Issuer = issuer })
	admin := r.caller(r.admin)
	key := r.key("acme", "admin")
	people := map[string]*browser{"key": {}, "ann": {}, "bob": {}}
	for _, err := range []error{
		people["key"].signIn(r, key.Token), people["ann"].signInAs(r, ann(access.RoleOperator, "")),
		people["bob"].signInAs(r, session.Identity{Issuer: issuer, Subject: "u2", Name: "bob@example.com", Role: access.RoleViewer, Scope: "other"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	portal := r.portal(r.caller(key.Token), session.PortalInput{Scope: "acme/teams/42", User: "carol"})
	list := func(c *access.Caller, f session.SessionFilter) (names []string, views []session.SessionView) {
		t.Helper()
		f.Limit = 2
		for {
			page, more, err := r.Sessions(t.Context(), c, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range page {
				names = append(names, v.Name)
			}
			views = append(views, page...)
			if !more {
				return names, views
			}
			f.After = page[len(page)-1].ID
		}
	}
	yes, no := true, false
	other := patchbay.Scope("other")
	for want, f := range map[string]session.SessionFilter{
		"key …" + key.Hint + " ann@example.com bob@example.com carol": {}, "carol": {Portal: &yes}, "key …" + key.Hint + " ann@example.com bob@example.com": {Portal: &no}, "bob@example.com": {Scope: &other},
	} {
		if got, _ := list(admin, f); strings.Join(got, " ") != want {
			t.Errorf("%+v: %v, want %s", f, got, want)
		}
	}
	_, all := list(admin, session.SessionFilter{})
	if v := all[1]; v.Via != issuer || v.Subject != "u1" || v.Role != access.RoleOperator || v.Address != "192.0.2.7" || len(v.Agent) != 200 || v.Key != nil || v.Portal || v.ExpiresAt.Sub(v.CreatedAt) != 12*time.Hour {
		t.Errorf("%+v", v)
	}
	if v := all[0]; v.Via != session.ViaKey || v.Key == nil || *v.Key != key.ID || v.Role != access.RoleAdmin {
		t.Errorf("%+v", v)
	}

	// Only within one's own scope, and only with the permission.
	within, _, err := r.Caller(people["key"].request())
	if err != nil {
		t.Fatal(err)
	}
	got, views := list(within, session.SessionFilter{})
	if strings.Join(got, " ") != "key …"+key.Hint+" carol" || !views[0].Current || views[1].Current {
		t.Errorf("an administrator of acme sees %v", got)
	}
	if _, _, err := r.Sessions(t.Context(), within, session.SessionFilter{Scope: &other, Limit: 1}); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("of another scope: %v", err)
	}
	if err := r.EndSession(t.Context(), within, all[2].ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("ending one of another scope: %v", err)
	}
	operator, _, err := r.Caller(people["ann"].request())
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"listing": func() error {
			_, _, err := r.Sessions(t.Context(), operator, session.SessionFilter{Limit: 1})
			return err
		}(),
		"ending":       r.EndSession(t.Context(), operator, all[2].ID),
		"those of key": func() error { _, _, err := r.OfKey(t.Context(), operator, key.ID, 1); return err }(),
	} {
		if patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("%s without the permission: %v", what, err)
		}
	}

	// What ends with a key, and what does end then.
	views, more, err := r.OfKey(t.Context(), admin, key.ID, 1)
	if err != nil || !more || len(views) != 1 {
		t.Errorf("of the key: %+v, %v, %v", views, more, err)
	}
	if err := r.EndSession(t.Context(), admin, portal.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.EndSession(t.Context(), admin, all[1].ID); err != nil {
		t.Fatal(err)
	}
	people["ann"].nobody(r, "a session that was ended")
	if err := r.EndSession(t.Context(), admin, all[1].ID); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("ending it again: %v", err)
	}
	if err := r.keys.Delete(context.Background(), admin, key.ID); err != nil {
		t.Fatal(err)
	}
	people["key"].nobody(r, "a session whose key is gone")
	if got, _ := list(admin, session.SessionFilter{}); strings.Join(got, " ") != "bob@example.com" {
		t.Errorf("at the end there are %v", got)
	}
}
