package web

import (
	"bytes"
	"encoding/json"
	"html"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// folded returns the HTML of a document.
func folded(raw string) (*jsonPart, string) {
	p := jsonOf("x", "X", "/x.json", []byte(raw))
	return p, string(p.Tree)
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	asides = regexp.MustCompile(`(?s)<(span|summary)( class="[a-z]+")? data-aside[^>]*>[^<]*</(span|summary)>`)
	known  = regexp.MustCompile(`^</?(details|summary|ul|li|span)( class="(k|s|n|w|sum|rest|soft)")?( open)?( data-aside)?( data-shut="[\]}]")?>$`)
)

// copied is what the page's script copies of a tree.
func copied(tree string) string {
	return html.UnescapeString(tags.ReplaceAllString(asides.ReplaceAllString(tree, ""), ""))
}

func TestFoldedJSON(t *testing.T) {
	for name, c := range map[string]struct{ raw, has, hasNot string }{
		"numbers as spelled":  {`{"n": 1.50e+3, "big": 123456789012345678901234567890, "m": -0.0}`, `<span class="n">1.50e+3</span>`, "1500"},
		"keys in their order": {`{"z":{"long":"` + strings.Repeat("x", 90) + `"},"a":{}}`, `<span class="k">&#34;z&#34;</span>`, ""},
		"escapes":             {`["Gr\u00f6\u00dfe \u003cb\u003e"]`, "Größe &lt;b&gt;", "<b>"},
		"directions":          {`["\u202egnp.exe", "` + "\u2066" + `"]`, `\u202egnp`, "\u202e"},
		"beyond the BMP":      {`["` + "\U000e0001" + `"]`, `\udb40\udc01`, "\U000e0001"},
		"empty":               {`{"a":[],"b":{}}`, `[]`, "item"},
		"one item":            {`[["` + strings.Repeat("x", 90) + `"]]`, "1 item<", "items"},
		"words":               {`[true,false,null]`, `<span class="w">null</span>`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, tree := folded(c.raw)
			if !strings.Contains(tree, c.has) || c.hasNot != "" && strings.Contains(tree, c.hasNot) || p.Cut || p.Text != "" {
				t.Errorf("%s\n%+v", tree, p)
			}
		})
	}
	if p, _ := folded("<h1>502 Bad Gateway</h1>"); p.Tree != "" || p.Text != "<h1>502 Bad Gateway</h1>" || p.Cut {
		t.Errorf("%+v", p)
	}
	if p := jsonOf("x", "X", "", nil); !p.Empty {
		t.Errorf("%+v", p)
	}
	if p := jsonOf("x", "X", "", []byte(`["`+strings.Repeat("x", 3*stringMost)+`"]`)); !p.Cut || len(p.Text) < 3*stringMost {
		t.Errorf("what is cut and cannot be downloaded stands nowhere: cut %v, %d bytes of text", p.Cut, len(p.Text))
	}
}

// TestLargeJSONStaysSmall: a payload as large as they come makes no large page, whatever is in it, and says what is left out.
func TestLargeJSONStaysSmall(t *testing.T) {
	const size = 1 << 20
	fill := func(part, end string) string {
		return "[" + strings.Repeat(part+",", size/(len(part)+1)-1) + end + "]"
	}
	object := strings.Builder{}
	object.WriteString("{")
	for i := range 40_000 {
		object.WriteString(`"key-` + strings.Repeat("k", i%20) + figure(int64(i)) + `":{"a":[1,2]},`)
	}
	object.WriteString(`"last":1}`)
	for name, c := range map[string]struct{ raw, says string }{
		"numbers":      {fill("1", "1"), "more items are not shown"},
		"objects":      {fill(`{"a":{"b":{"c":[{},{},{},{},{},{},{},{},{}]}}}`, "1"), "more items are not shown"},
		"keys":         {object.String(), "more keys are not shown"},
		"one string":   {`["` + strings.Repeat(`<&\"`, size/4) + `"]`, "more characters are not shown"},
		"strings":      {fill(`"`+strings.Repeat(`\u0000<`, 1000)+`"`, "1"), "not shown"},
		"a number":     {"[" + strings.Repeat("9", size) + "]", "more characters are not shown"},
		"a key":        {`{"` + strings.Repeat("k", size) + `":1}`, ""},
		"nested":       {strings.Repeat(`[1,`, 255) + "[]" + strings.Repeat("]", 255), "not shown"},
		"nested, wide": {fill(strings.Repeat(`[1,`, 200)+"[]"+strings.Repeat("]", 200), "1"), "not shown"},
	} {
		p, tree := folded(c.raw)
		if len(tree) > 700<<10 || !p.Cut || !strings.Contains(tree, c.says) {
			t.Errorf("%s: %d bytes of HTML, cut %v", name, len(tree), p.Cut)
		}
	}
}

// FuzzFoldedJSON: whatever somebody sends is drawn from known elements alone, and what is copied of it is the same JSON.
func FuzzFoldedJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2.0,{"b":"<script>alert(1)</script>"}],"c":{"d":null}}`, `"` + strings.Repeat("ä", 400) + `"`, `<b>`, "\xff", `[[[[[["` + strings.Repeat("x", 80) + `"]]]]]]`,
		`{"\"><img src=x>":"</span></details>","data-aside":"\u202e"}`, `{"k":"<span data-aside>x</span>"}`, strings.Repeat("[", 300), ` 1e5 `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, tree := folded(string(raw))
		for _, tag := range tags.FindAllString(tree, -1) {
			if !known.MatchString(tag) {
				t.Fatalf("%q is drawn with %q", raw, tag)
			}
		}
		for _, name := range []string{"details", "summary", "ul", "li", "span"} {
			if a, b := strings.Count(tree, "<"+name), strings.Count(tree, "</"+name); a != b {
				t.Fatalf("%q: %d of <%s> are opened and %d closed", raw, a, name, b)
			}
		}
		if p.Tree == "" || p.Cut {
			return
		}
		got := copied(tree)
		if rawjson.Check([]byte(got), 0) != nil {
			t.Fatalf("%q is copied as %q", raw, got)
		}
		if a, b := spelled(t, raw), spelled(t, []byte(got)); a != b {
			t.Fatalf("%q is copied as %q", a, b)
		}
	})
}

// spelled spells JSON in one way: numbers and the order of keys stay, texts are spelled as Go does.
func spelled(t *testing.T, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return b.String()
		}
		switch x := token.(type) {
		case json.Delim:
			b.WriteString(x.String())
		case json.Number:
			b.WriteString(x.String() + ";")
		default:
			one, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(one, ';'))
		}
	}
}

// TestIndentingIsBounded: a body that is nested deep and has many parts does not become a gigabyte of blanks on any page.
func TestIndentingIsBounded(t *testing.T) {
	const size = 1 << 20
	for _, depth := range []int{rawjson.MaxDepth - 2, 9000} {
		raw := strings.Repeat("[", depth) + strings.Repeat("1,", size/2) + "1" + strings.Repeat("]", depth)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p := jsonOf("x", "X", "", []byte(raw))
		text := prettyBody(raw)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%d deep, a megabyte takes %d MB to be shown", depth, took>>20)
		}
		if len(text) > 4*maxShown || len(p.Text) > 4*maxShown {
			t.Errorf("%d deep, %d and %d bytes are shown", depth, len(text), len(p.Text))
		}
	}
}
