// Package slack posts messages to a channel of Slack through an incoming webhook, or to anything that takes the same
// body, such as Mattermost.
package slack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// Key names the integration in the API.
const Key = "slack"

// maxAnswer is how much of an answer is looked at; Slack's are one word.
const maxAnswer = 8 << 10

// Slack is the integration.
type Slack struct{}

// New returns the integration.
func New() *Slack { return &Slack{} }

// Settings are a link's settings.
type Settings struct {
	URL       integration.Secret `json:"url"`
	Channel   string             `json:"channel"`
	Username  string             `json:"username"`
	IconEmoji string             `json:"icon_emoji"`
	IconURL   string             `json:"icon_url"`
}

// Definition declares the integration.
func (*Slack) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       "Slack",
		Category:    "chat",
		Description: "Posts each event as a message into a Slack channel, through an incoming webhook.",
		Docs:        docs,
		Settings: integration.Spec{
			{
				Key: "url", Title: "Slack webhook URL", Type: integration.TypeURL,
				Required: true, UnlessConnected: true, Secret: true, Target: true,
				Help:    "Whoever knows this address can post to the channel, so it is kept secret.",
				Example: "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
			},
			{
				Key: "channel", Title: "Channel", Type: integration.TypeString, Example: "#develop",
				Help: "Shown as the name of the link, and sent along. Webhooks of Slack apps post to the channel that they were made for, whatever this says.",
			},
			{
				Key: "username", Title: "Name of the sender", Type: integration.TypeString,
				Help: "Webhooks of Slack apps do not let it be changed.",
			},
			{
				Key: "icon_emoji", Title: "Emoji of the sender", Type: integration.TypeString, Example: ":satellite:",
				Check: checkEmoji,
				Help:  "For webhooks that let it be changed.",
			},
			{
				Key: "icon_url", Title: "Picture of the sender", Type: integration.TypeURL,
				Help: "For webhooks that let it be changed. Is not used when there is an emoji.",
			},
		},
		Decode: integration.Into[Settings],
	}
}

func checkEmoji(value any) error {
	name, _ := value.(string)
	if len(name) < 3 || !strings.HasPrefix(name, ":") || !strings.HasSuffix(name, ":") || strings.ContainsAny(name, " <>") {
		return errors.New("must be written like :satellite:, with a colon at both ends")
	}
	return nil
}

// ShortName describes a link in a few words.
func (*Slack) ShortName(settings any) string {
	if channel := settings.(*Settings).Channel; channel != "" {
		return "Slack " + channel
	}
	return "Slack"
}

// Destination says where a link leads.
func (*Slack) Destination(settings any) string {
	s := settings.(*Settings)
	if s.Channel != "" {
		return s.Channel
	}
	if u, err := url.Parse(s.URL.Reveal()); err == nil && u.Host != "" && u.Host != "hooks.slack.com" {
		return "the channel of a webhook at " + u.Host
	}
	return "the webhook's channel"
}

// Target names the webhook and channel by their hash, because the address is a secret.
func (*Slack) Target(settings any) string {
	s := settings.(*Settings)
	sum := sha256.Sum256([]byte(s.URL.Reveal() + "\n" + s.Channel))
	return hex.EncodeToString(sum[:16])
}

// Send posts one message.
func (*Slack) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*Settings)
	if s.URL == "" {
		return integration.Misconfigured("the setting url is missing: give the address of an incoming webhook")
	}
	body := []byte(d.Body)
	if body == nil {
		msg, err := d.Message()
		if err != nil {
			return integration.Unrenderable(err)
		}
		body = render(msg, s)
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
