package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

func compile(t testing.TB, source string) *Schema {
	t.Helper()
	if err := rawjson.Check([]byte(source), 0); err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	s, problems := Compile([]byte(source))
	if len(problems) > 0 {
		t.Fatalf("Compile(%s): %v", source, problems)
	}
	return s
}

func TestDetails(t *testing.T) {
	const source = `{"type":"object","required":["run","who"],"properties":{
		"run":{"type":"object","required":["id"],"properties":{"id":{"type":["integer","string"]},"state":{"enum":["a","b",3]},"n":{"type":"integer","minimum":1,"maximum":5}}},
		"list":{"type":"array","minItems":1,"maxItems":2,"items":{"type":"object","required":["x y"]}},
		"when":{"type":"string","format":"date-time"},"short":{"type":"string","minLength":2,"maxLength":3,"pattern":"^a"},
		"closed":{"type":"object","additionalProperties":false,"properties":{"ok":true}},"one":{"const":1},"never":false,
		"either":{"anyOf":[{"type":"string"},{"type":"null"},{"$ref":"#/$defs/point"}]},
		"forms":{"oneOf":[{"type":"string","minLength":3},{"type":"string","maxLength":4}]},
		"unique":{"uniqueItems":true},"half":{"multipleOf":0.5,"exclusiveMinimum":0.25}},
		"$defs":{"point":{"type":"object","required":["x","y"]}}}`
	s := compile(t, source)
	tests := []struct {
		payload string
		want    []patchbay.Detail
	}{
		{`{"run":{"id":1},"who":null}`, nil},
		{`{}`, []patchbay.Detail{{Path: "payload.run", Message: "is required"}, {Path: "payload.who", Message: "is required"}}},
		{`[]`, []patchbay.Detail{{Path: "payload", Message: "must be an object, not an array"}}},
		{`{"who":1,"run":{}}`, []patchbay.Detail{{Path: "payload.run.id", Message: "is required"}}},
		{`{"who":1,"run":{"id":true}}`, []patchbay.Detail{{Path: "payload.run.id", Message: "must be an integer or a string, not a boolean"}}},
		{`{"who":1,"run":{"id":1,"state":"c","n":0}}`, []patchbay.Detail{{Path: "payload.run.n", Message: "must be at least 1"}, {Path: "payload.run.state", Message: `must be one of "a", "b", 3`}}},
		{`{"who":1,"run":{"id":1,"n":6.0}}`, []patchbay.Detail{{Path: "payload.run.n", Message: "must be at most 5"}}},
		{`{"who":1,"run":{"id":1},"list":[{"x y":1},{}]}`, []patchbay.Detail{{Path: `payload.list[1]."x y"`, Message: "is required"}}},
		{`{"who":1,"run":{"id":1},"list":[]}`, []patchbay.Detail{{Path: "payload.list", Message: "must have at least 1 element"}}},
		{`{"who":1,"run":{"id":1},"when":"yesterday"}`, []patchbay.Detail{{Path: "payload.when", Message: "must be a date and time such as 2026-01-31T12:00:00Z"}}},
		{`{"who":1,"run":{"id":1},"short":"a"}`, []patchbay.Detail{{Path: "payload.short", Message: "must have at least 2 characters"}}},
		{`{"who":1,"run":{"id":1},"short":"bbbb"}`, []patchbay.Detail{{Path: "payload.short", Message: "must have at most 3 characters"}, {Path: "payload.short", Message: "must match the pattern ^a"}}},
		{`{"who":1,"run":{"id":1},"closed":{"ok":1,"no":2}}`, []patchbay.Detail{{Path: "payload.closed.no", Message: "is not known here: check the spelling, or leave it out"}}},
		{`{"who":1,"run":{"id":1},"one":2}`, []patchbay.Detail{{Path: "payload.one", Message: "must be 1"}}},
		{`{"who":1,"run":{"id":1},"never":2}`, []patchbay.Detail{{Path: "payload.never", Message: "may not be here"}}},
		{`{"who":1,"run":{"id":1},"either":2}`, []patchbay.Detail{{Path: "payload.either", Message: "must be null or an object or a string, not a number"}}},
		{`{"who":1,"run":{"id":1},"either":{"x":1}}`, []patchbay.Detail{{Path: "payload.either.y", Message: "is required"}}},
		{`{"who":1,"run":{"id":1},"forms":"abc"}`, []patchbay.Detail{{Path: "payload.forms", Message: "fits more than one of the forms that it may have"}}},
		{`{"who":1,"run":{"id":1},"forms":1}`, []patchbay.Detail{{Path: "payload.forms", Message: "must be a string, not a number"}}},
		{`{"who":1,"run":{"id":1},"unique":[1,2,1.0]}`, []patchbay.Detail{{Path: "payload.unique", Message: "has the same element twice, at 0 and 2"}}},
		{`{"who":1,"run":{"id":1},"half":0.25}`, []patchbay.Detail{{Path: "payload.half", Message: "must be a multiple of 0.5"}, {Path: "payload.half", Message: "must be more than 0.25"}}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, s.Validate([]byte(tt.payload))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.payload, diff)
		}
	}
}

