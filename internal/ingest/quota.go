package ingest

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/patchbay/patchbay"
)

// quotaTenants bounds how many tenants' limiters are kept; beyond it those that are full again are forgotten, which
// changes nothing for their tenants.
const quotaTenants = 10_000

// Quota is how many events a second tenants may send. Its zero value allows any number.
type Quota struct {
	// Default is for every tenant that Tenants does not name; 0 is no limit.
	Default float64
	Tenants map[string]float64
}

// quotas counts events against a Quota. A tenant may send a second's worth at once.
type quotas struct {
	quota Quota
	mu    sync.Mutex
	by    map[string]*rate.Limiter
}

// take counts one event of the tenant, or returns the error that says when to send it again.
func (q *quotas) take(tenant string, now time.Time) error {
	limit := q.quota.Default
	if own, ok := q.quota.Tenants[tenant]; ok {
		limit = own
	}
	if limit <= 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.by[tenant]
	if l == nil {
		if q.by == nil {
			q.by = map[string]*rate.Limiter{}
		}
		if len(q.by) >= quotaTenants {
			q.forget(now)
		}
		l = rate.NewLimiter(rate.Limit(limit), max(1, int(math.Ceil(limit))))
		q.by[tenant] = l
	}
	if l.AllowN(now, 1) {
		return nil
	}
	wait := time.Duration((1 - l.TokensAt(now)) / limit * float64(time.Second))
	return &patchbay.Error{
		Code:       patchbay.CodeRateLimited,
		Message:    "the tenant has used up its quota of events; send the event again later",
		RetryAfter: max(1, int(math.Ceil(wait.Seconds()))),
	}
}

// forget drops limiters that are full: making them anew gives the same.
func (q *quotas) forget(now time.Time) {
	for tenant, l := range q.by {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(q.by, tenant)
		}
	}
}
