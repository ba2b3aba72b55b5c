package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// JobFilter says what a job is about, or, in an answer, was. Which fields count depends on the action.
type JobFilter struct {
	States      []patchbay.DeliveryState `json:"state,omitempty"`
	Link        patchbay.LinkID          `json:"link,omitzero"`
	Event       patchbay.EventID         `json:"event,omitzero"`
	Integration string                   `json:"integration,omitempty"`
	Type        string                   `json:"type,omitempty"`
	Scope       patchbay.Scope           `json:"scope,omitempty"`
	Since       time.Time                `json:"since,omitzero"`
	Until       time.Time                `json:"until,omitzero"`

	// Of an erasure; when it has ended the hashes take the place of tenant and value.
	Tenant     string          `json:"tenant,omitempty"`
	Path       string          `json:"path,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"`
	TenantHash string          `json:"tenant_sha256,omitempty"`
	ValueHash  string          `json:"value_sha256,omitempty"`
}

// NewJob is a job to be made.
type NewJob struct {
	// Action is retry, cancel, replay or recover.
	Action string    `json:"action"`
	Filter JobFilter `json:"filter"`
}

// Erasure says what is to be forgotten: a tenant, or the events in which Path has Value.
type Erasure struct {
	Tenant string          `json:"tenant,omitempty"`
	Path   string          `json:"path,omitempty"`
	Value  json.RawMessage `json:"value,omitempty"`
	Scope  patchbay.Scope  `json:"scope,omitempty"`
	Type   string          `json:"type,omitempty"`
}

// Job is work over many deliveries or events.
type Job struct {
	ID     patchbay.JobID `json:"id"`
	Action string         `json:"action"`
	Filter JobFilter      `json:"filter"`
	By     string         `json:"by"`
	// State is pending, running, succeeded, failed or cancelled.
	State string `json:"state"`
	// Total is how many things it looks at; nil when they were too many to be counted.
	Total   *int64 `json:"total"`
	Seen    int64  `json:"seen"`
	Changed int64  `json:"changed"`
	Skipped int64  `json:"skipped"`
	Failed  int64  `json:"failed"`
	// Progress is from 0 to 1.
	Progress   float64   `json:"progress"`
	ETA        time.Time `json:"eta"`
	Error      string    `json:"error"`
	Cancelling bool      `json:"cancelling"`
	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
}

// Ended reports whether nothing more comes of it.
func (j *Job) Ended() bool {
	return j.State == "succeeded" || j.State == "failed" || j.State == "cancelled"
}

// JobPreview says what a job would do.
type JobPreview struct {
	Action string    `json:"action"`
	Filter JobFilter `json:"filter"`
	// Total is how many deliveries or events it would touch; Complete says that all were counted.
	Total    int64 `json:"total"`
	Complete bool  `json:"complete"`
}

// JobsFilter selects jobs for a list. Zero fields select everything.
type JobsFilter struct {
	States []string
	Action string
	Paging
}

// Jobs lists jobs, newest first.
func (c *Client) Jobs(ctx context.Context, f JobsFilter) (*Page[Job], error) {
	q := f.query()
	set(q, "state", strings.Join(f.States, ","))
	set(q, "action", f.Action)
	return call[Page[Job]](ctx, c, http.MethodGet, "/v1/jobs", q, nil)
}

// Job returns a job with its progress.
func (c *Client) Job(ctx context.Context, id patchbay.JobID) (*Job, error) {
	return call[Job](ctx, c, http.MethodGet, "/v1/jobs/"+id.String(), nil, nil)
}

// CreateJob makes a job, which runs by itself.
func (c *Client) CreateJob(ctx context.Context, j *NewJob) (*Job, error) {
	return call[Job](ctx, c, http.MethodPost, "/v1/jobs", nil, j)
}

// PreviewJob says what CreateJob would do.
func (c *Client) PreviewJob(ctx context.Context, j *NewJob) (*JobPreview, error) {
	return call[JobPreview](ctx, c, http.MethodPost, "/v1/jobs", dryRun(), j)
}

// CancelJob asks for a job's end. What it has done stays done.
func (c *Client) CancelJob(ctx context.Context, id patchbay.JobID) (*Job, error) {
	return call[Job](ctx, c, http.MethodPost, "/v1/jobs/"+id.String()+"/cancel", nil, nil)
}

// Erase makes the job that forgets.
func (c *Client) Erase(ctx context.Context, e *Erasure) (*Job, error) {
	return call[Job](ctx, c, http.MethodPost, "/v1/erase", nil, e)
}

// PreviewErasure says what Erase would do.
func (c *Client) PreviewErasure(ctx context.Context, e *Erasure) (*JobPreview, error) {
	return call[JobPreview](ctx, c, http.MethodPost, "/v1/erase", dryRun(), e)
}

func dryRun() map[string][]string { return map[string][]string{"dry_run": {"true"}} }
