package web_test

import (
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// TestASearchIsNotLost: while somebody types into a search, an answer to what they chose before puts another field in its
// place. What they search for is looked up all the same.
func TestASearchIsNotLost(t *testing.T) {
	s := open(t)
	s.populate()
	p := s.signIn(browsertest.Options{})
	p.Go(s.url + "/integrations/tasks/link?scope=acme/teams/42")
	p.Press("#allow") // at the partner, who asks first
	p.See("h1", "Add Tasks")
	p.Expect("status of 400")
	p.Press("button[value=save]") // what is wrong now is not wrong any more in the next answer
	p.See("#f-settings-project-error", "This is required.")
	browsertest.Ask[bool](p, `(() => {
		const field = document.getElementById("f-settings-project-search");
		field.focus();
		field.value = "as";
		field.dispatchEvent(new Event("input", { bubbles: true }));
		document.querySelector("#link [data-follows]").dispatchEvent(new Event("change", { bubbles: true }));
		return true;
	})()`)
	p.See("#link", "Castor")
}
