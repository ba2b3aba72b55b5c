package stats

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// stripes are parts of the map with a lock each, so that a busy machine's cores seldom meet at one.
	stripes = 64
	// defaultMost is how many combinations of link, type and scope a minute holds before scopes fold into their tenant.
	// At four times as many nothing but the integration is told apart. A combination takes some 300 bytes, and 1 KB
	// more once it has delivered: at most 6 MB.
	defaultMost = 1000
	// idleFor is how many collections a combination that nothing happens with is kept for.
	idleFor = 6
)

// recorder counts, in memory, what happened since the last collection. Counting takes one look-up and allocates only
// for a combination that is new.
type recorder struct {
	most  int64
	cells atomic.Int64
	parts [stripes]stripe
}

// stripe is a part of the map.
type stripe struct {
	mu sync.Mutex
	m  map[cellKey]*cell
	_  [40]byte // a cache line for each
}

// cellKey is what is told apart.
type cellKey struct {
	link                     patchbay.LinkID
	integration, kind, scope string
}

// cell counts one combination. Its stripe's mutex guards it.
type cell struct {
	accepted, delivered, failed, attempts uint32
	latency                               *[store.Buckets]uint32
	idle                                  uint8 // collections since anything happened
}

func newRecorder(most int) *recorder {
	r := &recorder{most: int64(most)}
	for i := range r.parts {
		r.parts[i].m = make(map[cellKey]*cell)
	}
	return r
}

// part returns the stripe that a combination belongs to. It needs to be quick rather than good.
func (r *recorder) part(k *cellKey) *stripe {
	h := uint64(k.link)>>8*0x9e3779b97f4a7c15 + uint64(len(k.scope))*31 + uint64(len(k.kind))
	if n := len(k.scope); n > 0 {
		h += uint64(k.scope[n-1]) * 0xff51afd7ed558ccd
	}
	return &r.parts[h>>58%stripes]
}

// locked returns a combination's cell with its stripe locked.
func (r *recorder) locked(k cellKey) (*cell, *stripe) {
	p := r.part(&k)
	p.mu.Lock()
	if c := p.m[k]; c != nil {
		return c, p
	}
	p.mu.Unlock()
	return r.fold(k)
}

// fold returns the cell for a combination that is new: its own, or that of what it folds into when there are too many.
func (r *recorder) fold(k cellKey) (*cell, *stripe) {
	n := r.cells.Load()
	if n >= r.most {
		k.scope = patchbay.Scope(k.scope).Tenant()
	}
	if n >= 2*r.most {
		k.link, k.kind = 0, ""
	}
	if n >= 4*r.most {
		k.scope = ""
	}
	p := r.part(&k)
	p.mu.Lock()
	c := p.m[k]
	if c == nil {
		// The texts may be parts of a request's body, which must not live as long as the cell.
		k.integration, k.kind, k.scope = strings.Clone(k.integration), strings.Clone(k.kind), strings.Clone(k.scope)
		c = &cell{}
		p.m[k] = c
		r.cells.Add(1)
	}
	return c, p
}

// accepted counts an event.
func (r *recorder) accepted(e *patchbay.Event) {
	c, p := r.locked(cellKey{kind: e.Type, scope: string(e.Scope)})
	c.accepted++
	p.mu.Unlock()
}

// attempted counts an attempt, and its delivery when it has succeeded with it, after took.
func (r *recorder) attempted(d *patchbay.Delivery, e *patchbay.Event, took time.Duration) {
	c, p := r.locked(cellKey{d.Link, d.Integration, e.Type, string(e.Scope)})
	c.attempts++
	if d.State == patchbay.DeliverySucceeded {
		c.delivered++
		if c.latency == nil {
			c.latency = new([store.Buckets]uint32)
		}
		c.latency[store.Bucket(took)]++
	}
	p.mu.Unlock()
}

// failed counts a delivery that has failed for good.
func (r *recorder) failed(d *patchbay.Delivery, e *patchbay.Event) {
	c, p := r.locked(cellKey{d.Link, d.Integration, e.Type, string(e.Scope)})
	c.failed++
	p.mu.Unlock()
}

// collect returns what has happened, as samples of a time, and begins anew.
func (r *recorder) collect(at time.Time) []store.Sample {
	var out []store.Sample
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.Lock()
		for k, c := range p.m {
			if x, any := c.sample(k, at); any {
				out = append(out, x)
				latency := c.latency
				if latency != nil {
					*latency = [store.Buckets]uint32{}
				}
				*c = cell{latency: latency}
			} else if c.idle++; c.idle >= idleFor {
				delete(p.m, k)
				r.cells.Add(-1)
			}
		}
		p.mu.Unlock()
	}
	return out
}

// look returns what collect would, and leaves it.
func (r *recorder) look(at time.Time) []store.Sample {
	var out []store.Sample
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.Lock()
		for k, c := range p.m {
			if x, any := c.sample(k, at); any {
				out = append(out, x)
			}
		}
		p.mu.Unlock()
	}
	return out
}

// sample makes a sample of a cell, and says whether anything has happened.
func (c *cell) sample(k cellKey, at time.Time) (store.Sample, bool) {
	if c.accepted|c.delivered|c.failed|c.attempts == 0 {
		return store.Sample{}, false
	}
	x := store.Sample{
		At: at, Link: k.link, Integration: k.integration, Type: k.kind, Scope: patchbay.Scope(k.scope),
		Accepted: int64(c.accepted), Delivered: int64(c.delivered), Failed: int64(c.failed), Attempts: int64(c.attempts),
	}
	if c.delivered > 0 {
		x.Latency = make(store.Latency, 8)
		for bucket, n := range c.latency {
			if n > 0 {
				x.Latency[bucket] = int64(n)
			}
		}
	}
	return x, true
}
