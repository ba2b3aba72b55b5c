package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

// forwardTimeout is the time that Patchbay's webhooks have too.
const forwardTimeout = 15 * time.Second

// backlog is how many accepted bodies wait in the baseline's memory before accepting waits too.
const backlog = 1 << 16

// Baseline is "no-store": it accepts an event, answers at once, and forwards the body from memory, with the same HTTP
// server and client as Patchbay. It checks, matches, signs, keeps and retries nothing: what it is faster by is what
// all of that costs.
type Baseline struct {
	server   *http.Server
	listener net.Listener
	client   *outbound.Client
	queues   []chan []byte
	ended    context.Context
	end      context.CancelFunc
	owned    sync.WaitGroup
}

// NewBaseline serves on a free port of this machine and forwards to every target. gcPercent is what Patchbay runs with.
func NewBaseline(ctx context.Context, targets []string, gcPercent int) (*Baseline, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	debug.SetGCPercent(gcPercent)
	ended, end := context.WithCancel(context.WithoutCancel(ctx))
	b := &Baseline{
		listener: l, ended: ended, end: end, client: outbound.New(outbound.Options{Guard: outbound.Guard{AllowLoopback: true}, Version: "bench"}),
	}
	for _, target := range targets {
		queue := make(chan []byte, backlog)
		b.queues = append(b.queues, queue)
		for range patchbay.DefaultConcurrency {
			b.owned.Go(func() { b.forward(target, queue) })
		}
	}
	mux := http.NewServeMux()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("POST /events", b.accept)
	b.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	b.owned.Go(func() { _ = b.server.Serve(l) }) // until Close
	return b, nil
}

// Addr is the address that the baseline serves on.
func (b *Baseline) Addr() string { return b.listener.Addr().String() }

// Close ends it. What waits in memory is lost, which is what having no store means.
func (b *Baseline) Close() {
	_ = b.server.Close()
	b.end()
	b.owned.Wait()
	_ = b.client.Close()
}

var baselineAnswer = []byte(`{"status":"ok","id":"evt_0000000000000","deliveries":1}` + "\n")

func (b *Baseline) accept(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, max(r.ContentLength, 0))
	if _, err := io.ReadFull(r.Body, body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, queue := range b.queues {
		select {
		case queue <- body:
		case <-b.ended.Done():
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	w.Header()["Content-Type"] = []string{"application/json"}
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(baselineAnswer) // a caller that has gone does not mind
}

func (b *Baseline) forward(target string, queue <-chan []byte) {
	id := "evt_" + strings.Repeat("0", 13)
	for {
		var body []byte
		select {
		case body = <-queue:
		case <-b.ended.Done():
			return
		}
		ctx, cancel := context.WithTimeout(b.ended, forwardTimeout)
		_, _ = b.client.Do(ctx, &integration.Request{ // what is lost is seen at the sink
			Method: http.MethodPost, URL: target, Body: body,
			Header: integration.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "webhook-id", Value: id}},
		})
		cancel()
	}
}
