package postgres_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// mayRead are the statements that may walk through a large table, and why.
var mayRead = map[string]string{
	"FROM queue LIMIT $1":                       "Stats counts what waits, up to a bound",
	"split_part(scope":                          "once for each day that is dropped while a tenant keeps for longer",
	"FROM queue q WHERE q.link = o.link":        "OldestWaiting counts, up to a bound",
	"WHERE link = $1 AND (delivery >=":          "Waiting counts, up to a bound",
	"DELETE FROM lane":                          "lanes are as many as links",
	"FROM lane":                                 "lanes are as many as links",
	"FROM link":                                 "links are in memory of every node anyway",
	"DELETE FROM idempotency WHERE ctid":        "some pages of the table",
	"DELETE FROM thread WHERE ctid":             "some pages of the table",
	"FROM unmatched WHERE id >= $1 AND id < $2": "what is in no block of the history yet",
	"WHERE delivery > $1 AND delivery < $2 ORDER BY delivery LIMIT $3": "what waits of a day that is dropped, up to a bound",
	"DELETE FROM sample WHERE (scope":                                  "an erasure of a tenant",
	"DELETE FROM job WHERE finished IS NOT NULL":                       "an erasure of a tenant",
}

// planNode is one node of a plan that was executed, as PostgreSQL describes it.
type planNode struct {
	Type    string     `json:"Node Type"`
	Table   string     `json:"Relation Name"`
	Index   string     `json:"Index Name"`
	Rows    float64    `json:"Actual Rows"`
	Loops   float64    `json:"Actual Loops"`
	Removed float64    `json:"Rows Removed by Filter"`
	Again   float64    `json:"Rows Removed by Index Recheck"`
	Plans   []planNode `json:"Plans"`
}

// read is how many rows the node looked at.
func (n *planNode) read() float64 { return (n.Rows + n.Removed + n.Again) * n.Loops }

func (n *planNode) walk(f func(*planNode)) {
	f(n)
	for i := range n.Plans {
		n.Plans[i].walk(f)
	}
}

type executed struct {
	Query string   `json:"Query Text"`
	Plan  planNode `json:"Plan"`
}

// plans reads the plans in a server's log from a place on.
func plans(t *testing.T, log string) []executed {
	t.Helper()
	var out []executed
	for {
		_, rest, ok := strings.Cut(log, "plan:\n")
		if !ok {
			return out
		}
		var text strings.Builder
		for line := range strings.Lines(rest) {
			inner, ok := strings.CutPrefix(line, "\t")
			if !ok {
				break
			}
			text.WriteString(inner)
		}
		var x executed
		if err := json.Unmarshal([]byte(text.String()), &x); err != nil {
			t.Fatalf("the server's log has a plan that cannot be read: %v\n%s", err, text.String())
		}
		out = append(out, x)
		log = rest
	}
}

// readMost is how many rows of a table a statement may look at in this test, in which each asks for some dozens.
const readMost = 3000

