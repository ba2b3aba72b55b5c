package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// job makes a job that waits to be worked on.
func (e *env) job(action string) *store.Job {
	return &store.Job{
		ID: patchbay.JobID(e.s.NewID(1)), Action: action, Filter: json.RawMessage(`{"link": "lnk_1", "n": 1e400}`),
		Scope: "acme/x", By: "key_1", State: store.JobPending, CreatedAt: e.now(), UpdatedAt: e.now(),
	}
}

func (e *env) created(action string) *store.Job {
	e.Helper()
	j := e.job(action)
	e.must(e.s.CreateJob(e.ctx, j))
	return j
}

func (e *env) claim(runner int64) *store.Job {
	e.Helper()
	j, err := e.s.ClaimJob(e.ctx, runner, e.now(), e.now().Add(time.Minute))
	e.must(err)
	return j
}

func (e *env) wantJob(want *store.Job) {
	e.Helper()
	got, err := e.s.Job(e.ctx, want.ID)
	e.must(err)
	e.same("job", got, want)
}

func jobIDs(jobs []store.Job) []patchbay.JobID {
	var out []patchbay.JobID
	for i := range jobs {
		out = append(out, jobs[i].ID)
	}
	return out
}

var jobTests = []test{
	{"a new job comes back whole, also after a crash", func(e *env) {
		j := e.created("retry")
		j.Total, j.Cursor = 0, ""
		e.wantJob(j)
		e.crash()
		e.wantJob(j)
		if err := e.s.CreateJob(e.ctx, j); !errors.Is(err, store.ErrConflict) {
			e.Errorf("creating it again: got %v, want ErrConflict", err)
		}
		if _, err := e.s.Job(e.ctx, j.ID+1); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("a job that does not exist: got %v, want ErrNotFound", err)
		}
	}},
	{"every field of a job is saved", func(e *env) {
		j := e.created("replay")
		claimed := e.claim(7)
		e.clock.forward(time.Second)
		claimed.Filter, claimed.Cursor = json.RawMessage(`{"b":2}`), "cursor"
		claimed.Total, claimed.Seen, claimed.Changed, claimed.Skipped, claimed.Failed = 5, 4, 3, 2, 1
		claimed.Error, claimed.UpdatedAt, claimed.RunnerUntil = "é went wrong", e.now(), e.now().Add(time.Minute)
		cancelling, err := e.s.SaveJob(e.ctx, claimed)
		e.must(err)
		if cancelling {
			e.Error("nobody cancelled it")
		}
		e.wantJob(claimed)
		e.crash()
		e.wantJob(claimed)
		claimed.State, claimed.FinishedAt, claimed.RunnerUntil = store.JobSucceeded, e.now(), time.Time{}
		_, err = e.s.SaveJob(e.ctx, claimed)
		e.must(err)
		e.crash()
		e.wantJob(claimed)
		e.same("started", claimed.StartedAt, j.CreatedAt)
	}},
	{"jobs are claimed oldest first, each by one runner", func(e *env) {
		a, b := e.created("retry"), e.created("cancel")
		first, second := e.claim(1), e.claim(2)
		e.same("claimed", []patchbay.JobID{first.ID, second.ID}, []patchbay.JobID{a.ID, b.ID})
		if first.State != store.JobRunning || first.Runner != 1 || !first.RunnerUntil.Equal(e.now().Add(time.Minute)) || !first.StartedAt.Equal(e.now()) {
			e.Errorf("the claimed job is %+v", first)
		}
		if j := e.claim(3); j != nil {
			e.Errorf("%s was claimed twice", j.ID)
		}
	}},
	{"concurrent claims give a job to one", func(e *env) {
		jobs := e.s
		e.created("retry")
		var mu sync.Mutex
		claims := 0
		var wg sync.WaitGroup
		for runner := range int64(8) {
			wg.Go(func() {
				j, err := jobs.ClaimJob(e.ctx, runner+1, e.now(), e.now().Add(time.Minute))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					e.Error(err)
				}
				if j != nil {
					claims++
				}
			})
		}
		wg.Wait()
		e.same("claims", claims, 1)
	}},
	{"a lease that has run out goes to another, and what the first saves then is not stored", func(e *env) {
		e.created("retry")
		first := e.claim(1)
		first.Seen, first.RunnerUntil = 10, e.now().Add(time.Minute)
		_, err := e.s.SaveJob(e.ctx, first)
		e.must(err)
		e.clock.forward(time.Minute)
		second := e.claim(2)
		if second == nil || second.Seen != 10 || second.Runner != 2 || !second.StartedAt.Equal(start) {
			e.Fatalf("claimed %+v", second)
		}
		first.Seen = 20
		if _, err := e.s.SaveJob(e.ctx, first); !errors.Is(err, store.ErrConflict) {
			e.Errorf("saving without the lease: got %v, want ErrConflict", err)
		}
		e.wantJob(second)
		second.Seen, second.RunnerUntil = 11, e.now().Add(time.Hour)
		_, err = e.s.SaveJob(e.ctx, second)
		e.must(err)
		e.clock.forward(30 * time.Minute)
		if j := e.claim(3); j != nil {
			e.Error("saving does not extend the lease")
		}
	}},
	{"a job that was given back is claimed at once", func(e *env) {
		e.created("retry")
		j := e.claim(1)
		j.RunnerUntil = time.Time{}
		_, err := e.s.SaveJob(e.ctx, j)
		e.must(err)
		if again := e.claim(2); again == nil || again.ID != j.ID {
			e.Errorf("claimed %+v", again)
		}
	}},
	{"a pending job that is cancelled has ended", func(e *env) {
		j := e.created("retry")
		e.clock.forward(time.Second)
		for range 2 {
			e.must(e.s.CancelJob(e.ctx, j.ID, e.now()))
		}
		j.State, j.Cancelling, j.UpdatedAt, j.FinishedAt = store.JobCancelled, true, e.now(), e.now()
		e.wantJob(j)
		if e.claim(1) != nil {
			e.Error("it can be claimed")
		}
		if err := e.s.CancelJob(e.ctx, j.ID+1, e.now()); !errors.Is(err, store.ErrNotFound) {
			e.Errorf("a job that does not exist: got %v, want ErrNotFound", err)
		}
	}},
	{"the runner of a running job learns that it is cancelled", func(e *env) {
		j := e.created("retry")
		claimed := e.claim(1)
		e.must(e.s.CancelJob(e.ctx, j.ID, e.now()))
		cancelling, err := e.s.SaveJob(e.ctx, claimed)
		e.must(err)
		if !cancelling {
			e.Error("SaveJob does not say so")
		}
		e.clock.forward(time.Hour)
		if again := e.claim(2); again == nil || !again.Cancelling {
			e.Errorf("whoever takes over does not learn it: %+v", again)
		}
	}},
	{"an erasure that is cancelled ends with its runner", func(e *env) {
		j := e.created(store.ActionErase)
		e.must(e.s.CancelJob(e.ctx, j.ID, e.now()))
		claimed := e.claim(1)
		if claimed == nil || !claimed.Cancelling {
			e.Fatalf("claimed %+v", claimed)
		}
		claimed.State, claimed.FinishedAt, claimed.Filter = store.JobCancelled, e.now(), json.RawMessage(`{}`)
		_, err := e.s.SaveJob(e.ctx, claimed)
		e.must(err)
		e.wantJob(claimed)
	}},
	{"what has ended can be neither cancelled nor saved", func(e *env) {
		e.created("retry")
		j := e.claim(1)
		j.State, j.FinishedAt = store.JobFailed, e.now()
		_, err := e.s.SaveJob(e.ctx, j)
		e.must(err)
		if err := e.s.CancelJob(e.ctx, j.ID, e.now()); !errors.Is(err, store.ErrConflict) {
			e.Errorf("cancelling: got %v, want ErrConflict", err)
		}
		if _, err := e.s.SaveJob(e.ctx, j); !errors.Is(err, store.ErrConflict) {
			e.Errorf("saving: got %v, want ErrConflict", err)
		}
		e.wantJob(j)
		e.clock.forward(time.Hour)
		if e.claim(2) != nil {
			e.Error("it can be claimed")
		}
	}},
	{"lists", func(e *env) {
		var all []*store.Job
		for i, scope := range []patchbay.Scope{"", "acme", "acme/x", "acmex", "other"} {
			j := e.job([]string{"retry", store.ActionErase}[i%2])
			j.Scope = scope
			e.must(e.s.CreateJob(e.ctx, j))
			all = append(all, j)
		}
		e.must(e.s.CancelJob(e.ctx, all[4].ID, e.now()))
		for _, c := range []struct {
			f    store.JobFilter
			want []int
		}{
			{store.JobFilter{}, []int{4, 3, 2, 1, 0}},
			{store.JobFilter{Limit: 2}, []int{4, 3}},
			{store.JobFilter{Before: all[2].ID}, []int{1, 0}},
			{store.JobFilter{Within: "acme"}, []int{2, 1}},
			{store.JobFilter{Within: "acme", Limit: 1}, []int{2}},
			{store.JobFilter{Action: store.ActionErase}, []int{3, 1}},
			{store.JobFilter{States: []store.JobState{store.JobCancelled, store.JobRunning}}, []int{4}},
			{store.JobFilter{States: []store.JobState{store.JobPending}, Action: "retry", Within: "acme"}, []int{2}},
		} {
			if c.f.Limit == 0 {
				c.f.Limit = 100
			}
			got, err := e.s.Jobs(e.ctx, c.f)
			e.must(err)
			var want []patchbay.JobID
			for _, i := range c.want {
				want = append(want, all[i].ID)
			}
			e.same(fmt.Sprintf("%+v", c.f), jobIDs(got), want)
		}
	}},
	{"old jobs are forgotten, erasures and what has not ended stay", func(e *env) {
		var ended []patchbay.JobID
		for range 3 {
			j := e.created("retry")
			e.must(e.s.CancelJob(e.ctx, j.ID, e.now()))
			ended = append(ended, j.ID)
		}
		open := e.created("retry")
		tomb := e.created(store.ActionErase)
		e.claim(1)
		j := e.claim(1)
		j.State, j.FinishedAt = store.JobSucceeded, e.now()
		_, err := e.s.SaveJob(e.ctx, j)
		e.must(err)
		e.clock.forward(time.Hour)
		late := e.created("retry")
		e.must(e.s.CancelJob(e.ctx, late.ID, e.now()))
		more, err := e.s.PruneJobs(e.ctx, e.now(), 2)
		e.must(err)
		if !more {
			e.Error("there is more")
		}
		more, err = e.s.PruneJobs(e.ctx, e.now(), 2)
		e.must(err)
		if more {
			e.Error("there is no more")
		}
		left, err := e.s.Jobs(e.ctx, store.JobFilter{Limit: 10})
		e.must(err)
		e.same("left of "+fmt.Sprint(ended), jobIDs(left), []patchbay.JobID{late.ID, tomb.ID, open.ID})
	}},
}
