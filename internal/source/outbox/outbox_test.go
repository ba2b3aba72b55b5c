package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	deployed "github.com/patchbay/patchbay/deploy/outbox"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/netfault"
	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/source/sourcetest"
)

func TestMain(m *testing.M) { os.Exit(m.Run()) }

const patience = 60 * time.Second

// product is a connection of the product whose database has the outbox.
type product struct {
	*pgx.Conn
	t *testing.T
}

func connect(t *testing.T, url string) product {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return product{c, t}
}

// install makes a database with an outbox.
func install(t *testing.T, url string) product {
	t.Helper()
	p := connect(t, url)
	p.do(deployed.SQL)
	return p
}

// do runs statements.
func (p product) do(sql string, args ...any) {
	p.t.Helper()
	var err error
	if len(args) == 0 {
		_, err = p.PgConn().Exec(p.t.Context(), sql).ReadAll()
	} else {
		_, err = p.Exec(p.t.Context(), sql, args...)
	}
	if err != nil {
		p.t.Fatalf("%.200s: %v", sql, err)
	}
}

// say inserts an event with a number.
func (p product) say(n int, order any) {
	p.t.Helper()
	p.do("INSERT INTO patchbay_outbox (event, order_key) VALUES ($1, $2)", fmt.Sprintf(`{"n": %d}`, n), order)
}

