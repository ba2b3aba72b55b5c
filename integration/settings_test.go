package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

// everything has a setting of each type.
var everything = Spec{
	{Key: "url", Title: "Address", Type: TypeURL, Required: true, Target: true, Mask: MaskUserinfo},
	{Key: "base", Title: "Base address", Type: TypeURL, Target: true, Default: "https://api.example.com"},
	{Key: "token", Title: "Token", Type: TypeString, Secret: true},
	{Key: "key", Title: "Signing key", Type: TypeText, Secret: true, Signing: true, Generate: func() (string, error) { return "made", nil }},
	{Key: "n", Title: "Number", Type: TypeInteger, Default: int64(7)},
	{Key: "on", Title: "Switch", Type: TypeBoolean},
	{Key: "kind", Title: "Kind", Type: TypeSelect, Options: []Option{{"a", "A"}, {"b", "B"}}},
	{Key: "to", Title: "Recipients", Type: TypeList, Check: func(v any) error {
		if len(v.([]string)) > 3 {
			return errors.New("names too many")
		}
		return nil
	}},
	{Key: "headers", Title: "Headers", Type: TypeMap, Secret: true},
	{Key: "codes", Title: "Codes", Type: TypeList, Secret: true},
	{Key: "pin", Title: "PIN", Type: TypeInteger, Secret: true},
	{Key: "login", Title: "Login", Type: TypeObject, Fields: Spec{
		{Key: "user", Title: "User", Type: TypeString, Required: true},
		{Key: "password", Title: "Password", Type: TypeString, Secret: true},
		{Key: "deep", Title: "Deep", Type: TypeObject, Fields: Spec{{Key: "secret", Title: "Deep secret", Type: TypeString, Secret: true}}},
	}},
}

// TestCheck says what settings become.
func TestCheck(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{`{"url":"https://h"}`, `{"base":"https://api.example.com","n":7,"url":"https://h"}`},
		{` {"url":" https://h/a?b=c ","token":" t ","key":" two\nlines ","n":"12","on":"yes","kind":"b"} `,
			`{"base":"https://api.example.com","key":" two\nlines ","kind":"b","n":12,"on":true,"token":"t","url":"https://h/a?b=c"}`},
		{`{"url":"https://h","n":1e3,"on":false,"token":42,"to":"a, b,,\nc"}`,
			`{"base":"https://api.example.com","n":1000,"on":false,"to":["a","b","c"],"token":"42","url":"https://h"}`},
		{`{"url":"https://h","token":"  ","n":null,"to":[],"headers":{},"on":""}`, `{"base":"https://api.example.com","n":7,"url":"https://h"}`},
		{`{"url":"https://h","headers":{"A":"b"},"login":{"user":"u","password":"p"}}`,
			`{"base":"https://api.example.com","headers":{"A":"b"},"login":{"password":"p","user":"u"},"n":7,"url":"https://h"}`},
		{`{"url":"https://h","n":-9223372036854775808}`, `{"base":"https://api.example.com","n":-9223372036854775808,"url":"https://h"}`},
	} {
		got, err := everything.Check(json.RawMessage(test.in), CheckOptions{})
		if diff := cmp.Diff(test.want, string(got)); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", test.in, err, diff)
		}
		again, err := everything.Check(got, CheckOptions{})
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: what was accepted became %s, %v the second time", test.in, again, err)
		}
	}
}

