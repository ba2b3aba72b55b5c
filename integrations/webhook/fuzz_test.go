package webhook

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Whatever address a user writes and whatever value an event has: the request goes to the host that is written, and
// a value becomes exactly one part of the path or query, never more.
func FuzzAddress(f *testing.F) {
	for _, a := range []string{
		"http://h.test/${payload.v}/x", "https://u:p@h.test:81/a?q=${payload.v}&r=1", "http://h.test/x?${payload.v}", "http://${payload.v}/",
		"http://h.test/${type}/${payload.v}${payload.v}", "http://h.test/${payload.v", "${payload.v}", "http://h.test\\@x/${payload.v}", "http://[::1]/${payload.v}", "http://h.test/#${payload.v}",
	} {
		for _, v := range []string{"a", "../..", "a/b?c#d&e=f%2F", "@evil.test/", "\r\nX: y", "é\x00\u202e", ""} {
			f.Add(a, v)
		}
	}
	f.Fuzz(func(t *testing.T, raw, value string) {
		value = strings.ToValidUTF8(value, "")
		settings, _ := json.Marshal(map[string]string{"url": raw})
		checked, err := spec().Check(settings, integration.CheckOptions{})
		if err != nil {
			return
		}
		decoded, err := New().Definition().Decode(checked)
		if err != nil {
			t.Fatalf("Decode refuses what Check accepted: %v", err)
		}
		s := decoded.(*Settings)
		payload, _ := json.Marshal(map[string]string{"v": value})
		expand := func(payload []byte) string {
			out, err := s.address.expand(&patchbay.Event{ID: 7, Type: "t", Scope: "s", Payload: payload, OccurredAt: time.Unix(0, 0)})
			if err != nil {
				return ""
			}
			return out
		}
		got, plain := expand(payload), expand([]byte(`{"v":"x"}`))
		if got == "" || plain == "" {
			return
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Fatalf("%q with %q is no URL: %v", raw, value, err)
		}
		p, err := url.Parse(plain)
		if err != nil {
			t.Fatalf("%q is no URL: %v", plain, err)
		}
		written, _ := url.Parse(s.URL.Reveal())
		if u.Scheme != written.Scheme || u.Host != written.Host || u.User.String() != written.User.String() || u.Fragment != "" {
			t.Fatalf("%q with %q leads to %q", raw, value, got)
		}
		if strings.Count(u.EscapedPath(), "/") != strings.Count(p.EscapedPath(), "/") || strings.Count(u.RawQuery, "&") != strings.Count(p.RawQuery, "&") ||
			strings.Count(u.RawQuery, "=") != strings.Count(p.RawQuery, "=") || (u.RawQuery == "") != (p.RawQuery == "") && value != "" {
			t.Fatalf("%q with %q has other parts: %q", raw, value, got)
		}
		if len(s.address.parts) > 1 {
			if n := strings.Count(raw, "${payload.v}"); n > 0 && strings.Count(got, string(appendEscaped(nil, value))) < n {
				t.Fatalf("%q with %q lost a value: %q", raw, value, got)
			}
		}
	})
}

// In every format the body is valid JSON, and the payload's bytes stand in it as they came in.
func FuzzFormats(f *testing.F) {
	for _, p := range []string{`{}`, ` { } `, `{"event":1}`, `{"a":1.50,"b":{"event":[]},"\u0065vent":"x"}`, `{"a\"":"}\\","event" : {"x":[{}]} , "z":null}`, "{\"é\":\"\u2028\"}"} {
		f.Add([]byte(p), `{"name":"x"}`, "repo.push", "acme/x")
	}
	f.Add([]byte(`{"a":1}`), ``, `ty"pe`, "")
	f.Fuzz(func(t *testing.T, payload []byte, actor, typ, scope string) {
		var members map[string]json.RawMessage
		if !json.Valid(payload) || json.Unmarshal(payload, &members) != nil || members == nil || !utf8.Valid(payload) {
			return // the API accepts objects only
		}
		if !json.Valid([]byte(actor)) || !utf8.ValidString(actor) {
			actor = ""
		}
		typ, scope = strings.ToValidUTF8(typ, ""), strings.ToValidUTF8(scope, "")
		e := &patchbay.Event{ID: 7, Type: typ, Scope: patchbay.Scope(scope), Payload: payload, Actor: json.RawMessage(actor), OccurredAt: time.Unix(0, 0)}
		for _, format := range []string{formatEnvelope, formatFlat, formatStandard, formatPayload, formatCloudEvents} {
			s := &Settings{Format: format}
			body, _ := s.body(&integration.Delivery{Event: e, Env: &integration.Env{Now: time.Now}})
			if !json.Valid(body) {
				t.Fatalf("%s: %q", format, body)
			}
			if format != formatFlat {
				if !bytes.Contains(body, bytes.TrimSpace(payload)) {
					t.Fatalf("%s: the payload %q is not in %q", format, payload, body)
				}
				continue
			}
			var flat map[string]json.RawMessage
			var claimed string
			if err := json.Unmarshal(body, &flat); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(flat["event"], &claimed); err != nil || claimed != typ {
				t.Fatalf("the event is %q, want %q: %q", claimed, typ, body)
			}
			delete(flat, "event")
			delete(members, "event")
			if len(flat) != len(members) {
				t.Fatalf("%q became %q", payload, body)
			}
			for k, v := range members {
				if !bytes.Equal(flat[k], v) {
					t.Fatalf("%q became %q", payload, body)
				}
			}
		}
	})
}

// A path finds what a full decoder finds.
func FuzzPath(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,"x",{"c":true}]}}`), "a.b.2.c")
	f.Add([]byte(`{"a":"\u00e9","a":1.50}`), "a")
	f.Add([]byte(` [ ] `), "0")
	f.Add([]byte(`{"a":{}`), "a")
	f.Fuzz(func(t *testing.T, doc []byte, dotted string) {
		path := strings.Split(dotted, ".")
		got := at(doc, path)
		if !json.Valid(doc) || !utf8.Valid(doc) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		var want any
		if dec.Decode(&want) != nil {
			return
		}
		found := true
		for _, key := range path {
			switch x := want.(type) {
			case map[string]any:
				want, found = x[key]
			case []any:
				n, err := strconv.ParseInt(key, 10, 64)
				if found = err == nil && n >= 0 && n < int64(len(x)) && !strings.HasPrefix(key, "+"); found {
					want = x[n]
				}
			default:
				found = false
			}
			if !found {
				break
			}
		}
		if found != (got != nil) {
			t.Fatalf("%q at %q: %q, want %v", doc, dotted, got, want)
		}
		if !found {
			return
		}
		if !json.Valid(got) || !bytes.Contains(doc, got) {
			t.Fatalf("%q at %q: %q", doc, dotted, got)
		}
		if text, err := textAt(doc, path); err == nil {
			switch x := want.(type) {
			case string:
				if x != text {
					t.Fatalf("%q, want %q", text, x)
				}
			case json.Number:
				if x.String() != text {
					t.Fatalf("%q, want %q", text, x)
				}
			}
		}
	})
}

func FuzzSecret(f *testing.F) {
	for _, s := range []string{hmacSecret, edSeed, "whsec_", "whsk_AAAA", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := newSigner(text)
		if err != nil {
			if len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Errorf("the error shows the secret: %v", err)
			}
			return
		}
		if got := string(s.sign(nil, []byte("id"), []byte("1"), nil)); !strings.HasPrefix(got, s.version()+",") {
			t.Errorf("signature %q", got)
		}
	})
}
