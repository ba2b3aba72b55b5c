package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
	"github.com/patchbay/patchbay/internal/docgen"
	"github.com/patchbay/patchbay/internal/web"
)

type catalogCmd struct {
	Check catalogCheckCmd `cmd:"" help:"Check catalog files: every example must satisfy its schema, every template must work."`
	Docs  catalogDocsCmd  `cmd:"" help:"Write the event types and the integrations as Markdown, or the event types as HTML."`
}

type catalogCheckCmd struct {
	Files []string `arg:"" placeholder:"FILE|DIR|builtin:NAME" help:"What to check: files, directories, builtin:NAME."`
	jsonFlag
}

// checked is what came of one catalog.
type checked struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Types int    `json:"types"`
	Error string `json:"error,omitempty"`
}

// Run checks catalogs, each by itself and then all together.
func (c *catalogCheckCmd) Run(p *program) error {
	results := make([]checked, 0, len(c.Files)+1)
	sound := true
	for _, name := range c.Files {
		result := checkOne(p, name, []string{name})
		sound = sound && result.OK
		results = append(results, result)
	}
	if sound && len(c.Files) > 1 {
		if together := checkOne(p, "together", c.Files); !together.OK {
			sound = false
			results = append(results, together)
		}
	}
	if p.json {
		if err := p.out.JSON(results); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			if r.OK {
				p.out.Printf("%s %s: %s\n", p.out.Paint(console.Green, "✓"), r.Name, count(r.Types, "event type", "event types"))
			} else {
				p.out.Printf("%s %s\n", p.out.Paint(console.Red, "✗"), console.Printable(r.Error))
			}
		}
	}
	if !sound {
		return errReported
	}
	return nil
}

// inboundTypes are those that the program's integrations bring in: a file may say how they read.
func (p *program) inboundTypes() []patchbay.EventType {
	var types []patchbay.EventType
	for _, i := range p.build.Integrations {
		types = append(types, i.Definition().Types...)
	}
	return types
}

func checkOne(p *program, name string, files []string) checked {
	c, err := catalog.Open(catalog.Options{Files: files, Extra: p.inboundTypes()})
	if err != nil {
		return checked{Name: name, Error: err.Error()}
	}
	out := checked{Name: name, OK: true}
	for _, t := range c.Types() {
		if o := t.Spec().Origin; o != catalog.OriginBuiltin && o != catalog.OriginIntegration { // every installation has those
			out.Types++
		}
	}
	return out
}

func checkCatalog(p *program, c *config.Config) finding {
	opened, err := catalog.Open(catalog.Options{Files: c.Catalog, Extra: p.inboundTypes()})
	if err != nil {
		return bad("correct the file; \"patchbay catalog check\" checks it alone", "%v", err)
	}
	return fine("%s", count(len(opened.Types()), "event type", "event types"))
}

type catalogDocsCmd struct {
	Catalog []string `name:"catalog" env:"PATCHBAY_CATALOG" placeholder:"FILE|DIR|builtin:NAME" help:"Which catalogs. Default: the four built-in ones."`
	Out     string   `name:"out" placeholder:"DIR" help:"Write events.md and integrations.md there. Default: print both."`
	HTML    string   `name:"html" placeholder:"DIR" help:"Write pages that anybody can read in a browser: a list, and a page for each event type. They need no server."`
	Title   string   `name:"title" placeholder:"TEXT" help:"What the pages are called. Default: Event types."`
	Readme  string   `name:"readme" placeholder:"FILE" help:"Instead, renew the tables in this page, between <!-- catalog --> and <!-- /catalog -->, and of integrations alike."`
}

// Run writes the documentation.
func (c *catalogDocsCmd) Run(p *program) error {
	opened, err := catalog.Open(catalog.Options{Files: c.Catalog, Extra: p.inboundTypes()})
	if err != nil {
		return err
	}
	if c.Title != "" && c.HTML == "" {
		return errors.New("--title is the title of pages: say with --html where they go")
	}
	if c.HTML != "" {
		if err := p.writeBook(c.HTML, c.Title, opened); err != nil || c.Out == "" && c.Readme == "" {
			return err
		}
	}
	if c.Readme != "" {
		return p.fillPage(c.Readme, opened)
	}
	var page bytes.Buffer
	if err := catalog.WriteDocs(&page, opened.Types()); err != nil {
		return err
	}
	events, integrations := page.Bytes(), docgen.Integrations(p.build.Integrations)
	if c.Out == "" {
		p.out.Printf("%s\n%s", events, integrations)
		return nil
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("%s cannot be made: %w", c.Out, err)
	}
	for name, page := range map[string][]byte{"events.md": events, "integrations.md": integrations} {
		if err := os.WriteFile(filepath.Join(c.Out, name), page, 0o644); err != nil {
			return fmt.Errorf("the documentation cannot be written: %w", err)
		}
	}
	p.out.Printf("%s %s and %s\n", p.out.Paint(console.Green, "✓"), filepath.Join(c.Out, "events.md"), filepath.Join(c.Out, "integrations.md"))
	return nil
}

// writeBook writes the event types as pages.
func (p *program) writeBook(dir, title string, opened *catalog.Catalog) error {
	book := &web.Book{Title: title, Types: opened.Types(), Integrations: p.build.Integrations}
	files, err := book.Files(p.ctx)
	if err != nil {
		return fmt.Errorf("the pages cannot be made: %w", err)
	}
	if err := docgen.WriteFolder(dir, files); err != nil {
		return err
	}
	p.out.Printf("%s %s: %s\n", p.out.Paint(console.Green, "✓"), filepath.Join(dir, "index.html"), count(len(opened.Types()), "event type", "event types"))
	return nil
}

func (p *program) fillPage(name string, opened *catalog.Catalog) error {
	page, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("the page cannot be read: %w", err)
	}
	filled, err := docgen.Fill(page, map[string]string{
		"catalog": docgen.CatalogTable(opened.Types()), "integrations": docgen.IntegrationTable(p.build.Integrations),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := os.WriteFile(name, filled, 0o644); err != nil {
		return fmt.Errorf("the page cannot be written: %w", err)
	}
	p.out.Printf("%s %s\n", p.out.Paint(console.Green, "✓"), name)
	return nil
}
