package email

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/markup"
)

// The limits of a mail, in characters. Mails may be long; these keep one that nobody reads from filling mailboxes.
const (
	maxSubject = 200
	maxText    = 20_000
	maxFields  = 100
	maxLabel   = 200
	maxValue   = 4000
	maxLinks   = 20
	maxBody    = 100_000 // of a link's own body
)

// mail is a finished mail with its envelope.
type mail struct {
	from string
	to   []string
	data []byte
	// header is what is shown of it, in the order in which it stands in data.
	header []field
	// thread is the Message-ID of the first mail of its thread.
	thread string
}

type field struct{ name, value string }

// compose makes the mail of a delivery.
func compose(d *integration.Delivery, s *Settings, srv *server) (*mail, *integration.Result) {
	from, err := parseAddress(srv.From)
	if err != nil {
		bad := integration.Misconfigured("the sender's address %v", err)
		return nil, &bad
	}
	from.Name = srv.FromName
	c, err := contentOf(d)
	if err != nil {
		bad := integration.Unrenderable(err)
		return nil, &bad
	}
	m := &mail{from: from.Address}
	for _, r := range s.recipients() {
		m.to = append(m.to, r.Address)
	}
	if len(m.to) == 0 {
		bad := integration.Misconfigured("the setting to is missing: say who gets the mail")
		return nil, &bad
	}
	id := messageID(d, from.Address)
	m.thread = cmp.Or(reference(d.Reference), id)
	m.headers(d, s, c, from, id)
	m.data = m.encode(c, boundary(id))
	return m, nil
}

// headers sets everything but what says how the content is encoded.
func (m *mail) headers(d *integration.Delivery, s *Settings, c *content, from *netmail.Address, id string) {
	m.set("From", formatAddress(from))
	m.addresses("To", s.To)
	m.addresses("Cc", s.CC)
	if s.ReplyTo != "" {
		m.addresses("Reply-To", []string{s.ReplyTo})
	}
	subject := markup.Line(s.SubjectPrefix + " " + c.subject)
	m.set("Subject", encodeText(markup.Clip(cmp.Or(subject, "(no subject)"), maxSubject)))
	m.set("Date", now(d).Format(time.RFC1123Z))
	m.set("Message-ID", id)
	if m.thread != id {
		m.set("In-Reply-To", m.thread)
		m.set("References", m.thread)
	}
	// Programs that answer mails by themselves stay silent (RFC 3834).
	m.set("Auto-Submitted", "auto-generated")
	m.set("X-Auto-Response-Suppress", "All")
	if c.urgent {
		m.set("Importance", "high")
		m.set("X-Priority", "1")
	}
}

func (m *mail) set(name, value string) { m.header = append(m.header, field{name, value}) }

// addresses sets a list of addresses, one on a line.
func (m *mail) addresses(name string, list []string) {
	var out []string
	for _, text := range list {
		if a, err := parseAddress(text); err == nil {
			out = append(out, formatAddress(a))
		}
	}
	if len(out) > 0 {
		m.set(name, strings.Join(out, ",\r\n "))
	}
}

// formatAddress writes an address for a header.
func formatAddress(a *netmail.Address) string {
	name := markup.Line(a.Name)
	switch encoded := encodeText(name); {
	case name == "":
		return a.Address
	case encoded == name:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" <` + a.Address + ">"
	default:
		return encoded + "\r\n <" + a.Address + ">"
	}
}

// shown is the header as attempts keep it.
func (m *mail) shown() integration.Header {
	var h integration.Header
	for _, f := range m.header {
		switch f.name {
		case "Subject", "From", "To", "Cc", "Message-ID", "References":
			h.Add(f.name, strings.ReplaceAll(f.value, "\r\n", ""))
		}
	}
	return h
}

