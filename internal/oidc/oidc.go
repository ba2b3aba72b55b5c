// Package oidc lets operators in by OpenID Connect: it sends a browser to the organisation's own sign-in, makes sure that what
// comes back was said by that provider, to us, about this very browser's sign-in, and says which role the person has here.
//
// Nothing is kept of a sign-in that has begun. The browser has one random cookie, and what travels with it (state, nonce and
// the verifier of PKCE) is derived from that, so every node can finish what another one began, and nobody who only asks for
// sign-ins can fill a table. That a sign-in has ended is written down, so that it is used once.
package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// Lasts is how long a person has for the provider's pages.
	Lasts = 10 * time.Minute
	// randomBytes is how much of a cookie is random.
	randomBytes = 32
	// maxCookie is more than any cookie of ours has.
	maxCookie = 4096
	// maxBack bounds the address to go back to.
	maxBack = 2048
)

// Rule gives everybody a role who has a value.
type Rule struct {
	// Value is one of the values of the claim, an e-mail address that the provider has verified, or "*" for everybody.
	Value string
	Role  access.Role
	Scope patchbay.Scope
}

// Options say who lets operators in.
type Options struct {
	// Issuer is the provider, exactly as it calls itself; ClientID and ClientSecret are what it knows us by.
	Issuer, ClientID string
	// Name is what people call the provider; "" when nobody says.
	Name string
	// ClientSecret is "" for a client that has none.
	ClientSecret patchbay.Secret
	Scopes       []string
	// Claim is where the values of rules stand, such as "groups"; a dot leads into an object: "realm_access.roles".
	Claim string
	Rules []Rule
	// Redirect is where the provider sends browsers back to.
	Redirect string
	// HTTP reaches the provider.
	HTTP integration.HTTP
	// Flows remembers which sign-ins were used.
	Flows store.Flows
	// Log gets what is not worth refusing anybody; nil means nowhere.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Provider lets people in whom an OpenID provider knows.
type Provider struct {
	o      Options
	client *http.Client
	// called is the provider in sentences.
	called string

	// mu is held while the provider is asked how it is reached.
	mu    sync.Mutex
	found *discovered
	// failed is why it could not be asked at failedAt.
	failed   error
	failedAt time.Time
}

// New returns a Provider. Nothing is asked before somebody wants to sign in, so a provider that is down stops no start.
func New(o Options) *Provider {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Provider{o: o, client: newClient(o.HTTP), called: o.Name}
	if p.called == "" {
		p.called = "the provider " + strings.TrimPrefix(strings.TrimPrefix(o.Issuer, "https://"), "http://")
	}
	return p
}

// Start is a sign-in that begins.
type Start struct {
	// URL is the provider's page. Cookie is the browser's until it comes back, and secret.
	URL, Cookie string
}

// google is the issuer of Google, which does not know the prompt login
// (https://developers.google.com/identity/openid-connect/openid-connect#authenticationuriparameters).
const google = "https://accounts.google.com"

// Begin sends somebody to the provider. back is the page of ours to go to afterwards. again has the provider ask who it is also of
// somebody whom it knows, so that they can be somebody else.
func (p *Provider) Begin(ctx context.Context, back string, again bool) (*Start, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	t := newTicket(p.o.Now(), back)
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(t.derive("verifier")), oauth2.SetAuthURLParam("nonce", t.derive("nonce"))}
	switch {
	case again && p.o.Issuer == google:
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	case again:
		options = append(options, oauth2.SetAuthURLParam("prompt", "login")) // OpenID Connect Core 1.0, section 3.1.2.1
	}
	return &Start{Cookie: t.cookie, URL: p.config(d).AuthCodeURL(t.derive("state"), options...)}, nil
}

func (p *Provider) config(d *discovered) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret.Reveal(), Endpoint: d.endpoint, RedirectURL: p.o.Redirect, Scopes: p.o.Scopes,
	}
}

// ticket is a sign-in as the browser holds it: when it began, what nobody can guess, and the page to go back to. The state that
// the provider is given is derived from all of it, so none of it can be changed on the way.
type ticket struct {
	cookie string
	began  time.Time
	back   string
}

func newTicket(now time.Time, back string) *ticket {
	var b [8 + randomBytes]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.Unix()))
	_, _ = rand.Read(b[8:]) // it never fails
	if len(back) > maxBack {
		back = ""
	}
	return &ticket{cookie: base64.RawURLEncoding.EncodeToString(b[:]) + "." + base64.RawURLEncoding.EncodeToString([]byte(back)), began: now, back: back}
}

var errNoTicket = errors.New("this is no cookie of a sign-in")

func parseTicket(cookie string) (*ticket, error) {
	head, tail, ok := strings.Cut(cookie, ".")
	if !ok || len(cookie) > maxCookie {
		return nil, errNoTicket
	}
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || len(b) != 8+randomBytes {
		return nil, errNoTicket
	}
	back, err := base64.RawURLEncoding.DecodeString(tail)
	if err != nil {
		return nil, errNoTicket
	}
	return &ticket{cookie: cookie, began: time.Unix(int64(binary.BigEndian.Uint64(b[:8])), 0), back: string(back)}, nil
}

// derive makes what the provider sees of a ticket. None of it says anything about another part, nor about the cookie.
func (t *ticket) derive(what string) string {
	mac := hmac.New(sha256.New, []byte(t.cookie))
	mac.Write([]byte("patchbay sign-in " + what))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// used is what is written down of a sign-in that has ended.
func (t *ticket) used() [32]byte { return sha256.Sum256([]byte("patchbay sign-in used " + t.cookie)) }