func TestNoPayloadIsAnEmptyObject(t *testing.T) {
	if d := compile(t, `{"type":"object"}`).Validate(nil); d != nil {
		t.Errorf("nothing is required, and yet: %v", d)
	}
	if d := compile(t, `{"required":["a"]}`).Validate(nil); len(d) != 1 {
		t.Errorf("a is required: %v", d)
	}
	var none *Schema
	if d := none.Validate([]byte(`{"a":1}`)); d != nil {
		t.Errorf("without a schema every object is good: %v", d)
	}
	if d := none.Validate([]byte(`"a"`)); len(d) != 1 {
		t.Errorf("a payload must be an object: %v", d)
	}
}

func TestManyDetailsAreCut(t *testing.T) {
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprintf(`"k%02d"`, i))
	}
	d := compile(t, `{"required":[`+strings.Join(keys, ",")+`]}`).Validate([]byte(`{}`))
	if len(d) != MaxDetails || d[0].Path != "payload.k00" {
		t.Errorf("%d details, the first %v", len(d), d[0])
	}
}

func TestCompileRefuses(t *testing.T) {
	tests := []struct{ source, path, part string }{
		{`{"type":"strng"}`, "type", "must be one of"},
		{`{"properties":{"a":{"minLength":-1}}}`, "properties/a/minLength", "at least 0"},
		{`{"properties":{"a":{"type":"string","pattern":"(?=x)"}}}`, "properties/a/pattern", "regular expression"},
		{`{"$ref":"https://example.com/schema.json"}`, "", "$defs"},
		{`{"$ref":"file:///etc/passwd"}`, "", "$defs"},
		{`{"properties":{"a":{"$ref":"other.json"}}}`, "", "$defs"},
		{`{"$ref":"#/$defs/nope"}`, "$defs/nope", ""},
		{`{"$schema":"http://json-schema.org/draft-07/schema#"}`, "$schema", "2020-12"},
		{`{"$schema":7}`, "$schema", "2020-12"},
		{`true`, "", "must be an object"},
		{`{"maximum":1e999999999}`, "", "too large"},
		{`{"enum":[` + strings.Repeat("1", 500) + `]}`, "", "too large"},
		{`{"description":"` + strings.Repeat("x", MaxBytes) + `"}`, "", "longer than"},
	}
	for _, tt := range tests {
		_, problems := Compile([]byte(tt.source))
		if len(problems) == 0 {
			t.Errorf("Compile(%.60s) accepts it", tt.source)
			continue
		}
		if got := strings.Join(problems[0].Path, "/"); got != tt.path || !strings.Contains(problems[0].Message, tt.part) {
			t.Errorf("Compile(%.60s) = %q %q, want %q %q", tt.source, got, problems[0].Message, tt.path, tt.part)
		}
		if strings.Contains(problems[0].Message, "mem:") {
			t.Errorf("Compile(%.60s) shows an inner address: %s", tt.source, problems[0].Message)
		}
	}
	for _, source := range []string{`{}`, `{"$schema":"` + Draft + `"}`, `{"$schema":"` + Draft + `#"}`, `{"$ref":"#/$defs/a","$defs":{"a":true}}`, `{"$ref":"#"}`} {
		compile(t, source)
	}
}

