package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// Beat says that this node is alive; see store.Cluster.
func (s *Store) Beat(ctx context.Context, report store.NodeReport) (view store.ClusterView, err error) {
	text, err := json.Marshal(report)
	if err != nil {
		return view, err
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE beat SET seen = clock_timestamp(), report = $2 WHERE number = $1", s.self.Number, string(text))
		return err
	})
	if err != nil {
		return view, err
	}
	s.w.raiseFloor()
	err = s.read(ctx, func(tx pgx.Tx) (err error) {
		if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&view.Now); err != nil {
			return err
		}
		view.Now = view.Now.UTC()
		view.Nodes, err = readNodes(ctx, tx, nil)
		return err
	})
	return view, err
}

// nodes returns some nodes.
func (s *Store) nodes(ctx context.Context, some []ident) (out []store.Node, err error) {
	numbers := make([]int32, len(some))
	for i := range some {
		numbers[i] = int32(some[i].Number)
	}
	err = s.read(ctx, func(tx pgx.Tx) error {
		out, err = readNodes(ctx, tx, numbers)
		return err
	})
	return out, err
}

// readNodes returns the nodes with some numbers, or all of them without any.
func readNodes(ctx context.Context, tx pgx.Tx, numbers []int32) ([]store.Node, error) {
	rows, err := tx.Query(ctx, `SELECT n.number, n.incarnation, n.state, n.name, n.address, n.version, n.started, b.seen, b.report,
			ARRAY(SELECT shard FROM shard WHERE owner = n.number ORDER BY shard)
		FROM node AS n JOIN beat AS b USING (number) WHERE $1::integer[] IS NULL OR n.number = ANY($1) ORDER BY n.number`, numbers)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (n store.Node, err error) {
		var state, report string
		var shards []int32
		if err := row.Scan(&n.Number, &n.Incarnation, &state, &n.Name, &n.Address, &n.Version, &n.StartedAt, &n.SeenAt, &report, &shards); err != nil {
			return n, err
		}
		n.Gone = state != nodeAlive
		n.StartedAt, n.SeenAt = n.StartedAt.UTC(), n.SeenAt.UTC()
		n.Shards = make([]int, len(shards))
		for i, shard := range shards {
			n.Shards[i] = int(shard)
		}
		err = json.Unmarshal([]byte(report), &n.Report)
		return n, err
	})
}

// ClaimShards takes free shards; see store.Cluster.
func (s *Store) ClaimShards(ctx context.Context, n int) (out []int, err error) {
	if n <= 0 {
		return nil, nil
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE shard SET owner = $1 WHERE shard IN
			(SELECT shard FROM shard WHERE owner IS NULL ORDER BY shard LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING shard`, s.self.Number, n)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	slices.Sort(out)
	return out, err
}

// ReleaseShards frees shards of this node; see store.Cluster.
func (s *Store) ReleaseShards(ctx context.Context, shards []int) error {
	if len(shards) == 0 {
		return nil
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE shard SET owner = NULL WHERE owner = $1 AND shard = ANY($2)", s.self.Number, shards)
		return err
	})
}

// changesMost is how many changes Changes returns at once.
const changesMost = 1000

// LastChange returns the newest Seq; see store.Cluster.
func (s *Store) LastChange(ctx context.Context) (last int64, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		// The sequence knows of changes that were pruned, but also of such as are not committed yet.
		return c.QueryRow(ctx, "SELECT coalesce((SELECT max(seq) FROM change), 0)").Scan(&last)
	})
	return last, err
}

// Changes returns changes in order; see store.Cluster.
func (s *Store) Changes(ctx context.Context, after int64) (out []store.Change, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT seq, kind, id, link, at, key FROM change WHERE seq > $1 ORDER BY seq LIMIT $2", after, changesMost)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x store.Change, err error) {
			err = row.Scan(&x.Seq, &x.Kind, &x.ID, &x.Link, &x.At, &x.Key)
			return x, err
		})
		return err
	})
	return out, err
}

// Announce makes changes known; see store.Cluster.
func (s *Store) Announce(ctx context.Context, changes []store.Change) error {
	if len(changes) == 0 {
		return nil
	}
	return s.write(ctx, func(tx pgx.Tx) error { return announce(ctx, tx, changes...) })
}

// wakeMost is how many links one notification names: PostgreSQL takes up to 8,000 bytes.
const wakeMost = 500

// Wake tells the owners of links that there is something new in their queues; see store.Cluster. Notifications take a lock
// of the whole server when they are committed, so they are a transaction of their own.
func (s *Store) Wake(ctx context.Context, links []patchbay.LinkID) error {
	return s.query(ctx, func(c *pgx.Conn) error {
		for len(links) > 0 {
			n := min(len(links), wakeMost)
			var b strings.Builder
			b.WriteString(strconv.FormatInt(s.self.Incarnation, 36))
			for _, link := range links[:n] {
				b.WriteByte(' ')
				b.WriteString(strconv.FormatInt(int64(link), 36))
			}
			if _, err := c.Exec(ctx, "SELECT pg_notify($1, $2)", channelWake, b.String()); err != nil {
				return err
			}
			links = links[n:]
		}
		return nil
	})
}

// Listen calls woken and changed until it is told to stop or the connection is lost; see store.Cluster.
func (s *Store) Listen(ctx context.Context, woken func([]patchbay.LinkID), changed func()) error {
	if s.isClosed() {
		return store.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.run, cancel)()
	err := s.listen(ctx, woken, changed)
	switch {
	case s.isClosed():
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return explain(err)
}

func (s *Store) listen(ctx context.Context, woken func([]patchbay.LinkID), changed func()) error {
	c, err := pgx.ConnectConfig(ctx, s.w.config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	}()
	for _, channel := range []string{channelChange, channelWake} {
		if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
			return err
		}
	}
	changed() // what was missed until now
	mine := strconv.FormatInt(s.self.Incarnation, 36)
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("listening for other nodes: %w", err)
		}
		if n.Channel == channelChange {
			changed()
			continue
		}
		words := strings.Fields(n.Payload)
		if len(words) == 0 || words[0] == mine {
			continue // what it says itself it knows
		}
		if links := parseLinks(words[1:]); len(links) > 0 {
			woken(links)
		}
	}
}

func parseLinks(words []string) []patchbay.LinkID {
	links := make([]patchbay.LinkID, 0, len(words))
	for _, word := range words {
		if id, err := strconv.ParseInt(word, 36, 64); err == nil {
			links = append(links, patchbay.LinkID(id))
		}
	}
	return links
}
