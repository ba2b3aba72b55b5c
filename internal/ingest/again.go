package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/route"
	"github.com/patchbay/patchbay/internal/store"
)

// This file sends events again, for jobs: all links of them (replay), or those links that they should have gone over and
// did not (recover).

const (
	// againAtOnce bounds the commits of one call that are under way: they share transactions.
	againAtOnce = 32
	// againRemembered is how long it is remembered that a job has played an event again: longer than a job rests.
	againRemembered = 7 * 24 * time.Hour
)

// Tally counts what came of events.
type Tally struct {
	// Changed counts events that were sent again; in a recovery, deliveries.
	Changed int64
	// Skipped counts those for which there was nothing to do, Failed those that could not be sent again; Err is why the
	// last of these could not.
	Skipped, Failed int64
	Err             error
}

// again is one call's work.
type again struct {
	s     *Service
	room  chan struct{}
	owned sync.WaitGroup

	mu    sync.Mutex
	tally Tally
	fatal error // nothing can be stored: no use to go on
}

func (s *Service) newAgain() *again { return &again{s: s, room: make(chan struct{}, againAtOnce)} }

// stopped returns why there is no use to go on.
func (a *again) stopped(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fatal == nil {
		return ctx.Err()
	}
	return a.fatal
}

// ended counts what came of one.
func (a *again) ended(done bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil && done:
		a.tally.Changed++
	case err == nil:
		a.tally.Skipped++
	case patchbay.CodeOf(err) == patchbay.CodeUnavailable:
		a.fatal = err
	default:
		a.tally.Failed++
		a.tally.Err = err
	}
}

// send commits an event over links that were admitted in their order, beside others.
func (a *again) send(ctx context.Context, event *patchbay.Event, admission *deliver.Admission) {
	a.room <- struct{}{}
	a.owned.Go(func() {
		existing, _, err := a.s.put(ctx, event, admission)
		a.ended(existing == nil, err)
		<-a.room
	})
}

func (a *again) wait(err error) (Tally, error) {
	a.owned.Wait()
	if err == nil {
		err = a.fatal
	}
	return a.tally, err
}

// fresh makes the event that plays another one again.
func (s *Service) fresh(r *store.EventRecord) *patchbay.Event {
	event := r.Event
	event.Origin = r.Subject()
	event.ReceivedAt = s.now().UTC().Truncate(time.Millisecond)
	return &event
}

// ReplayAll sends events again, in this order, to the links that match them now. job names whoever asks: for the same
// job an event is sent once, however often it is asked for. An error means that nothing can be stored at the moment;
// what was sent until then is sent.
func (s *Service) ReplayAll(ctx context.Context, events []store.EventRecord, job patchbay.JobID) (Tally, error) {
	a := s.newAgain()
	for i := range events {
		if err := a.stopped(ctx); err != nil {
			return a.wait(err)
		}
		r := &events[i]
		t := s.o.Catalog.Type(r.Type)
		if t == nil || !r.Erased.IsZero() {
			a.ended(false, nil)
			continue
		}
		event := s.fresh(r)
		links, missed := s.match(event, t)
		admission := s.o.Engine.Admit(event, links, s.newID)
		admission.Missed = admission.Missed || missed
		admission.Idempotency = onceFor("replay", int64(job), int64(r.ID), 0, event.ReceivedAt)
		a.send(ctx, event, admission)
	}
	return a.wait(nil)
}

// onceFor is a key that no caller can send: theirs begin with who they are.
func onceFor(what string, a, b, n int64, now time.Time) *store.Idempotency {
	text := append([]byte{0}, what...)
	for _, x := range []int64{a, b, n} {
		text = binary.BigEndian.AppendUint64(text, uint64(x))
	}
	k := sha256.Sum256(text)
	return &store.Idempotency{Key: [16]byte(k[:16]), Until: now.Add(againRemembered)}
}

// RecoverAll sends events, in this order, over those links that match them now and that they never went over: links that
// were made, enabled or mended later, or whose backlog was dropped. only chooses among the links. However often and by
// however many an event is recovered, it goes over a link once. With dry it only counts. An error is as with ReplayAll.
func (s *Service) RecoverAll(ctx context.Context, events []store.EventRecord, only func(patchbay.LinkID, patchbay.Scope) bool, dry bool) (Tally, error) {
	a := s.newAgain()
	for i := range events {
		if err := a.stopped(ctx); err != nil {
			return a.wait(err)
		}
		if err := a.recover(ctx, &events[i], only, dry); err != nil {
			return a.wait(err)
		}
	}
	return a.wait(nil)
}

