package web

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
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
	"github.com/patchbay/patchbay/internal/ingest"
)

// Events shows what came in, and sends it again.
type Events interface {
	// Events lists events, newest first, and says whether there are more.
	Events(ctx context.Context, c *access.Caller, q ingest.EventQuery) ([]patchbay.Event, bool, error)
	// Inspect returns all there is to say about one event.
	Inspect(ctx context.Context, c *access.Caller, id patchbay.EventID) (*ingest.Inspection, error)
	// Replay sends an event again, to the links that match it now.
	Replay(ctx context.Context, c *access.Caller, id patchbay.EventID) (*ingest.EventView, error)
}

// Outcomes says what became of events.
type Outcomes interface {
	List(ctx context.Context, c *access.Caller, q deliver.Query) (views []deliver.View, more bool, err error)
}

// Bounds of the list. A search by text reads payloads, so it looks at the newest events that the other filters select
// and says how far it got; whoever wants more goes on from there.
const (
	rowsShown     = 50
	searchPage    = 100
	searchEvents  = 2000
	searchBytes   = 32 << 20
	searchTime    = time.Second
	maxSearchText = 200
	// outcomesShown bounds how many deliveries are looked at for a page of events, dotsShown those that have a dot of their own.
	outcomesShown = 250
	dotsShown     = 6
)

// eventsPage lists events.
type eventsPage struct {
	Filter  eventFilter
	Windows []option
	Types   []option
	Rows    []eventRow
	// Filtered says that something is left out by the filters; All is the address without them.
	Filtered bool
	// Looked says how far a search for text has looked; "" when there is none.
	Looked string
	// Next is the address of the next page, Newest that of the first when this is another one; "" when there is none.
	Next, Newest string
	// Live is the address of the stream of what arrives, Here that of this very list; "" when nothing new belongs in it.
	Live, Here string
}

// eventFilter is what the address selects, as it was written.
type eventFilter struct{ Type, Scope, Window, Since, Until, Text string }

type eventRow struct {
	patchbay.Event
	// TypeTitle is the type's name for people, Title what happened in one line, Brief the beginning of the payload where the
	// title says no more than the type does.
	TypeTitle, Title, Brief string
	// Grave says how bad what happened is, as a colour: "" for what is only to be known.
	Grave, GraveWord string
	// Dots are what became of its deliveries, Sum the same in words.
	Dots []dot
	Sum  string
}

// dot is one delivery in a row of dots.
type dot struct{ Kind string }

// graveWords are the colours and words of events that are more than to be known.
var graveWords = map[patchbay.Severity][2]string{
	patchbay.SeveritySuccess: {"ok", "Good"}, patchbay.SeverityWarning: {"warn", "Warning"},
	patchbay.SeverityError: {"bad", "Error"}, patchbay.SeverityCritical: {"bad", "Critical"},
}

// spans are the stretches of time that lists offer.
var spans = []struct {
	key, title string
	span       time.Duration
}{
	{"", "Any time", 0}, {"15m", "Last 15 minutes", 15 * time.Minute}, {"1h", "Last hour", time.Hour},
	{"24h", "Last 24 hours", 24 * time.Hour}, {"7d", "Last 7 days", 7 * 24 * time.Hour},
}

// forOperators answers customers, in a portal, that there is no such page.
func (c *call) forOperators() error {
	if c.who.Portal {
		return patchbay.Errorf(patchbay.CodeNotFound, "the page that you wanted does not exist")
	}
	return nil
}

// notKept is the answer of pages that have no service behind them.
func notKept(what string) error {
	return patchbay.Errorf(patchbay.CodeNotFound, "this installation keeps no %s to look at", what)
}

func windowOptions(chosen string) []option {
	out := make([]option, 0, len(spans))
	for _, w := range spans {
		out = append(out, option{Value: w.key, Title: w.title, Chosen: w.key == chosen})
	}
	return out
}

// exactTime reads a moment of a form: what browsers send for a date and a time, taken as UTC, or RFC 3339.
func exactTime(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, patchbay.Invalid(name, "must be a time such as 2026-11-22T09:30")
}

