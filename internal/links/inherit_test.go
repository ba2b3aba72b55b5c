package links

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/route"
)

// TestInherited lists what is in effect in a scope: its own links, and those from further up, with where they come from.
func TestInherited(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{}, &hub{})
	make := func(scope, more string) *View {
		return f.must(f.create(admin, `{"integration":"pager","events":["a"],"scope":"`+scope+`","settings":{"url":"https://p.example","token":"secret-token"}`+more+`}`))
	}
	own := make("acme/teams/1", `,"slot":"s"`)
	up := make("acme", `,"slot":"s","visible":true,"name":"Up"`)
	plain := make("acme", `,"visible":true,"filter":"true","body":"payload"`)
	make("acme", "") // not visible
	f.must(f.create(admin, `{"integration":"hub","scope":"acme","visible":true,"settings":{"place":"x","token":"token-123456"}}`))
	portal := &access.Caller{Scope: "acme/teams/1", Portal: true, Permissions: []access.Permission{access.Manage}}
	list := func(c *access.Caller, f2 ListFilter) map[patchbay.LinkID]View {
		t.Helper()
		f2.Scope, f2.Effective, f2.Limit = new(patchbay.Scope("acme/teams/1")), true, 100
		views, _, err := f.List(t.Context(), c, f2)
		if err != nil {
			t.Fatal(err)
		}
		out := map[patchbay.LinkID]View{}
		for _, v := range views {
			out[v.ID] = v
		}
		return out
	}
	if got := list(admin, ListFilter{}); len(got) != 3 || got[own.ID].InheritedFrom != nil || *got[plain.ID].InheritedFrom != "acme" || got[plain.ID].Filter == nil {
		t.Errorf("an operator gets %+v", got)
	}
	got := list(portal, ListFilter{Overridden: true})
	if len(got) != 3 || !got[up.ID].Overridden || got[plain.ID].Overridden || got[own.ID].Overridden {
		t.Errorf("a portal gets %+v", got)
	}
	v := got[plain.ID]
	if string(v.Settings) != "{}" || v.Filter != nil || v.Body != nil || v.Health != nil || v.HookURL != nil || v.DeletePath != "" || v.ShortName == "" {
		t.Errorf("of an inherited link a portal sees %+v", v)
	}
	if got := list(portal, ListFilter{}); len(got) != 2 || got[up.ID].ID != 0 {
		t.Errorf("without those that are overridden it gets %+v", got)
	}
	for _, id := range []patchbay.LinkID{up.ID, make("acme/teams/2", "").ID} {
		if _, err := f.Get(t.Context(), portal, id); patchbay.CodeOf(err) != patchbay.CodeNotFound {
			t.Errorf("a link of elsewhere: %v", err)
		}
		if err := f.Delete(t.Context(), portal, id); patchbay.CodeOf(err) != patchbay.CodeNotFound {
			t.Errorf("deleting a link of elsewhere: %v", err)
		}
	}
}

