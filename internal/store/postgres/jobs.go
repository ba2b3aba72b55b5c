package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var (
	_ store.Jobs    = (*Store)(nil)
	_ store.Erasure = (*Store)(nil)
)

const (
	jobColumns = `id, action, filter, scope, made_by, state, cursor, total, seen, changed, skipped, failed, error,
		cancelling, runner, runner_until, created, started, updated, finished`

	sqlJob  = "SELECT " + jobColumns + " FROM job WHERE id = $1"
	sqlJobs = "SELECT " + jobColumns + ` FROM job WHERE id < $1 AND ($2::text[] IS NULL OR state = ANY($2)) AND ($3 = '' OR action = $3)
		AND ($4 = '' OR ` + scopeWithin4 + `) ORDER BY id DESC LIMIT $5`
	// Of several nodes that look at once, each gets another one.
	sqlClaimJob = `UPDATE job SET state = 'running', runner = $1, runner_until = $3, updated = $2, started = coalesce(started, $2)
		WHERE id = (SELECT id FROM job WHERE state IN ('pending', 'running') AND (runner_until IS NULL OR runner_until <= $2)
			ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING ` + jobColumns
	sqlSaveJob = `UPDATE job SET filter = $3, state = $4, cursor = $5, total = $6, seen = $7, changed = $8, skipped = $9, failed = $10, error = $11,
		runner_until = $12, updated = $13, finished = $14 WHERE id = $1 AND runner = $2 AND state = 'running' RETURNING cancelling`

	// That a scope lies at or below the fourth parameter: "0" follows "/" in ASCII.
	scopeWithin4 = "(scope = $4 OR scope >= $4 || '/' AND scope < $4 || '0')"
)

// scanJob reads a row of jobColumns.
func scanJob(row pgx.CollectableRow) (j store.Job, err error) {
	var (
		filter, scope                              string
		until, created, started, updated, finished *time.Time
	)
	err = row.Scan(&j.ID, &j.Action, &filter, &scope, &j.By, &j.State, &j.Cursor, &j.Total, &j.Seen, &j.Changed, &j.Skipped, &j.Failed, &j.Error,
		&j.Cancelling, &j.Runner, &until, &created, &started, &updated, &finished)
	j.Scope = patchbay.Scope(scope)
	if filter != "" {
		j.Filter = []byte(filter)
	}
	j.RunnerUntil, j.CreatedAt, j.StartedAt, j.UpdatedAt, j.FinishedAt = utc(until), utc(created), utc(started), utc(updated), utc(finished)
	return j, err
}

// plain replaces what PostgreSQL's texts cannot hold; a filter with it selects nothing.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
}

// CreateJob stores a new job; see store.Jobs.
func (s *Store) CreateJob(ctx context.Context, j *store.Job) error {
	err := s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO job ("+jobColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
			int64(j.ID), j.Action, string(j.Filter), string(j.Scope), j.By, string(j.State), j.Cursor, j.Total, j.Seen, j.Changed, j.Skipped, j.Failed, plain(j.Error),
			j.Cancelling, j.Runner, orNull(j.RunnerUntil), orNull(j.CreatedAt), orNull(j.StartedAt), orNull(j.UpdatedAt), orNull(j.FinishedAt))
		return err
	})
	if state(err) == stateUniqueViolation {
		return fmt.Errorf("the job %s exists: %w", j.ID, store.ErrConflict)
	}
	return err
}

// oneJob returns the job that a query finds; nil when it finds none.
func oneJob(ctx context.Context, q querier, sql string, args ...any) (*store.Job, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	j, err := pgx.CollectOneRow(rows, scanJob)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &j, err
}

// Job returns a job; see store.Jobs.
func (s *Store) Job(ctx context.Context, id patchbay.JobID) (j *store.Job, err error) {
	err = s.query(ctx, func(c *pgx.Conn) error {
		if j, err = oneJob(ctx, c, sqlJob, int64(id)); err == nil && j == nil {
			err = store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

// Jobs lists jobs; see store.Jobs.
func (s *Store) Jobs(ctx context.Context, f store.JobFilter) (out []store.Job, err error) {
	before := int64(forever)
	if f.Before != 0 {
		before = int64(f.Before)
	}
	var states []string // nil is every state
	if len(f.States) > 0 {
		states = make([]string, len(f.States))
		for i, state := range f.States {
			states[i] = string(state)
		}
	}
	err = s.query(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, sqlJobs, before, states, plain(f.Action), string(f.Within), f.Limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanJob)
		return err
	})
	return out, err
}

// ClaimJob gives the oldest job that nobody works on to a runner; see store.Jobs.
func (s *Store) ClaimJob(ctx context.Context, runner int64, now, until time.Time) (j *store.Job, err error) {
	// Most of the time there is nothing to do, and then nothing should be locked.
	var some bool
	err = s.query(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM job WHERE state IN ('pending', 'running') AND (runner_until IS NULL OR runner_until <= $1))", now).Scan(&some)
	})
	if err != nil || !some {
		return nil, err
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		j, err = oneJob(ctx, tx, sqlClaimJob, runner, now, until)
		return err
	})
	return j, err
}

// SaveJob writes down how far a job got; see store.Jobs.
func (s *Store) SaveJob(ctx context.Context, j *store.Job) (cancelling bool, err error) {
	err = s.write(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, sqlSaveJob, int64(j.ID), j.Runner, string(j.Filter), string(j.State), j.Cursor, j.Total, j.Seen, j.Changed, j.Skipped,
			j.Failed, plain(j.Error), orNull(j.RunnerUntil), orNull(j.UpdatedAt), orNull(j.FinishedAt)).Scan(&cancelling)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		current, err := oneJob(ctx, tx, sqlJob, int64(j.ID))
		switch {
		case err != nil:
			return err
		case current == nil:
			return store.ErrNotFound
		}
		return fmt.Errorf("the job %s is no longer this runner's: %w", j.ID, store.ErrConflict)
	})
	return cancelling, err
}

// CancelJob asks for a job's end; see store.Jobs.
func (s *Store) CancelJob(ctx context.Context, id patchbay.JobID, at time.Time) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		j, err := oneJob(ctx, tx, sqlJob+" FOR UPDATE", int64(id))
		switch {
		case err != nil:
			return err
		case j == nil:
			return store.ErrNotFound
		case j.State == store.JobCancelled:
			return nil
		case j.State.Final():
			return fmt.Errorf("the job %s has ended: %w", id, store.ErrConflict)
		}
		sql := "UPDATE job SET cancelling = true, updated = $2 WHERE id = $1"
		if j.State == store.JobPending && j.Action != store.ActionErase {
			sql = "UPDATE job SET cancelling = true, updated = $2, state = 'cancelled', finished = $2 WHERE id = $1"
		}
		_, err = tx.Exec(ctx, sql, int64(id), at)
		return err
	})
}

// PruneJobs forgets jobs that ended long ago; see store.Jobs.
func (s *Store) PruneJobs(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	return s.deleted(ctx, int64(limit), "DELETE FROM job WHERE id IN (SELECT id FROM job WHERE finished < $1 AND action <> $2 ORDER BY id LIMIT $3)",
		before, store.ActionErase, limit)
}
