package secret

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/store"
)

var place = store.SealPlace{Table: "link", Row: "lnk_1/1", Column: "data"}

// ring returns a ring with a file of its own.
func ring(t testing.TB) *Ring {
	t.Helper()
	r, err := Read(filepath.Join(t.TempDir(), "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	if made, err := r.Create(t.Context()); err != nil || !made {
		t.Fatal(made, err)
	}
	return r
}

func seal(t testing.TB, s *Sealer, at store.SealPlace, plain string) []byte {
	t.Helper()
	sealed, err := s.Seal(t.Context(), at, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// TestSeal proves that what is sealed says nothing, opens at its place, and is different every time.
func TestSeal(t *testing.T) {
	s := NewSealer(ring(t))
	for _, plain := range []string{"", "x", `{"url":"https://hooks.slack.com/T/B/secret"}`, strings.Repeat("long ", 100_000)} {
		sealed := seal(t, s, place, plain)
		if again := seal(t, s, place, plain); bytes.Equal(sealed, again) {
			t.Error("the same secret is sealed into the same bytes")
		}
		if len(plain) > 3 && bytes.Contains(sealed, []byte(plain[:4])) {
			t.Error("what is sealed shows what it hides")
		}
		opened, err := s.Open(t.Context(), place, sealed)
		if err != nil || string(opened) != plain {
			t.Errorf("%d bytes come back as %d: %v", len(plain), len(opened), err)
		}
		if over := len(sealed) - len(plain); over > 128 {
			t.Errorf("sealing adds %d bytes", over)
		}
	}
}

// TestRefused proves that what was changed at any byte, cut off anywhere or moved does not open, and says why.
func TestRefused(t *testing.T) {
	r := ring(t)
	s := NewSealer(r)
	sealed := seal(t, s, place, "a secret")
	refused := func(what string, at store.SealPlace, sealed []byte) {
		t.Helper()
		plain, err := s.Open(t.Context(), at, sealed)
		if !errors.Is(err, store.ErrSealed) || plain != nil {
			t.Errorf("%s: got %q, %v", what, plain, err)
		} else if !strings.Contains(err.Error(), at.Row) || strings.Contains(err.Error(), "a secret\"") {
			t.Errorf("%s: the error does not say where: %v", what, err)
		}
		if _, changed, err := s.Reseal(t.Context(), at, sealed); changed {
			t.Errorf("%s: sealed anew (%v)", what, err)
		}
	}
	for i := range sealed {
		for bit := range 8 {
			b := bytes.Clone(sealed)
			b[i] ^= 1 << bit
			refused(fmt.Sprintf("byte %d, bit %d", i, bit), place, b)
		}
	}
	for i := range sealed {
		refused(fmt.Sprintf("cut off after %d bytes", i), place, sealed[:i])
	}
	refused("bytes after the end", place, append(bytes.Clone(sealed), 0))
	for _, at := range []store.SealPlace{
		{Table: "link", Row: "lnk_1/2", Column: "data"}, {Table: "link", Row: "lnk_2/1", Column: "data"},
		{Table: "connection", Row: "lnk_1/1", Column: "data"}, {Table: "link", Row: "lnk_1/1", Column: "credentials"},
		{Table: "linkl", Row: "nk_1/1", Column: "data"}, {Table: "lin", Row: "klnk_1/1", Column: "data"}, {Table: "link", Row: "lnk_1/1data"},
	} {
		refused(fmt.Sprintf("moved to %v", at), at, sealed)
	}
	// The secrets of one row under the wrapped key of another.
	other, err := split(seal(t, s, store.SealPlace{Table: "link", Row: "lnk_1/2", Column: "data"}, "another"))
	if err != nil {
		t.Fatal(err)
	}
	mine, err := split(sealed)
	if err != nil {
		t.Fatal(err)
	}
	refused("a key from elsewhere", place, append(bytes.Clone(sealed[:len(sealed)-len(mine.body)]), other.body...))
}

// TestUnknownKey proves that a secret of a key that is not there names the key and the file, and opens as soon as the
// file has the key.
func TestUnknownKey(t *testing.T) {
	theirs, mine := ring(t), ring(t)
	sealed := seal(t, NewSealer(theirs), place, "a secret")
	_, err := NewSealer(mine).Open(t.Context(), place, sealed)
	if !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), theirs.Current()) || !strings.Contains(err.Error(), mine.Path()) {
		t.Fatalf("got %v", err)
	}
	text, err := os.ReadFile(theirs.Path())
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(mine.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine.Path(), append(text, have...), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, err := NewSealer(mine).Open(t.Context(), place, sealed)
	if err != nil || string(plain) != "a secret" {
		t.Errorf("with the key in the file: %q, %v", plain, err)
	}
}

// TestAnotherKeyOfTheName proves that a key of the right name and the wrong bytes opens nothing.
func TestAnotherKeyOfTheName(t *testing.T) {
	theirs := ring(t)
	sealed := seal(t, NewSealer(theirs), place, "a secret")
	k := newKey(theirs.keys[0].made, nil)
	k.id = theirs.Current()
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := writeFile(path, k.line()); err != nil {
		t.Fatal(err)
	}
	mine, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewSealer(mine).Open(t.Context(), place, sealed)
	if !errors.Is(err, store.ErrSealed) || !strings.Contains(err.Error(), "not the one of that name") {
		t.Errorf("got %v", err)
	}
	if mine.Keys()[0].Print == theirs.Keys()[0].Print {
		t.Error("two keys have one fingerprint")
	}
}

// TestReseal proves that sealing anew changes the key that is needed and leaves the secrets' bytes alone, and that the old
// key can go then.
func TestReseal(t *testing.T) {
	r := ring(t)
	s := NewSealer(r)
	sealed := seal(t, s, place, "a secret")
	if _, changed, err := s.Reseal(t.Context(), place, sealed); changed || err != nil {
		t.Fatalf("sealed anew with the current key: %v, %v", changed, err)
	}
	old := r.Current()
	id, err := r.Add(t.Context())
	if err != nil || r.Current() != old {
		t.Fatalf("adding a key: %v; the current one is %s, was %s", err, r.Current(), old)
	}
	if !r.Use(id) || r.Use("another") || r.Current() != id {
		t.Fatalf("the current key is %s, not %s", r.Current(), id)
	}
	again, changed, err := s.Reseal(t.Context(), place, sealed)
	if !changed || err != nil {
		t.Fatal(changed, err)
	}
	was, _ := split(sealed)
	is, _ := split(again)
	if is.key != id || !bytes.Equal(was.body, is.body) || bytes.Equal(was.wrapped, is.wrapped) {
		t.Errorf("it needs %s; the secrets are the same: %v", is.key, bytes.Equal(was.body, is.body))
	}
	if _, changed, err := s.Reseal(t.Context(), store.SealPlace{Table: "elsewhere"}, sealed); changed || !errors.Is(err, store.ErrSealed) {
		t.Errorf("something that was moved is sealed anew: %v, %v", changed, err)
	}
	text, err := os.ReadFile(r.Path())
	if err != nil {
		t.Fatal(err)
	}
	without := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(without, []byte(strings.ReplaceAll(string(text), "\n"+old+" ", "\n# ")), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := Read(without)
	if err != nil || len(after.Keys()) != 1 {
		t.Fatal(after, err)
	}
	if plain, err := NewSealer(after).Open(t.Context(), place, again); err != nil || string(plain) != "a secret" {
		t.Errorf("without the old key: %q, %v", plain, err)
	}
	if _, err := NewSealer(after).Open(t.Context(), place, sealed); !errors.Is(err, store.ErrSealed) {
		t.Errorf("what the old key sealed: %v", err)
	}
}

// remote is a Wrapper as another program has one.
type remote struct {
	Wrapper
	name    string
	wrapped int // so many bytes, when not 0
	fail    error
}

func (r *remote) Current() string { return r.name }

func (r *remote) Wrap(ctx context.Context, key string, dataKey, context []byte) ([]byte, error) {
	if r.wrapped != 0 {
		return make([]byte, r.wrapped), nil
	}
	return append([]byte(key+"|"), dataKey...), r.fail
}

func (r *remote) Unwrap(_ context.Context, key string, wrapped, _ []byte) ([]byte, error) {
	return bytes.TrimPrefix(wrapped, []byte(key+"|")), r.fail
}

// TestWrapper proves that another Wrapper can do it, with long names too, and that its mistakes are found.
func TestWrapper(t *testing.T) {
	long := "arn:aws:kms:eu-central-1:123456789012:key/" + strings.Repeat("f", 200)
	w := &remote{name: long}
	s := NewSealer(w)
	sealed := seal(t, s, place, "a secret")
	if plain, err := s.Open(t.Context(), place, sealed); err != nil || string(plain) != "a secret" {
		t.Errorf("got %q, %v", plain, err)
	}
	if id, err := KeyOf(sealed); err != nil || id != long {
		t.Errorf("the key is %q, %v", id, err)
	}
	w.fail = errors.New("the service is down")
	if _, err := s.Open(t.Context(), place, sealed); !errors.Is(err, w.fail) {
		t.Errorf("got %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(gone, place, sealed); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrSealed) {
		t.Errorf("a call that was given up: %v", err)
	}
	for _, bad := range []*remote{{name: ""}, {name: "a b"}, {name: strings.Repeat("x", 256)}, {name: "k", wrapped: maxWrapped + 1}, {name: "k", fail: w.fail}} {
		if _, err := NewSealer(bad).Seal(t.Context(), place, nil); err == nil {
			t.Errorf("%+v seals", bad)
		}
	}
}

// FuzzOpen proves that nothing that stands in a database ends the program, and that only what was sealed opens.
func FuzzOpen(f *testing.F) {
	s := NewSealer(ring(f))
	sealed := seal(f, s, place, "a secret")
	f.Add(sealed)
	f.Add(sealed[:20])
	f.Add([]byte{1, 255})
	f.Add([]byte{1, 1, 'k', 255, 255})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Equal(raw, sealed) {
			return
		}
		if _, err := s.Open(t.Context(), place, raw); !errors.Is(err, store.ErrSealed) {
			t.Fatalf("opened, or failed otherwise: %v", err)
		}
		if id, err := KeyOf(raw); err == nil && !validName(id) {
			t.Fatalf("the name %q", id)
		}
	})
}

// BenchmarkOpen is what a start costs for every link.
func BenchmarkOpen(b *testing.B) {
	s := NewSealer(ring(b))
	plain := make([]byte, 300)
	_, _ = rand.Read(plain)
	sealed := seal(b, s, place, string(plain))
	for b.Loop() {
		if _, err := s.Open(b.Context(), place, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSeal is what writing a link costs more.
func BenchmarkSeal(b *testing.B) {
	s := NewSealer(ring(b))
	plain := make([]byte, 300)
	for b.Loop() {
		if _, err := s.Seal(b.Context(), place, plain); err != nil {
			b.Fatal(err)
		}
	}
}
