package catalogs_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/catalog"
)

func byKey(t *testing.T, key string) integration.Integration {
	t.Helper()
	for _, i := range all.Integrations() {
		if i.Definition().Key == key {
			return i
		}
	}
	t.Fatalf("there is no integration %s", key)
	return nil
}

// sent decodes what an integration would send for a payload.
func sent(t *testing.T, integrationKey, typeName, payload string) map[string]any {
	t.Helper()
	ty := open(t).Type(typeName)
	if wrong := ty.Validate([]byte(payload)); len(wrong) > 0 {
		t.Fatalf("%s refuses %s: %+v", typeName, payload, wrong)
	}
	var body map[string]any
	if err := json.Unmarshal(deliver(t, byKey(t, integrationKey), ty, []byte(payload))[0], &body); err != nil {
		t.Fatal(err)
	}
	return body
}

const (
	completion = `{"frontend_url": "http://example.com", "run": {"id": 123, "result": "passed", "time_taken": 1503, "total_tests": 10,
		"total_passed_tests": 8, "total_failed_tests": 2, "total_no_result_tests": 0, "environment": {"name": "QA Environment"}}}`
	failure = `{"frontend_url": "http://www.example.com", "run": {"id": 666, "description": "nightly", "environment": {"name": "Testing Env"}},
		"failed_test": {"id": "20", "title": "Always fails", "frontend_url": "http://www.example.com/20"}, "browser": {"description": "Chrome 43"},
		"feedback": [{"worker_name": "Mrs. Awesome", "note": "This test is not awesome"}, {"worker_name": "Mr. Fail", "note": "It *fails*"}]}`
	timeout = `{"frontend_url": "http://www.example.com", "run": {"id": 7, "environment": {"name": "Foobar"}}}`
	runErr  = `{"frontend_url": "http://example.com", "run": {"id": 123, "error_reason": "We were unable to create social account(s)"}}`
)

// TestRainforestInSlack is the table of their README, field by field.
func TestRainforestInSlack(t *testing.T) {
	const unspecified = "Error reason was unspecified (please contact help@rainforestqa.com if you'd like help debugging this)"
	field := func(title, value string, short bool) map[string]any {
		return map[string]any{"title": title, "value": value, "short": short}
	}
	for _, c := range []struct {
		what, event, payload string
		text, color          string
		fields               []any
	}{
		{
			"a run that passed", "run_completion", completion,
			"Your Rainforest Run (<http://example.com|Run #123>) is complete!", "good",
			[]any{
				field("Result", "Passed", true), field("Duration", "25 minutes, 3 seconds", true), field("Environment", "QA Environment", true),
				field("Tests Passed", "<http://example.com?expandedGroups%5B%5D=passed|8 (80%)>", true),
				field("Tests Failed", "<http://example.com?expandedGroups%5B%5D=failed|2 (20%)>", true),
				field("Other Results", "<http://example.com?expandedGroups%5B%5D=no_result|0 (0%)>", true),
			},
		},
		{
			"a run with nothing but a result", "run_completion", `{"run": {"result": "no_result", "total_tests": 0, "total_passed_tests": 0, "new": [1]}, "x": null}`,
			"Your Rainforest Run (Run) is complete!", "danger",
			[]any{field("Result", "No result", true), field("Tests Passed", "0", true)},
		},
		{
			"a description", "run_completion", `{"frontend_url": "http://example.com", "run": {"id": "a-1", "description": "some <description>"}}`,
			"Your Rainforest Run (<http://example.com|Run #a-1: some &lt;description&gt;>) is complete!", "danger", nil,
		},
		{
			"an error", "run_error", runErr,
			"Your Rainforest Run (<http://example.com|Run #123>) has encountered an error!", "danger",
			[]any{field("Error Reason", "We were unable to create social account(s)", false)},
		},
		{
			"an error without a reason", "run_error", `{"run": {"id": 1, "error_reason": ""}}`,
			"Your Rainforest Run (Run #1) has encountered an error!", "danger",
			[]any{field("Error Reason", unspecified, false)},
		},
		{
			"a timeout, by its later name", "webhook_timeout", timeout,
			"Your Rainforest Run (<http://www.example.com|Run #7>) has timed out due to a webhook failure!\n" +
				"If you need a hand debugging it, please let us know via email at help@rainforestqa.com.", "danger",
			[]any{field("Environment", "Foobar", true)},
		},
		{
			"a failed test", "run_test_failure", failure,
			"Your Rainforest Run (<http://www.example.com|Run #666: nightly>) has a failed test!", "danger",
			[]any{
				field("Failed Test", "<http://www.example.com/20|Test #20: Always fails>", true), field("Environment", "Testing Env", true),
				field("Browser", "Chrome 43", true), field("Feedback from Mrs. Awesome", "This test is not awesome", false),
				field("Feedback from Mr. Fail", plainInSlack("It *fails*"), false),
			},
		},
		{
			"a failed test without browser and feedback", "run_test_failure", `{"run": {}, "failed_test": {"id": 0}}`,
			"Your Rainforest Run (Run) has a failed test!", "danger", []any{field("Failed Test", "Test #0", true)},
		},
	} {
		attachments, _ := sent(t, "slack", c.event, c.payload)["attachments"].([]any)
		if len(attachments) != 1 {
			t.Errorf("%s: %d attachments, want 1", c.what, len(attachments))
			continue
		}
		got := attachments[0].(map[string]any)
		if got["text"] != c.text || got["color"] != c.color {
			t.Errorf("%s: %s %q, want %s %q", c.what, got["color"], got["text"], c.color, c.text)
		}
		fields, _ := got["fields"].([]any)
		if diff := cmp.Diff(c.fields, fields); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
		if fallback, _ := got["fallback"].(string); !strings.HasPrefix(fallback, "Your Rainforest Run (Run") || strings.ContainsAny(fallback, "<>") {
			t.Errorf("%s: the fallback %q", c.what, fallback)
		}
	}
}

