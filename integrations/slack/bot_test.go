package slack

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

// delivery returns one over a connection with a fake workspace.
func (f *fakeSlack) delivery(t *testing.T, settings string) *integration.Delivery {
	t.Helper()
	def := New().Definition()
	checked, err := def.Settings.Check(json.RawMessage(settings), integration.CheckOptions{Connected: true})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := def.Decode(checked)
	if err != nil {
		t.Fatal(err)
	}
	return &integration.Delivery{
		Settings: decoded, Connection: connected(), Env: f.env(),
		Message: func() (*integration.Message, error) { return completion(), nil },
	}
}

func TestBotContract(t *testing.T) {
	f := newFake(t)
	con := connected()
	integrationtest.Run(t, integrationtest.Case{
		Integration: New(), Settings: `{"channel": "#develop (C0123456789)"}`, Connection: con,
		Config: `{"api_url": "{{URL}}/api", "client_secret": "x"}`, Partner: f, MaxBody: maxBody,
		Statuses: map[int]integrationtest.Want{401: {Verdict: patchbay.VerdictAuthExpired, Type: patchbay.CodeUserConfigurationError}},
	})
}

// The message is the webhook's, in the channel, by the token.
func TestBotPosts(t *testing.T) {
	f := newFake(t)
	for settings, suffix := range map[string]string{
		`{"channel":"#develop (C0123456789)"}`: "", `{"channel":"C0123456789"}`: "", `{"channel":"#develop"}`: ":develop",
	} {
		f.messages = nil
		want := develop + ":1503435956.000001" + suffix
		r := New().Send(t.Context(), f.delivery(t, settings))
		if r.Verdict != patchbay.VerdictDelivered || r.Reference != want {
			t.Errorf("%s: %+v, want the reference %s", settings, r, want)
		}
		last := f.messages[len(f.messages)-1]
		var got body
		if err := json.Unmarshal(encode(last.Fields), &got); err != nil || last.Channel != develop {
			t.Fatalf("%s: posted %s to %s: %v", settings, encode(last.Fields), last.Channel, err)
		}
		if diff := cmp.Diff(render(completion(), &Settings{}).Attachments, got.Attachments); diff != "" {
			t.Errorf("%s: the message is not the webhook's (-want +got):\n%s", settings, diff)
		}
	}
}

func TestThreads(t *testing.T) {
	f := newFake(t)
	send := func(settings, reference string, stale bool) integration.Result {
		t.Helper()
		d := f.delivery(t, settings)
		d.Reference, d.Stale = reference, stale
		r := New().Send(t.Context(), d)
		if r.Verdict != patchbay.VerdictDelivered {
			t.Fatalf("%s after %q: %+v", settings, reference, r)
		}
		return r
	}
	const reply, update, alone = `{"channel":"C0123456789"}`, `{"channel":"C0123456789","thread_mode":"update"}`, `{"channel":"C0123456789","thread_mode":"new"}`
	first := send(reply, "", false).Reference

	if r := send(reply, first, false); r.Reference != first || f.messages[1].thread() != f.messages[0].TS {
		t.Errorf("an answer: %+v in thread %q", r, f.messages[1].thread())
	}
	if _, ok := f.messages[1].Fields["reply_broadcast"]; ok {
		t.Error("an answer is shown in the channel without having been asked for")
	}
	send(`{"channel":"C0123456789","reply_broadcast":true}`, first, false)
	if string(f.messages[2].Fields["reply_broadcast"]) != "true" {
		t.Error("an answer is not shown in the channel")
	}
	if r := send(update, first, false); r.Reference != first || f.messages[0].Edits != 1 || len(f.messages) != 3 {
		t.Errorf("an update: %+v, %d edits, %d messages", r, f.messages[0].Edits, len(f.messages))
	}
	if r := send(update, first, true); r.Reference != first || f.messages[0].Edits != 1 || f.messages[3].thread() != f.messages[0].TS {
		t.Errorf("a message that comes late overwrites: %+v, %d edits", r, f.messages[0].Edits)
	}
	if r := send(alone, first, false); r.Reference == first || f.messages[4].thread() != "" {
		t.Errorf("a message of its own: %+v", r)
	}
	if r := send(`{"channel":"C0GENERAL01"}`, first, false); !strings.HasPrefix(r.Reference, "C0GENERAL01:") || f.messages[5].thread() != "" {
		t.Errorf("the link has moved to another channel: %+v", r)
	}
	if r := send(`{"channel":"#general"}`, first+":develop", false); !strings.HasPrefix(r.Reference, "C0GENERAL01:") || !strings.HasSuffix(r.Reference, ":general") {
		t.Errorf("the link has moved to another channel, by name: %+v", r)
	}
	for _, settings := range []string{reply, update} {
		before := len(f.messages)
		if r := send(settings, develop+":1.000001", false); r.Reference == develop+":1.000001" || len(f.messages) != before+1 || f.messages[before].thread() != "" {
			t.Errorf("the first message was deleted: %+v", r)
		}
	}
	for _, broken := range []string{"x", ":", "C0123456789", "::", develop + ":"} {
		if r := send(reply, broken, false); !strings.HasPrefix(r.Reference, develop+":") {
			t.Errorf("the reference %q: %+v", broken, r)
		}
	}
}

