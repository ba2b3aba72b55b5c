package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxAddresses bounds how many addresses of one name are tried: a name with a thousand dead ones would otherwise
	// use up the whole time of the attempt for nothing.
	maxAddresses = 8
	// addressPatience is how long one address may take while there are others to try.
	addressPatience = 3 * time.Second
)

// Resolver turns a name into addresses; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// dialer opens connections to addresses that its guard lets through.
type dialer struct {
	guard    Guard
	resolver Resolver
	net      net.Dialer
}

func newDialer(g Guard, r Resolver) *dialer {
	if r == nil {
		r = net.DefaultResolver
	}
	d := &dialer{guard: g, resolver: r}
	// The second look, on the very socket that is about to connect: whatever led here, nothing else is dialled.
	d.net.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return unreadable("the address to dial is not readable")
		}
		return g.Check(ap.Addr())
	}
	return d
}

// dial connects to host, a name or an address without brackets. Only addresses that the guard lets through are tried;
// when there are none, the error is a *RefusedError.
func (d *dialer) dial(ctx context.Context, network, host, port string) (net.Conn, error) {
	addrs, err := d.resolve(ctx, network, host)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, unreadable("the port must be between 1 and 65535")
	}
	var first error
	for i, addr := range addrs {
		conn, err := d.dialOne(ctx, netip.AddrPortFrom(addr, uint16(n)), i == len(addrs)-1)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (d *dialer) dialOne(ctx context.Context, to netip.AddrPort, last bool) (net.Conn, error) {
	if !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, addressPatience)
		defer cancel()
	}
	return d.net.DialContext(ctx, "tcp", to.String())
}

// resolve returns the addresses of host that may be dialled, in the resolver's order.
func (d *dialer) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	family := "ip"
	switch network {
	case "tcp":
	case "tcp4":
		family = "ip4"
	case "tcp6":
		family = "ip6"
	default:
		return nil, unreadable("only TCP is dialled, not %s", network)
	}
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{addr}
	} else {
		if err := checkName(host); err != nil {
			return nil, err
		}
		if addrs, err = d.resolver.LookupNetIP(ctx, family, host); err != nil {
			return nil, err
		}
	}
	good := make([]netip.Addr, 0, min(len(addrs), maxAddresses))
	var refusal *RefusedError
	for _, addr := range addrs {
		addr = addr.Unmap()
		if err := d.guard.Check(addr); err != nil {
			errors.As(err, &refusal)
			continue
		}
		if len(good) < maxAddresses {
			good = append(good, addr)
		}
	}
	switch {
	case len(good) > 0:
		return good, nil
	case refusal != nil:
		if len(addrs) == 1 && addrs[0].String() == host {
			return nil, refusal
		}
		return nil, notSent(host+" leads to", refusal.Class)
	}
	return nil, &net.DNSError{Err: "no addresses", IsNotFound: true}
}

// checkName refuses what is neither a name nor an address as netip reads it. Resolvers of C libraries read 2130706433,
// 0x7f.1 and 0177.0.0.1 as addresses; no top-level domain is a number, so a last label that is one gives them away.
func checkName(host string) error {
	name := strings.TrimSuffix(host, ".")
	if name == "" || len(name) > 253 {
		return unreadable("the host is empty or longer than 253 characters")
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return unreadable("the host is not a name: a name holds letters, digits, hyphens and dots only")
		}
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" || isNumber(last) {
		return unreadable("%s is not accepted as a host: write an address as four decimal numbers, such as 192.0.2.1", host)
	}
	return nil
}

// isNumber reports whether a label reads as a number in the way of inet_aton: decimal, octal, or hexadecimal with 0x.
func isNumber(label string) bool {
	hex := len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x'
	if hex {
		label = label[2:]
	}
	for i := range len(label) {
		c := label[i]
		if !(c >= '0' && c <= '9' || hex && (c|0x20 >= 'a' && c|0x20 <= 'f')) {
			return false
		}
	}
	return true
}
