package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/stats"
	"github.com/patchbay/patchbay/internal/stream"
)

// Deliveries shows what went out, tries it again and cancels it. In a portal it knows those over the portal's own links.
type Deliveries interface {
	// Rows lists deliveries, newest first, with how each went last, and says whether there are more.
	Rows(ctx context.Context, c *access.Caller, q deliver.Query) ([]deliver.Row, bool, error)
	// Inspect returns all there is to say about one.
	Inspect(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.Inspection, error)
	Retry(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error)
	Cancel(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error)
}

// ownLinksMost is how many links of a portal are looked for by name; where there are more, what goes over links above is
// left out of each page instead.
const ownLinksMost = 500

// linksOffered is how many links the filter of a list names.
const linksOffered = 100

// deliveriesPage lists deliveries.
type deliveriesPage struct {
	Filter       deliveryFilter
	States       []tab
	Windows      []option
	Integrations []option
	Types        []option
	// Links are offered by name; Link is the one that is chosen.
	Links []option
	Link  *linkName
	Rows  []deliveryLine
	// Filtered says that something is left out; Operator that this is no portal.
	Filtered, Operator bool
	Next, Newest       string
	// Live is the address of the stream of what happens, Here that of this very list.
	Live, Here string
	Chart      *chart
	// Offers are jobs over all that is selected.
	Offers []offer
}

// tab is one of several lists beside each other.
type tab struct {
	Title, Href string
	Chosen      bool
}

// linkName is a link that a page is about.
type linkName struct{ ID, Name, Integration, Edit string }

// offer is a job that could be done; Danger says that something gets lost by it.
type offer struct {
	Title, Href string
	Danger      bool
}

// deliveryFilter is what the address selects, as it was written.
type deliveryFilter struct{ State, Link, Integration, Type, Scope, Event, Window, Since string }

// deliveryLine is how a delivery stands in the list.
type deliveryLine struct {
	deliveryRow
	TypeTitle string
	// At is when the event was matched, Answer how it went last in words, Tries how often it was tried.
	At     time.Time
	Answer string
	// Code is what the partner answered with; "" when it did not, or nobody says.
	Code, CodeKind string
}

func readDeliveryFilter(q url.Values) deliveryFilter {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return deliveryFilter{
		State: get("state"), Link: get("link"), Integration: get("integration"), Type: get("type"), Scope: get("scope"),
		Event: get("event"), Window: get("window"), Since: get("since"),
	}
}

func (f *deliveryFilter) pairs(more ...string) []string {
	return append([]string{
		"state", f.State, "link", f.Link, "integration", f.Integration, "type", f.Type, "scope", f.Scope, "event", f.Event,
		"window", f.Window, "since", f.Since,
	}, more...)
}

// deliveryStates are in the order in which people look for them. The first parts are what the address says.
var deliveryStates = []patchbay.DeliveryState{
	patchbay.DeliveryPending, patchbay.DeliveryHeld, patchbay.DeliveryFailed, patchbay.DeliverySucceeded,
	patchbay.DeliveryCancelled, patchbay.DeliverySkipped,
}

// deliveryQuery reads what the filters say; none says that nothing can be like that.
func (c *call) deliveryQuery(f *deliveryFilter) (q deliver.Query, none bool, err error) {
	q = deliver.Query{Integration: f.Integration, Limit: rowsShown}
	if f.State != "" {
		if !slices.Contains(deliveryStates, patchbay.DeliveryState(f.State)) {
			return q, false, patchbay.Invalid("state", "must be one of pending, held, failed, succeeded, cancelled and skipped, or be left out")
		}
		q.States = []patchbay.DeliveryState{patchbay.DeliveryState(f.State)}
	}
	if f.Link != "" && q.Link.UnmarshalText([]byte(f.Link)) != nil {
		return q, false, patchbay.Invalid("link", "must be the identifier of a link, which begins with lnk_, not %q", clip(f.Link))
	}
	if f.Event != "" && q.Event.UnmarshalText([]byte(f.Event)) != nil {
		return q, false, patchbay.Invalid("event", "must be the identifier of an event, which begins with evt_, not %q", clip(f.Event))
	}
	if q.Scope, err = c.scopeParameter(f.Scope); err != nil {
		return q, false, err
	}
	if q.Since, err = c.sinceOf(f.Window, f.Since); err != nil {
		return q, false, err
	}
	if q.Types, none, err = c.typesOf(f.Type); err != nil || none {
		return q, none, err
	}
	if text := c.r.FormValue("before"); text != "" && q.Before.UnmarshalText([]byte(text)) != nil {
		return q, false, patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a delivery", clip(text))
	}
	none, err = c.ownDeliveries(&q)
	return q, none, err
}

