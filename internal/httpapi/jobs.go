package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/store"
)

// Jobs does things to many deliveries and events.
type Jobs interface {
	Create(ctx context.Context, c *access.Caller, in jobs.Input) (*jobs.View, error)
	// Preview says what Create would do.
	Preview(ctx context.Context, c *access.Caller, in jobs.Input) (*jobs.Preview, error)
	Erase(ctx context.Context, c *access.Caller, in jobs.Erasure) (*jobs.View, error)
	// PreviewErasure says what Erase would do.
	PreviewErasure(ctx context.Context, c *access.Caller, in jobs.Erasure) (*jobs.Preview, error)
	Get(ctx context.Context, c *access.Caller, id patchbay.JobID) (*jobs.View, error)
	// List lists jobs, the newest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, q jobs.Query) (views []jobs.View, more bool, err error)
	Cancel(ctx context.Context, c *access.Caller, id patchbay.JobID) (*jobs.View, error)
}

// jobRoutes registers the routes of jobs.
func (a *api) jobRoutes() {
	register(a, operation{id: "create-job", method: http.MethodPost, path: "/v1/jobs", tag: tagJobs, summary: "Do something to many deliveries or events",
		description: "`retry` and `cancel` take the filters of deliveries (`state`, `link`, `event`, `integration`, `scope`, `since`, `until`, and `type`), `replay` those " +
			"of events (`type`, `scope`, `since`, `until`), and `recover` a `link`, or `since`, with `scope`, `type` and `until`. " +
			"`recover` sends events over links that match them now and that they never went over; of a link without `since`, those from when " +
			"it was last disabled, or made. No event goes over a link twice by it. What is newer than the job, it leaves alone. It runs in small steps " +
			"and goes on after a restart. With `dry_run=true` nothing is stored: the answer is 200 and says how many deliveries or events it would touch.",
		needs: access.Manage, status: http.StatusCreated, request: exampleJobInput}, a.createJob)
	a.eitherWay("/v1/jobs", exampleJob, exampleJobPreview)
	register(a, operation{id: "list-jobs", method: http.MethodGet, path: "/v1/jobs", tag: tagJobs, summary: "List jobs",
		description: "The newest first. Those that have ended are kept for 30 days, erasures for good.", needs: access.Read,
		response: newPage([]jobs.View{exampleJob}, idCursor(cursorJobs, int64(exampleJob.ID)))}, a.listJobs)
	register(a, operation{id: "get-job", method: http.MethodGet, path: "/v1/jobs/{id}", tag: tagJobs, summary: "Get a job with its progress",
		needs: access.Read, response: exampleJob}, a.getJob)
	register(a, operation{id: "cancel-job", method: http.MethodPost, path: "/v1/jobs/{id}/cancel", tag: tagJobs, summary: "Cancel a job",
		description: "It ends after its current step; what it has done stays done. Cancelling an erasure, or what seals secrets anew, needs the permission `admin`.",
		needs:       access.Manage, response: exampleJob}, a.cancelJob)
	a.eraseRoute()
}

// eitherWay describes a route that answers with a job, or with what one would do.
func (a *api) eitherWay(path string, job, preview any) {
	op := operationOf(a.document.spec.Paths[path], http.MethodPost)
	made := op.Responses["201"]
	answer := jsonResponse("The job.", schemaOf[jobs.View](a.document), job)
	made.Description, made.Content = answer.Description, answer.Content
	op.Responses["200"] = jsonResponse("With dry_run=true: what it would touch.", schemaOf[jobs.Preview](a.document), preview)
}

type (
	// DryRun is exported, like Paging, because huma reads no other embedded fields.
	DryRun struct {
		DryRun bool `query:"dry_run" doc:"Only say how many it would touch."`
	}
	jobInput struct {
		Action string          `json:"action" doc:"One of retry, cancel, replay and recover." example:"retry"`
		Filter json.RawMessage `json:"filter,omitempty" doc:"What it is about; see the action."`
	}
	createJobInput struct {
		DryRun
		Body jobInput
	}
	newJobOutput struct {
		Status   int
		Location string `header:"Location" hidden:"true"`
		Body     any
	}
	listJobsInput struct {
		Paging
		State  []store.JobState `query:"state" doc:"One or several of pending, running, succeeded, failed and cancelled, separated by commas."`
		Action string           `query:"action" doc:"One of retry, cancel, replay, recover, erase and reseal."`
	}
	jobListOutput struct{ Body page[jobs.View] }
	jobOutput     struct{ Body jobs.View }
)

