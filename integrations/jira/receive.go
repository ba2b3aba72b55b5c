package jira

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/integration/signature"
)

// headerIdentifier names a call, the same when it is made again. Where the body is signed it is no identifier for us: the
// signature does not cover it, so whoever got hold of a call could send it again under other ones; the body, which is the same
// again, says which call it is.
// https://developer.atlassian.com/cloud/jira/platform/webhooks/ (section "Webhook headers")
const headerIdentifier = "X-Atlassian-Webhook-Identifier"

// Verification says that calls of the app's webhooks carry a token signed with the app's client secret, and those of
// webhooks that an administrator of Jira Cloud made are signed with the link's. Data Center's are proven by the address.
func (*Jira) Verification(c *integration.HookCall) integration.Verification {
	if c.Link == 0 {
		v := integration.Verification{Scheme: signature.JiraOAuth2()}
		if config, err := readConfig(c.Config); err == nil && config.ClientSecret != "" {
			v.Secrets = []integration.Secret{config.ClientSecret}
		}
		return v
	}
	if !callerIsCloud(c) {
		return integration.Verification{}
	}
	scheme, _ := signature.Named("jira")
	return integration.Verification{Scheme: scheme, Secrets: c.Secrets}
}

// callerIsCloud reports whether a link's Jira is Atlassian's cloud. What is not known is: then a call must be signed.
func callerIsCloud(c *integration.HookCall) bool {
	s, ok := c.Settings.(*Settings)
	switch {
	case !ok || s.BaseURL == "" && c.Connection == nil:
		return true
	case s.BaseURL != "":
		return s.cloud()
	}
	base := dataOf(c.Connection.Data).BaseURL
	return base == "" || isCloud(base)
}

// Open reads what a call is, and at our own address which site it comes from.
func (*Jira) Open(c *integration.HookCall) (*integration.Envelope, error) {
	_, p, err := readPayload(c.Body)
	if err != nil {
		return nil, err
	}
	e := &integration.Envelope{Type: p.Event}
	if c.Link == 0 || !callerIsCloud(c) {
		e.Key = c.Header.Get(headerIdentifier)
	}
	if c.Link == 0 {
		e.Account = hostOf(p.address())
	}
	return e, nil
}

// Read makes one event of a call, with the entry that it tells.
func (*Jira) Read(_ context.Context, c *integration.HookCall) (*integration.Reading, error) {
	s, ok := c.Settings.(*Settings)
	if !ok {
		return nil, errors.New("a call can be read only for a link")
	}
	raw, p, err := readPayload(c.Body)
	if err != nil {
		return nil, err
	}
	kind := strings.TrimPrefix(p.Event, "jira:")
	ignored := func(format string, args ...any) (*integration.Reading, error) {
		return &integration.Reading{Ignored: fmt.Sprintf(format, args...)}, nil
	}
	switch {
	case !slices.Contains(eventNames(), kind) || !s.takes(kind):
		return ignored("%.64q is not among what this link receives", p.Event)
	case !strings.EqualFold(p.project(), s.ProjectKey):
		return ignored("it is about another project")
	case !p.isFor(c):
		return ignored("it is for the webhook of another link")
	}
	r := &reader{call: c, kind: kind, p: p, s: s, site: p.base()}
	in := integration.Inbound{Type: Key + "." + kind, Payload: r.payload(raw), Actor: r.person(p.by(kind)), OccurredAt: p.occurredAt(), Own: r.own()}
	if !in.Own {
		in.Entry = r.entry()
	}
	return &integration.Reading{Events: []integration.Inbound{in}}, nil
}

// reader makes an event of one call.
type reader struct {
	call *integration.HookCall
	kind string
	p    *payload
	s    *Settings
	site string
}

// payload is what Jira sent, with the page of the issue, whose address it does not tell.
func (r *reader) payload(raw map[string]json.RawMessage) json.RawMessage {
	if page := r.page(); page != "" {
		quoted, err := json.Marshal(page)
		if err == nil {
			raw["browse_url"] = quoted
		}
	}
	out, err := json.Marshal(raw)
	if err != nil {
		return nil
	}
	return out
}

func (r *reader) page() string {
	if r.site == "" || r.p.Issue.Key == "" {
		return ""
	}
	return integration.JoinURL(r.site, "browse", r.p.Issue.Key)
}

// person is somebody at Jira.
func (r *reader) person(u *user) *integration.Person {
	if u == nil || u.id() == "" && u.DisplayName == "" {
		return nil
	}
	p := &integration.Person{ID: u.id(), Name: markup.Line(u.DisplayName), Email: u.Email, Avatar: u.Avatars["48x48"]}
	if r.site != "" && u.AccountID != "" {
		p.URL = integration.JoinURL(r.site, "jira", "people", u.AccountID)
	}
	return p
}

// own reports whether we did it ourselves over the link's connection: its person made an issue that carries our label or
// changed one, or wrote a comment that ends as ours do. What that person does to such an issue by hand is taken for ours too:
// Jira does not say through which app something was done.
func (r *reader) own() bool {
	if r.call.Connection == nil || r.s.BaseURL != "" {
		return false
	}
	mine := dataOf(r.call.Connection.Data).Person
	by := r.p.by(r.kind)
	if mine == "" || by == nil || by.id() != mine {
		return false
	}
	if strings.HasPrefix(r.kind, "comment_") {
		return strings.Contains(lastLine(string(r.p.Comment.Body)), strings.Trim(sign, "~"))
	}
	return slices.Contains(r.p.Issue.Fields.Labels, ourLabel)
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// entry is what a person got done: an issue that this call moved to a status that is done.
func (r *reader) entry() *integration.Entry {
	p, f := r.p, &r.p.Issue.Fields
	by := p.by(r.kind)
	moved := slices.ContainsFunc(p.Changelog.Items, func(i change) bool { return i.Field == "status" || i.FieldID == "status" })
	summary := markup.Line(string(f.Summary))
	switch {
	case r.kind != "issue_updated" || !r.s.tellsEntries() || !moved || f.Status.Category.Key != "done" || summary == "":
		return nil
	case by == nil || by.Type == "app": // https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-users/ (accountType)
		return nil
	}
	// From one status that is done to another nothing more gets done: then the category changed at another time.
	if at := p.occurredAt(); !at.IsZero() {
		if changed, err := time.Parse(timeForm, string(f.CategoryChanged)); err == nil && at.Sub(changed).Abs() > time.Minute {
			return nil
		}
	}
	return &integration.Entry{
		Text: markup.Clip(p.Issue.Key+": "+summary, maxEntryText), ExternalID: p.Issue.Key, ExternalURL: r.page(), Author: r.person(by),
	}
}

// maxEntryText is in characters.
const maxEntryText = 500

// timeForm is how Jira writes times.
const timeForm = "2006-01-02T15:04:05.000-0700"
