package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/stats"
)

// Backlogs knows what waits for links, and what was sent over them.
type Backlogs interface {
	Outlook(ctx context.Context, c *access.Caller, link patchbay.LinkID) (*deliver.Outlook, error)
	Rows(ctx context.Context, c *access.Caller, q deliver.Query) ([]deliver.Row, bool, error)
}

const (
	// recentShown is how many of a link's deliveries its page lists, replacedShown how many of the scopes that do without it.
	recentShown   = 20
	replacedShown = 10
)

// oneLinkPage is all there is to say about a link.
type oneLinkPage struct {
	Row    linkRow
	Title  string // the integration's
	Crumbs []crumb
	// State says in words how it is, Why what is behind that, Since since when.
	State, Why string
	Since      time.Time
	// Waits says what waits; Ahead how long that will take. Both are "" when nothing does.
	Waits, Ahead string
	Oldest       time.Time
	Figures      []linkFigure
	Windows      []option
	Charts       []*chart
	Recent       []recentRow
	AllRecent    string
	Events       []string
	Reach        string
	Settings     []settingValue
	Connection   *connectionRow
	// Replaced are scopes below that do without it, or have another in its place.
	Replaced     []replacedRow
	MoreReplaced bool
	// ScopeHref is the page of the scope that it belongs to. The others are addresses of what can be done; "" for what
	// cannot.
	ScopeHref, Edit, Delete, Rotate, Recover, Skip string
	// MayPause and MayResume say which button there is.
	MayPause, MayResume bool
	// Ask says that resuming is asked about first.
	Operator bool
}

// linkFigure is a number at the head of the page.
type linkFigure struct {
	Name, Value, Note string
	Bad               bool
}

// settingValue is a setting that has a value, secrets masked.
type settingValue struct {
	Title, Value string
	Secret       bool
}

// recentRow is a delivery over the link.
type recentRow struct {
	ID                       patchbay.DeliveryID
	At                       time.Time
	Type, Kind, Word, Answer string
}

// replacedRow is a scope below the link's that has something else in its slot.
type replacedRow struct {
	Scope, Href, Name string
	OptOut            bool
}

// linkID reads the link that the path names.
func (c *call) linkID() (id patchbay.LinkID, err error) {
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return 0, patchbay.Errorf(patchbay.CodeNotFound, "there is no link %q", clip(c.r.PathValue("id")))
	}
	return id, nil
}

func (c *call) oneLink() error {
	id, err := c.linkID()
	if err != nil {
		return err
	}
	return c.showLink(id, nil)
}

