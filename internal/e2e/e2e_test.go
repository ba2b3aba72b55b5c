// Package e2e tests the real binary from outside: started as an operator starts it, spoken to over HTTP, killed.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "patchbay-e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "patchbay")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/patchbay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the binary does not build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is a running patchbay.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	key  string
	logs *lockedBuffer
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serving finds the address in what serve prints.
var serving = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)

// start runs "patchbay serve" on a data directory and waits until it is ready.
func start(t *testing.T, data string, args ...string) *server {
	t.Helper()
	return startAt(t, freePort(t), data, args...)
}

// startAt is start on a port that the test must know before.
func startAt(t *testing.T, port, data string, args ...string) *server {
	t.Helper()
	s := &server{t: t, logs: &lockedBuffer{}, done: make(chan struct{}), url: "http://127.0.0.1:" + port}
	s.cmd = exec.Command(binary, append([]string{"serve", "--listen", "127.0.0.1:" + port, "--data", data}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.logs, s.logs
	s.cmd.Env = append(os.Environ(), "NO_COLOR=1")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(s.kill)
	deadline := time.After(patience)
	for {
		resp, err := http.Get(s.url + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return s
			}
		}
		select {
		case <-s.done:
			t.Fatalf("serve ended:\n%s", s.logs)
		case <-deadline:
			t.Fatalf("serve is not ready after 90 s:\n%s", s.logs)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l := httptest.NewServer(nil)
	defer l.Close()
	return serving.FindStringSubmatch(l.URL)[1][len("127.0.0.1:"):]
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// interrupt asks the server to stop and waits until it has.
func (s *server) interrupt() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("serve did not stop within 90 s:\n%s", s.logs)
	}
}

// call makes a request and returns status and body.
func (s *server) call(method, path, body string) (int, map[string]any) {
	s.t.Helper()
	status, out, err := s.try(context.Background(), method, path, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.logs)
	}
	return status, out
}

func (s *server) try(ctx context.Context, method, path, body string) (int, map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	return resp.StatusCode, out, nil
}

// sink receives webhooks and counts them by webhook-id.
type sink struct {
	*httptest.Server
	mu    sync.Mutex
	seen  map[string]int
	first map[string]time.Time
	pause time.Duration
	more  chan struct{}
}

// slow makes every answer take so long.
func (s *sink) slow(pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = pause
}

func newSink(t *testing.T) *sink {
	s := &sink{seen: map[string]int{}, first: map[string]time.Time{}, more: make(chan struct{}, 1)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		id := r.Header.Get("webhook-id")
		s.mu.Lock()
		if s.seen[id]++; s.seen[id] == 1 {
			s.first[id] = time.Now()
		}
		pause := s.pause
		s.mu.Unlock()
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
			}
		}
		select {
		case s.more <- struct{}{}:
		default:
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s
}

// missing returns how many of the ids have not arrived.
func (s *sink) missing(ids map[string]bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id := range ids {
		if s.seen[id] == 0 {
			n++
		}
	}
	return n
}

func (s *sink) duplicates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, times := range s.seen {
		n += times - 1
	}
	return n
}

// waitFor waits until every id has arrived.
func (s *sink) waitFor(t *testing.T, ids map[string]bool, patience time.Duration) {
	t.Helper()
	deadline := time.After(patience)
	for s.missing(ids) > 0 {
		select {
		case <-s.more:
		case <-deadline:
			t.Fatalf("%d of %d accepted events have not arrived after %s", s.missing(ids), len(ids), patience)
		}
	}
}

const push = `{"event_type":"repo.push","scope":"acme/repos/1","payload":%s}`

// pushPayload is the example of repo.push in the built-in catalog, so that it is valid whatever the catalog asks for.
func pushPayload(t *testing.T, s *server) string {
	t.Helper()
	resp, err := http.Get(s.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var types []struct {
		Key     string          `json:"key"`
		Example json.RawMessage `json:"example"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&types); err != nil {
		t.Fatal(err)
	}
	for _, et := range types {
		if et.Key == "repo.push" {
			return string(et.Example)
		}
	}
	t.Fatal("the catalog has no repo.push")
	return ""
}

// TestKillNine kills the server twenty times in the middle of traffic. Whatever was answered 201 must arrive, and only
// what was in flight may arrive twice.
func TestKillNine(t *testing.T) {
	const kills, publishers = 20, 8
	sink := newSink(t)
	data := t.TempDir()
	s := start(t, data, "--dev")
	body := fmt.Sprintf(push, pushPayload(t, s))
	status, link := s.call("POST", "/v1/links", `{"integration":"webhook","scope":"acme","events":["repo.*"],"settings":{"url":"`+sink.URL+`"}}`)
	if status != 201 {
		t.Fatalf("the link was not made: %d %v", status, link)
	}

	accepted := map[string]bool{}
	var mu sync.Mutex
	for kill := range kills {
		ctx, cancel := context.WithCancel(context.Background())
		enough := make(chan struct{})
		var wg sync.WaitGroup
		target := 30 + 37*kill%200 // die after a different number of answers each time
		var once sync.Once
		var n int
		for range publishers {
			wg.Go(func() {
				for ctx.Err() == nil {
					status, answer, err := s.try(ctx, "POST", "/events", body)
					if err != nil || status != 201 {
						if ctx.Err() == nil && err == nil {
							t.Errorf("an event was answered %d: %v", status, answer)
						}
						once.Do(func() { close(enough) })
						return
					}
					mu.Lock()
					accepted[answer["id"].(string)] = true
					if n++; n == target {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		s.kill()
		cancel()
		wg.Wait()
		s = start(t, data, "--dev")
	}
	sink.waitFor(t, accepted, patience)
	// In flight at one kill: at most the link's concurrency, and what 20 ms of results had not been written down.
	duplicates := sink.duplicates()
	t.Logf("%d events accepted over %d kills, none lost, %d arrived twice", len(accepted), kills, duplicates)
	if most := len(accepted) / 2; duplicates > most {
		t.Errorf("%d of %d events arrived twice; only what was in flight may", duplicates, len(accepted))
	}
}

// TestGracefulStop stops the server in the middle of traffic: nothing is lost, and nothing arrives twice.
func TestGracefulStop(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt signal to send on Windows")
	}
	sink := newSink(t)
	data := t.TempDir()
	s := start(t, data, "--dev")
	body := fmt.Sprintf(push, pushPayload(t, s))
	s.call("POST", "/v1/links", `{"integration":"webhook","scope":"acme","events":["*"],"settings":{"url":"`+sink.URL+`"}}`)
	accepted := map[string]bool{}
	var mu sync.Mutex
	for range 3 {
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		hundred := make(chan struct{})
		var once sync.Once
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					status, answer, err := s.try(ctx, "POST", "/events", body)
					if err != nil || status != 201 {
						return
					}
					mu.Lock()
					accepted[answer["id"].(string)] = true
					if len(accepted)%100 == 0 {
						once.Do(func() { close(hundred) })
					}
					mu.Unlock()
				}
			})
		}
		<-hundred
		s.interrupt()
		cancel()
		wg.Wait()
		s = start(t, data, "--dev")
	}
	sink.waitFor(t, accepted, patience)
	if n := sink.duplicates(); n > 0 {
		t.Errorf("%d events arrived twice although every stop was a graceful one", n)
	}
}
