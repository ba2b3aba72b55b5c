package connect

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// oauth1Server is a partner that checks signatures, by its own reading of RFC 5849.
type oauth1Server struct {
	*httptest.Server
	t        *testing.T
	mu       sync.Mutex
	key      *rsa.PublicKey // nil: HMAC-SHA1 with secret
	secret   string
	verifier string
	answer   func(http.ResponseWriter)
	nonces   map[string]bool
}

// verify checks the signature of a request (RFC 5849 §3.4) and returns its protocol parameters.
func (p *oauth1Server) verify(r *http.Request, tokenSecret string) (map[string]string, error) {
	header, ok := strings.CutPrefix(r.Header.Get("Authorization"), "OAuth ")
	if !ok {
		return nil, errors.New("not OAuth")
	}
	params := map[string]string{}
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		text, err := url.PathUnescape(strings.Trim(value, `"`))
		if err != nil {
			return nil, err
		}
		params[name] = text
	}
	var pairs []string
	add := func(name, value string) { pairs = append(pairs, percent(name)+"="+percent(value)) }
	for name, value := range params {
		if name != "oauth_signature" && name != "realm" {
			add(name, value)
		}
	}
	for name, values := range r.URL.Query() {
		for _, v := range values {
			add(name, v)
		}
	}
	slices.Sort(pairs)
	base := r.Method + "&" + percent("http://"+r.Host+r.URL.Path) + "&" + percent(strings.Join(pairs, "&"))
	given, err := base64.StdEncoding.DecodeString(params["oauth_signature"])
	if err != nil {
		return nil, err
	}
	method := "HMAC-SHA1"
	if p.key != nil {
		method = "RSA-SHA1"
		sum := sha1.Sum([]byte(base))
		err = rsa.VerifyPKCS1v15(p.key, crypto.SHA1, sum[:], given)
	} else {
		mac := hmac.New(sha1.New, []byte(percent(p.secret)+"&"+percent(tokenSecret)))
		mac.Write([]byte(base))
		if !hmac.Equal(mac.Sum(nil), given) {
			err = errors.New("wrong signature")
		}
	}
	if err != nil || params["oauth_consumer_key"] != "consumer & co" || params["oauth_signature_method"] != method || p.nonces[params["oauth_nonce"]] {
		return nil, fmt.Errorf("%w: %v of %s", errors.Join(errors.New("refused"), err), params, base)
	}
	p.nonces[params["oauth_nonce"]] = true
	return params, nil
}

