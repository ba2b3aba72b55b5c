// Package sealing says which key an installation seals its secrets with. That stands in the database, in a canary: a known
// text that the key has sealed. So every node uses the same key, a node that does not have it refuses to start, and a
// rotation is one write that makes another key current and a job that seals anew what older ones have sealed.
package sealing

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/store"
)

// MetaCanary is the key under which Meta has what proves that a key is the right one. metaDone is the one of the name of
// the key that everything is known to be sealed with.
const (
	MetaCanary = "secret.canary"
	metaDone   = "secret.sealed"
)

// canary is what stands there, sealed.
const canary = "a secret that everybody knows"

var canaryPlace = store.SealPlace{Table: "meta", Row: MetaCanary, Column: "value"}

// Facts are small facts about the installation.
type Facts interface {
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
	SwapMeta(ctx context.Context, key, old, value string) (now string, err error)
}

// Store is what of a store is needed.
type Store interface {
	Facts
	store.Sealed
}

// Options are what a Service works with.
type Options struct {
	Store Store
	// Wrapper wraps what the store's Sealer seals with. Ring is the same when it is a key file's; otherwise it is nil.
	Wrapper secret.Wrapper
	Ring    *secret.Ring
	// Database describes the database, without its secrets.
	Database string
	// Others returns the other nodes that are there; nil where there can be none.
	Others func() []store.Node
	// Job makes the job that seals anew, or returns the one that is under way; nil where there are no jobs.
	Job func(ctx context.Context, c *access.Caller) (*jobs.View, error)
	// Log takes what nobody waits for; nil discards it.
	Log *slog.Logger
}

// Service keeps the key current that the database names.
type Service struct {
	o      Options
	sealer *secret.Sealer

	// turning is held while a key is made current.
	turning sync.Mutex

	mu     sync.Mutex
	known  string // the canary that was looked at last
	said   string // the canary of which it was said that it cannot be opened
	sealed bool   // everything was sealed once: from then on nothing is left in the open
	cancel context.CancelFunc
	owned  sync.WaitGroup
}

// New returns a Service. Nothing may be sealed before Admit.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o, sealer: secret.NewSealer(o.Wrapper)}
}

// Admit proves that this process has the key that the database's secrets are sealed with, and makes that key current. A
// database that has none gets one: the newest of the key file, which is made when it is not there. When it refuses, nothing
// has changed.
func (s *Service) Admit(ctx context.Context) error {
	have, err := s.o.Store.Meta(ctx, MetaCanary)
	if err != nil {
		return fmt.Errorf("which key the database's secrets are sealed with cannot be read: %w", err)
	}
	if have != "" {
		return s.follow(have)
	}
	made := false
	if s.o.Ring != nil && s.o.Ring.Current() == "" {
		if made, err = s.o.Ring.Create(ctx); err != nil {
			return fmt.Errorf("%w; name a file that can be written with --key-file", err)
		}
	}
	mine, err := s.newCanary(ctx)
	if err == nil {
		have, err = s.o.Store.SwapMeta(ctx, MetaCanary, "", mine)
	}
	if err == nil {
		err = s.follow(have) // another node may have been faster
	}
	switch {
	case err != nil && made:
		return errors.Join(err, s.o.Ring.Discard())
	case err != nil:
		return err
	case made:
		s.o.Log.Info("a key file was made: keep a copy of it apart from the database's, because nobody can read secrets without it", "file", s.o.Ring.Path())
	}
	if have != mine {
		return nil
	}
	return s.allSealed(ctx)
}

// allSealed writes down that there is nothing to be sealed, in a new database.
func (s *Service) allSealed(ctx context.Context) error {
	found := false
	for next := ""; ; {
		var err error
		next, err = s.o.Store.LookSealed(ctx, next, 1, func([]byte) { found = true })
		if err != nil || found {
			return err
		}
		if next == "" {
			return s.Done(ctx)
		}
	}
}

// newCanary seals the canary with the current key.
func (s *Service) newCanary(ctx context.Context) (string, error) {
	b, err := s.sealer.Seal(ctx, canaryPlace, []byte(canary))
	if err != nil {
		return "", fmt.Errorf("sealing with the current key: %w", err)
	}
	return base64.RawStdEncoding.EncodeToString(b), nil
}

