package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/store"
)

// Jobs does things to many deliveries and events.
type Jobs interface {
	Create(ctx context.Context, c *access.Caller, in jobs.Input) (*jobs.View, error)
	// Preview says what Create would do.
	Preview(ctx context.Context, c *access.Caller, in jobs.Input) (*jobs.Preview, error)
	Get(ctx context.Context, c *access.Caller, id patchbay.JobID) (*jobs.View, error)
	// List lists jobs, the newest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, q jobs.Query) (views []jobs.View, more bool, err error)
	Cancel(ctx context.Context, c *access.Caller, id patchbay.JobID) (*jobs.View, error)
}

// jobsPage lists jobs.
type jobsPage struct {
	Rows         []jobRow
	States       []tab
	Filtered     bool
	Next, Newest string
	// May says that the viewer can make one, Poll that one is under way.
	May, Poll bool
}

// jobPage is one job.
type jobPage struct {
	jobRow
	Facts []fact
	// Rate is how many it does in a second, Left how long it will still take, Took how long it took.
	Rate, Left, Took string
	// Poll says that there will be more to see, Cancel that the viewer can end it.
	Poll, Cancel bool
	// See is the page of what it was about.
	See string
}

// fact is a line of what something is about. Code says that the value is an identifier.
type fact struct {
	Name, Value, Href string
	Code              bool
}

// jobRow is how a job stands in a list.
type jobRow struct {
	*jobs.View
	Kind, Word string
	// Title is what it does, About to what, in words.
	Title, About string
	Percent      int
	Done         string
}

// jobWords are the words for what jobs do; things is what they do it to.
type jobWords struct{ title, verb, things, thing string }

var actionWords = map[string]jobWords{
	jobs.Retry:   {"Retry", "tried again", "deliveries", "delivery"},
	jobs.Cancel:  {"Cancel", "cancelled", "deliveries", "delivery"},
	jobs.Replay:  {"Replay", "sent again", "events", "event"},
	jobs.Recover: {"Recover", "recovered", "events", "event"},
	jobs.Erase:   {"Erase", "erased", "events", "event"},
	jobs.Reseal:  {"Seal anew", "sealed anew", "secrets", "secret"},
}

var jobStateWords = map[store.JobState][2]string{
	store.JobPending: {"", "Waiting"}, store.JobRunning: {"accent", "Under way"}, store.JobSucceeded: {"ok", "Done"},
	store.JobFailed: {"bad", "Failed"}, store.JobCancelled: {"warn", "Cancelled"},
}

var jobStates = []store.JobState{store.JobPending, store.JobRunning, store.JobSucceeded, store.JobFailed, store.JobCancelled}

func (c *call) jobsOrNot() error {
	if err := c.forOperators(); err != nil {
		return err
	}
	if c.o.Jobs == nil {
		return notKept("jobs")
	}
	return nil
}

func (c *call) jobID() (id patchbay.JobID, err error) {
	if err := c.jobsOrNot(); err != nil {
		return 0, err
	}
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return 0, patchbay.Errorf(patchbay.CodeNotFound, "there is no job %q", clip(c.r.PathValue("id")))
	}
	return id, nil
}

func (c *call) jobs() error {
	if err := c.jobsOrNot(); err != nil {
		return err
	}
	q := jobs.Query{Limit: rowsShown}
	state := store.JobState(c.r.FormValue("state"))
	if state != "" {
		if !slices.Contains(jobStates, state) {
			return patchbay.Invalid("state", "must be one of pending, running, succeeded, failed and cancelled, or be left out")
		}
		q.States = []store.JobState{state}
	}
	if text := c.r.FormValue("before"); text != "" && q.Before.UnmarshalText([]byte(text)) != nil {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a job", clip(text))
	}
	views, more, err := c.o.Jobs.List(c.r.Context(), c.who, q)
	if err != nil {
		return err
	}
	body := &jobsPage{Filtered: state != "", May: c.who.May(access.Manage), States: []tab{{"All", "/jobs", state == ""}}}
	for _, s := range jobStates {
		body.States = append(body.States, tab{jobStateWords[s][1], link("/jobs", "state", string(s)), s == state})
	}
	for i := range views {
		body.Rows = append(body.Rows, c.jobRow(&views[i]))
		body.Poll = body.Poll || !views[i].State.Final()
	}
	if more && len(views) > 0 {
		body.Next = link("/jobs", "state", string(state), "before", views[len(views)-1].ID.String())
	}
	if q.Before != 0 {
		body.Newest = link("/jobs", "state", string(state))
	}
	return c.show(http.StatusOK, "jobs", &page{Title: "Jobs", Nav: "jobs", Body: body})
}

