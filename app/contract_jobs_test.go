package app_test

import (
	"fmt"
	"strings"
	"testing"
)

// job makes a job and waits for its end.
func (s *server) job(path, body string) object {
	s.t.Helper()
	a := s.call("POST", path, body).want(201)
	id := a.json().str("id")
	if !strings.HasPrefix(id, "job_") || a.header.Get("Location") != "/v1/jobs/"+id {
		s.t.Errorf("the job is %s at %s", a.body, a.header.Get("Location"))
	}
	return s.until("/v1/jobs/"+id, "it has ended", func(o object) bool {
		state := o.str("state")
		return state != "pending" && state != "running"
	})
}

// TestJobs: a job over HTTP, from the dry run to the list.
func TestJobs(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/x", status(404, "no"))
	link := s.link(hook(p, "/x", `"events":["*"],"scope":"acme","retry":{"schedule":[]}`))
	id, _ := s.publish(`{"event":"integration_test","scope":"acme/a"}`)
	p.next(t)
	s.becomes(id, "failed", 1)
	p.on("/x", status(200, ""))
	body := fmt.Sprintf(`{"action":"retry","filter":{"link":%q,"state":"failed"}}`, link)
	preview := s.call("POST", "/v1/jobs?dry_run=true", body).want(200).json()
	if preview.str("total") != "1" || preview.at("complete") != true || preview.str("filter", "link") != link {
		t.Errorf("the dry run is %v", preview)
	}
	if l := s.call("GET", "/v1/jobs", "").want(200).json(); len(l.objects("data")) != 0 {
		t.Errorf("the dry run made %v", l)
	}
	job := s.job("/v1/jobs", body)
	if job.str("state") != "succeeded" || job.str("changed") != "1" || job.str("progress") != "1" || job.at("error") != nil || job.at("eta") != nil {
		t.Errorf("the job is %v", job)
	}
	s.becomes(id, "succeeded", 2)
	if l := s.call("GET", "/v1/jobs?state=succeeded&action=retry&limit=1", "").want(200).json(); len(l.objects("data")) != 1 || l.at("next") != nil {
		t.Errorf("the list is %v", l)
	}
	s.call("POST", "/v1/jobs/"+job.str("id")+"/cancel", "").refused(409, "conflict")
	for path, body := range map[string]string{
		"/v1/jobs":              `{"action":"retry","filter":{"colour":"red"}}`,
		"/v1/jobs?dry_run=true": `{"action":"recover","filter":{}}`,
		"/v1/jobs?dry=1":        `{"action":"retry"}`,
		"/v1/erase":             `{}`,
		"/v1/erase?dry_run=1":   `{"tenant":"a/b"}`,
	} {
		a := s.call("POST", path, body).refused(400, "invalid_request")
		if len(a.json().objects("details")) == 0 {
			t.Errorf("%s: no details: %s", path, a.body)
		}
	}
	s.call("POST", "/v1/jobs", `{"action":"erase","filter":{}}`).refused(400, "invalid_request")
	s.call("GET", "/v1/jobs/job_00000000000zz", "").refused(404, "not_found")
	s.call("GET", "/v1/jobs/nonsense", "").refused(404, "not_found")
	s.call("GET", "/v1/jobs?state=broken", "").refused(400, "invalid_request")
}

// TestErase: erasing over HTTP, and what is refused meanwhile or afterwards.
func TestErase(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/x", status(200, "hello jane@example.com"))
	s.link(hook(p, "/x", `"events":["*"]`))
	id, _ := s.publish(`{"event":"integration_test","scope":"acme/a","payload":{"user":{"email":"jane@example.com"}},"actor":{"name":"Jane"}}`)
	p.next(t)
	s.becomes(id, "succeeded", 1)
	manage := s.as(t, s.call("POST", "/v1/keys", `{"permissions":["manage"]}`).want(201).json().str("token"))
	body := `{"path":"payload.user.email","value":"jane@example.com"}`
	manage.call("POST", "/v1/erase", body).refused(403, "forbidden")
	if got := s.call("POST", "/v1/erase?dry_run=true", body).want(200).json(); got.str("total") != "1" {
		t.Errorf("the dry run is %v", got)
	}
	job := s.job("/v1/erase", body)
	if job.str("state") != "succeeded" || job.str("changed") != "1" || job.at("filter", "value") != nil || len(job.str("filter", "value_sha256")) != 64 {
		t.Errorf("the job is %v", job)
	}
	event := s.call("GET", "/v1/events/"+id, "").want(200)
	if strings.Contains(string(event.body), "jane") || strings.Contains(string(event.body), "Jane") {
		t.Errorf("the erased event is %s", event.body)
	}
	s.call("POST", "/v1/events/"+id+"/replay", "").refused(409, "conflict")
	link := s.link(hook(p, "/x", `"events":["*"],"scope":"acme"`))
	job = s.job("/v1/erase", `{"tenant":"acme"}`)
	if job.str("state") != "succeeded" {
		t.Errorf("the job is %v", job)
	}
	s.call("GET", "/v1/events/"+id, "").refused(404, "not_found")
	s.call("GET", "/v1/links/"+link, "").refused(404, "not_found")
}
