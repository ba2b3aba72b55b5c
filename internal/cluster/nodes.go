package cluster

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// The states of a node.
const (
	// StateAlive is a node that says so.
	StateAlive = "alive"
	// StateSilent is one that has not been heard of for a while, and is taken over if that goes on.
	StateSilent = "silent"
	// StateGone is one that stopped, or that was taken over.
	StateGone = "gone"
)

// silentAfter is when a node is shown as silent, and goneShown how long one that is gone is shown.
const (
	silentAfter = 3 * time.Second
	goneShown   = time.Hour
)

// NodeView is a node as the API shows it.
type NodeView struct {
	// Number ends the identifiers that the node makes.
	Number int `json:"number"`
	// Name is the same after a restart; it stands in the data directory.
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	State     string    `json:"state"`
	// Self marks the node that answered.
	Self bool `json:"self"`
	// Shards is how many of the 256 parts of the links it owns: it alone sends what waits in the queue for them.
	Shards int `json:"shards"`
	// InFlight counts attempts under way, Ready deliveries in its memory, OpenBreakers links that it has stopped trying.
	InFlight     int `json:"in_flight"`
	Ready        int `json:"ready"`
	OpenBreakers int `json:"open_breakers"`
}

// Others returns the nodes that are there beside this one, with what they said of themselves last.
func (m *Member) Others() []store.Node {
	view := m.view.Load()
	if view == nil {
		return nil
	}
	var out []store.Node
	for i := range view.Nodes {
		if n := &view.Nodes[i]; !n.Gone && n.Incarnation != m.self.Incarnation {
			out = append(out, *n)
		}
	}
	return out
}

// Overview is who is there and what waits.
type Overview struct {
	Nodes []NodeView
	// Waiting counts deliveries in the queue, of all nodes together.
	Waiting int64
}

// Service shows the nodes.
type Service struct {
	view    func() store.ClusterView
	self    int64
	report  func() store.NodeReport
	shards  func() int
	waiting func(context.Context) (int64, error)
}

// NewService shows the nodes that a Member knows of. waiting counts what waits in the queue.
func NewService(m *Member, waiting func(context.Context) (int64, error)) *Service {
	return &Service{
		view: func() store.ClusterView { return *m.view.Load() }, self: m.self.Incarnation, waiting: waiting,
		report: func() store.NodeReport { return m.parts.Report() }, shards: m.shards.mine,
	}
}

// NewSingle shows the only node of an installation whose database is not shared.
func NewSingle(self store.Node, report func() store.NodeReport, waiting func(context.Context) (int64, error)) *Service {
	return &Service{self: self.Incarnation, report: report, shards: func() int { return store.Shards }, waiting: waiting, view: func() store.ClusterView {
		now := time.Now().UTC()
		node := self
		node.SeenAt = now
		return store.ClusterView{Now: now, Nodes: []store.Node{node}}
	}}
}

// Overview returns the nodes, those that are there first. The caller needs Admin on the whole installation.
func (s *Service) Overview(ctx context.Context, c *access.Caller) (*Overview, error) {
	if err := c.Require(access.Admin); err != nil {
		return nil, err
	}
	if err := c.Reach(""); err != nil {
		return nil, err
	}
	waiting, err := s.waiting(ctx)
	if err != nil {
		return nil, patchbay.Internal("counting what waits", err)
	}
	view := s.view()
	out := &Overview{Nodes: []NodeView{}, Waiting: waiting}
	for i := range view.Nodes {
		n := &view.Nodes[i]
		v := NodeView{
			Number: n.Number, Name: n.Name, Address: n.Address, Version: n.Version, StartedAt: n.StartedAt.UTC(), SeenAt: n.SeenAt.UTC(),
			State: StateAlive, Self: n.Incarnation == s.self, Shards: len(n.Shards),
		}
		silence := view.Now.Sub(n.SeenAt)
		switch {
		case n.Gone && silence > goneShown:
			continue
		case n.Gone:
			v.State = StateGone
		case silence > silentAfter:
			v.State = StateSilent
		}
		report := n.Report
		if v.Self {
			report, v.Shards = s.report(), s.shards() // the view may be a second old
		}
		if !n.Gone {
			v.InFlight, v.Ready, v.OpenBreakers = report.InFlight, report.Ready, report.OpenBreakers
		}
		out.Nodes = append(out.Nodes, v)
	}
	slices.SortFunc(out.Nodes, func(a, b NodeView) int {
		return cmp.Or(boolFirst(a.State != StateGone, b.State != StateGone), cmp.Compare(a.Number, b.Number), b.StartedAt.Compare(a.StartedAt))
	})
	return out, nil
}

// boolFirst orders what is true before what is not.
func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
