// Package cluster makes a process one of several nodes at one database. A Member says that its node is alive, takes over
// what dead ones had, shares the links fairly with the others, and hears of what they change. There is no leader: every
// node does the same, and the database decides when two want the same thing.
//
// Correctness does not rest on clocks: a node that the others took for dead is fenced by the database, and none of its
// writes succeeds. Clocks (monotonic ones, of one machine each) only bound how long such a node goes on sending.
package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// rhythm is when things are done; tests have their own.
type rhythm struct {
	// beat is the pause between two signs of life, beatTime how long one may take.
	beat, beatTime time.Duration
	// lease is how long a sign of life allows sending. It is shorter than silent, after which the others take over,
	// so that a node that lost its database has stopped before another begins.
	lease, silent time.Duration
	// takeOver is how often silent nodes are looked for, changes how often changes are looked for (NOTIFY is only a
	// hint), look how often queues are looked at for wakes that were lost.
	takeOver, changes, look time.Duration
	// again is the pause before something that failed is tried again.
	again time.Duration
	// wake is the pause between two calls of store.Cluster.Wake.
	wake time.Duration
}

// usual adds up to the promise: 10 s of silence, a second until somebody looks, a second until the shards are shared.
var usual = rhythm{
	beat: time.Second, beatTime: 3 * time.Second, lease: 8 * time.Second, silent: 10 * time.Second,
	takeOver: time.Second, changes: time.Second, look: 5 * time.Second, again: time.Second, wake: 5 * time.Millisecond,
}

// patience is how long Stop waits for the database.
const patience = 2 * time.Second

// Engine is what is told of what concerns deliveries.
type Engine interface {
	// Gained takes over the links for which owns says true. After an error it is called again.
	Gained(ctx context.Context, owns func(patchbay.LinkID) bool) error
	// Lost lets go of the links for which owns says true. The channel is closed when another node may begin with them.
	Lost(owns func(patchbay.LinkID) bool) <-chan struct{}
	// Woken says that there is something new in the queues of links of this node.
	Woken(links []patchbay.LinkID)
	// LookAgain looks at the queues of all links of this node.
	LookAgain(ctx context.Context) error
	// LaneDropped says that a lane's DropBefore was raised.
	LaneDropped(link patchbay.LinkID, before patchbay.DeliveryID)
	// Cancelled says that a delivery was cancelled by hand.
	Cancelled(delivery patchbay.DeliveryID, link patchbay.LinkID)
}

// Parts are what a Member keeps current on its node.
type Parts struct {
	Engine Engine
	// Link, Types and Keys read from the store again what another node has changed. What they return an error for is
	// tried again.
	Link  func(ctx context.Context, id patchbay.LinkID) error
	Types func(ctx context.Context, keys []string) error
	Keys  func(ctx context.Context) error
	// Connection does the same for a connection; nil where there are none.
	Connection func(ctx context.Context, id patchbay.ConnectionID) error
	// Report says how busy the node is.
	Report func() store.NodeReport
}

// Options configure a Member.
type Options struct {
	Store store.Cluster
	// Log takes what operators should know; nil discards it.
	Log *slog.Logger

	rhythm rhythm
}

// Member is this process as a node. The engine asks it what it may send.
type Member struct {
	store  store.Cluster
	self   store.Node
	log    *slog.Logger
	rhythm rhythm
	parts  Parts

	begun  atomic.Pointer[time.Time] // when the last beat that succeeded began; nil: there is none that counts
	proven atomic.Pointer[time.Time] // since when beats have succeeded without a gap
	view   atomic.Pointer[store.ClusterView]
	owns   [store.Shards]atomic.Bool

	fencing sync.Once
	fenced  chan struct{}

	shards   shards
	position int64           // the last change that was read; of the goroutine that follows changes
	again    map[change]bool // what could not be taken over; of the same goroutine
	wakes    wakes

	report atomic.Pointer[func() store.NodeReport]
	shares atomic.Bool // takes a share of the links: between Start and Leave

	pokeBeat, pokeShare, pokeChanges, pokeLook, pokeWake chan struct{}
	stopping                                             sync.Once
	idle                                                 chan struct{}      // closed by Stop: the engine has nothing in hand any more
	stopBeats                                            context.CancelFunc // ends the signs of life
	cancel                                               context.CancelFunc // ends everything else that runs; nil before Start
	owned                                                sync.WaitGroup
}

