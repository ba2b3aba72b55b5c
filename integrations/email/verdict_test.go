package email

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

// Every reply code at every step of the conversation.
func TestReplies(t *testing.T) {
	retry, throttled, user, ours := integrationtest.Retry, integrationtest.Throttled, integrationtest.UserError, integrationtest.Misconfigured
	const auth = "250-hi\n250 AUTH PLAIN"
	for _, test := range []struct {
		step, reply string
		want        integrationtest.Want
	}{
		{"", "421 too busy", retry},
		{"", "421 4.7.0 too many connections", throttled},
		{"", "554 5.7.1 go away", user},
		{"", "HTTP/1.1 400 Bad Request", user},
		{"", "drop", retry},
		{"EHLO", "502 what", ours},
		{"EHLO", "550 no", user},
		{"AUTH", "535 5.7.8 wrong", user},
		{"AUTH", "534 5.7.9 use an app password", user},
		{"AUTH", "504 no", user},
		{"AUTH", "454 4.7.0 try later", retry},
		{"AUTH", "421 bye", retry},
		{"MAIL", "530 5.7.0 sign in first", user},
		{"MAIL", "550 no", user},
		{"MAIL", "553 not yours", user},
		{"MAIL", "552 too large", ours},
		{"MAIL", "501 syntax", ours},
		{"MAIL", "503 sequence", ours},
		{"MAIL", "555 parameters", ours},
		{"MAIL", "451 try later", retry},
		{"MAIL", "452 disk", retry},
		{"MAIL", "drop", retry},
		{"RCPT", "550 5.1.1 unknown", user},
		{"RCPT", "551 moved", user},
		{"RCPT", "553 name", user},
		{"RCPT", "554 policy", user},
		{"RCPT", "552 5.2.2 full", user},
		{"RCPT", "556 no mail here", user},
		{"RCPT", "450 4.2.0 greylisted", retry},
		{"RCPT", "450 4.7.1 slow down", throttled},
		{"RCPT", "421 4.7.0 slow down", throttled},
		{"RCPT", "drop", retry},
		{"DATA", "554 no valid recipients", user},
		{"DATA", "451 try later", retry},
		{"end", "554 5.7.1 spam", user},
		{"end", "552 5.3.4 too large", ours},
		{"end", "451 4.7.1 slow down", throttled},
		{"end", "452 disk", retry},
		{"end", "250-two\n250 lines", integrationtest.Delivered},
		{"end", "drop", retry},
		{"QUIT", "drop", integrationtest.Delivered},
		{"QUIT", "500 no", integrationtest.Delivered},
	} {
		s := polite().with("EHLO", auth, "AUTH", "235 welcome").with(test.step, test.reply)
		port, _ := s.start(t)
		d, records := delivery(t, `{"to": "ops@example.com", "host": "127.0.0.1", "port": %d, "encryption": "none", "from": "p@example.com", "username": "patchbay", "password": "hunter2-is-secret"}`, port, failure())
		r := New().Send(t.Context(), d)
		if diff := cmp.Diff(test.want, integrationtest.Want{Verdict: r.Verdict, Type: r.Type, Throttled: r.Throttled, Disable: r.Disable}); diff != "" {
			t.Errorf("%s %q: %s (-want +got):\n%s", test.step, test.reply, r.Error, diff)
		}
		if r.Verdict != patchbay.VerdictDelivered && (r.Error == "" || strings.ContainsAny(r.Error, "\r\n")) {
			t.Errorf("%s %q: the error is %q", test.step, test.reply, r.Error)
		}
		var code int
		if fmt.Sscanf(test.reply, "%d", &code); code >= 400 && test.step != "QUIT" && (r.Code != code || (*records)[0].ResponseCode != code) {
			t.Errorf("%s %q: the code is %d", test.step, test.reply, r.Code)
		}
	}
}

// A server that repeats the password does not get it shown.
func TestPasswordIsNotShown(t *testing.T) {
	token := encode("\x00" + user + "\x00" + password)
	for _, echo := range []string{password, token, encode(password)} {
		port, _ := polite().with("EHLO", "250-hi\n250 AUTH PLAIN", "AUTH", "535 you said \x1b[31m"+echo+" "+strings.Repeat("x", 2000)).start(t)
		d, records := delivery(t, `{"to": "ops@example.com", "host": "127.0.0.1", "port": %d, "encryption": "none", "from": "p@example.com", "username": "patchbay", "password": "hunter2-is-secret"}`, port, failure())
		r := New().Send(t.Context(), d)
		shown := fmt.Sprint(r.Error, string(r.Body), *records)
		if strings.Contains(shown, echo) || strings.Contains(shown, "\x1b") || len(r.Error) > patchbay.MaxErrorKept {
			t.Errorf("shown: %s", shown)
		}
	}
}

