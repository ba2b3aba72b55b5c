package oidc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/oidc"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	clientID     = "patchbay"
	clientSecret = "a secret of the client: 100% & more"
	callback     = "https://hooks.example.com/sign-in/callback"
)

// flows is the part of a store that remembers what was used.
type flows struct {
	mu   sync.Mutex
	used map[[32]byte]bool
	fail error
}

func (f *flows) SaveFlow(_ context.Context, x *store.Flow) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	if f.used[x.Hash] {
		return store.ErrConflict
	}
	if f.used == nil {
		f.used = map[[32]byte]bool{}
	}
	f.used[x.Hash] = true
	return nil
}

func (f *flows) TakeFlow(context.Context, [32]byte, time.Time) (*store.Flow, error) {
	return nil, store.ErrNotFound
}

// rig is a Provider, and a browser.
type rig struct {
	*oidc.Provider
	t     *testing.T
	o     oidc.Options
	flows *flows
	log   *bytes.Buffer
	now   time.Time
	http  *http.Client
}

func newRig(t *testing.T, issuer string, change ...func(*oidc.Options)) *rig {
	t.Helper()
	client := outbound.New(outbound.Options{Guard: outbound.Guard{AllowLoopback: true}})
	t.Cleanup(func() { _ = client.Close() })
	r := &rig{t: t, flows: &flows{}, log: &bytes.Buffer{}, now: time.Now()}
	r.o = oidc.Options{
		Issuer: issuer, ClientID: clientID, ClientSecret: clientSecret, Scopes: []string{"openid", "email", "profile"}, Claim: "groups", Redirect: callback,
		HTTP: client, Flows: r.flows, Log: slog.New(slog.NewTextHandler(r.log, nil)), Now: func() time.Time { return r.now },
		Rules: []oidc.Rule{{Value: "admins", Role: access.RoleAdmin}, {Value: "johndoe@example.com", Role: access.RoleViewer}},
	}
	for _, c := range change {
		c(&r.o)
	}
	r.Provider = oidc.New(r.o)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.http = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return r
}

// begin begins a sign-in.
func (r *rig) begin(back string) *oidc.Start {
	r.t.Helper()
	s, err := r.Begin(r.t.Context(), back, false)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// visit goes where an address leads, as a browser does, until that is back to us; login answers the page that asks for it.
func (r *rig) visit(address, login string) url.Values {
	r.t.Helper()
	var body string
	for range 10 {
		var form io.Reader
		method := http.MethodGet
		if strings.Contains(body, `id="login"`) {
			method, form = http.MethodPost, strings.NewReader(url.Values{"login": {login}, "go": {"yes"}}.Encode())
		}
		req, err := http.NewRequestWithContext(r.t.Context(), method, address, form)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := r.http.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			r.t.Fatal(err)
		}
		body = string(raw)
		to, err := resp.Location()
		if err != nil {
			if resp.StatusCode != http.StatusOK {
				r.t.Fatalf("%s answered %d: %s", address, resp.StatusCode, body)
			}
			continue
		}
		if strings.HasPrefix(to.String(), callback+"?") {
			return to.Query()
		}
		address, body = to.String(), ""
	}
	r.t.Fatalf("%s does not lead back: %s", address, body)
	return nil
}

// signIn goes the whole way.
func (r *rig) signIn(login string) (*oidc.Person, error) {
	r.t.Helper()
	s := r.begin("/events")
	return r.Finish(r.t.Context(), s.Cookie, r.visit(s.URL, login))
}

// behave tells the mock how to.
func behave(t *testing.T, base string, how map[string]any) {
	t.Helper()
	raw, err := json.Marshal(how)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/test/next", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// refused fails unless the error is a sentence with a code, which shows no secrets.
func refused(t *testing.T, err error, code patchbay.Code, says string) {
	t.Helper()
	if patchbay.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Fatalf("%v (%s), want %s: %s", err, patchbay.CodeOf(err), code, says)
	}
	if strings.Contains(err.Error(), clientSecret) {
		t.Errorf("the client's secret is in %q", err)
	}
}

// forget makes another browser of the rig's.
func (r *rig) forget() {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.http.Jar = jar
}
