package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/ingest"
)

const (
	// maxBatches bounds batches under way: each holds up to batchWindow items.
	maxBatches = 64
	// batchWindow is how many items of one batch are taken in at the same time. They share transactions, so one batch
	// alone keeps the database busy with a window of about this size.
	batchWindow = 64
	// batchBytes bounds what the items under way of one batch take. One item is always let through.
	batchBytes = 1 << 20
	// batchIdle is how long a body may pause between two reads, batchWrite how long a caller may take to read an answer
	// before it is cut off.
	batchIdle  = 5 * time.Minute
	batchWrite = 30 * time.Second
	// batchFlush is how much is written at once. The answers of an array, which callers tend to read at the end, are
	// held back until there is that much of them: whoever sends before reading gets by with the buffers on the way.
	batchFlush = 256 << 10
	// batchCheck is how often the caller's key is looked at again.
	batchCheck = 15 * time.Second
	// batchDrain and batchLinger bound what is read of a body that was given up, so that a caller that sends all before
	// it reads anything comes to read why.
	batchDrain  = 8 << 20
	batchLinger = 2 * time.Second
)

const typeLines = "application/x-ndjson"

// batchError is the answer to an item that was not accepted.
type batchError struct {
	Status     string            `json:"status" enum:"error"`
	Message    string            `json:"error"`
	Type       patchbay.Code     `json:"type"`
	Details    []patchbay.Detail `json:"details,omitempty" nullable:"false"`
	RetryAfter int               `json:"retry_after,omitempty" doc:"Seconds after which to send the item again."`
	Stopped    bool              `json:"stopped,omitempty" doc:"Reading stopped here: nothing from this item on was accepted."`
}

// batchAccepted is the answer to an item that is durable.
type batchAccepted struct {
	Status     string           `json:"status" enum:"ok"`
	ID         patchbay.EventID `json:"id"`
	Deliveries int              `json:"deliveries"`
	Replayed   bool             `json:"replayed,omitempty" doc:"A remembered id answered; nothing was sent twice."`
}

func (a *api) batchRoutes() {
	d := a.document
	item := &huma.Schema{AnyOf: []*huma.Schema{schemaOf[batchAccepted](d), schemaOf[batchError](d)}}
	lines := &huma.Schema{Type: huma.TypeString}
	const linesOut = `{"status":"ok","id":"evt_06hjzrqsbr001","deliveries":1}` + "\n"
	a.plain(&huma.Operation{OperationID: "publish-batch", Method: http.MethodPost, Path: "/v1/events/batch", Summary: "Publish many events", Tags: []string{tagEvents},
		Description: "A JSON array, or NDJSON (one event a line). Answered item by item, in their order, each as soon as it is durable; a body of any length is read as it comes. An item is what POST /events takes, without `integrations`; the limit of 1 MiB is per item.\n\nNeeds the permission `publish`.",
		Security:    d.withKey(),
		Parameters: []*huma.Param{{Name: "ordered", In: "query", Description: "Accept one item after the other, in their order. Without it the items of a batch are accepted several at a time.",
			Schema: &huma.Schema{Type: huma.TypeBoolean}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: schemaOf[eventInput](d)}, Example: generic([]any{exampleEventInput})},
			typeLines:          {Schema: lines},
		}},
		Responses: map[string]*huma.Response{"200": {Description: "An answer per item; the order is the items'.", Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"data"}, Properties: map[string]*huma.Schema{"data": {Type: huma.TypeArray, Items: item}}},
				Example: generic(map[string]any{"data": []any{batchAccepted{Status: "ok", ID: exampleEvent.ID, Deliveries: 1}}})},
			typeLines: {Schema: lines, Example: linesOut},
		}}},
	}, a.publishBatch)
}

