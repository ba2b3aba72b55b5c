package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/connect"
)

// Connections looks after accounts at partners.
type Connections interface {
	// Create takes keys, and says whether the connection is new.
	Create(ctx context.Context, c *access.Caller, in connect.Input) (v *connect.View, created bool, err error)
	Get(ctx context.Context, c *access.Caller, id patchbay.ConnectionID) (*connect.View, error)
	// List lists connections, the oldest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, f connect.ListFilter) (views []connect.View, more bool, err error)
	// Update changes what in has; clear names fields that were sent as null, ifMatch is the version that the caller has
	// read, "" for any.
	Update(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, in connect.Input, clear []string, ifMatch string) (*connect.View, error)
	Delete(ctx context.Context, c *access.Caller, id patchbay.ConnectionID, force bool) (*connect.Deleted, error)
	Check(ctx context.Context, c *access.Caller, id patchbay.ConnectionID) (*connect.View, error)
}

// noticeHeader says in the answer to a deletion what remains at the partner.
const noticeHeader = "Patchbay-Notice"

// connectionRoutes registers /v1/connections.
func (a *api) connectionRoutes() {
	tagged := map[string]string{"ETag": "What people have changed of it, for If-Match. Refreshing its credentials does not change it."}
	op := func(id, method, path, summary, description string) operation {
		return operation{id: id, method: method, path: path, tag: tagConnections, summary: summary, description: description,
			needs: access.Manage, response: exampleConnection, headers: tagged}
	}
	create := op("create-connection", http.MethodPost, "/v1/connections", "Connect an account with its keys",
		"For partners at which people make keys. They are tried before they are kept, and never shown again. Those of an account that the same owner has connected in the same scope renew that connection (200). Accounts of other partners are connected in a browser, at `/auth/{key}`.")
	create.status, create.request = http.StatusCreated, exampleConnectionInput
	create.headers = map[string]string{"ETag": tagged["ETag"], "Location": "The connection's path."}
	register(a, create, a.createConnection)
	post := a.document.spec.Paths["/v1/connections"].Post
	post.Responses["200"] = post.Responses["201"]

	list := op("list-connections", http.MethodGet, "/v1/connections", "List connections", "The oldest first.")
	list.needs, list.response, list.headers = access.Read, newPage([]connect.View{exampleConnection}, ""), nil
	register(a, list, a.listConnections)

	get := op("get-connection", http.MethodGet, "/v1/connections/{id}", "Get a connection", "Credentials are never shown.")
	get.needs = access.Read
	register(a, get, a.getConnection)

	update := op("update-connection", http.MethodPatch, "/v1/connections/{id}", "Change a connection",
		"Hands it over to another owner, renames it, moves it to a lower scope. Absent fields keep their values, null clears one.")
	update.request = map[string]any{"owner": "u-18", "owner_scope": "acme/users/18"}
	register(a, update, a.updateConnection)

	remove := op("delete-connection", http.MethodDelete, "/v1/connections/{id}", "Delete a connection",
		"Its credentials are taken back at the partner as far as that is possible. While links use it, it stays (409), unless `force` is true.")
	remove.status, remove.response = http.StatusNoContent, nil
	remove.headers = map[string]string{noticeHeader: "What remains at the partner, as a sentence; absent when nothing does."}
	register(a, remove, a.deleteConnection)

	check := op("check-connection", http.MethodPost, "/v1/connections/{id}/check", "Check a connection",
		"Asks the partner whose credentials these are; `state` and `state_reason` say what came of it.")
	register(a, check, a.checkConnection)
}

// The examples of connections.
var (
	exampleConnectionID    = patchbay.ConnectionID(235_000_000_000_000_000)
	exampleConnectionInput = connect.Input{Integration: new("jira"), Scope: new("acme"), Owner: new("u-17"), OwnerScope: new("acme/users/17"),
		Name: new("Ann's account"), Settings: json.RawMessage(`{"token":"a-token-made-at-the-partner"}`)}
	exampleConnection = connect.View{ID: exampleConnectionID, Integration: "github", Scope: "acme", Owner: "u-17", OwnerScope: new(patchbay.Scope("acme/users/17")),
		Name: "", Account: patchbay.Account{ID: "583231", Name: "octocat", URL: "https://github.com/octocat"}, Grants: []string{"repo", "admin:repo_hook"},
		State: patchbay.ConnectionActive, CheckedAt: new(exampleTime), CreatedAt: exampleTime, UpdatedAt: exampleTime, Links: 2}
)

