package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Statistics = (*Store)(nil)

// The spans of samples, in minutes.
const (
	spanMinute = 1
	spanHour   = 60
)

// Samples are appended and added up when they are read, so nodes never wait for each other's. Once they are hours old they
// become one row for each hour and combination.

const (
	sampleColumns = "minute, link, integration, type, scope, accepted, delivered, failed, attempts, latency"

	sqlSamplesOf = sqlSamples + " AND link > 0"
	sqlSamples   = "SELECT " + sampleColumns + ` FROM sample WHERE minute >= coalesce($1::timestamptz, '-infinity') AND minute < coalesce($2::timestamptz, 'infinity')
		AND ($3::bigint[] IS NULL OR link = ANY($3)) AND ($4 = '' OR scope = $4 OR scope >= $4 || '/' AND scope < $4 || '0') AND ($5 = '' OR integration = $5) AND ($6 = '' OR type = $6)`
	sqlTakeMinutes = `DELETE FROM sample WHERE ctid = ANY(ARRAY(SELECT ctid FROM sample WHERE span = 1 AND minute < $1 ORDER BY minute LIMIT $2)) RETURNING ` + sampleColumns
	sqlTakeHours   = `DELETE FROM sample s USING unnest($1::timestamptz[], $2::bigint[], $3::text[], $4::text[], $5::text[]) AS x (minute, link, integration, type, scope)
		WHERE s.span = 60 AND s.minute = x.minute AND s.link = x.link AND s.integration = x.integration AND s.type = x.type AND s.scope = x.scope
		RETURNING s.minute, s.link, s.integration, s.type, s.scope, s.accepted, s.delivered, s.failed, s.attempts, s.latency`

	// The links in the queue are looked up one after the other, and of each the first places by its index.
	sqlOldestWaiting = `WITH RECURSIVE l AS (
			(SELECT link FROM queue ORDER BY link LIMIT 1)
			UNION ALL SELECT (SELECT q.link FROM queue q WHERE q.link > l.link ORDER BY q.link LIMIT 1) FROM l WHERE l.link IS NOT NULL
		), o AS (
			SELECT l.link, coalesce(lane.drop_before, 0) AS dropped, f.delivery, f.event FROM l LEFT JOIN lane USING (link)
			CROSS JOIN LATERAL (SELECT * FROM (
				(SELECT delivery, event FROM queue WHERE link = l.link AND delivery >= coalesce(lane.drop_before, 0) ORDER BY delivery LIMIT 1)
				UNION ALL (SELECT delivery, event FROM queue WHERE link = l.link AND delivery < lane.drop_before AND spared IS NOT NULL
					AND spared >= lane.drop_before ORDER BY delivery LIMIT 1)) AS x ORDER BY delivery LIMIT 1) AS f
			ORDER BY f.delivery LIMIT $1
		)
		SELECT link, event, least($2, (SELECT count(*) FROM (SELECT FROM queue q WHERE q.link = o.link AND q.delivery >= o.dropped LIMIT $2) AS a)
			+ (SELECT count(*) FROM (SELECT FROM queue q WHERE q.link = o.link AND q.delivery < o.dropped AND q.spared IS NOT NULL AND q.spared >= o.dropped LIMIT $2) AS b))
		FROM o ORDER BY delivery`
)

// scanSample reads a row of sampleColumns.
func scanSample(row pgx.CollectableRow) (x store.Sample, err error) {
	var (
		scope   string
		latency []byte
	)
	err = row.Scan(&x.At, &x.Link, &x.Integration, &x.Type, &scope, &x.Accepted, &x.Delivered, &x.Failed, &x.Attempts, &latency)
	if err != nil {
		return x, err
	}
	x.At, x.Scope = x.At.UTC(), patchbay.Scope(scope)
	if len(latency) > 0 {
		x.Latency = store.Latency{}
		err = x.Latency.AddEncoded(latency)
	}
	return x, err
}

// insertSamples appends rows.
func insertSamples(ctx context.Context, tx pgx.Tx, span int16, samples []store.Sample) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"sample"},
		[]string{"span", "minute", "link", "integration", "type", "scope", "accepted", "delivered", "failed", "attempts", "latency"},
		pgx.CopyFromSlice(len(samples), func(i int) ([]any, error) {
			x := &samples[i]
			return []any{
				span, x.At, int64(x.Link), plain(x.Integration), plain(x.Type), plain(string(x.Scope)), x.Accepted, x.Delivered, x.Failed, x.Attempts, x.Latency.Encode(nil),
			}, nil
		}))
	return err
}

