package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/patchbay/patchbay/integration"
)

// The defaults of Options.
const (
	// DefaultTimeout is how long a request may take when its context has no deadline.
	DefaultTimeout = 15 * time.Second
	// DefaultMaxIdle and DefaultMaxIdlePerHost bound the connections that wait for a next request.
	DefaultMaxIdle        = 1024
	DefaultMaxIdlePerHost = 64
	// DefaultIdleTimeout is below the 60 seconds after which common load balancers close.
	DefaultIdleTimeout = 50 * time.Second
)

const (
	// bufferSize is what one request in flight holds for what it reads, and for what it writes.
	bufferSize = 4 << 10
	// maxPooledScratch keeps memory that a large header needed from staying.
	maxPooledScratch = 16 << 10
)

// Options configure a Client.
type Options struct {
	// Guard says which addresses are dialled.
	Guard Guard
	// Proxy is the explicit egress proxy; nil dials directly. The environment's proxies are never used.
	Proxy *url.URL
	// Version stands in the User-Agent: "Patchbay/<version>". Default "dev".
	Version string
	// Timeout, MaxIdle, MaxIdlePerHost and IdleTimeout have the defaults above.
	Timeout                 time.Duration
	MaxIdle, MaxIdlePerHost int
	IdleTimeout             time.Duration
	// RootCAs are the authorities that certificates are checked against; nil means the system's.
	RootCAs *x509.CertPool
	// Resolver turns names into addresses; nil means net.DefaultResolver.
	Resolver Resolver
}

// Client makes HTTP/1.1 requests in the goroutine of its caller: one write, one read, and no goroutine of its own. It
// implements integration.HTTP; Attempt is the same with a memory. It is safe for concurrent use.
type Client struct {
	dialer    *dialer
	proxy     *proxy
	pool      *pool
	timeout   time.Duration
	userAgent string
	tls       *tls.Config
	memory    *budget
	readers   sync.Pool // *bufio.Reader
	scratches sync.Pool // *[]byte
}

var _ integration.HTTP = (*Client)(nil)

// New returns a client. Close releases its connections.
func New(o Options) *Client {
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxIdle <= 0 {
		o.MaxIdle = DefaultMaxIdle
	}
	if o.MaxIdlePerHost <= 0 {
		o.MaxIdlePerHost = DefaultMaxIdlePerHost
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	c := &Client{
		dialer:    newDialer(o.Guard, o.Resolver),
		proxy:     newProxy(o.Proxy, o.RootCAs),
		pool:      newPool(o.MaxIdle, o.MaxIdlePerHost, o.IdleTimeout),
		timeout:   o.Timeout,
		userAgent: "Patchbay/" + o.Version,
		memory:    newBudget(bodyMemory),
		tls: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			NextProtos:         []string{"http/1.1"},
			RootCAs:            o.RootCAs,
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
		},
	}
	c.readers.New = func() any { return bufio.NewReaderSize(nil, bufferSize) }
	c.scratches.New = func() any { b := make([]byte, 0, bufferSize); return &b }
	return c
}

// Close closes the idle connections, and those in use when they come back. Requests still work after it.
func (c *Client) Close() error {
	c.pool.close()
	return nil
}

// Dial opens a guarded TCP connection to host:port for other protocols than HTTP. It does not use the proxy.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	start := time.Now()
	ctx, cancel, limit := c.bound(ctx, start)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, unreadable("the address to dial must be host:port")
	}
	if host, err = asciiHost(host); err != nil {
		return nil, err
	}
	nc, err := c.dialer.dial(ctx, network, host, port)
	if err != nil {
		return nil, describe(ctx, err, limit)
	}
	return nc, nil
}

// bound gives a context without a deadline the client's timeout, and says how long there is in all.
func (c *Client) bound(ctx context.Context, start time.Time) (context.Context, context.CancelFunc, time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		return ctx, func() {}, deadline.Sub(start)
	}
	ctx, cancel := context.WithDeadline(ctx, start.Add(c.timeout))
	return ctx, cancel, c.timeout
}

