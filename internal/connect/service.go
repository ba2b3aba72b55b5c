package connect

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/outbound"
	"github.com/patchbay/patchbay/internal/store"
)

// Store is what the service needs of the database.
type Store interface {
	store.Connections
	store.Flows
	// NewID makes n consecutive identifiers and returns the first.
	NewID(n int) int64
}

// Options configure a Service.
type Options struct {
	Store        Store
	Integrations map[string]integration.Integration
	// Configs are the operator's settings by integration.
	Configs map[string]json.RawMessage
	// Client is the guarded way out.
	Client *outbound.Client
	// PublicURL returns where browsers and partners reach this installation, without a slash at its end; "" when nobody said.
	PublicURL func() string
	// Development allows a public URL without TLS.
	Development bool
	// Links knows what uses connections; nil means nothing does.
	Links Links
	// Notify is called when a connection has begun to need its owner, once for each time, at one node; nil tells nobody.
	Notify func(context.Context, Notice) error
	Log    *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Random returns numbers in [0,1) for jitter; nil means math/rand.
	Random func() float64
	// Cell says whose connections these are.
	Cell access.Cell
}

// Service looks after connections.
type Service struct {
	o      Options
	now    func() time.Time
	random func() float64
	pace   pace

	// change is held from a write to (or a read of) the database until memory says the same, so that memory never goes back.
	// It is not held while a partner is asked.
	change sync.Mutex
	mu     sync.RWMutex
	known  map[patchbay.ConnectionID]*entry
	byWho  map[who]map[patchbay.ConnectionID]bool

	renewals renewals
	run      context.Context
	stop     context.CancelFunc
	owned    sync.WaitGroup
}

// entry is a connection in memory.
type entry struct {
	// con has no credentials but for when they end.
	con *patchbay.Connection
	// credentials are nil until they are used, and again when they have not been for a while.
	credentials *patchbay.Credentials
	usedAt      time.Time
	// refused identifies credentials that the partner did not take; see fingerprint.
	refused fingerprint
	// failures counts refreshes that failed in a row, notBefore is when the next one may be tried.
	failures  int
	notBefore time.Time
}

// who is an account.
type who struct{ integration, account string }

// New returns a Service that knows no connections; Load reads them.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	s := &Service{
		o: o, now: o.Now, random: o.Random, pace: defaultPace,
		known: map[patchbay.ConnectionID]*entry{}, byWho: map[who]map[patchbay.ConnectionID]bool{},
	}
	s.run, s.stop = context.WithCancel(context.Background())
	s.renewals.calls = map[patchbay.ConnectionID]*renewal{}
	return s
}

// loadPage is how many connections are read at a time.
const loadPage = 500

// Load reads every connection from the store.
func (s *Service) Load(ctx context.Context) error {
	s.change.Lock()
	defer s.change.Unlock()
	f := store.ConnectionFilter{Limit: loadPage}
	for {
		page, err := s.o.Store.Connections(ctx, f)
		if err != nil {
			return patchbay.Internal("reading the connections", err)
		}
		for i := range page {
			s.put(&page[i], nil)
		}
		if len(page) < loadPage {
			return nil
		}
		f.After = page[len(page)-1].ID
	}
}

// put makes a connection the current one in memory, unless a newer revision is there. credentials, when not nil, are kept
// for the next use.
func (s *Service) put(con *patchbay.Connection, credentials *patchbay.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[con.ID]
	if e == nil {
		e = &entry{}
		s.known[con.ID] = e
	} else {
		if e.con.Revision > con.Revision {
			return
		}
		s.unlist(e.con)
	}
	bare := *con
	bare.Credentials = patchbay.Credentials{
		Type: con.Credentials.Type, ExpiresAt: con.Credentials.ExpiresAt, RefreshExpiresAt: con.Credentials.RefreshExpiresAt,
	}
	if credentials != nil || e.con != nil && e.con.Revision < con.Revision {
		e.credentials = credentials
	}
	e.con = &bare
	if credentials != nil {
		e.usedAt = s.now()
	}
	at := who{con.Integration, con.Account.ID}
	if s.byWho[at] == nil {
		s.byWho[at] = map[patchbay.ConnectionID]bool{}
	}
	s.byWho[at][con.ID] = true
}

// unlist takes a connection out of the accounts. The caller holds s.mu.
func (s *Service) unlist(con *patchbay.Connection) {
	at := who{con.Integration, con.Account.ID}
	delete(s.byWho[at], con.ID)
	if len(s.byWho[at]) == 0 {
		delete(s.byWho, at)
	}
}

// forget takes a connection that was deleted out of memory. The caller holds s.change.
func (s *Service) forget(id patchbay.ConnectionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[id]; e != nil {
		s.unlist(e.con)
		delete(s.known, id)
	}
}

// Refresh takes over what the store says of a connection, which another node has changed.
func (s *Service) Refresh(ctx context.Context, id patchbay.ConnectionID) error {
	_, err := s.readAnew(ctx, id, false)
	if patchbay.CodeOf(err) == patchbay.CodeNotFound {
		return nil
	}
	return err
}

