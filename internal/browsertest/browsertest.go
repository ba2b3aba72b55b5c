// Package browsertest gives tests a real browser: Debian's Chromium without a window. One runs for a test binary, and each
// page is in a context of its own, with its own cookies. A page that writes an error to its console, breaks its own
// Content-Security-Policy or asks anything of another host fails its test.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/patchbay/patchbay/internal/nodetest"
)

// patience is how long a page may take. Only a test that fails uses it up.
const patience = 60 * time.Second

// height is the window's, in CSS pixels.
const height = 900

// names are what Chromium is called.
var names = []string{"/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"}

// shared is the browser of the test binary, which ends with it: Stop is called by Main.
var shared struct {
	sync.Mutex
	ctx  context.Context
	stop func()
	err  error
}

// Main runs the tests of a binary, and ends the browser after them. A TestMain calls it.
func Main(m *testing.M) int {
	code := m.Run()
	Stop()
	return code
}

// Stop ends the browser, if it runs.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.stop != nil {
		shared.stop()
	}
	shared.ctx, shared.stop, shared.err = nil, nil, nil
}

// browser returns the browser of the test binary.
func browser(t testing.TB) context.Context {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.ctx == nil && shared.err == nil {
		shared.ctx, shared.stop, shared.err = start()
	}
	if shared.err != nil {
		t.Fatalf("this test needs Chromium: %v", shared.err)
	}
	return shared.ctx
}

func start() (context.Context, func(), error) {
	var program string
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		return nil, nil, errors.New("it is not installed; on Debian, apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "patchbay-browser-")
	if err != nil {
		return nil, nil, err
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.NoFirstRun, chromedp.Headless,
		chromedp.DisableGPU,
	}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-extensions",
		"ignore-certificate-errors", "disable-default-apps", "disable-dev-shm-usage", "hide-scrollbars", "mute-audio", "no-pings", "metrics-recording-only",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	if os.Geteuid() == 0 { // Chromium's sandbox refuses root, as which builds in containers run
		options = append(options, chromedp.NoSandbox)
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	stop := func() {
		end()
		endAllocator()
		_ = os.RemoveAll(profile)
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, fmt.Errorf("it could not be started: %w", err)
	}
	return ctx, stop, nil
}

// Options say what kind of browser a page is in.
type Options struct {
	// NoScript turns scripts off.
	NoScript bool
	// Dark asks for dark colours.
	Dark bool
	// Width is the window's, in CSS pixels; 0 is 1280.
	Width int
	// Hosts are those that pages may ask beside the first one that was gone to, as host:port.
	Hosts []string
}

// Page is a tab with cookies of its own.
type Page struct {
	t   testing.TB
	o   Options
	ctx context.Context

	mu       sync.Mutex
	hosts    map[string]bool
	problems []string
	expected []string
}

// New opens a page. What it did wrong is told at the end of the test.
func New(t testing.TB, o Options) *Page {
	t.Helper()
	if o.Width == 0 {
		o.Width = 1280
	}
	p := &Page{t: t, o: o, hosts: map[string]bool{}}
	ctx, end := chromedp.NewContext(browser(t), chromedp.WithNewBrowserContext(), chromedp.WithListener(p.event))
	p.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as the context of its first action
		t.Fatalf("the browser could not open a page: %v", err)
	}
	for _, h := range o.Hosts {
		p.hosts[h] = true
	}
	scheme := "light"
	if o.Dark {
		scheme = "dark"
	}
	p.Run(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := cdp.Call(ctx, tab, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, tab, log.Enable, cdp.Empty{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: o.NoScript})
		return err
	}), chromedp.EmulateViewport(int64(o.Width), height))
	t.Cleanup(func() {
		end()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Errorf("the browser says: %s", problem)
		}
	})
	return p
}

// Frame returns the page in a frame of another site, whose address begins with a prefix, once it is there.
func Frame(p *Page, prefix string) *Page {
	p.t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); p.pause() {
		targets, err := chromedp.Targets(p.ctx)
		if err != nil {
			p.t.Fatalf("the browser does not say what it shows: %v", err)
		}
		for _, found := range targets {
			if found.Type != "iframe" || !strings.HasPrefix(found.URL, prefix) {
				continue
			}
			f := &Page{t: p.t, o: p.o, hosts: p.hosts}
			ctx, end := chromedp.NewContext(p.ctx, chromedp.WithTargetID(found.TargetID), chromedp.WithListener(f.event))
			p.t.Cleanup(end)
			f.ctx = ctx
			if err := chromedp.Do(ctx); err != nil {
				p.t.Fatalf("the frame cannot be looked into: %v", err)
			}
			return f
		}
	}
	p.t.Fatalf("there is no frame with a page of %s", prefix)
	return nil
}

// event looks for what a page must not do.
func (p *Page) event(e any) {
	switch e := e.(type) {
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.hosts[u.Host] {
			p.problems = append(p.problems, "a request to another host: "+e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		p.note("an exception: " + e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			var text []string
			for _, a := range e.Args {
				text = append(text, string(a.Value))
			}
			p.note("the console: " + strings.Join(text, " "))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.note(fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	}
}

func (p *Page) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range p.expected {
		if strings.Contains(text, part) {
			return
		}
	}
	p.problems = append(p.problems, text)
}

// Expect says that the browser may complain in words that hold a part, such as "status of 400", from now on.
func (p *Page) Expect(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, part)
}

// Run does what it is given, in order.
func (p *Page) Run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, actions...)
		if err == nil {
			return
		}
		// An answer may have put another element in the place of the one that was found: then nothing was done to it.
		if !strings.Contains(err.Error(), "ould not find node with given id") || ctx.Err() != nil {
			p.t.Fatalf("the browser could not do what the test wants: %v", err)
		}
		p.pause()
	}
}

