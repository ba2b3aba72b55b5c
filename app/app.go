// Package app puts Patchbay together: it is the only place that sees every part. It is a library too: a program that
// wants Patchbay inside of itself makes an App, starts it and stops it.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/audit"
	"github.com/patchbay/patchbay/internal/catalog"
	"github.com/patchbay/patchbay/internal/cluster"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/connect"
	"github.com/patchbay/patchbay/internal/deliver"
	"github.com/patchbay/patchbay/internal/eventtypes"
	"github.com/patchbay/patchbay/internal/httpapi"
	"github.com/patchbay/patchbay/internal/inbound"
	"github.com/patchbay/patchbay/internal/ingest"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/lifecycle"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/obs"
	"github.com/patchbay/patchbay/internal/oidc"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/sealing"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/session"
	"github.com/patchbay/patchbay/internal/stats"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/stream"
)

// The limits of the HTTP server.
const (
	headerTimeout = 10 * time.Second
	// readTimeout bounds how long a body of MaxEventBody may take to come in.
	readTimeout = 60 * time.Second
	idleTimeout = 2 * time.Minute
	maxHeader   = 64 << 10
)

// fencedGrace is how long a node that the others took for dead may take to end what it has begun.
const fencedGrace = 2 * time.Second

// Options configure an App.
type Options struct {
	// Config is what flags, environment and patchbay.yaml say; its zero value is a complete configuration.
	Config config.Config
	// Integrations are those that links can use; integrations/all lists all of Patchbay's own.
	Integrations []integration.Integration
	// Version is the program's, for User-Agent and metrics.
	Version string
	// Log is where to log; nil discards.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Wrapper wraps the keys of the rows that hold secrets; nil means the keys of the key file.
	Wrapper Wrapper
	// RetryJitter returns numbers in [0,1) that spread retries; nil means random ones.
	RetryJitter func() float64
}

// App is a running installation.
type App struct {
	o            Options
	config       config.Config
	log          *slog.Logger
	integrations map[string]integration.Integration

	store store.Store
	// wrapper has the keys of secrets; ring is the same when they are a file's, sealer hides secrets with them.
	wrapper Wrapper
	sealer  store.Sealer
	ring    *secret.Ring
	sealing *sealing.Service
	// member is nil where the database is not shared; self is this node.
	member   *cluster.Member
	self     store.Node
	engine   *deliver.Engine
	links    *links.Service
	ingest   *ingest.Service
	keys     *access.Keys
	sessions *session.Service
	// signOn is nil where operators sign in with keys alone.
	signOn *oidc.Provider
	// connections are accounts at partners, hooks what partners send.
	connections *connect.Service
	hooks       *inbound.Service
	jobs        *jobs.Service
	types       *eventtypes.Service
	catalog     *catalog.Catalog
	hub         *stream.Hub
	metrics     *obs.Metrics
	stats       *stats.Service
	// counting is stats, for the database's writer, which is there before it.
	counting atomic.Pointer[stats.Service]
	handler  http.Handler
	// stopping is closed before the HTTP server stops. feeding is sources, for metrics, once they are all started.
	stopping chan struct{}
	sources  []fed
	feeding  atomic.Pointer[[]fed]

	down     lifecycle.Stack
	listener net.Listener
	adminKey string
	created  bool

	stopOnce sync.Once
	stopErr  error
}

// New checks the options. Nothing is opened before Start.
func New(o Options) (*App, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	clock := o.Now
	if clock == nil {
		clock = time.Now
	}
	o.Now = func() time.Time { return clock().UTC() } // what is shown is in UTC, also before it has been in the store
	a := &App{o: o, config: o.Config.WithDefaults(), log: o.Log, integrations: map[string]integration.Integration{}, stopping: make(chan struct{})}
	for _, i := range o.Integrations {
		key := i.Definition().Key
		if _, twice := a.integrations[key]; twice {
			return nil, fmt.Errorf("two integrations have the key %q", key)
		}
		a.integrations[key] = i
	}
	return a, nil
}

// Start opens the database, recovers what an earlier run left, and serves. A start that fails takes everything down
// again.
func (a *App) Start(ctx context.Context) error {
	err := a.start(ctx)
	if err == nil {
		return nil
	}
	if down := a.down.Stop(context.WithoutCancel(ctx)); down != nil {
		err = errors.Join(err, down)
	}
	return err
}

