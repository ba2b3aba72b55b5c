package tmpl

import (
	"errors"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"
)

const samplePayload = `{"run":{"id":1234567890123456789,"description":"Nightly *run*","result":"failed","zero":0,"float":1.50,
"environment":{"name":"staging"},"time_taken":1503,"total_tests":10,"passed":8,"frontend_url":"https://app.example.com/runs/1?a=b&c=(d)",
"empty":"","none":null,"yes":true,"no":false,"list":[],"object":{}},
"feedback":[{"worker":"Ann","note":"slow"},{"worker":"Bob","note":"broken\nbutton"}],"tags":["x","y","z"],
"message":"Fix it\n\nSecond paragraph","sha":"0123456789abcdef","user":{"name":"Zoë","email":"zoe@example.com"},"_links":{"self":"http://x"},"odd-key":7}`

func sample() *Data {
	return NewData(Source{
		Type: "run_completion", Title: "Run complete", Scope: "acme/web", Payload: []byte(samplePayload),
		Actor: []byte(`{"name":"Ann"}`), OccurredAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Integration: Integration{Key: "slack", Category: "chat", Title: "Slack"},
	})
}

func render(t *testing.T, source string, mode Mode) string {
	t.Helper()
	tm, err := Parse(source, mode)
	if err != nil {
		t.Fatalf("Parse(%q): %v", source, err)
	}
	out, err := tm.Render(sample())
	if err != nil {
		t.Fatalf("Render(%q): %v", source, err)
	}
	once := sample()
	once.once = true
	if again, err := tm.Render(once); again != out || err != nil {
		t.Fatalf("Render(%q) = %q, and over NewDataOnce %q, %v", source, out, again, err)
	}
	return out
}

func TestPlain(t *testing.T) {
	tests := []struct{ source, want string }{
		{"plain", "plain"},
		{"{{.type}} {{.title}} {{.scope}} {{.occurred_at}}", "run_completion Run complete acme/web 2026-03-04T05:06:07Z"},
		{"{{.integration.key}} {{.integration.category}} {{.integration.title}} {{.actor.name}}", "slack chat Slack Ann"},
		{"{{.payload.run.id}} {{.payload.run.float}}", "1234567890123456789 1.50"},
		{"[{{.payload.nothing}}{{.payload.run.id.deeper.still}}{{.payload.run.none}}{{.payload.tags.x}}]", "[]"},
		{"{{.payload.tags}} {{.payload.user}}", `x, y, z {"name":"Zoë","email":"zoe@example.com"}`},
		{"{{if .payload.run.zero}}yes{{else}}no{{end}} {{if .payload.run.yes}}yes{{end}}{{if .payload.run.no}}never{{end}}", "no yes"},
		{"{{if .payload.run.list}}never{{else if .payload.run.object}}never{{else if .payload.run.empty}}never{{else}}empty{{end}}", "empty"},
		{"{{with .payload.run.environment}}{{.name}}{{else}}none{{end}} {{with .payload.nope}}x{{else}}none{{end}}", "staging none"},
		{"{{range .payload.feedback}}{{.worker}};{{end}}", "Ann;Bob;"},
		{"{{range $i, $f := .payload.feedback}}{{$i}}={{$f.worker}};{{end}}", "0=Ann;1=Bob;"},
		{"{{range $k, $v := .payload.user}}{{$k}}={{$v}};{{end}}", "name=Zoë;email=zoe@example.com;"},
		{"{{range .payload.tags}}{{if eq . \"y\"}}{{continue}}{{end}}{{.}}{{end}}", "xz"},
		{"{{range .payload.tags}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{end}}", "x"},
		{"{{range .payload.nope}}x{{else}}none{{end}} {{range .payload.run.id}}x{{else}}none{{end}}", "none none"}, //nolint:dupword // it is what the template makes
		{"{{range .payload.tags}}{{$.payload.run.result}} {{end}}", "failed failed failed"},                        //nolint:dupword // it is what the template makes
		{"{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}{{$x = 3}}{{$x}}", "213"},
		{"{{$l := \"\"}}{{range .payload.tags}}{{$l = .}}{{end}}{{$l}}", "z"},
		{"{{(index .payload.feedback 1).worker}} {{index .payload \"odd-key\"}} {{index .payload.tags 9}}{{index .payload.tags -1}}", "Bob 7"},
		{"{{get .payload \"run.environment.name\"}} {{get .payload \"feedback.0.worker\"}} {{get . \"payload.tags.2\"}}", "staging Ann z"},
		{"{{.payload.message}}", "Fix it Second paragraph"},
		{"{{link \"Run\" .payload.run.frontend_url}} {{bold \"x!\"}} {{code \"y\"}}", "Run x! y"},
		{"a{{- /* nothing */ -}} b", "ab"},
		{"{{true}} {{1.50}} {{0x10}} {{nil | default \"none\"}} {{\"q\"}} {{`r`}}", "true 1.50 16 none q r"},
		{"{{.item}}|", "|"},
	}
	for _, tt := range tests {
		if got := render(t, tt.source, Plain); got != tt.want {
			t.Errorf("%s = %q, want %q", tt.source, got, tt.want)
		}
	}
}

