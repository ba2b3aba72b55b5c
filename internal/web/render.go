package web

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog/outline"
	"github.com/patchbay/patchbay/internal/web/compose"
)

//go:embed templates
var templates embed.FS

// page is what the shell of every page is drawn from.
type page struct {
	// Title is the document's, Nav the part of the navigation that it belongs to.
	Title, Nav string
	// Narrow pages are about one thing, such as signing in.
	Narrow bool
	// SignedIn people see the navigation; in a portal it has what the portal has.
	SignedIn, Portal bool
	Theme            theme
	// Return is the host product's page to go back to.
	Return string
	// Home is the settings page of the viewer's own scope.
	Home string
	// Who is the operator who looks.
	Who who
	// caller is the same, for what only some see.
	caller *access.Caller
	// Note is what came of what was done before.
	Note *note
	// Status is what a screen reader is told when parts of the page are replaced.
	Status string
	Body   any
}

// who is an operator as the foot of the navigation names them. SignedIn is false where nobody needs to sign in.
type who struct {
	Name, Role string
	Scope      patchbay.Scope
	SignedIn   bool
}

// note says what came of something, on the next page.
type note struct {
	// Kind is ok, warn, bad or "".
	Kind  string `json:"k"`
	Title string `json:"t"`
	Text  string `json:"x,omitempty"`
	// Secrets were made for a link, and are shown this once: names and values.
	Secrets [][2]string `json:"s,omitempty"`
}

// secrets are what was made for a link and is shown this once.
func (n *note) secrets() [][2]string {
	if n == nil {
		return nil
	}
	return n.Secrets
}

// samples are the pages that there are, each with what it is drawn from, empty: New draws them all, so that a template
// that is missing or cannot be drawn is found before anybody sees it.
func samples() map[string]any {
	return map[string]any{
		"inbox":      &inboxPage{},
		"audit":      &auditPage{Days: []auditDay{{Acts: []act{{Changes: []actChange{{}}}}}}},
		"deliveries": &deliveriesPage{}, "delivery": &deliveryPage{}, "delivery-ask": &deliveryAsk{},
		"jobs": &jobsPage{}, "job": &jobPage{}, "job-new": &newJobPage{},
		"overview": &overviewPage{}, "integration": &integrationPage{}, "gallery": &galleryPage{}, "link": &linkPage{}, "delete": &deletePage{}, "settings": &settingsPage{},
		"installation": &installationPage{About: &aboutPart{}, Secrets: &secretsPart{}, Rotate: true, Sessions: &sessionsPart{}, Look: &lookPart{}},
		"keys":         &keysPage{}, "key-new": &newKeyPage{}, "key-delete": &keyPage{},
		"sign-in": &signInPage{}, "portal": nil, "problem": &problemPage{}, "connect": &connectPage{},
		"links": &linksPage{}, "one-link": &oneLinkPage{}, "resume": &resumePage{}, "rotate": &rotatePage{}, "connections": &connectionsPage{},
		"connection": &connectionPage{}, "hooks": &hooksPage{}, "hook": &hookPage{},
		"playground": &playgroundPage{Type: &composedType{}, Form: compose.New(nil, []byte("{}"), nil), Result: &dryRun{}},
		"catalog":    &catalogPage{}, "type": &typePage{Outline: &outline.Outline{}},
		"find": &findPage{}, "events": &eventsPage{}, "event": &eventPage{}, "replay": &replayPage{},
	}
}

// parse reads every template and draws it once.
func (s *Site) parse() error {
	base, err := template.New("").Funcs(s.functions()).ParseFS(templates, "templates/base.html", "templates/parts.html")
	if err != nil {
		return fmt.Errorf("web: the templates cannot be read: %w", err)
	}
	s.pages = map[string]*template.Template{}
	for name, sample := range samples() {
		t, err := base.Clone()
		if err != nil {
			return fmt.Errorf("web: the templates cannot be copied: %w", err)
		}
		if _, err = t.ParseFS(templates, "templates/"+name+".html"); err != nil {
			return fmt.Errorf("web: the template of the page %q cannot be read: %w", name, err)
		}
		if err := t.ExecuteTemplate(io.Discard, "page", &page{SignedIn: true, Theme: s.theme, Note: &note{}, Body: sample}); err != nil {
			return fmt.Errorf("web: the page %q cannot be drawn: %w", name, err)
		}
		s.pages[name] = t
	}
	return nil
}

