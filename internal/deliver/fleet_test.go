package deliver

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/store"
)

// member is one node of a fleet.
type member struct {
	*rig
	f         *fleet
	n         int
	view      *view
	invalid   bool
	invalidAt time.Time
	stop      context.CancelFunc
	looks     sync.WaitGroup
}

func (m *member) Owns(link patchbay.LinkID) bool {
	m.f.own.Lock()
	defer m.f.own.Unlock()
	return m.f.owner[link] == m.n
}

func (m *member) Valid() bool {
	m.f.own.Lock()
	defer m.f.own.Unlock()
	return !m.invalid
}

// Wake tells owners, and forgets every fourth time.
func (m *member) Wake(links []patchbay.LinkID) {
	m.f.own.Lock()
	m.f.wakes++
	lost := m.f.wakes%4 == 0
	to := map[int][]patchbay.LinkID{}
	for _, id := range links {
		if n := m.f.owner[id]; n >= 0 && n != m.n {
			to[n] = append(to[n], id)
		}
	}
	nodes := slices.Clone(m.f.nodes)
	m.f.own.Unlock()
	for n, ids := range to {
		if !lost && nodes[n] != nil {
			nodes[n].engine.Woken(ids)
		}
	}
}

// via is a partner as one node reaches it.
type via struct {
	*partner
	m *member
}

func (v *via) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	v.m.f.world.mu.Lock()
	v.m.f.own.Lock()
	if v.m.invalid && time.Since(v.m.invalidAt) > 0 {
		v.m.f.complain("node %d begins to send %s though the others may count it as dead", v.m.n, d.ID)
	}
	v.m.f.byNode[v.m.n] = append(v.m.f.byNode[v.m.n], d.Event.ID)
	v.m.f.own.Unlock()
	if f := v.m.f.known[d.ID]; f != nil {
		f.by = v.m.n
		v.m.f.attempts[f.link] = append(v.m.f.attempts[f.link], time.Now())
	}
	v.m.f.world.mu.Unlock()
	return v.partner.Send(ctx, d)
}

// fleet is several nodes on one database.
type fleet struct {
	*world
	db       shared
	nodes    []*member
	own      sync.Mutex
	owner    map[patchbay.LinkID]int // -1: nobody
	wakes    int
	byNode   [fleetNodes][]patchbay.EventID // what each has sent
	attempts map[patchbay.LinkID][]time.Time
	look     time.Duration // how often queues are looked at for wakes that were lost; zero: every five seconds
}

// lookEvery returns the pause before a node looks at its queues again.
func (f *fleet) lookEvery() time.Duration {
	f.own.Lock()
	defer f.own.Unlock()
	return cmp.Or(f.look, 5*time.Second)
}

const fleetNodes = 2

func (f *fleet) join(t *testing.T, n int) *member {
	m := &member{f: f, n: n, rig: &rig{t: t, partner: f.partner, links: map[patchbay.LinkID]*Link{}}}
	m.view = newView(f.db.join(t))
	for _, l := range f.links {
		if !f.deleted[l.ID] {
			m.links[l.ID] = m.sees(l)
		}
	}
	m.attach(m.view, f.small, func(o *Options) {
		o.Cluster = m
		o.Announce = func(_ context.Context, changes []store.Change) error {
			for _, other := range f.nodes {
				if other != nil && other != m {
					for _, c := range changes {
						other.engine.Cancelled(patchbay.DeliveryID(c.ID), patchbay.LinkID(c.Link))
					}
				}
			}
			return nil
		}
	})
	m.engine.mu.Lock()
	m.engine.limits = scarce
	m.engine.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.looks.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(m.f.lookEvery()):
			}
			if err := m.engine.LookAgain(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrFenced) {
				t.Errorf("looking again: %v", err)
			}
		}
	})
	return m
}

// sees returns a link as the node has it.
func (m *member) sees(l *Link) *Link {
	out := *l
	out.Sender = &via{m.partner, m}
	return &out
}

