package lifecycle

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
	address := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hear := func() string {
		t.Helper()
		b := make([]byte, 100)
		if err := l.SetReadDeadline(time.Now().Add(90 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", address)
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	if got := hear(); got != "READY=1" {
		t.Errorf("it hears %q", got)
	}

	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", "1")
	Watchdog(context.Background(), nil) // another process's
	t.Setenv("WATCHDOG_PID", "")
	ctx, cancel := context.WithCancel(context.Background())
	var well atomic.Bool
	well.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watchdog(ctx, func(context.Context) error {
			if well.Load() {
				return nil
			}
			return errors.New("ill")
		})
	}()
	for range 3 {
		if got := hear(); got != "WATCHDOG=1" {
			t.Errorf("it hears %q", got)
		}
	}
	cancel()
	<-done
	well.Store(false)
	for l.SetReadDeadline(time.Now()) == nil { // what is left
		if _, err := l.Read(make([]byte, 100)); err != nil {
			break
		}
	}
	short, end := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer end()
	Watchdog(short, func(context.Context) error { return errors.New("ill") })
	if err := l.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one that is ill says that it is alive: %d %v", n, err)
	}
}
