package github

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

const (
	// publicURL and publicAPI are where github.com is.
	publicURL = "https://github.com"
	publicAPI = "https://api.github.com"
	// apiVersion is the version of the API that we write against.
	// https://docs.github.com/en/rest/about-the-rest-api/api-versions
	apiVersion = "2022-11-28"
	// secondaryPause is how long to wait at least where GitHub limits and does not say for how long.
	// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
	secondaryPause = time.Minute
	// longestPause bounds what a reset may ask for: what is limited is counted by the hour.
	longestPause = 2 * time.Hour
)

// config is the operator's settings.
type config struct {
	ClientID      string             `json:"client_id"`
	ClientSecret  integration.Secret `json:"client_secret"`
	URL           string             `json:"url"`
	APIURL        string             `json:"api_url"`
	WebhookSecret integration.Secret `json:"webhook_secret"`
}

func configSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "client_id", Title: "Client ID", Type: integration.TypeString,
			Help: "Of the OAuth app, or the GitHub App, through which people connect their accounts. Without it they connect with " +
				"personal access tokens.",
		},
		{Key: "client_secret", Title: "Client secret", Type: integration.TypeString, Secret: true, Help: "Of the same app."},
		{
			Key: "url", Title: "Address of GitHub", Type: integration.TypeURL, Check: integration.CheckBaseURL, Target: true,
			Example: "https://github.example.com", Help: "Of a GitHub Enterprise Server. Without it https://github.com.",
		},
		{
			Key: "api_url", Title: "Address of its API", Type: integration.TypeURL, Check: integration.CheckBaseURL, Target: true,
			Example: "https://github.example.com/api/v3", Help: "Without it https://api.github.com, or /api/v3 below url.",
		},
		{
			Key: "webhook_secret", Title: "Webhook secret", Type: integration.TypeString, Secret: true, Signing: true,
			Help: "Of a GitHub App whose webhook calls /integrations/github/hook. OAuth apps have none.",
		},
	}
}

func readConfig(raw json.RawMessage) (*config, error) {
	c := new(config)
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, c); err != nil {
			return nil, patchbay.Internal("reading the operator's settings in integrations.github", err)
		}
	}
	c.URL, c.APIURL = strings.TrimRight(c.URL, "/"), strings.TrimRight(c.APIURL, "/")
	c.URL = cmp.Or(c.URL, publicURL)
	if c.APIURL == "" {
		c.APIURL = publicAPI
		if c.URL != publicURL {
			// https://docs.github.com/en/enterprise-server@latest/rest/enterprise-admin#endpoint-urls
			c.APIURL = c.URL + "/api/v3"
		}
	}
	return c, nil
}

// connectionData is what a key-based connection keeps in the open.
type connectionData struct {
	APIURL string `json:"api_url,omitempty"`
}

// baseURL returns where the API is that a link or a connection talks to, without a slash at its end. The credentials of a
// connection never go where a link's settings say: whoever may write those could read them there.
func baseURL(c *config, s *Settings, con *integration.Connected) string {
	given := ""
	if con != nil {
		var data connectionData
		if json.Unmarshal(con.Data, &data) == nil {
			given = data.APIURL
		}
	} else if s != nil {
		given = s.APIURL
	}
	return cmp.Or(strings.TrimRight(given, "/"), c.APIURL)
}

// accountID makes the identifier of an account. Those of an Enterprise Server count from 1 again, so they say whose they
// are.
func accountID(base string, id json.Number) string {
	if id == "" {
		return ""
	}
	if u, err := url.Parse(base); err == nil && base != publicAPI {
		return strings.ToLower(u.Host) + ":" + id.String()
	}
	return id.String()
}

// api makes calls with one account's credentials.
type api struct {
	base      string
	token     integration.Secret
	connected bool
	login     string // of the account, where it is known
	env       *integration.Env
}

// newAPI takes the credentials of the connection, or else the link's own.
func newAPI(s *Settings, con *integration.Connected, env *integration.Env) (*api, *integration.Result) {
	c, err := readConfig(env.Config)
	if err != nil {
		r := integration.Misconfigured("the operator's settings in integrations.github cannot be read")
		return nil, &r
	}
	a := &api{base: baseURL(c, s, con), env: env}
	if con != nil {
		a.connected, a.login = true, con.Account.Name
		a.token = cmp.Or(con.Credentials.Access, con.Credentials.Extra[keyToken])
	} else if s != nil {
		a.token = s.Token
	}
	if a.token == "" {
		r := integration.UserError("there is nothing to sign in to %s with: connect an account, or give a token", partner)
		return nil, &r
	}
	return a, nil
}

// url makes an address of the API.
func (a *api) url(path ...string) string { return integration.JoinURL(a.base, path...) }

// repository is the address of a link's repository, or of something below it.
func (a *api) repository(s *Settings, below ...string) string {
	owner, name, _ := strings.Cut(s.Repository, "/")
	return a.url(append([]string{"repos", owner, name}, below...)...)
}

// get asks for something and reads the answer.
func (a *api) get(ctx context.Context, address string, into any) (*integration.Response, *integration.Result) {
	resp, failed := a.call(ctx, http.MethodGet, address, nil)
	if failed == nil {
		failed = read(resp, into)
	}
	return resp, failed
}

