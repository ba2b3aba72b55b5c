package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var (
	_ store.Connections = (*Store)(nil)
	_ store.Flows       = (*Store)(nil)
)

const (
	connectionColumns = "id, revision, fence, data, credentials"
	sqlConnection     = "SELECT " + connectionColumns + " FROM connection WHERE id = $1"

	sqlInsertConnection = `INSERT INTO connection (id, revision, integration, account, scope, expires, data, credentials, fence)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)`
	// With other credentials than before the fence grows and nobody has a lease.
	sqlUpdateConnection = `UPDATE connection SET revision = $2, integration = $3, account = $4, scope = $5, expires = $6, data = $7, credentials = $8,
		fence = fence + $9, leased = CASE WHEN $9 = 0 THEN leased END WHERE id = $1 AND revision = $2 - 1`
	sqlRefreshConnection = `UPDATE connection SET revision = $2, integration = $3, account = $4, scope = $5, expires = $6, data = $7, credentials = $8,
		leased = NULL WHERE id = $1`
	sqlLeaseConnection = `UPDATE connection SET fence = fence + 1, leased = clock_timestamp() + $2 * interval '1 microsecond'
		WHERE id = $1 AND (leased IS NULL OR leased <= clock_timestamp()) RETURNING ` + connectionColumns
)

// connectionRow is a connection as it stands in the table.
type connectionRow struct {
	id          patchbay.ConnectionID
	revision    int
	fence       int64
	data        string
	credentials []byte
}

func (r *connectionRow) fields() []any {
	return []any{&r.id, &r.revision, &r.fence, &r.data, &r.credentials}
}

// oneConnection returns the row that a query finds. ErrNotFound.
func oneConnection(ctx context.Context, q querier, sql string, args ...any) (*connectionRow, error) {
	r := &connectionRow{}
	err := q.QueryRow(ctx, sql, args...).Scan(r.fields()...)
	if errors.Is(err, pgx.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return r, nil
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
	if err := json.Unmarshal([]byte(r.data), c); err != nil {
		return nil, fmt.Errorf("the connection %s in the database cannot be read: %w", r.id, err)
	}
	c.ID, c.Revision = r.id, r.revision
	return c, nil
}

// connectionValues are the first eight parameters of the statements that write a connection.
func connectionValues(c *patchbay.Connection, sealed []byte) ([]any, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("the connection %s cannot be written: %w", c.ID, err)
	}
	return []any{int64(c.ID), c.Revision, c.Integration, []byte(c.Account.ID), string(c.Scope), orNull(store.RefreshBy(c)), string(data), sealed}, nil
}

// SaveConnection stores a revision; see store.Connections. Whether the credentials are others is found out before the
// transaction: they do not change without the revision.
func (s *Store) SaveConnection(ctx context.Context, c *patchbay.Connection) error {
	sealed, err := store.SealCredentials(ctx, s.o.Sealer, c.ID, &c.Credentials)
	if err != nil {
		return err
	}
	values, err := connectionValues(c, sealed)
	if err != nil {
		return err
	}
	before, err := s.connectionRow(ctx, c.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		before = &connectionRow{}
	case err != nil:
		return err
	}
	conflict := fmt.Errorf("revision %d of the connection %s does not follow %d: %w", c.Revision, c.ID, before.revision, store.ErrConflict)
	if c.Revision != before.revision+1 {
		return conflict
	}
	sql := sqlInsertConnection
	if before.revision > 0 {
		same, err := store.SameCredentials(ctx, s.o.Sealer, c.ID, before.credentials, &c.Credentials)
		if err != nil {
			return err
		}
		raise := int64(1)
		if same {
			raise = 0
		}
		sql, values = sqlUpdateConnection, append(values, raise)
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, values...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return conflict
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedConnection, ID: int64(c.ID)})
	})
	if state(err) == stateUniqueViolation {
		return conflict
	}
	return err
}

func (s *Store) connectionRow(ctx context.Context, id patchbay.ConnectionID) (r *connectionRow, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		r, err = oneConnection(ctx, c, sqlConnection, int64(id))
		return err
	})
	return r, err
}

// DeleteConnection removes a connection; see store.Connections.
func (s *Store) DeleteConnection(ctx context.Context, id patchbay.ConnectionID) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM connection WHERE id = $1", int64(id))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return store.ErrNotFound
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedConnection, ID: int64(id)})
	})
}

