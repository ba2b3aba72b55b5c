package jira

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dghubble/oauth1"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

const oauthSettings = `"oauth_settings": {"signature_method": "RSA-SHA1", "access_token": "access/token+1", "access_secret": "not part of it"}`

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pkcs1(key *rsa.PrivateKey) integration.Secret {
	return integration.Secret(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func pkcs8(t *testing.T, key any) integration.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return integration.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// verify checks a request as a server does that has only the public key: it is written from RFC 5849, section 3.4.1,
// and shares nothing with the code that signs. It returns the parameters of the header.
func verify(r *http.Request, key *rsa.PublicKey) (map[string]string, error) {
	header, ok := strings.CutPrefix(r.Header.Get("Authorization"), "OAuth ")
	if !ok {
		return nil, fmt.Errorf("not signed: %q", r.Header.Get("Authorization"))
	}
	oauth, all := map[string]string{}, url.Values{}
	for _, part := range strings.Split(header, ",") {
		name, quoted, _ := strings.Cut(strings.TrimSpace(part), "=")
		value, err := url.PathUnescape(strings.Trim(quoted, `"`))
		if err != nil || !strings.HasPrefix(name, "oauth_") || oauth[name] != "" {
			return nil, fmt.Errorf("the parameter %s", part)
		}
		if oauth[name] = value; name != "oauth_signature" {
			all.Set(name, value)
		}
	}
	for name, values := range r.URL.Query() {
		all[name] = values
	}
	percent := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	var pairs []string
	for name, values := range all {
		for _, v := range values {
			pairs = append(pairs, percent(name)+"="+percent(v))
		}
	}
	sort.Strings(pairs)
	base := r.Method + "&" + percent("http://"+r.Host+r.URL.EscapedPath()) + "&" + percent(strings.Join(pairs, "&"))
	signature, err := base64.StdEncoding.DecodeString(oauth["oauth_signature"])
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(base))
	return oauth, rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
}

func TestSignature(t *testing.T) {
	s := newServer(t)
	d := delivery(t, s, oauthSettings, failure())
	nonces := map[string]bool{}
	for _, secret := range []integration.Secret{
		pkcs1(rsaKey()), pkcs8(t, rsaKey()), "\n  " + pkcs1(rsaKey()),
		integration.Secret(strings.ReplaceAll(pkcs1(rsaKey()).Reveal(), "\n", `\n`)),
	} {
		d.Consumer = &integration.OAuthConsumer{Key: "Rainforest & co", Secrets: map[string]integration.Secret{"RSA-SHA1": secret}}
		d.Reference = "ABC-1" // so that one request has a query, which is signed too
		s.hidden = !s.hidden
		send(t, d)
		oauth, err := verify(s.last, &rsaKey().PublicKey)
		if err != nil {
			t.Fatalf("%s: %v", s.last.URL, err)
		}
		if oauth["oauth_consumer_key"] != "Rainforest & co" || oauth["oauth_token"] != "access/token+1" ||
			oauth["oauth_signature_method"] != "RSA-SHA1" || oauth["oauth_version"] != "1.0" || nonces[oauth["oauth_nonce"]] {
			t.Errorf("got %v", oauth)
		}
		nonces[oauth["oauth_nonce"]] = true
		if at, _ := strconv.ParseInt(oauth["oauth_timestamp"], 10, 64); time.Since(time.Unix(at, 0)).Abs() > time.Minute {
			t.Errorf("signed at %d", at)
		}
		s.last.Method = "DELETE"
		if _, err := verify(s.last, &rsaKey().PublicKey); err == nil {
			t.Error("the check accepts a request that was changed")
		}
	}
}

// TestVerifierAcceptsAnotherSigner proves the check of TestSignature itself, with a signer that is not ours.
func TestVerifierAcceptsAnotherSigner(t *testing.T) {
	s := newServer(t)
	config := &oauth1.Config{ConsumerKey: "Rainforest & co", Signer: &oauth1.RSASigner{PrivateKey: rsaKey()}}
	resp, err := config.Client(context.Background(), oauth1.NewToken("access/token+1", "s")).Get(s.URL + "/rest/api/2/issue/A%2FB?fields=status,labels&a=b%20c")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := verify(s.last, &rsaKey().PublicKey); err != nil {
		t.Error(err)
	}
}

func TestTheOperatorsConsumerSigns(t *testing.T) {
	s := newServer(t)
	d := delivery(t, s, oauthSettings, failure())
	config, err := json.Marshal(map[string]string{"consumer_key": "operator", "private_key": pkcs8(t, rsaKey()).Reveal()})
	if err != nil {
		t.Fatal(err)
	}
	if d.Env.Config, err = New().Definition().Config.Check(config, integration.CheckOptions{}); err != nil {
		t.Fatal(err)
	}
	send(t, d)
	if oauth, err := verify(s.last, &rsaKey().PublicKey); err != nil || oauth["oauth_consumer_key"] != "operator" {
		t.Errorf("%v, %v", oauth, err)
	}
	// A call's own consumer comes first.
	d.Consumer = &integration.OAuthConsumer{Key: "call", Secrets: map[string]integration.Secret{"RSA-SHA1": pkcs1(rsaKey())}}
	send(t, d)
	if oauth, err := verify(s.last, &rsaKey().PublicKey); err != nil || oauth["oauth_consumer_key"] != "call" {
		t.Errorf("%v, %v", oauth, err)
	}
}

func TestWithoutAUsableConsumerNothingIsSent(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	consumer := func(key string, secret integration.Secret) *integration.OAuthConsumer {
		return &integration.OAuthConsumer{Key: key, Secrets: map[string]integration.Secret{"RSA-SHA1": secret}}
	}
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	for name, c := range map[string]struct {
		consumer *integration.OAuthConsumer
		config   string
		says     string
	}{
		"none":                    {nil, ``, "oauth_consumer"},
		"an empty config":         {nil, `{}`, "oauth_consumer"},
		"no key":                  {consumer("", pkcs1(rsaKey())), ``, "oauth_consumer.key"},
		"another method's secret": {&integration.OAuthConsumer{Key: "k", Secrets: map[string]integration.Secret{"HMAC-SHA1": "s"}}, ``, "oauth_consumer.secrets.RSA-SHA1"},
		"no PEM":                  {consumer("k", "hush-hush"), ``, "oauth_consumer.secrets.RSA-SHA1"},
		"not a key":               {consumer("k", "-----BEGIN PRIVATE KEY-----\naHVzaC1odXNo\n-----END PRIVATE KEY-----"), ``, "PKCS"},
		"no RSA key":              {consumer("k", pkcs8(t, ec)), ``, "RSA"},
		"a passphrase":            {consumer("k", integration.Secret(locked)), ``, "passphrase"},
		"no key in the config":    {nil, `{"consumer_key": "k"}`, "integrations.jira.private_key"},
		"no consumer_key":         {nil, `{"private_key": "k"}`, "integrations.jira.consumer_key"},
	} {
		s := newServer(t)
		d := delivery(t, s, oauthSettings, failure())
		d.Consumer, d.Env.Config = c.consumer, json.RawMessage(c.config)
		r := New().Send(context.Background(), d)
		if r.Type != patchbay.CodeMisconfiguredIntegration || !strings.Contains(r.Error, c.says) || strings.Contains(r.Error, "hush") {
			t.Errorf("%s: got %+v", name, r)
		}
		if len(s.calls) > 0 {
			t.Errorf("%s: called %v", name, s.calls)
		}
	}
}

func FuzzPrivateKey(f *testing.F) {
	f.Add(pkcs1(rsaKey()).Reveal())
	f.Add("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----")
	f.Add("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n-----END RSA PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := parseKey(integration.Secret(text)); (key == nil) == (err == nil) {
			t.Fatalf("got %v and %v", key, err)
		}
	})
}
