package connect

import (
	"sync"
	"testing"
	"time"

	"github.com/patchbay/patchbay"
)

// Two nodes renew one token a thousand times: it is never sent twice, and never lost.
func TestThousandRefreshes(t *testing.T) {
	p := newPartner(t)
	a := newRig(t, oauth2Thing("thing", p.URL, nil))
	v := a.connect(ann(), Start{Integration: "thing"}).Connection
	b := rigAt(t, a.store, a.clock, oauth2Thing("thing", p.URL, nil))
	n := 1000
	if testing.Short() {
		n = 100
	}
	hammer(t, v.ID, []*Service{a.Service, b.Service}, func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.refreshed
	}, n)
	con := a.stored(v.ID)
	p.mu.Lock()
	account, good := p.good(con.Credentials.Access.Reveal())
	reused, refreshed := p.reused, p.refreshed
	p.mu.Unlock()
	if !good || account != "1" || reused != 0 || con.State != patchbay.ConnectionActive || con.Revision < n {
		t.Errorf("%d refreshes, %d with a used token; %s", refreshed, reused, con.State)
	}
	if len(a.told())+len(b.told()) > 0 {
		t.Error("somebody was told that it needs its owner")
	}
}

// hammer has nodes use a connection and refuse what they get until it was refreshed n times.
func hammer(t *testing.T, id patchbay.ConnectionID, nodes []*Service, refreshed func() int, n int) {
	t.Helper()
	var running sync.WaitGroup
	for _, s := range nodes {
		s.pace.young, s.pace.look = 0, time.Millisecond
		for range 4 {
			running.Go(func() {
				for refreshed() < n && !t.Failed() {
					con, err := s.Use(t.Context(), id, "acme")
					if err != nil {
						t.Error(err)
						return
					}
					s.Refused(t.Context(), con)
				}
			})
		}
	}
	running.Wait()
}
