package outbound

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay/integration"
)

// dev is a client that reaches the stand-ins on this machine.
func dev(t testing.TB, change ...func(*Options)) *Client {
	o := Options{Guard: Guard{AllowLoopback: true}, Version: "1.2.3"}
	for _, f := range change {
		f(&o)
	}
	c := New(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// serve runs a server that speaks in raw bytes. handle gets each connection, and n, its number from 0.
func serve(t testing.TB, handle func(n int, c net.Conn, br *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Add(1)
	go func() {
		defer wg.Done()
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				handle(n, c, bufio.NewReader(c))
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// readRequest reads a request with its body; nil at the end of the connection.
func readRequest(br *bufio.Reader) *http.Request {
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return r
}

// always answers every request on every connection with the same bytes, and closes.
func always(t testing.TB, answer string) string {
	return serve(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if readRequest(br) != nil {
			io.WriteString(c, answer)
		}
	})
}

func post(url string) *integration.Request {
	r := &integration.Request{Method: "POST", URL: url, Body: []byte(`{"a":1}`)}
	r.Header.Add("Content-Type", "application/json")
	return r
}

// What net/http's server sees is what was meant, and what it answers is what comes back.
func TestExchange(t *testing.T) {
	type seen struct {
		Method, URI, Host, Body string
		Header                  http.Header
	}
	var got seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = seen{r.Method, r.RequestURI, r.Host, string(b), r.Header}
		w.Header().Set("X-Answer", "yes")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(503)
		io.WriteString(w, "busy")
	}))
	defer server.Close()
	c := dev(t)
	host := strings.TrimPrefix(server.URL, "http://")

	r := post("http://us%40er:p%3Aw@" + host + "/a%2Fb/ü/%2E%2E/x?q=a b&ü=%2e")
	r.Header.Add("X-Twice", "1")
	r.Header.Add("X-Twice", " 2 ")
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	want := seen{"POST", "/a%2Fb/%C3%BC/%2E%2E/x?q=a%20b&%C3%BC=%2e", host, `{"a":1}`, http.Header{
		"Authorization": {"Basic dXNAZXI6cDp3"}, "Content-Length": {"7"}, "Content-Type": {"application/json"},
		"User-Agent": {"Patchbay/1.2.3"}, "X-Twice": {"1", "2"},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	if resp.Status != 503 || string(resp.Body) != "busy" || resp.Header.Get("x-answer") != "yes" || resp.RetryAfter != 7*time.Second || resp.Truncated {
		t.Errorf("response %+v", resp)
	}

	for _, method := range []string{"GET", "HEAD", "DELETE", "PUT", "PATCH"} {
		r := &integration.Request{Method: method, URL: server.URL + "?"}
		r.Header.Add("user-agent", "Mine/1")
		resp, err := c.Do(t.Context(), r)
		if err != nil || resp.Status != 503 {
			t.Errorf("%s: %v %v", method, resp, err)
			continue
		}
		if (len(resp.Body) == 0) != (method == "HEAD") {
			t.Errorf("%s: body %q", method, resp.Body)
		}
		if length := got.Header.Get("Content-Length"); (length == "0") != (method == "PUT" || method == "PATCH") {
			t.Errorf("%s: Content-Length %q", method, length)
		}
		if got.URI != "/?" || got.Header.Get("User-Agent") != "Mine/1" {
			t.Errorf("%s: %+v", method, got)
		}
	}
}

// Redirects are answers like any other.
func TestNoRedirects(t *testing.T) {
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	resp, err := dev(t).Do(t.Context(), post(server.URL))
	if err != nil || resp.Status != 307 || resp.Header.Get("Location") != "/elsewhere" || count.Load() != 1 {
		t.Errorf("%+v, %v after %d requests", resp, err, count.Load())
	}
}

// A request that would become another one is refused before anything is sent.
func TestRequestSmuggling(t *testing.T) {
	url := serve(t, func(_ int, _ net.Conn, _ *bufio.Reader) { t.Error("something was dialled") })
	header := func(name, value string) integration.Request {
		return integration.Request{Method: "POST", URL: url, Header: integration.Header{{Name: name, Value: value}}}
	}
	for _, r := range []integration.Request{
		header("X-A", "1\r\nX-B: 2"), header("X-A", "1\n"), header("X-A", "1\r"), header("X-A", "a\x00b"), header("X-A", "\x7f"),
		header("X-A\r\nX-B", "1"), header("X A", "1"), header("", "1"), header("X-A:", "1"), header("Ü", "1"),
		header("Host", "other"), header("Content-Length", "3"), header("Transfer-Encoding", "chunked"), header("connection", "close"),
		header("TE", "trailers"), header("Upgrade", "h2c"), header("Expect", "100-continue"), header("Keep-Alive", "1"), header("Trailer", "x"), header("Proxy-Connection", "x"),
		header("X-Big", strings.Repeat("x", maxRequestHead)),
		{Method: "GET /x HTTP/1.1\r\n", URL: url}, {Method: "", URL: url}, {Method: "G\r\nET", URL: url},
		{Method: "GET", URL: url + "/\r\nX: y"}, {Method: "GET", URL: url + "/" + strings.Repeat("x", maxURL)},
		{Method: "GET", URL: "ftp://127.0.0.1/"}, {Method: "GET", URL: "127.0.0.1"}, {Method: "GET", URL: "http:///x"}, {Method: "GET", URL: "http://127.0.0.1:0/"},
		{Method: "GET", URL: "http://127.0.0.1:99999/"}, {Method: "GET", URL: "file:///etc/passwd"}, {Method: "GET", URL: "unix:///x"},
	} {
		resp, err := dev(t).Do(t.Context(), &r)
		if !errors.Is(err, integration.ErrRefused) {
			t.Errorf("%+.60v: %v, %v, want a refusal", r, resp, err)
		}
	}
}

// Connections are used again while both sides agree, and only then.
func TestReuse(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		reuse  bool
	}{
		"length":              {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
		"no body":             {"HTTP/1.1 204 No Content\r\n\r\n", true},
		"no reason":           {"HTTP/1.1 204\r\n\r\n", true},
		"not modified":        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", true},
		"chunked":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Trailer: 1\r\n\r\n", true},
		"interim":             {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
		"bare line feeds":     {"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", true},
		"same length twice":   {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", true},
		"close":               {"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", false},
		"HTTP/1.0":            {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
		"something behind":    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Not Yours\r\n\r\n", false},
		"a body behind 204":   {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", false},
		"more than is wanted": {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789", false},
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int64
			url := serve(t, func(_ int, conn net.Conn, br *bufio.Reader) {
				connections.Add(1)
				for readRequest(br) != nil {
					io.WriteString(conn, c.answer)
				}
			})
			client := dev(t)
			for range 5 {
				r := post(url)
				r.Limit = 10
				if resp, err := client.Do(t.Context(), r); err != nil || resp.Status/100 == 5 || len(resp.Body) > 10 {
					t.Fatalf("%+v, %v", resp, err)
				}
			}
			if got, want := connections.Load(), map[bool]int64{true: 1, false: 5}[c.reuse]; got != want {
				t.Errorf("%d connections for 5 requests, want %d", got, want)
			}
		})
	}
}

// An answer that comes late, when nobody has asked for one, is never taken for the next request's.
func TestUnaskedAnswer(t *testing.T) {
	said := make(chan struct{}, 1)
	url := serve(t, func(n int, c net.Conn, br *bufio.Reader) {
		for readRequest(br) != nil {
			io.WriteString(c, "HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")
			if n == 0 {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				said <- struct{}{}
			}
		}
	})
	c := dev(t)
	if resp, err := c.Do(t.Context(), post(url)); err != nil || resp.Status != 503 {
		t.Fatal(resp, err)
	}
	<-said
	if resp, err := c.Do(t.Context(), post(url)); err != nil || resp.Status != 503 {
		t.Errorf("%+v, %v: a 200 that belongs to no request was delivered", resp, err)
	}
}

// A connection that the server closed while it was idle does not cost an attempt; one that it closes after having
// begun to answer, or a new one, does.
func TestStaleConnection(t *testing.T) {
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	t.Run("closed while idle", func(t *testing.T) {
		closed := make(chan struct{}, 10)
		url := serve(t, func(_ int, c net.Conn, br *bufio.Reader) {
			readRequest(br)
			io.WriteString(c, answer)
			c.Close()
			closed <- struct{}{}
		})
		c := dev(t)
		for range 3 {
			if _, err := c.Do(t.Context(), post(url)); err != nil {
				t.Fatal(err)
			}
			<-closed
		}
	})
	// With the look at idle connections taken away, as when the close is on its way while the request is sent.
	for name, c := range map[string]struct {
		second string // what the server does with the second request on a connection
		reset  bool
		ok     bool
	}{
		"closed unseen":        {"", false, true},
		"reset unseen":         {"", true, true},
		"closed after a byte":  {"H", false, false},
		"closed after a third": {"HTTP/1.1 200 OK\r\nContent-Le", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			url := serve(t, func(_ int, conn net.Conn, br *bufio.Reader) {
				if readRequest(br) == nil {
					return
				}
				requests.Add(1)
				io.WriteString(conn, answer)
				if readRequest(br) == nil {
					return
				}
				requests.Add(1)
				io.WriteString(conn, c.second)
				if c.reset {
					conn.(*net.TCPConn).SetLinger(0)
				}
			})
			client := dev(t)
			if _, err := client.Do(t.Context(), post(url)); err != nil {
				t.Fatal(err)
			}
			client.pool.newest.raw = nil
			_, err := client.Do(t.Context(), post(url))
			if (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
			if want := map[bool]int64{true: 3, false: 2}[c.ok]; requests.Load() != want {
				t.Errorf("%d requests, want %d", requests.Load(), want)
			}
		})
	}
	t.Run("new connection", func(t *testing.T) {
		var requests atomic.Int64
		url := serve(t, func(_ int, _ net.Conn, br *bufio.Reader) {
			readRequest(br)
			requests.Add(1)
		})
		_, err := dev(t).Do(t.Context(), post(url))
		if err == nil || err.Error() != "the connection was closed before an answer came" || requests.Load() != 1 {
			t.Errorf("%v after %d requests", err, requests.Load())
		}
	})
}

// Cancelling returns at once, says so, and leaves no connection behind that could be used.
func TestCancel(t *testing.T) {
	got := make(chan struct{}, 1)
	url := serve(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readRequest(br)
		got <- struct{}{}
		io.Copy(io.Discard, c)
	})
	c := dev(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-got; cancel() }()
	_, err := c.Do(ctx, post(url))
	if !errors.Is(err, context.Canceled) || err.Error() != "the request was cancelled" || c.pool.idle() != 0 {
		t.Errorf("%v, %d idle", err, c.pool.idle())
	}
	if _, err := c.Do(ctx, post(url)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
}

// The errors of connecting are sentences too.
func TestConnectErrors(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := l.Addr().String()
	l.Close()
	dns := &fakeDNS{answers: map[string][][]string{}}
	c := dev(t, func(o *Options) { o.Resolver = dns })
	for url, want := range map[string]string{
		"http://" + dead + "/p?q":     "connection refused",
		"http://nowhere.test/p?q":     "the name does not resolve",
		"http://10.1.2.3/p?q":         "10.1.2.3 is a private address, which this installation does not send to; its operator can open it with --egress-allow",
		"http://[64:ff9b::a01:203]/p": "64:ff9b::a01:203 is an IPv4 address inside an IPv6 one (NAT64), which this installation does not send to; its operator can open it with --egress-allow",
	} {
		_, err := c.Do(t.Context(), post(url))
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	if _, err := c.Dial(t.Context(), "tcp", "10.1.2.3:25"); !errors.Is(err, integration.ErrRefused) {
		t.Errorf("Dial: %v", err)
	}
	for _, bad := range []struct{ network, address string }{{"udp", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}, {"unix", "/tmp/x:1"}, {"tcp", "127.1:25"}, {"tcp", "127.0.0.1:smtp"}} {
		if _, err := c.Dial(t.Context(), bad.network, bad.address); !errors.Is(err, integration.ErrRefused) {
			t.Errorf("Dial(%v): %v", bad, err)
		}
	}
	if _, err := c.Dial(t.Context(), "tcp", dead); err == nil || err.Error() != "connection refused" {
		t.Errorf("Dial: %v", err)
	}
}

// Idle connections are bounded per host and in all, age, and end with the client.
func TestPool(t *testing.T) {
	// Requests wait for each other on the server, so that all of them are in flight at once.
	burst := func(c *Client, url string, n int, gate *sync.WaitGroup) {
		gate.Add(n)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if _, err := c.Do(context.Background(), post(url)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	start := func(gate *sync.WaitGroup) string {
		return serve(t, func(_ int, conn net.Conn, br *bufio.Reader) {
			for readRequest(br) != nil {
				gate.Done()
				gate.Wait()
				io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			}
		})
	}
	var g1, g2 sync.WaitGroup
	u1, u2 := start(&g1), start(&g2)
	c := dev(t, func(o *Options) { o.MaxIdle, o.MaxIdlePerHost, o.IdleTimeout = 5, 3, 30*time.Second })
	burst(c, u1, 8, &g1)
	if n := c.pool.idle(); n != 3 {
		t.Errorf("%d idle, want 3 for one host", n)
	}
	burst(c, u2, 8, &g2)
	if n := c.pool.idle(); n != 5 {
		t.Errorf("%d idle, want 5 in all", n)
	}
	burst(c, u1, 1, &g1) // one of the two that u1 still has
	if n := c.pool.idle(); n != 5 {
		t.Errorf("%d idle, want 5", n)
	}
	c.pool.mu.Lock()
	for cn := c.pool.oldest; cn != nil && cn != c.pool.newest; cn = cn.newer {
		cn.idleSince = time.Now().Add(-time.Minute)
	}
	c.pool.mu.Unlock()
	c.pool.expire()
	if n := c.pool.idle(); n != 1 {
		t.Errorf("%d idle after the others' time, want 1", n)
	}
	c.Close()
	burst(c, u1, 2, &g1)
	if n := c.pool.idle(); n != 0 || len(c.pool.hosts) != 0 || c.pool.oldest != nil || c.pool.newest != nil || c.pool.timer != nil {
		t.Errorf("%d idle after Close: %+v", n, c.pool)
	}
}

// Many callers at once each get their own answer.
func TestConcurrent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	}))
	defer server.Close()
	c := dev(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				r := post(server.URL)
				r.Body = bytes.Repeat([]byte(fmt.Sprintf("%d-%d ", i, j)), 1+j*40)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				resp, err := c.Do(ctx, r)
				cancel()
				if err != nil || !bytes.Equal(resp.Body, r.Body) {
					t.Errorf("%d-%d: %v", i, j, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
