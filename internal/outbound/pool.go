package outbound

import (
	"sync"
	"time"
)

// pool keeps connections between requests: the one used last is used next, so that idle ones age and are closed.
type pool struct {
	maxIdle, maxIdlePerHost int
	idleTimeout             time.Duration

	mu     sync.Mutex
	hosts  map[origin]idleHost
	oldest *conn // of all; its newer neighbours follow
	newest *conn
	n      int
	timer  *time.Timer // runs expire when the oldest is due; nil while nothing is idle
	closed bool
}

// idleHost is a stack of connections, the one used last on top.
type idleHost struct {
	top *conn
	n   int
}

func newPool(maxIdle, maxIdlePerHost int, idleTimeout time.Duration) *pool {
	return &pool{maxIdle: maxIdle, maxIdlePerHost: maxIdlePerHost, idleTimeout: idleTimeout, hosts: map[origin]idleHost{}}
}

// take returns an idle connection that still looks alive and is ready until deadline, or nil.
func (p *pool) take(o origin, deadline time.Time) *conn {
	for {
		p.mu.Lock()
		c := p.hosts[o].top
		if c != nil {
			p.unlink(c)
		}
		p.mu.Unlock()
		if c == nil || c.wake(deadline) {
			return c
		}
		c.Close()
	}
}

// put keeps a connection for later, or closes it when there are enough.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	drop := c
	if !p.closed && p.hosts[c.origin].n < p.maxIdlePerHost {
		drop = nil
		if p.n >= p.maxIdle {
			drop = p.oldest
			p.unlink(drop)
		}
		p.link(c)
	}
	p.mu.Unlock()
	if drop != nil {
		drop.Close()
	}
}

func (p *pool) link(c *conn) {
	c.idleSince = time.Now()
	h := p.hosts[c.origin]
	c.below = h.top
	p.hosts[c.origin] = idleHost{top: c, n: h.n + 1}
	c.older = p.newest
	if p.newest != nil {
		p.newest.newer = c
	} else {
		p.oldest = c
	}
	p.newest = c
	p.n++
	if p.timer == nil {
		p.timer = time.AfterFunc(p.idleTimeout, p.expire)
	}
}

func (p *pool) unlink(c *conn) {
	h := p.hosts[c.origin]
	if h.top == c {
		h.top = c.below
	} else {
		above := h.top
		for above.below != c {
			above = above.below
		}
		above.below = c.below
	}
	if h.n--; h.n == 0 {
		delete(p.hosts, c.origin)
	} else {
		p.hosts[c.origin] = h
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		p.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		p.newest = c.older
	}
	c.below, c.older, c.newer = nil, nil, nil
	p.n--
}

// expire closes what has been idle for too long and sets the timer for the next.
func (p *pool) expire() {
	var old []*conn
	p.mu.Lock()
	now := time.Now()
	for p.oldest != nil && now.Sub(p.oldest.idleSince) >= p.idleTimeout {
		c := p.oldest
		p.unlink(c)
		old = append(old, c)
	}
	p.timer = nil
	if p.oldest != nil && !p.closed {
		p.timer = time.AfterFunc(p.idleTimeout-now.Sub(p.oldest.idleSince), p.expire)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// close closes what is idle, and from now on every connection that comes back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	var all []*conn
	for p.oldest != nil {
		c := p.oldest
		p.unlink(c)
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// idle counts the idle connections.
func (p *pool) idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
