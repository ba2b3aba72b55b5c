package app_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/pgtest"
)

// audited starts an installation with a partner at which people connect accounts.
func audited(t *testing.T, change ...func(*config.Config)) (*server, *partner, *desk) {
	p := newPartner(t)
	d := &desk{base: p.URL}
	s := start(t, app.Options{Config: config.Config{Data: t.TempDir()}, Integrations: append(all.Integrations(), d)}, change...)
	s.key, _ = s.app.AdminKey()
	return s, p, d
}

// audit lists entries, the newest first.
func (s *server) audit(query string) []object {
	s.t.Helper()
	return s.call("GET", "/v1/audit?"+query, "").want(200).json().objects("data")
}

// fields are the names of an entry's changes.
func fields(entry object) []string {
	var out []string
	for _, x := range entry.objects("changes") {
		out = append(out, x.str("field"))
	}
	return out
}

// noted checks what was written down of an action last: to what it was done, and which fields changed.
func (s *server) noted(action, object, scope string, changed ...string) object {
	s.t.Helper()
	all := s.audit("limit=1&action=" + action)
	if len(all) == 0 {
		s.t.Fatalf("nothing is written down of %s", action)
	}
	e := all[0]
	if e.str("object") != object || e.str("scope") != scope || !slices.Equal(fields(e), changed) {
		s.t.Errorf("%s is written down as %v, want the object %q, the scope %q and the changes %q", action, e, object, scope, changed)
	}
	if e.str("actor", "kind") != "key" || e.str("actor", "name") != "first administrator" || e.str("via") != "api" || e.str("address") != "127.0.0.1" ||
		!strings.HasPrefix(e.str("agent"), "Go-http-client") || e.str("at") == "" || !strings.HasPrefix(e.str("id"), "aud_") {
		s.t.Errorf("who did it is written down as %v", e)
	}
	return e
}

// TestAudit: whatever somebody does by hand is written down, with who did it.
func TestAudit(t *testing.T) {
	s, p, d := audited(t)
	first := s.audit("action=key.created")
	if len(first) != 1 || first[0].str("actor", "kind") != "system" || first[0].str("title") != "first administrator" || first[0].str("address") != "" {
		t.Errorf("the first key is written down as %v", first)
	}
	t.Run("links", func(t *testing.T) { auditLinks(s.in(t), p) })
	t.Run("connections", func(t *testing.T) { auditConnections(s.in(t), d) })
	t.Run("keys, portals, types", func(t *testing.T) { auditAccess(s.in(t)) })
	t.Run("deliveries and events", func(t *testing.T) { auditDeliveries(s.in(t), p) })
	t.Run("jobs and erasures", func(t *testing.T) { auditJobs(s.in(t), p) })
	t.Run("secrets at rest", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", "/v1/secrets/rotate", "").want(201)
		e := s.noted("secrets.rotated", s.audit("action=secrets.rotated")[0].str("object"), "", "key")
		if e.str("object") == "" || e.str("changes", 0, "from") == e.str("changes", 0, "to") {
			t.Errorf("%v", e)
		}
	})
	t.Run("nothing that changes nothing is", func(t *testing.T) {
		s := s.in(t)
		n := len(s.audit("limit=250"))
		s.call("GET", "/v1/links", "").want(200)
		s.publish(testEvent)
		s.call("POST", "/v1/events?dry_run=true", testEvent).want(200)
		s.call("DELETE", "/v1/keys/key_06hjzrqsbr001", "").refused(404, "not_found")
		s.call("POST", "/v1/links", `{"integration":"webhook"}`).refused(400, "invalid_request")
		s.call("POST", "/v1/links/"+s.link(hook(p, "/x", `"events":["nothing"]`))+"/test", "").want(200)
		if now := len(s.audit("limit=250")); now != n+1 { // the link
			t.Errorf("there are %d entries and were %d", now, n)
		}
	})
}

