package links

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/route"
	"github.com/patchbay/patchbay/internal/store"
)

// rotationOverlap is how long a replaced signing secret still signs beside its successor.
const rotationOverlap = 24 * time.Hour

// Engine is what the service needs of the delivery engine.
type Engine interface {
	SetLink(ctx context.Context, l *deliver.Link) error
	RemoveLink(ctx context.Context, id patchbay.LinkID, dropBefore patchbay.DeliveryID) error
	Health(id patchbay.LinkID) deliver.Health
	// Failing returns the links whose last attempt failed.
	Failing() []patchbay.LinkID
	// DropBacklog cancels everything that waits for a link and has a lower identifier.
	DropBacklog(ctx context.Context, id patchbay.LinkID, before patchbay.DeliveryID) error
	Try(ctx context.Context, c deliver.Call) deliver.Outcome
}

// Options configure a Service.
type Options struct {
	Store interface {
		store.Links
		store.Maintenance
	}
	Engine       Engine
	Integrations map[string]integration.Integration
	// Configs are the operator's settings by integration.
	Configs map[string]json.RawMessage
	// Connections are the accounts at partners that links may use; nil where there are none.
	Connections Connections
	// Catalog is what previews are made with; nil means that there are none.
	Catalog Catalog
	// Client is the guarded way out, for what is set up at partners and asked of them.
	Client *outbound.Client
	// PublicURL is where the world reaches this installation, without a slash at its end; "" when nobody has said so.
	PublicURL string
	// Kinds says which scopes are a team's or a user's.
	Kinds Kinds
	// Owns reports whether this node is the one that looks after a link's side at the partner; nil means that it is for
	// every link.
	Owns func(patchbay.LinkID) bool
	// Heard is how long it takes other nodes to hear of a new link: a partner may call back at any of them while the hook
	// is being registered. 0 where there are none.
	Heard time.Duration
	// Raise tells the rest of the system that a link was detached; nil tells nobody.
	Raise func(ctx context.Context, n deliver.Notice, l *patchbay.Link, short string) error
	Log   *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Cell says whose links these are.
	Cell access.Cell
}

// Service looks after links.
type Service struct {
	o     Options
	now   func() time.Time
	index route.Index

	change sync.Mutex // held by whoever changes a link, so that changes come one after the other
	mu     sync.RWMutex
	links  map[patchbay.LinkID]*compiled
	stored map[patchbay.LinkID]*patchbay.Link
	tree   tree
	tokens map[[32]byte]patchbay.LinkID // by the hash of their hooks' tokens
	using  map[patchbay.ConnectionID]map[patchbay.LinkID]struct{}

	fails troubles

	rhythm rhythm
	tasks  tasks
	run    context.Context // ends with Stop
	cancel context.CancelFunc
	owned  sync.WaitGroup
}

// counter counts events on which an expression could not be evaluated.
type counter struct {
	n    atomic.Int64
	last atomic.Pointer[string]
}

func (c *counter) count(err error) {
	text := err.Error()
	c.n.Add(1)
	c.last.Store(&text)
}

// New returns a Service without links; Load reads them.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		o: o, now: o.Now, links: map[patchbay.LinkID]*compiled{}, stored: map[patchbay.LinkID]*patchbay.Link{}, tree: newTree(),
		tokens: map[[32]byte]patchbay.LinkID{}, using: map[patchbay.ConnectionID]map[patchbay.LinkID]struct{}{},
		rhythm: usual, tasks: tasks{of: map[patchbay.LinkID]*task{}, poke: make(chan struct{}, 1)},
	}
	s.run, s.cancel = context.WithCancel(context.Background())
	return s
}

