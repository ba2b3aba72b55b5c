package integrationtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

var keyForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// definition checks that the declaration is complete enough to be shown.
func (k *kit) definition(t *testing.T) {
	d := k.def
	if !keyForm.MatchString(d.Key) {
		t.Errorf("the key %q is not a–z, 0–9 and _", d.Key)
	}
	for what, text := range map[string]string{"Title": d.Title, "Category": d.Category, "Description": d.Description, "Docs": d.Docs} {
		if strings.TrimSpace(text) == "" || strings.Contains(text, "TODO") {
			t.Errorf("%s is empty or not done", what)
		}
	}
	if len(d.Docs) < 200 {
		t.Error("Docs is a page: what it does, where to get each setting, what arrives")
	}
	if d.Decode == nil {
		t.Fatal("there is no Decode")
	}
	for _, p := range d.Events {
		if _, err := patchbay.ParsePattern(string(p)); err != nil {
			t.Errorf("Events: %v", err)
		}
	}
	if !slices.Contains(integration.Supports(k.Integration), integration.CanSend) {
		t.Error("it does not support sending")
	}
	k.spec(t, "settings", d.Settings)
	k.spec(t, "config", d.Config)
}

func (k *kit) spec(t *testing.T, path string, s integration.Spec) {
	seen := map[string]bool{}
	for i := range s {
		set := &s[i]
		here := path + "." + set.Key
		if !keyForm.MatchString(set.Key) || seen[set.Key] {
			t.Errorf("%s: the key is not a–z, 0–9 and _, or stands there twice", here)
		}
		seen[set.Key] = true
		if set.Title == "" || set.Type == "" {
			t.Errorf("%s: it needs a title and a type", here)
		}
		if path == "settings" && set.Help == "" && set.Example == "" && set.Default == nil && len(set.Options) == 0 {
			t.Errorf("%s: it needs a help text or an example", here)
		}
		switch set.Type {
		case integration.TypeSelect:
			if len(set.Options) == 0 {
				t.Errorf("%s: a select without options", here)
			}
		case integration.TypeObject:
			k.spec(t, here, set.Fields)
		}
		if set.Default != nil && set.Secret {
			t.Errorf("%s: a secret with a default", here)
		}
	}
	if len(s) == 0 {
		return
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.Schema()))
	if err != nil {
		t.Fatalf("%s: the schema is not JSON: %v", path, err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///schema.json", doc); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compile("mem:///schema.json"); err != nil {
		t.Errorf("%s: the schema does not compile: %v", path, err)
	}
}

// settings checks that valid settings pass, examples among them, and that what is missing or unknown is named.
func (k *kit) settings(t *testing.T) {
	raw := k.check(t, "http://127.0.0.1:1")
	k.decode(t, raw)
	again, err := k.def.Settings.Check(raw, k.options())
	if err != nil || !bytes.Equal(raw, again) {
		t.Errorf("checked settings do not pass unchanged: %s, %v", again, err)
	}
	var whole map[string]any
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	with := func(key string, value any) json.RawMessage {
		changed := maps.Clone(whole)
		changed[key] = value
		b, _ := json.Marshal(changed)
		return b
	}
	for i := range k.def.Settings {
		set := &k.def.Settings[i]
		if set.Required && !(set.UnlessConnected && k.Connection != nil) {
			_, err := k.def.Settings.Check(with(set.Key, " "), k.options())
			if patchbay.CodeOf(err) != patchbay.CodeMisconfiguredIntegration || !strings.Contains(err.Error(), set.Key) {
				t.Errorf("%s blank: %v, want a misconfigured_integration that names it", set.Key, err)
			}
		}
		if set.Example != "" && set.Type != integration.TypeMap && set.Type != integration.TypeObject {
			if _, err := k.def.Settings.Check(with(set.Key, set.Example), k.options()); err != nil {
				t.Errorf("the example of %s does not pass: %v", set.Key, err)
			}
		}
		if set.Generate != nil {
			value, err := set.Generate()
			if err != nil {
				t.Errorf("%s: Generate: %v", set.Key, err)
			}
			checked, err := k.def.Settings.Check(with(set.Key, value), k.options())
			if err != nil {
				t.Errorf("%s: what Generate made does not pass: %v", set.Key, err)
			} else {
				k.decode(t, checked)
			}
		}
	}
	if _, err := k.def.Settings.Check(with("no_such_setting", "x"), k.options()); err == nil {
		t.Error("an unknown setting is accepted")
	}
}

