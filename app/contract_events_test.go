package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var eventID = regexp.MustCompile(`^evt_[0-9a-z]{13}$`)

// TestRouted is POST /events without integrations, on both of its paths.
func TestRouted(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/x", `"events":["*"]`))
	for _, path := range []string{"/events", "/v1/events"} {
		for _, name := range []string{"event_type", "event_name", "event"} {
			t.Run(fmt.Sprintf("POST %s accepts the name %s", path, name), func(t *testing.T) {
				s := s.in(t)
				got := s.call("POST", path, fmt.Sprintf(`{%q:"thing.made","payload":{}}`, name)).want(201).json()
				if got.str("status") != "ok" || got.str("deliveries") != "1" || !eventID.MatchString(got.str("id")) || len(got) != 3 {
					t.Errorf("the answer is %v", got)
				}
				if sent := decode(t, p.next(t).body); sent.str("id") != got.str("id") || sent.str("event") != "thing.made" {
					t.Errorf("the partner got %v", sent)
				}
			})
		}
	}
	t.Run("all three names may stand there when they say the same", func(t *testing.T) {
		s.in(t).publish(`{"event_type":"thing.made","event_name":"thing.made","event":"thing.made","payload":{}}`)
		p.next(t)
	})
	t.Run("what is stored and sent of an alias carries the key", func(t *testing.T) {
		s := s.in(t)
		id, _ := s.publish(`{"event":"webhook_timeout","payload":{"run":{"id":1}}}`)
		if sent := decode(t, p.next(t).body); sent.str("event") != "run_webhook_timeout" {
			t.Errorf("the partner got %v", sent)
		}
		if got := s.delivered(id); got.str("type") != "run_webhook_timeout" || got.str("deliveries", 0, "event_type") != "run_webhook_timeout" {
			t.Errorf("what is stored is %v", got)
		}
	})
	t.Run("integration_test is built in, and its payload is optional", func(t *testing.T) {
		s := s.in(t)
		s.publish(`{"event":"integration_test"}`)
		if sent := decode(t, p.next(t).body); sent.str("event") != "integration_test" || sent.at("payload") == nil {
			t.Errorf("the partner got %v", sent)
		}
	})
	t.Run("null is as good as absent for what is optional", func(t *testing.T) {
		s.in(t).publish(`{"event":"thing.made","payload":{},"id":null,"also":null,"actor":null,"occurred_at":null}`)
		p.next(t)
	})
	t.Run("entry.created is built in", func(t *testing.T) {
		s.in(t).publish(`{"event":"entry.created","payload":` + s.example("entry.created") + `}`)
		p.next(t)
	})
}

// TestEventFields: what an event says comes back, and reaches receivers.
func TestEventFields(t *testing.T) {
	s, p := things(t), newPartner(t)
	link := s.link(hook(p, "/x", `"events":["*"]`))
	payload := `{"z":1.50,"a":12345678901234567890123,"e":1E400,"neg":-0,"s":"\u00e9/\/","deep":{"b":[1,{"c":null}]},"":true}`
	id, _ := s.publish(`{"scope":"acme/teams/42","also":["acme/users/7"],"actor":{"name":"Ann","n":1.0},"occurred_at":"2026-01-02T03:04:05.678+02:00",` +
		`"payload":` + payload + `,"event_type":"thing.made"}`)
	body := string(p.next(t).body)
	want := fmt.Sprintf(`{"id":%q,"event":"thing.made","payload":%s,"scope":"acme/teams/42","occurred_at":"2026-01-02T01:04:05.678Z","actor":{"name":"Ann","n":1.0}}`, id, payload)
	if body != want {
		t.Errorf("the partner got\n%s, want\n%s", body, want)
	}
	raw := s.delivered(id)
	for path, want := range map[string]string{
		"id": id, "type": "thing.made", "scope": "acme/teams/42", "occurred_at": "2026-01-02T01:04:05.678Z",
	} {
		if raw.str(path) != want {
			t.Errorf("%s is %q, want %q", path, raw.str(path), want)
		}
	}
	if raw.str("also", 0) != "acme/users/7" || raw.str("actor", "name") != "Ann" || raw.str("payload", "a") != "12345678901234567890123" || raw.str("payload", "z") != "1.50" || raw.str("payload", "e") != "1E400" {
		t.Errorf("the event came back as %v", raw)
	}
	d := raw.objects("deliveries")[0]
	if d.str("event") != id || d.str("link") != link || d.str("integration") != "webhook" || d.str("scope") != "acme/teams/42" || d.str("state") != "succeeded" {
		t.Errorf("its delivery is %v", d)
	}

	id, _ = s.publish(`{` + made + `,"payload":{}}`)
	p.next(t)
	got := s.delivered(id)
	at, err := time.Parse(time.RFC3339, got.str("occurred_at"))
	if err != nil || time.Since(at).Abs() > time.Minute || !strings.HasSuffix(got.str("occurred_at"), "Z") || got.str("scope") != "" {
		t.Errorf("without occurred_at and scope the event is %v", got)
	}
}

