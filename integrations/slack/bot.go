package slack

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// What Slack answers when the first message of a thread cannot be answered or changed (any more): then the message is posted
// anew. https://docs.slack.dev/reference/methods/chat.update#errors and …/chat.postMessage#errors
var lostThread = []string{
	"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found", "invalid_thread_ts", "cannot_reply_to_message",
	"restricted_action_thread_locked", "restricted_action_non_threadable_channel",
}

// reference is a message that was posted: its channel's ID and its timestamp, which identifies it there.
type reference struct{ channel, ts, written string }

// String spells it for Result.Reference. How the link spelled the channel is part of it where that is a name: a link that
// has moved to another channel begins its threads anew.
func (r reference) String() string {
	if r.written == "" {
		return r.channel + ":" + r.ts
	}
	return r.channel + ":" + r.ts + ":" + r.written
}

// readReference returns the message that a thread began with, if it is in the channel of the link.
func readReference(s string, at channel) (reference, bool) {
	id, rest, _ := strings.Cut(s, ":")
	ts, written, _ := strings.Cut(rest, ":")
	if id == "" || ts == "" || at.id != "" && at.id != id || at.id == "" && at.name != written {
		return reference{}, false
	}
	return reference{id, ts, written}, true
}

// sendAsApp posts with the bot's token, and updates or answers what it posted for the same thread.
func sendAsApp(ctx context.Context, d *integration.Delivery, s *Settings) integration.Result {
	fields, r := message(d, s)
	if fields == nil {
		return r
	}
	at := parseChannel(s.Channel)
	first, again := readReference(d.Reference, at)
	if again && s.threaded() && !d.Preview {
		r, lost := continued(ctx, d, s, fields, first)
		if !lost {
			return r
		}
		delete(fields, "thread_ts")
		delete(fields, "reply_broadcast")
		delete(fields, "ts")
	}
	put(fields, "channel", at.address())
	posted, _, r := post(ctx, d, "chat.postMessage", fields)
	if posted.TS == "" {
		return r
	}
	ref := reference{channel: posted.Channel, ts: posted.TS}
	if at.id == "" {
		ref.written = at.name
	}
	r.Reference = ref.String()
	return r
}

// continued updates or answers the first message of a thread. lost says that this is not possible any more.
func continued(ctx context.Context, d *integration.Delivery, s *Settings, fields map[string]json.RawMessage, first reference) (r integration.Result, lost bool) {
	name := "chat.postMessage"
	put(fields, "channel", first.channel)
	if s.ThreadMode == threadUpdate && !d.Stale { // what is old must not stand where newer things are said
		name = "chat.update"
		put(fields, "ts", first.ts)
	} else {
		put(fields, "thread_ts", first.ts)
		if s.ReplyBroadcast {
			fields["reply_broadcast"] = json.RawMessage("true")
		}
	}
	_, word, r := post(ctx, d, name, fields)
	if slices.Contains(lostThread, word) {
		return r, true
	}
	r.Reference = first.String() // the thread stays that of its first message
	return r, false
}

// posted is where a message has gone.
type posted struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

func post(ctx context.Context, d *integration.Delivery, name string, fields map[string]json.RawMessage) (posted, string, integration.Result) {
	var out posted
	c := d.Connection.Credentials
	_, word, r := do(ctx, d.Env, method{name: name, body: encode(fields), token: tokenOf(c.Extra, c.Access), limit: maxMessageAnswer}, &out)
	return out, word, r
}

// message makes the fields of a message, the link's own or the rendered one. nil means that there is none, and why.
func message(d *integration.Delivery, s *Settings) (map[string]json.RawMessage, integration.Result) {
	body := []byte(d.Body)
	if body == nil {
		msg, err := d.Message()
		if err != nil {
			return nil, integration.Unrenderable(err)
		}
		body = encode(render(msg, s))
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return nil, integration.Misconfigured("the link's own body is not a JSON object, which chat.postMessage takes")
	}
	return fields, integration.Result{}
}

func put(fields map[string]json.RawMessage, key, value string) {
	b, _ := json.Marshal(value) // a string always can
	fields[key] = b
}
