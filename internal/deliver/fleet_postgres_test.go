package deliver

import (
	"context"
	"testing"
	"time"

	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// onePostgres is a PostgreSQL database with a store for each node.
type onePostgres struct{ url string }

func (o *onePostgres) join(t *testing.T) store.Store {
	s, err := postgres.Open(context.Background(), postgres.Options{URL: o.url})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recover(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (o *onePostgres) takeOver(t *testing.T, _, by *view) {
	if _, err := by.Store.(store.Cluster).TakeOver(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
}

func (o *onePostgres) close(*testing.T) {}

// TestAnyScheduleOfNodesOnPostgreSQL is TestAnyScheduleOfNodes with everything that a PostgreSQL store does itself: a
// connection for each node, fencing, taking over.
func TestAnyScheduleOfNodesOnPostgreSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a server")
	}
	server := pgtest.Shared(t)
	anyScheduleOfNodes(t, postgresSchedules, func(*testing.T) shared { return &onePostgres{server.Database(t)} })
}

// postgresSchedules is how many schedules run on PostgreSQL: each makes a database.
const postgresSchedules = 6
