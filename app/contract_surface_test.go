package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestOpenCatalog: GET /events is a list of types as Rainforest's callers know it.
func TestOpenCatalog(t *testing.T) {
	s := serve(t).as(t, "")
	types := s.call("GET", "/events", "").want(200).list()
	byKey := map[string]object{}
	for _, o := range types {
		key := o.str("key")
		byKey[key] = o
		for _, field := range []string{"key", "title", "description", "payload", "schema", "example"} {
			if _, there := o[field]; !there {
				t.Errorf("%s has no %s", key, field)
			}
		}
		if o.str("title") == "" || o.at("example") == nil {
			t.Errorf("%s has the title %q and the example %v", key, o.str("title"), o.at("example"))
		}
		validate(t, key, o["schema"], o["example"])
	}
	for _, key := range []string{
		"run_completion", "run_error", "run_webhook_timeout", "run_test_failure", "repo.push", "repo.pull", "pullrequest.create", "user.create",
		"reportCreated", "reportStateChanged", "operationCreated", "operationStateChanged", "operationRemoved", "entry.created", "integration_test",
	} {
		if byKey[key] == nil {
			t.Errorf("%s is missing", key)
		}
	}
	if _, there := byKey["webhook_timeout"]; there {
		t.Error("an alias is listed as a type")
	}
	if keys, ok := byKey["run_error"].at("payload", "run").([]any); !ok || !slices.Contains(keys, any("id")) || !slices.Contains(keys, any("error_reason")) {
		t.Errorf("run_error's payload is %v", byKey["run_error"].at("payload"))
	}
}

