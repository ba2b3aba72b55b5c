package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

const issueMode = `{"repository": "acme/web", "mode": "issue", "labels": "bug, Nightly", "assignees": "tomaszk", "note": "cc @acme/on-call"}`

// send makes an attempt that must be delivered, and returns the reference for the next one.
func (f *fake) send(d *integration.Delivery) string {
	f.t.Helper()
	r := New().Send(context.Background(), d)
	if r.Verdict != patchbay.VerdictDelivered {
		f.t.Fatalf("%+v", r)
	}
	return r.Reference
}

func with(status patchbay.Status) *patchbay.Message {
	m := failing()
	m.Status = status
	return m
}

func TestAnIssue(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	if got := f.send(delivery(env, decode(t, issueMode), failing())); got != "1" {
		t.Errorf("the reference is %q", got)
	}
	want := &fakeIssue{
		Number: 1, Title: "The nightly run has failed", State: "open", Labels: []string{"bug", "Nightly"},
		Body: "3 of 48 pages do **not** load. Ask @\u200btomaszk or &lt;b&gt;nobody&lt;/b&gt;.\n\n**Environment:** QA\n\n" +
			"[Show](https://app.example.com/runs/9)\n\ncc @acme/on-call\n\n" + marker(didOpen, "run/9"),
	}
	if diff := cmp.Diff(want, f.issues[0], cmp.AllowUnexported(fakeIssue{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"GET /repos/acme/web/issues", "POST /repos/acme/web/issues"}, f.take()); diff != "" {
		t.Error(diff)
	}
}

// TestTheLifeOfAMatter follows one thread from when it begins until somebody closes it by hand.
func TestTheLifeOfAMatter(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	s := decode(t, issueMode)
	reference := ""
	tell := func(m *patchbay.Message, stale bool, want string, calls ...string) {
		t.Helper()
		d := delivery(env, s, m)
		d.Reference, d.Stale = reference, stale
		reference = f.send(d)
		got := ""
		for _, i := range f.issues {
			got += fmt.Sprintf("%s%s%d ", i.State, i.Reason, len(i.comments))
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("the issues are %q, want %q", got, want)
		}
		sent := f.take()
		for i := range sent {
			sent[i] = strings.Replace(sent[i], "/repos/acme/web/issues", "", 1)
		}
		if diff := cmp.Diff(calls, sent); diff != "" {
			t.Error(diff)
		}
	}
	tell(with("resolved"), false, "", "GET ") // nothing is open, and nothing is made
	tell(failing(), false, "open0", "GET ", "POST ")
	tell(failing(), false, "open1", "GET /1", "POST /1/comments")
	tell(with("resolved"), true, "open2", "GET /1", "POST /1/comments") // what came later says how it stands
	tell(with("resolved"), false, "closedcompleted3", "GET /1", "POST /1/comments", "PATCH /1")
	tell(with("resolved"), false, "closedcompleted3", "GET /1")
	tell(with("open"), true, "closedcompleted3", "GET /1")
	tell(with("open"), false, "openreopened4", "GET /1", "PATCH /1", "POST /1/comments")
	f.issues[0].State = "closed" // by a person
	tell(failing(), false, "closedreopened4 open0", "GET /1", "POST ")
	if reference != "2" {
		t.Errorf("the thread goes on at %q", reference)
	}
	f.issues[1].deleted = true
	tell(with("open"), false, "openreopened5 open0", "GET /2", "GET ", "PATCH /1", "POST /1/comments") // found by its mark
	for _, i := range f.issues {
		if did, name := marked(i.Body); name == "" || i.Number == 1 && did != didReopen {
			t.Errorf("#%d is marked %q %q", i.Number, did, name)
		}
	}
	if want := "**The nightly run has failed**\n\n3 of 48"; !strings.HasPrefix(f.issues[0].comments[0], want) {
		t.Errorf("the comment %q", f.issues[0].comments[0])
	}
}

// TestAnIssueIsFoundByItsMark is what happens after a crash between making an issue and remembering it.
func TestAnIssueIsFoundByItsMark(t *testing.T) {
	f := newFake(t)
	env, w := f.env()
	s := decode(t, `{"repository": "acme/web", "mode": "issue", "on_repeat": "nothing"}`)
	f.send(delivery(env, s, failing()))
	f.issues[0].Body += "\n\nA person adds: see `<!-- patchbay:opened -->`"
	for range 45 { // others, some of which quote the mark
		f.issues = append(f.issues, &fakeIssue{Number: len(f.issues) + 1, State: "open", Body: "Something else\n\n" + marker(didOpen, "other")})
	}
	f.take()
	w.take()
	if got := f.send(delivery(env, s, failing())); got != "1" || len(f.issues) != 46 {
		t.Errorf("reference %q, %d issues", got, len(f.issues))
	}
	sent := w.take()
	if len(sent) != 3 || !strings.Contains(sent[0], "creator=mira-lund") || !strings.Contains(sent[2], "page=3") {
		t.Errorf("it took %v", sent)
	}
	if got := f.send(delivery(env, s, with("resolved"))); got != "1" || f.issues[0].State != "closed" || len(f.issues[0].comments) != 0 {
		t.Errorf("on_repeat nothing: %+v", f.issues[0])
	}
	for range 100 { // beyond the newest hundred nothing is looked for
		f.issues = append(f.issues, &fakeIssue{Number: len(f.issues) + 1, State: "open"})
	}
	if got := f.send(delivery(env, s, failing())); got != "147" {
		t.Errorf("reference %q", got)
	}
	m := failing()
	m.Thread = ""
	w.take()
	f.send(delivery(env, s, m))
	if sent := w.take(); len(sent) != 1 {
		t.Errorf("a message of no thread is not looked for: %v", sent)
	}
}

func TestALinksOwnBody(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	d := delivery(env, decode(t, issueMode), failing())
	d.Body = json.RawMessage(`{"title": "own", "body": "own"}`)
	reference := f.send(d)
	if f.issues[0].Title != "own" || f.issues[0].Body != "own" {
		t.Errorf("%+v", f.issues[0])
	}
	d = delivery(env, decode(t, issueMode), with("resolved"))
	d.Reference = reference
	if f.send(d); f.issues[0].State != "closed" || f.issues[0].Body != "own\n\n"+marker(didClose, "run/9") {
		t.Errorf("%+v", f.issues[0])
	}
}

func TestAComment(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	f.issues = append(f.issues, &fakeIssue{Number: 1, State: "open"})
	d := delivery(env, decode(t, `{"repository": "acme/web", "mode": "comment", "issue": "#1", "note": "cc @mira-lund"}`), failing())
	f.send(d)
	if c := f.issues[0].comments; len(c) != 1 || !strings.HasSuffix(c[0], "cc @mira-lund\n\n"+marker(didComment, "run/9")) {
		t.Errorf("%q", c)
	}
	d.Settings = decode(t, `{"repository": "acme/web", "mode": "comment", "issue": "${payload.branch}"}`)
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, `"main"`) {
		t.Errorf("%+v", r)
	}
}

