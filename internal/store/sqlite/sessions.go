package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Sessions = (*Store)(nil)

const (
	sessionColumns = `id, portal, claim, cookie, scope, user, owner_scope, permissions, key, back, created, claim_until, expires,
		via, subject, address, agent`
	sessionBy     = "SELECT " + sessionColumns + " FROM session WHERE "
	sessionByID   = sessionBy + "id = ? AND expires > ?"
	sessionCookie = sessionBy + "cookie = ? AND expires > ?"
	sessionClaim  = sessionBy + "claim = ?1 AND expires > ?2 AND claim_until > ?2"

	sessionsRest = ` AND expires > ?1 AND (?2 IS NULL OR portal = ?2) AND (?3 = '' OR scope = ?3 OR scope > ?3 || '/' AND scope < ?3 || '0')
		AND (?4 = '' OR user = ?4) AND (?7 = 0 OR key = ?7) AND id > ?5 ORDER BY id LIMIT ?6`
	allSessions    = sessionBy + "id > ?5" + sessionsRest
	sessionsWithin = "SELECT " + sessionColumns + " FROM session INDEXED BY session_scope WHERE scope >= ?3 AND scope < ?3 || '0'" + sessionsRest
	sessionsKind   = "SELECT " + sessionColumns + " FROM session INDEXED BY session_portal WHERE portal = ?2" + sessionsRest
	sessionsOfKey  = "SELECT " + sessionColumns + " FROM session INDEXED BY session_key WHERE key = ?7" + sessionsRest
)

func scanSession(st *stmt) (*store.Session, error) {
	x := &store.Session{
		ID: patchbay.SessionID(st.int(0)), Portal: st.int(1) != 0, Scope: patchbay.Scope(st.str(4)), User: st.str(5),
		Key: patchbay.KeyID(st.int(8)), Return: st.str(9), CreatedAt: st.time(10), ClaimUntil: st.time(11), ExpiresAt: st.time(12),
		Via: st.str(13), Subject: st.str(14), Address: st.str(15), Agent: st.str(16),
	}
	copy(x.Claim[:], st.raw(2))
	copy(x.Cookie[:], st.raw(3))
	if !st.isNull(6) {
		owner := patchbay.Scope(st.str(6))
		x.OwnerScope = &owner
	}
	if err := json.Unmarshal(st.raw(7), &x.Permissions); err != nil {
		return nil, fmt.Errorf("the session %s in the database cannot be read: %w", x.ID, err)
	}
	return x, nil
}

// bindHash binds NULL for the zero hash.
func (s *stmt) bindHash(i int, hash *[32]byte) *stmt {
	if *hash == ([32]byte{}) {
		return s.bindNull(i)
	}
	return s.bindBlob(i, hash[:])
}

// SaveSession adds a session; see store.Sessions.
func (s *Store) SaveSession(ctx context.Context, x *store.Session) error {
	permissions, err := json.Marshal(x.Permissions)
	if err != nil {
		return err
	}
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare("INSERT INTO session (" + sessionColumns + ") VALUES (?" + strings.Repeat(", ?", 16) + ")")
		if err != nil {
			return err
		}
		st.bind(1, int64(x.ID)).bind(2, b2i(x.Portal)).bindHash(3, &x.Claim).bindHash(4, &x.Cookie).bindText(5, string(x.Scope)).bindText(6, x.User)
		if st.bindNull(7); x.OwnerScope != nil {
			st.bindText(7, string(*x.OwnerScope))
		}
		st.bindText(8, string(permissions)).bind(9, int64(x.Key)).bindText(10, x.Return).bindTime(11, x.CreatedAt).bindTime(12, x.ClaimUntil)
		st.bind(13, x.ExpiresAt.UnixMicro()).bindText(14, x.Via).bindText(15, x.Subject).bindText(16, x.Address)
		err = st.bindText(17, x.Agent).run()
		if constraint(err) {
			return fmt.Errorf("there is a session with the identifier or a hash of %s: %w", x.ID, store.ErrConflict)
		}
		return err
	}, nil)
}

// oneSession returns the session that a statement finds. ErrNotFound.
func oneSession(st *stmt) (*store.Session, error) {
	defer st.reset()
	row, err := st.step()
	if err != nil {
		return nil, err
	}
	if !row {
		return nil, store.ErrNotFound
	}
	return scanSession(st)
}

// ClaimSession gives the session with a one-time token its cookie; see store.Sessions. Anybody can ask, so what is not
// there is not worth a transaction of the writer.
func (s *Store) ClaimSession(ctx context.Context, claim, cookie [32]byte, now time.Time) (x *store.Session, err error) {
	look := func(c *conn) error {
		st, err := c.prepare(sessionClaim)
		if err != nil {
			return err
		}
		x, err = oneSession(st.bindBlob(1, claim[:]).bind(2, now.UnixMicro()))
		return err
	}
	if err := s.read(ctx, look); err != nil {
		return nil, err
	}
	err = s.do(ctx, func(c *conn) error {
		if err := look(c); err != nil {
			return err
		}
		x.Claim, x.Cookie = [32]byte{}, cookie
		st, err := c.prepare("UPDATE session SET claim = NULL, cookie = ? WHERE id = ?")
		if err != nil {
			return err
		}
		err = st.bindHash(1, &cookie).bind(2, int64(x.ID)).run()
		if constraint(err) {
			return fmt.Errorf("another session has the cookie that %s was to get: %w", x.ID, store.ErrConflict)
		}
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// SessionByCookie returns the session of a cookie; see store.Sessions.
func (s *Store) SessionByCookie(ctx context.Context, cookie [32]byte, now time.Time) (x *store.Session, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(sessionCookie)
		if err != nil {
			return err
		}
		x, err = oneSession(st.bindBlob(1, cookie[:]).bind(2, now.UnixMicro()))
		return err
	})
	return x, err
}

// Session returns a session; see store.Sessions.
func (s *Store) Session(ctx context.Context, id patchbay.SessionID, now time.Time) (x *store.Session, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(sessionByID)
		if err != nil {
			return err
		}
		x, err = oneSession(st.bind(1, int64(id)).bind(2, now.UnixMicro()))
		return err
	})
	return x, err
}

// DeleteSession ends a session; see store.Sessions.
func (s *Store) DeleteSession(ctx context.Context, id patchbay.SessionID) error {
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare("DELETE FROM session WHERE id = ?")
		if err != nil {
			return err
		}
		return found(c, st.bind(1, int64(id)).run())
	}, nil)
}

// Sessions lists sessions; see store.Sessions.
func (s *Store) Sessions(ctx context.Context, f store.SessionFilter, now time.Time) (out []store.Session, err error) {
	sql := allSessions
	switch {
	case f.Key != 0:
		sql = sessionsOfKey
	case f.Portal != nil && (!*f.Portal || f.Within == ""):
		sql = sessionsKind
	case f.Within != "":
		sql = sessionsWithin
	}
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		if st.bind(1, now.UnixMicro()).bindNull(2); f.Portal != nil {
			st.bind(2, b2i(*f.Portal))
		}
		st.bindText(3, string(f.Within)).bindText(4, f.User).bind(5, int64(f.After)).bind(6, int64(f.Limit)).bind(7, int64(f.Key))
		return st.rows(func() error {
			x, err := scanSession(st)
			if err == nil {
				out = append(out, *x)
			}
			return err
		})
	})
	return out, err
}