// typesOf returns the types that a pattern selects, nil for all; none says that it selects none.
func (c *call) typesOf(pattern string) (types []string, none bool, err error) {
	if pattern == "" {
		return nil, false, nil
	}
	p, err := patchbay.ParsePattern(pattern)
	if err != nil {
		return nil, false, patchbay.Invalid("type", "%v", err)
	}
	for _, t := range c.o.Catalog.Types() {
		if t.Matches(p) {
			types = append(types, t.Key())
		}
	}
	if len(types) == 0 && p.Literal() {
		types = []string{pattern} // a type that has left the catalog may still have deliveries
	}
	return types, len(types) == 0, nil
}

// ownDeliveries narrows a portal's list down to its own links. none says that it has none.
func (c *call) ownDeliveries(q *deliver.Query) (none bool, err error) {
	if !c.who.Portal || q.Link != 0 {
		return false, nil
	}
	own, more, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Limit: ownLinksMost})
	if err != nil || more {
		return false, err
	}
	for i := range own {
		q.Links = append(q.Links, own[i].ID)
	}
	return len(own) == 0, nil
}

func (c *call) deliveries() error {
	if c.o.Deliveries == nil {
		return notKept("deliveries")
	}
	f := readDeliveryFilter(c.r.URL.Query())
	q, none, err := c.deliveryQuery(&f)
	if err != nil {
		return err
	}
	body := &deliveriesPage{
		Filter: f, Windows: windowOptions(f.Window), Filtered: f != deliveryFilter{}, Operator: !c.who.Portal, Here: link("/deliveries", f.pairs()...),
	}
	if t, err := exactTime("since", f.Since); err == nil && !t.IsZero() {
		body.Filter.Since = t.Format(fieldTime) // as the field of the form takes it
	}
	var rows []deliver.Row
	var more bool
	if !none {
		if rows, more, err = c.o.Deliveries.Rows(c.r.Context(), c.who, q); err != nil {
			return err
		}
	}
	for i := range rows {
		body.Rows = append(body.Rows, c.deliveryLine(&rows[i]))
	}
	if err := c.offerFilters(body); err != nil {
		return err
	}
	if more && len(rows) > 0 {
		body.Next = link("/deliveries", f.pairs("before", rows[len(rows)-1].ID.String())...)
	}
	switch {
	case q.Before != 0:
		body.Newest = body.Here
	case c.o.Stream != nil && !none:
		body.Live = link("/deliveries/live", f.pairs()...)
	}
	if q.Before == 0 && !none {
		if body.Chart, err = c.deliveryChart(&f, &q); err != nil {
			return err
		}
	}
	if body.Chart != nil && body.Chart.Empty && len(rows) == 0 {
		body.Chart = nil
	}
	if len(rows) > 0 && body.Operator && c.o.Jobs != nil && c.who.May(access.Manage) {
		n := 0 // too many to be known
		if q.Before == 0 && !more {
			n = len(rows)
		}
		body.Offers = c.offers(&f, n)
	}
	return c.show(http.StatusOK, "deliveries", &page{Title: "Deliveries", Nav: "deliveries", Body: body})
}

