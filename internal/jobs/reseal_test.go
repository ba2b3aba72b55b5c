package jobs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// rows are secrets that a test plays: of every row the key that sealed it.
type rows struct {
	mu     sync.Mutex
	keys   []string
	why    string // why they are not ready
	broken int    // the row that cannot be opened, less than 0 for none
	wrote  func() // after each step
	done   int
	walks  int
}

func (r *rows) Ready(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why, nil
}

func (r *rows) page(after string, limit int) (from, to int, next string) {
	from, _ = strconv.Atoi(after)
	to = min(from+limit, len(r.keys))
	if to < len(r.keys) {
		next = strconv.Itoa(to)
	}
	return from, to, next
}

func (r *rows) Reseal(_ context.Context, after string, limit int) (next string, looked, changed int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to, next := r.page(after, limit)
	for i := from; i < to; i++ {
		if i == r.broken {
			return "", 0, 0, fmt.Errorf("row %d: %w", i, store.ErrSealed)
		}
		if looked++; r.keys[i] != "new" {
			r.keys[i] = "new"
			changed++
		}
	}
	if from == 0 {
		r.walks++
	}
	if r.wrote != nil {
		r.wrote()
	}
	return next, looked, changed, nil
}

func (r *rows) Count(_ context.Context, after string, limit int) (string, int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to, next := r.page(after, limit)
	return next, to - from, nil
}

func (r *rows) InTheOpen(context.Context) (bool, error) { return true, nil }

func (r *rows) Done(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	return nil
}

func newRows(n int) *rows {
	r := &rows{keys: make([]string, n), broken: -1}
	for i := range r.keys {
		r.keys[i] = "old"
	}
	return r
}

func (r *rows) left() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		if k != "new" {
			n++
		}
	}
	return n
}

// TestReseal proves that a job that seals anew waits until it may, looks at every row, walks again as long as something is
// written with the old key meanwhile, and is not made twice.
func TestReseal(t *testing.T) {
	secrets := newRows(3*stepSize + 7)
	secrets.why = "waiting until these seal with the new key: node 2"
	once := sync.OnceFunc(func() { secrets.keys[1] = "old" }) // a node that has not heard
	secrets.wrote = once
	r := newRig(t, func(o *Options) { o.Sealing = secrets })
	r.run()
	j, err := r.jobs.Reseal(t.Context(), everything)
	r.must(err)
	if j.Total == nil || *j.Total != int64(len(secrets.keys)) {
		t.Errorf("the total is %v", j.Total)
	}
	again, err := r.jobs.Reseal(t.Context(), everything)
	r.must(err)
	if again.ID != j.ID {
		t.Errorf("a second job: %s beside %s", again.ID, j.ID)
	}
	r.until("the job says what it waits for", func() bool {
		v, err := r.jobs.Get(t.Context(), everything, j.ID)
		return err == nil && v.Error != nil && strings.Contains(*v.Error, "node 2")
	})
	if n := secrets.left(); n != len(secrets.keys) {
		t.Errorf("%d of %d rows are left before it may begin", n, len(secrets.keys))
	}
	secrets.mu.Lock()
	secrets.why = ""
	secrets.mu.Unlock()
	v := r.ended(j.ID, store.JobSucceeded)
	if v.Seen != int64(len(secrets.keys)) || v.Changed != int64(len(secrets.keys)+1) || v.Error != nil {
		t.Errorf("it ended as %+v", v)
	}
	if secrets.left() != 0 || secrets.walks != 3 || secrets.done != 1 {
		t.Errorf("%d rows are left after %d walks; done %d times", secrets.left(), secrets.walks, secrets.done)
	}
}

// TestResealCrash proves that a job that seals anew goes on after its runner has died at any step.
func TestResealCrash(t *testing.T) {
	secrets := newRows(3*stepSize + 7)
	r := newRig(t, func(o *Options) { o.Sealing, o.Lease = secrets, 300*time.Millisecond })
	j, err := r.jobs.Reseal(t.Context(), everything)
	r.must(err)
	n := atomic.Int32{}
	r.jobs.before = func(*store.Job) error {
		if k := n.Add(1); k < 12 && k%2 == 1 {
			return errCrash
		}
		return nil
	}
	for range 8 {
		r.run()
	}
	r.ended(j.ID, store.JobSucceeded)
	if secrets.left() != 0 || secrets.done == 0 || n.Load() < 4 {
		t.Errorf("%d rows are left; done %d times after %d steps", secrets.left(), secrets.done, n.Load())
	}
}

// TestResealRefused proves that a secret that cannot be opened ends the job with its sentence, and who may make one.
func TestResealRefused(t *testing.T) {
	secrets := newRows(10)
	secrets.broken = 4
	r := newRig(t, func(o *Options) { o.Sealing = secrets })
	r.run()
	for _, c := range []*access.Caller{
		nil, {Permissions: []access.Permission{access.Manage}}, {Scope: "acme", Permissions: []access.Permission{access.Admin}},
	} {
		if _, err := r.jobs.Reseal(t.Context(), c); patchbay.CodeOf(err) != patchbay.CodeForbidden {
			t.Errorf("%+v makes one: %v", c, err)
		}
	}
	if _, err := ParseInput(Reseal, nil); err == nil || !strings.Contains(err.Error(), "/v1/secrets/rotate") {
		t.Errorf("made like any other job: %v", err)
	}
	j, err := r.jobs.Reseal(t.Context(), everything)
	r.must(err)
	if v := r.ended(j.ID, store.JobFailed); v.Error == nil || !strings.Contains(*v.Error, "row 4") || secrets.done != 0 {
		t.Errorf("it ended as %+v", v)
	}
}
