package web

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/secret"
)

func everything() integration.Spec {
	return integration.Spec{
		{Key: "text", Title: "Text", Type: integration.TypeText}, {Key: "n", Title: "N", Type: integration.TypeInteger, Default: 3},
		{Key: "on", Title: "On", Type: integration.TypeBoolean}, {Key: "list", Title: "List", Type: integration.TypeList},
		{Key: "map", Title: "Map", Type: integration.TypeMap}, {Key: "hidden", Title: "Hidden", Type: integration.TypeMap, Secret: true},
		{Key: "pin", Title: "PIN", Type: integration.TypeString, Secret: true},
		{Key: "in", Title: "In", Type: integration.TypeObject, Fields: integration.Spec{
			{Key: "user", Title: "User", Type: integration.TypeString}, {Key: "word", Title: "Word", Type: integration.TypeString, Secret: true},
		}},
	}
}

// TestFormsComeBackAsTheyWere: what is stored, shown in a form and sent back unchanged, changes nothing.
func TestFormsComeBackAsTheyWere(t *testing.T) {
	stored := json.RawMessage(`{"text":"a\nb","n":12345678901234567,"on":true,"list":["x","y z"],"map":{"a":"1","b":""},"hidden":{"X-Key":"a long secret value"},
		"pin":"1234567890123456","in":{"user":"ann","word":"correct horse battery"}}`)
	spec := everything()
	f := settingsForm{spec: spec, prefix: "settings.", stored: decode(spec.Mask(stored))}
	f.fill()
	for _, values := range f.sent {
		for _, v := range values {
			if strings.Contains(v, "secret") || strings.Contains(v, "horse") || strings.Contains(v, "123456789012345") && v != "12345678901234567" {
				t.Errorf("the form holds %q", v)
			}
		}
	}
	patch, secrets, err := f.settings()
	if err != nil || len(secrets) != 0 {
		t.Fatalf("secrets %v, error %v", secrets, err)
	}
	now, err := spec.Merge(stored, patch)
	if err != nil {
		t.Fatal(err)
	}
	if now, err = spec.Check(now, integration.CheckOptions{}); err != nil { // which turns text into numbers
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(stored), decode(now)); diff != "" {
		t.Errorf("the settings changed (-before +after):\n%s", diff)
	}
}

// TestTakingAway: an emptied field, and one that is marked, are gone afterwards.
func TestTakingAway(t *testing.T) {
	stored := json.RawMessage(`{"text":"a","on":true,"list":["x"],"map":{"a":"1"},"pin":"1234567890123456","in":{"user":"ann","word":"correct horse"}}`)
	spec := everything()
	f := settingsForm{spec: spec, prefix: "settings.", stored: decode(spec.Mask(stored)), sent: url.Values{"settings.pin.remove": {"true"}, "settings.in.remove": {"true"}}}
	patch, _, err := f.settings()
	if err != nil {
		t.Fatal(err)
	}
	now, err := spec.Merge(stored, patch)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"on": false}, decode(now)); diff != "" {
		t.Errorf("what is left is not what should be (-want +got):\n%s", diff)
	}
}

// FuzzForm: whatever is sent, the form can be read, drawn and read again.
func FuzzForm(f *testing.F) {
	f.Add("settings.text=a&settings.n=x&settings.on=true&settings.list=a%0Ab&settings.map.k.0=a&settings.map.v.0=b&settings.in.user=u&settings.pin=p")
	f.Add("settings.in.remove=true&settings.hidden.k.99=a&settings.hidden.v.99=%ff")
	f.Fuzz(func(t *testing.T, query string) {
		sent, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		form := settingsForm{spec: everything(), prefix: "settings.", sent: sent}
		raw, _, err := form.settings()
		if err != nil || !json.Valid(raw) {
			t.Fatalf("%q was read as %s (%v)", query, raw, err)
		}
		for _, x := range form.fields() {
			if x.Secret && x.Value != "" {
				t.Errorf("a secret is shown: %q", x.Value)
			}
		}
	})
}

