package jira

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
	"github.com/patchbay/patchbay/integration/markup"
)

const apiToken = "ATATT-0123456789abcdef"

// server is a stand-in for Jira with one project, ABC. Fail answers a call with a status and body instead.
type server struct {
	*httptest.Server
	cloud  bool
	hidden bool // the search runs behind and finds nothing
	issues []*madeIssue
	fail   map[string]reply
	calls  []string
	bodies []string
	last   *http.Request
}

type reply struct {
	status int
	body   string
}

type madeIssue struct {
	Key    string      `json:"key"`
	Fields issueFields `json:"fields"`
	done   bool
	notes  []string
}

func newServer(t *testing.T) *server {
	s := &server{fail: map[string]reply{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

var (
	searchJQL = regexp.MustCompile(`^project = "ABC" AND labels = "((?:[^"\\]|\\.)*)" AND statusCategory != Done ORDER BY created DESC$`)
	issuePath = regexp.MustCompile(`^(GET|POST) /rest/api/2/issue/ABC-([0-9]+)(/comment|/transitions)?$`)
)

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	call := r.Method + " " + r.URL.Path
	s.calls, s.bodies, s.last = append(s.calls, call), append(s.bodies, string(body)), r
	w.Header().Set("Content-Type", "application/json")
	if f, ok := s.fail[call]; ok {
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.body)
		return
	}
	search, gone := "POST /rest/api/2/search", "POST /rest/api/3/search/jql"
	if s.cloud {
		search, gone = gone, search
	}
	switch {
	case call == search:
		s.search(w, body)
	case call == gone && s.cloud:
		w.WriteHeader(http.StatusGone)
	case call == "POST /rest/api/2/issue":
		s.create(w, body)
	case call == "GET /rest/api/2/myself":
		_, _ = io.WriteString(w, `{"name": "bot"}`)
	case call == "GET /rest/api/2/project/ABC":
		_, _ = io.WriteString(w, `{"key": "ABC", "issueTypes": [{"name": "Task"}, {"name": "Bug"}]}`)
	case issuePath.MatchString(call):
		s.issue(w, issuePath.FindStringSubmatch(call), body)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errorMessages": ["not here"], "errors": {}}`)
	}
}

func (s *server) search(w http.ResponseWriter, body []byte) {
	var ask struct{ JQL string }
	match := []string{}
	if json.Unmarshal(body, &ask) == nil {
		match = searchJQL.FindStringSubmatch(ask.JQL)
	}
	if match == nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errorMessages": ["The value does not exist for the field 'project'."]}`)
		return
	}
	label := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(match[1])
	found := []*madeIssue{}
	for _, i := range s.issues {
		for _, l := range i.Fields.Labels {
			if l == label && !i.done && !s.hidden {
				found = append(found, i)
			}
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"issues": found})
}

