package patchbay

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what stands where a secret was.
const Redacted = "[redacted]"

// Secret is text that must not be shown. Printing, logging and JSON say Redacted; reading it takes a call of Reveal,
// which is easy to find in a review.
type Secret string

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String returns Redacted, or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// Format writes what String returns, whatever the verb. Without it a verb that is not for texts, %d say, shows the
// text in its complaint.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// GoString writes what String returns.
func (s Secret) GoString() string { return s.String() }

// MarshalJSON writes what String returns.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText writes what String returns: as a key of a JSON object, and in other formats than JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue writes what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
