package github

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

const hookURL = "https://patchbay.example.test/integrations/github/hook/k4jh2k3j4h2k3j4h"

func attachment(env *integration.Env, s *Settings) *integration.Attachment {
	return &integration.Attachment{
		Link: 7, Scope: "acme/teams/1", Settings: s, Connection: connected(), HookURL: hookURL, HookSecret: hookSecret, Env: env,
	}
}

// attach sets a link's webhook up, which must work.
func (f *fake) attach(at *integration.Attachment) json.RawMessage {
	f.t.Helper()
	a, r := New().Attach(f.t.Context(), at)
	if r.Verdict != patchbay.VerdictDelivered {
		f.t.Fatalf("%+v", r)
	}
	return a.State
}

// ids are the webhooks that there are.
func (f *fake) ids() []int {
	out := []int{}
	for id := range f.hooks {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func TestAttach(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	at := attachment(env, decode(t, `{"repository": "acme/web", "receive": "push, release"}`))
	at.State = f.attach(at)
	want := hook{
		Name: "web", Active: true, Events: []string{"push", "release"},
		Config: hookConfig{URL: hookURL, ContentType: "json", Secret: hookSecret, InsecureSSL: "0"},
	}
	if diff := cmp.Diff(want, f.hooks[101]); diff != "" {
		t.Error(diff)
	}
	if got := string(at.State); got != `{"repository":"acme/web","id":101}` {
		t.Error(got)
	}
	// The settings and the secret have changed.
	f.take()
	at.Settings, at.HookSecret = decode(t, `{"repository": "Acme/Web", "receive": "issues"}`), "another"
	f.refuse["PATCH /repos/Acme/Web/hooks/101"] = f.changed
	at.State = f.attach(at)
	if h := f.hooks[101]; !slices.Equal(h.Events, []string{"issues"}) || h.Config.Secret != "another" || !h.Active || len(f.hooks) != 1 {
		t.Errorf("%+v", f.hooks)
	}
	if diff := cmp.Diff([]string{"PATCH /repos/Acme/Web/hooks/101"}, f.take()); diff != "" {
		t.Error(diff)
	}
	// Somebody deleted it at GitHub.
	delete(f.hooks, 101)
	at.Settings = decode(t, `{"repository": "acme/web"}`)
	at.State = f.attach(at)
	if got := f.ids(); !slices.Equal(got, []int{102}) {
		t.Errorf("%v", got)
	}
	if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictDelivered || len(f.hooks) != 0 {
		t.Errorf("%+v, %v", r, f.ids())
	}
	if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictDelivered {
		t.Errorf("what is gone is gone: %+v", r)
	}
}

func (f *fake) changed(w http.ResponseWriter, r *http.Request) {
	r.SetPathValue("id", "101")
	f.changeHook(w, r)
}

// TestAttachFindsWhatIsThere is what happens when a node was killed between registering and remembering.
func TestAttachFindsWhatIsThere(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	f.perPage = 2
	for range 5 {
		f.nextHook++
		f.hooks[f.nextHook] = hook{Config: hookConfig{URL: "https://ci.example.com/" + strings.Repeat("x", f.nextHook-100)}}
	}
	at := attachment(env, decode(t, `{"repository": "acme/web"}`))
	first := f.attach(at)
	f.take()
	if again := f.attach(at); string(again) != string(first) || len(f.hooks) != 6 {
		t.Errorf("%s, then %s", first, again)
	}
	if diff := cmp.Diff([]string{"GET /repos/acme/web/hooks", "GET /repos/acme/web/hooks", "GET /repos/acme/web/hooks", "PATCH /repos/acme/web/hooks/106"}, f.take()); diff != "" {
		t.Error(diff)
	}
	if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictDelivered || len(f.hooks) != 5 || f.hooks[106].Config.URL != "" {
		t.Errorf("without what it remembers: %+v, %v", r, f.ids())
	}
	for _, state := range []string{`null`, `"x"`, `{"repository": 7}`, `{`} {
		at.State = json.RawMessage(state)
		f.attach(at)
	}
	if len(f.hooks) != 6 {
		t.Errorf("%v", f.ids())
	}
}

// TestAnotherRepository moves a link: the old webhook goes, when it can.
func TestAnotherRepository(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	at := attachment(env, decode(t, `{"repository": "acme/web"}`))
	at.State = f.attach(at)
	at.Settings = decode(t, `{"repository": "acme/api"}`)
	f.refuse["GET /repos/acme/api/hooks"] = func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "[]") } // of another repository
	f.refuse["POST /repos/acme/api/hooks"] = func(w http.ResponseWriter, r *http.Request) {
		f.hooks[200] = hook{}
		answer(w, 201, `{"id": 200}`)
	}
	f.refuse["DELETE /repos/acme/web/hooks/101"] = says(503, "later")
	if _, r := New().Attach(t.Context(), at); r.Verdict != patchbay.VerdictRetry {
		t.Errorf("the old one may go later: %+v", r)
	}
	f.refuse["DELETE /repos/acme/web/hooks/101"] = says(403, "Must have admin rights to Repository.")
	at.State = f.attach(at)
	if got := string(at.State); got != `{"repository":"acme/api","id":200,"left":[{"repository":"acme/web","id":101}]}` {
		t.Error(got)
	}
	if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictRejected || !strings.Contains(r.Error, "acme/web") {
		t.Errorf("what remains is said: %+v", r)
	}
	delete(f.refuse, "DELETE /repos/acme/web/hooks/101")
	if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictDelivered || len(f.hooks) != 0 {
		t.Errorf("%+v, %v", r, f.ids())
	}
}

