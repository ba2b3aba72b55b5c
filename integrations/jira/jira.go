// Package jira creates issues in Jira Cloud and Jira Data Center. Issues of one thread carry the thread's name as a
// label: while one of them is not done, a further message of the thread creates no second one. It signs in with
// OAuth 1.0a (RSA-SHA1), with an e-mail address and an API token, or with a personal access token.
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
		Key:         Key,
		Title:       partner,
		Category:    "tracker",
		Description: "Creates an issue in a Jira project, Cloud or Data Center, unless there is an open one of the same matter.",
		Docs:        docs,
		Settings:    settingsSpec(),
		Decode:      integration.Into[Settings],
		Threads:     true,
		Config: integration.Spec{
			{
				Key: "consumer_key", Title: "OAuth consumer key", Type: integration.TypeString,
				Help: "The key of the application link in Jira. Signs for links with oauth_settings; a call's own oauth_consumer comes first.",
			},
			{
				Key: "private_key", Title: "OAuth private key", Type: integration.TypeText, Secret: true, Signing: true,
				Help: "The RSA private key of the application link, in PEM.",
			},
		},
	}
}

// ShortName describes a link in a few words.
func (*Jira) ShortName(settings any) string {
	return partner + " " + settings.(*Settings).ProjectKey
}

// Destination says where a link leads.
func (*Jira) Destination(settings any) string {
	s := settings.(*Settings)
	if u, err := url.Parse(s.BaseURL); err == nil {
		return s.ProjectKey + " on " + u.Host
	}
	return s.ProjectKey
}

// Target names the project.
func (*Jira) Target(settings any) string {
	s := settings.(*Settings)
	return strings.ToLower(strings.TrimRight(s.BaseURL, "/")) + " " + s.ProjectKey
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
	resolves := msg.Status == patchbay.StatusResolved && c.settings.ResolveTransition != ""
	switch {
	case failed != nil:
		return *failed
	case found == nil && resolves:
		return integration.Delivered() // nothing is open that could be resolved
	case found == nil:
		return c.create(ctx, msg, label)
	}
	name := found.name()
	switch {
	case name == "":
	case resolves && !d.Stale: // otherwise what came later than this says where the matter stands
		return c.transition(ctx, name)
	case !resolves && c.settings.CommentOnRepeat:
		return c.comment(ctx, name, msg)
	}
	return refer(integration.Delivered(), name)
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

func (s *Settings) issue(msg *integration.Message, label string) newIssue {
	f := issueFields{
		Project:     keyed{s.ProjectKey},
		IssueType:   named{s.IssueType},
		Summary:     markup.Clip(markup.Line(msg.Title), maxSummary),
		Description: markup.Fit(markup.Parse(markup.Describe(msg)), maxDescription, markup.Doc.JiraWiki),
		Labels:      addLabels(nil, label),
	}
	f.Labels = addLabels(f.Labels, s.Labels...)
	f.Labels = addLabels(f.Labels, msg.Labels...)
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

const docs = `Creates an **issue** in a project. Its summary is the message's title, its description the message's text,
fields and links. The labels are the message's *thread*, those of the link, and those of the message, in this order;
spaces in them become ` + "`-`" + `.

Before it creates an issue for a message with a thread, Patchbay searches the project for one with that label that is
not done. If there is one, nothing is created, and the delivery has succeeded. Two settings change that:

- ` + "`comment_on_repeat`" + ` adds the message to the open issue as a comment.
- ` + "`resolve_transition`" + ` names the transition (` + "`Done`" + `, ` + "`Resolve Issue`" + `, …) that a message with
  the status *resolved* makes. Then such a message never creates an issue.

A search that fails ends the attempt: with the wrong credentials or address it is refused, otherwise it is tried
again. No issue is created on a guess.

### Signing in

Give exactly one of these:

- ` + "`email`" + ` and ` + "`api_token`" + `, for Jira Cloud.
- ` + "`token`" + `, a personal access token, for Jira Data Center.
- ` + "`oauth_settings`" + `, for an application link with OAuth 1.0a: the access token and its secret. Requests are signed
  with RSA-SHA1 and the consumer that comes with an inline call (` + "`oauth_consumer`" + `), or else with that of the
  operator (` + "`integrations.jira.consumer_key`" + ` and ` + "`private_key`" + `).

A host that ends in ` + "`.atlassian.net`" + ` is Jira Cloud, every other one Data Center. The account needs the rights to
browse projects and to create issues.
`