func TestACommitStatus(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	s := decode(t, `{"repository": "acme/web", "mode": "status", "sha": "${payload.sha}", "context": "ci/${payload.job}"}`)
	for _, c := range []struct {
		status   patchbay.Status
		severity patchbay.Severity
		want     string
	}{
		{"", patchbay.SeverityInfo, "pending"}, {"open", patchbay.SeverityInfo, "pending"}, {"resolved", patchbay.SeverityInfo, "success"},
		{"", patchbay.SeveritySuccess, "success"}, {"open", patchbay.SeverityWarning, "failure"}, {"", patchbay.SeverityError, "failure"},
		{"", patchbay.SeverityCritical, "error"}, {"resolved", patchbay.SeverityCritical, "success"},
	} {
		m := failing()
		m.Title, m.Status, m.Severity = strings.Repeat("ä", 200), c.status, c.severity
		f.send(delivery(env, s, m))
		got := f.statuses[len(f.statuses)-1]
		want := newStatus{State: c.want, TargetURL: "https://app.example.com/runs/9", Context: "ci/pages", Description: strings.Repeat("ä", 139) + "…"}
		if got != want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	if got := f.take(); got[0] != "POST /repos/acme/web/statuses/3f9b0c61d2a84e57b1c9d0e2f3a4b5c6d7e8f901" {
		t.Error(got[0])
	}
}

func TestDispatches(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	d := delivery(env, decode(t, `{"repository": "acme/web", "mode": "repository_dispatch"}`), failing())
	d.Event.Payload, d.Event.Actor = json.RawMessage(`{"n":12345678901234567890.10,"html":"<b>"}`), json.RawMessage(`{"name":"Ada"}`)
	f.send(d)
	want := `{"event_type":"run_error","client_payload":{"id":"` + d.Event.ID.String() + `","event":"run_error","scope":"acme/web",` +
		`"occurred_at":"2026-11-22T12:00:00Z","title":"The nightly run has failed","actor":{"name":"Ada"},"payload":{"n":12345678901234567890.10,"html":"<b>"}}}`
	d.Settings = decode(t, `{"repository": "acme/web", "mode": "workflow_dispatch", "workflow": "deploy.yml", "ref": "${payload.branch}",
		"inputs": {"page": "${payload.list.0}", "ok": "${payload.ok}", "number": "#${payload.issue.number}"}}`)
	d.Event = delivery(env, nil, failing()).Event
	f.send(d)
	if diff := cmp.Diff([]string{want, `{"ref":"main","inputs":{"number":"#101","ok":"true","page":"a"}}`}, f.started); diff != "" {
		t.Error(diff)
	}
	d.Settings = decode(t, `{"repository": "acme/web", "mode": "repository_dispatch"}`)
	d.Event.Payload = json.RawMessage(`{"text":"` + strings.Repeat("x", 64<<10) + `"}`)
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, "64 KiB") {
		t.Errorf("%+v", r)
	}
	d.Body = json.RawMessage(`{"event_type": "own"}`)
	if f.send(d); f.started[2] != string(d.Body) {
		t.Error(f.started[2])
	}
}

