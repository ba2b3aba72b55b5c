package client

import (
	"context"
	"net/http"
	"time"
)

// Node is a process that shares the installation's database, or one that did.
type Node struct {
	// Number ends the identifiers that the node makes; Name is the same after a restart.
	Number    int       `json:"number"`
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	// State is "alive", "silent" or "gone".
	State string `json:"state"`
	// Self marks the node that answered.
	Self bool `json:"self"`
	// Shards is how many of the 256 parts of the links it owns.
	Shards int `json:"shards"`
	// InFlight counts attempts under way, Ready deliveries in its memory, OpenBreakers links that it has stopped trying.
	InFlight     int `json:"in_flight"`
	Ready        int `json:"ready"`
	OpenBreakers int `json:"open_breakers"`
}

// Nodes is who shares the installation's database.
type Nodes struct {
	Data []Node `json:"data"`
	// Waiting counts deliveries that wait in the queue, of all nodes together.
	Waiting int64 `json:"waiting"`
}

// Nodes lists the nodes. The key must be an administrator's of the whole installation.
func (c *Client) Nodes(ctx context.Context) (*Nodes, error) {
	return call[Nodes](ctx, c, http.MethodGet, "/v1/nodes", nil, nil)
}
