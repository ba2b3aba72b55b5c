package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/cluster"
	"github.com/patchbay/patchbay/internal/connect"
	"github.com/patchbay/patchbay/internal/inbound"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/stats"
	"github.com/patchbay/patchbay/internal/store"
)

// Stats knows how it goes.
type Stats interface {
	Series(ctx context.Context, c *access.Caller, q stats.Query) (*stats.Series, error)
	Now(ctx context.Context, c *access.Caller) (*stats.Now, error)
	// Days says how links did in the last 24 hours, Waiting what waits for them.
	Days(ctx context.Context, c *access.Caller, links []patchbay.LinkID) (map[patchbay.LinkID]*stats.Day, error)
	Waiting(ctx context.Context, c *access.Caller, links []patchbay.LinkID) (map[patchbay.LinkID]stats.Backlog, error)
}

// Nodes knows the processes that share the database.
type Nodes interface {
	Overview(ctx context.Context, c *access.Caller) (*cluster.Overview, error)
}

// What the overview looks at is bounded, however much there is.
const (
	overviewLinks    = 1000
	overviewAccounts = 250
	overviewShown    = 20
	overviewOldest   = 5
	overviewHooks    = 3
)

// overviewPage says at a glance whether all is well.
type overviewPage struct {
	// Links are counted up to a bound.
	Links, Connections         int
	MoreLinks, MoreConnections bool
	// Bad is how many things need somebody.
	Bad                  int
	Attention            []linkRow
	AttentionConnections []connectionRow
	AttentionHooks       []hookRow
	HookTrouble          bool
	Windows              []option
	// Window says in words which time is shown; Since and Until are set where it was chosen to the minute.
	Window, Since, Until string
	// Total is what happened in the window; nil where nobody counts.
	Total  *overviewTotal
	Charts []*chart
	Queue  *stats.Queue
	Lanes  *stats.Lanes
	Oldest []oldestRow
	Jobs   []jobRow
	Nodes  []nodeRow
	// Start is shown on an installation in which there is nothing yet.
	Start *startPart
}

type overviewTotal struct{ In, Out, Failed, Typical, Slow string }

type oldestRow struct {
	Title, Href, Scope, Waiting string
	At                          time.Time
}

type nodeRow struct {
	cluster.NodeView
	Kind string
}

// startPart are the first steps.
type startPart struct{ Type, Link, Event string }

// overviewTime is a time that the overview can show, with the length of a step: so many that each can be told apart.
type overviewTime struct {
	key, title string
	span, step time.Duration
}

var overviewTimes = []overviewTime{
	{"1h", "Last hour", time.Hour, time.Minute},
	{"24h", "Last 24 hours", 24 * time.Hour, 30 * time.Minute},
	{"7d", "Last 7 days", 7 * day, 3 * time.Hour},
	{"30d", "Last 30 days", 30 * day, 12 * time.Hour},
}

// overview is the first page of an operator. A customer's is that of their scope.
func (c *call) overview() error {
	if c.who.Portal {
		return c.redirect(settingsPath(c.who.Scope))
	}
	body := &overviewPage{}
	for _, part := range []func(*overviewPage) error{
		c.overviewFigures, c.overviewLinks, c.overviewConnections, c.overviewHooks, c.overviewNow, c.overviewJobs, c.overviewNodes,
	} {
		if err := part(body); err != nil {
			return err
		}
	}
	body.Bad = len(body.Attention) + len(body.AttentionConnections) + len(body.AttentionHooks)
	if body.Links == 0 && body.Connections == 0 {
		body.Start = c.firstSteps()
	}
	return c.show(http.StatusOK, "overview", &page{Title: "Overview", Nav: "overview", Body: body})
}

// overviewQuery reads which time is to be shown.
func (c *call) overviewQuery(body *overviewPage) (q stats.Query, err error) {
	body.Since, body.Until = c.r.FormValue("since"), c.r.FormValue("until")
	if q.Since, err = exactTime("since", body.Since); err != nil {
		return q, err
	}
	if q.Until, err = exactTime("until", body.Until); err != nil {
		return q, err
	}
	if q.Since.IsZero() && q.Until.IsZero() {
		w := overviewTimes[1]
		for _, known := range overviewTimes {
			if known.key == c.r.FormValue("window") {
				w = known
			}
		}
		return c.overviewOver(body, w), nil
	}
	body.Window = "in the chosen time"
	body.Windows = overviewWindows("")
	return q, nil
}