// TestEveryQueryHasItsIndex has the server write down the plan of every statement that a store executes in a life, also
// those within functions, on a database in which a million deliveries wait.
func TestEveryQueryHasItsIndex(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills a database")
	}
	server := pgtest.Start(t, pgtest.Options{NoSync: true, Settings: map[string]string{
		"session_preload_libraries": "'auto_explain'", "auto_explain.log_min_duration": "-1", "auto_explain.log_nested_statements": "on",
		"auto_explain.log_analyze": "on", "auto_explain.log_timing": "off", "auto_explain.log_format": "json", "shared_buffers": "'256MB'",
	}})
	url := server.Database(t)
	ctx := context.Background()
	later := time.Duration(0)
	o := postgres.Options{URL: url, Name: "a", Now: func() time.Time { return time.Now().Add(later) }}.WithIndex(500)
	s, err := postgres.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	events := fill(t, s, server)

	server.SQL(t, "test_1", "ALTER SYSTEM SET auto_explain.log_min_duration = 0; ")
	server.SQL(t, "test_1", "SELECT pg_reload_conf()")
	server.SQL(t, "test_1", "SELECT pg_sleep(0.3)")
	from := len(server.Log())
	exercise(t, s, events)
	claim(t, s)
	if _, err := s.Recover(ctx, o.Now()); err != nil {
		t.Fatal(err)
	}
	for week := range 4 {
		later = time.Duration(week*7) * 24 * time.Hour
		r := store.Retention{Matched: 10 * 24 * time.Hour, Unmatched: 24 * time.Hour, Bodies: 24 * time.Hour, Tenants: map[string]time.Duration{"x": time.Hour, "y": 0}}
		for more := true; more; {
			if more, err = s.Prune(ctx, r, o.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := plans(t, server.Log()[from:])
	kinds, told := map[string]bool{}, map[string]bool{}
	for i := range all {
		x := &all[i]
		kinds[x.Query] = true
		if excused(x.Query) {
			continue
		}
		x.Plan.walk(func(n *planNode) {
			if id := n.Type + n.Index + x.Query; !told[id] && n.Table != "" && n.read() > readMost {
				told[id] = true
				t.Errorf("%s on %s (index %q) reads %.0f rows for %.0f, in\n%s", n.Type, n.Table, n.Index, n.read(), n.Rows*n.Loops, x.Query)
			}
		})
	}
	if len(kinds) < 130 {
		t.Errorf("only %d statements were used: the test does not see everything", len(kinds))
	}
	checkClaim(t, all)
}

func excused(sql string) bool {
	for part := range mayRead {
		if strings.Contains(strings.Join(strings.Fields(sql), " "), part) {
			return true
		}
	}
	return false
}

// checkClaim checks that a claim reads of the queue exactly what it returns.
func checkClaim(t *testing.T, all []executed) {
	t.Helper()
	seen := 0
	for i := range all {
		if x := &all[i]; strings.Contains(x.Query, "(q.due, q.delivery) > ($3, $4)") {
			x.Plan.walk(func(n *planNode) {
				if n.Table != "queue" {
					return
				}
				seen++
				if n.Type != "Index Scan" && n.Type != "Index Only Scan" || n.read() > 256 {
					t.Errorf("a claim of up to 256 does %s on %s and reads %.0f", n.Type, n.Index, n.read())
				}
			})
		}
	}
	if seen == 0 {
		t.Error("no claim was seen")
	}
}

// The links of fill.
const (
	crowdedLink = patchbay.LinkID(500)  // with a million deliveries that wait
	droppedLink = patchbay.LinkID(2000) // with some that were dropped
)

// fill makes thousands of events with every fate, and a million deliveries that wait.
func fill(t *testing.T, s *postgres.Store, server *pgtest.Server) []*store.Acceptance {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	var all []*store.Acceptance
	for i := range 4000 {
		a := acceptance(s, i%3, now)
		a.Event.Type, a.Event.Scope = fmt.Sprintf("type.%d", i%40), patchbay.Scope(fmt.Sprintf("%c/repos/%d", 'x'+i%3, i%100))
		if i%50 == 7 && len(a.Targets) > 0 {
			a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(a.Event.ID, 1), Event: a.Event.ID, Link: a.Targets[0].Link, Due: now, Thread: fmt.Sprint("t", i%8)}}
		}
		if _, err := s.Accept(ctx, a); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
		for j, o := range outcomesOf(a, now, request) {
			o.State = []patchbay.DeliveryState{patchbay.DeliverySucceeded, patchbay.DeliverySucceeded, patchbay.DeliveryFailed}[(i+j)%3]
			o.Attempt.ResponseBody = "fine"
			s.Record([]store.Outcome{o}, nil)
		}
	}
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	of := all[1].Event.ID
	for _, sql := range []string{
		fmt.Sprintf("INSERT INTO queue SELECT %d, %d + n * 1024, %[2]d, now() - n * interval '1 millisecond', NULL, 0, 0, false, NULL FROM generate_series(1, 1000000) n",
			crowdedLink, of),
		fmt.Sprintf("INSERT INTO queue SELECT %d, %d + n, %[2]d, now(), NULL, 0, 0, false, NULL FROM generate_series(1, 1000) n", droppedLink, of),
		fmt.Sprintf("INSERT INTO queue SELECT 3000 + n, %d + n, %[1]d, now() + interval '1 day', NULL, 0, 0, false, NULL FROM generate_series(1, 2000) n", of),
		"INSERT INTO thread SELECT n, 'x', 'r', 1 FROM generate_series(1, 20000) n",
		"INSERT INTO change (kind, id, link, at, key) SELECT 'link', n, 0, 0, '' FROM generate_series(1, 20000) n",
		"INSERT INTO job SELECT n, 'retry', '{}', 'x', '', 'succeeded', '', 0, 0, 0, 0, 0, '', false, 0 FROM generate_series(1, 5000) n",
		"INSERT INTO sample SELECT 1, now() - n * interval '1 minute', 1, '', '', '', 1, 1, 1, 1, NULL FROM generate_series(1, 5000) n",
		`INSERT INTO connection SELECT n, 1, 'github', convert_to('account ' || n, 'UTF8'), CASE WHEN n % 1000 = 0 THEN 'x' ELSE 'y/teams/' || n END,
			CASE WHEN n % 2 = 0 THEN now() + n * interval '1 minute' END, 0, NULL, '{}', '\x007b7d' FROM generate_series(1, 20000) n`,
		"INSERT INTO flow SELECT sha256(convert_to(n::text, 'UTF8')), now() + n * interval '1 second', '\\x00' FROM generate_series(1, 20000) n",
		`INSERT INTO session SELECT n, true, NULL, sha256(convert_to(n::text, 'UTF8')), CASE WHEN n % 1000 = 0 THEN 'x' ELSE 'y/teams/' || n END, '', NULL, '[]', 7, '',
			now(), NULL, now() + n * interval '1 minute' FROM generate_series(1, 20000) n`,
		// Most are read and came to nothing; a few of every other kind stand far apart.
		`INSERT INTO hook SELECT n * 1024, CASE WHEN n % 1000 = 0 THEN 1000 ELSE n END, now(), 1, n % 500 = 0, 'github',
			CASE WHEN n % 1000 = 1 THEN 'pending' WHEN n % 1000 = 2 THEN 'unplaced' WHEN n % 1000 = 3 THEN 'failed' ELSE 'ignored' END,
			convert_to('account ' || n % 1000, 'UTF8'), CASE WHEN n % 500 = 0 THEN 'x' END, CASE WHEN n % 500 = 0 THEN 'x/repos/1' ELSE '' END, '', '', NULL, '{}',
			sha256(convert_to(n::text, 'UTF8')), NULL, '', repeat('x', 100)::bytea FROM generate_series(1, 40000) n`,
		"INSERT INTO hook_event SELECT n, n FROM generate_series(1, 20000) n",
		`INSERT INTO audit SELECT n * 1024, 'x/repos/' || n % 100, CASE WHEN n % 40 = 0 THEN 'key.created' ELSE 'link.updated' END, convert_to('lnk_' || n % 1000, 'UTF8'),
			'', 'key', convert_to('key_' || n % 50, 'UTF8'), 'CI', '', '', '', NULL FROM generate_series(1, 40000) n`,
		`INSERT INTO audit_word SELECT w, id FROM audit, unnest(ARRAY['s x', convert_to('s ' || scope, 'UTF8'), convert_to('a ' || action, 'UTF8'),
			convert_to('a ' || split_part(action, '.', 1) || '.', 'UTF8'), convert_to('o ', 'UTF8') || object, convert_to('w ', 'UTF8') || actor, 'w CI']::bytea[]) w`,
		"VACUUM ANALYZE",
	} {
		server.SQL(t, "test_1", sql)
	}
	return all
}