// jobsOrNot returns the service, or why there is none.
func (a *api) jobsOrNot() (Jobs, error) {
	if a.Jobs == nil {
		return nil, patchbay.Errorf(patchbay.CodeUnavailable, "this installation's database does not keep jobs")
	}
	return a.Jobs, nil
}

func (a *api) createJob(ctx context.Context, c *access.Caller, in *createJobInput) (*newJobOutput, error) {
	service, err := a.jobsOrNot()
	if err != nil {
		return nil, err
	}
	job, err := jobs.ParseInput(in.Body.Action, in.Body.Filter)
	if err != nil {
		return nil, err
	}
	if in.DryRun.DryRun {
		p, err := service.Preview(ctx, c, job)
		return previewed(p, err)
	}
	v, err := service.Create(ctx, c, job)
	return made(v, err)
}

func made(v *jobs.View, err error) (*newJobOutput, error) {
	if err != nil {
		return nil, err
	}
	return &newJobOutput{Status: http.StatusCreated, Location: "/v1/jobs/" + v.ID.String(), Body: v}, nil
}

func previewed(p *jobs.Preview, err error) (*newJobOutput, error) {
	if err != nil {
		return nil, err
	}
	return &newJobOutput{Status: http.StatusOK, Body: p}, nil
}

func (a *api) listJobs(ctx context.Context, c *access.Caller, in *listJobsInput) (*jobListOutput, error) {
	service, err := a.jobsOrNot()
	if err != nil {
		return nil, err
	}
	before, err := in.idOf(cursorJobs)
	if err != nil {
		return nil, err
	}
	q := jobs.Query{Action: in.Action, Before: patchbay.JobID(before), Limit: in.Limit}
	for _, state := range in.State {
		if state == "" {
			continue
		}
		if !slices.Contains([]store.JobState{store.JobPending, store.JobRunning, store.JobSucceeded, store.JobFailed, store.JobCancelled}, state) {
			return nil, patchbay.Invalid("state", "%q is not the state of a job", clip(string(state)))
		}
		q.States = append(q.States, state)
	}
	if q.Action != "" && !slices.Contains([]string{jobs.Retry, jobs.Cancel, jobs.Replay, jobs.Recover, jobs.Erase, jobs.Reseal}, q.Action) {
		return nil, patchbay.Invalid("action", "%q is not what a job does", clip(q.Action))
	}
	views, more, err := service.List(ctx, c, q)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorJobs, int64(views[len(views)-1].ID))
	}
	return &jobListOutput{newPage(views, next)}, nil
}

func (a *api) getJob(ctx context.Context, c *access.Caller, in *ByID) (*jobOutput, error) {
	return a.jobBy(ctx, c, in, Jobs.Get)
}

func (a *api) cancelJob(ctx context.Context, c *access.Caller, in *ByID) (*jobOutput, error) {
	return a.jobBy(ctx, c, in, Jobs.Cancel)
}

// jobBy answers with the job that one of the service's calls returns.
func (a *api) jobBy(ctx context.Context, c *access.Caller, in *ByID,
	call func(Jobs, context.Context, *access.Caller, patchbay.JobID) (*jobs.View, error)) (*jobOutput, error) {
	service, err := a.jobsOrNot()
	if err != nil {
		return nil, err
	}
	var id patchbay.JobID
	if err := pathID("job", in.ID, &id); err != nil {
		return nil, err
	}
	v, err := call(service, ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &jobOutput{*v}, nil
}

// The examples of jobs.
var (
	exampleJobInput = jobInput{Action: jobs.Retry, Filter: json.RawMessage(`{"link":"` + exampleLinkID.String() + `","state":"failed","since":"2026-11-22T00:00:00Z"}`)}
	exampleJob      = jobs.View{ID: patchbay.JobID(251_000_000_000_000_000), Action: jobs.Retry,
		Filter: &jobs.Filter{Link: exampleLinkID, States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Since: exampleTime.Truncate(24 * time.Hour)},
		By:     exampleKeyID.String(), State: store.JobRunning, Total: new(int64(812)), Seen: 250, Changed: 249, Skipped: 1, Progress: 0.31,
		ETA: new(exampleTime.Add(4 * time.Second)), CreatedAt: exampleTime, StartedAt: new(exampleTime)}
	exampleJobPreview = jobs.Preview{DryRun: true, Action: jobs.Retry, Filter: exampleJob.Filter, Total: 812, Complete: true}
)
