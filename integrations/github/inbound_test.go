package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
)

// example is the payload that a type shows.
func example(t testing.TB, event string) map[string]any {
	t.Helper()
	for _, spec := range eventTypes() {
		if spec.Key == "github."+event {
			var v map[string]any
			if err := json.Unmarshal(spec.Example, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("there is no type %s", event)
	return nil
}

// set changes a value in a payload, by its path.
func set(v map[string]any, path string, value any) {
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		v = v[key].(map[string]any)
	}
	v[keys[len(keys)-1]] = value
}

// readOne reads a payload, which must become one event.
func readOne(t testing.TB, s *Settings, event string, payload map[string]any) *integration.Inbound {
	t.Helper()
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	r := readCall(t, call(t, s, event, body))
	if len(r.Events) != 1 {
		t.Fatalf("%s became %+v", event, r)
	}
	return &r.Events[0]
}

func TestAPush(t *testing.T) {
	s := decode(t, `{"repository": "acme/web"}`)
	in := readOne(t, s, "push", example(t, "push"))
	mira := &integration.Person{
		ID: "81003", Name: "mira-lund", Avatar: "https://avatars.githubusercontent.com/u/81003?v=4", URL: "https://github.com/mira-lund",
	}
	if in.Type != "github.push" || in.Own || !in.OccurredAt.IsZero() || !cmp.Equal(in.Actor, mira) {
		t.Errorf("%+v by %+v", in, in.Actor)
	}
	author := *mira
	author.Email = "mira-lund@example.com"
	want := []integration.Entry{
		{
			Text: "Keep the cart when a session ends", OccurredOn: "2026-11-03", ExternalID: "77ac1e0d94b3f2586c1d7e9a0b3c5d7f9e1a2b4c",
			ExternalURL: "https://github.com/acme/web/commit/77ac1e0d94b3f2586c1d7e9a0b3c5d7f9e1a2b4c", Author: &author,
		},
		{
			Text: "Ship the cart's new totals", OccurredOn: "2026-11-03", ExternalID: "3f9b0c61d2a84e57b1c9d0e2f3a4b5c6d7e8f901",
			ExternalURL: "https://github.com/acme/web/commit/3f9b0c61d2a84e57b1c9d0e2f3a4b5c6d7e8f901",
			Author:      &integration.Person{Name: "tomaszk", Email: "tomaszk@example.com"},
		},
	}
	if diff := cmp.Diff(want, in.Entries); diff != "" {
		t.Error(diff)
	}
}

// TestCommitsThatAreNoEntries changes the second commit of the example.
func TestCommitsThatAreNoEntries(t *testing.T) {
	s := decode(t, `{"repository": "acme/web"}`)
	for what, c := range map[string]struct {
		change func(push, commit map[string]any)
		want   string
	}{
		"as it is":        {func(_, _ map[string]any) {}, "Keep the cart when a session ends|Ship the cart's new totals"},
		"another branch":  {func(p, _ map[string]any) { p["ref"] = "refs/heads/keep-cart" }, ""},
		"a tag":           {func(p, _ map[string]any) { p["ref"] = "refs/tags/main" }, ""},
		"main by no name": {func(p, _ map[string]any) { set(p, "repository.default_branch", nil) }, ""},
		"an old name of it": {func(p, _ map[string]any) {
			set(p, "repository.default_branch", nil)
			set(p, "repository.master_branch", "main")
		}, "Keep the cart when a session ends|Ship the cart's new totals"},
		"not new":          {func(_, c map[string]any) { c["distinct"] = false }, "Keep the cart when a session ends"},
		"a merge":          {func(_, c map[string]any) { c["message"] = "Merge pull request #118 from acme/keep-cart\n\nKeep" }, "Keep the cart when a session ends"},
		"a merge of Git's": {func(_, c map[string]any) { c["message"] = "Merge branch 'main' into x" }, "Keep the cart when a session ends"},
		"a bot":            {func(_, c map[string]any) { set(c, "author.username", "dependabot[bot]") }, "Keep the cart when a session ends"},
		"no message":       {func(_, c map[string]any) { c["message"] = "\n \n" }, "Keep the cart when a session ends"},
		"blanks":           {func(_, c map[string]any) { c["message"] = "\n\n  A\tlate \x00 title\nmore" }, "Keep the cart when a session ends|A late title"},
		"a long one":       {func(_, c map[string]any) { c["message"] = strings.Repeat("ä", 600) }, "Keep the cart when a session ends|" + strings.Repeat("ä", 499) + "…"},
	} {
		p := example(t, "push")
		c.change(p, p["commits"].([]any)[1].(map[string]any))
		var got []string
		for _, e := range readOne(t, s, "push", p).Entries {
			got = append(got, e.Text)
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q", what, got)
		}
	}
	p := example(t, "push")
	commits := p["commits"].([]any)
	for range 300 {
		commits = append(commits, commits[0])
	}
	p["commits"] = commits
	if got := readOne(t, s, "push", p).Entries; len(got) != maxEntries {
		t.Errorf("%d entries", len(got))
	}
	if got := readOne(t, decode(t, `{"repository": "acme/web", "entries": "releases"}`), "push", example(t, "push")).Entries; len(got) != 0 {
		t.Errorf("entries that nobody wants: %v", got)
	}
}

func TestWhoWroteACommit(t *testing.T) {
	for _, c := range []struct {
		username, name, email, api, want string
	}{
		{"Mira-Lund", "Mira", "mira@example.com", "", "81003 mira-lund mira@example.com"},
		{"tomaszk", "Tomasz", "90417+tomaszk@users.noreply.github.com", "", "90417 tomaszk 90417+tomaszk@users.noreply.github.com"},
		{"tomaszk", "Tomasz", "90417+tomaszk@users.noreply.github.com", "https://ghe.example.com/api/v3", " tomaszk 90417+tomaszk@users.noreply.github.com"},
		{"tomaszk", "Tomasz", "tomaszk@users.noreply.github.com", "", " tomaszk tomaszk@users.noreply.github.com"},
		{"", "Tomasz", "x+90417+y@users.noreply.github.com.evil.test", "", " Tomasz x+90417+y@users.noreply.github.com.evil.test"},
		{"", "Tomasz", "", "", " Tomasz "},
		{"", "", "", "", ""},
	} {
		p := example(t, "push")
		set(p["commits"].([]any)[1].(map[string]any), "author", map[string]any{"name": c.name, "email": c.email, "username": c.username})
		s := decode(t, `{"repository": "acme/web"}`)
		s.APIURL = c.api
		e := readOne(t, s, "push", p).Entries[1]
		got := ""
		if e.Author != nil {
			got = e.Author.ID + " " + e.Author.Name + " " + e.Author.Email
		}
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestEntriesOfOtherThings is the table of what else people get done.
func TestEntriesOfOtherThings(t *testing.T) {
	const day = "2026-11-03"
	for _, c := range []struct {
		event, path string
		value       any
		want        string // the text, its day, its author and its address
	}{
		{"pull_request", "", nil, "Merged #118: Keep the cart when a session ends|" + day + "|mira-lund|https://github.com/acme/web/pull/118"},
		{"pull_request", "pull_request.merged", false, ""},
		{"pull_request", "action", "labeled", ""},
		{"pull_request", "pull_request.user.type", "Bot", ""},
		{"pull_request", "pull_request.title", nil, ""},
		{"pull_request", "pull_request", nil, ""},
		{"issues", "", nil, "Closed #101: The cart is empty after signing in again|" + day + "|mira-lund|https://github.com/acme/web/issues/101"},
		{"issues", "issue.state_reason", "not_planned", ""},
		{"issues", "issue.state_reason", "duplicate", ""},
		{"issues", "issue.state_reason", nil, "Closed #101: The cart is empty after signing in again|" + day + "|mira-lund|https://github.com/acme/web/issues/101"},
		{"issues", "action", "opened", ""},
		{"issues", "sender.login", "stale[bot]", ""},
		{"issues", "issue.closed_at", nil, "Closed #101: The cart is empty after signing in again||mira-lund|https://github.com/acme/web/issues/101"},
		{"release", "", nil, "Released 4.2: a cart that stays|" + day + "|mira-lund|https://github.com/acme/web/releases/tag/v4.2.0"},
		{"release", "release.name", nil, "Released v4.2.0|" + day + "|mira-lund|https://github.com/acme/web/releases/tag/v4.2.0"},
		{"release", "release.html_url", nil, "Released 4.2: a cart that stays|" + day + "|mira-lund|"},
		{"release", "action", "released", ""}, // comes beside published
		{"workflow_run", "", nil, ""},
		{"issue_comment", "", nil, ""},
	} {
		p := example(t, c.event)
		if c.path != "" {
			set(p, c.path, c.value)
		}
		got := ""
		for _, e := range readOne(t, everything(t), c.event, p).Entries {
			got += strings.Join([]string{e.Text, e.OccurredOn, e.Author.Name, e.ExternalURL}, "|")
			if e.ExternalID == "" || e.Author.ID == "" {
				t.Errorf("%+v", e)
			}
		}
		if got != c.want {
			t.Errorf("%s with %s %v: %q", c.event, c.path, c.value, got)
		}
	}
}

// TestOurOwnDoings proves that what we write is known again, and what people do to it is not taken for ours.
func TestOurOwnDoings(t *testing.T) {
	body := func(did string) string { return "The nightly run has failed\n\n" + marker(did, "run/9") }
	edited := func(from string) map[string]any { return map[string]any{"body": map[string]any{"from": from}} }
	for _, c := range []struct {
		event, action, body string
		more                map[string]any
		own                 bool
	}{
		{"issues", "opened", body(didOpen), nil, true},
		{"issues", "opened", "by a person", nil, false},
		{"issues", "closed", body(didClose), nil, true},
		{"issues", "closed", body(didOpen), nil, false}, // by a person
		{"issues", "closed", body(didReopen), nil, false},
		{"issues", "reopened", body(didReopen), nil, true},
		{"issues", "reopened", body(didClose), nil, false},
		{"issues", "edited", body(didClose), map[string]any{"changes": edited(body(didOpen))}, true},
		{"issues", "edited", "own\n\n" + marker(didClose, "x"), map[string]any{"changes": edited("own")}, true},
		{"issues", "edited", body(didClose), map[string]any{"changes": edited("before " + body(didOpen))}, false},
		{"issues", "edited", body(didClose), map[string]any{"changes": map[string]any{"title": map[string]any{"from": "x"}}}, false},
		{"issues", "edited", body(didClose), map[string]any{"changes": map[string]any{}}, false},
		{"issues", "labeled", body(didOpen), map[string]any{"issue.created_at": "2026-11-03T09:43:04Z"}, true},
		{"issues", "assigned", body(didOpen), map[string]any{"issue.created_at": "2026-11-03T09:43:04Z"}, true},
		{"issues", "labeled", body(didOpen), nil, false}, // days later
		{"issues", "labeled", "by a person", map[string]any{"issue.created_at": "2026-11-03T09:43:04Z"}, false},
		{"issues", "deleted", body(didOpen), nil, false},
		{"issues", "opened", "by the app", map[string]any{"issue.performed_via_github_app": map[string]any{"client_id": "Iv1.ours"}}, true},
		{"issues", "opened", "by an app", map[string]any{"issue.performed_via_github_app": map[string]any{"client_id": "Iv1.other"}}, false},
		{"issue_comment", "created", body(didComment), nil, true},
		{"issue_comment", "created", "> " + body(didOpen), nil, false}, // quotes the issue
		{"issue_comment", "edited", body(didComment), nil, false},
		{"issue_comment", "created", "by the app", map[string]any{"comment.performed_via_github_app": map[string]any{"client_id": "Iv1.ours"}}, true},
		{"status", "", "", map[string]any{"context": "Patchbay"}, true},
		{"status", "", "", map[string]any{"context": "patchbay/pages"}, true},
		{"status", "", "", map[string]any{"context": "QA"}, true}, // the link's own
		{"status", "", "", map[string]any{"context": "patchbay-ci"}, false},
		{"status", "", "", map[string]any{"context": "ci/pages"}, false},
		{"push", "", "", nil, false},
	} {
		p := example(t, c.event)
		if c.action != "" {
			p["action"] = c.action
			set(p, map[string]string{"issues": "issue.body", "issue_comment": "comment.body"}[c.event], c.body)
		}
		for path, value := range c.more {
			set(p, path, value)
		}
		raw, _ := json.Marshal(p)
		in := call(t, decode(t, `{"repository": "acme/web", "receive": "issues,issue_comment,status,push", "mode": "status", "sha": "${payload.sha}", "context": "qa"}`), c.event, raw)
		in.Config = json.RawMessage(`{"client_id": "Iv1.ours"}`)
		r := readCall(t, in)
		if got := r.Events[0]; got.Own != c.own || got.Own && len(got.Entries) > 0 {
			t.Errorf("%s %s %q %v: own is %v", c.event, c.action, c.body, c.more, got.Own)
		}
	}
}

// TestWhatWeSendIsOurOwn takes what is sent for an issue, and reads what GitHub would tell of it.
func TestWhatWeSendIsOurOwn(t *testing.T) {
	f := newFake(t)
	env, _ := f.env()
	link := decode(t, issueMode)
	tell := func(action string) bool {
		p := example(t, "issues")
		p["action"] = action
		set(p, "issue.body", f.issues[0].Body)
		return readOne(t, link, "issues", p).Own
	}
	f.send(delivery(env, link, failing()))
	if !tell("opened") || tell("closed") {
		t.Error("opened")
	}
	f.send(delivery(env, link, with("resolved")))
	if !tell("closed") || tell("reopened") {
		t.Error("closed")
	}
	f.send(delivery(env, link, with("open")))
	if !tell("reopened") || tell("closed") {
		t.Error("opened again")
	}
	p := example(t, "issue_comment")
	set(p, "comment.body", f.issues[0].comments[0])
	if !readOne(t, link, "issue_comment", p).Own {
		t.Error("commented")
	}
}

func TestWhenItOccurred(t *testing.T) {
	for event, want := range map[string]string{
		"push": "0001-01-01T00:00:00Z", "issues": "2026-11-03T09:43:05Z", "issue_comment": "2026-10-29T11:02:09Z", "release": "2026-11-03T10:12:31Z",
		"workflow_run": "2026-11-03T10:07:46Z", "workflow_job": "2026-11-03T10:07:40Z", "pull_request_review": "2026-11-03T09:40:12Z",
		"star": "2026-11-01T18:20:02Z", "fork": "2026-11-01T18:22:30Z", "status": "2026-11-03T10:05:00Z", "check_run": "2026-11-03T10:04:00Z",
		"dependabot_alert": "2026-11-03T06:00:00Z", "public": "0001-01-01T00:00:00Z",
	} {
		if got := readOne(t, everything(t), event, example(t, event)).OccurredAt.Format(time.RFC3339); got != want {
			t.Errorf("%s occurred at %s, want %s", event, got, want)
		}
	}
	for _, wrong := range []any{"2199-01-01T00:00:00Z", "yesterday", 7, nil, "1970-01-01T00:00:00Z", received.Add(6 * time.Minute).Format(time.RFC3339)} {
		p := example(t, "star")
		p["starred_at"] = wrong
		if got := readOne(t, everything(t), "star", p).OccurredAt; !got.IsZero() {
			t.Errorf("%v: %v", wrong, got)
		}
	}
}

func TestVerification(t *testing.T) {
	s := decode(t, `{"repository": "acme/web"}`)
	body := []byte(`{"ref": "refs/heads/main"}`)
	good := call(t, s, "push", body)
	if err := verify(good); err != nil {
		t.Error(err)
	}
	rotated := call(t, s, "push", body)
	rotated.Secrets = []integration.Secret{"the-new-one", hookSecret}
	if err := verify(rotated); err != nil {
		t.Errorf("during a rotation: %v", err)
	}
	for what, change := range map[string]func(c *integration.HookCall){
		"another body":   func(c *integration.HookCall) { c.Body = []byte(`{"ref": "refs/heads/evil"}`) },
		"another secret": func(c *integration.HookCall) { sign(t, c, "guessed") },
		"no signature":   func(c *integration.HookCall) { c.Header.Del("X-Hub-Signature-256") },
		"SHA-1 alone": func(c *integration.HookCall) {
			c.Header.Del("X-Hub-Signature-256")
			c.Header.Set("X-Hub-Signature", "sha1=00")
		},
		"no secret":         func(c *integration.HookCall) { c.Secrets = nil },
		"an empty secret":   func(c *integration.HookCall) { c.Secrets = []integration.Secret{""}; sign(t, c, hookSecret) },
		"the app's address": func(c *integration.HookCall) { c.Link = 0 },
		"not hexadecimal":   func(c *integration.HookCall) { c.Header.Set("X-Hub-Signature-256", "sha256=zz") },
		"another app's hook": func(c *integration.HookCall) {
			c.Link = 0
			c.Config = json.RawMessage(`{"webhook_secret": "of-the-app"}`)
		},
	} {
		c := call(t, s, "push", body)
		change(c)
		if verify(c) == nil {
			t.Errorf("%s: the call is taken for GitHub's", what)
		}
	}
	if err := verify(good); errors.Is(err, signature.ErrForged) {
		t.Error(err)
	}
}

// TestTheAppsOwnAddress is about calls of a GitHub App's webhook.
func TestTheAppsOwnAddress(t *testing.T) {
	p := example(t, "push")
	p["installation"] = map[string]any{"id": 77, "node_id": "x"}
	body, _ := json.Marshal(p)
	c := call(t, nil, "push", body)
	c.Link, c.Secrets, c.Settings, c.Config = 0, nil, nil, json.RawMessage(`{"webhook_secret": "of-the-app"}`)
	c.Header.Set("X-GitHub-Hook-Installation-Target-Type", "integration")
	sign(t, c, "of-the-app")
	if err := verify(c); err != nil {
		t.Fatal(err)
	}
	e, err := New().Open(c)
	if err != nil || e.Account != "5501" || e.Type != "push" || e.Key != "" { // what is not signed tells no calls apart
		t.Errorf("%+v, %v", e, err)
	}
	c.Config = json.RawMessage(`{"webhook_secret": "of-the-app", "url": "https://ghe.example.com"}`)
	if e, err = New().Open(c); err != nil || e.Account != "ghe.example.com:5501" {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := New().Read(t.Context(), c); err == nil {
		t.Error("it is read without a link")
	}
	for settings, events := range map[string]int{
		`{"repository": "Acme/Web", "hook": "app"}`:                      1,
		`{"repository": "acme/api", "hook": "app"}`:                      0, // another repository of the same owner
		`{"repository": "acme/web"}`:                                     0, // which has a webhook of its own
		`{"repository": "acme/web", "hook": "app", "receive": "issues"}`: 0,
	} {
		c.Link, c.Settings = 7, decode(t, settings)
		r, err := New().Read(t.Context(), c)
		if err != nil || len(r.Events) != events || (r.Ignored == "") != (events == 1) {
			t.Errorf("%s: %+v, %v", settings, r, err)
		}
	}
	// Somebody withdraws what they had let the app do: the connections of that person are looked at.
	gone := call(t, decode(t, `{"repository": "acme/web"}`), "github_app_authorization", []byte(`{"action": "revoked", "sender": {"id": 81003, "login": "mira-lund"}}`))
	gone.Link = 0
	if e, err := New().Open(gone); err != nil || e.Account != "81003" {
		t.Errorf("%+v, %v", e, err)
	}
	gone.Link = 7
	if r, err := New().Read(t.Context(), gone); err != nil || !r.Ended || len(r.Events) != 0 || r.Ignored == "" {
		t.Errorf("%+v, %v", r, err)
	}
	for body, want := range map[string]string{
		`{"installation": {"id": 1, "account": {"id": 9}}}`:                   "9",
		`{"organization": {"id": 8}, "installation": {"account": {"id": 9}}}`: "8",
		`{"repository": {"owner": {"id": null}}}`:                             "",
		`{"repository": null, "sender": {"id": 3}}`:                           "",
		`{"repository": {"owner": {"id": "x"}}}`:                              "error",
	} {
		c.Link, c.Settings, c.Body, c.Config = 0, nil, []byte(body), nil
		e, err := New().Open(c)
		if got := ""; err == nil && e.Account != want || err != nil && want != "error" {
			t.Errorf("%s: %q%+v, %v", body, got, e, err)
		}
	}
}

func TestOtherCalls(t *testing.T) {
	s := everything(t)
	// A form, as webhooks send whose content type somebody changed.
	raw, _ := json.Marshal(example(t, "issues"))
	form := call(t, s, "issues", []byte(url.Values{"payload": {string(raw)}}.Encode()))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if r := readCall(t, form); len(r.Events) != 1 || string(r.Events[0].Payload) != string(raw) {
		t.Errorf("a form: %+v", r)
	}
	ping := call(t, s, "ping", []byte(`{"zen": "Keep it logically awesome.", "hook_id": 1}`))
	if e, err := New().Open(ping); err != nil || !e.Done {
		t.Errorf("a ping: %+v, %v", e, err)
	}
	if _, err := New().Open(&integration.HookCall{Header: http.Header{}, Link: 7}); err == nil || !strings.Contains(err.Error(), "X-GitHub-Event") {
		t.Errorf("not GitHub: %v", err)
	}
	for _, event := range []string{"team", "sponsorship", "evil\x00event", strings.Repeat("x", 1000)} {
		if r := readCall(t, call(t, s, event, []byte(`{}`))); len(r.Events) != 0 || r.Ignored == "" || len(r.Ignored) > 200 {
			t.Errorf("%.20q: %+v", event, r)
		}
	}
	for _, body := range []string{"", "[]", "7", "null", `"x"`, "{", `{"a": `, strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), "\x00"} {
		if r, err := New().Read(t.Context(), call(t, s, "push", []byte(body))); err == nil {
			t.Errorf("%.20q: %+v", body, r)
		}
	}
	bad := call(t, s, "push", []byte("a=b"))
	bad.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if _, err := New().Read(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "form") {
		t.Errorf("%v", err)
	}
}

// FuzzRead proves that no call makes us panic, tell of what is not there, or say something else the second time.
func FuzzRead(f *testing.F) {
	for _, spec := range eventTypes() {
		f.Add(strings.TrimPrefix(spec.Key, "github."), []byte(spec.Example), false)
	}
	f.Add("push", []byte("payload=%7B%7D"), true)
	f.Add("push", []byte(`{"ref":"refs/heads/main","repository":{"default_branch":"main"},"commits":[null,{"distinct":true,"message":"x","author":null}]}`), false)
	f.Add("issues", []byte(`{"action":"closed","issue":{"number":"7","title":"x","user":{},"id":{}},"sender":[]}`), false)
	s := everything(f)
	f.Fuzz(func(t *testing.T, event string, body []byte, form bool) {
		c := &integration.HookCall{Method: http.MethodPost, Header: http.Header{}, Body: body, ReceivedAt: received, Link: 7, Settings: s}
		c.Header.Set("X-GitHub-Event", event)
		if form {
			c.Header.Set("Content-Type", formType)
		}
		for _, link := range []patchbay.LinkID{0, 7} {
			c.Link = link
			_ = New().Verification(c)
			if e, err := New().Open(c); (e == nil) == (err == nil) {
				t.Fatalf("%+v, %v", e, err)
			}
		}
		before := bytes.Clone(body)
		r, err := New().Read(context.Background(), c)
		again, err2 := New().Read(context.Background(), c)
		if !cmp.Equal(r, again) || (err == nil) != (err2 == nil) || (r == nil) == (err == nil) || !bytes.Equal(before, body) {
			t.Fatalf("%+v %v, then %+v %v", r, err, again, err2)
		}
		if err != nil || len(r.Events) == 0 {
			return
		}
		in := r.Events[0]
		if !json.Valid(in.Payload) || !slices.Contains(eventNames(), strings.TrimPrefix(in.Type, "github.")) || len(in.Entries) > maxEntries {
			t.Fatalf("%+v", in)
		}
		for _, e := range in.Entries {
			if e.Text == "" || strings.ContainsAny(e.Text, "\n\r\x00") || len([]rune(e.Text)) > maxEntryText {
				t.Fatalf("%+v", e)
			}
			if _, err := time.Parse(time.DateOnly, e.OccurredOn); e.OccurredOn != "" && err != nil {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// FuzzTemplate proves that what a template makes is what stands in it and in the event.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"main", "${payload.branch}", "ci/${payload.job}-${id}", "${", "$${payload.a}", "${payload.list.0}", "${payload.list.-1}", "}${type}{"} {
		f.Add(s, `{"branch":"main","job":"x","list":["a",1,true,null,{}]}`)
	}
	f.Fuzz(func(t *testing.T, text, payload string) {
		e := &patchbay.Event{Type: "a.b", Scope: "acme/web", Payload: json.RawMessage(payload)}
		out, err := expand("ref", text, e)
		if err == nil && (len(out) > maxExpanded+len(text) || !strings.Contains(text, "${") && out != text) {
			t.Fatalf("%q became %q", text, out)
		}
		if bad := checkTemplate(text); bad != nil && err == nil {
			t.Fatalf("%q is refused (%v) and expanded", text, bad)
		}
	})
}
