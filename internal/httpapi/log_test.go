package httpapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestClientAddress(t *testing.T) {
	a := &api{Options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for name, c := range map[string]struct {
		remote, forwarded, want string
	}{
		"a connection that is nobody's proxy is the client, whatever it claims": {"203.0.113.9:1234", "198.51.100.1", "203.0.113.9"},
		"a trusted proxy tells the client":                                      {"10.0.0.1:1234", "198.51.100.1", "198.51.100.1"},
		"what the client itself added before the proxy does not count":          {"10.0.0.1:1234", "1.1.1.1, 198.51.100.1", "198.51.100.1"},
		"several trusted proxies":                                               {"10.0.0.1:1234", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
		"a trusted proxy that tells nothing":                                    {"10.0.0.1:1234", "", "10.0.0.1"},
		"nonsense":                                                              {"10.0.0.1:1234", "x', evil\n", "10.0.0.1"},
		"IPv4 inside IPv6":                                                      {"[::ffff:10.0.0.1]:1234", "198.51.100.1", "198.51.100.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.remote
			r.Header.Set("X-Forwarded-For", c.forwarded)
			if got := a.client(r); got != c.want {
				t.Errorf("the client is %q, want %q", got, c.want)
			}
		})
	}
}

func TestRefusedCredentialsAreLogged(t *testing.T) {
	var out bytes.Buffer
	a := &api{Options: Options{Log: slog.New(slog.NewTextHandler(&out, nil))}}
	r := httptest.NewRequest("GET", "/v1/links?secret=hunter2", nil)
	r.Header.Set("Authorization", "Bearer pk_secret")
	a.logged(&trackingWriter{status: http.StatusOK}, r, time.Now())
	if out.Len() > 0 {
		t.Errorf("an ordinary request was logged at the level info: %s", &out)
	}
	a.logged(&trackingWriter{status: http.StatusUnauthorized}, r, time.Now())
	if line := out.String(); !strings.Contains(line, "status=401") || strings.Contains(line, "hunter2") || strings.Contains(line, "pk_secret") {
		t.Errorf("the log says %q", line)
	}
}
