package session

import (
	"net/http"
	"time"
)

// kind is whose cookie it is.
type kind string

const (
	operator kind = "patchbay"
	portal   kind = "patchbay-portal"
)

// hostPrefix makes browsers refuse a cookie that is not this very host's, whole and secure (RFC 6265bis, section 4.1.3.2).
// Over plain HTTP, which is for trying things out on one's own machine, browsers would refuse it.
const hostPrefix = "__Host-"

func (s *Service) name(k kind) string {
	if s.secure {
		return hostPrefix + string(k)
	}
	return string(k)
}

// cookie makes a cookie. A portal may stand in a frame of the host product's page: there it must be sent although the page
// around is another site's, and Partitioned keeps it to that site (CHIPS), so that nobody is followed from one to another.
func (s *Service) cookie(k kind, value string) *http.Cookie {
	c := &http.Cookie{Name: s.name(k), Value: value, Path: "/", HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode}
	if k == portal && s.secure && s.o.Framed {
		c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
	}
	return c
}

func (s *Service) set(w http.ResponseWriter, k kind, value string, lasts time.Duration) {
	c := s.cookie(k, value)
	c.MaxAge = max(1, int(lasts.Seconds()))
	http.SetCookie(w, c)
}

func (s *Service) clear(w http.ResponseWriter, k kind) {
	c := s.cookie(k, "")
	c.MaxAge = -1
	http.SetCookie(w, c)
}
