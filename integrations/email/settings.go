package email

import (
	"encoding/json"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// The ways to protect a connection.
const (
	startTLS = "starttls" // begin in the clear, switch to TLS, and stop if that cannot be done
	implicit = "tls"      // TLS from the first byte
	insecure = "none"
)

// maxRecipients is how many people one mail may go to; servers take at least 100 (RFC 5321, 4.5.3.1.8).
const maxRecipients = 100

// maxName bounds a sender's or recipient's name, and the prefix of subjects, in characters.
const maxName = 100

// Settings are a link's settings.
type Settings struct {
	To            []string `json:"to"`
	CC            []string `json:"cc"`
	BCC           []string `json:"bcc"`
	ReplyTo       string   `json:"reply_to"`
	SubjectPrefix string   `json:"subject_prefix"`
	server
}

// server is a mail server and who sends over it, of a link or of the operator.
type server struct {
	Host       string             `json:"host"`
	Port       int                `json:"port"`
	Encryption string             `json:"encryption"`
	Username   string             `json:"username"`
	Password   integration.Secret `json:"password"`
	From       string             `json:"from"`
	FromName   string             `json:"from_name"`
}

func recipientSpec() integration.Spec {
	return integration.Spec{
		{
			Key: "to", Title: "To", Type: integration.TypeList, Required: true, Check: checkAddresses, Example: "ops@example.com",
			Help: "The people who get the mail. They see each other's addresses.",
		},
		{Key: "cc", Title: "Cc", Type: integration.TypeList, Check: checkAddresses, Help: "People who get a copy."},
		{
			Key: "bcc", Title: "Bcc", Type: integration.TypeList, Check: checkAddresses,
			Help: "People who get a copy without anybody seeing it.",
		},
		{
			Key: "subject_prefix", Title: "Beginning of the subject", Type: integration.TypeString, Example: "[web]", Check: checkName,
			Help: "Stands before the title of every event.",
		},
		{
			Key: "reply_to", Title: "Reply to", Type: integration.TypeString, Check: checkAddress, Example: "team@example.com",
			Help: "Where answers go; empty means to the sender.",
		},
	}
}

// serverSpec declares the server. On a link all of it is optional: without a host, the operator's server sends.
func serverSpec(operator bool) integration.Spec {
	own := "Only for a mail server of your own. "
	if operator {
		own = ""
	}
	return integration.Spec{
		{
			Key: "host", Title: "Mail server", Type: integration.TypeString, Target: true, Check: checkHost, Example: "smtp.example.com",
			Help: own + "Without it, the installation's own server sends.",
		},
		{
			Key: "port", Title: "Port", Type: integration.TypeInteger, Target: true, Check: checkPort, Example: "587",
			Help: own + "Empty means 587, with TLS from the start 465, and without encryption 25.",
		},
		{
			Key: "encryption", Title: "Encryption", Type: integration.TypeSelect, Target: true,
			Options: []integration.Option{
				{Value: startTLS, Title: "STARTTLS, required"},
				{Value: implicit, Title: "TLS from the start"},
				{Value: insecure, Title: "None: passwords and mails can be read on the way"},
			},
			Help: own + "Empty means STARTTLS. A server that does not offer it gets nothing.",
		},
		{Key: "username", Title: "User name", Type: integration.TypeString, Help: own + "Empty means not to sign in."},
		{Key: "password", Title: "Password", Type: integration.TypeString, Secret: true, Help: own + "Many providers want a password made for this purpose."},
		{
			Key: "from", Title: "Sender's address", Type: integration.TypeString, Check: checkAddress, Example: "patchbay@example.com",
			Help: own + "The server has to allow it.",
		},
		{Key: "from_name", Title: "Sender's name", Type: integration.TypeString, Check: checkName, Example: "Patchbay", Help: "Stands before the sender's address."},
	}
}

// Validate refuses a server that is only half there: a password without a host would go to the operator's server.
func (s *Settings) Validate() error {
	if s.Host == "" {
		for _, own := range []struct {
			key   string
			given bool
		}{{"port", s.Port != 0}, {"encryption", s.Encryption != ""}, {"username", s.Username != ""}, {"password", s.Password != ""}, {"from", s.From != ""}} {
			if own.given {
				return patchbay.Invalid("settings.host", "is missing: %s belongs to a mail server of your own; without one leave both empty", own.key)
			}
		}
	} else if s.From == "" {
		return patchbay.Invalid("settings.from", "is missing: with a mail server of your own, say who sends")
	}
	if n := len(s.recipients()); n > maxRecipients {
		return patchbay.Invalid("settings.to", "names %d people with cc and bcc; a mail goes to at most %d", n, maxRecipients)
	}
	return nil
}

// recipients returns everybody once, in the order of the settings.
func (s *Settings) recipients() []*netmail.Address {
	var out []*netmail.Address
	seen := map[string]bool{}
	for _, list := range [][]string{s.To, s.CC, s.BCC} {
		for _, text := range list {
			a, err := parseAddress(text)
			if err != nil || seen[strings.ToLower(a.Address)] {
				continue // Check has seen to errors
			}
			seen[strings.ToLower(a.Address)] = true
			out = append(out, a)
		}
	}
	return out
}

// serverOf returns the server that a mail goes over: the link's, whole, or the operator's, whole. The two are never
// mixed, so the operator's password never reaches a host that a link names.
func (s *Settings) serverOf(env *integration.Env) (*server, *integration.Result) {
	srv := s.server
	if srv.Host == "" {
		srv = server{}
		if len(env.Config) > 0 {
			if err := json.Unmarshal(env.Config, &srv); err != nil {
				bad := integration.Misconfigured("the installation's mail server is configured in a way that cannot be read")
				return nil, &bad
			}
		}
		if s.FromName != "" {
			srv.FromName = s.FromName
		}
	}
	if srv.Host == "" || srv.From == "" {
		bad := integration.Misconfigured("there is no mail server: set host and from on the link, or let the operator set integrations.email.host and .from")
		return nil, &bad
	}
	return &srv, nil
}

// port returns the port to connect to.
func (s *server) port() int {
	switch {
	case s.Port != 0:
		return s.Port
	case s.Encryption == implicit:
		return 465
	case s.Encryption == insecure:
		return 25
	}
	return 587
}

// parseAddress reads "name@host" or "Somebody <name@host>", and lets nothing through that could end an address in a
// command or a header.
func parseAddress(text string) (*netmail.Address, error) {
	a, err := netmail.ParseAddress(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address such as name@example.com", clip(text))
	}
	local, host, ok := strings.Cut(a.Address, "@")
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`<>()[]{},;:\"@`, r) }
	if !ok || local == "" || strings.ContainsFunc(local, bad) || strings.ContainsFunc(host, bad) ||
		strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") || len(a.Address) > 254 {
		return nil, fmt.Errorf("%q is not an address such as name@example.com", clip(text))
	}
	return a, checkName(a.Name)
}

func checkAddress(value any) error {
	text, _ := value.(string)
	_, err := parseAddress(text)
	return err
}

func checkAddresses(value any) error {
	list, _ := value.([]string)
	for _, text := range list {
		if _, err := parseAddress(text); err != nil {
			return err
		}
	}
	return nil
}

func checkName(value any) error {
	if name, _ := value.(string); len([]rune(name)) > maxName {
		return fmt.Errorf("must not be longer than %d characters", maxName)
	}
	return nil
}

func checkHost(value any) error {
	host, _ := value.(string)
	if strings.ContainsAny(host, "/@ []<>\"\\") || len(host) > 253 {
		return errors.New("must be the name of a server, such as smtp.example.com, without smtp:// and port")
	}
	if strings.Count(host, ":") == 1 {
		return errors.New("must not end with a port: there is a setting for it")
	}
	return nil
}

func checkPort(value any) error {
	if port, _ := value.(int64); port < 1 || port > 65535 {
		return errors.New("must be between 1 and 65535")
	}
	return nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "…"
	}
	return s
}
