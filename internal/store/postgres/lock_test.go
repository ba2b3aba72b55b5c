package postgres

import (
	"fmt"
	"strings"
	"testing"
)

// TestNumbersInSQL shows that the migrations use the numbers that the program goes by.
func TestNumbersInSQL(t *testing.T) {
	raw, err := migrationFiles.ReadFile("migrations/0001_first.sql")
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"lockNode": fmt.Sprintf("pg_advisory_xact_lock_shared(%d, my_number)", lockNode), "stateFenced": "ERRCODE = '" + stateFenced + "'",
		"lockThread": fmt.Sprintf("pg_advisory_xact_lock(%d, patchbay_thread(of_link, of_thread))", lockThread),
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in the schema: %s", what, want)
		}
	}
}