func TestAttachRefused(t *testing.T) {
	const list, make = "GET /repos/acme/web/hooks", "POST /repos/acme/web/hooks"
	complains := func(message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 422, `{"message": "Validation Failed", "errors": [{"resource": "Hook", "code": "custom", "message": "`+message+`"}]}`)
		}
	}
	for _, c := range []struct {
		call   string
		answer http.HandlerFunc
		code   patchbay.Code
		says   string
	}{
		{list, says(404, "Not Found"), patchbay.CodeUserConfigurationError, "admin:repo_hook"},
		{list, says(403, "Resource not accessible by personal access token"), patchbay.CodeUserConfigurationError, "must administer"},
		{make, says(404, "Not Found"), patchbay.CodeUserConfigurationError, "admin:repo_hook"},
		{make, complains("url is not supported because it isn't reachable over the public Internet (localhost)"), patchbay.CodeMisconfiguredIntegration, "public-url"},
		{make, complains("Hook already exists on this repository"), patchbay.CodeServiceError, "just been made"},
		{make, complains("The \\\"push\\\" event cannot have more than 20 hooks: the maximum is reached"), patchbay.CodeUserConfigurationError, "as many webhooks"},
		{make, complains("Event is invalid"), patchbay.CodeUserConfigurationError, "receive"},
		{make, complains("something else"), patchbay.CodeMisconfiguredIntegration, "422"},
		{make, says(403, "You have exceeded a secondary rate limit", "Retry-After: 30"), patchbay.CodeServiceError, "limits"},
		{list, says(500, "oops"), patchbay.CodeServiceError, "500"},
	} {
		f := newFake(t)
		env, _ := f.env()
		f.refuse[c.call] = c.answer
		_, r := New().Attach(t.Context(), attachment(env, decode(t, `{"repository": "acme/web"}`)))
		if r.Type != c.code || !strings.Contains(r.Error, c.says) || (r.Verdict == patchbay.VerdictRetry) != (c.code == patchbay.CodeServiceError) {
			t.Errorf("%s: %+v, want %s about %q", c.call, r, c.code, c.says)
		}
	}
	f := newFake(t)
	env, _ := f.env()
	at := attachment(env, decode(t, `{"repository": "acme/web"}`))
	at.HookURL = ""
	if _, r := New().Attach(t.Context(), at); r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, "public-url") {
		t.Errorf("%+v", r)
	}
	f.tokens = map[string]bool{}
	at.HookURL = hookURL
	if _, r := New().Attach(t.Context(), at); r.Verdict != patchbay.VerdictAuthExpired {
		t.Errorf("a revoked token: %+v", r)
	}
	if r := New().Detach(t.Context(), at); r.Verdict != patchbay.VerdictAuthExpired {
		t.Errorf("a revoked token: %+v", r)
	}
	at.Connection = nil
	if _, r := New().Attach(t.Context(), at); r.Type != patchbay.CodeUserConfigurationError {
		t.Errorf("no token: %+v", r)
	}
}

func TestAttaches(t *testing.T) {
	for settings, want := range map[string][2]bool{ // it has a way in; it needs a webhook
		`{"repository": "a/b"}`:                                             {true, true},
		`{"repository": "a/b", "receive": "none"}`:                          {false, false},
		`{"repository": "a/b", "hook": "app"}`:                              {true, false},
		`{"repository": "a/b", "hook": "app", "receive": ["none"]}`:         {false, false},
		`{"repository": "a/b", "mode": "issue", "receive": ["push"]}`:       {true, true},
		`{"repository": "a/b", "mode": "issue", "receive": []}`:             {true, true},
		`{"repository": "a/b", "mode": "issue", "receive": ["", "issues"]}`: {true, true},
	} {
		s := decode(t, settings)
		if got := [2]bool{New().Definition().Hooked(s), New().Attaches(s)}; got != want {
			t.Errorf("%s: %v", settings, got)
		}
	}
}

// TestTheNextPageIsTheSameAPI proves that a token goes along only to where it belongs.
func TestTheNextPageIsTheSameAPI(t *testing.T) {
	a := &api{base: "https://api.github.com"}
	for link, want := range map[string]string{
		`<https://api.github.com/user/repos?page=2>; rel="next", <https://api.github.com/user/repos?page=9>; rel="last"`: "https://api.github.com/user/repos?page=2",
		`<https://api.github.com/user/repos?page=1>; rel="prev"`:                                                         "",
		`<https://evil.test/user/repos?page=2>; rel="next"`:                                                              "",
		`<https://api.github.com.evil.test/x>; rel="next"`:                                                               "",
		`<https://api.github.com@evil.test/x>; rel="next"`:                                                               "",
		`nonsense`: "",
	} {
		if got := a.nextPage(&integration.Response{Header: integration.Header{{Name: "link", Value: link}}}); got != want {
			t.Errorf("%s: %q", link, got)
		}
	}
}
