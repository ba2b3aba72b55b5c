// Package store is the contract between Patchbay and its databases, named by operation. internal/store/sqlite
// implements it; internal/store/storetest is the suite that every implementation passes whole.
//
// A delivery that succeeds at once costs one event row and one attempt row, and neither is ever updated. What a
// delivery's state is follows from what exists: a queue row (it waits), else a final attempt, else nothing yet (it is
// in the memory of the node that accepted it, or was when that node died; see Recover).
//
// Times are kept to the microsecond and come back in UTC. Where a time bounds what is listed or kept, it is the one in
// the identifier (patchbay.ID.Time), to the millisecond. Every method returns ErrClosed after Close.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay/patchbay"
)

// Store is a whole database. Services take the roles that they need.
type Store interface {
	Events
	Deliveries
	Queue
	Links
	Types
	Keys
	Connections
	Flows
	Sessions
	Hooks
	Sealed
	Jobs
	Erasure
	Audit
	Statistics
	Maintenance
	// Close finishes what was handed to the store and releases the database. It is safe to call twice.
	Close() error
}

// The errors that callers tell apart. Every other error of a store is one that wraps what the database said.
var (
	// ErrNotFound is returned by look-ups of one thing.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable is in the chain when nothing was stored because the database cannot take it now: a full disk, a
	// lost connection. Trying again later is right. The store keeps trying by itself what Record was given.
	ErrUnavailable = errors.New("the database cannot take writes at the moment")
	// ErrConflict is returned when a revision is not the current one, or a key exists already.
	ErrConflict = errors.New("it was changed by someone else")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the store is closed")
)

// Target is where one delivery of an event goes.
type Target struct {
	// Link and Revision say which link, as it was; both are zero in an inline call.
	Link     patchbay.LinkID
	Revision int
	// Integration is its key.
	Integration string
}

// Acceptance is an event with everything that is committed together with it.
type Acceptance struct {
	// Event has its ID; its deliveries have the len(Targets) identifiers after it (patchbay.DeliveryAt).
	Event   *patchbay.Event
	Targets []Target
	// Queue holds those deliveries that wait from the start: held, spilled, or behind another one of their thread.
	Queue []Queued
	// Outcomes are results that are known already (inline calls, skipped deliveries).
	Outcomes []Outcome
	// Missed says that a disabled link would have matched: the event is kept as long as a matched one.
	Missed bool
	// Idempotency, when not nil, is remembered with the event.
	Idempotency *Idempotency
	// Audit, when not nil, is written with the event, which then has no Idempotency: somebody has sent it again by hand.
	Audit *AuditEntry
}

// Idempotency is a remembered key of a caller.
type Idempotency struct {
	// Key is a hash of caller, tenant and key; Body one of what was sent.
	Key, Body [16]byte
	// Until is when the key is forgotten.
	Until time.Time
}

// Existing is the event that a remembered key belongs to.
type Existing struct {
	Event patchbay.EventID
	// Body is the hash of what was sent then.
	Body [16]byte
	// Deliveries is how many deliveries it had.
	Deliveries int
}

// Events keeps events. An event is durable (it survives a power loss) when Accept returns nil.
type Events interface {
	// Accept commits the event. When a.Idempotency is remembered already, nothing is stored and the existing event
	// comes back; concurrent calls with one key wait for the first. Concurrent calls share transactions, and one that
	// fails does not fail the others. The store does not keep a after it returns. The deliveries that are in neither
	// Queue nor Outcomes count as being in the caller's memory until a Record says otherwise. Of a replay (Origin is
	// set) the payload is not stored again. When it returns an error nothing was stored: ErrUnavailable, ErrConflict
	// when there is an event with this ID, or ctx's (a commit that is under way is waited for all the same).
	Accept(ctx context.Context, a *Acceptance) (*Existing, error)
	// Remembered looks a key up without storing anything; nil when it is not remembered at now.
	Remembered(ctx context.Context, key [16]byte, now time.Time) (*Existing, error)
	// Event returns an event with its targets. A replay comes with its origin's payload. ErrNotFound. Where the caller
	// gave no OccurredAt it is ReceivedAt.
	Event(ctx context.Context, id patchbay.EventID) (*EventRecord, error)
	// Events lists events, newest first, replays left out.
	Events(ctx context.Context, f EventFilter) ([]EventRecord, error)
	// Replays lists the replays of an event, oldest first, without payloads.
	Replays(ctx context.Context, id patchbay.EventID) ([]EventRecord, error)
}

