package reference

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// Mail is the mail that would be sent.
type Mail struct {
	Part
	From, To, Subject string
	// Text and HTML are its two forms.
	Text, HTML string
}

// maxMail bounds a part of a mail that is shown.
const maxMail = 512 << 10

func showMail(ctx context.Context, a *attempt) *Mail {
	m := &Mail{Part: a.part()}
	if m.Skipped {
		return m
	}
	x, err := a.sent(ctx, mailSettings, false)
	if err == nil {
		err = m.read(x.Body)
	}
	if err != nil {
		m.Trouble = err.Error()
	}
	return m
}

// read takes a mail apart (RFC 5322, and RFC 2046 for its parts).
func (m *Mail) read(raw []byte) error {
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return errors.New("what would be sent is no mail that can be shown")
	}
	words := &mime.WordDecoder{}
	for name, to := range map[string]*string{"From": &m.From, "To": &m.To, "Subject": &m.Subject} {
		if *to, err = words.DecodeHeader(message.Header.Get(name)); err != nil {
			*to = message.Header.Get(name)
		}
	}
	kind, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return m.take(kind, message.Header.Get("Content-Transfer-Encoding"), message.Body)
	}
	parts := multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("the parts of the mail that would be sent cannot be told apart")
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err := m.take(kind, part.Header.Get("Content-Transfer-Encoding"), part); err != nil {
			return err
		}
	}
}

// take keeps a part of the mail.
func (m *Mail) take(kind, encoding string, body io.Reader) error {
	if strings.EqualFold(encoding, "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(io.LimitReader(body, maxMail))
	if err != nil {
		return errors.New("the mail that would be sent cannot be read")
	}
	text := strings.ToValidUTF8(strings.ReplaceAll(string(content), "\r\n", "\n"), "\uFFFD")
	switch kind {
	case "text/plain":
		m.Text = strings.TrimRight(text, "\n")
	case "text/html":
		m.HTML = text
	}
	return nil
}
