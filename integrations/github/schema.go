package github

import (
	"encoding/json"
	"slices"
	"strings"
)

// property is one key of a payload as its schema describes it. Everything GitHub sends may also be null.
type property struct {
	key, kind, description string
	inside                 []property
}

func text(key, description string) property {
	return property{key: key, kind: "string", description: description}
}
func number(key, description string) property {
	return property{key: key, kind: "integer", description: description}
}
func flag(key, description string) property {
	return property{key: key, kind: "boolean", description: description}
}
func list(key, description string, inside ...property) property {
	return property{key: key, kind: "array", description: description, inside: inside}
}
func thingOf(key, description string, inside ...property) property {
	return property{key: key, kind: "object", description: description, inside: inside}
}

// account is somebody.
func account(key, description string) property {
	return thingOf(key, description, number("id", "The account's number."), text("login", "The account's name."),
		text("html_url", "The account's page."), text("avatar_url", "The account's picture."), text("type", "User, Organization or Bot."))
}

// numberedThing is an issue or a pull request.
func numberedThing(key, description string, more ...property) property {
	return thingOf(key, description, append([]property{
		number("number", "Its number in the repository."), text("title", "Its title."), text("body", "Its text, in Markdown."),
		text("state", "open or closed."), text("html_url", "Its page."), account("user", "Who opened it."),
	}, more...)...)
}

// comment is what somebody wrote below something.
func comment() property {
	return thingOf("comment", "The comment.", number("id", "Its number."), text("body", "Its text, in Markdown."),
		text("html_url", "Where it stands."), account("user", "Who wrote it."))
}

// schema describes a payload: what is told of it must be there, the common keys may be, and others are welcome.
func schema(about ...property) json.RawMessage {
	required := []string{"repository"}
	for _, p := range about {
		if p.key != "action" && !strings.HasSuffix(p.description, " "+maybe) { // older servers leave some actions out
			required = append(required, p.key)
		}
	}
	properties := append(slices.Clone(about),
		thingOf("repository", "The repository.", number("id", "Its number."), text("full_name", "Its owner and name."),
			text("html_url", "Its page."), text("default_branch", "Its main branch."), flag("private", "Whether not everybody sees it.")),
		account("sender", "Who did it."))
	out, err := json.Marshal(map[string]any{"type": "object", "required": required, "properties": describe(properties)})
	if err != nil {
		panic("github: a schema that is no JSON: " + err.Error())
	}
	return out
}

// maybe ends the description of what is not always there.
const maybe = "It may be left out."

func describe(all []property) map[string]any {
	out := make(map[string]any, len(all))
	for _, p := range all {
		one := map[string]any{"type": []string{p.kind, "null"}, "description": p.description}
		switch {
		case p.kind == "array" && len(p.inside) > 0:
			one["items"] = map[string]any{"type": []string{"object", "null"}, "properties": describe(p.inside)}
		case len(p.inside) > 0:
			one["properties"] = describe(p.inside)
		}
		out[p.key] = one
	}
	return out
}