// TestHugeNumbers proves that numbers which an exact fraction cannot hold cost nothing and break nothing.
func TestHugeNumbers(t *testing.T) {
	s := compile(t, `{"properties":{"a":{"type":"integer"},"b":{"type":"number","maximum":10,"minimum":-10},"c":{"enum":[1,1.5]},"l":{"items":{"type":"integer"}}}}`)
	tests := []struct {
		payload string
		valid   bool
	}{
		{`{"a":1e2000000}`, true}, {`{"a":1e-2000000}`, false}, {`{"a":0e2000000}`, true}, {`{"a":1.5e400}`, true}, {`{"a":1e99999999999999999999}`, true},
		{`{"b":1e2000000}`, false}, {`{"b":-1e2000000}`, false}, {`{"b":1e-2000000}`, true}, {`{"b":-1e-99999999999999999999}`, true},
		{`{"c":1e2000000}`, false}, {`{"c":1.50}`, true}, {`{"c":1e0}`, true}, {`{"c":1.` + strings.Repeat("0", 1000) + `}`, true},
		{`{"a":` + strings.Repeat("9", 5000) + `}`, true}, {`{"a":1.` + strings.Repeat("0", 5000) + `1}`, false}, {`{"a":1.` + strings.Repeat("0", 5000) + `}`, true},
		{`{"b":0.` + strings.Repeat("3", 5000) + `}`, true}, {`{"b":10.` + strings.Repeat("0", 5000) + `1}`, false},
		{`{"l":[` + strings.Repeat("1e900000,", 50000) + `1]}`, true},
	}
	for _, tt := range tests {
		start := time.Now()
		if d := s.Validate([]byte(tt.payload)); (d == nil) != tt.valid {
			t.Errorf("%.60s: %v, want valid %v", tt.payload, d, tt.valid)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%.60s takes %v", tt.payload, took)
		}
	}
}

// TestSchemasThatMultiply proves that schemas which make every level of a payload cost a multiple of the one above, or
// refer to themselves without moving on, cannot keep us busy.
func TestSchemasThatMultiply(t *testing.T) {
	laughs := `{"$ref":"#/$defs/d0","$defs":{`
	for i := range 60 {
		laughs += fmt.Sprintf(`"d%d":{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	laughs += `"d60":{"required":["no"]}}}`
	deep := strings.Repeat(`{"x":`, 200) + `{}` + strings.Repeat(`}`, 200)
	tests := []struct {
		name, schema, payload string
		valid                 bool
	}{
		{"a tree of references", laughs, `{"x":1}`, false},
		{"two branches that recurse", `{"anyOf":[{"properties":{"x":{"$ref":"#"}},"required":["no"]},{"properties":{"x":{"$ref":"#"}},"required":["no"]}]}`, deep, false},
		{"the same behind a keyword that only the full validator knows", `{"uniqueItems":true,"anyOf":[{"properties":{"x":{"$ref":"#"}},"required":["no"]},{"properties":{"x":{"$ref":"#"}},"required":["no"]}]}`, deep, false},
		{"a circle", `{"$ref":"#"}`, `{}`, false},
		{"a circle that forks", `{"oneOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}],"$defs":{"a":{"oneOf":[{"$ref":"#"},{"$ref":"#"}]}}}`, `{}`, false},
		{"a circle that forks and moves on", `{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}],"$defs":{"a":{"properties":{"x":{"$ref":"#"}}}}}`, deep, false},
		{"one that recurses as it should", `{"properties":{"x":{"$ref":"#"}},"additionalProperties":false}`, deep, true},
		{"the same with the full validator", `{"properties":{"x":{"$ref":"#"}},"unevaluatedProperties":false}`, deep, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := compile(t, tt.schema)
			start := time.Now()
			if d := s.Validate([]byte(tt.payload)); (d == nil) != tt.valid {
				t.Errorf("%v, want valid %v", d, tt.valid)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it takes %v", took)
			}
		})
	}
}

