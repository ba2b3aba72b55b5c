package connect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

const (
	// callTime bounds one call to a partner. The lease of a refresh lasts much longer; see leaseTime.
	callTime = 15 * time.Second
	// maxAnswer is far above what any token endpoint says, and far below what would hurt.
	maxAnswer = 256 << 10
	// longestToken is what a lifetime that cannot be meant is cut to.
	longestToken = 10 * 365 * 24 * time.Hour
)

// reserved are the parameters of an authorization request that a declaration cannot change.
var reserved = []string{"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}

// authorizeURL makes the address of the partner's consent (RFC 6749 §4.1.1, RFC 7636 §4.3).
func (s *Service) authorizeURL(p *partner, f *flow, state string) (string, error) {
	o := p.how.OAuth2
	if integration.CheckURL(o.AuthURL) != nil || integration.CheckURL(o.TokenURL) != nil {
		return "", patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
			"the addresses of %s's consent and tokens must be whole http or https URLs", p.title)
	}
	config := oauth2.Config{ClientID: o.ClientID, RedirectURL: f.Redirect, Endpoint: oauth2.Endpoint{AuthURL: o.AuthURL}}
	var options []oauth2.AuthCodeOption
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		if !slices.Contains(reserved, name) {
			options = append(options, oauth2.SetAuthURLParam(name, o.Params[name]))
		}
	}
	if len(o.Scopes) > 0 {
		separator := o.Separator
		if separator == "" {
			separator = " "
		}
		options = append(options, oauth2.SetAuthURLParam("scope", strings.Join(o.Scopes, separator)))
	}
	if o.NoPKCE == "" {
		f.Verifier = oauth2.GenerateVerifier()
		options = append(options, oauth2.S256ChallengeOption(f.Verifier))
	}
	return config.AuthCodeURL(state, options...), nil
}

