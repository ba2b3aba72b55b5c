package demo

import (
	"context"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
)

// mailbox is a mail server that takes everything and counts it. It speaks as much SMTP as a sender needs.
type mailbox struct {
	listener net.Listener
	owned    sync.WaitGroup
	received atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newMailbox(ctx context.Context) (*mailbox, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the stand-in for a mail server cannot be served: %w", err)
	}
	m := &mailbox{listener: l, conns: map[net.Conn]struct{}{}}
	m.owned.Go(m.accept)
	return m, nil
}

func (m *mailbox) addr() *net.TCPAddr { return m.listener.Addr().(*net.TCPAddr) }

func (m *mailbox) accept() {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return // closed
		}
		m.mu.Lock()
		m.conns[conn] = struct{}{}
		m.mu.Unlock()
		m.owned.Go(func() {
			m.talk(textproto.NewConn(conn))
			m.mu.Lock()
			delete(m.conns, conn)
			m.mu.Unlock()
		})
	}
}

func (m *mailbox) close() {
	_ = m.listener.Close()
	m.mu.Lock()
	for conn := range m.conns {
		_ = conn.Close()
	}
	m.mu.Unlock()
	m.owned.Wait()
}

// talk answers one sender until it says QUIT or hangs up.
func (m *mailbox) talk(c *textproto.Conn) {
	defer func() { _ = c.Close() }()
	if c.PrintfLine("220 demo ESMTP") != nil {
		return
	}
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		reply := "250 OK"
		switch verb {
		case "EHLO":
			reply = "250-demo\r\n250-8BITMIME\r\n250 SIZE 10485760"
		case "DATA":
			if c.PrintfLine("354 go ahead") != nil {
				return
			}
			if _, err := c.ReadDotBytes(); err != nil {
				return
			}
			m.received.Add(1)
			reply = "250 OK, kept"
		case "QUIT":
			_ = c.PrintfLine("221 bye")
			return
		case "HELO", "MAIL", "RCPT", "RSET", "NOOP":
		default:
			reply = "502 not here"
		}
		if c.PrintfLine("%s", reply) != nil {
			return
		}
	}
}
