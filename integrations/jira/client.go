package jira

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// maxAnswer is how much of an answer is read: one issue with two fields, or the transitions of one.
const maxAnswer = 256 << 10

// maxIssueKey bounds the key of an issue, which goes into addresses and is kept as a reference.
const maxIssueKey = 128

// issue is what is read of an issue.
type issue struct {
	Key    string `json:"key"`
	Fields struct {
		Labels []string `json:"labels"`
		Status struct {
			Category struct {
				Key string `json:"key"`
			} `json:"statusCategory"`
		} `json:"status"`
	} `json:"fields"`
}

// name returns what an issue is called in addresses, "" when it cannot be used.
func (i *issue) name() string {
	if len(i.Key) > maxIssueKey {
		return ""
	}
	return i.Key
}

// open reports whether the issue is not done.
func (i *issue) open() bool { return i.Fields.Status.Category.Key != "done" }

// find looks for the issue with a label: an open one, or else the one that this link made last, when that is done. It
// returns nil when there is none, or the result with which the attempt ends. When the search finds nothing, the issue that this link made last for the thread is looked at: the search runs
// behind, on Jira Cloud always.
func (c *client) find(ctx context.Context, label string) (*issue, *integration.Result) {
	body, err := json.Marshal(map[string]any{
		"jql":        jql(c.settings.ProjectKey, label),
		"maxResults": 1,
		"fields":     []string{"status", "labels"},
	})
	if err != nil {
		r := integration.Unrenderable(err)
		return nil, &r
	}
	path := []string{"rest", "api", "2", "search"}
	if c.cloud {
		path = []string{"rest", "api", "3", "search", "jql"}
	}
	resp, failed := c.call(ctx, http.MethodPost, c.url(path...), body)
	if failed != nil {
		return nil, c.searchFailed(resp, failed)
	}
	var answer struct {
		Issues []issue `json:"issues"`
	}
	switch err := json.Unmarshal(resp.Body, &answer); {
	case err != nil:
		r := integration.UserError("%s answered the search with something that is not its own: check %s", partner, c.where()).With(resp)
		return nil, &r
	case len(answer.Issues) > 0:
		return &answer.Issues[0], nil
	case c.d.Reference == "":
		return nil, nil
	}
	return c.last(ctx, label)
}

// searchFailed says more of two answers to a search than their status does.
func (c *client) searchFailed(resp *integration.Response, failed *integration.Result) *integration.Result {
	if resp == nil {
		return failed
	}
	var r integration.Result
	switch resp.Status {
	case http.StatusBadRequest: // the label is quoted and may be unknown; what can be wrong is the project
		r = integration.UserError("%s cannot search project %s (400): check project_key, and that the account may browse the project",
			partner, c.settings.ProjectKey).With(resp)
	case http.StatusGone: // the path is gone, not the target
		r = integration.UserError("this %s no longer has the search of Data Center (410): if it is Jira Cloud, give its address at atlassian.net as jira_base_url",
			partner).With(resp)
	default:
		return failed
	}
	return &r
}

// last returns the issue that Delivery.Reference names, when it carries the label.
func (c *client) last(ctx context.Context, label string) (*issue, *integration.Result) {
	resp, failed := c.call(ctx, http.MethodGet, c.url("rest", "api", "2", "issue", c.d.Reference)+"?fields=status,labels", nil)
	if failed != nil {
		if failed.Verdict == patchbay.VerdictRetry {
			return nil, failed
		}
		return nil, nil // deleted, or no longer to be seen
	}
	var i issue
	if json.Unmarshal(resp.Body, &i) != nil || !slices.Contains(i.Fields.Labels, label) {
		return nil, nil
	}
	return &i, nil
}

// jql selects what is not done and has a label, in a project.
func jql(project, label string) string {
	return "project = " + quote(project) + " AND labels = " + quote(label) + " AND statusCategory != Done ORDER BY created DESC"
}

