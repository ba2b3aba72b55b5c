// Package archtest keeps the architecture true: who may import whom, that every integration is listed, and the few
// habits that a linter cannot know.
package archtest

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/patchbay/patchbay"

// rules say what a package (by the longest matching prefix) may import of ours. "std" packages and third parties are
// checked by thirdParty. A trailing /… stands for everything below.
var rules = map[string][]string{
	"":                         {},
	"integration":              {"", "integration/…"},
	"integration/markup":       {"", "integration"},
	"integration/mapping":      {},
	"integrations":             {"", "integration", "integration/…"},
	"integrations/all":         {"", "integration", "integrations/…"},
	"catalogs":                 {},
	"client":                   {""},
	"docs/carrier":             {"", "integration", "integration/…"},
	"internal/rawjson":         {},
	"internal/config":          {""},
	"internal/lifecycle":       {},
	"internal/catalog":         {"", "catalogs", "internal/catalog/…", "internal/rawjson"},
	"internal/catalog/schema":  {"", "internal/rawjson"},
	"internal/catalog/tmpl":    {"", "internal/rawjson"},
	"internal/console":         {""},
	"internal/reference":       {"", "integration", "integration/markup", "internal/catalog"},
	"internal/docgen":          {"", "integration", "internal/catalog"},
	"internal/live":            {"", "client", "internal/console"},
	"internal/route":           {"", "internal/rawjson"},
	"internal/store":           {""},
	"internal/datadir":         {},
	"internal/secret":          {"", "internal/datadir", "internal/store"},
	"internal/sealing":         {"", "internal/access", "internal/jobs", "internal/secret", "internal/store"},
	"internal/store/sqlite":    {"", "internal/datadir", "internal/store"},
	"internal/store/postgres":  {"", "internal/store"},
	"internal/store/storetest": {"", "internal/store"},
	"internal/pgtest":          {},
	"internal/netfault":        {},
	"internal/nodetest":        {"internal/datadir"},
	"internal/browsertest":     {"internal/nodetest"},
	"internal/cluster":         {"", "internal/access", "internal/store"},
	"internal/jobs":            {"", "integration", "internal/access", "internal/deliver", "internal/ingest", "internal/route", "internal/store"},
	"internal/stats":           {"", "internal/access", "internal/store"},
	"internal/source":          {"", "internal/access", "internal/ingest", "internal/lifecycle", "internal/source/…"},
	"deploy/outbox":            {},
	"internal/move":            {"", "internal/store"},
	"internal/outbound":        {"", "integration"},
	"internal/stream":          {""},
	"internal/obs":             {"", "internal/stream"},
	"internal/access":          {"", "internal/store"},
	"internal/eventtypes":      {"", "internal/access", "internal/catalog", "internal/store"},
	"internal/audit":           {"", "internal/access", "internal/store"},
	"internal/deliver":         {"", "integration", "internal/access", "internal/outbound", "internal/store"},
	"internal/connect":         {"", "integration", "internal/access", "internal/lifecycle", "internal/outbound", "internal/store"},
	"internal/links":           {"", "integration", "internal/access", "internal/deliver", "internal/outbound", "internal/route", "internal/store"},
	"internal/ingest":          {"", "integration", "internal/access", "internal/catalog", "internal/deliver", "internal/rawjson", "internal/route", "internal/store"},
	"internal/inbound":         {"", "integration", "integration/signature", "internal/access", "internal/ingest", "internal/lifecycle", "internal/store"},
	"internal/machine":         {},
	"internal/oidc":            {"", "integration", "internal/access", "internal/store"},
	"internal/session":         {"", "internal/access", "internal/store"},
	"internal/httpapi":         {"", "integration", "internal/access", "internal/audit", "internal/catalog", "internal/cluster", "internal/connect", "internal/deliver", "internal/eventtypes", "internal/inbound", "internal/ingest", "internal/jobs", "internal/links", "internal/obs", "internal/rawjson", "internal/sealing", "internal/session", "internal/stats", "internal/store", "internal/stream"},
	"internal/web":             {"", "integration", "integration/markup", "integration/verification", "internal/access", "internal/audit", "internal/catalog/…", "internal/cluster", "internal/config", "internal/connect", "internal/deliver", "internal/inbound", "internal/ingest", "internal/jobs", "internal/links", "internal/oidc", "internal/rawjson", "internal/reference", "internal/sealing", "internal/session", "internal/stats", "internal/store", "internal/stream", "internal/web/compose"},
	"internal/web/compose":     {"internal/rawjson"},
	"internal/demo":            {"", "client", "catalogs", "app", "integration", "integrations/all", "internal/config", "internal/console", "internal/live", "internal/outbound", "internal/rawjson"},
	"app":                      {"…"},
	"cmd/patchbay":             {"…"},
	"internal/cli":             {"…"},
	"internal/bench":           {"…"},
	"internal/archtest":        {},
}

