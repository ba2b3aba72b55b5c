package pivotaltracker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

const token = "0123456789abcdef0123456789abcdef"

// tracker is a stand-in for one project of Pivotal Tracker. Searching and labels work as there; fail answers calls of
// a method and path with a status instead.
type tracker struct {
	*httptest.Server
	stories []map[string]any
	hidden  int // how many of the newest stories the search does not find yet
	fail    map[string]int
	calls   []string
	bodies  []string
}

func newTracker(t *testing.T) *tracker {
	tr := &tracker{fail: map[string]int{}}
	tr.Server = httptest.NewServer(tr)
	t.Cleanup(tr.Close)
	return tr
}

func (tr *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/services/v5/projects/2345678")
	call := r.Method + " " + path
	tr.calls, tr.bodies = append(tr.calls, call), append(tr.bodies, string(body))
	if status := tr.fail[call]; status != 0 {
		w.Header().Set("Retry-After", "7")
		http.Error(w, `{"kind":"error","error":"no"}`, status)
		return
	}
	switch {
	case r.Header.Get("X-TrackerToken") != token:
		http.Error(w, `{"code":"invalid_authentication"}`, http.StatusForbidden)
	case call == "GET /search":
		tr.search(w, r.URL.Query().Get("query"))
	case call == "POST /stories":
		var story map[string]any
		if json.Unmarshal(body, &story) != nil || story["name"] == nil {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
		story["id"], story["current_state"] = 100+len(tr.stories), "unscheduled"
		var labels []any
		for i, name := range story["labels"].([]any) {
			labels = append(labels, map[string]any{"id": i, "name": strings.ToLower(name.(string))})
		}
		story["labels"] = labels
		tr.stories = append(tr.stories, story)
		_ = json.NewEncoder(w).Encode(story)
	case strings.HasPrefix(path, "/stories/"):
		id, err := strconv.Atoi(strings.TrimPrefix(path, "/stories/"))
		if err != nil || id-100 < 0 || id-100 >= len(tr.stories) {
			http.Error(w, "{}", http.StatusNotFound)
			return
		}
		story := tr.stories[id-100]
		if r.Method == http.MethodPut {
			var change map[string]any
			_ = json.Unmarshal(body, &change)
			story["labels"] = change["labels"]
		}
		_ = json.NewEncoder(w).Encode(story)
	default:
		http.Error(w, "{}", http.StatusNotFound)
	}
}

// search understands what the integration asks: one label, and states that are not wanted.
func (tr *tracker) search(w http.ResponseWriter, query string) {
	rest, ok := strings.CutSuffix(query, " -state:delivered,accepted")
	label, ok2 := strings.CutPrefix(rest, "label:")
	if !ok || !ok2 {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	if quoted, ok := strings.CutPrefix(label, `"`); ok {
		label = strings.TrimSuffix(quoted, `"`)
	}
	found := []map[string]any{}
	for _, story := range tr.stories[:len(tr.stories)-tr.hidden] {
		s, _ := json.Marshal(story["labels"])
		if story["current_state"] != "accepted" && bytes.Contains(s, []byte(`"`+strings.ToLower(label)+`"`)) {
			found = append(found, story)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"stories": map[string]any{"stories": found, "total_hits": len(found)}})
}

// direct is integration.HTTP without guards.
type direct struct{}

func (direct) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	r, err := http.NewRequestWithContext(ctx, req.Method, req.URL, bytes.NewReader(req.Body))
	if err != nil {
		return nil, err
	}
	for _, h := range req.Header {
		r.Header.Add(h.Name, h.Value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, errors.New("no connection")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, integration.MaxResponse))
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &integration.Response{Status: resp.StatusCode, Body: body, RetryAfter: time.Duration(seconds) * time.Second}, err
}

func settings(t *testing.T, base string, more string) any {
	t.Helper()
	raw, err := New().Definition().Settings.Check(
		json.RawMessage(`{"project_id": 2345678, "api_token": "`+token+`", "base_url": "`+base+`/"`+more+`}`), integration.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New().Definition().Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func delivery(t *testing.T, tr *tracker, msg integration.Message) *integration.Delivery {
	return &integration.Delivery{
		Settings: settings(t, tr.URL, ""),
		Message:  func() (*integration.Message, error) { return &msg, nil },
		Env:      &integration.Env{HTTP: direct{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)},
	}
}

func failure() integration.Message {
	return integration.Message{
		Title: "Rainforest found a bug in 'Log in'",
		Text:  "Your Rainforest Run ([Run \\#9](<https://app.example.com/runs/9>)) has a failed test\\!",
		Fields: []patchbay.Field{
			{Title: "Failed Test", Value: "[Test \\#20\\: Log in](<https://app.example.com/tests/20>)"},
			{Title: "Environment", Value: "QA \\<1\\>", Short: true},
		},
		Thread: "RfTest20",
		Labels: []string{"nightly, slow", "rftest20"},
	}
}

func TestFirstMessageCreatesAStory(t *testing.T) {
	tr := newTracker(t)
	r := New().Send(context.Background(), delivery(t, tr, failure()))
	if r.Verdict != patchbay.VerdictDelivered || r.Reference != "100" {
		t.Fatalf("got %+v", r)
	}
	if diff := cmp.Diff([]string{"GET /search", "POST /stories"}, tr.calls); diff != "" {
		t.Error(diff)
	}
	var got newStory
	if err := json.Unmarshal([]byte(tr.bodies[1]), &got); err != nil {
		t.Fatal(err)
	}
	want := newStory{
		Name: "Rainforest found a bug in 'Log in'",
		Description: "Your Rainforest Run ([Run #9](https://app.example.com/runs/9)) has a failed test!\n\n" +
			"**Failed Test:** [Test #20: Log in](https://app.example.com/tests/20)  \n**Environment:** QA &lt;1&gt;",
		StoryType: "bug",
		Labels:    []string{"RfTest20", "nightly slow"},
		Comments:  []comment{{"Environment: QA &lt;1&gt;"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRepeatedMessageMarksTheStoryOnce(t *testing.T) {
	tr := newTracker(t)
	for range 3 {
		if r := New().Send(context.Background(), delivery(t, tr, failure())); r.Verdict != patchbay.VerdictDelivered || r.Reference != "100" {
			t.Fatalf("got %+v", r)
		}
	}
	want := []string{"GET /search", "POST /stories", "GET /search", "PUT /stories/100", "GET /search", "PUT /stories/100"}
	if diff := cmp.Diff(want, tr.calls); diff != "" {
		t.Error(diff)
	}
	if got, want := tr.bodies[5], `{"labels":["rftest20","nightly slow","RepeatedFailures"]}`; got != want {
		t.Errorf("the labels became %s, want %s", got, want)
	}
}

func TestAnAcceptedStoryIsOver(t *testing.T) {
	tr := newTracker(t)
	d := delivery(t, tr, failure())
	d.Reference = New().Send(context.Background(), d).Reference
	tr.stories[0]["current_state"] = "accepted"
	if r := New().Send(context.Background(), d); r.Reference != "101" {
		t.Errorf("got %+v, want a second story", r)
	}
}

func TestTheReferenceBridgesASearchThatRunsBehind(t *testing.T) {
	tr := newTracker(t)
	d := delivery(t, tr, failure())
	d.Reference = New().Send(context.Background(), d).Reference
	tr.hidden, tr.calls = 1, nil
	if r := New().Send(context.Background(), d); r.Reference != "100" {
		t.Errorf("got %+v, want the story that is there", r)
	}
	if diff := cmp.Diff([]string{"GET /search", "GET /stories/100", "PUT /stories/100"}, tr.calls); diff != "" {
		t.Error(diff)
	}
	// A reference that leads nowhere, or to a story about something else, is no reason not to create one.
	for _, reference := range []string{"999", "100"} {
		tr.stories[0]["labels"] = []any{"other"}
		d.Reference = reference
		if r := New().Send(context.Background(), d); r.Verdict != patchbay.VerdictDelivered || r.Reference == "100" {
			t.Errorf("reference %s: got %+v", reference, r)
		}
	}
}

func TestWithoutAThreadNothingIsSearched(t *testing.T) {
	tr := newTracker(t)
	msg := failure()
	msg.Thread = " \n"
	for range 2 {
		if r := New().Send(context.Background(), delivery(t, tr, msg)); r.Verdict != patchbay.VerdictDelivered {
			t.Fatalf("got %+v", r)
		}
	}
	if diff := cmp.Diff([]string{"POST /stories", "POST /stories"}, tr.calls); diff != "" {
		t.Error(diff)
	}
}

func TestALinksOwnBodyReplacesTheStory(t *testing.T) {
	tr := newTracker(t)
	d := delivery(t, tr, failure())
	d.Body = json.RawMessage(`{"name": "own", "labels": ["RfTest20"]}`)
	if r := New().Send(context.Background(), d); r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("got %+v", r)
	}
	if tr.bodies[1] != string(d.Body) {
		t.Errorf("sent %s", tr.bodies[1])
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		call    string
		status  int
		verdict patchbay.Verdict
		code    patchbay.Code
		says    string
	}{
		{"GET /search", 403, patchbay.VerdictRejected, patchbay.CodeUserConfigurationError, "api_token"},
		{"GET /search", 404, patchbay.VerdictRejected, patchbay.CodeUserConfigurationError, "project_id"},
		{"GET /search", 500, patchbay.VerdictRetry, patchbay.CodeServiceError, "500"},
		{"GET /search", 400, patchbay.VerdictRejected, patchbay.CodeMisconfiguredIntegration, "400"},
		{"POST /stories", 403, patchbay.VerdictRejected, patchbay.CodeUserConfigurationError, "api_token"},
		{"POST /stories", 404, patchbay.VerdictRejected, patchbay.CodeUserConfigurationError, "project_id"},
		{"POST /stories", 400, patchbay.VerdictRejected, patchbay.CodeMisconfiguredIntegration, "400"},
		{"POST /stories", 429, patchbay.VerdictRetry, patchbay.CodeServiceError, "429"},
		{"POST /stories", 302, patchbay.VerdictRejected, patchbay.CodeUserConfigurationError, "302"},
	} {
		tr := newTracker(t)
		tr.fail[c.call] = c.status
		r := New().Send(context.Background(), delivery(t, tr, failure()))
		if r.Verdict != c.verdict || r.Type != c.code || r.Code != c.status || !strings.Contains(r.Error, c.says) {
			t.Errorf("%s answers %d: got %+v", c.call, c.status, r)
		}
		if r.Verdict == patchbay.VerdictRetry && r.RetryAfter != 7*time.Second {
			t.Errorf("%s answers %d: Retry-After was not heeded: %+v", c.call, c.status, r)
		}
		if len(tr.stories) > 0 {
			t.Errorf("%s answers %d: a story was made all the same", c.call, c.status)
		}
	}
	// A marking that fails is a failure too; one story is enough.
	tr := newTracker(t)
	New().Send(context.Background(), delivery(t, tr, failure()))
	tr.fail["PUT /stories/100"] = 503
	if r := New().Send(context.Background(), delivery(t, tr, failure())); r.Verdict != patchbay.VerdictRetry || len(tr.stories) != 1 {
		t.Errorf("got %+v and %d stories", r, len(tr.stories))
	}
}

func TestAnAnswerFromSomethingElse(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	defer page.Close()
	d := delivery(t, newTracker(t), failure())
	d.Settings = settings(t, page.URL, "")
	if r := New().Send(context.Background(), d); r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, "base_url") {
		t.Errorf("got %+v", r)
	}
}

func TestContract(t *testing.T) {
	for name, stories := range map[string]string{
		"create": `[]`,
		"mark":   `[{"id": 101, "labels": [{"id": 1, "name": "repo/web"}], "current_state": "started"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			integrationtest.Run(t, integrationtest.Case{
				Integration: New(),
				Settings:    `{"project_id": "2345678", "api_token": "` + token + `", "base_url": "{{URL}}"}`,
				Secrets:     []string{token},
				Partner: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/search") {
						_, _ = io.WriteString(w, `{"stories": {"stories": `+stories+`}}`)
						return
					}
					_, _ = io.WriteString(w, `{"id": 101}`)
				}),
				MaxBody: 256 << 10,
			})
		})
	}
}

func TestSettings(t *testing.T) {
	def := New().Definition()
	for raw, code := range map[string]patchbay.Code{
		`{"project_id": "1", "api_token": "t"}`:                                        "",
		`{"project_id": 1, "api_token": "t", "repeat_label": "again"}`:                 "",
		`{"project_id": "", "api_token": "t"}`:                                         patchbay.CodeMisconfiguredIntegration,
		`{"project_id": "1"}`:                                                          patchbay.CodeMisconfiguredIntegration,
		`{"project_id": "../1", "api_token": "t"}`:                                     patchbay.CodeInvalidRequest,
		`{"project_id": "1", "api_token": "t", "base_url": "https://h/?a=b"}`:          patchbay.CodeInvalidRequest,
		`{"project_id": "1", "api_token": "t", "base_url": "https://me:pw@h.example"}`: patchbay.CodeInvalidRequest,
	} {
		if _, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{}); patchbay.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", raw, err, code)
		}
	}
	s := settings(t, "https://Tracker.example", "")
	if got := New().Target(s); got != "https://tracker.example 2345678" {
		t.Errorf("target %q", got)
	}
	if got := New().ShortName(s) + " → " + New().Destination(s); got != "Pivotal Tracker 2345678 → project 2345678" {
		t.Errorf("summary %q", got)
	}
}

// FuzzLabel proves that no text can leave its place in a search or in a list of labels.
func FuzzLabel(f *testing.F) {
	for _, s := range []string{"RfTest20", `a" -state:started OR "`, "a,b", "run/1", "\x00\u2028x", "-x", strings.Repeat("é", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := labelOf(s)
		if strings.ContainsAny(l, ",\"\n\r\x00") || len([]rune(l)) > maxLabel {
			t.Fatalf("the label %q", l)
		}
		if l == "" {
			return
		}
		q := quote(l)
		if quoted := strings.HasPrefix(q, `"`); quoted && strings.Count(q, `"`) != 2 || !quoted && strings.ContainsAny(q, " :()*") {
			t.Fatalf("the search term %q", q)
		}
	})
}

// FuzzStory proves that hostile text stays text: a story keeps its limits, and no link but the message's own appears.
func FuzzStory(f *testing.F) {
	f.Add("](http://evil.example)", "<script>", "`x`\n# head", "a\nb")
	f.Add("![i](//evil)", "http://evil.example", "[x]: http://evil.example", strings.Repeat("*", 9000))
	f.Fuzz(func(t *testing.T, title, text, value, thread string) {
		s := storyOf(&integration.Message{
			Title: title, Text: markup.Escape(text), Thread: thread,
			Fields: []patchbay.Field{{Title: title, Value: markup.Escape(value), Short: true}},
		}, labelOf(thread))
		if strings.ContainsAny(s.Name, "\n\r") || len([]rune(s.Name)) > maxName || len([]rune(s.Description)) > maxDescription {
			t.Fatalf("the story %+v", s)
		}
		for _, text := range []string{s.Description, s.Comments[0].Text} {
			if html := markup.HTML(patchbay.Markdown(text)); strings.Contains(html, "<a") {
				t.Fatalf("a link appeared in %q: %s", text, html)
			}
		}
	})
}
