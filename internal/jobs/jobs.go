// Package jobs does over many deliveries or events what a person does with one: retry, cancel, replay, recover, erase.
// A job is a row in the database that says how far it got, so it survives the end of the process that works on it: a
// Runner on every node takes jobs up, one at a time, does them in small steps at a bounded pace, and lets go of them
// for another. A step that is repeated does nothing twice.
package jobs

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
)

// The actions of jobs.
const (
	Retry   = "retry"
	Cancel  = "cancel"
	Replay  = "replay"
	Recover = "recover"
	Erase   = store.ActionErase
	Reseal  = "reseal"
)

const (
	// countMost is up to where things are counted before a job is made.
	countMost = 10_000
	// countFor bounds how long that may take, unless somebody has less patience.
	countFor = 2 * time.Second
	// stepSize is how many things one step looks at.
	stepSize = 250
)

// Events is what jobs do with events.
type Events interface {
	ReplayAll(ctx context.Context, events []store.EventRecord, job patchbay.JobID) (ingest.Tally, error)
	RecoverAll(ctx context.Context, events []store.EventRecord, only func(patchbay.LinkID, patchbay.Scope) bool, dry bool) (ingest.Tally, error)
	Refuse(tenants map[string]bool)
}

// Deliveries is what jobs do with deliveries.
type Deliveries interface {
	Find(ctx context.Context, q deliver.Query) ([]patchbay.Delivery, error)
	RetryFound(ctx context.Context, c *access.Caller, d *patchbay.Delivery, made time.Time) (bool, error)
	CancelFound(ctx context.Context, c *access.Caller, d *patchbay.Delivery) (bool, error)
	CancelBacklog(ctx context.Context, link patchbay.LinkID, before patchbay.DeliveryID, bound int) (int, error)
	Quiet(ctx context.Context, event patchbay.EventID) (bool, error)
	Holds(link patchbay.LinkID) bool
}

// Links is what jobs ask and do about links.
type Links interface {
	// Describe returns a link; false when there is none.
	Describe(id patchbay.LinkID) (l *patchbay.Link, shortName string, ok bool)
	Delete(ctx context.Context, c *access.Caller, id patchbay.LinkID) error
}

// Keys is what jobs do about API keys.
type Keys interface {
	Delete(ctx context.Context, c *access.Caller, id patchbay.KeyID) error
}

// Connections is what jobs do about accounts at partners.
type Connections interface {
	// ForgetNext takes one of a tenant's connections back at its partner, as far as that is possible, and deletes it. more
	// says that there may be others.
	ForgetNext(ctx context.Context, tenant string) (more bool, err error)
}

// Store is what of a store jobs need.
type Store interface {
	store.Jobs
	store.Erasure
	store.Events
	store.Links
	store.Keys
	store.Maintenance
}

// Options are what a Service works with. Everything is needed unless it says otherwise.
type Options struct {
	Store      Store
	Events     Events
	Deliveries Deliveries
	Links      Links
	Keys       Keys
	// Connections is nil where there are none.
	Connections Connections
	// Sealing seals secrets anew; nil when nothing is sealed.
	Sealing Sealing
	// Figures hands over what this process has counted and not stored yet; nil when it counts nothing.
	Figures func(context.Context) error
	// Types returns the keys of the event types that a pattern matches.
	Types func(patchbay.Pattern) []string
	// Alone says that no other process can work on this database: what an earlier run left is taken up at once.
	Alone bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes what nobody waits for; nil discards it.
	Log *slog.Logger
	// Pace is the least pause between two steps; 0 means 10 ms, and less than 0 none.
	Pace time.Duration
	// Lease is how long a job stays with a runner that is not heard of; 0 means 15 s.
	Lease time.Duration
	// Settle is how long after a job was made events that were being accepted then are waited for; 0 means 1 s (5 s where
	// there are other nodes), less than 0 no time.
	Settle time.Duration
}

// Service makes jobs and shows them.
type Service struct {
	o    Options
	wake chan struct{} // tells the runner of this process that there is a new job
	// before, for tests, is called before what a step did is saved; an error is the end of the runner, as a crash is.
	before func(j *store.Job) error
	// refusing is held while it is found out which tenants are refused; refused counts them.
	refusing sync.Mutex
	refused  int
}

// New returns a Service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Pace == 0 {
		o.Pace = 10 * time.Millisecond
	}
	if o.Lease <= 0 {
		o.Lease = 15 * time.Second
	}
	if o.Settle == 0 {
		if o.Settle = time.Second; !o.Alone {
			o.Settle = 5 * time.Second
		}
	}
	return &Service{o: o, wake: make(chan struct{}, 1)}
}

