package pivotaltracker

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// finalStates are the states in which a story is over, so that what happens again deserves a new one.
const finalStates = "delivered,accepted"

// maxStory is how much of an answer about one story is read: its description is in it. A search may answer with
// several, so of that everything is read.
const maxStory = 128 << 10

// maxID bounds a story's number, which goes into addresses and is kept as a reference.
const maxID = 32

// client makes the calls of one delivery.
type client struct {
	d        *integration.Delivery
	settings *Settings
}

// story is what is read of a story. The project's number and ids come as numbers or as text.
type story struct {
	ID     id      `json:"id"`
	State  string  `json:"current_state"`
	Labels []label `json:"labels"`
}

// id is a story's number.
type id string

// UnmarshalJSON reads a number or text.
func (i *id) UnmarshalJSON(b []byte) error {
	var n json.Number
	if err := json.Unmarshal(b, &n); err == nil {
		*i = id(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(i))
}

// label is a label's name, however an answer spells labels: as an object or as the name alone.
type label string

// UnmarshalJSON reads both spellings.
func (l *label) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var object struct{ Name string }
		err := json.Unmarshal(b, &object)
		*l = label(object.Name)
		return err
	}
	return json.Unmarshal(b, (*string)(l))
}

func (s *story) has(name string) bool {
	for _, l := range s.Labels {
		if strings.EqualFold(string(l), name) {
			return true
		}
	}
	return false
}

// find returns the open story with a label, nil when there is none, or the result with which the attempt ends. What
// the search says counts. When it finds nothing, the story that this link made last for the thread is looked at: a
// search index runs behind.
func (c client) find(ctx context.Context, name string) (*story, *integration.Result) {
	query := "label:" + quote(name) + " -state:" + finalStates
	resp, failed := c.call(ctx, &integration.Request{
		Method: http.MethodGet, URL: c.url("search") + "?query=" + url.QueryEscape(query),
	})
	if failed != nil {
		return nil, failed
	}
	var answer struct {
		Stories struct {
			Stories []story `json:"stories"`
		} `json:"stories"`
	}
	if err := json.Unmarshal(resp.Body, &answer); err != nil {
		r := integration.UserError("%s answered the search with something that is not its own: check base_url", partner).With(resp)
		return nil, &r
	}
	for i := range answer.Stories.Stories {
		if s := &answer.Stories.Stories[i]; s.ID != "" && len(s.ID) <= maxID {
			return s, nil
		}
	}
	if c.d.Reference == "" {
		return nil, nil
	}
	return c.last(ctx, name)
}

// last returns the story that Delivery.Reference names, when it is still open and carries the label.
func (c client) last(ctx context.Context, name string) (*story, *integration.Result) {
	resp, failed := c.call(ctx, &integration.Request{
		Method: http.MethodGet, URL: c.url("stories", c.d.Reference), Limit: maxStory,
	})
	if failed != nil {
		if failed.Verdict == patchbay.VerdictRetry {
			return nil, failed
		}
		return nil, nil // deleted, or moved to another project
	}
	var s story
	if json.Unmarshal(resp.Body, &s) != nil || string(s.ID) != c.d.Reference || !s.has(name) {
		return nil, nil
	}
	for final := range strings.SplitSeq(finalStates, ",") {
		if s.State == final {
			return nil, nil
		}
	}
	return &s, nil
}

// mark adds the label for what happens again. The API replaces all labels, so those that are there go along.
func (c client) mark(ctx context.Context, s *story, name string) integration.Result {
	var labels []string
	for _, l := range s.Labels[:min(len(s.Labels), maxLabels)] {
		labels = addLabels(labels, string(l))
	}
	labels = addLabels(labels, name, labelOf(c.settings.RepeatLabel))
	body, err := json.Marshal(map[string]any{"labels": labels})
	if err != nil {
		return integration.Unrenderable(err)
	}
	resp, failed := c.call(ctx, &integration.Request{
		Method: http.MethodPut, URL: c.url("stories", string(s.ID)), Body: body, Limit: maxStory,
	})
	if failed != nil {
		return *failed
	}
	return delivered(resp, s.ID)
}

func (c client) create(ctx context.Context, msg *integration.Message, name string) integration.Result {
	body := []byte(c.d.Body)
	if body == nil {
		var err error
		if body, err = json.Marshal(storyOf(msg, name)); err != nil {
			return integration.Unrenderable(err)
		}
	}
	resp, failed := c.call(ctx, &integration.Request{
		Method: http.MethodPost, URL: c.url("stories"), Body: body, Limit: maxStory,
	})
	if failed != nil {
		return *failed
	}
	var made story
	if json.Unmarshal(resp.Body, &made) != nil {
		made.ID = "" // it was created all the same; only the next message cannot refer to it
	}
	return delivered(resp, made.ID)
}

func delivered(resp *integration.Response, made id) integration.Result {
	r := integration.Delivered().With(resp)
	if len(made) <= maxID {
		r.Reference = string(made)
	}
	return r
}

// call makes one request. Any answer but 2xx comes back as the result with which the attempt ends.
func (c client) call(ctx context.Context, req *integration.Request) (*integration.Response, *integration.Result) {
	token := c.settings.APIToken.Reveal()
	req.Secret = []string{token}
	req.Header.Set("X-TrackerToken", token)
	req.Header.Set("Accept", "application/json")
	if req.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.d.Env.HTTP.Do(ctx, req)
	if err != nil {
		r := integration.Unreachable(partner, err)
		return nil, &r
	}
	r := integration.Classify(partner, resp)
	switch {
	case r.Verdict == patchbay.VerdictDelivered:
		return resp, nil
	case resp.Status == http.StatusForbidden || resp.Status == http.StatusUnauthorized:
		r = integration.UserError("%s refused the token (%d): check api_token, and that it may write to project %s",
			partner, resp.Status, c.settings.ProjectID).With(resp)
	case resp.Status == http.StatusNotFound:
		r = integration.UserError("%s has no project %s (404): check project_id and base_url", partner, c.settings.ProjectID).With(resp)
	}
	return nil, &r
}

func (c client) url(path ...string) string {
	return integration.JoinURL(c.settings.BaseURL, append([]string{"services", "v5", "projects", c.settings.ProjectID}, path...)...)
}

// quote writes a label for the search. A plain word stays as it is; anything else is quoted, so that it is never
// read as an operator.
func quote(name string) string {
	for i, r := range name {
		plain := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && (r == '_' || r == '-' || r == '.')
		if !plain {
			return `"` + strings.ReplaceAll(name, `"`, "") + `"`
		}
	}
	return name
}
