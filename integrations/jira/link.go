package jira

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// The kinds of webhooks: what an OAuth 2.0 app registers for a person, which ends after 30 days, and what an administrator
// registers, which stays.
const (
	kindDynamic = "dynamic"
	kindAdmin   = "admin"
)

// renewAfter is half of the 30 days after which dynamic webhooks end.
// https://developer.atlassian.com/cloud/jira/platform/webhooks/ (section "Refreshing")
const renewAfter = 15 * 24 * time.Hour

const (
	hookPage     = 100
	maxHookPages = 5
)

// hookState is what a link remembers of its webhook.
type hookState struct {
	Kind string `json:"kind"`
	// Base is the API that it was registered with.
	Base string      `json:"base"`
	ID   json.Number `json:"id"`
}

func stateOf(raw json.RawMessage) hookState {
	var s hookState
	if json.Unmarshal(raw, &s) != nil {
		return hookState{}
	}
	return s
}

// Attaches reports whether a link needs a webhook that we register.
func (*Jira) Attaches(settings any) bool { return settings.(*Settings).registers() }

// Attach registers the link's webhook, or keeps the one that is there alive.
func (*Jira) Attach(ctx context.Context, at *integration.Attachment) (*integration.Attached, integration.Result) {
	c, failed := reach(at.Settings.(*Settings), at.Connection, at.Env, nil, false)
	if failed != nil {
		return nil, *failed
	}
	if failed := c.mayHear(); failed != nil {
		return nil, *failed
	}
	state := stateOf(at.State)
	if state.ID != "" && (state.Base != c.base || state.Kind != c.hookKind()) {
		if failed := c.leave(ctx, state); failed != nil && failed.Verdict == patchbay.VerdictRetry {
			return nil, *failed
		}
		state = hookState{}
	}
	out := new(integration.Attached)
	if c.gateway {
		out.RenewAt = at.Env.Now().Add(renewAfter)
		state.ID, failed = c.keepDynamic(ctx, state.ID)
	} else {
		state.ID, failed = c.keepAdmin(ctx, state.ID, at)
	}
	if failed != nil {
		return nil, *failed
	}
	state.Kind, state.Base = c.hookKind(), c.base
	raw, err := json.Marshal(state)
	if err != nil {
		return nil, integration.Unrenderable(err)
	}
	out.State = raw
	return out, integration.Delivered()
}

// Detach takes down what Attach has registered.
func (*Jira) Detach(ctx context.Context, at *integration.Attachment) integration.Result {
	c, failed := reach(at.Settings.(*Settings), at.Connection, at.Env, nil, false)
	if failed != nil {
		return *failed
	}
	state := stateOf(at.State)
	if state.ID == "" && !c.gateway && at.HookURL != "" { // we may have been killed between registering and remembering
		if state.ID, failed = c.findAdmin(ctx, at.HookURL); failed != nil {
			return *failed
		}
		state.Kind, state.Base = kindAdmin, c.base
	}
	if failed := c.leave(ctx, state); failed != nil {
		return *failed
	}
	return integration.Delivered()
}

func (c *client) hookKind() string {
	if c.gateway {
		return kindDynamic
	}
	return kindAdmin
}

// mayHear refuses what could be registered but never heard of.
func (c *client) mayHear() *integration.Result {
	var r integration.Result
	switch {
	case c.env.PublicURL == "":
		r = integration.Misconfigured("%s needs an address to call: the operator has to set public-url", partner)
	case c.gateway && c.site != c.account:
		r = integration.UserError("what comes in can only be told from the connection's own site, %s: connect the site %s by itself", c.account, c.site)
	default:
		return nil
	}
	return &r
}

// leave takes a webhook down. Signing in to another address than it was registered at would show the credentials there.
func (c *client) leave(ctx context.Context, s hookState) *integration.Result {
	var failed *integration.Result
	switch {
	case s.ID == "":
	case s.Kind == kindDynamic && c.gateway:
		_, failed = c.send(ctx, http.MethodDelete, s.Base+"/rest/api/3/webhook", map[string]any{"webhookIds": []json.Number{s.ID}}, nil)
	case s.Kind == kindAdmin && s.Base == c.base:
		_, failed = c.call(ctx, http.MethodDelete, c.url("rest", "webhooks", "1.0", "webhook", s.ID.String()), nil)
	}
	if failed != nil && failed.Code == http.StatusNotFound {
		return nil
	}
	return failed
}

