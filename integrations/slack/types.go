package slack

import (
	"encoding/json"

	"github.com/patchbay/patchbay"
)

// The types of events that come in.
const (
	typeMessage     = Key + ".message"
	typeMention     = Key + ".mention"
	typeCommand     = Key + ".command"
	typeInteraction = Key + ".interaction"
	typeUninstalled = Key + ".app_uninstalled"
)

// The parts of payloads that several types have.
const (
	schemaTeam = `"team":{"type":"object","title":"Workspace","required":["id"],"properties":{` +
		`"id":{"type":"string","description":"Slack's identifier of the workspace."},` +
		`"name":{"type":"string","description":"Its name, or the first part of its address."}}}`
	schemaUser = `"user":{"type":"object","title":"User","required":["id"],"properties":{` +
		`"id":{"type":"string","description":"Slack's identifier of who did it."},` +
		`"name":{"type":"string","description":"The user's name, where Slack tells it."}}}`
	schemaChannel = `"channel":{"type":"object","title":"Channel","properties":{` +
		`"id":{"type":"string","description":"Slack's identifier of the channel."},` +
		`"name":{"type":"string","description":"Its name, where Slack tells it."},` +
		`"type":{"type":"string","description":"channel, group, im or mpim."}}}`
	schemaText = `"text":{"type":"string","title":"Text","description":"What was written, as plain text."},` +
		`"markdown":{"type":"string","title":"Markdown","description":"The same with its links, bold, italics, code and quotes."}`
	schemaMessage = `{"type":"object","required":["text","ts","channel","user","team"],"properties":{` + schemaText + `,` +
		`"ts":{"type":"string","title":"Timestamp","description":"What Slack calls the message within its channel."},` +
		`"thread_ts":{"type":"string","title":"Thread","description":"The timestamp of the message that this one answers."},` +
		`"url":{"type":"string","title":"Address","description":"Where Slack shows the message."},` +
		`"files":{"type":"array","title":"Files","items":{"type":"object","properties":{"id":{"type":"string"},"name":{"type":"string"},` +
		`"mimetype":{"type":"string"},"url":{"type":"string"}}}},` + schemaChannel + `,` + schemaUser + `,` + schemaTeam + `}}`
	schemaCommand = `{"type":"object","required":["command","text","channel","user","team"],"properties":{` +
		`"command":{"type":"string","title":"Command","description":"The slash command, such as /done."},` +
		schemaText + `,` + schemaChannel + `,` + schemaUser + `,` + schemaTeam + `}}`
	schemaInteraction = `{"type":"object","required":["kind","user","team"],"properties":{` +
		`"kind":{"type":"string","title":"Kind","description":"block_actions, message_action, shortcut, view_submission or view_closed."},` +
		`"callback_id":{"type":"string","title":"Callback","description":"What the app calls the shortcut or the view."},` +
		`"actions":{"type":"array","title":"Actions","items":{"type":"object","properties":{"action_id":{"type":"string"},"block_id":{"type":"string"},` +
		`"type":{"type":"string"},"value":{"type":"string"},"text":{"type":"string"}}}},` +
		`"state":{"type":"object","title":"State","description":"The values of a submitted view, as Slack sends them."},` +
		`"message":{"type":"object","title":"Message","properties":{` + schemaText + `,"ts":{"type":"string"},"url":{"type":"string"}}},` +
		schemaChannel + `,` + schemaUser + `,` + schemaTeam + `}}`
	schemaUninstalled = `{"type":"object","required":["reason","team"],"properties":{` +
		`"reason":{"type":"string","title":"Reason","enum":["app_uninstalled","tokens_revoked"],"description":"What Slack says happened."},` + schemaTeam + `}}`
)

const (
	exampleTeam    = `"team":{"id":"T123ABC456","name":"acme"}`
	exampleUser    = `"user":{"id":"U123ABC456","name":"ann"}`
	exampleMessage = `{"text":"Fixed the login, see https://github.com/acme/web/pull/7","markdown":"Fixed the **login**, see https://github.com/acme/web/pull/7",` +
		`"ts":"1772600000.000100","url":"https://acme.slack.com/archives/C123ABC456/p1772600000000100",` +
		`"channel":{"id":"C123ABC456","type":"channel"},` + exampleUser + `,` + exampleTeam + `}`
	exampleCommand = `{"command":"/done","text":"Fixed the login","markdown":"Fixed the login",` +
		`"channel":{"id":"C123ABC456","name":"develop"},` + exampleUser + `,` + exampleTeam + `}`
	exampleInteraction = `{"kind":"block_actions","actions":[{"action_id":"approve","block_id":"release","type":"button","value":"v1.2","text":"Approve"}],` +
		`"message":{"ts":"1772600000.000100","text":"Release v1.2?","markdown":"Release v1.2?","url":"https://acme.slack.com/archives/C123ABC456/p1772600000000100"},` +
		`"channel":{"id":"C123ABC456","name":"develop"},` + exampleUser + `,` + exampleTeam + `}`
	exampleUninstalled = `{"reason":"app_uninstalled",` + exampleTeam + `}`
)

