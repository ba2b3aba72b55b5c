package sqlite

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Sealed = (*Store)(nil)

// sealedRow is a row on its way: what stands there, and what is to.
type sealedRow struct {
	cursor       string
	id, revision int64
	hash         []byte
	old, fresh   []byte
}

// sealedPart is one of the tables with secrets: how its rows after a cursor are read, looked at, sealed anew, and replaced
// while they are as they were read.
type sealedPart struct {
	name   string
	read   func(c *conn, from string, limit int) ([]sealedRow, error)
	sealed func(r *sealedRow) ([]byte, error)
	reseal func(ctx context.Context, s store.Sealer, r *sealedRow) (again []byte, changed bool, err error)
	write  func(c *conn, r *sealedRow) error
}

var sealedParts = []sealedPart{
	{"link", readSealedLinks, func(r *sealedRow) ([]byte, error) { return store.SealedInLink(r.old) }, func(ctx context.Context, s store.Sealer, r *sealedRow) ([]byte, bool, error) {
		return store.ResealLink(ctx, s, patchbay.LinkID(r.id), int(r.revision), r.old)
	}, func(c *conn, r *sealedRow) error {
		st, err := c.prepare("UPDATE link SET data = ? WHERE id = ? AND revision = ? AND data = ?")
		if err != nil {
			return err
		}
		return st.bindText(1, string(r.fresh)).bind(2, r.id).bind(3, r.revision).bindText(4, string(r.old)).run()
	}},
	{"connection", readSealedConnections, inColumn, func(ctx context.Context, s store.Sealer, r *sealedRow) ([]byte, bool, error) {
		return store.ResealColumn(ctx, s, store.ConnectionPlace(patchbay.ConnectionID(r.id)), r.old)
	}, func(c *conn, r *sealedRow) error {
		st, err := c.prepare("UPDATE connection SET credentials = ? WHERE id = ? AND credentials = ?")
		if err != nil {
			return err
		}
		return st.bindBlob(1, r.fresh).bind(2, r.id).bindBlob(3, r.old).run()
	}},
	{"flow", readSealedFlows, inColumn, func(ctx context.Context, s store.Sealer, r *sealedRow) ([]byte, bool, error) {
		return store.ResealColumn(ctx, s, store.FlowPlace([32]byte(r.hash)), r.old)
	}, func(c *conn, r *sealedRow) error {
		st, err := c.prepare("UPDATE flow SET data = ? WHERE hash = ? AND data = ?")
		if err != nil {
			return err
		}
		return st.bindBlob(1, r.fresh).bindBlob(2, r.hash).bindBlob(3, r.old).run()
	}},
}

func inColumn(r *sealedRow) ([]byte, error) { return store.SealedInColumn(r.old), nil }

func readSealedLinks(c *conn, from string, limit int) (out []sealedRow, err error) {
	at, err := ints(from, 2)
	if err != nil {
		return nil, err
	}
	st, err := c.prepare(exportLinks)
	if err != nil {
		return nil, err
	}
	err = st.bind(1, at[0]).bind(2, at[1]).bind(3, int64(limit)).rows(func() error {
		out = append(out, sealedRow{cursor: fmt.Sprint(st.int(0), " ", st.int(1)), id: st.int(0), revision: st.int(1), old: st.bytes(2)})
		return nil
	})
	return out, err
}

func readSealedConnections(c *conn, from string, limit int) (out []sealedRow, err error) {
	at, err := ints(from, 1)
	if err != nil {
		return nil, err
	}
	st, err := c.prepare("SELECT id, credentials FROM connection WHERE id > ? ORDER BY id LIMIT ?")
	if err != nil {
		return nil, err
	}
	err = st.bind(1, at[0]).bind(2, int64(limit)).rows(func() error {
		out = append(out, sealedRow{cursor: fmt.Sprint(st.int(0)), id: st.int(0), old: st.bytes(1)})
		return nil
	})
	return out, err
}

func readSealedFlows(c *conn, from string, limit int) (out []sealedRow, err error) {
	at, err := hex.DecodeString(from)
	if err != nil {
		return nil, fmt.Errorf("%q does not say where to go on: %w", from, err)
	}
	st, err := c.prepare("SELECT hash, data FROM flow WHERE hash > ? ORDER BY hash LIMIT ?")
	if err != nil {
		return nil, err
	}
	err = st.bindBlob(1, at).bind(2, int64(limit)).rows(func() error {
		hash := st.bytes(0)
		if len(hash) != 32 {
			return errBlob
		}
		out = append(out, sealedRow{cursor: hex.EncodeToString(hash), hash: hash, old: st.bytes(1)})
		return nil
	})
	return out, err
}

// Reseal seals a step of what is sealed anew; see store.Sealed. What it replaces is overwritten with zeros, as far as
// SQLite can: it may have stood in the open. Scrub does the rest.
func (s *Store) Reseal(ctx context.Context, after string, limit int) (next string, looked, changed int, err error) {
	if s.o.Sealer == nil {
		return "", 0, 0, errors.New("secrets cannot be sealed: the database was opened without a key")
	}
	part, rows, next, err := s.sealedRows(ctx, after, limit)
	if err != nil {
		return "", 0, 0, err
	}
	var failed []error
	fresh := rows[:0:0]
	for i := range rows {
		r := &rows[i]
		again, different, err := part.reseal(ctx, s.o.Sealer, r)
		switch {
		case errors.Is(err, store.ErrSealed):
			failed = append(failed, err)
		case err != nil:
			return "", 0, 0, err
		case different:
			r.fresh = again
			fresh = append(fresh, *r)
		}
	}
	if changed, err = s.replaceSealed(ctx, part, fresh); err != nil {
		return "", 0, 0, err
	}
	return next, len(rows), changed, errors.Join(failed...)
}

// sealedRows reads rows after a cursor, and says of which table they are and where to go on.
func (s *Store) sealedRows(ctx context.Context, after string, limit int) (part *sealedPart, rows []sealedRow, next string, err error) {
	name, from, _ := strings.Cut(after, " ")
	at := 0
	for at < len(sealedParts) && after != "" && sealedParts[at].name != name {
		at++
	}
	if at == len(sealedParts) {
		return nil, nil, "", fmt.Errorf("%q does not say where to go on", after)
	}
	part = &sealedParts[at]
	err = s.read(ctx, func(c *conn) error {
		rows, err = part.read(c, from, limit)
		return err
	})
	switch {
	case err != nil:
	case len(rows) == limit:
		next = part.name + " " + rows[len(rows)-1].cursor
	case at+1 < len(sealedParts):
		next = sealedParts[at+1].name + " "
	}
	return part, rows, next, err
}

// LookSealed shows what is sealed; see store.Sealed.
func (s *Store) LookSealed(ctx context.Context, after string, limit int, look func(sealed []byte)) (next string, err error) {
	part, rows, next, err := s.sealedRows(ctx, after, limit)
	if err != nil {
		return "", err
	}
	for i := range rows {
		sealed, err := part.sealed(&rows[i])
		if err != nil {
			return "", err
		}
		look(sealed)
	}
	return next, nil
}

// replaceSealed writes rows that were sealed anew, unless they were changed meanwhile, and returns how many it wrote.
func (s *Store) replaceSealed(ctx context.Context, part *sealedPart, rows []sealedRow) (changed int, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	return changed, s.do(ctx, func(c *conn) error {
		restore, err := overwriting(c)
		if err != nil {
			return err
		}
		defer restore()
		changed = 0
		for i := range rows {
			if err := part.write(c, &rows[i]); err != nil {
				return err
			}
			changed += c.changes()
		}
		return nil
	}, nil)
}
