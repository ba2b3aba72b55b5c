package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration/signature"
)

// forgeOverNodes is a forge that calls another node back while it registers a hook there.
type forgeOverNodes struct {
	t     *testing.T
	nodes func() *fleet

	mu     sync.Mutex
	broken bool
	calls  []string
	hooks  map[string]bool
}

func (f *forgeOverNodes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	broken := f.broken
	f.mu.Unlock()
	if broken {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.Method == http.MethodDelete {
		f.mu.Lock()
		delete(f.hooks, r.URL.Path)
		f.mu.Unlock()
		return
	}
	var in struct{ URL, Secret string }
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	call := func() string {
		h := http.Header{}
		if err := signature.GitHub().Sign(h, "", http.MethodPost, []byte(`{"hello":"you"}`), patchbay.Secret(in.Secret), time.Now()); err != nil {
			return err.Error()
		}
		other := f.nodes().nodes[1]
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, other.url+strings.TrimPrefix(in.URL, "https://patchbay.example"), strings.NewReader(`{"hello":"you"}`))
		if err != nil {
			return err.Error()
		}
		req.Header.Set("X-Hub-Signature-256", h.Get("X-Hub-Signature-256"))
		resp, err := other.http.Do(req)
		if err != nil {
			return err.Error()
		}
		_ = resp.Body.Close()
		return resp.Status
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	f.hooks[r.URL.Path] = true
}

func (f *forgeOverNodes) breaks(broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

func (f *forgeOverNodes) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.hooks)
}

// TestLinkLifeOverNodes makes links at one node whose partner calls back at another one, and deletes them at a third, which
// dies with the first before the partner has let go of them.
func TestLinkLifeOverNodes(t *testing.T) {
	var nodes *fleet
	f := &forgeOverNodes{t: t, nodes: func() *fleet { return nodes }, hooks: map[string]bool{}}
	partner := httptest.NewServer(f)
	t.Cleanup(partner.Close)
	nodes = newFleet(t, 3, &forge{partner.URL})
	first, second, third := nodes.nodes[0], nodes.nodes[1], nodes.nodes[2]
	const n = 8
	var ids []string
	for i := range n {
		link := first.call("POST", "/v1/links", fmt.Sprintf(`{"integration":"forge","scope":"acme/teams/%d","settings":{"place":"p%d","token":"forge-token-1234"}}`, i, i)).want(201).json()
		if link.str("state") != "active" {
			t.Errorf("the link is %v", link)
		}
		ids = append(ids, link.str("id"))
	}
	for _, answer := range f.calls {
		if answer != "200 OK" {
			t.Errorf("while a hook was registered at one node another one answered %s", answer)
		}
	}
	f.breaks(true)
	for _, id := range ids {
		third.call("DELETE", "/v1/links/"+id, "").want(204)
	}
	eventually(t, func() bool { return second.status("/v1/links/"+ids[n-1]) == 200 }, func() string { return "the link is gone already" })
	first.crash()
	third.crash()
	f.breaks(false)
	eventually(t, func() bool {
		for _, id := range ids {
			if second.status("/v1/links/"+id) != 404 {
				return false
			}
		}
		return f.left() == 0
	}, func() string { return fmt.Sprintf("%d hooks are left", f.left()) })
}
