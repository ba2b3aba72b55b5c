package secret

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func b64(b byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(b)), keyBytes)))
}

// TestParse proves what a key file may look like, and that every mistake is named with its line and without the key.
func TestParse(t *testing.T) {
	good := "# a comment\n\n  k1 " + b64('a') + "\r\n\tk2\t" + b64('b') + " 2026-01-31T12:00:00+01:00 # the second\nk-3._X " + b64('c')
	keys, err := parse("f", good)
	if err != nil || len(keys) != 3 || keys[2].id != "k-3._X" || keys[1].made.Format(time.RFC3339) != "2026-01-31T11:00:00Z" || keys[0].bytes[31] != 'a' {
		t.Fatalf("got %+v, %v", keys, err)
	}
	for text, want := range map[string]string{
		"":                                      "f has no key",
		"# only a comment\n":                    "f has no key",
		"k1\n":                                  "f:1: write a name",
		"\n\nk1 a b c\n":                        "f:3: write a name",
		"k/1 " + b64('a'):                       "f:1: the name of a key is made of",
		"k1 ****":                               "f:1: the key \"k1\" is not base64",
		"k1 " + b64('a')[:40]:                   "f:1: the key \"k1\" has 30 bytes and must have 32",
		"k1 " + b64('a') + "AA":                 "f:1: the key \"k1\" is not base64",
		"k1 " + b64(0):                          "f:1: the key \"k1\" is all zeros",
		"k1 " + b64('a') + " yesterday":         "f:1: the key \"k1\" was made at a time",
		"k1 " + b64('a') + "\nk1 " + b64('b'):   "f:2: the name \"k1\" is there already",
		"k1 " + b64('a') + "\n\nk2 " + b64('a'): "f:3: the key is the same as that of \"k1\"",
		strings.Repeat("x", maxID+1) + " " + b64('a'):        "f:1: the name of a key",
		strings.Repeat("# very long\n", maxFile/10):          "this is no key file",
		"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END-----\n": "f:1: ",
	} {
		_, err := parse("f", text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		} else if strings.Contains(err.Error(), b64('a')[:10]) {
			t.Errorf("%.40q: the error shows the key: %v", text, err)
		}
	}
}

// TestFile proves that a made file is for its owner only, reads back, and keeps what people write into it.
func TestFile(t *testing.T) {
	r := ring(t)
	info, err := os.Stat(r.Path())
	if err != nil || protects && info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	if made, err := r.Create(t.Context()); made || err != nil {
		t.Errorf("a second first key: %v, %v", made, err)
	}
	text, err := os.ReadFile(r.Path())
	if err != nil {
		t.Fatal(err)
	}
	mine := strings.TrimSuffix(string(text), "\n") + " # from the safe" // and no end of the line
	if err := os.WriteFile(r.Path(), []byte(mine), 0o640); err != nil {
		t.Fatal(err)
	}
	id, err := r.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(r.Path())
	if err != nil || !strings.HasPrefix(string(text), mine+"\n"+id+" ") {
		t.Errorf("the file is %q, %v", text, err)
	}
	read, err := Read(r.Path())
	if err != nil {
		t.Fatal(err)
	}
	if keys := read.Keys(); len(keys) != 2 || keys[1].ID != id || keys[1].Made.IsZero() || read.Current() != id {
		t.Errorf("read back: %+v, current %s", keys, read.Current())
	}
	if left, _ := filepath.Glob(r.Path() + ".*"); len(left) != 1 { // the lock
		t.Errorf("files are left behind: %q", left)
	}
}

// TestPermissions proves that a file that others can read is warned about, once it is there.
func TestPermissions(t *testing.T) {
	if !protects {
		t.Skip("permissions mean nothing here")
	}
	r := ring(t)
	for mode, warns := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o440: false, 0o644: true, 0o660: true, 0o604: true} {
		if err := os.Chmod(r.Path(), mode); err != nil {
			t.Fatal(err)
		}
		if got := r.Warnings(); len(got) > 0 != warns || warns && !strings.Contains(got[0], "chmod 600 "+r.Path()) {
			t.Errorf("%v: %q", mode, got)
		}
	}
	if got := (&Ring{path: filepath.Join(t.TempDir(), "none")}).Warnings(); got != nil {
		t.Errorf("without a file: %q", got)
	}
}

// TestManyFirst proves that of many that make the first key one does, and that no key is lost when many add keys.
func TestManyFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "secret.key")
	var mu sync.Mutex
	current, made, added := map[string]bool{}, 0, map[string]bool{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, err := Read(path)
			if err != nil {
				t.Error(err)
				return
			}
			won, err := r.Create(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			first := r.Keys()[0].ID
			id, err := r.Add(t.Context())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			current[first], added[id] = true, true
			if won {
				made++
			}
		})
	}
	all.Wait()
	if len(current) != 1 || made != 1 {
		t.Errorf("%d made the first key; it is one of %v", made, current)
	}
	r, err := Read(path)
	if err != nil || len(r.Keys()) != 9 || len(added) != 8 {
		t.Errorf("%d keys, %v", len(r.Keys()), err)
	}
}

// TestReload proves that a running process keeps what it has read: when the file is gone, broken, or without its key.
func TestReload(t *testing.T) {
	r := ring(t)
	s := NewSealer(r)
	sealed := seal(t, s, place, "a secret")
	opens := func(when string) {
		t.Helper()
		if plain, err := s.Open(t.Context(), place, sealed); err != nil || string(plain) != "a secret" {
			t.Errorf("%s: %q, %v", when, plain, err)
		}
	}
	write := func(text string) error {
		if err := os.WriteFile(r.Path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return r.Reload()
	}
	first := r.Current()
	if err := write("half a li"); err == nil {
		t.Error("a broken file is read")
	}
	opens("with a broken file")
	if err := write("other " + b64('x') + "\n"); err != nil {
		t.Fatal(err)
	}
	opens("without its key in the file")
	if keys := r.Keys(); len(keys) != 2 || keys[0].ID != first || keys[0].InFile || !keys[1].InFile || r.Current() != first {
		t.Errorf("the ring has %+v, current %s", keys, r.Current())
	}
	if err := write("other " + b64('y') + "\n"); err == nil || !strings.Contains(err.Error(), "another one than it was") {
		t.Errorf("a name with another key: %v", err)
	}
	if err := os.Remove(r.Path()); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	opens("without a file")
}

// FuzzParse proves that no file ends the program, and that what is read can be written and read again.
func FuzzParse(f *testing.F) {
	f.Add(header + "k1 " + b64('a') + " 2026-01-31T12:00:00Z\n")
	f.Add("k1 " + b64('a') + "\nk2 " + b64('b'))
	f.Add("\x00#")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parse("f", text)
		if err != nil {
			return
		}
		again := ""
		for i := range keys {
			again += keys[i].line()
		}
		back, err := parse("f", again)
		if err != nil || len(back) != len(keys) || back[0].bytes != keys[0].bytes || back[0].id != keys[0].id {
			t.Fatalf("%q comes back as %+v, %v", again, back, err)
		}
	})
}
