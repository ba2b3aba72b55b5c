package jobs

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// phaseRows is that of sealing rows anew, which begins when every node seals with the new key.
	phaseRows = "rows"
	// waitNodes is the pause before nodes are looked at again that still seal with another key.
	waitNodes = 500 * time.Millisecond
)

// Sealing is what jobs do to secrets.
type Sealing interface {
	// Ready returns why secrets cannot be sealed anew yet, "" when they can.
	Ready(ctx context.Context) (why string, err error)
	// Reseal seals the next rows after a cursor anew; Count counts them. next is "" after the last.
	Reseal(ctx context.Context, after string, limit int) (next string, looked, changed int, err error)
	Count(ctx context.Context, after string, limit int) (next string, n int, err error)
	// InTheOpen reports whether rows may have stood in the database that were not sealed at all.
	InTheOpen(ctx context.Context) (bool, error)
	// Done is called when everything is sealed with the current key.
	Done(ctx context.Context) error
}

// Reseal makes the job that seals every secret anew that another key than the current one has sealed, or none. When there
// is one that has not ended, that is returned.
func (s *Service) Reseal(ctx context.Context, c *access.Caller) (*View, error) {
	if err := c.Require(access.Admin); err != nil {
		return nil, err
	}
	if err := c.Reach(""); err != nil {
		return nil, err
	}
	if s.o.Sealing == nil {
		return nil, patchbay.Errorf(patchbay.CodeUnavailable, "nothing is sealed here")
	}
	open, err := s.o.Store.Jobs(ctx, store.JobFilter{States: []store.JobState{store.JobPending, store.JobRunning}, Action: Reseal, Limit: math.MaxInt32})
	if err != nil {
		return nil, storeError("looking for a job that is under way", err)
	}
	for i := range open {
		if !open[i].Cancelling {
			return s.view(c, &open[i]), nil
		}
	}
	return s.create(ctx, c, &work{action: Reseal, scope: c.Scope, made: s.o.Now(), filter: &Filter{}})
}

// reseal does the next step of a job that seals anew. It walks over all rows until a whole walk has found nothing to do:
// a node may have written with the last key, as long as it had not heard of the new one.
func (s *Service) reseal(ctx context.Context, w *work) (r result, err error) {
	if s.o.Sealing == nil {
		return r, patchbay.Errorf(patchbay.CodeConflict, "nothing is sealed here")
	}
	if w.cursor.Phase == phaseScrub {
		return s.sealed(ctx)
	}
	why, err := s.o.Sealing.Ready(ctx)
	switch {
	case err != nil:
		return r, sealingError("looking whether every node has the new key", err)
	case why != "":
		return result{again: waitNodes, why: why}, nil
	}
	w.cursor.Phase = phaseRows
	next, looked, changed, err := s.o.Sealing.Reseal(ctx, w.cursor.Place, stepSize)
	if err != nil {
		return r, sealingError("sealing secrets anew", err)
	}
	r.tally = ingest.Tally{Changed: int64(changed)}
	if !w.cursor.Again { // what a second walk looks at was counted
		r.seen, r.tally.Skipped = int64(looked), int64(looked-changed)
	}
	w.cursor.Place, w.cursor.Found = next, w.cursor.Found || changed > 0
	if next != "" {
		return r, nil
	}
	if w.cursor.Found {
		w.cursor.Found, w.cursor.Again = false, true
		return r, nil
	}
	w.cursor.Phase = phaseScrub
	return r, nil
}

// sealed ends a job that seals anew. What stood in the open leaves the database's files: free pages and its log.
func (s *Service) sealed(ctx context.Context) (result, error) {
	open, err := s.o.Sealing.InTheOpen(ctx)
	if err == nil && open {
		err = s.o.Store.Scrub(ctx)
		if errors.Is(err, store.ErrUnavailable) {
			return result{again: scrubRest, why: "waiting until the database's files can be cleared: " + err.Error()}, nil
		}
	}
	if err == nil {
		err = s.o.Sealing.Done(ctx)
	}
	if err != nil {
		return result{}, storeError("writing down that everything is sealed", err)
	}
	return result{done: true}, nil
}

// sealingError turns an error into one for callers. A secret that cannot be opened cannot be opened later either.
func sealingError(doing string, err error) error {
	if errors.Is(err, store.ErrSealed) {
		return &patchbay.Error{Code: patchbay.CodeConflict, Message: err.Error(), Err: err}
	}
	return storeError(doing, err)
}
