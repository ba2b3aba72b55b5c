package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
)

// sealedRows asks which keys are needed by how many rows. current is the one in use.
func (s *server) sealedRows() (rows map[string]int, current string) {
	s.t.Helper()
	status, answer := s.call("GET", "/v1/secrets", "")
	if status != 200 || answer["unreadable"] != 0.0 {
		s.t.Fatalf("the keys of secrets were answered %d: %v", status, answer)
	}
	rows = map[string]int{"": int(answer["unsealed"].(float64))}
	for _, k := range answer["data"].([]any) {
		k := k.(map[string]any)
		rows[k["id"].(string)] = int(k["rows"].(float64))
		if k["current"].(bool) {
			current = k["id"].(string)
		}
	}
	return rows, current
}

// secretLinks makes links to a sink, of which one gets what is published, and the others are rows with secrets.
func (s *server) secretLinks(n int, to string) {
	s.t.Helper()
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			for i := c; i < n; i += 8 {
				scope := fmt.Sprint("other/", i)
				if i == 0 {
					scope = "acme"
				}
				body := fmt.Sprintf(`{"integration":"webhook","scope":%q,"events":["*"],"settings":{"url":%q}}`, scope, to)
				if status, answer, err := s.try(context.Background(), "POST", "/v1/links", body); err != nil || status != 201 {
					s.t.Errorf("a link was answered %d: %v, %v", status, answer, err)
				}
			}
		})
	}
	all.Wait()
}

// sealedWith waits until everything is sealed with the current key, which is another one than before.
func (s *server) sealedWith(rows int, before string) (current string) {
	s.t.Helper()
	waitUntil(s.t, patience, "the rotation does not end", func() bool {
		var have map[string]int
		have, current = s.sealedRows()
		return have[current] == rows && have[""] == 0 && current != before
	})
	waitUntil(s.t, patience, "the job does not end", func() bool {
		_, answer := s.call("GET", "/v1/jobs?action=reseal&state=pending,running", "")
		return len(answer["data"].([]any)) == 0
	})
	return current
}

// arrives publishes an event and waits until it is at the sink: the address of the link, which is sealed, was read.
func (s *server) arrives(k *sink) {
	s.t.Helper()
	status, answer := s.call("POST", "/events", `{"event_type":"integration_test","scope":"acme","payload":{}}`)
	if status != 201 || answer["deliveries"] != 1.0 {
		s.t.Fatalf("an event was answered %d: %v", status, answer)
	}
	k.waitFor(s.t, map[string]bool{answer["id"].(string): true}, patience)
}

// without takes a key's line out of a key file.
func without(t *testing.T, file, id string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n"+id+" ") {
		t.Fatalf("%s does not have the key %s", file, id)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "\n"+id+" ", "\n# ")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKillNineDuringARotation kills the server at different moments after a rotation has begun: every secret is readable
