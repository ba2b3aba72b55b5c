package httpapi

import (
	"context"
	"net/http"

	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/cluster"
)

// Nodes knows the processes that share the installation's database.
type Nodes interface {
	Overview(ctx context.Context, c *access.Caller) (*cluster.Overview, error)
}

// nodeRoutes registers the route of nodes.
func (a *api) nodeRoutes() {
	register(a, operation{id: "list-nodes", method: http.MethodGet, path: "/v1/nodes", tag: tagOperators, summary: "List the nodes",
		description: "The processes that share the database, those that are there first. One that has not been heard of for 3 seconds is " +
			"`silent`; after 10 the others take over what it had, and it is `gone`. What is gone is listed for an hour. `shards` says how many " +
			"of the 256 parts that links are divided into the node owns: it alone sends what waits in the queue for them. " +
			"Needs a key for the whole installation.",
		needs: access.Admin, response: exampleNodes}, a.listNodes)
}

type (
	nodesAnswer struct {
		Data    []cluster.NodeView `json:"data" nullable:"false"`
		Waiting int64              `json:"waiting" doc:"Deliveries that wait in the queue, of all nodes together."`
		Next    *string            `json:"next" doc:"Always null: an answer is whole."`
	}
	nodesOutput struct{ Body nodesAnswer }
)

func (a *api) listNodes(ctx context.Context, c *access.Caller, _ *struct{}) (*nodesOutput, error) {
	o, err := a.Nodes.Overview(ctx, c)
	if err != nil {
		return nil, err
	}
	return &nodesOutput{nodesAnswer{Data: o.Nodes, Waiting: o.Waiting}}, nil
}

var exampleNodes = nodesAnswer{Data: []cluster.NodeView{{
	Number: 0, Name: "5e0b7a1f0c9d4e63a2b8f417d6c3905e", Address: "patchbay-1:8080", Version: "1.0.0", StartedAt: exampleTime, SeenAt: exampleTime,
	State: cluster.StateAlive, Self: true, Shards: 128, InFlight: 5, Ready: 3, OpenBreakers: 1,
}}, Waiting: 12}
