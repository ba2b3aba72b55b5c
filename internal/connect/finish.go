package connect

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store"
)

// finishTime bounds everything that is asked of a partner after its consent.
const finishTime = 40 * time.Second

// errStale is what every sign-in gets that is not this browser's own: whether it is unknown, used up, too old or somebody
// else's is nobody's business.
var errStale = patchbay.Errorf(patchbay.CodeInvalidRequest,
	"this sign-in is not known: it was finished already, took longer than ten minutes, or began in another browser or session; begin again")

// Finish takes a browser that comes back from a partner.
func (s *Service) Finish(ctx context.Context, c *access.Caller, in Callback) (*Finished, error) {
	if err := c.Require(access.Secrets); err != nil {
		return nil, err
	}
	p, err := s.partner(in.Integration)
	if err != nil {
		return nil, err
	}
	if p.how.Keys != nil {
		return nil, errStale
	}
	f, err := s.takeFlow(ctx, c, p, &in)
	if err != nil {
		return nil, err
	}
	out := &Finished{Return: f.Return}
	if err := s.stillAllowed(ctx, c, f); err != nil {
		return out, err
	}
	if err := refusal(p, in.Query); err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	var g *granted
	if p.how.OAuth1 != nil {
		g, err = s.finishOAuth1(ctx, p, f, in.Query)
	} else {
		g, err = s.exchange(ctx, p, f, in.Query)
	}
	if err != nil {
		return out, err
	}
	id, err := s.identify(ctx, p, &integration.Grant{Credentials: &g.credentials, Answer: g.answer}, g.secrets)
	if err != nil {
		return out, err
	}
	con, created, err := s.keep(ctx, c, p, f, g, id)
	if err != nil {
		return out, err
	}
	s.o.Log.Info("connection: connected",
		"connection", con.ID, "integration", con.Integration, "scope", con.Scope, "account", con.Account.ID, "new", created)
	out.Connection, out.Created = s.view(con), created
	return out, nil
}

// takeFlow finds the sign-in that the browser comes back from, once, and makes sure that it is this browser's and this
// caller's, at this integration, and that the answer comes from the right partner.
func (s *Service) takeFlow(ctx context.Context, c *access.Caller, p *partner, in *Callback) (*flow, error) {
	var hash [32]byte
	if p.how.OAuth1 != nil {
		token := in.Query["oauth_token"]
		if len(token) != 1 || token[0] == "" || !isRandom(in.Cookie) {
			return nil, errStale
		}
		hash = oauth1State(in.Cookie, token[0])
	} else {
		state := in.Query["state"]
		if len(state) != 1 || !isRandom(state[0]) {
			return nil, errStale
		}
		hash = sha256.Sum256([]byte(state[0]))
	}
	stored, err := s.o.Store.TakeFlow(ctx, hash, s.now())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errStale
	case err != nil:
		return nil, unavailable("looking a sign-in up", err)
	}
	var f flow
	if err := json.Unmarshal(stored.Data, &f); err != nil {
		return nil, patchbay.Internal("reading a sign-in", err)
	}
	bound := sha256.Sum256([]byte(in.Cookie))
	if in.Cookie == "" || subtle.ConstantTimeCompare(bound[:], f.Cookie) != 1 || f.Caller != identity(c) || f.Integration != p.key {
		return nil, errStale
	}
	if err := rightIssuer(p, in.Query); err != nil {
		return nil, err
	}
	return &f, nil
}

// rightIssuer keeps answers of another authorization server out (RFC 9207 §2.4), also those that are errors.
func rightIssuer(p *partner, q url.Values) error {
	o := p.how.OAuth2
	if o == nil || o.Issuer == "" {
		return nil
	}
	if iss := q["iss"]; len(iss) != 1 || iss[0] != o.Issuer {
		return patchbay.Errorf(patchbay.CodeUserConfigurationError,
			"the answer does not say that it comes from %s (iss), so nothing was connected; begin again", p.title)
	}
	return nil
}

// stillAllowed asks again what was asked when the sign-in began: permissions may have changed since.
func (s *Service) stillAllowed(ctx context.Context, c *access.Caller, f *flow) error {
	if f.Reconnect != 0 {
		_, err := s.mine(ctx, c, access.Secrets, f.Reconnect)
		return err
	}
	return c.Reach(f.Scope)
}

