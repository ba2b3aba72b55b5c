package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// What is moved here from another database is written with COPY, a chunk with its cursor in one transaction, so that an
// import that was interrupted goes on where it was, and read back before that transaction ends.

var _ store.Importer = (*Store)(nil)

// metaCursor is where the cursor of an import stands.
const metaCursor = "import-cursor"

// totals say how each part is counted.
var totals = map[store.Part]string{
	store.PartTypes: "SELECT count(*) FROM event_type", store.PartKeys: "SELECT count(*) FROM api_key",
	store.PartLinks: "SELECT count(*) FROM link", store.PartLanes: "SELECT count(*) FROM lane",
	store.PartEvents:      "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM unmatched)",
	store.PartConnections: "SELECT count(*) FROM connection", store.PartHooks: "SELECT count(*) FROM hook",
	store.PartThreads: "SELECT count(*) FROM thread", store.PartJobs: "SELECT count(*) FROM job", store.PartSamples: "SELECT count(*) FROM sample",
	store.PartAudit: "SELECT count(*) FROM audit",
}

// Totals counts what there is; see store.Importer.
func (s *Store) Totals(ctx context.Context) (out map[store.Part]int64, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		out, err = countParts(ctx, tx)
		return err
	})
	return out, err
}

func countParts(ctx context.Context, q querier) (map[store.Part]int64, error) {
	out := make(map[store.Part]int64, len(totals))
	for part, sql := range totals {
		var n int64
		if err := q.QueryRow(ctx, sql).Scan(&n); err != nil {
			return nil, err
		}
		out[part] = n
	}
	return out, nil
}

// BeginImport begins an import or goes on with it; see store.Importer.
func (s *Store) BeginImport(ctx context.Context, name string) (cursor string, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		have, err := readMeta(ctx, tx, store.MetaImport)
		if err != nil {
			return err
		}
		switch have {
		case name, store.ImportFinished + name:
			cursor, err = readMeta(ctx, tx, metaCursor)
			return err
		case "":
		default:
			return fmt.Errorf("another installation was moved there, or is being moved there: %w", store.ErrConflict)
		}
		counts, err := countParts(ctx, tx)
		if err != nil {
			return err
		}
		var found []string
		for _, part := range store.Parts {
			if n := counts[part]; n > 0 {
				found = append(found, fmt.Sprintf("%d %s", n, part))
			}
		}
		if len(found) > 0 {
			return fmt.Errorf("it is not empty, it has %s: %w", strings.Join(found, ", "), store.ErrConflict)
		}
		return writeMeta(ctx, tx, store.MetaImport, name)
	})
	return cursor, err
}

// FinishImport makes an installation of what was imported; see store.Importer.
func (s *Store) FinishImport(ctx context.Context, name string) error {
	if err := s.query(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "ANALYZE") // nobody has looked at these tables yet
		return err
	}); err != nil {
		return err
	}
	return s.SetMeta(ctx, store.MetaImport, store.ImportFinished+name)
}

// Import stores a chunk; see store.Importer.
func (s *Store) Import(ctx context.Context, c *store.Chunk, cursor string) error {
	want, err := c.Checksum()
	if err != nil {
		return fmt.Errorf("a chunk of %s cannot be read: %w", c.Part, err)
	}
	if err := s.makeDays(ctx, c); err != nil {
		return err
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		if err := s.importChunk(ctx, tx, c); err != nil {
			return fmt.Errorf("writing %s: %w", c.Part, err)
		}
		back, err := s.readBack(ctx, tx, c)
		if err != nil {
			return fmt.Errorf("reading back %s: %w", c.Part, err)
		}
		got, err := back.Checksum()
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("what was read back of %d %s is not what was written; nothing of this piece is kept", c.Len(), c.Part)
		}
		return writeMeta(ctx, tx, metaCursor, cursor)
	})
}

// makeDays makes the partitions for the events of a chunk.
func (s *Store) makeDays(ctx context.Context, c *store.Chunk) error {
	var days []time.Time
	for i := range c.Events {
		if day := dayOf(c.Events[i].ID.Time()); !slices.Contains(days, day) {
			days = append(days, day)
		}
	}
	return s.with(ctx, func(conn *pgx.Conn) error {
		for _, day := range days {
			if err := makeDay(ctx, conn, day); err != nil {
				return fmt.Errorf("making the partitions of %s: %w", day.Format(time.DateOnly), err)
			}
		}
		return nil
	})
}

// copyRows writes rows with COPY.
func copyRows(ctx context.Context, tx pgx.Tx, table, columns string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	n, err := tx.CopyFrom(ctx, pgx.Identifier{table}, strings.Fields(columns), pgx.CopyFromRows(rows))
	if err == nil && int(n) != len(rows) {
		err = fmt.Errorf("of %d rows only %d were written", len(rows), n)
	}
	return err
}

