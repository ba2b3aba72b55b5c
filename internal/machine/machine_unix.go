//go:build unix

// Package machine asks the machine that a process runs on how much there is of what it needs.
package machine

import "golang.org/x/sys/unix"

// Free returns how many bytes this user may still write below a directory.
func Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // other systems spell the sizes in other types
}

// OpenFiles returns how many files this process may have open.
func OpenFiles() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	return uint64(l.Cur), nil //nolint:unconvert // as above
}
