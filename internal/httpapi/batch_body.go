package httpapi

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// pacedBody reads a body that may take hours, but never pauses for longer than batchIdle.
type pacedBody struct {
	body io.Reader
	conn *http.ResponseController

	mu    sync.Mutex
	ended bool
	until time.Time
}

// Read implements io.Reader.
func (p *pacedBody) Read(b []byte) (int, error) {
	if err := p.extend(); err != nil {
		return 0, err
	}
	return p.body.Read(b)
}

func (p *pacedBody) extend() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return errBodyEnded
	}
	if until := time.Now().Add(batchIdle); until.Sub(p.until) > time.Second {
		p.until = until
		_ = p.conn.SetReadDeadline(until) // not every connection can; then the server's own limits hold
	}
	return nil
}

// endWith ends the body when a channel is closed, until the function that it returns is called.
func (p *pacedBody) endWith(stopping <-chan struct{}) (done func()) {
	over := make(chan struct{})
	var owned sync.WaitGroup
	owned.Go(func() {
		select {
		case <-stopping:
			p.end()
		case <-over:
		}
	})
	return func() {
		close(over)
		owned.Wait()
	}
}

var errBodyEnded = errors.New("no more of the body is read")

// end makes the read that is under way, and every later one, fail.
func (p *pacedBody) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	_ = p.conn.SetReadDeadline(time.Unix(1, 0))
}

// drain reads on for a moment, so that a caller that is still sending can come to its answer.
func (p *pacedBody) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.conn.SetReadDeadline(time.Now().Add(batchLinger))
	_, _ = io.CopyN(io.Discard, p.body, batchDrain)
}
