package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// thing is an event type for tests: any object is its payload.
const thing = `{"title":"Thing made","aliases":["thing-made"]}`

// things is an installation that knows the type thing.made.
func things(t *testing.T) *server {
	t.Helper()
	s := serve(t)
	s.call("PUT", "/v1/event-types/thing.made", thing).want(201)
	return s
}

// fired publishes an event and returns the paths that the partner was called at, sorted, once every delivery has ended.
func fired(s *server, p *partner, event string) []string {
	s.t.Helper()
	id, n := s.publish(event)
	paths := []string{}
	for range deliveriesOf(s, id, n) {
		paths = append(paths, p.next(s.t).path)
	}
	p.none(s.t)
	slices.Sort(paths)
	return paths
}

// deliveriesOf waits for an event's deliveries and checks that they are as many as the answer to it said.
func deliveriesOf(s *server, id, n string) []object {
	s.t.Helper()
	got := s.delivered(id).objects("deliveries")
	if fmt.Sprint(len(got)) != n {
		s.t.Fatalf("the event was answered with %s deliveries and has %d", n, len(got))
	}
	return got
}

// matching is a table of links by the path that they call (with the rest of the link as JSON), an event, and the paths
// that it must reach.
type matching struct {
	says  string
	links []string // "path: rest of the link"
	event string   // without payload
	want  string   // paths, separated by blanks
}

func (m matching) run(t *testing.T, s *server, p *partner) {
	t.Helper()
	s = s.in(t)
	for _, l := range m.links {
		path, rest, _ := strings.Cut(l, ": ")
		id := s.link(hook(p, path, rest))
		defer func() { s.call("DELETE", "/v1/links/"+id, "").want(204) }()
	}
	got := fired(s, p, `{`+m.event+`,"payload":{"n":1,"who":{"name":"ann"}}}`)
	if want := strings.Fields(m.want); !slices.Equal(got, want) {
		t.Errorf("the event reached %v, want %v", got, want)
	}
}

const made = `"event_type":"thing.made"`