// zeroNull is nil for the zero value.
func zeroNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// bytesOrNull is nil for nothing.
func bytesOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func (s *Store) importChunk(ctx context.Context, tx pgx.Tx, c *store.Chunk) error {
	switch c.Part {
	case store.PartEvents:
		return s.importEvents(ctx, tx, c.Events)
	case store.PartSamples:
		return importSamples(ctx, tx, c.Samples)
	case store.PartConnections:
		return s.importConnections(ctx, tx, c.Connections)
	case store.PartHooks:
		return importHooks(ctx, tx, c.Hooks)
	case store.PartAudit:
		return importAudit(ctx, tx, c.Audit)
	}
	var links, keys, types, lanes, threads, jobs [][]any
	for i := range c.Types {
		data, err := json.Marshal(&c.Types[i])
		if err != nil {
			return err
		}
		types = append(types, []any{c.Types[i].Key, string(data)})
	}
	for i := range c.Keys {
		k := &c.Keys[i]
		permissions, err := json.Marshal(k.Permissions)
		if err != nil {
			return err
		}
		keys = append(keys, []any{int64(k.ID), k.Name, k.Hash[:], string(k.Scope), string(permissions), k.Hint, timeOrNull(k.CreatedAt), timeOrNull(k.ExpiresAt)})
	}
	for i := range c.Links {
		l := &c.Links[i]
		data, err := store.EncodeLink(ctx, s.o.Sealer, &l.Link)
		if err != nil {
			return err
		}
		links = append(links, []any{int64(l.Link.ID), l.Link.Revision, string(data), zeroNull(l.Ended)})
	}
	for _, l := range c.Lanes {
		lanes = append(lanes, []any{int64(l.Link), int64(l.DropBefore), timeOrNull(l.FailingSince), l.Failures, timeOrNull(l.OpenUntil)})
	}
	for _, t := range c.Threads {
		threads = append(threads, []any{int64(t.Link), []byte(t.Thread), []byte(t.Reference), int64(t.Event)})
	}
	for i := range c.Jobs {
		j := &c.Jobs[i]
		jobs = append(jobs, []any{
			int64(j.ID), j.Action, string(j.Filter), string(j.Scope), j.By, string(j.State), j.Cursor, j.Total, j.Seen, j.Changed, j.Skipped, j.Failed,
			j.Error, j.Cancelling, j.Runner, timeOrNull(j.RunnerUntil), timeOrNull(j.CreatedAt), timeOrNull(j.StartedAt), timeOrNull(j.UpdatedAt), timeOrNull(j.FinishedAt),
		})
	}
	for _, t := range []struct {
		name, columns string
		rows          [][]any
	}{
		{"event_type", "key data", types},
		{"api_key", "id name hash scope permissions hint created expires", keys},
		{"link", "id revision data ended", links},
		{"lane", "link drop_before failing_since failures open_until", lanes},
		{"thread", "link thread reference event", threads},
		{"job", "id action filter scope made_by state cursor total seen changed skipped failed error cancelling runner runner_until created started updated finished", jobs},
	} {
		if err := copyRows(ctx, tx, t.name, t.columns, t.rows); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) importConnections(ctx context.Context, tx pgx.Tx, connections []patchbay.Connection) error {
	var rows [][]any
	for i := range connections {
		c := &connections[i]
		sealed, err := store.SealCredentials(ctx, s.o.Sealer, c.ID, &c.Credentials)
		if err != nil {
			return err
		}
		values, err := connectionValues(c, sealed)
		if err != nil {
			return err
		}
		rows = append(rows, append(values, int64(1)))
	}
	return copyRows(ctx, tx, "connection", "id revision integration account scope expires data credentials fence", rows)
}

func importHooks(ctx context.Context, tx pgx.Tx, hooks []store.Hook) error {
	var rows, of [][]any
	for i := range hooks {
		h := &hooks[i]
		values, err := hookValues(h, h.State)
		if err != nil {
			return err
		}
		rows = append(rows, values)
		for _, event := range h.Events {
			of = append(of, []any{int64(event), int64(h.ID)})
		}
	}
	columns := strings.ReplaceAll(hookColumns, ",", "") + " tenant"
	return errors.Join(copyRows(ctx, tx, "hook", columns, rows), copyRows(ctx, tx, "hook_event", "event hook", of))
}

// importing gathers the rows of events.
type importing struct {
	events                        [2][][]any
	attempts, responses, remember [][]any
	ids                           []int64
	links, deliveries, owners     []int64
	dues                          []time.Time
	spares                        []*int64
	tries, used                   []int32
	threads                       [][]byte
	unchecked                     []bool
	newID                         func() int64
}

func (s *Store) importEvents(ctx context.Context, tx pgx.Tx, events []store.MovedEvent) error {
	x := &importing{newID: func() int64 { return s.ids.Take(1) }}
	for i := range events {
		if err := x.add(&events[i]); err != nil {
			return err
		}
	}
	if len(x.ids) == 0 {
		return nil
	}
	// As every transaction that stores events, so that lists find those that are below what they search by.
	if _, err := tx.Exec(ctx, sqlBegin, s.self.Number, s.self.Incarnation, x.ids); err != nil {
		return err
	}
	const columns = "id received occurred origin hops missed type scope source also targets actor payload erased"
	for k, table := range [...]string{matched: "event", unmatched: "unmatched"} {
		if err := copyRows(ctx, tx, table, columns, x.events[k]); err != nil {
			return err
		}
	}
	if err := copyRows(ctx, tx, "response", "id body", x.responses); err != nil {
		return err
	}
	if err := copyRows(ctx, tx, "attempt", "delivery at link response duration n code state verdict error_type error request", x.attempts); err != nil {
		return err
	}
	if err := copyRows(ctx, tx, "idempotency", "key body until event deliveries", x.remember); err != nil {
		return err
	}
	if len(x.deliveries) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, sqlQueue, []int64{}, []int64{}, x.links, x.deliveries, x.owners, x.dues, x.spares, x.tries, x.used, x.threads, x.unchecked)
	return err
}

