package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// signInWith opens a browser in which somebody has signed in with a key of a scope and permissions.
func (s *site) signInWith(o browsertest.Options, scope string, permissions ...string) *browsertest.Page {
	s.t.Helper()
	key := s.api("POST", "/v1/keys", map[string]any{"name": "somebody", "scope": scope, "permissions": permissions})
	p := s.page(o)
	p.Go(s.url + "/sign-in")
	p.Type("#key", key["token"].(string))
	p.Press("main button.primary")
	return p
}

// field is the selector of what is written at a place in the payload.
func at(place string) string { return `[name="v` + place + `"]` }

// stored returns an event's payload as it is kept.
func (s *site) stored(id string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/v1/events/"+id, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var e struct{ Payload json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		s.t.Fatal(err)
	}
	return string(e.Payload)
}

// order is a type with everything that a form has to know.
func (s *site) order() {
	s.api("PUT", "/v1/event-types/order.made", map[string]any{
		"title": "Order made", "description": "Somebody bought something.",
		"schema": json.RawMessage(`{"type":"object","required":["number","lines"],"properties":{
			"number":{"type":"integer","description":"The order's number."},"kind":{"enum":["web","shop"]},"gift":{"type":"boolean"},"due":{"type":"string","format":"date"},
			"note":{"type":["string","null"]},"lines":{"type":"array","minItems":1,"items":{"type":"object","required":["sku"],"properties":{"sku":{"type":"string","minLength":1},"price":{"type":"number"}}}},
			"paid":{"oneOf":[{"title":"By card","type":"object","required":["last4"],"properties":{"last4":{"type":"string"}},"additionalProperties":false},
				{"title":"By invoice","type":"object","required":["to"],"properties":{"to":{"type":"string"}},"additionalProperties":false}]}}}`),
		"example": json.RawMessage(`{"number":12345678901234567890,"lines":[{"sku":"A-1","price":9.50}],"kind":"web","extra":{"z":1.0,"a":2}}`),
	})
}

// TestPlayground composes an event in the form, with a script: what it would do is shown beside it, and it is sent.
func TestPlayground(t *testing.T) {
	s := open(t)
	s.populate()
	s.order()
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/playground?scope=acme/teams/42")
	p.Type("#type-search", "bought")
	p.See("#status", "1 ")
	p.Accessible()
	p.Press(`a[href*="type=order.made"]`)
	p.See("h1", "Order made")
	if got := browsertest.Ask[string](p, `document.querySelector("#scope").value`); got != "acme/teams/42" {
		t.Errorf("the scope is %q", got)
	}
	p.Accessible()
	p.Click("button[value=dry]")
	p.See("#result", "would get it")
	p.See("#result", "Company archive")
	p.See("#result", "Held, because the link is paused")
	p.See("#result", "do not match")
	p.Accessible()
	p.Click("#result .outcome summary")
	p.See("#result .outcome[open]", "KEEP inbox:inbox")
	p.Accessible()
	p.Type(at("/number"), "many")
	p.Keys("\t")
	p.See(".bench", "must be an integer")
	p.See("#problems", "payload.number")
	p.Accessible()
	p.Type(at("/number"), "7.0")
	p.Keys("\t")
	p.See("#result", "would get it")
	p.Click(`button[value="add:/lines"]`)
	p.See(".bench", "lines[1]")
	p.Type(at("/lines/1/sku"), "B-2")
	p.Click("#to-json")
	p.See("main", "Payload, as JSON")
	if got := browsertest.Ask[string](p, `document.querySelector("#payload").value.replace(/\s/g, "")`); got != `{"number":7.0,"lines":[{"sku":"A-1","price":9.50},{"sku":"B-2"}],"kind":"web","extra":{"z":1.0,"a":2}}` {
		t.Errorf("as JSON it is %s", got)
	}
	p.Accessible()
	p.Press("button[value=send]")
	p.See("#confirm", "This is for real")
	p.Accessible()
	if n := s.api("GET", "/v1/events?type=order.made", nil)["data"].([]any); len(n) != 0 {
		t.Error("it was sent before that was confirmed")
	}
	p.Press(`#confirm button.primary`)
	p.See(".notice.ok", "It was sent.")
	p.See("main", "Order made")
	id := p.Address()[strings.LastIndexByte(p.Address(), '/')+1:]
	if got := s.stored(id); got != `{"number":7.0,"lines":[{"sku":"A-1","price":9.50},{"sku":"B-2"}],"kind":"web","extra":{"z":1.0,"a":2}}` {
		t.Errorf("%s was sent", got)
	}
	p.Press(`a[href="/playground?event=` + id + `"]`)
	p.See("h1", "Order made")
	if got := browsertest.Ask[string](p, `document.querySelector('`+at("/lines/1/sku")+`').value`); got != "B-2" {
		t.Errorf("the event to be sent again has %q", got)
	}
}

