package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
	"github.com/patchbay/patchbay/internal/store"
)

// Brought is an event that a partner's call became.
type Brought struct {
	// Key names the event among all that calls become. The same key again is the same event, whatever else it says: a call
	// may be read twice, after a crash or because somebody asks for it.
	Key string
	// Remember is how long the key may come again; at least a day.
	Remember time.Duration

	Type  string
	Scope patchbay.Scope
	// Also are further scopes of the same tenant, at most patchbay.MaxAlso.
	Also []patchbay.Scope
	// Payload is a JSON object; Actor is one or nil. They are kept as they are.
	Payload, Actor json.RawMessage
	OccurredAt     time.Time
	// Source names the link and the place at the partner, so that nothing is sent back there.
	Source patchbay.Source
	Hops   int
}

// Bring takes in an event that a partner's call became. When it returns without an error the event is durable. An error is
// final (the event can never be accepted as it is) when Final says so; otherwise it should be brought again later.
func (s *Service) Bring(ctx context.Context, in *Brought) (Receipt, error) {
	t := s.o.Catalog.Type(in.Type)
	if t == nil || strings.HasPrefix(in.Type, patchbay.SystemPrefix) {
		return Receipt{}, patchbay.Invalid("event_type", "there is no event type %q that a hook may bring; GET /events lists those that there are", clip(in.Type))
	}
	if err := in.check(); err != nil {
		return Receipt{}, err
	}
	if details := t.Validate(in.Payload); len(details) > 0 {
		return Receipt{}, invalid(details)
	}
	if err := s.o.Cell.Refuse(in.Scope); err != nil {
		return Receipt{}, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	event := &patchbay.Event{
		Type: t.Key(), Scope: in.Scope, Also: in.Also, Payload: in.Payload, Actor: in.Actor, ReceivedAt: now,
		OccurredAt: in.OccurredAt.UTC().Truncate(time.Microsecond), Source: in.Source, Hops: in.Hops,
	}
	if in.OccurredAt.IsZero() {
		event.OccurredAt = now
	}
	if err := s.quotas.take(event.Scope.Tenant(), now); err != nil {
		return Receipt{}, err
	}
	// A caller's name holds no zero byte, so this cannot be the key of anything that was published.
	k := sha256.Sum256([]byte("\x00hook\x00" + in.Key))
	idem := &store.Idempotency{Key: [16]byte(k[:16]), Until: now.Add(max(in.Remember, rememberFor))}
	existing, n, err := s.commit(ctx, event, t, idem)
	switch {
	case err != nil:
		return Receipt{}, err
	case existing == nil:
		return Receipt{Event: event.ID, Deliveries: n}, nil
	}
	s.deduplicated(event)
	return Receipt{Event: existing.Event, Deliveries: existing.Deliveries, Replayed: true}, nil
}

// check checks what every event must be, whoever says it.
func (in *Brought) check() error {
	if len(in.Payload)+len(in.Actor) > patchbay.MaxEventBody {
		return patchbay.Errorf(patchbay.CodePayloadTooLarge, "an event may take at most %d bytes", patchbay.MaxEventBody)
	}
	for _, part := range []struct {
		path string
		raw  []byte
	}{{"payload", in.Payload}, {"actor", in.Actor}} {
		if part.raw == nil && part.path == "actor" {
			continue
		}
		if err := rawjson.Check(part.raw, rawjson.MaxDepth); err != nil {
			return patchbay.Invalid(part.path, "is not JSON that can be read: %v", err)
		}
		if rawjson.KindOf(part.raw) != rawjson.KindObject {
			return patchbay.Invalid(part.path, "must be an object")
		}
	}
	also := make([]string, len(in.Also))
	for i, scope := range in.Also {
		also[i] = string(scope)
	}
	if _, err := patchbay.ParseScope(string(in.Scope)); err != nil {
		return at("scope", err)
	}
	if y := in.OccurredAt.Year(); !in.OccurredAt.IsZero() && (y < 1 || y > 9999) {
		return patchbay.Invalid("occurred_at", "must lie in the years 1 to 9999")
	}
	parsed, err := patchbay.ParseAlso(in.Scope, also)
	if err != nil {
		return at("also", err)
	}
	in.Also = parsed
	return nil
}
