package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// PutType adds or replaces an event type; see store.Types.
func (s *Store) PutType(ctx context.Context, t *patchbay.EventType) error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("the event type %s cannot be written: %w", t.Key, err)
	}
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare("INSERT OR REPLACE INTO event_type (key, data) VALUES (?, ?)")
		if err != nil {
			return err
		}
		return st.bindText(1, t.Key).bindText(2, string(data)).run()
	}, nil)
}

// DeleteType removes an event type; see store.Types.
func (s *Store) DeleteType(ctx context.Context, key string) error {
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare("DELETE FROM event_type WHERE key = ?")
		if err != nil {
			return err
		}
		return found(c, st.bindText(1, key).run())
	}, nil)
}

// found turns "nothing was changed" into store.ErrNotFound.
func found(c *conn, err error) error {
	if err == nil && c.changes() == 0 {
		return store.ErrNotFound
	}
	return err
}

// AllTypes returns every event type, by key; see store.Types.
func (s *Store) AllTypes(ctx context.Context) (out []patchbay.EventType, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT key, data FROM event_type ORDER BY key")
		if err != nil {
			return err
		}
		defer st.reset()
		for {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			var t patchbay.EventType
			if err := json.Unmarshal(st.raw(1), &t); err != nil {
				return fmt.Errorf("the event type %s in the database cannot be read: %w", st.str(0), err)
			}
			out = append(out, t)
		}
	})
	return out, err
}

// SaveKey adds an API key; see store.Keys.
func (s *Store) SaveKey(ctx context.Context, k *store.Key) error {
	permissions, err := json.Marshal(k.Permissions)
	if err != nil {
		return err
	}
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare(`INSERT INTO api_key (id, name, hash, scope, permissions, hint, created, expires)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		st.bind(1, int64(k.ID)).bindText(2, k.Name).bindBlob(3, k.Hash[:]).bindText(4, string(k.Scope))
		err = st.bindText(5, string(permissions)).bindText(6, k.Hint).bindTime(7, k.CreatedAt).bindTime(8, k.ExpiresAt).run()
		if constraint(err) {
			return fmt.Errorf("the key %s exists: %w", k.ID, store.ErrConflict)
		}
		return err
	}, nil)
}

// DeleteKey removes an API key; see store.Keys.
func (s *Store) DeleteKey(ctx context.Context, id patchbay.KeyID) error {
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare("DELETE FROM api_key WHERE id = ?")
		if err != nil {
			return err
		}
		return found(c, st.bind(1, int64(id)).run())
	}, nil)
}

// AllKeys returns every API key, the oldest first; see store.Keys.
func (s *Store) AllKeys(ctx context.Context) (out []store.Key, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT id, name, hash, scope, permissions, hint, created, expires FROM api_key ORDER BY id")
		if err != nil {
			return err
		}
		defer st.reset()
		for {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			k := store.Key{
				ID: patchbay.KeyID(st.int(0)), Name: st.str(1), Scope: patchbay.Scope(st.str(3)), Hint: st.str(5),
				CreatedAt: st.time(6), ExpiresAt: st.time(7),
			}
			copy(k.Hash[:], st.raw(2))
			if err := json.Unmarshal(st.raw(4), &k.Permissions); err != nil {
				return fmt.Errorf("the key %s in the database cannot be read: %w", k.ID, err)
			}
			out = append(out, k)
		}
	})
	return out, err
}

// Meta returns a small fact; see store.Maintenance.
func (s *Store) Meta(ctx context.Context, key string) (value string, err error) {
	err = s.read(ctx, func(c *conn) error {
		value, err = readMeta(c, key)
		return err
	})
	return value, err
}

func readMeta(c *conn, key string) (string, error) {
	st, err := c.prepare("SELECT value FROM meta WHERE key = ?")
	if err != nil {
		return "", err
	}
	defer st.reset()
	row, err := st.bindText(1, key).step()
	if err != nil || !row {
		return "", err
	}
	return st.str(0), nil
}

// SetMeta keeps a small fact; see store.Maintenance.
func (s *Store) SetMeta(ctx context.Context, key, value string) error {
	return s.do(ctx, func(c *conn) error { return writeMeta(c, key, value) }, nil)
}

// errNotSwapped undoes a transaction that changes nothing, with its entry of the audit log.
var errNotSwapped = errors.New("the fact is another one")

// SwapMeta sets a small fact if it is what the caller thinks; see store.Maintenance.
func (s *Store) SwapMeta(ctx context.Context, key, old, value string) (now string, err error) {
	err = s.do(ctx, func(c *conn) error {
		have, err := readMeta(c, key)
		if now = have; err != nil {
			return err
		}
		if have != old {
			return errNotSwapped
		}
		now = value
		return writeMeta(c, key, value)
	}, nil)
	if errors.Is(err, errNotSwapped) {
		err = nil
	}
	return now, err
}

func writeMeta(c *conn, key, value string) error {
	st, err := c.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")
	if err != nil {
		return err
	}
	return st.bindText(1, key).bindText(2, value).run()
}
