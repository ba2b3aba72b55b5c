package webhook

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// The formats of a body.
const (
	formatEnvelope    = "envelope"
	formatFlat        = "flat"
	formatStandard    = "standard"
	formatPayload     = "payload"
	formatCloudEvents = "cloudevents"
)

const (
	typeJSON        = "application/json"
	typeCloudEvents = "application/cloudevents+json"
)

// body returns the request's body and its media type. It is put together from the bytes that came in; nothing of the
// payload is decoded and written again.
func (s *Settings) body(d *integration.Delivery) (body []byte, contentType string) {
	e := d.Event
	payload := bytes.TrimSpace(e.Payload)
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	switch {
	case d.Body != nil: // the link's own
		return d.Body, typeJSON
	case s.Format == formatPayload:
		return payload, typeJSON
	}
	b := make([]byte, 0, len(payload)+len(e.Actor)+len(e.Type)+len(e.Scope)+len(d.Env.PublicURL)+256)
	switch s.Format {
	case formatFlat:
		return appendFlat(b, e, payload), typeJSON
	case formatStandard:
		return appendStandard(b, e, payload), typeJSON
	case formatCloudEvents:
		return appendCloudEvent(b, d, payload), typeCloudEvents
	}
	return appendEnvelope(b, d, payload), typeJSON
}

// appendEnvelope writes {"id", "event", "payload", "scope", "occurred_at", "actor"?}.
func appendEnvelope(b []byte, d *integration.Delivery, payload []byte) []byte {
	e := d.Event
	b = append(b, `{"id":"`...)
	b = appendID(b, d)
	b = append(b, `","event":`...)
	b = appendQuoted(b, e.Type)
	b = append(b, `,"payload":`...)
	b = append(b, payload...)
	b = append(b, `,"scope":`...)
	b = appendQuoted(b, string(e.Scope))
	b = append(b, `,"occurred_at":"`...)
	b = appendTime(b, e.OccurredAt)
	b = append(b, '"')
	if actor := bytes.TrimSpace(e.Actor); len(actor) > 0 && !bytes.Equal(actor, []byte("null")) {
		b = append(b, `,"actor":`...)
		b = append(b, actor...)
	}
	return append(b, '}')
}

// appendFlat writes "event" and then the payload's own members. A member "event" of the payload gives way: receivers
// go by the type, and a payload must not be able to claim another.
func appendFlat(b []byte, e *patchbay.Event, payload []byte) []byte {
	b = append(b, `{"event":`...)
	b = appendQuoted(b, e.Type)
	inside, ok := open(payload, '{')
	if ok && mayHoldEvent(payload) {
		for m, rest := nextMember(inside); m != nil; m, rest = nextMember(rest) {
			if !m.is("event") {
				b = append(b, ',')
				b = append(b, m.whole...)
			}
		}
		return append(b, '}')
	}
	if !ok || inside[0] == '}' {
		return append(b, '}')
	}
	b = append(b, ',')
	return append(b, inside...) // its bracket at the end too
}

// mayHoldEvent is false when the payload cannot have a member "event", which is quicker to see than where it is.
func mayHoldEvent(payload []byte) bool {
	return bytes.Contains(payload, []byte(`"event"`)) || bytes.Contains(payload, []byte(`\u`))
}

// appendStandard writes the body that Standard Webhooks recommends.
func appendStandard(b []byte, e *patchbay.Event, payload []byte) []byte {
	b = append(b, `{"type":`...)
	b = appendQuoted(b, e.Type)
	b = append(b, `,"timestamp":"`...)
	b = appendTime(b, e.OccurredAt)
	b = append(b, `","data":`...)
	b = append(b, payload...)
	return append(b, '}')
}

// appendCloudEvent writes a CloudEvent 1.0 in the structured mode. The installation is the source, the scope the
// subject; an actor has no place in a CloudEvent, whose attributes are no objects.
func appendCloudEvent(b []byte, d *integration.Delivery, payload []byte) []byte {
	e := d.Event
	source := d.Env.PublicURL
	if source == "" {
		source = "urn:patchbay"
	}
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = appendID(b, d)
	b = append(b, `","source":`...)
	b = appendQuoted(b, source)
	b = append(b, `,"type":`...)
	b = appendQuoted(b, e.Type)
	if e.Scope != "" {
		b = append(b, `,"subject":`...)
		b = appendQuoted(b, string(e.Scope))
	}
	b = append(b, `,"time":"`...)
	b = appendTime(b, e.OccurredAt)
	b = append(b, `","datacontenttype":"application/json","data":`...)
	b = append(b, payload...)
	return append(b, '}')
}

// appendTime writes RFC 3339 in UTC, with as many decimals as there are.
func appendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, time.RFC3339Nano) }

// appendQuoted writes a JSON string.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // no string can fail
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
