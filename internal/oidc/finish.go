package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// finishTime bounds everything that is asked of the provider once a browser is back.
const finishTime = 25 * time.Second

// Person is who has signed in at the provider.
type Person struct {
	// Issuer and Subject together are who it is, for good.
	Issuer, Subject string
	// Name is what people know them by: the verified e-mail address where there is one.
	Name string
	// Role is what they may do in Scope and below; "" when nothing was given to them.
	Role  access.Role
	Scope patchbay.Scope
	// Back is the page to go to.
	Back string
}

// errStale is what every answer gets that is not of this browser's own sign-in.
var errStale = &patchbay.Error{Code: patchbay.CodeInvalidRequest,
	Message: "this sign-in is not known here: it was finished already, took longer than ten minutes, or began in another browser; begin again"}

// Finish says who came back from the provider, by the query that the browser brings and the cookie that Begin gave it. With an
// error there is a Person too when it is known who it is; only the role is missing then.
func (p *Provider) Finish(ctx context.Context, cookie string, q url.Values) (*Person, error) {
	t, err := parseTicket(cookie)
	if err != nil {
		return nil, errStale
	}
	state := q["state"]
	if len(state) != 1 || subtle.ConstantTimeCompare([]byte(state[0]), []byte(t.derive("state"))) != 1 {
		return nil, errStale
	}
	if age := p.o.Now().Sub(t.began); age < -time.Minute || age > Lasts { // nodes' clocks may differ a little
		return nil, errStale
	}
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	d, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.refusal(d, q); err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	claims, err := p.exchange(ctx, d, t, q)
	if err != nil {
		return nil, err
	}
	if err := p.once(ctx, t); err != nil {
		return nil, err
	}
	return p.person(claims, t)
}

// refusal reads an answer that is none: of another provider (RFC 9207, section 2.4), or an error (RFC 6749, section 4.1.2.1).
func (p *Provider) refusal(d *discovered, q url.Values) error {
	if iss := q["iss"]; len(iss) > 1 || len(iss) == 1 && iss[0] != p.o.Issuer || len(iss) == 0 && d.saysIssuer {
		return refuse(fmt.Errorf("iss is %q", clip(strings.Join(iss, " "))), "the answer does not say that it comes from %s, so nobody was signed in; begin again", p.called)
	}
	code := q.Get("error")
	if code == "" {
		return nil
	}
	err := fmt.Errorf("%q: %q", clip(code), clip(q.Get("error_description")))
	switch code {
	case "access_denied":
		return refuse(err, "%s did not let you in, or you have said no there", p.called)
	case "temporarily_unavailable", "server_error":
		return p.down(err)
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return refuse(err, "%s wants to see you first; begin again", p.called)
	}
	return p.misconfigured(err, "%s does not take sign-ins of this installation (%s): whoever runs it must check the oidc settings", p.called, clip(code))
}

func refuse(err error, format string, args ...any) error {
	e := &patchbay.Error{}
	errors.As(patchbay.Errorf(patchbay.CodeUnauthorized, format, args...), &e)
	e.Err = err
	return e
}

// exchange gets what the provider says of a person for the code, and makes sure that it is what it seems (OpenID Connect Core
// 1.0, section 3.1.3.7).
func (p *Provider) exchange(ctx context.Context, d *discovered, t *ticket, q url.Values) (claims, error) {
	code := q["code"]
	if len(code) != 1 || code[0] == "" {
		return nil, refuse(nil, "%s sent you back without a code; begin again", p.called)
	}
	token, err := p.config(d).Exchange(ctx, code[0], oauth2.VerifierOption(t.derive("verifier")))
	if err != nil {
		return nil, p.noToken(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, refuse(nil, "%s did not say who you are: it sent no ID token; whoever runs this installation must check oidc-scopes", p.called)
	}
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, refuse(err, "what %s says of you cannot be trusted, so nobody was signed in; begin again, and tell whoever runs this installation if it goes on", p.called)
	}
	said := claims{}
	if err := id.Claims(&said); err != nil {
		return nil, refuse(err, "what %s says of you cannot be read", p.called)
	}
	if err := p.ours(id, said, t); err != nil {
		return nil, refuse(err, "what %s says is about another sign-in than yours, so nobody was signed in; begin again", p.called)
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return nil, refuse(err, "what %s says of you does not belong together, so nobody was signed in; begin again", p.called)
		}
	}
	return said, p.more(ctx, d, token, said)
}

