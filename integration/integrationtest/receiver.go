package integrationtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// ReceiverCase is a Receiver with what the kit must know of it.
type ReceiverCase struct {
	Integration integration.Receiver
	// Settings are a link's, valid; "" means {}. Secrets are the texts in them, and in Config, that nobody may see.
	Settings string
	Secrets  []string
	// Config is the operator's configuration; "" means none.
	Config string
	// HookSecret is the link's.
	HookSecret integration.Secret
	// Connection is the one that the link uses, if it uses one.
	Connection *integration.Connected
	// State is what the link's Attach returned, if anything was set up.
	State json.RawMessage
	// Calls are some that the partner makes, unsigned. The kit signs them as Verification says.
	Calls []ReceiverCall
	// SigningSecret, when not "", is what the partner signs with; "" is the first secret that Verification names.
	SigningSecret integration.Secret
	// AnyType says that a link's settings decide which types there are.
	AnyType bool
}

// ReceiverCall is a call of a partner.
type ReceiverCall struct {
	Name   string
	Header map[string]string
	Query  string
	Body   string
	// App says that it comes to the integration's own address.
	App bool
	// Done and Ignored say that there is nothing to keep, or no event. Otherwise there must be at least one.
	Done, Ignored bool
}

const (
	// soon is how long one step may take on whatever comes in.
	soon = 30 * time.Second
	// receivedMost is the most that the payload and the actor of one event may take.
	receivedMost = patchbay.MaxEventBody
)

// RunReceiver checks a case: that calls are believed for their signature alone and whatever is in them is survived, that
// reading says the same each time, keeps nothing of the body, and shows no secret.
func RunReceiver(t *testing.T, c ReceiverCase) {
	t.Helper()
	k := &receiverKit{ReceiverCase: c, def: c.Integration.Definition()}
	if k.Settings == "" {
		k.Settings = "{}"
	}
	checked, err := k.def.Settings.Check(json.RawMessage(k.Settings), integration.CheckOptions{Connected: k.Connection != nil})
	if err != nil {
		t.Fatalf("the settings are not valid: %v", err)
	}
	if k.settings, err = k.def.Decode(checked); err != nil {
		t.Fatalf("the settings cannot be decoded: %v", err)
	}
	if k.Config != "" {
		if k.config, err = k.def.Config.Check(json.RawMessage(k.Config), integration.CheckOptions{}); err != nil {
			t.Fatalf("the configuration is not valid: %v", err)
		}
	}
	if len(c.Calls) == 0 {
		t.Fatal("a case needs calls")
	}
	t.Run("types", k.types)
	for i := range k.Calls {
		name := k.Calls[i].Name
		if name == "" {
			name = fmt.Sprint(i)
		}
		t.Run(name, func(t *testing.T) {
			t.Run("signature", func(t *testing.T) { k.signature(t, &k.Calls[i]) })
			t.Run("read", func(t *testing.T) { k.reads(t, &k.Calls[i]) })
			t.Run("hostile", func(t *testing.T) { k.hostile(t, &k.Calls[i]) })
		})
	}
}

type receiverKit struct {
	ReceiverCase
	def      *integration.Definition
	settings any
	config   json.RawMessage
}

// types checks what the integration says it brings.
func (k *receiverKit) types(t *testing.T) {
	for _, typ := range k.def.Types {
		if !strings.HasPrefix(typ.Key, k.def.Key+".") {
			t.Errorf("the key of the type %q does not begin with %s.", typ.Key, k.def.Key)
		}
		if typ.Title == "" || !json.Valid(typ.Schema) || !json.Valid(typ.Example) {
			t.Errorf("the type %s needs a title, a schema and an example", typ.Key)
		}
	}
}

