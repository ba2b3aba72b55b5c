package github

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// keyToken is the key of a personal access token in Credentials.Extra.
const keyToken = "token"

// Connect signs in through the operator's OAuth app or GitHub App, or by personal access tokens where there is none.
//
// https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps: the scopes of a request are
// separated by spaces (those of an answer by commas), the client's secret goes into the body, and PKCE with S256 is
// understood (https://github.blog/changelog/2025-07-14-pkce-support-for-oauth-and-github-app-authentication).
func (*GitHub) Connect(raw json.RawMessage) (*integration.Connect, error) {
	c, err := readConfig(raw)
	if err != nil {
		return nil, err
	}
	if c.ClientID == "" && c.ClientSecret == "" {
		return &integration.Connect{Keys: keySpec(c)}, nil
	}
	if c.ClientID == "" || c.ClientSecret == "" {
		return nil, errors.New("integrations.github needs both client_id and client_secret, or neither of them")
	}
	return &integration.Connect{OAuth2: &integration.OAuth2{
		ClientID:     c.ClientID,
		ClientSecret: c.ClientSecret,
		AuthURL:      integration.JoinURL(c.URL, "login", "oauth", "authorize"),
		TokenURL:     integration.JoinURL(c.URL, "login", "oauth", "access_token"),
		// repo for issues, comments, statuses and dispatches in private repositories too, admin:repo_hook for webhooks
		// with their removal, read:user for the account. GitHub Apps ignore scopes: they have permissions.
		// https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
		Scopes:       []string{"repo", "admin:repo_hook", "read:user"},
		SecretInBody: true,
	}}, nil
}

func keySpec(c *config) integration.Spec {
	return integration.Spec{
		{
			Key: keyToken, Title: "Personal access token", Type: integration.TypeString, Required: true, Secret: true,
			Help: "Made at GitHub under Settings, Developer settings. Classic: with the scopes repo and admin:repo_hook. " +
				"Fine-grained: for the repositories that links are for, with read and write access to what they do there and to webhooks.",
		},
		{
			Key: "api_url", Title: "Address of the API", Type: integration.TypeURL, Target: true, Check: integration.CheckBaseURL,
			Help: "Where the token is good, when that is not " + c.APIURL + ".", Example: "https://github.example.com/api/v3",
		},
	}
}

// Identify asks whose credentials these are.
func (*GitHub) Identify(ctx context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
	con := &integration.Connected{Credentials: *g.Credentials, Data: g.Data}
	a, failed := newAPI(nil, con, g.Env)
	if failed != nil {
		return nil, *failed
	}
	var user struct {
		ID    json.Number `json:"id"`
		Login string      `json:"login"`
		URL   string      `json:"html_url"`
	}
	resp, failed := a.get(ctx, a.url("user"), &user)
	if failed != nil {
		return nil, *failed
	}
	if user.ID == "" || user.Login == "" {
		return nil, integration.UserError("%s did not say whose account this is: check the address of its API", partner).With(resp)
	}
	data, err := json.Marshal(connectionData{APIURL: dataOf(g.Data).APIURL})
	if err != nil {
		return nil, integration.Unrenderable(err)
	}
	return &integration.Identity{
		Account: patchbay.Account{ID: accountID(a.base, user.ID), Name: user.Login, URL: user.URL},
		Grants:  grants(resp.Header.Get("X-OAuth-Scopes")),
		Data:    data,
	}, integration.Delivered().With(resp)
}

func dataOf(raw json.RawMessage) connectionData {
	var d connectionData
	_ = json.Unmarshal(raw, &d) // without data it is the operator's GitHub
	return d
}

// grants reads X-OAuth-Scopes, which tokens of GitHub Apps and fine-grained ones do not have.
// https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
func grants(header string) []string {
	return strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ' ' })
}

