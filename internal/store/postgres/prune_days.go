package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// drop is what came of dropping a partition.
type drop int

const (
	busy    drop = iota // a table is in use, or another node is at it: later
	crowded             // too much of it must stay
	dropped
)

// stay copies what must stay of a partition, which is detached, into the default partition.
type stay func(ctx context.Context, tx pgx.Tx, day time.Time) error

// errCrowded ends a transaction in which there are too many survivors.
var errCrowded = errors.New("too many rows must stay")

// dropDay drops a table's partition of a day. Whoever uses the table meanwhile is waited for, but not for long: acceptances
// wait behind this.
func (s *Store) dropDay(ctx context.Context, table string, day time.Time, staying stay) (drop, error) {
	name := partitionName(table, day)
	more, err := s.alone(ctx, func(tx pgx.Tx) (bool, error) {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", partitionLock.Milliseconds())); err != nil {
			return false, err
		}
		var there bool
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, 0)", lockPartition); err != nil {
			return false, err
		}
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", name).Scan(&there); err != nil || !there {
			return err == nil, err // another node was faster
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", table, name), pgx.QueryExecModeSimpleProtocol); err != nil {
			return false, err
		}
		if staying != nil {
			if err := staying(ctx, tx, day); err != nil {
				return false, err
			}
		}
		// The files are removed after the end of the transaction, when nobody waits any more.
		_, err := tx.Exec(ctx, "DROP TABLE "+name, pgx.QueryExecModeSimpleProtocol)
		return true, err
	})
	switch {
	case errors.Is(err, errCrowded):
		return crowded, nil
	case state(err) == stateLockNotAvailable || state(err) == stateDeadlock:
		return busy, nil
	case err != nil:
		return busy, fmt.Errorf("dropping the partition %s: %w", name, err)
	case !more:
		return busy, nil
	}
	return dropped, nil
}

// attemptsStay keeps the attempts of a day's events that stay.
func attemptsStay(ctx context.Context, tx pgx.Tx, day time.Time) error {
	low, high := span(day)
	all, err := readBriefs(ctx, tx, "SELECT "+briefColumns+" FROM event WHERE id >= $1 AND id < $2 AND targets IS NOT NULL", low-fanSpan, high)
	if err != nil {
		return err
	}
	var deliveries []int64
	for i := range all {
		for j := range all[i].targets {
			if d := all[i].candidate(j).id; d >= low && d < high {
				deliveries = append(deliveries, d)
			}
		}
	}
	_, err = tx.Exec(ctx, "INSERT INTO attempt SELECT * FROM "+partitionName("attempt", day)+" WHERE delivery = ANY($1)", deliveries)
	return err
}

// historyStays notes the events that stay of a day, because the blocks that they are in go.
func historyStays(ctx context.Context, tx pgx.Tx, day time.Time) error {
	low, high := span(day)
	_, err := tx.Exec(ctx, "DELETE FROM late WHERE id >= $1 AND id < $2", low, high)
	if err == nil {
		_, err = tx.Exec(ctx, "INSERT INTO late SELECT id FROM event WHERE id >= $1 AND id < $2 UNION ALL SELECT id FROM unmatched WHERE id >= $1 AND id < $2", low, high)
	}
	if err == nil {
		_, err = tx.Exec(ctx, "DELETE FROM block WHERE low >= $1 AND low < $2", low, high)
	}
	return err
}

func readBriefs(ctx context.Context, q querier, sql string, args ...any) ([]brief, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanBrief)
}

// dropEvents drops a day's events. Those of tenants that keep for longer stay, and whatever is still needed.
func (s *Store) dropEvents(ctx context.Context, table string, day time.Time, longer []string) (drop, error) {
	name := partitionName(table, day)
	if until, ok := s.prune.crowded[name]; ok && time.Now().Before(until) {
		return crowded, nil
	}
	var early []int64
	err := s.read(ctx, func(tx pgx.Tx) (err error) {
		early, err = s.survivors(ctx, tx, table, day, longer)
		return err
	})
	result := crowded
	if err == nil {
		result, err = s.dropDay(ctx, table, day, func(ctx context.Context, tx pgx.Tx, day time.Time) error {
			late, err := neededOf(ctx, tx, day)
			if err != nil {
				return err
			}
			// With a replay that stays its origin does, which may be of the same day.
			_, err = tx.Exec(ctx, "INSERT INTO "+table+" SELECT * FROM "+name+" WHERE id = ANY($1) OR id IN (SELECT origin FROM "+name+" WHERE id = ANY($1))",
				append(late, early...))
			return err
		})
	} else if errors.Is(err, errCrowded) {
		err = nil
	}
	if result == crowded && err == nil {
		if s.prune.crowded == nil {
			s.prune.crowded = make(map[string]time.Time)
		}
		s.prune.crowded[name] = time.Now().Add(sweepEvery)
	}
	return result, err
}

