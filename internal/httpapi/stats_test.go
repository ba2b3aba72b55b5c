package httpapi

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/stats"
)

type fakeStats struct {
	series func(c *access.Caller, q stats.Query) (*stats.Series, error)
	now    func(c *access.Caller) (*stats.Now, error)
}

func (f *fakeStats) Series(_ context.Context, c *access.Caller, q stats.Query) (*stats.Series, error) {
	if f.series == nil {
		return nil, errUnexpected
	}
	return f.series(c, q)
}

func (f *fakeStats) Now(_ context.Context, c *access.Caller) (*stats.Now, error) {
	if f.now == nil {
		return nil, errUnexpected
	}
	return f.now(c)
}

func TestStats(t *testing.T) {
	f := newFixture(t)
	reader := f.key("acme", access.Read)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var asked stats.Query
	f.stats.series = func(_ *access.Caller, q stats.Query) (*stats.Series, error) {
		asked = q
		link := patchbay.LinkID(7)
		group := stats.Group{}
		if q.By == "link" {
			group.Link = &link
		}
		c := stats.Counts{Accepted: 1, Latency: &stats.Quantiles{P50: 1.5, P90: 2, P99: 3}}
		return &stats.Series{Step: 5 * time.Minute, Since: at, Until: at.Add(10 * time.Minute),
			Points: []stats.Point{{At: at, Group: group, Counts: c}, {At: at.Add(5 * time.Minute), Group: group}}, Totals: []stats.Sum{{Group: group, Counts: c}}}, nil
	}
	w := f.call(reader, "GET", "/v1/stats?since=2026-03-01T12:00:00Z&until=2026-03-01T12:10:00Z&step=5m&type=repo.push&integration=slack&link=lnk_0000000000007", "")
	want := `{"data":[{"at":"2026-03-01T12:00:00Z","accepted":1,"delivered":0,"failed":0,"attempts":0,"latency":{"p50":1.5,"p90":2,"p99":3}},` +
		`{"at":"2026-03-01T12:05:00Z","accepted":0,"delivered":0,"failed":0,"attempts":0,"latency":null}],` +
		`"total":{"accepted":1,"delivered":0,"failed":0,"attempts":0,"latency":{"p50":1.5,"p90":2,"p99":3}},` +
		`"step":"5m","since":"2026-03-01T12:00:00Z","until":"2026-03-01T12:10:00Z","next":null}` + "\n"
	if d := cmp.Diff(want, w.Body.String()); w.Code != 200 || d != "" {
		t.Errorf("%d %s", w.Code, d)
	}
	wantAsked := stats.Query{Since: at, Until: at.Add(10 * time.Minute), Step: 5 * time.Minute, Link: 7, Type: "repo.push", Integration: "slack", Scope: "acme"}
	if d := cmp.Diff(wantAsked, asked); d != "" {
		t.Error(d)
	}
	w = f.call(reader, "GET", "/v1/stats?by=link&scope=acme/repos", "")
	var by map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &by); err != nil {
		t.Fatal(err)
	}
	if by["total"] != nil || by["totals"] == nil || by["data"].([]any)[0].(map[string]any)["link"] != "lnk_0000000000007" || asked.Scope != "acme/repos" {
		t.Errorf("by link the answer is %s", w.Body)
	}
	for query, message := range map[string]string{
		"?step=soon": "step:", "?step=-5m": "step:", "?since=yesterday": "since:", "?link=7": "link:", "?colour=red": "colour:",
	} {
		p := wantError(t, f.call(reader, "GET", "/v1/stats"+query, ""), 400, patchbay.CodeInvalidRequest)
		if len(p.Details) == 0 || p.Details[0].Path+":" != message {
			t.Errorf("%s: %+v", query, p)
		}
	}
	wantError(t, f.call(reader, "GET", "/v1/stats?scope=other", ""), 403, patchbay.CodeForbidden)
}

func TestStatsNow(t *testing.T) {
	f := newFixture(t)
	f.stats.now = func(*access.Caller) (*stats.Now, error) {
		return &stats.Now{At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Oldest: []stats.Backlog{}}, nil
	}
	w := f.call(f.key("acme", access.Read), "GET", "/v1/stats/now", "")
	if want := `{"at":"2026-03-01T12:00:00Z","oldest":[]}` + "\n"; w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
