// Package signature knows how partners sign what they send: one table of schemes, and the code that checks a call against
// one of them. A scheme says what is signed and how; whoever knows the secrets says which ones may have signed.
package signature

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// The limits of what is looked at before anything is proven.
const (
	// MaxHeaderBytes bounds each header that is read. The longest real ones are JSON Web Tokens.
	MaxHeaderBytes = 8 << 10
	// MaxIDBytes bounds a call's identifier.
	MaxIDBytes = 256
	// MaxSignatures bounds how many signatures one call may carry; more than a few only make us work.
	MaxSignatures = 16
)

// Why a call is refused. Verify returns one of them, wrapped in a sentence for the log: it must not be answered to
// whoever called.
var (
	ErrMissing = errors.New("the call is not signed")
	ErrInvalid = errors.New("the call's signature cannot be read")
	ErrWindow  = errors.New("the call's time is too far from the clock")
	ErrForged  = errors.New("the call's signature is not the one that the secret makes")
	ErrSecret  = errors.New("there is no secret that could have signed the call")
)

// Scheme is how a partner signs its calls.
type Scheme struct {
	// Name is how settings name it, such as "github"; "" is no scheme at all. Title is for people.
	Name, Title string
	// Header holds the signature.
	Header string
	// Algorithm is how it is made.
	Algorithm Algorithm
	// Encoding is how its bytes are spelled.
	Encoding Encoding
	// Prefix stands before it, such as "sha256=".
	Prefix string
	// Content is what is signed, with {body}, {timestamp}, {id}, {method} and {url} replaced; "" is "{body}".
	Content string
	// TimestampHeader, IDHeader hold what Content names; "" where it does not, or where they stand in Header.
	TimestampHeader, IDHeader string
	// Window is how far the timestamp may be from the clock; 0 where there is none.
	Window time.Duration
	// Fields says that Header holds fields such as "t=…,v1=…": Timestamp is the name of the timestamp's, Signature that of
	// the signatures', of which there may be several.
	Fields *Fields
	// SecretEncoding says how the secret's bytes are spelled; "" is as they are.
	SecretEncoding Encoding
	// SecretPrefix is cut off from the secret before it is decoded, such as "whsec_". PrivatePrefix is the same for the
	// private key that Sign takes, where it is another than the one that Verify takes.
	SecretPrefix, PrivatePrefix string
	// Docs is where the partner says so.
	Docs string
}

// Verify returns nil when the call was signed by one of the secrets, at a time within the scheme's window. url is the
// address as the caller spelled it; schemes that do not sign it ignore it. The body is not parsed, and which of the
// secrets or signatures was right takes no more or less time.
func (s Scheme) Verify(header http.Header, url, method string, body []byte, secrets []patchbay.Secret, now time.Time) error {
	c, candidates, err := s.open(header, url, method, body)
	if err != nil {
		return err
	}
	if err := s.inWindow(c.timestamp, now); err != nil {
		return err
	}
	usable, right := 0, 0
	for _, secret := range secrets {
		key, err := s.key(secret)
		if err != nil {
			continue
		}
		usable++
		for _, candidate := range candidates {
			right |= s.compare(key, candidate, c)
		}
	}
	switch {
	case usable == 0:
		return fmt.Errorf("%w: none was given, or none is spelled as %s wants it", ErrSecret, s.Title)
	case subtle.ConstantTimeEq(int32(right), 1) != 1:
		return ErrForged
	case s.Algorithm == JWT:
		return tokenTimes(candidates[0], now)
	}
	return nil
}

// Headers returns the names of the header fields that the scheme reads, the first of which is a credential or a signature.
func (s Scheme) Headers() []string {
	out := []string{s.Header}
	for _, name := range []string{s.TimestampHeader, s.IDHeader} {
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}

// call is what a signature is made over.
type call struct {
	url, method, timestamp, id string
	body                       []byte
}

// open reads the headers that the scheme names.
func (s Scheme) open(header http.Header, url, method string, body []byte) (*call, [][]byte, error) {
	c := &call{url: url, method: method, body: body}
	value, err := single(header, s.Header, MaxHeaderBytes)
	if err != nil {
		return nil, nil, err
	}
	if s.TimestampHeader != "" {
		if c.timestamp, err = single(header, s.TimestampHeader, len("-9223372036854775808")); err != nil {
			return nil, nil, err
		}
	}
	if s.IDHeader != "" {
		if c.id, err = single(header, s.IDHeader, MaxIDBytes); err != nil {
			return nil, nil, err
		}
	}
	spelled := []string{value}
	if s.Fields != nil {
		if spelled, err = s.Fields.split(value, &c.timestamp); err != nil {
			return nil, nil, err
		}
	}
	candidates := make([][]byte, 0, len(spelled))
	for _, text := range spelled {
		rest, ok := cutPrefix(text, s.Prefix)
		if !ok {
			return nil, nil, fmt.Errorf("%w: %s does not begin with %q", ErrInvalid, s.Header, s.Prefix)
		}
		decoded, err := s.Encoding.decode(rest)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %s is not %s", ErrInvalid, s.Header, s.Encoding)
		}
		candidates = append(candidates, decoded)
	}
	return c, candidates, nil
}

