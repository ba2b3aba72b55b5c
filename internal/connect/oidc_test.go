package connect

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/nodetest"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// oidcThing is an integration of the strict authorization server.
func oidcThing(key, base string, change func(*integration.OAuth2)) *thing {
	return &thing{key: key, how: func() (*integration.Connect, error) {
		o := &integration.OAuth2{
			ClientID: testClient, ClientSecret: testSecret, AuthURL: base + "/auth", TokenURL: base + "/token", RevokeURL: base + "/token/revocation",
			Scopes: []string{"openid", "profile", "offline_access"}, Params: map[string]string{"prompt": "consent"}, Issuer: base,
		}
		if change != nil {
			change(o)
		}
		return &integration.Connect{OAuth2: o}, nil
	}, identify: identifyAt(base + "/me")}
}

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	formPrompt = regexp.MustCompile(`name="prompt" value="([a-z]+)"`)
)

// signIn goes through the server's pages as a person would: signs in, and consents.
func (b *browser) signIn(address, login string) url.Values {
	b.t.Helper()
	resp, body := b.get(address)
	for range 5 {
		if back, err := resp.Location(); err == nil && strings.HasPrefix(back.String(), testPublic) {
			return back.Query()
		}
		action, prompt := formAction.FindStringSubmatch(body), formPrompt.FindStringSubmatch(body)
		if action == nil || prompt == nil {
			break
		}
		form := url.Values{"prompt": {prompt[1]}, "login": {login}, "password": {"any"}}
		to, err := resp.Request.URL.Parse(html.UnescapeString(action[1]))
		if err != nil {
			b.t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(b.t.Context(), "POST", to.String(), strings.NewReader(form.Encode()))
		if err != nil {
			b.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, body = b.do(req)
	}
	b.t.Fatalf("%s answered %d:\n%s", resp.Request.URL, resp.StatusCode, body)
	return nil
}

// oidcStats is what the server counted.
type oidcStats struct {
	Refreshed, Reused, Revoked int
	Errors                     []string
}

func statsOf(t *testing.T, base string) oidcStats {
	t.Helper()
	_, body := newBrowser(t).get(base + "/test/stats")
	var s oidcStats
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return s
}

func startOIDC(t *testing.T, key string, lasts string) string {
	return nodetest.Start(t, "oidc.mjs", testClient, testSecret, testPublic+"/auth/"+key+"/callback", lasts).URL
}

// Against oidc-provider, which requires PKCE, compares redirect addresses exactly, sends iss, rotates refresh tokens and
// ends the grant of one that is used twice: consent, use, renewal, reconnecting as somebody else, and taking back.
func TestStrictServer(t *testing.T) {
	base := startOIDC(t, "thing", "3600")
	r := newRig(t, oidcThing("thing", base, nil), oidcThing("elsewhere", base, nil),
		oidcThing("plain", base, func(o *integration.OAuth2) { o.NoPKCE = "to see that the server refuses it" }))
	connect := func(login string, in Start) (*Finished, error) {
		t.Helper()
		to, err := r.Begin(t.Context(), ann(), in)
		if err != nil {
			t.Fatal(err)
		}
		return r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: newBrowser(t).signIn(to.URL, login), Cookie: to.Cookie})
	}
	f, err := connect("u1", Start{Integration: "thing", Return: "/back"})
	if err != nil {
		t.Fatal(err)
	}
	v := f.Connection
	if !f.Created || v.Account.ID != "u1" || v.Account.Name != "Account u1" || v.ExpiresAt == nil || strings.Join(v.Grants, " ") != "openid profile offline_access" {
		t.Errorf("%+v", v)
	}

	// Everything that does not fit is refused by the server.
	for key, says := range map[string]string{"elsewhere": "redirect_uri", "plain": "PKCE"} {
		to, err := r.Begin(t.Context(), ann(), Start{Integration: key})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(to.URL)
		if err != nil {
			t.Fatal(err)
		}
		if key == "plain" { // its own address is registered for another key
			q := u.Query()
			q.Set("redirect_uri", testPublic+"/auth/thing/callback")
			u.RawQuery = q.Encode()
		}
		resp, body := newBrowser(t).get(u.String())
		if back, err := resp.Location(); err == nil {
			body = back.Query().Get("error_description")
		}
		if !strings.Contains(body, says) {
			t.Errorf("%s: %d %s", key, resp.StatusCode, body)
		}
	}

	// Renewal.
	before, err := r.Use(t.Context(), v.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.clock.add(time.Hour)
		if _, err := r.Use(t.Context(), v.ID, "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := r.Check(t.Context(), ann(), v.ID); err != nil || got.State != patchbay.ConnectionActive {
		t.Errorf("%+v %v", got, err)
	}
	if s := statsOf(t, base); s.Refreshed != 3 || s.Reused != 0 || s.Revoked != 0 {
		t.Errorf("%+v", s)
	}

	// Another account takes nobody's place.
	_, err = connect("u2", Start{Integration: "thing", Reconnect: v.ID})
	refused(t, err, patchbay.CodeConflict, "Account u2 (u2)")
	if f, err = connect("u1", Start{Integration: "thing", Reconnect: v.ID}); err != nil || f.Created || f.Connection.ID != v.ID {
		t.Fatal(f, err)
	}

	// A refresh token that somebody else has used ends the grant: its owner must come.
	stolen := r.stored(v.ID).Credentials.Refresh
	p, err := r.partner("thing")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.token(t.Context(), p, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {stolen.Reveal()}}, nil); err != nil {
		t.Fatal(err)
	}
	r.clock.add(time.Hour)
	_, err = r.Use(t.Context(), v.ID, "acme")
	refused(t, err, patchbay.CodeUserConfigurationError, "invalid_grant")
	if s := statsOf(t, base); s.Reused != 1 || s.Revoked == 0 || len(r.told()) != 1 {
		t.Errorf("%+v", s)
	}

	// Deleting takes it back.
	if f, err = connect("u1", Start{Integration: "thing"}); err != nil || f.Connection.State != patchbay.ConnectionActive {
		t.Fatal(f, err)
	}
	con := r.stored(v.ID)
	if d, err := r.Delete(t.Context(), ann(), v.ID, false); err != nil || !d.Revoked || d.Notice != "" {
		t.Errorf("%+v %v", d, err)
	}
	_, err = r.token(t.Context(), p, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {con.Credentials.Refresh.Reveal()}}, nil)
	if err == nil {
		t.Error("the refresh token still works")
	}
	for _, secret := range append(con.Credentials.Secrets(), before.Credentials.Access.Reveal(), stolen.Reveal(), testSecret) {
		if strings.Contains(r.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// Two nodes at one PostgreSQL renew one token a thousand times at oidc-provider.
func TestThousandRefreshesAtStrictServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	base := startOIDC(t, "thing", "3600")
	url := pgtest.Shared(t).Database(t)
	c := &clock{at: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	node := func(name string) *rig {
		db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return rigAt(t, db, c, oidcThing("thing", base, nil))
	}
	a := node("a")
	to, err := a.Begin(t.Context(), ann(), Start{Integration: "thing"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: newBrowser(t).signIn(to.URL, "u1"), Cookie: to.Cookie})
	if err != nil {
		t.Fatal(err)
	}
	id := f.Connection.ID
	b := node("b")
	began := a.stored(id).Revision
	const n = 1000
	hammer(t, id, []*Service{a.Service, b.Service}, func() int {
		// A revision is a refresh, or the end of a lease under which there was nothing to do any more.
		if revisions := a.stored(id).Revision - began; revisions < n {
			return revisions
		}
		return statsOf(t, base).Refreshed
	}, n)
	s := statsOf(t, base)
	if s.Refreshed < n || s.Reused != 0 || s.Revoked != 0 || len(s.Errors) > 0 {
		t.Errorf("%+v", s)
	}
	if got, err := b.Check(t.Context(), ann(), id); err != nil || got.State != patchbay.ConnectionActive {
		t.Errorf("%+v %v", got, err)
	}
	if len(a.told())+len(b.told()) > 0 {
		t.Error("somebody was told that it needs its owner")
	}
}
