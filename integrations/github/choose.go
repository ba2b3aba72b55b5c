package github

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// maxChoicePages bounds how much is looked through for one question.
const maxChoicePages = 3

// Choices offers repositories, and what is in the chosen one. What GitHub does not have to be asked for needs no account.
func (*GitHub) Choices(ctx context.Context, q *integration.ChoiceQuery) ([]integration.Choice, integration.Result) {
	c := &chooser{search: strings.ToLower(strings.TrimSpace(q.Search)), limit: q.Limit}
	switch q.Setting {
	case "receive":
		for _, t := range eventTypes() {
			c.add(strings.TrimPrefix(t.Key, Key+"."), t.Title, "")
		}
		c.add(none, "Nothing", "")
		return c.found, integration.Delivered()
	case "entries":
		c.add(entryCommits, "Commits pushed to the default branch", "")
		c.add(entryMerged, "Merged pull requests", "")
		c.add(entryClosed, "Closed issues", "")
		c.add(entryReleases, "Published releases", "")
		c.add(none, "Nothing", "")
		return c.found, integration.Delivered()
	}
	s := new(Settings)
	if len(q.Settings) > 0 {
		_ = json.Unmarshal(q.Settings, s) // what cannot be read is not known yet
	}
	if s.APIURL != "" && (integration.CheckURL(s.APIURL) != nil || integration.CheckBaseURL(s.APIURL) != nil) {
		return nil, integration.UserError("api_url is no address of an API")
	}
	a, failed := newAPI(s, q.Connection, q.Env)
	if failed != nil {
		return nil, *failed
	}
	if q.Setting != "repository" && checkRepository(s.Repository) != nil {
		return nil, integration.UserError("choose a repository first")
	}
	switch q.Setting {
	case "repository":
		failed = c.repositories(ctx, a)
	case "workflow":
		failed = c.workflows(ctx, a, s)
	case "ref":
		failed = c.named(ctx, a, s, "branches")
	case "labels":
		failed = c.named(ctx, a, s, "labels")
	case "assignees":
		failed = c.named(ctx, a, s, "assignees")
	default:
		return nil, integration.Misconfigured("%.64q has no choices", q.Setting)
	}
	if failed != nil {
		return nil, *failed
	}
	return c.found, integration.Delivered()
}

// chooser collects what fits a search.
type chooser struct {
	search string
	limit  int
	found  []integration.Choice
}

func (c *chooser) add(value, title, help string) {
	if c.full() || value == "" || c.search != "" && !strings.Contains(strings.ToLower(value+"\n"+title), c.search) {
		return
	}
	for i := range c.found {
		if c.found[i].Value == value {
			return
		}
	}
	c.found = append(c.found, integration.Choice{Value: value, Title: title, Help: help})
}

func (c *chooser) full() bool { return c.limit > 0 && len(c.found) >= c.limit }

type repositoryInfo struct {
	FullName    string `json:"full_name"`
	Private     bool   `json:"private"`
	Archived    bool   `json:"archived"`
	Permissions *struct {
		Admin bool `json:"admin"`
	} `json:"permissions"`
}

func (c *chooser) addRepository(r *repositoryInfo) {
	help := "public"
	if r.Private {
		help = "private"
	}
	if r.Archived {
		help += ", archived"
	}
	if r.Permissions != nil && !r.Permissions.Admin {
		help += ", not administered by you"
	}
	c.add(r.FullName, r.FullName, help)
}

// repositories offers those that the account has a part in, pushed to last first, and one that was named in full.
func (c *chooser) repositories(ctx context.Context, a *api) *integration.Result {
	if owner, name, _ := strings.Cut(c.search, "/"); repositoryForm.MatchString(c.search) {
		var r repositoryInfo
		switch _, failed := a.get(ctx, a.url("repos", owner, name), &r); {
		case failed == nil:
			c.addRepository(&r)
		case failed.Code != http.StatusNotFound:
			return failed
		}
	}
	return pages(ctx, a, a.url("user", "repos")+"?sort=pushed&per_page=100", func(all []repositoryInfo) bool {
		for i := range all {
			c.addRepository(&all[i])
		}
		return !c.full()
	})
}

// workflows offers workflows by the names of their files.
func (c *chooser) workflows(ctx context.Context, a *api, s *Settings) *integration.Result {
	var answer struct {
		Workflows []struct {
			Name, Path, State string
		} `json:"workflows"`
	}
	if _, failed := a.get(ctx, a.repository(s, "actions", "workflows")+"?per_page=100", &answer); failed != nil {
		return failed
	}
	for _, w := range answer.Workflows {
		help := ""
		if w.State != "" && w.State != "active" {
			help = strings.ReplaceAll(w.State, "_", " ")
		}
		c.add(path.Base(w.Path), w.Name, help)
	}
	return nil
}

// named offers the names in a list of the repository.
func (c *chooser) named(ctx context.Context, a *api, s *Settings, list string) *integration.Result {
	return pages(ctx, a, a.repository(s, list)+"?per_page=100", func(all []struct{ Name, Login string }) bool {
		for _, x := range all {
			c.add(x.Name+x.Login, x.Name+x.Login, "")
		}
		return !c.full()
	})
}

// pages reads the pages of a list while more says so.
func pages[T any](ctx context.Context, a *api, address string, more func([]T) bool) *integration.Result {
	for range maxChoicePages {
		var page []T
		resp, failed := a.get(ctx, address, &page)
		if failed != nil {
			return failed
		}
		if !more(page) {
			return nil
		}
		if address = a.nextPage(resp); address == "" {
			return nil
		}
	}
	return nil
}
