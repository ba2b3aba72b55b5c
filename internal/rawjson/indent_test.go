package rawjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestIndent: JSON is spelled as the standard library does, unless that would be far more than it was.
func TestIndent(t *testing.T) {
	for _, raw := range []string{`{}`, `[]`, `1`, `{"a":[1,2,{"b":"x\"y\\"}],"c" : {} , "d":[ ]}`, benchmarkDocument, `"{[,:"`} {
		var want bytes.Buffer
		if err := json.Indent(&want, []byte(raw), "", "  "); err != nil {
			t.Fatal(err)
		}
		got, ok := Indent([]byte(raw), 1<<10+4*len(raw))
		if !ok || string(got) != want.String() {
			t.Errorf("%s is spelled %q, %v", raw, got, ok)
		}
		if _, ok := Indent([]byte(raw), want.Len()-1); ok {
			t.Errorf("%s takes %d bytes and is spelled within one less", raw, want.Len())
		}
	}
	for _, raw := range []string{"", "{", "]]]]", `{"a":1}}`, "no", `"`, `"\`} {
		if got, ok := Indent([]byte(raw), 1<<10); ok {
			t.Errorf("%q is spelled %q", raw, got)
		}
	}
}

// TestIndentIsBounded: a megabyte that is made to become a gigabyte of blanks does not.
func TestIndentIsBounded(t *testing.T) {
	const size = 1 << 20
	for _, depth := range []int{MaxDepth - 1, 9000} { // what comes in by hooks may be any JSON
		raw := strings.Repeat("[", depth) + strings.Repeat("1,", (size-2*depth)/2) + "1" + strings.Repeat("]", depth)
		if got, ok := Indent([]byte(raw), 4*size); ok {
			t.Errorf("%d deep it has %d bytes", depth, len(got))
		}
	}
}
