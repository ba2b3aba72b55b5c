package e2e

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKillNineBetweenHooksAndEvents kills the server in the middle of partners' calls. Whatever was answered 200 becomes an
// event, once; a partner that got no answer sends its call again, and that too becomes one.
func TestKillNineBetweenHooksAndEvents(t *testing.T) {
	const kills, partners = 10, 8
	data := t.TempDir()
	s := start(t, data, "--dev")
	status, link := s.call("POST", "/v1/links", `{"integration":"incoming","scope":"acme/teams/1","events":[],"settings":{"id":"body.id"}}`)
	if status != 201 {
		t.Fatalf("the link was not made: %d %v", status, link)
	}
	u, err := url.Parse(link["hook_url"].(string))
	if err != nil || !strings.HasPrefix(u.Path, "/integrations/incoming/hook/") {
		t.Fatalf("the link's address is %v", link["hook_url"])
	}
	var next atomic.Int64
	sent := make(chan int64, partners) // without an answer, to be sent again
	for kill := range kills {
		target := int64(20 + 41*kill%150) // die after a different number of answers each time
		ctx, cancel := context.WithCancel(context.Background())
		var answered atomic.Int64
		enough := make(chan struct{})
		var once sync.Once
		var owned sync.WaitGroup
		for range partners {
			owned.Go(func() {
				for ctx.Err() == nil {
					var id int64
					select {
					case id = <-sent:
					default:
						id = next.Add(1)
					}
					status, answer, err := s.try(context.Background(), "POST", u.Path, fmt.Sprintf(`{"id":%d}`, id))
					if err != nil { // killed: the partner does not know
						sent <- id
						once.Do(func() { close(enough) })
						return
					}
					if status != 200 {
						t.Errorf("the call %d was answered %d: %v", id, status, answer)
					}
					if answered.Add(1) == target {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		s.kill()
		cancel()
		owned.Wait()
		s = start(t, data, "--dev")
	}
	for len(sent) > 0 {
		if status, answer := s.call("POST", u.Path, fmt.Sprintf(`{"id":%d}`, <-sent)); status != 200 {
			t.Fatalf("answered %d: %v", status, answer)
		}
	}
	want := int(next.Load())
	deadline := time.Now().Add(patience)
	for {
		events := s.incoming()
		twice := 0
		for id, n := range events {
			if n > 1 {
				twice++
				t.Errorf("the call %s became %d events", id, n)
			}
		}
		if len(events) == want || twice > 0 {
			t.Logf("%d calls over %d kills, none lost, none twice", want, kills)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d calls became events\n%s", len(events), want, s.logs)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// incoming counts the events of partners' calls by the calls' identifiers.
func (s *server) incoming() map[string]int {
	s.t.Helper()
	seen := map[string]int{}
	for cursor := ""; ; {
		status, page := s.call("GET", "/v1/events?limit=250&type=incoming.received&cursor="+cursor, "")
		if status != 200 {
			s.t.Fatalf("%d %v", status, page)
		}
		for _, e := range page["data"].([]any) {
			seen[fmt.Sprint(e.(map[string]any)["payload"].(map[string]any)["id"])]++
		}
		var more bool
		if cursor, more = page["next"].(string); !more {
			return seen
		}
	}
}
