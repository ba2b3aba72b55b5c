package config

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxPortalName keeps the name of a product to one line of a phone's screen, or two.
const maxPortalName = 60

// checkPortal refuses what the pages for customers could not show.
func (c *Config) checkPortal() error {
	if !utf8.ValidString(c.PortalName) || utf8.RuneCountInString(c.PortalName) > maxPortalName || strings.ContainsFunc(c.PortalName, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return wrong("portal-name", "must be one line of at most %d characters", maxPortalName)
	}
	if c.PortalAccent != "" && !colour(c.PortalAccent) {
		return wrong("portal-accent", "%q is not a colour: write # and six hexadecimal digits, such as #3b5bdb", c.PortalAccent)
	}
	if c.PortalLogo != "" {
		if u, err := url.Parse(c.PortalLogo); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return wrong("portal-logo", "the value is not an address of a picture: write https://HOST/PATH")
		}
	}
	for _, origin := range c.PortalFrames {
		if u, err := absolute(origin); err != nil || u.Path != "" || strings.ContainsAny(origin, " ;,*'\"") {
			return wrong("portal-frames", "%q is not an origin: write scheme and host only, such as https://app.example.com", origin)
		}
	}
	return nil
}

// colour reports whether text is a colour as #rrggbb.
func colour(text string) bool {
	digits, ok := strings.CutPrefix(text, "#")
	return ok && len(digits) == 6 && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
}