func TestFunctions(t *testing.T) {
	tests := []struct{ source, want string }{
		{`{{upper "aä"}} {{lower "AÄ"}} {{capitalize "äb cd"}} {{title "ab-cd ef"}}`, "AÄ aä Äb cd Ab-Cd Ef"},
		{`{{lower "AÄ"}}`, "aä"},
		{`{{humanize "total_no_result_tests"}} {{humanize "createdAt"}} {{humanize "pullRequestID"}}`, "Total no result tests Created at Pull request iD"},
		{`{{trim "  x "}}{{trunc 5 "äbcdefg"}} {{trunc 5 "äbcde"}} {{short 7 .payload.sha}} {{trunc 3 "a   b"}}`, "xäbcde… äbcde 0123456 a…"},
		{`{{firstline .payload.message}} {{firstline "\n\n x \ny"}}`, "Fix it x"},
		{`{{replace "a" "bb" "banana"}} {{replace "" "x" "abc"}} {{trimprefix "refs/heads/" "refs/heads/main"}}`, "bbbnbbnbb abc main"},
		{`{{contains "b" "abc"}} {{contains "y" .payload.tags}} {{contains "q" .payload.tags}} {{hasprefix "a" "abc"}} {{hassuffix "a" "abc"}}`, "true true false true false"}, //nolint:dupword // it is what the template makes
		{`{{print "a" 1 true nil .payload.tags}} {{printf "%s-%d%% %v %q %s" "x" 5 .payload.tags}}`, "a1truex, y, z x-5% x, y, z %q"},
		{`{{join "; " .payload.tags}} {{.payload.tags | join "+"}} {{join "," (list "a" "" "b")}} {{join "," "solo"}}`, "x; y; z x+y+z a,b solo"},
		{`{{split "," "a,b,,c" | len}} {{first .payload.tags}} {{last .payload.tags}} {{first nil}}{{head 2 .payload.tags | join ""}}`, "4 x z xy"},
		{`{{len .payload.tags}} {{len "äb"}} {{len .payload.user}} {{len nil}}`, "3 2 2 0"},
		{`{{keys .payload.user | join " "}} {{json .payload.tags}} {{json (list 1 "a\"" true nil)}}`, `name email ["x","y","z"] [1,"a\"",true,null]`},
		{`{{default "d" .payload.nope}} {{default "d" .payload.run.zero}} {{.payload.run.result | default "d"}}`, "d d failed"}, //nolint:dupword // it is what the template makes
		{`{{and 1 0 2}} {{and 1 2}} {{or nil 0 3}} {{or nil ""}}{{not 1}} {{not .payload.nope}}`, "0 2 3 false true"},
		{`{{eq .payload.run.float 1.5}} {{eq 7 "7"}} {{eq "a" "b" "a"}} {{ne 1 2}} {{eq nil ""}} {{eq .payload.tags "x"}}`, "true true true true true false"}, //nolint:dupword // it is what the template makes
		{`{{lt 2 10}} {{lt "2" "10"}} {{lt "b" "a"}} {{ge 3 3}} {{gt nil 1}} {{le 1 nil}}`, "true true false true false false"},                               //nolint:dupword // it is what the template makes
		{`{{ternary "a" "b" true}}{{ternary "a" "b" 0}}`, "ab"},
		{`{{number 1234567}} {{number "-1234.5"}} {{number 12}} {{number "12x"}} {{number .payload.run.id}}`, "1,234,567 -1,234.5 12 12x 1,234,567,890,123,456,789"},
		{`{{add 1 2}} {{sub .payload.run.total_tests .payload.run.passed}} {{add .payload.nope 1}}`, "3 2 1"},
		{`{{percent .payload.run.passed .payload.run.total_tests}} {{percent 1 3}} {{percent 1 0}}{{percent "x" 2}}{{percent -1 1000}}`, "80% 33% 0%"},
		{`{{plural "test" "tests" 1}} {{plural "test" "tests" 0}} {{plural "tag" "tags" .payload.tags}}`, "test tests tags"},
		{`{{duration .payload.run.time_taken}}; {{duration 0}}; {{duration 1}}; {{duration 3600}}; {{duration 90061}}; {{duration "soon"}}`,
			"25 minutes, 3 seconds; 0 seconds; 1 second; 1 hour; 1 day, 1 hour, 1 minute, 1 second; soon"},
		{`{{date "2 Jan 2006" .occurred_at}}; {{date .occurred_at}}; {{date "15:04" 0}}; {{date "15:04 -0700" "2018-02-27T10:00:00+02:00"}}; {{date "2006" "x"}}`,
			"4 Mar 2026; 2026-03-04 05:06 UTC; 00:00; 10:00 +0200; x"},
		{`{{urlquery "a b&c/d"}}`, "a%20b%26c%2Fd"},
	}
	for _, tt := range tests {
		if got := render(t, tt.source, Plain); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.source, got, tt.want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	tests := []struct{ source, want string }{
		{"**Run** {{.payload.run.description}}", `**Run** Nightly \*run\*`},
		{"{{.payload.run.float}} {{.payload.run.environment.name}}", `1\.50 staging`},
		{"{{.payload.message}}", "Fix it\\\n\\\nSecond paragraph"},
		{"{{link (print \"Run #\" .payload.run.id) .payload.run.frontend_url}}", `[Run \#1234567890123456789](https://app.example.com/runs/1?a=b&c=%28d%29)`},
		{"{{link \"x\" \"javascript:alert(1)\"}} {{link \"y\" \"\"}} {{link \"\" \"https://e.com/\"}}", `x y [https\:\/\/e\.com\/](https://e.com/)`},
		{"{{bold \"a b\"}} {{bold \"(a!)\"}} {{bold \"...\"}}{{bold \"\"}}", `**a b** \(**a**\!\) \.\.\.`},
		{"{{code \"a_b\"}} {{code \"a`b\"}} {{code \"`\"}}{{code \"\"}}", "`a_b` ``a`b`` `` ` ``"},
		{"{{code \"a\"}}{{code \"b\"}}`c`", "`a` `b` `c`"},
		{"- {{print (bold .payload.run.result) \" by \" .actor.name \" *\"}}", `- **failed** by Ann \*`},
		{"{{join \", \" (list (code \"a\") \"*\" (link \"b\" \"http://b\"))}}", "`a`\\, \\*\\, [b](http://b)"},
		{"{{upper (bold \"a*b\")}}", `A\*B`},
		{"{{.payload.tags}}", `x\, y\, z`},
		{"{{1}}. one", `1\. one`},
		{"wow!{{link \"x\" \"http://x\"}}", `wow\![x](http://x)`},
		{"#{{\" x\"}} {{\"  y  \"}}.", "#\u00a0x y ."},
		{"[a]{{if true}}(http://x){{end}}", `[a]\(http://x)`},
		{"[a]: b", `[a]\: b`},
		{"[docs](https://docs.example.com/x) and `code` and \\<b>", "[docs](https://docs.example.com/x) and `code` and \\<b>"},
		{"\n\n  a\n\n\n\nb\n\n", "a\n\nb"},
		{"text\n- {{.payload.nope}}", "text\n\\-"},
		{"\u202eabc{{\"\\u202e\\x07d\"}}", "\u202eabcd"},
	}
	for _, tt := range tests {
		if got := render(t, tt.source, Markdown); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.source, got, tt.want)
		}
	}
}

