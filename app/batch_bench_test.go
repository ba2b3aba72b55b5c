package app_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/integrations/all"
	"github.com/patchbay/patchbay/internal/config"
)

// BenchmarkPublish compares events that come one by one, over one and over 32 connections, with batches over one, on
// SQLite. Nothing is linked, so it is the way in alone that is measured.
func BenchmarkPublish(b *testing.B) {
	a, err := app.New(app.Options{Config: config.Config{Data: b.TempDir(), Listen: "127.0.0.1:0", Dev: true}, Integrations: all.Integrations()})
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = a.Stop(context.Background()) }()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	event := []byte(`{"event_type":"integration_test","scope":"acme","payload":{"text":"` + strings.Repeat("x", 900) + `"}}` + "\n")
	post := func(path, kind string, body io.Reader, answers int) error {
		req, err := http.NewRequestWithContext(b.Context(), "POST", "http://"+a.Addr()+path, body)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", kind)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		in, got := bufio.NewScanner(resp.Body), 0
		for in.Scan() {
			if !bytes.HasPrefix(in.Bytes(), []byte(`{"status":"ok"`)) {
				return fmt.Errorf("%s", in.Bytes())
			}
			got++
		}
		if got != answers {
			return fmt.Errorf("%d answers, want %d", got, answers)
		}
		return in.Err()
	}
	rate := func(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s") }
	b.Run("single", func(b *testing.B) {
		for range b.N {
			if err := post("/events", "application/json", bytes.NewReader(event), 1); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
	b.Run("single-32", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := post("/events", "application/json", bytes.NewReader(event), 1); err != nil {
					b.Error(err)
					return
				}
			}
		})
		rate(b)
	})
	for _, path := range []string{"/v1/events/batch", "/v1/events/batch?ordered=true"} {
		b.Run(strings.ReplaceAll(path[len("/v1/events/"):], "?", "-"), func(b *testing.B) {
			if err := post(path, "application/x-ndjson", bytes.NewReader(bytes.Repeat(event, b.N)), b.N); err != nil {
				b.Fatal(err)
			}
			rate(b)
		})
	}
}
