package github

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

// The limits of the API.
const (
	// maxTitle and maxBody are in characters; GitHub says so when it refuses longer ones (422).
	maxTitle = 256
	maxBody  = 65536
	// maxDescription is that of a commit status, in characters.
	maxDescription = 140
	// maxContext is that of a commit status, in characters.
	maxContext = 255
	// maxEventType and maxClientPayload bound a repository dispatch, in characters and bytes.
	// https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event
	maxEventType     = 100
	maxClientPayload = 64<<10 - 1
	// maxLabel is that of a label's name, in characters.
	maxLabel = 50
)

// sender makes the calls of one delivery.
type sender struct {
	*api
	d *integration.Delivery
	s *Settings
	m *integration.Message
}

// Send does what the link's mode says.
func (*GitHub) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*Settings)
	if s.Mode == ModeNone {
		return integration.Misconfigured("this link sends nothing: its mode is none")
	}
	m, err := d.Message()
	if err != nil {
		return integration.Unrenderable(err)
	}
	a, failed := newAPI(s, d.Connection, d.Env)
	if failed != nil {
		return *failed
	}
	out := &sender{api: a, d: d, s: s, m: m}
	switch s.Mode {
	case ModeIssue:
		return out.issue(ctx)
	case ModeComment:
		return out.comment(ctx)
	case ModeStatus:
		return out.status(ctx)
	case ModeRepositoryDispatch:
		return out.repositoryDispatch(ctx)
	case ModeWorkflowDispatch:
		return out.workflowDispatch(ctx)
	}
	return integration.Misconfigured("this link has the mode %.64q, which there is not", string(s.Mode))
}

// body returns the link's own body for the event, or else the one that is given.
func (o *sender) body(ours any) any {
	if o.d.Body != nil {
		return o.d.Body
	}
	return ours
}

// issueNumber is what the setting issue must become.
var issueNumber = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

func (o *sender) comment(ctx context.Context) integration.Result {
	number, err := expand("issue", o.s.Issue, o.d.Event)
	if err != nil {
		return integration.Misconfigured("%v", err)
	}
	if number = strings.TrimPrefix(strings.TrimSpace(number), "#"); !issueNumber.MatchString(number) {
		return integration.Misconfigured("issue becomes %.64q with this event, which is no number of an issue", number)
	}
	_, failed := o.send(ctx, http.MethodPost, o.repository(o.s, "issues", number, "comments"), o.body(o.newComment()))
	if failed != nil {
		return *failed
	}
	return integration.Delivered()
}

// sha is a whole hash, SHA-1 or SHA-256.
var sha = regexp.MustCompile(`^(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$`)

// newStatus is a commit status.
// https://docs.github.com/en/rest/commits/statuses#create-a-commit-status
type newStatus struct {
	State       string `json:"state"`
	TargetURL   string `json:"target_url,omitempty"`
	Description string `json:"description,omitempty"`
	Context     string `json:"context"`
}

func (o *sender) status(ctx context.Context) integration.Result {
	commit, err := expand("sha", o.s.SHA, o.d.Event)
	if err != nil {
		return integration.Misconfigured("%v", err)
	}
	if !sha.MatchString(commit) {
		return integration.Misconfigured("sha becomes %.80q with this event, which is no whole hash of a commit", commit)
	}
	name, err := expand("context", o.s.Context, o.d.Event)
	if err != nil {
		return integration.Misconfigured("%v", err)
	}
	status := newStatus{
		State:       stateOfCommit(o.m),
		Description: markup.Clip(markup.Line(o.m.Title), maxDescription),
		Context:     markup.Clip(markup.Line(name), maxContext),
	}
	for _, l := range o.m.Links {
		if address, ok := markup.Address(l.URL); ok && strings.HasPrefix(address, "http") {
			status.TargetURL = address
			break
		}
	}
	resp, failed := o.send(ctx, http.MethodPost, o.repository(o.s, "statuses", commit), o.body(status))
	if said, _ := complaintOf(resp); failed != nil && strings.Contains(said, "no commit found") {
		return integration.UserError("%s has no commit %s: check sha", o.s.Repository, commit).With(resp)
	}
	if failed != nil {
		return *failed
	}
	return integration.Delivered()
}

// stateOfCommit says how a commit stands: what resolves or succeeds is success, what is only told is still pending.
func stateOfCommit(m *integration.Message) string {
	switch {
	case m.Status == patchbay.StatusResolved || m.Severity == patchbay.SeveritySuccess:
		return "success"
	case m.Severity == patchbay.SeverityCritical:
		return "error"
	case m.Severity == patchbay.SeverityError || m.Severity == patchbay.SeverityWarning:
		return "failure"
	}
	return "pending"
}

