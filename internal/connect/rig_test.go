package connect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testClient = "patchbay-client"
	testSecret = "the-client-secret-of-the-test"
	testPublic = "https://hooks.example.test"
)

// partner is an authorization server that consents at once, rotates refresh tokens, and ends a grant whose refresh token
// comes twice.
type partnerServer struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// account signs in next; lasts is how long access tokens do; issuer is sent as iss.
	account string
	lasts   int
	issuer  string
	// answer, when not nil, answers a token request instead; it returns false to leave it.
	answer func(w http.ResponseWriter, r *http.Request) bool
	// noRefresh gives no refresh tokens.
	noRefresh bool
	codes     map[string]grantCode
	tokens    map[string]*family // access tokens
	refreshes map[string]*family
	used      map[string]bool
	n         int
	refreshed int
	reused    int
	revoked   []string
	asked     int
}

type grantCode struct{ account, challenge, redirect string }

type family struct {
	account string
	ended   bool
	current string // access token
}

func newPartner(t *testing.T) *partnerServer {
	p := &partnerServer{t: t, account: "1", lasts: 3600, codes: map[string]grantCode{}, tokens: map[string]*family{}, refreshes: map[string]*family{}, used: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /me", p.me)
	mux.HandleFunc("POST /revoke", p.revoke)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *partnerServer) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	if q.Get("client_id") != testClient || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("scope") != "read,write" {
		http.Error(w, "bad request: "+r.URL.RawQuery, 400)
		return
	}
	p.n++
	code := fmt.Sprintf("code-%d-%s", p.n, strings.Repeat("c", 20))
	p.codes[code] = grantCode{p.account, q.Get("code_challenge"), q.Get("redirect_uri")}
	back := url.Values{"code": {code}, "state": q["state"]}
	if p.issuer != "" {
		back.Set("iss", p.issuer)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (p *partnerServer) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.answer != nil {
		p.mu.Unlock() // it may be slow
		done := p.answer(w, r)
		p.mu.Lock()
		if done {
			return
		}
	}
	id, secret, _ := r.BasicAuth()
	if id != testClient || secret != testSecret {
		p.fail(w, 401, "invalid_client")
		return
	}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		code, ok := p.codes[r.PostFormValue("code")]
		delete(p.codes, r.PostFormValue("code"))
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !ok || code.redirect != r.PostFormValue("redirect_uri") || code.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			p.fail(w, 400, "invalid_grant")
			return
		}
		p.give(w, &family{account: code.account})
	case "refresh_token":
		token := r.PostFormValue("refresh_token")
		f := p.refreshes[token]
		if f != nil && p.used[token] {
			p.reused++
			f.ended = true
		}
		if f == nil || f.ended {
			p.fail(w, 400, "invalid_grant")
			return
		}
		p.used[token] = true
		p.refreshed++
		p.give(w, f)
	default:
		p.fail(w, 400, "unsupported_grant_type")
	}
}

func (p *partnerServer) fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":"because."}`, code)
}

