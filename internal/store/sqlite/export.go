package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Exporter = (*Store)(nil)

// exportBytes bounds the payloads in one chunk.
const exportBytes = 4 << 20

const (
	exportEvents  = "SELECT " + eventColumns + ", key, until FROM event WHERE id > ? ORDER BY id"
	exportQueue   = "SELECT event, link, due, attempts, used, thread, spared FROM queue WHERE delivery = ?"
	exportLinks   = "SELECT id, revision, data, ended FROM link WHERE (id, revision) > (?, ?) ORDER BY id, revision LIMIT ?"
	exportHooks   = "SELECT " + hookColumns + " FROM hook WHERE " + hooksToMove + " AND id > ? ORDER BY id"
	hooksToMove   = "state IN ('pending', 'unplaced')"
	exportThreads = "SELECT link, thread, reference, event FROM thread WHERE (link, thread) > (?, ?) ORDER BY link, thread LIMIT ?"
	exportJobs    = "SELECT " + jobColumns + " FROM job WHERE id > ? ORDER BY id LIMIT ?"
	exportSamples = "SELECT " + sampleColumns + `, span FROM sample WHERE (span, at, link, integration, type, scope) > (?, ?, ?, ?, ?, ?)
		ORDER BY span, at, link, integration, type, scope LIMIT ?`

	// Where key and until stand in exportEvents, after eventColumns.
	columnKey   = 14
	columnUntil = 15
)

// Totals counts what there is; see store.Exporter.
func (s *Store) Totals(ctx context.Context) (map[store.Part]int64, error) {
	out := map[store.Part]int64{}
	err := s.read(ctx, func(c *conn) error {
		for part, sql := range map[store.Part]string{
			store.PartTypes: "SELECT count(*) FROM event_type", store.PartKeys: "SELECT count(*) FROM api_key",
			store.PartLinks: "SELECT count(*) FROM link", store.PartLanes: "SELECT count(*) FROM lane", store.PartEvents: "SELECT count(*) FROM event",
			store.PartThreads: "SELECT count(*) FROM thread", store.PartJobs: "SELECT count(*) FROM job",
			store.PartConnections: "SELECT count(*) FROM connection", store.PartHooks: "SELECT count(*) FROM hook WHERE " + hooksToMove, store.PartSamples: "SELECT count(*) FROM sample",
			store.PartAudit: "SELECT count(*) FROM audit",
		} {
			n, err := c.number(sql)
			if err != nil {
				return err
			}
			out[part] = n
		}
		return nil
	})
	return out, err
}

// Export gives out a chunk; see store.Exporter.
func (s *Store) Export(ctx context.Context, part store.Part, from string, limit int) (*store.Chunk, error) {
	out := &store.Chunk{Part: part}
	var err error
	switch part {
	case store.PartTypes:
		out.Types, err = s.AllTypes(ctx)
	case store.PartKeys:
		out.Keys, err = s.AllKeys(ctx)
	case store.PartConnections:
		err = s.exportConnections(ctx, out, from, limit)
	case store.PartLanes:
		err = s.read(ctx, func(c *conn) error { return exportLanes(c, out) })
	default:
		run := map[store.Part]func(*conn, *store.Chunk, string, int) error{
			store.PartLinks: func(c *conn, out *store.Chunk, from string, limit int) error {
				return s.exportLinkRevisions(ctx, c, out, from, limit)
			},
			store.PartEvents: s.exportEvents, store.PartThreads: exportThreadReferences, store.PartHooks: exportOpenHooks,
			store.PartJobs: exportAllJobs, store.PartAudit: exportAudit, store.PartSamples: exportAllSamples,
		}[part]
		if run == nil {
			return nil, fmt.Errorf("there is no part %q", part)
		}
		err = s.read(ctx, func(c *conn) error { return run(c, out, from, limit) })
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", part, err)
	}
	return out, nil
}

// rows calls f for every row of a statement, and resets it.
func (s *stmt) rows(f func() error) error {
	defer s.reset()
	for {
		row, err := s.step()
		if err != nil || !row {
			return err
		}
		if err := f(); err != nil {
			return err
		}
	}
}

// ints reads a cursor of numbers; what is missing is the lowest there is.
func ints(from string, n int) ([]int64, error) {
	out := make([]int64, n)
	if from == "" {
		for i := range out {
			out[i] = math.MinInt64
		}
		return out, nil
	}
	for i, text := range strings.SplitN(from, " ", n) {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q does not say where to go on: %w", from, err)
		}
		out[i] = v
	}
	return out, nil
}