// follow makes the key current that a canary names, once that is proven to be the right one.
func (s *Service) follow(text string) error {
	id, err := keyOfCanary(text)
	if err != nil {
		return fmt.Errorf("which key the secrets of %s are sealed with cannot be read: %w", s.o.Database, err)
	}
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	plain, err := s.sealer.Open(context.Background(), canaryPlace, raw)
	switch {
	case errors.Is(err, secret.ErrUnknownKey):
		return &refusal{s.missing(id), err}
	case err != nil || string(plain) != canary:
		return &refusal{s.wrong(id), errors.Join(store.ErrSealed, err)}
	}
	if s.o.Ring != nil {
		s.o.Ring.Use(id)
	}
	s.mu.Lock()
	s.known = text
	s.mu.Unlock()
	return nil
}

// keyOfCanary is the name of the key that sealed a canary.
func keyOfCanary(text string) (string, error) {
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	return secret.KeyOf(raw)
}

// refusal is why a process must not use a database.
type refusal struct {
	text string
	err  error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.err }

// missing is the sentence for a key that is not there.
func (s *Service) missing(id string) string {
	if s.o.Ring == nil {
		return fmt.Sprintf("the secrets in %s are sealed with the key %q, which what wraps keys here does not have: give it access to that key", s.o.Database, id)
	}
	where := fmt.Sprintf("which %s does not have", s.o.Ring.Path())
	if _, err := os.Stat(s.o.Ring.Path()); errors.Is(err, fs.ErrNotExist) {
		where = fmt.Sprintf("and there is no key file %s", s.o.Ring.Path())
	}
	return fmt.Sprintf("the secrets in %s are sealed with the key %q, %s: give the key file of the other node, or the copy that you kept of it, with --key-file; nothing was changed",
		s.o.Database, id, where)
}

// wrong is the sentence for a key that has the right name only.
func (s *Service) wrong(id string) string {
	if s.o.Ring == nil {
		return fmt.Sprintf("the secrets in %s are sealed with a key %q that is not the one of this name that is in use here: give the right one", s.o.Database, id)
	}
	return fmt.Sprintf("the secrets in %s are sealed with a key %q that is not the one of this name in %s: give the right key file with --key-file; nothing was changed",
		s.o.Database, id, s.o.Ring.Path())
}

// Later reports whether links are still to be written in the open: an older version of the program, which knows of no keys,
// serves beside this node, and everything that it wrote is in the open yet. The job that seals it waits for the same.
func (s *Service) Later() bool {
	if s.o.Others == nil {
		return false
	}
	s.mu.Lock()
	sealed := s.sealed
	s.mu.Unlock()
	return !sealed && slices.ContainsFunc(s.o.Others(), func(n store.Node) bool { return n.Report.Seals == "" })
}

// lookDone takes over that everything was sealed once.
func (s *Service) lookDone(ctx context.Context) (done string, err error) {
	done, err = s.o.Store.Meta(ctx, metaDone)
	if err == nil && done != "" {
		s.mu.Lock()
		s.sealed = true
		s.mu.Unlock()
	}
	return done, err
}

// look follows the database, where another node may have made another key current, and the key file.
func (s *Service) look(ctx context.Context) error {
	have, err := s.o.Store.Meta(ctx, MetaCanary)
	if err != nil {
		return err
	}
	if s.o.Ring != nil {
		if err := s.o.Ring.Reload(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.sayOnce(err.Error())
		}
	}
	s.mu.Lock()
	known, sealed := s.known, s.sealed
	s.mu.Unlock()
	if !sealed {
		if _, err := s.lookDone(ctx); err != nil {
			return err
		}
	}
	if have == known || have == "" {
		return nil
	}
	if err := s.follow(have); err != nil {
		s.sayOnce(err.Error())
		return err
	}
	s.o.Log.Info("secrets are sealed with another key from now on", "key", s.o.Wrapper.Current())
	return nil
}

// sayOnce logs a complaint unless it was the last one too.
func (s *Service) sayOnce(text string) {
	s.mu.Lock()
	again := s.said == text
	s.said = text
	s.mu.Unlock()
	if !again {
		s.o.Log.Error(text)
	}
}

