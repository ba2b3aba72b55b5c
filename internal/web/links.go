package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

const (
	// linksShown is how many links a list shows at a time, inheritedShown how many of those that a scope inherits.
	linksShown     = 50
	inheritedShown = 20
	// branchesShown is how many scopes one level of the tree shows at a time; scopes further up show so many beside the way
	// only when there are no more.
	branchesShown   = 60
	branchesAbove   = 25
	branchesAtOnce  = 20  // of a scope that is folded, and comes with the page all the same
	branchesBudgets = 150 // of all those together
)

// linksPage is every link, by scope.
type linksPage struct {
	Scope  patchbay.Scope
	Title  string
	Crumbs []crumb
	Tree   *branch
	// OnlyTree leaves the rest of the page out: a script has asked for a part of the tree.
	OnlyTree bool
	Filter   linksFilter
	Filtered bool
	States   []stateTab
	// Integrations can be chosen from.
	Integrations []option
	// Found is the list where something is searched for, or everything is listed.
	Found *linkList
	// Otherwise these are the scope's own links, what it inherits, and some of what is below.
	Own, Inherited, Below *linkList
	// Settings is the scope's own page, Add the gallery for it.
	Settings, Add string
	May           bool
	// Nothing says that there is no link at all that the viewer sees.
	Nothing bool
}

// linksFilter is what the address selects, as it was written.
type linksFilter struct{ Q, Scope, Integration, State string }

// stateTab leads to the links that are in a condition.
type stateTab struct {
	Title, Href, Kind, N string
	Chosen               bool
}

// linkList is a part of the page. Scoped says that its links are of several scopes.
type linkList struct {
	Title, Caption string
	Lines          []linkLine
	Scoped         bool
	// Next leads on, First back to the beginning.
	Next, First string
	// All is how many there are, when that is known and more than are shown.
	All string
}

// branch is a scope in the tree.
type branch struct {
	Title, Href string
	Scope       patchbay.Scope
	// Links is how many there are at or below it.
	Links string
	// Kind is the colour of the worst that is at or below it, Words say it.
	Kind, Words  string
	Chosen, Open bool
	Branches     []*branch
	// Folded says that there are scopes below; Lazy is where a script gets them when they are not here.
	Folded bool
	Lazy   string
	// Before and After lead to those that are not shown, Rest says what they are.
	Before, After, Rest string
}

// conditionWords are the words for conditions and their colours.
var conditionWords = map[links.Condition][2]string{
	links.Failing: {"bad", "Need attention"}, links.Changing: {"accent", "Changing"}, links.Paused: {"warn", "Paused"},
	links.Off: {"", "Off"}, links.Working: {"ok", "Working"},
}

// stateAny is the state that selects every link: to see all of them in one list.
const stateAny = "any"

func (f *linksFilter) pairs() []string {
	return []string{"scope", f.Scope, "q", f.Q, "integration", f.Integration, "state", f.State}
}

// linkTree is the page of all links.
func (c *call) linkTree() error {
	if err := c.forOperators(); err != nil {
		return err
	}
	get := func(name string) string { return strings.TrimSpace(c.r.FormValue(name)) }
	f := linksFilter{Q: get("q"), Scope: get("scope"), Integration: get("integration"), State: get("state")}
	scope, err := c.scopeParameter(f.Scope)
	if err != nil {
		return err
	}
	if scope == "" {
		scope = c.who.Scope
	}
	if _, known := conditionWords[links.Condition(f.State)]; !known && f.State != "" && f.State != stateAny {
		return patchbay.Invalid("state", "must be one of failing, changing, paused, off, working and any, or be left out")
	}
	f.Scope = string(scope)
	body := &linksPage{
		Scope: scope, Title: "Links", Filter: f, Filtered: f.Q != "" || f.Integration != "" || f.State != "", Crumbs: c.treeCrumbs(scope),
		Settings: settingsPath(scope), Add: link("/integrations", "scope", string(scope)), May: c.who.May(access.Manage), OnlyTree: get("only") == "tree",
	}
	if scope != "" {
		body.Title = "Links of " + lastOf(scope)
	}
	if body.Tree, err = c.tree(scope, get("from")); err != nil {
		return err
	}
	if !body.OnlyTree {
		if err := c.treeSide(body); err != nil {
			return err
		}
	}
	title := body.Title
	if scope != "" { // the scope's own page has that title
		title += ", by scope"
	}
	return c.show(http.StatusOK, "links", &page{Title: title, Nav: "settings", Body: body})
}

// treeCrumbs are the scopes on the way down, as places in the tree.
func (c *call) treeCrumbs(scope patchbay.Scope) []crumb {
	out := c.crumbs(scope)
	at := c.who.Scope
	for i := range out {
		if i > 0 {
			at = below(at, out[i].Title)
		}
		out[i].Href = treePath(at)
	}
	return out
}

// below is the scope with a name below another.
func below(scope patchbay.Scope, name string) patchbay.Scope {
	if scope == "" {
		return patchbay.Scope(name)
	}
	return scope + "/" + patchbay.Scope(name)
}

