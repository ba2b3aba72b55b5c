// Package web is what people see in a browser: the gallery of integrations, the form of a link, the settings page of a
// scope with its links and connections, sign-in, and the portal in which a customer has these pages alone. It is HTML
// over the same services as the JSON API; every rule, permissions included, is a service's. Pages are made on the
// server and work without scripts, which only make them nicer.
package web

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/session"
	"github.com/patchbay/patchbay/internal/store"
)

// maxForm bounds the body of a form: the settings of a link, and room for their encoding.
const maxForm = 4 * patchbay.MaxSettingsBytes

// Links looks after links.
type Links interface {
	Create(ctx context.Context, c *access.Caller, in links.Input) (*links.View, error)
	Get(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	List(ctx context.Context, c *access.Caller, f links.ListFilter) (views []links.View, more bool, err error)
	Update(ctx context.Context, c *access.Caller, id patchbay.LinkID, in links.Input, clear []string, ifMatch int) (*links.View, error)
	Delete(ctx context.Context, c *access.Caller, id patchbay.LinkID) error
	Pause(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	Resume(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	// Skip is Resume without what has waited.
	Skip(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	// RotateSecret makes a link's secret anew; Rotates reports whether it has one, and the caller may.
	RotateSecret(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	Rotates(c *access.Caller, id patchbay.LinkID) bool
	// Since returns when a link came into its state; zero when that is longer ago than is kept.
	Since(ctx context.Context, c *access.Caller, id patchbay.LinkID) (time.Time, error)
	// Branch and Branches say where links are, Count which integrations they are of.
	Branch(ctx context.Context, c *access.Caller, scope patchbay.Scope) (*links.Branch, error)
	Branches(ctx context.Context, c *access.Caller, scope patchbay.Scope, from string, limit int) (list []links.Branch, more bool, err error)
	Count(ctx context.Context, c *access.Caller, scope patchbay.Scope) (map[string]int, error)
	// Replaced lists the links below a link that take its place there.
	Replaced(ctx context.Context, c *access.Caller, id, after patchbay.LinkID, limit int) (views []links.View, more bool, err error)
	// UsedBy returns the links that use a connection, whoever may see them.
	UsedBy(con patchbay.ConnectionID) []links.Using
	Test(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.TestResult, error)
	TestSettings(ctx context.Context, c *access.Caller, integration string, in links.Draft) (*links.TestResult, error)
	// Choices asks the partner for the values of a setting.
	Choices(ctx context.Context, c *access.Caller, integration, setting string, in links.ChoiceInput) ([]integration.Choice, error)
	// OptOut keeps a link that a scope inherits from it, OptIn takes that back.
	OptOut(ctx context.Context, c *access.Caller, id patchbay.LinkID, scope patchbay.Scope) (*links.View, error)
	OptIn(ctx context.Context, c *access.Caller, id patchbay.LinkID, scope patchbay.Scope) error
	// Preview says what a link that is not saved would send for the example of an event type.
	Preview(ctx context.Context, c *access.Caller, in links.Input, eventType string) (*links.Preview, error)
}

// Catalog knows the event types.
type Catalog interface {
	// Types returns every type, in the order in which people should see them.
	Types() []*catalog.Type
	// Type returns the type with the key or alias; nil when there is none.
	Type(name string) *catalog.Type
}

// Sessions says who is looking, and lets people in and out.
type Sessions interface {
	// Caller returns who looks; an unauthorized error when nobody has signed in, or the session has ended.
	Caller(r *http.Request) (*access.Caller, *session.View, error)
	// SignIn begins an operator's session and sets its cookie.
	SignIn(w http.ResponseWriter, r *http.Request, key patchbay.Secret) error
	// SignInAs begins the session of an operator for whom a provider has vouched.
	SignInAs(w http.ResponseWriter, r *http.Request, id session.Identity) error
	// Refused writes down that somebody was not let in, and why.
	Refused(r *http.Request, why error)
	// SignOut ends the session and takes the cookie back.
	SignOut(w http.ResponseWriter, r *http.Request) error
	// Exchange begins a portal's session with its one-time token, sets its cookie and returns the page to go to.
	Exchange(w http.ResponseWriter, r *http.Request, token string) (redirect string, err error)
	// Handoff makes a one-time token for a second session, with which a portal in a frame goes on in a tab of its own.
	Handoff(ctx context.Context, c *access.Caller) (token string, err error)
}

// Options are what the pages show. Links, Catalog, Sessions and Sealer are required.
type Options struct {
	Links    Links
	Catalog  Catalog
	Sessions Sessions
	// SignOn is nil where operators sign in with keys alone; SignOnName is how the provider is called.
	SignOn     SignOn
	SignOnName string
	// Keys and SignedIn are nil where nobody looks after API keys, and after who is signed in.
	Keys     Keys
	SignedIn SignedIn
	// Installation and Sealing are nil where nobody looks after the installation by these pages.
	Installation Installation
	Sealing      Sealing
	// Connections are nil where accounts cannot be connected, Hooks where partners do not call.
	Connections Connections
	Hooks       Hooks
	// Events are nil where nobody looks at them, Outcomes where lists do not say what became of them, Stream where they do not
	// follow what arrives.
	Events   Events
	Outcomes Outcomes
	Stream   Stream
	// Backlogs are nil where nobody says what waits for links.
	Backlogs Backlogs
	// Stats, Nodes and Jobs are nil where nobody counts, there is one process, or the database keeps no jobs.
	Stats Stats
	Nodes Nodes
	Jobs  Jobs
	// Inbox is nil where nobody looks at what inboxes keep.
	Inbox Inbox
	// Playground is nil where no events are taken in.
	Playground Playground
	// Deliveries are nil where nobody looks at them.
	Deliveries Deliveries
	// Audit is nil where nobody looks at who changed what.
	Audit Audit
	// Sealer hides the secrets that a form carries to its next page.
	Sealer store.Sealer
	// Integrations are shown in this order.
	Integrations []integration.Integration
	// Kinds says which scopes are a team's or a user's: a page offers only what is meant for them.
	Kinds links.Kinds
	// Theme is how portals look.
	Theme Theme
	// FrameAncestors are the origins whose pages may show a portal in a frame, such as "https://app.example.com".
	FrameAncestors []string
	// Secure says that people come by https, so that cookies are never sent in the clear.
	Secure bool
	// Log gets what people must not see; nil means nowhere.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Site is the handler of every page.
type Site struct {
	o            Options
	mux          *http.ServeMux
	assets       *assets
	pages        map[string]*template.Template
	theme        theme
	integrations map[string]integration.Integration
	definitions  map[string]*integration.Definition
	drafts       *drafts
	cross        *http.CrossOriginProtection
	// watching are the pages that follow what arrives.
	watching watchers
}

// New checks the options and every template.
func New(o Options) (*Site, error) {
	if o.Links == nil || o.Catalog == nil || o.Sessions == nil || o.Sealer == nil {
		return nil, errors.New("web: a service is missing in the options")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Site{
		o: o, mux: http.NewServeMux(), cross: http.NewCrossOriginProtection(), drafts: &drafts{o.Sealer, o.Log},
		integrations: map[string]integration.Integration{}, definitions: map[string]*integration.Definition{},
	}
	for _, i := range o.Integrations {
		d := i.Definition()
		s.integrations[d.Key], s.definitions[d.Key] = i, d
	}
	var err error
	if s.theme, err = checkTheme(o.Theme); err != nil {
		return nil, err
	}
	if s.assets, err = loadAssets(s.theme.css()); err != nil {
		return nil, err
	}
	if err := s.parse(); err != nil {
		return nil, err
	}
	s.cross.SetDenyHandler(http.HandlerFunc(s.crossOrigin))
	s.routes()
	return s, nil
}

func (s *Site) routes() {
	s.handle("GET /{$}", (*call).overview)
	s.handle("GET /find", (*call).find)
	s.handle("GET /integrations", (*call).gallery)
	s.handle("GET /integrations/{key}", (*call).integrationDocs)
	s.handle("GET /integrations/{key}/link", (*call).newLink)
	s.handle("POST /integrations/{key}/link", (*call).saveLink)
	s.handle("GET /integrations/{key}/link/{id}/delete", (*call).confirmDelete)
	s.handle("POST /integrations/{key}/link/{id}/delete", (*call).deleteLink)
	s.handle("DELETE /integrations/{key}/link/{id}", (*call).deleteLink)
	s.handle("GET /settings/{scope...}", (*call).settings)
	s.handle("POST /settings/{scope...}", (*call).changeSettings)
	s.handle("GET /auth/{key}", (*call).auth)
	s.handle("POST /auth/{key}", (*call).giveKeys)
	s.handle("GET /auth/{key}/callback", (*call).callback)
	s.handle("GET /links", (*call).linkTree)
	s.handle("GET /links/{id}", (*call).oneLink)
	s.handle("POST /links/{id}", (*call).changeLink)
	s.handle("GET /links/{id}/resume", (*call).confirmResume)
	s.handle("GET /links/{id}/rotate", (*call).confirmRotate)
	s.handle("GET /connections", (*call).connections)
	s.handle("GET /connections/{id}", (*call).connection)
	s.handle("POST /connections/{id}", (*call).changeConnection)
	s.handle("GET /audit", (*call).auditLog)
	s.handle("GET /audit/export", (*call).exportAudit)
	s.handle("GET /hooks", (*call).hooks)
	s.handle("GET /inbox", (*call).inbox)
	s.handle("GET /inbox/live", (*call).inboxLive)
	s.handle("GET /playground", (*call).playground)
	s.handle("POST /playground", (*call).composeEvent)
	s.handle("GET /hooks/{id}", (*call).hook)
	s.handle("POST /hooks/{id}/replay", (*call).replayHook)
	s.handle("GET /events", (*call).events)
	s.handle("GET /events/live", (*call).live)
	s.handle("GET /events/{id}", (*call).event)
	s.handle("GET /events/{id}/payload.json", (*call).payload)
	s.handle("GET /events/{id}/live", (*call).eventLive)
	s.handle("GET /events/{id}/replay", (*call).confirmReplay)
	s.handle("POST /events/{id}/replay", (*call).replayEvent)
	s.handle("GET /installation", (*call).installation)
	s.handle("GET /installation/configuration", (*call).configuration)
	s.handle("GET /installation/secrets", (*call).secrets)
	s.handle("GET /installation/secrets/rotate", (*call).confirmRotation)
	s.handle("POST /installation/secrets/rotate", (*call).rotateSecrets)
	s.handle("GET /installation/sessions", (*call).openSessions)
	s.handle("POST /installation/sessions/{id}/end", (*call).endSession)
	s.handle("GET /installation/look", (*call).look)
	s.handle("GET /installation/look.css", (*call).lookSheet)
	s.handle("GET /keys", (*call).keys)
	s.handle("POST /keys", (*call).createKey)
	s.handle("GET /keys/new", (*call).newKey)
	s.handle("GET /keys/{id}/delete", (*call).confirmDeleteKey)
	s.handle("POST /keys/{id}/delete", (*call).deleteKey)
	s.handle("GET /deliveries", (*call).deliveries)
	s.handle("GET /deliveries/live", (*call).deliveriesLive)
	s.handle("GET /deliveries/{id}", (*call).delivery)
	s.handle("GET /deliveries/{id}/live", (*call).deliveryLive)
	s.handle("GET /deliveries/{id}/{what}", (*call).askDelivery)
	s.handle("POST /deliveries/{id}/{what}", (*call).changeDelivery)
	s.handle("GET /jobs", (*call).jobs)
	s.handle("POST /jobs", (*call).createJob)
	s.handle("GET /jobs/new", (*call).newJob)
	s.handle("GET /jobs/{id}", (*call).job)
	s.handle("POST /jobs/{id}/cancel", (*call).cancelJob)
	s.handle("GET /catalog", (*call).catalogList)
	s.handle("GET /catalog/{type...}", (*call).eventType)
	s.open("GET /sign-in", (*call).signInForm)
	s.open("POST /sign-in", (*call).signIn)
	s.open("GET /sign-in/oidc", (*call).signOn)
	s.open("GET /sign-in/callback", (*call).signedOn)
	s.open("POST /sign-out", (*call).signOut)
	s.open("GET /portal", (*call).portal)
	s.open("POST /portal/exchange", (*call).exchange)
	s.mux.HandleFunc("/", s.unknown)
	s.mux.Handle("GET /assets/", s.assets)
}

// Serves reports whether a request is for a page rather than for the API.
func (s *Site) Serves(r *http.Request) bool {
	p := r.URL.Path
	switch first, rest, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/"); first {
	case "", "sign-in", "sign-out", "portal", "settings", "auth", "assets", "hooks", "connections",
		"deliveries", "jobs", "inbox", "links", "catalog", "playground", "keys", "audit", "installation", "find":
		return true
	case "events":
		// POST /events is how events come in; programs that get it are told so by the API.
		return rest != "" || (r.Method == http.MethodGet || r.Method == http.MethodHead) && wantsHTML(r)
	case "integrations":
		if rest == "" {
			return (r.Method == http.MethodGet || r.Method == http.MethodHead) && wantsHTML(r)
		}
		_, what, deeper := strings.Cut(rest, "/")
		if !deeper {
			return (r.Method == http.MethodGet || r.Method == http.MethodHead) && wantsHTML(r)
		}
		return what == "link" || strings.HasPrefix(what, "link/")
	}
	return false
}

// wantsHTML reports whether whoever asks prefers a page: browsers name text/html first when a person goes somewhere.
func wantsHTML(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			kind, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "text/html", "application/xhtml+xml":
				return true
			case "application/json":
				return false
			}
		}
	}
	return false
}

// ServeHTTP answers one request.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	if clean := path.Clean(r.URL.Path); r.URL.Path != clean && r.URL.Path != "/settings/" {
		if r.Method == http.MethodGet && strings.TrimSuffix(r.URL.Path, "/") == clean {
			http.Redirect(w, r, clean, http.StatusMovedPermanently)
			return
		}
		s.unknown(w, r)
		return
	}
	most := int64(maxForm)
	if r.URL.Path == "/playground" {
		most = maxPlayground
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	s.cross.Handler(s.mux).ServeHTTP(w, r)
}

// call is one request of somebody who may look.
type call struct {
	*Site
	w http.ResponseWriter
	r *http.Request
	// who is nil, and session too, on the pages that everybody may see.
	who     *access.Caller
	session *session.View
	// frames says that the page shows another one of this site in a frame.
	frames bool
	// code and details are those of the error that was explained last.
	code    patchbay.Code
	details []patchbay.Detail
}

// handle registers a page for people who have signed in. An error that it returns is shown as a page.
func (s *Site) handle(pattern string, page func(*call) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Site: s, w: w, r: r}
		var err error
		c.who, c.session, err = s.o.Sessions.Caller(r)
		if c.session == nil {
			c.session = &session.View{}
		}
		switch {
		case patchbay.CodeOf(err) == patchbay.CodeUnauthorized:
			c.who, c.session = nil, nil
			c.signInFirst(err)
			return
		case err != nil:
			c.who = nil
			c.problem(err)
			return
		}
		if err := page(c); err != nil {
			c.problem(err)
		}
	})
}

// open registers a page for everybody.
func (s *Site) open(pattern string, page func(*call) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Site: s, w: w, r: r}
		if err := page(c); err != nil {
			c.problem(err)
		}
	})
}

// form reads the form that was sent, bounded.
func (c *call) form() error {
	err := c.r.ParseForm()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return patchbay.Errorf(patchbay.CodePayloadTooLarge, "the form is larger than %d bytes: shorten what you have entered", maxForm)
	case err != nil:
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "the form could not be read: go back, reload the page and send it again")
	}
	return nil
}

// redirect sends the browser on to a page of ours, or of a partner.
func (c *call) redirect(to string) error {
	c.w.Header().Set("Cache-Control", "no-store")
	http.Redirect(c.w, c.r, to, http.StatusSeeOther)
	return nil
}

// local returns the address of a page of this site, which whoever made the request asked to be sent to, and otherwise
// instead: a browser that is sent elsewhere by us would take that for a place that we vouch for.
func local(to, instead string) string {
	if len(to) < 2 || len(to) > 2048 || to[0] != '/' || to[1] == '/' || strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }) {
		return instead
	}
	return to
}
