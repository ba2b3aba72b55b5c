package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/patchbay/patchbay"
)

const (
	// discoveredLasts is how long it is believed how a provider is reached.
	discoveredLasts = time.Hour
	// failureLasts is how long a provider that could not be asked is left alone, so that those who wait for it do not wait one
	// after the other.
	failureLasts = 5 * time.Second
)

// discovered is how a provider is reached (OpenID Connect Discovery 1.0, section 3).
type discovered struct {
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	endpoint oauth2.Endpoint
	// saysIssuer says that the provider's answers name it (RFC 9207, section 3).
	saysIssuer bool
	userinfo   bool
	at         time.Time
}

// discover asks the provider how it is reached, now and then.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	if p.found != nil && now.Sub(p.found.at) < discoveredLasts {
		return p.found, nil
	}
	if p.failed != nil && now.Sub(p.failedAt) < failureLasts && p.found == nil {
		return nil, p.failed
	}
	d, err := p.ask(ctx)
	switch {
	case err == nil:
		p.found, p.failed = d, nil
		return d, nil
	case p.found != nil:
		p.o.Log.Warn("oidc: the provider cannot be asked how it is reached; what it said before is used", "issuer", p.o.Issuer, "error", err)
		p.found.at = now.Add(failureLasts - discoveredLasts)
		return p.found, nil
	case ctx.Err() == nil: // whoever left says nothing about the provider
		p.failed, p.failedAt = err, now
	}
	return nil, err
}

func (p *Provider) ask(ctx context.Context) (*discovered, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	ctx = oidc.ClientContext(ctx, p.client)
	provider, err := oidc.NewProvider(ctx, p.o.Issuer)
	var other *oidc.IssuerMismatchError
	switch {
	case errors.As(err, &other):
		return nil, p.misconfigured(err, "%s calls itself %q: whoever runs this installation must set oidc-issuer to exactly that", p.called, clip(other.Discovered))
	case err != nil:
		return nil, p.down(err)
	}
	var said struct {
		JWKS        string   `json:"jwks_uri"`
		SaysIssuer  bool     `json:"authorization_response_iss_parameter_supported"`
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&said); err != nil {
		return nil, p.down(err)
	}
	d := &discovered{
		provider: provider, endpoint: provider.Endpoint(), saysIssuer: said.SaysIssuer, userinfo: provider.UserInfoEndpoint() != "", at: p.o.Now(),
		verifier: provider.VerifierContext(ctx, &oidc.Config{ClientID: p.o.ClientID, Now: p.o.Now}),
	}
	for what, address := range map[string]string{
		"authorization_endpoint": d.endpoint.AuthURL, "token_endpoint": d.endpoint.TokenURL, "jwks_uri": said.JWKS,
	} {
		if err := p.checkEndpoint(address); err != nil {
			return nil, p.misconfigured(fmt.Errorf("%s: %w", what, err), "what %s says of itself cannot be used: its %s is not an address to be trusted", p.called, what)
		}
	}
	d.userinfo = d.userinfo && p.checkEndpoint(provider.UserInfoEndpoint()) == nil
	d.endpoint.AuthStyle = authStyle(p.o.ClientSecret, said.AuthMethods)
	return d, nil
}

// checkEndpoint refuses what is less safe than the issuer itself.
func (p *Provider) checkEndpoint(address string) error {
	u, err := url.Parse(address)
	issuer, _ := url.Parse(p.o.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q is not an http or https address", clip(address))
	case issuer != nil && issuer.Scheme == "https" && u.Scheme != "https":
		return fmt.Errorf("%q is not an https address", clip(address))
	}
	return nil
}

// authStyle says how the client proves itself: client_secret_basic unless the provider knows only client_secret_post (OpenID
// Connect Discovery 1.0, section 3, token_endpoint_auth_methods_supported). Trying both could use the code up.
func authStyle(secret patchbay.Secret, methods []string) oauth2.AuthStyle {
	if secret == "" || len(methods) > 0 && !slices.Contains(methods, "client_secret_basic") && slices.Contains(methods, "client_secret_post") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// down is the error about a provider that cannot be asked.
func (p *Provider) down(err error) error {
	return &patchbay.Error{
		Code: patchbay.CodeUnavailable, RetryAfter: int(failureLasts / time.Second), Err: err,
		Message: p.called + " cannot be asked who you are at the moment; try again in a minute, or sign in with a key",
	}
}

// misconfigured is the error about what only the operator can put right.
func (p *Provider) misconfigured(err error, format string, args ...any) error {
	e := &patchbay.Error{Code: patchbay.CodeUnavailable, Err: err}
	errors.As(patchbay.Errorf(patchbay.CodeUnavailable, format, args...), &e)
	e.Err = err
	return e
}

// clip cuts what others wrote.
func clip(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
