package webhook

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

const (
	hmacSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	hmacOld    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	edSeed     = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// receiverWant is how a webhook judges: only 410 is final.
func receiverWant(_ *http.Request, status int) integrationtest.Want {
	r := integration.Classify("", &integration.Response{Status: status})
	if !r.Disable && r.Verdict != patchbay.VerdictDelivered {
		r.Verdict = patchbay.VerdictRetry
	}
	return integrationtest.Want{Verdict: r.Verdict, Type: r.Type, Throttled: r.Throttled, Disable: r.Disable}
}

func TestContract(t *testing.T) {
	for name, settings := range map[string]string{
		"all settings": `{"url":"{{URL}}/hooks/${type}?scope=${scope}","method":"PUT","format":"envelope","secret":"` + hmacSecret + `",
			"headers":{"X-Key":"header-secret-1"},"basic":{"username":"me","password":"basic-secret-1"}}`,
		"bearer": `{"url":"{{URL}}","format":"standard","secret":"` + edSeed + `","bearer":"bearer-secret-1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := integrationtest.Case{
				Integration: New(), Settings: settings, EveryStatus: receiverWant,
				Secrets: []string{hmacSecret, "header-secret-1", "basic-secret-1"},
				Clean: func(t *testing.T, body []byte, hostile string) {
					var got struct{ Payload, Data struct{ Text string } }
					if err := json.Unmarshal(body, &got); err != nil || got.Payload.Text+got.Data.Text != hostile {
						t.Errorf("%v: %q", err, body)
					}
				},
			}
			if name == "bearer" {
				c.Secrets = []string{edSeed, "bearer-secret-1"}
			}
			integrationtest.Run(t, c)
		})
	}
}

// recorder is a receiver that remembers the request and gives one answer.
type recorder struct {
	request *integration.Request
	status  int
	until   time.Time
	err     error
}

func (r *recorder) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	r.request = req
	r.until, _ = ctx.Deadline()
	if r.err != nil {
		return nil, r.err
	}
	return &integration.Response{Status: max(r.status, 200), Body: []byte("answer"), RetryAfter: 7 * time.Second}, nil
}

func decode(t testing.TB, settings string) *Settings {
	t.Helper()
	raw, err := spec().Check(json.RawMessage(settings), integration.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New().Definition().Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Settings)
}

func sample() *patchbay.Event {
	return &patchbay.Event{
		ID: 0x123456789abcdef, Type: "repo.push", Scope: "acme/repos/web",
		Payload:    json.RawMessage("{ \"b\": 1.50,\n \"a\":{\"x/y\":\"../é\"}, \"n\":12345678901234567890 }"),
		Actor:      json.RawMessage(`{"name": "Ada"}`),
		OccurredAt: time.Date(2026, 11, 22, 13, 0, 0, 5e8, time.FixedZone("", 3600)),
	}
}

func delivery(s *Settings, e *patchbay.Event, r *recorder) *integration.Delivery {
	return &integration.Delivery{ID: patchbay.DeliveryAt(e.ID, 1), Attempt: 1, Event: e, Settings: s, Env: &integration.Env{
		HTTP: r, Log: slog.New(slog.DiscardHandler), Now: time.Now, PublicURL: "https://hooks.example.com",
	}}
}

func send(t testing.TB, settings string, change func(*integration.Delivery)) *integration.Request {
	t.Helper()
	r := &recorder{}
	d := delivery(decode(t, settings), sample(), r)
	if change != nil {
		change(d)
	}
	if res := New().Send(t.Context(), d); res.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("%+v", res)
	}
	return r.request
}

// Each format is what the contract says, byte for byte, and the payload's bytes stand in it as they came in.
func TestFormats(t *testing.T) {
	e := sample()
	id := e.ID.String()
	payload := string(e.Payload)
	for name, c := range map[string]struct{ settings, want, contentType string }{
		"default":     {`{"url":"http://h.test"}`, `{"id":"` + id + `","event":"repo.push","payload":` + payload + `,"scope":"acme/repos/web","occurred_at":"2026-11-22T12:00:00.5Z","actor":{"name": "Ada"}}`, typeJSON},
		"flat":        {`{"url":"http://h.test","format":"flat"}`, `{"event":"repo.push",` + payload[2:], typeJSON},
		"standard":    {`{"url":"http://h.test","format":"standard"}`, `{"type":"repo.push","timestamp":"2026-11-22T12:00:00.5Z","data":` + payload + `}`, typeJSON},
		"payload":     {`{"url":"http://h.test","format":"payload"}`, payload, typeJSON},
		"cloudevents": {`{"url":"http://h.test","format":"cloudevents"}`, `{"specversion":"1.0","id":"` + id + `","source":"https://hooks.example.com","type":"repo.push","subject":"acme/repos/web","time":"2026-11-22T12:00:00.5Z","datacontenttype":"application/json","data":` + payload + `}`, typeCloudEvents},
	} {
		r := send(t, c.settings, nil)
		if string(r.Body) != c.want || !json.Valid(r.Body) {
			t.Errorf("%s:\n%s\nwant\n%s", name, r.Body, c.want)
		}
		if r.Header.Get("Content-Type") != c.contentType || r.Method != "POST" {
			t.Errorf("%s: %s %s", name, r.Method, r.Header.Get("Content-Type"))
		}
	}
	own := send(t, `{"url":"http://h.test","format":"cloudevents"}`, func(d *integration.Delivery) { d.Body = json.RawMessage(`{"own": 1.0}`) })
	if string(own.Body) != `{"own": 1.0}` || own.Header.Get("Content-Type") != typeJSON {
		t.Errorf("the link's own body: %s", own.Body)
	}
	bare := func(d *integration.Delivery) {
		d.Event = &patchbay.Event{ID: 77, Type: `a"b`, OccurredAt: time.Unix(0, 0)}
		d.Env.PublicURL = ""
	}
	bareID := patchbay.EventID(77).String()
	for format, want := range map[string]string{
		"envelope":    `{"id":"` + bareID + `","event":"a\"b","payload":{},"scope":"","occurred_at":"1970-01-01T00:00:00Z"}`,
		"flat":        `{"event":"a\"b"}`,
		"standard":    `{"type":"a\"b","timestamp":"1970-01-01T00:00:00Z","data":{}}`,
		"payload":     `{}`,
		"cloudevents": `{"specversion":"1.0","id":"` + bareID + `","source":"urn:patchbay","type":"a\"b","time":"1970-01-01T00:00:00Z","datacontenttype":"application/json","data":{}}`,
	} {
		if r := send(t, `{"url":"http://h.test","format":"`+format+`"}`, bare); string(r.Body) != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, r.Body, want)
		}
	}
}

