package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/connect"
	"github.com/patchbay/patchbay/internal/links"
)

// settingsPage is what is linked in a scope, and what that inherits.
type settingsPage struct {
	Scope  patchbay.Scope
	Title  string
	Crumbs []crumb
	Own    []linkLine
	// Inherited come from above.
	Inherited []linkLine
	// Below are the scopes one level below at or below which there are links.
	Below       []*branch
	Connections []connectionRow
	// Add is the gallery for this scope.
	Add           string
	May, Connects bool
	// MoreOwn and MoreBelow lead on; "" where there is no more.
	MoreOwn, MoreBelow string
	// Tree is the place among all links, for operators.
	Tree                string
	ConnectionsNotShown bool
}

type crumb struct{ Title, Href string }

// linkRow is a link in a list.
type linkRow struct {
	*links.View
	Kind, Badge, Health string
	// Edit is the address of its form; "" for those who may not change it.
	Edit, Delete, Pause, Resume string
	// Test says that a test can be made, OptOut that the scope can do without it, Own where it can have its own instead.
	Test, OptOut, OptIn bool
	Own                 string
	// From is where it is inherited from; FromHref is "" when the viewer may not look there.
	From, FromHref string
	// HookURL is where the partner calls.
	HookURL string
	Tested  *testPart
}

// mostShown bounds what one page lists of what is seldom much.
const mostShown = 200

func (c *call) settings() error { return c.showSettings(http.StatusOK, 0, nil) }

// scopeOf reads the scope that the path names.
func (c *call) scopeOf() (patchbay.Scope, error) {
	scope, err := patchbay.ParseScope(c.r.PathValue("scope"))
	if err != nil {
		return "", patchbay.Errorf(patchbay.CodeNotFound, "%q is not a scope: %v", clip(c.r.PathValue("scope")), err)
	}
	if !c.who.Sees(scope) {
		return "", patchbay.Errorf(patchbay.CodeNotFound, "there is nothing of yours at %q", clip(string(scope)))
	}
	return scope, nil
}

// showSettings draws the page; tested is what came of the test of a link, if one was made.
func (c *call) showSettings(status int, id patchbay.LinkID, tested *testPart) error {
	scope, err := c.scopeOf()
	if err != nil {
		return err
	}
	body := &settingsPage{
		Scope: scope, Crumbs: c.crumbs(scope), May: c.who.May(access.Manage), Connects: c.who.May(access.Secrets),
		Add: link("/integrations", "scope", string(scope)),
	}
	if err := c.ownLinks(body); err != nil {
		return err
	}
	if err := c.inheritedLinks(body); err != nil {
		return err
	}
	if body.Connections, err = c.connectionsOf(scope); err != nil {
		return err
	}
	if !c.who.Portal {
		body.Tree = treePath(scope)
	}
	body.Title = "Links of " + scopeName(scope)
	if c.who.Portal && scope == c.who.Scope {
		body.Title = "Your links"
	}
	p := &page{Title: body.Title, Nav: "settings", Body: body}
	if tested != nil {
		p.Status = tested.Text
		for _, rows := range [][]linkLine{body.Own, body.Inherited} {
			for i := range rows {
				if rows[i].ID == id {
					rows[i].Tested = tested
				}
			}
		}
	}
	return c.show(status, "settings", p)
}

// lastOf is the last part of a scope, which is what people know it by.
func lastOf(scope patchbay.Scope) string {
	if scope == "" {
		return "the whole installation"
	}
	return string(scope)[strings.LastIndexByte(string(scope), '/')+1:]
}

// crumbs are the scopes on the way down to this one, from the viewer's own on.
func (c *call) crumbs(scope patchbay.Scope) []crumb {
	var out []crumb
	for s := scope; ; {
		title := lastOf(s)
		if s == c.who.Scope && s != "" {
			title = string(s)
		}
		out = append(out, crumb{title, settingsPath(s)})
		if s == c.who.Scope {
			break
		}
		up, ok := s.Parent()
		if !ok {
			break
		}
		s = up
	}
	slices.Reverse(out)
	return out
}

