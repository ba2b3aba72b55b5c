package app_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	broker "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	deployed "github.com/patchbay/patchbay/deploy/outbox"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/pgtest"
)

// orders adds the types that the tests of sources use.
func orders(s *server) *server {
	s.t.Helper()
	for _, key := range []string{"order.placed", "order.paid"} {
		s.call("PUT", "/v1/event-types/"+key, `{"title":"An order","schema":{"type":"object","required":["cents"]},"example":{"cents":1}}`)
	}
	return s
}

// metric reads one metric; 0 when it is not there.
func (s *server) metric(name string) (value float64) {
	s.t.Helper()
	for line := range strings.Lines(string(s.call("GET", "/metrics", "").want(200).body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return value
}

func (s *server) untilMetric(name string, want float64) {
	s.t.Helper()
	deadline := time.Now().Add(3 * patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for got := s.metric(name); got != want; got = s.metric(name) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is %v, want %v", name, got, want)
		}
		<-tick.C
	}
}

// TestOutboxExample runs the files of deploy/outbox as an operator would, and looks at what arrives.
func TestOutboxExample(t *testing.T) {
	url := pgtest.Database(t)
	product, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer product.Close(context.Background())
	run := func(sql string) {
		t.Helper()
		if _, err := product.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	run(deployed.SQL)
	p := newPartner(t)
	s := orders(serve(t, func(c *config.Config) {
		c.Outbox = config.Outbox{"shop": {Database: patchbay.Secret(url), Within: "shop"}}
	}))
	s.link(hook(p, "/x", `"events":["order.*"],"concurrency":1`))
	run(deployed.Example)
	var got []string
	for range 3 {
		o := decode(t, p.next(t).body)
		got = append(got, o.str("event")+" "+o.str("scope")+" "+o.str("payload", "cents"))
	}
	cleo := []string{}
	for _, g := range got {
		if strings.Contains(g, "cleo") {
			cleo = append(cleo, g)
		}
	}
	if strings.Join(cleo, ", ") != "order.placed shop/cleo 1500, order.paid shop/cleo 1500" || !strings.Contains(strings.Join(got, "\n"), "order.placed shop/ada 4200") {
		t.Errorf("what arrived is %q", got)
	}
	list := s.call("GET", "/v1/events?scope=shop", "").want(200).json().objects("data")
	if len(list) != 3 || list[0].str("source", "kind") != "outbox" {
		t.Errorf("the events are %v", list)
	}
	run(`INSERT INTO patchbay_outbox (event) VALUES ('{"event_type": "order.paid", "scope": "elsewhere", "payload": {"cents": 1}}'), ('{"event_type": "order.lost", "payload": {}}')`)
	s.untilMetric(`patchbay_source_messages_total{kind="outbox",outcome="refused",source="shop"}`, 2)
	rows, _ := product.Query(t.Context(), "SELECT reason FROM patchbay_outbox_failed ORDER BY id")
	reasons, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(reasons) != 2 || !strings.Contains(reasons[0], "elsewhere") || !strings.Contains(reasons[1], "order.lost") {
		t.Errorf("the reasons are %q, %v", reasons, err)
	}
	p.none(t)
}

// TestOutboxOverRestarts proves with the real database that each of 5,000 rows becomes one event, while the installation
// is stopped and started, and rows that were taken are put back, as after a crash between the commit and the deletion.
func TestOutboxOverRestarts(t *testing.T) {
	url := pgtest.Database(t)
	product, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer product.Close(context.Background())
	run := func(sql string) {
		t.Helper()
		if _, err := product.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	run(deployed.SQL)
	const n = 5000
	// What is deleted is kept, so that the test can put it back under its old identifiers and keys.
	run(`CREATE TABLE gone (LIKE patchbay_outbox);
		CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO gone SELECT OLD.*; RETURN OLD; END $$;
		CREATE TRIGGER keep BEFORE DELETE ON patchbay_outbox FOR EACH ROW EXECUTE FUNCTION keep();`)
	run(fmt.Sprintf(`INSERT INTO patchbay_outbox (event) SELECT json_build_object('event_type', 'order.paid', 'scope', 'shop', 'payload', json_build_object('cents', i)) FROM generate_series(1, %d) i`, n))
	dir := t.TempDir()
	with := func(c *config.Config) { c.Outbox = config.Outbox{"shop": {Database: patchbay.Secret(url)}} }
	s := start(t, app.Options{Config: config.Config{Data: dir}})
	key, _ := s.app.AdminKey()
	orders(s.as(t, key)).stop()
	for round := range 3 {
		s = start(t, app.Options{Config: config.Config{Data: dir}}, with).as(t, key)
		if round < 2 {
			eventually(t, func() bool {
				return s.metric(`patchbay_source_messages_total{kind="outbox",outcome="accepted",source="shop"}`) > 0
			},
				func() string { return "nothing is taken" })
			s.stop()
			run(`INSERT INTO patchbay_outbox OVERRIDING SYSTEM VALUE SELECT DISTINCT ON (id) * FROM gone ON CONFLICT DO NOTHING`)
		}
	}
	eventually(t, func() bool {
		var left int
		err := product.QueryRow(t.Context(), "SELECT count(*) FROM patchbay_outbox").Scan(&left)
		return err == nil && left == 0
	}, func() string { return "rows stay" })
	if again := s.metric(`patchbay_source_messages_total{kind="outbox",outcome="duplicate",source="shop"}`); again == 0 {
		t.Error("no row was taken a second time")
	}
	seen := map[string]int{}
	for cursor := ""; ; {
		o := s.call("GET", "/v1/events?limit=250"+cursor, "").want(200).json()
		for _, e := range o.objects("data") {
			seen[e.str("payload", "cents")]++
		}
		if o.at("next") == nil {
			break
		}
		cursor = "&cursor=" + o.str("next")
	}
	for i := range n {
		if seen[fmt.Sprint(i+1)] != 1 {
			t.Fatalf("row %d became %d events", i+1, seen[fmt.Sprint(i+1)])
		}
	}
	if len(seen) != n {
		t.Errorf("%d events, want %d", len(seen), n)
	}
}

// TestNATS proves with the real database that each of 10,000 messages becomes one event while the broker restarts.
func TestNATS(t *testing.T) {
	dir := t.TempDir()
	port := broker.RANDOM_PORT
	serveBroker := func() *broker.Server {
		b, err := broker.NewServer(&broker.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		b.Start()
		if !b.ReadyForConnections(patience) {
			t.Fatal("the broker does not start")
		}
		return b
	}
	end := func(b *broker.Server) { b.Shutdown(); b.WaitForShutdown() }
	b := serveBroker()
	url := b.ClientURL()
	if _, err := fmt.Sscanf(url, "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); end(b) })
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	if err != nil {
		t.Fatal(err)
	}
	// The consumer is the operator's, so that the test need not wait for what a restart has interrupted.
	if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "patchbay", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second, MaxDeliver: -1}); err != nil {
		t.Fatal(err)
	}
	// The event type is there before the first message: one of an unknown type is refused for good.
	s := orders(serve(t, func(c *config.Config) {
		c.NATS = config.NATS{"orders": {URL: patchbay.Secret(url), Stream: "ORDERS", Type: "{3...}", Scope: "{2}"}}
	}))
	const n = 10_000
	var owned sync.WaitGroup
	owned.Go(func() {
		for i := range n {
			for {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				_, err := js.Publish(ctx, "orders.shop.order.paid", fmt.Appendf(nil, `{"cents":%d}`, i), jetstream.WithMsgID(fmt.Sprint(i)))
				cancel()
				if err == nil || t.Context().Err() != nil {
					break
				}
			}
		}
	})
	const accepted = `patchbay_source_messages_total{kind="nats",outcome="accepted",source="orders"}`
	eventually(t, func() bool { return s.metric(accepted) > 1000 }, func() string { return "nothing is taken" })
	end(b)
	b = serveBroker()
	owned.Wait()
	s.untilMetric(accepted, n)
	seen := map[string]int{}
	for cursor := ""; ; {
		o := s.call("GET", "/v1/events?limit=250&scope=shop"+cursor, "").want(200).json()
		for _, e := range o.objects("data") {
			seen[e.str("payload", "cents")]++
		}
		if o.at("next") == nil {
			break
		}
		cursor = "&cursor=" + o.str("next")
	}
	for i := range n {
		if seen[fmt.Sprint(i)] != 1 {
			t.Fatalf("message %d became %d events", i, seen[fmt.Sprint(i)])
		}
	}
}
