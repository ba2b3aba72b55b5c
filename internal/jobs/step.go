package jobs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// atOnce is how many deliveries a step retries or cancels at the same time: their writes share transactions.
	atOnce = 16
	// waitBusy is the pause before a step is tried again that waits for attempts under way.
	waitBusy = 200 * time.Millisecond
	// waitDetached is that pause for partners that take down what was set up for links, detachMost how long they get for it.
	waitDetached = 500 * time.Millisecond
	detachMost   = 2 * time.Minute
	// scrubRest is the pause before a database is asked again to let go of what was erased.
	scrubRest = 2 * time.Second
	// figuresLate is how long after an event other nodes have handed over that they counted it, and then some.
	figuresLate = 20 * time.Second
)

// result is what came of a step.
type result struct {
	tally ingest.Tally
	seen  int64
	done  bool
	// again says that nothing was done, because something else must happen first; why says what, for people.
	again time.Duration
	why   string
	// filter, when not nil, replaces the job's.
	filter *Filter
}

// step does one step of the work and moves its cursor. After an error, and when it has to be done again, the cursor is
// not used.
func (s *Service) step(ctx context.Context, w *work) (result, error) {
	switch w.action {
	case Retry:
		c := w.caller()
		return s.each(ctx, w, func(d *patchbay.Delivery) (bool, error) { return s.o.Deliveries.RetryFound(ctx, c, d, w.made) })
	case Cancel:
		if s.backlog(w) {
			n, err := s.o.Deliveries.CancelBacklog(ctx, w.filter.Link, patchbay.DeliveryID(w.cursor.Upper), math.MaxInt32)
			return result{seen: int64(n), tally: ingest.Tally{Changed: int64(n)}, done: true}, err
		}
		c := w.caller()
		return s.each(ctx, w, func(d *patchbay.Delivery) (bool, error) { return s.o.Deliveries.CancelFound(ctx, c, d) })
	case Replay, Recover:
		return s.again(ctx, w)
	case Erase:
		return s.erase(ctx, w)
	case Reseal:
		return s.reseal(ctx, w)
	}
	return result{}, patchbay.Errorf(patchbay.CodeInvalidRequest, "this version of Patchbay does not know the action %q", w.action)
}

// each does something with the next deliveries.
func (s *Service) each(ctx context.Context, w *work, do func(*patchbay.Delivery) (bool, error)) (r result, err error) {
	q, ok := s.deliveriesOf(w, stepSize)
	if !ok {
		return result{done: true}, nil
	}
	found, err := s.o.Deliveries.Find(ctx, q)
	if err != nil {
		return r, err
	}
	r.seen, r.done = int64(len(found)), len(found) < stepSize
	if r.seen > 0 {
		w.cursor.At = int64(found[len(found)-1].ID)
	}
	if until := w.filter.Until; !until.IsZero() {
		found = slices.DeleteFunc(found, func(d patchbay.Delivery) bool { return !d.Event.Time().Before(until) })
	}
	r.tally, err = s.all(ctx, found, do)
	return r, err
}

// all does something with deliveries, the oldest first and several at a time.
func (s *Service) all(ctx context.Context, found []patchbay.Delivery, do func(*patchbay.Delivery) (bool, error)) (t ingest.Tally, err error) {
	var (
		owned sync.WaitGroup
		mu    sync.Mutex
		room  = make(chan struct{}, atOnce)
		fatal error
	)
	for i := len(found) - 1; i >= 0 && ctx.Err() == nil; i-- {
		room <- struct{}{}
		owned.Go(func() {
			done, err := do(&found[i])
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && done:
				t.Changed++
			case err == nil:
				t.Skipped++
			case patchbay.CodeOf(err) == patchbay.CodeUnavailable:
				fatal = err
			default:
				t.Failed++
				t.Err = err
			}
			<-room
		})
	}
	owned.Wait()
	if fatal == nil {
		fatal = ctx.Err()
	}
	return t, fatal
}

// unsettled returns how long to wait until what was being accepted when the job was made is stored.
func (s *Service) unsettled(w *work) time.Duration {
	if !w.filter.Until.IsZero() && w.filter.Until.Before(w.made.Add(-time.Minute)) {
		return 0
	}
	return w.made.Add(s.o.Settle).Sub(s.o.Now())
}

// again replays or recovers the next events.
func (s *Service) again(ctx context.Context, w *work) (r result, err error) {
	if wait := s.unsettled(w); wait > 0 && s.o.Settle > 0 {
		return result{again: wait}, nil
	}
	events, done, err := s.ascend(ctx, w)
	if err != nil {
		return r, err
	}
	if w.cursor.Low == 0 && len(events) > 0 {
		w.cursor.Low = int64(events[0].ID)
	}
	r.seen, r.done = int64(len(events)), done
	if w.action == Replay {
		own := w.own(events)
		r.tally, err = s.o.Events.ReplayAll(ctx, own, w.id)
		r.tally.Skipped += r.seen - int64(len(own))
	} else {
		r.tally, err = s.o.Events.RecoverAll(ctx, events, s.recovered(w), false)
	}
	return r, err
}