func (a *App) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		a.openReports, a.openStore, a.openCatalog, a.openServices, a.recover, a.firstKey, a.listen, a.startSources,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) openCatalog(ctx context.Context) error {
	stored, err := a.store.AllTypes(ctx)
	if err != nil {
		return fmt.Errorf("the event types in the database cannot be read: %w", err)
	}
	a.catalog, err = catalog.Open(catalog.Options{Files: a.config.Catalog, Stored: stored, Extra: a.inboundTypes()})
	if err != nil {
		return err
	}
	for _, w := range a.catalog.Warnings() {
		a.log.Warn(w)
	}
	return nil
}

func (a *App) openServices(ctx context.Context) error {
	if a.config.Dev && a.config.PublicURL == "" { // then the address that is served on is where browsers come in
		if err := a.bind(ctx); err != nil {
			return err
		}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	a.down.Push("connections to partners", func(context.Context) error { return client.Close() })

	configs, err := a.configs()
	if err != nil {
		return err
	}
	cell := access.Cell{Serves: a.config.Serves}
	if err := a.openConnections(client, configs, cell); err != nil {
		return err
	}

	a.hub = &stream.Hub{}
	watch := &observer{hub: a.hub, metrics: a.metrics, now: a.o.Now}
	sending := deliver.Options{
		Store: a.store, Client: client, Catalog: rendering{a.catalog}, Notify: a.notice, Observer: watch, Log: a.log,
		Now: a.o.Now, Random: a.o.RetryJitter, PublicURL: a.publicURL(),
		Connections: a.connections,
	}
	if a.member != nil {
		sending.Cluster, sending.Announce = a.member, a.member.Announce
	}
	a.engine = deliver.New(sending)
	watch.owner = a.engine.Scope
	a.openStatistics()
	watch.stats = a.stats
	a.links = links.New(links.Options{
		Store: a.store, Engine: a.engine, Integrations: a.integrations, Configs: configs, Log: a.log, Now: a.o.Now, Cell: cell,
		Catalog: rendering{a.catalog}, Client: client, PublicURL: a.publicURL(), Owns: a.owns(), Raise: a.raise, Connections: a.connections,
		Kinds: links.Kinds(a.config.ScopeKinds), Heard: a.heard(),
	})
	deliveries := deliver.NewService(a.engine, a.links.Revision)
	a.ingest = ingest.New(ingest.Options{
		Store: a.store, Catalog: a.catalog, Links: a.links, Engine: a.engine, Deliveries: deliveries,
		Integrations: a.integrations, Quota: ingest.Quota{Default: a.config.Quota.Default, Tenants: a.config.Quota.Tenants},
		Observer: watch, Log: a.log, Now: a.o.Now, Cell: cell,
	})
	if a.keys, err = access.NewKeys(ctx, a.store, a.store.NewID, a.o.Now); err != nil {
		return err
	}
	if err := a.openSessions(cell); err != nil {
		return err
	}
	a.openHooks(configs)
	a.openJobs(deliveries)
	a.types = eventtypes.New(a.catalog, a.store)
	routes := httpapi.Options{
		Ingest: a.ingest, Links: a.links, Deliveries: deliveries, Catalog: a.catalog, EventTypes: a.types, Keys: a.keys,
		Access: access.NewAuthenticator(access.AuthenticatorOptions{
			Keys: a.keys, SigningKey: a.config.SigningKey, Development: a.config.Dev, Now: a.o.Now,
		}),
		Audit: audit.New(a.store), Stats: a.stats, Jobs: a.jobs, Portals: a.sessions, SignedIn: a.sessions, Hooks: a.hooks, Connections: a.connections,
		Integrations: a.o.Integrations, Stream: a.hub, Metrics: a.metrics, Ready: a.ready, Nodes: a.nodes(), Sealing: a.sealing, Log: a.log,
		Development: a.config.Dev, CORSOrigins: a.config.CORSOrigin, TrustedProxies: a.config.TrustedProxies,
		Version: a.o.Version, PublicURL: a.publicURL(), Stopping: a.stopping,
	}
	if a.member != nil {
		routes.Node = &a.self.Number
	}
	if routes.Pages, err = a.pages(); err != nil {
		return err
	}
	a.handler, err = httpapi.New(routes)
	return err
}

// client makes the guarded way out.
func (a *App) client() (*outbound.Client, error) {
	return a.guarded(outbound.Guard{AllowLoopback: a.config.Dev, Allow: a.config.EgressAllow})
}

func (a *App) guarded(guard outbound.Guard) (*outbound.Client, error) {
	o := outbound.Options{Guard: guard, Version: a.o.Version}
	if a.config.EgressProxy != "" {
		proxy, err := outbound.ParseProxy(a.config.EgressProxy.Reveal())
		if err != nil {
			return nil, err
		}
		o.Proxy = proxy
	}
	return outbound.New(o), nil
}

// recover finds what an earlier run left behind, and begins to send.
func (a *App) recover(ctx context.Context) error {
	found, err := a.store.Recover(ctx, a.now())
	if err != nil {
		return fmt.Errorf("what an earlier run left behind cannot be read: %w", err)
	}
	if found > 0 {
		a.log.Info("deliveries of an earlier run are due now", "count", found)
	}
	if err := a.runConnections(ctx); err != nil {
		return err
	}
	if err := a.links.Load(ctx); err != nil {
		return err
	}
	if err := a.engine.Start(ctx); err != nil {
		return err
	}
	a.down.Push("deliveries", a.engine.Stop)
	if err := a.links.Start(ctx); err != nil {
		return err
	}
	a.down.Push("what links need at partners", a.links.Stop)
	if err := a.joined(ctx); err != nil {
		return err
	}
	if err := a.runJobs(ctx); err != nil {
		return err
	}
	if err := a.readHooks(ctx); err != nil {
		return err
	}
	if err := a.runSealing(ctx); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() { a.prune(run) })
	a.down.Push("housekeeping", func(context.Context) error {
		cancel()
		owned.Wait()
		return nil
	})
	return nil
}

