package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/patchbay/patchbay"
)

// BatchOptions say how a batch is accepted.
type BatchOptions struct {
	// Ordered accepts one event after the other, in their order.
	Ordered bool
}

// BatchAnswer is what came of one event of a batch.
type BatchAnswer struct {
	// Status is "ok" or "error".
	Status string `json:"status"`
	// ID and Deliveries are of an event that is durable. Replayed says that it was before.
	ID         patchbay.EventID `json:"id"`
	Deliveries int              `json:"deliveries"`
	Replayed   bool             `json:"replayed"`
	// Message, Code, Details and RetryAfter (seconds) are of one that was not accepted, as patchbay.Error has them.
	Message    string            `json:"error"`
	Code       patchbay.Code     `json:"type"`
	Details    []patchbay.Detail `json:"details"`
	RetryAfter int               `json:"retry_after"`
	// Stopped says that nothing from this event on was accepted.
	Stopped bool `json:"stopped"`
}

// Err returns the error of an event that was not accepted, nil for one that was.
func (a *BatchAnswer) Err() error {
	if a.Status == "ok" {
		return nil
	}
	return &patchbay.Error{Code: a.Code, Message: a.Message, Details: a.Details, RetryAfter: a.RetryAfter}
}

// PublishLines publishes events as they come from lines: NDJSON, one event a line. It calls answered for each event that
// is not a blank line, in their order, as soon as it is durable or refused, and returns when lines has ended and
// everything is answered, or when answered returns an error, which it returns. It lasts as long as lines does: Timeout
// does not bound it. Events that were not answered when it returns an error may or may not have been accepted; send them
// again with an ID.
func (c *Client) PublishLines(ctx context.Context, lines io.Reader, o BatchOptions, answered func(BatchAnswer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := url.Values{}
	if o.Ordered {
		q.Set("ordered", "true")
	}
	resp, err := c.send(ctx, request{method: http.MethodPost, path: "/v1/events/batch", query: q, lines: lines})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what arrived of a refusal is good enough
		return c.failure(resp, body)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	for in.Scan() {
		var a BatchAnswer
		if err := json.Unmarshal(in.Bytes(), &a); err != nil {
			return fmt.Errorf("an answer of %s to a batch cannot be read (is it Patchbay, and this version?): %w", c.base, err)
		}
		if c.o.OnAnswer != nil {
			c.o.OnAnswer(in.Bytes())
		}
		if err := answered(a); err != nil {
			return err
		}
		if a.Stopped {
			return a.Err()
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, io.EOF) {
		return &UnreachableError{Server: c.base.String(), Err: err}
	}
	return nil
}
