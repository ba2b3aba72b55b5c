package sqlite_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// TestPowerLoss takes the power away at many moments of a busy time, checkpoints and new beginnings of the log included,
// and finds each time everything that was acknowledged before.
func TestPowerLoss(t *testing.T) {
	moments := 30
	if testing.Short() {
		moments = 10
	}
	o := sqlite.SmallOptions()
	o.Dir = t.TempDir()
	s, err := sqlite.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	disk := sqlite.Watch(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	heard := map[patchbay.EventID]said{}
	say := func(id patchbay.EventID, x said) {
		mu.Lock()
		defer mu.Unlock()
		heard[id] = said{heard[id].recorded || x.recorded, heard[id].called || x.called}
	}
	var turn sync.RWMutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				turn.RLock()
				turn.RUnlock() //nolint:staticcheck // only to wait while what is left is looked at
				a := acceptance(s, 3, time.Now())
				a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(a.Event.ID, 2), Event: a.Event.ID, Link: 1001, Due: time.Now()}}
				if _, err := s.Accept(context.WithoutCancel(ctx), a); err != nil {
					t.Error(err)
					return
				}
				say(a.Event.ID, said{})
				h := &store.Hook{ID: patchbay.HookID(a.Event.ID), Integration: "github", Key: keyOf(a.Event.ID), Body: []byte("called")}
				if _, err := s.SaveHook(context.WithoutCancel(ctx), h); err != nil {
					t.Error(err)
					return
				}
				say(a.Event.ID, said{called: true})
				if i%2 == 0 {
					o := outcomesOf(a, time.Now(), request)[:2]
					o[1].WasQueued = true
					s.Record(o, func() { say(a.Event.ID, said{recorded: true}) })
				}
			}
		})
	}
	defer all.Wait()
	defer cancel()
	unsynced, checked := 0, 0
	for moment := range moments {
		mu.Lock()
		before := maps.Clone(heard)
		mu.Unlock()
		dir := t.TempDir()
		unsynced += disk.PowerLoss(t, dir)
		func() {
			turn.Lock()
			defer turn.Unlock() // also when it ends the test
			verify(t, moment|1, dir, before)
		}()
		if t.Failed() {
			return
		}
		mu.Lock()
		checked += len(before)
		maps.DeleteFunc(heard, func(id patchbay.EventID, _ said) bool { // some of the old ones are looked at each time
			_, old := before[id]
			return old && id/patchbay.IDStep%32 != 0
		})
		mu.Unlock()
	}
	t.Logf("%d times that an event was looked for, %d syncs, %d writes that had not been synced", checked, disk.Syncs(), unsynced)
	if checked == 0 || unsynced < moments {
		t.Error("nothing was at stake")
	}
}
