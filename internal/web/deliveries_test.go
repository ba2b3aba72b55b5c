package web_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// shop is a receiver of webhooks that can be closed.
type shop struct {
	*httptest.Server
	closed atomic.Bool
	got    atomic.Int32
}

func newShop(t *testing.T) *shop {
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.got.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if s.closed.Load() {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, `{"reason": "we are closed <b>today</b>"}`)
			return
		}
		fmt.Fprint(w, `{"taken": true}`)
	}))
	t.Cleanup(s.Close)
	return s
}

// webhook makes a link to a receiver, with a schedule in seconds.
func (s *site) webhook(to, scope, name string, schedule ...any) string {
	s.t.Helper()
	if schedule == nil {
		schedule = []any{}
	}
	return s.api("POST", "/v1/links", map[string]any{
		"integration": "webhook", "scope": scope, "events": []string{"entry.created"}, "name": name, "retry": map[string]any{"schedule": schedule},
		"settings": map[string]any{"url": to + "/in?token=visible", "headers": map[string]string{"X-Shop-Key": "a long secret of the shop"}},
	})["id"].(string)
}

// deliveriesOf waits until the deliveries of a link are as many as wanted in a state, and returns their identifiers, the
// newest first.
func (s *site) deliveriesOf(link, state string, n int) []string {
	s.t.Helper()
	var ids []string
	until(s.t, fmt.Sprintf("%d deliveries of %s are %s", n, link, state), func() bool {
		ids = nil
		for _, d := range s.api("GET", "/v1/deliveries?limit=250&link="+link+"&state="+state, nil)["data"].([]any) {
			ids = append(ids, d.(map[string]any)["id"].(string))
		}
		return len(ids) == n
	})
	return ids
}

// TestADeliveryFailsAndIsRetried: from the list to the timeline of attempts, with what was sent and answered, secrets masked;
// tried again by hand, the page shows by itself that it has arrived.
func TestADeliveryFailsAndIsRetried(t *testing.T) {
	s, shop := open(t), newShop(t)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/deliveries")
	p.See(".empty", "No deliveries yet")
	p.Accessible()
	shop.closed.Store(true)
	link := s.webhook(shop.URL, "acme/teams/42", "The shop", "1s")
	event := s.happened("acme/teams/42", "<i>for the shop</i>")
	id := s.deliveriesOf(link, "failed", 1)[0]
	p.Go(s.url + "/deliveries?state=failed")
	p.See("tbody", "The shop")
	p.See("tbody .answer", "502")
	p.Press(`tbody a[href="/deliveries/` + id + `"]`)
	p.See("h1", "Failed")
	p.See(".timeline", "Attempt 1: Did not go through")
	p.See(".timeline", "502 Bad Gateway")
	p.See(".timeline .pause", "after 1")
	p.See(".timeline", "Attempt 2: Did not go through")
	p.See(".timeline", "every retry of the schedule is used up")
	browsertest.Ask[bool](p, `[...document.querySelectorAll("main details")].forEach((one) => one.open = true) ?? true`)
	p.See("#attempt-2-answer", "we are closed <b>today</b>")
	p.See("#attempt-2-body", "<i>for the shop</i>")
	p.See(".timeline", "Rendered again from the event and the link")
	p.See(".headers", "X-Shop-Key")
	if text := p.Text("main"); strings.Contains(text, "a long secret") {
		t.Errorf("a secret is shown: %s", text)
	}
	p.Accessible()
	p.Fits()
	shop.closed.Store(false)
	p.Press(".head form button")
	p.See(".notice.ok", "It is due now.")
	p.See(".timeline", "Attempt 3: Delivered")
	p.See("h1", "Delivered")
	if n := browsertest.Ask[int](p, `document.querySelectorAll(".ahead, [data-follow]").length`); n > 1 { // the attribute stays where it was
		t.Errorf("there is something ahead of a delivery that has ended: %s", p.Text(".timeline"))
	}
	p.Press(`a[href="/deliveries/` + id + `/retry"]`)
	p.See("h1", "Send it again?")
	p.Accessible()
	p.Press("main button.primary")
	p.See(".timeline", "Attempt 4: Delivered")
	if n := shop.got.Load(); n != 4 {
		t.Errorf("the shop was called %d times, want 4", n)
	}
	p.Go(s.url + "/events/" + event)
	p.See("#deliveries-title", "Deliveries")
	p.Press(`table a[href="/deliveries/` + id + `"]`)
	p.See("h1", "Delivered")
}