func (s *server) create(w http.ResponseWriter, body []byte) {
	made := &madeIssue{Key: "ABC-" + strconv.Itoa(len(s.issues)+1)}
	if json.Unmarshal(body, made) != nil || made.Fields.Project.Key != "ABC" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errorMessages":[],"errors":{"project":"project is required"}}`)
		return
	}
	s.issues = append(s.issues, made)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"id":"1","key":"`+made.Key+`","self":"http://jira/1"}`)
}

func (s *server) issue(w http.ResponseWriter, match []string, body []byte) {
	number, _ := strconv.Atoi(match[2])
	if number < 1 || number > len(s.issues) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	i := s.issues[number-1]
	switch match[1] + match[3] {
	case "GET":
		category := "new"
		if i.done {
			category = "done"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"key": i.Key, "fields": map[string]any{
			"labels": i.Fields.Labels, "status": map[string]any{"statusCategory": map[string]any{"key": category}},
		}})
	case "GET/transitions":
		_, _ = io.WriteString(w, `{"transitions": [{"id": "11", "name": "In Progress"}, {"id": "31", "name": "Done"}]}`)
	case "POST/transitions":
		i.done = string(body) == `{"transition":{"id":"31"}}`
		w.WriteHeader(http.StatusNoContent)
	case "POST/comment":
		i.notes = append(i.notes, string(body))
		w.WriteHeader(http.StatusCreated)
	}
}

// direct is integration.HTTP without guards. Every host leads to the stand-in.
type direct struct{ transport http.Transport }

func (s *server) http() *direct {
	return &direct{http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}}
}

func (d *direct) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	r, err := http.NewRequestWithContext(ctx, req.Method, req.URL, bytes.NewReader(req.Body))
	if err != nil {
		return nil, err
	}
	for _, h := range req.Header {
		r.Header.Add(h.Name, h.Value)
	}
	resp, err := d.transport.RoundTrip(r)
	if err != nil {
		return nil, errors.New("no connection")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, integration.MaxResponse))
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &integration.Response{Status: resp.StatusCode, Body: body, RetryAfter: time.Duration(seconds) * time.Second}, err
}

const basic = `"email": "bot@example.com", "api_token": "` + apiToken + `"`

func settings(t *testing.T, raw string) *Settings {
	t.Helper()
	checked, err := New().Definition().Settings.Check(json.RawMessage(`{"project_key": "ABC", `+raw+`}`), integration.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New().Definition().Decode(checked)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Settings)
}

func delivery(t *testing.T, s *server, more string, msg integration.Message) *integration.Delivery {
	host := "jira.example.com"
	if s.cloud {
		host = "acme.atlassian.net"
	}
	return &integration.Delivery{
		Settings: settings(t, `"jira_base_url": "http://`+host+`/", `+more),
		Message:  func() (*integration.Message, error) { return &msg, nil },
		Env:      &integration.Env{HTTP: s.http(), Now: time.Now, Log: slog.New(slog.DiscardHandler)},
	}
}

func send(t *testing.T, d *integration.Delivery) integration.Result {
	t.Helper()
	r := New().Send(context.Background(), d)
	if r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("got %+v", r)
	}
	return r
}

func failure() integration.Message {
	return integration.Message{
		Title:  "Rainforest found a bug in\n'Log in'",
		Text:   "Your Rainforest Run ([Run \\#9](<https://app.example.com/runs/9>)) has a failed test\\!",
		Fields: []patchbay.Field{{Title: "Environment", Value: "QA", Short: true}},
		Thread: "RfTest20",
		Labels: []string{"nightly run"},
	}
}

func TestFirstMessageCreatesAnIssue(t *testing.T) {
	s := newServer(t)
	r := send(t, delivery(t, s, basic+`, "labels": "from patchbay, RfTest20", "priority": "High"`, failure()))
	if r.Reference != "ABC-1" || r.Code != http.StatusCreated {
		t.Errorf("got %+v", r)
	}
	if diff := cmp.Diff([]string{"POST /rest/api/2/search", "POST /rest/api/2/issue"}, s.calls); diff != "" {
		t.Error(diff)
	}
	want := issueFields{
		Project: keyed{"ABC"}, IssueType: named{"Bug"}, Priority: &named{"High"},
		Summary:     "Rainforest found a bug in 'Log in'",
		Description: "Your Rainforest Run ([Run #9|https://app.example.com/runs/9]) has a failed test!\n\n*Environment:* QA",
		Labels:      []string{"RfTest20", "from-patchbay", "nightly-run"},
	}
	if diff := cmp.Diff(want, s.issues[0].Fields); diff != "" {
		t.Error(diff)
	}
	if user, password, _ := s.last.BasicAuth(); user != "bot@example.com" || password != apiToken {
		t.Errorf("signed in as %q", user)
	}
	if got := s.last.Header.Get("Accept-Language"); got != "en" {
		t.Errorf("Accept-Language: %q", got)
	}
}

func TestARepeatedMessageCreatesNothing(t *testing.T) {
	for _, cloud := range []bool{false, true} {
		s := newServer(t)
		s.cloud = cloud
		for range 3 {
			if r := send(t, delivery(t, s, basic, failure())); r.Reference != "ABC-1" {
				t.Fatalf("got %+v", r)
			}
		}
		search := "POST /rest/api/2/search"
		if cloud {
			search = "POST /rest/api/3/search/jql"
		}
		if diff := cmp.Diff([]string{search, "POST /rest/api/2/issue", search, search}, s.calls); diff != "" {
			t.Errorf("cloud %v: %s", cloud, diff)
		}
		s.issues[0].done = true
		if r := send(t, delivery(t, s, basic, failure())); r.Reference != "ABC-2" {
			t.Errorf("cloud %v: what happens again after its issue is done: %+v", cloud, r)
		}
	}
}

func TestAnIssueWithoutAUsableKeyStillCounts(t *testing.T) {
	s := newServer(t)
	s.fail["POST /rest/api/2/search"] = reply{200, `{"issues": [{"foo": "bar"}]}`}
	send(t, delivery(t, s, basic+`, "comment_on_repeat": true`, failure()))
	if len(s.issues) > 0 {
		t.Error("a second issue was made")
	}
}

func TestTheReferenceBridgesASearchThatRunsBehind(t *testing.T) {
	s := newServer(t)
	d := delivery(t, s, basic, failure())
	d.Reference = send(t, d).Reference
	s.hidden, s.calls = true, nil
	if r := send(t, d); r.Reference != "ABC-1" {
		t.Errorf("got %+v, want the issue that is there", r)
	}
	if diff := cmp.Diff([]string{"POST /rest/api/2/search", "GET /rest/api/2/issue/ABC-1"}, s.calls); diff != "" {
		t.Error(diff)
	}
	if got := s.last.URL.RawQuery; got != "fields=status,labels" {
		t.Errorf("asked for %q", got)
	}
	s.issues[0].done = true
	if r := send(t, d); r.Reference != "ABC-2" {
		t.Errorf("the reference is done: %+v", r)
	}
	d.Reference = "ABC-99"
	if r := send(t, d); r.Reference != "ABC-3" {
		t.Errorf("the reference was deleted: %+v", r)
	}
	s.fail["GET /rest/api/2/issue/ABC-1"] = reply{status: 503}
	d.Reference = "ABC-1"
	if r := New().Send(context.Background(), d); r.Verdict != patchbay.VerdictRetry || len(s.issues) != 3 {
		t.Errorf("Jira fails in between: %+v", r)
	}
}

func TestCommentOnRepeat(t *testing.T) {
	s := newServer(t)
	d := delivery(t, s, basic+`, "comment_on_repeat": true`, failure())
	send(t, d)
	if r := send(t, d); r.Reference != "ABC-1" || len(s.issues) != 1 {
		t.Fatalf("got %+v and %d issues", r, len(s.issues))
	}
	want := `{"body":"*Rainforest found a bug in 'Log in'*\n\nYour Rainforest Run ([Run #9|https://app.example.com/runs/9]) has a failed test!\n\n*Environment:* QA"}`
	if diff := cmp.Diff([]string{want}, s.issues[0].notes); diff != "" {
		t.Error(diff)
	}
}

func TestResolve(t *testing.T) {
	s := newServer(t)
	msg := failure()
	msg.Status = patchbay.StatusResolved
	open := delivery(t, s, basic+`, "resolve_transition": "done"`, failure())
	resolved := delivery(t, s, basic+`, "resolve_transition": "done"`, msg)

	send(t, resolved)
	if len(s.issues) > 0 {
		t.Fatal("a message that resolves what is not open made an issue")
	}
	send(t, open)
	resolved.Stale = true
	if send(t, resolved); s.issues[0].done {
		t.Fatal("an older message resolved what a newer one had said is open")
	}
	resolved.Stale = false
	if r := send(t, resolved); !s.issues[0].done || r.Reference != "ABC-1" {
		t.Fatalf("not resolved: %+v", r)
	}
	// Without the setting the status means nothing, and every message of the thread may create.
	if send(t, delivery(t, s, basic, msg)); len(s.issues) != 2 {
		t.Errorf("%d issues, want 2", len(s.issues))
	}
	r := New().Send(context.Background(), delivery(t, s, basic+`, "resolve_transition": "Ship it"`, msg))
	if r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, "resolve_transition") {
		t.Errorf("an unknown transition: %+v", r)
	}
}

func TestPreviewOnlyCreates(t *testing.T) {
	s := newServer(t)
	for _, way := range []string{basic, oauthSettings} { // no consumer: nothing is signed
		d := delivery(t, s, way, failure())
		d.Preview, d.Reference = true, "ABC-7"
		send(t, d)
	}
	if diff := cmp.Diff([]string{"POST /rest/api/2/issue", "POST /rest/api/2/issue"}, s.calls); diff != "" {
		t.Error(diff)
	}
}

func TestALinksOwnBodyReplacesTheIssue(t *testing.T) {
	s := newServer(t)
	d := delivery(t, s, basic, failure())
	d.Body = json.RawMessage(`{"fields": {"project": {"key": "ABC"}, "summary": "own"}}`)
	send(t, d)
	if s.bodies[1] != string(d.Body) {
		t.Errorf("sent %s", s.bodies[1])
	}
}

func TestFailures(t *testing.T) {
	const search, create = "POST /rest/api/2/search", "POST /rest/api/2/issue"
	user, ours := patchbay.CodeUserConfigurationError, patchbay.CodeMisconfiguredIntegration
	for _, c := range []struct {
		call string
		reply
		code patchbay.Code
		says string
	}{
		{search, reply{400, `{"errorMessages":["The value 'ABC' does not exist for the field 'project'."]}`}, user, "project_key"},
		{search, reply{401, ``}, user, "email and api_token"},
		{search, reply{403, ``}, user, "project ABC"},
		{search, reply{404, ``}, user, "jira_base_url"},
		{search, reply{410, ``}, user, "atlassian.net"},
		{search, reply{302, ``}, user, "302"},
		{search, reply{200, `<html>Log in</html>`}, user, "jira_base_url"},
		{search, reply{429, ``}, patchbay.CodeServiceError, "429"},
		{search, reply{500, ``}, patchbay.CodeServiceError, "500"},
		{create, reply{400, `{"errorMessages":[],"errors":{"project":"no"}}`}, user, "project_key"},
		{create, reply{400, `{"errorMessages":[],"errors":{"issuetype":"no","priority":"no"}}`}, user, "issue_type, priority"},
		{create, reply{400, `{"errorMessages":[],"errors":{"customfield_10010":"Team is required.","components":"Component/s is required."}}`}, user, "components, customfield_10010"},
		{create, reply{400, `{"errorMessages":[],"errors":{"summary":"too long"}}`}, ours, "400"},
		{create, reply{400, `{"errorMessages":["bad"],"errors":{"customfield_1` + apiToken + `":"x"}}`}, ours, "400"},
		{create, reply{400, `not json`}, ours, "400"},
		{create, reply{401, ``}, user, "email and api_token"},
		{create, reply{403, ``}, user, "project ABC"},
		{create, reply{404, ``}, user, "jira_base_url"},
		{create, reply{413, ``}, ours, "413"},
		{create, reply{429, ``}, patchbay.CodeServiceError, "429"},
		{create, reply{503, ``}, patchbay.CodeServiceError, "503"},
	} {
		s := newServer(t)
		s.fail[c.call] = c.reply
		r := New().Send(context.Background(), delivery(t, s, basic, failure()))
		if r.Type != c.code || r.Code != c.status || !strings.Contains(r.Error, c.says) || r.Disable || len(s.issues) > 0 {
			t.Errorf("%s answers %d %s: got %+v", c.call, c.status, c.body, r)
		}
		if retry := c.code == patchbay.CodeServiceError; retry != (r.Verdict == patchbay.VerdictRetry) || retry != (r.RetryAfter == 10*time.Second) {
			t.Errorf("%s answers %d: got %+v", c.call, c.status, r)
		}
		if r.Throttled != (c.status == 429) {
			t.Errorf("%s answers %d: throttled %v", c.call, c.status, r.Throttled)
		}
		if strings.Contains(r.Error, apiToken) {
			t.Errorf("%s answers %d: the error shows what Jira echoed: %s", c.call, c.status, r.Error)
		}
	}
}

func TestContract(t *testing.T) {
	const open = `[{"key": "ABC-1", "fields": {"labels": ["repo/web"], "status": {"statusCategory": {"key": "new"}}}}]`
	for name, c := range map[string]struct{ more, issues string }{
		"basic":   {basic, `[]`},
		"bearer":  {`"token": "` + apiToken + `"`, `[]`},
		"comment": {basic + `, "comment_on_repeat": true`, open},
		"oauth":   {strings.Replace(oauthSettings, "access/token+1", apiToken, 1), `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			integrationtest.Run(t, integrationtest.Case{
				Integration: New(),
				Settings:    `{"jira_base_url": "{{URL}}", "project_key": "ABC", ` + c.more + `}`,
				Secrets:     []string{apiToken},
				Consumer:    &integration.OAuthConsumer{Key: "k", Secrets: map[string]integration.Secret{"RSA-SHA1": pkcs1(rsaKey())}},
				Partner: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/search") {
						_, _ = io.WriteString(w, `{"issues": `+c.issues+`}`)
						return
					}
					w.WriteHeader(http.StatusCreated)
					_, _ = io.WriteString(w, `{"id": "1", "key": "ABC-1"}`)
				}),
				EveryStatus: func(r *http.Request, status int) integrationtest.Want {
					if strings.HasSuffix(r.URL.Path, "/search") && (status == 400 || status == 410) {
						return integrationtest.UserError
					}
					result := integration.Classify(partner, &integration.Response{Status: status})
					return integrationtest.Want{Verdict: result.Verdict, Type: result.Type, Throttled: result.Throttled, Disable: result.Disable}
				},
				MaxBody: 512 << 10,
			})
		})
	}
}

