package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

const day = 24 * time.Hour

// Duration is a time.Duration that is also written in days, such as "30d".
type Duration time.Duration

// String writes whole days as days.
func (d Duration) String() string {
	if t := time.Duration(d); t != 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	return patchbay.Duration(d).String()
}

// UnmarshalText reads "30d" and everything that time.ParseDuration reads. Empty text is 0.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := parseDuration(string(text))
	*d = parsed
	return err
}

func parseDuration(text string) (Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 32); err == nil && n <= 36500 {
			return Duration(time.Duration(n) * day), nil
		}
	} else if parsed, err := time.ParseDuration(text); err == nil && parsed >= 0 {
		return Duration(parsed), nil
	}
	return 0, fmt.Errorf(`%q is not a length of time: write a number and a unit, such as 30d, 12h, 5m or 30s`, text)
}

// Bytes is a number of bytes that is written with a unit, such as "20GB".
type Bytes int64

// units are from large to small, so that String finds the largest that divides. Powers of 1024, as disks are used.
var units = []struct {
	names []string
	size  int64
}{
	{[]string{"TB", "TiB", "T"}, 1 << 40},
	{[]string{"GB", "GiB", "G"}, 1 << 30},
	{[]string{"MB", "MiB", "M"}, 1 << 20},
	{[]string{"KB", "KiB", "K"}, 1 << 10},
	{[]string{"B", ""}, 1},
}

// String writes the largest unit of which b is a whole number.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.names[0]
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// UnmarshalText reads a number with a unit. Empty text is 0.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	number := strings.TrimRight(s, "TGMKiBtgmkb ")
	unit := strings.TrimSpace(s[len(number):])
	if s == "" {
		*b = 0
		return nil
	}
	value, err := strconv.ParseFloat(number, 64)
	for _, u := range units {
		for _, name := range u.names {
			if n := value * float64(u.size); err == nil && strings.EqualFold(unit, name) && n >= 0 && n < math.MaxInt64 {
				*b = Bytes(n)
				return nil
			}
		}
	}
	return fmt.Errorf("%q is not a size: write a number and a unit, such as 500MB or 20GB", s)
}

// Networks are networks and single addresses. It reads them separated by commas and adds to what it has, so that a
// flag can be repeated.
type Networks []netip.Prefix

// UnmarshalText adds networks ("10.0.0.0/8") and addresses ("10.1.2.3").
func (n *Networks) UnmarshalText(text []byte) error {
	for _, part := range split(string(text)) {
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			address, err := netip.ParseAddr(part)
			if err != nil || address.Zone() != "" {
				return fmt.Errorf("%q is not a network: write a CIDR such as 10.0.0.0/8 or fd00::/8, or one address", part)
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		*n = append(*n, prefix.Masked())
	}
	return nil
}

func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// Tenants are patterns of tenants, in which * stands for any run of characters.
type Tenants []patchbay.Pattern

// UnmarshalText adds patterns.
func (t *Tenants) UnmarshalText(text []byte) error {
	for _, part := range split(string(text)) {
		p, err := patchbay.ParsePattern(part)
		if err != nil {
			return err
		}
		if strings.Contains(part, "/") {
			return fmt.Errorf("%q is a scope: write a tenant, its first segment, such as %s", part, strings.SplitN(part, "/", 2)[0])
		}
		*t = append(*t, p)
	}
	return nil
}

// everyTenant is how the file spells what holds for tenants that it does not name; no tenant can be called so.
const everyTenant = "*"

// Retention is how long events that matched are kept.
type Retention struct {
	// Default is for every tenant that is not in Tenants; 0 means DefaultRetention.
	Default Duration
	// Tenants is by tenant, the first segment of a scope.
	Tenants map[string]Duration
}

// UnmarshalText reads "30d", "acme=90d", several of them separated by commas, or a JSON object by tenant in which "*"
// stands for all others. It adds to what it has.
func (r *Retention) UnmarshalText(text []byte) error {
	return byTenant(text, parseDuration, &r.Default, &r.Tenants)
}

// Quota is how many events a second may come in.
type Quota struct {
	// Default is for every tenant that is not in Tenants; 0 means any number.
	Default float64
	// Tenants is by tenant, the first segment of a scope.
	Tenants map[string]float64
}

// UnmarshalText reads "100", "acme=500", several of them separated by commas, or a JSON object by tenant in which "*"
// stands for all others. It adds to what it has.
func (q *Quota) UnmarshalText(text []byte) error {
	return byTenant(text, parseRate, &q.Default, &q.Tenants)
}

// parseRate reads a number of events a second, with or without "/s".
func parseRate(text string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), "/s"), 64)
	if err != nil || n < 0 || n > 1e9 || n != n {
		return 0, fmt.Errorf("%q is not a number of events a second: write 100, or acme=500 for one tenant", text)
	}
	return n, nil
}