func (p product) count(table string) (n int) {
	p.t.Helper()
	if err := p.QueryRow(p.t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// empty waits until nothing waits in the outbox.
func (p product) empty() {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := p.count("patchbay_outbox"); n > 0; n = p.count("patchbay_outbox") {
		if time.Now().After(deadline) {
			p.t.Fatalf("%d rows stay in the outbox", n)
		}
		<-tick.C
	}
}

// begin starts a source, which ends with the test at the latest.
func begin(t *testing.T, url string, in *sourcetest.Ingest) *Source {
	t.Helper()
	s, err := New(Options{Name: "test", URL: patchbay.Secret(url), Ingest: in})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// through returns the address of a database as it is reached through a proxy.
func through(t *testing.T, address string) (string, *netfault.Proxy) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := netfault.New(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	u.Host = proxy.Address()
	return u.String(), proxy
}

// number reads the number of an event.
func number(t *testing.T, m *ingest.Message) int {
	var e struct{ N *int }
	if err := json.Unmarshal(m.Body, &e); err != nil || e.N == nil {
		t.Errorf("the event is %s", m.Body)
		return -1
	}
	return *e.N
}

func numbers(t *testing.T, in *sourcetest.Ingest) (out []int, again int) {
	messages, again := in.Taken()
	for i := range messages {
		out = append(out, number(t, &messages[i]))
	}
	return out, again
}

// until waits until so many events were taken.
func until(t *testing.T, in *sourcetest.Ingest, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got := in.Until(ctx, n); got < n {
		t.Fatalf("%d events were taken, want %d", got, n)
	}
}

// TestExactlyOnce has eight writers commit 20,000 rows out of order, among them some that change their mind, while two
// nodes take them and the network between them and the database breaks again and again, mostly between the moment at
// which events are durable and the one at which their rows are deleted.
func TestExactlyOnce(t *testing.T) {
	direct := pgtest.Database(t)
	p := install(t, direct)
	faulty, proxy := through(t, direct)
	var calls atomic.Int64
	in := &sourcetest.Ingest{Answer: func(*ingest.Message) error {
		if calls.Add(1)%3000 == 0 {
			proxy.Cut()
		}
		return nil
	}}
	first, second := begin(t, faulty, in), begin(t, faulty, in)
	const writers, each = 8, 2500
	var owned sync.WaitGroup
	began := time.Now()
	for w := range writers {
		owned.Go(func() {
			c, err := pgx.Connect(t.Context(), direct)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close(context.Background())
			random := rand.New(rand.NewPCG(uint64(w), 7))
			for n := 0; n < each; {
				size := min(1+random.IntN(100), each-n)
				commit := random.IntN(10) > 0
				tx, err := c.Begin(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for i := range size {
					if _, err := tx.Exec(t.Context(), "INSERT INTO patchbay_outbox (event) VALUES ($1)", fmt.Sprintf(`{"n": %d}`, w*each+n+i)); err != nil {
						t.Error(err)
						return
					}
				}
				if random.IntN(4) == 0 { // others commit later rows meanwhile
					_, _ = tx.Exec(t.Context(), "SELECT pg_sleep($1)", random.Float64()/10)
				}
				if !commit {
					_ = tx.Rollback(t.Context())
					continue // again
				}
				if err := tx.Commit(t.Context()); err != nil {
					t.Error(err)
					return
				}
				n += size
			}
		})
	}
	owned.Wait()
	p.empty()
	t.Logf("%d rows in %v", writers*each, time.Since(began).Round(time.Millisecond))
	got, again := numbers(t, in)
	seen := make([]int, writers*each)
	for _, n := range got {
		seen[n]++
	}
	for n, times := range seen {
		if times != 1 {
			t.Fatalf("row %d became %d events", n, times)
		}
	}
	if again == 0 {
		t.Error("no row was taken twice: the test has not cut a connection at the wrong moment")
	}
	f, g := first.Figures(), second.Figures()
	if f.Accepted+g.Accepted != writers*each || f.Duplicates+g.Duplicates != int64(again) {
		t.Errorf("the figures are %+v and %+v; %d came again", f, g, again)
	}
}

// TestOrder proves that rows of one order are taken one after another, whatever happens to one of them, and that nobody
// else waits for them.
func TestOrder(t *testing.T) {
	url := pgtest.Database(t)
	p := install(t, url)
	for n := range 600 {
		p.say(n, []any{"a", "b", nil}[n%3])
	}
	var mu sync.Mutex
	under, tries := map[int]int{}, 0 // by n%3
	in := &sourcetest.Ingest{}
	in.Answer = func(m *ingest.Message) error {
		n := number(t, m)
		mu.Lock()
		under[n%3]++
		if under[n%3] > 1 && n%3 < 2 {
			t.Errorf("row %d is taken beside another one of its order", n)
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			under[n%3]--
		}()
		mu.Lock()
		defer mu.Unlock()
		if n == 30 && tries < 2 { // of order a
			tries++
			return &patchbay.Error{Code: patchbay.CodeRateLimited, Message: "later", RetryAfter: 1}
		}
		return nil
	}
	begin(t, url, in)
	until(t, in, 400) // all of the others, and more, while row 30 waits
	got, _ := numbers(t, in)
	for _, n := range got {
		if n%3 == 0 && n >= 30 && len(got) < 410 {
			t.Errorf("row %d was taken before row 30", n)
		}
	}
	until(t, in, 600)
	got, _ = numbers(t, in)
	last := map[int]int{}
	for _, n := range got {
		if n%3 < 2 && n < last[n%3] {
			t.Errorf("row %d was taken after row %d", n, last[n%3])
		}
		last[n%3] = n
	}
	p.empty()
}

// TestRefused proves that what can never be accepted goes aside with its reason, holds up nobody, and can be sent again.
func TestRefused(t *testing.T) {
	url := pgtest.Database(t)
	p := install(t, url)
	var mended atomic.Bool
	in := &sourcetest.Ingest{Answer: func(m *ingest.Message) error {
		if strings.Contains(string(m.Body), "bad") && !mended.Load() {
			return patchbay.Invalid("event_type", "there is no event type \"bad\" \x00")
		}
		return nil
	}}
	p.do("INSERT INTO patchbay_outbox (event) VALUES ($1), ($2), ($3), ($4)", `{"n":0}`, `{"n":1,"bad":true}`,
		`{"n":2,"text":"`+strings.Repeat("x", patchbay.MaxEventBody)+`"}`, `{"n":3,  "as":1.0,"written":1E2}`)
	s := begin(t, url, in)
	p.empty()
	messages, _ := in.Taken()
	bodies := map[string]bool{}
	for _, m := range messages {
		bodies[string(m.Body)] = true
	}
	if diff := cmp.Diff(map[string]bool{`{"n":0}`: true, `{"n":3,  "as":1.0,"written":1E2}`: true}, bodies); diff != "" {
		t.Error(diff)
	}
	rows, _ := p.Query(t.Context(), "SELECT reason FROM patchbay_outbox_failed ORDER BY id")
	reasons, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(reasons) != 2 || !strings.HasPrefix(reasons[0], `event_type: there is no event type "bad"`) || !strings.Contains(reasons[1], "at most 1048576 bytes") {
		t.Errorf("the reasons are %q, %v", reasons, err)
	}
	if f := s.Figures(); f.Accepted != 2 || f.Refused != 2 {
		t.Errorf("the figures are %+v", f)
	}
	mended.Store(true)
	_, after, _ := strings.Cut(deployed.SQL, "--     WITH again") // what the file tells people to do
	statement, _, _ := strings.Cut("WITH again"+after, ";")
	p.do(strings.ReplaceAll(statement, "\n--", "\n"))
	until(t, in, 3)
	p.empty()
	if n := p.count("patchbay_outbox_failed"); n != 1 { // too large it stays
		t.Errorf("%d rows have failed", n)
	}
}

// TestUnavailable proves that nothing is lost while this installation takes nothing in.
func TestUnavailable(t *testing.T) {
	url := pgtest.Database(t)
	p := install(t, url)
	var back atomic.Bool
	tried := make(chan struct{}, 1000)
	in := &sourcetest.Ingest{Answer: func(*ingest.Message) error {
		if !back.Load() {
			tried <- struct{}{}
			return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database is away"}
		}
		return nil
	}}
	for n := range 500 {
		p.say(n, nil)
	}
	begin(t, url, in)
	<-tried
	<-tried
	if n := p.count("patchbay_outbox"); n != 500 {
		t.Errorf("%d rows are left", n)
	}
	back.Store(true)
	until(t, in, 500)
	p.empty()
}

// TestStandby proves that one node takes rows and the others follow it: when it stops, and when its connection dies.
func TestStandby(t *testing.T) {
	direct := pgtest.Database(t)
	p := install(t, direct)
	one, two := &sourcetest.Ingest{}, &sourcetest.Ingest{}
	faulty, proxy := through(t, direct)
	first := begin(t, faulty, one)
	p.say(0, nil)
	until(t, one, 1)
	second := begin(t, direct, two)
	for n := range 10 {
		p.say(1+n, nil)
	}
	until(t, one, 11)
	p.empty() // or they would be taken again, by a stand-in that does not know them
	proxy.Refuse()
	proxy.Cut()
	p.say(11, nil)
	until(t, two, 1)
	p.empty()
	stop(t, first)
	stop(t, second)
	third := &sourcetest.Ingest{}
	begin(t, direct, third)
	p.say(12, nil)
	until(t, third, 1)
	if got, _ := two.Taken(); len(got) != 1 {
		t.Errorf("the node that stood by took %d rows", len(got))
	}
}

// TestDatabaseRestarts proves that a database that is killed and comes back loses and repeats nothing.
func TestDatabaseRestarts(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	url := server.Database(t)
	p := install(t, url)
	in := &sourcetest.Ingest{}
	begin(t, url, in)
	p.say(0, nil)
	until(t, in, 1)
	for n := range 1000 {
		p.say(1+n, nil)
	}
	server.Kill(t)
	server.Restart(t)
	p = connect(t, url)
	for n := range 100 {
		p.say(1001+n, nil)
	}
	until(t, in, 1101)
	p.empty()
	got, _ := numbers(t, in)
	seen := map[int]bool{}
	for _, n := range got {
		if seen[n] {
			t.Errorf("row %d was taken twice", n)
		}
		seen[n] = true
	}
	if len(seen) != 1101 {
		t.Errorf("%d rows became events, want 1101", len(seen))
	}
}

// TestWakes proves that rows are taken when they are committed, not when the source looks the next time.
func TestWakes(t *testing.T) {
	url := pgtest.Database(t)
	p := install(t, url)
	in := &sourcetest.Ingest{}
	begin(t, url, in)
	p.say(0, nil)
	until(t, in, 1)
	// A source that looks by itself takes every row a whole poll after the one before. A slow machine needs long for some.
	const n = 30
	quick := 0
	for i := range n {
		began := time.Now()
		p.say(1+i, nil)
		until(t, in, 2+i)
		if time.Since(began) < poll/2 {
			quick++
		}
	}
	if quick < n/6 {
		t.Errorf("only %d of %d rows, one after another, were taken at once: the source was not woken", quick, n)
	}
	p.do("DROP TRIGGER patchbay_outbox_notify ON patchbay_outbox")
	p.say(n+1, nil)
	until(t, in, n+2) // without the trigger too
}

// TestRights proves that a role needs no more than the file grants, and that what is missing is named.
func TestRights(t *testing.T) {
	url := pgtest.Database(t)
	p := connect(t, url)
	in := &sourcetest.Ingest{}
	s, err := New(Options{Name: "test", URL: patchbay.Secret(url), Ingest: in})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.session(t.Context()); err == nil || !strings.Contains(err.Error(), "run deploy/outbox/outbox.sql") {
		t.Errorf("without tables: %v", err)
	}
	p.do(deployed.SQL)
	p.do(deployed.SQL) // again changes nothing
	var database string
	if err := p.QueryRow(t.Context(), "SELECT current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	server := pgtest.Shared(t)
	role := database + "_reader"
	server.SQL(t, database, "CREATE ROLE "+role+" LOGIN; GRANT SELECT, DELETE ON patchbay_outbox TO "+role+"; GRANT SELECT, INSERT ON patchbay_outbox_failed TO "+role)
	t.Cleanup(func() { server.SQL(t, database, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	in.Answer = func(m *ingest.Message) error {
		if number(t, m) == 1 {
			return patchbay.Invalid("payload", "is wrong")
		}
		return nil
	}
	p.say(0, nil)
	p.say(1, nil)
	begin(t, strings.Replace(url, pgtest.Role+"@", role+"@", 1), in)
	p.empty()
	if n := p.count("patchbay_outbox_failed"); n != 1 {
		t.Errorf("%d rows have failed", n)
	}
}

func TestNew(t *testing.T) {
	_, err := New(Options{Name: "shop", URL: "postgres://user:secret@host:port/x"})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "shop") {
		t.Errorf("an address that cannot be read: %v", err)
	}
}