// showLink draws the page; tested is what came of a test, if one was made.
func (c *call) showLink(id patchbay.LinkID, tested *testPart) error {
	v, err := c.o.Links.Get(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	body := &oneLinkPage{Row: c.row(v), Title: c.titleOf(v.Integration), Operator: !c.who.Portal, ScopeHref: settingsPath(v.Scope), Reach: reachWords(v)}
	body.Crumbs = c.crumbs(v.Scope)
	if body.Operator {
		body.Crumbs = append([]crumb{{"Links", "/links"}}, c.treeCrumbs(v.Scope)...)
	}
	body.Row.Tested = tested
	for _, part := range []func(*oneLinkPage, *links.View) error{
		c.linkBacklog, c.linkState, c.linkFigures, c.linkRecent, c.linkAccount, c.linkReplaced,
	} {
		if err := part(body, v); err != nil {
			return err
		}
	}
	c.linkSends(body, v)
	c.linkActions(body, v)
	p := &page{Title: v.ShortName, Nav: "settings", Body: body}
	if tested != nil {
		p.Status = tested.Text
	}
	return c.show(http.StatusOK, "one-link", p)
}

// linkState says how the link is, why and since when.
func (c *call) linkState(body *oneLinkPage, v *links.View) error {
	body.State, body.Why = body.Row.Badge, body.Row.Health
	if v.State == patchbay.LinkPaused {
		body.Why = "What happens is kept, and sent once you resume."
	}
	if v.State == patchbay.LinkActive && body.Row.Kind == "ok" {
		body.State, body.Why = "Working", "What matches is sent at once."
		return nil
	}
	if h := v.Health; h != nil && v.State == patchbay.LinkActive && v.StateReason == nil && h.FailingSince != nil {
		body.Since, body.Why = *h.FailingSince, "It is tried again."
		if h.LastError != "" {
			body.Why += " The last time: " + sentence(h.LastError)
		}
		return nil
	}
	var err error
	body.Since, err = c.o.Links.Since(c.r.Context(), c.who, v.ID)
	return err
}

// linkBacklog says what waits for the link, and how long that will take.
func (c *call) linkBacklog(body *oneLinkPage, v *links.View) error {
	if v.OptOut {
		return nil
	}
	o, err := c.outlook(v.ID)
	if err != nil || o == nil || o.Waiting == 0 {
		return err
	}
	body.Waits, body.Oldest = waitingWords(o, v.State != patchbay.LinkActive), o.Oldest
	if v.State == patchbay.LinkActive {
		body.Ahead = takesWords(o)
	}
	return nil
}

// outlook is what waits for a link; nil where nobody knows.
func (c *call) outlook(id patchbay.LinkID) (*deliver.Outlook, error) {
	if c.o.Backlogs == nil {
		return nil, nil
	}
	o, err := c.o.Backlogs.Outlook(c.r.Context(), c.who, id)
	if patchbay.CodeOf(err) == patchbay.CodeNotFound {
		return nil, nil // it cannot be used, or is being taken down
	}
	return o, err
}

// waitingWords says how much waits.
func waitingWords(o *deliver.Outlook, held bool) string {
	n := figure(int64(o.Waiting))
	if o.More {
		n += " or more"
	}
	verb := " wait"
	if held {
		verb = " are held"
	}
	if o.Waiting == 1 {
		return "1 delivery" + map[bool]string{true: " is held", false: " waits"}[held]
	}
	return n + " deliveries" + verb
}

// takesWords says how long it will take to send what waits, and what that is reckoned by.
func takesWords(o *deliver.Outlook) string {
	switch {
	case o.Waiting == 0:
		return ""
	case o.PerSecond == 0:
		return "How long that takes nobody can say yet: nothing that is kept was delivered over it."
	case o.ByRate:
		return fmt.Sprintf("That takes %s at the %s that its rate allows.", about(o.Takes()), perTime(o.PerSecond))
	}
	at := fmt.Sprintf("%d at a time", o.AtOnce)
	if o.AtOnce == 1 {
		at = "one after the other"
	}
	return fmt.Sprintf("That takes %s if each takes as long as its latest deliveries did (%s, %s).", about(o.Takes()), spellMS(float64(o.Attempt.Milliseconds())), at)
}

// perTime spells a rate.
func perTime(perSecond float64) string {
	if perSecond >= 1 {
		return fmt.Sprintf("%.3g a second", perSecond)
	}
	return fmt.Sprintf("%.3g a minute", perSecond*60)
}

// about spells a time as people say it.
func about(d time.Duration) string {
	unit := func(n int, one, many string) string { return "about " + count(n, one, many) }
	switch {
	case d < 2*time.Second:
		return "a second or two"
	case d < 90*time.Second:
		return unit(int(d.Round(time.Second)/time.Second), "second", "seconds")
	case d < 90*time.Minute:
		return unit(int(d.Round(time.Minute)/time.Minute), "minute", "minutes")
	case d < 36*time.Hour:
		return unit(int(d.Round(time.Hour)/time.Hour), "hour", "hours")
	}
	return unit(int(d.Round(24*time.Hour)/(24*time.Hour)), "day", "days")
}

// linkFigures fills in what the link did in the window that the address names.
func (c *call) linkFigures(body *oneLinkPage, v *links.View) error {
	if c.o.Stats == nil || v.OptOut {
		return nil
	}
	w := overviewTimes[1]
	for _, known := range overviewTimes {
		if known.key == c.r.FormValue("window") {
			w = known
		}
	}
	for _, known := range overviewTimes {
		body.Windows = append(body.Windows, option{Value: known.key, Title: known.title, Chosen: known.key == w.key})
	}
	now := c.o.Now()
	s, err := c.o.Stats.Series(c.r.Context(), c.who, stats.Query{
		Since: now.UTC().Truncate(w.step).Add(w.step - w.span), Until: now, Step: w.step, Link: v.ID,
	})
	if err != nil {
		return err
	}
	body.Charts = linkCharts(s)
	if len(s.Totals) == 0 {
		return nil
	}
	t := s.Totals[0]
	in := "in the " + strings.ToLower(w.title)
	body.Figures = []linkFigure{
		{Name: "Delivered", Value: figure(t.Delivered), Note: in},
		{Name: "Failed for good", Value: figure(t.Failed), Note: shareWords(t.Failed, t.Delivered+t.Failed), Bad: t.Failed > 0},
		{Name: "Attempts", Value: figure(t.Attempts), Note: "retries included"},
	}
	if l := t.Latency; l != nil {
		body.Figures = append(body.Figures, linkFigure{Name: "Half within", Value: spellMS(l.P50), Note: "99 of 100 within " + spellMS(l.P99)})
	}
	return nil
}

// shareWords says what share of all something is.
func shareWords(n, all int64) string {
	switch {
	case all == 0:
		return "nothing has ended"
	case n == 0:
		return "nothing was given up"
	}
	if share := 100 * float64(n) / float64(all); share < 1 {
		return fmt.Sprintf("%.2g %% of what has ended", share)
	}
	return fmt.Sprintf("%d %% of what has ended", 100*n/all)
}

// linkCharts draws how much went over a link and how long it took.
func linkCharts(s *stats.Series) []*chart {
	at := make([]time.Time, len(s.Points))
	out, took := make([][]chartValue, len(at)), make([][]chartValue, len(at))
	for i := range s.Points {
		p := &s.Points[i]
		at[i] = p.At
		retried := max(0, p.Attempts-p.Delivered-p.Failed)
		out[i] = []chartValue{{float64(p.Delivered), true}, {float64(retried), true}, {float64(p.Failed), true}}
		took[i] = []chartValue{{}, {}}
		if l := p.Latency; l != nil {
			took[i] = []chartValue{{l.P50, true}, {l.P99, true}}
		}
	}
	whole := func(v float64) string { return figure(int64(v)) }
	return []*chart{
		newChart(chart{
			ID: "went-out", Title: "What went over it", Unit: "attempts", Names: []string{"Delivered", "To be retried", "Failed for good"}, Classes: []string{"c-ok", "c-warn", "c-bad"}, Bars: true,
		}, at, s.Step, out, whole),
		newChart(chart{
			ID: "took", Title: "How long it took", Unit: "from arrival to success", Names: []string{"Half within", "99 of 100 within"}, Classes: []string{"c-accent", "c-warn"},
		}, at, s.Step, took, spellMS),
	}
}

// linkRecent lists the latest deliveries over the link.
func (c *call) linkRecent(body *oneLinkPage, v *links.View) error {
	if c.o.Backlogs == nil || v.OptOut {
		return nil
	}
	rows, _, err := c.o.Backlogs.Rows(c.r.Context(), c.who, deliver.Query{Link: v.ID, Limit: recentShown})
	if err != nil {
		return err
	}
	body.AllRecent = link("/deliveries", "link", v.ID.String())
	for i := range rows {
		r := &rows[i]
		w := deliveryWords[r.State]
		row := recentRow{ID: r.ID, At: r.ID.Time(), Type: r.EventType, Kind: w[0], Word: w[1]}
		if r.State == patchbay.DeliveryPending && r.AttemptCount > 0 {
			row.Kind, row.Word = "warn", "To be retried"
		}
		if t := c.o.Catalog.Type(r.EventType); t != nil {
			row.Type = t.Title()
		}
		switch a := r.Last; {
		case a == nil:
		case a.Verdict == patchbay.VerdictDelivered:
			row.Answer = "Taken in " + spellMS(float64(max(1, a.DurationMS)))
		case a.Error != nil:
			row.Answer = markup.Clip(sentence(*a.Error), 160)
		}
		body.Recent = append(body.Recent, row)
	}
	return nil
}

// linkSends fills in what the link is about.
func (c *call) linkSends(body *oneLinkPage, v *links.View) {
	for _, p := range v.Events {
		body.Events = append(body.Events, string(p))
	}
	d := c.definitions[v.Integration]
	if d == nil || v.OptOut {
		return
	}
	in := map[string]any{}
	if json.Unmarshal(v.Settings, &in) == nil {
		body.Settings = settingValues(nil, "", d.Settings, in)
	}
}

// settingValues lists the settings that have a value, in the order of the declaration.
func settingValues(out []settingValue, before string, spec integration.Spec, in map[string]any) []settingValue {
	for i := range spec {
		set := &spec[i]
		v, ok := in[set.Key]
		if !ok || v == nil || v == "" {
			continue
		}
		title := before + set.Title
		if fields, ok := v.(map[string]any); ok && set.Type == integration.TypeObject {
			out = settingValues(out, title+": ", set.Fields, fields)
			continue
		}
		out = append(out, settingValue{Title: title, Value: spellSetting(set, v), Secret: set.Secret})
	}
	return out
}

// spellSetting spells a value as its form does.
func spellSetting(set *integration.Setting, v any) string {
	switch v := v.(type) {
	case string:
		for _, o := range set.Options {
			if o.Value == v {
				return o.Title
			}
		}
		return v
	case bool:
		return map[bool]string{true: "Yes", false: "No"}[v]
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = fmt.Sprint(v[i])
		}
		return strings.Join(parts, "\n")
	case map[string]any:
		parts := make([]string, 0, len(v))
		for key := range v {
			parts = append(parts, fmt.Sprintf("%s: %v", key, v[key]))
		}
		slices.Sort(parts)
		return strings.Join(parts, "\n")
	}
	return fmt.Sprint(v)
}