// EventRecord is an event as it is stored.
type EventRecord struct {
	patchbay.Event
	Targets []Target
	Missed  bool
	// Erased is when what the event says was removed; zero when it was not. Its payload is {} then.
	Erased time.Time
}

// EventFilter selects events. Zero fields select everything.
type EventFilter struct {
	// Types are keys of event types; an event has one of them.
	Types []string
	// Within is the scope at or below which the event's own scope or one of Also lies.
	Within patchbay.Scope
	// Since and Until bound when it was received: Since ≤ t < Until.
	Since, Until time.Time
	// Before is the cursor: only events with a lower identifier.
	Before patchbay.EventID
	// Limit is how many at most; it must be positive.
	Limit int
}

// Deliveries reads deliveries.
type Deliveries interface {
	// Delivery returns a delivery with its attempts, oldest first. ErrNotFound. State is DeliveryPending for whatever
	// waits or has no final attempt: whether a link is paused is the caller's to know. NextAttemptAt is set when it has
	// a place in the queue. Decisions without an attempt stand among the attempts, with At and Error and no Verdict;
	// AttemptCount does not count them.
	Delivery(ctx context.Context, id patchbay.DeliveryID) (*patchbay.Delivery, error)
	// Deliveries lists deliveries without their attempts' details, newest first.
	Deliveries(ctx context.Context, f DeliveryFilter) ([]patchbay.Delivery, error)
	// LastAttempts returns the last attempt or decision of each of these deliveries that has one, without what was sent
	// and what was answered. It is for lists: some hundred at most.
	LastAttempts(ctx context.Context, ids []patchbay.DeliveryID) (map[patchbay.DeliveryID]patchbay.Attempt, error)
	// Answers returns what was answered to the last attempt of each of these deliveries, as far as it is still kept. It is for
	// lists, too.
	Answers(ctx context.Context, ids []patchbay.DeliveryID) (map[patchbay.DeliveryID]string, error)
	// OfEvent returns the deliveries of an event with their attempts, in order. ErrNotFound.
	OfEvent(ctx context.Context, id patchbay.EventID) ([]patchbay.Delivery, error)
	// Thread returns the reference of a link's thread and the newest event that was delivered in it; zero values when
	// there is none.
	Thread(ctx context.Context, link patchbay.LinkID, thread string) (ThreadState, error)
}

// ThreadState is what is remembered of a thread.
type ThreadState struct {
	Reference string
	Event     patchbay.EventID
}

// DeliveryFilter selects deliveries. Zero fields select everything.
type DeliveryFilter struct {
	States []patchbay.DeliveryState // DeliveryHeld and DeliveryPending select the same rows; see Held
	Link   patchbay.LinkID
	// Links selects what goes over one of them; nil means any.
	Links []patchbay.LinkID
	Event patchbay.EventID
	// Types selects deliveries of events of these types; nil means any.
	Types       []string
	Integration string
	// Within is the scope at or below which the event's own scope lies.
	Within patchbay.Scope
	Since  time.Time
	// Held tells which links hold their deliveries, so that the two states of waiting can be told apart: pending ones
	// of these links are held. nil: none.
	Held func(patchbay.LinkID) bool
	// Before is the cursor: only deliveries with a lower identifier.
	Before patchbay.DeliveryID
	// Limit is how many at most; it must be positive.
	Limit int
}

// Queued is a delivery that waits.
type Queued struct {
	Delivery patchbay.DeliveryID
	Event    patchbay.EventID
	Link     patchbay.LinkID
	// Due is when it may be sent.
	Due time.Time
	// Attempts is how many attempts have been made, Used how many of them used up a place in the retry schedule.
	Attempts, Used int
	// Thread orders deliveries of one link; "" when there is no order.
	Thread string
}

// Claimed is a delivery that waits, with its event.
type Claimed struct {
	Queued
	Event patchbay.Event
	// Revision is the link's revision that matched.
	Revision int
}

