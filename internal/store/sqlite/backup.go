package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay/internal/datadir"
)

// A backup is one file, which is the database as it was at one moment. It is made by reading the database from beside
// the process that serves it: readers of a write-ahead log hold nobody up, so events are taken in meanwhile, and no
// credentials are needed but the right to read the file. What such a reader costs is that the log, which cannot begin
// anew before it ends, grows by what is written meanwhile.

// partial is what files are called until they are whole.
const partial = ".partial"

// Contents is what a database holds.
type Contents struct {
	// Schema is its number, Bytes the file's size.
	Schema int   `json:"schema"`
	Bytes  int64 `json:"bytes"`
	// Events, Attempts, Waiting (deliveries in the queue), Links (current ones), Types and Keys count rows.
	Events   int64 `json:"events"`
	Attempts int64 `json:"attempts"`
	Waiting  int64 `json:"waiting"`
	Links    int64 `json:"links"`
	Types    int64 `json:"event_types"`
	Keys     int64 `json:"api_keys"`
	// Newest is when its last event was received; zero when there is none.
	Newest time.Time `json:"newest_event_at,omitzero"`
}

// Progress is told now and then how many of about how many bytes are done; total 0 is not known. It may be nil.
type Progress func(done, total int64)

// Backup copies the database of a data directory into a file, which must not exist, and checks the copy. A process may
// serve from the directory meanwhile. The file is there when it is whole, or not at all.
func Backup(ctx context.Context, dir, file string, progress Progress) (*Contents, error) {
	source := filepath.Join(dir, databaseName)
	if err := MustExist(dir); err != nil {
		return nil, err
	}
	if err := mustNotExist(file); err != nil {
		return nil, err
	}
	temporary := file + partial
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what is left of an earlier backup cannot be removed: %w", err)
	}
	out, err := func() (*Contents, error) {
		if err := copyDatabase(ctx, source, temporary, progress); err != nil {
			return nil, fmt.Errorf("the database %s cannot be copied: %w", source, explain(err))
		}
		out, err := Inspect(ctx, temporary)
		if err != nil {
			return nil, fmt.Errorf("the copy is not good, so it is removed: %w", err)
		}
		return out, settle(temporary, file)
	}()
	if err != nil {
		return nil, errors.Join(err, gone(temporary), gone(temporary+"-journal"))
	}
	return out, nil
}

// MustExist returns an error that says what to do when there is no database in a directory.
func MustExist(dir string) error {
	_, err := os.Stat(filepath.Join(dir, databaseName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no database in %s: say which directory has it", dir)
	case err != nil:
		return fmt.Errorf("the database in %s cannot be looked at: %w", dir, err)
	}
	return nil
}

// gone removes a file that may be there.
func gone(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func mustNotExist(file string) error {
	_, err := os.Lstat(file)
	switch {
	case err == nil:
		return fmt.Errorf("%s exists already, and is not overwritten: choose another name", file)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s cannot be looked at: %w", file, err)
	}
	return nil
}

// copyDatabase writes what the database holds at one moment into a new file.
func copyDatabase(ctx context.Context, source, target string, progress Progress) error {
	c, err := openConn(source, 0)
	if err != nil {
		return openError(err)
	}
	defer c.close()
	for _, pragma := range []string{"PRAGMA busy_timeout = 5000", "PRAGMA cache_size = -4096"} {
		if err := c.exec(pragma); err != nil {
			return openError(err)
		}
	}
	if err := ownFile(c); err != nil {
		return err
	}
	pages, err := c.number("PRAGMA page_count")
	if err != nil {
		return err
	}
	size, err := c.number("PRAGMA page_size")
	if err != nil {
		return err
	}
	if err := private(target); err != nil { // empty files are taken, and their permissions stay
		return err
	}
	done := watch(ctx, c, func() {
		if info, err := os.Stat(target); err == nil && progress != nil {
			progress(info.Size(), pages*size)
		}
	})
	err = c.exec("VACUUM INTO '" + strings.ReplaceAll(target, "'", "''") + "'")
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// watch calls look every now and then, and interrupts what the connection does when ctx ends, until the function that it
// returns is called.
func watch(ctx context.Context, c *conn, look func()) (done func()) {
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, c.interrupt)
	ticker := time.NewTicker(100 * time.Millisecond)
	var owned sync.WaitGroup
	owned.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				look()
			}
		}
	})
	return func() {
		stop()
		ticker.Stop()
		close(over)
		owned.Wait()
	}
}

