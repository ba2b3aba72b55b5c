package catalog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/catalogs"
)

// BuiltinPrefix begins the name of a built-in catalog where a file's name is expected: "builtin:rhodecode".
const BuiltinPrefix = "builtin:"

// Options say what a Catalog holds.
type Options struct {
	// Files are paths of files and directories, or "builtin:NAME". None stands for all built-in catalogs.
	Files []string
	// Extra are the types that integrations declare. A file may say more about them, as about the built-in ones.
	Extra []patchbay.EventType
	// Stored are the types that were added through the API. One that no longer fits is left out; see Warnings.
	Stored []patchbay.EventType
}

// Catalog holds the types of events. It is safe for concurrent use; reading takes no lock.
type Catalog struct {
	mu       sync.Mutex // one change at a time
	current  atomic.Pointer[snapshot]
	warnings []string
}

// snapshot is the types at one moment. It is never changed.
type snapshot struct {
	types  []*Type // files' first, then built-in ones and integrations', then the API's
	byName map[string]*Type
}

// Open reads the catalogs. Its error is Problems when something is wrong in them.
func Open(o Options) (*Catalog, error) {
	l := &loader{snapshot: snapshot{byName: map[string]*Type{}}, places: map[string]string{}, base: map[string]patchbay.EventType{}}
	l.load(o)
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, compareProblems)
		return nil, l.problems
	}
	c := &Catalog{}
	s := &l.snapshot
	for _, spec := range o.Stored {
		next, _, err := s.with(spec)
		if err != nil {
			c.warnings = append(c.warnings, fmt.Sprintf("the event type %q, which was added through the API, is left out: %v", spec.Key, err))
			continue
		}
		s = next
	}
	c.current.Store(s)
	return c, nil
}

// Check reads catalog files as Open does, and returns what is wrong with them.
func Check(files []string) []Problem {
	_, err := Open(Options{Files: files})
	var problems Problems
	if errors.As(err, &problems) {
		return problems
	}
	return nil
}

// Warnings are sentences about stored types that were left out.
func (c *Catalog) Warnings() []string { return c.warnings }

// Type returns the type with the name, which is a key or an alias; nil when there is none.
func (c *Catalog) Type(name string) *Type { return c.current.Load().byName[name] }

// Types returns all types: those of files in their order, then the built-in ones and integrations', then the API's. It
// must not be changed.
func (c *Catalog) Types() []*Type { return c.current.Load().types }

// Match returns the keys of the types that the pattern selects.
func (c *Catalog) Match(p patchbay.Pattern) []string {
	var keys []string
	for _, t := range c.Types() {
		if t.Matches(p) {
			keys = append(keys, t.Key())
		}
	}
	return keys
}

// Add adds a type of the API, or replaces the one with its key. Errors are invalid_request, with details, and conflict
// for names that other types have.
func (c *Catalog) Add(spec patchbay.EventType) (replaced bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, replaced, err := c.current.Load().with(spec)
	if err != nil {
		return false, err
	}
	c.current.Store(next)
	return replaced, nil
}

// Remove removes a type of the API. Errors are not_found, and conflict for other types. An alias is no key.
func (c *Catalog) Remove(key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.current.Load()
	t := s.byName[key]
	switch {
	case t == nil || t.Key() != key:
		return patchbay.Errorf(patchbay.CodeNotFound, "there is no event type %q", key)
	case !t.FromAPI():
		return patchbay.Errorf(patchbay.CodeConflict, "the event type %q cannot be removed: it comes from %s", key, t.origin())
	}
	c.current.Store(s.without(t))
	return nil
}

// origin says for a sentence where a type comes from.
func (t *Type) origin() string {
	switch t.spec.Origin {
	case OriginBuiltin:
		return "Patchbay itself"
	case OriginIntegration:
		return "an integration"
	case OriginAPI:
		return "the API"
	}
	return "the catalog file " + t.spec.Origin
}

// with returns a snapshot that has a type of the API, too.
func (s *snapshot) with(spec patchbay.EventType) (next *snapshot, replaced bool, err error) {
	spec.Origin = OriginAPI
	t, faults := compile(spec, true)
	if len(faults) > 0 {
		return nil, false, invalid(faults)
	}
	old := s.byName[spec.Key]
	if old != nil && old.Key() == spec.Key && old.FromAPI() {
		s, replaced = s.without(old), true
	}
	for _, name := range t.names {
		other := s.byName[name]
		if other == nil {
			continue
		}
		what := fmt.Sprintf("the event type %q comes from %s and cannot be changed here", other.Key(), other.origin())
		if other.FromAPI() || name != other.Key() {
			what = fmt.Sprintf("the name %q belongs to the event type %q from %s", name, other.Key(), other.origin())
		}
		return nil, false, patchbay.Errorf(patchbay.CodeConflict, "%s", what)
	}
	out := s.clone()
	out.add(t)
	return out, replaced, nil
}

// invalid makes an error of the API of what is wrong with a type.
func invalid(faults []fault) error {
	e := &patchbay.Error{Code: patchbay.CodeInvalidRequest}
	parts := make([]string, len(faults))
	for i, f := range faults {
		e.Details = append(e.Details, patchbay.Detail{Path: where(f.path), Message: f.message})
		parts[i] = where(f.path) + ": " + f.message
	}
	e.Message = strings.Join(parts, "; ")
	return e
}

