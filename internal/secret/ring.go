// Package secret hides what nobody may read in a database's files: every row's secrets are encrypted with a data key of
// their own, and data keys are wrapped with a key of a ring that lies in a file beside the database, or by whatever else
// implements Wrapper. It knows nothing of what is sealed.
package secret

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Wrapper wraps the keys of rows with a key that it keeps: a Ring does so with the keys of a file, another
// implementation may ask a key management service. It is called from many goroutines.
type Wrapper interface {
	// Current names the key that new data keys are wrapped with: 1 to 255 printable ASCII characters. The name is stored
	// with what is wrapped, and must mean this key for as long as any of it is kept. It is asked for every row, so it must
	// not wait.
	Current() string
	// Wrap encrypts a data key of 32 bytes with the key of this name, bound to context: Unwrap must fail with another
	// context. What it returns may have up to 4,096 bytes.
	Wrap(ctx context.Context, key string, dataKey, context []byte) (wrapped []byte, err error)
	// Unwrap returns what Wrap wrapped. ErrUnknownKey is in the chain when there is no such key (any more).
	Unwrap(ctx context.Context, key string, wrapped, context []byte) (dataKey []byte, err error)
}

// ErrUnknownKey is in the chain of what a Wrapper returns for a key that it does not have.
var ErrUnknownKey = errors.New("there is no such key")

// Key describes a key of a ring, without its bytes.
type Key struct {
	ID string
	// Made is zero when the file does not say.
	Made time.Time
	// Print tells keys of the same name apart; nothing about the key can be learnt from it.
	Print string
	// InFile says that the file still has it. A ring keeps what it has read until the process ends.
	InFile bool
}

// Ring holds the keys of a file. One of them is current; see Use.
type Ring struct {
	path string

	mu      sync.RWMutex
	keys    []*ringKey // in the order of the file: the newest last
	current *ringKey
	stamp   stamp
}

type ringKey struct {
	fileKey
	aead   cipher.AEAD
	inFile bool
}

// stamp tells versions of a file apart.
type stamp struct {
	at   time.Time
	size int64
}

// Read reads a key file. One that does not exist is a ring without keys; see Create.
func Read(path string) (*Ring, error) {
	r := &Ring{path: path}
	if err := r.Reload(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(r.keys) > 0 {
		r.current = r.keys[len(r.keys)-1]
	}
	return r, nil
}

// Path is the key file's.
func (r *Ring) Path() string { return r.path }

// Reload reads the file again if it has changed. Keys that it no longer has stay usable in this process. After an error
// everything is as before.
func (r *Ring) Reload() error {
	info, err := os.Stat(r.path)
	if err != nil {
		return fmt.Errorf("the key file cannot be read: %w", err)
	}
	now := stamp{info.ModTime(), info.Size()}
	r.mu.RLock()
	same := now == r.stamp
	r.mu.RUnlock()
	if same {
		return nil
	}
	read, _, err := readFile(r.path)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make([]*ringKey, 0, len(read))
	for _, k := range read {
		made, err := newRingKey(k)
		if err != nil {
			return err
		}
		if old := r.find(k.id); old != nil && old.bytes != k.bytes {
			return fmt.Errorf("%s: the key %q is another one than it was: give a new key a new name", r.path, k.id)
		}
		keys = append(keys, made)
	}
	for i, old := range r.keys { // what was there before, in its old place
		if !slices.ContainsFunc(keys, func(k *ringKey) bool { return k.id == old.id }) {
			old := *old
			old.inFile = false
			keys = slices.Insert(keys, min(i, len(keys)), &old)
		}
	}
	r.keys, r.stamp = keys, now
	if r.current != nil {
		r.current = r.find(r.current.id)
	}
	return nil
}

func newRingKey(k fileKey) (*ringKey, error) {
	aead, err := newAEAD(k.bytes[:])
	return &ringKey{fileKey: k, aead: aead, inFile: true}, err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// find returns a key by its name. r.mu is held.
func (r *Ring) find(id string) *ringKey {
	for _, k := range r.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// Create makes the file with a first key, which is current, when there is none. made says that this call made it:
// another process may have been faster, whose key is current then.
func (r *Ring) Create(ctx context.Context) (made bool, err error) {
	err = locked(ctx, r.path, func() error {
		if _, err := os.Stat(r.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = true
		k := newKey(time.Now(), nil)
		return writeFile(r.path, header+k.line())
	})
	if err == nil {
		err = r.Reload()
	}
	if err != nil {
		return made, err
	}
	r.mu.Lock()
	r.current = r.keys[len(r.keys)-1]
	r.mu.Unlock()
	return made, nil
}

// Discard removes a file that Create made and that sealed nothing.
func (r *Ring) Discard() error { return os.Remove(r.path) }

// Add adds a key to the file, and returns its name. It does not become current. A file that does not exist is made.
func (r *Ring) Add(ctx context.Context) (id string, err error) {
	err = locked(ctx, r.path, func() error {
		keys, text, err := readFile(r.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			text = header
		case err != nil:
			return err
		case !strings.HasSuffix(text, "\n"):
			text += "\n"
		}
		k := newKey(time.Now(), keys)
		id = k.id
		return writeFile(r.path, text+k.line())
	})
	if err == nil {
		err = r.Reload()
	}
	return id, err
}

// Use makes a key current. It returns false, and changes nothing, when the ring does not have it.
func (r *Ring) Use(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.find(id)
	if k == nil {
		return false
	}
	r.current = k
	return true
}

// Keys describes the keys, the newest last.
func (r *Ring) Keys() []Key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]Key, len(r.keys))
	for i, k := range r.keys {
		out[i] = Key{ID: k.id, Made: k.made, Print: k.print(), InFile: k.inFile}
	}
	return out
}

// Current implements Wrapper; "" when the ring has no key.
func (r *Ring) Current() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.current == nil {
		return ""
	}
	return r.current.id
}