// exchange gets tokens for the code that a browser brought (RFC 6749 §4.1.3).
func (s *Service) exchange(ctx context.Context, p *partner, f *flow, q url.Values) (*granted, error) {
	code := q["code"]
	if len(code) != 1 || code[0] == "" || len(code[0]) > maxReturn {
		return nil, patchbay.Errorf(patchbay.CodeUserConfigurationError,
			"%s sent the browser back without a code, so nothing was connected; begin again", p.title)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": code, "redirect_uri": {f.Redirect}}
	secrets := []string{code[0], f.Verifier}
	if f.Verifier != "" {
		form.Set("code_verifier", f.Verifier)
	}
	g, err := s.token(ctx, p, form, secrets)
	if err != nil {
		var failed *tokenError
		if errors.As(err, &failed) {
			return nil, patchbay.Errorf(failed.code(), "%s gave no access: %s; nothing was connected", p.title, failed.text)
		}
		return nil, err
	}
	if g.scopes == nil { // RFC 6749 §5.1: it may be left out when it is what was asked for
		g.scopes = p.how.OAuth2.Scopes
	}
	return g, nil
}

// tokenError is why a token endpoint gave no tokens. It holds no secrets.
type tokenError struct {
	text string
	// refused says that the grant is not valid any more, ours that the application's own credentials are not, or that its
	// declaration is wrong. Everything else may work later.
	refused, ours bool
	// wait is how long the partner asked to wait.
	wait time.Duration
}

func (e *tokenError) Error() string { return e.text }

func (e *tokenError) code() patchbay.Code {
	switch {
	case e.refused:
		return patchbay.CodeUserConfigurationError
	case e.ours:
		return patchbay.CodeMisconfiguredIntegration
	}
	return patchbay.CodeServiceError
}

// token makes one request to a token endpoint. Every error of it is a *tokenError.
func (s *Service) token(ctx context.Context, p *partner, form url.Values, secrets []string) (*granted, error) {
	o := p.how.OAuth2
	env, wire := s.env(p, secrets)
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	began := s.now()
	resp, err := env.HTTP.Do(ctx, tokenRequest(o, o.TokenURL, form, secrets))
	if err != nil {
		return nil, &tokenError{text: sentence(wire.Redact(unreached(err))), ours: errors.Is(err, integration.ErrRefused)}
	}
	if resp.Truncated {
		return nil, &tokenError{text: fmt.Sprintf("it answered with more than %d KiB", maxAnswer>>10)}
	}
	t, err := s.readToken(p, resp, wire)
	if err != nil {
		return nil, err
	}
	if err := checkToken(t); err != nil {
		return nil, err
	}
	g := &granted{scopes: t.Scopes, secrets: secrets, credentials: patchbay.Credentials{
		Access: t.Access, Refresh: t.Refresh, Type: t.Type,
		ExpiresAt: ends(began, t.ExpiresIn), RefreshExpiresAt: ends(began, t.RefreshExpiresIn),
	}}
	if g.credentials.Type == "" {
		g.credentials.Type = "Bearer"
	}
	if json.Valid(resp.Body) {
		g.answer = resp.Body
	} else if raw, err := json.Marshal(firstValues(string(resp.Body))); err == nil {
		g.answer = raw
	}
	return g, nil
}

// unreached says why there was no answer, after the partner's name.
func unreached(err error) string {
	switch {
	case errors.Is(err, integration.ErrRefused):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	}
	return "it could not be reached: " + err.Error()
}

// tokenRequest makes a request to a token or a revocation endpoint, authenticated as the client (RFC 6749 §2.3.1).
func tokenRequest(o *integration.OAuth2, address string, form url.Values, secrets []string) *integration.Request {
	r := &integration.Request{Method: "POST", URL: address, Limit: maxAnswer, Secret: append([]string{o.ClientSecret.Reveal()}, secrets...)}
	r.Header.Add("Accept", "application/json") // GitHub answers with a form without it
	r.Header.Add("Content-Type", "application/x-www-form-urlencoded")
	form = maps.Clone(form)
	switch {
	case o.ClientSecret == "":
		form.Set("client_id", o.ClientID)
	case o.SecretInBody:
		form.Set("client_id", o.ClientID)
		form.Set("client_secret", o.ClientSecret.Reveal())
	default:
		pair := url.QueryEscape(o.ClientID) + ":" + url.QueryEscape(o.ClientSecret.Reveal())
		r.Header.Add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	r.Body = []byte(form.Encode())
	return r
}

// readToken reads an answer, by the integration's own reader where it has one.
func (s *Service) readToken(p *partner, resp *integration.Response, wire *outbound.Attempt) (t *integration.Token, err error) {
	reader, own := p.c.(integration.TokenReader)
	if !own {
		return readToken(resp, wire)
	}
	defer func() {
		if r := recover(); r != nil {
			s.panicked(p, wire, r)
			t, err = nil, &tokenError{text: "the integration failed in an unexpected way; its log says how"}
		}
	}()
	t, err = reader.ReadToken(resp)
	switch {
	case err != nil:
		return nil, &tokenError{text: sentence(wire.Redact(err.Error())), refused: errors.Is(err, integration.ErrTokenRefused), wait: resp.RetryAfter}
	case t == nil:
		return nil, &tokenError{text: "its answer holds no tokens"}
	}
	return t, nil
}

// answer is RFC 6749 §5.1 and §5.2. Numbers come as texts from some, and the lifetime of refresh tokens under two names.
type answer struct {
	Access           string  `json:"access_token"`
	Refresh          string  `json:"refresh_token"`
	Type             string  `json:"token_type"`
	Scope            *string `json:"scope"`
	ExpiresIn        seconds `json:"expires_in"`
	RefreshExpiresIn seconds `json:"refresh_token_expires_in"`
	RefreshEndsIn    seconds `json:"refresh_expires_in"`
	Error            string  `json:"error"`
	Description      string  `json:"error_description"`
}

// seconds is a number, a text that holds one, or something else, which says nothing.
type seconds int64

// UnmarshalJSON never fails: what cannot be read is 0.
func (n *seconds) UnmarshalJSON(raw []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(raw), `" `), 64)
	if err == nil && f > 0 && !math.IsNaN(f) {
		*n = seconds(min(f, longestToken.Seconds()))
	}
	return nil
}

