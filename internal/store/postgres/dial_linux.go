package postgres

import (
	"syscall"
	"time"
)

// unheardMost is how long what was sent to the server may stay without a sign that it came in. Without it a connection
// that something on the way forgot hangs for a quarter of an hour, and everything that uses it.
const unheardMost = 30 * time.Second

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name on every platform.
const tcpUserTimeout = 0x12

// control gives up connections on which nothing arrives any more. A kernel that cannot do that goes on as it would.
func control(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unheardMost.Milliseconds()))
	})
}
