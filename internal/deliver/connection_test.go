package deliver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
)

const aConnection = patchbay.ConnectionID(240_000_000_000_000_000)

// accounts is a Connections with one connection, whose token is renewed when it was refused.
type accounts struct {
	mu      sync.Mutex
	refused []patchbay.Secret
	// fails, when not nil, is what Use returns.
	fails error
}

func (a *accounts) Use(_ context.Context, id patchbay.ConnectionID, scope patchbay.Scope) (*integration.Connected, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails != nil {
		return nil, a.fails
	}
	if id != aConnection || scope == "" {
		return nil, patchbay.Errorf(patchbay.CodeUserConfigurationError, "there is no connection %s for %q", id, scope)
	}
	return &integration.Connected{ID: id, Account: patchbay.Account{ID: "U1"}, Credentials: patchbay.Credentials{
		Access: patchbay.Secret(fmt.Sprintf("access-token-%d", len(a.refused))), Extra: map[string]patchbay.Secret{"bot": "bot-token-x"},
	}}, nil
}

func (a *accounts) Refused(_ context.Context, used *integration.Connected) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = append(a.refused, used.Credentials.Access)
}

func (a *accounts) Known(id patchbay.ConnectionID) (*patchbay.Connection, bool) {
	return &patchbay.Connection{ID: id, Account: patchbay.Account{ID: "U1", Name: "Ann"}}, id == aConnection
}

func (a *accounts) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails = err
}

func over(l *patchbay.Link) { l.Connection = aConnection }

func connected(t *testing.T, p *partner, a *accounts) *rig {
	t.Helper()
	return newRig(t, p, func(o *Options) { o.Connections = a })
}

// An attempt gets the credentials of its link's connection, and nothing of them is kept.
func TestConnectionComesWithAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: func(_ context.Context, d *integration.Delivery) integration.Result {
			c := d.Connection
			if d.Preview {
				return integration.Delivered()
			}
			if c == nil || c.Account.ID != "U1" || c.Credentials.Access != "access-token-0" {
				t.Errorf("the attempt got %+v", c)
			}
			d.Env.Record(integration.Exchange{
				Method: "POST", URL: "https://partner.example/" + c.Credentials.Access.Reveal(),
				Header: integration.Header{{Name: "X-As", Value: c.Credentials.Extra["bot"].Reveal()}}, ResponseCode: 400,
				ResponseBody: []byte("no: " + c.Credentials.Access.Reveal()),
			})
			return integration.UserError("the partner said no to %s", c.Credentials.Access.Reveal())
		}}
		r := connected(t, p, &accounts{})
		e := r.accept(`{}`, r.link("acme", over))
		synctest.Wait()
		v, err := json.Marshal(r.delivery(e))
		if err != nil || !strings.Contains(string(v), "partner.example") || strings.Contains(string(v), "access-token") || strings.Contains(string(v), "bot-token") {
			t.Errorf("kept is %s, %v", v, err)
		}
	})
}

// A token that the partner does not take is renewed, and the delivery sent again at once, at no cost. When the new one is
// not taken either, the schedule goes on.
func TestRefusedTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Value
		p := &partner{answer: func(_ context.Context, d *integration.Delivery) integration.Result {
			if d.Connection.Credentials.Access.Reveal() != good.Load() {
				return integration.Expired("the partner does not take the token")
			}
			return integration.Delivered()
		}}
		a := &accounts{}
		r := connected(t, p, a)
		none := []patchbay.Duration{}
		l := r.link("acme", over, func(l *patchbay.Link) { l.Retry = &patchbay.RetryPolicy{Schedule: none} })
		good.Store("access-token-1")
		e := r.accept(`{}`, l)
		time.Sleep(5 * time.Second)
		if v := r.delivery(e); v.State != patchbay.DeliverySucceeded || v.AttemptCount != 2 || v.Attempts[0].Verdict != patchbay.VerdictAuthExpired {
			t.Errorf("after one renewal it is %s after %d attempts", v.State, v.AttemptCount)
		}
		if h := r.engine.Health(l.ID); h.Failures != 0 || !h.FailingSince.IsZero() {
			t.Errorf("the link's health is %+v", h)
		}
		good.Store("never")
		e = r.accept(`{}`, l)
		time.Sleep(5 * time.Second)
		if v := r.delivery(e); v.State != patchbay.DeliveryFailed || v.AttemptCount != 2 {
			t.Errorf("without any good token it is %s after %d attempts", v.State, v.AttemptCount)
		}
		if len(a.refused) != 3 {
			t.Errorf("refused were %d tokens", len(a.refused))
		}
		good.Store("access-token-4") // a later failure is forgiven anew
		e = r.accept(`{}`, l)
		time.Sleep(5 * time.Second)
		if v := r.delivery(e); v.State != patchbay.DeliverySucceeded {
			t.Errorf("a later delivery is %s", v.State)
		}
	})
}

