package connect

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

const annsKey = "a-key-that-ann-made"

// keyThing is connected with keys: an address and a token.
func keyThing(answer func(g *integration.Grant) (*integration.Identity, integration.Result)) *thing {
	return &thing{key: "keyed", how: func() (*integration.Connect, error) {
		return &integration.Connect{Keys: integration.Spec{
			{Key: "site", Title: "Site", Type: integration.TypeURL, Required: true},
			{Key: "token", Title: "Token", Type: integration.TypeString, Required: true, Secret: true},
		}}, nil
	}, identify: func(_ context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
		return answer(g)
	}}
}

func annsAccount(g *integration.Grant) (*integration.Identity, integration.Result) {
	if g.Credentials.Extra["token"] != annsKey {
		return nil, integration.UserError("the token %s is not one of ours", g.Credentials.Extra["token"].Reveal()).With(&integration.Response{Status: 401})
	}
	return &integration.Identity{Account: patchbay.Account{ID: "ann@partner", Name: "Ann", URL: "javascript:alert(1)"}, Grants: []string{"all"},
		Data: json.RawMessage(`{"cloud":true}`), Extra: map[string]integration.Secret{"more": "secret"}, Fill: map[string]integration.Secret{"url": "https://hook"}}, integration.Delivered()
}

func keyInput(token string) Input {
	return Input{Integration: new("keyed"), Scope: new("acme"), Settings: json.RawMessage(`{"site":"https://ann.example","token":"` + token + `"}`)}
}

