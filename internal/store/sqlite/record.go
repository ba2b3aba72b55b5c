package sqlite

import (
	"cmp"
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// recent is how old a delivery may be for its first attempt to stand under the delivery's own identifier. An older
// one gets an identifier of now, so that rows are appended and responses go by when they came.
const recent = time.Hour

// Record takes results; see store.Queue.
func (s *Store) Record(outcomes []store.Outcome, committed func()) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return // the next start finds these deliveries
	}
	if len(w.pending) == 0 {
		w.oldest = time.Now()
	}
	w.pending = append(w.pending, item{outcomes: outcomes, committed: committed})
	w.outcomes += len(outcomes)
	// The first result wakes the writer to look at the clock, and one that fills a transaction to make it.
	if before := w.outcomes - len(outcomes); before == 0 || before < recordMost && w.outcomes >= recordMost {
		w.rouse()
	}
}

// Flush waits until everything that Record was given is durable; see store.Queue.
func (s *Store) Flush(ctx context.Context) error { return s.w.flush(ctx) }

// writeOutcomes writes the results that have come together, sorted by delivery: rows at the end of a table cost least
// in their order. Results of one delivery keep theirs. Most are the only one of their delivery and its first; these
// take one statement for several.
func (w *writer) writeOutcomes() error {
	b := &w.batch
	slices.SortStableFunc(b.outcomes, func(x, y *store.Outcome) int { return cmp.Compare(x.Delivery, y.Delivery) })
	group := b.group[:0]
	for i, o := range b.outcomes {
		alone := (i == 0 || b.outcomes[i-1].Delivery != o.Delivery) &&
			(i+1 == len(b.outcomes) || b.outcomes[i+1].Delivery != o.Delivery)
		var err error
		switch {
		case !alone || o.N > 1 || int64(o.Delivery) < w.recent:
			err = w.writeOutcome(o)
		case len(group) < attemptGroup-1:
			group = append(group, o)
		default:
			err = w.writeGroup(append(group, o))
			group = group[:0]
		}
		if err != nil {
			return err
		}
	}
	for _, o := range group {
		if err := w.writeOutcome(o); err != nil {
			return err
		}
	}
	b.results += len(b.outcomes)
	clear(b.outcomes)
	clear(b.group[:])
	b.outcomes = b.outcomes[:0]
	return nil
}

// writeGroup writes the first attempts of attemptGroup different deliveries.
func (w *writer) writeGroup(group []*store.Outcome) error {
	st, err := w.c.prepare(insertAttempts)
	if err != nil {
		return err
	}
	for i, o := range group {
		w.bindAttempt(st, attemptFields*i, o, int64(o.Delivery), 0)
	}
	if err := st.run(); err != nil {
		return err
	}
	whole := w.c.changes() == len(group)
	for _, o := range group {
		id := int64(o.Delivery)
		if !whole {
			if id, err = w.besides(o); err != nil {
				return err
			}
		}
		if err := w.consequences(o, id); err != nil {
			return err
		}
	}
	return nil
}

// besides makes sure that a first attempt was written although something may have stood in its place, and returns the
// identifier under which it stands.
func (w *writer) besides(o *store.Outcome) (int64, error) {
	st, err := w.c.prepare("SELECT n, state, at, duration FROM attempt WHERE id = ?")
	if err != nil {
		return 0, err
	}
	_, err = st.bind(1, int64(o.Delivery)).step()
	same := st.int(0) == int64(o.N) && st.int(1) == stateCode(o.State) && st.time(2).Equal(micro(o.Attempt.At)) &&
		(o.N == 0 || st.int(3) == o.Attempt.DurationMS)
	st.reset()
	if err != nil || same {
		return int64(o.Delivery), err
	}
	id := w.s.ids.Take(1)
	_, err = w.writeAttempt(o, id, int64(o.Delivery))
	return id, err
}

// writeOutcome writes one result.
func (w *writer) writeOutcome(o *store.Outcome) error {
	id, delivery := int64(o.Delivery), int64(0)
	if o.N > 1 || id < w.recent {
		id, delivery = w.s.ids.Take(1), int64(o.Delivery)
	}
	written, err := w.writeAttempt(o, id, delivery)
	if err == nil && !written { // something stands there already: a decision, or an attempt before a retry by hand
		id = w.s.ids.Take(1)
		_, err = w.writeAttempt(o, id, int64(o.Delivery))
	}
	if err != nil {
		return err
	}
	return w.consequences(o, id)
}

