// Package httpapi is the JSON API: the routes of the systems that Patchbay replaces, /v1, and what operators need
// (health, metrics, the OpenAPI document and its page). It turns requests into calls of services and what they return
// into answers; every rule about events, links and deliveries is a service's.
//
// The OpenAPI document is made from the code that serves: what is described is what is checked. POST /events, which
// must be fast, is a plain handler that is described in the same document.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/stream"
)

// Ingest takes events in.
type Ingest interface {
	// Accept takes a call that publishes; body is the raw request body, which is used again once Accept has returned,
	// and key the Idempotency-Key header.
	Accept(ctx context.Context, c *access.Caller, body []byte, key string) (*ingest.Answer, error)
	// AcceptItem is Accept for one item of a batch.
	AcceptItem(ctx context.Context, c *access.Caller, body []byte) (ingest.Receipt, error)
	// DryRun says what Accept would do.
	DryRun(ctx context.Context, c *access.Caller, body []byte) (*ingest.DryRun, error)
	// Events lists events, the newest first, and says whether there are more.
	Events(ctx context.Context, c *access.Caller, q ingest.EventQuery) (events []patchbay.Event, more bool, err error)
	// Event returns an event with its deliveries.
	Event(ctx context.Context, c *access.Caller, id patchbay.EventID) (*ingest.EventView, error)
	// Replay sends an event again, to the links that match now.
	Replay(ctx context.Context, c *access.Caller, id patchbay.EventID) (*ingest.EventView, error)
}

