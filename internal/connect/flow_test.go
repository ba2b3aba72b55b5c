package connect

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/outbound"
)

// An account is connected, its credentials can be used below its scope, and nothing secret is shown.
func TestConnect(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	own := patchbay.Scope("acme/users/ann")
	c := ann()
	c.OwnerScope = &own
	f := r.connect(c, Start{Integration: "thing", Return: "/integrations/thing/link?scope=acme"})
	v := f.Connection
	if !f.Created || f.Return != "/integrations/thing/link?scope=acme" || v.Account != (patchbay.Account{ID: "1", Name: "account 1"}) || v.Scope != "acme" ||
		v.Owner != "ann" || *v.OwnerScope != own || v.State != patchbay.ConnectionActive || strings.Join(v.Grants, " ") != "read write" {
		t.Errorf("%+v", v)
	}
	if want := r.now().Add(time.Hour); v.ExpiresAt == nil || !v.ExpiresAt.Equal(want) {
		t.Errorf("it ends at %v, want %v", v.ExpiresAt, want)
	}
	con, err := r.Use(t.Context(), v.ID, "acme/repos/1")
	if err != nil || con.Credentials.Access == "" || con.Account.ID != "1" {
		t.Fatal(con, err)
	}
	if _, err := r.Use(t.Context(), v.ID, "other"); patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError {
		t.Errorf("a link of another scope: %v", err)
	}
	raw, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	r.silent(string(raw))
	bare, ok := r.Known(v.ID)
	if !ok || len(bare.Credentials.Secrets()) > 0 {
		t.Errorf("%+v", bare)
	}
	if all := r.ByAccount("thing", "1"); len(all) != 1 || all[0].ID != v.ID || len(all[0].Credentials.Secrets()) > 0 {
		t.Errorf("%+v", all)
	}
	if all := r.ByAccount("thing", "2"); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// The same account of the same owner in the same scope renews its connection; everything else makes another one.
func TestSameAccount(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil), oauth2Thing("thing2", p.URL, nil))
	first := r.connect(ann(), Start{Integration: "thing"}).Connection
	if _, err := r.Update(t.Context(), ann(), first.ID, Input{Name: new("Work")}, nil, ""); err != nil {
		t.Fatal(err)
	}
	p.end()
	if con := r.stored(first.ID); con.State != patchbay.ConnectionActive {
		t.Fatal(con.State)
	}
	r.clock.add(time.Hour)
	if _, err := r.Use(t.Context(), first.ID, "acme"); patchbay.CodeOf(err) != patchbay.CodeUserConfigurationError {
		t.Fatal(err)
	}
	again := r.connect(ann(), Start{Integration: "thing"})
	if again.Created || again.Connection.ID != first.ID || again.Connection.State != patchbay.ConnectionActive || again.Connection.Name != "Work" || again.Connection.StateReason != nil {
		t.Errorf("%+v", again.Connection)
	}
	if _, err := r.Use(t.Context(), first.ID, "acme"); err != nil {
		t.Error(err)
	}
	bob := ann()
	bob.User = "bob"
	lower := patchbay.Scope("acme/teams/1")
	p.set(func() { p.account = "2" })
	other := r.connect(ann(), Start{Integration: "thing"})
	p.set(func() { p.account = "1" })
	for name, f := range map[string]*Finished{
		"another account":     other,
		"another owner":       r.connect(bob, Start{Integration: "thing"}),
		"another scope":       r.connect(ann(), Start{Integration: "thing", Scope: &lower}),
		"another integration": r.connect(ann(), Start{Integration: "thing2"}),
	} {
		if !f.Created || f.Connection.ID == first.ID {
			t.Errorf("%s: %+v", name, f.Connection)
		}
	}
	if con := r.stored(first.ID); con.Account.ID != "1" {
		t.Errorf("the account is %s", con.Account.ID)
	}
}

