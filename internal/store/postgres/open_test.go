package postgres_test

import (
	"context"
	"testing"

	"github.com/patchbay/patchbay/internal/pgtest"
	"github.com/patchbay/patchbay/internal/store/postgres"
)

// TestOpen opens an empty database, closes it and opens it again.
func TestOpen(t *testing.T) {
	url := pgtest.Database(t)
	for range 3 {
		s, err := postgres.Open(context.Background(), postgres.Options{URL: url, Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