// Join makes the process known to the others. It is called before links, types and keys are read, so that no change of
// theirs falls between the reading and Start. From here on the node says that it is alive, however long a start takes.
func Join(ctx context.Context, o Options) (*Member, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.rhythm == (rhythm{}) {
		o.rhythm = usual
	}
	m := &Member{
		store: o.Store, self: o.Store.Self(), log: o.Log, rhythm: o.rhythm, fenced: make(chan struct{}), again: map[change]bool{},
		wakes:    wakes{links: map[patchbay.LinkID]struct{}{}},
		pokeBeat: make(chan struct{}, 1), pokeShare: make(chan struct{}, 1), pokeChanges: make(chan struct{}, 1), pokeLook: make(chan struct{}, 1), pokeWake: make(chan struct{}, 1),
	}
	m.shards.released, m.idle = make(chan struct{}), make(chan struct{})
	none := func() store.NodeReport { return store.NodeReport{} }
	m.parts.Report = none
	m.report.Store(&none)
	last, err := o.Store.LastChange(ctx)
	if err != nil {
		return nil, patchbay.Internal("reading what other nodes changed", err)
	}
	m.position = last
	if err := m.beat(ctx); err != nil {
		return nil, patchbay.Internal("joining the other nodes", err)
	}
	beating, stop := context.WithCancel(context.Background())
	m.stopBeats = stop
	m.owned.Go(func() { m.beats(beating) })
	return m, nil
}

// Start takes this node's share of the links and begins to follow the others. Everything in parts has been loaded and
// started before.
func (m *Member) Start(ctx context.Context, parts Parts) error {
	m.parts = parts
	m.report.Store(&parts.Report)
	m.shares.Store(true)
	poke(m.pokeBeat)
	m.share(ctx)
	run, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	for _, loop := range []func(context.Context){
		m.takeOvers, m.sharing, m.listening, m.following, m.looking, m.waking,
	} {
		m.owned.Go(func() { loop(run) })
	}
	return nil
}

// Leave begins to give up this node's share, so that the others go on with it at once: what is in the queue is no
// longer begun here. It does not wait. The engine is stopped after it, and the Member after the engine.
func (m *Member) Leave() {
	m.shares.Store(false)
	m.shards.leave()
	poke(m.pokeBeat)
	poke(m.pokeShare)
}

// Stop gives up what is left of this node's share and ends following the others. The engine has been stopped before.
// What cannot be given up in time the store lets go of when it is closed.
func (m *Member) Stop(ctx context.Context) error {
	m.stopping.Do(func() {
		defer m.owned.Wait()
		defer m.stopBeats()
		if m.cancel == nil {
			return // it never started
		}
		defer m.cancel()
		close(m.idle)
		m.Leave()
		// The caller's patience may be used up; this has its own.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		select {
		case <-m.shards.released:
		case <-m.fenced:
		case <-ctx.Done():
			m.log.Warn("not every link could be handed over in order; the other nodes take the rest over in a moment")
		}
		m.flushWakes(ctx)
	})
	return nil
}

// Self is this node, as it joined.
func (m *Member) Self() store.Node { return m.self }

// Owns reports whether this node alone sends what waits in the queue for a link.
func (m *Member) Owns(link patchbay.LinkID) bool { return m.owns[store.Shard(link)].Load() }

// Fenced is closed when the others took this node for dead. What it has in memory is in their hands: it must stop
// without writing, and may start anew.
func (m *Member) Fenced() <-chan struct{} { return m.fenced }

// fence notes that an error says that the others took this node for dead, and reports whether it does.
func (m *Member) fence(err error) bool {
	if !errors.Is(err, store.ErrFenced) {
		return false
	}
	m.fencing.Do(func() {
		m.begun.Store(nil)
		m.log.Error("the other nodes took this one for dead: its connection to the database was lost, or the process stood still, for longer than "+
			m.rhythm.silent.String()+"; what it had is in their hands", "node", m.self.Number)
		close(m.fenced)
	})
	return true
}

func (m *Member) isFenced() bool {
	select {
	case <-m.fenced:
		return true
	default:
		return false
	}
}

// poke makes the goroutine that reads c look; it never blocks.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// every calls do when it is poked, and every so often, until ctx is done or the node is fenced.
func (m *Member) every(ctx context.Context, pause time.Duration, poked <-chan struct{}, do func(context.Context)) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.fenced:
			return
		case <-tick.C:
		case <-poked:
		}
		do(ctx)
	}
}
