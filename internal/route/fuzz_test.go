package route

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// FuzzFilter compiles any text and evaluates it on any payload: nothing panics, and nothing takes long.
func FuzzFilter(f *testing.F) {
	for _, expr := range []string{
		"payload.branch == 'main'", "payload.l.all(x, x in payload.l)", "payload.l.map(x, [x, x]).map(x, x == x)[0]", "has(payload.a.b)",
		"payload.?a.orValue(1) == 1", "payload.s.matches('^(a|b)*$')", "type(payload) == map && size(payload) > 0",
		"payload.l + payload.l == [1]", "{payload.s: payload.l} == payload", "payload.l[0] == payload.l[-1]", "payload.s.split('').join('x') == ''",
		"timestamp(payload.s).getHours('Europe/Berlin') == 1", "b'a' == bytes(payload.s)", "payload.x.y.z < 1 || source.kind != actor", "\"\\", "a.b.c(1)(2)[", "!!!!",
		"optional.of(payload).hasValue()", "payload.exists_one(k, payload[k] == k)", "[1,2].exists(i, i / 0 == 1)",
	} {
		f.Add(expr, `{"branch":"main","l":[1,2.5,"x",null,[],{}],"s":"text","a":{"b":1}}`)
		f.Add(expr, `{"s":"1","l":[[1],[1]],"x":{"y":{"z":-0}},"\u0061":1e99}`)
	}
	f.Fuzz(func(t *testing.T, expr, payload string) {
		start := time.Now()
		fuzzOne(t, expr, payload)
		if d := time.Since(start); d > 30*time.Second {
			t.Fatalf("it took %v", d)
		}
	})
}

func fuzzOne(t *testing.T, expr, payload string) {
	e := &Event{Event: &patchbay.Event{Type: "t", Scope: "a/b", Payload: []byte(payload)}}
	if b, err := CompileBody(expr); err == nil {
		if out, err := b.Eval(e); err == nil && rawjson.Check([]byte(payload), 0) == nil && !json.Valid(out) {
			t.Fatalf("the body %.200q is not JSON", out)
		}
	}
	if k, err := CompileKey(expr); err == nil {
		first, firstErr := k.Eval(e)
		if again, err := k.Eval(e); again != first || (err == nil) != (firstErr == nil) || firstErr != nil && first != "" {
			t.Fatalf("the key was %q (%v) at first and is %q (%v) now", first, firstErr, again, err)
		}
	}
	filter, err := CompileFilter(expr)
	if err != nil {
		if patchbay.CodeOf(err) != patchbay.CodeInvalidRequest || !utf8.ValidString(err.Error()) {
			t.Fatalf("the refusal is %q with the code %s", err, patchbay.CodeOf(err))
		}
		return
	}
	first, firstErr := filter.Eval(e)
	if firstErr != nil && first {
		t.Fatal("a filter that failed let the event pass")
	}
	if firstErr != nil && (!utf8.ValidString(firstErr.Error()) || strings.Contains(firstErr.Error(), "internal error")) {
		t.Fatalf("the error is %q", firstErr)
	}
	// What an evaluation remembers of the event must not change the next one.
	for range 2 * maxScans {
		if again, err := filter.Eval(e); again != first || (err == nil) != (firstErr == nil) {
			t.Fatalf("it was %v (%v) at first and is %v (%v) now", first, firstErr, again, err)
		}
	}
}

// FuzzPayload compares what expressions see of a payload with what encoding/json reads.
func FuzzPayload(f *testing.F) {
	for _, payload := range []string{
		`{"k":"v"}`, `{"k":-0.0}`, `{"k":9223372036854775807}`, `{"k":9223372036854775808}`, `{"k":"\ud83d\ude00\n"}`, `{"\u006b":true}`,
		`{"a":1,"k":[1,[2,{"k":null}]],"b":{}}`, ` { "k" : { "k" : 1 } } `, `{"k":1e400}`, `{"K":1}`,
	} {
		f.Add(payload)
	}
	look, err := CompileBody("payload.k")
	if err != nil {
		f.Fatal(err)
	}
	all, err := CompileBody("payload.map(k, [k, payload[k]])")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		var want map[string]any
		if rawjson.Check([]byte(payload), 32) != nil || json.Unmarshal([]byte(payload), &want) != nil || want == nil {
			return
		}
		e := &Event{Event: &patchbay.Event{Payload: []byte(payload)}}
		for range 2 * maxScans {
			got, err := look.Eval(e)
			_, there := want["k"]
			if (err == nil) != there {
				t.Fatalf("got %s, %v; the key is there: %v", got, err, there)
			}
			if err == nil && !sameJSON(t, got, want["k"]) {
				t.Fatalf("got %s, want %v", got, want["k"])
			}
		}
		pairs, err := all.Eval(e)
		if err != nil {
			t.Fatal(err)
		}
		var decoded [][2]any
		if err := json.Unmarshal(pairs, &decoded); err != nil || len(decoded) != len(want) {
			t.Fatalf("%d fields (%v), want %d", len(decoded), err, len(want))
		}
	})
}

func sameJSON(t *testing.T, raw []byte, want any) bool {
	t.Helper()
	var got any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%s is not JSON: %v", raw, err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	return string(a) == string(b)
}