type (
	createConnectionInput struct{ Body connect.Input }
	updateConnectionInput struct {
		ByID
		IfMatch string `header:"If-Match" doc:"The ETag of the read; 409 when the connection has been changed since."`
		RawBody []byte
		Body    connect.Input
	}
	listConnectionsInput struct {
		Paging
		Scope       string `query:"scope" doc:"Connections at or below it." example:"acme"`
		Serving     string `query:"serving" doc:"Instead, those that a link in this scope may use: in it and above it." example:"acme/repos/1"`
		Integration string `query:"integration" example:"github"`
	}
	deleteConnectionInput struct {
		ByID
		Force bool `query:"force" doc:"Delete it although links use it; they stop working."`
	}
	connectionListOutput struct{ Body page[connect.View] }
	connectionOutput     struct {
		ETag string `header:"ETag" hidden:"true"`
		Body connect.View
	}
	newConnectionOutput struct {
		Status   int
		ETag     string `header:"ETag" hidden:"true"`
		Location string `header:"Location" hidden:"true"`
		Body     connect.View
	}
	deletedConnectionOutput struct {
		Notice string `header:"Patchbay-Notice" hidden:"true"`
	}
)

func (a *api) createConnection(ctx context.Context, c *access.Caller, in *createConnectionInput) (*newConnectionOutput, error) {
	v, created, err := a.Connections.Create(ctx, c, in.Body)
	if err != nil {
		return nil, err
	}
	out := &newConnectionOutput{Status: http.StatusOK, ETag: quoted(v.Version()), Location: "/v1/connections/" + v.ID.String(), Body: *v}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

func (a *api) listConnections(ctx context.Context, c *access.Caller, in *listConnectionsInput) (*connectionListOutput, error) {
	after, err := in.idOf(cursorConnections)
	if err != nil {
		return nil, err
	}
	f := connect.ListFilter{Integration: in.Integration, After: patchbay.ConnectionID(after), Limit: in.Limit}
	for _, p := range []struct {
		name, text string
		into       **patchbay.Scope
	}{{"scope", in.Scope, &f.Scope}, {"serving", in.Serving, &f.Serving}} {
		if p.text == "" {
			continue
		}
		scope, err := patchbay.ParseScope(p.text)
		if err != nil {
			return nil, patchbay.Invalid(p.name, "%v", err)
		}
		*p.into = &scope
	}
	if f.Scope != nil && f.Serving != nil {
		return nil, patchbay.Invalid("serving", "cannot be combined with scope")
	}
	views, more, err := a.Connections.List(ctx, c, f)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorConnections, int64(views[len(views)-1].ID))
	}
	return &connectionListOutput{newPage(views, next)}, nil
}

func (a *api) getConnection(ctx context.Context, c *access.Caller, in *ByID) (*connectionOutput, error) {
	return connectionBy(ctx, c, in, a.Connections.Get)
}

func (a *api) checkConnection(ctx context.Context, c *access.Caller, in *ByID) (*connectionOutput, error) {
	return connectionBy(ctx, c, in, a.Connections.Check)
}

// connectionBy answers with the connection that one of the service's calls returns.
func connectionBy(ctx context.Context, c *access.Caller, in *ByID,
	call func(context.Context, *access.Caller, patchbay.ConnectionID) (*connect.View, error)) (*connectionOutput, error) {
	var id patchbay.ConnectionID
	if err := pathID("connection", in.ID, &id); err != nil {
		return nil, err
	}
	v, err := call(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &connectionOutput{ETag: quoted(v.Version()), Body: *v}, nil
}

func (a *api) updateConnection(ctx context.Context, c *access.Caller, in *updateConnectionInput) (*connectionOutput, error) {
	var id patchbay.ConnectionID
	if err := pathID("connection", in.ID, &id); err != nil {
		return nil, err
	}
	version, err := unquoted(in.IfMatch)
	if err != nil {
		return nil, err
	}
	v, err := a.Connections.Update(ctx, c, id, in.Body, nulls(in.RawBody), version)
	if err != nil {
		return nil, err
	}
	return &connectionOutput{ETag: quoted(v.Version()), Body: *v}, nil
}

func (a *api) deleteConnection(ctx context.Context, c *access.Caller, in *deleteConnectionInput) (*deletedConnectionOutput, error) {
	var id patchbay.ConnectionID
	if err := pathID("connection", in.ID, &id); err != nil {
		return nil, err
	}
	d, err := a.Connections.Delete(ctx, c, id, in.Force)
	if err != nil {
		return nil, err
	}
	return &deletedConnectionOutput{Notice: asciiField(d.Notice)}, nil
}

// asciiField makes a sentence fit for a header field, in which other characters than these mean nothing (RFC 9110 §5.5).
func asciiField(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// quoted spells a version as an entity tag.
func quoted(version string) string { return `"` + version + `"` }

// unquoted reads an If-Match header; "" is any version. A proxy that compresses may have weakened the tag.
func unquoted(text string) (string, error) {
	switch text = strings.TrimSpace(text); {
	case text == "" || text == "*":
		return "", nil
	case strings.Contains(text, ","):
		return "", patchbay.Invalid("If-Match", "may hold one entity tag, the ETag of the read")
	}
	tag := strings.TrimPrefix(text, "W/")
	if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return "", patchbay.Invalid("If-Match", `must be the ETag of the read, with its quotes, such as "mi2x0c9k"`)
	}
	return tag[1 : len(tag)-1], nil
}