// international reports whether an address has letters beyond ASCII, which not every server takes.
func (m *mail) international() bool {
	for _, a := range append([]string{m.from}, m.to...) {
		if !ascii(a) {
			return true
		}
	}
	return false
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// encode writes the whole mail.
func (m *mail) encode(c *content, boundary string) []byte {
	var b bytes.Buffer
	for _, f := range m.header {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	if c.html == "" {
		part(&b, "text/plain", c.text)
		return b.Bytes()
	}
	fmt.Fprintf(&b, "Content-Type: multipart/alternative;\r\n boundary=\"%s\"\r\n\r\n", boundary)
	for _, p := range []struct{ kind, text string }{{"text/plain", c.text}, {"text/html", c.html}} {
		fmt.Fprintf(&b, "--%s\r\n", boundary)
		part(&b, p.kind, p.text)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

// part writes a text with its header. Quoted-printable keeps lines short and everything ASCII.
func part(b *bytes.Buffer, kind, text string) {
	fmt.Fprintf(b, "Content-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", kind)
	w := quotedprintable.NewWriter(b)
	_, _ = w.Write([]byte(text)) // a bytes.Buffer takes everything
	_ = w.Close()
	b.WriteString("\r\n")
}

// boundary separates the parts. It begins with "=_", which no quoted-printable text holds.
func boundary(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "=_" + hex.EncodeToString(sum[:12])
}

// messageID names the mail. It is the same on every attempt, so that a mail that was sent twice can be told.
func messageID(d *integration.Delivery, from string) string {
	name := d.ID.String()
	if name == "" && d.Event != nil && d.Event.ID != 0 {
		name = d.Event.ID.String()
	}
	if name == "" {
		name = fmt.Sprintf("test.%d", now(d).UnixNano())
	}
	host := domain(from)
	if !ascii(host) {
		host = "patchbay.invalid"
	}
	return "<" + name + "@" + host + ">"
}

// reference returns a Message-ID that was kept, if it is one.
func reference(s string) string {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if len(s) < 5 || len(s) > 300 || s[0] != '<' || s[len(s)-1] != '>' || strings.ContainsFunc(s, bad) || strings.ContainsAny(s[1:len(s)-1], "<>") {
		return ""
	}
	return s
}

func now(d *integration.Delivery) time.Time {
	if d.Env.Now == nil {
		return time.Now().UTC()
	}
	return d.Env.Now().UTC()
}

// encodeText writes one line of text for a header. What is not plain ASCII, and what looks as if it were encoded
// already and would be decoded by readers, goes as encoded words (RFC 2047), each on a line of its own.
func encodeText(s string) string {
	if ascii(s) && !strings.Contains(s, "=?") {
		return s
	}
	const most = 45 // bytes, so that a word has at most 75 characters
	var words []string
	for s != "" {
		n := min(most, len(s))
		for n < len(s) && n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(words, "\r\n ")
}

// content is what a mail says.
type content struct {
	subject, text, html string
	urgent              bool
}

// contentOf renders the message, or the link's own body: a text, or an object with "subject" and "text".
func contentOf(d *integration.Delivery) (*content, error) {
	if d.Body != nil {
		return ownContent(d)
	}
	msg, err := d.Message()
	if err != nil {
		return nil, err
	}
	v := newView(d, msg)
	page, err := v.html()
	if err != nil {
		return nil, err
	}
	return &content{
		subject: cmp.Or(v.Subject, d.Title), text: v.text(), html: page,
		urgent: msg.Severity == patchbay.SeverityCritical,
	}, nil
}

func ownContent(d *integration.Delivery) (*content, error) {
	var text string
	if json.Unmarshal(d.Body, &text) == nil {
		return &content{subject: d.Title, text: markup.Clip(text, maxBody)}, nil
	}
	var own struct {
		Subject string `json:"subject"`
		Text    string `json:"text"`
	}
	if err := json.Unmarshal(d.Body, &own); err != nil || own.Text == "" {
		return nil, fmt.Errorf(`the link's own body of a mail is text, or an object with "subject" and "text"`)
	}
	return &content{subject: cmp.Or(own.Subject, d.Title), text: markup.Clip(own.Text, maxBody)}, nil
}
