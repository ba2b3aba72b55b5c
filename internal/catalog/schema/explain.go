package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// MaxDetails bounds how many things Validate names.
const MaxDetails = 20

// findings takes the sentences out of a tree of errors, in the order of their paths.
func findings(e *jsonschema.ValidationError) []Problem {
	var out []Problem
	collect(e, &out)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(slices.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	out = slices.CompactFunc(out, func(a, b Problem) bool { return a.Message == b.Message && slices.Equal(a.Path, b.Path) })
	return out[:min(len(out), MaxDetails)]
}

func collect(e *jsonschema.ValidationError, out *[]Problem) {
	add := func(format string, args ...any) {
		*out = append(*out, Problem{slices.Clone(e.InstanceLocation), fmt.Sprintf(format, args...)})
	}
	below := func(names []string, message string) {
		for _, name := range names {
			*out = append(*out, Problem{append(slices.Clone(e.InstanceLocation), name), message})
		}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		below(k.Missing, "is required")
	case *kind.DependentRequired:
		below(k.Missing, "is required where there is "+strconv.Quote(clip(k.Prop)))
	case *kind.AdditionalProperties:
		below(k.Properties, "is not known here: check the spelling, or leave it out")
	case *kind.FalseSchema:
		add("may not be here")
	case *kind.AnyOf:
		alternatives(e, out)
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			add("fits more than one of the forms that it may have")
			return
		}
		alternatives(e, out)
	default:
		if sentence := describe(e.ErrorKind); sentence != "" {
			add("%s", sentence)
			return
		}
		for _, cause := range e.Causes {
			collect(cause, out)
		}
	}
}

// alternatives explains that a value fits none of several forms. When it has the wrong type for all forms but one, what
// is wrong with that one is the answer.
func alternatives(e *jsonschema.ValidationError, out *[]Problem) {
	var types []string
	var got string
	var near []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		k, ok := typeError(cause)
		if !ok || len(cause.InstanceLocation) != len(e.InstanceLocation) {
			near = append(near, cause)
			continue
		}
		types, got = append(types, k.Want...), k.Got
	}
	switch len(near) {
	case 0:
		slices.Sort(types)
		*out = append(*out, Problem{slices.Clone(e.InstanceLocation), mustBe(slices.Compact(types), got)})
	case 1:
		collect(near[0], out)
	default:
		*out = append(*out, Problem{slices.Clone(e.InstanceLocation), "fits none of the forms that it may have"})
	}
}

// typeError finds a wrong type behind references.
func typeError(e *jsonschema.ValidationError) (*kind.Type, bool) {
	for {
		switch k := e.ErrorKind.(type) {
		case *kind.Type:
			return k, true
		case *kind.Reference:
			if len(e.Causes) == 1 {
				e = e.Causes[0]
				continue
			}
		}
		return nil, false
	}
}

// describe returns a sentence for an error that stands alone, and "" for one that only holds others.
func describe(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		return ""
	case *kind.Type:
		return mustBe(k.Want, k.Got)
	case *kind.Enum:
		return "must be one of " + spellList(k.Want)
	case *kind.Const:
		return "must be " + spell(k.Want)
	case *kind.Format:
		return mustBeFormat(k)
	case *kind.Pattern:
		return "must match the pattern " + clip(k.Want)
	case *kind.MinLength:
		return "must have at least " + count(k.Want, "character")
	case *kind.MaxLength:
		return "must have at most " + count(k.Want, "character")
	case *kind.MinItems:
		return "must have at least " + count(k.Want, "element")
	case *kind.MaxItems:
		return "must have at most " + count(k.Want, "element")
	case *kind.MinProperties:
		return "must have at least " + count(k.Want, "field")
	case *kind.MaxProperties:
		return "must have at most " + count(k.Want, "field")
	case *kind.Minimum:
		return "must be at least " + spellRat(k.Want)
	case *kind.Maximum:
		return "must be at most " + spellRat(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + spellRat(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + spellRat(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + spellRat(k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("has the same element twice, at %d and %d", k.Duplicates[0], k.Duplicates[1])
	case *kind.Not:
		return "has a form that it may not have"
	}
	return strings.ReplaceAll(k.LocalizedString(message.NewPrinter(language.English)), base, "the schema")
}

// articles are the types of JSON in a sentence.
var articles = map[string]string{
	"string": "a string", "number": "a number", "integer": "an integer", "boolean": "a boolean", "null": "null",
	"array": "an array", "object": "an object",
}

func mustBe(want []string, got string) string {
	words := make([]string, len(want))
	for i, w := range want {
		words[i] = cmp.Or(articles[w], w)
	}
	return "must be " + strings.Join(words, " or ") + ", not " + cmp.Or(articles[got], got)
}

// formats say what a value must look like.
var formats = map[string]string{
	"date-time": "a date and time such as 2026-01-31T12:00:00Z", "date": "a date such as 2026-01-31",
	"time": "a time such as 12:00:00Z", "email": "an e-mail address", "uri": "an absolute URI", "uuid": "a UUID",
	"ipv4": "an IPv4 address", "ipv6": "an IPv6 address", "hostname": "a host name", "regex": "a regular expression",
	"uri-reference": "a URI reference", "json-pointer": "a JSON pointer", "duration": "a duration such as PT5M",
}

func mustBeFormat(k *kind.Format) string {
	sentence := "must be " + cmp.Or(formats[k.Want], "a valid "+k.Want)
	if k.Want == "regex" && k.Err != nil {
		sentence += ": " + k.Err.Error()
	}
	return sentence
}

func spell(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return clip(string(b))
}

func spellList(values []any) string {
	const most = 12
	words := make([]string, 0, most+1)
	for i, v := range values {
		if i == most {
			words = append(words, "…")
			break
		}
		words = append(words, spell(v))
	}
	return strings.Join(words, ", ")
}

func spellRat(r *big.Rat) string {
	if r.IsInt() {
		return clip(r.Num().String())
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// pathIn spells a path as "payload.commits[3].id". Only the value tells an index from a key.
func pathIn(doc any, path []string) string {
	var b strings.Builder
	b.WriteString(root)
	for _, step := range path {
		switch v := doc.(type) {
		case []any:
			i, _ := strconv.Atoi(step)
			if i < len(v) {
				doc = v[i]
			}
			b.WriteString("[" + step + "]")
			continue
		case map[string]any:
			doc = v[step]
		}
		b.WriteByte('.')
		if step == "" || strings.ContainsAny(step, " .[]\"\\\t\r\n") {
			step = strconv.Quote(step)
		}
		b.WriteString(clip(step))
	}
	return b.String()
}

// clip shortens text of a caller before it is quoted.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
