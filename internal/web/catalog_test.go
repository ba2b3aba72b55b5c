package web_test

import (
	"html"
	"image/color"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/reference"
)

// hostileText is what somebody may write into a catalog.
const hostileText = `</td><script>alert(1)</script><img src=x onerror=alert(1)> & "quotes"`

// addTypes adds event types through the API: one of a product's own, and some that are made to break a page.
func (s *site) addTypes() {
	put := func(key string, in map[string]any) { s.api("PUT", "/v1/event-types/"+url.PathEscape(key), in) }
	put("shop/order.paid", map[string]any{
		"title": "Order paid", "description": "A customer paid.", "aliases": []string{"order_paid"},
		"schema": map[string]any{"type": "object", "required": []string{"id"}, "additionalProperties": false, "properties": map[string]any{
			"id":    map[string]any{"type": "integer", "minimum": 1, "description": "The order's number."},
			"by":    map[string]any{"oneOf": []any{map[string]any{"type": "object", "title": "Person", "properties": map[string]any{"name": map[string]any{"type": "string"}}}, map[string]any{"type": "string", "format": "email"}}},
			"state": map[string]any{"enum": []string{"open", "closed"}, "default": "open"},
			"parts": map[string]any{"type": "array", "items": map[string]any{"$ref": "#"}},
		}},
		"example": map[string]any{"id": 7}, "message": map[string]any{"title": "Order {{.payload.id}}", "overrides": map[string]any{"slack": map[string]any{"skip": true}}},
	})
	put("hostile", map[string]any{
		"title": strings.ReplaceAll(hostileText, "\n", " "), "description": hostileText,
		"schema":  map[string]any{"properties": map[string]any{"<script>": map[string]any{"description": hostileText, "enum": []string{hostileText}, "pattern": "<b>|scr"}}},
		"example": map[string]any{"<script>": hostileText}, "message": map[string]any{"text": "{{.payload}} " + "`x` {{get .payload `<script>`}}"},
	})
	put("bare", map[string]any{"title": "Bare"})
}

// TestCatalog goes through the catalog as somebody does who wants to receive events.
func TestCatalog(t *testing.T) {
	s := open(t)
	s.addTypes()
	p := s.signIn(browsertest.Options{})
	p.Press(`.side a[href="/catalog"]`)
	for _, group := range []string{"Rhodecode", "Rainforest", "Added here", "GitHub", "Always there"} {
		p.See("main", group)
	}
	p.Type("#catalog-search", "Pullrequest.MERGE")
	p.See("#status", "event type")
	if shown := browsertest.Ask[[]string](p, `[...document.querySelectorAll(".type-list code")].filter(e => e.checkVisibility()).map(e => e.textContent)`); len(shown) != 1 || shown[0] != "pullrequest.merge" {
		t.Errorf("a search for a title shows %v", shown)
	}
	if browsertest.Ask[bool](p, `[...document.querySelectorAll("h2")].some(e => e.textContent === "Rainforest" && e.checkVisibility())`) {
		t.Error("a group is there of which nothing is shown")
	}
	p.Press(`.type-list a[href="/catalog/pullrequest.merge"]`)
	p.See("h1", "Pull request merged")
	p.See(".outline", "repo_name")
	p.See("#reads", "merged")
	p.See("#webhook", "webhook-signature: v1,")
	p.See(`#payload a[href="/playground?type=pullrequest.merge"]`, "playground")

	// Tabs go by the keyboard, too.
	visible := func(text string) {
		t.Helper()
		if !browsertest.Ask[bool](p, `[...document.querySelectorAll(".panel")].some(e => e.checkVisibility() && e.textContent.includes(`+"`"+text+"`"+`))`) {
			t.Errorf("no panel shows %q", text)
		}
	}
	visible("Verify reports whether")
	p.Tab(`input[name=language]`)
	p.Keys(kb.ArrowRight)
	visible("timingSafeEqual")
	p.Keys(kb.ArrowRight)
	visible("def verify")

	p.Go(s.url + "/catalog/shop/order.paid")
	for _, says := range []string{"Order paid", "order_paid", "Added through the API", "required", "at least 1", "Form 1 of 2", "Person", `"closed"`, "no other fields", "The same fields as the payload itself", "Slack gets no events of this type"} {
		p.See("main", says)
	}
	p.Accessible()
	p.Go(s.url + "/catalog/hostile")
	p.See("#example-json", "alert(1)")
	p.Accessible()
	p.Go(s.url + "/catalog/bare")
	p.See("#payload", "the catalog does not say what is in it")
	p.See("#reads", "made of an empty payload")
	p.Go(s.url + "/catalog/order_paid")
	if got := p.Address(); got != s.url+"/catalog/shop/order.paid" {
		t.Errorf("an alias leads to %s", got)
	}
	p.Expect("status of 404")
	p.Go(s.url + "/catalog/nothing.like.it")
	p.See("main", "There is no event type")
}

