package lifecycle

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"time"
)

// Notify tells the service manager that started this process, systemd or one that speaks its protocol, such as
// "READY=1". Without one it does nothing.
func Notify(state string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	// The kernel's abstract names begin with a zero byte, which the environment spells as @.
	if address[0] == '@' {
		address = "\x00" + address[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}

// Watchdog says every now and then that this process is alive, as long as alive returns nil, until ctx is done. Where no
// service manager asks for it, it returns at once.
func Watchdog(ctx context.Context, alive func(context.Context) error) {
	every, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || every <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	ticker := time.NewTicker(time.Duration(every) * time.Microsecond / 3)
	defer ticker.Stop()
	for {
		if alive(ctx) == nil {
			_ = Notify("WATCHDOG=1") // one that is lost is followed by two more before it counts
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
