// Package pivotaltracker writes stories into Pivotal Tracker, or into anything that answers like its API, version 5.
// Stories of one thread carry the thread's name as a label: while one of them is neither delivered nor accepted, a
// further message of the thread marks it as repeated and makes no second one.
package pivotaltracker

import (
	"context"
	"errors"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// Key names the integration in the API.
const Key = "pivotal_tracker"

// partner is how messages call the service.
const partner = "Pivotal Tracker"

// The limits of the API, in characters.
const (
	maxName        = 5000
	maxDescription = 20000
	maxComment     = 20000
	maxLabel       = 255
)

// maxLabels bounds how many labels of a found story are kept when it is marked; Pivotal Tracker has no such limit,
// but an answer is not ours.
const maxLabels = 100

// Tracker is the integration.
type Tracker struct{}

// New returns the integration.
func New() *Tracker { return &Tracker{} }

// Settings are a link's settings.
type Settings struct {
	ProjectID   string             `json:"project_id"`
	APIToken    integration.Secret `json:"api_token"`
	BaseURL     string             `json:"base_url"`
	RepeatLabel string             `json:"repeat_label"`
}

// Definition declares the integration.
func (*Tracker) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       partner,
		Category:    "tracker",
		Description: "Creates a story in a Pivotal Tracker project, and labels it when the same thing happens again.",
		Docs:        docs,
		Settings: integration.Spec{
			{
				Key: "project_id", Title: "Project ID for new stories to be posted", Type: integration.TypeString,
				Required: true, Example: "2345678", Check: checkProject,
				Help: "The number in the address of the project.",
			},
			{
				Key: "api_token", Title: "Pivotal Tracker API token", Type: integration.TypeString, Required: true, Secret: true,
				Help: "Found at the end of your Pivotal Tracker profile.",
			},
			{
				Key: "base_url", Title: "Address of Pivotal Tracker", Type: integration.TypeURL, Target: true,
				Default: "https://www.pivotaltracker.com", Check: integration.CheckBaseURL,
				Help: "Only for a service that answers like Pivotal Tracker.",
			},
			{
				Key: "repeat_label", Title: "Label for what happens again", Type: integration.TypeString,
				Default: "RepeatedFailures",
				Help:    "An open story of the same matter gets this label, and no second story is made.",
			},
		},
		Decode:  integration.Into[Settings],
		Threads: true,
	}
}

func checkProject(value any) error {
	id, _ := value.(string)
	for _, r := range id {
		if !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_') {
			return errors.New("must be the project's number, without slashes or spaces")
		}
	}
	return nil
}

// ShortName describes a link in a few words.
func (*Tracker) ShortName(settings any) string {
	return partner + " " + settings.(*Settings).ProjectID
}

// Destination says where a link leads.
func (*Tracker) Destination(settings any) string {
	return "project " + settings.(*Settings).ProjectID
}

// Target names the project.
func (*Tracker) Target(settings any) string {
	s := settings.(*Settings)
	return strings.ToLower(strings.TrimRight(s.BaseURL, "/")) + " " + s.ProjectID
}

// Send looks for an open story of the message's thread. It labels the one that it finds, and creates one otherwise.
func (*Tracker) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	msg, err := d.Message()
	if err != nil {
		return integration.Unrenderable(err)
	}
	c := client{d: d, settings: d.Settings.(*Settings)}
	label := labelOf(msg.Thread)
	if label == "" || d.Preview {
		return c.create(ctx, msg, label)
	}
	found, failed := c.find(ctx, label)
	switch {
	case failed != nil:
		return *failed
	case found == nil:
		return c.create(ctx, msg, label)
	}
	return c.mark(ctx, found, label)
}

// newStory is the body that creates a story.
type newStory struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	StoryType   string    `json:"story_type"`
	Labels      []string  `json:"labels"`
	Comments    []comment `json:"comments,omitempty"`
}

type comment struct {
	Text string `json:"text"`
}

func storyOf(msg *integration.Message, label string) newStory {
	s := newStory{
		Name:        markup.Clip(markup.Line(msg.Title), maxName),
		Description: markup.Fit(markup.Parse(markup.Describe(msg)), maxDescription, markup.Doc.CommonMark),
		StoryType:   "bug",
		Labels:      addLabels(nil, label),
	}
	for _, l := range msg.Labels {
		s.Labels = addLabels(s.Labels, labelOf(l))
	}
	if text := shortFields(msg); text != "" {
		s.Comments = []comment{{text}}
	}
	return s
}

// shortFields writes the short fields (an environment, a branch) as the first comment of a story, where people who
// read its history look for them. A message that wants only some of them there has short ones of its own for this
// integration.
func shortFields(msg *integration.Message) string {
	var lines []string
	for _, f := range msg.Fields {
		if f.Short {
			lines = append(lines, string(markup.Escape(markup.Line(f.Title)))+": "+strings.TrimSpace(string(f.Value)))
		}
	}
	doc := markup.Parse(patchbay.Markdown(strings.Join(lines, "\n")))
	return markup.Fit(doc, maxComment, markup.Doc.CommonMark)
}

// labelOf makes a label of a text: Pivotal Tracker's hold no commas, and a double quote could not be searched for.
func labelOf(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == ',' || r == '"' {
			return ' '
		}
		return r
	}, s)
	return markup.Clip(markup.Line(s), maxLabel)
}

// addLabels appends what labels does not have yet. Pivotal Tracker takes labels that differ in case for one.
func addLabels(labels []string, more ...string) []string {
next:
	for _, l := range more {
		if l == "" {
			continue
		}
		for _, have := range labels {
			if strings.EqualFold(have, l) {
				continue next
			}
		}
		labels = append(labels, l)
	}
	return labels
}

const docs = `Creates a **story** of type bug in a project. Its name is the message's title and its description the
message's text, fields and links; short fields also stand in its first comment.

A message with a *thread* finds its story again: the thread is the story's first label. Before it creates anything,
Patchbay searches for a story with that label that is neither delivered nor accepted. If there is one, it gets the
label ` + "`RepeatedFailures`" + ` (setting ` + "`repeat_label`" + `) beside those that it has. A message without a
thread always makes a new story.

Pivotal Tracker closed in April 2025. The integration is for installations of services that took over its API: give
their address as ` + "`base_url`" + `.
`
