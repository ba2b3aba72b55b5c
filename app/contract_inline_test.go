package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// inline is the body of an inline call.
func inline(event, entries string) string {
	return fmt.Sprintf(`{"event_type":%q,"payload":{"run":{"id":7,"description":"x"}},"integrations":[%s]}`, event, entries)
}

// entry is one integration of it.
func entry(key, settings string) string {
	return fmt.Sprintf(`{"key":%q,"settings":%s}`, key, settings)
}

func TestInline(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/link", `"events":["*"]`))
	slack := entry("slack", `{"url":"`+p.url("/slack")+`"}`)

	t.Run("every listed integration is tried before the answer, and links are not consulted", func(t *testing.T) {
		s := s.in(t)
		got := s.call("POST", "/events", inline("run_error", slack+","+entry("webhook", `{"url":"`+p.url("/hook")+`"}`))).want(201).json()
		if got.str("status") != "ok" || len(got.objects("results")) != 2 || got.str("results", 0, "key") != "slack" || got.str("results", 0, "status") != "sent" || got.str("results", 1, "key") != "webhook" || got.str("results", 1, "status") != "sent" {
			t.Errorf("the answer is %v", got)
		}
		paths := []string{p.next(t).path, p.next(t).path}
		slices.Sort(paths)
		if !slices.Equal(paths, []string{"/hook", "/slack"}) {
			t.Errorf("%v were called", paths)
		}
		p.none(t)
	})
	t.Run("settings are an object or Rainforest's list", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", "/events", inline("run_error", entry("slack", `[{"key":"url","value":"`+p.url("/list")+`"},{"key":"channel","value":"#qa"}]`))).want(201)
		if r := p.next(t); r.path != "/list" || decode(t, r.body).str("channel") != "#qa" {
			t.Errorf("the partner got %s %s", r.path, r.body)
		}
	})
	t.Run("unknown setting keys are ignored", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", "/events", inline("run_error", entry("slack", `{"url":"`+p.url("/a")+`","colour":"red","nested":{"a":[1]}}`))).want(201)
		s.call("POST", "/events", inline("run_error", entry("slack", `[{"key":"url","value":"`+p.url("/b")+`"},{"key":"colour","value":"red"}]`))).want(201)
		p.next(t)
		p.next(t)
	})
	t.Run("[] answers results: []", func(t *testing.T) {
		s := s.in(t)
		a := s.call("POST", "/events", inline("run_error", "")).want(201)
		if !strings.Contains(string(a.body), `"results":[]`) || a.json().str("status") != "ok" {
			t.Errorf("the answer is %s", a.body)
		}
		p.none(t)
	})
	t.Run("an integration that does not support the event type is skipped", func(t *testing.T) {
		s := s.in(t)
		pivotal := entry("pivotal_tracker", `{"project_id":1,"api_token":"token-1234","base_url":"`+p.URL+`"}`)
		got := s.call("POST", "/events", inline("run_error", pivotal+","+slack)).want(201).json()
		if got.str("results", 0, "status") != "skipped" || got.str("results", 1, "status") != "sent" {
			t.Errorf("the answer is %v", got)
		}
		p.next(t)
		p.none(t)
		got = s.call("POST", "/events", inline("run_error", pivotal)).want(201).json()
		if got.str("status") != "ok" || got.str("results", 0, "status") != "skipped" {
			t.Errorf("the answer to one that is skipped alone is %v", got)
		}
	})
	t.Run("the same integration may be listed twice", func(t *testing.T) {
		s := s.in(t)
		got := s.call("POST", "/events", inline("run_error", slack+","+slack)).want(201).json()
		if len(got.objects("results")) != 2 {
			t.Errorf("the answer is %v", got)
		}
		p.next(t)
		p.next(t)
	})
	t.Run("oauth_consumer is ignored by integrations that do not sign with it", func(t *testing.T) {
		s := s.in(t)
		body := inline("run_error", slack)
		s.call("POST", "/events", body[:len(body)-1]+`,"oauth_consumer":{"key":"k","secrets":{"RSA-SHA1":"not a key"}}}`).want(201)
		s.call("POST", "/events", body[:len(body)-1]+`,"oauth_consumer":null}`).want(201)
		p.next(t)
		p.next(t)
	})
	t.Run("the event and its results are kept, without settings", func(t *testing.T) {
		s := s.in(t)
		id := s.call("POST", "/events", inline("run_error", entry("webhook", `{"url":"`+p.url("/kept")+`","bearer":"topsecrettoken"}`))).want(201).json().str("id")
		p.next(t)
		a := s.call("GET", "/v1/events/"+id, "").want(200)
		d := a.json().objects("deliveries")
		if len(d) != 1 || d[0].str("state") != "succeeded" || d[0].at("link") != nil || d[0].str("integration") != "webhook" || d[0].str("attempts", 0, "verdict") != "delivered" {
			t.Errorf("its deliveries are %v", d)
		}
		if strings.Contains(string(a.body), "topsecrettoken") {
			t.Errorf("a setting was kept: %s", a.body)
		}
		s.call("POST", "/v1/deliveries/"+d[0].str("id")+"/retry", "").refused(409, "conflict")
	})
	t.Run("all are tried in parallel", func(t *testing.T) {
		s := s.in(t)
		var both sync.WaitGroup
		both.Add(2)
		meet := func(w http.ResponseWriter, _ *http.Request) { both.Done(); both.Wait() }
		p.on("/meet", meet)
		meeting := entry("slack", `{"url":"`+p.url("/meet")+`"}`)
		s.call("POST", "/events", inline("run_error", meeting+","+meeting)).want(201)
		p.next(t)
		p.next(t)
	})
	p.none(t) // the link saw none of this
}

