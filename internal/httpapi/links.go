package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

// linkRoutes registers the routes of links.
func (a *api) linkRoutes() {
	tagged := map[string]string{"ETag": "The link's revision, for If-Match."}
	op := func(id, method, path, summary, description string) operation {
		return operation{id: id, method: method, path: path, tag: tagLinks, summary: summary, description: description,
			needs: access.Manage, response: exampleLink, headers: tagged}
	}
	create := op("create-link", http.MethodPost, "/v1/links", "Create a link",
		"A secret that is made for the link is shown in this answer only. When the partner needs time to set up its side, the link is `attaching` until then; what the partner refuses is refused here, and no link is left behind.")
	create.status, create.request, create.response = http.StatusCreated, exampleLinkInput, exampleNewLink
	create.headers = map[string]string{"ETag": tagged["ETag"], "Location": "The link's path."}
	register(a, create, a.createLink)

	list := op("list-links", http.MethodGet, "/v1/links", "List links", "The oldest first.")
	list.needs, list.response, list.headers = access.Read, newPage([]links.View{exampleLink}, ""), nil
	register(a, list, a.listLinks)

	get := op("get-link", http.MethodGet, "/v1/links/{id}", "Get a link", "Secrets are masked.")
	get.needs = access.Read
	register(a, get, a.getLink)

	update := op("update-link", http.MethodPatch, "/v1/links/{id}", "Change a link",
		"Absent fields keep their values, null clears one. A masked secret that is sent back stays what it is; changing an address that stored secrets are sent to requires giving them again.")
	update.request = map[string]any{"filter": "payload.branch == 'main'"}
	register(a, update, a.updateLink)

	remove := op("delete-link", http.MethodDelete, "/v1/links/{id}", "Delete a link",
		"What waits for it is cancelled. What was set up for it at the partner is taken down afterwards; until then the link is `detaching` and does nothing.")
	remove.status, remove.response, remove.headers = http.StatusNoContent, nil, nil
	register(a, remove, a.deleteLink)

	test := op("test-link", http.MethodPost, "/v1/links/{id}/test", "Test a link", "Sends a test event over it, once. A test that fails is a 200 that says so.")
	test.response, test.headers = exampleTestResult, nil
	register(a, test, a.testLink)

	register(a, op("pause-link", http.MethodPost, "/v1/links/{id}/pause", "Pause a link", "What matches is held and sent on resume."), a.pauseLink)
	resume := op("resume-link", http.MethodPost, "/v1/links/{id}/resume", "Resume a link",
		"Ends a pause, and enables a disabled link. It needs no body; with `skip` it goes on with what happens from now on: what has waited is cancelled, with one write whatever there is of it, and a job that recovers can bring it back.")
	resume.request = resumption{Skip: true}
	register(a, resume, a.resumeLink)
	rotate := op("rotate-link-secret", http.MethodPost, "/v1/links/{id}/secret/rotate", "Rotate a link's signing secret",
		"Makes a new one, which is shown in this answer only: the one that Patchbay signs with, or where it has none the one that the partner signs with. For a day both are good.")
	rotate.response = exampleNewLink
	register(a, rotate, a.rotateLinkSecret)
}

type (
	createLinkInput struct{ Body links.Input }
	updateLinkInput struct {
		ByID
		IfMatch string `header:"If-Match" doc:"The ETag of the read; 409 when the link has been changed since."`
		RawBody []byte
		Body    links.Input
	}
	listLinksInput struct {
		Paging
		Scope       string `query:"scope" doc:"Links at or below it." example:"acme/repos"`
		Effective   bool   `query:"effective" doc:"The links that an event of the scope could match instead, inherited ones included."`
		Overridden  bool   `query:"overridden" doc:"With effective: inherited links that another one takes the place of are marked rather than left out."`
		Integration string `query:"integration" example:"slack"`
	}
	resumeLinkInput struct {
		ByID
		Body *resumption
	}
	resumption struct {
		Skip bool `json:"skip,omitempty" doc:"Cancel what has waited rather than deliver it." example:"false"`
	}
	linkListOutput struct{ Body page[links.View] }
	linkOutput     struct {
		ETag string `header:"ETag" hidden:"true"`
		Body links.View
	}
	newLinkOutput struct {
		ETag     string `header:"ETag" hidden:"true"`
		Location string `header:"Location" hidden:"true"`
		Body     links.View
	}
	testOutput struct{ Body links.TestResult }
	noOutput   struct{}
)

func (a *api) createLink(ctx context.Context, c *access.Caller, in *createLinkInput) (*newLinkOutput, error) {
	v, err := a.Links.Create(ctx, c, in.Body)
	if err != nil {
		return nil, err
	}
	return &newLinkOutput{ETag: etag(v.Revision), Location: "/v1/links/" + v.ID.String(), Body: *v}, nil
}