// Nothing is said in the clear that should be encrypted, whatever the server or somebody in between says.
func TestEncryptionIsRequired(t *testing.T) {
	const signedIn = `{"to": "ops@example.com", "host": "127.0.0.1", "port": %d, "from": "p@example.com", "username": "patchbay", "password": "hunter2-is-secret"`
	for name, test := range map[string]struct {
		script   script
		settings string
		want     integrationtest.Want
	}{
		"stripped":             {polite().with("EHLO", "250-hi\n250 AUTH PLAIN"), signedIn + "}", integrationtest.UserError},
		"refused":              {polite().with("EHLO", "250 hi\n250 STARTTLS", "STARTTLS", "502 no"), signedIn + "}", integrationtest.Misconfigured},
		"for a while":          {polite().with("EHLO", "250-hi\n250 STARTTLS", "STARTTLS", "454 no TLS now"), signedIn + "}", integrationtest.Retry},
		"something slipped in": {polite().with("EHLO", "250-hi\n250 STARTTLS", "STARTTLS", "220 go\n250 injected"), signedIn + "}", integrationtest.Retry},
		"no TLS in fact":       {polite().with("EHLO", "250-hi\n250 STARTTLS", "STARTTLS", "220 go"), signedIn + "}", integrationtest.UserError},
		"plain behind tls":     {polite(), signedIn + `, "encryption": "tls"}`, integrationtest.UserError},
		"no AUTH":              {polite(), signedIn + `, "encryption": "none"}`, integrationtest.UserError},
	} {
		if name == "refused" {
			test.script["EHLO"] = "250-hi\n250 STARTTLS"
		}
		port, heard := test.script.start(t)
		d, _ := delivery(t, test.settings, port, failure())
		r := trusting().Send(t.Context(), d)
		if got := (integrationtest.Want{Verdict: r.Verdict, Type: r.Type}); got != test.want {
			t.Errorf("%s: %+v", name, r)
		}
		if said := heard(); strings.Contains(said, "AUTH") || strings.Contains(said, "MAIL") || strings.Contains(said, "ops@") {
			t.Errorf("%s: the server heard %q", name, said)
		}
	}
}

// A certificate has to be valid, and for the host that the settings name.
func TestCertificates(t *testing.T) {
	o := (&office{}).start(t, false)
	settings := `{"to": "ops@example.com", "host": "HOST", "port": %d, "from": "p@example.com"}`
	_, roots := certificate()
	for name, test := range map[string]struct {
		host  string
		roots *x509.CertPool
		want  integrationtest.Want
	}{
		"trusted":     {"localhost", roots, integrationtest.Delivered},
		"unknown":     {"localhost", x509.NewCertPool(), integrationtest.UserError},
		"other names": {"mail.example.com", roots, integrationtest.UserError},
	} {
		d, _ := delivery(t, strings.Replace(settings, "HOST", test.host, 1), o.port, failure())
		d.Env.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", o.port))
		}
		r := (&Email{roots: test.roots}).Send(t.Context(), d)
		if got := (integrationtest.Want{Verdict: r.Verdict, Type: r.Type}); got != test.want {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if len(o.got()) != 1 {
		t.Errorf("%d mails arrived", len(o.got()))
	}
}

// A server that does not answer holds an attempt no longer than its context lasts, at every step.
func TestHangingServer(t *testing.T) {
	for _, step := range []string{"", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "end"} {
		s := polite().with(step, "hang")
		encryption := "none"
		if step == "STARTTLS" {
			s["EHLO"], encryption = "250-hi\n250 STARTTLS", "starttls"
		}
		port, _ := s.start(t)
		d, _ := delivery(t, `{"to": "ops@example.com", "host": "127.0.0.1", "port": %d, "encryption": "`+encryption+`", "from": "p@example.com"}`, port, failure())
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		r := New().Send(ctx, d)
		cancel()
		if r.Verdict != patchbay.VerdictRetry || !strings.Contains(r.Error, "did not answer in time") || time.Since(began) > time.Minute {
			t.Errorf("%q: %+v after %v", step, r, time.Since(began))
		}
	}
	// Taken is taken: a server that hangs at the goodbye costs a moment, and no second mail.
	port, _ := polite().with("QUIT", "hang").start(t)
	d, _ := delivery(t, open, port, failure())
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
		t.Errorf("QUIT: %+v", r)
	}
}

