package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// ViaKey is what stands in a session whose operator has signed in with an API key; otherwise the issuer does who vouched.
const ViaKey = "key"

// maxAgent is how much is kept of a browser's name for itself.
const maxAgent = 200

// Identity is an operator whom an OpenID provider has vouched for.
type Identity struct {
	// Issuer and Subject together are who it is; Name is what people know them by.
	Issuer, Subject, Name string
	Role                  access.Role
	Scope                 patchbay.Scope
}

// SignInAs lets an operator in. The session may do what the role may until it ends, whatever the provider says of the person
// meanwhile; it can be ended at any time.
func (s *Service) SignInAs(w http.ResponseWriter, r *http.Request, id Identity) error {
	permissions := id.Role.Permissions()
	if permissions == nil || id.Issuer == "" || id.Issuer != s.o.Issuer || id.Subject == "" {
		return patchbay.Errorf(patchbay.CodeForbidden, "nobody has given you a role here: ask whoever runs this installation for one")
	}
	if err := s.o.Cell.Refuse(id.Scope); err != nil {
		return err
	}
	return s.beginOperator(w, r, &store.Session{
		Scope: id.Scope, Permissions: names(permissions), User: id.Name, Via: id.Issuer, Subject: id.Subject,
	})
}

// beginOperator begins a session under a cookie that nobody knew before, and ends the one that the browser had.
func (s *Service) beginOperator(w http.ResponseWriter, r *http.Request, rec *store.Session) error {
	origin := access.OriginOf(r.Context())
	rec.Address, rec.Agent = origin.Address, cutAgent(origin.Agent)
	rec.ExpiresAt = s.o.Now().Add(operatorLasts)
	value, err := s.begin(r.Context(), rec)
	if err != nil {
		return err
	}
	s.replace(r)
	s.set(w, operator, value, operatorLasts)
	s.clear(w, portal)
	return nil
}

// replace ends the operator's session that a browser comes with. That it cannot be ended keeps nobody out: it ends by itself.
func (s *Service) replace(r *http.Request) {
	for _, c := range r.CookiesNamed(s.name(operator)) {
		found, err := s.o.Store.SessionByCookie(r.Context(), sha256.Sum256([]byte(c.Value)), s.o.Now())
		if err == nil && !found.Portal {
			own := &access.Caller{Session: found.ID, Known: s.nameOf(found)}
			_ = s.o.Store.DeleteSession(s.ended(r.Context(), own, found), found.ID)
		}
	}
}

func cutAgent(agent string) string {
	if len(agent) > maxAgent {
		agent = agent[:maxAgent]
	}
	return strings.ToValidUTF8(agent, "")
}

// vouched reports whether whoever vouched for an operator still does: the provider that is configured, or a key, of which
// permissions asks.
func (s *Service) vouched(rec *store.Session) bool {
	return rec.Portal || rec.Key != 0 || rec.Via == s.o.Issuer && rec.Via != ""
}

// nameOf is what people know an operator by.
func (s *Service) nameOf(rec *store.Session) string {
	if rec.Key != 0 {
		return s.o.Keys.NameOf(rec.Key)
	}
	return rec.User
}

// roleOf says in a word what permissions come to.
func roleOf(permissions []access.Permission) access.Role {
	c := &access.Caller{Permissions: permissions}
	for _, role := range []access.Role{access.RoleAdmin, access.RoleOperator, access.RoleViewer} {
		p := role.Permissions()
		if c.May(p[len(p)-1]) {
			return role
		}
	}
	return ""
}