// treePath is the address of a scope in the tree.
func treePath(scope patchbay.Scope) string { return link("/links", "scope", string(scope)) }

// treeSide fills in what stands beside the tree.
func (c *call) treeSide(body *linksPage) error {
	ctx := c.r.Context()
	at, err := c.o.Links.Branch(ctx, c.who, body.Scope)
	if err != nil {
		return err
	}
	c.stateTabs(body, &at.Tally)
	counts, err := c.o.Links.Count(ctx, c.who, body.Scope)
	if err != nil {
		return err
	}
	body.Integrations = []option{{Title: "Any"}}
	for _, i := range c.o.Integrations {
		if d := i.Definition(); counts[d.Key] > 0 || d.Key == body.Filter.Integration {
			body.Integrations = append(body.Integrations, option{Value: d.Key, Title: d.Title, Chosen: d.Key == body.Filter.Integration})
		}
	}
	if body.Filtered {
		f := links.ListFilter{Scope: &body.Scope, Search: body.Filter.Q, Integration: body.Filter.Integration, Limit: linksShown}
		if body.Filter.State != stateAny {
			f.Condition = links.Condition(body.Filter.State)
		}
		body.Found, err = c.linkList(f, "Links at or below "+scopeName(body.Scope), body.Filter.pairs())
		if body.Found != nil {
			body.Found.Scoped = true
		}
		return err
	}
	if body.Own, err = c.linkList(links.ListFilter{Scope: &body.Scope, Own: true, Limit: linksShown}, "Links of "+scopeName(body.Scope), body.Filter.pairs()); err != nil {
		return err
	}
	if err := c.treeInherited(body); err != nil {
		return err
	}
	if below := at.Tally.Links - at.Own; below > 0 && c.r.FormValue("after") == "" {
		return c.treeBelow(body, below)
	}
	body.Nothing = at.Tally.Links == 0 && body.Inherited == nil
	return nil
}

// stateTabs counts the links at and below the scope by how they are.
func (c *call) stateTabs(body *linksPage, t *links.Tally) {
	f := body.Filter
	f.State = stateAny
	body.States = []stateTab{{Title: "All", Href: link("/links", f.pairs()...), N: figure(int64(t.Links)), Chosen: body.Filter.State == stateAny}}
	for _, condition := range links.Conditions() {
		if n := t.Of(condition); n > 0 || body.Filter.State == string(condition) {
			f.State = string(condition)
			w := conditionWords[condition]
			body.States = append(body.States, stateTab{w[1], link("/links", f.pairs()...), w[0], figure(int64(n)), body.Filter.State == string(condition)})
		}
	}
}

// linkList reads a page of links; pairs are what its address holds beside where it goes on. nil where there are none.
func (c *call) linkList(f links.ListFilter, caption string, pairs []string) (*linkList, error) {
	after := c.r.FormValue("after")
	if after != "" && f.After.UnmarshalText([]byte(after)) != nil {
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a link", clip(after))
	}
	views, more, err := c.o.Links.List(c.r.Context(), c.who, f)
	if err != nil || len(views) == 0 && after == "" {
		return nil, err
	}
	out := &linkList{Caption: caption}
	if out.Lines, err = c.lines(views); err != nil {
		return nil, err
	}
	if more {
		out.Next = link("/links", append(slices.Clone(pairs), "after", views[len(views)-1].ID.String())...)
	}
	if after != "" {
		out.First = link("/links", pairs...)
	}
	return out, nil
}

// treeInherited fills in what the scope inherits.
func (c *call) treeInherited(body *linksPage) error {
	if body.Scope == "" || c.r.FormValue("after") != "" {
		return nil
	}
	views, more, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Scope: &body.Scope, Effective: true, Overridden: true, Limit: mostShown})
	if err != nil {
		return err
	}
	views = slices.DeleteFunc(views, func(v links.View) bool { return v.Scope == body.Scope })
	if len(views) == 0 {
		return nil
	}
	all := ""
	if len(views) > inheritedShown || more {
		all = count(len(views), "link", "links")
		if more {
			all = "More than " + all
		}
		views = views[:min(len(views), inheritedShown)]
	}
	out := &linkList{Title: "Inherited", Caption: "Links that " + scopeName(body.Scope) + " inherits", Scoped: true, All: all}
	if out.Lines, err = c.lines(views); err != nil {
		return err
	}
	for i := range out.Lines {
		if l := &out.Lines[i]; l.Overridden {
			l.Kind, l.Badge, l.linkRow.Health = "", "Replaced here", ""
		}
	}
	body.Inherited = out
	return nil
}