// functions are what templates can call.
func (s *Site) functions() template.FuncMap {
	return template.FuncMap{
		"asset":      func(name string) (string, error) { return s.assets.address(name) },
		"mark":       s.mark,
		"navigation": navigation,
		"title": func(key string) string {
			if d := s.definitions[key]; d != nil {
				return d.Title
			}
			return key
		},
		"settings": settingsPath,
		"scope":    scopeName,
		"time":     func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") },
		"exact":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05.000 UTC") },
		"stamp":    func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") },
		"count":    count,
		"day":      func(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006") },
		"sentence": sentence,
		"figure":   figure,
		"lower":    strings.ToLower,
		"pair":     func(a, b string) [2]string { return [2]string{a, b} },
	}
}

// count spells a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// settingsPath is the address of a scope's settings page. What a segment may hold needs no escaping in a path.
func settingsPath(scope patchbay.Scope) string { return "/settings/" + string(scope) }

// scopeName is how a scope is called on pages.
func scopeName(scope patchbay.Scope) string {
	if scope == "" {
		return "the whole installation"
	}
	return string(scope)
}

// link makes an address with a query; pairs whose value is empty are left out.
func link(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// show answers with a page.
func (c *call) show(status int, name string, p *page) error {
	if status >= http.StatusBadRequest && !wantsHTML(c.r) {
		return c.tell(status, p)
	}
	p.Theme = c.theme
	if c.who != nil {
		p.SignedIn, p.Portal, p.Return = true, c.who.Portal, c.session.Return
		p.Home = settingsPath(c.who.Scope)
		p.caller = c.who
		p.Who = who{Name: c.session.Name, Role: roleWord(c.session.Role), Scope: c.who.Scope, SignedIn: c.session.ID != 0}
	}
	if p.Note == nil {
		p.Note = c.takeNote()
	}
	var b bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&b, "page", p); err != nil {
		return patchbay.Internal("drawing the page "+name, err)
	}
	c.secure()
	c.send(status, b.Bytes(), len(p.Note.secrets()) > 0)
	return nil
}

// secure says what the page may load, and who may show it in a frame. Forms only ever go to our own pages: those that
// begin a sign-in at a partner are links, because browsers apply form-action to where a form is redirected to as well
// (https://www.w3.org/TR/CSP3/#form-action-pre-navigate).
func (c *call) secure() {
	frames := "'none'"
	switch {
	case c.framed() || c.who == nil && c.r.URL.Path == "/portal" && len(c.o.FrameAncestors) > 0:
		frames = strings.Join(c.o.FrameAncestors, " ")
	default:
		c.w.Header().Set("X-Frame-Options", "DENY")
	}
	images := "'self' data:"
	if c.theme.logoOrigin != "" {
		images += " " + c.theme.logoOrigin
	}
	if c.frames {
		images += "; frame-src 'self'"
	}
	c.w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src "+images+
		"; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "+frames)
}

// framed reports whether the page may stand in a frame of the host product's page.
func (c *call) framed() bool { return c.who != nil && c.who.Portal && len(c.o.FrameAncestors) > 0 }

// noteName is the cookie that carries a note from one answer to the next page. It may hold a secret that was made for a
// link, for the moment between the two, and is nobody else's than that browser's.
func (s *Site) noteName() string {
	if s.o.Secure {
		return "__Host-patchbay-note"
	}
	return "patchbay-note"
}

// noteLasts is how long a note waits for its page, in seconds.
const noteLasts = 60

// maxNote keeps a note within what browsers take for a cookie (RFC 6265, 6.1).
const maxNote = 3800

// leave leaves a note for the next page.
func (c *call) leave(n *note) {
	value := c.written(n)
	if len(value) > maxNote {
		short := *n
		short.Text = ""
		value = c.written(&short)
	}
	c.setNote(value, noteLasts)
}

// sealedNote begins a note that has secrets. They travel sealed, so that nobody reads them who comes by the cookie.
const sealedNote = "sealed."

// written is a note as its cookie carries it.
func (c *call) written(n *note) string {
	raw, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings always marshal
	}
	if len(n.Secrets) == 0 {
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return sealedNote + c.drafts.hide(c.r.Context(), raw, c.notePlace())
}

// notePlace is where a note with secrets belongs: it is read in the session that it was left in, and nowhere else.
func (c *call) notePlace() string { return "note " + c.who.Session.String() + " " + c.who.Name }

func (c *call) setNote(value string, lasts int) {
	cookie := &http.Cookie{
		Name: c.noteName(), Value: value, Path: "/", MaxAge: lasts, HttpOnly: true, Secure: c.o.Secure, SameSite: http.SameSiteLaxMode,
	}
	if c.o.Secure && c.framed() {
		cookie.SameSite, cookie.Partitioned = http.SameSiteNoneMode, true
	}
	http.SetCookie(c.w, cookie)
}

// takeNote returns the note that was left for this page and takes it away; nil when there is none.
func (c *call) takeNote() *note {
	cookie, err := c.r.Cookie(c.noteName())
	if err != nil || c.who == nil {
		return nil
	}
	c.setNote("", -1)
	raw, _ := base64.RawURLEncoding.DecodeString(cookie.Value) // what is no note does not unmarshal either
	if sealed, ok := strings.CutPrefix(cookie.Value, sealedNote); ok {
		raw = c.drafts.reveal(c.r.Context(), sealed, c.notePlace())
	}
	var n note
	if json.Unmarshal(raw, &n) != nil {
		return nil
	}
	return &n
}

// sentence makes a sentence of an error's text, which begins in the middle of one: "must be …" says what about what.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	for _, verb := range []string{"is ", "must ", "has ", "needs ", "cannot ", "looks ", "may ", "holds "} {
		if strings.HasPrefix(text, verb) {
			text = "This " + text
			break
		}
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.ContainsRune(".!?…", rune(text[len(text)-1])) {
		text += "."
	}
	return text
}
