package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

func TestConnect(t *testing.T) {
	g := New()
	c, err := g.Connect(json.RawMessage(`{"client_id": "Iv1.0", "client_secret": "s"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &integration.OAuth2{
		ClientID: "Iv1.0", ClientSecret: "s", AuthURL: "https://github.com/login/oauth/authorize", TokenURL: "https://github.com/login/oauth/access_token",
		Scopes: []string{"repo", "admin:repo_hook", "read:user"}, SecretInBody: true,
	}
	if diff := cmp.Diff(&integration.Connect{OAuth2: want}, c); diff != "" {
		t.Error(diff)
	}
	c, err = g.Connect(json.RawMessage(`{"client_id": "i", "client_secret": "s", "url": "https://github.example.com/"}`))
	if err != nil || c.OAuth2.TokenURL != "https://github.example.com/login/oauth/access_token" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, config := range []string{``, `{}`, `{"url": "https://github.example.com"}`} {
		c, err := g.Connect(json.RawMessage(config))
		if err != nil || c.OAuth2 != nil || len(c.Keys) != 2 || !c.Keys[0].Secret || !c.Keys[0].Required {
			t.Errorf("%s: %+v, %v", config, c, err)
		}
		checked, err := c.Keys.Check(json.RawMessage(`{"token": "ghp_x", "api_url": "https://github.example.com/api/v3"}`), integration.CheckOptions{})
		if err != nil {
			t.Errorf("%s, %v", checked, err)
		}
	}
	for _, config := range []string{`{"client_id": "i"}`, `{"client_secret": "s"}`, `[`} {
		if c, err := g.Connect(json.RawMessage(config)); err == nil {
			t.Errorf("%s: %+v", config, c)
		}
	}
}

func TestWhereTheAPIIs(t *testing.T) {
	con := func(data string) *integration.Connected { return &integration.Connected{Data: json.RawMessage(data)} }
	const theirs = `{"api_url": "https://theirs.example.com/api/v3/"}`
	for _, c := range []struct {
		config, link string
		con          *integration.Connected
		want         string
	}{
		{``, "", nil, "https://api.github.com"},
		{`{"url": "https://ghe.example.com"}`, "", nil, "https://ghe.example.com/api/v3"},
		{`{"url": "https://acme.ghe.com", "api_url": "https://api.acme.ghe.com/"}`, "", nil, "https://api.acme.ghe.com"},
		{``, "https://mine.example.com/api/v3", nil, "https://mine.example.com/api/v3"},
		{``, "https://mine.example.com/api/v3", con(``), "https://api.github.com"},
		{``, "https://mine.example.com/api/v3", con(theirs), "https://theirs.example.com/api/v3"},
		{`{"url": "https://ghe.example.com"}`, "", con(`{}`), "https://ghe.example.com/api/v3"},
	} {
		config, err := readConfig(json.RawMessage(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if got := baseURL(config, &Settings{APIURL: c.link}, c.con); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	for base, want := range map[string]string{publicAPI: "7", "https://GHE.example.com/api/v3": "ghe.example.com:7"} {
		if got := accountID(base, "7"); got != want {
			t.Errorf("%s: %s", base, got)
		}
	}
}

func TestIdentify(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	id, r := New().Identify(t.Context(), &integration.Grant{Credentials: &patchbay.Credentials{Access: token}, Env: env})
	if r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("%+v", r)
	}
	host := strings.TrimPrefix(f.URL, "http://")
	want := &integration.Identity{
		Account: patchbay.Account{ID: host + ":81003", Name: "mira-lund", URL: "https://github.com/mira-lund"},
		Grants:  []string{"repo", "admin:repo_hook", "read:user"}, Data: json.RawMessage(`{}`),
	}
	if diff := cmp.Diff(want, id); diff != "" {
		t.Error(diff)
	}
	// A personal access token at another server.
	env.Config = nil
	data := json.RawMessage(`{"api_url":"` + f.URL + `"}`)
	id, r = New().Identify(t.Context(), &integration.Grant{Credentials: &patchbay.Credentials{Extra: map[string]integration.Secret{"token": token}}, Data: data, Env: env})
	if r.Verdict != patchbay.VerdictDelivered || string(id.Data) != string(data) {
		t.Errorf("%+v, %+v", id, r)
	}
	f.refuse["GET /user"] = func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"login": ""}`) }
	if _, r = New().Identify(t.Context(), &integration.Grant{Credentials: &patchbay.Credentials{Access: token}, Data: data, Env: env}); r.Type != patchbay.CodeUserConfigurationError {
		t.Errorf("%+v", r)
	}
	delete(f.refuse, "GET /user")
	if _, r = New().Identify(t.Context(), &integration.Grant{Credentials: &patchbay.Credentials{Access: "gho_revoked"}, Data: data, Env: env}); r.Verdict != patchbay.VerdictAuthExpired {
		t.Errorf("%+v", r)
	}
}

func TestReadToken(t *testing.T) {
	read := func(status int, kind, body string) (*integration.Token, error) {
		return New().ReadToken(&integration.Response{Status: status, Header: integration.Header{{Name: "Content-Type", Value: kind}}, Body: []byte(body)})
	}
	const js = "application/json; charset=utf-8"
	for _, c := range []struct {
		kind, body string
		want       integration.Token
	}{
		{js, `{"access_token":"gho_1","token_type":"bearer","scope":"repo,gist"}`, integration.Token{Access: "gho_1", Type: "bearer", Scopes: []string{"repo", "gist"}}},
		{"application/x-www-form-urlencoded; charset=utf-8", `access_token=gho_1&scope=repo%2Cgist&token_type=bearer`, integration.Token{Access: "gho_1", Type: "bearer", Scopes: []string{"repo", "gist"}}},
		{js, `{"access_token":"ghu_1","expires_in":28800,"refresh_token":"ghr_1","refresh_token_expires_in":15811200,"scope":"","token_type":"bearer"}`,
			integration.Token{Access: "ghu_1", Refresh: "ghr_1", Type: "bearer", ExpiresIn: 28800, RefreshExpiresIn: 15811200}},
		{"application/x-www-form-urlencoded", `access_token=ghu_1&expires_in=28800&refresh_token=ghr_1&refresh_token_expires_in=15811200&scope=&token_type=bearer`,
			integration.Token{Access: "ghu_1", Refresh: "ghr_1", Type: "bearer", ExpiresIn: 28800, RefreshExpiresIn: 15811200}},
	} {
		got, err := read(200, c.kind, c.body)
		if err != nil || !cmp.Equal(*got, c.want) {
			t.Errorf("%s: %+v, %v", c.body, got, err)
		}
	}
	for _, c := range []struct {
		status     int
		kind, body string
		refused    bool
		says       string
	}{
		{200, js, `{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired."}`, true, "begin again"},
		{200, js, `{"error":"bad_refresh_token"}`, true, "connect the account again"},
		{200, "application/x-www-form-urlencoded", `error=bad_refresh_token&error_description=x`, true, "connect the account again"},
		{200, js, `{"error":"unverified_user_email"}`, true, "verified"},
		{200, js, `{"error":"access_denied"}`, true, "refused"},
		{200, js, `{"error":"incorrect_client_credentials"}`, false, "client_secret"},
		{200, js, `{"error":"redirect_uri_mismatch"}`, false, "/auth/github/callback"},
		{200, js, `{"error":"something_new"}`, false, "something_new"},
		{200, js, `{}`, false, "without a token"},
		{200, "text/html", `<html>`, false, "no token"},
		{502, "text/html", `<html>`, false, "502"},
		{502, js, `{}`, false, "502"},
		{200, "application/x-www-form-urlencoded", `%zz`, false, "no token"},
	} {
		got, err := read(c.status, c.kind, c.body)
		if err == nil || got != nil || errors.Is(err, integration.ErrTokenRefused) != c.refused || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d %s: %+v, %v", c.status, c.body, got, err)
		}
	}
}