// The phases of an erasure.
const (
	phaseClose   = ""        // nothing new is accepted of a tenant; what is being accepted ends
	phaseLinks   = "links"   // a tenant's links and keys go, and with them what waits for those links
	phaseQuiet   = "quiet"   // what still waits or is being sent of a tenant ends
	phaseForget  = "forget"  // its connections are taken back at the partners
	phaseRemove  = "remove"  // the tenant's events go, or what they say
	phaseFigures = "figures" // so do figures of the tenant that were only counted in memory
	phaseBlank   = "blank"   // what was to be forgotten leaves the job itself
	phaseScrub   = "scrub"   // it leaves the database's files
)

// erase does the next step of an erasure.
func (s *Service) erase(ctx context.Context, w *work) (result, error) {
	tenant := w.filter.Tenant
	switch w.cursor.Phase {
	case phaseClose:
		if wait := s.unsettled(w); wait > 0 && s.o.Settle > 0 {
			return result{again: wait}, nil
		}
		if w.cursor.Phase = phaseRemove; tenant != "" {
			w.cursor.Phase = phaseLinks
		}
		return result{}, nil
	case phaseLinks:
		return s.eraseLinks(ctx, w, tenant)
	case phaseQuiet:
		return s.quietTenant(ctx, w, tenant)
	case phaseForget:
		return result{}, s.forgetConnections(ctx, w, tenant)
	case phaseRemove:
		if tenant == "" {
			return s.eraseEvents(ctx, w)
		}
		res, more, err := s.eraseTenant(ctx, tenant)
		if !more {
			w.cursor.Phase = phaseFigures
			if !s.o.Alone && s.o.Settle > 0 {
				w.cursor.Until = s.o.Now().Add(figuresLate).UnixMilli()
			}
		}
		return res, err
	case phaseFigures:
		return s.eraseFigures(ctx, w, tenant)
	case phaseBlank:
		w.cursor.Phase = phaseScrub
		return result{filter: w.filter.tomb()}, nil
	case phaseScrub:
		if err := s.o.Store.Scrub(ctx); errors.Is(err, store.ErrUnavailable) {
			return result{again: scrubRest, why: "waiting until the database's files can be cleared: " + err.Error()}, nil
		} else if err != nil {
			return result{}, storeError("clearing the database's files", err)
		}
		return result{done: true}, nil
	}
	return result{}, fmt.Errorf("an erasure cannot be in the phase %q", w.cursor.Phase)
}

// eraseTenant removes the next of everything of a tenant.
func (s *Service) eraseTenant(ctx context.Context, tenant string) (r result, more bool, err error) {
	n, more, err := s.o.Store.EraseTenant(ctx, tenant)
	if err != nil {
		return r, more, storeError("erasing a tenant", err)
	}
	return result{seen: int64(n), tally: ingest.Tally{Changed: int64(n)}}, more, nil
}

// eraseFigures removes what was counted of a tenant and had not been handed over yet when the rest went.
func (s *Service) eraseFigures(ctx context.Context, w *work, tenant string) (result, error) {
	if wait := time.UnixMilli(w.cursor.Until).Sub(s.o.Now()); w.cursor.Until != 0 && wait > 0 {
		return result{again: wait, why: "waiting until other nodes have handed over what they counted"}, nil
	}
	if s.o.Figures != nil {
		if err := s.o.Figures(ctx); err != nil {
			return result{}, storeError("handing over figures", err)
		}
	}
	r, more, err := s.eraseTenant(ctx, tenant)
	if !more {
		w.cursor.Phase = phaseBlank
	}
	return r, err
}

// eraseLinks deletes a tenant's keys and links, as a person does: nodes hear of it. Partners get a while to take down what was
// set up for the links, because after it nobody can ask them any more.
func (s *Service) eraseLinks(ctx context.Context, w *work, tenant string) (result, error) {
	c := &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "job"}
	if w.cursor.Until == 0 {
		if err := s.eraseKeys(ctx, c, tenant); err != nil {
			return result{}, err
		}
		w.cursor.Until = s.o.Now().Add(detachMost).UnixMilli()
	}
	found, err := s.deleteLinks(ctx, c, tenant)
	if err != nil {
		return result{}, err
	}
	if found > 0 { // some may stay for as long as it takes to take them down
		if found, err = s.deleteLinks(ctx, c, tenant); err != nil {
			return result{}, err
		}
	}
	if found > 0 && s.o.Now().UnixMilli() < w.cursor.Until {
		return result{again: waitDetached, why: "waiting until partners have taken down what was set up for the tenant's links"}, nil
	}
	w.cursor.Phase, w.cursor.Until = phaseQuiet, 0
	return result{}, nil
}