// Links looks after links.
type Links interface {
	Create(ctx context.Context, c *access.Caller, in links.Input) (*links.View, error)
	Get(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	// List lists links, the oldest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, f links.ListFilter) (views []links.View, more bool, err error)
	// Update changes what in has; clear names fields that were sent as null, ifMatch is the revision that the caller
	// has read, 0 for any.
	Update(ctx context.Context, c *access.Caller, id patchbay.LinkID, in links.Input, clear []string, ifMatch int) (*links.View, error)
	Delete(ctx context.Context, c *access.Caller, id patchbay.LinkID) error
	Pause(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	Resume(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	// Skip is Resume without what has waited.
	Skip(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	RotateSecret(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.View, error)
	Test(ctx context.Context, c *access.Caller, id patchbay.LinkID) (*links.TestResult, error)
	// Choices asks the partner for the values of a setting.
	Choices(ctx context.Context, c *access.Caller, integration, setting string, in links.ChoiceInput) ([]integration.Choice, error)
	// TestSettings tries settings that belong to no link.
	TestSettings(ctx context.Context, c *access.Caller, integration string, d links.Draft) (*links.TestResult, error)
}

// Deliveries shows deliveries and what can be done with them.
type Deliveries interface {
	// List lists deliveries, the newest first, and says whether there are more.
	List(ctx context.Context, c *access.Caller, q deliver.Query) (views []deliver.View, more bool, err error)
	Get(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error)
	Retry(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error)
	Cancel(ctx context.Context, c *access.Caller, id patchbay.DeliveryID) (*deliver.View, error)
}

// Catalog knows the event types.
type Catalog interface {
	// Types returns every type, in the order in which people should see them.
	Types() []*catalog.Type
	// Type returns the type with the key or alias; nil when there is none.
	Type(name string) *catalog.Type
}

// EventTypes changes the catalog.
type EventTypes interface {
	// Put adds or replaces a type and says whether it is new.
	Put(ctx context.Context, c *access.Caller, t patchbay.EventType) (created bool, err error)
	Delete(ctx context.Context, c *access.Caller, key string) error
}

// Keys looks after API keys.
type Keys interface {
	Create(ctx context.Context, c *access.Caller, in access.KeyInput) (*access.KeyView, error)
	List(ctx context.Context, c *access.Caller, after patchbay.KeyID, limit int) (views []access.KeyView, more bool, err error)
	Get(ctx context.Context, c *access.Caller, id patchbay.KeyID) (*access.KeyView, error)
	Delete(ctx context.Context, c *access.Caller, id patchbay.KeyID) error
}

// Options are what the API serves. The services are required; everything else has a default.
type Options struct {
	Ingest     Ingest
	Links      Links
	Deliveries Deliveries
	Catalog    Catalog
	EventTypes EventTypes
	Keys       Keys
	// Audit is nil where nobody asks who changed what; then there is no such route.
	Audit Audit
	// Jobs is nil where the database keeps none; its routes say so.
	Jobs Jobs
	// Connections is nil where there are none; then there is no such route.
	Connections Connections
	// Hooks take in what partners send; nil means that there are no such routes.
	Hooks Hooks
	// Portals is nil where there are none; then there is no such route.
	Portals Portals
	// SignedIn answers /v1/sessions; nil means that there are no such routes.
	SignedIn Sessions
	// Pages are nil where there are none.
	Pages Pages
	// Access says who calls.
	Access *access.Authenticator
	// Integrations are listed in this order.
	Integrations []integration.Integration
	// Stream feeds /v1/stream, which ends when it is closed.
	Stream *stream.Hub
	// Stats answers /v1/stats; nil means that there is no such route.
	Stats Stats
	// Metrics counts calls and answers /metrics; nil means neither.
	Metrics *obs.Metrics
	// Sealing answers /v1/secrets; nil means that there are no such routes.
	Sealing Sealing
	// Nodes answers /v1/nodes; nil means that there is no such route.
	Nodes Nodes
	// Node is the number of the node that answers, which /readyz says; nil where there can be only one.
	Node *int
	// Ready returns nil when the installation can take events, else the reason; nil means always.
	Ready func(context.Context) error
	// Log gets what callers must not see; nil means nowhere.
	Log *slog.Logger
	// Development opens everything to this machine and guards it against web pages.
	Development bool
	// CORSOrigins may read the three open lists from a browser, such as "https://app.example.com"; "*" is everybody.
	CORSOrigins []string
	// TrustedProxies are those whose X-Forwarded-For is believed, for the log.
	TrustedProxies []netip.Prefix
	// Version is the program's, PublicURL where the installation is reached; both are shown in the document.
	Version   string
	PublicURL string
	// Stopping is closed when the server is about to stop: batches, which may take hours, end then. nil means never.
	Stopping <-chan struct{}
	// Heartbeat is how often an idle stream shows that it is alive; 0 means 15 s.
	Heartbeat time.Duration
}

// New returns the handler of every route of the API. What it does not know is answered with 404 in the API's form.
func New(o Options) (http.Handler, error) {
	if o.Ingest == nil || o.Links == nil || o.Deliveries == nil || o.Catalog == nil || o.EventTypes == nil || o.Keys == nil ||
		o.Access == nil || o.Stream == nil {
		return nil, errors.New("httpapi: a service is missing in the options")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) error { return nil }
	}
	for _, origin := range o.CORSOrigins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Scheme == "" || u.Host == "" || strings.Trim(u.Path, "/") != "") {
			return nil, fmt.Errorf("the CORS origin %q must be * or a scheme and a host, such as https://app.example.com", origin)
		}
	}
	a := &api{Options: o, router: newRouter()}
	if err := a.prepare(); err != nil {
		return nil, err
	}
	return a, nil
}

// api is the handler of all routes.
type api struct {
	Options
	*router
	document     *document
	integrations map[string]*integrationView
	catalogued   []*integrationView     // in order
	streams      chan struct{}          // a place for every stream
	batches      chan struct{}          // a place for every batch
	unready      atomic.Pointer[string] // why the last /readyz was refused; nil when it was not
}

// prepare registers every route.
func (a *api) prepare() error {
	a.streams = make(chan struct{}, maxStreams)
	a.batches = make(chan struct{}, maxBatches)
	a.router.other = a.unknownRoute
	a.document = newDocument(a)
	if err := a.indexIntegrations(); err != nil {
		return err
	}
	a.openRoutes()
	a.eventRoutes()
	a.batchRoutes()
	a.eventTypeRoutes()
	a.integrationRoutes()
	a.linkRoutes()
	a.deliveryRoutes()
	a.jobRoutes()
	a.keyRoutes()
	if a.Audit != nil {
		a.auditRoutes()
	}
	if a.Connections != nil {
		a.connectionRoutes()
	}
	if a.Hooks != nil {
		a.hookRoutes()
	}
	if a.Portals != nil {
		a.portalRoutes()
	}
	if a.SignedIn != nil {
		a.sessionRoutes()
	}
	if a.Stats != nil {
		a.statsRoutes()
	}
	a.streamRoutes()
	if a.Nodes != nil {
		a.nodeRoutes()
	}
	if a.Sealing != nil {
		a.secretRoutes()
	}
	a.operatorRoutes()
	return a.document.finish()
}

// ServeHTTP answers one request.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tw := &trackingWriter{ResponseWriter: w, status: http.StatusOK}
	defer a.logged(tw, r, time.Now())
	defer a.recovered(tw, r)
	w.Header()["X-Content-Type-Options"] = nosniff
	page := a.Pages != nil && a.Pages.Serves(r)
	if a.Development {
		if err := a.guard(r, page); err != nil {
			a.fail(tw, r, err)
			return
		}
	}
	if page {
		a.Pages.ServeHTTP(tw, r.WithContext(a.from(r, "web")))
		return
	}
	a.router.serve(tw, r)
}

// Shared header values: a header set from one of them costs no allocation. Nothing changes them.
var (
	nosniff     = []string{"nosniff"}
	noStore     = []string{"no-store"}
	typeJSON    = []string{"application/json"}
	headerTrue  = []string{"true"}
	closeHeader = []string{"close"}
)