// publishBatch answers POST /v1/events/batch.
func (a *api) publishBatch(w http.ResponseWriter, r *http.Request) {
	c, err := a.Access.Caller(r.Header)
	if err == nil {
		err = c.Require(access.Publish)
	}
	ordered := false
	if err == nil {
		ordered, err = batchQuery(r)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	select {
	case a.batches <- struct{}{}:
		defer func() { <-a.batches }()
	default:
		a.fail(w, r, &patchbay.Error{Code: patchbay.CodeRateLimited, Message: fmt.Sprintf("%d batches are under way, which is the most that there may be", maxBatches), RetryAfter: 5})
		return
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // anything else is told by its first byte
	conn := http.NewResponseController(w)
	body := &pacedBody{body: r.Body, conn: conn}
	_ = conn.EnableFullDuplex() // HTTP/1 needs it for answers while the body comes
	defer body.endWith(a.Stopping)()
	split := ingest.NewSplitter(body, linesType(kind))
	array, err := split.Array()
	if err != nil {
		if a.isStopping() {
			err = errStopping
		} else {
			err = beginning(err)
		}
		a.fail(w, r, err)
		return
	}
	b := &batch{api: a, r: r, caller: c, body: body, split: split, out: batchWriter{w: w, conn: conn, array: array}, checked: time.Now()}
	b.run(ordered)
	_ = conn.SetWriteDeadline(time.Time{}) // the next request on the connection has its own
}

func batchQuery(r *http.Request) (ordered bool, err error) {
	q, err := query(r, "ordered")
	if err != nil || !q.Has("ordered") {
		return false, err
	}
	if ordered, err = strconv.ParseBool(q.Get("ordered")); err != nil {
		return false, patchbay.Invalid("ordered", "must be true or false")
	}
	return ordered, nil
}

// linesType reports whether a media type is NDJSON.
func linesType(kind string) bool {
	switch kind {
	case typeLines, "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return true
	}
	return false
}

// beginning is the error of a body of which nothing could be read.
func beginning(err error) error {
	if errors.Is(err, io.EOF) {
		return patchbay.Errorf(patchbay.CodeInvalidRequest, "the body is empty: send a JSON array of events, or one event a line as %s", typeLines)
	}
	return patchbay.Errorf(patchbay.CodeInvalidRequest, "the body cannot be read: %v", err)
}

// slot is one item under way.
type slot struct {
	body    []byte
	err     error // of reading it
	receipt ingest.Receipt
	last    bool // reading stopped here
	done    chan struct{}
}

// batch takes one body in: one goroutine reads items, some accept them, one writes answers in the items' order.
type batch struct {
	*api
	r      *http.Request
	caller *access.Caller
	body   *pacedBody
	split  *ingest.Splitter
	out    batchWriter

	free, work, order chan *slot
	checked           time.Time // when the caller's key was looked at

	mu    sync.Mutex
	room  sync.Cond // batchBytes has room
	bytes int
}

func (b *batch) run(ordered bool) {
	window, workers := batchWindow, batchWindow
	if ordered {
		workers = 1
	}
	b.room.L = &b.mu
	b.free, b.work, b.order = make(chan *slot, window), make(chan *slot, window), make(chan *slot, window)
	for range window {
		b.free <- &slot{done: make(chan struct{}, 1)}
	}
	var workersDone, writer sync.WaitGroup
	writer.Go(b.answer)
	for range workers {
		workersDone.Go(b.accept)
	}
	b.read()
	close(b.work)
	close(b.order)
	workersDone.Wait()
	writer.Wait()
}

// read hands items over until there are none, or nobody takes the answers any more.
func (b *batch) read() {
	for {
		s := <-b.free
		s.last = false
		s.receipt = ingest.Receipt{}
		s.body, s.err = b.split.Next(s.body[:0])
		var broken *ingest.BrokenError
		switch {
		case errors.Is(s.err, io.EOF):
			return
		case errors.Is(s.err, ingest.ErrItemTooLarge):
			s.err = patchbay.Errorf(patchbay.CodePayloadTooLarge, "an event may take at most %d bytes", patchbay.MaxEventBody)
		case errors.As(s.err, &broken):
			s.last, s.err = true, b.stopped(broken)
		case s.err == nil:
			if err := b.stillThere(); err != nil {
				s.last, s.err = true, err
			}
		}
		if s.err != nil {
			if cap(s.body) > bufferKept { // of an item that was too large
				s.body = nil
			}
			s.done <- struct{}{}
			b.order <- s
			if s.last {
				return
			}
			continue
		}
		b.reserve(len(s.body))
		b.order <- s
		b.work <- s
	}
}

// stopped is the answer that says why nothing more is read.
func (b *batch) stopped(broken *ingest.BrokenError) error {
	if errors.Is(broken.Cut, errBodyEnded) || b.isStopping() {
		return errStopping
	}
	return &patchbay.Error{Code: patchbay.CodeInvalidRequest, Message: broken.Error()}
}

var errStopping = &patchbay.Error{Code: patchbay.CodeUnavailable, RetryAfter: 5,
	Message: "the installation is stopping: nothing from here on was accepted, send it again"}

func (a *api) isStopping() bool {
	select {
	case <-a.Stopping:
		return true
	default:
		return false
	}
}

// stillThere looks from time to time whether the caller's key still holds.
func (b *batch) stillThere() error {
	if time.Since(b.checked) < batchCheck {
		return nil
	}
	b.checked = time.Now()
	c, err := b.Access.Caller(b.r.Header)
	if err == nil {
		err = c.Require(access.Publish)
	}
	return err
}

// reserve waits until the items under way leave room for n more bytes.
func (b *batch) reserve(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes > 0 && b.bytes+n > batchBytes {
		b.room.Wait()
	}
	b.bytes += n
}

func (b *batch) release(n int) {
	b.mu.Lock()
	b.bytes -= n
	b.mu.Unlock()
	b.room.Signal()
}

// accept takes items in.
func (b *batch) accept() {
	for s := range b.work {
		start := time.Now()
		s.receipt, s.err = b.acceptOne(s.body)
		b.Metrics.AcceptTook(time.Since(start))
		b.release(len(s.body))
		if cap(s.body) > bufferKept {
			s.body = nil
		}
		s.done <- struct{}{}
	}
}

// acceptOne takes one item in. A panic is the item's error, as it is the request's elsewhere.
func (b *batch) acceptOne(body []byte) (receipt ingest.Receipt, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = patchbay.Internal("taking in an item of a batch", fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	return b.Ingest.AcceptItem(b.r.Context(), b.caller, body)
}

// answer writes what came of the items, in their order.
func (b *batch) answer() {
	b.out.begin()
	last := false
	for {
		s, ok := b.next()
		if !ok {
			break
		}
		if s.err != nil {
			b.out.item(b.refusal(s))
		} else {
			b.out.accepted(s.receipt)
		}
		if len(b.out.buf) >= batchFlush {
			b.flush()
		}
		last = s.last
		b.free <- s
	}
	b.out.end()
	b.flush()
	if last && b.out.err == nil && !b.isStopping() {
		b.body.drain()
	}
}

// next waits for the next item that is done. Of lines, what has been answered goes out before it waits.
func (b *batch) next() (s *slot, ok bool) {
	flushed := b.out.array
	select {
	case s, ok = <-b.order:
	default:
		if !flushed {
			b.flush()
		}
		flushed = true
		s, ok = <-b.order
	}
	if !ok {
		return nil, false
	}
	select {
	case <-s.done:
	default:
		if !flushed {
			b.flush()
		}
		<-s.done
	}
	return s, true
}

// flush writes what there is. Once the caller takes nothing any more, nothing more is read from it either.
func (b *batch) flush() {
	if b.out.err != nil {
		b.out.buf = b.out.buf[:0]
	} else if b.out.flush() != nil {
		b.body.end()
	}
}

// refusal is the answer to an item that was not accepted.
func (b *batch) refusal(s *slot) []byte {
	p := b.problem(b.r.Context(), b.r.Method, b.r.URL.Path, s.err)
	b.Metrics.EventRefused(p.Type)
	e := batchError{Status: "error", Message: p.Message, Type: p.Type, Details: p.Details, Stopped: s.last}
	if after := p.header.Get("Retry-After"); after != "" {
		e.RetryAfter, _ = strconv.Atoi(after) // problem has written a number
	}
	raw, err := json.Marshal(e)
	if err != nil {
		panic(err) // a struct of texts and numbers
	}
	return raw
}

// batchWriter writes answers: as {"data":[…]}, or one a line.
type batchWriter struct {
	w     http.ResponseWriter
	conn  *http.ResponseController
	array bool
	more  bool // an item has been written
	buf   []byte
	err   error
}

func (o *batchWriter) begin() {
	h := o.w.Header()
	h["Cache-Control"] = noStore
	if o.array {
		h["Content-Type"] = typeJSON
		o.buf = append(o.buf, `{"data":[`...)
		return
	}
	h.Set("Content-Type", typeLines)
	h.Set("X-Accel-Buffering", "no") // nginx would hold answers back
	o.w.WriteHeader(http.StatusOK)   // a caller may wait for it before it sends
	_ = o.conn.Flush()               // not every connection can
}

func (o *batchWriter) item(raw []byte) {
	if o.array && o.more {
		o.buf = append(o.buf, ',')
	}
	o.more = true
	o.buf = append(o.buf, raw...)
	if !o.array {
		o.buf = append(o.buf, '\n')
	}
}

func (o *batchWriter) accepted(r ingest.Receipt) {
	if o.array && o.more {
		o.buf = append(o.buf, ',')
	}
	o.more = true
	o.buf = append(o.buf, `{"status":"ok","id":"`...)
	o.buf = r.Event.AppendTo(o.buf)
	o.buf = append(o.buf, `","deliveries":`...)
	o.buf = strconv.AppendInt(o.buf, int64(r.Deliveries), 10)
	if r.Replayed {
		o.buf = append(o.buf, `,"replayed":true`...)
	}
	o.buf = append(o.buf, '}')
	if !o.array {
		o.buf = append(o.buf, '\n')
	}
}

func (o *batchWriter) end() {
	if o.array {
		o.buf = append(o.buf, "]}\n"...)
	}
}

func (o *batchWriter) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	_ = o.conn.SetWriteDeadline(time.Now().Add(batchWrite)) // not every connection can; then the server's own limits hold
	if _, o.err = o.w.Write(o.buf); o.err == nil {
		o.err = o.conn.Flush()
	}
	o.buf = o.buf[:0]
	return o.err
}