// View is a job as the API shows it.
type View struct {
	ID     patchbay.JobID `json:"id"`
	Action string         `json:"action" enum:"retry,cancel,replay,recover,erase,reseal"`
	// Filter is what it was made with; of an erasure that has ended, hashes of that.
	Filter *Filter `json:"filter"`
	// By is who made it: an API key, or how the caller was known otherwise.
	By    string         `json:"by"`
	State store.JobState `json:"state" enum:"pending,running,succeeded,failed,cancelled"`
	// Total is how many things it will look at; null when they were too many to be counted.
	Total *int64 `json:"total"`
	// Seen is how many of them it has looked at; Changed, Skipped and Failed are what came of them. One event may make
	// several recovered deliveries.
	Seen    int64 `json:"seen"`
	Changed int64 `json:"changed"`
	Skipped int64 `json:"skipped"`
	Failed  int64 `json:"failed"`
	// Progress is how far it is, from 0 to 1; ETA is about when it will have ended, while it runs.
	Progress float64    `json:"progress"`
	ETA      *time.Time `json:"eta"`
	// Error is why it failed, or what went wrong last.
	Error *string `json:"error"`
	// Cancelling says that it ends after its current step.
	Cancelling bool       `json:"cancelling"`
	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// Preview is the answer to a dry run: nothing was stored.
type Preview struct {
	DryRun bool    `json:"dry_run"`
	Action string  `json:"action"`
	Filter *Filter `json:"filter"`
	// Total is how many deliveries or events it would touch; Complete says that all of them were counted.
	Total    int64 `json:"total"`
	Complete bool  `json:"complete"`
}

// Input is what a job is made of.
type Input struct {
	Action string
	Filter *Filter
	// Patience is how long whoever asks for a preview waits for its count; 0 is two seconds.
	Patience time.Duration
}

// Create makes a job, which runs by itself from then on.
func (s *Service) Create(ctx context.Context, c *access.Caller, in Input) (*View, error) {
	w, err := s.check(ctx, c, in)
	if err != nil {
		return nil, err
	}
	return s.create(ctx, c, w)
}

// Preview says what Create would do.
func (s *Service) Preview(ctx context.Context, c *access.Caller, in Input) (*Preview, error) {
	w, err := s.check(ctx, c, in)
	if err != nil {
		return nil, err
	}
	if in.Patience > 0 {
		w.patience = in.Patience
	}
	return s.preview(ctx, w)
}

func (s *Service) preview(ctx context.Context, w *work) (*Preview, error) {
	w.bounds(patchbay.FirstIDAt(s.o.Now().Add(time.Second)))
	n, complete, err := s.count(ctx, w, true)
	if err != nil {
		return nil, err
	}
	return &Preview{DryRun: true, Action: w.action, Filter: w.filter, Total: n, Complete: complete}, nil
}

// create stores a job that was checked.
func (s *Service) create(ctx context.Context, c *access.Caller, w *work) (*View, error) {
	id := s.o.Store.NewID(1)
	w.bounds(id)
	total, complete, err := s.count(ctx, w, false)
	if err != nil {
		return nil, err
	}
	if !complete {
		total = 0
	}
	now := s.o.Now().UTC().Truncate(time.Microsecond)
	j := &store.Job{
		ID: patchbay.JobID(id), Action: w.action, Filter: w.filter.raw(), Scope: w.scope, By: c.ID(), State: store.JobPending,
		Cursor: w.cursor.String(), Total: total, CreatedAt: now, UpdatedAt: now,
	}
	if err := s.o.Store.CreateJob(access.Audited(ctx, c, w.change(j)), j); err != nil {
		return nil, storeError("storing the job", err)
	}
	if j.Action == Erase {
		if err := s.refuse(ctx); err != nil {
			return nil, err
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.view(c, j), nil
}

// change is what is written down of a new job. Of an erasure it does not say what is erased.
func (w *work) change(j *store.Job) access.Change {
	filter := w.filter
	x := access.Change{Action: "job.created", Object: j.ID.String(), Title: j.Action, Scope: j.Scope}
	switch {
	case j.Action == Erase && filter.Tenant != "":
		x.Action, x.Scope = "tenant.erased", "" // what is of the tenant goes with it
	case j.Action == Erase:
		x.Action = "payloads.erased"
	}
	if j.Action == Erase {
		filter = filter.tomb()
	}
	if filter.Scope != "" {
		x.Scope = filter.Scope
	}
	x.Fields = access.Compare(nil, filter)
	return x
}

// Get returns a job.
func (s *Service) Get(ctx context.Context, c *access.Caller, id patchbay.JobID) (*View, error) {
	j, err := s.find(ctx, c, access.Read, id)
	if err != nil {
		return nil, err
	}
	return s.view(c, j), nil
}

// Query selects jobs for a list.
type Query struct {
	States []store.JobState
	Action string
	Before patchbay.JobID
	Limit  int
}

// List returns jobs, the newest first, and whether there are more.
func (s *Service) List(ctx context.Context, c *access.Caller, q Query) ([]View, bool, error) {
	if err := c.Require(access.Read); err != nil {
		return nil, false, err
	}
	found, err := s.o.Store.Jobs(ctx, store.JobFilter{States: q.States, Within: c.Scope, Action: q.Action, Before: q.Before, Limit: q.Limit + 1})
	if err != nil {
		return nil, false, storeError("listing jobs", err)
	}
	more := len(found) > q.Limit
	if more {
		found = found[:q.Limit]
	}
	views := make([]View, len(found))
	for i := range found {
		views[i] = *s.view(c, &found[i])
	}
	return views, more, nil
}

// Cancel asks for a job's end. What it has done stays done.
func (s *Service) Cancel(ctx context.Context, c *access.Caller, id patchbay.JobID) (*View, error) {
	j, err := s.find(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	if j.Action == Erase || j.Action == Reseal {
		if err := c.Require(access.Admin); err != nil {
			return nil, err
		}
	}
	cancelling := ctx
	if j.State != store.JobCancelled && !j.Cancelling {
		cancelling = access.Audited(ctx, c, access.Change{Action: "job.cancelled", Object: id.String(), Title: j.Action, Scope: j.Scope})
	}
	if err := s.o.Store.CancelJob(cancelling, id, s.o.Now()); errors.Is(err, store.ErrConflict) {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the job has already ended: it is %s", j.State)
	} else if err != nil {
		return nil, storeError("cancelling the job", err)
	}
	return s.Get(ctx, c, id)
}

func (s *Service) find(ctx context.Context, c *access.Caller, p access.Permission, id patchbay.JobID) (*store.Job, error) {
	if err := c.Require(p); err != nil {
		return nil, err
	}
	j, err := s.o.Store.Job(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !c.Sees(j.Scope):
		return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no job %s", id)
	case err != nil:
		return nil, storeError("reading the job", err)
	}
	return j, nil
}

// view turns a job into what the API shows.
func (s *Service) view(c *access.Caller, j *store.Job) *View {
	v := &View{
		ID: j.ID, Action: j.Action, Filter: shownFilter(c, j), By: j.By, State: j.State, Seen: j.Seen, Changed: j.Changed,
		Skipped: j.Skipped, Failed: j.Failed, Cancelling: j.Cancelling && !j.State.Final(), CreatedAt: j.CreatedAt,
	}
	if j.Total > 0 || j.State == store.JobSucceeded {
		total := max(j.Total, j.Seen)
		v.Total = &total
	}
	if j.Error != "" {
		v.Error = &j.Error
	}
	if !j.StartedAt.IsZero() {
		v.StartedAt = &j.StartedAt
	}
	if !j.FinishedAt.IsZero() {
		v.FinishedAt = &j.FinishedAt
	}
	v.Progress = progress(j)
	// Before some part is done, what is left is anybody's guess.
	if elapsed := j.UpdatedAt.Sub(j.StartedAt); j.State == store.JobRunning && !j.StartedAt.IsZero() && elapsed > 0 && v.Progress > 0.01 && v.Progress < 1 {
		eta := j.UpdatedAt.Add(time.Duration(float64(elapsed) * (1 - v.Progress) / v.Progress)).UTC().Truncate(time.Second)
		v.ETA = &eta
	}
	return v
}

// progress is how far a job is: by what was counted, else by the identifiers that are behind it.
func progress(j *store.Job) float64 {
	if j.State == store.JobSucceeded {
		return 1
	}
	share := 0.0
	if j.Total > 0 {
		share = float64(j.Seen) / float64(j.Total)
	} else if c, err := parseCursor(j.Cursor); err == nil && c.Upper > c.Low && c.At > 0 {
		share = float64(c.At-c.Low) / float64(c.Upper-c.Low)
		if !c.Ascends {
			share = 1 - share
		}
	}
	return math.Round(100*min(max(share, 0), 0.99)) / 100
}

// refuse has this node refuse the tenants that are being erased.
func (s *Service) refuse(ctx context.Context) error {
	s.refusing.Lock() // who reads later must also have the last word
	defer s.refusing.Unlock()
	open, err := s.o.Store.Jobs(ctx, store.JobFilter{
		States: []store.JobState{store.JobPending, store.JobRunning}, Action: Erase, Limit: math.MaxInt32,
	})
	if err != nil {
		return storeError("reading the erasures under way", err)
	}
	tenants := map[string]bool{}
	for i := range open {
		if f, err := parseStored(open[i].Filter); err == nil && f.Tenant != "" {
			tenants[f.Tenant] = true
		}
	}
	if len(tenants) > 0 || s.refused > 0 {
		s.o.Events.Refuse(tenants)
	}
	s.refused = len(tenants)
	return nil
}

// storeError turns a store's error into one for callers.
func storeError(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, RetryAfter: 5, Err: err,
			Message: "the database cannot be used at the moment; try again in a few seconds"}
	}
	return patchbay.Internal(doing, err)
}
