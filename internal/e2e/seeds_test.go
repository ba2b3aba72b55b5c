package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mailbox is a stand-in for partners: it keeps what it is sent, by path, and answers as a test says.
type mailbox struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)
	mu     sync.Mutex
	got    []letter
	more   chan struct{}
}

type letter struct {
	path   string
	header http.Header
	body   []byte
}

func newMailbox(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *mailbox {
	m := &mailbox{answer: answer, more: make(chan struct{}, 1)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		m.got = append(m.got, letter{r.URL.Path, r.Header, body})
		m.mu.Unlock()
		select {
		case m.more <- struct{}{}:
		default:
		}
		if m.answer != nil {
			m.answer(w, r)
			return
		}
		fmt.Fprint(w, "ok") // what Slack says
	}))
	t.Cleanup(m.Close)
	return m
}

// take waits for n letters and empties the box.
func (m *mailbox) take(t *testing.T, n int) []letter {
	t.Helper()
	deadline := time.After(patience)
	for {
		m.mu.Lock()
		if len(m.got) >= n {
			got := m.got
			m.got = nil
			m.mu.Unlock()
			return got
		}
		have := len(m.got)
		m.mu.Unlock()
		select {
		case <-m.more:
		case <-deadline:
			t.Fatalf("%d of %d requests came in", have, n)
		}
	}
}

func paths(letters []letter) []string {
	var out []string
	for _, l := range letters {
		out = append(out, l.path)
	}
	slices.Sort(out)
	return out
}

