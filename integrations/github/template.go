package github

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// maxExpanded bounds what placeholders make of one setting.
const maxExpanded = 64 << 10

// template is a setting with placeholders. "${" always begins one.
type template []piece

// piece is literal text, and the placeholder behind it, if any.
type piece struct {
	literal string
	name    string   // as it is written; "" at the end
	path    []string // its keys
}

func parseTemplate(text string) (template, error) {
	var out template
	for {
		before, behind, found := strings.Cut(text, "${")
		if !found {
			return append(out, piece{literal: before}), nil
		}
		name, rest, closed := strings.Cut(behind, "}")
		if !closed {
			return nil, errors.New("has a ${ without a }")
		}
		path := strings.Split(name, ".")
		if !known(path) {
			return nil, fmt.Errorf("has the placeholder ${%.64s}, but there are only ${id}, ${type}, ${scope}, ${tenant}, ${occurred_at}, "+
				"${payload.…} and ${actor.…}", name)
		}
		out = append(out, piece{literal: before, name: name, path: path})
		text = rest
	}
}

func known(path []string) bool {
	for _, key := range path {
		if key == "" || strings.ContainsAny(key, " \t\r\n") {
			return false
		}
	}
	switch path[0] {
	case "id", "type", "scope", "tenant", "occurred_at":
		return len(path) == 1
	case "payload", "actor":
		return len(path) > 1
	}
	return false
}

// expand puts an event's values into a setting that has been checked. What the event does not have is an error.
func expand(setting, text string, e *patchbay.Event) (string, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return "", fmt.Errorf("%s %w", setting, err)
	}
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.literal)
		if p.name == "" {
			break
		}
		value, err := valueOf(e, p.path)
		if err != nil {
			return "", fmt.Errorf("%s asks for ${%s}, %w", setting, p.name, err)
		}
		b.WriteString(value)
		if b.Len() > maxExpanded {
			return "", fmt.Errorf("%s becomes longer than %d bytes with ${%s} of this event", setting, maxExpanded, p.name)
		}
	}
	return b.String(), nil
}

// The reasons why a placeholder has no value.
var (
	errAbsent  = errors.New("which this event does not have")
	errNotText = errors.New("which is neither text nor a number nor true or false in this event")
)

func valueOf(e *patchbay.Event, path []string) (string, error) {
	switch path[0] {
	case "id":
		return e.Subject().String(), nil
	case "type":
		return e.Type, nil
	case "scope":
		return string(e.Scope), nil
	case "tenant":
		return e.Scope.Tenant(), nil
	case "occurred_at":
		return e.OccurredAt.UTC().Format(time.RFC3339Nano), nil
	case "actor":
		return textAt(e.Actor, path[1:])
	}
	return textAt(e.Payload, path[1:])
}

// textAt follows a path through JSON; elements of lists go by their number.
func textAt(raw json.RawMessage, path []string) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", errAbsent
	}
	for _, key := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(x) {
				return "", errAbsent
			}
			v = x[i]
		default:
			return "", errAbsent
		}
	}
	switch x := v.(type) {
	case nil:
		return "", errAbsent
	case string:
		return x, nil
	case json.Number:
		return x.String(), nil
	case bool:
		return strconv.FormatBool(x), nil
	}
	return "", errNotText
}
