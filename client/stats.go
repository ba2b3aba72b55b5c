package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
)

// StatsFilter selects what figures are about. Zero fields select everything, and leave times and step to the server.
type StatsFilter struct {
	Since, Until time.Time
	// Step is how long a point stands for: whole minutes.
	Step        time.Duration
	Link        patchbay.LinkID
	Type        string
	Integration string
	// Scope selects what lies at or below it.
	Scope patchbay.Scope
	// By tells apart: "link", "type", "scope", "integration".
	By string
}

// Stats is how it went.
type Stats struct {
	// Data has a point for every step, and with By for every group.
	Data []StatsPoint `json:"data"`
	// Total is the sum; with By there are Totals, the busiest first.
	Total  *StatsCounts  `json:"total"`
	Totals []StatsPoint  `json:"totals"`
	Step   time.Duration `json:"-"`
	Since  time.Time     `json:"since"`
	Until  time.Time     `json:"until"`
}

// StatsPoint is one step of a series, or the sum of a group, which has no time. Of Link, Type, Scope and Integration that
// is set by which the series tells apart; Rest says that it is everything that has no entry of its own.
type StatsPoint struct {
	At          time.Time        `json:"at"`
	Link        *patchbay.LinkID `json:"link"`
	Type        *string          `json:"type"`
	Scope       *patchbay.Scope  `json:"scope"`
	Integration *string          `json:"integration"`
	Rest        bool             `json:"rest"`
	StatsCounts
}

// StatsCounts are figures.
type StatsCounts struct {
	Accepted  int64 `json:"accepted"`
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"`
	Attempts  int64 `json:"attempts"`
	// Latency is nil where nothing was delivered.
	Latency *Latency `json:"latency"`
}

// Latency has quantiles in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// StatsNow is what is going on. Queue, Lanes and Store are nil for keys that do not reach the whole installation.
type StatsNow struct {
	At    time.Time `json:"at"`
	Queue *struct {
		Waiting  int64 `json:"waiting"`
		Ready    int   `json:"ready"`
		InFlight int   `json:"in_flight"`
	} `json:"queue"`
	// Lanes counts links by what their lanes are doing.
	Lanes map[string]int `json:"lanes"`
	Store *struct {
		Engine    string   `json:"engine"`
		Bytes     int64    `json:"bytes"`
		Commits   int64    `json:"commits"`
		Committed int64    `json:"committed"`
		CommitMS  *Latency `json:"commit_ms"`
	} `json:"store"`
	Oldest []struct {
		Link    patchbay.LinkID  `json:"link"`
		Event   patchbay.EventID `json:"oldest_event"`
		At      time.Time        `json:"oldest_at"`
		Waiting int              `json:"waiting"`
	} `json:"oldest"`
}

// Stats returns how it went.
func (c *Client) Stats(ctx context.Context, f StatsFilter) (*Stats, error) {
	q := url.Values{}
	setTime(q, "since", f.Since)
	setTime(q, "until", f.Until)
	if f.Step > 0 {
		set(q, "step", f.Step.String())
	}
	set(q, "link", f.Link.String())
	set(q, "type", f.Type)
	set(q, "integration", f.Integration)
	set(q, "scope", string(f.Scope))
	set(q, "by", f.By)
	out, err := call[struct {
		Stats
		Step patchbay.Duration `json:"step"`
	}](ctx, c, http.MethodGet, "/v1/stats", q, nil)
	if err != nil {
		return nil, err
	}
	out.Stats.Step = time.Duration(out.Step)
	return &out.Stats, nil
}

// StatsNow returns what is going on.
func (c *Client) StatsNow(ctx context.Context) (*StatsNow, error) {
	return call[StatsNow](ctx, c, http.MethodGet, "/v1/stats/now", nil, nil)
}
