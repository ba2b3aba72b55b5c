//go:build unix

package outbound

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/patchbay/patchbay/integration"
)

// sink answers every request with 200 at the least cost, so that a benchmark shows the client. It reads heads with a
// length and nothing else.
func sink(b *testing.B) string {
	return serve(b, func(_ int, c net.Conn, br *bufio.Reader) {
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\nok")
		prefix := []byte("Content-Length: ")
		for {
			length := 0
			for {
				line, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) <= 2 {
					break
				}
				if bytes.HasPrefix(line, prefix) {
					for _, c := range bytes.TrimSpace(line[len(prefix):]) {
						length = length*10 + int(c-'0')
					}
				}
			}
			br.Discard(length)
			c.Write(answer)
		}
	})
}

func webhookRequest(url string) *integration.Request {
	return &integration.Request{Method: "POST", URL: url + "/hooks/patchbay?x=y", Limit: 16 << 10, Body: bytes.Repeat([]byte("x"), 1000), Header: integration.Header{
		{Name: "Content-Type", Value: "application/json"}, {Name: "webhook-id", Value: "evt_01h2xcejqtf2n"}, {Name: "webhook-timestamp", Value: "1795348800"},
		{Name: "webhook-signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
	}}
}

// cpu reports what one operation costs the process, the sink included: on a busy machine the one figure that holds.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
			b.Fatal("getrusage")
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	b.ReportAllocs()
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/1e3/float64(b.N), "cpu-µs/op") }
}

// BenchmarkPost is one POST of 1 KB over a connection that is kept, the sink's work included.
func BenchmarkPost(b *testing.B) {
	url := sink(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.Run("client", func(b *testing.B) {
		c := dev(b)
		r := webhookRequest(url)
		defer cpu(b)()
		for b.Loop() {
			if resp, err := c.Do(ctx, r); err != nil || resp.Status != 200 {
				b.Fatal(err)
			}
		}
	})
	b.Run("attempt", func(b *testing.B) {
		c := dev(b)
		r := webhookRequest(url)
		red := NewRedactor([]string{"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"})
		defer cpu(b)()
		for b.Loop() {
			a := c.AttemptWith(red)
			if resp, err := a.Do(ctx, r); err != nil || resp.Status != 200 || a.Request() == nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		c := dev(b)
		defer cpu(b)()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			r := webhookRequest(url)
			for pb.Next() {
				if resp, err := c.Do(ctx, r); err != nil || resp.Status != 200 {
					b.Fatal(err)
				}
			}
		})
	})
	standard := func(c *http.Client) {
		r, _ := http.NewRequestWithContext(ctx, "POST", url+"/hooks/patchbay?x=y", bytes.NewReader(webhookRequest(url).Body))
		for _, h := range webhookRequest(url).Header {
			r.Header.Set(h.Name, h.Value)
		}
		resp, err := c.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	b.Run("net/http", func(b *testing.B) {
		t := &http.Transport{MaxIdleConnsPerHost: 64}
		defer t.CloseIdleConnections()
		defer cpu(b)()
		for b.Loop() {
			standard(&http.Client{Transport: t})
		}
	})
	b.Run("net/http parallel", func(b *testing.B) {
		t := &http.Transport{MaxIdleConnsPerHost: 64}
		defer t.CloseIdleConnections()
		defer cpu(b)()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				standard(&http.Client{Transport: t})
			}
		})
	})
	// What the sink and the system cost: the same bytes without any client.
	b.Run("bare", func(b *testing.B) {
		nc, err := net.Dial("tcp", url[len("http://"):])
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		c := dev(b)
		r := webhookRequest(url)
		tt, _ := parseTarget(r.URL)
		wire := append(c.appendHead(nil, &tt, r, nil), r.Body...)
		buf := make([]byte, 4096)
		defer cpu(b)()
		for b.Loop() {
			nc.Write(wire)
			if _, err := nc.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseTarget(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseTarget("https://hooks.example.com/a/b?x=y"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRedactor(b *testing.B) {
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			NewRedactor([]string{"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"})
		}
	})
	b.Run("8 KiB", func(b *testing.B) {
		r := NewRedactor([]string{"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"})
		text := string(bytes.Repeat([]byte(`{"key":"value"},`), 512))
		for b.Loop() {
			r.Redact(text)
		}
	})
}
