package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/patchbay/patchbay/integration"
)

// Every class of address that is not the public internet is refused, in every spelling of IPv6 that carries IPv4, and
// the edges of each network are where they should be.
func TestGuardVectors(t *testing.T) {
	for class, addrs := range map[string][]string{
		"a loopback address": {"127.0.0.1", "127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"},
		"an unspecified address": {
			"0.0.0.0", "0.1.2.3", "0.255.255.255", "::", "::ffff:0.0.0.0"},
		"a private address": {"10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
			"192.168.255.255", "::ffff:10.1.2.3", "fc00::1", "fd12:3456::1", "fdff:ffff::1", "fec0::1", "feff::1"},
		"a shared carrier address (CGNAT)":                     {"100.64.0.1", "100.127.255.255", "::ffff:100.64.0.1"},
		"a link-local address":                                 {"169.254.0.1", "169.254.169.253", "fe80::1", "febf::1", "fe80::1%eth0", "::ffff:169.254.1.1"},
		"the address of a cloud's metadata service":            {"169.254.169.254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fe80::a9fe:a9fe"},
		"a multicast address":                                  {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"},
		"a broadcast address":                                  {"255.255.255.255"},
		"a reserved address":                                   {"240.0.0.1", "255.255.255.254", "1::1", "4000::1", "5f00::1", "e000::1", "100::1", "64:ff9b:2::1", "0:1::"},
		"an address for documentation":                         {"192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff::1"},
		"an address for benchmarks":                            {"198.18.0.1", "198.19.255.255", "2001:2::1"},
		"an address reserved for protocols":                    {"192.0.0.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.175.48.1", "2001:1::1", "2001:20::1", "2001:1ff::1", "2620:4f:8000::1"},
		"an IPv4 address inside an IPv6 one (NAT64)":           {"64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8"},
		"an IPv4 address inside an IPv6 one (6to4)":            {"2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1"},
		"an IPv4 address inside an IPv6 one (Teredo)":          {"2001::1", "2001:0:7f00:1::", "2001:0:808:808::5601:5601"},
		"an IPv4 address inside an IPv6 one (ISATAP)":          {"2606:4700::5efe:7f00:1", "2606:4700::200:5efe:10.0.0.1", "fe80::5efe:192.168.0.1"},
		"an IPv4 address inside an IPv6 one (local NAT64)":     {"64:ff9b:1::1", "64:ff9b:1:ffff::10.0.0.1"},
		"an IPv4 address inside an IPv6 one (IPv4-compatible)": {"::2", "::127.0.0.1", "::8.8.8.8", "::a00:1"},
		"an IPv4 address inside an IPv6 one (IPv4-translated)": {"::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"},
	} {
		for _, text := range addrs {
			err := Guard{}.Check(netip.MustParseAddr(text))
			var refusal *RefusedError
			if !errors.As(err, &refusal) || refusal.Class != class {
				t.Errorf("%s: %v, want %s", text, err, class)
				continue
			}
			if !errors.Is(err, integration.ErrRefused) || !strings.Contains(err.Error(), "--egress-allow") || !strings.Contains(err.Error(), class) {
				t.Errorf("%s: %q does not say what to do", text, err)
			}
		}
	}
	for _, text := range []string{
		"8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
		"126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1",
		"192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700:4700::1111", "2001:200::1", "2001:4860:4860::8888", "2a00:1450::1", "2003::1", "3ffe:ffff::1",
	} {
		if err := (Guard{}).Check(netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v, want it allowed", text, err)
		}
	}
	if (Guard{}).Check(netip.Addr{}) == nil {
		t.Error("the zero address is allowed")
	}
}

// Development mode and --egress-allow open exactly what they say, and nothing that merely carries it.
func TestGuardOpens(t *testing.T) {
	allow := func(values ...string) Guard {
		p, err := ParseAllow(values)
		if err != nil {
			t.Fatal(err)
		}
		return Guard{Allow: p}
	}
	for _, c := range []struct {
		guard      Guard
		open, shut []string
	}{
		{Guard{AllowLoopback: true},
			[]string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"},
			[]string{"10.0.0.1", "0.0.0.0", "::", "169.254.169.254", "64:ff9b::127.0.0.1", "::127.0.0.1", "2002:7f00:1::"}},
		{allow("10.0.0.0/8"),
			[]string{"10.0.0.1", "10.255.255.255", "::ffff:10.0.0.1"},
			[]string{"127.0.0.1", "192.168.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "::10.0.0.1", "::ffff:0:10.0.0.1"}},
		{allow("10.1.2.3", "fd00::/16"),
			[]string{"10.1.2.3", "fd00::1", "fd00:ec2::254"},
			[]string{"10.1.2.4", "fd01::1"}},
		{allow("::ffff:192.168.0.0/112"),
			[]string{"192.168.1.1", "::ffff:192.168.1.1"},
			[]string{"10.0.0.1", "172.16.0.1"}},
		{allow("64:ff9b::/96"), []string{"64:ff9b::8.8.8.8"}, []string{"10.0.0.1", "64:ff9b:1::1"}},
		{allow("fe80::/10"), []string{"fe80::1%eth0", "fe80::1"}, []string{"169.254.0.1"}},
	} {
		for _, text := range c.open {
			if err := c.guard.Check(netip.MustParseAddr(text)); err != nil {
				t.Errorf("%v: %s: %v, want it open", c.guard, text, err)
			}
		}
		for _, text := range c.shut {
			if c.guard.Check(netip.MustParseAddr(text)) == nil {
				t.Errorf("%v: %s is open", c.guard, text)
			}
		}
	}
	for _, bad := range []string{"10.0.0.1/8", "everything", "10.0.0.0/33", "", "fe80::1%eth0", "fd00::1/8"} {
		if _, err := ParseAllow([]string{bad}); err == nil || !strings.Contains(err.Error(), "--egress-allow") {
			t.Errorf("ParseAllow(%q) = %v, want a sentence", bad, err)
		}
	}
}

// fakeDNS answers look-ups from a table; every look-up of a name moves on to the next of its answers.
type fakeDNS struct {
	mu      sync.Mutex
	answers map[string][][]string
	asked   []string
}

func (f *fakeDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, host)
	sets := f.answers[host]
	if len(sets) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(sets) > 1 {
		f.answers[host] = sets[1:]
	}
	var out []netip.Addr
	for _, text := range sets[0] {
		out = append(out, netip.MustParseAddr(text))
	}
	return out, nil
}

// counter listens on an address and counts who connects.
func counter(t *testing.T, address string) (port string, count *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	count = &atomic.Int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, count
}

// A name with good and bad addresses leads to the good ones only, in either order, and a name with none is refused
// with a sentence that does not tell what it resolved to.
func TestDialChecksEveryAddress(t *testing.T) {
	port, good := counter(t, "127.0.0.2:0")
	dns := &fakeDNS{answers: map[string][][]string{
		"mixed.test": {{"127.0.0.1", "10.0.0.1", "127.0.0.2"}, {"127.0.0.2", "127.0.0.1"}},
		"bad.test":   {{"127.0.0.1", "10.77.0.1", "::1"}},
		"dead.test":  {{"127.0.0.1", "127.0.0.3"}},
	}}
	allow, _ := ParseAllow([]string{"127.0.0.2/31"}) // .2 and .3; nothing listens on .3
	d := newDialer(Guard{Allow: allow}, dns)
	for range 2 {
		c, err := d.dial(t.Context(), "tcp", "mixed.test", port)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.RemoteAddr().String(); got != "127.0.0.2:"+port {
			t.Errorf("dialled %s", got)
		}
		c.Close()
	}
	if good.Load() == 0 {
		t.Error("nobody connected")
	}
	_, err := d.dial(t.Context(), "tcp", "bad.test", port)
	if !errors.Is(err, integration.ErrRefused) {
		t.Fatalf("bad.test: %v", err)
	}
	if text := err.Error(); strings.Contains(text, "10.77") || strings.Contains(text, "::1") || !strings.HasPrefix(text, "bad.test leads to a loopback address") {
		t.Errorf("the error is %q", text)
	}
	// One address refused by us and one by the machine is the machine's failure: it may work later.
	if _, err := d.dial(t.Context(), "tcp", "dead.test", port); err == nil || errors.Is(err, integration.ErrRefused) {
		t.Errorf("dead.test: %v", err)
	}
}

// A name that leads to a public address when it is looked at and to this machine when it is dialled does not get here:
// there is one look-up per connection, and what it returned is what is dialled.
func TestRebinding(t *testing.T) {
	port, count := counter(t, "127.0.0.1:0")
	dns := &fakeDNS{answers: map[string][][]string{"rebind.test": {{"127.0.0.2"}, {"127.0.0.1"}}}}
	allow, _ := ParseAllow([]string{"127.0.0.2"})
	d := newDialer(Guard{Allow: allow}, dns)
	if c, err := d.dial(t.Context(), "tcp", "rebind.test", port); err == nil {
		c.Close()
	} else if errors.Is(err, integration.ErrRefused) {
		t.Errorf("the first connection is refused: %v", err)
	}
	if _, err := d.dial(t.Context(), "tcp", "rebind.test", port); !errors.Is(err, integration.ErrRefused) {
		t.Errorf("the second connection: %v, want it refused", err)
	}
	if len(dns.asked) != 2 {
		t.Errorf("%d look-ups for two connections", len(dns.asked))
	}
	// The socket's own check stands even when everything before it was fooled.
	if c, err := d.net.DialContext(t.Context(), "tcp", "127.0.0.1:"+port); err == nil {
		c.Close()
		t.Error("the socket connected to a refused address")
	}
	if n := count.Load(); n != 0 {
		t.Errorf("%d connections reached this machine", n)
	}
}

// Spellings of an address that some resolvers understand never get as far as a resolver or a socket.
func TestHostSpellings(t *testing.T) {
	dns := &fakeDNS{answers: map[string][][]string{}}
	c := New(Options{Resolver: dns})
	defer c.Close()
	for _, host := range []string{
		"2130706433", "0x7f000001", "0X7F.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "127.0.0.1.", "127.000.000.001",
		"0x7f.0.0.1", "1.2.3.4.5", "256.256.256.256", "127.0.0.0x1", "[::ffff:127.0.0.1]", "[::1]", "[::]", "[fe80::1%25lo]", "[0:0:0:0:0:0:0:1]",
		"０.0.0.0", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1", "%31%32%37.0.0.1", "exa mple.com", "a\tb", "a,b", "-", "..", ".", "a..0",
		"[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "169.254.169.254", "[fd00:ec2::254]", "",
	} {
		for _, scheme := range []string{"http://", "https://"} {
			_, err := c.Do(t.Context(), &integration.Request{Method: "GET", URL: scheme + host + "/secret?q=secret"})
			if host == "-" || host == ".." { // names, as far as anybody can tell: they do not resolve
				if err == nil {
					t.Errorf("%q: no error", host)
				}
				continue
			}
			if !errors.Is(err, integration.ErrRefused) {
				t.Errorf("%q: %v, want a refusal", host, err)
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: the error shows path or query: %v", host, err)
			}
		}
	}
	for _, host := range dns.asked {
		if host != "-" && host != ".." {
			t.Errorf("%q was looked up", host)
		}
	}
}

// International names are looked up in their ASCII spelling, and only then.
func TestInternationalNames(t *testing.T) {
	dns := &fakeDNS{answers: map[string][][]string{}}
	c := New(Options{Resolver: dns})
	defer c.Close()
	_, err := c.Do(t.Context(), &integration.Request{Method: "GET", URL: "https://Bücher.Example:8443/"})
	if err == nil || err.Error() != "the name does not resolve" {
		t.Errorf("error %v", err)
	}
	if len(dns.asked) != 1 || dns.asked[0] != "xn--bcher-kva.example" {
		t.Errorf("looked up %q", dns.asked)
	}
	tt, err := parseTarget("http://BÜCHER.example:8443/x")
	if err != nil || tt.host != "xn--bcher-kva.example:8443" || tt.port != "8443" {
		t.Errorf("target %+v, %v", tt, err)
	}
}