func TestTester(t *testing.T) {
	s := newServer(t)
	if r := New().Test(context.Background(), delivery(t, s, basic, integration.Message{})); r.Verdict != patchbay.VerdictDelivered {
		t.Errorf("got %+v", r)
	}
	if diff := cmp.Diff([]string{"GET /rest/api/2/myself", "GET /rest/api/2/project/ABC"}, s.calls); diff != "" {
		t.Error(diff)
	}
	if r := New().Test(context.Background(), delivery(t, s, basic+`, "issue_type": "Story"`, integration.Message{})); !strings.Contains(r.Error, "issue_type") {
		t.Errorf("an unknown issue type: %+v", r)
	}
	s.fail["GET /rest/api/2/project/ABC"] = reply{status: 404}
	if r := New().Test(context.Background(), delivery(t, s, basic, integration.Message{})); !strings.Contains(r.Error, "project_key") {
		t.Errorf("an unknown project: %+v", r)
	}
	s.fail["GET /rest/api/2/myself"] = reply{status: 401}
	if r := New().Test(context.Background(), delivery(t, s, `"token": "`+apiToken+`"`, integration.Message{})); !strings.Contains(r.Error, "check token") {
		t.Errorf("a wrong token: %+v", r)
	}
	if got := s.last.Header.Get("Authorization"); got != "Bearer "+apiToken {
		t.Errorf("Authorization: %q", got)
	}
}

