package nats

import (
	"fmt"
	"strconv"
	"strings"
)

// Template makes an event type or a scope of a message's subject. Its zero value makes nothing.
type Template struct {
	text  string
	parts []part
}

// part is literal text, or what stands in the subject's tokens from one to another.
type part struct {
	literal  string
	from, to int // 1-based; 0, 0: literal; to 0: to the end
}

// ParseTemplate reads a template: text in which {subject} stands for the whole subject, {2} for its second token and
// {2...} for the second and all that follow, with their dots.
func ParseTemplate(text string) (Template, error) {
	t := Template{text: text}
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			t.parts = append(t.parts, part{literal: rest})
			break
		}
		if open > 0 {
			t.parts = append(t.parts, part{literal: rest[:open]})
		}
		end := strings.IndexByte(rest, '}')
		if rest[open] == '}' || end < 0 {
			return Template{}, fmt.Errorf("%q has a brace without its other half; write {subject}, {2} for the second token of the subject, or {2...} for it and all that follow", text)
		}
		p, err := parsePart(rest[open+1 : end])
		if err != nil {
			return Template{}, err
		}
		t.parts = append(t.parts, p)
		rest = rest[end+1:]
	}
	return t, nil
}

func parsePart(name string) (part, error) {
	if name == "subject" {
		return part{from: 1}, nil
	}
	number, all := strings.CutSuffix(name, "...")
	n, err := strconv.ParseUint(number, 10, 8)
	if err != nil || n == 0 {
		return part{}, fmt.Errorf("{%s} is unknown; write {subject}, {2} for the second token of the subject, or {2...} for it and all that follow", name)
	}
	p := part{from: int(n), to: int(n)}
	if all {
		p.to = 0
	}
	return p, nil
}

// Empty reports whether there is no template.
func (t Template) Empty() bool { return t.text == "" }

// Make fills the template in.
func (t Template) Make(subject string) (string, error) {
	if len(t.parts) == 1 && t.parts[0].from == 0 {
		return t.text, nil
	}
	var b strings.Builder
	tokens := strings.Split(subject, ".")
	for _, p := range t.parts {
		if p.from == 0 {
			b.WriteString(p.literal)
			continue
		}
		to := p.to
		if to == 0 {
			to = len(tokens)
		}
		if p.from > to || to > len(tokens) {
			return "", fmt.Errorf("%q needs more tokens than the subject %q has", t.text, subject)
		}
		b.WriteString(strings.Join(tokens[p.from-1:to], "."))
	}
	return b.String(), nil
}
