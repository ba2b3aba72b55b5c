package email

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// maxQuoted bounds how much of what a server said is shown.
const maxQuoted = 300

// refusal is a recipient that the server does not take.
type refusal struct {
	to   string
	said *textproto.Error
}

// failed turns what went wrong at a step of the conversation into a result.
func (s *session) failed(step string, err error) integration.Result {
	at := s.srv.address()
	if ctxErr := s.ctx.Err(); ctxErr != nil {
		return integration.Unreachable("the mail server "+at, ctxErr)
	}
	var (
		said        *textproto.Error
		certificate *tls.CertificateVerificationError
		header      tls.RecordHeaderError
		protocol    textproto.ProtocolError
	)
	switch {
	case errors.As(err, &said):
		return s.judged(step, said)
	case errors.As(err, &certificate):
		return integration.UserError("the certificate of the mail server %s is not valid: %v; the setting host has to be the name in a certificate that a known authority gave", at, certificate.Err)
	case errors.As(err, &header):
		return integration.UserError("the mail server %s does not speak TLS from the start: choose the encryption starttls, or another port", at)
	case errors.As(err, &protocol) && step == "greeting":
		return integration.UserError("%s does not answer like a mail server: check host, port and encryption", at)
	case step == "TLS":
		return integration.Retry("no encrypted connection to the mail server %s could be made: %s", at, s.clean(err.Error()))
	}
	return integration.Retry("the connection to the mail server %s broke off (%s)", at, step)
}

// judged turns a refusal of the server at a step into a result.
func (s *session) judged(step string, said *textproto.Error) integration.Result {
	quoted := fmt.Sprintf("%d %s", said.Code, s.clean(said.Msg))
	r := classify(step, said.Code, enhanced(said.Msg))
	switch {
	case r.Throttled:
		r.Error = "the mail server " + s.srv.address() + " limits how much may be sent: " + quoted
	case r.Verdict == patchbay.VerdictRetry:
		r.Error = "the mail server " + s.srv.address() + " cannot take the mail now: " + quoted
	case r.Type == patchbay.CodeMisconfiguredIntegration:
		r.Error = "the mail server " + s.srv.address() + " refuses the mail: " + quoted
	case step == "AUTH" || said.Code == 530 || said.Code == 534 || said.Code == 535:
		r.Error = "the mail server " + s.srv.address() + " does not let us sign in: " + quoted + "; check username and password"
	case step == "MAIL":
		r.Error = "the mail server " + s.srv.address() + " does not take mail from this sender: " + quoted + "; check the setting from"
	default:
		r.Error = "the mail server " + s.srv.address() + " refuses the mail: " + quoted
	}
	r.Code, r.Body = said.Code, []byte(quoted)
	return r
}

// classify judges a reply code (RFC 5321) with its enhanced one (RFC 3463), such as "4.7.1", at a step.
func classify(step string, code int, enhanced string) integration.Result {
	if code < 500 { // 4yz, and what has no place where it was said
		r := integration.Retry("")
		r.Throttled = strings.HasPrefix(enhanced, "4.7.") && step != "AUTH" && step != "STARTTLS"
		return r
	}
	switch code {
	case 552:
		if strings.HasPrefix(enhanced, "5.2.") { // the mailbox is full, and not the mail too large
			return integration.UserError("")
		}
		return integration.Misconfigured("")
	case 504:
		if step == "AUTH" {
			return integration.UserError("")
		}
		return integration.Misconfigured("")
	case 500, 501, 502, 503, 555:
		return integration.Misconfigured("")
	}
	return integration.UserError("")
}

var enhancedCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

func enhanced(msg string) string { return enhancedCode.FindString(msg) }

// allRefused judges a mail that no recipient was taken for: as long as one may be taken later, it is worth a try.
func (s *session) allRefused(refused []refusal) integration.Result {
	decisive := refused[0].said
	for _, r := range refused {
		if r.said.Code < 500 {
			decisive = r.said
			break
		}
	}
	out := s.judged("RCPT", decisive)
	if out.Verdict == patchbay.VerdictRejected {
		out.Error = "the mail server " + s.srv.address() + " takes the mail for nobody" + s.refusals(refused)
	}
	out.Body = []byte("nobody was taken" + s.refusals(refused))
	return out
}

// refusals lists who was refused and why.
func (s *session) refusals(refused []refusal) string {
	if len(refused) == 0 {
		return ""
	}
	parts := make([]string, len(refused))
	for i, r := range refused {
		parts[i] = fmt.Sprintf("%s (%d %s)", r.to, r.said.Code, s.clean(r.said.Msg))
	}
	return "; refused: " + strings.Join(parts, ", ")
}

// clean makes one line of what the server said, without the password, which it could repeat in any of the ways in
// which it was told.
func (s *session) clean(msg string) string {
	msg = markup.Line(strings.ToValidUTF8(msg, "\uFFFD"))
	if password := s.srv.Password.Reveal(); password != "" {
		for _, told := range []string{encode("\x00" + s.srv.Username + "\x00" + password), encode(password), password} {
			msg = strings.ReplaceAll(msg, told, patchbay.Redacted)
		}
	}
	return markup.Clip(msg, maxQuoted)
}
