package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
)

// delivery returns an event's only delivery.
func (s *server) delivery(event string) object {
	s.t.Helper()
	d := s.call("GET", "/v1/events/"+event, "").want(200).json().objects("deliveries")
	if len(d) != 1 {
		s.t.Fatalf("the event has %d deliveries, want 1", len(d))
	}
	return s.call("GET", "/v1/deliveries/"+d[0].str("id"), "").want(200).json()
}

// becomes waits until an event's only delivery has a state and as many attempts.
func (s *server) becomes(event, state string, attempts int) object {
	s.t.Helper()
	path := "/v1/deliveries/" + s.delivery(event).str("id")
	return s.until(path, fmt.Sprintf("%s with %d attempts", state, attempts), func(o object) bool {
		return o.str("state") == state && len(o.objects("attempts")) == attempts
	})
}

// TestDeliveryShape: a delivery has every field of the contract.
func TestDeliveryShape(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/x", status(200, strings.Repeat("answer ", 2000)))
	link := s.link(hook(p, "/x?a=b", `"events":["*"],"scope":"acme"`))
	id, _ := s.publish(`{"event":"integration_test","scope":"acme/a","payload":{"n":1.0}}`)
	p.next(t)
	got := s.becomes(id, "succeeded", 1)
	for field, want := range map[string]any{
		"event": id, "event_type": "integration_test", "scope": "acme/a", "link": link, "integration": "webhook",
		"state": "succeeded", "next_attempt_at": nil,
	} {
		if v, there := got[field]; !there || v != want {
			t.Errorf("%s is %v (there: %v), want %v", field, v, there, want)
		}
	}
	if !strings.HasPrefix(got.str("id"), "dlv_") || got.str("attempt_count") != "1" {
		t.Errorf("the delivery is %v", got)
	}
	a := got.objects("attempts")[0]
	if _, err := time.Parse(time.RFC3339, a.str("at")); err != nil || !strings.HasSuffix(a.str("at"), "Z") || a.str("verdict") != "delivered" || a.at("error") != nil || a.at("error_type") != nil || a.str("response_code") != "200" || a.at("duration_ms") == nil {
		t.Errorf("the attempt is %v", a)
	}
	if n := len(a.str("response_body")); n < 8000 || n > 8<<10 {
		t.Errorf("%d bytes of the answer are kept, want 8 KiB", n)
	}
	r := object(a.at("request").(map[string]any))
	if r.str("method") != "POST" || r.str("url") != p.url("/x?a=b") || r.str("headers", "webhook-id") != id || !strings.Contains(r.str("body"), `"payload":{"n":1.0}`) || r.str("body_note") == "" {
		t.Errorf("the request is %v", r)
	}
	listed := s.call("GET", "/v1/deliveries", "").want(200).json()
	if d := listed.objects("data"); len(d) != 1 || d[0].str("id") != got.str("id") || listed.at("next") != nil {
		t.Errorf("the list is %v", listed)
	}
	t.Run("what has not been tried has no attempts", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", "/v1/links/"+link+"/pause", "").want(200)
		id, _ := s.publish(`{"event":"integration_test","scope":"acme"}`)
		got := s.delivery(id)
		if l, ok := got["attempts"].([]any); !ok || len(l) != 0 || got.str("attempt_count") != "0" || got.str("state") != "held" {
			t.Errorf("the delivery is %v", got)
		}
	})
}

