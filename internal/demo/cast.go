package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
)

// impatient is the retry schedule of links whose retries are to be seen.
var impatient = []patchbay.Duration{
	patchbay.Duration(time.Second), patchbay.Duration(2 * time.Second), patchbay.Duration(4 * time.Second), patchbay.Duration(8 * time.Second),
}

// role is a link that the demo makes.
type role struct {
	name        string
	integration string
	scope       patchbay.Scope
	reach       patchbay.Reach
	events      []patchbay.Pattern
	filter      string
	settings    map[string]any
	retry       []patchbay.Duration
	// verifies says that the stand-in at this path checks signatures.
	verifies string
	// paused says that the link is paused for a while.
	paused bool
}

// cast is every link, in the order in which the demo introduces them.
func (s *standIns) cast() []role {
	return []role{
		{name: "Slack #qa", integration: "slack", scope: "acme/qa", events: []patchbay.Pattern{"run_*"},
			settings: map[string]any{"url": s.base + "/slack/qa", "channel": "#qa"}},
		{name: "HipChat QA room", integration: "hip_chat", scope: "acme/qa", events: []patchbay.Pattern{"run_completion", "run_error"},
			settings: map[string]any{"room_id": "4711", "room_token": "demo-token", "base_url": s.base + "/hipchat"}},
		{name: "Jira QA", integration: "jira", scope: "acme/qa", events: []patchbay.Pattern{"run_test_failure"},
			settings: map[string]any{"jira_base_url": s.base + "/jira", "project_key": "QA", "token": "demo-token"}},
		{name: "Pivotal Tracker", integration: "pivotal_tracker", scope: "acme", events: []patchbay.Pattern{"run_*"},
			settings: map[string]any{"project_id": "99", "api_token": "demo-token", "base_url": s.base + "/pivotal"}},
		{name: "Slack #develop", integration: "slack", scope: "globex/repos/web", reach: patchbay.ReachExact, events: []patchbay.Pattern{"repo.push"},
			settings: map[string]any{"url": s.base + "/slack/develop", "channel": "#develop"}},
		{name: "Slack #general", integration: "slack", scope: "globex/repos", reach: patchbay.ReachChildren, events: []patchbay.Pattern{"pullrequest.*"},
			settings: map[string]any{"url": s.base + "/slack/general", "channel": "#general"}},
		{name: "Log server", integration: "webhook", events: []patchbay.Pattern{"*"},
			settings: map[string]any{"url": s.base + "/hooks/logs", "format": "flat"}, verifies: "/hooks/logs"},
		{name: "City data warehouse", integration: "webhook", scope: "springfield", events: []patchbay.Pattern{"*Created", "*StateChanged"},
			settings: map[string]any{"url": s.base + "/hooks/warehouse"}, verifies: "/hooks/warehouse"},
		{name: "Team mail", integration: "email", scope: "initech/teams/eng", events: []patchbay.Pattern{"entry.created"},
			settings: map[string]any{"to": "team@initech.example"}},
		{name: "GitHub initech/web", integration: "github", scope: "initech/teams/eng",
			settings: map[string]any{"repository": repository, "token": "demo-token", "api_url": s.base + "/github"}},
		{name: "Inbox of what failed", integration: "inbox", events: []patchbay.Pattern{"run_completion", "patchbay.link.*"},
			filter: "type != 'run_completion' || payload.run.result == 'failed'"},
		{name: "Flaky contractor", integration: "webhook", scope: "springfield", events: []patchbay.Pattern{"operation*", "reportCreated"},
			settings: map[string]any{"url": s.base + "/flaky/contractor"}, retry: impatient},
		{name: "Dead pager", integration: "webhook", scope: "acme", events: []patchbay.Pattern{"run_error", "run_webhook_timeout"},
			settings: map[string]any{"url": s.dead + "/page"}, retry: impatient[:2]},
		{name: "Nightly import", integration: "webhook", scope: "globex", events: []patchbay.Pattern{"repo.*"},
			settings: map[string]any{"url": s.base + "/hooks/nightly"}, verifies: "/hooks/nightly", paused: true},
	}
}

// make creates the link of a role.
func (s *standIns) make(ctx context.Context, api *client.Client, r *role) (*client.Link, error) {
	settings, err := json.Marshal(r.settings)
	if err != nil {
		return nil, err
	}
	if r.settings == nil {
		settings = json.RawMessage("{}")
	}
	events := r.events
	if events == nil {
		events = []patchbay.Pattern{} // it only receives
	}
	in := &client.LinkInput{Integration: &r.integration, Scope: &r.scope, Events: events, Settings: settings, Name: &r.name}
	if r.reach != "" {
		in.Reach = &r.reach
	}
	if r.filter != "" {
		in.Filter = &r.filter
	}
	if r.retry != nil {
		in.Retry = &patchbay.RetryPolicy{Schedule: r.retry}
	}
	link, err := api.CreateLink(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("the link %q could not be made: %w", r.name, err)
	}
	if r.verifies != "" {
		s.sign(r.verifies, link.Secrets["secret"])
	}
	return link, nil
}
