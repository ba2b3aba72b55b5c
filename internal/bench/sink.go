package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxSinkHead and maxSinkBody bound a request to the sink.
	maxSinkHead = 16 << 10
	maxSinkBody = 1 << 20
	// verifyEvery is how often the sink checks a signature of the first link: often enough to know that requests are
	// signed, seldom enough to cost nothing.
	verifyEvery = 512
	// maxLatency is the longest latency that the sink's histogram can hold.
	maxLatency = 60 * time.Second
)

// Sink is the receiver: an HTTP server that does as little as possible, so that what is measured is the sender. It
// knows every event by the number in its payload and so notices what is lost or comes twice.
//
// It answers POST /hit/<link> (a delivery), /fail/<link> and /slow/<link> (the same, but one event of
// failEvery is refused with 503 the first time, or each is answered after slowAnswer), POST /reset?links=&secret= (begin anew), GET /report, and POST
// /hang?count= (open that many addresses that never answer).
type Sink struct {
	listener net.Listener
	owned    sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	hanging  []net.Listener
	links    int
	key      []byte
	seen     []uint64 // a bit for every delivery
	report   Report
	latency  *hdrhistogram.Histogram
	received int64
	failed   map[int64]struct{} // the events that /fail has refused
	closed   chan struct{}      // closed by Close
}

// Report is what the sink has seen since it was reset.
type Report struct {
	// Distinct counts deliveries, Duplicates those that came more than once.
	Distinct   int64 `json:"distinct"`
	Duplicates int64 `json:"duplicates"`
	// Unreadable counts requests without a number, Forged those whose signature did not verify, Verified those whose
	// did (one of verifyEvery is checked).
	Unreadable int64 `json:"unreadable"`
	Forged     int64 `json:"forged"`
	Verified   int64 `json:"verified"`
	// Last is when the last new delivery came, in Unix nanoseconds.
	Last int64 `json:"last"`
	// The quantiles are of the time from the event's making to its arrival over the first link.
	P50  time.Duration `json:"p50"`
	P90  time.Duration `json:"p90"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`
}

// NewSink serves on a free port of this machine.
func NewSink(ctx context.Context) (*Sink, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the sink cannot be served: %w", err)
	}
	s := &Sink{listener: l, conns: map[net.Conn]struct{}{}, links: 1, closed: make(chan struct{})}
	s.reset(1, nil)
	s.owned.Go(func() { s.accept(l, s.serve) })
	return s, nil
}

