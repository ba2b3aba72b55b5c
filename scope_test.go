package patchbay

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestParseScope says what is a scope.
func TestParseScope(t *testing.T) {
	long := strings.Repeat("s", MaxScopeSegmentLength)
	for _, text := range []string{
		"", "a", "acme/repos/web", "acme/teams/42", "A-Z_a.z~0@9:+", "...", "a/.b", long, strings.Repeat("a/", 15) + "a", "-", "~2F",
	} {
		if s, err := ParseScope(text); err != nil || string(s) != text {
			t.Errorf("%q: got %q, %v", text, s, err)
		}
	}
	for text, want := range map[string]string{
		"/":                            "no empty segments",
		"/a":                           "no empty segments",
		"a/":                           "no empty segments",
		"a//b":                         "no empty segments",
		".":                            `cannot be "."`,
		"a/../b":                       `cannot be ".."`,
		long + "s":                     "longer than 64",
		strings.Repeat("a/", 16) + "a": "more than 16 segments",
		"a b":                          "0x20: write it as ~20",
		"a/b\x00":                      "0x00",
		"ä":                            "write it as ~C3",
		"a%2Fb":                        "0x25",
		"a\\b":                         "0x5C",
	} {
		if s, err := ParseScope(text); err == nil || !strings.Contains(err.Error(), want) || s != "" || CodeOf(err) != CodeInvalidRequest {
			t.Errorf("%q: got %q, %v, want an error that says %q", text, s, err, want)
		}
	}
}

// TestEscapeSegment shows that any text has its own segment.
func TestEscapeSegment(t *testing.T) {
	for text, want := range map[string]string{
		"web": "web", "a b": "a~20b", "a/b": "a~2Fb", "~": "~7E", ".": "~2E", "..": "~2E~2E", "...": "...", "ä": "~C3~A4", "": "",
	} {
		if got := EscapeSegment(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.StringN(1, 15, 16).Draw(t, "a")
		b := rapid.StringN(1, 15, 16).Draw(t, "b")
		if _, err := ParseScope(EscapeSegment(a)); err != nil || strings.Contains(EscapeSegment(a), "/") {
			t.Fatalf("%q became %q, which is no segment: %v", a, EscapeSegment(a), err)
		}
		if (a == b) != (EscapeSegment(a) == EscapeSegment(b)) {
			t.Fatalf("%q and %q became %q and %q", a, b, EscapeSegment(a), EscapeSegment(b))
		}
	})
}

// TestScopeParts says what a scope consists of.
func TestScopeParts(t *testing.T) {
	for _, test := range []struct {
		scope, parent Scope
		tenant        string
		depth         int
		top           bool
	}{
		{scope: "", top: true},
		{scope: "acme", tenant: "acme", depth: 1},
		{scope: "acme/repos", tenant: "acme", depth: 2, parent: "acme"},
		{scope: "acme/repos/1", tenant: "acme", depth: 3, parent: "acme/repos"},
	} {
		parent, ok := test.scope.Parent()
		if test.scope.Tenant() != test.tenant || test.scope.Depth() != test.depth || parent != test.parent || ok == test.top {
			t.Errorf("%q: tenant %q, depth %d, parent %q %v", test.scope, test.scope.Tenant(), test.scope.Depth(), parent, ok)
		}
	}
}

// TestCovers is what the three reaches see.
func TestCovers(t *testing.T) {
	for _, test := range []struct {
		link, event              Scope
		subtree, children, exact bool
	}{
		{"", "", true, false, true},
		{"", "a", true, true, false},
		{"", "a/b", true, false, false},
		{"a", "a", true, false, true},
		{"a", "a/b", true, true, false},
		{"a", "a/b/c", true, false, false},
		{"a", "", false, false, false},
		{"a", "ab", false, false, false},
		{"a", "b/a", false, false, false},
		{"a/b", "a", false, false, false},
		{"a/b", "a/c", false, false, false},
		{"a/b", "a/bc", false, false, false},
	} {
		got := [3]bool{ReachSubtree.Covers(test.link, test.event), ReachChildren.Covers(test.link, test.event), ReachExact.Covers(test.link, test.event)}
		if want := [3]bool{test.subtree, test.children, test.exact}; got != want {
			t.Errorf("%q sees %q: got %v, want %v", test.link, test.event, got, want)
		}
	}
}

// TestParseReach says which reaches there are.
func TestParseReach(t *testing.T) {
	for text, want := range map[string]Reach{"": ReachSubtree, "subtree": ReachSubtree, "children": ReachChildren, "exact": ReachExact} {
		if got, err := ParseReach(text); err != nil || got != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if _, err := ParseReach("Subtree"); CodeOf(err) != CodeInvalidRequest {
		t.Errorf("got %v", err)
	}
}

// TestParseAlso says which further scopes an event may have.
func TestParseAlso(t *testing.T) {
	got, err := ParseAlso("acme/teams/1", []string{"acme/users/2", "acme/teams/1", "acme/users/2", "acme"})
	if diff := cmp.Diff([]Scope{"acme/users/2", "acme"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, test := range []struct {
		scope Scope
		also  []string
	}{
		{"acme/teams/1", []string{"acme/users/2", "other"}},
		{"acme/teams/1", []string{""}},
		{"", []string{"acme"}},
		{"acme", []string{"acmes/1"}},
		{"acme", []string{"acme/"}},
		{"acme", slices.Repeat([]string{"acme"}, MaxAlso+1)},
	} {
		if got, err := ParseAlso(test.scope, test.also); CodeOf(err) != CodeInvalidRequest || got != nil {
			t.Errorf("%q also %q: got %v, %v", test.scope, test.also, got, err)
		}
	}
}

// FuzzParseScope compares the parser with the rule as it is written down.
func FuzzParseScope(f *testing.F) {
	for _, text := range []string{"", "a/b", "a//b", "..", "a/./b", "ä", "a\x00", strings.Repeat("a/", 20), strings.Repeat("a", 65)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScope(text)
		segments := strings.Split(text, "/")
		want := len(segments) <= 16 && !slices.ContainsFunc(segments, func(seg string) bool {
			return len(seg) < 1 || len(seg) > 64 || seg == "." || seg == ".." ||
				strings.Trim(seg, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~@:+-") != ""
		})
		if want = want || text == ""; want != (err == nil) {
			t.Fatalf("%q: got %v, the rule says %v", text, err, want)
		}
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 500 {
				t.Fatalf("%q: the error is %q", text, err)
			}
			return
		}
		if parent, ok := s.Parent(); ok && (parent.Depth() != s.Depth()-1 || !ReachChildren.Covers(parent, s)) {
			t.Fatalf("%q has the parent %q", s, parent)
		}
	})
}