// survivors finds what of a day must stay and takes some time to find: what tenants keep for longer, and what is in a node's
// memory. Neither becomes more while it is looked for.
func (s *Store) survivors(ctx context.Context, tx pgx.Tx, table string, day time.Time, longer []string) ([]int64, error) {
	low, high := span(day)
	name := partitionName(table, day)
	var out []int64
	if len(longer) > 0 {
		rows, err := tx.Query(ctx, "SELECT id FROM "+name+" WHERE split_part(scope, '/', 1) = ANY($1) LIMIT $2", longer, survivorsMost+1)
		if err != nil {
			return nil, err
		}
		if out, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
			return nil, err
		}
	}
	if table == "event" {
		floors, err := readFloors(ctx, tx)
		if err != nil {
			return nil, err
		}
		for number, floor := range floors {
			if floor >= high {
				continue
			}
			under, err := underWay(ctx, tx, "SELECT "+briefColumns+" FROM "+name+" WHERE id >= $1 AND (id & 1023) = $2 AND targets IS NOT NULL ORDER BY id LIMIT $3",
				max(floor, low), number, survivorsMost+1)
			if err != nil {
				return nil, err
			}
			out = append(out, under...)
		}
	}
	if len(out) > survivorsMost {
		return nil, errCrowded
	}
	// What waits is looked for once more when nobody can add to it; this saves the lock when it is too much.
	_, err := neededOf(ctx, tx, day)
	return out, err
}

// readFloors returns the floors of nodes that may have deliveries in memory.
func readFloors(ctx context.Context, q querier) (map[int32]int64, error) {
	rows, err := q.Query(ctx, sqlFloors)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]int64)
	var (
		number int32
		floor  int64
	)
	_, err = pgx.ForEachRow(rows, []any{&number, &floor}, func() error {
		out[number] = floor
		return nil
	})
	return out, err
}

// underWay returns those of some events of which a delivery has not ended.
func underWay(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]int64, error) {
	events, err := readBriefs(ctx, tx, sql, args...)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	var all []candidate
	for i := range events {
		for j := range events[i].targets {
			all = append(all, events[i].candidate(j))
		}
	}
	found, err := describe(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	var out []int64
	for i := range found {
		if id := int64(found[i].Event); !found[i].State.Final() && (len(out) == 0 || out[len(out)-1] != id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// waitingMost is how many deliveries of a day are looked at: of one with more, too many events wait.
const waitingMost = 5000

// neededOf finds what of a day waits in the queue, and what later events play again. The day's partition is detached, or
// about to be.
func neededOf(ctx context.Context, tx pgx.Tx, day time.Time) ([]int64, error) {
	low, high := span(day)
	rows, err := tx.Query(ctx, "SELECT event FROM queue WHERE delivery > $1 AND delivery < $2 ORDER BY delivery LIMIT $3", low, high+fanSpan, waitingMost+1)
	if err != nil {
		return nil, err
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	if len(out) > waitingMost {
		return nil, errCrowded
	}
	rows, err = tx.Query(ctx, `SELECT origin FROM event WHERE origin >= $1 AND origin < $2 AND id >= $2
		UNION ALL SELECT origin FROM unmatched WHERE origin >= $1 AND origin < $2 AND id >= $2 LIMIT $3`, low, high, waitingMost+1)
	if err != nil {
		return nil, err
	}
	replayed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(append(out, replayed...), func(id int64) bool { return id < low || id >= high })
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > survivorsMost {
		return nil, errCrowded
	}
	return out, nil
}

// pruneBudget drops the oldest days while the database takes more than it may. Today is never touched.
func (s *Store) pruneBudget(ctx context.Context, r *store.Retention, now time.Time) (bool, error) {
	if r.MaxBytes <= 0 {
		return false, nil
	}
	var bytes int64
	err := s.query(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&bytes)
	})
	if err != nil || bytes <= r.MaxBytes {
		return false, err
	}
	type candidateDay struct {
		table string
		day   time.Time
	}
	var days []candidateDay
	for _, table := range []string{"unmatched", "event"} {
		old, err := s.daysBefore(ctx, table, patchbay.FirstIDAt(dayOf(now)))
		if err != nil {
			return false, err
		}
		for _, day := range old {
			days = append(days, candidateDay{table, day})
		}
	}
	for len(days) > 0 {
		oldest := 0
		for i := range days {
			if days[i].day.Before(days[oldest].day) {
				oldest = i
			}
		}
		x := days[oldest]
		days = append(days[:oldest], days[oldest+1:]...)
		more, err := s.deleted(ctx, pruneRows, sqlHooksBelow, patchbay.FirstIDAt(x.day.AddDate(0, 0, 1)), pruneRows)
		if err != nil || more {
			return more, err
		}
		result, err := s.dropEvents(ctx, x.table, x.day, nil)
		if err != nil || result == busy {
			return false, err
		}
		if result == dropped {
			return true, nil
		}
	}
	return false, nil
}

// sqlHooksBelow deletes the oldest hooks below an identifier, but for those that are still to be read.
const sqlHooksBelow = "DELETE FROM hook WHERE id = ANY(ARRAY(SELECT id FROM hook WHERE id < $1 AND state <> 'pending' ORDER BY id LIMIT $2))"
