package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
)

const (
	// mostNodes is how many nodes share a database in the last row about it.
	mostNodes = 3
	// learnWithin is how long a node may take to know the links that another one made.
	learnWithin = 30 * time.Second
)

// database is a PostgreSQL that rows are measured on.
type database struct {
	url string
	// server is nil for one that was there.
	server *pgtest.Server
}

// openDatabase takes the database that was named, or starts a server as an operator would run it: durable, with more
// memory for its cache than the default.
func (b *bench) openDatabase() (*database, error) {
	if url := b.o.Database.Reveal(); url != "" {
		return &database{url: url}, nil
	}
	b.o.Progress("starting PostgreSQL")
	server, err := pgtest.Run(pgtest.Options{Settings: map[string]string{"shared_buffers": "'256MB'", "max_wal_size": "'2GB'"}})
	if err != nil {
		return nil, err
	}
	url, err := server.Create()
	if err != nil {
		server.Close()
		return nil, err
	}
	return &database{url: url, server: server}, nil
}

func (d *database) close() {
	if d.server != nil {
		d.server.Close()
	}
}

// cpu is what the server has used of the processors; false where that cannot be told.
func (d *database) cpu() (time.Duration, bool) {
	if d.server == nil {
		return 0, false
	}
	used, err := d.server.CPU()
	return used, err == nil
}

// measurePostgres measures one node on PostgreSQL beside SQLite, in turns, then several nodes, then a claim.
func (b *bench) measurePostgres(ctx context.Context) error {
	d, err := b.openDatabase()
	if err != nil {
		return err
	}
	defer d.close()
	if err := b.compareStores(ctx, d); err != nil {
		return err
	}
	if d.server == nil {
		b.rows["postgres-claim"].Problem = "this needs a second database: leave --database out, and a server is started for it"
		return nil
	}
	return b.measureSharedClaim(ctx, d)
}

// compareStores measures SQLite and PostgreSQL in turns, and then adds nodes.
func (b *bench) compareStores(ctx context.Context, d *database) error {
	one, secret, err := b.firstNode(ctx, d)
	if err != nil {
		return err
	}
	defer func() {
		for _, t := range append(one.others, one) {
			_ = t.part.stop() // what was measured was complete
		}
	}()
	lite, _, liteSecret, done, err := b.installation(ctx, 1)
	if err != nil {
		return err
	}
	for range b.o.Runs {
		for _, publishers := range []int{32, 128} {
			if err == nil {
				err = b.compareStore(ctx, d, lite, one, liteSecret, secret, publishers)
			}
		}
	}
	if stopped := done(); err == nil {
		err = stopped
	}
	if err != nil {
		return err
	}
	return b.measureNodes(ctx, d, one, secret)
}

// firstNode starts a node on the database and makes the links.
func (b *bench) firstNode(ctx context.Context, d *database) (*target, string, error) {
	dir, err := b.directory()
	if err != nil {
		return nil, "", err
	}
	t, err := b.serveOn(ctx, dir, "", d.url)
	if err != nil {
		return nil, "", err
	}
	if t.token == "" {
		t.part.kill()
		return nil, "", errors.New("the PostgreSQL database is not empty: give one that nothing was done with yet")
	}
	b.o.Progress("making %d links", totalLinks)
	secret, _, err := prepare(ctx, t.api, 1, totalLinks, b.sink.hit)
	if err != nil {
		t.part.kill()
		return nil, "", err
	}
	return t, secret, nil
}

func (b *bench) compareStore(ctx context.Context, d *database, lite, shared *target, liteSecret, secret string, publishers int) error {
	with, err := b.closedPhase(ctx, lite, publishers, 1, liteSecret)
	if err != nil {
		return err
	}
	used, seen := d.cpu()
	events := shared.events
	on, err := b.closedPhase(ctx, shared, publishers, 1, secret)
	if err != nil {
		return err
	}
	row := b.rows[fmt.Sprintf("postgres-%d", publishers)]
	row.add(on.rate / with.rate)
	row.Note = fmt.Sprintf("%.0f/s of %.0f/s, %.0f µs of %.0f µs in Patchbay, %.1f events a commit", on.rate, with.rate, on.cpu, with.cpu, on.batch)
	b.o.Progress("%d publishers: PostgreSQL %.0f/s, %.0f µs; SQLite %.0f/s, %.0f µs", publishers, on.rate, on.cpu, with.rate, with.cpu)
	after, ok := d.cpu()
	if !seen || !ok {
		b.rows["postgres-cpu"].Problem = "the database's processes cannot be seen from here"
		return nil
	}
	per := float64((after - used).Microseconds()) / float64(shared.events-events)
	if publishers == 32 {
		b.rows["postgres-cpu"].add(per)
	}
	b.rows["postgres-cpu"].Note = fmt.Sprintf("32 publishers; %.0f µs at %d", per, publishers)
	return nil
}

// measureNodes adds nodes to the first.
func (b *bench) measureNodes(ctx context.Context, d *database, first *target, secret string) error {
	var alone []float64
	for nodes := 1; nodes <= mostNodes; nodes++ {
		if nodes > 1 {
			if err := b.join(ctx, d, first); err != nil {
				return err
			}
		}
		for range b.o.Runs {
			p, err := b.closedPhase(ctx, first, 128, 1, secret)
			if err != nil {
				return err
			}
			b.o.Progress("nodes: %d: %.0f/s, %.0f µs", nodes, p.rate, p.cpu)
			if nodes == 1 {
				alone = append(alone, p.rate)
				continue
			}
			row := b.rows[fmt.Sprintf("nodes-%d", nodes)]
			row.add(p.rate / median(alone))
			row.Note = fmt.Sprintf("%.0f/s of %.0f/s; all of it on this one machine", p.rate, median(alone))
		}
	}
	return nil
}

// join starts another node and waits until it knows every link.
func (b *bench) join(ctx context.Context, d *database, first *target) error {
	dir, err := b.directory()
	if err != nil {
		return err
	}
	t, err := b.serveOn(ctx, dir, first.token, d.url)
	if err != nil {
		return err
	}
	first.others = append(first.others, t)
	deadline := time.Now().Add(learnWithin)
	for {
		text, err := t.api.Metrics(ctx)
		if err != nil {
			return err
		}
		if parseMetrics(text)["patchbay_links"] >= totalLinks {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("another node did not learn of the links within %s", learnWithin)
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// measureSharedClaim makes deliveries that wait in a database of their own, and claims some.
func (b *bench) measureSharedClaim(ctx context.Context, d *database) error {
	url, err := d.server.Create()
	if err != nil {
		return err
	}
	dir, err := b.directory()
	if err != nil {
		return err
	}
	t, err := b.serveOn(ctx, dir, "", url)
	if err != nil {
		return err
	}
	_, _, err = b.fill(ctx, t)
	if stopped := t.part.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return err
	}
	return b.claim(ctx, "postgres-claim", dir, url)
}