func (x *importing) add(m *store.MovedEvent) error {
	var occurred any
	if !m.OccurredAt.Equal(m.ReceivedAt) {
		occurred = timeOrNull(m.OccurredAt)
	}
	var targets []byte
	if len(m.Targets) > 0 {
		targets = appendTargets(nil, m.Targets)
	}
	k := kind(&store.Acceptance{Targets: m.Targets, Missed: m.Missed})
	x.ids = append(x.ids, int64(m.ID))
	x.events[k] = append(x.events[k], []any{
		int64(m.ID), m.ReceivedAt, occurred, zeroNull(int64(m.Origin)), int16(m.Hops), m.Missed, m.Type, string(m.Scope), string(appendSource(nil, &m.Source)),
		zeroNull(joinScopes(m.Also)), bytesOrNull(targets), bytesOrNull(m.Actor), bytesOrNull(m.Payload), timeOrNull(m.Erased),
	})
	if i := m.Idempotency; i != nil {
		x.remember = append(x.remember, []any{i.Key, i.Body, i.Until, int64(m.ID), len(m.Targets)})
	}
	seen := patchbay.DeliveryID(0)
	for i := range m.Attempts {
		if err := x.attempt(m, &m.Attempts[i], m.Attempts[i].Delivery == seen); err != nil {
			return err
		}
		seen = m.Attempts[i].Delivery
	}
	for i := range m.Queue {
		p := &m.Queue[i]
		x.links, x.deliveries, x.owners = append(x.links, int64(p.Link)), append(x.deliveries, int64(p.Delivery)), append(x.owners, int64(p.Queued.Event))
		x.dues, x.tries, x.used = append(x.dues, p.Due), append(x.tries, int32(p.Attempts)), append(x.used, int32(p.Used))
		var spared *int64
		if p.Spared != 0 {
			at := int64(p.Spared)
			spared = &at
		}
		var thread []byte
		if p.Thread != "" {
			thread = []byte(p.Thread)
		}
		x.spares, x.threads, x.unchecked = append(x.spares, spared), append(x.threads, thread), append(x.unchecked, false)
	}
	return nil
}

// attempt adds an attempt; later says that it is not the first of its delivery.
func (x *importing) attempt(m *store.MovedEvent, a *store.MovedAttempt, later bool) error {
	i := int(int64(a.Delivery)-int64(m.ID))/patchbay.IDStep - 1
	if i < 0 || i >= len(m.Targets) {
		return fmt.Errorf("an attempt of %s stands with the event %s, to which it does not belong", a.Delivery, m.ID)
	}
	code := stateCode(a.State)
	var link, response, request any
	if code > codeSucceeded {
		link = int64(m.Targets[i].Link)
	}
	if body := a.Attempt.ResponseBody; body != "" {
		// What was answered to a first attempt came at about the time in the delivery's identifier, by which bodies are kept.
		id := int64(a.Delivery)
		if later {
			id = x.newID()
		}
		response = id
		x.responses = append(x.responses, []any{id, []byte(body)})
	}
	if a.Attempt.Request != nil {
		request = appendRequest(nil, a.Attempt.Request)
	}
	x.attempts = append(x.attempts, []any{
		int64(a.Delivery), timeOrNull(a.Attempt.At), link, response, int32(min(a.Attempt.DurationMS, 1<<31-1)), int32(a.N), int32(a.Attempt.ResponseCode), code,
		verdictCode(a.Attempt.Verdict), zeroNull(string(a.Attempt.ErrorType)), bytesOrNull([]byte(a.Attempt.Error)), request,
	})
	return nil
}

// importSamples adds figures: they add up with what is there.
func importSamples(ctx context.Context, tx pgx.Tx, samples []store.Sample) error {
	rows := make([][]any, len(samples))
	for i := range samples {
		x := &samples[i]
		rows[i] = []any{x.At, int64(x.Link), x.Integration, x.Type, string(x.Scope), x.Accepted, x.Delivered, x.Failed, x.Attempts, bytesOrNull(x.Latency.Encode(nil))}
	}
	return copyRows(ctx, tx, "sample", "minute link integration type scope accepted delivered failed attempts latency", rows)
}
