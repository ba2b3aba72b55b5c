package patchbay

import (
	"encoding/json"
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

// GoString keeps %#v from showing the text.
func (s Secret) GoString() string { return "patchbay.Secret(" + Redacted + ")" }

// MarshalJSON writes what String returns.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue writes what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
