package outbound

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// forward is a proxy as a company has one: it tunnels, forwards, and wants a password.
type forward struct {
	mu    sync.Mutex
	lines []string
}

func (f *forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.lines = append(f.lines, r.Method+" "+r.RequestURI)
	f.mu.Unlock()
	if r.Header.Get("Proxy-Authorization") != "Basic dTpw" {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	to := r.Host
	if strings.HasPrefix(to, "only-the-proxy-knows.test") {
		to = "127.0.0.1" + strings.TrimPrefix(to, "only-the-proxy-knows.test")
	}
	up, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer up.Close()
	if r.Method != http.MethodConnect {
		r.Header.Del("Proxy-Authorization")
		r.Write(up)
		resp, err := http.ReadResponse(bufio.NewReader(up), r)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
		return
	}
	down, _, _ := w.(http.Hijacker).Hijack()
	defer down.Close()
	io.WriteString(down, "HTTP/1.1 200 Connected\r\n\r\n")
	go func() { io.Copy(up, down); up.(*net.TCPConn).CloseWrite() }()
	io.Copy(down, up)
}

// An explicit proxy is asked for the whole URL, or for a tunnel where TLS is wanted, with its password; the guard
// still holds for what can be known here, and the environment's proxies are ignored.
func TestProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("ALL_PROXY", "http://127.0.0.1:1")
	ca := newAuthority(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Error("the target sees the proxy's password")
		}
		io.WriteString(w, r.Host+r.RequestURI)
	})
	name := "only-the-proxy-knows.test"
	plain := httptest.NewServer(h)
	defer plain.Close()
	secure := secureServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(-time.Hour, time.Hour, name)}}, h)
	_, plainPort, _ := net.SplitHostPort(plain.Listener.Addr().String())
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())
	dns := &fakeDNS{answers: map[string][][]string{"internal.test": {{"10.0.0.1"}}}}

	if resp, err := dev(t).Do(t.Context(), post(plain.URL)); err != nil || resp.Status != 200 {
		t.Fatalf("without a proxy: %+v, %v", resp, err)
	}

	for _, over := range []string{"http", "https"} {
		f := &forward{}
		server := httptest.NewServer(f)
		if over == "https" {
			server.Close()
			server = secureServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(-time.Hour, time.Hour, "127.0.0.1")}}, f)
		}
		defer server.Close()
		u, err := ParseProxy(strings.Replace(server.URL, "://", "://u:p@", 1))
		if err != nil {
			t.Fatal(err)
		}
		c := New(Options{Proxy: u, RootCAs: ca.pool, Resolver: dns})
		defer c.Close()
		for range 2 {
			for _, target := range []string{"http://" + name + ":" + plainPort + "/a?b", "https://" + name + ":" + securePort + "/a?b"} {
				resp, err := c.Do(t.Context(), post(target))
				if err != nil || !strings.HasSuffix(string(resp.Body), "/a?b") {
					t.Fatalf("%s over %s: %+v, %v", target, over, resp, err)
				}
			}
		}
		want := []string{"POST http://" + name + ":" + plainPort + "/a?b", "CONNECT " + name + ":" + securePort, "POST http://" + name + ":" + plainPort + "/a?b"}
		if got := strings.Join(f.lines, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("the proxy saw\n%s", got)
		}
		for _, bad := range []string{"http://10.0.0.1/", "https://169.254.169.254/", "http://internal.test/", "http://0x7f.1/", "https://[::1]/"} {
			if _, err := c.Do(t.Context(), post(bad)); !errors.Is(err, integration.ErrRefused) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		u.User = url.UserPassword("u", "wrong")
		wrong := New(Options{Proxy: u, RootCAs: ca.pool, Resolver: dns})
		defer wrong.Close()
		if _, err := wrong.Do(t.Context(), post("https://"+name+":"+securePort)); err == nil || err.Error() != "the egress proxy refused the connection (407)" {
			t.Errorf("wrong password: %v", err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:3128", "socks5://h:1", "http://h/path", "http://h?x", "://"} {
		if _, err := ParseProxy(bad); err == nil {
			t.Errorf("ParseProxy(%q) is fine", bad)
		}
	}
	u, _ := url.Parse("http://127.0.0.1:1")
	gone := New(Options{Proxy: u, Resolver: dns})
	defer gone.Close()
	if _, err := gone.Do(t.Context(), post("https://example.test/")); err == nil || err.Error() != "the egress proxy could not be reached" {
		t.Errorf("dead proxy: %v", err)
	}
}
