package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// browser is what a browser sends of a form that nobody touched (HTML, 4.10.21.4: lines end in CRLF, and inputs of one line
// have none).
func browser(f *Form) url.Values {
	sent := url.Values{}
	var walk func(in *Input)
	walk = func(in *Input) {
		choose := func(name string, options []Option) {
			if len(options) == 0 {
				return
			}
			value := options[0].Value
			for _, o := range options {
				if o.Chosen {
					value = o.Value
				}
			}
			sent.Set(name, value)
		}
		choose("t"+in.At, in.Kinds)
		if in.Null {
			sent.Set("n"+in.At, "1")
		}
		switch in.Control {
		case Select:
			choose("v"+in.At, in.Options)
		case Text, Number:
			sent.Set("v"+in.At, strings.NewReplacer("\n", "", "\r", "").Replace(in.Value))
		case Area, Raw:
			sent.Set("v"+in.At, strings.ReplaceAll(in.Value, "\n", "\r\n"))
		case Date:
			if in.Value == "" || isDate(in.Value) {
				sent.Set("v"+in.At, in.Value)
			}
		case None:
			sent.Set("v"+in.At, "")
		}
		for _, child := range in.Children {
			walk(child)
		}
		for _, child := range in.More {
			walk(child)
		}
	}
	walk(f.Root)
	return sent
}

// find returns the input at a place.
func find(in *Input, at string) *Input {
	if in.At == at {
		return in
	}
	for _, list := range [][]*Input{in.Children, in.More} {
		for _, child := range list {
			if found := find(child, at); found != nil {
				return found
			}
		}
	}
	return nil
}

const order = `{"type":"object","title":"Order","required":["id","kind","who"],"properties":{
	"id":{"type":["integer","string","null"],"description":"Its number."},
	"kind":{"enum":["new","changed",3,null]},
	"paid":{"type":"boolean"},
	"note":{"type":["string","null"]},
	"total":{"type":"number"},
	"day":{"type":"string","format":"date"},
	"who":{"$ref":"#/$defs/person"},
	"lines":{"type":"array","items":{"type":"object","required":["sku"],"properties":{"sku":{"type":"string"},"n":{"type":"integer"}}}},
	"pay":{"oneOf":[
		{"title":"Card","type":"object","required":["by","last4"],"properties":{"by":{"const":"card"},"last4":{"type":"string"}},"additionalProperties":false},
		{"title":"Invoice","type":"object","required":["by","to"],"properties":{"by":{"const":"invoice"},"to":{"type":"string"}},"additionalProperties":false}]},
	"maybe":{"type":["object","null"],"properties":{"x":{"type":"string"}}}},
	"$defs":{"person":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"boss":{"$ref":"#/$defs/person"},"team":{"type":"array","items":{"$ref":"#/$defs/person"}}}}}}`

const document = `{"z":1.50,"who":{"team":[{"name":"Bob"}],"name":"Ann\nB"},"id":12345678901234567890,"kind":"new","lines":[{"sku":"a","n":1e2,"more":[1,2]},{"n":-0,"sku":"b"}],
	"pay":{"last4":"1234","by":"card"},"note":null,"total":1.00,"day":"2026-11-22","maybe":null,"a\u0062":"x"}`

func draw(t *testing.T, schema, doc string) *Form {
	t.Helper()
	if err := rawjson.Check([]byte(doc), 0); err != nil {
		t.Fatal(err)
	}
	return New([]byte(schema), []byte(doc), nil)
}

// TestUntouched: a form that nobody changed makes the same document, byte by byte.
func TestUntouched(t *testing.T) {
	for _, c := range [][2]string{
		{order, document}, {"", document}, {`{}`, `{}`}, {order, `{}`}, {order, `{"id":"7","kind":null,"who":"nobody","pay":3,"lines":{"a":[]},"total":"much","day":"22.11."}`},
		{order, `{"total":"12","note":7,"paid":null,"id":null,"kind":"old","maybe":{"x":null,"y":[[]]}}`},
		{`{"properties":{"a":{"anyOf":[{"type":"boolean"},{"type":"null"}]},"l":{"type":"array","items":{"type":["boolean","null"]}}}}`, `{"a":null,"l":[null,true,null]}`},
		{"", `{"":{"/":"~","%2F":" ","é\\n":"\u0000\u0001"},"k":"\r\n x \ty","long":"` + strings.Repeat("x ", 200) + `"}`},
		{"", `{"l":[` + strings.Repeat("1,", 90) + `1],"deep":` + strings.Repeat("[", 30) + "1.0" + strings.Repeat("]", 30) + `}`},
	} {
		f := draw(t, c[0], c[1])
		got, broken := f.Read(browser(f), Step{})
		if string(got) != string(f.Document) || len(broken) > 0 {
			t.Errorf("%s\nbecame %s, %v", f.Document, got, broken)
		}
	}
}

