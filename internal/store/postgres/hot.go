package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// The statements of a writer. All of a transaction go to the server at once, and so does its end.
const (
	sqlBegin = "SELECT patchbay_begin($1, $2, $3)"

	// An event with a key is stored only when the key is not remembered. A key that is forgotten is taken over.
	sqlAccept = `WITH fresh AS (
			INSERT INTO idempotency (key, body, until, event, deliveries)
			SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::integer[])
			ON CONFLICT (key) DO UPDATE SET body = excluded.body, until = excluded.until, event = excluded.event, deliveries = excluded.deliveries
				WHERE idempotency.until <= $20
			RETURNING event
		), stored AS (
			INSERT INTO %s (id, received, occurred, origin, hops, missed, type, scope, source, also, targets, actor, payload)
			SELECT id, received, occurred, origin, hops, missed, type, scope, source, also, targets, actor, payload
			FROM unnest($6::bigint[], $7::timestamptz[], $8::timestamptz[], $9::bigint[], $10::smallint[], $11::boolean[], $12::text[],
				$13::text[], $14::text[], $15::text[], $16::bytea[], $17::bytea[], $18::bytea[], $19::boolean[])
				AS e (id, received, occurred, origin, hops, missed, type, scope, source, also, targets, actor, payload, keyed)
			WHERE NOT keyed OR id IN (SELECT event FROM fresh)
		)
		SELECT event FROM fresh`

	sqlAttempts = `INSERT INTO attempt (delivery, at, link, response, duration, n, code, state, verdict, error_type, error, request)
		SELECT delivery, at, link, response, duration, n, code, state, verdict, error_type, error, request
		FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::integer[], $6::integer[], $7::integer[], $8::smallint[],
			$9::smallint[], $10::text[], $11::bytea[], $12::bytea[], $13::bigint[])
			AS a (delivery, at, link, response, duration, n, code, state, verdict, error_type, error, request, checked)
		WHERE checked IS NULL OR EXISTS (SELECT FROM event WHERE id = checked)`

	sqlResponses = "INSERT INTO response (id, body) SELECT * FROM unnest($1::bigint[], $2::bytea[])"

	sqlQueue = "SELECT patchbay_queue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"

	sqlThreads = `INSERT INTO thread AS t (link, thread, reference, event)
		SELECT link, thread, reference, event FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::boolean[])
			AS u (link, thread, reference, event, checked)
		WHERE NOT checked OR EXISTS (SELECT FROM event WHERE id = u.event)
		ON CONFLICT (link, thread) DO UPDATE SET reference = excluded.reference, event = excluded.event WHERE excluded.event >= t.event`

	sqlFloor = "UPDATE floor SET event = $2 WHERE number = $1"
)

// The names under which a connection has them prepared.
const (
	preparedBegin = iota
	preparedMatched
	preparedUnmatched
	preparedAttempts
	preparedResponses
	preparedQueue
	preparedThreads
	preparedFloor
)

var hotStatements = [...]string{
	preparedBegin: sqlBegin, preparedMatched: fmt.Sprintf(sqlAccept, "event"), preparedUnmatched: fmt.Sprintf(sqlAccept, "unmatched"),
	preparedAttempts: sqlAttempts, preparedResponses: sqlResponses, preparedQueue: sqlQueue, preparedThreads: sqlThreads, preparedFloor: sqlFloor,
}

// hot is a writer's connection, with what it is about to write. One goroutine uses it.
type hot struct {
	w     *writer
	conn  *pgconn.PgConn // nil while there is none
	pid   uint32         // the server's process for the last connection
	stmts [len(hotStatements)]*pgconn.StatementDescription
	batch batch
	fence [2][]byte
}

func newHot(w *writer) *hot {
	h := &hot{w: w, batch: newBatch()}
	h.fence[0] = binary.BigEndian.AppendUint32(nil, uint32(w.s.self.Number))
	h.fence[1] = binary.BigEndian.AppendUint64(nil, uint64(w.s.self.Incarnation))
	return h
}

