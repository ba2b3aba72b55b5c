package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/store"
	"github.com/patchbay/patchbay/internal/store/storetest"
)

// before is a link as the version before sealing wrote it.
const before = `{"id":"lnk_0000000000001","integration":"slack","scope":"acme","reach":"subtree","events":["*"],"settings":{"url":"https://secret"},
	"enabled":true,"state":"active","previous":{"setting":"url","until":"2026-03-01T12:00:00Z"},"created_at":"2026-03-01T12:00:00Z",
	"updated_at":"2026-03-01T12:00:00Z","revision":3,"previous_value":"https://old"}`

func TestALinkFromBeforeThereWasSealingIsRead(t *testing.T) {
	for _, s := range []store.Sealer{nil, storetest.NewKeys()} {
		l, err := store.DecodeLinkAt(t.Context(), s, 1, 3, []byte(before))
		if err != nil {
			t.Fatal(err)
		}
		if string(l.Settings) != `{"url":"https://secret"}` || l.Previous.Value.Reveal() != "https://old" || l.Hook != nil || l.Attached != nil {
			t.Errorf("it is read as %+v with %s and %q", l, l.Settings, l.Previous.Value.Reveal())
		}
	}
}

// TestWithoutAKeyTheVersionBeforeCanReadLinks reads what is written without a Sealer as the version before did.
func TestWithoutAKeyTheVersionBeforeCanReadLinks(t *testing.T) {
	l, err := store.DecodeLink(t.Context(), nil, []byte(before))
	if err != nil {
		t.Fatal(err)
	}
	l.Hook = &patchbay.LinkHook{Token: "token"}
	raw, err := store.EncodeLink(t.Context(), nil, l)
	if err != nil {
		t.Fatal(err)
	}
	old := struct {
		*patchbay.Link
		PreviousValue string `json:"previous_value,omitempty"`
	}{Link: &patchbay.Link{}}
	if err := json.Unmarshal(raw, &old); err != nil {
		t.Fatal(err)
	}
	if string(old.Settings) != string(l.Settings) || old.PreviousValue != "https://old" {
		t.Errorf("the version before reads %s and %q", old.Settings, old.PreviousValue)
	}
}

func TestWhatIsSealedNeedsAKey(t *testing.T) {
	ctx, keys := t.Context(), storetest.NewKeys()
	l, err := store.DecodeLink(ctx, nil, []byte(before))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := store.EncodeLink(ctx, keys, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"https://secret", "https://old"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%q can be read in %s", secret, raw)
		}
	}
	if scope, err := store.LinkScope(raw); err != nil || scope != "acme" {
		t.Errorf("its scope is %q, %v", scope, err)
	}
	at := store.FlowPlace([32]byte{1})
	column, err := store.SealColumn(ctx, keys, at, []byte("verifier"))
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := store.SealCredentials(ctx, keys, 7, &patchbay.Credentials{Access: "a"})
	if err != nil {
		t.Fatal(err)
	}
	lost := storetest.NewKeys()
	lost.Rotate()
	lost.Forget()
	for name, s := range map[string]store.Sealer{"no key": nil, "another key": lost} {
		_, link := store.DecodeLink(ctx, s, raw)
		_, flow := store.OpenColumn(ctx, s, at, column)
		_, connection := store.OpenCredentials(ctx, s, 7, credentials)
		for what, err := range map[string]error{"link": link, "flow": flow, "connection": connection} {
			if !errors.Is(err, store.ErrSealed) {
				t.Errorf("a %s with %s: got %v, want ErrSealed", what, name, err)
			}
			for _, secret := range []string{"verifier\"", "https://", "access"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells what it hides: %v", err)
				}
			}
		}
		if same, err := store.SameCredentials(ctx, s, 7, credentials, &patchbay.Credentials{Access: "a"}); same || err != nil {
			t.Errorf("credentials that cannot be opened with %s are the same: %t, %v", name, same, err)
		}
	}
	_, elsewhere := store.OpenColumn(ctx, keys, store.FlowPlace([32]byte{2}), column)
	_, other := store.OpenCredentials(ctx, keys, 8, credentials)
	_, link := store.DecodeLinkAt(ctx, keys, 2, 3, raw)
	_, revision := store.DecodeLinkAt(ctx, keys, 1, 4, raw)
	for _, err := range []error{elsewhere, other, link, revision} {
		if !errors.Is(err, store.ErrSealed) {
			t.Errorf("at another place: got %v, want ErrSealed", err)
		}
	}
}

func TestCredentialsAreTheSameWhereverTheyWereMade(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := patchbay.Credentials{Access: "a", ExpiresAt: at, Extra: map[string]patchbay.Secret{"x": "1", "y": "2"}}
	stored, err := store.SealCredentials(t.Context(), nil, 7, &a)
	if err != nil {
		t.Fatal(err)
	}
	b := a
	b.ExpiresAt = at.In(time.FixedZone("there", 3600))
	if same, err := store.SameCredentials(t.Context(), nil, 7, stored, &b); !same || err != nil {
		t.Errorf("the same time in another zone: %t, %v", same, err)
	}
	for _, change := range []func(*patchbay.Credentials){
		func(c *patchbay.Credentials) { c.Access = "b" }, func(c *patchbay.Credentials) { c.Refresh = "b" },
		func(c *patchbay.Credentials) { c.Extra = map[string]patchbay.Secret{"x": "1"} }, func(c *patchbay.Credentials) { c.ExpiresAt = at.Add(1) },
	} {
		b := a
		change(&b)
		if same, err := store.SameCredentials(t.Context(), nil, 7, stored, &b); same || err != nil {
			t.Errorf("%+v are the same: %t, %v", b, same, err)
		}
	}
}

