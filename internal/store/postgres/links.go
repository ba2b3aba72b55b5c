package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// SaveLink stores a revision; see store.Links.
func (s *Store) SaveLink(ctx context.Context, l *patchbay.Link) error {
	data, err := store.EncodeLink(ctx, s.o.Sealer, l)
	if err != nil {
		return fmt.Errorf("the link %s cannot be written: %w", l.ID, err)
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		current, err := endLink(ctx, tx, l.ID, s.ids.Take(1))
		if err != nil {
			return err
		}
		if l.Revision != current+1 {
			return fmt.Errorf("revision %d of the link %s does not follow %d: %w", l.Revision, l.ID, current, store.ErrConflict)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO link (id, revision, data) VALUES ($1, $2, $3)", int64(l.ID), l.Revision, string(data)); err != nil {
			return err
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedLink, ID: int64(l.ID)})
	})
	if state(err) == stateUniqueViolation {
		return fmt.Errorf("the link %s has been deleted, or was made at the same time: %w", l.ID, store.ErrConflict)
	}
	return err
}

// endLink notes from which identifier on the current revision does not hold, and returns its number: 0 when there is none.
// Of several that do so at once the first one finds it.
func endLink(ctx context.Context, tx pgx.Tx, id patchbay.LinkID, at int64) (revision int, err error) {
	err = tx.QueryRow(ctx, "UPDATE link SET ended = $2 WHERE id = $1 AND ended IS NULL RETURNING revision", int64(id), at).Scan(&revision)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return revision, err
}

// DeleteLink removes a link; see store.Links.
func (s *Store) DeleteLink(ctx context.Context, id patchbay.LinkID, _ time.Time) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		current, err := endLink(ctx, tx, id, s.ids.Take(1))
		if err != nil {
			return err
		}
		if current == 0 {
			return store.ErrNotFound
		}
		return announce(ctx, tx, store.Change{Kind: store.ChangedLink, ID: int64(id)})
	})
}

// AllLinks returns the current revision of every link; see store.Links.
func (s *Store) AllLinks(ctx context.Context) (out []patchbay.Link, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT id, revision, data FROM link WHERE ended IS NULL ORDER BY id")
		if err != nil {
			return err
		}
		out = nil
		var r linkRow
		_, err = pgx.ForEachRow(rows, r.fields(), func() error {
			l, err := s.linkOf(ctx, &r)
			if err != nil {
				return err
			}
			out = append(out, *l)
			return nil
		})
		return err
	})
	return out, err
}

// linkRow is a revision of a link as it stands in the table.
type linkRow struct {
	id       patchbay.LinkID
	revision int
	data     string
}

// fields are what id, revision and data are read into.
func (r *linkRow) fields() []any { return []any{&r.id, &r.revision, &r.data} }

func (s *Store) linkOf(ctx context.Context, r *linkRow) (*patchbay.Link, error) {
	return store.DecodeLinkAt(ctx, s.o.Sealer, r.id, r.revision, []byte(r.data))
}

// LinkNow returns the current revision of a link; see store.Links.
func (s *Store) LinkNow(ctx context.Context, id patchbay.LinkID) (*patchbay.Link, error) {
	return s.oneLink(ctx, "SELECT id, revision, data FROM link WHERE id = $1 AND ended IS NULL", int64(id))
}

// LinkRevision returns a link as it was; see store.Links.
func (s *Store) LinkRevision(ctx context.Context, id patchbay.LinkID, revision int) (*patchbay.Link, error) {
	return s.oneLink(ctx, "SELECT id, revision, data FROM link WHERE id = $1 AND revision = $2", int64(id), revision)
}

func (s *Store) oneLink(ctx context.Context, sql string, args ...any) (l *patchbay.Link, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		var r linkRow
		err := c.QueryRow(ctx, sql, args...).Scan(r.fields()...)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrNotFound
		}
		if err != nil {
			return err
		}
		l, err = s.linkOf(ctx, &r)
		return err
	})
	return l, err
}
