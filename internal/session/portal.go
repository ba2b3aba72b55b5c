package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// The permissions of a portal, as the API spells them.
const (
	// PermissionView sees the links of the scope, and what is visible of those that it inherits.
	PermissionView = "view"
	// PermissionEdit makes, changes and removes links.
	PermissionEdit = "edit"
	// PermissionSecrets gives and rotates secrets, and connects accounts.
	PermissionSecrets = "secrets"
)

// grants are the permissions that stand behind those of a portal. Who may edit may view.
var grants = map[string][]access.Permission{
	PermissionView:    {access.Read},
	PermissionEdit:    {access.Read, access.Manage},
	PermissionSecrets: {access.Secrets},
}

// maxReturn bounds the address of the page to go back to, maxUser the user's name.
const (
	maxReturn = 2048
	maxUser   = patchbay.MaxOwnerLength
)

// PortalInput asks for a portal session.
type PortalInput struct {
	Scope       string             `json:"scope" doc:"What the customer may see: this and everything below it." example:"acme/teams/42"`
	User        string             `json:"user,omitempty" maxLength:"255" doc:"Your product's name for who will be in front of the browser; connections belong to this user." example:"ann"`
	OwnerScope  *string            `json:"owner_scope,omitempty" doc:"Where the user's own things are. What they do at a partner is told there too." example:"acme/users/ann"`
	Permissions []string           `json:"permissions,omitempty" enum:"view,edit,secrets" nullable:"false" doc:"Default: view, edit and secrets."`
	TTL         *patchbay.Duration `json:"ttl,omitempty" doc:"How long the session lasts, up to 24h. Default: 1h."`
	Return      string             `json:"return,omitempty" maxLength:"2048" doc:"Your page to lead back to." example:"https://app.example.com/settings"`
}

