package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// poolConns is how many connections a node has for everything that is not hot, besides one for each writer and one
	// that listens.
	poolConns = 8
	// connectMost bounds how long the way to the server may take; a server that was lost is tried again anyway.
	connectMost = 5 * time.Second
	// idleMost is how long a connection of the pool stays open unused.
	idleMost = 5 * time.Minute
	// applicationName says in pg_stat_activity whose a connection is. A takeover ends connections by it.
	applicationName = "patchbay node %d/%d"
)

// settings are what a connection asks of the server, unless the URL says otherwise.
var settings = map[string]string{
	// What a node asks is short. The limits end what a lost node or a bad plan left behind.
	"statement_timeout":                   "60000",
	"idle_in_transaction_session_timeout": "30000",
	"lock_timeout":                        "20000",
	// A server that lost its client in silence finds out after half a minute, rather than two hours.
	"tcp_keepalives_idle":     "10",
	"tcp_keepalives_interval": "5",
	"tcp_keepalives_count":    "4",
	"timezone":                "UTC",
	// Statements of a node are small; starting workers or compiling for them costs more than it gives.
	"jit":                             "off",
	"max_parallel_workers_per_gather": "0",
}

// Open joins the database as a node, and makes its tables when it is empty. Its errors are sentences for the operator.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.limits == (limits{}) {
		o.limits = defaultLimits()
	}
	if o.Name == "" {
		o.Name = rand.Text()
	}
	s := &Store{o: o, now: o.Now, log: o.Log, closed: make(chan struct{})}
	s.run, s.stop = context.WithCancel(context.Background())
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	if err := s.join(ctx, config.ConnConfig); err != nil {
		return nil, openError(err)
	}
	config.ConnConfig.RuntimeParams["application_name"] = fmt.Sprintf(applicationName, s.self.Number, s.self.Incarnation)
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, openError(err)
	}
	s.w = newWriter(s, config.ConnConfig, int64(s.floor.Value()))
	if err := s.w.start(ctx); err != nil {
		s.pool.Close()
		return nil, openError(err)
	}
	s.owned.Go(func() { s.keepIndexing(s.run) })
	return s, nil
}

// config reads the URL.
func (s *Store) config() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(s.o.URL)
	if err != nil {
		// The driver's words may quote the URL, and with it the password.
		return nil, errors.New("the database's URL is not one that PostgreSQL clients understand; it looks like postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	c := config.ConnConfig
	for name, value := range settings {
		if _, ok := c.RuntimeParams[name]; !ok {
			c.RuntimeParams[name] = value
		}
	}
	c.RuntimeParams["application_name"] = "patchbay"
	if c.ConnectTimeout == 0 || c.ConnectTimeout > connectMost {
		c.ConnectTimeout = connectMost
	}
	if c.ValidateConnect == nil { // unless the URL says what it wants
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	dialer := net.Dialer{Control: control, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4}}
	c.DialFunc = dialer.DialContext
	if s.o.dial != nil {
		c.DialFunc = s.o.dial
	}
	if !strings.Contains(s.o.URL, "pool_max_conns") { // the driver's own default goes by the processors of this machine
		config.MaxConns = poolConns
	}
	config.MinConns = 0
	config.MaxConnIdleTime = idleMost
	return config, nil
}

// join brings the schema up to date and takes a number, on a connection of its own: those of the pool say which number.
func (s *Store) join(ctx context.Context, config *pgx.ConnConfig) error {
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	var durable string
	if err := c.QueryRow(ctx, "SHOW synchronous_commit").Scan(&durable); err != nil {
		return err
	}
	if durable == "off" {
		// What is answered survives a power loss, however the server is set. Stronger settings than this one stay.
		config.RuntimeParams["synchronous_commit"] = "on"
	}
	if err := migrate(ctx, c); err != nil {
		return err
	}
	if s.o.Sealer != nil {
		if err := sealing(ctx, c); err != nil {
			return err
		}
	}
	if err := makePartitions(ctx, c, s.now()); err != nil {
		return err
	}
	highest, err := highestID(ctx, c)
	if err != nil {
		return err
	}
	if err := s.enter(ctx, c, highest); err != nil {
		return err
	}
	s.ids = patchbay.NewSequence(s.self.Number, highest, s.now)
	s.floor.Begin(patchbay.EventID(highest), 0) // from here on it counts
	return nil
}

// spanMost is by how much an event's last delivery may lie above it, as a time: identifiers for 4,000 deliveries are made
// within a millisecond.
const spanMost = time.Second

// highestID returns the highest identifier that anything in the database has. An event's deliveries lie above it.
func highestID(ctx context.Context, c *pgx.Conn) (int64, error) {
	var highest, event int64
	err := c.QueryRow(ctx, `SELECT coalesce(greatest((SELECT max(id) FROM event), (SELECT max(id) FROM unmatched), (SELECT max(delivery) FROM attempt),
		(SELECT max(id) FROM link), (SELECT max(ended) FROM link), (SELECT max(id) FROM api_key), (SELECT max(id) FROM job),
		(SELECT max(drop_before) FROM lane), (SELECT max(id) FROM connection), (SELECT max(id) FROM session), (SELECT max(id) FROM hook)), 0), coalesce((SELECT max(id) FROM event), 0)`).Scan(&highest, &event)
	if err != nil {
		return 0, err
	}
	from := patchbay.FirstIDAt(patchbay.EventID(event).Time().Add(-spanMost))
	rows, err := c.Query(ctx, "SELECT id, targets FROM event WHERE id >= $1 AND targets IS NOT NULL", from)
	if err != nil {
		return 0, err
	}
	var targets []byte
	_, err = pgx.ForEachRow(rows, []any{&event, &targets}, func() error {
		highest = max(highest, int64(patchbay.DeliveryAt(patchbay.EventID(event), countTargets(targets))))
		return nil
	})
	return highest, err
}

// openError makes a sentence of what kept the database from being opened. Nothing in it shows the password.
func openError(err error) error {
	if errors.Is(err, store.ErrFenced) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("the database cannot be opened: %w", explain(err))
}