var matchings = []matching{
	// Scopes and reach.
	{"subtree is the scope itself and everything below it, and the default",
		[]string{`/self: "events":["*"],"scope":"t/a"`, `/below: "events":["*"],"scope":"t/a/b","reach":"subtree"`, `/other: "events":["*"],"scope":"t/b"`},
		made + `,"scope":"t/a"`, "/self"},
	{"subtree reaches any number of levels down",
		[]string{`/one: "events":["*"],"scope":"t/a"`, `/two: "events":["*"],"scope":"t"`, `/all: "events":["*"],"scope":""`},
		made + `,"scope":"t/a/b/c/d"`, "/all /one /two"},
	{"children is exactly one level below, by depth, and not the scope itself",
		[]string{`/t: "events":["*"],"scope":"t","reach":"children"`, `/a: "events":["*"],"scope":"t/a","reach":"children"`, `/ab: "events":["*"],"scope":"t/a/b","reach":"children"`},
		made + `,"scope":"t/a/b"`, "/a"},
	{"exact is the scope alone",
		[]string{`/a: "events":["*"],"scope":"t/a","reach":"exact"`, `/t: "events":["*"],"scope":"t","reach":"exact"`, `/ab: "events":["*"],"scope":"t/a/b","reach":"exact"`},
		made + `,"scope":"t/a"`, "/a"},
	{"a scope is not a prefix of text: acme does not see acmeco",
		[]string{`/x: "events":["*"],"scope":"acme"`}, made + `,"scope":"acmeco/x"`, ""},
	{"a scope has its case: ACME is another one than acme",
		[]string{`/x: "events":["*"],"scope":"ACME"`}, made + `,"scope":"acme"`, ""},
	{"an event without a scope belongs to the whole installation",
		[]string{`/root: "events":["*"]`, `/exact: "events":["*"],"reach":"exact"`, `/t: "events":["*"],"scope":"t"`, `/children: "events":["*"],"reach":"children"`},
		made, "/exact /root"},
	{"the six choices of RhodeCode, seen from a repository at the root",
		[]string{`/global: "events":["*"]`, `/root: "events":["*"],"reach":"children"`, `/repo: "events":["*"],"scope":"web","reach":"exact"`, `/other: "events":["*"],"scope":"api","reach":"exact"`, `/group: "events":["*"],"scope":"tools","reach":"children"`},
		made + `,"scope":"web"`, "/global /repo /root"},
	{"the six choices of RhodeCode, seen from a repository in a group",
		[]string{`/global: "events":["*"]`, `/root: "events":["*"],"reach":"children"`, `/group: "events":["*"],"scope":"tools","reach":"children"`, `/recursive: "events":["*"],"scope":"tools","reach":"subtree"`},
		made + `,"scope":"tools/web"`, "/global /group /recursive"},
	{"the six choices of RhodeCode, seen from a repository two groups down",
		[]string{`/global: "events":["*"]`, `/root: "events":["*"],"reach":"children"`, `/group: "events":["*"],"scope":"tools","reach":"children"`, `/recursive: "events":["*"],"scope":"tools","reach":"subtree"`},
		made + `,"scope":"tools/old/web"`, "/global /recursive"},

	// Patterns.
	{"in a pattern * stands for any run of characters, everything else for itself",
		[]string{`/star: "events":["*"]`, `/prefix: "events":["thing.*"]`, `/suffix: "events":["*made"]`, `/middle: "events":["th*de"]`, `/literal: "events":["thing.made"]`,
			`/empty: "events":["thing.made*"]`, `/dot: "events":["thing?made"]`, `/part: "events":["thing"]`, `/case: "events":["Thing.made"]`, `/class: "events":["[t]hing.made"]`},
		made, "/empty /literal /middle /prefix /star /suffix"},
	{"a pattern matches a type by its key or one of its aliases",
		[]string{`/alias: "events":["thing-*"]`, `/key: "events":["thing.made"]`, `/neither: "events":["thing_*"]`},
		made, "/alias /key"},
	{"an event that is sent by its alias is one of the key's",
		[]string{`/alias: "events":["thing-made"]`, `/key: "events":["thing.made"]`},
		`"event_type":"thing-made"`, "/alias /key"},
	{"a link with several patterns that fit matches once",
		[]string{`/x: "events":["*","thing.*","thing.made","thing-made"]`}, made, "/x"},

	// Filters.
	{"a filter must be true",
		[]string{`/yes: "events":["*"],"filter":"payload.n == 1"`, `/no: "events":["*"],"filter":"payload.n > 1"`}, made, "/yes"},
	{"a filter sees type, scope, payload, actor and source",
		[]string{`/type: "events":["*"],"filter":"type == 'thing.made'"`, `/scope: "events":["*"],"filter":"scope == 't/a'"`, `/payload: "events":["*"],"filter":"payload.who.name.startsWith('a')"`,
			`/actor: "events":["*"],"filter":"actor.name == 'bob'"`, `/source: "events":["*"],"filter":"source.kind == 'api'"`},
		made + `,"scope":"t/a","actor":{"name":"bob"}`, "/actor /payload /scope /source /type"},
	{"a filter that fails to evaluate does not match",
		[]string{`/x: "events":["*"],"filter":"payload.missing.deeper == 1"`, `/y: "events":["*"],"filter":"has(payload.missing)"`, `/z: "events":["*"],"filter":"!has(payload.missing)"`}, made, "/z"},

	// Also.
	{"a link matches an event once, however many of its scopes it sees",
		[]string{`/t: "events":["*"],"scope":"t"`, `/team: "events":["*"],"scope":"t/teams/42"`, `/user: "events":["*"],"scope":"t/users/7"`, `/other: "events":["*"],"scope":"t/users/8"`},
		made + `,"scope":"t/teams/42","also":["t/users/7","t/users/7","t/teams/42"]`, "/t /team /user"},
	{"reach goes for every scope of an event",
		[]string{`/children: "events":["*"],"scope":"t/users","reach":"children"`, `/exact: "events":["*"],"scope":"t/users/7","reach":"exact"`},
		made + `,"scope":"t/teams/42","also":["t/users/7"]`, "/children /exact"},

	// Slots.
	{"of the links with one slot only those at the deepest scope count",
		[]string{`/t: "events":["*"],"scope":"t","slot":"s"`, `/a: "events":["*"],"scope":"t/a","slot":"s"`, `/a2: "events":["*"],"scope":"t/a","slot":"s"`, `/root: "events":["*"],"slot":"s"`},
		made + `,"scope":"t/a/b"`, "/a /a2"},
	{"where the deeper link does not see the event the higher one counts",
		[]string{`/t: "events":["*"],"scope":"t","slot":"s"`, `/a: "events":["*"],"scope":"t/a","slot":"s"`}, made + `,"scope":"t/b"`, "/t"},
	{"a link without a slot cannot be overridden",
		[]string{`/t: "events":["*"],"scope":"t"`, `/a: "events":["*"],"scope":"t/a","slot":"s"`}, made + `,"scope":"t/a"`, "/a /t"},
	{"links with different slots do not override each other",
		[]string{`/t: "events":["*"],"scope":"t","slot":"s"`, `/a: "events":["*"],"scope":"t/a","slot":"r"`}, made + `,"scope":"t/a"`, "/a /t"},
	{"with a disabled link a lower scope opts out of what it inherits",
		[]string{`/t: "events":["*"],"scope":"t","slot":"s"`, `/a: "events":["*"],"scope":"t/a","slot":"s","enabled":false`}, made + `,"scope":"t/a"`, ""},
	{"a deeper link whose patterns do not fit overrides nothing",
		[]string{`/t: "events":["*"],"scope":"t","slot":"s"`, `/a: "events":["other"],"scope":"t/a","slot":"s"`}, made + `,"scope":"t/a"`, "/t"},
	{"a deeper link whose filter is not true overrides nothing",
		[]string{`/t: "events":["*"],"scope":"t","slot":"s"`, `/a: "events":["*"],"scope":"t/a","slot":"s","filter":"payload.n == 2"`}, made + `,"scope":"t/a"`, "/t"},
	{"a disabled link at the same depth does not opt out of its neighbour",
		[]string{`/a: "events":["*"],"scope":"t/a","slot":"s"`, `/off: "events":["*"],"scope":"t/a","slot":"s","enabled":false`}, made + `,"scope":"t/a"`, "/a"},
	{"the deepest of a slot is found among all scopes of an event",
		[]string{`/team: "events":["*"],"scope":"t/teams/42","slot":"s"`, `/user: "events":["*"],"scope":"t/users/7/x","slot":"s"`},
		made + `,"scope":"t/teams/42","also":["t/users/7/x"]`, "/user"},

	// States.
	{"a disabled link matches nothing",
		[]string{`/on: "events":["*"]`, `/off: "events":["*"],"enabled":false`}, made, "/on"},
}