// example returns a type's example payload from the catalog that the server shows.
func example(t *testing.T, s *server, key string) string {
	t.Helper()
	resp, err := http.Get(s.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var types []struct {
		Key     string          `json:"key"`
		Example json.RawMessage `json:"example"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&types); err != nil {
		t.Fatal(err)
	}
	for _, et := range types {
		if et.Key == key {
			return string(et.Example)
		}
	}
	t.Fatalf("the catalog has no %s", key)
	return ""
}

// TestRhodeCode plays the example of feature #4024: three integrations, a push and two pulls.
func TestRhodeCode(t *testing.T) {
	box := newMailbox(t, nil)
	s := start(t, t.TempDir(), "--dev", "--catalog", "builtin:rhodecode")
	link := func(scope, integration, path, events, settings string) {
		t.Helper()
		body := fmt.Sprintf(`{"integration":%q,"scope":%q,"events":[%s],"settings":{"url":"%s%s"%s}}`, integration, scope, events, box.URL, path, settings)
		if status, answer := s.call("POST", "/v1/links", body); status != 201 {
			t.Fatalf("the link was answered %d: %v", status, answer)
		}
	}
	link("repos/1", "slack", "/develop", `"repo.push","repo.pull"`, `,"channel":"#develop"`)
	link("", "slack", "/general", `"repo.pull"`, `,"channel":"#general"`)
	link("", "webhook", "/logs-server", `"*"`, "")

	for _, c := range []struct {
		event, scope string
		want         []string
	}{
		{"repo.push", "repos/1", []string{"/develop", "/logs-server"}},
		{"repo.pull", "repos/1", []string{"/develop", "/general", "/logs-server"}},
		{"repo.pull", "repos/2", []string{"/general", "/logs-server"}},
	} {
		status, answer := s.call("POST", "/events", fmt.Sprintf(`{"event_type":%q,"scope":%q,"payload":%s}`, c.event, c.scope, example(t, s, c.event)))
		if status != 201 || answer["deliveries"] != float64(len(c.want)) {
			t.Fatalf("%s in %s was answered %d: %v", c.event, c.scope, status, answer)
		}
		letters := box.take(t, len(c.want))
		if got := paths(letters); !slices.Equal(got, c.want) {
			t.Errorf("%s in %s fired %v, want %v", c.event, c.scope, got, c.want)
		}
		for _, l := range letters {
			var body map[string]any
			if err := json.Unmarshal(l.body, &body); err != nil {
				t.Fatalf("%s got %q: %v", l.path, l.body, err)
			}
			if l.path == "/develop" && body["channel"] != "#develop" {
				t.Errorf("Slack's channel is %v, want #develop", body["channel"])
			}
			if l.path == "/logs-server" && body["event"] != c.event {
				t.Errorf("the webhook says %v, want %s", body["event"], c.event)
			}
		}
	}
}

// TestKeyclic checks the body that Keyclic's customers get, byte for byte where it matters.
func TestKeyclic(t *testing.T) {
	box := newMailbox(t, nil)
	s := start(t, t.TempDir(), "--dev", "--catalog", "builtin:keyclic")
	s.call("POST", "/v1/links", `{"integration":"webhook","events":["reportCreated"],"settings":{"url":"`+box.URL+`/hook"}}`)
	payload := `{"type":"Report","id":"b0e7e28f-5b91-4c73-875e-8f34aa03553a","state":"NEW","zeta":1.50,"alpha":12345678901234567890,` +
		`"_links":{"tracking":"…"},"_embedded":{"tracking":".."}}`
	status, answer := s.call("POST", "/events", `{"event":"reportCreated","payload":`+payload+`}`)
	if status != 201 {
		t.Fatalf("the event was answered %d: %v", status, answer)
	}
	body := box.take(t, 1)[0].body
	if !bytes.Contains(body, []byte(`"payload":`+payload)) {
		t.Errorf("the payload did not arrive as it was sent:\n%s", body)
	}
	var sent struct{ Event string }
	if err := json.Unmarshal(body, &sent); err != nil || sent.Event != "reportCreated" {
		t.Errorf("the event's name is %q (%v)", sent.Event, err)
	}
	if status, answer := s.call("POST", "/events", `{"event":"reportCreated","payload":{"type":"Report"}}`); status != 400 || answer["type"] != "invalid_request" {
		t.Errorf("a payload without id was answered %d: %v", status, answer)
	}
}

// TestRainforest runs the real thing (no development mode) as Rainforest's app calls it: signed, with settings as a list
// of keys and values.
func TestRainforest(t *testing.T) {
	box := newMailbox(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "dead") {
			http.Error(w, "Bad token", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, "ok")
	})
	t.Setenv("PATCHBAY_SIGNING_KEY", "forest")
	data := t.TempDir()
	s := start(t, data, "--catalog", "builtin:rainforest", "--egress-allow", "127.0.0.0/8")
	if key, err := os.ReadFile(filepath.Join(data, "admin.key")); err != nil || !strings.Contains(s.logs.String(), strings.TrimSpace(string(key))) {
		t.Errorf("the first start did not print the admin key and write it down: %v\n%s", err, s.logs)
	}
	post := func(signature, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequest("POST", s.url+"/events", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if signature != "" {
			req.Header.Set("X-Signature", signature)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var out map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, out
	}
	sign := func(body string) string {
		mac := hmac.New(sha256.New, []byte("forest"))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	run := example(t, s, "run_completion")
	body := `{"event_type":"run_completion","payload":` + run + `,"integrations":[{"key":"slack","settings":[{"key":"url","value":"` + box.URL + `/hook"}]}]}`
	if status, answer := post("", body); status != 401 || answer["status"] != "unauthorized" {
		t.Errorf("an unsigned call was answered %d: %v", status, answer)
	}
	if status, answer := post(sign(body+" "), body); status != 401 || answer["status"] != "unauthorized" {
		t.Errorf("a call with a wrong signature was answered %d: %v", status, answer)
	}
	status, answer := post(sign(body), body)
	if status != 201 || answer["status"] != "ok" || len(answer["results"].([]any)) != 1 {
		t.Fatalf("the call was answered %d: %v", status, answer)
	}
	var message struct {
		Attachments []struct {
			Color, Text, Fallback string
			Fields                []struct{ Title, Value string }
		}
	}
	if err := json.Unmarshal(box.take(t, 1)[0].body, &message); err != nil || len(message.Attachments) != 1 {
		t.Fatalf("Slack got %+v (%v)", message, err)
	}
	a := message.Attachments[0]
	if !strings.HasPrefix(a.Text, "Your Rainforest Run (<") || !strings.HasSuffix(a.Text, "is complete!") || strings.Contains(a.Fallback, "<") {
		t.Errorf("Slack's text is %q, its fallback %q", a.Text, a.Fallback)
	}

	for name, c := range map[string]struct{ integrations, kind string }{
		"an unknown integration": {`[{"key":"carrier_pigeon","settings":{}}]`, "unsupported_integration"},
		"a missing setting":      {`[{"key":"slack","settings":[]}]`, "misconfigured_integration"},
		"a dead webhook":         {`[{"key":"slack","settings":{"url":"` + box.URL + `/dead"}}]`, "user_configuration_error"},
		"nobody there":           {`[{"key":"slack","settings":{"url":"http://127.0.0.1:1/x"}}]`, "service_error"},
	} {
		body := `{"event_name":"run_error","payload":` + example(t, s, "run_error") + `,"integrations":` + c.integrations + `}`
		status, answer := post(sign(body), body)
		if status != 400 || answer["type"] != c.kind || answer["error"] == "" {
			t.Errorf("%s was answered %d: %v, want %s", name, status, answer, c.kind)
		}
		if name == "a dead webhook" && (answer["failed_response_code"] != 404.0 || !strings.Contains(fmt.Sprint(answer["failed_response_body"]), "Bad token")) {
			t.Errorf("%s: the partner's answer is missing: %v", name, answer)
		}
	}
	for _, body := range []string{`{"event_type":"run_completion"`, `{"event_type":"no_such","payload":{}}`, `{"event_type":"run_error","payload":{}}`, `{"event_type":"run_error","payload":[]}`} {
		if status, answer := post(sign(body), body); status != 400 || answer["type"] != "invalid_request" {
			t.Errorf("%s was answered %d: %v", body, status, answer)
		}
	}
}
