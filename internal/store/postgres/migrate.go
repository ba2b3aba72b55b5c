package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Migrations only ever expand: they add tables, columns with a default or without NOT NULL, and indexes, so that nodes of
// the version before go on serving while they run and afterwards. What a version no longer uses is removed by a migration
// of a later version, whose first lines say so:
//
//	-- serves: 7
//
// is the lowest number of migrations that a program must know to serve the database afterwards; without it that stays as
// it was. Each migration is one transaction, and gives up a lock that it does not get at once: nobody waits behind it.

//go:embed migrations/*.sql
var migrationFiles embed.FS

// ErrNewer is in the chain of the error with which Open refuses a database that a newer version has changed beyond what
// this one understands.
var ErrNewer = errors.New("the database was changed by a newer version of Patchbay")

const (
	// migrateLock bounds how long a migration waits for a lock, and so how long others wait behind it; migratePause is how
	// long it then waits to try again, and migrateTries how often it does.
	migrateLock  = 2 * time.Second
	migratePause = 250 * time.Millisecond
	migrateTries = 240
)

// migration is one step of the schema.
type migration struct {
	version, serves int // serves is 0 when it stays as it was
	name, sql       string
}

// readMigrations reads the migrations of a directory, in the order of their names.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var out []migration
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		m := migration{version: i + 1, name: name, sql: string(text)}
		for line := range strings.Lines(m.sql) {
			words, ok := strings.CutPrefix(strings.TrimSpace(line), "-- serves:")
			if !ok {
				continue
			}
			if m.serves, err = strconv.Atoi(strings.TrimSpace(words)); err != nil || m.serves < 1 || m.serves > m.version {
				return nil, fmt.Errorf("%s says %q: it must be a number from 1 to %d", name, strings.TrimSpace(line), m.version)
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// schemaVersion is how many migrations this version knows.
func schemaVersion() int {
	names, _ := fs.Glob(migrationFiles, "migrations/*.sql") // the pattern is good
	return len(names)
}

// migrate brings the schema up to date, or refuses a database that this version must not serve.
func migrate(ctx context.Context, c *pgx.Conn) error {
	all, err := readMigrations(migrationFiles)
	if err != nil {
		return err
	}
	return migrateTo(ctx, c, all)
}

func migrateTo(ctx context.Context, c *pgx.Conn, all []migration) error {
	for tries := 1; ; tries++ {
		have, err := checkSchema(ctx, c, len(all))
		if err != nil || have >= len(all) {
			return err
		}
		done, err := migrateStep(ctx, c, all)
		if err != nil && (state(err) != stateLockNotAvailable || tries >= migrateTries) {
			return fmt.Errorf("bringing the schema up to date: %w", err)
		}
		if done {
			tries = 0
			continue
		}
		// Another node does it, or somebody reads what is to be changed.
		timer := time.NewTimer(migratePause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// checkSchema returns how many migrations have run, 0 in an empty database. It refuses one of another program, and one
// that needs a version which knows more.
func checkSchema(ctx context.Context, c *pgx.Conn, known int) (have int, err error) {
	var ours, others bool
	err = c.QueryRow(ctx, "SELECT to_regclass('schema_version') IS NOT NULL, to_regclass('event') IS NOT NULL OR to_regclass('link') IS NOT NULL").Scan(&ours, &others)
	switch {
	case err != nil:
		return 0, err
	case !ours && others:
		return 0, errors.New("it holds tables of another program: make a database for Patchbay alone")
	case !ours:
		return 0, nil
	}
	var serves int
	err = c.QueryRow(ctx, "SELECT coalesce(max(version), 0), coalesce(max(serves), 0) FROM schema_version").Scan(&have, &serves)
	if err == nil && serves > known {
		return have, fmt.Errorf("%w: its schema is number %d and needs a program that knows number %d, this one knows up to %d; start the newer version, or restore the backup from before it was installed",
			ErrNewer, have, serves, known)
	}
	return have, err
}

// sealedSchema is the number of migrations that a program must know to read what is sealed.
const sealedSchema = 3

// sealing says that this node seals, so that programs that cannot read that do not serve the database from here on.
func sealing(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "UPDATE schema_version SET serves = $1 WHERE version = $1 AND serves < $1", sealedSchema)
	return err
}

// migrateStep runs the next migration. done is false when another node is at it.
func migrateStep(ctx context.Context, c *pgx.Conn, all []migration) (done bool, err error) {
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		// A migration may take its time; what it must not do is make others wait.
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = %d", migrateLock.Milliseconds())); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1, 0)", lockMigrate).Scan(&done); err != nil || !done {
			return err
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (
			version integer NOT NULL PRIMARY KEY,
			serves  integer NOT NULL, -- the fewest migrations that a program must know to serve the database from here on
			name    text NOT NULL,
			applied timestamptz NOT NULL DEFAULT clock_timestamp()
		)`); err != nil {
			return err
		}
		var have, serves int
		if err := tx.QueryRow(ctx, "SELECT coalesce(max(version), 0), coalesce(max(serves), 1) FROM schema_version").Scan(&have, &serves); err != nil || have >= len(all) {
			return err
		}
		m := all[have]
		if _, err := tx.Exec(ctx, m.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		_, err := tx.Exec(ctx, "INSERT INTO schema_version (version, serves, name) VALUES ($1, $2, $3)", m.version, max(serves, m.serves), m.name)
		return err
	})
	return done, err
}