// A server that never stops talking is not listened to for ever.
func TestEndlessServer(t *testing.T) {
	for _, step := range []string{"", "EHLO", "end"} {
		port, _ := polite().with(step, "endless").start(t)
		d, _ := delivery(t, open, port, failure())
		if r := New().Send(t.Context(), d); r.Verdict == patchbay.VerdictDelivered {
			t.Errorf("%q: %+v", step, r)
		}
	}
}

func TestDialing(t *testing.T) {
	d, records := delivery(t, open, 25, failure())
	d.Env.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
		if network != "tcp" || address != "127.0.0.1:25" {
			t.Errorf("dialled %s %s", network, address)
		}
		return nil, errRefusedHere
	}
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeUserConfigurationError || len(*records) != 1 {
		t.Errorf("a refused address: %+v", r)
	}
	d.Env.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errNoConnection }
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeServiceError {
		t.Errorf("no connection: %+v", r)
	}
	if r := New().Test(t.Context(), d); r.Type != patchbay.CodeServiceError {
		t.Errorf("no connection: the test: %+v", r)
	}
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	d, _ = delivery(t, open, web.Listener.Addr().(*net.TCPAddr).Port, failure())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if r := New().Send(ctx, d); r.Verdict != patchbay.VerdictRetry { // it waits for us to speak
		t.Errorf("a web server: %+v", r)
	}
}

