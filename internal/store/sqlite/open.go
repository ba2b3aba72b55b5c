package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	lib "modernc.org/sqlite/lib"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/datadir"
)

const (
	// pageSize holds seven events of 1 KB; rows of events and attempts are appended, so pages fill up.
	pageSize = 8192
	// writerCache and readerCache are page caches in KiB. The writer's holds the inner pages of all tables and the
	// ends of those that grow; readers have the operating system's behind them.
	writerCache = 16 << 10
	readerCache = 2 << 10
	// wholeCheckBelow is the size up to which a database is checked whole when it is opened; larger ones are checked
	// at the tables that everything else depends on.
	wholeCheckBelow = 16 << 20
)

// takeLock makes sure that this is the only process that uses the directory. SQLite's own locks would let two
// processes write in turns, and both would send everything.
func (s *Store) takeLock() (err error) {
	s.lock, err = datadir.Lock(s.o.Dir)
	return err
}

// open opens the connections and reads what the store keeps in memory.
func (s *Store) open(ctx context.Context) error {
	if err := private(s.path); err != nil {
		return err
	}
	c, err := openConn(s.path, lib.SQLITE_OPEN_CREATE)
	if err != nil {
		return err
	}
	s.w = newWriter(s, c)
	if err := s.prepareFile(c); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.w.checkpointer, err = openConn(s.path, 0); err != nil {
		return err
	}
	if err := configure(s.w.checkpointer, readerCache); err != nil {
		return err
	}
	for range readConns {
		r, err := openConn(s.path, 0)
		if err != nil {
			return err
		}
		s.readers <- r
		s.reading++
		if err := configure(r, readerCache); err != nil {
			return err
		}
		if err := r.exec("PRAGMA query_only = ON"); err != nil {
			return err
		}
	}
	return inSnapshot(c, s.load)
}

// private makes the database's file for its owner only, before SQLite does with other permissions: the settings of
// links are in it, and the directory may be one that others can read. SQLite gives its log the same permissions.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("the database %s cannot be opened for writing: %w", path, err)
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// prepareFile sets what belongs to the file and brings its schema up to date.
func (s *Store) prepareFile(c *conn) error {
	// Only a new file takes the page size.
	for _, pragma := range []string{"PRAGMA page_size = " + strconv.Itoa(pageSize), "PRAGMA auto_vacuum = NONE"} {
		if err := c.exec(pragma); err != nil {
			return err
		}
	}
	mode, err := c.text("PRAGMA journal_mode = WAL")
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("its file system does not support what a write-ahead log needs (shared memory), as on a network drive: choose a local directory")
	}
	if err := configure(c, writerCache); err != nil {
		return err
	}
	if err := migrate(c); err != nil {
		return err
	}
	c.watchLog()
	return check(c)
}

// configure sets what belongs to a connection.
func configure(c *conn, cache int) error {
	for _, pragma := range []string{
		// FULL syncs the log at every commit: that is the promise of a 201. NORMAL would lose the last ones with the power.
		"PRAGMA synchronous = FULL",
		"PRAGMA cache_size = -" + strconv.Itoa(cache),
		"PRAGMA busy_timeout = 5000",
		"PRAGMA foreign_keys = OFF",
		"PRAGMA temp_store = MEMORY",
		"PRAGMA wal_autocheckpoint = 0",
	} {
		if err := c.exec(pragma); err != nil {
			return err
		}
	}
	return nil
}

// check looks for damage: everywhere in a small database, in the small tables of a large one.
func check(c *conn) error {
	pages, err := c.number("PRAGMA page_count")
	if err != nil {
		return err
	}
	checks := []string{"PRAGMA quick_check(1)"}
	if pages*pageSize > wholeCheckBelow {
		checks = checks[:0]
		for _, table := range []string{"sqlite_schema", "node", "meta", "lane", "link", "event_type", "api_key", "connection"} {
			checks = append(checks, "PRAGMA quick_check("+table+")")
		}
	}
	for _, sql := range checks {
		answer, err := c.text(sql)
		if err != nil {
			return err
		}
		if answer != "ok" {
			return &engineError{code: lib.SQLITE_CORRUPT, message: strings.ReplaceAll(answer, "\n", "; ")}
		}
	}
	return nil
}

// load reads marks, lanes and the ends of what is indexed behind, and finds out where identifiers go on.
func (s *Store) load(c *conn) error {
	if err := s.w.loadMarks(c); err != nil {
		return err
	}
	if err := s.lanes.load(c); err != nil {
		return err
	}
	if err := s.history.load(c, s.w.marks.history); err != nil {
		return err
	}
	if err := s.keys.load(c, s.w.marks.keys); err != nil {
		return err
	}
	last, err := highestID(c)
	if err != nil {
		return err
	}
	s.ids = patchbay.NewSequence(s.o.Node, last, s.o.Now)
	s.w.recent = patchbay.FirstIDAt(patchbay.EventID(last).Time().Add(-recent))
	highest, err := c.number("SELECT max(id) FROM event")
	if err != nil {
		return err
	}
	s.recovery.floor = s.w.marks.floor
	s.recovery.done.Store(highest < s.recovery.floor || highest == 0)
	s.floor.Begin(patchbay.EventID(highest), 0) // from here on it counts
	return nil
}

// highestID returns the highest identifier in the database. An event's deliveries lie above it.
func highestID(c *conn) (int64, error) {
	highest := int64(0)
	for _, sql := range []string{
		"SELECT max(id) FROM attempt", "SELECT max(delivery) FROM queue", "SELECT max(id) FROM link",
		"SELECT max(ended) FROM link", "SELECT max(id) FROM api_key", "SELECT max(drop_before) FROM lane",
		"SELECT max(floor) FROM node", "SELECT max(id) FROM connection", "SELECT max(id) FROM session", "SELECT max(id) FROM hook",
	} {
		n, err := c.number(sql)
		if err != nil {
			return 0, err
		}
		highest = max(highest, n)
	}
	st, err := c.prepare("SELECT id, targets FROM event ORDER BY id DESC LIMIT 1")
	if err != nil {
		return 0, err
	}
	defer st.reset()
	row, err := st.step()
	if err != nil || !row {
		return highest, err
	}
	return max(highest, int64(patchbay.DeliveryAt(patchbay.EventID(st.int(0)), countTargets(st.raw(1))))), nil
}

// openError adds what to do about damage and the like.
func openError(err error) error {
	switch primaryCode(err) {
	case lib.SQLITE_NOTADB:
		return fmt.Errorf("it is not an SQLite database, or it is damaged: restore it from a backup, or move it away to begin with an empty one: %w", err)
	case lib.SQLITE_CORRUPT:
		return fmt.Errorf("the file is damaged: restore it from a backup: %w", err)
	}
	return explain(err)
}
