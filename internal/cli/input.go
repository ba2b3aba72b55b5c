package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/client"
	"github.com/patchbay/patchbay/internal/config"
)

// maxInput bounds what is read from a file or the standard input: an event cannot be larger.
const maxInput = patchbay.MaxEventBody

// readJSON reads a JSON object from text, from a file (@name) or from the standard input (-).
func (p *program) readJSON(flag, text string) (json.RawMessage, error) {
	content := []byte(text)
	var err error
	switch {
	case text == "-":
		content, err = io.ReadAll(io.LimitReader(p.in, maxInput+1))
	case strings.HasPrefix(text, "@"):
		content, err = os.ReadFile(text[1:])
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", flag, err)
	case len(content) > maxInput:
		return nil, usagef("%s is larger than %d bytes, the most that an event may have", flag, maxInput)
	case !json.Valid(content):
		var v any
		return nil, usagef("%s is not JSON (%v): write an object such as '{\"run\": {\"id\": 7}}', @FILE, or - for the standard input", flag, json.Unmarshal(content, &v))
	}
	return content, nil
}

// assignment is "key=value" or "key:=JSON".
type assignment struct {
	path  []string
	value any
}

// parseAssignments reads the values of --set. A value is text; with := it is JSON.
func parseAssignments(texts []string) ([]assignment, error) {
	var out []assignment
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		raw := strings.HasSuffix(key, ":")
		key = strings.TrimSuffix(key, ":")
		if !ok || key == "" {
			return nil, usagef("--set %s: write KEY=VALUE for text, or KEY:=JSON for a number, a list or an object", text)
		}
		a := assignment{path: strings.Split(key, "."), value: value}
		if raw {
			dec := json.NewDecoder(strings.NewReader(value))
			dec.UseNumber()
			if err := dec.Decode(&a.value); err != nil || dec.More() {
				return nil, usagef("--set %s: what follows := is not JSON", text)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// assign returns the object with the values set. Paths are object keys joined by dots.
func assign(object json.RawMessage, assignments []assignment) (json.RawMessage, error) {
	if len(assignments) == 0 {
		return object, nil
	}
	top := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	if err := dec.Decode(&top); (err != nil && len(object) > 0) || top == nil { // null is decoded without an error
		return nil, usagef("--set needs a JSON object to put its values into")
	}
	for _, a := range assignments {
		at := top
		for _, key := range a.path[:len(a.path)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		at[a.path[len(a.path)-1]] = a.value
	}
	return json.Marshal(top)
}

// settings reads --set as an integration's settings.
func settings(texts []string) (json.RawMessage, error) {
	assignments, err := parseAssignments(texts)
	if err != nil {
		return nil, err
	}
	return assign(json.RawMessage("{}"), assignments)
}

// scope checks a scope before a request is made, so that the mistake is a wrong usage.
func scope(text string) (patchbay.Scope, error) {
	s, err := patchbay.ParseScope(text)
	if err != nil {
		return "", usageError{err}
	}
	return s, nil
}

// patterns checks patterns of event types; separated by commas they are several.
func patterns(texts []string) ([]patchbay.Pattern, error) {
	var out []patchbay.Pattern
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			pattern, err := patchbay.ParsePattern(strings.TrimSpace(part))
			if err != nil {
				return nil, usageError{err}
			}
			out = append(out, pattern)
		}
	}
	return out, nil
}

// moment is a time that is given as RFC 3339 or as how long ago.
type moment string

func (m moment) time(flag string, now time.Time) (time.Time, error) {
	if m == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, string(m)); err == nil {
		return t, nil
	}
	var ago config.Duration
	if err := ago.UnmarshalText([]byte(m)); err != nil {
		return time.Time{}, usagef("%s %s: write how long ago, such as 2h or 7d, or a time such as 2026-11-22T08:00:00Z", flag, m)
	}
	return now.Add(-time.Duration(ago)), nil
}

// paging is the flags of lists.
type paging struct {
	Limit  int    `name:"limit" default:"25" help:"How many at most, up to 250."`
	Cursor string `name:"cursor" help:"Go on where a list ended: the cursor that it printed."`
}

func (f paging) page() client.Paging { return client.Paging{Limit: f.Limit, Cursor: f.Cursor} }

// more tells that a list goes on.
func (p *program) more(next string) {
	if next != "" {
		p.err.Printf("There are more: add --cursor %s\n", next)
	}
}
