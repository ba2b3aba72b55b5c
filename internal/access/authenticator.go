package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
)

// The headers of a signed call.
const (
	// SignatureHeader holds the hex HMAC-SHA256 of the raw body with the signing key.
	SignatureHeader = "X-Signature"
	// TimestampHeader, when present, holds Unix seconds; then "<timestamp>.<body>" is what is signed.
	TimestampHeader = "X-Signature-Timestamp"
	// TimestampTolerance is how far the timestamp may be from the clock.
	TimestampTolerance = 5 * time.Minute
)

// AuthenticatorOptions configure an Authenticator.
type AuthenticatorOptions struct {
	Keys *Keys
	// SigningKey checks X-Signature; with "" no signature is valid.
	SigningKey patchbay.Secret
	// Development lets callers without credentials do everything.
	Development bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Authenticator says who calls, from what a request carries. It is safe for concurrent use.
type Authenticator struct {
	keys        *Keys
	signing     sync.Pool // *signer; nil New without a signing key
	signs       bool
	development bool
	now         func() time.Time
}

// The callers without a key. Nothing changes them.
var (
	developer = &Caller{Permissions: []Permission{Admin}, Name: "development"}
	signed    = &Caller{Permissions: []Permission{Publish, Inline}, Name: "signature"}
)

// NewAuthenticator returns an Authenticator.
func NewAuthenticator(o AuthenticatorOptions) *Authenticator {
	a := &Authenticator{keys: o.Keys, development: o.Development, now: o.Now, signs: o.SigningKey != ""}
	if a.now == nil {
		a.now = time.Now
	}
	secret := []byte(o.SigningKey.Reveal())
	a.signing.New = func() any { return &signer{mac: hmac.New(sha256.New, secret)} }
	return a
}

// Caller returns who calls, by the API key in "Authorization: Bearer". In development mode a request without one
// comes from the operator; a wrong key is refused there too, so that keys can be tried out.
func (a *Authenticator) Caller(h http.Header) (*Caller, error) {
	if token, ok := credentials(h, "Bearer"); ok {
		return a.keys.Lookup(token)
	}
	if a.development {
		return developer, nil
	}
	return nil, errNoCredentials
}

var errNoCredentials = &patchbay.Error{Code: patchbay.CodeUnauthorized, Message: "this call needs an API key: send it as \"Authorization: Bearer pk_…\""}

// Browser is Caller for pages that a browser opens: the API key may also be the password of HTTP Basic.
func (a *Authenticator) Browser(h http.Header) (*Caller, error) {
	if _, ok := credentials(h, "Basic"); ok {
		if _, password, ok := (&http.Request{Header: h}).BasicAuth(); ok {
			return a.keys.Lookup(password)
		}
	}
	return a.Caller(h)
}

// Signed reports whether the request is to be authenticated by its signature, for which its body must be read first:
// it has one and no API key. In development mode without a signing key signatures are not looked at.
func (a *Authenticator) Signed(h http.Header) bool {
	if h.Get(SignatureHeader) == "" || a.development && !a.signs {
		return false
	}
	_, bearer := credentials(h, "Bearer")
	return !bearer
}

// Signature returns who calls by the signature of the raw body.
func (a *Authenticator) Signature(h http.Header, body []byte) (*Caller, error) {
	if !a.signs {
		return nil, patchbay.Errorf(patchbay.CodeUnauthorized, "this installation has no signing key, so it cannot check X-Signature: set PATCHBAY_SIGNING_KEY, or use an API key")
	}
	timestamp := h.Get(TimestampHeader)
	if timestamp != "" {
		seconds, err := strconv.ParseInt(timestamp, 10, 64)
		if err != nil {
			return nil, patchbay.Errorf(patchbay.CodeUnauthorized, "X-Signature-Timestamp must be Unix seconds")
		}
		if off := a.now().Sub(time.Unix(seconds, 0)).Abs(); off > TimestampTolerance {
			return nil, patchbay.Errorf(patchbay.CodeUnauthorized, "X-Signature-Timestamp is more than %v from the clock here", TimestampTolerance)
		}
	}
	s := a.signing.Get().(*signer)
	ok := s.check(h.Get(SignatureHeader), timestamp, body)
	a.signing.Put(s)
	if !ok {
		return nil, patchbay.Errorf(patchbay.CodeUnauthorized, "X-Signature is not the hex HMAC-SHA256 of what was sent with the signing key")
	}
	return signed, nil
}

// signer is an HMAC that is used again and again: setting one up costs more than signing a small body.
type signer struct {
	mac       hash.Hash
	got, want [sha256.Size]byte
	prefix    []byte
}

func (s *signer) check(signature, timestamp string, body []byte) bool {
	if len(signature) != hex.EncodedLen(len(s.got)) {
		return false
	}
	s.prefix = append(s.prefix[:0], signature...)
	if _, err := hex.Decode(s.got[:], s.prefix); err != nil {
		return false
	}
	s.mac.Reset()
	if timestamp != "" {
		s.prefix = append(append(s.prefix[:0], timestamp...), '.')
		s.mac.Write(s.prefix)
	}
	s.mac.Write(body)
	return hmac.Equal(s.got[:], s.mac.Sum(s.want[:0]))
}

// credentials returns what follows the scheme in the Authorization header.
func credentials(h http.Header, scheme string) (string, bool) {
	got, rest, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(got, scheme) {
		return "", false
	}
	return strings.TrimSpace(rest), true
}