// call makes a call for the integration.
func (k *receiverKit) call(in *ReceiverCall) *integration.HookCall {
	c := &integration.HookCall{
		Method: http.MethodPost, Header: http.Header{}, Body: []byte(in.Body), Config: k.config,
		ReceivedAt: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
	c.Query, _ = url.ParseQuery(in.Query)
	for name, value := range in.Header {
		c.Header.Set(name, value)
	}
	if !in.App {
		k.aim(c)
	}
	return c
}

// aim makes a call one for the link.
func (k *receiverKit) aim(c *integration.HookCall) {
	c.Link, c.Scope, c.Settings, c.Connection = 1<<22, "acme/teams/1", k.settings, k.Connection
	c.State = k.State
	if k.HookSecret != "" {
		c.Secrets = []integration.Secret{k.HookSecret}
	}
}

// signature checks that a call is believed when it is signed, and not otherwise.
func (k *receiverKit) signature(t *testing.T, in *ReceiverCall) {
	c := k.call(in)
	v := k.Integration.Verification(c)
	if v.Scheme.Name == "" && v.Scheme.Algorithm == "" {
		if in.App {
			t.Fatal("a call to the integration's own address must be signed")
		}
		return
	}
	secret := k.SigningSecret
	if secret == "" {
		if len(v.Secrets) == 0 {
			t.Fatal("no secret could verify the call")
		}
		secret = v.Secrets[0]
	}
	address := "https://patchbay.example.test/hook"
	if v.Scheme.IDHeader != "" && c.Header.Get(v.Scheme.IDHeader) == "" {
		c.Header.Set(v.Scheme.IDHeader, "msg_1")
	}
	if err := v.Scheme.Sign(c.Header, address, c.Method, c.Body, secret, c.ReceivedAt); err != nil {
		t.Fatalf("the call cannot be signed: %v", err)
	}
	v = k.Integration.Verification(c)
	if err := v.Scheme.Verify(c.Header, address, c.Method, c.Body, v.Secrets, c.ReceivedAt); err != nil {
		t.Errorf("a signed call is not believed: %v", err)
	}
	unsigned := c.Header.Clone()
	unsigned.Del(v.Scheme.Header)
	if v.Scheme.Verify(unsigned, address, c.Method, c.Body, v.Secrets, c.ReceivedAt) == nil {
		t.Error("an unsigned call is believed")
	}
	// What is not proven yet must not decide how it is proven.
	changed := *c
	changed.Body = []byte(`{"signature":"none","secret":"","token":"x"}`)
	other := k.Integration.Verification(&changed)
	if !reflect.DeepEqual(other.Scheme, v.Scheme) || !slices.Equal(other.Secrets, v.Secrets) {
		t.Error("the body decides how the call is verified")
	}
}

// understood is everything that comes of a call.
type understood struct {
	envelope *integration.Envelope
	openErr  error
	reading  *integration.Reading
	readErr  error
}

// understand opens and reads a call, in bounded time and without failing.
func (k *receiverKit) understand(t *testing.T, c *integration.HookCall) (u understood) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("it panics on %.300q: %v", c.Body, p)
		}
	}()
	body, header := bytes.Clone(c.Body), c.Header.Clone()
	began := time.Now()
	if h, ok := k.Integration.(integration.Handshaker); ok {
		if a := h.Handshake(c); a != nil {
			k.noSecretReceived(t, "the handshake's answer", string(a.Body))
		}
	}
	_ = k.Integration.Verification(c)
	if u.envelope, u.openErr = k.Integration.Open(c); u.openErr == nil && u.envelope == nil {
		t.Errorf("Open returns nothing for %.300q", c.Body)
	}
	if u.openErr == nil && !u.envelope.Done {
		aimed := *c
		k.aim(&aimed)
		u.reading, u.readErr = k.Integration.Read(context.Background(), &aimed)
	}
	if took := time.Since(began); took > soon {
		t.Errorf("%.300q took %s", c.Body, took)
	}
	if !bytes.Equal(body, c.Body) || !reflect.DeepEqual(header, c.Header) {
		t.Errorf("it changes the call: %.300q", c.Body)
	}
	k.checkUnderstood(t, &u)
	return u
}

// checkUnderstood checks what every answer and every event must be.
func (k *receiverKit) checkUnderstood(t *testing.T, u *understood) {
	t.Helper()
	k.noSecretReceived(t, "an error", fmt.Sprint(u.openErr, u.readErr))
	if u.envelope != nil && u.envelope.Answer != nil {
		k.noSecretReceived(t, "the answer", string(u.envelope.Answer.Body))
	}
	if u.reading == nil {
		return
	}
	k.noSecretReceived(t, "why it is ignored", u.reading.Ignored)
	for i := range u.reading.Events {
		e := &u.reading.Events[i]
		k.noSecretReceived(t, "an event", string(e.Payload))
		if !k.AnyType && !slices.ContainsFunc(k.def.Types, func(typ patchbay.EventType) bool { return typ.Key == e.Type }) {
			t.Errorf("the type %q is not among those of the definition", e.Type)
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(e.Payload, &object); e.Payload != nil && (err != nil || object == nil) {
			t.Errorf("the payload is not an object: %.200s", e.Payload)
		}
		if len(e.Payload) > receivedMost {
			t.Errorf("the payload has %d bytes", len(e.Payload))
		}
		if e.Scope != nil && !patchbay.Scope("acme/teams/1").Contains(*e.Scope) {
			t.Errorf("the scope %q does not lie below the link's", *e.Scope)
		}
	}
}

// reads checks that reading says the same each time and keeps nothing of the body.
func (k *receiverKit) reads(t *testing.T, in *ReceiverCall) {
	first, c := k.understand(t, k.call(in)), k.call(in)
	if first.openErr != nil || first.readErr != nil {
		t.Fatalf("it cannot be read: %v %v", first.openErr, first.readErr)
	}
	second := k.understand(t, c)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("it says something else the second time:\n%s\n%s", shown(first), shown(second))
	}
	before := shown(second)
	for i := range c.Body {
		c.Body[i] = '#'
	}
	if after := shown(second); before != after {
		t.Errorf("it keeps the body, which is used again:\n%s\n%s", before, after)
	}
	if first.envelope.Done != in.Done {
		t.Errorf("done: %t, want %t", first.envelope.Done, in.Done)
	}
	if in.App && !in.Done && first.envelope.Account == "" {
		t.Error("a call to the integration's own address must say which account it is about")
	}
	if first.reading == nil {
		if !in.Done {
			t.Error("it reads nothing")
		}
		return
	}
	if (len(first.reading.Events) == 0) != in.Ignored {
		t.Errorf("%d events, ignored because %q", len(first.reading.Events), first.reading.Ignored)
	}
	if len(first.reading.Events) == 0 && first.reading.Ignored == "" {
		t.Error("it does not say why there are no events")
	}
}

