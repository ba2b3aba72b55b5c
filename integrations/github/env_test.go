package github

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// token is what the accounts of these tests sign in with.
const token = "gho_16C7e42F292c6912E7710c838347Ae178B4a"

// wire is the engine's own client, with a memory of what was sent.
type wire struct {
	t      testing.TB
	client *outbound.Client
	// header is added to every request; it replaces fields of the same name.
	header integration.Header
	// check looks at every answer.
	check func(req *integration.Request, resp *integration.Response)

	mu   sync.Mutex
	sent []string // methods and addresses
}

// Do implements integration.HTTP.
func (w *wire) Do(ctx context.Context, req *integration.Request) (*integration.Response, error) {
	w.mu.Lock()
	_, path, _ := strings.Cut(strings.TrimPrefix(req.URL, "http://"), "/")
	w.sent = append(w.sent, req.Method+" /"+path)
	w.mu.Unlock()
	more := *req
	more.Header = append(integration.Header{}, req.Header...)
	for _, h := range w.header {
		more.Header.Set(h.Name, h.Value)
	}
	resp, err := w.client.Do(ctx, &more)
	if err == nil && w.check != nil {
		w.check(req, resp)
	}
	return resp, err
}

// take returns what was sent since it was last asked.
func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

// newEnv makes an environment that reaches this machine.
func newEnv(t testing.TB, config string) (*integration.Env, *wire) {
	t.Helper()
	w := &wire{t: t, client: outbound.New(outbound.Options{Guard: outbound.Guard{AllowLoopback: true}})}
	t.Cleanup(func() { _ = w.client.Close() })
	env := &integration.Env{HTTP: w, Log: slog.New(slog.DiscardHandler), Now: time.Now, PublicURL: "https://patchbay.example.test"}
	if config != "" {
		env.Config = json.RawMessage(config)
	}
	return env, w
}

// connected is the connection of mira-lund.
func connected() *integration.Connected {
	return &integration.Connected{
		ID: 5, Account: patchbay.Account{ID: "81003", Name: "mira-lund"}, Credentials: patchbay.Credentials{Access: token, Type: "bearer"},
	}
}

// failing is a message about something that goes wrong.
func failing() *patchbay.Message {
	return &patchbay.Message{
		Title: "The nightly run has failed", Text: "3 of 48 pages do **not** load. Ask @tomaszk or <b>nobody</b>.", Severity: patchbay.SeverityError,
		Fields: []patchbay.Field{{Title: "Environment", Value: "QA", Short: true}},
		Links:  []patchbay.URL{{Title: "Show", URL: "https://app.example.com/runs/9"}},
		Thread: "run/9", Labels: []string{"nightly"},
	}
}

// delivery is a first attempt at a message over a link with a connection.
func delivery(env *integration.Env, s *Settings, m *patchbay.Message) *integration.Delivery {
	seq := patchbay.NewSequence(0, 0, nil)
	e := &patchbay.Event{
		ID: patchbay.EventID(seq.Take(1)), Type: "run_error", Scope: "acme/web",
		Payload:    json.RawMessage(`{"sha":"3f9b0c61d2a84e57b1c9d0e2f3a4b5c6d7e8f901","issue":{"number":101},"job":"pages","ok":true,"branch":"main","list":["a"]}`),
		OccurredAt: received, ReceivedAt: received,
	}
	return &integration.Delivery{
		ID: patchbay.DeliveryAt(e.ID, 1), Attempt: 1, Event: e, Title: "Run error", Settings: s, Env: env, Connection: connected(),
		Message: func() (*integration.Message, error) { copied := *m; return &copied, nil },
	}
}
