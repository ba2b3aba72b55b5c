package docgen

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

type partner struct{}

func (partner) Definition() *integration.Definition {
	return &integration.Definition{
		Key: "pager", Title: "Pager", Category: "incident", Description: "Wakes people | at night.",
		Docs: "# How\n\n```sh\n# not a heading\n```\n",
		Settings: integration.Spec{
			{Key: "url", Title: "Address", Type: integration.TypeURL, Required: true},
			{Key: "auth", Title: "Login", Type: integration.TypeObject, Fields: integration.Spec{{Key: "token", Title: "Token", Type: integration.TypeString, Secret: true}}},
			{Key: "tone", Title: "Tone", Type: integration.TypeSelect, Default: "loud", Options: []integration.Option{{Value: "loud"}, {Value: "soft"}}},
		},
		Config: integration.Spec{{Key: "client_id", Title: "Client", Type: integration.TypeString}},
	}
}

func sample() []patchbay.EventType {
	return []patchbay.EventType{
		{Key: "run.done", Title: "Run done", Description: "A run\nended.", Aliases: []string{"run_done"}, Origin: "rainforest",
			Schema: json.RawMessage(`{"type": "object", "required": ["run"], "properties": {
				"run": {"type": "object", "description": "The run.", "properties": {"result": {"enum": ["passed", "failed"]}, "id": {"type": ["integer", "string"]}}},
				"tests": {"type": "array", "items": {"type": "object", "properties": {"title": {"type": "string"}}}}}}`),
			Example: json.RawMessage(`{"run": {"id": 7}}`)},
		{Key: "ping", Title: "Ping", Origin: "builtin"},
	}
}

// TestEvents proves that a type's page tells its fields in the order of the schema, what is required, and an example.
func TestEvents(t *testing.T) {
	page := string(Events(sample()))
	for _, want := range []string{
		"## rainforest\n\n| type | title | payload |\n|---|---|---|\n| `run.done` | Run done | `run`, `tests` |\n",
		"### `run.done`\n\nRun done. A run ended.\n\nAlso accepted as `run_done`.\n",
		"| `run` | object | Required. The run. |\n| `run.result` | `passed` or `failed` |  |\n| `run.id` | integer or string |  |\n| `tests` | array |  |\n| `tests[].title` | string |  |\n",
		"```json\n{\n  \"run\": {\n    \"id\": 7\n  }\n}\n```\n",
		"## builtin\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing:\n%s\nin:\n%s", want, page)
		}
	}
}

// TestIntegrations proves that settings are listed with those inside of them, and that an integration's own headings
// stand below its title.
func TestIntegrations(t *testing.T) {
	page := string(Integrations([]integration.Integration{partner{}}))
	for _, want := range []string{
		"| `pager` | Pager | incident | Wakes people \\| at night. |\n",
		"| `url` | url | required | Address |\n| `auth` | object |  | Login |\n| `auth.token` | string, secret |  | Token |\n| `tone` | select | default `loud` | Tone. One of `loud`, `soft` |\n",
		"below `integrations.pager` in `patchbay.yaml`", "| `client_id` |", "\n### How\n", "\n# not a heading\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing:\n%s\nin:\n%s", want, page)
		}
	}
}

// TestFill proves that tables are replaced where they stand, that doing it twice changes nothing, and that a page
// without a place for them is refused.
func TestFill(t *testing.T) {
	const page = "top\n<!-- events: made by \"patchbay catalog docs --readme\" -->\nold\n<!-- end of events -->\nmiddle\n" +
		"<!-- integrations: made by \"patchbay catalog docs --readme\" -->\n<!-- end of integrations -->\nbottom\n"
	once, err := Fill([]byte(page), sample(), []integration.Integration{partner{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"top\n", "| `ping` |", "\nmiddle\n", "| `pager` |", "bottom\n"} {
		if !strings.Contains(string(once), want) {
			t.Errorf("%q is missing in:\n%s", want, once)
		}
	}
	if strings.Contains(string(once), "old") {
		t.Error("the old table is still there")
	}
	twice, err := Fill(once, sample(), []integration.Integration{partner{}})
	if err != nil || cmp.Diff(string(once), string(twice)) != "" {
		t.Errorf("a second time changes it: %v\n%s", err, cmp.Diff(string(once), string(twice)))
	}
	if _, err := Fill([]byte("no place"), nil, nil); err == nil {
		t.Error("a page without a place is accepted")
	}
}
