package webhook

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// The limits of headers of one's own.
const (
	maxHeaders     = 32
	maxHeaderValue = 4 << 10
)

// Settings are a link's settings, and what is made of them once.
type Settings struct {
	URL     integration.Secret            `json:"url"` // may hold user information
	Method  string                        `json:"method"`
	Format  string                        `json:"format"`
	Secret  integration.Secret            `json:"secret"`
	Headers map[string]integration.Secret `json:"headers"`
	Basic   *Basic                        `json:"basic"`
	Bearer  integration.Secret            `json:"bearer"`

	address      *address
	host, target string
	fixed        integration.Header // headers of one's own and credentials
	hidden       []string           // the values of the former
	signer       signer             // nil without a secret
	before       atomic.Pointer[oldSigner]
}

// Basic is a user name and a password.
type Basic struct {
	Username string             `json:"username"`
	Password integration.Secret `json:"password"`
}

// String and GoString keep secrets, and the keys made of them, from being printed.
func (s *Settings) String() string { return "webhook settings for " + s.host }

// GoString does what String does for %#v.
func (s *Settings) GoString() string { return s.String() }

// oldSigner is the signer of a secret that is being rotated out.
type oldSigner struct {
	secret integration.Secret
	signer signer
}

func spec() integration.Spec {
	return integration.Spec{
		{
			Key: "url", Title: "Address", Type: integration.TypeURL, Required: true, Target: true,
			Example: "https://example.com/hooks/${payload.repo.name}", Mask: integration.MaskUserinfo, Check: checkAddress,
			Help: "Where the requests go. ${payload.…} and other placeholders in its path and query take values from the event.",
		},
		{
			Key: "method", Title: "Method", Type: integration.TypeSelect, Default: "POST",
			Options: []integration.Option{{Value: "POST", Title: "POST"}, {Value: "PUT", Title: "PUT"}, {Value: "PATCH", Title: "PATCH"}},
			Help:    "The HTTP method of the requests.",
		},
		{
			Key: "format", Title: "Format", Type: integration.TypeSelect, Default: formatEnvelope,
			Options: []integration.Option{
				{Value: formatEnvelope, Title: "Envelope: id, event, payload, scope, occurred_at"},
				{Value: formatFlat, Title: "Flat: event beside the payload's own keys"},
				{Value: formatStandard, Title: "Standard: type, timestamp, data"},
				{Value: formatPayload, Title: "Payload: the payload alone"},
				{Value: formatCloudEvents, Title: "CloudEvents 1.0, structured"},
			},
			Help: "What the body looks like. In each of them the payload's own bytes arrive as they were published.",
		},
		{
			Key: "secret", Title: "Signing secret", Type: integration.TypeString, Secret: true, Signing: true,
			Check: checkText(checkSecret), Generate: generateSecret, Successor: succeedSecret,
			Help: "Signs every request: whsec_ and base64 of 24 to 64 bytes, or whsk_ and base64 of an ed25519 private key. One is made for you if you leave it out.",
		},
		{
			Key: "headers", Title: "Headers", Type: integration.TypeMap, Secret: true, Check: checkHeaders,
			Help: "Further headers of the requests. Host, Content-*, webhook-* and those that concern the connection are made by the client.",
		},
		{
			Key: "basic", Title: "User name and password", Type: integration.TypeObject,
			Help: "Sent as HTTP Basic authentication.",
			Fields: integration.Spec{
				{Key: "username", Title: "User name", Type: integration.TypeString, Required: true, Check: checkText(checkUsername), Help: "It cannot hold a colon."},
				{Key: "password", Title: "Password", Type: integration.TypeString, Secret: true, Help: "May be empty, as some services want it with a token for user name."},
			},
		},
		{
			Key: "bearer", Title: "Bearer token", Type: integration.TypeString, Secret: true, Check: checkText(checkBearer),
			Help: "Sent as Authorization: Bearer.",
		},
	}
}

