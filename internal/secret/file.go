package secret

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/patchbay/patchbay/internal/datadir"
)

const (
	keyBytes = 32
	// maxFile and maxID bound what is read: files are made by this program or by hand.
	maxFile = 64 << 10
	maxID   = 64
	// patience is how long another process that changes the file is waited for.
	patience = 10 * time.Second
)

// protects says that permissions of files keep others out.
const protects = runtime.GOOS != "windows"

// header explains the file to whoever opens it.
const header = `# The keys that secrets in Patchbay's database are sealed with: a name, 32 bytes in base64, and when it was made.
# Without them nobody can read the settings of links and the tokens of connections, not even you: keep a copy of this
# file beside your backups, but not in the same place. Every node of an installation needs the same file.
# Which key is in use stands in the database; "patchbay secrets" shows that, and which keys are still needed.
`

// fileKey is a line of the file.
type fileKey struct {
	id    string
	bytes [keyBytes]byte
	made  time.Time
}

// readFile returns the keys of a file, and its text.
func readFile(path string) ([]fileKey, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("the key file cannot be read: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, "", fmt.Errorf("the key file %s cannot be read: %w", path, err)
	}
	keys, err := parse(path, string(text))
	return keys, string(text), err
}

// parse reads the text of a key file. Its errors name the file and the line, and show nothing of a key.
func parse(path, text string) ([]fileKey, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes: this is no key file", path, maxFile)
	}
	var keys []fileKey
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		k, err := parseLine(fields)
		for i := range keys {
			switch {
			case err != nil:
			case keys[i].id == k.id:
				err = fmt.Errorf("the name %q is there already: names must differ", k.id)
			case keys[i].bytes == k.bytes:
				err = fmt.Errorf("the key is the same as that of %q: leave one of them out", keys[i].id)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key: put a copy of the key file there", path)
	}
	return keys, nil
}

func parseLine(fields []string) (k fileKey, err error) {
	switch {
	case len(fields) < 2 || len(fields) > 3:
		return k, errors.New("write a name, a key in base64, and if you like when it was made, separated by spaces")
	case !validID(fields[0]):
		return k, fmt.Errorf("the name of a key is made of 1 to %d letters, digits, dots, dashes and underscores", maxID)
	}
	k.id = fields[0]
	raw, err := base64.StdEncoding.Strict().DecodeString(fields[1])
	switch {
	case err != nil:
		return k, fmt.Errorf("the key %q is not base64; `openssl rand -base64 %d` makes one", k.id, keyBytes)
	case len(raw) != keyBytes:
		return k, fmt.Errorf("the key %q has %d bytes and must have %d; `openssl rand -base64 %d` makes one", k.id, len(raw), keyBytes, keyBytes)
	case [keyBytes]byte(raw) == [keyBytes]byte{}:
		return k, fmt.Errorf("the key %q is all zeros; `openssl rand -base64 %d` makes one", k.id, keyBytes)
	}
	k.bytes = [keyBytes]byte(raw)
	if len(fields) == 3 {
		if k.made, err = time.Parse(time.RFC3339, fields[2]); err != nil {
			return k, fmt.Errorf("the key %q was made at a time that cannot be read: write it as 2026-01-31T12:00:00Z, or leave it out", k.id)
		}
		k.made = k.made.UTC()
	}
	return k, nil
}

func validID(id string) bool {
	return id != "" && len(id) <= maxID && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// line writes a key as parse reads it.
func (k *fileKey) line() string {
	text := k.id + " " + base64.StdEncoding.EncodeToString(k.bytes[:])
	if !k.made.IsZero() {
		text += " " + k.made.Format(time.RFC3339)
	}
	return text + "\n"
}

// locked does something while no other process that asks changes the file.
func locked(ctx context.Context, path string, do func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("the directory of the key file cannot be made: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	unlock, err := datadir.LockFile(ctx, path+".lock")
	if err != nil {
		return fmt.Errorf("the key file %s cannot be changed: %w", path, err)
	}
	return errors.Join(do(), unlock())
}

// writeFile replaces the file as a whole: a crash leaves the old one or the new one, and when it returns that is on disk.
func writeFile(path, text string) error {
	mode := os.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	// With a name that nobody else has: a process that died may have left one behind.
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	temporary := path + "." + hex.EncodeToString(random[:])
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
		if err == nil {
			err = os.Rename(temporary, path)
		}
		if err == nil {
			err = datadir.SyncDir(filepath.Dir(path))
		} else {
			err = errors.Join(err, os.Remove(temporary))
		}
	}
	if err != nil {
		return fmt.Errorf("the key file %s cannot be written: %w", path, err)
	}
	return nil
}
