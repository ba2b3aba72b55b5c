package connect

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// flowTime is how long a person has for the partner's consent.
	flowTime = 10 * time.Minute
	// stateBytes is how much of a state and of a cookie is random.
	stateBytes = 32
	// maxReturn bounds a return address.
	maxReturn = 2000
)

// flow is what must be remembered of a sign-in until the browser comes back. It is kept sealed.
type flow struct {
	Integration string                `json:"integration"`
	Scope       patchbay.Scope        `json:"scope"`
	Return      string                `json:"return,omitempty"`
	Reconnect   patchbay.ConnectionID `json:"reconnect,omitzero"`
	// Caller is who began: whoever finishes must be the same.
	Caller string `json:"caller"`
	// Cookie is the hash of the cookie's value.
	Cookie []byte `json:"cookie"`
	// Redirect is the address that was sent to the partner.
	Redirect string `json:"redirect"`
	// Verifier is PKCE's; Token and Secret are OAuth 1.0a's temporary credentials.
	Verifier string `json:"verifier,omitempty"`
	Token    string `json:"token,omitempty"`
	Secret   string `json:"secret,omitempty"`
}

// Begin sends a person to a partner's consent.
func (s *Service) Begin(ctx context.Context, c *access.Caller, in Start) (*Redirect, error) {
	if err := c.Require(access.Secrets); err != nil {
		return nil, err
	}
	if err := checkReturn(in.Return); err != nil {
		return nil, err
	}
	p, err := s.partner(in.Integration)
	if err != nil {
		return nil, err
	}
	f := flow{Integration: p.key, Return: in.Return, Caller: identity(c)}
	if f.Scope, f.Reconnect, err = s.destination(ctx, c, p, &in); err != nil {
		return nil, err
	}
	if p.how.Keys != nil {
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest,
			"%s has no page for this: give the keys that were made there", p.title)
	}
	if f.Redirect, err = s.redirect(p.key); err != nil {
		return nil, err
	}
	cookie := in.Cookie
	if !isRandom(cookie) {
		cookie = random()
	}
	bound := sha256.Sum256([]byte(cookie))
	f.Cookie = bound[:]
	var address string
	var hash [32]byte
	if p.how.OAuth1 != nil {
		address, err = s.beginOAuth1(ctx, p, &f)
		hash = oauth1State(cookie, f.Token)
	} else {
		state := random()
		address, err = s.authorizeURL(p, &f, state)
		hash = sha256.Sum256([]byte(state))
	}
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(&f)
	if err != nil {
		return nil, patchbay.Internal("remembering a sign-in", err)
	}
	until := s.now().UTC().Add(flowTime)
	if err := s.o.Store.SaveFlow(ctx, &store.Flow{Hash: hash, Data: data, Until: until}); err != nil {
		return nil, unavailable("remembering a sign-in", err)
	}
	return &Redirect{URL: address, Cookie: cookie, Until: until}, nil
}

// destination says where the connection will lie, and which one it renews.
func (s *Service) destination(ctx context.Context, c *access.Caller, p *partner, in *Start) (patchbay.Scope, patchbay.ConnectionID, error) {
	if in.Reconnect != 0 {
		con, err := s.mine(ctx, c, access.Secrets, in.Reconnect)
		if err != nil {
			return "", 0, err
		}
		if con.Integration != p.key {
			return "", 0, patchbay.Errorf(patchbay.CodeInvalidRequest,
				"the connection %s is one of %s, not of %s", con.ID, con.Integration, p.key)
		}
		return con.Scope, con.ID, nil
	}
	scope := c.Scope
	if in.Scope != nil {
		scope = *in.Scope
	}
	if err := c.Reach(scope); err != nil {
		return "", 0, err
	}
	return scope, 0, s.o.Cell.Refuse(scope)
}

// identity tells callers apart: who began a sign-in, and who finishes it.
func identity(c *access.Caller) string {
	parts := []string{c.Session.String(), c.ID(), c.User, string(c.Scope)}
	raw, _ := json.Marshal(parts) // texts can always be marshalled
	return string(raw)
}

// checkReturn lets only paths of this installation through, as every browser reads them: no scheme, no host, and nothing
// that a browser would turn into one. RFC 9700 §4.11 says what open redirectors are good for.
func checkReturn(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	switch {
	case len(address) > maxReturn:
		return patchbay.Invalid("return", "is longer than %d bytes", maxReturn)
	case err != nil || !utf8.ValidString(address),
		!strings.HasPrefix(address, "/"), strings.HasPrefix(address, "//"),
		strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }),
		u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "":
		return patchbay.Invalid("return", "must be a path of this installation, such as /integrations/slack/link")
	}
	return nil
}

// random makes what nobody can guess.
func random() string {
	var b [stateBytes]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// isRandom reports whether a text can have come from random.
func isRandom(text string) bool {
	b, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && len(b) == stateBytes
}

// oauth1State is the hash that finds a flow of OAuth 1.0a, which has no state: what the browser keeps and what the partner
// gives back, together.
func oauth1State(cookie, token string) [32]byte {
	return sha256.Sum256([]byte("oauth1\x00" + cookie + "\x00" + token))
}
