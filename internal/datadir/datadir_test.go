package datadir

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestOneProcessAtATime proves that a directory is locked until it is unlocked, and that the refusal says by whom.
func TestOneProcessAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	first, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil || !strings.Contains(err.Error(), "in use by process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("a second lock: %v", err)
	}
	for range 2 {
		if err := first.Unlock(); err != nil {
			t.Error(err)
		}
	}
	second, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestNode proves that a node keeps its name, that two have different ones, and that a damaged one is refused with a
// sentence that says what to do.
func TestNode(t *testing.T) {
	names := map[string]bool{}
	for range 2 {
		dir := t.TempDir()
		for range 2 {
			d, err := Lock(dir)
			if err != nil {
				t.Fatal(err)
			}
			name, err := d.Node()
			if err != nil {
				t.Fatal(err)
			}
			names[name] = true
			if err := d.Unlock(); err != nil {
				t.Error(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, nodeName), []byte("nonsense\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Node(); err == nil || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("a damaged name: %v", err)
		}
		if err := d.Unlock(); err != nil {
			t.Error(err)
		}
	}
	if len(names) != 2 {
		t.Errorf("two nodes have the names %v", names)
	}
}
