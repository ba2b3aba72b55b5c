package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
)

// seen is a body as encoding/json reads it.
type seen struct {
	EventType    *string         `json:"event_type"`
	EventName    *string         `json:"event_name"`
	Event        *string         `json:"event"`
	Payload      json.RawMessage `json:"payload"`
	Actor        json.RawMessage `json:"actor"`
	Scope        *string         `json:"scope"`
	Also         []string        `json:"also"`
	ID           *string         `json:"id"`
	OccurredAt   *time.Time      `json:"occurred_at"`
	Integrations json.RawMessage `json:"integrations"`
	Consumer     json.RawMessage `json:"oauth_consumer"`
}

// FuzzParse: no body makes parse panic, and what it accepts it reads as encoding/json does, with every byte of payload
// and actor as it came.
func FuzzParse(f *testing.F) {
	for _, body := range []string{
		`{"event_type":"repo.push","payload":{"n":1.0},"scope":"acme/x","also":["acme"],"id":"k","occurred_at":"2026-01-02T03:04:05.5+01:00","actor":{"name":"é"}}`,
		`{"event":"a","integrations":[{"key":"slack","settings":[{"key":"url","value":"x"}]}],"oauth_consumer":{"key":"k","secrets":{"RSA-SHA1":"p"}}}`,
		`{"event_name":"\u0061","event":"a","payload":{"\u0062":[1e999,-0,{}]}}`,
		` { "event" : "a" , "payload" : { } } `, `{"event":"a","also":null,"actor":null,"occurred_at":null}`,
		`{"event":"a","payload":{"a":1,"a":2}}`, `{"event":"a","Payload":{}}`, `[]`, `null`, `{`, ``, `{"event":"a"}{}`,
		`{"event":"a","payload":` + strings.Repeat(`{"x":`, 300) + `1` + strings.Repeat(`}`, 300) + `}`,
		"{\"event\":\"\xff\"}", `{"event":"\ud800"}`, `{"event":"a","scope":""}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		c, err := parse(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			var e *patchbay.Error
			if !errors.As(err, &e) || e.Code != patchbay.CodeInvalidRequest || e.Message == "" {
				t.Fatalf("the error is %#v", err)
			}
			return
		}
		var want seen
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("encoding/json refuses what was accepted: %v", err)
		}
		for name, field := range map[string]struct {
			got  string
			want *string
		}{"scope": {c.scope, want.Scope}, "id": {c.id, want.ID}} {
			if field.want == nil && field.got != "" || field.want != nil && field.got != *field.want {
				t.Errorf("%s is %q", name, field.got)
			}
		}
		names := []*string{want.EventType, want.EventName, want.Event}
		if !slices.ContainsFunc(names, func(n *string) bool { return n != nil && *n == c.name }) {
			t.Errorf("the name is %q", c.name)
		}
		for name, field := range map[string]struct{ got, want []byte }{
			"payload": {c.payload, want.Payload}, "actor": {c.actor, notNull(want.Actor)},
			"integrations": {c.integrations, want.Integrations}, "oauth_consumer": {notNull(c.consumer), notNull(want.Consumer)},
		} {
			if !bytes.Equal(bytes.TrimSpace(field.got), bytes.TrimSpace(field.want)) {
				t.Errorf("%s is %s, want %s", name, field.got, field.want)
			}
		}
		if diff := cmp.Diff(want.Also, c.also); diff != "" && len(want.Also)+len(c.also) > 0 {
			t.Error(diff)
		}
		if want.OccurredAt != nil && !c.occurredAt.Equal(want.OccurredAt.Truncate(time.Microsecond)) {
			t.Errorf("the time is %s, want %s", c.occurredAt, want.OccurredAt)
		}
		payload, actor := c.own()
		clear(body) // the body is used again for the next call
		if !json.Valid(payload) || len(want.Payload) > 0 && !bytes.Equal(payload, want.Payload) || actor != nil && !bytes.Equal(actor, want.Actor) {
			t.Errorf("what is kept is %s and %s, want %s and %s", payload, actor, want.Payload, want.Actor)
		}
	})
}

func notNull(raw []byte) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// FuzzSettings: Rainforest's list of keys and values says what an object would say.
func FuzzSettings(f *testing.F) {
	for _, raw := range []string{`[{"key":"url","value":"x"},{"key":"n","value":{"a":1.0}}]`, `[{"key":"a"}]`, `[{"value":1}]`, `[{"key":"a","value":1},{"key":"a","value":2}]`, `[]`, `{}`, `null`, `""`, `[1]`, `[[]]`, `[{"key":"\u0061","value":null}]`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body := append(append([]byte(`{"event":"a","integrations":[`), raw...), `]}`...)
		c, err := parse(body)
		if err != nil {
			t.Skip() // not JSON
		}
		var elements []json.RawMessage
		if json.Unmarshal(c.integrations, &elements) != nil || len(elements) != 1 {
			t.Skip()
		}
		object, err := settingsObject(elements[0])
		if err != nil {
			return
		}
		var got, want map[string]json.RawMessage
		if err := json.Unmarshal(object, &got); err != nil {
			t.Fatalf("%s became %s: %v", elements[0], object, err)
		}
		var list []struct {
			Key   string
			Value json.RawMessage
		}
		switch {
		case json.Unmarshal(elements[0], &list) == nil && list != nil:
			want = map[string]json.RawMessage{}
			for _, e := range list {
				want[e.Key] = e.Value
			}
		default:
			if err := json.Unmarshal(elements[0], &want); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%s became %s", elements[0], object)
		}
	})
}

func TestIdempotencyKeys(t *testing.T) {
	for _, c := range []struct{ id, header, want, wrong string }{
		{"", "", "", ""}, {"a", "", "a", ""}, {"", "a", "a", ""}, {"a", "a", "a", ""}, {"a", "b", "", "id"},
		{"", strings.Repeat("x", 128), strings.Repeat("x", 128), ""}, {"", strings.Repeat("x", 129), "", "Idempotency-Key"}, {"", "é", "", "Idempotency-Key"},
	} {
		got, err := (&call{id: c.id}).idempotencyKey(c.header)
		var e *patchbay.Error
		if got != c.want || (err != nil) != (c.wrong != "") || errors.As(err, &e) && e.Details[0].Path != c.wrong {
			t.Errorf("id %q and header %q: %q, %v", c.id, c.header, got, err)
		}
	}
}

// TestRemember: a remembered key is one of a caller and a tenant, and never runs into another.
func TestRemember(t *testing.T) {
	key := &access.Caller{Key: 7}
	other := &access.Caller{Key: 8}
	signed := &access.Caller{Name: "signature"}
	seen := map[[16]byte]string{}
	for says, idem := range map[string][16]byte{
		"one":                  remember(key, "acme/x", "k", nil, time.Time{}).Key,
		"another caller":       remember(other, "acme/x", "k", nil, time.Time{}).Key,
		"the signing key":      remember(signed, "acme/x", "k", nil, time.Time{}).Key,
		"another tenant":       remember(key, "other", "k", nil, time.Time{}).Key,
		"the installation":     remember(key, "", "k", nil, time.Time{}).Key,
		"another key":          remember(key, "acme", "l", nil, time.Time{}).Key,
		"a key that begins so": remember(key, "acme", "kk", nil, time.Time{}).Key,
		"a part of the tenant": remember(key, "acm", "ek", nil, time.Time{}).Key,
	} {
		if before, twice := seen[idem]; twice {
			t.Errorf("%s and %s share a memory", says, before)
		}
		seen[idem] = says
	}
	a, b := remember(key, "acme/x", "k", []byte("1"), time.Unix(0, 0)), remember(key, "acme/y", "k", []byte("2"), time.Unix(0, 0))
	if a.Key != b.Key || a.Body == b.Body || !a.Until.Equal(time.Unix(0, 0).Add(24*time.Hour)) {
		t.Errorf("two scopes of a tenant: %+v and %+v", a, b)
	}
	if remember(key, "", "", nil, time.Time{}) != nil {
		t.Error("without a key something is remembered")
	}
}

func TestAcceptedIsJSON(t *testing.T) {
	var got struct {
		Status     string
		ID         patchbay.EventID
		Deliveries int
	}
	if err := json.Unmarshal(accepted(1<<40, 12), &got); err != nil || got.Status != "ok" || got.ID != 1<<40 || got.Deliveries != 12 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestDetailsAreFew in the sentence, however many there are.
func TestDetailsAreFew(t *testing.T) {
	details := make([]patchbay.Detail, 40)
	for i := range details {
		details[i] = patchbay.Detail{Path: "payload", Message: "is wrong"}
	}
	err := invalid(details)
	if text := err.Error(); len(text) > 200 || !strings.Contains(text, "37 more") {
		t.Errorf("the sentence is %q", text)
	}
	var e *patchbay.Error
	if !errors.As(err, &e) || len(e.Details) != 40 {
		t.Errorf("the details are %v", err)
	}
}
