// Package connect looks after connections: accounts at partners. It leads people through a partner's consent (OAuth 2,
// OAuth 1.0a) or takes the keys that they made there, finds out whose account it is, keeps the credentials good, and gives
// them to the attempts of the links that may use them.
//
// A refresh token may be valid once only, so refreshing is a matter of the whole installation: it happens under a lease of
// the connection's row, which is read again inside of it, and what came of it is in the database before anybody uses it.
// Nothing here holds a token that the database does not have.
package connect

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Start asks for a sign-in at a partner.
type Start struct {
	Integration string
	// Scope is where the connection will lie; nil is the caller's own.
	Scope *patchbay.Scope
	// Return is where the browser goes in the end: a path of this installation, such as "/integrations/slack/link". "" is up
	// to whoever calls Finish.
	Return string
	// Reconnect, when not zero, is the connection whose credentials are to be renewed. Another account at the partner is
	// refused then.
	Reconnect patchbay.ConnectionID
	// Cookie is the value that the browser sent for Service.CookieName, "" when it sent none. Sign-ins that are under way in
	// two tabs share it.
	Cookie string
}

// Redirect is where a browser goes to sign in. Service.Cookie makes the cookie that must go with it.
type Redirect struct {
	// URL is the partner's page.
	URL string
	// Cookie is the cookie's value, Until when it ends.
	Cookie string
	Until  time.Time
}

// Callback is what a browser comes back with.
type Callback struct {
	// Integration is the one that the address names.
	Integration string
	Query       url.Values
	// Cookie is the value that the browser sent for Service.CookieName.
	Cookie string
}

// Finished is what came of a sign-in.
type Finished struct {
	// Connection is nil when Finish returns an error.
	Connection *View
	// Return is Start.Return. It is there beside an error too, once the sign-in has been found to be this browser's.
	Return string
	// Created says that the connection is new.
	Created bool
}

// cookieBase is the name of the cookie that binds a sign-in to the browser in which it began.
const cookieBase = "patchbay-connect"

// CookieName is the name of the cookie that binds a sign-in to a browser: with the prefix __Host-, which only this very host
// can set (RFC 6265bis §4.1.3.2), but on plain http, where browsers refuse that prefix.
func (s *Service) CookieName() string {
	if s.secure() {
		return "__Host-" + cookieBase
	}
	return cookieBase
}

// Cookie makes the cookie of a Redirect. SameSite=Lax sends it with the navigation that the partner's redirect is, and with
// nothing else from elsewhere.
func (s *Service) Cookie(r *Redirect) *http.Cookie {
	return &http.Cookie{
		Name: s.CookieName(), Value: r.Cookie, Path: "/", Expires: r.Until, MaxAge: max(1, int(r.Until.Sub(s.now()).Seconds())),
		Secure: s.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// Input is a connection as POST and PATCH of /v1/connections send it. In a PATCH absent fields keep their values.
type Input struct {
	Integration *string         `json:"integration,omitempty" doc:"The integration's key. It cannot be changed later." example:"github"`
	Scope       *string         `json:"scope,omitempty" doc:"Where the connection lies; links at or below it may use it. It can be changed to a lower one." example:"acme"`
	Owner       *string         `json:"owner,omitempty" doc:"Your product's name for the user whose account it is." example:"u-17"`
	OwnerScope  *string         `json:"owner_scope,omitempty" doc:"Where that user's own things are, in the same tenant: what the account does at the partner is told there too." example:"acme/users/17"`
	Name        *string         `json:"name,omitempty" doc:"A name for people."`
	Visible     *bool           `json:"visible,omitempty" doc:"Lets portals of lower scopes see the connection and use it for links there."`
	Settings    json.RawMessage `json:"settings,omitempty" doc:"The keys that the integration asks for; in POST only. To replace them, POST those of the same account again."`
}

// View is a connection as the API shows it.
type View struct {
	ID          patchbay.ConnectionID    `json:"id"`
	Integration string                   `json:"integration"`
	Scope       patchbay.Scope           `json:"scope"`
	Owner       string                   `json:"owner"`
	OwnerScope  *patchbay.Scope          `json:"owner_scope"`
	Name        string                   `json:"name"`
	Visible     bool                     `json:"visible"`
	Account     patchbay.Account         `json:"account"`
	Grants      []string                 `json:"grants" nullable:"false"`
	State       patchbay.ConnectionState `json:"state" enum:"active,degraded,needs_reauth"`
	StateReason *string                  `json:"state_reason"`
	// ExpiresAt is when the access token ends; one that can be refreshed is refreshed before.
	ExpiresAt *time.Time `json:"expires_at"`
	CheckedAt *time.Time `json:"checked_at"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	// Links is how many links use it.
	Links int `json:"links"`
}

// Version tells what people have changed of a connection apart, for ETag. Refreshing a token does not change it, so that a
// form may stay open for longer than a token lasts.
func (v *View) Version() string { return version(v.UpdatedAt) }

// Title is what people call the connection: its name, or the account's.
func (v *View) Title() string {
	return titleOf(&patchbay.Connection{Name: v.Name, Account: v.Account, ID: v.ID})
}

// ListFilter selects connections.
type ListFilter struct {
	// Scope selects those at or below it; nil is the caller's own.
	Scope *patchbay.Scope
	// Serving, when not nil, selects instead those that the caller may use for a link in a scope.
	Serving     *patchbay.Scope
	Integration string
	// States selects those in any of some states; nil means all. Search has words that all stand in a connection's name,
	// account, owner, scope, integration or identifier.
	States []patchbay.ConnectionState
	Search string
	After  patchbay.ConnectionID
	Limit  int
}

// Deleted is what came of deleting a connection.
type Deleted struct {
	// Revoked says that the partner took the credentials back.
	Revoked bool
	// Notice is a sentence on what remains at the partner; "" when nothing does.
	Notice string
}

// Method is how accounts of an integration are connected.
type Method struct {
	// Browser says that it takes a browser (Begin), otherwise Create with Keys.
	Browser bool
	// Redirect is the address that the application at the partner must be registered with; "" without a browser.
	Redirect string
	// Keys are the settings that Create wants.
	Keys integration.Spec
}

// Use is a link that uses a connection.
type Use struct {
	Link  patchbay.LinkID
	Scope patchbay.Scope
	// Name is what people call the link.
	Name string
}

// Links knows which links use connections.
type Links interface {
	// UsedBy returns, for each of the connections that is used, the links that use it.
	UsedBy(ids []patchbay.ConnectionID) map[patchbay.ConnectionID][]Use
}

// Notice says that a connection works again only after its owner has been through the partner's consent once more.
type Notice struct {
	Connection *patchbay.Connection
	// Integration is the integration's title, Reason a sentence.
	Integration, Reason string
	// Links is how many links use it.
	Links int
}
