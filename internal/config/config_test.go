package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

// TestDefaults proves that the zero value is a complete and valid configuration.
func TestDefaults(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Fatal(err)
	}
	c := Config{PublicURL: "https://hooks.example.com/"}.WithDefaults()
	if c.Listen != DefaultListen || c.Retention.Default != DefaultRetention || c.Grace != DefaultGrace {
		t.Errorf("defaults are missing: %+v", c)
	}
	if c.PublicURL != "https://hooks.example.com" {
		t.Errorf("public URL %q keeps its slash", c.PublicURL)
	}
}

// TestTags proves that every setting has a flag, an environment variable that follows from the flag's name, and a help.
func TestTags(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Client]()} {
		for i := range typ.NumField() {
			tag := typ.Field(i).Tag
			if tag.Get("kong") == "-" {
				continue // it is said by nobody
			}
			want := "PATCHBAY_" + strings.ToUpper(strings.ReplaceAll(tag.Get("name"), "-", "_"))
			first, _, _ := strings.Cut(tag.Get("env"), ",") // others are names that it has elsewhere
			if tag.Get("name") == "" || first != want || !strings.HasSuffix(tag.Get("help"), ".") {
				t.Errorf("%s: name %q, env %q (want %q), help %q", typ.Field(i).Name, tag.Get("name"), tag.Get("env"), want, tag.Get("help"))
			}
		}
	}
}

// secretPart stands in passwords, which no error may show.
const secretPart = "hunter2"

// TestDatabaseName proves that hosts and name are shown, and nothing else.
func TestDatabaseName(t *testing.T) {
	for database, want := range map[string]string{
		"": "SQLite in d",
		"postgres://u:" + secretPart + "@a:1,b/x%20y?password=" + secretPart: "PostgreSQL x y at a:1, b",
		"postgres:///x?host=/run/postgresql":                                 "PostgreSQL x at /run/postgresql",
		"postgres://a:" + secretPart:                                         "PostgreSQL",
	} {
		c := Config{Data: "d", Database: patchbay.Secret(database)}
		if got := c.DatabaseName(); got != want {
			t.Errorf("%q: got %q, want %q", database, got, want)
		}
		if shown := fmt.Sprintf("%+v", c); strings.Contains(shown, secretPart) {
			t.Errorf("printing the configuration shows the password: %s", shown)
		}
	}
}

// TestValidate proves that nonsense is refused with a sentence that names the setting and says what to write.
func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    Config
		want string // "" is valid
	}{
		{"listen on all addresses", Config{Listen: ":8080"}, ""},
		{"listen on any port", Config{Listen: "127.0.0.1:0", Dev: true}, ""},
		{"listen without port", Config{Listen: "localhost"}, "listen: \"localhost\" is not an address: write HOST:PORT"},
		{"listen on a port too high", Config{Listen: ":80800"}, "listen: \"80800\" is not a port"},
		{"dev on every address", Config{Listen: ":8080", Dev: true}, "loopback only"},
		{"dev on a public address", Config{Listen: "192.0.2.1:80", Dev: true}, "127.0.0.1:80, or leave out --dev"},
		{"dev on IPv6 loopback", Config{Listen: "[::1]:80", Dev: true}, ""},
		{"postgres", Config{Database: "postgres://localhost/x"}, ""},
		{"postgres with several hosts", Config{Database: "postgresql://u:" + secretPart + "@a:5432,b,[::1]:5433/x?sslmode=verify-full&target_session_attrs=read-write"}, ""},
		{"postgres over a socket", Config{Database: "postgres:///x?host=/run/postgresql"}, ""},
		{"postgres with a coded password", Config{Database: "postgres://u:%40" + secretPart + "%2F@a/x"}, ""},
		{"postgres with an @ in the password", Config{Database: "postgres://u:@" + secretPart + "@a/x"}, "write @ as %40"},
		{"postgres with a slash in the password", Config{Database: "postgres://u:1/" + secretPart + "@a/x"}, "write @ as %40"},
		{"postgres with a bad code", Config{Database: "postgres://u:%zz" + secretPart + "@a/x"}, "write it as %25"},
		{"postgres with a bad port", Config{Database: "postgres://a:" + secretPart + "/x"}, "a port that is not a number"},
		{"postgres with a space", Config{Database: "postgres://u:" + secretPart + " @a/x"}, "%20"},
		{"postgres with two names", Config{Database: "postgres://u:" + secretPart + "@a/x/y"}, "write /NAME"},
		{"postgres with a bad parameter", Config{Database: "postgres://u:" + secretPart + "@a/x?%zz"}, "PARAMETER=VALUE"},
		{"keywords", Config{Database: "host=a password=" + secretPart}, "write postgres://"},
		{"mysql", Config{Database: "mysql://u:" + secretPart + "@localhost/x"}, "not the URL of a PostgreSQL database"},
		{"public URL without scheme", Config{PublicURL: "hooks.example.com"}, "public-url: \"hooks.example.com\" is not an http or https URL"},
		{"public URL with query", Config{PublicURL: "https://a.example?x=1"}, "query"},
		{"origins", Config{CORSOrigin: []string{"*", "https://app.example.com", "http://localhost:3000"}}, ""},
		{"origin with path", Config{CORSOrigin: []string{"https://app.example.com/"}}, "scheme and host only"},
		{"proxy", Config{EgressProxy: "http://proxy.internal:3128"}, ""},
		{"proxy that is none", Config{EgressProxy: "proxy:3128"}, "egress-proxy: the value is not the address of a proxy"},
		{"short audit retention", Config{AuditRetention: new(Duration(time.Second))}, "audit-retention"},
		{"short retention", Config{Retention: Retention{Tenants: map[string]Duration{"acme": Duration(time.Second)}}}, "retention of acme: 1s is too short"},
		{"small store", Config{MaxBytes: 1 << 20}, "max-bytes: 1MB is less than the 64MB"},
		{"blank catalog", Config{Catalog: []string{" "}}, "catalog: an empty name"},
		{"grace too long", Config{Grace: Duration(48 * time.Hour)}, "grace: 2d is not between 0s and 1h"},
		{"log format", Config{LogFormat: "xml"}, "log-format: \"xml\" is not a format"},
		{"log level", Config{LogLevel: "loud"}, "log-level: \"loud\" is not a level"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.c.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), secretPart) {
				t.Errorf("the error shows the password: %v", err)
			}
			if err != nil && tc.c.SigningKey != "" && strings.Contains(err.Error(), tc.c.SigningKey.Reveal()) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// TestFile proves that every kind of setting is read from a file, in each way in which it may be written.
