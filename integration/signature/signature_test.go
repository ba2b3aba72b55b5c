package signature_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/signature"
)

const address = "https://patchbay.example/integrations/x/hook?a=1"

var (
	now  = time.Unix(1_700_000_000, 0)
	body = []byte(`{"hello":"wörld","{timestamp}":1}` + "\x00\xff")
)

func named(t testing.TB, name string) signature.Scheme {
	t.Helper()
	s, ok := signature.Named(name)
	if !ok {
		t.Fatalf("there is no scheme %q", name)
	}
	return s
}

func secrets(all ...string) []patchbay.Secret {
	out := make([]patchbay.Secret, len(all))
	for i, s := range all {
		out[i] = patchbay.Secret(s)
	}
	return out
}

// pair returns a secret for signing and the one for verifying.
func pair(s signature.Scheme, seed byte) (private, public patchbay.Secret) {
	raw := []byte(strings.Repeat(string(rune('a'+seed)), 32))
	encode := func(prefix string, b []byte) patchbay.Secret {
		switch s.SecretEncoding {
		case signature.Base64:
			return patchbay.Secret(prefix + base64.StdEncoding.EncodeToString(b))
		case signature.Hex:
			return patchbay.Secret(prefix + hex.EncodeToString(b))
		}
		return patchbay.Secret(prefix + string(b))
	}
	if s.Algorithm == signature.Ed25519 {
		key := ed25519.NewKeyFromSeed(raw)
		return encode(s.PrivatePrefix, key), encode(s.SecretPrefix, key.Public().(ed25519.PublicKey))
	}
	secret := encode(s.SecretPrefix, raw)
	return secret, secret
}

func sign(t testing.TB, s signature.Scheme, private patchbay.Secret, at time.Time) http.Header {
	t.Helper()
	h := http.Header{}
	if s.IDHeader != "" {
		h.Set(s.IDHeader, "msg_1")
	}
	if err := s.Sign(h, address, http.MethodPost, body, private, at); err != nil {
		t.Fatal(err)
	}
	return h
}

