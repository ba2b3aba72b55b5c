package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// Sign signs a call as the scheme wants it, for tests and for senders: it sets the timestamp's header and adds to the
// signature's. A scheme that signs an identifier finds it in header. For Ed25519 the secret is the private key, or the
// seed of one. Signing a call again, with the same now, adds a signature where a scheme can carry several.
func (s Scheme) Sign(header http.Header, url, method string, body []byte, secret patchbay.Secret, now time.Time) error {
	c := &call{url: url, method: method, body: body, timestamp: strconv.FormatInt(now.Unix(), 10)}
	if s.TimestampHeader != "" {
		header.Set(s.TimestampHeader, c.timestamp)
	}
	if s.IDHeader != "" {
		if c.id = header.Get(s.IDHeader); c.id == "" {
			return fmt.Errorf("%s signs an identifier: set the header %s first", s.Title, s.IDHeader)
		}
	}
	signature, err := s.signature(c, secret, now)
	if err != nil {
		return err
	}
	text := s.Prefix + signature
	if s.Fields == nil {
		header.Set(s.Header, text)
		return nil
	}
	text = s.Fields.Signature + s.Fields.Assign + text
	before := header.Get(s.Header)
	switch {
	case before != "":
		text = before + s.Fields.Separator + text
	case s.Fields.Timestamp != "":
		text = s.Fields.Timestamp + s.Fields.Assign + c.timestamp + s.Fields.Separator + text
	}
	header.Set(s.Header, text)
	return nil
}

// signature makes one signature, spelled.
func (s Scheme) signature(c *call, secret patchbay.Secret, now time.Time) (string, error) {
	switch s.Algorithm {
	case Token:
		return secret.Reveal(), nil
	case Basic:
		return base64.StdEncoding.EncodeToString([]byte(secret.Reveal())), nil
	case Ed25519:
		private, err := s.private(secret)
		if err != nil {
			return "", err
		}
		return s.Encoding.encode(ed25519.Sign(private, s.content(c))), nil
	}
	key, err := s.key(secret)
	if err != nil {
		return "", err
	}
	if s.Algorithm == JWT {
		return makeToken(key, now), nil
	}
	sum := s.sum(key, c)
	if sum == nil {
		return "", fmt.Errorf("%q is not an algorithm", s.Algorithm)
	}
	return s.Encoding.encode(sum), nil
}

// private reads a private key: 64 bytes, or the 32 of its seed.
func (s Scheme) private(secret patchbay.Secret) (ed25519.PrivateKey, error) {
	raw, err := s.SecretEncoding.decode(strings.TrimPrefix(secret.Reveal(), s.PrivatePrefix))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the private key is not %s", s.SecretEncoding)
	case len(raw) == ed25519.SeedSize:
		return ed25519.NewKeyFromSeed(raw), nil
	case len(raw) == ed25519.PrivateKeySize:
		return raw, nil
	}
	return nil, errors.New("an ed25519 private key has 64 bytes, its seed 32")
}

// makeToken makes a JSON Web Token that holds for three minutes.
func makeToken(key []byte, now time.Time) string {
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Unix(), now.Add(3*time.Minute).Unix())
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
