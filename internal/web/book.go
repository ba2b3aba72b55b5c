package web

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"strconv"
	"strings"

	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/reference"
)

// Book is the catalog as files: the same pages that a Site serves, without a server and without a script.
type Book struct {
	// Title stands above the list; "" is "Event types".
	Title        string
	Types        []*catalog.Type
	Integrations []integration.Integration
}

// bookAssets are the files that the pages of a book need.
var bookAssets = []string{"app.css", "inter.woff2", "inter-LICENSE.txt", "icon.svg"}

// bookIndex is the first page of a book.
const bookIndex = "index.html"

// Files draws a book: the contents of its files by their names, which have slashes. They refer to each other by relative
// addresses, so the folder can lie anywhere.
func (b *Book) Files(ctx context.Context) (map[string][]byte, error) {
	if b.Title == "" {
		b.Title = "Event types"
	}
	s := &Site{o: Options{Integrations: b.Integrations}, definitions: map[string]*integration.Definition{}}
	for _, i := range b.Integrations {
		d := i.Definition()
		s.definitions[d.Key] = d
	}
	p := &press{site: s, book: b, files: map[string][]byte{}, names: map[string]string{}}
	if err := p.parse(); err != nil {
		return nil, err
	}
	taken := map[string]bool{"index": true}
	for _, t := range b.Types {
		p.names[t.Key()] = unused(taken, fileName(t.Key()))
	}
	for _, name := range bookAssets {
		content, err := static.ReadFile("static/" + name)
		if err != nil {
			return nil, fmt.Errorf("the file %s of the pages is missing: %w", name, err)
		}
		p.files["assets/"+name] = content
	}
	body := &catalogPage{Title: b.Title, Static: true}
	body.Groups, body.All = s.typeGroups(b.Types, "", func(key string) string { return p.names[key] + ".html" })
	if err := p.draw(bookIndex, "catalog", b.Title, body); err != nil {
		return nil, err
	}
	for _, t := range b.Types {
		if err := p.chapter(ctx, t); err != nil {
			return nil, err
		}
	}
	return p.files, nil
}

// unused returns a name that no other has, not even where capitals do not count.
func unused(taken map[string]bool, name string) string {
	for n, try := 2, name; ; n++ {
		if low := strings.ToLower(try); !taken[low] {
			taken[low] = true
			return try
		}
		try = name + "-" + strconv.Itoa(n)
	}
}

// press makes the files of a book.
type press struct {
	site  *Site
	book  *Book
	pages map[string]*template.Template
	files map[string][]byte
	names map[string]string // of the types' pages, by key
}

// bookPage is what the shell of a book's page is drawn from.
type bookPage struct {
	Title, Book, Index string
	Body               any
}

func (p *press) parse() error {
	functions := p.site.functions()
	functions["asset"] = func(name string) string { return "assets/" + name }
	p.pages = map[string]*template.Template{}
	for _, name := range []string{"catalog", "type"} {
		t, err := template.New("").Funcs(functions).ParseFS(templates, "templates/parts.html", "templates/book.html", "templates/"+name+".html")
		if err != nil {
			return fmt.Errorf("the template of the page %q cannot be read: %w", name, err)
		}
		p.pages[name] = t
	}
	return nil
}

func (p *press) draw(file, template, title string, body any) error {
	var b bytes.Buffer
	if err := p.pages[template].ExecuteTemplate(&b, "page", &bookPage{Title: title, Book: p.book.Title, Index: bookIndex, Body: body}); err != nil {
		return fmt.Errorf("the page %s cannot be drawn: %w", file, err)
	}
	p.files[file] = b.Bytes()
	return nil
}

// chapter makes the page of a type and the files that belong to it.
func (p *press) chapter(ctx context.Context, t *catalog.Type) error {
	name := p.names[t.Key()]
	at := typeAddresses{
		index: bookIndex, example: "files/" + name + ".example.json", schema: "files/" + name + ".schema.json", mail: "files/" + name + ".mail.html",
		body: func(format string) string { return "files/" + name + "." + fileName(format) + ".json" },
	}
	body, shown := p.site.typeDocs(ctx, t, at)
	if err := p.draw(name+".html", "type", body.Title, body); err != nil {
		return err
	}
	p.keep(at.example, t.Spec().Example)
	p.keep(at.schema, t.Spec().Schema)
	if shown.Mail != nil {
		p.keep(at.mail, []byte(shown.Mail.HTML))
	}
	if shown.Webhook != nil {
		p.bodies(at, shown.Webhook)
	}
	return nil
}

func (p *press) bodies(at typeAddresses, w *reference.Webhook) {
	for i := range w.Formats {
		p.keep(at.body(w.Formats[i].Key), w.Formats[i].Body)
	}
}

// keep adds a file, unless there is nothing in it.
func (p *press) keep(name string, content []byte) {
	if len(content) > 0 {
		p.files[name] = content
	}
}
