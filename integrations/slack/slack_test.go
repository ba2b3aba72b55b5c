package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
	"github.com/patchbay/patchbay/integration/markup"
)

const path = "/services/T0/B0/secretsecretsecret"

// client sends requests as they are.
type client struct{ last *integration.Request }

func (c *client) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	c.last = req
	r, err := http.NewRequestWithContext(ctx, req.Method, req.URL, bytes.NewReader(req.Body))
	if err != nil {
		return nil, err
	}
	for _, f := range req.Header {
		r.Header.Add(f.Name, f.Value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, errors.New("no connection")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	out := &integration.Response{Status: resp.StatusCode, Body: body, RetryAfter: time.Duration(seconds) * time.Second}
	for name, values := range resp.Header {
		out.Header.Add(name, values[0])
	}
	return out, err
}

func delivery(t *testing.T, raw string, msg *integration.Message) (*integration.Delivery, *client) {
	t.Helper()
	def := New().Definition()
	checked, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := def.Decode(checked)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{}
	return &integration.Delivery{
		Settings: settings,
		Message:  func() (*integration.Message, error) { return msg, nil },
		Env:      &integration.Env{HTTP: c, Now: time.Now},
	}, c
}

// completion is Rainforest's run_completion as its catalog renders it.
func completion() *integration.Message {
	const page = "https://app.rainforestqa.com/runs/123"
	count := func(n, group string) patchbay.Markdown {
		return markup.Link(n, page+"?expandedGroups%5B%5D="+group)
	}
	return &integration.Message{
		Title:    "Your Rainforest Run (Run #123: <nightly> & \"co\") is complete!",
		Text:     `Your Rainforest Run ([Run \#123\: \<nightly\> \& \"co\"](` + page + `)) is complete\!`,
		Severity: patchbay.SeverityError,
		Fields: []patchbay.Field{
			{Title: "Result", Value: "Failed", Short: true},
			{Title: "Tests Passed", Value: count("8 (80%)", "passed"), Short: true},
			{Title: "Duration", Value: `25 minutes\, 3 seconds`, Short: true},
			{Title: "Tests Failed", Value: count("2 (20%)", "failed"), Short: true},
			{Title: "Environment", Value: `QA \<Environment\>`, Short: true},
			{Title: "Other Results", Value: count("0 (0%)", "no_result"), Short: true},
		},
		Links: []patchbay.URL{{Title: "Open the run", URL: page}},
	}
}

// golden compares JSON with a file. PATCHBAY_UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	file := "testdata/" + name + ".json"
	if os.Getenv("PATCHBAY_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestSend(t *testing.T) {
	var got []byte
	var contentType string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		contentType = r.Header.Get("Content-Type")
		got, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	defer server.Close()
	for _, test := range []struct {
		name, settings string
		msg            *integration.Message
	}{
		{"completion", `{}`, completion()},
		{"settings", `{"channel": "#qa", "username": "Patchbay", "icon_emoji": ":satellite:", "icon_url": "https://x.test/i.png"}`, &integration.Message{
			Title: "maria pushed 2 commits to <shop>", Severity: patchbay.SeverityInfo,
			Text:  "- **6f1c2c9** Round prices\n- `b20d4e7` Release notes\n\n> done",
			Actor: &patchbay.Actor{Name: "maria <!here>", URL: "https://code.test/maria?a=1&b=2", Avatar: "javascript:x"},
			Links: []patchbay.URL{{Title: "Compare | all", URL: "https://code.test/cmp?a=1&b=2"}, {Title: "bad", URL: "ftp://x"}, {Title: "again", URL: "https://code.test/cmp?a=1&b=2"}},
		}},
		{"title", `{"icon_url": "https://x.test/i.png"}`, &integration.Message{Title: "Deploy <failed>", Severity: patchbay.SeverityWarning,
			Fields: []patchbay.Field{{Title: "Empty", Value: ""}, {Title: "Log", Value: "line\\\\\nline"}}}},
	} {
		var settings map[string]any
		_ = json.Unmarshal([]byte(test.settings), &settings)
		settings["url"] = server.URL + path
		raw, _ := json.Marshal(settings)
		d, _ := delivery(t, string(raw), test.msg)
		if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
			t.Fatalf("%s: %+v", test.name, r)
		}
		if contentType != "application/json; charset=utf-8" {
			t.Errorf("Content-Type is %q", contentType)
		}
		golden(t, test.name, got)
	}
}

// A link's own body goes out as it is, and the message is not even made.
func TestOwnBody(t *testing.T) {
	var got []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) }))
	defer server.Close()
	d, _ := delivery(t, `{"url": "`+server.URL+`"}`, nil)
	d.Message = func() (*integration.Message, error) { t.Error("the message was made"); return nil, errors.New("x") }
	d.Body = json.RawMessage(`{"text":"x"}`)
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered || string(got) != `{"text":"x"}` {
		t.Errorf("%+v, sent %s", r, got)
	}
}