func TestMatching(t *testing.T) {
	s, p := things(t), newPartner(t)
	for _, m := range matchings {
		t.Run(m.says, func(t *testing.T) { m.run(t, s, p) })
	}
}

// TestSlotsAreOfOneIntegration: links of two integrations with the same slot do not override each other.
func TestSlotsAreOfOneIntegration(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(fmt.Sprintf(`{"integration":"slack","scope":"t","slot":"s","events":["*"],"settings":{"url":%q}}`, p.url("/slack")))
	s.link(hook(p, "/webhook", `"scope":"t/a","slot":"s","events":["*"]`))
	if got := fired(s, p, `{`+made+`,"scope":"t/a","payload":{}}`); !slices.Equal(got, []string{"/slack", "/webhook"}) {
		t.Errorf("the event reached %v", got)
	}
}

// TestTypesThatAnIntegrationSkips: the catalog of Rainforest skips two types for trackers.
func TestTypesThatAnIntegrationSkips(t *testing.T) {
	s, p := serve(t), newPartner(t)
	s.link(fmt.Sprintf(`{"integration":"pivotal_tracker","events":["*"],"settings":{"project_id":"1","api_token":"token-1234","base_url":%q}}`, p.URL))
	if _, n := s.publish(`{"event":"run_completion","payload":` + s.example("run_completion") + `}`); n != "0" {
		t.Errorf("a type that the integration does not support made %s deliveries", n)
	}
}