// validate checks an example against a schema, by another reader of schemas than ours.
func validate(t *testing.T, name string, schema, example any) {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///s.json", plain(t, schema)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	compiled, err := c.Compile("mem:///s.json")
	if err != nil {
		t.Fatalf("%s: the schema: %v", name, err)
	}
	if err := compiled.Validate(plain(t, example)); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func plain(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestIntegrationLists: GET /integrations and GET /integrations/{key}, and the same below /v1.
func TestIntegrationLists(t *testing.T) {
	s := serve(t)
	open := s.as(t, "")
	list := open.call("GET", "/integrations", "").want(200).list()
	paged := s.call("GET", "/v1/integrations", "").want(200).json()
	if len(paged.objects("data")) != len(list) || paged.at("next") != nil {
		t.Errorf("/v1/integrations is %v", paged)
	}
	keys := []string{}
	for i, o := range list {
		key := o.str("key")
		keys = append(keys, key)
		t.Run(key, func(t *testing.T) {
			for _, field := range []string{"key", "title", "category", "description", "events", "settings", "schema", "supports", "kinds"} {
				if o.at(field) == nil {
					t.Errorf("there is no %s", field)
				}
			}
			if o.at("events") != "*" {
				if _, ok := o.at("events").([]any); !ok {
					t.Errorf("events is %v", o.at("events"))
				}
			}
			supports, _ := o.at("supports").([]any)
			sends := slices.Contains(supports, any("send"))
			if sends != slices.Contains(supports, any("test")) || !sends && !slices.Contains(supports, any("hook")) {
				t.Errorf("supports is %v", supports)
			}
			if !sends && fmt.Sprint(o.at("events")) != "[]" {
				t.Errorf("it sends nothing, and takes the events %v", o.at("events"))
			}
			for _, set := range o.objects("settings") {
				for _, field := range []string{"key", "title", "required", "type", "secret", "default", "help", "options"} {
					if _, there := set[field]; !there {
						t.Errorf("the setting %s has no %s", set.str("key"), field)
					}
				}
				if _, ok := set.at("required").(bool); !ok || set.str("title") == "" {
					t.Errorf("the setting %s is %v", set.str("key"), set)
				}
			}
			for _, path := range []string{"/integrations/" + key, "/v1/integrations/" + key} {
				one := s.in(t).call("GET", path, "").want(200)
				if want := paged.objects("data")[i]; fmt.Sprint(map[string]any(one.json())) != fmt.Sprint(map[string]any(want)) {
					t.Errorf("GET %s is %s", path, one.body)
				}
			}
		})
	}
	for _, key := range []string{"webhook", "slack", "hip_chat", "pivotal_tracker", "jira", "email", "inbox"} {
		if !slices.Contains(keys, key) {
			t.Errorf("%s is missing", key)
		}
	}
	open.call("GET", "/integrations/pigeon", "").refused(404, "not_found")
	open.call("GET", "/integrations/Slack", "").refused(404, "not_found")
	s.call("GET", "/v1/integrations/pigeon", "").refused(404, "not_found")
	slack := open.call("GET", "/integrations/slack", "").json()
	if set := slack.objects("settings")[0]; set.str("key") != "url" || set.at("required") != true || set.at("secret") != true || set.str("type") != "url" {
		t.Errorf("Slack's first setting is %v", set)
	}
}

// TestPages: lists are {"data", "next"}, and their pages make the whole.
func TestPages(t *testing.T) {
	s, p := things(t), newPartner(t)
	for range 7 {
		s.link(`{"integration":"inbox","events":["*"]}`)
		s.newKey("", "read")
	}
	for range 2 {
		s.publish(testEvent)
	}
	for range 5 {
		s.publish(`{` + made + `,"payload":{}}`)
	}
	eventually(t, func() bool {
		return len(s.call("GET", "/v1/deliveries?state=succeeded&limit=250", "").json().objects("data")) == 49
	}, func() string { return "the deliveries do not end" })
	for _, list := range []string{"/v1/events", "/v1/links", "/v1/deliveries", "/v1/keys", "/v1/event-types", "/v1/integrations", "/v1/deliveries?state=succeeded", "/v1/deliveries?integration=inbox", "/v1/events?type=thing.*"} {
		t.Run(list, func(t *testing.T) {
			s := s.in(t)
			join := "?"
			if strings.Contains(list, "?") {
				join = "&"
			}
			name := func(o object) string {
				if id := o.str("id"); id != "" {
					return id
				}
				return o.str("key")
			}
			var whole []string
			for _, o := range s.call("GET", list+join+"limit=250", "").want(200).json().objects("data") {
				whole = append(whole, name(o))
			}
			for _, limit := range []int{1, 3, len(whole), len(whole) + 1} {
				var got []string
				cursor := ""
				for range 100 {
					o := s.call("GET", fmt.Sprintf("%s%slimit=%d%s", list, join, limit, cursor), "").want(200).json()
					for _, d := range o.objects("data") {
						got = append(got, name(d))
					}
					next, there := o["next"]
					if !there || len(o) != 2 {
						t.Fatalf("a page has %v", o)
					}
					if next == nil {
						break
					}
					if len(o.objects("data")) != limit {
						t.Errorf("a page of %d holds %d", limit, len(o.objects("data")))
					}
					cursor = "&cursor=" + next.(string)
				}
				if !slices.Equal(got, whole) {
					t.Errorf("in pages of %d it is %v, whole it is %v", limit, got, whole)
				}
			}
			sorted := slices.Clone(whole)
			slices.Sort(sorted)
			if sorted = slices.Compact(sorted); len(sorted) != len(whole) {
				t.Error("something is listed twice")
			}
			for _, bad := range []string{"limit=0", "limit=-1", "limit=251", "limit=1.5", "limit=x", "cursor=x", "cursor=%00", "cursor=" + strings.Repeat("A", 12), "unknown=1", "limit=1&limit=1"} {
				s.call("GET", list+join+bad, "").refused(400, "invalid_request")
			}
		})
	}
	t.Run("a cursor is of its own list", func(t *testing.T) {
		s := s.in(t)
		next := s.call("GET", "/v1/events?limit=1", "").json().str("next")
		s.call("GET", "/v1/links?limit=1&cursor="+next, "").refused(400, "invalid_request")
	})
	t.Run("what comes in between pages shifts nothing", func(t *testing.T) {
		s := s.in(t)
		first := s.call("GET", "/v1/events?limit=3", "").json()
		s.publish(`{` + made + `,"payload":{}}`)
		second := s.call("GET", "/v1/events?limit=250&cursor="+first.str("next"), "").json()
		for _, o := range second.objects("data") {
			for _, before := range first.objects("data") {
				if o.str("id") == before.str("id") {
					t.Errorf("%s is on both pages", o.str("id"))
				}
			}
		}
		if len(second.objects("data")) != 4 {
			t.Errorf("the second page has %d", len(second.objects("data")))
		}
	})
	p.none(t)
}

// TestDeliveryLists: by state, link, event, integration, scope and time.
func TestDeliveryLists(t *testing.T) {
	s, p := things(t), newPartner(t)
	p.on("/no", status(500, ""))
	inbox := s.link(`{"integration":"inbox","events":["*"],"scope":"a"}`)
	fails := s.link(hook(p, "/no", `"events":["*"],"scope":"a","retry":{"schedule":[]}`))
	waits := s.link(hook(p, "/no", `"events":["*"],"scope":"a/x","retry":{"schedule":["1h"]}`))
	one, _ := s.publish(`{` + made + `,"scope":"a","payload":{}}`)
	two, _ := s.publish(`{` + made + `,"scope":"a/x","payload":{}}`)
	eventually(t, func() bool {
		return len(s.call("GET", "/v1/deliveries?state=succeeded", "").json().objects("data")) == 2 &&
			len(s.call("GET", "/v1/deliveries?state=failed", "").json().objects("data")) == 2
	}, func() string { return "the deliveries do not end" })
	for query, want := range map[string]int{
		"": 5, "?state=": 5, "?state=succeeded": 2, "?state=failed": 2, "?state=pending": 1, "?state=held": 0, "?state=cancelled": 0, "?state=skipped": 0,
		"?state=pending,failed": 3, "?link=" + inbox: 2, "?link=" + fails: 2, "?link=" + waits: 1, "?event=" + one: 2, "?event=" + two: 3,
		"?integration=inbox": 2, "?integration=webhook": 3, "?integration=slack": 0, "?scope=a": 5, "?scope=a/x": 3, "?scope=b": 0,
		"?since=2020-01-01T00:00:00Z": 5, "?since=2999-01-01T00:00:00Z": 0, "?event=" + two + "&link=" + waits + "&state=pending": 1,
		"?event=evt_0000000000001": 0, "?link=lnk_0000000000001": 0,
	} {
		if got := s.call("GET", "/v1/deliveries"+query, "").want(200).json().objects("data"); len(got) != want {
			t.Errorf("GET /v1/deliveries%s lists %d, want %d: %v", query, len(got), want, got)
		}
	}
	for _, bad := range []string{"state=done", "state=pending,done", "link=x", "link=" + one, "event=x", "scope=a//b", "since=yesterday", "state=failed&state=pending"} {
		s.call("GET", "/v1/deliveries?"+bad, "").refused(400, "invalid_request")
	}
	s.call("POST", "/v1/links/"+waits+"/pause", "").want(200)
	if got := s.call("GET", "/v1/deliveries?state=held", "").want(200).json().objects("data"); len(got) != 1 {
		t.Errorf("%d are held", len(got))
	}
	p.next(t)
	p.next(t)
	p.next(t)
}

// TestOperators: health, readiness, metrics, the OpenAPI document and its page.
func TestOperators(t *testing.T) {
	s := serve(t)
	open := s.as(t, "")
	for _, path := range []string{"/healthz", "/readyz"} {
		open.call("GET", path, "").want(200)
		open.call("HEAD", path, "").want(200)
	}
	s.publish(testEvent)
	metrics := string(s.call("GET", "/metrics", "").want(200).body)
	if !strings.Contains(metrics, "patchbay_") || !strings.Contains(metrics, "# TYPE") {
		t.Errorf("the metrics are %.300s", metrics)
	}
	doc := s.call("GET", "/openapi.json", "").want(200).json()
	if !strings.HasPrefix(doc.str("openapi"), "3.1") {
		t.Errorf("the document is OpenAPI %s", doc.str("openapi"))
	}
	for _, r := range routes {
		path := r.path
		for _, id := range []string{noLink, noDelivery, noEvent, noAPIKey, noCon, noPortal} {
			if rest, ok := strings.CutPrefix(path, id); ok {
				path = id[:strings.LastIndex(id, "/")] + "/{id}" + rest
			}
		}
		path = strings.NewReplacer("/slack", "/{key}", "/inbox", "/{key}", "/some.type", "/{key}", "/integration_test", "/{key}").Replace(path)
		if doc.at("paths", path, strings.ToLower(r.method)) == nil {
			t.Errorf("%s %s is not in the document", r.method, path)
		}
	}
	page := s.call("GET", "/docs", "").want(200)
	if ct := page.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") || strings.Contains(string(page.body), "https://") {
		t.Errorf("the page is %s: %s", ct, page.body)
	}
	if a := open.call("GET", "/docs", "").want(401); !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Basic") {
		t.Errorf("a browser is asked with %q", a.header.Get("Www-Authenticate"))
	}
}