// dynamic is a webhook of the app, registered by whoever connected.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-webhooks/
type dynamic struct {
	ID     json.Number `json:"id,omitempty"`
	Events []string    `json:"events"`
	Filter string      `json:"jqlFilter"`
	URL    string      `json:"url,omitempty"`
}

// appURL is our own address. An app registers one address only, for all people and sites, so calls to it are told apart by
// the site that they come from and by the webhooks that they say they are for.
// https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-webhooks/#api-rest-api-3-webhook-post (property url)
func (c *client) appURL() string {
	return integration.JoinURL(c.env.PublicURL, "integrations", Key, "hook")
}

// keepDynamic renews the webhook with an id, or registers one. One that nobody remembers, because we were killed in between,
// is not looked for: the webhooks of all links look the same. It ends by itself, and what it tells is for no link.
func (c *client) keepDynamic(ctx context.Context, id json.Number) (json.Number, *integration.Result) {
	wanted := dynamic{Events: c.settings.jiraEvents(), Filter: "project = " + quote(c.settings.ProjectKey)}
	if id != "" {
		have, failed := c.findDynamic(ctx, id)
		switch {
		case failed != nil:
			return "", failed
		case have != nil && have.same(&wanted, c.appURL()):
			_, failed := c.send(ctx, http.MethodPut, c.url("rest", "api", "3", "webhook", "refresh"),
				map[string]any{"webhookIds": []json.Number{id}}, nil)
			return id, c.hookFailed(failed)
		case have != nil:
			if failed := c.leave(ctx, hookState{Kind: kindDynamic, Base: c.base, ID: id}); failed != nil {
				return "", failed
			}
		}
	}
	var answer struct {
		Results []struct {
			ID     json.Number `json:"createdWebhookId"`
			Errors []string    `json:"errors"`
		} `json:"webhookRegistrationResult"`
	}
	resp, failed := c.send(ctx, http.MethodPost, c.url("rest", "api", "3", "webhook"),
		map[string]any{"url": c.appURL(), "webhooks": []dynamic{wanted}}, &answer)
	switch {
	case failed != nil:
		return "", c.hookFailed(failed)
	case len(answer.Results) == 1 && answer.Results[0].ID != "":
		return answer.Results[0].ID, nil
	case len(answer.Results) == 1:
		r := c.complain(strings.Join(answer.Results[0].Errors, " "), resp)
		return "", &r
	}
	r := integration.UserError("%s registered no webhook, and did not say why", partner).With(resp)
	return "", &r
}

func (d *dynamic) same(wanted *dynamic, address string) bool {
	return d.Filter == wanted.Filter && (d.URL == "" || d.URL == address) && slices.Equal(slices.Sorted(slices.Values(d.Events)), wanted.Events)
}

// findDynamic looks for a webhook among those that the app registered for this person.
func (c *client) findDynamic(ctx context.Context, id json.Number) (*dynamic, *integration.Result) {
	for page := range maxHookPages {
		var answer struct {
			Values []dynamic `json:"values"`
			Last   bool      `json:"isLast"`
		}
		address := c.url("rest", "api", "3", "webhook") + "?maxResults=100&startAt=" + itoa(page*hookPage)
		if _, failed := c.get(ctx, address, &answer); failed != nil {
			return nil, c.hookFailed(failed)
		}
		for i := range answer.Values {
			if answer.Values[i].ID == id {
				return &answer.Values[i], nil
			}
		}
		if answer.Last || len(answer.Values) == 0 {
			break
		}
	}
	return nil, nil
}

// complain turns Jira's own words into a sentence. Which words it has is unconfirmed, so each is looked for loosely.
func (c *client) complain(said string, resp *integration.Response) integration.Result {
	said = strings.ToLower(said)
	switch {
	case strings.Contains(said, "single url"):
		return integration.Retry("the app at Atlassian still has webhooks with another address, which have to be deleted or to end first: " +
			"public-url has changed, or another installation uses the same app").With(resp)
	case strings.Contains(said, "maximum") || strings.Contains(said, "limit") || strings.Contains(said, "too many") || strings.Contains(said, "exceed"):
		// https://developer.atlassian.com/cloud/jira/platform/webhooks/ (section "Limitations"): five per app, person and site.
		return integration.UserError("%s lets an app have five webhooks for one person on one site, and all are in use: delete a link that "+
			"receives over this connection, or connect another account", partner).With(resp)
	case strings.Contains(said, "jql") || strings.Contains(said, "project"):
		return integration.UserError("%s cannot watch project %s: check project_key, and that the account may browse the project", partner,
			c.settings.ProjectKey).With(resp)
	}
	return integration.UserError("%s did not register the webhook: check project_key, and that the app asks for manage:jira-webhook", partner).With(resp)
}

