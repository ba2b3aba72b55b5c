package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// handoffLasts is how long a session that was handed off lasts at most: as long as a consent may take, and the form after it.
const handoffLasts = 15 * time.Minute

// fromPrefix begins the entry among a session's stored permissions that is none: it names the session that the one was handed
// off from, with which it ends.
const fromPrefix = "from:"

// handedFrom returns the session that one was handed off from; 0 when it was not.
func handedFrom(s *store.Session) (id patchbay.SessionID) {
	for _, name := range s.Permissions {
		if text, ok := strings.CutPrefix(name, fromPrefix); ok && id.UnmarshalText([]byte(text)) != nil {
			return -1 // which no session is
		}
	}
	return id
}

// orphaned reports whether a session was handed off from one that has ended.
func (s *Service) orphaned(ctx context.Context, rec *store.Session) (bool, error) {
	from := handedFrom(rec)
	if from == 0 {
		return false, nil
	}
	_, err := s.o.Store.Session(ctx, from, s.o.Now())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true, nil
	case err != nil:
		return false, problem("reading the session", err)
	}
	return false, nil
}

// Handoff makes a one-time token for a second, short session of whoever is in front of a portal in a frame, to go on in a
// tab of its own: a frame's cookie is partitioned, so the tab has none, and partners do not let their consent be framed.
// The second session can do what the first can, shows in the list of portal sessions, and ends with the first.
func (s *Service) Handoff(ctx context.Context, c *access.Caller) (token string, err error) {
	if c == nil || !c.Portal || c.Session == 0 {
		return "", patchbay.Errorf(patchbay.CodeForbidden, "only portals can be handed off")
	}
	found, err := s.o.Store.Session(ctx, c.Session, s.o.Now())
	if errors.Is(err, store.ErrNotFound) {
		return "", errNobody
	}
	if err != nil {
		return "", problem("reading the session", err)
	}
	now := s.o.Now().UTC().Truncate(time.Millisecond)
	next := *found
	token = random(claimPrefix)
	next.ID, next.Claim, next.Cookie = patchbay.SessionID(s.o.Store.NewID(1)), sha256.Sum256([]byte(token)), [32]byte{}
	next.CreatedAt = now
	if handedFrom(found) == 0 {
		next.Permissions = append(slices.Clone(found.Permissions), fromPrefix+found.ID.String())
	}
	if until := now.Add(handoffLasts); until.Before(next.ExpiresAt) {
		next.ExpiresAt = until
	}
	next.ClaimUntil = next.ExpiresAt
	if until := now.Add(ClaimWithin); until.Before(next.ClaimUntil) {
		next.ClaimUntil = until
	}
	if err := s.o.Store.SaveSession(ctx, &next); err != nil {
		return "", problem("saving the session", err)
	}
	return token, nil
}