// percent is RFC 5849 §3.6.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func newOAuth1(t *testing.T, key *rsa.PublicKey) *oauth1Server {
	p := &oauth1Server{t: t, key: key, secret: "consumer-secret+/", verifier: "the-verifier", nonces: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /request", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		params, err := p.verify(r, "")
		if err != nil || params["oauth_callback"] != testPublic+"/auth/thing/callback" {
			http.Error(w, fmt.Sprint(err, params), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, url.Values{"oauth_token": {"temporary"}, "oauth_token_secret": {"temporary-secret"}, "oauth_callback_confirmed": {"true"}}.Encode())
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, testPublic+"/auth/thing/callback?"+url.Values{"oauth_token": r.URL.Query()["oauth_token"], "oauth_verifier": {p.verifier}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /access", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.answer != nil {
			p.answer(w)
			return
		}
		params, err := p.verify(r, "temporary-secret")
		if err != nil || params["oauth_token"] != "temporary" || params["oauth_verifier"] != "the-verifier" {
			http.Error(w, fmt.Sprint(err, params), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, url.Values{"oauth_token": {"access-token-1"}, "oauth_token_secret": {"access-token-secret"}}.Encode())
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func oauth1Thing(base string, change func(*integration.OAuth1)) *thing {
	return &thing{key: "thing", how: func() (*integration.Connect, error) {
		o := &integration.OAuth1{ConsumerKey: "consumer & co", ConsumerSecret: "consumer-secret+/", RequestURL: base + "/request?a=b%20c",
			AuthorizeURL: base + "/authorize", AccessURL: base + "/access"}
		if change != nil {
			change(o)
		}
		return &integration.Connect{OAuth1: o}, nil
	}, identify: func(_ context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
		if g.Credentials.Access != "access-token-1" || g.Credentials.TokenSecret != "access-token-secret" {
			return nil, integration.Expired("what token is this?")
		}
		return &integration.Identity{Account: patchbay.Account{ID: "7", Name: "Ann"}}, integration.Delivered()
	}}
}

func TestOAuth1(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		public *rsa.PublicKey
		change func(*integration.OAuth1)
	}{
		"HMAC-SHA1": {nil, nil},
		"RSA-SHA1 with PKCS #1": {&key.PublicKey, func(o *integration.OAuth1) {
			o.PrivateKey = patchbay.Secret(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
		}},
		"RSA-SHA1 with PKCS #8": {&key.PublicKey, func(o *integration.OAuth1) {
			o.PrivateKey = patchbay.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newOAuth1(t, tc.public)
			r := newRig(t, oauth1Thing(p.URL, tc.change))
			f := r.connect(ann(), Start{Integration: "thing", Return: "/back"})
			if f.Connection.Account.ID != "7" || f.Connection.ExpiresAt != nil || f.Return != "/back" {
				t.Errorf("%+v", f.Connection)
			}
			con, err := r.Use(t.Context(), f.Connection.ID, "acme")
			if err != nil || con.Credentials.TokenSecret != "access-token-secret" || con.Credentials.Type != "OAuth" {
				t.Error(err)
			}
		})
	}
	t.Run("a key that is none", func(t *testing.T) {
		p := newOAuth1(t, nil)
		r := newRig(t, oauth1Thing(p.URL, func(o *integration.OAuth1) { o.PrivateKey = "nonsense" }))
		_, err := r.Begin(t.Context(), ann(), Start{Integration: "thing"})
		refused(t, err, patchbay.CodeMisconfiguredIntegration, "RSA key in PEM")
	})
}

// The same attacks as with OAuth 2; and what the partner may answer.
func TestOAuth1Refusals(t *testing.T) {
	p := newOAuth1(t, nil)
	r := newRig(t, oauth1Thing(p.URL, nil))
	for name, try := range map[string]func(*Callback){
		"no cookie":       func(in *Callback) { in.Cookie = "" },
		"another browser": func(in *Callback) { in.Cookie = random() },
		"another token":   func(in *Callback) { in.Query.Set("oauth_token", "other") },
		"two tokens":      func(in *Callback) { in.Query.Add("oauth_token", "temporary") },
	} {
		to, q := r.begin(ann(), Start{Integration: "thing"})
		in := Callback{Integration: "thing", Query: q, Cookie: to.Cookie}
		try(&in)
		if _, err := r.Finish(t.Context(), ann(), in); !errors.Is(err, errStale) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tc := range []struct {
		verifier string
		answer   func(http.ResponseWriter)
		code     patchbay.Code
		says     string
	}{
		{"denied", nil, patchbay.CodeUserConfigurationError, "access was not granted"},
		{"", nil, patchbay.CodeUserConfigurationError, "without saying that access was granted"},
		{"wrong", nil, patchbay.CodeMisconfiguredIntegration, "consumer key and signature (status 401)"},
		{"the-verifier", func(w http.ResponseWriter) { http.Error(w, "temporary-secret", http.StatusServiceUnavailable) }, patchbay.CodeServiceError, "status 503"},
		{"the-verifier", func(w http.ResponseWriter) { fmt.Fprint(w, "oauth_token=access-token-1") }, patchbay.CodeServiceError, "no OAuth 1.0a token"},
		{"the-verifier", func(w http.ResponseWriter) {
			http.Redirect(w, httptest.NewRequest("GET", "/", nil), "/elsewhere", http.StatusFound)
		}, patchbay.CodeServiceError, "status 302"},
		{"the-verifier", func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat("x", maxAnswer+1)) }, patchbay.CodeServiceError, "too long"},
	} {
		p.mu.Lock()
		p.verifier, p.answer = tc.verifier, tc.answer
		p.mu.Unlock()
		to, q := r.begin(ann(), Start{Integration: "thing"})
		_, err := r.Finish(t.Context(), ann(), Callback{Integration: "thing", Query: q, Cookie: to.Cookie})
		refused(t, err, tc.code, tc.says)
		if strings.Contains(err.Error(), "temporary") || strings.Contains(err.Error(), "consumer-secret") {
			t.Errorf("a secret is in %q", err)
		}
	}
	if _, err := r.Begin(t.Context(), ann(), Start{Integration: "thing"}); err != nil {
		t.Error(err)
	}
	p.Close()
	_, err := r.Begin(t.Context(), ann(), Start{Integration: "thing"})
	refused(t, err, patchbay.CodeServiceError, "could not be reached")
}