func TestFile(t *testing.T) {
	const content = `
# an installation
listen: 0.0.0.0:8080
dev: false
catalog: [builtin:rhodecode, ./own.yaml]
cors-origin: https://app.example.com
retention: {"*": 10d, acme: 90d}
max-bytes: 20GB
egress-allow:
  - 10.0.0.0/8
  - 192.168.1.7
grace: 1m
integrations:
  email: {host: smtp.example.com, port: 587, starttls: true}
  slack:
    client_id: "007"
server: https://hooks.example.com
`
	f, err := ParseFile("patchbay.yaml", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"listen": "0.0.0.0:8080", "dev": "false", "catalog": []any{"builtin:rhodecode", "./own.yaml"},
		"cors-origin": []any{"https://app.example.com"}, "retention": `{"*":"10d","acme":"90d"}`, "max-bytes": "20GB",
		"egress-allow": "10.0.0.0/8,192.168.1.7", "grace": "1m",
		"integrations": `{"email":{"host":"smtp.example.com","port":587,"starttls":true},"slack":{"client_id":"007"}}`,
		"server":       "https://hooks.example.com",
	}
	for key, value := range want {
		if diff := cmp.Diff(value, f.Value(key)); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	if f.Value("data") != nil {
		t.Errorf("data is %v, but the file does not set it", f.Value("data"))
	}
}

// TestFileRefuses proves that mistakes are named with file, line and key.
func TestFileRefuses(t *testing.T) {
	for _, tc := range []struct{ name, content, want string }{
		{"misspelled", "data: x\nlissen: y\n", `f.yaml:2: "lissen" is not a setting: did you mean "listen"?`},
		{"underscore", "public_url: y\n", `f.yaml:1: "public_url" is not a setting: did you mean "public-url"?`},
		{"nothing like it", "\n\nwebhooks: 3\n", `f.yaml:3: "webhooks" is not a setting; there are audit-retention, catalog, `},
		{"list for one value", "listen: [a, b]\n", "f.yaml:1: listen: write one value"},
		{"list of objects", "catalog: [{a: b}]\n", "f.yaml:1: catalog: write one value or a list of values"},
		{"not a boolean", "dev: maybe\n", "f.yaml:1: dev: write true or false"},
		{"not a duration", "grace: soon\n", `f.yaml:1: grace: "soon" is not a length of time`},
		{"not a network", "egress-allow: [10.0.0.0/8, here]\n", `f.yaml:1: egress-allow: "here" is not a network`},
		{"not a tenant", "retention: {a/b: 3d}\n", `f.yaml:1: retention: "a/b" is not a tenant`},
		{"flat integrations", "integrations: {email: smtp}\n", "f.yaml:1: integrations: the settings of integrations must be an object"},
		{"set twice", "data: a\ndata: b\n", "f.yaml"},
		{"no mapping", "- listen\n", "f.yaml:1: a configuration is made of lines"},
		{"two documents", "data: a\n---\ndata: b\n", "second one"},
		{"no YAML", "data: [", "f.yaml: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseFile("f.yaml", []byte(tc.content))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}

// TestReadFile proves that only the file nobody named may be absent, and that an empty one says nothing.
func TestReadFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if f, err := ReadFile(""); err != nil || f.Path != "" || f.Value("data") != nil {
		t.Errorf("no file: %+v, %v", f, err)
	}
	if _, err := ReadFile("other.yaml"); err == nil {
		t.Error("a named file that is absent is accepted")
	}
	for _, content := range []string{"", "# nothing\n", "---\n", "null\n", "data:\n"} {
		if err := os.WriteFile(DefaultFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := ReadFile(""); err != nil || f.Value("data") != nil {
			t.Errorf("%q: %+v, %v", content, f, err)
		}
	}
	if got := AdminKeyFile("d"); got != filepath.Join("d", "admin.key") {
		t.Error(got)
	}
}

// TestValues proves how single values are read and written.
func TestValues(t *testing.T) {
	for text, want := range map[string]Duration{"30d": 30 * Duration(day), "90m": Duration(90 * time.Minute), "": 0, "0s": 0} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want {
			t.Errorf("%q is %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"-3s", "-1d", "3", "1.5d", "99999999d", "d"} {
		var d Duration
		if d.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is accepted as %v", text, d)
		}
	}
	for text, want := range map[string]Bytes{"20GB": 20 << 30, "1.5 gb": 3 << 29, "512mib": 512 << 20, "1000": 1000, "": 0, "2T": 2 << 40} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q is %v, %v", text, int64(b), err)
		}
	}
	for _, text := range []string{"GB", "-1GB", "1XB", "1e30GB", "NaN"} {
		var b Bytes
		if b.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is accepted as %v", text, b)
		}
	}
	var n Networks
	for _, text := range []string{"10.1.2.3/8", "::1, 192.0.2.1"} {
		if err := n.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
	}
	want := Networks{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.1/32")}
	if diff := cmp.Diff(want, n, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	var r Retention
	for _, text := range []string{"14d", "acme=90d,globex=1d"} {
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
	}
	if r.Default != 14*Duration(day) || r.Tenants["acme"] != 90*Duration(day) || r.Tenants["globex"] != Duration(day) {
		t.Errorf("%+v", r)
	}
	var in Integrations
	for _, text := range []string{"email.host=smtp.example.com", `{"email": {"port": 25}}`, "email.from=a=b"} {
		if err := in.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
	}
	if b, err := in.JSON("email"); err != nil || string(b) != `{"from":"a=b","host":"smtp.example.com","port":25}` {
		t.Errorf("%s, %v", b, err)
	}
	if b, _ := in.JSON("slack"); b != nil {
		t.Errorf("slack has %s", b)
	}
}

// FuzzParseFile proves that no file makes the reader panic, and that what it accepts can be read again by the settings.
func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{
		"listen: :8080\n", "retention: {\"*\": 3d}\n", "integrations: {a: {b: [1, {c: d}]}}\n", "catalog: &a [x]\ncors-origin: *a\n",
		"? [a]\n: b\n", "listen: |\n  a\n", "max-bytes: 1e400GB\n", "dev: on\n", "{", "a: &a [*a]", "\xff\xfe", "<<: {listen: x}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := ParseFile("f.yaml", content)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		var r Retention
		if text, ok := file.Value("retention").(string); ok && r.UnmarshalText([]byte(text)) != nil {
			t.Errorf("the accepted retention %q is refused", text)
		}
	})
}

func TestWarnings(t *testing.T) {
	if w := (Config{SigningKey: "secret"}).Warnings(); len(w) != 1 || strings.Contains(w[0], "secret") {
		t.Errorf("a short signing key: %q", w)
	}
	if w := (Config{SigningKey: "0123456789abcdef"}).Warnings(); len(w) != 0 {
		t.Errorf("a key of 16 characters: %q", w)
	}
}

func TestQuota(t *testing.T) {
	var q Quota
	for _, text := range []string{"100", "acme=500/s,free=0", `{"*": 50, "big": 1000}`} {
		if err := q.UnmarshalText([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if q.Default != 50 || q.Tenants["acme"] != 500 || q.Tenants["big"] != 1000 || len(q.Tenants) != 3 {
		t.Errorf("read %+v", q)
	}
	for _, text := range []string{"many", "-1", "a/b=3", "acme=", "NaN"} {
		if err := new(Quota).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// TestAuditRetention: a year when nobody says, and for ever when somebody says 0.
func TestAuditRetention(t *testing.T) {
	if got := (Config{}).WithDefaults().AuditRetention; *got != DefaultAudit {
		t.Errorf("it is kept for %s", got)
	}
	forever := Config{AuditRetention: new(Duration(0))}
	if err := forever.Validate(); err != nil || *forever.WithDefaults().AuditRetention != 0 {
		t.Errorf("for ever is %s, %v", forever.WithDefaults().AuditRetention, err)
	}
}