// TestTame proves that a number and its stand-in compare alike with every bound.
func TestTame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mantissa := rapid.StringMatching(`-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,8})?`).Draw(t, "mantissa")
		exponent := rapid.IntRange(-1200, 1200).Draw(t, "exponent")
		zeros := strings.Repeat("0", rapid.IntRange(0, 900).Draw(t, "zeros"))
		spelled := mantissa + "e" + fmt.Sprint(exponent)
		if strings.Contains(mantissa, ".") {
			spelled = mantissa + zeros + "e" + fmt.Sprint(exponent)
		}
		was, _ := new(big.Rat).SetString(spelled)
		is, ok := new(big.Rat).SetString(tame(spelled))
		if !ok || !json.Valid([]byte(tame(spelled))) {
			t.Fatalf("tame(%s) = %s is no number", spelled, tame(spelled))
		}
		if was.Sign() != is.Sign() || was.IsInt() != is.IsInt() {
			t.Fatalf("tame(%s) = %s changes its kind", spelled, tame(spelled))
		}
		b := new(big.Rat).SetFloat64(rapid.Float64().Draw(t, "bound"))
		if was.Cmp(b) != is.Cmp(b) {
			t.Fatalf("tame(%s) = %s compares differently with %v", spelled, tame(spelled), b)
		}
	})
}

// TestDecimal proves that a number compares with bounds as an exact fraction does.
func TestDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spelled := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		exact, _ := new(big.Rat).SetString(spelled)
		d := parseDecimal([]byte(spelled))
		if d.zero != (exact.Sign() == 0) || d.fraction == exact.IsInt() {
			t.Fatalf("%s is %+v", spelled, d)
		}
		bounds := []int64{-maxBound + 1, -2, -1, 0, 1, 2, maxBound - 1, rapid.Int64Range(-maxBound+1, maxBound-1).Draw(t, "bound")}
		if whole := new(big.Int).Quo(exact.Num(), exact.Denom()); whole.IsInt64() && whole.Int64() < maxBound-1 && whole.Int64() > 1-maxBound {
			bounds = append(bounds, whole.Int64(), whole.Int64()+1, whole.Int64()-1)
		}
		for _, b := range bounds {
			if got, want := d.compare(b), exact.Cmp(new(big.Rat).SetInt64(b)); got != want {
				t.Fatalf("%s compared with %d is %d, want %d", spelled, b, got, want)
			}
		}
	})
}

