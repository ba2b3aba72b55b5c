package sealing

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/jobs"
	"github.com/patchbay/patchbay/internal/secret"
	"github.com/patchbay/patchbay/internal/store"
)

// lookEvery is how often a node that is one of several looks whether another key is current.
const lookEvery = time.Second

// countStep is how many rows are counted at a time.
const countStep = 1000

// KeyView is a key as the API shows it.
type KeyView struct {
	ID string `json:"id"`
	// MadeAt is null when the key file does not say.
	MadeAt *time.Time `json:"made_at"`
	// Current says that secrets are sealed with it.
	Current bool `json:"current"`
	// InFile says that the key file of the node that answered has it.
	InFile bool `json:"in_file"`
	// Rows is how many rows of the database cannot be read without it.
	Rows int64 `json:"rows"`
}

// Overview is which keys there are, and what needs them.
type Overview struct {
	Keys []KeyView
	// File is the key file; "" when something else wraps keys.
	File string
	// Unsealed counts rows that an older version has written and that are not sealed yet; Unreadable those of which it
	// cannot be told which key they need.
	Unsealed, Unreadable int64
}

// Overview shows the keys, the newest last. The caller needs Admin on the whole installation.
func (s *Service) Overview(ctx context.Context, c *access.Caller) (*Overview, error) {
	if err := allowed(c); err != nil {
		return nil, err
	}
	if err := s.look(ctx); err != nil && !errors.Is(err, store.ErrSealed) {
		return nil, stored("reading which key is current", err)
	}
	out := &Overview{}
	need := map[string]int64{}
	for next, more := "", true; more; more = next != "" {
		var err error
		next, err = s.o.Store.LookSealed(ctx, next, countStep, func(sealed []byte) {
			switch id, err := secret.KeyOf(sealed); {
			case sealed == nil:
				out.Unsealed++
			case err != nil:
				out.Unreadable++
			default:
				need[id]++
			}
		})
		if err != nil {
			return nil, stored("counting what is sealed", err)
		}
	}
	current := s.o.Wrapper.Current()
	if s.o.Ring != nil {
		out.File = s.o.Ring.Path()
		for _, k := range s.o.Ring.Keys() {
			v := KeyView{ID: k.ID, Current: k.ID == current, InFile: k.InFile, Rows: need[k.ID]}
			if !k.Made.IsZero() {
				v.MadeAt = &k.Made
			}
			out.Keys = append(out.Keys, v)
			delete(need, k.ID)
		}
	} else {
		out.Keys = []KeyView{{ID: current, Current: true, Rows: need[current]}}
		delete(need, current)
	}
	for id, rows := range need {
		out.Keys = slices.Insert(out.Keys, 0, KeyView{ID: id, Rows: rows})
	}
	return out, nil
}

func allowed(c *access.Caller) error {
	if err := c.Require(access.Admin); err != nil {
		return err
	}
	return c.Reach("")
}

// Rotate makes another key current, and the job that seals everything anew with it. The key is the newest of the key
// file, when that is not in use yet; a node that has no others makes one. A rotation that has not ended goes on instead.
func (s *Service) Rotate(ctx context.Context, c *access.Caller) (*jobs.View, error) {
	if err := allowed(c); err != nil {
		return nil, err
	}
	if s.o.Job == nil {
		return nil, patchbay.Errorf(patchbay.CodeUnavailable, "there are no jobs here, which a rotation needs")
	}
	s.turning.Lock()
	defer s.turning.Unlock()
	if err := s.look(ctx); err != nil {
		return nil, stored("reading which key is current", err)
	}
	done, err := s.o.Store.Meta(ctx, metaDone)
	if err != nil {
		return nil, stored("reading what is sealed", err)
	}
	if done == s.o.Wrapper.Current() || s.o.Ring == nil && s.newer() {
		if err := s.turn(ctx, c); err != nil {
			return nil, err
		}
	}
	return s.o.Job(ctx, c)
}

// newer reports whether a Wrapper that is not a ring names another key than the database does.
func (s *Service) newer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := keyOfCanary(s.known)
	return err == nil && id != s.o.Wrapper.Current()
}

