package inbound

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/lifecycle"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// readers is how many calls are read at one time. Those of one link or account are read by one reader, in the order in
	// which they came in.
	readers = 8
	// shardQueue is how many calls wait in memory for one reader; more wait in the store.
	shardQueue = 8
	// findPage is how many pending calls are in memory while the store is looked through, findEvery how often it is.
	findPage  = 16
	findEvery = 5 * time.Second
	// othersAge is how old a call must be before a node reads what another one has taken in.
	othersAge = 30 * time.Second
	// findSkipped is how much longer the next look may wait for each call that was found and must wait, up to findMost.
	findSkipped = 10 * time.Millisecond
	findMost    = time.Minute
	// readTime bounds how long reading one call for one link may take.
	readTime = 30 * time.Second
	// readsMost is how often a call is read before what keeps it from becoming events is taken to last. The pauses between
	// two tries double from retryFirst to retryMost, which makes about four hours of them.
	readsMost  = 32
	retryFirst = time.Second
	retryMost  = 10 * time.Minute
	// delayedMost bounds how many calls are remembered to be read later; more are tried again when they are found.
	delayedMost = 100_000
)

// shard is what one reader has to read.
type shard struct {
	queue chan *store.Hook
	// spilled says that some of it is in the store only, which newer calls must not overtake.
	spilled atomic.Bool
}

var seed = maphash.MakeSeed()

// shardOf returns the reader of a call.
func (s *Service) shardOf(h *store.Hook) *shard {
	place := h.Account
	if h.Link != 0 {
		place = h.Link.String()
	}
	return s.shards[maphash.String(seed, h.Integration+"\x00"+place)%uint64(len(s.shards))]
}

// Start begins to read, with what an earlier run left pending. A second call does nothing.
func (s *Service) Start(context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.cancel != nil {
		return nil
	}
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, shard := range s.shards {
		shard.spilled.Store(true) // until the store has been looked through once
		s.owned.Go(func() { s.reader(run, shard) })
	}
	s.owned.Go(func() { s.finder(run) })
	return nil
}

// Stop ends reading. What is being read is finished unless ctx is done before; what waits stays pending in the store.
func (s *Service) Stop(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
	return lifecycle.Wait(ctx, &s.owned)
}

// Pending is how many calls wait in memory for being read, now or later.
func (s *Service) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.working) + len(s.delayed)
}

// enqueue hands a call that was just stored to its reader. What does not fit is found in the store later.
func (s *Service) enqueue(h *store.Hook) {
	shard := s.shardOf(h)
	if shard.spilled.Load() || !s.begin(h.ID) {
		s.wake()
		return
	}
	select {
	case shard.queue <- h:
	default:
		s.end(h.ID, time.Time{})
		shard.spilled.Store(true)
		s.wake()
	}
}

// wake has the store looked through.
func (s *Service) wake() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// begin notes that a call is being worked on here; false when it is already, or must wait.
func (s *Service) begin(id patchbay.HookID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.working[id]; ok {
		return false
	}
	if until, ok := s.delayed[id]; ok {
		if s.now().Before(until) {
			return false
		}
		delete(s.delayed, id)
	}
	s.working[id] = struct{}{}
	return true
}

// end notes that a call is not worked on any more, and until when it must wait.
func (s *Service) end(id patchbay.HookID, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.working, id)
	delete(s.delayed, id)
	if !until.IsZero() && len(s.delayed) < delayedMost {
		s.delayed[id] = until
	}
}

// reader reads the calls of one shard.
func (s *Service) reader(ctx context.Context, shard *shard) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-shard.queue:
			if ctx.Err() != nil {
				return
			}
			s.end(h.ID, s.read(ctx, h, nil))
		}
	}
}

// finder looks through the store for what waits there: what did not fit into memory, what must be read again, and what an
// earlier run or another node left.
func (s *Service) finder(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.look:
		}
		skipped, err := s.find(ctx)
		if err != nil && ctx.Err() == nil {
			s.o.Log.Warn("partners' calls that wait for being read could not be found; trying again in a few seconds", "error", err)
		}
		timer.Reset(min(findEvery+time.Duration(skipped)*findSkipped, findMost))
	}
}

// find goes through what is pending once, the oldest first, as fast as it is read, and counts what must wait.
func (s *Service) find(ctx context.Context) (skipped int, err error) {
	now := s.now()
	for after := patchbay.HookID(0); ; {
		page, err := s.o.Store.PendingHooks(ctx, now.Add(time.Millisecond), after, findPage)
		if err != nil {
			return skipped, err
		}
		for i := range page {
			h := &page[i]
			after = h.ID
			if int(int64(h.ID)%patchbay.IDStep) != s.o.Node && now.Sub(h.ReceivedAt) < othersAge || !s.begin(h.ID) {
				skipped++
				continue
			}
			select {
			case s.shardOf(h).queue <- h:
			case <-ctx.Done():
				s.end(h.ID, time.Time{})
				return skipped, nil
			}
		}
		if len(page) < findPage {
			break
		}
	}
	for _, shard := range s.shards {
		if len(shard.queue) < cap(shard.queue) { // whoever finds it full from now on says so again
			shard.spilled.Store(false)
		}
	}
	return skipped, nil
}

// pause is how long a call waits after it was read in vain so many times.
func pause(reads int) time.Duration {
	d := retryFirst << min(reads, 20)
	return min(d, retryMost)
}