// Keys are tried before they are kept, and are never shown.
func TestKeys(t *testing.T) {
	r := newRig(t, keyThing(annsAccount), &thing{key: "plain", how: func() (*integration.Connect, error) { return &integration.Connect{OAuth2: &integration.OAuth2{}}, nil }})
	_, _, err := r.Create(t.Context(), operator(), keyInput("wrong-token"))
	refused(t, err, patchbay.CodeUserConfigurationError, "the token [redacted] is not one of ours")

	in := keyInput(annsKey)
	in.Owner, in.OwnerScope, in.Name, in.Visible = new("u1"), new("acme/users/1"), new("Ann's"), new(true)
	v, created, err := r.Create(t.Context(), operator(), in)
	if err != nil || !created {
		t.Fatal(err)
	}
	if v.Account.ID != "ann@partner" || v.Account.URL != "" || v.Owner != "u1" || *v.OwnerScope != "acme/users/1" || v.Name != "Ann's" || !v.Visible || v.Grants[0] != "all" || v.ExpiresAt != nil {
		t.Errorf("%+v", v)
	}
	con, err := r.Use(t.Context(), v.ID, "acme/x")
	if err != nil || con.Credentials.Extra["token"] != annsKey || con.Credentials.Extra["more"] != "secret" {
		t.Fatal(err)
	}
	var data struct {
		Site  string
		Cloud bool
		Token string
	}
	if err := json.Unmarshal(con.Data, &data); err != nil || data.Site != "https://ann.example" || !data.Cloud || data.Token != "" {
		t.Errorf("%s %v", con.Data, err)
	}
	again := keyInput(annsKey)
	again.Owner = new("u1")
	w, created, err := r.Create(t.Context(), operator(), again)
	if err != nil || created || w.ID != v.ID || w.Name != "Ann's" || !w.Visible || *w.OwnerScope != "acme/users/1" {
		t.Errorf("%+v %v", w, err)
	}
	full, err := r.For(t.Context(), operator(), v.ID, "keyed", "acme")
	if err != nil || full.Credentials.Fill["url"] != "https://hook" {
		t.Errorf("%v", err)
	}
	raw, _ := json.Marshal(v)
	r.silent(string(raw))

	for name, tc := range map[string]struct {
		c    *access.Caller
		in   Input
		code patchbay.Code
		says string
	}{
		"no integration":             {operator(), Input{}, patchbay.CodeInvalidRequest, "integration: is required"},
		"in a browser instead":       {operator(), Input{Integration: new("plain")}, patchbay.CodeInvalidRequest, testPublic + "/auth/plain"},
		"no token":                   {operator(), Input{Integration: new("keyed"), Settings: json.RawMessage(`{"site":"https://x"}`)}, patchbay.CodeMisconfiguredIntegration, "settings.token"},
		"another scope":              {ann(), func() Input { in := keyInput(annsKey); in.Scope = new("other"); return in }(), patchbay.CodeForbidden, `"other"`},
		"another tenant's user":      {operator(), func() Input { in := keyInput(annsKey); in.OwnerScope = new("other/users/1"); return in }(), patchbay.CodeInvalidRequest, "same tenant"},
		"a portal for somebody else": {ann(), func() Input { in := keyInput(annsKey); in.Owner = new("bob"); return in }(), patchbay.CodeForbidden, "the user of its session"},
		"nobody":                     {nil, keyInput(annsKey), patchbay.CodeForbidden, "secrets"},
	} {
		_, _, err := r.Create(t.Context(), tc.c, tc.in)
		if patchbay.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	portal, _, err := r.Create(t.Context(), ann(), keyInput(annsKey))
	if err != nil || portal.Owner != "ann" || portal.ID == v.ID {
		t.Errorf("%+v %v", portal, err)
	}
}

// What a check finds out is kept and shown.
func TestCheck(t *testing.T) {
	answer := annsAccount
	r := newRig(t, keyThing(func(g *integration.Grant) (*integration.Identity, integration.Result) { return answer(g) }))
	v, _, err := r.Create(t.Context(), operator(), keyInput(annsKey))
	if err != nil {
		t.Fatal(err)
	}
	check := func(state patchbay.ConnectionState, says string) {
		t.Helper()
		r.clock.add(time.Minute)
		got, err := r.Check(t.Context(), operator(), v.ID)
		if err != nil || got.State != state || !got.UpdatedAt.Equal(v.UpdatedAt) {
			t.Fatalf("%+v %v", got, err)
		}
		if says == "" != (got.StateReason == nil) || says != "" && !strings.Contains(*got.StateReason, says) {
			t.Errorf("%+v", got)
		}
		r.silent(append([]string{r.stored(v.ID).StateReason}, says)...)
	}
	check(patchbay.ConnectionActive, "")
	answer = func(*integration.Grant) (*integration.Identity, integration.Result) {
		return nil, integration.Retry("the partner is down, says %s", annsKey)
	}
	check(patchbay.ConnectionDegraded, "the partner is down, says [redacted]")
	if _, err := r.Use(t.Context(), v.ID, "acme"); err != nil {
		t.Errorf("keys of a partner that is down are used all the same: %v", err)
	}
	answer = func(*integration.Grant) (*integration.Identity, integration.Result) { panic("oh " + annsKey) }
	check(patchbay.ConnectionDegraded, "failed in an unexpected way")
	answer = func(*integration.Grant) (*integration.Identity, integration.Result) {
		return &integration.Identity{}, integration.Delivered()
	}
	check(patchbay.ConnectionDegraded, "names no account")
	answer = func(*integration.Grant) (*integration.Identity, integration.Result) {
		return &integration.Identity{Account: patchbay.Account{ID: "ann@partner\n"}}, integration.Delivered()
	}
	check(patchbay.ConnectionDegraded, "names no account")
	answer = func(*integration.Grant) (*integration.Identity, integration.Result) { return nil, integration.Result{} }
	check(patchbay.ConnectionDegraded, "did not say why")
	answer = func(g *integration.Grant) (*integration.Identity, integration.Result) {
		id, res := annsAccount(g)
		id.Account.Name = "Ann Example"
		return id, res
	}
	check(patchbay.ConnectionActive, "")
	if con := r.stored(v.ID); con.Account.Name != "Ann Example" {
		t.Errorf("%+v", con.Account)
	}
	answer = func(*integration.Grant) (*integration.Identity, integration.Result) {
		return nil, integration.Expired("the key is gone")
	}
	check(patchbay.ConnectionNeedsReauth, "the key is gone")
	answer = func(*integration.Grant) (*integration.Identity, integration.Result) {
		return nil, integration.Retry("down")
	}
	check(patchbay.ConnectionNeedsReauth, "the key is gone") // what may pass does not make it better
	answer = annsAccount
	check(patchbay.ConnectionActive, "")
	answer = func(g *integration.Grant) (*integration.Identity, integration.Result) {
		id, res := annsAccount(g)
		id.Account.ID = "bob@partner"
		return id, res
	}
	check(patchbay.ConnectionNeedsReauth, "those of Ann (bob@partner), not of Ann (ann@partner)")
	if con := r.stored(v.ID); con.Account.ID != "ann@partner" {
		t.Error("another account took its place")
	}
	if n := len(r.told()); n != 2 {
		t.Errorf("told %d times", n)
	}
	if _, err := r.Check(t.Context(), ann(), 99); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Error(err)
	}
}
