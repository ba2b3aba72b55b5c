package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

// integrationView is an integration as the API shows it, on both of its routes.
type integrationView struct {
	Key         string                    `json:"key"`
	Title       string                    `json:"title"`
	Category    string                    `json:"category"`
	Description string                    `json:"description"`
	Events      patterns                  `json:"events" doc:"The patterns of the event types that it supports, or \"*\" for every type; [] when it only receives."`
	Settings    []integration.SettingInfo `json:"settings" nullable:"false" doc:"What a link must say, in the order in which people see it."`
	Schema      json.RawMessage           `json:"schema" doc:"The settings' JSON Schema (2020-12)."`
	Supports    []integration.Capability  `json:"supports" nullable:"false" doc:"What it can do."`
	Kinds       []string                  `json:"kinds" nullable:"false" doc:"The kinds of scopes that its links are meant for, such as team and user; [] is every scope."`
}

// patterns are the types that an integration supports; nil is every type, which is spelled "*".
type patterns []patchbay.Pattern

// MarshalJSON writes "*" or the list.
func (p patterns) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte(`"*"`), nil
	}
	return json.Marshal([]patchbay.Pattern(p))
}

// Schema implements huma.SchemaProvider.
func (patterns) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, Enum: []any{"*"}}, {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}}}
}

// indexIntegrations makes the views. Definitions never change.
func (a *api) indexIntegrations() error {
	a.integrations = make(map[string]*integrationView, len(a.Integrations))
	a.catalogued = []*integrationView{}
	for _, i := range a.Integrations {
		d := i.Definition()
		if a.integrations[d.Key] != nil {
			return fmt.Errorf("httpapi: two integrations have the key %q", d.Key)
		}
		v := &integrationView{Key: d.Key, Title: d.Title, Category: d.Category, Description: d.Description, Events: d.Events,
			Settings: d.Settings.Info(), Schema: d.Settings.Schema(), Supports: integration.Supports(i), Kinds: append([]string{}, d.Kinds...)}
		_, sends := i.(integration.Sender)
		if _, receives := i.(integration.Receiver); receives && !sends {
			v.Events = patterns{}
		}
		a.integrations[d.Key] = v
		a.catalogued = append(a.catalogued, v)
	}
	return nil
}

func (a *api) listOpenIntegrations(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, a.catalogued)
}

func (a *api) getOpenIntegration(w http.ResponseWriter, r *http.Request) {
	v, err := a.integration(r.PathValue("key"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func (a *api) integration(key string) (*integrationView, error) {
	if v := a.integrations[key]; v != nil {
		return v, nil
	}
	return nil, patchbay.Errorf(patchbay.CodeNotFound, "there is no integration %q: GET /integrations lists those that there are", clip(key))
}

type (
	listIntegrationsInput struct{ Paging }
	integrationListOutput struct{ Body page[*integrationView] }
	integrationOutput     struct{ Body integrationView }
	settingsInput         struct {
		Settings   json.RawMessage  `json:"settings,omitempty" doc:"As a link would have them; an object."`
		Connection *string          `json:"connection,omitempty" doc:"The connection to use." example:"con_00u9pskqz6ds9"`
		Scope      *string          `json:"scope,omitempty" doc:"The scope of the link that there is to be. Default: the key's own." example:"acme/repos/1"`
		Link       *patchbay.LinkID `json:"link,omitempty" doc:"A stored link that is being changed: masks in the settings stand for its values."`
	}
	testIntegrationInput struct {
		ByKey
		Body settingsInput
	}
)

// integrationRoutes registers /v1/integrations.
func (a *api) integrationRoutes() {
	register(a, operation{id: "list-integrations", method: http.MethodGet, path: "/v1/integrations", tag: tagIntegrations, summary: "List integrations",
		response: newPage([]*integrationView{&exampleIntegration}, "")}, a.listIntegrations)
	register(a, operation{id: "get-integration", method: http.MethodGet, path: "/v1/integrations/{key}", tag: tagIntegrations, summary: "Get an integration",
		response: exampleIntegration}, a.getIntegration)
	register(a, operation{id: "test-integration", method: http.MethodPost, path: "/v1/integrations/{key}/test", tag: tagIntegrations, summary: "Test settings",
		description: "Sends a test event with settings that belong to no link. Nothing about them is kept. A test that fails is a 200 that says so.",
		needs:       access.Manage, request: map[string]any{"settings": exampleSettings}, response: exampleTestResult}, a.testIntegration)
	a.choiceRoute()
}

func (a *api) listIntegrations(_ context.Context, _ *access.Caller, in *listIntegrationsInput) (*integrationListOutput, error) {
	p, err := pageByKey(a.catalogued, func(v **integrationView) string { return (*v).Key }, cursorIntegrations, in.Paging)
	return &integrationListOutput{p}, err
}

func (a *api) getIntegration(_ context.Context, _ *access.Caller, in *ByKey) (*integrationOutput, error) {
	v, err := a.integration(in.Key)
	if err != nil {
		return nil, err
	}
	return &integrationOutput{*v}, nil
}

func (a *api) testIntegration(ctx context.Context, c *access.Caller, in *testIntegrationInput) (*testOutput, error) {
	if _, err := a.integration(in.Key); err != nil {
		return nil, err
	}
	r, err := a.Links.TestSettings(ctx, c, in.Key, links.Draft{
		Settings: notNull(in.Body.Settings), Connection: in.Body.Connection, Scope: in.Body.Scope, Link: in.Body.Link,
	})
	if err != nil {
		return nil, err
	}
	return &testOutput{*r}, nil
}
