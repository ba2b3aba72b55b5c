package web

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
)

// Theme is what a host product can say about how its customers' portals look.
type Theme struct {
	// Name is the product's, Accent a colour such as #3b5bdb, Logo the address of a picture.
	Name, Accent, Logo string
}

// theme is how portals look, checked. Its zero value is Patchbay's own look.
type theme struct {
	// Product is the name of the product whose customers these are, Logo the address of a picture that takes its place.
	Product, Logo string
	// logoOrigin is what pages may load pictures from.
	logoOrigin string
	accent     *colour
}

// The grounds that an accent is read on, as in app.css, and the least contrast of text (WCAG 2.2, 1.4.3).
var (
	lightGround = colour{0xf6, 0xf6, 0xf3}
	darkGround  = colour{0x25, 0x27, 0x24}
)

const leastContrast = 4.6

// checkTheme checks what the configuration says. Where an accent could not be read it is made darker or lighter.
func checkTheme(t Theme) (theme, error) {
	out := theme{Product: t.Name, Logo: t.Logo}
	if t.Logo != "" {
		u, err := url.Parse(t.Logo)
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.ContainsAny(u.Host, ";, '") {
			return out, fmt.Errorf("the portal's logo must be an https address, not %q", t.Logo)
		}
		out.logoOrigin = "https://" + u.Host
	}
	if t.Accent != "" {
		c, ok := parseColour(t.Accent)
		if !ok {
			return out, fmt.Errorf("the portal's accent %q is not a colour such as #1f57c3", t.Accent)
		}
		out.accent = &c
	}
	return out, nil
}

// css returns the stylesheet that comes after app.css on portals.
func (t theme) css() string {
	if t.accent == nil {
		return "/* Patchbay's own colours. */\n"
	}
	light, dark := t.accent.readable(lightGround), t.accent.readable(darkGround)
	return fmt.Sprintf(":root{%s}\n@media (prefers-color-scheme: dark){:root{%s}}\n", light.tokens(lightGround), dark.tokens(darkGround))
}

// colour is sRGB.
type colour [3]uint8

func parseColour(s string) (colour, bool) {
	if len(s) != 7 || s[0] != '#' {
		return colour{}, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	return colour{uint8(n >> 16), uint8(n >> 8), uint8(n)}, err == nil
}

// String is how CSS spells it.
func (c colour) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

func (c colour) tokens(ground colour) string {
	ink := colour{255, 255, 255}
	if c.contrast(ink) < c.contrast(colour{0x10, 0x12, 0x10}) {
		ink = colour{0x10, 0x12, 0x10}
	}
	wash := c.mix(ground, 0.9)
	return fmt.Sprintf("--accent:%s;--accent-ink:%s;--accent-text:%s;--accent-wash:%s", c, ink, c.readable(wash), wash)
}

// readable moves the colour towards black or white until it can be read on the ground.
func (c colour) readable(ground colour) colour {
	end := colour{0, 0, 0}
	if ground.luminance() < 0.2 {
		end = colour{255, 255, 255}
	}
	for step := range 20 {
		if tried := c.mix(end, float64(step)/20); tried.contrast(ground) >= leastContrast {
			return tried
		}
	}
	return end
}

// mix returns the colour with a part of another.
func (c colour) mix(other colour, part float64) colour {
	var out colour
	for i := range c {
		out[i] = uint8(math.Round(float64(c[i])*(1-part) + float64(other[i])*part))
	}
	return out
}

// luminance and contrast are WCAG 2.2's relative luminance and contrast ratio
// (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance, #dfn-contrast-ratio).
func (c colour) luminance() float64 {
	var linear [3]float64
	for i, v := range c {
		x := float64(v) / 255
		if x <= 0.04045 {
			linear[i] = x / 12.92
		} else {
			linear[i] = math.Pow((x+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

func (c colour) contrast(other colour) float64 {
	a, b := c.luminance(), other.luminance()
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}
