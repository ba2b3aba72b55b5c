package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestStopGoesBackwardsAndOnlyOnce(t *testing.T) {
	var s Stack
	var order []string
	broken := errors.New("broken")
	for _, name := range []string{"database", "engine", "server"} {
		s.Push(name, func(context.Context) error {
			order = append(order, name)
			if name == "engine" {
				return broken
			}
			return nil
		})
	}
	err := s.Stop(context.Background())
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "stopping engine") {
		t.Errorf("the error %v does not say what failed", err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("a second stop failed: %v", err)
	}
	if want := []string{"server", "engine", "database"}; !slices.Equal(order, want) {
		t.Errorf("stopped in the order %v, want %v", order, want)
	}
}