// claim does what a dispatcher does with a crowded lane.
func claim(t *testing.T, s *postgres.Store) {
	t.Helper()
	ctx := context.Background()
	for range 3 {
		if _, err := s.Due(ctx, crowdedLink, time.Now(), 256, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// exercise does everything that a store can do.
func exercise(t *testing.T, s *postgres.Store, all []*store.Acceptance) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	replay := acceptance(s, 2, now)
	replay.Event.Origin, replay.Event.Payload = all[1].Event.ID, nil
	for _, a := range []*store.Acceptance{acceptance(s, 0, now), acceptance(s, 1, now), acceptance(s, 3, now), replay} {
		_, err := s.Accept(ctx, a)
		must(err)
		_, err = s.Accept(ctx, a) // remembered
		must(err)
		for _, o := range outcomesOf(a, now, request) {
			o.State, o.Attempt.ResponseBody = patchbay.DeliveryPending, "later"
			o.Next = &store.Queued{Delivery: o.Delivery, Event: o.Event, Link: o.Link, Due: now, Attempts: 1, Used: 1, Thread: "t"}
			o.Thread = &store.ThreadUpdate{Thread: "t", Reference: "r", Event: a.Event.ID}
			last := o
			last.N, last.State, last.Next, last.WasQueued = 2, patchbay.DeliverySucceeded, nil, true
			s.Record([]store.Outcome{o}, nil)
			must(s.Flush(ctx))
			s.Record([]store.Outcome{last}, nil)
		}
	}
	must(s.Flush(ctx))
	some := all[len(all)-2]
	must(s.Enqueue(ctx, []store.Queued{{Delivery: patchbay.DeliveryAt(some.Event.ID, 1), Event: some.Event.ID, Link: 1000, Due: now, Thread: "x"}}))
	must(s.SaveLane(ctx, store.Lane{Link: droppedLink, DropBefore: patchbay.DeliveryAt(all[1].Event.ID, 1)}))
	exerciseRegistry(t, s)
	exerciseReads(t, s, all)
	exercisePartners(t, s)
	exerciseHooks(t, s, all[1].Event.ID)
	exerciseAudit(t, s)
	_, err := s.Beat(ctx, store.NodeReport{})
	must(err)
	shards, err := s.ClaimShards(ctx, 3)
	must(err)
	must(s.ReleaseShards(ctx, shards))
	must(s.Announce(ctx, []store.Change{{Kind: store.ChangedDelivery, ID: 1}}))
	_, err = s.Changes(ctx, 19_000)
	must(err)
	_, err = s.LastChange(ctx)
	must(err)
	_, err = s.TakeOver(ctx, time.Minute)
	must(err)
	must(s.EraseEvents(ctx, []patchbay.EventID{all[1].Event.ID, all[3].Event.ID}, now))
	_, _, err = s.EraseTenant(ctx, "nobody")
	must(err)
}

func exerciseRegistry(t *testing.T, s *postgres.Store) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	link := &patchbay.Link{ID: patchbay.LinkID(s.NewID(1)), Revision: 1, Settings: json.RawMessage(`{}`)}
	must(s.SaveLink(ctx, link))
	link.Revision = 2
	must(s.SaveLink(ctx, link))
	_, err := s.LinkRevision(ctx, link.ID, 1)
	must(err)
	_, err = s.LinkNow(ctx, link.ID)
	must(err)
	must(s.DeleteLink(ctx, link.ID, now))
	must(s.PutType(ctx, &patchbay.EventType{Key: "k"}))
	must(s.DeleteType(ctx, "k"))
	k := &store.Key{ID: patchbay.KeyID(s.NewID(1))}
	binary.BigEndian.PutUint64(k.Hash[:], uint64(k.ID))
	must(s.SaveKey(ctx, k))
	must(s.DeleteKey(ctx, k.ID))
	must(s.SetMeta(ctx, "a", "b"))
	j := &store.Job{ID: patchbay.JobID(s.NewID(1)), Action: "retry", State: store.JobPending, CreatedAt: now}
	must(s.CreateJob(ctx, j))
	j, err = s.ClaimJob(ctx, 1, now, now.Add(time.Minute))
	must(err)
	_, err = s.SaveJob(ctx, j)
	must(err)
	must(s.CancelJob(ctx, j.ID, now))
	_, err = s.Jobs(ctx, store.JobFilter{Limit: 20, Within: "x"})
	must(err)
	must(s.AddSamples(ctx, []store.Sample{{At: now, Accepted: 1}}))
	_, err = s.RollUpSamples(ctx, now.Add(-24*time.Hour).Truncate(time.Hour), 100)
	must(err)
	_, err = s.PruneSamples(ctx, now.Add(-72*time.Hour).Truncate(time.Hour), 100)
	must(err)
	_, err = s.Samples(ctx, store.StatFilter{Since: now.Add(-time.Hour)}, time.Minute, "link")
	must(err)
	_, err = s.Samples(ctx, store.StatFilter{Since: now.Add(-24 * time.Hour), Links: []patchbay.LinkID{1000, 1001}}, time.Minute, "link")
	must(err)
}

func exerciseReads(t *testing.T, s *postgres.Store, all []*store.Acceptance) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Remembered(ctx, [16]byte{1}, now))
	must(s.Event(ctx, all[5].Event.ID))
	must(s.OfEvent(ctx, all[5].Event.ID))
	must(s.Delivery(ctx, patchbay.DeliveryAt(all[5].Event.ID, 1)))
	must(s.LastAttempts(ctx, []patchbay.DeliveryID{patchbay.DeliveryAt(all[5].Event.ID, 1), patchbay.DeliveryAt(all[6].Event.ID, 1)}))
	must(s.Replays(ctx, all[1].Event.ID))
	must(s.Thread(ctx, 5, "x"))
	must(s.AllLinks(ctx))
	must(s.AllTypes(ctx))
	must(s.AllKeys(ctx))
	must(s.Lanes(ctx))
	must(s.Waited(ctx))
	must(s.OldestWaiting(ctx, 10))
	must(s.Stats(ctx))
	must(nil, s.Healthy(ctx))
	for _, link := range []patchbay.LinkID{crowdedLink, droppedLink, 1001, 3001, 9} {
		must(s.Due(ctx, link, now, 10, nil))
		_, _, err := s.NextDue(ctx, link, nil)
		must(nil, err)
		must(s.Waiting(ctx, link, 10))
	}
	for _, f := range []store.EventFilter{{}, {Types: []string{"type.3", "type.4"}}, {Within: "x/repos/3"}, {Since: now.Add(-time.Minute)}, {Before: all[2000].Event.ID, Types: []string{"type.9"}}} {
		f.Limit = 20
		must(s.Events(ctx, f))
	}
	for _, state := range []patchbay.DeliveryState{"", patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliverySkipped, patchbay.DeliveryPending} {
		for _, f := range []store.DeliveryFilter{{}, {Link: 1000}, {Link: 1001}, {Within: "x/repos/3"}, {Integration: "webhook"}, {Types: []string{"type.3"}}, {Links: []patchbay.LinkID{1000, 1001}}, {Before: patchbay.DeliveryID(all[2000].Event.ID)}} {
			f.Limit = 20
			if state != "" {
				f.States = []patchbay.DeliveryState{state}
			}
			must(s.Deliveries(ctx, f))
		}
	}
}

