package app_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
)

var linkID = regexp.MustCompile(`^lnk_[0-9a-z]{13}$`)

// TestLinkShape: a link has every field of the contract, whether it was made, read, listed or changed.
func TestLinkShape(t *testing.T) {
	s := serve(t)
	a := s.call("POST", "/v1/links", `{"integration":"slack","scope":"acme/repos/1","events":["repo.push"],"filter":"payload.branch == 'main'","settings":{"url":"https://hooks.slack.com/services/T0/B0/abcdefgh1234","channel":"#develop"}}`).want(201)
	got := a.json()
	id := got.str("id")
	if !linkID.MatchString(id) {
		t.Errorf("the id is %q", id)
	}
	for path, want := range map[string]any{
		"integration": "slack", "scope": "acme/repos/1", "reach": "subtree", "filter": "payload.branch == 'main'", "slot": nil, "connection": nil,
		"enabled": true, "state": "active", "state_reason": nil, "visible": false, "hook_url": nil, "name": "", "short_name": "Slack #develop",
		"summary": "repo.push in acme/repos/1 → #develop", "delete_path": "/integrations/slack/link/" + id,
	} {
		if v, there := got[path]; !there || v != want {
			t.Errorf("%s is %v (there: %v), want %v", path, v, there, want)
		}
	}
	if diff := cmp.Diff([]any{"repo.push"}, got["events"]); diff != "" {
		t.Error(diff)
	}
	if got.str("settings", "url") != "••••1234" || got.str("settings", "channel") != "#develop" {
		t.Errorf("the settings are %v", got["settings"])
	}
	for _, field := range []string{"created_at", "updated_at"} {
		if at, err := time.Parse(time.RFC3339, got.str(field)); err != nil || !strings.HasSuffix(got.str(field), "Z") || time.Since(at).Abs() > time.Minute {
			t.Errorf("%s is %q", field, got.str(field))
		}
	}
	read := s.call("GET", "/v1/links/"+id, "").want(200)
	if diff := cmp.Diff(got, read.json()); diff != "" {
		t.Errorf("it is read differently than it was made: %s", diff)
	}
	if read.header.Get("ETag") == "" || read.header.Get("ETag") != a.header.Get("ETag") {
		t.Errorf("the ETags are %q and %q", a.header.Get("ETag"), read.header.Get("ETag"))
	}
	if diff := cmp.Diff(got, s.call("GET", "/v1/links", "").want(200).json().objects("data")[0]); diff != "" {
		t.Errorf("it is listed differently than it was made: %s", diff)
	}
	changed := s.call("PATCH", "/v1/links/"+id, `{}`).want(200).json()
	delete(changed, "updated_at")
	delete(got, "updated_at")
	if diff := cmp.Diff(got, changed); diff != "" {
		t.Errorf("a change of nothing changes: %s", diff)
	}
	if a := s.call("DELETE", "/v1/links/"+id, "").want(204); len(a.body) != 0 {
		t.Errorf("a 204 has a body: %q", a.body)
	}
	s.call("GET", "/v1/links/"+id, "").refused(404, "not_found")
	s.call("DELETE", "/v1/links/"+id, "").refused(404, "not_found")
}

