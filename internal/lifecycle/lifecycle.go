// Package lifecycle takes things down in the reverse order in which they were set up. A start that fails half way and
// a stop go through the same stack, so neither forgets anything.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Stack is a stack of things to take down. Its zero value is empty.
type Stack struct {
	mu    sync.Mutex
	items []item
}

type item struct {
	name string
	stop func(context.Context) error
}

// Push adds something that must be taken down. The name is for its error.
func (s *Stack) Push(name string, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, item{name, stop})
}

// Stop takes everything down, the last pushed first, also when something fails, and returns every error. A second call
// finds nothing left to do.
func (s *Stack) Stop(ctx context.Context) error {
	var errs []error
	for {
		s.mu.Lock()
		if len(s.items) == 0 {
			s.mu.Unlock()
			return errors.Join(errs...)
		}
		last := s.items[len(s.items)-1]
		s.items = s.items[:len(s.items)-1]
		s.mu.Unlock()
		if err := last.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", last.name, err))
		}
	}
}

// Wait waits for goroutines to end, and returns ctx's error when they have not by the time it is done. It goes on waiting
// for them then, in a goroutine that ends with the last of them.
func Wait(ctx context.Context, owned *sync.WaitGroup) error {
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		owned.Wait()
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