// TestCheckRefuses says what is wrong with settings, and where.
func TestCheckRefuses(t *testing.T) {
	for _, test := range []struct {
		in, path, want string
		code           patchbay.Code
	}{
		{`{}`, "settings.url", "is required (Address)", patchbay.CodeMisconfiguredIntegration},
		{``, "settings.url", "is required", patchbay.CodeMisconfiguredIntegration},
		{`null`, "settings.url", "is required", patchbay.CodeMisconfiguredIntegration},
		{`{"url":" "}`, "settings.url", "is required", patchbay.CodeMisconfiguredIntegration},
		{`{"url":"https://h","login":{"user":""}}`, "settings.login.user", "is required", patchbay.CodeMisconfiguredIntegration},
		{`[]`, "settings", "must be a JSON object", patchbay.CodeInvalidRequest},
		{`{"url":"https://h"} x`, "settings", "something follows", patchbay.CodeInvalidRequest},
		{`{"url":"https://h"}{}`, "settings", "something follows", patchbay.CodeInvalidRequest},
		{"{\"url\":\"https://h\",\"token\":\"\xff\"}", "settings", "valid UTF-8", patchbay.CodeInvalidRequest},
		{`{"url":"` + strings.Repeat("x", patchbay.MaxSettingsBytes) + `"}`, "settings", "larger than", patchbay.CodeInvalidRequest},
		{`{"url":"ftp://h"}`, "settings.url", "must begin with https://", patchbay.CodeInvalidRequest},
		{`{"url":"https://"}`, "settings.url", "has no host", patchbay.CodeInvalidRequest},
		{`{"url":"https://h:70000"}`, "settings.url", "port", patchbay.CodeInvalidRequest},
		{`{"url":"https://h#x"}`, "settings.url", "#fragment", patchbay.CodeInvalidRequest},
		{`{"url":"https://h/#"}`, "settings.url", "#fragment", patchbay.CodeInvalidRequest},
		{`{"url":"https://h/%zz"}`, "settings.url", "not a URL that can be read", patchbay.CodeInvalidRequest},
		{`{"url":"https://h\n"}`, "", "", ""}, // white space around it does no harm
		{`{"url":"https://h","token":"a\nb"}`, "settings.token", "one line", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","token":"a\u0000b"}`, "settings.token", "null bytes", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","token":true}`, "settings.token", "must be text", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","token":"••••1234"}`, "settings.token", "looks like a mask", patchbay.CodeInvalidRequest},
		{`{"url":"https://••••@h"}`, "settings.url", "looks like a mask", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","headers":{"A":"••••"}}`, "settings.headers", "looks like a mask", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","codes":["a","••••"]}`, "settings.codes", "looks like a mask", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","n":1.5}`, "settings.n", "whole number", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","n":9223372036854775808}`, "settings.n", "whole number", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","n":"NaN"}`, "settings.n", "whole number", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","n":[]}`, "settings.n", "whole number", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","on":1}`, "settings.on", "true or false", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","kind":"c"}`, "settings.kind", "one of a, b", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","to":[1]}`, "settings.to", "list of strings", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","to":["a\nBcc: b"]}`, "settings.to", "one line", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","to":"a,b,c,d"}`, "settings.to", "names too many", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","headers":{"A":1}}`, "settings.headers", "object of strings", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","headers":{"A\nB":"x"}}`, "settings.headers", "control characters", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","headers":{"":"x"}}`, "settings.headers", "object of strings", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","login":"x"}`, "settings.login", "object with user, password", patchbay.CodeInvalidRequest},
		{`{"url":"https://h","login":{"user":"u","x":1}}`, "settings.login.x", "is not a setting", patchbay.CodeInvalidRequest},
		{`{"x":1}`, "settings.x", "is not a setting of this integration; it has url, base", patchbay.CodeInvalidRequest},
	} {
		got, err := everything.Check(json.RawMessage(test.in), CheckOptions{})
		if test.want == "" {
			if err != nil {
				t.Errorf("%.80s: %v", test.in, err)
			}
			continue
		}
		var e *patchbay.Error
		if !errors.As(err, &e) || e.Code != test.code || len(e.Details) == 0 || e.Details[0].Path != test.path || !strings.Contains(e.Message, test.want) || got != nil {
			t.Errorf("%.80s: got %s, %v, want %s: %s", test.in, got, err, test.path, test.want)
		}
	}
}

