package route

import (
	"fmt"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// TestTextFunctions compares our functions on text with those of CEL's own extension.
func TestTextFunctions(t *testing.T) {
	theirs, err := cel.NewEnv(ext.Strings(), cel.Variable("payload", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"", "a", "abcabc", "  x ", "a,b,,c", "日本語日本", "ÄÖÜ aÄ"}
	short := []string{"", "a", "bc", ",", "本"}
	var exprs []string
	for _, s := range texts {
		for _, f := range []string{"lowerAscii", "upperAscii", "trim"} {
			exprs = append(exprs, fmt.Sprintf("'%s'.%s()", s, f))
		}
		for i := -1; i < 7; i++ {
			exprs = append(exprs, fmt.Sprintf("'%s'.charAt(%d)", s, i), fmt.Sprintf("'%s'.substring(%d)", s, i))
			for j := -1; j < 7; j++ {
				exprs = append(exprs, fmt.Sprintf("'%s'.substring(%d, %d)", s, i, j))
			}
		}
		for _, sub := range short {
			for _, f := range []string{"indexOf", "lastIndexOf", "split"} {
				exprs = append(exprs, fmt.Sprintf("'%s'.%s('%s')", s, f, sub))
				for i := -1; i < 7; i++ {
					exprs = append(exprs, fmt.Sprintf("'%s'.%s('%s', %d)", s, f, sub, i))
				}
			}
			exprs = append(exprs, fmt.Sprintf("'%s'.replace('%s', 'xyz')", s, sub), fmt.Sprintf("'%s'.replace('%s', '', 2)", s, sub),
				fmt.Sprintf("'%s'.split('%s').join('+')", s, sub), fmt.Sprintf("['%s', '%s'].join()", s, sub))
		}
	}
	for _, expr := range exprs {
		got, gotErr := evalBody(t, expr, &Event{Event: &patchbay.Event{}})
		ast, issues := theirs.Compile(expr)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		p, err := theirs.Program(ast)
		if err != nil {
			t.Fatal(err)
		}
		value, _, wantErr := p.Eval(map[string]any{})
		if (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%s: got the error %v, CEL's is %v", expr, gotErr, wantErr)
			continue
		}
		if gotErr != nil {
			continue
		}
		var w writer
		if err := w.value(value, 0); err != nil {
			t.Fatal(err)
		}
		if string(got) != string(w.out) {
			t.Errorf("%s: got %s, CEL says %s", expr, got, w.out)
		}
	}
}

// TestTextFunctionsOnWrongTypes shows that a value of another type is an error of evaluation.
func TestTextFunctionsOnWrongTypes(t *testing.T) {
	for _, expr := range []string{
		"payload.n.trim()", "payload.s.split(payload.n)", "payload.s.charAt(payload.s)", "payload.l.join()",
		"payload.s.join()", "payload.s.replace(payload.n, 'x')", "payload.l.join(payload.n)", "payload.s.matches('x') && payload.n.matches('x')",
	} {
		e := &Event{Event: &patchbay.Event{Payload: []byte(`{"n":1,"s":"x","l":["a",1]}`)}}
		if out, err := evalBody(t, expr, e); err == nil {
			t.Errorf("%s: got %s, want an error", expr, out)
		}
	}
}

// FuzzTextFunctions looks for texts on which a function panics or makes what is no JSON.
func FuzzTextFunctions(f *testing.F) {
	f.Add("abc", "b", 1)
	f.Add("日本語", "", -1)
	f.Add("\xff\x00a", "\xff", 1<<40)
	b, err := CompileBody("[payload.s.indexOf(payload.t), payload.s.lastIndexOf(payload.t), payload.s.split(payload.t), payload.s.replace(payload.t, 'zz'), " +
		"payload.s.trim(), payload.s.lowerAscii(), payload.s.upperAscii(), payload.s.split(payload.t).join(payload.t) == payload.s]")
	if err != nil {
		f.Fatal(err)
	}
	places, err := CompileBody("[payload.s.indexOf(payload.t, payload.n), payload.s.lastIndexOf(payload.t, payload.n), payload.s.substring(payload.n), " +
		"payload.s.substring(0, payload.n), payload.s.charAt(payload.n), payload.s.split(payload.t, payload.n), payload.s.replace(payload.t, '', payload.n)]")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s, sub string, n int) {
		payload := rawjson.AppendQuoted([]byte(`{"s":`), s)
		payload = rawjson.AppendQuoted(append(payload, `,"t":`...), sub)
		payload = fmt.Appendf(payload, `,"n":%d}`, n)
		e := &Event{Event: &patchbay.Event{Payload: payload}}
		out, err := b.Eval(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := rawjson.Check(out, 0); err != nil {
			t.Fatalf("%s is not JSON: %v", out, err)
		}
		if out, err := places.Eval(e); err == nil {
			if err := rawjson.Check(out, 0); err != nil {
				t.Fatalf("%s is not JSON: %v", out, err)
			}
		} else if len(err.Error()) > maxReason+10 {
			t.Fatalf("the error is %d bytes long", len(err.Error()))
		}
	})
}
