//go:build unix

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
)

// TestPausedNode stops a node for longer than the others wait, and lets it go on: it must not send again what they have
// taken over, and must serve again afterwards.
func TestPausedNode(t *testing.T) {
	k := newSink(t)
	k.slow(50 * time.Millisecond) // so that it has something in memory
	f := newFleet(t, 2, pgtest.Database(t))
	f.webhook(k)
	tr := f.publish(6)
	tr.until(100, patience)
	waitUntil(t, patience, "the nodes do not know of each other", func() bool { return len(living(f.node(0))) == 2 })
	paused := f.node(1)
	if err := paused.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, patience, "the other node has not taken over:\n"+f.node(0).logs.String(), func() bool {
		return len(living(f.node(0))) == 1
	})
	if err := paused.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, patience, "the paused node has not come back", func() bool { return len(living(f.node(0))) == 2 })
	tr.until(100, patience)
	tr.settle(k, patience, "a node that was paused")
	if n := k.duplicates(); n > inFlight {
		t.Errorf("%d events arrived twice; only what was in flight may", n)
	}
}
