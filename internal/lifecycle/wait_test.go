package lifecycle

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var owned sync.WaitGroup
		end := make(chan struct{})
		owned.Go(func() { <-end })
		patience, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := Wait(patience, &owned); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for what does not end: %v", err)
		}
		close(end)
		if err := Wait(context.Background(), &owned); err != nil {
			t.Errorf("waiting for what has ended: %v", err)
		}
	})
}
