package hipchat

const docs = `# HipChat

Posts each event as a notification into a room of HipChat. HipChat's own service closed in 2019; this is for servers
that are still running, and for programs that answer like version 2 of its API.

## Set it up

1. Open the room's settings in HipChat, choose **Tokens**, and create one with the scope **Send Notification**.
2. Put the token into **HipChat Room Notification Token** and the room's number (from the page **Summary**) into
   **HipChat Room id**.
3. For a server of your own, put its address into **Address of HipChat**.

## Settings

| setting | |
|---|---|
| ` + "`room_id`" + ` | The room's number or name. Required. |
| ` + "`room_token`" + ` | The room's notification token. Required, and kept secret. |
| ` + "`from`" + ` | The name that stands beside the message, up to 64 characters. Default: Patchbay. |
| ` + "`base_url`" + ` | Where HipChat is. Default: https://api.hipchat.com. When you change it, give the token again. |

## What a message looks like

A notification in green, yellow (warnings) or red (errors) that notifies the people in the room. Clients that know
cards show one with the title, the text, and the fields as attributes; the others show the text as HTML, with its
links. What comes out of an event is always text. Longer texts than HipChat takes (10,000 characters) are cut with "…".

A link's own body (` + "`body`" + `) replaces all of that; it has to be what HipChat's *Send room notification* takes.

## When something goes wrong

| HipChat answers | what happens |
|---|---|
| 401, 403 | The delivery fails: the token is wrong, or not one of this room. |
| 404 | The delivery fails: there is no such room. |
| 400 | The delivery fails: HipChat cannot read the message, most likely a link's own body. |
| 429 | The link waits until HipChat counts anew. |
| 5xx, no answer | It is tried again. |
`