// settingsSecrets checks that no way of showing settings shows a secret.
func (k *kit) settingsSecrets(t *testing.T) {
	raw := k.check(t, "http://127.0.0.1:1")
	for _, secret := range k.Secrets {
		quoted, _ := json.Marshal(secret)
		if !bytes.Contains(raw, bytes.Trim(quoted, `"`)) {
			t.Errorf("the case's secret %q does not stand in its settings", secret)
		}
	}
	k.noSecret(t, "Mask", string(k.def.Settings.Mask(raw)))
	settings := k.decode(t, raw)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		k.noSecret(t, "printing the settings with "+format, fmt.Sprintf(format, settings))
	}
	if b, err := json.Marshal(settings); err == nil {
		k.noSecret(t, "the settings as JSON", string(b))
	}
	if s, ok := k.Integration.(integration.Summarizer); ok {
		if s.ShortName(settings) == "" {
			t.Error("ShortName is empty")
		}
		k.noSecret(t, "ShortName", s.ShortName(settings))
		k.noSecret(t, "Destination", s.Destination(settings))
	}
	if s, ok := k.Integration.(integration.Targeter); ok {
		if s.Target(settings) == "" {
			t.Error("Target is empty")
		}
		k.noSecret(t, "Target", s.Target(settings))
	}
}

// delivered checks the case itself: with a partner that is well, it works, and what is kept of it shows no secret.
func (k *kit) delivered(t *testing.T) {
	s := k.stage(t, nil)
	if r := s.send(t.Context(), s.delivery(nil)); r.Verdict != patchbay.VerdictDelivered {
		t.Fatalf("it is not delivered: %+v", r)
	}
	if k.NoHTTP {
		if len(s.records) == 0 {
			t.Error("Env.Record was not called")
		}
		for _, x := range s.records {
			k.noSecret(t, "what is kept", fmt.Sprintf("%s %s %s %s", x.Method, x.URL, x.Header, x.ResponseBody))
		}
		return
	}
	if s.requests == 0 {
		t.Error("the partner got nothing")
	}
	for _, r := range s.http.sent {
		k.noSecret(t, "what is kept", s.redacted(r))
	}
}

// preview checks that a preview makes exactly one request, the one that creates, and sends nothing.
func (k *kit) preview(t *testing.T) {
	s := k.stage(t, nil)
	s.http.preview = true
	s.env.Dial = func(context.Context, string, string) (net.Conn, error) {
		t.Error("a preview dials")
		return nil, integration.ErrPreview
	}
	d := s.delivery(nil)
	d.Preview, d.ID = true, 0
	s.send(t.Context(), d)
	if s.requests != 0 {
		t.Error("a preview sent something")
	}
	made := len(s.http.sent) + len(s.records)
	if made != 1 {
		t.Fatalf("a preview made %d requests, want 1", made)
	}
	for _, r := range s.http.sent {
		k.noSecret(t, "the preview", s.redacted(r))
	}
}

// hostile checks that text from outside stays text.
func (k *kit) hostile(t *testing.T) {
	for _, text := range hostileTexts {
		t.Run("", func(t *testing.T) {
			s := k.stage(t, nil)
			d := s.delivery(withText(text))
			quoted, _ := json.Marshal(text)
			d.Event.Payload = json.RawMessage(`{"text":` + string(quoted) + `,"repo":{"id":7,"name":` + string(quoted) + `}}`)
			d.Event.Actor = json.RawMessage(`{"name":` + string(quoted) + `}`)
			if r := s.send(t.Context(), d); r.Verdict == patchbay.VerdictRetry {
				t.Errorf("%+v", r)
			}
			bodies := s.bodies
			for _, x := range s.records {
				bodies = append(bodies, x.ResponseBody)
			}
			for _, body := range bodies {
				if len(body) > 0 && (body[0] == '{' || body[0] == '[') && !json.Valid(body) {
					t.Errorf("the body is broken JSON: %.500q", body)
				}
				if k.Clean != nil && len(body) > 0 {
					k.Clean(t, body, text)
				}
			}
		})
	}
}

