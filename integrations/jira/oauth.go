package jira

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // RSA-SHA1 is what Jira's OAuth 1.0a asks for
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// signer signs requests with OAuth 1.0a (RFC 5849) and RSA-SHA1. The secret of the access token takes no part in that
// method.
type signer struct {
	consumer, token string
	key             *rsa.PrivateKey
	now             func() time.Time
}

// newSigner takes the consumer from the call, or else from the operator's settings.
func newSigner(consumer *integration.OAuthConsumer, env *integration.Env, s OAuthSettings) (*signer, *integration.Result) {
	refuse := func(format string, args ...any) (*signer, *integration.Result) {
		r := integration.Misconfigured(format, args...)
		return nil, &r
	}
	name, secret := "oauth_consumer", "oauth_consumer.secrets."+s.SignatureMethod
	if consumer == nil {
		c, err := readConfig(env.Config)
		if err != nil {
			return refuse("%v", err)
		}
		if c.ConsumerKey == "" && c.PrivateKey == "" {
			return refuse("oauth_settings needs a consumer to sign with: the call has no oauth_consumer, and the operator has set no integrations.jira.consumer_key and private_key")
		}
		name, secret = "integrations.jira", "integrations.jira.private_key"
		consumer = &integration.OAuthConsumer{Key: c.ConsumerKey, Secrets: map[string]integration.Secret{s.SignatureMethod: c.PrivateKey}}
	}
	text := consumer.Secrets[s.SignatureMethod]
	switch {
	case consumer.Key == "" && name == "oauth_consumer":
		return refuse("oauth_consumer.key is missing")
	case consumer.Key == "":
		return refuse("integrations.jira.consumer_key is missing")
	case text == "":
		return refuse("%s is missing: it is the RSA private key of the application link, in PEM", secret)
	}
	key, err := parseKey(text)
	if err != nil {
		return refuse("%s %v", secret, err)
	}
	return &signer{consumer: consumer.Key, token: s.AccessToken.Reveal(), key: key, now: env.Now}, nil
}

// maxKey bounds a private key in PEM; 16384 bits take 13 KB. What is larger would keep a processor busy for long.
const maxKey = 16 << 10

// parseKey reads an RSA private key in PEM, PKCS #1 or PKCS #8. Its errors hold nothing of the text.
func parseKey(text integration.Secret) (*rsa.PrivateKey, error) {
	if len(text) > maxKey {
		return nil, errors.New("is too long for an RSA private key")
	}
	// Line ends that went through JSON twice or through a form come as the two characters "\n".
	block, _ := pem.Decode([]byte(strings.TrimSpace(strings.ReplaceAll(text.Reveal(), `\n`, "\n"))))
	if block == nil {
		return nil, errors.New("is not PEM: it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----")
	}
	if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, errors.New("is protected by a passphrase: store it without one")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any8, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is no private key that can be read: it must be RSA, in PKCS #1 or PKCS #8")
	}
	key, ok := any8.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("is a private key, but not an RSA one")
	}
	return key, nil
}

// authorization returns the value of the Authorization header for one request.
func (s *signer) authorization(method, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("the address cannot be read")
	}
	params := append(make([][2]string, 0, 7), [][2]string{
		{"oauth_consumer_key", s.consumer},
		{"oauth_nonce", rand.Text()},
		{"oauth_signature_method", methodRSASHA1},
		{"oauth_timestamp", strconv.FormatInt(s.now().Unix(), 10)},
		{"oauth_token", s.token},
		{"oauth_version", "1.0"},
	}...)
	digest := sha1.Sum([]byte(baseString(method, u, params)))
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA1, digest[:])
	if err != nil {
		return "", errors.New("the private key cannot sign: it must have at least 1024 bits")
	}
	params = append(params, [2]string{"oauth_signature", base64.StdEncoding.EncodeToString(signature)})
	var b strings.Builder
	b.WriteString("OAuth ")
	for i, p := range params {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p[0] + `="` + escape(p[1]) + `"`)
	}
	return b.String(), nil
}

// baseString is what is signed: the method, the address without its query, and all parameters of header and query in
// order. A JSON body has no part in it.
func baseString(method string, u *url.URL, header [][2]string) string {
	pairs := make([]string, 0, len(header)+4)
	for _, p := range header {
		pairs = append(pairs, escape(p[0])+"="+escape(p[1]))
	}
	for name, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port := u.Port(); scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return strings.ToUpper(method) + "&" + escape(scheme+"://"+host+path) + "&" + escape(strings.Join(pairs, "&"))
}

// escape percent-encodes everything but RFC 3986's unreserved characters.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