// Outcome is what came of an attempt, or a decision without one.
type Outcome struct {
	Delivery patchbay.DeliveryID
	Event    patchbay.EventID
	Link     patchbay.LinkID
	// N numbers the attempt from 1. 0 is a decision without an attempt: cancelled, skipped, failed by age.
	N int
	// Attempt is what to keep of it. With N 0 only At and Error count.
	Attempt patchbay.Attempt
	// State is what the delivery is now. With DeliveryPending, Next says when it is due; without Next the delivery
	// stays where it is, in the queue or in memory.
	State patchbay.DeliveryState
	// Next replaces the delivery's place in the queue, or makes one. It counts with DeliveryPending only; in a final
	// state the place is removed.
	Next *Queued
	// WasQueued says that the delivery may have a place in the queue; a store may skip the removal otherwise.
	WasQueued bool
	// Thread, when not nil, is remembered for the next delivery of the link's thread.
	Thread *ThreadUpdate
	// Audit, when not nil, is written with it: somebody has decided so by hand.
	Audit *AuditEntry
}

// ThreadUpdate is a thread's new reference. It is ignored when a newer event has been delivered in the thread.
type ThreadUpdate struct {
	Thread, Reference string
	Event             patchbay.EventID
}

// Queue keeps deliveries that wait, and takes results.
type Queue interface {
	// Record takes results without waiting for them to be durable: they are committed with the next acceptance,
	// after 256, or after 20 ms. It tries until it succeeds or the store is closed; what it could not commit by then
	// Recover finds. The store keeps outcomes and what they point to until they are committed: nobody may change them.
	// committed, when not nil, is called once they are, from the store's own goroutine: it must not block or call the
	// store. What was recorded is committed before whatever is handed over later by SaveLane, Enqueue and the like;
	// results of one delivery stay in their order.
	Record(outcomes []Outcome, committed func())
	// Flush returns when everything that Record was given before is durable.
	Flush(ctx context.Context) error
	// Due returns up to limit of a link's deliveries that are due at now, the earliest due first and of these the
	// lowest identifier first, without those for which skip says true (they are in the caller's memory; skip may be
	// nil). They keep their places until an Outcome says otherwise. A delivery with a thread is left out while an
	// earlier one (with a lower identifier) of the same link and thread has a place in the queue, due or not.
	Due(ctx context.Context, link patchbay.LinkID, now time.Time, limit int, skip func(patchbay.DeliveryID) bool) ([]Claimed, error)
	// NextDue returns when the link's next delivery is due, leaving out what skip says and what waits behind an earlier
	// one of its thread, and false when none is left.
	NextDue(ctx context.Context, link patchbay.LinkID, skip func(patchbay.DeliveryID) bool) (time.Time, bool, error)
	// Waiting counts a link's deliveries in the queue, up to limit.
	Waiting(ctx context.Context, link patchbay.LinkID, limit int) (int, error)
	// Waited returns every link that has deliveries in the queue, and when the first of each is due, as NextDue says.
	Waited(ctx context.Context) (map[patchbay.LinkID]time.Time, error)
	// Enqueue gives deliveries a place in the queue, or changes it: a retry by hand, a delivery that lost its place
	// in memory. They are pending from then on, also after a final attempt, and also below what the lane has dropped
	// before. All or nothing; ErrNotFound when an event does not exist any more. Durable on return.
	Enqueue(ctx context.Context, q []Queued) error
	// SaveLane keeps what must survive a restart of a link's lane. DropBefore never goes down: a lower one leaves what
	// was saved. Durable on return.
	SaveLane(ctx context.Context, l Lane) error
	// Lanes returns every lane that was saved.
	Lanes(ctx context.Context) ([]Lane, error)
	// Recover gives every delivery that this node accepted and that has neither a final attempt nor a place in the
	// queue one that is due at now, without a thread: whatever was in the memory of a node that died. Deliveries that
	// were being sent from the queue have kept their places there. To be called once, before anything is accepted; a
	// second call finds nothing. It returns how many it found.
	Recover(ctx context.Context, now time.Time) (int, error)
}

// Lane is what is remembered of a link's lane. It is one row, whatever the backlog.
type Lane struct {
	Link patchbay.LinkID
	// DropBefore cancels every delivery of the link that waits and has a lower identifier, in the queue or in memory.
	// Its rows are removed in small steps by Prune; the state of such a delivery is DeliveryCancelled at once, and
	// no method of Queue knows it any more.
	DropBefore patchbay.DeliveryID
	// FailingSince is when the link's first failure after its last success was; zero while it succeeds.
	FailingSince time.Time
	// Failures counts failures in a row; OpenUntil is when the breaker lets a probe through, zero while closed.
	Failures  int
	OpenUntil time.Time
}