// TestCatalogMail: a mail is shown in a frame in which nothing can run, whatever is in it.
func TestCatalogMail(t *testing.T) {
	s := open(t)
	s.addTypes()
	p := s.signIn(browsertest.Options{Width: 390})
	p.Go(s.url + "/catalog/hostile")
	p.Click(`input[name=reads][value=mail]`)
	if n := browsertest.Ask[int](p, `document.querySelectorAll("iframe[sandbox='']").length`); n != 1 {
		t.Errorf("there are %d sandboxed frames", n)
	}
	p.See(".mail", "you@example.com")
	p.Fits()
	p.Accessible()
	a := s.signedIn().do("GET", "/catalog/hostile?as=mail", nil)
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "<img") || !strings.Contains(a.body, "&lt;script") {
		t.Errorf("the mail is %s", a.body)
	}
	policy := a.header.Get("Content-Security-Policy")
	for _, says := range []string{"default-src 'none'", "sandbox", "frame-ancestors 'self'"} {
		if !strings.Contains(policy, says) {
			t.Errorf("its policy does not say %s: %s", says, policy)
		}
	}
	if strings.Contains(policy, "script-src") || strings.Contains(policy, "allow-") {
		t.Errorf("its policy allows too much: %s", policy)
	}
}

// TestCatalogFiles: what can be downloaded is what the catalog says, and what is signed, to the byte.
func TestCatalogFiles(t *testing.T) {
	s := open(t)
	s.addTypes()
	v := s.signedIn()
	wh, err := standardwebhooks.NewWebhook(reference.Secret)
	if err != nil {
		t.Fatal(err)
	}
	page := v.do("GET", "/catalog/shop/order.paid", nil).body
	for path, want := range map[string]string{
		"/catalog/shop/order.paid?as=example": `{"id":7}`,
		"/catalog/shop/order.paid?as=schema":  `"additionalProperties":false`,
	} {
		a := v.do("GET", path, nil)
		if a.status != 200 || !strings.Contains(strings.ReplaceAll(a.body, " ", ""), want) || !strings.Contains(a.header.Get("Content-Disposition"), `filename="shop-order.paid.`) {
			t.Errorf("%s: %d %v %s", path, a.status, a.header, a.body)
		}
		if !strings.Contains(page, strings.ReplaceAll(path, "&", "&amp;")) {
			t.Errorf("the page does not lead to %s", path)
		}
	}
	signature := regexp.MustCompile(`webhook-id: (\S+)\nwebhook-timestamp: (\d+)\nwebhook-signature: (\S+)`)
	found := signature.FindAllStringSubmatch(html.UnescapeString(page), -1)
	formats := []string{"envelope", "flat", "standard", "payload", "cloudevents"}
	if len(found) != len(formats) {
		t.Fatalf("%d requests are on the page", len(found))
	}
	for i, format := range formats {
		body := v.do("GET", "/catalog/shop/order.paid?as=webhook&format="+format, nil).body
		h := http.Header{"Webhook-Id": {found[i][1]}, "Webhook-Timestamp": {found[i][2]}, "Webhook-Signature": {found[i][3]}}
		if err := wh.VerifyIgnoringTimestamp([]byte(body), h); err != nil {
			t.Errorf("%s: what is on the page does not fit what can be downloaded: %v\n%s", format, err, body)
		}
	}
	for path, status := range map[string]int{
		"/catalog/bare?as=example": 404, "/catalog/bare?as=schema": 404, "/catalog/bare?as=webhook&format=xml": 404, "/catalog/bare?as=nonsense": 404,
		"/catalog/shop/order.paid/": 301, "/catalog/": 301,
	} {
		if a := v.do("GET", path, nil); a.status != status {
			t.Errorf("%s was answered %d, want %d", path, a.status, status)
		}
	}
	for _, path := range []string{"/catalog", "/catalog/bare", "/catalog/shop/order.paid?as=example", "/catalog/bare?as=mail"} {
		if a := s.visit().do("GET", path, nil); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
			t.Errorf("%s: somebody who has not signed in gets %d", path, a.status)
		}
	}
}