// TestVerdicts: what a webhook's receiver answers, and what follows.
func TestVerdicts(t *testing.T) {
	s, p := serve(t), newPartner(t)
	for _, c := range []struct {
		code                       int
		state, verdict, kind, link string
	}{
		{200, "succeeded", "delivered", "", "active"},
		{201, "succeeded", "delivered", "", "active"},
		{204, "succeeded", "delivered", "", "active"},
		{299, "succeeded", "delivered", "", "active"},
		{301, "pending", "retry", "user_configuration_error", "active"},
		{304, "pending", "retry", "user_configuration_error", "active"},
		{400, "pending", "retry", "misconfigured_integration", "active"},
		{401, "pending", "retry", "user_configuration_error", "active"},
		{404, "pending", "retry", "user_configuration_error", "active"},
		{408, "pending", "retry", "service_error", "active"},
		{410, "failed", "rejected", "user_configuration_error", "disabled"},
		{422, "pending", "retry", "misconfigured_integration", "active"},
		{429, "pending", "retry", "service_error", "active"},
		{500, "pending", "retry", "service_error", "active"},
		{501, "pending", "retry", "user_configuration_error", "active"},
		{503, "pending", "retry", "service_error", "active"},
	} {
		t.Run(fmt.Sprint(c.code), func(t *testing.T) {
			s := s.in(t)
			path := fmt.Sprintf("/%d", c.code)
			p.on(path, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.code)
			})
			link := s.link(hook(p, path, fmt.Sprintf(`"events":["*"],"scope":"s%d"`, c.code)))
			id, _ := s.publish(fmt.Sprintf(`{"event":"integration_test","scope":"s%d"}`, c.code))
			if got := p.next(t).path; got != path {
				t.Fatalf("%s was called", got)
			}
			d := s.becomes(id, c.state, 1)
			a := d.objects("attempts")[0]
			if a.str("verdict") != c.verdict || a.str("error_type") != c.kind || a.str("response_code") != fmt.Sprint(c.code) || (d.at("next_attempt_at") == nil) != (c.state != "pending") {
				t.Errorf("the delivery is %v", d)
			}
			s.until("/v1/links/"+link, c.link, func(o object) bool { return o.str("state") == c.link })
			s.call("DELETE", "/v1/links/"+link, "").want(204)
		})
	}
	p.none(t)
}

// TestGone: 410 disables the link, which says why, and raises an event that only patterns for such events match.
func TestGone(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/gone", status(410, ""))
	gone := s.link(hook(p, "/gone", `"events":["*","patchbay.*"],"scope":"acme/a"`))
	s.link(hook(p, "/told", `"events":["patchbay.link.*"],"scope":"acme"`))
	s.link(hook(p, "/all", `"events":["*"],"scope":"acme"`))
	id, n := s.publish(`{"event":"integration_test","scope":"acme/a"}`)
	if n != "2" {
		t.Fatalf("%s deliveries", n)
	}
	paths := []string{}
	for range 3 {
		r := p.next(t)
		paths = append(paths, r.path)
		if r.path != "/told" {
			continue
		}
		if o := decode(t, r.body); o.str("event") != "patchbay.link.disabled" || o.str("payload", "link", "id") != gone || o.str("scope") != "acme/a" || o.str("payload", "reason") == "" {
			t.Errorf("what was told is %s", r.body)
		}
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"/all", "/gone", "/told"}, paths); diff != "" {
		t.Error(diff)
	}
	link := s.call("GET", "/v1/links/"+gone, "").want(200).json()
	if link.at("enabled") != false || link.str("state") != "disabled" || link.str("state_reason") == "" {
		t.Errorf("the link is %v", link)
	}
	if got := s.call("GET", "/v1/events?type=patchbay.*", "").want(200).json().objects("data"); len(got) != 1 || got[0].str("source", "kind") != "patchbay" || got[0].str("source", "link") != gone {
		t.Errorf("the events of the system are %v", got)
	}
	if got := s.call("GET", "/v1/events?type=*", "").want(200).json().objects("data"); len(got) != 1 || got[0].str("id") != id {
		t.Errorf("* selects %v", got)
	}
	if got := s.call("POST", "/v1/links/"+gone+"/resume", "").want(200).json(); got.str("state") != "active" || got.at("state_reason") != nil {
		t.Errorf("after resume the link is %v", got)
	}
	p.none(t)
}