func (h *hot) connect(ctx context.Context) error {
	if h.conn != nil && !h.conn.IsClosed() {
		return nil
	}
	h.disconnect()
	conn, err := pgconn.ConnectConfig(ctx, &h.w.config.Config)
	if err != nil {
		return err
	}
	for i, sql := range hotStatements {
		if h.stmts[i], err = conn.Prepare(ctx, fmt.Sprintf("hot%d", i), sql, nil); err != nil {
			_ = conn.Close(ctx)
			return err
		}
	}
	h.conn, h.pid = conn, conn.PID()
	return nil
}

// disconnect ends the connection without waiting for a server that may be lost.
func (h *hot) disconnect() {
	if h.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = h.conn.Close(ctx)
	h.conn = nil
}

// doubtError says that the connection was lost after a transaction had been sent: nobody knows what became of it.
type doubtError struct{ error }

func (e doubtError) Unwrap() error { return e.error }

// commit writes a batch in one transaction.
func (h *hot) commit(b *batch) error {
	for attempt := 1; ; attempt++ {
		err := h.transact(b)
		if !collided(err) || attempt == writeAttempts {
			return err
		}
	}
}

func (h *hot) transact(b *batch) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), h.w.s.o.limits.writeMost)
	defer cancel()
	if err := h.connect(ctx); err != nil {
		return err
	}
	b.encode(func() int64 { return h.w.s.ids.Take(1) })
	err := h.send(ctx, b)
	h.w.stats.busy.Add(int64(time.Since(start)))
	if err != nil {
		if connectionLost(err) {
			h.disconnect()
			return doubtError{err}
		}
		return err
	}
	n := len(b.ops)
	for i := range b.results {
		n += len(b.results[i].outcomes)
	}
	h.w.stats.commits.Add(1)
	h.w.stats.committed.Add(int64(n))
	h.w.stats.last.Store(time.Now().UnixNano())
	if h.w.s.o.OnCommit != nil {
		h.w.s.o.OnCommit(time.Since(start), n)
	}
	return nil
}

var binaryFormat = []int16{pgtype.BinaryFormatCode}

// send sends the statements of a batch with the end of their transaction, and reads the answers.
func (h *hot) send(ctx context.Context, b *batch) error {
	var q pgconn.Batch
	run := func(stmt int, tables ...table) {
		b.params = b.params[:0]
		for _, t := range tables {
			b.params = t.params(b.params)
		}
		q.ExecStatement(h.stmts[stmt], b.params, binaryFormat, binaryFormat)
	}
	q.ExecStatement(h.stmts[preparedBegin], append(append(b.params[:0], h.fence[:]...), b.ids[0].param()), binaryFormat, binaryFormat)
	for k, stmt := range [...]int{matched: preparedMatched, unmatched: preparedUnmatched} {
		if b.events[k].empty() {
			continue
		}
		b.params = b.events[k].params(b.remember[k].params(b.params[:0]))
		b.params = append(b.params, binary.BigEndian.AppendUint64(nil, uint64(h.w.s.now().UnixMicro()-epoch2000)))
		q.ExecStatement(h.stmts[stmt], b.params, binaryFormat, binaryFormat)
	}
	if !b.attempts.empty() {
		run(preparedAttempts, b.attempts)
	}
	if !b.responses.empty() {
		run(preparedResponses, b.responses)
	}
	if !b.places.empty() || !b.gone.empty() {
		run(preparedQueue, b.gone, b.places)
	}
	if !b.threads.empty() {
		run(preparedThreads, b.threads)
	}
	if b.floor != 0 {
		q.ExecStatement(h.stmts[preparedFloor], [][]byte{h.fence[0], binary.BigEndian.AppendUint64(nil, uint64(b.floor))}, binaryFormat, binaryFormat)
	}
	for _, e := range b.audits {
		queueAudit(&q, h.w.s.ids.Take(1), e)
	}
	answers := h.conn.ExecBatch(ctx, &q)
	for answers.NextResult() {
		rows := answers.ResultReader()
		for rows.NextRow() {
			// Only those of the two acceptances have rows with something in them.
			if v := rows.Values(); len(v) == 1 && len(v[0]) == 8 {
				b.fresh = append(b.fresh, int64(binary.BigEndian.Uint64(v[0])))
			}
		}
	}
	return answers.Close()
}