// Report adds to what this node says of itself which keys it has.
func (s *Service) Report(r *store.NodeReport) {
	r.Seals, r.Keys = s.o.Wrapper.Current(), s.names()
}

// names are the names of this node's keys with their fingerprints.
func (s *Service) names() []string {
	if s.o.Ring == nil {
		return []string{s.o.Wrapper.Current() + ":"}
	}
	var out []string
	for _, k := range s.o.Ring.Keys() {
		out = append(out, k.ID+":"+k.Print)
	}
	return out
}

// Begin makes the job that seals what is not sealed with the current key, when there may be something and none is under
// way: rows of an older version, or of a rotation that did not end.
func (s *Service) Begin(ctx context.Context) error {
	done, err := s.lookDone(ctx)
	if err != nil || done == s.o.Wrapper.Current() || s.o.Job == nil {
		return err
	}
	j, err := s.o.Job(ctx, &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "start"})
	if err != nil {
		return err
	}
	s.o.Log.Info("secrets that the current key has not sealed are sealed anew", "job", j.ID, "key", s.o.Wrapper.Current())
	return nil
}

// Reseal seals the next rows anew; see store.Sealed. It is for the job.
func (s *Service) Reseal(ctx context.Context, after string, limit int) (next string, looked, changed int, err error) {
	return s.o.Store.Reseal(ctx, after, limit)
}

// Count counts the next rows that have secrets. It is for the job.
func (s *Service) Count(ctx context.Context, after string, limit int) (next string, n int, err error) {
	next, err = s.o.Store.LookSealed(ctx, after, limit, func([]byte) { n++ })
	return next, n, err
}

// Ready returns why rows are not to be sealed anew yet: a node that still seals with another key would undo it. "" is
// that they may be. It is for the job.
func (s *Service) Ready(ctx context.Context) (why string, err error) {
	if err := s.look(ctx); err != nil {
		return "", err
	}
	if s.o.Others == nil {
		return "", nil
	}
	var late []string
	for _, n := range s.o.Others() {
		if n.Report.Seals != s.o.Wrapper.Current() {
			late = append(late, nodeName(&n))
		}
	}
	if len(late) == 0 {
		return "", nil
	}
	return "waiting until these seal with the new key: " + strings.Join(late, ", "), nil
}

// InTheOpen reports whether the database may have held secrets that were not sealed: it was never all sealed before. It
// is for the job.
func (s *Service) InTheOpen(ctx context.Context) (bool, error) {
	done, err := s.o.Store.Meta(ctx, metaDone)
	return done == "", err
}

// Done writes down that everything is sealed with the current key. It is for the job.
func (s *Service) Done(ctx context.Context) error {
	if err := s.o.Store.SetMeta(ctx, metaDone, s.o.Wrapper.Current()); err != nil {
		return err
	}
	_, err := s.lookDone(ctx)
	return err
}

func nodeName(n *store.Node) string { return fmt.Sprintf("node %d (%s)", n.Number, n.Address) }

// Check proves that a Wrapper, which is ring when that is not nil, has the key of a canary that was read from a database,
// without changing anything. "" is that of a database that has none yet.
func Check(w secret.Wrapper, ring *secret.Ring, database, canary string) error {
	if canary == "" {
		return nil
	}
	return New(Options{Wrapper: w, Ring: ring, Database: database}).follow(canary)
}

// Copy gives another database, which holds what this one has sealed, the same canary, so that it is served with the same
// key file.
func Copy(ctx context.Context, from, to Facts) error {
	have, err := from.Meta(ctx, MetaCanary)
	if err == nil && have != "" {
		err = to.SetMeta(ctx, MetaCanary, have)
	}
	if err != nil {
		return fmt.Errorf("writing down which key the secrets are sealed with: %w", err)
	}
	return nil
}

// stored is a store's error for callers.
func stored(doing string, err error) error {
	switch {
	case errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed):
		return &patchbay.Error{Code: patchbay.CodeUnavailable, RetryAfter: 5, Err: err,
			Message: "the database cannot be used at the moment; try again in a few seconds"}
	case errors.Is(err, store.ErrSealed):
		return &patchbay.Error{Code: patchbay.CodeConflict, Message: err.Error(), Err: err}
	}
	return patchbay.Internal(doing, err)
}