// TestADeliveryWaits: the page counts down to the next attempt, says how many are left, and cancels it after asking.
func TestADeliveryWaits(t *testing.T) {
	s, shop := open(t), newShop(t)
	shop.closed.Store(true)
	link := s.webhook(shop.URL, "acme/teams/42", "The shop", "1h", "2h", "3h")
	s.happened("acme/teams/42", "x")
	until(t, "it was tried", func() bool { return shop.got.Load() == 1 })
	id := s.deliveriesOf(link, "pending", 1)[0]
	until(t, "it waits", func() bool { return s.api("GET", "/v1/deliveries/"+id, nil)["next_attempt_at"] != nil })
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/deliveries?state=pending&link=" + link)
	p.See("tbody .state", "To be retried")
	p.See("main", "Cancel this one")
	p.Go(s.url + "/deliveries/" + id)
	p.See(".ahead", "Attempt 2")
	p.See(".ahead .count", "in ")
	p.See(".ahead", "If it fails, there are 2 more")
	p.Accessible()
	p.Press(`a[href="/deliveries/` + id + `/cancel"]`)
	p.See("h1", "Cancel this delivery?")
	p.Press("main button.danger")
	p.See(".notice.ok", "It was cancelled.")
	p.See("h1", "Cancelled")
	p.See(".timeline", "Cancelled")

	off := s.signIn(browsertest.Options{NoScript: true})
	off.Go(s.url + "/deliveries/" + id)
	off.Press(".head form button")
	off.See(".notice.ok", "It is due now.")
	s.deliveriesOf(link, "pending", 1)
	off.Go(s.url + "/deliveries/" + id)
	off.See(".timeline", "Cancelled")
	off.See(".timeline", "Attempt 2")
	off.See(".ahead", "UTC")
}

// TestDeliveriesFilter: each filter narrows the list down, and keeps doing so from page to page.
func TestDeliveriesFilter(t *testing.T) {
	s := open(t)
	one := s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme/teams/42", "events": []string{"*"}})["id"].(string)
	two := s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme/teams/7", "events": []string{"*"}})["id"].(string)
	event := s.happened("acme/teams/42", "one")
	for range 60 {
		s.happened("acme/teams/7", "two")
	}
	s.deliveriesOf(two, "succeeded", 60)
	v := s.signedIn()
	rows := func(query string) (int, string) {
		t.Helper()
		a := v.do("GET", "/deliveries?"+query, nil)
		if a.status != http.StatusOK {
			t.Errorf("%s was answered %d: %s", query, a.status, a.body)
		}
		return strings.Count(a.body, `class="row-link"`), a.body
	}
	for query, want := range map[string]int{
		"": 50, "link=" + one: 1, "link=" + two: 50, "event=" + event: 1, "scope=acme/teams/42": 1, "scope=acme": 50, "scope=globex": 0,
		"integration=inbox&scope=acme/teams/42": 1, "integration=slack": 0, "state=succeeded&link=" + one: 1, "state=failed": 0,
		"type=entry.*&scope=acme/teams/42": 1, "type=nothing.*": 0, "type=run_error": 0, "window=1h": 50, "since=2999-01-01": 0, "state=held": 0,
	} {
		if got, _ := rows(query); got != want {
			t.Errorf("%q shows %d deliveries, want %d", query, got, want)
		}
	}
	_, body := rows("link=" + two)
	next := between(body, `class="btn" href="`, `">Older ones`)
	if !strings.Contains(next, "link="+two) {
		t.Fatalf("the next page is at %q", next)
	}
	if got := strings.Count(v.do("GET", strings.ReplaceAll(next, "&amp;", "&"), nil).body, `class="row-link"`); got != 10 {
		t.Errorf("the second page has %d deliveries, want 10", got)
	}
}

