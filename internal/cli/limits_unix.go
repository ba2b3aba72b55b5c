//go:build unix

package cli

import "golang.org/x/sys/unix"

// freeSpace returns how many bytes this user may still write below a directory.
func freeSpace(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // other systems spell the sizes in other types
}

// openFiles returns how many files this process may have open.
func openFiles() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	return uint64(l.Cur), nil //nolint:unconvert // as above
}