// Addr is the address that the sink serves on.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Close ends the sink and every connection to it.
func (s *Sink) Close() {
	_ = s.listener.Close()
	close(s.closed)
	s.mu.Lock()
	for _, l := range s.hanging {
		_ = l.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.owned.Wait()
}

func (s *Sink) accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // out of file descriptors for a moment
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.owned.Go(func() {
			serve(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// hang reads and never answers.
func (s *Sink) hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

var (
	sinkOK      = []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	sinkFailure = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
)

// serve answers the requests of one connection.
func (s *Sink) serve(c net.Conn) {
	r := bufio.NewReaderSize(c, maxSinkHead)
	var body []byte
	for {
		head, length, err := readHead(r)
		if err != nil || length > maxSinkBody {
			return
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		body = body[:length]
		// The head lies in the reader's buffer, which reading the body overwrites.
		way, link, isHit := hitLink(head)
		var signed []byte
		s.mu.Lock()
		if link == 0 {
			s.received++
		}
		check := isHit && link == 0 && s.key != nil && s.received%verifyEvery == 0
		s.mu.Unlock()
		if check || !isHit {
			signed = bytes.Clone(head)
		}
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		reply := sinkOK
		switch {
		case !isHit:
			reply = s.control(signed)
		case way == failWay && s.fails(body):
			reply = sinkFailure
		default:
			s.hit(link, body, time.Now())
			if check {
				s.check(signed, body)
			}
			if way == slowWay && !s.pause() {
				return
			}
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// readHead reads the head of a request. It is valid until the next read.
func readHead(r *bufio.Reader) (head []byte, length int, err error) {
	for {
		// One byte more than there is: Peek waits for as many as it is asked for, and a request may be short.
		if _, err := r.Peek(r.Buffered() + 1); err != nil {
			return nil, 0, err
		}
		buffered, err := r.Peek(r.Buffered())
		if err != nil {
			return nil, 0, err
		}
		if end := bytes.Index(buffered, []byte("\r\n\r\n")); end >= 0 {
			head = buffered[:end+4]
			break
		}
	}
	if length, err = strconv.Atoi(headerValue(head, "content-length:")); err != nil {
		length = 0
	}
	_, _ = r.Discard(len(head)) // it is buffered
	return head, length, nil
}

// headerValue finds a field; name is in lower case with its colon.
func headerValue(head []byte, name string) string {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return string(bytes.TrimSpace(line[len(name):]))
		}
	}
	return ""
}

// The ways in which the sink takes deliveries.
const (
	hitWay  = "hit"
	failWay = "fail"
	slowWay = "slow"
)

const (
	// One of failEvery events is answered with 503 by /fail the first time: 5 %.
	failEvery = 20
	// slowAnswer is how long an answer of /slow takes.
	slowAnswer = 50 * time.Millisecond
)

// hitLink returns how a delivery is taken, and the number of its link; false when the request is none.
func hitLink(head []byte) (way string, link int, ok bool) {
	rest, ok := bytes.CutPrefix(head, []byte("POST /"))
	if !ok {
		return "", 0, false
	}
	for _, way := range []string{hitWay, failWay, slowWay} {
		if after, ok := bytes.CutPrefix(rest, []byte(way)); ok && len(after) > 0 && after[0] == '/' {
			n, _ := leadingInt(after[1:])
			return way, int(n), true
		}
	}
	return "", 0, false
}

// fails decides whether a request to /fail does. The same event does not fail twice: the second retry is half a minute
// away, and what has not arrived until then would count as lost.
func (s *Sink) fails(body []byte) bool {
	n, ok := numberAfter(body, numberField)
	if !ok || n%failEvery != 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, before := s.failed[n]
	s.failed[n] = struct{}{}
	return !before
}

// pause waits as long as a slow answer takes; false when the sink was closed meanwhile.
func (s *Sink) pause() bool {
	t := time.NewTimer(slowAnswer)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.closed:
		return false
	}
}

func leadingInt(b []byte) (int64, bool) {
	var n int64
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	return n, i > 0
}

// hit notes a delivery.
func (s *Sink) hit(link int, body []byte, now time.Time) {
	n, okN := numberAfter(body, numberField)
	sent, okT := numberAfter(body, timeField)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !okN || !okT || link >= s.links {
		s.report.Unreadable++
		return
	}
	place := (n-firstNumber)*int64(s.links) + int64(link)
	word, bit := place/64, uint64(1)<<(place%64)
	if place < 0 || word > 1<<24 {
		return // of an earlier run
	}
	if int(word) >= len(s.seen) {
		s.seen = append(s.seen, make([]uint64, int(word)+1-len(s.seen)+4096)...)
	}
	if s.seen[word]&bit != 0 {
		s.report.Duplicates++
		return
	}
	s.seen[word] |= bit
	s.report.Distinct++
	s.report.Last = now.UnixNano()
	if link == 0 { // the one whose latency counts
		_ = s.latency.RecordValue(min(max(now.UnixNano()-sent, 1), int64(maxLatency)))
	}
}

// numberAfter reads the number that follows a field's name in a body, whatever stands around it.
func numberAfter(body []byte, field string) (int64, bool) {
	at := bytes.Index(body, []byte(field))
	if at < 0 {
		return 0, false
	}
	return leadingInt(body[at+len(field):])
}

// check verifies a signature by Standard Webhooks.
func (s *Sink) check(head, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mac := hmac.New(sha256.New, s.key)
	fmt.Fprintf(mac, "%s.%s.", headerValue(head, "webhook-id:"), headerValue(head, "webhook-timestamp:"))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if strings.Contains(headerValue(head, "webhook-signature:"), want) {
		s.report.Verified++
	} else {
		s.report.Forged++
	}
}

func (s *Sink) reset(links int, key []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links, s.key, s.report = links, key, Report{}
	clear(s.seen)
	s.failed = map[int64]struct{}{}
	s.latency = hdrhistogram.New(1, int64(maxLatency), 3)
}

// control answers what is not a delivery.
func (s *Sink) control(head []byte) []byte {
	target, _, _ := strings.Cut(string(head), " HTTP/")
	_, target, _ = strings.Cut(target, " ")
	u, err := url.Parse(target)
	if err != nil {
		return reply(400, nil)
	}
	q := u.Query()
	switch u.Path {
	case "/reset":
		links, _ := strconv.Atoi(q.Get("links"))
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(q.Get("secret"), "whsec_"))
		if len(key) == 0 {
			key = nil
		}
		s.reset(max(links, 1), key)
		return reply(200, nil)
	case "/report":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.report.P50 = time.Duration(s.latency.ValueAtQuantile(50))
		s.report.P90 = time.Duration(s.latency.ValueAtQuantile(90))
		s.report.P99 = time.Duration(s.latency.ValueAtQuantile(99))
		s.report.P999 = time.Duration(s.latency.ValueAtQuantile(99.9))
		s.report.Max = time.Duration(s.latency.Max())
		return reply(200, s.report)
	case "/hang":
		count, _ := strconv.Atoi(q.Get("count"))
		addresses, err := s.openHanging(count)
		if err != nil {
			return reply(500, err.Error())
		}
		return reply(200, addresses)
	}
	return reply(404, nil)
}

func (s *Sink) openHanging(count int) ([]string, error) {
	var addresses []string
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("%d addresses that hang need as many open files: %w", count, err)
		}
		s.mu.Lock()
		s.hanging = append(s.hanging, l)
		s.mu.Unlock()
		addresses = append(addresses, l.Addr().String())
		s.owned.Go(func() { s.accept(l, s.hang) })
	}
	return addresses, nil
}

func reply(status int, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = 500, []byte("null")
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d .\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}