func TestURL(t *testing.T) {
	tests := []struct{ source, want string }{
		{"{{.payload.run.frontend_url}}", "https://app.example.com/runs/1?a=b&c=%28d%29"},
		{"https://e.com/{{.payload.run.description}}/{{.scope}}?q={{.payload.run.description}}&s={{.scope}}", "https://e.com/Nightly%20%2Arun%2A/acme/web?q=Nightly%20%2Arun%2A&s=acme%2Fweb"},
		{"https://e.com/?q={{urlquery \"a b\"}}", "https://e.com/?q=a%20b"},
		{"https://e.com/{{\"a?b#c\"}}", "https://e.com/a%3Fb%23c"},
		{"{{.payload.user.email}}", ""},
		{"{{.payload.nope}}", ""},
		{"javascript:alert(1)", ""},
		{"//e.com/x", ""},
		{"https://user:pw@e.com/", ""},
		{"HTTPS://E.com", "https://E.com"},
		{"https://[::1]:80/x", "https://[::1]:80/x"},
		{"https://e.com/a b)c|d<e>\"'`\\;é%41%zz", ""},
		{"https://e.com/a b)c|d<e>\"'`\\;é%41", "https://e.com/a%20b%29c%7Cd%3Ce%3E%22%27%60%5C%3B%C3%A9%41"},
		{"https://e.com\\@evil.com/", ""},
		{"https://e.com:80a/", ""},
		{"https://e.com|evil/", ""},
		{"https:///x", ""},
		{"https:e.com", ""},
	}
	for _, tt := range tests {
		if got := render(t, tt.source, URL); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.source, got, tt.want)
		}
	}
}

