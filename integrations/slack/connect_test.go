package slack

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

func TestConnect(t *testing.T) {
	how, err := New().Connect(json.RawMessage(`{"client_id":"1.2","client_secret":"s"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &integration.OAuth2{
		ClientID: "1.2", ClientSecret: "s", AuthURL: "https://slack.com/oauth/v2/authorize", TokenURL: "https://slack.com/api/oauth.v2.access",
		Scopes: defaultScopes(), Separator: ",", NoPKCE: noPKCE,
	}
	if diff := cmp.Diff(want, how.OAuth2); diff != "" || how.Keys != nil || noPKCE == "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	how, err = New().Connect(json.RawMessage(`{"client_id":"1.2","client_secret":"s","scopes":["chat:write"],"api_url":"https://slack-gov.com/api/"}`))
	if err != nil || how.OAuth2.AuthURL != "https://slack-gov.com/oauth/v2/authorize" || how.OAuth2.TokenURL != "https://slack-gov.com/api/oauth.v2.access" ||
		len(how.OAuth2.Scopes) != 1 {
		t.Errorf("another address: %+v, %v", how.OAuth2, err)
	}
	for config, missing := range map[string]string{`{"client_id":"1.2"}`: "client_secret", `{"client_secret":"s"}`: "client_id"} {
		if _, err := New().Connect(json.RawMessage(config)); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v", config, err)
		}
	}
	how, err = New().Connect(nil)
	if err != nil || how.OAuth2 != nil || len(how.Keys) != 1 {
		t.Fatalf("without an app: %+v, %v", how, err)
	}
	for token, ok := range map[string]bool{"xoxb-1": true, "xoxe.xoxb-1": true, "xoxp-1": false, "https://hooks.slack.com": false} {
		if _, err := how.Keys.Check(encode(map[string]string{"token": token}), integration.CheckOptions{}); (err == nil) != ok || err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// exchange calls the token endpoint as the consent does.
func (f *fakeSlack) exchange(t *testing.T, form url.Values, secret string) *integration.Response {
	t.Helper()
	req := &integration.Request{
		Method: "POST", URL: f.URL + "/api/oauth.v2.access", Body: []byte(form.Encode()),
		Header: integration.Header{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}},
	}
	r, _ := http.NewRequest("POST", "/", nil)
	r.SetBasicAuth("1.2", secret)
	req.Header.Add("Authorization", r.Header.Get("Authorization"))
	resp, err := (&client{}).Do(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// From the code to the account: what Slack answers becomes a token, an account, and the settings of links to come.
func TestConsent(t *testing.T) {
	f := newFake(t)
	answer := f.exchange(t, url.Values{"code": {"good"}}, "client-secret")
	token, err := New().ReadToken(answer)
	if err != nil {
		t.Fatal(err)
	}
	want := &integration.Token{Access: botToken, Type: "bot", Scopes: []string{"commands", "incoming-webhook", "chat:write"}}
	if diff := cmp.Diff(want, token); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	id, r := New().Identify(t.Context(), &integration.Grant{
		Credentials: &patchbay.Credentials{Access: token.Access}, Answer: answer.Body, Env: f.env(),
	})
	if r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("%+v", r)
	}
	wanted := patchbay.Account{ID: teamID, Name: "acme", URL: "https://acme.slack.com/"}
	if diff := cmp.Diff(wanted, id.Account); diff != "" || id.Grants != nil {
		t.Errorf("grants %q, account (-want +got):\n%s", id.Grants, diff)
	}
	if got := id.Fill["url"].Reveal() + " " + id.Fill["channel"].Reveal(); got != f.URL+"/services/T/B0HOOK/filled #general" {
		t.Errorf("the settings filled in are %s", got)
	}
	wantData := `{"team":{"id":"T123ABC456","name":"acme"},"enterprise":{"id":"E12345678","name":"slack-sports"},"url":"https://acme.slack.com/",` +
		`"app_id":"A0KRD7HC3","bot_id":"B0BOT","bot_user_id":"U0KRQLJ9H","authed_user":"U123ABC456",` +
		`"webhook":{"channel":"#general","channel_id":"C0GENERAL01","configuration_url":"https://acme.slack.com/services/B0HOOK"}}`
	if string(id.Data) != wantData {
		t.Errorf("the data is\n%s, want\n%s", id.Data, wantData)
	}
	if strings.Contains(string(id.Data), "filled") || strings.Contains(string(id.Data), botToken) {
		t.Error("a secret stands in the data")
	}
	if got := New().Person(id.Data); got != "U123ABC456" || New().Person(nil) != "" {
		t.Errorf("the person is %q", got)
	}
	// What filled in is valid, and what comes of it posts through the webhook.
	def := New().Definition()
	if _, err := def.Settings.Check(encode(map[string]string{"url": id.Fill["url"].Reveal(), "channel": id.Fill["channel"].Reveal()}), integration.CheckOptions{Connected: true}); err != nil {
		t.Error(err)
	}
	// A check later has no answer of the token endpoint, and forgets nothing.
	again, r := New().Identify(t.Context(), &integration.Grant{Credentials: &patchbay.Credentials{Access: token.Access}, Data: id.Data, Env: f.env()})
	if r.Verdict != patchbay.VerdictDelivered || string(again.Data) != wantData || again.Fill != nil {
		t.Errorf("checked: %s, %+v", again.Data, r)
	}
	if _, err := New().ReadToken(f.exchange(t, url.Values{"code": {"good"}}, "client-secret")); !errors.Is(err, integration.ErrTokenRefused) {
		t.Errorf("a code that was used: %v", err)
	}
	if _, err := New().ReadToken(f.exchange(t, url.Values{"code": {"good"}}, "wrong")); err == nil || errors.Is(err, integration.ErrTokenRefused) || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("a wrong client secret: %v", err)
	}
}

// With rotation a token ends after twelve hours, and each refresh token works once.
func TestRotation(t *testing.T) {
	f := newFake(t)
	f.rotates = true
	first, err := New().ReadToken(f.exchange(t, url.Values{"code": {"good"}}, "client-secret"))
	if err != nil || first.ExpiresIn != 43200 || first.Refresh != "xoxe-1-1" || first.Access != "xoxe.xoxb-1-1" {
		t.Fatalf("%v %v", first, err)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.Refresh.Reveal()}}
	second, err := New().ReadToken(f.exchange(t, refresh, "client-secret"))
	if err != nil || second.Refresh != "xoxe-1-2" {
		t.Fatalf("%v %v", second, err)
	}
	if _, err := New().ReadToken(f.exchange(t, refresh, "client-secret")); !errors.Is(err, integration.ErrTokenRefused) {
		t.Errorf("a refresh token that was used: %v", err)
	}
}

func TestReadToken(t *testing.T) {
	for _, test := range []struct {
		status  int
		body    string
		refused bool
		says    string
	}{
		{200, `{"ok":false,"error":"invalid_code"}`, true, "invalid_code"},
		{200, `{"ok":false,"error":"token_revoked"}`, true, "token_revoked"},
		{200, `{"ok":false,"error":"pkce_not_allowed"}`, false, "pkce_not_allowed"},
		{200, `{"ok":false,"error":"bad_redirect_uri"}`, false, "redirect URLs"},
		{200, `{"ok":false,"error":"internal_error"}`, false, "internal_error"},
		{429, `{"ok":false,"error":"ratelimited"}`, false, "again"},
		{503, `<html>`, false, "503"},
		{200, `<html>`, false, "again"},
		{200, `{"ok":true,"authed_user":{"id":"U1","access_token":"xoxp-secret"}}`, false, "bot"},
		{200, `{"ok":true,"access_token":7}`, false, "read"},
	} {
		_, err := New().ReadToken(&integration.Response{Status: test.status, Body: []byte(test.body)})
		if err == nil || errors.Is(err, integration.ErrTokenRefused) != test.refused || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "xoxp") {
			t.Errorf("%d %s: %v", test.status, test.body, err)
		}
	}
}

func TestIdentifyRefusals(t *testing.T) {
	f := newFake(t)
	grant := func(answer string) *integration.Grant {
		g := &integration.Grant{Credentials: &patchbay.Credentials{Access: botToken}, Env: f.env()}
		if answer != "" {
			g.Answer = json.RawMessage(answer)
		}
		return g
	}
	for answer, says := range map[string]string{
		`{"ok":true,"is_enterprise_install":true}`: "organisation",
		`{"ok":true,"team":{"id":"T9"}}`:           "T9",
		`[]`:                                       "read",
	} {
		if _, r := New().Identify(t.Context(), grant(answer)); r.Verdict == patchbay.VerdictDelivered || !strings.Contains(r.Error, says) {
			t.Errorf("%s: %+v", answer, r)
		}
	}
	f.tokens[botToken] = "account_inactive"
	if _, r := New().Identify(t.Context(), grant("")); r.Verdict != patchbay.VerdictAuthExpired {
		t.Errorf("an uninstalled app: %+v", r)
	}
}

// A pasted token is identified by its answers alone, and not revoked.
func TestKeys(t *testing.T) {
	f := newFake(t)
	cred := patchbay.Credentials{Extra: map[string]integration.Secret{"token": botToken}}
	id, r := New().Identify(t.Context(), &integration.Grant{Credentials: &cred, Env: f.env()})
	if r.Verdict != patchbay.VerdictDelivered || id.Account.ID != teamID || strings.Join(id.Grants, " ") != "chat:write channels:read" {
		t.Fatalf("%+v, %+v", id, r)
	}
	d := f.delivery(t, `{"channel":"C0123456789"}`)
	d.Connection.Credentials = cred
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
		t.Errorf("%+v", r)
	}
	con := connected()
	con.Credentials = cred
	if r := New().Revoke(t.Context(), con, f.env()); r.Verdict != patchbay.VerdictRejected || f.tokens[botToken] != "" {
		t.Errorf("a pasted token: %+v, it is now %q", r, f.tokens[botToken])
	}
}

func TestRevoke(t *testing.T) {
	f := newFake(t)
	for range 2 { // the second time it is gone already
		if r := New().Revoke(t.Context(), connected(), f.env()); r.Verdict != patchbay.VerdictDelivered || f.tokens[botToken] != "token_revoked" {
			t.Errorf("%+v, the token is %q", r, f.tokens[botToken])
		}
	}
	f.say["auth.revoke"] = "internal_error"
	if r := New().Revoke(t.Context(), connected(), f.env()); r.Verdict != patchbay.VerdictRetry {
		t.Errorf("%+v", r)
	}
}
