package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestCheckRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":[`, 129) + strings.Repeat(`]}`, 129)
	many := manyKeys(50)
	tests := []struct {
		name, data string
		want       Error
	}{
		{"nothing", " \n", Error{"", 2, "there is no JSON here"}},
		{"a duplicate key", `{"payload":{"run":{"id":1,"id":2}}}`, Error{"payload.run", 26, `the key "id" stands twice in one object`}},
		{"a duplicate key that is escaped", `{"ab":1,"\u0061b":2}`, Error{"", 8, `the key "\u0061b" stands twice in one object`}},
		{"a duplicate key, both escaped", `{"\u00e4":1,"\u00E4":2}`, Error{"", 12, `the key "\u00E4" stands twice in one object`}},
		{"a duplicate key among many", many[:len(many)-1] + `,"key7":0}`, Error{"", len(many), `the key "key7" stands twice in one object`}},
		{"a duplicate among many that is escaped", many[:len(many)-1] + `,"k\u0065y7":0}`, Error{"", len(many), `the key "k\u0065y7" stands twice in one object`}},
		{"an empty key twice", `{"":1,"":2}`, Error{"", 6, `the key "" stands twice in one object`}},
		{"too deep", deep, Error{strings.Repeat("a[0].", 8)[:39] + "…", 768, "the JSON is nested too deep"}},
		{"trailing data", `{} {}`, Error{"", 3, "something follows the end of the JSON"}},
		{"a lone high surrogate", `{"t":["x","\ud83d!"]}`, Error{"t[1]", 11, `the escape \ud83d is half of a character: the other half is missing`}},
		{"a lone low surrogate", `"\uDE00"`, Error{"", 1, `the escape \uDE00 is half of a character: the other half is missing`}},
		{"two high surrogates", `"\ud83d\ud83d"`, Error{"", 1, `the escape \ud83d is half of a character: the other half is missing`}},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", Error{"a", 6, "a text is not valid UTF-8: it has the byte 0xFF"}},
		{"an overlong encoding", "\"\xc0\xaf\"", Error{"", 1, "a text is not valid UTF-8: it has the byte 0xC0"}},
		{"an encoded surrogate", "\"\xed\xa0\x80\"", Error{"", 1, "a text is not valid UTF-8: it has the byte 0xED"}},
		{"a control character", "\"a\nb\"", Error{"", 2, `a text holds the control character 0x0A: write it as \u000a`}},
		{"a wrong escape", `"\x"`, Error{"", 1, "a text holds a backslash that begins no escape of JSON"}},
		{"a short escape", `"\u12"`, Error{"", 1, `four hexadecimal digits must follow \u`}},
		{"an open string", `{"a":"b`, Error{"a", 5, "a text is not closed by a quote"}},
		{"an open string that ends in a backslash", `"\`, Error{"", 1, "a text is not closed by a quote"}},
		{"an open object", `{"a":1`, Error{"", 6, `the JSON ends where "," or "}" should stand`}},
		{"an open array", `[1`, Error{"", 2, `the JSON ends where "," or "]" should stand`}},
		{"a trailing comma", `{"a":1,}`, Error{"", 7, `'}' stands where a key in quotes should`}},
		{"a trailing comma in an array", `[1,]`, Error{"[1]", 3, `']' stands where a value should`}},
		{"no colon", `{"a" 1}`, Error{"a", 5, `'1' stands where ":" should`}},
		{"a bare word", `{"a":yes}`, Error{"a", 5, `'y' stands where a value should`}},
		{"a cut literal", `[tru]`, Error{"[0]", 1, `a value begins like "true" and is something else`}},
		{"a leading zero", `01`, Error{"", 0, "a number begins with a zero too many"}},
		{"a bare minus", `-`, Error{"", 1, "the JSON ends where a digit should stand"}},
		{"a number that ends in a point", `1.`, Error{"", 2, "the JSON ends where a digit should stand"}},
		{"a number without its exponent", `1e+`, Error{"", 3, "the JSON ends where a digit should stand"}},
		{"a byte order mark", "\ufeff{}", Error{"", 0, `'\ufeff' stands where a value should`}},
		{"a stray byte", "\x80", Error{"", 0, "the byte 0x80 stands where a value should"}},
		{"an odd key in the path", `{"a b":{"":nope}}`, Error{`"a b".""`, 11, `a value begins like "null" and is something else`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Check([]byte(tt.data), 0)
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("Check(%q) = %v, want an *Error", tt.data, err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("Check(%q) (-want +got)\n%s", tt.data, diff)
			}
		})
	}
}

func TestErrorIsASentenceWithThePlace(t *testing.T) {
	err := Check([]byte(`{"run":{"id":1,"id":2}}`), 0)
	if want := `run: the key "id" stands twice in one object (at byte 15)`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	err = Check(nil, 0)
	if want := `there is no JSON here (at byte 0)`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestCheckAccepts(t *testing.T) {
	for _, data := range []string{
		`{}`, ` [ ] `, `null`, `true`, `false`, `0`, `-0`, `1.5e+10`, `123456789012345678901234567890`, `1E400`, `""`,
		`"\ud83d\ude00"`, `"\u0000"`, `"\/"`, `{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}`, `{"":1}`, "\"\u2028\x7f\"",
		"\t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : null } ", manyKeys(1000),
		"[" + strings.Repeat(manyKeys(20)+",", 50) + "0]",
	} {
		if err := Check([]byte(data), 0); err != nil {
			t.Errorf("Check(%.60q) = %v", data, err)
		}
	}
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	if err := Check([]byte(deep), 0); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
	if err := Check([]byte(`[[]]`), 1); err == nil {
		t.Error("two levels passed where one is the limit")
	}
}

// TestCheckAfterLargeDocument proves that what a check leaves in the pool does not leak into the next one.
func TestCheckAfterLargeDocument(t *testing.T) {
	for range 3 {
		for _, n := range []int{13, 5000, 40} {
			if err := Check([]byte(manyKeys(n)), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"key%d":%d`, i, i)
	}
	b.WriteByte('}')
	return b.String()
}

func TestReading(t *testing.T) {
	doc := []byte(` {"a": 1.50, "b\u002f": {"c": [true, "x\"y", {"d": null}], "e": ""}, "f": "\ud83d\ude00 \n" } `)
	if err := Check(doc, 0); err != nil {
		t.Fatal(err)
	}
	var got []string
	for key, value := range Object(doc) {
		got = append(got, string(key)+"="+string(value))
	}
	want := []string{`a=1.50`, `b/={"c": [true, "x\"y", {"d": null}], "e": ""}`, `f="\ud83d\ude00 \n"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Object (-want +got)\n%s", diff)
	}
	gets := []struct {
		path string
		want string
	}{
		{"a", "1.50"},
		{"b/ c 1", `"x\"y"`},
		{"b/ c 2 d", "null"},
		{"b/ e", `""`},
	}
	for _, g := range gets {
		value, ok := Get(doc, strings.Fields(g.path)...)
		if !ok || string(value) != g.want {
			t.Errorf("Get(%s) = %q, %v, want %q", g.path, value, ok, g.want)
		}
	}
	for _, path := range []string{"x", "a b", "b/ c 3", "b/ c -1", "b/ c +1", "b/ c x", "b/ c 0 a", "f 0"} {
		if value, ok := Get(doc, strings.Fields(path)...); ok {
			t.Errorf("Get(%s) = %q, want nothing", path, value)
		}
	}
	if s, ok := String([]byte(`"\ud83d\ude00 \n\u00e4\/\b\f\r\t\\"`)); !ok || s != "😀 \nä/\b\f\r\t\\" {
		t.Errorf("String = %q, %v", s, ok)
	}
	if _, ok := String([]byte(`12`)); ok {
		t.Error("String takes a number for a string")
	}
	if out, ok := AppendText([]byte("> "), []byte(`"a\tb"`)); !ok || string(out) != "> a\tb" {
		t.Errorf("AppendText = %q, %v", out, ok)
	}
}

func TestKindOf(t *testing.T) {
	for raw, want := range map[string]Kind{
		`{}`: KindObject, "\n[]": KindArray, `""`: KindString, `true`: KindBool, `false`: KindBool, `null`: KindNull,
		`-1`: KindNumber, `7`: KindNumber, ``: KindInvalid, `x`: KindInvalid,
	} {
		if got := KindOf([]byte(raw)); got != want {
			t.Errorf("KindOf(%q) = %v, want %v", raw, got, want)
		}
	}
}

func TestAppendQuotedIsReadBack(t *testing.T) {
	for _, s := range []string{"", "plain", "quote \" slash \\ / <b>&", "\x00\x1f\n\r\t\b\f", "ä😀\u2028", "bad \xff byte"} {
		quoted := AppendQuoted(nil, s)
		if err := Check(quoted, 0); err != nil {
			t.Errorf("%q is quoted as %s: %v", s, quoted, err)
		}
		if got, _ := String(quoted); got != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	doc := []byte(benchmarkDocument)
	n := 0
	for name, f := range map[string]func(){
		"Check": func() {
			if err := Check(doc, 0); err != nil {
				t.Error(err)
			}
		},
		"Object": func() {
			for key, value := range Object(doc) {
				n += len(key) + len(value)
			}
		},
		"Get": func() { v, _ := Get(doc, "run", "environment", "name"); n += len(v) },
		"Text": func() {
			v, _ := Get(doc, "run", "description")
			text, _ := Text(v)
			n += len(text)
		},
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s allocates %v times", name, got)
		}
	}
	if n == 0 {
		t.Error("nothing was found")
	}
}

// FuzzCheck compares with encoding/json: what we accept it accepts, and what it accepts we refuse only for the reasons
// that our documentation names.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		benchmarkDocument, `{"a":1,"a":2}`, `"\ud83d"`, `"\ud83d\ude00"`, "\"\xff\"", `[1,2,{"x":[]}]`, `1e5`, `-0.0`, `tru`, `{"a":}`,
		manyKeys(30), `{"\u0061":1,"a":2}`, `[[[[]]]]`, "\ufeff1", `"\u12g4"`, `"` + strings.Repeat("x", 20) + "\x00" + `"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Check(data, 0)
		valid := json.Valid(data)
		switch {
		case err == nil && !valid:
			t.Fatalf("%q is accepted, but is not JSON", data)
		case err == nil && hasDuplicate(data):
			t.Fatalf("%q is accepted, but has a duplicate key", data)
		case err != nil && valid && utf8.Valid(data) && !loneSurrogate(data) && !hasDuplicate(data) && !tooDeep(data):
			t.Fatalf("%q is refused: %v", data, err)
		case err == nil:
			compare(t, data, 0)
		}
	})
}