// While a connection needs its owner, deliveries wait by their schedule, say why, and go out once it works again.
func TestConnectionNeedsItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partner{answer: delivered}
		a := &accounts{}
		r := connected(t, p, a)
		l := r.link("acme", over)
		a.fail(patchbay.Errorf(patchbay.CodeUserConfigurationError, "Ann must connect again"))
		e := r.accept(`{}`, l)
		time.Sleep(time.Second)
		v := r.delivery(e)
		if v.State != patchbay.DeliveryPending || len(v.Attempts) != 1 || v.Attempts[0].Verdict != patchbay.VerdictAuthExpired || *v.Attempts[0].Error != "Ann must connect again" {
			t.Errorf("it is %+v", v)
		}
		a.fail(patchbay.Errorf(patchbay.CodeServiceError, "the partner does not renew tokens at the moment"))
		time.Sleep(6 * time.Second)
		if v := r.delivery(e); v.State != patchbay.DeliveryPending || len(v.Attempts) != 2 || v.Attempts[1].Verdict != patchbay.VerdictRetry {
			t.Errorf("it is %+v", v)
		}
		if len(p.sent()) != 0 || len(a.refused) != 0 {
			t.Error("the partner was called")
		}
		a.fail(nil)
		time.Sleep(time.Minute)
		if v := r.delivery(e); v.State != patchbay.DeliverySucceeded {
			t.Errorf("once it works again it is %s", v.State)
		}
	})
}

// Without a connection nothing renews a token, so the delivery fails as it always did.
func TestExpiredWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &partner{answer: func(context.Context, *integration.Delivery) integration.Result {
			return integration.Expired("no")
		}})
		e := r.accept(`{}`, r.link("acme"))
		time.Sleep(time.Second)
		if v := r.delivery(e); v.State != patchbay.DeliveryFailed || v.AttemptCount != 1 {
			t.Errorf("it is %s after %d attempts", v.State, v.AttemptCount)
		}
	})
}

// Previews show who a link sends as, use no credentials, and renew none.
func TestConnectionInPreviews(t *testing.T) {
	a := &accounts{fails: patchbay.Errorf(patchbay.CodeInternal, "it must not be used")}
	p := &partner{answer: func(_ context.Context, d *integration.Delivery) integration.Result {
		d.Env.Record(integration.Exchange{Method: "POST", URL: "https://partner.example/" + d.Connection.Account.Name, Body: []byte(d.Connection.Credentials.Access.Reveal())})
		return integration.Expired("no")
	}}
	r := connected(t, p, a)
	out := r.engine.Try(t.Context(), Call{Link: r.link("acme", over), Event: &patchbay.Event{Payload: []byte(`{}`)}, Preview: true})
	if out.Attempt.Request == nil || out.Attempt.Request.URL != "https://partner.example/Ann" || string(out.Body) != patchbay.Redacted || len(a.refused) != 0 {
		t.Errorf("the preview is %+v with the body %s", out.Attempt.Request, out.Body)
	}
}

// Many attempts over one connection at the same time, some of whose tokens are refused.
func TestConnectionUnderLoad(t *testing.T) {
	a := &accounts{}
	p := &partner{}
	p.answer = func(_ context.Context, d *integration.Delivery) integration.Result {
		if d.Connection.Credentials.Access == "access-token-0" {
			return integration.Expired("no")
		}
		return integration.Delivered()
	}
	r := connected(t, p, a)
	l := r.link("acme", over)
	var events []*patchbay.Event
	for range 50 {
		events = append(events, r.accept(`{}`, l))
	}
	for _, e := range events {
		for end := time.Now().Add(60 * time.Second); r.delivery(e).State != patchbay.DeliverySucceeded; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it is %+v", r.delivery(e))
			}
		}
	}
}