// ours refuses an ID token that was made for another sign-in or another client.
func (p *Provider) ours(id *oidc.IDToken, said claims, t *ticket) error {
	azp, party := said.text("azp")
	switch {
	case id.Subject == "":
		return errors.New("it has no subject")
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(t.derive("nonce"))) != 1:
		return errors.New("its nonce is another one")
	case party && azp != p.o.ClientID:
		return fmt.Errorf("it was made for %q (azp)", clip(azp))
	case !party && len(id.Audience) > 1:
		return errors.New("it has several audiences and does not say for which it was made")
	}
	return nil
}

// more asks the provider for what stands in no ID token: many give claims out at their userinfo endpoint only (OpenID Connect
// Core 1.0, section 5.4). What the ID token says goes first.
func (p *Provider) more(ctx context.Context, d *discovered, token *oauth2.Token, said claims) error {
	_, email := said["email"]
	if email && said.values(p.o.Claim) != nil || !d.userinfo {
		return nil
	}
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return p.down(fmt.Errorf("userinfo: %w", short(err)))
	}
	subject, _ := said.text("sub")
	if info.Subject != subject { // OpenID Connect Core 1.0, section 5.3.2
		return refuse(errors.New("userinfo is about somebody else"), "what %s says of you does not belong together, so nobody was signed in; begin again", p.called)
	}
	further := claims{}
	if err := info.Claims(&further); err != nil {
		return p.down(fmt.Errorf("userinfo: %w", err))
	}
	if there, _ := said.text("email"); email {
		if here, _ := further.text("email"); here != there { // what is said of one address says nothing of another
			delete(further, "email_verified")
		}
	}
	for name, value := range further {
		if _, there := said[name]; !there {
			said[name] = value
		}
	}
	return nil
}

// noToken explains why there was no token for a code. The answer itself is not shown: anything may stand in it.
func (p *Provider) noToken(err error) error {
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) {
		return p.down(short(err))
	}
	status := 0
	if answered.Response != nil {
		status = answered.Response.StatusCode
	}
	cause := fmt.Errorf("the token endpoint answered %d, %q: %q", status, clip(answered.ErrorCode), clip(answered.ErrorDescription))
	switch {
	case answered.ErrorCode == "invalid_grant":
		return refuse(cause, "%s does not know this sign-in any more; begin again", p.called)
	case answered.ErrorCode != "" || status == 401 || status == 403:
		return p.misconfigured(cause, "%s does not take sign-ins of this installation: whoever runs it must check oidc-client-id and oidc-client-secret", p.called)
	}
	return p.down(cause)
}

// short cuts an error's text: libraries put whole answers into it.
func short(err error) error { return errors.New(clip(err.Error())) }

// once refuses a sign-in that was used before, here or at another node. Only what a provider has vouched for comes as far.
func (p *Provider) once(ctx context.Context, t *ticket) error {
	err := p.o.Flows.SaveFlow(ctx, &store.Flow{Hash: t.used(), Data: []byte("used"), Until: t.began.Add(2 * Lasts).UTC()})
	switch {
	case errors.Is(err, store.ErrConflict):
		return errStale
	case errors.Is(err, store.ErrUnavailable):
		return &patchbay.Error{Code: patchbay.CodeUnavailable, Message: "the database cannot take writes at the moment; try again in a few seconds", RetryAfter: 5, Err: err}
	case err != nil:
		return patchbay.Internal("remembering a sign-in", err)
	}
	return nil
}