// between returns the last text between two others that has no line's end in it.
func between(text, before, after string) string {
	head, _, ok := strings.Cut(text, after)
	at := strings.LastIndex(head, before)
	if !ok || at < 0 {
		return ""
	}
	return head[at+len(before):]
}

// TestNonsenseOfDeliveries: whatever stands in an address or a form, the answer is a sentence, and nothing breaks.
func TestNonsenseOfDeliveries(t *testing.T) {
	s := open(t)
	v := s.signedIn()
	for _, evil := range []string{"x", "lnk_", "evt_zzz", "' OR 1=1", "<script>", "\x00", "999999999999999999999", "2026-13-45T99:99", "../..", strings.Repeat("a", 3000), "ü", "pending,held", "*", "/"} {
		q := url.QueryEscape(evil)
		for _, path := range []string{
			"/deliveries?state=" + q, "/deliveries?link=" + q, "/deliveries?event=" + q, "/deliveries?scope=" + q, "/deliveries?type=" + q, "/deliveries?window=" + q,
			"/deliveries?since=" + q, "/deliveries?before=" + q, "/deliveries?integration=" + q, "/deliveries/live?link=" + q + "&state=" + q + "&since=no", "/deliveries/" + url.PathEscape(evil),
			"/deliveries/" + url.PathEscape(evil) + "/live", "/deliveries/" + url.PathEscape(evil) + "/retry", "/jobs?state=" + q, "/jobs?before=" + q, "/jobs/" + url.PathEscape(evil),
			"/jobs/new?action=" + q, "/jobs/new?action=retry&link=" + q, "/jobs/new?action=cancel&state=" + q, "/jobs/new?action=replay&type=" + q, "/jobs/new?action=recover&since=" + q, "/jobs/new?action=retry&window=" + q,
		} {
			a := v.do("GET", path, nil)
			if a.status >= 500 || strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "not your fault") || strings.Contains(a.body, "ZgotmplZ") {
				t.Errorf("%s was answered %d: %s", clip(path), a.status, a.body)
			}
		}
		for _, path := range []string{"/jobs", "/jobs/" + url.PathEscape(evil) + "/cancel", "/deliveries/" + url.PathEscape(evil) + "/cancel"} {
			if a := v.do("POST", path, url.Values{"action": {evil}, "link": {evil}, "since": {evil}}); a.status < 400 || a.status >= 500 {
				if a.status != http.StatusMovedPermanently && a.status != http.StatusTemporaryRedirect {
					t.Errorf("POST %s was answered %d: %s", clip(path), a.status, a.body)
				}
			}
		}
	}
}

func clip(s string) string { return s[:min(len(s), 80)] }

