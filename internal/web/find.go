package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/links"
)

// findPage offers what a few words may mean, where that is not certain.
type findPage struct {
	Query string
	Found []foundGroup
	// Events is the search in the payloads, Hint what can be looked for.
	Events string
}

// foundGroup are the things of one kind that were found.
type foundGroup struct {
	Title string
	Items []foundItem
}

type foundItem struct {
	Title, Href, Note string
	// Code says that the title is a name in the API.
	Code bool
}

// findMost bounds each kind of what is found.
const findMost = 12

// whereItIs are the pages of identifiers, by their prefixes. A %s is the identifier; those that have no page of their own
// stand in a list.
var whereItIs = []struct{ prefix, before string }{
	{"evt_", "/events/"}, {"dlv_", "/deliveries/"}, {"lnk_", "/links/"}, {"con_", "/connections/"}, {"job_", "/jobs/"},
	{"hok_", "/hooks/"}, {"key_", "/keys#"}, {"ses_", "/installation#"}, {"aud_", "/audit#"},
}

// find leads to what was asked for: an identifier's page at once, and so a type, a pattern and a scope; what could be
// several things is offered. What nothing is called like is looked for in the events.
func (c *call) find() error {
	if err := c.forOperators(); err != nil {
		return err
	}
	q := strings.TrimSpace(c.r.FormValue("q"))
	if len(q) > maxSearchText {
		q = strings.ToValidUTF8(q[:maxSearchText], "")
	}
	if q == "" {
		return c.show(http.StatusOK, "find", &page{Title: "Find", Body: &findPage{}})
	}
	if to := identified(q); to != "" {
		return c.redirect(to)
	}
	if t := c.o.Catalog.Type(q); t != nil {
		return c.redirect("/catalog/" + t.Key())
	}
	if p, err := patchbay.ParsePattern(q); err == nil && strings.Contains(q, "*") && !p.Literal() {
		return c.redirect(link("/events", "type", q))
	}
	body := &findPage{Query: q, Events: link("/events", "text", q)}
	scope, err := c.foundScope(q)
	switch {
	case err != nil:
		return err
	case scope != nil && strings.Contains(q, "/"):
		return c.redirect(scope.Href)
	case scope != nil:
		body.Found = append(body.Found, foundGroup{"Scopes", []foundItem{*scope}})
	}
	body.Found = append(body.Found, c.foundByName(strings.ToLower(q))...)
	if len(body.Found) == 0 {
		return c.redirect(body.Events)
	}
	return c.show(http.StatusOK, "find", &page{Title: "Find " + q, Body: body})
}

// identified returns the page of an identifier; "" when a text is none. The page says when there is nothing of that name.
func identified(text string) string {
	for _, w := range whereItIs {
		if rest, ok := strings.CutPrefix(text, w.prefix); ok && len(rest) == len("01h2xcejqtf2n") && !strings.ContainsFunc(rest, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z')
		}) {
			return w.before + text
		}
	}
	return ""
}

// foundScope returns a scope in which, or below which, there are links; nil when there are none.
func (c *call) foundScope(text string) (*foundItem, error) {
	scope, err := patchbay.ParseScope(strings.Trim(text, "/"))
	if err != nil || scope == "" || !c.who.Sees(scope) {
		return nil, nil //nolint:nilerr // then it is not a scope that is meant
	}
	views, more, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Scope: &scope, Limit: findMost})
	if err != nil || len(views) == 0 {
		return nil, err
	}
	note := count(len(views), "link", "links") + " at or below"
	if more {
		note = "more than " + note
	}
	return &foundItem{Title: string(scope), Href: link("/links", "scope", string(scope)), Note: note, Code: true}, nil
}

// foundByName finds pages, event types and integrations by a part of what they are called.
func (c *call) foundByName(part string) (out []foundGroup) {
	add := func(title string, items []foundItem) {
		if len(items) > 0 {
			out = append(out, foundGroup{title, items[:min(len(items), findMost)]})
		}
	}
	like := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(strings.ToLower(n), part) })
	}
	var pages, types, tools []foundItem
	for _, g := range navigation() {
		for _, i := range g.Items {
			if like(i.Title) {
				pages = append(pages, foundItem{Title: i.Title, Href: i.Href})
			}
		}
	}
	for _, t := range c.o.Catalog.Types() {
		if like(t.Key(), t.Title()) {
			types = append(types, foundItem{Title: t.Key(), Href: "/catalog/" + t.Key(), Note: t.Title(), Code: true})
		}
	}
	for _, i := range c.o.Integrations {
		if d := i.Definition(); like(d.Key, d.Title) {
			tools = append(tools, foundItem{Title: d.Title, Href: "/integrations/" + d.Key, Note: d.Description})
		}
	}
	add("Pages", pages)
	add("Event types", types)
	add("Integrations", tools)
	return out
}