func auditLinks(s *server, p *partner) {
	s.t.Helper()
	id := s.link(`{"integration":"slack","scope":"acme/x","events":["*"],"slot":"chat","settings":{"url":"` + p.url("/T0PSECRET") + `"},"name":"Chat"}`)
	path := "/v1/links/" + id
	e := s.noted("link.created", id, "acme/x", "enabled", "events", "integration", "name", "reach", "scope", "slot", "state",
		"settings.url", "settings.thread_mode", "settings.receive", "settings.entries")
	if e.str("title") == "" || strings.Contains(fmt.Sprint(e), "T0PSECRET") {
		s.t.Errorf("%v", e)
	}
	s.call("PATCH", path, `{"name":"Chatter","filter":"payload.n == 1","settings":{"url":"`+p.url("/T0PSECRET2")+`","channel":"#develop"}}`).want(200)
	e = s.noted("link.updated", id, "acme/x", "filter", "name", "settings.url", "settings.channel")
	for _, x := range e.objects("changes") {
		if got := x.str("from") + " > " + x.str("to"); !slices.Contains([]string{" > payload.n == 1", "Chat > Chatter", "•••• > ••••", " > #develop"}, got) {
			s.t.Errorf("%s was %s", x.str("field"), got)
		}
	}
	s.call("PATCH", path, `{"enabled":false}`).want(200)
	s.noted("link.disabled", id, "acme/x", "enabled")
	s.call("PATCH", path, `{"enabled":true}`).want(200)
	s.noted("link.resumed", id, "acme/x", "enabled")
	s.call("POST", path+"/pause", "").want(200)
	s.noted("link.paused", id, "acme/x", "state")
	s.call("POST", path+"/resume", "").want(200)
	s.noted("link.resumed", id, "acme/x", "state")
	signed := s.link(hook(p, "/signed", `"events":["nothing"],"scope":"acme"`))
	s.call("POST", "/v1/links/"+signed+"/secret/rotate", "").want(200)
	s.noted("link.secret_rotated", signed, "acme", "settings.secret")
	s.call("DELETE", path, "").want(204)
	s.noted("link.deleted", id, "acme/x")

	p.on("/gone", status(410, ""))
	gone := s.link(hook(p, "/gone", `"events":["*"],"scope":"acme/gone"`))
	s.publish(`{"event":"integration_test","scope":"acme/gone"}`)
	s.until("/v1/links/"+gone, "disabled", func(o object) bool { return o.str("state") == "disabled" })
	all := s.audit("object=" + gone)
	if e := all[0]; len(all) != 2 || e.str("action") != "link.disabled" || e.str("actor", "kind") != "system" || e.str("via") != "" || !slices.Contains(fields(e), "state_reason") {
		s.t.Errorf("what the engine did is written down as %v", all)
	}
}

func auditConnections(s *server, d *desk) {
	s.t.Helper()
	give := fmt.Sprintf(`{"integration":"desk","scope":"acme","owner":"ann","settings":{"key":%q}}`, deskKey)
	id := s.call("POST", "/v1/connections", give).want(201).json().str("id")
	path := "/v1/connections/" + id
	s.noted("connection.connected", id, "acme", "account", "integration", "owner", "scope", "state")
	s.call("POST", "/v1/connections", give).want(200)
	s.noted("connection.reconnected", id, "acme")
	s.call("PATCH", path, `{"owner":"bob","name":"Our desk"}`).want(200)
	s.noted("connection.updated", id, "acme", "name", "owner")
	d.gone.Store(true)
	s.call("POST", path+"/check", "").want(200)
	d.gone.Store(false)
	all := s.audit("action=connection.expired")
	if len(all) != 1 || all[0].str("object") != id || all[0].str("actor", "kind") != "system" || strings.Contains(fmt.Sprint(all), deskKey) {
		s.t.Errorf("that it needs its owner is written down as %v", all)
	}
	s.call("DELETE", path, "").want(204)
	if e := s.noted("connection.deleted", id, "acme"); e.str("title") != "desk: Our desk" {
		s.t.Errorf("%v", e)
	}
}

