package oidc_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/nodetest"
	"github.com/patchbay/patchbay/internal/oidc"
	"github.com/patchbay/patchbay/internal/store"
)

// Against oidc-provider, which requires PKCE, compares redirect addresses exactly, names itself in its answers and gives claims
// out at its userinfo endpoint only.
func TestStrictProvider(t *testing.T) {
	people, err := json.Marshal(map[string]any{
		"ann": map[string]any{"name": "Ann", "email": "ann@example.com", "email_verified": true, "groups": []string{"staff", "admins"}},
		"bob": map[string]any{"name": "Bob", "email": "Bob@Example.com", "email_verified": true, "groups": []string{"staff"}},
		"cid": map[string]any{"name": "Cid", "email": "cid@example.com", "email_verified": false},
		"dan": map[string]any{"name": "Dan"},
		"eve": map[string]any{"name": "Eve", "email": "eve@example.com", "email_verified": true, "groups": []string{"elsewhere"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	base := nodetest.Start(t, "signin.mjs", clientID, clientSecret, callback, string(people)).URL
	r := newRig(t, base, func(o *oidc.Options) {
		o.Rules = []oidc.Rule{
			{Value: "admins", Role: access.RoleAdmin}, {Value: "bob@example.com", Role: access.RoleOperator, Scope: "acme"}, {Value: "cid@example.com", Role: access.RoleAdmin},
		}
	})
	for login, want := range map[string]oidc.Person{
		"ann": {Name: "ann@example.com", Role: access.RoleAdmin},
		"bob": {Name: "Bob@Example.com", Role: access.RoleOperator, Scope: "acme"},
	} {
		got, err := r.signIn(login)
		want.Issuer, want.Subject, want.Back = base, login, "/events"
		if err != nil || *got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		r.forget()
	}
	for login, says := range map[string]string{"cid": "has not verified your e-mail address cid@example.com", "dan": "did not say your e-mail address", "eve": "nobody has given you a role here"} {
		got, err := r.signIn(login)
		refused(t, err, patchbay.CodeForbidden, says)
		if got == nil || got.Subject != login || got.Role != "" {
			t.Errorf("%s is %+v", login, got)
		}
		r.forget()
	}

	// What was used once is used up, at every node.
	s := r.begin("")
	q := r.visit(s.URL, "ann")
	if q.Get("iss") != base {
		t.Errorf("the answer says it comes from %q", q.Get("iss"))
	}
	other := oidc.New(r.o)
	if _, err := other.Finish(t.Context(), s.Cookie, q); err != nil {
		t.Fatalf("another node: %v", err)
	}
	_, err = r.Finish(t.Context(), s.Cookie, q)
	refused(t, err, patchbay.CodeUnauthorized, "does not know this sign-in any more") // the provider gives nothing for a code twice
	r.forget()

	// Nor does an answer that was brought to another browser, in another way, or without naming who gives it.
	s = r.begin("")
	q = r.visit(s.URL, "ann")
	for name, change := range map[string]func() (string, url.Values){
		"another browser": func() (string, url.Values) { return r.begin("").Cookie, q },
		"no cookie":       func() (string, url.Values) { return "", q },
		"a changed way back": func() (string, url.Values) {
			head, _, _ := strings.Cut(s.Cookie, ".")
			return head + ".Ly9ldmlsLnRlc3Q", q
		},
		"no state":   func() (string, url.Values) { return s.Cookie, with(q, "state") },
		"two states": func() (string, url.Values) { return s.Cookie, with(q, "state", q.Get("state"), q.Get("state")) },
	} {
		cookie, query := change()
		_, err := r.Finish(t.Context(), cookie, query)
		if patchbay.CodeOf(err) != patchbay.CodeInvalidRequest || !strings.Contains(err.Error(), "began in another browser") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = r.Finish(t.Context(), s.Cookie, with(q, "iss"))
	refused(t, err, patchbay.CodeUnauthorized, "does not say that it comes from")
	_, err = r.Finish(t.Context(), s.Cookie, with(q, "iss", "https://evil.test"))
	refused(t, err, patchbay.CodeUnauthorized, "does not say that it comes from")
	_, err = r.Finish(t.Context(), s.Cookie, with(with(q, "code"), "error", "access_denied"))
	refused(t, err, patchbay.CodeUnauthorized, "did not let you in")
	r.now = r.now.Add(oidc.Lasts + time.Second)
	_, err = r.Finish(t.Context(), s.Cookie, q)
	refused(t, err, patchbay.CodeInvalidRequest, "longer than ten minutes")
	r.now = r.now.Add(-oidc.Lasts - time.Second)

	// Only the operator can put a wrong secret right.
	wrong := newRig(t, base, func(o *oidc.Options) { o.ClientSecret = "not it" })
	_, err = wrong.signIn("ann")
	refused(t, err, patchbay.CodeUnavailable, "must check oidc-client-id and oidc-client-secret")
}

// with returns the query with other values of a parameter.
func with(q url.Values, name string, values ...string) url.Values {
	out := url.Values{}
	for k, v := range q {
		out[k] = v
	}
	if out[name] = values; len(values) == 0 {
		delete(out, name)
	}
	return out
}

// Against oauth2-mock-server, told to lie and to fail in the ways in which a provider, or whoever stands in its place, can.
func TestLyingProvider(t *testing.T) {
	base := nodetest.Start(t, "oauthmock.mjs").URL
	honest := func(more map[string]any) map[string]any {
		how := map[string]any{"claims": map[string]any{"email": "johndoe@example.com", "email_verified": true, "groups": []string{"admins"}}}
		for name, value := range more {
			if claims, ok := value.(map[string]any); ok && name == "claims" {
				for k, v := range claims {
					how["claims"].(map[string]any)[k] = v
				}
				continue
			}
			how[name] = value
		}
		return how
	}
	claim := func(name string, value any) map[string]any {
		return map[string]any{"claims": map[string]any{name: value}}
	}
	const distrust = "cannot be trusted"
	past := time.Now().Add(-time.Hour).Unix()
	for _, tc := range []struct {
		name string
		how  map[string]any
		code patchbay.Code // "" lets in
		says string
	}{
		{"honest", nil, "", ""},
		{"an issuer that is told", map[string]any{"iss": base}, "", ""},
		{"several audiences, made for us", map[string]any{"claims": map[string]any{"aud": []string{clientID, "other"}, "azp": clientID}}, "", ""},
		{"verified as text", claim("email_verified", "true"), "", ""},
		{"one group as text", claim("groups", "admins"), "", ""},
		{"another audience", claim("aud", "somebody else"), patchbay.CodeUnauthorized, distrust},
		{"another issuer", claim("iss", "https://evil.test"), patchbay.CodeUnauthorized, distrust},
		{"another nonce", claim("nonce", "guessed"), patchbay.CodeUnauthorized, "about another sign-in"},
		{"no nonce", claim("nonce", nil), patchbay.CodeUnauthorized, "about another sign-in"},
		{"no subject", claim("sub", nil), patchbay.CodeUnauthorized, "about another sign-in"},
		{"made for another client", claim("azp", "other"), patchbay.CodeUnauthorized, "about another sign-in"},
		{"several audiences, not said for which", claim("aud", []string{clientID, "other"}), patchbay.CodeUnauthorized, "about another sign-in"},
		{"expired", claim("exp", past), patchbay.CodeUnauthorized, distrust},
		{"no expiry", claim("exp", nil), patchbay.CodeUnauthorized, distrust},
		{"not valid yet", claim("nbf", time.Now().Add(time.Hour).Unix()), patchbay.CodeUnauthorized, distrust},
		{"about another access token", claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), patchbay.CodeUnauthorized, "does not belong together"},
		{"not signed", map[string]any{"sign": "none"}, patchbay.CodeUnauthorized, distrust},
		{"signed with the client's secret", map[string]any{"sign": "secret", "secret": clientSecret}, patchbay.CodeUnauthorized, distrust},
		{"signed by somebody else", map[string]any{"sign": "other"}, patchbay.CodeUnauthorized, distrust},
		{"no ID token", map[string]any{"drop": []string{"id_token"}}, patchbay.CodeUnauthorized, "sent no ID token"},
		{"no e-mail and no group", map[string]any{"claims": map[string]any{"email": nil, "groups": nil}}, patchbay.CodeForbidden, "did not say your e-mail address"},
		{"an unverified e-mail", map[string]any{"claims": map[string]any{"email_verified": false, "groups": nil}}, patchbay.CodeForbidden, "has not verified your e-mail"},
		{"not said whether verified", map[string]any{"claims": map[string]any{"email_verified": nil, "groups": nil}}, patchbay.CodeForbidden, "has not verified your e-mail"},
		{"groups that are none", claim("groups", map[string]any{"admins": true}), "", ""}, // by the e-mail address
		{"userinfo about somebody else", map[string]any{"claims": map[string]any{"email": nil}, "userinfo": map[string]any{"sub": "mallory", "email": "johndoe@example.com"}}, patchbay.CodeUnauthorized, "does not belong together"},
		{"userinfo verifies another address", map[string]any{"claims": map[string]any{"email_verified": nil, "groups": nil}, "userinfo": map[string]any{"email": "x@example.com", "email_verified": true}}, patchbay.CodeForbidden, "has not verified your e-mail"},
		{"another answers", map[string]any{"iss": "https://evil.test"}, patchbay.CodeUnauthorized, "does not say that it comes from"},
		{"invalid_grant", map[string]any{"status": 400, "body": map[string]any{"error": "invalid_grant"}}, patchbay.CodeUnauthorized, "begin again"},
		{"invalid_client", map[string]any{"status": 401, "body": map[string]any{"error": "invalid_client"}}, patchbay.CodeUnavailable, "must check oidc-client-id"},
		{"a failure", map[string]any{"status": 500, "text": "<html>oops"}, patchbay.CodeUnavailable, "cannot be asked who you are"},
		{"not JSON", map[string]any{"text": "<html>"}, patchbay.CodeUnavailable, "cannot be asked who you are"},
		{"a redirect", map[string]any{"status": 307, "text": ""}, patchbay.CodeUnavailable, "cannot be asked who you are"},
		{"endless", map[string]any{"text": `{"id_token":"` + strings.Repeat("x", 1<<21) + `"}`}, patchbay.CodeUnavailable, "cannot be asked who you are"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, base)
			behave(t, base, honest(tc.how))
			got, err := r.signIn("")
			if tc.code == "" {
				if err != nil || got.Role == "" || got.Subject != "johndoe" {
					t.Fatalf("%+v, %v", got, err)
				}
				return
			}
			refused(t, err, tc.code, tc.says)
			if tc.code != patchbay.CodeForbidden && got != nil {
				t.Errorf("somebody is %+v", got)
			}
			var e *patchbay.Error
			if !errors.As(err, &e) || len(e.Message) > 400 || strings.Contains(e.Message, "oops") {
				t.Errorf("people are told %q", e.Message)
			}
		})
	}

	// What is used up stays so even where the provider gives a code out twice, and a database that is away lets nobody in.
	r := newRig(t, base)
	behave(t, base, honest(nil))
	s := r.begin("")
	q := r.visit(s.URL, "")
	r.flows.fail = store.ErrUnavailable
	_, err := r.Finish(t.Context(), s.Cookie, q)
	refused(t, err, patchbay.CodeUnavailable, "the database cannot take writes")
}

// TestDown: a provider that is not there, or is another one than it seems, stops nobody for long, and is asked again.
func TestDown(t *testing.T) {
	var says http.HandlerFunc
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; says(w, r) }))
	defer server.Close()
	document := func(change map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			d := map[string]any{"issuer": server.URL, "authorization_endpoint": server.URL + "/authorize", "token_endpoint": server.URL + "/token", "jwks_uri": server.URL + "/keys"}
			for k, v := range change {
				d[k] = v
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(d)
		}
	}
	r := newRig(t, server.URL)
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"not there":           {http.NotFound, "cannot be asked who you are"},
		"not JSON":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "cannot be asked who you are"},
		"elsewhere":           {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "cannot be asked who you are"},
		"another one":         {document(map[string]any{"issuer": server.URL + "/"}), "set oidc-issuer to exactly that"},
		"no token endpoint":   {document(map[string]any{"token_endpoint": ""}), "its token_endpoint is not an address"},
		"a script for a page": {document(map[string]any{"authorization_endpoint": "javascript:alert(1)"}), "its authorization_endpoint is not an address"},
	} {
		t.Run(name, func(t *testing.T) {
			says = tc.answer
			r.now = r.now.Add(time.Minute)
			_, err := r.Begin(t.Context(), "", false)
			refused(t, err, patchbay.CodeUnavailable, tc.says)
		})
	}

	// Those who come at once do not ask one after the other.
	says = http.NotFound
	r.now = r.now.Add(time.Minute)
	before := asked
	for range 5 {
		if _, err := r.Begin(t.Context(), "", false); err == nil {
			t.Error("it began")
		}
	}
	if asked != before+1 {
		t.Errorf("it was asked %d times", asked-before)
	}

	// Once it is back it is believed for a while, also when it is away again.
	says = document(nil)
	r.now = r.now.Add(time.Minute)
	if _, err := r.Begin(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	says = http.NotFound
	r.now = r.now.Add(2 * time.Hour)
	if _, err := r.Begin(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.log.String(), "what it said before is used") {
		t.Errorf("the log says %q", r.log)
	}
}

// TestPrivateAddress: the provider is dialled through the guard.
func TestPrivateAddress(t *testing.T) {
	r := newRig(t, "http://169.254.169.254")
	_, err := r.Begin(t.Context(), "", false)
	refused(t, err, patchbay.CodeUnavailable, "the provider 169.254.169.254 cannot be asked")
	if !strings.Contains(err.Error(), "does not send to") {
		t.Errorf("the log gets %v", err)
	}
}