// ownLinks fills in the links of the scope itself, and where there are others below.
func (c *call) ownLinks(body *settingsPage) error {
	ctx := c.r.Context()
	f := links.ListFilter{Scope: &body.Scope, Own: true, Limit: linksShown}
	if after := c.r.FormValue("after"); after != "" && f.After.UnmarshalText([]byte(after)) != nil {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a link", clip(after))
	}
	views, more, err := c.o.Links.List(ctx, c.who, f)
	if err != nil {
		return err
	}
	if body.Own, err = c.lines(views); err != nil {
		return err
	}
	here := settingsPath(body.Scope)
	if more {
		body.MoreOwn = link(here, "after", views[len(views)-1].ID.String())
	}
	below, more, err := c.o.Links.Branches(ctx, c.who, body.Scope, c.r.FormValue("from"), branchesShown)
	if err != nil {
		return err
	}
	for i := range below {
		b := c.branchOf(&below[i], body.Scope)
		b.Href = settingsPath(b.Scope)
		body.Below = append(body.Below, b)
	}
	if more {
		body.MoreBelow = link(here, "from", lastOf(below[len(below)-1].Scope)+"!")
	}
	return nil
}

// inheritedLinks fills in the links from above that events of the scope go to.
func (c *call) inheritedLinks(body *settingsPage) error {
	views, _, err := c.o.Links.List(c.r.Context(), c.who, links.ListFilter{Scope: &body.Scope, Effective: true, Overridden: true, Limit: mostShown})
	if err != nil {
		return err
	}
	views = slices.DeleteFunc(views, func(v links.View) bool { return v.Scope == body.Scope })
	if body.Inherited, err = c.lines(views); err != nil {
		return err
	}
	for i := range body.Inherited {
		row := &body.Inherited[i]
		row.From = scopeName(row.Scope)
		if c.who.Sees(row.Scope) {
			row.FromHref = settingsPath(row.Scope)
		}
		row.Edit, row.Delete, row.Test, row.Pause, row.Resume, row.HookURL = "", "", false, "", "", "" // that is done where it belongs
		if row.Overridden {
			row.Kind, row.Badge, row.linkRow.Health = "", "Replaced here", ""
		}
		if row.Slot != nil && body.May && !row.Overridden && c.definitions[row.Integration] != nil {
			row.OptOut = true
			row.linkRow.Own = formAddress(row.Integration, body.Scope, url.Values{"slot": {*row.Slot}})
		}
	}
	return nil
}

// row makes the row of a link.
func (c *call) row(v *links.View) linkRow {
	r := linkRow{View: v, HookURL: text(v.HookURL)}
	r.Kind, r.Badge, r.Health = health(v, c.titleOf(v.Integration))
	if !c.who.May(access.Manage) || v.State == patchbay.LinkDetaching {
		return r
	}
	if v.OptOut {
		r.Kind, r.Badge, r.OptIn = "", "Opted out", true
		r.Health = "What " + c.titleOf(v.Integration) + " would get from above in the slot " + text(v.Slot) + " does not reach this scope."
		return r
	}
	r.Delete = v.DeletePath + "/delete"
	if c.definitions[v.Integration] == nil {
		return r
	}
	r.Edit = link("/integrations/"+v.Integration+"/link", "link", v.ID.String())
	r.Test = c.testable(v.Integration)
	switch v.State {
	case patchbay.LinkActive:
		r.Pause = v.ID.String()
	case patchbay.LinkPaused, patchbay.LinkDisabled:
		r.Resume = v.ID.String()
	}
	return r
}

// health says in words how a link is: kind is the colour, badge a word or two.
func health(v *links.View, partner string) (kind, badge, words string) {
	reason := sentence(text(v.StateReason))
	switch v.State {
	case patchbay.LinkPaused:
		words = "What happens is kept, and sent once you resume."
		if v.Health != nil && v.Health.Waiting > 0 {
			words = count(v.Health.Waiting, "delivery is", "deliveries are") + " kept, and sent once you resume."
		}
		return "warn", "Paused", words
	case patchbay.LinkDisabled:
		if reason == "" { // somebody wants it so
			return "", "Off", "Nothing is sent, and nothing is kept."
		}
		return "bad", "Off", reason
	case patchbay.LinkAttaching:
		if reason == "" {
			reason = "It is being set up at " + partner + "."
		}
		return "accent", "Being set up", reason
	case patchbay.LinkDetaching:
		if reason == "" {
			reason = "What was set up at " + partner + " is being taken down."
		}
		return "warn", "Being removed", reason
	}
	h := v.Health
	switch {
	case reason != "":
		return "bad", "Needs attention", reason
	case h != nil && h.Failures > 0:
		words = "It has been failing"
		if h.FailingSince != nil {
			words += " since " + h.FailingSince.UTC().Format("2 Jan, 15:04 UTC")
		}
		words += ", and is tried again."
		if h.LastError != "" {
			words += " The last time: " + sentence(h.LastError)
		}
		return "bad", "Failing", words
	case h != nil && h.FilterErrors > 0:
		return "warn", "Check the condition", "Its condition could not be evaluated for " + count(int(h.FilterErrors), "event", "events") + ": " + sentence(h.LastFilterError)
	case h != nil && h.Waiting > 0:
		return "ok", "Working", count(h.Waiting, "delivery is", "deliveries are") + " waiting to be sent."
	}
	return "ok", "Working", ""
}

