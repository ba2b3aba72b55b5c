// Package config holds the settings of an installation: one struct that flags, environment variables and patchbay.yaml
// fill (in this order of strength), with checks whose errors say what to do. It knows how settings are spelled and
// what makes sense, not what they do.
package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// The defaults of settings that are not given.
const (
	DefaultListen    = "127.0.0.1:8080"
	DefaultData      = "./patchbay-data"
	DefaultGrace     = Duration(30 * time.Second)
	DefaultRetention = Duration(30 * 24 * time.Hour)
	DefaultUnmatched = Duration(3 * 24 * time.Hour)
	DefaultBodies    = Duration(7 * 24 * time.Hour)
	DefaultAudit     = Duration(365 * 24 * time.Hour)
	DefaultLogFormat = "auto"
	DefaultLogLevel  = "info"
	DefaultFile      = "patchbay.yaml"
)

// The bounds outside of which a setting is a mistake rather than a wish.
const (
	maxGrace     = Duration(time.Hour)
	minRetention = Duration(time.Minute)
	minMaxBytes  = Bytes(64 << 20)
)

// Config is every setting of an installation. Its zero value is a complete configuration: a field that is not set has
// the default that its help names (see WithDefaults).
type Config struct {
	// From says where settings come from; nil where nobody knows.
	From Origins `kong:"-"`

	Listen   string          `name:"listen" env:"PATCHBAY_LISTEN" placeholder:"HOST:PORT" help:"Address to serve on. Default: ${default_listen}."`
	Data     string          `name:"data" env:"PATCHBAY_DATA" placeholder:"DIR" help:"Directory that holds the embedded database, the first admin key and the name of this node. Default: ${default_data}."`
	Database patchbay.Secret `name:"database" env:"PATCHBAY_DATABASE" placeholder:"URL" help:"PostgreSQL database that this node shares with others, such as postgres://USER:PASSWORD@HOST:5432/NAME. Better given in the environment than on the command line. Default: an embedded SQLite database in the data directory."`
	KeyFile  string          `name:"key-file" env:"PATCHBAY_KEY_FILE" placeholder:"FILE" help:"File with the keys that secrets in the database are sealed with; every node of an installation needs the same one. Default: secret.key in the data directory, which the first start makes."`
	Catalog  []string        `name:"catalog" env:"PATCHBAY_CATALOG" placeholder:"FILE|DIR|builtin:NAME" help:"Where event types are read from; can be repeated. Default: the four built-in catalogs."`
	Dev      bool            `name:"dev" env:"PATCHBAY_DEV" help:"Development mode: loopback only, no credentials needed, loopback targets allowed."`

	SigningKey patchbay.Secret `name:"signing-key" env:"PATCHBAY_SIGNING_KEY" placeholder:"KEY" help:"Key of the X-Signature header on POST /events. Better given in the environment than on the command line."`
	PublicURL  string          `name:"public-url" env:"PATCHBAY_PUBLIC_URL" placeholder:"URL" help:"Where the world reaches this installation, such as https://hooks.example.com."`
	CORSOrigin []string        `name:"cors-origin" env:"PATCHBAY_CORS_ORIGIN" placeholder:"ORIGIN" help:"Origin whose pages may read GET /events and GET /integrations, or *; can be repeated."`

	Retention          Retention `name:"retention" env:"PATCHBAY_RETENTION" placeholder:"30d|TENANT=90d" help:"How long events that matched a link are kept, for all or for one tenant; can be repeated. Default: ${default_retention}."`
	RetentionUnmatched Duration  `name:"retention-unmatched" env:"PATCHBAY_RETENTION_UNMATCHED" placeholder:"3d" help:"How long events that matched nothing are kept. Default: ${default_unmatched}."`
	RetentionBodies    Duration  `name:"retention-bodies" env:"PATCHBAY_RETENTION_BODIES" placeholder:"7d" help:"How long the bodies of partners' answers are kept. Default: ${default_bodies}."`
	AuditRetention     *Duration `name:"audit-retention" env:"PATCHBAY_AUDIT_RETENTION" placeholder:"365d" help:"How long it is kept who changed what; 0 is for ever. Default: ${default_audit}."`
	MaxBytes           Bytes     `name:"max-bytes" env:"PATCHBAY_MAX_BYTES" placeholder:"SIZE" help:"Size the database may reach, such as 20GB; beyond it the oldest finished events go first. Default: no limit."`

	Quota Quota `name:"quota" env:"PATCHBAY_QUOTA" placeholder:"N|TENANT=N" help:"Events a second that a tenant may send, for all or for one tenant; can be repeated. Default: no limit."`

	Serves Tenants `name:"serves" env:"PATCHBAY_SERVES" placeholder:"PATTERN" help:"Tenants that this installation serves, such as eu-*, where others serve the rest; can be repeated. Default: every tenant."`

	ScopeKinds ScopeKinds `name:"scope-kinds" env:"PATCHBAY_SCOPE_KINDS" placeholder:"KIND=PATTERN" help:"Scopes that are a team's or a user's, for integrations that are meant for one of them; * stands for any run of characters in one segment; can be repeated. Default: team=*/teams/* and user=*/users/*."`

	TrustedProxies Networks        `name:"trusted-proxies" env:"PATCHBAY_TRUSTED_PROXIES" placeholder:"CIDR" help:"Networks of reverse proxies whose X-Forwarded-For is believed for the log; can be repeated."`
	EgressAllow    Networks        `name:"egress-allow" env:"PATCHBAY_EGRESS_ALLOW" placeholder:"CIDR" help:"Private networks that links may send to; can be repeated. Default: none."`
	EgressProxy    patchbay.Secret `name:"egress-proxy" env:"PATCHBAY_EGRESS_PROXY" placeholder:"URL" help:"HTTP proxy that everything sent to partners goes through."`

	Grace     Duration `name:"grace" env:"PATCHBAY_GRACE" placeholder:"30s" help:"How long a stop waits for what is being sent. Default: ${default_grace}."`
	LogFormat string   `name:"log-format" env:"PATCHBAY_LOG_FORMAT" placeholder:"auto|text|json" help:"How the log is written; auto is text on a terminal and JSON elsewhere. Default: ${default_log_format}."`
	LogLevel  string   `name:"log-level" env:"PATCHBAY_LOG_LEVEL" placeholder:"debug|info|warn|error" help:"What is logged at least. Default: ${default_log_level}."`

	SentryDSN patchbay.Secret `name:"sentry-dsn" env:"PATCHBAY_SENTRY_DSN,SENTRY_DSN,INTEGRATION_SENTRY_DSN" placeholder:"URL" help:"Report errors to this Sentry project, without payloads, settings and other secrets. Default: nowhere."`

	PortalName   string   `name:"portal-name" env:"PATCHBAY_PORTAL_NAME" placeholder:"NAME" help:"Your product's name, on the pages that your customers see."`
	PortalAccent string   `name:"portal-accent" env:"PATCHBAY_PORTAL_ACCENT" placeholder:"#RRGGBB" help:"The colour of buttons and links on these pages."`
	PortalLogo   string   `name:"portal-logo" env:"PATCHBAY_PORTAL_LOGO" placeholder:"URL" help:"Address of a picture that stands at the top of these pages."`
	PortalFrames []string `name:"portal-frames" env:"PATCHBAY_PORTAL_FRAMES" placeholder:"ORIGIN" help:"Origin whose pages may show these pages in a frame, such as https://app.example.com; can be repeated. Default: none."`

	OIDCIssuer       string          `name:"oidc-issuer" env:"PATCHBAY_OIDC_ISSUER" placeholder:"URL" help:"OpenID provider by which operators sign in beside API keys, exactly as it calls itself, such as https://id.example.com."`
	OIDCClientID     string          `name:"oidc-client-id" env:"PATCHBAY_OIDC_CLIENT_ID" placeholder:"ID" help:"What the OpenID provider knows this installation by."`
	OIDCClientSecret patchbay.Secret `name:"oidc-client-secret" env:"PATCHBAY_OIDC_CLIENT_SECRET" placeholder:"SECRET" help:"How this installation proves itself to the OpenID provider. Better given in the environment than on the command line."`
	OIDCScopes       []string        `name:"oidc-scopes" env:"PATCHBAY_OIDC_SCOPES" placeholder:"SCOPE" help:"What the OpenID provider is asked for; can be repeated. Default: openid, email and profile."`
	OIDCName         string          `name:"oidc-name" env:"PATCHBAY_OIDC_NAME" placeholder:"NAME" help:"How the provider is called on the button that signs in. Default: ${default_oidc_name}."`
	OIDCClaim        string          `name:"oidc-claim" env:"PATCHBAY_OIDC_CLAIM" placeholder:"CLAIM" help:"Claim whose values oidc-roles is about; a dot leads into an object, as in realm_access.roles. Default: ${default_oidc_claim}."`
	OIDCRoles        OIDCRoles       `name:"oidc-roles" env:"PATCHBAY_OIDC_ROLES" placeholder:"VALUE=ROLE[@SCOPE]" help:"Who may do what: a value of the claim, a verified e-mail address or * for everybody, and viewer, operator or admin, such as support=operator@acme; can be repeated."`

	Integrations Integrations `name:"integrations" env:"PATCHBAY_INTEGRATIONS" placeholder:"KEY.SETTING=VALUE" help:"The operator's settings of an integration, such as email.host=smtp.example.com; can be repeated."`
	NATS         NATS         `name:"nats" env:"PATCHBAY_NATS" placeholder:"NAME.SETTING=VALUE" help:"NATS JetStream that events are taken from, such as orders.url=nats://broker:4222 and orders.stream=ORDERS; can be repeated."`
	Outbox       Outbox       `name:"outbox" env:"PATCHBAY_OUTBOX" placeholder:"URL|NAME.SETTING=VALUE" help:"PostgreSQL database of your product with an outbox that events are taken from; can be repeated."`
}

