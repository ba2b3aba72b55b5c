package stats

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// settledAfter is how long ago a minute must be for its figures to be remembered: nodes hand over every ten seconds.
	settledAfter = 10 * time.Minute
	// pastFor is how long what is remembered is believed: a node that could not hand over for long is in it after that.
	pastFor = 30 * time.Minute
	// pastMost bounds how many selections are remembered. One takes some 300 KB when every minute has figures.
	pastMost = 16
)

// past remembers sums that no longer change, so that a look at a month reads the last minutes only. s.mu guards it.
type past struct {
	of map[pastKey]*pastSums
	// turn counts how often everything was forgotten.
	turn int
}

// pastKey is what of a filter selects, beside the time.
type pastKey struct {
	within            patchbay.Scope
	kind, integration string
}

func (k pastKey) filter() store.StatFilter {
	return store.StatFilter{Within: k.within, Type: k.kind, Integration: k.integration}
}

// pastSums are the sums of one selection: of single minutes of the last day, and of hours before.
type pastSums struct {
	born, used     time.Time
	minutes, hours pastSpan
}

// pastSpan are the sums of the steps between two times, by when they began.
type pastSpan struct {
	from, until time.Time
	sums        map[int64]pastSum
}

// pastSum is a store.Sample without its keys, and small.
type pastSum struct {
	accepted, delivered, failed, attempts int64
	latency                               []byte
}

// forget is called when something was counted late.
func (p *past) forget() { p.of, p.turn = nil, p.turn+1 }

// sums returns what is remembered of a selection. The one that was used least recently makes room.
func (p *past) sums(key pastKey, now time.Time) *pastSums {
	x := p.of[key]
	if x == nil || now.Sub(x.born) > 2*pastFor || now.Before(x.born) {
		x = &pastSums{born: now}
		if p.of == nil {
			p.of = map[pastKey]*pastSums{}
		}
		if len(p.of) >= pastMost {
			delete(p.of, slices.MinFunc(slices.Collect(maps.Keys(p.of)), func(a, b pastKey) int { return p.of[a].used.Compare(p.of[b].used) }))
		}
		p.of[key] = x
	}
	x.used = now
	return x
}

// fill reads what is missing between two times, in steps.
func (x *pastSpan) fill(ctx context.Context, db store.Statistics, f store.StatFilter, step time.Duration, since, until time.Time) error {
	if !since.Before(until) {
		return nil
	}
	from := x.until
	if x.sums == nil || since.Before(x.from) || since.After(x.until) {
		x.sums, x.from, x.until = map[int64]pastSum{}, since, since
		from = since
	}
	if !from.Before(until) {
		return nil
	}
	f.Since, f.Until = from, until
	samples, err := db.Samples(ctx, f, step, store.ByNothing)
	if err != nil {
		x.sums = nil
		return err
	}
	for i := range samples {
		s := &samples[i]
		x.sums[s.At.Unix()] = pastSum{s.Accepted, s.Delivered, s.Failed, s.Attempts, slices.Clip(s.Latency.Encode(nil))}
	}
	x.until = until
	return nil
}

// add adds what is known between two times to sums of steps.
func (x *pastSpan) add(to map[int64]*store.Sample, step time.Duration, since, until time.Time) error {
	for at, sum := range x.sums {
		if at < since.Unix() || at >= until.Unix() {
			continue
		}
		key := (&store.Sample{At: time.Unix(at, 0)}).Key(step, store.ByNothing)
		s := to[key.At.Unix()]
		if s == nil {
			s = &key
			to[key.At.Unix()] = s
		}
		s.Accepted += sum.accepted
		s.Delivered += sum.delivered
		s.Failed += sum.failed
		s.Attempts += sum.attempts
		if len(sum.latency) > 0 {
			if s.Latency == nil {
				s.Latency = store.Latency{}
			}
			if err := s.Latency.AddEncoded(sum.latency); err != nil {
				return err
			}
		}
	}
	return nil
}

