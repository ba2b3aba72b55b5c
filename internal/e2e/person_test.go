package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// front is what stands between the world and the program: it ends TLS, and passes on bytes as they are.
type front struct {
	URL string
	// Transport trusts its certificate.
	Transport http.RoundTripper
}

func newFront(t *testing.T, port string) *front {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate, and a client that trusts it
	t.Cleanup(certified.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	var owned sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		certified.Client().CloseIdleConnections()
		owned.Wait()
	})
	owned.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			owned.Go(func() { pass(in, "127.0.0.1:"+port) })
		}
	})
	return &front{URL: "https://" + l.Addr().String(), Transport: certified.Client().Transport}
}

// pass carries bytes both ways until one side has enough.
func pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(out, in)
		_ = out.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(in, out)
	_ = in.Close()
	there.Wait()
}

// person is somebody with a browser that has no scripts.
type person struct {
	t      *testing.T
	http   *http.Client
	origin string
	server *server
	at     *url.URL
	page   string
}

func newPerson(t *testing.T, s *server, front *front) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, server: s, origin: front.URL, at: at, http: &http.Client{Jar: jar, Timeout: time.Minute, Transport: front.Transport}}
}

func (p *person) do(method, to string, form url.Values) int {
	p.t.Helper()
	target, err := p.at.Parse(to)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequest(method, target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", p.origin)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", method, target, err, p.server.logs)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", method, target, err, p.server.logs)
	}
	p.at, p.page = resp.Request.URL, string(body)
	return resp.StatusCode
}

// open goes to a page.
func (p *person) open(to string) *person {
	p.t.Helper()
	if status := p.do("GET", to, nil); status != 200 {
		p.t.Fatalf("%s was answered %d:\n%s", to, status, text(p.page))
	}
	return p
}

// arrives fails unless the person is at a path.
func (p *person) arrives(path string) {
	p.t.Helper()
	if p.at.Path != path || p.at.Scheme+"://"+p.at.Host != p.origin {
		p.t.Fatalf("the page is %s, want %s:\n%s", p.at, path, text(p.page))
	}
}

// reads fails unless the page says all of something.
func (p *person) reads(words ...string) {
	p.t.Helper()
	shown := text(p.page)
	for _, w := range words {
		if !strings.Contains(shown, w) {
			p.t.Errorf("%s does not say %q:\n%s", p.at, w, shown)
		}
	}
}

// link returns where a link leads whose text begins with something.
func (p *person) link(begins string) string {
	p.t.Helper()
	root, err := html.Parse(strings.NewReader(p.page))
	if err != nil {
		p.t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && strings.HasPrefix(words(n), begins) {
			return attribute(n, "href")
		}
	}
	p.t.Fatalf("%s has no link %q:\n%s", p.at, begins, text(p.page))
	return ""
}

// fields returns what the page's form with an action (or any, with "") would send, untouched.
func (p *person) fields(action string) (to string, out url.Values) {
	p.t.Helper()
	root, err := html.Parse(strings.NewReader(p.page))
	if err != nil {
		p.t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" || !strings.EqualFold(attribute(n, "method"), "post") || !strings.HasPrefix(attribute(n, "action"), action) {
			continue
		}
		out = url.Values{}
		for f := range n.Descendants() {
			if f.Type == html.ElementNode {
				field(f, out)
			}
		}
		return attribute(n, "action"), out
	}
	p.t.Fatalf("%s has no form for %q:\n%s", p.at, action, p.page)
	return "", nil
}

// field adds what one element of a form sends.
func field(n *html.Node, out url.Values) {
	name := attribute(n, "name")
	switch kind := attribute(n, "type"); {
	case name == "" || n.Data == "button":
	case n.Data == "input" && (kind == "checkbox" || kind == "radio"):
		if has(n, "checked") {
			out.Add(name, attribute(n, "value"))
		}
	case n.Data == "input":
		out.Add(name, attribute(n, "value"))
	case n.Data == "textarea":
		out.Add(name, words(n))
	case n.Data == "select":
		first, chosen := "", ""
		for o := range n.Descendants() {
			if o.Type == html.ElementNode && o.Data == "option" {
				if first == "" {
					first = attribute(o, "value")
				}
				if has(o, "selected") {
					chosen = attribute(o, "value")
				}
			}
		}
		if chosen == "" {
			chosen = first
		}
		out.Add(name, chosen)
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// words is the text in an element.
func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

var blanks = regexp.MustCompile(`\s+`)

// text is what a page says.
func text(page string) string {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return page
	}
	var b strings.Builder
	for d := range root.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" && d.Parent.Data != "script" {
			b.WriteString(d.Data + " ")
		}
	}
	return blanks.ReplaceAllString(b.String(), " ")
}

// await waits until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("after 90 s it is not so that %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
