package store

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
)

// ErrFenced is returned by every write of a node that the others have taken for dead: what it had in memory is in other
// hands, and it must start anew.
var ErrFenced = errors.New("the other nodes took this one for dead, and its deliveries over")

// Shards is how many parts links are divided into. A part belongs to at most one node at a time, which alone sends what
// waits in the queue for its links.
const Shards = 256

// Shard returns the part that a link belongs to, 0 ≤ part < Shards.
func Shard(link patchbay.LinkID) int {
	x := uint64(link) * 0x9e3779b97f4a7c15 // identifiers of one node differ in the middle; this spreads every bit
	return int(x >> 56)
}

// Node is a process at a shared database, or one that was.
type Node struct {
	// Number stands in the node's identifiers; no two living nodes have the same. Incarnation is never used again.
	Number      int   `json:"number"`
	Incarnation int64 `json:"incarnation"`
	// Name says which nodes are the same one, started again: it stands in the data directory.
	Name string `json:"name"`
	// Address is where it serves, Version the program's.
	Address string `json:"address"`
	Version string `json:"version"`
	// StartedAt and SeenAt go by the database's clock.
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	// Gone says that it stopped in order or was fenced; its deliveries are in other hands.
	Gone bool `json:"gone"`
	// Shards are the parts that it owns.
	Shards []int `json:"shards"`
	// Report is what it said of itself last.
	Report NodeReport `json:"report"`
}

// NodeReport is what a node says of itself with every beat.
type NodeReport struct {
	InFlight     int `json:"in_flight"`
	Ready        int `json:"ready"`
	OpenBreakers int `json:"open_breakers"`
	Links        int `json:"links"`
	// Apart says that the node takes no share of the links: it is still starting, or about to leave.
	Apart bool `json:"apart,omitempty"`
	// Keys are the names of the keys in its key file, each with a fingerprint after a colon; Seals is the key that it seals
	// with.
	Keys  []string `json:"keys,omitempty"`
	Seals string   `json:"seals,omitempty"`
}

// ClusterView is who is there, at one moment by the database's clock.
type ClusterView struct {
	Now   time.Time
	Nodes []Node
}

// The kinds of changes.
const (
	ChangedLink = "link" // ID is the link's; it was saved or deleted
	ChangedType = "type" // Key is the event type's
	ChangedKey  = "key"  // ID is the API key's
	// ChangedLane says that a lane's DropBefore was raised: ID is the link's, At the new DropBefore.
	ChangedLane = "lane"
	// ChangedDelivery says that a delivery was cancelled by hand: ID is the delivery's, Link its link's.
	ChangedDelivery = "delivery"
)

// Change is something that other nodes must know of. Its transaction is committed when it can be read.
type Change struct {
	// Seq grows with every change: whoever has read up to one has seen all before it.
	Seq      int64
	Kind     string
	ID, Link int64
	At       int64
	Key      string
}

// Cluster is how several nodes share a database. A Store that also implements it is shared; one that does not has one
// node. The node that a Store speaks for joined when it was opened and leaves in order when it is closed. A write of a
// node that was fenced stores nothing and returns ErrFenced, whenever it arrives.
type Cluster interface {
	// Self is this node, as it joined.
	Self() Node
	// Beat says that this node is alive. ErrFenced when it counts as dead.
	Beat(ctx context.Context, report NodeReport) (ClusterView, error)
	// TakeOver fences every node that was not seen for longer than silent: from then on none of its writes succeeds. What
	// it had in memory gets a place in the queue (see Recover) and its shards are free. It returns those nodes, and
	// finishes what another node began and did not finish.
	TakeOver(ctx context.Context, silent time.Duration) ([]Node, error)
	// ClaimShards takes up to n free shards and returns them; ReleaseShards frees shards of this node.
	ClaimShards(ctx context.Context, n int) ([]int, error)
	ReleaseShards(ctx context.Context, shards []int) error
	// LastChange returns the newest Seq. Changes returns up to 1,000 changes after one, in order.
	LastChange(ctx context.Context) (int64, error)
	Changes(ctx context.Context, after int64) ([]Change, error)
	// Announce makes changes known that no other method makes known by itself: SaveLink, DeleteLink, PutType, DeleteType,
	// SaveKey, DeleteKey, SaveConnection, SaveRefreshed, DeleteConnection, DeleteSession and SaveLane (when it raises
	// DropBefore) do so in their own transactions.
	Announce(ctx context.Context, changes []Change) error
	// Wake tells the owners of links that there is something new in their queues. It is a hint and may be lost.
	Wake(ctx context.Context, links []patchbay.LinkID) error
	// Listen calls woken with links, and changed when there are new changes, from its own goroutine until ctx is done or
	// the connection is lost; then it returns why. Both are hints: whoever looks every few seconds misses nothing.
	Listen(ctx context.Context, woken func([]patchbay.LinkID), changed func()) error
}
