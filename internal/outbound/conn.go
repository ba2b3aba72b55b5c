package outbound

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// conn is a connection to an origin, perhaps through a proxy. One request uses it at a time.
type conn struct {
	net.Conn
	origin origin
	// via is the proxy that requests name the whole URL to; nil for direct connections and tunnels.
	via *proxy
	// reused says that a request has been answered on it.
	reused bool
	// abort ends whatever waits on the connection. It is kept, so that a request does not allocate it.
	abort func()

	secured *tls.Conn // nil without TLS
	raw     syscall.RawConn
	probe   func(fd uintptr) bool
	alive   bool

	idleSince           time.Time
	below, older, newer *conn // the pool's
}

func newConn(nc net.Conn, o origin) *conn {
	c := &conn{Conn: nc, origin: o}
	c.abort = func() { _ = c.SetDeadline(aLongTimeAgo) }
	c.watch()
	return c
}

// aLongTimeAgo is a deadline that has passed.
var aLongTimeAgo = time.Unix(1, 0)

// watch prepares wake, where the system can look at a connection without waiting.
func (c *conn) watch() {
	under := c.Conn
	for { // twice, for TLS through a proxy that speaks TLS
		t, ok := under.(*tls.Conn)
		if !ok {
			break
		}
		c.secured = t
		under = t.NetConn()
	}
	sc, ok := under.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	c.raw = raw
	c.probe = func(fd uintptr) bool {
		c.alive = nothingToRead(fd)
		return true
	}
}

// wake prepares an idle connection for a request that has until deadline, and reports whether it is still open and
// silent. One that the server has closed would fail; one on which it has said something that nobody asked for would
// answer the next request with that.
func (c *conn) wake(deadline time.Time) bool {
	if c.secured != nil {
		// Something may have been decrypted already. A read that may not wait shows it, and harms nothing.
		var one [1]byte
		if c.SetReadDeadline(aLongTimeAgo) != nil {
			return false
		}
		if _, err := c.Conn.Read(one[:]); !isTimeout(err) {
			return false
		}
	}
	if c.SetDeadline(deadline) != nil {
		return false
	}
	if c.raw == nil {
		return true
	}
	c.alive = false
	return c.raw.Read(c.probe) == nil && c.alive
}
