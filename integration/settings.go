package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
)

// SettingType says what a setting's value looks like.
type SettingType string

// The types of settings, and their JSON.
const (
	TypeString  SettingType = "string"  // one line of text
	TypeText    SettingType = "text"    // several lines of text
	TypeURL     SettingType = "url"     // an absolute http or https URL
	TypeInteger SettingType = "integer" // a number without a fraction
	TypeBoolean SettingType = "boolean" // true or false
	TypeSelect  SettingType = "select"  // the value of one of Options
	TypeList    SettingType = "list"    // an array of strings; one comma-separated string is read as one
	TypeMap     SettingType = "map"     // an object of strings
	TypeObject  SettingType = "object"  // an object with settings of its own, in Fields
)

// Setting declares one setting.
type Setting struct {
	Key   string
	Title string
	Type  SettingType
	// Required settings must be there and not blank, UnlessConnected only on links without a connection.
	Required        bool
	UnlessConnected bool
	// Secret values are never shown again: reads show a mask. In a map, every value is masked by itself.
	Secret bool
	// Signing marks a secret that signs and is never sent, so it may stay when a Target changes.
	Signing bool
	// Target marks an address that the secrets are sent to: changing it requires giving them again.
	Target bool
	// Default stands for an absent value. It has the type that Check sees.
	Default any
	Help    string
	// Example shows what a value looks like.
	Example string
	Options []Option
	// Dynamic says that the integration's Choices knows the values; a person may still write one that it does not offer.
	Dynamic bool
	// Main shows it among the first in forms, as if it were required.
	Main bool
	// Fields are the settings inside a TypeObject.
	Fields Spec
	// Generate makes a value for a link that has none. What it made is shown once, in the answer that made it.
	Generate func() (string, error)
	// Successor makes the value that takes another's place when it is rotated; nil means what Generate makes.
	Successor func(old string) (string, error)
	// Check refuses a value that its type allows. It sees a string, int64, bool, []string, map[string]string or, for
	// an object, map[string]any. Its error is a sentence without the setting's name and without the value of a secret.
	Check func(value any) error
	// Mask replaces how a value is shown; it works on settings that are not Secret too. Without it a URL that is not
	// Secret is shown without its user information.
	Mask func(value string) string
}

// Option is one choice of a TypeSelect.
type Option struct {
	Value string `json:"value"`
	Title string `json:"title"`
}

// Spec declares settings, in the order in which people see them.
type Spec []Setting

// CheckOptions says how strict Spec.Check is.
type CheckOptions struct {
	// IgnoreUnknown lets settings through that the Spec does not know; they are dropped. Inline calls do so.
	IgnoreUnknown bool
	// Connected says that a connection takes the place of what is UnlessConnected.
	Connected bool
}

// Check validates settings (a JSON object; empty means {}) and returns them complete: values in their own types,
// defaults filled in, nothing unknown. Missing required settings come back as one misconfigured_integration error
// that names them, everything else as invalid_request; both carry details with paths below "settings".
func (s Spec) Check(raw json.RawMessage, o CheckOptions) (json.RawMessage, error) {
	in, err := object(raw)
	if err != nil {
		return nil, patchbay.Invalid("settings", "%v", err)
	}
	c := checker{CheckOptions: o}
	out := c.object(s, in, "settings")
	if len(c.wrong) > 0 {
		return nil, &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: sentence(c.wrong), Details: c.wrong}
	}
	if len(c.missing) > 0 {
		return nil, &patchbay.Error{Code: patchbay.CodeMisconfiguredIntegration, Message: sentence(c.missing), Details: c.missing}
	}
	return json.Marshal(out)
}

// object decodes a JSON object, keeping numbers as they are spelled.
func object(raw json.RawMessage) (map[string]any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	if len(raw) > patchbay.MaxSettingsBytes {
		return nil, fmt.Errorf("the settings are larger than %d bytes", patchbay.MaxSettingsBytes)
	}
	var in map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&in); err != nil {
		return nil, fmt.Errorf("the settings must be a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the end of the settings' JSON object")
	}
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("the settings must be valid UTF-8")
	}
	return in, nil
}

func sentence(details []patchbay.Detail) string {
	parts := make([]string, len(details))
	for i, d := range details {
		parts[i] = d.Path + ": " + d.Message
	}
	return strings.Join(parts, "; ")
}

type checker struct {
	CheckOptions
	wrong, missing []patchbay.Detail
}

func (c *checker) object(s Spec, in map[string]any, path string) map[string]any {
	out := make(map[string]any, len(s))
	for i := range s {
		set := &s[i]
		if set.show() != nil && holdsMask(in[set.Key]) {
			c.wrong = append(c.wrong, patchbay.Detail{Path: path + "." + set.Key, Message: "looks like a mask: give the value itself"})
			continue
		}
		v, err := set.convert(in[set.Key])
		if err != nil {
			c.wrong = append(c.wrong, patchbay.Detail{Path: path + "." + set.Key, Message: err.Error()})
			continue
		}
		if v == nil && set.Default != nil {
			v = set.Default
		}
		if v == nil {
			if set.Required && !(set.UnlessConnected && c.Connected) {
				c.missing = append(c.missing, patchbay.Detail{Path: path + "." + set.Key, Message: "is required (" + set.Title + ")"})
			}
			continue
		}
		if fields, ok := v.(map[string]any); ok && set.Type == TypeObject {
			v = c.object(set.Fields, fields, path+"."+set.Key)
		}
		if set.Check != nil {
			if err := set.Check(v); err != nil {
				c.wrong = append(c.wrong, patchbay.Detail{Path: path + "." + set.Key, Message: err.Error()})
				continue
			}
		}
		out[set.Key] = v
	}
	if !c.IgnoreUnknown {
		for key := range in {
			if !s.knows(key) {
				c.wrong = append(c.wrong, patchbay.Detail{Path: path + "." + clip(key), Message: "is not a setting of this integration; it has " + s.names()})
			}
		}
		slices.SortStableFunc(c.wrong, func(a, b patchbay.Detail) int { return strings.Compare(a.Path, b.Path) })
	}
	return out
}

