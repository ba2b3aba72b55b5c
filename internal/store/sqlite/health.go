package sqlite

import (
	"context"
	"os"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

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
	return s.SetMeta(ctx, "healthy", s.now().UTC().Format(time.RFC3339))
}

// Stats describes the database; see store.Maintenance.
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	out := store.Stats{
		Engine: "SQLite " + libc.GoString(lib.Xsqlite3_libversion(nil)), Schema: schemaVersion(),
		Commits: s.w.stats.commits.Load(), Committed: s.w.stats.committed.Load(), Busy: time.Duration(s.w.stats.busy.Load()),
	}
	for _, name := range []string{s.path, s.path + "-wal", s.path + "-shm"} {
		if info, err := os.Stat(name); err == nil {
			out.Bytes += info.Size()
		}
	}
	err := s.read(ctx, func(c *conn) (err error) {
		if out.Queued, err = c.number("SELECT count(*) FROM queue"); err != nil {
			return err
		}
		// What lanes have dropped does not wait, though Prune has not come by yet.
		for _, l := range s.lanes.dropping() {
			st, err := c.prepare("SELECT count(*) FROM queue INDEXED BY queue_due WHERE link = ? AND delivery < ?")
			if err != nil {
				return err
			}
			_, err = st.bind(1, int64(l.Link)).bind(2, int64(l.DropBefore)).step()
			out.Queued -= st.int(0)
			st.reset()
			if err != nil {
				return err
			}
			if st, err = c.prepare(queueCountSpared); err != nil {
				return err
			}
			_, err = st.bind(1, int64(l.Link)).bind(2, int64(l.DropBefore)).bind(3, int64(l.DropBefore)).step()
			out.Queued += st.int(0)
			st.reset()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}