// TestCustomersSeeTheirDeliveries: in a portal there are those over the portal's own links, with what was sent; nothing of
// links above, of other scopes, and no job.
func TestCustomersSeeTheirDeliveries(t *testing.T) {
	s, shop := open(t), newShop(t)
	shop.closed.Store(true)
	own := s.webhook(shop.URL, "acme/teams/42", "Own shop")
	above := s.webhook(shop.URL, "acme", "Above")
	other := s.webhook(shop.URL, "acme/teams/7", "Others")
	s.happened("acme/teams/42", "mine")
	s.happened("acme/teams/7", "secret plans")
	s.publish("entry.created", "acme/teams/7", map[string]any{"text": "also for them"})
	mine := s.deliveriesOf(own, "failed", 1)[0]
	hidden := append(s.deliveriesOf(above, "failed", 3), s.deliveriesOf(other, "failed", 2)...)
	p := s.page(browsertest.Options{Width: 390})
	p.Expect("status of 404")
	p.Go(s.portal("acme/teams/42"))
	p.Press(`.nav a[href="/deliveries"]`)
	p.See("tbody", "Own shop")
	if n := browsertest.Ask[int](p, `document.querySelectorAll("tbody tr").length`); n != 1 {
		t.Errorf("a customer sees %d deliveries, want 1: %s", n, p.Text("tbody"))
	}
	p.Accessible()
	p.Fits()
	p.Press(`tbody a.row-link`)
	p.See("h1", "Failed")
	if n := browsertest.Ask[int](p, `document.querySelectorAll('main a[href^="/events"], main a[href^="/jobs"], main a[href^="/links"]').length`); n != 0 {
		t.Errorf("there are %d links to operators' pages: %s", n, p.Text("main"))
	}
	p.Accessible()
	p.Fits()
	shop.closed.Store(false)
	p.Press(".head form button")
	p.See(".timeline", "Attempt 2: Delivered")
	for _, id := range hidden {
		for _, path := range []string{"", "/live", "/retry", "/cancel"} {
			p.Go(s.url + "/deliveries/" + id + path)
			p.See("h1", "There is nothing here")
		}
	}
	for _, path := range []string{"/jobs", "/jobs/new", "/jobs/new?action=retry&state=failed", "/jobs/job_06y87dq680000"} {
		p.Go(s.url + path)
		p.See("h1", "There is nothing here")
	}
	for _, query := range []string{"link=" + above, "scope=acme/teams/42&state=failed", "link=" + other, "event=" + s.api("GET", "/v1/deliveries/"+hidden[len(hidden)-1], nil)["event"].(string)} {
		p.Go(s.url + "/deliveries?" + query)
		p.See(".empty", "No delivery is like that")
	}
	p.Expect("status of 403")
	p.Go(s.url + "/deliveries?scope=acme/teams/7")
	p.See("h1", "You may not do that")

	looks := s.page(browsertest.Options{})
	looks.Expect("status of 403")
	looks.Go(s.portal("acme/teams/42", "view"))
	looks.See("h1", "Your links")
	looks.Go(s.url + "/deliveries/" + mine)
	looks.See("h1", "Delivered")
	if n := browsertest.Ask[int](looks, `document.querySelectorAll(".head button, .head a.btn").length`); n != 0 {
		t.Errorf("somebody who may only look has %d buttons", n)
	}
	looks.Go(s.url + "/deliveries/" + mine + "/retry")
	looks.See("h1", "You may not do that")
}

// TestScopedOperatorsSeeTheirDeliveries: an operator whose key is of a scope sees what happened to its events, but not what
// was sent over links above it, and cannot touch that.
func TestScopedOperatorsSeeTheirDeliveries(t *testing.T) {
	s, shop := open(t), newShop(t)
	shop.closed.Store(true)
	above := s.webhook(shop.URL, "acme", "Above")
	s.happened("acme/teams/42", "mine")
	s.happened("globex", "theirs")
	id := s.deliveriesOf(above, "failed", 1)[0]
	key := s.api("POST", "/v1/keys", map[string]any{"name": "ann", "scope": "acme/teams/42", "permissions": []string{"manage"}})["token"].(string)
	v := s.visit()
	if a := v.do("POST", "/sign-in", url.Values{"key": {key}}); a.status != http.StatusSeeOther {
		t.Fatalf("signing in was answered %d", a.status)
	}
	a := v.do("GET", "/deliveries/"+id, nil)
	if a.status != http.StatusOK || strings.Contains(a.body, shop.URL) || strings.Contains(a.body, "we are closed") || !strings.Contains(a.body, "those who look after the link") {
		t.Errorf("the page was answered %d: %s", a.status, a.body)
	}
	if strings.Contains(a.body, `action="/deliveries/`) || strings.Contains(a.body, "/cancel") {
		t.Error("there are buttons for what is not theirs")
	}
	if a := v.do("POST", "/deliveries/"+id+"/retry", url.Values{}); a.status != http.StatusForbidden {
		t.Errorf("retrying it was answered %d", a.status)
	}
	if a := v.do("GET", "/deliveries", nil); strings.Contains(a.body, "globex") || strings.Count(a.body, `class="row-link"`) != 1 || strings.Contains(a.body, "we are closed") {
		t.Errorf("the list is %s", a.body)
	}
	if a := v.do("GET", "/jobs/new?action=retry&scope=globex", nil); a.status != http.StatusForbidden {
		t.Errorf("a job elsewhere was answered %d", a.status)
	}
}

