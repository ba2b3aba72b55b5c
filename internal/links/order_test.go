package links

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
)

// TestOrder saves orders, changes them and takes them away again.
func TestOrder(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	ctx := context.Background()
	in := input(t)
	in.Order = &patchbay.OrderPolicy{Key: "payload.repo", LongestBlock: patchbay.Duration(10 * time.Minute)}
	v, err := f.Create(ctx, admin, in)
	if err != nil {
		t.Fatal(err)
	}
	want := patchbay.OrderPolicy{Key: "payload.repo", OnFailure: patchbay.OnFailureBlock, LongestBlock: patchbay.Duration(10 * time.Minute)}
	if v.Order == nil || *v.Order != want {
		t.Fatalf("the order is %+v, want %+v", v.Order, want)
	}
	key := func(payload string) string {
		t.Helper()
		f.engine.mu.Lock()
		l := f.engine.links[v.ID]
		f.engine.mu.Unlock()
		if l.OrderKey == nil {
			t.Fatal("the engine does not get the key")
		}
		return l.OrderKey(&patchbay.Event{Type: "a", Payload: []byte(payload)})
	}
	if got := key(`{"repo":"web"}`); got != "web" {
		t.Errorf("the key is %q", got)
	}
	if got := key(`{}`); got != "" {
		t.Errorf("the key of an event without one is %q", got)
	}
	if v, err = f.Get(ctx, admin, v.ID); err != nil || v.Health.OrderErrors != 1 || !strings.Contains(v.Health.LastOrderError, "no such key") {
		t.Errorf("the health is %+v (%v), want one error of the key", v.Health, err)
	}
	v, err = f.Update(ctx, admin, v.ID, Input{Order: &patchbay.OrderPolicy{OnFailure: patchbay.OnFailureSkip}}, nil, 0)
	if err != nil || *v.Order != (patchbay.OrderPolicy{OnFailure: patchbay.OnFailureSkip}) {
		t.Fatalf("the order is %+v (%v)", v.Order, err)
	}
	if l := f.engine.links[v.ID]; l.OrderKey != nil || l.Order.OnFailure != patchbay.OnFailureSkip {
		t.Errorf("the engine has the order %+v", l.Order)
	}
	if v.Health.OrderErrors != 1 {
		t.Error("the count of errors is forgotten with a change")
	}
	if v, err = f.Update(ctx, admin, v.ID, Input{}, []string{"order"}, 0); err != nil || v.Order != nil {
		t.Fatalf("the order is %+v (%v) after it was taken away", v.Order, err)
	}
}

// input is what a link is made of.
func input(t *testing.T) (in Input) {
	t.Helper()
	if err := json.Unmarshal([]byte(aPager), &in); err != nil {
		t.Fatal(err)
	}
	return in
}

// TestOrderIsChecked says which orders are refused, where and why.
func TestOrderIsChecked(t *testing.T) {
	f := newFixture(t, t.TempDir(), &pager{})
	for _, test := range []struct {
		order      patchbay.OrderPolicy
		path, want string
	}{
		{patchbay.OrderPolicy{Key: "payload."}, "order.key", "does not compile"},
		{patchbay.OrderPolicy{Key: "[type]"}, "order.key", "is a list"},
		{patchbay.OrderPolicy{Key: strings.Repeat("x", patchbay.MaxFilterLength+1)}, "order.key", "longer than"},
		{patchbay.OrderPolicy{OnFailure: "stop"}, "order.on_failure", "block"},
		{patchbay.OrderPolicy{LongestBlock: -1}, "order.longest_block", "between"},
		{patchbay.OrderPolicy{LongestBlock: patchbay.Duration(31 * 24 * time.Hour)}, "order.longest_block", "between"},
		{patchbay.OrderPolicy{LongestBlock: 1, OnFailure: patchbay.OnFailureSkip}, "order.longest_block", "no meaning"},
	} {
		in := input(t)
		in.Order = &test.order
		_, err := f.Create(context.Background(), admin, in)
		var e *patchbay.Error
		if !errors.As(err, &e) || e.Code != patchbay.CodeInvalidRequest || len(e.Details) != 1 || e.Details[0].Path != test.path || !strings.Contains(e.Message, test.want) {
			t.Errorf("%+v: %v, want %s and %q", test.order, err, test.path, test.want)
		}
	}
}
