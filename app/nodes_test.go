package app_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/netfault"
	"github.com/patchbay/patchbay/internal/pgtest"
)

// fleet is several nodes at one PostgreSQL, each with a way of its own to the database that can be cut.
type fleet struct {
	t     *testing.T
	nodes []*member
}

// member is one node.
type member struct {
	*server
	data     string
	keys     string // the key file
	proxy    *netfault.Proxy
	database patchbay.Secret
	// also are integrations besides Patchbay's own.
	also []integration.Integration
}

func newFleet(t *testing.T, n int, also ...integration.Integration) *fleet {
	t.Helper()
	database, err := url.Parse(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t}
	keys := filepath.Join(t.TempDir(), "secret.key")
	for range n {
		proxy, err := netfault.New(database.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		own := *database
		own.Host = proxy.Address()
		m := &member{data: t.TempDir(), keys: keys, proxy: proxy, database: patchbay.Secret(own.String()), also: also}
		m.start(t)
		f.nodes = append(f.nodes, m)
	}
	for _, m := range f.nodes {
		m.key = f.nodes[0].key
	}
	f.nodes[0].call("PUT", "/v1/event-types/thing.made", thing).want(201)
	f.shared()
	within(t, time.Second, "a type", func() bool { return f.nodes[n-1].status("/v1/event-types/thing.made") == 200 })
	return f
}

// start starts the node, or starts it again.
func (m *member) start(t *testing.T) {
	t.Helper()
	key := ""
	if m.server != nil {
		key = m.key
	}
	m.server = start(t, app.Options{Config: config.Config{Data: m.data, KeyFile: m.keys}, Version: "1.2.3", Integrations: append(all.Integrations(), m.also...)}, func(c *config.Config) {
		c.Database, c.Grace, c.PublicURL = m.database, config.Duration(5*time.Second), "https://patchbay.example"
	})
	if m.key = key; key == "" {
		m.key, _ = m.app.AdminKey()
	}
}

// crash ends the node as far as the database and the others can tell: from one moment to the next nothing reaches it.
func (m *member) crash() {
	m.proxy.Refuse()
	m.proxy.Cut()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.app.Stop(ctx) // nothing can be handed back
	m.crashed = true
}

// shared waits until the nodes that run have about the same share of the links.
func (f *fleet) shared() {
	f.t.Helper()
	f.until(func(nodes []object) bool {
		var shares []int
		all := 0
		for _, n := range nodes {
			if n.str("state") != "alive" {
				continue
			}
			var shards int
			_, _ = fmt.Sscan(n.str("shards"), &shards)
			shares, all = append(shares, shards), all+shards
		}
		return len(shares) == len(f.nodes) && all == 256 && slices.Max(shares)-slices.Min(shares) <= 2
	})
}

// until waits for a state of the nodes, as the last one sees them.
func (f *fleet) until(is func([]object) bool) {
	f.t.Helper()
	last := f.nodes[len(f.nodes)-1]
	var o object
	eventually(f.t, func() bool {
		o = last.call("GET", "/v1/nodes", "").want(200).json()
		return is(o.objects("data"))
	}, func() string { return fmt.Sprintf("the nodes are %v", o) })
}

// slack is what a machine that is busy with other things too may take longer.
const slack = 5 * time.Second

// within fails when something takes longer than it may, and slack.
func within(t *testing.T, most time.Duration, what string, done func() bool) {
	t.Helper()
	begun := time.Now()
	eventually(t, done, func() string { return what + " has not come" })
	soon(t, begun, most, what)
}

// soon fails when more than most, and slack, has gone by since something began. With the race detector on a slow machine a
// second of work is a minute, and only that it comes at all can be asked for: what waits for that has its own deadline.
func soon(t *testing.T, begun time.Time, most time.Duration, what string) {
	t.Helper()
	took := time.Since(begun)
	t.Logf("%s: %.1f s", what, took.Seconds())
	if took > most+slack && !underRace {
		t.Errorf("%s took %s, and may take %s", what, took, most)
	}
}

// collector is a partner that counts what it gets by webhook-id.
type collector struct {
	*partner
	mu   sync.Mutex
	at   map[string][]time.Time
	all  []string // in order
	hold chan struct{}
}

func newCollector(t *testing.T) *collector {
	c := &collector{partner: newPartner(t), at: map[string][]time.Time{}}
	c.on("/", func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("Webhook-Id")
		c.mu.Lock()
		c.at[id] = append(c.at[id], time.Now())
		c.all = append(c.all, id)
		hold := c.hold
		c.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(http.StatusOK)
	})
	return c
}