// firstKey makes the admin key of a new installation.
func (a *App) firstKey(ctx context.Context) error {
	if a.config.Dev {
		return nil
	}
	token, created, err := a.keys.EnsureAdmin(ctx)
	if err != nil {
		return err
	}
	a.adminKey, a.created = token, created
	if !created {
		return nil
	}
	name := config.AdminKeyFile(a.config.Data)
	if err := os.WriteFile(name, []byte(token+"\n"), 0o600); err != nil {
		return fmt.Errorf("the admin key cannot be written to %s: %w", filepath.Base(name), err)
	}
	return nil
}

// bind takes the address that is served on, unless it is taken already.
func (a *App) bind(ctx context.Context) error {
	if a.listener != nil {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.config.Listen)
	if err != nil {
		return fmt.Errorf("%s cannot be served on: %w; choose another address with --listen", a.config.Listen, err)
	}
	a.listener = l
	a.down.Push("the address", func(context.Context) error {
		_ = l.Close() // the server has closed it, if there was one
		return nil
	})
	return nil
}

func (a *App) listen(ctx context.Context) error {
	if err := a.bind(ctx); err != nil {
		return err
	}
	l := a.listener
	server := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("the HTTP server ended", "error", err)
		}
	})
	a.down.Push("the HTTP server", func(ctx context.Context) error {
		close(a.stopping)
		a.hub.Close() // live streams and batches end by themselves, so that they do not use up the grace
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		owned.Wait()
		return err
	})
	return nil
}

// Addr returns the host and port that is served on; "" before Start.
func (a *App) Addr() string {
	if a.listener == nil {
		return ""
	}
	return a.listener.Addr().String()
}

// AdminKey returns the admin key when this start made it.
func (a *App) AdminKey() (token string, created bool) { return a.adminKey, a.created }

// Handler returns the HTTP handler, for a program that serves it itself; nil before Start.
func (a *App) Handler() http.Handler { return a.handler }

// Stop stops: no more requests, what is being sent may finish until ctx is done (at most the configured grace), the
// rest is handed back to the queue. A second call returns what the first did.
func (a *App) Stop(ctx context.Context) error {
	a.stopOnce.Do(func() {
		grace := time.Duration(a.config.Grace)
		if a.fenced() { // others send what is under way here
			grace = min(grace, fencedGrace)
		}
		ctx, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		if a.member != nil {
			a.member.Leave() // the others begin with what waits while this node ends what it has begun
		}
		a.stopErr = a.down.Stop(ctx)
		if a.fenced() {
			a.stopErr = unfenced(a.stopErr)
		}
	})
	return a.stopErr
}

func (a *App) now() time.Time { return a.o.Now() }

// raise tells of a link that is gone.
func (a *App) raise(ctx context.Context, n deliver.Notice, l *patchbay.Link, short string) error {
	return a.ingest.Notice(ctx, n, ingest.Subject{Link: l, ShortName: short})
}

// notice carries out what the engine noticed about a link.
func (a *App) notice(ctx context.Context, n deliver.Notice) {
	link, short, ok := a.links.Describe(n.Link)
	if !ok {
		return // deleted in the meantime
	}
	if err := a.ingest.Notice(ctx, n, ingest.Subject{Link: link, ShortName: short}); err != nil {
		a.log.Error("an event about a link could not be raised", "type", n.Type, "link", n.Link, "error", err)
		return
	}
	a.log.Info("link: "+n.Type, "link", n.Link, "why", n.Why, "failures", n.Failures)
}