// consequences writes what else follows from a result whose attempt stands under id.
func (w *writer) consequences(o *store.Outcome, id int64) (err error) {
	if o.Attempt.ResponseBody != "" && o.N > 0 {
		st, err := w.c.prepare("INSERT OR REPLACE INTO response (attempt, body) VALUES (?, ?)")
		if err != nil {
			return err
		}
		if err := st.bind(1, id).bindText(2, clip(o.Attempt.ResponseBody, patchbay.MaxResponseBodyKept)).run(); err != nil {
			return err
		}
	}
	switch {
	case o.Next != nil && !o.State.Final():
		err = w.enqueue(w.c, o.Next, 0, o.WasQueued)
		w.batch.settle(o.Event, o.Delivery)
	case o.State.Final():
		if o.WasQueued {
			err = w.dequeue(w.c, o.Delivery)
		}
		w.batch.settle(o.Event, o.Delivery)
	}
	if err == nil && o.Thread != nil {
		err = writeThread(w.c, o.Link, o.Thread)
	}
	if err == nil && o.Audit != nil {
		err = w.s.insertAudit(w.c, o.Audit)
	}
	return err
}

// attemptGroup is how many attempts one statement writes, attemptFields how many parameters each takes.
const (
	attemptGroup  = 8
	attemptFields = 12
	attemptInto   = `INSERT OR IGNORE INTO attempt
		(id, delivery, link, n, state, verdict, at, duration, error_type, error, code, request) VALUES `
	attemptValues = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

	insertAttempt  = attemptInto + attemptValues
	insertAttempts = insertAttempt + ", " + attemptValues + ", " + attemptValues + ", " + attemptValues + ", " +
		attemptValues + ", " + attemptValues + ", " + attemptValues + ", " + attemptValues
)

// writeAttempt reports false when a row with this identifier exists.
func (w *writer) writeAttempt(o *store.Outcome, id, delivery int64) (bool, error) {
	st, err := w.c.prepare(insertAttempt)
	if err != nil {
		return false, err
	}
	w.bindAttempt(st, 0, o, id, delivery)
	if err := st.run(); err != nil {
		return false, err
	}
	return w.c.changes() > 0, nil
}

// bindAttempt binds the parameters of an attempt after the first at.
func (w *writer) bindAttempt(st *stmt, at int, o *store.Outcome, id, delivery int64) {
	a, state := &o.Attempt, stateCode(o.State)
	if state > codeSucceeded {
		// These are looked for by people, and stand in indexes by delivery and link.
		st.bind(at+2, int64(o.Delivery)).bind(at+3, int64(o.Link))
	} else {
		st.bindID(at+2, delivery).bindNull(at + 3)
	}
	st.bind(at+1, id).bind(at+4, int64(o.N)).bind(at+5, state)
	st.bindTime(at+7, a.At).bindSome(at+10, clip(a.Error, patchbay.MaxErrorKept))
	if o.N == 0 { // of a decision nothing else counts
		st.bind(at+6, 0).bind(at+8, 0).bindNull(at+9).bind(at+11, 0).bindNull(at + 12)
		return
	}
	st.bind(at+6, verdictCode(a.Verdict)).bind(at+8, a.DurationMS).bindSome(at+9, string(a.ErrorType)).bind(at+11, int64(a.ResponseCode))
	if a.Request == nil {
		st.bindNull(at + 12)
		return
	}
	w.batch.room = appendRequest(w.batch.room[:0], a.Request)
	st.bindBlob(at+12, w.batch.room)
}

// clip cuts text to the bytes that are kept.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) { // no half characters
		most--
	}
	return s[:most]
}

func writeThread(c *conn, link patchbay.LinkID, t *store.ThreadUpdate) error {
	st, err := c.prepare(`INSERT INTO thread (link, thread, reference, event) VALUES (?, ?, ?, ?)
		ON CONFLICT (link, thread) DO UPDATE SET reference = excluded.reference, event = excluded.event
		WHERE excluded.event >= event`)
	if err != nil {
		return err
	}
	return st.bind(1, int64(link)).bindText(2, t.Thread).bindText(3, t.Reference).bind(4, int64(t.Event)).run()
}
