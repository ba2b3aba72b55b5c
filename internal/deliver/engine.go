// Package deliver sends deliveries: durably, with retries, and so that a link that is slow, hanging or dead costs the
// others nothing. Every link has a lane with its own concurrency, rate and breaker; lanes share the slots by tenant
// first and link second. What does not fit in memory stays in the store's queue.
//
// There is one path for first and later attempts: an item becomes ready in its lane (fresh from an acceptance, or
// loaded from the queue), gets a slot, is sent once by its integration, and what came of it is decided by decide and
// recorded. Integrations never retry; only this package does.
package deliver

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store"
)

// The limits of the engine, and why they are what they are.
const (
	// defaultInFlight bounds attempts at one time. With some 25 KB for each (goroutine, connection, buffers) that is
	// 50 MB; a thousand hanging links take one slot each and leave half of them free.
	defaultInFlight = 2048
	// hostCap bounds attempts at one time to one destination host and port.
	hostCap = 64
	// laneReady is how many deliveries of one link wait in memory for a slot; the rest waits in the store.
	laneReady = 4096
	// readyBytes bounds the payloads of all deliveries that wait in memory. Lanes that do not work get at most half,
	// so that a backlog of theirs leaves room for those that do.
	readyBytes = 48 << 20
	// loadBatch is how many deliveries are read from the queue at a time, loadBelow when the next ones are.
	loadBatch = 256
	loadBelow = 32
	// unrecordedMost stops sending while the store cannot keep up with results (or is out of disk): what was sent
	// and not recorded would be sent again after a crash.
	unrecordedMost = 8192
	// attemptTimeout bounds one attempt.
	attemptTimeout = 15 * time.Second
	// slowAfter is when an attempt under way marks its lane as slow, and parkAfter when a fresh delivery that still
	// waits for a slot gets a place in the queue, so that the floor of a recovery does not stay behind.
	slowAfter = 500 * time.Millisecond
	parkAfter = 5 * time.Second
	// sweepEvery is how often both are looked at while anything is in memory.
	sweepEvery = 100 * time.Millisecond
)

// limits are those of the constants that tests lower.
type limits struct{ laneReady, readyBytes, hostCap, unrecorded int }

// Link is a link as the engine needs it: checked, decoded, ready to send.
type Link struct {
	*patchbay.Link
	Definition *integration.Definition
	// Sender is nil for links of integrations that only receive: no event is routed to them.
	Sender integration.Sender
	// Tester is nil where a test sends an event.
	Tester integration.Tester
	// Settings is what Definition.Decode returned, Secrets every secret text in them, Redactor what hides those.
	Settings any
	Secrets  []string
	Redactor *outbound.Redactor
	// Config is the operator's settings for the integration.
	Config []byte
	// OrderKey returns the key that orders an event among the link's deliveries; nil when the link has no order, or one
	// for everything.
	OrderKey func(*patchbay.Event) string
	// Body makes the link's own body; nil when it has none.
	Body func(*patchbay.Event) ([]byte, error)
	// Host is the destination's host and port as far as the settings tell, "" when they do not.
	Host string
}

// holds reports whether deliveries wait rather than go out.
func (l *Link) holds() bool { return !l.Enabled || l.State != patchbay.LinkActive }

// Catalog renders events for integrations.
type Catalog interface {
	// Title returns the title of the event's type.
	Title(e *patchbay.Event) string
	Render(e *patchbay.Event, d *integration.Definition) (*integration.Message, error)
	// Thread returns the thread that the event's message belongs to; "" when none.
	Thread(e *patchbay.Event, d *integration.Definition) string
}

// Notice is something that the engine tells the rest of the system: a link began to fail, recovered, or must be
// disabled.
type Notice struct {
	Type  string // patchbay.link.failing, .disabled, .recovered, .detached
	Link  patchbay.LinkID
	Why   string
	Since time.Time
	// Failures counts failed attempts in a row.
	Failures int
}

// The types of notices are the keys of the system's event types.
const (
	NoticeFailing   = "patchbay.link.failing"
	NoticeDisabled  = "patchbay.link.disabled"
	NoticeRecovered = "patchbay.link.recovered"
	// NoticeDetached is told by whoever looks after links: what was set up for one at its partner may be left there.
	NoticeDetached = "patchbay.link.detached"
)