// TestRetries: a failed delivery is tried again by its link's schedule, and then failed, kept, and retryable by hand.
func TestRetries(t *testing.T) {
	s, p := start(t, app.Options{RetryJitter: func() float64 { return 0.5 }}, func(c *config.Config) { c.Data = t.TempDir() }), newPartner(t)
	s.key, _ = s.app.AdminKey()
	var code atomic.Int32
	code.Store(500)
	p.on("/x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) })
	link := s.link(hook(p, "/x", `"events":["*"],"retry":{"schedule":["10ms","20ms"]}`))
	id, _ := s.publish(testEvent)
	first := p.next(t)
	for range 2 {
		if r := p.next(t); r.header.Get("Webhook-Id") != first.header.Get("Webhook-Id") || string(r.body) != string(first.body) {
			t.Errorf("a retry is not the same: %s, %s", r.body, first.body)
		}
	}
	d := s.becomes(id, "failed", 3)
	if d.at("next_attempt_at") != nil || d.str("attempt_count") != "3" {
		t.Errorf("the delivery is %v", d)
	}
	p.none(t)

	t.Run("retry by hand sends it again, with a schedule that begins afresh", func(t *testing.T) {
		s := s.in(t)
		got := s.call("POST", "/v1/deliveries/"+d.str("id")+"/retry", "").want(200).json()
		if got.str("id") != d.str("id") {
			t.Errorf("the answer is not the delivery: %v", got)
		}
		for range 3 {
			if r := p.next(t); r.header.Get("Webhook-Id") != first.header.Get("Webhook-Id") {
				t.Error("it is another event for the receiver")
			}
		}
		s.becomes(id, "failed", 6)
		code.Store(200)
		s.call("POST", "/v1/deliveries/"+d.str("id")+"/retry", "").want(200)
		p.next(t)
		s.becomes(id, "succeeded", 7)
	})
	t.Run("of a link that was deleted nothing can be retried", func(t *testing.T) {
		s := s.in(t)
		s.call("DELETE", "/v1/links/"+link, "").want(204)
		s.call("POST", "/v1/deliveries/"+d.str("id")+"/retry", "").refused(409, "conflict")
		if got := s.call("GET", "/v1/deliveries/"+d.str("id"), "").want(200).json(); got.str("state") != "succeeded" {
			t.Errorf("the delivery is %v", got)
		}
	})
	for _, verb := range []string{"retry", "cancel"} {
		s.call("POST", noDelivery+"/"+verb, "").refused(404, "not_found")
		s.call("POST", "/v1/deliveries/x/"+verb, "").refused(404, "not_found")
	}
	s.call("GET", noDelivery, "").refused(404, "not_found")
}

// TestSchedule: 5 s, 30 s, …, and what Retry-After makes of it.
func TestSchedule(t *testing.T) {
	s, p := serve(t), newPartner(t)
	for i, c := range []struct {
		says, after string
		code        int
		least, most time.Duration
	}{
		{"the first retry comes after 5 s, ±20 %", "", 500, 4 * time.Second, 6 * time.Second},
		{"Retry-After makes it longer, and jitter only adds", "3600", 500, time.Hour, time.Hour * 12 / 10},
		{"Retry-After makes it shorter", "2", 500, 2 * time.Second, 2400 * time.Millisecond},
		{"Retry-After of nought is as soon as possible", "0", 500, time.Second, 1200 * time.Millisecond},
		{"Retry-After of a 429", "60", 429, time.Minute, 72 * time.Second},
		{"Retry-After of a redirect", "60", 302, time.Minute, 72 * time.Second},
		{"Retry-After as a date", time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat), 503, 2*time.Hour - time.Minute, 2 * time.Hour * 12 / 10},
		{"Retry-After counts up to 24 h", "1000000", 503, 24 * time.Hour, 24 * time.Hour * 12 / 10},
		{"Retry-After that is none", "soon", 503, 4 * time.Second, 6 * time.Second},
		{"Retry-After below zero", "-5", 503, 4 * time.Second, 6 * time.Second},
	} {
		t.Run(c.says, func(t *testing.T) {
			s := s.in(t)
			seen, calls := make(chan struct{}), atomic.Int32{}
			path := fmt.Sprint("/x", i)
			p.on(path, func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) > 1 {
					<-seen // a slow machine has not looked yet
				}
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.code)
			})
			link := s.link(hook(p, path, `"events":["*"]`))
			before := time.Now()
			id, _ := s.publish(testEvent)
			d := s.becomes(id, "pending", 1)
			attempted := time.Since(before) // at most
			next, err := time.Parse(time.RFC3339, d.str("next_attempt_at"))
			if pause := next.Sub(before); err != nil || pause < c.least || pause > c.most+attempted {
				t.Errorf("the next attempt comes after %s (%v), want %s to %s", pause, err, c.least, c.most)
			}
			close(seen)
			s.call("DELETE", "/v1/links/"+link, "").want(204)
		})
	}
}

