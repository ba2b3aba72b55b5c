package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
)

const signingKey = "rainforest-signing-key"

func sign(text string) string {
	mac := hmac.New(sha256.New, []byte(signingKey))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func header(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestCallerByKey(t *testing.T) {
	i := newInstallation(t)
	token := i.mustCreate(t, admin, KeyInput{Scope: "acme", Permissions: []string{"read"}}).Token
	production := NewAuthenticator(AuthenticatorOptions{Keys: i.Keys})
	development := NewAuthenticator(AuthenticatorOptions{Keys: i.Keys, Development: true})
	for _, test := range []struct {
		says          string
		a             *Authenticator
		authorization string
		scope, name   string
		refused       bool
	}{
		{"a key", production, "Bearer " + token, "acme", "", false},
		{"the scheme in any case", production, "bearer  " + token, "acme", "", false},
		{"nothing", production, "", "", "", true},
		{"a wrong key", production, "Bearer pk_wrong", "", "", true},
		{"a key without a scheme", production, token, "", "", true},
		{"another scheme", production, basic("", token), "", "", true},
		{"nothing, in development", development, "", "", "development", false},
		{"a key, in development", development, "Bearer " + token, "acme", "", false},
		{"a wrong key, in development", development, "Bearer pk_wrong", "", "", true},
	} {
		t.Run(test.says, func(t *testing.T) {
			c, err := test.a.Caller(header("Authorization", test.authorization))
			if test.refused {
				if patchbay.CodeOf(err) != patchbay.CodeUnauthorized || c != nil {
					t.Errorf("got %+v, %v", c, err)
				}
				return
			}
			if err != nil || string(c.Scope) != test.scope || c.Name != test.name {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

func TestBrowserSendsTheKeyAsPassword(t *testing.T) {
	i := newInstallation(t)
	token := i.mustCreate(t, admin, KeyInput{Permissions: []string{"read"}}).Token
	a := NewAuthenticator(AuthenticatorOptions{Keys: i.Keys})
	for _, ok := range []string{basic("anyone", token), "Bearer " + token} {
		if _, err := a.Browser(header("Authorization", ok)); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, no := range []string{"", basic(token, ""), basic("anyone", "pk_wrong"), "Basic !"} {
		if c, err := a.Browser(header("Authorization", no)); patchbay.CodeOf(err) != patchbay.CodeUnauthorized || c != nil {
			t.Errorf("%q: %+v, %v", no, c, err)
		}
	}
}

func TestSignature(t *testing.T) {
	i := newInstallation(t)
	a := NewAuthenticator(AuthenticatorOptions{Keys: i.Keys, SigningKey: signingKey, Now: i.clock.now})
	const body = `{"event_type":"run_error"}`
	stamp := func(d time.Duration) string { return strconv.FormatInt(i.clock.at.Add(d).Unix(), 10) }
	for _, test := range []struct {
		says, signature, timestamp string
		ok                         bool
	}{
		{"the body, as Rainforest signs", sign(body), "", true},
		{"in capitals", strings.ToUpper(sign(body)), "", true},
		{"with a timestamp", sign(stamp(0) + "." + body), stamp(0), true},
		{"just old enough", sign(stamp(-TimestampTolerance) + "." + body), stamp(-TimestampTolerance), true},
		{"a second too old", sign(stamp(-TimestampTolerance-time.Second) + "." + body), stamp(-TimestampTolerance - time.Second), false},
		{"from the future", sign(stamp(time.Hour) + "." + body), stamp(time.Hour), false},
		{"a timestamp that is not signed", sign(body), stamp(0), false},
		{"a timestamp that is none", sign("now." + body), "now", false},
		{"a timestamp from the end of time", sign("9223372036854775807." + body), "9223372036854775807", false},
		{"another body", sign(body + " "), "", false},
		{"cut", sign(body)[:62], "", false},
		{"longer", sign(body) + "00", "", false},
		{"not hex", strings.Repeat("zz", 32), "", false},
	} {
		t.Run(test.says, func(t *testing.T) {
			h := header(SignatureHeader, test.signature)
			if test.timestamp != "" {
				h.Set(TimestampHeader, test.timestamp)
			}
			c, err := a.Signature(h, []byte(body))
			if !test.ok {
				if patchbay.CodeOf(err) != patchbay.CodeUnauthorized || c != nil {
					t.Errorf("got %+v, %v", c, err)
				}
				return
			}
			if err != nil || c.ID() != "signature" || !c.May(Publish) || !c.May(Inline) || c.May(Read) {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
	if _, err := NewAuthenticator(AuthenticatorOptions{Keys: i.Keys}).Signature(header(SignatureHeader, sign(body)), []byte(body)); patchbay.CodeOf(err) != patchbay.CodeUnauthorized {
		t.Errorf("without a signing key: %v", err)
	}
	// The HMAC of the empty key is something that anybody can compute.
	empty := hmac.New(sha256.New, nil)
	empty.Write([]byte(body))
	if _, err := NewAuthenticator(AuthenticatorOptions{Keys: i.Keys}).Signature(header(SignatureHeader, hex.EncodeToString(empty.Sum(nil))), []byte(body)); err == nil {
		t.Error("without a signing key the empty one works")
	}
}

func TestSigned(t *testing.T) {
	plain := NewAuthenticator(AuthenticatorOptions{})
	development := NewAuthenticator(AuthenticatorOptions{Development: true})
	both := NewAuthenticator(AuthenticatorOptions{Development: true, SigningKey: signingKey})
	signature := header(SignatureHeader, "00")
	for _, test := range []struct {
		says string
		a    *Authenticator
		h    http.Header
		want bool
	}{
		{"a signature", plain, signature, true},
		{"none", plain, header(), false},
		{"an API key comes first", plain, header(SignatureHeader, "00", "Authorization", "Bearer x"), false},
		{"a proxy's credentials do not count", plain, header(SignatureHeader, "00", "Authorization", "Basic x"), true},
		{"nothing to check against in development", development, signature, false},
		{"checked in development when it can be", both, signature, true},
	} {
		if got := test.a.Signed(test.h); got != test.want {
			t.Errorf("%s: %v, want %v", test.says, got, test.want)
		}
	}
}

func BenchmarkSignature(b *testing.B) {
	a := NewAuthenticator(AuthenticatorOptions{SigningKey: signingKey})
	body := []byte(strings.Repeat("x", 1024))
	h := header(SignatureHeader, sign(string(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Signature(h, body); err != nil {
			b.Fatal(err)
		}
	}
}