// read reads an answer. A field of another kind than ours is left out: what is needed is looked at by whoever needs it.
func read(resp *integration.Response, into any) *integration.Result {
	if err := json.Unmarshal(resp.Body, into); err != nil && !isKind(err) || resp.Truncated {
		r := integration.UserError("what answered is not %s: check the address of its API", partner).With(resp)
		return &r
	}
	return nil
}

// send makes a call with a body, which is JSON already when it is a json.RawMessage.
func (a *api) send(ctx context.Context, method, address string, body any) (*integration.Response, *integration.Result) {
	raw, ok := body.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = encode(body); err != nil {
			r := integration.Unrenderable(err)
			return nil, &r
		}
	}
	return a.call(ctx, method, address, raw)
}

// encode writes JSON as people write it, with <, > and & as they are.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// call makes one call. Any answer but 2xx comes back with the result with which the attempt ends.
func (a *api) call(ctx context.Context, method, address string, body json.RawMessage) (*integration.Response, *integration.Result) {
	authorization := "Bearer " + a.token.Reveal()
	req := &integration.Request{Method: method, URL: address, Body: body, Secret: []string{a.token.Reveal()}}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.env.HTTP.Do(ctx, req)
	if err != nil {
		r := integration.Unreachable(partner, err)
		return nil, &r
	}
	return resp, a.judge(resp)
}

// judge says what an answer means; nil is success.
func (a *api) judge(resp *integration.Response) *integration.Result {
	r := integration.Classify(partner, resp)
	switch status := resp.Status; {
	case r.Verdict == patchbay.VerdictDelivered:
		return nil
	case (status == http.StatusForbidden || status == http.StatusTooManyRequests) && limited(resp):
		r = integration.Retry("%s limits how much this account may do (%d)", partner, status)
		r.Throttled, r.RetryAfter = true, pause(resp, a.env.Now())
	case status == http.StatusUnauthorized && a.connected:
		r = integration.Expired("%s no longer takes the connection's credentials (401): connect the account again", partner)
	case status == http.StatusUnauthorized:
		r = integration.UserError("%s refused the token (401): it is wrong, has expired or was revoked", partner)
	case status == http.StatusForbidden:
		r = integration.UserError("%s does not allow this (403): the account lacks a right to the repository, its token lacks a scope, "+
			"or the organization has to approve the app", partner)
	case status == http.StatusNotFound: // it does not tell what is not there from what one may not see
		r = integration.UserError("%s does not find this (404): check the names in the settings, and that the account and its token "+
			"may see and do this", partner)
	case status == http.StatusGone: // not the target is gone, but a feature is off
		r = integration.UserError("%s says that issues are turned off in this repository, or that this issue was deleted (410)",
			partner)
	case status >= 300 && status < 400:
		r = integration.UserError("%s says that the repository has moved (%d): give its present name", partner, status)
	}
	r = r.With(resp)
	return &r
}

// limited reports whether a refusal is about how much was asked. Primary limits say that nothing remains, secondary ones
// say so in words, and mostly how long to wait.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func limited(resp *integration.Response) bool {
	if resp.Status == http.StatusTooManyRequests || resp.RetryAfter > 0 || resp.Header.Get("X-RateLimit-Remaining") == "0" {
		return true
	}
	var answer struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(resp.Body, &answer)
	said := strings.ToLower(answer.Message)
	return strings.Contains(said, "rate limit") || strings.Contains(said, "abuse detection") // as older servers call it
}

// pause is how long to wait: what Retry-After says, else until what may be asked is reset, else a minute.
func pause(resp *integration.Response, now time.Time) time.Duration {
	if resp.RetryAfter > 0 {
		return resp.RetryAfter
	}
	reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || resp.Header.Get("X-RateLimit-Remaining") != "0" {
		return secondaryPause
	}
	wait := min(max(time.Unix(reset, 0).Sub(now), 0), longestPause)
	return wait + time.Second // its clock has whole seconds
}

// complaint is what GitHub says of a request that it does not take.
// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed
type complaint struct {
	Message string `json:"message"`
	Errors  []struct {
		Resource string `json:"resource"`
		Field    string `json:"field"`
		Code     string `json:"code"`
		Message  string `json:"message"`
	} `json:"errors"`
}

// complaintOf reads what is said against a request (422), in small letters, and the fields that it is about.
func complaintOf(resp *integration.Response) (text string, fields []string) {
	var c complaint
	if resp == nil || resp.Status != http.StatusUnprocessableEntity || json.Unmarshal(resp.Body, &c) != nil {
		return "", nil
	}
	said := []string{c.Message}
	for _, e := range c.Errors {
		said = append(said, e.Message)
		fields = append(fields, e.Field)
	}
	return strings.ToLower(strings.Join(said, "\n")), fields
}

// nextPage returns the address of the next page of a list, as its Link header says (RFC 8288); "" when it is the last.
// https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api#using-link-headers
func (a *api) nextPage(resp *integration.Response) string {
	for _, h := range resp.Header {
		if !strings.EqualFold(h.Name, "Link") {
			continue
		}
		for _, link := range strings.Split(h.Value, ",") {
			target, params, _ := strings.Cut(strings.TrimSpace(link), ";")
			target = strings.TrimSuffix(strings.TrimPrefix(target, "<"), ">")
			// The token goes along, so nothing but the same API may be named.
			if strings.Contains(params, `rel="next"`) && strings.HasPrefix(target, a.base+"/") {
				return target
			}
		}
	}
	return ""
}