// deleteLinks deletes a tenant's links, and returns how many there were. Those that are being taken down are among them.
func (s *Service) deleteLinks(ctx context.Context, c *access.Caller, tenant string) (found int, err error) {
	links, err := s.o.Store.AllLinks(ctx)
	if err != nil {
		return 0, storeError("reading the links", err)
	}
	for i := range links {
		if links[i].Scope.Tenant() != tenant {
			continue
		}
		found++
		if err := s.o.Links.Delete(ctx, c, links[i].ID); err != nil && patchbay.CodeOf(err) != patchbay.CodeNotFound {
			return 0, err
		}
	}
	return found, nil
}

func (s *Service) eraseKeys(ctx context.Context, c *access.Caller, tenant string) error {
	keys, err := s.o.Store.AllKeys(ctx)
	if err != nil {
		return storeError("reading the API keys", err)
	}
	for i := range keys {
		if keys[i].Scope.Tenant() != tenant {
			continue
		}
		if err := s.o.Keys.Delete(ctx, c, keys[i].ID); err != nil && patchbay.CodeOf(err) != patchbay.CodeNotFound {
			return err
		}
	}
	return nil
}

// forgetConnections takes the next of a tenant's connections back, which asks its partner, and deletes it.
func (s *Service) forgetConnections(ctx context.Context, w *work, tenant string) error {
	more := false
	if s.o.Connections != nil {
		var err error
		if more, err = s.o.Connections.ForgetNext(ctx, tenant); err != nil {
			return err
		}
	}
	if !more {
		w.cursor.Phase = phaseRemove
	}
	return nil
}

// quietTenant cancels what waits of a tenant's events, over links above the tenant too, until nothing is left.
func (s *Service) quietTenant(ctx context.Context, w *work, tenant string) (result, error) {
	q := w.deliveries(stepSize)
	q.Scope, q.States = patchbay.Scope(tenant), []patchbay.DeliveryState{patchbay.DeliveryPending, patchbay.DeliveryHeld}
	q.Before, q.Since = 0, time.Time{}
	waiting, err := s.o.Deliveries.Find(ctx, q)
	if err != nil {
		return result{}, err
	}
	if len(waiting) == 0 {
		w.cursor.Phase = phaseForget
		return result{}, nil
	}
	c := &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "job"}
	r, err := s.all(ctx, waiting, func(d *patchbay.Delivery) (bool, error) { return s.o.Deliveries.CancelFound(ctx, c, d) })
	if err != nil {
		return result{}, err
	}
	if r.Changed > 0 {
		return result{}, nil
	}
	return result{again: waitBusy, why: "waiting until attempts that are under way have ended"}, nil
}

// eraseEvents removes what the next events say in which the path has the value.
func (s *Service) eraseEvents(ctx context.Context, w *work) (result, error) {
	events, done, err := s.ascend(ctx, w)
	if err != nil {
		return result{}, err
	}
	if w.cursor.Low == 0 && len(events) > 0 {
		w.cursor.Low = int64(events[0].ID)
	}
	seen := int64(len(events))
	var found []patchbay.EventID
	for _, r := range w.own(events) {
		if w.match.matches(&r.Event) {
			found = append(found, r.ID)
		}
	}
	for _, id := range found {
		quiet, err := s.quiet(ctx, id)
		if err != nil {
			return result{}, err
		}
		if !quiet {
			return result{again: waitBusy, why: "waiting until attempts that are under way have ended"}, nil
		}
	}
	if len(found) > 0 {
		if err := s.o.Store.EraseEvents(ctx, found, s.o.Now()); err != nil {
			return result{}, storeError("erasing events", err)
		}
	}
	if done {
		w.cursor.Phase = phaseBlank
	}
	return result{seen: seen, tally: ingest.Tally{Changed: int64(len(found))}}, nil
}

// quiet ends what of an event and of its replays has not ended.
func (s *Service) quiet(ctx context.Context, id patchbay.EventID) (bool, error) {
	replays, err := s.o.Store.Replays(ctx, id)
	if err != nil {
		return false, storeError("reading an event's replays", err)
	}
	ids := []patchbay.EventID{id}
	for i := range replays {
		ids = append(ids, replays[i].ID)
	}
	for _, id := range ids {
		quiet, err := s.o.Deliveries.Quiet(ctx, id)
		if err != nil || !quiet {
			return false, err
		}
	}
	return true, nil
}