func (a *api) listLinks(ctx context.Context, c *access.Caller, in *listLinksInput) (*linkListOutput, error) {
	scope, err := reachable(c, in.Scope)
	if err != nil {
		return nil, err
	}
	after, err := in.idOf(cursorLinks)
	if err != nil {
		return nil, err
	}
	views, more, err := a.Links.List(ctx, c, links.ListFilter{Scope: &scope, Effective: in.Effective, Overridden: in.Overridden, Integration: in.Integration,
		After: patchbay.LinkID(after), Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorLinks, int64(views[len(views)-1].ID))
	}
	return &linkListOutput{newPage(views, next)}, nil
}

func (a *api) getLink(ctx context.Context, c *access.Caller, in *ByID) (*linkOutput, error) {
	return linkBy(ctx, c, in, a.Links.Get)
}

func (a *api) updateLink(ctx context.Context, c *access.Caller, in *updateLinkInput) (*linkOutput, error) {
	var id patchbay.LinkID
	if err := pathID("link", in.ID, &id); err != nil {
		return nil, err
	}
	revision, err := ifMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	v, err := a.Links.Update(ctx, c, id, in.Body, nulls(in.RawBody), revision)
	if err != nil {
		return nil, err
	}
	return &linkOutput{ETag: etag(v.Revision), Body: *v}, nil
}

func (a *api) deleteLink(ctx context.Context, c *access.Caller, in *ByID) (*noOutput, error) {
	var id patchbay.LinkID
	if err := pathID("link", in.ID, &id); err != nil {
		return nil, err
	}
	return nil, a.Links.Delete(ctx, c, id)
}

func (a *api) pauseLink(ctx context.Context, c *access.Caller, in *ByID) (*linkOutput, error) {
	return linkBy(ctx, c, in, a.Links.Pause)
}

func (a *api) resumeLink(ctx context.Context, c *access.Caller, in *resumeLinkInput) (*linkOutput, error) {
	if in.Body != nil && in.Body.Skip {
		return linkBy(ctx, c, &in.ByID, a.Links.Skip)
	}
	return linkBy(ctx, c, &in.ByID, a.Links.Resume)
}

func (a *api) rotateLinkSecret(ctx context.Context, c *access.Caller, in *ByID) (*linkOutput, error) {
	return linkBy(ctx, c, in, a.Links.RotateSecret)
}

// linkBy answers with the link that one of the service's calls returns.
func linkBy(ctx context.Context, c *access.Caller, in *ByID,
	call func(context.Context, *access.Caller, patchbay.LinkID) (*links.View, error)) (*linkOutput, error) {
	var id patchbay.LinkID
	if err := pathID("link", in.ID, &id); err != nil {
		return nil, err
	}
	v, err := call(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &linkOutput{ETag: etag(v.Revision), Body: *v}, nil
}

func (a *api) testLink(ctx context.Context, c *access.Caller, in *ByID) (*testOutput, error) {
	var id patchbay.LinkID
	if err := pathID("link", in.ID, &id); err != nil {
		return nil, err
	}
	r, err := a.Links.Test(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &testOutput{*r}, nil
}

// nulls names the fields of a JSON object that are null.
func nulls(raw []byte) []string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil // it has been checked; nothing to clear in what is not an object
	}
	var out []string
	for name, v := range fields {
		if string(v) == "null" {
			out = append(out, strings.ToLower(name)) // as encoding/json, which ignores case
		}
	}
	slices.Sort(out)
	return out
}

// etag spells a revision as an entity tag.
func etag(revision int) string { return `"` + strconv.Itoa(revision) + `"` }

// ifMatch reads an If-Match header; 0 is any revision. A proxy that compresses may have weakened the tag.
func ifMatch(text string) (int, error) {
	switch text = strings.TrimSpace(text); {
	case text == "" || text == "*":
		return 0, nil
	case strings.Contains(text, ","):
		return 0, patchbay.Invalid("If-Match", "may hold one entity tag, the ETag of the read")
	}
	quoted := strings.TrimPrefix(text, "W/")
	if len(quoted) < 2 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
		return 0, patchbay.Invalid("If-Match", `must be the ETag of the read, with its quotes, such as "3"`)
	}
	revision, err := strconv.Atoi(quoted[1 : len(quoted)-1])
	if err != nil || revision < 1 {
		return 0, patchbay.Errorf(patchbay.CodeConflict, "If-Match is not an ETag that this link has had: read it again")
	}
	return revision, nil
}