// anySchema draws schemas of the keywords that the fast validator knows, and some that it does not.
func anySchema(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		s := map[string]any{}
		sub := func() any {
			if depth == 0 || rapid.IntRange(0, 9).Draw(t, "leaf") == 0 {
				return rapid.SampledFrom([]any{true, false, map[string]any{}, map[string]any{"$ref": "#/$defs/d"}, map[string]any{"type": "string"}, map[string]any{"type": "integer"}}).Draw(t, "simple")
			}
			return anySchema(depth-1).Draw(t, "sub")
		}
		for _, keyword := range rapid.SliceOfNDistinct(rapid.SampledFrom(keywords), 0, 4, rapid.ID).Draw(t, "keywords") {
			switch keyword {
			case "type":
				s["type"] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"null", "boolean", "number", "integer", "string", "array", "object"}), 1, 3, rapid.ID).Draw(t, "types")
			case "required":
				s["required"] = rapid.SliceOfNDistinct(rapid.SampledFrom(propertyNames), 0, 3, rapid.ID).Draw(t, "required")
			case "properties":
				p := map[string]any{}
				for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(propertyNames), 0, 3, rapid.ID).Draw(t, "names") {
					p[name] = sub()
				}
				s["properties"] = p
			case "enum":
				s["enum"] = rapid.SliceOfN(rapid.SampledFrom(scalars), 1, 4).Draw(t, "enum")
			case "const":
				s["const"] = rapid.SampledFrom(scalars).Draw(t, "const")
			case "additionalProperties", "items", "not", "propertyNames", "contains", "if":
				s[keyword] = sub()
			case "anyOf", "oneOf", "allOf", "prefixItems":
				s[keyword] = []any{sub(), sub()}
			case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
				s[keyword] = rapid.SampledFrom([]any{json.Number("-2"), json.Number("0"), json.Number("1"), json.Number("1.5"), json.Number("3")}).Draw(t, "bound")
			case "pattern":
				s["pattern"] = rapid.SampledFrom([]string{"^a", "b$", "^\\p{L}*$", "é"}).Draw(t, "pattern")
			case "format":
				s["format"] = rapid.SampledFrom([]string{"date-time", "date", "uuid", "uri", "email", "unknown"}).Draw(t, "format")
			case "uniqueItems":
				s["uniqueItems"] = true
			default: // minLength, maxItems, …
				s[keyword] = rapid.IntRange(0, 3).Draw(t, keyword)
			}
		}
		return s
	})
}

var (
	keywords = []string{"type", "required", "properties", "enum", "const", "additionalProperties", "items", "not", "anyOf", "oneOf", "allOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
		"pattern", "format", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "uniqueItems", "propertyNames", "prefixItems", "contains", "if"}
	propertyNames = []string{"a", "b", "c\"d", "é", ""}
	scalars       = []any{nil, true, false, "a", "é\n", "", json.Number("0"), json.Number("1"), json.Number("1.0"), json.Number("-0"), json.Number("1e0"), json.Number("1.5"),
		json.Number("12345678901234567890"), "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+01:00", "2026-02-29", "2026-02-28", "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "https://e.com/a?b=c", "http://[::1", "bab", "abé"}
)

func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch n := rapid.IntRange(0, 9).Draw(t, "kind"); {
		case depth > 0 && n < 4:
			o := map[string]any{}
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(propertyNames), 0, 4, rapid.ID).Draw(t, "names") {
				o[name] = anyValue(depth-1).Draw(t, "value")
			}
			return o
		case depth > 0 && n < 6:
			return rapid.SliceOfN(anyValue(depth-1), 0, 4).Draw(t, "list")
		}
		return rapid.SampledFrom(scalars).Draw(t, "scalar")
	})
}

// TestFastAgreesWithFull proves that where the fast validator decides, it decides as the full one.
func TestFastAgreesWithFull(t *testing.T) {
	decided := 0
	rapid.Check(t, func(t *rapid.T) {
		s := anySchema(2).Draw(t, "schema")
		s["$defs"] = map[string]any{"d": anySchema(1).Draw(t, "def")}
		source, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		compiled, problems := Compile(source)
		if problems != nil {
			t.Fatalf("%s: %v", source, problems)
		}
		for range 5 {
			value, err := json.Marshal(anyValue(3).Draw(t, "value"))
			if err != nil {
				t.Fatal(err)
			}
			agree(t, compiled, source, value, &decided)
		}
	})
	if decided == 0 {
		t.Error("the fast validator never decides")
	}
}

type failer interface{ Fatalf(string, ...any) }

func agree(t failer, s *Schema, source, value []byte, decided *int) {
	doc, _ := decode(value)
	if !affordable(s.full, doc, len(value)) {
		return
	}
	full := s.full.Validate(doc) == nil
	switch s.fast.accepts(value) {
	case yes:
		*decided++
		if !full {
			t.Fatalf("%s: the fast validator accepts %s, the full one does not", source, value)
		}
	case no:
		*decided++
		if full {
			t.Fatalf("%s: the fast validator refuses %s, the full one does not", source, value)
		}
	}
}