func TestSettings(t *testing.T) {
	def := New().Definition()
	const base = `"jira_base_url": "https://acme.atlassian.net", "project_key": "ABC"`
	for raw, want := range map[string]struct {
		code patchbay.Code
		says string
	}{
		base + `, ` + basic:                       {},
		base + `, "token": "t"`:                   {},
		base + `, ` + oauthSettings:               {},
		base:                                      {patchbay.CodeMisconfiguredIntegration, "settings.oauth_settings"},
		base + `, "email": "a@e.com"`:             {patchbay.CodeMisconfiguredIntegration, "settings.api_token"},
		base + `, "api_token": "t"`:               {patchbay.CodeMisconfiguredIntegration, "settings.email"},
		base + `, "token": "t", ` + basic:         {patchbay.CodeInvalidRequest, "only one"},
		base + `, "token": "t", ` + oauthSettings: {patchbay.CodeInvalidRequest, "only one"},
		base + `, "oauth_settings": {"signature_method": "RSA-SHA1", "access_token": "t"}`:    {patchbay.CodeMisconfiguredIntegration, "access_secret"},
		base + `, "oauth_settings": {"access_token": "t", "access_secret": "s"}`:              {patchbay.CodeMisconfiguredIntegration, "signature_method"},
		base + `, "oauth_settings": {"signature_method": "PLAINTEXT", "access_token": "t"}`:   {patchbay.CodeInvalidRequest, "RSA-SHA1"},
		`"jira_base_url": "", "project_key": " ", ` + basic:                                   {patchbay.CodeMisconfiguredIntegration, "settings.project_key"},
		`"jira_base_url": "https://a:b@jira.example.com", "project_key": "ABC", "token": "t"`: {patchbay.CodeInvalidRequest, "jira_base_url"},
	} {
		checked, err := def.Settings.Check(json.RawMessage(`{`+raw+`}`), integration.CheckOptions{})
		if err == nil {
			_, err = def.Decode(checked)
		}
		if patchbay.CodeOf(err) != want.code || err != nil && !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v, want %q about %q", raw, err, want.code, want.says)
		}
	}
	s := settings(t, `"jira_base_url": "https://Acme.atlassian.net/", "token": "t"`)
	if got := New().ShortName(s) + " → " + New().Destination(s) + "; " + New().Target(s); got != "Jira ABC → ABC on Acme.atlassian.net; https://acme.atlassian.net ABC" {
		t.Errorf("got %q", got)
	}
}

