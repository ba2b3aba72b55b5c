// Package stream shows what happens while it happens: services publish events, deliveries and attempts to a Hub, and
// whoever watches (the API's /v1/stream, the command line's tail and demo) subscribes to a part of it.
//
// Watching never costs those who are watched: with nobody listening a publisher pays one atomic load, and a reader
// that is too slow loses items, which are counted, instead of holding anybody up.
package stream

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/patchbay/patchbay"
)

// Buffer is how many items wait for one subscriber before further ones are dropped. At 20,000 items a second it is
// some 50 ms, which a reader that is scheduled at all keeps up with; it bounds what a stuck one holds to a few MB.
const Buffer = 1024

// The kinds of items.
const (
	KindEvent    = "event"
	KindDelivery = "delivery"
	KindAttempt  = "attempt"
)

// Kinds lists the kinds of items.
func Kinds() []string { return []string{KindEvent, KindDelivery, KindAttempt} }

// Item is something that happened. What does not apply to its kind is zero.
type Item struct {
	// Kind is one of KindEvent, KindDelivery and KindAttempt.
	Kind string
	// Type, Scope and Also are the event's.
	Type  string
	Scope patchbay.Scope
	Also  []patchbay.Scope
	// Event identifies the event.
	Event patchbay.EventID
	// Link and Integration say where a delivery or an attempt goes.
	Link        patchbay.LinkID
	Integration string
	// Owner is the scope of the link that an attempt goes over.
	Owner patchbay.Scope
	// State is a delivery's state, or an attempt's verdict.
	State string
	// Data is what watchers are shown. It is marshalled later, by a reader's goroutine, so it must not change.
	Data any
}

// Message is an Item on its way to subscribers.
type Message struct {
	Item
	// Number counts the items that this Hub has published, from 1.
	Number uint64

	once sync.Once
	json []byte
	err  error
}

// JSON returns Data as JSON. However many subscribers ask, it is marshalled once.
func (m *Message) JSON() ([]byte, error) {
	m.once.Do(func() { m.json, m.err = json.Marshal(m.Data) })
	return m.json, m.err
}

// Filter selects items. Zero fields select everything; an item that has nothing to compare (an event has no link) is
// not selected by a field that is set.
type Filter struct {
	Kinds []string
	// Types are patterns; one of them must match.
	Types []patchbay.Pattern
	// Scope selects items of which the scope, or one of Also, is Scope or lies below it.
	Scope patchbay.Scope
	// Within leaves out attempts of which Owner is not Within and does not lie below it: what was sent where, and what
	// was answered, is of the link's owner.
	Within      patchbay.Scope
	Event       patchbay.EventID
	Link        patchbay.LinkID
	Integration string
	States      []string
}

// Match reports whether the filter selects the item.
func (f *Filter) Match(i *Item) bool {
	switch {
	case len(f.Kinds) > 0 && !slices.Contains(f.Kinds, i.Kind),
		i.Kind == KindAttempt && !f.Within.Contains(i.Owner),
		f.Event != 0 && f.Event != i.Event,
		f.Link != 0 && f.Link != i.Link,
		f.Integration != "" && f.Integration != i.Integration,
		len(f.States) > 0 && !slices.Contains(f.States, i.State):
		return false
	}
	if !f.Scope.Contains(i.Scope) && !slices.ContainsFunc(i.Also, f.Scope.Contains) {
		return false
	}
	return len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(p patchbay.Pattern) bool { return p.Match(i.Type) })
}

// Hub hands items to subscribers. The zero Hub works. A nil Hub has no subscribers.
type Hub struct {
	count  atomic.Int64 // subscribers
	number atomic.Uint64

	mu     sync.RWMutex // held for reading while publishing, so that no channel is closed under a sender
	subs   map[*Subscription]struct{}
	closed bool
}

// Active reports whether anybody listens. Publishers ask before they build an Item.
func (h *Hub) Active() bool { return h != nil && h.count.Load() > 0 }

// Subscribers returns how many listen.
func (h *Hub) Subscribers() int {
	if h == nil {
		return 0
	}
	return int(h.count.Load())
}

// Publish hands the item to every subscriber whose filter selects it. It never blocks.
func (h *Hub) Publish(item Item) {
	if !h.Active() {
		return
	}
	m := &Message{Item: item, Number: h.number.Add(1)}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for s := range h.subs {
		if !s.filter.Match(&m.Item) {
			continue
		}
		select {
		case s.messages <- m:
		default:
			s.dropped.Add(1)
		}
	}
}

// Subscribe begins to listen. The caller must Close the subscription. After Hub.Close it is over from the start.
func (h *Hub) Subscribe(f Filter) *Subscription {
	s := &Subscription{hub: h, filter: f, messages: make(chan *Message, Buffer)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(s.messages)
		return s
	}
	if h.subs == nil {
		h.subs = make(map[*Subscription]struct{})
	}
	h.subs[s] = struct{}{}
	h.count.Add(1)
	return s
}

// Close ends every subscription. It is safe to call twice; what is published afterwards is dropped.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		h.remove(s)
	}
}

// remove ends one subscription; h.mu is held.
func (h *Hub) remove(s *Subscription) {
	if _, ok := h.subs[s]; ok {
		delete(h.subs, s)
		h.count.Add(-1)
		close(s.messages)
	}
}

// Subscription is one reader of a Hub.
type Subscription struct {
	hub      *Hub
	filter   Filter
	messages chan *Message
	dropped  atomic.Uint64
}

// Messages returns the channel of what was selected, in the order in which it was published. It is closed when the
// subscription or the Hub is.
func (s *Subscription) Messages() <-chan *Message { return s.messages }

// Dropped returns how many items were lost since it was last called, because they were not read in time.
func (s *Subscription) Dropped() uint64 {
	if s.dropped.Load() == 0 {
		return 0
	}
	return s.dropped.Swap(0)
}

// Close ends the subscription. It is safe to call twice.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.remove(s)
}
