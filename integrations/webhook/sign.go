package webhook

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// The forms of a secret in Standard Webhooks 1.0.
const (
	prefixHMAC    = "whsec_"
	prefixEd25519 = "whsk_"
	minHMACKey    = 24
	maxHMACKey    = 64
)

// signer signs "<id>.<timestamp>.<body>" and appends "<version>,<base64>" to b.
type signer interface {
	sign(b, id, timestamp, body []byte) []byte
	version() string
}

// checkSecret refuses what cannot sign. Its error does not repeat the secret.
func checkSecret(text string) error {
	_, err := newSigner(text)
	return err
}

func newSigner(text string) (signer, error) {
	if encoded, ok := strings.CutPrefix(text, prefixHMAC); ok {
		key, err := decodeKey(encoded)
		if err != nil || len(key) < minHMACKey || len(key) > maxHMACKey {
			return nil, fmt.Errorf("must be %s followed by base64 of %d to %d bytes", prefixHMAC, minHMACKey, maxHMACKey)
		}
		return newHMAC(key), nil
	}
	if encoded, ok := strings.CutPrefix(text, prefixEd25519); ok {
		key, err := decodeKey(encoded)
		switch {
		case err != nil:
		case len(key) == ed25519.SeedSize:
			return ed25519Signer{ed25519.NewKeyFromSeed(key)}, nil
		case len(key) == ed25519.PrivateKeySize:
			private := ed25519.PrivateKey(key)
			if !private.Equal(ed25519.NewKeyFromSeed(private.Seed())) {
				return nil, errors.New("holds an ed25519 key whose two halves do not belong together")
			}
			return ed25519Signer{private}, nil
		}
		return nil, fmt.Errorf("must be %s followed by base64 of an ed25519 private key: its seed of 32 bytes, or seed and public key in 64", prefixEd25519)
	}
	return nil, fmt.Errorf("must begin with %s (HMAC) or %s (ed25519)", prefixHMAC, prefixEd25519)
}

// decodeKey reads base64 strictly: what the receivers' libraries would read in different ways is refused.
func decodeKey(s string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(s) }

// hmacSigner is HMAC-SHA256 with the two key blocks hashed once. A signature then costs what hashing the text costs.
type hmacSigner struct{ inner, outer []byte }

func newHMAC(key []byte) *hmacSigner {
	block := func(pad byte) []byte {
		var b [sha256.BlockSize]byte // maxHMACKey is a block, so the key itself is never hashed
		copy(b[:], key)
		for i := range b {
			b[i] ^= pad
		}
		h := sha256.New()
		h.Write(b[:])
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			panic("webhook: sha256 does not give its state: " + err.Error())
		}
		return state
	}
	return &hmacSigner{inner: block(0x36), outer: block(0x5c)}
}

// hasher is the memory that one signature needs.
type hasher struct {
	hash.Hash
	sum [sha256.Size]byte
}

var hashers = sync.Pool{New: func() any { return &hasher{Hash: sha256.New()} }}

func (h *hasher) load(state []byte) {
	if err := h.Hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic("webhook: sha256 does not take its own state: " + err.Error())
	}
}

var dot = []byte{'.'}

func (s *hmacSigner) version() string { return "v1" }

func (s *hmacSigner) sign(b, id, timestamp, body []byte) []byte {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.load(s.inner)
	h.Write(id)
	h.Write(dot)
	h.Write(timestamp)
	h.Write(dot)
	h.Write(body)
	sum := h.Sum(h.sum[:0])
	h.load(s.outer)
	h.Write(sum)
	sum = h.Sum(h.sum[:0])
	return base64.StdEncoding.AppendEncode(append(b, "v1,"...), sum)
}

// ed25519Signer signs with a private key, so that receivers need no secret.
type ed25519Signer struct{ key ed25519.PrivateKey }

func (s ed25519Signer) version() string { return "v1a" }

func (s ed25519Signer) sign(b, id, timestamp, body []byte) []byte {
	text := make([]byte, 0, len(id)+len(timestamp)+len(body)+2)
	text = append(text, id...)
	text = append(text, '.')
	text = append(text, timestamp...)
	text = append(text, '.')
	text = append(text, body...)
	return base64.StdEncoding.AppendEncode(append(b, "v1a,"...), ed25519.Sign(s.key, text))
}
