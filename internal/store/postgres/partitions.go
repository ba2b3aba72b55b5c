package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
)

// Tables that grow with events have a partition for each day (UTC) of the time in their key, so that retention drops
// tables instead of deleting rows. What comes before its day's partition exists goes into the default partition, and is
// deleted row by row.

// partitioned are those tables, in the order in which they are locked.
var partitioned = []string{"event", "unmatched", "attempt", "response", "history"}

const (
	// daysAhead is how many days have partitions before they begin: a node that makes none for so long still has them.
	daysAhead = 2
	// partitionLock bounds how long the making and the dropping of a partition wait for their locks, because whoever comes
	// later waits behind them.
	partitionLock = 50 * time.Millisecond

	partitionDay = "20060102"
	oneDay       = 24 * time.Hour
)

// partitionName is the name of a table's partition of a day.
func partitionName(table string, day time.Time) string {
	return table + "_p" + day.Format(partitionDay)
}

// dayOf returns when a day began.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(oneDay) }

// span returns the identifiers of a day: low ≤ id < high.
func span(day time.Time) (low, high int64) {
	return patchbay.FirstIDAt(day), patchbay.FirstIDAt(day.Add(oneDay))
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// partitions returns the days that have partitions, of each table.
func partitions(ctx context.Context, q querier) (map[string][]time.Time, error) {
	rows, err := q.Query(ctx, `SELECT parent.relname, child.relname FROM pg_inherits i
		JOIN pg_class parent ON parent.oid = i.inhparent JOIN pg_class child ON child.oid = i.inhrelid
		WHERE parent.oid = ANY($1::text[]::regclass[]) ORDER BY 2`, partitioned)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]time.Time)
	var table, name string
	_, err = pgx.ForEachRow(rows, []any{&table, &name}, func() error {
		text, ok := strings.CutPrefix(name, table+"_p")
		if day, err := time.Parse(partitionDay, text); ok && err == nil {
			out[table] = append(out[table], day)
		}
		return nil
	})
	return out, err
}

// makePartitions makes the partitions for a time and the next days. Several nodes may do so at once.
func makePartitions(ctx context.Context, c *pgx.Conn, now time.Time) error {
	for ahead := range daysAhead + 1 {
		if err := makeDay(ctx, c, dayOf(now).Add(time.Duration(ahead)*oneDay)); err != nil {
			return fmt.Errorf("making the partitions of a day: %w", err)
		}
	}
	return nil
}

// makeDay makes the partitions of a day. When the tables are in use for too long, or the default partitions have rows of
// that day already, it leaves the day to the default partitions.
func makeDay(ctx context.Context, c *pgx.Conn, day time.Time) error {
	low, high := span(day)
	const missing = "SELECT to_regclass($1) IS NULL"
	var needed bool
	if err := c.QueryRow(ctx, missing, partitionName("event", day)).Scan(&needed); err != nil || !needed {
		return err
	}
	err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, 0)", lockPartition); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, missing+` AND NOT EXISTS (SELECT FROM event_default WHERE id >= $2 AND id < $3)
			AND NOT EXISTS (SELECT FROM unmatched_default WHERE id >= $2 AND id < $3) AND NOT EXISTS (SELECT FROM response_default WHERE id >= $2 AND id < $3)
			AND NOT EXISTS (SELECT FROM attempt_default WHERE delivery >= $2 AND delivery < $3) AND NOT EXISTS (SELECT FROM history_default WHERE low >= $2 AND low < $3)`,
			partitionName("event", day), low, high).Scan(&needed)
		if err != nil || !needed {
			return err
		}
		var b strings.Builder
		fmt.Fprintf(&b, "SET LOCAL lock_timeout = %d;\n", partitionLock.Milliseconds())
		for _, table := range partitioned {
			// Made apart and attached, it takes no lock that stops inserts. What is appended and dropped as a whole gains
			// nothing from a vacuum after inserts.
			fmt.Fprintf(&b, "CREATE TABLE %[1]s (LIKE %[2]s INCLUDING ALL) WITH (autovacuum_vacuum_insert_threshold = -1);\n", partitionName(table, day), table)
		}
		for _, table := range partitioned {
			fmt.Fprintf(&b, "ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d);\n", table, partitionName(table, day), low, high)
		}
		_, err = tx.Exec(ctx, b.String(), pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if code := state(err); code == stateLockNotAvailable || code == stateCheckViolation {
		return nil // what is inserted meanwhile goes into the default partitions
	}
	return err
}
