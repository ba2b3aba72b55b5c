package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// victimIn is the environment variable that makes the test binary a process that works on a database until it is
// killed.
const victimIn = "PATCHBAY_TEST_VICTIM_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimIn); dir != "" {
		victim(dir)
	}
	goleak.VerifyTestMain(m)
}

// victim accepts and records as fast as it can, and says on its standard output what is durable.
func victim(dir string) {
	ctx := context.Background()
	o := sqlite.Options{Dir: dir}
	if time.Now().UnixNano()%2 == 0 {
		o = sqlite.SmallOptions()
		o.Dir = dir
	}
	s, err := sqlite.Open(ctx, o)
	if err == nil {
		_, err = s.Recover(ctx, time.Now())
	}
	if err != nil {
		fmt.Println("!", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	say := func(kind string, id int64) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(kind, id)
	}
	say("ready", 0)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := 0; ; i++ {
				a := acceptance(s, 3, time.Now())
				a.Queue = []store.Queued{{Delivery: patchbay.DeliveryAt(a.Event.ID, 2), Event: a.Event.ID, Link: 1001, Due: time.Now()}}
				if _, err := s.Accept(ctx, a); err != nil {
					fmt.Println("!", err)
					os.Exit(1)
				}
				say("accepted", int64(a.Event.ID))
				h := &store.Hook{ID: patchbay.HookID(a.Event.ID), Integration: "github", Key: keyOf(a.Event.ID), Body: []byte("called")}
				if _, err := s.SaveHook(ctx, h); err != nil {
					fmt.Println("!", err)
					os.Exit(1)
				}
				say("called", int64(h.ID))
				if i%2 == 0 {
					o := outcomesOf(a, time.Now(), request)[:2]
					o[1].WasQueued = true
					s.Record(o, func() { say("recorded", int64(a.Event.ID)) })
				}
			}
		})
	}
	all.Wait()
}

// TestKill kills a process in the middle of its work, many times, and checks each time that everything it said is
// there.
func TestKill(t *testing.T) {
	rounds := 12
	switch {
	case testing.Short():
		rounds = 3
	case underRace: // a round takes seconds, most of them the check of the files
		rounds = 5
	}
	dir := t.TempDir()
	total := 0
	for round := range rounds {
		said := killed(t, dir, time.Duration(20+rand.IntN(300))*time.Millisecond)
		total += len(said)
		verify(t, round, dir, said)
	}
	if total == 0 {
		t.Error("no process had accepted anything when it was killed")
	}
	t.Logf("%d events were accepted", total)
}

// said is what a victim said of an event that it accepted: that results were recorded, that a hook was stored.
type said struct{ recorded, called bool }

// killed runs a victim for a while, kills it, and returns the events that it accepted.
func killed(t *testing.T, dir string, after time.Duration) map[patchbay.EventID]said {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), victimIn+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if first, err := lines.ReadString('\n'); !strings.HasPrefix(first, "ready") {
		t.Fatalf("the process says %q (%v)", first, err)
	}
	refused(t, dir, "in use", fmt.Sprint("process ", c.Process.Pid))
	timer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	rest, err := io.ReadAll(lines) // until it is dead
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	all := map[patchbay.EventID]said{}
	for line := range strings.Lines(string(rest)) {
		var kind string
		var id int64
		if _, err := fmt.Sscan(line, &kind, &id); err != nil || !strings.HasSuffix(line, "\n") {
			if strings.HasPrefix(line, "!") {
				t.Fatal(line)
			}
			continue // cut off in the middle
		}
		x := all[patchbay.EventID(id)]
		x.recorded, x.called = x.recorded || kind == "recorded", x.called || kind == "called"
		all[patchbay.EventID(id)] = x
	}
	return all
}

func verify(t *testing.T, round int, dir string, all map[patchbay.EventID]said) {
	t.Helper()
	ctx := context.Background()
	s, err := openIn(t, dir)
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	defer func() {
		if round%2 == 0 { // every other time the next process finds what this one left when it died
			s.Abandon()
		}
		_ = s.Close()
	}()
	if _, err := s.Recover(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	wants := func(state patchbay.DeliveryState, waits bool) bool {
		return state == patchbay.DeliverySucceeded || state == patchbay.DeliveryPending && waits
	}
	for id, said := range all {
		of, err := s.OfEvent(ctx, id)
		if err != nil || len(of) != 3 {
			t.Fatalf("round %d: %s was accepted, but: %d deliveries, %v", round, id, len(of), err)
		}
		for i, d := range of {
			if !wants(d.State, d.NextAttemptAt != nil) {
				t.Errorf("round %d: delivery %d of %s is %s and does not wait: it is lost", round, i+1, id, d.State)
			}
			if said.recorded && i < 2 && d.State != patchbay.DeliverySucceeded {
				t.Errorf("round %d: delivery %d of %s was recorded and is %s", round, i+1, id, d.State)
			}
		}
		events, err := s.Events(ctx, store.EventFilter{Before: id + 1, Limit: 1, Types: []string{"repo.push"}, Within: "acme"})
		if err != nil || len(events) != 1 || events[0].ID != id {
			t.Errorf("round %d: %s is not in the list (%v)", round, id, err)
		}
		if h, err := s.Hook(ctx, patchbay.HookID(id)); said.called && (err != nil || h.State != patchbay.HookPending || string(h.Body) != "called") {
			t.Errorf("round %d: the hook %s was answered, and is %+v, %v", round, id, h, err)
		}
		if existing, err := s.Remembered(ctx, keyOf(id), time.Now()); err != nil || existing == nil || existing.Event != id {
			t.Errorf("round %d: the key of %s is not remembered: %v (%v)", round, id, existing, err)
		}
	}
}
