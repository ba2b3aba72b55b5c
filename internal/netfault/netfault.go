// Package netfault is a TCP proxy for tests of what happens when a network fails: it forwards connections to a target,
// and cuts, refuses, hangs, delays or slows them as it is told.
package netfault

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Line is how one direction of every connection behaves. The zero value forwards.
type Line struct {
	// Hang forwards nothing; what was sent meanwhile arrives when it ends.
	Hang bool
	// Delay is how much later what is sent arrives; BytesPerSecond bounds how much, 0 does not.
	Delay          time.Duration
	BytesPerSecond int
}

// Faults is how a proxy behaves. The zero value forwards.
type Faults struct {
	// Up is from the client to the target, Down back. When Up hangs, new connections are taken but not made to the
	// target, as by a machine that is cut off behind its firewall.
	Up, Down Line
}

// Proxy forwards TCP connections. All its methods may be called at any time.
type Proxy struct {
	target string
	owned  sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while refused
	address  string
	faults   Faults
	changed  chan struct{} // closed when faults change
	pairs    map[*pair]struct{}
	closed   bool
}

type pair struct {
	client, server net.Conn      // server is nil until it is made
	done           chan struct{} // closed with the connections
}

// New starts a proxy on a free port of the loopback interface. Close ends it.
func New(target string) (*Proxy, error) {
	p := &Proxy{target: target, address: "127.0.0.1:0", changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	return p, p.Allow()
}

// Address is where the proxy listens.
func (p *Proxy) Address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.address
}

// Set changes how existing and new connections behave.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut resets every connection. New ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		p.drop(c)
	}
}

// Refuse has new connections refused; existing ones stay.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
}

// Allow takes connections again after Refuse.
func (p *Proxy) Allow() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return nil
	}
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		return err
	}
	p.listener, p.address = l, l.Addr().String()
	p.owned.Go(func() { p.accept(l) })
	return nil
}

// HalfClose ends one direction of every connection, as a peer does that has no more to say: the target's side sees the
// end when up, else the client's.
func (p *Proxy) HalfClose(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		to := c.client
		if up {
			to = c.server
		}
		if to != nil {
			_ = to.(*net.TCPConn).CloseWrite() // it may be closed already
		}
	}
}

// Connections counts what is open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// Close ends the proxy and every connection, and returns when all of it is over.
func (p *Proxy) Close() {
	p.Refuse()
	p.mu.Lock()
	p.closed = true
	for c := range p.pairs {
		p.drop(c)
	}
	p.mu.Unlock()
	p.owned.Wait()
}

// drop closes both sides with a reset. p.mu is held.
func (p *Proxy) drop(c *pair) {
	if _, open := p.pairs[c]; !open {
		return
	}
	delete(p.pairs, c)
	close(c.done)
	for _, side := range []net.Conn{c.client, c.server} {
		if side != nil {
			_ = side.(*net.TCPConn).SetLinger(0)
			side.Close()
		}
	}
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // Refuse or Close
		}
		c := &pair{client: client, done: make(chan struct{})}
		p.mu.Lock()
		p.pairs[c] = struct{}{}
		if p.closed {
			p.drop(c)
		}
		p.mu.Unlock()
		p.owned.Go(func() { p.serve(c) })
	}
}

// serve connects to the target and forwards both directions until one fails or both have ended.
func (p *Proxy) serve(c *pair) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.drop(c)
	}()
	if !p.pass(c, true, 0) {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	p.mu.Lock()
	_, open := p.pairs[c]
	if c.server = server; !open {
		server.Close()
	}
	p.mu.Unlock()
	if !open {
		return
	}
	var both sync.WaitGroup
	for _, up := range []bool{true, false} {
		both.Go(func() {
			if err := p.forward(c, up); err != nil {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.drop(c)
			}
		})
	}
	both.Wait()
}

var errCut = errors.New("cut")

// forward copies one direction until its end, which it passes on.
func (p *Proxy) forward(c *pair, up bool) error {
	from, to := c.server, c.client
	if up {
		from, to = to, from
	}
	block := make([]byte, 32<<10)
	for {
		n, end := from.Read(block)
		for sent := 0; sent < n; {
			size := n - sent
			if rate := p.line(up).BytesPerSecond; rate > 0 {
				size = min(size, max(1, rate/20)) // a twentieth of a second at once
			}
			if !p.pass(c, up, size) {
				return errCut
			}
			if _, err := to.Write(block[sent : sent+size]); err != nil {
				return err
			}
			sent += size
		}
		if end != nil {
			return to.(*net.TCPConn).CloseWrite()
		}
	}
}

func (p *Proxy) line(up bool) Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up {
		return p.faults.Up
	}
	return p.faults.Down
}

// pass waits as long as n bytes take in a direction. It returns false when the connection was cut meanwhile.
func (p *Proxy) pass(c *pair, up bool, n int) bool {
	waited := false
	for {
		p.mu.Lock()
		line, changed := p.faults.Down, p.changed
		if up {
			line = p.faults.Up
		}
		p.mu.Unlock()
		if line.Hang {
			select {
			case <-c.done:
				return false
			case <-changed:
				continue
			}
		}
		pause := line.Delay
		if line.BytesPerSecond > 0 {
			pause += time.Duration(n) * time.Second / time.Duration(line.BytesPerSecond)
		}
		if waited || pause == 0 {
			return true
		}
		timer := time.NewTimer(pause)
		select {
		case <-c.done:
			timer.Stop()
			return false
		case <-timer.C:
			waited = true // look again: it may hang by now
		}
	}
}
