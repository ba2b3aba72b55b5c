package connect

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/dghubble/oauth1"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// beginOAuth1 gets temporary credentials and makes the address of the partner's consent (RFC 5849 §2.1, §2.2).
func (s *Service) beginOAuth1(ctx context.Context, p *partner, f *flow) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	wire := &oauth1Wire{ctx: ctx}
	config, err := s.oauth1Config(p, f, wire)
	if err != nil {
		return "", err
	}
	f.Token, f.Secret, err = config.RequestToken()
	if err != nil {
		return "", wire.explain(p, err)
	}
	u, err := config.AuthorizationURL(f.Token)
	if err != nil || u.Host == "" {
		return "", patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
			"the address of %s's consent must be a whole http or https URL", p.title)
	}
	return u.String(), nil
}

// finishOAuth1 gets the token that a person has authorized (RFC 5849 §2.3).
func (s *Service) finishOAuth1(ctx context.Context, p *partner, f *flow, q url.Values) (*granted, error) {
	verifier := q["oauth_verifier"]
	if len(verifier) != 1 || verifier[0] == "" || subtle.ConstantTimeCompare([]byte(q.Get("oauth_token")), []byte(f.Token)) != 1 {
		return nil, patchbay.Errorf(patchbay.CodeUserConfigurationError,
			"%s sent the browser back without saying that access was granted; nothing was connected", p.title)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	wire := &oauth1Wire{ctx: ctx, secrets: []string{f.Token, f.Secret, verifier[0]}}
	config, err := s.oauth1Config(p, f, wire)
	if err != nil {
		return nil, err
	}
	token, secret, err := config.AccessToken(f.Token, f.Secret, verifier[0])
	if err != nil {
		return nil, wire.explain(p, err)
	}
	return &granted{secrets: wire.secrets, credentials: patchbay.Credentials{
		Access: patchbay.Secret(token), TokenSecret: patchbay.Secret(secret), Type: "OAuth",
	}}, nil
}

func (s *Service) oauth1Config(p *partner, f *flow, wire *oauth1Wire) (*oauth1.Config, error) {
	o := p.how.OAuth1
	for _, address := range []string{o.RequestURL, o.AuthorizeURL, o.AccessURL} {
		if integration.CheckURL(address) != nil {
			return nil, patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
				"the addresses of %s's consent and tokens must be whole http or https URLs", p.title)
		}
	}
	env, attempt := s.env(p, wire.secrets)
	wire.http, wire.redact = env.HTTP, attempt.Redact
	config := &oauth1.Config{
		ConsumerKey: o.ConsumerKey, CallbackURL: f.Redirect, Signer: &oauth1.HMACSigner{ConsumerSecret: o.ConsumerSecret.Reveal()},
		Endpoint: oauth1.Endpoint{RequestTokenURL: o.RequestURL, AuthorizeURL: o.AuthorizeURL, AccessTokenURL: o.AccessURL},
		HTTPClient: &http.Client{Transport: wire, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}
	if o.PrivateKey != "" {
		key, err := privateKey(o.PrivateKey)
		if err != nil {
			return nil, patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
				"the private key for %s cannot be read: it must be an RSA key in PEM", p.title)
		}
		config.Signer = &oauth1.RSASigner{PrivateKey: key}
	}
	return config, nil
}

// privateKey reads an RSA key in PEM, as PKCS #1 or PKCS #8.
func privateKey(text patchbay.Secret) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text.Reveal()))
	if block == nil {
		return nil, errors.New("not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if key, ok := key.(*rsa.PrivateKey); ok {
		return key, nil
	}
	return nil, errors.New("not an RSA key")
}

// oauth1Wire lets the OAuth 1.0a library, which knows how to sign, send through the guarded client. It belongs to one
// exchange.
type oauth1Wire struct {
	ctx     context.Context
	http    integration.HTTP
	redact  func(string) string
	secrets []string
	// status is what the partner answered, 0 before, failed why it did not.
	status int
	failed error
}

// RoundTrip sends a request without a body, which is all that there are.
func (w *oauth1Wire) RoundTrip(r *http.Request) (*http.Response, error) {
	req := &integration.Request{Method: r.Method, URL: r.URL.String(), Limit: maxAnswer, Secret: w.secrets}
	for name, values := range r.Header {
		for _, v := range values {
			req.Header.Add(name, v)
		}
	}
	resp, err := w.http.Do(w.ctx, req)
	if err != nil {
		w.failed = err
		return nil, err
	}
	w.status = resp.Status
	if resp.Truncated {
		w.failed = errors.New("the answer is too long")
		return nil, w.failed
	}
	out := &http.Response{StatusCode: resp.Status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(resp.Body)), Request: r}
	for i := range resp.Header {
		out.Header.Add(resp.Header[i].Name, resp.Header[i].Value)
	}
	return out, nil
}

// explain says why an exchange failed. The library's own errors repeat whole answers, so they are not used.
func (w *oauth1Wire) explain(p *partner, err error) error {
	switch {
	case w.failed != nil:
		result := integration.Unreachable(p.title, w.failed)
		return patchbay.Errorf(result.Type, "nothing was connected: %s", sentence(w.redact(result.Error)))
	case w.status == 400 || w.status == 401 || w.status == 403: // RFC 5849 §3.2
		return patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
			"%s does not take the application's consumer key and signature (status %d); the operator must check its registration there", p.title, w.status)
	case w.status == 0:
		return patchbay.Internal("signing a request", err)
	case w.status < 200 || w.status > 299:
		return patchbay.Errorf(patchbay.CodeServiceError,
			"%s answered with status %d; nothing was connected", p.title, w.status)
	}
	return patchbay.Errorf(patchbay.CodeServiceError,
		"%s answered with something that is no OAuth 1.0a token; nothing was connected", p.title)
}