// leave stops a node. One that is killed writes nothing any more.
func (m *member) leave(t *testing.T, killed bool) {
	m.stop()
	m.looks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	if killed {
		m.view.kill()
		cancel()
	}
	defer cancel()
	if err := m.engine.Stop(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if err := m.client.Close(); err != nil {
		t.Error(err)
	}
}

// move gives a link to another node.
func (f *fleet) move(t *testing.T, link patchbay.LinkID, to int) {
	only := func(id patchbay.LinkID) bool { return id == link }
	f.own.Lock()
	from := f.owner[link]
	f.owner[link] = -1
	f.own.Unlock()
	if from == to {
		f.own.Lock()
		f.owner[link] = to
		f.own.Unlock()
		return
	}
	select {
	case <-f.nodes[from].engine.Lost(only):
	case <-time.After(time.Minute):
		f.complain("node %d does not let go of link %s", from, link)
	}
	f.gain(t, only, to, link)
}

func (f *fleet) gain(t *testing.T, which func(patchbay.LinkID) bool, to int, links ...patchbay.LinkID) {
	f.own.Lock()
	for _, id := range links {
		f.owner[id] = to
	}
	f.own.Unlock()
	if err := f.nodes[to].engine.Gained(context.Background(), which); err != nil {
		t.Fatal(err)
	}
}

// crash kills a node; another one takes over what it had, and it starts anew.
func (f *fleet) crash(t *testing.T, n int) {
	dead, heir := f.nodes[n], f.nodes[(n+1)%fleetNodes]
	var mine []patchbay.LinkID
	f.own.Lock()
	f.nodes[n] = nil
	for id, owner := range f.owner {
		if owner == n {
			f.owner[id] = -1
			mine = append(mine, id)
		}
	}
	f.own.Unlock()
	dead.leave(t, true)
	if err := dead.view.Store.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	f.world.mu.Lock()
	f.resync(t, n, heir)
	f.db.takeOver(t, dead.view, heir.view)
	f.world.mu.Unlock()
	if err := dead.view.Store.Close(); err != nil && !errors.Is(err, store.ErrFenced) {
		t.Errorf("closing a dead node's store: %v", err)
	}
	f.gain(t, func(id patchbay.LinkID) bool { return slices.Contains(mine, id) }, heir.n, mine...)
	again := f.join(t, n)
	f.own.Lock()
	f.nodes[n] = again
	f.own.Unlock()
	f.rig = f.nodes[0].rig
}

// resync forgets of what a dead node sent last what it did not write down: that is sent again.
func (f *fleet) resync(t *testing.T, n int, heir *member) {
	for id, fate := range f.known {
		if fate.by != n || fate.sent == 0 {
			continue
		}
		d, err := heir.view.Delivery(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d.AttemptCount != fate.sent {
			f.tell("%s is unrecorded: %d of %d attempts", id, d.AttemptCount, fate.sent)
			fate.sent, fate.final = d.AttemptCount, d.State.Final()
			fate.retries = max(0, fate.retries-1)
		}
	}
}

var fleetSchedules = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	return step{
		do: rapid.SampledFrom([]string{
			"accept", "accept", "accept", "accept", "accept", "accept", "answer", "answer", "answer", "wait", "wait", "wait",
			"pause", "resume", "disable", "delete", "edit", "reorder", "cancel", "retry", "move", "move", "crash", "suspend",
		}).Draw(t, "do"),
		link:    rapid.IntRange(0, propertyLinks-1).Draw(t, "link"),
		which:   rapid.IntRange(0, 1000).Draw(t, "which"),
		answer:  rapid.SampledFrom([]string{"ok", "ok", "retry", "reject", "429", "hang", "slow"}).Draw(t, "answer"),
		thread:  rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "thread"),
		pause:   rapid.SampledFrom([]time.Duration{0, time.Millisecond, 50 * time.Millisecond, time.Second, 6 * time.Second, time.Minute}).Draw(t, "pause"),
		size:    rapid.SampledFrom([]int{0, 10, 2000}).Draw(t, "size"),
		targets: rapid.IntRange(1, propertyLinks).Draw(t, "targets"),
	}
}), 1, 50)

// TestAnyScheduleOfNodes runs random schedules over two nodes on one database: whatever they do, what was accepted is
// delivered, order and rate hold over both, and only what was in flight at a node that died is sent twice.
func TestAnyScheduleOfNodes(t *testing.T) { anyScheduleOfNodes(t, 30, newOneSQLite) }

// anyScheduleOfNodes runs so many schedules, or as many as -rapid.checks says.
func anyScheduleOfNodes(t *testing.T, most int, open func(*testing.T) shared) {
	atMost(t, most, func(rt *rapid.T) {
		steps := fleetSchedules.Draw(rt, "steps")
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = runFleet(t, open, steps) })
		if len(wrong) > 0 {
			rt.Fatalf("after %v:\n%v", steps, wrong)
		}
	})
}

