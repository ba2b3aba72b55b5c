package slack

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// verdict reads an answer. Slack says "ok", or in one word what is wrong. Others that take the same body answer with
// words of their own, so for a success the status is enough, unless the body denies it.
func verdict(resp *integration.Response) integration.Result {
	word := strings.ToLower(strings.TrimSpace(string(resp.Body[:min(len(resp.Body), 100)])))
	if resp.Status >= 200 && resp.Status < 300 {
		return accepted(resp, word)
	}
	var r integration.Result
	switch word {
	case "invalid_token", "bad token", "no_service", "no_service_id", "no_team":
		r = integration.UserError("Slack does not know this webhook (%s): make a new one and put its address into the setting url", word)
	case "team_disabled":
		r = integration.UserError("this Slack workspace is disabled (%s)", word)
	case "channel_not_found", "user_not_found":
		r = integration.UserError("Slack does not know this channel or user (%s): correct the setting channel, or leave it empty", word)
	case "action_prohibited", "posting_to_general_channel_denied":
		r = integration.UserError("Slack does not let this webhook post here (%s): ask an administrator of the workspace, or choose another channel", word)
	case "channel_is_archived":
		r = integration.UserError("the channel is archived (%s): choose another one", word)
		r.Disable = true
	case "no_active_hooks":
		r = integration.UserError("the webhook has been removed from Slack (%s): make a new one and put its address into the setting url", word)
		r.Disable = true
	case "invalid_payload", "no_text", "missing_text_or_fallback_or_attachments", "invalid_blocks", "invalid_attachments", "too_many_attachments":
		r = integration.Misconfigured("Slack cannot read the message (%s)", word)
	case "rollup_error":
		r = integration.Retry("Slack failed for a moment (%s)", word)
	default:
		return integration.Classify("Slack", resp)
	}
	if resp.Status == 429 { // whatever the word
		return integration.Classify("Slack", resp)
	}
	return r.With(resp)
}

// accepted looks at the body of a 2xx answer.
func accepted(resp *integration.Response, word string) integration.Result {
	switch {
	case strings.HasPrefix(word, "<!doctype") || strings.HasPrefix(word, "<html"):
		return integration.UserError("the address answers with a web page, so it is not that of an incoming webhook: check the setting url").With(resp)
	case strings.HasPrefix(word, "{"):
		var denied struct {
			OK      *bool  `json:"ok"`
			Success *bool  `json:"success"`
			Error   string `json:"error"`
		}
		if json.Unmarshal(bytes.TrimSpace(resp.Body), &denied) == nil &&
			(denied.OK != nil && !*denied.OK || denied.Success != nil && !*denied.Success) {
			return integration.Misconfigured("the message was refused: %.200q", denied.Error).With(resp)
		}
	}
	return integration.Delivered().With(resp)
}
