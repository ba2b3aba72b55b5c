package links

import (
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
)

func TestTakesAll(t *testing.T) {
	for _, c := range []struct {
		ours, theirs string
		want         bool
	}{
		{"*", "a.b", true}, {"*", "*", true}, {"a.*", "a.b", true}, {"a.*", "a.*", true}, {"a.*", "a.b.*", true}, {"a.*", "*", false},
		{"a.*", "a*", false}, {"a.b", "a.*", false}, {"a c", "a", true}, {"a c", "a c", true}, {"a c", "a b", false}, {"a* *b", "axb", true},
		{"*", "patchbay.link.*", false}, {"patchbay.*", "patchbay.link.*", true}, {"*a", "*b", false}, {"**", "*", true},
	} {
		if got := takesAll(patterns(c.ours), patterns(c.theirs)); got != c.want {
			t.Errorf("%q takes all of %q: %v", c.ours, c.theirs, got)
		}
	}
}

func patterns(text string) []patchbay.Pattern {
	var out []patchbay.Pattern
	for _, p := range strings.Fields(text) {
		out = append(out, patchbay.Pattern(p))
	}
	return out
}

// FuzzTakesAll: where one pattern takes all of another, what the other selects it selects too.
func FuzzTakesAll(f *testing.F) {
	for _, s := range [][3]string{{"a.*", "a.b*", "a.bc"}, {"*", "**", "x"}, {"*a*", "a", "a"}, {"patchbay.*", "patch*", "patchbay.x"}, {"a*b*c", "a*c", "abc"}} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, our, their, name string) {
		if strings.Contains(name, "*") {
			t.Skip() // no type is called so
		}
		ours, theirs := patchbay.Pattern(our), patchbay.Pattern(their)
		if takesAll([]patchbay.Pattern{ours}, []patchbay.Pattern{theirs}) && theirs.Match(name) && !ours.Match(name) {
			t.Errorf("%q takes all of %q, but not %q", our, their, name)
		}
	})
}

func TestDestinations(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.com/x": "example.com:443", "http://example.com": "example.com:80", "https://EXAMPLE.com:8443/": "example.com:8443",
		"http://[::1]:80/": "[::1]:80", "https://u:p@example.com": "example.com:443", "nonsense": "", "https://": "", "%": "",
	} {
		if got := hostPort(address); got != want {
			t.Errorf("%s leads to %q, want %q", address, got, want)
		}
	}
}