// overviewOver is the question for one of the times.
func (c *call) overviewOver(body *overviewPage, w overviewTime) stats.Query {
	now := c.o.Now()
	body.Window = "in the " + strings.ToLower(w.title)
	body.Windows = overviewWindows(w.key)
	return stats.Query{Since: now.UTC().Truncate(w.step).Add(w.step - w.span), Until: now, Step: w.step}
}

// overviewWindows are the times to choose from.
func overviewWindows(chosen string) []option {
	out := make([]option, 0, len(overviewTimes))
	for _, known := range overviewTimes {
		out = append(out, option{Value: known.key, Title: known.title, Chosen: known.key == chosen})
	}
	return out
}

// begun reports whether all that a series tells happened within its last steps, an hour of them: on an installation that was
// just tried out a day is one bar at the edge.
func begun(s *stats.Series) bool {
	steps := int(time.Hour / max(s.Step, time.Minute))
	for i := range s.Points {
		p := &s.Points[i]
		if p.Accepted+p.Delivered+p.Failed > 0 && i < len(s.Points)-steps {
			return false
		}
	}
	return len(s.Totals) > 0 && s.Totals[0].Accepted > 0
}

// overviewFigures fills in what happened in the window.
func (c *call) overviewFigures(body *overviewPage) error {
	if c.o.Stats == nil {
		return nil
	}
	q, err := c.overviewQuery(body)
	if err != nil {
		return err
	}
	s, err := c.o.Stats.Series(c.r.Context(), c.who, q)
	if err != nil {
		return err
	}
	if c.r.URL.RawQuery == "" && begun(s) {
		if s, err = c.o.Stats.Series(c.r.Context(), c.who, c.overviewOver(body, overviewTimes[0])); err != nil {
			return err
		}
	}
	body.Charts = overviewCharts(s)
	if len(s.Totals) > 0 {
		t := s.Totals[0]
		body.Total = &overviewTotal{In: figure(t.Accepted), Out: figure(t.Delivered), Failed: figure(t.Failed)}
		if l := t.Latency; l != nil {
			body.Total.Typical, body.Total.Slow = spellMS(l.P50), spellMS(l.P99)
		}
	}
	return nil
}

// overviewCharts draws what came in, what went out and how long it took.
func overviewCharts(s *stats.Series) []*chart {
	at := make([]time.Time, len(s.Points))
	in, out, took := make([][]chartValue, len(at)), make([][]chartValue, len(at)), make([][]chartValue, len(at))
	for i := range s.Points {
		p := &s.Points[i]
		at[i] = p.At
		in[i] = []chartValue{{float64(p.Accepted), true}}
		out[i] = []chartValue{{float64(p.Delivered), true}, {float64(p.Failed), true}}
		took[i] = []chartValue{{}, {}}
		if l := p.Latency; l != nil {
			took[i] = []chartValue{{l.P50, true}, {l.P99, true}}
		}
	}
	whole := func(v float64) string { return figure(int64(v)) }
	return []*chart{
		newChart(chart{ID: "came-in", Title: "Came in", Unit: "events", Names: []string{"Events"}, Classes: []string{"c-accent"}, Bars: true}, at, s.Step, in, whole),
		newChart(chart{
			ID: "went-out", Title: "Went out", Unit: "deliveries", Names: []string{"Delivered", "Failed for good"}, Classes: []string{"c-ok", "c-bad"}, Bars: true,
		}, at, s.Step, out, whole),
		newChart(chart{
			ID: "took", Title: "How long it took", Unit: "from arrival to success", Names: []string{"Half within", "99 of 100 within"}, Classes: []string{"c-accent", "c-warn"},
		}, at, s.Step, took, spellMS),
	}
}

// overviewLinks finds the links that need somebody: among the oldest thousand, and in overviewNow among those that most
// waits for.
func (c *call) overviewLinks(body *overviewPage) error {
	scope := c.who.Scope
	views, more, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Scope: &scope, Limit: overviewLinks})
	if err != nil {
		return err
	}
	body.Links, body.MoreLinks = len(views), more
	for i := range views {
		c.attend(body, &views[i])
	}
	return nil
}

// attend adds a link to those that need somebody, if it does. One that a person switched off does not.
func (c *call) attend(body *overviewPage, v *links.View) {
	known := slices.ContainsFunc(body.Attention, func(r linkRow) bool { return r.ID == v.ID })
	if known || len(body.Attention) == overviewShown || v.State == patchbay.LinkDisabled && v.StateReason == nil {
		return
	}
	if row := c.row(v); row.Kind == "bad" {
		row.FromHref, row.From = "/links/"+v.ID.String(), scopeName(v.Scope)
		body.Attention = append(body.Attention, row)
	}
}

