package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Audit = (*Store)(nil)

const (
	auditColumns   = "id, scope, action, object, title, actor_kind, actor, actor_name, via, address, agent, changes"
	sqlAudit       = "SELECT " + auditColumns + " FROM audit WHERE id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3"
	sqlAuditByWord = "SELECT a.id, scope, action, object, title, actor_kind, actor, actor_name, via, address, agent, changes " +
		"FROM audit_word w JOIN audit a ON a.id = w.id WHERE w.id >= $1 AND w.id < $2 AND w.word = $4"
	sqlInsertAudit = "WITH e AS (INSERT INTO audit (" + auditColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)) " +
		"INSERT INTO audit_word (word, id) SELECT w, $1 FROM unnest($13::bytea[]) w"
	// Of each word the identifier of the 300th entry from the newest; none when there are fewer. What comes first is walked.
	sqlAuditRarest = `SELECT w FROM unnest($1::bytea[]) WITH ORDINALITY AS u (w, n)
		LEFT JOIN LATERAL (SELECT id FROM audit_word WHERE word = w AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT 1 OFFSET 300) x ON true
		ORDER BY x.id NULLS FIRST, n`
	sqlDeleteAudit = "WITH e AS (DELETE FROM audit WHERE id = ANY($1)) DELETE FROM audit_word USING unnest($2::bytea[], $3::bigint[]) AS g (w, i) WHERE word = w AND id = i"
)

// scanAudit reads a row of auditColumns.
func scanAudit(row pgx.CollectableRow) (e store.AuditEntry, err error) {
	var object, title, actor, name, via, address, agent []byte
	var changes *string
	err = row.Scan(&e.ID, &e.Scope, &e.Action, &object, &title, &e.ActorKind, &actor, &name, &via, &address, &agent, &changes)
	e.Object, e.Title, e.Actor, e.ActorName = string(object), string(title), string(actor), string(name)
	e.Via, e.Address, e.Agent = string(via), string(address), string(agent)
	if changes != nil {
		e.Changes = json.RawMessage(*changes)
	}
	return e, err
}

// auditValues are what stands in auditColumns.
func auditValues(id int64, e *store.AuditEntry) []any {
	var changes *string
	if len(e.Changes) > 0 {
		text := string(e.Changes)
		changes = &text
	}
	return []any{
		id, string(e.Scope), e.Action, []byte(e.Object), []byte(e.Title), e.ActorKind, []byte(e.Actor), []byte(e.ActorName), []byte(e.Via),
		[]byte(e.Address), []byte(e.Agent), changes,
	}
}

// auditWords are the words of an entry as parameters.
func auditWords(words []string) [][]byte {
	out := make([][]byte, len(words))
	for i, w := range words {
		out[i] = []byte(w)
	}
	return out
}

// insertAudit writes an entry with its words.
func (s *Store) insertAudit(ctx context.Context, tx pgx.Tx, e *store.AuditEntry) error {
	_, err := tx.Exec(ctx, sqlInsertAudit, append(auditValues(s.ids.Take(1), e), auditWords(e.Words()))...)
	return err
}

// queueAudit adds the statements for an entry to what a writer sends. They are few, so they are not prepared.
func queueAudit(q *pgconn.Batch, id int64, e *store.AuditEntry) {
	text := func(s string) []byte { return []byte(s) }
	var changes []byte
	if len(e.Changes) > 0 {
		changes = e.Changes
	}
	own := strconv.AppendInt(nil, id, 10)
	const asText, asBytes = pgtype.TextFormatCode, pgtype.BinaryFormatCode
	q.ExecParams("INSERT INTO audit ("+auditColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", [][]byte{
		own, text(string(e.Scope)), text(e.Action), text(e.Object), text(e.Title), text(e.ActorKind), text(e.Actor), text(e.ActorName), text(e.Via),
		text(e.Address), text(e.Agent), changes,
	}, nil, []int16{asText, asText, asText, asBytes, asBytes, asText, asBytes, asBytes, asBytes, asBytes, asBytes, asText}, nil)
	for _, w := range e.Words() {
		q.ExecParams("INSERT INTO audit_word (word, id) VALUES ($1, $2)", [][]byte{text(w), own}, nil, []int16{asBytes, asText}, nil)
	}
}

