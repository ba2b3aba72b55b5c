package slack

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Channels are listed page by page; Slack cannot search. A page of this size stays below integration.MaxResponse, and
// twenty requests a minute are allowed. https://docs.slack.dev/reference/methods/conversations.list
const (
	pageSize = 500
	maxPages = 10
)

// conversation is a channel as conversations.list shows it.
type conversation struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Private  bool   `json:"is_private"`
	Member   bool   `json:"is_member"`
	Archived bool   `json:"is_archived"`
}

// page is an answer of conversations.list.
type page struct {
	Channels []conversation `json:"channels"`
	Metadata struct {
		Next string `json:"next_cursor"`
	} `json:"response_metadata"`
}

// Choices implements integration.Chooser for the channels to post to and to listen in.
func (*Slack) Choices(ctx context.Context, q *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
	switch {
	case q.Setting != "channel" && q.Setting != "receive_channels":
		return nil, integration.Misconfigured("Slack knows no values for the setting %s", clip(q.Setting, 64))
	case q.Connection == nil:
		return nil, integration.UserError("connect Slack to choose among its channels, or write the channel's name")
	}
	var found []conversation
	cursor := ""
	for range maxPages {
		p, r := listChannels(ctx, q, cursor)
		if r.Verdict != patchbay.VerdictDelivered {
			if len(found) > 0 && r.Throttled {
				break // some are better than none
			}
			return nil, explain(r)
		}
		for _, c := range p.Channels {
			if !c.Archived && c.matches(q.Search) && channelID.MatchString(c.ID) {
				found = append(found, c)
			}
		}
		if cursor = p.Metadata.Next; cursor == "" || q.Limit > 0 && len(found) >= q.Limit {
			break
		}
	}
	return choices(found, q), integration.Delivered()
}

func listChannels(ctx context.Context, q *integration.ChoiceQuery, cursor string) (*page, integration.Result) {
	types := "public_channel,private_channel"
	if grants := q.Connection.Grants; len(grants) > 0 && !slices.Contains(grants, "groups:read") {
		types = "public_channel" // asking for more than was granted is refused
	}
	query := url.Values{"types": {types}, "exclude_archived": {"true"}, "limit": {strconv.Itoa(pageSize)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if team := readAccount(q.Connection.Data).Team.ID; team != "" {
		query.Set("team_id", team) // needed with tokens of an organisation, ignored with others
	}
	c := q.Connection.Credentials
	var p page
	_, _, r := do(ctx, q.Env, method{name: "conversations.list", http: http.MethodGet, query: query.Encode(), token: tokenOf(c.Extra, c.Access)}, &p)
	return &p, r
}

// explain says what a person at a form can do.
func explain(r integration.Result) integration.Result {
	if r.Throttled {
		r.Error = "Slack limits how often its channels may be listed: try again in " +
			strconv.Itoa(max(1, int(math.Ceil(r.RetryAfter.Seconds())))) + " seconds, or write the channel's name"
	}
	return r
}

func (c *conversation) matches(search string) bool {
	search = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(search), "#"))
	return strings.Contains(strings.ToLower(c.Name), search) || strings.EqualFold(c.ID, search)
}

// choices puts those first whose name is what was searched for or begins so.
func choices(found []conversation, q *integration.ChoiceQuery) []integration.Choice {
	search := strings.ToLower(strings.TrimPrefix(strings.TrimSpace(q.Search), "#"))
	rank := func(c *conversation) int {
		switch name := strings.ToLower(c.Name); {
		case name == search:
			return 0
		case strings.HasPrefix(name, search):
			return 1
		}
		return 2
	}
	slices.SortFunc(found, func(a, b conversation) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	out := []integration.Choice{}
	for _, c := range found {
		if q.Limit > 0 && len(out) == q.Limit {
			break
		}
		choice := integration.Choice{Value: choiceValue(&c), Title: "#" + c.Name}
		switch {
		case c.Private:
			choice.Help = "private"
		case !c.Member:
			choice.Help = "the app is not a member"
		}
		out = append(out, choice)
	}
	return out
}

// choiceValue spells a channel so that people read its name and Slack gets its ID, which stays when it is renamed.
func choiceValue(c *conversation) string {
	if value := "#" + c.Name + " (" + c.ID + ")"; channelBoth.MatchString(value) && !strings.Contains(value, ",") {
		return value
	}
	return c.ID
}