// What partners' own pages give as examples.
func TestDocumentedExamples(t *testing.T) {
	for _, x := range []struct {
		name, secret, body string
		header             map[string]string
		at                 int64
	}{
		{ // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
			name: "github", secret: "It's a Secret to Everybody", body: "Hello, World!",
			header: map[string]string{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
		},
		{ // https://docs.slack.dev/authentication/verifying-requests-from-slack
			name: "slack", secret: "8f742231b10e8888abcd99yyyzzz85a5", at: 1531420618,
			body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
				"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com" +
				"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
			header: map[string]string{
				"X-Slack-Request-Timestamp": "1531420618",
				"X-Slack-Signature":         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
			},
		},
		{ // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
			name: "standard-webhooks", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", at: 1614265330, body: `{"test": 2432232314}`,
			header: map[string]string{
				"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
				"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := http.Header{}
			for k, v := range x.header {
				h.Set(k, v)
			}
			at := time.Unix(x.at, 0)
			s := named(t, x.name)
			if err := s.Verify(h, address, "POST", []byte(x.body), secrets("another", x.secret), at); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(h, address, "POST", []byte(x.body+" "), secrets(x.secret), at); !errors.Is(err, signature.ErrForged) {
				t.Fatalf("another body: %v", err)
			}
		})
	}
}

// The reference library believes what we sign, and we believe what it signs.
func TestStandardWebhooksLibrary(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	reference, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []signature.Scheme{signature.StandardWebhooks(), named(t, "gitlab-signed")} {
		at := time.Now()
		h := sign(t, s, secret, at)
		if err := reference.Verify(body, h); err != nil {
			t.Errorf("what we signed: %v", err)
		}
		theirs, err := reference.Sign("msg_1", at, body)
		if err != nil {
			t.Fatal(err)
		}
		h = http.Header{}
		h.Set("webhook-id", "msg_1")
		h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		h.Set("webhook-signature", "v1a,AAAA v1,AAAA "+theirs)
		if err := s.Verify(h, "", "POST", body, secrets(secret), at); err != nil {
			t.Errorf("what they signed: %v", err)
		}
	}
}

func TestEveryScheme(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range signature.Table() {
		t.Run(s.Name, func(t *testing.T) {
			if seen[s.Name] || s.Name == "" || s.Title == "" || s.Header == "" {
				t.Fatalf("a scheme needs a name of its own, a title and a header: %+v", s)
			}
			seen[s.Name] = true
			private, public := pair(s, 0)
			_, other := pair(s, 1)
			h := sign(t, s, private, now)
			verify := func(h http.Header, url string, body []byte, at time.Time, all ...patchbay.Secret) error {
				return s.Verify(h, url, "POST", body, all, at)
			}
			if err := verify(h, address, body, now, public); err != nil {
				t.Fatalf("signed, and refused: %v", err)
			}
			if err := verify(h, address, body, now, other, public); err != nil {
				t.Errorf("the second secret of a rotation: %v", err)
			}
			if err := verify(h, address, body, now, other); !errors.Is(err, signature.ErrForged) {
				t.Errorf("another secret: %v", err)
			}
			for _, none := range [][]patchbay.Secret{nil, {""}, {patchbay.Secret(s.SecretPrefix)}} {
				if err := verify(h, address, body, now, none...); !errors.Is(err, signature.ErrSecret) {
					t.Errorf("the secrets %q: %v", none, err)
				}
			}
			if err := verify(http.Header{}, address, body, now, public); !errors.Is(err, signature.ErrMissing) {
				t.Errorf("no header: %v", err)
			}
			signsBody := s.Algorithm != signature.Token && s.Algorithm != signature.Basic && s.Algorithm != signature.JWT
			if err := verify(h, address, append([]byte(" "), body...), now, public); signsBody != errors.Is(err, signature.ErrForged) {
				t.Errorf("another body: %v", err)
			}
			if strings.Contains(s.Content, "{url}") {
				if err := verify(h, address+"&b=2", body, now, public); !errors.Is(err, signature.ErrForged) {
					t.Errorf("another address: %v", err)
				}
			}
			checkWindow(t, s, h, private, public)
			checkHeaders(t, s, h, public)
		})
	}
}

func checkWindow(t *testing.T, s signature.Scheme, h http.Header, private, public patchbay.Secret) {
	t.Helper()
	if s.Window == 0 {
		return
	}
	for _, off := range []time.Duration{-s.Window, s.Window} {
		if err := s.Verify(h, address, "POST", body, []patchbay.Secret{public}, now.Add(off)); err != nil {
			t.Errorf("%s away: %v", off, err)
		}
		further := off + off/time.Duration(300)
		if err := s.Verify(h, address, "POST", body, []patchbay.Secret{public}, now.Add(further)); !errors.Is(err, signature.ErrWindow) {
			t.Errorf("%s away: %v", further, err)
		}
	}
	// A caller who moves the timestamp moves what is signed.
	moved := sign(t, s, private, now.Add(-time.Hour))
	if s.TimestampHeader != "" {
		moved.Set(s.TimestampHeader, strconv.FormatInt(now.Unix(), 10))
	} else {
		moved.Set(s.Header, strings.Replace(moved.Get(s.Header), strconv.FormatInt(now.Add(-time.Hour).Unix(), 10), strconv.FormatInt(now.Unix(), 10), 1))
	}
	if err := s.Verify(moved, address, "POST", body, []patchbay.Secret{public}, now); !errors.Is(err, signature.ErrForged) {
		t.Errorf("a moved timestamp: %v", err)
	}
}

func checkHeaders(t *testing.T, s signature.Scheme, h http.Header, public patchbay.Secret) {
	t.Helper()
	for _, name := range s.Headers() {
		twice := h.Clone()
		twice.Add(name, twice.Get(name))
		if err := s.Verify(twice, address, "POST", body, []patchbay.Secret{public}, now); !errors.Is(err, signature.ErrInvalid) {
			t.Errorf("%s twice: %v", name, err)
		}
		long := h.Clone()
		long.Set(name, strings.Repeat(long.Get(name), 1000))
		if err := s.Verify(long, address, "POST", body, []patchbay.Secret{public}, now); !errors.Is(err, signature.ErrInvalid) {
			t.Errorf("%s, a thousand times as long: %v", name, err)
		}
		without := h.Clone()
		without.Del(name)
		if err := s.Verify(without, address, "POST", body, []patchbay.Secret{public}, now); !errors.Is(err, signature.ErrMissing) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if s.Prefix != "" {
		bare := h.Clone()
		bare.Set(s.Header, strings.TrimPrefix(bare.Get(s.Header), s.Prefix))
		if err := s.Verify(bare, address, "POST", body, []patchbay.Secret{public}, now); err == nil {
			t.Errorf("without %q it is believed", s.Prefix)
		}
	}
}

func TestSeveralSignatures(t *testing.T) {
	for _, s := range signature.Table() {
		if s.Fields == nil {
			continue
		}
		old, oldPublic := pair(s, 0)
		fresh, freshPublic := pair(s, 1)
		h := sign(t, s, old, now)
		if err := s.Sign(h, address, "POST", body, fresh, now); err != nil {
			t.Fatal(err)
		}
		for _, public := range []patchbay.Secret{oldPublic, freshPublic} {
			if err := s.Verify(h, address, "POST", body, []patchbay.Secret{public}, now); err != nil {
				t.Errorf("%s: %v in %q", s.Name, err, h.Get(s.Header))
			}
		}
		item := s.Fields.Signature + s.Fields.Assign + "aaaa"
		h.Set(s.Header, h.Get(s.Header)+strings.Repeat(s.Fields.Separator+item, signature.MaxSignatures))
		if err := s.Verify(h, address, "POST", body, []patchbay.Secret{oldPublic}, now); !errors.Is(err, signature.ErrInvalid) {
			t.Errorf("%s: %d signatures: %v", s.Name, signature.MaxSignatures+2, err)
		}
	}
}

func TestStripeFields(t *testing.T) {
	s := named(t, "stripe")
	h := sign(t, s, "whsec_x", now)
	good := h.Get(s.Header)
	for text, want := range map[string]error{
		good + ",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39": nil, // test mode adds it
		strings.ReplaceAll(good, ",", " , "):                                          nil,
		good + ",t=1700000000":                                                        signature.ErrInvalid,
		strings.TrimPrefix(good, "t=1700000000,"):                                     signature.ErrInvalid,
		"t=1700000000":                               signature.ErrMissing,
		strings.Replace(good, "v1=", "v1=zz", 1):     signature.ErrInvalid,
		strings.Replace(good, "t=", "t=-", 1):        signature.ErrInvalid,
		strings.Replace(good, "t=", "t=99999999", 1): signature.ErrInvalid,
	} {
		h.Set(s.Header, text)
		if err := s.Verify(h, address, "POST", body, secrets("whsec_x"), now); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

func TestTokens(t *testing.T) {
	s := signature.JiraOAuth2()
	h := sign(t, s, "client secret", now)
	for at, want := range map[time.Duration]error{0: nil, 3 * time.Minute: nil, 5 * time.Minute: signature.ErrWindow} {
		if err := s.Verify(h, address, "POST", body, secrets("client secret"), now.Add(at)); !errors.Is(err, want) {
			t.Errorf("%s later: %v, want %v", at, err, want)
		}
	}
	// A token that says it is not signed is one with a wrong signature.
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + ".e30."
	h.Set("Authorization", "Bearer "+none)
	if err := s.Verify(h, address, "POST", body, secrets("client secret"), now); !errors.Is(err, signature.ErrForged) {
		t.Errorf(`"none": %v`, err)
	}
	h.Set("Authorization", "Bearer ..")
	if err := s.Verify(h, address, "POST", body, secrets("client secret"), now); !errors.Is(err, signature.ErrForged) {
		t.Errorf(`"..": %v`, err)
	}
}

// Nothing of a secret or a signature is in what goes to the log.
func TestErrorsAreSilent(t *testing.T) {
	for _, s := range signature.Table() {
		private, _ := pair(s, 0)
		_, other := pair(s, 1)
		h := sign(t, s, private, now)
		err := s.Verify(h, address, "POST", body, []patchbay.Secret{other}, now)
		for _, hidden := range []string{private.Reveal(), other.Reveal(), h.Get(s.Header)} {
			if strings.Contains(fmt.Sprint(err), hidden) {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	table := signature.Table()
	for i, s := range table {
		private, _ := pair(s, 0)
		h := sign(f, s, private, now)
		f.Add(uint8(i), h.Get(s.Header), h.Get(s.TimestampHeader), h.Get(s.IDHeader), body, address)
	}
	f.Fuzz(func(t *testing.T, which uint8, value, timestamp, id string, sent []byte, url string) {
		s := table[int(which)%len(table)]
		_, public := pair(s, 0)
		_, other := pair(s, 1)
		h := http.Header{}
		for name, text := range map[string]string{s.Header: value, s.TimestampHeader: timestamp, s.IDHeader: id} {
			if name != "" {
				h.Set(name, text)
			}
		}
		if err := s.Verify(h, url, "POST", sent, []patchbay.Secret{other}, now); err == nil {
			t.Fatalf("%s believed a call that nobody signed", s.Name)
		}
		err := s.Verify(h, url, "POST", sent, []patchbay.Secret{public}, now)
		signsBody := s.Algorithm != signature.Token && s.Algorithm != signature.Basic && s.Algorithm != signature.JWT
		if err == nil && signsBody {
			if err := s.Verify(h, url, "POST", append(sent, 'x'), []patchbay.Secret{public}, now); err == nil {
				t.Fatalf("%s believed another body", s.Name)
			}
		}
	})
}
