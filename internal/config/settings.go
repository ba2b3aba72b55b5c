package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
)

// Origins says where settings come from: by setting the flag, the environment variable or the file that gave its value. A
// setting that is not there has its default.
type Origins map[string]string

// FindOrigins looks for every setting in the places that a program takes them from, the strongest first.
func FindOrigins(args []string, env func(name string) (string, bool), file *File) Origins {
	out := Origins{}
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name := tag.Get("name")
		if name == "" {
			continue
		}
		flag := "--" + name
		if slices.ContainsFunc(args, func(a string) bool { return a == flag || strings.HasPrefix(a, flag+"=") }) {
			out[name] = flag
			continue
		}
		if file != nil && file.Value(name) != nil {
			out[name] = file.Path
			if out[name] == "" {
				out[name] = DefaultFile
			}
		}
		for variable := range strings.SplitSeq(tag.Get("env"), ",") {
			if _, set := env(variable); set {
				out[name] = variable
				break
			}
		}
	}
	return out
}

// Setting is one setting as it is in effect.
type Setting struct {
	// Name is the flag's, without its dashes.
	Name string
	// Value is for people: of a secret only that it is set; "" when there is none.
	Value string
	// From is where it comes from; "" is its default.
	From   string
	Secret bool
	// Help says what it does, Default what holds when there is no value.
	Help, Default string
}

// SettingGroup are settings that belong together.
type SettingGroup struct {
	Title    string
	Settings []Setting
}

// groups are the settings in the order in which people look for them.
var groups = []struct {
	title string
	names []string
}{
	{"Where it serves", []string{"listen", "public-url", "cors-origin", "trusted-proxies", "dev", "grace"}},
	{"Where it keeps things", []string{"data", "database", "key-file", "retention", "retention-unmatched", "retention-bodies", "audit-retention", "max-bytes"}},
	{"What comes in", []string{"catalog", "signing-key", "quota", "serves", "scope-kinds", "nats", "outbox"}},
	{"What goes out", []string{"egress-allow", "egress-proxy", "integrations"}},
	{"Who signs in", []string{"oidc-issuer", "oidc-name", "oidc-client-id", "oidc-client-secret", "oidc-scopes", "oidc-claim", "oidc-roles"}},
	{"What customers see", []string{"portal-name", "portal-accent", "portal-logo", "portal-frames"}},
	{"What it tells", []string{"log-format", "log-level", "sentry-dsn"}},
}

// Settings returns every setting as it is in effect, in groups. No secret is in it.
func (c Config) Settings() []SettingGroup {
	c = c.WithDefaults()
	t, v := reflect.TypeFor[Config](), reflect.ValueOf(c)
	all := map[string]Setting{}
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("name")
		if name == "" {
			continue
		}
		_, secret := v.Field(i).Interface().(patchbay.Secret)
		s := Setting{Name: name, From: c.From[name], Secret: secret, Value: shown(v.Field(i).Interface())}
		s.Help, s.Default, _ = strings.Cut(t.Field(i).Tag.Get("help"), " Default: ")
		s.Default = strings.TrimSuffix(s.Default, ".")
		if name == "database" {
			s.Value, s.Secret = c.DatabaseName(), false // which says no more than where it is
		}
		all[name] = s
	}
	out := make([]SettingGroup, 0, len(groups)+1)
	for _, g := range groups {
		group := SettingGroup{Title: g.title}
		for _, name := range g.names {
			if s, there := all[name]; there {
				group.Settings = append(group.Settings, s)
				delete(all, name)
			}
		}
		out = append(out, group)
	}
	if len(all) > 0 {
		rest := SettingGroup{Title: "Others"}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			rest.Settings = append(rest.Settings, all[name])
		}
		out = append(out, rest)
	}
	return out
}

// shown spells a value for people. Of a type that it does not know, which may hold secrets, it says only that it is set.
func shown(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		if !v {
			return "no"
		}
		return "yes"
	case []string:
		return strings.Join(v, ", ")
	case Duration:
		return v.String()
	case *Duration:
		if v == nil {
			return ""
		}
		if *v == 0 {
			return "for ever"
		}
		return v.String()
	case Bytes:
		if v == 0 {
			return ""
		}
		return v.String()
	case Retention:
		return perTenant(v.Default.String(), v.Tenants)
	case Quota:
		all := ""
		if v.Default != 0 {
			all = number(v.Default)
		}
		tenants := map[string]string{}
		for tenant, n := range v.Tenants {
			tenants[tenant] = number(n)
		}
		return perTenant(all, tenants)
	case Networks:
		return list(v, netip.Prefix.String)
	case Tenants:
		return list(v, func(p patchbay.Pattern) string { return string(p) })
	case ScopeKinds:
		return list(slices.Sorted(maps.Keys(v)), func(kind string) string { return kind + "=" + strings.Join(v[kind], " ") })
	case OIDCRoles:
		return list(v, OIDCRole.String)
	case Integrations:
		var names []string
		for key, settings := range v {
			for name := range settings {
				names = append(names, key+"."+name)
			}
		}
		slices.Sort(names)
		return strings.Join(names, ", ")
	case NATS:
		return strings.Join(slices.Sorted(maps.Keys(v)), ", ")
	case Outbox:
		return strings.Join(slices.Sorted(maps.Keys(v)), ", ")
	}
	if reflect.ValueOf(value).IsZero() {
		return ""
	}
	return "set"
}

// String spells a rule as it is written.
func (r OIDCRole) String() string {
	if r.Scope == "" {
		return r.Value + "=" + r.Role
	}
	return r.Value + "=" + r.Role + "@" + string(r.Scope)
}

func number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

func list[T any](values []T, spell func(T) string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = spell(v)
	}
	return strings.Join(out, ", ")
}

func perTenant[T any](all string, tenants map[string]T) string {
	var out []string
	if all != "" {
		out = append(out, all)
	}
	for _, tenant := range slices.Sorted(maps.Keys(tenants)) {
		out = append(out, fmt.Sprintf("%s=%v", tenant, tenants[tenant]))
	}
	return strings.Join(out, ", ")
}