// holdBack has requests wait until the function that it returns is called.
func (c *collector) holdBack() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hold := make(chan struct{})
	c.hold = hold
	release = sync.OnceFunc(func() {
		c.mu.Lock()
		c.hold = nil
		c.mu.Unlock()
		close(hold)
	})
	c.t.Cleanup(release)
	return release
}

// got returns how often each event came.
func (c *collector) got() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for id, at := range c.at {
		out[id] = len(at)
	}
	return out
}

// missing counts those that have not come.
func (c *collector) missing(ids []string) int {
	got := c.got()
	n := 0
	for _, id := range ids {
		if got[id] == 0 {
			n++
		}
	}
	return n
}

// publishAll publishes n events over the nodes in turns, several at a time, and returns their ids.
func publishAll(t *testing.T, n int, scope string, nodes ...*member) []string {
	t.Helper()
	ids := make([]string, n)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				a, err := nodes[i%len(nodes)].try("POST", "/events", strings.NewReader(thingAt(scope, i)))
				if err != nil || a.status != 201 {
					t.Errorf("publishing: %v %+v", err, a)
					return
				}
				ids[i] = decode(t, a.body).str("id")
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return ids
}

// thingAt is an event of the type that newFleet adds.
func thingAt(scope string, n int) string {
	return fmt.Sprintf(`{%s,"scope":%q,"payload":{"n":%d}}`, made, scope, n)
}

// count asks how many deliveries an event published at the node has.
func (m *member) count(scope string) string {
	m.t.Helper()
	_, n := m.publish(thingAt(scope, 0))
	return n
}

// TestChangesReachEveryNode within a second: links, types and keys, made, changed and deleted anywhere.
func TestChangesReachEveryNode(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	a, b, p := f.nodes[0], f.nodes[1], newPartner(t)
	id := a.link(hook(p, "/", `"events":["*"],"scope":"x"`))
	within(t, time.Second, "a new link", func() bool { return b.count("x") == "1" })
	p.next(t)

	b.call("POST", "/v1/links/"+id+"/pause", "").want(200)
	within(t, time.Second, "a pause", func() bool { return a.call("GET", "/v1/links/"+id, "").want(200).json().str("state") == "paused" })
	held, _ := a.publish(thingAt("x", 1))
	a.until("/v1/events/"+held, "held", func(o object) bool { return o.str("deliveries", 0, "state") == "held" })
	a.call("POST", "/v1/links/"+id+"/resume", "").want(200)
	b.delivered(held)

	a.call("PATCH", "/v1/links/"+id, `{"scope":"y"}`).want(200)
	within(t, time.Second, "a change", func() bool { return b.count("y") == "1" && b.count("x") == "0" })
	b.call("DELETE", "/v1/links/"+id, "").want(204)
	a.call("GET", "/v1/links/"+id, "") // known to be gone at the latest
	within(t, time.Second, "a deletion", func() bool { return a.count("y") == "0" })

	a.call("PUT", "/v1/event-types/other.made", `{"title":"Other made"}`).want(201)
	within(t, time.Second, "a new type", func() bool {
		r, err := b.try("POST", "/events", strings.NewReader(`{"event_type":"other.made","payload":{}}`))
		return err == nil && r.status == 201
	})
	b.call("DELETE", "/v1/event-types/other.made", "").want(204)
	within(t, time.Second, "a type's deletion", func() bool {
		r, err := a.try("POST", "/events", strings.NewReader(`{"event_type":"other.made","payload":{}}`))
		return err == nil && r.status == 400
	})

	key := a.call("POST", "/v1/keys", `{"permissions":["read"]}`).want(201).json()
	works := func(m *member) bool {
		r, err := m.as(t, key.str("token")).try("GET", "/v1/links", http.NoBody)
		return err == nil && r.status == 200
	}
	within(t, time.Second, "a new key", func() bool { return works(b) })
	b.call("DELETE", "/v1/keys/"+key.str("id"), "").want(204)
	within(t, time.Second, "a key's deletion", func() bool { return !works(a) })
}