// plainInSlack is how Slack's markup spells a text that looks like markup.
func plainInSlack(s string) string { return markup.Slack(markup.Escape(s)) }

func TestRainforestRequires(t *testing.T) {
	for _, c := range []struct{ event, payload, missing string }{
		{"run_completion", `{}`, "payload.run"},
		{"run_error", `{"run": []}`, "payload.run"},
		{"run_webhook_timeout", `{"failed_test": {}}`, "payload.run"},
		{"run_test_failure", `{"run": {}}`, "payload.failed_test"},
		{"run_completion", `{"run": {}}`, ""},
		{"run_test_failure", `{"run": {"id": null, "unknown": true}, "failed_test": {}, "feedback": []}`, ""},
	} {
		wrong := open(t).Type(c.event).Validate([]byte(c.payload))
		if (len(wrong) > 0) != (c.missing != "") || c.missing != "" && wrong[0].Path != c.missing {
			t.Errorf("%s with %s: %+v, want something about %q", c.event, c.payload, wrong, c.missing)
		}
	}
	if ty := open(t).Type("webhook_timeout"); ty == nil || ty.Key() != "run_webhook_timeout" {
		t.Error("webhook_timeout is not an alias of run_webhook_timeout")
	}
}

func TestRainforestInTrackers(t *testing.T) {
	for _, tracker := range targets() {
		if tracker.Category != "tracker" {
			continue
		}
		for event, skipped := range map[string]bool{
			"run_completion": true, "run_error": true, "run_webhook_timeout": false, "run_test_failure": false, "repo.push": false,
		} {
			if got := open(t).Type(event).Skips(tracker); got != skipped {
				t.Errorf("%s is skipped by %s: %v", event, tracker.Key, got)
			}
		}
	}

	story := sent(t, "pivotal_tracker", "run_test_failure", failure)
	want := map[string]any{
		"name": "Rainforest found a bug in 'Always fails'", "story_type": "bug", "labels": []any{"RfTest20"},
		"comments": []any{map[string]any{"text": "Environment: Testing Env"}}, "description": story["description"],
	}
	if diff := cmp.Diff(want, story); diff != "" {
		t.Error(diff)
	}
	issue := sent(t, "jira", "run_test_failure", failure)["fields"].(map[string]any)
	if issue["summary"] != want["name"] || !slices.Equal(issue["labels"].([]any), []any{"RfTest20"}) {
		t.Errorf("the issue %v", issue)
	}
	for _, description := range []any{story["description"], issue["description"]} {
		for _, part := range []string{"has a failed test!", "Run #666: nightly", "http://www.example.com", "Test #20: Always fails", "Testing Env", "Chrome 43", "Mrs. Awesome"} {
			if !strings.Contains(description.(string), part) {
				t.Errorf("the description lacks %q: %s", part, description)
			}
		}
	}

	story = sent(t, "pivotal_tracker", "webhook_timeout", timeout)
	want = map[string]any{
		"name": "Your Rainforest webhook has timed out", "story_type": "bug", "labels": []any{"RfRun7"},
		"comments": []any{map[string]any{"text": "Environment: Foobar"}}, "description": story["description"],
	}
	if diff := cmp.Diff(want, story); diff != "" {
		t.Error(diff)
	}
	issue = sent(t, "jira", "webhook_timeout", timeout)["fields"].(map[string]any)
	if issue["summary"] != want["name"] || !slices.Equal(issue["labels"].([]any), []any{"RfRun7"}) {
		t.Errorf("the issue %v", issue)
	}
}

