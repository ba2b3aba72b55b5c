package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// envelope is the outside of what the Events API sends. https://docs.slack.dev/apis/events-api/#event-type-structure
type envelope struct {
	Type          string `json:"type"`
	Challenge     string `json:"challenge"`
	TeamID        string `json:"team_id"`
	ContextTeamID string `json:"context_team_id"`
	APIAppID      string `json:"api_app_id"`
	EventID       string `json:"event_id"`
	EventTime     int64  `json:"event_time"`
	// Event is read in two steps: the fields of types that are not read here may look otherwise.
	Event          json.RawMessage `json:"event"`
	Authorizations []struct {
		TeamID string `json:"team_id"`
		UserID string `json:"user_id"`
		IsBot  bool   `json:"is_bot"`
	} `json:"authorizations"`
}

// event is the inside: what we read of a message, a mention and the end of an installation.
// https://docs.slack.dev/reference/events/message, …/app_mention, …/app_uninstalled, …/tokens_revoked
type event struct {
	envelope    *envelope
	Type        string `json:"type"`
	Subtype     string `json:"subtype"`
	Channel     id     `json:"channel"`
	ChannelType string `json:"channel_type"`
	User        id     `json:"user"`
	Text        string `json:"text"`
	TS          string `json:"ts"`
	ThreadTS    string `json:"thread_ts"`
	BotID       string `json:"bot_id"`
	AppID       string `json:"app_id"`
	BotProfile  *struct {
		AppID string `json:"app_id"`
	} `json:"bot_profile"`
	Hidden  bool `json:"hidden"`
	Profile *struct {
		DisplayName string `json:"display_name"`
		RealName    string `json:"real_name"`
		Name        string `json:"name"`
		Image       string `json:"image_72"`
	} `json:"user_profile"`
	Files []struct {
		ID        string `json:"id"`
		Name      string `json:"name"`
		MIMEType  string `json:"mimetype"`
		Permalink string `json:"permalink"`
	} `json:"files"`
	Tokens struct {
		Bot []string `json:"bot"`
	} `json:"tokens"`
}

// id is an identifier: some events have the whole object in its place, which we do not read.
type id string

// UnmarshalJSON implements json.Unmarshaler.
func (i *id) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*i = id(text)
		return nil
	}
	var object struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(b, &object) // what is neither has no identifier
	*i = id(object.ID)
	return nil
}

// maxChallenge bounds what is sent back; Slack's challenges have some fifty characters.
const maxChallenge = 1000

func (e *envelope) open() (*integration.Envelope, error) {
	switch e.Type {
	case "url_verification": // https://docs.slack.dev/reference/events/url_verification
		if e.Challenge == "" || len(e.Challenge) > maxChallenge {
			return nil, errors.New("the challenge is missing or too long")
		}
		return &integration.Envelope{Type: e.Type, Done: true, Answer: &integration.HookAnswer{
			Header: integration.Header{{Name: "Content-Type", Value: "application/json"}},
			Body:   encode(map[string]string{"challenge": e.Challenge}),
		}}, nil
	case "event_callback":
		return &integration.Envelope{Key: e.EventID, Type: e.kind(), Account: e.team()}, nil
	case "app_rate_limited":
		return &integration.Envelope{Type: e.Type, Account: e.team()}, nil
	}
	return nil, errUnknown
}

// kind is Slack's own word for the event.
func (e *envelope) kind() string {
	var head struct {
		Type    string `json:"type"`
		Subtype string `json:"subtype"`
	}
	_ = json.Unmarshal(e.Event, &head) // what cannot be read has no type, and Read says so
	if head.Subtype != "" {
		return head.Type + "." + head.Subtype
	}
	return head.Type
}

// team is the workspace for which the app gets the event: in channels that several share it need not be the one where it
// happened. https://docs.slack.dev/apis/events-api/#authorizations
func (e *envelope) team() string {
	if len(e.Authorizations) > 0 && e.Authorizations[0].TeamID != "" {
		return e.Authorizations[0].TeamID
	}
	return or(e.ContextTeamID, e.TeamID)
}

func (e *envelope) read(p *place) (*integration.Reading, error) {
	if why := p.foreign(e.team(), e.APIAppID); why != "" {
		return ignored("%s", why), nil
	}
	switch e.Type {
	case "app_rate_limited": // https://docs.slack.dev/apis/events-api/#rate-limiting
		return ignored("Slack held events back for a minute, because there were too many"), nil
	case "event_callback":
	default:
		return ignored("%s is not an event", clip(e.Type, 64)), nil
	}
	kind, _, _ := strings.Cut(e.kind(), ".")
	if !slices.Contains([]string{"message", "app_mention", "app_uninstalled", "tokens_revoked"}, kind) {
		return ignored("events of the type %s are not read", clip(kind, 64)), nil
	}
	m := &event{envelope: e}
	if err := json.Unmarshal(e.Event, m); err != nil {
		return nil, fmt.Errorf("the event is not as Slack sends it: %w", err)
	}
	switch kind {
	case "message":
		return m.message(p), nil
	case "app_mention":
		return m.mention(p), nil
	case "tokens_revoked":
		if len(m.Tokens.Bot) == 0 {
			return ignored("only tokens of people were revoked, and the app uses the bot's"), nil
		}
	}
	return &integration.Reading{Ended: true, Events: []integration.Inbound{{
		Type: typeUninstalled, OccurredAt: m.occurred(),
		Payload: encode(uninstalledPayload{Reason: kind, Team: p.team(e.team(), "")}),
	}}}, nil
}

