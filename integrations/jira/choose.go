package jira

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Choices offers sites, projects, and what is in the chosen project.
func (*Jira) Choices(ctx context.Context, q *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
	c := &chooser{search: strings.ToLower(strings.TrimSpace(q.Search)), limit: q.Limit}
	s := new(Settings)
	if len(q.Settings) > 0 {
		_ = json.Unmarshal(q.Settings, s) // what cannot be read is not known yet
	}
	switch q.Setting {
	case "receive":
		for _, t := range eventTypes() {
			c.add(strings.TrimPrefix(t.Key, Key+"."), t.Title, "")
		}
		c.add(none, "Nothing", "")
		return c.found, integration.Delivered()
	case "site":
		if q.Connection != nil {
			for _, one := range dataOf(q.Connection.Data).Sites {
				c.add(one.host(), one.Name, "")
			}
		}
		return c.found, integration.Delivered()
	}
	if s.BaseURL != "" && (integration.CheckURL(s.BaseURL) != nil || integration.CheckBaseURL(s.BaseURL) != nil || s.Validate() != nil) {
		return nil, integration.UserError("give jira_base_url and one way to sign in first")
	}
	a, failed := reach(s, q.Connection, q.Env, nil, false)
	if failed != nil {
		return nil, *failed
	}
	if failed = c.ask(ctx, a, q); failed != nil {
		return nil, *failed
	}
	return c.found, integration.Delivered()
}

func (c *chooser) ask(ctx context.Context, a *client, q *integration.ChoiceQuery) *integration.Result {
	s := a.settings
	switch q.Setting {
	case "project_key":
		return c.projects(ctx, a)
	case "priority":
		return c.named(ctx, a, a.url("rest", "api", "2", "priority"))
	}
	if s.ProjectKey == "" {
		r := integration.UserError("choose a project first")
		return &r
	}
	switch q.Setting {
	case "issue_type":
		var project struct {
			IssueTypes []struct {
				Name    string `json:"name"`
				Subtask bool   `json:"subtask"`
			} `json:"issueTypes"`
		}
		if _, failed := a.get(ctx, a.url("rest", "api", "2", "project", s.ProjectKey), &project); failed != nil {
			return failed
		}
		for _, t := range project.IssueTypes {
			if !t.Subtask { // it needs a parent
				c.add(t.Name, t.Name, "")
			}
		}
		return nil
	case "resolve_transition":
		return c.statuses(ctx, a, true)
	case "reopen_transition":
		return c.statuses(ctx, a, false)
	}
	r := integration.Misconfigured("%.64q has no choices", q.Setting)
	return &r
}

// chooser collects what fits a search.
type chooser struct {
	search string
	limit  int
	found  []integration.Choice
}

func (c *chooser) add(value, title, help string) {
	if c.limit > 0 && len(c.found) >= c.limit || value == "" ||
		c.search != "" && !strings.Contains(strings.ToLower(value+"\n"+title), c.search) {
		return
	}
	for i := range c.found {
		if c.found[i].Value == value {
			return
		}
	}
	c.found = append(c.found, integration.Choice{Value: value, Title: title, Help: help})
}

type projectInfo struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

// projects offers those that the account may browse. Jira Cloud searches, Data Center lists them all.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-projects/#api-rest-api-3-project-search-get
func (c *chooser) projects(ctx context.Context, a *client) *integration.Result {
	var all []projectInfo
	var failed *integration.Result
	if a.cloud {
		var page struct {
			Values []projectInfo `json:"values"`
		}
		query := url.Values{"maxResults": {"50"}, "orderBy": {"name"}}
		if c.search != "" {
			query.Set("query", c.search)
		}
		_, failed = a.get(ctx, a.url("rest", "api", "3", "project", "search")+"?"+query.Encode(), &page)
		all = page.Values
	} else {
		_, failed = a.get(ctx, a.url("rest", "api", "2", "project"), &all)
	}
	for _, p := range all {
		c.add(p.Key, p.Name, "")
	}
	return failed
}

func (c *chooser) named(ctx context.Context, a *client, address string) *integration.Result {
	var all []named
	_, failed := a.get(ctx, address, &all)
	for _, x := range all {
		c.add(x.Name, x.Name, "")
	}
	return failed
}

// statuses offers those that are done, or are not. Jira names transitions only for an issue that there is; ours may be named
// by the status that they lead to.
// https://developer.atlassian.com/cloud/jira/platform/rest/v2/api-group-projects/#api-rest-api-2-project-projectidorkey-statuses-get
func (c *chooser) statuses(ctx context.Context, a *client, done bool) *integration.Result {
	var types []struct {
		Statuses []struct {
			Name     string `json:"name"`
			Category struct {
				Key string `json:"key"`
			} `json:"statusCategory"`
		} `json:"statuses"`
	}
	if _, failed := a.get(ctx, a.url("rest", "api", "2", "project", a.settings.ProjectKey, "statuses"), &types); failed != nil {
		return failed
	}
	c.add(anyTransition, "Whichever leads there", "")
	c.add(none, "None", "")
	for _, t := range types {
		for _, s := range t.Statuses {
			if (s.Category.Key == "done") == done {
				c.add(s.Name, s.Name, "status")
			}
		}
	}
	return nil
}
