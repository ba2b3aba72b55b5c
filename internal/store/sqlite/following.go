package sqlite

import (
	"context"
	"time"

	"github.com/patchbay/patchbay/internal/store"
)

// The order of queue_thread is that of identifiers, so a chain is one range of the index. Parameters: link, thread,
// after, dropped before, limit.
const queueFollowing = "SELECT " + queueColumns + ` FROM queue INDEXED BY queue_thread
	WHERE link = ?1 AND thread = ?2 AND delivery > ?3 AND (delivery >= ?4 OR spared >= ?4)
	ORDER BY delivery LIMIT ?5`

// Following returns what comes after a delivery in its thread; see store.Chains.
func (s *Store) Following(ctx context.Context, after *store.Queued, now time.Time, limit int) ([]store.Claimed, error) {
	var out []store.Claimed
	err := s.read(ctx, func(c *conn) error {
		out = out[:0]
		st, err := c.prepare(queueFollowing)
		if err != nil {
			return err
		}
		defer st.reset()
		st.bind(1, int64(after.Link)).bindText(2, after.Thread).bind(3, int64(after.Delivery)).
			bind(4, int64(s.lanes.drop(after.Link).before)).bind(5, int64(limit))
		for {
			row, err := st.step()
			if err != nil {
				return err
			}
			if !row || st.int(2) > now.UnixMicro() {
				break
			}
			out = append(out, store.Claimed{Queued: queued(st, after.Link)})
		}
		for i := range out {
			found, err := claim(c, &out[i])
			if err != nil {
				return err
			}
			if !found {
				out = out[:i] // Due says of it what is to be said
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

var _ store.Chains = (*Store)(nil)
