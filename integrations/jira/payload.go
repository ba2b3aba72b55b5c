package jira

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// payload is what we understand of a call.
// https://developer.atlassian.com/cloud/jira/platform/webhooks/ (section "Callback for an issue-related event")
type payload struct {
	Event     string      `json:"webhookEvent"`
	Timestamp json.Number `json:"timestamp"`
	User      *user       `json:"user"`
	Issue     struct {
		Self   string `json:"self"`
		Key    string `json:"key"`
		Fields struct {
			Summary text     `json:"summary"`
			Labels  []string `json:"labels"`
			Project struct {
				Key string `json:"key"`
			} `json:"project"`
			Status struct {
				Category struct {
					Key string `json:"key"`
				} `json:"statusCategory"`
			} `json:"status"`
			CategoryChanged text `json:"statuscategorychangedate"`
		} `json:"fields"`
	} `json:"issue"`
	Comment struct {
		Self         string `json:"self"`
		Body         text   `json:"body"`
		Author       *user  `json:"author"`
		UpdateAuthor *user  `json:"updateAuthor"`
	} `json:"comment"`
	Changelog struct {
		Items []change `json:"items"`
	} `json:"changelog"`
	// Matched are the app's webhooks that the call is for.
	Matched []json.Number `json:"matchedWebhookIds"`
}

// change is what became of one field.
type change struct {
	Field   string `json:"field"`
	FieldID string `json:"fieldId"`
}

// user is somebody: by an account's number at Jira Cloud, by key and name at Data Center.
type user struct {
	AccountID   string            `json:"accountId"`
	Key         string            `json:"key"`
	Name        string            `json:"name"`
	DisplayName string            `json:"displayName"`
	Email       string            `json:"emailAddress"`
	Type        string            `json:"accountType"`
	Avatars     map[string]string `json:"avatarUrls"`
}

func (u *user) id() string {
	switch {
	case u.AccountID != "":
		return u.AccountID
	case u.Key != "":
		return u.Key
	}
	return u.Name
}

// text is a text; what is none, such as a document with marks, is left out.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*t = text(s)
	}
	return nil
}

// readPayload returns a call's JSON, and what we understand of it.
func readPayload(body []byte) (map[string]json.RawMessage, *payload, error) {
	raw := bytes.Clone(bytes.TrimSpace(body))
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil || whole == nil {
		return nil, nil, errors.New("the call's body is no JSON object")
	}
	p := new(payload)
	var kind *json.UnmarshalTypeError
	if err := json.Unmarshal(raw, p); err != nil && !errors.As(err, &kind) { // what is of another kind than ours is left out
		return nil, nil, errors.New("the call's body is no JSON that can be read")
	}
	if p.Event == "" {
		return nil, nil, errors.New("the call has no webhookEvent: it is not one of Jira's")
	}
	return whole, p, nil
}

// address is where something of the call is, at the site that it comes from.
func (p *payload) address() string {
	if p.Issue.Self != "" {
		return p.Issue.Self
	}
	return p.Comment.Self
}

// base is the address of the site: what comes before the path of the API.
func (p *payload) base() string {
	address := p.address()
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	before, _, ok := strings.Cut(address, "/rest/")
	if !ok || integration.CheckURL(before) != nil || integration.CheckBaseURL(before) != nil {
		return ""
	}
	return before
}

// project is the key of the issue's project.
func (p *payload) project() string {
	if p.Issue.Fields.Project.Key != "" {
		return p.Issue.Fields.Project.Key
	}
	return p.Issue.Key[:max(0, strings.LastIndexByte(p.Issue.Key, '-'))]
}

// by is who did it.
func (p *payload) by(kind string) *user {
	switch {
	case kind == "comment_updated" && p.Comment.UpdateAuthor != nil:
		return p.Comment.UpdateAuthor
	case kind == "comment_deleted" && p.User != nil: // not whoever wrote it
		return p.User
	case kind == "comment_deleted":
		return nil
	case strings.HasPrefix(kind, "comment_") && p.Comment.Author != nil:
		return p.Comment.Author
	}
	return p.User
}

// occurredAt reads milliseconds; zero is when they are none.
func (p *payload) occurredAt() time.Time {
	ms, err := strconv.ParseInt(p.Timestamp.String(), 10, 64)
	if err != nil || ms <= 0 || ms > 253370764800000 { // the year 9999
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// isFor reports whether a call to the app's address is for a link: for the webhook that was registered for it. People on one
// site may see different things, so a call that does not say so is for nobody.
func (p *payload) isFor(c *integration.HookCall) bool {
	state := stateOf(c.State)
	if state.Kind != kindDynamic {
		return c.Connection == nil || len(dataOf(c.Connection.Data).Sites) == 0 || len(p.Matched) == 0
	}
	return slices.Contains(p.Matched, state.ID)
}