// offerFilters fills in what can be chosen.
func (c *call) offerFilters(body *deliveriesPage) error {
	f := body.Filter
	at := func(state string) tab {
		there := f
		there.State = state
		title := "All"
		if state != "" {
			title = deliveryWords[patchbay.DeliveryState(state)][1]
		}
		return tab{title, link("/deliveries", there.pairs()...), state == f.State}
	}
	body.States = append(body.States, at(""))
	for _, s := range deliveryStates {
		body.States = append(body.States, at(string(s)))
	}
	body.Integrations = []option{{Title: "Any"}}
	for _, i := range c.o.Integrations {
		d := i.Definition()
		body.Integrations = append(body.Integrations, option{Value: d.Key, Title: d.Title, Chosen: f.Integration == d.Key})
	}
	for _, t := range c.o.Catalog.Types() {
		body.Types = append(body.Types, option{Value: t.Key(), Title: t.Title()})
	}
	views, _, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Limit: linksOffered})
	if err != nil {
		return err
	}
	for i := range views {
		body.Links = append(body.Links, option{Value: views[i].ID.String(), Title: views[i].ShortName + " · " + scopeName(views[i].Scope)})
	}
	var id patchbay.LinkID
	if f.Link != "" && id.UnmarshalText([]byte(f.Link)) == nil {
		body.Link = &linkName{ID: id.String(), Name: id.String()}
		if v, err := c.o.Links.Get(c.r.Context(), c.who, id); err == nil {
			body.Link.Name, body.Link.Integration, body.Link.Edit = v.ShortName, v.Integration, c.linkEdit(v.Integration, id)
		}
	}
	return nil
}

// linkEdit is the page of a link: its own, or in a portal the form of its settings, for those who may change them.
func (c *call) linkEdit(integration string, id patchbay.LinkID) string {
	switch {
	case !c.who.Portal:
		return "/links/" + id.String()
	case c.who.May(access.Manage):
		return linkAddress(integration, id)
	}
	return ""
}

// deliveryLine is how a delivery stands in the list.
func (c *call) deliveryLine(r *deliver.Row) deliveryLine {
	line := deliveryLine{deliveryRow: c.deliveryRow(&r.View), TypeTitle: r.EventType, At: r.ID.Time()}
	if t := c.o.Catalog.Type(r.EventType); t != nil {
		line.TypeTitle = t.Title()
	}
	switch a := r.Last; {
	case a == nil && r.AttemptCount == 0:
	case a == nil:
		line.Answer = "No longer kept"
	default:
		line.Answer = answerWords(a, r.State)
		if a.ResponseCode != nil {
			line.Code, line.CodeKind = strconv.Itoa(*a.ResponseCode), verdictWords[a.Verdict].kind
		}
	}
	return line
}

// answerWords says in a few words how a delivery went last.
func answerWords(a *deliver.AttemptView, state patchbay.DeliveryState) string {
	switch {
	case a.Verdict == patchbay.VerdictDelivered:
		return "Taken in " + tookWords(a.DurationMS)
	case a.Error != nil && *a.Error != "":
		return markup.Clip(sentence(*a.Error), 160)
	case a.Verdict != "":
		return verdictWords[a.Verdict].word
	}
	return deliveryWords[state][1]
}

// outcomeSpan is the time that the chart above the list shows when the filters name none.
const outcomeSpan = 24 * time.Hour

