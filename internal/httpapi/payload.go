package httpapi

import (
	"encoding/json"
	"strings"

	"github.com/patchbay/patchbay/internal/rawjson"
)

// maxRefs bounds how many references are followed to one schema; a circle is longer.
const maxRefs = 8

// payloadKeys draws the payload's keys from its schema: for each property the names of its own properties, or of its
// items' when it is a list. The order is the schema's.
func payloadKeys(schema json.RawMessage) keyLists {
	out := keyLists{}
	if rawjson.Check(schema, 0) != nil {
		return out
	}
	root := []byte(schema)
	for key, property := range rawjson.Object(properties(root, root)) {
		var keys []string
		for inner := range rawjson.Object(properties(root, property)) {
			keys = append(keys, string(inner))
		}
		out = append(out, keyList{string(key), keys})
	}
	return out
}

// properties returns the "properties" of a schema, of what it refers to, or of its items; nil when there are none.
func properties(root, schema []byte) []byte {
	for range maxRefs {
		if rawjson.KindOf(schema) != rawjson.KindObject {
			return nil
		}
		members := map[string][]byte{}
		for key, v := range rawjson.Object(schema) {
			members[string(key)] = v
		}
		switch ref, isRef := rawjson.String(members["$ref"]); {
		case members["properties"] != nil:
			return members["properties"]
		case members["$ref"] != nil && isRef:
			schema = lookUp(root, ref)
		case members["items"] != nil:
			schema = members["items"]
		default:
			return nil
		}
	}
	return nil
}

// lookUp follows a reference within the document, such as "#/$defs/repo".
func lookUp(root []byte, ref string) []byte {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	at := root
	for step := range strings.SplitSeq(path, "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		if rawjson.KindOf(at) != rawjson.KindObject {
			return nil
		}
		var next []byte
		for key, v := range rawjson.Object(at) {
			if string(key) == step {
				next = v
			}
		}
		at = next
	}
	return at
}
