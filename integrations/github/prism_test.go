package github

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/nodetest"
)

// operations are all that we call.
var operations = []string{
	"GET /user", "GET /user/repos", "GET /repos/{owner}/{repo}", "GET /repos/{owner}/{repo}/branches", "GET /repos/{owner}/{repo}/labels",
	"GET /repos/{owner}/{repo}/assignees", "GET /repos/{owner}/{repo}/actions/workflows",
	"GET /repos/{owner}/{repo}/hooks", "POST /repos/{owner}/{repo}/hooks", "PATCH /repos/{owner}/{repo}/hooks/{hook_id}",
	"DELETE /repos/{owner}/{repo}/hooks/{hook_id}",
	"GET /repos/{owner}/{repo}/issues", "POST /repos/{owner}/{repo}/issues", "GET /repos/{owner}/{repo}/issues/{issue_number}",
	"PATCH /repos/{owner}/{repo}/issues/{issue_number}", "POST /repos/{owner}/{repo}/issues/{issue_number}/comments",
	"POST /repos/{owner}/{repo}/statuses/{sha}", "POST /repos/{owner}/{repo}/dispatches",
	"POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches", "DELETE /applications/{client_id}/token",
}

// described is a mock of GitHub's API, made from GitHub's own description of it. A request that breaks it fails the test.
func described(t *testing.T, more string) (*integration.Env, *wire) {
	t.Helper()
	server := nodetest.Start(t, "prism.mjs", append([]string{"@octokit/openapi/generated/api.github.com.json"}, operations...)...)
	env, w := newEnv(t, `{"api_url": "`+server.URL+`"`+more+`}`)
	w.header = plainJSON("200")[:1]
	w.check = func(req *integration.Request, resp *integration.Response) {
		if v := resp.Header.Get("sl-violations"); v != "" {
			t.Errorf("%s %s breaks the description: %s\n%s", req.Method, req.URL, v, req.Body)
		}
		if strings.Contains(string(resp.Body), "stoplight.io/prism/errors") {
			t.Errorf("%s %s: %s", req.Method, req.URL, resp.Body)
		}
	}
	return env, w
}

// plainJSON asks for an answer with a status. The description knows application/json only, where GitHub's pages recommend
// application/vnd.github+json, which means the same.
func plainJSON(code string) integration.Header {
	return integration.Header{{Name: "Accept", Value: "application/json"}, {Name: "Prefer", Value: "code=" + code}}
}

// TestRequestsFollowGitHubsDescription makes every call that there is.
func TestRequestsFollowGitHubsDescription(t *testing.T) {
	env, w := described(t, `, "client_id": "Iv1.0123456789abcdef", "client_secret": "not-so-secret"`)
	g := New()
	delivered := func(what string, r integration.Result) {
		t.Helper()
		if r.Verdict != patchbay.VerdictDelivered {
			t.Errorf("%s: %+v", what, r)
		}
	}
	t.Run("it is checked", func(t *testing.T) {
		broken := ""
		strict := w.check
		defer func() { w.check = strict }()
		w.check = func(_ *integration.Request, resp *integration.Response) { broken += resp.Header.Get("sl-violations") }
		a, _ := newAPI(nil, connected(), env)
		s := &Settings{Repository: "acme/web"}
		for _, body := range []string{`{"client_payload": {}}`, `{"event_type": 7}`} {
			broken = ""
			if _, failed := a.send(t.Context(), http.MethodPost, a.repository(s, "dispatches"), json.RawMessage(body)); failed == nil || broken == "" {
				t.Errorf("%s is not refused", body)
			}
		}
	})
	w.take()

	id, r := g.Identify(t.Context(), &integration.Grant{Credentials: &patchbay.Credentials{Access: token}, Env: env})
	delivered("identify", r)
	if id == nil || id.Account.Name != "octocat" || !strings.HasSuffix(id.Account.ID, ":1") {
		t.Errorf("identify: %+v", id)
	}
	for mode, more := range map[Mode]string{
		ModeIssue:              `"labels": "bug", "assignees": "octocat", "note": "cc @acme/web"`,
		ModeComment:            `"issue": "${payload.issue.number}"`,
		ModeStatus:             `"sha": "${payload.sha}", "context": "ci/${payload.job}"`,
		ModeRepositoryDispatch: `"event_type": "deploy"`,
		ModeWorkflowDispatch:   `"workflow": "deploy.yml", "inputs": {"ok": "${payload.ok}"}`,
	} {
		s := decode(t, `{"repository": "acme/web", "mode": "`+string(mode)+`", `+more+`}`)
		delivered(string(mode), g.Send(t.Context(), delivery(env, s, failing())))
		if mode == ModeIssue {
			sendFurther(t, env, s, delivered)
		}
	}
	s := decode(t, `{"repository": "acme/web"}`)
	at := &integration.Attachment{
		Link: 7, Settings: s, Connection: connected(), Env: env, HookURL: "https://patchbay.example.test/integrations/github/hook/x", HookSecret: hookSecret,
	}
	attached, r := g.Attach(t.Context(), at)
	delivered("attach", r)
	at.State = attached.State
	_, r = g.Attach(t.Context(), at)
	delivered("attach again", r)
	delivered("detach", g.Detach(t.Context(), at))
	// The repository of the description's example is one that the account does not administer.
	if r := g.Test(t.Context(), delivery(env, s, failing())); r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, "administer") {
		t.Errorf("test: %+v", r)
	}
	delivered("test", g.Test(t.Context(), delivery(env, decode(t, `{"repository": "acme/web", "receive": "none"}`), failing())))
	for _, setting := range []string{"repository", "workflow", "ref", "labels", "assignees"} {
		q := &integration.ChoiceQuery{Setting: setting, Settings: json.RawMessage(`{"repository": "acme/web"}`), Connection: connected(), Env: env}
		choices, r := g.Choices(t.Context(), q)
		delivered(setting, r)
		if len(choices) == 0 {
			t.Errorf("no choices of %s", setting)
		}
	}
	delivered("revoke", g.Revoke(t.Context(), connected(), env))
	everyOperation(t, w.take())
}

