package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
	"github.com/patchbay/patchbay/internal/store/storetest"
)

// TestStore runs the suite twice: as the store is, and with limits so small that everything that happens behind the
// hot path (blocks of the history, keys, checkpoints) happens all the time.
func TestStore(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { storetest.Run(t, harness(sqlite.Options{})) })
	t.Run("small", func(t *testing.T) { storetest.Run(t, harness(sqlite.SmallOptions())) })
}

// harness makes databases in temporary directories.
func harness(o sqlite.Options) storetest.Harness {
	var mu sync.Mutex
	of := map[store.Store]sqlite.Options{}
	open := func(t *testing.T, o sqlite.Options) store.Store {
		t.Helper()
		s, err := sqlite.Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		mu.Lock()
		defer mu.Unlock()
		of[s] = o
		return s
	}
	options := func(s store.Store) sqlite.Options {
		mu.Lock()
		defer mu.Unlock()
		return of[s]
	}
	return storetest.Harness{
		Open: func(t *testing.T, now func() time.Time, with store.Sealer) store.Store {
			o := o
			o.Dir, o.Now, o.Sealer = filepath.Join(t.TempDir(), "data"), now, with
			return open(t, o)
		},
		Reopen: func(t *testing.T, s store.Store, with store.Sealer) store.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			o := options(s)
			o.Sealer = with
			return open(t, o)
		},
		Crash: func(t *testing.T, s store.Store) store.Store {
			t.Helper()
			s.(*sqlite.Store).Abandon()
			return open(t, options(s))
		},
		Stored: func(t *testing.T, s store.Store) (all []byte) {
			t.Helper()
			for _, end := range []string{"", "-wal"} {
				b, err := os.ReadFile(filepath.Join(options(s).Dir, "patchbay.db"+end))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, b...)
			}
			return all
		},
		Exec: func(t *testing.T, s store.Store, sql string) {
			t.Helper()
			if err := s.(*sqlite.Store).Run(sql); err != nil {
				t.Fatal(err)
			}
		},
	}
}