// Observer is told what happens, for metrics and live views. Its methods are called on the hot path and must not
// block.
type Observer interface {
	Attempted(d *patchbay.Delivery, e *patchbay.Event, a *patchbay.Attempt)
	Decided(d *patchbay.Delivery, e *patchbay.Event)
}

// Cluster is what the engine must know of other nodes.
type Cluster interface {
	// Owns reports whether this node alone sends what waits in the queue for a link.
	Owns(link patchbay.LinkID) bool
	// Valid reports whether the others still count this node as alive: no attempt may begin while they may not.
	Valid() bool
	// Wake tells the owners of links, not this node, that there is something new in their queues. It does not block.
	Wake(links []patchbay.LinkID)
}

// Connections gives attempts the credentials of their link's connection.
type Connections interface {
	// Use returns a connection for a link in a scope, with credentials that are good now as far as is known: they are
	// refreshed first when they must be. Its error is a sentence; with the code user_configuration_error only the
	// connection's owner can help, everything else may work later.
	Use(ctx context.Context, id patchbay.ConnectionID, scope patchbay.Scope) (*integration.Connected, error)
	// Refused says that the partner did not take these credentials: they are renewed before they are used again.
	Refused(ctx context.Context, used *integration.Connected)
	// Known returns a connection from memory, without its credentials: previews show it.
	Known(id patchbay.ConnectionID) (*patchbay.Connection, bool)
}

// Options configure an Engine.
type Options struct {
	Store interface {
		store.Queue
		store.Deliveries
		store.Events
		store.Links
	}
	// Cluster is nil when this is the only node there can be.
	Cluster Cluster
	// Connections is nil where no link uses one.
	Connections Connections
	// Client is the guarded way out.
	Client  *outbound.Client
	Catalog Catalog
	// Notify is called for every notice, one at a time, off the hot path.
	Notify func(context.Context, Notice)
	// Announce makes changes known to the other nodes; nil where there is none.
	Announce func(context.Context, []store.Change) error
	// Observer may be nil.
	Observer Observer
	Log      *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Random returns numbers in [0,1) for jitter; nil means math/rand.
	Random func() float64
	// InFlight bounds attempts at one time; 0 means 2048.
	InFlight int
	// PublicURL is given to integrations.
	PublicURL string
	// HoldTime and HoldCount bound what is held for a link; 0 means the defaults.
	HoldTime  time.Duration
	HoldCount int
	// DisableAfter disables a link that has had no success for so long; 0 means five days.
	DisableAfter time.Duration
}

// Engine sends deliveries.
type Engine struct {
	o      Options
	log    *slog.Logger
	steady steady
	random func() float64

	mu         sync.Mutex
	lanes      map[patchbay.LinkID]*lane
	hosts      map[string]*host
	tenants    map[string]*tenant
	runnable   fifo[*tenant] // tenants that have a runnable lane
	slots      slots
	parked     [classes]turns // lanes that wait for a slot of their class
	freed      fifo[*host]    // hosts at which there is room and lanes may wait
	timers     timers
	active     activeList // attempts under way, the oldest first
	sweepAt    time.Time  // when to sweep; zero: there is nothing to look at
	fresh      []*lane    // lanes that may have fresh deliveries in memory
	leaving    []parking  // on their way from memory to the queue
	readyBytes int
	unrecorded int
	loads      fifo[*lane]
	notices    []notice
	saves      []store.Lane
	drains     []*drain          // that wait for the saves
	news       []*lane           // whose owners are to be told
	counts     []patchbay.LinkID // were paused, and how much they hold is to be counted
	limits     limits
	redactors  redactors
	workers    int
	started    bool
	stopping   bool
	suspended  bool // the others may not count this node as alive
	fenced     bool // they do not
	// strangersAt is when links that nobody knows and that something waits for are looked up again.
	strangersAt time.Time

	wakeClock, wakeLoader, wakeParker, wakeChores, wakeHerald chan struct{}

	idle        chan struct{} // closed by the last worker while stopping
	cancel      context.CancelFunc
	sendCtx     context.Context
	cancelSends context.CancelFunc
	owned       sync.WaitGroup
}