// Connection returns a connection; see store.Connections.
func (s *Store) Connection(ctx context.Context, id patchbay.ConnectionID) (*patchbay.Connection, error) {
	r, err := s.connectionRow(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.connection(ctx, r)
}

// where gathers the conditions of a list, with their parameters: each of them is written only when it is asked for, so that
// the planner sees what there is to choose from.
type where struct {
	conditions []string
	args       []any
}

// and adds a condition; every ? in it is the parameter.
func (w *where) and(condition string, arg any) {
	w.args = append(w.args, arg)
	w.conditions = append(w.conditions, strings.ReplaceAll(condition, "?", fmt.Sprint("$", len(w.args))))
}

// within adds that a scope lies at or below another: "0" follows "/" in ASCII.
func (w *where) within(scope patchbay.Scope) {
	if scope != "" {
		w.and("(scope = ? OR scope >= ? || '/' AND scope < ? || '0')", string(scope))
	}
}

// sql ends a statement with the conditions, an order and a limit.
func (w *where) sql(from, order string, limit int) string {
	w.args = append(w.args, limit)
	return fmt.Sprintf("%s WHERE %s ORDER BY %s LIMIT $%d", from, strings.Join(w.conditions, " AND "), order, len(w.args))
}

// Connections lists connections; see store.Connections.
func (s *Store) Connections(ctx context.Context, f store.ConnectionFilter) ([]patchbay.Connection, error) {
	w, order := &where{}, "id"
	w.and("id > ?", int64(f.After))
	w.within(f.Within)
	if f.Integration != "" {
		w.and("integration = ?", plain(f.Integration))
	}
	if f.Account != "" {
		w.and("account = ?", []byte(f.Account))
	}
	if f.Serving != nil {
		w.and("scope = ANY(?::text[])", store.Ancestors(*f.Serving))
	}
	if !f.ExpiresBefore.IsZero() {
		w.and("expires < ?", f.ExpiresBefore)
	}
	if f.Account != "" || f.Serving != nil || !f.ExpiresBefore.IsZero() || f.Within != "" {
		order = "id + 0" // these have indexes; by the order alone the planner likes to walk through the identifiers
	}
	sql := w.sql("SELECT "+connectionColumns+" FROM connection", order, f.Limit)
	var rows []connectionRow
	err := s.query(ctx, func(c *pgx.Conn) error {
		found, err := c.Query(ctx, sql, w.args...)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (r connectionRow, err error) {
			return r, row.Scan(r.fields()...)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []patchbay.Connection
	for i := range rows {
		c, err := s.connection(ctx, &rows[i])
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
	err := s.write(ctx, func(tx pgx.Tx) (err error) {
		r, err = oneConnection(ctx, tx, sqlLeaseConnection, int64(id), lasts.Microseconds())
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if _, err = oneConnection(ctx, tx, sqlConnection, int64(id)); err != nil {
			return err
		}
		return fmt.Errorf("the connection %s is being refreshed by somebody else: %w", id, store.ErrConflict)
	})
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
	err = s.write(ctx, func(tx pgx.Tx) error {
		r, err := oneConnection(ctx, tx, sqlConnection+" FOR UPDATE", int64(c.ID))
		if err != nil {
			return err
		}
		if r.fence != fence {
			return fmt.Errorf("the connection %s was refreshed or connected anew by somebody else: %w", c.ID, store.ErrConflict)
		}
		if out, err = r.shown(); err != nil {
			return err
		}
		store.TakeRefreshed(out, c)
		values, err := connectionValues(out, sealed)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlRefreshConnection, values...); err != nil {
			return err
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedConnection, ID: int64(c.ID)})
	})
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
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO flow (hash, until, data) VALUES ($1, $2, $3)", f.Hash[:], f.Until, data)
		return err
	})
	if state(err) == stateUniqueViolation {
		return fmt.Errorf("a sign-in with this state has begun already: %w", store.ErrConflict)
	}
	return err
}

// TakeFlow returns a sign-in and removes it; see store.Flows.
func (s *Store) TakeFlow(ctx context.Context, hash [32]byte, now time.Time) (*store.Flow, error) {
	f := &store.Flow{Hash: hash}
	err := s.write(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "DELETE FROM flow WHERE hash = $1 AND until > $2 RETURNING until, data", hash[:], now).Scan(&f.Until, &f.Data)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f.Until = f.Until.UTC()
	if f.Data, err = store.OpenColumn(ctx, s.o.Sealer, store.FlowPlace(hash), f.Data); err != nil {
		return nil, err
	}
	return f, nil
}