// TestOneChange: what is written anew is there, and nothing else is different.
func TestOneChange(t *testing.T) {
	for name, c := range map[string]struct {
		set  [2]string
		step string
		old  string
		new  string
	}{
		"a text":                  {[2]string{"v/who/name", "Eve"}, "", `"name":"Ann\nB"`, `"name":"Eve"`},
		"lines":                   {[2]string{"v/who/name", "Eve\r\n2"}, "", `"name":"Ann\nB"`, `"name":"Eve\n2"`},
		"a number as spelled":     {[2]string{"v/total", " 2.50e0 "}, "", `"total":1.00`, `"total":2.50e0`},
		"no number":               {[2]string{"v/total", "two"}, "", `"total":1.00`, `"total":"two"`},
		"left out":                {[2]string{"v/day", ""}, "", `,"day":"2026-11-22"`, ``},
		"a choice":                {[2]string{"v/kind", "2"}, "", `"kind":"new"`, `"kind":3`},
		"no longer null":          {[2]string{"v/note", "hello"}, "", `"note":null`, `"note":"hello"`},
		"from number to text":     {[2]string{"t/id", "1"}, "", `"id":12345678901234567890`, `"id":"12345678901234567890"`},
		"null":                    {[2]string{"n/total", ""}, "", `"total":1.00`, `"total":1.00`},
		"another form":            {[2]string{"t/pay", "1"}, "", `"pay":{"last4":"1234","by":"card"}`, `"pay":{"by":"invoice","to":""}`},
		"an element more":         {[2]string{}, "add:/lines", `"sku":"b"}]`, `"sku":"b"},{"sku":""}]`},
		"an element less":         {[2]string{}, "remove:/lines/0", `{"sku":"a","n":1e2,"more":[1,2]},`, ``},
		"an object more":          {[2]string{}, "add:/who/boss", `"name":"Ann\nB"}`, `"name":"Ann\nB","boss":{"name":""}}`},
		"an object instead null":  {[2]string{}, "add:/maybe", `"maybe":null`, `"maybe":{}`},
		"a key more":              {[2]string{"k/who", "new <key>"}, "key:/who", `"name":"Ann\nB"}`, `"name":"Ann\nB","new <key>":""}`},
		"a key that there is":     {[2]string{"k/who", "name"}, "key:/who", `"who"`, `"who"`},
		"a key less":              {[2]string{}, "remove:/z", `"z":1.50,`, ``},
		"not set":                 {[2]string{"t/pay", "-"}, "", `"pay":{"last4":"1234","by":"card"},`, ``},
		"a value that was absent": {[2]string{"v/paid", "0"}, "", `"x"}`, `"x","paid":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := draw(t, order, document)
			sent := browser(f)
			if c.set[0] != "" {
				sent.Set(c.set[0], c.set[1])
			}
			got, broken := f.Read(sent, ParseStep(c.step))
			want := strings.Replace(string(f.Document), c.old, c.new, 1)
			if !strings.Contains(string(f.Document), c.old) || string(got) != want || len(broken) > 0 {
				t.Errorf("got  %s\nwant %s (%v)", got, want, broken)
			}
		})
	}
}

// TestBroken: JSON that is none is kept, explained, and does no harm to the rest.
func TestBroken(t *testing.T) {
	doc := `{"l":[` + strings.Repeat("1,", 90) + `1],"a":"x"}`
	f := draw(t, "", doc)
	sent := browser(f)
	sent.Set("v/l", "[1,")
	sent.Set("v/a", "y")
	got, broken := f.Read(sent, Step{})
	if !bytes.HasSuffix(got, []byte(`],"a":"y"}`)) || broken["/l"].Text != "[1," {
		t.Fatalf("%s %v", got, broken)
	}
	f = New(nil, got, broken)
	if in := find(f.Root, "/l"); in.Control != Raw || in.Value != "[1," || in.Error == "" {
		t.Errorf("%+v", in)
	}
	sent = browser(f)
	if _, broken = f.Read(sent, Step{}); broken["/l"].Text != "[1," {
		t.Errorf("what was not put right is forgotten: %v", broken)
	}
	sent.Set("v/l", " [1.0, 2]")
	if got, broken = f.Read(sent, Step{}); string(got) != `{"l":[1.0,2],"a":"y"}` || len(broken) > 0 {
		t.Errorf("%s %v", got, broken)
	}
}

// TestExplain: what is wrong stands at its input, or at the nearest one.
func TestExplain(t *testing.T) {
	f := draw(t, order, document)
	for path, at := range map[string]string{
		"payload.who.name": "/who/name", "payload.lines[1].sku": "/lines/1/sku", "payload.lines[1].colour.x": "/lines/1", "payload.paid": "/paid", "payload.missing": "",
	} {
		id := f.Explain(path, "is wrong")
		if at == "" {
			if id != "" || !strings.HasPrefix(f.Root.Error, "missing ") {
				t.Errorf("%s stands at %q: %q", path, id, f.Root.Error)
			}
			continue
		}
		if in := find(f.Root, at); in == nil || in.ID != id || in.Error == "" {
			t.Errorf("%s stands at %q: %+v", path, id, in)
		}
	}
	if !f.Root.Open {
		t.Error("what is wrong is folded away")
	}
}

// hostile are schemas that mean harm.
func hostile() map[string]string {
	wide := strings.Builder{}
	for i := range 3000 {
		fmt.Fprintf(&wide, `"p%d":{"$ref":"#/$defs/a"},`, i)
	}
	names := strings.Builder{}
	for i := range 200 {
		fmt.Fprintf(&names, `"p%d",`, i)
	}
	return map[string]string{
		"refers to itself":  `{"$ref":"#"}`,
		"in a circle":       `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`,
		"required for ever": `{"type":"object","required":["a","b"],"properties":{"a":{"$ref":"#"},"b":{"$ref":"#"}}}`,
		"doubles":           `{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}],"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/b"}]},"b":{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}}}`,
		"alternatives":      `{"oneOf":[{"$ref":"#"},{"$ref":"#"},{"anyOf":[{"$ref":"#"},{"type":"object"}]}]}`,
		"wide":              `{"properties":{` + wide.String() + `"x":{}},"$defs":{"a":{"type":"object","required":["x"],"properties":{"x":{"$ref":"#"}}}}}`,
		"wide and deep":     `{"required":[` + names.String() + `"x"],"properties":{` + wide.String() + `"x":{}},"$defs":{"a":{"$ref":"#"}}}`,
		"nonsense":          `{"type":7,"enum":{},"properties":[1],"required":"x","items":true,"prefixItems":{},"oneOf":[false,true,1],"minItems":"x","$ref":7,"title":[],"additionalProperties":0}`,
		"names":             `{"properties":{"\"><script>":{"title":"<b>","enum":["</option>"]},"a/b~c%":{"type":"string"},"":{"type":"array"}}}`,
	}
}

func TestHostileSchemas(t *testing.T) {
	for name, schema := range hostile() {
		t.Run(name, func(t *testing.T) {
			doc := Example([]byte(schema))
			if rawjson.Check(doc, 0) != nil || len(doc) > 1<<20 {
				t.Fatalf("the least document has %d bytes", len(doc))
			}
			for _, doc := range []string{string(doc), document} {
				f := New([]byte(schema), []byte(doc), nil)
				n := 0
				var walk func(in *Input)
				walk = func(in *Input) {
					n++
					for _, list := range [][]*Input{in.Children, in.More} {
						for _, child := range list {
							walk(child)
						}
					}
				}
				walk(f.Root)
				if n > 2*maxInputs {
					t.Errorf("the form has %d inputs", n)
				}
				if got, _ := f.Read(browser(f), Step{}); string(got) != string(f.Document) {
					t.Errorf("%.300s\nbecame %.300s", f.Document, got)
				}
			}
		})
	}
}

// TestRandomDocuments draws documents at random over one schema: untouched they stay, and after any one text is changed and
// changed back they are as they were.
func TestRandomDocuments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		doc := randomObject(r, 0)
		f := draw(t, order, doc)
		sent := browser(f)
		got, _ := f.Read(sent, Step{})
		if string(got) != string(f.Document) {
			t.Fatalf("%s\nbecame %s", f.Document, got)
		}
		for name, values := range sent {
			if name[0] != 'v' {
				continue
			}
			in := find(f.Root, name[1:])
			if in.Control != Text && in.Control != Area || bytes.Contains(in.raw, []byte(`\r`)) || in.raw == nil || in.Null || values[0] == "" {
				continue
			}
			sent.Set(name, values[0]+"!")
			changed, _ := f.Read(sent, Step{})
			again := New([]byte(order), changed, nil)
			back := browser(again)
			back.Set(name, values[0])
			if got, _ := again.Read(back, Step{}); spell(t, got) != spell(t, f.Document) {
				t.Fatalf("%s\nbecame %s by %s", f.Document, got, name)
			}
			break
		}
	}
}

// spell spells JSON in one way, but for numbers and the order of keys.
func spell(t *testing.T, raw []byte) string {
	t.Helper()
	var b strings.Builder
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return b.String()
		}
		fmt.Fprintf(&b, "%T %q ", token, fmt.Sprint(token))
	}
}

var randomKeys = []string{"id", "kind", "paid", "note", "total", "day", "who", "lines", "pay", "maybe", "name", "boss", "team", "sku", "n", "x", "/", "a b", `\u00e9`, "by"}

func randomObject(r *rand.Rand, depth int) string {
	out, has := []string{}, map[string]bool{}
	for range r.IntN(7) {
		key := randomKeys[r.IntN(len(randomKeys))]
		if !has[key] {
			has[key] = true
			out = append(out, `"`+key+`":`+randomValue(r, depth+1))
		}
	}
	return "{" + strings.Join(out, " ,") + "}"
}

func randomValue(r *rand.Rand, depth int) string {
	leaves := []string{`""`, `"card"`, `"new"`, `"2026-11-22"`, `"12"`, `"a\r\nb"`, `"\u0000"`, `"\ud83d\ude00 <b>"`, `1`, `1.0`, `-0`, `1E400`, `123456789012345678901`, `true`, `false`, `null`, `[]`, `{}`}
	n := r.IntN(len(leaves) + 8)
	switch {
	case n < len(leaves) || depth > 5:
		return leaves[n%len(leaves)]
	case n%2 == 0:
		return randomObject(r, depth)
	}
	var items []string
	for range r.IntN(4) {
		items = append(items, randomValue(r, depth+1))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// FuzzForm: whatever schema, document and answer there are, a form can be drawn and read, and untouched it changes nothing.
func FuzzForm(f *testing.F) {
	f.Add(order, document, "v/who/name=x&t/pay=1", "add:/lines")
	for _, schema := range hostile() {
		if len(schema) < 1000 {
			f.Add(schema, document, "v/a=1&t/a=2&n/a=1&k=x", "key:")
		}
	}
	f.Fuzz(func(t *testing.T, schema, doc, query, step string) {
		if len(schema) > 4096 || len(doc) > 4096 || rawjson.Check([]byte(schema), 0) != nil || rawjson.Check([]byte(doc), 0) != nil || rawjson.KindOf([]byte(doc)) != rawjson.KindObject {
			return
		}
		form := New([]byte(schema), []byte(doc), nil)
		if got, broken := form.Read(browser(form), Step{}); string(got) != string(form.Document) || len(broken) > 0 {
			t.Fatalf("%s\nbecame %s (%v), by the schema %s", form.Document, got, broken, schema)
		}
		sent, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, broken := form.Read(sent, ParseStep(step))
		if rawjson.Check(got, 0) != nil || rawjson.KindOf(got) != rawjson.KindObject {
			t.Fatalf("%q made %s", query, got)
		}
		New([]byte(schema), got, broken).Explain("payload.a[0]", "is wrong")
	})
}