// Wrap implements Wrapper.
func (r *Ring) Wrap(_ context.Context, key string, dataKey, context []byte) ([]byte, error) {
	k, err := r.key(key)
	if err != nil {
		return nil, err
	}
	return k.aead.Seal(nil, nil, dataKey, context), nil
}

// Unwrap implements Wrapper. For a key that it does not know it looks into the file again: another node may be ahead.
func (r *Ring) Unwrap(_ context.Context, key string, wrapped, context []byte) ([]byte, error) {
	k, err := r.key(key)
	if err != nil {
		return nil, err
	}
	return k.aead.Open(nil, nil, wrapped, context)
}

func (r *Ring) key(id string) (*ringKey, error) {
	r.mu.RLock()
	k := r.find(id)
	r.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	failed := r.Reload()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if k = r.find(id); k != nil {
		return k, nil
	}
	if failed != nil && !errors.Is(failed, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrUnknownKey, failed)
	}
	return nil, fmt.Errorf("%w in %s", ErrUnknownKey, r.path)
}

// print is a fingerprint of the key: a hash that nothing else makes of it.
func (k *fileKey) print() string {
	h := hmac.New(sha256.New, k.bytes[:])
	h.Write([]byte("patchbay: fingerprint of a key"))
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// newKey makes a key with a name that none of the others has.
func newKey(now time.Time, others []fileKey) fileKey {
	k := fileKey{made: now.UTC().Truncate(time.Second)}
	for k.id == "" || slices.ContainsFunc(others, func(o fileKey) bool { return o.id == k.id }) {
		var end [3]byte
		_, _ = rand.Read(end[:]) // it never fails: without randomness the process ends
		k.id = k.made.Format("20060102") + "-" + hex.EncodeToString(end[:])
	}
	_, _ = rand.Read(k.bytes[:])
	return k
}

// Warnings are about a key file that works and is not kept as it should be.
func (r *Ring) Warnings() []string {
	info, err := os.Stat(r.path)
	if err != nil || !protects || info.Mode().Perm()&0o027 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s can be read or changed by others on this machine, and opens every secret in the database: run chmod 600 %s", r.path, r.path)}
}
