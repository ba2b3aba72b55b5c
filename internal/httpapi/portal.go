package httpapi

import (
	"context"
	"net/http"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/session"
)

// Portals looks after portal sessions.
type Portals interface {
	CreatePortal(ctx context.Context, c *access.Caller, in session.PortalInput) (*session.PortalView, error)
	// Portals lists those that have not ended, the oldest first, and says whether there are more.
	Portals(ctx context.Context, c *access.Caller, f session.PortalFilter) (views []session.PortalView, more bool, err error)
	Portal(ctx context.Context, c *access.Caller, id patchbay.SessionID) (*session.PortalView, error)
	DeletePortal(ctx context.Context, c *access.Caller, id patchbay.SessionID) error
}

// Pages are the pages that people see in a browser. What they do not serve is the API's.
type Pages interface {
	http.Handler
	// Serves reports whether a request is for a page: by its path, and where the API has the same path, by what it accepts.
	Serves(r *http.Request) bool
}

// portalRoutes registers /v1/portal-sessions.
func (a *api) portalRoutes() {
	register(a, operation{id: "create-portal-session", method: http.MethodPost, path: "/v1/portal-sessions", tag: tagPortal, summary: "Open a portal",
		description: "Makes an address at which one customer sees and edits the links of one scope, and nothing else. Send the customer's browser there, or show it in a frame (the setting `portal-frames` says on whose pages), within five minutes; it works once.",
		needs:       access.Manage, status: http.StatusCreated, request: examplePortalInput, response: exampleNewPortal,
		headers: map[string]string{"Location": "The session's path."}}, a.createPortal)
	register(a, operation{id: "list-portal-sessions", method: http.MethodGet, path: "/v1/portal-sessions", tag: tagPortal, summary: "List portal sessions",
		description: "Those that have not ended, the oldest first.", needs: access.Manage, response: newPage([]session.PortalView{examplePortal}, "")}, a.listPortals)
	register(a, operation{id: "get-portal-session", method: http.MethodGet, path: "/v1/portal-sessions/{id}", tag: tagPortal, summary: "Get a portal session",
		needs: access.Manage, response: examplePortal}, a.getPortal)
	register(a, operation{id: "delete-portal-session", method: http.MethodDelete, path: "/v1/portal-sessions/{id}", tag: tagPortal, summary: "End a portal session",
		description: "Its pages answer nothing more from then on.", needs: access.Manage, status: http.StatusNoContent}, a.deletePortal)
}

// The examples of portal sessions.
var (
	examplePortalInput = session.PortalInput{Scope: "acme/teams/42", User: "ann", OwnerScope: new("acme/users/ann"),
		Permissions: []string{session.PermissionView, session.PermissionEdit}, TTL: new(patchbay.Duration(session.DefaultTTL)), Return: "https://app.example.com/settings"}
	examplePortal = session.PortalView{ID: patchbay.SessionID(220_000_000_000_000_000), Scope: "acme/teams/42", User: "ann", OwnerScope: new(patchbay.Scope("acme/users/ann")),
		Permissions: []string{session.PermissionView, session.PermissionEdit}, Return: "https://app.example.com/settings",
		CreatedAt: exampleTime, ExpiresAt: exampleTime.Add(session.DefaultTTL)}
	exampleNewPortal = func() session.PortalView {
		v := examplePortal
		v.Token = "pbt_4nq7w2zkx5r3m6t8h4j2c7v5b3n6p8sd"
		v.URL = "https://hooks.example.com/portal#" + v.Token
		return v
	}()
)

type (
	createPortalInput struct{ Body session.PortalInput }
	newPortalOutput   struct {
		Location string `header:"Location" hidden:"true"`
		Body     session.PortalView
	}
	listPortalsInput struct {
		Paging
		Scope string `query:"scope" doc:"Only those at or below this scope."`
		User  string `query:"user" doc:"Only those of this user."`
	}
	portalListOutput struct{ Body page[session.PortalView] }
	portalOutput     struct{ Body session.PortalView }
)

func (a *api) createPortal(ctx context.Context, c *access.Caller, in *createPortalInput) (*newPortalOutput, error) {
	v, err := a.Portals.CreatePortal(ctx, c, in.Body)
	if err != nil {
		return nil, err
	}
	return &newPortalOutput{Location: "/v1/portal-sessions/" + v.ID.String(), Body: *v}, nil
}

func (a *api) listPortals(ctx context.Context, c *access.Caller, in *listPortalsInput) (*portalListOutput, error) {
	after, err := in.idOf(cursorPortals)
	if err != nil {
		return nil, err
	}
	f := session.PortalFilter{User: in.User, After: patchbay.SessionID(after), Limit: in.Limit}
	if in.Scope != "" {
		scope, err := patchbay.ParseScope(in.Scope)
		if err != nil {
			return nil, patchbay.Invalid("scope", "%v", err)
		}
		f.Scope = &scope
	}
	views, more, err := a.Portals.Portals(ctx, c, f)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorPortals, int64(views[len(views)-1].ID))
	}
	return &portalListOutput{newPage(views, next)}, nil
}

func (a *api) getPortal(ctx context.Context, c *access.Caller, in *ByID) (*portalOutput, error) {
	var id patchbay.SessionID
	if err := pathID("portal session", in.ID, &id); err != nil {
		return nil, err
	}
	v, err := a.Portals.Portal(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &portalOutput{*v}, nil
}

func (a *api) deletePortal(ctx context.Context, c *access.Caller, in *ByID) (*noOutput, error) {
	var id patchbay.SessionID
	if err := pathID("portal session", in.ID, &id); err != nil {
		return nil, err
	}
	return nil, a.Portals.DeletePortal(ctx, c, id)
}