// large checks that an event of 1 MiB is sent, cut or refused, but not retried for ever.
func (k *kit) large(t *testing.T) {
	s := k.stage(t, nil)
	const size = patchbay.MaxEventBody - 100
	long := strings.Repeat("long text. ", size/11)
	m := withText(long)
	m.Thread, m.Labels = "repo/web", nil
	m.Fields = append(m.Fields, slices.Repeat([]patchbay.Field{{Title: "Field", Value: "value"}}, 1000)...)
	d := s.delivery(m)
	d.Event.Payload = json.RawMessage(`{"text":"` + long + `"}`)
	if r := s.send(t.Context(), d); r.Verdict == patchbay.VerdictRetry {
		t.Errorf("%+v", r)
	}
	for _, body := range s.bodies {
		if len(body) > k.MaxBody {
			t.Errorf("a body of %d bytes, at most %d are wanted", len(body), k.MaxBody)
		}
	}
}

// unrenderable checks that a template that fails is neither retried nor sent.
func (k *kit) unrenderable(t *testing.T) {
	s := k.stage(t, nil)
	d := s.delivery(nil)
	asked := false
	d.Message = func() (*integration.Message, error) {
		asked = true
		return nil, errors.New("payload.run is missing")
	}
	r := s.send(t.Context(), d)
	if asked && (r.Verdict != patchbay.VerdictRejected || r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, "payload.run is missing")) {
		t.Errorf("%+v, want integration.Unrenderable", r)
	}
}

// testEvent checks that the event that tries settings out works: it has no payload to speak of.
func (k *kit) testEvent(t *testing.T) {
	s := k.stage(t, nil)
	for _, payload := range []string{"{}", ""} {
		d := s.delivery(&patchbay.Message{Title: "Your integration works!", Severity: patchbay.SeveritySuccess})
		d.Event.Type, d.Event.Payload, d.Event.Actor, d.ID = "integration_test", json.RawMessage(payload), nil, 0
		d.Event.Source = patchbay.Source{Kind: patchbay.SourceTest}
		if r := s.send(t.Context(), d); r.Verdict != patchbay.VerdictDelivered {
			t.Errorf("%+v", r)
		}
	}
}

// failOn answers the nth request (from 1) with a status, the others as all is well; n 0 is every request.
type failOn struct {
	well    http.Handler
	n       int
	answer  func(w http.ResponseWriter)
	mu      sync.Mutex
	count   int
	request *http.Request // the one that was failed
}

func (f *failOn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.count++
	fail := f.n == 0 || f.count == f.n
	if fail {
		f.request = r
	}
	f.mu.Unlock()
	if fail {
		f.answer(w)
		return
	}
	f.well.ServeHTTP(w, r)
}

// calls counts the requests that a delivery takes when all is well.
func (k *kit) calls(t *testing.T) int {
	s := k.stage(t, nil)
	s.send(t.Context(), s.delivery(nil))
	return s.requests
}

// each runs a check for each request that a delivery takes, failing that one.
func (k *kit) each(t *testing.T, answer func(w http.ResponseWriter), check func(t *testing.T, r *http.Request, res integration.Result)) {
	for n := range k.calls(t) {
		f := &failOn{well: k.well(), n: n + 1, answer: answer}
		s := k.stage(t, f)
		res := s.send(t.Context(), s.delivery(nil))
		if f.request == nil {
			continue // what is asked depends on what was answered
		}
		check(t, f.request, res)
		for _, r := range s.http.sent {
			k.noSecret(t, "what is kept", s.redacted(r))
		}
	}
}

func (k *kit) wanted(r *http.Request, status int) Want {
	if k.EveryStatus != nil {
		return k.EveryStatus(r, status)
	}
	if w, ok := k.Statuses[status]; ok {
		return w
	}
	return wantOf(integration.Classify("", &integration.Response{Status: status}))
}

