package jira

import (
	"cmp"
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

// keyToken is the key of a token in Credentials.Extra.
const keyToken = "token"

// noPKCE is why consent goes without PKCE: https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/ describes the
// flow with the client's secret alone. Whether a challenge would be checked is unconfirmed.
const noPKCE = "Atlassian documents no PKCE for apps that keep a secret; the state is bound to the browser instead"

// scopes are what the app asks for: to read and write issues, to register webhooks, to know whose account it is, and to get
// refresh tokens, each of which is good once.
// https://developer.atlassian.com/cloud/jira/platform/scopes-for-oauth-2-3LO-and-forge-apps/
var scopes = []string{"read:jira-work", "write:jira-work", "manage:jira-webhook", "read:jira-user", "offline_access"}

// Connect signs in through the operator's OAuth 2.0 app to Jira Cloud, by OAuth 1.0a to the operator's Data Center, or with
// a token.
func (*Jira) Connect(raw json.RawMessage) (*integration.Connect, error) {
	c, err := readConfig(raw)
	if err != nil {
		return nil, err
	}
	switch {
	case (c.ClientID == "") != (c.ClientSecret == ""):
		return nil, errors.New("integrations.jira needs both client_id and client_secret, or neither of them")
	case c.ClientID != "":
		return &integration.Connect{OAuth2: &integration.OAuth2{
			ClientID: c.ClientID, ClientSecret: c.ClientSecret,
			AuthURL:  integration.JoinURL(c.AuthURL, "authorize"),
			TokenURL: integration.JoinURL(c.AuthURL, "oauth", "token"),
			Scopes:   scopes,
			// https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/ (section "Direct the user to the authorization URL")
			Params: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
			NoPKCE: noPKCE, SecretInBody: true,
		}}, nil
	case c.BaseURL == "":
		return &integration.Connect{Keys: keySpec()}, nil
	case c.ConsumerKey == "" || c.PrivateKey == "":
		return nil, errors.New("integrations.jira.base_url needs consumer_key and private_key beside it")
	}
	// https://developer.atlassian.com/server/jira/platform/oauth/
	at := func(path string) string { return integration.JoinURL(c.BaseURL, "plugins", "servlet", "oauth", path) }
	return &integration.Connect{OAuth1: &integration.OAuth1{
		ConsumerKey: c.ConsumerKey, PrivateKey: integration.Secret(strings.ReplaceAll(c.PrivateKey.Reveal(), `\n`, "\n")),
		RequestURL: at("request-token"), AuthorizeURL: at("authorize"), AccessURL: at("access-token"),
	}}, nil
}

func keySpec() integration.Spec {
	return integration.Spec{
		{
			Key: "jira_base_url", Title: "Address of Jira", Type: integration.TypeURL, Required: true, Target: true,
			Check: integration.CheckBaseURL, Example: "https://acme.atlassian.net",
		},
		{
			Key: "email", Title: "E-mail of the account", Type: integration.TypeString, Example: "bot@example.com",
			Help: "For Jira Cloud. Without it the token is a personal access token of Jira Data Center.",
		},
		{
			Key: keyToken, Title: "Token", Type: integration.TypeString, Required: true, Secret: true,
			Help: "An API token made at id.atlassian.com, or a personal access token made in your profile at Jira Data Center.",
		},
	}
}

// connectionData is Connection.Data: where the account is, and who it is there.
type connectionData struct {
	// BaseURL and Email are those of a key, BaseURL also that of OAuth 1.0a.
	BaseURL string `json:"jira_base_url,omitempty"`
	Email   string `json:"email,omitempty"`
	// Sites are what an account reaches by OAuth 2; Site is the host of the connection's own.
	Sites []site `json:"sites,omitempty"`
	Site  string `json:"site,omitempty"`
	// Person is what Jira calls whoever connected.
	Person string `json:"person,omitempty"`
}

// site is one of Atlassian's sites.
type site struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	URL  string `json:"url"`
}

func (s *site) host() string { return hostOf(s.URL) }

func dataOf(raw json.RawMessage) connectionData {
	var d connectionData
	_ = json.Unmarshal(raw, &d) // a connection by OAuth 1.0a has none at first
	return d
}

// site finds a site by its host; "" is the connection's own.
func (d *connectionData) site(host string) *site {
	host = strings.ToLower(cmp.Or(host, d.Site))
	for i := range d.Sites {
		if d.Sites[i].host() == host {
			return &d.Sites[i]
		}
	}
	return nil
}

// Person implements integration.Recognizer: the account is the site, which many people share.
func (*Jira) Person(data json.RawMessage) string { return dataOf(data).Person }

