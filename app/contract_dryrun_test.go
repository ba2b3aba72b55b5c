package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDryRun: nothing is stored or sent; every link with matched and the reason why or why not, and the exact request.
func TestDryRun(t *testing.T) {
	s, p := things(t), newPartner(t)
	const secret = "hush-hush-4711"
	links := map[string]string{}
	for name, rest := range map[string]string{
		"matches":    `"events":["thing.*"],"scope":"acme"`,
		"paused":     `"events":["thing.*"],"scope":"acme"`,
		"disabled":   `"events":["*"],"scope":"acme","enabled":false`,
		"scope":      `"events":["*"],"scope":"other"`,
		"pattern":    `"events":["run_*"],"scope":"acme"`,
		"filter":     `"events":["*"],"scope":"acme","filter":"payload.n > 5"`,
		"fails":      `"events":["*"],"scope":"acme","filter":"payload.missing > 5"`,
		"overridden": `"events":["*"],"scope":"acme","slot":"s"`,
		"overrides":  `"events":["*"],"scope":"acme/x","slot":"s"`,
	} {
		body := fmt.Sprintf(`{"integration":"webhook","name":%q,%s,"settings":{"url":%q,"bearer":%q}}`, name, rest, p.url("/"+name+"/${payload.n}"), secret)
		links[s.link(body)] = name
		if name == "paused" {
			for id := range links {
				if links[id] == name {
					s.call("POST", "/v1/links/"+id+"/pause", "").want(200)
				}
			}
		}
	}
	s.link(`{"integration":"pivotal_tracker","name":"skipped","events":["*"],"settings":{"project_id":1,"api_token":"` + secret + `","base_url":"` + p.URL + `"}}`)
	slack := s.link(`{"integration":"slack","events":["*"],"scope":"acme","settings":{"url":"` + p.url("/services/"+secret) + `"}}`)
	a := s.call("POST", "/v1/events?dry_run=true", `{`+made+`,"scope":"acme/x","payload":{"n":1.0}}`).want(200)
	got := a.json()
	matched := map[string]bool{}
	for _, l := range got.objects("links") {
		name := links[l.str("link")]
		matched[name] = l.at("matched") == true
		if len(l.str("reason")) < 10 {
			t.Errorf("%s: the reason is %q", name, l.str("reason"))
		}
		if (l.at("held") == true) != (name == "paused") {
			t.Errorf("%s: held is %v", name, l.at("held"))
		}
		if (l.at("request") != nil) != (l.at("matched") == true) {
			t.Errorf("%s: the request is %v", name, l.at("request"))
		}
		if name == "matches" {
			if l.str("request", "method") != "POST" || l.str("request", "url") != p.url("/matches/1%2E0") || !strings.Contains(l.str("request", "body"), `"payload":{"n":1.0}`) || l.str("request", "headers", "Content-Type") != "application/json" {
				t.Errorf("the request is %v", l.at("request"))
			}
			if sig := l.str("request", "headers", "webhook-signature"); strings.HasPrefix(sig, "v1,") && len(sig) > 40 && !strings.Contains(sig, "[") {
				t.Errorf("it is signed: %s", sig)
			}
		}
		if l.str("link") == slack && !strings.Contains(l.str("request", "body"), "attachments") {
			t.Errorf("Slack's request is %v", l.at("request"))
		}
	}
	want := map[string]bool{"matches": true, "paused": true, "disabled": false, "scope": false, "pattern": false, "filter": false, "fails": false, "overridden": false, "overrides": true, "": true}
	if diff := cmp.Diff(want, matched); diff != "" {
		t.Error(diff)
	}
	if got.str("deliveries") != "5" { // with Slack's, and the tracker, which takes every type that nobody skips
		t.Errorf("deliveries is %s", got.str("deliveries"))
	}
	if strings.Contains(string(a.body), secret) {
		t.Errorf("a secret is shown: %s", a.body)
	}
	if list := s.call("GET", "/v1/events", "").json().objects("data"); len(list) != 0 {
		t.Errorf("the dry run is stored: %v", list)
	}
	p.none(t)
	t.Run("it agrees with what happens", func(t *testing.T) {
		if _, n := s.in(t).publish(`{` + made + `,"scope":"acme/x","payload":{"n":1.0}}`); n != got.str("deliveries") {
			t.Errorf("%s deliveries", n)
		}
	})
	t.Run("a bad event is refused as POST would", func(t *testing.T) {
		s := s.in(t)
		for _, body := range []string{`{`, `{"event":"none","payload":{}}`, `{"event":"run_error","payload":{}}`, `{"event":"thing.made","payload":[]}`, `{"event":"patchbay.link.failing"}`} {
			s.call("POST", "/v1/events?dry_run=true", body).refused(400, "invalid_request")
		}
		s.call("POST", "/v1/events?dry_run=perhaps", testEvent).refused(400, "invalid_request")
		s.call("POST", "/events?dry_run=true", testEvent).refused(400, "invalid_request")
	})
	t.Run("dry_run=false is a POST", func(t *testing.T) {
		s.in(t).call("POST", "/v1/events?dry_run=false", testEvent).want(201)
	})
	t.Run("it remembers no key", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", "/v1/events?dry_run=true", testEvent, keyed("dry")).want(200)
		if a := s.call("POST", "/v1/events", testEvent, keyed("dry")).want(201); a.header.Get("Idempotent-Replayed") != "" {
			t.Error("the dry run was remembered")
		}
	})
	t.Run("it needs publish and read", func(t *testing.T) {
		s := s.in(t)
		s.as(t, s.newKey("", "publish")).call("POST", "/v1/events?dry_run=true", testEvent).refused(403, "forbidden")
		s.as(t, s.newKey("", "read")).call("POST", "/v1/events?dry_run=true", testEvent).refused(403, "forbidden")
		s.as(t, s.newKey("", "read", "publish")).call("POST", "/v1/events?dry_run=true", testEvent).want(200)
	})
}