// Links keeps links with all their revisions.
type Links interface {
	// SaveLink stores a new revision: l.Revision must be one above the current one (1 for a new link), else
	// ErrConflict. The whole of l is kept, also Previous with its value.
	SaveLink(ctx context.Context, l *patchbay.Link) error
	// DeleteLink removes the link; its revisions stay as long as there are events that they may have matched. ErrNotFound.
	DeleteLink(ctx context.Context, id patchbay.LinkID, at time.Time) error
	// AllLinks returns the current revision of every link, the oldest link first.
	AllLinks(ctx context.Context) ([]patchbay.Link, error)
	// LinkNow returns the current revision of a link. ErrNotFound, also when it was deleted.
	LinkNow(ctx context.Context, id patchbay.LinkID) (*patchbay.Link, error)
	// LinkRevision returns a link as it was, also a deleted one. ErrNotFound.
	LinkRevision(ctx context.Context, id patchbay.LinkID, revision int) (*patchbay.Link, error)
}

// Types keeps the event types that were added through the API.
type Types interface {
	// PutType adds a type, or replaces the one with its key.
	PutType(ctx context.Context, t *patchbay.EventType) error
	// DeleteType removes a type. ErrNotFound.
	DeleteType(ctx context.Context, key string) error
	// AllTypes returns every type, by key.
	AllTypes(ctx context.Context) ([]patchbay.EventType, error)
}

// Key is an API key as it is stored: its token only as a hash.
type Key struct {
	ID          patchbay.KeyID
	Name        string
	Hash        [32]byte
	Scope       patchbay.Scope
	Permissions []string
	// Hint is the token's last four characters.
	Hint      string
	CreatedAt time.Time
	// ExpiresAt is zero for a key that does not expire.
	ExpiresAt time.Time
}

// Keys keeps API keys.
type Keys interface {
	// SaveKey adds a key. ErrConflict when there is one with its ID or its hash.
	SaveKey(ctx context.Context, k *Key) error
	// DeleteKey removes a key. ErrNotFound.
	DeleteKey(ctx context.Context, id patchbay.KeyID) error
	// AllKeys returns every key, the oldest first.
	AllKeys(ctx context.Context) ([]Key, error)
}

// Retention says what is kept for how long. A duration of 0 is for ever. A store that deletes days as a whole keeps for up
// to a day longer, and takes whole days for MaxBytes, never the current one.
type Retention struct {
	// Matched, Unmatched and Bodies are for events with deliveries (or Missed), events without, and attempts' response
	// bodies. References of threads go after the longest time for which events are kept.
	Matched, Unmatched, Bodies time.Duration
	// Tenants overrides Matched by tenant.
	Tenants map[string]time.Duration
	// MaxBytes is the most that the database may take, without its log; 0 is no limit. Beyond it the oldest events go
	// first, however long they are to be kept, and the hooks that are older.
	MaxBytes int64
}

// Maintenance looks after the database.
type Maintenance interface {
	// NewID makes n consecutive identifiers and returns the first.
	NewID(n int) int64
	// Prune deletes one small step of what the retention no longer covers and reports whether there may be more. It
	// never touches an event with a delivery that waits or is in memory, nor one of which a replay is kept.
	Prune(ctx context.Context, r Retention, now time.Time) (more bool, err error)
	// Healthy returns nil when writes go through, else the reason.
	Healthy(ctx context.Context) error
	// Stats describes the database for metrics and doctor.
	Stats(ctx context.Context) (Stats, error)
	// Meta and SetMeta keep small facts about the installation. Meta returns "" for what was never set.
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
	// SwapMeta sets a fact to value if it is old ("" when it was never set), and returns what it is afterwards. Of several
	// at the same time one wins, also among nodes.
	SwapMeta(ctx context.Context, key, old, value string) (now string, err error)
}

// Stats describes a database.
type Stats struct {
	// Bytes is what it takes on disk.
	Bytes int64
	// Queued counts deliveries that wait in the queue.
	Queued int64
	// Engine and Schema name the database's and the schema's version.
	Engine string
	Schema int
	// Commits counts transactions of the writer, Committed what they held, Busy the time spent in them.
	Commits, Committed int64
	Busy               time.Duration
}