func runFleet(t *testing.T, open func(*testing.T) shared, steps []step) []string {
	time.Sleep(30 * 365 * 24 * time.Hour) // a bubble begins in 2000, identifiers later
	f := &fleet{world: newWorld(), db: open(t), owner: map[patchbay.LinkID]int{}, attempts: map[patchbay.LinkID][]time.Time{}}
	f.world.nodes = true
	p := &partner{def: integration.Definition{Threads: true}, answer: f.answer}
	f.rig = &rig{t: t, partner: p}
	f.nodes = make([]*member, fleetNodes)
	for n := range f.nodes {
		f.nodes[n] = f.join(t, n)
	}
	f.rig = f.nodes[0].rig
	f.makeLinks()
	for i, l := range f.links {
		f.set(l)
		if i%2 == 1 {
			f.move(t, l.ID, 1)
		}
	}
	for _, s := range steps {
		f.world.mu.Lock()
		f.tell("node %d: %s", s.which%fleetNodes, s)
		f.world.mu.Unlock()
		f.step(t, s)
	}
	f.finish(t)
	if len(f.wrong) > 0 {
		t.Log(strings.Join(f.story, "\n"))
	}
	return f.wrong
}

// set puts a link into every node.
func (f *fleet) set(l *Link) {
	for _, m := range f.nodes {
		m.set(m.sees(l))
	}
}

func (f *fleet) step(t *testing.T, s step) {
	l := f.links[s.link]
	n := s.which % fleetNodes
	switch {
	case s.do == "crash":
		f.crash(t, n)
	case s.do == "suspend":
		f.suspend(n, true)
		time.Sleep(s.pause)
		f.suspend(n, false)
	case s.do == "wait", s.do == "answer" && !f.deleted[l.ID]:
		f.do(s)
	case s.do == "cancel" || s.do == "retry":
		if len(f.order) > 0 {
			f.rig = f.nodes[n].rig
			f.byHand(s.do, f.order[s.which%len(f.order)])
			f.rig = f.nodes[0].rig
		}
	case s.do == "accept":
		time.Sleep(2 * time.Millisecond) // within one, identifiers of several nodes are in no order
		f.rig = f.nodes[n].rig
		f.acceptFor(s)
		f.rig = f.nodes[0].rig
	case f.deleted[l.ID]:
	case s.do == "move":
		f.move(t, l.ID, n)
	case s.do == "delete":
		f.rig = f.nodes[n].rig
		f.remove(l)
		f.rig = f.nodes[0].rig
		other := f.nodes[(n+1)%fleetNodes]
		delete(other.links, l.ID)
		if err := other.engine.RemoveLink(context.Background(), l.ID, 0); err != nil {
			t.Fatal(err)
		}
	default:
		f.change(s, l)
		f.set(f.links[s.link])
	}
}

func (f *fleet) suspend(n int, invalid bool) {
	f.own.Lock()
	defer f.own.Unlock()
	f.nodes[n].invalid, f.nodes[n].invalidAt = invalid, time.Now()
}

// finish lets everything work and looks at what came of it all.
func (f *fleet) finish(t *testing.T) {
	for i, l := range f.links {
		if f.deleted[l.ID] {
			continue
		}
		f.world.mu.Lock()
		f.answers[l.ID] = "ok"
		f.world.mu.Unlock()
		f.step(t, step{do: "resume", link: i})
	}
	time.Sleep(20 * time.Minute)
	for _, m := range f.nodes {
		if err := m.view.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	f.world.mu.Lock()
	for _, id := range f.order {
		f.ended(id, f.known[id])
	}
	if found, err := f.store.Waited(context.Background()); err != nil || len(found) > 0 {
		f.complain("the queue still has something for %v (%v)", found, err)
	}
	f.checkRate(f.links[3].ID, 5)
	for _, m := range f.nodes {
		f.counters(m.engine)
	}
	f.world.mu.Unlock()
	for _, m := range f.nodes {
		m.leave(t, false)
		if err := m.view.Store.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	f.db.close(t)
}

// checkRate complains when more attempts were begun within a second, over all nodes, than the rate and one more.
func (f *fleet) checkRate(link patchbay.LinkID, rate int) {
	at := f.attempts[link]
	for i := range at {
		n := 0
		for j := i; j < len(at) && at[j].Sub(at[i]) < time.Second; j++ {
			n++
		}
		if n > rate+1 {
			f.complain("%d attempts were made within a second from %s on over a link with a rate of %d", n, at[i].Format("15:04:05.000"), rate)
			return
		}
	}
}
