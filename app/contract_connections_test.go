package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
)

// desk is a partner at which people make keys.
type desk struct {
	base string
	// gone says that the partner has forgotten the key.
	gone atomic.Bool
}

const deskKey = "dk_made-at-the-desk"

func (d *desk) Definition() *integration.Definition {
	return &integration.Definition{Key: "desk", Title: "Desk", Decode: func(json.RawMessage) (any, error) { return struct{}{}, nil }}
}

func (d *desk) Connect(json.RawMessage) (*integration.Connect, error) {
	return &integration.Connect{Keys: integration.Spec{{Key: "key", Title: "Key", Type: integration.TypeString, Required: true, Secret: true}}}, nil
}

func (d *desk) Identify(_ context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
	if d.gone.Load() || !strings.HasPrefix(g.Credentials.Extra["key"].Reveal(), deskKey) {
		return nil, integration.Expired("Desk does not know the key %s", g.Credentials.Extra["key"].Reveal())
	}
	return &integration.Identity{Account: patchbay.Account{ID: "d-1", Name: "Ann at Desk"}}, integration.Delivered()
}

func (d *desk) Send(ctx context.Context, in *integration.Delivery) integration.Result {
	if in.Connection == nil {
		return integration.UserError("a connection is missing")
	}
	req := &integration.Request{Method: "POST", URL: d.base + "/tickets", Body: in.Event.Payload}
	req.Header.Add("X-Desk", in.Connection.Credentials.Extra["key"].Reveal())
	resp, err := in.Env.HTTP.Do(ctx, req)
	if err != nil {
		return integration.Unreachable("Desk", err)
	}
	if resp.Status == http.StatusUnauthorized {
		return integration.Expired("Desk does not take the key").With(resp)
	}
	return integration.Classify("Desk", resp)
}

