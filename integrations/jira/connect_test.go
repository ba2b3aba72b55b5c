package jira

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

func TestConnect(t *testing.T) {
	for config, want := range map[string]string{
		``: "keys", `{"client_id": "a", "client_secret": "b"}`: "2", `{"client_id": "a"}`: "client_secret",
		`{"consumer_key": "k", "private_key": "p"}`: "keys", `{"base_url": "https://jira.example.com"}`: "consumer_key",
		`{"base_url": "https://jira.example.com", "consumer_key": "k", "private_key": "p"}`: "1",
	} {
		c, err := New().Connect(json.RawMessage(config))
		switch {
		case err != nil:
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", config, err)
			}
		case (want == "keys") != (c.Keys != nil) || (want == "1") != (c.OAuth1 != nil) || (want == "2") != (c.OAuth2 != nil):
			t.Errorf("%s: %+v", config, c)
		}
	}
	c, err := New().Connect(json.RawMessage(`{"client_id": "a", "client_secret": "b"}`))
	if err != nil {
		t.Fatal(err)
	}
	o := c.OAuth2
	if o.AuthURL != "https://auth.atlassian.com/authorize" || o.TokenURL != "https://auth.atlassian.com/oauth/token" ||
		o.Params["audience"] != "api.atlassian.com" || o.Params["prompt"] != "consent" || o.NoPKCE == "" {
		t.Errorf("%+v", o)
	}
}

func TestIdentify(t *testing.T) {
	f := newCloud(t)
	g := &integration.Grant{Credentials: &patchbay.Credentials{Access: accessToken, Refresh: "r"}, Env: f.env()}
	id, r := New().Identify(t.Context(), g)
	if r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("%+v", r)
	}
	want := patchbay.Account{ID: "acme.atlassian.net", Name: "Mira Lund on acme.atlassian.net", URL: "https://acme.atlassian.net"}
	if diff := cmp.Diff(want, id.Account); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(string(connected().Data), string(id.Data)); diff != "" {
		t.Error(diff)
	}
	if got := New().Person(id.Data); got != mira {
		t.Errorf("the person is %q", got)
	}
	// A check keeps the site that the connection was for, as long as it is there.
	data := dataOf(id.Data)
	data.Site = "beta.atlassian.net"
	g.Data = encode(&data)
	if id, _ = New().Identify(t.Context(), g); id == nil || id.Account.ID != "beta.atlassian.net" {
		t.Errorf("%+v", id)
	}
	f.sites = `[{"id": "c3", "url": "https://wiki.atlassian.net", "scopes": ["read:confluence-content.all"]}]`
	if _, r = New().Identify(t.Context(), g); r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, "no site") {
		t.Errorf("%+v", r)
	}
	f.refuse["GET /oauth/token/accessible-resources"] = says(401, `{}`)
	if _, r = New().Identify(t.Context(), g); r.Verdict != patchbay.VerdictAuthExpired {
		t.Errorf("%+v", r)
	}
}

func TestIdentifyKeys(t *testing.T) {
	f := newCloud(t)
	for email, sent := range map[string]string{"": "Bearer s3cret", "mira@example.com": "Basic bWlyYUBleGFtcGxlLmNvbTpzM2NyZXQ="} {
		data := encode(&connectionData{BaseURL: f.URL + "/dc", Email: email})
		g := &integration.Grant{
			Credentials: &patchbay.Credentials{Extra: map[string]integration.Secret{keyToken: "s3cret"}}, Data: data, Env: f.env(),
		}
		id, r := New().Identify(t.Context(), g)
		if r.Verdict != patchbay.VerdictDelivered || id.Account.ID != strings.TrimPrefix(f.URL, "http://") || New().Person(id.Data) != "JIRAUSER10100" {
			t.Fatalf("%+v, %+v", id, r)
		}
		c, failed := reach(over(t, ""), &integration.Connected{Credentials: *g.Credentials, Data: id.Data}, g.Env, nil, false)
		if failed != nil || c.value != sent || c.base != f.URL+"/dc" || c.cloud {
			t.Errorf("%+v, %+v", c, failed)
		}
	}
}

func TestOAuth1ConnectionSigns(t *testing.T) {
	s := newServer(t)
	config, err := json.Marshal(map[string]string{"consumer_key": "operator", "private_key": pkcs1(rsaKey()).Reveal(), "base_url": "http://jira.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	d := delivery(t, s, basic, failure())
	d.Env.Config, d.Settings = config, over(t, "")
	d.Settings.(*Settings).ProjectKey = "ABC"
	credentials := patchbay.Credentials{Access: "access/token+1", TokenSecret: "unused", Type: "OAuth"}
	id, r := New().Identify(t.Context(), &integration.Grant{Credentials: &credentials, Env: d.Env})
	if id == nil { // the stand-in names people by name alone
		t.Fatalf("%+v", r)
	}
	d.Connection = &integration.Connected{Credentials: credentials, Data: id.Data, Account: id.Account}
	if r := send(t, d); r.Reference != "ABC-1" {
		t.Errorf("%+v", r)
	}
	if oauth, err := verify(s.last, &rsaKey().PublicKey); err != nil || oauth["oauth_token"] != "access/token+1" {
		t.Errorf("%v, %v", oauth, err)
	}
}

func TestReadToken(t *testing.T) {
	good, err := New().ReadToken(&integration.Response{Status: 200, Body: []byte(`{"access_token": "a", "refresh_token": "r", "expires_in": 3600, "token_type": "Bearer", "scope": "read:jira-work offline_access"}`)})
	if err != nil || good.Access != "a" || good.Refresh != "r" || good.ExpiresIn != 3600 || len(good.Scopes) != 2 {
		t.Fatalf("%+v, %v", good, err)
	}
	for body, refused := range map[string]bool{
		`{"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}`: true,
		`{"error": "unauthorized_client", "error_description": "refresh_token is invalid"}`:    true,
		`{"error": "unauthorized_client"}`:                                                     false, `{"error": "invalid_client"}`: false, `{"error": "temporarily_unavailable"}`: false,
		`<html>`: false, `{}`: false,
	} {
		if _, err := New().ReadToken(&integration.Response{Status: 403, Body: []byte(body)}); err == nil || errors.Is(err, integration.ErrTokenRefused) != refused {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestChoices(t *testing.T) {
	f := newCloud(t)
	for setting, want := range map[string]string{
		"project_key": "SHOP OPS", "issue_type": "Bug Task", "priority": "High Low", "site": "acme.atlassian.net beta.atlassian.net",
		"resolve_transition": "any none Done", "reopen_transition": "any none To Do",
		"receive": "issue_created issue_updated issue_deleted comment_created comment_updated comment_deleted none",
	} {
		got, r := New().Choices(t.Context(), &integration.ChoiceQuery{
			Setting: setting, Settings: json.RawMessage(`{"project_key": "SHOP"}`), Connection: connected(), Env: f.env(), Limit: 20,
		})
		var values []string
		for _, c := range got {
			values = append(values, c.Value)
		}
		if r.Verdict != patchbay.VerdictDelivered || strings.Join(values, " ") != want {
			t.Errorf("%s: %v, %+v", setting, values, r)
		}
	}
	if _, r := New().Choices(t.Context(), &integration.ChoiceQuery{Setting: "issue_type", Connection: connected(), Env: f.env()}); !strings.Contains(r.Error, "project") {
		t.Errorf("%+v", r)
	}
	if _, r := New().Choices(t.Context(), &integration.ChoiceQuery{Setting: "project_key", Env: f.env()}); r.Verdict != patchbay.VerdictRejected {
		t.Errorf("%+v", r)
	}
}
