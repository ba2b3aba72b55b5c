package httpapi

import (
	"context"
	"net/http"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/session"
)

// Sessions knows who has signed in.
type Sessions interface {
	// Sessions lists those that have not ended, the oldest first, and says whether there are more.
	Sessions(ctx context.Context, c *access.Caller, f session.SessionFilter) (views []session.SessionView, more bool, err error)
	// EndSession ends one at once.
	EndSession(ctx context.Context, c *access.Caller, id patchbay.SessionID) error
}

// sessionRoutes registers /v1/sessions.
func (a *api) sessionRoutes() {
	register(a, operation{id: "list-sessions", method: http.MethodGet, path: "/v1/sessions", tag: tagOperators, summary: "List sessions",
		description: "Who has signed in at or below the key's scope: operators, and customers in portals. The oldest first.",
		needs:       access.Admin, response: newPage([]session.SessionView{exampleSession}, "")}, a.listSessions)
	register(a, operation{id: "end-session", method: http.MethodDelete, path: "/v1/sessions/{id}", tag: tagOperators, summary: "End a session",
		description: "Its pages answer nothing more from then on, at every node.", needs: access.Admin, status: http.StatusNoContent}, a.endSession)
}

var exampleSession = session.SessionView{
	ID: patchbay.SessionID(251_000_000_000_000_000), Scope: "acme", Name: "ann@example.com", Role: access.RoleOperator, Via: "https://id.example.com", Subject: "u-4711",
	Address: "192.0.2.7", Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", CreatedAt: exampleTime, ExpiresAt: exampleTime.Add(12 * 3600e9),
}

type (
	listSessionsInput struct {
		Paging
		Scope string `query:"scope" doc:"Only those at or below this scope."`
		Of    string `query:"of" enum:"operators,portals" doc:"Only operators, or only portals."`
	}
	sessionListOutput struct {
		Body page[session.SessionView]
	}
)

func (a *api) listSessions(ctx context.Context, c *access.Caller, in *listSessionsInput) (*sessionListOutput, error) {
	after, err := in.idOf(cursorSessions)
	if err != nil {
		return nil, err
	}
	f := session.SessionFilter{After: patchbay.SessionID(after), Limit: in.Limit}
	if in.Of != "" {
		f.Portal = new(in.Of == "portals")
	}
	if in.Scope != "" {
		scope, err := patchbay.ParseScope(in.Scope)
		if err != nil {
			return nil, patchbay.Invalid("scope", "%v", err)
		}
		f.Scope = &scope
	}
	views, more, err := a.SignedIn.Sessions(ctx, c, f)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorSessions, int64(views[len(views)-1].ID))
	}
	return &sessionListOutput{newPage(views, next)}, nil
}

func (a *api) endSession(ctx context.Context, c *access.Caller, in *ByID) (*noOutput, error) {
	var id patchbay.SessionID
	if err := pathID("session", in.ID, &id); err != nil {
		return nil, err
	}
	return nil, a.SignedIn.EndSession(ctx, c, id)
}
