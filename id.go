package patchbay

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// An identifier is a 63-bit integer that grows with time, spelled as a prefix and 13 characters:
//
//	| 41 bits: milliseconds since 2025-01-01 UTC | 12 bits: counter within one | 10 bits: node |
//
// The node stands in the lowest bits, so that "the next k identifiers of this node" is plain arithmetic (see
// IDStep) and two nodes can never make the same one. 41 bits of milliseconds last until 2094.
const (
	idNodeBits   = 10
	idTickBits   = 12
	idTextLength = 13

	// IDStep is the distance between two consecutive identifiers of one node.
	IDStep = 1 << idNodeBits
	// MaxNodes is how many nodes can make identifiers at the same time.
	MaxNodes = 1 << idNodeBits
)

// idEpoch is 2025-01-01T00:00:00Z in Unix milliseconds.
const idEpoch = 1735689600000

// idAlphabet is Crockford's base 32 in lower case: no i, l, o or u, and in ASCII order, so that identifiers sort
// as text the way they sort as numbers.
const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// A Kind names what an identifier identifies. Its only implementations are in this package.
type Kind interface{ prefix() string }

type (
	eventKind      struct{}
	linkKind       struct{}
	deliveryKind   struct{}
	connectionKind struct{}
	keyKind        struct{}
	jobKind        struct{}
	hookKind       struct{}
	sessionKind    struct{}
	auditKind      struct{}
)

func (eventKind) prefix() string      { return "evt_" }
func (linkKind) prefix() string       { return "lnk_" }
func (deliveryKind) prefix() string   { return "dlv_" }
func (connectionKind) prefix() string { return "con_" }
func (keyKind) prefix() string        { return "key_" }
func (jobKind) prefix() string        { return "job_" }
func (hookKind) prefix() string       { return "hok_" }
func (sessionKind) prefix() string    { return "ses_" }
func (auditKind) prefix() string      { return "aud_" }

// ID is an identifier of one kind of thing. The zero ID means "none".
type ID[K Kind] int64

type (
	// EventID identifies an event.
	EventID = ID[eventKind]
	// LinkID identifies a link.
	LinkID = ID[linkKind]
	// DeliveryID identifies a delivery.
	DeliveryID = ID[deliveryKind]
	// ConnectionID identifies a connection.
	ConnectionID = ID[connectionKind]
	// KeyID identifies an API key.
	KeyID = ID[keyKind]
	// JobID identifies a job.
	JobID = ID[jobKind]
	// HookID identifies a partner's call.
	HookID = ID[hookKind]
	// SessionID identifies a session of a browser: an operator's or a portal's.
	SessionID = ID[sessionKind]
	// AuditID identifies an entry of the audit log.
	AuditID = ID[auditKind]
)

// String spells the identifier as it is shown everywhere, such as "evt_01h2xcejqtf2n". The zero ID is "".
func (id ID[K]) String() string {
	if id == 0 {
		return ""
	}
	var k K
	return string(id.AppendTo(make([]byte, 0, len(k.prefix())+idTextLength)))
}

// AppendTo appends what String returns to b.
func (id ID[K]) AppendTo(b []byte) []byte {
	if id == 0 {
		return b
	}
	var k K
	b = append(b, k.prefix()...)
	for shift := 5 * (idTextLength - 1); shift >= 0; shift -= 5 {
		b = append(b, idAlphabet[uint64(id)>>uint(shift)&31])
	}
	return b
}

// Time returns when the identifier was made, to the millisecond.
func (id ID[K]) Time() time.Time {
	return time.UnixMilli(int64(id)>>(idNodeBits+idTickBits) + idEpoch).UTC()
}

// MarshalText makes identifiers JSON strings.
func (id ID[K]) MarshalText() ([]byte, error) { return id.AppendTo(nil), nil }

// UnmarshalText reads what MarshalText wrote; "" is the zero ID.
func (id *ID[K]) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = 0
		return nil
	}
	parsed, err := ParseID[K](string(text))
	*id = parsed
	return err
}

// ParseID reads an identifier of one kind. The error says what was expected.
func ParseID[K Kind](s string) (ID[K], error) {
	var k K
	rest, ok := strings.CutPrefix(s, k.prefix())
	if !ok || len(rest) != idTextLength {
		return 0, idError(s, k.prefix())
	}
	var n uint64
	for i := range idTextLength {
		d := strings.IndexByte(idAlphabet, rest[i])
		if d < 0 || (i == 0 && d > 7) { // 13 × 5 = 65 bits: the first character may only hold three
			return 0, idError(s, k.prefix())
		}
		n = n<<5 | uint64(d)
	}
	if n == 0 || n > 1<<63-1 {
		return 0, idError(s, k.prefix())
	}
	return ID[K](n), nil
}

func idError(s, prefix string) error {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return Errorf(CodeInvalidRequest, "%q is not an identifier of the form %s followed by %d characters", s, prefix, idTextLength)
}

// FirstIDAt returns the lowest identifier that can have been made at or after t. Lists bounded by time are bounded
// by it. Times outside of what identifiers can hold are clamped.
func FirstIDAt(t time.Time) int64 {
	ms := t.UnixMilli() - idEpoch
	return max(0, min(ms, 1<<41-1)) << (idNodeBits + idTickBits)
}

// DeliveryAt returns the identifier of an event's i-th delivery, counting from 1. An event with k deliveries takes
// k+1 consecutive identifiers, so this is arithmetic, not a look-up.
func DeliveryAt(e EventID, i int) DeliveryID { return DeliveryID(int64(e) + int64(i)*IDStep) }

// Sequence makes identifiers for one node. It never returns the same one twice and never one that is lower than an
// earlier one, whatever the clock does: when the clock stands still or goes back it counts on from the last.
type Sequence struct {
	tick atomic.Int64
	node int64
	now  func() time.Time
}

// NewSequence returns a Sequence for the node (0 ≤ node < MaxNodes) whose identifiers are all above after, the
// highest identifier that this node has made so far. now is the clock; nil means time.Now.
func NewSequence(node int, after int64, now func() time.Time) *Sequence {
	if node < 0 || node >= MaxNodes {
		panic(fmt.Sprintf("patchbay: node %d is not in 0…%d", node, MaxNodes-1))
	}
	if now == nil {
		now = time.Now
	}
	s := &Sequence{node: int64(node), now: now}
	s.tick.Store(after >> idNodeBits)
	return s
}

// Take reserves n consecutive identifiers (the others are i*IDStep above the first) and returns the first.
func (s *Sequence) Take(n int) int64 {
	for {
		last := s.tick.Load()
		first := max(last+1, (s.now().UnixMilli()-idEpoch)<<idTickBits)
		if s.tick.CompareAndSwap(last, first+int64(n)-1) {
			return first<<idNodeBits | s.node
		}
	}
}