func TestScope(t *testing.T) {
	tests := []struct{ source, want string }{
		{"acme/{{.payload.run.id}}", "acme/1234567890123456789"},
		{"acme/{{.scope}}", "acme/acme~2Fweb"},
		{"acme/{{path .scope}}", "acme/acme/web"},
		{"acme/{{path \"../x y\"}}", "acme/~2E~2E/x~20y"},
		{"{{.payload.user.name}}", "Zo~C3~AB"},
	}
	for _, tt := range tests {
		if got := render(t, tt.source, Scope); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.source, got, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		source string
		mode   Mode
		line   int
		part   string
	}{
		{"a\nb {{.payload", Plain, 2, "unclosed action"},
		{"{{nofunc 1}}", Plain, 1, `function "nofunc" not defined`},
		{"{{printf}}", Plain, 1, "printf FORMAT"},
		{"{{html .title}}", Plain, 1, "not defined"},
		{"{{call .payload}}", Plain, 1, "not defined"},
		{"x\n\n{{.paylod.run}}", Plain, 3, "there is no .paylod"},
		{"{{range .payload.x}}{{$.paylod}}{{end}}", Plain, 1, "there is no .paylod"},
		{"{{range 10}}x{{end}}", Plain, 1, "cannot count"},
		{"{{range $i := len .payload}}x{{end}}", Plain, 1, "cannot count"},
		{"{{range add 1 2}}x{{end}}", Plain, 1, "cannot count"},
		{`{{define "x"}}y{{end}}{{template "x"}}`, Plain, 1, "define and block"},
		{`{{block "x" .}}y{{end}}`, Plain, 1, "define and block"},
		{`{{template "x"}}`, Plain, 1, "template is not supported"},
		{"{{.title 1}}", Plain, 1, "not a function"},
		{"{{1 | .title}}", Plain, 1, "not a function"},
		{"{{1i}}", Plain, 1, "decimal"},
		{"{{trunc 1}}", Plain, 1, "write it as trunc N TEXT"},
		{"{{eq 1 len}}", Plain, 1, "write it as len VALUE"},
		{"{{break}}", Plain, 1, "break"},
		{"{{$x}}", Plain, 1, "undefined variable"},
		{strings.Repeat("x", MaxSource+1), Plain, 1, "longer than"},
		{"[{{.title}}]({{.payload.url}})", Markdown, 1, "{{link TEXT URL}}"},
		{"[x](javascript:alert)", Markdown, 1, "{{link TEXT URL}}"},
		{"a\n`{{.title}}`", Markdown, 1, "{{code .payload.x}}"},
		{"`` x ` {{.title}}", Markdown, 1, "{{code .payload.x}}"},
		{"<b>{{.title}}</b>", Markdown, 1, "HTML"},
		{"![x](http://x)", Markdown, 1, "images"},
		{"a\\{{.title}}", Markdown, 1, "backslash"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.source, tt.mode)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("Parse(%.40q) = %v, want an *Error", tt.source, err)
			continue
		}
		if e.Line != tt.line || !strings.Contains(e.Message, tt.part) {
			t.Errorf("Parse(%.40q) = %v, want line %d and %q", tt.source, e, tt.line, tt.part)
		}
	}
}

