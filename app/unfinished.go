package app

import (
	"context"
	"time"

	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// shared is the store of several nodes.
type shared struct{ *postgres.Store }

// Prune deletes nothing yet.
func (shared) Prune(context.Context, store.Retention, time.Time) (bool, error) { return false, nil }

// Stats says nothing yet.
func (shared) Stats(context.Context) (store.Stats, error) { return store.Stats{}, nil }