// TestInlineRefusals: what is refused before anything is sent.
func TestInlineRefusals(t *testing.T) {
	s, p := things(t), newPartner(t)
	good := entry("webhook", `{"url":"`+p.url("/x")+`"}`)
	for _, c := range []struct{ says, entries, kind, names string }{
		{"an unknown integration", entry("carrier_pigeon", `{}`), "unsupported_integration", "carrier_pigeon"},
		{"an unknown integration without settings", `{"key":"carrier_pigeon"}`, "unsupported_integration", "carrier_pigeon"},
		{"an integration in another case", entry("Slack", `{}`), "unsupported_integration", "Slack"},
		{"a required setting missing", entry("slack", `{}`), "misconfigured_integration", "url"},
		{"a required setting missing in a list", entry("slack", `[]`), "misconfigured_integration", "url"},
		{"no settings at all", `{"key":"slack"}`, "misconfigured_integration", "url"},
		{"settings that are null", entry("slack", `null`), "misconfigured_integration", "url"},
		{"a required setting blank", entry("slack", `{"url":""}`), "misconfigured_integration", "url"},
		{"a required setting of blanks", entry("slack", `{"url":"  "}`), "misconfigured_integration", "url"},
		{"a required setting null", entry("slack", `{"url":null}`), "misconfigured_integration", "url"},
		{"a required setting blank in a list", entry("slack", `[{"key":"url","value":""}]`), "misconfigured_integration", "url"},
		{"a required setting without value in a list", entry("slack", `[{"key":"url"}]`), "misconfigured_integration", "url"},
		{"one of two required settings missing", entry("hip_chat", `{"room_id":"1"}`), "misconfigured_integration", "room_token"},
		{"a missing setting where the type would be skipped", entry("pivotal_tracker", `{}`), "misconfigured_integration", "project_id"},
		{"no key", `{"settings":{}}`, "invalid_request", "key"},
		{"a key that is not text", `{"key":1,"settings":{}}`, "invalid_request", "key"},
		{"an entry that is not an object", `"slack"`, "invalid_request", "integrations"},
		{"settings that are text", entry("slack", `"url"`), "invalid_request", "settings"},
		{"a list without keys", entry("slack", `[{"value":"x"}]`), "invalid_request", "settings"},
		{"a list that names a key twice", entry("slack", `[{"key":"url","value":"https://a.example"},{"key":"url","value":"https://b.example"}]`), "invalid_request", "settings"},
	} {
		t.Run(c.says, func(t *testing.T) {
			for _, entries := range []string{c.entries, good + "," + c.entries, c.entries + "," + good} {
				got := s.in(t).call("POST", "/events", inline("run_error", entries)).refused(400, c.kind).json()
				if !strings.Contains(got.str("error"), c.names) {
					t.Errorf("the error does not name %s: %v", c.names, got)
				}
			}
		})
	}
	for _, list := range []string{`{}`, `"slack"`, `null`, `1`} {
		s.call("POST", "/events", `{"event":"integration_test","integrations":`+list+`}`).refused(400, "invalid_request")
	}
	body := inline("run_error", good)
	for _, consumer := range []string{`"k"`, `[]`, `{"key":"k","secrets":{"RSA-SHA1":1}}`} {
		s.call("POST", "/events", body[:len(body)-1]+`,"oauth_consumer":`+consumer+`}`).refused(400, "invalid_request")
	}
	s.call("POST", "/events", inline("unknown", good)).refused(400, "invalid_request")
	s.call("POST", "/v1/events?dry_run=true", body).refused(400, "invalid_request")
	p.none(t)
	if got := s.call("GET", "/v1/events", "").want(200).json(); len(got.objects("data")) != 0 {
		t.Errorf("something was kept: %v", got)
	}
}

