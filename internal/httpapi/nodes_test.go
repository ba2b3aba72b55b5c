package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/cluster"
	"github.com/patchbay/patchbay/internal/links"
	"github.com/patchbay/patchbay/internal/store"
)

// theNodes is an installation of one node.
func theNodes() *cluster.Service {
	return cluster.NewSingle(store.Node{Number: 7, Name: "n", Address: "here:80", Version: "1.2.3", StartedAt: exampleTime},
		func() store.NodeReport { return store.NodeReport{InFlight: 2, Ready: 3, OpenBreakers: 1} },
		func(context.Context) (int64, error) { return 12, nil })
}

// TestNodes are shown to administrators of the whole installation, and /readyz says which one answered.
func TestNodes(t *testing.T) {
	f := newFixture(t)
	admin := f.key("", access.Admin)
	got := wantJSON[nodesAnswer](t, f.call(admin, "GET", "/v1/nodes", ""), http.StatusOK)
	if len(got.Data) != 1 || got.Waiting != 12 || got.Next != nil {
		t.Fatalf("the answer is %+v", got)
	}
	n := got.Data[0]
	if time.Since(n.SeenAt) > time.Minute {
		t.Errorf("it was seen at %s", n.SeenAt)
	}
	n.SeenAt = time.Time{}
	want := cluster.NodeView{Number: 7, Name: "n", Address: "here:80", Version: "1.2.3", StartedAt: exampleTime, State: cluster.StateAlive, Self: true,
		Shards: store.Shards, InFlight: 2, Ready: 3, OpenBreakers: 1}
	if n != want {
		t.Errorf("the node is %+v, want %+v", n, want)
	}
	for _, key := range []string{f.key("", access.Read, access.Manage), f.key("acme", access.Admin)} {
		wantError(t, f.call(key, "GET", "/v1/nodes", ""), http.StatusForbidden, patchbay.CodeForbidden)
	}
	number := 7
	f = newFixture(t, func(o *Options) { o.Node = &number })
	if ready := wantJSON[readyAnswer](t, f.do(request("GET", "/readyz", "")), http.StatusOK); ready.Status != "ok" || ready.Node == nil || *ready.Node != 7 {
		t.Errorf("/readyz says %+v", ready)
	}
}

// TestFencedNode: a node that must not send is not ready, and what it cannot write is no mistake of the program.
func TestFencedNode(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Ready = func(context.Context) error {
			return patchbay.Errorf(patchbay.CodeUnavailable, "node 7 has not reached the database")
		}
	})
	p := wantError(t, f.do(request("GET", "/readyz", "")), http.StatusServiceUnavailable, patchbay.CodeUnavailable)
	if !strings.Contains(p.Message, "node 7 has not reached") {
		t.Errorf("/readyz says %q", p.Message)
	}
	f.links.act = func(string, *access.Caller, patchbay.LinkID) (*links.View, error) {
		return nil, patchbay.Internal("reading the link", store.ErrFenced)
	}
	wantError(t, f.call(f.key("", access.Manage), "POST", "/v1/links/lnk_0000000000007/pause", ""), http.StatusServiceUnavailable, patchbay.CodeUnavailable)
}