func TestVerdicts(t *testing.T) {
	type outcome struct {
		Verdict            patchbay.Verdict
		Type               patchbay.Code
		Throttled, Disable bool
		RetryAfter         time.Duration
	}
	var (
		delivered = outcome{Verdict: patchbay.VerdictDelivered}
		user      = outcome{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeUserConfigurationError}
		gone      = outcome{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeUserConfigurationError, Disable: true}
		ours      = outcome{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeMisconfiguredIntegration}
		retry     = outcome{Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError}
		throttled = outcome{Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError, Throttled: true, RetryAfter: 30 * time.Second}
	)
	for _, test := range []struct {
		status int
		body   string
		want   outcome
	}{
		{200, "ok", delivered}, {204, "", delivered}, {200, `{"success":true}`, delivered}, {200, "{not json", delivered},
		{200, `{"success":false,"error":"[invalid-channel]"}`, ours}, {200, `{"ok":false}`, ours},
		{200, "<!DOCTYPE html><html>", user},
		{403, "action_prohibited", user}, {403, "invalid_token", user}, {404, "channel_not_found", user}, {404, "no_service", user},
		{404, "no_team", user}, {404, "team_disabled", user}, {400, "user_not_found", user}, {404, "Bad token", user},
		{403, "posting_to_general_channel_denied", user}, {400, "posting_to_general_channel_denied", user},
		{410, "channel_is_archived", gone}, {404, "no_active_hooks", gone}, {410, "", gone},
		{400, "invalid_payload", ours}, {400, "no_text", ours}, {500, "no_text", ours}, {400, "invalid_blocks", ours}, {400, "too_many_attachments", ours},
		{400, "else", ours}, {413, "", ours},
		{500, "rollup_error", retry}, {500, "", retry}, {503, "<html>", retry}, {408, "", retry},
		{429, "", throttled}, {429, "no_text", throttled},
		{401, "", user}, {404, "", user}, {302, "", user}, {501, "", user},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if test.status == 429 {
				w.Header().Set("Retry-After", "30")
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}))
		d, _ := delivery(t, `{"url": "`+server.URL+path+`"}`, completion())
		r := New().Send(t.Context(), d)
		server.Close()
		got := outcome{r.Verdict, r.Type, r.Throttled, r.Disable, r.RetryAfter}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%d %q (-want +got):\n%s", test.status, test.body, diff)
		}
		if r.Code != test.status || string(r.Body) != test.body && test.status != 204 {
			t.Errorf("%d %q: the answer shown is %d %q", test.status, test.body, r.Code, r.Body)
		}
		if strings.Contains(r.Error, "secret") {
			t.Errorf("the error shows the address: %s", r.Error)
		}
	}
}

func TestFailures(t *testing.T) {
	d, c := delivery(t, `{"url": "http://127.0.0.1:1`+path+`"}`, completion())
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictRetry || strings.Contains(r.Error, "secret") {
		t.Errorf("unreachable: %+v", r)
	}
	for _, part := range []string{"http://127.0.0.1:1" + path, path} {
		found := false
		for _, s := range c.last.Secret {
			found = found || s == part
		}
		if !found {
			t.Errorf("%q is not marked as secret", part)
		}
	}
	d.Message = func() (*integration.Message, error) { return nil, errors.New("field 2: no such key") }
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, "field 2") {
		t.Errorf("unrenderable: %+v", r)
	}
	d.Settings = &Settings{}
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, "url") {
		t.Errorf("without an address: %+v", r)
	}
}

