package slack

// docs is the page of the integration. The manifest's address stands for the installation's own.
const docs = `# Slack

Posts each event as a message into a channel of Slack: through an *incoming webhook*, which needs only its address, or as
an *app* that is connected, which also updates its messages, answers in threads and offers the channels to choose from.
A connected app brings slash commands, mentions and messages in. Mattermost, Rocket.Chat and others take the same messages
at their incoming webhooks.

## Through an incoming webhook

1. In Slack, make an app for your workspace (<https://api.slack.com/apps>), turn on **Incoming Webhooks** and choose
   **Add New Webhook to Workspace**. Pick the channel.
2. Copy the webhook's address, which begins with ` + "`https://hooks.slack.com/services/`" + `, into the setting
   **Slack webhook URL**.
3. Send a test.

Whoever knows the address can post to the channel. It is kept secret: after you have saved it, only its last
characters are shown.

## As an app

The operator makes one Slack app for the installation and puts its keys into ` + "`patchbay.yaml`" + `:

` + "```yaml" + `
integrations:
  slack:
    client_id: "1234567890.1234567890"
    client_secret: …      # Basic Information, App Credentials
    signing_secret: …
` + "```" + `

This manifest makes the app (**Create New App**, **From a manifest**); put your public address in the place of
` + "`https://patchbay.example.com`" + `:

` + "```yaml" + `
display_information:
  name: Patchbay
features:
  bot_user:
    display_name: Patchbay
    always_online: true
  slash_commands:
    - command: /done
      url: https://patchbay.example.com/integrations/slack/hook
      description: Note down what you got done
      usage_hint: Fixed the login
      should_escape: true
oauth_config:
  redirect_urls:
    - https://patchbay.example.com/auth/slack/callback
  scopes:
    bot:
      - incoming-webhook
      - chat:write
      - chat:write.public
      - channels:read
      - groups:read
      - commands
      - app_mentions:read
      - channels:history
settings:
  event_subscriptions:
    request_url: https://patchbay.example.com/integrations/slack/hook
    bot_events:
      - app_mention
      - message.channels
      - app_uninstalled
      - tokens_revoked
  interactivity:
    is_enabled: true
    request_url: https://patchbay.example.com/integrations/slack/hook
  org_deploy_enabled: false
  socket_mode_enabled: false
  token_rotation_enabled: true
` + "```" + `

| scope | what it is for |
|---|---|
| ` + "`incoming-webhook`" + ` | Slack asks for a channel at the consent, and links that name neither a webhook nor a channel post there. |
| ` + "`chat:write`, `chat:write.public`" + ` | Posting, in public channels without being invited. |
| ` + "`channels:read`, `groups:read`" + ` | The choice of channels: public ones, and private ones that the app was invited to. |
| ` + "`commands`" + ` | Slash commands. |
| ` + "`app_mentions:read`, `channels:history`" + ` | Mentions and messages coming in. For private channels add ` + "`groups:history`" + ` and the event ` + "`message.groups`" + `. |

Asking for less works too: list what you want in the operator's setting ` + "`scopes`" + `. Whoever presses **Add** is sent to
Slack, agrees, and comes back to the link's form. A connection is one workspace; installations for a whole organisation are
refused. PKCE is not used: Slack allows it only for apps that are registered as public clients. Tokens are renewed when the
app has token rotation. Deleting the last connection of a workspace takes the token back.

Without ` + "`client_id`" + ` a workspace is connected by the **Bot User OAuth Token** (` + "`xoxb-…`" + `) of an app of your own. Such
an app calls the link's own address, which the link shows as ` + "`hook_url`" + `, and the link gets the app's signing secret in
its setting ` + "`signing_secret`" + `. The pasted token stays valid when the connection is deleted.

When the signing secret changes, put the old one into ` + "`previous_signing_secret`" + ` until Slack uses the new one.

## Where a message goes

A link with a ` + "`url`" + ` posts through that webhook. A link with a connection and no ` + "`url`" + ` posts to its ` + "`channel`" + ` as the
app. A new link over a connection that names neither gets the webhook that was made at the consent. If the channel of such a
link is changed later, the app posts to the new one.

The choices spell a channel ` + "`#develop (C0123456789)`" + `, which stays right when the channel is renamed. ` + "`C0123456789`" + ` and
` + "`#develop`" + ` work too.

## What a message looks like

One attachment: a bar in green, yellow or red by the event's severity, who did it, the title where the text does not
say it already, the text with its links, and the fields. What comes out of an event is always text: it cannot mention
anybody, call a channel or hide a link. Messages are cut with "…" before they are longer than Slack takes.

A link's own body (` + "`body`" + `) replaces all of that; it has to be what Slack's incoming webhooks take, or, for an app, what
` + "`chat.postMessage`" + ` takes without the channel.

## Threads

An app knows what it posted, so a message about the same matter (the message's ` + "`thread`" + `) can join the first one.
` + "`thread_mode`" + ` says how:

| | |
|---|---|
| ` + "`reply`" + ` | Answers in the thread of the first message. With ` + "`reply_broadcast`" + ` the answer is seen in the channel too. |
| ` + "`update`" + ` | Replaces the first message, which so always says how things are. An older event that comes late answers in the thread instead. |
| ` + "`new`" + ` | Posts a message of its own. |

Where the first message was deleted or can no longer be changed, a new one is posted, and the thread goes on there. Messages of
one thread go out one after the other. Incoming webhooks do not say what they posted: they always post anew.

## What comes in

A link says in ` + "`receive`" + ` what it takes, and in ` + "`receive_channels`" + ` from where. It needs a connection with the workspace.

| ` + "`receive`" + ` | events |
|---|---|
| ` + "`commands`" + ` | ` + "`slack.command`" + `, ` + "`slack.interaction`" + ` (buttons, shortcuts and forms of the app) |
| ` + "`mentions`" + ` | those, and ` + "`slack.mention`" + ` |
| ` + "`messages`" + ` | those, and ` + "`slack.message`" + ` for every message in channels where the app is a member |

All of them get ` + "`slack.app_uninstalled`" + ` when the workspace takes the app or its token away; the connection says at once
that it has to be connected again.

` + "`entries`" + ` says what of it becomes an ` + "`entry.created`" + `. With ` + "`commands`" + `, the default, ` + "`/done Fixed the login`" + ` does;
` + "`command_entry`" + ` lists other commands. The author is the Slack user. If that person has connected Slack too, the entry is told
in their own scope as well.

Texts arrive twice: ` + "`text`" + ` as a person reads it, and ` + "`markdown`" + ` with links, bold, italics, code and quotes. Mentions become
` + "`@name`" + ` where Slack tells the name, else ` + "`@U123`" + `. Not taken: what apps wrote (ours and others), changes and deletions of
messages, and notes such as "has joined the channel"; the hook says so. Slack's retries of one event are one event. In a channel
that several workspaces share, an event reaches the links of the one workspace that Slack names.

Slash commands are answered at once with a line that only the person sees.

## When something goes wrong

| Slack says | what happens |
|---|---|
| ` + "`invalid_token`, `no_service`, `no_team`, `team_disabled`" + ` | The delivery fails: the webhook's address is wrong or was withdrawn. |
| ` + "`channel_not_found`, `user_not_found`, `action_prohibited`, `posting_to_general_channel_denied`" + ` | The delivery fails: correct the channel or ask an administrator. |
| ` + "`channel_is_archived`, `no_active_hooks`" + ` | The delivery fails and the link is disabled, because nothing will ever arrive there. |
| ` + "`not_in_channel`, `is_archived`, `missing_scope`, `restricted_action`" + ` and the like (app) | The delivery fails: invite the app, choose another channel, or ask an administrator. |
| ` + "`invalid_auth`, `token_expired`, `token_revoked`, `account_inactive`" + ` (app) | The token is renewed and the delivery tried again; where that is not possible, the connection asks to be connected again. |
| ` + "`invalid_payload`, `no_text`, `msg_too_long`" + ` and the like | The delivery fails: Slack cannot read the message, most likely a link's own body. |
| 429, ` + "`ratelimited`" + ` | The link waits as long as Slack asks for. About one message a second is allowed for a webhook or a channel. |
| ` + "`rollup_error`, `internal_error`" + `, 5xx, no answer | It is tried again. |
`
