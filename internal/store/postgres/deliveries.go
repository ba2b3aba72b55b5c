package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// fanSpan is by how much a delivery may lie above its event: sixty thousand deliveries.
const fanSpan = 1 << 16 * patchbay.IDStep

const (
	// briefColumns are what of an event its deliveries show.
	briefColumns = "id, type, scope, targets"

	sqlBriefs       = "SELECT " + briefColumns + " FROM event WHERE id = ANY($1) AND targets IS NOT NULL"
	sqlBriefsBefore = "SELECT " + briefColumns + " FROM event WHERE id < $1 AND id >= $2 AND targets IS NOT NULL ORDER BY id DESC LIMIT $3"
	sqlFreshBefore  = "SELECT " + briefColumns + " FROM event WHERE id < $1 AND id >= $2 AND targets IS NOT NULL" +
		" AND (id & 1023) = ANY($4) ORDER BY id DESC LIMIT $3"

	// The event of a delivery is the next one below of the same node. The span bounds how many of other nodes lie between.
	sqlOwners = `SELECT x.delivery, e.id, e.type, e.scope, e.targets FROM unnest($1::bigint[]) AS x (delivery)
		CROSS JOIN LATERAL (SELECT ` + briefColumns + ` FROM event WHERE id < x.delivery AND id > x.delivery - $2 AND (id & 1023) = (x.delivery & 1023)
			ORDER BY id DESC LIMIT 1) e`

	// What became of deliveries: the last attempt or decision, and the place in the queue.
	sqlStates = `SELECT coalesce(a.n, 0), coalesce(a.state, 0), q.due, coalesce(q.attempts, 0), coalesce(q.spared, 0), coalesce(l.drop_before, 0), coalesce(q.used, 0)
		FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS x (delivery, link, nr)
		LEFT JOIN LATERAL (SELECT max(n) AS n, (array_agg(state ORDER BY seq DESC))[1] AS state FROM attempt WHERE attempt.delivery = x.delivery) a ON true
		LEFT JOIN queue q ON q.link = x.link AND q.delivery = x.delivery
		LEFT JOIN lane l ON l.link = x.link
		ORDER BY x.nr`

	sqlAttemptsOf = `SELECT a.delivery, a.at, a.duration, a.verdict, coalesce(a.error_type, ''), a.error, a.code, a.request, r.body
		FROM attempt a LEFT JOIN response r ON r.id = a.response WHERE a.delivery = ANY($1) ORDER BY a.delivery, a.seq`

	sqlAnswersOf = `SELECT x.delivery, r.body FROM unnest($1::bigint[]) AS x (delivery)
		CROSS JOIN LATERAL (SELECT response FROM attempt WHERE attempt.delivery = x.delivery ORDER BY seq DESC LIMIT 1) a
		JOIN response r ON r.id = a.response`

	sqlLastOf = `SELECT x.delivery, a.at, a.duration, a.verdict, coalesce(a.error_type, ''), a.error, a.code FROM unnest($1::bigint[]) AS x (delivery)
		CROSS JOIN LATERAL (SELECT at, duration, verdict, error_type, error, code FROM attempt
			WHERE attempt.delivery = x.delivery ORDER BY seq DESC LIMIT 1) a`
)

// brief is what of an event its deliveries show.
type brief struct {
	id      int64
	kind    string
	scope   patchbay.Scope
	targets []store.Target
}

func scanBrief(row pgx.CollectableRow) (b brief, err error) {
	var (
		scope   string
		targets []byte
	)
	if err := row.Scan(&b.id, &b.kind, &scope, &targets); err != nil {
		return b, err
	}
	b.scope = patchbay.Scope(scope)
	b.targets, err = readTargets(targets)
	return b, err
}

// candidate is a delivery whose state is not known yet: the i-th of an event, counting from 0.
type candidate struct {
	id    int64
	event *brief
	i     int
}

func (b *brief) candidate(i int) candidate {
	return candidate{int64(patchbay.DeliveryAt(patchbay.EventID(b.id), i+1)), b, i}
}

