package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var (
	_ store.Connections = (*Store)(nil)
	_ store.Flows       = (*Store)(nil)
)

// connectionRow is a connection as it stands in the table.
type connectionRow struct {
	id                int64
	revision          int
	fence             int64
	leased            time.Time
	data, credentials []byte
}

const connectionColumns = "id, revision, fence, leased, data, credentials"

func scanConnection(st *stmt) *connectionRow {
	return &connectionRow{
		id: st.int(0), revision: int(st.int(1)), fence: st.int(2), leased: st.time(3), data: st.bytes(4), credentials: st.bytes(5),
	}
}

// readConnection returns nil when there is no such connection.
func readConnection(c *conn, id patchbay.ConnectionID) (*connectionRow, error) {
	st, err := c.prepare("SELECT " + connectionColumns + " FROM connection WHERE id = ?")
	if err != nil {
		return nil, err
	}
	defer st.reset()
	row, err := st.bind(1, int64(id)).step()
	if err != nil || !row {
		return nil, err
	}
	return scanConnection(st), nil
}

// connection makes a connection of its row.
func (s *Store) connection(ctx context.Context, r *connectionRow) (*patchbay.Connection, error) {
	c, err := r.shown()
	if err != nil {
		return nil, err
	}
	c.Credentials, err = store.OpenCredentials(ctx, s.o.Sealer, c.ID, r.credentials)
	return c, err
}

// shown is the connection without its credentials.
func (r *connectionRow) shown() (*patchbay.Connection, error) {
	c := &patchbay.Connection{}
	if err := json.Unmarshal(r.data, c); err != nil {
		return nil, fmt.Errorf("the connection %s in the database cannot be read: %w", patchbay.ConnectionID(r.id), err)
	}
	c.ID, c.Revision = patchbay.ConnectionID(r.id), r.revision
	return c, nil
}

