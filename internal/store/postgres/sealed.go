package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay/internal/store"
)

var (
	_ store.Sealed     = (*Store)(nil)
	_ store.SealedRows = (*Store)(nil)
)

const (
	sqlSealedLinks       = "SELECT id, revision, NULL::bytea, convert_to(data, 'UTF8') FROM link WHERE (id, revision) > ($1, $2) ORDER BY id, revision LIMIT $3"
	sqlSealedConnections = "SELECT id, 0, NULL::bytea, credentials FROM connection WHERE id > $1 ORDER BY id LIMIT $2"
	sqlSealedFlows       = "SELECT 0::bigint, 0, hash, data FROM flow WHERE hash > $1 ORDER BY hash LIMIT $2"

	sqlReplaceLink       = "UPDATE link SET data = $1 WHERE id = $2 AND revision = $3 AND data = $4"
	sqlReplaceConnection = "UPDATE connection SET credentials = $1 WHERE id = $2 AND credentials = $3"
	sqlReplaceFlow       = "UPDATE flow SET data = $1 WHERE hash = $2 AND data = $3"
)

// Reseal seals a step of what is sealed anew; see store.Sealed.
func (s *Store) Reseal(ctx context.Context, after string, limit int) (next string, looked, changed int, err error) {
	return store.ResealStep(ctx, s.o.Sealer, s, after, limit)
}

// LookSealed shows what is sealed; see store.Sealed.
func (s *Store) LookSealed(ctx context.Context, after string, limit int, look func(sealed []byte)) (next string, err error) {
	return store.LookStep(ctx, s, after, limit, look)
}

// ReadSealed reads rows with secrets; see store.SealedRows.
func (s *Store) ReadSealed(ctx context.Context, after store.SealedAt, limit int) (out []store.SealedRow, err error) {
	sql, args := sqlSealedLinks, []any{after.ID, after.Rev, limit}
	switch after.Table {
	case store.SealedConnections:
		sql, args = sqlSealedConnections, []any{after.ID, limit}
	case store.SealedFlows:
		sql, args = sqlSealedFlows, []any{append([]byte{}, after.Hash...), limit}
	}
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r store.SealedRow, err error) {
			r.Table = after.Table
			return r, row.Scan(&r.ID, &r.Rev, &r.Hash, &r.Stored)
		})
		return err
	})
	return out, err
}

// ReplaceSealed writes rows that were sealed anew; see store.SealedRows.
func (s *Store) ReplaceSealed(ctx context.Context, table string, rows []store.SealedRow) (changed int, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		for i := range rows {
			r := &rows[i]
			switch table {
			case store.SealedLinks:
				b.Queue(sqlReplaceLink, string(r.Fresh), r.ID, r.Rev, string(r.Stored))
			case store.SealedConnections:
				b.Queue(sqlReplaceConnection, r.Fresh, r.ID, r.Stored)
			default:
				b.Queue(sqlReplaceFlow, r.Fresh, r.Hash, r.Stored)
			}
		}
		results := tx.SendBatch(ctx, b)
		changed = 0
		for range rows {
			tag, err := results.Exec()
			if err != nil {
				_ = results.Close()
				return err
			}
			changed += int(tag.RowsAffected())
		}
		return results.Close()
	})
	return changed, err
}
