package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var _ store.Statistics = (*Store)(nil)

// The spans of samples, in minutes.
const (
	spanMinute = 1
	spanHour   = 60
)

const (
	sampleColumns = "at, link, integration, type, scope, accepted, delivered, failed, attempts, latency"
	samplesOf     = "SELECT " + sampleColumns + " FROM sample WHERE span = ? AND at >= ? AND at < ?"
	samplesOfLink = "SELECT " + sampleColumns + " FROM sample INDEXED BY sample_link WHERE link > 0 AND link = ? AND span = ? AND at >= ? AND at < ?"
	sampleLatency = "SELECT latency FROM sample WHERE span = ? AND at = ? AND link = ? AND integration = ? AND type = ? AND scope = ?"
	putSample     = `INSERT INTO sample (span, ` + sampleColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted, delivered = delivered + excluded.delivered,
			failed = failed + excluded.failed, attempts = attempts + excluded.attempts, latency = excluded.latency`
	oldestMinutes = "SELECT " + sampleColumns + ` FROM sample WHERE span = 1 AND at < ?
		ORDER BY span, at, link, integration, type, scope LIMIT ?`
	deleteSample = "DELETE FROM sample WHERE span = ? AND at = ? AND link = ? AND integration = ? AND type = ? AND scope = ?"
	oldSamples   = "SELECT " + sampleColumns + ` FROM sample WHERE span = ? AND at < ?
		ORDER BY span, at, link, integration, type, scope LIMIT ?`

	queueOldest = `SELECT min(delivery), count(*) FROM (SELECT delivery FROM queue INDEXED BY queue_due
		WHERE link = ? AND delivery >= ? LIMIT ?)`
	queueOldestSpared = `SELECT min(delivery), count(*) FROM queue INDEXED BY queue_spared
		WHERE link = ? AND delivery < ? AND spared >= ?`
)

// AddSamples adds samples; see store.Statistics.
func (s *Store) AddSamples(ctx context.Context, samples []store.Sample) error {
	if len(samples) == 0 {
		return nil
	}
	return s.do(ctx, func(c *conn) error {
		for i := range samples {
			x := &samples[i]
			if err := addSample(c, spanMinute, floorMinutes(x.At, spanMinute), x); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// floorMinutes returns the minutes since 1970 at which the span that t is in began.
func floorMinutes(t time.Time, span int64) int64 {
	m := int64(math.Floor(float64(t.Unix()) / 60))
	return m - ((m%span)+span)%span
}

// bindSample binds what a sample's row is found by, from the second parameter on.
func bindSample(st *stmt, span, at int64, x *store.Sample) *stmt {
	st.bind(1, span).bind(2, at).bind(3, int64(x.Link))
	return st.bindText(4, x.Integration).bindText(5, x.Type).bindText(6, string(x.Scope))
}

// addSample adds what x counts to its row, and makes that when there is none.
func addSample(c *conn, span, at int64, x *store.Sample) error {
	latency := x.Latency
	st, err := c.prepare(sampleLatency)
	if err != nil {
		return err
	}
	row, err := bindSample(st, span, at, x).step()
	if err == nil && row && !st.isNull(0) {
		latency = make(store.Latency, len(x.Latency))
		for bucket, n := range x.Latency {
			latency[bucket] = n
		}
		err = latency.AddEncoded(st.raw(0))
	}
	st.reset()
	if err != nil {
		return err
	}
	if st, err = c.prepare(putSample); err != nil {
		return err
	}
	bindSample(st, span, at, x).bind(7, x.Accepted).bind(8, x.Delivered).bind(9, x.Failed).bind(10, x.Attempts)
	return st.bindBlob(11, latency.Encode(nil)).run()
}

// scanSample reads a row of sampleColumns without its latencies.
func scanSample(st *stmt) store.Sample {
	return store.Sample{
		At: time.Unix(60*st.int(0), 0).UTC(), Link: patchbay.LinkID(st.int(1)), Integration: st.str(2), Type: st.str(3),
		Scope: patchbay.Scope(st.str(4)), Accepted: st.int(5), Delivered: st.int(6), Failed: st.int(7), Attempts: st.int(8),
	}
}

const columnLatency = 9

// Samples adds samples up; see store.Statistics.
func (s *Store) Samples(ctx context.Context, f store.StatFilter, step time.Duration, by string) ([]store.Sample, error) {
	until := int64(math.MaxInt64)
	if !f.Until.IsZero() {
		until = floorMinutes(f.Until.Add(time.Minute-1), spanMinute)
	}
	since := int64(math.MinInt64)
	if !f.Since.IsZero() {
		since = floorMinutes(f.Since.Add(time.Minute-1), spanMinute)
	}
	sums := &sampleSums{filter: &f, step: step, by: by, at: map[sumKey]int{}}
	links := f.Of()
	err := s.read(ctx, func(c *conn) error {
		for _, span := range []int64{spanMinute, spanHour} {
			if links == nil {
				st, err := c.prepare(samplesOf)
				if err != nil {
					return err
				}
				if err := sums.add(ctx, st.bind(1, span).bind(2, since).bind(3, until)); err != nil {
					return err
				}
			}
			for _, link := range links {
				st, err := c.prepare(samplesOfLink)
				if err != nil {
					return err
				}
				if err := sums.add(ctx, st.bind(1, int64(link)).bind(2, span).bind(3, since).bind(4, until)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	slices.SortStableFunc(sums.out, func(a, b store.Sample) int { return a.At.Compare(b.At) })
	return sums.out, err
}

// sampleSums adds rows up.
type sampleSums struct {
	filter *store.StatFilter
	step   time.Duration
	by     string
	at     map[sumKey]int // index in out
	out    []store.Sample
}

// sumKey is what of store.Sample.Key differs between sums.
type sumKey struct {
	at   int64
	link patchbay.LinkID
	text string
}

// add reads a statement to its end and resets it. Texts are compared before they are copied: most rows join a sum.
func (s *sampleSums) add(ctx context.Context, st *stmt) error {
	defer st.reset()
	integration, kind, within := []byte(s.filter.Integration), []byte(s.filter.Type), s.filter.Within
	for n := 0; ; n++ {
		row, err := st.step()
		if err != nil || !row {
			return err
		}
		if n%4096 == 4095 && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(integration) > 0 && !bytes.Equal(st.raw(2), integration) ||
			len(kind) > 0 && !bytes.Equal(st.raw(3), kind) || within != "" && !within.Contains(patchbay.Scope(st.raw(4))) {
			continue
		}
		x := store.Sample{At: time.Unix(60*st.int(0), 0)}
		switch s.by {
		case store.ByLink:
			x.Link = patchbay.LinkID(st.int(1))
		case store.ByIntegration:
			x.Integration = st.str(2)
		case store.ByType:
			x.Type = st.str(3)
		case store.ByScope:
			x.Scope = patchbay.Scope(st.str(4))
		}
		sum := s.sum(x.Key(s.step, s.by))
		sum.Accepted += st.int(5)
		sum.Delivered += st.int(6)
		sum.Failed += st.int(7)
		sum.Attempts += st.int(8)
		if raw := st.raw(columnLatency); len(raw) > 0 {
			if sum.Latency == nil {
				sum.Latency = store.Latency{}
			}
			if err := sum.Latency.AddEncoded(raw); err != nil {
				return err
			}
		}
	}
}

func (s *sampleSums) sum(key store.Sample) *store.Sample {
	k := sumKey{key.At.Unix(), key.Link, key.Integration + key.Type + string(key.Scope)} // at most one of them is set
	i, ok := s.at[k]
	if !ok {
		i = len(s.out)
		s.at[k] = i
		s.out = append(s.out, key)
	}
	return &s.out[i]
}

// RollUpSamples turns minutes into hours; see store.Statistics.
func (s *Store) RollUpSamples(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	err = s.do(ctx, func(c *conn) error {
		old, err := takeSamples(c, oldestMinutes, func(st *stmt) {
			st.bind(1, floorMinutes(before, spanHour)).bind(2, int64(limit))
		})
		if err != nil {
			return err
		}
		more = len(old) == limit
		for i := range old {
			x := &old[i]
			if err := deleteSampleRow(c, spanMinute, x); err != nil {
				return err
			}
			if err := addSample(c, spanHour, floorMinutes(x.At, spanHour), x); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	return more, err
}

// PruneSamples forgets old samples; see store.Statistics.
func (s *Store) PruneSamples(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	err = s.do(ctx, func(c *conn) error {
		more = false
		for _, span := range []int64{spanMinute, spanHour} {
			old, err := takeSamples(c, oldSamples, func(st *stmt) {
				st.bind(1, span).bind(2, floorMinutes(before, spanHour)).bind(3, int64(limit))
			})
			if err != nil {
				return err
			}
			more = more || len(old) == limit
			for i := range old {
				if err := deleteSampleRow(c, span, &old[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil)
	return more, err
}

// takeSamples reads rows that are about to be changed.
func takeSamples(c *conn, sql string, bind func(*stmt)) (out []store.Sample, err error) {
	st, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	defer st.reset()
	bind(st)
	for {
		row, err := st.step()
		if err != nil || !row {
			return out, err
		}
		x := scanSample(st)
		if raw := st.raw(columnLatency); len(raw) > 0 {
			x.Latency = store.Latency{}
			if err := x.Latency.AddEncoded(raw); err != nil {
				return out, err
			}
		}
		out = append(out, x)
	}
}

func deleteSampleRow(c *conn, span int64, x *store.Sample) error {
	st, err := c.prepare(deleteSample)
	if err != nil {
		return err
	}
	return bindSample(st, span, floorMinutes(x.At, spanMinute), x).run()
}

// OldestWaiting tells what has waited longest; see store.Statistics.
func (s *Store) OldestWaiting(ctx context.Context, limit int) ([]store.Backlog, error) {
	type oldest struct {
		store.Backlog
		delivery int64
	}
	var all []oldest
	err := s.read(ctx, func(c *conn) error {
		all = all[:0]
		for link := int64(math.MinInt64); ; {
			next, err := c.prepare(queueNextLink)
			if err != nil {
				return err
			}
			row, err := next.bind(1, link).step()
			if row {
				link = next.int(0)
			}
			next.reset()
			if err != nil {
				return err
			}
			if !row {
				break
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			x := oldest{Backlog: store.Backlog{Link: patchbay.LinkID(link)}}
			if x.delivery, x.Count, err = s.oldestOf(c, patchbay.LinkID(link)); err != nil {
				return err
			}
			if x.Count > 0 {
				all = append(all, x)
			}
		}
		slices.SortFunc(all, func(a, b oldest) int { return cmp.Compare(a.delivery, b.delivery) })
		all = all[:min(len(all), limit)]
		for i := range all {
			st, err := c.prepare("SELECT event FROM queue WHERE delivery = ?")
			if err != nil {
				return err
			}
			_, err = st.bind(1, all[i].delivery).step()
			all[i].Oldest = patchbay.EventID(st.int(0))
			st.reset()
			if err != nil {
				return err
			}
		}
		return nil
	})
	out := make([]store.Backlog, len(all))
	for i := range all {
		out[i] = all[i].Backlog
	}
	return out, err
}

// oldestOf returns the lowest delivery of a link that waits, and how many do. What the lane has dropped does not.
func (s *Store) oldestOf(c *conn, link patchbay.LinkID) (delivery int64, count int, err error) {
	before := int64(s.lanes.drop(link).before)
	st, err := c.prepare(queueOldest)
	if err != nil {
		return 0, 0, err
	}
	_, err = st.bind(1, int64(link)).bind(2, before).bind(3, store.BacklogCounted).step()
	delivery, count = st.int(0), int(st.int(1))
	st.reset()
	if err != nil || before == 0 {
		return delivery, count, err
	}
	if st, err = c.prepare(queueOldestSpared); err != nil {
		return 0, 0, err
	}
	defer st.reset()
	if _, err = st.bind(1, int64(link)).bind(2, before).bind(3, before).step(); err != nil {
		return 0, 0, err
	}
	if n := int(st.int(1)); n > 0 {
		delivery, count = st.int(0), min(count+n, store.BacklogCounted)
	}
	return delivery, count, nil
}
