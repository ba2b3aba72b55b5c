package slack

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// command is a slash command. https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling
// Its response_url is left alone: whoever has it can post.
type command struct {
	command, text, trigger string
	team, domain, app      string
	channel, channelName   string
	user, userName         string
}

func readCommand(form url.Values) *command {
	return &command{
		command: form.Get("command"), text: form.Get("text"), trigger: form.Get("trigger_id"),
		team: form.Get("team_id"), domain: form.Get("team_domain"), app: form.Get("api_app_id"),
		channel: form.Get("channel_id"), channelName: form.Get("channel_name"),
		user: form.Get("user_id"), userName: form.Get("user_name"),
	}
}

// envelope answers at once: Slack waits three seconds, and what becomes of the command is known later. The trigger is the
// command's own; Slack sends no command twice.
func (c *command) envelope() *integration.Envelope {
	name := strings.ReplaceAll(slackEscape(clip(c.command, 40)), "`", "'")
	text := "`" + name + "` has been received."
	if strings.TrimSpace(c.text) == "" {
		text += " To note something down, write it after the command, such as `" + name + " Fixed the login`."
	}
	return &integration.Envelope{Key: c.trigger, Type: c.command, Account: c.team, Answer: ephemeral(text)}
}

func slackEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func (c *command) read(p *place) (*integration.Reading, error) {
	if why := p.foreign(c.team, c.app); why != "" {
		return ignored("%s", why), nil
	}
	if !p.settings.listens(c.channel) {
		return ignored("the link does not listen in this channel: its setting receive_channels says so"), nil
	}
	payload := commandPayload{
		Command: c.command, Text: plainText(c.text), Markdown: markdown(c.text),
		Channel: p.channel(c.channel, c.channelName, ""), User: userPart{ID: c.user, Name: c.userName},
		Team: p.team(c.team, c.domain),
	}
	in := integration.Inbound{Type: typeCommand, Payload: encode(payload), Actor: p.person(c.user, c.userName, "")}
	if p.settings.makesEntry(c.command) && payload.Text != "" {
		in.Entry = &integration.Entry{Text: payload.Markdown, ExternalID: c.trigger}
	}
	return &integration.Reading{Events: []integration.Inbound{in}}, nil
}

// interaction is what a person did with a button, a shortcut or a form of the app.
// https://docs.slack.dev/reference/interaction-payloads
type interaction struct {
	Type       string `json:"type"`
	CallbackID string `json:"callback_id"`
	TriggerID  string `json:"trigger_id"`
	APIAppID   string `json:"api_app_id"`
	ActionTS   string `json:"action_ts"`
	Team       *struct {
		ID     string `json:"id"`
		Domain string `json:"domain"`
	} `json:"team"`
	User struct {
		ID       string `json:"id"`
		Username string `json:"username"`
		Name     string `json:"name"`
		TeamID   string `json:"team_id"`
	} `json:"user"`
	Channel *struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"channel"`
	Message *struct {
		TS       string `json:"ts"`
		ThreadTS string `json:"thread_ts"`
		Text     string `json:"text"`
	} `json:"message"`
	Actions []struct {
		ActionID string `json:"action_id"`
		BlockID  string `json:"block_id"`
		Type     string `json:"type"`
		Value    string `json:"value"`
		ActionTS string `json:"action_ts"`
		Text     struct {
			Text string `json:"text"`
		} `json:"text"`
		Selected struct {
			Value string `json:"value"`
		} `json:"selected_option"`
	} `json:"actions"`
	View *struct {
		CallbackID string `json:"callback_id"`
		State      struct {
			Values json.RawMessage `json:"values"`
		} `json:"state"`
	} `json:"view"`
}

// kinds are those that are read.
var kinds = map[string]bool{
	"block_actions": true, "message_action": true, "shortcut": true, "view_submission": true, "view_closed": true,
}

func (i *interaction) team() string {
	if i.Team != nil && i.Team.ID != "" {
		return i.Team.ID
	}
	return i.User.TeamID
}

func (i *interaction) envelope() *integration.Envelope {
	e := &integration.Envelope{Key: i.TriggerID, Type: i.Type, Account: i.team()}
	if i.Type == "block_suggestion" { // a menu that wants its options: there are none
		e.Done = true
		e.Answer = &integration.HookAnswer{
			Status: http.StatusOK, Header: integration.Header{{Name: "Content-Type", Value: "application/json"}}, Body: []byte(`{"options":[]}`),
		}
	}
	return e
}

func (i *interaction) read(p *place) (*integration.Reading, error) {
	if why := p.foreign(i.team(), i.APIAppID); why != "" {
		return ignored("%s", why), nil
	}
	if !kinds[i.Type] {
		return ignored("interactions of the type %s are not read", clip(i.Type, 64)), nil
	}
	payload := interactionPayload{
		Kind: i.Type, CallbackID: i.CallbackID, User: userPart{ID: i.User.ID, Name: or(i.User.Username, i.User.Name)},
	}
	domain := ""
	if i.Team != nil {
		domain = i.Team.Domain
	}
	payload.Team = p.team(i.team(), domain)
	if i.Channel != nil {
		if !p.settings.listens(i.Channel.ID) {
			return ignored("the link does not listen in this channel: its setting receive_channels says so"), nil
		}
		at := p.channel(i.Channel.ID, i.Channel.Name, "")
		payload.Channel = &at
	}
	if m := i.Message; m != nil {
		payload.Message = &messagePart{Text: plainText(m.Text), Markdown: markdown(m.Text), TS: m.TS}
		if i.Channel != nil {
			payload.Message.URL = p.permalink(i.Channel.ID, m.TS, m.ThreadTS)
		}
	}
	if v := i.View; v != nil {
		payload.CallbackID = or(payload.CallbackID, v.CallbackID)
		if bytes.HasPrefix(bytes.TrimSpace(v.State.Values), []byte("{")) {
			payload.State = v.State.Values
		}
	}
	at := i.ActionTS
	for _, a := range i.Actions {
		payload.Actions = append(payload.Actions, actionPart{
			ActionID: a.ActionID, BlockID: a.BlockID, Type: a.Type, Value: or(a.Value, a.Selected.Value), Text: a.Text.Text,
		})
		at = or(at, a.ActionTS)
	}
	return &integration.Reading{Events: []integration.Inbound{{
		Type: typeInteraction, Payload: encode(payload), Actor: p.person(i.User.ID, payload.User.Name, ""), OccurredAt: timeOf(at),
	}}}, nil
}