// Do sends the request and reads the answer; see integration.HTTP. It takes until ctx's deadline, or DefaultTimeout
// without one. Errors are a *RefusedError, or a sentence that wraps context.DeadlineExceeded or context.Canceled where that
// is why.
//
// A connection that the server closes while it is idle may turn out to be closed only when it is used. Then the
// request is sent once more, on a new connection, if it has not been answered by a single byte. As everywhere in the
// delivery of events, the receiver may get it twice that way, with the same identifier.
func (c *Client) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	t, err := parseTarget(req.URL)
	if err != nil {
		return nil, err
	}
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	start := time.Now()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = start.Add(c.timeout)
	}
	if err := ctx.Err(); err != nil {
		return nil, describe(ctx, err, deadline.Sub(start))
	}
	cn := c.pool.take(t.origin, deadline)
	if cn == nil {
		if cn, err = c.connect(ctx, &t, deadline); err != nil {
			return nil, describe(ctx, err, deadline.Sub(start))
		}
	}
	a, started, err := c.roundTrip(ctx, cn, &t, req)
	if err != nil && cn.reused && !started && isGone(err) && ctx.Err() == nil {
		if cn, err = c.connect(ctx, &t, deadline); err == nil {
			a, _, err = c.roundTrip(ctx, cn, &t, req)
		}
	}
	if err != nil {
		return nil, describe(ctx, err, deadline.Sub(start))
	}
	if a.retry != "" {
		now := time.Now()
		if date, ok := parseDate(a.date); ok {
			now = date // the pause is meant by the server's clock
		}
		a.RetryAfter = RetryAfter(a.retry, now)
	}
	return &a.Response, nil
}

// isGone reports whether an error says that the other side has closed the connection.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// connect opens a new connection.
func (c *Client) connect(ctx context.Context, t *target, deadline time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var nc net.Conn
	var err error
	if c.proxy != nil {
		nc, err = c.proxy.dial(ctx, c.dialer, t)
	} else {
		nc, err = c.dialer.dial(ctx, "tcp", t.name, t.port)
	}
	if err != nil {
		return nil, err
	}
	if t.origin.tls {
		config := c.tls.Clone()
		config.ServerName = t.name
		if nc, err = startTLS(ctx, nc, config); err != nil {
			return nil, err
		}
	}
	cn := newConn(nc, t.origin)
	if err := cn.SetDeadline(deadline); err != nil {
		cn.Close()
		return nil, err
	}
	if !t.origin.tls {
		cn.via = c.proxy
	}
	return cn, nil
}

// roundTrip makes one exchange on cn, and puts it back into the pool or closes it. started says whether any byte of
// an answer came.
func (c *Client) roundTrip(ctx context.Context, cn *conn, t *target, req *integration.Request) (a *answer, started bool, err error) {
	var stop func() bool
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, cn.abort)
	}
	a, started, err = c.exchange(cn, t, req)
	undisturbed := stop == nil || stop()
	if err != nil || !a.reusable || !undisturbed {
		cn.Close()
		return a, started, err
	}
	cn.reused = true
	c.pool.put(cn)
	return a, started, nil
}

func (c *Client) exchange(cn *conn, t *target, req *integration.Request) (a *answer, started bool, err error) {
	scratch := c.scratches.Get().(*[]byte)
	b := c.appendHead((*scratch)[:0], t, req, cn.via)
	writeErr := write(cn, &b, req.Body)

	br := c.readers.Get().(*bufio.Reader)
	br.Reset(cn)
	limit := integration.MaxResponse
	if req.Limit > 0 {
		limit = min(req.Limit, limit)
	}
	// A server that refuses a large body may answer and close before it has read all of it. The answer says more
	// than the write's error.
	if writeErr == nil || !isTimeout(writeErr) {
		a, b, started, err = readAnswer(br, b, req.Method, limit, c.memory)
	}
	if writeErr != nil {
		if a == nil {
			err = writeErr
		} else {
			a.reusable = false
		}
	}
	br.Reset(nil)
	c.readers.Put(br)
	if cap(b) <= maxPooledScratch {
		*scratch = b[:0]
		c.scratches.Put(scratch)
	}
	return a, started, err
}

// write sends head and body in one packet when they are small, else with one system call.
func write(cn *conn, head *[]byte, body []byte) error {
	if len(*head)+len(body) <= bufferSize || len(body) == 0 {
		*head = append(*head, body...)
		_, err := cn.Write(*head)
		return err
	}
	if _, plain := cn.Conn.(*net.TCPConn); plain {
		both := net.Buffers{*head, body}
		_, err := both.WriteTo(cn.Conn)
		return err
	}
	if _, err := cn.Write(*head); err != nil {
		return err
	}
	_, err := cn.Write(body)
	return err
}
