package slack

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
)

// The example of https://docs.slack.dev/authentication/verifying-requests-from-slack, which is a slash command.
const (
	docSecret    = "8f742231b10e8888abcd99yyyzzz85a5"
	docTimestamp = "1531420618"
	docSignature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
	docBody      = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
		"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=" +
		"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
		"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)

// hookCall is a call for a link with a connection; settings "" is the integration's own address.
func hookCall(t testing.TB, settings, body string) *integration.HookCall {
	t.Helper()
	c := &integration.HookCall{
		Method: "POST", Header: http.Header{}, Body: []byte(body), ReceivedAt: time.Unix(1531420620, 0),
		Config: json.RawMessage(`{"signing_secret":"` + docSecret + `","previous_signing_secret":"older"}`),
	}
	if settings != "" {
		def := New().Definition()
		checked, err := def.Settings.Check(json.RawMessage(settings), integration.CheckOptions{Connected: true})
		if err != nil {
			t.Fatal(err)
		}
		if c.Settings, err = def.Decode(checked); err != nil {
			t.Fatal(err)
		}
		c.Link, c.Scope = 7, "acme/teams/1"
		con := connected()
		con.Credentials = patchbay.Credentials{}
		c.Connection = con
	}
	return c
}

func TestDocumentedSignature(t *testing.T) {
	c := hookCall(t, "", docBody)
	c.Header.Set("X-Slack-Request-Timestamp", docTimestamp)
	c.Header.Set("X-Slack-Signature", docSignature)
	v := New().Verification(c)
	verify := func(body string, secrets []patchbay.Secret, now time.Time) error {
		return v.Scheme.Verify(c.Header, "", "POST", []byte(body), secrets, now)
	}
	now := time.Unix(1531420618, 0)
	if err := verify(docBody, v.Secrets, now.Add(4*time.Minute)); err != nil {
		t.Errorf("the documented example is refused: %v", err)
	}
	if verify(docBody+" ", v.Secrets, now) == nil || verify(docBody, []patchbay.Secret{"older"}, now) == nil || verify(docBody, v.Secrets, now.Add(6*time.Minute)) == nil {
		t.Error("another body, another secret or an old call is accepted")
	}
	if diff := cmp.Diff([]patchbay.Secret{docSecret, "older"}, v.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	c.Config = nil
	if v := New().Verification(c); v.Scheme.Name != signature.Slack().Name || len(v.Secrets) != 0 {
		t.Errorf("without a signing secret calls are not refused: %+v", v)
	}
	own := hookCall(t, `{"signing_secret":"mine"}`, docBody)
	if v := New().Verification(own); len(v.Secrets) != 1 || v.Secrets[0] != "mine" {
		t.Errorf("an app of the link's own: %v", len(v.Secrets))
	}
}

// event makes a call of the Events API, as https://docs.slack.dev/reference/events/message shows one.
func eventOf(inner string) string {
	return `{"token":"XXYYZZ","team_id":"` + teamID + `","api_app_id":"A0KRD7HC3","event":` + inner + `,"type":"event_callback",` +
		`"authorizations":[{"enterprise_id":null,"team_id":"` + teamID + `","user_id":"` + botUser + `","is_bot":true,"is_enterprise_install":false}],` +
		`"event_id":"Ev123ABC456","event_time":1355517523}`
}

func commandOf(fields ...string) string {
	form := url.Values{
		"team_id": {teamID}, "team_domain": {"acme"}, "channel_id": {develop}, "channel_name": {"develop"}, "user_id": {"U123ABC456"},
		"user_name": {"ann"}, "command": {"/done"}, "text": {"Fixed the *login*"}, "trigger_id": {"1.2.3"}, "api_app_id": {"A0KRD7HC3"},
		"response_url": {"https://hooks.slack.com/commands/T/1/secret"}, "token": {"verification-token"},
	}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return form.Encode()
}

const buttonJSON = `{"type":"block_actions","user":{"id":"U123ABC456","username":"ann","team_id":"T123ABC456"},"api_app_id":"A0KRD7HC3","token":"t",` +
	`"trigger_id":"12.34","team":{"id":"T123ABC456","domain":"acme"},"channel":{"id":"C0123456789","name":"develop"},` +
	`"message":{"type":"message","text":"Release &lt;v1.2&gt;?","ts":"1548261231.000200"},"response_url":"https://hooks.slack.com/actions/secret",` +
	`"actions":[{"action_id":"approve","block_id":"release","text":{"type":"plain_text","text":"Approve"},"value":"v1.2","type":"button","action_ts":"1548426417.840180"}]}`

func TestOpen(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want integration.Envelope
		says string // the body of the answer holds it
	}{
		"challenge": {`{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}`,
			integration.Envelope{Type: "url_verification", Done: true}, `{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`},
		"message":      {eventOf(`{"type":"message","channel":"C1","user":"U1","text":"x","ts":"1.2"}`), integration.Envelope{Key: "Ev123ABC456", Type: "message", Account: teamID}, ""},
		"subtype":      {eventOf(`{"type":"message","subtype":"message_changed"}`), integration.Envelope{Key: "Ev123ABC456", Type: "message.message_changed", Account: teamID}, ""},
		"shared":       {`{"type":"event_callback","team_id":"T2","context_team_id":"T3","event_id":"E","event":{"type":"message"}}`, integration.Envelope{Key: "E", Type: "message", Account: "T3"}, ""},
		"another kind": {eventOf(`{"type":"team_join","user":{"id":"U1"},"text":7}`), integration.Envelope{Key: "Ev123ABC456", Type: "team_join", Account: teamID}, ""},
		"limited":      {`{"type":"app_rate_limited","team_id":"T1","minute_rate_limited":1518467820}`, integration.Envelope{Type: "app_rate_limited", Account: "T1"}, ""},
		"command":      {commandOf(), integration.Envelope{Key: "1.2.3", Type: "/done", Account: teamID}, "`/done` has been received."},
		"no text":      {commandOf("text", " "), integration.Envelope{Key: "1.2.3", Type: "/done", Account: teamID}, "write it after the command"},
		"hostile":      {commandOf("command", "/<!channel>`"), integration.Envelope{Key: "1.2.3", Type: "/<!channel>`", Account: teamID}, "`/&lt;!channel&gt;'`"},
		"button":       {"payload=" + url.QueryEscape(buttonJSON), integration.Envelope{Key: "12.34", Type: "block_actions", Account: teamID}, ""},
		"menu":         {"payload=" + url.QueryEscape(`{"type":"block_suggestion","team":{"id":"T1"}}`), integration.Envelope{Type: "block_suggestion", Account: "T1", Done: true}, `{"options":[]}`},
		"ssl":          {"ssl_check=1&token=x", integration.Envelope{Type: "ssl_check", Done: true}, ""},
		"the example":  {docBody, integration.Envelope{Key: "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", Type: "/webhook-collect", Account: "T1DC2JH3J"}, "received"},
	} {
		got, err := New().Open(hookCall(t, "", test.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer := got.Answer
		got.Answer = nil
		if diff := cmp.Diff(&test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		switch {
		case test.says == "" && answer != nil, test.says != "" && (answer == nil || !strings.Contains(string(answer.Body), test.says)):
			t.Errorf("%s is answered with %+v", name, answer)
		case answer != nil && (answer.Header.Get("Content-Type") != "application/json" || !json.Valid(answer.Body)):
			t.Errorf("%s: the answer is not JSON: %+v", name, answer)
		}
		if answer != nil && strings.Contains(name, "command") && !strings.Contains(string(answer.Body), `"response_type":"ephemeral"`) {
			t.Errorf("%s: everybody sees the answer: %s", name, answer.Body)
		}
	}
	for _, body := range []string{
		"", "{", "[]", "null", "x", "a=%zz", "payload=x", "payload=[]", `{"type":"url_verification"}`, `{"type":"else"}`, `{"type":7}`,
		`{"type":"url_verification","challenge":"` + strings.Repeat("x", maxChallenge+1) + `"}`,
	} {
		if got, err := New().Open(hookCall(t, "", body)); err == nil {
			t.Errorf("%.60q is opened: %+v", body, got)
		}
	}
}

// read reads a call for a link with settings, and checks each payload against the type's schema.
func read(t *testing.T, settings, body string) *integration.Reading {
	t.Helper()
	got, err := New().Read(t.Context(), hookCall(t, settings, body))
	if err != nil {
		t.Fatalf("%s: %v", settings, err)
	}
	for _, in := range got.Events {
		conforms(t, in.Type, in.Payload)
		for _, secret := range []string{"hooks.slack.com", "verification-token", "XXYYZZ"} {
			if bytes.Contains(in.Payload, []byte(secret)) {
				t.Errorf("%s: the payload shows %s: %s", in.Type, secret, in.Payload)
			}
		}
	}
	if (len(got.Events) == 0) == (got.Ignored == "") {
		t.Errorf("%s: %d events, ignored because %q", settings, len(got.Events), got.Ignored)
	}
	return got
}

func conforms(t testing.TB, key string, payload json.RawMessage) {
	t.Helper()
	for _, kind := range New().Definition().Types {
		if kind.Key != key {
			continue
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(kind.Schema))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("mem:///schema.json", doc); err != nil {
			t.Fatal(err)
		}
		schema, err := c.Compile("mem:///schema.json")
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%s: %s: %v", key, payload, err)
		}
		return
	}
	t.Errorf("the type %s is not declared", key)
}

func TestExamples(t *testing.T) {
	for _, kind := range New().Definition().Types {
		conforms(t, kind.Key, kind.Example)
		if !strings.HasPrefix(kind.Key, Key+".") || kind.Title == "" || kind.Description == "" || kind.Message == nil {
			t.Errorf("%s is not whole", kind.Key)
		}
	}
}

func TestMessages(t *testing.T) {
	const all, mentions, commands = `{"receive":"messages","entries":"messages"}`, `{"receive":"mentions","entries":"mentions"}`, `{"receive":"commands"}`
	message := func(more string) string {
		return eventOf(`{"type":"message","channel":"C0123456789","channel_type":"channel","user":"U123ABC456","text":"Fixed the *login* &lt;3 <@U9|bob>","ts":"1355517523.000005"` + more + `}`)
	}
	mention := strings.NewReplacer(`"type":"message"`, `"type":"app_mention"`, `Fixed`, `<@`+botUser+`>: Fixed`).Replace(message(""))
	got := read(t, all, message(`,"thread_ts":"1355517500.000001","user_profile":{"display_name":"Ann","image_72":"https://x.test/a.png"},"files":[{"id":"F1","name":"a.png","mimetype":"image/png","permalink":"https://acme.slack.com/files/F1"}]`))
	const link = "https://acme.slack.com/archives/C0123456789/p1355517523000005?cid=C0123456789&thread_ts=1355517500.000001"
	want := &integration.Reading{Events: []integration.Inbound{{
		Type: "slack.message", OccurredAt: time.Unix(1355517523, 5000).UTC(),
		Payload: json.RawMessage(`{"text":"Fixed the *login* <3 @bob","markdown":"Fixed the **login** \\<3 @bob","ts":"1355517523.000005","thread_ts":"1355517500.000001",` +
			`"url":"` + link + `","files":[{"id":"F1","name":"a.png","mimetype":"image/png","url":"https://acme.slack.com/files/F1"}],` +
			`"channel":{"id":"C0123456789","type":"channel"},"user":{"id":"U123ABC456","name":"Ann"},"team":{"id":"T123ABC456","name":"acme"}}`),
		Actor: &integration.Person{ID: "U123ABC456", Name: "Ann", Avatar: "https://x.test/a.png", URL: "https://acme.slack.com/team/U123ABC456"},
		Entry: &integration.Entry{Text: `Fixed the **login** \<3 @bob`, ExternalID: "C0123456789:1355517523.000005", ExternalURL: link},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, test := range map[string]struct {
		settings, body string
		event, entry   bool
	}{
		"a message, no entries":           {`{"receive":"messages"}`, message(""), true, false},
		"a message, entries of mentions":  {`{"receive":"messages","entries":"mentions"}`, message(""), true, false},
		"a message nobody wants":          {mentions, message(""), false, false},
		"a mention":                       {mentions, mention, true, true},
		"a mention whose message counts":  {all, mention, true, false},
		"a mention nobody wants":          {commands, mention, false, false},
		"a link that takes nothing":       {`{}`, message(""), false, false},
		"a channel it listens in":         {`{"receive":"messages","receive_channels":["#x (C99)","#develop (C0123456789)"]}`, message(""), true, false},
		"a channel it does not listen in": {`{"receive":"messages","receive_channels":["C0GENERAL01"]}`, message(""), false, false},
		"a file":                          {all, message(`,"subtype":"file_share"`), true, true},
		"shown in the channel":            {all, message(`,"subtype":"thread_broadcast"`), true, true},
		"of oneself":                      {all, message(`,"subtype":"me_message"`), true, true},
		"a change":                        {all, message(`,"subtype":"message_changed","hidden":true,"message":{"text":"x"}`), false, false},
		"a deletion":                      {all, message(`,"subtype":"message_deleted"`), false, false},
		"somebody joined":                 {all, message(`,"subtype":"channel_join"`), false, false},
		"our bot":                         {all, message(`,"bot_id":"B0BOT"`), false, false},
		"our app":                         {all, message(`,"app_id":"A0KRD7HC3"`), false, false},
		"our app, by its profile":         {all, message(`,"bot_id":"B7","bot_profile":{"app_id":"A0KRD7HC3"}`), false, false},
		"our bot's user":                  {all, strings.Replace(message(""), `"user":"U123ABC456"`, `"user":"`+botUser+`"`, 1), false, false},
		"our webhook":                     {`{"receive":"messages","url":"https://hooks.slack.com/services/T1/B77/x"}`, message(`,"subtype":"bot_message","bot_id":"B77"`), false, false},
		"another bot":                     {all, message(`,"bot_id":"B8"`), false, false},
		"without a user":                  {all, eventOf(`{"type":"message","channel":"C1","text":"x","ts":"1.2"}`), false, false},
		"without a text":                  {all, strings.Replace(message(""), `Fixed the *login* &lt;3 <@U9|bob>`, ``, 1), true, false},
		"another type":                    {all, eventOf(`{"type":"reaction_added","user":"U1","item":{}}`), false, false},
		"another workspace":               {all, strings.ReplaceAll(message(""), teamID, "T9"), false, false},
		"another app":                     {all, strings.Replace(message(""), `"api_app_id":"A0KRD7HC3"`, `"api_app_id":"A9"`, 1), false, false},
		"uninstalled":                     {commands, eventOf(`{"type":"app_uninstalled"}`), true, false},
		"the bot's token revoked":         {commands, eventOf(`{"type":"tokens_revoked","tokens":{"oauth":["U1"],"bot":["U2"]}}`), true, false},
		"a person's token revoked":        {commands, eventOf(`{"type":"tokens_revoked","tokens":{"oauth":["U1"]}}`), false, false},
		"held back":                       {all, `{"type":"app_rate_limited","team_id":"` + teamID + `"}`, false, false},
	} {
		got := read(t, test.settings, test.body)
		if (len(got.Events) == 1) != test.event || test.event && (got.Events[0].Entry != nil) != test.entry {
			t.Errorf("%s: %+v, ignored because %q", name, got.Events, got.Ignored)
		}
	}
	if got := read(t, mentions, mention).Events[0]; got.Type != "slack.mention" || got.Entry.Text != `Fixed the **login** \<3 @bob` {
		t.Errorf("a mention: %+v", got.Entry)
	}
	if !read(t, commands, eventOf(`{"type":"app_uninstalled"}`)).Ended || read(t, commands, eventOf(`{"type":"tokens_revoked","tokens":{"oauth":["U1"]}}`)).Ended ||
		read(t, all, message("")).Ended {
		t.Error("the connection is doubted without need, or is not")
	}
	if got := read(t, commands, eventOf(`{"type":"app_uninstalled"}`)).Events[0]; got.Type != "slack.app_uninstalled" ||
		string(got.Payload) != `{"reason":"app_uninstalled","team":{"id":"T123ABC456","name":"acme"}}` || got.OccurredAt.Unix() != 1355517523 {
		t.Errorf("%+v %s", got, got.Payload)
	}
	for settings, want := range map[string]string{
		`{"receive":"messages","receive_channels":["#develop (C0123456789)"]}`: `"channel":{"id":"C0123456789","name":"develop","type":"channel"}`,
		`{"receive":"messages","channel":"#develop (C0123456789)"}`:            `"channel":{"id":"C0123456789","name":"develop","type":"channel"}`,
		`{"receive":"messages","channel":"#develop"}`:                          `"channel":{"id":"C0123456789","type":"channel"}`,
	} {
		if got := read(t, settings, message("")); !strings.Contains(string(got.Events[0].Payload), want) {
			t.Errorf("%s: %s", settings, got.Events[0].Payload)
		}
	}
	if _, err := New().Read(t.Context(), hookCall(t, all, eventOf(`{"type":"message","text":{}}`))); err == nil {
		t.Error("a message that is none is read")
	}
}

func TestCommands(t *testing.T) {
	const on = `{"receive":"commands"}`
	got := read(t, on, commandOf("text", "Fixed the *login* in <#C9|web> &amp; <https://x.test/a_b|docs>"))
	want := &integration.Reading{Events: []integration.Inbound{{
		Type: "slack.command",
		Payload: json.RawMessage(`{"command":"/done","text":"Fixed the *login* in #web & docs (https://x.test/a_b)","markdown":"Fixed the **login** in #web & [docs](https://x.test/a%5Fb)",` +
			`"channel":{"id":"C0123456789","name":"develop"},"user":{"id":"U123ABC456","name":"ann"},"team":{"id":"T123ABC456","name":"acme"}}`),
		Actor: &integration.Person{ID: "U123ABC456", Name: "ann", URL: "https://acme.slack.com/team/U123ABC456"},
		Entry: &integration.Entry{Text: "Fixed the **login** in #web & [docs](https://x.test/a%5Fb)", ExternalID: "1.2.3"},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, test := range map[string]struct {
		settings, body string
		event, entry   bool
	}{
		"another command":              {on, commandOf("command", "/weather"), true, false},
		"a command of the link's":      {`{"receive":"commands","command_entry":["/Shipped"]}`, commandOf("command", "/shipped"), true, true},
		"not of the link's":            {`{"receive":"commands","command_entry":["/shipped"]}`, commandOf(), true, false},
		"no entries":                   {`{"receive":"commands","entries":"nothing"}`, commandOf(), true, false},
		"entries of messages too":      {`{"receive":"messages","entries":"messages"}`, commandOf(), true, true},
		"no text":                      {on, commandOf("text", "  "), true, false},
		"a channel it listens in":      {`{"receive":"commands","receive_channels":"C0123456789"}`, commandOf(), true, true},
		"another channel":              {`{"receive":"commands","receive_channels":"C0GENERAL01"}`, commandOf(), false, false},
		"another workspace":            {on, commandOf("team_id", "T9"), false, false},
		"another app":                  {on, commandOf("api_app_id", "A9"), false, false},
		"an ssl check":                 {on, "ssl_check=1", false, false},
		"a link that takes nothing":    {`{}`, commandOf(), false, false},
		"a button":                     {on, "payload=" + url.QueryEscape(buttonJSON), true, false},
		"a button in another channel":  {`{"receive":"commands","receive_channels":"C0GENERAL01"}`, "payload=" + url.QueryEscape(buttonJSON), false, false},
		"a button of another app":      {on, "payload=" + url.QueryEscape(strings.Replace(buttonJSON, "A0KRD7HC3", "A9", 1)), false, false},
		"an interaction without a use": {on, "payload=" + url.QueryEscape(`{"type":"workflow_step_edit"}`), false, false},
		"a form": {on, "payload=" + url.QueryEscape(`{"type":"view_submission","team":{"id":"T123ABC456"},"user":{"id":"U1","name":"ann"},`+
			`"view":{"callback_id":"standup","state":{"values":{"b":{"a":{"value":"x"}}}}}}`), true, false},
	} {
		got := read(t, test.settings, test.body)
		if (len(got.Events) == 1) != test.event || test.event && (got.Events[0].Entry != nil) != test.entry {
			t.Errorf("%s: %+v, ignored because %q", name, got.Events, got.Ignored)
		}
	}
	button := read(t, on, "payload="+url.QueryEscape(buttonJSON)).Events[0]
	wantButton := `{"kind":"block_actions","actions":[{"action_id":"approve","block_id":"release","type":"button","value":"v1.2","text":"Approve"}],` +
		`"message":{"text":"Release <v1.2>?","markdown":"Release \\<v1.2>?","ts":"1548261231.000200","url":"https://acme.slack.com/archives/C0123456789/p1548261231000200"},` +
		`"channel":{"id":"C0123456789","name":"develop"},"user":{"id":"U123ABC456","name":"ann"},"team":{"id":"T123ABC456","name":"acme"}}`
	if string(button.Payload) != wantButton || button.OccurredAt != time.Unix(1548426417, 840180000).UTC() {
		t.Errorf("%s at %s", button.Payload, button.OccurredAt)
	}
}

// At its own address a link needs no connection.
func TestWithoutConnection(t *testing.T) {
	c := hookCall(t, `{"receive":"commands","signing_secret":"mine"}`, commandOf())
	c.Connection = nil
	got, err := New().Read(t.Context(), c)
	if err != nil || len(got.Events) != 1 || got.Events[0].Actor.URL != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReceivingSettings(t *testing.T) {
	def := New().Definition()
	for raw, ok := range map[string]bool{
		`{"receive_channels":["#develop (C0123456789)","C0GENERAL01"]}`: true,
		`{"receive_channels":["#develop"]}`:                             false,
		`{"command_entry":["done"]}`:                                    false,
		`{"command_entry":["/done now"]}`:                               false,
		`{"receive":"all"}`:                                             false,
		`{"thread_mode":"x"}`:                                           false,
	} {
		checked, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{Connected: true})
		if err == nil {
			_, err = def.Decode(checked)
		}
		if (err == nil) != ok || err != nil && patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for receive, want := range map[string]bool{"": false, levelNothing: false, levelCommands: true, levelMentions: true, levelMessages: true} {
		if def.Hooked(&Settings{Receive: receive}) != want {
			t.Errorf("receive %q: hooked is not %v", receive, want)
		}
	}
}

// FuzzHook: whatever is sent, reading it ends, says the same again, and makes payloads of its types.
func FuzzHook(f *testing.F) {
	for _, body := range []string{
		docBody, commandOf(), eventOf(`{"type":"message","channel":"C1","user":"U1","text":"x","ts":"1.2"}`), "payload=" + url.QueryEscape(buttonJSON),
		eventOf(`{"type":"app_mention","user":{"id":"U1"},"channel":{"id":"C1"},"text":"<@U0KRQLJ9H> x","ts":"999999999999999999999.9"}`),
		`{"type":"url_verification","challenge":"x"}`, `{"event":{"type":"message","bot_profile":null}}`, "command=x&text=%ff", "payload={\"view\":{\"state\":{\"values\":[]}}}",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c := hookCall(t, `{"receive":"messages","entries":"messages"}`, body)
		before := string(c.Body)
		e, err := New().Open(c)
		if err != nil {
			return
		}
		if e.Answer != nil && !json.Valid(e.Answer.Body) {
			t.Errorf("%q is answered with what is no JSON: %q", body, e.Answer.Body)
		}
		first, err := New().Read(t.Context(), c)
		again, errAgain := New().Read(t.Context(), c)
		if (err == nil) != (errAgain == nil) || !cmp.Equal(first, again) || string(c.Body) != before {
			t.Errorf("%q reads differently the second time, or was changed", body)
		}
		if err != nil {
			return
		}
		for _, in := range first.Events {
			conforms(t, in.Type, in.Payload)
		}
	})
}

func TestTimeOf(t *testing.T) {
	for ts, want := range map[string]int64{
		"1355517523.000005": 1355517523000005, "1355517523": 1355517523000000, "": 0, "x.1": 0, "-5.000001": 0, "99999999999999999999": 0,
		"1355517523.x00005": 1355517523000000,
	} {
		got := timeOf(ts)
		if want == 0 && !got.IsZero() || want != 0 && got.UnixMicro() != want {
			t.Errorf("%s is %s (%s), want %d", ts, got, strconv.FormatInt(got.UnixMicro(), 10), want)
		}
	}
}
