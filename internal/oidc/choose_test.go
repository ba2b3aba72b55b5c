package oidc

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/access"
)

// TestChoose: the widest scope counts, there the strongest role, and of equals the first.
func TestChoose(t *testing.T) {
	rules := []Rule{
		{"support", access.RoleOperator, "acme"}, {"support", access.RoleAdmin, "acme/teams/42"}, {"staff", access.RoleViewer, ""}, {"leads", access.RoleOperator, ""},
		{"beta", access.RoleOperator, "beta"}, {"Ann@Example.com", access.RoleViewer, "ann"}, {"betas", access.RoleAdmin, "beta"},
	}
	for _, tc := range []struct{ values, email, want string }{
		{"support", "", "operator@acme"}, {"support staff", "", "viewer@"}, {"staff leads", "", "operator@"}, {"support beta", "", "operator@acme"}, {"support betas", "", "admin@beta"},
		{"Support", "", ""}, {"", "ann@example.com", "viewer@ann"}, {"ann@example.com", "", ""}, {"Ann@Example.com", "", "viewer@ann"}, {"", "", ""},
	} {
		got := ""
		if r := choose(rules, strings.Fields(tc.values), tc.email); r != nil {
			got = string(r.Role) + "@" + string(r.Scope)
		}
		if got != tc.want {
			t.Errorf("%q, %q: %q, want %q", tc.values, tc.email, got, tc.want)
		}
	}
	if r := choose([]Rule{{"*", access.RoleViewer, ""}}, nil, ""); r == nil {
		t.Error("everybody is nobody")
	}
}

// TestAddressesAreNotMistaken: an address that only looks like one of a rule, or becomes it by being cleaned or by folding letters
// as Unicode does, is another mailbox.
func TestAddressesAreNotMistaken(t *testing.T) {
	p := New(Options{Issuer: "https://id.example.com", Claim: "groups", Rules: []Rule{{"kim@example.com", access.RoleAdmin, ""}}})
	for email, want := range map[string]access.Role{
		"kim@example.com": access.RoleAdmin, "Kim@EXAMPLE.com": access.RoleAdmin, "\u212aim@example.com": "", "k\u0001im@example.com": "", "\u00a0kim@example.com": "",
		"kim@example.com\u202e": "", "kim@example.com\n": "",
	} {
		raw, err := json.Marshal(email)
		if err != nil {
			t.Fatal(err)
		}
		who, err := p.person(claims{"sub": []byte(`"1"`), "email": raw, "email_verified": []byte("true")}, newTicket(time.Now(), ""))
		if who.Role != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", email, who.Role, err)
		}
	}
}

// TestClaims reads what providers write: text, lists, and objects that a dot leads into.
func TestClaims(t *testing.T) {
	c := claims{
		"groups": []byte(`["a", 1, "b", null]`), "hd": []byte(`"example.com"`), "realm_access": []byte(`{"roles": ["x"]}`), "https://example.com/roles": []byte(`["y"]`), "n": []byte(`3`),
		"email_verified": []byte(`"true"`),
	}
	for name, want := range map[string]string{"groups": "a b", "hd": "example.com", "realm_access.roles": "x", "https://example.com/roles": "y", "n": "", "none": "", "realm_access.none": "", "hd.x": ""} {
		if got := strings.Join(c.values(name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !c.verified() || (claims{"email_verified": []byte(`1`)}).verified() || (claims{}).verified() {
		t.Error("what is verified is read wrongly")
	}
}

// FuzzTicket: whatever a browser sends as a cookie, nothing of it is taken for a ticket that it was not.
func FuzzTicket(f *testing.F) {
	made := newTicket(time.Unix(1_800_000_000, 0), "/events")
	f.Add(made.cookie)
	f.Add("")
	f.Add("AAAA.BBBB")
	f.Fuzz(func(t *testing.T, cookie string) {
		got, err := parseTicket(cookie)
		if err != nil {
			return
		}
		if cookie != made.cookie && got.derive("state") == made.derive("state") {
			t.Errorf("%q has the state of another one", cookie)
		}
	})
}