// deliveryChart draws what came of deliveries over the time that the filters select. Where the filters are about single
// deliveries, or name a state, there is nothing to draw; nor in a portal, because figures are of all links together.
func (c *call) deliveryChart(f *deliveryFilter, q *deliver.Query) (*chart, error) {
	if c.o.Stats == nil || c.who.Portal || q.Event != 0 || len(q.Types) > 1 {
		return nil, nil
	}
	now := c.o.Now().UTC()
	s := stats.Query{Since: now.Add(-outcomeSpan), Until: now, Link: q.Link, Integration: q.Integration, Scope: q.Scope}
	if len(q.Types) == 1 {
		s.Type = q.Types[0]
	}
	if !q.Since.IsZero() {
		s.Since = q.Since
	}
	if !s.Since.Before(now) {
		return nil, nil
	}
	s.Since, s.Step = outcomeSteps(s.Since, now)
	series, err := c.o.Stats.Series(c.r.Context(), c.who, s)
	if err != nil {
		return nil, err
	}
	at, values := make([]time.Time, len(series.Points)), make([][]chartValue, len(series.Points))
	for i := range series.Points {
		p := &series.Points[i]
		at[i], values[i] = p.At, []chartValue{{float64(p.Delivered), true}, {float64(p.Failed), true}}
	}
	unit := "deliveries that ended"
	if f.Window == "" && f.Since == "" {
		unit += ", last 24 hours"
	}
	return newChart(chart{
		ID: "outcomes", Title: "Outcomes", Unit: unit, Names: []string{"Delivered", "Failed for good"}, Classes: []string{"c-ok", "c-bad"}, Bars: true, Low: true,
	}, at, series.Step, values, func(v float64) string { return figure(int64(v)) }), nil
}

// outcomeStep are how long a bar may stand for.
var outcomeStep = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// outcomeSteps returns since when a chart is drawn that should begin at a time, and how long a bar stands for: so that each
// can be told apart, and in minutes only as far back as figures are kept by the minute.
func outcomeSteps(since, now time.Time) (time.Time, time.Duration) {
	const last = 30 * time.Minute
	span := now.Sub(since)
	if span > stats.MinutesFor-last && span <= stats.MinutesFor+time.Minute {
		return now.Add(last - stats.MinutesFor), last
	}
	for _, step := range outcomeStep {
		if span <= 60*step && (span < stats.MinutesFor || step >= time.Hour) {
			return since, step
		}
	}
	return since, 24 * time.Hour
}

// offers names the jobs that make sense for what the filters select, which is so many when n is not 0.
func (c *call) offers(f *deliveryFilter, n int) []offer {
	these := " all of these"
	switch {
	case n == 1:
		these = " this one"
	case n > 1:
		these = " all " + strconv.Itoa(n) + " of these"
	}
	job := func(action string) string { return link("/jobs/new", f.pairs("action", action)...) }
	switch patchbay.DeliveryState(f.State) {
	case patchbay.DeliveryPending:
		return []offer{{"Try" + these + " now", job(jobs.Retry), false}, {"Cancel" + these, job(jobs.Cancel), true}}
	case patchbay.DeliveryHeld:
		return []offer{{"Cancel" + these, job(jobs.Cancel), true}}
	case patchbay.DeliveryFailed, patchbay.DeliveryCancelled:
		return []offer{{"Retry" + these, job(jobs.Retry), false}}
	case patchbay.DeliverySucceeded, patchbay.DeliverySkipped:
		if f.Link == "" && f.Integration == "" && f.Event == "" && (f.Type != "" || f.Scope != "" || f.Window != "" || f.Since != "") {
			return []offer{{"Replay their events", link("/jobs/new", "action", jobs.Replay, "type", f.Type, "scope", f.Scope, "window", f.Window, "since", f.Since), false}}
		}
	}
	return nil
}

// deliveriesLive tells the list what has happened since it was drawn.
func (c *call) deliveriesLive() error {
	f := readDeliveryFilter(c.r.URL.Query())
	q, none, err := c.deliveryQuery(&f)
	if err != nil {
		return err
	}
	if none {
		return notKept("deliveries")
	}
	filter := stream.Filter{Kinds: []string{stream.KindAttempt}, Event: q.Event, Link: q.Link, Integration: q.Integration, Scope: q.Scope}
	if f.Type != "" {
		filter.Types = patterns(q.Types)
	}
	if state := patchbay.DeliveryState(f.State); state.Valid() && state.Final() && !c.who.Portal {
		filter.Kinds, filter.States = []string{stream.KindDelivery}, []string{f.State}
	}
	return c.watch(filter)
}

// patterns makes patterns of keys.
func patterns(types []string) []patchbay.Pattern {
	out := make([]patchbay.Pattern, len(types))
	for i, t := range types {
		out[i] = patchbay.Pattern(t)
	}
	return out
}