// Load reads every link from the store. One that can no longer be used (its integration is gone) is kept, shown as
// disabled with the reason, and does not keep the others from working.
func (s *Service) Load(ctx context.Context) error {
	all, err := s.o.Store.AllLinks(ctx)
	if err != nil {
		return patchbay.Internal("reading the links", err)
	}
	s.mu.Lock()
	s.tree.bulk = true
	s.mu.Unlock()
	for i := range all {
		if err := s.put(ctx, &all[i], s.compileStored(&all[i])); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.tree.sorted()
	s.mu.Unlock()
	return nil
}

// compileStored makes a link ready that was checked when it was saved, perhaps by another version of the program.
func (s *Service) compileStored(l *patchbay.Link) *compiled {
	c, err := s.compile(l)
	if err != nil {
		s.o.Log.Warn("a stored link cannot be used and counts as disabled", "link", l.ID, "integration", l.Integration, "error", err)
		c = &compiled{broken: err.Error(), events: &counter{}, keys: &counter{}}
	}
	return c
}

// put makes a link the current one, everywhere on this node.
func (s *Service) put(ctx context.Context, l *patchbay.Link, c *compiled) error {
	s.call(l, c)
	s.mu.Lock()
	if before := s.links[l.ID]; before != nil {
		c.events, c.keys = before.events, before.keys
	}
	before := s.stored[l.ID]
	s.reindex(before, l)
	s.links[l.ID], s.stored[l.ID] = c, l
	s.tree.put(l, c)
	s.mu.Unlock()
	s.plan(before, l, c)
	switch {
	case l.State == patchbay.LinkDetaching:
		s.index.Remove(l.ID)
		return s.o.Engine.RemoveLink(ctx, l.ID, patchbay.DeliveryID(s.o.Store.NewID(1)))
	case c.broken != "":
		s.index.Remove(l.ID)
		return nil
	case l.OptOut:
		s.index.Put(c.route)
		return nil
	}
	if err := s.o.Engine.SetLink(ctx, c.deliver); err != nil {
		return err
	}
	s.index.Put(c.route)
	return nil
}

// Match returns the links that an event goes to. A filter that could not be evaluated is counted.
func (s *Service) Match(e *route.Event, supports func(string) bool) route.Result {
	r := s.index.Match(e, supports)
	for _, f := range r.FilterErrors {
		s.mu.RLock()
		c := s.links[f.Link.ID]
		s.mu.RUnlock()
		if c != nil {
			c.events.count(f.Err)
		}
	}
	return r
}

// Explain says of every link that the caller may see whether it matches and why.
func (s *Service) Explain(e *route.Event, supports func(string) bool) []route.Explanation {
	return s.index.Explain(e, true, supports)
}

// Create checks and stores a new link.
func (s *Service) Create(ctx context.Context, c *access.Caller, in Input) (*View, error) {
	if err := c.Require(access.Manage); err != nil {
		return nil, err
	}
	if in.Integration == nil || *in.Integration == "" {
		return nil, patchbay.Invalid("integration", "is required: the key of one of GET /integrations")
	}
	i, def, err := s.integration(*in.Integration)
	if err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	l := &patchbay.Link{
		ID: patchbay.LinkID(s.o.Store.NewID(1)), Integration: *in.Integration, Scope: c.Scope, Reach: patchbay.ReachSubtree,
		Events: []patchbay.Pattern{}, Enabled: true, State: patchbay.LinkActive, Settings: json.RawMessage("{}"),
		CreatedAt: now, UpdatedAt: now, Revision: 1,
	}
	if err := apply(l, &in, nil); err != nil {
		return nil, err
	}
	if err := purpose(i, l); err != nil {
		return nil, err
	}
	if err := s.place(c, def, l.Scope); err != nil {
		return nil, err
	}
	if err := withheld(c, def, in.Settings); err != nil {
		return nil, err
	}
	con, err := s.connect(ctx, c, l)
	if err != nil {
		return nil, err
	}
	made, err := settle(def, l, in.Settings, false, con)
	if err != nil {
		return nil, err
	}
	compiled, err := s.compile(l)
	if err != nil {
		return nil, err
	}
	if err := compiled.purpose(l); err != nil {
		return nil, err
	}
	if compiled.receives {
		if l.Hook, err = newHook(); err != nil {
			return nil, err
		}
		if signs(compiled, l, s.o.Configs[l.Integration]) {
			made[hookSecret] = l.Hook.Secret.Reveal()
		}
	}
	if linker, ok := i.(integration.Linker); ok && linker.Attaches(compiled.settings) {
		l.State, compiled.route.State = patchbay.LinkAttaching, patchbay.LinkAttaching
	}
	if err := s.saveNew(s.created(ctx, c, l, compiled), l, compiled); err != nil {
		return nil, err
	}
	settle := func(r *side) error { return s.settleNew(context.WithoutCancel(ctx), r) }
	if _, err := s.attachNow(ctx, l.ID, settle); err != nil {
		return nil, err
	}
	return s.after(c, l, compiled, made), nil
}

// saveNew is save for a link that nobody knows yet.
func (s *Service) saveNew(ctx context.Context, l *patchbay.Link, c *compiled) error {
	s.change.Lock()
	defer s.change.Unlock()
	return s.save(ctx, l, c)
}

// after shows a link as it is once a change of it is done, with what was made for it. l and compiled are what it is when it
// is gone by then.
func (s *Service) after(c *access.Caller, l *patchbay.Link, compiled *compiled, made map[string]string) *View {
	s.mu.RLock()
	if now := s.stored[l.ID]; now != nil {
		l, compiled = now, s.links[l.ID]
	}
	s.mu.RUnlock()
	v := s.view(c, l, compiled)
	if c.May(access.Secrets) {
		v.Secrets = made
	}
	return v
}

// place checks that the caller may put a link into a scope, and that the scope is one of this installation's and of the
// integration's.
func (s *Service) place(c *access.Caller, def *integration.Definition, scope patchbay.Scope) error {
	if err := c.Reach(scope); err != nil {
		return err
	}
	if err := s.o.Kinds.check(def, scope); err != nil {
		return err
	}
	return s.o.Cell.Refuse(scope)
}

// settle merges given settings into a link's, takes what its connection has for those that are missing, makes what is to
// be made, and checks the whole. It returns what it made.
func settle(def *integration.Definition, l *patchbay.Link, given json.RawMessage, patch bool, con *patchbay.Connection) (map[string]string, error) {
	merged := given
	if patch {
		m, err := def.Settings.Merge(l.Settings, given)
		if err != nil {
			return nil, err
		}
		merged = m
	}
	merged, err := fill(def, merged, con)
	if err != nil {
		return nil, err
	}
	made := map[string]string{}
	for i := range def.Settings {
		set := &def.Settings[i]
		if set.Generate == nil || present(merged, set.Key) {
			continue
		}
		value, err := set.Generate()
		if err != nil {
			return nil, patchbay.Internal("making a secret", err)
		}
		made[set.Key] = value
		if merged, err = with(merged, set.Key, value); err != nil {
			return nil, err
		}
	}
	checked, err := def.Settings.Check(merged, integration.CheckOptions{Connected: l.Connection != 0})
	if err != nil {
		return nil, err
	}
	l.Settings = checked
	return made, nil
}

// present reports whether settings have a value that is not blank.
func present(raw json.RawMessage, key string) bool {
	var in map[string]any
	if json.Unmarshal(raw, &in) != nil {
		return false
	}
	v, ok := in[key]
	return ok && v != nil && v != ""
}

// with returns settings with one value set.
func with(raw json.RawMessage, key, value string) (json.RawMessage, error) {
	in := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, patchbay.Invalid("settings", "must be a JSON object")
		}
	}
	if in == nil { // "null"
		in = map[string]json.RawMessage{}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	in[key] = text
	return json.Marshal(in)
}

