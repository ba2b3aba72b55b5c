package web_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/demo"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// clock can be put forward, so that an installation has a day behind it after a second.
type clock struct{ behind atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(-time.Duration(c.behind.Load())) }

// liveIn gives an installation whose clock is a day behind what such a day brings: links of three products, events at the pace
// of an office, partners of which some fail where that is wanted, and keys. It is the same every time, and at its end
// the clock is right.
func (s *site) liveIn(c *clock, events int, failing bool) {
	s.t.Helper()
	partner := newPartner(s)
	s.castLinks(partner, failing)
	examples := map[string]json.RawMessage{}
	for _, x := range s.list("/events") {
		raw, err := json.Marshal(x["example"])
		if err != nil {
			s.t.Fatal(err)
		}
		examples[x["key"].(string)] = raw
	}
	story := demo.NewStory(7, c.now, func(eventType string) json.RawMessage { return examples[eventType] })
	rnd := rand.New(rand.NewPCG(7, 7))
	begin := c.behind.Load()
	for _, at := range paces(rnd, events) {
		c.behind.Store(int64(float64(begin) * (1 - at)))
		e, err := story.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		s.api("POST", "/v1/events", e)
	}
	c.behind.Store(0)
}

// lived is an installation with a day behind it, and the figures of that day: what counts goes by the real clock, so they are
// added up from what there is.
func lived(t *testing.T, events int, failing bool, change ...func(*config.Config)) *site {
	t.Helper()
	dir := t.TempDir()
	change = append(change, func(c *config.Config) { c.Data = dir })
	var c clock
	c.behind.Store(int64(25 * time.Hour))
	s := openAt(t, c.now, change...)
	s.liveIn(&c, events, failing)
	for range 50 { // what fails may be under way again and again
		if queue := s.api("GET", "/v1/stats/now", nil)["queue"].(map[string]any); queue["ready"] == 0.0 && queue["in_flight"] == 0.0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var samples []store.Sample
	rnd := rand.New(rand.NewPCG(11, 11))
	s.each("/v1/events", func(x map[string]any) {
		samples = append(samples, store.Sample{At: moment(t, x["received_at"]), Type: x["type"].(string), Scope: patchbay.Scope(x["scope"].(string)), Accepted: 1})
	})
	s.each("/v1/deliveries", func(x map[string]any) {
		var id patchbay.DeliveryID
		var link patchbay.LinkID
		if id.UnmarshalText([]byte(x["id"].(string))) != nil || link.UnmarshalText([]byte(x["link"].(string))) != nil {
			t.Fatalf("%v is no delivery", x)
		}
		y := store.Sample{At: id.Time(), Link: link, Integration: x["integration"].(string), Type: x["event_type"].(string), Scope: patchbay.Scope(x["scope"].(string)), Attempts: 1}
		switch x["state"] {
		case "succeeded":
			took := time.Duration(20+rnd.IntN(60)) * time.Millisecond
			if rnd.IntN(25) == 0 {
				took *= 12
			}
			y.Delivered, y.Latency = 1, store.Latency{store.Bucket(took): 1}
		case "failed":
			y.Failed = 1
		default:
			return
		}
		samples = append(samples, y)
	})
	key := s.key
	s.stop()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(samples, 200) {
		if err := db.AddSamples(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, change...)
	s.key = key
	return s
}

func moment(t *testing.T, text any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text.(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// each calls a function for each element of a list of the API.
func (s *site) each(path string, f func(map[string]any)) {
	s.t.Helper()
	for cursor := ""; ; {
		page := s.api("GET", path+"?limit=250&cursor="+cursor, nil)
		for _, x := range page["data"].([]any) {
			f(x.(map[string]any))
		}
		next, more := page["next"].(string)
		if !more {
			return
		}
		cursor = next
	}
}

// paces are moments of a day, as shares of it, more of them while people work.
func paces(rnd *rand.Rand, n int) []float64 {
	out := make([]float64, 0, n)
	for len(out) < n {
		at := rnd.Float64()
		busy := 1 - 4*(at-.55)*(at-.55) // most a little after the middle
		if rnd.Float64() < busy*busy*busy {
			out = append(out, at)
		}
	}
	slices.Sort(out)
	return append(out, 1, 1, 1)
}

// newPartner answers every call well, but those to /flaky only sometimes.
func newPartner(s *site) string {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/flaky" && n.Add(1)%3 != 0 {
			http.Error(w, `{"error": "the queue is full"}`, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "ok")
	}))
	s.t.Cleanup(server.Close)
	return server.URL
}

func (s *site) castLinks(partner string, failing bool) {
	s.t.Helper()
	link := func(in map[string]any) string { return s.api("POST", "/v1/links", in)["id"].(string) }
	to := func(path string) map[string]any { return map[string]any{"url": partner + path} }
	link(map[string]any{"integration": "slack", "scope": "acme/qa", "events": []string{"run_*"}, "settings": map[string]any{"url": partner + "/slack/qa", "channel": "#qa"}})
	link(map[string]any{"integration": "slack", "scope": "globex/repos/web", "events": []string{"repo.push"}, "settings": map[string]any{"url": partner + "/slack/develop", "channel": "#develop"}})
	link(map[string]any{"integration": "slack", "scope": "globex/repos", "reach": "children", "events": []string{"pullrequest.*"}, "settings": map[string]any{"url": partner + "/slack/general", "channel": "#general"}})
	link(map[string]any{"integration": "webhook", "scope": "springfield", "events": []string{"*Created", "*StateChanged"}, "name": "City data warehouse", "settings": to("/warehouse")})
	if failing {
		link(map[string]any{"integration": "webhook", "scope": "springfield", "events": []string{"operation*"}, "name": "Flaky contractor", "settings": to("/flaky")})
		link(map[string]any{"integration": "webhook", "scope": "acme", "events": []string{"run_error", "run_webhook_timeout"}, "name": "Dead pager", "settings": map[string]any{"url": "http://127.0.0.1:1/page"}})
	}
	paused := link(map[string]any{"integration": "webhook", "scope": "globex", "events": []string{"repo.*"}, "name": "Nightly import", "settings": to("/nightly")})
	s.api("POST", "/v1/links/"+paused+"/pause", nil)
	off := link(map[string]any{"integration": "email", "scope": "initech/teams/eng", "events": []string{"entry.created"}, "name": "Team mail", "settings": map[string]any{"to": []string{"team@initech.example"}, "host": "smtp.example.com", "from": "p@example.com"}})
	s.api("PATCH", "/v1/links/"+off, map[string]any{"enabled": false})
	link(map[string]any{"integration": "inbox", "scope": "initech/teams/eng", "events": []string{"entry.created"}, "name": "Done list"})
	link(map[string]any{"integration": "slack", "scope": "initech/teams/eng", "events": []string{"entry.created"}, "settings": map[string]any{"url": partner + "/slack/eng", "channel": "#eng"}})
	link(map[string]any{"integration": "inbox", "scope": "acme", "events": []string{"run_*", "patchbay.link.*"}, "name": "What failed at Acme"})
	link(map[string]any{"integration": "incoming", "scope": "globex", "events": []string{}, "name": "Status page", "settings": map[string]any{}})
	s.api("POST", "/v1/keys", map[string]any{"name": "Globex deploy", "scope": "globex", "permissions": []string{"publish", "read"}})
	s.api("POST", "/v1/keys", map[string]any{"name": "Support desk", "permissions": []string{"read"}})
	s.portal("initech/teams/eng")
}

// list returns an answer that is a list.
func (s *site) list(path string) []map[string]any {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out []map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		s.t.Fatal(err)
	}
	return out
}
