// Package session lets browsers in: operators, who sign in with an API key or by an OpenID provider, and portals, which are a
// customer's own pages for one scope and one user of the host product. A session is a random cookie of which only the hash is kept, so sessions
// survive restarts and can be ended at any time.
//
// What a session may do is an access.Caller like any other's: services ask it, whoever shows their pages.
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// operatorLasts is how long an operator stays signed in: a working day.
	operatorLasts = 12 * time.Hour
	// DefaultTTL is how long a portal session lasts when nobody says.
	DefaultTTL = time.Hour
	// MaxTTL is the longest one.
	MaxTTL = 24 * time.Hour
	// ClaimWithin bounds its one-time token, which travels through a page of the host product and is used at once.
	ClaimWithin = 5 * time.Minute
	// minTTL is the shortest portal session that a person can do something with.
	minTTL = time.Minute
	// tokenBytes are the random bytes of a cookie or a one-time token: 160 bits cannot be guessed.
	tokenBytes = 20
	// claimPrefix begins one-time tokens, so that a scanner for leaked secrets can tell what one is.
	claimPrefix = "pbt_"
)

// Keys look after the API keys that sessions stand on.
type Keys interface {
	// Lookup returns who calls with a token.
	Lookup(token string) (*access.Caller, error)
	// ByID returns who calls with the key; false when it was deleted or has expired.
	ByID(id patchbay.KeyID) (*access.Caller, bool)
	// NameOf returns what people call the key.
	NameOf(id patchbay.KeyID) string
}

// Options configure a Service.
type Options struct {
	Store interface {
		store.Sessions
		store.Audit
		NewID(n int) int64
	}
	Keys Keys
	// PublicURL is where the installation is reached, without a slash at its end.
	PublicURL string
	// Issuer is the OpenID provider that vouches for operators; "" when there is none. Sessions of another one are over.
	Issuer string
	// Development lets everybody on this machine in without signing in.
	Development bool
	// Framed says that portals may stand in a frame of another site's page, whose cookies need permission for that.
	Framed bool
	// Now is the clock; nil means time.Now.
	Now  func() time.Time
	Cell access.Cell
}

// View is what pages show of a session.
type View struct {
	ID     patchbay.SessionID
	Portal bool
	Scope  patchbay.Scope
	User   string
	// Name is what people know whoever has signed in by, Role what they may do, in a word; "" of portals.
	Name string
	Role access.Role
	// Return is the host product's page to go back to.
	Return    string
	ExpiresAt time.Time
}

// Service looks after sessions.
type Service struct {
	o        Options
	secure   bool
	refusals refusals
}

// New returns a Service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o, secure: strings.HasPrefix(o.PublicURL, "https://")}
}

// Caller returns who is in front of the browser. A portal goes before an operator who has opened it, so that operators see
// what customers see. The error is unauthorized when nobody is signed in.
func (s *Service) Caller(r *http.Request) (*access.Caller, *View, error) {
	for _, kind := range []kind{portal, operator} {
		c, v, err := s.of(r, kind)
		if err == nil && c != nil || err != nil {
			return c, v, err
		}
	}
	if s.o.Development {
		return developer, &View{User: "developer", Name: "Development mode", Role: access.RoleAdmin}, nil
	}
	return nil, nil, errNobody
}

// developer is whoever opens a page of an installation in development mode. Nothing changes it.
var developer = &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "development", User: "developer"}

var errNobody = &patchbay.Error{Code: patchbay.CodeUnauthorized, Message: "nobody is signed in here"}

// of returns the caller of one kind of cookie; nil when there is none that is valid.
func (s *Service) of(r *http.Request, k kind) (*access.Caller, *View, error) {
	cookies := r.CookiesNamed(s.name(k))
	if len(cookies) == 0 || cookies[0].Value == "" {
		return nil, nil, nil
	}
	found, err := s.o.Store.SessionByCookie(r.Context(), sha256.Sum256([]byte(cookies[0].Value)), s.o.Now())
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, problem("reading the session", err)
	}
	if found.Portal != (k == portal) {
		return nil, nil, nil
	}
	permissions, ok := s.permissions(found)
	if !ok || !s.vouched(found) {
		return nil, nil, nil
	}
	if gone, err := s.orphaned(r.Context(), found); err != nil || gone {
		return nil, nil, err
	}
	c := &access.Caller{
		Scope: found.Scope, Permissions: permissions, Key: found.Key, Name: "session", Session: found.ID, Portal: found.Portal,
		User: found.User, OwnerScope: found.OwnerScope,
	}
	v := &View{ID: found.ID, Portal: found.Portal, Scope: found.Scope, User: found.User, Return: found.Return, ExpiresAt: found.ExpiresAt}
	if !found.Portal {
		v.Name, v.Role = s.nameOf(found), roleOf(permissions)
		c.Known = v.Name
		if found.Key == 0 { // what is remembered of calls is a person's own
			c.Name = found.Via + " " + found.Subject
		}
	}
	return c, v, nil
}