func TestSettings(t *testing.T) {
	spec := New().Definition().Settings
	for raw, want := range map[string]patchbay.Code{
		`{}`:                 patchbay.CodeMisconfiguredIntegration,
		`{"url": " "}`:       patchbay.CodeMisconfiguredIntegration,
		`{"url": "ftp://x"}`: patchbay.CodeInvalidRequest,
		`{"url": "https://x", "icon_emoji": "satellite"}`: patchbay.CodeInvalidRequest,
		`{"url": "https://x", "chanel": "y"}`:             patchbay.CodeInvalidRequest,
		`{"url": "https://x"}`:                            "",
	} {
		if _, err := spec.Check(json.RawMessage(raw), integration.CheckOptions{}); patchbay.CodeOf(err) != want {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if _, err := spec.Check(nil, integration.CheckOptions{Connected: true}); err != nil {
		t.Errorf("a connection takes the place of the address: %v", err)
	}
	mask := string(spec.Mask(json.RawMessage(`{"url": "https://hooks.slack.com/services/T0/B0/secret1234", "channel": "#x"}`)))
	if mask != `{"channel":"#x","url":"••••1234"}` {
		t.Errorf("the mask is %s", mask)
	}
}

func TestNames(t *testing.T) {
	s := New()
	at := &Settings{URL: "https://hooks.slack.com/services/T0/B0/secret"}
	if got := s.ShortName(at) + "|" + s.Destination(at); got != "Slack|the webhook's channel" {
		t.Error(got)
	}
	named := &Settings{URL: at.URL, Channel: "#qa"}
	if got := s.ShortName(named) + "|" + s.Destination(named); got != "Slack #qa|#qa" {
		t.Error(got)
	}
	if got := s.Destination(&Settings{URL: "https://mm.test/hooks/secret"}); got != "the channel of a webhook at mm.test" {
		t.Error(got)
	}
	if s.Target(at) == s.Target(named) || s.Target(at) != s.Target(&Settings{URL: at.URL}) || strings.Contains(s.Target(at), "secret") {
		t.Errorf("targets: %s, %s", s.Target(at), s.Target(named))
	}
}

// However long a message is, the body stays below Slack's limit, and says something.
func TestLimits(t *testing.T) {
	long := strings.Repeat("<é&\" ", 5_000)
	msg := &integration.Message{Title: long, Text: markup.Escape(long) + " [x](https://x.test)", Actor: &patchbay.Actor{Name: long, URL: "https://x.test/" + long}}
	for range 200 {
		msg.Fields = append(msg.Fields, patchbay.Field{Title: long, Value: markup.Escape(long)})
		msg.Links = append(msg.Links, patchbay.URL{Title: long, URL: "https://x.test/" + strings.Repeat("a", 3000)})
	}
	out := encode(render(msg, &Settings{}))
	if len(out) > maxBody || len(out) < maxBody/4 || !utf8.Valid(out) {
		t.Errorf("the body has %d bytes", len(out))
	}
	msg.Fields = msg.Fields[:20]
	for i := range msg.Fields {
		msg.Fields[i] = patchbay.Field{Title: "a", Value: "b", Short: true}
	}
	msg.Title, msg.Actor = "t", nil
	var b body
	if err := json.Unmarshal(encode(render(msg, &Settings{})), &b); err != nil || len(b.Attachments[0].Fields) != 20 || !strings.HasSuffix(b.Attachments[0].Text, "…") {
		t.Errorf("a long text pushed out the fields: %v, %d", err, len(b.Attachments[0].Fields))
	}
}

// FuzzRender: whatever an event says, Slack finds no mention and no link but those of the message.
func FuzzRender(f *testing.F) {
	f.Add("<!channel> <http://evil.test|x>", "a|b>c &lt;")
	f.Add("\x00\xff\"\\", "*_`~")
	f.Fuzz(func(t *testing.T, title, value string) {
		msg := &integration.Message{
			Title: title, Text: "see " + markup.Escape(value) + " [" + markup.Escape(title) + "](https://ours.test/)",
			Fields: []patchbay.Field{{Title: title, Value: markup.Escape("v" + value)}},
			Links:  []patchbay.URL{{Title: value, URL: "https://ours.test/2"}},
			Actor:  &patchbay.Actor{Name: title},
		}
		out := encode(render(msg, &Settings{}))
		var b body
		if err := json.Unmarshal(out, &b); err != nil {
			t.Fatalf("not JSON: %v", err)
		}
		a := b.Attachments[0]
		for _, s := range []string{a.Fallback, a.Title, a.AuthorName, a.Fields[0].Title, a.Text} {
			for rest := s; strings.Contains(rest, "<"); {
				_, rest, _ = strings.Cut(rest, "<")
				if !strings.HasPrefix(rest, "https://ours.test/") || s != a.Text {
					t.Errorf("%q holds a link or mention", s)
				}
			}
		}
	})
}

func BenchmarkRender(b *testing.B) {
	msg, s := completion(), &Settings{}
	b.ReportAllocs()
	for b.Loop() {
		render(msg, s)
	}
}

func TestContract(t *testing.T) {
	integrationtest.Run(t, integrationtest.Case{
		Integration: New(),
		Settings:    `{"url": "{{URL}}` + path + `", "channel": "#qa"}`,
		Secrets:     []string{path},
		MaxBody:     maxBody,
		Clean: func(t *testing.T, body []byte, hostile string) {
			var b struct {
				Attachments []attachment `json:"attachments"`
			}
			if err := json.Unmarshal(body, &b); err != nil || len(b.Attachments) != 1 {
				t.Fatalf("not one attachment: %s", body)
			}
			a := b.Attachments[0]
			for _, s := range []string{a.Fallback, a.Title, a.AuthorName, a.Fields[0].Title, a.Fields[0].Value, a.Fields[1].Value} {
				if strings.ContainsAny(s, "<>") {
					t.Errorf("%q holds what Slack reads as a link or mention", s)
				}
			}
			if got := strings.Count(a.Text, "<"); got != 1 || !strings.Contains(a.Text, "<https://code.example.test/?q=%3Cb%3E|") {
				t.Errorf("the text has %d links, and one is the message's: %q", got, a.Text)
			}
		},
	})
}