// SessionView is a session as the API shows it, an operator's or a portal's.
type SessionView struct {
	ID     patchbay.SessionID `json:"id"`
	Portal bool               `json:"portal" doc:"A customer's; otherwise an operator's."`
	Scope  patchbay.Scope     `json:"scope"`
	Name   string             `json:"name" doc:"Who it is: of a portal your product's name for the user, of an operator the name of the key or what the provider calls the person."`
	Role   access.Role        `json:"role" doc:"What an operator may do: viewer, operator or admin; empty for portals."`
	Via    string             `json:"via" doc:"How an operator signed in: key, or the issuer of OpenID Connect."`
	// Subject is who the issuer says it is, for good.
	Subject string          `json:"subject" doc:"Who it is to the issuer (the claim sub)."`
	Key     *patchbay.KeyID `json:"key" doc:"The API key that the session stands on: without it the session ends."`
	Address string          `json:"address" doc:"Where it was begun from."`
	Agent   string          `json:"agent" doc:"What the browser calls itself."`
	// Current says that it is the caller's own.
	Current   bool      `json:"current"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// SessionFilter selects sessions.
type SessionFilter struct {
	// Portal tells portals from operators; nil is both.
	Portal *bool
	Scope  *patchbay.Scope
	After  patchbay.SessionID
	Limit  int
}

// Sessions lists the sessions at or below the caller's scope that have not ended, the oldest first, and says whether there are
// more. The caller needs admin.
func (s *Service) Sessions(ctx context.Context, c *access.Caller, f SessionFilter) ([]SessionView, bool, error) {
	if err := c.Require(access.Admin); err != nil {
		return nil, false, err
	}
	scope := c.Scope
	if f.Scope != nil {
		if err := c.Reach(*f.Scope); err != nil {
			return nil, false, err
		}
		scope = *f.Scope
	}
	views := make([]SessionView, 0, min(f.Limit, 64))
	after := f.After
	for { // sessions whose key is gone are there until they run out, and shown to nobody
		found, err := s.o.Store.Sessions(ctx, store.SessionFilter{Portal: f.Portal, Within: scope, After: after, Limit: f.Limit + 1}, s.o.Now())
		if err != nil {
			return nil, false, problem("listing the sessions", err)
		}
		for i := range found {
			after = found[i].ID
			permissions, ok := s.permissions(&found[i])
			if !ok || !s.vouched(&found[i]) {
				continue
			}
			if len(views) == f.Limit {
				return views, true, nil
			}
			views = append(views, s.view(&found[i], permissions, c))
		}
		if len(found) <= f.Limit {
			return views, false, nil
		}
	}
}

// OfKey lists up to limit of the sessions at or below the caller's scope that end with a key, and says whether there are more.
func (s *Service) OfKey(ctx context.Context, c *access.Caller, key patchbay.KeyID, limit int) (views []SessionView, more bool, err error) {
	if err := c.Require(access.Admin); err != nil {
		return nil, false, err
	}
	found, err := s.o.Store.Sessions(ctx, store.SessionFilter{Within: c.Scope, Key: key, Limit: limit + 1}, s.o.Now())
	if err != nil {
		return nil, false, problem("listing the sessions of a key", err)
	}
	more = len(found) > limit
	for i := range found[:min(len(found), limit)] {
		permissions, _ := s.permissions(&found[i])
		views = append(views, s.view(&found[i], permissions, c))
	}
	return views, more, nil
}

// EndSession ends a session: its pages answer nothing more from then on, at every node. The caller needs admin.
func (s *Service) EndSession(ctx context.Context, c *access.Caller, id patchbay.SessionID) error {
	if err := c.Require(access.Admin); err != nil {
		return err
	}
	found, err := s.o.Store.Session(ctx, id, s.o.Now())
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !c.Sees(found.Scope):
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no session %s, or it has ended", id)
	case err != nil:
		return problem("reading the session", err)
	}
	if err := s.o.Store.DeleteSession(s.ended(ctx, c, found), id); err != nil && !errors.Is(err, store.ErrNotFound) {
		return problem("ending the session", err)
	}
	return nil
}

func (s *Service) view(rec *store.Session, permissions []access.Permission, c *access.Caller) SessionView {
	v := SessionView{
		ID: rec.ID, Portal: rec.Portal, Scope: rec.Scope, Name: rec.User, Via: rec.Via, Subject: rec.Subject, Address: rec.Address, Agent: rec.Agent,
		Current: c.Session == rec.ID, CreatedAt: rec.CreatedAt, ExpiresAt: rec.ExpiresAt,
	}
	if rec.Key != 0 {
		v.Key = new(rec.Key)
	}
	if !rec.Portal {
		v.Name, v.Role = s.nameOf(rec), roleOf(permissions)
	}
	return v
}