// FuzzAgree lets the fuzzer find schemas and payloads on which the two validators differ.
func FuzzAgree(f *testing.F) {
	f.Add(`{"type":"object","required":["a"],"properties":{"a":{"type":["integer","null"],"minimum":1}}}`, `{"a":1.0}`)
	f.Add(`{"anyOf":[{"type":"string","format":"uri"},{"const":1}],"$defs":{"x":{}}}`, `"https://e.com"`)
	f.Add(`{"$ref":"#/$defs/t","$defs":{"t":{"properties":{"t":{"$ref":"#/$defs/t"}},"additionalProperties":false}}}`, `{"t":{"t":{"u":1}}}`)
	f.Add(`{"not":{"enum":["a",null,1.0]}}`, `1`)
	f.Add(`{"oneOf":[{"minLength":2},{"maxLength":3}]}`, `"\u00e9x"`)
	f.Add(`{"$ref":"#"}`, `{}`)
	f.Add(`{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"items":{"$ref":"#"}}}}`, `[[[]]]`)
	f.Add(`{"unevaluatedProperties":false,"properties":{"a":true}}`, `{"a":1,"b":2}`)
	f.Add(`{"maximum":1e2}`, `99.99999999999999999999`)
	f.Fuzz(func(t *testing.T, source, value string) {
		if len(source) > 2000 || rawjson.Check([]byte(source), 20) != nil || rawjson.Check([]byte(value), 50) != nil {
			return
		}
		s, problems := Compile([]byte(source))
		if problems != nil {
			return
		}
		var decided int
		agree(t, s, []byte(source), []byte(value), &decided)
		s.Validate([]byte(value))
	})
}

const benchmarkSchema = `{"type":"object","required":["id","name","state","created_at","author"],"properties":{
"id":{"type":"integer"},"name":{"type":"string","minLength":1,"maxLength":100},"state":{"enum":["new","open","done"]},"created_at":{"type":"string","format":"date-time"},
"updated_at":{"type":["string","null"],"format":"date-time"},"url":{"type":"string","format":"uri"},"count":{"type":"integer","minimum":0},"ratio":{"type":"number","minimum":0,"maximum":1},
"open":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}},"author":{"$ref":"#/$defs/person"},"assignee":{"$ref":"#/$defs/person"},
"f1":{"type":"string"},"f2":{"type":"string"},"f3":{"type":"string"},"f4":{"type":"string","pattern":"^[a-z]+$"},"f5":{"type":"integer"},"f6":{"type":"integer"},"f7":{"type":"boolean"},"f8":{"anyOf":[{"type":"string"},{"type":"null"}]}},
"$defs":{"person":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"email":{"type":"string"}}}}}`

const benchmarkPayload = `{"id":1234567,"name":"A report about a thing","state":"open","created_at":"2026-01-28T12:00:00Z","updated_at":null,"url":"https://example.com/reports/1234567",
"count":3,"ratio":0.5,"open":true,"tags":["a","b","c"],"author":{"name":"Ann","email":"ann@example.com"},"assignee":{"name":"Bob"},
"f1":"one","f2":"two \"quoted\"","f3":"three","f4":"four","f5":5,"f6":6,"f7":false,"f8":null}`

func TestFastAllocatesNothing(t *testing.T) {
	s, payload := compile(t, benchmarkSchema), []byte(benchmarkPayload)
	if v := s.fast.accepts(payload); v != yes {
		t.Fatalf("the fast validator says %d: %v", v, s.Validate(payload))
	}
	n := testing.AllocsPerRun(100, func() { s.Validate(payload) })
	if n != 0 && (!underRace || n > 4) {
		t.Errorf("Validate allocates %v times", n)
	}
}

func BenchmarkValidate(b *testing.B) {
	s, payload := compile(b, benchmarkSchema), []byte(benchmarkPayload)
	b.Run("fast", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if d := s.Validate(payload); d != nil {
				b.Fatal(d)
			}
		}
	})
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, d := s.explain(payload); d != nil {
				b.Fatal(d)
			}
		}
	})
}
