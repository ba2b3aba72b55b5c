package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/integration/integrationtest"
)

func TestContract(t *testing.T) {
	integrationtest.Run(t, integrationtest.Case{
		Integration: New(), Settings: `{"name":"deploys"}`, NoHTTP: true,
		Clean: func(t *testing.T, body []byte, hostile string) {
			var m patchbay.Message
			if err := json.Unmarshal(body, &m); err != nil || m.Title != hostile || m.Links[0].Title != hostile {
				t.Errorf("%v: %q", err, body)
			}
		},
	})
}

// The message that is kept is the one that was rendered, or the link's own body.
func TestKeeps(t *testing.T) {
	message := &patchbay.Message{Title: "Hello", Severity: patchbay.SeverityInfo}
	var got []integration.Exchange
	d := &integration.Delivery{
		Settings: &Settings{Name: "x"}, Env: &integration.Env{Record: func(x integration.Exchange) { got = append(got, x) }},
		Message: func() (*integration.Message, error) { return message, nil },
	}
	r := New().Send(t.Context(), d)
	d.Body = json.RawMessage(`{"own":1.0}`)
	New().Send(t.Context(), d)
	d.Preview = true
	New().Send(t.Context(), d)
	want := []integration.Exchange{
		{Method: "KEEP", URL: "inbox:x", ResponseCode: 200, ResponseBody: []byte(`{"title":"Hello","severity":"info"}`)},
		{Method: "KEEP", URL: "inbox:x", ResponseCode: 200, ResponseBody: []byte(`{"own":1.0}`)},
		{Method: "KEEP", URL: "inbox:x", Body: []byte(`{"own":1.0}`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Verdict != patchbay.VerdictDelivered || r.Code != 200 {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := New().Send(ctx, d); r.Verdict != patchbay.VerdictRetry || len(got) != 3 {
		t.Errorf("%+v", r)
	}
	d.Body, d.Message = nil, func() (*integration.Message, error) { return nil, errors.New("no run") }
	if r := New().Send(t.Context(), d); r.Verdict != patchbay.VerdictRejected || !strings.Contains(r.Error, "no run") {
		t.Errorf("%+v", r)
	}
}

func TestNames(t *testing.T) {
	spec := New().Definition().Settings
	for name, ok := range map[string]bool{"a": true, "Ä-1": true, "": true, "a b": false, "a/b": false, strings.Repeat("x", 65): false} {
		raw, _ := json.Marshal(map[string]string{"name": name})
		checked, err := spec.Check(raw, integration.CheckOptions{})
		if (err == nil) != ok {
			t.Errorf("%q: %s, %v", name, checked, err)
		}
	}
	checked, err := spec.Check(nil, integration.CheckOptions{})
	if err != nil || string(checked) != `{"name":"inbox"}` {
		t.Errorf("%s, %v", checked, err)
	}
}