// quote writes a JQL string. Nothing in s can end it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029:
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (c *client) create(ctx context.Context, msg *integration.Message, label string) integration.Result {
	body := []byte(c.d.Body)
	if body == nil {
		var err error
		if body, err = json.Marshal(c.settings.issue(msg, label, c.connected)); err != nil {
			return integration.Unrenderable(err)
		}
	}
	resp, failed := c.call(ctx, http.MethodPost, c.url("rest", "api", "2", "issue"), body)
	switch {
	case failed != nil && resp != nil && resp.Status == http.StatusBadRequest:
		return refused(resp)
	case failed != nil:
		return *failed
	}
	var made issue
	if json.Unmarshal(resp.Body, &made) != nil {
		made = issue{} // it was created all the same; only the next message cannot refer to it
	}
	return refer(integration.Delivered().With(resp), made.name())
}

// customField is the name of a field that an installation has added.
var customField = regexp.MustCompile(`^customfield_[0-9]{1,10}$`)

// settingOf maps the fields of Jira's errors to the settings that fill them.
var settingOf = map[string]string{
	"project": "project_key", "issuetype": "issue_type", "priority": "priority", "labels": "labels",
}

// refused reads what Jira has against a new issue. Of its answer only names that are known go into the sentence.
func refused(resp *integration.Response) integration.Result {
	var answer struct {
		Errors map[string]any `json:"errors"`
	}
	if json.Unmarshal(resp.Body, &answer) != nil {
		answer.Errors = nil
	}
	var settings, required []string
	for field := range answer.Errors {
		switch {
		case settingOf[field] != "":
			settings = append(settings, settingOf[field])
		case customField.MatchString(field):
			required = append(required, field)
		case slices.Contains([]string{"assignee", "components", "duedate", "environment", "fixVersions", "reporter", "security", "versions"}, field):
			required = append(required, field)
		}
	}
	slices.Sort(settings)
	slices.Sort(required)
	switch {
	case len(settings) > 0:
		return integration.UserError("%s refused the issue (400): check %s", partner, strings.Join(settings, ", ")).With(resp)
	case len(required) > 0:
		return integration.UserError("%s refused the issue (400): the project asks for %s; make it optional for this issue type, or give another issue_type",
			partner, strings.Join(required[:min(len(required), 10)], ", ")).With(resp)
	}
	return integration.Classify(partner, resp)
}

// sign ends what we write over a connection, so that the call in which Jira tells us of it is known for our own: it says
// who wrote, but not through which app or token, and over a connection that is a person who also writes themselves.
const sign = "~via Patchbay~"

func (c *client) comment(ctx context.Context, name string, msg *integration.Message) integration.Result {
	text := markup.Describe(msg)
	if !markup.Parse(text).Says(msg.Title) {
		text = "**" + markup.Escape(markup.Line(msg.Title)) + "**\n\n" + text
	}
	room, end := maxDescription, ""
	if c.connected {
		end = "\n\n" + sign
		room -= len(end)
	}
	wiki := markup.Fit(markup.Parse(text), room, markup.Doc.JiraWiki) + end
	body, err := json.Marshal(map[string]string{"body": wiki})
	if err != nil {
		return integration.Unrenderable(err)
	}
	resp, failed := c.call(ctx, http.MethodPost, c.url("rest", "api", "2", "issue", name, "comment"), body)
	if failed != nil {
		return *failed
	}
	return refer(integration.Delivered().With(resp), name)
}

// update replaces what an issue says by what a newer message says. Labels, which people may have changed, stay.
func (c *client) update(ctx context.Context, name string, msg *integration.Message) integration.Result {
	f := c.settings.issue(msg, "", false).Fields
	body, err := json.Marshal(map[string]any{"fields": map[string]string{"summary": f.Summary, "description": f.Description}})
	if err != nil {
		return integration.Unrenderable(err)
	}
	resp, failed := c.call(ctx, http.MethodPut, c.url("rest", "api", "2", "issue", name), body)
	switch {
	case failed != nil && resp != nil && resp.Status == http.StatusBadRequest:
		return refused(resp)
	case failed != nil:
		return *failed
	}
	return refer(integration.Delivered().With(resp), name)
}

// step is a transition of an issue's workflow.
type step struct {
	ID   json.Number `json:"id"` // a number as text
	Name string      `json:"name"`
	To   struct {
		Name     string `json:"name"`
		Category struct {
			Key string `json:"key"`
		} `json:"statusCategory"`
	} `json:"to"`
}