// TestReplay sends an event again, to the links that match now. Receivers know it by the identifier that they know.
func TestReplay(t *testing.T) {
	s, p := things(t), newPartner(t)
	first := s.link(hook(p, "/first", `"events":["*"]`))
	body := `{` + made + `,"scope":"acme","payload":{"z":1.0,"a":2},"actor":{"name":"Ann"},"occurred_at":"2026-01-02T03:04:05Z"}`
	id, _ := s.publish(body)
	original := p.next(t)
	s.delivered(id)
	s.call("DELETE", "/v1/links/"+first, "").want(204)
	s.link(hook(p, "/second", `"events":["*"]`))
	got := s.call("POST", "/v1/events/"+id+"/replay", "").want(200).json()
	if got.str("id") != id || len(got.objects("deliveries")) != 2 {
		t.Errorf("the answer is %v", got)
	}
	r := p.next(t)
	if r.path != "/second" || string(r.body) != string(original.body) || r.header.Get("Webhook-Id") != id {
		t.Errorf("the replay is %s %s %s, the original %s", r.path, r.header.Get("Webhook-Id"), r.body, original.body)
	}
	s.delivered(id)
	if list := s.call("GET", "/v1/events", "").want(200).json().objects("data"); len(list) != 1 {
		t.Errorf("%d events are listed", len(list))
	}
	t.Run("a replay can be repeated", func(t *testing.T) {
		s := s.in(t)
		if got := s.call("POST", "/v1/events/"+id+"/replay", "").want(200).json(); len(got.objects("deliveries")) != 3 {
			t.Errorf("the answer is %v", got)
		}
		if r := p.next(t); string(r.body) != string(original.body) {
			t.Errorf("it arrived as %s", r.body)
		}
		s.delivered(id)
	})
	t.Run("an event that matched nothing can be replayed", func(t *testing.T) {
		s := s.in(t)
		links := s.call("GET", "/v1/links", "").json().objects("data")
		s.call("PATCH", "/v1/links/"+links[0].str("id"), `{"enabled":false}`).want(200)
		id, n := s.publish(body)
		if n != "0" {
			t.Fatalf("%s deliveries", n)
		}
		s.call("POST", "/v1/links/"+links[0].str("id")+"/resume", "").want(200)
		s.call("POST", "/v1/events/"+id+"/replay", "").want(200)
		if r := p.next(t); r.header.Get("Webhook-Id") != id {
			t.Errorf("it arrived as %s", r.header.Get("Webhook-Id"))
		}
	})
	t.Run("an inline event is replayed over links", func(t *testing.T) {
		s := s.in(t)
		id := s.call("POST", "/events", inline("run_error", "")).want(201).json().str("id")
		s.call("POST", "/v1/events/"+id+"/replay", "").want(200)
		if r := p.next(t); r.header.Get("Webhook-Id") != id {
			t.Errorf("it arrived as %s", r.header.Get("Webhook-Id"))
		}
	})
	s.call("POST", noEvent+"/replay", "").refused(404, "not_found")
	s.call("POST", "/v1/events/x/replay", "").refused(404, "not_found")
	p.none(t)
}