func TestRevoke(t *testing.T) {
	f := newFake(t)
	env, _ := newEnv(t, `{"api_url": "`+f.URL+`", "client_id": "Iv1.0", "client_secret": "hush-hush-hush"}`)
	status := 204
	f.refuse["DELETE /applications/Iv1.0/token"] = func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Token string `json:"access_token"`
		}
		f.decode(r, &body)
		if id, secret, _ := r.BasicAuth(); id != "Iv1.0" || secret != "hush-hush-hush" || body.Token != token {
			t.Errorf("%s %s %+v", id, secret, body)
		}
		w.WriteHeader(status)
	}
	for code, want := range map[int]patchbay.Verdict{
		204: patchbay.VerdictDelivered, 404: patchbay.VerdictDelivered, 422: patchbay.VerdictDelivered, 401: patchbay.VerdictRejected, 503: patchbay.VerdictRetry,
	} {
		status = code
		if r := New().Revoke(t.Context(), connected(), env); r.Verdict != want {
			t.Errorf("%d: %+v", code, r)
		}
	}
	if got := f.take(); len(got) != 5 {
		t.Errorf("%v", got)
	}
	personal := &integration.Connected{Credentials: patchbay.Credentials{Extra: map[string]integration.Secret{"token": token}}}
	if r := New().Revoke(t.Context(), personal, env); r.Verdict != patchbay.VerdictDelivered || len(f.take()) != 0 {
		t.Errorf("a personal access token: %+v", r)
	}
	env.Config = nil
	if r := New().Revoke(t.Context(), connected(), env); r.Verdict != patchbay.VerdictRejected {
		t.Errorf("without the app: %+v", r)
	}
}

