package postgres

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
)

// TestInspect looks at an empty database without changing it, and Migrate makes its tables.
func TestInspect(t *testing.T) {
	url := pgtest.Database(t)
	for range 2 {
		s, err := Inspect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if s.Schema != 0 || len(s.Pending) != s.Known || s.Known == 0 || s.ReadOnly || s.Connections == 0 || s.Version == "" || s.Nodes != 0 {
			t.Errorf("an empty database is %+v", s)
		}
		if !slices.Contains(s.Unsafe, "fsync") { // tests run without it
			t.Errorf("what is unsafe is %v", s.Unsafe)
		}
		if s.Skew.Abs() > time.Minute {
			t.Errorf("the clocks of one machine are %s apart", s.Skew)
		}
	}
	for range 2 {
		s, err := Migrate(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if s.Schema != s.Known || s.Pending != nil {
			t.Errorf("after the migration it is %+v", s)
		}
	}
	if _, err := Inspect(t.Context(), strings.Replace(url, "127.0.0.1:", "127.0.0.1:1", 1)); err == nil {
		t.Error("a server that is not there was looked at")
	}
}
