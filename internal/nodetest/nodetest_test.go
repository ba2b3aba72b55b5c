package nodetest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/nodetest"
)

// TestStart: the Node that runs is the one of the lock file, whatever the machine has.
func TestStart(t *testing.T) {
	s := nodetest.Start(t, "hello.mjs")
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	version, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(version), "v24.") {
		t.Errorf("Node is %q, %v", version, err)
	}
	nodetest.Path(t, "node_modules/axe-core/axe.min.js")
}