// Client is what the commands that talk to a running installation need.
type Client struct {
	Server string          `name:"server" env:"PATCHBAY_SERVER" placeholder:"URL" help:"Installation to talk to. Default: http://${default_listen}."`
	Key    patchbay.Secret `name:"key" env:"PATCHBAY_KEY" placeholder:"TOKEN" help:"API key. Default: the admin key in the data directory, for a server on this machine."`
}

// Vars returns what the help texts of Config and Client refer to.
func Vars() map[string]string {
	return map[string]string{
		"default_listen": DefaultListen, "default_data": DefaultData,
		"default_retention": DefaultRetention.String(), "default_unmatched": DefaultUnmatched.String(),
		"default_bodies": DefaultBodies.String(), "default_audit": DefaultAudit.String(), "default_grace": DefaultGrace.String(),
		"default_log_format": DefaultLogFormat, "default_log_level": DefaultLogLevel,
		"default_oidc_name": DefaultOIDCName, "default_oidc_claim": DefaultOIDCClaim,
	}
}

// AdminKeyFile is the file in the data directory that the first start writes the admin key to, for its owner only.
func AdminKeyFile(data string) string { return filepath.Join(data, "admin.key") }

// SecretKeyFile is the file with the keys that secrets are sealed with.
func (c Config) SecretKeyFile() string {
	if c.KeyFile != "" {
		return c.KeyFile
	}
	return filepath.Join(c.Data, "secret.key")
}