// permissions returns what a session may do now: never more than the key that it stands on, and nothing without it.
func (s *Service) permissions(found *store.Session) ([]access.Permission, bool) {
	var out []access.Permission
	key := &access.Caller{Permissions: []access.Permission{access.Admin}}
	if found.Key != 0 {
		var ok bool
		if key, ok = s.o.Keys.ByID(found.Key); !ok {
			return nil, false
		}
	}
	for _, name := range found.Permissions {
		if p := access.Permission(name); key.May(p) && !strings.HasPrefix(name, fromPrefix) {
			out = append(out, p)
		}
	}
	return out, len(out) > 0
}

// SignIn lets an operator in who has an API key that may read. The session may do what the key may, for as long as the key
// exists.
func (s *Service) SignIn(w http.ResponseWriter, r *http.Request, key patchbay.Secret) error {
	c, err := s.o.Keys.Lookup(strings.TrimSpace(key.Reveal()))
	if err == nil && !c.May(access.Read) {
		err = patchbay.Errorf(patchbay.CodeForbidden, "this API key may not read, so there is nothing that it could show: sign in with one that has the permission read, manage or admin")
	}
	if err != nil {
		s.Refused(r, err)
		return err
	}
	return s.beginOperator(w, r, &store.Session{Scope: c.Scope, Permissions: names(c.Permissions), Key: c.Key, User: c.Name, Via: ViaKey})
}

// begin stores a session that needs no claim, and returns its cookie.
func (s *Service) begin(ctx context.Context, rec *store.Session) (string, error) {
	value := random("")
	rec.ID, rec.Cookie = patchbay.SessionID(s.o.Store.NewID(1)), sha256.Sum256([]byte(value))
	rec.CreatedAt = s.o.Now().UTC().Truncate(time.Millisecond)
	if err := s.o.Store.SaveSession(s.begun(ctx, rec), rec); err != nil {
		return "", problem("saving the session", err)
	}
	return value, nil
}

// SignOut ends the session that Caller would find, and takes its cookie away.
func (s *Service) SignOut(w http.ResponseWriter, r *http.Request) error {
	for _, kind := range []kind{portal, operator} {
		c, v, err := s.of(r, kind)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		rec := &store.Session{ID: v.ID, Portal: v.Portal, Scope: v.Scope, User: v.User, Key: c.Key}
		if err := s.o.Store.DeleteSession(s.ended(r.Context(), c, rec), v.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return problem("ending the session", err)
		}
		s.clear(w, kind)
		return nil
	}
	s.clear(w, operator)
	s.clear(w, portal)
	return nil
}

// Exchange gives a browser the cookie of a portal session for its one-time token, and returns the page to go to.
func (s *Service) Exchange(w http.ResponseWriter, r *http.Request, token string) (string, error) {
	const gone = "this link was used already, has run out or was taken back: go back to where it came from and open it anew"
	if !strings.HasPrefix(token, claimPrefix) || len(token) > 2*(len(claimPrefix)+2*tokenBytes) {
		return "", patchbay.Errorf(patchbay.CodeUnauthorized, gone)
	}
	value := random("")
	found, err := s.o.Store.ClaimSession(r.Context(), sha256.Sum256([]byte(token)), sha256.Sum256([]byte(value)), s.o.Now())
	if errors.Is(err, store.ErrNotFound) {
		return "", patchbay.Errorf(patchbay.CodeUnauthorized, gone)
	}
	if err != nil {
		return "", problem("opening the session", err)
	}
	if _, ok := s.permissions(found); !ok || !found.Portal {
		return "", patchbay.Errorf(patchbay.CodeUnauthorized, gone)
	}
	if late, err := s.orphaned(r.Context(), found); err != nil {
		return "", err
	} else if late {
		return "", patchbay.Errorf(patchbay.CodeUnauthorized, gone)
	}
	s.set(w, portal, value, found.ExpiresAt.Sub(s.o.Now()))
	return "/settings/" + string(found.Scope), nil
}

// random returns text that nobody can guess.
func random(prefix string) string {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // it never fails
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func names(permissions []access.Permission) []string {
	out := make([]string, len(permissions))
	for i, p := range permissions {
		out[i] = string(p)
	}
	return out
}

// problem turns an error of the store into one that callers may see.
func problem(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database cannot take writes at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	}
	return patchbay.Internal(doing, err)
}