// after every start, the rotation goes on by itself, and the old key can go when it has ended.
func TestKillNineDuringARotation(t *testing.T) {
	for _, c := range []struct {
		name  string
		after []time.Duration // the moments
		args  func(*testing.T) []string
	}{
		{"SQLite", []time.Duration{0, 15 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond}, func(*testing.T) []string { return []string{"--dev"} }},
		// Fewer, because the next start waits for the job's lease to end.
		{"PostgreSQL", []time.Duration{40 * time.Millisecond}, func(t *testing.T) []string { return []string{"--dev", "--database", pgtest.Database(t)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rows = 2000
			k := newSink(t)
			data, args := t.TempDir(), c.args(t)
			s := start(t, data, args...)
			s.secretLinks(rows, k.URL)
			halfway := 0
			for _, after := range c.after {
				_, before := s.sealedRows()
				if status, answer := s.call("POST", "/v1/secrets/rotate", ""); status != 201 {
					t.Fatalf("the rotation was answered %d: %v", status, answer)
				}
				time.Sleep(after) // any moment will do
				s.kill()
				s = start(t, data, args...)
				s.arrives(k)
				if have, current := s.sealedRows(); have[current] < rows {
					halfway++
				}
				s.sealedWith(rows, before)
				without(t, filepath.Join(data, "secret.key"), before)
				s.kill()
				s = start(t, data, args...)
				s.arrives(k)
			}
			t.Logf("%d of %d starts found a rotation that had not ended", halfway, len(c.after))
			_, answer := s.call("GET", "/v1/links?limit=1", "")
			if len(answer["data"].([]any)) != 1 {
				t.Errorf("the links are %v", answer)
			}
		})
	}
}

// TestRotationOverNodes rotates on one of two nodes, which each have a copy of the key file, and kills the one that was
// asked: the other ends it.
func TestRotationOverNodes(t *testing.T) {
	const rows = 1500
	database := pgtest.Database(t)
	k := newSink(t)
	one, two := t.TempDir(), t.TempDir()
	args := []string{"--dev", "--database", database}
	a := start(t, one, args...)

	// A second node without the file is refused, with what to do, and made nothing.
	refused, err := command(t.Context(), "serve", "--dev", "--listen", "127.0.0.1:0", "--data", two, "--database", database).CombinedOutput()
	if err == nil || !strings.Contains(string(refused), "--key-file") || !strings.Contains(string(refused), "there is no key file "+filepath.Join(two, "secret.key")) {
		t.Fatalf("a node without the key file: %v\n%s", err, refused)
	}
	copyKeys := func() {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(one, "secret.key"))
		if err == nil {
			err = os.WriteFile(filepath.Join(two, "secret.key"), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copyKeys()
	b := start(t, two, args...)
	a.secretLinks(rows, k.URL)
	_, first := a.sealedRows()

	rotate := func(s *server, want string) {
		t.Helper()
		status, answer := s.call("POST", "/v1/secrets/rotate", "")
		if status != 409 || !strings.Contains(fmt.Sprint(answer["error"]), want) {
			t.Fatalf("the rotation was answered %d: %v; want %s", status, answer, want)
		}
	}
	waitUntil(t, patience, "the nodes do not know of each other", func() bool { return len(living(a)) == 2 })
	rotate(a, "patchbay secrets new-key")
	if out, err := command(t.Context(), "secrets", "new-key", "--data", one).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rotate(a, "is not in the key file of node")
	copyKeys()
	waitUntil(t, patience, "the other node does not read its key file again", func() bool {
		status, _ := a.call("POST", "/v1/secrets/rotate", "")
		return status == 201
	})
	a.kill()
	b.arrives(k)
	b.sealedWith(rows, first)
	without(t, filepath.Join(one, "secret.key"), first)
	a = start(t, one, args...)
	a.arrives(k)
	b.arrives(k)
	if have, current := a.sealedRows(); have[current] != rows || current == first {
		t.Errorf("at the end %v, and %s is current", have, current)
	}
}

// TestMoveWithSecrets moves an installation to PostgreSQL: what was sealed is read there with the same key file, and not
// without it.
func TestMoveWithSecrets(t *testing.T) {
	data, database, k := t.TempDir(), pgtest.Database(t), newSink(t)
	s := start(t, data, "--dev")
	s.secretLinks(20, k.URL)
	_, key := s.sealedRows()
	s.interrupt()
	out, err := command(t.Context(), "move", "--from", data, "--to", database).CombinedOutput()
	if err != nil || !strings.Contains(string(out), filepath.Join(data, "secret.key")) {
		t.Fatalf("%v\n%s", err, out)
	}
	refused, err := command(t.Context(), "serve", "--dev", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--database", database).CombinedOutput()
	if err == nil || !strings.Contains(string(refused), "--key-file") {
		t.Errorf("a start without the key file: %v\n%s", err, refused)
	}
	s = start(t, data, "--dev", "--database", database)
	s.arrives(k)
	if rows, current := s.sealedRows(); current != key || rows[key] != 20 || rows[""] != 0 {
		t.Errorf("after the move: %v, %s is current", rows, current)
	}
}