// recover sends one event over the links that it missed.
func (a *again) recover(ctx context.Context, r *store.EventRecord, only func(patchbay.LinkID, patchbay.Scope) bool, dry bool) error {
	s := a.s
	t := s.o.Catalog.Type(r.Type)
	if t == nil || !r.Erased.IsZero() || r.Source.Kind == patchbay.SourceInline || r.Source.Kind == patchbay.SourceTest {
		a.ended(false, nil) // links are not consulted for inline calls and tests
		return nil
	}
	matched := s.o.Links.Match(&route.Event{Event: &r.Event, Names: t.Names()}, s.supported(t)).Matched
	matched = slices.DeleteFunc(matched, func(l *route.Link) bool { return !only(l.ID, l.Scope) })
	if len(matched) == 0 {
		a.ended(false, nil)
		return nil
	}
	been, err := s.been(ctx, r, matched)
	if err != nil {
		return err
	}
	for _, l := range matched {
		x := been[l.ID]
		switch {
		case x.had:
			a.ended(false, nil)
			continue
		case dry:
			a.ended(true, nil)
			continue
		}
		event := s.fresh(r)
		admission := s.o.Engine.Admit(event, []*deliver.Link{l.Value.(*deliver.Link)}, s.newID)
		if len(admission.Targets) == 0 {
			admission.Abort()
			a.ended(false, patchbay.Errorf(patchbay.CodeConflict, "the link %s was deleted, or holds as many deliveries as it may: resume it and recover again", l.ID))
			continue
		}
		// How often it went there before makes part of the key: what was dropped with a backlog can be recovered, once,
		// every time.
		admission.Idempotency = onceFor("recover", int64(l.ID), int64(r.ID), x.dropped, event.ReceivedAt)
		a.send(ctx, event, admission)
	}
	return nil
}

// trace is what is known of an event and a link.
type trace struct {
	// had says that the event went over the link, or was kept from it by hand.
	had bool
	// dropped counts deliveries that were cancelled with everything that waited.
	dropped int64
}

// been finds out over which of the links an event has been, itself or as a replay.
func (s *Service) been(ctx context.Context, r *store.EventRecord, links []*route.Link) (map[patchbay.LinkID]trace, error) {
	replays, err := s.o.Store.Replays(ctx, r.ID)
	if err != nil {
		return nil, storeError("reading an event's replays", err)
	}
	out := make(map[patchbay.LinkID]trace)
	for _, e := range append(replays, *r) {
		for i := range e.Targets {
			id := e.Targets[i].Link
			if !slices.ContainsFunc(links, func(l *route.Link) bool { return l.ID == id }) {
				continue
			}
			d, err := s.o.Store.Delivery(ctx, patchbay.DeliveryAt(e.ID, i+1))
			switch {
			case errors.Is(err, store.ErrNotFound):
				// Deleted a moment ago, with what it came to: nobody can tell any more that it would not be sent twice.
				out[id] = trace{had: true, dropped: out[id].dropped}
				continue
			case err != nil:
				return nil, storeError("reading a delivery", err)
			}
			x := out[id]
			if d.State == patchbay.DeliveryCancelled && !deliver.CancelledByHand(d) {
				x.dropped++
			} else {
				x.had = true
			}
			out[id] = x
		}
	}
	return out, nil
}

// Refuse has events of these tenants refused from now on, and of others accepted again: what is being erased must not
// come back.
func (s *Service) Refuse(tenants map[string]bool) {
	if len(tenants) == 0 {
		s.refused.Store(nil)
		return
	}
	s.refused.Store(&tenants)
}

// refuses returns the error for an event of a tenant that is being erased.
func (s *Service) refuses(scope patchbay.Scope) error {
	refused := s.refused.Load()
	if refused == nil || !(*refused)[scope.Tenant()] {
		return nil
	}
	return patchbay.Errorf(patchbay.CodeConflict, "the tenant %q is being erased: nothing of it is accepted until that has ended", scope.Tenant())
}
