package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
)

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

// previewFor is how long a page waits for the count of what a job is about; what is beyond is told as "or more".
const previewFor = 30 * time.Millisecond

// previewJob says what a job would do, before it does anything.
func (c *call) previewJob(q url.Values) (*jobPreview, error) {
	in, err := c.jobInput(q)
	if err != nil {
		return nil, err
	}
	in.Patience = previewFor
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
