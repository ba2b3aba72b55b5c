// Package outbox takes events from an outbox: a table in the product's own PostgreSQL that it writes in its own
// transactions, made by deploy/outbox/outbox.sql. Rows are taken in the order of their ids and deleted once their events
// are durable here; a row that is taken twice, after a crash in between, makes one event.
//
// There is no cursor: what is to do is what is there. So a transaction that commits late, with ids lower than those
// that were taken already, is not overlooked.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/lifecycle"
	"github.com/patchbay/patchbay/internal/source"
)

const (
	// DefaultTable is the outbox that outbox.sql makes.
	DefaultTable = "patchbay_outbox"
	// channel is what the outbox's trigger notifies.
	channel = "patchbay_outbox"
	// poll is how often the outbox is looked at when nothing wakes the source.
	poll = time.Second
	// stand is how often a node that leaves the work to another one looks whether that one is still there.
	stand = 2 * time.Second
	// look is how often rows that wait are counted, up to countMost.
	look      = 10 * time.Second
	countMost = 100_000
	// batch is how many rows are taken before they are deleted, batchBytes how much they may hold together.
	batch      = 1024
	batchBytes = 16 << 20
	// inFlight is how many rows are taken in at the same time; they share transactions.
	inFlight = 256
	// rememberFor is how long a row that was taken may stay there and be known.
	rememberFor = 30 * 24 * time.Hour
	// postponedMost bounds how many rows are left for later before the source waits for the first of them.
	postponedMost = 4096
	// asking bounds one statement, longer than the server's own limit: a server that is gone says nothing.
	asking = 70 * time.Second
	// lockClass is the upper half of the advisory lock that one node holds; the table is the lower.
	lockClass = 0x70617463
)

// Options describe one source.
type Options struct {
	// Name is the source's in the configuration.
	Name string
	// URL is the product's database. It must be reached directly or through a pooler that keeps sessions: what makes one
	// node the only one that takes rows is a lock of its session.
	URL patchbay.Secret
	// Table is the outbox; "" means DefaultTable. Rows that can never be accepted go to the table with _failed behind.
	Table string
	// Within bounds what the source may publish.
	Within patchbay.Scope

	Ingest source.Ingest
	// Log is where to log; nil discards.
	Log *slog.Logger
}

// Source takes rows from an outbox from Start to Stop.
type Source struct {
	o      Options
	config *pgx.ConnConfig
	caller *access.Caller
	meter  source.Meter

	cancel context.CancelFunc
	owned  sync.WaitGroup
	once   sync.Once
	err    error
}

// New checks the options. Nothing is connected before Start.
func New(o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("source", o.Name)
	if o.Table == "" {
		o.Table = DefaultTable
	}
	config, err := pgx.ParseConfig(o.URL.Reveal())
	if err != nil {
		// The driver's error may show the password.
		return nil, fmt.Errorf("the database of the outbox %s cannot be read: write postgres://USER:PASSWORD@HOST:5432/NAME", o.Name)
	}
	config.ConnectTimeout = 10 * time.Second
	config.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	for name, value := range map[string]string{
		"application_name": "patchbay outbox", "statement_timeout": "60s", "lock_timeout": "30s", "client_encoding": "UTF8",
		// A node that is cut off must lose its lock soon, so that another one can go on.
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3", "tcp_user_timeout": "25000",
	} {
		if _, given := config.RuntimeParams[name]; !given {
			config.RuntimeParams[name] = value
		}
	}
	if config.ValidateConnect == nil { // of several hosts, the one that takes writes
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return &Source{o: o, config: config, caller: source.Caller(o.Within, "outbox", o.Name)}, nil
}

// Figures returns what the source has done.
func (s *Source) Figures() source.Figures { return s.meter.Figures() }

// Start begins to take rows. It does not wait for the database, which may come later.
func (s *Source) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.owned.Go(func() { s.run(ctx) })
	return nil
}

// Stop takes no more rows, and finishes those that were begun, until ctx is done. A second call returns what the first
// did.
func (s *Source) Stop(ctx context.Context) error {
	s.once.Do(func() {
		if s.cancel == nil {
			return
		}
		s.cancel()
		s.err = lifecycle.Wait(ctx, &s.owned) // what was accepted and not deleted is known the next time
	})
	return s.err
}

// run takes rows until ctx is done, whatever happens to the database.
func (s *Source) run(ctx context.Context) {
	said := ""
	for failed := 0; ctx.Err() == nil; failed++ {
		worked, err := s.session(ctx)
		s.meter.Connected(false)
		if ctx.Err() != nil {
			return
		}
		if worked {
			failed, said = 0, ""
		}
		if text := err.Error(); text != said {
			said = text
			s.o.Log.Warn("the outbox cannot be read; trying again", "error", err)
		}
		source.Wait(ctx, source.Backoff(failed))
	}
}