// AddSamples adds samples; see store.Statistics.
func (s *Store) AddSamples(ctx context.Context, samples []store.Sample) error {
	if len(samples) == 0 {
		return nil
	}
	samples = slices.Clone(samples)
	for i := range samples {
		samples[i].At = samples[i].Key(time.Minute, store.ByNothing).At
	}
	return s.write(ctx, func(tx pgx.Tx) error { return insertSamples(ctx, tx, spanMinute, samples) })
}

// sums adds samples up by what they are told apart by.
type sums struct {
	at  map[sumKey]int // index in out
	out []store.Sample
}

type sumKey struct {
	at                       int64
	link                     patchbay.LinkID
	integration, kind, scope string
}

// add adds what x counts to the sum that has the words of key.
func (s *sums) add(key, x *store.Sample) {
	k := sumKey{key.At.Unix(), key.Link, key.Integration, key.Type, string(key.Scope)}
	i, ok := s.at[k]
	if !ok {
		i = len(s.out)
		s.at[k] = i
		s.out = append(s.out, store.Sample{At: key.At, Link: key.Link, Integration: key.Integration, Type: key.Type, Scope: key.Scope})
	}
	s.out[i].Add(x)
}

// Samples adds samples up; see store.Statistics.
func (s *Store) Samples(ctx context.Context, f store.StatFilter, step time.Duration, by string) ([]store.Sample, error) {
	all := sums{at: make(map[sumKey]int)}
	sql, links := sqlSamples, []int64(nil)
	if of := f.Of(); of != nil {
		sql, links = sqlSamplesOf, make([]int64, len(of))
		for i, id := range of {
			links[i] = int64(id)
		}
	}
	err := s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, orNull(f.Since), orNull(f.Until), links, string(f.Within), plain(f.Integration), plain(f.Type))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			x, err := scanSample(rows)
			if err != nil {
				return err
			}
			key := x.Key(step, by)
			all.add(&key, &x)
		}
		return rows.Err()
	})
	slices.SortStableFunc(all.out, func(a, b store.Sample) int { return a.At.Compare(b.At) })
	return all.out, err
}

// RollUpSamples turns minutes into hours; see store.Statistics.
func (s *Store) RollUpSamples(ctx context.Context, before time.Time, limit int) (bool, error) {
	return s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		rows, err := tx.Query(ctx, sqlTakeMinutes, before, limit)
		if err != nil {
			return false, err
		}
		old, err := pgx.CollectRows(rows, scanSample)
		if err != nil || len(old) == 0 {
			return false, err
		}
		hours := sums{at: make(map[sumKey]int)}
		for i := range old {
			key := old[i]
			key.At = key.Key(time.Hour, store.ByNothing).At
			hours.add(&key, &old[i])
		}
		var (
			at                         []time.Time
			links                      []int64
			integrations, types, areas []string
		)
		for i := range hours.out {
			x := &hours.out[i]
			at, links, integrations = append(at, x.At), append(links, int64(x.Link)), append(integrations, x.Integration)
			types, areas = append(types, x.Type), append(areas, string(x.Scope))
		}
		if rows, err = tx.Query(ctx, sqlTakeHours, at, links, integrations, types, areas); err != nil {
			return false, err
		}
		former, err := pgx.CollectRows(rows, scanSample)
		if err != nil {
			return false, err
		}
		for i := range former {
			hours.add(&former[i], &former[i])
		}
		return len(old) == limit, insertSamples(ctx, tx, spanHour, hours.out)
	})
}

// PruneSamples forgets old samples; see store.Statistics.
func (s *Store) PruneSamples(ctx context.Context, before time.Time, limit int) (bool, error) {
	return s.deleted(ctx, int64(limit), "DELETE FROM sample WHERE ctid = ANY(ARRAY(SELECT ctid FROM sample WHERE minute < $1 ORDER BY minute LIMIT $2))", before, limit)
}

// OldestWaiting tells what has waited longest; see store.Statistics.
func (s *Store) OldestWaiting(ctx context.Context, limit int) (out []store.Backlog, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sqlOldestWaiting, limit, store.BacklogCounted)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (b store.Backlog, err error) {
			return b, row.Scan(&b.Link, &b.Oldest, &b.Count)
		})
		return err
	})
	return out, err
}
