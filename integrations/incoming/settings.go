package incoming

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/mapping"
	"github.com/patchbay/patchbay/integration/signature"
)

// none is the scheme of calls that are not signed.
const none = "none"

// Settings are a link's.
type Settings struct {
	Scheme          string             `json:"scheme"`
	Secret          integration.Secret `json:"secret"`
	PreviousSecret  integration.Secret `json:"previous_secret"`
	SignatureHeader string             `json:"signature_header"`
	IDHeader        string             `json:"id_header"`
	ID              string             `json:"id"`
	Type            string             `json:"type"`
	Payload         string             `json:"payload"`
	Filter          string             `json:"filter"`
	OccurredAt      string             `json:"occurred_at"`
	Actor           string             `json:"actor"`
	Entry           string             `json:"entry"`

	scheme signature.Scheme
	// typ is nil when Type is a type's key.
	id, typ, payload, filter, occurredAt, actor, entry *mapping.Expression
}

func spec() integration.Spec {
	expression := func(key, title, help, example string, kind mapping.Kind) integration.Setting {
		return integration.Setting{Key: key, Title: title, Type: integration.TypeText, Help: help, Example: example, Check: func(v any) error {
			_, err := mapping.Compile(v.(string), kind)
			return err
		}}
	}
	return integration.Spec{
		{Key: "scheme", Title: "Signature", Type: integration.TypeSelect, Default: none, Options: schemes(),
			Help: "How the service signs its calls. Without a signature anybody who learns the address can call it."},
		{Key: "secret", Title: "Secret", Type: integration.TypeString, Secret: true, Signing: true,
			Help: "What the service signs with, when the service makes it: its signing secret or token, its public key (ed25519), or user:password (HTTP Basic). Leave it empty to give the service the link's hook secret instead."},
		{Key: "previous_secret", Title: "Previous secret", Type: integration.TypeString, Secret: true, Signing: true,
			Help: "Is believed too, while the service changes from one secret to another."},
		{Key: "signature_header", Title: "Header of the signature", Type: integration.TypeString, Check: headerName, Example: "X-Acme-Signature",
			Help: "The header that holds the signature or the token, where it is not the usual one of the scheme."},
		{Key: "id_header", Title: "Header of the identifier", Type: integration.TypeString, Check: headerName, Example: "X-Request-Id",
			Help: "The header that tells one call from another: a call with an identifier that was there before is the same one, sent again."},
		expression("id", "Identifier", "The same as an expression, for services that put it into the body. Without an identifier equal bodies are the same call.", `body.event_id`, mapping.Any),
		{Key: "type", Title: "Event type", Type: integration.TypeText, Default: TypeReceived, Example: `"shop." + body.topic`, Check: checkType,
			Help: "The type of the event: its key, or an expression."},
		expression("payload", "Payload", "An expression that makes the event's payload, an object. Default: the body.", `{"order": body.data.id, "total": body.data.total}`, mapping.Any),
		expression("filter", "Filter", "An expression that must be true; other calls become no events.", `body.status == "paid"`, mapping.Bool),
		expression("occurred_at", "Time", "An expression for when it happened: a time, or seconds or milliseconds since 1970. Default: when the call came in.", `body.created`, mapping.Any),
		expression("actor", "Actor", "An expression for who did it: a name, or an object with id, name, email, avatar and url.", `{"id": body.user.id, "name": body.user.name}`, mapping.Any),
		expression("entry", "Entry", "An expression for what a person got done, which becomes an entry beside the event: a text, or an object with text, occurred_on, id and url. Nothing when it is empty or null.", `body.user.name + " shipped " + body.order`, mapping.Any),
	}
}

// token is the name of a header field (RFC 9110 section 5.1).
var token = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

func headerName(v any) error {
	if !token.MatchString(v.(string)) {
		return errors.New("is the name of a header, such as X-Request-Id")
	}
	return nil
}

// typeKey is how an event type's key looks, typeVariable how an expression that begins like one does.
var (
	typeKey      = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,127}$`)
	typeVariable = regexp.MustCompile(`^(body|header|query)(\.|$)`)
)

// constant reports whether a type is a key rather than an expression.
func constant(text string) bool { return typeKey.MatchString(text) && !typeVariable.MatchString(text) }

func checkType(v any) error {
	text := v.(string)
	if constant(text) {
		if strings.HasPrefix(text, patchbay.SystemPrefix) {
			return fmt.Errorf("types that begin with %s are raised by Patchbay itself", patchbay.SystemPrefix)
		}
		return nil
	}
	_, err := mapping.Compile(text, mapping.Any)
	return err
}

// Validate compiles the expressions, which have been checked one by one, and checks what is between the settings.
func (s *Settings) Validate() error {
	if s.Scheme != none && s.Scheme != "" {
		s.scheme, _ = signature.Named(s.Scheme)
		if s.SignatureHeader != "" {
			s.scheme.Header = http.CanonicalHeaderKey(s.SignatureHeader)
		}
		for key, secret := range map[string]integration.Secret{"settings.secret": s.Secret, "settings.previous_secret": s.PreviousSecret} {
			if secret == "" {
				continue
			}
			if err := s.scheme.CheckSecret(secret); err != nil {
				return patchbay.Invalid(key, "is not one of %s: %v", s.scheme.Title, err)
			}
		}
		if s.Secret == "" && s.scheme.Algorithm == signature.Ed25519 {
			return patchbay.Invalid("settings.secret", "is required with %s: enter the service's public key", s.scheme.Title)
		}
		if s.Secret == "" && s.scheme.Algorithm == signature.Basic {
			return patchbay.Invalid("settings.secret", "is required with %s: enter user:password, and the same at the service", s.scheme.Title)
		}
	}
	if s.Secret == "" && s.PreviousSecret != "" {
		return patchbay.Invalid("settings.previous_secret", "is beside a secret that is not there: enter the new one as secret")
	}
	for _, x := range []struct {
		source string
		kind   mapping.Kind
		to     **mapping.Expression
	}{
		{s.ID, mapping.Any, &s.id}, {s.Payload, mapping.Any, &s.payload}, {s.Filter, mapping.Bool, &s.filter},
		{s.OccurredAt, mapping.Any, &s.occurredAt}, {s.Actor, mapping.Any, &s.actor}, {s.Entry, mapping.Any, &s.entry},
	} {
		if err := compile(x.source, x.kind, x.to); err != nil {
			return err
		}
	}
	if s.Type == "" {
		s.Type = TypeReceived
	}
	if constant(s.Type) {
		return nil
	}
	return compile(s.Type, mapping.Any, &s.typ)
}

func compile(source string, kind mapping.Kind, to **mapping.Expression) (err error) {
	if strings.TrimSpace(source) != "" {
		*to, err = mapping.Compile(source, kind)
	}
	return err
}
