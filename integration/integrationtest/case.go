// Package integrationtest is the contract kit: one call of Run in an integration's test checks everything that the
// engine, the API and the users of an integration rely on. It runs against a real HTTP server that plays the partner,
// and reaches nothing else.
//
// What an integration sends is its own tests' business; what it makes of every answer, that it shows no secret, that
// text from outside cannot become markup, that it ends when it is told to and sends nothing in a preview is checked
// here.
package integrationtest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// Case is an integration with what the kit must know of it.
type Case struct {
	// Integration is a Sender.
	Integration integration.Sender
	// Settings are valid, and lead to {{URL}}, which stands for the partner's address without a slash at its end.
	Settings string
	// Secrets are the texts in Settings that nobody may see.
	Secrets []string
	// Config is the operator's configuration, as Settings are a link's. "" means none.
	Config string
	// Connection is the one that the link uses, if it uses one. Nobody may see its credentials.
	Connection *integration.Connected
	// Consumer comes with the delivery, if the integration signs with one.
	Consumer *integration.OAuthConsumer
	// Partner answers when all is well. nil answers 200 and "ok".
	Partner http.Handler
	// Event and Message are what is sent; nil takes a push to a repository.
	Event   *patchbay.Event
	Message *patchbay.Message
	// Statuses are the verdicts on those answers that the integration judges in another way than
	// integration.Classify. A verdict holds for whichever request the answer is to; EveryStatus, when not nil, replaces
	// both and may look at the request too.
	Statuses    map[int]Want
	EveryStatus func(r *http.Request, status int) Want
	// Clean checks that hostile, which stood in the message and the payload, is plain text in a body that was sent and
	// nothing more. nil only checks that a body that begins like JSON is JSON.
	Clean func(t *testing.T, body []byte, hostile string)
	// MaxBody is the most that one request may send, whatever is in the event. 0 means 4 MiB.
	MaxBody int
	// NoHTTP is for integrations that do not speak HTTP: what needs an HTTP partner is left out, and a preview must
	// call Env.Record once. Such an integration finds a Dial in its Env that reaches this machine only.
	NoHTTP bool
}

// Want is what an integration makes of an answer.
type Want struct {
	Verdict   patchbay.Verdict
	Type      patchbay.Code
	Throttled bool
	Disable   bool
}

// The verdicts that most answers get.
var (
	Delivered     = Want{Verdict: patchbay.VerdictDelivered}
	Retry         = Want{Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError}
	Throttled     = Want{Verdict: patchbay.VerdictRetry, Type: patchbay.CodeServiceError, Throttled: true}
	UserError     = Want{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeUserConfigurationError}
	Misconfigured = Want{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeMisconfiguredIntegration}
	Gone          = Want{Verdict: patchbay.VerdictRejected, Type: patchbay.CodeUserConfigurationError, Disable: true}
)

func wantOf(r integration.Result) Want {
	return Want{Verdict: r.Verdict, Type: r.Type, Throttled: r.Throttled, Disable: r.Disable}
}

// Run checks the case.
func Run(t *testing.T, c Case) {
	t.Helper()
	k := &kit{Case: c, def: c.Integration.Definition()}
	if k.MaxBody == 0 {
		k.MaxBody = 4 << 20
	}
	if k.Event == nil {
		k.Event = sampleEvent()
	}
	if k.Message == nil {
		k.Message = sampleMessage()
	}
	k.decode(t, k.check(t, "http://127.0.0.1:1")) // without settings there is nothing to check
	t.Run("definition", k.definition)
	t.Run("settings", k.settings)
	t.Run("secrets in settings", k.settingsSecrets)
	t.Run("delivered", k.delivered)
	t.Run("preview", k.preview)
	t.Run("hostile text", k.hostile)
	t.Run("large event", k.large)
	t.Run("unrenderable", k.unrenderable)
	t.Run("test event", k.testEvent)
	if c.NoHTTP {
		return
	}
	t.Run("statuses", k.statuses)
	t.Run("unreachable", k.unreachable)
	t.Run("garbage", k.garbage)
	t.Run("endless body", k.endless)
	t.Run("cancelled", k.cancelled)
}

type kit struct {
	Case
	def *integration.Definition
}

func sampleEvent() *patchbay.Event {
	seq := patchbay.NewSequence(0, 0, nil)
	return &patchbay.Event{
		ID: patchbay.EventID(seq.Take(1)), Type: "repo.push", Scope: "acme/repos/web",
		Payload:    json.RawMessage(`{"name":"repo.push","repo":{"id":7,"name":"web"},"push":{"commits":[{"id":"abc","message":"Fix"}]},"big":12345678901234567890,"exact":1.50}`),
		Actor:      json.RawMessage(`{"name":"Ada"}`),
		OccurredAt: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), ReceivedAt: time.Date(2026, 11, 22, 12, 0, 1, 0, time.UTC),
		Source: patchbay.Source{Kind: patchbay.SourceAPI},
	}
}

func sampleMessage() *patchbay.Message {
	return &patchbay.Message{
		Title: "Ada pushed to web", Text: "**1 commit** to `main`", Severity: patchbay.SeverityInfo,
		Fields: []patchbay.Field{{Title: "Branch", Value: "main", Short: true}, {Title: "Commit", Value: "[abc](https://code.example.test/abc)"}},
		Links:  []patchbay.URL{{Title: "Show", URL: "https://code.example.test/web"}},
		Actor:  &patchbay.Actor{Name: "Ada", URL: "https://code.example.test/ada"},
		Thread: "repo/web", Labels: []string{"push"},
	}
}

// hostileTexts try to become something else than text: markup, mentions, headers, templates, the end of a string.
var hostileTexts = []string{
	"<script>alert(1)</script><img src=x onerror=alert(1)>",
	"<!channel> <!here> <@U123> <#C1> @everyone @here <https://evil.test|good>",
	"[good](https://evil.test) ![x](https://evil.test/x.png) [x](javascript:alert(1)) <https://evil.test>",
	"*bold* _it_ ~no~ `code` ```\nblock\n``` # title\n> quote\n- list\n| a | b |\n---",
	"a\r\nBcc: everyone@evil.test\r\n\r\n<b>body</b>",
	"\x00\x01\x07\x1b[31mred\x1b[0m\x7f\u0085\u2028\u202Eright to left\u200b",
	`"}],"text":"injected","x":[{"y":"\`,
	"{{.payload}} ${payload.id} %s %n $(id) `id` ; DROP TABLE x --",
	"[~admin] [http://evil.test|good] {noformat} {html}<b>x</b>{html} !http://evil.test/x.png! h1. title",
	"&lt;b&gt; &amp; &#60;script&#62; %3Cscript%3E",
}

// withText returns the sample message with a hostile text in every place where an event's text can stand.
func withText(text string) *patchbay.Message {
	m := sampleMessage()
	escaped := markup.Escape(text)
	line := strings.Join(strings.FieldsFunc(text, unicode.IsControl), " ") // as a message promises of thread and labels
	line = strings.ToValidUTF8(line[:min(len(line), patchbay.MaxThreadLength)], "")
	m.Title, m.Text, m.Thread, m.Labels = text, escaped, line, []string{line}
	m.Fields = []patchbay.Field{{Title: text, Value: escaped, Short: true}, {Title: "Field", Value: escaped}}
	m.Links = []patchbay.URL{{Title: text, URL: "https://code.example.test/?q=%3Cb%3E"}}
	m.Actor = &patchbay.Actor{Name: text, URL: "https://code.example.test/a'b"}
	return m
}
