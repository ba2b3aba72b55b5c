package deliver

import (
	"context"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

// TestKept: what an integration keeps is listed for those who see the link, and for nobody else.
func TestKept(t *testing.T) {
	r := newRig(t, &partner{def: integration.Definition{Key: "fake", Title: "Fake"}, answer: func(_ context.Context, d *integration.Delivery) integration.Result {
		out := integration.Delivered()
		out.Code, out.Body = 200, []byte(`{"title":"hello"}`)
		d.Env.Record(integration.Exchange{Method: "KEEP", URL: "inbox:x", ResponseCode: 200, ResponseBody: out.Body})
		return out
	}})
	above, own := r.link("above", func(l *patchbay.Link) { l.Scope = "" }), r.link("acme")
	e := r.accept(`{}`, above, own)
	theirs, mine := patchbay.DeliveryAt(e.ID, 1), patchbay.DeliveryAt(e.ID, 2)
	lists := func(c *access.Caller) map[patchbay.DeliveryID]string {
		rows, _, err := r.service.Kept(context.Background(), c, Query{Limit: 10, States: []patchbay.DeliveryState{patchbay.DeliverySucceeded}})
		if err != nil {
			t.Fatal(err)
		}
		out := map[patchbay.DeliveryID]string{}
		for i := range rows {
			out[rows[i].ID] = rows[i].Body
		}
		return out
	}
	admin := &access.Caller{Permissions: []access.Permission{access.Read}}
	for until := time.Now().Add(time.Minute); len(lists(admin)) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("there is %v", lists(admin))
		}
	}
	if got := lists(admin); got[mine] != `{"title":"hello"}` || got[theirs] != `{"title":"hello"}` {
		t.Errorf("an operator sees %v", got)
	}
	if got := lists(&access.Caller{Scope: "acme", Permissions: []access.Permission{access.Read}}); len(got) != 2 || got[theirs] != "" || got[mine] == "" {
		t.Errorf("somebody of a scope sees %v", got)
	}
	if got := lists(&access.Caller{Scope: "acme", Permissions: []access.Permission{access.Read}, Portal: true}); len(got) != 1 || got[mine] == "" {
		t.Errorf("a portal sees %v", got)
	}
}