// readToken reads the answer of a partner that keeps to RFC 6749, or nearly: errors with status 200 and answers in the form
// of a query are common.
func readToken(resp *integration.Response, wire *outbound.Attempt) (*integration.Token, error) {
	var a answer
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	err := json.Unmarshal(resp.Body, &a)
	if err != nil && (kind == "application/x-www-form-urlencoded" || kind == "text/plain") {
		a, err = readForm(string(resp.Body))
	}
	failed := resp.Status < 200 || resp.Status > 299
	switch {
	case err == nil && a.Error != "":
		return nil, refusedToken(&a, resp, wire)
	case failed:
		return nil, &tokenError{text: fmt.Sprintf("it answered with status %d", resp.Status), wait: resp.RetryAfter,
			ours: resp.Status >= 300 && resp.Status < 500 && resp.Status != 408 && resp.Status != 425 && resp.Status != 429}
	case err != nil:
		return nil, &tokenError{text: "its answer is neither JSON nor a form"}
	}
	t := &integration.Token{
		Access: patchbay.Secret(a.Access), Refresh: patchbay.Secret(a.Refresh), Type: a.Type,
		ExpiresIn: int64(a.ExpiresIn), RefreshExpiresIn: int64(max(a.RefreshExpiresIn, a.RefreshEndsIn)),
	}
	if a.Scope != nil {
		t.Scopes = strings.FieldsFunc(*a.Scope, func(r rune) bool { return r == ' ' || r == ',' })
	}
	return t, nil
}

func readForm(body string) (answer, error) {
	q, err := url.ParseQuery(body)
	if err != nil || len(q) == 0 {
		return answer{}, errors.New("not a form")
	}
	raw, err := json.Marshal(firstValues(body))
	if err != nil {
		return answer{}, err
	}
	var a answer
	return a, json.Unmarshal(raw, &a)
}

// firstValues returns the first value of each parameter of a form.
func firstValues(body string) map[string]string {
	out := map[string]string{}
	q, _ := url.ParseQuery(body) // what can be read of it
	for name, values := range q {
		out[name] = values[0]
	}
	return out
}

// refusedToken says what an error of RFC 6749 §5.2 means.
func refusedToken(a *answer, resp *integration.Response, wire *outbound.Attempt) *tokenError {
	e := &tokenError{wait: resp.RetryAfter}
	switch a.Error {
	case "invalid_grant":
		e.text, e.refused = "it takes the grant for no longer valid (invalid_grant)", true
	case "invalid_client", "unauthorized_client":
		e.text, e.ours = "it does not take the application's client id and secret ("+a.Error+"); the operator must check them", true
	case "invalid_request", "unsupported_grant_type", "invalid_scope":
		e.text, e.ours = "it refuses the request ("+a.Error+")", true
	default:
		e.text = fmt.Sprintf("it answered %q", sentence(clip(wire.Redact(a.Error))))
	}
	if text := strings.TrimSuffix(sentence(wire.Redact(clipTo(a.Description, 200))), "."); text != "" {
		e.text += fmt.Sprintf(": %q", text)
	}
	return e
}

// checkToken refuses tokens that RFC 6749 (appendix A.12, A.17: VSCHAR) does not allow, before they stand in a header.
func checkToken(t *integration.Token) error {
	if t.Access == "" {
		return &tokenError{text: "its answer holds no access token"}
	}
	for _, text := range []string{t.Access.Reveal(), t.Refresh.Reveal(), t.Type} {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return &tokenError{text: "its answer holds a token with characters that no token may have"}
		}
	}
	if len(t.Access)+len(t.Refresh) > patchbay.MaxCredentialBytes {
		return &tokenError{text: fmt.Sprintf("its tokens have more than %d bytes", patchbay.MaxCredentialBytes)}
	}
	return nil
}

// ends is when something ends that lasts for a number of seconds; zero when it does not.
func ends(began time.Time, lasts int64) time.Time {
	if lasts <= 0 {
		return time.Time{}
	}
	lasts = min(lasts, int64(longestToken/time.Second))
	return began.Add(time.Duration(lasts) * time.Second).UTC().Truncate(time.Millisecond)
}
