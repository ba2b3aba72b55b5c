package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
)

// Verification implements integration.Receiver. Slack signs every call with the app's signing secret: the operator's, or that
// of an app of the link's own at the link's own address.
func (*Slack) Verification(c *integration.HookCall) integration.Verification {
	v := integration.Verification{Scheme: signature.Slack()}
	if s, ok := c.Settings.(*Settings); ok && s.SigningSecret != "" {
		v.Secrets = append(v.Secrets, s.SigningSecret)
		return v
	}
	config := readConfig(c.Config)
	for _, secret := range []integration.Secret{config.SigningSecret, config.PreviousSigningSecret} {
		if secret != "" {
			v.Secrets = append(v.Secrets, secret)
		}
	}
	return v
}

// call is what Slack sent, in one of its three forms.
type call struct {
	event       *envelope
	command     *command
	interaction *interaction
	// sslCheck is Slack's look whether the address can be reached.
	sslCheck bool
}

var errUnknown = errors.New("this is neither an event nor a slash command nor an interaction of Slack's")

// open reads a body: events are JSON; commands and interactions are forms, in which an interaction is JSON in the field
// payload. The body shows which it is, so that reading does not depend on what else was kept of the call.
func open(body []byte) (*call, error) {
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '{' {
		e := new(envelope)
		if err := json.Unmarshal(body, e); err != nil {
			return nil, fmt.Errorf("the event is not JSON as Slack sends it: %w", err)
		}
		return &call{event: e}, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the body is neither JSON nor a form that can be read")
	}
	switch {
	case form.Get("ssl_check") == "1":
		return &call{sslCheck: true}, nil
	case form.Has("payload"):
		i := new(interaction)
		if err := json.Unmarshal([]byte(form.Get("payload")), i); err != nil {
			return nil, fmt.Errorf("the interaction is not JSON as Slack sends it: %w", err)
		}
		return &call{interaction: i}, nil
	case form.Has("command"):
		return &call{command: readCommand(form)}, nil
	}
	return nil, errUnknown
}

// Open implements integration.Receiver.
func (*Slack) Open(c *integration.HookCall) (*integration.Envelope, error) {
	in, err := open(c.Body)
	switch {
	case err != nil:
		return nil, err
	case in.sslCheck:
		return &integration.Envelope{Type: "ssl_check", Done: true}, nil
	case in.command != nil:
		return in.command.envelope(), nil
	case in.interaction != nil:
		return in.interaction.envelope(), nil
	}
	return in.event.open()
}

// Read implements integration.Receiver.
func (*Slack) Read(_ context.Context, c *integration.HookCall) (*integration.Reading, error) {
	in, err := open(c.Body)
	if err != nil {
		return nil, err
	}
	s, ok := c.Settings.(*Settings)
	if !ok || !s.receives(levelCommands) {
		return ignored("the link takes nothing from Slack: its setting receive says so"), nil
	}
	at := place{settings: s}
	if c.Connection != nil {
		at.account = readAccount(c.Connection.Data)
		if at.account.Team.ID == "" {
			at.account.Team.ID = c.Connection.Account.ID
		}
	}
	switch {
	case in.sslCheck:
		return ignored("Slack looked whether the address can be reached"), nil
	case in.command != nil:
		return in.command.read(&at)
	case in.interaction != nil:
		return in.interaction.read(&at)
	}
	return in.event.read(&at)
}

func ignored(format string, args ...any) *integration.Reading {
	return &integration.Reading{Ignored: fmt.Sprintf(format, args...)}
}

// place is the link that a call is read for.
type place struct {
	settings *Settings
	account  account
}

// foreign says why a call is not for the link, "" when it is: it is about another workspace or from another app than the
// link's connection.
func (p *place) foreign(team, app string) string {
	switch {
	case p.account.Team.ID != "" && team != "" && p.account.Team.ID != team:
		return "it is about another workspace than the link's connection"
	case p.account.AppID != "" && app != "" && p.account.AppID != app:
		return "it comes from another app than the link's connection"
	}
	return ""
}

// channel is a channel as payloads show it. What Slack does not tell, the link's own settings may.
func (p *place) channel(id, name, kind string) channelPart {
	known := append([]string{p.settings.Channel}, p.settings.ReceiveChannels...)
	for i := 0; name == "" && i < len(known); i++ {
		if c := parseChannel(known[i]); c.id == id {
			name = c.name
		}
	}
	if hook := p.account.Webhook; name == "" && hook != nil && hook.ChannelID == id {
		name = strings.TrimPrefix(hook.Channel, "#")
	}
	return channelPart{ID: id, Name: name, Type: kind}
}

// team is the workspace as payloads show it.
func (p *place) team(id, domain string) named {
	name := p.account.Team.Name
	if name == "" {
		name = domain
	}
	return named{ID: id, Name: name}
}

// permalink is where Slack shows a message. The form is that of chat.getPermalink, which takes another call:
// https://docs.slack.dev/reference/methods/chat.getPermalink
func (p *place) permalink(channel, ts, thread string) string {
	if p.account.URL == "" || channel == "" || ts == "" {
		return ""
	}
	to := strings.TrimSuffix(p.account.URL, "/") + "/archives/" + url.PathEscape(channel) + "/p" + url.PathEscape(strings.ReplaceAll(ts, ".", ""))
	if thread != "" && thread != ts {
		to += "?" + url.Values{"thread_ts": {thread}, "cid": {channel}}.Encode()
	}
	return to
}

// person is who did it. The address is that of the user's profile.
func (p *place) person(id, name, avatar string) *integration.Person {
	out := &integration.Person{ID: id, Name: name, Avatar: avatar}
	if p.account.URL != "" && id != "" {
		out.URL = strings.TrimSuffix(p.account.URL, "/") + "/team/" + url.PathEscape(id)
	}
	return out
}

// timeOf reads a timestamp such as 1355517523.000005; zero when it is none.
func timeOf(ts string) time.Time {
	whole, fraction, _ := strings.Cut(ts, ".")
	var s, us int64
	if _, err := fmt.Sscanf(whole, "%d", &s); err != nil || s <= 0 || s > 1<<40 {
		return time.Time{}
	}
	if len(fraction) == 6 {
		_, _ = fmt.Sscanf(fraction, "%d", &us) // what is no number counts as nothing
	}
	return time.Unix(s, us*int64(time.Microsecond)).UTC()
}