// TestEventsThatAreRefused: 400 with details, and nothing is stored.
func TestEventsThatAreRefused(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/x", `"events":["*"]`))
	for _, c := range []struct{ says, body, path string }{
		{"unparseable JSON", `{"event":"thing.made"`, ""},
		{"no body", ``, ""},
		{"two values", `{"event":"thing.made","payload":{}}{}`, ""},
		{"a list", `[]`, "-"},
		{"text", `"x"`, "-"},
		{"a trailing comma", `{"event":"thing.made","payload":{},}`, ""},
		{"a comment", `{"event":"thing.made","payload":{}/**/}`, ""},
		{"single quotes", `{'event':'thing.made'}`, ""},
		{"NaN", `{"event":"thing.made","payload":{"n":NaN}}`, "payload.n"},
		{"a byte order mark", "\ufeff" + `{"event":"thing.made","payload":{}}`, ""},
		{"invalid UTF-8 in the payload", `{"event":"thing.made","payload":{"a":"` + "\xff" + `"}}`, "payload.a"},
		{"invalid UTF-8 in a key", `{"event":"thing.made","payload":{"` + "\xc3" + `":1}}`, "payload"},
		{"half a surrogate pair", `{"event":"thing.made","payload":{"a":"\ud800"}}`, "payload.a"},
		{"a key twice in the body", `{"event":"thing.made","payload":{},"payload":{}}`, ""},
		{"a key twice in the payload", `{"event":"thing.made","payload":{"a":{"b":1,"b":2}}}`, "payload.a"},
		{"a key twice, spelled differently", `{"event":"thing.made","payload":{"a":1,"\u0061":2}}`, "payload"},
		{"JSON nested 10,000 deep", `{"event":"thing.made","payload":{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}}`, "payload.a"},
		{"objects nested 10,000 deep", `{"event":"thing.made","payload":` + strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat("}", 10_000) + `}`, "payload.a"},
		{"no type", `{"payload":{}}`, "event_type"},
		{"an empty type", `{"event_type":"","payload":{}}`, "event_type"},
		{"a type that is not text", `{"event_type":1,"payload":{}}`, "event_type"},
		{"an unknown type", `{"event_type":"thing.unmade","payload":{}}`, "event_type"},
		{"a type in another case", `{"event_type":"Thing.Made","payload":{}}`, "event_type"},
		{"two types", `{"event_type":"thing.made","event":"repo.push","payload":{}}`, "event"},
		{"a type of Patchbay's own", `{"event_type":"patchbay.link.disabled","payload":{}}`, "event_type"},
		{"a type that begins like Patchbay's own", `{"event_type":"patchbay.x","payload":{}}`, "event_type"},
		{"a payload that is a list", `{"event":"thing.made","payload":[]}`, "payload"},
		{"a payload that is text", `{"event":"thing.made","payload":"{}"}`, "payload"},
		{"a payload that is null", `{"event":"thing.made","payload":null}`, "payload"},
		{"no payload where one is required", `{"event":"run_error"}`, "payload.run"},
		{"a payload that lacks a required key", `{"event":"run_error","payload":{}}`, "payload.run"},
		{"a payload that lacks one of two", `{"event":"run_test_failure","payload":{"run":{}}}`, "payload.failed_test"},
		{"a value of the wrong type", `{"event":"run_error","payload":{"run":{"id":{}}}}`, "payload.run.id"},
		{"a scope that is not text", `{"event":"thing.made","payload":{},"scope":1}`, "scope"},
		{"also that is not a list", `{"event":"thing.made","payload":{},"also":"a"}`, "also"},
		{"an actor that is not an object", `{"event":"thing.made","payload":{},"actor":"ann"}`, "actor"},
		{"a time that is none", `{"event":"thing.made","payload":{},"occurred_at":"yesterday"}`, "occurred_at"},
		{"a time without a zone", `{"event":"thing.made","payload":{},"occurred_at":"2026-01-02T03:04:05"}`, "occurred_at"},
		{"a time that is a number", `{"event":"thing.made","payload":{},"occurred_at":1700000000}`, "occurred_at"},
		{"an empty id", `{"event":"thing.made","payload":{},"id":""}`, "id"},
		{"an id of 129 characters", `{"event":"thing.made","payload":{},"id":"` + strings.Repeat("x", 129) + `"}`, "id"},
		{"an id that is not ASCII", `{"event":"thing.made","payload":{},"id":"é"}`, "id"},
		{"an id with a line break", `{"event":"thing.made","payload":{},"id":"a\nb"}`, "id"},
		{"an id that is a number", `{"event":"thing.made","payload":{},"id":7}`, "id"},
		{"a misspelled field", `{"event":"thing.made","payload":{},"scopes":"acme"}`, "scopes"},
	} {
		t.Run(c.says, func(t *testing.T) {
			got := s.in(t).call("POST", "/events", c.body).refused(400, "invalid_request").json()
			if c.path == "-" {
				return
			}
			if len(got.objects("details")) == 0 {
				t.Fatalf("there are no details: %v", got)
			}
			if path := got.str("details", 0, "path"); path != c.path && !(strings.Contains(c.says, "nested") && strings.HasPrefix(path, c.path)) {
				t.Errorf("the detail is about %q, want %q: %v", path, c.path, got)
			}
		})
	}
	if got := s.call("GET", "/v1/events", "").want(200).json(); len(got.objects("data")) != 0 {
		t.Errorf("something was stored: %v", got)
	}
	p.none(t)
}