// thirdParty bounds who may import what from outside; a package that is not named may import any.
var thirdParty = map[string][]string{
	"":       {},
	"client": {},
}

// sqlDrivers are for stores alone.
var sqlDrivers = []string{"database/sql", "modernc.org/sqlite", "github.com/jackc/pgx"}

type source struct {
	pkg  string // path below the module
	file string
	test bool
	ast  *ast.File
	set  *token.FileSet
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	top := root(t)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == "tools" || name == "node_modules" || (strings.HasPrefix(name, ".") && p != top)) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		if pkg == "." {
			pkg = ""
		}
		out = append(out, source{pkg: pkg, file: rel, test: strings.HasSuffix(name, "_test.go"), ast: f, set: set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d Go files were found below %s", len(out), top)
	}
	return out
}

func ruleFor(pkg string) ([]string, bool) {
	for p := pkg; ; p = path.Dir(p) {
		if r, ok := rules[p]; ok && (p != "" || pkg == "") {
			return r, true
		}
		if p == "." || p == "" || !strings.Contains(p, "/") {
			return nil, false
		}
	}
}

func allowed(rule []string, pkg string) bool {
	for _, r := range rule {
		if r == "…" || r == pkg {
			return true
		}
		if below, ok := strings.CutSuffix(r, "/…"); ok && (pkg == below || strings.HasPrefix(pkg, below+"/")) {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue // tests may build the real thing
		}
		rule, ok := ruleFor(s.pkg)
		if !ok {
			t.Errorf("%s: package %q has no rule in archtest: say what it may import", s.file, s.pkg)
			continue
		}
		for _, imp := range s.ast.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			switch {
			case name == module || strings.HasPrefix(name, module+"/"):
				ours := strings.TrimPrefix(strings.TrimPrefix(name, module), "/")
				if !allowed(rule, ours) {
					t.Errorf("%s imports %q, which package %q may not", s.file, ours, s.pkg)
				}
			case strings.Contains(strings.Split(name, "/")[0], "."):
				if most, bound := thirdParty[s.pkg]; bound && !allowed(most, name) {
					t.Errorf("%s imports %s; package %q uses the standard library only", s.file, name, s.pkg)
				}
			}
			for _, driver := range sqlDrivers {
				// The outbox lies in the product's database, which is none of ours.
				if strings.HasPrefix(name, driver) && !strings.HasPrefix(s.pkg, "internal/store/") && s.pkg != "internal/source/outbox" {
					t.Errorf("%s imports %s: only stores touch databases", s.file, name)
				}
			}
		}
	}
}

func TestIntegrationsAreListed(t *testing.T) {
	all, err := os.ReadFile(filepath.Join(root(t), "integrations/all/all.go"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(root(t), "integrations"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "all" && !strings.Contains(string(all), `"`+module+"/integrations/"+e.Name()+`"`) {
			t.Errorf("integrations/%s is not listed in integrations/all", e.Name())
		}
	}
}

// TestHabits looks for init functions, bare go statements and sleeping.
func TestHabits(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.FuncDecl:
				if x.Name.Name == "init" && x.Recv == nil {
					t.Errorf("%s: init() hides what happens at start; make it explicit", s.set.Position(x.Pos()))
				}
			case *ast.GoStmt:
				if !s.test {
					t.Errorf("%s: a bare go statement has no owner; use a sync.WaitGroup's Go that somebody waits for", s.set.Position(x.Pos()))
				}
			case *ast.SelectorExpr:
				if id, ok := x.X.(*ast.Ident); ok && id.Name == "time" && x.Sel.Name == "Sleep" && !s.test {
					t.Errorf("%s: time.Sleep cannot be interrupted; wait for a signal or a timer", s.set.Position(x.Pos()))
				}
			}
			return true
		})
	}
}

// pathInDocs finds paths of this repository in Markdown, such as `internal/route` or [x](docs/delivery.md).
var pathInDocs = regexp.MustCompile("(?:`|\\]\\()((?:internal|integration|integrations|catalogs|client|app|cmd|docs|deploy|tools)/[A-Za-z0-9_./-]*[A-Za-z0-9_])")

func TestPathsInDocsExist(t *testing.T) {
	top := root(t)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != top || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".md") {
			return nil
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			for _, m := range pathInDocs.FindAllStringSubmatch(lines.Text(), -1) {
				if _, err := os.Stat(filepath.Join(top, m[1])); err == nil {
					continue
				}
				if _, err := os.Stat(filepath.Join(filepath.Dir(p), m[1])); err != nil {
					t.Errorf("%s:%d names %s, which does not exist", p, n, m[1])
				}
			}
		}
		return lines.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}
