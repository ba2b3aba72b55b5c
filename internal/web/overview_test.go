package web_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// until waits for something to become so.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute it is not so that %s", what)
		}
	}
}

// failing makes a link whose partner is not there, and has an event fail at it and another arrive elsewhere.
func (s *site) failing() string {
	s.t.Helper()
	link := s.api("POST", "/v1/links", map[string]any{
		"integration": "webhook", "scope": "acme/teams/9", "events": []string{"*"}, "name": "Nobody there",
		"settings": map[string]any{"url": "http://127.0.0.1:1/hook"},
	})["id"].(string)
	s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme/teams/9", "events": []string{"*"}})
	s.api("PUT", "/v1/event-types/order.paid", map[string]any{"title": "Order paid", "example": map[string]any{"order": 42}})
	for range 3 {
		s.api("POST", "/v1/events", map[string]any{"event_type": "order.paid", "scope": "acme/teams/9", "payload": map[string]any{"order": 42}})
	}
	until(s.t, "the link fails", func() bool {
		health, _ := s.api("GET", "/v1/links/"+link, nil)["health"].(map[string]any)
		failures, _ := health["failures"].(float64)
		return failures > 0
	})
	return link
}

// TestOverview: it shows what came in and what fails, with a way to put it right, over the time that the address says.
func TestOverview(t *testing.T) {
	s := open(t)
	link := s.failing()
	p := s.signIn(browsertest.Options{Width: 1440})
	p.See("h1", "Some things need you")
	p.See(".rows", "Nobody there")
	p.See(".rows", "It has been failing")
	p.See("table", "Nobody there")
	p.See(".side [aria-current=page]", "Overview")
	if got := p.Text(".figures"); !regexp.MustCompile(`Came in\s+[34]\b`).MatchString(got) {
		t.Errorf("the figures are %q, want 3 events that came in, and perhaps the one that the link fails", got)
	}
	p.See(".nav [aria-current=true]", "Last hour") // there is nothing older
	p.Press(`nav a[href="/?window=24h"]`)
	p.See(".nav [aria-current=true]", "Last 24 hours")
	p.Press(`nav a[href="/?window=1h"]`)
	p.See(".nav [aria-current=true]", "Last hour")
	if n := browsertest.Ask[int](p, `document.querySelectorAll("#came-in .hit").length`); n != 60 {
		t.Errorf("an hour has %d steps, want 60", n)
	}
	if got := browsertest.Ask[int](p, `[...document.querySelectorAll("#came-in td:nth-child(2)")].reduce((n, td) => n + Number(td.textContent), 0)`); got != 3 && got != 4 { // that the link fails is an event, too
		t.Errorf("the table of what came in adds up to %d, want 3 or 4", got)
	}
	p.Tab("#came-in-scrub") // the arrow keys go where the pointer does
	p.See("#came-in .tip", "Events: ")
	most := 0
	for range 3 { // the events came in within the last minutes
		n := regexp.MustCompile(`Events: (\d+)`).FindStringSubmatch(p.Text("#came-in .tip"))
		if said := browsertest.Ask[string](p, `document.activeElement.getAttribute("aria-valuetext")`); n == nil || !strings.Contains(said, n[0]) {
			t.Errorf("%q is shown, and %q said", p.Text("#came-in .tip"), said)
			break
		}
		most = max(most, int(n[1][0]-'0'))
		p.Keys(kb.ArrowLeft)
	}
	if most < 2 {
		t.Errorf("%d events are the most that a step shows", most)
	}
	p.Keys(kb.Escape)
	if !browsertest.Ask[bool](p, `document.querySelector("#came-in .tip").hidden`) {
		t.Error("Escape does not take the numbers away")
	}
	if h := browsertest.Ask[float64](p, `document.querySelector("#came-in rect.c-accent").getBoundingClientRect().height`); h < 50 {
		t.Errorf("the only bar is %v high", h)
	}
	p.Press(`.acts a[href="/links/` + link + `"]`)
	p.See("h1", "Nobody there")
}

// TestOverviewOfNothing: an empty installation says how to begin, and what it says works.
func TestOverviewOfNothing(t *testing.T) {
	s := open(t)
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true}} {
		p := s.signIn(o)
		p.See("h1", "Welcome")
		p.Fits()
		p.Accessible()
		for _, id := range []string{"first-type", "first-link", "first-event"} {
			command := p.Text("#" + id)
			m := regexp.MustCompile(`(?s)^curl -X (\w+) (\S+) .*-d '(.*)'$`).FindStringSubmatch(command)
			if m == nil {
				t.Fatalf("the command is %q", command)
			}
			s.run(m[1], m[2], m[3])
		}
		p.Go(s.url + "/")
		p.See("h1", "All is well")
		s.api("DELETE", "/v1/links/"+s.api("GET", "/v1/links", nil)["data"].([]any)[0].(map[string]any)["id"].(string), nil)
	}
}

// run does what a command would.
func (s *site) run(method, url, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		s.t.Errorf("%s %s was answered %d: %s", method, url, resp.StatusCode, answer)
	}
}
