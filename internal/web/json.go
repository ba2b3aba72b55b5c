package web

import (
	"html/template"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/patchbay/patchbay/integration/markup"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// jsonPart is JSON as a tree that folds, drawn by {{template "json" .}} without a script; other text stands there as it
// is. Keys keep their order and numbers their spelling, and what can be selected is JSON again.
type jsonPart struct {
	// ID is the element's, one on its page; Label says what it is to a screen reader.
	ID, Label string
	// Download is where all of it is; "" when it can be had nowhere else.
	Download string
	// Tree is JSON, drawn; Text is what is no JSON, or a cut tree that cannot be downloaded.
	Tree template.HTML
	Text string
	// Cut says that some of it is not on the page, Folds that there is something to unfold.
	Cut, Folds bool
	// Empty says that there is nothing at all.
	Empty bool
}

// Bounds of a tree. They keep a payload of 1 MiB, whatever is in it, below some 300 KB of page; what is beyond them is
// counted where it would stand.
const (
	treeDepth    = 32
	treeNodes    = 1500
	treeText     = 96 << 10 // of strings, numbers and keys, all together
	treeChildren = 200      // of one object or array
	stringShown  = 240      // characters of a string before "more"
	stringMost   = 8 << 10  // bytes of a string behind "more"
	inlineBytes  = 72       // of an object or array without others in it that stands in one line
	inlineParts  = 6
	openBytes    = 1 << 10 // of an object or array that is unfolded at first, however deep it is
)

// jsonOf draws JSON. download is where the whole of it can be had, or "".
func jsonOf(id, label, download string, raw []byte) *jsonPart {
	p := &jsonPart{ID: id, Label: label, Download: download, Empty: len(raw) == 0}
	if p.Empty {
		return p
	}
	if rawjson.Check(raw, 0) != nil {
		p.Text = markup.Clip(strings.ToValidUTF8(string(raw), "\uFFFD"), maxShown)
		p.Cut = len(p.Text) < len(raw) && len(raw) > maxShown
		return p
	}
	t := tree{nodes: treeNodes, text: treeText}
	c := rawjson.NewCursor(raw)
	t.value(c.Skip(), 0, "")
	p.Tree, p.Cut, p.Folds = template.HTML(t.b.String()), t.cut, t.folds > 1
	if p.Cut && download == "" {
		p.Text = prettyBody(string(raw))
	}
	return p
}

// tree draws one value of JSON that has passed rawjson.Check.
type tree struct {
	b strings.Builder
	// nodes and text are what may still be drawn.
	nodes, text int
	folds       int
	cut         bool
}

// value draws a value, and what ends it: a comma, or nothing.
func (t *tree) value(raw []byte, depth int, end string) {
	t.nodes--
	switch kind := rawjson.KindOf(raw); kind {
	case rawjson.KindObject, rawjson.KindArray:
		if line, ok := inline(raw); ok {
			t.inline(line, kind)
			t.b.WriteString(end)
			return
		}
		t.fold(nil, raw, depth, end)
	default:
		t.scalar(raw, kind)
		t.b.WriteString(end)
	}
}

func (t *tree) scalar(raw []byte, kind rawjson.Kind) {
	class := "w" // a word: true, false, null
	text := string(raw)
	switch kind {
	case rawjson.KindString:
		class, text = "s", quoted(raw)
	case rawjson.KindNumber:
		class = "n"
	}
	t.b.WriteString(`<span class="` + class + `">`)
	t.long(text)
	t.b.WriteString(`</span>`)
}

// long writes a text, of which the end is folded when it is long.
func (t *tree) long(text string) {
	head, rest := text, ""
	if len(text) > stringShown {
		n := 0
		for at := range text {
			if n++; n > stringShown {
				head, rest = text[:at], text[at:]
				break
			}
		}
	}
	most := min(stringMost, max(0, t.text))
	t.text -= min(len(text), stringShown+most)
	t.escape(head)
	if rest == "" {
		return
	}
	shown, told := rest, utf8.RuneCountInString(rest)
	if len(rest) > most {
		shown, t.cut = strings.ToValidUTF8(rest[:most], ""), true
	}
	t.b.WriteString(`<details class="rest"><summary data-aside>` + figure(int64(told)) + ` more characters</summary>`)
	t.escape(shown)
	if len(shown) < len(rest) {
		t.aside(figure(int64(told-utf8.RuneCountInString(shown))) + " more characters are not shown")
	}
	t.b.WriteString(`</details>`)
}

// fold draws an object or array, behind its key when it has one, as something that folds.
func (t *tree) fold(key, raw []byte, depth int, end string) {
	open, shut := "{", "}"
	one, many := "key", "keys"
	if rawjson.KindOf(raw) == rawjson.KindArray {
		open, shut, one, many = "[", "]", "item", "items"
	}
	n := parts(raw)
	sum := count(n, one, many)
	if n > 999 {
		sum = figure(int64(n)) + " " + many
	}
	if depth >= treeDepth || t.nodes <= 0 || t.text <= 0 {
		t.cut = true
		t.name(key)
		t.b.WriteString(open)
		t.aside(" " + sum + " not shown ")
		t.b.WriteString(shut + end)
		return
	}
	t.folds++
	t.b.WriteString(`<details`)
	if depth == 0 || depth == 1 && n <= 50 || len(raw) <= openBytes {
		t.b.WriteString(` open`)
	}
	t.b.WriteString(`><summary>`)
	t.name(key)
	t.b.WriteString(open + `<span class="sum" data-aside data-shut="` + shut + `"> ` + sum + `</span></summary><ul>`)
	t.children(raw, n, depth, many)
	t.b.WriteString("</ul>\n")
	t.indent(depth)
	t.b.WriteString(shut + end + `</details>`)
}

func (t *tree) children(raw []byte, n, depth int, many string) {
	c := rawjson.NewCursor(raw)
	object := c.Kind() == rawjson.KindObject
	c.Enter()
	for i := 0; ; i++ {
		var key []byte
		if object {
			k, _, ok := c.NextField()
			if !ok {
				return
			}
			key = k
		} else if !c.NextElement() {
			return
		}
		// The outermost object always tells its first keys, however much there is in them.
		if i == treeChildren || (t.nodes <= 0 || t.text <= 0) && (depth > 0 || i >= treeChildren/4) {
			t.cut = true
			t.b.WriteString(`<li>`)
			t.aside(figure(int64(n-i)) + " more " + many + " are not shown")
			t.b.WriteString(`</li>`)
			return
		}
		v := c.Skip()
		t.b.WriteString("<li>\n")
		t.indent(depth + 1)
		end := ","
		if i == n-1 {
			end = ""
		}
		kind := rawjson.KindOf(v)
		_, flat := inline(v)
		if (kind == rawjson.KindObject || kind == rawjson.KindArray) && !flat {
			t.nodes--
			t.fold(key, v, depth+1, end)
		} else {
			t.name(key)
			t.value(v, depth+1, end)
		}
		t.b.WriteString(`</li>`)
	}
}

// name writes a key with its colon; an element of an array has none, which nil says.
func (t *tree) name(key []byte) {
	if key == nil {
		return
	}
	text := quoted(append(append([]byte{'"'}, key...), '"'))
	if short := markup.Clip(text, stringShown); short != text {
		text, t.cut = short, true // it may stand in a summary, where nothing else can be unfolded
	}
	t.text -= len(text)
	t.b.WriteString(`<span class="k">`)
	t.escape(text)
	t.b.WriteString(`</span>: `)
}

// inline writes an object or array in one line.
func (t *tree) inline(line [][2][]byte, kind rawjson.Kind) {
	open, shut := "[", "]"
	if kind == rawjson.KindObject {
		open, shut = "{", "}"
	}
	t.b.WriteString(open)
	for i, part := range line {
		if i > 0 {
			t.b.WriteString(", ")
		}
		t.nodes--
		t.name(part[0])
		t.scalar(part[1], rawjson.KindOf(part[1]))
	}
	t.b.WriteString(shut)
}

// inline returns the parts of a small object or array without another one in it. Keys of an array's are nil.
func inline(raw []byte) (out [][2][]byte, ok bool) {
	if len(raw) > inlineBytes {
		return nil, false
	}
	c := rawjson.NewCursor(raw)
	kind := c.Kind()
	if kind != rawjson.KindObject && kind != rawjson.KindArray {
		return nil, false
	}
	c.Enter()
	for {
		var key []byte
		if kind == rawjson.KindObject {
			k, _, more := c.NextField()
			if !more {
				return out, len(out) <= inlineParts
			}
			key = k
		} else if !c.NextElement() {
			return out, len(out) <= inlineParts
		}
		if k := c.Kind(); k == rawjson.KindObject || k == rawjson.KindArray {
			return nil, false
		}
		out = append(out, [2][]byte{key, c.Skip()})
	}
}

// aside writes what is said about the JSON and is not part of it, so that copying leaves it out.
func (t *tree) aside(text string) {
	t.b.WriteString(`<span class="soft" data-aside>`)
	t.escape(text)
	t.b.WriteString(`</span>`)
}

func (t *tree) escape(text string) { template.HTMLEscape(&t.b, []byte(text)) }

// indent writes what copying sees of how deep a line stands; pages show it by other means.
func (t *tree) indent(depth int) {
	for range depth {
		t.b.WriteString("  ")
	}
}

// parts counts the fields of an object or the elements of an array.
func parts(raw []byte) (n int) {
	c := rawjson.NewCursor(raw)
	object := c.Kind() == rawjson.KindObject
	c.Enter()
	for {
		if object {
			if _, _, ok := c.NextField(); !ok {
				return n
			}
		} else if !c.NextElement() {
			return n
		}
		c.Skip()
		n++
	}
}

// quoted spells a string of JSON so that people can read it: characters are themselves, but those that nobody sees, or
// that turn the direction of what follows, are escaped.
func quoted(raw []byte) string {
	text, _ := rawjson.String(raw)
	out := string(rawjson.AppendQuoted(nil, text))
	if !strings.ContainsFunc(out, unseen) {
		return out
	}
	var b strings.Builder
	for _, r := range out {
		switch {
		case !unseen(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			hi, lo := (r-0x10000)>>10+0xD800, (r-0x10000)&0x3FF+0xDC00
			b.WriteString(`\u` + strconv.FormatInt(int64(hi), 16) + `\u` + strconv.FormatInt(int64(lo), 16))
		default:
			hex := strconv.FormatInt(int64(r), 16)
			b.WriteString(`\u` + strings.Repeat("0", 4-len(hex)) + hex)
		}
	}
	return b.String()
}

// unseen reports whether a character is only there to control others; the joiner of emoji is not meant.
func unseen(r rune) bool {
	return r >= 0x7f && r != '\u200d' && (unicode.Is(unicode.Cf, r) || unicode.IsControl(r) || r == '\u2028' || r == '\u2029')
}