// reachWords says how far below its scope a link hears.
func reachWords(v *links.View) string {
	switch v.Reach {
	case patchbay.ReachExact:
		return "this scope alone"
	case patchbay.ReachChildren:
		return "exactly one level below it"
	}
	return "and everything below it"
}

// linkAccount fills in the connection that the link uses.
func (c *call) linkAccount(body *oneLinkPage, v *links.View) error {
	if v.Connection == nil || c.o.Connections == nil {
		return nil
	}
	con, err := c.o.Connections.Get(c.r.Context(), c.who, *v.Connection)
	switch {
	case patchbay.CodeOf(err) == patchbay.CodeNotFound:
		return nil // it is not the viewer's, or is gone, which the state says
	case err != nil:
		return err
	}
	row := c.connectionRow(con, linkPath(v.ID))
	body.Connection = &row
	return nil
}

// linkReplaced lists the scopes below that do without the link.
func (c *call) linkReplaced(body *oneLinkPage, v *links.View) error {
	views, more, err := c.o.Links.Replaced(c.r.Context(), c.who, v.ID, 0, replacedShown)
	if err != nil {
		return err
	}
	body.MoreReplaced = more
	for i := range views {
		r := &views[i]
		body.Replaced = append(body.Replaced, replacedRow{scopeName(r.Scope), settingsPath(r.Scope), r.ShortName, r.OptOut})
	}
	return nil
}

// linkActions says what the viewer may do with the link.
func (c *call) linkActions(body *oneLinkPage, v *links.View) {
	body.Edit, body.Delete = body.Row.Edit, body.Row.Delete
	body.MayPause, body.MayResume = body.Row.Pause != "", body.Row.Resume != ""
	if body.Edit == "" {
		return
	}
	if c.o.Links.Rotates(c.who, v.ID) {
		body.Rotate = linkPath(v.ID) + "/rotate"
	}
	if body.Waits != "" {
		body.Skip = linkPath(v.ID) + "/resume"
	}
	if body.Operator && c.o.Jobs != nil && len(v.Events) > 0 && v.State == patchbay.LinkActive {
		body.Recover = link("/jobs/new", "action", jobs.Recover, "link", v.ID.String())
	}
}
