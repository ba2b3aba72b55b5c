package app

import (
	"context"
	"net"
	"net/netip"

	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/oidc"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/session"
)

// publicURL is where browsers and partners reach this installation: what the operator says, or, on a developer's machine
// without that, the very address that is served on. "" when nobody knows.
func (a *App) publicURL() string {
	if a.config.PublicURL != "" || !a.config.Dev {
		return a.config.PublicURL
	}
	host, port, err := net.SplitHostPort(a.Addr())
	if err != nil {
		return ""
	}
	return "http://" + net.JoinHostPort(host, port)
}

// openSessions lets browsers in.
func (a *App) openSessions(cell access.Cell) error {
	a.sessions = session.New(session.Options{
		Store: a.store, Keys: a.keys, PublicURL: a.publicURL(), Development: a.config.Dev, Framed: len(a.config.PortalFrames) > 0, Now: a.o.Now, Cell: cell,
		Issuer: a.config.OIDCIssuer,
	})
	if !a.config.OIDC() {
		return nil
	}
	client, err := a.guarded(outbound.Guard{AllowLoopback: true, Allow: privateNetworks()})
	if err != nil {
		return err
	}
	a.down.Push("connections to the sign-in provider", func(context.Context) error { return client.Close() })
	o := oidc.Options{
		Issuer: a.config.OIDCIssuer, Name: a.config.OIDCCalled(), ClientID: a.config.OIDCClientID, ClientSecret: a.config.OIDCClientSecret, Scopes: a.config.OIDCScopes,
		Claim: a.config.OIDCClaim, Redirect: a.publicURL() + "/sign-in/callback", HTTP: client, Flows: a.store, Log: a.log, Now: a.o.Now,
	}
	for _, r := range a.config.OIDCRoles {
		o.Rules = append(o.Rules, oidc.Rule{Value: r.Value, Role: access.Role(r.Role), Scope: r.Scope})
	}
	a.signOn = oidc.New(o)
	return nil
}

// privateNetworks are where an organisation's own provider may be. Links must not send there unless they are allowed to, because
// customers write their addresses; the provider's address is the operator's own configuration. What clouds tell machines about
// themselves (169.254.0.0/16) stays closed.
func privateNetworks() []netip.Prefix {
	return []netip.Prefix{ // RFC 1918, 6598, 4193
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
	}
}
