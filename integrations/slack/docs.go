package slack

const docs = `# Slack

Posts each event as a message into a channel of Slack, through an *incoming webhook*. Mattermost, Rocket.Chat and
others take the same messages at their incoming webhooks.

## Set it up

1. In Slack, make an app for your workspace (<https://api.slack.com/apps>), turn on **Incoming Webhooks** and choose
   **Add New Webhook to Workspace**. Pick the channel.
2. Copy the webhook's address, which begins with ` + "`https://hooks.slack.com/services/`" + `, into the setting
   **Slack webhook URL**.
3. Send a test.

Whoever knows the address can post to the channel. It is kept secret: after you have saved it, only its last
characters are shown.

## Settings

| setting | |
|---|---|
| ` + "`url`" + ` | The webhook's address. Required. |
| ` + "`channel`" + ` | Names the link in lists, and is sent along. Webhooks of Slack apps post only to the channel that they were made for; the older custom integrations, and Mattermost, post to this one. |
| ` + "`username`, `icon_emoji`, `icon_url`" + ` | How the sender looks, for webhooks that let it be chosen. |

## What a message looks like

One attachment: a bar in green, yellow or red by the event's severity, who did it, the title where the text does not
say it already, the text with its links, and the fields. What comes out of an event is always text: it cannot mention
anybody, call a channel or hide a link. Messages are cut with "…" before they are longer than Slack takes.

A link's own body (` + "`body`" + `) replaces all of that; it has to be what Slack's incoming webhooks take.

## When something goes wrong

| Slack says | what happens |
|---|---|
| ` + "`invalid_token`, `no_service`, `no_team`, `team_disabled`" + ` | The delivery fails: the webhook's address is wrong or was withdrawn. |
| ` + "`channel_not_found`, `user_not_found`, `action_prohibited`, `posting_to_general_channel_denied`" + ` | The delivery fails: correct the channel or ask an administrator. |
| ` + "`channel_is_archived`, `no_active_hooks`" + ` | The delivery fails and the link is disabled, because nothing will ever arrive there. |
| ` + "`invalid_payload`, `no_text`" + ` and the like | The delivery fails: Slack cannot read the message, most likely a link's own body. |
| 429 | The link waits as long as Slack asks for. About one message a second is allowed for a webhook. |
| ` + "`rollup_error`" + `, 5xx, no answer | It is tried again. |
`