// sinceOf is where a list ends: the later of the window's beginning and the exact time.
func (c *call) sinceOf(window, exact string) (time.Time, error) {
	since, err := exactTime("since", exact)
	if err != nil {
		return since, err
	}
	for _, w := range spans {
		if w.key != window {
			continue
		}
		if begin := c.o.Now().Add(-w.span).UTC(); w.span > 0 && begin.After(since) {
			since = begin
		}
		return since, nil
	}
	return since, patchbay.Invalid("window", "must be one of 15m, 1h, 24h and 7d, or be left out")
}

// scopeParameter reads a scope that a list is narrowed down to; "" is the viewer's own.
func (c *call) scopeParameter(text string) (patchbay.Scope, error) {
	if text = strings.Trim(text, "/"); text == "" {
		return "", nil
	}
	scope, err := patchbay.ParseScope(text)
	if err != nil {
		return "", patchbay.Invalid("scope", "%v", err)
	}
	return scope, c.who.Reach(scope)
}

func readEventFilter(q url.Values) eventFilter {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	f := eventFilter{Type: get("type"), Scope: get("scope"), Window: get("window"), Since: get("since"), Until: get("until"), Text: get("text")}
	if len(f.Text) > maxSearchText {
		f.Text = strings.ToValidUTF8(f.Text[:maxSearchText], "")
	}
	return f
}

func (f *eventFilter) pairs(more ...string) []string {
	return append([]string{"type", f.Type, "scope", f.Scope, "window", f.Window, "since", f.Since, "until", f.Until, "text", f.Text}, more...)
}

func (c *call) eventQuery(f *eventFilter) (q ingest.EventQuery, err error) {
	q = ingest.EventQuery{Type: f.Type, Limit: rowsShown}
	if q.Scope, err = c.scopeParameter(f.Scope); err != nil {
		return q, err
	}
	if q.Since, err = c.sinceOf(f.Window, f.Since); err != nil {
		return q, err
	}
	if q.Until, err = exactTime("until", f.Until); err != nil {
		return q, err
	}
	if text := c.r.FormValue("before"); text != "" && q.Before.UnmarshalText([]byte(text)) != nil {
		return q, patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of an event", clip(text))
	}
	return q, nil
}

func (c *call) events() error {
	if err := c.forOperators(); err != nil {
		return err
	}
	if c.o.Events == nil {
		return notKept("events")
	}
	f := readEventFilter(c.r.URL.Query())
	q, err := c.eventQuery(&f)
	if err != nil {
		return err
	}
	body := &eventsPage{Filter: f, Windows: windowOptions(f.Window), Filtered: f != eventFilter{}, Here: link("/events", f.pairs()...)}
	for _, t := range c.o.Catalog.Types() {
		body.Types = append(body.Types, option{Value: t.Key(), Title: t.Title()})
	}
	var found []patchbay.Event
	var last patchbay.EventID
	if f.Text == "" {
		var more bool
		if found, more, err = c.o.Events.Events(c.r.Context(), c.who, q); more {
			last = found[len(found)-1].ID
		}
	} else {
		found, last, body.Looked, err = c.searchEvents(q, f.Text)
	}
	if err != nil {
		return err
	}
	for i := range found {
		body.Rows = append(body.Rows, c.eventRow(&found[i]))
	}
	if err := c.outcomes(body.Rows, q); err != nil {
		return err
	}
	if last != 0 {
		body.Next = link("/events", f.pairs("before", last.String())...)
	}
	switch {
	case q.Before != 0:
		body.Newest = body.Here
	case f.Text == "" && f.Until == "" && c.o.Stream != nil:
		body.Live = link("/events/live", "type", f.Type, "scope", f.Scope)
	}
	return c.show(http.StatusOK, "events", &page{Title: "Events", Nav: "events", Body: body})
}

