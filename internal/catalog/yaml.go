package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/rawjson"
)

// The limits of a catalog file. The built-in ones have at most 50 KB and a few thousand nodes.
const (
	maxFileBytes = 2 << 20
	maxFileDepth = 64
	// maxFileNodes bounds a file with its aliases written out.
	maxFileNodes = 200_000
)

// fileVersion is the version that catalog files say.
const fileVersion = 1

// fileForm is what a catalog file holds.
type fileForm struct {
	Version int                  `json:"version"`
	Types   []patchbay.EventType `json:"types"`
}

// file is a catalog file that has been read.
type file struct {
	name  string
	types []fileType
}

// fileType is a type with its place.
type fileType struct {
	spec patchbay.EventType
	node *yaml.Node
}

// read reads a catalog file. What is wrong with it goes to report.
func read(name string, in io.Reader, report func(line int, format string, args ...any)) *file {
	data, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		report(0, "the file cannot be read: %v", reason(err))
		return nil
	}
	if len(data) > maxFileBytes {
		report(0, "the file is larger than %d bytes", maxFileBytes)
		return nil
	}
	var doc yaml.Node
	if err := yaml.Load(data, &doc, yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxFileDepth)))); err != nil {
		line, message := yamlError(err)
		report(line, "%s", message)
		return nil
	}
	r := &reader{report: report}
	root := &doc
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	r.fit(root, reflect.TypeFor[fileForm](), 0)
	if r.failed {
		return nil
	}
	raw := r.json(nil, root, 0)
	if r.failed {
		return nil
	}
	var form fileForm
	if err := json.Unmarshal(raw, &form); err != nil {
		report(0, "the file cannot be understood: %v", err)
		return nil
	}
	if form.Version != fileVersion {
		report(lineOf(root, []string{"version"}), "version: %d must stand at the beginning of the file", fileVersion)
		return nil
	}
	f := &file{name: name}
	types, _ := child(root, "types")
	for i, spec := range form.Types {
		f.types = append(f.types, fileType{spec: spec, node: resolve(types.Content[i])})
	}
	return f
}

// reason leaves the path out of a file system's error: it stands before the message already.
func reason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// yamlError takes the place and the sentence out of the parser's error.
func yamlError(err error) (int, string) {
	var one *yaml.LoadError
	var many *yaml.LoadErrors
	if !errors.As(err, &one) && errors.As(err, &many) && len(many.Errors) > 0 {
		one = many.Errors[0]
	}
	if one == nil {
		return 0, "the file is not YAML: " + err.Error()
	}
	return one.Mark.Line, "the file is not YAML: " + one.Message
}

// reader checks nodes against Go types and writes them as JSON.
type reader struct {
	report func(line int, format string, args ...any)
	failed bool
	nodes  int
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.failed = true
	r.report(n.Line, format, args...)
}

// visit counts a node. Aliases are followed as often as they are written, so this is what ends an alias bomb.
func (r *reader) visit(n *yaml.Node, depth int) bool {
	if r.nodes > maxFileNodes {
		return false // it has been said already
	}
	if depth > maxFileDepth {
		r.fail(n, "the file is nested deeper than %d levels", maxFileDepth)
		r.nodes = maxFileNodes + 1
		return false
	}
	if r.nodes++; r.nodes > maxFileNodes {
		r.fail(n, "the file is too large with its aliases written out")
		return false
	}
	return true
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// fit checks that a node has the form of a Go type, by the names in its json tags.
func (r *reader) fit(n *yaml.Node, t reflect.Type, depth int) {
	n = resolve(n)
	if !r.visit(n, depth) || t == reflect.TypeFor[json.RawMessage]() || isNull(n) {
		return // JSON of any form; nothing is the same as leaving it out
	}
	switch t.Kind() {
	case reflect.Pointer:
		r.fit(n, t.Elem(), depth)
	case reflect.Struct:
		r.fitStruct(n, t, depth)
	case reflect.Map:
		r.eachField(n, func(_, value *yaml.Node) { r.fit(value, t.Elem(), depth+1) })
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.fail(n, "a list belongs here: begin each element with -")
			return
		}
		for _, e := range n.Content {
			r.fit(e, t.Elem(), depth+1)
		}
	default:
		r.fitScalar(n, t.Kind())
	}
}