// With Reconnect only the same account is taken.
func TestReconnect(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	lower := patchbay.Scope("acme/teams/1")
	first := r.connect(ann(), Start{Integration: "thing", Scope: &lower}).Connection
	before := r.stored(first.ID)

	p.set(func() { p.account = "2" })
	to, q := r.begin(operator(), Start{Integration: "thing", Reconnect: first.ID, Return: "/back"})
	f, err := r.Finish(t.Context(), operator(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
	refused(t, err, patchbay.CodeConflict, "account 1 (1)")
	refused(t, err, patchbay.CodeConflict, "account 2 (2)")
	if f == nil || f.Connection != nil || f.Return != "/back" {
		t.Errorf("%+v", f)
	}
	after := r.stored(first.ID)
	if after.Revision != before.Revision || after.Credentials.Access != before.Credentials.Access || len(r.ByAccount("thing", "2")) > 0 {
		t.Error("something was replaced")
	}

	p.set(func() { p.account = "1" })
	f = r.connect(operator(), Start{Integration: "thing", Reconnect: first.ID})
	v := f.Connection
	if f.Created || v.ID != first.ID || v.Owner != "ann" || v.Scope != lower || r.stored(v.ID).Credentials.Access == before.Credentials.Access {
		t.Errorf("%+v", v)
	}
}

// Whoever comes back must be who left: the same browser, the same session and user, once, in time, to the same integration.
func TestStolenSignIns(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil), oauth2Thing("thing2", p.URL, nil))
	other := func(change func(*access.Caller)) *access.Caller {
		c := ann()
		change(c)
		return c
	}
	for name, try := range map[string]func(c *access.Caller, in *Callback) *access.Caller{
		"no cookie":           func(c *access.Caller, in *Callback) *access.Caller { in.Cookie = ""; return c },
		"another browser":     func(c *access.Caller, in *Callback) *access.Caller { in.Cookie = random(); return c },
		"another state":       func(c *access.Caller, in *Callback) *access.Caller { in.Query.Set("state", random()); return c },
		"no state":            func(c *access.Caller, in *Callback) *access.Caller { in.Query.Del("state"); return c },
		"two states":          func(c *access.Caller, in *Callback) *access.Caller { in.Query.Add("state", random()); return c },
		"another integration": func(c *access.Caller, in *Callback) *access.Caller { in.Integration = "thing2"; return c },
		"another session":     func(*access.Caller, *Callback) *access.Caller { return other(func(c *access.Caller) { c.Session++ }) },
		"another user": func(*access.Caller, *Callback) *access.Caller {
			return other(func(c *access.Caller) { c.User = "bob" })
		},
		"another scope": func(*access.Caller, *Callback) *access.Caller {
			return other(func(c *access.Caller) { c.Scope = "acme/x" })
		},
		"another portal": func(*access.Caller, *Callback) *access.Caller {
			return other(func(c *access.Caller) { c.Scope = "other" })
		},
		"a program": func(*access.Caller, *Callback) *access.Caller {
			return other(func(c *access.Caller) { c.Session = 0; c.Key = 7 })
		},
		"longer than ten minutes": func(c *access.Caller, _ *Callback) *access.Caller { r.clock.add(flowTime + time.Second); return c },
	} {
		t.Run(name, func(t *testing.T) {
			to, q := r.begin(ann(), Start{Integration: "thing"})
			in := Callback{Integration: "thing", Query: q, Cookie: to.Cookie}
			asked := p.asked
			f, err := r.Finish(t.Context(), try(ann(), &in), in)
			if !errors.Is(err, errStale) || f != nil {
				t.Errorf("%v, %+v", err, f)
			}
			if p.asked != asked {
				t.Error("the partner was asked for tokens")
			}
		})
	}
	if all, _, err := r.List(t.Context(), operator(), ListFilter{Limit: 10}); err != nil || len(all) > 0 {
		t.Errorf("%v %v", all, err)
	}
	r.silent()
}

// A state works once, also when what came with it is refused.
func TestReplay(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	to, q := r.begin(ann(), Start{Integration: "thing"})
	in := Callback{Integration: "thing", Query: q, Cookie: to.Cookie}
	if _, err := r.Finish(t.Context(), ann(), in); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(t.Context(), ann(), in); !errors.Is(err, errStale) {
		t.Errorf("a second time: %v", err)
	}
	to, q = r.begin(ann(), Start{Integration: "thing"})
	in = Callback{Integration: "thing", Query: q}
	if _, err := r.Finish(t.Context(), ann(), in); !errors.Is(err, errStale) {
		t.Errorf("without the cookie: %v", err)
	}
	in.Cookie = to.Cookie
	if _, err := r.Finish(t.Context(), ann(), in); !errors.Is(err, errStale) {
		t.Errorf("with the cookie, after a try without: %v", err)
	}
	if len(r.ByAccount("thing", "1")) != 1 {
		t.Error("more than one connection")
	}
}

// A code that was given to somebody else's sign-in is worth nothing: PKCE.
func TestInjectedCode(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	p.set(func() { p.account = "victim" })
	bob := ann()
	bob.Session++
	_, stolen := r.begin(bob, Start{Integration: "thing"})
	to, q := r.begin(ann(), Start{Integration: "thing"})
	q.Set("code", stolen.Get("code"))
	_, err := r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
	refused(t, err, patchbay.CodeUserConfigurationError, "invalid_grant")
	r.silent(err.Error())
}

