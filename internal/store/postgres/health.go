package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay/internal/store"
)

// healthyFor is how long a commit counts as a sign that writes go through.
const healthyFor = time.Second

// Healthy returns nil when writes go through; see store.Maintenance.
func (s *Store) Healthy(ctx context.Context) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	if s.w.failing.Load() == nil && time.Since(time.Unix(0, s.w.stats.last.Load())) < healthyFor {
		return nil
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE floor SET event = event WHERE number = $1", s.self.Number)
		return err
	})
}
