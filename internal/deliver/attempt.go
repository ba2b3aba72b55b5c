package deliver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

// Call is one attempt: of a delivery, of an inline integration, of a test, or a preview of one.
type Call struct {
	Link     *Link
	Event    *patchbay.Event
	Delivery patchbay.DeliveryID
	Attempt  int
	// Reference and Stale are about the thread; see integration.Delivery.
	Reference string
	Stale     bool
	Preview   bool
	Consumer  *integration.OAuthConsumer
	// Test calls the integration's Tester when it has one.
	Test bool
}

// Outcome is what came of a Call.
type Outcome struct {
	integration.Result
	// Attempt is what is kept of it.
	Attempt patchbay.Attempt
	// Body is the request's body, in previews.
	Body []byte
	// Host is the destination that was called, when the link's settings do not tell it.
	Host string
	// refused says that the partner did not take the connection's credentials, which are renewed.
	refused bool
}

// Try makes one attempt now and returns what came of it. It records nothing: the queue's own attempts, inline calls,
// tests and previews all go through it.
func (e *Engine) Try(ctx context.Context, c Call) Outcome {
	wire := e.o.Client.AttemptWith(c.Link.Redactor)
	if c.Preview {
		wire = e.o.Client.Preview(c.Link.Secrets)
	}
	began := e.o.Now()
	out := Outcome{}
	out.Result, out.refused = e.call(ctx, &c, wire)
	took := e.o.Now().Sub(began)

	request := wire.Request()
	code, response := wire.Response()
	if request != nil {
		out.Body = request.Body
		if c.Link.Host == "" {
			out.Host = hostOf(request.URL)
		}
	}
	if out.Code == 0 {
		out.Code = code
	}
	if out.Error != "" {
		out.Error = clipTo(wire.Redact(out.Error), patchbay.MaxErrorKept)
	}
	if len(out.Result.Body) > 0 && out.Verdict != patchbay.VerdictDelivered {
		out.Result.Body = []byte(wire.Body(out.Result.Body))
	}
	out.Attempt = patchbay.Attempt{
		At: began, DurationMS: max(took.Milliseconds(), 0), Verdict: out.Verdict, ErrorType: out.Type, Error: out.Error,
		ResponseCode: out.Code, Request: request, ResponseBody: response,
	}
	return out
}

// call runs the integration, and turns its panic into a verdict: one integration's bug must not take the others down.
func (e *Engine) call(ctx context.Context, c *Call, wire *outbound.Attempt) (res integration.Result, refused bool) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("an integration panicked", "integration", c.Link.Integration, "link", c.Link.ID,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			res = integration.Retry("the integration %s failed in an unexpected way; its log says how", c.Link.Integration)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	con, unusable := e.connection(ctx, c)
	if unusable != nil {
		return *unusable, false
	}
	if con != nil && !c.Preview {
		wire.Hide(e.redactors.hiding(con))
	}
	d := &integration.Delivery{
		ID: c.Delivery, Attempt: c.Attempt, Event: c.Event, Title: e.o.Catalog.Title(c.Event), Settings: c.Link.Settings,
		Reference: c.Reference, Stale: c.Stale, Preview: c.Preview, Consumer: c.Consumer,
		Connection: con,
		Message:    func() (*integration.Message, error) { return e.o.Catalog.Render(c.Event, c.Link.Definition) },
		Env: &integration.Env{
			HTTP: wire, Dial: e.o.Client.Dial, Record: wire.Record, Config: c.Link.Config,
			Log: e.log, Now: e.o.Now, PublicURL: e.o.PublicURL,
		},
	}
	if p := c.Link.Previous; p != nil && p.Until.After(e.o.Now()) {
		d.Previous = p.Value
	}
	if c.Link.Body != nil {
		body, err := c.Link.Body(c.Event)
		if err != nil {
			return integration.Misconfigured("the link's body expression failed: %v", err), false
		}
		d.Body = body
	}
	switch {
	case c.Test && c.Link.Tester != nil:
		res = c.Link.Tester.Test(ctx, d)
	case c.Link.Sender == nil:
		return integration.Misconfigured("the integration %s only receives", c.Link.Integration), false
	default:
		res = checked(c.Link.Sender.Send(ctx, d))
	}
	if refused = res.Verdict == patchbay.VerdictAuthExpired && con != nil && !c.Preview; refused {
		e.o.Connections.Refused(ctx, con)
	}
	return res, refused
}

