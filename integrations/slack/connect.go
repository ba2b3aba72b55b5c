package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// noPKCE is why consent goes without PKCE: Slack answers pkce_not_allowed unless the app is registered as a public client,
// which cannot be undone, and which a client that keeps a secret is not. https://docs.slack.dev/authentication/using-pkce
const noPKCE = "Slack allows PKCE only for apps that are registered as public clients, for good; this app keeps a secret"

// Connect implements integration.Connector: OAuth where the operator has an app, otherwise a bot's token.
// https://docs.slack.dev/authentication/installing-with-oauth
func (*Slack) Connect(config json.RawMessage) (*integration.Connect, error) {
	c := readConfig(config)
	switch {
	case c.ClientID == "" && c.ClientSecret == "":
		return &integration.Connect{Keys: integration.Spec{{
			Key: "token", Title: "Bot token", Type: integration.TypeString, Required: true, Secret: true, Check: checkToken,
			Help: "Of a Slack app of your own: OAuth & Permissions, Bot User OAuth Token.", Example: "xoxb-1234567890-abcdef",
		}}}, nil
	case c.ClientID == "":
		return nil, errors.New("the operator's setting integrations.slack.client_id is missing")
	case c.ClientSecret == "":
		return nil, errors.New("the operator's setting integrations.slack.client_secret is missing")
	}
	return &integration.Connect{OAuth2: &integration.OAuth2{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		AuthURL:  strings.TrimSuffix(c.APIURL, "/api") + "/oauth/v2/authorize",
		TokenURL: c.APIURL + "/oauth.v2.access",
		Scopes:   c.Scopes, Separator: ",", NoPKCE: noPKCE,
	}}, nil
}

func checkToken(value any) error {
	token, _ := value.(string)
	if !strings.HasPrefix(token, "xoxb-") && !strings.HasPrefix(token, "xoxe.xoxb-") {
		return errors.New("must be a bot's token, which begins with xoxb-")
	}
	return nil
}

// grant is the answer of oauth.v2.access. https://docs.slack.dev/reference/methods/oauth.v2.access
type grant struct {
	answer
	AccessToken  integration.Secret `json:"access_token"`
	RefreshToken integration.Secret `json:"refresh_token"`
	TokenType    string             `json:"token_type"`
	ExpiresIn    int64              `json:"expires_in"`
	Scope        string             `json:"scope"`
	AppID        string             `json:"app_id"`
	BotUserID    string             `json:"bot_user_id"`
	Team         *named             `json:"team"`
	Enterprise   *named             `json:"enterprise"`
	OrgWide      bool               `json:"is_enterprise_install"`
	AuthedUser   struct {
		ID string `json:"id"`
	} `json:"authed_user"`
	Webhook *struct {
		webhook
		URL integration.Secret `json:"url"`
	} `json:"incoming_webhook"`
}

type named struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// webhook is an incoming webhook as it may be shown: without its address.
type webhook struct {
	Channel   string `json:"channel,omitempty"`
	ChannelID string `json:"channel_id,omitempty"`
	Configure string `json:"configuration_url,omitempty"`
}

// ended are the words that mean that only a new consent helps.
var ended = []string{
	"invalid_code", "code_already_used", "invalid_refresh_token", "token_expired", "token_revoked", "account_inactive", "access_denied",
	"invalid_auth",
}

// ReadToken implements integration.TokenReader: Slack refuses with status 200 and ok false, separates scopes by commas, and
// with token rotation ends tokens after twelve hours. https://docs.slack.dev/authentication/using-token-rotation
func (*Slack) ReadToken(resp *integration.Response) (*integration.Token, error) {
	a, ok := readAnswer(resp)
	switch {
	case resp.Status == http.StatusTooManyRequests || a.Error == "ratelimited":
		return nil, errors.New("Slack limits how often tokens may be asked for: try again in a minute")
	case !ok || resp.Status >= 300 && a.Error == "":
		return nil, fmt.Errorf("Slack failed with status %d: try again", resp.Status)
	case !a.OK && slices.Contains(ended, a.Error):
		return nil, fmt.Errorf("%w: Slack says %s", integration.ErrTokenRefused, a.Error)
	case !a.OK && (a.Error == "bad_client_secret" || a.Error == "invalid_client_id"):
		return nil, fmt.Errorf("Slack does not know the app (%s): correct the operator's settings client_id and client_secret", a.Error)
	case !a.OK && (a.Error == "bad_redirect_uri"):
		return nil, errors.New("Slack refuses the address of return (bad_redirect_uri): add this installation's to the app's redirect URLs")
	case !a.OK:
		return nil, fmt.Errorf("Slack gave no token (%s)", a.Error)
	}
	var g grant
	if err := json.Unmarshal(resp.Body, &g); err != nil {
		return nil, errors.New("Slack's answer cannot be read: try again")
	}
	if g.AccessToken == "" {
		return nil, errors.New("Slack gave no bot's token: the app must ask for the scopes of a bot, such as chat:write")
	}
	return &integration.Token{
		Access: g.AccessToken, Refresh: g.RefreshToken, Type: g.TokenType, ExpiresIn: g.ExpiresIn, Scopes: splitScopes(g.Scope),
	}, nil
}