// TestPlaygroundWithoutScript: everything works in turns with the server, and nothing is lost in them.
func TestPlaygroundWithoutScript(t *testing.T) {
	s := open(t)
	s.populate()
	s.order()
	p := s.signIn(browsertest.Options{NoScript: true, Width: 390})
	p.Expect("status of 400")
	p.Go(s.url + "/playground?q=bought")
	p.Press(`a[href*="type=order.made"]`)
	p.Type("#scope", "acme/teams/7")
	p.Press(`button[value="remove:/lines/0"]`)
	p.Press("button[value=send]")
	p.See("#problems", "payload.lines")
	p.See(".part .error", "at least 1")
	p.Fits()
	p.Press(`button[value="add:/lines"]`)
	p.Type(at("/lines/0/sku"), `<b>"7"</b>`)
	p.Press(`#to-json`)
	p.See("main", "Payload, as JSON")
	p.Type("#payload", `{"number": 1e2, "lines": [{"price": 1.10, "sku": "x"}], "note": null, "paid": {"to": "Ann"}, oops}`)
	p.Press("#to-form")
	p.See("#problems", "not JSON that can be read")
	p.Type("#payload", `{"number": 1e2, "lines": [{"price": 1.10, "sku": "x"}], "note": null, "paid": {"to": "Ann"}}`)
	p.Press("#to-form")
	p.Type(at("/paid/to"), "Eve")
	p.Press("button[value=dry]")
	p.See("#result", "would get it")
	p.Fits()
	p.Press("button[value=send]")
	p.Press(`#confirm button.primary`)
	p.See(".notice.ok", "It was sent.")
	id := p.Address()[strings.LastIndexByte(p.Address(), '/')+1:]
	if got := s.stored(id); got != `{"number":1e2,"lines":[{"price":1.10,"sku":"x"}],"note":null,"paid":{"to":"Eve"}}` {
		t.Errorf("%s was sent", got)
	}
}

// TestPlaygroundIsLimited: whoever may only look has no button to send, those of a scope stay in it, and customers do not see
// the page.
func TestPlaygroundIsLimited(t *testing.T) {
	s := open(t)
	s.populate()
	viewer := s.signInWith(browsertest.Options{}, "", "read")
	viewer.Go(s.url + "/playground?type=entry.created")
	viewer.See("h1", "Entry Created")
	if strings.Contains(viewer.Text("main"), "Send it") || strings.Contains(viewer.Text("main"), "Dry run") {
		t.Error("somebody who may only look could send")
	}
	viewer.Type(at("/text"), "")
	viewer.Click("button[value=dry]")
	viewer.See("#result", "as its type wants it")
	viewer.Expect("status of 403")
	browsertest.Ask[bool](viewer, `(document.querySelector("button[value=dry]").value = "send", document.querySelector("button[value=send]").removeAttribute("data-live"), true)`)
	viewer.Press("button[value=send]")
	viewer.See("main", "")
	if n := s.api("GET", "/v1/events", nil)["data"].([]any); len(n) != 0 {
		t.Error("somebody who may only look has sent an event")
	}

	limited := s.signInWith(browsertest.Options{}, "acme/teams/42", "publish", "read")
	limited.Go(s.url + "/playground?type=repo.push")
	if got := browsertest.Ask[string](limited, `document.querySelector("#scope").value`); got != "acme/teams/42" {
		t.Errorf("the scope is %q", got)
	}
	limited.Click("button[value=dry]")
	limited.See("#result", "would get it")
	if text := limited.Text("#result"); strings.Contains(text, "Company archive") || strings.Contains(text, "acme/teams/7") {
		t.Errorf("links of others are told: %s", text)
	}
	limited.Type("#scope", "acme/teams/7")
	limited.Keys("\t")
	limited.See("#problems", "reaches")
	if strings.Contains(limited.Text("#result"), "would get it") {
		t.Error("a dry run went beyond the scope")
	}
	foreign := s.happened("acme/teams/7", "theirs")
	limited.Expect("status of 404")
	limited.Go(s.url + "/playground?event=" + foreign)
	limited.See("h1", "There is nothing here")

	customer := s.page(browsertest.Options{})
	customer.Expect("status of 404")
	customer.Go(s.portal("acme/teams/42"))
	customer.See("h1", "Your links")
	customer.Go(s.url + "/playground")
	customer.See("h1", "There is nothing here")
}

// TestPlaygroundSendsOnce: a second click on the same button is not a second event, and another site cannot click at all.
func TestPlaygroundSendsOnce(t *testing.T) {
	s := open(t)
	form := url.Values{"type": {"entry.created"}, "scope": {"acme"}, "view": {"json"}, "payload": {`{"text":"once"}`}, "once": {"abc"}, "op": {"send:0"}}
	v := s.signedIn()
	post := func(headers ...string) answer { return v.do("POST", "/playground", form, headers...) }
	if a := post("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden {
		t.Errorf("another site is answered %d", a.status)
	}
	first, second := post(), post()
	if to := first.header.Get("Location"); first.status != http.StatusSeeOther || !strings.HasPrefix(to, "/events/evt_") || to != second.header.Get("Location") {
		t.Errorf("%d %q, then %q", first.status, to, second.header.Get("Location"))
	}
	form.Set("payload", `{"text":"another"}`)
	if third := post(); third.header.Get("Location") == first.header.Get("Location") {
		t.Error("another event is taken for the same")
	}
}

// TestEventIsLive: what becomes of an event's deliveries stands on its page without reloading it.
func TestEventIsLive(t *testing.T) {
	s := open(t)
	s.tasks.set(func() bool { s.tasks.refuses = true; return true })
	held := s.link(map[string]any{"integration": "tasks", "scope": "acme", "events": []string{"*"}, "settings": map[string]any{"project": "apollo"}})
	s.api("POST", "/v1/links/"+held+"/pause", nil)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/events/" + s.happened("acme", "wait for it"))
	p.See("[data-part=deliveries]", "Held")
	s.api("POST", "/v1/links/"+held+"/resume", nil)
	p.See("[data-part=deliveries]", "Failed")
	p.See("[data-part=deliveries]", "400")
	p.Accessible()
}
