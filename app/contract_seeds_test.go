package app_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // OAuth 1.0a signs with it
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// runs are Rainforest's payloads as their README names the keys.
var runs = map[string]string{
	"run_completion":  `{"run":{"id":123,"environment":{"name":"QA"},"result":"failed","description":"nightly","time_taken":1503,"total_tests":10,"total_passed_tests":8,"total_failed_tests":1,"total_no_result_tests":1},"frontend_url":"https://app.example/runs/123"}`,
	"run_error":       `{"run":{"id":123,"description":"nightly","error_reason":"no testers"},"frontend_url":"https://app.example/runs/123"}`,
	"webhook_timeout": `{"run":{"id":123,"description":"nightly","environment":{"name":"QA"}},"frontend_url":"https://app.example/runs/123"}`,
	"run_test_failure": `{"run":{"id":123,"description":"nightly","environment":{"name":"QA"}},"failed_test":{"id":7,"title":"Log in","frontend_url":"https://app.example/tests/7"},` +
		`"browser":{"description":"Chrome"},"feedback":[{"worker_name":"Ann","note":"it hung"}],"frontend_url":"https://app.example/runs/123"}`,
}

func rainforest(event, entries, rest string) string {
	return fmt.Sprintf(`{"event_type":%q,"payload":%s,"integrations":[%s]%s}`, event, runs[event], entries, rest)
}

// TestRainforestsChats: what Slack and HipChat get of the four events.
func TestRainforestsChats(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/v2/room/R1/notification", status(204, ""))
	run := "Your Rainforest Run (<https://app.example/runs/123|Run #123: nightly>) "
	for _, c := range []struct {
		event, text, color string
		fields             []string
	}{
		{"run_completion", run + "is complete!", "danger", []string{"Result=Failed", "Duration=25 minutes, 3 seconds", "Environment=QA",
			"Tests Passed=<https://app.example/runs/123?expandedGroups%5B%5D=passed|8 (80%)>", "Tests Failed=<https://app.example/runs/123?expandedGroups%5B%5D=failed|1 (10%)>", "Other Results=<https://app.example/runs/123?expandedGroups%5B%5D=no_result|1 (10%)>"}},
		{"run_error", run + "has encountered an error!", "danger", []string{"Error Reason=no testers"}},
		{"webhook_timeout", run + "has timed out due to a webhook failure!", "danger", []string{"Environment=QA"}},
		{"run_test_failure", run + "has a failed test!", "danger", []string{"Failed Test=<https://app.example/tests/7|Test #7: Log in>", "Environment=QA", "Browser=Chrome", "Ann=it hung"}},
	} {
		t.Run(c.event, func(t *testing.T) {
			s := s.in(t)
			s.call("POST", "/events", rainforest(c.event, entry("slack", `{"url":"`+p.url("/slack")+`"}`), "")).want(201)
			a := decode(t, p.next(t).body).objects("attachments")
			if len(a) != 1 || a[0].str("color") != c.color || !strings.HasPrefix(a[0].str("text"), c.text) || strings.ContainsAny(a[0].str("fallback"), "<>|") || !strings.HasPrefix(a[0].str("fallback"), "Your Rainforest Run (Run #123: nightly) ") {
				t.Fatalf("Slack got %v", a)
			}
			var fields []string
			for _, f := range a[0].objects("fields") {
				if _, ok := f.at("short").(bool); !ok {
					t.Errorf("the field %v does not say whether it is short", f)
				}
				fields = append(fields, f.str("title")+"="+f.str("value"))
			}
			for _, want := range c.fields {
				if !slices.ContainsFunc(fields, func(got string) bool {
					return got == want || strings.HasSuffix(got, strings.TrimPrefix(want, "Ann")) && strings.HasPrefix(want, "Ann")
				}) {
					t.Errorf("Slack's fields are %q, and lack %q", fields, want)
				}
			}

			s.call("POST", "/events", rainforest(c.event, entry("hip_chat", `{"room_id":"R1","room_token":"token-123456","base_url":"`+p.URL+`"}`), "")).want(201)
			r := p.next(t)
			got := decode(t, r.body)
			if r.header.Get("Authorization") != "Bearer token-123456" && !strings.Contains(r.query, "auth_token=token-123456") {
				t.Errorf("HipChat's token is in %q and %q", r.header.Get("Authorization"), r.query)
			}
			if got.str("color") != "red" || got.at("notify") != true || got.str("message_format") != "html" || !strings.Contains(got.str("message"), `href="https://app.example/runs/123"`) {
				t.Errorf("HipChat got %v", got)
			}
			if got.str("card", "style") != "application" || got.str("card", "title") == "" || len(got.objects("card", "attributes")) != len(fields) {
				t.Errorf("HipChat's card is %v", got.at("card"))
			}
		})
	}
	t.Run("what has passed is green", func(t *testing.T) {
		s := s.in(t)
		body := strings.Replace(rainforest("run_completion", entry("slack", `{"url":"`+p.url("/slack")+`"}`)+","+entry("hip_chat", `{"room_id":"R1","room_token":"token-123456","base_url":"`+p.URL+`"}`), ""), "failed", "passed", 1)
		s.call("POST", "/events", body).want(201)
		for range 2 {
			r := p.next(t)
			if color := decode(t, r.body).str("color") + decode(t, r.body).str("attachments", 0, "color"); color != "green" && color != "good" {
				t.Errorf("%s has the color %q", r.path, color)
			}
		}
	})
}

