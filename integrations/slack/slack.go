// Package slack posts messages to a channel of Slack through an incoming webhook, or to anything that takes the same
// body, such as Mattermost. As a connected app it also updates what it posted and answers in threads, offers the channels
// to choose from, and brings slash commands, mentions and messages in.
package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// Key names the integration in the API.
const Key = "slack"

// maxAnswer is how much of a webhook's answer is looked at; Slack's are one word.
const maxAnswer = 8 << 10

// Slack is the integration.
type Slack struct{}

// New returns the integration.
func New() *Slack { return &Slack{} }

// Definition declares the integration.
func (*Slack) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       "Slack",
		Category:    "chat",
		Description: "Posts each event into a Slack channel, through an incoming webhook or as an app; brings slash commands and messages in.",
		Docs:        docs,
		Settings:    settingsSpec(),
		Decode:      integration.Into[Settings],
		Config:      configSpec(),
		Types:       eventTypes(),
		// Incoming webhooks do not say what they posted, so only an app can update and answer.
		Threads:  true,
		Threaded: func(settings any) bool { return settings.(*Settings).threaded() },
		Hooked:   func(settings any) bool { return settings.(*Settings).receives(levelCommands) },
	}
}

// ShortName describes a link in a few words.
func (*Slack) ShortName(settings any) string {
	if channel := settings.(*Settings).Channel; channel != "" {
		return "Slack " + parseChannel(channel).title
	}
	return "Slack"
}

// Destination says where a link leads.
func (*Slack) Destination(settings any) string {
	s := settings.(*Settings)
	if s.Channel != "" {
		return parseChannel(s.Channel).title
	}
	if s.URL == "" {
		return "no channel" // it only receives
	}
	if u, err := url.Parse(s.URL.Reveal()); err == nil && u.Host != "" && u.Host != "hooks.slack.com" {
		return "the channel of a webhook at " + u.Host
	}
	return "the webhook's channel"
}

// Target names the webhook and channel by their hash, because the address is a secret. However a channel is written, an app
// posts to the same one.
func (*Slack) Target(settings any) string {
	s := settings.(*Settings)
	channel := s.Channel
	if s.URL == "" {
		channel = parseChannel(channel).address()
	}
	sum := sha256.Sum256([]byte(s.URL.Reveal() + "\n" + channel))
	return hex.EncodeToString(sum[:16])
}

// Send posts one message: through the link's incoming webhook when it has one, otherwise as the connected app.
func (*Slack) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*Settings)
	switch {
	case s.URL != "" && !strayed(s, d.Connection):
		return sendWebhook(ctx, d, s)
	case d.Connection == nil:
		return integration.Misconfigured("the setting url is missing: give the address of an incoming webhook, or connect Slack")
	case s.Channel == "":
		return integration.Misconfigured("the setting channel is missing: choose the channel that the app posts to")
	}
	return sendAsApp(ctx, d, s)
}

// strayed reports whether the webhook is the one that the connection filled in, and the channel has been changed since:
// then the webhook would post to where the link no longer says.
func strayed(s *Settings, c *integration.Connected) bool {
	if c == nil || s.Channel == "" || s.URL != c.Credentials.Fill["url"] {
		return false
	}
	hook := readAccount(c.Data).Webhook
	at := parseChannel(s.Channel)
	return hook != nil && at.id != hook.ChannelID && at.name != strings.TrimPrefix(hook.Channel, "#")
}

// sendWebhook posts through an incoming webhook.
func sendWebhook(ctx context.Context, d *integration.Delivery, s *Settings) integration.Result {
	body := []byte(d.Body)
	if body == nil {
		msg, err := d.Message()
		if err != nil {
			return integration.Unrenderable(err)
		}
		body = encode(render(msg, s))
	}
	req := &integration.Request{
		Method: "POST",
		URL:    s.URL.Reveal(),
		Header: integration.Header{{Name: "Content-Type", Value: "application/json; charset=utf-8"}},
		Body:   body,
		Secret: secretParts(s.URL.Reveal()),
		Limit:  maxAnswer,
	}
	resp, err := d.Env.HTTP.Do(ctx, req)
	if err != nil {
		return integration.Unreachable("Slack", err)
	}
	return verdict(resp)
}

// secretParts lists what of the address must not be shown: all of it, and its path alone, which an answer may repeat.
func secretParts(address string) []string {
	parts := []string{address}
	if u, err := url.Parse(address); err == nil && len(u.EscapedPath()) > 1 {
		parts = append(parts, u.RequestURI(), u.EscapedPath())
	}
	return parts
}