// TestLinksThatAreRefused, with the code that says why and the path that says where.
func TestLinksThatAreRefused(t *testing.T) {
	s := serve(t)
	hook := func(settings string) string {
		return `{"integration":"webhook","events":["*"],"settings":` + settings + `}`
	}
	slack := func(settings string) string {
		return `{"integration":"slack","events":["*"],"settings":` + settings + `}`
	}
	url := `"url":"https://example.com/x"`
	long := strings.Repeat("x", 300)
	for _, c := range []struct{ says, body, kind, path string }{
		{"no integration", `{"events":["*"]}`, "invalid_request", "integration"},
		{"an unknown integration", `{"integration":"pigeon","events":["*"]}`, "unsupported_integration", ""},
		{"no events", `{"integration":"inbox"}`, "invalid_request", "events"},
		{"a required setting missing", slack(`{}`), "misconfigured_integration", "settings.url"},
		{"no settings", `{"integration":"slack","events":["*"]}`, "misconfigured_integration", "settings.url"},
		{"a required setting blank", slack(`{"url":" "}`), "misconfigured_integration", "settings.url"},
		{"an unknown setting", slack(`{"url":"https://a.example","colour":1}`), "invalid_request", "settings.colour"},
		{"settings as Rainforest's list", slack(`[{"key":"url","value":"https://a.example"}]`), "invalid_request", "settings"},
		{"a mask for a value", slack(`{"url":"••••1234"}`), "invalid_request", "settings.url"},
		{"an address that is none", hook(`{"url":"example.com"}`), "invalid_request", "settings.url"},
		{"an address of another scheme", hook(`{"url":"ftp://example.com"}`), "invalid_request", "settings.url"},
		{"a placeholder in the host", hook(`{"url":"https://${payload.x}.example.com/"}`), "invalid_request", "settings.url"},
		{"an unknown placeholder", hook(`{"url":"https://example.com/${env.HOME}"}`), "invalid_request", "settings.url"},
		{"an unknown method", hook(`{` + url + `,"method":"DELETE"}`), "invalid_request", "settings.method"},
		{"an unknown format", hook(`{` + url + `,"format":"xml"}`), "invalid_request", "settings.format"},
		{"a secret without prefix", hook(`{` + url + `,"secret":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}`), "invalid_request", "settings.secret"},
		{"a secret of 23 bytes", hook(`{` + url + `,"secret":"whsec_` + base64.StdEncoding.EncodeToString(make([]byte, 23)) + `"}`), "invalid_request", "settings.secret"},
		{"a secret of 65 bytes", hook(`{` + url + `,"secret":"whsec_` + base64.StdEncoding.EncodeToString(make([]byte, 65)) + `"}`), "invalid_request", "settings.secret"},
		{"a secret that is not base64", hook(`{` + url + `,"secret":"whsec_!!!!"}`), "invalid_request", "settings.secret"},
		{"an ed25519 key of 31 bytes", hook(`{` + url + `,"secret":"whsk_` + base64.StdEncoding.EncodeToString(make([]byte, 31)) + `"}`), "invalid_request", "settings.secret"},
		{"a Host header", hook(`{` + url + `,"headers":{"host":"x"}}`), "invalid_request", "settings.headers"},
		{"a Content-Type header", hook(`{` + url + `,"headers":{"Content-Type":"x"}}`), "invalid_request", "settings.headers"},
		{"a Content-Length header", hook(`{` + url + `,"headers":{"content-length":"1"}}`), "invalid_request", "settings.headers"},
		{"a webhook-id header", hook(`{` + url + `,"headers":{"Webhook-Id":"x"}}`), "invalid_request", "settings.headers"},
		{"a hop-by-hop header", hook(`{` + url + `,"headers":{"Transfer-Encoding":"chunked"}}`), "invalid_request", "settings.headers"},
		{"a header with a line break", hook(`{` + url + `,"headers":{"X-A":"b\r\nX-C: d"}}`), "invalid_request", "settings.headers"},
		{"a header that is no name", hook(`{` + url + `,"headers":{"X A":"b"}}`), "invalid_request", "settings.headers"},
		{"two ways to authorize", hook(`{` + url + `,"bearer":"abcd","basic":{"username":"u","password":"p"}}`), "invalid_request", "settings"},
		{"a required part of an object missing", hook(`{` + url + `,"basic":{"password":"p"}}`), "misconfigured_integration", "settings.basic.username"},
		{"a connection that is not there", `{"integration":"inbox","events":["*"],"connection":"con_0000000000001"}`, "invalid_request", "connection"},
		{"a name that is too long", `{"integration":"inbox","events":["*"],"name":"` + long + `"}`, "invalid_request", "name"},
		{"a slot that is too long", `{"integration":"inbox","events":["*"],"slot":"` + long + `"}`, "invalid_request", "slot"},
		{"a name of two lines", `{"integration":"inbox","events":["*"],"name":"a\nb"}`, "invalid_request", "name"},
		{"a number that is too large for its place", `{"integration":"inbox","events":["*"],"rate":1e400}`, "invalid_request", "rate"},
		{"a negative rate", `{"integration":"inbox","events":["*"],"rate":-1}`, "invalid_request", "rate"},
		{"a concurrency beyond the limit", `{"integration":"inbox","events":["*"],"concurrency":257}`, "invalid_request", "concurrency"},
		{"a schedule that is none", `{"integration":"inbox","events":["*"],"retry":{"schedule":["soon"]}}`, "invalid_request", ""},
		{"a pause below zero", `{"integration":"inbox","events":["*"],"retry":{"schedule":["-5s"]}}`, "invalid_request", "retry.schedule"},
		{"an unknown field", `{"integration":"inbox","events":["*"],"colour":"red"}`, "invalid_request", "colour"},
		{"a key twice", `{"integration":"inbox","integration":"slack","events":["*"]}`, "invalid_request", ""},
		{"a key twice in the settings", slack(`{"url":"https://a.example","url":"https://b.example"}`), "invalid_request", ""},
		{"invalid UTF-8", `{"integration":"inbox","events":["*"],"name":"` + "\xff" + `"}`, "invalid_request", ""},
		{"JSON nested 10,000 deep", slack(strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)), "invalid_request", ""},
		{"text for a truth", `{"integration":"inbox","events":["*"],"enabled":"yes"}`, "invalid_request", "enabled"},
		{"a list for an object", `[]`, "invalid_request", ""},
		{"no body", ``, "invalid_request", ""},
		{"half a body", `{"integration":`, "invalid_request", ""},
	} {
		t.Run(c.says, func(t *testing.T) {
			got := s.in(t).call("POST", "/v1/links", c.body).refused(400, c.kind).json()
			if c.path == "" {
				return
			}
			paths := []string{}
			for _, d := range got.objects("details") {
				paths = append(paths, d.str("path"))
			}
			if !slices.Contains(paths, c.path) {
				t.Errorf("the details are about %v, want %q: %v", paths, c.path, got)
			}
		})
	}
	if got := s.call("GET", "/v1/links", "").want(200).json(); len(got.objects("data")) != 0 {
		t.Errorf("a refused link was made: %v", got)
	}
}

