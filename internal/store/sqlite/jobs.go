package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

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
	jobByID   = "SELECT " + jobColumns + " FROM job WHERE id = ?"
	jobsFrom  = "SELECT " + jobColumns + " FROM job WHERE id < ? ORDER BY id DESC"
	openJobs  = "SELECT " + jobColumns + " FROM job INDEXED BY job_open WHERE state IN ('pending', 'running') AND id < ? ORDER BY id DESC"
	jobsToRun = "SELECT " + jobColumns + ` FROM job INDEXED BY job_open
		WHERE state IN ('pending', 'running') AND (runner_until IS NULL OR runner_until <= ?) ORDER BY id LIMIT 1`
)

// scanJob reads a row of jobColumns.
func scanJob(st *stmt) *store.Job {
	return &store.Job{
		ID: patchbay.JobID(st.int(0)), Action: st.str(1), Filter: st.bytes(2), Scope: patchbay.Scope(st.str(3)), By: st.str(4),
		State: store.JobState(st.str(5)), Cursor: st.str(6), Total: st.int(7), Seen: st.int(8), Changed: st.int(9),
		Skipped: st.int(10), Failed: st.int(11), Error: st.str(12), Cancelling: st.int(13) != 0, Runner: st.int(14),
		RunnerUntil: st.time(15), CreatedAt: st.time(16), StartedAt: st.time(17), UpdatedAt: st.time(18), FinishedAt: st.time(19),
	}
}

// CreateJob stores a new job; see store.Jobs.
func (s *Store) CreateJob(ctx context.Context, j *store.Job) error {
	return s.do(ctx, func(c *conn) error {
		st, err := c.prepare("INSERT INTO job (" + jobColumns + ") VALUES (?" + strings.Repeat(", ?", 19) + ")")
		if err != nil {
			return err
		}
		st.bind(1, int64(j.ID)).bindText(2, j.Action).bindText(3, string(j.Filter)).bindText(4, string(j.Scope))
		st.bindText(5, j.By).bindText(6, string(j.State)).bindText(7, j.Cursor)
		st.bind(8, j.Total).bind(9, j.Seen).bind(10, j.Changed).bind(11, j.Skipped).bind(12, j.Failed).bindText(13, j.Error)
		st.bind(14, b2i(j.Cancelling)).bind(15, j.Runner).bindTime(16, j.RunnerUntil).bindTime(17, j.CreatedAt)
		err = st.bindTime(18, j.StartedAt).bindTime(19, j.UpdatedAt).bindTime(20, j.FinishedAt).run()
		if constraint(err) {
			return fmt.Errorf("the job %s exists: %w", j.ID, store.ErrConflict)
		}
		return err
	}, nil)
}

// oneJob returns the job that a query with one parameter finds; nil when it finds none.
func oneJob(c *conn, sql string, parameter int64) (*store.Job, error) {
	st, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	defer st.reset()
	row, err := st.bind(1, parameter).step()
	if err != nil || !row {
		return nil, err
	}
	return scanJob(st), nil
}

// Job returns a job; see store.Jobs.
func (s *Store) Job(ctx context.Context, id patchbay.JobID) (j *store.Job, err error) {
	err = s.read(ctx, func(c *conn) error {
		if j, err = oneJob(c, jobByID, int64(id)); err == nil && j == nil {
			err = store.ErrNotFound
		}
		return err
	})
	return j, err
}

// Jobs lists jobs; see store.Jobs. There are few, so it walks through them; those that have not ended, which are asked
// for every second, have an index.
func (s *Store) Jobs(ctx context.Context, f store.JobFilter) (out []store.Job, err error) {
	states, sql := make(map[store.JobState]bool), openJobs
	for _, state := range f.States {
		states[state] = true
		if state.Final() {
			sql = jobsFrom
		}
	}
	if len(states) == 0 {
		sql = jobsFrom
	}
	before := int64(forever)
	if f.Before != 0 {
		before = int64(f.Before)
	}
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		defer st.reset()
		st.bind(1, before)
		for len(out) < f.Limit {
			row, err := st.step()
			if err != nil || !row {
				return err
			}
			j := scanJob(st)
			if (len(states) == 0 || states[j.State]) && (f.Action == "" || f.Action == j.Action) && f.Within.Contains(j.Scope) {
				out = append(out, *j)
			}
		}
		return nil
	})
	return out, err
}

