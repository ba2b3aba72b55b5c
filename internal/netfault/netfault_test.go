package netfault_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay/internal/netfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers every line with itself, and the end of what it is sent with "bye".
func echo(t *testing.T) *netfault.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if _, err := io.Copy(c, c); err == nil {
					io.WriteString(c, "bye\n")
				}
			})
		}
	})
	p, err := netfault.New(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		l.Close()
		all.Wait()
	})
	return p
}

type client struct {
	t *testing.T
	*net.TCPConn
	lines *bufio.Reader
}

func dial(t *testing.T, p *netfault.Proxy) client {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c client) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) hear(within time.Duration) (string, error) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(within))
	return c.lines.ReadString('\n')
}

func (c client) expect(want string) time.Duration {
	c.t.Helper()
	began := time.Now()
	if got, err := c.hear(90 * time.Second); got != want+"\n" {
		c.t.Fatalf("%q and %v came instead of %q", got, err, want)
	}
	return time.Since(began)
}

func TestForward(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	c.say("one")
	c.expect("one")
	c.CloseWrite()
	c.expect("bye")
	if _, err := c.hear(90 * time.Second); !errors.Is(err, io.EOF) {
		t.Errorf("after its end: %v", err)
	}
}

func TestCut(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	c.say("one")
	c.expect("one")
	if p.Connections() != 1 {
		t.Errorf("%d connections", p.Connections())
	}
	p.Cut()
	if _, err := c.hear(90 * time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was cut says %v", err)
	}
	c = dial(t, p)
	c.say("two")
	c.expect("two")
}

func TestRefuse(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	c.say("one")
	c.expect("one")
	p.Refuse()
	if _, err := net.Dial("tcp", p.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused is %v", err)
	}
	c.say("two")
	c.expect("two")
	if err := p.Allow(); err != nil {
		t.Fatal(err)
	}
	c = dial(t, p)
	c.say("three")
	c.expect("three")
}

func TestHang(t *testing.T) {
	p := echo(t)
	old := dial(t, p)
	old.say("zero")
	old.expect("zero")
	for name, f := range map[string]netfault.Faults{
		"up":   {Up: netfault.Line{Hang: true}},
		"down": {Down: netfault.Line{Hang: true}},
	} {
		p.Set(f)
		c := dial(t, p) // a black hole takes connections
		for _, c := range []client{old, c} {
			c.say(name)
			if got, err := c.hear(50 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("while it hangs: %q, %v", got, err)
			}
		}
		p.Set(netfault.Faults{})
		c.expect(name)
		old.expect(name)
	}
	p.Set(netfault.Faults{Up: netfault.Line{Hang: true}})
	before := p.Connections()
	c := dial(t, p)
	for p.Connections() == before { // the proxy hears of it a little later
		time.Sleep(time.Millisecond)
	}
	p.Cut()
	if _, err := c.hear(90 * time.Second); err == nil {
		t.Error("a connection that hung was not cut")
	}
}

func TestDelayAndRate(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Set(netfault.Faults{Up: netfault.Line{Delay: 60 * time.Millisecond}, Down: netfault.Line{Delay: 40 * time.Millisecond}})
	c.say("one")
	if took := c.expect("one"); took < 100*time.Millisecond {
		t.Errorf("delayed by %s", took)
	}
	p.Set(netfault.Faults{Up: netfault.Line{BytesPerSecond: 1000}})
	c.say("a line that has exactly one hundred bytes, which take a tenth of a second when there are 1000 each..")
	if took := c.expect("a line that has exactly one hundred bytes, which take a tenth of a second when there are 1000 each.."); took < 90*time.Millisecond {
		t.Errorf("slowed to %s", took)
	}
}

func TestHalfClose(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	c.say("one")
	c.expect("one")
	p.HalfClose(true)
	c.expect("bye")

	c = dial(t, p)
	c.say("one")
	c.expect("one")
	p.HalfClose(false)
	if _, err := c.hear(90 * time.Second); !errors.Is(err, io.EOF) {
		t.Errorf("the client's side sees %v", err)
	}
	c.say("it can still send")
}
