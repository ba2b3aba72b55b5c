// Package email sends messages as mail, over SMTP. It speaks the protocol itself: what went wrong, and for which
// recipient, decides whether a delivery is tried again, and libraries tell too little of that.
package email

import (
	"context"
	"crypto/x509"
	"net"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// Key names the integration in the API.
const Key = "email"

// Email is the integration.
type Email struct {
	// roots, in tests, are the authorities that servers' certificates are checked against; nil means the system's.
	roots *x509.CertPool
}

// New returns the integration.
func New() *Email { return &Email{} }

// Definition declares the integration.
func (*Email) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       "E-mail",
		Category:    "email",
		Description: "Sends each event as a mail, in HTML and plain text. Mails about the same thing form a thread.",
		Docs:        docs,
		Settings:    append(recipientSpec(), serverSpec(false)...),
		Decode:      integration.Into[Settings],
		Threads:     true,
		Config:      serverSpec(true),
	}
}

// ShortName describes a link in a few words.
func (e *Email) ShortName(settings any) string { return "Mail to " + e.Destination(settings) }

// Destination says where a link leads.
func (*Email) Destination(settings any) string {
	to := settings.(*Settings).To
	switch len(to) {
	case 0:
		return "nobody"
	case 1:
		return to[0]
	}
	return to[0] + " and " + strconv.Itoa(len(to)-1) + " more"
}

// Target names the recipients.
func (*Email) Target(settings any) string {
	recipients := settings.(*Settings).recipients()
	all := make([]string, len(recipients))
	for i, r := range recipients {
		all[i] = strings.ToLower(r.Address)
	}
	return strings.Join(all, ",")
}

// Send sends one mail to all recipients.
func (e *Email) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*Settings)
	srv, bad := s.serverOf(d.Env)
	if bad != nil {
		return *bad
	}
	m, bad := compose(d, s, srv)
	if bad != nil {
		return *bad
	}
	record := func(code int, answer string) {
		if d.Env.Record != nil {
			d.Env.Record(integration.Exchange{
				Method: "SMTP", URL: "smtp://" + srv.address(), Header: m.shown(), Body: m.data,
				ResponseCode: code, ResponseBody: []byte(answer),
			})
		}
	}
	if d.Preview {
		record(0, "")
		return integration.Unreachable(srv.Host, integration.ErrPreview)
	}
	r := e.transfer(ctx, d.Env, srv, m)
	record(r.Code, string(r.Body))
	if r.Verdict == patchbay.VerdictDelivered {
		r.Reference = m.thread
	}
	return r
}

// Test connects and signs in as a mail would, and sends none.
func (e *Email) Test(ctx context.Context, d *integration.Delivery) integration.Result {
	srv, bad := d.Settings.(*Settings).serverOf(d.Env)
	if bad != nil {
		return *bad
	}
	if d.Preview {
		return integration.Unreachable(srv.Host, integration.ErrPreview)
	}
	s, bad := e.open(ctx, d.Env, srv)
	if bad != nil {
		return *bad
	}
	defer s.close()
	answer, err := s.command(250, "NOOP")
	if err != nil {
		return s.failed("NOOP", err)
	}
	s.quit()
	r := integration.Delivered()
	r.Code, r.Body = 250, []byte(answer)
	return r
}

// transfer hands the mail to the server.
func (e *Email) transfer(ctx context.Context, env *integration.Env, srv *server, m *mail) integration.Result {
	s, bad := e.open(ctx, env, srv)
	if bad != nil {
		return *bad
	}
	defer s.close()
	r := s.send(m)
	if r.Verdict == patchbay.VerdictDelivered {
		s.quit()
	}
	return r
}

// address is the server's host and port.
func (s *server) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.port())) }