// A payload cannot claim another type in the flat format, however it spells the key.
func TestFlatEvent(t *testing.T) {
	for payload, want := range map[string]string{
		`{}`:                                     `{"event":"repo.push"}`,
		" { } ":                                  `{"event":"repo.push"}`,
		`{"event":"x"}`:                          `{"event":"repo.push"}`,
		`{"event":"x","a":1}`:                    `{"event":"repo.push","a":1}`,
		`{"a": 1 , "event":{"a":[1]} }`:          `{"event":"repo.push","a": 1}`,
		`{"\u0065vent":1,"b":[{}]}`:              `{"event":"repo.push","b":[{}]}`,
		`{"e\u0076ent":1,"event":2,"c":"event"}`: `{"event":"repo.push","c":"event"}`,
		`{"a":{"event":1}}`:                      `{"event":"repo.push","a":{"event":1}}`,
		`{"a":"\u0065","events":1}`:              `{"event":"repo.push","a":"\u0065","events":1}`,
		`{"a\"event":1,"x":"}\\"}`:               `{"event":"repo.push","a\"event":1,"x":"}\\"}`,
	} {
		r := send(t, `{"url":"http://h.test","format":"flat"}`, func(d *integration.Delivery) { d.Event.Payload = json.RawMessage(payload) })
		if string(r.Body) != want {
			t.Errorf("%s became %s, want %s", payload, r.Body, want)
		}
	}
}

