package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/stream"
)

const (
	// maxStreams bounds readers of /v1/stream: every event is compared with the filter of each.
	maxStreams = 256
	// streamWrite is how long a reader may take to take what is written before it is cut off.
	streamWrite = 30 * time.Second
	// streamBatch is about how much goes out in one write.
	streamBatch = 64 << 10
)

// streamRoutes registers /v1/stream.
func (a *api) streamRoutes() {
	text := &huma.Schema{Type: huma.TypeString}
	param := func(name, about string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: about, Schema: text}
	}
	a.plain(&huma.Operation{OperationID: "stream", Method: http.MethodGet, Path: "/v1/stream", Summary: "Watch what happens",
		Description: "Server-sent events, named `event`, `delivery` and `attempt`, as they happen; the data is JSON. `lagged` says how many were left out because they were not read in time, and a comment every 15 seconds that the stream is alive. Nothing from before the call is sent.\n\nNeeds the permission `read`.",
		Tags:        []string{tagEvents}, Security: a.document.withKey(),
		Parameters: []*huma.Param{
			param("kind", "event, delivery or attempt, or several separated by commas."), param("type", "Patterns of event types, separated by commas."),
			param("scope", "At or below it."), param("event", "An event's identifier."), param("link", "A link's identifier."),
			param("state", "Deliveries' states or attempts' verdicts, separated by commas."), param("integration", "An integration's key."),
		},
		Responses: map[string]*huma.Response{"200": {Description: "The stream.", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: text,
			Example: "event: event\nid: 1\ndata: {\"id\":\"evt_06hjzrqsbr001\",\"type\":\"repo.push\"}\n\n"}}}},
	}, a.watch)
}

// watch answers GET /v1/stream until its caller leaves, its key ends, or the hub is closed.
func (a *api) watch(w http.ResponseWriter, r *http.Request) {
	c, err := a.Access.Caller(r.Header)
	if err == nil {
		err = c.Require(access.Read)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	filter, err := streamFilter(c, r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		a.fail(w, r, &patchbay.Error{Code: patchbay.CodeRateLimited, Message: fmt.Sprintf("%d streams are open, which is the most that there may be", maxStreams), RetryAfter: 30})
		return
	}
	sub := a.Stream.Subscribe(filter)
	defer sub.Close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h["Cache-Control"] = noStore
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := &eventWriter{w: w, conn: http.NewResponseController(w)}
	if out.flush(": here is what happens from now on\n\n") != nil {
		return
	}
	a.relay(r, sub, out)
}

// relay writes what the subscription yields.
func (a *api) relay(r *http.Request, sub *stream.Subscription, out *eventWriter) {
	beat := time.NewTicker(a.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			if _, err := a.Access.Caller(r.Header); err != nil { // the key was deleted, or has expired
				return
			}
			if out.flush(": alive\n\n") != nil {
				return
			}
		case m, open := <-sub.Messages():
			if open {
				open = out.collect(m, sub)
			}
			if n := sub.Dropped(); n > 0 {
				out.buf = append(out.buf, "event: lagged\ndata: {\"dropped\":"+strconv.FormatUint(n, 10)+"}\n\n"...)
			}
			if !open {
				_ = out.flush(": the server ends the stream\n\n") // it is over either way
				return
			}
			if out.flush("") != nil {
				return
			}
		}
	}
}

// eventWriter writes server-sent events.
type eventWriter struct {
	w    http.ResponseWriter
	conn *http.ResponseController
	buf  []byte
}

// collect puts the message and what else is there already into the buffer, so that it goes out in one write. It
// reports whether the subscription goes on.
func (e *eventWriter) collect(m *stream.Message, sub *stream.Subscription) bool {
	for {
		e.add(m)
		if len(e.buf) > streamBatch {
			return true
		}
		var open bool
		select {
		case m, open = <-sub.Messages():
			if !open {
				return false
			}
		default:
			return true
		}
	}
}

// add puts one message into the buffer. Data that cannot be marshalled is left out.
func (e *eventWriter) add(m *stream.Message) {
	data, err := m.JSON()
	if err != nil {
		return
	}
	e.buf = append(e.buf, "event: "...)
	e.buf = append(e.buf, m.Kind...)
	e.buf = append(e.buf, "\nid: "...)
	e.buf = strconv.AppendUint(e.buf, m.Number, 10)
	e.buf = append(e.buf, "\ndata: "...)
	e.buf = append(e.buf, data...) // compact JSON has no line breaks
	e.buf = append(e.buf, "\n\n"...)
}

// flush sends what is in the buffer, and then the text.
func (e *eventWriter) flush(text string) error {
	e.buf = append(e.buf, text...)
	_ = e.conn.SetWriteDeadline(time.Now().Add(streamWrite)) // not every connection can; then the server's own limits hold
	_, err := e.w.Write(e.buf)
	e.buf = e.buf[:0]
	if err != nil {
		return err
	}
	return e.conn.Flush()
}

// streamFilter reads the query.
func streamFilter(c *access.Caller, r *http.Request) (f stream.Filter, err error) {
	q, err := query(r, "kind", "type", "scope", "event", "link", "state", "integration")
	if err != nil {
		return f, err
	}
	if f.Scope, err = reachable(c, q.Get("scope")); err != nil {
		return f, err
	}
	f.Within = c.Scope
	if err := filterID("link", q.Get("link"), &f.Link); err != nil {
		return f, err
	}
	if err := filterID("event", q.Get("event"), &f.Event); err != nil {
		return f, err
	}
	f.Kinds = several(q, "kind")
	for _, k := range f.Kinds {
		if !slices.Contains(stream.Kinds(), k) {
			return f, patchbay.Invalid("kind", "must be one of %s", strings.Join(stream.Kinds(), ", "))
		}
	}
	f.States = several(q, "state")
	for _, s := range f.States {
		if !patchbay.DeliveryState(s).Valid() && !validVerdict(s) {
			return f, patchbay.Invalid("state", "must be a delivery's state or an attempt's verdict")
		}
	}
	for _, text := range several(q, "type") {
		p, err := patchbay.ParsePattern(text)
		if err != nil {
			return f, patchbay.Invalid("type", "%v", err)
		}
		f.Types = append(f.Types, p)
	}
	f.Integration = q.Get("integration")
	return f, nil
}

func validVerdict(s string) bool {
	switch patchbay.Verdict(s) {
	case patchbay.VerdictDelivered, patchbay.VerdictRetry, patchbay.VerdictRejected, patchbay.VerdictAuthExpired:
		return true
	}
	return false
}

// several splits a parameter at its commas; nil when it is absent or empty.
func several(q url.Values, name string) []string {
	if q.Get(name) == "" {
		return nil
	}
	return strings.Split(q.Get(name), ",")
}
