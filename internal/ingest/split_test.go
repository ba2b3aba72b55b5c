package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

// pieces reads all of a body; an error that does not end it stands among the items.
func pieces(r io.Reader, lines bool) (items []string, err error) {
	s := NewSplitter(r, lines)
	var buf []byte
	for {
		buf, err = s.Next(buf[:0])
		switch {
		case errors.Is(err, ErrItemTooLarge):
			items = append(items, "too large")
		case errors.Is(err, io.EOF):
			return items, nil
		case err != nil:
			return items, err
		default:
			items = append(items, string(buf))
		}
	}
}

func TestSplitter(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", patchbay.MaxEventBody) + `"}`
	just := `{"a":"` + strings.Repeat("x", patchbay.MaxEventBody-8) + `"}`
	for _, tc := range []struct {
		name, body string
		lines      bool
		want       []string
		err        string // what the error says, "" for none
	}{
		{"array", ` [ {"a":1} ,{"b":[1,{"c":"]},"}]}, 3 ] ` + "\n", false, []string{`{"a":1}`, `{"b":[1,{"c":"]},"}]}`, "3"}, ""},
		{"escapes", `[{"a":"\\"},{"b":"\"]"}]`, false, []string{`{"a":"\\"}`, `{"b":"\"]"}`}, ""},
		{"empty array", "[ \n]", false, nil, ""},
		{"too large fails alone", "[1," + large + ",2]", false, []string{"1", "too large", "2"}, ""},
		{"as large as it may be", "[" + just + "]", false, []string{just}, ""},
		{"a key twice fails alone", `[{"a":1,"a":2},2]`, false, []string{`{"a":1,"a":2}`, "2"}, ""},
		{"not JSON", `[1,{"a" 1},{"b":2}]`, false, []string{"1"}, "reading stopped at byte 3, in item 1: it is not JSON"},
		{"a quote is missing", `[1,{"a":"x},{"b":"},{\"c\":2}"}]`, false, []string{"1"}, "in item 1: it is not JSON"},
		{"nothing between commas", `[1,,2]`, false, []string{"1"}, "in item 1: it is not JSON"},
		{"comma at the end", `[1,]`, false, []string{"1"}, "in item 1: it is not JSON"},
		{"not closed", `[1,2`, false, []string{"1"}, "in item 1: the body ended in the middle of it"},
		{"not closed, after a space", `[1, `, false, []string{"1"}, "in item 1: the array is not closed by a ]"},
		{"closed by a brace", `[{"a":1}}]`, false, nil, `"}" stands where`},
		{"something follows", `[1] 2`, false, []string{"1"}, "something follows the end of the array"},
		{"byte order mark", "\xef\xbb\xbf[1]", false, nil, "byte order mark"},
		{"lines by the first byte", "{\"a\":1}\n2", false, []string{`{"a":1}`, "2"}, ""},
		{"lines", "\n{\"a\":1}\r\n\n \t\r\n[2]\n  3  ", true, []string{`{"a":1}`, "[2]", "3"}, ""},
		{"no lines", "", true, nil, ""},
		{"a broken line fails alone", "{\"a\"\n1", true, []string{`{"a"`, "1"}, ""},
		{"a line too large fails alone", large + "\n" + just + "\r\n" + large, true, []string{"too large", just, "too large"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{"whole": strings.NewReader(tc.body), "halves": iotest.HalfReader(strings.NewReader(tc.body)),
				"with the end": iotest.DataErrReader(strings.NewReader(tc.body))} {
				got, err := pieces(r, tc.lines)
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s: %.2000s", name, diff)
				}
				if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: the error is %v, want %q", name, err, tc.err)
				}
			}
		})
	}
}

// TestSplitterCut proves that half of an item is never taken for one.
func TestSplitterCut(t *testing.T) {
	gone := errors.New("gone")
	for _, lines := range []bool{false, true} {
		body, want := "[1,2", []string{"1"}
		if lines {
			body = "1\n2"
		}
		got, err := pieces(io.MultiReader(strings.NewReader(body), iotest.ErrReader(gone)), lines)
		var broken *BrokenError
		if !cmp.Equal(want, got) || !errors.As(err, &broken) || !errors.Is(err, gone) || broken.Item != 1 {
			t.Errorf("lines %v: %q, %v", lines, got, err)
		}
	}
	if _, err := NewSplitter(strings.NewReader(" "), false).Array(); !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %v", err)
	}
}

// FuzzSplitter compares with the standard library's reading of the whole, and one chunking with another.
func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{`[]`, `[{"a":1},{"b":"\"]"}]`, `[1,]`, "{\"a\":1}\n\n2\r\n", `["`, `[[[]]]`, "[1]x", "\xef\xbb\xbf1", `[{"a":"\u00`} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		got, err := pieces(bytes.NewReader(body), lines)
		slow, slowErr := pieces(iotest.OneByteReader(bytes.NewReader(body)), lines)
		if !cmp.Equal(got, slow) || fmt.Sprint(err) != fmt.Sprint(slowErr) {
			t.Fatalf("read at once: %q, %v; byte by byte: %q, %v", got, err, slow, slowErr)
		}
		array := !lines && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
		if array {
			var want []json.RawMessage
			if wantErr := json.Unmarshal(body, &want); (wantErr == nil) != (err == nil) {
				t.Fatalf("%v, want %v", err, wantErr)
			} else if wantErr == nil && len(want) != len(got) {
				t.Fatalf("%d items, want %d", len(got), len(want))
			}
			for i, item := range got {
				if !json.Valid([]byte(item)) || err == nil && item != string(bytes.TrimSpace(want[i])) {
					t.Fatalf("item %d is %q", i, item)
				}
			}
			return
		}
		if err != nil {
			return
		}
		var want []string
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			if line = bytes.Trim(line, " \t\r"); len(line) > 0 {
				want = append(want, string(line))
			}
		}
		if !cmp.Equal(want, got) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}