func exercisePartners(t *testing.T, s *postgres.Store) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := &patchbay.Connection{
		ID: patchbay.ConnectionID(s.NewID(1)), Integration: "github", Scope: "x", Account: patchbay.Account{ID: "account 7"}, Revision: 1,
		Credentials: patchbay.Credentials{Access: "a", Refresh: "r", ExpiresAt: now},
	}
	must(nil, s.SaveConnection(ctx, c))
	fence, _, err := s.LeaseConnection(ctx, c.ID, time.Minute)
	must(nil, err)
	_, _, err = s.LeaseConnection(ctx, c.ID, time.Minute)
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("a second lease: %v", err)
	}
	must(s.SaveRefreshed(ctx, fence, c))
	c.Revision = 3
	must(nil, s.SaveConnection(ctx, c))
	serving := patchbay.Scope("x/y")
	for range 7 { // from the sixth time on there may be one plan for all parameters
		for _, f := range []store.ConnectionFilter{
			{}, {Integration: "github"}, {Account: "account 7"}, {Account: "account 9", Integration: "github"}, {Within: "x"}, {Serving: &serving},
			{ExpiresBefore: now.Add(time.Hour)}, {After: 10_000, Within: "x"},
		} {
			f.Limit = 20
			must(s.Connections(ctx, f))
		}
		must(s.Sessions(ctx, store.SessionFilter{Limit: 20}, now))
		must(s.Sessions(ctx, store.SessionFilter{Limit: 20, Within: "x"}, now))
		must(s.Sessions(ctx, store.SessionFilter{Limit: 20, Portal: new(bool)}, now))
		must(s.Sessions(ctx, store.SessionFilter{Limit: 20, Key: 8}, now))
	}
	must(nil, s.DeleteConnection(ctx, c.ID))
	hash := [32]byte{1}
	must(nil, s.SaveFlow(ctx, &store.Flow{Hash: hash, Until: now.Add(time.Minute)}))
	must(s.TakeFlow(ctx, hash, now))
	x := &store.Session{ID: patchbay.SessionID(s.NewID(1)), Claim: hash, Scope: "x", ClaimUntil: now.Add(time.Minute), ExpiresAt: now.Add(time.Hour)}
	must(nil, s.SaveSession(ctx, x))
	must(s.ClaimSession(ctx, hash, hash, now))
	must(s.SessionByCookie(ctx, hash, now))
	must(s.Session(ctx, x.ID, now))
	must(nil, s.DeleteSession(ctx, x.ID))
	for after := "begin"; after != ""; {
		after, err = s.LookSealed(ctx, strings.TrimPrefix(after, "begin"), 1000, func([]byte) {})
		must(nil, err)
	}
}

