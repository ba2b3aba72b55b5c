package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
)

// JobState is where a job is.
type JobState string

// The states of a job.
const (
	JobPending   JobState = "pending"
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

// Final reports whether the job has ended.
func (s JobState) Final() bool {
	return s == JobSucceeded || s == JobFailed || s == JobCancelled
}

// Job is work over many deliveries or events, done in small steps. Everything that is needed to go on after a crash is
// in it.
type Job struct {
	ID     patchbay.JobID
	Action string
	// Filter is the JSON that it was made with, Scope what its maker may reach, By who that was.
	Filter json.RawMessage
	Scope  patchbay.Scope
	By     string
	State  JobState
	// Cursor is how far it got, in the words of its action. Total is how many things it will look at, 0 while that is
	// not known; Seen how many it has looked at, Changed, Skipped and Failed what came of them.
	Cursor                                string
	Total, Seen, Changed, Skipped, Failed int64
	// Error is why it failed, or what went wrong last.
	Error string
	// Cancelling says that somebody wants it to end.
	Cancelling bool
	// Runner and RunnerUntil are the lease of the node that works on it; another takes it over afterwards.
	Runner      int64
	RunnerUntil time.Time
	CreatedAt   time.Time
	StartedAt   time.Time
	UpdatedAt   time.Time
	FinishedAt  time.Time
}

// JobFilter selects jobs. Zero fields select everything.
type JobFilter struct {
	States []JobState
	// Within is the scope at or below which the job's lies.
	Within patchbay.Scope
	Action string
	Before patchbay.JobID
	Limit  int
}

// Jobs keeps jobs.
type Jobs interface {
	// CreateJob stores a new job. ErrConflict when there is one with its ID.
	CreateJob(ctx context.Context, j *Job) error
	// Job returns one. ErrNotFound. Jobs lists them, newest first; Limit must be positive.
	Job(ctx context.Context, id patchbay.JobID) (*Job, error)
	Jobs(ctx context.Context, f JobFilter) ([]Job, error)
	// ClaimJob gives the oldest job that has not ended and that nobody has a valid lease of to the runner, and marks it
	// as running; nil when there is none.
	ClaimJob(ctx context.Context, runner int64, now, until time.Time) (*Job, error)
	// SaveJob writes down how far the job got, its filter and its state, and extends the lease to RunnerUntil; a zero one
	// gives the job to whoever claims it next. It returns whether somebody wants it to end. ErrConflict when the runner's
	// lease has gone to another, or the job has ended; then nothing is written.
	SaveJob(ctx context.Context, j *Job) (cancelling bool, err error)
	// CancelJob asks for an end: a pending job has ended when it returns, a running one does after its current step. An
	// erasure always ends with its runner, which removes what is to be forgotten from its filter. Asking again changes
	// nothing. ErrNotFound; ErrConflict when it has ended otherwise.
	CancelJob(ctx context.Context, id patchbay.JobID, at time.Time) error
	// PruneJobs forgets up to limit jobs that ended before a time, erasures left out: they are tombstones.
	PruneJobs(ctx context.Context, before time.Time, limit int) (more bool, err error)
}

// ErasedHook is the reason of a hook of which EraseEvents has removed what the partner sent.
const ErasedHook = "what it said was erased"

// ActionErase is the action of erasures. Their jobs stay for good, as tombstones.
const ActionErase = "erase"

// Erasure forgets what events say.
type Erasure interface {
	// EraseEvents removes payload, actor, and what attempts hold of requests, answers and errors, of these events and of
	// their replays; idempotency keys of theirs and references of threads stay. Deliveries that have not ended are
	// cancelled; whoever has one in memory must have let go of it. The events stay, with Erased set (to the first time,
	// when it happens again), so that counts and lists still hold. Events that do not exist are skipped. Of the hooks that
	// these events were made from goes what the partner sent: body, header, query and reason. Durable on return.
	EraseEvents(ctx context.Context, ids []patchbay.EventID, at time.Time) error
	// EraseTenant removes one small step of everything at and below a tenant's scope: events with everything of theirs,
	// hooks, also those that are not placed and came to one of its links or accounts, links with their revisions, lanes
	// and threads, connections, sessions, API keys, statistics, jobs that have ended but for erasures. Event types are of
	// all tenants and stay. What waits is gone too. Call it until there is no more; it returns how many events this step
	// removed, replays included. Nothing of the tenant must be accepted meanwhile: the caller sees to that.
	EraseTenant(ctx context.Context, tenant string) (events int, more bool, err error)
	// Scrub has what was erased leave the database's files as far as the database can: dead rows, free pages, the log.
	// It is called once at the end of an erasure and may take long; ErrUnavailable asks for another call later.
	Scrub(ctx context.Context) error
}
