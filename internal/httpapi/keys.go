package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// keyRoutes registers the routes of API keys.
func (a *api) keyRoutes() {
	register(a, operation{id: "create-key", method: http.MethodPost, path: "/v1/keys", tag: tagKeys, summary: "Create an API key",
		description: "The token is shown in this answer only.", needs: access.Admin, status: http.StatusCreated,
		request: exampleKeyInput, response: exampleNewKey, headers: map[string]string{"Location": "The key's path."}}, a.createKey)
	register(a, operation{id: "list-keys", method: http.MethodGet, path: "/v1/keys", tag: tagKeys, summary: "List API keys",
		description: "The oldest first.", needs: access.Admin, response: newPage([]access.KeyView{exampleKey}, "")}, a.listKeys)
	register(a, operation{id: "get-key", method: http.MethodGet, path: "/v1/keys/{id}", tag: tagKeys, summary: "Get an API key",
		needs: access.Admin, response: exampleKey}, a.getKey)
	register(a, operation{id: "delete-key", method: http.MethodDelete, path: "/v1/keys/{id}", tag: tagKeys, summary: "Delete an API key",
		description: "Calls with it are refused from this answer on. A key cannot delete itself.", needs: access.Admin, status: http.StatusNoContent}, a.deleteKey)
}

type (
	keyInput struct {
		Name        string              `json:"name,omitempty" maxLength:"200" doc:"For people." example:"CI"`
		Scope       string              `json:"scope,omitempty" doc:"What the key reaches: this and everything below it. Default: the whole installation." example:"acme"`
		Permissions []access.Permission `json:"permissions" enum:"publish,inline,read,manage,admin" nullable:"false" minItems:"1"`
		ExpiresAt   *time.Time          `json:"expires_at,omitempty" doc:"Default: never."`
	}
	createKeyInput struct{ Body keyInput }
	newKeyOutput   struct {
		Location string `header:"Location" hidden:"true"`
		Body     access.KeyView
	}
	keyListOutput struct{ Body page[access.KeyView] }
	keyOutput     struct{ Body access.KeyView }
	listKeysInput struct{ Paging }
)

func (a *api) createKey(ctx context.Context, c *access.Caller, in *createKeyInput) (*newKeyOutput, error) {
	k := access.KeyInput{Name: in.Body.Name, Scope: in.Body.Scope}
	for _, p := range in.Body.Permissions {
		k.Permissions = append(k.Permissions, string(p))
	}
	if in.Body.ExpiresAt != nil {
		k.ExpiresAt = *in.Body.ExpiresAt
	}
	v, err := a.Keys.Create(ctx, c, k)
	if err != nil {
		return nil, err
	}
	return &newKeyOutput{Location: "/v1/keys/" + v.ID.String(), Body: *v}, nil
}

func (a *api) listKeys(ctx context.Context, c *access.Caller, in *listKeysInput) (*keyListOutput, error) {
	after, err := in.idOf(cursorKeys)
	if err != nil {
		return nil, err
	}
	views, more, err := a.Keys.List(ctx, c, patchbay.KeyID(after), in.Limit)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorKeys, int64(views[len(views)-1].ID))
	}
	return &keyListOutput{newPage(views, next)}, nil
}

func (a *api) getKey(ctx context.Context, c *access.Caller, in *ByID) (*keyOutput, error) {
	var id patchbay.KeyID
	if err := pathID("API key", in.ID, &id); err != nil {
		return nil, err
	}
	v, err := a.Keys.Get(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &keyOutput{*v}, nil
}

func (a *api) deleteKey(ctx context.Context, c *access.Caller, in *ByID) (*noOutput, error) {
	var id patchbay.KeyID
	if err := pathID("API key", in.ID, &id); err != nil {
		return nil, err
	}
	return nil, a.Keys.Delete(ctx, c, id)
}
