package integration

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/patchbay/patchbay"
)

// TestMaskText shows a secret's end only when it is long enough.
func TestMaskText(t *testing.T) {
	for text, want := range map[string]string{"": "", "short": "••••", "elevenchars": "••••", "twelve-chars": "••••hars", "zwölfzeichenü": "••••henü"} {
		if got := MaskText(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// TestMaskUserinfo hides user information in anything that looks like a URL.
func TestMaskUserinfo(t *testing.T) {
	for text, want := range map[string]string{
		"https://h/x@y":                    "https://h/x@y",
		"https://me:pass@h/x":              "https://••••@h/x",
		"https://me@h":                     "https://••••@h",
		"https://me:p@ss@h/x?a=b@c":        "https://••••@h/x?a=b@c",
		"https://me:pass@h?x":              "https://••••@h?x",
		"https://me:p%zz@h/x":              "https://••••@h/x", // no valid URL, hidden all the same
		"https://me:pass@h/${payload.x}@y": "https://••••@h/${payload.x}@y",
		"//me:pass@h":                      "//••••@h",
		"nothing":                          "nothing",
		"":                                 "",
	} {
		if got := MaskUserinfo(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

const stored = `{"url":"https://me:password1234@h/x","token":"token-of-service","key":"signing-key-one","n":7,` +
	`"headers":{"A":"header-a-header-a","B":"short"},"codes":["code-one-code-one","code-two-code-two"],"pin":123456789012,` +
	`"login":{"user":"ann","password":"password-of-ann","deep":{"secret":"deep-secret-deep"}},"base":"https://api.example.com"}`

// TestMask shows what reads show.
func TestMask(t *testing.T) {
	want := `{"base":"https://api.example.com","codes":["••••-one","••••-two"],"headers":{"A":"••••er-a","B":"••••"},"key":"••••-one",` +
		`"login":{"deep":{"secret":"••••deep"},"password":"••••-ann","user":"ann"},"n":7,"pin":"••••9012","token":"••••vice","url":"https://••••@h/x"}`
	if diff := cmp.Diff(want, string(everything.Mask(json.RawMessage(stored)))); diff != "" {
		t.Error(diff)
	}
	for _, raw := range []string{"", "null", "x", `{"gone":"may be a secret"}`, `{"login":"x"}`} {
		if got := string(everything.Mask(json.RawMessage(raw))); got != "{}" && got != `{"login":"••••"}` {
			t.Errorf("%s is shown as %s", raw, got)
		}
	}
}

// TestMerge is §3.2 of the design on changing settings.
func TestMerge(t *testing.T) {
	for _, test := range []struct {
		name, patch string
		want        map[string]any // changed keys; nil is gone
		wrong       []string       // paths, when it is refused
	}{
		{name: "nothing", patch: `{}`},
		{name: "no patch at all", patch: ``},
		{name: "everything as it is shown", patch: string(everything.Mask(json.RawMessage(stored)))},
		{name: "a new token", patch: `{"token":"new"}`, want: map[string]any{"token": "new"}},
		{name: "null removes", patch: `{"token":null,"login":null}`, want: map[string]any{"token": nil, "login": nil}},
		{name: "a mask of something else", patch: `{"token":"••••abcd"}`, wrong: []string{"settings.token"}},
		{name: "a mask with something added", patch: `{"url":"https://••••@h/y"}`, wrong: []string{"settings.url"}},
		{name: "a new URL", patch: `{"url":"https://h2"}`, wrong: []string{
			"settings.token", "settings.headers", "settings.codes", "settings.pin", "settings.login.password", "settings.login.deep.secret"}},
		{name: "a new URL with everything sent back masked",
			patch: `{"url":"https://h2","token":"••••vice","headers":{"A":"••••er-a","B":"••••"},"codes":["••••-one","••••-two"],"pin":"••••9012","login":{"password":"••••-ann"}}`,
			wrong: []string{"settings.token", "settings.headers", "settings.codes", "settings.pin", "settings.login.password", "settings.login.deep.secret"}},
		{name: "a new URL with everything given again or removed",
			patch: `{"url":"https://h2","token":"t","headers":{"A":"a"},"codes":["c"],"pin":1,"login":{"password":"p","deep":null}}`,
			want: map[string]any{"url": "https://h2", "token": "t", "headers": map[string]any{"A": "a"}, "codes": []any{"c"}, "pin": 1.0,
				"login": map[string]any{"user": "ann", "password": "p"}}},
		{name: "a new URL with one header kept", patch: `{"url":"https://h2","token":"t","headers":{"A":"a","B":"••••"},"codes":null,"pin":null,"login":null}`,
			wrong: []string{"settings.headers"}},
		{name: "a new URL with one code kept", patch: `{"url":"https://h2","token":"t","headers":null,"codes":["new","••••-one"],"pin":null,"login":null}`,
			wrong: []string{"settings.codes"}},
		{name: "the default address is given", patch: `{"base":"https://api.example.com"}`},
		{name: "another base address", patch: `{"base":"https://evil.example.com","token":"t","headers":null,"codes":null,"pin":null}`,
			wrong: []string{"settings.login.password", "settings.login.deep.secret"}},
		{name: "back to the default address", patch: `{"base":null}`},
		{name: "one header of two", patch: `{"headers":{"A":"••••er-a"}}`, want: map[string]any{"headers": map[string]any{"A": "header-a-header-a"}}},
		{name: "a header renamed with its mask", patch: `{"headers":{"C":"••••er-a"}}`, wrong: []string{"settings.headers.C"}},
		{name: "codes in another order", patch: `{"codes":["••••-two","x","••••-one"]}`, want: map[string]any{"codes": []any{"code-two-code-two", "x", "code-one-code-one"}}},
		{name: "a code that is none", patch: `{"codes":["••••-six"]}`, wrong: []string{"settings.codes[0]"}},
		{name: "a part of an object", patch: `{"login":{"user":"bob"}}`, want: map[string]any{"login": map[string]any{
			"user": "bob", "password": "password-of-ann", "deep": map[string]any{"secret": "deep-secret-deep"}}}},
		{name: "a key that nobody knows", patch: `{"x":1}`, want: map[string]any{"x": 1.0}}, // Check refuses it
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := everything.Merge(json.RawMessage(stored), json.RawMessage(test.patch))
			if test.wrong != nil {
				var e *patchbay.Error
				if !errors.As(err, &e) || e.Code != patchbay.CodeInvalidRequest {
					t.Fatalf("got %s, %v", got, err)
				}
				var paths []string
				for _, d := range e.Details {
					paths = append(paths, d.Path)
				}
				if diff := cmp.Diff(test.wrong, paths); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := decode(t, stored)
			for k, v := range test.want {
				if want[k] = v; v == nil {
					delete(want, k)
				}
			}
			if test.name == "back to the default address" {
				delete(want, "base")
			}
			if diff := cmp.Diff(want, decode(t, string(got))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func decode(t testing.TB, raw string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMergeAnAddressThatWasNotThere shows that giving the first address of its own counts as changing it.
func TestMergeAnAddressThatWasNotThere(t *testing.T) {
	spec := Spec{{Key: "host", Title: "Mail server", Type: TypeString, Target: true}, {Key: "password", Title: "Password", Type: TypeString, Secret: true}}
	if got, err := spec.Merge(json.RawMessage(`{"password":"p"}`), json.RawMessage(`{"host":"evil"}`)); err == nil {
		t.Errorf("got %s", got)
	}
	if got, err := spec.Merge(json.RawMessage(`{"password":"p"}`), json.RawMessage(`{"host":"h","password":"q"}`)); err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := spec.Merge(nil, json.RawMessage(`{"host":"h","password":"q"}`)); err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestMergeSameMasks shows that short secrets, which all look alike, are told apart by their place.
func TestMergeSameMasks(t *testing.T) {
	spec := Spec{{Key: "codes", Title: "Codes", Type: TypeList, Secret: true}}
	got, err := spec.Merge(json.RawMessage(`{"codes":["a","b","c"]}`), json.RawMessage(`{"codes":["••••","••••","new"]}`))
	if want := `{"codes":["a","b","new"]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if got, err := spec.Merge(json.RawMessage(`{"codes":["a","b"]}`), json.RawMessage(`{"codes":["x","y","••••"]}`)); err == nil {
		t.Errorf("got %s for a mask that could be either of two", got)
	}
}

// TestMergeForgetsOldSettings shows that a setting that an integration gave up does not make its links unchangeable.
func TestMergeForgetsOldSettings(t *testing.T) {
	spec := Spec{{Key: "a", Title: "A", Type: TypeString}}
	got, err := spec.Merge(json.RawMessage(`{"a":"x","gone":"y"}`), json.RawMessage(`{}`))
	if err != nil || string(got) != `{"a":"x"}` {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestMergeNeverMovesSecrets changes random settings at random: where an address changes, no secret that is sent
// there survives unless it was written out. And no mask is ever stored.
func TestMergeNeverMovesSecrets(t *testing.T) {
	values := map[string][]string{
		"url":     {`"https://h"`, `"https://me:password1234@h/x"`, `"https://••••@h/x"`, `null`},
		"base":    {`"https://api.example.com"`, `"https://evil.example.com"`, `null`},
		"token":   {`"token-of-service"`, `"other-token-abc"`, `"••••vice"`, `"••••"`, `null`},
		"headers": {`{"A":"header-a-header-a"}`, `{"A":"••••er-a"}`, `{"A":"x","B":"••••"}`, `{}`, `null`, `"x"`},
		"codes":   {`["code-one-code-one"]`, `["••••-one"]`, `["••••-one","••••-two"]`, `"••••-one"`, `null`},
		"login":   {`{"password":"••••-ann"}`, `{"user":"x"}`, `{"password":"p","deep":{"secret":"••••deep"}}`, `{}`, `null`, `7`},
		"key":     {`"signing-key-one"`, `"••••-one"`, `null`},
	}
	keys := []string{"url", "base", "token", "headers", "codes", "login", "key"}
	rapid.Check(t, func(t *rapid.T) {
		var parts []string
		for _, key := range keys {
			if rapid.Bool().Draw(t, "patch "+key) {
				parts = append(parts, `"`+key+`":`+rapid.SampledFrom(values[key]).Draw(t, key))
			}
		}
		patch := "{" + strings.Join(parts, ",") + "}"
		got, err := everything.Merge(json.RawMessage(stored), json.RawMessage(patch))
		if err == nil {
			got, err = everything.Check(got, CheckOptions{})
		}
		if err != nil {
			return
		}
		if strings.Contains(string(got), maskDots) {
			t.Fatalf("a mask was stored: %s", got)
		}
		var before, after map[string]any
		if json.Unmarshal([]byte(stored), &before) != nil || json.Unmarshal(got, &after) != nil {
			t.Fatal("no JSON")
		}
		if reflect.DeepEqual(before["url"], after["url"]) && reflect.DeepEqual(before["base"], after["base"]) {
			return
		}
		for _, secret := range []string{"token-of-service", "header-a-header-a", "code-one-code-one", "code-two-code-two", "password-of-ann", "deep-secret-deep", "123456789012"} {
			if strings.Contains(string(got), secret) && !strings.Contains(patch, secret) {
				t.Fatalf("%s goes to a new address: %s", secret, got)
			}
		}
	})
}

// TestSecrets lists what is to be hidden wherever it turns up, the longest first.
func TestSecrets(t *testing.T) {
	got := everything.Secrets(json.RawMessage(stored))
	want := []string{"code-one-code-one", "code-two-code-two", "header-a-header-a", "deep-secret-deep", "token-of-service", "me:password1234",
		"password-of-ann", "signing-key-one", "123456789012", "password1234", "short"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = everything.Secrets(json.RawMessage(`{"token":"same","headers":{"A":"same","B":"abc"},"codes":["same","else"]}`))
	if diff := cmp.Diff([]string{"else", "same"}, got); diff != "" {
		t.Error(diff)
	}
	if got := everything.Secrets(json.RawMessage(`x`)); got != nil {
		t.Errorf("got %q", got)
	}
}

// FuzzMerge shows that what is shown never holds a secret, and that sending it back changes nothing.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(stored), []byte(`{"token":"x"}`))
	f.Add([]byte(stored), []byte(`{"url":"https://h2","headers":{"A":"••••"}}`))
	f.Add([]byte(`{"url":"https://h","codes":["a","b"],"login":{"user":"u"}}`), []byte(`{"codes":["••••"],"login":{"deep":{}}}`))
	f.Fuzz(func(t *testing.T, settings, patch []byte) {
		checked, err := everything.Check(settings, CheckOptions{IgnoreUnknown: true})
		if err != nil {
			return
		}
		shown := everything.Mask(checked)
		back, err := everything.Merge(checked, shown)
		if err != nil || string(back) != string(checked) {
			t.Fatalf("%s is shown as %s, which sent back makes %s, %v", checked, shown, back, err)
		}
		for _, secret := range everything.Secrets(checked) {
			if len(secret) >= 12 && strings.Contains(string(shown), secret) && !strings.Contains(string(plain(checked)), secret) {
				t.Fatalf("%s shows the secret %s", shown, secret)
			}
		}
		if merged, err := everything.Merge(checked, patch); err == nil {
			if accepted, err := everything.Check(merged, CheckOptions{}); err == nil && strings.Contains(string(accepted), maskDots) && !strings.Contains(string(plain(accepted)), maskDots) {
				t.Fatalf("%s holds a mask", accepted)
			}
		} else if code := patchbay.CodeOf(err); code != patchbay.CodeInvalidRequest {
			t.Fatalf("%s refuses %s with %s: %v", checked, patch, code, err)
		}
	})
}

// plain returns the settings that are no secret and hold none.
func plain(raw []byte) []byte {
	var in map[string]json.RawMessage
	_ = json.Unmarshal(raw, &in)
	for _, key := range []string{"url", "base", "token", "key", "headers", "codes", "pin", "login"} {
		delete(in, key)
	}
	keep := slices.Collect(func(yield func(string) bool) {
		for _, v := range in {
			if !yield(string(v)) {
				return
			}
		}
	})
	return []byte(strings.Join(keep, " "))
}