// The judge of signatures is the library that receivers use.
func TestSignature(t *testing.T) {
	headers := func(r *integration.Request) http.Header {
		h := http.Header{}
		for _, f := range r.Header {
			h.Add(f.Name, f.Value)
		}
		return h
	}
	verify := func(secret string, r *integration.Request) error {
		w, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		return w.Verify(r.Body, headers(r))
	}
	settings := `{"url":"http://h.test","secret":"` + hmacSecret + `"}`
	r := send(t, settings, nil)
	if err := verify(hmacSecret, r); err != nil {
		t.Error(err)
	}
	if id := r.Header.Get("webhook-id"); id != sample().ID.String() || strings.Contains(id, ".") {
		t.Errorf("webhook-id %q", id)
	}
	// Twice more, so that states that are used again are shown to be clean; on bodies around a block's size too.
	for size := range 200 {
		body := json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
		if err := verify(hmacSecret, send(t, settings, func(d *integration.Delivery) { d.Body = body })); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	tampered := *r
	tampered.Body = append(bytes.Clone(r.Body), ' ')
	if verify(hmacSecret, &tampered) == nil {
		t.Error("a changed body verifies")
	}

	// During a rotation both secrets sign, in all combinations of kinds; afterwards only the new one.
	rotate := func(d *integration.Delivery) { d.Previous = hmacOld }
	r = send(t, settings, rotate)
	if verify(hmacSecret, r) != nil || verify(hmacOld, r) != nil || len(strings.Fields(r.Header.Get("webhook-signature"))) != 2 {
		t.Errorf("rotation: %s", r.Header.Get("webhook-signature"))
	}
	s := decode(t, settings)
	for _, previous := range []integration.Secret{hmacOld, edSeed, hmacOld, "", "nonsense"} {
		rec := &recorder{}
		d := delivery(s, sample(), rec)
		d.Previous = previous
		New().Send(t.Context(), d)
		signatures := strings.Fields(rec.request.Header.Get("webhook-signature"))
		want := map[integration.Secret]string{hmacOld: "v1+v1", edSeed: "v1+v1a", "": "v1", "nonsense": "v1"}[previous]
		var got []string
		for _, one := range signatures {
			version, _, _ := strings.Cut(one, ",")
			got = append(got, version)
		}
		if strings.Join(got, "+") != want {
			t.Errorf("previous %q: %q", previous.Reveal(), signatures)
		}
	}
	// A replay is known by its origin, with a signature of its own.
	r = send(t, settings, func(d *integration.Delivery) { d.Event.Origin, d.Event.ID = d.Event.ID, 99 })
	if r.Header.Get("webhook-id") != sample().ID.String() || verify(hmacSecret, r) != nil {
		t.Errorf("replay: %+v", r.Header)
	}
}

// v1a is ed25519 over the same text, from either form of the key.
func TestAsymmetricSignature(t *testing.T) {
	seed, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(edSeed, prefixEd25519))
	private := ed25519.NewKeyFromSeed(seed)
	for _, secret := range []string{edSeed, prefixEd25519 + base64.StdEncoding.EncodeToString(private)} {
		r := send(t, `{"url":"http://h.test","secret":"`+secret+`"}`, nil)
		encoded, ok := strings.CutPrefix(r.Header.Get("webhook-signature"), "v1a,")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		text := r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(r.Body)
		if !ok || err != nil || !ed25519.Verify(private.Public().(ed25519.PublicKey), []byte(text), signature) {
			t.Errorf("%q does not verify", r.Header.Get("webhook-signature"))
		}
	}
}

// Secrets are what Standard Webhooks says, and nothing else; the error does not repeat them.
func TestSecrets(t *testing.T) {
	enc := func(prefix string, n int) string {
		return prefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xA5}, n))
	}
	for secret, ok := range map[string]bool{
		enc("whsec_", 24): true, enc("whsec_", 32): true, enc("whsec_", 64): true, enc("whsec_", 23): false, enc("whsec_", 65): false, "whsec_": false,
		enc("whsk_", 32): true, enc("whsk_", 31): false, enc("whsk_", 33): false, enc("whsk_", 64): false, "whsk_": false,
		enc("", 32): false, enc("whpk_", 32): false, enc("WHSEC_", 32): false, "hunter2": false,
		strings.TrimRight(enc("whsec_", 32), "="): false, enc("whsec_", 32) + "=": false, "whsec_" + strings.Repeat("-_", 20): false,
		"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=": false, // bits behind the end
	} {
		raw, _ := json.Marshal(map[string]string{"url": "http://h.test", "secret": secret})
		_, err := spec().Check(raw, integration.CheckOptions{})
		if (err == nil) != ok {
			t.Errorf("%q: %v", secret, err)
		}
		if err != nil && (patchbay.CodeOf(err) != patchbay.CodeInvalidRequest || len(secret) > 7 && strings.Contains(err.Error(), secret[6:])) {
			t.Errorf("%q: %v", secret, err)
		}
	}
	one, err1 := generateSecret()
	two, err2 := generateSecret()
	if err1 != nil || err2 != nil || one == two || checkSecret(one) != nil {
		t.Errorf("%q %q", one, two)
	}
	// Without a secret, as in an inline call, there is no signature, but everything else.
	r := send(t, `{"url":"http://h.test"}`, nil)
	if r.Header.Get("webhook-signature") != "" || r.Header.Get("webhook-id") == "" || r.Header.Get("webhook-timestamp") == "" {
		t.Errorf("%+v", r.Header)
	}
}