// work commits the batch, and draws the consequences.
func (h *hot) work() {
	b, n := &h.batch, len(h.batch.ops)
	defer h.w.giveTurn(b)
	err := h.commit(b)
	h.w.landed(n) // before they are told: they may be back at once
	if h.conclude(b, err) != nil {
		h.w.giveBack(b.results)
	}
}

// conclude tells who waits for a batch what came of it. An error means that the database cannot be written; then the results
// that are left in the batch are to be given back.
func (h *hot) conclude(b *batch, err error) error {
	var doubt doubtError
	for attempt := 1; errors.As(err, &doubt); attempt++ {
		if err = h.resolve(b, doubt.error); err == nil {
			b.fresh = b.fresh[:0] // that answer may have been lost
		} else if errors.Is(err, errLost) && attempt < writeAttempts && !b.empty() {
			err = h.commit(b) // nothing was stored: the connection may have been dead for long
		}
	}
	switch {
	case err == nil:
		h.published(b)
		return nil
	case state(err) == stateFenced || errors.Is(err, store.ErrFenced):
		h.refuse(b, store.ErrFenced)
		h.w.fencedOff()
		return store.ErrFenced
	case errors.Is(err, store.ErrUnavailable) || environmental(err):
		err = explain(err)
		h.w.fail(err)
		h.refuse(b, err)
		return err
	default:
		return h.separately(b, err)
	}
}

// refuse tells the callers of a batch's acceptances that nothing was stored.
func (h *hot) refuse(b *batch, err error) {
	for _, o := range b.ops {
		h.w.s.unbegin(o)
		o.err = err
		o.done <- struct{}{}
	}
	clear(b.ops)
	b.ops = b.ops[:0]
}

// separately commits what is in a batch one by one, after a transaction of all of it failed for a reason that lies in one of
// them, so that it alone fails.
func (h *hot) separately(b *batch, cause error) error {
	if len(b.ops) == 1 && len(b.results) == 0 {
		id := b.ops[0].accept.Event.ID
		if state(cause) == stateUniqueViolation {
			cause = fmt.Errorf("the event %s is in the database already: %w", id, store.ErrConflict)
		} else {
			cause = fmt.Errorf("the event %s could not be stored: %w", id, cause)
		}
		h.refuse(b, cause)
		return nil
	}
	if len(b.ops) == 0 && len(b.results) == 1 && len(b.results[0].outcomes) <= 1 {
		h.w.s.log.Error("a result could not be written to the database and is dropped", "error", cause)
		h.published(b)
		return nil
	}
	one := newBatch()
	one.turn, one.late, one.floor = b.turn, b.late, b.floor
	ops := slices.Clone(b.ops)
	b.ops, b.results = b.ops[:0], split(b.results)
	for i, o := range ops {
		one.ops = append(one.ops[:0], o)
		if err := h.conclude(&one, h.commit(&one)); err != nil {
			b.ops = append(b.ops, ops[i+1:]...)
			h.refuse(b, err)
			return err
		}
	}
	one.ops = one.ops[:0]
	for len(b.results) > 0 {
		one.results = append(one.results[:0], b.results[0])
		if err := h.conclude(&one, h.commit(&one)); err != nil {
			return err
		}
		b.results = b.results[1:]
	}
	return nil
}

