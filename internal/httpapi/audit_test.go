package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/audit"
)

// auditLog has some entries, and an error after them.
type auditLog struct {
	entries []audit.Entry
	err     error
	asked   audit.Query
}

func (l *auditLog) List(_ context.Context, _ *access.Caller, q audit.Query) ([]audit.Entry, bool, error) {
	l.asked = q
	if len(l.entries) > q.Limit {
		return l.entries[:q.Limit], true, l.err
	}
	return l.entries, false, l.err
}

func (l *auditLog) Each(_ context.Context, _ *access.Caller, q audit.Query, do func(*audit.Entry) error) error {
	l.asked = q
	for i := range l.entries {
		if err := do(&l.entries[i]); err != nil {
			return err
		}
	}
	return l.err
}

// TestAuditExportsBreakOff: half of the log is not taken for all of it.
func TestAuditExportsBreakOff(t *testing.T) {
	f := newFixture(t)
	f.audit.err = patchbay.Internal("reading", errors.New("the disk is gone"))
	server := httptest.NewServer(f.handler)
	defer server.Close()
	get := func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/audit?format=ndjson", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+f.key("", access.Manage))
		return server.Client().Do(req)
	}
	resp, err := get()
	if err != nil || resp.StatusCode != http.StatusInternalServerError || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("nothing can be read: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	for range 5000 { // more than is kept back
		f.audit.entries = append(f.audit.entries, exampleAudit)
	}
	resp, err = get()
	if err != nil {
		return // it broke off before anything came
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("an export that broke off ended well, after %d bytes", n)
	}
}

// listening hears where requests come from.
type listening struct {
	Keys
	origin *access.Origin
}

func (l listening) Create(ctx context.Context, _ *access.Caller, _ access.KeyInput) (*access.KeyView, error) {
	*l.origin = access.OriginOf(ctx)
	return &exampleKey, nil
}

// TestOrigins: services are told where a request comes from, as far as those are trusted that say so.
func TestOrigins(t *testing.T) {
	var got access.Origin
	f := newFixture(t, func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		o.Keys = listening{o.Keys, &got}
	})
	for _, x := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:4711", "", "192.0.2.1"}, {"192.0.2.1:4711", "203.0.113.9", "192.0.2.1"}, {"10.0.0.1:4711", "203.0.113.9", "203.0.113.9"},
		{"10.0.0.1:4711", "6.6.6.6, 203.0.113.9, 10.2.3.4", "203.0.113.9"}, {"[2001:db8::1]:4711", "", "2001:db8::1"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/keys", strings.NewReader(`{"permissions":["read"]}`))
		r.RemoteAddr = x.remote
		r.Header.Set("Authorization", "Bearer "+f.key("", access.Admin))
		r.Header.Set("X-Forwarded-For", x.forwarded)
		r.Header.Set("User-Agent", "shop/1.0 "+strings.Repeat("é", 200))
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		if w.Code != http.StatusCreated || got.Address != x.want || got.Via != "api" || !strings.HasPrefix(got.Agent, "shop/1.0") || len(got.Agent) > 200 {
			t.Errorf("%s for %q: %d, %+v", x.remote, x.forwarded, w.Code, got)
		}
	}
}

// FuzzAuditQuery: whatever is asked for, the answer is JSON in the API's form, or a file.
func FuzzAuditQuery(f *testing.F) {
	for _, q := range []string{"", "scope=acme&action=link.&since=2026-11-22T09:30:00Z", "format=csv", "cursor=YQ", "limit=x", "actor=%00&object=%ff", "until=0000-00-00"} {
		f.Add(q, "text/csv;q=1")
	}
	x := newFixture(&testing.T{})
	key := x.key("", access.Manage)
	x.audit.entries = []audit.Entry{exampleAudit}
	f.Fuzz(func(t *testing.T, query, accept string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/audit", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header["Accept"] = []string{accept}
		w := httptest.NewRecorder()
		x.handler.ServeHTTP(w, r)
		switch ct := w.Header().Get("Content-Type"); {
		case w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusForbidden:
			t.Errorf("%q was answered %d: %s", query, w.Code, w.Body)
		case w.Code == http.StatusOK && !strings.HasPrefix(ct, "text/csv") && ct != "application/x-ndjson" && ct != "application/json":
			t.Errorf("%q was answered as %s", query, ct)
		}
	})
}
