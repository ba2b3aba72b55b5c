package docgen

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// TestFill proves that sections are replaced where they stand, that doing it twice changes nothing, and that a page
// without a place for one is refused.
func TestFill(t *testing.T) {
	const page = "top\n<!-- events -->\nold\n<!-- /events -->\nmiddle\n<!-- more -->\n<!-- /more -->\nbottom\n"
	sections := map[string]string{"events": "new\n", "more": "two\nlines\n"}
	const want = "top\n<!-- events -->\nnew\n<!-- /events -->\nmiddle\n<!-- more -->\ntwo\nlines\n<!-- /more -->\nbottom\n"
	once, err := Fill([]byte(page), sections)
	if diff := cmp.Diff(want, string(once)); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if twice, err := Fill(once, sections); err != nil || string(twice) != want {
		t.Errorf("a second time it is %v\n%s", err, twice)
	}
	for _, page := range []string{"no place", "<!-- /events -->\n<!-- events -->\n<!-- more -->\n<!-- /more -->\n"} {
		if _, err := Fill([]byte(page), sections); err == nil {
			t.Errorf("%q is accepted", page)
		}
	}
}
