package httpapi

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/links"
)

// TestChoices passes on what is asked of a partner, and what it answers.
func TestChoices(t *testing.T) {
	f := newFixture(t)
	token := f.key("", access.Manage)
	link := exampleLinkID
	f.links.choices = func(_ *access.Caller, key, setting string, in links.ChoiceInput) ([]integration.Choice, error) {
		want := links.ChoiceInput{Settings: []byte(`{"a":1}`), Connection: new("con_x"), Scope: new("acme"), Search: "we b", Link: &link}
		if diff := cmp.Diff(want, in); diff != "" || key != "slack" || setting != "channel" {
			t.Errorf("asked was %s %s %s", key, setting, diff)
		}
		return []integration.Choice{{Value: "C1", Title: "#web"}}, nil
	}
	path := "/v1/integrations/slack/choices/channel"
	got := wantJSON[page[integration.Choice]](t, f.call(token, "GET", path+"?connection=con_x&scope=acme&search=we+b&settings=%7B%22a%22:1%7D&link="+link.String(), ""), 200)
	if len(got.Data) != 1 || got.Data[0].Value != "C1" || got.Next != nil {
		t.Errorf("the answer is %+v", got)
	}
	wantError(t, f.call(token, "GET", path+"?link=x", ""), 400, patchbay.CodeInvalidRequest)
	wantError(t, f.call(token, "GET", "/v1/integrations/fax/choices/channel", ""), 404, patchbay.CodeNotFound)
	wantError(t, f.call(f.key("", access.Read), "GET", path, ""), 403, patchbay.CodeForbidden)
}
