package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// publishTimeout bounds one call. It is long: under load an answer waits for its turn, and a broken run should be seen
// as such, not as a fast one.
const publishTimeout = 30 * time.Second

// publisher publishes events over keep-alive connections and does as little as possible besides: the machine is shared
// with what is measured.
type publisher struct {
	addrs    []string
	dialled  atomic.Int64
	template *template
	next     *atomic.Int64 // the last number that was used
	accepted atomic.Int64
	refused  atomic.Int64

	mu  sync.Mutex
	err error
}

// newPublisher publishes to several addresses in turns.
func newPublisher(addrs []string, t *template) *publisher {
	return &publisher{addrs: addrs, template: t, next: &atomic.Int64{}}
}

// connection is one keep-alive connection of a publisher.
type connection struct {
	net.Conn
	r        *bufio.Reader
	template *template
}

func (p *publisher) dial(ctx context.Context) (*connection, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", p.addrs[int(p.dialled.Add(1))%len(p.addrs)])
	if err != nil {
		return nil, err
	}
	return &connection{Conn: c, r: bufio.NewReaderSize(c, 4<<10), template: p.template.clone()}, nil
}

// publish sends one event that was made at a time and reads the answer.
func (p *publisher) publish(c *connection, made time.Time) error {
	_ = c.SetDeadline(made.Add(publishTimeout))
	if _, err := c.Write(c.template.fill(firstNumber+p.next.Add(1)-1, made.UnixNano())); err != nil {
		return err
	}
	status, err := readAnswer(c.r)
	if err != nil {
		return err
	}
	if status == 201 {
		p.accepted.Add(1)
		return nil
	}
	p.refused.Add(1)
	if status != 429 && status != 503 {
		return fmt.Errorf("an event was answered with %d", status)
	}
	return nil
}

// readAnswer reads one answer and returns its status.
func readAnswer(r *bufio.Reader) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, errors.New("that is not an HTTP answer")
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, errors.New("that is not an HTTP answer")
	}
	length := 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if name := []byte("content-length:"); len(line) > len(name) && bytes.EqualFold(line[:len(name)], name) {
			n, _ := leadingInt(bytes.TrimSpace(line[len(name):]))
			length = int(n)
		}
	}
	_, err = r.Discard(length)
	return status, err
}

func (p *publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// closed keeps a number of publishers busy, each with the next event as soon as the last is answered, until ctx is done
// or count events (0: any) are on their way.
func (p *publisher) closed(ctx context.Context, publishers int, count int64) error {
	limit := p.next.Load() + count
	var owned sync.WaitGroup
	for range publishers {
		owned.Go(func() {
			c, err := p.dial(ctx)
			if err != nil {
				if ctx.Err() == nil {
					p.fail(err)
				}
				return
			}
			defer c.Close()
			for ctx.Err() == nil && (count == 0 || p.next.Load() < limit) {
				if err := p.publish(c, time.Now()); err != nil {
					p.fail(err)
					return
				}
			}
		})
	}
	owned.Wait()
	return p.err
}

// open publishes at a rate, whatever the answers take. An event's time is when it was its turn.
func (p *publisher) open(ctx context.Context, rate int) error {
	const connections = 16
	turns := make(chan time.Time, rate)
	var owned sync.WaitGroup
	for range connections {
		owned.Go(func() {
			c, err := p.dial(ctx)
			if err != nil {
				p.fail(err)
				return
			}
			defer c.Close()
			for made := range turns {
				if err := p.publish(c, made); err != nil {
					p.fail(err)
					return
				}
			}
		})
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			select {
			case turns <- time.Now():
			default: // a second behind: the run is broken, and its latencies say so
			}
		}
	}
	close(turns)
	owned.Wait()
	return p.err
}