// Identify asks whose credentials these are. The account is the site, because that is what Jira's calls name; who connected
// stands in the data.
func (*Jira) Identify(ctx context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
	con := &integration.Connected{Credentials: *g.Credentials, Data: g.Data}
	config, err := readConfig(g.Env.Config)
	if err != nil {
		return nil, integration.Misconfigured("%v", err)
	}
	data := dataOf(g.Data)
	oauth1 := con.Credentials.TokenSecret != "" || con.Credentials.Type == "OAuth"
	switch {
	case oauth1 && data.BaseURL == "":
		data.BaseURL = config.BaseURL
	case con.Credentials.Access != "" && !oauth1:
		if failed := data.ask(ctx, g, config); failed != nil {
			return nil, *failed
		}
	}
	con.Data = encode(&data)
	c, failed := reach(&Settings{}, con, g.Env, nil, false)
	if failed != nil {
		return nil, *failed
	}
	var me struct {
		AccountID   string `json:"accountId"` // Cloud
		Key         string `json:"key"`       // Data Center
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	}
	resp, failed := c.get(ctx, c.url("rest", "api", "2", "myself"), &me)
	if failed != nil {
		return nil, *failed
	}
	if data.Person = cmp.Or(me.AccountID, me.Key, me.Name); data.Person == "" {
		return nil, integration.UserError("%s did not say whose account this is: check its address", partner).With(resp)
	}
	address := "https://" + c.site
	if data.BaseURL != "" {
		address = data.BaseURL
	}
	return &integration.Identity{
		Account: patchbay.Account{ID: c.site, Name: cmp.Or(me.DisplayName, data.Person) + " on " + c.site, URL: address},
		Data:    encode(&data),
	}, integration.Delivered().With(resp)
}

// ask finds out which sites a token reaches. A consent is for one of them, but the answer names all that the person has
// consented to before, and not which one it was now: the one that the connection had stays, otherwise it is the first.
// https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/ (section "Get the cloudid for your site")
func (d *connectionData) ask(ctx context.Context, g *integration.Grant, config *operatorConfig) *integration.Result {
	c := &client{
		env: g.Env, settings: &Settings{}, base: config.APIURL, connected: true, gateway: true, words: "the connection",
		value: "Bearer " + g.Credentials.Access.Reveal(),
	}
	var all []struct {
		site
		Scopes []string `json:"scopes"`
	}
	resp, failed := c.get(ctx, c.url("oauth", "token", "accessible-resources"), &all)
	if failed != nil {
		return failed
	}
	d.Sites = nil
	for i := range all {
		jira := slices.ContainsFunc(all[i].Scopes, func(scope string) bool { return strings.Contains(scope, "jira") })
		if jira && all[i].ID != "" && all[i].host() != "" && len(d.Sites) < maxSites {
			d.Sites = append(d.Sites, all[i].site)
		}
	}
	if len(d.Sites) == 0 {
		r := integration.UserError("the account reaches no site with %s: choose one when you consent", partner).With(resp)
		return &r
	}
	slices.SortFunc(d.Sites, func(a, b site) int { return strings.Compare(a.URL, b.URL) })
	if d.site("") == nil {
		d.Site = d.Sites[0].host()
	}
	return nil
}

// maxSites bounds what is kept of an answer.
const maxSites = 50

func encode(d *connectionData) json.RawMessage {
	raw, err := json.Marshal(d)
	if err != nil {
		panic("jira: a connection's data that is no JSON: " + err.Error()) // texts alone cannot fail
	}
	return raw
}

// ReadToken reads an answer of the token endpoint. Refresh tokens that are no longer good, because they were used already or
// for ninety days not, are told as 403 with invalid_grant, or as unauthorized_client with words about the refresh token,
// which RFC 6749 has another meaning for.
// https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/ (section "Use a refresh token to get another access token
// and refresh token pair"); the second is unconfirmed there.
func (*Jira) ReadToken(resp *integration.Response) (*integration.Token, error) {
	var t struct {
		Access      integration.Secret `json:"access_token"`
		Refresh     integration.Secret `json:"refresh_token"`
		Type        string             `json:"token_type"`
		Scope       string             `json:"scope"`
		ExpiresIn   json.Number        `json:"expires_in"`
		Error       string             `json:"error"`
		Description string             `json:"error_description"`
	}
	if err := json.Unmarshal(resp.Body, &t); err != nil {
		return nil, fmt.Errorf("Atlassian answered %d with something that is no token: try again", resp.Status)
	}
	words := strings.ToLower(strings.ReplaceAll(t.Description, "_", " "))
	switch {
	case t.Error == "invalid_grant" || strings.Contains(words, "refresh token"):
		return nil, fmt.Errorf("Atlassian no longer takes this consent (%.64q): connect the account again: %w", t.Error, integration.ErrTokenRefused)
	case t.Error == "access_denied" && resp.Status != http.StatusUnauthorized:
		return nil, fmt.Errorf("the consent was refused at Atlassian: %w", integration.ErrTokenRefused)
	case t.Error != "" && (resp.Status == http.StatusUnauthorized || t.Error == "invalid_client"):
		return nil, fmt.Errorf("Atlassian does not know the app (%.64q): check client_id and client_secret in integrations.jira", t.Error)
	case t.Error != "":
		return nil, fmt.Errorf("Atlassian gave no token (%.64q)", t.Error)
	case resp.Status < 200 || resp.Status > 299:
		return nil, fmt.Errorf("Atlassian answered %d instead of a token", resp.Status)
	case t.Access == "":
		return nil, errors.New("Atlassian answered without a token")
	}
	out := &integration.Token{Access: t.Access, Refresh: t.Refresh, Type: t.Type}
	out.ExpiresIn, _ = t.ExpiresIn.Int64()
	if t.Scope != "" {
		out.Scopes = strings.Fields(t.Scope)
	}
	return out, nil
}
