package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// change is something to be read again from the store.
type change struct {
	kind string
	id   int64
	key  string
}

// listening hears of wakes and changes until ctx is done. What is lost with a connection the others find: following and
// looking do not need it.
func (m *Member) listening(ctx context.Context) {
	failing := false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.fenced:
			return
		case <-timer.C:
		}
		began := time.Now()
		err := m.store.Listen(ctx, m.woken, func() { poke(m.pokeChanges) })
		if ctx.Err() != nil || m.fence(err) {
			return
		}
		if time.Since(began) > m.rhythm.look {
			failing = false
		}
		if !failing {
			failing = true
			m.log.Warn("the connection that tells what other nodes do was lost; looking regularly until there is a new one", "error", err)
		}
		poke(m.pokeChanges)
		poke(m.pokeLook)
		timer.Reset(m.rhythm.again)
	}
}

// woken tells the engine of the links that are this node's.
func (m *Member) woken(links []patchbay.LinkID) {
	var mine []patchbay.LinkID
	for _, id := range links {
		if m.Owns(id) {
			mine = append(mine, id)
		}
	}
	if len(mine) > 0 {
		m.parts.Engine.Woken(mine)
	}
}

// following takes over what other nodes change, until ctx is done.
func (m *Member) following(ctx context.Context) {
	failing := false
	m.every(ctx, m.rhythm.changes, m.pokeChanges, func(ctx context.Context) {
		err := m.catchUp(ctx)
		if err != nil && !failing && ctx.Err() == nil && !m.fence(err) {
			m.log.Warn("what other nodes changed could not be taken over; trying again", "error", err)
		}
		failing = err != nil
	})
}

// catchUp reads all changes since the last call. What cannot be taken over does not keep the rest from it, and is tried
// again by the next call.
func (m *Member) catchUp(ctx context.Context) error {
	var failed error
	for {
		batch, err := m.store.Changes(ctx, m.position)
		if err != nil {
			return errors.Join(err, failed)
		}
		for _, c := range batch {
			switch c.Kind {
			case store.ChangedLink, store.ChangedConnection:
				m.again[change{kind: c.Kind, id: c.ID}] = true
			case store.ChangedType:
				m.again[change{kind: c.Kind, key: c.Key}] = true
			case store.ChangedKey:
				m.again[change{kind: c.Kind}] = true // all keys are read at once
			}
		}
		// What the database says now is at least as new as the changes.
		failed = m.takeOverAll(ctx)
		if len(batch) == 0 {
			return failed
		}
		m.tellEngine(batch)
		m.position = batch[len(batch)-1].Seq
	}
}

// takeOverAll reads again whatever is known to have changed, each thing once.
func (m *Member) takeOverAll(ctx context.Context) error {
	var errs []error
	var types []string
	keys := false
	for c := range m.again {
		switch c.kind {
		case store.ChangedLink:
			if err := m.parts.Link(ctx, patchbay.LinkID(c.id)); err != nil {
				errs = append(errs, err)
				continue
			}
			delete(m.again, c)
		case store.ChangedConnection:
			if m.parts.Connection != nil {
				if err := m.parts.Connection(ctx, patchbay.ConnectionID(c.id)); err != nil {
					errs = append(errs, err)
					continue
				}
			}
			delete(m.again, c)
		case store.ChangedType:
			types = append(types, c.key)
		case store.ChangedKey:
			keys = true
		}
	}
	if len(types) > 0 {
		if err := m.parts.Types(ctx, types); err != nil {
			errs = append(errs, err)
		} else {
			for _, key := range types {
				delete(m.again, change{kind: store.ChangedType, key: key})
			}
		}
	}
	if keys {
		if err := m.parts.Keys(ctx); err != nil {
			errs = append(errs, err)
		} else {
			delete(m.again, change{kind: store.ChangedKey})
		}
	}
	return errors.Join(errs...)
}

// tellEngine tells of what was dropped or cancelled, in its order.
func (m *Member) tellEngine(batch []store.Change) {
	for _, c := range batch {
		switch c.Kind {
		case store.ChangedLane:
			m.parts.Engine.LaneDropped(patchbay.LinkID(c.ID), patchbay.DeliveryID(c.At))
		case store.ChangedDelivery:
			m.parts.Engine.Cancelled(patchbay.DeliveryID(c.ID), patchbay.LinkID(c.Link))
		}
	}
}

// looking has the engine look at its queues now and then, until ctx is done.
func (m *Member) looking(ctx context.Context) {
	failing := false
	m.every(ctx, m.rhythm.look, m.pokeLook, func(ctx context.Context) {
		err := m.parts.Engine.LookAgain(ctx)
		if err != nil && !failing && ctx.Err() == nil && !m.fence(err) {
			m.log.Warn("what waits in the queue could not be looked at; trying again", "error", err)
		}
		failing = err != nil
	})
}

// Announce makes changes known to the other nodes.
func (m *Member) Announce(ctx context.Context, changes []store.Change) error {
	err := m.store.Announce(ctx, changes)
	m.fence(err)
	return err
}

// wakes are links whose owners are to be told.
type wakes struct {
	mu    sync.Mutex
	links map[patchbay.LinkID]struct{}
}

// Wake tells the owners of links that there is something new in their queues. It does not block.
func (m *Member) Wake(links []patchbay.LinkID) {
	m.wakes.mu.Lock()
	for _, id := range links {
		m.wakes.links[id] = struct{}{}
	}
	m.wakes.mu.Unlock()
	poke(m.pokeWake)
}

// waking tells other nodes until ctx is done, many links at a time.
func (m *Member) waking(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.fenced:
			return
		case <-m.pokeWake:
		}
		m.flushWakes(ctx)
		timer.Reset(m.rhythm.wake)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// flushWakes tells what is to be told. A wake is a hint: one that fails is not repeated, because the owners look anyway.
func (m *Member) flushWakes(ctx context.Context) {
	m.wakes.mu.Lock()
	others := make([]patchbay.LinkID, 0, len(m.wakes.links))
	var mine []patchbay.LinkID
	for id := range m.wakes.links {
		if m.Owns(id) {
			mine = append(mine, id)
		} else {
			others = append(others, id)
		}
	}
	clear(m.wakes.links)
	m.wakes.mu.Unlock()
	if len(mine) > 0 {
		m.parts.Engine.Woken(mine)
	}
	if len(others) == 0 || m.isFenced() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.rhythm.beatTime)
	defer cancel()
	if err := m.store.Wake(ctx, others); err != nil && !m.fence(err) && ctx.Err() == nil {
		m.log.Debug("the owners of links could not be told of what waits for them", "links", len(others), "error", err)
	}
}