// TestPause: paused holds what matches, and delivers it on resume.
func TestPause(t *testing.T) {
	s, p := things(t), newPartner(t)
	link := s.link(hook(p, "/x", `"events":["*"],"retry":{"schedule":["1s"]}`))
	path := "/v1/links/" + link
	s.call("POST", path+"/pause", "").want(200)
	var want []string
	for i := range 20 {
		id, n := s.publish(fmt.Sprintf(`{%s,"payload":{"i":%d}}`, made, i))
		if n != "1" {
			t.Fatalf("%s deliveries, held ones included", n)
		}
		want = append(want, id)
	}
	got := s.call("GET", "/v1/deliveries?state=held", "").want(200).json().objects("data")
	if len(got) != 20 || got[0].str("state") != "held" || got[0].at("next_attempt_at") != nil {
		t.Errorf("%d are held: %v", len(got), got)
	}
	if got := s.call("GET", "/v1/deliveries?state=pending", "").want(200).json().objects("data"); len(got) != 0 {
		t.Errorf("%d are pending while their link is paused", len(got))
	}
	p.none(t)
	s.call("POST", path+"/resume", "").want(200)
	var sent []string
	for range 20 {
		sent = append(sent, p.next(t).header.Get("Webhook-Id"))
	}
	slices.Sort(sent)
	slices.Sort(want)
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Error(diff)
	}
	for _, id := range want {
		s.becomes(id, "succeeded", 1)
	}
	p.none(t)

	t.Run("what has not been sent when a link is paused is held too", func(t *testing.T) {
		s := s.in(t)
		p.on("/x", status(500, ""))
		id, _ := s.publish(testEvent)
		p.next(t)
		s.becomes(id, "pending", 1)
		s.call("POST", path+"/pause", "").want(200)
		s.becomes(id, "held", 1)
		p.on("/x", status(200, ""))
		s.call("POST", path+"/resume", "").want(200)
		p.next(t)
		s.becomes(id, "succeeded", 2)
	})
	t.Run("what a disabled link missed is not delivered on resume", func(t *testing.T) {
		s := s.in(t)
		s.call("PATCH", path, `{"enabled":false}`).want(200)
		if _, n := s.publish(testEvent); n != "0" {
			t.Errorf("%s deliveries over a disabled link", n)
		}
		s.call("POST", path+"/resume", "").want(200)
		p.none(t)
	})
	t.Run("what is held when a link is deleted is cancelled", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", path+"/pause", "").want(200)
		id, _ := s.publish(testEvent)
		s.call("DELETE", path, "").want(204)
		if got := s.delivery(id); got.str("state") != "cancelled" || got.at("next_attempt_at") != nil {
			t.Errorf("the delivery is %v", got)
		}
		p.none(t)
	})
}

// TestCancel ends what waits.
func TestCancel(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/x", status(500, ""))
	link := s.link(hook(p, "/x", `"events":["*"],"retry":{"schedule":["1h"]}`))
	waiting, _ := s.publish(testEvent)
	p.next(t)
	d := s.becomes(waiting, "pending", 1)
	s.call("POST", "/v1/links/"+link+"/pause", "").want(200)
	held, _ := s.publish(testEvent)
	for _, id := range []string{d.str("id"), s.delivery(held).str("id")} {
		got := s.call("POST", "/v1/deliveries/"+id+"/cancel", "").want(200).json()
		if got.str("state") != "cancelled" || got.at("next_attempt_at") != nil || got.str("id") != id {
			t.Errorf("the answer is %v", got)
		}
		s.call("POST", "/v1/deliveries/"+id+"/cancel", "").want(200)
	}
	if got := s.call("GET", "/v1/deliveries?state=cancelled", "").want(200).json().objects("data"); len(got) != 2 {
		t.Errorf("%d are cancelled", len(got))
	}
	p.on("/x", status(200, ""))
	s.call("POST", "/v1/links/"+link+"/resume", "").want(200)
	t.Run("what was cancelled can be retried by hand", func(t *testing.T) {
		s := s.in(t)
		s.call("POST", "/v1/deliveries/"+d.str("id")+"/retry", "").want(200)
		if r := p.next(t); r.header.Get("Webhook-Id") != waiting {
			t.Errorf("%s was sent", r.header.Get("Webhook-Id"))
		}
		s.until("/v1/deliveries/"+d.str("id"), "succeeded", func(o object) bool { return o.str("state") == "succeeded" })
	})
	t.Run("what has ended cannot be cancelled", func(t *testing.T) {
		s.in(t).call("POST", "/v1/deliveries/"+d.str("id")+"/cancel", "").refused(409, "conflict")
	})
	p.none(t)
}

// TestASlowLinkCostsTheOthersNothing: it hangs, and the other is served.
func TestASlowLinkCostsTheOthersNothing(t *testing.T) {
	s, p := serve(t), newPartner(t)
	release := make(chan struct{})
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	p.on("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	s.link(hook(p, "/hang", `"events":["*"]`))
	s.link(hook(p, "/quick", `"events":["*"]`))
	quick := 0
	for range 50 {
		s.publish(testEvent)
	}
	for quick < 50 {
		if p.next(t).path == "/quick" {
			quick++
		}
	}
	once.Do(func() { close(release) })
}
