package app_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
)

// TestDeliveriesOutliveARestart in every state: what waits keeps its time, what is held stays held, and what has ended
// is not sent again.
func TestDeliveriesOutliveARestart(t *testing.T) {
	o := app.Options{Config: config.Config{Data: t.TempDir()}}
	s, p := start(t, o), newPartner(t)
	s.key, _ = s.app.AdminKey()
	key := s.key
	s.call("PUT", "/v1/event-types/thing.made", thing).want(201)
	p.on("/fails", status(500, "no"))
	links := map[string]string{
		"succeeded": s.link(hook(p, "/fine", `"events":["*"],"scope":"fine"`)),
		"failed":    s.link(hook(p, "/fails", `"events":["*"],"scope":"failed","retry":{"schedule":[]}`)),
		"pending":   s.link(hook(p, "/fails", `"events":["*"],"scope":"pending","retry":{"schedule":["1h","1h"]}`)),
		"held":      s.link(hook(p, "/held", `"events":["*"],"scope":"held"`)),
		"cancelled": s.link(hook(p, "/fails", `"events":["*"],"scope":"cancelled","retry":{"schedule":["1h"]}`)),
	}
	s.call("POST", "/v1/links/"+links["held"]+"/pause", "").want(200)
	events, before := map[string]string{}, map[string]object{}
	for state, scope := range map[string]string{"succeeded": "fine", "failed": "failed", "pending": "pending", "held": "held", "cancelled": "cancelled"} {
		events[state], _ = s.publish(fmt.Sprintf(`{%s,"scope":%q,"payload":{"n":1.0}}`, made, scope))
		attempts := 1
		if state == "held" {
			attempts = 0
		} else {
			p.next(t)
		}
		if state == "cancelled" {
			d := s.becomes(events[state], "pending", 1)
			s.call("POST", "/v1/deliveries/"+d.str("id")+"/cancel", "").want(200)
		}
		before[state] = s.becomes(events[state], state, attempts)
	}
	s.stop()
	s = start(t, o).as(t, key)
	for state, want := range before {
		if diff := cmp.Diff(want, s.call("GET", "/v1/deliveries/"+want.str("id"), "").want(200).json()); diff != "" {
			t.Errorf("what was %s has changed over a restart: %s", state, diff)
		}
	}
	p.none(t)
	s.call("POST", "/v1/links/"+links["held"]+"/resume", "").want(200)
	if r := p.next(t); r.path != "/held" || r.header.Get("Webhook-Id") != events["held"] {
		t.Errorf("%s got %s", r.path, r.header.Get("Webhook-Id"))
	}
	s.becomes(events["held"], "succeeded", 1)
	p.on("/fails", status(200, ""))
	for _, state := range []string{"pending", "failed", "cancelled"} {
		s.call("POST", "/v1/deliveries/"+before[state].str("id")+"/retry", "").want(200)
		if r := p.next(t); r.header.Get("Webhook-Id") != events[state] {
			t.Errorf("what was %s arrived as %s", state, r.header.Get("Webhook-Id"))
		}
		s.becomes(events[state], "succeeded", 2)
	}
	s.call("POST", "/v1/events/"+events["succeeded"]+"/replay", "").want(200)
	if r := p.next(t); r.header.Get("Webhook-Id") != events["succeeded"] || decode(t, r.body).str("payload", "n") != "1.0" {
		t.Errorf("the replay arrived as %s", r.body)
	}
	p.none(t)
}
