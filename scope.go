package patchbay

import (
	"slices"
	"strings"
)

// The limits of a scope.
const (
	MaxScopeSegments      = 16
	MaxScopeSegmentLength = 64
	// MaxAlso is how many scopes an event may name besides its own.
	MaxAlso = 7
)

// Scope is a path that says where something belongs: "" is the whole installation, otherwise segments joined by
// "/", such as "acme/repos/web". Tenants, teams, users and repositories are all just scopes.
type Scope string

// ParseScope checks that s is a scope. The error is a sentence about what is wrong.
func ParseScope(s string) (Scope, error) {
	if s == "" {
		return "", nil
	}
	if strings.Count(s, "/") >= MaxScopeSegments {
		return "", Errorf(CodeInvalidRequest, "the scope has more than %d segments", MaxScopeSegments)
	}
	for rest, more := s, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if err := checkSegment(segment); err != nil {
			return "", err
		}
	}
	return Scope(s), nil
}

func checkSegment(segment string) error {
	switch {
	case segment == "":
		return Errorf(CodeInvalidRequest, "a scope has no empty segments: remove the slash at its start or end, or the double one")
	case segment == "." || segment == "..":
		return Errorf(CodeInvalidRequest, "a segment of a scope cannot be %q", segment)
	case len(segment) > MaxScopeSegmentLength:
		return Errorf(CodeInvalidRequest, "the scope's segment %.20q… is longer than %d characters", segment, MaxScopeSegmentLength)
	}
	for i := range len(segment) {
		if !scopeByte[segment[i]] {
			return Errorf(CodeInvalidRequest,
				"a scope may hold A–Z a–z 0–9 . _ ~ @ : + - and /, but it has the byte 0x%02X: write it as ~%02X", segment[i], segment[i])
		}
	}
	return nil
}

// scopeByte says which bytes a segment may hold.
var scopeByte = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~@:+-" {
		t[byte(c)] = true
	}
	return t
}()

// EscapeSegment turns any text into one segment of a scope: every byte that a segment cannot hold, and "~" itself,
// becomes ~XX, so different texts stay different. It does not shorten, and the empty text stays empty, which is no
// segment.
func EscapeSegment(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; (scopeByte[c] && c != '~') && s != "." && s != ".." {
			b.WriteByte(c)
		} else {
			b.WriteByte('~')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// Tenant returns the scope's first segment, by which limits, retention and keys go; "" for the installation.
func (s Scope) Tenant() string {
	tenant, _, _ := strings.Cut(string(s), "/")
	return tenant
}

// Depth returns the number of segments: 0 for the installation.
func (s Scope) Depth() int {
	if s == "" {
		return 0
	}
	return strings.Count(string(s), "/") + 1
}

// Parent returns the scope one level above, and false for the installation, which has none.
func (s Scope) Parent() (Scope, bool) {
	if s == "" {
		return "", false
	}
	return s[:max(0, strings.LastIndexByte(string(s), '/'))], true
}

// Contains reports whether other is s or lies below it.
func (s Scope) Contains(other Scope) bool {
	if s == "" || s == other {
		return true
	}
	return len(other) > len(s) && other[len(s)] == '/' && other[:len(s)] == s
}

// Reach says how far below its own scope a link sees.
type Reach string

// The three reaches.
const (
	// ReachSubtree is the scope itself and everything below it; the default.
	ReachSubtree Reach = "subtree"
	// ReachChildren is exactly one level below the scope, by depth, and not the scope itself.
	ReachChildren Reach = "children"
	// ReachExact is the scope alone.
	ReachExact Reach = "exact"
)

// ParseReach checks s; "" is the default, ReachSubtree.
func ParseReach(s string) (Reach, error) {
	switch r := Reach(s); r {
	case "":
		return ReachSubtree, nil
	case ReachSubtree, ReachChildren, ReachExact:
		return r, nil
	}
	return "", Errorf(CodeInvalidRequest, "reach is one of subtree, children and exact, not %q", clip(s))
}

// Covers reports whether a link of the given scope with this reach sees an event of scope event.
func (r Reach) Covers(link, event Scope) bool {
	switch r {
	case ReachExact:
		return link == event
	case ReachChildren:
		return link.Contains(event) && event.Depth() == link.Depth()+1
	default:
		return link.Contains(event)
	}
}

// ParseAlso checks the further scopes of an event: at most MaxAlso, and of the same tenant as scope. Those that
// repeat another are dropped.
func ParseAlso(scope Scope, also []string) ([]Scope, error) {
	if len(also) > MaxAlso {
		return nil, Errorf(CodeInvalidRequest, "also names %d scopes; an event may name at most %d besides its own", len(also), MaxAlso)
	}
	var out []Scope
	for _, text := range also {
		s, err := ParseScope(text)
		if err != nil {
			return nil, err
		}
		if s.Tenant() != scope.Tenant() {
			return nil, Errorf(CodeInvalidRequest, "also names %q, which belongs to another tenant than %q", s, scope)
		}
		if s != scope && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// clip shortens text that a caller sent before it is quoted in an error.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