// FuzzLink reads whatever stands in a link's row: it must be an error or a link that is written and read as it is.
func FuzzLink(f *testing.F) {
	f.Add([]byte(before))
	f.Add([]byte("null"))
	f.Add([]byte(`{"sealed":"AQ==","plain":{"hook_token":"x"},"hook":{}}`))
	f.Add([]byte(`{"plain":{"settings":{},"hook_token":"x","attached":[1]},"hook":{},"attached":{},"previous":{}}`))
	keys := storetest.NewKeys()
	if l, err := store.DecodeLink(f.Context(), nil, []byte(before)); err == nil {
		sealed, _ := store.EncodeLink(f.Context(), keys, l)
		f.Add(sealed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ctx := context.Background()
		_, _ = store.LinkScope(raw)
		_, _ = store.SealedInLink(raw)
		l, err := store.DecodeLink(ctx, keys, raw)
		if err != nil {
			return
		}
		for _, s := range []store.Sealer{keys, nil} {
			raw, err := store.EncodeLink(ctx, s, l)
			if err != nil {
				t.Skip("it cannot be written") // times beyond the year 9999
			}
			if again, changed, err := store.ResealLink(ctx, keys, l.ID, l.Revision, raw); err != nil || changed != (s == nil) {
				t.Fatalf("sealing it anew: %t, %v", changed, err)
			} else if changed {
				raw = again
			}
			back, err := store.DecodeLinkAt(ctx, keys, l.ID, l.Revision, raw)
			if err != nil {
				t.Fatal(err)
			}
			back.Settings, l.Settings = compact(back.Settings), compact(l.Settings)
			if l.Attached != nil {
				back.Attached.State, l.Attached.State = compact(back.Attached.State), compact(l.Attached.State)
			}
			if d := cmp.Diff(written(t, l), written(t, back)); d != "" {
				t.Errorf("it comes back changed (-want +got):\n%s", d)
			}
		}
	})
}

// written is what of a link counts, secrets included.
func written(t *testing.T, l *patchbay.Link) []string {
	t.Helper()
	b, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{string(b)}
	if l.Previous != nil {
		out = append(out, l.Previous.Value.Reveal())
	}
	if l.Hook != nil {
		out = append(out, l.Hook.Token.Reveal(), l.Hook.Secret.Reveal(), l.Hook.Previous.Reveal())
	}
	if l.Attached != nil {
		out = append(out, string(l.Attached.State))
	}
	return out
}

// compact is JSON as it is written by the encoder.
func compact(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return nil
	}
	b, err := json.Marshal(raw)
	if err != nil {
		return raw
	}
	return b
}

// FuzzColumn opens whatever stands in a column that is sealed.
func FuzzColumn(f *testing.F) {
	keys, at := storetest.NewKeys(), store.ConnectionPlace(7)
	sealed, _ := store.SealCredentials(f.Context(), keys, 7, &patchbay.Credentials{Access: "a"})
	f.Add(sealed)
	f.Add([]byte("\x00{}"))
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Add([]byte{2, 3})
	f.Fuzz(func(t *testing.T, stored []byte) {
		ctx := context.Background()
		plain, err := store.OpenColumn(ctx, keys, at, stored)
		again, changed, e := store.ResealColumn(ctx, keys, at, stored)
		if (err == nil) != (e == nil) || err != nil && !errors.Is(err, store.ErrSealed) {
			t.Fatalf("opening says %v, sealing anew %v", err, e)
		}
		if changed {
			if back, err := store.OpenColumn(ctx, keys, at, again); err != nil || !bytes.Equal(back, plain) || store.SealedInColumn(again) == nil {
				t.Errorf("sealed anew it is %q, %v", back, err)
			}
		}
		_, _ = store.OpenCredentials(ctx, keys, 7, stored)
	})
}

// rows is a store with no rows that notes where it was asked.
type rows struct{ at store.SealedAt }

func (r *rows) ReadSealed(_ context.Context, at store.SealedAt, limit int) ([]store.SealedRow, error) {
	r.at = at
	out := make([]store.SealedRow, limit)
	for i := range out {
		out[i].SealedAt, out[i].Stored = at, []byte(before)
	}
	return out, nil
}

func (r *rows) ReplaceSealed(context.Context, string, []store.SealedRow) (int, error) { return 0, nil }

// FuzzCursor goes on from whatever a caller says, and from where that leads: it must be the same place.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "link 1 2", "connection 5 0", "flow 00ff", "link ", "flow", "x 1", "link 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		var r rows
		next, err := store.LookStep(context.Background(), &r, cursor, 1, func([]byte) {})
		if err != nil {
			return
		}
		at := r.at
		if _, err := store.LookStep(context.Background(), &r, next, 1, func([]byte) {}); err != nil || r.at.Table != at.Table || r.at.ID != at.ID || r.at.Rev != at.Rev || !bytes.Equal(r.at.Hash, at.Hash) {
			t.Errorf("%q is %+v, and what it leads to, %q, %+v (%v)", cursor, at, next, r.at, err)
		}
	})
}
