package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/sealing"
	"github.com/patchbay/patchbay/internal/store"
)

// Sealing knows the keys that secrets in the database are sealed with.
type Sealing interface {
	Overview(ctx context.Context, c *access.Caller) (*sealing.Overview, error)
	Rotate(ctx context.Context, c *access.Caller) (*jobs.View, error)
}

// secretRoutes registers the routes of the keys that secrets are sealed with.
func (a *api) secretRoutes() {
	register(a, operation{id: "list-secret-keys", method: http.MethodGet, path: "/v1/secrets", tag: tagOperators, summary: "List the keys that secrets are sealed with",
		description: "Never the keys themselves: their names, and how many rows of the database (revisions of links, connections, sign-ins that have begun) " +
			"cannot be read without each. A key that is not `current` and has no rows can leave the key file. Needs a key for the whole installation.",
		needs: access.Admin, response: exampleSealing}, a.listSecretKeys)
	register(a, operation{id: "rotate-secret-key", method: http.MethodPost, path: "/v1/secrets/rotate", tag: tagOperators, summary: "Seal secrets with another key",
		description: "Makes the newest key of the key file current, or a new one where this node is alone, and answers with the job that seals everything anew with it. " +
			"While a rotation has not ended, that goes on. 409 when a node that is there does not have the key: give it the key file, and ask again. " +
			"Nothing stops meanwhile. Needs a key for the whole installation.",
		needs: access.Admin, status: http.StatusCreated, response: exampleRotation}, a.rotateSecretKey)
}

type (
	sealingAnswer struct {
		Data       []sealing.KeyView `json:"data" nullable:"false" doc:"The newest last."`
		File       string            `json:"file" doc:"The key file of the node that answered; empty when something else wraps keys."`
		Unsealed   int64             `json:"unsealed" doc:"Rows that an older version has written and that are not sealed yet."`
		Unreadable int64             `json:"unreadable" doc:"Rows of which it cannot be told which key they need: they were changed."`
		Next       *string           `json:"next" doc:"Always null: an answer is whole."`
	}
	sealingOutput  struct{ Body sealingAnswer }
	rotationOutput struct {
		Location string `header:"Location" hidden:"true"`
		Body     jobs.View
	}
)

func (a *api) listSecretKeys(ctx context.Context, c *access.Caller, _ *struct{}) (*sealingOutput, error) {
	o, err := a.Sealing.Overview(ctx, c)
	if err != nil {
		return nil, err
	}
	return &sealingOutput{sealingAnswer{Data: o.Keys, File: o.File, Unsealed: o.Unsealed, Unreadable: o.Unreadable}}, nil
}

func (a *api) rotateSecretKey(ctx context.Context, c *access.Caller, _ *struct{}) (*rotationOutput, error) {
	v, err := a.Sealing.Rotate(ctx, c)
	if err != nil {
		return nil, err
	}
	return &rotationOutput{Location: "/v1/jobs/" + v.ID.String(), Body: *v}, nil
}

// The examples of sealing.
var (
	exampleSealing = sealingAnswer{File: "/var/lib/patchbay/secret.key", Data: []sealing.KeyView{
		{ID: "20260131-9f2c4e", MadeAt: new(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)), InFile: true, Rows: 812},
		{ID: "20261122-07ab31", MadeAt: &exampleTime, InFile: true, Current: true, Rows: 420},
	}}
	exampleRotation = jobs.View{ID: patchbay.JobID(251_000_000_000_000_000), Action: jobs.Reseal, Filter: &jobs.Filter{},
		By: exampleKeyID.String(), State: store.JobPending, Total: new(int64(1232)), CreatedAt: exampleTime}
)