// TestErrors: every error, anywhere, is a sentence and a code.
func TestErrors(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		says, method, path, body string
		status                   int
		kind                     string
	}{
		{"an unknown path", "GET", "/nothing", "", 404, "not_found"},
		{"an unknown path below /v1", "GET", "/v1/nothing", "", 404, "not_found"},
		{"a slash at the end", "GET", "/events/", "", 404, "not_found"},
		{"two slashes", "GET", "/v1//events", "", 404, "not_found"},
		{"a path that climbs", "GET", "/v1/../events", "", 404, "not_found"},
		{"a part that is only a list", "GET", "/v1/audit/aud_0000000000001", "", 404, "not_found"},
		{"an id of another kind", "GET", "/v1/links/evt_0000000000001", "", 404, "not_found"},
		{"an id with a percent sign", "GET", "/v1/links/%25", "", 404, "not_found"},
		{"an id with a slash in it", "GET", "/v1/links/a%2Fb", "", 404, "not_found"},
		{"a query that cannot be read", "GET", "/v1/links?scope=%zz", "", 400, "invalid_request"},
		{"an unknown parameter", "GET", "/v1/links?scopes=a", "", 400, "invalid_request"},
		{"an unknown parameter of an open list", "GET", "/events?x=1", "", 400, "invalid_request"},
		{"an unknown parameter of POST /events", "POST", "/events?x=1", testEvent, 400, "invalid_request"},
		{"an unknown parameter of an action", "POST", noLink + "/pause?x=1", "", 400, "invalid_request"},
	} {
		t.Run(c.says, func(t *testing.T) { s.in(t).call(c.method, c.path, c.body).refused(c.status, c.kind) })
	}
	for _, c := range []struct{ method, path string }{
		{"DELETE", "/events"}, {"PUT", "/v1/links"}, {"POST", "/healthz"}, {"PATCH", "/v1/events"}, {"GET", noLink + "/pause"}, {"BREW", "/events"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			a := s.in(t).call(c.method, c.path, "").refused(405, "invalid_request")
			if a.header.Get("Allow") == "" {
				t.Error("there is no Allow")
			}
		})
	}
	t.Run("actions need no body, and mind none", func(t *testing.T) {
		s := s.in(t)
		path := "/v1/links/" + s.link(`{"integration":"inbox","events":["*"]}`)
		for _, verb := range []string{"pause", "resume", "test"} {
			s.call("POST", path+"/"+verb, "").want(200)
			s.call("POST", path+"/"+verb, "{}").want(200)
		}
	})
	t.Run("a caller that breaks off is no trouble", func(t *testing.T) {
		s := s.in(t)
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{\"event\":", s.key)
		conn.Close()
		s.publish(testEvent)
	})
}
