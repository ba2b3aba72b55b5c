package bench

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
)

// The event that is measured: 20 fields, 1 KB, checked against a schema that says something of each.
const (
	eventType = "bench.order"
	// numberField and timeField stand before the event's number and the time at which it was made. Receivers find them
	// in whatever the payload is wrapped in, because payloads arrive byte for byte.
	numberField = `"number":`
	timeField   = `"made_at":`
	// Numbers and times have a fixed width, so that every event has the same length.
	firstNumber  = 100_000_000_000
	numberDigits = 12
	timeDigits   = 19
)

// payload is what happened, with zeros where the number and the time go.
func payload() string {
	return `{"number":` + strings.Repeat("0", numberDigits) + `,"made_at":` + strings.Repeat("0", timeDigits) + `,` +
		`"status":"paid","currency":"EUR","total":129.95,"tax":20.75,"discount":0,"items":3,"weight_grams":1840,"express":true,` +
		`"customer":{"id":"cus_8817","name":"Amara Okafor","email":"amara@example.com","vip":false},` +
		`"address":{"street":"Elm Street 7","city":"Springfield","zip":"12345","country":"DE"},` +
		`"lines":[{"sku":"A-1001","quantity":1,"price":79.95},{"sku":"B-2002","quantity":2,"price":25}],` +
		`"channel":"web","coupon":null,"note":"` + strings.Repeat("Leave it with the neighbours, please. ", 9) + `",` +
		`"tags":["first-order","newsletter"],"placed_at":"2026-11-22T08:15:30Z","reference":"ORD-2026-118817","locale":"de-DE",` +
		`"source_ip":"203.0.113.24","session":"5f2c9a1e77d04b6c8e13"}`
}

// schema describes the payload.
func schema() json.RawMessage {
	const text = `{"type": "string", "maxLength": 400}`
	const amount = `{"type": "number", "minimum": 0}`
	properties := []string{
		`"number": {"type": "integer", "minimum": 0}`, `"made_at": {"type": "integer", "minimum": 0}`,
		`"status": {"enum": ["open", "paid", "shipped", "cancelled"]}`, `"currency": {"type": "string", "minLength": 3, "maxLength": 3}`,
		`"total": ` + amount, `"tax": ` + amount, `"discount": ` + amount, `"items": {"type": "integer", "minimum": 1}`,
		`"weight_grams": {"type": "integer", "minimum": 0}`, `"express": {"type": "boolean"}`,
		`"customer": {"type": "object", "required": ["id"], "properties": {"id": ` + text + `, "name": ` + text + `, "email": ` + text + `, "vip": {"type": "boolean"}}}`,
		`"address": {"type": "object", "required": ["country"], "properties": {"street": ` + text + `, "city": ` + text + `, "zip": ` + text + `, "country": ` + text + `}}`,
		`"lines": {"type": "array", "items": {"type": "object", "required": ["sku", "quantity"], "properties": {"sku": ` + text + `, "quantity": {"type": "integer"}, "price": ` + amount + `}}}`,
		`"channel": {"enum": ["web", "app", "shop"]}`, `"coupon": {"type": ["string", "null"]}`, `"note": ` + text,
		`"tags": {"type": "array", "items": ` + text + `}`, `"placed_at": {"type": "string", "format": "date-time"}`,
		`"reference": ` + text, `"locale": ` + text,
	}
	return json.RawMessage(`{"type": "object", "required": ["number", "made_at", "status", "total", "customer", "address", "lines"], "properties": {` +
		strings.Join(properties, ", ") + `}}`)
}

func definition() *patchbay.EventType {
	example := strings.Replace(payload(), strings.Repeat("0", numberDigits), "1", 1)
	example = strings.Replace(example, strings.Repeat("0", timeDigits), "1", 1)
	return &patchbay.EventType{Key: eventType, Title: "Order (bench)", Description: "What patchbay bench sends.",
		Schema: schema(), Example: json.RawMessage(example)}
}

// template is a whole request with places for what differs between two events.
type template struct {
	bytes             []byte
	key, number, made int
}

// newTemplate makes a request that publishes an event in a scope.
func newTemplate(host, token, scope, run string) *template {
	body := `{"event_type":"` + eventType + `","scope":` + strconv.Quote(scope) + `,"payload":` + payload() + `}`
	auth := ""
	if token != "" {
		auth = "Authorization: Bearer " + token + "\r\n"
	}
	const keyHeader = "Idempotency-Key: "
	head := fmt.Sprintf("POST /events HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/json\r\n%s%s-%s\r\nContent-Length: %d\r\n\r\n",
		host, auth, keyHeader, run, strings.Repeat("0", numberDigits), len(body))
	all := head + body
	return &template{
		bytes:  []byte(all),
		key:    strings.Index(all, keyHeader+run+"-") + len(keyHeader) + len(run) + 1,
		number: strings.Index(all, numberField) + len(numberField),
		made:   strings.Index(all, timeField) + len(timeField),
	}
}

// clone returns a copy for one connection.
func (t *template) clone() *template {
	c := *t
	c.bytes = append([]byte(nil), t.bytes...)
	return &c
}

// fill writes an event's number and time into the request and returns it.
func (t *template) fill(number, made int64) []byte {
	digits(t.bytes[t.key:t.key+numberDigits], number)
	digits(t.bytes[t.number:t.number+numberDigits], number)
	digits(t.bytes[t.made:t.made+timeDigits], made)
	return t.bytes
}

func digits(b []byte, n int64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}
