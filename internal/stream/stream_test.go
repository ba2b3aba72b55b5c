package stream

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/patchbay/patchbay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFilterSelects(t *testing.T) {
	event := Item{Kind: KindEvent, Type: "repo.push", Scope: "acme/repos/1", Also: []patchbay.Scope{"acme/users/ann"}}
	attempt := Item{Kind: KindAttempt, Type: "repo.push", Scope: "acme/repos/1", Link: 7, Integration: "slack", State: "retry"}
	system := Item{Kind: KindEvent, Type: "patchbay.link.failing", Scope: "acme"}
	for _, test := range []struct {
		says   string
		filter Filter
		item   Item
		want   bool
	}{
		{"nothing set selects everything", Filter{}, system, true},
		{"kind", Filter{Kinds: []string{KindEvent}}, event, true},
		{"another kind", Filter{Kinds: []string{KindDelivery, KindAttempt}}, event, false},
		{"pattern", Filter{Types: []patchbay.Pattern{"run_*", "repo.*"}}, event, true},
		{"no pattern matches", Filter{Types: []patchbay.Pattern{"run_*"}}, event, false},
		{"a star does not select system types", Filter{Types: []patchbay.Pattern{"*"}}, system, false},
		{"scope above", Filter{Scope: "acme"}, event, true},
		{"scope beside", Filter{Scope: "acme/repos/2"}, event, false},
		{"a name that begins alike is another scope", Filter{Scope: "acm"}, event, false},
		{"scope of also", Filter{Scope: "acme/users"}, event, true},
		{"link", Filter{Link: 7}, attempt, true},
		{"another link", Filter{Link: 8}, attempt, false},
		{"an event has no link", Filter{Link: 7}, event, false},
		{"integration", Filter{Integration: "slack"}, attempt, true},
		{"another integration", Filter{Integration: "jira"}, attempt, false},
		{"state", Filter{States: []string{"delivered", "retry"}}, attempt, true},
		{"another state", Filter{States: []string{"delivered"}}, attempt, false},
	} {
		t.Run(test.says, func(t *testing.T) {
			if got := test.filter.Match(&test.item); got != test.want {
				t.Errorf("Match = %v, want %v", got, test.want)
			}
		})
	}
}

func TestSubscribersGetWhatTheySelect(t *testing.T) {
	var h Hub
	if h.Active() {
		t.Error("a hub without subscribers is active")
	}
	pushes := h.Subscribe(Filter{Types: []patchbay.Pattern{"repo.push"}})
	defer pushes.Close()
	all := h.Subscribe(Filter{})
	defer all.Close()
	for _, typ := range []string{"a", "repo.push", "b"} {
		h.Publish(Item{Kind: KindEvent, Type: typ, Data: map[string]string{"type": typ}})
	}
	if got := types(t, pushes, 1); !cmp.Equal(got, []string{`{"type":"repo.push"}`}) {
		t.Errorf("pushes got %v", got)
	}
	want := []string{`{"type":"a"}`, `{"type":"repo.push"}`, `{"type":"b"}`}
	if got := types(t, all, 3); !cmp.Equal(got, want) {
		t.Errorf("all got %v", got)
	}
	pushes.Close()
	pushes.Close()
	if h.Subscribers() != 1 {
		t.Errorf("%d subscribers, want 1", h.Subscribers())
	}
}

func types(t *testing.T, s *Subscription, n int) []string {
	t.Helper()
	var out []string
	for range n {
		b, err := (<-s.Messages()).JSON()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

func TestASlowReaderLosesItemsAndIsTold(t *testing.T) {
	var h Hub
	slow, fast := h.Subscribe(Filter{}), h.Subscribe(Filter{})
	defer slow.Close()
	defer fast.Close()
	const extra = 10
	for range Buffer + extra {
		h.Publish(Item{})
		<-fast.Messages()
	}
	if got := slow.Dropped(); got != extra {
		t.Errorf("the slow reader lost %d, want %d", got, extra)
	}
	if got := slow.Dropped() + fast.Dropped(); got != 0 {
		t.Errorf("%d further losses, want none", got)
	}
	if m := <-slow.Messages(); m.Number != 1 {
		t.Errorf("the oldest kept is number %d, want 1: the newest are dropped", m.Number)
	}
}

func TestCloseEndsSubscriptions(t *testing.T) {
	var h Hub
	s := h.Subscribe(Filter{})
	h.Publish(Item{Type: "last"})
	h.Close()
	h.Close()
	if m := <-s.Messages(); m == nil || m.Type != "last" {
		t.Error("what was published before Close is lost")
	}
	if _, open := <-s.Messages(); open {
		t.Error("the channel is still open")
	}
	if _, open := <-h.Subscribe(Filter{}).Messages(); open {
		t.Error("a subscription after Close is open")
	}
	h.Publish(Item{})
	s.Close()
	var none *Hub
	if none.Active() || none.Subscribers() != 0 {
		t.Error("a nil hub has subscribers")
	}
}

// TestPublishWhileClosing is for the race detector: no channel is closed under a sender.
func TestPublishWhileClosing(t *testing.T) {
	var h Hub
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				h.Publish(Item{Kind: KindEvent})
			}
		})
		wg.Go(func() {
			for range 200 {
				s := h.Subscribe(Filter{})
				select {
				case <-s.Messages():
				default:
				}
				s.Close()
			}
		})
	}
	wg.Wait()
	h.Close()
	if h.Active() {
		t.Error("the hub is active with no subscribers")
	}
}

func BenchmarkPublishToNobody(b *testing.B) {
	var h Hub
	b.ReportAllocs()
	for b.Loop() {
		if h.Active() {
			h.Publish(Item{})
		}
	}
}
