package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // partners sign with it; HMAC-SHA1 is not broken
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// tokenLeeway is how far clocks may differ where a token says when it begins and ends.
const tokenLeeway = time.Minute

// decode returns the bytes that text spells.
func (e Encoding) decode(text string) ([]byte, error) {
	switch e {
	case Hex:
		return hex.DecodeString(text)
	case Base64:
		return base64.StdEncoding.DecodeString(text)
	case Raw, "":
		return []byte(text), nil
	}
	return nil, fmt.Errorf("%q is not an encoding", e)
}

// encode spells bytes.
func (e Encoding) encode(b []byte) string {
	switch e {
	case Hex:
		return hex.EncodeToString(b)
	case Base64:
		return base64.StdEncoding.EncodeToString(b)
	}
	return string(b)
}

// key returns a secret's bytes. An empty one signs nothing: anybody knows it.
func (s Scheme) key(secret patchbay.Secret) ([]byte, error) {
	key, err := s.SecretEncoding.decode(strings.TrimPrefix(secret.Reveal(), s.SecretPrefix))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the secret is not %s", s.SecretEncoding)
	case len(key) == 0:
		return nil, errors.New("the secret is empty")
	case s.Algorithm == Ed25519 && len(key) != ed25519.PublicKeySize:
		return nil, fmt.Errorf("an ed25519 public key has %d bytes", ed25519.PublicKeySize)
	}
	return key, nil
}

// CheckSecret says what is wrong with a secret that is to verify calls, in a sentence that does not hold it.
func (s Scheme) CheckSecret(secret patchbay.Secret) error {
	_, err := s.key(secret)
	return err
}

// compare returns 1 when key made the signature of c, else 0.
func (s Scheme) compare(key, signature []byte, c *call) int {
	switch s.Algorithm {
	case Token:
		return same(key, signature)
	case Basic:
		credentials, err := base64.StdEncoding.DecodeString(string(signature))
		if err != nil {
			return 0
		}
		return same(key, credentials)
	case JWT:
		return compareToken(key, signature)
	case Ed25519:
		if len(signature) == ed25519.SignatureSize && ed25519.Verify(key, s.content(c), signature) {
			return 1
		}
		return 0
	}
	if sum := s.sum(key, c); sum != nil {
		return subtle.ConstantTimeCompare(sum, signature)
	}
	return 0
}

// same compares texts whose lengths must not show either.
func same(a, b []byte) int {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// sum is the HMAC of what is signed; nil for algorithms that are none.
func (s Scheme) sum(key []byte, c *call) []byte {
	var algorithm func() hash.Hash
	switch s.Algorithm {
	case HMACSHA256:
		algorithm = sha256.New
	case HMACSHA1:
		algorithm = sha1.New
	case HMACSHA512:
		algorithm = sha512.New
	default:
		return nil
	}
	mac := hmac.New(algorithm, key)
	s.write(mac, c)
	return mac.Sum(nil)
}

// content is what is signed, in one piece.
func (s Scheme) content(c *call) []byte {
	var b strings.Builder
	b.Grow(len(s.Content) + len(c.body) + len(c.url) + len(c.id) + len(c.timestamp))
	s.write(&b, c)
	return []byte(b.String())
}

// write writes what is signed. What is put in is never looked through for placeholders again.
func (s Scheme) write(w io.Writer, c *call) {
	rest := s.Content
	if rest == "" {
		rest = "{body}"
	}
	for rest != "" {
		open := strings.IndexByte(rest, '{')
		end := strings.IndexByte(rest, '}')
		if open < 0 || end < open {
			_, _ = io.WriteString(w, rest)
			return
		}
		_, _ = io.WriteString(w, rest[:open])
		switch rest[open+1 : end] {
		case "body":
			_, _ = w.Write(c.body)
		case "timestamp":
			_, _ = io.WriteString(w, c.timestamp)
		case "id":
			_, _ = io.WriteString(w, c.id)
		case "method":
			_, _ = io.WriteString(w, c.method)
		case "url":
			_, _ = io.WriteString(w, c.url)
		}
		rest = rest[end+1:]
	}
}

// compareToken checks the signature of a JSON Web Token in its compact form (RFC 7515 section 7.1). The algorithm is ours,
// whatever the token says.
func compareToken(key, token []byte) int {
	signed, spelled, ok := cutLast(string(token))
	if !ok {
		return 0
	}
	signature, err := base64.RawURLEncoding.DecodeString(spelled)
	if err != nil {
		return 0
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, signed)
	return subtle.ConstantTimeCompare(mac.Sum(nil), signature)
}

// cutLast cuts a token before its signature.
func cutLast(token string) (signed, signature string, ok bool) {
	at := strings.LastIndexByte(token, '.')
	if at < 0 || strings.Count(token, ".") != 2 {
		return "", "", false
	}
	return token[:at], token[at+1:], true
}

// tokenTimes checks what a token whose signature is right says of when it holds (RFC 7519 section 4.1), as far as it does.
func tokenTimes(token []byte, now time.Time) error {
	signed, _, _ := cutLast(string(token))
	head, body, _ := strings.Cut(signed, ".")
	var protected struct {
		Algorithm string `json:"alg"`
	}
	var claims struct {
		Expires  *float64 `json:"exp"`
		NotUntil *float64 `json:"nbf"`
	}
	if err := part(head, &protected); err != nil || protected.Algorithm != "HS256" {
		return fmt.Errorf("%w: it is not a token signed by HS256", ErrInvalid)
	}
	if err := part(body, &claims); err != nil {
		return fmt.Errorf("%w: its token holds no claims", ErrInvalid)
	}
	at := float64(now.Unix())
	switch leeway := tokenLeeway.Seconds(); {
	case claims.Expires != nil && at >= *claims.Expires+leeway:
		return fmt.Errorf("%w: its token has expired", ErrWindow)
	case claims.NotUntil != nil && at < *claims.NotUntil-leeway:
		return fmt.Errorf("%w: its token does not hold yet", ErrWindow)
	}
	return nil
}

// part reads one part of a token.
func part(text string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
