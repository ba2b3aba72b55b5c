package integrationtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

// stage is one partner with the environment of one integration that talks to it.
type stage struct {
	t        *testing.T
	kit      *kit
	server   *httptest.Server
	settings any
	raw      json.RawMessage
	http     *client
	env      *integration.Env
	records  []integration.Exchange
	sending  sync.WaitGroup

	mu       sync.Mutex
	requests int
	bodies   [][]byte
}

// stage starts a partner. A nil handler answers as the case says.
func (k *kit) stage(t *testing.T, handler http.Handler) *stage {
	t.Helper()
	if handler == nil {
		handler = k.well()
	}
	s := &stage{t: t, kit: k}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(b))
		s.mu.Lock()
		s.requests++
		s.bodies = append(s.bodies, b)
		s.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.Start()
	s.raw = k.check(t, s.server.URL)
	s.settings = k.decode(t, s.raw)
	s.http = newClient()
	t.Cleanup(func() {
		s.http.client.CloseIdleConnections()
		s.server.CloseClientConnections()
		s.server.Close()
		s.sending.Wait() // without a partner even a Send that ignored its context ends
	})
	s.env = &integration.Env{
		HTTP: s.http, Dial: dialHere, Log: slog.New(slog.DiscardHandler), Now: time.Now, PublicURL: "https://patchbay.example.test",
		Record: func(x integration.Exchange) { s.records = append(s.records, x) },
	}
	if k.Config != "" {
		s.env.Config = json.RawMessage(strings.ReplaceAll(k.Config, "{{URL}}", s.server.URL))
	}
	return s
}

func (k *kit) well() http.Handler {
	if k.Partner != nil {
		return k.Partner
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w, "ok") })
}

// write answers with a body. Whether it arrives is the integration's concern.
func write(w io.Writer, body string) { _, _ = io.WriteString(w, body) }

func (k *kit) check(t *testing.T, address string) json.RawMessage {
	t.Helper()
	raw, err := k.def.Settings.Check(json.RawMessage(strings.ReplaceAll(k.Settings, "{{URL}}", address)), k.options())
	if err != nil {
		t.Fatalf("the case's settings are refused: %v", err)
	}
	return raw
}

// options says how strictly settings are checked: as those of a link with the case's connection.
func (k *kit) options() integration.CheckOptions {
	return integration.CheckOptions{Connected: k.Connection != nil}
}

// secrets are all texts that nobody may see.
func (k *kit) secrets() []string {
	if k.Connection == nil {
		return k.Secrets
	}
	return slices.Concat(k.Secrets, k.Connection.Credentials.Secrets())
}

func (k *kit) decode(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	settings, err := k.def.Decode(raw)
	if err != nil {
		t.Fatalf("Decode refuses settings that Check accepted: %v", err)
	}
	return settings
}

// delivery returns a first attempt at the case's event, or one with another message or payload.
func (s *stage) delivery(m *patchbay.Message) *integration.Delivery {
	e := *s.kit.Event
	if m == nil {
		m = s.kit.Message
	}
	return &integration.Delivery{
		ID: patchbay.DeliveryAt(e.ID, 1), Attempt: 1, Event: &e, Title: "Push", Settings: s.settings, Consumer: s.kit.Consumer, Env: s.env,
		Connection: s.kit.Connection,
		Message:    func() (*integration.Message, error) { copied := *m; return &copied, nil },
	}
}

// send makes an attempt, in bounded time, and checks what holds of every result.
func (s *stage) send(ctx context.Context, d *integration.Delivery) integration.Result {
	s.t.Helper()
	done := make(chan integration.Result, 1)
	s.sending.Go(func() { done <- s.kit.Integration.Send(ctx, d) })
	select {
	case r := <-done:
		s.sane(r)
		return r
	case <-time.After(20 * time.Second):
		s.t.Fatal("Send did not return")
		return integration.Result{}
	}
}

