package github

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// maxHookPages bounds a search for our webhook: GitHub allows 20 for each event.
// https://docs.github.com/en/webhooks/using-webhooks/creating-webhooks#creating-a-repository-webhook
const maxHookPages = 10

// maxLeft is how many webhooks that could not be taken down are remembered.
const maxLeft = 8

// registered is a webhook of ours on a repository.
type registered struct {
	Repository string      `json:"repository"`
	ID         json.Number `json:"id"`
}

// hookState is what a link remembers.
type hookState struct {
	registered
	// Left are webhooks on repositories that the link was for before, which could not be taken down.
	Left []registered `json:"left,omitempty"`
}

// hook is a webhook as the API speaks of it.
// https://docs.github.com/en/rest/repos/webhooks
type hook struct {
	ID     json.Number `json:"id,omitempty"`
	Name   string      `json:"name,omitempty"`
	Active bool        `json:"active"`
	Events []string    `json:"events"`
	Config hookConfig  `json:"config"`
}

type hookConfig struct {
	URL         string `json:"url"`
	ContentType string `json:"content_type"`
	Secret      string `json:"secret,omitempty"`
	InsecureSSL string `json:"insecure_ssl"`
}

// Attaches reports whether a link needs a webhook on its repository.
func (*GitHub) Attaches(settings any) bool { return settings.(*Settings).hooks() }

// Attach registers the link's webhook, or brings the one that is there up to date.
func (*GitHub) Attach(ctx context.Context, at *integration.Attachment) (*integration.Attached, integration.Result) {
	s := at.Settings.(*Settings)
	if at.HookURL == "" {
		return nil, integration.Misconfigured("%s needs an address to call: the operator has to set public-url", partner)
	}
	a, failed := newAPI(s, at.Connection, at.Env)
	if failed != nil {
		return nil, *failed
	}
	state := stateOf(at.State)
	wanted := hook{
		Active: true, Events: s.Receive,
		Config: hookConfig{URL: at.HookURL, ContentType: "json", Secret: at.HookSecret.Reveal(), InsecureSSL: "0"},
	}
	id := json.Number("")
	if strings.EqualFold(state.Repository, s.Repository) {
		id = state.ID
	} else if state.ID != "" {
		state.Left = append(state.Left, state.registered)
	}
	if id, failed = a.register(ctx, s, id, wanted); failed != nil {
		return nil, *failed
	}
	state.registered = registered{s.Repository, id}
	var left []registered
	for _, old := range state.Left {
		if failed := a.remove(ctx, old); failed != nil {
			if failed.Verdict == patchbay.VerdictRetry {
				return nil, *failed // what was registered is found again by its address
			}
			left = append(left, old)
		}
	}
	state.Left = left[max(0, len(left)-maxLeft):]
	raw, err := json.Marshal(state)
	if err != nil {
		return nil, integration.Unrenderable(err)
	}
	return &integration.Attached{State: raw}, integration.Delivered()
}

// Detach takes down what Attach has registered, whatever became of it since.
func (*GitHub) Detach(ctx context.Context, at *integration.Attachment) integration.Result {
	s := at.Settings.(*Settings)
	a, failed := newAPI(s, at.Connection, at.Env)
	if failed != nil {
		return *failed
	}
	state := stateOf(at.State)
	all := state.Left
	if state.ID != "" {
		all = append(slices.Clone(all), state.registered)
	} else if at.HookURL != "" { // we may have been killed between registering and remembering
		id, failed := a.find(ctx, s, at.HookURL)
		if failed != nil && failed.Code != http.StatusNotFound {
			return *failed
		}
		if id != "" {
			all = append(slices.Clone(all), registered{s.Repository, id})
		}
	}
	for _, r := range all {
		if failed := a.remove(ctx, r); failed != nil {
			return *failed
		}
	}
	return integration.Delivered()
}

func stateOf(raw json.RawMessage) hookState {
	var s hookState
	if json.Unmarshal(raw, &s) != nil {
		return hookState{} // it is found by its address
	}
	return s
}

// register updates the webhook with an id, or the one with our address, or makes one.
func (a *api) register(ctx context.Context, s *Settings, id json.Number, wanted hook) (json.Number, *integration.Result) {
	if id != "" {
		failed := a.update(ctx, s, id, wanted)
		if failed == nil || failed.Code != http.StatusNotFound {
			return id, failed
		}
	}
	id, failed := a.find(ctx, s, wanted.Config.URL)
	if failed != nil {
		return "", failed
	}
	if id != "" {
		return id, a.update(ctx, s, id, wanted)
	}
	wanted.Name = "web"
	resp, failed := a.send(ctx, http.MethodPost, a.repository(s, "hooks"), wanted)
	if failed != nil {
		return "", hookFailed(s, resp, failed)
	}
	var made hook
	if failed := read(resp, &made); failed != nil {
		return "", failed
	}
	return made.ID, nil
}

func (a *api) update(ctx context.Context, s *Settings, id json.Number, wanted hook) *integration.Result {
	resp, failed := a.send(ctx, http.MethodPatch, a.repository(s, "hooks", id.String()), wanted)
	if failed != nil {
		return hookFailed(s, resp, failed)
	}
	return nil
}

// find looks for the webhook that calls our address; "" is none.
func (a *api) find(ctx context.Context, s *Settings, address string) (json.Number, *integration.Result) {
	next := a.repository(s, "hooks") + "?per_page=100"
	for range maxHookPages {
		var hooks []hook
		resp, failed := a.get(ctx, next, &hooks)
		if failed != nil {
			return "", hookFailed(s, resp, failed)
		}
		for i := range hooks {
			if hooks[i].Config.URL == address {
				return hooks[i].ID, nil
			}
		}
		if next = a.nextPage(resp); next == "" {
			break
		}
	}
	return "", nil
}

// remove deletes a webhook. One that is not there, or whose repository is not, is gone.
func (a *api) remove(ctx context.Context, r registered) *integration.Result {
	s := &Settings{Repository: r.Repository}
	resp, failed := a.call(ctx, http.MethodDelete, a.repository(s, "hooks", r.ID.String()), nil)
	if failed == nil || failed.Code == http.StatusNotFound {
		return nil
	}
	return hookFailed(s, resp, failed)
}

// hookFailed says what a refusal means for webhooks.
func hookFailed(s *Settings, resp *integration.Response, failed *integration.Result) *integration.Result {
	if resp == nil || failed.Verdict != patchbay.VerdictRejected {
		return failed
	}
	said, _ := complaintOf(resp)
	var r integration.Result
	switch {
	case resp.Status == http.StatusNotFound || resp.Status == http.StatusForbidden:
		r = integration.UserError("%s does not let this account see the webhooks of %s (%d): it must administer the repository, "+
			"and its token needs admin:repo_hook", partner, s.Repository, resp.Status)
	case strings.Contains(said, "already exists"):
		r = integration.Retry("a webhook with this address has just been made on %s", s.Repository)
	case strings.Contains(said, "reachable") || strings.Contains(said, "localhost"):
		r = integration.Misconfigured("%s cannot reach this installation: its public-url must be an address on the internet", partner)
	case strings.Contains(said, "maximum") || strings.Contains(said, "limit"):
		r = integration.UserError("%s has as many webhooks as a repository may have: delete one there", s.Repository)
	case strings.Contains(said, "event"):
		r = integration.UserError("%s has no webhooks for one of the kinds in receive (422)", s.Repository)
	default:
		return failed
	}
	r = r.With(resp)
	return &r
}
