package github

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// The words of markers: what we did last.
const (
	didOpen    = "opened"
	didClose   = "closed"
	didReopen  = "reopened"
	didComment = "commented"
)

// A marker is a comment in the Markdown of what we wrote, which nobody sees. It names the thread that an issue is about, so
// that it is found again, and what we did last, so that the call in which GitHub tells us of that is known for our own: a
// call says who did something, but not through which OAuth app or token. Text of events cannot make one, because < is
// escaped in it; ours stands last.
var markerForm = regexp.MustCompile(`<!-- patchbay:(opened|closed|reopened|commented) ([0-9a-f]{16}|-) -->`)

// marker makes one; thread may be "".
func marker(did, thread string) string {
	name := "-"
	if thread != "" {
		sum := sha256.Sum256([]byte(thread))
		name = hex.EncodeToString(sum[:8])
	}
	return "<!-- patchbay:" + did + " " + name + " -->"
}

// marked returns what the marker in a text says; "" when there is none.
func marked(text string) (did, name string) {
	all := markerForm.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return "", ""
	}
	last := all[len(all)-1]
	return last[1], last[2]
}

// marks reports whether a text is marked as about a thread.
func marks(text, thread string) bool {
	_, name := marked(text)
	return name != "" && thread != "" && strings.HasSuffix(marker(didOpen, thread), " "+name+" -->")
}

// remark replaces the marker in a text. A text that has none gets one.
func remark(text, did, thread string) string {
	all := markerForm.FindAllStringIndex(text, -1)
	if len(all) == 0 {
		return strings.TrimRight(text, "\n") + "\n\n" + marker(did, thread)
	}
	last := all[len(all)-1]
	return text[:last[0]] + marker(did, thread) + text[last[1]:]
}

// unmarked is a text without its markers.
func unmarked(text string) string { return strings.TrimSpace(markerForm.ReplaceAllString(text, "")) }
