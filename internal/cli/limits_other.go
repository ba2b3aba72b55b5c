//go:build !unix

package cli

import "errors"

var errNotKnown = errors.New("it is not known on this system")

func freeSpace(string) (int64, error) { return 0, errNotKnown }

func openFiles() (uint64, error) { return 0, errNotKnown }