// eventTypes declares what comes in, and how it reads.
func eventTypes() []patchbay.EventType {
	const (
		who     = "{{or .payload.user.name .payload.user.id}}"
		where   = "{{or .payload.channel.name .payload.channel.id}}"
		inSlack = "Open in Slack"
		thread  = "slack/{{.payload.channel.id}}/{{or .payload.thread_ts .payload.ts}}"
	)
	actor := &patchbay.ActorTemplate{Name: "{{or .actor.name .payload.user.name .payload.user.id}}", Avatar: "{{.actor.avatar}}", URL: "{{.actor.url}}"}
	return []patchbay.EventType{
		{
			Key: typeMessage, Title: "Slack message", Description: "Somebody wrote in a channel where the app is a member.",
			Schema: json.RawMessage(schemaMessage), Example: json.RawMessage(exampleMessage),
			Message: &patchbay.MessageTemplate{
				Title: who + " wrote in " + where, Text: "{{.payload.text}}", Severity: string(patchbay.SeverityInfo), Actor: actor,
				Links: []patchbay.LinkTemplate{{Title: inSlack, URL: "{{.payload.url}}"}}, Thread: thread,
			},
		},
		{
			Key: typeMention, Title: "Slack mention", Description: "Somebody mentioned the app.",
			Schema: json.RawMessage(schemaMessage), Example: json.RawMessage(exampleMessage),
			Message: &patchbay.MessageTemplate{
				Title: who + " mentioned the app in " + where, Text: "{{.payload.text}}", Severity: string(patchbay.SeverityInfo), Actor: actor,
				Links: []patchbay.LinkTemplate{{Title: inSlack, URL: "{{.payload.url}}"}}, Thread: thread,
			},
		},
		{
			Key: typeCommand, Title: "Slack command", Description: "Somebody used one of the app's slash commands.",
			Schema: json.RawMessage(schemaCommand), Example: json.RawMessage(exampleCommand),
			Message: &patchbay.MessageTemplate{
				Title: who + " used {{.payload.command}} in " + where, Text: "{{.payload.text}}", Severity: string(patchbay.SeverityInfo), Actor: actor,
			},
		},
		{
			Key: typeInteraction, Title: "Slack interaction", Description: "Somebody pressed a button of the app, used a shortcut or filled in a form.",
			Schema: json.RawMessage(schemaInteraction), Example: json.RawMessage(exampleInteraction),
			Message: &patchbay.MessageTemplate{
				Title:    who + " used {{with .payload.actions}}{{or (index . 0).text (index . 0).action_id}}{{else}}{{or .payload.callback_id .payload.kind}}{{end}}",
				Severity: string(patchbay.SeverityInfo), Actor: actor,
				Fields: []patchbay.FieldTemplate{
					{Title: "{{or .item.text .item.action_id}}", Value: "{{.item.value}}", Short: true, Each: "payload.actions"},
					{Title: "Message", Value: "{{.payload.message.text}}"},
					{Title: "Channel", Value: "{{or .payload.channel.name .payload.channel.id}}", Short: true},
				},
				Links: []patchbay.LinkTemplate{{Title: inSlack, URL: "{{.payload.message.url}}"}},
			},
		},
		{
			Key: typeUninstalled, Title: "Slack app uninstalled", Description: "A workspace took the app away, or its token: nothing can be posted there any more.",
			Schema: json.RawMessage(schemaUninstalled), Example: json.RawMessage(exampleUninstalled),
			Message: &patchbay.MessageTemplate{
				Title:    "The app was uninstalled from the Slack workspace {{or .payload.team.name .payload.team.id}}",
				Text:     "Nothing can be posted there until somebody connects Slack again.",
				Severity: string(patchbay.SeverityWarning), Thread: "slack/{{.payload.team.id}}/installed",
			},
		},
	}
}

// The payloads, as the schemas above declare them.
type (
	userPart struct {
		ID   string `json:"id"`
		Name string `json:"name,omitempty"`
	}
	channelPart struct {
		ID   string `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
		Type string `json:"type,omitempty"`
	}
	filePart struct {
		ID       string `json:"id,omitempty"`
		Name     string `json:"name,omitempty"`
		MIMEType string `json:"mimetype,omitempty"`
		URL      string `json:"url,omitempty"`
	}
	messagePayload struct {
		Text     string      `json:"text"`
		Markdown string      `json:"markdown,omitempty"`
		TS       string      `json:"ts"`
		ThreadTS string      `json:"thread_ts,omitempty"`
		URL      string      `json:"url,omitempty"`
		Files    []filePart  `json:"files,omitempty"`
		Channel  channelPart `json:"channel"`
		User     userPart    `json:"user"`
		Team     named       `json:"team"`
	}
	commandPayload struct {
		Command  string      `json:"command"`
		Text     string      `json:"text"`
		Markdown string      `json:"markdown,omitempty"`
		Channel  channelPart `json:"channel"`
		User     userPart    `json:"user"`
		Team     named       `json:"team"`
	}
	messagePart struct {
		Text     string `json:"text,omitempty"`
		Markdown string `json:"markdown,omitempty"`
		TS       string `json:"ts,omitempty"`
		URL      string `json:"url,omitempty"`
	}
	actionPart struct {
		ActionID string `json:"action_id,omitempty"`
		BlockID  string `json:"block_id,omitempty"`
		Type     string `json:"type,omitempty"`
		Value    string `json:"value,omitempty"`
		Text     string `json:"text,omitempty"`
	}
	interactionPayload struct {
		Kind       string          `json:"kind"`
		CallbackID string          `json:"callback_id,omitempty"`
		Actions    []actionPart    `json:"actions,omitempty"`
		State      json.RawMessage `json:"state,omitempty"`
		Message    *messagePart    `json:"message,omitempty"`
		Channel    *channelPart    `json:"channel,omitempty"`
		User       userPart        `json:"user"`
		Team       named           `json:"team"`
	}
	uninstalledPayload struct {
		Reason string `json:"reason"`
		Team   named  `json:"team"`
	}
)
