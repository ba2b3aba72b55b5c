package jira

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// client makes calls, for a delivery or for anything else that is done for one link or one connection.
type client struct {
	d        *integration.Delivery // nil outside of deliveries
	env      *integration.Env
	settings *Settings
	// base is where paths begin, site the host that people know it by, cloud whether it is Atlassian's cloud.
	base, site string
	cloud      bool
	// value is what signs in, signer what makes it for each request instead.
	value  string
	signer *signer
	// connected says that a connection signs in, gateway that it is one by OAuth 2, account whose it is.
	connected, gateway bool
	account            string
	// words name what signs in.
	words string
}

func newClient(d *integration.Delivery) (*client, *integration.Result) {
	s := d.Settings.(*Settings)
	c, failed := reach(s, d.Connection, d.Env, d.Consumer, d.Preview)
	if c != nil {
		c.d = d
	}
	return c, failed
}

// reach finds out where a link's Jira is and how to sign in there: the link's own settings come before its connection.
func reach(s *Settings, con *integration.Connected, env *integration.Env, consumer *integration.OAuthConsumer, preview bool) (*client, *integration.Result) {
	c := &client{env: env, settings: s, base: s.BaseURL, cloud: s.cloud()}
	switch {
	case s.BaseURL == "" && con == nil:
		r := integration.Misconfigured("the link has neither a connection nor jira_base_url: give one of them")
		return nil, &r
	case s.BaseURL == "":
		return c.over(con, preview)
	case s.Token != "":
		c.value, c.words = "Bearer "+s.Token.Reveal(), "token"
	case s.Email != "":
		c.value, c.words = basicAuth(s.Email, s.APIToken), "email and api_token"
	default:
		c.words = "oauth_settings and the consumer"
		return c.signed(consumer, s.OAuth, preview)
	}
	c.site = hostOf(c.base)
	return c, nil
}

// over signs in as a connection does: by OAuth 2 through Atlassian's gateway, by OAuth 1.0a, or with a key that was given.
func (c *client) over(con *integration.Connected, preview bool) (*client, *integration.Result) {
	data := dataOf(con.Data)
	c.connected, c.account, c.words = true, con.Account.ID, "the connection"
	given := con.Credentials.Extra
	switch {
	case len(data.Sites) > 0 || con.Credentials.Refresh != "":
		config, err := readConfig(c.env.Config)
		if err != nil {
			r := integration.Misconfigured("%v", err)
			return nil, &r
		}
		s := data.site(c.settings.Site)
		if s == nil {
			r := integration.UserError("the connection does not reach the site %.64q at Atlassian: choose another site, or connect it", c.settings.Site)
			return nil, &r
		}
		// https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/ (section "Construct the request URL")
		c.base, c.site = integration.JoinURL(config.APIURL, "ex", "jira", s.ID), s.host()
		c.gateway, c.cloud, c.value = true, true, "Bearer "+con.Credentials.Access.Reveal()
		return c, nil
	case data.BaseURL == "":
		r := integration.Misconfigured("the connection does not say where its Jira is: connect the account again")
		return nil, &r
	}
	c.base, c.site, c.cloud = data.BaseURL, hostOf(data.BaseURL), isCloud(data.BaseURL)
	switch {
	case con.Credentials.TokenSecret != "" || con.Credentials.Type == "OAuth":
		o := OAuthSettings{SignatureMethod: methodRSASHA1, AccessToken: con.Credentials.Access, AccessSecret: con.Credentials.TokenSecret}
		return c.signed(nil, o, preview)
	case given[keyToken] != "" && data.Email != "":
		c.value = basicAuth(data.Email, given[keyToken])
	default:
		c.value = "Bearer " + given[keyToken].Reveal()
	}
	return c, nil
}

func (c *client) signed(consumer *integration.OAuthConsumer, o OAuthSettings, preview bool) (*client, *integration.Result) {
	c.site = hostOf(c.base)
	if preview {
		c.value = "OAuth (signed when it is sent)"
		return c, nil
	}
	var failed *integration.Result
	if c.signer, failed = newSigner(consumer, c.env, o); failed != nil {
		return nil, failed
	}
	return c, nil
}

func basicAuth(user string, password integration.Secret) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password.Reveal()))
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// where names what says where Jira is.
func (c *client) where() string {
	if c.connected {
		return "the connection"
	}
	return "jira_base_url"
}

func (c *client) url(path ...string) string { return integration.JoinURL(c.base, path...) }

// call makes one request. Any answer but 2xx comes back with the result with which the attempt ends.
func (c *client) call(ctx context.Context, method, address string, body []byte) (*integration.Response, *integration.Result) {
	req := &integration.Request{Method: method, URL: address, Body: body, Limit: maxAnswer}
	value := c.value
	if c.signer != nil {
		var err error
		if value, err = c.signer.authorization(req.Method, req.URL); err != nil {
			r := integration.Misconfigured("the request cannot be signed: %v", err)
			return nil, &r
		}
	}
	req.Header.Set("Authorization", value)
	req.Secret = []string{value}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Language", "en") // otherwise errors come in the account's language
	if req.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.env.HTTP.Do(ctx, req)
	if err != nil {
		r := integration.Unreachable(partner, err)
		return nil, &r
	}
	r := integration.Classify(partner, resp)
	if r.Verdict == patchbay.VerdictDelivered {
		return resp, nil
	}
	r = c.judge(resp, r)
	return resp, &r
}

// judge says more of a refusal than its status does.
func (c *client) judge(resp *integration.Response, r integration.Result) integration.Result {
	switch resp.Status {
	case http.StatusUnauthorized:
		switch {
		case c.gateway && strings.Contains(string(resp.Body), "scope does not match"):
			// What the gateway says of a token without a scope, unconfirmed in its documentation; a new token would not help.
			return integration.UserError("the app may not do this (401): add the scopes that it lacks, and connect the account again").With(resp)
		case c.connected:
			return integration.Expired("%s no longer takes the connection's credentials (401)", partner).With(resp)
		}
		return integration.UserError("%s refused the credentials (401): check %s", partner, c.words).With(resp)
	case http.StatusForbidden:
		return integration.UserError("%s does not allow this (403): the account must be allowed to browse project %s and to create issues in it, and may have to sign in once in a browser",
			partner, c.settings.ProjectKey).With(resp)
	case http.StatusNotFound:
		return integration.UserError("%s was not found at this address (404): check %s and project_key", partner, c.where()).With(resp)
	}
	return r
}

// get reads an answer.
func (c *client) get(ctx context.Context, address string, into any) (*integration.Response, *integration.Result) {
	return c.send(ctx, http.MethodGet, address, nil, into)
}

// send makes a request with a body, unless that is nil, and reads the answer, unless into is nil.
func (c *client) send(ctx context.Context, method, address string, body, into any) (*integration.Response, *integration.Result) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			r := integration.Unrenderable(err)
			return nil, &r
		}
	}
	resp, failed := c.call(ctx, method, address, raw)
	if failed != nil || into == nil {
		return resp, failed
	}
	if err := json.Unmarshal(resp.Body, into); err != nil {
		r := integration.UserError("%s answered with something that is not its own: check %s", partner, c.where()).With(resp)
		return resp, &r
	}
	return resp, nil
}
