package slack

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Settings are a link's settings.
type Settings struct {
	URL             integration.Secret `json:"url"`
	Channel         string             `json:"channel"`
	Username        string             `json:"username"`
	IconEmoji       string             `json:"icon_emoji"`
	IconURL         string             `json:"icon_url"`
	ThreadMode      string             `json:"thread_mode"`
	ReplyBroadcast  bool               `json:"reply_broadcast"`
	Receive         string             `json:"receive"`
	ReceiveChannels []string           `json:"receive_channels"`
	Entries         string             `json:"entries"`
	CommandEntry    []string           `json:"command_entry"`
	SigningSecret   integration.Secret `json:"signing_secret"`
}

// What a newer message of a thread does.
const (
	threadReply  = "reply"
	threadUpdate = "update"
	threadNew    = "new"
)

// What comes in, and what of it becomes entries. Each level holds those before it.
const (
	levelNothing  = "nothing"
	levelCommands = "commands"
	levelMentions = "mentions"
	levelMessages = "messages"
)

var levels = []string{levelNothing, levelCommands, levelMentions, levelMessages}

// defaultEntryCommand is the slash command that makes entries when a link names no other.
const defaultEntryCommand = "/done"

// threaded reports whether the link's messages have references.
func (s *Settings) threaded() bool {
	return s.URL == "" && s.Channel != "" && s.ThreadMode != threadNew
}

// receives reports whether a level comes in.
func (s *Settings) receives(level string) bool {
	return slices.Index(levels, s.Receive) >= slices.Index(levels, level)
}

// makesEntry reports whether a slash command becomes an entry.
func (s *Settings) makesEntry(command string) bool {
	if s.Entries == levelNothing {
		return false
	}
	commands := s.CommandEntry
	if len(commands) == 0 {
		commands = []string{defaultEntryCommand}
	}
	return slices.ContainsFunc(commands, func(c string) bool { return strings.EqualFold(c, command) })
}

// listens reports whether the link takes what happens in a channel.
func (s *Settings) listens(channel string) bool {
	return len(s.ReceiveChannels) == 0 ||
		slices.ContainsFunc(s.ReceiveChannels, func(c string) bool { return parseChannel(c).id == channel })
}

// Validate refuses what the single settings do not show: channels to listen in go by their IDs, because messages carry no
// names.
func (s *Settings) Validate() error {
	for _, c := range s.ReceiveChannels {
		if parseChannel(c).id == "" {
			return patchbay.Invalid("settings.receive_channels",
				"must be channels' IDs such as C0123456789, or as the choices show them: what Slack sends carries no names")
		}
	}
	return nil
}

func settingsSpec() integration.Spec {
	return slices.Concat(integration.Spec{
		{
			Key: "url", Title: "Slack webhook URL", Type: integration.TypeURL,
			Required: true, UnlessConnected: true, Secret: true, Target: true,
			Help: "Whoever knows this address can post to the channel, so it is kept secret. With a connection it may stay " +
				"empty: then the app posts.",
			Example: "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
		},
		{
			Key: "channel", Title: "Channel", Type: integration.TypeString, Example: "#develop", Dynamic: true,
			Help: "Where the connected app posts. Beside a webhook it is shown as the name of the link, and sent along: " +
				"webhooks of Slack apps post to the channel that they were made for, whatever this says.",
		},
		{
			Key: "username", Title: "Name of the sender", Type: integration.TypeString,
			Help: "Webhooks of Slack apps do not let it be changed; a connected app needs chat:write.customize.",
		},
		{
			Key: "icon_emoji", Title: "Emoji of the sender", Type: integration.TypeString, Example: ":satellite:",
			Check: checkEmoji,
			Help:  "For webhooks and apps that let it be changed.",
		},
		{
			Key: "icon_url", Title: "Picture of the sender", Type: integration.TypeURL,
			Help: "For webhooks and apps that let it be changed. Is not used when there is an emoji.",
		},
		{
			Key: "thread_mode", Title: "More about the same matter", Type: integration.TypeSelect, Default: threadReply,
			Options: []integration.Option{
				{Value: threadReply, Title: "Answer in the thread of the first message"},
				{Value: threadUpdate, Title: "Replace the first message"},
				{Value: threadNew, Title: "Post a message of its own"},
			},
			Help: "What the connected app does with a message that belongs to one before it. Webhooks always post anew.",
		},
		{
			Key: "reply_broadcast", Title: "Show answers in the channel too", Type: integration.TypeBoolean, Default: false,
			Help: "Answers in a thread are otherwise seen only there.",
		},
	}, receivingSpec())
}