// readAnew reads a connection, with its credentials, from the store. Memory learns of it, and of its credentials too when
// they are about to be used.
func (s *Service) readAnew(ctx context.Context, id patchbay.ConnectionID, use bool) (*patchbay.Connection, error) {
	s.change.Lock()
	defer s.change.Unlock()
	con, err := s.o.Store.Connection(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.forget(id)
		return nil, notFound(id)
	case errors.Is(err, store.ErrSealed):
		return nil, &patchbay.Error{Code: patchbay.CodeServiceError, Message: "the credentials of this connection cannot be opened with the keys in this installation's key file", Err: err}
	case err != nil:
		return nil, unavailable("reading the connection", err)
	}
	var credentials *patchbay.Credentials
	if use {
		credentials = &con.Credentials
	}
	s.put(con, credentials)
	return con, nil
}

// Known returns a connection from memory, without its credentials.
func (s *Service) Known(id patchbay.ConnectionID) (*patchbay.Connection, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.known[id]
	if e == nil {
		return nil, false
	}
	con := *e.con
	return &con, true
}

// ByAccount returns the connections of an account at a partner from memory, without their credentials, the oldest first.
func (s *Service) ByAccount(integration, account string) []patchbay.Connection {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := slices.Sorted(maps.Keys(s.byWho[who{integration, account}]))
	out := make([]patchbay.Connection, len(ids))
	for i, id := range ids {
		out[i] = *s.known[id].con
	}
	return out
}

// States counts connections by their state; every state is there.
func (s *Service) States() map[patchbay.ConnectionState]int {
	out := map[patchbay.ConnectionState]int{patchbay.ConnectionActive: 0, patchbay.ConnectionDegraded: 0, patchbay.ConnectionNeedsReauth: 0}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.known {
		out[e.con.State]++
	}
	return out
}

// partner is an integration that accounts can be connected of.
type partner struct {
	key    string
	title  string
	def    *integration.Definition
	c      integration.Connector
	config json.RawMessage
	how    *integration.Connect
}

// partner returns what is needed to talk to a partner about accounts. The error says why that is not possible here.
func (s *Service) partner(key string) (*partner, error) {
	i, ok := s.o.Integrations[key]
	if !ok {
		return nil, patchbay.Errorf(patchbay.CodeUnsupportedIntegration,
			"there is no integration %q; GET /integrations lists those that there are", clip(key))
	}
	def := i.Definition()
	c, ok := i.(integration.Connector)
	if !ok {
		return nil, patchbay.Errorf(patchbay.CodeUnsupportedIntegration,
			"accounts of %s cannot be connected: its links need no connection", def.Title)
	}
	p := &partner{key: key, title: def.Title, def: def, c: c, config: s.o.Configs[key]}
	how, err := c.Connect(p.config)
	if err != nil {
		return nil, patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
			"accounts of %s cannot be connected on this installation: %w", def.Title, err)
	}
	n := 0
	for _, is := range []bool{how.OAuth2 != nil, how.OAuth1 != nil, how.Keys != nil} {
		if is {
			n++
		}
	}
	if n != 1 {
		return nil, patchbay.Internal("reading how "+key+" is connected", errors.New("Connect must set exactly one of OAuth2, OAuth1 and Keys"))
	}
	p.how = how
	return p, nil
}

// Method says how accounts of an integration are connected. Its error says why they cannot be, on this installation.
func (s *Service) Method(key string) (*Method, error) {
	p, err := s.partner(key)
	if err != nil {
		return nil, err
	}
	if p.how.Keys != nil {
		return &Method{Keys: p.how.Keys}, nil
	}
	redirect, err := s.redirect(key)
	if err != nil {
		return nil, err
	}
	return &Method{Browser: true, Redirect: redirect}, nil
}

// redirect is the address that a partner sends browsers back to. It is made of the configured public address alone, never
// of what a request says its host is.
func (s *Service) redirect(key string) (string, error) {
	base := s.public()
	u, err := url.Parse(base)
	switch {
	case base == "" || err != nil || u.Host == "":
		return "", patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
			"accounts cannot be connected before the installation knows its public address: set public-url, such as https://hooks.example.com")
	case u.Scheme != "https" && !s.o.Development:
		return "", patchbay.Errorf(patchbay.CodeMisconfiguredIntegration,
			"accounts cannot be connected over plain http: serve with TLS and set public-url to an https:// address")
	}
	return base + "/auth/" + key + "/callback", nil
}

func (s *Service) public() string {
	if s.o.PublicURL == nil {
		return ""
	}
	return strings.TrimSuffix(s.o.PublicURL(), "/")
}

// secure reports whether browsers reach this installation over TLS.
func (s *Service) secure() bool { return strings.HasPrefix(s.public(), "https://") }

// env is the environment of one call to an integration, and what hides secrets in what came of it.
func (s *Service) env(p *partner, secrets []string) (*integration.Env, *outbound.Attempt) {
	wire := s.o.Client.AttemptWith(outbound.NewRedactor(append(p.secrets(), secrets...)))
	return &integration.Env{
		HTTP: wire, Dial: s.o.Client.Dial, Record: wire.Record, Config: p.config, Log: s.o.Log, Now: s.now, PublicURL: s.public(),
	}, wire
}

// secrets are the operator's.
func (p *partner) secrets() []string {
	out := p.def.Config.Secrets(p.config)
	if o := p.how.OAuth2; o != nil {
		out = append(out, o.ClientSecret.Reveal())
	}
	if o := p.how.OAuth1; o != nil {
		out = append(out, o.ConsumerSecret.Reveal(), o.PrivateKey.Reveal())
	}
	return out
}