// WriteAudit adds an entry; see store.Audit.
func (s *Store) WriteAudit(ctx context.Context, e *store.AuditEntry) error {
	return s.write(ctx, func(tx pgx.Tx) error { return s.insertAudit(ctx, tx, e) })
}

// AuditEntries lists entries; see store.Audit.
func (s *Store) AuditEntries(ctx context.Context, f store.AuditFilter) (out []store.AuditEntry, err error) {
	low, high := f.Between()
	words := auditWords(f.Words())
	err = s.query(ctx, func(c *pgx.Conn) error {
		if len(words) > 1 {
			rows, err := c.Query(ctx, sqlAuditRarest, words, low, high)
			if err != nil {
				return err
			}
			if words, err = pgx.CollectRows(rows, pgx.RowTo[[]byte]); err != nil {
				return err
			}
		}
		sql, args := sqlAudit, []any{low, high, f.Limit}
		if len(words) > 0 {
			var b strings.Builder
			b.WriteString(sqlAuditByWord)
			for i, w := range words {
				if args = append(args, w); i > 0 {
					fmt.Fprintf(&b, " AND EXISTS (SELECT FROM audit_word x WHERE x.word = $%d AND x.id = w.id)", len(args))
				}
			}
			b.WriteString(" ORDER BY w.id DESC LIMIT $3")
			sql = b.String()
		}
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanAudit)
		return err
	})
	return out, err
}

// PruneAudit forgets entries; see store.Audit.
func (s *Store) PruneAudit(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	return s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		rows, err := tx.Query(ctx, "SELECT "+auditColumns+" FROM audit WHERE id < $1 ORDER BY id LIMIT $2", patchbay.FirstIDAt(before), limit)
		if err != nil {
			return false, err
		}
		n, err := deleteAudit(ctx, tx, rows)
		return n == limit, err
	})
}

// deleteAudit deletes the entries that rows have, and returns how many.
func deleteAudit(ctx context.Context, tx pgx.Tx, rows pgx.Rows) (int, error) {
	gone, err := pgx.CollectRows(rows, scanAudit)
	if err != nil || len(gone) == 0 {
		return 0, err
	}
	var ids, of []int64
	var words [][]byte
	for i := range gone {
		ids = append(ids, int64(gone[i].ID))
		for _, w := range auditWords(gone[i].Words()) {
			words, of = append(words, w), append(of, int64(gone[i].ID))
		}
	}
	_, err = tx.Exec(ctx, sqlDeleteAudit, ids, words, of)
	return len(gone), err
}

// removeAudit deletes a step of a tenant's entries, and reports whether there may be more.
func removeAudit(ctx context.Context, tx pgx.Tx, tenant string) (more bool, err error) {
	f := store.AuditFilter{Within: patchbay.Scope(tenant)}
	rows, err := tx.Query(ctx, sqlAuditByWord+" ORDER BY w.id DESC LIMIT $3", 0, int64(math.MaxInt64), pruneRows, []byte(f.Words()[0]))
	if err != nil {
		return false, err
	}
	n, err := deleteAudit(ctx, tx, rows)
	return n == pruneRows, err
}

// importAudit takes in entries with their identifiers.
func importAudit(ctx context.Context, tx pgx.Tx, entries []store.AuditEntry) error {
	rows := make([][]any, len(entries))
	var words [][]any
	for i := range entries {
		e := &entries[i]
		rows[i] = auditValues(int64(e.ID), e)
		for _, w := range e.Words() {
			words = append(words, []any{[]byte(w), int64(e.ID)})
		}
	}
	if err := copyRows(ctx, tx, "audit", strings.ReplaceAll(auditColumns, ",", ""), rows); err != nil {
		return err
	}
	return copyRows(ctx, tx, "audit_word", "word id", words)
}

func backAudit(ctx context.Context, tx pgx.Tx, entries []store.AuditEntry) ([]store.AuditEntry, error) {
	ids := make([]int64, len(entries))
	for i := range entries {
		ids[i] = int64(entries[i].ID)
	}
	rows, err := tx.Query(ctx, "SELECT "+auditColumns+" FROM audit WHERE id = ANY($1) ORDER BY id", ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanAudit)
}
