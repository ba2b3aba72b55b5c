package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/store"
)

// cursor is how far a job got. It is kept as JSON in the job's row.
type cursor struct {
	// Upper is an identifier that was made with the job: what is newer, the job's own effects among it, is none of its
	// business. Low is about where it begins or ends, for showing its progress.
	Upper int64 `json:"upper"`
	Low   int64 `json:"low,omitempty"`
	// At is the next identifier to look at when the job ascends, and the last that was looked at when it descends.
	At      int64 `json:"at,omitempty"`
	Ascends bool  `json:"ascends,omitempty"`
	// Place is the store's own cursor of a job that seals anew; Again says that it walks over the rows once more, Found that
	// this walk has found something to do.
	Place string `json:"place,omitempty"`
	Again bool   `json:"again,omitempty"`
	Found bool   `json:"found,omitempty"`
	// Phase is where an erasure is, or a job that seals anew.
	Phase string `json:"phase,omitempty"`
	// Until is what a phase waits for, in milliseconds since 1970.
	Until int64 `json:"until,omitempty"`
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // every field is of a type that marshals
	}
	return string(b)
}

func parseCursor(text string) (c cursor, err error) {
	if err = json.Unmarshal([]byte(text), &c); err != nil {
		err = fmt.Errorf("the place that the job had reached cannot be read: %w", err)
	}
	return c, err
}

// work is a job that was checked, or that is being worked on.
type work struct {
	action string
	filter *Filter
	// scope is what the job's maker reaches, id and made are the job's.
	scope  patchbay.Scope
	id     patchbay.JobID
	made   time.Time
	by     string
	cursor cursor
	// match is compiled of an erasure's path and value.
	match *matcher
	// span is how long a part of the history is that holds about a step of events; it is learnt on the way.
	span time.Duration
	// patience is how long it may be counted.
	patience time.Duration
}

// bounds sets where the work begins and ends.
func (w *work) bounds(upper int64) {
	w.cursor = cursor{Upper: upper, Ascends: w.action != Retry && w.action != Cancel}
	if !w.filter.Since.IsZero() {
		w.cursor.Low = patchbay.FirstIDAt(w.filter.Since)
	}
	if !w.filter.Until.IsZero() {
		w.cursor.Upper = min(upper, patchbay.FirstIDAt(w.filter.Until))
	}
	if w.cursor.Ascends {
		w.cursor.At = w.cursor.Low
	}
}

