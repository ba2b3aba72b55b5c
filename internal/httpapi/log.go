package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/patchbay/patchbay/internal/access"
)

// logged writes one line for a request that was refused for its credentials, so that guessing shows, and one for every
// request when the log's level is debug. Nothing of a header or a body is in it.
func (a *api) logged(w *trackingWriter, r *http.Request, began time.Time) {
	level := slog.LevelDebug
	if w.status == http.StatusUnauthorized || w.status == http.StatusForbidden {
		level = slog.LevelInfo
	}
	if !a.Log.Enabled(r.Context(), level) {
		return
	}
	a.Log.LogAttrs(context.WithoutCancel(r.Context()), level, "request",
		slog.String("method", r.Method), slog.String("path", shownPath(r.URL.Path)), slog.Int("status", w.status),
		slog.Duration("took", time.Since(began)), slog.String("client", a.client(r)))
}

// from returns the request's context, which says where the request comes from.
func (a *api) from(r *http.Request, via string) context.Context {
	return access.WithOrigin(r.Context(), access.Origin{Via: via, Address: a.client(r), Agent: access.ClipAgent(r.UserAgent())})
}

// client returns the address that a request came from: the connection's, or, when that is a trusted proxy's, the last
// one in X-Forwarded-For that is not.
func (a *api) client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !a.trusts(host) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			break // nonsense, and so is everything before it
		}
		host = hop
		if !a.trusts(hop) {
			break
		}
	}
	return host
}

func (a *api) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range a.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
