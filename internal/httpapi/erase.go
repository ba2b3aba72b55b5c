package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/store"
)

// eraseRoute registers the route of erasures.
func (a *api) eraseRoute() {
	register(a, operation{id: "erase", method: http.MethodPost, path: "/v1/erase", tag: tagJobs, summary: "Forget a tenant, or every event that says something",
		description: "Either `tenant`: everything of it goes (events, deliveries, links, API keys), and while that runs its events are refused with 409. " +
			"Or `path` and `value`: of every event that was accepted before and in which the path has the value, payload and actor go, with what attempts " +
			"hold of requests and answers; the event itself stays, empty. A path begins with `payload` or `actor`; in a list any element counts; numbers " +
			"compare by value; a dot that belongs to a name is written `\\.`. What waits is cancelled. It is a job: its record stays for good and holds, " +
			"once it has ended, a SHA-256 of the tenant or value instead. With `dry_run=true` nothing is stored: the answer is 200 and says how many events it would touch.",
		needs: access.Admin, status: http.StatusCreated, request: exampleEraseInput}, a.erase)
	a.eitherWay("/v1/erase", exampleErasure, exampleErasePreview)
}

type (
	eraseInput struct {
		Tenant string          `json:"tenant,omitempty" doc:"The first segment of a scope."`
		Path   string          `json:"path,omitempty" doc:"Where in the event." example:"payload.user.email"`
		Value  json.RawMessage `json:"value,omitempty" doc:"What stands there: text, a number, true, false or null."`
		Scope  string          `json:"scope,omitempty" doc:"Only events at or below it."`
		Type   string          `json:"type,omitempty" doc:"Only events of this type, or of those that a pattern matches."`
	}
	createErasureInput struct {
		DryRun
		Body eraseInput
	}
)

func (a *api) erase(ctx context.Context, c *access.Caller, in *createErasureInput) (*newJobOutput, error) {
	service, err := a.jobsOrNot()
	if err != nil {
		return nil, err
	}
	e := jobs.Erasure{Tenant: in.Body.Tenant, Path: in.Body.Path, Value: in.Body.Value, Scope: in.Body.Scope, Type: in.Body.Type}
	if in.DryRun.DryRun {
		p, err := service.PreviewErasure(ctx, c, e)
		return previewed(p, err)
	}
	v, err := service.Erase(ctx, c, e)
	return made(v, err)
}

// The examples of erasures.
var (
	exampleEraseInput = eraseInput{Path: "payload.user.email", Value: json.RawMessage(`"ann@example.com"`), Scope: "acme"}
	exampleErasure    = jobs.View{ID: patchbay.JobID(251_000_000_000_000_000), Action: jobs.Erase,
		Filter: &jobs.Filter{Path: "payload.user.email", Value: json.RawMessage(`"ann@example.com"`), Scope: "acme"},
		By:     exampleKeyID.String(), State: store.JobPending, Total: new(int64(8120)), CreatedAt: exampleTime}
	exampleErasePreview = jobs.Preview{DryRun: true, Action: jobs.Erase, Filter: exampleErasure.Filter, Total: 3, Complete: true}
)
