package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/inbound"
)

// Hooks takes in what partners send, and shows what became of it.
type Hooks interface {
	// Handler answers the partners.
	Handler() http.Handler
	// List lists hooks, the newest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, q inbound.Query) (views []inbound.View, more bool, err error)
	Get(ctx context.Context, c *access.Caller, id patchbay.HookID) (*inbound.View, error)
	Replay(ctx context.Context, c *access.Caller, id patchbay.HookID) (*inbound.View, error)
}

// hookRoutes registers the addresses that partners call, and /v1/hooks.
func (a *api) hookRoutes() {
	a.partnerRoutes()
	register(a, operation{id: "list-hooks", method: http.MethodGet, path: "/v1/hooks", tag: tagHooks, summary: "List hooks",
		description: "What partners sent, the newest first, without headers and bodies. Those that could not be placed belong to no scope: they are listed for keys of the whole installation.",
		needs:       access.Read, response: newPage([]inbound.View{exampleListedHook}, idCursor(cursorHooks, int64(exampleListedHook.ID)))}, a.listHooks)
	register(a, operation{id: "get-hook", method: http.MethodGet, path: "/v1/hooks/{id}", tag: tagHooks, summary: "Get a hook with its body",
		description: "The headers are shown without credentials.", needs: access.Read, response: exampleHook}, a.getHook)
	register(a, operation{id: "replay-hook", method: http.MethodPost, path: "/v1/hooks/{id}/replay", tag: tagHooks, summary: "Read a hook again",
		description: "For one that could not be placed or read, once that has been put right. The events that it became already it does not become again.",
		needs:       access.Manage, response: exampleHook}, a.replayHook)
}

// partnerRoutes registers the addresses that partners call.
func (a *api) partnerRoutes() {
	serve := a.Hooks.Handler().ServeHTTP
	key := &huma.Param{Name: "key", In: "path", Required: true, Description: "The integration's key.", Schema: &huma.Schema{Type: huma.TypeString}}
	token := &huma.Param{Name: "token", In: "path", Required: true, Description: "The end of the link's `hook_url`.", Schema: &huma.Schema{Type: huma.TypeString}}
	for _, r := range []struct {
		id, path, summary, about string
		params                   []*huma.Param
	}{
		{"hook", "/integrations/{key}/hook", "Take a partner's call",
			"The one address of an app at a partner. A call reaches the links whose connection is the account that the partner signed for.", []*huma.Param{key}},
		{"hook-link", "/integrations/{key}/hook/{token}", "Take a partner's call for a link", "A link's own address.", []*huma.Param{key, token}},
	} {
		answers := map[string]*huma.Response{"200": {Description: "The call is stored. Some partners expect another answer, and get it."}}
		a.plain(&huma.Operation{OperationID: r.id, Method: http.MethodPost, Path: r.path, Summary: r.summary, Tags: []string{tagHooks}, Parameters: r.params,
			Description: r.about + " It is believed for its signature; what is wrong with one that is not believed is not told. The body is whatever the partner sends, at most 1 MiB.",
			Security:    a.document.open(), Responses: answers,
			RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		}, serve)
		a.plain(&huma.Operation{OperationID: r.id + "-handshake", Method: http.MethodGet, Path: r.path, Summary: "Answer a partner's handshake", Tags: []string{tagHooks},
			Parameters: r.params, Description: "For partners that check an address before they call it. Others are answered with 405.",
			Security: a.document.open(), Responses: map[string]*huma.Response{"200": {Description: "What the partner expects."}},
		}, serve)
		a.router.HandleFunc(http.MethodPut+" "+r.path, serve)
	}
}

// hookPath reports whether a path is one that partners call: they prove themselves by what they send.
func hookPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/integrations/")
	if !ok {
		return false
	}
	_, rest, _ = strings.Cut(rest, "/")
	return rest == "hook" || strings.HasPrefix(rest, "hook/")
}

// shownPath is a request's path as the log may have it: without the token of a link's own address.
func shownPath(path string) string {
	if at := strings.Index(path, "/hook/"); at >= 0 && hookPath(path) {
		return path[:at] + "/hook/" + patchbay.Redacted
	}
	return path
}

// publicHost reports whether a Host header is that of the installation's public address.
func (a *api) publicHost(host string) bool {
	u, err := url.Parse(a.PublicURL)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

type (
	listHooksInput struct {
		Paging
		State       []patchbay.HookState `query:"state" doc:"One or several, separated by commas." example:"unplaced,failed"`
		Integration string               `query:"integration" example:"github"`
		Link        string               `query:"link" doc:"A link's identifier: calls of its own address."`
		Account     string               `query:"account" doc:"The partner's account that calls are about."`
		Scope       string               `query:"scope" doc:"Hooks of links at or below it." example:"acme/teams"`
	}
	hookListOutput struct{ Body page[inbound.View] }
	hookOutput     struct{ Body inbound.View }
)

func (a *api) listHooks(ctx context.Context, c *access.Caller, in *listHooksInput) (*hookListOutput, error) {
	states := slices.DeleteFunc(in.State, func(s patchbay.HookState) bool { return s == "" })
	q := inbound.Query{States: states, Integration: in.Integration, Account: in.Account, Limit: in.Limit}
	var err error
	if q.Scope, err = reachable(c, in.Scope); err != nil {
		return nil, err
	}
	if err := filterID("link", in.Link, &q.Link); err != nil {
		return nil, err
	}
	before, err := in.idOf(cursorHooks)
	if err != nil {
		return nil, err
	}
	q.Before = patchbay.HookID(before)
	views, more, err := a.Hooks.List(ctx, c, q)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorHooks, int64(views[len(views)-1].ID))
	}
	return &hookListOutput{newPage(views, next)}, nil
}

func (a *api) getHook(ctx context.Context, c *access.Caller, in *ByID) (*hookOutput, error) {
	return hookBy(ctx, c, in, a.Hooks.Get)
}

func (a *api) replayHook(ctx context.Context, c *access.Caller, in *ByID) (*hookOutput, error) {
	return hookBy(ctx, c, in, a.Hooks.Replay)
}

// hookBy answers with the hook that one of the service's calls returns.
func hookBy(ctx context.Context, c *access.Caller, in *ByID,
	call func(context.Context, *access.Caller, patchbay.HookID) (*inbound.View, error)) (*hookOutput, error) {
	var id patchbay.HookID
	if err := pathID("hook", in.ID, &id); err != nil {
		return nil, err
	}
	v, err := call(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &hookOutput{*v}, nil
}

// The examples of hooks.
var (
	exampleListedHook = inbound.View{ID: patchbay.HookID(220_000_000_000_000_000), Integration: "github", Link: new(patchbay.LinkID(219_000_000_000_000_000)),
		Scope: new(patchbay.Scope("acme/teams/42")), Type: "push", State: patchbay.HookDone, ReceivedAt: exampleTime,
		Links: []patchbay.LinkID{219_000_000_000_000_000}, Events: []patchbay.EventID{exampleEvent.ID}, Reads: 1}
	exampleHook = func() inbound.View {
		v := exampleListedHook
		v.Headers, v.Body = map[string][]string{"Content-Type": {"application/json"}, "X-Github-Event": {"push"}}, `{"ref":"refs/heads/main"}`
		return v
	}()
)
