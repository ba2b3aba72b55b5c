package web_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// publish sends an event and returns its identifier.
func (s *site) publish(kind, scope string, payload map[string]any) string {
	s.t.Helper()
	return s.api("POST", "/v1/events", map[string]any{"event_type": kind, "scope": scope, "payload": payload})["id"].(string)
}

// happened is an event of a type of its own, and its identifier.
func (s *site) happened(scope, text string) string {
	s.t.Helper()
	return s.publish("entry.created", scope, map[string]any{"text": text})
}

// TestEvents finds events by what the address says, and pages.
func TestEvents(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/events")
	p.See(".empty", "No events yet")
	p.Accessible()
	const evil = `<script>alert(1)</script> "Größe"`
	first := s.happened("acme/teams/42", evil)
	for range 55 {
		s.happened("acme/teams/7", "routine")
	}
	p.Go(s.url + "/events?scope=acme/teams/42")
	p.See("tbody", "acme/teams/42")
	if n := browsertest.Ask[int](p, `document.querySelectorAll("tbody tr").length`); n != 1 {
		t.Errorf("%d events are shown of a scope that has one", n)
	}
	for _, text := range []string{"GRÖSSE", "größe", "<script>", `1)</script> "gr`} {
		p.Go(s.url + "/events")
		p.Type("#text", text)
		p.Press("form.filters button.primary")
		if text == "GRÖSSE" { // another letter, and so another text
			p.See(".empty", "No event is like that")
			continue
		}
		p.See("tbody", "alert(1)")
	}
	p.Go(s.url + "/events?type=entry.*&window=1h")
	p.See("tbody", "routine")
	p.Keys("jjk") // the last one leads back to the first row
	if got := browsertest.Ask[string](p, `document.querySelector("tbody tr .row-link") === document.activeElement ? "" : document.activeElement.outerHTML`); got != "" {
		t.Errorf("j, j and k lead to %s", got)
	}
	p.Press(`main a.btn[href*="before="]`)
	p.See("tbody", "alert(1)")
	p.See("main", "Back to the newest")
	p.Go(s.url + "/events?until=2020-01-01T00:00")
	p.See(".empty", "No event is like that")
	p.Expect("status of 400")
	p.Go(s.url + "/events?since=yesterday")
	p.See("main", "must be a time such as")
	p.Expect("status of 404")
	p.Go(s.url + "/events/" + first + "x")
	p.See("main", "There is no event")
}

// TestEventsArrive: a list says what has come in since, and keeps its rows where they are.
func TestEventsArrive(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/events?scope=acme/teams/42")
	p.See(".empty", "No event is like that")
	for until := time.Now().Add(time.Minute); !browsertest.Ask[bool](p, `!document.querySelector(".arrived").hidden`) && time.Now().Before(until); {
		s.happened("acme/teams/7", "elsewhere")
		s.happened("acme/teams/42", "here")
	}
	p.See(".arrived", "new event")
	p.Accessible()
	p.Press(".arrived a")
	p.See("tbody", "here")
	if strings.Contains(p.Text("tbody"), "elsewhere") {
		t.Error("an event of another scope is in the list")
	}
}

// TestEvent shows all of one: its payload, why each link matches it or does not, its deliveries, and sends it again.
func TestEvent(t *testing.T) {
	s := open(t)
	s.populate()
	id := s.happened("acme/teams/42", "<b>bold</b>")
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/events?scope=acme/teams/42")
	p.Press(`tbody a[href="/events/` + id + `"]`)
	p.See(".json", `"<b>bold</b>"`)
	p.See("#links-title + .reasons", "Company archive")
	p.See("main", "do not match")
	p.Accessible()
	p.Press(`.head a.primary`)
	p.See("h1", "Send it again?")
	p.See("main", "Company archive")
	p.Accessible()
	p.Press("main button.primary")
	p.See(".notice.ok", "the newest replay made 2 deliveries")
	p.See("table", "of a replay")
	p.See("#replays-title", "Replays")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/events/"+id+"/payload.json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode == http.StatusOK || strings.Contains(string(body), "bold") {
		t.Errorf("somebody who has not signed in gets the payload: %d %s", resp.StatusCode, body)
	}
}

// TestCustomersSeeNoEvents: these pages are for operators.
func TestCustomersSeeNoEvents(t *testing.T) {
	s := open(t)
	id := s.happened("acme/teams/42", "secret plans")
	p := s.page(browsertest.Options{})
	p.Expect("status of 404")
	p.Go(s.portal("acme/teams/42"))
	p.See("h1", "Your links")
	if strings.Contains(p.Text(".bar"), "Events") {
		t.Error("a customer's navigation has Events")
	}
	for _, path := range []string{"/events", "/events/live", "/events/" + id, "/events/" + id + "/payload.json", "/events/" + id + "/replay"} {
		p.Go(s.url + path)
		p.See("h1", "There is nothing here")
	}
}
