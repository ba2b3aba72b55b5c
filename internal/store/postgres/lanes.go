package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// SaveLane keeps a lane; see store.Queue. A DropBefore that is raised is made known to the other nodes.
func (s *Store) SaveLane(ctx context.Context, l store.Lane) error {
	if err := s.after(ctx); err != nil {
		return err
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		var before patchbay.DeliveryID
		err := tx.QueryRow(ctx, `WITH former AS (SELECT drop_before FROM lane WHERE link = $1), saved AS (
				INSERT INTO lane AS l (link, drop_before, failing_since, failures, open_until) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (link) DO UPDATE SET drop_before = greatest(l.drop_before, excluded.drop_before), failing_since = excluded.failing_since,
					failures = excluded.failures, open_until = excluded.open_until)
			SELECT coalesce((SELECT drop_before FROM former), 0)`,
			int64(l.Link), int64(l.DropBefore), nullTime(l.FailingSince), l.Failures, nullTime(l.OpenUntil)).Scan(&before)
		if err != nil || l.DropBefore <= before {
			return err
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedLane, ID: int64(l.Link), At: int64(l.DropBefore)})
	})
}

// Lanes returns every lane; see store.Queue.
func (s *Store) Lanes(ctx context.Context) (out []store.Lane, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT link, drop_before, failing_since, failures, open_until FROM lane")
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l store.Lane, err error) {
			var failing, open *time.Time
			err = row.Scan(&l.Link, &l.DropBefore, &failing, &l.Failures, &open)
			l.FailingSince, l.OpenUntil = utc(failing), utc(open)
			return l, err
		})
		return err
	})
	return out, err
}