// ask runs what returns something and changes nothing. A page may go elsewhere while it is asked, by a redirect or a script:
// then the next page is asked.
func ask[T any](p *Page, what chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		v, err := chromedp.Run(ctx, what)
		if err == nil {
			return v
		}
		if !left(err) || ctx.Err() != nil {
			p.t.Fatalf("the browser could not say what the test wants to know: %v", err)
		}
		p.pause()
	}
}

// left reports whether an error says that the page which was asked is not there any more.
func left(err error) bool {
	for _, says := range []string{"Inspected target navigated or closed", "Execution context was destroyed", "Cannot find context with specified id"} {
		if strings.Contains(err.Error(), says) {
			return true
		}
	}
	return false
}

// Go goes to an address, and waits until the page is there.
func (p *Page) Go(address string) {
	p.t.Helper()
	if u, err := url.Parse(address); err == nil {
		p.mu.Lock()
		p.hosts[u.Host] = true
		p.mu.Unlock()
	}
	p.Run(chromedp.Navigate(address))
}

// Press clicks on what a selector finds, and waits until the page that it leads to is there.
func (p *Page) Press(selector string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		p.t.Fatalf("pressing %s at %s: %v\n%s", selector, p.Address(), err, clip(p.Text("body")))
	}
}

// Click clicks on what a selector finds, when that leads nowhere.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.Run(chromedp.Click(chromedp.CSS(selector)))
}

// Type writes text into a field, in place of what is there.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	ask(p, chromedp.Evaluate[bool](fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.focus(); e.value = ""; return true })()`, selector)))
	p.Run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Keys presses keys, wherever the focus is.
func (p *Page) Keys(keys string) {
	p.t.Helper()
	p.Run(chromedp.KeyEvent(keys))
}

// maxTabs is how often Tab presses the key.
const maxTabs = 200

// Tab presses the Tab key until what a selector finds has the focus, and its ring can be seen.
func (p *Page) Tab(selector string) {
	p.t.Helper()
	for range maxTabs {
		p.Run(chromedp.KeyEvent(kb.Tab))
		switch Ask[string](p, fmt.Sprintf(`(e => !e.matches(%q) ? "" : getComputedStyle(e).outlineStyle)(document.activeElement)`, selector)) {
		case "":
		case "none":
			p.t.Fatalf("%s has the focus, and nothing shows it", selector)
		default:
			return
		}
	}
	p.t.Fatalf("at %s: %s cannot be reached with the Tab key", p.Address(), selector)
}

// Address returns where the page is.
func (p *Page) Address() string {
	p.t.Helper()
	return ask(p, chromedp.Location())
}

// Text returns what can be read in the elements that a selector finds.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	return ask(p, texts(selector))
}

// See waits until text can be read in what a selector finds.
func (p *Page) See(selector, text string) {
	p.t.Helper()
	var last string
	for until := time.Now().Add(patience); time.Now().Before(until); p.pause() {
		last = p.Text(selector)
		if strings.Contains(last, text) {
			return
		}
	}
	p.t.Fatalf("at %s: %q was not to be read in %s, but %s", p.Address(), text, selector, clip(last))
}

// texts reads the text of all elements that a selector finds. It works without scripts too: what a test evaluates is not
// the page's.
func texts(selector string) chromedp.Action[string] {
	return chromedp.Evaluate[string](fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText).join("\n")`, selector))
}

// Ask returns what an expression in JavaScript is worth.
func Ask[T any](p *Page, expression string) T {
	p.t.Helper()
	return ask(p, chromedp.Evaluate[T](expression))
}

// pause waits a moment before something is looked at again.
func (p *Page) pause() {
	select {
	case <-p.ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// Fits fails the test when the page is wider than its window.
func (p *Page) Fits() {
	p.t.Helper()
	wide := Ask[[]int](p, `[document.documentElement.scrollWidth, document.documentElement.clientWidth]`)
	if wide[0] > wide[1] {
		which := Ask[string](p, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
			.slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join("\n")`)
		p.t.Errorf("%s is %d pixels wide in a window of %d: %s", p.Address(), wide[0], wide[1], which)
	}
}

// violation is what axe-core says is wrong.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	} `json:"nodes"`
}

// Accessible fails the test for everything that axe-core finds wrong by WCAG 2.2 A and AA and by its best practices.
func (p *Page) Accessible() {
	p.t.Helper()
	source, err := os.ReadFile(nodetest.Path(p.t, "node_modules/axe-core/axe.min.js"))
	if err != nil {
		p.t.Fatal(err)
	}
	if p.o.NoScript {
		p.t.Fatal("axe-core is a script: check a page that has them")
	}
	ask(p, chromedp.Evaluate[int](string(source)+";0"))
	found := ask(p, chromedp.Evaluate[[]violation](
		`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => r.violations)`,
		chromedp.EvalAwaitPromise))
	for _, v := range found {
		for _, n := range v.Nodes {
			p.t.Errorf("%s is not accessible (%s: %s): %s\n%s", p.Address(), v.ID, v.Help, clip(n.HTML), n.FailureSummary)
		}
	}
}

// Shot writes a picture of the whole page, as PNG.
func (p *Page) Shot(file string) {
	p.t.Helper()
	png := ask(p, chromedp.FullScreenshot(100))
	if err := os.WriteFile(file, png, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func clip(s string) string {
	if len(s) > 600 {
		return s[:600] + "…"
	}
	return s
}
