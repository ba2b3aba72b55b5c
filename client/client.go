// Package client is a typed client of Patchbay's HTTP API. Every call makes one request: it never retries, so a caller
// that publishes with an idempotency key may simply call again after an error. Errors of the API come back as *Error,
// from which patchbay.CodeOf reads the code.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
)

// DefaultServer is where an installation serves by default.
const DefaultServer = "http://127.0.0.1:8080"

// maxAnswer bounds an answer, so that a wrong server cannot fill the memory. The largest one, a page of 250 events of
// 1 MiB each, stays below it.
const maxAnswer = 512 << 20

// Options say which installation to talk to, and as whom.
type Options struct {
	// Server is the installation's URL; "" means DefaultServer.
	Server string
	// Key is an API key; "" sends none, which is enough for an installation in development mode.
	Key patchbay.Secret
	// HTTP makes the requests; nil means a client of its own that follows no redirects.
	HTTP *http.Client
	// Timeout bounds a call that is not a stream; 0 means 30 seconds.
	Timeout time.Duration
	// UserAgent names the program; "" means "patchbay-client".
	UserAgent string
	// OnAnswer, when not nil, sees the body of every successful JSON answer as it came.
	OnAnswer func(body []byte)
}

// Client talks to one installation. It is safe for concurrent use.
type Client struct {
	base *url.URL
	o    Options
}

// New returns a client. It makes no request.
func New(o Options) (*Client, error) {
	if o.Server == "" {
		o.Server = DefaultServer
	}
	base, err := url.Parse(strings.TrimSuffix(o.Server, "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Hostname() == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "%q is not the address of an installation: write it as %s", o.Server, DefaultServer)
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{
			Transport:     http.DefaultTransport.(*http.Transport).Clone(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.UserAgent == "" {
		o.UserAgent = "patchbay-client"
	}
	return &Client{base: base, o: o}, nil
}

// Server returns the installation's URL.
func (c *Client) Server() string { return c.base.String() }

// Close closes connections that are idle.
func (c *Client) Close() { c.o.HTTP.CloseIdleConnections() }

// Error is an error that the API answered with.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code, Message, Details and RetryAfter (seconds) are what patchbay.Error says of them.
	Code       patchbay.Code
	Message    string
	Details    []patchbay.Detail
	RetryAfter int
	// Results, ResponseCode and ResponseBody are of a failed inline call: what came of each integration, and what the
	// first that failed answered.
	Results      []Result
	ResponseCode int
	ResponseBody string
}

// Error returns the API's sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the error as the rest of Patchbay knows it.
func (e *Error) Unwrap() error {
	return &patchbay.Error{Code: e.Code, Message: e.Message, Details: e.Details, RetryAfter: e.RetryAfter}
}

// request is one call.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	// body is sent as JSON when not nil, lines as they are, as NDJSON.
	body  any
	lines io.Reader
}

// do makes a call and decodes its answer into out: nothing for nil, the text itself for a *string, else JSON.
func (c *Client) do(ctx context.Context, r request, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %w", c.base, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, c.failure(resp, body)
	}
	switch out := out.(type) {
	case nil:
		return resp.Header, nil
	case *string:
		*out = string(body)
		return resp.Header, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("the answer of %s to %s %s cannot be read (is it Patchbay, and this version?): %w", c.base, r.method, r.path, err)
	}
	if c.o.OnAnswer != nil {
		c.o.OnAnswer(body)
	}
	return resp.Header, nil
}

func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, patchbay.Errorf(patchbay.CodeInvalidRequest, "what is to be sent is not JSON: %w", err)
		}
		body = bytes.NewReader(b)
	} else if r.lines != nil {
		body = r.lines
	}
	target := *c.base
	target.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), body)
	if err != nil {
		return nil, err
	}
	// The path's segments are escaped already; set by hand so that an escaped slash stays one.
	req.URL.Opaque = ""
	if req.URL.Path, err = url.PathUnescape(c.base.EscapedPath() + r.path); err != nil {
		return nil, err
	}
	req.URL.RawPath = c.base.EscapedPath() + r.path
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.lines != nil {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	if c.o.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Key.Reveal())
	}
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the rest repeats the method and the address
		}
		return nil, &UnreachableError{Server: c.base.String(), Err: err}
	}
	return resp, nil
}

// UnreachableError is the error of a call that got no answer.
type UnreachableError struct {
	Server string
	Err    error
}

// Error names the server and the cause.
func (u *UnreachableError) Error() string {
	return fmt.Sprintf("%s does not answer: %v", u.Server, u.Err)
}

// Unwrap returns the cause.
func (u *UnreachableError) Unwrap() error { return u.Err }

func (c *Client) failure(resp *http.Response, body []byte) error {
	var answer struct {
		Error        string            `json:"error"`
		Type         patchbay.Code     `json:"type"`
		Details      []patchbay.Detail `json:"details"`
		Results      []Result          `json:"results"`
		ResponseCode int               `json:"failed_response_code"`
		ResponseBody string            `json:"failed_response_body"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Error == "" {
		return &Error{Status: resp.StatusCode, Code: patchbay.CodeInternal,
			Message: fmt.Sprintf("%s answered %s without saying why: is it Patchbay?", c.base, resp.Status)}
	}
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date or nothing is "no hint"
	return &Error{
		Status: resp.StatusCode, Code: answer.Type, Message: answer.Error, Details: answer.Details, RetryAfter: after,
		Results: answer.Results, ResponseCode: answer.ResponseCode, ResponseBody: answer.ResponseBody,
	}
}

// call makes a call whose answer is a T.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (*T, error) {
	out := new(T)
	if _, err := c.do(ctx, request{method: method, path: path, query: query, body: body}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Page is a part of a list.
type Page[T any] struct {
	Data []T `json:"data"`
	// Next is the cursor of the next page; "" on the last.
	Next string `json:"next"`
}

// Paging selects a page.
type Paging struct {
	// Limit is how many at most, up to 250; 0 leaves it to the server.
	Limit int
	// Cursor is the Next of the page before.
	Cursor string
}

func (p Paging) query() url.Values {
	q := url.Values{}
	set(q, "cursor", p.Cursor)
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

// set adds a parameter unless it is empty.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func setTime(q url.Values, name string, t time.Time) {
	if !t.IsZero() {
		q.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
}

// Ready reports whether the installation takes events; the error says why it does not.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/readyz"}, nil)
	return err
}

// Metrics returns the installation's metrics in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	var text string
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/metrics"}, &text)
	return text, err
}
