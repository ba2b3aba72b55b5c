package docgen

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWriteFolder: a folder can be written again, what is of no use goes, and what is somebody else's stays.
func TestWriteFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "docs")
	write := func(wants string, files map[string]string) {
		t.Helper()
		in := map[string][]byte{}
		for name, content := range files {
			in[name] = []byte(content)
		}
		switch err := WriteFolder(dir, in); {
		case wants == "" && err != nil:
			t.Fatal(err)
		case wants != "" && (err == nil || !strings.Contains(err.Error(), wants)):
			t.Fatalf("the error is %v, want %q", err, wants)
		}
	}
	has := func(name, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, name))
		if want == "" && !os.IsNotExist(err) || want != "" && string(got) != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("", map[string]string{"index.html": "1", "a/x.css": "1", "old.html": "1"})
	put("mine.txt", "mine")
	write("", map[string]string{"index.html": "2", "a/x.css": "2"})
	has("index.html", "2")
	has("a/x.css", "2")
	has("old.html", "")
	has("mine.txt", "mine")

	put("new.html", "mine")
	write("new.html is there already", map[string]string{"index.html": "3", "new.html": "3"})
	has("index.html", "2") // nothing was begun
	has("new.html", "mine")

	// A list that somebody has changed takes nothing else away.
	put(manifest, "../outside.txt\n/etc/hosts\n.\n"+manifest+"\nindex.html\na/x.css\n")
	outside := filepath.Join(filepath.Dir(dir), "outside.txt")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("", map[string]string{"index.html": "4"})
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a file outside of the folder is gone: %v", err)
	}

	// Nothing is written through a link that leads out.
	if err := os.Symlink(filepath.Dir(dir), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	write("cannot be written", map[string]string{"out/file.html": "5"})

	dir = filepath.Join(dir, "mine.txt")
	write("cannot be made", map[string]string{"index.html": "6"})
}
