package secret

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/patchbay/patchbay/internal/store"
)

// What is sealed is, in this order: the format's version, one byte; the length of the name of the key that wraps the data
// key, one byte, and the name; the length of the wrapped data key, two bytes, the high one first, and the wrapped data key;
// the random nonce of AES-256-GCM, 12 bytes, the encrypted secrets, and their tag, 16 bytes.
//
// The secrets are bound to their place, and the data key to its place and to the name of the key that wraps it. A data key
// is used once, so binding it binds the secrets; and the name is not bound to the secrets themselves, so that another key
// can wrap the data key anew and the secrets stay as they are.
const (
	version    = 1
	maxName    = 255
	maxWrapped = 4096
)

// The purposes of what is encrypted: none can stand in for another.
const (
	purposeKey = "key"
	purposeRow = "row"
)

// Sealer seals with the keys of a Wrapper. It implements store.Sealer.
type Sealer struct{ w Wrapper }

// NewSealer returns a Sealer.
func NewSealer(w Wrapper) *Sealer { return &Sealer{w} }

// Seal hides plain at a place.
func (s *Sealer) Seal(ctx context.Context, at store.SealPlace, plain []byte) ([]byte, error) {
	var key [keyBytes]byte
	_, _ = rand.Read(key[:]) // it never fails: without randomness the process ends
	head, err := s.wrap(ctx, at, key[:])
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key[:])
	if err != nil {
		return nil, err
	}
	return aead.Seal(head, nil, plain, bound(purposeRow, at, "")), nil
}

// wrap returns what stands before the encrypted secrets.
func (s *Sealer) wrap(ctx context.Context, at store.SealPlace, key []byte) ([]byte, error) {
	name := s.w.Current()
	if !validName(name) {
		return nil, fmt.Errorf("the current key has the name %q; names have 1 to %d printable ASCII characters", name, maxName)
	}
	wrapped, err := s.w.Wrap(ctx, name, key, bound(purposeKey, at, name))
	if err != nil {
		return nil, fmt.Errorf("wrapping a key with %q: %w", name, err)
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return nil, fmt.Errorf("wrapping a key with %q made %d bytes of it; there must be 1 to %d", name, len(wrapped), maxWrapped)
	}
	head := make([]byte, 0, 4+len(name)+len(wrapped)+256)
	head = append(head, version, byte(len(name)))
	head = append(head, name...)
	head = binary.BigEndian.AppendUint16(head, uint16(len(wrapped)))
	return append(head, wrapped...), nil
}

// Open returns what Seal hid at this place.
func (s *Sealer) Open(ctx context.Context, at store.SealPlace, sealed []byte) ([]byte, error) {
	box, err := split(sealed)
	if err != nil {
		return nil, refusal(at, err)
	}
	key, err := s.unwrap(ctx, at, box)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, box.body, bound(purposeRow, at, ""))
	if err != nil {
		return nil, refusal(at, errors.New("it was changed, or moved here from elsewhere"))
	}
	return plain, nil
}

func (s *Sealer) unwrap(ctx context.Context, at store.SealPlace, box box) ([]byte, error) {
	key, err := s.w.Unwrap(ctx, box.key, box.wrapped, bound(purposeKey, at, box.key))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrUnknownKey):
		return nil, refusal(at, fmt.Errorf("it was sealed with the key %q: %w; give the key file that has it with --key-file, or add that line to this one", box.key, err))
	case err != nil:
		return nil, refusal(at, fmt.Errorf("it was changed or moved, or the key %q is not the one of that name any more: %w", box.key, err))
	case len(key) != keyBytes:
		return nil, refusal(at, fmt.Errorf("unwrapping with the key %q returned %d bytes, not %d", box.key, len(key), keyBytes))
	}
	return key, nil
}

// Reseal wraps the data key with the current key, when another one wraps it.
func (s *Sealer) Reseal(ctx context.Context, at store.SealPlace, sealed []byte) ([]byte, bool, error) {
	box, err := split(sealed)
	if err != nil {
		return nil, false, refusal(at, err)
	}
	if box.key == s.w.Current() {
		return nil, false, nil
	}
	key, err := s.unwrap(ctx, at, box)
	if err != nil {
		return nil, false, err
	}
	head, err := s.wrap(ctx, at, key)
	if err != nil {
		return nil, false, err
	}
	return append(head, box.body...), true, nil
}

// KeyOf returns the name of the key that is needed to open something sealed.
func KeyOf(sealed []byte) (string, error) {
	box, err := split(sealed)
	return box.key, err
}

// box is something sealed, in its parts.
type box struct {
	key           string
	wrapped, body []byte
}

func split(sealed []byte) (b box, err error) {
	short := errors.New("it is cut off, or was never sealed")
	if len(sealed) < 2 {
		return b, short
	}
	if sealed[0] != version {
		return b, fmt.Errorf("it is in the format %d, which this version of Patchbay does not know: a newer one wrote it, or it was changed", sealed[0])
	}
	n, rest := int(sealed[1]), sealed[2:]
	if len(rest) < n+2 {
		return b, short
	}
	b.key, rest = string(rest[:n]), rest[n:]
	if !validName(b.key) {
		return box{}, errors.New("it was changed: there is no such name of a key")
	}
	n, rest = int(binary.BigEndian.Uint16(rest)), rest[2:]
	if n == 0 || n > maxWrapped || len(rest) < n {
		return box{}, short
	}
	b.wrapped, b.body = rest[:n:n], rest[n:]
	return b, nil
}

func validName(name string) bool {
	return name != "" && len(name) <= maxName && !slices.ContainsFunc([]byte(name), func(c byte) bool { return c <= ' ' || c >= 0x7f })
}

// bound is what something encrypted is bound to. Every part has its length before it, so no two places have the same.
func bound(purpose string, at store.SealPlace, key string) []byte {
	out := make([]byte, 0, 128)
	out = append(out, "patchbay secret 1"...)
	for _, part := range []string{purpose, at.Table, at.Row, at.Column, key} {
		out = binary.AppendUvarint(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

// refusedError is a secret that cannot be opened, in a sentence.
type refusedError struct {
	at  store.SealPlace
	why error
}

func refusal(at store.SealPlace, why error) error { return &refusedError{at, why} }

// Error says which secret it is, and why.
func (e *refusedError) Error() string {
	return fmt.Sprintf("the secret in the column %s of the row %s of %s cannot be opened: %v", e.at.Column, e.at.Row, e.at.Table, e.why)
}

// Unwrap puts store.ErrSealed and the reason into the chain.
func (e *refusedError) Unwrap() []error { return []error{store.ErrSealed, e.why} }
