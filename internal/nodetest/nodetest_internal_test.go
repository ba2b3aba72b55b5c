package nodetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCacheThatCannotBeWritten: it is said at once, and not waited for as another process's installation is.
func TestCacheThatCannotBeWritten(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(cache, []byte("a file stands where the directory should be"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", cache)
	began := time.Now()
	if _, err := install(); err == nil || !strings.Contains(err.Error(), "XDG_CACHE_HOME") || time.Since(began) > waitForInstall/2 {
		t.Errorf("it says %v after %s", err, time.Since(began))
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if _, err := install(); err == nil || !strings.Contains(err.Error(), "set XDG_CACHE_HOME or HOME") {
		t.Errorf("without a home it says %v", err)
	}
}
