package mapping_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/integration/mapping"
)

const sample = `{"id":9007199254740993,"ref":"refs/heads/main","who":{"name":"Ann <a>"},"tags":["a","b"],"price":1.50,"none":null}`

func input(t testing.TB, body string) *mapping.Input {
	t.Helper()
	v, err := mapping.Decode([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return &mapping.Input{Body: v, Header: map[string]string{"x-event": "push"}, Query: map[string]string{"team": "7"}}
}

func TestValues(t *testing.T) {
	in := input(t, sample)
	for source, want := range map[string]string{
		`body.id`:                            `9007199254740993`,
		`body.who`:                           `{"name":"Ann <a>"}`,
		`body.tags.map(x, x + "!")`:          `["a!","b!"]`,
		`{"b": body.price, "a": body.none}`:  `{"a":null,"b":1.5}`,
		`body.ref.split("/")[2].upper()`:     `"MAIN"`,
		`header["x-event"] + query.team`:     `"push7"`,
		`"  X ".trim().lower()`:              `"x"`,
		`body.?missing.?deeper.orValue("-")`: `"-"`,
		`body.?missing`:                      ``,
		`timestamp("2026-11-22T10:00:00Z")`:  `"2026-11-22T10:00:00Z"`,
		`duration("90s")`:                    `"90s"`,
		`b"\xff"`:                            `"/w=="`,
		`body.ref.matches("^refs/heads/")`:   `true`,
		`"b" in body.tags && body.id != 1`:   `true`,
		`body.tags[0] == "a" ? [1u] : []`:    `[1]`,
	} {
		e, err := mapping.Compile(source, mapping.Any)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		got, err := e.JSON(t.Context(), in)
		if err != nil || string(got) != want {
			t.Errorf("%s is %s (%v), want %s", source, got, err, want)
		}
	}
}

func TestTexts(t *testing.T) {
	in := input(t, sample)
	for source, want := range map[string]string{`body.id`: "9007199254740993", `body.none`: "", `body.?x`: "", `"x"`: "x", `true`: "true"} {
		e, err := mapping.Compile(source, mapping.Any)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Text(t.Context(), in); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", source, got, err, want)
		}
	}
	e, _ := mapping.Compile(`body.who`, mapping.Any)
	if _, err := e.Text(t.Context(), in); err == nil {
		t.Error("an object passes as a text")
	}
}

func TestMistakesAreExplained(t *testing.T) {
	for source, want := range map[string]string{
		"":                              "is empty",
		"payload.x":                     `at character 1: there is no "payload": an expression may use body, header and query`,
		"body.x +":                      "it ends too early",
		"body.\nx )":                    "at line 2, character 3",
		strings.Repeat("x", 5000):       "longer than 4096 bytes",
		"\xff":                          "valid UTF-8",
		`body.x.matches(body.y)`:        "must be written out",
		`body.x.matches("(")`:           "is not a regular expression",
		`body.x.matches("(a{100}){9}")`: "too complex",
	} {
		_, err := mapping.Compile(source, mapping.Any)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", source, err, want)
		}
	}
	if _, err := mapping.Compile(`"a"`, mapping.Bool); err == nil {
		t.Error("a text passes as true or false")
	}
	e, err := mapping.Compile(`body.x`, mapping.Bool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Bool(t.Context(), input(t, `{"x":"yes"}`)); err == nil {
		t.Error("a text counts as true")
	}
	if _, err := e.Bool(t.Context(), input(t, `{}`)); err == nil || !strings.Contains(err.Error(), "x") {
		t.Errorf("a missing key: %v", err)
	}
}

// A loop over an object says the same each time.
func TestOrder(t *testing.T) {
	in := input(t, `{"o":{"e":1,"d":2,"c":3,"b":4,"a":{"z":1,"y":2,"x":3}}}`)
	for source, want := range map[string]string{`body.o.map(k, k)`: `["a","b","c","d","e"]`, `body.o.a.map(k, k)`: `["x","y","z"]`, `header.map(k, k)`: `["x-event"]`} {
		e, err := mapping.Compile(source, mapping.Any)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if got, err := e.JSON(t.Context(), in); err != nil || string(got) != want {
				t.Fatalf("%s is %s (%v)", source, got, err)
			}
		}
	}
}

// Whatever the expression and the call are, evaluating ends soon and makes nothing large.
func TestBombs(t *testing.T) {
	long := strings.Repeat("a", 900_000)
	many := "[" + strings.Repeat("1,", 100_000) + "1]"
	double := `[body]`
	for range 40 {
		double += `.map(x, [x, x])`
	}
	sum := `body`
	for range 100 {
		sum = "(" + sum + "+body)"
		if len(sum) > 3000 {
			break
		}
	}
	for _, x := range []struct{ source, body string }{
		{`body.all(x, body.all(y, body.all(z, x + y + z > 0)))`, many},
		{double, many},
		{double + " == " + double, `1`},
		{double + "[0] in " + double, `1`},
		{sum, `"` + long + `"`},
		{`body.split("")`, `"` + long + `"`},
		{`body.map(x, "` + strings.Repeat("y", 2000) + `" + string(x))`, many},
		{`body.matches("(a|aa|aaa|b?)*c")`, `"` + long + `"`},
		{`body.map(x, body.map(y, body))`, many},
	} {
		e, err := mapping.Compile(x.source, mapping.Any)
		if err != nil {
			continue // refused before anything is evaluated
		}
		began := time.Now()
		out, err := e.JSON(t.Context(), input(t, x.body))
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%.60s took %s", x.source, took)
		}
		if err == nil && len(out) > mapping.MaxValue+len(long) {
			t.Errorf("%.60s made %d bytes", x.source, len(out))
		}
	}
	if _, err := mapping.Decode([]byte(strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000))); err == nil {
		t.Error("10,000 levels are read")
	}
	for _, broken := range []string{"", "{", "{} {}", "nul"} {
		if _, err := mapping.Decode([]byte(broken)); err == nil {
			t.Errorf("%q is read", broken)
		}
	}
}

func FuzzExpression(f *testing.F) {
	f.Add(`body.a + 1`, `{"a":1}`)
	f.Add(`{"x": [body.?a, header, query["q"]]}`, `[1,"a",null]`)
	f.Add(`body.map(x, x.matches("a*"))`, `["aa"]`)
	f.Fuzz(func(t *testing.T, source, body string) {
		v, err := mapping.Decode([]byte(body))
		if err != nil {
			return
		}
		e, err := mapping.Compile(source, mapping.Any)
		if err != nil {
			return
		}
		in := &mapping.Input{Body: v, Header: map[string]string{"a": "b"}, Query: map[string]string{}}
		first, err := e.JSON(t.Context(), in)
		if err == nil && first != nil && !json.Valid(first) {
			t.Fatalf("%s is not JSON", first)
		}
		second, again := e.JSON(t.Context(), in)
		if string(first) != string(second) || fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("it says %s (%v), and then %s (%v)", first, err, second, again)
		}
	})
}