func (s *snapshot) clone() *snapshot {
	out := &snapshot{types: make([]*Type, 0, len(s.types)+1), byName: make(map[string]*Type, len(s.byName)+1)}
	for _, t := range s.types {
		out.add(t)
	}
	return out
}

func (s *snapshot) without(gone *Type) *snapshot {
	out := &snapshot{byName: make(map[string]*Type, len(s.byName))}
	for _, t := range s.types {
		if t != gone {
			out.add(t)
		}
	}
	return out
}

func (s *snapshot) add(t *Type) {
	s.types = append(s.types, t)
	for _, name := range t.names {
		s.byName[name] = t
	}
}

// loader collects the types of all files.
type loader struct {
	snapshot
	problems Problems
	places   map[string]string             // where a name was given first
	base     map[string]patchbay.EventType // the types that files may say more about
}

func (l *loader) load(o Options) {
	basic := append(builtin(), o.Extra...)
	for i := range basic {
		if basic[i].Origin == "" {
			basic[i].Origin = OriginIntegration
		}
		if _, twice := l.base[basic[i].Key]; twice {
			l.problems = append(l.problems, Problem{File: basic[i].Origin, Message: fmt.Sprintf("the type %s is declared twice", basic[i].Key)})
		}
		l.base[basic[i].Key] = basic[i]
	}
	files := o.Files
	if len(files) == 0 {
		for _, name := range catalogs.Names() {
			files = append(files, BuiltinPrefix+name)
		}
	}
	for _, f := range files {
		l.open(f)
	}
	for _, spec := range basic {
		if _, told := l.places[spec.Key]; told {
			continue // a file has said more about it, and it stands there
		}
		t, faults := compile(spec, false)
		for _, f := range faults {
			l.problems = append(l.problems, Problem{File: spec.Origin, Message: f.sentence(spec.Key)})
		}
		for _, name := range t.names {
			l.claim(name, spec.Origin, 0)
		}
		l.add(t)
	}
}

// open reads a file, the files of a directory, or a built-in catalog.
func (l *loader) open(name string) {
	fail := func(format string, args ...any) {
		l.problems = append(l.problems, Problem{File: name, Message: fmt.Sprintf(format, args...)})
	}
	if short, ok := strings.CutPrefix(name, BuiltinPrefix); ok {
		f, err := catalogs.Files.Open(short + ".yaml")
		if err != nil {
			fail("there is no such catalog; there are %s", BuiltinPrefix+strings.Join(catalogs.Names(), ", "+BuiltinPrefix))
			return
		}
		l.file(short+".yaml", f)
		return
	}
	info, err := os.Stat(name)
	if err != nil {
		fail("the file cannot be read: %v", reason(err))
		return
	}
	if !info.IsDir() {
		l.path(name)
		return
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		fail("the directory cannot be read: %v", reason(err))
		return
	}
	found := false
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			found = true
			l.path(filepath.Join(name, e.Name()))
		}
	}
	if !found {
		fail("the directory has no .yaml files")
	}
}

func (l *loader) path(name string) {
	f, err := os.Open(name)
	if err != nil {
		l.problems = append(l.problems, Problem{File: name, Message: fmt.Sprintf("the file cannot be read: %v", reason(err))})
		return
	}
	l.file(name, f)
}

// file reads a catalog and closes it.
func (l *loader) file(name string, in io.ReadCloser) {
	defer func() { _ = in.Close() }() // it was only read
	report := func(line int, format string, args ...any) {
		l.problems = append(l.problems, Problem{File: name, Line: line, Message: fmt.Sprintf(format, args...)})
	}
	f := read(name, in, report)
	if f == nil {
		return
	}
	for _, ft := range f.types {
		spec := ft.spec
		if base, ok := l.base[spec.Key]; ok {
			spec = merge(base, spec)
		}
		spec.Origin = filepath.Base(name)
		t, faults := compile(spec, true)
		for _, fault := range faults {
			report(lineIn(ft.node, fault), "%s", fault.sentence(spec.Key))
		}
		for i, n := range t.names {
			path := []string{"key"}
			if i > 0 {
				path = []string{"aliases", fmt.Sprint(i - 1)}
			}
			line := lineOf(ft.node, path)
			if _, other := l.base[n]; other && n != spec.Key {
				report(line, "%s: the name %s is Patchbay's own", spec.Key, n)
				continue
			}
			l.claim(n, name, line)
		}
		l.add(t)
	}
}

// merge puts what a file says about a type that exists already over what that says itself.
func merge(base, said patchbay.EventType) patchbay.EventType {
	if said.Title != "" {
		base.Title = said.Title
	}
	if said.Description != "" {
		base.Description = said.Description
	}
	if said.ScopeFrom != "" {
		base.ScopeFrom = said.ScopeFrom
	}
	if said.Message != nil {
		base.Message = said.Message
	}
	if !absent(said.Schema) {
		base.Schema = said.Schema
	}
	if !absent(said.Example) {
		base.Example = said.Example
	}
	base.Aliases = append(slices.Clone(base.Aliases), said.Aliases...)
	return base
}

// claim notes where a name is given and reports one that has been given before.
func (l *loader) claim(name, file string, line int) {
	if name == "" {
		return
	}
	here := Problem{File: file, Line: line}
	place := file
	if line > 0 {
		place = fmt.Sprintf("%s:%d", file, line)
	}
	if before, taken := l.places[name]; taken {
		here.Message = fmt.Sprintf("the name %s is given twice: here and in %s", name, before)
		l.problems = append(l.problems, here)
		return
	}
	l.places[name] = place
}
