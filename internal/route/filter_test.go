package route

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
)

func sample() *Event {
	return &Event{Event: &patchbay.Event{
		Type: "repo.push", Scope: "acme/repos/1",
		Payload: []byte(`{"branch":"main","n":3,"big":9223372036854775808,"ratio":0.5,"neg":-7,"exp":1e3,"huge":1e999,"nothing":null,` +
			`"yes":true,"no":false,"empty":{},"none":[],"tags":["a","b","c"],"text":"a\"b\\\u00e9\n","k\"ey":1,` +
			`"repo":{"name":"web","owner":{"id":"7"}},"commits":[{"id":1,"author":"ann"},{"id":2,"author":"bob"}]}`),
		Actor:  []byte(`{"name":"Ann"}`),
		Source: patchbay.Source{Kind: patchbay.SourceHook, Integration: "github", Target: "acme/web"},
	}}
}

// TestFilter says what filters mean on the values that JSON has.
func TestFilter(t *testing.T) {
	for _, test := range []struct{ expr, want string }{
		{"payload.branch == 'main'", "true"},
		{"payload['branch'] == 'main'", "true"},
		{"type == 'repo.push' && scope.startsWith('acme/')", "true"},
		{"actor.name == 'Ann' && source.kind == 'hook' && source.target == 'acme/web'", "true"},
		{"has(source.link)", "false"},
		{"payload.n == 3 && payload.n == 3.0 && payload.n < 3.5 && payload.n > 2u", "true"},
		{"type(payload.n) == int && type(payload.ratio) == double && type(payload.big) == double", "true"},
		{"type(payload.exp) == double && payload.exp == 1000", "true"},
		{"payload.big > 9223372036854775807", "false"}, // as a double it is no larger
		{"payload.big >= 9223372036854775806", "true"},
		{"payload.huge > 1.0e308", "true"},
		{"payload.neg == -7 && -payload.neg == 7", "true"},
		{"payload.nothing == null && type(payload.nothing) == null_type", "true"},
		{"payload.yes && !payload.no", "true"},
		{"payload.text == 'a\"b\\\\é\\n'", "true"},
		{"payload['k\"ey'] == 1", "true"},
		{"payload.repo.owner.id == '7'", "true"},
		{"payload.repo == {'owner': {'id': '7'}, 'name': 'web'}", "true"},
		{"{'owner': {'id': '7'}, 'name': 'web'} == payload.repo", "true"},
		{"payload.repo == {'name': 'web'}", "false"},
		{"payload.repo == payload.repo && payload.tags == payload.tags", "true"},
		{"payload.repo != payload.empty", "true"},
		{"payload.tags == ['a', 'b', 'c'] && ['a', 'b', 'c'] == payload.tags", "true"},
		{"payload.tags == ['a', 'b']", "false"},
		{"'b' in payload.tags && !('z' in payload.tags)", "true"},
		{"'branch' in payload && !('other' in payload)", "true"},
		{"payload.branch in ['main', 'develop']", "true"},
		{"payload.n in [1, 2, 3]", "true"},
		{"payload.tags[1] == 'b' && payload.tags[2.0] == 'c'", "true"},
		{"size(payload.tags) == 3 && payload.tags.size() == 3 && size(payload.repo) == 2 && size(payload.none) == 0", "true"},
		{"payload.tags + ['d'] == ['a', 'b', 'c', 'd']", "true"},
		{"payload.commits.exists(c, c.author == 'bob')", "true"},
		{"payload.commits.all(c, c.id > 1)", "false"},
		{"payload.commits.filter(c, c.id > 1).map(c, c.author) == ['bob']", "true"},
		{"payload.commits.map(c, c.id) == [1, 2]", "true"},
		{"payload.repo.exists(k, k == 'name')", "true"},
		{"payload.tags.join('-') == 'a-b-c'", "true"},
		{"payload.branch.matches('^ma.n$') && matches(payload.branch, 'ai')", "true"},
		{"payload.branch.upperAscii() == 'MAIN'", "true"},
		{"has(payload.branch) && !has(payload.other) && !has(payload.repo.other) && has(payload.nothing)", "true"},
		{"payload.?other.orValue('x') == 'x' && payload.?repo.?name.orValue('x') == 'web'", "true"},
		{"timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-01T00:00:00.5Z')", "true"},
		{"payload.empty == {} && payload.none == []", "true"},
		{"payload.other == 1", "error: no such key: other"},
		{"payload.branch.name == 1", "error: no such key: name"},
		{"payload.tags[7] == 'a'", "error: index out of bounds: 7"},
		{"payload.n.startsWith('3')", "error: no such overload"},
		{"payload.branch", "error: the filter's value is a text, not true or false"},
		{"payload.repo", "error: the filter's value is an object, not true or false"},
		{"payload.other == 1 || payload.branch == 'main'", "true"}, // as CEL has it: one true side is enough
	} {
		t.Run(test.expr, func(t *testing.T) {
			if got := evalFilter(t, test.expr, sample()); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func evalFilter(t *testing.T, expr string, e *Event) string {
	t.Helper()
	f, err := CompileFilter(expr)
	if err != nil {
		t.Fatal(err)
	}
	ok, err := f.Eval(e)
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprint(ok)
}

// TestFilterWithoutActor shows that what is absent is null or missing, never a crash.
func TestFilterWithoutActor(t *testing.T) {
	for expr, want := range map[string]string{
		"actor == null":       "true",
		"has(actor.name)":     "false",
		"actor.name == 'Ann'": "error: no such key: name",
		"payload == null":     "true", // an event whose payload was forgotten
	} {
		if got := evalFilter(t, expr, &Event{Event: &patchbay.Event{}}); got != want {
			t.Errorf("%s: got %s, want %s", expr, got, want)
		}
	}
}

// TestManyLookups looks often enough into one event for it to remember and to index what it read.
func TestManyLookups(t *testing.T) {
	var payload, expr strings.Builder
	payload.WriteString(`{"first":0`)
	for i := range 3 * indexFrom {
		fmt.Fprintf(&payload, `,"k%d":%d`, i, i)
		if i > 0 {
			expr.WriteString(" && ")
		}
		fmt.Fprintf(&expr, "payload.k%d == %d && !has(payload.x%d)", i, i, i)
	}
	payload.WriteString("}")
	e := &Event{Event: &patchbay.Event{Payload: []byte(payload.String())}}
	for range 2 {
		if got := evalFilter(t, expr.String(), e); got != "true" {
			t.Errorf("got %s", got)
		}
	}
}

// TestFilterRefused says which filters cannot be saved, and in which words.
func TestFilterRefused(t *testing.T) {
	for _, test := range []struct{ expr, want string }{
		{"", "is empty"},
		{" ", "is empty"},
		{strings.Repeat("a", patchbay.MaxFilterLength+1), "longer than 8192 bytes"},
		{"payload.a == '\xff'", "valid UTF-8"},
		{"payload.a ==", "it ends too early"},
		{"payload.a = 1", "at character 11: '= ' is not expected here"},
		{"event.a == 1", `at character 1: there is no "event": an expression may use type, scope, payload, actor and source`},
		{"payload.a == 1 &&\n  typ == 'x'", `at line 2, character 3: there is no "typ"`},
		{"type == 1", "at character 6: == cannot be applied to '(string, int)'"},
		{"payload.foo('x')", `there is no "foo"`},
		{"size(payload.tags)", "the filter must be true or false, but this one is a number"},
		{"type", "but this one is a text"},
		{"[payload.a]", "but this one is a list"},
		{"payload.a.matches('(')", "is not a regular expression"},
		{"payload.a.matches(payload.b)", "must be written out"},
		{"payload.a.matches('((a{1,100}){1,100}){1,100}')", "regular expression"},
		{"payload.a.matches('(a{1,50}b){1,20}')", "too complex"},
		{strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), "does not compile"},
	} {
		_, err := CompileFilter(test.expr)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q: got %v, want an error that says %q", test.expr, err, test.want)
		}
		if err != nil && patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
			t.Errorf("%.60q: the code is %s", test.expr, patchbay.CodeOf(err))
		}
	}
}

// TestFilterIsBounded throws dear expressions at hostile payloads: each must end, soon, and say so.
func TestFilterIsBounded(t *testing.T) {
	numbers := `{"l":[` + strings.Repeat("1,", 90_000) + `1]}`
	wide := `{"l":[` + strings.Repeat("1,", 200_000) + `1]}`
	deep := `{"a":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 201)
	text := `{"s":"` + strings.Repeat("ab", 500_000) + `"}`
	shared := "[[1]]"
	for range 40 {
		shared += ".map(x, [x, x])"
	}
	for _, test := range []struct{ name, payload, expr, want string }{
		{"nested loops", numbers, "payload.l.all(a, payload.l.all(b, payload.l.all(c, a == b)))", "too much work"},
		{"nested loops over its own list", `{}`, "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, [1,2,3,4,5,6,7,8,9].all(f, [1,2,3,4,5,6,7,8,9].all(g, a > 0)))))))", "too much work"},
		{"search in a loop", numbers, "payload.l.all(a, !(2 in payload.l))", "looks at too many values"},
		{"comparison in a loop", numbers, "payload.l.all(a, [payload.l] == [payload.l + []])", "stopped"},
		{"too many parts", wide, "payload.l.exists(x, x == 2)", "more than 100000 parts"},
		{"too deep", deep, "payload" + strings.Repeat(".a", 90) + " == 1", "more than 64 levels"},
		{"shared lists", `{}`, "(" + shared + ") == (" + shared + ")", "stopped"},
		{"shared lists from the second round on", `{}`, "[1, 2].exists(i, [" + strings.ReplaceAll(shared, "[x, x]", "i == 1 ? dyn(x) : dyn([x, x])") + "].exists(y, y == y && i == 2))", "stopped"},
		{"search in shared lists", `{}`, "[" + shared + "].exists(x, x in [x])", "compares values that are too large"},
		{"doubled lists", `{}`, "[['']]" + strings.Repeat(".map(x, x + x)", 40) + "[0].join('') == 'x'", "too much work"},
		{"growing text", text, strings.Repeat("payload.s + ", 30) + "payload.s == ''", "stopped"},
		{"doubling text", text, "[payload.s]" + strings.Repeat(".map(x, x+x)", 5) + "[0] == ''", "stopped"},
		{"replacement", text, "payload.s.replace('', payload.s) == ''", "more than 1048576 bytes"},
		{"joining", text, "[payload.s, payload.s].join('') == ''", "more than 1048576 bytes"},
		{"splitting", text, "payload.s.split('b').size() == 1", "more than 100000 texts"},
		{"an honest loop", `{"l":[` + strings.Repeat("1,", 39_999) + `1]}`, "payload.l.map(x, string(x)).join('').size() == 40000", "true"},
		{"another", `{"l":[` + strings.Repeat(`{"id":1,"name":"x"},`, 39_999) + `{"id":2}]}`, "payload.l.exists(x, x.id == 2) && payload.l.filter(x, x.id == 2).size() == 1", "true"},
		{"regular expression", text, "payload.s.matches('(a|b)*(a|b)*(a|b)*c')", "too much work"},
		{"many regular expressions", text, strings.Repeat("payload.s.substring(0, 1000).matches('(a|b)*(a|b)*(a|b)*c') || ", 120) + "false", "too much work"},
		{"many searches", text, strings.Repeat("payload.s.contains('abac') || ", 250) + "false", "stopped"},
		{"many conversions", `{"s":"` + strings.Repeat("1ns", 300_000) + `"}`, strings.Repeat("duration(payload.s) == duration('1s') || ", 150) + "false", "stopped"},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			got := evalFilter(t, test.expr, &Event{Event: &patchbay.Event{Payload: []byte(test.payload)}})
			switch {
			case strings.Contains(got, "interrupted"): // the time limit came first: a slow machine, and bounded all the same
				t.Logf("stopped by time: %.200s", got)
			case !strings.Contains(got, test.want):
				t.Errorf("got %.200s, want %q", got, test.want)
			}
			if d := time.Since(start); d > 10*time.Second { // far beyond what it takes, for machines under load
				t.Errorf("it took %v", d)
			} else {
				t.Log(d)
			}
		})
	}
}

// TestLightFilters keeps everyday filters on the path that costs no accounting.
func TestLightFilters(t *testing.T) {
	for expr, want := range map[string]weight{
		"payload.branch == 'main'":                                     light,
		"payload.repo.name in ['a', 'b'] && !has(payload.x)":           light,
		"payload.n > 3 ? payload.a : payload.?b.orValue(false)":        light,
		"payload.a.startsWith('x') || size(payload.l) == 0":            light,
		"payload.a.matches('x')":                                       calls,
		"payload.a + payload.b == 'x'":                                 calls,
		"payload.l.exists(x, x == 1)":                                  loops,
		strings.Repeat("payload.a == 'x' || ", 30) + "payload.a == ''": calls,
	} {
		f, err := CompileFilter(expr)
		if err != nil {
			t.Fatal(err)
		}
		if f.weight != want {
			t.Errorf("%.60s: the weight is %d, want %d", expr, f.weight, want)
		}
	}
}