// WithDefaults returns c with every field that was not set at its default.
func (c Config) WithDefaults() Config {
	setDefault(&c.Listen, DefaultListen)
	setDefault(&c.Data, DefaultData)
	setDefault(&c.Retention.Default, DefaultRetention)
	setDefault(&c.RetentionUnmatched, DefaultUnmatched)
	setDefault(&c.RetentionBodies, DefaultBodies)
	if c.AuditRetention == nil {
		keep := DefaultAudit
		c.AuditRetention = &keep
	}
	setDefault(&c.Grace, DefaultGrace)
	setDefault(&c.LogFormat, DefaultLogFormat)
	setDefault(&c.LogLevel, DefaultLogLevel)
	setDefault(&c.OIDCName, DefaultOIDCName)
	setDefault(&c.OIDCClaim, DefaultOIDCClaim)
	if c.OIDCScopes = strings.Fields(strings.Join(c.OIDCScopes, " ")); len(c.OIDCScopes) == 0 { // as they are spelled elsewhere
		c.OIDCScopes = DefaultOIDCScopes
	}
	c.ScopeKinds = c.ScopeKinds.withDefaults()
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Warnings are about settings that work and are not wise.
func (c Config) Warnings() []string {
	var out []string
	if c.SigningKey != "" && len(c.SigningKey) < 16 {
		out = append(out, fmt.Sprintf("signing-key: a key of %d characters can be guessed; use at least 16, for example from `openssl rand -hex 32`", len(c.SigningKey)))
	}
	return out
}

// Validate refuses what cannot work. Its errors name the setting and say what to write instead.
func (c Config) Validate() error {
	c = c.WithDefaults()
	for _, check := range []func() error{c.checkListen, c.checkDatabase, c.checkURLs, c.checkRetention, c.checkPortal, c.checkOIDC, c.checkSources, c.checkRest} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func wrong(setting, format string, args ...any) error {
	return patchbay.Errorf(patchbay.CodeInvalidRequest, setting+": "+format, args...)
}

func (c *Config) checkListen() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return wrong("listen", "%q is not an address: write HOST:PORT, such as %s, or :8080 for every address of this machine", c.Listen, DefaultListen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return wrong("listen", "%q is not a port: write a number from 0 (any free one) to 65535", port)
	}
	if c.Dev && !Loopback(host) {
		return wrong("listen", "development mode serves on loopback only, because it asks for no credentials: write 127.0.0.1:%s, or leave out --dev", port)
	}
	return nil
}

// Loopback reports whether a host, a name or an address, is this machine's loopback.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

func (c *Config) checkURLs() error {
	if c.PublicURL != "" {
		if _, err := absolute(c.PublicURL); err != nil {
			return wrong("public-url", "%v: write where this installation is reached from outside, such as https://hooks.example.com", err)
		}
	}
	for _, origin := range c.CORSOrigin {
		if origin == "*" {
			continue
		}
		if u, err := absolute(origin); err != nil || u.Path != "" {
			return wrong("cors-origin", "%q is not an origin: write scheme and host only, such as https://app.example.com, or * for every page", origin)
		}
	}
	if c.EgressProxy != "" {
		if u, err := absolute(c.EgressProxy.Reveal()); err != nil || strings.Trim(u.Path, "/") != "" {
			return wrong("egress-proxy", "the value is not the address of a proxy: write http://HOST:PORT")
		}
	}
	return nil
}

// absolute reads an http or https URL without query and fragment.
func absolute(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not an http or https URL", text)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "%q has a query or a fragment", text)
	}
	return u, nil
}

