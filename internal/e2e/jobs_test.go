package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
)

// TestKillNineDuringARecover kills the server again and again while a job sends what a link missed: the job goes on after
// every start, every event arrives, and only what was in flight arrives twice.
func TestKillNineDuringARecover(t *testing.T) {
	for _, c := range []struct {
		name  string
		kills int
		args  func(*testing.T) []string
	}{
		{"SQLite", 5, func(*testing.T) []string { return []string{"--dev"} }},
		// Two, because other nodes wait for a job's lease to end, and so does the next start of the same one.
		{"PostgreSQL", 2, func(t *testing.T) []string { return []string{"--dev", "--database", pgtest.Database(t)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			const events = 2500
			k := newSink(t)
			data, args := t.TempDir(), c.args(t)
			s := start(t, data, args...)
			missed := map[string]bool{}
			for len(missed) < events {
				var lines strings.Builder
				for range 250 {
					lines.WriteString(`{"event_type":"integration_test","scope":"acme","payload":{}},`)
				}
				status, answer := s.call("POST", "/v1/events/batch", "["+strings.TrimSuffix(lines.String(), ",")+"]")
				if status != 200 {
					t.Fatalf("a batch was answered %d: %v", status, answer)
				}
				for _, item := range answer["data"].([]any) {
					missed[item.(map[string]any)["id"].(string)] = true
				}
			}
			link := s.link(`{"integration":"webhook","scope":"acme","events":["*"],"settings":{"url":"` + k.URL + `"}}`)
			status, job := s.call("POST", "/v1/jobs", fmt.Sprintf(`{"action":"recover","filter":{"link":%q,"since":%q}}`,
				link, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)))
			if status != 201 {
				t.Fatalf("the job was answered %d: %v", status, job)
			}
			id := job["id"].(string)
			for kill := range c.kills {
				waitUntil(t, patience, "the job does not go on", func() bool {
					return events-k.missing(missed) >= (kill+1)*events/(c.kills+2)
				})
				s.kill()
				s = start(t, data, args...)
			}
			k.waitFor(t, missed, patience)
			waitUntil(t, patience, "the job does not end", func() bool {
				_, job = s.call("GET", "/v1/jobs/"+id, "")
				return job["state"] == "succeeded"
			})
			t.Logf("%d events recovered over %d kills, %d arrived twice", events, c.kills, k.duplicates())
			if n := k.duplicates(); n > c.kills*inFlight {
				t.Errorf("%d events arrived twice; only what was in flight may", n)
			}
		})
	}
}