func TestWrongPassword(t *testing.T) {
	o := (&office{mechanisms: []string{"PLAIN"}}).start(t, false)
	d, _ := delivery(t, strings.Replace(own, password, "wrong-password", 1), o.port, failure())
	for name, r := range map[string]integration.Result{"send": trusting().Send(t.Context(), d), "test": trusting().Test(t.Context(), d)} {
		if r.Type != patchbay.CodeUserConfigurationError || r.Code != 535 || !strings.Contains(r.Error, "username and password") || strings.Contains(r.Error, "wrong-password") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What the server says of itself is heeded: how large a mail may be, and which letters an address may have.
func TestExtensions(t *testing.T) {
	port, heard := polite().with("EHLO", "250-hi\n250-SIZE 100\n250 HELP").start(t)
	d, _ := delivery(t, open, port, failure())
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeMisconfiguredIntegration || strings.Contains(heard(), "MAIL") {
		t.Errorf("too large: %+v", r)
	}
	port, heard = polite().with("EHLO", "250-hi\n250-size 0\n250 HELP").start(t)
	d, _ = delivery(t, open, port, failure())
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered || !strings.Contains(heard(), "MAIL FROM:<patchbay@example.com> SIZE=") {
		t.Errorf("any size: %+v, %s", r, heard())
	}
	unicode := strings.Replace(open, "ops@example.com", "jörg@example.com", 1)
	port, _ = polite().start(t)
	d, _ = delivery(t, unicode, port, failure())
	if r := New().Send(t.Context(), d); r.Type != patchbay.CodeUserConfigurationError {
		t.Errorf("ASCII only: %+v", r)
	}
	o := (&office{}).start(t, false)
	d, _ = delivery(t, strings.Replace(unicode, "none", "starttls", 1), o.port, failure())
	if r := trusting().Send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered || !o.got()[0].utf8 {
		t.Errorf("SMTPUTF8: %+v", r)
	}
}

func TestHelloName(t *testing.T) {
	srv := &server{From: "a@example.com"}
	for address, want := range map[string]string{"https://hub.example.org/x": "hub.example.org", "http://127.0.0.1:8080": "example.com", "http://localhost": "example.com", "": "example.com"} {
		if got := helloName(&integration.Env{PublicURL: address}, srv); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
	if got := helloName(&integration.Env{}, &server{}); got != "localhost" {
		t.Error(got)
	}
}

func TestSettings(t *testing.T) {
	def := New().Definition()
	for raw, want := range map[string]string{
		`{"to": ["a@b.test"]}`:                         "",
		`{"to": "a@b.test, Ann <c@d.test>\ne@f.test"}`: "",
		`{"to": []}`:       "misconfigured_integration settings.to",
		`{"to": "nobody"}`: "invalid_request settings.to",
		`{"to": "a@b@c"}`:  "invalid_request settings.to",
		`{"to": ["a@b.test\r\nBcc: x@evil.test"]}`:                                            "invalid_request settings.to",
		`{"to": ["\"a> SIZE=1\"@b.test"]}`:                                                    "invalid_request settings.to",
		`{"to": ["\"a b\"@b.test"]}`:                                                          "invalid_request settings.to",
		`{"to": ["a@b..test"]}`:                                                               "invalid_request settings.to",
		`{"to": "a@b.test", "reply_to": "x"}`:                                                 "invalid_request settings.reply_to",
		`{"to": "a@b.test", "cc": "x"}`:                                                       "invalid_request settings.cc",
		`{"to": "a@b.test", "host": "smtp://x"}`:                                              "invalid_request settings.host",
		`{"to": "a@b.test", "host": "x:25"}`:                                                  "invalid_request settings.host",
		`{"to": "a@b.test", "host": "x", "port": 0}`:                                          "invalid_request settings.port",
		`{"to": "a@b.test", "host": "x", "encryption": "no"}`:                                 "invalid_request settings.encryption",
		`{"to": "a@b.test", "host": "x"}`:                                                     "invalid_request settings.from",
		`{"to": "a@b.test", "host": "::1", "from": "c@d.test"}`:                               "",
		`{"to": "a@b.test", "password": "x"}`:                                                 "invalid_request settings.host",
		`{"to": "a@b.test", "from": "c@d.test"}`:                                              "invalid_request settings.host",
		`{"to": "a@b.test", "subject_prefix": "` + strings.Repeat("x", 101) + `"}`:            "invalid_request settings.subject_prefix",
		`{"to": "a@b.test", "bcc": "` + strings.Repeat("x@y.test,", 50) + `"}`:                "",
		`{"to": ` + many(101) + `}`:                                                           "invalid_request settings.to",
		`{"to": "` + strings.Repeat("x", 300) + `@y.test"}`:                                   "invalid_request settings.to",
		`{"to": "` + strings.Repeat("n", 120) + ` <x@y.test>"}`:                               "invalid_request settings.to",
		`{"to": "a@b.test", "host": "x", "from": "c@d.test", "port": "2525", "password": ""}`: "",
	} {
		checked, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{})
		if err == nil {
			_, err = def.Decode(checked)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(string(patchbay.CodeOf(err))+" "+err.Error(), want+":")) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
	// A password stays with the server that it was given for.
	stored := json.RawMessage(`{"to": ["a@b.test"], "host": "x", "from": "c@d.test", "password": "hunter2"}`)
	for _, patch := range []string{`{"host": "evil.test"}`, `{"port": 26}`, `{"encryption": "none"}`} {
		if _, err := def.Settings.Merge(stored, json.RawMessage(patch)); err == nil {
			t.Errorf("%s keeps the password", patch)
		}
	}
}

func many(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("a%d@b.test", i))
	}
	b, _ := json.Marshal(out)
	return string(b)
}

func TestNames(t *testing.T) {
	e := New()
	s := &Settings{To: []string{"Ops <Ops@example.com>"}}
	if got := e.ShortName(s) + "|" + e.Target(s); got != "Mail to Ops <Ops@example.com>|ops@example.com" {
		t.Error(got)
	}
	s.To, s.BCC = append(s.To, "b@c.test"), []string{"ops@example.com", "d@e.test"}
	if got := e.Destination(s) + "|" + e.Target(s) + "|" + e.Destination(&Settings{}); got != "Ops <Ops@example.com> and 1 more|ops@example.com,b@c.test,d@e.test|nobody" {
		t.Error(got)
	}
	for encryption, want := range map[string]int{"": 587, startTLS: 587, implicit: 465, insecure: 25} {
		if got := (&server{Encryption: encryption}).port(); got != want {
			t.Errorf("%s: %d", encryption, got)
		}
	}
}

func TestContract(t *testing.T) {
	o := (&office{mechanisms: []string{"PLAIN"}}).start(t, false)
	integrationtest.Run(t, integrationtest.Case{
		Integration: trusting(),
		Settings:    fmt.Sprintf(own, o.port),
		Secrets:     []string{password},
		NoHTTP:      true,
	})
	for _, m := range o.got() {
		if h, _, page := parts(t, m.data); h.Get("Bcc") != "" || len(m.to) != 4 {
			t.Errorf("the header is %v, it went to %v", h, m.to)
		} else {
			checkPage(t, page)
		}
	}
}

// FuzzReply: whatever a server says, there is a verdict with a sentence.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"220 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n221 bye\r\n", "220-\r\n220", "abc\r\n", "999 x\r\n", "\x00", "250-a\r\n251 b\r\n", "421 4.7.0 x\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		d, _ := delivery(t, open, 25, failure())
		done := make(chan struct{})
		d.Env.Dial = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer close(done)
				go func() { _, _ = io.Copy(io.Discard, theirs) }()
				_, _ = theirs.Write(said)
				_ = theirs.Close()
			}()
			return ours, nil
		}
		r := New().Send(t.Context(), d)
		<-done
		if (r.Verdict == patchbay.VerdictDelivered) != (r.Error == "") || r.Verdict == "" {
			t.Errorf("%+v", r)
		}
	})
}