// ClaimJob gives the oldest job that nobody works on to a runner; see store.Jobs.
func (s *Store) ClaimJob(ctx context.Context, runner int64, now, until time.Time) (*store.Job, error) {
	var found *store.Job
	// Most of the time there is nothing to do, and then nothing should be written.
	err := s.read(ctx, func(c *conn) (err error) {
		found, err = oneJob(c, jobsToRun, now.UnixMicro())
		return err
	})
	if err != nil || found == nil {
		return nil, err
	}
	err = s.do(ctx, func(c *conn) (err error) {
		if found, err = oneJob(c, jobsToRun, now.UnixMicro()); err != nil || found == nil {
			return err
		}
		j := found
		j.State, j.Runner, j.RunnerUntil, j.UpdatedAt = store.JobRunning, runner, micro(until), micro(now)
		if j.StartedAt.IsZero() {
			j.StartedAt = j.UpdatedAt
		}
		st, err := c.prepare("UPDATE job SET state = 'running', runner = ?, runner_until = ?, updated = ?, started = ? WHERE id = ?")
		if err != nil {
			return err
		}
		return st.bind(1, runner).bindTime(2, until).bindTime(3, j.UpdatedAt).bindTime(4, j.StartedAt).bind(5, int64(j.ID)).run()
	}, nil)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// SaveJob writes down how far a job got; see store.Jobs.
func (s *Store) SaveJob(ctx context.Context, j *store.Job) (cancelling bool, err error) {
	err = s.do(ctx, func(c *conn) error {
		current, err := oneJob(c, jobByID, int64(j.ID))
		switch {
		case err != nil:
			return err
		case current == nil:
			return store.ErrNotFound
		case current.Runner != j.Runner || current.State != store.JobRunning:
			return fmt.Errorf("the job %s is no longer this runner's: %w", j.ID, store.ErrConflict)
		}
		cancelling = current.Cancelling
		if string(current.Filter) != string(j.Filter) { // of an erasure, it held what is to be forgotten
			restore, err := overwriting(c)
			if err != nil {
				return err
			}
			defer restore()
		}
		st, err := c.prepare(`UPDATE job SET filter = ?, state = ?, cursor = ?, total = ?, seen = ?, changed = ?, skipped = ?,
			failed = ?, error = ?, runner_until = ?, updated = ?, finished = ? WHERE id = ?`)
		if err != nil {
			return err
		}
		st.bindText(1, string(j.Filter)).bindText(2, string(j.State)).bindText(3, j.Cursor).bind(4, j.Total).bind(5, j.Seen)
		st.bind(6, j.Changed).bind(7, j.Skipped).bind(8, j.Failed).bindText(9, j.Error).bindTime(10, j.RunnerUntil)
		return st.bindTime(11, j.UpdatedAt).bindTime(12, j.FinishedAt).bind(13, int64(j.ID)).run()
	}, nil)
	return cancelling, err
}

// CancelJob asks for a job's end; see store.Jobs.
func (s *Store) CancelJob(ctx context.Context, id patchbay.JobID, at time.Time) error {
	return s.do(ctx, func(c *conn) error {
		j, err := oneJob(c, jobByID, int64(id))
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
		sql := "UPDATE job SET cancelling = 1, updated = ?1 WHERE id = ?2"
		if j.State == store.JobPending && j.Action != store.ActionErase {
			sql = "UPDATE job SET cancelling = 1, updated = ?1, state = 'cancelled', finished = ?1 WHERE id = ?2"
		}
		st, err := c.prepare(sql)
		if err != nil {
			return err
		}
		return st.bindTime(1, at).bind(2, int64(id)).run()
	}, nil)
}

// PruneJobs forgets jobs that ended long ago; see store.Jobs.
func (s *Store) PruneJobs(ctx context.Context, before time.Time, limit int) (more bool, err error) {
	var ids []int64
	err = s.read(ctx, func(c *conn) error {
		st, err := c.prepare("SELECT id FROM job WHERE finished < ? AND action <> '" + store.ActionErase + "' ORDER BY id LIMIT ?")
		if err != nil {
			return err
		}
		ids, err = columnOf(st.bindTime(1, before).bind(2, int64(limit)))
		return err
	})
	if err != nil || len(ids) == 0 {
		return false, err
	}
	return len(ids) == limit, s.do(ctx, func(c *conn) error { return deleteEach(c, "DELETE FROM job WHERE id = ?", ids) }, nil)
}
