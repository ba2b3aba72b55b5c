package storetest

import (
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

var hostileTests = []test{
	{"a filter that nothing can be like selects nothing", hostileFilters},
}

// hostileFilters asks every list for words that no database's text has to be able to hold: they come in from addresses.
func hostileFilters(e *env) {
	for _, word := range []string{"\x00", "a\x00b", "\xff", "\xed\xa0\x80"} {
		for name, list := range map[string]func() (int, error){
			"events of a type": func() (int, error) {
				found, err := e.s.Events(e.ctx, store.EventFilter{Types: []string{word}, Limit: 5})
				return len(found), err
			},
			"deliveries of an integration": func() (int, error) {
				found, err := e.s.Deliveries(e.ctx, store.DeliveryFilter{Integration: word, Limit: 5})
				return len(found), err
			},
			"deliveries of a type that failed": func() (int, error) {
				found, err := e.s.Deliveries(e.ctx, store.DeliveryFilter{Types: []string{word}, States: []patchbay.DeliveryState{patchbay.DeliveryFailed}, Limit: 5})
				return len(found), err
			},
			"hooks of an integration": func() (int, error) {
				found, err := e.s.Hooks(e.ctx, store.HookFilter{Integration: word, Limit: 5})
				return len(found), err
			},
			"hooks of an account": func() (int, error) {
				found, err := e.s.Hooks(e.ctx, store.HookFilter{Account: word, Limit: 5})
				return len(found), err
			},
			"connections of an integration": func() (int, error) {
				found, err := e.s.Connections(e.ctx, store.ConnectionFilter{Integration: word, Limit: 5})
				return len(found), err
			},
			"sessions of a user": func() (int, error) {
				found, err := e.s.Sessions(e.ctx, store.SessionFilter{User: word, Limit: 5}, e.now())
				return len(found), err
			},
			"jobs of an action": func() (int, error) {
				found, err := e.s.Jobs(e.ctx, store.JobFilter{Action: word, Limit: 5})
				return len(found), err
			},
			"entries about an object": func() (int, error) {
				found, err := e.s.AuditEntries(e.ctx, store.AuditFilter{Object: word, Limit: 5})
				return len(found), err
			},
			"entries of somebody": func() (int, error) {
				found, err := e.s.AuditEntries(e.ctx, store.AuditFilter{Actor: word, Action: word, Limit: 5})
				return len(found), err
			},
			"figures of an integration": func() (int, error) {
				found, err := e.s.Samples(e.ctx, store.StatFilter{Since: e.now().Add(-time.Hour), Until: e.now(), Integration: word}, time.Minute, store.ByNothing)
				return len(found), err
			},
			"figures of a type": func() (int, error) {
				found, err := e.s.Samples(e.ctx, store.StatFilter{Since: e.now().Add(-time.Hour), Until: e.now(), Type: word}, time.Minute, store.ByType)
				return len(found), err
			},
		} {
			if n, err := list(); err != nil || n != 0 {
				e.Errorf("%s %q: %d are found, and the error is %v", name, word, n, err)
			}
		}
	}
}