// refusals say what the errors of RFC 6749 §4.1.2.1 mean to a person.
var refusals = map[string]string{
	"access_denied":             "access was not granted",
	"invalid_scope":             "it does not know a permission that was asked for, or does not grant it to this application",
	"unauthorized_client":       "this application may not ask for access; the operator must look at its registration there",
	"invalid_request":           "it did not understand what was asked; the operator must look at the application's registration there",
	"unsupported_response_type": "it does not let this application sign people in this way",
	"server_error":              "it failed; try again later",
	"temporarily_unavailable":   "it is too busy; try again later",
}

// refusal turns a partner's error into a sentence.
func refusal(p *partner, q url.Values) error {
	code := q.Get("error")
	if p.how.OAuth1 != nil { // OAuth 1.0a has no errors at this point; these two are what partners do
		switch {
		case q.Get("oauth_problem") != "":
			code = q.Get("oauth_problem")
		case q.Get("oauth_verifier") == "denied":
			code = "access_denied"
		}
		if code == "user_refused" || code == "permission_denied" {
			code = "access_denied"
		}
	}
	if code == "" {
		return nil
	}
	why, ok := refusals[code]
	if !ok {
		why = fmt.Sprintf("it answered %q", sentence(clip(code)))
	}
	text := q.Get("error_description")
	if text = strings.TrimSuffix(sentence(clipTo(text, 200)), "."); text != "" && code != "access_denied" {
		why += fmt.Sprintf(" (%q)", text)
	}
	return patchbay.Errorf(patchbay.CodeUserConfigurationError, "%s: %s; nothing was connected", p.title, why)
}

// granted is what a consent or a refresh brought.
type granted struct {
	credentials patchbay.Credentials
	// scopes are what was granted; nil when nobody said.
	scopes []string
	answer json.RawMessage
	// secrets are what must not turn up anywhere.
	secrets []string
}

// identify asks the partner whose credentials these are.
func (s *Service) identify(ctx context.Context, p *partner, g *integration.Grant, secrets []string) (*integration.Identity, error) {
	id, result := s.ask(ctx, p, g, secrets)
	if result.Verdict == patchbay.VerdictDelivered {
		return id, nil
	}
	code := result.Type
	if result.Verdict == patchbay.VerdictAuthExpired || code == "" {
		code = patchbay.CodeUserConfigurationError
	}
	return nil, patchbay.Errorf(code, "%s did not say whose account this is, so nothing was connected: %s", p.title, result.Error)
}

// maxAccount bounds the identifier of an account, and its name.
const maxAccount = 255

// isAccount reports whether a text can stand for an account. It is never changed to fit: two accounts must not become one.
func isAccount(id string) bool {
	return id != "" && len(id) <= maxAccount && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// panicked reports an integration's bug, with its stack: only that says where it is.
func (s *Service) panicked(p *partner, wire *outbound.Attempt, r any) {
	s.o.Log.Error("an integration panicked", "integration", p.key,
		"panic", wire.Redact(fmt.Sprint(r)), "stack", string(debug.Stack()))
}

// ask calls Identify. What it returns holds no secrets, and is whole: an account, or a sentence.
func (s *Service) ask(ctx context.Context, p *partner, g *integration.Grant,
	secrets []string) (id *integration.Identity, result integration.Result) {
	env, wire := s.env(p, append(g.Credentials.Secrets(), secrets...))
	g.Env = env
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	defer func() {
		if r := recover(); r != nil { // one integration's bug must not take the others down
			s.panicked(p, wire, r)
			result = integration.Retry("the integration failed in an unexpected way; its log says how")
		}
		result.Error = sentence(wire.Redact(result.Error))
		result.Body = nil
	}()
	id, result = p.c.Identify(ctx, g)
	switch {
	case result.Verdict != patchbay.VerdictDelivered && result.Error == "":
		result.Error = "it did not say why"
	case result.Verdict == patchbay.VerdictDelivered && (id == nil || !isAccount(id.Account.ID)):
		result = integration.Misconfigured("the answer names no account that can be kept")
	case result.Verdict == patchbay.VerdictDelivered:
		id.Account.Name = clipTo(sentence(id.Account.Name), maxAccount)
		if integration.CheckURL(id.Account.URL) != nil {
			id.Account.URL = ""
		}
	}
	return id, result
}
