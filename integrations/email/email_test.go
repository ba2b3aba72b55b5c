package email

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// own are settings with a server of the link's own; the port is still missing.
const own = `{"to": ["ops@example.com", "Ann <ann@example.com>"], "cc": ["cc@example.com"], "bcc": ["secret@example.com"], "subject_prefix": "[web]",
	"reply_to": "team@example.com", "host": "127.0.0.1", "port": %d, "username": "patchbay", "password": "hunter2-is-secret",
	"from": "patchbay@example.com", "from_name": "Pätchbay"}`

// open are settings for a server that neither encrypts nor asks who we are.
const open = `{"to": ["ops@example.com"], "host": "127.0.0.1", "port": %d, "encryption": "none", "from": "patchbay@example.com"}`

// failure is Rainforest's run_test_failure as its catalog renders it.
func failure() *integration.Message {
	const page = "https://app.rainforestqa.com/runs/9382"
	return &integration.Message{
		Title:    "Rainforest found a bug in 'My <failing> test'",
		Text:     `Your Rainforest Run ([Run \#9382\: nightly](` + page + `)) has a failed test\!`,
		Severity: patchbay.SeverityError,
		Fields: []patchbay.Field{
			{Title: "Failed Test", Value: markup.Link("Test #7: My <failing> test", page+"/tests/7?a=1&b=2"), Short: true},
			{Title: "Environment", Value: `QA \<Environment\>`, Short: true},
			{Title: "Empty", Value: ""},
			{Title: "Feedback", Value: "It **broke**\\.\n\nTwice"},
		},
		Links:  []patchbay.URL{{Title: "Open the run", URL: page}, {Title: "bad", URL: "javascript:x"}},
		Actor:  &patchbay.Actor{Name: "Ann & co", URL: "https://example.com/ann?a=1&b=2"},
		Thread: "run/9382",
	}
}

// parts takes a mail apart.
func parts(t *testing.T, data string) (h netmail.Header, plain, html string) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatalf("not a mail: %v\n%s", err, data)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind == "text/plain" {
		b, _ := io.ReadAll(quotedprintable.NewReader(m.Body))
		return m.Header, string(b), ""
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	var found []string
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p) // which decodes quoted-printable
		found = append(found, p.Header.Get("Content-Type"), strings.ReplaceAll(string(b), "\r\n", "\n"))
	}
	if len(found) != 4 || found[0] != "text/plain; charset=utf-8" || found[2] != "text/html; charset=utf-8" {
		t.Fatalf("the parts are %q", found)
	}
	return m.Header, found[1], found[3]
}

