package web_test

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
)

// TestFind: "/" leads to the field, and what is written there to its page: with scripts and without them.
func TestFind(t *testing.T) {
	s := open(t)
	s.populate()
	id := s.happened("acme/teams/42", "the quick brown fox")
	p := s.signIn(browsertest.Options{Width: 1440})
	p.See("h1", "")
	p.Keys("/")
	if got := browsertest.Ask[string](p, `document.activeElement.id`); got != "find" {
		t.Errorf("the key leads to %q", got)
	}
	p.Type("#find", id+"\r")
	p.See("h1", "Entry")
	if got := p.Address(); got != s.url+"/events/"+id {
		t.Errorf("the identifier of an event leads to %s", got)
	}
	narrow := s.signIn(browsertest.Options{Width: 390})
	narrow.See("h1", "")
	narrow.Keys("/")
	narrow.See("#side", "Overview") // the menu that the field is in opens
	narrow.Fits()
	narrow.Accessible()

	bare := s.signIn(browsertest.Options{NoScript: true})
	for _, c := range []struct{ query, address, says string }{
		{"quick brown", "/events?text=quick+brown", "the quick brown fox"},
		{"entry.*", "/events?type=entry.%2A", "the quick brown fox"},
		{"acme", "/find?q=acme", "5 links at or below"},
		{"slack", "/find?q=slack", "Posts each event"},
		{"PULLREQ", "/find?q=PULLREQ", "pullrequest.merge"},
		{"integr", "/find?q=integr", "integration_test"},
	} {
		bare.Go(s.url + "/")
		bare.Type("#find", c.query)
		bare.Press(".find button")
		bare.See("main", c.says)
		if got := bare.Address(); got != s.url+c.address {
			t.Errorf("%q leads to %s", c.query, got)
		}
	}
	p.Go(s.url + "/find?q=acme")
	p.Accessible()
	p.Go(s.url + "/find")
	p.See("main", "An identifier of any kind")
	p.Accessible()

	portal := s.page(browsertest.Options{})
	portal.Expect("status of 404")
	portal.Go(s.portal("acme/teams/42"))
	portal.See("h1", "Your links")
	if strings.Contains(portal.Text("body"), "Find") {
		t.Error("a customer can look for anything")
	}
	portal.Go(s.url + "/find?q=acme")
	portal.See("h1", "There is nothing here")
}