// TestInlineFailures: what partners answer, and what the call is answered then.
func TestInlineFailures(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/401", status(401, "no such token"))
	p.on("/403", status(403, "invalid_token"))
	p.on("/404", status(404, "no_service"))
	p.on("/400", status(400, "invalid_payload"))
	p.on("/500", status(500, "oops"))
	p.on("/503", status(503, ""))
	p.on("/302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	dead := newPartner(t)
	dead.Close()
	for _, c := range []struct{ says, integration, url, kind, code, body string }{
		{"refusing credentials", "slack", p.url("/403"), "user_configuration_error", "403", "invalid_token"},
		{"refusing the address", "slack", p.url("/404"), "user_configuration_error", "404", "no_service"},
		{"refusing our request", "slack", p.url("/400"), "misconfigured_integration", "400", "invalid_payload"},
		{"failing", "slack", p.url("/500"), "service_error", "500", "oops"},
		{"failing without a word", "slack", p.url("/503"), "service_error", "503", ""},
		{"unreachable", "slack", dead.url("/"), "service_error", "", ""},
		{"refusing credentials, of a webhook", "webhook", p.url("/401"), "user_configuration_error", "401", "no such token"},
		{"refusing the address, of a webhook", "webhook", p.url("/404"), "user_configuration_error", "404", "no_service"},
		{"refusing our request, of a webhook", "webhook", p.url("/400"), "misconfigured_integration", "400", "invalid_payload"},
		{"failing, of a webhook", "webhook", p.url("/500"), "service_error", "500", "oops"},
		{"redirecting, of a webhook", "webhook", p.url("/302"), "user_configuration_error", "302", ""},
		{"at an address that is not allowed", "webhook", "http://169.254.169.254/latest", "user_configuration_error", "", ""},
	} {
		t.Run("a partner "+c.says, func(t *testing.T) {
			s := s.in(t)
			a := s.call("POST", "/events", inline("run_error", entry("slack", `{"url":"`+p.url("/fine")+`"}`)+","+entry(c.integration, `{"url":"`+c.url+`"}`))).refused(400, c.kind)
			got := a.json()
			if got.str("failed_response_code") != c.code || !strings.Contains(got.str("failed_response_body"), c.body) || (got.at("failed_response_body") != nil) != (c.code != "") {
				t.Errorf("what the partner said is %v %v, want %s %q", got.at("failed_response_code"), got.at("failed_response_body"), c.code, c.body)
			}
			r := got.objects("results")
			if len(r) != 2 || r[0].str("status") != "sent" || r[1].str("status") != "failed" || r[1].str("type") != c.kind || r[1].str("error") != got.str("error") {
				t.Errorf("the results are %v", r)
			}
			if got.at("status") != nil {
				t.Errorf("a failure says status: %v", got)
			}
		})
	}
	t.Run("the first failure is what the call is answered with", func(t *testing.T) {
		s := s.in(t)
		got := s.call("POST", "/events", inline("run_error", entry("slack", `{"url":"`+p.url("/fine")+`"}`)+","+entry("slack", `{"url":"`+p.url("/404")+`"}`)+","+entry("slack", `{"url":"`+p.url("/500")+`"}`))).refused(400, "user_configuration_error").json()
		if got.str("failed_response_code") != "404" || got.str("results", 2, "type") != "service_error" {
			t.Errorf("the answer is %v", got)
		}
	})
	t.Run("a failure is kept, is not tried again, and a key forgets it", func(t *testing.T) {
		s := s.in(t)
		for len(p.sent) > 0 {
			p.next(t)
		}
		body := inline("run_error", entry("slack", `{"url":"`+p.url("/500")+`"}`))
		id := s.call("POST", "/events", body, keyed("failing")).want(400).json().str("id")
		p.next(t)
		if got := s.call("GET", "/v1/events/"+id, "").want(200).json(); got.str("deliveries", 0, "state") != "failed" || got.str("deliveries", 0, "attempts", 0, "response_code") != "500" {
			t.Errorf("what is kept is %v", got)
		}
		p.on("/500", status(200, "ok"))
		if a := s.call("POST", "/events", body, keyed("failing")).want(201); a.header.Get("Idempotent-Replayed") != "" {
			t.Error("a failure was remembered")
		}
		p.next(t)
		p.none(t)
	})
}