func TestSend(t *testing.T) {
	o := (&office{mechanisms: []string{"PLAIN", "LOGIN"}}).start(t, false)
	d, records := delivery(t, own, o.port, failure())
	r := trusting().Send(t.Context(), d)
	if r.Verdict != patchbay.VerdictDelivered || r.Reference != "<"+d.ID.String()+"@example.com>" || r.Code != 250 {
		t.Fatalf("%+v", r)
	}
	mails := o.got()
	if len(mails) != 1 {
		t.Fatalf("%d mails arrived", len(mails))
	}
	got := mails[0]
	want := received{from: "patchbay@example.com", to: []string{"ops@example.com", "ann@example.com", "cc@example.com", "secret@example.com"}, tls: true, user: user, data: got.data}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(received{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(got.data, "secret@example.com") {
		t.Error("the mail shows who gets a blind copy")
	}
	h, _, _ := parts(t, got.data)
	for name, want := range map[string]string{
		"From": "=?utf-8?b?UMOkdGNoYmF5?= <patchbay@example.com>", "To": `ops@example.com, "Ann" <ann@example.com>`, "Cc": "cc@example.com",
		"Reply-To": "team@example.com", "Subject": "[web] Rainforest found a bug in 'My <failing> test'", "Date": "Sun, 22 Nov 2026 10:00:00 +0000",
		"Message-Id": r.Reference, "Auto-Submitted": "auto-generated", "Mime-Version": "1.0", "Bcc": "", "References": "", "In-Reply-To": "", "Importance": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(*records) != 1 {
		t.Fatalf("%d records", len(*records))
	}
	x := (*records)[0]
	if x.Method != "SMTP" || !strings.HasPrefix(x.URL, "smtp://127.0.0.1:") || x.ResponseCode != 250 || x.Header.Get("Subject") != h.Get("Subject") || x.Header.Get("To") != h.Get("To") {
		t.Errorf("the record is %+v", x)
	}
}

// The whole mail, byte for byte. PATCHBAY_UPDATE_GOLDEN=1 writes the file.
func TestGolden(t *testing.T) {
	d, records := delivery(t, own, 25, failure())
	d.Preview = true
	d.Env.Dial = func(context.Context, string, string) (net.Conn, error) {
		t.Error("a preview dials")
		return nil, errNoConnection
	}
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictRetry {
		t.Errorf("%+v", r)
	}
	body := (*records)[0].Body
	for i, line := range strings.Split(string(body), "\r\n") {
		if len(line) > 100 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %d is long or broken: %q", i+1, line)
		}
	}
	_, plain, html := parts(t, string(body))
	for file, got := range map[string]string{"failure.eml": strings.ReplaceAll(string(body), "\r\n", "\n"), "failure.txt": plain, "failure.html": html} {
		file = "testdata/" + file
		if os.Getenv("PATCHBAY_UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// Mails of one thread answer its first one, and keep answering it.
func TestThread(t *testing.T) {
	o := (&office{}).start(t, false)
	d, _ := delivery(t, open, o.port, failure())
	first := trusting().Send(t.Context(), d)
	d.ID, d.Reference = d.ID+1<<22, first.Reference
	second := trusting().Send(t.Context(), d)
	if second.Reference != first.Reference {
		t.Errorf("the thread's reference changed from %q to %q", first.Reference, second.Reference)
	}
	h, _, _ := parts(t, o.got()[1].data)
	if h.Get("In-Reply-To") != first.Reference || h.Get("References") != first.Reference || h.Get("Message-ID") == first.Reference {
		t.Errorf("the second mail is %v", h)
	}
	for _, forged := range []string{"<a@b>\r\nBcc: x@evil.test", "a@b", "<>", "<a b@c>", "<a><b>", "<" + strings.Repeat("a", 400) + ">", "<ä@b>"} {
		if got := reference(forged); got != "" {
			t.Errorf("%q counts as a Message-ID", forged)
		}
	}
}

// An attempt that is made again sends the very same Message-ID.
func TestMessageIDIsStable(t *testing.T) {
	o := (&office{}).start(t, false)
	d, _ := delivery(t, open, o.port, failure())
	for range 2 {
		trusting().Send(t.Context(), d)
		d.Attempt++
	}
	first, _, _ := parts(t, o.got()[0].data)
	second, _, _ := parts(t, o.got()[1].data)
	if first.Get("Message-ID") != second.Get("Message-ID") {
		t.Error("the Message-ID changed")
	}
	d.ID = 0
	if id := messageID(d, "a@b.test"); id != "<"+d.Event.ID.String()+"@b.test>" {
		t.Error(id)
	}
	d.Event = nil
	if id := messageID(d, "a@bücher.test"); id != "<test.1795341600000000000@patchbay.invalid>" {
		t.Error(id)
	}
}

func TestEncryptionAndSignIn(t *testing.T) {
	for _, test := range []struct {
		name, settings string
		mechanisms     []string
		implicit       bool
		insecure       bool
		wantTLS        bool
	}{
		{"starttls and LOGIN", `"encryption": "starttls", "username": "patchbay", "password": "hunter2-is-secret"`, []string{"LOGIN"}, false, false, true},
		{"tls and PLAIN", `"encryption": "tls", "username": "patchbay", "password": "hunter2-is-secret"`, []string{"PLAIN"}, true, false, true},
		{"none and nobody", `"encryption": "none"`, nil, false, false, false},
		{"none and PLAIN", `"encryption": "none", "username": "patchbay", "password": "hunter2-is-secret"`, []string{"PLAIN"}, false, true, false},
	} {
		o := (&office{mechanisms: test.mechanisms}).start(t, test.implicit)
		o.AllowInsecureAuth = test.insecure
		d, _ := delivery(t, `{"to": "ops@example.com", "host": "127.0.0.1", "port": %d, "from": "p@example.com", `+test.settings+`}`, o.port, failure())
		if r := trusting().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
			t.Errorf("%s: %+v", test.name, r)
		} else if got := o.got()[0]; got.tls != test.wantTLS {
			t.Errorf("%s: %+v", test.name, got)
		}
		if r := trusting().Test(t.Context(), d); r.Verdict != patchbay.VerdictDelivered || len(o.got()) != 1 {
			t.Errorf("%s: the test: %+v, %d mails", test.name, r, len(o.got()))
		}
	}
}

// The password is proved, not sent, where everybody could read it. The answer is the example of RFC 2195.
func TestCRAMMD5(t *testing.T) {
	s := polite().with("EHLO", "250-hi\n250 AUTH PLAIN CRAM-MD5", "AUTH CRAM-MD5", "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+",
		"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw", "235 welcome")
	port, heard := s.start(t)
	d, _ := delivery(t, `{"to": "ops@example.com", "host": "127.0.0.1", "port": %d, "encryption": "none", "from": "p@example.com", "username": "tim", "password": "tanstaaftanstaaf"}`, port, failure())
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
		t.Errorf("%+v\n%s", r, heard())
	}
}

// Some recipients are refused: the others have the mail, and the attempt says who has not.
func TestSomeRefused(t *testing.T) {
	o := &office{}
	o.rcpt = func(to string) error {
		switch to {
		case "ann@example.com":
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
		case "cc@example.com":
			return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "Busy"}
		}
		return nil
	}
	o.start(t, false)
	settings := `{"to": ["ops@example.com", "ann@example.com"], "cc": "cc@example.com", "host": "127.0.0.1", "port": %d, "encryption": "none", "from": "p@example.com"}`
	d, records := delivery(t, settings, o.port, failure())
	r := New().Send(t.Context(), d)
	const refused = "; refused: ann@example.com (550 5.1.1 No such user), cc@example.com (450 4.2.0 Busy)"
	if r.Verdict != patchbay.VerdictDelivered || !strings.HasSuffix(string(r.Body), refused) || !strings.HasSuffix(string((*records)[0].ResponseBody), refused) {
		t.Errorf("%+v, %s", r, r.Body)
	}
	if got := o.got()[0].to; !slices.Equal(got, []string{"ops@example.com"}) {
		t.Errorf("it went to %v", got)
	}
	// Nobody at all: one of them may be taken later.
	d, _ = delivery(t, strings.ReplaceAll(settings, "ops@", "ann@"), o.port, failure())
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictRetry || r.Code != 450 {
		t.Errorf("%+v", r)
	}
	d, _ = delivery(t, `{"to": "ann@example.com", "host": "127.0.0.1", "port": %d, "encryption": "none", "from": "p@example.com"}`, o.port, failure())
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeUserConfigurationError || !strings.Contains(r.Error, "ann@example.com (550 5.1.1 No such user)") {
		t.Errorf("%+v", r)
	}
}

// The operator's server sends for links that name none, and its password goes nowhere else.
func TestOperatorsServer(t *testing.T) {
	operators := (&office{mechanisms: []string{"PLAIN"}}).start(t, false)
	links := (&office{}).start(t, false)
	config, _ := json.Marshal(map[string]any{"host": "127.0.0.1", "port": operators.port, "username": user, "password": password, "from": "patchbay@example.com", "from_name": "Patchbay"})

	d, _ := delivery(t, `{"to": "ops@example.com", "from_name": "Team \"web\""}`, 0, failure())
	d.Env.Config = config
	if r := trusting().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("%+v", r)
	}
	h, _, _ := parts(t, operators.got()[0].data)
	if got := h.Get("From"); got != `"Team \"web\"" <patchbay@example.com>` {
		t.Errorf("From: %s", got)
	}

	d, _ = delivery(t, open, links.port, failure())
	d.Env.Config = config
	if r := trusting().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("%+v", r)
	}
	if len(links.users) != 0 || len(links.got()) != 1 || links.got()[0].from != "patchbay@example.com" {
		t.Errorf("the link's server was told %v", links.users)
	}

	d, _ = delivery(t, `{"to": "ops@example.com"}`, 0, failure())
	for _, config := range []string{"", "{}", `{"host": "x"}`, `{"from": "a@b.test"}`, `[`} {
		d.Env.Config = json.RawMessage(config)
		if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration {
			t.Errorf("config %q: %+v", config, r)
		}
		if r := New().Test(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration {
			t.Errorf("config %q: the test: %+v", config, r)
		}
	}
}

// A link's own body is a plain mail.
func TestOwnBody(t *testing.T) {
	for body, want := range map[string]string{
		`"Hello\nyou"`: "Test failure|Hello\nyou",
		`{"subject": "Hi\r\nBcc: x@evil.test", "text": "<b>"}`: "Hi Bcc: x@evil.test|<b>",
		`{"text": "x"}`: "Test failure|x",
		`{"html": "x"}`: "",
		`[]`:            "",
		`7`:             "",
	} {
		d, records := delivery(t, open, 25, nil)
		d.Body, d.Preview = json.RawMessage(body), true
		r := New().Send(t.Context(), d)
		if want == "" {
			if r.Type != patchbay.CodeMisconfiguredIntegration {
				t.Errorf("%s: %+v", body, r)
			}
			continue
		}
		h, plain, html := parts(t, string((*records)[0].Body))
		if got := h.Get("Subject") + "|" + strings.TrimSpace(strings.ReplaceAll(plain, "\r\n", "\n")); got != want || html != "" {
			t.Errorf("%s is %q, want %q", body, got, want)
		}
	}
}

// Whatever an event says, the mail's header is ours, its subject is a line, and its HTML has no element of the event.
func FuzzCompose(f *testing.F) {
	for _, s := range []string{
		"x\r\nBcc: everyone@evil.test\r\n\r\n<b>", "=?utf-8?q?a=0d=0aBcc:_x@evil.test?=", "ä ö ü \u202e", "\x00\xff", strings.Repeat("é", 500), strings.Repeat("long ", 400),
		"</td><script>alert(1)</script>", ".\r\n.\r\nQUIT", "--=_", "\"'`<>&", "", " ", "\u2028",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, title, value string) {
		d, records := delivery(t, own, 25, &integration.Message{
			Title: title, Text: markup.Escape(value), Severity: patchbay.SeverityCritical,
			Fields: []patchbay.Field{{Title: title, Value: markup.Escape(value)}},
			Links:  []patchbay.URL{{Title: value, URL: "https://ours.test/"}, {Title: "x", URL: value}},
			Actor:  &patchbay.Actor{Name: title, URL: value},
		})
		d.Preview, d.Event.Type = true, title
		New().Send(t.Context(), d)
		data := (*records)[0].Body
		for line := range bytes.SplitSeq(data, []byte("\r\n")) {
			if len(line) > 990 || bytes.ContainsAny(line, "\r\n\x00") || !ascii(string(line)) {
				t.Errorf("a line that servers refuse: %q", line)
			}
		}
		h, _, html := parts(t, string(data))
		if len(h) != 13 || h.Get("Bcc") != "" {
			t.Errorf("the header is %v", h)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
		if err != nil || strings.ContainsAny(subject, "\r\n") || !strings.HasPrefix(subject, "[web]") {
			t.Errorf("the subject is %q, %v", subject, err)
		}
		if want := markup.Clip(markup.Line("[web] "+markup.Line(strings.ToValidUTF8(title, "\uFFFD"))), maxSubject); title != "" && len(title) < 100 && markup.Line(title) != "" && subject != want {
			t.Errorf("the subject is %q, want %q", subject, want)
		}
		checkPage(t, html)
	})
}

// checkPage fails on elements and attributes that the page does not have.
func checkPage(t *testing.T, page string) {
	t.Helper()
	elements := strings.Fields("html head meta title style body table tr td th div h1 a p br b strong code")
	attributes := strings.Fields("lang charset name content role class width cellpadding cellspacing border style align valign scope href rel")
	z := html.NewTokenizer(strings.NewReader(page))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		token := z.Token()
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if !slices.Contains(elements, token.Data) {
			t.Errorf("the page holds %s", token)
		}
		for _, a := range token.Attr {
			if !slices.Contains(attributes, a.Key) {
				t.Errorf("the page holds %s", token)
			}
			if address := strings.ToLower(a.Val); a.Key == "href" && !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "mailto:") {
				t.Errorf("the page links to %q", a.Val)
			}
		}
	}
}
