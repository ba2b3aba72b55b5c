package github

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/internal/nodetest"
)

const hookSecret = "a-secret-of-the-link"

// received is when the calls of these tests come in.
var received = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// decode reads a link's settings as the link service does.
func decode(t testing.TB, raw string) *Settings {
	t.Helper()
	def := New().Definition()
	checked, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{Connected: true})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := def.Decode(checked)
	if err != nil {
		t.Fatal(err)
	}
	return settings.(*Settings)
}

// everything is a link that receives all that can be received.
func everything(t testing.TB) *Settings {
	return decode(t, `{"repository": "acme/web", "receive": "`+strings.Join(eventNames(), ",")+`"}`)
}

// call makes a signed call to a link's address.
func call(t testing.TB, s *Settings, event string, body []byte) *integration.HookCall {
	t.Helper()
	c := &integration.HookCall{
		Method: http.MethodPost, Header: http.Header{}, Body: body, ReceivedAt: received, Link: 7, Scope: "acme", Settings: s,
		Secrets: []integration.Secret{hookSecret},
	}
	c.Header.Set("Content-Type", "application/json")
	c.Header.Set("X-GitHub-Event", event)
	c.Header.Set("X-GitHub-Delivery", "0b989ba4-242f-11e5-81e1-c7b6966d2516")
	c.Header.Set("X-GitHub-Hook-Installation-Target-Type", "repository")
	sign(t, c, hookSecret)
	return c
}

func sign(t testing.TB, c *integration.HookCall, secret integration.Secret) {
	t.Helper()
	if err := signature.GitHub().Sign(c.Header, "", c.Method, c.Body, secret, c.ReceivedAt); err != nil {
		t.Fatal(err)
	}
}

// verify checks a call as the hook endpoint does.
func verify(c *integration.HookCall) error {
	v := New().Verification(c)
	return v.Scheme.Verify(c.Header, "", c.Method, c.Body, v.Secrets, c.ReceivedAt)
}

// read verifies, opens and reads a call.
func readCall(t testing.TB, c *integration.HookCall) *integration.Reading {
	t.Helper()
	if err := verify(c); err != nil {
		t.Fatal(err)
	}
	if _, err := New().Open(c); err != nil {
		t.Fatal(err)
	}
	r, err := New().Read(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// published returns the examples that npm has, by the name of the event.
func published(t testing.TB, folder string) map[string][]json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile(nodetest.Path(t, "node_modules/@octokit/webhooks-examples/"+folder+"/index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	out := map[string][]json.RawMessage{}
	for _, kind := range all {
		out[kind.Name] = append(out[kind.Name], kind.Examples...)
	}
	return out
}

// TestPublishedExamples sends every example that GitHub's own libraries are tested with through the receiver, signed.
func TestPublishedExamples(t *testing.T) {
	c := types(t)
	s := everything(t)
	for folder, least := range map[string]int{"api.github.com": 329, "ghes-31": 40, "ghes-32": 40, "ghes-33": 40, "ghes-34": 40, "ghes-35": 40} {
		total, events, entries, ignored := 0, 0, 0, map[string]int{}
		examples := published(t, folder)
		for _, name := range slices.Sorted(maps.Keys(examples)) {
			for i, body := range examples[name] {
				total++
				where := fmt.Sprintf("%s %s[%d]", folder, name, i)
				in := call(t, s, name, body)
				if err := verify(in); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				e, err := New().Open(in)
				if err != nil || e.Type != name || e.Key != "" || e.Done != (name == "ping") {
					t.Fatalf("%s: %+v, %v", where, e, err)
				}
				if e.Done {
					continue
				}
				before := string(in.Body)
				r, err := New().Read(t.Context(), in)
				again, _ := New().Read(t.Context(), in)
				switch {
				case err != nil:
					t.Fatalf("%s: %v", where, err)
				case !reflect.DeepEqual(r, again):
					t.Errorf("%s reads differently the second time", where)
				case before != string(in.Body):
					t.Errorf("%s: the body was changed", where)
				}
				kind := c.Type("github." + name)
				if kind == nil {
					if len(r.Events) != 0 || r.Ignored == "" {
						t.Errorf("%s: there is no such type, and it became %+v", where, r)
					}
					ignored[name]++
					continue
				}
				events++
				if len(r.Events) != 1 || r.Ignored != "" {
					t.Fatalf("%s: became %d events, ignored for %q", where, len(r.Events), r.Ignored)
				}
				entries += len(r.Events[0].Entries)
				checkInbound(t, where, kind.Validate, &r.Events[0], body)
				if text := readable(t, kind, body); strings.Contains(text, "{{") || strings.HasPrefix(text, " ") {
					t.Errorf("%s reads %q", where, text)
				}
			}
		}
		if total < least || events < total/2 {
			t.Errorf("%s: only %d examples, of which %d became events", folder, total, events)
		}
		t.Logf("%s: %d examples of %d kinds, %d events with %d entries; of no type: %v", folder, total, len(examples), events, entries, ignored)
	}
}

// checkInbound checks what holds of everything that a call becomes.
func checkInbound(t *testing.T, where string, validate func([]byte) []patchbay.Detail, in *integration.Inbound, body []byte) {
	t.Helper()
	if details := validate(in.Payload); len(details) > 0 {
		t.Errorf("%s: the payload does not fit the type: %v", where, details)
	}
	if string(in.Payload) != string(body) {
		t.Errorf("%s: the payload is not what was sent", where)
	}
	alert := strings.HasSuffix(in.Type, "_alert") && in.Actor == nil // a scanner found it
	if !alert && (in.Actor == nil || in.Actor.ID == "" || in.Actor.Name == "") {
		t.Errorf("%s: nobody did it: %+v", where, in.Actor)
	}
	if !in.OccurredAt.IsZero() && (in.OccurredAt.Year() < 2015 || in.OccurredAt.After(received)) {
		t.Errorf("%s: it occurred at %v", where, in.OccurredAt)
	}
	for _, e := range in.Entries {
		if e.Text == "" || e.OccurredOn == "" || e.ExternalID == "" || !strings.HasPrefix(e.ExternalURL, "http") || e.Author == nil || e.Author.Name == "" {
			t.Errorf("%s: an entry that says too little: %+v", where, e)
		}
	}
}
