package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// link makes a link and returns its identifier.
func (s *server) link(body string) string {
	s.t.Helper()
	status, answer := s.call("POST", "/v1/links", body)
	if status != 201 {
		s.t.Fatalf("the link %s was not made: %d %v", body, status, answer)
	}
	return answer["id"].(string)
}

// publish has an event of the test type accepted, and returns its identifier.
func (s *server) publish(scope, payload string) string {
	s.t.Helper()
	status, answer := s.call("POST", "/events", fmt.Sprintf(`{"event_type":"integration_test","scope":%q,"payload":%s}`, scope, payload))
	if status != 201 {
		s.t.Fatalf("an event was answered %d: %v", status, answer)
	}
	return answer["id"].(string)
}

// first waits until the newest delivery over a link is as wanted.
func (s *server) first(link string, patience time.Duration, wanted func(map[string]any) bool) map[string]any {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		var last any
		_, list := s.call("GET", "/v1/deliveries?link="+url.QueryEscape(link), "")
		if data, _ := list["data"].([]any); len(data) > 0 {
			d := data[0].(map[string]any)
			if _, full := s.call("GET", "/v1/deliveries/"+d["id"].(string), ""); wanted(full) {
				return full
			}
			last = d
		}
		select {
		case <-deadline:
			s.t.Fatalf("the delivery over %s is not as it should be after %s: %v\n%s", link, patience, last, s.logs)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func attempted(d map[string]any) bool { return d["attempt_count"].(float64) > 0 }

// peak is the most memory that the server has had, in MB; 0 where that cannot be told.
func (s *server) peak() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb >> 10
		}
	}
	return 0
}

// rawPartner serves connections as play does, which is called after a request's head was read.
func rawPartner(t *testing.T, address string, play func(ctx context.Context, c net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			owned.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					play(ctx, c)
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		owned.Wait()
	})
	return l
}

func hang(ctx context.Context, _ net.Conn) { <-ctx.Done() }

// TestBadPartners has partners that do everything wrong beside one that works.
func TestBadPartners(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "--dev")
	answer := func(text string) func(context.Context, net.Conn) {
		return func(_ context.Context, c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	bad := map[string]struct {
		play    func(context.Context, net.Conn)
		verdict string
	}{
		"never answers": {hang, "retry"},
		"one byte a second": {func(ctx context.Context, c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Second):
				}
			}
		}, "retry"},
		"closes in the middle": {answer("HTTP/1.1 200 OK\r\nContent-Le"), "retry"},
		"closes in the body":   {answer("HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nhalf"), "retry"},
		"garbage headers":      {answer("\x00\x01\xff\xfe HTTP/1.1 200 \x00\r\nX\x00: \xff\r\n\r\n"), "retry"},
		"100 MB": {func(_ context.Context, c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 500 No\r\nContent-Length: 104857600\r\n\r\n")
			block := []byte(strings.Repeat("x", 1<<20))
			for range 100 {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}, "retry"},
	}
	ids := map[string]string{}
	for name, b := range bad {
		l := rawPartner(t, "127.0.0.1:0", b.play)
		ids[name] = s.link(fmt.Sprintf(`{"integration":"webhook","scope":"acme","events":["*"],"retry":{"schedule":["1h"]},"settings":{"url":"http://%s/"}}`, l.Addr()))
	}
	sink := newSink(t)
	s.link(`{"integration":"webhook","scope":"acme","events":["*"],"settings":{"url":"` + sink.URL + `"}}`)
	event := s.publish("acme", "{}")
	sink.waitFor(t, map[string]bool{event: true}, patience)
	for name, b := range bad {
		d := s.first(ids[name], patience, attempted)
		a := d["attempts"].([]any)[0].(map[string]any)
		if a["verdict"] != b.verdict || a["error"] == nil || d["state"] != "pending" {
			t.Errorf("a partner that does this (%s): the delivery is %v, its attempt %v", name, d["state"], a)
		}
		if body, _ := a["response_body"].(string); len(body) > 8<<10 {
			t.Errorf("of a partner that does this (%s) %d bytes are kept", name, len(body))
		}
		t.Logf("%s: %v", name, a["error"])
	}
	if mb := s.peak(); mb > 300 {
		t.Errorf("the server took %d MB", mb)
	}
}

// addresses returns n URLs with different hosts, all of which lead to one port.
func addresses(l net.Listener, n int) []string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("http://127.1.%d.%d:%s/", i/250, 1+i%250, port)
	}
	return out
}