// split takes results apart, so that each stands alone.
func split(all []results) (out []results) {
	for _, r := range all {
		for i := range r.outcomes {
			out = append(out, results{outcomes: r.outcomes[i : i+1 : i+1]})
		}
		if r.committed != nil || r.flushed != nil {
			out = append(out, results{committed: r.committed, flushed: r.flushed})
		}
	}
	return out
}

// published draws the consequences of a commit, then tells who waits.
func (h *hot) published(b *batch) {
	w, s := h.w, h.w.s
	w.recovered()
	if b.floor != 0 {
		w.mu.Lock()
		w.floor = b.floor
		w.mu.Unlock()
	}
	slices.Sort(b.fresh)
	var unsure []*op
	for _, o := range b.ops {
		if o.accept.Idempotency != nil {
			if _, fresh := slices.BinarySearch(b.fresh, int64(o.accept.Event.ID)); !fresh {
				unsure = append(unsure, o)
				continue
			}
		}
		h.accepted(o)
	}
	if len(unsure) > 0 {
		h.remembered(unsure)
	}
	for _, r := range b.results {
		for i := range r.outcomes {
			s.settle(&r.outcomes[i])
		}
		if r.committed != nil {
			r.committed()
		}
		if r.flushed != nil {
			r.flushed <- nil
		}
	}
}

// settle notes that a delivery has an end or a place in the queue.
func (s *Store) settle(o *store.Outcome) {
	if o.State.Final() || o.Next != nil {
		s.floor.Settle(o.Event, o.Delivery)
	}
}

// accepted tells a caller that its event is durable.
func (h *hot) accepted(o *op) {
	a := o.accept
	for i := range a.Queue {
		h.w.s.floor.Settle(a.Queue[i].Event, a.Queue[i].Delivery)
	}
	for i := range a.Outcomes {
		h.w.s.settle(&a.Outcomes[i])
	}
	o.done <- struct{}{}
}

// remembered answers acceptances with keys that were remembered: they were not stored.
func (h *hot) remembered(ops []*op) {
	known, err := h.keys(ops)
	if err != nil {
		// Nothing of these was stored, unless their transaction was in doubt.
		h.orphan(ops)
		for _, o := range ops {
			o.err = explain(err)
			o.done <- struct{}{}
		}
		return
	}
	for _, o := range ops {
		existing, ok := known[o.accept.Idempotency.Key]
		switch {
		case !ok: // it was forgotten just now
			h.w.s.unbegin(o)
			o.took.Store(opWaiting)
			h.w.mu.Lock()
			h.w.accepts = append(h.w.accepts, o)
			h.w.mu.Unlock()
		case existing.Event == o.accept.Event.ID:
			h.accepted(o)
		default:
			h.w.s.unbegin(o)
			o.existing = &existing
			o.done <- struct{}{}
		}
	}
}

// keys looks up what is remembered of keys.
func (h *hot) keys(ops []*op) (map[[16]byte]store.Existing, error) {
	ctx, cancel := context.WithTimeout(context.Background(), h.w.s.o.limits.writeMost)
	defer cancel()
	if err := h.connect(ctx); err != nil {
		return nil, err
	}
	column := newTable(oidUUID)
	for _, o := range ops {
		column[0].bytes(o.accept.Idempotency.Key[:])
	}
	known := make(map[[16]byte]store.Existing, len(ops))
	rows := h.conn.ExecParams(ctx, "SELECT key, body, event, deliveries FROM idempotency WHERE key = ANY($1::uuid[])",
		column.params(nil), nil, binaryFormat, binaryFormat)
	for rows.NextRow() {
		v := rows.Values()
		known[[16]byte(v[0])] = store.Existing{
			Body: [16]byte(v[1]), Event: patchbay.EventID(binary.BigEndian.Uint64(v[2])), Deliveries: int(binary.BigEndian.Uint32(v[3])),
		}
	}
	_, err := rows.Close()
	return known, err
}