// Validate makes what Send needs of settings that the Spec has accepted, and refuses two ways of authorizing.
func (s *Settings) Validate() error {
	raw := s.URL.Reveal()
	a, err := parseAddress(raw)
	if err != nil {
		return patchbay.Invalid("settings.url", "%v", err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return patchbay.Invalid("settings.url", "is not a URL that can be read")
	}
	s.address, s.host = a, u.Host
	s.target = withoutUserinfo(strings.SplitN(raw, "?", 2)[0])
	if s.Secret != "" {
		if s.signer, err = newSigner(s.Secret.Reveal()); err != nil {
			return patchbay.Invalid("settings.secret", "%v", err)
		}
	}
	var ways []string
	if u.User != nil {
		ways = append(ways, "user information in url")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		value := s.Headers[name].Reveal()
		s.fixed = append(s.fixed, integration.HeaderField{Name: name, Value: value})
		s.hidden = append(s.hidden, value)
		if strings.EqualFold(name, "Authorization") {
			ways = append(ways, "an Authorization header")
		}
	}
	if s.Basic != nil {
		ways = append(ways, "basic")
		credentials := base64.StdEncoding.EncodeToString([]byte(s.Basic.Username + ":" + s.Basic.Password.Reveal()))
		s.fixed = append(s.fixed, integration.HeaderField{Name: "Authorization", Value: "Basic " + credentials})
	}
	if s.Bearer != "" {
		ways = append(ways, "bearer")
		s.fixed = append(s.fixed, integration.HeaderField{Name: "Authorization", Value: "Bearer " + s.Bearer.Reveal()})
	}
	if len(ways) > 1 {
		return patchbay.Invalid("settings", "%s cannot be used together: a request has one Authorization header", strings.Join(ways, " and "))
	}
	return nil
}

// previous returns the signer of a secret that is being rotated out, nil when it is not one.
func (s *Settings) previous(secret integration.Secret) signer {
	if o := s.before.Load(); o != nil && o.secret == secret {
		return o.signer
	}
	o := &oldSigner{secret: secret}
	if made, err := newSigner(secret.Reveal()); err == nil {
		o.signer = made
	}
	s.before.Store(o)
	return o.signer
}

// withoutUserinfo takes what stands before the @ out of an address.
func withoutUserinfo(s string) string {
	scheme, rest, _ := strings.Cut(s, "//")
	authority, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	if slash {
		path = "/" + path
	}
	return scheme + "//" + authority + path
}

func checkText(check func(string) error) func(any) error {
	return func(v any) error { return check(v.(string)) }
}

func checkAddress(v any) error {
	_, err := parseAddress(v.(string))
	return err
}

func checkUsername(s string) error {
	if strings.Contains(s, ":") {
		return errors.New("must not hold a colon")
	}
	return nil
}

// checkBearer keeps whoever pastes "Bearer abc" from sending it twice.
func checkBearer(s string) error {
	if strings.ContainsAny(s, " \t") || strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) {
		return errors.New("must be the token alone, in ASCII and without spaces")
	}
	return nil
}

// generateSecret makes an HMAC secret of 32 random bytes.
func generateSecret() (string, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return "", fmt.Errorf("making a signing secret: %w", err)
	}
	return prefixHMAC + base64.StdEncoding.EncodeToString(key[:]), nil
}

// succeedSecret makes a secret of the kind of the one that it replaces: a receiver that has a public key cannot check
// an HMAC.
func succeedSecret(old string) (string, error) {
	if !strings.HasPrefix(old, prefixEd25519) {
		return generateSecret()
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", fmt.Errorf("making a signing key: %w", err)
	}
	return prefixEd25519 + base64.StdEncoding.EncodeToString(private), nil
}

// checkHeaders refuses headers that are made by the client or by this integration, and what cannot be a header.
func checkHeaders(v any) error {
	headers := v.(map[string]string)
	if len(headers) > maxHeaders {
		return fmt.Errorf("may hold at most %d headers", maxHeaders)
	}
	seen := make(map[string]bool, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		lower := strings.ToLower(name)
		switch {
		case !isToken(name):
			return fmt.Errorf("%.64q cannot be the name of a header", name)
		case seen[lower]:
			return fmt.Errorf("%s is there twice", name)
		case isReserved(lower):
			return fmt.Errorf("%s cannot be set: the request makes its own Host, Content-*, webhook-* and connection headers", name)
		case len(headers[name]) > maxHeaderValue:
			return fmt.Errorf("the value of %s is longer than %d bytes", name, maxHeaderValue)
		case strings.ContainsFunc(headers[name], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return fmt.Errorf("the value of %s holds a line break or another control character", name)
		}
		seen[lower] = true
	}
	return nil
}

func isReserved(lower string) bool {
	switch lower {
	case "host", "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
		"trailer", "transfer-encoding", "upgrade", "expect", "http2-settings":
		return true
	}
	return strings.HasPrefix(lower, "content-") || strings.HasPrefix(lower, "webhook-")
}

func isToken(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune(others, r))
	})
}
