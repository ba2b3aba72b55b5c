package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
)

// TestChurn publishes while links are paused, resumed and changed, and while their partner fails now
// and then: each delivery that was promised succeeds exactly once.
func TestChurn(t *testing.T) {
	s, p := things(t), newPartner(t)
	const links, publishers, each = 4, 4, 60
	var mu sync.Mutex
	accepted := map[string]int{} // by path and webhook-id, how often the partner said yes
	paths := map[string]string{} // of links
	var ids []string
	for i := range links {
		path := fmt.Sprintf("/%d", i)
		p.on(path, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if rand.IntN(5) == 0 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			accepted[path+" "+r.Header.Get("Webhook-Id")]++
		})
		id := s.link(hook(p, path, `"events":["*"],"retry":{"schedule":["1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms","1ms"]}`))
		ids, paths[id] = append(ids, id), path
	}
	drained := make(chan struct{})
	stop, cancel := context.WithCancel(context.Background())
	go func() { // the requests themselves are looked at in the handler
		defer close(drained)
		for {
			select {
			case <-p.sent:
			case <-stop.Done():
				return
			}
		}
	}()
	var work, meddling sync.WaitGroup
	events := make(chan string, publishers*each)
	for range publishers {
		work.Go(func() {
			for range each {
				id, n := s.publish(`{` + made + `,"payload":{}}`)
				if n != fmt.Sprint(links) {
					t.Errorf("%s deliveries", n)
				}
				events <- id
			}
		})
	}
	done := make(chan struct{})
	for _, id := range ids {
		meddling.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if rand.IntN(3) == 0 {
					s.call("PATCH", "/v1/links/"+id, fmt.Sprintf(`{"name":"%d"}`, i)).want(200)
					continue
				}
				s.call("POST", "/v1/links/"+id+"/pause", "").want(200)
				s.call("POST", "/v1/links/"+id+"/resume", "").want(200)
			}
		})
	}
	work.Wait()
	close(done)
	meddling.Wait()
	close(events)
	for _, id := range ids {
		s.call("POST", "/v1/links/"+id+"/resume", "").want(200)
	}
	for event := range events {
		for _, d := range s.delivered(event).objects("deliveries") {
			if d.str("state") != "succeeded" {
				t.Errorf("a delivery ended as %v", d)
			}
			mu.Lock()
			n := accepted[paths[d.str("link")]+" "+event]
			mu.Unlock()
			if n != 1 {
				t.Errorf("%s over %s was accepted %d times", event, d.str("link"), n)
			}
		}
	}
	cancel()
	<-drained
}
