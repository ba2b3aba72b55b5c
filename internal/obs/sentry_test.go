package obs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// sentryServer speaks the envelope endpoint, and keeps what it is sent.
type sentryServer struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
	got   []string
	hang  chan struct{} // when not nil nothing is answered before it is closed
}

func newSentry(t *testing.T) *sentryServer {
	s := &sentryServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.hang != nil {
			select {
			case <-s.hang:
			case <-r.Context().Done():
				return
			}
		}
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paths, s.got = append(s.paths, r.URL.Path), append(s.got, string(b))
		_, _ = io.WriteString(w, `{"id":"x"}`)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sentryServer) dsn() string { return strings.Replace(s.URL, "://", "://public@", 1) + "/42" }

func TestErrorsAreReportedWithoutSecrets(t *testing.T) {
	server := newSentry(t)
	r, err := NewReporter(server.dsn(), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := slog.New(r.Handler(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))).With("link", "lnk_0000000000007", "token", "tok-hunter2")
	l.Info("fine")
	l.Warn("hm", "error", errors.New("not reported"))
	l.Error("it broke", "integration", "slack", "payload", `{"card":"4111"}`, "settings", "hunter2",
		"error", errors.New(`Post "https://ann:hunter2@hooks.example.com/x?token=hunter2": refused; Authorization: Bearer hunter2 whsec_hunter2hunter2`))
	l.Error("an integration panicked", "panic", "index out of range with pk_hunter2", "stack", "goroutine 7 [running]:\nmain.f()")
	l.WithGroup("g").Error("grouped", "error", "hunter2")
	if err := r.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	all := strings.Join(server.got, "\n")
	if len(server.got) != 3 || server.paths[0] != "/api/42/envelope/" {
		t.Fatalf("%d reports at %v:\n%s", len(server.got), server.paths, all)
	}
	for _, want := range []string{
		`"release":"patchbay@1.2.3"`, `"message":"it broke"`, `lnk_0000000000007`, `"integration":"slack"`, `hooks.example.com/x?…`, `goroutine 7 [running]`,
		`"message":"an integration panicked: index out of range with pk_…"`, `"message":"grouped"`, `"level":"fatal"`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the reports lack %s:\n%s", want, all)
		}
	}
	for _, secret := range []string{"hunter2", "4111", "not reported", "payload", "settings"} {
		if strings.Contains(all, secret) {
			t.Errorf("the reports have %s:\n%s", secret, all)
		}
	}
	if text := log.String(); !strings.Contains(text, "4111") || strings.Contains(text, "fine") || strings.Count(text, "\n") != 4 {
		t.Errorf("the log itself is\n%s", text)
	}
}

func TestAServerThatHangsHoldsNobodyUp(t *testing.T) {
	server := newSentry(t)
	server.hang = make(chan struct{})
	defer close(server.hang)
	r, err := NewReporter(server.dsn(), "1")
	if err != nil {
		t.Fatal(err)
	}
	l := slog.New(r.Handler(slog.DiscardHandler))
	began := time.Now()
	for range 5000 {
		l.Error("again")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("5,000 errors take %s to log", took)
	}
	began = time.Now()
	if err := r.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > reportFlush+30*time.Second {
		t.Errorf("the stop waits %s", took)
	}
}

func TestABadDSNIsNotShown(t *testing.T) {
	for _, dsn := range []string{"hunter2", "https://hunter2@", "https://:hunter2@x/y/z"} {
		if _, err := NewReporter(dsn, "1"); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "https://KEY@HOST/PROJECT") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}
