package nats

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
)

// The headers of a message that is the payload alone.
const (
	HeaderType       = "Patchbay-Event-Type"
	HeaderScope      = "Patchbay-Scope"
	HeaderAlso       = "Patchbay-Also" // can be repeated
	HeaderOccurredAt = "Patchbay-Occurred-At"
	HeaderActor      = "Patchbay-Actor" // JSON
)

// HeaderReason says in a dead letter why the message was refused; the message is otherwise as it was, with where it
// came from in HeaderOrigin.
const (
	HeaderReason = "Patchbay-Reason"
	HeaderOrigin = "Patchbay-Origin"
)

// taking takes messages of one stream, as it is since epoch.
type taking struct {
	*Source
	js     jetstream.JetStream
	epoch  int64
	caller *access.Caller
}

// take makes an event of a message, and tells the broker what came of it.
func (t *taking) take(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		t.o.Log.Error("a message is none of a stream", "subject", msg.Subject(), "error", err)
		return
	}
	var receipt ingest.Receipt
	m, err := t.message(msg, meta)
	if err == nil {
		// Not the source's context: what has come is finished, also while it stops.
		receipt, err = t.o.Ingest.Take(context.Background(), t.caller, m)
	}
	switch {
	case err == nil:
		t.meter.Took(receipt)
		t.meter.Waits(int64(meta.NumPending), time.Since(meta.Timestamp)) //nolint:gosec // a count of messages
		t.said(msg.Ack(), msg)
	case ingest.Final(err):
		t.refuse(msg, meta, err)
	default:
		t.postpone(msg, meta, err)
	}
}

// said notes an answer that did not reach the broker: it will give out the message again, and the event is known then.
func (t *taking) said(err error, msg jetstream.Msg) {
	if err != nil {
		t.o.Log.Debug("an acknowledgement did not reach the broker", "subject", msg.Subject(), "error", err)
	}
}

// refuse lets go of a message that can never be accepted, where it stays visible.
func (t *taking) refuse(msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) {
	if t.o.DeadLetter != "" {
		if err := t.bury(msg, meta, why); err != nil {
			t.postpone(msg, meta, err)
			return
		}
	}
	t.meter.Refused()
	t.o.Log.Warn("a message was refused: it can never be accepted", "subject", msg.Subject(), "stream", meta.Stream,
		"sequence", meta.Sequence.Stream, "reason", why.Error())
	reason := strings.Join(strings.Fields(why.Error()), " ") // one line
	t.said(msg.TermWithReason(strings.ToValidUTF8(reason[:min(len(reason), 200)], "")), msg)
}

// bury publishes a refused message to the dead-letter subject. Of a stream there, the broker confirms that it is kept.
func (t *taking) bury(msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) error {
	ctx, cancel := context.WithTimeout(context.Background(), asking)
	defer cancel()
	dead := &nats.Msg{Subject: t.o.DeadLetter, Data: msg.Data(), Header: nats.Header{}}
	for name, values := range msg.Headers() {
		dead.Header[name] = values
	}
	origin := meta.Stream + ":" + strconv.FormatUint(meta.Sequence.Stream, 10)
	dead.Header.Set(HeaderReason, strings.Join(strings.Fields(why.Error()), " "))
	dead.Header.Set(HeaderOrigin, origin+" "+msg.Subject())
	dead.Header.Set(jetstream.MsgIDHeader, "patchbay-refused:"+strconv.FormatInt(t.epoch, 36)+":"+origin)
	_, err := t.js.PublishMsg(ctx, dead)
	if errors.Is(err, jetstream.ErrNoStreamResponse) { // nobody keeps it, somebody may listen
		err = t.conn.PublishMsg(dead)
	}
	return err
}

// postpone has the broker give out the message again later.
func (t *taking) postpone(msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) {
	t.meter.Postponed()
	delay := pause(meta.NumDelivered)
	var e *patchbay.Error
	if errors.As(why, &e) && e.RetryAfter > 0 {
		delay = max(delay, time.Duration(e.RetryAfter)*time.Second)
	}
	if meta.NumDelivered == 1 || meta.NumDelivered%16 == 0 {
		t.o.Log.Warn("a message could not be accepted; it will be tried again", "subject", msg.Subject(), "sequence", meta.Sequence.Stream,
			"deliveries", meta.NumDelivered, "error", why)
	}
	t.said(msg.NakWithDelay(delay), msg)
}

// pause is how long a message waits that was given out n times.
func pause(n uint64) time.Duration { return min(time.Minute, time.Second<<min(n, 6)/2) }

// message reads a message: a whole event, or its payload alone.
func (t *taking) message(msg jetstream.Msg, meta *jetstream.MsgMetadata) (*ingest.Message, error) {
	h := msg.Headers()
	m := &ingest.Message{Kind: patchbay.SourceNATS, Remember: rememberFor}
	if id := h.Get(jetstream.MsgIDHeader); id != "" {
		m.Key = "id:" + id
	} else {
		m.Key = "sequence:" + strconv.FormatInt(t.epoch, 36) + ":" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	return m, t.o.fill(m, msg.Subject(), h, msg.Data())
}

// fill takes over what a message says.
func (o *Options) fill(m *ingest.Message, subject string, h nats.Header, data []byte) error {
	if m.Type = h.Get(HeaderType); m.Type == "" && o.Type.Empty() {
		for _, name := range []string{HeaderScope, HeaderAlso, HeaderOccurredAt, HeaderActor} {
			if len(h[name]) > 0 {
				return patchbay.Invalid(name, "goes with %s, which is not there: without it the message must be a whole event", HeaderType)
			}
		}
		if m.Body = data; len(data) == 0 {
			return patchbay.Errorf(patchbay.CodeInvalidRequest, "the message is empty: it must be an event, or have the header %s", HeaderType)
		}
		return nil
	}
	var err error
	if m.Type == "" {
		if m.Type, err = o.Type.Make(subject); err != nil {
			return patchbay.Invalid("type", "%v", err)
		}
	}
	if len(data) > 0 {
		m.Payload = data
	}
	switch values := h[HeaderScope]; {
	case len(values) > 1:
		return patchbay.Invalid(HeaderScope, "is given more than once")
	case len(values) == 1:
		m.Scope, m.Scoped = values[0], true
	case !o.Scope.Empty():
		if m.Scope, err = o.Scope.Make(subject); err != nil {
			return patchbay.Invalid("scope", "%v", err)
		}
		m.Scoped = true
	}
	m.Also = h[HeaderAlso]
	m.OccurredAt = h.Get(HeaderOccurredAt)
	if actor := h.Get(HeaderActor); actor != "" {
		m.Actor = []byte(actor)
	}
	return nil
}
