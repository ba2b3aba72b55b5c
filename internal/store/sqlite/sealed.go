package sqlite

import (
	"context"

	"github.com/patchbay/patchbay/internal/store"
)

var (
	_ store.Sealed     = (*Store)(nil)
	_ store.SealedRows = (*Store)(nil)
)

const (
	sealedLinks       = "SELECT id, revision, NULL, data FROM link WHERE (id, revision) > (?, ?) ORDER BY id, revision LIMIT ?"
	sealedConnections = "SELECT id, 0, NULL, credentials FROM connection WHERE id > ?1 ORDER BY id LIMIT ?3"
	sealedFlows       = "SELECT 0, 0, hash, data FROM flow WHERE hash > ?1 ORDER BY hash LIMIT ?3"

	replaceLink       = "UPDATE link SET data = ?1 WHERE id = ?2 AND revision = ?3 AND data = ?4"
	replaceConnection = "UPDATE connection SET credentials = ?1 WHERE id = ?2 AND credentials = ?4"
	replaceFlow       = "UPDATE flow SET data = ?1 WHERE hash = ?2 AND data = ?4"
)

// Reseal seals a step of what is sealed anew; see store.Sealed. What it replaces is overwritten with zeros, as far as
// SQLite can: it may have stood in the open. Scrub does the rest.
func (s *Store) Reseal(ctx context.Context, after string, limit int) (next string, looked, changed int, err error) {
	return store.ResealStep(ctx, s.o.Sealer, s, after, limit)
}

// LookSealed shows what is sealed; see store.Sealed.
func (s *Store) LookSealed(ctx context.Context, after string, limit int, look func(sealed []byte)) (next string, err error) {
	return store.LookStep(ctx, s, after, limit, look)
}

// ReadSealed reads rows with secrets; see store.SealedRows.
func (s *Store) ReadSealed(ctx context.Context, after store.SealedAt, limit int) (out []store.SealedRow, err error) {
	sql := map[string]string{store.SealedLinks: sealedLinks, store.SealedConnections: sealedConnections, store.SealedFlows: sealedFlows}[after.Table]
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		if st.bind(1, after.ID).bind(2, int64(after.Rev)).bind(3, int64(limit)); after.Table == store.SealedFlows {
			st.bindBlob(1, append([]byte{}, after.Hash...))
		}
		return st.rows(func() error {
			out = append(out, store.SealedRow{
				SealedAt: store.SealedAt{Table: after.Table, ID: st.int(0), Rev: int(st.int(1)), Hash: st.bytes(2)}, Stored: st.bytes(3),
			})
			return nil
		})
	})
	return out, err
}

// ReplaceSealed writes rows that were sealed anew; see store.SealedRows.
func (s *Store) ReplaceSealed(ctx context.Context, table string, rows []store.SealedRow) (changed int, err error) {
	sql := map[string]string{store.SealedLinks: replaceLink, store.SealedConnections: replaceConnection, store.SealedFlows: replaceFlow}[table]
	err = s.do(ctx, func(c *conn) error {
		restore, err := overwriting(c)
		if err != nil {
			return err
		}
		defer restore()
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		changed = 0
		for i := range rows {
			r := &rows[i]
			if table == store.SealedLinks {
				st.bindText(1, string(r.Fresh)).bindText(4, string(r.Stored))
			} else {
				st.bindBlob(1, r.Fresh).bindBlob(4, r.Stored)
			}
			if st.bind(2, r.ID).bind(3, int64(r.Rev)); table == store.SealedFlows {
				st.bindBlob(2, r.Hash)
			}
			if err := st.run(); err != nil {
				return err
			}
			changed += c.changes()
		}
		return nil
	}, nil)
	return changed, err
}
