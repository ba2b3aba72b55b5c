package github

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/integration/integrationtest"
)

// TestReceiverContract runs the kit over every type's example, sent to a link and sent by a GitHub App.
func TestReceiverContract(t *testing.T) {
	link := integrationtest.ReceiverCase{
		Integration: New(), HookSecret: hookSecret, Connection: connected(),
		Settings: `{"repository": "acme/web", "receive": "` + strings.Join(eventNames(), ",") + `"}`,
	}
	header := func(event, kind string) map[string]string {
		return map[string]string{"X-GitHub-Event": event, "X-GitHub-Delivery": "0b989ba4-242f-11e5-81e1-c7b6966d2516", "Content-Type": kind}
	}
	app := link
	app.Settings = strings.Replace(link.Settings, `{`, `{"hook": "app", `, 1)
	app.Config, app.SigningSecret, app.HookSecret = `{"webhook_secret": "of-the-operators-app"}`, "of-the-operators-app", ""
	for _, event := range []string{"push", "pull_request", "issues", "issue_comment", "release", "workflow_run", "status", "star"} {
		p := example(t, event)
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		link.Calls = append(link.Calls, integrationtest.ReceiverCall{Name: event, Header: header(event, "application/json"), Body: string(raw)})
		p["installation"] = map[string]any{"id": 77}
		if raw, err = json.Marshal(p); err != nil {
			t.Fatal(err)
		}
		app.Calls = append(app.Calls, integrationtest.ReceiverCall{Name: event, Header: header(event, "application/json"), Body: string(raw), App: true})
	}
	raw, _ := json.Marshal(example(t, "push"))
	link.Calls = append(link.Calls,
		integrationtest.ReceiverCall{Name: "form", Header: header("push", formType), Body: url.Values{"payload": {string(raw)}}.Encode()},
		integrationtest.ReceiverCall{Name: "ping", Header: header("ping", "application/json"), Body: `{"zen": "Design for failure."}`, Done: true},
		integrationtest.ReceiverCall{Name: "team", Header: header("team", "application/json"), Body: `{"action": "created"}`, Ignored: true})
	t.Run("link", func(t *testing.T) { integrationtest.RunReceiver(t, link) })
	t.Run("app", func(t *testing.T) { integrationtest.RunReceiver(t, app) })
}
