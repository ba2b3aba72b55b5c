package outbound

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// A secret is taken out in every spelling in which it travels, wherever it stands.
func TestRedact(t *testing.T) {
	for _, secret := range []string{"hunter2hunter2", `we"ird\ <s&cret>/ü+%`, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "1234", "a b c d e f"} {
		r := NewRedactor([]string{secret})
		quoted, _ := json.Marshal(secret)
		spellings := []string{
			secret, string(quoted), url.QueryEscape(secret), url.PathEscape(secret), percent(secret),
			strings.ToLower(url.QueryEscape(secret[:4])) + url.QueryEscape(secret[4:]),
		}
		if len(secret) >= minBase64 {
			for _, before := range []string{"", "u:", "us:", "use:", "user:"} {
				for _, after := range []string{"", "x", "xy", "xyz"} {
					spellings = append(spellings, base64.StdEncoding.EncodeToString([]byte(before+secret+after)), base64.RawURLEncoding.EncodeToString([]byte(before+secret+after)))
				}
			}
		}
		for _, s := range spellings {
			got := r.Redact("before " + s + " after " + s)
			if strings.Count(got, patchbay.Redacted) < 2 || strings.Contains(got, secret) {
				t.Errorf("%q of %q is %q", s, secret, got)
			}
			if !strings.HasPrefix(got, "before ") || !strings.Contains(got, " after ") {
				t.Errorf("%q of %q is %q: too much is gone", s, secret, got)
			}
		}
	}
	for _, none := range []*Redactor{nil, NewRedactor(nil), NewRedactor([]string{"", "ab"})} {
		if got := none.Redact("about abc"); got != "about abc" {
			t.Errorf("%q", got)
		}
	}
	if got := NewRedactor([]string{"abcd", "abcdefgh"}).Redact("abcdefgh"); got != patchbay.Redacted {
		t.Errorf("a secret that begins with another is %q", got)
	}
}