// TestChangesAtOnce: two nodes that change one link at the same time both succeed, and agree afterwards.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	p := newPartner(t)
	id := f.nodes[0].link(hook(p, "/", `"events":["*"]`))
	var wg sync.WaitGroup
	for _, m := range f.nodes {
		wg.Go(func() {
			for i := range 20 {
				a, err := m.try("PATCH", "/v1/links/"+id, strings.NewReader(fmt.Sprintf(`{"name":"%s %d"}`, m.data[len(m.data)-3:], i)))
				if err != nil || a.status != 200 && a.status != 409 {
					t.Errorf("%v %+v", err, a)
				}
			}
		})
	}
	wg.Wait()
	name := func(m *member) string { return m.call("GET", "/v1/links/"+id, "").want(200).json().str("name") }
	within(t, time.Second, "agreement", func() bool { return name(f.nodes[0]) == name(f.nodes[1]) })
}

// TestRateOverNodes: a link's rate is a limit of all nodes together.
func TestRateOverNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	c := newCollector(t)
	const rate, events = 20, 100
	f.nodes[0].link(hook(c.partner, "/", fmt.Sprintf(`"events":["*"],"rate":%d`, rate)))
	within(t, time.Second, "the link", func() bool {
		return f.nodes[1].call("GET", "/v1/links", "").want(200).json().at("data", 0) != nil && f.nodes[2].call("GET", "/v1/links", "").want(200).json().at("data", 0) != nil
	})
	begun := time.Now()
	ids := publishAll(t, events, "", f.nodes...)
	eventually(t, func() bool { return c.missing(ids) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(ids)) })
	c.mu.Lock()
	defer c.mu.Unlock()
	var at []time.Time
	for _, id := range ids {
		if len(c.at[id]) != 1 {
			t.Errorf("%s came %d times", id, len(c.at[id]))
		}
		at = append(at, c.at[id]...)
	}
	slices.SortFunc(at, time.Time.Compare)
	const burst = rate / 10
	for i, first := range at {
		n := 0
		for _, x := range at[i:] {
			if x.Sub(first) < time.Second {
				n++
			}
		}
		// A half for a machine that is busy: what was sent in time may arrive late, and much later with the race detector.
		if n > rate+burst+rate/2 && !underRace {
			t.Fatalf("%d came within a second, at a rate of %d", n, rate)
		}
	}
	// However slow the machine, so many cannot have come sooner. Without a common limit they come in a third of that.
	if took, least := at[len(at)-1].Sub(begun), time.Second*(events-3*burst)/rate; took < least {
		t.Errorf("%d took %s at a rate of %d, and cannot in less than %s", events, took, rate, least)
	}
	soon(t, at[0], 2*time.Second*events/rate, "a hundred at a rate of twenty")
}

