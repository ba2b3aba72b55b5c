package postgres

import (
	"context"
	"time"

	"github.com/patchbay/patchbay/internal/store"
)

func (s *Store) Prune(ctx context.Context, r store.Retention, now time.Time) (bool, error) {
	if s.isClosed() {
		return false, store.ErrClosed
	}
	return false, nil
}

func (s *Store) Stats(ctx context.Context) (x store.Stats, err error) { return x, nil }
