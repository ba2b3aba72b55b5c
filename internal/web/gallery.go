package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// galleryPage is the list of integrations, by category.
type galleryPage struct {
	Query  string
	Scope  patchbay.Scope
	Groups []galleryGroup
	Shown  int
	// May says that the viewer can add links.
	May bool
}

type galleryGroup struct {
	Title string
	Items []galleryItem
}

type galleryItem struct {
	Key, Title, Description string
	// Words are what the search looks at.
	Words    string
	Supports []string
	// Links is how many there are in the scope.
	Links int
	// Add is the address of the form.
	Add string
}

// categories are the words for the categories of definitions, in the order in which they are shown.
var categories = []struct{ key, title string }{
	{"chat", "Chat"}, {"code", "Code"}, {"tracker", "Issue trackers"}, {"email", "E-mail"}, {"automation", "Automation"},
	{"built-in", "Built in"},
}

func categoryTitle(key string) string {
	for _, c := range categories {
		if c.key == key {
			return c.title
		}
	}
	if key == "" {
		return "Others"
	}
	return strings.ToUpper(key[:1]) + strings.ReplaceAll(key[1:], "_", " ")
}

func (c *call) gallery() error {
	scope := c.who.Scope
	if text := c.r.FormValue("scope"); text != "" {
		asked, err := patchbay.ParseScope(text)
		if err != nil {
			return err
		}
		if err := c.who.Reach(asked); err != nil {
			return patchbay.Errorf(patchbay.CodeForbidden, "%s is not among what you may see", scopeName(asked))
		}
		scope = asked
	}
	counts, err := c.o.Links.Count(c.r.Context(), c.who, scope)
	if err != nil {
		return err
	}
	body := &galleryPage{Query: strings.TrimSpace(c.r.FormValue("q")), Scope: scope, May: c.who.May(access.Manage)}
	words := strings.Fields(strings.ToLower(body.Query))
	for _, group := range c.groups() {
		var items []galleryItem
		for _, i := range group.items {
			d := i.Definition()
			item := galleryItem{
				Key: d.Key, Title: d.Title, Description: d.Description, Supports: supports(i), Links: counts[d.Key],
				Add: link("/integrations/"+d.Key+"/link", "scope", string(scope)),
			}
			item.Words = strings.ToLower(strings.Join([]string{d.Key, d.Title, d.Description, d.Category, group.title}, " "))
			if c.o.Kinds.Takes(d, scope) && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(item.Words, w) }) {
				items = append(items, item)
			}
		}
		if len(items) > 0 {
			body.Groups = append(body.Groups, galleryGroup{group.title, items})
			body.Shown += len(items)
		}
	}
	return c.show(http.StatusOK, "gallery", &page{Title: "Integrations", Nav: "integrations", Body: body})
}

type group struct {
	title string
	items []integration.Integration
}

// groups sorts the integrations by category.
func (c *call) groups() []group {
	var out []group
	add := func(i integration.Integration) {
		title := categoryTitle(i.Definition().Category)
		at := slices.IndexFunc(out, func(g group) bool { return g.title == title })
		if at < 0 {
			at = len(out)
			out = append(out, group{title: title})
		}
		out[at].items = append(out[at].items, i)
	}
	for _, known := range categories {
		for _, i := range c.o.Integrations {
			if i.Definition().Category == known.key {
				add(i)
			}
		}
	}
	for _, i := range c.o.Integrations {
		if !slices.ContainsFunc(categories, func(k struct{ key, title string }) bool { return k.key == i.Definition().Category }) {
			add(i)
		}
	}
	return out
}

// supports says in words what an integration does.
func supports(i integration.Integration) []string {
	var out []string
	for _, s := range integration.Supports(i) {
		switch s {
		case integration.CanSend:
			out = append(out, "Sends")
		case integration.CanHook:
			out = append(out, "Receives")
		case integration.CanConnect:
			out = append(out, "Connects accounts")
		case integration.CanThread:
			out = append(out, "Keeps threads")
		}
	}
	return out
}