// tracker is a stand-in for Pivotal Tracker.
type tracker struct {
	*httptest.Server
	calls   []string
	queries []string
	bodies  []object
	found   string // what a search finds
}

func newTracker(t *testing.T) *tracker {
	p := &tracker{found: `{"stories":{"stories":[]}}`}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-TrackerToken") != "token-123456" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		p.calls = append(p.calls, r.Method+" "+r.URL.Path)
		switch {
		case r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/search"):
			p.queries = append(p.queries, r.URL.Query().Get("query"))
			fmt.Fprint(w, p.found)
		case r.Method == "POST" || r.Method == "PUT":
			p.bodies = append(p.bodies, decode(t, raw))
			fmt.Fprint(w, `{"id":5,"kind":"story"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// TestRainforestsPivotal: one story for one matter, and a label when it happens again.
func TestRainforestsPivotal(t *testing.T) {
	s, p := serve(t), newTracker(t)
	settings := `{"project_id":42,"api_token":"token-123456","base_url":"` + p.URL + `"}`
	base := "/services/v5/projects/42/"
	for _, c := range []struct{ event, label, name string }{
		{"run_test_failure", "RfTest7", "Rainforest found a bug in 'Log in'"},
		{"webhook_timeout", "RfRun123", "Your Rainforest webhook has timed out"},
	} {
		t.Run(c.event, func(t *testing.T) {
			s := s.in(t)
			p.calls, p.queries, p.bodies, p.found = nil, nil, nil, `{"stories":{"stories":[]}}`
			s.call("POST", "/events", rainforest(c.event, entry("pivotal_tracker", settings), "")).want(201)
			if diff := cmp.Diff([]string{"GET " + base + "search", "POST " + base + "stories"}, p.calls); diff != "" {
				t.Fatal(diff)
			}
			if !strings.Contains(p.queries[0], c.label) || !strings.HasPrefix(p.queries[0], "label:") {
				t.Errorf("it searched for %s", p.queries[0])
			}
			if b := p.bodies[0]; b.str("name") != c.name || b.str("labels", 0) != c.label || !strings.Contains(b.str("description"), "Run #123") || !strings.Contains(b.str("comments", 0, "text"), "QA") {
				t.Errorf("the story is %v", b)
			}
			p.calls, p.bodies = nil, nil
			p.found = `{"stories":{"stories":[{"id":5,"labels":[{"id":1,"name":"` + c.label + `"},{"id":2,"name":"theirs"}]}]}}`
			s.call("POST", "/events", rainforest(c.event, entry("pivotal_tracker", settings), "")).want(201)
			if diff := cmp.Diff([]string{"GET " + base + "search", "PUT " + base + "stories/5"}, p.calls); diff != "" {
				t.Fatal(diff)
			}
			labels, err := json.Marshal(p.bodies[0].at("labels"))
			if err != nil || !strings.Contains(string(labels), "RepeatedFailures") || !strings.Contains(string(labels), "theirs") || !strings.Contains(string(labels), c.label) {
				t.Errorf("the story's labels become %s", labels)
			}
		})
	}
	for _, event := range []string{"run_completion", "run_error"} {
		p.calls = nil
		if got := s.call("POST", "/events", rainforest(event, entry("pivotal_tracker", settings), "")).want(201).json(); got.str("results", 0, "status") != "skipped" || len(p.calls) != 0 {
			t.Errorf("%s was answered %v, and made the calls %v", event, got, p.calls)
		}
	}
	wrong := strings.Replace(settings, "token-123456", "token-654321", 1)
	if got := s.call("POST", "/events", rainforest("run_test_failure", entry("pivotal_tracker", wrong), "")).refused(400, "user_configuration_error").json(); got.str("failed_response_code") != "403" {
		t.Errorf("the answer is %v", got)
	}
}

// TestRainforestsJira: OAuth 1.0a with the call's own consumer, and an issue only if there is none.
func TestRainforestsJira(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, p := serve(t), newPartner(t)
	p.on("/jira/rest/api/2/search", status(200, `{"issues":[]}`))
	p.on("/jira/rest/api/2/issue", status(201, `{"id":"1","key":"ABC-1"}`))
	settings := `{"jira_base_url":"` + p.url("/jira/") + `","project_key":"ABC","oauth_settings":{"signature_method":"RSA-SHA1","access_token":"at-123456","access_secret":"as-123456"}}`
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	secret, err := json.Marshal(string(block))
	if err != nil {
		t.Fatal(err)
	}
	consumer := `,"oauth_consumer":{"key":"rainforest","secrets":{"RSA-SHA1":` + string(secret) + `}}`
	call := rainforest("run_test_failure", entry("jira", settings), consumer)

	s.call("POST", "/events", call).want(201)
	for _, path := range []string{"/jira/rest/api/2/search", "/jira/rest/api/2/issue"} {
		r := p.next(t)
		if r.path != path {
			t.Fatalf("%s was called, want %s", r.path, path)
		}
		checkOAuth(t, &r, p.URL, &key.PublicKey)
		switch {
		case strings.HasSuffix(path, "search"):
			if text := string(r.body) + r.query; !strings.Contains(text, "RfTest7") || !strings.Contains(text, "ABC") || !strings.Contains(text, "Done") {
				t.Errorf("it searched for %s", text)
			}
		default:
			f := decode(t, r.body)
			if f.str("fields", "summary") != "Rainforest found a bug in 'Log in'" || f.str("fields", "project", "key") != "ABC" || f.str("fields", "labels", 0) != "RfTest7" || !strings.Contains(f.str("fields", "description"), "it hung") {
				t.Errorf("the issue is %s", r.body)
			}
		}
	}
	p.on("/jira/rest/api/2/search", status(200, `{"issues":[{"key":"ABC-1"}]}`))
	s.call("POST", "/events", call).want(201)
	if r := p.next(t); !strings.HasSuffix(r.path, "/search") {
		t.Errorf("%s was called", r.path)
	}
	p.none(t)
	for _, code := range []int{401, 404} {
		p.on("/jira/rest/api/2/search", status(code, "no"))
		if got := s.call("POST", "/events", call).refused(400, "user_configuration_error").json(); got.str("failed_response_code") != fmt.Sprint(code) {
			t.Errorf("the answer is %v", got)
		}
		p.next(t)
	}
	t.Run("without a consumer it is misconfigured", func(t *testing.T) {
		a := s.in(t).call("POST", "/events", rainforest("run_test_failure", entry("jira", settings), "")).want(400)
		if kind := a.json().str("type"); kind != "misconfigured_integration" && kind != "user_configuration_error" {
			t.Errorf("the answer is %s", a.body)
		}
		p.none(t)
	})
	if a := s.call("GET", "/v1/events?limit=250", "").want(200); bytes.Contains(a.body, []byte("PRIVATE KEY")) || bytes.Contains(a.body, []byte("as-123456")) {
		t.Error("something of the credentials is kept")
	}
}

// checkOAuth verifies a request's OAuth 1.0a signature as a partner does.
func checkOAuth(t *testing.T, r *request, base string, public *rsa.PublicKey) {
	t.Helper()
	params := url.Values{}
	for _, part := range strings.Split(strings.TrimPrefix(r.header.Get("Authorization"), "OAuth "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		text, err := url.PathUnescape(strings.Trim(value, `"`))
		if err != nil {
			t.Fatal(err)
		}
		params.Set(name, text)
	}
	signature, err := base64.StdEncoding.DecodeString(params.Get("oauth_signature"))
	if err != nil || params.Get("oauth_consumer_key") != "rainforest" || params.Get("oauth_token") != "at-123456" || params.Get("oauth_signature_method") != "RSA-SHA1" {
		t.Fatalf("the Authorization is %q", r.header.Get("Authorization"))
	}
	params.Del("oauth_signature")
	params.Del("realm")
	query, err := url.ParseQuery(r.query)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range query {
		params[name] = values
	}
	escape := func(s string) string {
		return strings.NewReplacer("+", "%20", "%7E", "~", "*", "%2A").Replace(url.QueryEscape(s))
	}
	var pairs []string
	for name, values := range params {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	text := r.method + "&" + escape(base+r.path) + "&" + escape(strings.Join(pairs, "&"))
	sum := sha1.Sum([]byte(text)) //nolint:gosec // OAuth 1.0a signs with it
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA1, sum[:], signature); err != nil {
		t.Errorf("the signature of %s %s is wrong: %v", r.method, r.path, err)
	}
}

// TestRhodeCodesEvents: events of the whole installation, and the body beside whose event stand the payload's own keys.
func TestRhodeCodesEvents(t *testing.T) {
	s, p := serve(t), newPartner(t)
	s.link(fmt.Sprintf(`{"integration":"slack","scope":"repos/1","events":["repo.push","repo.pull"],"settings":{"url":%q,"channel":"#develop"}}`, p.url("/develop")))
	s.link(fmt.Sprintf(`{"integration":"slack","events":["repo.pull"],"settings":{"url":%q,"channel":"#general"}}`, p.url("/general")))
	s.link(fmt.Sprintf(`{"integration":"webhook","events":["*"],"settings":{"url":%q,"format":"flat"}}`, p.url("/logs-server")))
	for _, event := range []string{"user.create", "repo.create", "repogroup.create", "pullrequest.create"} {
		payload := s.example(event)
		if _, n := s.publish(fmt.Sprintf(`{"event":%q,"payload":%s}`, event, payload)); n != "1" {
			t.Errorf("%s has %s deliveries", event, n)
		}
		r := p.next(t)
		want := decode(t, []byte(payload))
		want["event"] = event
		if diff := cmp.Diff(want, decode(t, r.body)); diff != "" || r.path != "/logs-server" {
			t.Errorf("%s arrived at %s otherwise: %s", event, r.path, diff)
		}
	}
	t.Run("every type can be posted by its other spellings", func(t *testing.T) {
		s := s.in(t)
		for _, l := range s.call("GET", "/v1/links?integration=slack", "").want(200).json().objects("data") {
			s.call("DELETE", "/v1/links/"+l.str("id"), "").want(204)
		}
		for _, o := range s.call("GET", "/v1/event-types?limit=250", "").want(200).json().objects("data") {
			aliases, _ := o.at("aliases").([]any)
			for _, alias := range aliases {
				s.publish(fmt.Sprintf(`{"event":%q,"payload":%s}`, alias, s.example(o.str("key"))))
				if r := p.next(t); decode(t, r.body).str("event") != o.str("key") {
					t.Errorf("%s arrived as %.100s", alias, r.body)
				}
			}
		}
	})
	p.none(t)
}

// TestKeyclicsWebhooks: several for one event type, each with the body {"event", "payload"}.
func TestKeyclicsWebhooks(t *testing.T) {
	s, p := serve(t), newPartner(t)
	types := []string{"reportCreated", "reportStateChanged", "operationCreated", "operationStateChanged", "operationRemoved"}
	for _, event := range types {
		for i := range 3 {
			s.link(hook(p, fmt.Sprintf("/%s/%d", event, i), fmt.Sprintf(`"events":[%q]`, event)))
		}
	}
	for _, event := range types {
		payload := s.example(event)
		s.publish(fmt.Sprintf(`{"event":%q,"payload":%s}`, event, payload))
		var paths []string
		for range 3 {
			r := p.next(t)
			paths = append(paths, r.path)
			if !bytes.Contains(r.body, []byte(`"event":"`+event+`","payload":`+payload)) {
				t.Errorf("%s arrived as %s", event, r.body)
			}
		}
		slices.Sort(paths)
		if diff := cmp.Diff([]string{"/" + event + "/0", "/" + event + "/1", "/" + event + "/2"}, paths); diff != "" {
			t.Error(diff)
		}
	}
	p.none(t)
}
