package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
)

// TestNothingSecretIsShown proves that however a configuration and its parts are printed, logged or encoded, none of the
// secrets in it can be seen, while what is no secret can.
func TestNothingSecretIsShown(t *testing.T) {
	c := Config{
		Listen: "127.0.0.1:8080", Database: "postgres://u:" + secretPart + "1@h/d", SigningKey: secretPart + "2", SentryDSN: "https://" + secretPart + "3@sentry.test/1",
		EgressProxy: "http://u:" + secretPart + "4@proxy:3128",
	}
	for _, err := range []error{
		c.Integrations.UnmarshalText([]byte("email.password=" + secretPart + "5")),
		c.Integrations.UnmarshalText([]byte(`{"github": {"client_secret": "` + secretPart + `6", "list": ["` + secretPart + `7"]}}`)),
		c.NATS.UnmarshalText([]byte("orders.url=nats://u:" + secretPart + "8@broker")),
		c.Outbox.UnmarshalText([]byte("postgres://u:" + secretPart + "9@h/d")),
		c.Outbox.UnmarshalText([]byte("shop.database=postgres://u:" + secretPart + "0@h/d")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	client := Client{Server: "http://localhost", Key: secretPart}
	shown := map[string]string{}
	for name, v := range map[string]any{
		"config": c, "pointer": &c, "integrations": c.Integrations, "nats": c.NATS, "outbox": c.Outbox, "client": client, "proxy": c.EgressProxy,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			shown[name+" "+verb] = fmt.Sprintf(verb, v)
		}
		for _, newHandler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) }, func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(newHandler(&b)).Info("a log", "value", v, slog.Group("g", "inner", v))
			shown[name+fmt.Sprintf(" in %T", newHandler(&b))] = b.String()
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown[name+" as JSON"] = string(b)
		shown[name+" in an error"] = fmt.Errorf("starting with %v: %w", v, patchbay.Errorf(patchbay.CodeInternal, "%v", v)).Error()
	}
	hex := fmt.Sprintf("%x", secretPart)
	for how, text := range shown {
		if strings.Contains(text, secretPart) || strings.Contains(text, hex) {
			t.Errorf("%s shows a secret: %s", how, text)
		}
	}
	for _, how := range []string{"config %+v", "config as JSON", "integrations %v"} {
		if !strings.Contains(shown[how], "client_secret") || !strings.Contains(shown[how], patchbay.Redacted) {
			t.Errorf("%s does not say which settings there are: %s", how, shown[how])
		}
	}
	if raw, err := c.Integrations.JSON("github"); err != nil || !strings.Contains(string(raw), secretPart+"6") {
		t.Errorf("the settings for the integration itself are %s, %v", raw, err)
	}
}
