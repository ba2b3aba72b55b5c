package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// maxMessageAnswer is how much of the answer to a message is read: Slack repeats the message in it.
const maxMessageAnswer = 256 << 10

// answer is what the Web API answers, whatever the method: mostly status 200, and in the body whether it worked.
// https://docs.slack.dev/apis/web-api/#responses
type answer struct {
	OK     bool   `json:"ok"`
	Error  string `json:"error"`
	Needed string `json:"needed"` // the scope that is missing
}

// method is one call of the Web API.
type method struct {
	name  string // such as chat.postMessage
	http  string // the HTTP method; "" is POST
	query string
	body  []byte // JSON
	token integration.Secret
	limit int
}

// do calls the Web API and reads its answer into out, which may be nil. When the result is not Delivered, word is Slack's
// own word for what is wrong, "" when it said none.
func do(ctx context.Context, env *integration.Env, m method, out any) (resp *integration.Response, word string, r integration.Result) {
	req := &integration.Request{
		Method: m.http, URL: readConfig(env.Config).APIURL + "/" + m.name, Body: m.body, Limit: m.limit,
		Header: integration.Header{{Name: "Authorization", Value: "Bearer " + m.token.Reveal()}},
		Secret: []string{m.token.Reveal()},
	}
	if req.Method == "" {
		req.Method = http.MethodPost
	}
	if m.query != "" {
		req.URL += "?" + m.query
	}
	if m.body != nil {
		req.Header.Add("Content-Type", "application/json; charset=utf-8")
	}
	resp, err := env.HTTP.Do(ctx, req)
	if err != nil {
		return nil, "", integration.Unreachable("Slack", err)
	}
	a, ok := readAnswer(resp)
	switch {
	case ok && a.OK && resp.Status < 300:
		if out != nil && json.Unmarshal(resp.Body, out) != nil {
			return resp, "", integration.Retry("Slack's answer to %s cannot be read", m.name).With(resp)
		}
		return resp, "", integration.Delivered().With(resp)
	case resp.Status == http.StatusUnauthorized:
		return resp, a.Error, integration.Expired("Slack does not accept the app's token any more (401): connect Slack again").With(resp)
	case resp.Status >= 300 && (a.Error == "" || resp.Status == http.StatusTooManyRequests || resp.Status >= 500):
		return resp, a.Error, integration.Classify("Slack", resp)
	case !ok && resp.Truncated:
		return resp, "", integration.Retry("Slack's answer to %s is too long", m.name).With(resp)
	case !ok:
		return resp, "", integration.UserError("the address answers, but not as Slack's Web API does: check the operator's setting api_url").With(resp)
	}
	r = refused(&a)
	if r.Throttled && resp.RetryAfter > 0 {
		r.RetryAfter = resp.RetryAfter
	}
	return resp, a.Error, r.With(resp)
}

// readAnswer reports also whether the body is an answer of the Web API at all.
func readAnswer(resp *integration.Response) (answer, bool) {
	var a answer
	body := bytes.TrimSpace(resp.Body)
	if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &a) != nil {
		return answer{}, false
	}
	a.Error = clip(strings.ToLower(a.Error), 100)
	return a, a.OK || a.Error != ""
}

func clip(s string, max int) string {
	if len(s) > max {
		return strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}

// shortPause is for limits about which Slack does not say when they end: about one message a second is allowed in a channel.
// https://docs.slack.dev/apis/web-api/rate-limits
const shortPause = 5 * time.Second

// Slack's words for what is wrong, by what they mean for a delivery. They are listed with each method, such as
// https://docs.slack.dev/reference/methods/chat.postMessage#errors.
var (
	wordsExpired = []string{"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"}
	wordsLimited = []string{"ratelimited", "rate_limited", "message_limit_exceeded"}
	wordsLater   = []string{
		"request_timeout", "fatal_error", "internal_error", "service_unavailable", "team_added_to_org", "external_channel_migrating",
		"update_failed",
	}
	wordsOurs = []string{
		"msg_too_long", "msg_blocks_too_long", "no_text", "too_many_attachments", "attachment_payload_limit_exceeded",
		"json_not_object", "missing_post_type", "missing_argument", "metadata_too_large", "markdown_text_conflict",
	}
	wordsForbidden = []string{
		"no_permission", "ekm_access_denied", "not_allowed_token_type", "org_login_required", "team_access_not_granted",
		"access_denied", "accesslimited", "app_access_restricted", "two_factor_setup_required", "enterprise_is_restricted",
		"posting_to_channel_denied", "messages_tab_disabled", "user_email_unverified",
	}
)

// refused turns an answer with ok false into a result.
func refused(a *answer) integration.Result {
	word := a.Error
	is := func(words []string) bool { return slices.Contains(words, word) }
	switch {
	case is(wordsExpired):
		return integration.Expired("Slack does not accept the app's token any more (%s): connect Slack again", word)
	case is(wordsLimited):
		r := integration.Retry("Slack limits how much may be sent (%s)", word)
		r.Throttled, r.RetryAfter = true, shortPause
		return r
	case is(wordsLater):
		return integration.Retry("Slack failed for a moment (%s)", word)
	case word == "channel_not_found":
		return integration.UserError("Slack does not know the channel, or the app may not see it (%s): choose another one, or invite the app into it", word)
	case word == "not_in_channel":
		return integration.UserError("the app is not in the channel (%s): invite it there, or give it the scope chat:write.public", word)
	case word == "is_archived" || word == "is_inactive":
		return integration.UserError("the channel is archived (%s): choose another one", word)
	case word == "missing_scope":
		return integration.UserError("the app lacks a scope (%s): connect Slack again once the app asks for it", scopeOf(a))
	case strings.HasPrefix(word, "restricted_action"):
		return integration.UserError("the workspace does not let the app post here (%s): ask its administrator, or choose another channel", word)
	case is(wordsForbidden):
		return integration.UserError("the workspace does not let the app do this (%s): ask its administrator", word)
	case is(wordsOurs) || strings.HasPrefix(word, "invalid_"):
		return integration.Misconfigured("Slack cannot read the message (%s)", word)
	}
	return integration.Misconfigured("Slack refused the request (%q)", word)
}

func scopeOf(a *answer) string {
	if a.Needed == "" {
		return a.Error
	}
	return a.Error + ": " + clip(a.Needed, 100)
}

// tokenOf returns the bot's token of credentials, however it came.
func tokenOf(extra map[string]integration.Secret, access integration.Secret) integration.Secret {
	if access != "" {
		return access
	}
	return extra["token"]
}