func exportLanes(c *conn, out *store.Chunk) error {
	st, err := c.prepare("SELECT link, drop_before, failing_since, failures, open_until FROM lane ORDER BY link")
	if err != nil {
		return err
	}
	return st.rows(func() error {
		out.Lanes = append(out.Lanes, store.Lane{
			Link: patchbay.LinkID(st.int(0)), DropBefore: patchbay.DeliveryID(st.int(1)), FailingSince: st.time(2), Failures: int(st.int(3)), OpenUntil: st.time(4),
		})
		return nil
	})
}

func (s *Store) exportLinkRevisions(ctx context.Context, c *conn, out *store.Chunk, from string, limit int) error {
	at, err := ints(from, 2)
	if err != nil {
		return err
	}
	st, err := c.prepare(exportLinks)
	if err != nil {
		return err
	}
	err = st.bind(1, at[0]).bind(2, at[1]).bind(3, int64(limit)).rows(func() error {
		l, err := s.linkOf(ctx, st)
		if err != nil {
			return err
		}
		out.Links = append(out.Links, store.LinkRevision{Link: *l, Ended: st.int(3)})
		return nil
	})
	if n := len(out.Links); n == limit {
		last := &out.Links[n-1].Link
		out.Next = fmt.Sprint(int64(last.ID), " ", last.Revision)
	}
	return err
}

func (s *Store) exportConnections(ctx context.Context, out *store.Chunk, from string, limit int) error {
	at, err := ints(from, 1)
	if err != nil {
		return err
	}
	out.Connections, err = s.Connections(ctx, store.ConnectionFilter{After: patchbay.ConnectionID(at[0]), Limit: limit})
	if n := len(out.Connections); n == limit {
		out.Next = strconv.FormatInt(int64(out.Connections[n-1].ID), 10)
	}
	return err
}

// exportOpenHooks gives out hooks that are still to be read.
func exportOpenHooks(c *conn, out *store.Chunk, from string, limit int) error {
	at, err := ints(from, 1)
	if err != nil {
		return err
	}
	st, err := c.prepare(exportHooks)
	if err != nil {
		return err
	}
	size, full := 0, false
	err = st.bind(1, at[0]).rows(func() error {
		if full {
			return errEnough
		}
		h, err := scanHook(st, true)
		if err != nil {
			return err
		}
		out.Hooks = append(out.Hooks, *h)
		size += len(h.Body)
		full = len(out.Hooks) == limit || size >= exportBytes
		return nil
	})
	if err == errEnough { //nolint:errorlint // it is never wrapped
		err = nil
	}
	if full {
		out.Next = strconv.FormatInt(int64(out.Hooks[len(out.Hooks)-1].ID), 10)
	}
	return err
}

func exportThreadReferences(c *conn, out *store.Chunk, from string, limit int) error {
	link, thread := int64(math.MinInt64), ""
	if from != "" {
		var quoted string
		if _, err := fmt.Sscanf(from, "%d %q", &link, &quoted); err != nil {
			return fmt.Errorf("%q does not say where to go on: %w", from, err)
		}
		thread = quoted
	}
	st, err := c.prepare(exportThreads)
	if err != nil {
		return err
	}
	err = st.bind(1, link).bindText(2, thread).bind(3, int64(limit)).rows(func() error {
		out.Threads = append(out.Threads, store.ThreadUpdateOf{Link: patchbay.LinkID(st.int(0)), ThreadUpdate: store.ThreadUpdate{
			Thread: st.str(1), Reference: st.str(2), Event: patchbay.EventID(st.int(3)),
		}})
		return nil
	})
	if n := len(out.Threads); n == limit {
		last := &out.Threads[n-1]
		out.Next = fmt.Sprintf("%d %q", int64(last.Link), last.Thread)
	}
	return err
}

func exportAllJobs(c *conn, out *store.Chunk, from string, limit int) error {
	at, err := ints(from, 1)
	if err != nil {
		return err
	}
	st, err := c.prepare(exportJobs)
	if err != nil {
		return err
	}
	err = st.bind(1, at[0]).bind(2, int64(limit)).rows(func() error {
		out.Jobs = append(out.Jobs, *scanJob(st))
		return nil
	})
	if n := len(out.Jobs); n == limit {
		out.Next = strconv.FormatInt(int64(out.Jobs[n-1].ID), 10)
	}
	return err
}