// Only an app's links are threaded: webhooks stay as fast as they were.
func TestThreaded(t *testing.T) {
	def := New().Definition()
	for want, all := range map[bool][]Settings{
		true:  {{Channel: "#a"}, {Channel: "#a", ThreadMode: threadUpdate}},
		false: {{URL: "https://x.test"}, {URL: "https://x.test", Channel: "#a"}, {Channel: "#a", ThreadMode: threadNew}, {}},
	} {
		for _, s := range all {
			if def.Threaded(&s) != want {
				t.Errorf("%+v: threaded is %v", s, !want)
			}
		}
	}
}

func TestOwnBodyAsApp(t *testing.T) {
	f := newFake(t)
	d := f.delivery(t, `{"channel":"C0123456789"}`)
	d.Body = json.RawMessage(`{"text":"<b>","channel":"C0GENERAL01","blocks":[{"n":12345678901234567890}]}`)
	r := New().Send(t.Context(), d)
	got := f.messages[0]
	if r.Verdict != patchbay.VerdictDelivered || got.Channel != develop || string(got.Fields["text"]) != `"<b>"` ||
		string(got.Fields["blocks"]) != `[{"n":12345678901234567890}]` {
		t.Errorf("%+v, posted %s", r, encode(got))
	}
	d.Body = json.RawMessage(`"text"`)
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, "JSON object") {
		t.Errorf("%+v", r)
	}
}

// Which way a message goes is decided by what the link says, and never posts to where it no longer says.
func TestWays(t *testing.T) {
	f := newFake(t)
	hooks := 0
	hook := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hooks++; _, _ = w.Write([]byte("ok")) })
	way := newServer(t, hook)
	fill := map[string]integration.Secret{"url": integration.Secret(way + path), "channel": "#general"}
	for _, test := range []struct {
		settings   string
		connection bool
		hook       bool
	}{
		{`{"url":"` + way + path + `"}`, false, true},
		{`{"url":"` + way + path + `","channel":"#develop"}`, false, true},
		{`{"url":"` + way + path + `","channel":"#general"}`, true, true},
		{`{"url":"` + way + path + `","channel":"#general (C0GENERAL01)"}`, true, true},
		{`{"url":"` + way + path + `"}`, true, true},
		{`{"url":"` + way + `/other","channel":"#develop"}`, true, true},
		{`{"url":"` + way + path + `","channel":"#develop"}`, true, false}, // the channel was changed after the webhook was filled in
		{`{"channel":"#develop"}`, true, false},
	} {
		hooks, f.messages = 0, nil
		d := f.delivery(t, test.settings)
		d.Connection.Credentials.Fill = fill
		if !test.connection {
			d.Connection = nil
		}
		if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered || (hooks == 1) != test.hook || (len(f.messages) == 1) == test.hook {
			t.Errorf("%s with a connection %v: %+v, %d by webhook, %d as app", test.settings, test.connection, r, hooks, len(f.messages))
		}
	}
	d := f.delivery(t, `{}`)
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, "channel") {
		t.Errorf("without a channel: %+v", r)
	}
}

