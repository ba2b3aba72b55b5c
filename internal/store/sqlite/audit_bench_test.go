package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// BenchmarkAuditEntries lists a page out of a million entries, by what is common and by what is rare.
func BenchmarkAuditEntries(b *testing.B) {
	dir := b.TempDir()
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, sql := range []string{
		`INSERT INTO audit SELECT n * 1024, 'acme/repos/' || n % 1000, CASE WHEN n % 40 = 0 THEN 'key.created' ELSE 'link.updated' END, 'lnk_' || n % 5000, 'Slack',
			'key', 'key_' || n % 50, 'CI', 'api', '192.0.2.7', 'curl/8', '[{"field":"name","from":"a","to":"b"}]'
			FROM (WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000000) SELECT n FROM c)`,
		"INSERT INTO audit_word SELECT 's acme', id FROM audit ORDER BY 1, 2", "INSERT INTO audit_word SELECT 's ' || scope, id FROM audit ORDER BY 1, 2",
		"INSERT INTO audit_word SELECT 'a ' || action, id FROM audit ORDER BY 1, 2",
		"INSERT INTO audit_word SELECT 'a ' || substr(action, 1, instr(action, '.')), id FROM audit ORDER BY 1, 2",
		"INSERT INTO audit_word SELECT 'o ' || object, id FROM audit ORDER BY 1, 2", "INSERT INTO audit_word SELECT 'w ' || actor, id FROM audit ORDER BY 1, 2",
		"INSERT INTO audit_word SELECT 'w CI', id FROM audit ORDER BY 1, 2",
	} {
		if err := s.Run(sql); err != nil {
			b.Fatal(err)
		}
	}
	for _, f := range []store.AuditFilter{
		{}, {Within: "acme"}, {Within: "acme/repos/7"}, {Action: "link."}, {Within: "acme", Action: "key.created"}, {Actor: "key_7", Action: "link."},
		{Within: "acme", Actor: "CI", Action: "link.updated"}, {Object: "lnk_77", Within: "acme"}, {Within: "acme", Action: "link.deleted"},
		{Within: "acme/repos/7", Actor: "key_8", Action: "key."}, // each is there, and never together
	} {
		f.Limit = 51
		b.Run(fmt.Sprint(f.Within, "+", f.Action, "+", f.Actor, "+", f.Object), func(b *testing.B) {
			var longest time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := s.AuditEntries(b.Context(), f); err != nil {
					b.Fatal(err)
				}
				longest = max(longest, time.Since(began))
			}
			b.ReportMetric(float64(longest.Microseconds()), "µs-longest")
		})
	}
}
