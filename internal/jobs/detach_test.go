package jobs

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// lingering are links that stay for a while after they were deleted, as those do whose partner takes something down.
type lingering struct {
	Links
	deletions atomic.Int32
	let       atomic.Bool
}

func (l *lingering) Delete(ctx context.Context, c *access.Caller, id patchbay.LinkID) error {
	l.deletions.Add(1)
	if !l.let.Load() {
		return nil
	}
	return l.Links.Delete(ctx, c, id)
}

// TestEraseWaitsForPartners keeps a tenant's links until partners have taken down what was set up for them, and its
// connections with them.
func TestEraseWaitsForPartners(t *testing.T) {
	slow := &lingering{}
	r := newRig(t, func(o *Options) { slow.Links, o.Links = o.Links, slow })
	own := r.link("own", "acme-gone")
	job := r.erase(Erasure{Tenant: "acme-gone"})
	r.run()
	r.until("it waits for the partner", func() bool {
		v, err := r.jobs.Get(t.Context(), everything, job.ID)
		r.must(err)
		return slow.deletions.Load() > 2 && v.Error != nil && strings.Contains(*v.Error, "partners have taken down")
	})
	if _, _, ok := r.links.Describe(own.ID); !ok {
		t.Error("the link went before the partner was done")
	}
	slow.let.Store(true)
	r.ended(job.ID, store.JobSucceeded)
	if _, _, ok := r.links.Describe(own.ID); ok {
		t.Error("the link is left")
	}
}