// overviewConnections finds the accounts that have to be connected again.
func (c *call) overviewConnections(body *overviewPage) error {
	if c.o.Connections == nil {
		return nil
	}
	views, more, err := c.o.Connections.List(c.r.Context(), c.who, connect.ListFilter{Limit: overviewAccounts})
	if err != nil {
		return err
	}
	body.Connections, body.MoreConnections = len(views), more
	for i := range views {
		if views[i].State == patchbay.ConnectionNeedsReauth && len(body.AttentionConnections) < overviewShown {
			body.AttentionConnections = append(body.AttentionConnections, c.connectionRow(&views[i], "/"))
		}
	}
	return nil
}

// overviewHooks finds partners' calls of which nothing could be made.
func (c *call) overviewHooks(body *overviewPage) error {
	if c.o.Hooks == nil {
		return nil
	}
	q := inbound.Query{States: []patchbay.HookState{patchbay.HookUnplaced, patchbay.HookFailed}, Limit: overviewHooks}
	views, _, err := c.o.Hooks.List(c.r.Context(), c.who, q)
	if err != nil {
		return err
	}
	for i := range views {
		body.AttentionHooks = append(body.AttentionHooks, hookRowOf(&views[i]))
	}
	return nil
}

// overviewNow fills in what waits.
func (c *call) overviewNow(body *overviewPage) error {
	if c.o.Stats == nil {
		return nil
	}
	now, err := c.o.Stats.Now(c.r.Context(), c.who)
	if err != nil {
		return err
	}
	body.Queue, body.Lanes = now.Queue, now.Lanes
	for i, b := range now.Oldest {
		v, err := c.o.Links.Get(c.r.Context(), c.who, b.Link)
		switch {
		case patchbay.CodeOf(err) == patchbay.CodeNotFound:
			continue // it was deleted, and what waited for it ends
		case err != nil:
			return err
		}
		c.attend(body, v)
		if i < overviewOldest {
			waiting := figure(int64(b.Waiting))
			if b.Waiting >= 10_000 { // nobody counts further
				waiting = "10,000 or more"
			}
			body.Oldest = append(body.Oldest, oldestRow{v.ShortName, "/links/" + v.ID.String(), scopeName(v.Scope), waiting, b.At})
		}
	}
	return nil
}

// overviewJobs fills in the jobs under way.
func (c *call) overviewJobs(body *overviewPage) error {
	if c.o.Jobs == nil {
		return nil
	}
	views, _, err := c.o.Jobs.List(c.r.Context(), c.who, jobs.Query{States: []store.JobState{store.JobPending, store.JobRunning}, Limit: overviewShown})
	if err != nil {
		return err
	}
	for i := range views {
		body.Jobs = append(body.Jobs, c.jobRow(&views[i]))
	}
	return nil
}

// overviewNodes fills in the nodes, where there are several and the viewer looks after them all.
func (c *call) overviewNodes(body *overviewPage) error {
	if c.o.Nodes == nil || !c.who.May(access.Admin) || !c.who.Sees("") {
		return nil
	}
	o, err := c.o.Nodes.Overview(c.r.Context(), c.who)
	if err != nil {
		return err
	}
	if len(o.Nodes) < 2 {
		return nil
	}
	kinds := map[string]string{cluster.StateAlive: "ok", cluster.StateSilent: "warn", cluster.StateGone: "bad"}
	for _, n := range o.Nodes {
		body.Nodes = append(body.Nodes, nodeRow{n, kinds[n.State]})
	}
	return nil
}

// firstSteps are commands for a shell, with the address that the viewer has reached us at.
func (c *call) firstSteps() *startPart {
	at := "http://"
	if c.o.Secure {
		at = "https://"
	}
	at += c.r.Host
	call := func(method, path, body string) string {
		return "curl -X " + method + " " + at + path + " \\\n  -H 'Authorization: Bearer YOUR_KEY' \\\n  -H 'Content-Type: application/json' \\\n  -d '" + body + "'"
	}
	return &startPart{
		Type:  call(http.MethodPut, "/v1/event-types/order.paid", `{"title": "Order paid", "example": {"order": 42, "total": "9.50"}}`),
		Link:  call(http.MethodPost, "/v1/links", `{"integration": "inbox", "scope": "acme", "events": ["order.*"]}`),
		Event: call(http.MethodPost, "/v1/events", `{"event_type": "order.paid", "scope": "acme", "payload": {"order": 42, "total": "9.50"}}`),
	}
}
