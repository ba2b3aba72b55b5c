package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/inbound"
)

// Hooks shows what partners have sent.
type Hooks interface {
	List(ctx context.Context, c *access.Caller, q inbound.Query) (views []inbound.View, more bool, err error)
	Get(ctx context.Context, c *access.Caller, id patchbay.HookID) (*inbound.View, error)
	Replay(ctx context.Context, c *access.Caller, id patchbay.HookID) (*inbound.View, error)
}

// hooksPage lists partners' calls: those that nobody could place first.
type hooksPage struct {
	State    string
	States   []option
	Unplaced []hookRow
	Rows     []hookRow
	// Next is the address of the next page; "" when there is none.
	Next string
}

type hookRow struct {
	*inbound.View
	Kind, Word string
}

// hookPage is one call.
type hookPage struct {
	Row     hookRow
	Title   string
	Headers [][2]string
	Body    string
	// Replay says that the viewer can have it read again.
	Replay bool
	Action string
}

// hooksShown is how many calls one page lists, and how many unplaced ones stand first.
const (
	hooksShown    = 50
	unplacedShown = 10
)

// hookWords are the words for the states of a call.
var hookWords = map[patchbay.HookState][2]string{
	patchbay.HookPending:  {"accent", "Being read"},
	patchbay.HookDone:     {"ok", "Became events"},
	patchbay.HookIgnored:  {"", "Ignored"},
	patchbay.HookUnplaced: {"warn", "Not placed"},
	patchbay.HookFailed:   {"bad", "Unreadable"},
}

func hookRowOf(v *inbound.View) hookRow {
	w := hookWords[v.State]
	return hookRow{v, w[0], w[1]}
}

func (c *call) operatorsOnly() error {
	if c.who.Portal {
		return patchbay.Errorf(patchbay.CodeNotFound, "the page that you wanted does not exist")
	}
	if c.o.Hooks == nil {
		return patchbay.Errorf(patchbay.CodeNotFound, "this installation takes no hooks")
	}
	return nil
}

func (c *call) hooks() error {
	if err := c.operatorsOnly(); err != nil {
		return err
	}
	q := inbound.Query{Limit: hooksShown}
	body := &hooksPage{State: c.r.FormValue("state")}
	if body.State != "" {
		q.States = []patchbay.HookState{patchbay.HookState(body.State)}
	}
	if text := c.r.FormValue("before"); text != "" && q.Before.UnmarshalText([]byte(text)) != nil {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the identifier of a hook", clip(text))
	}
	body.States = []option{{Title: "All", Chosen: body.State == ""}}
	for _, s := range []patchbay.HookState{patchbay.HookUnplaced, patchbay.HookFailed, patchbay.HookPending, patchbay.HookDone, patchbay.HookIgnored} {
		body.States = append(body.States, option{Value: string(s), Title: hookWords[s][1], Chosen: body.State == string(s)})
	}
	views, more, err := c.o.Hooks.List(c.r.Context(), c.who, q)
	if err != nil {
		return err
	}
	for i := range views {
		body.Rows = append(body.Rows, hookRowOf(&views[i]))
	}
	if more {
		body.Next = link("/hooks", "state", body.State, "before", views[len(views)-1].ID.String())
	}
	if body.State == "" && q.Before == 0 {
		first := inbound.Query{States: []patchbay.HookState{patchbay.HookUnplaced}, Limit: unplacedShown}
		if views, _, err = c.o.Hooks.List(c.r.Context(), c.who, first); err != nil {
			return err
		}
		for i := range views {
			body.Unplaced = append(body.Unplaced, hookRowOf(&views[i]))
		}
	}
	return c.show(http.StatusOK, "hooks", &page{Title: "Hooks", Nav: "hooks", Body: body})
}

func (c *call) hookID() (id patchbay.HookID, err error) {
	if err := c.operatorsOnly(); err != nil {
		return 0, err
	}
	if id.UnmarshalText([]byte(c.r.PathValue("id"))) != nil || id == 0 {
		return 0, patchbay.Errorf(patchbay.CodeNotFound, "there is no hook %q", clip(c.r.PathValue("id")))
	}
	return id, nil
}

func (c *call) hook() error {
	id, err := c.hookID()
	if err != nil {
		return err
	}
	v, err := c.o.Hooks.Get(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	body := &hookPage{
		Row: hookRowOf(v), Title: c.titleOf(v.Integration), Replay: c.who.May(access.Manage), Action: "/hooks/" + id.String() + "/replay",
		Body: "(" + count(len(v.BodyBase64), "character", "characters") + " of base64, which is no text)",
	}
	if v.BodyBase64 == "" {
		body.Body = prettyBody(v.Body)
	}
	for name, values := range v.Headers {
		body.Headers = append(body.Headers, [2]string{name, strings.Join(values, ", ")})
	}
	slices.SortFunc(body.Headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return c.show(http.StatusOK, "hook", &page{Title: "Hook of " + body.Title, Nav: "hooks", Body: body})
}

func (c *call) replayHook() error {
	id, err := c.hookID()
	if err != nil {
		return err
	}
	v, err := c.o.Hooks.Replay(c.r.Context(), c.who, id)
	if err != nil {
		return err
	}
	row := hookRowOf(v)
	n := &note{Kind: row.Kind, Title: "It was read again: " + strings.ToLower(row.Word) + ".", Text: sentence(v.Reason)}
	if n.Kind == "accent" {
		n.Kind = ""
	}
	c.leave(n)
	return c.redirect("/hooks/" + id.String())
}