func TestWhatAnEventDoesNotHave(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	for settings, says := range map[string]string{
		`"mode": "status", "sha": "${payload.nothing}"`:                                           "sha asks for ${payload.nothing}, which this event does not have",
		`"mode": "status", "sha": "${payload.issue}"`:                                             "neither text nor a number",
		`"mode": "status", "sha": "main"`:                                                         "no whole hash",
		`"mode": "repository_dispatch", "event_type": "${payload.list.7}"`:                        "event_type asks",
		`"mode": "repository_dispatch", "event_type": "` + strings.Repeat("x", 101) + `"`:         "between 1 and 100",
		`"mode": "workflow_dispatch", "workflow": "deploy.yml", "inputs": {"a": "${actor.name}"}`: "inputs.a asks",
		`"mode": "workflow_dispatch", "workflow": "deploy.yml", "ref": "${payload.sha.x}"`:        "ref asks",
		`"mode": "none"`: "mode is none",
	} {
		r := New().Send(t.Context(), delivery(env, decode(t, `{"repository": "acme/web", `+settings+`}`), failing()))
		if r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, says) {
			t.Errorf("%s: %+v", settings, r)
		}
	}
	if calls := f.take(); len(calls) != 0 {
		t.Errorf("%v", calls)
	}
}

// TestRefusals is the table of what GitHub answers when it does not do what was asked.
func TestRefusals(t *testing.T) {
	const issues, search = "POST /repos/acme/web/issues", "GET /repos/acme/web/issues"
	const status, dispatch = "POST /repos/acme/web/statuses/3f9b0c61d2a84e57b1c9d0e2f3a4b5c6d7e8f901", "POST /repos/acme/web/actions/workflows/deploy.yml/dispatches"
	modes := map[string]string{
		issues: `"mode": "issue"`, search: `"mode": "issue"`, status: `"mode": "status", "sha": "${payload.sha}"`,
		dispatch: `"mode": "workflow_dispatch", "workflow": "deploy.yml"`,
	}
	user, ours, later := patchbay.CodeUserConfigurationError, patchbay.CodeMisconfiguredIntegration, patchbay.CodeServiceError
	reset := fmt.Sprintf("X-RateLimit-Reset: %d", time.Now().Add(10*time.Minute).Unix())
	validation := func(more string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 422, `{"message": "Validation Failed", "errors": [`+more+`]}`)
		}
	}
	for _, c := range []struct {
		what   string
		answer http.HandlerFunc
		code   patchbay.Code
		says   string
		wait   time.Duration // about; for throttled ones
	}{
		{issues, says(403, "API rate limit exceeded for user ID 81003.", "X-RateLimit-Remaining: 0", reset), later, "limits", 10 * time.Minute},
		{issues, says(429, "API rate limit exceeded", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 99999999999"), later, "limits", 2 * time.Hour},
		{issues, says(429, "API rate limit exceeded", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1"), later, "limits", time.Second},
		{issues, says(403, "You have exceeded a secondary rate limit.", "Retry-After: 60"), later, "limits", time.Minute},
		{search, says(403, "You have exceeded a secondary rate limit and have been temporarily blocked", "X-RateLimit-Remaining: 4000"), later, "limits", time.Minute},
		{issues, says(429, "Slow down"), later, "limits", time.Minute},
		{issues, says(403, "Resource not accessible by personal access token"), user, "scope", 0},
		{issues, says(403, "Resource protected by organization SAML enforcement."), user, "organization", 0},
		{search, says(404, "Not Found"), user, "may see", 0},
		{issues, says(410, "Issues has been disabled in this repository."), user, "turned off", 0},
		{search, says(301, "Moved Permanently", "Location: /repositories/1/issues"), user, "present name", 0},
		{issues, says(307, "Moved"), user, "present name", 0},
		{issues, validation(`{"resource": "Issue", "field": "assignees", "code": "invalid", "value": ["x"]}`), user, "assignees", 0},
		{issues, validation(`{"resource": "Label", "field": "labels", "code": "invalid"}`), user, "labels", 0},
		{issues, validation(`{"resource": "Issue", "field": "title", "code": "custom"}`), ours, "422", 0},
		{issues, says(503, "Service unavailable"), later, "503", 0},
		{issues, says(500, "oops"), later, "500", 0},
		{status, says(422, "No commit found for SHA: 3f9b"), user, "check sha", 0},
		{status, validation(`{"resource": "Status", "code": "custom", "message": "This SHA and context has reached the maximum number of statuses."}`), ours, "422", 0},
		{dispatch, says(422, "Unexpected inputs provided: [page]"), user, "inputs", 0},
		{dispatch, says(422, "Required input 'page' not provided"), user, "inputs", 0},
		{dispatch, says(422, "Workflow does not have 'workflow_dispatch' trigger"), user, "add that", 0},
		{dispatch, says(422, "No ref found for: main"), user, "check ref", 0},
		{dispatch, says(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow"), user, "deploy.yml", 0},
		{dispatch, says(404, "Not Found"), user, "404", 0},
	} {
		f := newFake(t)
		env, _ := f.env()
		f.refuse[c.what] = c.answer
		r := New().Send(t.Context(), delivery(env, decode(t, `{"repository": "acme/web", `+modes[c.what]+`}`), failing()))
		if r.Type != c.code || !strings.Contains(r.Error, c.says) || r.Disable || r.Throttled != (c.wait > 0) || (r.Verdict == patchbay.VerdictRetry) != (c.code == later) {
			t.Errorf("%s: %+v, want %s about %q", c.what, r, c.code, c.says)
		}
		if c.wait > 0 && (r.RetryAfter > c.wait+3*time.Second || r.RetryAfter < c.wait-3*time.Second) {
			t.Errorf("%s: it waits %v, want %v", c.what, r.RetryAfter, c.wait)
		}
		if len(f.issues) > 0 {
			t.Error("an issue was made all the same")
		}
	}
}

// TestCredentials tells whose refusal is a matter of the connection, and that a connection's token goes nowhere else.
func TestCredentials(t *testing.T) {
	f, other := newFake(t), newFake(t)
	env, _ := f.env()
	other.tokens["ghp_the-links-own"] = true
	s := decode(t, issueMode)
	f.tokens = map[string]bool{}
	if r := New().Send(t.Context(), delivery(env, s, failing())); r.Verdict != patchbay.VerdictAuthExpired {
		t.Errorf("a connection whose token was revoked: %+v", r)
	}
	f.tokens[token] = true
	s.APIURL = other.URL // whoever may write the link may write this
	f.send(delivery(env, s, failing()))
	if len(f.issues) != 1 || len(other.take()) != 0 {
		t.Error("the connection's token went where the link says")
	}
	s.Token = "ghp_the-links-own"
	d := delivery(env, s, failing())
	d.Connection = nil
	f.send(d)
	if len(other.issues) != 1 {
		t.Error("the link's own token did not go where the link says")
	}
	s.Token = "ghp_wrong-one-of-them"
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, "token") {
		t.Errorf("a wrong token: %+v", r)
	}
	s.Token = ""
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, "connect an account") {
		t.Errorf("no token: %+v", r)
	}
}

// TestPreview makes one request for every mode, which is the one that creates.
func TestPreview(t *testing.T) {
	f := newFake(t)
	for mode, more := range map[string]string{"issue": ``, "comment": `, "issue": "7"`, "status": `, "sha": "${payload.sha}"`, "repository_dispatch": ``, "workflow_dispatch": `, "workflow": "deploy.yml"`} {
		env, w := f.env()
		d := delivery(env, decode(t, `{"repository": "acme/web", "mode": "`+mode+`"`+more+`}`), failing())
		d.Preview, d.Reference = true, "1"
		New().Send(t.Context(), d)
		if sent := w.take(); len(sent) != 1 || !strings.HasPrefix(sent[0], "POST ") {
			t.Errorf("%s: %v", mode, sent)
		}
	}
}

func TestTest(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	try := func(settings, repository string) integration.Result {
		if repository != "" {
			f.refuse["GET /repos/acme/web"] = func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, repository) }
		}
		return New().Test(t.Context(), delivery(env, decode(t, settings), failing()))
	}
	for _, c := range []struct{ settings, repository, says string }{
		{issueMode, "", ""},
		{issueMode, `{"archived": true}`, "archived"},
		{issueMode, `{"has_issues": false}`, "no issues"},
		{issueMode, `{"permissions": {"admin": false, "push": true}}`, "administer"},
		{`{"repository": "acme/web", "mode": "issue", "receive": "none"}`, `{"permissions": {"admin": false, "push": false}}`, ""},
		{`{"repository": "acme/web", "mode": "repository_dispatch"}`, `{"permissions": {"push": false}}`, "write"},
		{`{"repository": "acme/web"}`, `<html>`, "not GitHub"},
	} {
		r := try(c.settings, c.repository)
		if (r.Verdict == patchbay.VerdictDelivered) != (c.says == "") || !strings.Contains(r.Error, c.says) {
			t.Errorf("%s %s: %+v", c.settings, c.repository, r)
		}
	}
}

// TestContract runs the kit over each mode, with a token of the link's own and with a connection.
func TestContract(t *testing.T) {
	const own = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
	event := &patchbay.Event{}
	*event = *delivery(&integration.Env{}, nil, failing()).Event
	event.Payload = json.RawMessage(`{"name":"repo.push","repo":{"id":7,"name":"web"}}`)
	partner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			body, _ := json.Marshal([]issue{{Number: "5", State: "open", Body: marker(didOpen, "repo/web")}})
			if !strings.HasSuffix(r.URL.Path, "/issues") {
				body = body[1 : len(body)-1]
			}
			answer(w, 200, string(body))
		case strings.HasSuffix(r.URL.Path, "dispatches"):
			w.WriteHeader(204)
		default:
			answer(w, 201, `{"number": 5}`)
		}
	})
	const commit = "3f9b0c61d2a84e57b1c9d0e2f3a4b5c6d7e8f901"
	for mode, more := range map[string]string{
		"issue": ``, "comment": `, "issue": "7", "note": "cc @acme/web"`, "status": `, "sha": "` + commit + `"`, "repository_dispatch": ``,
		"workflow_dispatch": `, "workflow": "deploy.yml", "inputs": {"type": "${type}"}`,
	} {
		c := integrationtest.Case{
			Integration: New(), Partner: partner, Event: event, MaxBody: 512 << 10,
			Settings: `{"repository": "acme/web", "mode": "` + mode + `", "api_url": "{{URL}}", "token": "` + own + `"` + more + `}`,
			Secrets:  []string{own},
			Statuses: map[int]integrationtest.Want{
				403: integrationtest.Throttled, // the kit sends Retry-After with it
				410: integrationtest.UserError,
			},
			Clean: clean,
		}
		t.Run(mode, func(t *testing.T) { integrationtest.Run(t, c) })
		if mode != "issue" {
			continue
		}
		c.Settings, c.Secrets = `{"repository": "acme/web", "mode": "issue"}`, nil
		c.Config, c.Connection = `{"api_url": "{{URL}}"}`, connected()
		c.Statuses[401] = integrationtest.Want{Verdict: patchbay.VerdictAuthExpired, Type: patchbay.CodeUserConfigurationError}
		t.Run("connected", func(t *testing.T) { integrationtest.Run(t, c) })
	}
}

// clean checks that hostile text is text in what is written at GitHub.
func clean(t *testing.T, body []byte, hostile string) {
	t.Helper()
	var sent struct {
		Body string `json:"body"`
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		t.Fatalf("%v in %.300q", err, body)
	}
	text := strings.ReplaceAll(unmarked(sent.Body), "cc @acme/web", "")
	var page strings.Builder
	reader := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := reader.Convert([]byte(text), &page); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`href="https://evil`, `href="javascript`, "<img", "<script", "<b>", "<h1", "<h2", "<table", "<del", "<blockquote", "<hr", "<!"} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("%.100q makes %s in %.1000s", hostile, bad, page.String())
		}
	}
	if at := mention.FindString(text); at != "" {
		t.Errorf("%.100q notifies %q", hostile, at)
	}
}

// mention is what GitHub notifies somebody of.
var mention = regexp.MustCompile(`(?:^|[^A-Za-z0-9_])@[A-Za-z0-9_]+`)