// A connection's whole life over the API: keys in, deliveries over it, the partner forgets it, its owner is told, gives keys
// anew, hands it over, and takes it away.
func TestConnections(t *testing.T) {
	p := newPartner(t)
	d := &desk{base: p.URL}
	s := start(t, app.Options{Config: config.Config{Data: t.TempDir()}, Integrations: append(all.Integrations(), d)})
	s.key, _ = s.app.AdminKey()

	s.call("POST", "/v1/connections", `{"integration":"desk","scope":"acme","settings":{"key":"dk_wrong"}}`).refused(400, "user_configuration_error")
	give := fmt.Sprintf(`{"integration":"desk","scope":"acme","owner":"ann","settings":{"key":%q}}`, deskKey)
	a := s.call("POST", "/v1/connections", give).want(201)
	con := a.json()
	id, path := con.str("id"), "/v1/connections/"+con.str("id")
	if con.str("account", "name") != "Ann at Desk" || con.str("state") != "active" || a.header.Get("Location") != path || strings.Contains(string(a.body), deskKey) {
		t.Fatalf("%s", a.body)
	}
	told := s.link(`{"integration":"inbox","scope":"acme","events":["patchbay.connection.*"],"settings":{}}`)
	link := s.link(fmt.Sprintf(`{"integration":"desk","scope":"acme/x","name":"Tickets","events":["integration_test"],"settings":{},"connection":%q}`, id))
	s.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"desk","scope":"other","events":["*"],"connection":%q}`, id)).refused(400, "invalid_request")

	event, _ := s.publish(`{"event_type":"integration_test","scope":"acme/x","payload":{}}`)
	if e := s.delivered(event); e.str("deliveries", 0, "state") != "succeeded" || strings.Contains(fmt.Sprint(e), deskKey) {
		t.Fatalf("%v", e)
	}
	if got := p.next(t).header.Get("X-Desk"); got != deskKey {
		t.Errorf("the partner got the key %q", got)
	}
	s.call("DELETE", path, "").refused(409, "conflict")
	if body := string(s.call("DELETE", path, "").body); !strings.Contains(body, link+" (Tickets)") {
		t.Errorf("%s", body)
	}

	d.gone.Store(true)
	p.on("/tickets", status(http.StatusUnauthorized, "no"))
	s.publish(`{"event_type":"integration_test","scope":"acme/x","payload":{}}`)
	con = s.until(path, "in need of its owner", func(o object) bool { return o.str("state") == "needs_reauth" })
	if page := string(s.call("GET", "/metrics", "").want(200).body); !strings.Contains(page, `patchbay_connections{state="needs_reauth"} 1`) ||
		!strings.Contains(page, `patchbay_connections{state="active"} 0`) {
		t.Error("the metrics do not say so")
	}
	if con.str("links") != "1" || con.str("state_reason") != "Desk does not know the key [redacted]" {
		t.Errorf("%v", con)
	}
	events := s.until("/v1/events?type=patchbay.connection.needs_reauth", "told", func(o object) bool { return len(o.objects("data")) == 1 })
	e := events.objects("data")[0]
	if e.str("scope") != "acme" || e.str("payload", "connection", "id") != id || e.str("payload", "connection", "integration_title") != "Desk" || e.str("payload", "links") != "1" {
		t.Errorf("%v", e)
	}
	if got := s.delivered(e.str("id")); got.str("deliveries", 0, "link") != told || got.str("message", "title") != "The connection to Desk as Ann at Desk must be connected again" {
		t.Errorf("%v", got)
	}

	d.gone.Store(false)
	p.on("/tickets", status(http.StatusOK, "ok"))
	if again := s.call("POST", "/v1/connections", give).want(200).json(); again.str("id") != id || again.str("state") != "active" {
		t.Errorf("%v", again)
	}
	tag := s.call("GET", path, "").want(200).header.Get("ETag")
	handed := s.call("PATCH", path, `{"owner":"bob","owner_scope":"acme/users/bob"}`, header{"If-Match", tag}).want(200)
	if handed.json().str("owner") != "bob" || handed.header.Get("ETag") == tag {
		t.Errorf("%s", handed.body)
	}
	s.call("PATCH", path, `{"owner":"eve"}`, header{"If-Match", tag}).refused(409, "conflict")
	if got := s.call("POST", path+"/check", "").want(200).json(); got.str("state") != "active" {
		t.Errorf("%v", got)
	}
	for _, scope := range []string{"other", "acme/x"} {
		outside := s.as(t, s.newKey(scope, "manage"))
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			outside.call(method, path, `{}`).refused(404, "not_found")
		}
		if list := outside.call("GET", "/v1/connections", "").want(200).json(); len(list.objects("data")) > 0 {
			t.Errorf("%v", list)
		}
	}
	gone := s.call("DELETE", path+"?force=true", "").want(204)
	if notice := gone.header.Get("Patchbay-Notice"); !strings.Contains(notice, "delete them at Desk") {
		t.Errorf("the notice is %q", notice)
	}
	s.call("GET", path, "").refused(404, "not_found")
}

// TestConnectionsReachEveryNode: what one node makes, renews and deletes, the others use and forget within a second.
func TestConnectionsReachEveryNode(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	d := &desk{base: p.URL}
	f := newFleet(t, 2, d)
	a, b := f.nodes[0], f.nodes[1]
	give := func(key string) string {
		return fmt.Sprintf(`{"integration":"desk","scope":"acme","settings":{"key":%q}}`, key)
	}
	id := a.call("POST", "/v1/connections", give(deskKey)).want(201).json().str("id")
	b.call("GET", "/v1/connections/"+id, "").want(200) // also before it has heard of it
	within(t, time.Second, "a new connection", func() bool { return len(b.call("GET", "/v1/connections", "").want(200).json().objects("data")) == 1 })
	b.link(fmt.Sprintf(`{"integration":"desk","scope":"acme","events":["thing.made"],"settings":{},"connection":%q}`, id))
	b.call("DELETE", "/v1/connections/"+id, "").refused(409, "conflict")
	for _, m := range f.nodes { // each has the key in memory now
		within(t, time.Second, "the link", func() bool { return m.count("acme") == "1" })
		event, _ := m.publish(thingAt("acme", 1))
		m.delivered(event)
		if got := p.next(t).header.Get("X-Desk"); got != deskKey {
			t.Errorf("the key was %q", got)
		}
	}
	b.call("PATCH", "/v1/connections/"+id, `{"name":"CI"}`).want(200)
	within(t, time.Second, "a change", func() bool { return a.call("GET", "/v1/connections/"+id, "").want(200).json().str("name") == "CI" })
	a.call("POST", "/v1/connections", give(deskKey+"-2")).want(200)
	within(t, time.Second, "new keys", func() bool {
		event, _ := b.publish(thingAt("acme", 1))
		b.delivered(event)
		return p.next(t).header.Get("X-Desk") == deskKey+"-2"
	})
	b.call("DELETE", "/v1/connections/"+id+"?force=true", "").want(204)
	within(t, time.Second, "a deletion", func() bool { return a.status("/v1/connections/"+id) == 404 })
}