// TestEventTypes: what is added through the API works at once; types of catalog files are read-only.
func TestEventTypes(t *testing.T) {
	s := serve(t)
	full := `{"title":"Build done","description":"A build ended.","aliases":["built"],"schema":{"type":"object","required":["n"],"properties":{"n":{"type":"integer"},"repo":{"type":"object","properties":{"id":{}}}}},` +
		`"example":{"n":9007199254740993,"z":1.0,"repo":{"id":7}},"scope_from":"acme/{{.payload.repo.id}}","message":{"title":"Build {{.payload.n}}","severity":"warning"}}`
	a := s.call("PUT", "/v1/event-types/build.done", full).want(201)
	if got := a.json(); got.str("key") != "build.done" || got.str("title") != "Build done" || got.str("example", "n") != "9007199254740993" || got.str("example", "z") != "1.0" {
		t.Errorf("the answer is %s", a.body)
	}
	if again := s.call("PUT", "/v1/event-types/build.done", full).want(200); string(again.body) != string(a.body) {
		t.Errorf("put again it is %s", again.body)
	}
	for _, name := range []string{"build.done", "built"} {
		if got := s.call("GET", "/v1/event-types/"+name, "").want(200); string(got.body) != string(a.body) {
			t.Errorf("%s is read as %s", name, got.body)
		}
	}
	if back := s.call("PUT", "/v1/event-types/build.done", string(a.body)).want(200); string(back.body) != string(a.body) {
		t.Errorf("what was read and sent back is %s", back.body)
	}
	t.Run("it is in the open catalog", func(t *testing.T) {
		types := s.in(t).call("GET", "/events", "", noKey).want(200).list()
		i := slices.IndexFunc(types, func(o object) bool { return o.str("key") == "build.done" })
		if i < 0 {
			t.Fatal("it is not there")
		}
		got := types[i]
		want := object{"key": "build.done", "title": "Build done", "description": "A build ended.", "payload": map[string]any{"n": []any{}, "repo": []any{"id"}}}
		for k, v := range want {
			if diff := cmp.Diff(v, got[k]); diff != "" {
				t.Errorf("%s: %s", k, diff)
			}
		}
		if got.str("schema", "type") != "object" || got.at("example") == nil {
			t.Errorf("it is %v", got)
		}
	})
	t.Run("its schema is asked for", func(t *testing.T) {
		s := s.in(t)
		got := s.call("POST", "/events", `{"event":"built","payload":{"n":"x"},"scope":""}`).refused(400, "invalid_request").json()
		if got.str("details", 0, "path") != "payload.n" {
			t.Errorf("the details are %v", got.at("details"))
		}
	})
	t.Run("scope_from takes the scope from the payload when the call has no scope key", func(t *testing.T) {
		s := s.in(t)
		for body, want := range map[string]string{
			`{"event":"built","payload":{"n":1,"repo":{"id":7}}}`:             "acme/7",
			`{"event":"built","payload":{"n":1,"repo":{"id":7}},"scope":""}`:  "",
			`{"event":"built","payload":{"n":1,"repo":{"id":"a/b ~"}}}`:       "acme/a~2Fb~20~7E",
			`{"event":"built","payload":{"n":1,"repo":{"id":7}},"scope":"x"}`: "x",
		} {
			id, _ := s.publish(body)
			if got := s.call("GET", "/v1/events/"+id, "").json().str("scope"); got != want {
				t.Errorf("%s has the scope %q", body, got)
			}
		}
		s.call("POST", "/events", `{"event":"built","payload":{"n":1}}`).refused(400, "invalid_request")
	})
	for says, c := range map[string]struct {
		key, body string
		status    int
		kind      string
	}{
		"a type of a catalog file":              {"run_error", `{"title":"x"}`, 409, "conflict"},
		"an alias of a file's type":             {"webhook_timeout", `{"title":"x"}`, 409, "conflict"},
		"a type that is built in":               {"integration_test", `{"title":"x"}`, 409, "conflict"},
		"a type of Patchbay's":                  {"patchbay.x", `{"title":"x"}`, 400, "invalid_request"},
		"an alias that is taken":                {"x.y", `{"title":"x","aliases":["repo.push"]}`, 409, "conflict"},
		"an example that does not satisfy":      {"x.y", `{"title":"x","schema":{"type":"object","required":["n"]},"example":{}}`, 400, "invalid_request"},
		"a schema that is none":                 {"x.y", `{"title":"x","schema":{"type":"nonsense"}}`, 400, "invalid_request"},
		"a schema that refers elsewhere":        {"x.y", `{"title":"x","schema":{"$ref":"https://example.com/s.json"}}`, 400, "invalid_request"},
		"a template that does not compile":      {"x.y", `{"title":"x","message":{"title":"{{.payload"}}`, 400, "invalid_request"},
		"no title":                              {"x.y", `{}`, 400, "invalid_request"},
		"another key in the body":               {"x.y", `{"key":"x.z","title":"x"}`, 400, "invalid_request"},
		"an unknown field":                      {"x.y", `{"title":"x","colour":1}`, 400, "invalid_request"},
		"no JSON":                               {"x.y", `{`, 400, "invalid_request"},
		"a key with a star":                     {"x*", `{"title":"x"}`, 400, "invalid_request"},
		"an example that is not an object":      {"x.y", `{"title":"x","example":[]}`, 400, "invalid_request"},
		"a schema and an example of other size": {"x.y", `{"title":"x","schema":{"type":"object","properties":{"n":{"maximum":9007199254740992}}},"example":{"n":9007199254740993}}`, 400, "invalid_request"},
	} {
		t.Run("refused: "+says, func(t *testing.T) {
			s.in(t).call("PUT", "/v1/event-types/"+c.key, c.body).refused(c.status, c.kind)
		})
	}
	t.Run("numbers of any size are accepted and kept as they are spelled", func(t *testing.T) {
		s := s.in(t)
		a := s.call("PUT", "/v1/event-types/numbers", `{"title":"x","example":{"n":1e999,"m":123456789012345678901234567890.50}}`).want(201)
		if !strings.Contains(string(a.body), `{"n":1e999,"m":123456789012345678901234567890.50}`) {
			t.Errorf("the answer is %s", a.body)
		}
	})
	t.Run("DELETE", func(t *testing.T) {
		s := s.in(t)
		s.call("DELETE", "/v1/event-types/run_error", "").refused(409, "conflict")
		s.call("DELETE", "/v1/event-types/nothing", "").refused(404, "not_found")
		id, _ := s.publish(`{"event":"built","payload":{"n":1},"scope":"x"}`)
		s.call("DELETE", "/v1/event-types/build.done", "").want(204)
		s.call("GET", "/v1/event-types/build.done", "").refused(404, "not_found")
		s.call("POST", "/events", `{"event":"built","payload":{"n":1},"scope":"x"}`).refused(400, "invalid_request")
		if got := s.call("GET", "/v1/events/"+id, "").want(200).json(); got.str("type") != "build.done" {
			t.Errorf("its event is %v", got)
		}
		s.call("POST", "/v1/events/"+id+"/replay", "").refused(409, "conflict")
		if got := s.call("GET", "/v1/events?type=build.done", "").want(200).json().objects("data"); len(got) == 0 {
			t.Error("its events are no longer listed by its key")
		}
	})
	s.call("GET", "/v1/event-types/nothing", "").refused(404, "not_found")
}
