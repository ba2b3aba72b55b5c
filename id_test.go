package patchbay

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestIDText shows that text and number are the same identifier, and sort alike.
func TestIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := EventID(rapid.Int64Range(1, 1<<63-1).Draw(t, "a"))
		b := EventID(rapid.Int64Range(1, 1<<63-1).Draw(t, "b"))
		back, err := ParseID[eventKind](a.String())
		if err != nil || back != a {
			t.Fatalf("%d is spelled %q and read back as %d, %v", int64(a), a, int64(back), err)
		}
		if (a < b) != (a.String() < b.String()) {
			t.Fatalf("%d and %d sort differently from %q and %q", int64(a), int64(b), a, b)
		}
	})
}

// TestIDPrefixes pins the prefixes, which are public.
func TestIDPrefixes(t *testing.T) {
	for got, want := range map[string]string{
		EventID(1).String(): "evt_0000000000001", LinkID(32).String(): "lnk_0000000000010", DeliveryID(1).String(): "dlv_0000000000001",
		ConnectionID(1).String(): "con_0000000000001", KeyID(1).String(): "key_0000000000001", JobID(1<<63 - 1).String(): "job_7zzzzzzzzzzzz",
		EventID(0).String(): "",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestParseIDRefuses says what is no identifier.
func TestParseIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "evt_", "lnk_0000000000001", "evt_000000000001", "evt_00000000000001", "evt_0000000000000", "evt_8000000000000",
		"evt_zzzzzzzzzzzzz", "evt_000000000000i", "evt_000000000000A", "EVT_0000000000001", "evt_0000000000001 ", "evt_00000000000\xff1",
	} {
		if id, err := ParseID[eventKind](text); err == nil || id != 0 || CodeOf(err) != CodeInvalidRequest {
			t.Errorf("%q: got %v, %v", text, id, err)
		}
	}
}

// TestIDJSON shows identifiers in JSON: a text, "" for none.
func TestIDJSON(t *testing.T) {
	type both struct {
		A EventID `json:"a"`
		B LinkID  `json:"b"`
	}
	raw, err := json.Marshal(both{A: 33})
	if want := `{"a":"evt_0000000000011","b":""}`; err != nil || string(raw) != want {
		t.Errorf("got %s, %v, want %s", raw, err, want)
	}
	back := both{B: 7}
	if err := json.Unmarshal(raw, &back); err != nil || back != (both{A: 33}) {
		t.Errorf("read back as %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"b":"evt_0000000000011"}`), &back); err == nil {
		t.Error("an event's identifier was read as a link's")
	}
}

// TestDeliveryAt shows that an event's deliveries have the identifiers that were taken together with its own.
func TestDeliveryAt(t *testing.T) {
	s := NewSequence(3, 0, nil)
	event := EventID(s.Take(4))
	next := s.Take(1)
	last := DeliveryAt(event, 3)
	if int64(last) != int64(event)+3*IDStep || int64(last) >= next {
		t.Errorf("event %d, its last delivery %d, the next event %d", int64(event), int64(last), next)
	}
	if int64(last)%MaxNodes != 3 {
		t.Errorf("the delivery's node is %d, want 3", int64(last)%MaxNodes)
	}
}

// TestSequence takes identifiers under any clock: they only ever rise, keep their node, and never repeat.
func TestSequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		node := rapid.IntRange(0, MaxNodes-1).Draw(t, "node")
		after := rapid.Int64Range(0, 1<<61).Draw(t, "after")
		now := time.UnixMilli(idEpoch)
		s := NewSequence(node, after, func() time.Time { return now })
		last := after
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			now = now.Add(time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "tick")))
			n := rapid.IntRange(1, 5000).Draw(t, "n")
			first := s.Take(n)
			if first <= last {
				t.Fatalf("took %d after %d", first, last)
			}
			if int(first%MaxNodes) != node {
				t.Fatalf("the node is %d, want %d", first%MaxNodes, node)
			}
			last = first + int64(n-1)*IDStep
		}
	})
}

// TestSequenceFollowsTheClock shows that an identifier tells when it was made.
func TestSequenceFollowsTheClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 2, 50, 0, 123e6, time.UTC)
	id := EventID(NewSequence(1023, 0, func() time.Time { return now }).Take(1))
	if !id.Time().Equal(now) {
		t.Errorf("made at %v, says %v", now, id.Time())
	}
	if first := FirstIDAt(now); first > int64(id) || FirstIDAt(now.Add(time.Millisecond)) <= int64(id) {
		t.Errorf("the identifier %d does not lie in its millisecond, which begins at %d", int64(id), first)
	}
	if FirstIDAt(time.Time{}) != 0 || FirstIDAt(time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)) < 0 {
		t.Error("times that no identifier can hold are not clamped")
	}
}

// TestSequenceConcurrently takes from many goroutines at once.
func TestSequenceConcurrently(t *testing.T) {
	s := NewSequence(0, 0, nil)
	const workers, each = 4, 2000
	taken := make([][]int64, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				taken[w] = append(taken[w], s.Take(2))
			}
		})
	}
	wg.Wait()
	seen := make(map[int64]bool)
	for _, ids := range taken {
		for _, id := range ids {
			if seen[id] || seen[id+IDStep] {
				t.Fatalf("%d was taken twice", id)
			}
			seen[id], seen[id+IDStep] = true, true
		}
	}
}

// TestSequenceNode shows that a node that does not exist is a mistake of the program.
func TestSequenceNode(t *testing.T) {
	for _, node := range []int{-1, MaxNodes} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("there is a sequence of node %d", node)
				}
			}()
			NewSequence(node, 0, nil)
		}()
	}
}

// FuzzParseID shows that nothing but what String writes is read.
func FuzzParseID(f *testing.F) {
	for _, text := range []string{"evt_0000000000001", "evt_7zzzzzzzzzzzz", "evt_", "lnk_0000000000001", "evt_01h2xcejqtf2n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID[eventKind](text)
		switch {
		case err == nil && id.String() != text:
			t.Errorf("%q was read as %q", text, id)
		case err != nil && (id != 0 || CodeOf(err) != CodeInvalidRequest || len(err.Error()) > 500):
			t.Errorf("%q: %d, %v", text, int64(id), err)
		}
	})
}