// byTenant reads values that hold for all tenants or for one.
func byTenant[T any](text []byte, parse func(string) (T, error), all *T, tenants *map[string]T) error {
	add := func(tenant, value string) error {
		v, err := parse(value)
		switch {
		case err != nil:
			return err
		case tenant == everyTenant:
			*all = v
			return nil
		}
		if scope, err := patchbay.ParseScope(tenant); err != nil || scope.Depth() != 1 {
			return fmt.Errorf("%q is not a tenant: write the first segment of its scopes, or * for all others", tenant)
		}
		if *tenants == nil {
			*tenants = map[string]T{}
		}
		(*tenants)[tenant] = v
		return nil
	}
	if s := strings.TrimSpace(string(text)); strings.HasPrefix(s, "{") {
		var in map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &in); err != nil {
			return err
		}
		for _, tenant := range slices.Sorted(maps.Keys(in)) {
			if err := add(tenant, strings.Trim(string(in[tenant]), `"`)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, part := range split(string(text)) {
		tenant, value, named := strings.Cut(part, "=")
		if !named {
			tenant, value = everyTenant, part
		}
		if err := add(tenant, value); err != nil {
			return err
		}
	}
	return nil
}

// Integrations holds the operator's settings by integration, each a JSON object.
type Integrations map[string]map[string]any

// UnmarshalText reads "email.host=smtp.example.com" or a JSON object of objects, and adds to what it has. Text stands
// for numbers and booleans too: an integration's declaration knows their types.
func (in *Integrations) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == "" {
		return nil
	}
	if strings.HasPrefix(s, "{") {
		var parsed map[string]map[string]any
		dec := json.NewDecoder(strings.NewReader(s))
		dec.UseNumber()
		if err := dec.Decode(&parsed); err != nil {
			return fmt.Errorf("the settings of integrations must be an object for each integration, such as email: {host: smtp.example.com}")
		}
		for key, settings := range parsed {
			for name, value := range settings {
				in.set(key, name, value)
			}
		}
		return nil
	}
	path, value, ok := strings.Cut(s, "=")
	key, name, dotted := strings.Cut(path, ".")
	if !ok || !dotted || key == "" || name == "" {
		return fmt.Errorf("write KEY.SETTING=VALUE, such as email.host=smtp.example.com")
	}
	in.set(key, name, value)
	return nil
}

func (in *Integrations) set(key, name string, value any) {
	if *in == nil {
		*in = Integrations{}
	}
	if (*in)[key] == nil {
		(*in)[key] = map[string]any{}
	}
	(*in)[key][name] = value
}

// shown is what may be seen: which settings there are. Some of their values are secrets, and only an integration's
// declaration knows which.
func (in Integrations) shown() map[string]map[string]patchbay.Secret {
	out := make(map[string]map[string]patchbay.Secret, len(in))
	for key, settings := range in {
		out[key] = make(map[string]patchbay.Secret, len(settings))
		for name := range settings {
			out[key][name] = patchbay.Redacted
		}
	}
	return out
}

// Format writes which settings there are, without their values, whatever the verb.
func (in Integrations) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, in.shown()) }

// MarshalJSON writes which settings there are, without their values. JSON, the method, has the values.
func (in Integrations) MarshalJSON() ([]byte, error) { return json.Marshal(in.shown()) }

// LogValue writes which settings there are, without their values.
func (in Integrations) LogValue() slog.Value { return slog.AnyValue(in.shown()) }

// JSON returns the settings of one integration, nil when there are none.
func (in Integrations) JSON(key string) (json.RawMessage, error) {
	if len(in[key]) == 0 {
		return nil, nil
	}
	return json.Marshal(in[key])
}

// Level returns LogLevel as log/slog knows it.
func (c Config) Level() (slog.Level, error) {
	switch strings.ToLower(c.LogLevel) {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, wrong("log-level", "%q is not a level: write debug, info, warn or error", c.LogLevel)
}