// sampleCursor is where to go on among samples.
type sampleCursor struct {
	Span, At, Link           int64
	Integration, Type, Scope string
}

func exportAllSamples(c *conn, out *store.Chunk, from string, limit int) error {
	at := sampleCursor{Span: math.MinInt64}
	if from != "" {
		if err := json.Unmarshal([]byte(from), &at); err != nil {
			return fmt.Errorf("%q does not say where to go on: %w", from, err)
		}
	}
	st, err := c.prepare(exportSamples)
	if err != nil {
		return err
	}
	st.bind(1, at.Span).bind(2, at.At).bind(3, at.Link).bindText(4, at.Integration).bindText(5, at.Type).bindText(6, at.Scope)
	err = st.bind(7, int64(limit)).rows(func() error {
		x := scanSample(st)
		if raw := st.raw(columnLatency); len(raw) > 0 {
			x.Latency = store.Latency{}
			if err := x.Latency.AddEncoded(raw); err != nil {
				return err
			}
		}
		out.Samples = append(out.Samples, x)
		at = sampleCursor{st.int(10), st.int(0), int64(x.Link), x.Integration, x.Type, string(x.Scope)}
		return nil
	})
	if err == nil && len(out.Samples) == limit {
		var b []byte
		b, err = json.Marshal(at)
		out.Next = string(b)
	}
	return err
}

// exportEvents gives out events with what is kept of their deliveries.
func (s *Store) exportEvents(c *conn, out *store.Chunk, from string, limit int) error {
	at, err := ints(from, 1)
	if err != nil {
		return err
	}
	st, err := c.prepare(exportEvents)
	if err != nil {
		return err
	}
	size, full := 0, false
	now := s.now()
	err = st.bind(1, at[0]).rows(func() error {
		if full {
			return errEnough
		}
		r, err := scanRecord(st)
		if err != nil {
			return err
		}
		m := store.MovedEvent{EventRecord: *r}
		if key := st.raw(columnKey); len(key) == 32 && st.time(columnUntil).After(now) {
			m.Idempotency = &store.Idempotency{Key: [16]byte(key[:16]), Body: [16]byte(key[16:]), Until: st.time(columnUntil)}
		}
		for i := range r.Targets {
			if err := exportDelivery(c, &m, patchbay.DeliveryAt(r.ID, i+1)); err != nil {
				return err
			}
		}
		out.Events = append(out.Events, m)
		size += len(r.Payload)
		full = len(out.Events) == limit || size >= exportBytes
		return nil
	})
	if err == errEnough { //nolint:errorlint // it is never wrapped
		err = nil
	}
	if full {
		out.Next = strconv.FormatInt(int64(out.Events[len(out.Events)-1].ID), 10)
	}
	return err
}

// errEnough ends a walk over rows.
var errEnough = fmt.Errorf("enough")

// exportDelivery adds what is kept of a delivery.
func exportDelivery(c *conn, m *store.MovedEvent, id patchbay.DeliveryID) error {
	for _, sql := range []string{attemptFirst, attemptLater} {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		err = st.bind(1, int64(id)).rows(func() error {
			a, err := scanAttempt(st)
			if err != nil {
				return err
			}
			m.Attempts = append(m.Attempts, store.MovedAttempt{Delivery: id, N: int(st.int(1)), State: stateOf(st.int(2)), Attempt: a})
			return nil
		})
		if err != nil {
			return err
		}
	}
	st, err := c.prepare(exportQueue)
	if err != nil {
		return err
	}
	return st.bind(1, int64(id)).rows(func() error {
		m.Queue = append(m.Queue, store.Place{
			Queued: store.Queued{
				Delivery: id, Event: patchbay.EventID(st.int(0)), Link: patchbay.LinkID(st.int(1)), Due: st.time(2),
				Attempts: int(st.int(3)), Used: int(st.int(4)), Thread: st.str(5),
			},
			Spared: patchbay.DeliveryID(st.int(6)),
		})
		return nil
	})
}

// scanAttempt reads a row of attemptColumns.
func scanAttempt(st *stmt) (patchbay.Attempt, error) {
	a := patchbay.Attempt{
		Verdict: verdictOf(st.int(3)), At: st.time(4), DurationMS: st.int(5), ErrorType: patchbay.Code(st.str(6)),
		Error: st.str(7), ResponseCode: int(st.int(8)), ResponseBody: st.str(10),
	}
	var err error
	a.Request, err = readRequest(st.raw(9))
	return a, err
}
