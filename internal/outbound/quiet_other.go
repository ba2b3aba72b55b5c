//go:build !unix

package outbound

// nothingToRead cannot be told here; a connection that is of no use shows when it is used.
func nothingToRead(uintptr) bool { return true }
