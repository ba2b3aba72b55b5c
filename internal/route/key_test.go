package route

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
)

// TestKey says what keys the values of CEL are.
func TestKey(t *testing.T) {
	for _, test := range []struct{ expr, want, err string }{
		{"payload.repo.name", "web", ""},
		{"payload.repo.owner.id", "7", ""},
		{"payload.n", "3", ""},
		{"double(payload.n)", "3", ""},
		{"payload.ratio", "0.5", ""},
		{"1u", "1", ""},
		{"-0.0", "0", ""},
		{"1e300", "1e+300", ""},
		{"type", "repo.push", ""},
		{"scope + '/' + type", "acme/repos/1/repo.push", ""},
		{"type == 'x'", "false", ""},
		{"null", "", ""},
		{"payload.?other", "", ""},
		{"payload.?repo.?name", "web", ""},
		{"timestamp('2026-11-22T02:50:00.5+01:00')", "2026-11-22T01:50:00.5Z", ""},
		{"payload.other", "", "no such key"},
		{"payload.repo", "", "the key is an object"},
		{"payload.tags", "", "the key is a list"},
	} {
		t.Run(test.expr, func(t *testing.T) {
			k, err := CompileKey(test.expr)
			if err != nil {
				t.Fatal(err)
			}
			got, err := k.Eval(sample())
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("the key is %q (%v), want %q (%s)", got, err, test.want, test.err)
			}
		})
	}
}

// TestKeyIsRefused says which expressions are no keys, and that the sentences say why.
func TestKeyIsRefused(t *testing.T) {
	for expr, want := range map[string]string{
		"":                    "the key is empty",
		" \n":                 "the key is empty",
		"payload.":            "the key does not compile",
		"repo":                `there is no "repo"`,
		"[1, 2]":              "but this one is a list",
		"{'a': type}":         "but this one is an object",
		"type.matches(scope)": "must be written out",
	} {
		_, err := CompileKey(expr)
		if err == nil || patchbay.CodeOf(err) != patchbay.CodeInvalidRequest || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", expr, err, want)
		}
	}
}
