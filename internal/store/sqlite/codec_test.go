package sqlite

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

func TestTargets(t *testing.T) {
	for _, want := range [][]store.Target{
		nil,
		{{}},
		{{Integration: ""}, {Integration: "slack"}, {Integration: ""}, {Integration: ""}},
		{{Link: 1<<63 - 1, Revision: 1 << 40, Integration: strings.Repeat("x", 200)}, {Link: 1, Revision: 0, Integration: "slack"}},
		{{Link: 5, Revision: 1, Integration: "slack"}, {Link: 6, Revision: 2, Integration: "slack"}, {Link: 7, Revision: 300, Integration: "jira"}},
	} {
		raw := appendTargets(nil, want)
		got, err := readTargets(raw)
		if err != nil || cmp.Diff(want, got, cmpopts.EquateEmpty()) != "" {
			t.Errorf("%+v came back as %+v (%v)", want, got, err)
		}
		if n := countTargets(raw); n != len(want) {
			t.Errorf("%d targets are counted as %d", len(want), n)
		}
		for i := range want {
			if r := revisionAt(raw, i); r != want[i].Revision {
				t.Errorf("target %d has revision %d, want %d", i, r, want[i].Revision)
			}
		}
		if r := revisionAt(raw, len(want)); r != 0 {
			t.Errorf("a target that does not exist has revision %d", r)
		}
	}
}

// TestTenTargetsAreSmall guards the size that the layout counts on: ten links of one integration are ten bytes each.
func TestTenTargetsAreSmall(t *testing.T) {
	var targets []store.Target
	for i := range 10 {
		targets = append(targets, store.Target{Link: patchbay.LinkID(1 << 60), Revision: i, Integration: "webhook"})
	}
	if n := len(appendTargets(nil, targets)); n > 107 {
		t.Errorf("they take %d bytes", n)
	}
}

func TestEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		var ids []int64
		id := random.Int64N(1 << 60)
		for range n + 1 {
			ids = append(ids, id)
			id += random.Int64N(1 << uint(1+random.IntN(30)))
			if random.IntN(2) == 0 {
				id = id / patchbay.IDStep * patchbay.IDStep
			}
		}
		random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		got, err := readEvents(nil, appendEvents(nil, ids))
		slices.SortFunc(ids, descending)
		if d := cmp.Diff(slices.Compact(ids), got); err != nil || d != "" {
			t.Fatalf("%v: %s", err, d)
		}
	}
}

// FuzzBlobs reads anything as each of the blobs: damage is an error, never a panic, and what is read without an error
// comes back the same after it is written again.
func FuzzBlobs(f *testing.F) {
	f.Add(appendTargets(nil, []store.Target{{Link: 5, Revision: 1, Integration: "slack"}, {Link: 6, Integration: "slack"}}))
	f.Add(appendSource(nil, &patchbay.Source{Kind: patchbay.SourceHook, Link: 1, Integration: "github", Target: "x", Key: 9}))
	f.Add(appendSource(nil, &patchbay.Source{Kind: "other"}))
	f.Add(appendRequest(nil, &patchbay.Request{Method: "POST", URL: "u", Headers: map[string]string{"a": "b", "c": ""}}))
	f.Add(appendEvents(nil, []int64{5, 5 + patchbay.IDStep, 7}))
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if targets, err := readTargets(raw); err == nil {
			again, err := readTargets(appendTargets(nil, targets))
			if err != nil || cmp.Diff(targets, again, cmpopts.EquateEmpty()) != "" {
				t.Errorf("targets %+v came back as %+v (%v)", targets, again, err)
			}
			if n := countTargets(raw); n != len(targets) {
				t.Errorf("%d targets are counted as %d", len(targets), n)
			}
		}
		_ = revisionAt(raw, 3)
		if source, err := readSource(raw); err == nil {
			again, err := readSource(appendSource(nil, &source))
			if err != nil || again != source {
				t.Errorf("source %+v came back as %+v (%v)", source, again, err)
			}
		}
		if request, err := readRequest(raw); err == nil && request != nil {
			again, err := readRequest(appendRequest(nil, request))
			if err != nil || cmp.Diff(request, again) != "" {
				t.Errorf("request %+v came back as %+v (%v)", request, again, err)
			}
		}
		_, _ = readEvents(nil, raw)
	})
}