func TestChoices(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	f.perPage = 3
	ask := func(setting, search string, limit int) string {
		t.Helper()
		q := &integration.ChoiceQuery{Setting: setting, Search: search, Settings: json.RawMessage(`{"repository": "acme/web", "labels": 7}`), Connection: connected(), Env: env, Limit: limit}
		choices, r := New().Choices(t.Context(), q)
		if r.Verdict != patchbay.VerdictDelivered {
			return r.Error
		}
		var out []string
		for _, c := range choices {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s (%s)", c.Value, c.Help)))
		}
		return strings.Join(out, ", ")
	}
	for _, c := range []struct {
		search string
		limit  int
		want   string
		calls  int
	}{
		{"", 2, "acme/site-0 (private), acme/site-1 (public)", 1},
		{"SITE-5", 10, "acme/site-5 (public, not administered by you)", 3},
		{"acme/web", 10, "acme/web (public)", 4},
		{"acme/nothing", 10, "", 4},
		{"", 0, "acme/site-0 (private), acme/site-1 (public), acme/site-2 (private), acme/site-3 (public), acme/site-4 (private), " +
			"acme/site-5 (public, not administered by you), acme/site-6 (private, not administered by you)", 3},
	} {
		if got := ask("repository", c.search, c.limit); got != c.want {
			t.Errorf("%q: %s", c.search, got)
		}
		if calls := f.take(); len(calls) != c.calls {
			t.Errorf("%q takes %v", c.search, calls)
		}
	}
	f.refuse["GET /repos/acme/web/actions/workflows"] = func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"workflows": [{"name": "Deploy", "path": ".github/workflows/deploy.yml", "state": "active"}, {"name": "Old", "path": ".github/workflows/old.yml", "state": "disabled_manually"}]}`)
	}
	f.refuse["GET /repos/acme/web/labels"] = func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `[{"name": "bug"}, {"name": null}]`) }
	f.refuse["GET /repos/acme/web/assignees"] = func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `[{"login": "tomaszk"}]`) }
	f.refuse["GET /repos/acme/web/branches"] = says(404, "Not Found")
	for setting, want := range map[string]string{
		"workflow": "deploy.yml (), old.yml (disabled manually)", "labels": "bug ()", "assignees": "tomaszk ()",
		"ref": "GitHub does not find this (404)", "note": "has no choices",
	} {
		if got := ask(setting, "", 50); !strings.HasPrefix(got, want) && !strings.Contains(got, want) {
			t.Errorf("%s: %s", setting, got)
		}
	}
	f.take()
	if got := ask("receive", "pull_request_review", 0); got != "pull_request_review (), pull_request_review_comment (), pull_request_review_thread ()" {
		t.Error(got)
	}
	if got := ask("entries", "", 0); !strings.HasPrefix(got, "commits ()") || len(f.take()) != 0 {
		t.Error(got)
	}
	// Without a connection the link's own token is used, where it may go.
	for settings, want := range map[string]string{
		`{"token": "` + token + `"}`:           "",
		`{}`:                                   "connect an account",
		``:                                     "connect an account",
		`{"token": "x", "api_url": "ftp://x"}`: "api_url",
		`{"token": "` + token + `", "api_url": "https://u:p@x.example.com"}`: "api_url",
		`{"token": "x"}`: "refused the token",
	} {
		_, r := New().Choices(t.Context(), &integration.ChoiceQuery{Setting: "repository", Settings: json.RawMessage(settings), Env: env, Limit: 1})
		if !strings.Contains(r.Error, want) || (want == "") != (r.Verdict == patchbay.VerdictDelivered) {
			t.Errorf("%s: %+v", settings, r)
		}
	}
	if _, r := New().Choices(t.Context(), &integration.ChoiceQuery{Setting: "workflow", Connection: connected(), Env: env}); !strings.Contains(r.Error, "choose a repository") {
		t.Errorf("%+v", r)
	}
}

func TestSettings(t *testing.T) {
	def := New().Definition()
	for raw, want := range map[string]string{
		`"token": "t"`:                    "",
		``:                                "settings.token",
		`"token": "t", "mode": "comment"`: "settings.issue",
		`"token": "t", "mode": "status"`:  "settings.sha",
		`"token": "t", "mode": "workflow_dispatch"`:                                                     "settings.workflow",
		`"token": "t", "mode": "push"`:                                                                  "must be one of none, issue",
		`"token": "t", "repository": "web"`:                                                             "owner and the name",
		`"token": "t", "repository": "https://github.com/acme/web"`:                                     "without an address",
		`"token": "t", "repository": "acme/.."`:                                                         "owner and the name",
		`"token": "t", "repository": "acme/web/issues"`:                                                 "owner and the name",
		`"token": "t", "receive": "push, pushes"`:                                                       `"pushes"`,
		`"token": "t", "receive": "none, push"`:                                                         "one or the other",
		`"token": "t", "entries": "everything"`:                                                         `"everything"`,
		`"token": "t", "workflow": "../x.yml"`:                                                          "without its folder",
		`"token": "t", "sha": "${payload}"`:                                                             "placeholder",
		`"token": "t", "sha": "${payload.x"`:                                                            "without a }",
		`"token": "t", "inputs": {"a": "${env.X}"}`:                                                     "a has the placeholder",
		`"token": "t", "inputs": {` + strings.TrimSuffix(manyInputs(), ",") + `}`:                       "more than 25",
		`"token": "t", "api_url": "https://x.example.com/?a=b"`:                                         "without ?",
		`"token": "t", "mode": "status", "sha": "${payload.list.0}", "context": "${type}"`:              "",
		`"token": "t", "receive": ["push", "status"], "entries": "none", "issue": 7, "mode": "comment"`: "",
	} {
		if !strings.Contains(raw, `"repository"`) {
			raw = strings.TrimSuffix(`"repository": "acme/web", `+raw, ", ")
		}
		checked, err := def.Settings.Check(json.RawMessage(`{`+raw+`}`), integration.CheckOptions{})
		if err == nil {
			_, err = def.Decode(checked)
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
	s := decode(t, `{"repository": "Acme/Web"}`)
	if got := New().ShortName(s) + " → " + New().Destination(s) + "; " + New().Target(s); got != "GitHub Acme/Web → Acme/Web; acme/web" {
		t.Error(got)
	}
	if !slices.Equal(s.Receive, []string{"push", "pull_request", "issues", "issue_comment", "release", "workflow_run"}) || len(s.Entries) != 4 {
		t.Errorf("%+v", s)
	}
	if def.Threaded(s) || !def.Threaded(decode(t, issueMode)) {
		t.Error("only issues form threads")
	}
}

func manyInputs() string {
	var b strings.Builder
	for i := range 26 {
		fmt.Fprintf(&b, `"i%d": "x",`, i)
	}
	return b.String()
}