func (p *partnerServer) give(w http.ResponseWriter, f *family) {
	p.n++
	access, refresh := fmt.Sprintf("access-token-%d-%s", p.n, f.account), fmt.Sprintf("refresh-token-%d-%s", p.n, f.account)
	p.tokens[access], f.current = f, access
	out := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": p.lasts, "scope": "read write"}
	if !p.noRefresh {
		p.refreshes[refresh] = f
		out["refresh_token"] = refresh
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// good reports whether an access token is the newest one of a grant that has not ended.
func (p *partnerServer) good(token string) (string, bool) {
	f := p.tokens[token]
	if f == nil || f.ended || f.current != token {
		return "", false
	}
	return f.account, true
}

func (p *partnerServer) me(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	account, ok := p.good(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if !ok {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	_, _ = fmt.Fprintf(w, `{"id":%q,"name":"account %s"}`, account, account)
}

func (p *partnerServer) revoke(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, secret, _ := r.BasicAuth(); id != testClient || secret != testSecret {
		w.WriteHeader(401)
		return
	}
	token := r.PostFormValue("token")
	p.revoked = append(p.revoked, token)
	if f := p.refreshes[token]; f != nil {
		f.ended = true
	}
}

// end ends every grant, as an account's owner can.
func (p *partnerServer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.refreshes {
		f.ended = true
	}
	for _, f := range p.tokens {
		f.ended = true
	}
}

func (p *partnerServer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// thing is an integration whose partner is told by change.
type thing struct {
	key      string
	how      func() (*integration.Connect, error)
	identify func(ctx context.Context, g *integration.Grant) (*integration.Identity, integration.Result)
}

func (x *thing) Definition() *integration.Definition {
	return &integration.Definition{Key: x.key, Title: "Thing"}
}
func (x *thing) Connect(json.RawMessage) (*integration.Connect, error) { return x.how() }
func (x *thing) Identify(ctx context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
	return x.identify(ctx, g)
}

// oauth2Thing is an integration of a partner that speaks OAuth 2.
func oauth2Thing(key, base string, change func(*integration.OAuth2)) *thing {
	return &thing{key: key, how: func() (*integration.Connect, error) {
		o := &integration.OAuth2{
			ClientID: testClient, ClientSecret: testSecret, AuthURL: base + "/authorize", TokenURL: base + "/token", RevokeURL: base + "/revoke",
			Scopes: []string{"read", "write"}, Separator: ",",
		}
		if change != nil {
			change(o)
		}
		return &integration.Connect{OAuth2: o}, nil
	}, identify: identifyAt(base + "/me")}
}

// identifyAt asks an address whose token it is.
func identifyAt(address string) func(context.Context, *integration.Grant) (*integration.Identity, integration.Result) {
	return func(ctx context.Context, g *integration.Grant) (*integration.Identity, integration.Result) {
		req := &integration.Request{Method: "GET", URL: address}
		req.Header.Add("Authorization", "Bearer "+g.Credentials.Access.Reveal())
		resp, err := g.Env.HTTP.Do(ctx, req)
		if err != nil {
			return nil, integration.Unreachable("Thing", err)
		}
		if resp.Status == 401 {
			return nil, integration.Expired("Thing does not take the token").With(resp)
		}
		if r := integration.Classify("Thing", resp); r.Verdict != patchbay.VerdictDelivered {
			return nil, r
		}
		var who struct{ ID, Sub, Name string }
		if json.Unmarshal(resp.Body, &who) != nil {
			return nil, integration.Retry("Thing answered with something else than JSON")
		}
		return &integration.Identity{Account: patchbay.Account{ID: who.ID + who.Sub, Name: who.Name}}, integration.Delivered()
	}
}

// logged is everything that was logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// rig is a service on a real database.
type rig struct {
	*Service
	t       *testing.T
	store   Store
	client  *outbound.Client
	log     *logged
	clock   *clock
	uses    map[patchbay.ConnectionID][]Use
	mu      sync.Mutex
	notices []Notice
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// UsedBy implements Links.
func (r *rig) UsedBy(ids []patchbay.ConnectionID) map[patchbay.ConnectionID][]Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[patchbay.ConnectionID][]Use{}
	for _, id := range ids {
		out[id] = r.uses[id]
	}
	return out
}

func newRig(t *testing.T, things ...integration.Integration) *rig {
	t.Helper()
	c := &clock{at: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return rigAt(t, db, c, things...)
}

// rigAt is another node at the same database.
func rigAt(t *testing.T, db Store, c *clock, things ...integration.Integration) *rig {
	t.Helper()
	r := &rig{t: t, store: db, log: &logged{}, clock: c, uses: map[patchbay.ConnectionID][]Use{}}
	r.client = outbound.New(outbound.Options{Guard: outbound.Guard{AllowLoopback: true}, Version: "test"})
	t.Cleanup(func() { _ = r.client.Close() })
	all := map[string]integration.Integration{}
	for _, x := range things {
		all[x.Definition().Key] = x
	}
	r.Service = New(Options{
		Store: db, Integrations: all, Client: r.client, PublicURL: func() string { return testPublic }, Links: r, Now: c.now,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Notify: func(_ context.Context, n Notice) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.notices = append(r.notices, n)
			return nil
		},
	})
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) told() []Notice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Notice(nil), r.notices...)
}

// ann is a portal's user in acme.
func ann() *access.Caller {
	return &access.Caller{Scope: "acme", Session: 4711, Portal: true, User: "ann", Permissions: []access.Permission{access.Read, access.Manage, access.Secrets}}
}

// operator reaches everything.
func operator() *access.Caller {
	return &access.Caller{Session: 1, Permissions: []access.Permission{access.Admin}}
}

// browser is a tiny user agent: it keeps cookies and follows redirects, but not to the installation.
type browser struct {
	t *testing.T
	*http.Client
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, Client: &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}}
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), testPublic) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return b
}

// visit goes to a partner's page and returns the query with which it leads back.
func (b *browser) visit(address string) url.Values {
	b.t.Helper()
	resp, body := b.get(address)
	back, err := resp.Location()
	if err != nil {
		b.t.Fatalf("the partner answered %d: %s", resp.StatusCode, body)
	}
	if !strings.HasPrefix(back.String(), testPublic+"/auth/") {
		b.t.Fatalf("it leads to %s", back)
	}
	return back.Query()
}

func (b *browser) get(address string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), "GET", address, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) do(req *http.Request) (*http.Response, string) {
	b.t.Helper()
	resp, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(body)
}

// begin begins a sign-in and goes through the partner's consent.
func (r *rig) begin(c *access.Caller, in Start) (*Redirect, url.Values) {
	r.t.Helper()
	to, err := r.Begin(r.t.Context(), c, in)
	if err != nil {
		r.t.Fatal(err)
	}
	return to, newBrowser(r.t).visit(to.URL)
}

// connect connects an account whole.
func (r *rig) connect(c *access.Caller, in Start) *Finished {
	r.t.Helper()
	to, q := r.begin(c, in)
	f, err := r.Finish(r.t.Context(), c, Callback{Integration: in.Integration, Query: q, Cookie: to.Cookie})
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

// stored returns a connection as it is in the database.
func (r *rig) stored(id patchbay.ConnectionID) *patchbay.Connection {
	r.t.Helper()
	con, err := r.store.Connection(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return con
}

// refused checks that an error has a code and says something.
func refused(t *testing.T, err error, code patchbay.Code, says string) {
	t.Helper()
	if patchbay.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("got %s: %v; want %s saying %q", patchbay.CodeOf(err), err, code, says)
	}
}

// silent checks that nothing secret turned up in the log or in texts.
func (r *rig) silent(texts ...string) {
	r.t.Helper()
	for _, text := range append(texts, r.log.String()) {
		for _, secret := range []string{testSecret, "access-token-", "refresh-token-", "code-1-c", "a-key-that-ann-made"} {
			if strings.Contains(text, secret) {
				r.t.Errorf("%q is in %q", secret, text)
			}
		}
	}
}