// TestJobs: what a filter selects is counted before anything is done, the job shows its progress after a reload as well, and
// ends with what came of it.
func TestJobs(t *testing.T) {
	s, shop := open(t), newShop(t)
	shop.closed.Store(true)
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/jobs")
	p.See(".empty", "No jobs yet")
	p.Accessible()
	link := s.webhook(shop.URL, "acme/teams/42", "The shop")
	for range 12 {
		s.happened("acme/teams/42", "x")
	}
	s.deliveriesOf(link, "failed", 12)
	shop.closed.Store(false)
	p.Go(s.url + "/deliveries?state=failed&window=1h&link=" + link)
	p.See("main", "Retry all 12 of these")
	p.Press(`main a[href^="/jobs/new"]`)
	p.See(".preview", "12 deliveries")
	p.See(".preview", "The shop")
	p.See(".preview", "nothing is sent twice")
	p.Accessible()
	p.Fits()
	if got := s.api("GET", "/v1/jobs", nil)["data"].([]any); len(got) != 0 {
		t.Fatalf("the preview has made %v", got)
	}
	p.Press(".preview button.primary")
	p.See(".notice.ok", "The job has begun.")
	p.See("h1", "Retry")
	address := p.Address()
	p.Go(address) // the browser is reloaded, the job is not
	p.See("h1", "Done")
	p.See("#progress-title", "100 %")
	p.See(".card.progress", "12 of 12")
	p.Accessible()
	p.Fits()
	s.deliveriesOf(link, "succeeded", 12)
	p.Go(s.url + "/jobs")
	p.See("tbody", "failed deliveries over The shop")
	p.See("tbody .badge.ok", "Done")
	p.Accessible()
	p.Go(s.url + "/jobs/new?action=replay&type=entry.created&scope=acme/teams/42&window=1h")
	p.See(".preview", "12 events")
	p.Press(".preview button.primary")
	p.See("h1", "Replay")
	p.See("h1", "Done") // which the page finds out by itself: events that were coming in are waited for
	s.deliveriesOf(link, "succeeded", 24)
	p.Press(`.head a[href^="/events"]`)
	p.See("h1", "Events")
	p.Expect("status of 400")
	p.Go(s.url + "/jobs/new?action=replay")
	p.See("#problems", "would send every event again")
	p.Go(s.url + "/jobs/new?action=retry&state=succeeded")
	p.See("#problems", "cannot be succeeded")
	p.Accessible()
	p.Go(s.url + "/jobs/new?action=retry&state=failed&link=" + link)
	p.See(".preview", "there is nothing to do")
}

// TestJobsWithoutScripts: a job over what is held is made, looked at and found in the list.
func TestJobsWithoutScripts(t *testing.T) {
	s := open(t)
	link := s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"*"}})["id"].(string)
	s.api("POST", "/v1/links/"+link+"/pause", nil)
	for range 3 {
		s.happened("acme", "x")
	}
	p := s.signIn(browsertest.Options{NoScript: true})
	p.Go(s.url + "/deliveries?state=held")
	p.See("tbody", "when resumed")
	p.Press(`main a.danger[href^="/jobs/new"]`)
	p.See(".preview", "3 deliveries")
	p.Press(".preview button.danger")
	p.See(".notice.ok", "The job has begun.")
	s.deliveriesOf(link, "cancelled", 3)
	id := p.Address()[strings.LastIndex(p.Address(), "/")+1:]
	until(t, "the job has ended", func() bool { return s.api("GET", "/v1/jobs/"+id, nil)["state"] == "succeeded" })
	p.Go(p.Address())
	p.See("#progress-title", "100 %")
	p.Go(s.url + "/jobs?state=succeeded")
	p.See("tbody", "Cancel")
	p.Go(s.url + "/jobs?state=failed")
	p.See(".empty", "No job is like that")
}