// FuzzUnchecked reads what has not been checked: it must end and stay within the document.
func FuzzUnchecked(f *testing.F) {
	for _, s := range []string{`{"a`, `{"a":`, `{"a":1`, `[1,`, `{"a\`, `"\u12`, `{,}`, `[}`, `{"a":"\ud800`, `{"a"1"b"}`, `[[[`} {
		f.Add([]byte(s), "a")
	}
	f.Fuzz(func(_ *testing.T, data []byte, path string) {
		Get(data, strings.Split(path, ".")...)
		for key, value := range Object(data) {
			String(value)
			_ = key
		}
		for value := range Array(data) {
			Text(value)
		}
		String(data)
	})
}

// compare proves that reading finds what encoding/json finds.
func compare(t *testing.T, data []byte, depth int) {
	t.Helper()
	switch KindOf(data) {
	case KindString:
		var want string
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := String(bytes.TrimSpace(data)); !ok || got != want {
			t.Fatalf("String(%q) = %q, %v, want %q", data, got, ok, want)
		}
	case KindObject:
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]json.RawMessage, len(want))
		for key, value := range Object(data) {
			got[string(key)] = value
			if raw, ok := Get(data, string(key)); !ok || !bytes.Equal(raw, value) {
				t.Fatalf("Get(%q, %q) = %q, %v, want %q", data, key, raw, ok, value)
			}
			if depth < 4 {
				compare(t, value, depth+1)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("Object(%q) (-want +got)\n%s", data, diff)
		}
	case KindArray:
		want := []json.RawMessage{}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		got := []json.RawMessage{}
		for value := range Array(data) {
			got = append(got, value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("Array(%q) (-want +got)\n%s", data, diff)
		}
	}
}

// hasDuplicate, loneSurrogate and tooDeep are the slow way of saying why something is refused.
func hasDuplicate(data []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var stack []map[string]bool // nil for arrays
	key := false                // the next token of an object is a key
	for {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		inObject := len(stack) > 0 && stack[len(stack)-1] != nil
		if s, ok := token.(string); ok && inObject && key {
			if stack[len(stack)-1][s] {
				return true
			}
			stack[len(stack)-1][s] = true
			key = false
			continue
		}
		switch token {
		case json.Delim('{'):
			stack, key = append(stack, map[string]bool{}), true
			continue
		case json.Delim('['):
			stack = append(stack, nil)
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		key = len(stack) > 0 && stack[len(stack)-1] != nil
	}
}

func loneSurrogate(data []byte) bool {
	for i := bytes.IndexByte(data, '\\'); i >= 0; {
		r, ok := hex4(data, i)
		n := 2
		if ok && r >= 0xD800 && r <= 0xDFFF {
			low, ok := hex4(data, i+6)
			if r > 0xDBFF || !ok || low < 0xDC00 || low > 0xDFFF {
				return true
			}
			n = 12
		}
		if i+n >= len(data) {
			return false
		}
		next := bytes.IndexByte(data[i+n:], '\\')
		if next < 0 {
			return false
		}
		i += n + next
	}
	return false
}

func tooDeep(data []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	depth := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) || err != nil {
			return false
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > MaxDepth {
				return true
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

const benchmarkDocument = `{"run":{"id":1234567890123456789,"description":"Nightly regression of the checkout",` +
	`"result":"failed","environment":{"name":"staging","url":"https://staging.example.com"},"time_taken":1503,` +
	`"total_tests":10,"total_passed_tests":8,"total_failed_tests":1,"total_no_result_tests":1,` +
	`"frontend_url":"https://app.example.com/runs/1234"},"failed_tests":[{"id":7,"title":"Überprüfe die Kasse"},` +
	`{"id":9,"title":"Log in \"twice\""}]}`

func BenchmarkCheck(b *testing.B) {
	doc := []byte(benchmarkDocument)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Check(doc, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckLargeObject(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		doc := []byte(manyKeys(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Check(doc, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	doc := []byte(benchmarkDocument)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Get(doc, "run", "environment", "name"); !ok {
			b.Fatal("not found")
		}
	}
}
