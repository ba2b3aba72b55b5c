package links

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/integration"
	"github.com/patchbay/patchbay/internal/access"
)

const (
	// tokenBytes is how much chance is in the token of a hook's address: 160 bits.
	tokenBytes = 20
	// secretBytes is how much is in the secret that a partner signs with: as much as SHA-256 can use.
	secretBytes = 32
	// hookSecret is what a link's hook secret is called in the answer that made it.
	hookSecret = "hook_secret"
)

// HookTarget is a link that a partner's call may be for.
type HookTarget struct {
	Link *patchbay.Link
	// Settings is what Definition.Decode returned.
	Settings any
	// Attaching says that the link is being set up at the partner at the moment.
	Attaching bool
	// Target is the place at the partner that the link stands for, for integration.Targeter; Short is its name for people.
	Target string
	Short  string
}

// Secrets returns what the partner may have signed with at a time, the newest first.
func (t *HookTarget) Secrets(now time.Time) []patchbay.Secret {
	h := t.Link.Hook
	var out []patchbay.Secret
	if h == nil {
		return nil
	}
	if h.Secret != "" {
		out = append(out, h.Secret)
	}
	if h.Previous != "" && h.Until.After(now) {
		out = append(out, h.Previous)
	}
	return out
}

// HookLink finds the link whose own address ends with a token; false when there is none, and for links that are being
// taken down. The link may be disabled.
func (s *Service) HookLink(key, token string) (*HookTarget, bool) {
	hash := sha256.Sum256([]byte(token))
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.tokens[hash]
	if !ok {
		return nil, false
	}
	l := s.stored[id]
	if l.Integration != key || subtle.ConstantTimeCompare([]byte(l.Hook.Token.Reveal()), []byte(token)) != 1 {
		return nil, false
	}
	return s.hookTarget(l)
}

// HookTarget returns a link as hooks see it; false when there is none, and for links that receive nothing or are being
// taken down.
func (s *Service) HookTarget(id patchbay.LinkID) (*HookTarget, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := s.stored[id]
	if l == nil {
		return nil, false
	}
	return s.hookTarget(l)
}

// Receiving returns the links that get what a partner sends about a connection's account to the integration's own
// address, in the order in which they were made. Disabled ones are not among them.
func (s *Service) Receiving(key string, con patchbay.ConnectionID) []*HookTarget {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*HookTarget
	for id := range s.using[con] {
		l := s.stored[id]
		if l.Integration != key || !l.Enabled {
			continue
		}
		if t, ok := s.hookTarget(l); ok {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *HookTarget) int { return int(a.Link.ID - b.Link.ID) })
	return out
}

// hookTarget is HookTarget for a caller who holds s.mu.
func (s *Service) hookTarget(l *patchbay.Link) (*HookTarget, bool) {
	c := s.links[l.ID]
	if c == nil || c.broken != "" || !c.receives || l.State == patchbay.LinkDetaching {
		return nil, false
	}
	short, _ := s.summary(l, c)
	return &HookTarget{Link: l, Settings: c.settings, Attaching: l.State == patchbay.LinkAttaching, Target: c.target, Short: short}, true
}

// Learn keeps the secret that a partner told us while the link is being attached. At any other time it is refused:
// whoever knows the address could replace the secret by one of their own.
func (s *Service) Learn(ctx context.Context, id patchbay.LinkID, secret patchbay.Secret) error {
	_, err := s.edit(ctx, keeper, id, 0, func(l *patchbay.Link, _ *integration.Definition) (map[string]string, error) {
		if l.State != patchbay.LinkAttaching || l.Hook == nil {
			return nil, patchbay.Errorf(patchbay.CodeConflict, "the link %s is not being set up, so no secret is taken over from its partner", id)
		}
		if l.Hook.Secret == secret {
			return nil, errUnchanged
		}
		hook := *l.Hook
		hook.Secret, hook.Previous, hook.Until = secret, "", time.Time{}
		l.Hook = &hook
		return nil, nil
	})
	return err
}

// newHook makes the way in of a link.
func newHook() (*patchbay.LinkHook, error) {
	token, err := random(tokenBytes)
	if err != nil {
		return nil, err
	}
	secret, err := random(secretBytes)
	if err != nil {
		return nil, err
	}
	return &patchbay.LinkHook{Token: patchbay.Secret(token), Secret: patchbay.Secret(secret)}, nil
}

// random spells n random bytes so that they can stand in a URL and in every partner's form.
func random(n int) (string, error) {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return "", patchbay.Internal("making a secret", err)
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)), nil
}

// rotateHook replaces what a link's partner signs with.
func rotateHook(l *patchbay.Link) (map[string]string, error) {
	secret, err := random(secretBytes)
	if err != nil {
		return nil, err
	}
	hook := *l.Hook
	hook.Previous, hook.Until = hook.Secret, l.UpdatedAt.Add(rotationOverlap)
	hook.Secret = patchbay.Secret(secret)
	l.Hook = &hook
	return map[string]string{hookSecret: secret}, nil
}

// hookURL is the address that is a link's own; "" when it has none, or when nobody has said where this installation is.
func (s *Service) hookURL(l *patchbay.Link) string {
	if l.Hook == nil || s.o.PublicURL == "" {
		return ""
	}
	return s.o.PublicURL + "/integrations/" + url.PathEscape(l.Integration) + "/hook/" + l.Hook.Token.Reveal()
}

// signs reports whether the partner's calls are proven by the link's own hook secret, as the integration says of a call
// without anything in it. Then whoever sets up the partner's side by hand must know it.
func signs(c *compiled, l *patchbay.Link, config []byte) (yes bool) {
	r, ok := c.integration.(integration.Receiver)
	if !ok || l.Hook == nil || l.Hook.Secret == "" {
		return false
	}
	defer func() {
		if recover() != nil { // it did not expect a call without anything in it
			yes = true
		}
	}()
	v := r.Verification(&integration.HookCall{
		Method: http.MethodPost, Header: http.Header{}, Query: url.Values{}, Body: []byte("{}"), Link: l.ID, Scope: l.Scope,
		Settings: c.settings, Secrets: []integration.Secret{l.Hook.Secret}, Config: config,
	})
	return slices.Contains(v.Secrets, l.Hook.Secret)
}

// index takes the addresses and the connection of a link's current revision over from those of the one before, which may
// be nil; so may the current one. The caller holds s.mu.
func (s *Service) reindex(before, now *patchbay.Link) {
	if before != nil {
		if before.Hook != nil {
			delete(s.tokens, sha256.Sum256([]byte(before.Hook.Token.Reveal())))
		}
		if ids := s.using[before.Connection]; ids != nil {
			if delete(ids, before.ID); len(ids) == 0 {
				delete(s.using, before.Connection)
			}
		}
	}
	if now == nil {
		return
	}
	if now.Hook != nil && now.Hook.Token != "" {
		s.tokens[sha256.Sum256([]byte(now.Hook.Token.Reveal()))] = now.ID
	}
	if now.Connection != 0 {
		if s.using[now.Connection] == nil {
			s.using[now.Connection] = map[patchbay.LinkID]struct{}{}
		}
		s.using[now.Connection][now.ID] = struct{}{}
	}
}

// keeper is who changes links on the program's own account.
var keeper = &access.Caller{Permissions: []access.Permission{access.Admin}, Name: "keeper"}
