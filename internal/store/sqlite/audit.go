package sqlite

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Audit = (*Store)(nil)

const (
	auditColumns = "id, scope, action, object, title, actor_kind, actor, actor_name, via, address, agent, changes"
	auditFields  = 12
	allAudit     = "SELECT " + auditColumns + " FROM audit WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
	auditByWord  = "SELECT a.id, scope, action, object, title, actor_kind, actor, actor_name, via, address, agent, changes " +
		"FROM audit_word w CROSS JOIN audit a ON a.id = w.id WHERE w.id >= ?1 AND w.id < ?2 AND w.word = ?4"
	auditAlso    = " AND EXISTS (SELECT 1 FROM audit_word w WHERE w.word = ? AND w.id = a.id)"
	auditOrder   = " ORDER BY w.id DESC LIMIT ?3"
	auditSparse  = "SELECT id FROM audit_word WHERE word = ? AND id >= ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?"
	auditTenant  = auditByWord + auditOrder
	auditExport  = "SELECT " + auditColumns + " FROM audit WHERE id > ? ORDER BY id LIMIT ?"
	auditExpired = "SELECT " + auditColumns + " FROM audit WHERE id < ? ORDER BY id LIMIT ?"

	// auditLook is how many entries of each word are counted before the rarest is walked.
	auditLook = 300
)

// scanAudit reads a row of auditColumns.
func scanAudit(st *stmt) store.AuditEntry {
	return store.AuditEntry{
		ID: patchbay.AuditID(st.int(0)), Scope: patchbay.Scope(st.str(1)), Action: st.str(2), Object: st.str(3), Title: st.str(4), ActorKind: st.str(5),
		Actor: st.str(6), ActorName: st.str(7), Via: st.str(8), Address: st.str(9), Agent: st.str(10), Changes: st.bytes(11),
	}
}

// auditRows returns the entries that a statement finds.
func auditRows(st *stmt) (out []store.AuditEntry, err error) {
	err = st.rows(func() error {
		out = append(out, scanAudit(st))
		return nil
	})
	return out, err
}

// insertAudit writes an entry with its words.
func (s *Store) insertAudit(c *conn, e *store.AuditEntry) error {
	st, err := c.prepare("INSERT INTO audit (" + auditColumns + ") VALUES (?" + strings.Repeat(", ?", auditFields-1) + ")")
	if err != nil {
		return err
	}
	id := s.ids.Take(1)
	st.bind(1, id).bindText(2, string(e.Scope)).bindText(3, e.Action).bindText(4, e.Object).bindText(5, e.Title).bindText(6, e.ActorKind)
	st.bindText(7, e.Actor).bindText(8, e.ActorName).bindText(9, e.Via).bindText(10, e.Address).bindText(11, e.Agent)
	if err := st.bindSome(12, string(e.Changes)).run(); err != nil {
		return err
	}
	return eachWord(c, "INSERT INTO audit_word (word, id) VALUES (?, ?)", e, id)
}

// eachWord runs a statement with every word of an entry, and its identifier.
func eachWord(c *conn, sql string, e *store.AuditEntry, id int64) error {
	st, err := c.prepare(sql)
	if err != nil {
		return err
	}
	for _, w := range e.Words() {
		if err := st.bindText(1, w).bind(2, id).run(); err != nil {
			return err
		}
	}
	return nil
}

// audited has a function that runs in a transaction, and what runs once that is durable, also write the entry that a context
// asks for.
func (s *Store) audited(ctx context.Context, f func(*conn) error, after func()) (do func(*conn) error, committed func()) {
	e, written := store.AuditOf(ctx)
	if e == nil {
		return f, after
	}
	do = func(c *conn) error {
		if err := f(c); err != nil {
			return err
		}
		return s.insertAudit(c, e)
	}
	return do, func() {
		written()
		if after != nil {
			after()
		}
	}
}

// WriteAudit adds an entry; see store.Audit.
func (s *Store) WriteAudit(ctx context.Context, e *store.AuditEntry) error {
	return s.do(ctx, func(c *conn) error { return s.insertAudit(c, e) }, nil)
}

// AuditEntries lists entries; see store.Audit.
func (s *Store) AuditEntries(ctx context.Context, f store.AuditFilter) (out []store.AuditEntry, err error) {
	low, high := f.Between()
	err = s.read(ctx, func(c *conn) error {
		words, err := rarestFirst(c, f.Words(), low, high)
		if err != nil {
			return err
		}
		sql := allAudit
		if len(words) > 0 {
			sql = auditByWord + strings.Repeat(auditAlso, len(words)-1) + auditOrder
		}
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		st.bind(1, low).bind(2, high).bind(3, int64(f.Limit))
		for i, w := range words {
			st.bindText(4+i, w)
		}
		out, err = auditRows(st)
		return err
	})
	return out, err
}

// rarestFirst puts the word first that the fewest of the newest entries have: that one is walked.
func rarestFirst(c *conn, words []string, low, high int64) ([]string, error) {
	if len(words) < 2 {
		return words, nil
	}
	st, err := c.prepare(auditSparse)
	if err != nil {
		return nil, err
	}
	first, least := 0, int64(math.MaxInt64)
	for i, w := range words {
		at, err := columnOf(st.bindText(1, w).bind(2, low).bind(3, high).bind(4, auditLook))
		switch {
		case err != nil:
			return nil, err
		case len(at) == 0:
			first, least = i, 0
		case at[0] < least:
			first, least = i, at[0]
		}
		if least == 0 {
			break
		}
	}
	words[0], words[first] = words[first], words[0]
	return words, nil
}

// PruneAudit forgets entries; see store.Audit.
func (s *Store) PruneAudit(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	var gone []store.AuditEntry
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(auditExpired)
		if err != nil {
			return err
		}
		gone, err = auditRows(st.bind(1, patchbay.FirstIDAt(before)).bind(2, int64(limit)))
		return err
	})
	if err != nil || len(gone) == 0 {
		return false, err
	}
	return len(gone) == limit, s.do(ctx, func(c *conn) error { return deleteAudit(c, gone) }, nil)
}

func deleteAudit(c *conn, gone []store.AuditEntry) error {
	for i := range gone {
		id := int64(gone[i].ID)
		if err := eachWord(c, "DELETE FROM audit_word WHERE word = ? AND id = ?", &gone[i], id); err != nil {
			return err
		}
		if err := deleteEach(c, "DELETE FROM audit WHERE id = ?", []int64{id}); err != nil {
			return err
		}
	}
	return nil
}

// removeAudit deletes a step of a tenant's entries, and reports whether there may be more.
func removeAudit(c *conn, tenant string) (more bool, err error) {
	st, err := c.prepare(auditTenant)
	if err != nil {
		return false, err
	}
	f := store.AuditFilter{Within: patchbay.Scope(tenant)}
	gone, err := auditRows(st.bind(1, 0).bind(2, math.MaxInt64).bind(3, pruneRows).bindText(4, f.Words()[0]))
	if err != nil {
		return false, err
	}
	return len(gone) == pruneRows, deleteAudit(c, gone)
}

// exportAudit gives out entries, the oldest first.
func exportAudit(c *conn, out *store.Chunk, from string, limit int) error {
	at, err := ints(from, 1)
	if err != nil {
		return err
	}
	st, err := c.prepare(auditExport)
	if err != nil {
		return err
	}
	out.Audit, err = auditRows(st.bind(1, at[0]).bind(2, int64(limit)))
	if n := len(out.Audit); n == limit {
		out.Next = strconv.FormatInt(int64(out.Audit[n-1].ID), 10)
	}
	return err
}
