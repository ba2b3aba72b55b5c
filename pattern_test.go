package patchbay

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPattern says what patterns match.
func TestPattern(t *testing.T) {
	for _, test := range []struct {
		pattern Pattern
		name    string
		want    bool
	}{
		{"*", "repo.push", true},
		{"*", "", true},
		{"repo.*", "repo.push", true},
		{"repo.*", "repo.", true},
		{"repo.*", "repo", false},
		{"run_*", "run_error", true},
		{"*Created", "TeamCreated", true},
		{"*Created", "Created", true},
		{"*Created", "CreatedAt", false},
		{"repo.push", "repo.push", true},
		{"repo.push", "repo.pushed", false},
		{"repo.push", "Repo.push", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"a**c", "ac", true},
		{"a?c", "abc", false},
		{"[a]", "a", false},
		{"ab*ba", "aba", false},
		{"*", "patchbay.link.failing", false},
		{"p*", "patchbay.link.failing", false},
		{"patchbay*", "patchbay.link.failing", false},
		{"*patchbay.link.failing", "patchbay.link.failing", false},
		{"patchbay.*", "patchbay.link.failing", true},
		{"patchbay.link.failing", "patchbay.link.failing", true},
		{"patchbay*", "patchbayer.x", true},
		{"patchbay.*", "patchbay", false},
	} {
		if got := test.pattern.Match(test.name); got != test.want {
			t.Errorf("%q matches %q: got %v", test.pattern, test.name, got)
		}
	}
}

// TestParsePattern says what cannot be a pattern.
func TestParsePattern(t *testing.T) {
	for _, text := range []string{"*", "a b", "ä*", strings.Repeat("*", MaxTypeLength)} {
		if p, err := ParsePattern(text); err != nil || string(p) != text {
			t.Errorf("%q: got %q, %v", text, p, err)
		}
	}
	for _, text := range []string{"", strings.Repeat("a", MaxTypeLength+1), "a\xff", "a\nb", "a\x7f"} {
		if p, err := ParsePattern(text); CodeOf(err) != CodeInvalidRequest || p != "" {
			t.Errorf("%q: got %q, %v", text, p, err)
		}
	}
}

// globReference tries every way in which a star can be read.
func globReference(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		for i := range len(s) + 1 {
			if globReference(p[1:], s[i:]) {
				return true
			}
		}
		return false
	}
	return s != "" && p[0] == s[0] && globReference(p[1:], s[1:])
}

// TestGlobAgrees compares with the reference on texts in which everything nearly matches.
func TestGlobAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab*]{0,10}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,12}`).Draw(t, "name")
		if glob(p, s) != globReference(p, s) {
			t.Fatalf("%q matches %q: got %v", p, s, glob(p, s))
		}
		if want := !strings.Contains(p, "*"); Pattern(p).Literal() != want {
			t.Fatalf("%q is literal: got %v", p, !want)
		}
	})
}

// TestGlobIsNotExponential matches the pattern that brings backtracking matchers to a halt.
func TestGlobIsNotExponential(t *testing.T) {
	start := time.Now()
	for range 100 {
		if glob(strings.Repeat("a*", MaxTypeLength/2)+"b", strings.Repeat("a", MaxTypeLength)) {
			t.Fatal("it matched")
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("a hundred matches took %v", d)
	}
}

// FuzzPattern compares matches with the reference.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{{"*", ""}, {"a*b", "ab"}, {"*a*", "bab"}, {"patchbay.*", "patchbay.x"}, {"ä*", "äö"}, {"**", "*"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		if strings.Count(text, "*") > 6 || len(name) > 64 {
			return // the reference is exponential
		}
		p, err := ParsePattern(text)
		if err != nil {
			return
		}
		want := globReference(text, name)
		if strings.HasPrefix(name, SystemPrefix) && !strings.HasPrefix(text, SystemPrefix) {
			want = false
		}
		if p.Match(name) != want {
			t.Errorf("%q matches %q: got %v", p, name, !want)
		}
		if p.Literal() && p.Match(name) != (text == name) {
			t.Errorf("the literal %q matches %q", p, name)
		}
	})
}
