package ingest

import (
	"errors"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
)

func TestQuota(t *testing.T) {
	q := quotas{quota: Quota{Default: 2, Tenants: map[string]float64{"big": 100, "free": 0}}}
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	sent := func(tenant string, n int) (ok int) {
		for range n {
			if q.take(tenant, now) == nil {
				ok++
			}
		}
		return ok
	}
	for tenant, want := range map[string]int{"small": 2, "other": 2, "big": 100, "free": 500} {
		if got := sent(tenant, 500); got != want {
			t.Errorf("%s sent %d of 500 at once, want %d", tenant, got, want)
		}
	}
	var e *patchbay.Error
	if err := q.take("small", now); !errors.As(err, &e) || e.Code != patchbay.CodeRateLimited || e.RetryAfter < 1 {
		t.Errorf("beyond the quota: %v", err)
	}
	now = now.Add(time.Second)
	if got := sent("small", 10); got != 2 {
		t.Errorf("a second later %d were let through, want 2", got)
	}
}

func TestQuotaForgetsOnlyFullTenants(t *testing.T) {
	q := quotas{quota: Quota{Default: 1}}
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	if err := q.take("busy", now); err != nil {
		t.Fatal(err)
	}
	q.forget(now)
	if q.take("busy", now) == nil {
		t.Error("forgetting gave a tenant a new quota")
	}
	q.forget(now.Add(time.Minute))
	if len(q.by) != 0 {
		t.Errorf("%d limiters are kept of tenants that are quiet", len(q.by))
	}
}