// sane checks that a result means something and shows nothing secret.
func (s *stage) sane(r integration.Result) {
	s.t.Helper()
	switch r.Verdict {
	case patchbay.VerdictDelivered:
		if r.Type != "" || r.Error != "" || r.Throttled || r.Disable {
			s.t.Errorf("a delivered result with an error: %+v", r)
		}
	case patchbay.VerdictRetry, patchbay.VerdictRejected, patchbay.VerdictAuthExpired:
		if r.Error == "" || r.Type == "" {
			s.t.Errorf("the verdict %s without a sentence and a type: %+v", r.Verdict, r)
		}
	default:
		s.t.Errorf("no verdict: %+v", r)
	}
	if r.RetryAfter < 0 {
		s.t.Errorf("RetryAfter is %v", r.RetryAfter)
	}
	for _, where := range []string{r.Error, r.Reference} {
		s.kit.noSecret(s.t, "the result", where)
		if strings.ContainsAny(where, "\r\x00") {
			s.t.Errorf("a control character in the result: %q", where)
		}
	}
}

// spellings are the forms in which a secret travels.
func spellings(secret string) []string {
	quoted, _ := json.Marshal(secret)
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`),
		base64.StdEncoding.EncodeToString([]byte(secret)),
	}
}

// noSecret fails when a secret stands in a text.
func (k *kit) noSecret(t *testing.T, what, text string) {
	t.Helper()
	for _, secret := range k.secrets() {
		if slices.ContainsFunc(spellings(secret), func(s string) bool { return strings.Contains(text, s) }) {
			t.Errorf("%s shows the secret %q: %.300q", what, secret, text)
		}
	}
}

// redacted returns what would be kept of a request: what the engine's client always hides, what the settings' Spec
// calls secret, and what the request itself names, taken out.
func (s *stage) redacted(r *integration.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n%s\n", r.Method, integration.MaskUserinfo(r.URL), r.Body)
	for _, h := range r.Header {
		switch strings.ToLower(h.Name) {
		case "authorization", "proxy-authorization", "cookie", "x-trackertoken", "x-api-key":
		default:
			fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
		}
	}
	text := b.String()
	for _, secret := range slices.Concat(r.Secret, s.kit.def.Settings.Secrets(s.raw)) {
		for _, spelled := range spellings(secret) {
			if spelled != "" {
				text = strings.ReplaceAll(text, spelled, patchbay.Redacted)
			}
		}
	}
	return text
}

// client is integration.HTTP on net/http, bounded as the engine's is, with a memory. In a preview it sends nothing.
type client struct {
	client  *http.Client
	preview bool
	sent    []*integration.Request
}

func newClient() *client {
	return &client{client: &http.Client{
		Transport:     &http.Transport{DialContext: dialHere, MaxIdleConnsPerHost: 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       15 * time.Second,
	}}
}

// Do implements integration.HTTP.
func (c *client) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	kept := *req
	kept.Header, kept.Body = slices.Clone(req.Header), bytes.Clone(req.Body)
	c.sent = append(c.sent, &kept)
	if c.preview {
		return nil, integration.ErrPreview
	}
	r, err := http.NewRequestWithContext(ctx, req.Method, req.URL, bytes.NewReader(kept.Body))
	if err != nil {
		return nil, errors.New("the address is not a URL that can be read")
	}
	for _, h := range req.Header {
		switch strings.ToLower(h.Name) {
		case "host", "content-length", "connection", "transfer-encoding":
			return nil, fmt.Errorf("the header %s is made by the client and cannot be set", h.Name)
		}
		r.Header.Add(h.Name, h.Value)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return nil, said(ctx, err)
	}
	defer resp.Body.Close()
	limit := integration.MaxResponse
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return nil, said(ctx, err)
	}
	out := &integration.Response{Status: resp.StatusCode, Body: body[:min(len(body), limit)], Truncated: len(body) > limit}
	for name, values := range resp.Header {
		for _, v := range values {
			out.Header.Add(name, v)
		}
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		out.RetryAfter = time.Duration(seconds) * time.Second
	}
	return out, nil
}

// said is an error as the engine's client words it, without the address.
func said(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return errors.New("the connection failed")
}

// dialHere reaches this machine only.
func dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%w: the contract kit reaches this machine only", integration.ErrRefused)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}
