package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

// TestTargets reads back what was written.
func TestTargets(t *testing.T) {
	all := []store.Target{{Link: 1 << 62, Revision: 300, Integration: "webhook"}, {}, {Link: 7, Revision: 1, Integration: "slack"}}
	for n := range len(all) + 1 {
		raw := appendTargets(nil, all[:n])
		got, err := readTargets(raw)
		if d := cmp.Diff(all[:n], got); err != nil || d != "" {
			t.Errorf("%d targets: %v\n%s", n, err, d)
		}
		if countTargets(raw) != n {
			t.Errorf("%d targets are counted as %d", n, countTargets(raw))
		}
		for i := -1; i <= n; i++ {
			want := 0
			if i >= 0 && i < n {
				want = all[i].Revision
			}
			if got := revisionAt(raw, i); got != want {
				t.Errorf("revision of target %d of %d is %d, want %d", i, n, got, want)
			}
		}
	}
}

// FuzzReadTargets shows that whatever stands in the database is read or refused, and that what is read is written alike.
func FuzzReadTargets(f *testing.F) {
	f.Add(appendTargets(nil, []store.Target{{Link: 5, Revision: 1, Integration: "webhook"}, {}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i := range countTargets(raw) % 100 {
			revisionAt(raw, i)
		}
		got, err := readTargets(raw)
		if err != nil || len(got) == 0 {
			return
		}
		again, err := readTargets(appendTargets(nil, got))
		if d := cmp.Diff(got, again); err != nil || d != "" {
			t.Error(err, d)
		}
	})
}

// FuzzReadRequest is the same for requests and sources.
func FuzzReadRequest(f *testing.F) {
	f.Add(appendRequest(nil, &patchbay.Request{Method: "POST", URL: "https://example.com", Headers: map[string]string{"A": "b"}}), `{"kind":"hook"}`)
	f.Fuzz(func(t *testing.T, raw []byte, source string) {
		if q, err := readRequest(raw); err == nil && q != nil {
			again, err := readRequest(appendRequest(nil, q))
			if d := cmp.Diff(q, again); err != nil || d != "" {
				t.Error(err, d)
			}
		}
		if s, err := readSource(source); err == nil {
			if again, err := readSource(string(appendSource(nil, &s))); err != nil || again != s {
				t.Errorf("%q is read as %+v, then as %+v, %v", source, s, again, err)
			}
		}
	})
}