// TestPatch: absent fields keep their values, null clears one.
func TestPatch(t *testing.T) {
	s := serve(t)
	id := s.link(`{"integration":"inbox","events":["a.*"],"scope":"acme","filter":"true","body":"payload","slot":"s","name":"n","reach":"exact","visible":true,"rate":5,"concurrency":3,"retry":{"schedule":["1s"],"max_age":"1h"}}`)
	path := "/v1/links/" + id
	read := func() object {
		o := s.call("GET", path, "").want(200).json()
		delete(o, "updated_at")
		return o
	}
	whole := read()
	for field, want := range map[string]any{"filter": nil, "body": nil, "slot": nil, "name": "", "reach": "subtree", "rate": "0", "concurrency": "16", "retry": nil} {
		t.Run("null clears "+field, func(t *testing.T) {
			s := s.in(t)
			got := s.call("PATCH", path, fmt.Sprintf(`{%q:null}`, field)).want(200).json()
			delete(got, "updated_at")
			if want == nil && got.at(field) != nil || want != nil && got.str(field) != want {
				t.Errorf("%s is %v", field, got.at(field))
			}
			for key := range whole {
				if key != field && key != "summary" && key != "short_name" && !cmp.Equal(whole[key], got[key]) {
					t.Errorf("%s has changed too: %v", key, got[key])
				}
			}
			s.call("PATCH", path, `{"filter":"true","body":"payload","slot":"s","name":"n","reach":"exact","rate":5,"concurrency":3,"retry":{"schedule":["1s"],"max_age":"1h"}}`).want(200)
		})
	}
	for _, field := range []string{"events", "scope", "settings", "enabled", "visible", "integration"} {
		t.Run("null cannot clear "+field, func(t *testing.T) {
			s.in(t).call("PATCH", path, fmt.Sprintf(`{%q:null}`, field)).refused(400, "invalid_request")
		})
	}
	t.Run("a link's integration cannot be changed", func(t *testing.T) {
		s := s.in(t)
		s.call("PATCH", path, `{"integration":"slack"}`).refused(400, "invalid_request")
		s.call("PATCH", path, `{"integration":"inbox"}`).want(200)
	})
	t.Run("a refused change changes nothing", func(t *testing.T) {
		before := read()
		s.in(t).call("PATCH", path, `{"name":"other","filter":"payload.("}`).refused(400, "invalid_request")
		s.in(t).call("PATCH", path, `{"name":"other","unknown":1}`).refused(400, "invalid_request")
		if diff := cmp.Diff(before, read()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the change holds from the answer on", func(t *testing.T) {
		s, p := s.in(t), newPartner(t)
		id := s.link(hook(p, "/x", `"events":["none"]`))
		for range 20 {
			s.call("PATCH", "/v1/links/"+id, `{"events":["integration_test"]}`).want(200)
			if _, n := s.publish(testEvent); n != "1" {
				t.Fatalf("%s deliveries after a change that matches", n)
			}
			s.call("PATCH", "/v1/links/"+id, `{"events":["none"]}`).want(200)
			if _, n := s.publish(testEvent); n != "0" {
				t.Fatalf("%s deliveries after a change that does not match", n)
			}
			p.next(t)
		}
	})
}

// TestIfMatch: PATCH honours If-Match with the ETag of the read.
func TestIfMatch(t *testing.T) {
	s := serve(t)
	path := "/v1/links/" + s.link(`{"integration":"inbox","events":["*"]}`)
	tag := s.call("GET", path, "").want(200).header.Get("ETag")
	a := s.call("PATCH", path, `{"name":"first"}`, header{"If-Match", tag}).want(200)
	if a.header.Get("ETag") == tag {
		t.Error("a change keeps the ETag")
	}
	s.call("PATCH", path, `{"name":"late"}`, header{"If-Match", tag}).refused(409, "conflict")
	s.call("PATCH", path, `{"name":"late"}`, header{"If-Match", `"never"`}).refused(409, "conflict")
	s.call("PATCH", path, `{"name":"late"}`, header{"If-Match", `3`}).refused(400, "invalid_request")
	if got := s.call("GET", path, "").json(); got.str("name") != "first" {
		t.Errorf("the name is %q", got.str("name"))
	}
	s.call("PATCH", path, `{"name":"second"}`, header{"If-Match", "W/" + a.header.Get("ETag")}).want(200)
	s.call("PATCH", path, `{"name":"third"}`, header{"If-Match", "*"}).want(200)
	s.call("POST", path+"/pause", "").want(200)
	s.call("PATCH", path, `{"name":"fourth"}`).want(200)
}

// TestLinkStates: state is the truth.
func TestLinkStates(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		says, start string
		steps       []string // "verb" or "patch: body"
		enabled     bool
		state       string
	}{
		{"a link begins active", ``, nil, true, "active"},
		{"a link may begin disabled", `,"enabled":false`, nil, false, "disabled"},
		{"pause pauses", ``, []string{"pause"}, true, "paused"},
		{"pause twice is a pause", ``, []string{"pause", "pause"}, true, "paused"},
		{"resume ends a pause", ``, []string{"pause", "resume"}, true, "active"},
		{"resume of what is active is nothing", ``, []string{"resume"}, true, "active"},
		{"resume enables", `,"enabled":false`, []string{"resume"}, true, "active"},
		{"enabled: false disables", ``, []string{`patch: {"enabled":false}`}, false, "disabled"},
		{"enabled: true enables", ``, []string{`patch: {"enabled":false}`, `patch: {"enabled":true}`}, true, "active"},
		{"a paused link that is disabled is disabled", ``, []string{"pause", `patch: {"enabled":false}`}, false, "disabled"},
		{"resume clears both", ``, []string{"pause", `patch: {"enabled":false}`, "resume"}, true, "active"},
	} {
		t.Run(c.says, func(t *testing.T) {
			s := s.in(t)
			path := "/v1/links/" + s.link(`{"integration":"inbox","events":["*"]`+c.start+`}`)
			for _, step := range c.steps {
				verb, body, isPatch := strings.Cut(step, ": ")
				var got object
				if isPatch {
					got = s.call("PATCH", path, body).want(200).json()
				} else {
					got = s.call("POST", path+"/"+verb, "").want(200).json()
				}
				if got.str("id") == "" {
					t.Errorf("%s is not answered with the resource: %v", step, got)
				}
			}
			got := s.call("GET", path, "").want(200).json()
			if got.at("enabled") != c.enabled || got.str("state") != c.state || got.at("state_reason") != nil {
				t.Errorf("enabled is %v, state %v (%v), want %v and %s", got.at("enabled"), got.at("state"), got.at("state_reason"), c.enabled, c.state)
			}
		})
	}
	for _, verb := range []string{"pause", "resume", "test", "secret/rotate"} {
		s.call("POST", noLink+"/"+verb, "").refused(404, "not_found")
		s.call("POST", "/v1/links/x/"+verb, "").refused(404, "not_found")
	}
}

