package web

import (
	"context"
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
