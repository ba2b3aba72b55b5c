package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fleet is one or more nodes at one PostgreSQL database, of which some may be dead.
type fleet struct {
	t    *testing.T
	args []string
	data []string // each node's directory

	mu    sync.Mutex
	nodes []*server // nil while dead
}

// newFleet starts nodes at a database, one after the other.
func newFleet(t *testing.T, n int, database string) *fleet {
	t.Helper()
	f := &fleet{t: t, args: []string{"--dev", "--database", database, "--key-file", filepath.Join(t.TempDir(), "secret.key")}, nodes: make([]*server, n)}
	for i := range n {
		f.data = append(f.data, t.TempDir())
		f.start(i)
	}
	return f
}

// start starts a node that is dead; its data directory stays the same.
func (f *fleet) start(i int) {
	f.t.Helper()
	s := start(f.t, f.data[i], f.args...)
	f.mu.Lock()
	f.nodes[i] = s
	f.mu.Unlock()
}

// kill is kill -9 of a node.
func (f *fleet) kill(i int) {
	f.mu.Lock()
	s := f.nodes[i]
	f.nodes[i] = nil
	f.mu.Unlock()
	s.kill()
}

// node returns a node, nil when it is dead.
func (f *fleet) node(i int) *server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[i]
}

// logs is what every living node has written.
func (f *fleet) logs() string {
	var out string
	for i := range f.nodes {
		if s := f.node(i); s != nil {
			out += fmt.Sprintf("--- node %d ---\n%s\n", i, s.logs)
		}
	}
	return out
}

// traffic publishes events at a fleet until it is ended, and knows what was answered 201.
type traffic struct {
	f       *fleet
	stop    context.CancelFunc
	owned   sync.WaitGroup
	refused atomic.Int64 // answers other than 201, and calls without an answer
	more    chan struct{}

	mu       sync.Mutex
	accepted map[string]bool
	at       map[string]time.Time
}

// publish begins to publish from so many callers, each at the nodes in turn.
func (f *fleet) publish(callers int) *traffic {
	ctx, stop := context.WithCancel(context.Background())
	tr := &traffic{f: f, stop: stop, more: make(chan struct{}, 1), accepted: map[string]bool{}, at: map[string]time.Time{}}
	for c := range callers {
		tr.owned.Go(func() {
			for n := c; ctx.Err() == nil; n++ {
				if !tr.one(ctx, f.node(n%len(f.nodes)), n) {
					tr.refused.Add(1)
					select { // as a client does that was told to try again
					case <-ctx.Done():
					case <-time.After(5 * time.Millisecond):
					}
				}
			}
		})
	}
	f.t.Cleanup(tr.end)
	return tr
}

// one publishes one event and reports whether it was accepted.
func (tr *traffic) one(ctx context.Context, s *server, n int) bool {
	if s == nil {
		return false
	}
	call, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body := fmt.Sprintf(`{"event_type":"integration_test","scope":"acme/%d","payload":{"n":%d}}`, n%7, n)
	status, answer, err := s.try(call, "POST", "/events", body)
	if err != nil || status != 201 {
		return false
	}
	id := answer["id"].(string)
	tr.mu.Lock()
	tr.accepted[id], tr.at[id] = true, time.Now()
	tr.mu.Unlock()
	select {
	case tr.more <- struct{}{}:
	default:
	}
	return true
}

// count is how many events were accepted.
func (tr *traffic) count() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.accepted)
}

// until waits until so many more events were accepted.
func (tr *traffic) until(n int, patience time.Duration) {
	tr.f.t.Helper()
	n += tr.count()
	deadline := time.After(patience)
	for tr.count() < n {
		select {
		case <-tr.more:
		case <-deadline:
			tr.f.t.Fatalf("after %s only %d of %d events were accepted (%d refused)\n%s", patience, tr.count(), n, tr.refused.Load(), tr.f.logs())
		}
	}
}

// end stops publishing.
func (tr *traffic) end() {
	tr.stop()
	tr.owned.Wait()
}

// late returns how long the slowest accepted event took to arrive.
func (tr *traffic) late(k *sink) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	var most time.Duration
	for id, at := range tr.at {
		if first, ok := k.first[id]; ok {
			most = max(most, first.Sub(at))
		}
	}
	return most
}

// settle ends the traffic, waits until everything accepted has arrived, and says what it took.
func (tr *traffic) settle(k *sink, patience time.Duration, what string) {
	tr.f.t.Helper()
	tr.end()
	deadline := time.After(patience)
	for k.missing(tr.accepted) > 0 {
		select {
		case <-k.more:
		case <-deadline:
			tr.f.t.Fatalf("%s: %d of %d accepted events have not arrived after %s\n%s", what, k.missing(tr.accepted), len(tr.accepted), patience, tr.f.logs())
		}
	}
	tr.f.t.Logf("%s: %d accepted, %d refused, none lost, %d arrived twice, the slowest %s after its answer",
		what, len(tr.accepted), tr.refused.Load(), k.duplicates(), tr.late(k).Round(time.Millisecond))
}
