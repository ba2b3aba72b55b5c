package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// failure is an error for a person: a short sentence about the connection, without address, path or secret. What it
// stands for is found by errors.Is, but never printed.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// The failures of an answer that is not HTTP as it should be.
var (
	errGarbled       = &failure{text: "the answer is not readable as HTTP"}
	errAmbiguous     = &failure{text: "the answer states its length in two ways, so it cannot be read safely"}
	errTransfer      = &failure{text: "the answer uses a transfer encoding that was not asked for"}
	errHeaderTooLong = &failure{text: "the answer's header or trailer is too large"}
	errUpgraded      = &failure{text: "the server switched to another protocol, which was not asked for"}
	errClosedEarly   = &failure{text: "the connection was closed before an answer came", cause: io.EOF}
	errClosedMidway  = &failure{text: "the connection was closed in the middle of the answer", cause: io.ErrUnexpectedEOF}
)

// describe turns whatever went wrong into a *RefusedError or a *failure. limit is how long it was allowed to take.
func describe(ctx context.Context, err error, limit time.Duration) error {
	var refusal *RefusedError
	var already *failure
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(ctx.Err(), context.Canceled):
		return &failure{"the request was cancelled", context.Canceled}
	case isTimeout(err) || errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &failure{"did not answer within " + spell(limit), context.DeadlineExceeded}
	case errors.As(err, &already):
		return already
	}
	if f := describeTLS(err); f != nil {
		return f
	}
	return describeNetwork(err)
}

func isTimeout(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return false
	}
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

func describeNetwork(err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return &failure{"the name does not resolve", err}
	case errors.As(err, &dns) && dns.IsTimeout:
		return &failure{"looking the name up took too long", context.DeadlineExceeded}
	case errors.As(err, &dns):
		return &failure{"looking the name up failed", err}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &failure{"connection refused", err}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &failure{"the connection was reset", err}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return &failure{"there is no route to the host", err}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS):
		return &failure{"this installation has no more connections to give", err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return &failure{errClosedEarly.text, err}
	}
	return &failure{"the connection failed", err}
}

func describeTLS(err error) error {
	var (
		invalid   x509.CertificateInvalidError
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		op        *net.OpError
	)
	say := func(text string) error { return &failure{"TLS: " + text, err} }
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore) {
			return say("the certificate is not valid yet")
		}
		return say("the certificate has expired")
	case errors.As(err, &host):
		return say("the certificate is for another host")
	case errors.As(err, &authority):
		return say("the certificate is signed by an unknown authority")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return say("the certificate is not valid")
	case errors.As(err, &record):
		return say("the server does not speak TLS on this port")
	case errors.As(err, &op) && op.Op == "remote error": // so crypto/tls reports an alert
		return say("the server refused the handshake (" + strings.TrimPrefix(op.Err.Error(), "tls: ") + ")")
	case err != nil && strings.HasPrefix(err.Error(), "tls: "):
		return say("the handshake failed")
	}
	return nil
}

// spell writes a limit the way people say it: "15 s", "1.5 s", "200 ms".
func spell(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(max(d.Milliseconds(), 1), 10) + " ms"
	}
	text := d.Round(100 * time.Millisecond).String()
	if d < time.Minute {
		return strings.TrimSuffix(text, "s") + " s"
	}
	return text
}
