package jobs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/store"
)

// Filter says what a job is about, in the words of the lists. Which fields it may have depends on the action.
type Filter struct {
	States      []patchbay.DeliveryState `json:"state,omitempty" enum:"pending,held,succeeded,failed,cancelled,skipped"`
	Link        patchbay.LinkID          `json:"link,omitzero"`
	Event       patchbay.EventID         `json:"event,omitzero"`
	Integration string                   `json:"integration,omitempty"`
	Type        string                   `json:"type,omitempty"`
	Scope       patchbay.Scope           `json:"scope,omitempty"`
	Since       time.Time                `json:"since,omitzero"`
	Until       time.Time                `json:"until,omitzero"`

	// Of an erasure: a tenant, or a path and its value. When it has ended, only hashes of tenant and value are left.
	Tenant     string          `json:"tenant,omitempty"`
	Path       string          `json:"path,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"`
	TenantHash string          `json:"tenant_sha256,omitempty"`
	ValueHash  string          `json:"value_sha256,omitempty"`
}

// keysOf are the keys that a filter may have, by action.
var keysOf = map[string][]string{
	Retry:   {"state", "link", "event", "type", "integration", "scope", "since", "until"},
	Cancel:  {"state", "link", "event", "type", "integration", "scope", "since", "until"},
	Replay:  {"type", "scope", "since", "until"},
	Recover: {"link", "type", "scope", "since", "until"},
}

// ParseInput checks an action and reads its filter, which may be absent. The error names everything that is wrong.
func ParseInput(action string, raw json.RawMessage) (Input, error) {
	keys, ok := keysOf[action]
	switch {
	case action == Erase:
		return Input{}, patchbay.Invalid("action", "an erasure is made with POST /v1/erase")
	case action == Reseal:
		return Input{}, patchbay.Invalid("action", "secrets are sealed anew by POST /v1/secrets/rotate")
	case !ok:
		return Input{}, patchbay.Invalid("action", "is one of retry, cancel, replay and recover, not %q", clip(action))
	}
	f, err := parseFilter(keys, raw)
	return Input{Action: action, Filter: f}, err
}

// parseFilter reads a filter that may have these keys.
func parseFilter(keys []string, raw json.RawMessage) (*Filter, error) {
	f := &Filter{}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return f, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, patchbay.Invalid("filter", "must be an object, such as {\"link\": \"lnk_…\"}")
	}
	var wrong []patchbay.Detail
	for key, value := range fields {
		message := ""
		if !slices.Contains(keys, key) {
			message = "is not something that this action filters by; it has " + strings.Join(keys, ", ")
		} else if string(value) != "null" {
			message = f.set(key, value)
		}
		if message != "" {
			wrong = append(wrong, patchbay.Detail{Path: "filter." + clip(key), Message: message})
		}
	}
	if len(wrong) == 0 && !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		wrong = append(wrong, patchbay.Detail{Path: "filter.until", Message: "must be later than since"})
	}
	return f, refuse(wrong)
}

// refuse makes one error of everything that is wrong; nil when nothing is.
func refuse(wrong []patchbay.Detail) error {
	if len(wrong) == 0 {
		return nil
	}
	slices.SortFunc(wrong, func(a, b patchbay.Detail) int { return strings.Compare(a.Path, b.Path) })
	parts := make([]string, len(wrong))
	for i, d := range wrong {
		parts[i] = d.Path + ": " + d.Message
	}
	return &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: strings.Join(parts, "; "), Details: wrong}
}

// set reads one field and returns what is wrong with it.
func (f *Filter) set(key string, raw json.RawMessage) string {
	if key == "state" {
		return f.setStates(raw)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "must be text"
	}
	if text == "" && key != "scope" {
		return "must not be empty: leave it out to select everything"
	}
	var err error
	switch key {
	case "link":
		err = f.Link.UnmarshalText([]byte(text))
	case "event":
		err = f.Event.UnmarshalText([]byte(text))
	case "integration":
		f.Integration = text
	case "type":
		_, err = patchbay.ParsePattern(text)
		f.Type = text
	case "scope":
		f.Scope, err = patchbay.ParseScope(text)
	case "since":
		f.Since, err = parseTime(text)
	case "until":
		f.Until, err = parseTime(text)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errors.New("must be a time such as 2026-11-22T09:30:00Z")
	}
	return t.UTC(), nil
}

// setStates reads one state, several with commas between them, or a list.
func (f *Filter) setStates(raw json.RawMessage) string {
	var list []string
	var text string
	switch {
	case json.Unmarshal(raw, &text) == nil:
		list = strings.Split(text, ",")
	case json.Unmarshal(raw, &list) != nil:
		return "must be a state, or a list of states"
	}
	for _, name := range list {
		s := patchbay.DeliveryState(strings.TrimSpace(name))
		if !s.Valid() {
			return fmt.Sprintf("%q is not the state of a delivery", clip(name))
		}
		if !slices.Contains(f.States, s) {
			f.States = append(f.States, s)
		}
	}
	if len(f.States) == 0 {
		return "must not be empty: leave it out to select everything"
	}
	return ""
}

// raw is the filter as it is stored.
func (f *Filter) raw() json.RawMessage {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // every field is of a type that marshals
	}
	return b
}

func parseStored(raw json.RawMessage) (*Filter, error) {
	f := &Filter{}
	if err := json.Unmarshal(raw, f); err != nil {
		return nil, fmt.Errorf("the filter of a job cannot be read: %w", err)
	}
	return f, nil
}

// empty reports whether the filter selects everything.
func (f *Filter) empty() bool {
	return len(f.States) == 0 && f.Link == 0 && f.Event == 0 && f.Integration == "" && f.Type == "" && f.Scope == "" &&
		f.Since.IsZero() && f.Until.IsZero()
}

// tomb returns what is left of an erasure's filter: enough to show that something was erased, not what.
func (f *Filter) tomb() *Filter {
	t := &Filter{Path: f.Path, Scope: f.Scope, Type: f.Type, TenantHash: f.TenantHash, ValueHash: f.ValueHash}
	if f.Tenant != "" {
		t.TenantHash = hash([]byte(f.Tenant))
	}
	if len(f.Value) > 0 {
		t.ValueHash = hash(f.Value)
	}
	return t
}

// hash is of the text that stands between the quotes, for a string, so that anybody can make it again.
func hash(raw []byte) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = []byte(text)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// shownFilter is a job's filter for a caller. What is being erased is shown to those who may erase.
func shownFilter(c *access.Caller, j *store.Job) *Filter {
	f, err := parseStored(j.Filter)
	if err != nil {
		return &Filter{}
	}
	if j.Action == Erase && !c.May(access.Admin) {
		return f.tomb()
	}
	return f
}

// clip shortens text that a caller sent before it is quoted.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