// TestCatalogOddKeys: a key that means something else in an address has a page all the same.
func TestCatalogOddKeys(t *testing.T) {
	name := filepath.Join(t.TempDir(), "odd.yaml")
	keys := []string{"..", "a//b", "x/", "catalog/../y", "a:b", "-"}
	source := "version: 1\ntypes:\n"
	for _, k := range keys {
		source += "  - {key: \"" + k + "\", title: \"Title of " + k + "\"}\n"
	}
	if err := os.WriteFile(name, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, func(c *config.Config) { c.Catalog = []string{name} })
	v := s.signedIn()
	list := v.do("GET", "/catalog", nil).body
	for _, k := range keys {
		i := strings.Index(list, ">Title of "+k+"<")
		if i < 0 {
			t.Fatalf("%s is not in the list", k)
		}
		href := list[:i]
		href = html.UnescapeString(strings.TrimSuffix(href[strings.LastIndex(href, `href="`)+6:], `"`))
		u, err := url.Parse(href)
		if err != nil || path.Clean(u.Path) != u.Path {
			t.Errorf("%s has the address %s", k, href)
		}
		a := v.do("GET", href, nil)
		if a.status != 200 || !strings.Contains(a.body, "<h1>Title of "+k+"</h1>") {
			t.Errorf("%s: %s was answered %d", k, href, a.status)
		}
	}
}

// TestCatalogWithoutScripts: the search and the tabs work, and everything can be read.
func TestCatalogWithoutScripts(t *testing.T) {
	s := open(t)
	p := s.signIn(browsertest.Options{NoScript: true})
	p.Go(s.url + "/catalog")
	p.Type("#catalog-search", "merged")
	p.Press("form.search button")
	p.See(".type-list", "pullrequest.merge")
	if text := p.Text("main"); strings.Contains(text, "repo.push") {
		t.Error("the search finds everything")
	}
	p.Press(`.type-list a`)
	if !strings.Contains(p.Text("#verify"), "Verify reports") || strings.Contains(p.Text("#verify"), "hash_equals") {
		t.Error("not the code of the first language is shown")
	}
	p.Click(`input[name=language][value=php]`)
	if text := p.Text("#verify"); strings.Contains(text, "Verify reports") || !strings.Contains(text, "hash_equals") {
		t.Error("not the code of the chosen language is shown")
	}
	p.Go(s.url + "/catalog?q=nothing+like+it")
	p.See(".empty", "No event type fits")
	p.Press(".empty a")
	p.See("main", "Rainforest")
}

// TestCatalogForCustomers: they read it in their portal, also in a frame of the host product's page, mails included.
func TestCatalogForCustomers(t *testing.T) {
	host := newHost(t)
	s := open(t, func(c *config.Config) { c.PortalFrames = []string{host.address()} })
	p := s.page(browsertest.Options{Hosts: []string{strings.TrimPrefix(host.address(), "https://")}})
	host.frame(s.portal("acme/teams/42", "view"))
	p.Go(host.address())
	frame := browsertest.Frame(p, s.url)
	click := func(selector string) {
		t.Helper()
		browsertest.Ask[bool](frame, `(setTimeout(() => document.querySelector(`+"`"+selector+"`"+`).click()), true)`)
	}
	frame.See("h1", "Your links")
	click(`.nav a[href="/catalog"]`)
	frame.See("h1", "Event types")
	click(`.type-list a[href="/catalog/repo.push"]`)
	frame.See("h1", "Repository push")
	frame.See("#webhook", "webhook-signature")
	click(`input[name=reads][value=mail]`)
	frame.See(".mail", "you@example.com")
	browsertest.Ask[bool](frame, `(document.querySelector(".mail iframe").scrollIntoView(), true)`)
	// The frame is of no origin, so nothing can look into it: the colour of the mail's bar and button must be on the screen.
	drawn := 0
	for until := time.Now().Add(time.Minute); drawn < 2000 && time.Now().Before(until); {
		drawn = pixels(t, p, color.RGBA{0x25, 0x63, 0xc9, 0xff})
	}
	if drawn < 2000 {
		t.Errorf("the mail is not drawn in the frame: %d pixels have its colour", drawn)
	}
}

// pixels counts those of a colour on the screen.
func pixels(t *testing.T, p *browsertest.Page, c color.RGBA) int {
	t.Helper()
	name := filepath.Join(t.TempDir(), "screen.png")
	p.Shot(name)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	screen, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for y := range screen.Bounds().Dy() {
		for x := range screen.Bounds().Dx() {
			if color.RGBAModel.Convert(screen.At(x, y)) == c {
				n++
			}
		}
	}
	return n
}
