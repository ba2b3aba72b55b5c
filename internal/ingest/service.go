package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/route"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// rememberFor is how long an idempotency key is remembered.
	rememberFor = 24 * time.Hour
	// inlineMost bounds the integrations of one inline call, inlineAtOnce the attempts of all inline calls together.
	inlineMost   = 32
	inlineAtOnce = 256
)

// Links finds the links of an event and makes links of settings that come with a call.
type Links interface {
	Match(e *route.Event, supports func(integration string) bool) route.Result
	Explain(e *route.Event, supports func(integration string) bool) []route.Explanation
	Adhoc(key string, settings json.RawMessage, o integration.CheckOptions) (*deliver.Link, error)
	Disable(ctx context.Context, id patchbay.LinkID, reason string) error
}

// Engine sends.
type Engine interface {
	Admit(event *patchbay.Event, links []*deliver.Link, newID func(int) int64) *deliver.Admission
	Try(ctx context.Context, c deliver.Call) deliver.Outcome
}

// Observer is told of what was accepted. It must not block, and may be nil.
type Observer interface {
	Accepted(e *patchbay.Event, deliveries int)
	Deduplicated(e *patchbay.Event)
}

// Options configure a Service.
type Options struct {
	Store interface {
		store.Events
		store.Deliveries
		store.Links
		store.Maintenance
	}
	Catalog      *catalog.Catalog
	Links        Links
	Engine       Engine
	Deliveries   *deliver.Service
	Integrations map[string]integration.Integration
	Quota        Quota
	Cell         access.Cell
	Observer     Observer
	Log          *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service takes events in.
type Service struct {
	o        Options
	now      func() time.Time
	newID    func(int) int64
	supports sync.Map // *catalog.Type → func(string) bool
	atOnce   chan struct{}
	quotas   quotas

	refused atomic.Pointer[map[string]bool] // tenants that are being erased; nil: none

	mu     sync.Mutex
	inline map[[16]byte]chan struct{} // inline calls with a key that are under way
}

// New returns a Service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{
		o: o, now: o.Now, newID: o.Store.NewID, atOnce: make(chan struct{}, inlineAtOnce), inline: map[[16]byte]chan struct{}{},
		quotas: quotas{quota: o.Quota},
	}
}

// Accept takes one event in: the body of POST /events, and the header Idempotency-Key. The body may be reused as soon
// as it returns. When it answers 201 to a routed call, the event is durable.
func (s *Service) Accept(ctx context.Context, c *access.Caller, body []byte, key string) (*Answer, error) {
	in, event, t, err := s.read(c, body)
	if err != nil {
		return nil, err
	}
	key, err = in.idempotencyKey(key)
	if err != nil {
		return nil, err
	}
	if err := s.quotas.take(event.Scope.Tenant(), event.ReceivedAt); err != nil {
		return nil, err
	}
	idem := remember(c, event.Scope, key, body, event.ReceivedAt)
	if in.integrations != nil {
		return s.acceptInline(ctx, c, in, event, t, idem)
	}
	existing, n, err := s.commit(ctx, event, t, idem)
	switch {
	case err != nil:
		return nil, err
	case existing == nil:
		return &Answer{Status: 201, Body: accepted(event.ID, n)}, nil
	case existing.Body != idem.Body:
		return nil, reused(key)
	}
	s.deduplicated(event)
	return &Answer{Status: 201, Body: accepted(existing.Event, existing.Deliveries), Replayed: true}, nil
}

// accepted is the answer to a routed event.
func accepted(id patchbay.EventID, deliveries int) []byte {
	b := make([]byte, 0, 80)
	b = append(b, `{"status":"ok","id":"`...)
	b = id.AppendTo(b)
	b = append(b, `","deliveries":`...)
	b = strconv.AppendInt(b, int64(deliveries), 10)
	return append(b, "}\n"...)
}

func reused(key string) error {
	return patchbay.Errorf(patchbay.CodeConflict, "the key %q was used in the last 24 hours for another event: repeat the very same body, or send a new key", clip(key))
}

// read checks a call against the catalog and makes the event of it.
func (s *Service) read(c *access.Caller, body []byte) (*call, *patchbay.Event, *catalog.Type, error) {
	in, err := parse(body)
	if err != nil {
		return nil, nil, nil, err
	}
	event, t, err := s.check(c, in)
	return in, event, t, err
}