func (c *Config) checkRetention() error {
	kept := map[string]Duration{
		"retention": c.Retention.Default, "retention-unmatched": c.RetentionUnmatched, "retention-bodies": c.RetentionBodies,
	}
	for tenant, d := range c.Retention.Tenants {
		kept["retention of "+tenant] = d
	}
	for _, setting := range slices.Sorted(maps.Keys(kept)) {
		if d := kept[setting]; d < minRetention {
			return wrong(setting, "%s is too short to look at anything: write at least %s", d, minRetention)
		}
	}
	if d := c.AuditRetention; d != nil && *d != 0 && *d < minRetention {
		return wrong("audit-retention", "%s is too short to look at anything: write at least %s, or 0 for ever", *d, minRetention)
	}
	if c.MaxBytes != 0 && c.MaxBytes < minMaxBytes {
		return wrong("max-bytes", "%s is less than the %s that a working database needs", c.MaxBytes, minMaxBytes)
	}
	return nil
}

func (c *Config) checkRest() error {
	for _, name := range c.Catalog {
		if strings.TrimSpace(name) == "" {
			return wrong("catalog", "an empty name: write a file, a directory or builtin:NAME")
		}
	}
	if c.Grace < 0 || c.Grace > maxGrace {
		return wrong("grace", "%s is not between 0s and %s", c.Grace, maxGrace)
	}
	switch c.LogFormat {
	case "auto", "text", "json":
	default:
		return wrong("log-format", "%q is not a format: write auto, text or json", c.LogFormat)
	}
	if _, err := c.Level(); err != nil {
		return err
	}
	return nil
}
