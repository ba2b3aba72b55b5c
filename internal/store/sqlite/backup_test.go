package sqlite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
	"github.com/patchbay/patchbay/internal/store/storetest"
)

// TestBackupUnderLoad takes backups while events come in, restores them, and looks for everything that had been
// answered before the backup began.
func TestBackupUnderLoad(t *testing.T) {
	ctx := context.Background()
	dir, out := t.TempDir(), t.TempDir()
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()

	var mu sync.Mutex
	var gate sync.RWMutex // closed while nothing is backed up: what comes in then would only be more to restore
	var answered []*store.Acceptance
	longest := time.Duration(0)
	stop := make(chan struct{})
	var owned sync.WaitGroup
	for range 4 {
		owned.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a := acceptance(s, 2, time.Now())
				if i%3 == 0 {
					a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(a.Event.ID, 1), Event: a.Event.ID, Link: a.Targets[0].Link, Due: time.Now()}}
				}
				gate.RLock()
				began := time.Now()
				_, err := s.Accept(ctx, a)
				gate.RUnlock()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				longest = max(longest, time.Since(began))
				answered = append(answered, a)
				mu.Unlock()
			}
		})
	}
	before := func() []*store.Acceptance {
		mu.Lock()
		defer mu.Unlock()
		return answered[:len(answered):len(answered)]
	}
	for len(before()) < 2000 && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	for round := range 3 {
		must := before()
		file := filepath.Join(out, "backup"+string(rune('a'+round)))
		contents, err := sqlite.Backup(ctx, dir, file, nil)
		if err != nil {
			t.Fatal(err)
		}
		after := before()
		gate.Lock()
		if contents.Events < int64(len(must)) || contents.Events > int64(len(after))+4 {
			t.Errorf("the backup has %d events, and between %d and %d had been answered", contents.Events, len(must), len(after))
		}
		restored := filepath.Join(out, "restored"+string(rune('a'+round)))
		if _, err := sqlite.Restore(ctx, file, restored, nil); err != nil {
			t.Fatal(err)
		}
		checkRestored(t, restored, must)
		gate.Unlock()
	}
	close(stop)
	owned.Wait()
	t.Logf("%d events, the longest acceptance took %s", len(answered), longest)
}

