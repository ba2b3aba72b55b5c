package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

// TestOIDCRoles: every spelling says the same, and what says nothing is refused.
func TestOIDCRoles(t *testing.T) {
	want := OIDCRoles{
		{"/patchbay/admins", "admin", ""}, {"Customer Care", "operator", "acme/teams"}, {"ann@example.com", "viewer", "acme"}, {"*", "viewer", ""},
	}
	var got OIDCRoles
	for _, text := range []string{"/patchbay/admins=admin, Customer Care=operator@acme/teams", "ann@example.com=viewer@acme\n*=viewer", "*=viewer", ""} {
		if err := got.UnmarshalText([]byte(text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = nil
	if err := got.UnmarshalText([]byte(`{"CN=admins,OU=it": "admin", "care": ["viewer", "operator@acme"]}`)); err != nil {
		t.Fatal(err)
	}
	want = OIDCRoles{{"CN=admins,OU=it", "admin", ""}, {"care", "viewer", ""}, {"care", "operator", "acme"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for text, says := range map[string]string{
		"admins": "write VALUE=ROLE", "admins=root": `"root" is not a role`, "=admin": "not whose", "a=admin@/x": "the scope of a=admin@/x", "a=": `"" is not a role`,
		"a=admin@": "names no scope", "a=admin@/": "the scope of",
		`{"a": 3}`: "must have a role", `{"a"`: "write an object",
	} {
		if err := new(OIDCRoles).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// TestCheckOIDC: what would let nobody in, or everybody, is refused at the start with what to do.
func TestCheckOIDC(t *testing.T) {
	whole := func(change func(*Config)) Config {
		c := Config{
			PublicURL: "https://hooks.example.com", OIDCIssuer: "https://id.example.com", OIDCClientID: "patchbay", OIDCClientSecret: "s3cr3t-of-the-client",
			OIDCRoles: OIDCRoles{{"admins", "admin", ""}},
		}
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"whole":            {func(*Config) {}, ""},
		"a public client":  {func(c *Config) { c.OIDCClientSecret = "" }, ""},
		"on this machine":  {func(c *Config) { c.OIDCIssuer = "http://localhost:8081/realms/x" }, ""},
		"scopes as a text": {func(c *Config) { c.OIDCScopes = []string{"openid email groups"} }, ""},
		"in development":   {func(c *Config) { c.PublicURL, c.Dev = "", true }, ""},
		"no issuer":        {func(c *Config) { c.OIDCIssuer = "" }, "oidc-client-id: it says how to sign in, but not where"},
		"no address":       {func(c *Config) { c.OIDCIssuer = "id.example.com" }, "oidc-issuer: \"id.example.com\" is not the address"},
		"without TLS":      {func(c *Config) { c.OIDCIssuer = "http://id.example.com" }, "is not an https address"},
		"the document":     {func(c *Config) { c.OIDCIssuer += "/.well-known/openid-configuration" }, "write the issuer itself"},
		"no client":        {func(c *Config) { c.OIDCClientID = "" }, "oidc-client-id: it is missing"},
		"no address here":  {func(c *Config) { c.PublicURL = "" }, "/sign-in/callback"},
		"nobody":           {func(c *Config) { c.OIDCRoles = nil }, "oidc-roles: nobody could sign in"},
		"no openid":        {func(c *Config) { c.OIDCScopes = []string{"email"} }, "openid must be among them"},
		"a bad scope":      {func(c *Config) { c.OIDCScopes = []string{"openid", `a"b`} }, "is not a scope"},
		"a long name":      {func(c *Config) { c.OIDCName = strings.Repeat("x", 41) }, "oidc-name: must be one line"},
		"everybody": {func(c *Config) {
			c.OIDCIssuer, c.OIDCRoles = google, OIDCRoles{{"*", "viewer", patchbay.Scope("acme")}}
		}, "everybody in who has a Google account"},
	} {
		t.Run(name, func(t *testing.T) {
			err := whole(tc.change).Validate()
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Error("the secret is in the error")
			}
		})
	}
}