func TestScopesThatAreRefused(t *testing.T) {
	s := things(t)
	deep := strings.Repeat("/a", 16)[1:]
	for _, c := range []struct{ says, scope, also string }{
		{"a segment is not empty", "a//b", ""},
		{"a scope does not begin with a slash", "/a", ""},
		{"a scope does not end with a slash", "a/", ""},
		{"a segment is not a dot", "a/./b", ""},
		{"a segment is not two dots", "a/..", ""},
		{"a host writes other bytes as ~XX, a blank too", "a b", ""},
		{"letters are those of ASCII", "ä", ""},
		{"a segment has at most 64 characters", strings.Repeat("a", 65), ""},
		{"a scope has at most 16 segments", deep + "/a", ""},
		{"also must be of the same tenant", "acme/x", `"other/x"`},
		{"the installation is no tenant", "acme/x", `""`},
		{"an event without a scope has no tenant to share", "", `"acme"`},
		{"an event may name up to seven more", "a", `"a/1","a/2","a/3","a/4","a/5","a/6","a/7","a/8"`},
		{"a scope in also is checked too", "a", `"a//b"`},
	} {
		t.Run(c.says, func(t *testing.T) {
			s := s.in(t)
			s.call("POST", "/events", fmt.Sprintf(`{%s,"scope":%q,"also":[%s],"payload":{}}`, made, c.scope, c.also)).refused(400, "invalid_request")
			if c.also == "" {
				s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"inbox","events":["*"],"scope":%q}`, c.scope)).refused(400, "invalid_request")
			}
		})
	}
	for _, scope := range []string{"", deep, strings.Repeat("a", 64), "A-Z.a_z~20@x:y+z", "...", "~"} {
		s.publish(fmt.Sprintf(`{%s,"scope":%q,"payload":{}}`, made, scope))
	}
	s.publish(`{` + made + `,"scope":"a","also":["a/1","a/2","a/3","a/4","a/5","a/6","a/7"],"payload":{}}`)
}

// TestPatternsAndFiltersThatAreRefused: what cannot work is refused when the link is saved.
func TestPatternsAndFiltersThatAreRefused(t *testing.T) {
	s := things(t)
	id := s.link(`{"integration":"inbox","events":["*"]}`)
	for _, c := range []struct{ says, field string }{
		{"a link has at least one pattern", `"events":[]`},
		{"a pattern is not empty", `"events":[""]`},
		{"a pattern is text", `"events":[1]`},
		{"patterns are a list", `"events":"*"`},
		{"a pattern holds no control character", `"events":["a\nb"]`},
		{"a filter that does not compile is refused", `"filter":"payload.n =="`},
		{"a filter that uses something unknown is refused", `"filter":"secret == 1"`},
		{"a filter that is not true or false is refused", `"filter":"'text'"`},
		{"a body that does not compile is refused", `"body":"payload.("`},
		{"a reach is one of three", `"reach":"nephews"`},
	} {
		t.Run(c.says, func(t *testing.T) {
			s := s.in(t)
			if !strings.HasPrefix(c.field, `"events"`) {
				s.call("POST", "/v1/links", `{"integration":"inbox","events":["*"],`+c.field+`}`).refused(400, "invalid_request")
			} else {
				s.call("POST", "/v1/links", `{"integration":"inbox",`+c.field+`}`).refused(400, "invalid_request")
			}
			s.call("PATCH", "/v1/links/"+id, `{`+c.field+`}`).refused(400, "invalid_request")
		})
	}
	s.call("POST", "/v1/links", `{"integration":"inbox"}`).refused(400, "invalid_request")
	if got := s.call("GET", "/v1/links/"+id, "").want(200).json(); got.str("events", 0) != "*" || got.at("filter") != nil {
		t.Errorf("a refused change has left traces: %v", got)
	}
}

// TestFiltersThatFailAreCountedAndShown on their link.
func TestFiltersThatFailAreCountedAndShown(t *testing.T) {
	s := things(t)
	id := s.link(`{"integration":"inbox","events":["*"],"filter":"payload.missing.deeper == 1"}`)
	for range 3 {
		if _, n := s.publish(`{` + made + `,"payload":{}}`); n != "0" {
			t.Fatalf("the event has %s deliveries", n)
		}
	}
	got := s.call("GET", "/v1/links/"+id, "").want(200).json()
	if got.str("health", "filter_errors") != "3" || got.str("health", "last_filter_error") == "" {
		t.Errorf("the failures are not shown: %v", got.at("health"))
	}
}
