package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/stats"
)

// Stats knows how it goes.
type Stats interface {
	// Series adds up what happened at and below the caller's scope.
	Series(ctx context.Context, c *access.Caller, q stats.Query) (*stats.Series, error)
	// Now says what is going on, as far as the caller sees it.
	Now(ctx context.Context, c *access.Caller) (*stats.Now, error)
}

// statsRoutes registers the routes of statistics.
func (a *api) statsRoutes() {
	register(a, operation{id: "get-stats", method: http.MethodGet, path: "/v1/stats", tag: tagStats, summary: "How it went, over time",
		description: "Every step of the time has a point, also where nothing was; with `by` there is one for each link, type, scope or " +
			"integration, up to 50 of the busiest, and one with `rest` for all others. Latencies are from acceptance to success, to within 5 %. " +
			"Figures are kept by the minute for a day and by the hour for 90 days; after a crash those of up to ten seconds are missing. " +
			"Where a minute has more than a thousand combinations of link, type and scope, further scopes are counted as their tenant.",
		needs: access.Read, response: exampleStats}, a.getStats)
	register(a, operation{id: "get-stats-now", method: http.MethodGet, path: "/v1/stats/now", tag: tagStats, summary: "What is going on now",
		description: "`queue`, `lanes` and `store` are about the whole installation, and are there for keys that reach all of it. " +
			"What waits is counted up to 10,000 for each link.", needs: access.Read, response: exampleStatsNow}, a.getStatsNow)
}

type (
	statsInput struct {
		Since       string `query:"since" format:"date-time" doc:"Default: a day before until. Widened to a whole step."`
		Until       string `query:"until" format:"date-time" doc:"Default: now."`
		Step        string `query:"step" doc:"How long a point stands for: whole minutes, whole hours for what is longer ago than a day. Default: one that makes about a hundred points." example:"15m"`
		Link        string `query:"link" doc:"A link's identifier."`
		Type        string `query:"type" doc:"An event type's key." example:"repo.push"`
		Integration string `query:"integration" example:"slack"`
		Scope       string `query:"scope" doc:"Of events at or below it." example:"acme/repos"`
		By          string `query:"by" doc:"Tell these apart: link, type, scope or integration." example:"link"`
	}
	statsAnswer struct {
		Data []stats.Point `json:"data" nullable:"false"`
		// Total is absent with by, Totals without.
		Total  *stats.Counts     `json:"total,omitempty"`
		Totals []stats.Sum       `json:"totals,omitempty" nullable:"false" doc:"With by: the sums, the busiest first."`
		Step   patchbay.Duration `json:"step" doc:"Such as 5m or 1h."`
		Since  time.Time         `json:"since"`
		Until  time.Time         `json:"until"`
		Next   *string           `json:"next" doc:"Always null: an answer is whole."`
	}
	statsOutput    struct{ Body statsAnswer }
	statsNowOutput struct{ Body stats.Now }
)

func (a *api) getStats(ctx context.Context, c *access.Caller, in *statsInput) (*statsOutput, error) {
	q := stats.Query{Type: in.Type, Integration: in.Integration, By: in.By}
	var err error
	if q.Since, err = timeOf("since", in.Since); err != nil {
		return nil, err
	}
	if q.Until, err = timeOf("until", in.Until); err != nil {
		return nil, err
	}
	if in.Step != "" {
		if q.Step, err = time.ParseDuration(in.Step); err != nil || q.Step <= 0 {
			return nil, patchbay.Invalid("step", "must be a duration such as 5m or 1h")
		}
	}
	if err := filterID("link", in.Link, &q.Link); err != nil {
		return nil, err
	}
	if q.Scope, err = reachable(c, in.Scope); err != nil {
		return nil, err
	}
	s, err := a.Stats.Series(ctx, c, q)
	if err != nil {
		return nil, err
	}
	out := statsAnswer{Data: s.Points, Step: patchbay.Duration(s.Step), Since: s.Since, Until: s.Until}
	if q.By != "" {
		out.Totals = s.Totals
	} else if len(s.Totals) > 0 {
		out.Total = &s.Totals[0].Counts
	}
	return &statsOutput{out}, nil
}

func (a *api) getStatsNow(ctx context.Context, c *access.Caller, _ *struct{}) (*statsNowOutput, error) {
	now, err := a.Stats.Now(ctx, c)
	if err != nil {
		return nil, err
	}
	return &statsNowOutput{*now}, nil
}

var (
	exampleCounts = stats.Counts{Accepted: 1200, Delivered: 2380, Failed: 2, Attempts: 2391, Latency: &stats.Quantiles{P50: 8.2, P90: 31, P99: 240}}
	exampleStats  = statsAnswer{Data: []stats.Point{{At: exampleTime.Truncate(time.Hour), Counts: exampleCounts}}, Total: &exampleCounts,
		Step: patchbay.Duration(time.Hour), Since: exampleTime.Truncate(time.Hour), Until: exampleTime.Truncate(time.Hour).Add(time.Hour)}
	exampleStatsNow = stats.Now{At: exampleTime, Queue: &stats.Queue{Waiting: 12, Ready: 3, InFlight: 5}, Lanes: &stats.Lanes{Idle: 40, Working: 7, Open: 1},
		Store:  &stats.Database{Engine: "SQLite 3.50.4", Bytes: 73 << 20, Commits: 51200, Committed: 204800, CommitMS: &stats.Quantiles{P50: 1.1, P90: 2.4, P99: 6.3}},
		Oldest: []stats.Backlog{{Link: exampleLinkID, Oldest: exampleEventID, At: exampleTime, Waiting: 12}}}
)
