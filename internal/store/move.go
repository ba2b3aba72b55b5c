package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/patchbay/patchbay"
)

// Part is a kind of what a database holds.
type Part string

// The parts, in the order in which they are moved: what is looked up comes before what refers to it.
const (
	PartTypes       Part = "event types"
	PartKeys        Part = "API keys"
	PartConnections Part = "connections"
	PartLinks       Part = "links"
	PartLanes       Part = "lanes"
	PartEvents      Part = "events"
	PartThreads     Part = "threads"
	PartHooks       Part = "hooks"
	PartJobs        Part = "jobs"
	PartAudit       Part = "audit entries"
	PartSamples     Part = "figures"
)

// Parts are all of them, in order. Sign-ins that have begun and sessions are left behind, and of hooks all but those that
// are still to be read: pending and unplaced ones.
var Parts = []Part{PartTypes, PartKeys, PartConnections, PartLinks, PartLanes, PartEvents, PartThreads, PartHooks, PartJobs, PartAudit, PartSamples}

// Chunk is a piece of one part: of the lists that is set which the part says.
type Chunk struct {
	Part        Part
	Types       []patchbay.EventType
	Keys        []Key
	Connections []patchbay.Connection
	Links       []LinkRevision
	Lanes       []Lane
	Events      []MovedEvent
	Threads     []ThreadUpdateOf
	Hooks       []Hook
	Jobs        []Job
	Audit       []AuditEntry
	Samples     []Sample
	// Next is where the next chunk begins; "" after the last of the part. It has no tab and no line break.
	Next string
}

// LinkRevision is a revision of a link, also of a deleted one.
type LinkRevision struct {
	Link patchbay.Link
	// Ended is the identifier that was current when the revision was replaced or deleted; 0 when it is current.
	Ended int64
}

// MovedEvent is an event with everything that is kept of it and of its deliveries.
type MovedEvent struct {
	// EventRecord has no payload when it is a replay.
	EventRecord
	// Idempotency is the remembered key; nil when there is none or it is forgotten.
	Idempotency *Idempotency
	// Attempts are those of all deliveries and decisions without one, delivery by delivery, in their order.
	Attempts []MovedAttempt
	// Queue holds the places of its deliveries.
	Queue []Place
}

// MovedAttempt is what Record has taken, as far as it is kept.
type MovedAttempt struct {
	Delivery patchbay.DeliveryID
	N        int
	State    patchbay.DeliveryState
	Attempt  patchbay.Attempt
}

// Place is a place in the queue.
type Place struct {
	Queued
	// Spared is the DropBefore of its lane that does not concern it, because it was put here by hand afterwards.
	Spared patchbay.DeliveryID
}

// ThreadUpdateOf is a thread's reference.
type ThreadUpdateOf struct {
	Link patchbay.LinkID
	ThreadUpdate
}

// Len is how many things are in the chunk.
func (c *Chunk) Len() int {
	return len(c.Types) + len(c.Keys) + len(c.Connections) + len(c.Hooks) + len(c.Links) + len(c.Lanes) + len(c.Events) + len(c.Threads) + len(c.Jobs) +
		len(c.Audit) + len(c.Samples)
}

// Checksum is over everything in the chunk except Next. Times count to the microsecond, and nil and empty are the same.
func (c *Chunk) Checksum() ([32]byte, error) {
	h := sha256.New()
	for i := range c.Links { // JSON leaves out what must not be shown
		l := &c.Links[i].Link
		if p := l.Previous; p != nil {
			fmt.Fprintf(h, "%q", p.Value.Reveal())
		}
		if k := l.Hook; k != nil {
			fmt.Fprintf(h, "%q %q %q", k.Token.Reveal(), k.Secret.Reveal(), k.Previous.Reveal())
		}
		if l.Attached != nil {
			fmt.Fprintf(h, "%q", l.Attached.State)
		}
	}
	for i := range c.Connections {
		secret, err := EncodeCredentials(&c.Connections[i].Credentials)
		if err != nil {
			return [32]byte{}, err
		}
		fmt.Fprintf(h, "%q\n", secret)
	}
	for i := range c.Hooks { // JSON changes what is no UTF-8
		x := &c.Hooks[i]
		fmt.Fprintf(h, "%q %q %q %q %q\n", x.Account, x.Type, x.Reason, x.Query, x.Body)
	}
	for i := range c.Events { // JSON spells these anew, and their bytes count
		fmt.Fprintf(h, "%q %q\n", c.Events[i].Payload, c.Events[i].Actor)
	}
	err := json.NewEncoder(h).Encode(c.normal())
	return [32]byte(h.Sum(nil)), err
}