// Two sign-ins in two tabs of a browser both come back.
func TestTwoTabs(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	one, first := r.begin(ann(), Start{Integration: "thing"})
	two, second := r.begin(ann(), Start{Integration: "thing", Cookie: one.Cookie})
	if one.Cookie != two.Cookie {
		t.Error("the cookie of the first tab was replaced")
	}
	for _, q := range []url.Values{first, second} {
		if _, err := r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: two.Cookie}); err != nil {
			t.Error(err)
		}
	}
	three, err := r.Begin(t.Context(), ann(), Start{Integration: "thing", Cookie: "short"})
	if err != nil || three.Cookie == "short" {
		t.Errorf("%+v %v", three, err)
	}
}

// The answer must come from the right authorization server when it says who it is.
func TestMixUp(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, func(o *integration.OAuth2) { o.Issuer = "https://right.test" }))
	for _, iss := range []string{"https://wrong.test", "", "https://right.test/"} {
		p.set(func() { p.issuer = iss })
		to, q := r.begin(ann(), Start{Integration: "thing"})
		_, err := r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
		refused(t, err, patchbay.CodeUserConfigurationError, "(iss)")
		to, q = r.begin(ann(), Start{Integration: "thing"})
		q.Del("code")
		q.Set("error", "access_denied")
		_, err = r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
		refused(t, err, patchbay.CodeUserConfigurationError, "(iss)")
	}
	if p.asked > 0 {
		t.Error("a code was sent to the partner")
	}
	p.set(func() { p.issuer = "https://right.test" })
	r.connect(ann(), Start{Integration: "thing"})
}

// What a partner refuses with becomes a sentence, and leads back.
func TestRefusedConsent(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	for _, tc := range []struct{ query, says string }{
		{"error=access_denied&error_description=The+user+said+no", "Thing: access was not granted; nothing was connected"},
		{"error=invalid_scope&error_description=no+%22write%22.", `("no \"write\"")`},
		{"error=temporarily_unavailable", "try again later"},
		{"error=odd%0Athing%00", `it answered "odd thing"`},
		{"error=x&error_description=" + strings.Repeat("y", 5000), "yyy…"},
		{"", "without a code"},
		{"code=a&code=b", "without a code"},
	} {
		to, q := r.begin(ann(), Start{Integration: "thing", Return: "/back"})
		given, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		given.Set("state", q.Get("state"))
		f, err := r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: given, Cookie: to.Cookie})
		refused(t, err, patchbay.CodeUserConfigurationError, tc.says)
		if f == nil || f.Return != "/back" || len(err.Error()) > 600 {
			t.Errorf("%s: %+v %v", tc.query, f, err)
		}
	}
}

