package integration

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/patchbay/patchbay"
)

// Connector can connect an account at the partner. A connection's credentials come with every delivery of the links that
// use it (Delivery.Connection).
type Connector interface {
	Integration
	// Connect says how, from the operator's settings (nil when there are none). An error is a sentence that says which of
	// them is missing; the integration can then not be connected on this installation, and links do without.
	Connect(config json.RawMessage) (*Connect, error)
	// Identify asks the partner whose credentials these are. It runs after consent, after a key was given, and when a
	// connection is checked. A Result other than Delivered says why it could not be told.
	Identify(ctx context.Context, g *Grant) (*Identity, Result)
}

// Connect is how an account is connected: by exactly one of its fields.
type Connect struct {
	OAuth2 *OAuth2
	OAuth1 *OAuth1
	// Keys are what a person gives: tokens made at the partner. Its Secret settings end up in Credentials.Extra, the others
	// in Connection.Data, both by their keys.
	Keys Spec
}

// OAuth2 declares an OAuth 2 authorization code flow (RFC 6749, RFC 7636, RFC 9700).
type OAuth2 struct {
	ClientID     string
	ClientSecret Secret
	AuthURL      string
	TokenURL     string
	// RevokeURL takes RFC 7009 requests; "" when the partner has none (see Revoker).
	RevokeURL string
	Scopes    []string
	// Separator stands between scopes; "" is a space. Slack and GitHub use a comma.
	Separator string
	// Params are more parameters of the authorization request, such as audience.
	Params map[string]string
	// NoPKCE says why the partner's flow goes without PKCE; "" is with S256.
	NoPKCE string
	// Issuer is what the partner sends as iss (RFC 9207). When it is set, an answer without it or with another is refused.
	Issuer string
	// SecretInBody sends the client's secret in the body of token requests rather than by HTTP Basic.
	SecretInBody bool
}

// OAuth1 declares an OAuth 1.0a flow (RFC 5849).
type OAuth1 struct {
	ConsumerKey string
	// PrivateKey is a PEM RSA key: requests are signed by RSA-SHA1. Without it ConsumerSecret signs by HMAC-SHA1.
	PrivateKey     Secret
	ConsumerSecret Secret
	RequestURL     string
	AuthorizeURL   string
	AccessURL      string
}

// Grant is what a consent, a refresh or a person's key brought.
type Grant struct {
	Credentials *patchbay.Credentials
	// Answer is the token endpoint's whole answer; nil for keys.
	Answer json.RawMessage
	// Data is a key-based connection's settings that are no secrets, or the connection's data when it is checked.
	Data json.RawMessage
	Env  *Env
}

// Identity is who credentials belong to.
type Identity struct {
	Account patchbay.Account
	// Grants are what the account lets us do; nil keeps what the token endpoint said.
	Grants []string
	// Data is kept with the connection, in the open.
	Data json.RawMessage
	// Extra is added to Credentials.Extra. Fill holds settings for links that are made over the connection from now on; see
	// Credentials.Fill.
	Extra, Fill map[string]Secret
}

// TokenReader reads the token endpoint's answers of a partner that does not keep to RFC 6749. ErrTokenRefused in its
// error's chain means that the grant is not valid any more.
type TokenReader interface {
	ReadToken(answer *Response) (*Token, error)
}

// ErrTokenRefused is in the chain of errors of ReadToken when the partner says that the grant is not valid any more: only a
// new consent helps. The error's text is shown.
var ErrTokenRefused = errors.New("the grant is not valid any more")

// Token is what a token endpoint answered.
type Token struct {
	Access, Refresh Secret
	Type            string
	// ExpiresIn and RefreshExpiresIn are seconds; 0 means that it does not end or that nobody said so.
	ExpiresIn, RefreshExpiresIn int64
	// Scopes are what was granted; nil when the answer does not say.
	Scopes []string
}

// Revoker takes a connection back at a partner that has no RFC 7009 endpoint.
type Revoker interface {
	Revoke(ctx context.Context, c *Connected, env *Env) Result
}

// Recognizer knows which person a connection belongs to, where Identity.Account is a workspace that many people share. What
// a person did in a call that came for the account is told to the connection that is theirs.
type Recognizer interface {
	// Person returns the partner's identifier of the person, from Connection.Data; "" when there is none.
	Person(data json.RawMessage) string
}

// Connected is a connection as an integration gets it: with credentials that are good now as far as is known.
type Connected struct {
	ID          patchbay.ConnectionID
	Account     patchbay.Account
	Grants      []string
	Data        json.RawMessage
	Credentials patchbay.Credentials
}

// Expired says that the partner took the connection's credentials for no longer valid. They are renewed where that is
// possible, and the delivery is tried again.
func Expired(format string, args ...any) Result {
	r := UserError(format, args...)
	r.Verdict = patchbay.VerdictAuthExpired
	return r
}

// Chooser offers the values of a setting that only the partner knows: channels, repositories, projects. Settings with
// Dynamic set are asked for.
type Chooser interface {
	Integration
	Choices(ctx context.Context, q *ChoiceQuery) ([]Choice, Result)
}

// ChoiceQuery asks for the values of a setting.
type ChoiceQuery struct {
	Setting string
	// Search is what a person has typed; "" asks for the first ones.
	Search string
	// Settings is what is known of the others, as JSON, unchecked.
	Settings   json.RawMessage
	Connection *Connected
	Env        *Env
	// Limit is how many are wanted at most.
	Limit int
}

// Choice is one value.
type Choice struct {
	Value string `json:"value"`
	Title string `json:"title"`
	// Help is a few more words, such as "private".
	Help string `json:"help,omitempty"`
}