// ownFile refuses a file that is not a database of this version or an older one.
func ownFile(c *conn) error {
	id, err := c.number("PRAGMA application_id")
	if err != nil {
		return openError(err)
	}
	if id != applicationID {
		return errors.New("it is not a database of Patchbay")
	}
	schema, err := c.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	if known := schemaVersion(); int(schema) > known {
		return fmt.Errorf("%w: its schema is number %d, this version knows up to %d", ErrNewer, schema, known)
	}
	return nil
}

// Inspect checks a database file that nobody writes, whole, and counts what is in it.
func Inspect(ctx context.Context, file string) (*Contents, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("the file %s cannot be read: %w", file, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", file)
	}
	out := &Contents{Bytes: info.Size()}
	c, err := openConn(file, 0)
	if err != nil {
		return nil, openError(err)
	}
	defer c.close()
	if err := c.exec("PRAGMA query_only = ON"); err != nil {
		return nil, openError(err)
	}
	if err := ownFile(c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	done := watch(ctx, c, func() {})
	defer done()
	answer, err := c.text("PRAGMA integrity_check(1)")
	if err != nil {
		return nil, openError(err)
	}
	if answer != "ok" {
		return nil, fmt.Errorf("%s is damaged: %s", file, strings.ReplaceAll(answer, "\n", "; "))
	}
	return out, count(c, out)
}

func count(c *conn, out *Contents) error {
	schema, err := c.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	out.Schema = int(schema)
	for sql, n := range map[string]*int64{
		"SELECT count(*) FROM event": &out.Events, "SELECT count(*) FROM attempt": &out.Attempts, "SELECT count(*) FROM queue": &out.Waiting,
		"SELECT count(*) FROM link WHERE ended IS NULL": &out.Links, "SELECT count(*) FROM event_type": &out.Types, "SELECT count(*) FROM api_key": &out.Keys,
	} {
		if *n, err = c.number(sql); err != nil {
			return err
		}
	}
	newest, err := c.number("SELECT received FROM event ORDER BY id DESC LIMIT 1")
	if err == nil && out.Events > 0 {
		out.Newest = time.UnixMicro(newest).UTC()
	}
	return err
}

// settle makes a whole file of a partial one, so that it survives a power loss.
func settle(temporary, file string) error {
	f, err := os.OpenFile(temporary, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s cannot be written: %w", temporary, err)
	}
	// A link refuses what a rename would overwrite.
	if err := os.Link(temporary, file); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return mustNotExist(file)
		}
		if err := os.Rename(temporary, file); err != nil { // a file system without links
			return err
		}
	} else if err := os.Remove(temporary); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes names in a directory durable. Not every system can; what cannot does so by itself.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}

// Restore makes a data directory of a backup, which is checked first. A directory that has a database already is left
// alone. The installation that starts there goes on from the moment of the backup: what was delivered since is sent
// again, with the same webhook-id.
func Restore(ctx context.Context, file, dir string, progress Progress) (*Contents, error) {
	out, err := Inspect(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("the backup cannot be used: %w", err)
	}
	lock, err := datadir.Lock(dir)
	if err != nil {
		return nil, err
	}
	err = restore(ctx, file, dir, out.Bytes, progress)
	if err := errors.Join(err, lock.Unlock()); err != nil {
		return nil, err
	}
	// Opening it brings the schema up to date and finds what the check of the file alone cannot.
	s, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return nil, fmt.Errorf("the restored database does not open: %w", err)
	}
	out.Schema = schemaVersion()
	return out, s.Close()
}

func restore(ctx context.Context, file, dir string, size int64, progress Progress) error {
	target := filepath.Join(dir, databaseName)
	for _, name := range []string{target, target + "-wal"} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s has a database already, and it is not overwritten: move it away, or restore into another directory with --data", dir)
		}
	}
	temporary := target + partial
	if err := copyFile(ctx, file, temporary, size, progress); err != nil {
		return errors.Join(fmt.Errorf("the backup cannot be copied into %s: %w", dir, err), gone(temporary))
	}
	return settle(temporary, target)
}

func copyFile(ctx context.Context, from, to string, size int64, progress Progress) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for done := int64(0); ; {
		n, err := io.CopyN(out, in, 16<<20)
		done += n
		if progress != nil {
			progress(done, size)
		}
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return errors.Join(err, out.Close())
		}
	}
}