// Of a secret address the host stays, so that people see where something went.
func TestRedactSecretURL(t *testing.T) {
	r := NewRedactor([]string{"https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXXXXXXXXXX"})
	for in, want := range map[string]string{
		"https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXXXXXXXXXX": "https://hooks.slack.com/[redacted]",
		"token XXXXXXXXXXXXXXXXXXXXXXXX is revoked":                           "token [redacted] is revoked",
	} {
		if got := r.Redact(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	if got := NewRedactor([]string{"https://ex.test/k"}).Redact("https://ex.test/k"); got != patchbay.Redacted {
		t.Errorf("a short secret address is %q", got)
	}
}

// What is remembered of an exchange holds no credential, whoever put it where.
func TestAttemptRecord(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(403)
		w.Write([]byte(`{"error":"bad token s3cret-token-1","also":"` + base64.StdEncoding.EncodeToString([]byte("me:s3cret-token-1")) + "\",\"bin\":\"\xff\x00\"}"))
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	a := dev(t).Attempt([]string{"s3cret-token-1", "x1y"})
	r := post("http://me:pass%20word@" + host + "/hook/s3cret-token-1?key=named+s3cret")
	for _, h := range []string{"Authorization", "Proxy-Authorization", "Cookie", "X-TrackerToken", "X-Api-Key", "PRIVATE-TOKEN", "X-Auth-Email", "Api_Key", "Ocp-Apim-Subscription-Key"} {
		r.Header.Add(h, "some value")
	}
	r.Header.Add("X-Author", "plain")
	r.Header.Add("X-Plain", "plain")
	r.Header.Add("X-Plain", "again")
	r.Header.Add("X-Secret-Looking-Value", "s3cret-token-1")
	r.Header.Add("X-Mine", "Key s3cret-token-1")
	r.Header.Add("X-Short", "x1y")
	r.Header.Add("X-Named", "named s3cret")
	r.Header.Add("webhook-signature", "v1,abc")
	r.Secret = []string{"named s3cret"}
	resp, err := a.Do(t.Context(), r)
	if err != nil || resp.Status != 403 {
		t.Fatal(resp, err)
	}
	x := patchbay.Redacted
	want := &patchbay.Request{Method: "POST", URL: "http://" + x + "@" + host + "/hook/" + x + "?key=" + x, Headers: map[string]string{
		"Content-Type": "application/json", "Authorization": x, "Proxy-Authorization": x, "Cookie": x, "X-TrackerToken": x, "X-Api-Key": x,
		"PRIVATE-TOKEN": x, "X-Auth-Email": x, "X-Author": "plain", "Api_Key": x, "Ocp-Apim-Subscription-Key": x, "X-Plain": "plain, again",
		"X-Secret-Looking-Value": x, "X-Mine": "Key " + x, "X-Short": x, "X-Named": x, "webhook-signature": "v1,abc",
	}}
	if d := cmp.Diff(want, a.Request()); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	code, body := a.Response()
	if code != 403 || strings.Contains(body, "s3cret") || strings.Contains(body, "\x00") || !utf8.ValidString(body) || !strings.HasPrefix(body, `{"error":"bad token [redacted]"`) {
		t.Errorf("response %d %q", code, body)
	}
	if got := a.Redact("it said s3cret-token-1 and named+s3cret"); got != "it said "+x+" and "+x {
		t.Errorf("Redact: %q", got)
	}
	if string(resp.Body) == body {
		t.Error("the integration sees the redacted body")
	}

	// An attempt that fails before an answer still says what was sent, and forgets the answer before it.
	if _, err := a.Do(t.Context(), post("http://10.0.0.1/x")); !errors.Is(err, integration.ErrRefused) {
		t.Fatal(err)
	}
	if code, body := a.Response(); code != 0 || body != "" || a.Request().URL != "http://10.0.0.1/x" {
		t.Errorf("%d %q %+v", code, body, a.Request())
	}
	a.Record(integration.Exchange{Method: "MAIL", URL: "smtp://h", ResponseCode: 250, ResponseBody: []byte("ok s3cret-token-1")})
	if code, body := a.Response(); code != 250 || body != "ok "+x || a.Request().Method != "MAIL" || a.Request().Headers != nil {
		t.Errorf("%d %q %+v", code, body, a.Request())
	}
}

// A kept body is 8 KiB of whole characters without the half of a secret at its end.
func TestKeptBody(t *testing.T) {
	const most = patchbay.MaxResponseBodyKept
	secret := "the-secret-that-is-cut"
	a := dev(t).Attempt([]string{secret})
	for name, b := range map[string]string{
		"long":                        strings.Repeat("x", 2*most),
		"character at the edge":       strings.Repeat("x", most-1) + "€uro",
		"secret across the edge":      strings.Repeat("x", most-5) + secret,
		"secret across the read edge": strings.Repeat(secret, 20) + strings.Repeat("x", most-20*len(secret)+15) + secret + "x",
		"invalid":                     strings.Repeat("\xff", most),
		"invalid that grows":          strings.Repeat("\xffx\x00", most),
	} {
		got := a.keep([]byte(b), false)
		if !utf8.ValidString(got) || strings.Contains(got, "the-s") || len(got) == 0 || len(got) > most || strings.HasSuffix(got, "\uFFFD") && !strings.HasPrefix(name, "invalid") {
			t.Errorf("%s: %d bytes, end %q", name, len(got), got[max(0, len(got)-40):])
		}
	}
	if got := a.keep([]byte("ok the-secret-th"), true); got != "ok " {
		t.Errorf("cut by the client: %q", got)
	}
	if got := a.keep([]byte("ok the-secret-th"), false); got != "ok the-secret-th" {
		t.Errorf("whole: %q", got)
	}
}

// A preview remembers the whole request and sends nothing.
func TestPreview(t *testing.T) {
	url := serve(t, func(int, net.Conn, *bufio.Reader) { t.Error("it was sent") })
	a := dev(t).Preview([]string{"body-secret"})
	r := post(url + "/x")
	r.Body = []byte(`{"a":"body-secret","b":1.0}`)
	if _, err := a.Do(t.Context(), r); !errors.Is(err, integration.ErrPreview) {
		t.Fatal(err)
	}
	want := &patchbay.Request{Method: "POST", URL: url + "/x", Body: json.RawMessage(`{"a":"[redacted]","b":1.0}`),
		Headers: map[string]string{"Content-Type": "application/json", "User-Agent": "Patchbay/1.2.3"}}
	if d := cmp.Diff(want, a.Request()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	fresh := dev(t).Attempt(nil)
	if code, body := fresh.Response(); fresh.Request() != nil || code != 0 || body != "" {
		t.Error("an attempt that did nothing remembers something")
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("hunter2hunter2", "the password is hunter2hunter2!")
	f.Add("https://a.test/services/T0/abcdefgh", "https://a.test/services/T0/abcdefgh")
	f.Add("a+b/c=", "a%2Bb%2fc%3D")
	f.Fuzz(func(t *testing.T, secret, text string) {
		r := NewRedactor([]string{secret})
		got := r.Redact(text + secret + text)
		// What replaces a secret may itself complete another one at its edges; that is all that may be left.
		once := strings.ReplaceAll(text+secret+text, secret, patchbay.Redacted)
		if len(secret) >= minNeedle && secretParts(secret) == nil && strings.Contains(got, secret) && !strings.Contains(once, secret) {
			t.Errorf("%q is in %q", secret, got)
		}
		a := &Attempt{secrets: r}
		if body := a.keep([]byte(text), true); !utf8.ValidString(body) {
			t.Errorf("invalid UTF-8: %q", body)
		}
		withoutUserinfo(text)
	})
}