// resume makes the work of a stored job.
func (s *Service) resume(j *store.Job) (*work, error) {
	f, err := parseStored(j.Filter)
	if err != nil {
		return nil, err
	}
	c, err := parseCursor(j.Cursor)
	if err != nil {
		return nil, err
	}
	w := &work{action: j.Action, filter: f, scope: j.Scope, id: j.ID, made: j.CreatedAt, by: j.By, cursor: c}
	if j.Action == Erase && f.Tenant == "" && len(f.Value) == 0 && c.Phase != phaseScrub {
		// A runner has taken out what was to be erased, and ended before it wrote down that the job has.
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the erasure ended before it was done: make it again")
	}
	if f.Path != "" && len(f.Value) > 0 {
		if w.match, err = newMatcher(f.Path, f.Value); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// caller stands for whoever made the job, for what the job does: it reaches what they reached.
func (w *work) caller() *access.Caller {
	p := access.Manage
	if w.action == Erase {
		p = access.Admin
	}
	return &access.Caller{Scope: w.scope, Permissions: []access.Permission{p}, Name: "job"}
}

// own returns those events whose own scope the job's maker reaches. Others are seen from one of their further scopes, but
// would be sent to links elsewhere, and what they say is not for the maker to erase. It uses the list's memory.
func (w *work) own(events []store.EventRecord) []store.EventRecord {
	c := w.caller()
	return slices.DeleteFunc(events, func(r store.EventRecord) bool { return !c.Sees(r.Scope) })
}

// within is where the work looks for things.
func (w *work) within() patchbay.Scope {
	if w.filter.Scope != "" {
		return w.filter.Scope
	}
	return w.scope
}

// check checks that the caller may do this, and that it makes sense.
func (s *Service) check(ctx context.Context, c *access.Caller, in Input) (*work, error) {
	if err := c.Require(access.Manage); err != nil {
		return nil, err
	}
	w := &work{action: in.Action, filter: in.Filter, scope: c.Scope, made: s.o.Now()}
	f := in.Filter
	if f.Scope != "" {
		if err := c.Reach(f.Scope); err != nil {
			return nil, err
		}
	}
	var link *patchbay.Link
	if f.Link != 0 {
		l, _, ok := s.o.Links.Describe(f.Link)
		switch {
		case !ok || !c.Sees(l.Scope) && !l.Scope.Contains(c.Scope):
			return nil, patchbay.Invalid("filter.link", "there is no link %s", f.Link)
		case !c.Sees(l.Scope):
			return nil, patchbay.Errorf(patchbay.CodeForbidden, "the link %s lies above this key's scope, so it is for those who look after that link", f.Link)
		case f.Integration != "" && f.Integration != l.Integration:
			return nil, patchbay.Invalid("filter.integration", "contradicts link: %s goes to %s", f.Link, l.Integration)
		case f.Scope != "" && !f.Scope.Contains(l.Scope) && !l.Scope.Contains(f.Scope):
			return nil, patchbay.Invalid("filter.scope", "contradicts link: %s is in %s and sees nothing of %s", f.Link, l.Scope, f.Scope)
		}
		link = l
	}
	var err error
	switch w.action {
	case Retry, Cancel:
		err = w.checkStates()
	case Replay:
		err = w.checkReplay()
	case Recover:
		err = s.checkRecover(ctx, w, link)
	}
	return w, err
}

// checkStates sets the states that a retry or a cancellation is about.
func (w *work) checkStates() error {
	f := w.filter
	may, why := []patchbay.DeliveryState{patchbay.DeliveryPending, patchbay.DeliveryHeld}, "only what waits can be cancelled"
	if w.action == Retry {
		may = []patchbay.DeliveryState{patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliveryPending}
		why = "failed, cancelled and pending deliveries can be tried again; a held one goes out when its link is resumed, and what succeeded is sent again by a replay"
	}
	for _, state := range f.States {
		if !slices.Contains(may, state) {
			return patchbay.Invalid("filter.state", "cannot be %s: %s", state, why)
		}
	}
	if w.action == Cancel && f.empty() {
		return patchbay.Invalid("filter", "is empty, which would cancel everything that waits: name at least a state")
	}
	if len(f.States) == 0 {
		if f.States = may; w.action == Retry {
			f.States = may[:1] // what failed
		}
	}
	return nil
}

func (w *work) checkReplay() error {
	if w.filter.empty() {
		return patchbay.Invalid("filter", "is empty, which would send every event again: say since when, or which")
	}
	return nil
}

// checkRecover finds out from when on events are recovered where that was not said.
func (s *Service) checkRecover(ctx context.Context, w *work, link *patchbay.Link) error {
	f := w.filter
	switch {
	case link == nil && f.Since.IsZero():
		return patchbay.Invalid("filter.since", "is needed without a link: a link that was made later would get everything that there ever was")
	case link == nil:
		return nil
	case !link.Enabled || link.State != patchbay.LinkActive && link.State != patchbay.LinkPaused:
		return patchbay.Errorf(patchbay.CodeConflict, "the link %s is %s, so nothing matches it: resume it, then recover what it missed", link.ID, stateOf(link))
	case f.Since.IsZero():
		since, err := s.disabledAt(ctx, link)
		if err != nil {
			return err
		}
		f.Since = since
	}
	if !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return patchbay.Invalid("filter.until", "must be later than since, which is %s for this link when it is left out", f.Since.Format(time.RFC3339))
	}
	return nil
}

func stateOf(l *patchbay.Link) patchbay.LinkState {
	if !l.Enabled {
		return patchbay.LinkDisabled
	}
	return l.State
}

// revisionsBack bounds how far back the revisions of a link are looked at.
const revisionsBack = 1000

// disabledAt returns when the link was last disabled; when that is not known, when it was made.
func (s *Service) disabledAt(ctx context.Context, l *patchbay.Link) (time.Time, error) {
	at := time.Time{}
	for revision := l.Revision - 1; revision > max(0, l.Revision-revisionsBack); revision-- {
		was, err := s.o.Store.LinkRevision(ctx, l.ID, revision)
		if errors.Is(err, store.ErrNotFound) {
			break // older ones are no longer kept
		}
		switch {
		case err != nil:
			return at, storeError("reading a link as it was", err)
		case !was.Enabled:
			at = was.UpdatedAt
		case !at.IsZero():
			return at.UTC(), nil // enabled, before that
		}
	}
	if at.IsZero() {
		at = l.CreatedAt
	}
	return at.UTC(), nil
}

// deliveriesOf is deliveries, of the types that the filter selects; false when that is none.
func (s *Service) deliveriesOf(w *work, limit int) (q deliver.Query, ok bool) {
	q = w.deliveries(limit)
	q.Types, ok = s.typesOf(w.filter.Type)
	return q, ok
}

// deliveries is the page of deliveries after the cursor.
func (w *work) deliveries(limit int) deliver.Query {
	f := w.filter
	before := w.cursor.Upper
	if w.cursor.At != 0 {
		before = w.cursor.At
	}
	return deliver.Query{
		States: f.States, Link: f.Link, Event: f.Event, Integration: f.Integration, Scope: w.within(), Since: f.Since,
		Before: patchbay.DeliveryID(before), Limit: limit,
	}
}

// backlog reports whether the work is to cancel everything that waits for one link, which is one write.
func (s *Service) backlog(w *work) bool {
	f := w.filter
	if w.action != Cancel || f.Link == 0 || f.Event != 0 || f.Type != "" || f.Integration != "" || f.Scope != "" || !f.Since.IsZero() || !f.Until.IsZero() {
		return false
	}
	state := patchbay.DeliveryPending
	if s.o.Deliveries.Holds(f.Link) {
		state = patchbay.DeliveryHeld
	}
	return slices.Contains(f.States, state)
}

// count counts what the work is about, up to a bound. With dry it counts what would change; otherwise what will be looked
// at, where that is cheap.
func (s *Service) count(ctx context.Context, w *work, dry bool) (n int64, complete bool, err error) {
	until := time.Now().Add(cmp.Or(w.patience, countFor)) // how long the caller waits, whatever clock the jobs go by
	x := *w
	for {
		found, done, err := s.look(ctx, &x, dry)
		n += found
		if err != nil || done {
			return n, done, err
		}
		if n >= countMost && w.action != Reseal || time.Now().After(until) {
			return n, false, nil
		}
	}
}

// look counts the next step of the work and moves its cursor.
func (s *Service) look(ctx context.Context, w *work, dry bool) (n int64, done bool, err error) {
	if w.action == Retry || w.action == Cancel {
		q, ok := s.deliveriesOf(w, stepSize)
		if !ok {
			return 0, true, nil
		}
		found, err := s.o.Deliveries.Find(ctx, q)
		if err != nil {
			return 0, false, err
		}
		if len(found) > 0 {
			w.cursor.At = int64(found[len(found)-1].ID)
		}
		return int64(len(found)), len(found) < stepSize, nil
	}
	if w.action == Reseal {
		next, found, err := s.o.Sealing.Count(ctx, w.cursor.Place, stepSize)
		if err != nil {
			return 0, false, storeError("counting what is sealed", err)
		}
		w.cursor.Place = next
		return int64(found), next == "", nil
	}
	if w.filter.Tenant != "" {
		events, err := s.o.Store.Events(ctx, store.EventFilter{Within: patchbay.Scope(w.filter.Tenant), Limit: stepSize, Before: patchbay.EventID(w.before())})
		if err != nil {
			return 0, false, storeError("counting the tenant's events", err)
		}
		if len(events) > 0 {
			w.cursor.At = int64(events[len(events)-1].ID)
		}
		return int64(len(events)), len(events) < stepSize, nil
	}
	events, done, err := s.ascend(ctx, w)
	if err != nil {
		return 0, false, err
	}
	switch {
	case dry && w.action == Recover:
		t, err := s.o.Events.RecoverAll(ctx, events, s.recovered(w), true)
		return t.Changed, done, err
	case dry && w.action == Erase:
		for _, r := range w.own(events) {
			if w.match.matches(&r.Event) {
				n++
			}
		}
		return n, done, nil
	case dry:
		return int64(len(w.own(events))), done, nil
	}
	return int64(len(events)), done, nil
}

// before is the upper end of a descent that begins at the top.
func (w *work) before() int64 {
	if w.cursor.At != 0 {
		return w.cursor.At
	}
	return w.cursor.Upper
}

// recovered chooses the links that a recovery is about.
func (s *Service) recovered(w *work) func(patchbay.LinkID, patchbay.Scope) bool {
	c := w.caller()
	return func(id patchbay.LinkID, scope patchbay.Scope) bool {
		return (w.filter.Link == 0 || w.filter.Link == id) && c.Sees(scope)
	}
}
