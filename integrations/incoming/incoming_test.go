package incoming_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
	"github.com/patchbay/patchbay/integration/signature"
	"github.com/patchbay/patchbay/integrations/incoming"
)

const order = `{"id":"evt_1","topic":"order/paid","created":1795000000,"order":{"number":1042,"total":"19.90"},"customer":{"id":9007199254740993,"name":"Ann"}}`

const mapped = `{"scheme":"hmac-sha256-hex","secret":"the shop's signing secret","signature_header":"X-Shop-Signature","id":"body.id",
	"type":"'shop.' + body.topic.split('/')[0]","filter":"body.topic == 'order/paid'","occurred_at":"body.created",
	"payload":"{'order': body.order.number, 'total': body.order.total}","actor":"{'id': body.customer.id, 'name': body.customer.name}",
	"entry":"{'text': body.customer.name + ' paid order ' + string(body.order.number), 'id': body.order.number, 'url': 'https://shop.example/' + string(body.order.number)}"}`

func TestContract(t *testing.T) {
	t.Run("mapped", func(t *testing.T) {
		integrationtest.RunReceiver(t, integrationtest.ReceiverCase{
			Integration: incoming.New(), Settings: mapped, Secrets: []string{"the shop's signing secret"}, AnyType: true,
			Calls: []integrationtest.ReceiverCall{
				{Name: "order", Body: order, Header: map[string]string{"Content-Type": "application/json"}},
				{Name: "filtered", Body: strings.Replace(order, "order/paid", "order/made", 1), Ignored: true},
			},
		})
	})
	t.Run("plain", func(t *testing.T) {
		integrationtest.RunReceiver(t, integrationtest.ReceiverCase{
			Integration: incoming.New(),
			Calls: []integrationtest.ReceiverCall{
				{Name: "object", Body: `{"text":"green","n":1.50}`},
				{Name: "text", Body: "The nightly build is green"},
				{Name: "form", Body: "text=green&tag=a&tag=b", Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
			},
		})
	})
	for _, scheme := range signature.Table() {
		if scheme.Algorithm == signature.Ed25519 || scheme.Algorithm == signature.Basic {
			continue // their secret is always the service's
		}
		t.Run("the link's secret with "+scheme.Name, func(t *testing.T) {
			integrationtest.RunReceiver(t, integrationtest.ReceiverCase{
				Integration: incoming.New(), Settings: `{"scheme":"` + scheme.Name + `"}`,
				HookSecret: "mfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrg", // base 32, as they are made
				Calls:      []integrationtest.ReceiverCall{{Name: "call", Body: `{"a":1}`}},
			})
		})
	}
}

func settings(t *testing.T, raw string) (any, error) {
	t.Helper()
	def := incoming.New().Definition()
	checked, err := def.Settings.Check(json.RawMessage(raw), integration.CheckOptions{})
	if err != nil {
		return nil, err
	}
	return def.Decode(checked)
}

func call(t *testing.T, raw, kind, body string) *integration.HookCall {
	t.Helper()
	s, err := settings(t, raw)
	if err != nil {
		t.Fatal(err)
	}
	c := &integration.HookCall{Method: "POST", Header: http.Header{}, Query: url.Values{"team": {"7"}}, Body: []byte(body), Link: 1, Settings: s,
		ReceivedAt: time.Unix(1_795_000_000, 0).UTC()}
	if kind != "" {
		c.Header.Set("Content-Type", kind)
	}
	return c
}

func TestMapping(t *testing.T) {
	c := call(t, mapped, "application/json", order)
	e, err := incoming.New().Open(c)
	if err != nil || e.Key != "evt_1" || e.Type != "shop.order" || e.Done {
		t.Fatalf("%+v %v", e, err)
	}
	r, err := incoming.New().Read(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	in := r.Events[0]
	if in.Type != "shop.order" || string(in.Payload) != `{"order":1042,"total":"19.90"}` || !in.OccurredAt.Equal(time.Unix(1_795_000_000, 0)) {
		t.Errorf("%+v %s", in, in.Payload)
	}
	if *in.Actor != (integration.Person{ID: "9007199254740993", Name: "Ann"}) {
		t.Errorf("%+v", in.Actor)
	}
	if want := (integration.Entry{Text: "Ann paid order 1042", ExternalID: "1042", ExternalURL: "https://shop.example/1042"}); *in.Entry != want {
		t.Errorf("%+v", in.Entry)
	}
}

func TestBodies(t *testing.T) {
	for _, x := range []struct{ kind, body, want string }{
		{"application/json", `{"b": 1.50, "a": 12345678901234567890}`, `{"b": 1.50, "a": 12345678901234567890}`}, // the very bytes
		{"", `{"a":1}`, `{"a":1}`},
		{"application/x-www-form-urlencoded", `{"a":1}`, `{"a":1}`}, // what curl -d says of it
		{"application/x-www-form-urlencoded", "a=1&b=2&b=3&c=%C3%A4", `{"a":"1","b":["2","3"],"c":"ä"}`},
		{"application/vnd.acme+json", `[1,2]`, `{"items":[1,2]}`},
		{"application/json", `7`, `{"value":7}`},
		{"text/plain", "hello", `{"text":"hello"}`},
		{"", "{not JSON", `{"text":"{not JSON"}`},
		{"", "\xff\x00", `{"base64":"/wA="}`},
		{"", "", `{}`},
	} {
		r, err := incoming.New().Read(t.Context(), call(t, `{}`, x.kind, x.body))
		if err != nil {
			t.Errorf("%s %q: %v", x.kind, x.body, err)
			continue
		}
		if e := r.Events[0]; e.Type != incoming.TypeReceived || string(e.Payload) != x.want {
			t.Errorf("%s %q: %s %s, want %s", x.kind, x.body, e.Type, e.Payload, x.want)
		}
	}
	if _, err := incoming.New().Open(call(t, `{}`, "application/json", "{")); err == nil {
		t.Error("what says that it is JSON and is not is read")
	}
}

func TestTypesAndIdentifiers(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`: "incoming.received", `{"type":"shop.order"}`: "shop.order", `{"type":"body.kind"}`: "from.body", `{"type":"header['x-kind']"}`: "from.header",
		`{"type":"'team.' + query.team"}`: "team.7",
	} {
		c := call(t, raw, "", `{"kind":"from.body"}`)
		c.Header.Set("X-Kind", "from.header")
		e, err := incoming.New().Open(c)
		if err != nil || e.Type != want {
			t.Errorf("%s: %+v %v", raw, e, err)
		}
	}
	c := call(t, `{"id_header":"x-request-id","id":"body.id"}`, "", `{"id":7}`)
	if e, err := incoming.New().Open(c); err != nil || e.Key != "7" {
		t.Errorf("%+v %v", e, err)
	}
	c.Header.Set("X-Request-Id", "r1")
	if e, err := incoming.New().Open(c); err != nil || e.Key != "r1" {
		t.Errorf("%+v %v", e, err)
	}
	c.Header.Set("Patchbay-Hops", "2")
	if r, err := incoming.New().Read(t.Context(), c); err != nil || r.Events[0].Hops != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestTimes(t *testing.T) {
	want := time.Date(2026, 11, 18, 11, 6, 40, 0, time.UTC)
	for _, body := range []string{`{"t":1795000000}`, `{"t":1795000000000}`, `{"t":"2026-11-18T11:06:40Z"}`, `{"t":"1795000000"}`} {
		r, err := incoming.New().Read(t.Context(), call(t, `{"occurred_at":"body.t"}`, "", body))
		if err != nil || !r.Events[0].OccurredAt.Equal(want) {
			t.Errorf("%s: %+v %v", body, r, err)
		}
	}
	for _, body := range []string{`{"t":"yesterday"}`, `{"t":-1}`, `{"t":1e300}`, `{}`, `{"t":{}}`} {
		if _, err := incoming.New().Read(t.Context(), call(t, `{"occurred_at":"body.t"}`, "", body)); err == nil || !strings.HasPrefix(err.Error(), "occurred_at: ") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// What is wrong is said when the link is saved, and of which setting.
func TestSettings(t *testing.T) {
	for raw, want := range map[string]string{
		`{"payload":"{'a': payload.x}"}`:                          "settings.payload: does not compile",
		`{"filter":"'a'"}`:                                        "settings.filter: must be true or false",
		`{"entry":"body.("}`:                                      "settings.entry: does not compile",
		`{"type":"shop order"}`:                                   "settings.type: does not compile",
		`{"type":"patchbay.link.disabled"}`:                       "settings.type: types that begin with patchbay.",
		`{"id_header":"X Y"}`:                                     "settings.id_header: is the name of a header",
		`{"scheme":"rot13"}`:                                      "settings.scheme",
		`{"scheme":"discord"}`:                                    "settings.secret: is required with Discord",
		`{"scheme":"discord","secret":"hidden-zz"}`:               "settings.secret: is not one of Discord",
		`{"scheme":"standard-webhooks","secret":"whsec_hidden!"}`: "settings.secret: is not one of Standard Webhooks",
		`{"scheme":"basic"}`:                                      "settings.secret: is required with HTTP Basic",
		`{"scheme":"token","previous_secret":"hidden"}`:           "settings.previous_secret",
	} {
		_, err := settings(t, raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
		if patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%s: %s", raw, patchbay.CodeOf(err))
		}
	}
}

func TestTwoSecrets(t *testing.T) {
	s, err := settings(t, `{"scheme":"github","secret":"new","previous_secret":"old"}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []patchbay.Secret{"new", "old"} {
		h := http.Header{}
		if err := signature.GitHub().Sign(h, "", "POST", []byte("x"), secret, time.Now()); err != nil {
			t.Fatal(err)
		}
		v := incoming.New().Verification(&integration.HookCall{Header: h, Settings: s, Link: 1, Secrets: []integration.Secret{"the link's"}})
		if err := v.Scheme.Verify(h, "", "POST", []byte("x"), v.Secrets, time.Now()); err != nil {
			t.Errorf("%s: %v", secret.Reveal(), err)
		}
	}
}

// A payload that is no object, and a call on which an expression fails, say of which setting.
func TestFailingExpressions(t *testing.T) {
	for setting, source := range map[string]string{"payload": "body.tags", "filter": "body.missing == 1", "type": "body.missing", "actor": "{'nick': 'x'}", "entry": "7", "id": "body.missing"} {
		raw, _ := json.Marshal(map[string]string{setting: source})
		c := call(t, string(raw), "", `{"tags":[]}`)
		_, err := incoming.New().Open(c)
		if err == nil {
			_, err = incoming.New().Read(t.Context(), c)
		}
		if err == nil || !strings.HasPrefix(err.Error(), setting+": ") {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// Every setting and every scheme stands on the page.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("docs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range incoming.New().Definition().Settings {
		if !strings.Contains(string(page), "`"+s.Key+"`") {
			t.Errorf("the setting %s is not explained", s.Key)
		}
	}
	for _, s := range signature.Table() {
		if s.Name != "patchbay" && !strings.Contains(string(page), "`"+s.Name+"`") {
			t.Errorf("the scheme %s is not named", s.Name)
		}
	}
	_, example, _ := strings.Cut(string(page), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	var link struct{ Settings json.RawMessage }
	if err := json.Unmarshal([]byte(example), &link); err != nil {
		t.Fatalf("the example is not JSON: %v", err)
	}
	if _, err := settings(t, string(link.Settings)); err != nil {
		t.Errorf("the example: %v", err)
	}
}