// steps are what an issue can do from where it stands.
// https://developer.atlassian.com/cloud/jira/platform/rest/v2/api-group-issues/#api-rest-api-2-issue-issueidorkey-transitions-get
func (c *client) steps(ctx context.Context, name string) ([]step, *integration.Response, *integration.Result) {
	resp, failed := c.call(ctx, http.MethodGet, c.url("rest", "api", "2", "issue", name, "transitions"), nil)
	if failed != nil {
		return nil, resp, failed
	}
	var answer struct {
		Transitions []step `json:"transitions"`
	}
	if err := json.Unmarshal(resp.Body, &answer); err != nil {
		r := integration.UserError("%s answered with something that is not its own: check %s", partner, c.where()).With(resp)
		return nil, resp, &r
	}
	return answer.Transitions, resp, nil
}

// choose finds the transition of a name, before one that leads to a status of the name, or for any one that ends where it
// should.
func choose(all []step, name string, done bool) *step {
	fits := []func(*step) bool{
		func(s *step) bool { return strings.EqualFold(s.Name, name) },
		func(s *step) bool { return strings.EqualFold(s.To.Name, name) },
	}
	if isAny(name) {
		fits = []func(*step) bool{func(s *step) bool {
			return s.To.Category.Key != "" && (s.To.Category.Key == "done") == done
		}}
	}
	for _, fit := range fits {
		for i := range all {
			if fit(&all[i]) {
				return &all[i]
			}
		}
	}
	return nil
}

// transition resolves an issue by the name of a transition, which Jira knows by a number of its workflow, or opens it again.
// nil says that there is no such transition, which answered.
func (c *client) transition(ctx context.Context, name, wanted string, done bool) (*integration.Result, *integration.Response) {
	all, resp, failed := c.steps(ctx, name)
	if failed != nil {
		return failed, resp
	}
	t := choose(all, wanted, done)
	if t == nil {
		return nil, resp
	}
	body, err := json.Marshal(map[string]any{"transition": map[string]string{"id": t.ID.String()}})
	if err != nil {
		r := integration.Unrenderable(err)
		return &r, resp
	}
	if resp, failed = c.call(ctx, http.MethodPost, c.url("rest", "api", "2", "issue", name, "transitions"), body); failed != nil {
		return failed, resp
	}
	r := refer(integration.Delivered().With(resp), name)
	return &r, resp
}

// resolve makes an issue done.
func (c *client) resolve(ctx context.Context, name string) integration.Result {
	wanted := c.settings.resolveBy()
	r, resp := c.transition(ctx, name, wanted, true)
	switch {
	case r != nil:
		return *r
	case isAny(wanted):
		return integration.UserError("no transition of the open issue leads to a status that is done: name one in resolve_transition").With(resp)
	}
	return integration.UserError("the open issue has no transition %q from where it stands: check resolve_transition", wanted).With(resp)
}

func (c *client) test(ctx context.Context) integration.Result {
	if c.connected && c.settings.registers() {
		if failed := c.mayHear(); failed != nil {
			return *failed
		}
	}
	if _, failed := c.call(ctx, http.MethodGet, c.url("rest", "api", "2", "myself"), nil); failed != nil {
		return *failed
	}
	resp, failed := c.call(ctx, http.MethodGet, c.url("rest", "api", "2", "project", c.settings.ProjectKey), nil)
	switch {
	case failed != nil && resp != nil && resp.Status == http.StatusNotFound:
		return integration.UserError("%s has no project %s that the account may see (404): check project_key", partner, c.settings.ProjectKey).With(resp)
	case failed != nil:
		return *failed
	}
	var project struct {
		IssueTypes []named `json:"issueTypes"`
	}
	if json.Unmarshal(resp.Body, &project) == nil && len(project.IssueTypes) > 0 &&
		!slices.ContainsFunc(project.IssueTypes, func(t named) bool { return strings.EqualFold(t.Name, c.settings.IssueType) }) {
		return integration.UserError("project %s has no issue type %q: check issue_type", c.settings.ProjectKey, c.settings.IssueType).With(resp)
	}
	return integration.Delivered().With(resp)
}

// refer keeps the name of an issue for the thread's next message.
func refer(r integration.Result, name string) integration.Result {
	r.Reference = name
	return r
}