// ownersOf finds the events of deliveries. What has none is left out.
func ownersOf(ctx context.Context, q querier, deliveries []int64) ([]candidate, error) {
	if len(deliveries) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, sqlOwners, deliveries, int64(fanSpan))
	if err != nil {
		return nil, err
	}
	var out []candidate
	events := make(map[int64]*brief)
	var (
		b       brief
		id      int64
		scope   string
		targets []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &b.id, &b.kind, &scope, &targets}, func() (err error) {
		e := events[b.id]
		if e == nil {
			e = &brief{id: b.id, kind: b.kind, scope: patchbay.Scope(scope)}
			if e.targets, err = readTargets(targets); err != nil {
				return err
			}
			events[b.id] = e
		}
		if i := int((id-e.id)/patchbay.IDStep) - 1; i < len(e.targets) {
			out = append(out, candidate{id, e, i})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b candidate) int { return descending(a.id, b.id) })
	return out, err
}

// describe makes deliveries of candidates, without their attempts.
func describe(ctx context.Context, q querier, all []candidate) ([]patchbay.Delivery, error) {
	ids, links := make([]int64, len(all)), make([]int64, len(all))
	for i, c := range all {
		ids[i], links[i] = c.id, int64(c.event.targets[c.i].Link)
	}
	rows, err := q.Query(ctx, sqlStates, ids, links)
	if err != nil {
		return nil, err
	}
	out := make([]patchbay.Delivery, 0, len(all))
	var (
		n, tries, used  int
		code            int16
		due             *time.Time
		spared, dropped int64
	)
	_, err = pgx.ForEachRow(rows, []any{&n, &code, &due, &tries, &spared, &dropped, &used}, func() error {
		c := all[len(out)]
		t := &c.event.targets[c.i]
		d := patchbay.Delivery{
			ID: patchbay.DeliveryID(c.id), Event: patchbay.EventID(c.event.id), EventType: c.event.kind, Scope: c.event.scope,
			Link: t.Link, Integration: t.Integration, Revision: t.Revision, State: stateOf(code), AttemptCount: n,
		}
		switch {
		case due != nil && c.id < dropped && spared < dropped:
			d.State = patchbay.DeliveryCancelled
		case due != nil:
			at := due.UTC()
			d.State, d.NextAttemptAt, d.AttemptCount, d.Used = patchbay.DeliveryPending, &at, max(n, tries), used
		case d.State == patchbay.DeliveryPending && c.id < dropped:
			d.State = patchbay.DeliveryCancelled
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

// withAttempts adds the attempts.
func withAttempts(ctx context.Context, q querier, all []patchbay.Delivery) error {
	ids, at := make([]int64, len(all)), make(map[int64]int, len(all))
	for i := range all {
		ids[i] = int64(all[i].ID)
		at[ids[i]] = i
	}
	rows, err := q.Query(ctx, sqlAttemptsOf, ids)
	if err != nil {
		return err
	}
	var (
		id                       int64
		when                     *time.Time
		duration                 int64
		verdict                  int16
		kind                     string
		failure, request, answer []byte
		code                     int
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &when, &duration, &verdict, &kind, &failure, &code, &request, &answer}, func() (err error) {
		a := patchbay.Attempt{
			At: utc(when), DurationMS: duration, Verdict: verdictOf(verdict), ErrorType: patchbay.Code(kind), Error: string(failure),
			ResponseCode: code, ResponseBody: string(answer),
		}
		if a.Request, err = readRequest(request); err != nil {
			return err
		}
		d := &all[at[id]]
		d.Attempts = append(d.Attempts, a)
		return nil
	})
	return err
}

// Delivery returns a delivery; see store.Deliveries.
func (s *Store) Delivery(ctx context.Context, id patchbay.DeliveryID) (d *patchbay.Delivery, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		owner, err := ownersOf(ctx, tx, []int64{int64(id)})
		if err != nil {
			return err
		}
		if len(owner) == 0 {
			return store.ErrNotFound
		}
		out, err := describe(ctx, tx, owner)
		if err != nil {
			return err
		}
		d = &out[0]
		return withAttempts(ctx, tx, out)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// OfEvent returns the deliveries of an event; see store.Deliveries.
func (s *Store) OfEvent(ctx context.Context, id patchbay.EventID) (out []patchbay.Delivery, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		all, err := deliveriesOf(ctx, tx, int64(id))
		if err != nil {
			return err
		}
		if len(all) == 0 {
			found, err := readEvents(ctx, tx, []int64{int64(id)})
			if err == nil && len(found) == 0 {
				err = store.ErrNotFound
			}
			return err
		}
		if out, err = describe(ctx, tx, all); err != nil {
			return err
		}
		return withAttempts(ctx, tx, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// deliveriesOf returns the deliveries of an event, in order.
func deliveriesOf(ctx context.Context, q querier, id int64) ([]candidate, error) {
	rows, err := q.Query(ctx, sqlBriefs, []int64{id})
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, scanBrief)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var out []candidate
	for i := range found[0].targets {
		out = append(out, found[0].candidate(i))
	}
	return out, nil
}

// Thread returns what is remembered of a thread; see store.Deliveries.
func (s *Store) Thread(ctx context.Context, link patchbay.LinkID, thread string) (out store.ThreadState, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		var (
			reference []byte
			event     int64
		)
		err := c.QueryRow(ctx, "SELECT reference, event FROM thread WHERE link = $1 AND thread = $2", int64(link), []byte(thread)).Scan(&reference, &event)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		out = store.ThreadState{Reference: string(reference), Event: patchbay.EventID(event)}
		return err
	})
	return out, err
}

// LastAttempts returns how each of some deliveries went last; see store.Deliveries.
func (s *Store) LastAttempts(ctx context.Context, ids []patchbay.DeliveryID) (out map[patchbay.DeliveryID]patchbay.Attempt, err error) {
	raw := make([]int64, len(ids))
	for i, id := range ids {
		raw[i] = int64(id)
	}
	err = s.query(ctx, func(c *pgx.Conn) error {
		out = make(map[patchbay.DeliveryID]patchbay.Attempt, len(ids))
		rows, err := c.Query(ctx, sqlLastOf, raw)
		if err != nil {
			return err
		}
		var (
			id, duration int64
			when         *time.Time
			verdict      int16
			kind         string
			failure      []byte
			code         int
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &when, &duration, &verdict, &kind, &failure, &code}, func() error {
			out[patchbay.DeliveryID(id)] = patchbay.Attempt{
				At: utc(when), DurationMS: duration, Verdict: verdictOf(verdict), ErrorType: patchbay.Code(kind), Error: string(failure),
				ResponseCode: code,
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Answers returns what was answered to last attempts; see store.Deliveries.
func (s *Store) Answers(ctx context.Context, ids []patchbay.DeliveryID) (out map[patchbay.DeliveryID]string, err error) {
	raw := make([]int64, len(ids))
	for i, id := range ids {
		raw[i] = int64(id)
	}
	err = s.query(ctx, func(c *pgx.Conn) error {
		out = make(map[patchbay.DeliveryID]string, len(ids))
		rows, err := c.Query(ctx, sqlAnswersOf, raw)
		if err != nil {
			return err
		}
		var (
			id   int64
			body []byte
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &body}, func() error {
			out[patchbay.DeliveryID(id)] = string(body)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Deliveries lists deliveries; see store.Deliveries.
func (s *Store) Deliveries(ctx context.Context, f store.DeliveryFilter) (out []patchbay.Delivery, err error) {
	err = s.read(ctx, func(tx pgx.Tx) error {
		out = nil
		l, err := newListing(ctx, tx, &f)
		if err != nil {
			return err
		}
		for want := f.Limit; len(out) < f.Limit; want = min(2*want, listingMost) {
			all, err := l.next(min(max(want, listingLeast), listingMost))
			if err != nil || len(all) == 0 {
				return err
			}
			found, err := describe(ctx, tx, all)
			if err != nil {
				return err
			}
			for i := range found {
				if l.wants(&found[i]) && len(out) < f.Limit {
					out = append(out, found[i])
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// wants checks what of the filter concerns the delivery itself.
func (l *listing) wants(d *patchbay.Delivery) bool {
	f := l.f
	if d.State == patchbay.DeliveryPending && f.Held != nil && f.Held(d.Link) {
		d.State = patchbay.DeliveryHeld
	}
	return (len(f.States) == 0 || slices.Contains(f.States, d.State)) &&
		(f.Link == 0 || d.Link == f.Link) &&
		(len(f.Links) == 0 || slices.Contains(f.Links, d.Link)) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, d.EventType)) &&
		(f.Integration == "" || d.Integration == f.Integration) &&
		f.Within.Contains(d.Scope) && int64(d.Event) >= l.from
}
