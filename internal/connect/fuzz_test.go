package connect

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

// Whatever a token endpoint answers is a token that fits into a header, or a sentence.
func FuzzReadToken(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"a b"}`)
	f.Add(200, "application/x-www-form-urlencoded", "access_token=a&expires_in=8&scope=a%2Cb")
	f.Add(400, "application/json; charset=utf-8", `{"error":"invalid_grant","error_description":"no\nway"}`)
	f.Add(200, "text/plain", `{"access_token":"a","expires_in":"1e99","refresh_expires_in":-1}`)
	f.Add(200, "", `{"access_token":["a"]}`)
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		resp := &integration.Response{Status: status, Body: []byte(body), Header: integration.Header{{Name: "Content-Type", Value: kind}}}
		client := outbound.New(outbound.Options{})
		defer client.Close()
		token, err := readToken(resp, client.Attempt([]string{testSecret}))
		if err == nil {
			err = checkToken(token)
		}
		var failed *tokenError
		switch {
		case err == nil:
			if strings.ContainsAny(token.Access.Reveal()+token.Refresh.Reveal()+token.Type, "\r\n\x00") || token.Access == "" || token.ExpiresIn < 0 || token.RefreshExpiresIn < 0 {
				t.Errorf("%+v", token)
			}
		case !errors.As(err, &failed) || failed.text == "" || len(failed.text) > maxReason || strings.ContainsAny(failed.text, "\r\n\x00"):
			t.Errorf("%q", err)
		}
	})
}

// What is let through as a way back leads to this installation, as Go resolves it and as browsers do, which read \ as / and
// leave out tabs and line breaks.
func FuzzReturn(f *testing.F) {
	for _, s := range []string{"/", "//x", "/\\x", "/a?b=//c#d", "https://x", "/\tx", "/%2F%2Fx", "/..//x", "/.//x"} {
		f.Add(s)
	}
	base, err := url.Parse("https://hooks.example.test/auth/x/callback")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := checkReturn(s); err != nil {
			if patchbay.CodeOf(err) != patchbay.CodeInvalidRequest {
				t.Error(err)
			}
			return
		}
		if s == "" {
			return
		}
		u, err := base.Parse(s)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || u.User != nil {
			t.Errorf("%q leads to %v (%v)", s, u, err)
		}
		read := strings.NewReplacer("\\", "/", "\t", "", "\r", "", "\n", "").Replace(s)
		if !strings.HasPrefix(read, "/") || strings.HasPrefix(read, "//") {
			t.Errorf("%q is %q to a browser", s, read)
		}
	})
}
