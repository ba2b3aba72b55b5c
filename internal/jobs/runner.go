package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// lookEvery is how often a runner looks for jobs that another process made or left.
	lookEvery = time.Second
	// retryFirst and retryMost are the pauses before a step that failed is tried again; triesMost is how often in a row,
	// unless it is the database that cannot be used: that is waited for.
	retryFirst = 500 * time.Millisecond
	retryMost  = 15 * time.Second
	triesMost  = 8
)

// keepFor is how long a job that has ended is shown.
const keepFor = 30 * 24 * time.Hour

// Runner works on jobs, one at a time.
type Runner struct {
	s     *Service
	id    int64 // this run's, in leases
	owned sync.WaitGroup

	mu     sync.Mutex
	cancel context.CancelFunc

	pruned time.Time
	alone  bool // leases of others are of an earlier run of this process: not looked for yet
}

// NewRunner returns a Runner for the jobs of a service.
func NewRunner(s *Service) *Runner { return &Runner{s: s, id: s.o.Store.NewID(1), alone: s.o.Alone} }

// Start begins to work. Tenants that are being erased are refused from before it returns.
func (r *Runner) Start(ctx context.Context) error {
	if err := r.s.refuse(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		return nil
	}
	run, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.owned.Go(func() {
		defer cancel()
		r.loop(run)
	})
	if !r.s.o.Alone {
		r.owned.Go(func() { r.watch(run) })
	}
	return nil
}

// watch learns what other nodes erase, also while this one works on a job, which may take hours.
func (r *Runner) watch(ctx context.Context) {
	for rest(ctx, lookEvery, nil) == nil {
		// What goes wrong here goes wrong for the loop too, which says so.
		_ = r.s.refuse(ctx)
	}
}

// Stop ends the work after or within the current step, and gives the job to whoever comes next. A second call does
// nothing.
func (r *Runner) Stop(context.Context) error {
	r.mu.Lock()
	cancel := r.cancel
	r.mu.Unlock()
	if cancel != nil {
		cancel()
		r.owned.Wait()
	}
	return nil
}

func (r *Runner) loop(ctx context.Context) {
	for ctx.Err() == nil {
		j, err := r.claim(ctx)
		switch {
		case err == nil && j != nil:
			if err := r.work(ctx, j); errors.Is(err, errCrashed) {
				return
			}
			continue
		case err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrClosed):
			r.s.o.Log.Warn("jobs cannot be looked for; trying again", "error", err)
		case err == nil:
			r.prune(ctx)
		}
		_ = rest(ctx, lookEvery, r.s.wake)
	}
}

// claim takes up a job; nil when there is none. It also learns what other nodes erase.
func (r *Runner) claim(ctx context.Context) (*store.Job, error) {
	if err := r.s.refuse(ctx); err != nil {
		return nil, err
	}
	now := r.s.o.Now()
	j, err := r.s.o.Store.ClaimJob(ctx, r.id, now, now.Add(r.s.o.Lease))
	if err != nil || j != nil || !r.alone {
		return j, err
	}
	// What is leased now was so to this process before it ended: the database has no other.
	if j, err = r.s.o.Store.ClaimJob(ctx, r.id, now.Add(r.s.o.Lease), now.Add(r.s.o.Lease+time.Microsecond)); err == nil && j == nil {
		r.alone = false
	}
	return j, err
}

// prune forgets jobs that ended long ago, now and then.
func (r *Runner) prune(ctx context.Context) {
	now := r.s.o.Now()
	if now.Sub(r.pruned) < time.Hour && !now.Before(r.pruned) {
		return
	}
	for more := true; more; {
		var err error
		if more, err = r.s.o.Store.PruneJobs(ctx, now.Add(-keepFor), stepSize); err != nil {
			return // in an hour
		}
	}
	r.pruned = now
}

// rest waits for a while, or for a wake-up.
func rest(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-wake:
	}
	return nil
}

var (
	errCrashed = errors.New("the runner was ended by a test")
	errLost    = errors.New("another runner has the job")
)

// work does a job until it has ended, its lease is lost, or ctx is done; then it is given back.
func (r *Runner) work(ctx context.Context, j *store.Job) error {
	s := r.s
	w, err := s.resume(j)
	if err != nil && j.Cancelling {
		return r.end(ctx, j, store.JobCancelled, nil)
	} else if err != nil {
		return r.end(ctx, j, store.JobFailed, err)
	}
	tries := 0
	for {
		if j.Cancelling {
			return r.end(ctx, j, store.JobCancelled, nil)
		}
		began := time.Now()
		res, err := r.leased(ctx, j, w)
		switch {
		case ctx.Err() != nil:
			return r.giveBack(j)
		case errors.Is(err, errLost):
			return err
		case err != nil:
			if permanent(err) || !unavailable(err) && tries >= triesMost {
				return r.end(ctx, j, store.JobFailed, err)
			}
			tries++
			res = result{again: min(retryFirst<<min(tries, 10), retryMost), why: "it goes on by itself: " + sentence(err)}
			if !unavailable(err) {
				s.o.Log.Warn("a step of a job failed; trying again", "job", j.ID, "action", j.Action, "error", err)
			}
		case res.again == 0:
			tries = 0
		}
		if err := r.save(ctx, j, w, res); err != nil {
			if ctx.Err() != nil {
				return errors.Join(err, r.giveBack(j))
			}
			return err
		}
		if res.done {
			return r.end(ctx, j, store.JobSucceeded, nil)
		}
		if w, err = s.resumed(w, j); err != nil { // from what was saved: a step that failed has moved the cursor
			return r.end(ctx, j, store.JobFailed, err)
		}
		pause := res.again
		if pause == 0 {
			// At most half of the time is a job's: the rest is for the traffic.
			pause = max(s.o.Pace, min(time.Since(began), time.Second))
		}
		if s.o.Pace < 0 && res.again == 0 {
			continue
		}
		if rest(ctx, min(pause, s.o.Lease/3), nil) != nil {
			return r.giveBack(j)
		}
	}
}

