package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// mayScan are the statements that may walk through a large table, and why.
var mayScan = map[string]string{
	"SELECT count(*) FROM queue":                             "Stats counts; SQLite walks the leaves of the smallest index, 8 ms for a million",
	"SELECT id, targets FROM event ORDER BY id DESC LIMIT 1": "the last row only",
}

// maySort are the statements that may sort what they find, and why.
var maySort = map[string]string{
	"INDEXED BY queue_spared": "what was put back by hand after a backlog was dropped: a few",
	"FROM connection INDEXED": "connections of one account, or that one scope may use: a few",
	"FROM session INDEXED":    "sessions of one scope",
}

var largeTables = []string{"event", "attempt", "queue", "idempotency", "history", "response", "thread", "hook", "hook_event", "session", "connection", "flow", "audit", "audit_word",
	"w", "q", "e", "i", "a", "r", "h", "c", "o"}

// TestEveryQueryHasItsIndex asks the planner about every statement that a store uses in a life.
func TestEveryQueryHasItsIndex(t *testing.T) {
	o := sqlite.SmallOptions()
	o.Dir = filepath.Join(t.TempDir(), "data")
	later := time.Duration(0)
	o.Now = func() time.Time { return time.Now().Add(later) }
	ctx := context.Background()
	s, err := sqlite.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	exercise(t, s)
	s.Abandon()
	if s, err = sqlite.Open(ctx, o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Recover(ctx, o.Now()); err != nil {
		t.Fatal(err)
	}
	exercise(t, s)
	statements := map[string][]string{}
	collect := func() {
		for sql, plan := range s.Plans(t) {
			statements[sql] = plan
		}
	}
	collect()
	later = 40 * 24 * time.Hour
	r := store.Retention{Matched: 30 * 24 * time.Hour, Unmatched: time.Hour, Bodies: time.Hour, MaxBytes: 1}
	for more := true; more; {
		if more, err = s.Prune(ctx, r, o.Now()); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	if len(statements) < 120 {
		t.Errorf("only %d statements were used: the test does not see everything", len(statements))
	}
	for sql, plan := range statements {
		for _, step := range plan {
			checkStep(t, sql, step)
		}
	}
}

func checkStep(t *testing.T, sql, step string) {
	t.Helper()
	excused := func(by map[string]string) bool {
		for part := range by {
			if strings.Contains(sql, part) {
				return true
			}
		}
		return false
	}
	if rest, ok := strings.CutPrefix(step, "SCAN "); ok {
		table, _, _ := strings.Cut(rest, " ")
		for _, large := range largeTables {
			// An ordered walk from a place on has a WHERE on the key and is a SEARCH; a SCAN begins at the beginning.
			if table == large && !excused(mayScan) {
				t.Errorf("%s\n\twalks through %s: %s", sql, table, step)
			}
		}
	}
	if strings.Contains(step, "TEMP B-TREE") && !excused(maySort) {
		t.Errorf("%s\n\tsorts: %s", sql, step)
	}
}
