package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// The states of a node.
const (
	nodeAlive  = "alive"
	nodeFenced = "fenced" // what it had in memory is not taken over yet, or not all of it
	nodeGone   = "gone"
)

// enter takes a number for this node, above whose identifiers all of this incarnation's will be. Whoever was alive under
// its name is fenced first.
func (s *Store) enter(ctx context.Context, c *pgx.Conn, highest int64) error {
	rows, err := c.Query(ctx, "SELECT number, incarnation FROM node WHERE name = $1 AND state = 'alive'", s.o.Name)
	if err != nil {
		return err
	}
	former, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ident])
	if err != nil {
		return err
	}
	for _, id := range former {
		if err := fence(ctx, c, id, 0); err != nil {
			return err
		}
	}
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, 0)", lockJoin); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT n FROM generate_series(0, $1 - 1) AS n
			WHERE NOT EXISTS (SELECT FROM node WHERE number = n AND state <> 'gone')
			ORDER BY EXISTS (SELECT FROM node WHERE number = n AND name = $2) DESC, n LIMIT 1`, patchbay.MaxNodes, s.o.Name).Scan(&s.self.Number)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%d nodes share it already, which is as many as identifiers can tell apart", patchbay.MaxNodes)
		}
		if err != nil {
			return err
		}
		s.self.Name, s.self.Address, s.self.Version = s.o.Name, s.o.Address, s.o.Version
		err = tx.QueryRow(ctx, `INSERT INTO node (number, incarnation, state, name, address, version, started)
			VALUES ($1, nextval('node_incarnation'), 'alive', $2, $3, $4, clock_timestamp())
			ON CONFLICT (number) DO UPDATE SET incarnation = excluded.incarnation, state = excluded.state, name = excluded.name,
				address = excluded.address, version = excluded.version, started = excluded.started
			RETURNING incarnation, started`, s.self.Number, s.self.Name, s.self.Address, s.self.Version).Scan(&s.self.Incarnation, &s.self.StartedAt)
		if err != nil {
			return err
		}
		s.self.StartedAt = s.self.StartedAt.UTC()
		s.self.SeenAt = s.self.StartedAt
		if _, err = tx.Exec(ctx, `INSERT INTO beat (number, seen, report) VALUES ($1, clock_timestamp(), '{}')
			ON CONFLICT (number) DO UPDATE SET seen = excluded.seen, report = excluded.report`, s.self.Number); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO floor (number, event) VALUES ($1, $2)
			ON CONFLICT (number) DO UPDATE SET event = excluded.event`, s.self.Number, highest+1)
		return err
	})
}

// ident names a node of one incarnation.
type ident struct {
	Number      int
	Incarnation int64
}

// fence makes sure that no write of a node succeeds from now on, unless it was seen within silent: then, and when it is
// fenced already, it does nothing. Transactions that the node has under way are ended.
func fence(ctx context.Context, c *pgx.Conn, id ident, silent time.Duration) error {
	const isSilent = `SELECT EXISTS (SELECT FROM node JOIN beat USING (number)
		WHERE number = $1 AND incarnation = $2 AND state = 'alive' AND ($3 = 0 OR seen < clock_timestamp() - $3 * interval '1 microsecond'))`
	var yes bool
	err := c.QueryRow(ctx, isSilent, id.Number, id.Incarnation, silent.Microseconds()).Scan(&yes)
	if err != nil || !yes {
		return err
	}
	// Whoever still has a connection may hold the lock for as long as the transaction takes that it is in.
	if _, err := c.Exec(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1",
		fmt.Sprintf(applicationName, id.Number, id.Incarnation)); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", lockNode, id.Number); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, isSilent, id.Number, id.Incarnation, silent.Microseconds()).Scan(&yes); err != nil || !yes {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE node SET state = 'fenced' WHERE number = $1", id.Number)
		return err
	})
}

// leave says that this node ends. What it has in memory is anybody's from now on; when that is nothing, its number and its
// shards are free at once.
func (s *Store) leave(ctx context.Context) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE floor SET event = $2 WHERE number = $1", s.self.Number, int64(s.floor.Value())); err != nil {
			return err
		}
		state := nodeFenced
		if !s.floor.Open() {
			state = nodeGone
			if _, err := tx.Exec(ctx, "UPDATE shard SET owner = NULL WHERE owner = $1", s.self.Number); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "UPDATE node SET state = $3 WHERE number = $1 AND incarnation = $2", s.self.Number, s.self.Incarnation, state)
		return err
	})
}

// Self is this node, as it joined; see store.Cluster.
func (s *Store) Self() store.Node { return s.self }

// announce writes changes down for other nodes, in a transaction that makes them, and tells who listens once it is
// committed. The lock is held until then: whoever reads the changes in their order misses none.
func announce(ctx context.Context, tx pgx.Tx, changes ...store.Change) error {
	if len(changes) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	b.Queue("SELECT pg_advisory_xact_lock($1, 0)", lockChange)
	for _, c := range changes {
		b.Queue("INSERT INTO change (kind, id, link, at, key) VALUES ($1, $2, $3, $4, $5)", c.Kind, c.ID, c.Link, c.At, c.Key)
	}
	b.Queue("SELECT pg_notify($1, '')", channelChange)
	return tx.SendBatch(ctx, b).Close()
}

// The channels of notifications.
const (
	channelChange = "patchbay_change"
	channelWake   = "patchbay_wake"
)