// Headers and credentials arrive as they were set; those that are the request's own cannot be.
func TestHeaders(t *testing.T) {
	r := send(t, `{"url":"http://h.test","method":"PATCH","headers":{"X-B":"2","X-A":"1","User-Agent":"Mine"},"basic":{"username":"ü","password":"p:w"}}`, nil)
	want := integration.Header{
		{Name: "User-Agent", Value: "Mine"}, {Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"},
		{Name: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte("ü:p:w"))},
	}
	if d := cmp.Diff(want, r.Header[3:]); d != "" || r.Method != "PATCH" {
		t.Errorf("%s (-want +got):\n%s", r.Method, d)
	}
	if d := cmp.Diff([]string{"Mine", "1", "2"}, r.Secret); d != "" {
		t.Errorf("secrets (-want +got):\n%s", d)
	}
	r = send(t, `{"url":"http://h.test","bearer":" token "}`, nil)
	if r.Header.Get("Authorization") != "Bearer token" {
		t.Errorf("%+v", r.Header)
	}
	for hops, want := range map[int]string{0: "", 2: "2"} {
		r = send(t, `{"url":"http://h.test"}`, func(d *integration.Delivery) { d.Event.Hops = hops })
		if got := r.Header.Get("patchbay-hops"); got != want {
			t.Errorf("after %d hops: %q", hops, got)
		}
	}
	long := strings.Repeat("x", maxHeaderValue+1)
	many := `{"a0":"1"`
	for i := range maxHeaders {
		many += `,"a` + string(rune('A'+i%26)) + strings.Repeat("z", i) + `":"1"`
	}
	for _, bad := range []string{
		`"headers":{"Host":"x"}`, `"headers":{"content-type":"x"}`, `"headers":{"Content-Encoding":"x"}`, `"headers":{"Webhook-Id":"x"}`, `"headers":{"webhook-anything":"x"}`,
		`"headers":{"Connection":"x"}`, `"headers":{"TE":"x"}`, `"headers":{"Transfer-Encoding":"x"}`, `"headers":{"Upgrade":"x"}`, `"headers":{"Proxy-Authorization":"x"}`, `"headers":{"Expect":"x"}`, `"headers":{"Keep-Alive":"x"}`, `"headers":{"Trailer":"x"}`,
		`"headers":{"X A":"x"}`, `"headers":{"X-A:":"x"}`, `"headers":{"X-A\r\nB":"x"}`, `"headers":{"X-A":"x\r\nB: c"}`, `"headers":{"X-A":"x\u0000"}`, `"headers":{"Ü":"x"}`, `"headers":{"X-A":"1","x-a":"2"}`,
		`"headers":{"X-A":"` + long + `"}`, `"headers":` + many + `}`, `"headers":["a"]`,
		`"basic":{"username":"a:b","password":"x"}`, `"basic":{"password":"x"}`, `"bearer":"Bearer x"`, `"bearer":"a\nb"`,
		`"bearer":"x","basic":{"username":"a"}`, `"bearer":"x","headers":{"authorization":"y"}`, `"method":"GET"`, `"method":"DELETE"`, `"format":"xml"`, `"extra":1`,
	} {
		raw, err := spec().Check(json.RawMessage(`{"url":"http://h.test",`+bad+`}`), integration.CheckOptions{})
		if err == nil {
			_, err = New().Definition().Decode(raw)
		}
		if code := patchbay.CodeOf(err); code != patchbay.CodeInvalidRequest && code != patchbay.CodeMisconfiguredIntegration {
			t.Errorf("%.80s: %v", bad, err)
		}
	}
	raw, _ := spec().Check(json.RawMessage(`{"url":"http://a:b@h.test","bearer":"x"}`), integration.CheckOptions{})
	if _, err := New().Definition().Decode(raw); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
		t.Errorf("user information and a token: %v", err)
	}
}

