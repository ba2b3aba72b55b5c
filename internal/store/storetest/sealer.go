package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/patchbay/patchbay/internal/store"
)

// Keys is a store.Sealer for tests: it hides what it is given from whoever looks for it in a file, and nothing else. Like
// the real one it never seals the same way twice, is bound to places, and knows which key sealed what.
type Keys struct {
	mu      sync.Mutex
	known   map[byte]bool
	current byte
	sealed  uint64
}

// NewKeys returns a Sealer with one key.
func NewKeys() *Keys { return &Keys{known: map[byte]bool{1: true}, current: 1} }

// Rotate seals with a new key from here on. The old ones open what they have sealed.
func (k *Keys) Rotate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current++
	k.known[k.current] = true
}

// Forget forgets every key but the current one.
func (k *Keys) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = map[byte]bool{k.current: true}
}

// What is sealed is the key's number, a number used once, a checksum over key, place and text, and the text behind a veil.
const (
	sealedNonce = 1
	sealedSum   = sealedNonce + 8
	sealedText  = sealedSum + sha256.Size
)

func sum(key byte, at store.SealPlace, plain []byte) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%d %q %q %q %q", key, at.Table, at.Row, at.Column, plain))
}

// veil covers text, and uncovers it.
func veil(head, text []byte) []byte {
	out := bytes.Clone(text)
	for i := 0; i < len(out); i += sha256.Size {
		block := sha256.Sum256(fmt.Appendf(nil, "%x %d", head, i))
		for j := i; j < min(len(out), i+sha256.Size); j++ {
			out[j] ^= block[j-i]
		}
	}
	return out
}

// Seal hides plain; see store.Sealer.
func (k *Keys) Seal(_ context.Context, at store.SealPlace, plain []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sealed++
	out := binary.BigEndian.AppendUint64([]byte{k.current}, k.sealed)
	check := sum(k.current, at, plain)
	return append(append(out, check[:]...), veil(out, plain)...), nil
}

// Open returns what Seal hid; see store.Sealer.
func (k *Keys) Open(_ context.Context, at store.SealPlace, sealed []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(sealed) < sealedText || !k.known[sealed[0]] {
		return nil, store.ErrSealed
	}
	plain := veil(sealed[:sealedSum], sealed[sealedText:])
	if sum(sealed[0], at, plain) != [32]byte(sealed[sealedSum:sealedText]) {
		return nil, store.ErrSealed
	}
	return plain, nil
}

// Reseal hides something anew; see store.Sealer.
func (k *Keys) Reseal(ctx context.Context, at store.SealPlace, sealed []byte) ([]byte, bool, error) {
	plain, err := k.Open(ctx, at, sealed)
	if err != nil {
		return nil, false, err
	}
	if k.seals(sealed) {
		return sealed, false, nil
	}
	again, err := k.Seal(ctx, at, plain)
	return again, err == nil, err
}

// seals reports whether the current key has sealed it.
func (k *Keys) seals(sealed []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(sealed) > 0 && sealed[0] == k.current
}
