package web_test

import (
	"cmp"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/internal/browsertest"
	"github.com/patchbay/patchbay/internal/config"
)

var (
	pictures = flag.String("pictures", "", "folder for pictures of every page")
	chosen   = flag.String("chosen", "", "folder for the pictures that the documentation shows")
)

// pictured are the ways in which pages are looked at.
var pictured = []browsertest.Options{{Width: 1440}, {Width: 1440, Dark: true}, {Width: 390}, {Width: 390, Dark: true}}

// album makes pictures of one installation.
type album struct {
	s     *site
	state string
}

// TestPictures makes a picture of every page that can be reached: of an installation in which there is nothing, of one in which
// all is well and of one that fails; light and dark, on a phone and on a wide screen. ./check --pictures DIR runs it.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("pictures are made for people: ./check --pictures DIR")
	}
	if err := os.MkdirAll(*pictures, 0o750); err != nil {
		t.Fatal(err)
	}
	portal := func(c *config.Config) { c.PortalName, c.PortalAccent = "I Done This", "#e8590c" }
	empty := album{open(t), "empty"}
	empty.shoot(empty.s.kinds("/"), pictured[0], pictured[3])

	for _, failing := range []bool{false, true} {
		a := album{lived(t, 420, failing, portal), "full"}
		if failing {
			a.state = "failing"
		}
		pages := a.s.kinds("/")
		if failing { // pages that look the same are not shown again
			maps.DeleteFunc(pages, func(kind, _ string) bool {
				return !regexp.MustCompile(`^/$|^/(events|deliveries|links|hooks|jobs|connections)(/\{id\}|\?state)?$`).MatchString(kind)
			})
		} else {
			pages["missing"], pages["/find?q"] = "/events/evt_0000000000001", "/find?q=repo"
			a.portal("initech/teams/eng")
		}
		a.shoot(pages, pictured...)
		if *chosen != "" {
			a.choose()
		}
	}
}

// kinds are the pages that can be reached, one of each kind, by what they are.
func (s *site) kinds(from string) map[string]string {
	out := map[string]string{}
	v := s.signedIn()
	for _, p := range v.crawl(from) {
		if kind := alike(p.address); p.status == http.StatusOK && out[kind] == "" {
			out[kind] = p.address
		}
	}
	return out
}

// shoot makes a picture of each page in each look.
func (a *album) shoot(pages map[string]string, in ...browsertest.Options) {
	for _, o := range in {
		p := a.s.signIn(o)
		p.Expect("status of 40") // pages say what is missing, too
		for _, kind := range slices.Sorted(maps.Keys(pages)) {
			p.Go(a.s.url + pages[kind])
			p.See("h1", "")
			p.Shot(filepath.Join(*pictures, a.name(kind, o)))
		}
	}
	visitor := a.s.page(pictured[0])
	visitor.Go(a.s.url + "/sign-in")
	visitor.Shot(filepath.Join(*pictures, a.name("sign-in", pictured[0])))
}

func (a *album) name(kind string, o browsertest.Options) string {
	kind = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ReplaceAll(strings.ToLower(kind), "{id}", "one"), "-"), "-")
	look := "light"
	if o.Dark {
		look = "dark"
	}
	return fmt.Sprintf("%s-%s-%s-%d.png", cmp.Or(kind, "overview"), a.state, look, o.Width)
}

// portal makes pictures of what a customer sees.
func (a *album) portal(scope string) {
	for _, o := range pictured {
		p := a.s.page(o)
		p.Go(a.s.portal(scope))
		p.See("h1", "Your links")
		for name, path := range map[string]string{"portal": "/settings/" + scope, "portal-gallery": "/integrations", "portal-form": "/integrations/webhook/link"} {
			p.Go(a.s.url + path)
			p.See("h1", "")
			p.Shot(filepath.Join(*pictures, a.name(name, o)))
		}
	}
}

// choose makes the pictures that the documentation shows: the top of a page, in few colours, so that they are small.
func (a *album) choose() {
	for _, c := range []struct {
		name, kind, state string
		look              browsertest.Options
	}{
		{"overview", "/", "failing", pictured[0]}, {"phone", "/", "failing", pictured[3]}, {"events", "/events", "failing", pictured[0]},
		{"deliveries", "/deliveries", "failing", pictured[1]}, {"delivery", "/deliveries/{id}", "failing", pictured[0]},
		{"links", "/links", "failing", pictured[0]}, {"playground", "/playground?type", "full", pictured[0]},
		{"form", "/integrations/link?link", "full", pictured[0]}, {"settings", "portal", "full", pictured[0]}, {"portal", "portal", "full", pictured[2]},
	} {
		if c.state != a.state {
			continue
		}
		full := filepath.Join(*pictures, a.name(c.kind, c.look))
		if err := shrink(full, filepath.Join(*chosen, c.name+".png")); err != nil {
			a.s.t.Errorf("%s cannot be chosen: %v", c.name, err)
		}
	}
}

// shotHeight is how much of a page the documentation shows.
const shotHeight = 900

// shrink writes the top of a picture with the 256 colours that there are most of.
func shrink(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	whole, err := png.Decode(in)
	if err != nil {
		return err
	}
	area := image.Rect(0, 0, whole.Bounds().Dx(), min(shotHeight, whole.Bounds().Dy()))
	counts := map[color.RGBA]int{}
	top := image.NewRGBA(area)
	draw.Draw(top, area, whole, image.Point{}, draw.Src)
	for y := range area.Dy() {
		for x := range area.Dx() {
			counts[top.RGBAAt(x, y)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	palette := make(color.Palette, 0, 256)
	for _, c := range most[:min(len(most), 256)] {
		palette = append(palette, c)
	}
	out := image.NewPaletted(area, palette)
	near := make(map[color.RGBA]uint8, len(counts))
	for y := range area.Dy() {
		for x := range area.Dx() {
			c := top.RGBAAt(x, y)
			i, known := near[c]
			if !known {
				i = uint8(palette.Index(c))
				near[c] = i
			}
			out.SetColorIndex(x, y, i)
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer file.Close()
	return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(file, out)
}

// TestSmallPictures: what the documentation shows is small, and all of it is shown.
func TestSmallPictures(t *testing.T) {
	entries, err := os.ReadDir("../../docs/pictures")
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for _, page := range []string{"../../README.md", "../../docs/web.md", "../../docs/portal.md"} {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(raw)
	}
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if total += info.Size(); info.Size() > 150_000 {
			t.Errorf("%s has %d bytes", e.Name(), info.Size())
		}
		if !strings.Contains(shown.String(), "pictures/"+e.Name()) {
			t.Errorf("%s is shown nowhere", e.Name())
		}
	}
	if total > 1_000_000 || len(entries) == 0 {
		t.Errorf("%d pictures have %d bytes together", len(entries), total)
	}
}
