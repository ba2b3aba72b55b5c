package session

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// refusedEvery is how often a sign-in that was refused is written down of one address, refusedMost how many addresses there
	// are in that time: whoever guesses keys must not be able to fill the database.
	refusedEvery = time.Minute
	refusedMost  = 60
)

// refusals remember of whom a refusal was written down lately.
type refusals struct {
	mu    sync.Mutex
	since time.Time
	seen  map[netip.Prefix]bool
}

// first reports whether a refusal is to be written down.
func (x *refusals) first(address string, now time.Time) bool {
	from := network(address)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.seen == nil || now.Sub(x.since) >= refusedEvery || now.Before(x.since) {
		x.since, x.seen = now, map[netip.Prefix]bool{}
	}
	if x.seen[from] || len(x.seen) >= refusedMost {
		return false
	}
	x.seen[from] = true
	return true
}

// network is an address, or of IPv6 the network that one customer has (RFC 6177 §2).
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // it fits
	return p
}

// Refused writes down that somebody was not let in.
func (s *Service) Refused(r *http.Request, why error) {
	var e *patchbay.Error
	if !errors.As(why, &e) || e.Code != patchbay.CodeUnauthorized && e.Code != patchbay.CodeForbidden {
		return // whoever it is may try again
	}
	ctx := r.Context()
	if !s.refusals.first(access.OriginOf(ctx).Address, s.o.Now()) {
		return
	}
	entry := access.AuditEntry(ctx, stranger, access.Change{Action: "session.refused", Fields: []access.Field{{Name: "reason", To: e.Message}}})
	_ = s.o.Store.WriteAudit(ctx, entry) // whoever was refused is told that, whether it could be written down or not
}

// stranger is who has no session yet, and does not get one.
var stranger = &access.Caller{Name: access.ActorStranger}

// noted is what is written down about a session.
func (s *Service) noted(action string, rec *store.Session, fields ...access.Field) access.Change {
	title := rec.User
	if !rec.Portal {
		title = s.nameOf(rec)
	}
	return access.Change{Action: action, Object: rec.ID.String(), Title: title, Scope: rec.Scope, Fields: fields}
}

// begun returns a context with which a session is stored that an operator begins: it is the operator who does that.
func (s *Service) begun(ctx context.Context, rec *store.Session) context.Context {
	c := &access.Caller{Session: rec.ID, Known: s.nameOf(rec)}
	how := access.Field{Name: "via", To: rec.Via}
	return access.Audited(ctx, c, s.noted("session.signed_in", rec, how, access.Field{Name: "permissions", To: rec.Permissions}))
}

// ended returns a context with which a session is deleted: by itself, or by another one.
func (s *Service) ended(ctx context.Context, c *access.Caller, rec *store.Session) context.Context {
	action := "session.revoked"
	switch {
	case rec.Portal:
		action = "portal.deleted"
	case c.Session == rec.ID:
		action = "session.signed_out"
	}
	return access.Audited(ctx, c, s.noted(action, rec))
}

// opened returns a context with which a portal's session is stored.
func (s *Service) opened(ctx context.Context, c *access.Caller, rec *store.Session) context.Context {
	return access.Audited(ctx, c, s.noted("portal.created", rec,
		access.Field{Name: "permissions", To: rec.Permissions}, access.Field{Name: "expires_at", To: rec.ExpiresAt}))
}