// FuzzLocal: what one is sent to always lies on this site, as browsers read addresses.
func FuzzLocal(f *testing.F) {
	for _, seed := range []string{"/settings/acme?x=1", "//evil.example", `/\evil.example`, "/\t/evil.example", "https://evil.example", "/%2f%2fevil"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://patchbay.example/sign-in")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, to string) {
		got := local(to, "/")
		u, err := base.Parse(strings.ReplaceAll(got, `\`, "/")) // browsers take one for the other
		if err != nil {
			return // browsers stay where they are
		}
		if u.Host != base.Host || u.Scheme != base.Scheme {
			t.Errorf("%q leads to %s", to, u)
		}
	})
}

// TestAccentsCanBeRead: whatever colour a product has, text in it and on it has enough contrast.
func TestAccentsCanBeRead(t *testing.T) {
	for _, accent := range []string{"#ffcc00", "#000000", "#ffffff", "#777777", "#00ff00", "#1f57c3", "#e8590c", "#808000", "#ff0000"} {
		c, ok := parseColour(accent)
		if !ok {
			t.Fatal(accent)
		}
		for name, ground := range map[string]colour{"light": lightGround, "dark": darkGround} {
			shown := c.readable(ground)
			if got := shown.contrast(ground); got < 4.5 {
				t.Errorf("%s on %s has a contrast of %.2f", accent, name, got)
			}
			tokens := shown.tokens(ground)
			if ink := (colour{255, 255, 255}); !strings.Contains(tokens, "--accent-ink:#ffffff") {
				ink = colour{0x10, 0x12, 0x10}
				if shown.contrast(ink) < 4.5 {
					t.Errorf("dark text on %s (%s) cannot be read", accent, name)
				}
			} else if shown.contrast(ink) < 4.5 {
				t.Errorf("white text on %s (%s) cannot be read", accent, name)
			}
		}
	}
	for _, bad := range []Theme{{Accent: "red"}, {Accent: "#12345g"}, {Logo: "http://example.com/x.png"}, {Logo: "javascript:x"}, {Logo: "https://a;b/x"}} {
		if _, err := checkTheme(bad); err == nil {
			t.Errorf("the theme %+v was taken", bad)
		}
	}
}

// TestDraftsEnd: they open for an hour, at their place, and not when anything in them was changed.
func TestDraftsEnd(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1_800_000_000, 0)
	ring := func(dir string) *drafts {
		r, err := secret.Read(filepath.Join(dir, "keys"))
		if err == nil {
			_, err = r.Create(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		return &drafts{secret.NewSealer(r), slog.New(slog.DiscardHandler)}
	}
	dir := t.TempDir()
	d, node := ring(dir), ring(dir)
	sealed := d.seal(ctx, map[string]string{"settings.pin": "1234"}, "here", now)
	if got := node.open(ctx, sealed, "here", now.Add(draftTime)); got["settings.pin"] != "1234" {
		t.Errorf("after an hour another node with the same keys opens %v", got)
	}
	for name, got := range map[string]map[string]string{
		"later": d.open(ctx, sealed, "here", now.Add(draftTime+time.Second)), "elsewhere": d.open(ctx, sealed, "there", now),
		"changed": d.open(ctx, sealed[:len(sealed)-2]+"AA", "here", now), "nothing": d.open(ctx, "", "here", now),
		"another installation": ring(t.TempDir()).open(ctx, sealed, "here", now),
	} {
		if got != nil {
			t.Errorf("%s it opens: %v", name, got)
		}
	}
	if got := d.seal(ctx, map[string]string{"x": strings.Repeat("x", maxDraft)}, "here", now); got != "" {
		t.Error("a draft is as long as somebody likes")
	}
}

// TestWatchersLeaveRoom: no session takes more than its part, customers leave half to operators, and room is given back.
func TestWatchersLeaveRoom(t *testing.T) {
	var w watchers
	customers, operators := 0, 0
	for id := patchbay.SessionID(1); id <= 20; id++ {
		c := &access.Caller{Session: id, Portal: true}
		for range maxWatchingEach + 1 {
			if w.enter(c) {
				customers++
			}
		}
	}
	one := &access.Caller{Session: 100}
	for range maxWatching {
		if w.enter(one) {
			operators++
		}
	}
	if customers != maxWatching/2 || operators != maxWatchingEach {
		t.Errorf("%d pages of customers watch and %d of one operator", customers, operators)
	}
	w.leave(one)
	if !w.enter(one) || w.enter(one) {
		t.Error("one page that was left did not make room for one")
	}
}

// TestANoteWithASecretIsSealed: it is read in the session that it was left in, and the cookie shows nothing of it.
func TestANoteWithASecretIsSealed(t *testing.T) {
	ring, err := secret.Read(filepath.Join(t.TempDir(), "keys"))
	if err == nil {
		_, err = ring.Create(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	site := &Site{drafts: &drafts{secret.NewSealer(ring), slog.New(slog.DiscardHandler)}}
	visit := func(session patchbay.SessionID, cookie *http.Cookie) (*call, *httptest.ResponseRecorder) {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		if cookie != nil {
			r.AddCookie(cookie)
		}
		return &call{Site: site, w: w, r: r, who: &access.Caller{Session: session}}, w
	}
	c, w := visit(7, nil)
	c.leave(&note{Title: "Made", Secrets: [][2]string{{"Token", "pk_very_secret"}}})
	cookie := w.Result().Cookies()[0]
	if plain, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(cookie.Value, sealedNote)); strings.Contains(string(plain), "very") {
		t.Errorf("the cookie shows %q", plain)
	}
	c, _ = visit(7, cookie)
	if n := c.takeNote(); n == nil || n.Secrets[0][1] != "pk_very_secret" {
		t.Errorf("the session that it was left in gets %+v", n)
	}
	c, _ = visit(8, cookie)
	if n := c.takeNote(); n != nil {
		t.Errorf("another session gets %+v", n)
	}
	c, w = visit(7, nil)
	c.leave(&note{Title: "Saved"})
	c, _ = visit(7, w.Result().Cookies()[0])
	if n := c.takeNote(); n == nil || n.Title != "Saved" {
		t.Errorf("a note without secrets is %+v", n)
	}
}
