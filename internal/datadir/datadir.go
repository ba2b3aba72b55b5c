// Package datadir looks after the directory that belongs to one process at a time: it locks it, and remembers in it
// which node of an installation the process is. What else lies there is other packages' business.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The files that this package keeps.
const (
	lockName = "patchbay.lock"
	nodeName = "node.id"
)

// nodeLength is the length of a node's name: 128 random bits.
const nodeLength = 32

// Dir is a directory that this process has locked.
type Dir struct {
	path string
	lock *os.File
}

// Lock makes the directory if need be, and makes sure that this is the only process that uses it. The lock ends with
// the process, however that ends: whoever gets it knows that the one before is dead.
func Lock(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("the data directory %s cannot be made: %w", path, err)
	}
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory %s cannot be written; choose another one or give this user the right to write there: %w", path, err)
	}
	mine, err := lockFile(f)
	switch {
	case err != nil:
		err = fmt.Errorf("the data directory %s cannot be locked: %w", path, err)
	case !mine:
		text, _ := io.ReadAll(io.LimitReader(f, 20))
		who := "another process"
		if pid := strings.TrimSpace(string(text)); pid != "" {
			who = "process " + pid
		}
		err = fmt.Errorf("the data directory %s is in use by %s: stop that one first, or choose another directory", path, who)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0) // only for the sentence above
	}
	return &Dir{path: path, lock: f}, nil
}

// Unlock lets another process use the directory. A second call does nothing.
func (d *Dir) Unlock() error {
	if d == nil || d.lock == nil {
		return nil
	}
	f := d.lock
	d.lock = nil
	return f.Close()
}

// Node returns the name by which the other nodes of an installation know the process with this directory, also after
// a restart. The first call makes it.
func (d *Dir) Node() (string, error) {
	name := filepath.Join(d.path, nodeName)
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.makeNode(name)
	case err != nil:
		return "", fmt.Errorf("the name of this node cannot be read: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if raw, err := hex.DecodeString(id); err != nil || len(raw)*2 != nodeLength {
		return "", fmt.Errorf("%s does not hold the name of a node: remove the file, and the next start makes a new name", name)
	}
	return id, nil
}

// makeNode writes a new name so that a crash leaves the whole file or none.
func (d *Dir) makeNode(name string) (string, error) {
	var random [nodeLength / 2]byte
	_, _ = rand.Read(random[:]) // it never fails: without randomness the process ends
	id := hex.EncodeToString(random[:])
	f, err := os.CreateTemp(d.path, nodeName+".*")
	if err == nil {
		_, err = f.WriteString(id + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
		if err == nil {
			err = os.Rename(f.Name(), name)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}
	if err != nil {
		return "", fmt.Errorf("the name of this node cannot be written to the data directory: %w", err)
	}
	return id, nil
}