// TestCheckOptions shows what inline calls and links with a connection are allowed.
func TestCheckOptions(t *testing.T) {
	spec := Spec{{Key: "url", Title: "Address", Type: TypeURL, Required: true, UnlessConnected: true}, {Key: "channel", Title: "Channel", Type: TypeString}}
	for _, test := range []struct {
		in   string
		o    CheckOptions
		want string
	}{
		{`{"channel":"#a"}`, CheckOptions{Connected: true}, `{"channel":"#a"}`},
		{`{"channel":"#a"}`, CheckOptions{}, ""},
		{`{"url":"https://h","x":{}}`, CheckOptions{IgnoreUnknown: true}, `{"url":"https://h"}`},
		{`{"url":"https://h","x":{}}`, CheckOptions{}, ""},
	} {
		got, err := spec.Check(json.RawMessage(test.in), test.o)
		if string(got) != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s with %+v: got %s, %v", test.in, test.o, got, err)
		}
	}
}

// TestErrorsNameEverything shows that one answer names all that is wrong.
func TestErrorsNameEverything(t *testing.T) {
	_, err := everything.Check(json.RawMessage(`{"n":"x","zzz":1,"aaa":1,"on":7}`), CheckOptions{})
	var e *patchbay.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var paths []string
	for _, d := range e.Details {
		paths = append(paths, d.Path)
	}
	if diff := cmp.Diff([]string{"settings.aaa", "settings.n", "settings.on", "settings.zzz"}, paths); diff != "" {
		t.Error(diff)
	}
}

type decoded struct {
	N int64 `json:"n"`
}

func (d *decoded) Validate() error {
	if d.N < 0 {
		return patchbay.Invalid("settings.n", "must not be negative")
	}
	return nil
}

// TestInto shows that a struct's own Validate has a say.
func TestInto(t *testing.T) {
	got, err := Into[decoded](json.RawMessage(`{"n":3}`))
	if diff := cmp.Diff(&decoded{N: 3}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := Into[decoded](json.RawMessage(`{"n":-3}`)); patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
		t.Errorf("got %v", err)
	}
	if _, err := Into[decoded](json.RawMessage(`{"n":"x"}`)); patchbay.CodeOf(err) != patchbay.CodeInternal {
		t.Errorf("got %v", err)
	}
}

// FuzzCheck shows that what is accepted is accepted again and unchanged, and that errors never hold a secret.
func FuzzCheck(f *testing.F) {
	for _, in := range []string{
		`{"url":"https://h","token":"hunter2hunter2","n":"7","to":"a,b","headers":{"A":"b"},"login":{"user":"u"}}`, `{"url":"https://a:b@h/?x=${payload.x}"}`,
		`{"url":["https://h"]}`, `{"n":1e400}`, `{"on":"TRUE","kind":"a"}`, `{"login":{"deep":{"secret":"s"}}}`, `{`, `{"a":{"b":[1,2,{}]}}`, `"x"`, `{"url":"https://h:0"}`,
	} {
		f.Add([]byte(in), true)
		f.Add([]byte(in), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, ignore bool) {
		got, err := everything.Check(in, CheckOptions{IgnoreUnknown: ignore})
		if err != nil {
			if code := patchbay.CodeOf(err); code != patchbay.CodeInvalidRequest && code != patchbay.CodeMisconfiguredIntegration || !utf8.ValidString(err.Error()) {
				t.Fatalf("the refusal is %q with the code %s", err, code)
			}
			return
		}
		again, err := everything.Check(got, CheckOptions{})
		if err != nil || string(again) != string(got) {
			t.Fatalf("%s became %s, %v", got, again, err)
		}
		if _, err := Into[map[string]any](got); err != nil {
			t.Fatal(err)
		}
	})
}

// TestErrorsHoldNoSecret refuses settings with secrets in them and looks for those in the refusal.
func TestErrorsHoldNoSecret(t *testing.T) {
	const secret = "hunter2hunter2"
	for _, in := range []string{
		`{"url":"https://me:%s@h:99999999/x"}`, `{"url":"https://me:%s@h x/"}`, `{"url":"https://h","token":"%s\nx"}`, `{"url":"https://h","pin":"%s"}`,
		`{"url":"https://h","headers":{"A":["%s"]}}`, `{"url":"https://h","codes":["%s\u0007"]}`, `{"url":"https://h","login":"%s"}`, `{"token":"%s"}`,
	} {
		_, err := everything.Check(json.RawMessage(fmt.Sprintf(in, secret)), CheckOptions{})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", in, err)
		}
	}
}