// New makes an engine. Links are put in with SetLink before Start.
func New(o Options) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.InFlight == 0 {
		o.InFlight = defaultInFlight
	}
	if o.HoldTime == 0 {
		o.HoldTime = patchbay.DefaultHoldTime
	}
	if o.HoldCount == 0 {
		o.HoldCount = patchbay.DefaultHoldCount
	}
	if o.DisableAfter == 0 {
		o.DisableAfter = patchbay.DefaultDisableAfter
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		o: o, log: o.Log, random: o.Random, steady: steady{began: time.Now()},
		lanes: map[patchbay.LinkID]*lane{}, hosts: map[string]*host{}, tenants: map[string]*tenant{},
		slots:      slots{cap: o.InFlight, most: overdraft * o.InFlight},
		limits:     limits{laneReady: laneReady, readyBytes: readyBytes, hostCap: hostCap, unrecorded: unrecordedMost},
		wakeClock:  make(chan struct{}, 1),
		wakeLoader: make(chan struct{}, 1),
		wakeParker: make(chan struct{}, 1),
		wakeChores: make(chan struct{}, 1),
		wakeHerald: make(chan struct{}, 1),
		idle:       make(chan struct{}),
	}
	e.sendCtx, e.cancelSends = context.WithCancel(context.Background())
	return e
}

// Start restores the lanes and begins to send what waits in the queue. store.Recover has been called before.
func (e *Engine) Start(ctx context.Context) error {
	lanes, err := e.o.Store.Lanes(ctx)
	if err != nil {
		return patchbay.Internal("reading the lanes", err)
	}
	waited, err := e.o.Store.Waited(ctx)
	if err != nil {
		return patchbay.Internal("reading what waits", err)
	}
	for id := range waited {
		if err := e.countHeld(ctx, id); err != nil {
			return err
		}
	}
	if e.o.Cluster == nil { // else LookAgain does it, for the links of this node
		if err := e.dropDeleted(ctx, waited); err != nil {
			return err
		}
	}
	run, cancel := context.WithCancel(context.Background())
	e.cancel = cancel

	e.mu.Lock()
	e.started = true
	for _, saved := range lanes {
		if l := e.lanes[saved.Link]; l != nil && l.owned {
			l.restore(saved, e.now())
		}
	}
	for id, due := range waited {
		if l := e.lanes[id]; l != nil && l.owned {
			l.queued = true
			e.noteDue(l, due)
		}
	}
	for _, l := range e.lanes {
		e.kick(l)
	}
	e.mu.Unlock()

	e.owned.Go(func() { e.clock(run) })
	e.owned.Go(func() { e.loader(run) })
	e.owned.Go(func() { e.loader(run) })
	e.owned.Go(func() { e.parker(run) })
	e.owned.Go(func() { e.chores(run) })
	if e.o.Cluster != nil {
		e.owned.Go(func() { e.herald(run) })
	}
	return nil
}

// dropDeleted cancels what waits for links that do not exist any more: the process ended, or the disk was full, between
// the two writes of a deletion. Links that exist and cannot be used keep what they have.
func (e *Engine) dropDeleted(ctx context.Context, waited map[patchbay.LinkID]time.Time) error {
	unknown := map[patchbay.LinkID]bool{}
	e.mu.Lock()
	for id := range waited {
		if e.lanes[id] == nil {
			unknown[id] = true
		}
	}
	e.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	links, err := e.o.Store.AllLinks(ctx)
	if err != nil {
		return patchbay.Internal("reading the links", err)
	}
	for i := range links {
		delete(unknown, links[i].ID)
	}
	before := patchbay.DeliveryID(patchbay.FirstIDAt(e.now().Add(time.Second)))
	for id := range unknown {
		if err := e.o.Store.SaveLane(ctx, store.Lane{Link: id, DropBefore: before}); err != nil {
			return patchbay.Internal("dropping what waits for a link that was deleted", err)
		}
	}
	return nil
}

// countHeld learns how much is held for a link that holds, for the bound on it.
func (e *Engine) countHeld(ctx context.Context, id patchbay.LinkID) error {
	e.mu.Lock()
	l := e.lanes[id]
	count := l != nil && l.link.holds()
	e.mu.Unlock()
	if !count {
		return nil
	}
	n, err := e.o.Store.Waiting(ctx, id, e.o.HoldCount)
	if err != nil {
		return patchbay.Internal("counting what is held", err)
	}
	e.mu.Lock()
	if l.link.holds() {
		l.held = n
	}
	e.mu.Unlock()
	return nil
}

