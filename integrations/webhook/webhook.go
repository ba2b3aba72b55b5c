// Package webhook sends events to any HTTP address, signed as Standard Webhooks 1.0 asks for. It is the integration
// for everything that has none of its own: the receiver gets the event's payload in the very bytes in which it came
// in, in one of five envelopes.
package webhook

import (
	"context"
	_ "embed" // docs.md
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/verification"
)

// Key names the integration in the API.
const Key = "webhook"

// receiver is how messages call the other side.
const receiver = "the receiver"

const (
	// timeout is how long a receiver has to answer, whatever else the attempt may take.
	timeout = 15 * time.Second
	// keptAnswer is more than what is kept of an answer; the rest is not read.
	keptAnswer = 16 << 10
)

// Webhook is the integration.
type Webhook struct{}

// New returns the integration.
func New() *Webhook { return &Webhook{} }

//go:embed docs.md
var docsPage string

// docs is the page with the code for receivers in its place.
var docs = strings.Replace(docsPage, "{{verification}}\n", verification.Markdown()+"\n", 1)

// Definition declares the integration.
func (*Webhook) Definition() *integration.Definition {
	return &integration.Definition{
		Key:         Key,
		Title:       "Webhook",
		Category:    "automation",
		Description: "Sends each event as a signed HTTP request to an address of your own.",
		Docs:        docs,
		Settings:    spec(),
		Decode:      integration.Into[Settings],
	}
}

// ShortName implements integration.Summarizer.
func (*Webhook) ShortName(settings any) string { return "Webhook " + settings.(*Settings).host }

// Destination implements integration.Summarizer.
func (*Webhook) Destination(settings any) string { return settings.(*Settings).host }

// Target implements integration.Targeter: the address without user information and query, placeholders as they are.
func (*Webhook) Target(settings any) string { return settings.(*Settings).target }

// Send makes one request. 2xx is success, 410 ends the link, and everything else is tried again.
func (*Webhook) Send(ctx context.Context, d *integration.Delivery) integration.Result {
	s := d.Settings.(*Settings)
	address, err := s.address.expand(d.Event)
	if err != nil {
		return integration.Misconfigured("%v", err)
	}
	if until, ok := ctx.Deadline(); ok && time.Until(until) > timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	body, contentType := s.body(d)
	resp, err := d.Env.HTTP.Do(ctx, &integration.Request{
		Method: s.Method, URL: address, Header: s.header(d, contentType, body), Body: body,
		Secret: s.hidden, Limit: keptAnswer,
	})
	if err != nil {
		return integration.Unreachable(receiver, err)
	}
	return judge(resp)
}

// judge turns an answer into a result. Receivers are programs that somebody is still changing: what is wrong today,
// their address or their credentials among it, may be right tomorrow, so only "gone" is final.
func judge(resp *integration.Response) integration.Result {
	r := integration.Classify(receiver, resp)
	if r.Verdict == patchbay.VerdictDelivered || r.Disable {
		return r
	}
	if resp.Status >= 300 && resp.Status < 400 {
		r.Error = receiver + " answered " + strconv.Itoa(resp.Status) + ", and redirects are not followed: enter the address that it leads to"
	}
	r.Verdict = patchbay.VerdictRetry
	return r.With(resp)
}

// header makes the request's header. The three values of Standard Webhooks share one allocation.
func (s *Settings) header(d *integration.Delivery, contentType string, body []byte) integration.Header {
	h := make(integration.Header, 0, 5+len(s.fixed))
	h.Add("Content-Type", contentType)

	var memory [256]byte
	b := appendID(memory[:0], d)
	idEnd := len(b)
	b = strconv.AppendInt(b, d.Env.Now().Unix(), 10)
	timeEnd := len(b)
	if s.signer != nil {
		b = s.sign(b, d, b[:idEnd], b[idEnd:timeEnd], body)
	}
	text := string(b)
	h.Add("webhook-id", text[:idEnd])
	h.Add("webhook-timestamp", text[idEnd:timeEnd])
	if timeEnd < len(text) {
		h.Add("webhook-signature", text[timeEnd:])
	}
	if hops := d.Event.Hops; hops > 0 {
		h.Add("patchbay-hops", strconv.Itoa(hops))
	}
	return append(h, s.fixed...)
}

// appendID appends the identifier that a receiver knows the event by: that of the original in a replay, and in every
// attempt the same.
func appendID(b []byte, d *integration.Delivery) []byte {
	if id := d.Event.Subject(); id != 0 {
		return id.AppendTo(b)
	}
	b = append(b, "evt_test"...) // an event that was made up to try settings out, and has no identifier
	return strconv.AppendInt(b, d.Env.Now().UnixMilli(), 36)
}

// sign appends the signatures to b: of the link's secret, and while it is being rotated of the one before. A preview
// is not signed, and says so.
func (s *Settings) sign(b []byte, d *integration.Delivery, id, timestamp, body []byte) []byte {
	if d.Preview {
		return append(append(b, s.signer.version()...), ",[made when it is sent]"...)
	}
	b = s.signer.sign(b, id, timestamp, body)
	if d.Previous != "" {
		if before := s.previous(d.Previous); before != nil {
			b = append(b, ' ')
			b = before.sign(b, id, timestamp, body)
		}
	}
	return b
}