func (r *reader) fitScalar(n *yaml.Node, k reflect.Kind) {
	want := map[reflect.Kind]string{reflect.String: "!!str", reflect.Bool: "!!bool", reflect.Int: "!!int"}[k]
	got := n.ShortTag()
	switch {
	case n.Kind != yaml.ScalarNode:
		r.fail(n, "a single value belongs here; if it begins with { or [, put it in quotes")
	case got == want:
	case k == reflect.String:
		r.fail(n, "a text belongs here: put %s in quotes", n.Value)
	case k == reflect.Bool:
		r.fail(n, "true or false belongs here, not %s", strconv.Quote(n.Value))
	default:
		r.fail(n, "a number belongs here, not %s", strconv.Quote(n.Value))
	}
}

func (r *reader) fitStruct(n *yaml.Node, t reflect.Type, depth int) {
	known := map[string]reflect.Type{}
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "origin" {
			continue // the file is the origin
		}
		known[name] = t.Field(i).Type
		names = append(names, name)
	}
	r.eachField(n, func(key, value *yaml.Node) {
		field, ok := known[key.Value]
		if !ok {
			r.fail(key, "%s is not known here; there are %s", strconv.Quote(key.Value), strings.Join(names, ", "))
			return
		}
		r.fit(value, field, depth+1)
	})
}

// eachField calls f for the fields of a mapping and refuses keys that stand twice.
func (r *reader) eachField(n *yaml.Node, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "fields such as name: value belong here")
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			r.fail(n.Content[i], "a key must be a name")
			continue
		case key.ShortTag() == "!!merge":
			r.fail(key, "<< is not supported: refer to a whole value with *name, or write the fields out")
			continue
		case seen[key.Value] > 0:
			r.fail(n.Content[i], "%s stands here already, in line %d", strconv.Quote(key.Value), seen[key.Value])
			continue
		}
		seen[key.Value] = n.Content[i].Line
		f(n.Content[i], n.Content[i+1])
	}
}

// json appends a node as JSON: keys in their order, numbers as they are spelled.
func (r *reader) json(dst []byte, n *yaml.Node, depth int) []byte {
	n = resolve(n)
	if !r.visit(n, depth) {
		return dst
	}
	switch n.Kind {
	case yaml.MappingNode:
		dst = append(dst, '{')
		first := true
		r.eachField(n, func(key, value *yaml.Node) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = rawjson.AppendQuoted(dst, resolve(key).Value)
			dst = append(dst, ':')
			dst = r.json(dst, value, depth+1)
		})
		return append(dst, '}')
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, e := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = r.json(dst, e, depth+1)
		}
		return append(dst, ']')
	case yaml.ScalarNode:
		return r.scalar(dst, n)
	}
	r.fail(n, "this is no value")
	return dst
}

func (r *reader) scalar(dst []byte, n *yaml.Node) []byte {
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp":
		return rawjson.AppendQuoted(dst, n.Value)
	case "!!null":
		return append(dst, "null"...)
	case "!!bool":
		if word := strings.ToLower(n.Value); word == "true" || word == "false" {
			return append(dst, word...)
		}
	case "!!int", "!!float":
		if rawjson.KindOf([]byte(n.Value)) == rawjson.KindNumber && rawjson.Check([]byte(n.Value), 1) == nil {
			return append(dst, n.Value...)
		}
		r.fail(n, "JSON cannot spell the number %s: write it in plain decimal, or in quotes if it is a text", n.Value)
		return dst
	default:
		r.fail(n, "%s is not supported", tag)
		return dst
	}
	r.fail(n, "write true or false instead of %s, or put it in quotes", n.Value)
	return dst
}

// child returns a field of a mapping or an element of a list, and the line where it is named.
func child(n *yaml.Node, step string) (value *yaml.Node, line int) {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if resolve(n.Content[i]).Value == step {
				return resolve(n.Content[i+1]), n.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return resolve(n.Content[i]), n.Content[i].Line
		}
	}
	return nil, 0
}

// lineOf returns the line of the value at the path, or of the last value on the way.
func lineOf(n *yaml.Node, path []string) int { return lineIn(n, fault{path: path}) }

// lineIn returns the line of a fault in a type. Templates that are written as a block begin below their place.
func lineIn(n *yaml.Node, f fault) int {
	line := n.Line
	for _, step := range f.path {
		next, at := child(n, step)
		if next == nil {
			return line
		}
		n, line = next, at
	}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line = n.Line + 1 + f.line
	}
	return line
}

// sentence spells a fault for a file, whose line says only so much.
func (f fault) sentence(key string) string {
	path := slices.DeleteFunc(slices.Clone(f.path), func(s string) bool { return s == "" })
	if len(path) == 0 {
		return fmt.Sprintf("%s: %s", key, f.message)
	}
	return fmt.Sprintf("%s: %s: %s", key, where(path), f.message)
}
