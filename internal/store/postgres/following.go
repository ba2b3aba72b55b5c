package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay/internal/store"
)

// A chain is one range of the index queue_thread. Parameters: link, thread, after, dropped before, limit.
const queueFollowing = "SELECT " + queueColumns + ` FROM queue AS q
	WHERE q.link = $1 AND q.thread = $2 AND q.delivery > $3 AND (q.delivery >= $4 OR q.spared >= $4)
	ORDER BY q.delivery LIMIT $5`

// Following returns what comes after a delivery in its thread; see store.Chains.
func (s *Store) Following(ctx context.Context, after *store.Queued, now time.Time, limit int) ([]store.Claimed, error) {
	var out []store.Claimed
	err := s.read(ctx, func(tx pgx.Tx) error {
		out = nil
		var before int64
		if err := tx.QueryRow(ctx, laneDrop, int64(after.Link)).Scan(&before); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, queueFollowing, int64(after.Link), []byte(after.Thread), int64(after.Delivery), before, limit)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Queued, error) { return queued(row, after.Link) })
		if err != nil {
			return err
		}
		for i := range all {
			if all[i].Due.After(now) {
				break
			}
			out = append(out, store.Claimed{Queued: all[i]})
		}
		if len(out) == 0 {
			return nil
		}
		out, err = claim(ctx, tx, out)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

var _ store.Chains = (*Store)(nil)