// searchEvents returns the newest events whose payload holds the text, whatever its case. last is where a further search
// goes on; 0 when everything has been looked at.
func (c *call) searchEvents(q ingest.EventQuery, text string) (found []patchbay.Event, last patchbay.EventID, looked string, err error) {
	q.Limit = searchPage
	begun, seen, size := time.Now(), 0, 0
	needles := needlesOf(text)
	for more := true; more; {
		var events []patchbay.Event
		if events, more, err = c.o.Events.Events(c.r.Context(), c.who, q); err != nil {
			return nil, 0, "", err
		}
		for i := range events {
			seen++
			size += len(events[i].Payload)
			q.Before = events[i].ID
			if holds(events[i].Payload, needles) {
				found = append(found, events[i])
			}
			if len(found) == rowsShown || size > searchBytes {
				more = more || i < len(events)-1
				break
			}
		}
		if more && (len(found) == rowsShown || seen >= searchEvents || size > searchBytes || time.Since(begun) > searchTime) {
			return found, q.Before, "Looked through the payloads of " + count(seen, "event", "events") + ", the newest first.", nil
		}
	}
	return found, 0, "Looked through the payloads of all " + count(seen, "event", "events") + " that the other filters select.", nil
}

// needlesOf are the ways in which a text may stand in a payload: as it is, and as it is written in a string of JSON.
func needlesOf(text string) [][]byte {
	plain := bytes.ToLower([]byte(text))
	out := [][]byte{plain}
	if raw, err := json.Marshal(strings.ToLower(text)); err == nil && !bytes.Equal(raw[1:len(raw)-1], plain) {
		out = append(out, raw[1:len(raw)-1])
	}
	return out
}

func holds(payload []byte, needles [][]byte) bool {
	payload = bytes.ToLower(payload)
	return slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(payload, n) })
}

// outcomes gives the rows their dots. It is one query, bounded: where many other events lie between those of a search, the
// rest has none.
func (c *call) outcomes(rows []eventRow, q ingest.EventQuery) error {
	if c.o.Outcomes == nil || len(rows) == 0 {
		return nil
	}
	of := make(map[patchbay.EventID]*eventRow, len(rows))
	for i := range rows {
		of[rows[i].ID] = &rows[i]
	}
	newest, oldest := rows[0].ID, rows[len(rows)-1].ID
	f := deliver.Query{
		Scope: q.Scope, Types: c.typesLike(q.Type), Since: oldest.Time(), Before: patchbay.DeliveryAt(newest, outcomesShown), Limit: outcomesShown,
	}
	views, _, err := c.o.Outcomes.List(c.r.Context(), c.who, f)
	if err != nil {
		return err
	}
	counts := map[patchbay.EventID]map[string]int{}
	for i := range views {
		v := &views[i]
		row := of[v.Event]
		if row == nil {
			continue
		}
		w := deliveryWords[v.State]
		if len(row.Dots) < dotsShown {
			row.Dots = append(row.Dots, dot{w[0]})
		}
		if counts[v.Event] == nil {
			counts[v.Event] = map[string]int{}
		}
		counts[v.Event][strings.ToLower(w[1])]++
	}
	for id, n := range counts {
		words := slices.Sorted(maps.Keys(n))
		for i, w := range words {
			words[i] = strconv.Itoa(n[w]) + " " + w
		}
		slices.Reverse(of[id].Dots) // deliveries come newest first
		of[id].Sum = strings.Join(words, ", ")
	}
	return nil
}

// typesLike are the types that a list is narrowed down to by a pattern, as it was written; nil for all.
func (c *call) typesLike(pattern string) (out []string) {
	if pattern == "" {
		return nil
	}
	p, err := patchbay.ParsePattern(pattern)
	if err != nil {
		return []string{pattern}
	}
	for _, t := range c.o.Catalog.Types() {
		if t.Matches(p) {
			out = append(out, t.Key())
		}
	}
	if out == nil {
		out = []string{pattern}
	}
	return out
}

// eventRow is how an event stands in a list.
func (c *call) eventRow(e *patchbay.Event) eventRow {
	row := eventRow{Event: *e, TypeTitle: e.Type, Title: e.Type}
	if t := c.o.Catalog.Type(e.Type); t != nil {
		title, severity := t.Headline(e)
		row.TypeTitle, row.Title = t.Title(), markup.Clip(title, 160)
		row.Grave, row.GraveWord = graveWords[severity][0], graveWords[severity][1]
	}
	if row.Title != row.TypeTitle {
		return row
	}
	var b bytes.Buffer
	if len(e.Payload) <= maxShown && json.Compact(&b, e.Payload) == nil && b.Len() > 2 {
		row.Brief = markup.Clip(b.String(), 140)
	}
	return row
}
