package oidc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay/patchbay/integration"
)

const (
	// callTime bounds one call to the provider.
	callTime = 10 * time.Second
	// maxBody is far above what a provider's documents have.
	maxBody = 1 << 20
)

// newClient is the guarded way out as the libraries want it.
func newClient(out integration.HTTP) *http.Client {
	return &http.Client{
		Transport: transport{out}, Timeout: callTime,
		// Nothing that is asked of a provider is answered elsewhere, and a code must not be.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport makes requests of the libraries through the guarded client, which reads whole answers.
type transport struct{ out integration.HTTP }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	req := &integration.Request{Method: r.Method, URL: r.URL.String(), Limit: maxBody}
	if r.Body != nil {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	for name, values := range r.Header {
		for _, v := range values {
			req.Header.Add(name, v)
		}
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Add("Accept", "application/json")
	}
	resp, err := t.out.Do(r.Context(), req)
	if err != nil {
		return nil, err
	}
	if resp.Truncated {
		return nil, errors.New("its answer is larger than a provider's can be")
	}
	h := http.Header{}
	for _, f := range resp.Header {
		h.Add(f.Name, f.Value)
	}
	return &http.Response{
		Status: strings.TrimSpace(fmt.Sprintf("%d %s", resp.Status, http.StatusText(resp.Status))), StatusCode: resp.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(bytes.NewReader(resp.Body)),
		ContentLength: int64(len(resp.Body)), Request: r,
	}, nil
}
