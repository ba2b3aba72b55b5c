package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSources proves the three ways in which sources are spelled, and that they add up.
func TestSources(t *testing.T) {
	f, err := ParseFile("patchbay.yaml", []byte(`
nats:
  orders:
    url: nats://user:password@broker:4222
    stream: ORDERS
    subject: [orders.created, orders.paid]
    in-flight: 64
outbox:
  shop: {database: "postgres://patchbay:secret@db/shop", table: billing.events}
`))
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	for _, text := range []string{f.Value("nats").(string), "orders.type={2...}", "orders.scope=acme", "orders.within=acme", "orders.dead-letter=dead"} {
		if err := c.NATS.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{f.Value("outbox").(string), "postgres://patchbay@db/other", "shop.within=shop"} {
		if err := c.Outbox.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(NATS{"orders": {URL: "nats://user:password@broker:4222", Stream: "ORDERS", Subject: []string{"orders.created", "orders.paid"},
		InFlight: 64, Type: "{2...}", Scope: "acme", Within: "acme", DeadLetter: "dead"}}, c.NATS); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Outbox{"shop": {Database: "postgres://patchbay:secret@db/shop", Table: "billing.events", Within: "shop"},
		"outbox": {Database: "postgres://patchbay@db/other"}}, c.Outbox); diff != "" {
		t.Error(diff)
	}
	if shown := fmt.Sprintf("%+v", c); strings.Contains(shown, "secret") || strings.Contains(shown, "user:password") {
		t.Errorf("a password is shown: %s", shown)
	}
}

// TestSourcesThatCannotWork proves that mistakes are named, without what may be a secret.
func TestSourcesThatCannotWork(t *testing.T) {
	for _, tc := range []struct{ nats, outbox, want string }{
		{"orders", "", "NAME.SETTING=VALUE"},
		{"orders.uri=x", "", `"uri" is not a setting of a source; there are consumer, credentials`},
		{"a/b.url=x", "", "not a name for a source"},
		{"orders.in-flight=0", "", "in-flight"},
		{`{"orders": 7}`, "", "an object for each source"},
		{`{"orders": {}}`, "", "no settings"},
		{`{"orders": {"url": {}}}`, "", "orders.url: write a text"},
		{"orders.stream=X", "", "nats.orders: url is missing"},
		{"orders.url=nats://broker", "", "nats.orders: stream is missing"},
		{`{"orders": {"url": "nats://b", "stream": "X", "scope": "acme"}}`, "", "scope goes with type"},
		{`{"orders": {"url": "nats://b", "stream": "X", "consumer": "a.b"}}`, "", "consumer"},
		{`{"orders": {"url": "nats://b", "stream": "X", "within": "a b"}}`, "", "within"},
		{"", "mysql://root:secret@db", "NAME.SETTING=VALUE"},
		{"", "shop.database=mysql://root:secret@db", "outbox.shop: database is not the URL"},
		{"", "shop.table=x", "outbox.shop: database is not the URL"},
		{"", `{"shop": {"database": "postgres://db/shop", "table": "x; DROP TABLE y"}}`, "is not a name of a table"},
		{"", "postgres://patchbay:secret@db:port/shop", "outbox.outbox"},
	} {
		var c Config
		err := c.NATS.UnmarshalText([]byte(tc.nats))
		if err == nil {
			err = c.Outbox.UnmarshalText([]byte(tc.outbox))
		}
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s %s: %v, want %q", tc.nats, tc.outbox, err, tc.want)
		}
	}
}

// FuzzSources proves that no spelling breaks the reader, and that what it takes can be checked.
func FuzzSources(f *testing.F) {
	for _, seed := range []string{"orders.url=nats://x", `{"a":{"url":"x","stream":"y","in-flight":7,"subject":["a",1]}}`, "postgres://u:p@h/d", `{"a":{"table":"x.y","database":"postgres://h"}}`, "{", "a.b="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c Config
		nats, outbox := c.NATS.UnmarshalText([]byte(text)), c.Outbox.UnmarshalText([]byte(text))
		if err := c.Validate(); err != nil && err.Error() == "" {
			t.Errorf("%q: %v, %v: an error without a sentence", text, nats, outbox)
		}
	})
}