// treeBelow fills in some of the links below a scope: those that need somebody, or the first.
func (c *call) treeBelow(body *linksPage, all int) error {
	ctx := c.r.Context()
	first := links.ListFilter{Scope: &body.Scope, Below: true, Condition: links.Failing, Limit: inheritedShown}
	views, _, err := c.o.Links.List(ctx, c.who, first)
	if err != nil {
		return err
	}
	title := "Below, and in need of attention"
	if len(views) == 0 {
		title = "Below"
		first.Condition = ""
		if views, _, err = c.o.Links.List(ctx, c.who, first); err != nil {
			return err
		}
	}
	out := &linkList{Title: title, Caption: "Links below " + scopeName(body.Scope), Scoped: true}
	if all > len(views) {
		out.All = figure(int64(all)) + " links"
		out.Next = link("/links", "scope", string(body.Scope), "state", stateAny)
	}
	if out.Lines, err = c.lines(views); err != nil {
		return err
	}
	body.Below = out
	return nil
}

// tree draws the scopes down to one, and those below it from a name on. What is folded comes with the page as long as that
// is little.
func (c *call) tree(scope patchbay.Scope, from string) (*branch, error) {
	budget := branchesBudgets
	root := c.who.Scope
	at, err := c.o.Links.Branch(c.r.Context(), c.who, root)
	if err != nil {
		return nil, err
	}
	top := c.branchOf(at, scope)
	top.Title = scopeName(root)
	for n := top; ; {
		n.Open, n.Folded, n.Lazy = true, false, ""
		if n.Scope == scope {
			return top, c.unfold(n, from, branchesShown, &budget)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(string(scope)[len(n.Scope):], "/"), "/")
		if n, err = c.onTheWay(n, below(n.Scope, name), scope, &budget); err != nil {
			return nil, err
		}
	}
}

// onTheWay opens a scope on the way to another and returns the next one: with those beside it when they are few.
func (c *call) onTheWay(n *branch, next, scope patchbay.Scope, budget *int) (*branch, error) {
	ctx := c.r.Context()
	list, more, err := c.o.Links.Branches(ctx, c.who, n.Scope, "", branchesAbove)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(b links.Branch) bool { return b.Scope == next })
	if more || at < 0 {
		b, err := c.o.Links.Branch(ctx, c.who, next)
		if err != nil {
			return nil, err
		}
		if more {
			n.After, n.Rest = treePath(n.Scope), "All of "+lastOf(n.Scope)
			list = nil
		}
		list, at = append(list, *b), len(list)
	}
	for i := range list {
		b := c.branchOf(&list[i], scope)
		if i != at {
			if err := c.foldIn(b, budget); err != nil {
				return nil, err
			}
		}
		n.Branches = append(n.Branches, b)
	}
	return n.Branches[at], nil
}

// unfold fills in the scopes below one, from a name on.
func (c *call) unfold(n *branch, from string, limit int, budget *int) error {
	list, more, err := c.o.Links.Branches(c.r.Context(), c.who, n.Scope, from, limit)
	if err != nil {
		return err
	}
	for i := range list {
		b := c.branchOf(&list[i], "")
		if err := c.foldIn(b, budget); err != nil {
			return err
		}
		n.Branches = append(n.Branches, b)
	}
	if from != "" {
		n.Before = treePath(n.Scope)
	}
	if more && len(list) > 0 {
		// The next page begins right behind the last name of this one: no name has a byte below that of "+".
		n.After, n.Rest = link("/links", "scope", string(n.Scope), "from", lastOf(list[len(list)-1].Scope)+"!"), "More scopes"
	}
	return nil
}

// foldIn fills in the scopes below one that is folded, while they are few.
func (c *call) foldIn(n *branch, budget *int) error {
	if !n.Folded {
		return nil
	}
	list, more, err := c.o.Links.Branches(c.r.Context(), c.who, n.Scope, "", branchesAtOnce)
	if err != nil {
		return err
	}
	if more || len(list) > *budget {
		n.Lazy = link("/links", "scope", string(n.Scope), "only", "tree")
		return nil
	}
	*budget -= len(list)
	for i := range list {
		b := c.branchOf(&list[i], "")
		if err := c.foldIn(b, budget); err != nil {
			return err
		}
		n.Branches = append(n.Branches, b)
	}
	return nil
}

// branchOf draws a scope of the tree.
func (c *call) branchOf(b *links.Branch, chosen patchbay.Scope) *branch {
	n := &branch{
		Title: lastOf(b.Scope), Href: treePath(b.Scope), Scope: b.Scope, Links: figure(int64(b.Tally.Links)), Folded: b.Branches > 0,
		Chosen: b.Scope == chosen,
	}
	switch w := b.Tally.Worst(); w {
	case links.Failing:
		n.Kind, n.Words = "bad", count(b.Tally.Failing, "needs attention", "need attention")
	case links.Paused:
		n.Kind, n.Words = "warn", figure(int64(b.Tally.Paused))+" paused"
	case links.Changing:
		n.Kind, n.Words = "accent", figure(int64(b.Tally.Changing))+" changing"
	case links.Off:
		n.Words = "switched off"
	case links.Working:
		n.Kind, n.Words = "ok", "all fine"
	}
	return n
}