// hookFailed says what a refusal means for webhooks.
func (c *client) hookFailed(failed *integration.Result) *integration.Result {
	if failed == nil || failed.Verdict != patchbay.VerdictRejected {
		return failed
	}
	resp := &integration.Response{Status: failed.Code, Body: failed.Body}
	var r integration.Result
	switch {
	case failed.Code == http.StatusBadRequest || failed.Code == http.StatusConflict:
		r = c.complain(string(failed.Body), resp)
	case c.gateway && (failed.Code == http.StatusForbidden || failed.Code == http.StatusNotFound):
		r = integration.UserError("%s does not let the app register webhooks (%d): give it the scope manage:jira-webhook, and connect the account again",
			partner, failed.Code).With(resp)
	case failed.Code == http.StatusForbidden || failed.Code == http.StatusNotFound || failed.Code == http.StatusUnauthorized:
		r = integration.UserError("%s lets only administrators register webhooks (%d): sign in with an account that administers it, or set hook to "+
			"manual and have one register the link's address", partner, failed.Code).With(resp)
	default:
		return failed
	}
	return &r
}

// admin is a webhook that an administrator registered, at Jira Cloud and at Data Center.
// https://developer.atlassian.com/cloud/jira/platform/webhooks/#registering-a-webhook-via-the-jira-rest-api--for-connect-and-oauth-2-0-apps-
// and https://developer.atlassian.com/server/jira/platform/webhooks/ for /rest/webhooks/1.0/webhook. Data Center takes no secret
// there as far as is documented, so that its calls are proven by the token in the address.
type admin struct {
	Self    string            `json:"self,omitempty"`
	Name    string            `json:"name"`
	URL     string            `json:"url"`
	Events  []string          `json:"events"`
	Filters map[string]string `json:"filters"`
	Exclude bool              `json:"excludeBody"`
	Secret  string            `json:"secret,omitempty"`
}

// keepAdmin brings the webhook with an id, or the one with our address, up to date, or makes one.
func (c *client) keepAdmin(ctx context.Context, id json.Number, at *integration.Attachment) (json.Number, *integration.Result) {
	wanted := admin{
		Name: "Patchbay", URL: at.HookURL, Events: c.settings.jiraEvents(),
		Filters: map[string]string{"issue-related-events-section": "project = " + quote(c.settings.ProjectKey)},
	}
	if c.cloud {
		wanted.Secret = at.HookSecret.Reveal()
	}
	if id != "" {
		failed := c.putAdmin(ctx, id, &wanted)
		if failed == nil || failed.Code != http.StatusNotFound {
			return id, c.hookFailed(failed)
		}
	}
	id, failed := c.findAdmin(ctx, at.HookURL)
	switch {
	case failed != nil:
		return "", failed
	case id != "":
		return id, c.hookFailed(c.putAdmin(ctx, id, &wanted))
	}
	var made admin
	resp, failed := c.send(ctx, http.MethodPost, c.url("rest", "webhooks", "1.0", "webhook"), &wanted, &made)
	if failed != nil {
		return "", c.hookFailed(failed)
	}
	if id = made.id(); id == "" {
		r := integration.UserError("%s did not say which webhook it registered: check %s", partner, c.where()).With(resp)
		return "", &r
	}
	return id, nil
}

func (c *client) putAdmin(ctx context.Context, id json.Number, wanted *admin) *integration.Result {
	_, failed := c.send(ctx, http.MethodPut, c.url("rest", "webhooks", "1.0", "webhook", id.String()), wanted, nil)
	return failed
}

// findAdmin looks for the webhook that calls an address; "" is none.
func (c *client) findAdmin(ctx context.Context, address string) (json.Number, *integration.Result) {
	var all []admin
	if _, failed := c.get(ctx, c.url("rest", "webhooks", "1.0", "webhook"), &all); failed != nil {
		return "", c.hookFailed(failed)
	}
	for i := range all {
		if all[i].URL == address {
			return all[i].id(), nil
		}
	}
	return "", nil
}

var digits = regexp.MustCompile(`^[0-9]{1,18}$`)

// id is the last part of a webhook's own address, which is all that tells it.
func (a *admin) id() json.Number {
	if last := path.Base(a.Self); digits.MatchString(last) {
		return json.Number(last)
	}
	return ""
}