// ReadToken reads an answer of the token endpoint. It says what went wrong with status 200, and answers as a form where
// nobody asked for JSON.
// https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens
func (*GitHub) ReadToken(resp *integration.Response) (*integration.Token, error) {
	var t struct {
		Access           integration.Secret `json:"access_token"`
		Refresh          integration.Secret `json:"refresh_token"`
		Type             string             `json:"token_type"`
		Scope            string             `json:"scope"`
		ExpiresIn        json.Number        `json:"expires_in"`
		RefreshExpiresIn json.Number        `json:"refresh_token_expires_in"`
		Error            string             `json:"error"`
	}
	if err := json.Unmarshal(formAsJSON(resp), &t); err != nil {
		return nil, fmt.Errorf("%s answered %d with something that is no token: check integrations.github.url", partner, resp.Status)
	}
	switch {
	case t.Error != "":
		return nil, tokenError(t.Error)
	case resp.Status < 200 || resp.Status > 299:
		return nil, fmt.Errorf("%s answered %d instead of a token", partner, resp.Status)
	case t.Access == "":
		return nil, fmt.Errorf("%s answered without a token", partner)
	}
	out := &integration.Token{Access: t.Access, Refresh: t.Refresh, Type: t.Type}
	out.ExpiresIn, _ = t.ExpiresIn.Int64()
	out.RefreshExpiresIn, _ = t.RefreshExpiresIn.Int64()
	if t.Scope != "" {
		out.Scopes = grants(t.Scope)
	}
	return out, nil
}

// formAsJSON turns an answer that is a form into the same as JSON.
func formAsJSON(resp *integration.Response) []byte {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), formType) {
		return resp.Body
	}
	values, err := url.ParseQuery(string(resp.Body))
	if err != nil {
		return nil
	}
	flat := make(map[string]string, len(values))
	for k := range values {
		flat[k] = values.Get(k)
	}
	out, err := json.Marshal(flat)
	if err != nil {
		return nil
	}
	return out
}

func tokenError(code string) error {
	switch code {
	case "bad_verification_code":
		return refused("%s no longer knows this consent, which lasts ten minutes: begin again (%s)", partner, code)
	case "bad_refresh_token":
		return refused("%s no longer takes the refresh token: connect the account again (%s)", partner, code)
	case "unverified_user_email":
		return refused("the account's primary e-mail address has to be verified at %s first (%s)", partner, code)
	case "incorrect_client_credentials":
		return fmt.Errorf("%s does not know the app: check client_id and client_secret in integrations.github (%s)", partner, code)
	case "redirect_uri_mismatch":
		return fmt.Errorf("the app at %s has another callback address: set it to this installation's /auth/github/callback (%s)",
			partner, code)
	case "access_denied":
		return refused("the consent was refused at %s", partner)
	}
	return fmt.Errorf("%s gave no token (%.64q)", partner, code)
}

// refused says that only another consent helps.
func refused(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), integration.ErrTokenRefused)
}

// Revoke ends the connection's token. It leaves the person's consent to the app alone: with that, GitHub would end the
// tokens of all other connections of the same person too.
// https://docs.github.com/en/rest/apps/oauth-applications#delete-an-app-token
func (*GitHub) Revoke(ctx context.Context, con *integration.Connected, env *integration.Env) integration.Result {
	c, err := readConfig(env.Config)
	if err != nil {
		return integration.Misconfigured("the operator's settings in integrations.github cannot be read")
	}
	if con.Credentials.Access == "" {
		return integration.Delivered() // a personal access token is its owner's to delete
	}
	if c.ClientID == "" || c.ClientSecret == "" {
		return integration.Misconfigured("the token stays valid at %s, because integrations.github has no client_id and client_secret "+
			"any more", partner)
	}
	token := con.Credentials.Access.Reveal()
	body, err := json.Marshal(map[string]string{"access_token": token})
	if err != nil {
		return integration.Unrenderable(err)
	}
	basic := base64.StdEncoding.EncodeToString([]byte(c.ClientID + ":" + c.ClientSecret.Reveal()))
	req := &integration.Request{
		Method: http.MethodDelete, URL: integration.JoinURL(c.APIURL, "applications", c.ClientID, "token"), Body: body,
		Secret: []string{token, basic, c.ClientSecret.Reveal()},
	}
	req.Header.Set("Authorization", "Basic "+basic)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	resp, err := env.HTTP.Do(ctx, req)
	if err != nil {
		return integration.Unreachable(partner, err)
	}
	// 404 and 422 are the answers to a token that is not valid any more.
	if resp.Status == http.StatusNotFound || resp.Status == http.StatusUnprocessableEntity {
		return integration.Delivered().With(resp)
	}
	if failed := (&api{env: env}).judge(resp); failed != nil {
		return *failed
	}
	return integration.Delivered().With(resp)
}