// jobRow is how a job stands in a list.
func (c *call) jobRow(v *jobs.View) jobRow {
	w := jobStateWords[v.State]
	row := jobRow{View: v, Kind: w[0], Word: w[1], Percent: int(100 * v.Progress), Title: actionWords[v.Action].title}
	if row.Title == "" {
		row.Title = v.Action
	}
	if v.Cancelling {
		row.Kind, row.Word = "warn", "Ending"
	}
	row.About = c.jobAbout(v.Action, v.Filter)
	row.Done = figure(v.Seen)
	if v.Total != nil {
		row.Done += " of " + figure(*v.Total)
	}
	return row
}

// jobAbout says in one line what a job is about.
func (c *call) jobAbout(action string, f *jobs.Filter) string {
	about := actionWords[action].things
	if f == nil {
		return about
	}
	facts := c.jobFacts(action, f)
	words := map[string]string{
		"Link": " over ", "Event": " of ", "Type": " of the type ", "Integration": " to ", "Scope": " in ", "Since": " since ",
		"Until": " until ", "Tenant": " of the tenant ", "Path": " by ",
	}
	for _, x := range facts {
		switch word, ok := words[x.Name]; {
		case x.Name == "State":
			about = x.Value + " " + about
		case ok:
			about += word + x.Value
		}
	}
	return about
}

// jobFacts says in words what a job is about.
func (c *call) jobFacts(action string, f *jobs.Filter) []fact {
	if f == nil {
		return nil
	}
	var out []fact
	add := func(name, value, href string) {
		if value != "" {
			out = append(out, fact{Name: name, Value: value, Href: href})
		}
	}
	var states []string
	for _, s := range f.States {
		states = append(states, strings.ToLower(deliveryWords[s][1]))
	}
	add("State", strings.Join(states, " or "), "")
	if f.Link != 0 {
		name, href := f.Link.String(), ""
		if v, err := c.o.Links.Get(c.r.Context(), c.who, f.Link); err == nil {
			name, href = v.ShortName, c.linkEdit(v.Integration, f.Link)
		}
		add("Link", name, href)
	}
	if f.Event != 0 {
		add("Event", f.Event.String(), "/events/"+f.Event.String())
	}
	add("Type", f.Type, "")
	if f.Integration != "" {
		add("Integration", c.titleOf(f.Integration), "/integrations/"+url.PathEscape(f.Integration))
	}
	if f.Scope != "" {
		add("Scope", string(f.Scope), settingsPath(f.Scope))
	}
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2 Jan 2006, 15:04:05 UTC")
	}
	add("Since", stamp(f.Since), "")
	add("Until", stamp(f.Until), "")
	add("Tenant", f.Tenant, "")
	add("Path", f.Path, "")
	add("Value", string(f.Value), "")
	add("Tenant's SHA-256", f.TenantHash, "")
	add("Value's SHA-256", f.ValueHash, "")
	if action == jobs.Erase || action == jobs.Reseal {
		for i := range out {
			out[i].Href = ""
		}
	}
	return out
}

