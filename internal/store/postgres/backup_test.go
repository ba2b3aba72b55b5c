package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// TestBackupAndRestore dumps a database while a node serves from it, and restores it into a new one: everything that was
// answered before is there, and what that node had in memory is sent by the one that starts there.
func TestBackupAndRestore(t *testing.T) {
	ctx := context.Background()
	server := pgtest.Shared(t)
	from, to := server.Database(t), server.Database(t)
	s, err := postgres.Open(ctx, postgres.Options{URL: from, Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var events []patchbay.EventID
	for i := range 200 {
		id := patchbay.EventID(s.NewID(2))
		a := &store.Acceptance{
			Event: &patchbay.Event{ID: id, Type: "a", Scope: "acme", Payload: []byte(`{"n": 1.50}`), ReceivedAt: time.Now(), OccurredAt: time.Now(),
				Source: patchbay.Source{Kind: patchbay.SourceAPI}},
			Targets: []store.Target{{Link: 7, Revision: 1, Integration: "webhook"}},
		}
		if i%2 == 0 {
			a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(id, 1), Event: id, Link: 7, Due: time.Now()}}
		}
		if _, err := s.Accept(ctx, a); err != nil {
			t.Fatal(err)
		}
		events = append(events, id)
	}
	file := filepath.Join(t.TempDir(), "backup")
	size, err := postgres.Backup(ctx, from, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != size || size == 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v (%v), want %d bytes for its owner only", info, err, size)
	}
	if err := postgres.Restore(ctx, file, to); err != nil {
		t.Fatal(err)
	}
	r, err := postgres.Open(ctx, postgres.Options{URL: to, Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Recover(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	for i, id := range events {
		e, err := r.Event(ctx, id)
		if err != nil || string(e.Payload) != `{"n": 1.50}` {
			t.Fatalf("event %d: %+v (%v)", i, e, err)
		}
	}
	if n, err := r.Waiting(ctx, 7, 1000); err != nil || n != len(events) {
		t.Errorf("%d deliveries wait (%v), want %d", n, err, len(events))
	}

	if _, err := postgres.Backup(ctx, from, file, nil); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("a backup over another file: %v", err)
	}
	if err := postgres.Restore(ctx, file, from); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("a restore over another installation: %v", err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"half": whole[:len(whole)/2], "text": []byte("hello"), "head": whole[:50]} {
		bad := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		empty := server.Database(t)
		if err := postgres.Restore(ctx, bad, empty); err == nil {
			t.Errorf("%s of a backup can be restored", name)
		}
		if got := strings.TrimSpace(server.SQL(t, nameOf(t, empty), "SELECT count(*) FROM pg_class WHERE relname = 'event'")); name == "half" && got != "0" {
			t.Errorf("half of a backup leaves tables: %s", got)
		}
	}
}

func TestBackupOfNothingLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	_, err := postgres.Backup(context.Background(), "postgres://nobody:hunter2@127.0.0.1:1/none", file, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
	_, err = postgres.Backup(context.Background(), pgtest.Database(t), file, nil) // empty
	if err == nil || !strings.Contains(err.Error(), "not a backup of Patchbay") {
		t.Errorf("of an empty database: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is %v (%v)", left, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := postgres.Backup(ctx, pgtest.Database(t), file, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// nameOf returns the name of the database at a URL.
func nameOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}
