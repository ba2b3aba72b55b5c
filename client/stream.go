package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/patchbay/patchbay"
)

// maxLine bounds one line of a stream: an event of MaxEventBody with what is around it.
const maxLine = 4 * patchbay.MaxEventBody

// StreamFilter selects what a stream shows. Zero fields select everything.
type StreamFilter struct {
	// Kinds are "event", "delivery" and "attempt".
	Kinds []string
	// Types are patterns of event types.
	Types []patchbay.Pattern
	// Scope selects what lies at or below it.
	Scope       patchbay.Scope
	Link        patchbay.LinkID
	Integration string
}

// Item is something that a stream shows.
type Item struct {
	// Kind is "event", "delivery" or "attempt", or "lagged" when this reader was too slow and lost items.
	Kind string
	// Data is its JSON.
	Data json.RawMessage
}

// Stream is a live view of an installation. It shows what happens after Client.Stream returned.
type Stream struct {
	server string
	body   io.ReadCloser
	lines  *bufio.Scanner
}

// Stream begins to watch. The stream lasts until ctx is done, or it is closed, or the connection ends.
func (c *Client) Stream(ctx context.Context, f StreamFilter) (*Stream, error) {
	resp, err := c.send(ctx, request{
		method: http.MethodGet, path: "/v1/stream", query: f.query(), header: http.Header{"Accept": {"text/event-stream"}},
	})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what arrived of a refusal is good enough
		return nil, c.failure(resp, body)
	}
	return &Stream{server: c.base.String(), body: resp.Body, lines: lines(resp.Body)}, nil
}

func lines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	return s
}

// Close ends the stream.
func (s *Stream) Close() error { return s.body.Close() }

// Next waits for the next item. Its error, also at the end of the connection, is *UnreachableError.
func (s *Stream) Next() (Item, error) {
	var item Item
	for s.lines.Scan() {
		line := s.lines.Bytes()
		if len(line) == 0 {
			if item.Data != nil {
				return item, nil
			}
			item = Item{}
			continue
		}
		// A line without a name is a comment, which keeps the connection alive.
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			item.Kind = string(value)
		case "data":
			if item.Data != nil {
				item.Data = append(item.Data, '\n')
			}
			item.Data = append(item.Data, value...)
		}
	}
	err := s.lines.Err()
	if err == nil {
		err = errors.New("the stream ended")
	}
	return Item{}, &UnreachableError{Server: s.server, Err: err}
}

func (f StreamFilter) query() url.Values {
	q := url.Values{}
	set(q, "kind", strings.Join(f.Kinds, ","))
	types := make([]string, len(f.Types))
	for i, t := range f.Types {
		types[i] = string(t)
	}
	set(q, "type", strings.Join(types, ","))
	set(q, "scope", string(f.Scope))
	set(q, "link", f.Link.String())
	set(q, "integration", f.Integration)
	return q
}