// TestWhatIsAcceptedArrivesByteForByte through every kind of envelope.
func TestWhatIsAcceptedArrivesByteForByte(t *testing.T) {
	s, p := things(t), newPartner(t)
	link := s.link(hook(p, "/x", `"events":["*"]`))
	deep := strings.Repeat(`{"a":[`, 60) + strings.Repeat("]}", 60)
	payloads := map[string]string{
		"numbers beyond 2^53":      `{"n":9007199254740993,"m":18446744073709551616,"f":0.1000000000000000055511151231257827}`,
		"numbers beyond float64":   `{"n":1e999,"m":-1E-999,"k":` + strings.Repeat("9", 400) + `}`,
		"spelling of numbers":      `{"a":1.0,"b":1e0,"c":-0,"d":0.0e-0,"e":100E+2}`,
		"key order":                `{"z":1,"a":2,"m":3}`,
		"whitespace":               "{ \"a\" :\t[ 1 ,\n 2 ] }",
		"escapes":                  `{"a":"\u0041\/\"\\\n\ud83d\ude00","\u0062":1}`,
		"characters":               `{"ключ":"值 😀 <b>&amp;</b>   "}`,
		"null, true, false, empty": `{"a":null,"b":[true,false],"c":{},"d":[],"":""}`,
		"depth":                    `{"d":` + deep + `}`,
		"keys of other things":     `{"event":"x","type":"y","__proto__":{"a":1},"constructor":2}`,
	}
	for _, f := range []struct{ format, before, after string }{
		{"envelope", `"payload":`, `,"scope"`}, {"standard", `"data":`, `}`}, {"payload", "", ""}, {"cloudevents", `"data":`, `}`},
	} {
		s.call("PATCH", "/v1/links/"+link, `{"settings":{"format":"`+f.format+`"}}`).want(200)
		for says, payload := range payloads {
			t.Run(f.format+": "+says, func(t *testing.T) {
				s.in(t).publish(`{` + made + `,"payload":` + payload + `}`)
				body := string(p.next(t).body)
				if !strings.Contains(body, f.before+payload+f.after) {
					t.Errorf("the payload\n%.300s arrived as\n%.600s", payload, body)
				}
				if !json.Valid([]byte(body)) {
					t.Error("what arrived is not JSON")
				}
			})
		}
	}
}