// normal returns a copy in which what means the same is the same.
func (c *Chunk) normal() *Chunk {
	n := *c
	n.Next = ""
	n.Links = append([]LinkRevision(nil), c.Links...)
	n.Types, n.Keys, n.Connections, n.Lanes = none(c.Types), none(c.Keys), none(c.Connections), none(c.Lanes)
	n.Threads, n.Jobs, n.Audit, n.Samples = none(c.Threads), none(c.Jobs), none(c.Audit), none(c.Samples)
	n.Hooks = append([]Hook(nil), c.Hooks...)
	for i := range n.Hooks {
		n.Hooks[i].normalize()
	}
	n.Events = append([]MovedEvent(nil), c.Events...)
	for i := range n.Events {
		e := &n.Events[i]
		e.Payload, e.Actor = nil, nil
		if len(e.Also) == 0 {
			e.Also = nil
		}
		if len(e.Targets) == 0 {
			e.Targets = nil
		}
		e.ReceivedAt, e.OccurredAt, e.Erased = micros(e.ReceivedAt), micros(e.OccurredAt), micros(e.Erased)
		if len(e.Attempts) == 0 {
			e.Attempts = nil
		}
		e.Attempts = append([]MovedAttempt(nil), e.Attempts...)
		for j := range e.Attempts {
			a := &e.Attempts[j].Attempt
			a.At = micros(a.At)
			if r := a.Request; r != nil && len(r.Headers) == 0 {
				a.Request = &patchbay.Request{Method: r.Method, URL: r.URL}
			}
		}
		if len(e.Queue) == 0 {
			e.Queue = nil
		}
		e.Queue = append([]Place(nil), e.Queue...)
		for j := range e.Queue {
			e.Queue[j].Due = micros(e.Queue[j].Due)
		}
		if k := e.Idempotency; k != nil {
			e.Idempotency = &Idempotency{Key: k.Key, Body: k.Body, Until: micros(k.Until)}
		}
	}
	return &n
}

func (h *Hook) normalize() {
	h.ReceivedAt = micros(h.ReceivedAt)
	if len(h.Header) == 0 {
		h.Header = nil
	}
	if len(h.Body) == 0 {
		h.Body = nil
	}
	if len(h.Links) == 0 {
		h.Links = nil
	}
	if len(h.Events) == 0 {
		h.Events = nil
	}
}

// none makes nil of an empty list.
func none[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func micros(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// Exporter gives out everything that a database holds, while nobody writes to it. Everything that is pending must have a
// place in the queue (see Recover).
type Exporter interface {
	// Totals counts what there is of each part; revisions of links count each.
	Totals(ctx context.Context) (map[Part]int64, error)
	// Export returns up to about limit things of a part, in the order of their identifiers or keys, from where an earlier
	// chunk's Next points; "" is the beginning.
	Export(ctx context.Context, part Part, from string, limit int) (*Chunk, error)
}

// Importer takes in what an Exporter gives out. Nothing else may use the database meanwhile.
type Importer interface {
	Totals(ctx context.Context) (map[Part]int64, error)
	// BeginImport prepares for the import with this name, and returns the cursor that Import stored last: "" when there was
	// none. ErrConflict when the database holds anything that is not of this import.
	BeginImport(ctx context.Context, name string) (cursor string, err error)
	// Import stores a chunk and the cursor in one transaction, after having read back what it wrote and compared its
	// checksum. Durable on return.
	Import(ctx context.Context, c *Chunk, cursor string) error
	// FinishImport makes an installation of what was imported: it can be served from then on.
	FinishImport(ctx context.Context, name string) error
}

// MetaImport is the key under which Meta has the state of an import: "" when there was none, its name while it is under
// way, and ImportFinished and its name afterwards. MetaMoved is the key under which the database that was moved says where
// to. Neither is moved.
const (
	MetaImport     = "import"
	MetaMoved      = "moved"
	ImportFinished = "done "
)
