package links

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// rhythm is when things are done at partners; tests have their own.
type rhythm struct {
	// answer is how long a request waits for the partner's side to be set up, call how long that may take in all.
	answer, call time.Duration
	// grace is how long a link that a request sets up is left to that request, also by other nodes. It is longer than
	// call.
	grace time.Duration
	// pauses are those before something is tried again; the last one repeats.
	pauses []time.Duration
	// waiting is the pause while the link's connection is known not to work.
	waiting time.Duration
	// patience is how long the taking down of a deleted link is tried.
	patience time.Duration
	// life is the shortest that something set up is taken to last, so that a partner is not asked without end.
	life time.Duration
	// look is how often it is looked whether links that other nodes see to have become this node's.
	look time.Duration
}

var usual = rhythm{
	answer: 8 * time.Second, call: 40 * time.Second, grace: time.Minute,
	pauses:  []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour},
	waiting: time.Minute, patience: 3 * 24 * time.Hour, life: 5 * time.Minute, look: 10 * time.Second,
}

const (
	// atOnce bounds how many partners' sides are worked on at one time, so that some that hang leave others their turn.
	atOnce = 16
	// idle is the longest sleep of the keeper.
	idle = time.Hour
	// renewFrom and renewWithin say when in its life something that ends is renewed: a different moment for every link, so
	// that what was set up together is not renewed together, and early enough for some failures.
	renewFrom, renewWithin = 0.6, 0.2
)

// duty is what there is to do for a link at its partner.
type duty int

const (
	nothing  duty = iota
	toAttach      // set up, anew after a change, or renewed
	toUndo        // its settings do not need what was set up any more
	toDetach      // it was deleted
)

// task is a link at whose partner there is something to do, now or later.
type task struct {
	due time.Time
	// failures counts those in a row.
	failures int
	// busy says that somebody is at it.
	busy bool
}

// tasks are those of all links, also of those that other nodes see to.
type tasks struct {
	mu   sync.Mutex
	of   map[patchbay.LinkID]*task
	busy int
	poke chan struct{}
}

func (t *tasks) wake() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}

// Start begins to see to what links need at their partners, what an earlier run left half done included.
func (s *Service) Start(context.Context) error {
	s.owned.Go(func() { s.keep(s.run) })
	return nil
}

// Stop ends it. What is under way is cancelled, and taken up again by the next run or another node.
func (s *Service) Stop(context.Context) error {
	s.cancel()
	s.owned.Wait()
	return nil
}

// duty says what there is to do for a link, and from when on.
func (s *Service) duty(l *patchbay.Link, c *compiled) (duty, time.Time) {
	if l.State == patchbay.LinkDetaching {
		return toDetach, l.UpdatedAt
	}
	linker, ok := c.integration.(integration.Linker)
	if !ok || c.broken != "" {
		return nothing, time.Time{}
	}
	switch a := l.Attached; {
	case !linker.Attaches(c.settings):
		if a != nil {
			return toUndo, l.UpdatedAt
		}
		return nothing, time.Time{}
	case a == nil || a.Stale || l.State == patchbay.LinkAttaching:
		return toAttach, l.UpdatedAt.Add(s.rhythm.grace)
	case a.Base != "" && s.o.PublicURL != "" && a.Base != s.o.PublicURL: // the operator has moved the installation
		return toAttach, l.UpdatedAt
	case !a.RenewAt.IsZero():
		return toAttach, renewal(l, s.rhythm.life)
	}
	return nothing, time.Time{}
}

// renewal is when what was set up for a link is renewed.
func renewal(l *patchbay.Link, least time.Duration) time.Time {
	life := max(l.Attached.RenewAt.Sub(l.Attached.At), least)
	spread := float64(uint64(l.ID)*0x9E3779B97F4A7C15>>11) / (1 << 53) // in [0,1), the same on every node
	return l.Attached.At.Add(time.Duration(float64(life) * (renewFrom + renewWithin*spread)))
}

// plan notes what there is to do for a link. before is what it was, nil when it is new here.
func (s *Service) plan(before, l *patchbay.Link, c *compiled) {
	what, due := s.duty(l, c)
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	t := s.tasks.of[l.ID]
	switch {
	case what == nothing:
		if t != nil && !t.busy {
			delete(s.tasks.of, l.ID)
		}
		return
	case t == nil:
		s.tasks.of[l.ID] = &task{due: due}
	case before == nil || !sameSide(before, l):
		t.failures, t.due = 0, due
	case t.failures == 0:
		t.due = due
	}
	s.tasks.wake()
}