// cutPrefix cuts a prefix off, in whatever case: names of algorithms and of HTTP's schemes have none.
func cutPrefix(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return "", false
	}
	return text[len(prefix):], true
}

// single returns the one value of a header field. A field that is there twice is refused: what reads it first would
// believe one of them, and what reads it later perhaps the other.
func single(header http.Header, name string, limit int) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fmt.Errorf("%w: %s is missing", ErrMissing, name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: %s is there %d times", ErrInvalid, name, len(values))
	case len(values[0]) > limit:
		return "", fmt.Errorf("%w: %s is longer than %d bytes", ErrInvalid, name, limit)
	}
	return values[0], nil
}

// split takes a header of fields apart: the signatures, and the timestamp where it is one of them. Fields of other names
// are there for other versions.
func (f *Fields) split(value string, timestamp *string) ([]string, error) {
	var signatures []string
	stamps := 0
	for field := range strings.SplitSeq(value, f.Separator) {
		name, text, ok := strings.Cut(strings.TrimSpace(field), f.Assign)
		switch {
		case !ok:
			continue
		case name == f.Signature:
			signatures = append(signatures, text)
		case f.Timestamp != "" && name == f.Timestamp:
			*timestamp = text
			stamps++
		}
		if len(signatures) > MaxSignatures {
			return nil, fmt.Errorf("%w: there are more than %d signatures", ErrInvalid, MaxSignatures)
		}
	}
	switch {
	case len(signatures) == 0:
		return nil, fmt.Errorf("%w: there is no signature named %q", ErrMissing, f.Signature)
	case f.Timestamp != "" && stamps != 1:
		return nil, fmt.Errorf("%w: %q must be there once", ErrInvalid, f.Timestamp)
	}
	return signatures, nil
}

// inWindow checks a timestamp in Unix seconds, in both directions: a clock that is ahead would make a signature last longer.
func (s Scheme) inWindow(timestamp string, now time.Time) error {
	if s.Window == 0 {
		return nil
	}
	for _, c := range []byte(timestamp) {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: the timestamp is not a number of seconds", ErrInvalid)
		}
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || seconds > 1<<40 {
		return fmt.Errorf("%w: the timestamp is not a number of seconds", ErrInvalid)
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > s.Window || off < -s.Window {
		return fmt.Errorf("%w: by more than %s", ErrWindow, s.Window)
	}
	return nil
}

// Fields names the parts of a signature header that has parts.
type Fields struct {
	Separator, Assign    string
	Timestamp, Signature string
}

// Algorithm is how a signature is made.
type Algorithm string

// The algorithms. Token compares the header with the secret itself. The secret of Ed25519 is the public key.
const (
	HMACSHA256 Algorithm = "hmac-sha256"
	HMACSHA1   Algorithm = "hmac-sha1"
	HMACSHA512 Algorithm = "hmac-sha512"
	Ed25519    Algorithm = "ed25519"
	Token      Algorithm = "token"
	// Basic compares HTTP Basic credentials with the secret, which is "user:password".
	Basic Algorithm = "basic"
	// JWT checks a JSON Web Token (RFC 7519) that HS256 signs with the secret, and its times. It proves who calls, but
	// not what they say: the body is not part of it.
	JWT Algorithm = "jwt-hs256"
)

// Encoding is how bytes are spelled.
type Encoding string

// The encodings.
const (
	Hex    Encoding = "hex"
	Base64 Encoding = "base64"
	Raw    Encoding = "raw"
)

// Timestamp returns the time that a call was signed at, as it is spelled; "" when the scheme signs none. It means something
// only in a call that Verify has believed.
func (s Scheme) Timestamp(header http.Header) string {
	switch {
	case s.Window == 0:
		return ""
	case s.TimestampHeader != "":
		return header.Get(s.TimestampHeader)
	case s.Fields == nil:
		return ""
	}
	var timestamp string
	_, _ = s.Fields.split(header.Get(s.Header), &timestamp)
	return timestamp
}
