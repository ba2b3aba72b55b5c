package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/connect"
	"github.com/patchbay/patchbay/internal/links"
)

const (
	// connectionsShown is how many connections a list shows at a time, usesShown how many links the page of one.
	connectionsShown = 50
	usesShown        = 50
)

// connectionsPage lists accounts at partners.
type connectionsPage struct {
	Filter       connectionFilter
	Filtered     bool
	Integrations []option
	States       []option
	// Attention are those that need somebody; Rows are all, or what the filters select.
	Attention, Rows []connectionLine
	Next, First     string
	// Gallery is where an account of an integration is connected.
	Gallery  string
	Operator bool
}

// connectionFilter is what the address selects, as it was written.
type connectionFilter struct{ Q, Scope, Integration, State string }

// connectionLine is a connection in a list of its own.
type connectionLine struct {
	connectionRow
	// ScopeHref is the page of its scope; "" when the viewer does not look there.
	ScopeHref string
}

// connectionChoice is what the filter says of states.
type connectionChoice struct {
	key, title string
	states     []patchbay.ConnectionState
}

// connectionStates are what the filter offers.
var connectionStates = []connectionChoice{
	{"", "Any", nil},
	{"attention", "Need attention", []patchbay.ConnectionState{patchbay.ConnectionNeedsReauth, patchbay.ConnectionDegraded}},
	{"connected", "Connected", []patchbay.ConnectionState{patchbay.ConnectionActive}},
}

func (f *connectionFilter) pairs(more ...string) []string {
	return append([]string{"q", f.Q, "scope", f.Scope, "integration", f.Integration, "state", f.State}, more...)
}

// connections lists the accounts that the viewer sees, those that need somebody first.
func (c *call) connections() error {
	if c.o.Connections == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "no accounts can be connected to this installation")
	}
	get := func(name string) string { return strings.TrimSpace(c.r.FormValue(name)) }
	f := connectionFilter{Q: get("q"), Scope: get("scope"), Integration: get("integration"), State: get("state")}
	q := connect.ListFilter{Integration: f.Integration, Search: f.Q, Limit: connectionsShown}
	scope, err := c.scopeParameter(f.Scope)
	if err != nil {
		return err
	}
	if f.Scope != "" {
		q.Scope = &scope
	}
	at := slices.IndexFunc(connectionStates, func(s connectionChoice) bool { return s.key == f.State })
	if at < 0 {
		return patchbay.Invalid("state", "must be attention or connected, or be left out")
	}
	q.States = connectionStates[at].states
	if after := get("after"); after != "" && q.After.UnmarshalText([]byte(after)) != nil {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a connection", clip(after))
	}
	body := &connectionsPage{Filter: f, Filtered: f != connectionFilter{}, Operator: !c.who.Portal, Gallery: link("/integrations", "scope", string(c.who.Scope))}
	c.connectionFilters(body)
	if !body.Filtered && q.After == 0 {
		first := q
		first.States = connectionStates[1].states
		if body.Attention, _, err = c.connectionLines(first); err != nil {
			return err
		}
	}
	var more bool
	if body.Rows, more, err = c.connectionLines(q); err != nil {
		return err
	}
	if more {
		body.Next = link("/connections", f.pairs("after", body.Rows[len(body.Rows)-1].ID.String())...)
	}
	if q.After != 0 {
		body.First = link("/connections", f.pairs()...)
	}
	return c.show(http.StatusOK, "connections", &page{Title: "Connections", Nav: "connections", Body: body})
}

// connectionFilters fills in what can be chosen.
func (c *call) connectionFilters(body *connectionsPage) {
	for _, s := range connectionStates {
		body.States = append(body.States, option{Value: s.key, Title: s.title, Chosen: s.key == body.Filter.State})
	}
	body.Integrations = []option{{Title: "Any"}}
	for _, i := range c.o.Integrations {
		if _, connects := i.(integration.Connector); connects {
			d := i.Definition()
			body.Integrations = append(body.Integrations, option{Value: d.Key, Title: d.Title, Chosen: d.Key == body.Filter.Integration})
		}
	}
}

func (c *call) connectionLines(q connect.ListFilter) ([]connectionLine, bool, error) {
	views, more, err := c.o.Connections.List(c.r.Context(), c.who, q)
	if err != nil {
		return nil, false, err
	}
	out := make([]connectionLine, len(views))
	for i := range views {
		out[i].connectionRow = c.connectionRow(&views[i], "/connections")
		if c.who.Sees(views[i].Scope) {
			out[i].ScopeHref = settingsPath(views[i].Scope)
		}
	}
	return out, more, nil
}

// usedBy lists the links that use a connection and that the viewer sees.
func (c *call) usedBy(id patchbay.ConnectionID) (out []linkUse, more bool) {
	uses := c.o.Links.UsedBy(id)
	slices.SortFunc(uses, func(a, b links.Using) int { return cmp.Compare(a.Link, b.Link) })
	for _, u := range uses {
		if !c.who.Sees(u.Scope) {
			continue
		}
		if len(out) == usesShown {
			return out, true
		}
		out = append(out, linkUse{u.Name, linkPath(u.Link), scopeName(u.Scope)})
	}
	return out, false
}

// linkUse is a link that uses a connection.
type linkUse struct{ Name, Href, Scope string }