// statuses checks the verdict on each status, of each request, and that a partner's wish to wait is carried over.
func (k *kit) statuses(t *testing.T) {
	for _, status := range []int{301, 302, 307, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 415, 418, 422, 425, 429, 451, 500, 501, 502, 503, 504, 505, 520} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			answer := func(w http.ResponseWriter) {
				w.Header().Set("Location", "/elsewhere")
				w.Header().Set("Retry-After", "77")
				w.WriteHeader(status)
				write(w, "no")
			}
			k.each(t, answer, func(t *testing.T, r *http.Request, res integration.Result) {
				if got, want := wantOf(res), k.wanted(r, status); got != want {
					t.Errorf("%s %s: %+v (%s), want %+v", r.Method, r.URL.Path, got, res.Error, want)
				}
				if res.Verdict == patchbay.VerdictRetry && res.RetryAfter != 77*time.Second {
					t.Errorf("%s %s: RetryAfter is %v, want 77 s", r.Method, r.URL.Path, res.RetryAfter)
				}
				if res.Verdict != patchbay.VerdictDelivered && (res.Code != status || string(res.Body) != "no") {
					t.Errorf("%s %s: the result does not carry the answer: %d %q", r.Method, r.URL.Path, res.Code, res.Body)
				}
			})
		})
	}
}

// unreachable checks that a partner that is not there is tried again, and a target that is refused is not.
func (k *kit) unreachable(t *testing.T) {
	s := k.stage(t, nil)
	s.server.Close()
	if r := s.send(t.Context(), s.delivery(nil)); r.Verdict != patchbay.VerdictRetry || r.Type != patchbay.CodeServiceError {
		t.Errorf("a dead partner: %+v", r)
	}
	s = k.stage(t, nil)
	s.env.HTTP = refusing{}
	if r := s.send(t.Context(), s.delivery(nil)); r.Verdict != patchbay.VerdictRejected || r.Type != patchbay.CodeUserConfigurationError {
		t.Errorf("a refused target: %+v", r)
	}
}

// refusing is a client to which every target is refused.
type refusing struct{}

// Do implements integration.HTTP.
func (refusing) Do(context.Context, *integration.Request) (*integration.Response, error) {
	return nil, integration.ErrRefused
}

// garbage checks that a partner that is not itself does no harm: no panic, and a verdict.
func (k *kit) garbage(t *testing.T) {
	for _, body := range []string{
		"", "null", "[]", "{}", `""`, "7", "{", "<html>gateway</html>", "\x00\xff", `{"id":{},"key":[],"stories":7,"issues":"x","ok":"no"}`,
		`{"errors":[{"message":null}],"error":{"message":7}}`, strings.Repeat("[", 100_000), `{"issues":[null],"stories":{"stories":[null]}}`,
	} {
		for _, status := range []int{200, 400, 500} {
			s := k.stage(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				write(w, body)
			}))
			if r := s.send(t.Context(), s.delivery(nil)); status != 200 && r.Verdict == patchbay.VerdictDelivered {
				t.Errorf("%d %.40q counts as delivered", status, body)
			}
		}
	}
}

// endless checks that a body that never ends does not hold the integration.
func (k *kit) endless(t *testing.T) {
	for _, status := range []int{200, 500} {
		s := k.stage(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			chunk := []byte(strings.Repeat("x", 32<<10))
			for r.Context().Err() == nil {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}))
		s.send(t.Context(), s.delivery(nil))
	}
}

// cancelled checks that Send ends soon after its context does, at every request, and that this may be tried again.
func (k *kit) cancelled(t *testing.T) {
	for n := range k.calls(t) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		f := &failOn{well: k.well(), n: n + 1, answer: func(http.ResponseWriter) { cancel(); <-release }}
		s := k.stage(t, f)
		t.Cleanup(func() { cancel() })
		began := time.Now()
		r := s.send(ctx, s.delivery(nil))
		close(release)
		if f.request == nil {
			continue
		}
		if took := time.Since(began); took > 5*time.Second || r.Verdict != patchbay.VerdictRetry {
			t.Errorf("request %d: %+v after %v", n+1, r, took)
		}
	}
}
