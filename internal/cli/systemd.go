package cli

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay/internal/lifecycle"
)

// alivePatience bounds how long a process that is alive takes to answer itself.
const alivePatience = 5 * time.Second

// manager tells systemd, when it has started this process, how it is.
type manager struct {
	log   *slog.Logger
	addr  atomic.Pointer[string] // where this process answers; nil while it starts anew
	stop  context.CancelFunc
	owned sync.WaitGroup
}

// ready tells that requests are answered at an address, and begins to say so for the watchdog.
func (m *manager) ready(ctx context.Context, addr string) {
	m.addr.Store(&addr)
	if err := lifecycle.Notify("READY=1"); err != nil {
		m.log.Warn("the service manager cannot be told that the start is done", "error", err)
	}
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.owned.Go(func() { lifecycle.Watchdog(ctx, m.alive) })
}

// again notes that the process starts anew inside, and where it answers then.
func (m *manager) again(addr string) {
	if addr == "" {
		m.addr.Store(nil)
		return
	}
	m.addr.Store(&addr)
}

// stopping tells that the end has begun; the watchdog is told on until done is called, because a stop may take long.
func (m *manager) stopping() (done func()) {
	m.addr.Store(nil)
	_ = lifecycle.Notify("STOPPING=1") // a manager that does not hear it only waits less well
	return func() {
		m.stop()
		m.owned.Wait()
	}
}

// alive asks the process itself: one that hangs does not answer. A database that cannot be reached is no reason to be
// restarted.
func (m *manager) alive(ctx context.Context) error {
	addr := m.addr.Load()
	if addr == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, alivePatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*addr+"/healthz", nil)
	if err != nil {
		return err
	}
	r.Close = true
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return err
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
		return errors.Join(errors.New(answer.Status), err)
	}
	return nil
}