// trim forgets what nobody can ask for any more.
func (x *pastSpan) trim(before time.Time) {
	if x.from.Before(before) && x.sums != nil {
		maps.DeleteFunc(x.sums, func(at int64, _ pastSum) bool { return at < before.Unix() })
		x.from = before
		if x.until.Before(before) {
			x.sums = nil
		}
	}
}

// fromPast is store.Samples, by what is remembered as far as that goes. s.mu is held.
func (s *Service) fromPast(ctx context.Context, f store.StatFilter, step time.Duration) ([]store.Sample, error) {
	now := s.o.Now()
	x := s.past.sums(pastKey{f.Within, f.Type, f.Integration}, now)
	day := now.Add(-MinutesFor).Truncate(time.Hour)
	settled := now.Add(-settledAfter).Truncate(time.Minute)
	if f.Until.Before(settled) {
		settled = f.Until
	}
	minutesFrom := f.Since
	if step%time.Hour == 0 && minutesFrom.Before(day) {
		minutesFrom = day
	}
	sums := map[int64]*store.Sample{}
	if hoursUntil := minTime(day, f.Until); f.Since.Before(minutesFrom) && f.Since.Before(hoursUntil) {
		if err := x.hours.fill(ctx, s.o.Store, f, time.Hour, f.Since, hoursUntil); err != nil {
			return nil, err
		}
		if err := x.hours.add(sums, step, f.Since, hoursUntil); err != nil {
			return nil, err
		}
	}
	if minutesFrom.Before(settled) {
		if err := x.minutes.fill(ctx, s.o.Store, f, time.Minute, minutesFrom, settled); err != nil {
			return nil, err
		}
		if err := x.minutes.add(sums, step, minutesFrom, settled); err != nil {
			return nil, err
		}
	} else {
		settled = minutesFrom
	}
	x.minutes.trim(now.Add(-keepMinutes - time.Hour))
	x.hours.trim(now.Add(-KeptFor - time.Hour))
	var out []store.Sample
	if settled.Before(f.Until) {
		fresh := f
		fresh.Since = settled
		var err error
		if out, err = s.o.Store.Samples(ctx, fresh, step, store.ByNothing); err != nil {
			return nil, err
		}
	}
	for _, sum := range sums {
		out = append(out, *sum)
	}
	return out, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// remember reads what the whole installation did in the last month, and again what has been remembered for long, so that nobody
// waits for it.
func (s *Service) remember(ctx context.Context) error {
	now := s.o.Now()
	s.mu.Lock()
	keys := []pastKey{}
	for key, x := range s.past.of {
		if key != (pastKey{}) && now.Sub(x.born) > pastFor {
			if now.Sub(x.used) > pastFor {
				delete(s.past.of, key)
				continue
			}
			keys = append(keys, key)
		}
	}
	if x := s.past.of[pastKey{}]; x == nil || now.Sub(x.born) > pastFor {
		keys = append(keys, pastKey{})
	}
	turn := s.past.turn
	s.mu.Unlock()
	for _, key := range keys {
		x := &pastSums{born: now, used: now}
		day := now.Add(-MinutesFor).Truncate(time.Hour)
		if err := x.hours.fill(ctx, s.o.Store, key.filter(), time.Hour, now.Add(-rememberFor).Truncate(24*time.Hour), day); err != nil {
			return err
		}
		if err := x.minutes.fill(ctx, s.o.Store, key.filter(), time.Minute, day, now.Add(-settledAfter).Truncate(time.Minute)); err != nil {
			return err
		}
		s.mu.Lock()
		if turn == s.past.turn {
			if s.past.of == nil {
				s.past.of = map[pastKey]*pastSums{}
			}
			s.past.of[key] = x
		}
		s.mu.Unlock()
	}
	return nil
}

// rememberFor is how far back is read before anybody asks.
const rememberFor = 31 * 24 * time.Hour