// Only paths of this installation are led back to, as browsers read them.
func TestReturn(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	for _, bad := range []string{
		"https://evil.test/", "//evil.test", "/\\evil.test", "\\/evil.test", "/\t/evil.test", "/\n/evil.test", "/ /evil.test", "evil.test", "javascript:alert(1)",
		"http:/x", "http:x", " /x", "/x\x00", "/x\x7f", "?x", "#x", ".", "/" + strings.Repeat("x", maxReturn), "/\xff", "/%zz", "///evil.test", "/x\r\nSet-Cookie: a=b",
	} {
		if _, err := r.Begin(t.Context(), ann(), Start{Integration: "thing", Return: bad}); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"", "/", "/settings/acme", "/integrations/slack/link?scope=a%2Fb&x=//y", "/a/../b#c", "/ü"} {
		if _, err := r.Begin(t.Context(), ann(), Start{Integration: "thing", Return: good}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// Who may begin, and where.
func TestWhoMayBegin(t *testing.T) {
	p := newPartner(t)
	broken := &thing{key: "broken", how: func() (*integration.Connect, error) {
		return nil, errors.New("integrations.broken.client_id is missing")
	}}
	r := newRig(t, oauth2Thing("thing", p.URL, nil), broken)
	elsewhere, below := patchbay.Scope("other"), patchbay.Scope("acme/x")
	viewer := ann()
	viewer.Permissions = []access.Permission{access.Read, access.Manage}
	foreign := r.connect(operator(), Start{Integration: "thing", Scope: &elsewhere}).Connection
	for name, tc := range map[string]struct {
		c    *access.Caller
		in   Start
		code patchbay.Code
		says string
	}{
		"nobody":                    {nil, Start{Integration: "thing"}, patchbay.CodeForbidden, "secrets"},
		"a portal without secrets":  {viewer, Start{Integration: "thing"}, patchbay.CodeForbidden, "secrets"},
		"another scope":             {ann(), Start{Integration: "thing", Scope: &elsewhere}, patchbay.CodeForbidden, `"other"`},
		"an unknown integration":    {ann(), Start{Integration: "nope"}, patchbay.CodeUnsupportedIntegration, `"nope"`},
		"one that is not set up":    {ann(), Start{Integration: "broken"}, patchbay.CodeMisconfiguredIntegration, "integrations.broken.client_id is missing"},
		"another portal's to renew": {ann(), Start{Integration: "thing", Reconnect: foreign.ID}, patchbay.CodeNotFound, foreign.ID.String()},
		"nothing to renew":          {ann(), Start{Integration: "thing", Reconnect: 99}, patchbay.CodeNotFound, "con_"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Begin(t.Context(), tc.c, tc.in)
			refused(t, err, tc.code, tc.says)
		})
	}
	if v := r.connect(ann(), Start{Integration: "thing", Scope: &below}).Connection; v.Scope != below {
		t.Errorf("%+v", v)
	}
	// The permission is taken away while the browser is at the partner.
	to, q := r.begin(ann(), Start{Integration: "thing"})
	_, err := r.Finish(t.Context(), viewer, Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
	refused(t, err, patchbay.CodeForbidden, "secrets")
}

// The redirect address is made of the configured public address alone.
func TestRedirectAddress(t *testing.T) {
	p := newPartner(t)
	for _, tc := range []struct {
		public      string
		development bool
		want, says  string
		cookie      string
	}{
		{public: testPublic, want: testPublic + "/auth/thing/callback", cookie: "__Host-patchbay-connect"},
		{public: testPublic + "/base/", want: testPublic + "/base/auth/thing/callback", cookie: "__Host-patchbay-connect"},
		{public: "http://localhost:8080", development: true, want: "http://localhost:8080/auth/thing/callback", cookie: "patchbay-connect"},
		{public: "", says: "set public-url"},
		{public: "http://hooks.example.test", says: "set public-url to an https:// address"},
	} {
		r := newRig(t, oauth2Thing("thing", p.URL, nil))
		r.o.PublicURL, r.o.Development = func() string { return tc.public }, tc.development
		m, err := r.Method("thing")
		to, beginErr := r.Begin(t.Context(), ann(), Start{Integration: "thing"})
		if tc.says != "" {
			refused(t, err, patchbay.CodeMisconfiguredIntegration, tc.says)
			refused(t, beginErr, patchbay.CodeMisconfiguredIntegration, tc.says)
			continue
		}
		if err != nil || beginErr != nil || !m.Browser || m.Redirect != tc.want {
			t.Fatalf("%+v %v %v", m, err, beginErr)
		}
		u, err := url.Parse(to.URL)
		if err != nil || u.Query().Get("redirect_uri") != tc.want {
			t.Errorf("%s %v", to.URL, err)
		}
		c := r.Cookie(to)
		if c.Name != tc.cookie || c.Secure != strings.HasPrefix(tc.public, "https") || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" ||
			c.MaxAge != 600 || c.Valid() != nil {
			t.Errorf("%+v", c)
		}
	}
}

// What a declaration says ends up in the address; what it must not change does not.
func TestAuthorizeAddress(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, func(o *integration.OAuth2) {
		o.AuthURL += "?tenant=1"
		o.Params = map[string]string{"audience": "api", "state": "fixed", "redirect_uri": "https://evil.test", "client_id": "x", "code_challenge": "x"}
	}), oauth2Thing("plain", p.URL, func(o *integration.OAuth2) { o.NoPKCE = "the partner refuses it"; o.Separator = ""; o.Params = nil }))
	for key, want := range map[string]string{"thing": "read,write", "plain": "read write"} {
		to, err := r.Begin(t.Context(), ann(), Start{Integration: key})
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(to.URL)
		q := u.Query()
		if q.Get("scope") != want || q.Get("client_id") != testClient || len(q["state"]) != 1 || len(q.Get("state")) != 43 || q.Get("redirect_uri") != testPublic+"/auth/"+key+"/callback" {
			t.Errorf("%s", to.URL)
		}
		if pkce := q.Get("code_challenge") != "" && q.Get("code_challenge") != "x"; pkce != (key == "thing") {
			t.Errorf("PKCE: %s", to.URL)
		}
		if key == "thing" && (q.Get("audience") != "api" || q.Get("tenant") != "1") {
			t.Errorf("%s", to.URL)
		}
	}
}

// Token endpoints are reached through the guard like everything else.
func TestGuardedTokenEndpoint(t *testing.T) {
	p := newPartner(t)
	r := newRig(t, oauth2Thing("thing", p.URL, nil))
	guarded := outbound.New(outbound.Options{})
	defer guarded.Close()
	r.o.Client = guarded
	to, q := r.begin(ann(), Start{Integration: "thing"})
	_, err := r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
	refused(t, err, patchbay.CodeMisconfiguredIntegration, "does not send to")
	if p.asked > 0 {
		t.Error("it was asked all the same")
	}
}
