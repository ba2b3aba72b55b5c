package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
)

// TestSettings: every setting stands in a group of its own meaning, once, and no secret stands anywhere.
func TestSettings(t *testing.T) {
	c := Config{
		Database: "postgres://u:" + secretPart + "@db/patchbay", SigningKey: secretPart, EgressProxy: "http://u:" + secretPart + "@proxy", SentryDSN: "https://" + secretPart + "@sentry/1",
		OIDCClientSecret: secretPart, OIDCRoles: OIDCRoles{{"care", "operator", "acme"}, {"*", "viewer", ""}},
		Integrations: Integrations{"email": {"password": secretPart, "host": "smtp"}}, NATS: NATS{"orders": {URL: "nats://u:" + secretPart + "@broker"}},
		Outbox: Outbox{"shop": {Database: "postgres://u:" + secretPart + "@shop/x"}}, Retention: Retention{Tenants: map[string]Duration{"acme": DefaultRetention * 3}},
		Quota: Quota{Default: 100, Tenants: map[string]float64{"acme": 0.5}}, MaxBytes: 20 << 30, From: Origins{"nats": "PATCHBAY_NATS"},
	}
	all := map[string]Setting{}
	for _, g := range c.Settings() {
		if g.Title == "Others" {
			t.Errorf("these settings have no group: %v", g.Settings)
		}
		for _, s := range g.Settings {
			if _, twice := all[s.Name]; twice {
				t.Errorf("%s stands in two groups", s.Name)
			}
			all[s.Name] = s
			if strings.Contains(s.Value, secretPart) || s.Help == "" {
				t.Errorf("%s is shown as %q: %q", s.Name, s.Value, s.Help)
			}
		}
	}
	for name, want := range map[string]string{
		"listen": DefaultListen, "database": "PostgreSQL patchbay at db", "signing-key": "set", "egress-proxy": "set", "retention": "30d, acme=90d", "quota": "100, acme=0.5",
		"oidc-roles": "care=operator@acme, *=viewer", "integrations": "email.host, email.password", "nats": "orders", "outbox": "shop", "max-bytes": "20GB", "dev": "no", "audit-retention": "365d",
		"public-url": "", "scope-kinds": "team=*/teams/*, user=*/users/*", "oidc-scopes": "openid, email, profile",
	} {
		if all[name].Value != want {
			t.Errorf("%s is shown as %q, not %q", name, all[name].Value, want)
		}
	}
	if all["catalog"].Default != "the four built-in catalogs" {
		t.Errorf("the default of the catalog is %q", all["catalog"].Default)
	}
	if all["nats"].From != "PATCHBAY_NATS" || all["listen"].From != "" || !all["signing-key"].Secret {
		t.Errorf("%+v %+v", all["nats"], all["listen"])
	}
	typ := reflect.TypeFor[Config]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Tag.Get("name"); name != "" {
			delete(all, name)
		}
	}
	if len(all) > 0 {
		t.Errorf("there are no such settings: %v", all)
	}
	// A new type of setting shows nothing before somebody says how.
	if got := shown(struct{ X patchbay.Secret }{"y"}); got != "set" {
		t.Errorf("an unknown type is shown as %q", got)
	}
}

// TestOrigins: flags win, then the environment, then the file, as they do when the settings are read.
func TestOrigins(t *testing.T) {
	file, err := ParseFile("etc.yaml", []byte("listen: :1\ndata: d\ncatalog: [a]\nlog-level: warn\n"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"PATCHBAY_DATA": "e", "PATCHBAY_LISTEN": "e", "SENTRY_DSN": "e"}
	got := FindOrigins([]string{"serve", "--listen", ":2", "--public-url=https://x", "--datax"}, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, file)
	want := Origins{"listen": "--listen", "public-url": "--public-url", "data": "PATCHBAY_DATA", "catalog": "etc.yaml", "log-level": "etc.yaml", "sentry-dsn": "SENTRY_DSN"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if slices.Contains([]string{got["retention"], got["dev"]}, "") != true {
		t.Error("a setting that nobody gave has an origin")
	}
}
