package reference

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/catalog"
)

func open(t testing.TB, source string) *catalog.Catalog {
	t.Helper()
	o := catalog.Options{}
	for _, i := range all.Integrations() {
		o.Extra = append(o.Extra, i.Definition().Types...)
	}
	if source != "" {
		name := filepath.Join(t.TempDir(), "catalog.yaml")
		if err := os.WriteFile(name, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Files = []string{name}
	}
	c, err := catalog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEveryType: every type that there is can be shown in each way, and each webhook's signature is right.
func TestEveryType(t *testing.T) {
	wh, err := standardwebhooks.NewWebhook(Secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range open(t, "").Types() {
		shown := Integrations(all.Integrations()).Show(t.Context(), kind)
		for name, p := range map[string]Part{"Slack": shown.Slack.Part, "mail": shown.Mail.Part, "webhook": shown.Webhook.Part} {
			if p.Trouble != "" {
				t.Errorf("%s as %s: %s", kind.Key(), name, p.Trouble)
			}
		}
		if !shown.Slack.Skipped && (len(shown.Slack.Attachments) == 0 || !json.Valid(shown.Slack.Body)) {
			t.Errorf("%s: Slack gets %s", kind.Key(), shown.Slack.Body)
		}
		if m := shown.Mail; !m.Skipped && (m.Subject == "" || !strings.Contains(m.HTML, "<!doctype html>") || !strings.Contains(m.Text, kind.Key()) || m.To != "you@example.com") {
			t.Errorf("%s: the mail is %+v", kind.Key(), m)
		}
		if len(shown.Webhook.Formats) < 5 {
			t.Errorf("%s: the webhook has %d formats", kind.Key(), len(shown.Webhook.Formats))
		}
		for _, f := range shown.Webhook.Formats {
			h := http.Header{}
			for _, x := range f.Header {
				h.Set(x.Name, x.Value)
			}
			if err := wh.VerifyIgnoringTimestamp(f.Body, h); err != nil {
				t.Errorf("%s as %s: %v", kind.Key(), f.Key, err)
			}
		}
	}
}

const hostile = `version: 1
types:
  - key: x
    title: "<script>alert(1)</script> & \"Co\""
    description: "</td><img src=x onerror=alert(1)>"
    schema: {type: object, properties: {a: {type: string, description: "</table><script>"}}}
    example: {a: "<img src=x onerror=alert(1)> *bold* <!channel> <https://evil.test|click> </blockquote>\r\nBcc: everybody@example.com"}
    message:
      title: "{{.payload.a}}"
      text: "{{.payload.a}}"
      fields: [{title: "{{.payload.a}}", value: "{{.payload.a}}"}]
  - key: quiet
    title: Quiet
    message: {overrides: {chat: {skip: true}, email: {skip: true}}}
`

// markupMade are the tags that drawing Slack's markup makes.
var markupMade = regexp.MustCompile(`</?(strong|em|s|code|pre|blockquote)>|<br>|<a href="https?://[^"<>]*" rel="noreferrer">|</a>`)

func TestHostileText(t *testing.T) {
	c := open(t, hostile)
	shown := Integrations(all.Integrations()).Show(t.Context(), c.Type("x"))
	for _, a := range shown.Slack.Attachments {
		for _, drawn := range []string{string(a.Text), string(a.Fields[0].Value)} {
			if left := markupMade.ReplaceAllString(drawn, ""); strings.ContainsAny(left, "<>") || strings.Contains(drawn, "<a ") {
				t.Errorf("text became markup: %s", drawn)
			}
		}
	}
	if strings.Contains(shown.Mail.HTML, "<img") || strings.Contains(shown.Mail.HTML, "<script") || strings.Contains(shown.Mail.To, "everybody") {
		t.Errorf("text became markup: %+v", shown.Mail)
	}
}

func TestSkipped(t *testing.T) {
	shown := Integrations(all.Integrations()).Show(t.Context(), open(t, hostile).Type("quiet"))
	if !shown.Slack.Skipped || !shown.Mail.Skipped || shown.Webhook.Skipped {
		t.Errorf("%+v", shown)
	}
}

// rogue is an integration with the name of another, which has other settings or panics.
type rogue struct {
	key string
	do  func(*integration.Delivery) integration.Result
}

func (r rogue) Definition() *integration.Definition {
	return &integration.Definition{
		Key: r.key, Title: "Rogue", Decode: integration.Into[map[string]any],
		Settings: integration.Spec{
			{Key: "url", Type: integration.TypeString}, {Key: "secret", Type: integration.TypeString}, {Key: "to", Type: integration.TypeList},
			{Key: "host", Type: integration.TypeString}, {Key: "from", Type: integration.TypeString},
			{Key: "format", Type: integration.TypeSelect, Options: []integration.Option{{Value: "a"}}},
		},
	}
}

func (r rogue) Send(_ context.Context, d *integration.Delivery) integration.Result { return r.do(d) }

// TestOthers: a custom build may have integrations of its own under the known names. What cannot be shown says why.
func TestOthers(t *testing.T) {
	kind := open(t, "").Type(catalog.TypeTest)
	for says, do := range map[string]func(*integration.Delivery) integration.Result{
		"panics":  func(*integration.Delivery) integration.Result { panic("boom") },
		"nothing": func(*integration.Delivery) integration.Result { return integration.UserError("it does not want to") },
		"nonsense": func(d *integration.Delivery) integration.Result {
			d.Env.Record(integration.Exchange{Body: []byte("nonsense")})
			return integration.Delivered()
		},
		"dials": func(d *integration.Delivery) integration.Result {
			_, err := d.Env.Dial(t.Context(), "tcp", "example.com:25")
			return integration.Unreachable("it", err)
		},
	} {
		shown := Integrations{rogue{"slack", do}, rogue{"email", do}, rogue{"webhook", do}}.Show(t.Context(), kind)
		if shown.Slack.Trouble == "" || shown.Mail.Trouble == "" || says != "nonsense" && shown.Webhook.Trouble == "" {
			t.Errorf("%s: %+v %+v %+v", says, shown.Slack, shown.Mail, shown.Webhook)
		}
	}
	if shown := (Integrations{}).Show(t.Context(), kind); shown.Slack != nil || shown.Mail != nil || shown.Webhook != nil {
		t.Errorf("%+v", shown)
	}
	if Event(kind).Scope != exampleScope || Event(kind).ID == patchbay.EventID(0) {
		t.Error("the example event is not complete")
	}
}

func TestDrawMrkdwn(t *testing.T) {
	for in, want := range map[string]string{
		"plain &lt;b&gt; &amp;amp;":                   "plain &lt;b&gt; &amp;amp;",
		"*bold* _it_ ~no~ `a*b*`":                     "<strong>bold</strong> <em>it</em> <s>no</s> <code>a*b*</code>",
		"2*3*4 snake_case_name":                       "2*3*4 snake_case_name",
		"*bold with _both_*.":                         "<strong>bold with <em>both</em></strong>.",
		"<https://a.test/?x=1&amp;y=2|A ¦ &lt;b&gt;>": `<a href="https://a.test/?x=1&amp;y=2" rel="noreferrer">A ¦ &lt;b&gt;</a>`,
		"<https://a.test>":                            `<a href="https://a.test" rel="noreferrer">https://a.test</a>`,
		"<!channel> <javascript:alert(1)|x>":          "&lt;!channel&gt; &lt;javascript:alert(1)|x&gt;",
		"one\ntwo\n&gt; quoted\n> more\nlast":         "one<br>two<blockquote>quoted<br>more</blockquote>last",
		"a\n```\nx < *y*\n```\nb":                     "a<br><pre>x &lt; *y*</pre>b",
		"* not bold*":                                 "* not bold*",
		"":                                            "",
	} {
		if got := string(drawMrkdwn(in)); got != want {
			t.Errorf("%q is drawn as\n%s, want\n%s", in, got, want)
		}
	}
}

func FuzzDrawMrkdwn(f *testing.F) {
	for _, s := range []string{"*a* _b_ `c` <https://x.test|y>", "> q\n```code```", "<https://x.test\"onclick=|y>", "**__~~``<<>>||", "*_~*_~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		drawn := string(drawMrkdwn(s))
		if left := markupMade.ReplaceAllString(drawn, ""); strings.ContainsAny(left, "<>") {
			t.Errorf("%q became markup: %s", s, drawn)
		}
		if len(drawn) > 40*len(s)+100 {
			t.Errorf("%d bytes became %d", len(s), len(drawn))
		}
	})
}

func FuzzReadMail(f *testing.F) {
	f.Add([]byte("Subject: x\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n"))
	f.Add([]byte("Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=3D=\r\n"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		_ = (&Mail{}).read(raw) // it must end, and not panic
	})
}

func BenchmarkShow(b *testing.B) {
	kind := open(b, "").Type("repo.push")
	integrations := Integrations(all.Integrations())
	for b.Loop() {
		integrations.Show(b.Context(), kind)
	}
}
