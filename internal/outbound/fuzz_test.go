package outbound

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/integration"
)

// Whatever the reader accepts, net/http reads in the same way; and it never reads past what it should or takes more
// memory than is wanted.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 200\r\n\r\nto the end",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Trailer: 1\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\nX: y\n\nz", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "HTTP/1.1 503 Down\r\nRetry-After: 5\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "HTTP/1.1 101 S\r\n\r\n",
		"HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n00000\r\n\r\n",
	} {
		for _, method := range []string{"POST", "HEAD"} {
			f.Add([]byte(s), method == "HEAD", 100)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, head bool, limit int) {
		if limit < 1 || limit > integration.MaxResponse {
			limit = integration.MaxResponse
		}
		method := "POST"
		if head {
			method = "HEAD"
		}
		mem := newBudget(bodyMemory)
		br := bufio.NewReaderSize(bytes.NewReader(data), bufferSize)
		a, _, started, err := readAnswer(br, nil, method, limit, mem)
		if mem.left.Load() != bodyMemory {
			t.Fatal("memory is not given back")
		}
		if started != (len(data) > 0) {
			t.Fatalf("started is %v", started)
		}
		if err != nil {
			return
		}
		if len(a.Body) > limit || cap(a.Body) > max(2*len(a.Body), firstBody) || a.Truncated != (len(a.Body) == limit && a.Truncated) {
			t.Fatalf("%d bytes (capacity %d) of at most %d", len(a.Body), cap(a.Body), limit)
		}
		std := bufio.NewReader(bytes.NewReader(data))
		var resp *http.Response
		for {
			resp, err = http.ReadResponse(std, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("net/http refuses it: %v", err)
			}
			if resp.StatusCode >= 200 {
				break
			}
		}
		if resp.StatusCode != a.Status {
			t.Fatalf("status %d, net/http says %d", a.Status, resp.StatusCode)
		}
		for _, h := range a.Header {
			switch strings.ToLower(h.Name) {
			case "transfer-encoding", "content-length", "trailer", "connection": // net/http keeps these to itself
			default:
				if len(resp.Header.Values(h.Name)) == 0 {
					t.Fatalf("net/http does not see %q", h.Name)
				}
			}
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil && !a.Truncated {
			t.Fatalf("net/http cannot read the body: %v", err)
		}
		if a.Truncated {
			if len(body) > len(a.Body) {
				body = body[:len(a.Body)]
			}
		}
		if !bytes.Equal(body, a.Body) {
			t.Fatalf("body %q, net/http says %q", a.Body, body)
		}
		if a.reusable && (resp.Close || std.Buffered() > 0) {
			t.Fatalf("it would use a connection again that net/http would not: close %v, %d bytes behind", resp.Close, std.Buffered())
		}
	})
}

// Whatever a URL looks like: what is dialled is what url.Parse says, and the request that is written is one request
// for that host and path.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{"http://a.test/", "https://u:p@a.test:8443/a%2Fb/ü?x=y z#f", "http://[::1]:80?", "http://a.test/\\@b/", "http://0x7f.1", "http://ü.test/%2e%2E/"} {
		f.Add(s, "POST", "X-A", "b", "body")
	}
	f.Add("http://a.test", "POST", "X-A", "b\r\nX-B: c", "body")
	f.Add("http://a.test", "P OST", "X-A:", "", "")
	c := New(Options{})
	f.Fuzz(func(t *testing.T, raw, method, name, value, body string) {
		tt, err := parseTarget(raw)
		if err != nil {
			return
		}
		r := &integration.Request{Method: method, URL: raw, Header: integration.Header{{Name: name, Value: value}}, Body: []byte(body)}
		if checkRequest(r) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		wire := append(c.appendHead(nil, &tt, r, nil), body...)
		br := bufio.NewReader(bytes.NewReader(wire))
		got, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("%q: %v", wire, err)
		}
		b, _ := io.ReadAll(got.Body)
		if string(b) != body && (body == "" || len(b) > 0) || br.Buffered() > 0 && body != string(b) {
			t.Fatalf("%q: body %q", wire, b)
		}
		if got.Method != method || got.Host != tt.host || strings.Trim(value, " \t") != strings.Join(got.Header.Values(name), "") && !strings.EqualFold(name, "Host") {
			t.Fatalf("%q: %q %q %q", wire, got.Method, got.Host, got.Header)
		}
		if len(got.Header) > 4 {
			t.Fatalf("%q: header %q", wire, got.Header)
		}
		if got.URL.Path != u.Path && !(u.Path == "" && got.URL.Path == "/") && method != "CONNECT" {
			t.Fatalf("%q: path %q, want %q", wire, got.URL.Path, u.Path)
		}
	})
}

// Nothing that is not a plain name gets as far as a resolver.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"a.test", "127.1", "0x7f.1", "2130706433", "①②⑦.0.0.1", "xn--a", "a..b", "::1", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		ascii, err := asciiHost(host)
		if err != nil {
			return
		}
		for i := range len(ascii) {
			if c := ascii[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("/?#@\\%", c) >= 0 {
				t.Fatalf("%q became %q", host, ascii)
			}
		}
	})
}