func TestRefusals(t *testing.T) {
	type outcome struct {
		Verdict    patchbay.Verdict
		Type       patchbay.Code
		Throttled  bool
		RetryAfter time.Duration
	}
	var (
		expired = outcome{Verdict: patchbay.VerdictAuthExpired, Type: patchbay.CodeUserConfigurationError}
		user    = outcome{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeUserConfigurationError}
		ours    = outcome{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeMisconfiguredIntegration}
		later   = outcome{Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError}
	)
	for word, want := range map[string]outcome{
		"invalid_auth": expired, "not_authed": expired, "token_revoked": expired, "token_expired": expired, "account_inactive": expired,
		"channel_not_found": user, "not_in_channel": user, "is_archived": user, "missing_scope": user, "no_permission": user,
		"restricted_action": user, "restricted_action_read_only_channel": user, "restricted_action_thread_only_channel": user,
		"ekm_access_denied": user, "not_allowed_token_type": user, "org_login_required": user, "team_access_not_granted": user,
		"msg_too_long": ours, "no_text": ours, "too_many_attachments": ours, "invalid_blocks": ours, "invalid_arg_name": ours,
		"invalid_charset": ours, "invalid_form_data": ours, "invalid_post_type": ours, "invalid_json": ours, "json_not_object": ours,
		"invalid_metadata_format": ours, "a_new_word": ours,
		"request_timeout": later, "fatal_error": later, "internal_error": later, "service_unavailable": later,
		"rate_limited": {Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError, Throttled: true, RetryAfter: shortPause},
		"ratelimited":  {Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError, Throttled: true, RetryAfter: 30 * time.Second},
	} {
		f := newFake(t)
		f.say["chat.postMessage"], f.wait["chat.postMessage"] = word, 30
		r := New().Send(t.Context(), f.delivery(t, `{"channel":"C0123456789"}`))
		if diff := cmp.Diff(want, outcome{r.Verdict, r.Type, r.Throttled, r.RetryAfter}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", word, diff)
		}
		if word != "ratelimited" && !strings.Contains(r.Error, word) || strings.Contains(r.Error, botToken) || r.Code == 0 || r.Reference != "" {
			t.Errorf("%s: %+v", word, r)
		}
	}
	f := newFake(t)
	for channel, word := range map[string]string{"C0NOWHERE01": "channel_not_found", archived: "is_archived"} {
		if r := New().Send(t.Context(), f.delivery(t, `{"channel":"`+channel+`"}`)); r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, word) {
			t.Errorf("%s: %+v", channel, r)
		}
	}
	f.say["chat.postMessage"] = "missing_scope"
	if r := New().Send(t.Context(), f.delivery(t, `{"channel":"C0123456789"}`)); !strings.Contains(r.Error, "chat:write") {
		t.Errorf("it does not say which scope is missing: %s", r.Error)
	}
}

// Where Slack says how long to wait, that counts, whatever the status.
func TestLimitWithStatus200(t *testing.T) {
	f := newFake(t)
	d := f.delivery(t, `{"channel":"C0123456789"}`)
	address := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "40")
		no(w, "rate_limited")
	}))
	d.Env.Config = json.RawMessage(`{"api_url":"` + address + `"}`)
	if r := New().Send(t.Context(), d); !r.Throttled || r.RetryAfter != 40*time.Second {
		t.Errorf("%+v", r)
	}
}