// sameSide reports whether two revisions of a link need the same of the partner.
func sameSide(a, b *patchbay.Link) bool {
	return a.State == b.State && a.Connection == b.Connection && bytes.Equal(a.Settings, b.Settings) && sameHook(a.Hook, b.Hook) &&
		(a.Attached == b.Attached || a.Attached != nil && b.Attached != nil && a.Attached.At.Equal(b.Attached.At) && a.Attached.Stale == b.Attached.Stale)
}

func sameHook(a, b *patchbay.LinkHook) bool {
	return a == b || a != nil && b != nil && a.Token == b.Token && a.Secret == b.Secret
}

// unplan forgets the task of a link that is gone.
func (s *Service) unplan(id patchbay.LinkID) {
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if t := s.tasks.of[id]; t != nil && !t.busy {
		delete(s.tasks.of, id)
	}
}

// begin takes a link's task; false when somebody is at it already.
func (s *Service) begin(id patchbay.LinkID) bool {
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	t := s.tasks.of[id]
	if t == nil {
		t = &task{}
		s.tasks.of[id] = t
	}
	if t.busy {
		return false
	}
	t.busy = true
	s.tasks.busy++
	return true
}

// end gives a link's task back. failed has it tried again after a pause that grows, and never before pause; a pause without
// a failure is for what may as well be looked at again soon.
func (s *Service) end(id patchbay.LinkID, failed bool, pause time.Duration) {
	s.mu.RLock()
	l, c := s.stored[id], s.links[id]
	s.mu.RUnlock()
	s.tasks.mu.Lock()
	t := s.tasks.of[id]
	t.busy = false
	s.tasks.busy--
	if l == nil {
		delete(s.tasks.of, id)
	} else if failed {
		t.failures++
		next := s.rhythm.pauses[min(t.failures, len(s.rhythm.pauses))-1]
		next += time.Duration(float64(next) * 0.2 * (2*rand.Float64() - 1))
		t.due = s.now().Add(max(next, min(pause, idle)))
	} else if pause > 0 {
		t.failures, t.due = max(t.failures, 1), s.now().Add(pause)
	} else {
		t.failures = 0
	}
	s.tasks.wake()
	s.tasks.mu.Unlock()
	if l != nil {
		s.plan(l, l, c)
	}
}

// keep sees to tasks as they become due, until ctx is done.
func (s *Service) keep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.tasks.poke:
		}
		timer.Reset(s.dispatch(ctx))
	}
}

// dispatch begins with everything that is due, and says after which time to look again.
func (s *Service) dispatch(ctx context.Context) time.Duration {
	now := s.now()
	wait := idle
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	for id, t := range s.tasks.of {
		switch {
		case t.busy:
		case t.due.After(now):
			wait = min(wait, t.due.Sub(now))
		case s.o.Owns != nil && !s.o.Owns(id):
			wait = min(wait, s.rhythm.look)
		case s.tasks.busy < atOnce: // else whoever ends pokes
			t.busy = true
			s.tasks.busy++
			s.owned.Go(func() { s.tend(ctx, id) })
		}
	}
	return wait
}

// tend does what there is to do for a link whose task has been taken.
func (s *Service) tend(ctx context.Context, id patchbay.LinkID) {
	failed, pause := false, time.Duration(0)
	defer func() { s.end(id, failed, pause) }()
	s.mu.RLock()
	l, c := s.stored[id], s.links[id]
	s.mu.RUnlock()
	if l == nil {
		return
	}
	what, due := s.duty(l, c)
	if what == nothing || due.After(s.now()) {
		return
	}
	if what == toAttach && s.trouble(l) != "" {
		pause = s.rhythm.waiting
		return
	}
	var err error
	switch what {
	case toAttach:
		failed, pause, err = s.reattach(ctx, l, c)
	case toUndo:
		failed, pause, err = s.undo(ctx, l, c)
	case toDetach:
		failed, pause, err = s.takeDown(ctx, l, c)
	}
	if err != nil && ctx.Err() == nil {
		failed = true
		s.o.Log.Error("what was done for a link at its partner could not be stored; trying again", "link", id, "error", err)
	}
}