// save stores a link and makes it the current one. The caller holds s.change.
func (s *Service) save(ctx context.Context, l *patchbay.Link, c *compiled) error {
	switch err := s.o.Store.SaveLink(ctx, l); {
	case errors.Is(err, store.ErrConflict):
		return patchbay.Errorf(patchbay.CodeConflict, "the link was changed by someone else in the meantime: read it again")
	case errors.Is(err, store.ErrUnavailable):
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database cannot take writes at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	case err != nil:
		return patchbay.Internal("saving the link", err)
	}
	return s.put(ctx, l, c)
}

// find returns a link that the caller may see.
func (s *Service) find(c *access.Caller, p access.Permission, id patchbay.LinkID) (*patchbay.Link, *compiled, error) {
	if err := c.Require(p); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	l, compiled := s.stored[id], s.links[id]
	s.mu.RUnlock()
	if l == nil || !c.Sees(l.Scope) {
		return nil, nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no link %s", id)
	}
	return l, compiled, nil
}

// Get returns a link.
func (s *Service) Get(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*View, error) {
	l, compiled, err := s.findElsewhere(ctx, c, access.Read, id)
	if err != nil {
		return nil, err
	}
	return s.view(c, l, compiled), nil
}

// Update changes a link. clear names fields that were sent as null; ifMatch, when not 0, is the revision that the
// caller has read.
func (s *Service) Update(ctx context.Context, c *access.Caller, id patchbay.LinkID, in Input, clear []string, ifMatch int) (*View, error) {
	return s.alter(ctx, c, id, ifMatch, func(l *patchbay.Link, def *integration.Definition) (map[string]string, error) {
		if in.Integration != nil && *in.Integration != l.Integration {
			return nil, patchbay.Invalid("integration", "cannot be changed: make another link")
		}
		before := *l
		if err := apply(l, &in, clear); err != nil {
			return nil, err
		}
		if err := s.place(c, def, l.Scope); err != nil {
			return nil, err
		}
		if slices.Contains(clear, "settings") {
			return nil, patchbay.Invalid("settings", "cannot be null")
		}
		var con *patchbay.Connection
		if l.Connection != before.Connection || l.Scope != before.Scope {
			var err error
			if con, err = s.connect(ctx, c, l); err != nil {
				return nil, err
			}
		}
		if err := withheld(c, def, in.Settings); err != nil {
			return nil, err
		}
		if in.Settings == nil && l.Connection == before.Connection && (!l.OptOut || !l.Enabled) {
			return nil, nil
		}
		l.OptOut = false
		made, err := settle(def, l, in.Settings, true, con)
		if err == nil && l.Connection == before.Connection && !sameJSON(l.Settings, before.Settings) {
			err = s.entrusted(c, l)
		}
		return made, err
	})
}

