package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
)

const (
	// maxAddress bounds what placeholders make of an address; common servers take 8 KiB.
	maxAddress = 8 << 10
	// maxPlaceholders bounds the work that one address asks for.
	maxPlaceholders = 32
)

// address is a URL with placeholders in its path and query.
type address struct {
	parts []addressPart
	size  int
}

// addressPart is literal text, and the placeholder behind it, if any.
type addressPart struct {
	literal string
	name    string   // as it is written; "" at the end
	path    []string // its keys
}

// parseAddress reads an address. integration.CheckURL has looked at the URL as such. "${" always begins a placeholder.
func parseAddress(raw string) (*address, error) {
	a := &address{size: len(raw)}
	rest := raw
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			a.parts = append(a.parts, addressPart{literal: rest})
			break
		}
		length := strings.IndexByte(rest[i:], '}')
		if length < 0 {
			return nil, errors.New("has a ${ without a }")
		}
		name := rest[i+2 : i+length]
		path, err := parseName(name)
		if err != nil {
			return nil, err
		}
		a.parts = append(a.parts, addressPart{literal: rest[:i], name: name, path: path})
		rest = rest[i+length+1:]
	}
	if len(a.parts) > maxPlaceholders+1 {
		return nil, fmt.Errorf("has more than %d placeholders", maxPlaceholders)
	}
	if len(a.parts) == 1 {
		return a, nil
	}
	// What stands before the first placeholder must hold the whole authority, so that no event decides who gets it.
	before := a.parts[0].literal
	_, behind, ok := strings.Cut(before, "://")
	if !ok || !strings.ContainsAny(behind, "/?") {
		return nil, errors.New("may have placeholders in its path and query only, not in scheme, user information, host or port")
	}
	u, err := url.Parse(before)
	if err != nil || u.Host == "" {
		return nil, errors.New("is not a URL that can be read")
	}
	return a, nil
}

// parseName checks what stands between ${ and }.
func parseName(name string) ([]string, error) {
	path := strings.Split(name, ".")
	for _, key := range path {
		if key == "" || strings.ContainsFunc(key, func(r rune) bool {
			return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '_' || r == '-')
		}) {
			return nil, fmt.Errorf("has the placeholder ${%.64s}: write names of A–Z, a–z, 0–9, _ and -, joined by dots", name)
		}
	}
	switch path[0] {
	case "id", "type", "scope", "tenant", "occurred_at":
		if len(path) == 1 {
			return path, nil
		}
	case "payload", "actor":
		if len(path) > 1 {
			return path, nil
		}
	}
	return nil, fmt.Errorf("has the placeholder ${%.64s}, but there are only ${id}, ${type}, ${scope}, ${tenant}, ${occurred_at}, ${payload.…} and ${actor.…}", name)
}

// expand puts the event's values into the address. An address without placeholders costs nothing.
func (a *address) expand(e *patchbay.Event) (string, error) {
	if len(a.parts) == 1 {
		return a.parts[0].literal, nil
	}
	b := make([]byte, 0, a.size+64)
	for i := range a.parts {
		p := &a.parts[i]
		b = append(b, p.literal...)
		if p.name == "" {
			break
		}
		value, err := valueOf(e, p.path)
		if err != nil {
			return "", fmt.Errorf("the address asks for ${%s}, %w", p.name, err)
		}
		if b = appendEscaped(b, value); len(b) > maxAddress {
			return "", fmt.Errorf("the address becomes longer than %d bytes with ${%s} of this event", maxAddress, p.name)
		}
	}
	return string(b), nil
}

// The reasons why a placeholder has no value.
var (
	errAbsent  = errors.New("which this event does not have")
	errNotText = errors.New("which is neither text nor a number nor true or false in this event")
)

// valueOf returns the text of a placeholder.
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
		return string(appendTime(nil, e.OccurredAt)), nil
	case "actor":
		return textAt(e.Actor, path[1:])
	}
	return textAt(e.Payload, path[1:])
}

// appendEscaped escapes everything but letters, digits, "-", "_" and "~": slashes, so that a value stays one segment;
// dots, so that it is not "..".
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}