// sendFurther makes the calls that issues take after the first.
func sendFurther(t *testing.T, env *integration.Env, s *Settings, delivered func(string, integration.Result)) {
	d := delivery(env, s, failing())
	d.Reference = "1347" // the one of the description's examples
	delivered("comment on an issue", New().Send(t.Context(), d))
	resolved := failing()
	resolved.Status = patchbay.StatusResolved
	d = delivery(env, s, resolved)
	d.Reference = "1347"
	delivered("close an issue", New().Send(t.Context(), d))
}

// everyOperation checks that each operation was called.
func everyOperation(t *testing.T, sent []string) {
	t.Helper()
	for _, operation := range operations {
		method, path, _ := strings.Cut(operation, " ")
		want := strings.Split(path, "/")
		found := false
		for _, s := range sent {
			m, p, _ := strings.Cut(s, " ")
			p, _, _ = strings.Cut(p, "?")
			parts := strings.Split(p, "/")
			same := m == method && len(parts) == len(want)
			for i := 0; same && i < len(parts); i++ {
				same = parts[i] == want[i] || strings.HasPrefix(want[i], "{")
			}
			found = found || same
		}
		if !found {
			t.Errorf("%s was not called; these were: %s", operation, strings.Join(sent, ", "))
		}
	}
}

// TestRefusalsOfGitHubsDescription lets every refusal that GitHub describes come back.
func TestRefusalsOfGitHubsDescription(t *testing.T) {
	env, w := described(t, "")
	user, ours := patchbay.CodeUserConfigurationError, patchbay.CodeMisconfiguredIntegration
	issue := decode(t, `{"repository": "acme/web", "mode": "issue"}`)
	dispatch := decode(t, `{"repository": "acme/web", "mode": "repository_dispatch"}`)
	for code, want := range map[string]patchbay.Code{"403": user, "404": user, "410": user, "422": ours, "400": ours, "503": patchbay.CodeServiceError} {
		w.header = plainJSON(code)
		m := failing()
		m.Thread = ""
		r := New().Send(context.Background(), delivery(env, issue, m))
		if r.Type != want || http.StatusText(r.Code) == "" || r.Disable || r.Error == "" {
			t.Errorf("an issue, %s: %+v, want %s", code, r, want)
		}
	}
	for code, want := range map[string]patchbay.Code{"404": user, "422": ours} {
		w.header = plainJSON(code)
		if r := New().Send(context.Background(), delivery(env, dispatch, failing())); r.Type != want {
			t.Errorf("a dispatch, %s: %+v, want %s", code, r, want)
		}
		if code == "422" { // listing webhooks has no such answer
			continue
		}
		_, r := New().Attach(context.Background(), &integration.Attachment{
			Settings: issue, Connection: connected(), Env: env, HookURL: "https://patchbay.example.test/integrations/github/hook/x",
		})
		if r.Type != user || !strings.Contains(r.Error, "admin:repo_hook") {
			t.Errorf("a webhook, %s: %+v", code, r)
		}
	}
}