func TestRainforestInHipChat(t *testing.T) {
	for payload, color := range map[string]string{completion: "green", strings.Replace(completion, "passed", "failed", 1): "red"} {
		got := sent(t, "hip_chat", "run_completion", payload)
		card, _ := got["card"].(map[string]any)
		if got["color"] != color || got["notify"] != true || card["style"] != "application" {
			t.Errorf("the notification %v", got)
		}
		if message, _ := got["message"].(string); !strings.Contains(message, `<a href="http://example.com">Run #123</a>`) {
			t.Errorf("the message %q does not link to the run", message)
		}
		var labels []string
		attributes, _ := card["attributes"].([]any)
		for _, a := range attributes {
			labels = append(labels, a.(map[string]any)["label"].(string))
		}
		if diff := cmp.Diff([]string{"Result", "Duration", "Environment", "Tests Passed", "Tests Failed", "Other Results"}, labels); diff != "" {
			t.Error(diff)
		}
	}
}

// TestRhodeCodesNames proves that types are found by the names of feature #4024 and by RhodeCode's own, and that a
// pattern for a kind of them selects that kind and no other.
func TestRhodeCodesNames(t *testing.T) {
	c := open(t)
	for own, key := range map[string]string{
		"repo-push": "repo.push", "repo-pull": "repo.pull", "repo-create": "repo.create", "repo-delete": "repo.delete",
		"repo-pre-push": "repo.pre-push", "repo-commit-comment": "repo.commit.comment", "repo-commit-comment-edit": "repo.commit.comment.edit",
		"pullrequest-create": "pullrequest.create", "pullrequest-update": "pullrequest.update", "pullrequest-review": "pullrequest.review",
		"pullrequest-comment": "pullrequest.comment", "pullrequest-comment-edit": "pullrequest.comment.edit",
		"pullrequest-merge": "pullrequest.merge", "pullrequest-close": "pullrequest.close",
		"repo-group-create": "repogroup.create", "repo-group-update": "repogroup.update", "repo-group-delete": "repogroup.delete",
		"user-post-create": "user.create", "user-register": "user.register", "user.registered": "user.register",
		"user-permissions-change": "user.permissions-change", "user-pre-create": "user.pre-create", "user-pre-update": "user.pre-update",
	} {
		if ty := c.Type(own); ty == nil || ty.Key() != key {
			t.Errorf("%s is not %s", own, key)
		}
		if c.Type(key) == nil {
			t.Errorf("there is no %s", key)
		}
	}
	for pattern, prefix := range map[patchbay.Pattern]string{"repo.*": "repo.", "pullrequest.*": "pullrequest.", "repogroup.*": "repogroup.", "user.*": "user."} {
		for _, ty := range c.Types() {
			if got, want := ty.Matches(pattern), strings.HasPrefix(ty.Key(), prefix); got != want {
				t.Errorf("%s selects %s: %v", pattern, ty.Key(), got)
			}
		}
	}
}

// TestRhodeCodeReadsBothDictionaries proves that the short names of feature #4024 (repo with id and name) read as
// RhodeCode's own do (repo_id, repo_name), and that little is required.
func TestRhodeCodeReadsBothDictionaries(t *testing.T) {
	for payload, title := range map[string]string{
		`{"repo": {"id": 1, "name": "web"}}`: "Somebody pushed to web",
		`{"repo": {"repo_id": 1, "repo_name": "web"}, "actor": {"username": "ann"}, "push": {"commits": [{}], "branches": [{"name": "a"}, {"name": "b"}]}}`: "ann pushed 1 commit to a, b in web",
	} {
		ty := open(t).Type("repo.push")
		if wrong := ty.Validate([]byte(payload)); len(wrong) > 0 {
			t.Errorf("%s: %+v", payload, wrong)
		}
		if m := render(t, ty, []byte(payload), catalog.Target{}); m.Title != title || !markup.Parse(m.Text).Says(title) {
			t.Errorf("%s reads %q, %q; want %q", payload, m.Title, m.Text, title)
		}
	}
	for event, payload := range map[string]string{"repo.push": `{}`, "pullrequest.merge": `{"repo": {}}`, "repogroup.delete": `{}`} {
		if len(open(t).Type(event).Validate([]byte(payload))) == 0 {
			t.Errorf("%s accepts %s", event, payload)
		}
	}
}

