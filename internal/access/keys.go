package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
)

const (
	// TokenPrefix begins every token, so that people and secret scanners recognise one.
	TokenPrefix = "pk_"
	// MaxKeyName bounds a key's name, in bytes.
	MaxKeyName = 200
	// maxTokenLength is more than any token has; what is longer is not looked up.
	maxTokenLength = 128
)

// tokenEncoding has no letters that are mistaken for others, and one double click selects what it writes.
var tokenEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// Permissions lists the permissions that there are.
func Permissions() []Permission { return []Permission{Publish, Inline, Read, Manage, Admin} }

// KeyInput is a key to be made.
type KeyInput struct {
	// Name is for people.
	Name        string
	Scope       string
	Permissions []string
	// ExpiresAt is zero for a key that does not expire.
	ExpiresAt time.Time
}

// KeyView is a key as the API shows it.
type KeyView struct {
	ID          patchbay.KeyID `json:"id"`
	Name        string         `json:"name"`
	Scope       patchbay.Scope `json:"scope"`
	Permissions []Permission   `json:"permissions"`
	// Hint is the token's last four characters.
	Hint      string     `json:"hint"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
	// Token is what a caller sends, in the answer that made it only.
	Token string `json:"token,omitempty"`
}

// key is a key in memory. It never changes.
type key struct {
	store.Key
	caller Caller
}

// Keys looks after API keys. Every key is in memory, so looking one up costs no query; a change holds from the moment
// in which the call that made it returns.
type Keys struct {
	store store.Keys
	newID func(n int) int64
	now   func() time.Time

	mu     sync.Mutex // one change at a time
	byHash atomic.Pointer[map[[32]byte]*key]
}

// NewKeys reads the keys that there are. newID makes identifiers; now is the clock, nil means time.Now.
func NewKeys(ctx context.Context, s store.Keys, newID func(n int) int64, now func() time.Time) (*Keys, error) {
	if now == nil {
		now = time.Now
	}
	k := &Keys{store: s, newID: newID, now: now}
	if err := k.Refresh(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Refresh takes over what the store says, after another node has made or deleted keys. It comes between two changes of
// this node, so what it reads is never older than what is known here.
func (k *Keys) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := k.store.AllKeys(ctx)
	if err != nil {
		return patchbay.Internal("reading the API keys", err)
	}
	byHash := make(map[[32]byte]*key, len(all))
	for i := range all {
		byHash[all[i].Hash] = newKey(&all[i])
	}
	k.byHash.Store(&byHash)
	return nil
}

func newKey(k *store.Key) *key {
	permissions := make([]Permission, len(k.Permissions))
	for i, p := range k.Permissions {
		permissions[i] = Permission(p)
	}
	return &key{Key: *k, caller: Caller{Scope: k.Scope, Permissions: permissions, Key: k.ID, Known: cmp.Or(k.Name, "key …"+k.Hint)}}
}

// Lookup returns who calls with the token. An unknown or expired one is an unauthorized error.
func (k *Keys) Lookup(token string) (*Caller, error) {
	var buf [maxTokenLength]byte
	if len(token) > len(buf) {
		return nil, errUnknownKey
	}
	found := (*k.byHash.Load())[sha256.Sum256(buf[:copy(buf[:], token)])]
	if found == nil {
		return nil, errUnknownKey
	}
	if !found.ExpiresAt.IsZero() && !k.now().Before(found.ExpiresAt) {
		return nil, patchbay.Errorf(patchbay.CodeUnauthorized, "this API key expired at %s: make a new one",
			found.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return &found.caller, nil
}

// ByID returns who calls with a key, for sessions that stand on it; false when it was deleted or has expired.
func (k *Keys) ByID(id patchbay.KeyID) (*Caller, bool) {
	for _, e := range *k.byHash.Load() {
		if e.ID == id {
			return &e.caller, e.ExpiresAt.IsZero() || k.now().Before(e.ExpiresAt)
		}
	}
	return nil, false
}

var errUnknownKey = &patchbay.Error{Code: patchbay.CodeUnauthorized, Message: "this API key is not known here: it is mistyped, or was deleted"}

// Create makes a key at or below the caller's scope. The caller needs Admin, which includes every permission that the
// new key can have. The token is in the answer and nowhere else.
func (k *Keys) Create(ctx context.Context, c *Caller, in KeyInput) (*KeyView, error) {
	if err := c.Require(Admin); err != nil {
		return nil, err
	}
	scope, err := patchbay.ParseScope(in.Scope)
	if err != nil {
		return nil, patchbay.Invalid("scope", "%v", err)
	}
	if err := c.Reach(scope); err != nil {
		return nil, err
	}
	permissions, err := parsePermissions(in.Permissions)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(in.Name)
	now := k.now().UTC().Truncate(time.Millisecond)
	switch {
	case len(name) > MaxKeyName:
		return nil, patchbay.Invalid("name", "is longer than %d bytes", MaxKeyName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, patchbay.Invalid("name", "must be one line without control characters")
	case !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(now):
		return nil, patchbay.Invalid("expires_at", "lies in the past")
	}
	return k.add(ctx, c, &store.Key{ID: patchbay.KeyID(k.newID(1)), Name: name, Scope: scope, Permissions: permissions, CreatedAt: now, ExpiresAt: in.ExpiresAt.UTC()})
}

// parsePermissions checks the names, drops repetitions and brings them into the usual order.
func parsePermissions(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, patchbay.Invalid("permissions", "name at least one of %s", permissionNames())
	}
	for i, n := range names {
		if !slices.Contains(Permissions(), Permission(n)) {
			return nil, patchbay.Invalid(fmt.Sprintf("permissions[%d]", i), "must be one of %s", permissionNames())
		}
	}
	var out []string
	for _, p := range Permissions() {
		if slices.Contains(names, string(p)) {
			out = append(out, string(p))
		}
	}
	return out, nil
}

// add gives the key a token, stores it and makes it known.
func (k *Keys) add(ctx context.Context, c *Caller, rec *store.Key) (*KeyView, error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // it never fails: without randomness the process ends
	token := TokenPrefix + tokenEncoding.EncodeToString(random[:])
	rec.Hash = sha256.Sum256([]byte(token))
	rec.Hint = token[len(token)-4:]

	k.mu.Lock()
	defer k.mu.Unlock()
	added := newKey(rec)
	if err := k.store.SaveKey(Audited(ctx, c, added.change("key.created", Compare(nil, added.audited()))), rec); err != nil {
		return nil, patchbay.Internal("saving the API key", err)
	}
	byHash := maps.Clone(*k.byHash.Load())
	byHash[rec.Hash] = added
	k.byHash.Store(&byHash)
	v := added.view()
	v.Token = token
	return &v, nil
}

// List returns up to limit of the keys at or below the caller's scope, the oldest first, from the one after after.
// more says that there are further ones.
func (k *Keys) List(_ context.Context, c *Caller, after patchbay.KeyID, limit int) (views []KeyView, more bool, err error) {
	if err := c.Require(Admin); err != nil {
		return nil, false, err
	}
	views = []KeyView{}
	for _, e := range *k.byHash.Load() {
		if c.Sees(e.Scope) && e.ID > after {
			views = append(views, e.view())
		}
	}
	slices.SortFunc(views, func(a, b KeyView) int { return cmp.Compare(a.ID, b.ID) })
	if len(views) > limit {
		return views[:limit], true, nil
	}
	return views, false, nil
}

// Get returns a key that the caller sees.
func (k *Keys) Get(_ context.Context, c *Caller, id patchbay.KeyID) (*KeyView, error) {
	if err := c.Require(Admin); err != nil {
		return nil, err
	}
	e := k.find(c, id)
	if e == nil {
		return nil, errNoKey(id)
	}
	v := e.view()
	return &v, nil
}

// Delete removes a key that the caller sees. Calls with it are refused from then on. The caller's own key stays, so
// that nobody can lock himself out.
func (k *Keys) Delete(ctx context.Context, c *Caller, id patchbay.KeyID) error {
	if err := c.Require(Admin); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.find(c, id)
	switch {
	case e == nil:
		return errNoKey(id)
	case id == c.Key:
		return patchbay.Errorf(patchbay.CodeConflict, "this is the key that you are calling with: use another one to delete it")
	}
	if err := k.store.DeleteKey(Audited(ctx, c, e.change("key.deleted", nil)), id); err != nil && !errors.Is(err, store.ErrNotFound) {
		return patchbay.Internal("deleting the API key", err)
	}
	byHash := maps.Clone(*k.byHash.Load())
	delete(byHash, e.Hash)
	k.byHash.Store(&byHash)
	return nil
}

func errNoKey(id patchbay.KeyID) error {
	return patchbay.Errorf(patchbay.CodeNotFound, "there is no API key %s", id)
}

func (k *Keys) find(c *Caller, id patchbay.KeyID) *key {
	for _, e := range *k.byHash.Load() {
		if e.ID == id && c.Sees(e.Scope) {
			return e
		}
	}
	return nil
}

// firstAdmin is the identifier of the key that the first start makes. It is the same everywhere, so that of several
// nodes that start together on an empty database one makes it.
const firstAdmin patchbay.KeyID = 1

// EnsureAdmin makes a key with every permission on the whole installation unless there is a valid one, and says
// whether it did. The token is shown this once.
func (k *Keys) EnsureAdmin(ctx context.Context) (token string, created bool, err error) {
	if k.hasAdmin() {
		return "", false, nil
	}
	v, err := k.add(ctx, nil, &store.Key{ID: firstAdmin, Name: "first administrator", Permissions: []string{string(Admin)}, CreatedAt: k.now().UTC().Truncate(time.Millisecond)})
	if errors.Is(err, store.ErrConflict) { // another node was faster
		return "", false, k.Refresh(ctx)
	}
	if err != nil {
		return "", false, err
	}
	return v.Token, true, nil
}

// hasAdmin reports whether there is a valid key that may do everything everywhere.
func (k *Keys) hasAdmin() bool {
	now := k.now()
	for _, e := range *k.byHash.Load() {
		if e.Scope == "" && e.caller.May(Admin) && (e.ExpiresAt.IsZero() || now.Before(e.ExpiresAt)) {
			return true
		}
	}
	return false
}

// change is what is written down about the key.
func (e *key) change(action string, fields []Field) Change {
	return Change{Action: action, Object: e.ID.String(), Title: e.Name, Scope: e.Scope, Fields: fields}
}

// audited is what is written down of a new key.
func (e *key) audited() any {
	v := e.view()
	return struct {
		Permissions []Permission `json:"permissions"`
		ExpiresAt   *time.Time   `json:"expires_at"`
	}{v.Permissions, v.ExpiresAt}
}

func (e *key) view() KeyView {
	v := KeyView{ID: e.ID, Name: e.Name, Scope: e.Scope, Permissions: e.caller.Permissions, Hint: e.Hint, CreatedAt: e.CreatedAt.UTC()}
	if !e.ExpiresAt.IsZero() {
		at := e.ExpiresAt.UTC()
		v.ExpiresAt = &at
	}
	return v
}

func permissionNames() string {
	names := make([]string, len(Permissions()))
	for i, p := range Permissions() {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}