// checkRestored opens a restored directory and looks for events, and for all of their deliveries in the queue: what the
// other process had in memory is due here.
func checkRestored(t *testing.T, dir string, must []*store.Acceptance) {
	t.Helper()
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Recover(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	for i, a := range must {
		if i%50 != 0 && i < len(must)-20 {
			continue // every 50th, and the last
		}
		e, err := s.Event(ctx, a.Event.ID)
		if err != nil || string(e.Payload) != string(a.Event.Payload) {
			t.Fatalf("event %d of %d: %v", i, len(must), err)
		}
		all, err := s.OfEvent(ctx, a.Event.ID)
		if err != nil || len(all) != 2 || all[0].NextAttemptAt == nil || all[1].NextAttemptAt == nil {
			t.Fatalf("the deliveries of event %d are %+v (%v)", i, all, err)
		}
	}
}

func stopped(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := s.Accept(context.Background(), acceptance(s, 1, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBackupAndRestoreRefuse(t *testing.T) {
	ctx := context.Background()
	dir, out := stopped(t), t.TempDir()
	good := filepath.Join(out, "good")
	if _, err := sqlite.Backup(ctx, dir, good, nil); err != nil { // of an installation that does not run
		t.Fatal(err)
	}
	write := func(name string, change func([]byte) []byte) string {
		t.Helper()
		b, err := os.ReadFile(good)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(out, name)
		if err := os.WriteFile(name, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	damaged := write("damaged", func(b []byte) []byte {
		for i := 5 * 8192; i < 6*8192; i++ {
			b[i] = 0xa5
		}
		return b
	})
	half := write("half", func(b []byte) []byte { return b[:len(b)/2] })
	text := write("text", func([]byte) []byte {
		return []byte("not a database at all, but long enough to look at it, twice over, so that it is 100 bytes long")
	})
	newer := write("newer", func(b []byte) []byte { b[63] = 99; return b })
	other := write("other", func(b []byte) []byte { b[68] = 1; return b })
	for _, tc := range []struct{ file, want string }{
		{damaged, "damaged"}, {half, "damaged"}, {text, "not an SQLite database"}, {newer, "newer version"}, {other, "not a database of Patchbay"},
		{filepath.Join(out, "none"), "cannot be read"}, {out, "is not a file"},
	} {
		target := filepath.Join(t.TempDir(), "new")
		_, err := sqlite.Restore(ctx, tc.file, target, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("restoring %s: %v, want …%s…", tc.file, err, tc.want)
		}
		if _, err := os.Stat(filepath.Join(target, "patchbay.db")); err == nil {
			t.Errorf("restoring %s left a database", tc.file)
		}
	}
	if _, err := sqlite.Restore(ctx, good, dir, nil); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("restoring over a database: %v", err)
	}
	if _, err := sqlite.Backup(ctx, dir, good, nil); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("a backup over another file: %v", err)
	}
	if _, err := sqlite.Backup(ctx, t.TempDir(), filepath.Join(out, "x"), nil); err == nil || !strings.Contains(err.Error(), "there is no database") {
		t.Errorf("a backup of nothing: %v", err)
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: filepath.Join(out, "served")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := sqlite.Restore(ctx, good, filepath.Join(out, "served"), nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("restoring into a directory in use: %v", err)
	}
}

func TestAnInterruptedBackupLeavesNothing(t *testing.T) {
	dir, out := stopped(t), t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := sqlite.Backup(ctx, dir, filepath.Join(out, "x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Errorf("there is %s", left[0].Name())
	}
}

// TestBackupsKeepSecrets takes a backup of a database that seals: it needs no key, holds nothing in the open, and what is
// restored from it opens with the same keys.
func TestBackupsKeepSecrets(t *testing.T) {
	ctx, dir, out := context.Background(), t.TempDir(), t.TempDir()
	keys := storetest.NewKeys()
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: dir, Sealer: keys})
	if err != nil {
		t.Fatal(err)
	}
	const secret = "HUSH-HUSH"
	c := &patchbay.Connection{ID: patchbay.ConnectionID(s.NewID(1)), Revision: 1, Credentials: patchbay.Credentials{Access: secret}}
	l := &patchbay.Link{ID: patchbay.LinkID(s.NewID(1)), Revision: 1, Settings: json.RawMessage(`{"token":"` + secret + `"}`)}
	h := &store.Hook{ID: patchbay.HookID(s.NewID(1)), Integration: "github", Body: []byte("called")}
	_, saved := s.SaveHook(ctx, h)
	if err := errors.Join(s.SaveConnection(ctx, c), s.SaveLink(ctx, l), saved); err != nil {
		t.Fatal(err)
	}
	file, restored := filepath.Join(out, "backup"), filepath.Join(out, "restored")
	if _, err := sqlite.Backup(ctx, dir, file, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(file); err != nil || bytes.Contains(raw, []byte(secret)) {
		t.Errorf("the backup shows what is secret (%v)", err)
	}
	if _, err := sqlite.Restore(ctx, file, restored, nil); err != nil {
		t.Fatal(err)
	}
	if s, err = sqlite.Open(ctx, sqlite.Options{Dir: restored, Sealer: keys}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	connection, err := s.Connection(ctx, c.ID)
	if err != nil || connection.Credentials.Access != secret {
		t.Errorf("the connection is %+v, %v", connection, err)
	}
	link, err := s.LinkNow(ctx, l.ID)
	if err != nil || string(link.Settings) != string(l.Settings) {
		t.Errorf("the link is %+v, %v", link, err)
	}
	if hook, err := s.Hook(ctx, h.ID); err != nil || string(hook.Body) != "called" {
		t.Errorf("the hook is %+v, %v", hook, err)
	}
	if id := s.NewID(1); id <= int64(h.ID) {
		t.Errorf("an identifier is made again: %d after %d", id, h.ID)
	}
}
