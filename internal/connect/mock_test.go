package connect

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/nodetest"
)

// Against oauth2-mock-server, told to misbehave in the ways in which partners do: each becomes a sentence at consent, and a
// state at renewal.
func TestScriptedServer(t *testing.T) {
	base := nodetest.Start(t, "oauthmock.mjs").URL
	r := newRig(t, &thing{key: "thing", how: func() (*integration.Connect, error) {
		return &integration.Connect{OAuth2: &integration.OAuth2{ClientID: testClient, ClientSecret: testSecret, AuthURL: base + "/authorize",
			TokenURL: base + "/token", Scopes: []string{"openid"}, Issuer: base, SecretInBody: true}}, nil
	}, identify: identifyAt(base + "/userinfo")})
	behave := func(how map[string]any) {
		t.Helper()
		raw, err := json.Marshal(how)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/test/next", strings.NewReader(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		newBrowser(t).do(req)
	}
	consent := func() (*Finished, error) {
		t.Helper()
		to, q := r.begin(ann(), Start{Integration: "thing"})
		return r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
	}
	with := func(how map[string]any) map[string]any {
		if _, set := how["iss"]; !set {
			how["iss"] = base
		}
		return how
	}
	const leak = "s3cr3t-in-an-answer"
	secretful := map[string]any{"error": "server_error", "error_description": "the client " + testSecret + " is odd"}
	for _, tc := range []struct {
		name  string
		how   map[string]any
		code  patchbay.Code // at consent; "" works
		says  string
		state patchbay.ConnectionState // after a renewal
	}{
		{"invalid_grant", map[string]any{"status": 400, "body": map[string]any{"error": "invalid_grant", "error_description": "gone"}}, patchbay.CodeUserConfigurationError, `(invalid_grant): "gone"`, patchbay.ConnectionNeedsReauth},
		{"invalid_client", map[string]any{"status": 401, "body": map[string]any{"error": "invalid_client"}}, patchbay.CodeMisconfiguredIntegration, "the operator must check", patchbay.ConnectionDegraded},
		{"an error with status 200", map[string]any{"status": 200, "body": map[string]any{"error": "slow_down"}}, patchbay.CodeServiceError, `it answered "slow_down"`, patchbay.ConnectionDegraded},
		{"our own secret in an error", map[string]any{"status": 500, "body": secretful}, patchbay.CodeServiceError, "the client [redacted] is odd", patchbay.ConnectionDegraded},
		{"a failure", map[string]any{"status": 502, "text": leak, "type": "text/html"}, patchbay.CodeServiceError, "status 502", patchbay.ConnectionDegraded},
		{"not JSON", map[string]any{"text": "<html>" + leak, "type": "text/html"}, patchbay.CodeServiceError, "neither JSON nor a form", patchbay.ConnectionDegraded},
		{"half of JSON", map[string]any{"text": `{"access_token":"` + leak}, patchbay.CodeServiceError, "neither JSON nor a form", patchbay.ConnectionDegraded},
		{"JSON of another shape", map[string]any{"text": `["` + leak + `"]`}, patchbay.CodeServiceError, "neither JSON nor a form", patchbay.ConnectionDegraded},
		{"no tokens", map[string]any{"body": map[string]any{"hello": leak}}, patchbay.CodeServiceError, "no access token", patchbay.ConnectionDegraded},
		{"a redirect", map[string]any{"status": 302, "text": ""}, patchbay.CodeMisconfiguredIntegration, "status 302", patchbay.ConnectionDegraded},
		{"a token that would break a header", map[string]any{"body": map[string]any{"access_token": leak + "\r\nX: y"}}, patchbay.CodeServiceError, "no token may have", patchbay.ConnectionDegraded},
		{"a huge answer", map[string]any{"text": `{"access_token":"` + strings.Repeat("a", maxAnswer) + `"}`}, patchbay.CodeServiceError, "more than 256 KiB", patchbay.ConnectionDegraded},
		{"a token that is too large to keep", map[string]any{"body": map[string]any{"access_token": strings.Repeat("a", patchbay.MaxCredentialBytes+1)}}, patchbay.CodeServiceError, "more than 65536 bytes", patchbay.ConnectionDegraded},
		{"another issuer", map[string]any{"iss": "https://evil.test"}, patchbay.CodeUserConfigurationError, "(iss)", patchbay.ConnectionActive},
	} {
		t.Run(tc.name, func(t *testing.T) {
			behave(with(map[string]any{}))
			f, err := consent()
			if err != nil {
				t.Fatal(err)
			}
			behave(with(tc.how))
			_, err = consent()
			refused(t, err, tc.code, tc.says)
			if strings.Contains(err.Error(), leak) || strings.Contains(err.Error(), testSecret) {
				t.Errorf("a secret is in %q", err)
			}
			r.clock.add(2 * time.Hour)
			_, err = r.Use(t.Context(), f.Connection.ID, "acme")
			con := r.stored(f.Connection.ID)
			if con.State != tc.state || (err == nil) != (tc.state == patchbay.ConnectionActive) {
				t.Errorf("%s (%s), %v", con.State, con.StateReason, err)
			}
			if strings.Contains(con.StateReason, leak) || strings.Contains(con.StateReason, testSecret) {
				t.Errorf("a secret is in %q", con.StateReason)
			}
		})
	}
	if text := r.log.String(); strings.Contains(text, leak) || strings.Contains(text, testSecret) {
		t.Error("a secret is in the log")
	}

	// A partner that gives no refresh token at a renewal means that the old one stays (RFC 6749 §6).
	behave(with(map[string]any{}))
	f, err := consent()
	if err != nil {
		t.Fatal(err)
	}
	before := r.stored(f.Connection.ID).Credentials
	behave(map[string]any{"drop": []string{"refresh_token"}})
	r.clock.add(2 * time.Hour)
	used, err := r.Use(t.Context(), f.Connection.ID, "acme")
	if err != nil || before.Refresh == "" || used.Credentials.Refresh != before.Refresh || !used.Credentials.ExpiresAt.After(before.ExpiresAt) {
		t.Errorf("%v", err)
	}
}

// A token endpoint that takes its time is given up, and what is asked of it meanwhile is not kept waiting for longer.
func TestSlowServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a time-out")
	}
	base := nodetest.Start(t, "oauthmock.mjs").URL
	x := oauth2Thing("thing", base, func(o *integration.OAuth2) { o.AuthURL = base + "/authorize" })
	x.identify = identifyAt(base + "/userinfo")
	r := newRig(t, x)
	to, q := r.begin(ann(), Start{Integration: "thing"})
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/test/next", strings.NewReader(`{"delay":600000}`))
	if err != nil {
		t.Fatal(err)
	}
	newBrowser(t).do(req)
	began := time.Now()
	_, err = r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
	refused(t, err, patchbay.CodeServiceError, "it did not answer in time")
	if took := time.Since(began); took < callTime || took > callTime+time.Minute {
		t.Errorf("it took %v", took)
	}
}