// A limit while a thread is answered is no reason to post anew.
func TestLimitInThread(t *testing.T) {
	f := newFake(t)
	f.say["chat.update"], f.wait["chat.update"] = "ratelimited", 7
	d := f.delivery(t, `{"channel":"C0123456789","thread_mode":"update"}`)
	d.Reference = develop + ":1503435956.000001"
	if r := New().Send(t.Context(), d); !r.Throttled || r.RetryAfter != 7*time.Second || len(f.messages) != 0 {
		t.Errorf("%+v, %d messages", r, len(f.messages))
	}
	for _, word := range []string{"cant_update_message", "edit_window_closed", "message_not_found"} {
		f.messages, f.say["chat.update"] = nil, word
		if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered || len(f.messages) != 1 {
			t.Errorf("%s: %+v, %d messages", word, r, len(f.messages))
		}
		for _, key := range []string{"ts", "thread_ts", "reply_broadcast"} {
			if _, ok := f.messages[0].Fields[key]; ok {
				t.Errorf("%s: the new message carries %s", word, key)
			}
		}
	}
}

func TestChoices(t *testing.T) {
	f := newFake(t)
	ask := func(q integration.ChoiceQuery) ([]string, integration.Result) {
		q.Env, q.Setting = f.env(), or(q.Setting, "channel")
		got, r := New().Choices(t.Context(), &q)
		out := []string{}
		for _, c := range got {
			out = append(out, c.Title+"|"+c.Help+"|"+c.Value)
			if ch := parseChannel(c.Value); ch.id == "" {
				t.Errorf("the choice %q has no ID", c.Value)
			}
		}
		return out, r
	}
	con := connected()
	got, r := ask(integration.ChoiceQuery{Connection: con})
	want := []string{"#develop||#develop (C0123456789)", "#general|the app is not a member|#general (C0GENERAL01)", "#secret-ops|private|#secret-ops (G0SECRET001)"}
	if diff := cmp.Diff(want, got); diff != "" || r.Verdict != patchbay.VerdictDelivered {
		t.Errorf("%+v (-want +got):\n%s", r, diff)
	}
	con.Grants = []string{"channels:read"}
	if got, _ := ask(integration.ChoiceQuery{Connection: con, Setting: "receive_channels"}); len(got) != 2 {
		t.Errorf("without groups:read: %q", got)
	}
	if _, r := ask(integration.ChoiceQuery{}); r.Type != patchbay.CodeUserConfigurationError {
		t.Errorf("without a connection: %+v", r)
	}
	if _, r := ask(integration.ChoiceQuery{Connection: con, Setting: "username"}); r.Type != patchbay.CodeMisconfiguredIntegration {
		t.Errorf("another setting: %+v", r)
	}
	for i := range 7000 {
		f.channels = append(f.channels, conversation{ID: "C0X" + strings.Repeat("0", 3) + string(rune('A'+i%26)) + "9", Name: "dev-" + strings.Repeat("x", i%40)})
	}
	f.queries = nil
	if got, r := ask(integration.ChoiceQuery{Connection: con, Search: "#DEV", Limit: 5}); len(got) != 5 || r.Verdict != patchbay.VerdictDelivered || len(f.queries) != 1 {
		t.Errorf("a search: %q, %+v after %d pages", got, r, len(f.queries))
	}
	f.queries = nil
	if got, _ := ask(integration.ChoiceQuery{Connection: con, Search: "develop"}); len(got) != 1 || len(f.queries) != maxPages {
		t.Errorf("a search through everything: %q after %d pages", got, len(f.queries))
	}
	f.say["conversations.list"], f.wait["conversations.list"] = "ratelimited", 30
	if _, r := ask(integration.ChoiceQuery{Connection: con}); !strings.Contains(r.Error, "30 seconds") {
		t.Errorf("limited: %+v", r)
	}
	f.say["conversations.list"] = "missing_scope"
	if _, r := ask(integration.ChoiceQuery{Connection: con}); r.Type != patchbay.CodeUserConfigurationError {
		t.Errorf("without channels:read: %+v", r)
	}
	if !slices.Contains(f.sent, "conversations.list") {
		t.Error("nothing was asked")
	}
}