// resumed is resume, with what the work has learnt.
func (s *Service) resumed(w *work, j *store.Job) (*work, error) {
	next, err := s.resume(j)
	if err == nil {
		next.span = w.span
	}
	return next, err
}

// leased does a step, renewing the job's lease meanwhile.
func (r *Runner) leased(ctx context.Context, j *store.Job, w *work) (res result, err error) {
	err = r.holding(ctx, j, func(ctx context.Context) (err error) {
		res, err = r.s.step(ctx, w)
		return err
	})
	return res, err
}

// holding does something while the job's lease is renewed. It returns errLost when another runner has the job.
func (r *Runner) holding(ctx context.Context, j *store.Job, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var renewing sync.WaitGroup
	copied := *j
	renewing.Go(func() {
		for rest(ctx, r.s.o.Lease/3, nil) == nil {
			copied.RunnerUntil = r.s.o.Now().Add(r.s.o.Lease)
			if _, err := r.s.o.Store.SaveJob(ctx, &copied); errors.Is(err, store.ErrConflict) {
				cancel(errLost)
				return
			}
		}
	})
	err := do(ctx)
	cancel(nil)
	renewing.Wait()
	if errors.Is(context.Cause(ctx), errLost) {
		return errLost
	}
	return err
}

// save writes down what a step did. It waits while the database cannot be written.
func (r *Runner) save(ctx context.Context, j *store.Job, w *work, res result) error {
	if f := r.s.before; f != nil && f(j) != nil {
		return errCrashed
	}
	next := *j
	next.UpdatedAt = r.s.o.Now().UTC()
	next.Error = res.why
	if res.again == 0 {
		next.Cursor = w.cursor.String()
		next.Seen += res.seen
		next.Changed += res.tally.Changed
		next.Skipped += res.tally.Skipped
		next.Failed += res.tally.Failed
		if res.tally.Err != nil {
			next.Error = sentence(res.tally.Err)
		} else if next.Error == "" && next.Failed > 0 {
			next.Error = j.Error
		}
		if res.filter != nil {
			next.Filter = res.filter.raw()
		}
	}
	if err := r.store(ctx, &next); err != nil {
		return err
	}
	*j = next
	return nil
}

// store saves a job, however long the database takes to be there again.
func (r *Runner) store(ctx context.Context, j *store.Job) error {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		if !j.State.Final() {
			j.RunnerUntil = r.s.o.Now().Add(r.s.o.Lease)
		}
		cancelling, err := r.s.o.Store.SaveJob(ctx, j)
		switch {
		case err == nil:
			j.Cancelling = cancelling
			return nil
		case errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound):
			return errLost
		case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
			return err
		}
		if err := rest(ctx, pause, nil); err != nil {
			return err
		}
	}
}

// end writes down that the job has ended. What an erasure was about leaves it.
func (r *Runner) end(ctx context.Context, j *store.Job, state store.JobState, why error) error {
	if f, err := parseStored(j.Filter); j.Action == Erase && state != store.JobSucceeded && err == nil { // else it is done
		j.Filter = f.tomb().raw()
		if err := r.store(ctx, j); err != nil {
			return err
		}
		if err := r.holding(ctx, j, r.s.o.Store.Scrub); errors.Is(err, errLost) {
			return err
		} else if err != nil {
			r.s.o.Log.Warn("the database's files could not be cleared after an erasure that did not end well", "job", j.ID, "error", err)
		}
	}
	j.State, j.RunnerUntil = state, time.Time{}
	j.FinishedAt = r.s.o.Now().UTC()
	j.UpdatedAt = j.FinishedAt
	if why != nil {
		j.Error = sentence(why)
		r.s.o.Log.Error("a job failed", "job", j.ID, "action", j.Action, "error", why)
	} else if j.Failed == 0 {
		j.Error = ""
	}
	if err := r.store(ctx, j); err != nil {
		return err
	}
	r.s.o.Log.Info("a job has ended", "job", j.ID, "action", j.Action, "state", state, "seen", j.Seen, "changed", j.Changed,
		"skipped", j.Skipped, "failed", j.Failed)
	return nil
}

// giveBackIn bounds how long a runner that stops takes to give its job back; another takes it over otherwise, later.
const giveBackIn = 2 * time.Second

// giveBack lets another runner have the job at once.
func (r *Runner) giveBack(j *store.Job) error {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackIn)
	defer cancel()
	j.RunnerUntil = time.Time{}
	_, err := r.s.o.Store.SaveJob(ctx, j)
	return err
}

// unavailable reports whether an error is about the database, which comes back.
func unavailable(err error) bool {
	return patchbay.CodeOf(err) == patchbay.CodeUnavailable || errors.Is(err, store.ErrUnavailable)
}

// permanent reports whether it is no use to try a step again.
func permanent(err error) bool {
	switch patchbay.CodeOf(err) {
	case patchbay.CodeInvalidRequest, patchbay.CodeForbidden, patchbay.CodeNotFound, patchbay.CodeConflict:
		return true
	}
	return false
}

// sentence is what of an error is for people.
func sentence(err error) string {
	var own *patchbay.Error
	if errors.As(err, &own) {
		return own.Message
	}
	return "something went wrong on our side; the log says what"
}
