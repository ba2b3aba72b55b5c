package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// command is patchbay with arguments, its output without colours.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	return cmd
}

// smallDisk mounts a file system of so many MB, or skips the test with the reason.
func smallDisk(t *testing.T, mb int) string {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("a full disk needs a small tmpfs, which only root on Linux can mount")
	}
	dir := t.TempDir()
	mount := exec.Command("mount", "-t", "tmpfs", "-o", "size="+strconv.Itoa(mb)+"m", "patchbay-test", dir)
	if out, err := mount.CombinedOutput(); err != nil {
		t.Skipf("a full disk needs a small tmpfs, which cannot be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("the small disk stays mounted: %v: %s", err, out)
		}
	})
	return dir
}

// TestFullDisk fills the disk: what cannot be stored is answered 503, what was accepted arrives, and when there is room
// again everything goes on by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	data := smallDisk(t, 24)
	ballast := filepath.Join(data, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := newSink(t)
	s := start(t, data, "--dev")
	s.link(`{"integration":"webhook","scope":"acme","events":["*"],"settings":{"url":"` + sink.URL + `"}}`)
	body := `{"event_type":"integration_test","scope":"acme","payload":{"pad":"` + strings.Repeat("x", 100_000) + `"}}`
	accepted := map[string]bool{}
	full := false
	for range 500 {
		status, answer := s.call("POST", "/events", body)
		if status == 201 {
			accepted[answer["id"].(string)] = true
			continue
		}
		if status != http.StatusServiceUnavailable || answer["type"] != "unavailable" {
			t.Fatalf("on a full disk an event was answered %d %v", status, answer)
		}
		full = true
		break
	}
	if !full {
		t.Fatal("the disk did not become full")
	}
	s.retryAfter(body)
	if status, answer := s.call("GET", "/healthz", ""); status != 200 {
		t.Errorf("on a full disk /healthz answers %d %v; the process is alive", status, answer)
	}
	sink.waitFor(t, accepted, patience)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(patience)
	for status := 0; status != 201; {
		var answer map[string]any
		if status, answer = s.call("POST", "/events", body); status == 201 {
			accepted[answer["id"].(string)] = true
			break
		}
		select {
		case <-deadline:
			t.Fatalf("a minute after there was room again events are answered %d %v\n%s", status, answer, s.logs)
		case <-time.After(50 * time.Millisecond):
		}
	}
	sink.waitFor(t, accepted, patience)
	s.kill()
	s = start(t, data, "--dev")
	for id := range accepted {
		if status, answer := s.call("GET", "/v1/events/"+id, ""); status != 200 {
			t.Fatalf("an accepted event is not there after a restart: %d %v", status, answer)
		}
	}
	t.Logf("%d events were accepted around a full disk, all of them kept and delivered, %d twice", len(accepted), sink.duplicates())
	s.interrupt()
}

// retryAfter checks that a refusal says when to come again.
func (s *server) retryAfter(body string) {
	s.t.Helper()
	resp, err := http.Post(s.url+"/events", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); resp.StatusCode != 503 || err != nil || after < 1 {
		s.t.Errorf("a refusal has status %d and Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}
