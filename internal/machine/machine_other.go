//go:build !unix

// Package machine asks the machine that a process runs on how much there is of what it needs.
package machine

import "errors"

var errNotKnown = errors.New("it is not known on this system")

// Free returns how many bytes this user may still write below a directory.
func Free(string) (int64, error) { return 0, errNotKnown }

// OpenFiles returns how many files this process may have open.
func OpenFiles() (uint64, error) { return 0, errNotKnown }