// PortalView is a portal session as the API shows it. URL and Token are in the answer that made it only.
type PortalView struct {
	ID          patchbay.SessionID `json:"id"`
	URL         string             `json:"url,omitempty" doc:"Open this in the customer's browser, alone or in a frame, within five minutes. It works once."`
	Token       string             `json:"token,omitempty" doc:"The one-time token at the end of the URL."`
	Scope       patchbay.Scope     `json:"scope"`
	User        string             `json:"user"`
	OwnerScope  *patchbay.Scope    `json:"owner_scope"`
	Permissions []string           `json:"permissions" nullable:"false"`
	Return      string             `json:"return"`
	// Claimed says that the token was used.
	Claimed   bool      `json:"claimed"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// PortalFilter selects portal sessions.
type PortalFilter struct {
	Scope *patchbay.Scope
	User  string
	After patchbay.SessionID
	Limit int
}

// CreatePortal makes a portal session at or below the caller's scope. The caller needs manage, and the portal can never do
// more than the caller's key.
func (s *Service) CreatePortal(ctx context.Context, c *access.Caller, in PortalInput) (*PortalView, error) {
	if err := c.Require(access.Manage); err != nil {
		return nil, err
	}
	rec, err := s.portal(c, &in)
	if err != nil {
		return nil, err
	}
	token := random(claimPrefix)
	rec.Claim = sha256.Sum256([]byte(token))
	if err := s.o.Store.SaveSession(s.opened(ctx, c, rec), rec); err != nil {
		return nil, problem("saving the portal session", err)
	}
	v := portalView(rec)
	v.Token, v.URL = token, s.o.PublicURL+"/portal#"+token
	return v, nil
}

// portal checks what was asked for.
func (s *Service) portal(c *access.Caller, in *PortalInput) (*store.Session, error) {
	scope, err := patchbay.ParseScope(in.Scope)
	if err != nil {
		return nil, patchbay.Invalid("scope", "%v", err)
	}
	if scope == "" {
		return nil, patchbay.Invalid("scope", "a portal is for a customer: name a scope other than the whole installation")
	}
	if err := c.Reach(scope); err != nil {
		return nil, err
	}
	if err := s.o.Cell.Refuse(scope); err != nil {
		return nil, err
	}
	now := s.o.Now().UTC().Truncate(time.Millisecond)
	rec := &store.Session{
		ID: patchbay.SessionID(s.o.Store.NewID(1)), Portal: true, Scope: scope, User: in.User, Key: c.Key, Return: in.Return, CreatedAt: now,
	}
	if in.OwnerScope != nil {
		own, err := patchbay.ParseScope(*in.OwnerScope)
		if err != nil || own.Tenant() != scope.Tenant() {
			return nil, patchbay.Invalid("owner_scope", "must be a scope of the tenant %q", scope.Tenant())
		}
		if err := c.Reach(own); err != nil {
			return nil, err
		}
		rec.OwnerScope = &own
	}
	if len(in.User) > maxUser || strings.ContainsFunc(in.User, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, patchbay.Invalid("user", "must be one line of at most %d bytes without control characters", maxUser)
	}
	if rec.Permissions, err = permissions(in.Permissions); err != nil {
		return nil, err
	}
	if err := checkReturn(in.Return); err != nil {
		return nil, err
	}
	lasts := DefaultTTL
	if in.TTL != nil {
		lasts = time.Duration(*in.TTL)
	}
	if lasts < minTTL || lasts > MaxTTL {
		return nil, patchbay.Invalid("ttl", "must lie between %s and %s", patchbay.Duration(minTTL), patchbay.Duration(MaxTTL))
	}
	rec.ExpiresAt, rec.ClaimUntil = now.Add(lasts), now.Add(min(lasts, ClaimWithin))
	return rec, nil
}

// permissions turns a portal's permissions into those of a caller.
func permissions(asked []string) ([]string, error) {
	if len(asked) == 0 {
		asked = []string{PermissionView, PermissionEdit, PermissionSecrets}
	}
	var out []string
	for _, name := range asked {
		granted, ok := grants[name]
		if !ok {
			return nil, patchbay.Invalid("permissions", "%q is not one of view, edit and secrets", clip(name))
		}
		for _, p := range granted {
			if !slices.Contains(out, string(p)) {
				out = append(out, string(p))
			}
		}
	}
	if !slices.Contains(out, string(access.Read)) {
		return nil, patchbay.Invalid("permissions", "secrets alone shows nothing: add view or edit")
	}
	return out, nil
}

// checkReturn refuses addresses that a link must not lead to.
func checkReturn(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || len(address) > maxReturn || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return patchbay.Invalid("return", "must be the http or https address of a page of yours, of at most %d bytes", maxReturn)
	}
	return nil
}

// Portals lists portal sessions that have not ended, the oldest first, and says whether there are more.
func (s *Service) Portals(ctx context.Context, c *access.Caller, f PortalFilter) ([]PortalView, bool, error) {
	if err := c.Require(access.Manage); err != nil {
		return nil, false, err
	}
	scope := c.Scope
	if f.Scope != nil {
		if err := c.Reach(*f.Scope); err != nil {
			return nil, false, err
		}
		scope = *f.Scope
	}
	yes := true
	found, err := s.o.Store.Sessions(ctx, store.SessionFilter{Portal: &yes, Within: scope, User: f.User, After: f.After, Limit: f.Limit + 1}, s.o.Now())
	if err != nil {
		return nil, false, problem("listing the portal sessions", err)
	}
	more := len(found) > f.Limit
	views := make([]PortalView, 0, min(len(found), f.Limit))
	for i := range found[:min(len(found), f.Limit)] {
		views = append(views, *portalView(&found[i]))
	}
	return views, more, nil
}

// Portal returns a portal session.
func (s *Service) Portal(ctx context.Context, c *access.Caller, id patchbay.SessionID) (*PortalView, error) {
	if err := c.Require(access.Manage); err != nil {
		return nil, err
	}
	found, err := s.o.Store.Session(ctx, id, s.o.Now())
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && (!found.Portal || !c.Sees(found.Scope)):
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no portal session %s, or it has ended", id)
	case err != nil:
		return nil, problem("reading the portal session", err)
	}
	return portalView(found), nil
}

// DeletePortal ends a portal session: its pages answer nothing more from then on.
func (s *Service) DeletePortal(ctx context.Context, c *access.Caller, id patchbay.SessionID) error {
	v, err := s.Portal(ctx, c, id)
	if err != nil {
		return err
	}
	rec := &store.Session{ID: id, Portal: true, Scope: v.Scope, User: v.User}
	if err := s.o.Store.DeleteSession(s.ended(ctx, c, rec), id); err != nil && !errors.Is(err, store.ErrNotFound) {
		return problem("ending the portal session", err)
	}
	return nil
}

func portalView(rec *store.Session) *PortalView {
	v := &PortalView{
		ID: rec.ID, Scope: rec.Scope, User: rec.User, OwnerScope: rec.OwnerScope, Return: rec.Return,
		Claimed: rec.Cookie != [32]byte{}, CreatedAt: rec.CreatedAt, ExpiresAt: rec.ExpiresAt, Permissions: []string{},
	}
	for _, name := range []string{PermissionView, PermissionEdit, PermissionSecrets} {
		granted := grants[name]
		if slices.Contains(rec.Permissions, string(granted[len(granted)-1])) {
			v.Permissions = append(v.Permissions, name)
		}
	}
	return v
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