// checked turns a Result that no integration should return into one that means something.
func checked(r integration.Result) integration.Result {
	switch r.Verdict {
	case patchbay.VerdictDelivered:
		r.Type, r.Error = "", ""
		return r
	case patchbay.VerdictRetry, patchbay.VerdictRejected, patchbay.VerdictAuthExpired:
	default:
		r = integration.Retry("the integration returned no verdict")
	}
	if r.Type == "" {
		r.Type = patchbay.CodeServiceError
	}
	if r.Error == "" {
		r.Error = "the integration did not say what went wrong"
	}
	return r
}

// clipTo shortens text on a rune's border.
func clipTo(s string, most int) string {
	if len(s) <= most {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

// work sends items until there is none.
func (e *Engine) work(it *item) {
	for it != nil {
		it = e.step(it)
	}
}

// step sends one item, records what came of it, and returns the next item for this worker.
func (e *Engine) step(it *item) *item {
	link := it.lane.linkNow(e)
	if over := e.overAge(it, link); over != nil {
		return e.finish(it, link, *over, nil)
	}
	c := Call{Link: link, Event: it.event, Delivery: it.delivery, Attempt: it.attempts + 1}
	if it.thread != "" {
		state, err := e.o.Store.Thread(e.sendCtx, link.ID, it.thread)
		if err != nil {
			if e.sendCtx.Err() == nil {
				e.log.Error("a thread could not be looked up; trying again", "link", link.ID, "error", err)
			}
			return e.putBack(it, link, stallPause)
		}
		c.Reference, c.Stale = state.Reference, state.Event > it.event.Subject()
	}
	if it.attempts > 0 && it.firstAt.IsZero() && link.Order != nil && link.Order.LongestBlock > 0 {
		it.firstAt = e.firstAttempt(it)
	}
	if c := e.o.Cluster; c != nil && !c.Valid() {
		return e.putBack(it, link, 0) // looking something up has taken too long
	}
	out := e.Try(e.sendCtx, c)
	if e.sendCtx.Err() != nil && out.Verdict != patchbay.VerdictDelivered {
		return e.abandon(it) // cut short by shutdown: not the partner's fault, so not an attempt
	}
	return e.finish(it, link, e.decide(it, link, &out), &out)
}

// stallPause is the pause before a delivery is taken up again whose thread could not be looked up.
const stallPause = time.Second

// putBack gives an item back to its lane before anything was sent, and returns the worker's next one.
func (e *Engine) putBack(it *item, link *Link, pause time.Duration) *item {
	e.mu.Lock()
	l := it.lane
	if why := it.unwanted(); why != "" {
		e.mu.Unlock()
		return e.finish(it, link, decision{state: patchbay.DeliveryCancelled, used: it.used, why: why}, nil)
	}
	defer e.mu.Unlock()
	e.release(it)
	it.slow = false
	switch {
	case it.queued && !l.owned: // it was lost meanwhile
		l.letGo(it.delivery)
		l.hands--
		e.unchain(it)
		l.checkDrained()
	case e.stopping && it.queued: // the row is still there
	default:
		if l.ready.pushFront(it); !it.queued {
			l.fresh++
			if !l.listed {
				l.listed = true
				e.fresh = append(e.fresh, l)
				e.sweepSoon()
			}
		}
		e.readyBytes += len(it.event.Payload)
		if pause > 0 {
			l.stalled = e.now().Add(pause)
		}
		e.giveBack(l)
	}
	e.kick(l)
	next := e.pick()
	if next == nil {
		e.leave()
	}
	return next
}

// unwanted says why an item is not to be sent any more, "" when it is.
func (it *item) unwanted() string {
	switch {
	case it.lane.removed:
		return deletedReason
	case it.cancelled:
		return byHandReason
	}
	return ""
}

// firstAttempt returns when the first attempt at a delivery began, or a time before that when it cannot be looked up.
func (e *Engine) firstAttempt(it *item) time.Time {
	d, err := e.o.Store.Delivery(e.sendCtx, it.delivery)
	if err == nil {
		for i := range d.Attempts {
			if d.Attempts[i].Verdict != "" {
				return d.Attempts[i].At
			}
		}
	}
	return it.event.ReceivedAt
}

// linkNow returns the link as it is now.
func (l *lane) linkNow(e *Engine) *Link {
	e.mu.Lock()
	defer e.mu.Unlock()
	return l.link
}

// hostOf returns the host and port of an address, as far as it names them.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// jsonOrNil returns b when it is JSON.
func jsonOrNil(b []byte) json.RawMessage {
	if json.Valid(b) {
		return b
	}
	return nil
}
