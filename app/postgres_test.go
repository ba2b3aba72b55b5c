package app_test

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/pgtest"
)

// onPostgreSQL begins the names of tests that run over PostgreSQL. PATCHBAY_TEST_DATABASE=postgres runs all of them so.
const onPostgreSQL = "TestOnPostgreSQL/"

// databases remembers the database of a data directory, for tests that start an installation again.
var databases sync.Map

// databaseFor returns the database of an installation: "" is the embedded one.
func databaseFor(t *testing.T, data string) patchbay.Secret {
	t.Helper()
	if !strings.HasPrefix(t.Name(), onPostgreSQL) && os.Getenv("PATCHBAY_TEST_DATABASE") != "postgres" {
		return ""
	}
	if data == "" { // one of the test's own, which it sets later
		data = t.Name()
	}
	if known, ok := databases.Load(data); ok {
		return known.(patchbay.Secret)
	}
	made := patchbay.Secret(pgtest.Database(t))
	databases.Store(data, made)
	return made
}

// TestOnPostgreSQL runs the tests that depend most on the database over PostgreSQL too: what callers see is the same.
func TestOnPostgreSQL(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"routed": TestRouted, "fields": TestEventFields, "byte for byte": TestWhatIsAcceptedArrivesByteForByte, "event lists": TestEventLists,
		"hooks": TestHooksAreShownAndReplayed, "hooks survive restarts": TestHooksSurviveRestarts, "hooks and quotas": TestHooksAndQuotas,
		"idempotency": TestIdempotency, "concurrent duplicates": TestConcurrentDuplicates, "keys outlive a restart": TestKeysOutliveARestart,
		"delivery shape": TestDeliveryShape, "verdicts": TestVerdicts, "gone": TestGone, "retries": TestRetries, "schedule": TestSchedule,
		"pause": TestPause, "cancel": TestCancel, "a slow link": TestASlowLinkCostsTheOthersNothing, "delivery lists": TestDeliveryLists,
		"link shape": TestLinkShape, "patch": TestPatch, "if-match": TestIfMatch, "link states": TestLinkStates, "link lists": TestLinkLists,
		"links outlive a restart": TestLinksOutliveARestart, "deliveries outlive a restart": TestDeliveriesOutliveARestart,
		"matching": TestMatching, "failing filters": TestFiltersThatFailAreCountedAndShown, "replay": TestReplay, "event types": TestEventTypes,
		"inline": TestInline, "keys": TestKeys, "first key": TestFirstKey, "secrets": TestSecretsAreWriteOnly, "leaks": TestNothingSecretLeaks,
		"audit": TestAudit, "audit lists": TestAuditLists, "audit stands or falls": TestAuditStandsOrFalls,
		"system events": TestSystemEvents, "stream": TestStream, "stats": TestStats,
	} {
		t.Run(name, test)
	}
}