func auditAccess(s *server) {
	s.t.Helper()
	key := s.call("POST", "/v1/keys", `{"name":"CI","scope":"acme","permissions":["read"],"expires_at":"2100-01-01T00:00:00Z"}`).want(201).json()
	e := s.noted("key.created", key.str("id"), "acme", "expires_at", "permissions")
	if e.str("title") != "CI" || strings.Contains(fmt.Sprint(e), key.str("token")) {
		s.t.Errorf("%v", e)
	}
	s.call("DELETE", "/v1/keys/"+key.str("id"), "").want(204)
	s.noted("key.deleted", key.str("id"), "acme")
	portal := s.call("POST", "/v1/portal-sessions", `{"scope":"acme/x","user":"ann"}`).want(201).json().str("id")
	if e := s.noted("portal.created", portal, "acme/x", "permissions", "expires_at"); e.str("title") != "ann" {
		s.t.Errorf("%v", e)
	}
	s.call("DELETE", "/v1/portal-sessions/"+portal, "").want(204)
	s.noted("portal.deleted", portal, "acme/x")
	s.call("PUT", "/v1/event-types/ship.docked", `{"title":"Docked","schema":{"type":"object"}}`).want(201)
	s.noted("event_type.created", "ship.docked", "", "schema", "title")
	s.call("PUT", "/v1/event-types/ship.docked", `{"title":"Has docked","schema":{"type":"object"}}`).want(200)
	s.noted("event_type.updated", "ship.docked", "", "title")
	s.call("DELETE", "/v1/event-types/ship.docked", "").want(204)
	s.noted("event_type.deleted", "ship.docked", "")
}

func auditDeliveries(s *server, p *partner) {
	s.t.Helper()
	p.on("/fails", status(500, ""))
	s.link(hook(p, "/fails", `"events":["integration_test"],"scope":"by-hand","retry":{"schedule":["1h"]}`))
	event, _ := s.publish(`{"event":"integration_test","scope":"by-hand"}`)
	d := s.becomes(event, "pending", 1).str("id")
	s.call("POST", "/v1/deliveries/"+d+"/cancel", "").want(200)
	s.noted("delivery.cancelled", d, "by-hand")
	s.call("POST", "/v1/deliveries/"+d+"/cancel", "").want(200)
	p.on("/fails", status(200, ""))
	s.call("POST", "/v1/deliveries/"+d+"/retry", "").want(200)
	if e := s.noted("delivery.retried", d, "by-hand"); e.str("title") != "integration_test" {
		s.t.Errorf("%v", e)
	}
	s.call("POST", "/v1/events/"+event+"/replay", "").want(200)
	s.noted("event.replayed", event, "by-hand")
	if n := len(s.audit("scope=by-hand")); n != 4 { // the link, and one for each thing that was done
		s.t.Errorf("there are %d entries", n)
	}
}

func auditJobs(s *server, p *partner) {
	s.t.Helper()
	link := s.link(hook(p, "/x", `"events":["integration_test"],"scope":"tenant-7/a"`))
	e, _ := s.publish(`{"event":"integration_test","scope":"tenant-7/a","payload":{"mail":"ann@example.com"}}`)
	s.delivered(e)
	job := s.job("/v1/jobs", `{"action":"replay","filter":{"scope":"tenant-7"}}`)
	s.noted("job.created", job.str("id"), "tenant-7", "scope")
	job = s.job("/v1/erase", `{"path":"payload.mail","value":"ann@example.com","scope":"tenant-7"}`)
	if x := s.noted("payloads.erased", job.str("id"), "tenant-7", "path", "scope", "value_sha256"); strings.Contains(fmt.Sprint(x), "ann@") {
		s.t.Errorf("what was erased stands in %v", x)
	}
	job = s.job("/v1/erase", `{"tenant":"tenant-7"}`)
	s.noted("tenant.erased", job.str("id"), "", "tenant_sha256")
	if left := s.audit("scope=tenant-7"); len(left) > 0 {
		s.t.Errorf("of an erased tenant there is still %v", left)
	}
	if left := s.audit("object=" + link); len(left) > 0 {
		s.t.Errorf("of its link there is still %v", left)
	}
}