// clientPayload is what workflows find in github.event.client_payload: never more than ten keys.
type clientPayload struct {
	ID         string          `json:"id"`
	Event      string          `json:"event"`
	Scope      string          `json:"scope"`
	OccurredAt string          `json:"occurred_at"`
	Title      string          `json:"title"`
	Actor      json.RawMessage `json:"actor,omitempty"`
	Payload    json.RawMessage `json:"payload"`
}

func (o *sender) repositoryDispatch(ctx context.Context) integration.Result {
	e := o.d.Event
	name := e.Type
	if o.s.EventType != "" {
		var err error
		if name, err = expand("event_type", o.s.EventType, e); err != nil {
			return integration.Misconfigured("%v", err)
		}
	}
	if name = markup.Line(name); name == "" || len([]rune(name)) > maxEventType {
		return integration.Misconfigured("event_type must have between 1 and %d characters, and becomes %.120q with this event",
			maxEventType, name)
	}
	payload := clientPayload{
		ID: e.Subject().String(), Event: e.Type, Scope: string(e.Scope), Title: markup.Line(o.m.Title),
		OccurredAt: e.OccurredAt.UTC().Format("2006-01-02T15:04:05.999Z07:00"), Payload: object(e.Payload),
	}
	if len(e.Actor) > 0 {
		payload.Actor = object(e.Actor)
	}
	raw, err := encode(payload)
	if err != nil {
		return integration.Unrenderable(err)
	}
	if len(raw) > maxClientPayload && o.d.Body == nil {
		return integration.Misconfigured("the event takes %d bytes, and %s takes less than 64 KiB in a repository_dispatch: "+
			"give the link a body of its own", len(raw), partner)
	}
	dispatch := struct {
		EventType     string          `json:"event_type"`
		ClientPayload json.RawMessage `json:"client_payload"`
	}{name, raw}
	if _, failed := o.send(ctx, http.MethodPost, o.repository(o.s, "dispatches"), o.body(dispatch)); failed != nil {
		return *failed
	}
	return integration.Delivered()
}

// object returns JSON that can stand in an object; events that try a link out have an empty payload.
func object(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}

func (o *sender) workflowDispatch(ctx context.Context) integration.Result {
	ref, err := expand("ref", o.s.Ref, o.d.Event)
	if err != nil {
		return integration.Misconfigured("%v", err)
	}
	dispatch := struct {
		Ref    string            `json:"ref"`
		Inputs map[string]string `json:"inputs,omitempty"`
	}{Ref: markup.Line(ref)}
	for name, text := range o.s.Inputs {
		value, err := expand("inputs."+name, text, o.d.Event)
		if err != nil {
			return integration.Misconfigured("%v", err)
		}
		if dispatch.Inputs == nil {
			dispatch.Inputs = map[string]string{}
		}
		dispatch.Inputs[name] = value
	}
	resp, failed := o.send(ctx, http.MethodPost, o.repository(o.s, "actions", "workflows", o.s.Workflow, "dispatches"), o.body(dispatch))
	if failed == nil {
		return integration.Delivered()
	}
	switch said, _ := complaintOf(resp); {
	case strings.Contains(said, "unexpected inputs") || strings.Contains(said, "required input"):
		return integration.UserError("the workflow %s does not take these inputs: check inputs against its workflow_dispatch",
			o.s.Workflow).With(resp)
	case strings.Contains(said, "workflow_dispatch"):
		return integration.UserError("the workflow %s does not run on workflow_dispatch: add that to its file", o.s.Workflow).With(resp)
	case strings.Contains(said, "no ref found"):
		return integration.UserError("%s has no branch or tag %.100q: check ref", o.s.Repository, dispatch.Ref).With(resp)
	case strings.Contains(said, "disabled"):
		return integration.UserError("the workflow %s is disabled at %s", o.s.Workflow, partner).With(resp)
	}
	return *failed
}

// labels are the link's, then the message's.
func (o *sender) labels() []string {
	out := []string{}
	for _, l := range slices.Concat(o.s.Labels, o.m.Labels) {
		l = markup.Clip(markup.Line(l), maxLabel)
		if l != "" && !slices.ContainsFunc(out, func(have string) bool { return strings.EqualFold(have, l) }) {
			out = append(out, l)
		}
	}
	return out
}