// write stores the row of c. Its credentials are those that are sealed.
func (r *connectionRow) write(c *conn, of *patchbay.Connection) error {
	data, err := json.Marshal(of)
	if err != nil {
		return fmt.Errorf("the connection %s cannot be written: %w", of.ID, err)
	}
	st, err := c.prepare(`INSERT OR REPLACE INTO connection
		(id, revision, integration, account, scope, expires, fence, leased, data, credentials) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	st.bind(1, int64(of.ID)).bind(2, int64(of.Revision)).bindText(3, of.Integration).bindText(4, of.Account.ID).bindText(5, string(of.Scope))
	st.bindTime(6, store.RefreshBy(of)).bind(7, r.fence).bindTime(8, r.leased).bindText(9, string(data))
	return st.bindBlob(10, r.credentials).run()
}

// SaveConnection stores a revision; see store.Connections. Whether the credentials are others is found out before the
// transaction: they do not change without the revision.
func (s *Store) SaveConnection(ctx context.Context, c *patchbay.Connection) error {
	sealed, err := store.SealCredentials(ctx, s.o.Sealer, c.ID, &c.Credentials)
	if err != nil {
		return err
	}
	before, err := s.connectionRow(ctx, c.ID)
	if err != nil {
		return err
	}
	same := false
	if before != nil {
		if same, err = store.SameCredentials(ctx, s.o.Sealer, c.ID, before.credentials, &c.Credentials); err != nil {
			return err
		}
	}
	return s.do(ctx, func(db *conn) error {
		r, err := readConnection(db, c.ID)
		if err != nil {
			return err
		}
		if r == nil {
			r = &connectionRow{}
		}
		if c.Revision != r.revision+1 || before != nil && before.revision != r.revision {
			return fmt.Errorf("revision %d of the connection %s does not follow %d: %w", c.Revision, c.ID, r.revision, store.ErrConflict)
		}
		if !same {
			r.fence++
			r.leased = time.Time{}
		}
		r.credentials = sealed
		return r.write(db, c)
	}, nil)
}

// connectionRow reads a connection's row beside the writer; nil when there is none.
func (s *Store) connectionRow(ctx context.Context, id patchbay.ConnectionID) (r *connectionRow, err error) {
	err = s.read(ctx, func(c *conn) error {
		r, err = readConnection(c, id)
		return err
	})
	return r, err
}

// DeleteConnection removes a connection; see store.Connections.
func (s *Store) DeleteConnection(ctx context.Context, id patchbay.ConnectionID) error {
	return s.do(ctx, func(c *conn) error {
		restore, err := overwriting(c)
		if err != nil {
			return err
		}
		defer restore()
		st, err := c.prepare("DELETE FROM connection WHERE id = ?")
		if err != nil {
			return err
		}
		return found(c, st.bind(1, int64(id)).run())
	}, nil)
}

// Connection returns a connection; see store.Connections.
func (s *Store) Connection(ctx context.Context, id patchbay.ConnectionID) (*patchbay.Connection, error) {
	r, err := s.connectionRow(ctx, id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, store.ErrNotFound
	}
	return s.connection(ctx, r)
}

// How connections are found: by the narrowest of what a filter says. Those that are found by an index are few, and are
// sorted; the rest of the filter is the same for all.
const (
	connectionsFrom = "SELECT " + connectionColumns + " FROM connection "
	connectionsRest = ` AND (?1 = '' OR integration = ?1) AND (?2 = '' OR account = ?2) AND (?3 = '' OR scope = ?3 OR scope > ?3 || '/' AND scope < ?3 || '0')
		AND (?4 IS NULL OR scope IN (SELECT value FROM json_each(?4))) AND (?5 IS NULL OR expires < ?5) AND id > ?6 ORDER BY id LIMIT ?7`

	allConnections      = connectionsFrom + "WHERE id > ?6" + connectionsRest
	connectionsByName   = connectionsFrom + "INDEXED BY connection_account WHERE account = ?2" + connectionsRest
	connectionsServing  = connectionsFrom + "INDEXED BY connection_scope WHERE scope IN (SELECT value FROM json_each(?4))" + connectionsRest
	connectionsWithin   = connectionsFrom + "INDEXED BY connection_scope WHERE scope >= ?3 AND scope < ?3 || '0'" + connectionsRest
	connectionsExpiring = connectionsFrom + "INDEXED BY connection_expires WHERE expires IS NOT NULL AND expires < ?5" + connectionsRest
)

// Connections lists connections; see store.Connections.
func (s *Store) Connections(ctx context.Context, f store.ConnectionFilter) ([]patchbay.Connection, error) {
	sql := allConnections
	var serving []byte
	switch {
	case f.Account != "":
		sql = connectionsByName
	case f.Serving != nil:
		sql = connectionsServing
	case !f.ExpiresBefore.IsZero():
		sql = connectionsExpiring
	case f.Within != "":
		sql = connectionsWithin
	}
	if f.Serving != nil {
		var err error
		if serving, err = json.Marshal(store.Ancestors(*f.Serving)); err != nil {
			return nil, err
		}
	}
	var rows []*connectionRow
	err := s.read(ctx, func(c *conn) error {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		st.bindText(1, f.Integration).bindText(2, f.Account).bindText(3, string(f.Within)).bindSome(4, string(serving))
		return st.bindTime(5, f.ExpiresBefore).bind(6, int64(f.After)).bind(7, int64(f.Limit)).rows(func() error {
			rows = append(rows, scanConnection(st))
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var out []patchbay.Connection
	for _, r := range rows {
		c, err := s.connection(ctx, r)
		if errors.Is(err, store.ErrSealed) {
			store.Unopened(c)
		} else if err != nil {
			return nil, err
		}
		out = append(out, *c)
	}
	return out, nil
}

// LeaseConnection makes the caller the only one who may refresh a connection; see store.Connections.
func (s *Store) LeaseConnection(ctx context.Context, id patchbay.ConnectionID, lasts time.Duration) (int64, *patchbay.Connection, error) {
	var r *connectionRow
	err := s.do(ctx, func(c *conn) (err error) {
		if r, err = readConnection(c, id); err != nil {
			return err
		}
		now := s.now()
		switch {
		case r == nil:
			return store.ErrNotFound
		case r.leased.After(now):
			return fmt.Errorf("the connection %s is being refreshed by somebody else: %w", id, store.ErrConflict)
		}
		r.fence++
		st, err := c.prepare("UPDATE connection SET fence = ?, leased = ? WHERE id = ?")
		if err != nil {
			return err
		}
		return st.bind(1, r.fence).bindTime(2, now.Add(lasts)).bind(3, int64(id)).run()
	}, nil)
	if err != nil {
		return 0, nil, err
	}
	c, err := s.connection(ctx, r)
	return r.fence, c, err
}

// SaveRefreshed stores what came of a refresh; see store.Connections.
func (s *Store) SaveRefreshed(ctx context.Context, fence int64, c *patchbay.Connection) (*patchbay.Connection, error) {
	sealed, err := store.SealCredentials(ctx, s.o.Sealer, c.ID, &c.Credentials)
	if err != nil {
		return nil, err
	}
	var out *patchbay.Connection
	err = s.do(ctx, func(db *conn) error {
		r, err := readConnection(db, c.ID)
		switch {
		case err != nil:
			return err
		case r == nil:
			return store.ErrNotFound
		case r.fence != fence:
			return fmt.Errorf("the connection %s was refreshed or connected anew by somebody else: %w", c.ID, store.ErrConflict)
		}
		if out, err = r.shown(); err != nil {
			return err
		}
		store.TakeRefreshed(out, c)
		r.leased, r.credentials = time.Time{}, sealed
		return r.write(db, out)
	}, nil)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SaveFlow stores a sign-in that has begun; see store.Flows.
func (s *Store) SaveFlow(ctx context.Context, f *store.Flow) error {
	data, err := store.SealColumn(ctx, s.o.Sealer, store.FlowPlace(f.Hash), f.Data)
	if err != nil {
		return err
	}
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare("INSERT INTO flow (hash, until, data) VALUES (?, ?, ?)")
		if err != nil {
			return err
		}
		err = st.bindBlob(1, f.Hash[:]).bind(2, f.Until.UnixMicro()).bindBlob(3, data).run()
		if constraint(err) {
			return fmt.Errorf("a sign-in with this state has begun already: %w", store.ErrConflict)
		}
		return err
	}, nil)
}

const flowByHash = "SELECT until, data FROM flow WHERE hash = ? AND until > ?"

// TakeFlow returns a sign-in and removes it; see store.Flows. Anybody can ask for one, so what is not there is not worth a
// transaction of the writer.
func (s *Store) TakeFlow(ctx context.Context, hash [32]byte, now time.Time) (*store.Flow, error) {
	f := &store.Flow{Hash: hash}
	look := func(c *conn) error {
		st, err := c.prepare(flowByHash)
		if err != nil {
			return err
		}
		defer st.reset()
		row, err := st.bindBlob(1, hash[:]).bind(2, now.UnixMicro()).step()
		if err != nil {
			return err
		}
		if !row {
			return store.ErrNotFound
		}
		f.Until, f.Data = st.time(0), st.bytes(1)
		return nil
	}
	if err := s.read(ctx, look); err != nil {
		return nil, err
	}
	err := s.do(ctx, func(c *conn) error {
		if err := look(c); err != nil {
			return err
		}
		st, err := c.prepare("DELETE FROM flow WHERE hash = ?")
		if err != nil {
			return err
		}
		return st.bindBlob(1, hash[:]).run()
	}, nil)
	if err != nil {
		return nil, err
	}
	if f.Data, err = store.OpenColumn(ctx, s.o.Sealer, store.FlowPlace(hash), f.Data); err != nil {
		return nil, err
	}
	return f, nil
}