// TestLinkLists: by scope, integration and effect, in pages.
func TestLinkLists(t *testing.T) {
	s := serve(t)
	ids := map[string]string{}
	make := func(name, rest string) {
		ids[name] = s.link(`{"integration":"inbox","name":"` + name + `"` + rest + `}`)
	}
	make("root", `,"events":["*"]`)
	make("children", `,"events":["*"],"scope":"acme","reach":"children"`)
	make("acme", `,"events":["*"],"scope":"acme"`)
	make("repo", `,"events":["*"],"scope":"acme/repo"`)
	make("exact", `,"events":["*"],"scope":"acme","reach":"exact"`)
	make("other", `,"events":["*"],"scope":"other"`)
	make("slot-acme", `,"events":["a.b","c"],"scope":"acme","slot":"x"`)
	make("slot-repo", `,"events":["a.*"],"scope":"acme/repo","slot":"x"`)
	make("over-acme", `,"events":["a.b"],"scope":"acme","slot":"y"`)
	make("over-repo", `,"events":["a.*"],"scope":"acme/repo","slot":"y","enabled":false`)
	make("filter-acme", `,"events":["a.b"],"scope":"acme","slot":"z"`)
	make("filter-repo", `,"events":["*"],"scope":"acme/repo","slot":"z","filter":"payload.n == 1"`)
	s.link(`{"integration":"webhook","name":"webhook","events":["*"],"settings":{"url":"https://example.com"}}`)
	for _, c := range []struct{ query, want string }{
		{"", "root children acme repo exact other slot-acme slot-repo over-acme over-repo filter-acme filter-repo webhook"},
		{"?integration=webhook", "webhook"},
		{"?integration=none", ""},
		{"?scope=acme", "children acme repo exact slot-acme slot-repo over-acme over-repo filter-acme filter-repo"},
		{"?scope=acme/repo", "repo slot-repo over-repo filter-repo"},
		{"?scope=other&effective=true", "root other webhook"},
		{"?scope=acme&effective=true&integration=inbox", "root acme exact slot-acme over-acme filter-acme"},
		// Of a slot a link is left out where a deeper one takes every event that it could get.
		{"?scope=acme/repo&effective=true", "root children acme repo slot-acme slot-repo over-repo filter-acme filter-repo webhook"},
		{"?limit=2", "root children"},
	} {
		t.Run("GET /v1/links"+c.query, func(t *testing.T) {
			got := []string{}
			for _, l := range s.in(t).call("GET", "/v1/links"+c.query, "").want(200).json().objects("data") {
				got = append(got, l.str("name"))
			}
			if diff := cmp.Diff(strings.Fields(c.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, bad := range []string{"?effective=maybe", "?scope=a//b", "?limit=300", "?x=1"} {
		s.call("GET", "/v1/links"+bad, "").refused(400, "invalid_request")
	}
	t.Run("a key of a scope sees of what it inherits the titles of what is visible", func(t *testing.T) {
		s := s.in(t)
		reader := s.as(t, s.newKey("acme/repo", "read"))
		s.call("PATCH", "/v1/links/"+ids["root"], `{"visible":true,"filter":"payload.hidden == 1"}`).want(200)
		names := []string{}
		for _, l := range reader.call("GET", "/v1/links?effective=true&scope=acme/repo", "").want(200).json().objects("data") {
			names = append(names, l.str("name"))
			if l.str("name") == "root" && (l.at("filter") != nil || len(l.at("settings").(map[string]any)) != 0) {
				t.Errorf("more than the title is shown: %v", l)
			}
		}
		if diff := cmp.Diff([]string{"root", "repo", "slot-repo", "over-repo", "filter-repo"}, names); diff != "" {
			t.Error(diff)
		}
		reader.call("GET", "/v1/links/"+ids["root"], "").refused(404, "not_found")
	})
}

// TestLinksOutliveARestart with their settings, states and secrets.
func TestLinksOutliveARestart(t *testing.T) {
	o := app.Options{Config: config.Config{Data: t.TempDir()}}
	s := start(t, o)
	s.key, _ = s.app.AdminKey()
	key, p := s.key, newPartner(t)
	paused := s.link(`{"integration":"inbox","events":["*"],"scope":"a","slot":"s","visible":true,"name":"n"}`)
	s.call("POST", "/v1/links/"+paused+"/pause", "").want(200)
	disabled := s.link(`{"integration":"inbox","events":["*"],"enabled":false}`)
	active := s.link(hook(p, "/x", `"events":["integration_test"],"filter":"scope == ''","retry":{"schedule":[]}`))
	before := map[string]object{}
	for _, id := range []string{paused, disabled, active} {
		before[id] = s.call("GET", "/v1/links/"+id, "").want(200).json()
	}
	s.stop()
	s = start(t, o).as(t, key)
	for id, want := range before {
		if diff := cmp.Diff(want, s.call("GET", "/v1/links/"+id, "").want(200).json()); diff != "" {
			t.Errorf("a link has changed over a restart: %s", diff)
		}
	}
	if _, n := s.publish(testEvent); n != "1" {
		t.Errorf("%s deliveries after the restart", n)
	}
	p.next(t)
}