func exerciseAudit(t *testing.T, s *postgres.Store) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	for range 7 { // from the sixth time on there may be one plan for all parameters
		if err := s.WriteAudit(ctx, &store.AuditEntry{Scope: "x/repos/1", Action: "link.created", Object: "lnk_1", Actor: "key_1"}); err != nil {
			t.Fatal(err)
		}
		for _, f := range []store.AuditFilter{
			{}, {Since: now.Add(-time.Hour)}, {Within: "x"}, {Within: "x/repos/1"}, {Action: "link."}, {Within: "x", Action: "key.created"},
			{Within: "x/repos/3", Action: "link.", Actor: "key_7"}, {Within: "x", Action: "link.updated", Actor: "key_3", Object: "lnk_33"}, {Actor: "CI", Action: "key."},
			{Before: 40_000 << 10, Within: "x/repos/4"},
		} {
			f.Limit = 20
			if _, err := s.AuditEntries(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.PruneAudit(ctx, now, 20); err != nil {
		t.Fatal(err)
	}
}

func exerciseHooks(t *testing.T, s *postgres.Store, event patchbay.EventID) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &store.Hook{ID: patchbay.HookID(s.NewID(1)), Integration: "github", Account: "account 1", Key: [16]byte{1}, Body: []byte("{}")}
	must(s.SaveHook(ctx, h))
	again := *h
	again.ID = patchbay.HookID(s.NewID(1))
	must(s.SaveHook(ctx, &again))
	h.State, h.Events, h.Placed, h.Scope = patchbay.HookDone, []patchbay.EventID{event}, true, "x"
	must(nil, s.FinishHook(ctx, h))
	must(s.Hook(ctx, h.ID))
	for range 7 {
		must(s.PendingHooks(ctx, now.Add(time.Hour), 0, 20))
		for _, f := range []store.HookFilter{
			{}, {Before: 10_000 << 10}, {Link: 1000}, {Account: "account 7"}, {Within: "x"}, {Within: "x/repos/1", States: []patchbay.HookState{patchbay.HookIgnored}},
			{States: []patchbay.HookState{patchbay.HookPending}}, {States: []patchbay.HookState{patchbay.HookPending, patchbay.HookUnplaced}, Before: 20_000 << 10},
			{States: []patchbay.HookState{patchbay.HookFailed}, Integration: "github"}, {States: []patchbay.HookState{patchbay.HookUnplaced}, Account: "account 2"},
		} {
			f.Limit = 20
			must(s.Hooks(ctx, f))
		}
	}
}
