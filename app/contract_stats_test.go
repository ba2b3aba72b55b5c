package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/app"
	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/sqlite"
)

// TestStats proves that figures are there at once, tell apart what they are asked to, show a caller its own part only, and
// outlive a restart.
func TestStats(t *testing.T) {
	o := app.Options{Config: config.Config{Data: t.TempDir()}}
	s, p := start(t, o), newPartner(t)
	s.key, _ = s.app.AdminKey()
	key := s.key
	s.call("PUT", "/v1/event-types/thing.made", thing).want(201)
	p.on("/fails", status(500, "no"))
	good := s.link(hook(p, "/fine", `"events":["*"],"scope":"acme"`))
	bad := s.link(hook(p, "/fails", `"events":["*"],"scope":"other","retry":{"schedule":[]}`))
	for i, scope := range []string{"acme/1", "acme/2", "other"} {
		id, _ := s.publish(fmt.Sprintf(`{%s,"scope":%q,"payload":{"n":%d}}`, made, scope, i))
		state := map[bool]string{true: "failed", false: "succeeded"}[scope == "other"]
		s.becomes(id, state, 1)
	}
	reader := s.call("POST", "/v1/keys", `{"name":"r","scope":"acme","permissions":["read"]}`).want(201).json().str("token")
	sum := func(s *server, query string) string {
		t.Helper()
		x := s.call("GET", "/v1/stats"+query, "").want(200).json()["total"].(map[string]any)
		return fmt.Sprintf("%v %v %v %v", x["accepted"], x["delivered"], x["failed"], x["attempts"])
	}
	want := func(s *server) {
		t.Helper()
		for query, want := range map[string]string{
			"": "3 2 1 3", "?scope=acme": "2 2 0 2", "?scope=acme/1": "1 1 0 1", "?link=" + good: "0 2 0 2", "?link=" + bad: "0 0 1 1",
			"?type=thing.made": "3 2 1 3", "?type=nothing": "0 0 0 0", "?integration=webhook": "0 2 1 3",
		} {
			// The observer hears of a result just after it is recorded.
			for end := time.Now().Add(patience); sum(s, query) != want; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("/v1/stats%s: %s, want %s", query, sum(s, query), want)
				}
			}
		}
		if got := sum(s.as(t, reader), ""); got != "2 2 0 2" {
			t.Errorf("a tenant sees %s", got)
		}
		s.as(t, reader).call("GET", "/v1/stats?scope=other", "").want(403)
	}
	want(s)
	now := s.call("GET", "/v1/stats/now", "").want(200).json()
	if now["queue"] == nil || now["lanes"] == nil || now["store"].(map[string]any)["commit_ms"] == nil {
		t.Errorf("now: %v", now)
	}
	if part := s.as(t, reader).call("GET", "/v1/stats/now", "").want(200).json(); part["queue"] != nil || part["store"] != nil {
		t.Errorf("a tenant sees of the installation: %v", part)
	}
	s.stop()
	want(start(t, o).as(t, key))
}

// TestWhatWasMovedIsNotServed proves that neither side of a move is served at the wrong time.
func TestWhatWasMovedIsNotServed(t *testing.T) {
	for meta, want := range map[string]string{
		store.MetaMoved + `={"name":"x","to":"PostgreSQL x at db","done":true,"at":"2026-11-22T09:00:00Z"}`: "was moved to PostgreSQL x at db at 2026-11-22",
		store.MetaMoved + `={"name":"x","to":"PostgreSQL x at db"}`:                                         "is being moved to PostgreSQL x at db",
		store.MetaImport + "=0123456789abcdef":                                                              "is being moved into this database",
	} {
		dir := filepath.Join(t.TempDir(), "data")
		db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		key, value, _ := strings.Cut(meta, "=")
		if err := db.SetMeta(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		a, err := app.New(app.Options{Config: config.Config{Data: dir, Listen: "127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the start says %v, want …%s…", meta, err, want)
		}
	}
}

// TestSentry proves that an installation with a DSN reports what it logs as an error, and that its stop waits for that.
func TestSentry(t *testing.T) {
	reports := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reports <- r.URL.Path }))
	defer server.Close()
	dsn := strings.Replace(server.URL, "://", "://key@", 1) + "/7"
	for dsn, ok := range map[string]bool{dsn: true, "nonsense": false} {
		a, err := app.New(app.Options{Config: config.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", SentryDSN: patchbay.Secret(dsn)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); (err == nil) != ok {
			t.Fatalf("with %s the start says %v", dsn, err)
		}
		if !ok {
			continue
		}
		a.Log().Error("something broke")
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		select {
		case path := <-reports:
			if path != "/api/7/envelope/" {
				t.Errorf("it was reported to %s", path)
			}
		default:
			t.Error("nothing was reported when the stop was over")
		}
	}
}