func (s Spec) names() string {
	names := make([]string, len(s))
	for i := range s {
		names[i] = s[i].Key
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// convert turns a decoded JSON value into the setting's own type; nil stands for absent or blank. Text is read for
// numbers and booleans, because Rainforest's callers and HTML forms send everything as text.
func (set *Setting) convert(v any) (any, error) {
	switch x := v.(type) {
	case nil:
		return nil, nil
	case string:
		if strings.TrimSpace(x) == "" {
			return nil, nil
		}
		if !utf8.ValidString(x) || strings.ContainsRune(x, 0) {
			return nil, fmt.Errorf("must be text in UTF-8 without null bytes")
		}
	}
	switch set.Type {
	case TypeInteger:
		return toInteger(v)
	case TypeBoolean:
		return toBoolean(v)
	case TypeList:
		return toList(v)
	case TypeMap:
		return toMap(v)
	case TypeObject:
		if m, ok := v.(map[string]any); ok {
			return m, nil
		}
		return nil, fmt.Errorf("must be an object with %s", set.Fields.names())
	}
	var text string
	switch x := v.(type) {
	case string:
		text = x
	case json.Number: // an id such as Pivotal's project is often sent as a number
		text = x.String()
	default:
		return nil, fmt.Errorf("must be text")
	}
	return set.text(text)
}

func (set *Setting) text(text string) (any, error) {
	if set.Type != TypeText {
		text = strings.TrimSpace(text)
		if !oneLine(text) {
			return nil, fmt.Errorf("must be one line without control characters")
		}
	}
	switch set.Type {
	case TypeURL:
		if err := CheckURL(text); err != nil {
			return nil, err
		}
	case TypeSelect:
		if !slices.ContainsFunc(set.Options, func(o Option) bool { return o.Value == text }) {
			values := make([]string, len(set.Options))
			for i, o := range set.Options {
				values[i] = o.Value
			}
			return nil, fmt.Errorf("must be one of %s", strings.Join(values, ", "))
		}
	}
	return text, nil
}

func oneLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// CheckURL checks that text is an absolute http or https URL with a host. Its error does not repeat the URL, which
// may hold a secret.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("is not a URL that can be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("must begin with https:// or http://")
	case u.Hostname() == "":
		return fmt.Errorf("has no host: write https://host/path")
	case strings.Contains(text, "#"):
		return fmt.Errorf("must not have a #fragment, which is never sent")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("has a port that is not between 1 and 65535")
		}
	}
	return nil
}

func toInteger(v any) (any, error) {
	var text string
	switch x := v.(type) {
	case json.Number:
		text = x.String()
	case string:
		text = strings.TrimSpace(x)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return nil, fmt.Errorf("must be a whole number")
		}
		n = int64(f)
	}
	return n, nil
}

func toBoolean(v any) (any, error) {
	switch x := v.(type) {
	case bool:
		return x, nil
	case string:
		switch strings.ToLower(strings.TrimSpace(x)) {
		case "true", "on", "yes", "1":
			return true, nil
		case "false", "off", "no", "0":
			return false, nil
		}
	}
	return nil, fmt.Errorf("must be true or false")
}

func toList(v any) (any, error) {
	var parts []string
	switch x := v.(type) {
	case string:
		parts = strings.FieldsFunc(x, func(r rune) bool { return r == ',' || r == '\n' })
	case []any:
		for _, e := range x {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("must be a list of strings")
			}
			parts = append(parts, s)
		}
	default:
		return nil, fmt.Errorf("must be a list of strings")
	}
	out := make([]string, 0, len(parts))
	for _, p := range parts {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		if !oneLine(p) {
			return nil, fmt.Errorf("must be a list of strings of one line each, without control characters")
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func toMap(v any) (any, error) {
	in, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("must be an object of strings")
	}
	out := make(map[string]string, len(in))
	for k, e := range in {
		s, ok := e.(string)
		if !ok || k == "" {
			return nil, fmt.Errorf("must be an object of strings")
		}
		if !oneLine(k) || strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("must be an object of strings, without control characters in its keys")
		}
		out[k] = s
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// Into is a Definition.Decode for a struct with json tags. When *T has a method Validate() error, it is called.
func Into[T any](raw json.RawMessage) (any, error) {
	t := new(T)
	if err := json.Unmarshal(raw, t); err != nil {
		return nil, patchbay.Internal("reading settings that had been checked", err)
	}
	if v, ok := any(t).(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
