package links

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay/patchbay"
)

// longestPause bounds one pause of a retry schedule, and longestAge max_age.
const (
	longestPause = 7 * 24 * time.Hour
	longestAge   = 30 * 24 * time.Hour
)

// apply checks what a request says of a link, but for its settings, and takes it over. clear names the fields that
// were sent as null: they go back to their defaults.
func apply(l *patchbay.Link, in *Input, clear []string) error {
	if err := reset(l, clear); err != nil {
		return err
	}
	if in.Scope != nil {
		scope, err := patchbay.ParseScope(*in.Scope)
		if err != nil {
			return at("scope", err)
		}
		l.Scope = scope
	}
	if in.Reach != nil {
		reach, err := patchbay.ParseReach(*in.Reach)
		if err != nil {
			return at("reach", err)
		}
		l.Reach = reach
	}
	if in.Events != nil {
		patterns, err := parseEvents(in.Events)
		if err != nil {
			return err
		}
		l.Events = patterns
	}
	if in.Connection != nil {
		id, err := parseConnection(*in.Connection)
		if err != nil {
			return err
		}
		l.Connection = id
	}
	for _, f := range []struct {
		path  string
		given *string
		into  *string
		most  int
		line  bool // one line of text
	}{
		{"filter", in.Filter, &l.Filter, patchbay.MaxFilterLength, false},
		{"body", in.Body, &l.Body, patchbay.MaxFilterLength, false},
		{"slot", in.Slot, &l.Slot, patchbay.MaxSlotLength, true},
		{"name", in.Name, &l.Name, patchbay.MaxLinkName, true},
	} {
		if f.given == nil {
			continue
		}
		if len(*f.given) > f.most {
			return patchbay.Invalid(f.path, "is longer than %d bytes", f.most)
		}
		if !utf8.ValidString(*f.given) {
			return patchbay.Invalid(f.path, "must be valid UTF-8")
		}
		if f.line && strings.ContainsFunc(*f.given, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return patchbay.Invalid(f.path, "must be one line without control characters")
		}
		*f.into = *f.given
	}
	if in.Enabled != nil {
		l.Enabled = *in.Enabled
		if l.Enabled {
			l.StateReason = ""
		}
	}
	if in.Visible != nil {
		l.Visible = *in.Visible
	}
	return applyLane(l, in)
}

// parseConnection reads the identifier of a connection; "" is none.
func parseConnection(text string) (id patchbay.ConnectionID, err error) {
	if text == "" {
		return 0, nil
	}
	if id.UnmarshalText([]byte(text)) != nil {
		return 0, noConnection(text)
	}
	return id, nil
}

// parseEvents checks patterns and drops those that repeat another.
func parseEvents(events []string) ([]patchbay.Pattern, error) {
	if len(events) > patchbay.MaxPatterns {
		return nil, patchbay.Invalid("events", "has %d patterns; a link may have at most %d", len(events), patchbay.MaxPatterns)
	}
	out := make([]patchbay.Pattern, 0, len(events))
	for _, text := range events {
		p, err := patchbay.ParsePattern(text)
		if err != nil {
			return nil, at("events", err)
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// applyLane takes over what shapes the link's lane.
func applyLane(l *patchbay.Link, in *Input) error {
	if in.Concurrency != nil {
		if *in.Concurrency < 0 || *in.Concurrency > patchbay.MaxConcurrency {
			return patchbay.Invalid("concurrency", "must be between 1 and %d; 0 is the default of %d", patchbay.MaxConcurrency, patchbay.DefaultConcurrency)
		}
		l.Concurrency = *in.Concurrency
	}
	if in.Rate != nil {
		if *in.Rate < 0 || math.IsNaN(*in.Rate) || *in.Rate > 1e6 {
			return patchbay.Invalid("rate", "must be a number of attempts a second between 0 (no limit) and 1000000")
		}
		l.Rate = *in.Rate
	}
	if in.Order != nil {
		if err := applyOrder(l, in.Order); err != nil {
			return err
		}
	}
	if in.Retry == nil {
		return nil
	}
	if len(in.Retry.Schedule) > patchbay.MaxRetries {
		return patchbay.Invalid("retry.schedule", "has %d pauses; at most %d are possible", len(in.Retry.Schedule), patchbay.MaxRetries)
	}
	for _, d := range in.Retry.Schedule {
		if d < 0 || time.Duration(d) > longestPause {
			return patchbay.Invalid("retry.schedule", "a pause must lie between 0s and %s", patchbay.Duration(longestPause))
		}
	}
	if age := time.Duration(in.Retry.MaxAge); age < 0 || age > longestAge {
		return patchbay.Invalid("retry.max_age", "must lie between 0s (no limit) and %s", patchbay.Duration(longestAge))
	}
	policy := *in.Retry
	l.Retry = &policy
	return nil
}

// applyOrder takes over an order, but for its key's compilation.
func applyOrder(l *patchbay.Link, in *patchbay.OrderPolicy) error {
	order := *in
	switch {
	case len(order.Key) > patchbay.MaxFilterLength:
		return patchbay.Invalid("order.key", "is longer than %d bytes", patchbay.MaxFilterLength)
	case order.OnFailure == "":
		order.OnFailure = patchbay.OnFailureBlock
	case order.OnFailure != patchbay.OnFailureBlock && order.OnFailure != patchbay.OnFailureSkip:
		return patchbay.Invalid("order.on_failure", "must be block (those behind wait) or skip (they go on)")
	}
	switch block := time.Duration(order.LongestBlock); {
	case block < 0 || block > longestAge:
		return patchbay.Invalid("order.longest_block", "must lie between 0s (no limit) and %s", patchbay.Duration(longestAge))
	case block > 0 && order.OnFailure == patchbay.OnFailureSkip:
		return patchbay.Invalid("order.longest_block", "has no meaning with on_failure skip, where nothing is blocked: leave it out")
	}
	l.Order = &order
	return nil
}

// reset puts fields that were sent as null back to their defaults.
func reset(l *patchbay.Link, clear []string) error {
	for _, field := range clear {
		switch field {
		case "filter":
			l.Filter = ""
		case "body":
			l.Body = ""
		case "slot":
			l.Slot = ""
		case "connection":
			l.Connection = 0
		case "order":
			l.Order = nil
		case "retry":
			l.Retry = nil
		case "concurrency":
			l.Concurrency = 0
		case "rate":
			l.Rate = 0
		case "name":
			l.Name = ""
		case "reach":
			l.Reach = patchbay.ReachSubtree
		case "settings": // looked at where settings are
		default:
			return patchbay.Invalid(field, "cannot be null")
		}
	}
	return nil
}
