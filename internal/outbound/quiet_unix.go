//go:build unix

package outbound

import "syscall"

// nothingToRead reports whether a socket is open and has nothing to read. It may take what there is: the connection
// is of no use then.
func nothingToRead(fd uintptr) bool {
	var one [1]byte
	for {
		_, err := syscall.Read(int(fd), one[:])
		if err != syscall.EINTR {
			return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		}
	}
}
