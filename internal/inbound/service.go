// Package inbound takes in what partners send: a call is read once, verified before anything is parsed, stored, answered in
// the partner's time, and only then made into events. What cannot be placed is kept and can be read again.
package inbound

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
)

// Target is a link that a call may be for.
type Target struct {
	Link *patchbay.Link
	// Settings is what Definition.Decode returned.
	Settings any
	// Secrets are what the partner may sign with, the newest first.
	Secrets []patchbay.Secret
	// Attaching says that the link is being set up at the partner at the moment.
	Attaching bool
	// Target is the place at the partner that the link stands for; "" when it stands for none.
	Target string
}

// Links finds the links that calls are for.
type Links interface {
	// HookLink finds the link whose own address ends with a token. How long it takes says nothing about the token.
	HookLink(integration, token string) (*Target, bool)
	// HookTarget finds a link again.
	HookTarget(id patchbay.LinkID) (*Target, bool)
	// Receiving returns the links that hear of a connection's account.
	Receiving(integration string, con patchbay.ConnectionID) []*Target
	// Learn keeps a secret that a partner told us while the link is being attached.
	Learn(ctx context.Context, id patchbay.LinkID, secret patchbay.Secret) error
}

// Connections knows the accounts that are connected, without their credentials.
type Connections interface {
	Known(id patchbay.ConnectionID) (*patchbay.Connection, bool)
	ByAccount(integration, account string) []patchbay.Connection
}

// Events takes in what calls become.
type Events interface {
	Bring(ctx context.Context, e *ingest.Brought) (ingest.Receipt, error)
}

// Observer is told what happens to calls. It must not block. Reasons and outcomes are words for metrics.
type Observer interface {
	// HookReceived is told of a call that was believed: "stored", "duplicate" or "answered", which is all that a ping needs.
	HookReceived(integration, outcome string)
	// HookRefused is told of a call that was not taken in. The integration is "" when there is none of the name.
	HookRefused(integration, reason string)
	// HookRead is told of a call that was read, and how long that was after it had come in.
	HookRead(integration string, state patchbay.HookState, after time.Duration)
}

// Doubter is what Connections may be besides: it asks a partner whether credentials are still good.
type Doubter interface {
	Doubt(ctx context.Context, id patchbay.ConnectionID)
}

// Options configure a Service. All but Connections, Configs, Observer, Log, Now, Node and PublicURL are required.
type Options struct {
	Store        store.Hooks
	NewID        func(n int) int64
	Links        Links
	Connections  Connections // nil: nobody is connected
	Events       Events
	Integrations map[string]integration.Integration
	// Configs are the operator's settings by integration.
	Configs  map[string]json.RawMessage
	Observer Observer
	Log      *slog.Logger
	Now      func() time.Time
	// Node is this node's number: what other nodes have taken in is left to them for a while.
	Node int
	// PublicURL is where this installation is reached, which some partners sign.
	PublicURL string
	// Remember is how long what became of a call must not become of it again: as long as calls are kept.
	Remember time.Duration
}

// Service takes calls in and reads them.
type Service struct {
	o      Options
	now    func() time.Time
	places places
	shards []*shard
	// bodyTime is the constant, but for tests.
	bodyTime time.Duration

	mu      sync.Mutex
	working map[patchbay.HookID]struct{}  // queued here or being read
	delayed map[patchbay.HookID]time.Time // to be read again, not before a time

	life   sync.Mutex
	cancel context.CancelFunc
	owned  sync.WaitGroup
	look   chan struct{} // wakes the finder
}

// New returns a Service. Calls are answered from now on, and read once it is started.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Connections == nil {
		o.Connections = unconnected{}
	}
	s := &Service{
		o: o, now: o.Now, working: map[patchbay.HookID]struct{}{}, delayed: map[patchbay.HookID]time.Time{}, look: make(chan struct{}, 1), bodyTime: bodyTime,
	}
	for range readers {
		s.shards = append(s.shards, &shard{queue: make(chan *store.Hook, shardQueue)})
	}
	return s
}

// receiver returns the integration of a key when it receives anything.
func (s *Service) receiver(key string) (integration.Receiver, bool) {
	r, ok := s.o.Integrations[key].(integration.Receiver)
	return r, ok
}

// unobserved is an Observer that nobody looks at.
type unobserved struct{}

// HookReceived does nothing.
func (unobserved) HookReceived(string, string) {}

// HookRefused does nothing.
func (unobserved) HookRefused(string, string) {}

// HookRead does nothing.
func (unobserved) HookRead(string, patchbay.HookState, time.Duration) {}

// unconnected are no connections.
type unconnected struct{}

// Known finds nothing.
func (unconnected) Known(patchbay.ConnectionID) (*patchbay.Connection, bool) { return nil, false }

// ByAccount finds nothing.
func (unconnected) ByAccount(string, string) []patchbay.Connection { return nil }