// session is one connection, from its beginning to its end. It reports whether rows could be read.
func (s *Source) session(ctx context.Context) (worked bool, err error) {
	c := &session{Source: s}
	config := s.config.Copy()
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { c.woken = true }
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, fmt.Errorf("connecting to the database: %w", err)
	}
	// Not with ctx: a stop says goodbye, so that the lock is free at once.
	defer func() {
		bye, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(bye) // it is closed either way
	}()
	c.conn = conn
	if err := c.prepare(ctx); err != nil {
		return false, err
	}
	s.meter.Connected(true)
	if err := c.lock(ctx); err != nil {
		return false, err
	}
	err = c.work(ctx)
	return c.worked, err
}

// session is a connection that takes rows.
type session struct {
	*Source
	conn      *pgx.Conn
	table     uint32
	worked    bool // rows could be read
	woken     bool // something was committed since it was last looked
	postponed map[int64]postponed
	counted   time.Time
}

// prepare looks whether the tables are there.
func (c *session) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	var table, failed *uint32
	if err := c.conn.QueryRow(ctx, "SELECT to_regclass($1)::oid, to_regclass($2)::oid", c.o.Table, c.o.Table+"_failed").Scan(&table, &failed); err != nil {
		return fmt.Errorf("looking for the outbox: %w", err)
	}
	if table == nil || failed == nil {
		return fmt.Errorf("the tables %s and %s_failed are not both there, or this role does not see them: run deploy/outbox/outbox.sql in this database", c.o.Table, c.o.Table)
	}
	c.table = *table
	c.postponed = map[int64]postponed{}
	return nil
}

// lock waits until this node is the one that takes rows. It asks now and then: a statement that waits for the lock would
// hold a snapshot, which keeps the product's database from cleaning up.
func (c *session) lock(ctx context.Context) error {
	for said := false; ; {
		mine, err := c.tryLock(ctx)
		if err != nil {
			return err
		}
		if mine {
			c.o.Log.Info("this node takes the outbox's rows", "table", c.o.Table)
			break
		}
		if !said {
			said = true
			c.o.Log.Info("another node takes the outbox's rows; this one stands by", "table", c.o.Table)
		}
		if !source.Wait(ctx, stand) {
			return ctx.Err()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	if _, err := c.conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listening for new rows: %w", err)
	}
	return nil
}

func (c *session) tryLock(ctx context.Context) (mine bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	if err := c.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(lockClass)<<32|int64(c.table)).Scan(&mine); err != nil {
		return false, fmt.Errorf("asking for the outbox: %w", err)
	}
	return mine, nil
}

// work takes rows until ctx is done or the connection is lost.
func (c *session) work(ctx context.Context) error {
	for away := 0; ctx.Err() == nil; {
		if err := c.count(ctx); err != nil {
			return err
		}
		c.woken = false
		rows, err := c.fetch(ctx)
		if err != nil {
			return err
		}
		c.worked = true
		if len(rows) == 0 {
			if err := c.wait(ctx); err != nil {
				return err
			}
			continue
		}
		available := c.takeAll(ctx, rows)
		// What has been taken is finished, also while the source stops.
		if err := c.finish(context.WithoutCancel(ctx), rows); err != nil {
			return err
		}
		if available {
			away = 0
			continue
		}
		source.Wait(ctx, source.Backoff(away))
		away++
	}
	return ctx.Err()
}

// wait waits for new rows, for the end of a pause, or for the time to look anyway.
func (c *session) wait(ctx context.Context) error {
	pause := poll
	for _, p := range c.postponed {
		if left := time.Until(p.until); left > 0 {
			pause = min(pause, left)
		}
	}
	if c.woken {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	err := c.conn.PgConn().WaitForNotification(waiting)
	if err != nil && waiting.Err() == nil {
		return fmt.Errorf("waiting for new rows: %w", err)
	}
	return nil
}

// count keeps the figures of what waits.
func (c *session) count(ctx context.Context) error {
	if time.Since(c.counted) < look {
		return nil
	}
	c.counted = time.Now()
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	var n int64
	var oldest *float64
	err := c.conn.QueryRow(ctx, fmt.Sprintf(`SELECT (SELECT count(*) FROM (SELECT 1 FROM %[1]s LIMIT %[2]d) q),
		(SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM %[1]s ORDER BY id LIMIT 1)`, c.o.Table, countMost)).Scan(&n, &oldest)
	if err != nil {
		return fmt.Errorf("counting rows: %w", err)
	}
	lag := time.Duration(0)
	if oldest != nil {
		lag = time.Duration(*oldest * float64(time.Second))
	}
	c.meter.Waits(n, lag)
	return nil
}

// text is what PostgreSQL takes as text.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "")
}

var errTooLarge = &patchbay.Error{Code: patchbay.CodePayloadTooLarge, Message: fmt.Sprintf("an event may take at most %d bytes", patchbay.MaxEventBody)}

// retryAfter is the pause that an error asks for.
func retryAfter(err error) time.Duration {
	var e *patchbay.Error
	if errors.As(err, &e) {
		return time.Duration(e.RetryAfter) * time.Second
	}
	return 0
}
