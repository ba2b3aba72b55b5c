// Package jira connects projects at Jira Cloud and Jira Data Center, both ways. What goes out becomes an issue; issues of one
// thread carry the thread's name as a label: while one of them is not done, a further message of the thread creates no second
// one. What happens there comes in through a webhook, as events such as jira.issue_created and as entries of the people who got
// something done. It signs in with OAuth 2.0, with OAuth 1.0a (RSA-SHA1), with an e-mail address and an API token, or with a
// personal access token.
package jira

import (
	"context"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// Key names the integration in the API.
const Key = "jira"

// partner is how messages call the service.
const partner = "Jira"

// The limits of the API, in characters.
const (
	maxSummary     = 255
	maxDescription = 32767
	maxLabel       = 255
)

// Jira is the integration.
type Jira struct{}

// New returns the integration.
func New() *Jira { return &Jira{} }

// Definition declares the integration.
func (*Jira) Definition() *integration.Definition {
	return &integration.Definition{
		Key:      Key,
		Title:    partner,
		Category: "tracker",
		Description: "Creates an issue in a Jira project, Cloud or Data Center, unless there is an open one of the same matter, and brings in what " +
			"happens in the project, as events and as entries of who got it done.",
		Docs:     docs,
		Settings: settingsSpec(),
		Decode:   integration.Into[Settings],
		Threads:  true,
		Config:   configSpec(),
		Types:    eventTypes(),
		Hooked:   func(settings any) bool { return settings.(*Settings).receives() },
	}
}

// ShortName describes a link in a few words.
func (*Jira) ShortName(settings any) string {
	return partner + " " + settings.(*Settings).ProjectKey
}

// Destination says where a link leads.
func (*Jira) Destination(settings any) string {
	s := settings.(*Settings)
	host := s.Site
	if u, err := url.Parse(s.BaseURL); err == nil && u.Host != "" {
		host = u.Host
	}
	if host == "" {
		return s.ProjectKey
	}
	return s.ProjectKey + " on " + host
}

// Target names the project.
func (*Jira) Target(settings any) string {
	s := settings.(*Settings)
	at := s.BaseURL
	if at == "" {
		at = s.Site
	}
	return strings.ToLower(strings.TrimRight(at, "/")) + " " + s.ProjectKey
}

// Send looks for an open issue of the message's thread. It creates one when there is none; otherwise it transitions
// or comments that one, when the link says so, and leaves it alone when not.
func (*Jira) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	msg, err := d.Message()
	if err != nil {
		return integration.Unrenderable(err)
	}
	c, failed := newClient(d)
	if failed != nil {
		return *failed
	}
	label := labelOf(msg.Thread)
	if label == "" || d.Preview {
		return c.create(ctx, msg, label)
	}
	found, failed := c.find(ctx, label)
	if failed != nil {
		return *failed
	}
	resolves := msg.Status == patchbay.StatusResolved && !isNone(c.settings.resolveBy())
	if found == nil || !found.open() {
		return c.begin(ctx, msg, label, found, resolves)
	}
	name := found.name()
	switch {
	case name == "":
	case resolves && !d.Stale: // otherwise what came later than this says where the matter stands
		return c.resolve(ctx, name)
	case resolves:
	case c.settings.repeat() == repeatComment || c.settings.repeat() == repeatUpdate && d.Stale:
		return c.comment(ctx, name, msg)
	case c.settings.repeat() == repeatUpdate:
		return c.update(ctx, name, msg)
	}
	return refer(integration.Delivered(), name)
}

// begin takes up a matter of which nothing is open: in the issue that is done, when the link says so, otherwise in a new one.
func (c *client) begin(ctx context.Context, msg *integration.Message, label string, done *issue, resolves bool) integration.Result {
	known := done != nil && done.name() != ""
	switch {
	case resolves && known:
		return refer(integration.Delivered(), done.name())
	case resolves:
		return integration.Delivered() // nothing is open that could be resolved
	case known && c.d.Stale: // what came later than this has resolved it
		return refer(integration.Delivered(), done.name())
	case !known || c.settings.ReopenTransition == "" || isNone(c.settings.ReopenTransition):
		return c.create(ctx, msg, label)
	}
	r, _ := c.transition(ctx, done.name(), c.settings.ReopenTransition, false)
	switch {
	case r == nil: // its workflow does not let it be opened from here
		return c.create(ctx, msg, label)
	case r.Verdict != patchbay.VerdictDelivered:
		return *r
	}
	switch c.settings.repeat() {
	case repeatComment:
		return c.comment(ctx, done.name(), msg)
	case repeatUpdate:
		return c.update(ctx, done.name(), msg)
	}
	return *r
}

// Test signs in and looks at the project.
func (*Jira) Test(ctx context.Context, d *integration.Delivery) integration.Result {
	c, failed := newClient(d)
	if failed != nil {
		return *failed
	}
	return c.test(ctx)
}

// newIssue is the body that creates an issue.
type newIssue struct {
	Fields issueFields `json:"fields"`
}

type issueFields struct {
	Project     keyed    `json:"project"`
	IssueType   named    `json:"issuetype"`
	Summary     string   `json:"summary"`
	Description string   `json:"description"`
	Labels      []string `json:"labels,omitempty"`
	Priority    *named   `json:"priority,omitempty"`
}

type (
	keyed struct {
		Key string `json:"key"`
	}
	named struct {
		Name string `json:"name"`
	}
)

// ourLabel is on every issue that is made over a connection, for the same reason as sign.
const ourLabel = "patchbay"

func (s *Settings) issue(msg *integration.Message, label string, connected bool) newIssue {
	f := issueFields{
		Project:     keyed{s.ProjectKey},
		IssueType:   named{s.IssueType},
		Summary:     markup.Clip(markup.Line(msg.Title), maxSummary),
		Description: markup.Fit(markup.Parse(markup.Describe(msg)), maxDescription, markup.Doc.JiraWiki),
		Labels:      addLabels(nil, label),
	}
	f.Labels = addLabels(f.Labels, s.Labels...)
	f.Labels = addLabels(f.Labels, msg.Labels...)
	if connected {
		f.Labels = addLabels(f.Labels, ourLabel)
	}
	if s.Priority != "" {
		f.Priority = &named{s.Priority}
	}
	return newIssue{f}
}

// labelOf makes a label of a text: Jira's hold no white space.
func labelOf(s string) string {
	return markup.Clip(strings.ReplaceAll(markup.Line(s), " ", "-"), maxLabel)
}

// addLabels appends what labels does not have yet.
func addLabels(labels []string, more ...string) []string {
next:
	for _, l := range more {
		if l = labelOf(l); l == "" {
			continue
		}
		for _, have := range labels {
			if have == l {
				continue next
			}
		}
		labels = append(labels, l)
	}
	return labels
}