// TestAJobIsEnded: a job that waits for its turn can be ended, and says so.
func TestAJobIsEnded(t *testing.T) {
	s := open(t)
	v := s.signedIn()
	a := v.do("POST", "/jobs", url.Values{"action": {"retry"}, "scope": {"acme"}})
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/jobs/job_") {
		t.Fatalf("making a job was answered %d: %s", a.status, a.body)
	}
	at := a.header.Get("Location")
	for range 2 { // the second time it has ended already
		if a := v.do("POST", at+"/cancel", url.Values{}); a.status != http.StatusSeeOther {
			t.Errorf("ending it was answered %d: %s", a.status, a.body)
		}
	}
	if a := v.do("GET", at, nil); a.status != http.StatusOK {
		t.Errorf("the job's page was answered %d", a.status)
	}
	erasure := "/jobs/" + s.api("POST", "/v1/erase", map[string]any{"path": "payload.text", "value": "ann@example.com"})["id"].(string)
	if a := v.do("GET", erasure, nil); a.status != http.StatusOK || !strings.Contains(a.body, "<h1>Erase") || !strings.Contains(a.body, "payload.text") {
		t.Errorf("the page of an erasure was answered %d: %s", a.status, a.body)
	}
	link := s.api("POST", "/v1/links", map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"*"}})["id"].(string)
	if a := v.do("GET", "/jobs/new?action=recover&link="+link, nil); a.status != http.StatusOK || !strings.Contains(a.body, "there is nothing to do") {
		t.Errorf("what a new link has missed was answered %d: %s", a.status, a.body)
	}
	s.api("PATCH", "/v1/links/"+link, map[string]any{"enabled": false})
	if a := v.do("GET", "/jobs/new?action=recover&link="+link, nil); a.status != http.StatusConflict || !strings.Contains(a.body, "resume it, then recover what it missed") {
		t.Errorf("what a disabled link has missed was answered %d: %s", a.status, a.body)
	}
	raw, err := json.Marshal(s.api("GET", "/v1"+at, nil))
	if err != nil || strings.Contains(string(raw), `"pending"`) {
		t.Errorf("the job is %s (%v)", raw, err)
	}
}

// deliveryAddresses are the pages of single deliveries and jobs, as far as there are any.
func (s *site) deliveryAddresses() map[string]string {
	out := map[string]string{
		"deliveries": "/deliveries", "deliveries-waiting": "/deliveries?state=pending&window=1h", "deliveries-none": "/deliveries?scope=nobody",
		"jobs": "/jobs", "job-new": "/jobs/new", "job-preview": "/jobs/new?action=retry&state=pending&scope=acme", "job-wrong": "/jobs/new?action=replay",
	}
	for _, state := range []string{"pending", "succeeded", "held"} {
		if found := s.api("GET", "/v1/deliveries?limit=1&state="+state, nil)["data"].([]any); len(found) > 0 {
			out["delivery-"+state] = "/deliveries/" + found[0].(map[string]any)["id"].(string)
		}
	}
	jobs := s.api("GET", "/v1/jobs?limit=1", nil)["data"].([]any)
	if len(jobs) == 0 {
		jobs = []any{s.api("POST", "/v1/jobs", map[string]any{"action": "retry", "filter": map[string]any{"scope": "acme", "state": "failed"}})}
	}
	out["job"] = "/jobs/" + jobs[0].(map[string]any)["id"].(string)
	return out
}