// TestOptOut keeps an inherited link from a scope, and takes that back.
func TestOptOut(t *testing.T) {
	dir := t.TempDir()
	p := &pager{}
	f := newFixture(t, dir, p)
	up := f.must(f.create(admin, `{"integration":"pager","events":["a"],"scope":"acme","slot":"s","visible":true,"settings":{"url":"https://p.example"}}`))
	hidden := f.must(f.create(admin, `{"integration":"pager","events":["a"],"scope":"acme","slot":"t","settings":{"url":"https://p.example"}}`))
	loose := f.must(f.create(admin, `{"integration":"pager","events":["b"],"scope":"acme","visible":true,"settings":{"url":"https://p.example"}}`))
	portal := &access.Caller{Scope: "acme/teams/1", Portal: true, Permissions: []access.Permission{access.Manage}}
	out := f.must(f.OptOut(t.Context(), portal, up.ID, "acme/teams/1"))
	if !out.OptOut || out.State != patchbay.LinkDisabled || string(out.Settings) != "{}" || !strings.Contains(out.Summary, `"s"`) {
		t.Errorf("it is %+v", out)
	}
	check := func(f *fixture) {
		t.Helper()
		if got := f.matched("a", "acme/teams/1"); !cmp.Equal(got, []patchbay.LinkID{hidden.ID}) {
			t.Errorf("in the scope matches %v", got)
		}
		if got := f.matched("a", "acme/teams/2"); len(got) != 2 {
			t.Errorf("beside it matches %v", got)
		}
	}
	check(f)
	r := f.Match(&route.Event{Event: &patchbay.Event{Type: "a", Scope: "acme/teams/1", Payload: json.RawMessage("{}")}}, nil)
	if r.Missed {
		t.Error("the event counts as missed")
	}
	for _, x := range f.Explain(&route.Event{Event: &patchbay.Event{Type: "a", Scope: "acme/teams/1", Payload: json.RawMessage("{}")}}, nil) {
		if x.Link.ID == out.ID && (x.Matched || !strings.Contains(x.Reason, "so that nothing")) || x.Link.ID == up.ID && !strings.Contains(x.Reason, "takes its place") {
			t.Errorf("explained is %+v", x)
		}
	}
	if again := f.must(f.OptOut(t.Context(), portal, up.ID, "acme/teams/1")); again.ID != out.ID {
		t.Error("opting out twice makes two links")
	}
	for name, test := range map[string]struct {
		id    patchbay.LinkID
		scope patchbay.Scope
		code  patchbay.Code
	}{
		"not visible":     {hidden.ID, "acme/teams/1", patchbay.CodeNotFound},
		"no slot":         {loose.ID, "acme/teams/1", patchbay.CodeInvalidRequest},
		"another's scope": {up.ID, "acme/teams/2", patchbay.CodeForbidden},
		"not inherited":   {out.ID, "acme/teams/1", patchbay.CodeInvalidRequest},
		"not there":       {1, "acme/teams/1", patchbay.CodeNotFound},
	} {
		if _, err := f.OptOut(t.Context(), portal, test.id, test.scope); patchbay.CodeOf(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Resume(t.Context(), admin, out.ID); patchbay.CodeOf(err) != patchbay.CodeMisconfiguredIntegration {
		t.Errorf("enabling it as it is: %v", err)
	}
	if _, err := f.Test(t.Context(), admin, out.ID); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
		t.Errorf("testing it: %v", err)
	}
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	f = newFixture(t, dir, p)
	check(f)
	if err := f.OptIn(t.Context(), portal, up.ID, "acme/teams/1"); err != nil {
		t.Fatal(err)
	}
	if got := f.matched("a", "acme/teams/1"); len(got) != 2 {
		t.Errorf("after opting in matches %v", got)
	}
	if err := f.OptIn(t.Context(), portal, up.ID, "acme/teams/1"); patchbay.CodeOf(err) != patchbay.CodeNotFound {
		t.Errorf("opting in twice: %v", err)
	}
	v := f.must(f.OptOut(t.Context(), admin, up.ID, "acme/teams/1"))
	v = f.must(f.Update(t.Context(), admin, v.ID, Input{Settings: json.RawMessage(`{"url":"https://own.example"}`), Enabled: new(true)}, nil, 0))
	if v.OptOut || v.State != patchbay.LinkActive || len(f.matched("a", "acme/teams/1")) != 2 {
		t.Errorf("with settings of its own it is %+v", v)
	}
	if _, err := f.OptOut(t.Context(), portal, up.ID, "acme/teams/1"); patchbay.CodeOf(err) != patchbay.CodeConflict {
		t.Errorf("opting out where another link has the slot: %v", err)
	}
}

// TestWithoutSecrets lets a portal that may not give secrets do everything else.
func TestWithoutSecrets(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	portal := &access.Caller{Scope: "acme", Portal: true, Permissions: []access.Permission{access.Manage}}
	if _, err := f.create(portal, aPager); patchbay.CodeOf(err) != patchbay.CodeForbidden || !strings.Contains(err.Error(), "settings.token") {
		t.Errorf("giving a token: %v", err)
	}
	v := f.must(f.create(portal, `{"integration":"pager","events":["a"],"scope":"acme","settings":{"url":"https://p.example"}}`))
	if len(v.Secrets) != 0 {
		t.Errorf("it was shown %v", v.Secrets)
	}
	v = f.must(f.create(admin, aPager))
	f.must(f.Update(t.Context(), portal, v.ID, Input{Name: new("x"), Settings: v.Settings}, nil, 0))
	for _, settings := range []string{`{"token":"another-token"}`, `{"token":null}`} {
		if _, err := f.Update(t.Context(), portal, v.ID, Input{Settings: json.RawMessage(settings)}, nil, 0); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("changing it by %s: %v", settings, err)
		}
	}
	if _, err := f.RotateSecret(t.Context(), portal, v.ID); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("rotating: %v", err)
	}
	portal.Permissions = append(portal.Permissions, access.Secrets)
	f.must(f.RotateSecret(t.Context(), portal, v.ID))
}

// TestKinds says which scopes are a team's or a user's, and keeps integrations to theirs.
func TestKinds(t *testing.T) {
	k := DefaultKinds()
	for scope, want := range map[patchbay.Scope][]string{
		"acme/teams/1": {patchbay.KindTeam}, "acme/users/ann": {patchbay.KindUser}, "": nil, "acme": nil, "acme/teams": nil,
		"acme/teams/1/x": nil, "acme/x/teams/1": nil, "acme/teams/patchbay.x": {patchbay.KindTeam},
	} {
		if diff := cmp.Diff(want, k.Of(scope)); diff != "" {
			t.Errorf("%q: %s", scope, diff)
		}
	}
	for _, test := range []struct {
		kinds []string
		scope patchbay.Scope
		want  bool
	}{
		{nil, "acme/users/ann", true}, {[]string{patchbay.KindTeam}, "acme/users/ann", false}, {[]string{patchbay.KindTeam}, "acme/teams/1", true},
		{[]string{patchbay.KindTeam}, "acme/repos/1", true}, {[]string{patchbay.KindTeam, patchbay.KindUser}, "acme/users/ann", true},
	} {
		if got := k.Takes(&integration.Definition{Kinds: test.kinds}, test.scope); got != test.want {
			t.Errorf("%v takes %q: %v", test.kinds, test.scope, got)
		}
	}
	f := newHub(t, t.TempDir(), &hub{kinds: []string{patchbay.KindTeam}}, func(o *Options) { o.Kinds = k })
	if _, err := f.create(admin, strings.Replace(aHub, "teams/1", "users/ann", 1)); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest || !strings.Contains(err.Error(), "scope of a user") {
		t.Errorf("a user's link: %v", err)
	}
	v := f.must(f.create(admin, aHub))
	if _, err := f.Update(t.Context(), admin, v.ID, Input{Scope: new("acme/users/ann")}, nil, 0); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
		t.Errorf("moving it to a user: %v", err)
	}
}
