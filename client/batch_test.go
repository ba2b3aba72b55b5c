package client

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
)

func TestPublishLines(t *testing.T) {
	const answers = `{"status":"ok","id":"evt_06hjzrqsbr001","deliveries":2,"replayed":true}
{"status":"error","error":"later","type":"rate_limited","retry_after":7}
{"status":"error","error":"the installation is stopping","type":"unavailable","stopped":true}
{"status":"ok","id":"evt_06hjzrqsbr001","deliveries":2}
`
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.String() + " " + r.Header.Get("Content-Type") + " " + string(body)
		if strings.Contains(string(body), "no") {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, `{"error":"not you","type":"forbidden"}`)
			return
		}
		_, _ = io.WriteString(w, answers)
	}))
	defer server.Close()
	c, err := New(Options{Server: server.URL, Key: "pk_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var codes []patchbay.Code
	err = c.PublishLines(t.Context(), strings.NewReader("{}\n{}\n"), BatchOptions{Ordered: true}, func(a BatchAnswer) error {
		codes = append(codes, patchbay.CodeOf(a.Err()))
		if a.Err() == nil && (a.Deliveries != 2 || !a.Replayed || a.ID == 0) {
			t.Errorf("%+v", a)
		}
		return nil
	})
	if patchbay.CodeOf(err) != patchbay.CodeUnavailable {
		t.Errorf("a batch that was stopped: %v", err)
	}
	if diff := cmp.Diff([]patchbay.Code{"", patchbay.CodeRateLimited, patchbay.CodeUnavailable}, codes); diff != "" {
		t.Error(diff)
	}
	if want := "POST /v1/events/batch?ordered=true application/x-ndjson {}\n{}\n"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	enough := errors.New("enough")
	if err := c.PublishLines(t.Context(), strings.NewReader("{}"), BatchOptions{}, func(BatchAnswer) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a caller that has enough: %v", err)
	}
	if err := c.PublishLines(t.Context(), strings.NewReader("no"), BatchOptions{}, nil); patchbay.CodeOf(err) != patchbay.CodeForbidden {
		t.Errorf("a refusal: %v", err)
	}
}
