package live

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/console"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)

// told returns the lines that items come to at a width; a negative one is brief.
func told(t *testing.T, width int, items ...client.Item) []string {
	t.Helper()
	var b bytes.Buffer
	c := console.New(&b)
	c.Width = max(width, -width)
	n := Narrator{Console: c, Brief: width < 0, Now: func() time.Time { return noon }, Name: func(*client.Delivery) string { return "Slack #qa" },
		Describe: func(e *patchbay.Event) string {
			if e.Type == "plain" {
				return ""
			}
			return "Run #7 is complete! And this goes on and on, far beyond what a terminal of eighty columns can show at once, and of 120 too"
		}}
	for _, item := range items {
		if err := n.Tell(item); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func attempt(state, verdict, rest string) client.Item {
	return client.Item{Kind: "attempt", Data: json.RawMessage(`{"id":"dlv_0123456789abc","integration":"slack","link":"lnk_0123456789abc","state":"` + state + `",` +
		rest + `,"attempts":[{"at":"2026-11-22T12:00:00Z","duration_ms":12,"verdict":"` + verdict + `","error":"Slack failed","response_code":503}]}`)}
}

// TestLines proves what is said of each kind of item.
func TestLines(t *testing.T) {
	next := noon.Add(4 * time.Second).Format(time.RFC3339)
	for _, tc := range []struct {
		name string
		item client.Item
		want string
	}{
		{"event", client.Item{Kind: "event", Data: json.RawMessage(`{"type":"run_completion","scope":"acme/qa","payload":{},"deliveries":3,"source":{"kind":"api"}}`)},
			"12:00:00  ● run_completion         acme/qa                    → 3      Run #7 is complete! And this goes on and on, far…"},
		{"event that matches nothing", client.Item{Kind: "event", Data: json.RawMessage(`{"type":"plain","scope":"","payload":{"a": 1},"source":{"kind":"api"}}`)},
			`12:00:00  ● plain                  (everywhere)               → nobody {"a": 1}`},
		{"inline event", client.Item{Kind: "event", Data: json.RawMessage(`{"type":"plain","scope":"","payload":{"a":1},"deliveries":1,"source":{"kind":"inline"}}`)},
			`12:00:00  ● plain                  (everywhere)               inline   {"a":1}`},
		{"delivered", attempt("succeeded", "delivered", `"attempt_count":1`), "12:00:00    ✓ slack                Slack #qa                  503 in 12 ms"},
		{"delivered late", attempt("succeeded", "delivered", `"attempt_count":3`), "12:00:00    ✓ slack                Slack #qa                  503 in 12 ms, at the 3rd attempt"},
		{"again", attempt("pending", "retry", `"attempt_count":1,"next_attempt_at":"`+next+`"`), "12:00:00    ↻ slack                Slack #qa                  again in 4s: 503: Slack failed"},
		{"given up", attempt("failed", "retry", `"attempt_count":5`), "12:00:00    ✗ slack                Slack #qa                  given up after 5 attempts: Slack failed"},
		{"refused", attempt("failed", "rejected", `"attempt_count":1`), "12:00:00    ✗ slack                Slack #qa                  failed for good: 503: Slack failed"},
		{"cancelled", client.Item{Kind: "delivery", Data: json.RawMessage(`{"integration":"slack","state":"cancelled","attempt_count":2}`)}, "12:00:00    – slack                Slack #qa                  cancelled"},
		{"lagging", client.Item{Kind: "lagged", Data: json.RawMessage(`{}`)}, "too much at once"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := told(t, 120, tc.item); len(got) != 1 || !strings.Contains(got[0], tc.want) {
				t.Errorf("got\n%q\nwant\n%q", got, tc.want)
			}
		})
	}
	brief := told(t, -80, client.Item{Kind: "event", Data: json.RawMessage(`{"type":"run_completion","scope":"acme/qa","payload":{},"deliveries":3}`)},
		attempt("succeeded", "delivered", `"attempt_count":1`))
	if want := "12:00:00  ● run_completion         → 3      Run #7 is complete! And this goes o…"; brief[0] != want {
		t.Errorf("got\n%q\nwant\n%q", brief[0], want)
	}
	if want := "12:00:00    ✓ Slack #qa            503 in 12 ms"; brief[1] != want {
		t.Errorf("got\n%q\nwant\n%q", brief[1], want)
	}
	if got := told(t, 120, client.Item{Kind: "delivery", Data: json.RawMessage(`{"state":"succeeded","attempt_count":1}`)}); got[0] != "" {
		t.Errorf("the end of a delivery, which its last attempt has told, is told again: %q", got)
	}
}

// TestWidth proves that no line is longer than the terminal is wide, whatever is in it.
func TestWidth(t *testing.T) {
	long := strings.Repeat("long ", 60)
	items := []client.Item{
		{Kind: "event", Data: json.RawMessage(`{"type":"a.very.long.type.of.event.indeed","scope":"tenant/` + strings.Repeat("x", 60) + `","payload":{"a":"` + long + `"},"deliveries":12}`)},
		{Kind: "event", Data: json.RawMessage(`{"type":"plain","scope":"","payload":{"a":"\u001b[31m` + long + `"}}`)},
		attempt("pending", "retry", `"attempt_count":1,"next_attempt_at":"2030-01-01T00:00:00Z"`),
	}
	for _, width := range []int{80, 99, 120, 200, -80} {
		for _, line := range told(t, width, items...) {
			width := max(width, -width)
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("%d columns in %d: %q", n, width, line)
			}
			if strings.ContainsRune(line, '\x1b') {
				t.Errorf("an escape sequence of the payload is printed: %q", line)
			}
		}
	}
}

// TestUnreadable proves that an item that is not what it says is an error.
func TestUnreadable(t *testing.T) {
	n := Narrator{Console: &console.Console{}}
	for _, kind := range []string{"event", "attempt", "delivery"} {
		if err := n.Tell(client.Item{Kind: kind, Data: json.RawMessage(`[]`)}); err == nil {
			t.Errorf("%s: no error", kind)
		}
	}
}

// TestOrdinal proves the endings.
func TestOrdinal(t *testing.T) {
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 21: "21st", 112: "112th"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
