// Package sourcetest is a stand-in for ingest, for the tests of sources: it remembers what it took, and answers as a test
// wants it to.
package sourcetest

import (
	"context"
	"sync"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
)

// Ingest keeps what it is given, once for each caller and key.
type Ingest struct {
	// Answer, when not nil, may refuse a message. It is called at the same time for several.
	Answer func(m *ingest.Message) error

	mu      sync.Mutex
	keys    map[string]patchbay.EventID
	taken   []ingest.Message
	again   int
	changed chan struct{}
}

// Take implements source.Ingest.
func (i *Ingest) Take(_ context.Context, c *access.Caller, m *ingest.Message) (ingest.Receipt, error) {
	if i.Answer != nil {
		if err := i.Answer(m); err != nil {
			return ingest.Receipt{}, err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.changed != nil {
		close(i.changed)
		i.changed = nil
	}
	key := c.ID() + "\x00" + m.Key
	if id, ok := i.keys[key]; ok {
		i.again++
		return ingest.Receipt{Event: id, Replayed: true}, nil
	}
	if i.keys == nil {
		i.keys = map[string]patchbay.EventID{}
	}
	kept := *m
	kept.Body, kept.Payload = append([]byte(nil), m.Body...), append([]byte(nil), m.Payload...)
	i.taken = append(i.taken, kept)
	i.keys[key] = patchbay.EventID(len(i.taken))
	return ingest.Receipt{Event: patchbay.EventID(len(i.taken))}, nil
}

// Taken returns what was taken, in order, and how many messages came again.
func (i *Ingest) Taken() (messages []ingest.Message, again int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]ingest.Message(nil), i.taken...), i.again
}

// Until waits until so many messages have been taken, or ctx is done, and returns how many there are.
func (i *Ingest) Until(ctx context.Context, n int) int {
	for {
		i.mu.Lock()
		have := len(i.taken)
		if have >= n {
			i.mu.Unlock()
			return have
		}
		if i.changed == nil {
			i.changed = make(chan struct{})
		}
		changed := i.changed
		i.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return have
		}
	}
}
