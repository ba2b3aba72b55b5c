package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/rawjson"
	"github.com/patchbay/patchbay/internal/store"
)

// Receipt says that an event is durable.
type Receipt struct {
	Event      patchbay.EventID
	Deliveries int
	// Replayed says that it was taken in before, and nothing was done now.
	Replayed bool
}

// AcceptItem takes in one event of a batch: the body of POST /events, without inline integrations, which would hold up
// the items behind. The body may be reused as soon as it returns.
func (s *Service) AcceptItem(ctx context.Context, c *access.Caller, body []byte) (Receipt, error) {
	in, event, t, err := s.read(c, body)
	if err != nil {
		return Receipt{}, err
	}
	if in.integrations != nil {
		return Receipt{}, patchbay.Invalid("integrations", "an item of a batch goes over links; send an inline call to POST /events")
	}
	if err := s.quotas.take(event.Scope.Tenant(), event.ReceivedAt); err != nil {
		return Receipt{}, err
	}
	idem := remember(c, event.Scope, in.id, body, event.ReceivedAt)
	existing, n, err := s.commit(ctx, event, t, idem)
	switch {
	case err != nil:
		return Receipt{}, err
	case existing == nil:
		return Receipt{Event: event.ID, Deliveries: n}, nil
	case existing.Body != idem.Body:
		return Receipt{}, reused(in.id)
	}
	s.deduplicated(event)
	return Receipt{Event: existing.Event, Deliveries: existing.Deliveries, Replayed: true}, nil
}

// Message is an event that a source other than the API brings: of a broker, or of the product's outbox.
type Message struct {
	// Kind is patchbay.SourceNATS or patchbay.SourceOutbox.
	Kind string
	// Key names the message among all of its Caller's for as long as it may come again: whoever brings it twice, after a
	// crash say, makes one event of it. It may hold any bytes. The message's own "id", when it has one, takes its place.
	Key string
	// Remember is how long it may come again.
	Remember time.Duration

	// Body is the event as POST /events takes it, without inline integrations. It is not changed.
	Body []byte
	// Payload, when Body is nil, is the payload alone; then these say the rest. Scoped says that there is a Scope.
	Payload    []byte
	Type       string
	Scope      string
	Scoped     bool
	Also       []string
	OccurredAt string
	Actor      []byte
}

// Take takes in a message of a source. The caller is the source: its scope bounds what the source may bring, and its
// name tells its keys from those of others. When it returns without an error the event is durable.
//
// An error is final (the message can never be accepted as it is) when Final says so; otherwise the same message should
// be brought again later.
func (s *Service) Take(ctx context.Context, c *access.Caller, m *Message) (Receipt, error) {
	in, err := m.call()
	if err != nil {
		return Receipt{}, err
	}
	event, t, err := s.check(c, in)
	if err != nil {
		return Receipt{}, err
	}
	event.Source = patchbay.Source{Kind: m.Kind}
	if err := s.quotas.take(event.Scope.Tenant(), event.ReceivedAt); err != nil {
		return Receipt{}, err
	}
	idem := m.remember(c, in, event)
	existing, n, err := s.commit(ctx, event, t, idem)
	switch {
	case err != nil:
		return Receipt{}, err
	case existing == nil:
		return Receipt{Event: event.ID, Deliveries: n}, nil
	case existing.Body != idem.Body:
		return Receipt{}, patchbay.Errorf(patchbay.CodeConflict, "id %q: %w", clip(in.id), errOtherEvent)
	}
	s.deduplicated(event)
	return Receipt{Event: existing.Event, Deliveries: existing.Deliveries, Replayed: true}, nil
}

// Final reports whether an error of Take says something about the message, which is the same at the next time.
func Final(err error) bool {
	switch patchbay.CodeOf(err) {
	case patchbay.CodeInvalidRequest, patchbay.CodePayloadTooLarge, patchbay.CodeForbidden:
		return true
	}
	return errors.Is(err, errOtherEvent) // other conflicts pass: a tenant is being erased
}

var errOtherEvent = errors.New("another event of this source has this id, with other content")

// call takes the message apart.
func (m *Message) call() (*call, error) {
	if len(m.Body)+len(m.Payload)+len(m.Actor) > patchbay.MaxEventBody {
		return nil, patchbay.Errorf(patchbay.CodePayloadTooLarge, "an event may take at most %d bytes", patchbay.MaxEventBody)
	}
	if m.Body != nil {
		in, err := parse(m.Body)
		if err == nil && in.integrations != nil {
			err = patchbay.Invalid("integrations", "a source's events go over links; send an inline call to POST /events")
		}
		return in, err
	}
	c := &call{name: m.Type, scope: m.Scope, scoped: m.Scoped, also: m.Also}
	var wrong []patchbay.Detail
	set := func(path string, value []byte) {
		if value == nil {
			return
		}
		var message string
		if err := rawjson.Check(value, rawjson.MaxDepth); err != nil {
			message = "is not JSON that can be read: " + err.Error()
		} else {
			message = c.field(path, value)
		}
		if message != "" {
			wrong = append(wrong, patchbay.Detail{Path: path, Message: message})
		}
	}
	set("payload", m.Payload)
	set("actor", m.Actor)
	if m.OccurredAt != "" {
		if message := c.moment(m.OccurredAt); message != "" {
			wrong = append(wrong, patchbay.Detail{Path: "occurred_at", Message: message})
		}
	}
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	return c, nil
}

// remember makes what is remembered of the message. Under the message's own key nothing else can come, so what it says
// is not compared: how a source reads its messages may change between two tries.
func (m *Message) remember(c *access.Caller, in *call, event *patchbay.Event) *store.Idempotency {
	idem := remember(c, event.Scope, in.id, m.Body, event.ReceivedAt)
	if idem == nil {
		if m.Key == "" {
			return nil
		}
		// A scope holds no zero byte, so this cannot be the key of a tenant.
		k := sha256.Sum256([]byte(c.ID() + "\x00\x00" + m.Key))
		idem = &store.Idempotency{Key: [16]byte(k[:16])}
	}
	idem.Until = event.ReceivedAt.Add(max(m.Remember, rememberFor))
	return idem
}