// changeSettings does what a button on the page of a scope asks for.
func (c *call) changeSettings() error {
	if err := c.form(); err != nil {
		return err
	}
	scope, err := c.scopeOf()
	if err != nil {
		return err
	}
	var id patchbay.LinkID
	if id.UnmarshalText([]byte(c.r.PostForm.Get("link"))) != nil || id == 0 {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "the form did not say which link is meant: go back, reload the page and try again")
	}
	ctx := c.r.Context()
	var v *links.View
	n := &note{Kind: "ok"}
	switch action := c.r.PostForm.Get("action"); action {
	case "pause":
		v, err = c.o.Links.Pause(ctx, c.who, id)
		n.Text = "What happens from now on is kept, and sent once you resume."
	case "resume":
		if ask, err := c.asks(id); err != nil || ask {
			return c.redirectOr(linkPath(id)+"/resume", err)
		}
		v, err = c.o.Links.Resume(ctx, c.who, id)
		n.Text = "What happens is sent again."
	case "optout":
		v, err = c.o.Links.OptOut(ctx, c.who, id, scope)
		n.Text = "You can take part again at any time."
	case "optin":
		if err := c.o.Links.OptIn(ctx, c.who, id, scope); err != nil {
			return err
		}
		c.leave(&note{Kind: "ok", Title: "This scope takes part again."})
		return c.redirect(settingsPath(scope))
	case "test":
		return c.testLink(id)
	default:
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "there is nothing called %q to do here: go back, reload the page and try again", clip(action))
	}
	if err != nil {
		return err
	}
	n.Title = map[string]string{"pause": " is paused.", "resume": " works again.", "optout": " does not reach this scope any more."}[c.r.PostForm.Get("action")]
	n.Title = v.ShortName + n.Title
	c.leave(n)
	return c.redirect(settingsPath(scope))
}

// testable reports whether links of an integration can be tested.
func (c *call) testable(key string) bool {
	_, sends := c.integrations[key].(integration.Sender)
	_, tests := c.integrations[key].(integration.Tester)
	return sends || tests
}

func (c *call) testLink(id patchbay.LinkID) error {
	v, err := c.o.Links.Get(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	r, err := c.o.Links.Test(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	return c.showSettings(http.StatusOK, id, testWords(r, c.titleOf(v.Integration)))
}

// connectionRow is a connection in a list.
type connectionRow struct {
	*connect.View
	Kind, Badge, Health string
	Href, Again         string
}

// connectionsOf lists the connections of a scope.
func (c *call) connectionsOf(scope patchbay.Scope) ([]connectionRow, error) {
	if c.o.Connections == nil {
		return nil, nil
	}
	views, _, err := c.o.Connections.List(c.r.Context(), c.who, connect.ListFilter{Scope: &scope, Limit: mostShown})
	if err != nil {
		return nil, err
	}
	out := make([]connectionRow, 0, len(views))
	for i := range views {
		out = append(out, c.connectionRow(&views[i], settingsPath(scope)))
	}
	return out, nil
}

func (c *call) connectionRow(v *connect.View, back string) connectionRow {
	r := connectionRow{View: v}
	r.Kind, r.Badge, r.Health = connectionHealth(v, c.titleOf(v.Integration))
	if c.who.May(access.Secrets) && c.who.Sees(v.Scope) {
		r.Href = "/connections/" + v.ID.String()
		if v.State == patchbay.ConnectionNeedsReauth {
			r.Again = link("/auth/"+v.Integration, "connection", v.ID.String(), "return", back)
		}
	}
	return r
}

// connectionHealth says in words how a connection is.
func connectionHealth(v *connect.View, partner string) (kind, badge, words string) {
	reason := sentence(text(v.StateReason))
	switch v.State {
	case patchbay.ConnectionNeedsReauth:
		if reason == "" {
			reason = partner + " does not accept it any more."
		}
		return "bad", "Connect again", reason
	case patchbay.ConnectionDegraded:
		if reason == "" {
			reason = partner + " could not be asked the last time; it is tried again."
		}
		return "warn", "Trouble", reason
	}
	return "ok", "Connected", ""
}
