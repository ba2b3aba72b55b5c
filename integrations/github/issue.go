package github

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

const (
	// issuePage and maxIssuePages bound the search for the issue of a thread whose number we do not know. A page holds
	// few, because each issue comes with its whole text.
	issuePage     = 20
	maxIssuePages = 5
)

// issue is what is read of an issue.
type issue struct {
	Number json.Number `json:"number"`
	State  string      `json:"state"`
	Body   string      `json:"body"`
	// PullRequest is there when it is one: in this list GitHub counts those among issues.
	PullRequest json.RawMessage `json:"pull_request"`
}

// newIssue is the body that creates an issue.
// https://docs.github.com/en/rest/issues/issues#create-an-issue
type newIssue struct {
	Title     string   `json:"title"`
	Body      string   `json:"body"`
	Labels    []string `json:"labels,omitempty"`
	Assignees []string `json:"assignees,omitempty"`
}

// change is the body that closes or opens one again.
type change struct {
	State       string `json:"state"`
	StateReason string `json:"state_reason"`
	Body        string `json:"body"`
}

type newComment struct {
	Body string `json:"body"`
}

// issue keeps one issue for each thread. The first message opens it, further ones comment on it, one that resolves closes
// it, and one that says that the matter is open again opens it again. What a person has closed stays closed: a message
// that says nothing of how the matter stands then opens a new one.
func (o *sender) issue(ctx context.Context) integration.Result {
	if o.d.Preview || o.m.Thread == "" {
		return o.create(ctx)
	}
	found, failed := o.find(ctx)
	if failed != nil {
		return *failed
	}
	resolved := o.m.Status == patchbay.StatusResolved
	switch {
	case found == nil && resolved:
		return integration.Delivered() // nothing is open that could be closed
	case found == nil:
		return o.create(ctx)
	case found.State == "closed" && resolved, found.State == "closed" && o.d.Stale:
		return refer(found)
	case found.State == "closed" && o.m.Status == "":
		return o.create(ctx)
	case found.State == "closed":
		// Opened first: when the comment fails, the next attempt finds it open, and comments.
		if failed := o.change(ctx, found, didReopen); failed != nil {
			return *failed
		}
	}
	if o.s.OnRepeat == repeatComment {
		address := o.repository(o.s, "issues", found.Number.String(), "comments")
		if _, failed := o.send(ctx, http.MethodPost, address, o.newComment()); failed != nil {
			return *failed
		}
	}
	if resolved && !o.d.Stale { // otherwise what came later than this says how the matter stands
		if failed := o.change(ctx, found, didClose); failed != nil {
			return *failed
		}
	}
	return refer(found)
}

// refer keeps the number of an issue for the thread's next message.
func refer(i *issue) integration.Result {
	r := integration.Delivered()
	if issueNumber.MatchString(i.Number.String()) {
		r.Reference = i.Number.String()
	}
	return r
}

func (o *sender) create(ctx context.Context) integration.Result {
	body := newIssue{
		Title:     markup.Clip(markup.Line(o.m.Title), maxTitle),
		Body:      o.text(markup.Describe(o.m), didOpen),
		Labels:    o.labels(),
		Assignees: o.s.Assignees,
	}
	resp, failed := o.send(ctx, http.MethodPost, o.repository(o.s, "issues"), o.body(body))
	if failed != nil {
		return o.refused(resp, failed)
	}
	var made issue
	_ = json.Unmarshal(resp.Body, &made) // it was created all the same; only the next message cannot refer to it
	r := refer(&made)
	return r.With(resp)
}

// refused says which setting is wrong when GitHub does not take a field.
func (o *sender) refused(resp *integration.Response, failed *integration.Result) integration.Result {
	_, fields := complaintOf(resp)
	for _, field := range fields {
		switch field {
		case "assignees", "assignee":
			return integration.UserError("%s does not let somebody in assignees be assigned in %s: check assignees",
				partner, o.s.Repository).With(resp)
		case "labels", "label":
			return integration.UserError("%s does not take a label: check labels", partner).With(resp)
		}
	}
	return *failed
}

func (o *sender) newComment() newComment {
	text := markup.Describe(o.m)
	if !markup.Parse(text).Says(o.m.Title) {
		text = "**" + markup.Escape(markup.Line(o.m.Title)) + "**\n\n" + text
	}
	return newComment{o.text(text, didComment)}
}

// text renders a text, with the link's note and our marker below it.
func (o *sender) text(text patchbay.Markdown, did string) string {
	below := "\n\n" + marker(did, o.m.Thread)
	if note := strings.TrimSpace(o.s.Note); note != "" {
		below = "\n\n" + markup.Clip(note, maxBody/2) + below
	}
	return markup.Fit(markup.Parse(text), maxBody-utf8.RuneCountInString(below), markup.Doc.CommonMark) + below
}

func (o *sender) change(ctx context.Context, i *issue, did string) *integration.Result {
	c := change{State: "closed", StateReason: "completed", Body: remark(i.Body, did, o.m.Thread)}
	if did == didReopen {
		c.State, c.StateReason = "open", "reopened"
	}
	_, failed := o.send(ctx, http.MethodPatch, o.repository(o.s, "issues", i.Number.String()), c)
	if failed == nil {
		i.State, i.Body = c.State, c.Body
	}
	return failed
}

// find returns the issue of the thread, or nil. The number that the last message of the thread left is looked at first.
func (o *sender) find(ctx context.Context) (*issue, *integration.Result) {
	if issueNumber.MatchString(o.d.Reference) {
		var i issue
		resp, failed := o.get(ctx, o.repository(o.s, "issues", o.d.Reference), &i)
		switch {
		case failed == nil:
			i.Number = json.Number(o.d.Reference)
			return &i, nil
		case !gone(resp):
			return nil, failed
		}
	}
	return o.search(ctx)
}

// gone reports whether an issue is not there any more: deleted, or moved to another repository.
// https://docs.github.com/en/rest/issues/issues#get-an-issue
func gone(resp *integration.Response) bool {
	return resp != nil &&
		(resp.Status == http.StatusNotFound || resp.Status == http.StatusGone || resp.Status == http.StatusMovedPermanently)
}

// search looks through the newest issues for the marker of the thread. One that is open comes before those that are not.
func (o *sender) search(ctx context.Context) (*issue, *integration.Result) {
	query := url.Values{"state": {"all"}, "sort": {"created"}, "direction": {"desc"}, "per_page": {strconv.Itoa(issuePage)}}
	if o.login != "" {
		query.Set("creator", o.login)
	}
	var closed *issue
	next := o.repository(o.s, "issues") + "?" + query.Encode()
	for range maxIssuePages {
		resp, failed := o.call(ctx, http.MethodGet, next, nil)
		if failed != nil {
			return nil, failed
		}
		var page []issue
		if !resp.Truncated { // else these are longer than what we read of an answer, and not ours: ours are found by number
			if failed := read(resp, &page); failed != nil {
				return nil, failed
			}
		}
		for i := range page {
			found := &page[i]
			switch {
			case found.PullRequest != nil || !marks(found.Body, o.m.Thread):
			case found.State != "closed":
				return found, nil
			case closed == nil:
				closed = found
			}
		}
		if next = o.nextPage(resp); next == "" {
			break
		}
	}
	return closed, nil
}