func TestEach(t *testing.T) {
	d := sample()
	tm, err := Parse("{{.item.worker}}: {{.item.note}} {{.type}}", Plain)
	if err != nil {
		t.Fatal(err)
	}
	path, err := ParsePath("payload.feedback")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = d.Each(path, 50, func() error {
		s, err := tm.Render(d)
		got = append(got, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Ann: slow run_completion", "Bob: broken button run_completion"}, got); diff != "" {
		t.Errorf("Each (-want +got)\n%s", diff)
	}
	if s, _ := tm.Render(d); s != ": run_completion" {
		t.Errorf("the item outlives Each: %q", s)
	}
	for _, p := range []string{"payload.run", "payload.nope", "payload.message"} {
		path, _ := ParsePath(p)
		if err := d.Each(path, 50, func() error { return errors.New("called") }); err != nil {
			t.Errorf("%s is no list: %v", p, err)
		}
	}
	n := 0
	_ = d.Each(Path{"payload", "tags"}, 2, func() error { n++; return nil })
	if n != 2 {
		t.Errorf("Each visits %d elements, want 2", n)
	}
	for _, p := range []string{"", "x", "payload..a", "scope"} {
		if _, err := ParsePath(p); err == nil {
			t.Errorf("ParsePath(%q) accepts it", p)
		}
	}
}

// TestBounds proves that neither template nor payload make a template run or write without end.
func TestBounds(t *testing.T) {
	big := NewData(Source{Payload: []byte(`{"a":[` + strings.Repeat(`1,`, 20000) + `1],"s":"` + strings.Repeat("a*", 100000) + `"}`)})
	tests := []struct {
		source string
		fails  bool
	}{
		{"{{range .payload.a}}{{range $.payload.a}}{{range $.payload.a}}x{{end}}{{end}}{{end}}", false},
		{strings.Repeat("{{.payload.s}}", 100), false},
		{`{{$x := "aaaaaaaaaaaaaaaaaaaa"}}{{range .payload.a}}{{$x = replace "a" "aaaaaaaaaaaaaaaaaaaa" $x}}{{end}}{{$x}}`, false},
		{`{{$x := list "" ""}}{{range .payload.a}}{{$x = list $x $x $x}}{{end}}{{$x}}{{json $x | len}}`, false},
		{`{{range .payload.a}}{{range split "a" $.payload.s}}{{upper $.payload.s}}{{end}}{{end}}`, false},
		{`{{range .payload.a}}` + strings.Repeat(`{{$x := print $.payload.a $.payload.a}}`, 100) + `{{end}}`, true},
	}
	for _, tt := range tests {
		for _, mode := range []Mode{Plain, Markdown} {
			tm, err := Parse(tt.source, mode)
			if err != nil {
				t.Fatalf("%.60s: %v", tt.source, err)
			}
			start := time.Now()
			out, err := tm.Render(big)
			if (err != nil) != tt.fails {
				t.Errorf("%.60s: error %v, want one: %v", tt.source, err, tt.fails)
			}
			if len(out) > MaxOutput+len("…") {
				t.Errorf("%.60s makes %d bytes", tt.source, len(out))
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("%.60s takes %v", tt.source, took)
			}
		}
	}
}

// TestLikeTextTemplate compares with the standard library where the two mean the same.
func TestLikeTextTemplate(t *testing.T) {
	data := map[string]any{"payload": map[string]any{"a": "x", "l": []any{"p", "q"}, "t": true, "o": map[string]any{"k": "v"}, "e": ""}}
	d := NewData(Source{Payload: []byte(`{"a":"x","l":["p","q"],"t":true,"o":{"k":"v"},"e":""}`)})
	for _, source := range []string{
		"a{{.payload.a}}b", "{{ .payload.a -}} \n c", "{{if .payload.t}}1{{else}}2{{end}}", "{{range .payload.l}}<{{.}}>{{end}}",
		"{{range $i, $e := .payload.l}}{{$i}}{{$e}}{{end}}", "{{with .payload.o}}{{.k}}{{$.payload.a}}{{end}}", "{{$v := .payload.o}}{{$v.k}}",
		"{{range .payload.l}}{{if eq . \"p\"}}{{continue}}{{end}}{{.}}{{else}}e{{end}}", "{{with $x := .payload.a}}{{$x}}{{.}}{{end}}",
		"{{index .payload.l 1}}{{index .payload \"o\" \"k\"}}", "{{len .payload.l}}", "{{print .payload.a}}", "{{printf \"%s!\" .payload.a}}",
		"{{if and .payload.t (eq .payload.a \"x\")}}y{{end}}", "{{if or .payload.e (not .payload.t)}}y{{else}}n{{end}}", "{{.payload.a | printf \"%s%s\" \"z\"}}",
		"{{$x := 1}}{{range .payload.l}}{{$x = .}}{{end}}{{$x}}", "{{(.payload.o).k}}", "{{range .payload.o}}{{.}}{{end}}", "{{if not .payload.e}}{{break_ok}}{{end}}",
	} {
		source = strings.ReplaceAll(source, "{{break_ok}}", "{{range .payload.l}}{{.}}{{break}}{{end}}")
		var want strings.Builder
		if err := template.Must(template.New("").Parse(source)).Execute(&want, data); err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		tm, err := Parse(source, Plain)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if got, _ := tm.Render(d); got != want.String() {
			t.Errorf("%s = %q, text/template makes %q", source, got, want.String())
		}
	}
}

func TestEveryFunctionIsDescribed(t *testing.T) {
	for _, f := range Functions() {
		if f.Name == "" || !strings.HasPrefix(f.Usage, f.Name) || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%+v", f)
		}
	}
}

func TestScalars(t *testing.T) {
	got := Scalars([]byte(`{"a":{"x":1,"y":{"z":2},"n":null},"b":"text","c":true,"d":" ","e":[1],"f":{"x":"late"}}`), 4)
	want := []Field{{[]string{"b"}, "text"}, {[]string{"c"}, "true"}, {[]string{"a", "x"}, "1"}, {[]string{"f", "x"}, "late"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func BenchmarkRender(b *testing.B) {
	for name, source := range map[string]string{
		"field":  "{{.payload.run.result}}",
		"phrase": "Your Rainforest Run ({{link (print \"Run #\" .payload.run.id) .payload.run.frontend_url}}{{with .payload.run.description}}: {{.}}{{end}}) is complete!",
	} {
		tm, err := Parse(source, Markdown)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tm.Render(sample()); err != nil {
					b.Fatal(err)
				}
			}
		})
		d := sample()
		b.Run(name+"_again", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tm.Render(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	std := template.Must(template.New("").Funcs(template.FuncMap{"link": func(a, b string) string { return a + b }}).Parse("Your Rainforest Run ({{link (print \"Run #\" .payload.run.id) .payload.run.frontend_url}}{{with .payload.run.description}}: {{.}}{{end}}) is complete!"))
	data := map[string]any{"payload": map[string]any{"run": map[string]any{"id": "1", "frontend_url": "https://x", "description": "d"}}}
	b.Run("text_template", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := std.Execute(new(strings.Builder), data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
