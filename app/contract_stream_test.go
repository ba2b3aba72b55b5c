package app_test

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// watch opens /v1/stream and returns what comes. It has begun when watch returns.
func (s *server) watch(query url.Values) <-chan item {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/stream?"+query.Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := (&http.Client{Transport: s.http.Transport}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("the stream was answered %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	lines := bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil { // the comment that says that it has begun
		s.t.Fatal(err)
	}
	items := make(chan item, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(items)
		readItems(lines, items)
	}()
	s.t.Cleanup(func() {
		cancel()
		resp.Body.Close()
		<-done
	})
	return items
}

// item is one server-sent event.
type item struct{ kind, data string }

func readItems(r *bufio.Reader, out chan<- item) {
	var i item
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			i.kind = value
		case "data":
			i.data = value
		case "":
			if i.kind != "" {
				out <- i
			}
			i = item{}
		}
	}
}

// nextItem returns the next item of a stream.
func nextItem(t *testing.T, items <-chan item) item {
	t.Helper()
	select {
	case i, ok := <-items:
		if !ok {
			t.Fatal("the stream ended")
		}
		return i
	case <-time.After(patience):
		t.Fatal("nothing came on the stream")
		return item{}
	}
}

// timeInJSON finds times that are not in UTC.
var timeInJSON = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+[+-]\d\d:\d\d"`)

// TestStream: events, deliveries and attempts as they happen.
func TestStream(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/fails", status(500, "no"))
	link := s.link(hook(p, "/x", `"events":["*"],"scope":"acme"`))
	s.link(hook(p, "/fails", `"events":["entry.created"],"scope":"acme","retry":{"schedule":["1h"]}`))
	items := s.watch(nil)
	id, _ := s.publish(`{"event":"integration_test","scope":"acme"}`)
	want := []string{"event", "attempt", "delivery"}
	for _, kind := range want {
		i := nextItem(t, items)
		o := decode(t, []byte(i.data))
		if i.kind != kind {
			t.Fatalf("%s came, want %s: %s", i.kind, kind, i.data)
		}
		switch kind {
		case "event":
			if o.str("id") != id || o.str("type") != "integration_test" || o.str("scope") != "acme" || o.str("deliveries") != "1" {
				t.Errorf("the event is %s", i.data)
			}
		case "attempt":
			if o.str("event") != id || o.str("link") != link || o.str("attempts", 0, "verdict") != "delivered" {
				t.Errorf("the attempt is %s", i.data)
			}
		case "delivery":
			if o.str("event") != id || o.str("state") != "succeeded" {
				t.Errorf("the delivery is %s", i.data)
			}
		}
		if found := timeInJSON.FindString(i.data); found != "" {
			t.Errorf("a time is not in UTC: %s in %s", found, i.data)
		}
	}
	t.Run("times are in UTC, that of the next attempt too", func(t *testing.T) {
		s := s.in(t)
		items := s.watch(url.Values{"state": {"retry"}})
		s.publish(`{"event":"entry.created","scope":"acme","payload":` + s.example("entry.created") + `}`)
		i := nextItem(t, items)
		if found := timeInJSON.FindString(i.data); found != "" || decode(t, []byte(i.data)).str("next_attempt_at") == "" {
			t.Errorf("the attempt is %s", i.data)
		}
	})
}

// TestStreamFilters: the stream is filtered like the lists.
func TestStreamFilters(t *testing.T) {
	s, p := serve(t), newPartner(t)
	p.on("/fails", status(500, "no"))
	one := s.link(hook(p, "/x", `"events":["*"],"scope":"acme"`))
	s.link(`{"integration":"inbox","events":["*"],"scope":"acme/a"}`)
	s.link(hook(p, "/fails", `"events":["*"],"scope":"other","retry":{"schedule":[]}`))
	// The first event names what is to be selected by its identifier.
	known, _ := s.publish(`{"event":"integration_test","scope":"acme/a"}`)
	s.delivered(known)
	cases := []struct{ query, want string }{
		{"kind=event", "event acme/a, event other, event x"},
		{"kind=delivery&state=failed", "delivery other"},
		{"kind=attempt&state=retry", "attempt other"},
		{"scope=other", "event other, attempt other, delivery other"},
		{"scope=acme&kind=event", "event acme/a"},
		{"scope=acme/also&kind=event", "event acme/a"},
		{"type=entry.*", "event x"},
		{"type=none,entry.*&kind=event,attempt", "event x"},
		{"integration=inbox&kind=delivery", "delivery acme/a"},
		{"link=" + one, "attempt acme/a, delivery acme/a"},
		{"event=" + known, "attempt acme/a, delivery acme/a, attempt acme/a, delivery acme/a"},
	}
	streams := make([]<-chan item, len(cases))
	for i, c := range cases {
		q, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		streams[i] = s.watch(q)
	}
	s.publish(`{"event":"integration_test","scope":"acme/a","also":["acme/also"]}`)
	s.publish(`{"event":"integration_test","scope":"other"}`)
	s.publish(`{"event":"entry.created","scope":"x","payload":` + s.example("entry.created") + `}`)
	for _, d := range s.call("GET", "/v1/deliveries?event="+known, "").want(200).json().objects("data") {
		s.call("POST", "/v1/deliveries/"+d.str("id")+"/retry", "").want(200)
	}
	for i, c := range cases {
		t.Run("GET /v1/stream?"+c.query, func(t *testing.T) {
			var got []string
			for range strings.Split(c.want, ", ") {
				it := nextItem(t, streams[i])
				got = append(got, it.kind+" "+decode(t, []byte(it.data)).str("scope"))
			}
			if diff := cmp.Diff(strings.Split(c.want, ", "), got); diff != "" && !strings.HasPrefix(c.query, "link") {
				t.Error(diff)
			}
		})
	}
	for _, bad := range []string{"kind=x", "state=x", "type=%00", "scope=a//b", "link=x", "event=x", "unknown=1", "kind=event&kind=event"} {
		s.call("GET", "/v1/stream?"+bad, "").refused(400, "invalid_request")
	}
}

// TestStreamsEnd: with their key, and with the installation.
func TestStreamsEnd(t *testing.T) {
	s := serve(t)
	items := s.watch(nil)
	reader := s.as(t, s.newKey("acme", "read"))
	below := reader.watch(nil)
	s.publish(`{"event":"integration_test","scope":"other"}`)
	s.publish(`{"event":"integration_test","scope":"acme/x"}`)
	if i := nextItem(t, below); decode(t, []byte(i.data)).str("scope") != "acme/x" {
		t.Errorf("a key of acme sees %s", i.data)
	}
	nextItem(t, items)
	nextItem(t, items)
	s.stop()
	for range items {
		t.Error("something came after the end")
	}
}