// turn makes another key current.
func (s *Service) turn(ctx context.Context, c *access.Caller) error {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	before := s.o.Wrapper.Current()
	next, err := s.next(ctx, before)
	if err != nil {
		return err
	}
	if err := s.everywhere(next); err != nil {
		return err
	}
	if s.o.Ring != nil && !s.o.Ring.Use(next.ID) {
		return patchbay.Internal("making a key current", secret.ErrUnknownKey)
	}
	// From here on this node seals with the key, which is on disk and which every node has. When the database does not
	// hear of it, what was sealed meanwhile stays readable.
	text, err := s.newCanary(ctx)
	if err == nil {
		var now string
		x := access.Change{Action: "secrets.rotated", Object: next.ID, Title: next.ID, Fields: []access.Field{{Name: "key", From: before, To: next.ID}}}
		if now, err = s.o.Store.SwapMeta(access.Audited(ctx, c, x), MetaCanary, known, text); err == nil && now != text {
			err = patchbay.Errorf(patchbay.CodeConflict, "another key was made current at the same time: look at them with \"patchbay secrets\"")
		}
	}
	if err != nil {
		if s.o.Ring != nil {
			s.o.Ring.Use(before)
		}
		if patchbay.CodeOf(err) == patchbay.CodeConflict {
			return err
		}
		return stored("making a key current", err)
	}
	s.mu.Lock()
	s.known = text
	s.mu.Unlock()
	s.o.Log.Info("secrets are sealed with another key from now on", "key", next.ID, "before", before)
	return nil
}

// next returns the key that is to be current, which is made when there is none.
func (s *Service) next(ctx context.Context, current string) (secret.Key, error) {
	if s.o.Ring == nil {
		if !s.newer() {
			return secret.Key{}, patchbay.Errorf(patchbay.CodeConflict, "the key %q is in use already: make another one current at what wraps keys for this program, start the nodes with it, and rotate then", current)
		}
		return secret.Key{ID: current}, nil
	}
	if err := s.o.Ring.Reload(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return secret.Key{}, patchbay.Errorf(patchbay.CodeConflict, "%v", err)
	}
	keys := s.o.Ring.Keys()
	last := keys[len(keys)-1]
	if last.ID != current && last.InFile {
		return last, nil
	}
	if s.o.Others != nil && len(s.o.Others()) > 0 {
		return secret.Key{}, patchbay.Errorf(patchbay.CodeConflict,
			"there is no new key that all nodes have: run \"patchbay secrets new-key\" beside one node, give its key file (%s) to every other node, and rotate then", s.o.Ring.Path())
	}
	id, err := s.o.Ring.Add(ctx)
	if err != nil {
		return secret.Key{}, &patchbay.Error{Code: patchbay.CodeConflict, Err: err,
			Message: "a new key cannot be added: " + err.Error() + "; where the program may not write the file, add one there with \"patchbay secrets new-key\" and rotate then"}
	}
	for _, k := range s.o.Ring.Keys() {
		if k.ID == id {
			return k, nil
		}
	}
	return secret.Key{}, patchbay.Internal("reading the new key", secret.ErrUnknownKey)
}

// everywhere refuses a key that a node does not have which is there.
func (s *Service) everywhere(k secret.Key) error {
	if s.o.Others == nil {
		return nil
	}
	var lacking []string
	for _, n := range s.o.Others() {
		if !slices.Contains(n.Report.Keys, k.ID+":"+k.Print) {
			lacking = append(lacking, nodeName(&n))
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	where := ""
	if s.o.Ring != nil {
		where = " (" + s.o.Ring.Path() + ")"
	}
	return patchbay.Errorf(patchbay.CodeConflict, "the key %q cannot become current, because it is not in the key file of %s: give the key file of this node%s to every node, wait a few seconds, and rotate then; nothing was changed",
		k.ID, strings.Join(lacking, ", "), where)
}

// Start has a node that is one of several follow the others; it does nothing for one that is alone.
func (s *Service) Start(context.Context) error {
	if s.o.Others == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		return nil
	}
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.owned.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-run.Done():
				return
			case <-tick.C:
				_ = s.look(run) // what cannot be opened was logged, and the database's troubles are others' to tell
			}
		}
	})
	return nil
}

// Stop ends what Start began. A second call does nothing.
func (s *Service) Stop(context.Context) error {
	s.mu.Lock()
	cancel := s.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel()
		s.owned.Wait()
	}
	return nil
}
