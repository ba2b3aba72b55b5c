package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Sessions = (*Store)(nil)

const (
	sessionColumns   = "id, portal, claim, cookie, scope, user_name, owner_scope, permissions, key, back, created, claim_until, expires, via, subject, address, agent"
	sqlSessions      = "SELECT " + sessionColumns + " FROM session"
	sqlInsertSession = "INSERT INTO session (" + sessionColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
	sqlClaimSession  = "UPDATE session SET claim = NULL, cookie = $2 WHERE claim = $1 AND claim_until > $3 AND expires > $3 RETURNING " + sessionColumns
)

// scanSession reads a row of sessionColumns.
func scanSession(row pgx.Row) (x store.Session, err error) {
	var (
		claim, cookie, user, back    []byte
		via, subject, address, agent []byte
		permissions                  string
		created, until               *time.Time
	)
	err = row.Scan(&x.ID, &x.Portal, &claim, &cookie, &x.Scope, &user, &x.OwnerScope, &permissions, &x.Key, &back, &created, &until, &x.ExpiresAt,
		&via, &subject, &address, &agent)
	if err != nil {
		return x, err
	}
	copy(x.Claim[:], claim)
	copy(x.Cookie[:], cookie)
	x.User, x.Return, x.CreatedAt, x.ClaimUntil, x.ExpiresAt = string(user), string(back), utc(created), utc(until), x.ExpiresAt.UTC()
	x.Via, x.Subject, x.Address, x.Agent = string(via), string(subject), string(address), string(agent)
	if err := json.Unmarshal([]byte(permissions), &x.Permissions); err != nil {
		return x, fmt.Errorf("the session %s in the database cannot be read: %w", x.ID, err)
	}
	return x, nil
}

// hashOrNull is nil for the zero hash.
func hashOrNull(hash *[32]byte) []byte {
	if *hash == ([32]byte{}) {
		return nil
	}
	return hash[:]
}

// SaveSession adds a session; see store.Sessions.
func (s *Store) SaveSession(ctx context.Context, x *store.Session) error {
	permissions, err := json.Marshal(x.Permissions)
	if err != nil {
		return err
	}
	var owner *string
	if x.OwnerScope != nil {
		text := string(*x.OwnerScope)
		owner = &text
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlInsertSession, int64(x.ID), x.Portal, hashOrNull(&x.Claim), hashOrNull(&x.Cookie), string(x.Scope), []byte(x.User), owner,
			string(permissions), int64(x.Key), []byte(x.Return), orNull(x.CreatedAt), orNull(x.ClaimUntil), x.ExpiresAt,
			[]byte(x.Via), []byte(x.Subject), []byte(x.Address), []byte(x.Agent))
		return err
	})
	if state(err) == stateUniqueViolation {
		return fmt.Errorf("there is a session with the identifier or a hash of %s: %w", x.ID, store.ErrConflict)
	}
	return err
}

// found returns the session in a row. ErrNotFound.
func found(row pgx.Row) (*store.Session, error) {
	x, err := scanSession(row)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &x, nil
}

// ClaimSession gives the session with a one-time token its cookie; see store.Sessions.
func (s *Store) ClaimSession(ctx context.Context, claim, cookie [32]byte, now time.Time) (x *store.Session, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		x, err = found(tx.QueryRow(ctx, sqlClaimSession, claim[:], hashOrNull(&cookie), now))
		return err
	})
	if state(err) == stateUniqueViolation {
		err = fmt.Errorf("another session has the cookie that this one was to get: %w", store.ErrConflict)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}

// oneSession returns the session that a condition finds. ErrNotFound.
func (s *Store) oneSession(ctx context.Context, condition string, args ...any) (x *store.Session, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		x, err = found(c.QueryRow(ctx, sqlSessions+" WHERE "+condition, args...))
		return err
	})
	return x, err
}

// SessionByCookie returns the session of a cookie; see store.Sessions.
func (s *Store) SessionByCookie(ctx context.Context, cookie [32]byte, now time.Time) (*store.Session, error) {
	return s.oneSession(ctx, "cookie = $1 AND expires > $2", cookie[:], now)
}

// Session returns a session; see store.Sessions.
func (s *Store) Session(ctx context.Context, id patchbay.SessionID, now time.Time) (*store.Session, error) {
	return s.oneSession(ctx, "id = $1 AND expires > $2", int64(id), now)
}

// DeleteSession ends a session; see store.Sessions.
func (s *Store) DeleteSession(ctx context.Context, id patchbay.SessionID) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM session WHERE id = $1", int64(id))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return store.ErrNotFound
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedSession, ID: int64(id)})
	})
}

// Sessions lists sessions; see store.Sessions.
func (s *Store) Sessions(ctx context.Context, f store.SessionFilter, now time.Time) (out []store.Session, err error) {
	w, order := &where{}, "id"
	w.and("id > ?", int64(f.After))
	w.and("expires > ?", now)
	if f.Within != "" {
		w.within(f.Within)
		order = "id + 0" // as in Connections
	}
	if f.Portal != nil {
		w.and("portal = ?", *f.Portal)
	}
	if f.Key != 0 {
		w.and("key = ?", int64(f.Key))
	}
	if f.User != "" {
		w.and("user_name = ?", []byte(f.User))
	}
	sql := w.sql(sqlSessions, order, f.Limit)
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, w.args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Session, error) { return scanSession(row) })
		return err
	})
	return out, err
}