// said are the subtypes that a person wrote; the others tell what happened to a channel or to another message.
// https://docs.slack.dev/reference/events/message#subtypes
var said = []string{"", "file_share", "thread_broadcast", "me_message"}

// unread says why a message is not read, "" when it is.
func (m *event) unread(p *place, level string) string {
	switch {
	case !p.settings.receives(level):
		return "the link does not take such messages: its setting receive says so"
	case m.own(p):
		return "our own app wrote it"
	case m.BotID != "" || m.Subtype == "bot_message":
		return "an app wrote it, and apps that answer each other would never end"
	case m.Subtype == "message_changed" || m.Subtype == "message_deleted":
		return "changes and deletions of messages are not followed"
	case m.Hidden || !slices.Contains(said, m.Subtype):
		return "Slack tells what happened, nobody wrote it (" + clip(m.Subtype, 64) + ")"
	case m.User == "" || m.Channel == "" || m.TS == "":
		return "it does not say who wrote it, or where"
	case !p.settings.listens(string(m.Channel)):
		return "the link does not listen in this channel: its setting receive_channels says so"
	}
	return ""
}

// own reports whether our application wrote a message: as its bot, or through one of its webhooks, whose address names the bot.
func (m *event) own(p *place) bool {
	app := m.envelope.APIAppID
	return app != "" && (m.AppID == app || m.BotProfile != nil && m.BotProfile.AppID == app) ||
		m.BotID != "" && (m.BotID == p.account.BotID || strings.Contains(p.settings.URL.Reveal(), "/"+m.BotID+"/")) ||
		m.User != "" && string(m.User) == p.account.BotUserID
}

func (m *event) message(p *place) *integration.Reading {
	if why := m.unread(p, levelMessages); why != "" {
		return ignored("%s", why)
	}
	return m.written(p, typeMessage, p.settings.Entries == levelMessages)
}

// mention is the message's twin: Slack sends both where the app is a member. So an entry comes of the mention only where none
// comes of every message.
func (m *event) mention(p *place) *integration.Reading {
	if why := m.unread(p, levelMentions); why != "" {
		return ignored("%s", why)
	}
	return m.written(p, typeMention, p.settings.Entries == levelMentions)
}

func (m *event) written(p *place, kind string, entry bool) *integration.Reading {
	text := m.Text
	if kind == typeMention || entry {
		text = m.unaddressed(p)
	}
	name, avatar := m.author()
	payload := messagePayload{
		Text: plainText(text), Markdown: markdown(text), TS: m.TS, ThreadTS: m.ThreadTS,
		URL:     p.permalink(string(m.Channel), m.TS, m.ThreadTS),
		Channel: p.channel(string(m.Channel), "", m.ChannelType), User: userPart{ID: string(m.User), Name: name},
		Team: p.team(m.envelope.team(), ""),
	}
	for _, f := range m.Files {
		payload.Files = append(payload.Files, filePart{ID: f.ID, Name: f.Name, MIMEType: f.MIMEType, URL: f.Permalink})
	}
	in := integration.Inbound{
		Type: kind, Payload: encode(payload), Actor: p.person(string(m.User), name, avatar), OccurredAt: m.occurred(),
	}
	if entry && payload.Text != "" {
		in.Entry = &integration.Entry{
			Text: payload.Markdown, ExternalID: string(m.Channel) + ":" + m.TS, ExternalURL: payload.URL,
		}
	}
	return &integration.Reading{Events: []integration.Inbound{in}}
}

// unaddressed is the text without the mention of the app that it begins with.
func (m *event) unaddressed(p *place) string {
	bots := []string{p.account.BotUserID}
	for _, a := range m.envelope.Authorizations {
		if a.IsBot {
			bots = append(bots, a.UserID)
		}
	}
	text := strings.TrimSpace(m.Text)
	inner, rest, found := strings.Cut(text, ">")
	user, _, _ := strings.Cut(strings.TrimPrefix(inner, "<@"), "|")
	if found && strings.HasPrefix(inner, "<@") && user != "" && slices.Contains(bots, user) {
		return strings.TrimLeft(rest, " :,")
	}
	return text
}

// author is the writer's name and picture, where Slack tells them.
func (m *event) author() (name, avatar string) {
	if m.Profile == nil {
		return "", ""
	}
	return or(m.Profile.DisplayName, or(m.Profile.RealName, m.Profile.Name)), m.Profile.Image
}

// occurred is when it happened: a message's own time, otherwise the envelope's.
func (m *event) occurred() time.Time {
	if at := timeOf(m.TS); !at.IsZero() {
		return at
	}
	seconds := m.envelope.EventTime
	if seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// ephemeral is an answer that only the person sees who asked. https://docs.slack.dev/interactivity/implementing-slash-commands
func ephemeral(text string) *integration.HookAnswer {
	return &integration.HookAnswer{
		Status: http.StatusOK, Header: integration.Header{{Name: "Content-Type", Value: "application/json"}},
		Body: encode(map[string]string{"response_type": "ephemeral", "text": text}),
	}
}