// TestAuditSignIns: who came in is written down, and who did not, once.
func TestAuditSignIns(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.TrustedProxies = config.Networks{netip.MustParsePrefix("127.0.0.0/8")} })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := *s.http
	browser.Jar = jar
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	post := func(path, from string, form url.Values, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Forwarded-For", from)
		req.Header.Set("User-Agent", "Mozilla/5.0 "+strings.Repeat("x", 300))
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("POST %s was answered %d, want %d", path, resp.StatusCode, want)
		}
	}
	for range 5 {
		post("/sign-in", "192.0.2.1", url.Values{"key": {"pk_guessed"}}, 401)
		post("/sign-in", "2001:db8:1:2:3:4:5:6", url.Values{"key": {"pk_guessed"}}, 401)
		post("/sign-in", "2001:db8:1:2:6:5:4:3", url.Values{"key": {"pk_guessed"}}, 401)
	}
	refused := s.audit("action=session.refused")
	if len(refused) != 2 || refused[1].str("address") != "192.0.2.1" || refused[0].str("actor", "kind") != "stranger" || strings.Contains(fmt.Sprint(refused), "guessed") {
		t.Errorf("refusals are written down as %v", refused)
	}
	post("/sign-in", "192.0.2.7", url.Values{"key": {s.key}}, 303)
	in := s.audit("action=session.signed_in")
	if len(in) != 1 || in[0].str("actor", "kind") != "session" || in[0].str("actor", "id") != in[0].str("object") || in[0].str("address") != "192.0.2.7" ||
		in[0].str("via") != "web" || len(in[0].str("agent")) > 200 || strings.Contains(fmt.Sprint(in), s.key) {
		t.Errorf("the sign-in is written down as %v", in)
	}
	link := s.link(`{"integration":"inbox","scope":"acme","events":["*"]}`)
	post("/integrations/inbox/link/"+link+"/delete", "192.0.2.7", nil, 303)
	if e := s.audit("action=link.deleted"); len(e) != 1 || e[0].str("actor", "id") != in[0].str("object") || e[0].str("actor", "name") != "first administrator" || e[0].str("via") != "web" {
		t.Errorf("what was done in a browser is written down as %v", e)
	}
	post("/sign-out", "192.0.2.7", nil, 303)
	if out := s.audit("action=session.signed_out"); len(out) != 1 || out[0].str("object") != in[0].str("object") {
		t.Errorf("the sign-out is written down as %v", out)
	}
}

// TestAuditLists: by every filter, in pages, within what the key reaches, and as files.
func TestAuditLists(t *testing.T) {
	s, p, _ := audited(t)
	for i := range 7 {
		s.link(hook(p, "/x", fmt.Sprintf(`"events":["nothing"],"scope":"acme/%d","name":"=cmd|' /C calc'!A%d"`, i, i)))
	}
	other := s.link(hook(p, "/x", `"events":["nothing"],"scope":"other"`))
	cursor, seen := "", 0
	for range 10 {
		page := s.call("GET", "/v1/audit?limit=3&scope=acme"+cursor, "").want(200).json()
		seen += len(page.objects("data"))
		if page.at("next") == nil {
			break
		}
		cursor = "&cursor=" + page.str("next")
	}
	if seen != 7 {
		t.Errorf("pages have %d entries", seen)
	}
	manager := s.as(t, s.newKey("acme", "manage"))
	if n := len(manager.audit("")); n != 8 { // and its own key
		t.Errorf("a key of the tenant sees %d entries", n)
	}
	if got := manager.audit("object=" + other); len(got) > 0 {
		t.Errorf("and of another one %v", got)
	}
	manager.call("GET", "/v1/audit?scope=other", "").refused(403, "forbidden")
	s.as(t, s.newKey("acme", "read")).call("GET", "/v1/audit", "").refused(403, "forbidden")
	s.as(t, "").call("GET", "/v1/audit", "").refused(401, "unauthorized")
	for _, q := range []string{"action=links", "action=link.Created", "action=.", "since=yesterday", "limit=0", "limit=251", "cursor=x", "format=xml", "who=me", "scope=a//b", "actor=" + strings.Repeat("x", 256)} {
		s.call("GET", "/v1/audit?"+q, "").refused(400, "invalid_request")
	}

	for _, as := range []struct {
		query  string
		accept header
	}{{"&format=csv", header{}}, {"", header{"Accept", "text/csv"}}} {
		a := s.call("GET", "/v1/audit?scope=acme&action=link."+as.query, "", as.accept).want(200)
		if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/csv") || !strings.Contains(a.header.Get("Content-Disposition"), ".csv") {
			t.Errorf("the headers are %v", a.header)
		}
		rows, err := csv.NewReader(bytes.NewReader(a.body)).ReadAll()
		if err != nil || len(rows) != 8 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if title := rows[1][slices.Index(rows[0], "title")]; !strings.HasPrefix(title, "'=cmd|") {
			t.Errorf("a spreadsheet would run %q", title)
		}
	}
	lines := bytes.Split(bytes.TrimSpace(s.call("GET", "/v1/audit?format=ndjson&scope=acme&action=link.", "").want(200).body), []byte("\n"))
	for _, line := range lines {
		var e struct{ Action string }
		if err := json.Unmarshal(line, &e); err != nil || e.Action != "link.created" {
			t.Errorf("%s: %v", line, err)
		}
	}
	if len(lines) != 7 {
		t.Errorf("%d lines", len(lines))
	}
	if a := s.call("GET", "/v1/audit?format=csv&scope=nobody", "").want(200); strings.Count(string(a.body), "\n") != 1 {
		t.Errorf("of nothing the file is %q", a.body)
	}
}

