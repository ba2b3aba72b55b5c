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

// orNull makes NULL of the zero time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// utc makes the zero time of NULL, and UTC of any other.
func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// PutType adds or replaces an event type; see store.Types.
func (s *Store) PutType(ctx context.Context, t *patchbay.EventType) error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("the event type %s cannot be written: %w", t.Key, err)
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO event_type (key, data) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET data = excluded.data", t.Key, string(data))
		if err != nil {
			return err
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedType, Key: t.Key})
	})
}

// DeleteType removes an event type; see store.Types.
func (s *Store) DeleteType(ctx context.Context, key string) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM event_type WHERE key = $1", key)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return store.ErrNotFound
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedType, Key: key})
	})
}

// AllTypes returns every event type, by key; see store.Types.
func (s *Store) AllTypes(ctx context.Context) (out []patchbay.EventType, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT key, data FROM event_type ORDER BY key")
		if err != nil {
			return err
		}
		out = nil
		var key, data string
		_, err = pgx.ForEachRow(rows, []any{&key, &data}, func() error {
			var t patchbay.EventType
			if err := json.Unmarshal([]byte(data), &t); err != nil {
				return fmt.Errorf("the event type %s in the database cannot be read: %w", key, err)
			}
			out = append(out, t)
			return nil
		})
		return err
	})
	return out, err
}

// SaveKey adds an API key; see store.Keys.
func (s *Store) SaveKey(ctx context.Context, k *store.Key) error {
	permissions, err := json.Marshal(k.Permissions)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO api_key (id, name, hash, scope, permissions, hint, created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			int64(k.ID), k.Name, k.Hash[:], string(k.Scope), string(permissions), k.Hint, orNull(k.CreatedAt), orNull(k.ExpiresAt))
		if err != nil {
			return err
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedKey, ID: int64(k.ID)})
	})
	if state(err) == stateUniqueViolation {
		return fmt.Errorf("the key %s exists: %w", k.ID, store.ErrConflict)
	}
	return err
}

// DeleteKey removes an API key; see store.Keys.
func (s *Store) DeleteKey(ctx context.Context, id patchbay.KeyID) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM api_key WHERE id = $1", int64(id))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return store.ErrNotFound
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedKey, ID: int64(id)})
	})
}

// AllKeys returns every API key, the oldest first; see store.Keys.
func (s *Store) AllKeys(ctx context.Context) (out []store.Key, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT id, name, hash, scope, permissions, hint, created, expires FROM api_key ORDER BY id")
		if err != nil {
			return err
		}
		out = nil
		var (
			id                             int64
			name, scope, permissions, hint string
			hash                           []byte
			created, expires               *time.Time
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &name, &hash, &scope, &permissions, &hint, &created, &expires}, func() error {
			k := store.Key{ID: patchbay.KeyID(id), Name: name, Scope: patchbay.Scope(scope), Hint: hint, CreatedAt: utc(created), ExpiresAt: utc(expires)}
			copy(k.Hash[:], hash)
			if err := json.Unmarshal([]byte(permissions), &k.Permissions); err != nil {
				return fmt.Errorf("the key %s in the database cannot be read: %w", k.ID, err)
			}
			out = append(out, k)
			return nil
		})
		return err
	})
	return out, err
}

// Meta returns a small fact; see store.Maintenance.
func (s *Store) Meta(ctx context.Context, key string) (value string, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		value, err = readMeta(ctx, c, key)
		return err
	})
	return value, err
}

func readMeta(ctx context.Context, q querier, key string) (value string, err error) {
	err = q.QueryRow(ctx, "SELECT value FROM meta WHERE key = $1", key).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetMeta keeps a small fact; see store.Maintenance.
func (s *Store) SetMeta(ctx context.Context, key, value string) error {
	return s.write(ctx, func(tx pgx.Tx) error { return writeMeta(ctx, tx, key, value) })
}

// errNotSwapped undoes a transaction that changes nothing, with its entry of the audit log.
var errNotSwapped = errors.New("the fact is another one")

// SwapMeta sets a small fact if it is what the caller thinks; see store.Maintenance.
func (s *Store) SwapMeta(ctx context.Context, key, old, value string) (now string, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		if old == "" { // two that insert wait for each other
			_, err := tx.Exec(ctx, "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE meta.value = ''", key, value)
			if err != nil {
				return err
			}
		} else if _, err := tx.Exec(ctx, "UPDATE meta SET value = $3 WHERE key = $1 AND value = $2", key, old, value); err != nil {
			return err
		}
		if now, err = readMeta(ctx, tx, key); err == nil && now != value {
			err = errNotSwapped
		}
		return err
	})
	if errors.Is(err, errNotSwapped) {
		err = nil
	}
	return now, err
}

func writeMeta(ctx context.Context, tx pgx.Tx, key, value string) error {
	_, err := tx.Exec(ctx, "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}