func TestCloudIsRecognisedByItsHost(t *testing.T) {
	for address, cloud := range map[string]bool{
		"https://acme.atlassian.net":             true,
		"https://ACME.Atlassian.Net:443/":        true,
		"https://atlassian.net.example.com":      false,
		"https://acme.example.com/atlassian.net": false,
		"https://notatlassian.net":               false,
		"https://api.atlassian.com/ex/jira/1":    true,
	} {
		if got := (&Settings{BaseURL: address}).cloud(); got != cloud {
			t.Errorf("%s: cloud %v", address, got)
		}
	}
}

// FuzzJQL proves that neither a label nor a project key can leave its string.
func FuzzJQL(f *testing.F) {
	for _, s := range []string{"RfTest20", `x" OR project != "y`, `\`, `\" OR 1=1 --`, "a\u2028b", "run/1", "\"\\\n\x00"} {
		f.Add("ABC", s)
		f.Add(s, "x")
	}
	whole := regexp.MustCompile(`^project = ("(?:[^"\\]|\\["\\])*") AND labels = ("(?:[^"\\]|\\["\\])*") AND statusCategory != Done ORDER BY created DESC$`)
	f.Fuzz(func(t *testing.T, project, thread string) {
		label := labelOf(thread)
		q := jql(project, label)
		match := whole.FindStringSubmatch(q)
		if match == nil || strings.ContainsAny(q, "\x00\n\r") {
			t.Fatalf("the query %q", q)
		}
		if strings.ContainsAny(label, " \t\n\u2028") || len([]rune(label)) > maxLabel {
			t.Fatalf("the label %q", label)
		}
	})
}

// FuzzIssue proves that no text breaks the limits of an issue, or the one line of its summary.
func FuzzIssue(f *testing.F) {
	f.Add("[~admin]", "h1. x\n{code}", "[a|http://evil.example]")
	f.Add("!http://evil.example/x.png!", "{panel}", "|a|b|\n||x||")
	f.Add(strings.Repeat("{", 40000), "\\\\", "-- * #")
	f.Fuzz(func(t *testing.T, title, text, value string) {
		fields := settings(t, `"jira_base_url": "https://jira.example.com", "token": "t"`).issue(&integration.Message{
			Title: title, Text: markup.Escape(text), Thread: title,
			Fields: []patchbay.Field{{Title: title, Value: markup.Escape(value)}},
		}, labelOf(title), false).Fields
		if strings.ContainsAny(fields.Summary, "\n\r") || len([]rune(fields.Summary)) > maxSummary || len([]rune(fields.Description)) > maxDescription {
			t.Fatalf("the issue %+v", fields)
		}
	})
}
