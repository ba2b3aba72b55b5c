package obs

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"
)

const (
	// reportFlush bounds how long a stop waits for reports that are on their way.
	reportFlush = 2 * time.Second
	// reportTimeout bounds one report.
	reportTimeout = 10 * time.Second
	// reportText bounds a text in a report, reportStack a stack.
	reportText  = 500
	reportStack = 8 << 10
)

// reported are the attributes of the log that reports carry: identifiers, names of ours and counts. What else is logged
// stays here, because the log is the operator's and reports go to somebody else.
var reported = map[string]int{
	"error": reportText, "panic": reportText, "stack": reportStack, "link": reportText, "event": reportText, "delivery": reportText, "job": reportText,
	"integration": reportText, "type": reportText, "method": reportText, "route": reportText, "count": reportText, "node": reportText, "why": reportText,
}

// hidden is what no report may carry, wherever it stands: user information and queries of addresses, and tokens.
var hidden = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`://[^/\s@"']+@`), "://…@"},
	{regexp.MustCompile(`(://[^\s"'?]*)\?[^\s"']*`), "$1?…"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+\S+`), "$1 …"},
	{regexp.MustCompile(`\b(pk_|whsec_|whsk_|xox[a-z]-|gh[pousr]_|sk_)[A-Za-z0-9+/=_.-]+`), "$1…"},
	{regexp.MustCompile(`(?i)\b(password|secret|token|api_?key)(["']?\s*[=:]\s*)\S+`), "$1$2…"},
	{regexp.MustCompile(`[A-Za-z0-9+/_-]{40,}={0,2}`), "…"},
}

// scrub hides secrets in a text and bounds it.
func scrub(text string, most int) string {
	if len(text) > 4*most {
		text = text[:4*most]
	}
	for _, h := range hidden {
		text = h.what.ReplaceAllString(text, h.by)
	}
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

// Reporter sends what is logged as an error, panics among it, to a Sentry server. It never blocks: reports wait in a
// bounded queue, and what does not fit is dropped.
type Reporter struct {
	client    *sentry.Client
	transport *http.Transport
	cancel    context.CancelFunc // ends requests that are under way
}

// ending is a transport whose requests end with ctx.
type ending struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (e ending) RoundTrip(r *http.Request) (*http.Response, error) {
	return e.next.RoundTrip(r.WithContext(e.ctx)) // which has no end of its own: the transport bounds the answer
}

// NewReporter makes a Reporter for a DSN. The error does not show the DSN.
func NewReporter(dsn, version string) (*Reporter, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: reportTimeout, TLSHandshakeTimeout: reportTimeout, IdleConnTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: reportTimeout}).DialContext,
	}
	ctx, cancel := context.WithCancel(context.Background())
	client, err := sentry.NewClient(sentry.ClientOptions{
		Dsn: dsn, Release: "patchbay@" + version, HTTPClient: &http.Client{Transport: ending{ctx, transport}}, MaxBreadcrumbs: -1, ServerName: "patchbay",
		DisableClientReports: true,
		Integrations:         func([]sentry.Integration) []sentry.Integration { return nil }, // they look at the environment
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("the Sentry DSN cannot be read: write it as https://KEY@HOST/PROJECT, as the project's settings show it")
	}
	return &Reporter{client, transport, cancel}, nil
}

// Flush waits until what was reported has been sent, for two seconds at most and no longer than ctx.
func (r *Reporter) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reportFlush)
	defer cancel()
	r.client.FlushWithContext(ctx)
	r.cancel()
	r.client.Close()
	r.transport.CloseIdleConnections()
	return nil // a report that does not arrive is no reason for a stop to fail
}

// Handler returns a handler that passes everything on to next, and reports errors besides.
func (r *Reporter) Handler(next slog.Handler) slog.Handler {
	return &reportHandler{r: r, next: next}
}

type reportHandler struct {
	r     *Reporter
	next  slog.Handler
	attrs []slog.Attr
	group bool // within a group nothing is reported but the message
}

// Enabled implements slog.Handler.
func (h *reportHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError || h.next.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h *reportHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.next = h.next.WithAttrs(attrs)
	if !h.group {
		n.attrs = append(append([]slog.Attr(nil), h.attrs...), attrs...)
	}
	return &n
}

// WithGroup implements slog.Handler.
func (h *reportHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.next, n.group = h.next.WithGroup(name), true
	return &n
}

// Handle implements slog.Handler.
func (h *reportHandler) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelError {
		h.r.client.CaptureEvent(h.event(&record), nil, nil)
	}
	if !h.next.Enabled(ctx, record.Level) {
		return nil
	}
	return h.next.Handle(ctx, record)
}

// event makes the report of a record.
func (h *reportHandler) event(record *slog.Record) *sentry.Event {
	e := sentry.NewEvent()
	e.Level, e.Timestamp, e.Logger = sentry.LevelError, record.Time, "patchbay"
	e.Message = scrub(record.Message, reportText)
	extra := map[string]any{}
	add := func(a slog.Attr) bool {
		if most, ok := reported[a.Key]; ok {
			extra[a.Key] = scrub(a.Value.Resolve().String(), most)
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	if !h.group {
		record.Attrs(add)
	}
	if text, ok := extra["panic"].(string); ok {
		e.Level = sentry.LevelFatal
		e.Message += ": " + text
	}
	e.Contexts = map[string]sentry.Context{"log": extra}
	e.Fingerprint = []string{record.Message} // what is about different links is still one problem
	return e
}