func shown(u understood) string {
	b, err := json.Marshal(struct {
		Envelope *integration.Envelope
		Reading  *integration.Reading
	}{u.envelope, u.reading})
	return fmt.Sprint(string(b), err, u.openErr, u.readErr)
}

// hostile checks that whatever comes in is survived: what is no JSON, what is cut off, and JSON in which everything is of
// another type than it should be, deeper or longer.
func (k *receiverKit) hostile(t *testing.T, in *ReceiverCall) {
	bodies := []string{
		"", " ", "null", "true", "0", "[]", "{}", `""`, "{", `{"`, "\x00", "\xff\xfe", "a=b&c=%zz", "payload=%7B%7D", "<xml/>",
		strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 5000), `{"a":1,"a":2}`, `{"n":1e999999}`, `{"n":` + strings.Repeat("9", 5000) + `}`,
		strings.Repeat("x", 1<<20),
	}
	for i := 1; i < 8; i++ {
		bodies = append(bodies, in.Body[:len(in.Body)*i/8])
	}
	for _, text := range hostileTexts {
		quoted, _ := json.Marshal(text)
		bodies = append(bodies, mutate(in.Body, quoted, 0)...)
	}
	for _, value := range []string{"null", "[]", "{}", "0", "-1e300", "true", `""`, `[null]`, `{"":null}`, `"` + strings.Repeat("y", 70_000) + `"`} {
		bodies = append(bodies, mutate(in.Body, []byte(value), 60)...)
	}
	for _, body := range bodies {
		changed := *in
		changed.Body = body
		k.understand(t, k.call(&changed))
	}
	bare := *in
	bare.Header = nil
	k.understand(t, k.call(&bare))
	for name := range in.Header {
		odd := *in
		odd.Header = map[string]string{}
		for other, value := range in.Header {
			odd.Header[other] = value
		}
		odd.Header[name] = "\x00" + strings.Repeat("z", 5000)
		k.understand(t, k.call(&odd))
	}
}

// mutate returns copies of a JSON body in which one value after the other is replaced; with most 0, one in which all texts
// are.
func mutate(body string, value []byte, most int) []string {
	var whole any
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	if dec.Decode(&whole) != nil {
		return nil
	}
	total, at := 0, -1
	var walk func(v any) any
	walk = func(v any) any {
		total++
		if at == total {
			return json.RawMessage(value)
		}
		switch v := v.(type) {
		case map[string]any:
			out := make(map[string]any, len(v))
			keys := make([]string, 0, len(v))
			for name := range v {
				keys = append(keys, name)
			}
			slices.Sort(keys)
			for _, name := range keys {
				out[name] = walk(v[name])
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i := range v {
				out[i] = walk(v[i])
			}
			return out
		case string:
			if most == 0 {
				return json.RawMessage(value)
			}
		}
		return v
	}
	var out []string
	add := func() {
		total = 0
		if b, err := json.Marshal(walk(whole)); err == nil {
			out = append(out, string(b))
		}
	}
	add()
	if most == 0 {
		return out
	}
	values := total
	for at = 1; at <= values; at += max(1, values/most) {
		add()
	}
	return out
}

// noSecretReceived checks that a text that is shown or answered holds nothing secret.
func (k *receiverKit) noSecretReceived(t *testing.T, what, text string) {
	t.Helper()
	secrets := append([]string{k.HookSecret.Reveal(), k.SigningSecret.Reveal()}, k.Secrets...)
	if k.Connection != nil {
		secrets = append(secrets, k.Connection.Credentials.Secrets()...)
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("%s shows a secret: %.200s", what, text)
		}
	}
}
