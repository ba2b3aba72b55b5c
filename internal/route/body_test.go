package route

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

// TestBody says what JSON the values of CEL become.
func TestBody(t *testing.T) {
	for _, test := range []struct{ expr, want string }{
		{"payload.repo", `{"name":"web","owner":{"id":"7"}}`},
		{"payload.tags", `["a","b","c"]`},
		{"[payload.n, payload.ratio, payload.big]", `[3,0.5,9223372036854776000]`},
		{"{'b': payload.repo, 'a': [payload.commits[0], type]}", `{"a":[{"id":1,"author":"ann"},"repo.push"],"b":{"name":"web","owner":{"id":"7"}}}`},
		{"{'text': payload.text}", `{"text":"a\"b\\é\n"}`},
		{"payload.commits.map(c, {'id': c.id})", `[{"id":1},{"id":2}]`},
		{"[1, 2u, 1.5, 1.0, true, null, 'x', b'ab', -0.0]", `[1,2,1.5,1,true,null,"x","YWI=",-0]`},
		{"timestamp('2026-11-22T02:50:00.5+01:00')", `"2026-11-22T01:50:00.5Z"`},
		{"duration('90s')", `"90s"`},
		{"payload.?repo", `{"name":"web","owner":{"id":"7"}}`},
		{"payload.?other", `null`},
		{"{?'x': payload.?other, 'y': 1}", `{"y":1}`},
		{"{1: 'a', true: 'b'}", `{"1":"a","true":"b"}`},
		{"{}", `{}`},
		{"[]", `[]`},
		{"'\\u2028<&>'", "\"\u2028<&>\""},
		{"payload.tags + ['d']", `["a","b","c","d"]`},
		{"actor", `{"name":"Ann"}`},
		{"source", `{"kind":"hook","integration":"github","target":"acme/web"}`},
	} {
		t.Run(test.expr, func(t *testing.T) {
			got, err := evalBody(t, test.expr, sample())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
			if !json.Valid(got) {
				t.Error("it is not JSON")
			}
		})
	}
}

func evalBody(t testing.TB, expr string, e *Event) (json.RawMessage, error) {
	t.Helper()
	b, err := CompileBody(expr)
	if err != nil {
		t.Fatal(err)
	}
	return b.Eval(e)
}

// TestBodyIsThePayload shows that a payload passed on whole is not even copied.
func TestBodyIsThePayload(t *testing.T) {
	e := sample()
	got, err := evalBody(t, "payload", e)
	if err != nil || &got[0] != &e.Payload[0] || len(got) != len(e.Payload) {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestBodyFails says what cannot be a body.
func TestBodyFails(t *testing.T) {
	shared := "['x']" + strings.Repeat(".map(x, [x, x])", 30)
	for _, test := range []struct{ expr, want string }{
		{"payload.other", "no such key: other"},
		{"type(1)", "cannot be a part of the body"},
		{"[payload.huge]", "which JSON does not have"},
		{"{'1': 1, 1: 2}", `the key "1" twice`},
		{"[payload.s, payload.s, payload.s]", "larger than 1048576 bytes"},
		{shared, "larger than 1048576 bytes"},
		{strings.Repeat("[", 70) + "1" + strings.Repeat("]", 70), "nested more than 64 levels"},
	} {
		e := &Event{Event: &patchbay.Event{Payload: []byte(`{"huge":1e999,"s":"` + strings.Repeat("x", 600_000) + `"}`)}}
		if _, err := evalBody(t, test.expr, e); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60s: got %v, want an error that says %q", test.expr, err, test.want)
		}
	}
	if _, err := CompileBody("payload."); err == nil || !strings.Contains(err.Error(), "the body does not compile") {
		t.Errorf("got %v for a body that ends too early", err)
	}
}