// manyLinks makes a link for each address, in a scope of its own tenant.
func (s *server) manyLinks(urls []string, scope string) {
	s.t.Helper()
	next := make(chan string)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for u := range next {
				status, answer, err := s.try(context.Background(), "POST", "/v1/links",
					fmt.Sprintf(`{"integration":"webhook","scope":%q,"events":["*"],"settings":{"url":%q}}`, scope, u))
				if err != nil || status != 201 {
					s.t.Errorf("a link was not made: %v %d %v", err, status, answer)
				}
			}
		})
	}
	for _, u := range urls {
		next <- u
	}
	close(next)
	wg.Wait()
}

// latencies publishes events one after the other and returns how long each took until it arrived, sorted.
func latencies(t *testing.T, s *server, sink *sink, scope string, n int) []time.Duration {
	t.Helper()
	var out []time.Duration
	for range n {
		began := time.Now()
		sink.waitFor(t, map[string]bool{s.publish(scope, "{}"): true}, patience)
		out = append(out, time.Since(began))
	}
	slices.Sort(out)
	return out
}

// TestHangingLinks has a thousand links that hang beside one that works, is stopped in the middle of that, and goes on.
func TestHangingLinks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8, which stands for a thousand hosts here")
	}
	t.Parallel()
	data := t.TempDir()
	s := start(t, data, "--dev", "--grace", "1s")
	sink := newSink(t)
	s.link(`{"integration":"webhook","scope":"healthy","events":["*"],"settings":{"url":"` + sink.URL + `"}}`)
	const n = 200
	latencies(t, s, sink, "healthy", 20)
	alone := latencies(t, s, sink, "healthy", n)

	s.manyLinks(addresses(rawPartner(t, "0.0.0.0:0", hang), 1000), "hanging")
	for range 3 {
		s.publish("hanging", "{}")
	}
	beside := latencies(t, s, sink, "healthy", n)
	t.Logf("alone p50 %s p99 %s; beside 1,000 hanging links p50 %s (×%.1f) p99 %s (×%.1f); peak memory %d MB",
		alone[n/2], alone[n*99/100], beside[n/2], float64(beside[n/2])/float64(alone[n/2]),
		beside[n*99/100], float64(beside[n*99/100])/float64(alone[n*99/100]), s.peak())
	if beside[n/2] > max(20*alone[n/2], 2*time.Second) {
		t.Errorf("beside hanging links half of the deliveries took more than %s, alone %s", beside[n/2], alone[n/2])
	}
	s.interrupt()
	s = start(t, data, "--dev", "--grace", "1s")
	latencies(t, s, sink, "healthy", 5)
	if extra := sink.duplicates(); extra > 0 {
		t.Errorf("%d events of the healthy link arrived twice, though the stop was a graceful one", extra)
	}
	_, list := s.call("GET", "/v1/deliveries?scope=hanging&state=failed,cancelled,succeeded", "")
	if found, _ := list["data"].([]any); len(found) > 0 {
		t.Errorf("deliveries of hanging links have ended: %v", found[0])
	}
	s.interrupt()
}

// TestDeadLinks sends to two thousand links of which a few work.
func TestDeadLinks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8, which stands for many hosts here")
	}
	t.Parallel()
	s := start(t, t.TempDir(), "--dev", "--grace", "1s")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := addresses(closed, 1900)
	closed.Close()
	s.manyLinks(dead, "acme")
	var arrived atomic.Int32
	all := make(chan struct{})
	const working, events = 100, 5
	partner := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if arrived.Add(1) == working*events {
			close(all)
		}
	}), ReadHeaderTimeout: time.Minute}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var owned sync.WaitGroup
	owned.Go(func() { _ = partner.Serve(l) })
	t.Cleanup(func() { partner.Close(); owned.Wait() })
	urls := make([]string, working)
	for i := range urls {
		urls[i] = fmt.Sprintf("http://%s/%d", l.Addr(), i)
	}
	s.manyLinks(urls, "acme")
	began := time.Now()
	for range events {
		s.publish("acme", "{}")
	}
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Fatalf("%d of %d deliveries of links that work arrived beside 1,900 dead ones\n%s", arrived.Load(), working*events, s.logs)
	}
	t.Logf("%d deliveries over links that work took %s beside those of 1,900 dead ones; peak memory %d MB", working*events, time.Since(began), s.peak())
	s.interrupt()
}