func TestLongPushesAreCut(t *testing.T) {
	payload := `{"repo": {"name": "web"}, "push": {"commits": [{"short_id": "c0", "message": "m"}` + strings.Repeat(`, {"short_id": "c1", "message": "m"}`, 499) + `]}}`
	text := markup.Text(render(t, open(t).Type("repo.push"), []byte(payload), catalog.Target{}).Text)
	if strings.Count(text, "\n") > 13 || !strings.Contains(text, "500 commits") || !strings.Contains(text, "and 490 more") {
		t.Errorf("the text %q", text)
	}
}

// TestKeyclicsOwnExample takes the example of their documentation as it stands there, with texts where objects are.
func TestKeyclicsOwnExample(t *testing.T) {
	const payload = `{"type": "Report", "id": "b0e7e28f-5b91-4c73-875e-8f34aa03553a", "state": "NEW",
		"createdAt": "2018-02-27T10:00:00+02:00", "updatedAt": "2018-02-27T10:00:00+02:00",
		"_links": {"feedback": "...", "operations": "...", "organization": "...", "tracking": "..."},
		"_embedded": {"stateTransitions": "...", "tracking": ".."}}`
	for _, ty := range of(t, "keyclic") {
		if wrong := ty.Validate([]byte(payload)); len(wrong) > 0 {
			t.Errorf("%s refuses it: %+v", ty.Key(), wrong)
		}
		if m := render(t, ty, []byte(payload), catalog.Target{}); !strings.Contains(m.Title, "b0e7e28f") || len(m.Links) > 0 {
			t.Errorf("%s reads %+v", ty.Key(), m)
		}
		for _, bad := range []string{`{}`, `{"type": "Report"}`, `{"id": 1}`} {
			if len(ty.Validate([]byte(bad))) == 0 {
				t.Errorf("%s accepts %s", ty.Key(), bad)
			}
		}
		if wrong := ty.Validate([]byte(`{"type": "Report", "id": 1, "_links": [], "_embedded": "x", "more": {}}`)); len(wrong) > 0 {
			t.Errorf("%s: _links and _embedded are not open: %+v", ty.Key(), wrong)
		}
	}
	var keys []string
	for _, ty := range of(t, "keyclic") {
		keys = append(keys, ty.Key())
	}
	if diff := cmp.Diff([]string{"reportCreated", "reportStateChanged", "operationCreated", "operationStateChanged", "operationRemoved"}, keys); diff != "" {
		t.Error(diff)
	}
}

// TestThreads proves that what belongs together is one thread, and that what is missing makes none.
func TestThreads(t *testing.T) {
	c := open(t)
	thread := func(event, payload string, to catalog.Target) string {
		t.Helper()
		s, err := c.Type(event).Thread(&patchbay.Event{Type: event, Payload: []byte(payload)}, to)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	created := thread("pullrequest.create", `{"pullrequest": {"pull_request_id": 5}}`, catalog.Target{})
	if merged := thread("pullrequest.merge", `{"pullrequest": {"pull_request_id": "5"}}`, catalog.Target{}); created != merged || created == "" {
		t.Errorf("%q and %q", created, merged)
	}
	tracker := catalog.Target{Key: "jira", Category: "tracker"}
	for event, payload := range map[string]string{
		"run_test_failure": `{"run": {"id": 1}, "failed_test": {}}`, "webhook_timeout": `{"run": {}}`, "pullrequest.close": `{"pullrequest": {}}`,
		"repo.create": `{"repo": {}}`, "repogroup.create": `{"repo_group": {}}`, "user.create": `{}`, "repo.commit.comment": `{"repo": {"name": "x"}}`,
		"entry.created": `{"text": "x"}`,
	} {
		if got := thread(event, payload, tracker); got != "" {
			t.Errorf("%s with %s is of the thread %q", event, payload, got)
		}
	}
}
