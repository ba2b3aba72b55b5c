package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
)

// TestKeys makes a key, sees its token once, signs in with it, and deletes it with what stands on it; with and without scripts.
func TestKeys(t *testing.T) {
	s := open(t)
	for _, o := range []browsertest.Options{{Width: 390}, {Width: 1440, Dark: true, NoScript: true}} {
		p := s.signIn(o)
		p.Expect("status of 400")
		p.Expect("status of 409")
		p.Go(s.url + "/keys")
		p.See("tbody", "first administrator")
		p.See("tbody", "Yours")
		if strings.Contains(p.Text("main"), "Delete") {
			t.Error("the viewer's own key can be deleted")
		}
		p.Press(`main a[href="/keys/new"]`)
		p.Click(`input[value=publish]`) // nothing is left
		p.Type("#f-scope", "acme//x")
		p.Press("main button.primary")
		p.See("#problems", "segment")
		if !o.NoScript {
			p.Accessible()
		}
		p.Type("#f-scope", "acme")
		p.Press("main button.primary")
		p.See("#problems", "Name at least one of publish")
		p.Type("#f-name", "The shop's <b>key</b>")
		p.Click(`input[value=read]`)
		p.Click(`input[value=publish]`)
		p.Press("main button.primary")
		p.See(".notice.ok", "The shop's <b>key</b> is made.")
		p.Fits()
		token := browsertest.Ask[string](p, `document.querySelector(".copy input").value`)
		if !strings.HasPrefix(token, "pk_") {
			t.Fatalf("the token is %q", token)
		}
		p.Go(s.url + "/keys")
		if strings.Contains(p.Text("body"), token) || browsertest.Ask[bool](p, `!!document.querySelector(".copy")`) {
			t.Error("the token is shown again")
		}
		p.See("tbody", "publish")

		shop := s.page(browsertest.Options{})
		shop.Expect("status of 403")
		shop.Expect("status of 404")
		shop.Go(s.url + "/sign-in")
		shop.Type("#key", token)
		shop.Press("main button.primary")
		shop.See(".who", "The shop's <b>key</b>")
		shop.See(".who", "Viewer in acme")
		if strings.Contains(shop.Text(".side"), "Keys") {
			t.Error("somebody who may only look is led to the keys")
		}
		shop.Go(s.url + "/keys")
		shop.See("h1", "You may not do that")

		p.Press(`main a.danger`)
		p.See("h1", "Delete The shop's <b>key</b>?")
		p.See("main", "These sessions end")
		p.See(".ends", "Who signed in")
		if !o.NoScript {
			p.Accessible()
		}
		p.Fits()
		p.Press("main button.danger")
		p.See(".notice.ok", "is deleted")
		shop.Go(s.url + "/")
		shop.See("h1", "Sign in to Patchbay")
	}
}

// TestKeysWithinAScope: an administrator of a part sees and makes keys of that part alone.
func TestKeysWithinAScope(t *testing.T) {
	var provider string
	s := open(t, withProvider(t, &provider), func(*config.Config) {})
	other := s.api("POST", "/v1/keys", map[string]any{"name": "elsewhere", "scope": "other", "permissions": []string{"read"}})["id"].(string)
	v := s.come("saul") // an administrator of acme
	if a := v.do("GET", "/keys", nil); a.status != http.StatusOK || strings.Contains(a.body, "elsewhere") || strings.Contains(a.body, "first administrator") {
		t.Errorf("%d: the list has keys of others", a.status)
	}
	if a := v.do("GET", "/keys/"+other+"/delete", nil); a.status != http.StatusNotFound {
		t.Errorf("a key of others is answered %d", a.status)
	}
	if a := v.do("POST", "/keys/"+other+"/delete", url.Values{}); a.status != http.StatusNotFound {
		t.Errorf("deleting a key of others is answered %d", a.status)
	}
	for _, scope := range []string{"", "other", "acmex"} {
		if a := v.do("POST", "/keys", url.Values{"scope": {scope}, "permission": {"read"}}); a.status != http.StatusForbidden || !strings.Contains(a.body, `id="problems"`) {
			t.Errorf("making a key for %q is answered %d", scope, a.status)
		}
	}
	day := time.Now().UTC().AddDate(0, 0, 3).Format(time.DateOnly)
	if a := v.do("POST", "/keys", url.Values{"scope": {"acme/x"}, "permission": {"read"}, "expires": {day}}); a.status != http.StatusSeeOther {
		t.Errorf("making a key below is answered %d: %s", a.status, a.body)
	}
	if a := v.do("GET", "/keys", nil); !regexp.MustCompile(`Soon</span> <time datetime="[0-9T:.Z-]+"`).MatchString(a.body) {
		t.Errorf("a key that ends on %s is not marked: %s", day, a.body)
	}
	for _, expires := range []string{"tomorrow", "2001-01-01"} {
		if a := v.do("POST", "/keys", url.Values{"scope": {"acme"}, "permission": {"read"}, "expires": {expires}}); a.status != http.StatusBadRequest || !strings.Contains(a.body, "f-expires-error") {
			t.Errorf("expiring %s is answered %d", expires, a.status)
		}
	}
	for _, login := range []string{"vera", "otto", "sue"} {
		v := s.come(login)
		for method, paths := range map[string][]string{"GET": {"/keys", "/keys/new", "/keys/" + other + "/delete"}, "POST": {"/keys", "/keys/" + other + "/delete"}} {
			for _, path := range paths {
				var form url.Values
				if method == "POST" {
					form = url.Values{"permission": {"read"}}
				}
				if a := v.do(method, path, form); a.status != http.StatusForbidden {
					t.Errorf("%s: %s %s is answered %d", login, method, path, a.status)
				}
			}
		}
	}
}