// commits counts the writer's transactions.
func (s *server) commits() (n float64) {
	s.t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if found, _ := fmt.Sscanf(line, "patchbay_store_commits_total %g", &n); found == 1 {
			return n
		}
	}
	s.t.Fatal("the metrics have no patchbay_store_commits_total")
	return 0
}

// TestPauseABacklog pauses and resumes a link for which 20,000 deliveries wait.
func TestPauseABacklog(t *testing.T) {
	t.Parallel()
	const n = 20_000
	var open atomic.Bool
	sink := newSink(t)
	inner := sink.Config.Handler
	sink.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() {
			w.Header().Set("Retry-After", "3600") // throttled: everything stays in the queue
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		inner.ServeHTTP(w, r)
	})
	s := start(t, t.TempDir(), "--dev")
	link := s.link(`{"integration":"webhook","scope":"acme","events":["*"],"concurrency":64,"settings":{"url":"` + sink.URL + `"}}`)
	ids := map[string]bool{}
	s.publish("acme", "{}") // this one keeps its hour
	s.first(link, patience, attempted)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var asked atomic.Int32
	for range 64 {
		wg.Go(func() {
			for asked.Add(1) <= n {
				status, answer, err := s.try(context.Background(), "POST", "/events", `{"event_type":"integration_test","scope":"acme","payload":{}}`)
				if err != nil || status != 201 {
					t.Errorf("an event was answered %v %d %v", err, status, answer)
					return
				}
				mu.Lock()
				ids[answer["id"].(string)] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	before, began := s.commits(), time.Now()
	if status, answer := s.call("POST", "/v1/links/"+link+"/pause", ""); status != 200 || answer["state"] != "paused" {
		t.Fatalf("the pause was answered %d %v", status, answer)
	}
	took, writes := time.Since(began), s.commits()-before
	if writes > 20 { // the pause itself is one; others may fall into the same time
		t.Errorf("pausing a link with %d deliveries took %v transactions", n, writes)
	}
	s.first(link, patience, func(d map[string]any) bool { return d["state"] == "held" })
	open.Store(true)
	began = time.Now()
	if status, answer := s.call("POST", "/v1/links/"+link+"/resume", ""); status != 200 || answer["state"] != "active" {
		t.Fatalf("the resume was answered %d %v", status, answer)
	}
	resumed := time.Since(began)
	sink.waitFor(t, ids, patience)
	t.Logf("%d deliveries: paused in %s with %v transactions, resumed in %s, delivered after %s; peak memory %d MB",
		len(ids), took, writes, resumed, time.Since(began), s.peak())
	if mb := s.peak(); mb > 500 {
		t.Errorf("the server took %d MB", mb)
	}
	s.interrupt()
}

// refused runs serve, which must end with an error that says one of the words.
func refused(t *testing.T, data string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := command(ctx, "serve", "--dev", "--listen", "127.0.0.1:0", "--data", data).CombinedOutput()
	if err == nil {
		t.Fatalf("serve ended without an error:\n%s", out)
	}
	if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(out), w) }) || strings.Contains(string(out), "goroutine ") {
		t.Errorf("serve said this, which should be a sentence with one of %q:\n%s", words, out)
	}
	t.Logf("%s", out)
}

func TestUnusableData(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := start(t, data, "--dev")
	sink := newSink(t)
	s.link(`{"integration":"webhook","scope":"acme","events":["*"],"settings":{"url":"` + sink.URL + `"}}`)
	for range 50 {
		s.publish("acme", `{"pad":"`+strings.Repeat("x", 10_000)+`"}`)
	}
	refused(t, data, "in use by process")
	s.interrupt()

	good, err := os.ReadFile(filepath.Join(data, "patchbay.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		words  []string
	}{
		{"not a database", func([]byte) []byte { return []byte(strings.Repeat("garbage ", 1000)) }, []string{"not an SQLite database"}},
		{"newer", func(b []byte) []byte { b[60], b[61], b[62], b[63] = 0, 0, 3, 231; return b }, []string{"newer version of Patchbay"}},
		{"damaged", func(b []byte) []byte {
			for i := 8192; i < 10*8192 && i < len(b); i++ {
				b[i] ^= 0xa5
			}
			return b
		}, []string{"damaged"}},
		{"cut", func(b []byte) []byte { return b[:len(b)/2] }, []string{"damaged"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := t.TempDir()
			if err := os.WriteFile(filepath.Join(data, "patchbay.db"), c.change(slices.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, data, c.words...)
		})
	}
	start(t, data, "--dev").interrupt() // the good one still is
}