// TestSizes: an event may take 1 MiB, and not a byte more.
func TestSizes(t *testing.T) {
	s, p := things(t), newPartner(t)
	s.link(hook(p, "/x", `"events":["*"]`))
	frame := `{"event":"thing.made","payload":{"a":""}}`
	fits := strings.Replace(frame, `""`, `"`+strings.Repeat("x", 1<<20-len(frame))+`"`, 1)
	s.publish(fits)
	if got := p.next(t).body; len(got) < 1<<20 {
		t.Errorf("%d bytes arrived", len(got))
	}
	for says, path := range map[string]string{"the seeds' path": "/events", "the full API's path": "/v1/events", "a dry run": "/v1/events?dry_run=true", "links": "/v1/links", "event types": "/v1/event-types/x", "keys": "/v1/keys"} {
		t.Run("413: "+says, func(t *testing.T) {
			method := "POST"
			if says == "event types" {
				method = "PUT"
			}
			s.in(t).call(method, path, fits+" ").refused(413, "payload_too_large")
		})
	}
	t.Run("413: a body without a length", func(t *testing.T) {
		s := s.in(t)
		a, err := s.try("POST", "/events", io.MultiReader(strings.NewReader(fits+" ")), header{"Content-Type", "application/json"})
		if err != nil {
			t.Fatal(err)
		}
		a.refused(413, "payload_too_large")
	})
	if got := s.call("GET", "/v1/events", "").want(200).json(); len(got.objects("data")) != 1 {
		t.Errorf("%d events are stored, want 1", len(got.objects("data")))
	}
}

// TestEventLists: newest first, by type (key, alias or pattern), scope and time.
func TestEventLists(t *testing.T) {
	s := things(t)
	var ids []string
	for _, scope := range []string{"a", "a/x", "b", "a/y", "ab"} {
		id, _ := s.publish(fmt.Sprintf(`{%s,"scope":%q,"payload":{}}`, made, scope))
		ids = append(ids, id)
	}
	id, _ := s.publish(`{"event":"run_error","payload":{"run":{}},"scope":"b","also":["b/also"]}`)
	ids = append(ids, id)
	slices.Reverse(ids)
	mid := s.call("GET", "/v1/events/"+ids[2], "").want(200).json().str("received_at")
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"", ids},
		{"?type=thing.made", ids[1:]},
		{"?type=thing-made", ids[1:]},
		{"?type=run_*", ids[:1]},
		{"?type=nothing.*", nil},
		{"?type=nothing", nil},
		{"?scope=a", []string{ids[2], ids[4], ids[5]}},
		{"?scope=a/x", []string{ids[4]}},
		{"?scope=b/also", []string{ids[0]}},
		{"?scope=zzz", nil},
		{"?limit=2", ids[:2]},
		{"?since=2020-01-01T00:00:00Z", ids},
		{"?until=2020-01-01T00:00:00Z", nil},
		{"?since=2999-01-01T00:00:00%2B01:00", nil},
		{"?type=thing.made&scope=b", []string{ids[3]}},
	} {
		t.Run("GET /v1/events"+c.query, func(t *testing.T) {
			var got []string
			for _, e := range s.in(t).call("GET", "/v1/events"+c.query, "").want(200).json().objects("data") {
				got = append(got, e.str("id"))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if got := s.call("GET", "/v1/events?since="+mid, "").want(200).json().objects("data"); got[len(got)-1].str("received_at") < mid || len(got) < 3 {
		t.Errorf("since %s lists %v", mid, got)
	}
	for _, bad := range []string{"?since=yesterday", "?until=1", "?type=", "?scope=a//b", "?limit=0", "?limit=251", "?limit=x", "?limit=-1", "?cursor=x", "?unknown=1", "?limit=1&limit=2", "?type=%ff", "?scope=%zz"} {
		if bad == "?type=" {
			continue // an empty filter is none
		}
		s.call("GET", "/v1/events"+bad, "").refused(400, "invalid_request")
	}
	s.call("GET", "/v1/events/evt_0000000000001", "").refused(404, "not_found")
	s.call("GET", "/v1/events/nonsense", "").refused(404, "not_found")
	s.call("GET", "/v1/events/lnk_"+ids[0][4:], "").refused(404, "not_found")
}