// splitScopes returns nil when there are none, which means that the answer does not say.
func splitScopes(s string) []string {
	if s == "" {
		return nil
	}
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// account is Connection.Data: what is known of a workspace, in the open.
type account struct {
	Team       named  `json:"team"`
	Enterprise *named `json:"enterprise,omitempty"`
	// URL is the workspace's address, with a slash at its end.
	URL       string `json:"url,omitempty"`
	AppID     string `json:"app_id,omitempty"`
	BotID     string `json:"bot_id,omitempty"`
	BotUserID string `json:"bot_user_id,omitempty"`
	// AuthedUser is the person who connected.
	AuthedUser string   `json:"authed_user,omitempty"`
	Webhook    *webhook `json:"webhook,omitempty"`
}

func readAccount(data json.RawMessage) account {
	var a account
	_ = json.Unmarshal(data, &a) // a key-based connection has none at first
	return a
}

// tested is the answer of auth.test. https://docs.slack.dev/reference/methods/auth.test
type tested struct {
	URL          string `json:"url"`
	Team         string `json:"team"`
	TeamID       string `json:"team_id"`
	UserID       string `json:"user_id"`
	BotID        string `json:"bot_id"`
	EnterpriseID string `json:"enterprise_id"`
	OrgWide      bool   `json:"is_enterprise_install"`
}

// Identify implements integration.Connector. The account is the workspace; whoever connected stands in the data.
func (*Slack) Identify(ctx context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
	token := tokenOf(g.Credentials.Extra, g.Credentials.Access)
	var t tested
	resp, _, r := do(ctx, g.Env, method{name: "auth.test", token: token, limit: maxAnswer}, &t)
	if r.Verdict != patchbay.VerdictDelivered {
		return nil, r
	}
	id := &integration.Identity{}
	data := readAccount(g.Data)
	if g.Answer != nil {
		var in grant
		if err := json.Unmarshal(g.Answer, &in); err != nil {
			return nil, integration.Retry("Slack's answer cannot be read: try again")
		}
		t.OrgWide = t.OrgWide || in.OrgWide
		if in.Team != nil && in.Team.ID != t.TeamID {
			return nil, integration.UserError("Slack names two workspaces (%s and %s) for one token: connect again", clip(in.Team.ID, 40), clip(t.TeamID, 40))
		}
		data = consented(&in, id)
	} else if resp.Header.Get("x-oauth-scopes") != "" { // https://docs.slack.dev/authentication/tokens, "Testing tokens"
		id.Grants = splitScopes(resp.Header.Get("x-oauth-scopes"))
	}
	if t.OrgWide || t.TeamID == "" {
		return nil, integration.UserError("the app was installed for a whole organisation: install it to one workspace instead")
	}
	data.Team, data.URL, data.BotID, data.BotUserID = named{ID: t.TeamID, Name: t.Team}, t.URL, t.BotID, t.UserID
	if t.EnterpriseID != "" && data.Enterprise == nil {
		data.Enterprise = &named{ID: t.EnterpriseID}
	}
	id.Account = patchbay.Account{ID: t.TeamID, Name: t.Team, URL: t.URL}
	id.Data = encode(data)
	return id, r
}

// consented takes from the answer to a consent what auth.test does not say.
func consented(in *grant, id *integration.Identity) account {
	data := account{AppID: in.AppID, AuthedUser: in.AuthedUser.ID, Enterprise: in.Enterprise}
	if hook := in.Webhook; hook != nil && hook.URL != "" {
		data.Webhook = &hook.webhook
		id.Fill = map[string]integration.Secret{"url": hook.URL}
		if hook.Channel != "" {
			id.Fill["channel"] = integration.Secret(hook.Channel)
		}
	}
	return data
}

// Person implements integration.Recognizer: it is who connected.
func (*Slack) Person(data json.RawMessage) string { return readAccount(data).AuthedUser }

// Revoke implements integration.Revoker. A token that somebody pasted is theirs, and may be used elsewhere: it
// stays, and they are told so.
// https://docs.slack.dev/reference/methods/auth.revoke
func (*Slack) Revoke(ctx context.Context, c *integration.Connected, env *integration.Env) integration.Result {
	if c.Credentials.Access == "" {
		return integration.UserError("a token that was pasted is its owner's, so it was only forgotten here")
	}
	_, word, r := do(ctx, env, method{name: "auth.revoke", token: c.Credentials.Access, limit: maxAnswer}, nil)
	if slices.Contains(wordsExpired, word) {
		return integration.Delivered() // it is gone already
	}
	return r
}