// TestAuditStandsOrFalls takes away where entries are written: then nothing can be changed, by whatever way.
func TestAuditStandsOrFalls(t *testing.T) {
	if !strings.HasPrefix(t.Name(), onPostgreSQL) && os.Getenv("PATCHBAY_TEST_DATABASE") != "postgres" {
		t.Skip("another process cannot take an SQLite database's table away; the suite of the stores does")
	}
	var database string
	s, p, _ := audited(t, func(c *config.Config) {
		u, err := url.Parse(c.Database.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		database = strings.Trim(u.Path, "/")
	})
	p.on("/fails", status(500, ""))
	link := s.link(hook(p, "/fails", `"events":["integration_test"],"scope":"acme","retry":{"schedule":["1h"]}`))
	event, _ := s.publish(`{"event":"integration_test","scope":"acme"}`)
	d := s.becomes(event, "pending", 1).str("id")
	con := s.call("POST", "/v1/connections", fmt.Sprintf(`{"integration":"desk","scope":"acme","settings":{"key":%q}}`, deskKey)).want(201).json().str("id")
	s.call("PUT", "/v1/event-types/ship.docked", `{"title":"Docked","schema":{"type":"object"}}`).want(201)
	key := s.call("POST", "/v1/keys", `{"permissions":["read"]}`).want(201).json().str("id")
	state := func() string {
		var b strings.Builder
		for _, path := range []string{
			"/v1/links", "/v1/connections", "/v1/keys", "/v1/portal-sessions", "/v1/event-types", "/v1/jobs", "/v1/events/" + event, "/v1/deliveries/" + d,
		} {
			o := s.call("GET", path, "").want(200).json()
			for _, l := range o.objects("data") {
				delete(l, "health") // it lives
			}
			fmt.Fprintln(&b, path, o)
		}
		return b.String()
	}
	before := state()
	pgtest.Shared(t).SQL(t, database, "DROP TABLE audit_word")
	for _, x := range []struct{ method, path, body string }{
		{"POST", "/v1/links", `{"integration":"inbox","scope":"acme","events":["*"]}`}, {"PATCH", "/v1/links/" + link, `{"name":"x"}`},
		{"POST", "/v1/links/" + link + "/pause", ""}, {"POST", "/v1/links/" + link + "/secret/rotate", ""}, {"DELETE", "/v1/links/" + link, ""},
		{"PATCH", "/v1/connections/" + con, `{"name":"x"}`}, {"DELETE", "/v1/connections/" + con, ""},
		{"POST", "/v1/keys", `{"permissions":["read"]}`}, {"DELETE", "/v1/keys/" + key, ""}, {"POST", "/v1/portal-sessions", `{"scope":"acme"}`},
		{"PUT", "/v1/event-types/ship.left", `{"title":"Left","schema":{"type":"object"}}`}, {"DELETE", "/v1/event-types/ship.docked", ""},
		{"POST", "/v1/jobs", `{"action":"retry","filter":{"scope":"acme"}}`}, {"POST", "/v1/erase", `{"tenant":"acme"}`},
		{"POST", "/v1/deliveries/" + d + "/retry", ""}, {"POST", "/v1/events/" + event + "/replay", ""},
	} {
		if a := s.call(x.method, x.path, x.body); a.status < 500 {
			t.Errorf("%s %s was answered %d without being written down: %s", x.method, x.path, a.status, a.body)
		}
	}
	s.call("POST", "/v1/deliveries/"+d+"/cancel", "") // results are taken without a word of what becomes of them
	if now := state(); now != before {
		t.Errorf("something changed:\n%s\nwas\n%s", now, before)
	}
}
