package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// SaveLink stores a revision; see store.Links.
func (s *Store) SaveLink(ctx context.Context, l *patchbay.Link) error {
	data, err := store.EncodeLink(ctx, s.o.Sealer, l)
	if err != nil {
		return fmt.Errorf("the link %s cannot be written: %w", l.ID, err)
	}
	return s.do(ctx, func(c *conn) error {
		current, err := currentRevision(c, l.ID)
		if err != nil {
			return err
		}
		if l.Revision != current+1 {
			return fmt.Errorf("revision %d of the link %s does not follow %d: %w", l.Revision, l.ID, current, store.ErrConflict)
		}
		if err := endLink(c, l.ID, s.ids.Take(1)); err != nil {
			return err
		}
		st, err := c.prepare("INSERT INTO link (id, revision, data) VALUES (?, ?, ?)")
		if err != nil {
			return err
		}
		err = st.bind(1, int64(l.ID)).bind(2, int64(l.Revision)).bindText(3, string(data)).run()
		if constraint(err) {
			return fmt.Errorf("the link %s has been deleted: %w", l.ID, store.ErrConflict)
		}
		return err
	}, nil)
}

// currentRevision returns 0 when there is no such link.
func currentRevision(c *conn, id patchbay.LinkID) (int, error) {
	st, err := c.prepare("SELECT revision FROM link INDEXED BY link_ended WHERE ended IS NULL AND id = ?")
	if err != nil {
		return 0, err
	}
	defer st.reset()
	row, err := st.bind(1, int64(id)).step()
	if err != nil || !row {
		return 0, err
	}
	return int(st.int(0)), nil
}

// endLink notes from which identifier on the current revision does not hold.
func endLink(c *conn, id patchbay.LinkID, at int64) error {
	st, err := c.prepare("UPDATE link SET ended = ? WHERE id = ? AND ended IS NULL")
	if err != nil {
		return err
	}
	return st.bind(1, at).bind(2, int64(id)).run()
}

// DeleteLink removes a link; see store.Links.
func (s *Store) DeleteLink(ctx context.Context, id patchbay.LinkID, _ time.Time) error {
	return s.do(ctx, func(c *conn) error {
		current, err := currentRevision(c, id)
		if err != nil {
			return err
		}
		if current == 0 {
			return store.ErrNotFound
		}
		return endLink(c, id, s.ids.Take(1))
	}, nil)
}

// AllLinks returns the current revision of every link; see store.Links.
func (s *Store) AllLinks(ctx context.Context) (out []patchbay.Link, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT id, revision, data FROM link INDEXED BY link_ended WHERE ended IS NULL ORDER BY id")
		if err != nil {
			return err
		}
		defer st.reset()
		for {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			l, err := s.linkOf(ctx, st)
			if err != nil {
				return err
			}
			out = append(out, *l)
		}
	})
	return out, err
}

// linkOf reads a row of id, revision and data.
func (s *Store) linkOf(ctx context.Context, st *stmt) (*patchbay.Link, error) {
	return store.DecodeLinkAt(ctx, s.o.Sealer, patchbay.LinkID(st.int(0)), int(st.int(1)), st.raw(2))
}

// LinkNow returns the current revision of a link; see store.Links.
func (s *Store) LinkNow(ctx context.Context, id patchbay.LinkID) (*patchbay.Link, error) {
	return s.oneLink(ctx, "SELECT id, revision, data FROM link INDEXED BY link_ended WHERE ended IS NULL AND id = ?", int64(id))
}

// LinkRevision returns a link as it was; see store.Links.
func (s *Store) LinkRevision(ctx context.Context, id patchbay.LinkID, revision int) (*patchbay.Link, error) {
	return s.oneLink(ctx, "SELECT id, revision, data FROM link WHERE id = ? AND revision = ?", int64(id), int64(revision))
}

func (s *Store) oneLink(ctx context.Context, query string, arguments ...int64) (l *patchbay.Link, err error) {
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(query)
		if err != nil {
			return err
		}
		defer st.reset()
		for i, a := range arguments {
			st.bind(i+1, a)
		}
		row, err := st.step()
		if err != nil {
			return err
		}
		if !row {
			return store.ErrNotFound
		}
		l, err = s.linkOf(ctx, st)
		return err
	})
	return l, err
}
