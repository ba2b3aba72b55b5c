package outbound

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// Guard says which addresses may be dialled: those of the public internet, and what it opens.
type Guard struct {
	// AllowLoopback opens 127.0.0.0/8 and ::1, for development mode.
	AllowLoopback bool
	// Allow opens further networks, exactly as they are spelled; see ParseAllow.
	Allow []netip.Prefix
}

// RefusedError is the error about a target that is not dialled. It is an integration.ErrRefused.
type RefusedError struct {
	// Class says what kind of address it is, such as "a private address"; "" when the target is not readable at all.
	Class string
	text  string
}

// Error is a sentence that names the class and what to do. It does not name the address that a name resolved to:
// whoever may write a URL must not learn the layout of the network that way.
func (r *RefusedError) Error() string { return r.text }

// notSent refuses an address of a class. subject and verb begin the sentence.
func notSent(subject, class string) *RefusedError {
	return &RefusedError{
		Class: class,
		text:  subject + " " + class + ", which this installation does not send to; its operator can open it with --egress-allow",
	}
}

// unreadable refuses a target that is not spelled as it must be.
func unreadable(format string, args ...any) *RefusedError {
	return &RefusedError{text: fmt.Sprintf(format, args...)}
}

// Is makes errors.Is(err, integration.ErrRefused) true.
func (r *RefusedError) Is(target error) bool { return target == integration.ErrRefused }

// Check returns nil when addr may be dialled, otherwise a *RefusedError.
func (g Guard) Check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	if g.AllowLoopback && addr.IsLoopback() {
		return nil
	}
	for _, p := range g.Allow {
		if p.Contains(addr) {
			return nil
		}
	}
	if class := classOf(addr); class != "" {
		return notSent(addr.String()+" is", class)
	}
	return nil
}

// classOf names the kind of an address that is not part of the public internet, "" for one that is.
func classOf(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return "no valid address"
	case addr.Is4():
		return lookUp(refused4, addr)
	case isISATAP(addr):
		return "an IPv4 address inside an IPv6 one (ISATAP)"
	}
	if class := lookUp(refused6, addr); class != "" {
		return class
	}
	if !globalUnicast6.Contains(addr) {
		return "a reserved address"
	}
	return ""
}

func lookUp(table []network, addr netip.Addr) string {
	for i := range table {
		if table[i].prefix.Contains(addr) {
			return table[i].class
		}
	}
	return ""
}

// isISATAP recognises the interface identifiers of RFC 5214, which can stand behind any prefix.
func isISATAP(addr netip.Addr) bool {
	b := addr.As16()
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

type network struct {
	prefix netip.Prefix
	class  string
}

const (
	metadata      = "the address of a cloud's metadata service"
	private       = "a private address"
	documentation = "an address for documentation"
	protocol      = "an address reserved for protocols"
)

// The tables follow IANA's registries of special-purpose addresses, without what is global there but only of use to
// protocols (AS112, AMT, 6to4 relays), and with the clouds' metadata services. More specific networks stand first.
var refused4 = []network{
	{netip.MustParsePrefix("169.254.169.254/32"), metadata}, // AWS, Google, Azure, DigitalOcean, OpenStack
	{netip.MustParsePrefix("169.254.170.2/32"), metadata},   // AWS, of containers
	{netip.MustParsePrefix("168.63.129.16/32"), metadata},   // Azure, inside a public range
	{netip.MustParsePrefix("100.100.100.200/32"), metadata}, // Alibaba, inside the shared space
	{netip.MustParsePrefix("192.0.0.192/32"), metadata},     // Oracle
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
	{netip.MustParsePrefix("10.0.0.0/8"), private},
	{netip.MustParsePrefix("172.16.0.0/12"), private},
	{netip.MustParsePrefix("192.168.0.0/16"), private},
	{netip.MustParsePrefix("100.64.0.0/10"), "a shared carrier address (CGNAT)"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
	{netip.MustParsePrefix("192.0.0.0/24"), protocol},
	{netip.MustParsePrefix("192.0.2.0/24"), documentation},
	{netip.MustParsePrefix("198.51.100.0/24"), documentation},
	{netip.MustParsePrefix("203.0.113.0/24"), documentation},
	{netip.MustParsePrefix("192.31.196.0/24"), protocol},
	{netip.MustParsePrefix("192.52.193.0/24"), protocol},
	{netip.MustParsePrefix("192.88.99.0/24"), protocol},
	{netip.MustParsePrefix("192.175.48.0/24"), protocol},
	{netip.MustParsePrefix("198.18.0.0/15"), "an address for benchmarks"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "a broadcast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},
}

// globalUnicast6 is all that IANA has set aside for the public internet; everything outside of it is refused.
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

var refused6 = []network{
	{netip.MustParsePrefix("fd00:ec2::254/128"), metadata},   // AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), metadata},    // Google
	{netip.MustParsePrefix("fd00:42::42/128"), metadata},     // Scaleway
	{netip.MustParsePrefix("fe80::a9fe:a9fe/128"), metadata}, // OpenStack
	{netip.MustParsePrefix("::1/128"), "a loopback address"},
	{netip.MustParsePrefix("::/128"), "an unspecified address"},
	{netip.MustParsePrefix("::/96"), "an IPv4 address inside an IPv6 one (IPv4-compatible)"},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "an IPv4 address inside an IPv6 one (IPv4-translated)"},
	{netip.MustParsePrefix("64:ff9b::/96"), "an IPv4 address inside an IPv6 one (NAT64)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "an IPv4 address inside an IPv6 one (local NAT64)"},
	{netip.MustParsePrefix("2002::/16"), "an IPv4 address inside an IPv6 one (6to4)"},
	{netip.MustParsePrefix("2001::/32"), "an IPv4 address inside an IPv6 one (Teredo)"},
	{netip.MustParsePrefix("fc00::/7"), private},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("fec0::/10"), private}, // site-local, before RFC 3879
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("2001:2::/48"), "an address for benchmarks"},
	{netip.MustParsePrefix("2001:db8::/32"), documentation},
	{netip.MustParsePrefix("3fff::/20"), documentation},
	{netip.MustParsePrefix("2001::/23"), protocol},
	{netip.MustParsePrefix("2620:4f:8000::/48"), protocol},
}

// ParseAllow reads the values of --egress-allow: networks such as "10.0.0.0/8" and single addresses. An address that
// is spelled with bits set behind the network's length is refused, because it is not clear what was meant.
func ParseAllow(values []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(values))
	for _, text := range values {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if addr, aerr := netip.ParseAddr(text); aerr == nil && addr.Zone() == "" {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("--egress-allow %q is not a network: write an address and a length, such as 10.0.0.0/8", text)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("--egress-allow %s has bits behind its length: write %s for that network, or %s for the address alone",
				text, p.Masked(), p.Addr())
		}
		out = append(out, p)
	}
	return out, nil
}
