package outbound

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// What servers do wrong becomes a short sentence.
func TestBadAnswers(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct{ answer, want string }{
		{"", "the connection was closed before an answer came"},
		{"HTTP/1.1 200", "the connection was closed in the middle of the answer"},
		{ok + "Content-Length: 5\r\n\r\nabc", "the connection was closed in the middle of the answer"},
		{ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "the connection was closed in the middle of the answer"},
		{ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "the connection was closed in the middle of the answer"},
		{"hello\r\n\r\n", errGarbled.text},
		{"\r\nHTTP/1.1 200 OK\r\n\r\n", errGarbled.text},
		{"HTTP/2.0 200 OK\r\n\r\n", errGarbled.text},
		{"HTTP/1.1 2000 OK\r\n\r\n", errGarbled.text},
		{"HTTP/1.1 20 OK\r\n\r\n", errGarbled.text},
		{"HTTP/1.1 -20 OK\r\n\r\n", errGarbled.text},
		{"HTTP/1.1 099 OK\r\n\r\n", errGarbled.text},
		{ok + "no colon\r\n\r\n", errGarbled.text},
		{ok + "X : space before the colon\r\n\r\n", errGarbled.text},
		{ok + "X: 1\r\n folded\r\n\r\n", errGarbled.text},
		{ok + "X: a\x00b\r\n\r\n", errGarbled.text},
		{ok + "X: a\rContent-Length: 3\r\n\r\n", errGarbled.text},
		{ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", errAmbiguous.text},
		{ok + "Content-Length: 3, 3\r\n\r\nabc", errAmbiguous.text},
		{ok + "Content-Length: +3\r\n\r\nabc", errAmbiguous.text},
		{ok + "Content-Length: 0x3\r\n\r\nabc", errAmbiguous.text},
		{ok + "Content-Length: \r\n\r\nabc", errAmbiguous.text},
		{ok + "Content-Length: 99999999999999999999\r\n\r\nabc", errAmbiguous.text},
		{ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", errAmbiguous.text},
		{ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", errTransfer.text},
		{ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", errTransfer.text},
		{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", errTransfer.text},
		{ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n", errGarbled.text},
		{ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", errGarbled.text},
		{ok + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", errGarbled.text},
		{ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", errGarbled.text},
		{ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabcd", errGarbled.text},
		{ok + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 500) + "\r\na\r\n0\r\n\r\n", errGarbled.text},
		{ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nnot a trailer\r\n\r\n", errGarbled.text},
		{ok + "X: " + strings.Repeat("x", maxHead) + "\r\n\r\n", errHeaderTooLong.text},
		{ok + strings.Repeat("X: x\r\n", maxFields+1) + "\r\n", errHeaderTooLong.text},
		{strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20) + ok + "\r\n", errGarbled.text},
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", errUpgraded.text},
	} {
		resp, err := dev(t).Do(t.Context(), post(always(t, c.answer)+"/private?token=private"))
		if err == nil || err.Error() != c.want {
			t.Errorf("%.80q: %+v, %v, want %q", c.answer, resp, err, c.want)
		}
	}
}

// Whatever a server sends, no more than is wanted is read, and the connection is closed on the rest.
func TestHugeBodies(t *testing.T) {
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for name, head := range map[string]string{
		"length":  "Content-Length: 104857600\r\n\r\n",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n",
		"close":   "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			done := make(chan struct{})
			url := serve(t, func(_ int, c net.Conn, br *bufio.Reader) {
				defer close(done)
				readRequest(br)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
				for range 1600 {
					if name == "chunked" {
						fmt.Fprintf(c, "%x\r\n", len(chunk))
					}
					n, err := c.Write(chunk)
					sent.Add(int64(n))
					if err != nil {
						return
					}
					if name == "chunked" {
						io.WriteString(c, "\r\n")
					}
				}
			})
			c := dev(t)
			resp, err := c.Do(t.Context(), post(url))
			if err != nil || len(resp.Body) != integration.MaxResponse || !resp.Truncated {
				t.Fatalf("%v, %d bytes", err, len(resp.Body))
			}
			<-done
			if sent.Load() > 32<<20 {
				t.Errorf("%d bytes were taken", sent.Load())
			}
			if c.pool.idle() != 0 || c.memory.left.Load() != bodyMemory {
				t.Errorf("%d idle connections, %d bytes left", c.pool.idle(), c.memory.left.Load())
			}
		})
	}
}

// A body of exactly what is wanted is whole, one byte more is not.
func TestBodyLimit(t *testing.T) {
	for _, size := range []int{0, 1, 99, 100, 101, 5000} {
		for _, head := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n", size), "\r\n", "Transfer-Encoding: chunked\r\n\r\n"} {
			text := strings.Repeat("x", size)
			if strings.HasPrefix(head, "T") {
				text = "0\r\n\r\n"
				if size > 0 {
					text = fmt.Sprintf("%x\r\n%s\r\n%s", size, strings.Repeat("x", size), text)
				}
			}
			r := post(always(t, "HTTP/1.1 200 OK\r\n"+head+text))
			r.Limit = 100
			resp, err := dev(t).Do(t.Context(), r)
			if err != nil || len(resp.Body) != min(size, 100) || resp.Truncated != (size > 100) {
				t.Errorf("%d bytes, %q: %d bytes, truncated %v, %v", size, head, len(resp.Body), resp.Truncated, err)
			}
		}
	}
}

// When large bodies have used up what they share, an answer is cut rather than more memory taken.
func TestSharedMemory(t *testing.T) {
	c := dev(t)
	c.memory = newBudget(integration.MaxResponse - 1)
	url := always(t, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 200<<10))
	resp, err := c.Do(t.Context(), post(url))
	if err != nil || !resp.Truncated || len(resp.Body) > freeBody || len(resp.Body) < freeBody/2 {
		t.Errorf("%v: %d bytes", err, len(resp.Body))
	}
	if c.memory.left.Load() != integration.MaxResponse-1 {
		t.Errorf("%d bytes left", c.memory.left.Load())
	}
}

// A server that hangs, or sends a byte now and then in header or body, holds a caller for the timeout and no longer.
func TestSlowServers(t *testing.T) {
	drip := func(c net.Conn, head, text string) {
		io.WriteString(c, head)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			<-tick.C
		}
	}
	for name, handle := range map[string]func(c net.Conn){
		"silent":          func(c net.Conn) { io.Copy(io.Discard, c) },
		"slow header":     func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\n", "x") },
		"endless interim": func(c net.Conn) { drip(c, "HTTP/1.1 100 Continue\r\n", "X: x\r\n") },
		"slow body":       func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x") },
		"slow close":      func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\n\r\n", "x") },
		"slow chunks":     func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n") },
		"slow trailer":    func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: x\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, func(_ int, c net.Conn, br *bufio.Reader) { readRequest(br); handle(c) })
			for _, own := range []bool{true, false} {
				c := dev(t, func(o *Options) { o.Timeout = 60 * time.Millisecond })
				ctx := t.Context()
				if own {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, 60*time.Millisecond)
					defer cancel()
				}
				start := time.Now()
				_, err := c.Do(ctx, post(url))
				if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "did not answer within ") || !strings.HasSuffix(err.Error(), " ms") {
					t.Errorf("error %v", err)
				}
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
			}
		})
	}
}

// A server that does not read does not hold a caller either.
func TestServerThatDoesNotRead(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	url := serve(t, func(int, net.Conn, *bufio.Reader) { <-stop })
	c := dev(t, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	r := post(url)
	r.Body = make([]byte, 32<<20)
	if _, err := c.Do(t.Context(), r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A server that answers a large body before it has read it is heard.
func TestEarlyAnswer(t *testing.T) {
	url := serve(t, func(_ int, c net.Conn, br *bufio.Reader) {
		br.ReadString('\n')
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
		c.(*net.TCPConn).CloseWrite()
		io.CopyN(io.Discard, c, 16<<20) // and goes before it has read the rest
	})
	r := post(url)
	r.Body = make([]byte, 64<<20)
	resp, err := dev(t).Do(t.Context(), r)
	if err != nil || resp.Status != 413 || string(resp.Body) != "big" {
		t.Errorf("%+v, %v", resp, err)
	}
}
