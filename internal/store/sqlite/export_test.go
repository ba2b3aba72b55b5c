package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/patchbay/patchbay/internal/store"
)

// SmallOptions returns options with which everything that happens now and then happens all the time.
func SmallOptions() Options {
	return Options{limits: limits{
		blockEvents: 8, blockEntries: 64, historyStep: 3, keysEvents: 10, keysBytes: 1 << 20, keysStep: 3,
		checkpointPages: 20, checkpointAgain: 5, markEvery: 1, batchOps: 5, batchOutcomes: 7, queueSorted: 3,
	}}
}

// Abandon ends the store's goroutines where they stand and lets go of its files, as if the process had been killed:
// nothing that has not been committed is.
func (s *Store) Abandon() {
	s.closing.Do(func() {
		close(s.closed)
		s.w.abandon()
		s.stop()
		s.owned.Wait()
		s.release()
	})
}

// Stall returns the longest that the writer has stood still to finish copying its log, and how long the log became.
func (s *Store) Stall() (time.Duration, int64) {
	return time.Duration(s.w.log.stall.Load()), s.w.log.longest.Load()
}

// Exec runs a statement on the database file in a directory that nobody has open.
func Exec(t *testing.T, dir, sql string) {
	t.Helper()
	c, err := openConn(filepath.Join(dir, databaseName), lib.SQLITE_OPEN_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.exec(sql); err != nil {
		t.Fatal(err)
	}
}

// Run runs a statement in the writer, before whatever waits to be written.
func (s *Store) Run(sql string) error {
	w := s.w
	for {
		w.mu.Lock()
		aside, outcomes := w.pending, w.outcomes
		w.pending, w.outcomes, w.ops = nil, 0, 0
		w.mu.Unlock()
		err := s.do(context.Background(), func(c *conn) error { return c.exec(sql) }, nil)
		w.mu.Lock()
		w.pending = append(aside, w.pending...)
		w.outcomes += outcomes
		for i := range aside {
			if aside[i].op != nil && !aside[i].again {
				w.ops++
			}
		}
		w.rouse()
		w.mu.Unlock()
		if !errors.Is(err, store.ErrUnavailable) { // a transaction that was under way has put itself before it
			return err
		}
	}
}

// Plans returns the query plan of every statement that is prepared on any connection.
func (s *Store) Plans(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	explain := func(c *conn) error {
		for sql := range c.stmts {
			if strings.HasPrefix(sql, "PRAGMA") {
				continue
			}
			st, err := c.compile("EXPLAIN QUERY PLAN "+sql, 0)
			if err != nil {
				return err
			}
			plan := []string{}
			for {
				row, err := st.step()
				if err != nil {
					return err
				}
				if !row {
					break
				}
				plan = append(plan, st.str(3))
			}
			st.finalize()
			all[sql] = plan
		}
		return nil
	}
	if err := s.do(context.Background(), explain, nil); err != nil {
		t.Fatal(err)
	}
	var taken []*conn
	for range s.reading {
		c := <-s.readers
		if err := explain(c); err != nil {
			t.Error(err)
		}
		taken = append(taken, c)
	}
	for _, c := range taken {
		s.readers <- c
	}
	return all
}

// IntegrityCheck has SQLite check every page of the database file in a directory that nobody has open.
func IntegrityCheck(t *testing.T, dir string) string {
	t.Helper()
	c, err := openConn(filepath.Join(dir, databaseName), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	answer, err := c.text("PRAGMA integrity_check")
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
