package postgres_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// newer returns the migrations of a version that knows one more.
func newer(t *testing.T, sql string) fstest.MapFS {
	t.Helper()
	files := maps.Clone(postgres.Migrations(t))
	files["migrations/9998_next.sql"] = &fstest.MapFile{Data: []byte(sql)}
	return files
}

// TestAMigrationWhileAnOlderNodeWrites runs a migration while a node of this version writes as fast as it can: not one
// acceptance fails, and the node goes on afterwards.
func TestAMigrationWhileAnOlderNodeWrites(t *testing.T) {
	ctx, url := context.Background(), pgtest.Database(t)
	s := openNamed(t, url, "old")
	stop := make(chan struct{})
	accepted := make(chan int, 8)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			n := 0
			for {
				select {
				case <-stop:
					accepted <- n
					return
				default:
				}
				a := acceptance(s, 1, time.Now())
				if _, err := s.Accept(ctx, a); err != nil {
					t.Error(err)
					accepted <- n
					return
				}
				s.Record(outcomesOf(a, time.Now(), request), nil)
				n++
			}
		})
	}
	first := acceptance(s, 1, time.Now())
	if _, err := s.Accept(ctx, first); err != nil {
		t.Fatal(err)
	}
	err := postgres.MigrateWith(ctx, url, newer(t, `ALTER TABLE event ADD COLUMN added integer; ALTER TABLE attempt ADD COLUMN added integer NOT NULL DEFAULT 7;
		CREATE INDEX event_added ON event (added) WHERE added IS NOT NULL; CREATE TABLE more (id bigint);`))
	if err != nil {
		t.Fatal(err)
	}
	after := acceptance(s, 1, time.Now())
	if _, err := s.Accept(ctx, after); err != nil {
		t.Fatal(err)
	}
	close(stop)
	all.Wait()
	close(accepted)
	sum := 0
	for n := range accepted {
		sum += n
	}
	if sum == 0 {
		t.Error("nobody wrote")
	}
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*store.Acceptance{first, after} {
		if _, err := s.OfEvent(ctx, a.Event.ID); err != nil {
			t.Error(err)
		}
	}
	// This version still starts on what the next one made, too.
	openNamed(t, url, "another")
}

// TestANewerSchemaIsRefused checks that a program does not serve what it does not understand.
func TestANewerSchemaIsRefused(t *testing.T) {
	ctx, url := context.Background(), pgtest.Database(t)
	openNamed(t, url, "a")
	known := len(postgres.Migrations(t))
	files := newer(t, "-- serves: 1\nCREATE TABLE more (id bigint);")
	if err := postgres.MigrateWith(ctx, url, files); err != nil {
		t.Fatal(err)
	}
	openNamed(t, url, "b")
	files["migrations/9999_last.sql"] = &fstest.MapFile{Data: []byte("-- serves: " + string(rune('0'+known+2)) + "\nALTER TABLE more ADD COLUMN x integer;")}
	if err := postgres.MigrateWith(ctx, url, files); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.Open(ctx, postgres.Options{URL: url, Name: "c"})
	if !errors.Is(err, postgres.ErrNewer) || !strings.Contains(err.Error(), "start the newer version") {
		t.Errorf("an older program on a newer schema: %v", err)
	}
}

// TestMigrationsAreAllOrNothing checks that one that fails leaves nothing, and that it can be run again.
func TestMigrationsAreAllOrNothing(t *testing.T) {
	ctx, url := context.Background(), pgtest.Database(t)
	openNamed(t, url, "a")
	if err := postgres.MigrateWith(ctx, url, newer(t, "CREATE TABLE more (id bigint); SELECT 1/0")); err == nil || !strings.Contains(err.Error(), "9998_next.sql") {
		t.Errorf("a migration that fails: %v", err)
	}
	openNamed(t, url, "b")
	if err := postgres.MigrateWith(ctx, url, newer(t, "CREATE TABLE more (id bigint)")); err != nil {
		t.Error(err)
	}
	if err := postgres.MigrateWith(ctx, url, newer(t, "-- serves: many")); err == nil || !strings.Contains(err.Error(), "a number from 1 to") {
		t.Errorf("a migration with a header that makes no sense: %v", err)
	}
}

// TestManyNodesStartAtOnce opens an empty database from several nodes.
func TestManyNodesStartAtOnce(t *testing.T) {
	url := pgtest.Database(t)
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			s, err := postgres.Open(context.Background(), postgres.Options{URL: url, Name: string(rune('a' + i))})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestADatabaseOfAnotherProgramIsRefused(t *testing.T) {
	s := pgtest.Shared(t)
	url := s.Database(t)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	s.SQL(t, name, "CREATE TABLE event (id int)")
	_, err := postgres.Open(context.Background(), postgres.Options{URL: url})
	if err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("got %v", err)
	}
}

func openNamed(t *testing.T, url, name string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), postgres.Options{URL: url, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