// Pause holds what matches from now on, and what has not been sent.
func (s *Service) Pause(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*View, error) {
	return s.edit(ctx, c, id, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		if l.State == patchbay.LinkAttaching {
			return nil, patchbay.Errorf(patchbay.CodeConflict, "the link is still being set up at the partner, so there is nothing to pause: disable or delete it")
		}
		l.State = patchbay.LinkPaused
		return nil, nil
	})
}

// Resume makes a paused or disabled link active; what was held is delivered.
func (s *Service) Resume(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*View, error) {
	return s.edit(ctx, c, id, 0, func(l *patchbay.Link, def *integration.Definition) (map[string]string, error) {
		if l.State != patchbay.LinkAttaching {
			l.State = patchbay.LinkActive
		}
		l.Enabled, l.StateReason = true, ""
		if l.OptOut { // it becomes a link like others if it has all that one needs
			l.OptOut = false
			return settle(def, l, nil, true, nil)
		}
		return nil, nil
	})
}

// Skip is Resume without what has waited: that is cancelled with one write, and a recovery can bring it back.
func (s *Service) Skip(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*View, error) {
	l, _, err := s.findElsewhere(ctx, c, access.Manage, id)
	if err != nil {
		return nil, err
	}
	if l.State == patchbay.LinkDetaching {
		return nil, patchbay.Errorf(patchbay.CodeConflict, "the link %s was deleted: its side at the partner is being taken down", id)
	}
	if err := s.o.Engine.DropBacklog(ctx, id, patchbay.DeliveryID(s.o.Store.NewID(1))); err != nil {
		return nil, err
	}
	return s.Resume(context.WithValue(ctx, skipping{}, true), c, id)
}

// Disable disables a link for a reason that its owner is shown. It is not a caller's doing, so nobody is asked.
func (s *Service) Disable(ctx context.Context, id patchbay.LinkID, reason string) error {
	system := &access.Caller{Permissions: []access.Permission{access.Admin}}
	_, err := s.edit(ctx, system, id, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		l.Enabled, l.StateReason = false, reason
		return nil, nil
	})
	return err
}