// claims are what a provider says of a person.
type claims map[string]json.RawMessage

// text returns a claim that is text.
func (c claims) text(name string) (string, bool) {
	var s string
	raw, there := c[name]
	if !there || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// values returns the values of a claim, which is text or a list of it; a dot leads into an object. nil when it is not there.
func (c claims) values(name string) []string {
	raw, there := c[name]
	if !there {
		first, rest, deeper := strings.Cut(name, ".")
		var inner claims
		if !deeper || json.Unmarshal(c[first], &inner) != nil {
			return nil
		}
		return inner.values(rest)
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var many []any
	if json.Unmarshal(raw, &many) != nil {
		return nil
	}
	out := make([]string, 0, len(many))
	for _, v := range many {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// verified reports whether the provider has verified the e-mail address. Some spell true as text.
func (c claims) verified() bool {
	raw := strings.Trim(string(c["email_verified"]), `"`)
	return raw == "true"
}

// person says who it is and what they may do.
func (p *Provider) person(said claims, t *ticket) (*Person, error) {
	who := &Person{Issuer: p.o.Issuer, Back: t.back}
	who.Subject, _ = said.text("sub")
	spelled, _ := said.text("email")
	email := line(spelled)
	for _, name := range []string{"preferred_username", "name", "sub"} {
		if who.Name == "" {
			text, _ := said.text(name)
			who.Name = line(text)
		}
	}
	verified := ""
	if said.verified() && email != "" && email == spelled { // what had to be cleaned is another address
		verified, who.Name = email, email
	}
	values := said.values(p.o.Claim)
	if p.o.Claim == "email" { // of which rules look at verified ones only
		values = nil
	}
	rule := choose(p.o.Rules, values, verified)
	if rule != nil {
		who.Role, who.Scope = rule.Role, rule.Scope
		return who, nil
	}
	cause := fmt.Errorf("no rule of oidc-roles is about %s (%s, subject %q; %s: %q)", who.Name, p.o.Issuer, clip(who.Subject), p.o.Claim, clip(strings.Join(values, ", ")))
	e := &patchbay.Error{Code: patchbay.CodeForbidden, Err: cause}
	switch byEmail := slices.ContainsFunc(p.o.Rules, func(r Rule) bool { return strings.Contains(r.Value, "@") }); {
	case byEmail && email == "":
		e.Message = fmt.Sprintf("%s knows you as %s, but did not say your e-mail address, by which people are let in here: ask whoever runs this installation to request it, or to give you a role", p.called, who.Name)
	case byEmail && verified == "":
		e.Message = fmt.Sprintf("%s has not verified your e-mail address %s, so it lets nobody in here: verify it there, or ask whoever runs this installation to give you a role", p.called, clip(email))
	default:
		e.Message = fmt.Sprintf("%s knows you as %s, but nobody has given you a role here: ask whoever runs this installation for one", p.called, who.Name)
	}
	return who, e
}

// line makes one short line of what others wrote.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return clip(strings.TrimSpace(s))
}

// lower makes small letters of those of ASCII. Others stay: Unicode has letters, such as the Kelvin sign, that are another one
// when their case does not count, and so another mailbox.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// strength orders the roles.
var strength = map[access.Role]int{access.RoleViewer: 1, access.RoleOperator: 2, access.RoleAdmin: 3}

// choose returns the rule that counts: of all that are about somebody the one of the widest scope, at that scope the one of the
// strongest role, and of equals the first. nil when there is none.
func choose(rules []Rule, values []string, email string) *Rule {
	var best *Rule
	for i := range rules {
		r := &rules[i]
		if r.Value != "*" && !slices.Contains(values, r.Value) && (email == "" || lower(r.Value) != lower(email)) {
			continue
		}
		if best == nil || r.Scope.Depth() < best.Scope.Depth() || r.Scope.Depth() == best.Scope.Depth() && strength[r.Role] > strength[best.Role] {
			best = r
		}
	}
	return best
}
