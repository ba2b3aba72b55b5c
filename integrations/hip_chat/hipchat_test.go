package hipchat

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
	"github.com/patchbay/patchbay/integration/markup"
)

const token = "sjc91Sq15qhcyciVoDo7f7jFrZhj0OizRKl8D6ED"

func TestContract(t *testing.T) {
	integrationtest.Run(t, integrationtest.Case{
		Integration: New(),
		Settings:    `{"room_id": "QA room/1", "room_token": "` + token + `", "base_url": "{{URL}}/hip"}`,
		Secrets:     []string{token},
		Partner: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "POST" || r.URL.EscapedPath() != "/hip/v2/room/QA%20room%2F1/notification" || r.Header.Get("Authorization") != "Bearer "+token {
				t.Errorf("%s %s with %q", r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"))
			}
			if r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type is %q", r.Header.Get("Content-Type"))
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusNoContent)
		}),
		MaxBody: 256 << 10,
		Clean: func(t *testing.T, body []byte, _ string) {
			var n notification
			if err := json.Unmarshal(body, &n); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(n.Card.Title, "\r\n\x00") {
				t.Errorf("the card's title is not a line: %q", n.Card.Title)
			}
			for _, s := range []string{n.Message, n.Card.Description.Value} {
				checkHTML(t, s)
			}
		},
	})
}

// checkHTML fails on elements other than ours, and on links other than the sample message's.
func checkHTML(t *testing.T, s string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(s))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		token := z.Token()
		if kind == html.TextToken {
			continue
		}
		switch token.Data {
		case "b", "br":
		case "a":
			for _, a := range token.Attr {
				if a.Key != "href" || a.Val != "https://code.example.test/?q=%3Cb%3E" {
					t.Errorf("%q holds %s", s, token)
				}
			}
		default:
			t.Errorf("%q holds %s", s, token)
		}
	}
}

// failure is Rainforest's run_test_failure as its catalog renders it.
func failure() *integration.Message {
	const page = "https://app.rainforestqa.com/runs/9382"
	return &integration.Message{
		Title:    "Rainforest found a bug in 'My <failing> test'",
		Text:     `Your Rainforest Run ([Run \#9382](` + page + `)) has a failed test\!`,
		Severity: patchbay.SeverityError,
		Fields: []patchbay.Field{
			{Title: "Failed Test", Value: markup.Link("Test #7: My <failing> test", page+"/tests/7"), Short: true},
			{Title: "Environment", Value: `QA \<Environment\>`, Short: true},
			{Title: "Browser", Value: ""},
			{Title: "Feedback from Ann", Value: "It **broke**\\.\n\nTwice"},
		},
		Links: []patchbay.URL{{Title: "Open the run", URL: page}, {Title: "Video & log", URL: "https://v.test/?a=1&b=2"}},
	}
}

