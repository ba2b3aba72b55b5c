package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func openIn(t *testing.T, dir string) (*sqlite.Store, error) {
	t.Helper()
	return sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
}

// filled makes a database with something in every table and closes it. It returns its directory.
func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := openIn(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	exercise(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// refused checks that a database does not open, and that the error has all of the words.
func refused(t *testing.T, dir string, words ...string) error {
	t.Helper()
	s, err := openIn(t, dir)
	if err == nil {
		_ = s.Close()
		t.Fatal("it opens")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
	// Whatever was wrong, nothing may be left open: the directory can be used again.
	if s, err := openIn(t, filepath.Join(t.TempDir(), "another")); err != nil {
		t.Error(err)
	} else if err := s.Close(); err != nil {
		t.Error(err)
	}
	return err
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	dir := filled(t)
	sqlite.Exec(t, dir, "PRAGMA user_version = 99")
	err := refused(t, dir, "newer version of Patchbay", "99", "backup")
	if !errors.Is(err, sqlite.ErrNewer) {
		t.Errorf("%v is not ErrNewer", err)
	}
}

func TestADatabaseOfAnotherProgramIsRefused(t *testing.T) {
	dir := t.TempDir()
	sqlite.Exec(t, dir, "CREATE TABLE thing (id INTEGER PRIMARY KEY)")
	refused(t, dir, "another program")
}

func TestAUsedDirectoryIsRefused(t *testing.T) {
	dir := filled(t)
	s, err := openIn(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "in use", "process")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openIn(t, dir); err != nil {
		t.Fatalf("it is still locked: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryThatCannotBeWrittenIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, filepath.Join(file, "data"), "data directory", "cannot be made")

	t.Run("read-only", func(t *testing.T) {
		dir := mount(t, "size=1m")
		if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
			t.Skipf("a file system cannot be made read-only here: %v: %s", err, out)
		}
		refused(t, dir, dir, "cannot be written")
	})
	t.Run("without permission", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("root may write everywhere")
		}
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, dir, "cannot be written", "permission denied")
	})
}

// mount mounts a small file system in memory, and skips the test where that is not allowed.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting is not allowed here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

func TestADamagedFileIsRefused(t *testing.T) {
	pristine := filled(t)
	whole, err := os.ReadFile(filepath.Join(pristine, "patchbay.db"))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"text":              func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 1000)) },
		"a garbled header":  func(b []byte) []byte { copy(b, "garbage"); return b },
		"half of it":        func(b []byte) []byte { return b[:len(b)/2] },
		"a few bytes":       func(b []byte) []byte { return b[:60] },
		"a garbled schema":  func(b []byte) []byte { copy(b[100:8000], bytes.Repeat([]byte{0xa5}, 8000)); return b },
		"garbled pages":     func(b []byte) []byte { copy(b[8192:], bytes.Repeat([]byte{0x5a}, 20000)); return b },
		"zeroes in a table": func(b []byte) []byte { clear(b[8192 : 2*8192]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "patchbay.db"), damage(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, "patchbay.db", "damaged")
		})
	}
}

// TestFlippedBytesAreErrors flips single bytes anywhere: the database opens or not, reads fail or not, but nothing
// panics, and what is said about damage is an error.
func TestFlippedBytesAreErrors(t *testing.T) {
	pristine := filled(t)
	whole, err := os.ReadFile(filepath.Join(pristine, "patchbay.db"))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	opened, n := 0, 150
	if underRace {
		n = 40
	}
	for range n {
		dir := t.TempDir()
		b := bytes.Clone(whole)
		for range 1 + random.IntN(4) {
			b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
		}
		if err := os.WriteFile(filepath.Join(dir, "patchbay.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openIn(t, dir)
		if err != nil {
			continue
		}
		opened++
		look(s)
		_ = s.Close()
	}
	if opened == 0 || opened == n {
		t.Errorf("%d of %d opened: the test tests nothing", opened, n)
	}
}

// look reads everything that lists show.
func look(s *sqlite.Store) {
	ctx := context.Background()
	events, _ := s.Events(ctx, store.EventFilter{Limit: 100})
	for i := range events {
		_, _ = s.OfEvent(ctx, events[i].ID)
	}
	_, _ = s.Events(ctx, store.EventFilter{Limit: 100, Within: "acme", Types: []string{"repo.push"}})
	_, _ = s.Deliveries(ctx, store.DeliveryFilter{Limit: 100, Within: "acme"})
	_, _ = s.Deliveries(ctx, store.DeliveryFilter{Limit: 100, States: []patchbay.DeliveryState{patchbay.DeliveryFailed, patchbay.DeliveryPending}})
	_, _ = s.Waited(ctx)
	_, _ = s.Due(ctx, 1, time.Now(), 10, nil)
	_, _ = s.AllLinks(ctx)
	_, _ = s.Recover(ctx, time.Now())
}

// TestWhatOpensIsWhatWasClosed opens a database several times, and checks that nothing is written by opening alone.
func TestWhatOpensIsWhatWasClosed(t *testing.T) {
	dir := filled(t)
	before, err := os.ReadFile(filepath.Join(dir, "patchbay.db"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := openIn(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		look(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.ReadFile(filepath.Join(dir, "patchbay.db"))
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(after) {
		t.Errorf("the file had %d bytes and has %d", len(before), len(after))
	}
	info, err := os.Stat(filepath.Join(dir, "patchbay.db"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read the database: %s", info.Mode())
	}
	if info, err := os.Stat(filepath.Join(dir, "patchbay.db-wal")); err == nil && info.Size() != 0 {
		t.Errorf("after Close the log has %d bytes", info.Size())
	}
}

// TestPins checks what the translated library says of itself: its code works with exactly one version of its libc.
func TestPins(t *testing.T) {
	mod, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{"modernc.org/sqlite": "v1.60.1", "modernc.org/libc": "v1.77.1"} {
		m := regexp.MustCompile(regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(mod)
		if m == nil || string(m[1]) != want {
			t.Errorf("go.mod has %s at %s, want %s: the two are pinned together, see docs/decisions/0001-sqlite-layout.md", module, m, want)
		}
	}
}
