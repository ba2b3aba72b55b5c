package app_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestResumeWithoutWhatWaits: nothing of what was held is sent, what happens afterwards is, and a recovery brings the rest back,
// each once.
func TestResumeWithoutWhatWaits(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/x", status(200, ""))
	link := s.link(hook(p, "/x", `"events":["*"],"scope":"acme"`))
	s.call("POST", "/v1/links/"+link+"/pause", "").want(200)
	var held []string
	for range 3 {
		id, _ := s.publish(`{"event":"integration_test","scope":"acme/a"}`)
		s.becomes(id, "held", 0)
		held = append(held, id)
	}
	for _, body := range []string{`{"skip":"yes"}`, `{"leap":true}`, `[]`} {
		s.call("POST", "/v1/links/"+link+"/resume", body).refused(400, "invalid_request")
	}
	reader := s.as(t, s.newKey("", "read"))
	reader.call("POST", "/v1/links/"+link+"/resume", `{"skip":true}`).refused(403, "forbidden")
	if got := s.delivery(held[0]).str("state"); got != "held" {
		t.Fatalf("what was refused has made a delivery %s", got)
	}
	if got := s.call("POST", "/v1/links/"+link+"/resume", `{"skip":true}`).want(200).json(); got.str("state") != "active" {
		t.Errorf("the link is %v", got)
	}
	after, _ := s.publish(`{"event":"integration_test","scope":"acme/a"}`)
	p.next(t)
	s.becomes(after, "succeeded", 1)
	for _, id := range held {
		if got := s.delivery(id); got.str("state") != "cancelled" || got.str("reason") == "" {
			t.Errorf("what was skipped is %s: %q", got.str("state"), got.str("reason"))
		}
	}
	p.none(t)
	job := s.job("/v1/jobs", fmt.Sprintf(`{"action":"recover","filter":{"link":%q}}`, link))
	if job.str("state") != "succeeded" || job.str("changed") != "3" {
		t.Errorf("the recovery is %v", job)
	}
	for range 3 {
		p.next(t)
	}
	p.none(t)
	entries := s.call("GET", "/v1/audit?object="+link, "").want(200).json().objects("data")
	if len(entries) == 0 || entries[0].str("action") != "link.resumed" || !strings.Contains(fmt.Sprint(entries[0]), "waiting") {
		t.Errorf("written down is %v", entries)
	}
	s.call("POST", "/v1/links/"+link+"/resume", `{"skip":true}`).want(200) // there is nothing to skip
}