// check checks a call that has been taken apart, and makes the event of it.
func (s *Service) check(c *access.Caller, in *call) (*patchbay.Event, *catalog.Type, error) {
	need := access.Publish
	if in.integrations != nil {
		need = access.Inline
	}
	if err := c.Require(need); err != nil {
		return nil, nil, err // before anything is said about the catalog
	}
	t := s.o.Catalog.Type(in.name)
	if strings.HasPrefix(in.name, patchbay.SystemPrefix) {
		return nil, nil, patchbay.Invalid("event_type", "types that begin with %s are raised by Patchbay itself", patchbay.SystemPrefix)
	}
	if t == nil {
		return nil, nil, patchbay.Invalid("event_type", "there is no event type %q; GET /events lists those that there are", clip(in.name))
	}
	payload, actor := in.own()
	if details := t.Validate(payload); len(details) > 0 {
		return nil, nil, invalid(details)
	}
	scope, also, err := s.place(c, in, t, payload)
	if err != nil {
		return nil, nil, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	event := &patchbay.Event{
		Type: t.Key(), Scope: scope, Also: also, Payload: payload, Actor: actor, OccurredAt: in.occurredAt, ReceivedAt: now,
		Source: patchbay.Source{Kind: patchbay.SourceAPI, Key: c.Key},
	}
	if event.OccurredAt.IsZero() {
		event.OccurredAt = now
	}
	return event, t, nil
}

// place finds the event's scopes and checks that the caller may name them.
func (s *Service) place(c *access.Caller, in *call, t *catalog.Type, payload []byte) (patchbay.Scope, []patchbay.Scope, error) {
	var scope patchbay.Scope
	var err error
	if in.scoped {
		if scope, err = patchbay.ParseScope(in.scope); err != nil {
			return "", nil, at("scope", err)
		}
	} else {
		var found bool
		if scope, found, err = t.ScopeFrom(payload); err != nil {
			return "", nil, at("scope", err)
		}
		if !found {
			scope = ""
		}
	}
	if err := c.Reach(scope); err != nil {
		return "", nil, err
	}
	if err := s.o.Cell.Refuse(scope); err != nil {
		return "", nil, err
	}
	if len(in.also) == 0 {
		return scope, nil, nil
	}
	also, err := patchbay.ParseAlso(scope, in.also)
	if err != nil {
		return "", nil, at("also", err)
	}
	for _, a := range also {
		if err := c.Reach(a); err != nil {
			return "", nil, err
		}
	}
	return scope, also, nil
}

func at(path string, err error) error {
	return &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: path + ": " + err.Error(),
		Details: []patchbay.Detail{{Path: path, Message: err.Error()}}}
}

// remember makes what is remembered of a key; nil without one.
func remember(c *access.Caller, scope patchbay.Scope, key string, body []byte, now time.Time) *store.Idempotency {
	if key == "" {
		return nil
	}
	// The three parts cannot run into each other: a tenant holds no zero byte, and neither does a key.
	text := make([]byte, 0, 256)
	text = append(text, c.ID()...)
	text = append(text, 0)
	text = append(text, scope.Tenant()...)
	text = append(text, 0)
	text = append(text, key...)
	k, b := sha256.Sum256(text), sha256.Sum256(body)
	return &store.Idempotency{Key: [16]byte(k[:16]), Body: [16]byte(b[:16]), Until: now.Add(rememberFor)}
}

// commit routes an event, stores it with its deliveries and hands those to the engine. When its key is remembered,
// what is stored already comes back and nothing else happens.
func (s *Service) commit(ctx context.Context, event *patchbay.Event, t *catalog.Type, idem *store.Idempotency) (*store.Existing, int, error) {
	links, missed := s.match(event, t)
	a := s.o.Engine.Admit(event, links, s.newID)
	a.Missed = a.Missed || missed
	a.Idempotency = idem
	return s.put(ctx, event, a)
}

// put stores an event with the deliveries that were planned for it, and hands those to the engine.
func (s *Service) put(ctx context.Context, event *patchbay.Event, a *deliver.Admission) (*store.Existing, int, error) {
	if err := s.refuses(event.Scope); err != nil {
		a.Abort()
		return nil, 0, err
	}
	// Once handed over the commit cannot be called back, so neither can this wait for it: a caller that hangs up must
	// not leave an event behind that is stored and that nobody sends.
	existing, err := s.o.Store.Accept(context.WithoutCancel(ctx), &a.Acceptance)
	if err != nil || existing != nil {
		a.Abort()
		if err != nil {
			err = storeError("storing the event", err)
		}
		return existing, 0, err
	}
	n := len(a.Targets)
	if s.o.Observer != nil {
		s.o.Observer.Accepted(event, n) // before anything is sent, so that watchers hear of an event before its attempts
	}
	a.Commit()
	return nil, n, nil
}

func (s *Service) deduplicated(e *patchbay.Event) {
	if s.o.Observer != nil {
		s.o.Observer.Deduplicated(e)
	}
}

// match finds the links of an event.
func (s *Service) match(event *patchbay.Event, t *catalog.Type) ([]*deliver.Link, bool) {
	r := s.o.Links.Match(&route.Event{Event: event, Names: t.Names()}, s.supported(t))
	if len(r.Matched) == 0 {
		return nil, r.Missed
	}
	links := make([]*deliver.Link, len(r.Matched))
	for i, l := range r.Matched {
		links[i] = l.Value.(*deliver.Link)
	}
	return links, r.Missed
}

// supported returns which integrations take events of a type. It is made once for each type.
func (s *Service) supported(t *catalog.Type) func(string) bool {
	if f, ok := s.supports.Load(t); ok {
		return f.(func(string) bool)
	}
	takes := map[string]bool{}
	for key, i := range s.o.Integrations {
		_, sends := i.(integration.Sender)
		takes[key] = sends && Takes(i.Definition(), t)
	}
	f := func(key string) bool { return takes[key] }
	s.supports.Store(t, f)
	return f
}

// Takes reports whether an integration takes events of a type: its own patterns select it, and the type's message does
// not skip it.
func Takes(d *integration.Definition, t *catalog.Type) bool {
	selected := len(d.Events) == 0
	for _, p := range d.Events {
		for _, name := range t.Names() {
			selected = selected || p.Match(name)
		}
	}
	return selected && !t.Skips(catalog.Target{Key: d.Key, Category: d.Category, Title: d.Title})
}

// storeError turns a store's error into one for callers.
func storeError(doing string, err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFenced) {
		return &patchbay.Error{Code: patchbay.CodeUnavailable, RetryAfter: 5, Err: err,
			Message: "the event was not accepted, because the database cannot take writes at the moment: send it again in a few seconds"}
	}
	return patchbay.Internal(doing, err)
}
