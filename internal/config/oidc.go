package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
)

// The defaults of how operators sign in by OpenID Connect.
const (
	DefaultOIDCName  = "single sign-on"
	DefaultOIDCClaim = "groups"
)

// DefaultOIDCScopes are what a provider is asked for when nobody says.
var DefaultOIDCScopes = []string{"openid", "email", "profile"}

// maxOIDCName keeps the text of a button on one line.
const maxOIDCName = 40

// roles are what somebody who signs in can be.
var roles = []string{"viewer", "operator", "admin"}

// OIDCRole gives a role to everybody who has a value.
type OIDCRole struct {
	// Value is one of the values of the claim, a verified e-mail address, or "*" for everybody who signs in.
	Value string
	// Role is viewer, operator or admin, Scope what it is for: this and everything below it.
	Role  string
	Scope patchbay.Scope
}

// OIDCRoles say who is what, in the order in which they were given.
type OIDCRoles []OIDCRole

// UnmarshalText reads "patchbay-admins=admin", "acme-support=operator@acme", several of them separated by commas, or a JSON
// object with a role, or a list of them, for each value. It adds to what it has.
func (r *OIDCRoles) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if strings.HasPrefix(s, "{") {
		return r.object(s)
	}
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == ',' || c == '\n' }) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		at := strings.LastIndexByte(part, '=') // neither a role nor a scope has one
		if at < 0 {
			return fmt.Errorf("%q gives nobody a role: write VALUE=ROLE or VALUE=ROLE@SCOPE, such as patchbay-admins=admin", part)
		}
		if err := r.add(part[:at], part[at+1:]); err != nil {
			return err
		}
	}
	return nil
}

func (r *OIDCRoles) object(text string) error {
	var in map[string]any
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return fmt.Errorf("write an object with a role for each value, such as {patchbay-admins: admin}")
	}
	for _, value := range slices.Sorted(maps.Keys(in)) {
		given, ok := in[value].([]any)
		if !ok {
			given = []any{in[value]}
		}
		for _, g := range given {
			role, ok := g.(string)
			if !ok {
				return fmt.Errorf("the value %q must have a role or a list of them, such as operator@acme", value)
			}
			if err := r.add(value, role); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *OIDCRoles) add(value, given string) error {
	value = strings.TrimSpace(value)
	role, where, limited := strings.Cut(strings.TrimSpace(given), "@")
	if value == "" {
		return fmt.Errorf("%q says a role and not whose: write VALUE=ROLE, or *=ROLE for everybody who signs in", given)
	}
	if !slices.Contains(roles, role) {
		return fmt.Errorf("%q is not a role: write viewer, operator or admin, such as %s=viewer", role, value)
	}
	scope, err := patchbay.ParseScope(where)
	if err != nil {
		return fmt.Errorf("the scope of %s=%s: %w", value, given, err)
	}
	if limited && scope == "" { // a variable that was empty must not make it the whole installation
		return fmt.Errorf("%s=%s names no scope after the @: write one, such as %s=%s@acme, or leave the @ out for the whole installation", value, given, value, role)
	}
	rule := OIDCRole{Value: value, Role: role, Scope: scope}
	if !slices.Contains(*r, rule) {
		*r = append(*r, rule)
	}
	return nil
}

// OIDC reports whether operators can sign in by OpenID Connect.
func (c *Config) OIDC() bool { return c.OIDCIssuer != "" }

// OIDCCalled is what people call the provider; "" when nobody says.
func (c *Config) OIDCCalled() string {
	if c.OIDCName == DefaultOIDCName {
		return ""
	}
	return c.OIDCName
}

// google is Google's issuer (https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken).
const google = "https://accounts.google.com"

// checkOIDC refuses what would let nobody in, or everybody.
func (c *Config) checkOIDC() error {
	if !c.OIDC() {
		for _, set := range []struct {
			name string
			is   bool
		}{
			{"oidc-client-id", c.OIDCClientID != ""}, {"oidc-client-secret", c.OIDCClientSecret != ""}, {"oidc-roles", len(c.OIDCRoles) > 0},
		} {
			if set.is {
				return wrong(set.name, "it says how to sign in, but not where: set oidc-issuer too, such as https://id.example.com")
			}
		}
		return nil
	}
	if err := c.checkIssuer(); err != nil {
		return err
	}
	switch {
	case c.OIDCClientID == "":
		return wrong("oidc-client-id", "it is missing: write what %s knows this installation by", c.OIDCIssuer)
	case c.PublicURL == "" && !c.Dev:
		return wrong("public-url", "sign-in needs it: write where this installation is reached, such as https://hooks.example.com, and allow https://hooks.example.com/sign-in/callback as a redirect address at %s", c.OIDCIssuer)
	case len(c.OIDCRoles) == 0:
		return wrong("oidc-roles", "nobody could sign in: write who may do what, such as patchbay-admins=admin, ann@example.com=operator or *=viewer")
	case !slices.Contains(c.OIDCScopes, "openid"):
		return wrong("oidc-scopes", "openid must be among them")
	case !utf8.ValidString(c.OIDCName) || utf8.RuneCountInString(c.OIDCName) > maxOIDCName || strings.ContainsFunc(c.OIDCName, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return wrong("oidc-name", "must be one line of at most %d characters", maxOIDCName)
	}
	for _, scope := range c.OIDCScopes {
		if strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) { // RFC 6749, section 3.3
			return wrong("oidc-scopes", "%q is not a scope", scope)
		}
	}
	for _, r := range c.OIDCRoles {
		if r.Value == "*" && c.OIDCIssuer == google {
			return wrong("oidc-roles", "*=%s would let everybody in who has a Google account: set oidc-claim to hd, and write your domain instead of *, such as example.com=%s", r.Role, r.Role)
		}
	}
	return nil
}

// checkIssuer refuses what no issuer is (OpenID Connect Discovery 1.0, section 3). Only on one's own machine may it be without TLS.
func (c *Config) checkIssuer() error {
	u, err := url.Parse(c.OIDCIssuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return wrong("oidc-issuer", "%q is not the address of a provider: write https://HOST, exactly as the provider calls itself", c.OIDCIssuer)
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return wrong("oidc-issuer", "%q is not an https address: whoever is on the way could sign in as anybody", c.OIDCIssuer)
	case strings.HasSuffix(u.Path, "/.well-known/openid-configuration"):
		return wrong("oidc-issuer", "write the issuer itself, without /.well-known/openid-configuration")
	}
	return nil
}