// receivingSpec declares the settings of what comes in.
func receivingSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "receive", Title: "What comes in", Type: integration.TypeSelect, Default: levelNothing,
			Options: []integration.Option{
				{Value: levelNothing, Title: "Nothing"},
				{Value: levelCommands, Title: "Slash commands and buttons"},
				{Value: levelMentions, Title: "Those, and messages that mention the app"},
				{Value: levelMessages, Title: "Those, and every message where the app is a member"},
			},
			Help: "Needs a connection, and an app that calls this installation.",
		},
		{
			Key: "receive_channels", Title: "Only from these channels", Type: integration.TypeList, Dynamic: true,
			Example: "#develop (C0123456789)",
			Help:    "Empty: from every channel.",
		},
		{
			Key: "entries", Title: "What becomes an entry", Type: integration.TypeSelect, Default: levelCommands,
			Options: []integration.Option{
				{Value: levelNothing, Title: "Nothing"},
				{Value: levelCommands, Title: "The text of slash commands"},
				{Value: levelMentions, Title: "That, and messages that mention the app"},
				{Value: levelMessages, Title: "The text of slash commands, and every message"},
			},
			Help: "An entry is what somebody got done. Only what comes in can become one.",
		},
		{
			Key: "command_entry", Title: "Slash commands that make entries", Type: integration.TypeList, Check: checkCommands,
			Example: defaultEntryCommand,
			Help:    "Empty: " + defaultEntryCommand + ".",
		},
		{
			Key: "signing_secret", Title: "Signing secret of an app of your own", Type: integration.TypeString, Secret: true, Signing: true,
			Help: "Only for an app of your own that calls the link's own address.",
		},
	}
}

// Config is what the operator sets.
type Config struct {
	ClientID              string             `json:"client_id"`
	ClientSecret          integration.Secret `json:"client_secret"`
	SigningSecret         integration.Secret `json:"signing_secret"`
	PreviousSigningSecret integration.Secret `json:"previous_signing_secret"`
	Scopes                []string           `json:"scopes"`
	APIURL                string             `json:"api_url"`
}

// defaultAPI is where Slack's Web API is.
const defaultAPI = "https://slack.com/api"

// defaultScopes are what the app asks a workspace for. https://docs.slack.dev/reference/scopes says what each is for.
func defaultScopes() []string {
	return []string{
		"incoming-webhook", "chat:write", "chat:write.public", "channels:read", "groups:read", "commands",
		"app_mentions:read", "channels:history",
	}
}

func configSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "client_id", Title: "Client ID", Type: integration.TypeString, Example: "1234567890.1234567890",
			Help: "Of the Slack app, under Basic Information. Without it accounts are connected by a bot token.",
		},
		{Key: "client_secret", Title: "Client secret", Type: integration.TypeString, Secret: true, Help: "Beside the client ID."},
		{
			Key: "signing_secret", Title: "Signing secret", Type: integration.TypeString, Secret: true, Signing: true,
			Help: "Beside the client ID. Slack signs its calls with it; without it they are refused.",
		},
		{
			Key: "previous_signing_secret", Title: "Previous signing secret", Type: integration.TypeString, Secret: true, Signing: true,
			Help: "Is accepted too, while the signing secret is being changed.",
		},
		{
			Key: "scopes", Title: "Scopes", Type: integration.TypeList,
			Help: "What the app asks workspaces for. Default: " + strings.Join(defaultScopes(), ", "),
		},
		{
			Key: "api_url", Title: "Address of Slack's API", Type: integration.TypeURL, Default: defaultAPI,
			Help: "https://slack-gov.com/api for GovSlack.",
		},
	}
}

// readConfig reads the operator's settings, which have been checked; nothing is the zero Config with its defaults.
func readConfig(raw json.RawMessage) Config {
	var c Config
	_ = json.Unmarshal(raw, &c) // what is not there keeps its default
	if c.APIURL == "" {
		c.APIURL = defaultAPI
	}
	c.APIURL = strings.TrimRight(c.APIURL, "/")
	if len(c.Scopes) == 0 {
		c.Scopes = defaultScopes()
	}
	return c
}

func checkEmoji(value any) error {
	name, _ := value.(string)
	if len(name) < 3 || !strings.HasPrefix(name, ":") || !strings.HasSuffix(name, ":") || strings.ContainsAny(name, " <>") {
		return errors.New("must be written like :satellite:, with a colon at both ends")
	}
	return nil
}

func checkCommands(value any) error {
	commands, _ := value.([]string)
	for _, c := range commands {
		if len(c) < 2 || len(c) > 33 || c[0] != '/' || strings.ContainsAny(c, " \t") {
			return errors.New("must be slash commands such as /done, without what is written after them")
		}
	}
	return nil
}

// channel is a channel as settings spell it: by its ID, by its name, or by both as the choices do: "#develop (C0123456789)".
type channel struct {
	id, name string
	// title is what people are shown: the name as the choices have it, or else what was written.
	title string
}

// The forms of https://docs.slack.dev/reference/objects/conversation-object; U and W are people, for direct messages.
var (
	channelID   = regexp.MustCompile(`^[CDGUW][A-Z0-9]{2,30}$`)
	channelBoth = regexp.MustCompile(`^#?([^\s()]+) \(([CDGUW][A-Z0-9]{2,30})\)$`)
)

func parseChannel(s string) channel {
	if m := channelBoth.FindStringSubmatch(s); m != nil {
		return channel{id: m[2], name: m[1], title: "#" + m[1]}
	}
	if channelID.MatchString(s) {
		return channel{id: s, title: s}
	}
	return channel{name: strings.TrimPrefix(s, "#"), title: s}
}

// address is what the Web API is told: it takes IDs and names.
func (c channel) address() string {
	if c.id != "" {
		return c.id
	}
	return c.title
}
