package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// lockEvery is how often a lock that another process has is asked for again.
const lockEvery = 20 * time.Millisecond

// LockFile waits until no other process has locked the file, which is made, or until ctx is done. The lock ends with
// unlock, or with the process, however that ends.
func LockFile(ctx context.Context, path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		mine, err := lockFile(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if mine {
			return f.Close, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another process has locked %s: %w", path, ctx.Err()), f.Close())
		case <-tick.C:
		}
	}
}

// SyncDir makes the names in a directory durable. Not every system can; what cannot does so by itself.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}