func (c *call) job() error {
	id, err := c.jobID()
	if err != nil {
		return err
	}
	v, err := c.o.Jobs.Get(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	body := &jobPage{jobRow: c.jobRow(v), Facts: c.jobFacts(v.Action, v.Filter), Poll: !v.State.Final(), See: seeAlso(v)}
	need := access.Manage
	if v.Action == jobs.Erase || v.Action == jobs.Reseal {
		need = access.Admin
	}
	body.Cancel = !v.State.Final() && !v.Cancelling && c.who.May(need)
	c.jobPace(body, v)
	return c.show(http.StatusOK, "job", &page{Title: body.Title + " " + id.String(), Nav: "jobs", Body: body})
}

// jobPace says how fast a job is, and how long it takes.
func (c *call) jobPace(body *jobPage, v *jobs.View) {
	if v.StartedAt == nil {
		return
	}
	end := c.o.Now()
	if v.FinishedAt != nil {
		end = *v.FinishedAt
		body.Took = spell(end.Sub(*v.StartedAt))
	}
	if took := end.Sub(*v.StartedAt); took >= time.Second && v.Seen > 0 {
		body.Rate = figure(int64(float64(v.Seen)/took.Seconds()+0.5)) + " a second"
	}
	if v.ETA != nil && v.State == store.JobRunning {
		body.Left = "about " + spell(max(v.ETA.Sub(c.o.Now()), time.Second).Round(time.Second))
	}
}

// fieldTime is how a field of a form spells a time.
const fieldTime = "2006-01-02T15:04:05"

// seeAlso is the list of what a job was about; "" where there is none.
func seeAlso(v *jobs.View) string {
	f := v.Filter
	if f == nil {
		return ""
	}
	pairs := []string{"type", f.Type, "scope", string(f.Scope)}
	if !f.Since.IsZero() {
		pairs = append(pairs, "since", f.Since.UTC().Format(fieldTime))
	}
	switch v.Action {
	case jobs.Retry, jobs.Cancel, jobs.Recover:
		if f.Link != 0 {
			pairs = append(pairs, "link", f.Link.String())
		}
		if f.Event != 0 {
			pairs = append(pairs, "event", f.Event.String())
		}
		return link("/deliveries", append(pairs, "integration", f.Integration)...)
	case jobs.Replay:
		if !f.Until.IsZero() {
			pairs = append(pairs, "until", f.Until.UTC().Format(fieldTime))
		}
		return link("/events", pairs...)
	}
	return ""
}

func (c *call) cancelJob() error {
	id, err := c.jobID()
	if err != nil {
		return err
	}
	v, err := c.o.Jobs.Cancel(c.r.Context(), c.who, id)
	n := &note{Kind: "ok", Title: "It ends after its current step.", Text: "What it has done stays done."}
	switch {
	case patchbay.CodeOf(err) == patchbay.CodeConflict:
		_, text, _, _ := c.explain(err)
		n = &note{Kind: "warn", Title: "That was not possible.", Text: text}
	case err != nil:
		return err
	case v.State.Final():
		n.Title, n.Text = "It was cancelled before it began.", ""
	}
	c.leave(n)
	return c.redirect("/jobs/" + id.String())
}

// jobFields are what a form says of a job's filter, in the order in which they are shown.
var jobFields = []string{"state", "link", "event", "type", "integration", "scope", "since", "until"}

// newJobPage asks what should be done to what, and says what that would mean.
type newJobPage struct {
	Action  string
	Actions []option
	// Sent is the filter as it was written, States and Windows what can be chosen.
	Sent            map[string]string
	States, Windows []option
	Integrations    []option
	Types           []option
	// Error says why there is no preview.
	Error   string
	Details []string
	Preview *jobPreview
	// Back is the list that it comes from.
	Back string
}

// jobPreview says what a job would do.
type jobPreview struct {
	Title  string
	Count  string
	None   bool
	Means  []string
	Facts  []fact
	Fields []fact
	Button string
	Danger bool
}

func (c *call) newJob() error {
	if err := c.jobsOrNot(); err != nil {
		return err
	}
	if err := c.who.Require(access.Manage); err != nil {
		return err
	}
	q := c.r.URL.Query()
	body := &newJobPage{Action: q.Get("action"), Sent: map[string]string{}, Windows: windowOptions(q.Get("window"))}
	for _, name := range jobFields {
		body.Sent[name] = strings.TrimSpace(q.Get(name))
	}
	for _, action := range []string{jobs.Retry, jobs.Cancel, jobs.Replay, jobs.Recover} {
		body.Actions = append(body.Actions, option{Value: action, Title: actionTitles[action], Chosen: action == body.Action})
	}
	body.States = []option{{Title: "As the action says"}}
	for _, s := range []patchbay.DeliveryState{patchbay.DeliveryFailed, patchbay.DeliveryCancelled, patchbay.DeliveryPending, patchbay.DeliveryHeld} {
		body.States = append(body.States, option{Value: string(s), Title: deliveryWords[s][1], Chosen: string(s) == body.Sent["state"]})
	}
	body.Integrations = []option{{Title: "Any"}}
	for _, i := range c.o.Integrations {
		d := i.Definition()
		body.Integrations = append(body.Integrations, option{Value: d.Key, Title: d.Title, Chosen: d.Key == body.Sent["integration"]})
	}
	for _, t := range c.o.Catalog.Types() {
		body.Types = append(body.Types, option{Value: t.Key(), Title: t.Title()})
	}
	status := http.StatusOK
	if body.Action != "" {
		var err error
		if body.Preview, err = c.previewJob(q); err != nil {
			code, text, details, _ := c.explain(err)
			if code == patchbay.CodeInternal || code == patchbay.CodeUnavailable {
				return err
			}
			status, body.Error = code.HTTPStatus(), text
			if len(details) > 1 {
				for _, d := range details {
					body.Details = append(body.Details, strings.TrimPrefix(d.Path, "filter.")+": "+d.Message)
				}
			} else if len(details) == 1 {
				body.Error = "What you chose as “" + strings.TrimPrefix(details[0].Path, "filter.") + "” " + details[0].Message + "."
				if details[0].Path == "filter" {
					body.Error = "The filter " + details[0].Message + "."
				}
			}
		}
	}
	return c.show(status, "job-new", &page{Title: "New job", Nav: "jobs", Body: body})
}

// actionTitles are what can be chosen.
var actionTitles = map[string]string{
	jobs.Retry: "Retry deliveries that did not get through", jobs.Cancel: "Cancel deliveries that wait",
	jobs.Replay: "Replay events over the links that match now", jobs.Recover: "Recover events that a link missed",
}

// jobInput reads what a form says. What does not fit the action is left out where the lists put it there by themselves.
func (c *call) jobInput(q url.Values) (jobs.Input, error) {
	action := q.Get("action")
	fields := map[string]string{}
	for _, name := range jobFields {
		if v := strings.TrimSpace(q.Get(name)); v != "" {
			fields[name] = v
		}
	}
	since, err := c.sinceOf(q.Get("window"), fields["since"])
	if err != nil {
		return jobs.Input{}, err
	}
	until, err := exactTime("until", fields["until"])
	if err != nil {
		return jobs.Input{}, err
	}
	for name, t := range map[string]time.Time{"since": since, "until": until} {
		delete(fields, name)
		if !t.IsZero() {
			fields[name] = t.UTC().Truncate(time.Second).Format(time.RFC3339)
		}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings always marshal
	}
	return jobs.ParseInput(action, raw)
}

// previewJob says what a job would do, before it does anything.
func (c *call) previewJob(q url.Values) (*jobPreview, error) {
	in, err := c.jobInput(q)
	if err != nil {
		return nil, err
	}
	found, err := c.o.Jobs.Preview(c.r.Context(), c.who, in)
	if err != nil {
		return nil, err
	}
	w := actionWords[in.Action]
	n := figure(found.Total)
	things := w.things
	if found.Total == 1 && found.Complete {
		things = w.thing
	}
	p := &jobPreview{
		Count: n + " " + things, None: found.Total == 0 && found.Complete, Facts: c.jobFacts(in.Action, found.Filter),
		Means: c.jobMeans(in.Action, found.Filter), Danger: in.Action == jobs.Cancel,
		Title: capital(things) + " to be " + w.verb,
	}
	p.Button = w.title + " " + n + " " + things
	if !found.Complete {
		p.Count, p.Button = n+" "+things+" or more", w.title+" all of these "+things
		p.Means = append(p.Means, "They are too many to be counted beforehand: it is at least this number.")
	}
	if in.Action == jobs.Retry && found.Complete && !found.Filter.Until.IsZero() {
		p.Means = append(p.Means, "The number counts what is newer too: it is at most this one.")
	}
	p.Fields = filterFields(found.Filter)
	return p, nil
}

// filterFields spells a filter as a form does, so that what was shown is what will be done.
func filterFields(f *jobs.Filter) []fact {
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	out := []fact{{Name: "state", Value: strings.Join(states, ",")}, {Name: "type", Value: f.Type}, {Name: "integration", Value: f.Integration}, {Name: "scope", Value: string(f.Scope)}}
	if f.Link != 0 {
		out = append(out, fact{Name: "link", Value: f.Link.String()})
	}
	if f.Event != 0 {
		out = append(out, fact{Name: "event", Value: f.Event.String()})
	}
	if !f.Since.IsZero() {
		out = append(out, fact{Name: "since", Value: f.Since.UTC().Format(time.RFC3339)})
	}
	if !f.Until.IsZero() {
		out = append(out, fact{Name: "until", Value: f.Until.UTC().Format(time.RFC3339)})
	}
	return slices.DeleteFunc(out, func(x fact) bool { return x.Value == "" })
}

// jobMeans explains what will happen.
func (c *call) jobMeans(action string, f *jobs.Filter) []string {
	paused := false
	if f.Link != 0 {
		if v, err := c.o.Links.Get(c.r.Context(), c.who, f.Link); err == nil {
			paused = v.State == patchbay.LinkPaused
		}
	}
	switch action {
	case jobs.Retry:
		out := []string{"Each is due at once, and its schedule begins afresh; links keep their rate, so many take a while.", "What arrives or is tried meanwhile is left alone: nothing is sent twice by this."}
		if paused {
			out = append(out, "The link is paused: they are held until it is resumed.")
		}
		return out
	case jobs.Cancel:
		return []string{"They are not sent any more, unless somebody retries them. What is being sent at this moment may still arrive.", "What comes in from now on is not touched."}
	case jobs.Replay:
		return []string{"Each event goes once more over every link that matches it now, also where it has arrived before. Receivers see the identifier that they know."}
	case jobs.Recover:
		return []string{"Each event goes over the links that match it now and that it never went over. No event goes over a link twice by this."}
	}
	return nil
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (c *call) createJob() error {
	if err := c.jobsOrNot(); err != nil {
		return err
	}
	if err := c.form(); err != nil {
		return err
	}
	in, err := c.jobInput(c.r.PostForm)
	if err != nil {
		return err
	}
	v, err := c.o.Jobs.Create(c.r.Context(), c.who, in)
	if err != nil {
		return err
	}
	c.leave(&note{Kind: "ok", Title: "The job has begun.", Text: "It goes on by itself, whether or not somebody looks, and after a restart too."})
	return c.redirect("/jobs/" + v.ID.String())
}
