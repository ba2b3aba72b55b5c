package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay/patchbay/internal/config"
	"github.com/patchbay/patchbay/internal/console"
)

// stage is where stand-ins for installations come and go.
type stage struct {
	log     []string
	current *standIn
	fail    int // so many starts fail
}

// standIn is an installation that only notes what happens to it.
type standIn struct {
	on     *stage
	listen string
	fenced chan struct{}
}

func (s *standIn) Start(context.Context) error {
	if s.on.fail > 0 {
		s.on.fail--
		s.on.log = append(s.on.log, "failed")
		return errors.New("the database cannot be reached")
	}
	s.on.log = append(s.on.log, "started at "+s.listen)
	s.on.current = s
	return nil
}

func (s *standIn) Addr() string             { return "127.0.0.1:4711" }
func (s *standIn) AdminKey() (string, bool) { return "", false }
func (s *standIn) Database() string         { return "PostgreSQL x" }
func (s *standIn) Node() int                { return 3 }
func (s *standIn) Fenced() <-chan struct{}  { return s.fenced }

func (s *standIn) Stop(ctx context.Context) error {
	s.on.log = append(s.on.log, "stopped")
	return ctx.Err()
}

// TestServeStartsAnew: an installation that the other nodes took for dead is stopped, and another one serves on the same
// address, whatever that takes; the log says why.
func TestServeStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := &stage{}
		var log, out bytes.Buffer
		p := &program{out: console.New(&out), err: console.New(io.Discard), build: Build{
			New: func(c config.Config, _ *slog.Logger) (Installation, error) {
				return &standIn{on: on, listen: c.Listen, fenced: make(chan struct{})}, nil
			},
			Logger: func(io.Writer, config.Config) (*slog.Logger, error) {
				return slog.New(slog.NewTextHandler(&log, nil)), nil
			},
		}}
		ctx, stop := context.WithCancel(t.Context())
		begun := 0
		done := make(chan error, 1)
		go func() {
			done <- p.serve(ctx, config.Config{Listen: "127.0.0.1:0"}.WithDefaults(), func(Installation) { begun++ })
		}()
		synctest.Wait()
		on.fail = 2
		close(on.current.fenced)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{"started at 127.0.0.1:0", "stopped", "failed", "failed", "started at 127.0.0.1:4711", "stopped"}
		if !slices.Equal(on.log, want) || begun != 1 {
			t.Errorf("what happened is %q, and the banner was shown %d times", on.log, begun)
		}
		for _, text := range []string{"stopping without writing, to start anew", "could not be started anew", "started anew"} {
			if !strings.Contains(log.String(), text) {
				t.Errorf("the log does not say %q:\n%s", text, &log)
			}
		}

		// Told to stop while it cannot be started anew.
		on.log, on.fail = nil, 1000
		ctx, stop = context.WithCancel(t.Context())
		go func() { done <- p.serve(ctx, config.Config{}.WithDefaults(), func(Installation) {}) }()
		synctest.Wait()
		if err := <-done; err == nil {
			t.Error("a first start that fails is no error")
		}
		on.fail = 0
		go func() { done <- p.serve(ctx, config.Config{}.WithDefaults(), func(Installation) {}) }()
		synctest.Wait()
		on.fail = 1000
		close(on.current.fenced)
		time.Sleep(30 * time.Second)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