// Stop stops sending. Attempts under way may finish until ctx is done, then they are cancelled; what waits in memory
// goes to the queue. Nothing is lost when that fails: Recover finds it.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	if e.stopping {
		e.mu.Unlock()
		return nil
	}
	e.stopping = true
	if e.workers == 0 {
		close(e.idle)
	}
	e.mu.Unlock()
	select {
	case <-e.idle:
	case <-ctx.Done():
		e.cancelSends()
		<-e.idle // integrations return when their context is cancelled
	}
	e.cancelSends()
	if e.cancel != nil {
		e.cancel()
	}
	e.owned.Wait()
	// The caller's patience may be used up; handing back is bounded by its own time.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	e.mu.Lock()
	var rest []store.Queued
	for _, l := range e.lanes {
		rest = append(rest, e.takeFresh(l, time.Time{})...)
	}
	for _, p := range e.leaving {
		if !p.l.removed {
			rest = append(rest, p.q...)
		}
	}
	e.leaving = nil
	e.mu.Unlock()
	if len(rest) > 0 {
		if err := e.o.Store.Enqueue(back, rest); err != nil && !e.lostHold(err) {
			return patchbay.Internal("handing back what was not sent", err)
		}
	}
	if err := e.o.Store.Flush(back); err != nil && !e.lostHold(err) {
		return err
	}
	return nil
}

// SetLink puts a link in, or takes over a change of it. The change holds for every attempt that begins afterwards.
func (e *Engine) SetLink(_ context.Context, link *Link) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[link.ID]
	if l == nil {
		l = e.newLane(link)
		e.lanes[link.ID] = l
		// It could not be used before, or another node was quicker to know it, so something may wait already.
		if e.started && (link.Revision > 1 || e.o.Cluster != nil && l.owned) {
			e.noteQueued(l, e.now())
		}
		return nil
	}
	held := l.link.holds()
	if !bytes.Equal(l.link.Link.Settings, link.Link.Settings) {
		l.probe()
	}
	e.configure(l, link)
	e.giveBack(l)
	switch {
	case link.holds():
		park := e.takeFresh(l, time.Time{})
		l.held += len(park)
		e.handOver(l, park)
		e.forgetLoaded(l)
		if !held {
			e.counts = append(e.counts, l.link.ID)
			wake(e.wakeChores)
		}
	case held: // resumed: everything that waits is looked at again, and the breaker starts afresh
		l.held = 0
		l.heal()
		e.saveLane(l)
		if l.owned {
			l.queued = true // other nodes may have put something there without a word
			e.noteDue(l, e.now())
		}
	}
	e.kick(l)
	e.schedule()
	return nil
}

// RemoveLink cancels what waits for a link that was deleted. dropBefore is 0 when another node deleted it, and sees to
// what is in the queue.
func (e *Engine) RemoveLink(ctx context.Context, id patchbay.LinkID, dropBefore patchbay.DeliveryID) error {
	e.mu.Lock()
	l := e.lanes[id]
	delete(e.lanes, id)
	var gone []store.Queued
	if l != nil {
		e.forgetLoaded(l)
		gone = e.takeFresh(l, time.Time{})
		l.hands -= len(gone)
		l.removed = true
		l.checkDrained()
		e.leaveTenant(l)
	}
	e.mu.Unlock()
	e.discard(gone, deletedReason)
	if dropBefore == 0 {
		return nil
	}
	drop := store.Lane{Link: id, DropBefore: dropBefore}
	if err := e.o.Store.SaveLane(ctx, drop); err != nil {
		// The link is gone all the same, and nothing is sent over it any more: the chores write it down later, and
		// if they cannot either, the next start does.
		e.log.Warn("what waits for a deleted link could not be dropped; trying again", "link", id, "error", err)
		e.mu.Lock()
		e.saves = append(e.saves, drop)
		e.mu.Unlock()
		wake(e.wakeChores)
	}
	return nil
}

// wake makes the goroutine that reads c look again; it never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
