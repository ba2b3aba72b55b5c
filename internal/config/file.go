package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds a configuration file, which is written by hand.
const maxFile = 1 << 20

// File is a configuration file whose keys and values have been checked. A key is the name of a flag.
type File struct {
	// Path is the file's name, "" when there is none.
	Path   string
	values map[string]any
}

// ReadFile reads a configuration file. The default file, named by "", may be absent; one that is named may not.
func ReadFile(path string) (*File, error) {
	named := path != ""
	if !named {
		path = DefaultFile
	}
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return &File{}, nil
	case err != nil:
		return nil, fmt.Errorf("the configuration file cannot be read: %w", err)
	case len(content) > maxFile:
		return nil, fmt.Errorf("%s: a configuration of %d bytes is a mistake; at most %d are read", path, len(content), maxFile)
	}
	return ParseFile(path, content)
}

// ParseFile reads the content of a configuration file. Its errors name the file, the line and the key.
func ParseFile(path string, content []byte) (*File, error) {
	f := &File{Path: path, values: map[string]any{}}
	loader, err := yaml.NewLoader(bytes.NewReader(content), yaml.WithUniqueKeys())
	if err != nil {
		return nil, err
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return f, nil // comments only
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := loader.Load(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: a configuration is one document; there is a second one after ---", path)
	}
	root := &doc
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind == 0 || root.Tag == "!!null" {
		return f, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: a configuration is made of lines such as \"listen: %s\"", path, root.Line, DefaultListen)
	}
	settings := fields()
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if err := f.add(settings, key, value); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, key.Line, err)
		}
	}
	return f, nil
}

func (f *File) add(settings map[string]reflect.Type, key, node *yaml.Node) error {
	t, known := settings[key.Value]
	if !known {
		return unknown(key.Value, settings)
	}
	if _, twice := f.values[key.Value]; twice {
		return fmt.Errorf("%q is set a second time", key.Value)
	}
	var value any
	if err := node.Load(&value); err != nil {
		return fmt.Errorf("%s: %w", key.Value, err)
	}
	if value == nil {
		return nil
	}
	given, err := convert(t, node, value)
	if err != nil {
		return fmt.Errorf("%s: %w", key.Value, err)
	}
	f.values[key.Value] = given
	return nil
}

// Value returns what the file says of a flag: text, a bool or a []any of text, which is what kong reads from its
// resolvers. nil means that it says nothing.
func (f *File) Value(flag string) any { return f.values[flag] }

// fields returns the type of every setting.
func fields() map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for _, t := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Client]()} {
		for i := range t.NumField() {
			if name := t.Field(i).Tag.Get("name"); name != "" {
				out[name] = t.Field(i).Type
			}
		}
	}
	return out
}

// convert checks a value of the file against the type of its setting and returns it as kong wants it.
func convert(t reflect.Type, node *yaml.Node, value any) (any, error) {
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		text, err := textOf(node, value)
		if err == nil {
			err = u.UnmarshalText([]byte(text))
		}
		return text, err
	}
	switch t.Kind() {
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			return strconv.FormatBool(b), nil
		}
		return nil, fmt.Errorf("write true or false")
	case reflect.Slice:
		if node.Kind == yaml.ScalarNode {
			return []any{node.Value}, nil
		}
		list := []any{}
		for _, item := range node.Content {
			if node.Kind != yaml.SequenceNode || item.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("write one value or a list of values")
			}
			list = append(list, item.Value)
		}
		return list, nil
	}
	if node.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("write one value, not a list or an object")
	}
	return node.Value, nil
}

// textOf spells a value as the UnmarshalText of a setting reads it: an object as JSON, a list joined by commas.
func textOf(node *yaml.Node, value any) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value, nil
	case yaml.MappingNode:
		b, err := json.Marshal(value)
		if err != nil {
			return "", fmt.Errorf("the keys of an object must be text")
		}
		return string(b), nil
	case yaml.SequenceNode:
		parts := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return "", fmt.Errorf("write a list of single values")
			}
			parts[i] = item.Value
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("write the value out, without an alias")
}

func unknown(key string, settings map[string]reflect.Type) error {
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	best, distance := "", 3
	for _, name := range names {
		if d := editDistance(strings.ReplaceAll(strings.ToLower(key), "_", "-"), name); d < distance {
			best, distance = name, d
		}
	}
	if best != "" {
		return fmt.Errorf("%q is not a setting: did you mean %q?", key, best)
	}
	return fmt.Errorf("%q is not a setting; there are %s", key, strings.Join(names, ", "))
}

// editDistance counts the letters that must be changed, added or removed to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
