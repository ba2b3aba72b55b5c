// Package stats counts what happens, by minute, link, type and scope, and answers how it went: time series for
// /v1/stats, and what is going on now. It stands beside the hot path: counting is an addition in memory, and every ten
// seconds what was added up is handed to the store. A process that is killed loses at most the last ten seconds of
// figures; events and deliveries are the store's own and lose nothing.
package stats

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// flushEvery divides a minute, so that what is flushed belongs to one.
	flushEvery = 10 * time.Second
	// flushPatience bounds one hand-over to the store; what it does not take is handed over with the next.
	flushPatience = 5 * time.Second
	// chunk is how many samples one transaction takes: some two milliseconds of the store's time.
	chunk = 200
	// waitingMost is how many samples wait in memory while the store takes none; of what comes then only the sums by
	// integration are kept.
	waitingMost = 20_000

	// keepMinutes is how long minutes are kept as such. It is an hour more than what may be asked for, because whole
	// hours are rolled up.
	keepMinutes = MinutesFor + time.Hour
	// MinutesFor is how far back steps of minutes can be asked for; beyond that there are hours.
	MinutesFor = 24 * time.Hour
	// KeptFor is how long figures are kept.
	KeptFor = 90 * 24 * time.Hour
	// upkeepEvery is how often old samples are looked for, upkeepStep how many one transaction handles.
	upkeepEvery = 5 * time.Minute
	upkeepStep  = 200
	// upkeepPause is the pause between two of them: they must not stall traffic.
	upkeepPause = 50 * time.Millisecond
)

// Options configure a Service. Store is required.
type Options struct {
	Store store.Statistics
	// Live describes what goes on now; nil means nothing is known.
	Live func(context.Context) (Live, error)
	// ScopeOf returns the scope of a link, and false when there is none; nil means that links have no scopes.
	ScopeOf func(patchbay.LinkID) (patchbay.Scope, bool)
	Log     *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Most is how many combinations of link, type and scope a minute holds before scopes fold into their tenant; 0 means
	// 1,000.
	Most int
}

// Service counts and answers. It is to be started, and stopped before the store is closed.
type Service struct {
	o        Options
	recorder *recorder
	oldest   oldest
	commits  commits

	mu      sync.Mutex // guards what follows, and is held while samples move between the two and the store
	since   time.Time  // when the collection under way began
	waiting []store.Sample
	failing bool
	past    past

	cancel context.CancelFunc
	owned  sync.WaitGroup
	once   sync.Once
}

// New makes a Service, which counts from now on.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Most == 0 {
		o.Most = defaultMost
	}
	return &Service{o: o, recorder: newRecorder(o.Most), since: o.Now()}
}

// Accepted counts an event that was committed. Like the other methods that count it works on a nil Service.
func (s *Service) Accepted(e *patchbay.Event) {
	if s != nil {
		s.recorder.accepted(e)
	}
}

// Attempted counts an attempt and, where the delivery's state says that it has succeeded, that this was a time of took after
// its event was received.
func (s *Service) Attempted(d *patchbay.Delivery, e *patchbay.Event, took time.Duration) {
	if s != nil {
		s.recorder.attempted(d, e, took)
	}
}

// Decided counts a delivery that has reached its last state. Those that succeeded have been counted by Attempted.
func (s *Service) Decided(d *patchbay.Delivery, e *patchbay.Event) {
	if s != nil && d.State == patchbay.DeliveryFailed {
		s.recorder.failed(d, e)
	}
}

// Start begins to hand over and to look after what is kept.
func (s *Service) Start() {
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.owned.Go(func() { s.flushes(run) })
	s.owned.Go(func() { s.upkeep(run) })
}

// Stop hands over what has been counted. It may be called more than once.
func (s *Service) Stop(ctx context.Context) (err error) {
	s.once.Do(func() {
		if s.cancel != nil {
			s.cancel()
		}
		s.owned.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushPatience)
		defer cancel()
		if err = s.Flush(ctx); err != nil {
			err = fmt.Errorf("the last figures could not be kept: %w", err)
		}
	})
	return err
}

// flushes hands over when a collection ends.
func (s *Service) flushes(ctx context.Context) {
	timer := time.NewTimer(untilNext(s.o.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		limited, cancel := context.WithTimeout(ctx, flushPatience)
		err := s.Flush(limited)
		cancel()
		if ctx.Err() == nil {
			s.tell(err)
		}
		timer.Reset(untilNext(s.o.Now()))
	}
}

// untilNext returns how long it is until the clock shows a multiple of flushEvery.
func untilNext(now time.Time) time.Duration {
	return max(flushEvery/100, now.Truncate(flushEvery).Add(flushEvery).Sub(now))
}

// tell logs when handing over begins to fail, and when it works again.
func (s *Service) tell(err error) {
	s.mu.Lock()
	failing := s.failing
	s.failing = err != nil
	s.mu.Unlock()
	switch {
	case err != nil && !failing:
		s.o.Log.Warn("figures for /v1/stats cannot be kept at the moment; they stay in memory", "error", err)
	case err == nil && failing:
		s.o.Log.Info("figures for /v1/stats are kept again")
	}
}

// Flush hands over what has been counted. What the store does not take stays for the next time.
func (s *Service) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(s.recorder.collect(s.since))
	s.since = s.o.Now()
	for len(s.waiting) > 0 {
		n := min(len(s.waiting), chunk)
		late := s.since.Add(-settledAfter + flushEvery)
		if slices.ContainsFunc(s.waiting[:n], func(x store.Sample) bool { return x.At.Before(late) }) {
			s.past.forget()
		}
		if err := s.o.Store.AddSamples(ctx, s.waiting[:n]); err != nil {
			return err
		}
		s.waiting = s.waiting[n:]
	}
	s.waiting = nil
	return nil
}

// keep adds a collection to what waits. s.mu is held.
func (s *Service) keep(collected []store.Sample) {
	if len(s.waiting)+len(collected) <= waitingMost {
		s.waiting = append(s.waiting, collected...)
		return
	}
	byIntegration := map[string]int{}
	for i := range collected {
		x := &collected[i]
		at, ok := byIntegration[x.Integration]
		if !ok {
			at = len(s.waiting)
			byIntegration[x.Integration] = at
			s.waiting = append(s.waiting, store.Sample{At: x.At, Integration: x.Integration})
		}
		s.waiting[at].Add(x)
	}
}

// upkeep makes hours of old minutes, and forgets what is older still.
func (s *Service) upkeep(ctx context.Context) {
	timer := time.NewTimer(upkeepEvery)
	defer timer.Stop()
	for {
		if err := s.remember(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Warn("the figures of the last month could not be read ahead; they are read when somebody asks", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		more, err := s.Upkeep(ctx)
		if err != nil && ctx.Err() == nil {
			s.o.Log.Warn("old figures of /v1/stats could not be rolled up; trying again in five minutes", "error", err)
		}
		if more && err == nil {
			timer.Reset(upkeepPause)
		} else {
			timer.Reset(upkeepEvery)
		}
	}
}

// Upkeep does one small step of what keeps figures few, and says whether there may be more to do.
func (s *Service) Upkeep(ctx context.Context) (more bool, err error) {
	now := s.o.Now()
	rolling, err := s.o.Store.RollUpSamples(ctx, now.Add(-keepMinutes).Truncate(time.Hour), upkeepStep)
	if err != nil {
		return false, err
	}
	pruning, err := s.o.Store.PruneSamples(ctx, now.Add(-KeptFor).Truncate(time.Hour), upkeepStep)
	return rolling || pruning, err
}
