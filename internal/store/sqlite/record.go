package sqlite

import (
	"context"
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

const insertAttempt = `INSERT OR IGNORE INTO attempt
	(id, delivery, link, n, state, verdict, at, duration, error_type, error, code, request)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// writeOutcome writes what came of an attempt, and the delivery's place in the queue.
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
	return err
}

// writeAttempt reports false when a row with this identifier exists.
func (w *writer) writeAttempt(o *store.Outcome, id, delivery int64) (bool, error) {
	st, err := w.c.prepare(insertAttempt)
	if err != nil {
		return false, err
	}
	a, state := &o.Attempt, stateCode(o.State)
	if state > codeSucceeded {
		// These are looked for by people, and stand in indexes by delivery and link.
		st.bind(2, int64(o.Delivery)).bind(3, int64(o.Link))
	} else {
		st.bindID(2, delivery).bindNull(3)
	}
	st.bind(1, id).bind(4, int64(o.N)).bind(5, state)
	st.bindTime(7, a.At).bindSome(10, clip(a.Error, patchbay.MaxErrorKept))
	if o.N == 0 { // of a decision nothing else counts
		st.bind(6, 0).bind(8, 0).bindNull(9).bind(11, 0).bindNull(12)
	} else {
		st.bind(6, verdictCode(a.Verdict)).bind(8, a.DurationMS).bindSome(9, string(a.ErrorType)).bind(11, int64(a.ResponseCode))
		if a.Request == nil {
			st.bindNull(12)
		} else {
			w.batch.room = appendRequest(w.batch.room[:0], a.Request)
			st.bindBlob(12, w.batch.room)
		}
	}
	if err := st.run(); err != nil {
		return false, err
	}
	return w.c.changes() > 0, nil
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