// Placeholders take values from the event, escaped whole, and stand in path and query only.
func TestAddress(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h.test/${payload.a.x}":                    "",
		"http://h.test/${type}/${scope}?s=${scope}&t=x":   "http://h.test/repo%2Epush/acme%2Frepos%2Fweb?s=acme%2Frepos%2Fweb&t=x",
		"http://h.test/${id}/${tenant}":                   "http://h.test/" + sample().ID.String() + "/acme",
		"http://h.test?at=${occurred_at}":                 "http://h.test?at=2026-11-22T12%3A00%3A00%2E5Z",
		"http://h.test/n/${payload.n}/${payload.b}":       "http://h.test/n/12345678901234567890/1%2E50",
		"http://u:p@h.test:81/${payload.dots}/x":          "http://u:p@h.test:81/%2E%2E/x",
		"http://h.test/${payload.list.1.k}${payload.yes}": "http://h.test/%22%C3%A9%0Atrue",
		"http://h.test/${actor.name}":                     "http://h.test/Ada%20%3CL%3E%20%26%20%23%3F",
		"http://h.test/$/{}/%24%7Btype}":                  "http://h.test/$/{}/%24%7Btype}",
		"http://h.test/${payload.absent}":                 "",
		"http://h.test/${payload.null}":                   "",
		"http://h.test/${payload.list}":                   "",
		"http://h.test/${payload.list.7}":                 "",
		"http://h.test/${payload.n.x}":                    "",
		"http://h.test/${payload.empty}/":                 "http://h.test//",
		"http://h.test/${payload.long}":                   "",
		"http://h.test/${payload.twice}":                  "http://h.test/second",
	} {
		rec := &recorder{}
		e := sample()
		e.Payload = json.RawMessage(`{"dots":"..","b":1.50,"n":12345678901234567890,"list":[{},{"k":"\"\u00e9\n"}],"yes":true,"null":null,"empty":"","twice":1,"twice":"second","long":"` + strings.Repeat("x", maxAddress) + `"}`)
		e.Actor = json.RawMessage(`{"name":"Ada <L> & #?"}`)
		r := New().Send(t.Context(), delivery(decode(t, `{"url":"`+raw+`"}`), e, rec))
		switch {
		case want == "":
			if r.Verdict != patchbay.VerdictRejected || r.Type != patchbay.CodeMisconfiguredIntegration || rec.request != nil || !strings.Contains(r.Error, "${payload.") {
				t.Errorf("%s: %+v", raw, r)
			}
		case rec.request == nil || rec.request.URL != want:
			t.Errorf("%s: %+v, %+v, want %s", raw, rec.request, r, want)
		}
	}
	for _, bad := range []string{
		"http://${payload.host}/", "${payload.url}", "http://h.test:${payload.port}/", "http://${payload.user}@h.test/", "${payload.scheme}://h.test/",
		"http://h.test${payload.path}", "http://a${type}.test/x", "http://h.test/#${type}", "http://u:${payload.p}@h.test/",
		"http://h.test/${", "http://h.test/${}", "http://h.test/${type", "http://h.test/${payload}", "http://h.test/${payload.}", "http://h.test/${payload..a}",
		"http://h.test/${settings.secret}", "http://h.test/${type.x}", "http://h.test/${payload.a b}", "http://h.test/${env}", "http://h.test/${${type}}", "http://h.test/${Type}",
		"ftp://h.test/", "/relative", "http:///x", "http://h.test:99999/", "http://h.test/" + strings.Repeat("${type}", maxPlaceholders+1),
	} {
		raw, _ := json.Marshal(map[string]string{"url": bad})
		if _, err := spec().Check(raw, integration.CheckOptions{}); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest || strings.Contains(err.Error(), "h.test") {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
}

// What is shown of settings leads to the receiver and holds nothing that must not be seen.
func TestShown(t *testing.T) {
	s := decode(t, `{"url":"https://us%40er:p%3Aw@h.test:8443/a/${payload.b}/@c?token=x"}`)
	w := New()
	if w.Target(s) != "https://h.test:8443/a/${payload.b}/@c" || w.Destination(s) != "h.test:8443" || w.ShortName(s) != "Webhook h.test:8443" {
		t.Errorf("%q %q %q", w.Target(s), w.Destination(s), w.ShortName(s))
	}
	if got := w.Target(decode(t, `{"url":"http://h.test?x"}`)); got != "http://h.test" {
		t.Errorf("target %q", got)
	}
	masked := string(spec().Mask(json.RawMessage(`{"url":"https://us:pw@h.test/a","headers":{"X":"abc"},"secret":"` + hmacSecret + `"}`)))
	if strings.Contains(masked, "pw@") || !strings.Contains(masked, "h.test/a") || strings.Contains(masked, "abc") || strings.Contains(masked, hmacSecret) {
		t.Errorf("masked %s", masked)
	}
}

// Only 2xx and 410 are final; a receiver has 15 seconds, whatever the attempt has; a preview is not signed.
func TestAttempt(t *testing.T) {
	rec := &recorder{status: 404}
	s := decode(t, `{"url":"http://h.test","secret":"`+hmacSecret+`"}`)
	d := delivery(s, sample(), rec)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	r := New().Send(ctx, d)
	if r.Verdict != patchbay.VerdictRetry || r.Type != patchbay.CodeUserConfigurationError || r.Code != 404 || r.RetryAfter != 7*time.Second {
		t.Errorf("%+v", r)
	}
	if left := time.Until(rec.until); left > timeout {
		t.Errorf("%v left", left)
	}
	rec.status = 302
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictRetry || !strings.Contains(r.Error, "redirects are not followed") {
		t.Errorf("%+v", r)
	}
	rec.status = 410
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictRejected || !r.Disable {
		t.Errorf("%+v", r)
	}
	rec.err = integration.ErrPreview
	d.Preview = true
	New().Send(t.Context(), d)
	if got := rec.request.Header.Get("webhook-signature"); got != "v1,[made when it is sent]" {
		t.Errorf("a preview is signed %q", got)
	}
	d.Preview, rec.err = false, nil
	d.Event = &patchbay.Event{Type: "integration_test", OccurredAt: time.Now()}
	New().Send(t.Context(), d)
	if id := rec.request.Header.Get("webhook-id"); !strings.HasPrefix(id, "evt_test") || !strings.Contains(string(rec.request.Body), id) {
		t.Errorf("a test without an identifier: %q %s", id, rec.request.Body)
	}
}

// BenchmarkSend is everything but the request itself.
func BenchmarkSend(b *testing.B) {
	for _, secret := range []string{hmacSecret, edSeed} {
		b.Run(secret[:5], func(b *testing.B) {
			e := sample()
			e.Payload = json.RawMessage(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
			d := delivery(decode(b, `{"url":"http://h.test/hook","secret":"`+secret+`"}`), e, nil)
			d.Env.HTTP = sinkHTTP{}
			ctx := context.Background()
			w := New()
			b.ReportAllocs()
			for b.Loop() {
				w.Send(ctx, d)
			}
		})
	}
	b.Run("hmac alone", func(b *testing.B) {
		s, _ := newSigner(hmacSecret)
		id, at, body := []byte("evt_01h2xcejqtf2n"), []byte("1795348800"), bytes.Repeat([]byte("x"), 1000)
		var memory [64]byte
		b.ReportAllocs()
		for b.Loop() {
			s.sign(memory[:0], id, at, body)
		}
	})
	b.Run("placeholders", func(b *testing.B) {
		s := decode(b, `{"url":"http://h.test/${type}/${payload.repo.name}?s=${scope}"}`)
		e := sample()
		e.Payload = json.RawMessage(`{"text":"` + strings.Repeat("x", 1000) + `","repo":{"id":7,"name":"web"}}`)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.address.expand(e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

var ok = &integration.Response{Status: 200}

type sinkHTTP struct{}

func (sinkHTTP) Do(context.Context, *integration.Request) (*integration.Response, error) {
	return ok, nil
}