func TestRender(t *testing.T) {
	for name, msg := range map[string]*integration.Message{
		"failure": failure(),
		"said":    {Title: "Deploy done", Text: "**Deploy** done: `v1.2`", Severity: patchbay.SeveritySuccess},
		"title":   {Title: "Disk <90%>", Severity: patchbay.SeverityWarning},
		"empty":   {Severity: patchbay.SeverityInfo},
	} {
		var got bytes.Buffer
		if err := json.Indent(&got, render(msg, "Patchbay", "evt_1"), "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		file := "testdata/" + name + ".json"
		if os.Getenv("PATCHBAY_UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// Green or red, as Rainforest's own had it; a warning is neither.
func TestColor(t *testing.T) {
	for severity, want := range map[patchbay.Severity]string{
		patchbay.SeverityInfo: "green", patchbay.SeveritySuccess: "green", patchbay.SeverityWarning: "yellow",
		patchbay.SeverityError: "red", patchbay.SeverityCritical: "red",
	} {
		if got := color(severity); got != want {
			t.Errorf("%s is %s, want %s", severity, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("\"é<", 40_000)
	msg := &integration.Message{Title: long, Text: markup.Escape(long)}
	for range 200 {
		msg.Fields = append(msg.Fields, patchbay.Field{Title: long, Value: "v"})
		msg.Links = append(msg.Links, patchbay.URL{Title: long, URL: "https://x.test/" + strings.Repeat("a", 900)})
	}
	var n notification
	if err := json.Unmarshal(render(msg, "x", "id"), &n); err != nil {
		t.Fatal(err)
	}
	if size := utf8.RuneCountInString(n.Message); size > maxMessage || size < maxMessage*9/10 {
		t.Errorf("the message has %d characters", size)
	}
	if len(n.Card.Attributes) != maxAttributes || utf8.RuneCountInString(n.Card.Title) != maxCardTitle {
		t.Errorf("%d attributes, a title of %d", len(n.Card.Attributes), utf8.RuneCountInString(n.Card.Title))
	}
	checkTags(t, n.Message)
}

// checkTags fails when a tag that was opened is not closed.
func checkTags(t *testing.T, s string) {
	t.Helper()
	open := 0
	z := html.NewTokenizer(strings.NewReader(s))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		switch name, _ := z.TagName(); {
		case string(name) == "br":
		case kind == html.StartTagToken:
			open++
		case kind == html.EndTagToken:
			open--
		}
	}
	if open != 0 {
		t.Errorf("%d tags are left open in %.200q", open, s)
	}
}

// HipChat has no Retry-After: it tells when it counts anew.
func TestRateLimit(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	d := &integration.Delivery{Env: &integration.Env{Now: func() time.Time { return now }}}
	for _, test := range []struct {
		name, reset string
		after, want time.Duration
	}{
		{"X-Ratelimit-Reset", "1700000090", 0, 90 * time.Second},
		{"X-FloodControl-Reset", "1700000010", 0, 10 * time.Second},
		{"X-Ratelimit-Reset", "1800000000", 0, maxReset},
		{"X-Ratelimit-Reset", "1600000000", 0, 0},
		{"X-Ratelimit-Reset", "soon", 0, 0},
		{"X-Ratelimit-Reset", "1700000090", 7 * time.Second, 7 * time.Second},
	} {
		resp := &integration.Response{Status: 429, Header: integration.Header{{Name: test.name, Value: test.reset}}, RetryAfter: test.after}
		if r := verdict(d, resp); !r.Throttled || r.RetryAfter != test.want {
			t.Errorf("%s: %s: %+v, want %v", test.name, test.reset, r, test.want)
		}
	}
}

func TestSettings(t *testing.T) {
	spec := New().Definition().Settings
	for raw, want := range map[string]patchbay.Code{
		`{"room_id": 7, "room_token": "t"}`: "",
		`{"room_id": 7}`:                    patchbay.CodeMisconfiguredIntegration,
		`{"room_token": "t"}`:               patchbay.CodeMisconfiguredIntegration,
		`{"room_id": 7, "room_token": "t", "from": "` + strings.Repeat("x", 65) + `"}`:              patchbay.CodeInvalidRequest,
		`{"room_id": 7, "room_token": "t", "base_url": "https://u:p@hip.test"}`:                     patchbay.CodeInvalidRequest,
		`{"room_id": 7, "room_token": "t", "base_url": "https://hip.test/?x"}`:                      patchbay.CodeInvalidRequest,
		`{"room_id": 7, "room_token": "t", "base_url": "https://hip.test/api/", "from": "Release"}`: "",
	} {
		if _, err := spec.Check(json.RawMessage(raw), integration.CheckOptions{}); patchbay.CodeOf(err) != want {
			t.Errorf("%s: %v", raw, err)
		}
	}
	checked, err := spec.Check(json.RawMessage(`{"room_id": 7, "room_token": "t"}`), integration.CheckOptions{})
	if err != nil || string(checked) != `{"base_url":"https://api.hipchat.com","from":"Patchbay","room_id":"7","room_token":"t"}` {
		t.Errorf("%s, %v", checked, err)
	}
	h := New()
	s := &Settings{RoomID: "7", BaseURL: "https://Hip.test/"}
	if got := h.ShortName(s) + "|" + h.Destination(s) + "|" + h.Target(s); got != "HipChat 7|room 7|https://hip.test 7" {
		t.Error(got)
	}
	if _, err := spec.Merge(checked, json.RawMessage(`{"base_url": "https://evil.test"}`)); err == nil {
		t.Error("the token would go to another server without being given again")
	}
}
