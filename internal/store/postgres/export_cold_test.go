package postgres

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
)

// Migrations returns the migrations of this version.
func Migrations(t *testing.T) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	return files
}

// MigrateWith brings a database up to date as a version with other migrations does.
func MigrateWith(ctx context.Context, url string, files fs.FS) error {
	all, err := readMigrations(files)
	if err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	return migrateTo(ctx, c, all)
}

// Index writes all blocks of the history that can be written.
func (s *Store) Index(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = s.indexStep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Unindexed has no blocks of the history written but by Index.
func (o Options) Unindexed() Options {
	if o.limits == (limits{}) {
		o.limits = defaultLimits()
	}
	o.limits.indexEvery, o.limits.indexBehind = 1000*time.Hour, 0
	return o
}