// TestOrderOverNodes: what a link orders arrives in the order in which it was accepted, whichever node accepted it.
func TestOrderOverNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	c := newCollector(t)
	id := f.nodes[0].link(hook(c.partner, "/", `"events":["*"],"order":{"key":"payload.key"}`))
	for _, m := range f.nodes {
		within(t, time.Second, "the link", func() bool {
			r, err := m.try("GET", "/v1/links/"+id, http.NoBody)
			return err == nil && r.status == 200 && m.count("") == "1"
		})
	}
	const keys, each = 3, 40
	want := make([][]string, keys)
	var wg sync.WaitGroup
	for k := range keys {
		wg.Go(func() {
			for i := range each {
				m := f.nodes[(i*7+k)%len(f.nodes)]
				a, err := m.try("POST", "/events", strings.NewReader(fmt.Sprintf(`{%s,"payload":{"key":"k%d"}}`, made, k)))
				if err != nil || a.status != 201 {
					t.Errorf("%v %+v", err, a)
					return
				}
				want[k] = append(want[k], decode(t, a.body).str("id"))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(want...)
	eventually(t, func() bool { return c.missing(all) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(all)) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range want {
		var got []string
		for _, id := range c.all {
			if slices.Contains(want[k], id) {
				got = append(got, id)
			}
		}
		if !slices.Equal(got, want[k]) {
			t.Errorf("key %d: accepted as\n%v, and arrived as\n%v", k, want[k], got)
		}
	}
}

// TestOneKeyAtTwoNodes at once: the event is accepted once, and both answers are the same.
func TestOneKeyAtTwoNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	c := newCollector(t)
	f.nodes[0].link(hook(c.partner, "/", `"events":["*"]`))
	within(t, time.Second, "the link", func() bool { return f.nodes[1].count("") == "1" })
	var ids []string
	for i := range 20 {
		var answers [4]*answer
		var wg sync.WaitGroup
		for j := range answers {
			wg.Go(func() {
				var err error
				if answers[j], err = f.nodes[j%2].try("POST", "/events", strings.NewReader(thingAt("", i)), header{"Idempotency-Key", fmt.Sprint("key ", i)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		replayed := 0
		for _, a := range answers {
			if a == nil || a.status != 201 || string(a.body) != string(answers[0].body) {
				t.Fatalf("the answers are %+v and %+v", answers[0], a)
			}
			if a.header.Get("Idempotent-Replayed") == "true" {
				replayed++
			}
		}
		if replayed != len(answers)-1 {
			t.Errorf("%d of %d answers say that they were given before", replayed, len(answers))
		}
		ids = append(ids, decode(t, answers[0].body).str("id"))
	}
	eventually(t, func() bool { return c.missing(ids) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(ids)) })
	for _, id := range ids {
		f.nodes[1].delivered(id)
		if n := c.got()[id]; n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

// TestDeadNode: everything that a node had when it died is delivered by the others within 15 s, and only what was under
// way there comes twice. A node that comes back with its directory fences its predecessor at once.
func TestDeadNode(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	c := newCollector(t)
	a, last := f.nodes[0], f.nodes[2]
	for i := range 8 {
		a.link(hook(c.partner, "/", fmt.Sprintf(`"events":["*"],"scope":"s%d"`, i)))
	}
	time.Sleep(10 * time.Second) // as long as nodes are given after the database was away, before silence counts
	release := c.holdBack()
	var ids []string
	for i := range 8 {
		ids = append(ids, publishAll(t, 25, fmt.Sprint("s", i), a)...)
	}
	eventually(t, func() bool { return len(c.got()) >= 8 }, func() string { return "nothing is under way" })
	died := time.Now()
	a.crash()
	flying := c.got()
	release()
	eventually(t, func() bool { return c.missing(ids) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(ids)) })
	t.Logf("%d of %d deliveries were under way", len(flying), len(ids))
	soon(t, died, 15*time.Second, "what a dead node had")
	for i := 0; i < len(ids); i += 10 {
		last.delivered(ids[i])
	}
	for id, n := range c.got() {
		if n > 2 || n > 1 && flying[id] == 0 {
			t.Errorf("%s came %d times, and was under way %d times when the node died", id, n, flying[id])
		}
	}
	f.until(func(nodes []object) bool { return len(nodes) == 3 && nodes[2].str("state") == "gone" })
	if err := a.proxy.Allow(); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	f.shared()
	_, n := a.publish(thingAt("s1", 1))
	if n != "1" {
		t.Errorf("the node that came back has %s deliveries", n)
	}

	// Again, and back at once: nobody waits for ten seconds of silence.
	release = c.holdBack()
	ids = publishAll(t, 50, "s2", a)
	eventually(t, func() bool { return c.missing(ids) < 50 }, func() string { return "nothing is under way" })
	a.crash()
	died = time.Now()
	if err := a.proxy.Allow(); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	release()
	eventually(t, func() bool { return c.missing(ids) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(ids)) })
	soon(t, died, 4*time.Second, "what a node had that is back at once")
}

// TestPausedNode: a node that nothing reaches for longer than the others wait does no harm when it is back: it has stopped
// sending, what it had was delivered by the others, and nothing that was not under way comes twice.
func TestPausedNode(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	c := newCollector(t)
	a, b := f.nodes[0], f.nodes[1]
	a.link(hook(c.partner, "/", `"events":["*"]`))
	time.Sleep(10 * time.Second) // see TestDeadNode
	release := c.holdBack()
	ids := publishAll(t, 50, "", a)
	eventually(t, func() bool { return len(c.got()) > 0 }, func() string { return "nothing is under way" })
	a.proxy.Set(netfault.Faults{Up: netfault.Line{Hang: true}, Down: netfault.Line{Hang: true}})
	silent := time.Now()
	eventually(t, func() bool {
		r, err := a.try("GET", "/readyz", http.NoBody)
		return err == nil && r.status == 503 && strings.Contains(string(r.body), "it sends nothing until it does")
	}, func() string { return "it is ready for good" })
	soon(t, silent, 11*time.Second, "not being ready without a database")
	flying := c.got()
	release()
	eventually(t, func() bool { return c.missing(ids) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(ids)) })
	soon(t, silent, 15*time.Second, "what the silent node had")
	for _, id := range ids {
		b.delivered(id)
	}
	a.proxy.Set(netfault.Faults{})
	select {
	case <-a.app.Fenced():
	case <-time.After(patience):
		t.Fatal("it was not told that the others took it for dead")
	}
	if code := a.status("/readyz"); code != 503 {
		t.Errorf("then /readyz is answered %d", code)
	}
	r, err := a.try("POST", "/events", strings.NewReader(thingAt("", 0)))
	if err != nil || r.status != 503 {
		t.Errorf("an event there: %v %+v", err, r)
	}
	a.stop()
	for id, n := range c.got() {
		if n > 2 || n > 1 && flying[id] == 0 {
			t.Errorf("%s came %d times, and was under way %d times when the node fell silent", id, n, flying[id])
		}
	}
	a.start(t)
	f.shared()
	after := publishAll(t, 20, "", f.nodes...)
	eventually(t, func() bool { return c.missing(after) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(after)) })
}

// status is what a path is answered with.
func (m *member) status(path string) int {
	a, err := m.try("GET", path, http.NoBody)
	if err != nil {
		return 0
	}
	return a.status
}

// TestNodeStopsInOrder: the others go on at once with what it had, and nothing comes twice.
func TestNodeStopsInOrder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	c := newCollector(t)
	a, b := f.nodes[0], f.nodes[1]
	for i := range 4 {
		a.link(hook(c.partner, "/", fmt.Sprintf(`"events":["*"],"scope":"s%d"`, i)))
	}
	c.on("/", func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("Webhook-Id")
		c.mu.Lock()
		c.at[id] = append(c.at[id], time.Now())
		c.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
		w.WriteHeader(http.StatusOK)
	})
	var ids []string
	for i := range 4 {
		ids = append(ids, publishAll(t, 200, fmt.Sprint("s", i), a)...)
	}
	left := c.missing(ids)
	a.stop()
	stopped := time.Now()
	eventually(t, func() bool { return c.missing(ids) == 0 }, func() string { return fmt.Sprintf("%d are missing", c.missing(ids)) })
	t.Logf("%d of %d were left", left, len(ids))
	soon(t, stopped, 3*time.Second, "what a node had that was stopped")
	for i := 0; i < len(ids); i += 20 {
		b.delivered(ids[i])
	}
	for id, n := range c.got() {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

// TestNodesAreListed with what each holds, and a node whose database cannot be reached is not ready.
func TestNodesAreListed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	nodes := f.nodes[1].call("GET", "/v1/nodes", "").want(200).json().objects("data")
	if len(nodes) != 2 || nodes[0].str("name") == nodes[1].str("name") || nodes[0].str("self") != "false" || nodes[1].str("self") != "true" {
		t.Fatalf("the nodes are %v", nodes)
	}
	for i, n := range nodes {
		if n.str("number") != fmt.Sprint(i) || "http://"+n.str("address") != f.nodes[i].url || n.str("version") != "1.2.3" || n.str("state") != "alive" || n.str("shards") != "128" {
			t.Errorf("node %d is %v", i, n)
		}
		if o := f.nodes[i].call("GET", "/readyz", "").want(200).json(); o.str("node") != fmt.Sprint(i) {
			t.Errorf("node %d says %v", i, o)
		}
	}
	s := serve(t)
	alone := s.call("GET", "/v1/nodes", "").want(200).json().objects("data")
	if len(alone) != 1 || alone[0].str("state") != "alive" || alone[0].str("shards") != "256" || alone[0].str("self") != "true" {
		t.Errorf("an installation with its embedded database lists %v", alone)
	}
}
